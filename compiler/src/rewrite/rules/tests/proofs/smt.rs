//! Texts of SMT-LIB, and the solver that judges them. Numbers of terms are integers of [`WIDTH`] bits, wide enough that
//! nothing that a rule adds or multiplies wraps; registers are bit-vectors of their type.

use crate::rewrite::lang::Ty;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Bits of a number: a product of two [`NUMBER`]s, a few times over.
pub(super) const WIDTH: u32 = 80;

/// A number that no condition bounds lies within plus and minus two to this: beyond every register, which is all that
/// tells large numbers apart.
pub(super) const NUMBER: u32 = 36;

/// What the sum of the terms before the last of a loop is bounded by.
pub(super) const BEFORE: u32 = 60;

/// Steps of the solver for a proof; they are no time, so that the answer does not depend on the machine.
pub(super) const PROOF: u64 = 200_000_000;

/// Steps of the solver for a guess at where a counterexample is.
pub(super) const GUESS: u64 = 1_000_000;

/// A number as a literal.
pub(super) fn literal(value: i128) -> String {
    format!("(_ bv{} {WIDTH})", value.rem_euclid(1 << WIDTH))
}

/// The sort of a register's lane; an f32 is the number that it stands for.
pub(super) fn sort(ty: Ty) -> String {
    match ty {
        Ty::F32 => format!("(_ BitVec {WIDTH})"),
        _ => format!("(_ BitVec {})", ty.bits()),
    }
}

/// Whether a type is signed.
fn signed(ty: Ty) -> bool {
    matches!(ty, Ty::I8 | Ty::I16 | Ty::I32)
}

/// Whether a number lies between two.
pub(super) fn between(x: &str, low: i128, high: i128) -> String {
    format!(
        "(and (bvsle {} {x}) (bvsle {x} {}))",
        literal(low),
        literal(high)
    )
}

/// Whether a register of a type holds a number.
pub(super) fn fits(x: &str, ty: Ty) -> String {
    match ty {
        Ty::F32 => "true".to_owned(),
        _ => {
            let (low, high) = ty.range();
            between(x, low as i128, high as i128)
        }
    }
}

/// The low bits of a number, in a register of a type.
pub(super) fn wrapped(x: &str, ty: Ty) -> String {
    match ty {
        Ty::F32 => x.to_owned(),
        _ => format!("((_ extract {} 0) {x})", ty.bits() - 1),
    }
}

/// The number nearest to another that a type holds, in a register.
pub(super) fn saturated(x: &str, ty: Ty) -> String {
    if ty == Ty::F32 {
        return x.to_owned();
    }
    let (low, high) = ty.range();
    let (low, high) = (literal(low as i128), literal(high as i128));
    let near = format!("(ite (bvslt {x} {low}) {low} (ite (bvsgt {x} {high}) {high} {x}))");
    wrapped(&near, ty)
}

/// A register of a type in more bits, by its sign or by zeros.
pub(super) fn extended(x: &str, ty: Ty, bits: u32) -> String {
    let more = bits.saturating_sub(ty.bits());
    match ty {
        Ty::F32 => x.to_owned(),
        _ if more == 0 => x.to_owned(),
        _ if signed(ty) => format!("((_ sign_extend {more}) {x})"),
        _ => format!("((_ zero_extend {more}) {x})"),
    }
}

/// All of several.
pub(super) fn all(parts: &[String]) -> String {
    match parts {
        [] => "true".to_owned(),
        [one] => one.clone(),
        _ => format!("(and {})", parts.join(" ")),
    }
}

/// Any of several.
pub(super) fn any(parts: &[String]) -> String {
    match parts {
        [] => "false".to_owned(),
        [one] => one.clone(),
        _ => format!("(or {})", parts.join(" ")),
    }
}

/// What the solver says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing satisfies the question.
    Unsat,
    /// Something does.
    Sat,
    /// Anything else, as it was printed.
    Other(String),
}

/// A running solver.
pub(super) struct Solver {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// How many questions were asked.
    pub(super) asked: usize,
}

impl Solver {
    /// Starts it. Without it there is nothing to test, which is said, and an error where `CI` is set.
    pub(super) fn start() -> Option<Solver> {
        let started = Command::new("z3")
            .args(["-smt2", "-in"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            let required = std::env::var("CI").is_ok_and(|v| v == "true" || v == "1");
            assert!(!required, "z3 is not there; `scripts/z3.sh` installs it");
            eprintln!("SKIPPED: rules are not proved without z3; `scripts/z3.sh` installs it");
            return None;
        };
        let questions = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        Some(Solver {
            child,
            questions,
            answers,
            asked: 0,
        })
    }

    /// Whether a list of declarations and assertions can be satisfied.
    pub(super) fn ask(&mut self, question: &str, steps: u64) -> Answer {
        self.asked += 1;
        let text = format!(
            "(reset)\n(set-option :rlimit {steps})\n{question}(check-sat)\n(echo \"done\")\n"
        );
        self.questions
            .write_all(text.as_bytes())
            .expect("the solver reads");
        self.questions.flush().expect("the solver reads");
        let mut said = Vec::new();
        loop {
            let mut line = String::new();
            let read = self
                .answers
                .read_line(&mut line)
                .expect("the solver writes");
            assert!(read > 0, "the solver ended: {}", said.join("\n"));
            match line.trim() {
                "done" => break,
                other => said.push(other.to_owned()),
            }
        }
        match said[..] {
            [ref one] if one == "unsat" => Answer::Unsat,
            [ref one] if one == "sat" => Answer::Sat,
            _ => Answer::Other(said.join("; ")),
        }
    }
}

impl Drop for Solver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
