//! aarch64 in its levels: NEON, with the dot-product extension (Armv8.2), and with i8mm (Armv8.6). Tested on an emulator.
//!
//! Figures: Neoverse V1, from its public optimisation guide.

use super::{Cost, Line, Target, Throughput, Unit::*, levels, table, window};
use crate::codegen::Features;
use crate::rewrite::lang::Op;
use std::collections::BTreeMap;

pub(super) const NAMES: [&str; 3] = ["aarch64", "aarch64-dotprod", "aarch64-i8mm"];

/// What NEON adds: `tbl`, pairwise multiplies.
const NEON: &[Line] = &[
    (Op::VLookup8, Shuffle, 1.0, 2.0),
    (Op::VLookup32, Shuffle, 1.0, 4.0),
    (Op::VPick, Shuffle, 1.0, 2.0),
    (Op::VMulHigh, Multiply, 7.0, 8.0),
    (Op::VMulPairs16, Multiply, 3.0, 7.0),
    (Op::VAddPairs16, Vector, 1.0, 3.0),
    (Op::VCountOnes, Vector, 1.0, 2.0),
    (Op::VRound, Vector, 1.0, 3.0),
    (Op::VRoundAway, Vector, 8.0, 12.0),
    (Op::VTrunc, Vector, 5.0, 6.0),
    (Op::VFloor, Vector, 1.0, 3.0),
];

/// What the dot-product extension adds: `sdot`.
const DOTPROD: &[Line] = &[(Op::VDot4S, Multiply, 1.0, 3.0)];

/// What i8mm adds: `usdot`.
const I8MM: &[Line] = &[(Op::VDot4, Multiply, 1.0, 3.0)];

/// Caches, with bytes and bytes a cycle: Neoverse N1 (Arm Neoverse N1 Technical Reference Manual; rates are not measured).
const LEVELS: [(&str, u64, f64); 3] = [
    ("L1", 64 << 10, 32.0),
    ("L2", 1 << 20, 32.0),
    ("L3", 16 << 20, 12.0),
];

/// The target for a set of features.
pub(super) fn target(name: &str, features: Features) -> Target {
    let mut lines = NEON.to_vec();
    if features.dotprod {
        lines.extend(DOTPROD);
    }
    if features.i8mm {
        lines.extend(I8MM);
    }
    let access = |unit, uops, latency| Cost {
        unit,
        uops,
        latency,
    };
    let accesses = BTreeMap::from([
        ("load", access(Load, 1.0, 6.0)),
        ("broadcast", access(Load, 1.0, 8.0)),
        ("tile", access(Load, 1.5, 8.0)),
        ("gather", access(Load, 2.5, 8.0)),
        ("store", access(Store, 1.0, 1.0)),
    ]);
    let throughput = Throughput {
        units: [4.0, 2.0, 2.0, 2.0, 1.0, 4.0, 4.0],
        issue: 8.0,
        memory: 8.0,
        registers: 32,
        window: window(),
    };
    Target {
        name: name.to_owned(),
        features,
        vector_bytes: 16,
        throughput,
        costs: table(&lines),
        accesses,
        levels: levels(&LEVELS, throughput.memory),
    }
}

/// A target of this file by name.
pub(super) fn named(name: &str) -> Option<Target> {
    let features = match name {
        "aarch64" => Features::aarch64(),
        "aarch64-dotprod" => Features::aarch64_dotprod(),
        "aarch64-i8mm" => Features::aarch64_i8mm(),
        _ => return None,
    };
    Some(target(name, features))
}
