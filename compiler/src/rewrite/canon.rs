//! Canonical form: sums and products as polynomials with ordered factors, so that how the author spelled a formula does
//! not decide how fast it is. The result is the term that enters the e-graph.
//!
//! A polynomial is a sum of coefficient × product of atoms (loads, codes, functions, sums over axes). Equal spellings give
//! equal polynomials; factors are ordered by how deep in the loops they change, weights before activations, then by a hash
//! of their contents. Factors common to all products are pulled out, and so is a sum of what changes further out: the scale
//! of `(s - 32) * (q - 4)` stays one number.

use super::analysis::Graph;
use super::apart::Apart;
use super::facts::Facts;
use super::lang::{Node, Op, func_op, select_op};
use crate::divisors::gcd;
use crate::hash::{SEED, fnv};
use crate::schedule::index::{Affine, AxisKind, AxisSet, TableAxis};
use crate::schedule::term::{Strict, Term, TermId, Unit};
use egg::Id;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// An atom of a polynomial: a class of the graph, with what orders it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Atom {
    /// Innermost loop or copies that it changes with (0 for none).
    depth: u32,
    /// Whether it changes with lanes of a reduced index.
    lanes: bool,
    /// Whether it depends on data of the call.
    pub(super) call: bool,
    /// Hash of its contents.
    pub(super) hash: u64,
}

/// Products (sorted atoms) with coefficients.
pub(super) type Poly = BTreeMap<Vec<Atom>, f64>;

/// Terms beyond this many products stay as they were written.
const PRODUCTS: usize = 64;

/// The making of a canonical form.
pub(super) struct Canon<'a> {
    pub(super) graph: &'a mut Graph,
    done: BTreeMap<TermId, Poly>,
    classes: BTreeMap<u64, (Id, AxisSet)>,
    /// The atoms that are worths of numbers which were moved up, and by how much.
    moved: BTreeMap<u64, Affine>,
    /// Where sums are taken apart.
    pub(super) apart: Option<Apart>,
    /// The axes of the sums that are open.
    pub(super) within: AxisSet,
}

/// Adds a term to the graph in canonical form.
pub fn insert(graph: &mut Graph, root: TermId) -> Id {
    let mut canon = Canon::new(graph, None);
    let poly = canon.poly(root);
    canon.build(&poly).0
}

impl<'a> Canon<'a> {
    pub(super) fn new(graph: &'a mut Graph, apart: Option<Apart>) -> Self {
        Canon {
            graph,
            done: BTreeMap::new(),
            classes: BTreeMap::new(),
            moved: BTreeMap::new(),
            apart,
            within: AxisSet::default(),
        }
    }

    /// Forgets the forms of terms that were found.
    pub(super) fn forget(&mut self) {
        self.done.clear();
    }

    fn facts(&self) -> &Facts {
        &self.graph.analysis
    }

    pub(super) fn poly(&mut self, term: TermId) -> Poly {
        if let Some(poly) = self.done.get(&term) {
            return poly.clone();
        }
        let node = self.facts().terms.terms[term].clone();
        let poly = match node {
            Term::Const(c) => number(c),
            Term::Add(parts) => {
                let mut sum = Poly::new();
                for part in parts {
                    for (atoms, coefficient) in self.poly(part) {
                        *sum.entry(atoms).or_insert(0.0) += coefficient;
                    }
                }
                sum.retain(|_, c| *c != 0.0);
                sum
            }
            Term::Mul(parts) => {
                let factors: Vec<Poly> = parts.iter().map(|p| self.poly(*p)).collect();
                let product = self.product(&factors);
                self.with_bytes(product)
            }
            Term::Sum(axis, body) => {
                let outside = self.within;
                self.within = outside.union(AxisSet::one(axis));
                let sum = self.atom(&Term::Sum(axis, body));
                self.within = outside;
                sum
            }
            other => self.atom(&other),
        };
        let poly = self.with_kept(poly);
        self.done.insert(term, poly.clone());
        poly
    }

    fn product(&mut self, factors: &[Poly]) -> Poly {
        let mut result = number(1.0);
        for factor in factors {
            if result.len() * factor.len() > PRODUCTS {
                let (a, b) = (self.opaque(&result), self.opaque(factor));
                result = [(sorted(vec![a, b]), 1.0)].into();
                continue;
            }
            result = times(&result, factor);
        }
        result
    }

    /// The class of an atom, and the axes that it depends on.
    pub(super) fn class_of(&self, atom: &Atom) -> (Id, AxisSet) {
        self.classes[&atom.hash]
    }

    /// The axes that an atom depends on.
    pub(super) fn axes_of(&self, atom: &Atom) -> AxisSet {
        self.class_of(atom).1
    }

    /// A polynomial as one atom.
    pub(super) fn opaque(&mut self, poly: &Poly) -> Atom {
        let (id, hash, axes, call) = self.build_hashed(poly);
        self.remember(id, hash, axes, call)
    }

    pub(super) fn remember(&mut self, id: Id, hash: u64, axes: AxisSet, call: bool) -> Atom {
        let facts = self.facts();
        let depth = axes
            .iter()
            .filter(|a| facts.axes[*a].kind != AxisKind::Lane)
            .map(|a| a.as_u32() + 1)
            .max()
            .unwrap_or(0);
        let lanes = axes
            .iter()
            .any(|a| facts.axes[a].kind == AxisKind::Lane && !facts.axes[a].output);
        self.classes.insert(hash, (id, axes));
        Atom {
            depth,
            lanes,
            call,
            hash,
        }
    }

    /// A term that is no sum or product, over canonical operands.
    fn atom(&mut self, term: &Term) -> Poly {
        let (op, data, operands): (Op, Option<Node>, Vec<TermId>) = match term {
            Term::Load(load) => (Op::Ld, Some(Node::Ref(load.as_u32())), vec![]),
            Term::Scalar(s) => return self.extent(s),
            Term::Bits(field, e) => (Op::Bits, Some(Node::Ref(*field)), vec![*e]),
            Term::Unit(unit) => (Op::Unit, Some(Node::Ref(*unit)), vec![]),
            Term::Element(element, e) => (Op::Elem, Some(Node::Ref(*element)), vec![*e]),
            Term::Div(a, b) => (Op::Div, None, vec![*a, *b]),
            Term::Min(a, b) => (Op::Min, None, vec![*a, *b]),
            Term::Max(a, b) => (Op::Max, None, vec![*a, *b]),
            Term::Func(f, a) => (func_op(*f), None, vec![*a]),
            Term::Select(c, o) => (select_op(*c), None, o.to_vec()),
            Term::Strict(s, a, b) => (strict_op(*s), None, vec![*a, *b]),
            Term::Sum(axis, e) if self.facts().axes[*axis].tables == TableAxis::Joint => {
                return self.over_neighbours(*axis, *e);
            }
            Term::Sum(axis, e) if self.apart.is_some() => return self.sum_apart(*axis, *e),
            Term::Sum(axis, e) => (Op::Sum, Some(Node::Axis(*axis)), vec![*e]),
            Term::MaxOver(axis, e) => (Op::MaxOver, Some(Node::Axis(*axis)), vec![*e]),
            Term::Const(c) => return number(*c),
            Term::Add(_) | Term::Mul(_) => return Poly::new(),
        };
        let mut hash = fnv(op.name().as_bytes(), SEED);
        let (mut axes, mut call) = (AxisSet::default(), false);
        let mut children = Vec::new();
        if let Some(data) = data {
            hash = fnv(&self.contents(op, &data).to_le_bytes(), hash);
            if op == Op::Ld
                && let Term::Load(load) = term
            {
                axes = self.facts().terms.load_axes(*load);
                call = self.facts().call_loads[load.as_u32() as usize];
            }
            if let (Op::Bits, Node::Ref(field)) = (op, &data) {
                axes = self.facts().terms.fields[*field as usize].axes();
            }
            if let (Op::Unit, Node::Ref(unit)) = (op, &data) {
                axes = self.facts().terms.units[*unit as usize].bits.axes();
            }
            children.push(self.graph.add(data));
        }
        for operand in operands {
            let poly = self.poly(operand);
            let (id, h, a, c) = self.build_hashed(&poly);
            hash = fnv(&h.to_le_bytes(), hash);
            axes = axes.union(a);
            call |= c;
            children.push(id);
        }
        if let Term::Sum(axis, _) | Term::MaxOver(axis, _) = term {
            axes = axes.minus(AxisSet::one(*axis));
        }
        let id = self.graph.add(Node::Op(op, children));
        let mut atom = self.remember(id, hash, axes, call);
        if let Term::Unit(unit) = term {
            let bits = self.facts().terms.units[*unit as usize].bits.clone();
            self.moved.insert(hash, bits);
            // Beside what was moved up, not beside scales: floats would overflow where those times sums do not.
            atom.depth = u32::MAX;
        }
        [(vec![atom], 1.0)].into()
    }

    /// A polynomial where what is added to a code that was moved up is moved up by as much: `2^-n * b - 2` becomes
    /// `2^-n * (b - 2 * 2^n)`, whose sums are integers as those of the code are.
    fn levelled<'p>(&mut self, poly: &'p Poly) -> Cow<'p, Poly> {
        let unit_of = |atoms: &[Atom]| {
            let unit = |atom: &Atom| Some((atom.clone(), self.moved.get(&atom.hash)?.clone()));
            atoms.iter().find_map(unit)
        };
        let codes = poly.keys();
        let codes = codes.filter_map(|atoms| Some((atoms, unit_of(atoms)?)));
        let codes: Vec<(&Vec<Atom>, (Atom, Affine))> = codes.collect();
        if codes.is_empty() {
            return Cow::Borrowed(poly);
        }
        // The unit of a product that has a code beside the same factors.
        let unit_for = |atoms: &Vec<Atom>| {
            let same = |(product, (unit, _)): &&(&Vec<Atom>, (Atom, Affine))| {
                let rest = without(product, atoms);
                product.len() == atoms.len() + 2 && rest.len() == 2 && rest.contains(unit)
            };
            codes.iter().find(same).map(|(_, unit)| unit.clone())
        };
        let mut levelled = Poly::new();
        let mut numbers = Vec::new();
        for (atoms, coefficient) in poly {
            let has_code = codes.iter().any(|(product, _)| *product == atoms);
            match unit_for(atoms).filter(|_| !has_code && coefficient.fract() == 0.0) {
                Some(unit) => numbers.push((atoms, *coefficient, unit)),
                None => drop(levelled.insert(atoms.clone(), *coefficient)),
            }
        }
        for (atoms, times, (unit, bits)) in numbers {
            let up = self.moved_up(bits, times);
            levelled.insert(sorted([&atoms[..], &[unit, up]].concat()), 1.0);
        }
        Cow::Owned(levelled)
    }

    /// A number, moved up by so many bits.
    fn moved_up(&mut self, bits: Affine, times: f64) -> Atom {
        let axes = bits.axes();
        let times = Some(times);
        let number = self.graph.analysis.unit(Unit { bits, times });
        let hash = fnv(
            &self.facts().hashes.units[number as usize].to_le_bytes(),
            SEED,
        );
        let leaf = self.graph.add(Node::Ref(number));
        let id = self.graph.add(Node::Op(Op::Unit, vec![leaf]));
        self.remember(id, hash, axes, false)
    }

    fn extent(&mut self, scalar: &crate::vector::ir::Scalar) -> Poly {
        let position = self
            .facts()
            .terms
            .terms
            .values()
            .filter(|t| matches!(t, Term::Scalar(_)));
        let number = position
            .take_while(|t| **t != Term::Scalar(scalar.clone()))
            .count() as u32;
        let leaf = self.graph.add(Node::Ref(number));
        let id = self.graph.add(Node::Op(Op::Extent, vec![leaf]));
        let atom = self.remember(
            id,
            fnv(format!("{scalar:?}").as_bytes(), SEED),
            AxisSet::default(),
            false,
        );
        [(vec![atom], 1.0)].into()
    }

    /// A hash of what a leaf refers to, which does not depend on numbering.
    fn contents(&self, op: Op, data: &Node) -> u64 {
        let hashes = &self.facts().hashes;
        match (op, data) {
            (Op::Ld, Node::Ref(r)) => hashes.loads[*r as usize],
            (Op::Bits, Node::Ref(r)) => hashes.fields[*r as usize],
            (Op::Unit, Node::Ref(r)) => hashes.units[*r as usize],
            (Op::Elem, Node::Ref(r)) => hashes.elements[*r as usize],
            (_, data) => fnv(data.to_string().as_bytes(), SEED),
        }
    }

    pub(super) fn build(&mut self, poly: &Poly) -> (Id, u64) {
        let (id, hash, _, _) = self.build_hashed(poly);
        (id, hash)
    }

    /// The class of a polynomial, with common factors pulled out; its hash, axes, and whether it depends on the call.
    pub(super) fn build_hashed(&mut self, poly: &Poly) -> (Id, u64, AxisSet, bool) {
        let hash = poly.iter().fold(SEED, |h, (atoms, c)| {
            let h = fnv(&c.to_bits().to_le_bytes(), h);
            atoms.iter().fold(h, |h, a| fnv(&a.hash.to_le_bytes(), h))
        });
        let atoms = || poly.keys().flatten();
        let axes = atoms().fold(AxisSet::default(), |s, a| s.union(self.classes[&a.hash].1));
        let call = atoms().any(|a| a.call);
        if poly.is_empty() {
            return (self.graph.add(Node::num(0.0)), hash, axes, call);
        }
        let poly = &*self.levelled(poly);
        let common = common(poly);
        let rest: Poly = poly
            .iter()
            .map(|(atoms, c)| (without(atoms, &common), *c))
            .collect();
        let id = if rest.len() == 1 {
            self.sum(poly)
        } else if let Some(groups) = outer_and_inner(&rest) {
            let mut factors = common;
            factors.extend(groups.iter().map(|group| self.opaque(group)));
            self.chain(&sorted(factors), 1.0)
        } else if common.is_empty() {
            self.sum(poly)
        } else {
            let group = self.opaque(&rest);
            let mut factors = common;
            factors.push(group);
            self.chain(&sorted(factors), 1.0)
        };
        (id, hash, axes, call)
    }

    fn sum(&mut self, poly: &Poly) -> Id {
        let mut products: Vec<(Vec<Atom>, f64)> =
            poly.iter().map(|(a, c)| (a.clone(), *c)).collect();
        products.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)));
        let ids: Vec<Id> = products
            .iter()
            .map(|(atoms, c)| self.chain(atoms, *c))
            .collect();
        let mut ids = ids.into_iter().rev();
        let last = ids.next();
        let sum = ids.fold(last, |sum, id| {
            sum.map(|sum| self.graph.add(Node::Op(Op::Add, vec![id, sum])))
        });
        sum.unwrap_or_else(|| self.graph.add(Node::num(0.0)))
    }

    /// `coefficient * (a * (b * c))`
    fn chain(&mut self, atoms: &[Atom], coefficient: f64) -> Id {
        let mut ids: Vec<Id> = Vec::new();
        if coefficient != 1.0 || atoms.is_empty() {
            ids.push(self.graph.add(Node::num(coefficient)));
        }
        ids.extend(atoms.iter().map(|a| self.classes[&a.hash].0));
        let mut ids = ids.into_iter().rev();
        let last = ids.next();
        let product = ids.fold(last, |product, id| {
            product.map(|p| self.graph.add(Node::Op(Op::Mul, vec![id, p])))
        });
        product.unwrap_or_else(|| self.graph.add(Node::num(coefficient)))
    }
}

pub(super) fn number(value: f64) -> Poly {
    if value == 0.0 {
        Poly::new()
    } else {
        [(Vec::new(), value)].into()
    }
}

/// The product of two polynomials.
pub(super) fn times(a: &Poly, b: &Poly) -> Poly {
    let mut product = Poly::new();
    for (x, cx) in a {
        for (y, cy) in b {
            let atoms = sorted([x.clone(), y.clone()].concat());
            *product.entry(atoms).or_insert(0.0) += cx * cy;
        }
    }
    product.retain(|_, c| *c != 0.0);
    product
}

pub(super) fn sorted(mut atoms: Vec<Atom>) -> Vec<Atom> {
    atoms.sort();
    atoms
}

/// Atoms that every product has.
fn common(poly: &Poly) -> Vec<Atom> {
    let mut products = poly.keys();
    let mut shared = products.next().cloned().unwrap_or_default();
    for product in products {
        let mut left = product.clone();
        shared.retain(|a| match left.iter().position(|b| a == b) {
            Some(at) => {
                left.remove(at);
                true
            }
            None => false,
        });
    }
    shared
}

fn without(atoms: &[Atom], common: &[Atom]) -> Vec<Atom> {
    let mut rest = atoms.to_vec();
    for atom in common {
        if let Some(at) = rest.iter().position(|a| a == atom) {
            rest.remove(at);
        }
    }
    rest
}

/// A polynomial as the product of two sums, of which one changes further out than the other; `None` if it is no such product.
fn outer_and_inner(poly: &Poly) -> Option<[Poly; 2]> {
    let level = |atom: &Atom| (atom.depth, atom.lanes);
    let levels: BTreeSet<(u32, bool)> = poly.keys().flatten().map(level).collect();
    levels.into_iter().rev().find_map(|inner| {
        let mut by_inner: BTreeMap<&[Atom], Poly> = BTreeMap::new();
        for (atoms, coefficient) in poly {
            let (out, within) = atoms.split_at(atoms.partition_point(|a| level(a) < inner));
            let sum = by_inner.entry(within).or_default();
            sum.insert(out.to_vec(), *coefficient);
        }
        let outer = primitive(by_inner.values().next_back()?);
        if outer.len() < 2 || by_inner.len() < 2 {
            return None;
        }
        let within = by_inner.iter().map(|(atoms, sum)| {
            let times = multiple(sum, &outer)?;
            Some((atoms.to_vec(), times))
        });
        let within = within.collect::<Option<Poly>>()?;
        Some([outer, within])
    })
}

/// A sum without the factor that its coefficients have in common, where they are integers.
fn primitive(sum: &Poly) -> Poly {
    let whole = |c: &f64| c.fract() == 0.0 && c.abs() < 2f64.powi(53);
    if !sum.values().all(whole) {
        return sum.clone();
    }
    let divisor = sum.values().fold(0, |d, c| gcd(d, c.abs() as u64)) as f64;
    let sign = sum.values().next_back().map_or(1.0, |c| c.signum());
    sum.iter()
        .map(|(a, c)| (a.clone(), c / (sign * divisor)))
        .collect()
}

/// What the second sum is to be multiplied with to be the first: exactly for integers, else as nearly as products of
/// coefficients are rounded.
fn multiple(sum: &Poly, of: &Poly) -> Option<f64> {
    let times = sum.values().next()? / of.values().next()?;
    let same = |(wanted, found): (f64, f64)| {
        let rounded = wanted.fract() != 0.0 || found.fract() != 0.0;
        wanted == found || rounded && (wanted - found).abs() <= ROUNDING * wanted.abs()
    };
    let scaled = of.values().map(|c| c * times);
    let all = sum.keys().eq(of.keys()) && sum.values().copied().zip(scaled).all(same);
    all.then_some(times)
}

/// What the rounding of a few products and quotients may change in a number, of the number.
const ROUNDING: f64 = 8.0 * f64::EPSILON;

fn strict_op(op: Strict) -> Op {
    match op {
        Strict::Add => Op::StrictAdd,
        Strict::Sub => Op::StrictSub,
        Strict::Mul => Op::StrictMul,
        Strict::Div => Op::StrictDiv,
        Strict::Min => Op::StrictMin,
        Strict::Max => Op::StrictMax,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_products_in_any_order_are_one_key() {
        let atom = |hash| Atom {
            depth: 0,
            lanes: false,
            call: false,
            hash,
        };
        assert_eq!(
            sorted(vec![atom(2), atom(1)]),
            sorted(vec![atom(1), atom(2)])
        );
    }

    /// Atoms of two levels.
    fn atoms() -> (Vec<Atom>, Vec<Atom>) {
        let atom = |depth| Atom {
            depth,
            lanes: false,
            call: false,
            hash: u64::from(depth),
        };
        (vec![atom(1)], vec![atom(2)])
    }

    fn linear(atoms: &[Atom], times: f64, plus: f64) -> Poly {
        [(atoms.to_vec(), times), (Vec::new(), plus)].into()
    }

    #[test]
    fn a_product_of_sums_is_found_again() {
        let (scale, code) = atoms();
        let (outer, inner) = (linear(&scale, 2.0, -64.0), linear(&code, 3.0, -12.0));
        let whole = times(&outer, &inner);
        let found = [linear(&scale, 1.0, -32.0), linear(&code, 6.0, -24.0)];
        assert_eq!(outer_and_inner(&whole), Some(found));
        let (outer, inner) = (linear(&scale, 0.5, 0.25), linear(&code, 1.0, -1.0));
        assert_eq!(
            outer_and_inner(&times(&outer, &inner)),
            Some([outer, inner])
        );
    }

    #[test]
    fn rounded_coefficients_do_not_hide_a_product() {
        let (scale, code) = atoms();
        for factor in [0.1, 0.3, 1.0 / 127.0, 0.7] {
            for (a, b) in [(3.0, 5.0), (3.0, 7.0), (31.0, 4.0)] {
                let outer = linear(&scale, factor, -factor * a);
                let whole = times(&outer, &linear(&code, 1.0, -b));
                assert!(outer_and_inner(&whole).is_some(), "{factor} {a} {b}");
            }
        }
    }

    #[test]
    fn other_sums_of_products_stay() {
        let (scale, code) = atoms();
        let mut sum = times(&linear(&scale, 1.0, -32.0), &linear(&code, 1.0, -4.0));
        assert_eq!(outer_and_inner(&linear(&scale, 1.0, 1.0)), None);
        sum.insert(code.clone(), -31.0);
        assert_eq!(outer_and_inner(&sum), None);
        sum.remove(&code);
        assert_eq!(outer_and_inner(&sum), None);
    }
}
