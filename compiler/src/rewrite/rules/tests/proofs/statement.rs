//! The statement of a rule in a world: both sides lane by lane, and the conditions on numbers as what is given.

use super::super::machine::Env;
use super::operations::{by_template, line, number};
use super::question::Question;
use super::registers::{Lane, Vector};
use super::shapes::{Bound, Decided, Shape, lanes, places};
use super::smt::{BEFORE, NUMBER, WIDTH, all, between, extended, fits, literal, sort, wrapped};
use super::{Stop, shapes};
use crate::rewrite::lang::{Node, Op, Ty};
use crate::rewrite::rule::Rule;
use crate::schedule::index::{AxisId, AxisSet};
use egg::{ENodeOrVar, Id, PatternAst};
use std::collections::BTreeMap;

/// A side of a rule.
pub(super) type Pattern = PatternAst<Node>;

/// What is collected on the way.
pub(super) struct Statement<'s> {
    /// The world.
    pub(super) shape: &'s Shape,
    /// What is given: where the left side has a value, and the conditions.
    pub(super) given: Vec<String>,
    /// What the right side must not come upon.
    pub(super) bad: Vec<String>,
    /// Whether the right side is being said.
    pub(super) right: bool,
    /// Symbols and their sorts.
    pub(super) declared: BTreeMap<String, String>,
    pub(super) numbers: Vec<String>,
    /// Values of variables, by variable and the axes they were asked at.
    pub(super) instances: BTreeMap<String, Vec<(Env, String)>>,
    /// Sums before the last term of a loop, by that term.
    pub(super) sums: BTreeMap<String, String>,
    /// Codes whose values were asked of an element.
    pub(super) codes: BTreeMap<String, Vec<String>>,
}

/// What the solver is to refute in a world, or `None` if a condition does not hold there.
pub(super) fn question(
    rule: &Rule,
    sides: [&Pattern; 2],
    shape: &Shape,
) -> Result<Option<Question>, Stop> {
    let mut open = Vec::new();
    for when in rule.when {
        match shape.decide(when)? {
            Decided::Fails => return Ok(None),
            Decided::Holds => {}
            Decided::Open => open.push(when),
        }
    }
    let mut s = Statement {
        shape,
        given: Vec::new(),
        bad: Vec::new(),
        right: false,
        declared: BTreeMap::new(),
        numbers: Vec::new(),
        instances: BTreeMap::new(),
        sums: BTreeMap::new(),
        codes: BTreeMap::new(),
    };
    let [misread, differ] = s.difference(sides)?;
    for bind in rule.bind {
        s.computed(bind)?;
    }
    for when in open {
        s.assume(when)?;
    }
    let mut text = String::from("(set-logic QF_UFBV)\n");
    for (name, sort) in &s.declared {
        text += &format!("(declare-fun {name} {sort})\n");
    }
    for given in &s.given {
        text += &format!("(assert {given})\n");
    }
    Ok(Some(Question {
        body: text,
        wrong: [s.bad, misread, differ],
        numbers: s.numbers,
    }))
}

impl Statement<'_> {
    /// That the sides differ somewhere, or that the right side reads what is not there.
    fn difference(&mut self, [left, right]: [&Pattern; 2]) -> Result<[Vec<String>; 2], Stop> {
        let root = |p: &Pattern| Id::from(p.as_ref().len() - 1);
        let env = shapes::outside();
        if !matches!(&left[root(left)], ENodeOrVar::ENode(Node::Op(Op::Vec, _))) {
            if shapes::of_reals(left) {
                return Err(Stop::Unstated("a law of real numbers".into()));
            }
            let wanted = self.number(left, root(left), env)?;
            self.right = true;
            let found = self.number(right, root(right), env)?;
            let differ = format!("(distinct {wanted} {found})");
            return Ok([Vec::new(), vec![differ]]);
        }
        let wanted = self.vector(left, root(left), env)?;
        self.right = true;
        let found = self.vector(right, root(right), env)?;
        let shaped = wanted.set == found.set && wanted.ty == found.ty;
        if !shaped || wanted.lanes.len() != found.lanes.len() {
            return Err(Stop::Fault("another shape"));
        }
        let pairs = || wanted.lanes.iter().zip(&found.lanes);
        let misread = pairs()
            .filter(|(_, f)| f.misread != "false")
            .map(|(w, f)| format!("(and (not {}) {})", w.misread, f.misread));
        let differ = pairs().map(|(w, f)| format!("(distinct {} {})", w.value, f.value));
        Ok([misread.collect(), differ.collect()])
    }

    /// A symbol of numbers.
    fn declare(&mut self, name: String, sort: String) -> String {
        self.declared.insert(name.clone(), sort);
        name
    }

    pub(super) fn symbol(&mut self, name: String, bits: u32) -> String {
        if !self.declared.contains_key(&name) {
            self.given.push(between(&name, -(1 << bits), 1 << bits));
            self.numbers.push(name.clone());
        }
        self.declare(name, format!("() {}", sort(Ty::F32)))
    }

    /// That a number is one of a type; said as what makes the number, which saves the solver from finding that.
    pub(super) fn holds(&mut self, x: &str, ty: Ty) {
        if ty != Ty::F32 && x.chars().all(|c| c.is_ascii_alphanumeric() || c == '.') {
            let register = self.declare(format!("{x}.{ty}"), format!("() {}", sort(ty)));
            let number = extended(&register, ty, WIDTH);
            self.given.push(format!("(= {x} {number})"));
        } else {
            self.given.push(fits(x, ty));
        }
    }

    /// That an operation of numbers has a value: given on the left side, to be shown on the right.
    pub(super) fn defined(&mut self, x: &str, condition: String, ty: Option<Ty>) {
        match (self.right, ty) {
            (true, _) => self.bad.push(format!("(not {condition})")),
            (false, Some(ty)) => self.holds(x, ty),
            (false, None) => self.given.push(condition),
        }
    }

    /// A small number that is not negative, of a leaf.
    fn small(&mut self, p: &Pattern, id: Id, (what, bits): (&str, u32)) -> Result<String, Stop> {
        let number = self.leaf(p, id, what)?;
        let low = self.declare(format!("{number}.low"), format!("() (_ BitVec {bits})"));
        let more = WIDTH - bits;
        self.given
            .push(format!("(= {number} ((_ zero_extend {more}) {low}))"));
        Ok(number)
    }

    fn name<'p>(&self, p: &'p Pattern, id: Id) -> Result<(String, Option<&'p Node>), Stop> {
        match &p[id] {
            ENodeOrVar::Var(var) => Ok((var.to_string(), None)),
            ENodeOrVar::ENode(node) => Ok((String::new(), Some(node))),
        }
    }

    /// What a variable stands for.
    pub(super) fn bound(&self, name: &str) -> Result<Bound, Stop> {
        let bound = self.shape.bound.get(name).copied();
        bound.ok_or_else(|| Stop::Unstated(format!("the variable {name}")))
    }

    /// The axis that is an operand.
    pub(super) fn axis(&self, p: &Pattern, id: Id) -> Result<AxisId, Stop> {
        match self.bound(&self.name(p, id)?.0)? {
            Bound::Axis(axis) => Ok(axis),
            other => Err(Stop::Unstated(format!("{other:?} as an axis"))),
        }
    }

    /// The type that is an operand.
    pub(super) fn ty(&self, p: &Pattern, id: Id) -> Result<Ty, Stop> {
        let (name, node) = self.name(p, id)?;
        if let Some(Node::Ty(ty)) = node {
            return Ok(*ty);
        }
        match self.bound(&name)? {
            Bound::Ty(ty) => Ok(ty),
            other => Err(Stop::Unstated(format!("{other:?} as a type"))),
        }
    }

    /// The lane list that is an operand.
    pub(super) fn lanes(&self, p: &Pattern, id: Id) -> Result<AxisSet, Stop> {
        let (name, node) = self.name(p, id)?;
        if let Some(Node::Lanes(set)) = node {
            return Ok(*set);
        }
        match self.bound(&name)? {
            Bound::Lanes(set) if set.minus(lanes()).is_empty() => Ok(set),
            Bound::Lanes(_) => Err(Stop::Fault("a loop as a lane")),
            other => Err(Stop::Unstated(format!("{other:?} as lanes"))),
        }
    }

    /// The type of a load.
    pub(super) fn load_type(&self, p: &Pattern, id: Id) -> Result<Ty, Stop> {
        match self.bound(&self.name(p, id)?.0)? {
            Bound::Load(ty, _) => Ok(ty),
            other => Err(Stop::Unstated(format!("{other:?} as a load"))),
        }
    }

    /// A number of a leaf, such as the bits of an element.
    pub(super) fn leaf(&mut self, p: &Pattern, id: Id, what: &str) -> Result<String, Stop> {
        let (name, _) = self.name(p, id)?;
        Ok(self.symbol(format!("{}.{what}", &name[1..]), NUMBER))
    }

    /// Shift, mask and place of a field, which lies within 32 bits.
    pub(super) fn field(&mut self, p: &Pattern, id: Id) -> Result<[String; 3], Stop> {
        let parts = [("shift", 5), ("width", 6), ("up", 5)];
        let [shift, width, up] = parts.map(|part| self.small(p, id, part));
        let (shift, width, up) = (shift?, width?, up?);
        self.given.push(between(&width, 1, 32));
        let end = format!("(bvadd {shift} {width})");
        self.given.push(between(&end, 1, 32));
        let mask = format!("(bvsub (bvshl {} {width}) {})", literal(1), literal(1));
        Ok([shift, mask, up])
    }

    /// Bits of an element's codes.
    pub(super) fn element(&mut self, p: &Pattern, id: Id) -> Result<String, Stop> {
        let bits = self.small(p, id, ("bits", 6))?;
        self.given.push(between(&bits, 1, 32));
        Ok(bits)
    }

    /// The value of a code: any function.
    pub(super) fn value(&mut self, p: &Pattern, id: Id, code: String) -> Result<String, Stop> {
        let (name, _) = self.name(p, id)?;
        let number = sort(Ty::F32);
        let function = self.declare(
            format!("{}.value", &name[1..]),
            format!("({number}) {number}"),
        );
        let value = format!("({function} {code})");
        let codes = self.codes.entry(name).or_default();
        if !codes.contains(&code) {
            codes.push(code);
            self.given
                .push(between(&value, -(1 << NUMBER), 1 << NUMBER));
        }
        Ok(value)
    }

    /// An entry of a table of sixteen.
    pub(super) fn entry(&mut self, p: &Pattern, id: Id, code: &str) -> Result<String, Stop> {
        let entries = (0..16).map(|k| self.leaf(p, id, &k.to_string()));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let last = entries[15].clone();
        let pick = |rest: String, (at, entry): (usize, &String)| {
            format!("(ite (= {code} {}) {entry} {rest})", literal(at as i128))
        };
        Ok(entries.iter().enumerate().rev().skip(1).fold(last, pick))
    }

    /// Codes in lanes: an operation that takes their low bits does not mind what is above.
    pub(super) fn codes(
        &mut self,
        p: &Pattern,
        (element, codes): (Id, Id),
        ty: Ty,
        env: Env,
    ) -> Result<Vector, Stop> {
        let bits = self.element(p, element)?;
        let mut codes = self.vector(p, codes, env)?.of(ty)?;
        let above = format!("(bvugt {bits} {})", literal(i128::from(ty.bits())));
        for lane in &mut codes.lanes {
            lane.misread = all(&[above.clone(), lane.misread.clone()]);
        }
        Ok(codes)
    }

    /// A number that the compiler knows.
    pub(super) fn known(&mut self, p: &Pattern, id: Id) -> Result<String, Stop> {
        match self.bound(&self.name(p, id)?.0)? {
            Bound::Term(_, true) => self.number(p, id, Env::EMPTY),
            _ => Err(Stop::Fault("no number known to the compiler")),
        }
    }

    /// The value of a variable for terms or loads.
    pub(super) fn variable(&mut self, p: &Pattern, id: Id, env: Env) -> Result<String, Stop> {
        let (name, _) = self.name(p, id)?;
        let (free, ty) = match self.bound(&name)? {
            Bound::Term(free, _) => (free, Ty::F32),
            Bound::Load(ty, free) => (free, ty),
            other => return Err(Stop::Unstated(format!("{other:?} as a number"))),
        };
        let mut symbol = name[1..].to_owned();
        for axis in free.iter() {
            let at = env
                .get(axis)
                .map_err(|_| Stop::Fault("an axis out of scope"))?;
            symbol += &format!(".{at}");
        }
        let symbol = self.symbol(symbol, NUMBER);
        if ty != Ty::F32 {
            self.holds(&symbol, ty);
        }
        let (key, known) = (env.only(free), self.instances.entry(name).or_default());
        if !known.iter().any(|(at, _)| *at == key) {
            known.push((key, symbol.clone()));
        }
        Ok(symbol)
    }

    /// What the terms before the last one come to.
    pub(super) fn before(&mut self, last: &str) -> String {
        let name = format!("before.{}", self.sums.len());
        let name = self.sums.entry(last.to_owned()).or_insert(name).clone();
        self.symbol(name, BEFORE)
    }

    /// The accumulator before the last term.
    pub(super) fn before_vector(&mut self, p: &Pattern, id: Id, env: Env) -> Result<Vector, Stop> {
        let ENodeOrVar::ENode(Node::Op(Op::Vec, c)) = &p[id] else {
            return Err(Stop::Unstated(
                "a sum of what is no vector of a term".into(),
            ));
        };
        let ty = self.ty(p, c[1])?;
        self.each(p, c[0], ty, env, |s, env| {
            let last = s.number(p, c[2], env)?;
            Ok(s.before(&last))
        })
    }

    /// A number of a side.
    pub(super) fn number(&mut self, p: &Pattern, id: Id, env: Env) -> Result<String, Stop> {
        match &p[id] {
            ENodeOrVar::Var(_) => self.variable(p, id, env),
            ENodeOrVar::ENode(Node::Num(bits)) => {
                let number = f64::from_bits(*bits);
                if number.fract() != 0.0 || number.abs() > 2f64.powi(NUMBER as i32) {
                    return Err(Stop::Unstated("a fraction".into()));
                }
                Ok(literal(number as i128))
            }
            ENodeOrVar::ENode(Node::Op(op, c)) => number(self, p, (line(*op)?, c), env),
            ENodeOrVar::ENode(other) => Err(Stop::Unstated(format!("{other} as a number"))),
        }
    }

    /// Registers of a side.
    pub(super) fn vector(&mut self, p: &Pattern, id: Id, env: Env) -> Result<Vector, Stop> {
        match &p[id] {
            ENodeOrVar::ENode(Node::Op(op, c)) => by_template(self, p, (line(*op)?, c), env),
            other => Err(Stop::Unstated(format!("{other} as a vector"))),
        }
    }

    /// A vector from the number in each lane; lanes have values in their vector only.
    pub(super) fn each(
        &mut self,
        p: &Pattern,
        id: Id,
        ty: Ty,
        env: Env,
        mut number: impl FnMut(&mut Self, Env) -> Result<String, Stop>,
    ) -> Result<Vector, Stop> {
        let set = self.lanes(p, id)?;
        let around = env.without(lanes());
        let mut found = Vec::new();
        for place in places(set) {
            let inside = set.iter().fold(around, |env, a| {
                env.with(a, place.get(a).unwrap_or_default())
            });
            let x = number(self, inside)?;
            let value = wrapped(&x, ty);
            let misread = match ty {
                Ty::F32 => "false".to_owned(),
                _ => format!("(not {})", fits(&x, ty)),
            };
            found.push(Lane { value, misread });
        }
        let lanes = found;
        Ok(Vector { set, ty, lanes })
    }
}
