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
    /// Vector units that add and convert floats.
    Add,
}

/// How many units there are.
pub const UNITS: usize = Unit::ALL.len();

impl Unit {
    /// All units, in the order of [`Throughput`] and of their numbers.
    pub const ALL: [Unit; 7] = [
        Unit::Vector,
        Unit::Multiply,
        Unit::Shuffle,
        Unit::Load,
        Unit::Store,
        Unit::Scalar,
        Unit::Add,
    ];

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Vector => "vector units",
            Unit::Multiply => "multiply units",
            Unit::Shuffle => "shuffle units",
            Unit::Load => "load units",
            Unit::Store => "store units",
            Unit::Scalar => "scalar units",
            Unit::Add => "add units",
        }
    }

    /// Whether it works on vector registers.
    pub fn is_vector(self) -> bool {
        match self {
            Unit::Vector | Unit::Multiply | Unit::Shuffle | Unit::Add => true,
            Unit::Load | Unit::Store | Unit::Scalar => false,
        }
    }
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
    pub units: [f64; UNITS],
    /// Of all units together.
    pub issue: f64,
    /// Bytes a cycle of a stream from memory.
    pub memory: f64,
    /// Vector registers.
    pub registers: u32,
    /// Vector operations that wait for their operands at most: further ahead the machine does not look.
    #[serde(default = "window")]
    pub window: f64,
}

/// Vector operations that wait at most, where it is not said: the two schedulers of Zen 4 and the queue before them (Software
/// Optimization Guide for the AMD Zen4 Microarchitecture).
fn window() -> f64 {
    128.0
}

/// The levels of a memory hierarchy: caches with their bytes and rates, and memory behind them.
fn levels(caches: &[(&str, u64, f64)], memory: f64) -> Vec<Level> {
    let caches = caches.iter().copied();
    let all = caches.chain([("memory", u64::MAX, memory)]);
    let level = |(name, bytes, rate): (&str, u64, f64)| Level {
        name: name.to_owned(),
        bytes,
        rate,
    };
    all.map(level).collect()
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
    /// The memory hierarchy, nearest first; memory is last.
    pub levels: Vec<Level>,
}

/// A level of the memory hierarchy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// Its name: `L1`, `L2`, `L3`, `memory`.
    pub name: String,
    /// Bytes that it holds; measured, those of a buffer that was read from it.
    pub bytes: u64,
    /// Bytes a cycle that one thread reads from it in order.
    pub rate: f64,
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
    /// A cost file names a kind of access that does not exist.
    #[error("the cost file names `{0}`, which is no kind of access; there are {known}", known = LOADS.join(", "))]
    Access(String),
    /// A cost file has a number that is no cost.
    #[error("the cost file says {value} for {what}, which is no cost or rate")]
    Number {
        /// Of what.
        what: String,
        /// The number, as text.
        value: String,
    },
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
    /// Costs of accesses, by kind (see [`LOADS`]).
    #[serde(default)]
    pub accesses: BTreeMap<String, Cost>,
    /// Rates, if measured.
    pub throughput: Option<Throughput>,
    /// Levels of the memory hierarchy, nearest first.
    #[serde(default)]
    pub levels: Vec<Level>,
    /// Operations that were not measured, by name, and why; it changes nothing.
    #[serde(default)]
    pub derived: BTreeMap<String, String>,
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

    /// Whether it sums products of unsigned and signed bytes in 32 bits.
    pub fn multiplies_bytes(&self) -> bool {
        self.costs.contains_key(&Op::VDot4)
    }

    /// Whether it looks up in tables that are made at run time.
    pub fn has_tables(&self) -> bool {
        self.costs.contains_key(&Op::VPick)
    }

    /// Whether it counts the bits of bytes.
    pub fn counts_bits(&self) -> bool {
        self.costs.contains_key(&Op::VCountOnes)
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
        file.check()?;
        for (name, cost) in file.operations {
            self.costs.insert(operation(&name)?, cost);
        }
        for (name, cost) in file.accesses {
            let kind = LOADS.into_iter().find(|k| *k == name);
            let kind = kind.ok_or(TargetError::Access(name))?;
            self.accesses.insert(kind, cost);
        }
        if !file.levels.is_empty() {
            self.levels = file.levels;
        }
        if let Some(throughput) = file.throughput {
            self.throughput = throughput;
        }
        Ok(self)
    }
}

impl CostFile {
    /// Costs are finite and not negative, rates finite and positive; what is derived is an operation.
    fn check(&self) -> Result<(), TargetError> {
        let number = |what: &str, value: f64, least: f64| {
            if value.is_finite() && value >= least {
                return Ok(());
            }
            let (what, value) = (what.to_owned(), value.to_string());
            Err(TargetError::Number { what, value })
        };
        for (name, cost) in self.operations.iter().chain(&self.accesses) {
            number(&format!("`{name}`"), cost.uops, 0.0)?;
            number(&format!("the latency of `{name}`"), cost.latency, 0.0)?;
        }
        let rate = |what: &str, value: f64| number(what, value, f64::MIN_POSITIVE);
        if let Some(rates) = &self.throughput {
            for value in rates.units {
                rate("a unit", value)?;
            }
            rate("`issue`", rates.issue)?;
            rate("`memory`", rates.memory)?;
        }
        for level in &self.levels {
            rate(&format!("the level `{}`", level.name), level.rate)?;
        }
        self.derived
            .keys()
            .try_for_each(|name| operation(name).map(drop))
    }
}

/// An operation by its name.
fn operation(name: &str) -> Result<Op, TargetError> {
    let found = Op::ALL.iter().find(|o| o.name() == name).copied();
    found.ok_or_else(|| TargetError::Operation(name.to_owned()))
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
