//! Sums that layouts keep, in place of sums over weights alone.
//!
//! A second form of a result is made beside the canonical one (`canon.rs`): sums over an axis are taken apart, product by product,
//! with all factors outside that do not change along it. In this form `sum(k) w * (q - z)` has a sum over weights alone, and where
//! a layout keeps that sum, the load of it stands in its place. The graph is told that the two forms are equal, and the cost
//! decides. No rule does this: reordering every product by what it depends on would multiply the nodes of every graph.

use super::RuleSet;
use super::analysis::{Graph, real};
use super::canon::{Atom, Canon, Poly, number, sorted, times};
use super::extract::Extracted;
use super::lang::{Node, Op};
use super::outline::Outline;
use crate::schedule::index::AxisId;
use crate::schedule::place::{Kept, Placed};
use crate::schedule::term::{Term, TermId};
use crate::spec::kernel::{Kernel, Tables};
use egg::Id;
use std::collections::BTreeMap;

/// Why a sum and the load of what is kept of it are equal.
const REASON: &str = "kept-sum";

/// What is known in a form with sums taken apart.
#[derive(Default)]
pub(super) struct Apart {
    /// Products with sums over weights, and what they are worth in terms of what is kept.
    known: Vec<(Vec<Atom>, Poly)>,
    /// Whether one was replaced.
    used: bool,
}

/// Whether some result of a statement has a form with a kept sum.
pub fn is_useful(placed: &Placed, kernel: &Kernel, rules: &RuleSet) -> bool {
    rules.known.keeps(Outline::of(placed, kernel), |outline| {
        let mut graph = Graph::new(outline.facts());
        let mut roots = outline.roots.iter();
        let has = roots.any(|root| second_form(&mut graph, root.term, &outline.kept).is_some());
        (has, graph.analysis.extents.asked())
    })
}

/// Whether a term reads what is kept.
pub fn reads_kept(placed: &Placed, term: &Extracted) -> bool {
    let loads = placed.kept.iter().map(|k| &placed.terms.terms[k.load]);
    let loads = loads.filter_map(|load| match load {
        Term::Load(load) => Some(Node::Ref(load.as_u32())),
        _ => None,
    });
    let loads: Vec<Node> = loads.collect();
    let mut reads = term.nodes.iter().filter(|n| n.op == Op::VLoad);
    reads.any(|n| n.data.last().is_some_and(|l| loads.contains(l)))
}

/// Tells the graph of the second form of a result, if it has one.
pub(super) fn tell(graph: &mut Graph, root: TermId, value: Id, kept: &[Kept]) {
    if let Some(second) = second_form(graph, root, kept) {
        graph.union_trusted(value, second, REASON);
    }
}

fn second_form(graph: &mut Graph, root: TermId, kept: &[Kept]) -> Option<Id> {
    // What is rounded is not taken apart.
    if kept.is_empty() || graph.analysis.rounding != Tables::Exact {
        return None;
    }
    let mut canon = Canon::new(graph, Some(Apart::default()));
    kept.iter().for_each(|one| canon.learn(one));
    let poly = canon.poly(root);
    let used = canon.apart.as_ref().is_some_and(|apart| apart.used);
    used.then(|| canon.build(&poly).0)
}

impl Canon<'_> {
    /// Solves `sum = load` for one of the products that the first is made of: one with a sum, which are the longest.
    fn learn(&mut self, kept: &Kept) {
        let (sum, load) = (self.poly(kept.sum), self.poly(kept.load));
        // What was found without this knowledge.
        self.forget();
        let longest = sum.iter().max_by_key(|(atoms, _)| atoms.len());
        let Some((product, coefficient)) = longest.map(|(p, c)| (p.clone(), *c)) else {
            return;
        };
        // A value that is the same along the row is known without the sum, exactly.
        if !product.iter().any(|atom| self.is_sum(atom)) {
            return;
        }
        let mut worth = load.clone();
        for (atoms, c) in sum.iter().filter(|(atoms, _)| **atoms != product) {
            *worth.entry(atoms.clone()).or_insert(0.0) -= c;
        }
        worth.values_mut().for_each(|c| *c /= coefficient);
        let read = [&sum, &load].map(|poly| self.build(poly).0);
        let [is_whole, is_kept_whole] =
            read.map(|id| real(self.graph, id).is_some_and(|r| r.integer));
        if is_whole && !is_kept_whole {
            // An integer that is kept in f32 may be another one.
            return;
        }
        self.same(read);
        if let Some(apart) = &mut self.apart {
            apart.known.push((product, worth));
        }
    }

    fn is_sum(&self, atom: &Atom) -> bool {
        let nodes = &self.graph[self.class_of(atom).0].nodes;
        let mut nodes = nodes.iter();
        nodes.any(|node| matches!(node, Node::Op(Op::Sum, _)))
    }

    /// The load of what is kept gets what is known of the sum, such as how large it can be; the sum itself is not computed.
    fn same(&mut self, [sum, load]: [Id; 2]) {
        self.graph.union_trusted(load, sum, REASON);
        let read = |node: &Node| matches!(node, Node::Op(Op::Ld | Op::Bits | Op::Elem, _));
        self.graph[load].nodes.retain(read);
    }

    /// A polynomial with what is kept in place of what it was solved for.
    pub(super) fn with_kept(&mut self, mut poly: Poly) -> Poly {
        let Some(apart) = &mut self.apart else {
            return poly;
        };
        for (product, worth) in &apart.known {
            if poly.keys().any(|atoms| quotient(atoms, product).is_some()) {
                apart.used = true;
                poly = replaced(poly, product, worth);
            }
        }
        poly
    }

    /// A sum over an axis, taken apart: weights product by product, the rest by what is the same along the axis.
    pub(super) fn sum_apart(&mut self, axis: AxisId, term: TermId) -> Poly {
        let body = self.poly(term);
        let mut sum = Poly::new();
        let mut groups: BTreeMap<Vec<Atom>, Poly> = BTreeMap::new();
        for (atoms, c) in body {
            let (inside, outside): (Vec<Atom>, Vec<Atom>) =
                atoms.into_iter().partition(|a| self.axes_of(a).has(axis));
            if inside.iter().any(|a| a.call) {
                groups.entry(outside).or_default().insert(inside, c);
                continue;
            }
            let (mut key, mut factor) = (outside, c);
            if !inside.is_empty() {
                key.push(self.sum_over(axis, &[(inside, 1.0)].into()));
            } else if let Some(n) = self.graph.analysis.constant_extent(axis) {
                factor *= n as f64;
            } else {
                key.push(self.sum_over(axis, &number(1.0)));
            }
            *sum.entry(sorted(key)).or_insert(0.0) += factor;
        }
        for (mut key, group) in groups {
            key.push(self.sum_over(axis, &group));
            *sum.entry(sorted(key)).or_insert(0.0) += 1.0;
        }
        sum.retain(|_, c| *c != 0.0);
        sum
    }
}

/// A polynomial with another in place of a product.
fn replaced(poly: Poly, product: &[Atom], by: &Poly) -> Poly {
    let mut next = Poly::new();
    for (atoms, c) in poly {
        let Some(rest) = quotient(&atoms, product) else {
            *next.entry(atoms).or_insert(0.0) += c;
            continue;
        };
        for (atoms, c) in times(&[(rest, c)].into(), by) {
            *next.entry(atoms).or_insert(0.0) += c;
        }
    }
    next.retain(|_, c| *c != 0.0);
    next
}

/// The factors that a product has beside others; `None` if it does not have these.
fn quotient(atoms: &[Atom], others: &[Atom]) -> Option<Vec<Atom>> {
    let mut rest = atoms.to_vec();
    for other in others {
        rest.remove(rest.iter().position(|a| a == other)?);
    }
    Some(rest)
}
