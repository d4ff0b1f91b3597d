//! What innermost loops keep in registers. Constants are not held through a whole function, where outer loops would push
//! them out to the stack: those that an innermost loop uses are made right before it, as many as its registers leave room
//! for, and all others where they are used, from the constant pool or as immediates. Where values do not fit, loads are
//! repeated: that is cheaper than to put registers on the stack.

use super::emit::Emit;
use super::features::Arch;
use super::legal::shape;
use super::loads::repeats;
use super::parts::by_parts;
use crate::vector::ir::{Elem, Function, Loop, Op, Step, Type, Value};
use cranelift_entity::SecondaryMap;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Registers that instructions need on the way, beside those of values.
const SLACK: usize = 5;

impl Emit<'_, '_> {
    /// Emits a constant, if the value is one that is not in a register here.
    pub(super) fn materialise(&mut self, value: Value) {
        let Some(op) = self.constants[value].filter(|_| self.values[value].is_empty()) else {
            return;
        };
        self.values[value] = self.compute(self.ir.types[value], op);
        self.made.push(value);
    }

    /// Forgets the constants that were emitted for one step.
    pub(super) fn forget_constants(&mut self) {
        for value in std::mem::take(&mut self.made) {
            self.values[value].clear();
        }
    }

    /// Fits what an innermost loop keeps in registers to those that there are: loads that many operations use are repeated
    /// where they would not stay, and constants are emitted here as far as there is room. Gives those constants.
    pub(super) fn fit_registers(&mut self, l: &Loop) -> Vec<Value> {
        self.forget_constants();
        if l.body.iter().any(|s| matches!(s, Step::Loop(_))) {
            return Vec::new();
        }
        let registers = match self.features.arch {
            Arch::X86_64 => 16,
            Arch::Aarch64 => 32,
        } - SLACK;
        let mut lives = Lives::of(self.ir, l, |v| self.constants[v].is_some());
        let stores = l.body.iter().any(|s| matches!(s, Step::Store { .. }));
        while !stores && lives.pressure() > registers {
            let Some(load) = lives.longest_load() else {
                break;
            };
            lives.repeat(load);
            self.repeated[load] = true;
        }
        let room = registers.saturating_sub(lives.pressure());
        for value in most_used(l, room, |v| {
            self.constants[v].is_some() && in_vectors(self.ir.types[v])
        }) {
            self.materialise(value);
        }
        std::mem::take(&mut self.made)
    }
}

/// Whether a value lies in a vector register.
fn in_vectors(ty: Type) -> bool {
    ty.lanes > 1 || ty.elem == Elem::F32
}

/// The values that a loop uses most, of those that are asked for.
fn most_used(l: &Loop, count: usize, wanted: impl Fn(Value) -> bool) -> Vec<Value> {
    let mut uses: BTreeMap<Value, usize> = BTreeMap::new();
    for value in l.body.iter().flat_map(operands).filter(|v| wanted(*v)) {
        *uses.entry(value).or_default() += 1;
    }
    let mut ranked: Vec<Value> = uses.keys().copied().collect();
    ranked.sort_by_key(|v| (Reverse(uses[v]), *v));
    ranked.truncate(count);
    ranked
}

fn operands(step: &Step) -> Vec<Value> {
    match step {
        Step::Let(_, op) => op.operands(),
        Step::Store { value, base, .. } => vec![*value, *base],
        Step::Loop(_) => Vec::new(),
    }
}

/// How long a value is in vector registers, in steps of a loop's body.
#[derive(Clone, Copy, Debug)]
struct Life {
    from: usize,
    until: usize,
    registers: usize,
    load: bool,
}

/// The vector values of an innermost loop, constants excepted.
struct Lives(BTreeMap<Value, Life>);

impl Lives {
    fn of(ir: &Function, l: &Loop, constant: impl Fn(Value) -> bool) -> Lives {
        let end = l.body.len();
        let mut lives = BTreeMap::new();
        let wanted = |v: Value| in_vectors(ir.types[v]) && !constant(v);
        let life = |v: Value, from: usize, until: usize| Life {
            from,
            until,
            registers: shape(ir.types[v]).parts,
            load: false,
        };
        for c in l.carried.iter().filter(|c| wanted(c.inside)) {
            lives.insert(c.inside, life(c.inside, 0, 0));
        }
        let mut uses: SecondaryMap<Value, u32> = SecondaryMap::new();
        l.body.iter().flat_map(operands).for_each(|v| uses[v] += 1);
        l.carried.iter().for_each(|c| uses[c.next] += 1);
        // Loads lie in registers from their first use.
        let mut deferred = BTreeSet::new();
        for (at, step) in l.body.iter().enumerate() {
            for value in operands(step).into_iter().filter(|v| wanted(*v)) {
                let first = match deferred.remove(&value) {
                    true => Life {
                        load: true,
                        ..life(value, at, at)
                    },
                    // What comes from outside stays for the next round.
                    false => life(value, 0, end),
                };
                let known = lives.entry(value).or_insert(first);
                known.until = known.until.max(at);
            }
            match step {
                Step::Let(value, Op::Load { .. }) => {
                    deferred.insert(*value);
                }
                Step::Let(value, op) if wanted(*value) => {
                    let mut new = life(*value, at + 1, at + 1);
                    // What is used once is emitted register by register with its use.
                    let passing = uses[*value] == 1 && by_parts(ir, ir.types[*value], op);
                    if repeats(op) || passing {
                        new.registers = 1;
                    }
                    lives.insert(*value, new);
                }
                Step::Let(..) | Step::Store { .. } | Step::Loop(_) => {}
            }
        }
        for c in &l.carried {
            if let Some(life) = lives.get_mut(&c.next) {
                life.until = end;
            }
        }
        Lives(lives)
    }

    /// Most registers that are occupied at once.
    fn pressure(&self) -> usize {
        let at = |step: usize| {
            let here = self
                .0
                .values()
                .filter(|l| l.from <= step && l.until >= step);
            here.map(|l| l.registers).sum()
        };
        self.0.values().map(|l| at(l.from)).max().unwrap_or(0)
    }

    /// The load that occupies most registers for longest.
    fn longest_load(&self) -> Option<Value> {
        let loads = self.0.iter().filter(|(_, l)| l.load && l.until > l.from);
        let longest = loads.max_by_key(|(_, l)| (l.until - l.from) * l.registers);
        longest.map(|(v, _)| *v)
    }

    /// Notes that a load is emitted at every use.
    fn repeat(&mut self, load: Value) {
        self.0.remove(&load);
    }
}
