//! x86-64 in its levels, at 128 bits: SSE2, SSSE3 with SSE4.1, AVX2 with FMA, and VNNI.
//!
//! Figures: Zen 4, measured (`lowbit calibrate`); two vector multipliers, two shuffle units and two adders of floats among four
//! vector units.

use super::{Cost, Line, Target, Throughput, Unit::*, levels, table, window};
use crate::codegen::Features;
use crate::rewrite::lang::Op;
use std::collections::BTreeMap;

pub(super) const NAMES: [&str; 4] = ["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-vnni"];

/// What SSE2 adds: multiply pairs.
const SSE2: &[Line] = &[
    (Op::VMulPairs16, Multiply, 1.0, 3.0),
    (Op::VAddPairs16, Multiply, 1.0, 3.0),
    (Op::VWiden, Shuffle, 1.5, 2.0),
    (Op::VCountOnes, Vector, 12.0, 11.0),
    (Op::VRound, Scalar, 24.0, 12.0),
    (Op::VRoundAway, Scalar, 54.0, 30.0),
    (Op::VTrunc, Scalar, 28.0, 15.0),
    (Op::VFloor, Scalar, 24.0, 12.0),
];

/// What SSSE3 and SSE4.1 add: `pshufb`, `pmaddubsw`, `pmovsx`, `roundps`.
const SSSE3: &[Line] = &[
    (Op::VLookup8, Shuffle, 1.0, 1.0),
    (Op::VLookup32, Shuffle, 1.0, 3.0),
    (Op::VPick, Shuffle, 1.0, 1.0),
    (Op::VCountOnes, Vector, 6.0, 4.0),
    (Op::VMulHigh, Multiply, 1.0, 3.0),
    (Op::VMulPairs8, Multiply, 1.0, 3.0),
    (Op::VWiden, Shuffle, 1.5, 1.0),
    (Op::VRound, Vector, 2.0, 3.0),
    (Op::VRoundAway, Vector, 18.0, 18.0),
    (Op::VTrunc, Vector, 10.0, 6.0),
    (Op::VFloor, Vector, 2.0, 3.0),
];

/// What VNNI adds: `vpdpbusd`.
const VNNI: &[Line] = &[(Op::VDot4, Multiply, 1.0, 4.0)];

/// What AVX512-BITALG adds: `vpopcntb`.
const BITALG: &[Line] = &[(Op::VCountOnes, Multiply, 1.0, 2.0)];

/// Caches, with bytes and bytes a cycle: Zen 4.
const LEVELS: [(&str, u64, f64); 3] = [
    ("L1", 32 << 10, 32.0),
    ("L2", 1 << 20, 30.0),
    ("L3", 16 << 20, 24.0),
];

/// The target for a set of features.
pub(super) fn target(name: &str, features: Features) -> Target {
    let mut lines = SSE2.to_vec();
    if features.ssse3 && features.sse41 {
        lines.extend(SSSE3);
    }
    if features.avx512vnni || features.avxvnni {
        lines.extend(VNNI);
    }
    if features.avx512bitalg {
        lines.extend(BITALG);
    }
    let access = |unit, uops, latency| Cost {
        unit,
        uops,
        latency,
    };
    let accesses = BTreeMap::from([
        ("load", access(Load, 1.0, 5.0)),
        (
            "broadcast",
            access(Load, if features.avx2 { 1.0 } else { 2.0 }, 5.0),
        ),
        (
            "tile",
            access(Load, if features.avx2 { 1.0 } else { 2.0 }, 5.0),
        ),
        ("gather", access(Load, 1.5, 8.0)),
        ("store", access(Store, 1.0, 1.0)),
    ]);
    let throughput = Throughput {
        units: [4.0, 2.0, 2.0, 2.0, 1.0, 4.0, 2.0],
        issue: 6.0,
        memory: 6.5,
        registers: 16,
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
        "x86-64" => Features::x86_64_sse2(),
        "x86-64-v2" => Features::x86_64_v2(),
        "x86-64-v3" => Features::x86_64_v3(),
        "x86-64-vnni" => Features::x86_64_vnni(),
        _ => return None,
    };
    Some(target(name, features))
}
