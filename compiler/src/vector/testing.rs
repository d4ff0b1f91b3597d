//! Functions for tests: one for each operation, element and number of lanes, and random ones with loops.
//!
//! All functions have the parameters `bytes` and `floats` (read) and `out` (written). Floats in memory are small integers
//! and a few special values; where machines may round differently (`mul_add`) only the small integers are used.

mod generate;

use super::ir::{Elem, Function, Scalar, Step, Type};
use super::read::read;
use generate::{CHOICES, Gen};

/// Bytes of each buffer of a test function.
pub(crate) const BYTES: usize = 4096;
/// Bytes of the output.
pub(crate) const OUT: usize = 1 << 16;
/// Floats below this offset are small integers; above it there are special values too.
const SMALL: i32 = 2048;

/// Small random numbers (SplitMix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Contents of the buffers `bytes` and `floats`.
pub(crate) fn inputs(rng: &mut Rng) -> (Vec<u8>, Vec<u8>) {
    let extreme = [0u8, 1, 0x7f, 0x80, 0x81, 0xff];
    let bytes = (0..BYTES)
        .map(|_| {
            if rng.below(4) == 0 {
                rng.pick(&extreme)
            } else {
                rng.next() as u8
            }
        })
        .collect();
    let special = [
        0.0f32,
        -0.0,
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        0.499_999_97,
        8_388_607.5,
        -8_388_609.0,
        2_147_483_600.0,
        2_147_483_648.0,
        -2_147_483_648.0,
        -3e9,
        1e30,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        1e-40,
    ];
    let floats = (0..BYTES / 4).flat_map(|at| {
        let small = rng.below(33) as f32 - 16.0;
        let float = match rng.below(3) {
            _ if at < SMALL as usize / 4 => small,
            0 => small,
            1 => rng.pick(&special),
            _ => f32::from_bits((rng.next() as u32 & 0x81ff_ffff) | 0x3e00_0000),
        };
        float.to_le_bytes()
    });
    (bytes, floats.collect())
}

/// A random function.
pub(crate) fn random(seed: u64) -> Function {
    let mut rng = Rng(seed);
    let mut g = Gen::new(&mut rng, "random");
    g.region(24, 2);
    g.finish()
}

/// For each operation, element and number of lanes a function that only computes it.
pub(crate) fn single() -> Vec<Function> {
    let mut functions = Vec::new();
    for choice in 0..CHOICES {
        for elem in Elem::ALL {
            for lanes in (0..7).map(|n| 1 << n) {
                for variant in 0..3 {
                    let mut rng = Rng(variant * 1000 + choice as u64);
                    let mut g = Gen::new(
                        &mut rng,
                        &format!("choice{choice}_{elem}x{lanes}_{variant}"),
                    );
                    if let Some(value) = g.operation(choice, Type::new(elem, lanes)) {
                        g.store(value);
                        functions.push(g.b.finish());
                    }
                }
            }
        }
    }
    functions
}

/// Operations of a function, for coverage.
pub(crate) fn names(steps: &[Step], into: &mut std::collections::BTreeSet<&'static str>) {
    for step in steps {
        match step {
            Step::Let(_, op) => {
                into.insert(op.name());
            }
            Step::Store { .. } => {}
            Step::Loop(l) => names(&l.body, into),
        }
    }
}

/// A scalar of every kind.
pub(crate) fn scalar() -> Scalar {
    let two = |make: fn(Box<Scalar>, Box<Scalar>) -> Scalar, a: Scalar| {
        make(Box::new(a), Box::new(Scalar::Const(3)))
    };
    [
        Scalar::Add,
        Scalar::Sub,
        Scalar::Mul,
        Scalar::Div,
        Scalar::DivCeil,
        Scalar::Rem,
        Scalar::Min,
    ]
    .into_iter()
    .fold(Scalar::Dim(1), |scalar, make| two(make, scalar))
}

/// A function with one word of its text changed: another value, type, number or operation. `None` if that is no text of a
/// function.
pub(crate) fn mutant(function: &Function, rng: &mut Rng) -> Option<Function> {
    let text = function.to_string();
    let start = text.find("= ").unwrap_or(0);
    let words: Vec<(usize, &str)> = text
        .match_indices(|c: char| c.is_ascii_alphanumeric())
        .filter(|(at, _)| {
            *at > start && !text[..*at].ends_with(|c: char| c.is_ascii_alphanumeric())
        })
        .map(|(at, _)| {
            let rest = &text[at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            (at, &rest[..end.unwrap_or(rest.len())])
        })
        .collect();
    let (at, old) = rng.pick(&words);
    // A word of the same kind, most of the time.
    let kind = |word: &str| {
        let (first, digits) = word.split_at(1);
        let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        (
            number && first == "v",
            Elem::ALL.iter().any(|e| word.starts_with(e.name())),
        )
    };
    let alike: Vec<&str> = words
        .iter()
        .map(|w| w.1)
        .filter(|w| kind(w) == kind(old) && *w != old)
        .collect();
    let new = if alike.is_empty() || rng.below(16) == 0 {
        rng.pick(&words).1
    } else {
        rng.pick(&alike)
    };
    read(&format!("{}{new}{}", &text[..at], &text[at + old.len()..])).ok()
}
