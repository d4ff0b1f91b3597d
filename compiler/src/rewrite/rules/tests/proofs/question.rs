//! A question to the solver: what is given, and what must not be.

use super::smt::{WIDTH, any};
use std::collections::BTreeSet;

/// A question.
pub(super) struct Question {
    /// Declarations and what is given.
    pub(super) body: String,
    /// What must not be, any of it: something read that is not there, a register misread, lanes that differ.
    pub(super) wrong: [Vec<String>; 3],
    /// Numbers that no condition bounds.
    pub(super) numbers: Vec<String>,
}

impl Question {
    /// Whether anything is wrong.
    pub(super) fn whole(&self) -> String {
        format!("{}(assert {})\n", self.body, any(&self.wrong.concat()))
    }

    /// The variables, without the axes that they are asked at.
    pub(super) fn variables(&self) -> BTreeSet<&str> {
        self.numbers.iter().map(|n| variable(n)).collect()
    }

    /// Whether one thing is wrong for numbers of so many bits: a smaller question, of which an example is one of the whole.
    /// With a variable named, all others are small.
    pub(super) fn part(&self, wrong: &str, bits: u32, wide: Option<&str>) -> String {
        let mut text = self.body.clone();
        let free = |n: &&String| !self.body.contains(&format!("{n}.low"));
        for name in self.numbers.iter().filter(free) {
            let bits = match wide {
                Some(wide) if wide != variable(name) => SMALL,
                _ => bits,
            };
            let more = WIDTH - bits;
            text += &format!("(declare-fun {name}.low () (_ BitVec {bits}))\n");
            text += &format!("(assert (= {name} ((_ sign_extend {more}) {name}.low)))\n");
        }
        format!("{text}(assert {wrong})\n")
    }
}

/// Bits of small numbers.
const SMALL: u32 = 3;

/// The variable of a symbol.
fn variable(symbol: &str) -> &str {
    symbol.split('.').next().unwrap_or_default()
}
