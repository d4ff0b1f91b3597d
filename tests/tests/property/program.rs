//! A program under construction: its random numbers, its formats and dimensions, and what it covers.

use lowbit::check::Random;
use std::collections::BTreeSet;

/// A random program.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The number that it grows from.
    pub(crate) seed: u64,
    /// The text.
    pub(crate) text: String,
    /// Extents of its dimensions.
    pub(crate) dims: Vec<(String, u64)>,
    /// Whether a dimension is bound when the kernel is compiled.
    pub(crate) bound: Vec<bool>,
    /// The target's name.
    pub(crate) target: &'static str,
    /// Words of a lowering that is taken where there is one.
    pub(crate) force: Option<&'static str>,
    /// What it is made of: `element codebook`, `role weight`, `kernel linear`, …
    pub(crate) tags: BTreeSet<String>,
}

/// A source of choices that remembers what it chose.
pub(crate) struct Maker {
    /// Random numbers.
    pub(crate) random: Random,
    /// Definitions of formats.
    pub(crate) formats: Vec<String>,
    /// Dimensions with their extents.
    pub(crate) dims: Vec<(String, u64)>,
    /// What was chosen.
    pub(crate) tags: BTreeSet<String>,
}

impl Maker {
    /// A source that depends on the seed alone.
    pub(crate) fn new(seed: u64) -> Maker {
        let mut random = Random::new(seed);
        for _ in 0..8 {
            random.number();
        }
        Maker {
            random,
            formats: Vec::new(),
            dims: Vec::new(),
            tags: BTreeSet::new(),
        }
    }
    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.random.below(n)
    }
    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    /// One of a list.
    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        *self.random.pick(list)
    }
    /// Remembers a choice.
    pub(crate) fn tag(&mut self, kind: &str, what: &str) {
        self.tags.insert(format!("{kind} {what}"));
    }
    /// A dimension with an extent from a list.
    pub(crate) fn dim(&mut self, name: &str, extents: &[u64]) {
        let extent = self.pick(extents);
        self.dims.push((name.to_owned(), extent));
    }
    /// A random order of `0 .. n`.
    pub(crate) fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            let j = self.below(i as u64 + 1) as usize;
            order.swap(i, j);
        }
        order
    }
    /// A product of factors in any order, with any parentheses.
    pub(crate) fn product(&mut self, factors: &[String]) -> String {
        self.chain(factors, " * ")
    }
    /// A sum of terms in any order, with any parentheses.
    pub(crate) fn sum(&mut self, terms: &[String]) -> String {
        self.chain(terms, " + ")
    }
    fn chain(&mut self, parts: &[String], with: &str) -> String {
        let order = self.order(parts.len());
        let mut text = parts[order[0]].clone();
        for (done, &at) in order[1..].iter().enumerate() {
            let left = done > 0 && self.once_in(2);
            let first = if left { format!("({text})") } else { text };
            text = if self.once_in(2) || with == " + " {
                format!("{first}{with}{}", parts[at])
            } else {
                format!("{}{with}({first})", parts[at])
            };
        }
        text
    }
}
