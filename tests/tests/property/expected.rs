//! What the fixed seeds must cover, and how often; what they cannot reach is listed with the reason.

use lowbit::compiler::rewrite::lang::Op;
use lowbit::compiler::rewrite::rules;
use lowbit::compiler::syntax::all_productions;
use lowbit::compiler::target::Target;
use std::collections::BTreeMap;

/// How many programs must cover each thing.
const LEAST: u64 = 20;

/// Operations of the vector IR that kernels are made of.
const OPS: &[&str] = &[
    "Bin And",
    "Bin FAdd",
    "Bin FDiv",
    "Bin FMax",
    "Bin FMin",
    "Bin FMul",
    "Bin FSub",
    "Bin IAdd",
    "Bin IMul",
    "Bin ISub",
    "Bin Or",
    "Bin SMax",
    "Bin SMin",
    "Bin Xor",
    "Bitcast",
    "Build",
    "Cmp FEq",
    "Cmp FLe",
    "Cmp FLt",
    "Cmp IEq",
    "Cmp SLt",
    "Convert FloatToInt",
    "Convert IntToFloat",
    "Convert Narrow",
    "Convert WidenS",
    "Convert WidenU",
    "Extract",
    "FConst",
    "Fold",
    "FoldMax",
    "IConst",
    "Join",
    "Load",
    "Lookup",
    "Loop",
    "MulAdd",
    "MulPairsS16",
    "MulPairsU8S8",
    "Param",
    "Repeat",
    "Select",
    "Shift SShr",
    "Shift Shl",
    "Shift UShr",
    "ShiftBy Shl",
    "ShiftBy UShr",
    "Splat",
    "Store",
    "TableAddr",
    "Tile",
    "Un FAbs",
    "Un FNeg",
    "Un FRound",
    "Un FSqrt",
    "VConst",
];

/// Lowerings, as `explain` names them.
const LOWERINGS: &[&str] = &[
    "16-bit products in pairs",
    "bit arithmetic to f32",
    "byte products in pairs",
    "f32",
    "f32 multiply-add",
    "integer products",
    "magic-number conversion",
    "sign extension",
    "staged sums",
    "table in memory",
    "table look-up to bytes",
    "table look-up to f32",
    "unpack to bytes",
    "values in memory",
];

/// What needs an instruction that not every machine has.
const DOT_PRODUCTS: &[&str] = &["op Dot4U8S8", "chosen dot product of four bytes"];

/// What no program reaches, with the reason.
const UNREACHED: &[(&str, &str)] = &[];

/// Rules of codes that are read in place, where the machine sums products of bytes.
const IN_PLACE: [&str; 4] = ["unit", "unit-i32", "unit-first", "unit-outwards"];

/// What is covered too rarely.
pub(crate) fn missing(covered: &BTreeMap<String, u64>) -> Vec<String> {
    let rules = rules::all();
    let dot = Target::host().costs.contains_key(&Op::VDot4);
    let applied = { rules.iter() }.filter(|r| dot || !IN_PLACE.contains(&r.name));
    let productions = all_productions();
    let wanted = productions
        .iter()
        .map(|p| format!("production {p}"))
        .chain(applied.map(|r| format!("rule {}", r.name)))
        .chain(["rule tabulate".to_owned()])
        .chain(OPS.iter().map(|o| format!("op {o}")))
        .chain(LOWERINGS.iter().map(|l| format!("chosen {l}")))
        .chain(["whole tiles", "rest of rows", "tail"].map(|p| format!("part {p}")));
    let dot_products = DOT_PRODUCTS.iter().filter(|_| dot).map(|d| (*d).to_owned());
    let wanted = wanted.chain(dot_products);
    let known = |name: &str| UNREACHED.iter().any(|(n, _)| *n == name);
    let count = |name: &str| covered.get(name).copied().unwrap_or(0);
    let reached = UNREACHED.iter().filter(|(name, _)| count(name) > 0);
    let reached: Vec<String> = reached.map(|(n, _)| format!("{n} is reached")).collect();
    wanted
        .filter(|name| count(name) < LEAST && !known(name))
        .map(|name| format!("{name}: {}", count(&name)))
        .chain(reached)
        .collect()
}
