//! An evaluator of the language: real terms as numbers, vectors as the machine computes them, lane by lane. It knows the
//! meaning of every operation and of no rule.

use super::lanes::{Vector, reinterpret};
use super::number::{Bad, Num, apply};
use crate::rewrite::analysis::Graph;
use crate::rewrite::facts::Facts;
use crate::rewrite::lang::{Node, Op, Ty};
use crate::schedule::index::{Affine, AxisId, AxisSet, Sym};
use crate::schedule::term::{LoadId, Storage};
use crate::vector::ir::Scalar;
use egg::{Id, Language};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// Values of axes, eight bits each; all ones where an axis has none. And a load whose words are another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Env(u64, Option<(u32, u64)>);

const UNSET: u64 = 255;

impl Env {
    /// No axis has a value.
    pub(super) const EMPTY: Env = Env(u64::MAX, None);

    /// With a value for an axis.
    pub(super) fn with(self, axis: AxisId, value: u64) -> Env {
        let at = 8 * axis.as_u32();
        Env(self.0 & !(UNSET << at) | value << at, self.1)
    }

    /// With another number in the words of a load.
    fn over(self, load: u32, word: u64) -> Result<Env, Bad> {
        match self.1 {
            Some((other, _)) if other != load => Err(Bad::Undefined),
            _ => Ok(Env(self.0, Some((load, word)))),
        }
    }

    /// Without values for some axes.
    pub(super) fn without(self, axes: AxisSet) -> Env {
        axes.iter().fold(self, |env, a| env.with(a, UNSET))
    }

    /// The value of an axis.
    pub(super) fn get(self, axis: AxisId) -> Result<u64, Bad> {
        match self.0 >> (8 * axis.as_u32()) & UNSET {
            UNSET => Err(Bad::Fault("an axis out of scope")),
            value => Ok(value),
        }
    }

    /// Values of some axes, and of no others.
    pub(super) fn only(self, axes: AxisSet) -> Env {
        let mask = axes.iter().fold(0, |m, a| m | UNSET << (8 * a.as_u32()));
        Env(self.0 | !mask, self.1)
    }
}

/// A draw from a hash: uniform enough for tests.
pub(super) fn mix(seed: u64, salt: u64) -> u64 {
    let mut x = seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// A graph whose classes can be evaluated, under one assignment of memory and extents.
pub(super) struct Machine<'a> {
    /// The graph.
    pub(super) graph: &'a Graph,
    /// The node that says what a class is worth.
    pub(super) chosen: BTreeMap<Id, Node>,
    free: BTreeMap<Id, AxisSet>,
    /// How many values each axis takes.
    pub(super) extents: Vec<u64>,
    seed: u64,
    memo: RefCell<HashMap<(Id, Env), Result<Num, Bad>>>,
}

impl<'a> Machine<'a> {
    /// A machine for a graph; `known` are the nodes that it was built from, operands first.
    pub(super) fn new(
        graph: &'a Graph,
        known: &[(Id, Node)],
        extents: Vec<u64>,
        seed: u64,
    ) -> Machine<'a> {
        let mut machine = Machine {
            graph,
            chosen: BTreeMap::new(),
            free: BTreeMap::new(),
            extents,
            seed,
            memo: RefCell::default(),
        };
        for (id, node) in known {
            machine.choose(graph.find(*id), node);
        }
        loop {
            let before = machine.chosen.len();
            for class in graph.classes() {
                for node in &class.nodes {
                    machine.choose(class.id, node);
                }
            }
            if machine.chosen.len() == before {
                return machine;
            }
        }
    }

    /// Takes a node for the value of its class, if it has none yet and the operands have theirs.
    fn choose(&mut self, class: Id, node: &Node) {
        let operands = || node.children().iter().map(|c| self.graph.find(*c));
        if self.chosen.contains_key(&class) || operands().any(|c| !self.chosen.contains_key(&c)) {
            return;
        }
        let facts = &self.graph.analysis;
        let mut free = operands().fold(AxisSet::default(), |s, c| s.union(self.free[&c]));
        match node {
            Node::Op(Op::Ld, c) => {
                free = facts.terms.load_axes(LoadId::from_u32(self.number(c[0])));
            }
            Node::Op(Op::Bits, c) => {
                let field = &facts.terms.fields[self.number(c[0]) as usize];
                free = free.union(field.axes());
            }
            Node::Op(Op::Unit, c) => {
                free = facts.terms.units[self.number(c[0]) as usize].bits.axes();
            }
            Node::Op(Op::Sum | Op::MaxOver | Op::PackBits, c) => {
                free = free.minus(AxisSet::one(self.axis(c[0])))
            }
            Node::Op(Op::Place, c) => free = AxisSet::one(self.axis(c[0])),
            Node::Op(Op::Pick, c) => {
                let [entry, code] = [1, 2].map(|i| self.free[&self.graph.find(c[i])]);
                free = entry.minus(AxisSet::one(self.axis(c[0]))).union(code);
            }
            Node::Op(Op::At, c) => {
                let field = &facts.terms.fields[self.number(c[1]) as usize];
                free = free.union(field.axes());
                free = free.union(AxisSet::one(self.axis(c[0])));
            }
            _ => {}
        }
        self.free.insert(class, free);
        self.chosen.insert(class, node.clone());
    }

    /// What the graph knows.
    pub(super) fn facts(&self) -> &Facts {
        &self.graph.analysis
    }

    /// The leaf of a class of data.
    pub(super) fn leaf(&self, id: Id) -> &Node {
        &self.chosen[&self.graph.find(id)]
    }

    /// The number of a leaf.
    pub(super) fn number(&self, id: Id) -> u32 {
        match self.leaf(id) {
            Node::Ref(r) => *r,
            other => panic!("{other} is no number of a load, field, element or table"),
        }
    }

    /// The axis of a leaf.
    pub(super) fn axis(&self, id: Id) -> AxisId {
        match self.leaf(id) {
            Node::Axis(a) => *a,
            other => panic!("{other} is no axis"),
        }
    }

    /// How many values an axis takes.
    pub(super) fn extent(&self, axis: AxisId) -> u64 {
        self.extents[axis.as_u32() as usize]
    }

    /// Axes of a kind.
    pub(super) fn axes(&self, which: impl Fn(AxisId) -> bool) -> AxisSet {
        let all = self.facts().axes.keys().filter(|a| which(*a));
        all.fold(AxisSet::default(), |s, a| s.union(AxisSet::one(a)))
    }

    /// Bits that a field shifts by.
    pub(super) fn shift(&self, field: u32, env: Env) -> Result<u64, Bad> {
        affine(&self.facts().terms.fields[field as usize].shift, env)
    }

    /// Bits that a field is moved up by.
    pub(super) fn up(&self, field: u32, env: Env) -> Result<u64, Bad> {
        affine(&self.facts().terms.fields[field as usize].up, env)
    }

    /// The value of a class of reals.
    pub(super) fn real(&self, id: Id, env: Env) -> Result<Num, Bad> {
        let id = self.graph.find(id);
        let key = (id, env.only(self.free[&id]));
        if let Some(known) = self.memo.borrow().get(&key) {
            return *known;
        }
        let value = self.real_node(&self.chosen[&id], env);
        self.memo.borrow_mut().insert(key, value);
        value
    }

    /// The value of a node of reals.
    pub(super) fn real_node(&self, node: &Node, env: Env) -> Result<Num, Bad> {
        let (op, c) = match node {
            Node::Num(bits) => return Num::of(f64::from_bits(*bits)),
            Node::Op(op, children) => (*op, children),
            _ => return Err(Bad::Fault("data is no number")),
        };
        let facts = self.facts();
        match op {
            Op::Ld => self.load(self.number(c[0]), env),
            Op::Extent => Num::of((mix(self.seed, u64::from(self.number(c[0])) + 77) % 9) as f64),
            Op::Unit => {
                let unit = &facts.terms.units[self.number(c[0]) as usize];
                Num::of(unit.at(affine(&unit.bits, env)?))
            }
            Op::Bits => {
                let field = self.number(c[0]);
                let Some(word) = self.real(c[1], env)?.integer() else {
                    return Err(Bad::Fault("bits of no integer"));
                };
                let bits = &facts.terms.fields[field as usize];
                let shifted = word >> self.shift(field, env)?;
                Ok(Num::Int(
                    (shifted & ((1 << bits.width) - 1)) << self.up(field, env)?,
                ))
            }
            Op::Elem => {
                let element = &facts.terms.elements[self.number(c[0]) as usize];
                match self.real(c[1], env)?.integer() {
                    Some(code) if code >= 0 && code < 1 << element.bits() => {
                        Num::of(element.decode(code as u32))
                    }
                    _ => Err(Bad::Fault("no code of the element")),
                }
            }
            Op::Lookup => {
                let entries = &facts.tables[self.number(c[0]) as usize];
                let code = self.real(c[1], env)?.integer();
                let entry = code.and_then(|c| entries.get(usize::try_from(c).ok()?));
                entry.map_or(Err(Bad::Fault("past a table")), |e| Num::of(*e))
            }
            Op::Place => Ok(Num::Int(i128::from(env.get(self.axis(c[0]))?))),
            Op::Pick => {
                let axis = self.axis(c[0]);
                let code = self.real(c[2], env)?.integer();
                let code = code.and_then(|c| u64::try_from(c).ok());
                match code.filter(|c| *c < self.extent(axis)) {
                    Some(code) => self.real(c[1], env.with(axis, code)),
                    None => Err(Bad::Undefined),
                }
            }
            Op::At => {
                let entry = env.get(self.axis(c[0]))?;
                let word = entry << self.shift(self.number(c[1]), env)?;
                self.real(c[3], env.over(self.number(c[2]), word)?)
            }
            Op::LowByte | Op::HighByte | Op::Wrap => {
                let Some(number) = self.real(c[0], env)?.integer() else {
                    return Err(Bad::Undefined);
                };
                Ok(Num::Int(match op {
                    Op::LowByte => number.rem_euclid(256),
                    Op::HighByte => number.div_euclid(256),
                    _ => (number + (1 << 15)).rem_euclid(1 << 16) - (1 << 15),
                }))
            }
            Op::Over256 => {
                let number = self.real(c[0], env)?;
                match number.integer() {
                    Some(whole) if whole % 256 == 0 => Ok(Num::Int(whole / 256)),
                    // So far from 0 there is no telling.
                    None if number.float().abs() >= 2f64.powi(53) => {
                        apply(Op::Div, &[number, Num::Int(256)])
                    }
                    _ => Err(Bad::Undefined),
                }
            }
            Op::And | Op::CountOnes => {
                let operands = c.iter().map(|c| Ok(self.real(*c, env)?.integer()));
                let operands = operands.collect::<Result<Option<Vec<i128>>, Bad>>()?;
                match operands.as_deref() {
                    Some(&[a, b]) if a >= 0 && b >= 0 => Ok(Num::Int(a & b)),
                    Some(&[a]) if a >= 0 => Ok(Num::Int(i128::from(a.count_ones()))),
                    _ => Err(Bad::Undefined),
                }
            }
            Op::PackBits => {
                let axis = self.axis(c[0]);
                let mut total = Num::Int(0);
                for place in 0..self.extent(axis) {
                    let digit = self.real(c[1], env.with(axis, place))?;
                    let worth = apply(Op::Mul, &[Num::Int(1 << place), digit])?;
                    total = apply(Op::Add, &[total, worth])?;
                }
                Ok(total)
            }
            Op::Biased => match self.real(c[0], env)?.integer() {
                Some(byte) if (-128..128).contains(&byte) => Ok(Num::Int(byte + 128)),
                _ => Err(Bad::Fault("no signed byte")),
            },
            Op::Sum | Op::MaxOver => {
                let axis = self.axis(c[0]);
                let mut total = None;
                for value in 0..self.extent(axis) {
                    let term = self.real(c[1], env.with(axis, value))?;
                    total = Some(match total {
                        None => term,
                        Some(t) if op == Op::Sum => apply(Op::Add, &[t, term])?,
                        Some(t) => apply(Op::Max, &[t, term])?,
                    });
                }
                match total {
                    // What has no value has none in a sum of no terms either: a product with 0 may take its place.
                    None if op == Op::Sum => {
                        self.real(c[1], env.with(axis, 0))?;
                        Ok(Num::Int(0))
                    }
                    None => Err(Bad::Undefined),
                    Some(total) => Ok(total),
                }
            }
            _ => {
                let operands = c.iter().map(|c| self.real(*c, env));
                apply(op, &operands.collect::<Result<Vec<_>, _>>()?)
            }
        }
    }

    /// What lies in memory: a number for each value of the axes of the address, the least and the largest often.
    pub(super) fn load(&self, load: u32, env: Env) -> Result<Num, Bad> {
        let id = LoadId::from_u32(load);
        let terms = &self.facts().terms;
        let salt = terms
            .load_axes(id)
            .iter()
            .try_fold(u64::from(load), |s, a| {
                Ok::<u64, Bad>(mix(s, env.get(a)? + 31))
            })?;
        let draw = mix(self.seed, salt);
        let other = env.1.filter(|(other, _)| *other == load);
        let (low, high): (i128, i128) = match terms.loads[id].storage {
            Storage::U8 => (0, 255),
            Storage::I8 => (-128, 127),
            Storage::U16 => (0, 65535),
            Storage::I16 => (-32768, 32767),
            Storage::I32 => (-(1 << 31), (1 << 31) - 1),
            Storage::Code { bits } => (0, (1 << bits) - 1),
            Storage::Place { below } => (0, i128::from(below) - 1),
            Storage::F32 if other.is_some() => return Err(Bad::Undefined),
            Storage::F32 => {
                let sixteenths = (draw >> 8) % 2048;
                return Num::of((sixteenths as f64 - 1024.0) / 16.0);
            }
        };
        if let Some((_, word)) = other {
            let word = match terms.loads[id].storage {
                Storage::I32 => reinterpret(Ty::I32, i128::from(word)),
                _ => i128::from(word),
            };
            let fits = (low..=high).contains(&word);
            return if fits {
                Ok(Num::Int(word))
            } else {
                Err(Bad::Undefined)
            };
        }
        Ok(Num::Int(match draw % 8 {
            0 | 1 => low,
            2 | 3 => high,
            4 => (i128::from(draw >> 8) % 7).clamp(low, high),
            _ => low + i128::from(draw >> 8) % (high - low + 1),
        }))
    }

    /// The value of a class of vectors.
    pub(super) fn vector(&self, id: Id, env: Env) -> Result<Vector, Bad> {
        self.vector_node(self.leaf(id), env)
    }
}

/// The value of an affine expression of axes and numbers.
fn affine(sum: &Affine, env: Env) -> Result<u64, Bad> {
    let number = |s: &Scalar| match s {
        Scalar::Const(c) => *c,
        other => panic!("{other:?} is no number"),
    };
    let mut total = number(&sum.offset);
    for (sym, coefficient) in &sum.terms {
        let Sym::Axis(axis) = sym else {
            return Err(Bad::Fault("no value of an axis"));
        };
        total += number(coefficient) * env.get(*axis)?;
    }
    Ok(total)
}
