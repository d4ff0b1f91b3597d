//! Targets: one file each. A target is its vector width, the features that code generation may use, and a table of the
//! operations it has, each with the unit it runs on, its micro-operations per register and its latency. What is not in the
//! table does not exist there and is never chosen.
//!
//! Costs are data: they can be replaced one by one (`Target::with_cost`) or from a file (`Target::apply`).

mod aarch64;
mod generic;
mod x86_64;

use crate::rewrite::lang::Op;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// What an operation occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Any vector unit.
    Vector,
    /// The multipliers.
    Multiply,
    /// The shuffle units.
    Shuffle,
    /// Load ports.
    Load,
    /// Store ports.
    Store,
    /// Scalar integer units.
    Scalar,
}

impl Unit {
    /// All units, in the order of [`Throughput`].
    pub const ALL: [Unit; 6] = [
        Unit::Vector,
        Unit::Multiply,
        Unit::Shuffle,
        Unit::Load,
        Unit::Store,
        Unit::Scalar,
    ];
}

/// What an operation costs on one register.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// The unit that it occupies.
    pub unit: Unit,
    /// Micro-operations for one register.
    pub uops: f64,
    /// Cycles until the result can be used.
    pub latency: f64,
}

/// Micro-operations a cycle: of each unit, of all together, and bytes a cycle from memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Of each unit, in the order of [`Unit::ALL`].
    pub units: [f64; 6],
    /// Of all units together.
    pub issue: f64,
    /// Bytes a cycle of a stream from memory.
    pub memory: f64,
    /// Vector registers.
    pub registers: u32,
}

/// A machine to compile for.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its name: the file's, with its level.
    pub name: String,
    /// Features that code generation may use.
    pub features: crate::codegen::Features,
    /// Bytes of a vector register.
    pub vector_bytes: u32,
    /// Rates.
    pub throughput: Throughput,
    /// Operations it has.
    pub costs: BTreeMap<Op, Cost>,
    /// Patterns of loads and stores, by name (see [`LOADS`]).
    pub accesses: BTreeMap<&'static str, Cost>,
}

/// Kinds of access that have a cost of their own: a vector from memory, a scalar into all lanes, a short vector repeated,
/// lanes one by one, and a store.
pub const LOADS: [&str; 5] = ["load", "broadcast", "tile", "gather", "store"];

/// A target or a cost file that is not there or not right.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// The name is not one of the known ones.
    #[error("unknown target `{name}`; known targets: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A cost file names an operation that does not exist.
    #[error("the cost file names `{0}`, which is no operation")]
    Operation(String),
    /// A cost file that cannot be read.
    #[error("the cost file is not valid: {0}")]
    File(String),
}

/// A file of costs: operations by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostFile {
    /// Costs of operations, by the operation's name.
    #[serde(default)]
    pub operations: BTreeMap<String, Cost>,
    /// Rates, if measured.
    pub throughput: Option<Throughput>,
}

/// A line of a target's table.
type Line = (Op, Unit, f64, f64);

/// Names of all targets.
pub fn names() -> Vec<&'static str> {
    let mut names = x86_64::NAMES.to_vec();
    names.extend(aarch64::NAMES);
    names
}

impl Target {
    /// The machine that this runs on.
    pub fn host() -> Target {
        let features = crate::codegen::Features::host();
        match features.arch {
            crate::codegen::Arch::X86_64 => x86_64::target("host", features),
            crate::codegen::Arch::Aarch64 => aarch64::target("host", features),
        }
    }

    /// A target by name.
    pub fn named(name: &str) -> Result<Target, TargetError> {
        if name == "host" {
            return Ok(Target::host());
        }
        x86_64::named(name)
            .or_else(|| aarch64::named(name))
            .ok_or_else(|| TargetError::Unknown {
                name: name.to_owned(),
                known: format!("host, {}", names().join(", ")),
            })
    }

    /// Whether it looks up in tables that are made at run time.
    pub fn has_tables(&self) -> bool {
        self.costs.contains_key(&Op::VPick)
    }

    /// Vector operations that rules lead to but this target lacks.
    pub fn missing(&self) -> Vec<Op> {
        let lacks = |op: &&Op| {
            op.name().starts_with("v.") && **op != Op::VLoad && !self.costs.contains_key(op)
        };
        Op::ALL.iter().filter(lacks).copied().collect()
    }

    /// The target with one cost replaced.
    pub fn with_cost(mut self, op: Op, cost: Cost) -> Target {
        self.costs.insert(op, cost);
        self
    }

    /// Replaces costs by those of a file (JSON, see [`CostFile`]).
    pub fn apply(mut self, file: &str) -> Result<Target, TargetError> {
        let file: CostFile =
            serde_json::from_str(file).map_err(|e| TargetError::File(e.to_string()))?;
        for (name, cost) in file.operations {
            let op = Op::ALL
                .iter()
                .find(|o| o.name() == name)
                .ok_or(TargetError::Operation(name))?;
            self.costs.insert(*op, cost);
        }
        if let Some(throughput) = file.throughput {
            self.throughput = throughput;
        }
        Ok(self)
    }
}

/// A table as a map, over the generic operations.
fn table(lines: &[Line]) -> BTreeMap<Op, Cost> {
    generic::TABLE
        .iter()
        .chain(lines)
        .map(|(op, unit, uops, latency)| {
            (
                *op,
                Cost {
                    unit: *unit,
                    uops: *uops,
                    latency: *latency,
                },
            )
        })
        .collect()
}
