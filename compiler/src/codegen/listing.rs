//! Listings: the instructions of a function for any target, without addresses, for people and for tests.

use super::CodegenError;
use super::features::{Arch, Features};
use super::finish::compiled;
use super::jit::{guarded, numbered};
use crate::vector::ir::Function;
use cranelift_codegen::Context;

/// What a listing says about the innermost loops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListingFacts {
    /// Instructions of innermost loops, in order.
    pub inner: Vec<String>,
    /// How many of them touch the stack.
    pub stack_accesses: usize,
}

/// The instructions of a function for a target, as Cranelift chose them.
pub fn listing(function: &Function, features: &Features) -> Result<String, CodegenError> {
    let clif = numbered(function, features)?;
    let isa = features.isa()?;
    let text = guarded(function, || {
        let mut context = Context::for_function(clif);
        context.set_disasm(true);
        let code = compiled(&mut context, &*isa)?;
        Ok(code.vcode.unwrap_or_default())
    })?;
    Ok(tidy(&text))
}

/// Drops what is no instruction: notes for unwinding and register allocation, and jumps to the block that follows.
fn tidy(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.trim_end().replace("label", "block"))
        .filter(|line| {
            !matches!(
                line.split_whitespace().next(),
                None | Some("unwind" | "uninit")
            )
        })
        .collect();
    let mut tidied = String::new();
    for (at, line) in lines.iter().enumerate() {
        let next = lines.get(at + 1).and_then(|l| l.strip_suffix(':'));
        let (kept, last) = match line.rsplit_once(';') {
            Some((first, last)) => (first.trim_end(), last),
            None => ("", line.as_str()),
        };
        let words: Vec<&str> = last.split_whitespace().collect();
        let falls_through = match words.as_slice() {
            ["j" | "jmp" | "b", target] => Some(*target) == next,
            _ => false,
        };
        let shown = if falls_through { kept } else { line };
        if !shown.is_empty() {
            tidied.push_str(shown);
            tidied.push('\n');
        }
    }
    tidied
}

impl ListingFacts {
    /// Reads a listing: a loop is a block that a later (or the same) block jumps back to; it is innermost if no other loop
    /// lies within.
    pub fn of(listing: &str, arch: Arch) -> ListingFacts {
        let mut blocks: Vec<(String, Vec<String>)> = Vec::new();
        for line in listing.lines().map(str::trim) {
            if let Some(label) = line.strip_suffix(':') {
                blocks.push((label.to_owned(), Vec::new()));
            } else if let Some((_, lines)) = blocks.last_mut()
                && !line.is_empty()
            {
                lines.push(line.to_owned());
            }
        }
        let position = |label: &str| blocks.iter().position(|(l, _)| l == label);
        let mut loops: Vec<(usize, usize)> = Vec::new();
        for (at, (_, lines)) in blocks.iter().enumerate() {
            for word in lines.iter().flat_map(|l| l.split([' ', ';', ','])) {
                if let Some(to) = position(word)
                    && to <= at
                {
                    loops.push((to, at));
                }
            }
        }
        let innermost =
            |l: &&(usize, usize)| !loops.iter().any(|m| m != *l && m.0 >= l.0 && m.1 <= l.1);
        let mut facts = ListingFacts::default();
        for (from, to) in loops.iter().filter(innermost) {
            for (_, lines) in &blocks[*from..=*to] {
                facts.inner.extend(lines.iter().cloned());
            }
        }
        let stack = match arch {
            Arch::X86_64 => "rsp",
            Arch::Aarch64 => "[sp",
        };
        facts.stack_accesses = facts.inner.iter().filter(|l| l.contains(stack)).count();
        facts
    }

    /// How often an instruction occurs in innermost loops.
    pub fn count(&self, mnemonic: &str) -> usize {
        let first = |l: &&String| l.split_whitespace().next() == Some(mnemonic);
        self.inner.iter().filter(first).count()
    }

    /// Whether an instruction occurs in an innermost loop.
    pub fn has(&self, mnemonic: &str) -> bool {
        self.count(mnemonic) > 0
    }
}
