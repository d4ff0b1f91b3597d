//! Every rule is there for something: without it some kernel does not compile, or other lowerings are considered, or they
//! cost something else.

use lowbit::compiler::rewrite::rule::Rule;
use lowbit::compiler::rewrite::tabulate::{CODE, CodeRule};
use lowbit::compiler::rewrite::{RuleSet, rules};
use lowbit::compiler::target::Target;
use lowbit::{Engine, Kernel};
use lowbit_tests::{examples, kernels, on_two_threads};

/// Extents that the compiler knows; only a call knows the others.
const EXTENTS: [(&str, u64); 4] = [("N", 64), ("K", 256), ("V", 64), ("H", 64)];

const TARGETS: [&str; 4] = ["x86-64", "x86-64-v2", "x86-64-vnni", "aarch64-dotprod"];

/// Kernels for what the examples do not have.
const SMALL: &[&str] = &[
    // Functions.
    "language 1;
    kernel functions(input x: f32[M, K], input z: f32[M, K]) -> output y: f32[M, K] {
        y[m, k] = abs(x[m, k]) + exp(z[m, k]) + tanh(x[m, k]) * gelu(z[m, k]) + round(x[m, k] * 3)
            + floor(x[m, k]) * trunc(z[m, k]) + round_away(x[m, k] * 2) * floor_pow2(z[m, k])
            + min(x[m, k], z[m, k]) * max(x[m, k], z[m, k]);
    }
    kernel selections(input x: f32[M, K], input z: f32[M, K]) -> output y: f32[M, K] {
        y[m, k] = select(x[m, k] < z[m, k], 1, 2) + select(x[m, k] <= 0, 3, 4) + select(z[m, k] == 0, 5, 6);
    }",
    // A maximum, and the mean over an extent that a call brings.
    "language 1;
    kernel largest(input x: f32[M, K]) -> output y: f32[M] { y[m] = max(k) x[m, k]; }
    kernel mean(input x: f32[M, D]) -> output y: f32[M] { y[m] = sum(d) x[m, d] / D; }",
    // A sum of what does not change, and a product with a sum on either side.
    "language 1;
    kernel shifted(input x: f32[M, K], input b: f32[M]) -> output y: f32[M] { y[m] = sum(k) (x[m, k] + b[m]); }
    kernel shifted_rows(weight w: i8[N, K], input x: i8[M, K], input b: i8[M]) -> output y: i32[M, N] {
        y[m, n] = sum(k) w[n, k] * (x[m, k] + b[m]);
    }",
    // Declared arithmetic.
    "language 1;
    format odd = block i < 32 { s: f32; z: f32; q[i]: uint(4); value = max(min(s / (q[i] + 1) + z, 4), -4); }
    kernel declared(stored w: odd[N, K]) -> output y: f32[N, K] { y[n, k] = w[n, k]; }",
    // Codes of more than a byte, and integers that do not fit one.
    "language 1;
    format wide = int(20);
    kernel words(stored w: wide[N, K]) -> output y: f32[N, K] { y[n, k] = w[n, k]; }",
    "language 1;
    kernel products(input a: i16[K], input b: i16[K]) -> output y: i32[K] { y[k] = a[k] * b[k]; }",
    "language 1;
    format thousands = codebook [0, 1000, -1000, 5];
    kernel large(weight w: thousands[N, K], input x: i8[M, K]) -> output y: i32[M, N] {
        y[m, n] = sum(k) w[n, k] * x[m, k];
    }",
    "language 1;
    format squares = codebook [0, -2, -2, 0, 4, 10, 18, 28, 40, 54, 70, 88, 108, 130, 154, 180, 208, 238, 270, 304, 340, 378, 418, 460, 504, 550, 598, 648, 700, 754, 810, 868];
    kernel many(weight w: squares[N, K], input x: i8[M, K]) -> output y: i32[M, N] {
        y[m, n] = sum(k) w[n, k] * x[m, k];
    }",
    // A polynomial of a code: a table of integers that no element has.
    "language 1;
    format nibble = uint(4);
    kernel powers(weight w: nibble[N, K]) -> output y: i32[N, K] {
        y[n, k] = (w[n, k] + 3) * (w[n, k] + 1) * w[n, k] * w[n, k] * w[n, k] * w[n, k];
    }",
    // Codes in two planes.
    "language 1;
    format three = block i < 32 { s: f16; q[i]: int(3); value = s * q[i]; }
    format six = block i < 32 { s: f16; q[i]: uint(6); value = s * q[i]; }
    kernel planes(weight w: three[N, K], weight v: six[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
        y[m, n] = sum(k) (w[n, k] + v[n, k]) * x[m, k];
    }",
    // Several rows of activations: weights are decoded once for all of them.
    "language 1;
    import \"std/ints\";
    kernel batch(weight w: int4_32[N, K], input x: f32[16, K]) -> output y: f32[16, N] { y[m, n] = sum(k) w[n, k] * x[m, k]; }",
    // Joint codes of two entries of a codebook, of bits with an offset, and of one bit.
    "language 1;
    import \"std/ints\";
    format four = block i < 32 { s: f16; q[i]: codebook [-3, 1, 0, 7]; value = s * q[i]; }
    kernel pairs(weight w: four[N, K], input x: q8_32[M, K]) -> output y: f32[M, N] tables int8 {
        y[m, n] = sum(k) w[n, k] * x[m, k];
    }
    kernel bits(weight w: int1_32[N, K], input x: q8_32[M, K]) -> output y: f32[M, N] tables int8 {
        y[m, n] = sum(k) w[n, k] * x[m, k];
    }
    kernel exact(weight w: int2_32[N, K], input x: q8_32[M, K]) -> output y: f32[M, N] {
        y[m, n] = sum(k) w[n, k] * x[m, k];
    }",
    // Codes of three values, which are joint codes and a sign.
    "language 1;
    import \"std/ternary\";
    kernel triples(weight w: ternary3_96[N, K], input x: i8[M, K]) -> output y: f32[M, N] {
        y[m, n] = sum(k) w[n, k] * x[m, k];
    }",
    // Digits of a byte: of a number, of a fraction, before and behind their places.
    "language 1;
    import \"std/ternary\";
    import \"std/ggml\";
    kernel digits(weight w: ternary5_160[N, K], input x: i8[M, K]) -> output y: f32[M, N] {
        y[m, n] = sum(k) w[n, k] * x[m, k];
    }
    kernel fractions(weight w: tq1_0[N, K], input x: i8[M, K]) -> output y: f32[M, N] {
        y[m, n] = sum(k) w[n, k] * x[m, k];
    }",
    // Signed codes of more bits than a table has.
    "language 1;
    import \"std/ints\";
    kernel offset(weight w: int6_32[N, K], input x: q8_32[M, K]) -> output y: f32[M, N] {
        y[m, n] = sum(k) w[n, k] * x[m, k];
    }",
    // Weights and activations of one bit and of two: bits that lie in one byte, and bits that lie apart.
    "language 1;
    import \"std/ints\";
    kernel bits_of_two(weight w: int2_32[N, K], input x: int2_32[M, K]) -> output y: f32[M, N] {
        y[m, n] = sum(k) w[n, k] * x[m, k];
    }",
    // The unsigned factor second.
    "language 1;
    kernel unsigned(weight w: i8[N, K], input x: u8[M, K]) -> output y: i32[M, N] {
        y[m, n] = sum(k) w[n, k] * x[m, k];
    }
    format nibble = uint(4);
    kernel small(weight w: i8[N, K], input x: nibble[M, K]) -> output y: i32[M, N] {
        y[m, n] = sum(k) w[n, k] * x[m, k];
    }",
];

/// What was considered for a kernel, and what was chosen.
fn considered(kernel: &Kernel) -> String {
    let program = kernel.program().expect("a program");
    let mut text = String::new();
    for stage in &program.stages {
        for candidate in &stage.candidates {
            text.push_str(&format!("{candidate:?}\n"));
        }
        for (_, _, rewritten, lowering) in &stage.parts {
            text.push_str(&format!("{}\n", lowering.term.hash));
            for other in rewritten.lowerings.iter() {
                text.push_str(&format!("{} {}\n", other.name, other.term.hash));
            }
        }
    }
    text
}

/// A kernel for a target, with what the whole list of rules makes of it.
struct Case {
    text: String,
    target: &'static str,
    considered: String,
    /// Rules that made something new in it.
    applied: Vec<String>,
    /// Nodes of its graphs: small ones are tried first.
    nodes: usize,
}

/// The kernels of a text by some rules, if these suffice.
fn compile(text: &str, target: &str, set: RuleSet) -> Option<Vec<Kernel>> {
    let engine = Engine::with_rules(Target::named(target).expect("a target"), set);
    kernels(&engine, text, &EXTENTS).ok()
}

fn all_considered(kernels: &[Kernel]) -> String {
    kernels.iter().map(considered).collect()
}

fn cases() -> Vec<Case> {
    let small = SMALL.iter().map(|text| text.to_string());
    let mut cases = Vec::new();
    for text in small.chain(examples().into_iter().map(|(_, text)| text)) {
        for target in TARGETS {
            let set = RuleSet::standard().expect("the rules compile");
            let kernels = compile(&text, target, set).expect("it compiles");
            let stages = kernels
                .iter()
                .flat_map(|k| &k.program().expect("a program").stages);
            let mut applied = Vec::new();
            let mut nodes = 0;
            for stage in stages {
                nodes += stage.nodes;
                for (_, _, rewritten, _) in &stage.parts {
                    applied.extend(rewritten.applied.keys().cloned());
                }
            }
            cases.push(Case {
                considered: all_considered(&kernels),
                text: text.clone(),
                target,
                applied,
                nodes,
            });
        }
    }
    cases.sort_by_key(|c| c.nodes);
    cases
}

/// Whether some kernel misses a rule.
fn missed(cases: &[Case], name: &str) -> bool {
    let all = rules::all();
    let kept: Vec<Rule> = all.into_iter().filter(|r| r.name != name).collect();
    let changed = |case: &Case| {
        let code: Vec<CodeRule> = CODE.into_iter().filter(|c| c.name() != name).collect();
        let set = RuleSet::of(&kept, &code).expect("the rules compile");
        let now = compile(&case.text, case.target, set);
        now.is_none_or(|k| all_considered(&k) != case.considered)
    };
    let likely = |c: &&Case| c.applied.iter().any(|a| a == name);
    let (first, rest): (Vec<_>, Vec<_>) = cases.iter().partition(likely);
    first.into_iter().chain(rest).any(changed)
}

#[test]
fn every_rule_is_missed_when_it_is_gone() {
    let cases = cases();
    let all = rules::all();
    let names = all.iter().map(|r| r.name).chain(CODE.map(CodeRule::name));
    let idle = on_two_threads(names, |name| match missed(&cases, name) {
        true => Vec::new(),
        false => vec![name],
    });
    assert!(idle.is_empty(), "nothing misses {idle:?}");
}
