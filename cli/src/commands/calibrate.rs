//! `calibrate`: what operations cost on this machine.

use crate::Failure;
use crate::output::say;
use crate::progress::Progress;
use crate::table::table;
use crate::text::write;
use clap::Args;
use lowbit::calibrate::{Calibration, Effort, calibrate};
use lowbit::compiler::target::{Cost, Target};
use std::path::PathBuf;

/// Measure what operations, accesses and memory cost on this machine
#[derive(Args)]
#[command(after_help = "Examples:
  lowbit calibrate --repeat 3 --output costs.json
  lowbit explain dsl-examples/int4_int8.lowbit --dim N=4096 --dim K=4096 --costs costs.json")]
pub(crate) struct Calibrate {
    /// Where to write the costs, for `--costs`; without it they are printed as JSON instead of beside the checked-in ones
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How often to time each sample; the shortest time counts
    #[arg(long, default_value_t = Effort::default().repeats)]
    repeat: u32,
}

impl Calibrate {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let target = Target::host();
        let effort = Effort {
            repeats: self.repeat,
            ..Effort::default()
        };
        let mut shown: Option<Progress> = None;
        let measured = calibrate(&target, &effort, &mut |step| {
            match &shown {
                Some(progress) => progress.add(1),
                None => shown = Some(Progress::new("figure", step.total as u64)),
            };
        })?;
        if let Some(progress) = &shown {
            progress.add(1);
        }
        let json = serde_json::to_string_pretty(&measured.costs)?;
        let Some(path) = &self.output else {
            return say(json);
        };
        write(path, json + "\n")?;
        say(table(&operations(&target, &measured)))?;
        say(table(&rates(&target, &measured)))?;
        for (name, reason) in &measured.costs.derived {
            say(format!("{name} is as it was: {reason}"))?;
        }
        Ok(())
    }
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// What was measured beside what is checked in.
fn operations(target: &Target, measured: &Calibration) -> Vec<Vec<String>> {
    let heading = [
        "operation",
        "unit",
        "uops",
        "was",
        "ratio",
        "latency",
        "was",
        "ratio",
    ];
    let mut rows = vec![cells(heading)];
    let known = target.costs.iter().map(|(op, cost)| (op.name(), cost));
    let known = known.chain(target.accesses.iter().map(|(kind, cost)| (*kind, cost)));
    for (name, was) in known {
        let all = [&measured.costs.operations, &measured.costs.accesses];
        if let Some(now) = all.into_iter().find_map(|costs| costs.get(name)) {
            rows.push(row(name, now, was));
        }
    }
    rows
}

fn row(name: &str, now: &Cost, was: &Cost) -> Vec<String> {
    let mut row = vec![name.to_owned(), format!("{:?}", now.unit).to_lowercase()];
    for (now, was) in [(now.uops, was.uops), (now.latency, was.latency)] {
        let ratio = if was > 0.0 {
            format!("{:.2}", now / was)
        } else {
            String::new()
        };
        row.extend([format!("{now:.2}"), format!("{was:.2}"), ratio]);
    }
    row
}

fn rates(target: &Target, measured: &Calibration) -> Vec<Vec<String>> {
    let mut rows = vec![cells(["rate", "measured", "was"])];
    let gigahertz = measured.hertz / 1e9;
    rows.push(cells(["clock, GHz", &format!("{gigahertz:.2}"), ""]));
    let was = &target.throughput;
    if let Some(now) = &measured.costs.throughput {
        let (now, was) = (format!("{:.2}", now.issue), format!("{:.2}", was.issue));
        rows.push(cells(["operations a cycle", &now, &was]));
    }
    for level in &measured.costs.levels {
        let name = format!(
            "bytes a cycle from {} ({} KiB)",
            level.name,
            level.bytes >> 10
        );
        let was = if level.name == "memory" {
            format!("{:.2}", was.memory)
        } else {
            String::new()
        };
        rows.push(vec![name, format!("{:.2}", level.rate), was]);
    }
    rows
}
