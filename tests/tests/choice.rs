//! Choice is real: lowerings live together in one e-graph, costs decide between them, any of them can be missing, and
//! neither the author's spelling nor the order of the rules decides anything.

use lowbit::check::Random;
use lowbit::compiler::rewrite::extract::Picked;
use lowbit::compiler::rewrite::lang::{Node, Op};
use lowbit::compiler::rewrite::rules;
use lowbit::compiler::rewrite::tabulate::CODE;
use lowbit::compiler::rewrite::{RuleSet, rule::Rule};
use lowbit::compiler::target::{Cost, Target, names};
use lowbit::{CandidateExplanation, Engine, Kernel, Options, Stage};
use lowbit_tests::{examples, kernels};

const EXTENTS: [(&str, u64); 3] = [("N", 4096), ("K", 1024), ("V", 64)];

fn target(name: &str) -> Target {
    Target::named(name).expect("a target")
}

fn example(name: &str) -> String {
    let found = examples().into_iter().find(|(n, _)| n == name);
    found.expect("an example").1
}

fn compile(engine: &Engine, text: &str) -> Kernel {
    let mut kernels = kernels(engine, text, &EXTENTS).expect("it compiles");
    kernels.pop().expect("a kernel")
}

/// The lowering of the last step: lanes, and how weights are decoded and products summed.
fn chosen(kernel: &Kernel) -> String {
    let program = kernel.program().expect("a program");
    let stage = program.stages.last().expect("a step");
    let chosen = stage.candidates.iter().find(|c| c.chosen).expect("one");
    format!("{}: {}", chosen.lanes, chosen.name)
}

#[test]
fn lowerings_live_together_in_one_graph() {
    let engine = Engine::new(target("x86-64-vnni")).expect("an engine");
    let kernel = compile(&engine, &example("int4_int8"));
    let program = kernel.program().expect("a program");
    let (_, _, rewritten, _) = &program.stages.last().expect("a step").parts[0];
    let names: Vec<&str> = rewritten
        .lowerings
        .iter()
        .map(|l| l.name.as_str())
        .collect();
    for way in [
        "dot product of four bytes",
        "byte products in pairs",
        "integer products",
        "table look-up to f32, bit arithmetic to f32, unpack to bytes, f32 multiply-add",
    ] {
        let found = names.iter().any(|n| n.contains(way));
        assert!(found, "no lowering with {way} in {names:#?}");
    }
}

#[test]
fn int4_times_int8_takes_four_rows_at_a_time_and_says_why() {
    let engine = Engine::new(target("x86-64-vnni")).expect("an engine");
    let kernel = compile(&engine, &example("int4_int8"));
    let explanation = kernel.explain().expect("an explanation");
    let candidates = &explanation.steps.last().expect("a step").candidates;
    let winner = candidates.iter().find(|c| c.chosen).expect("one");
    assert_eq!(winner.lanes, "[n:4, k:4] woven n:4");
    assert!(
        winner.name.contains("dot product of four bytes"),
        "{}",
        winner.name
    );
    let loser = candidates.iter().find(|c| c.lanes == "[k:16]");
    let reason = &loser.expect("[k:16] was considered").reason;
    assert!(
        reason.contains("× the winner") && reason.contains("bound by"),
        "{reason}"
    );
}

/// An example, a target, an operation, micro-operations for a register, and words of the lowering before and after.
type Flip = (
    &'static str,
    &'static str,
    Op,
    f64,
    &'static str,
    &'static str,
);

const FLIPS: &[Flip] = &[
    (
        "binary_linear",
        "aarch64-dotprod",
        Op::VCountOnes,
        60.0,
        "counts of bits",
        "dot product of four signed bytes",
    ),
    (
        "int4_int8",
        "x86-64-vnni",
        Op::VDot4,
        10.0,
        "dot product of four bytes",
        "byte products in pairs",
    ),
    (
        "int4_int8",
        "x86-64-v3",
        Op::VMulPairs8,
        20.0,
        "byte products in pairs",
        "look-up of sums in tables of two bytes",
    ),
    (
        "int2_tables",
        "x86-64-v2",
        Op::VPick,
        10.0,
        "look-up of rounded sums",
        "byte products in pairs",
    ),
    (
        "int2_int8",
        "x86-64-v2",
        Op::VMulPairs8,
        4.0,
        "byte products in pairs",
        "look-up of sums in tables of two bytes",
    ),
    (
        "int8_matmul",
        "x86-64-v3",
        Op::VMulPairs16,
        10.0,
        "16-bit products in pairs",
        "integer products",
    ),
    (
        "int8_matmul",
        "x86-64-vnni",
        Op::VDot4,
        10.0,
        "dot product of four bytes",
        "[n:4, k:4] woven n:4: 16-bit products in pairs",
    ),
    (
        "fp4_linear",
        "x86-64-v3",
        Op::VLookup32,
        10.0,
        "table look-up to f32",
        "table look-up to bytes",
    ),
    (
        "nf4_linear",
        "x86-64-v3",
        Op::VLookup32,
        30.0,
        "table look-up to f32",
        "in memory",
    ),
    (
        "nf4_linear",
        "x86-64-v3",
        Op::VFMul,
        10.0,
        "[n:16]",
        "[n:4, k:4]",
    ),
    (
        "q4_1_linear",
        "x86-64",
        Op::VMagic,
        10.0,
        "magic-number conversion",
        "unpack to bytes, f32 multiply-add",
    ),
    (
        "mxfp4_linear",
        "x86-64-vnni",
        Op::VDecode,
        200.0,
        "bit arithmetic to f32",
        "values in memory",
    ),
    (
        "ternary_linear",
        "x86-64-v3",
        Op::VWiden,
        0.1,
        "table look-up to f32",
        "table look-up to bytes",
    ),
];

/// Ternary weights in pairs (bitnet.cpp's TL1) and in triples with a sign (the codes of TL2), without and with rounded tables.
const TERNARY: [(&str, u64); 2] = [("tl1", 256), ("ternary3_96", 288)];

#[test]
fn ternary_pairs_and_triples_are_looked_up_where_nothing_multiplies_bytes_by_four() {
    for (format, columns) in TERNARY {
        for (tables, words) in [("", "two bytes"), (" tables int8", "rounded sums")] {
            let text = format!(
                "language 1;
                import \"std/ternary\";
                kernel ternary(weight w: {format}[N, K], input x: i8[M, K]) -> output y: f32[M, N]{tables} {{
                    y[m, n] = sum(k) w[n, k] * x[m, k];
                }}"
            );
            for level in ["x86-64-v2", "x86-64-v3", "aarch64"] {
                let engine = Engine::new(target(level)).expect("an engine");
                let kernel = engine
                    .compile(&text, &[("N", 64), ("K", columns)])
                    .expect("it compiles");
                let lowering = chosen(&kernel);
                let looked_up = lowering.contains("look-up of") && lowering.contains(words);
                assert!(looked_up, "{format}{tables} on {level}: {lowering}");
            }
        }
    }
}

/// Weights of few bits: what they import, their format.
const SMALL: [(&str, &str); 5] = [
    ("ints", "int1_32"),
    ("ints", "int2_32"),
    ("ternary", "ternary2_128"),
    ("ternary", "tl1"),
    ("ternary", "ternary5_160"),
];

#[test]
fn every_lowering_of_few_bits_is_explained() {
    for (module, format) in SMALL {
        for level in ["x86-64-v3", "x86-64-vnni", "aarch64"] {
            let text = format!(
                "language 1; import \"std/{module}\";
                kernel k(weight w: {format}[N, K], input x: i8[M, K]) -> output y: f32[M, N] tables int8 {{
                    y[m, n] = sum(k) w[n, k] * x[m, k];
                }}"
            );
            let engine = Engine::new(target(level)).expect("an engine");
            let kernel = engine.compile(&text, &[("N", 64), ("K", 480)]);
            let explained = kernel.expect("it compiles").explain().expect(format);
            let told = explained.steps.iter().all(|s| !s.rules.is_empty());
            assert!(told, "{format} on {level}: {explained}");
        }
    }
}

#[test]
fn one_cost_of_a_target_flips_the_choice() {
    for (name, level, op, uops, before, after) in FLIPS {
        let text = example(name);
        let base = target(level);
        let cost = Cost {
            uops: *uops,
            ..base.costs[op]
        };
        let with =
            |target: Target| chosen(&compile(&Engine::new(target).expect("an engine"), &text));
        let (first, second) = (with(base.clone()), with(base.with_cost(*op, cost)));
        let case = format!(
            "{name} on {level} with {} at {uops}: {first} / {second}",
            op.name()
        );
        assert!(first.contains(before), "{case}");
        assert!(!second.contains(before) && second.contains(after), "{case}");
    }
}

/// Lowerings by the rules that lead to them.
const WAYS: &[(&str, &[&str])] = &[
    ("dot products", &["dot4", "dot4-swapped", "dot4-signed"]),
    (
        "byte products in pairs",
        &["mul-pairs8", "mul-pairs8-swapped"],
    ),
    ("16-bit products in pairs", &["mul-pairs16", "add-pairs16"]),
    ("look-ups to f32", &["lookup-floats"]),
    (
        "look-ups to bytes",
        &["lookup-bytes", "lookup-unsigned-bytes"],
    ),
    (
        "look-ups",
        &["lookup-floats", "lookup-bytes", "lookup-unsigned-bytes"],
    ),
    (
        "tables in memory",
        &["lookup-in-memory", "lookup-integers-in-memory"],
    ),
    ("values in memory", &["fetch", "fetch-integers"]),
    ("bit arithmetic", &["decode"]),
    ("stages", &["stage-f32", "stage-i32"]),
    ("panels", &["panel"]),
    (
        "sums of pairs inside loops",
        &["fold-inwards", "fold-pair-inwards"],
    ),
];

#[test]
fn any_lowering_may_be_missing() {
    for (way, without) in WAYS {
        let all = rules::all();
        let known = |n: &str| all.iter().any(|r| r.name == n);
        assert!(without.iter().all(|n| known(n)), "{way}: no such rule");
        let kept: Vec<Rule> = all
            .iter()
            .filter(|r| !without.contains(&r.name))
            .copied()
            .collect();
        for level in names() {
            let set = RuleSet::of(&kept, &CODE).expect("the rules compile");
            let engine = Engine::with_rules(target(level), set);
            for (name, text) in examples() {
                if let Err(error) = kernels(&engine, &text, &EXTENTS) {
                    panic!("without {way}, {name} on {level}: {error}");
                }
            }
        }
    }
}

#[test]
fn the_order_of_the_rules_does_not_matter() {
    let mut random = Random::new(5);
    let vectors = |engine: &Engine, text: &str| -> Vec<String> {
        let kernels = kernels(engine, text, &EXTENTS).expect("it compiles");
        let text = |k: &Kernel| k.stage(Stage::Vector).expect("a stage");
        kernels.iter().map(text).collect()
    };
    let plain = Engine::new(target("x86-64-vnni")).expect("an engine");
    for round in 0..4 {
        let mut shuffled = rules::all();
        for i in (1..shuffled.len()).rev() {
            shuffled.swap(i, random.below(i as u64 + 1) as usize);
        }
        let set = RuleSet::of(&shuffled, &CODE).expect("the rules compile");
        let engine = Engine::with_rules(target("x86-64-vnni"), set);
        for (name, text) in examples() {
            let same = vectors(&plain, &text) == vectors(&engine, &text);
            assert!(same, "{name} differs after shuffle {round}");
        }
    }
}

/// A formula that is spelled in many ways.
#[derive(Clone, Debug)]
enum Formula {
    Atom(&'static str),
    Sum(Vec<Formula>),
    Product(Vec<Formula>),
}

use Formula::{Atom, Product, Sum};

impl Formula {
    fn text(&self) -> String {
        let joined = |parts: &[Formula], with: &str| {
            let texts: Vec<String> = parts.iter().map(Formula::text).collect();
            format!("({})", texts.join(with))
        };
        match self {
            Atom(name) => (*name).to_owned(),
            Sum(parts) => joined(parts, " + "),
            Product(parts) => joined(parts, " * "),
        }
    }

    /// Another spelling: operands in another order, in other groups, and products of sums multiplied out or not.
    fn respelled(&self, random: &mut Random) -> Formula {
        let (parts, product) = match self {
            Atom(_) => return self.clone(),
            Sum(parts) => (parts, false),
            Product(parts) => (parts, true),
        };
        let mut parts: Vec<Formula> = parts.iter().map(|p| p.respelled(random)).collect();
        for i in (1..parts.len()).rev() {
            parts.swap(i, random.below(i as u64 + 1) as usize);
        }
        let sum = parts.iter().position(|p| matches!(p, Sum(_)));
        if let (true, Some(at), 0) = (product, sum, random.below(2)) {
            let Sum(terms) = parts.swap_remove(at) else {
                return self.clone();
            };
            let times = |term: Formula| {
                let mut factors = parts.clone();
                factors.insert(random_place(random, factors.len()), term);
                Product(factors)
            };
            return Sum(terms.into_iter().map(times).collect());
        }
        let whole = if product { Product } else { Sum };
        if parts.len() > 2 && random.below(2) == 0 {
            let group = parts.split_off(parts.len() - 2);
            parts.push(whole(group));
        }
        whole(parts)
    }
}

fn random_place(random: &mut Random, len: usize) -> usize {
    random.below(len as u64 + 1) as usize
}

/// Values of formats, and what kernels sum and add, with the rest of the text around them.
fn spellable() -> Vec<(&'static str, Formula)> {
    let value = "language 1;
        format w0 = block i < 32 { s: f16; m: f16; z: uint(4); q[i]: uint(4); value = FORMULA; }
        kernel k(weight w: w0[N, K], input x: f32[M, K]) -> output y: f32[M, N] { y[m, n] = sum(k) w[n, k] * x[m, k]; }";
    let bytes = "language 1;
        format w0 = block i < 32 { s: f16; z: uint(4); q[i]: int(4); value = FORMULA; }
        format a0 = block i < 32 { d: f16; c[i]: int(8); value = d * c[i]; }
        kernel k(weight w: w0[N, K], input x: a0[M, K]) -> output y: f32[M, N] { y[m, n] = sum(k) w[n, k] * x[m, k]; }";
    let summed = "language 1;
        import \"std/ints\";
        kernel k(weight w: int4_32[N, K], input x: f32[M, K], input g: f32[K]) -> output y: f32[M, N] { y[m, n] = sum(k) FORMULA; }";
    let added = "language 1;
        import \"std/ints\";
        kernel k(weight w: int4_32[N, K], input x: f32[M, K], input b: f32[N], input c: f32[M]) -> output y: f32[M, N] {
            y[m, n] = FORMULA;
        }";
    let with_zero = Product(vec![
        Atom("s"),
        Sum(vec![Atom("q[i]"), Product(vec![Atom("z"), Atom("(-1)")])]),
    ]);
    let summed_scale = Product(vec![
        Atom("s"),
        Sum(vec![Atom("z"), Atom("(-9)")]),
        Sum(vec![Atom("q[i]"), Atom("(-3)")]),
    ]);
    let affine = Sum(vec![
        Product(vec![Atom("s"), Sum(vec![Atom("q[i]"), Atom("(-8)")])]),
        Product(vec![Atom("m"), Atom("2")]),
    ]);
    let products = Product(vec![
        Atom("w[n, k]"),
        Atom("g[k]"),
        Sum(vec![Atom("x[m, k]"), Atom("0.5")]),
        Atom("2"),
    ]);
    let epilogue = Product(vec![
        Sum(vec![
            Atom("(sum(k) w[n, k] * x[m, k])"),
            Atom("b[n]"),
            Atom("1"),
        ]),
        Atom("c[m]"),
        Atom("0.25"),
    ]);
    vec![
        (value, affine),
        (bytes, with_zero),
        (bytes, summed_scale),
        (summed, products),
        (added, epilogue),
    ]
}

#[test]
fn spelling_does_not_matter() {
    let mut random = Random::new(11);
    for level in ["x86-64-vnni", "x86-64-v2"] {
        let engine = Engine::new(target(level)).expect("an engine");
        for (text, formula) in spellable() {
            let vector = |formula: &Formula| {
                let kernel = compile(&engine, &text.replace("FORMULA", &formula.text()));
                kernel.stage(Stage::Vector).expect("a stage")
            };
            let first = vector(&formula);
            for _ in 0..12 {
                let other = formula.respelled(&mut random).respelled(&mut random);
                assert_eq!(first, vector(&other), "{} on {level}", other.text());
            }
        }
    }
}

/// Values of weights, bits that the chosen layout has for one, how many neighbours have a mirrored joint code, and bits of such
/// a code for a weight.
const FEW_VALUES: [(&str, f64, u32, f64); 3] = [
    ("-1, 1", 1.0, 5, 1.0),
    ("-1, 0, 1", 2.0, 3, 5.0 / 3.0),
    ("-7, -2, 0, 2, 7", 8.0, 2, 2.5),
];

#[test]
fn neighbours_of_few_values_may_share_a_joint_code_with_a_sign() {
    for target in ["x86-64-v2", "aarch64"].map(target) {
        let engine = Engine::new(target).expect("an engine");
        for (values, chosen, neighbours, bits) in FEW_VALUES {
            let text = format!(
                "language 1; format few = codebook [{values}];
                 kernel k(weight w: few[N, K], input x: i8[M, K]) -> output y: f32[M, N] {{
                     y[m, n] = sum(k) w[n, k] * x[m, k];
                 }}"
            );
            let dims = [("N", 4096), ("K", 4080)];
            let kernel = engine.compile(&text, &dims).expect("it compiles");
            let explanation = kernel.explain().expect("an explanation");
            // Codes that lie one to a byte in the format are packed where that is cheaper.
            let weight = &explanation.weights[0];
            assert!(weight.format_bits == 8.0 && weight.resident_bits <= chosen + 0.01);
            let lanes = format!("[n:16] joint k:{neighbours}");
            let candidates = &explanation.steps[0].candidates;
            let tables = |c: &&CandidateExplanation| {
                c.lanes.starts_with(&lanes) && c.name.contains("look-up of sums in tables")
            };
            assert!(candidates.iter().any(|c| tables(&c)), "{values}");
            let options = Options {
                force: Some(lanes),
                ..Options::default()
            };
            let forced = engine.compile_with(&text, &dims, &options);
            let forced = forced
                .expect("it compiles")
                .explain()
                .expect("an explanation");
            assert!(
                (forced.weights[0].resident_bits - bits).abs() < 0.01,
                "{values}"
            );
        }
    }
}

/// Whether a number is nothing but a biased one, however it was converted.
fn is_biased(nodes: &[Picked], at: usize) -> bool {
    let Picked { op, children, .. } = &nodes[at];
    match children[..] {
        _ if *op == Op::VBias => true,
        [only] if !op.has_axis() => is_biased(nodes, only),
        // A conversion by a magic number that takes no 128 away.
        [of, number] if *op == Op::VFAdd && nodes[of].op == Op::VMagic => {
            let magic = Node::num(-f64::from(1 << 23));
            nodes[number].data.contains(&magic) && is_biased(nodes, of)
        }
        _ => false,
    }
}

/// What the weights are multiplied with, beside bytes.
const NO_BYTES: [(&str, &str); 4] = [
    ("f32", "x[m, k]"),
    ("i16", "x[m, k]"),
    ("i32", "x[m, k]"),
    ("f32", "round(x[m, k])"),
];

#[test]
fn products_of_other_than_bytes_take_no_biased_codes() {
    for target in names().into_iter().map(target) {
        let engine = Engine::new(target).expect("an engine");
        for (bits, (input, x)) in (5..=8).flat_map(|b| NO_BYTES.map(|x| (b, x))) {
            let text = format!(
                "language 1; format code = int({bits});
                 kernel k(weight w: code[N, K], input x: {input}[M, K]) -> output y: f32[M, N] {{
                     y[m, n] = sum(k) w[n, k] * {x};
                 }}"
            );
            let kernel = compile(&engine, &text);
            let program = kernel.program().expect("a program");
            for (_, _, rewritten, _) in &program.stages.last().expect("a step").parts {
                for lowering in rewritten.lowerings.iter() {
                    let nodes = &lowering.term.nodes;
                    let products = nodes.iter().filter(|n| n.op == Op::VFMul);
                    let mut factors = products.flat_map(|product| &product.children);
                    assert!(
                        factors.all(|f| !is_biased(nodes, *f)),
                        "{bits} bits, {input} {x}: {}",
                        lowering.name
                    );
                }
            }
        }
    }
}

#[test]
fn a_scale_that_is_a_sum_stays_one_number() {
    let text = "language 1;
        format k = block i < 256 {
            d: f16; s[i / 16]: uint(6); q[i]: uint(3); value = d * (s[i / 16] - 32) * (q[i] - 4);
        }
        kernel linear(weight w: k[N, K], input x: i8[M, K]) -> output y: f32[M, N] {
            y[m, n] = sum(k) w[n, k] * x[m, k];
        }";
    let engine = Engine::new(target("x86-64-vnni")).expect("an engine");
    let kernel = compile(&engine, text);
    let rewritten = kernel.stage(Stage::Rewrite).expect("a stage");
    let subtracted = |number: &str| {
        let lines = rewritten.lines().filter(|line| line.ends_with(number));
        lines.collect::<Vec<_>>()
    };
    let [scale] = subtracted("v.num -32")[..] else {
        panic!("{rewritten}");
    };
    assert!(scale.contains("i32"), "{scale}");
}
