//! Records of what was measured to be fastest: data that may be kept in a file and merged.

use crate::Error;
use lowbit_compiler::pipeline::Pick;
use lowbit_compiler::spec::kernel::Kernel as Spec;
use lowbit_compiler::target::Target;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version that records are for: another one may consider other candidates, or make other code of them.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What an engine chooses because it was measured to be fastest. Records of other targets and versions are kept and not used;
/// one whose candidate is no longer considered leaves the choice as it is without.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    records: Vec<Record>,
}

/// The fastest candidate of a computing step of a kernel, for one class of batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The identity of the kernel with its dimensions (see [`Kernel::id`](Spec::id)).
    pub kernel: String,
    /// Its name, for people.
    pub name: String,
    /// The target and its extensions.
    pub target: String,
    /// The version of lowbit.
    pub version: String,
    /// Calls with so many rows of activations, up to the next class.
    pub batch: u64,
    /// The candidate.
    pub pick: Pick,
    /// How it decodes weights and sums products, for people.
    pub lowering: String,
    /// The layouts of the weights that it was measured with.
    pub layouts: Vec<String>,
    /// Cycles of a call with the candidate that was chosen before.
    pub before: f64,
    /// Cycles of a call with this one.
    pub cycles: f64,
    /// Cycles in a second when it was measured.
    pub hertz: f64,
}

impl Record {
    /// Whether the other is for the same choice, or for weights that lie otherwise, where there is no such candidate.
    fn replaces(&self, other: &Record) -> bool {
        let key = |r: &Record| (r.batch, r.pick.step);
        let same = self.kernel == other.kernel
            && self.target == other.target
            && self.version == other.version;
        same && (key(self) == key(other) || self.layouts != other.layouts)
    }

    /// That its figures are times.
    fn check(&self) -> Result<(), Error> {
        let time = |t: f64| t.is_finite() && t > 0.0;
        match time(self.before) && time(self.cycles) && time(self.hertz) {
            true => Ok(()),
            false => Err(Error::Tuning(format!(
                "a record of `{}` has no times",
                self.name
            ))),
        }
    }
}

/// The machine that records are for.
pub(super) fn target_of(target: &Target) -> String {
    format!("{} ({})", target.name, target.features)
}

impl Tuning {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Tuning`] if it is none.
    pub fn from_json(text: &str) -> Result<Tuning, Error> {
        let read: Tuning = serde_json::from_str(text).map_err(|e| Error::Tuning(e.to_string()))?;
        read.records.iter().try_for_each(Record::check)?;
        Ok(read.into_iter().collect())
    }

    /// The text of a file.
    ///
    /// # Errors
    /// [`Error::Tuning`] if a record has figures that are no times.
    pub fn to_json(&self) -> Result<String, Error> {
        self.records.iter().try_for_each(Record::check)?;
        serde_json::to_string_pretty(self).map_err(|e| Error::Tuning(e.to_string()))
    }

    /// The records, in the order in which they were added.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The candidates to choose for a kernel, by the class of batches.
    pub(crate) fn picks(&self, kernel: &Spec, target: &Target) -> Vec<(u64, Vec<Pick>)> {
        let mut picks: Vec<(u64, Vec<Pick>)> = Vec::new();
        if self.records.is_empty() {
            return picks;
        }
        let (kernel, target) = (kernel.id().to_string(), target_of(target));
        let here = |r: &&Record| r.kernel == kernel && r.target == target && r.version == VERSION;
        for record in self.records.iter().filter(here) {
            let pick = record.pick.clone();
            match picks.iter_mut().find(|(batch, _)| *batch == record.batch) {
                Some((_, of_batch)) => of_batch.push(pick),
                None => picks.push((record.batch, vec![pick])),
            }
        }
        picks
    }
}

/// New records replace what is known for the same choices, and for the same kernel with other layouts of weights.
impl Extend<Record> for Tuning {
    fn extend<R: IntoIterator<Item = Record>>(&mut self, records: R) {
        for record in records {
            self.records.retain(|r| !record.replaces(r));
            self.records.push(record);
        }
    }
}

impl FromIterator<Record> for Tuning {
    fn from_iter<R: IntoIterator<Item = Record>>(records: R) -> Tuning {
        let mut tuning = Tuning::default();
        tuning.extend(records);
        tuning
    }
}

impl IntoIterator for Tuning {
    type Item = Record;
    type IntoIter = std::vec::IntoIter<Record>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.into_iter()
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for r in &self.records {
            let tile = &r.pick.tile;
            writeln!(
                f,
                "{} from {} rows on, step {}: {:.1} µs, {:.2} × what was chosen before; lanes {}, {}, tile {} × {}",
                r.name,
                r.batch,
                r.pick.step,
                r.cycles / r.hertz * 1e6,
                r.cycles / r.before,
                r.pick.lanes,
                r.lowering,
                tile.woven.saturating_mul(tile.rows),
                tile.batch
            )?;
        }
        Ok(())
    }
}
