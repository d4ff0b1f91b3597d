//! The order of straight loop bodies. Sums are brought forward that need few values which are not in registers yet and are the last
//! use of many that are: a weight that is decoded into several codes is then used up before the next is loaded. The greedy
//! choice is that of Goodman and Hsu (Code scheduling and register allocation in large basic blocks, 1988); an order is taken
//! only where it needs fewer registers at once.

use super::legal::shape;
use super::registers::{Lives, in_vectors};
use crate::vector::ir::{Bin, Function, Loop, Op, Step, Type, Value};
use cranelift_entity::{PrimaryMap, SecondaryMap};
use std::collections::{BTreeMap, BTreeSet};

/// The function with the bodies of innermost loops in an order that needs fewer registers.
pub(super) fn reordered(function: &Function) -> Function {
    let mut constants = SecondaryMap::new();
    note_constants(&function.body, &mut constants);
    let mut all = function.clone();
    all.body = steps(function, &function.body, &constants);
    all
}

fn note_constants(steps: &[Step], constants: &mut SecondaryMap<Value, bool>) {
    for step in steps {
        match step {
            Step::Let(value, op) => constants[*value] = op.is_constant(),
            Step::Loop(l) => note_constants(&l.body, constants),
            Step::Store { .. } => {}
        }
    }
}

fn steps(function: &Function, all: &[Step], constants: &SecondaryMap<Value, bool>) -> Vec<Step> {
    let step = |step: &Step| match step {
        Step::Loop(l) => Step::Loop(Box::new(ordered(function, l, constants))),
        Step::Let(..) | Step::Store { .. } => step.clone(),
    };
    all.iter().map(step).collect()
}

/// A loop in the order that needs fewer registers, the given or the greedy one.
fn ordered(function: &Function, l: &Loop, constants: &SecondaryMap<Value, bool>) -> Loop {
    let straight = l.body.iter().all(|s| matches!(s, Step::Let(..)));
    if !straight {
        let body = steps(function, &l.body, constants);
        return Loop { body, ..l.clone() };
    }
    let body = Body::of(l, &function.types, constants);
    let mut other = l.clone();
    other.body = body
        .greedy()
        .into_iter()
        .map(|at| l.body[at].clone())
        .collect();
    let pressure = |l: &Loop| Lives::of(function, l, |v| constants[v]).pressure();
    match pressure(&other) < pressure(l) {
        true => other,
        false => l.clone(),
    }
}

/// A straight loop body, its steps by their positions.
struct Body {
    /// Steps whose values a step uses.
    uses: Vec<BTreeSet<usize>>,
    /// Steps that use the value of a step.
    users: Vec<BTreeSet<usize>>,
    /// Vector registers that the value of a step takes.
    registers: Vec<usize>,
    /// Sums, in their order, each with those that it is made of without another between.
    sums: BTreeMap<usize, BTreeSet<usize>>,
    /// Steps whose values the next round takes: they are never used up.
    carried: BTreeSet<usize>,
}

impl Body {
    fn of(
        l: &Loop,
        types: &PrimaryMap<Value, Type>,
        constants: &SecondaryMap<Value, bool>,
    ) -> Body {
        let mut at: BTreeMap<Value, usize> = BTreeMap::new();
        let mut body = Body {
            uses: Vec::new(),
            users: vec![BTreeSet::new(); l.body.len()],
            registers: Vec::new(),
            sums: BTreeMap::new(),
            carried: BTreeSet::new(),
        };
        // The sums that each step is made of.
        let mut made_of: Vec<BTreeSet<usize>> = Vec::new();
        for (place, step) in l.body.iter().enumerate() {
            let Step::Let(value, op) = step else {
                continue;
            };
            let used: BTreeSet<usize> = op
                .operands()
                .iter()
                .filter_map(|v| at.get(v).copied())
                .collect();
            used.iter().for_each(|u| {
                body.users[*u].insert(place);
            });
            let sums = used.iter().flat_map(|u| made_of[*u].iter().copied());
            let mut sums: BTreeSet<usize> = sums.collect();
            body.uses.push(used);
            let ty = types[*value];
            let held = in_vectors(ty) && !constants[*value];
            body.registers.push(if held { shape(ty).parts } else { 0 });
            if held && is_sum(op) {
                body.sums.insert(place, std::mem::take(&mut sums));
                sums.insert(place);
            }
            made_of.push(sums);
            at.insert(*value, place);
        }
        let next = l.carried.iter().filter_map(|c| at.get(&c.next).copied());
        body.carried = next.collect();
        body
    }

    /// The positions of all steps: the sums in the greedy order, each behind what it needs, then the rest.
    fn greedy(&self) -> Vec<usize> {
        let mut order = Vec::new();
        let mut done = vec![false; self.uses.len()];
        let mut waiting: Vec<usize> = self.sums.keys().copied().collect();
        while let Some(best) = self.best(&waiting, &done) {
            waiting.retain(|sum| *sum != best);
            for at in self.needed(best, &done) {
                done[at] = true;
                order.push(at);
            }
        }
        order.extend((0..done.len()).filter(|at| !done[*at]));
        order
    }

    /// The sum that needs least, of those whose own sums are done; the first of several.
    fn best(&self, waiting: &[usize], done: &[bool]) -> Option<usize> {
        let ready = waiting
            .iter()
            .filter(|sum| self.sums[*sum].iter().all(|s| done[*s]));
        let cost = |sum: &usize| (self.change(&self.needed(*sum, done), done), *sum);
        ready.map(cost).min().map(|(_, sum)| sum)
    }

    /// A step with what it needs that is not done.
    fn needed(&self, step: usize, done: &[bool]) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut open = vec![step];
        while let Some(at) = open.pop() {
            if !done[at] && needed.insert(at) {
                open.extend(&self.uses[at]);
            }
        }
        needed
    }

    /// Registers that are occupied after some steps and were not before, less those that are free then.
    fn change(&self, new: &BTreeSet<usize>, done: &[bool]) -> isize {
        let used_up = |at: usize| {
            let mut users = self.users[at].iter();
            !self.carried.contains(&at) && users.all(|u| done[*u] || new.contains(u))
        };
        let occupied = new.iter().filter(|at| !used_up(**at));
        let occupied: usize = occupied.map(|at| self.registers[*at]).sum();
        let read = new.iter().flat_map(|at| &self.uses[*at]);
        let read: BTreeSet<usize> = read.filter(|at| done[**at]).copied().collect();
        let freed = read.iter().filter(|at| used_up(**at));
        let freed: usize = freed.map(|at| self.registers[*at]).sum();
        occupied as isize - freed as isize
    }
}

/// Whether an operation adds to what is added up.
fn is_sum(op: &Op) -> bool {
    matches!(
        op,
        Op::Dot4U8S8 { .. }
            | Op::Dot4S8S8 { .. }
            | Op::MulAdd(..)
            | Op::Bin(Bin::IAdd | Bin::FAdd, ..)
    )
}
