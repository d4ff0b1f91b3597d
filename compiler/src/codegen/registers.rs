//! What loops keep in registers. Constants are not held through a whole function, where they would be pushed out to the
//! stack: a loop that has room for all that it and the loops within use gets them right before it, an innermost loop as
//! many as it has room for, and all others are made where they are used, from the constant pool or as immediates. Where
//! values do not fit, loads are repeated: that is cheaper than to put registers on the stack.

#[cfg(test)]
mod tests;

use super::emit::Emit;
use super::features::Arch;
use super::legal::shape;
use super::loads::{repeats, used_in};
use super::parts::by_parts;
use crate::vector::ir::{Elem, Function, Loop, Op, Step, Type, Value};
use cranelift_entity::SecondaryMap;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

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

    /// Fits what a loop keeps in registers to those that there are, and gives the constants that were emitted for it: all
    /// that it and the loops within use, if there is room for them; else, for an innermost loop, as many as there is room
    /// for. Loads that many operations use are repeated where they would not stay.
    pub(super) fn fit_registers(&mut self, l: &Loop) -> Vec<Value> {
        self.forget_constants();
        let constant = |v: Value| self.constants[v].is_some();
        let mut lives = Lives::of(self.ir, l, constant);
        let worth = |v: Value| self.constants[v].is_some_and(|op| !is_zero(op));
        let used = most_used(l, |v| worth(v) && in_vectors(self.ir.types[v]));
        let (held, missing): (Vec<_>, Vec<_>) = used
            .into_iter()
            .partition(|(v, _)| !self.values[*v].is_empty());
        let all = match self.features.arch {
            Arch::X86_64 => 16,
            Arch::Aarch64 => 32,
        };
        let registers = all - (lives.on_the_way(self.features.avx2) + held.len()).min(all);
        let innermost = !l.body.iter().any(|s| matches!(s, Step::Loop(_)));
        let stores = l.body.iter().any(|s| matches!(s, Step::Store { .. }));
        if innermost && !stores && lives.pressure() > registers {
            let relief = Relief::cheapest(&lives, l, registers);
            relief
                .repeated
                .iter()
                .for_each(|load| self.repeated[*load] = true);
            lives = relief.lives;
        }
        let mut room = registers.saturating_sub(lives.pressure());
        if innermost && !stores {
            room += lives.given_way(l, missing.iter().skip(room).map(|(_, uses)| *uses));
        }
        if innermost || missing.len() <= room {
            let held = missing.iter().take(room);
            held.for_each(|(v, _)| self.materialise(*v));
        }
        std::mem::take(&mut self.made)
    }
}

/// What is done where the values of a loop do not fit in the registers.
struct Relief {
    /// What stays in registers.
    lives: Lives,
    /// Loads that are emitted at every use.
    repeated: Vec<Value>,
    /// Accesses to memory that it adds to a round.
    accesses: usize,
}

impl Relief {
    /// The one that adds the fewest accesses: repeated loads, or sums that wait on the stack for the one operation of a round that
    /// adds to them, where a round is long enough that their way through memory delays nothing.
    fn cheapest(lives: &Lives, l: &Loop, registers: usize) -> Relief {
        let loads = Relief::by_loads(lives.clone(), registers);
        let mut waiting = lives.clone();
        let mut sums = lives.waiting(l);
        let mut apart = 0;
        while l.body.len() >= LONG_ROUND && waiting.pressure() > registers {
            let Some((inside, next)) = sums.pop() else {
                break;
            };
            apart += waiting.registers(inside);
            waiting.leave_out(inside);
            waiting.leave_out(next);
        }
        let both = Relief::by_loads(waiting, registers);
        let with_sums = both.accesses + ON_STACK * apart;
        match with_sums < loads.accesses {
            true => both,
            false => loads,
        }
    }

    /// By repeated loads alone; where they do not suffice, something is put on the stack.
    fn by_loads(mut lives: Lives, registers: usize) -> Relief {
        let (mut repeated, mut accesses) = (Vec::new(), 0);
        loop {
            let crowded = lives.crowded(registers);
            if crowded.is_empty() {
                break;
            }
            let Some(load) = lives.longest_load(&crowded) else {
                accesses += ON_STACK * (lives.pressure() - registers);
                break;
            };
            accesses += lives.values[&load].uses.saturating_sub(1) * lives.registers(load);
            lives.leave_out(load);
            repeated.push(load);
        }
        Relief {
            lives,
            repeated,
            accesses,
        }
    }
}

/// Accesses of a round to what lies on the stack and is changed once.
const ON_STACK: usize = 2;

/// Steps of a round that take longer than a sum takes through memory and back.
const LONG_ROUND: usize = 64;

/// Whether a constant is 0, which takes no load wherever it is made.
fn is_zero(op: &Op) -> bool {
    matches!(op, Op::IConst(0) | Op::FConst(0))
}

/// Whether a value lies in a vector register.
pub(super) fn in_vectors(ty: Type) -> bool {
    ty.lanes > 1 || ty.elem == Elem::F32
}

/// The values that a loop and those within use, of those that are asked for, the most used first, with how often they are.
fn most_used(l: &Loop, wanted: impl Fn(Value) -> bool) -> Vec<(Value, usize)> {
    let mut uses: BTreeMap<Value, usize> = BTreeMap::new();
    used_in(&l.body, &mut |value| {
        if wanted(value) {
            *uses.entry(value).or_default() += 1;
        }
    });
    let mut ranked: Vec<(Value, usize)> = uses.into_iter().collect();
    ranked.sort_by_key(|(value, uses)| (Reverse(*uses), *value));
    ranked
}

/// Values that a step uses; of a loop, those from outside.
fn operands(step: &Step) -> Vec<Value> {
    match step {
        Step::Let(_, op) => op.operands(),
        Step::Store { value, base, .. } => vec![*value, *base],
        Step::Loop(l) => {
            let mut inside = BTreeSet::new();
            defined_in(l, &mut inside);
            let mut used = BTreeSet::new();
            used_in(std::slice::from_ref(step), &mut |v| {
                used.insert(v);
            });
            used.difference(&inside).copied().collect()
        }
    }
}

fn defined_in(l: &Loop, found: &mut BTreeSet<Value>) {
    found.extend(l.carried.iter().map(|c| c.inside));
    for step in &l.body {
        match step {
            Step::Let(value, _) => {
                found.insert(*value);
            }
            Step::Store { .. } => {}
            Step::Loop(inner) => {
                found.extend(inner.carried.iter().map(|c| c.result));
                defined_in(inner, found);
            }
        }
    }
}

/// How long a value is in vector registers, in steps of a loop's body.
#[derive(Clone, Copy, Debug)]
struct Life {
    from: usize,
    until: usize,
    registers: usize,
    load: bool,
    uses: usize,
}

/// The vector values of a loop, constants excepted.
#[derive(Clone)]
pub(super) struct Lives {
    values: BTreeMap<Value, Life>,
    /// Registers that loops within need for values of their own, by step.
    within: BTreeMap<usize, usize>,
    /// Most registers of one value.
    widest: usize,
}

impl Lives {
    pub(super) fn of(ir: &Function, l: &Loop, constant: impl Fn(Value) -> bool + Copy) -> Lives {
        let end = l.body.len();
        let mut lives: BTreeMap<Value, Life> = BTreeMap::new();
        let (mut within, mut widest) = (BTreeMap::new(), 1);
        let wanted = |v: Value| in_vectors(ir.types[v]) && !constant(v);
        let life = |v: Value, from: usize, until: usize| Life {
            from,
            until,
            registers: shape(ir.types[v]).parts,
            load: false,
            uses: 0,
        };
        for c in l.carried.iter().filter(|c| wanted(c.inside)) {
            lives.insert(c.inside, life(c.inside, 0, 0));
        }
        let mut uses: SecondaryMap<Value, u32> = SecondaryMap::new();
        let used: Vec<Vec<Value>> = l.body.iter().map(operands).collect();
        used.iter().flatten().for_each(|v| uses[*v] += 1);
        l.carried.iter().for_each(|c| uses[c.next] += 1);
        // Loads lie in registers from their first use.
        let mut deferred = BTreeSet::new();
        for (at, step) in l.body.iter().enumerate() {
            for value in used[at].iter().copied().filter(|v| wanted(*v)) {
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
                known.uses += 1;
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
                Step::Loop(inner) => {
                    let own = Lives::of(ir, inner, constant);
                    let outside: BTreeSet<Value> = used[at].iter().copied().collect();
                    within.insert(at, own.pressure_without(&outside));
                    widest = widest.max(own.widest);
                    for c in inner.carried.iter().filter(|c| wanted(c.result)) {
                        lives.insert(c.result, life(c.result, at + 1, at + 1));
                    }
                }
                Step::Let(..) | Step::Store { .. } => {}
            }
        }
        for c in &l.carried {
            if let Some(life) = lives.get_mut(&c.next) {
                life.until = end;
            }
        }
        widest = lives.values().map(|l| l.registers).fold(widest, usize::max);
        Lives {
            values: lives,
            within,
            widest,
        }
    }

    /// Registers that instructions need beside those of values: one value that is on its way, one more unless each is one register,
    /// and one more where results take the place of operands, which are copied before.
    fn on_the_way(&self, three_operands: bool) -> usize {
        let more = usize::from(self.widest > 1) + usize::from(!three_operands);
        self.widest + more
    }

    /// Most registers that are occupied at once.
    pub(super) fn pressure(&self) -> usize {
        self.pressure_without(&BTreeSet::new())
    }

    /// The same, without some values.
    fn pressure_without(&self, others: &BTreeSet<Value>) -> usize {
        let occupied = self.occupied(others);
        occupied
            .iter()
            .map(|(_, registers)| *registers)
            .max()
            .unwrap_or(0)
    }

    /// Runs of steps in which more registers are occupied than so many.
    fn crowded(&self, registers: usize) -> Vec<Range<usize>> {
        let occupied = self.occupied(&BTreeSet::new());
        let runs = occupied.into_iter().filter(|(_, here)| *here > registers);
        runs.map(|(steps, _)| steps).collect()
    }

    /// Runs of steps with the registers that are occupied in them, without those of some values.
    fn occupied(&self, others: &BTreeSet<Value>) -> Vec<(Range<usize>, usize)> {
        // What begins at a step, and what ends before it.
        let mut changes: Vec<(usize, usize, usize)> = Vec::new();
        for (value, life) in &self.values {
            if life.until >= life.from && !others.contains(value) {
                changes.push((life.from, life.registers, 0));
                changes.push((life.until + 1, 0, life.registers));
            }
        }
        for (step, registers) in &self.within {
            changes.push((*step, *registers, 0));
            changes.push((step + 1, 0, *registers));
        }
        changes.sort_unstable_by_key(|(step, ..)| *step);
        let mut here = 0;
        let runs = changes.chunk_by(|a, b| a.0 == b.0).map(|run| {
            let sum = |of: fn(&(usize, usize, usize)) -> usize| run.iter().map(of).sum::<usize>();
            here = here + sum(|c| c.1) - sum(|c| c.2);
            (run[0].0, here)
        });
        let runs: Vec<(usize, usize)> = runs.collect();
        let ends = runs.iter().skip(1);
        { runs.iter().zip(ends) }
            .map(|((step, here), (next, _))| (*step..*next, *here))
            .collect()
    }

    /// The load that occupies most registers for longest, of those that do so in some steps.
    fn longest_load(&self, steps: &[Range<usize>]) -> Option<Value> {
        let loads = self
            .values
            .iter()
            .filter(|(_, l)| l.load && l.until > l.from)
            .filter(|(_, l)| steps.iter().any(|s| l.from < s.end && s.start <= l.until));
        let longest = loads.max_by_key(|(_, l)| (l.until - l.from) * l.registers);
        longest.map(|(v, _)| *v)
    }

    /// Sums that are carried and that one operation of a round adds to, with what it makes of them.
    fn waiting(&self, l: &Loop) -> Vec<(Value, Value)> {
        let adds_to = |next: Value, inside: Value| {
            l.body.iter().any(|step| {
                matches!(step, Step::Let(value, op) if *value == next && op.operands().contains(&inside))
            })
        };
        let uses = |v: Value| self.values.get(&v).map_or(0, |life| life.uses);
        let carried = l.carried.iter().map(|c| (c.inside, c.next));
        carried
            .filter(|(inside, next)| uses(*inside) == 1 && uses(*next) == 0)
            .filter(|(inside, next)| adds_to(*next, *inside))
            .collect()
    }

    /// Registers that sums give way in to constants with so many uses each, the most used first: a sum waits on the stack for the
    /// one operation of a round, where that is long, rather than that a constant is read from memory for each of more uses.
    fn given_way(&self, l: &Loop, uses: impl Iterator<Item = usize>) -> usize {
        if l.body.len() < LONG_ROUND {
            return 0;
        }
        let sums = self.waiting(l).into_iter();
        let registers = sums.map(|(inside, _)| self.registers(inside)).sum();
        uses.take_while(|uses| *uses > ON_STACK)
            .take(registers)
            .count()
    }

    /// Registers that a value takes.
    fn registers(&self, value: Value) -> usize {
        self.values.get(&value).map_or(0, |life| life.registers)
    }

    /// Notes that a value is in no register but where it is used.
    fn leave_out(&mut self, value: Value) {
        self.values.remove(&value);
    }
}
