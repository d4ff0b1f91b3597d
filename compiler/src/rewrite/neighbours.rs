//! Sums over the neighbours of a joint code, in canonical form: product by product, what the neighbours share outside, and
//! where the kernel says `tables int8`, with the look-ups rounded to bytes.
//!
//! Rounding is an operation with a value of its own, put in here, before anything is rewritten: `floor(e * k / 2^15 + 1/2)`
//! for an integer `e`, where `k` is chosen so that a byte holds the result. The code is centred first (a bit becomes -1 or
//! 1), which halves what rounding costs (T-MAC, EuroSys 2025, recodes bits so).

use super::analysis::real;
use super::canon::{Atom, Canon, Poly};
use super::lang::{Node, Op};
use super::word::Word;
use crate::schedule::index::{AxisId, AxisSet};
use crate::schedule::layout::JOINT_BITS;
use crate::schedule::term::TermId;
use crate::spec::interp::{NEIGHBOURS, TABLE_SHARE};
use crate::spec::kernel::Tables;
use std::collections::BTreeMap;

/// The largest magnitude that is rounded to the largest byte.
const BYTE: f64 = 127.49;

/// What the fraction of a rounded product is over.
const WHOLE: f64 = 32768.0;

/// A sum over neighbours that is rounded: `value = slope * rounded + middle * others`.
struct Rounded {
    slope: f64,
    middle: f64,
    sum: Atom,
}

impl Canon<'_> {
    /// The sum of a term over the neighbours of a joint code.
    pub(super) fn over_neighbours(&mut self, axis: AxisId, term: TermId) -> Poly {
        let body = self.poly(term);
        // What is the same for all neighbours, and what is summed, apart for weights and for the call alone. Where sums are taken
        // apart, so is each product of weights alone.
        let mut groups: BTreeMap<(Vec<Atom>, bool, Vec<Atom>), Poly> = BTreeMap::new();
        for (atoms, coefficient) in body {
            let (own, shared): (Vec<Atom>, Vec<Atom>) =
                atoms.into_iter().partition(|a| self.axes_of(a).has(axis));
            for (sums, factor) in self.product_over(axis, own) {
                let weights = sums.iter().any(|a| self.reads_weights(a));
                let alone = self.apart.is_some() && !sums.iter().any(|a| a.call);
                let own = if alone { sums.clone() } else { Vec::new() };
                let group = groups.entry((shared.clone(), weights, own)).or_default();
                *group.entry(sums).or_insert(0.0) += coefficient * factor;
            }
        }
        let mut sum = Poly::new();
        for ((shared, ..), group) in groups {
            let products = match group.len() {
                1 => group,
                _ => self.grouped(group),
            };
            for (atoms, coefficient) in products {
                let key = super::canon::sorted([shared.clone(), atoms].concat());
                *sum.entry(key).or_insert(0.0) += coefficient;
            }
        }
        sum.retain(|_, c| *c != 0.0);
        sum
    }

    /// Products under one atom, their common constant outside, so that integers stay integers.
    fn grouped(&mut self, group: Poly) -> Poly {
        let least = group.values().fold(f64::INFINITY, |m, c| m.min(c.abs()));
        let whole = group.values().all(|c| (c / least).fract() == 0.0);
        let common = if whole && least > 0.0 { least } else { 1.0 };
        let inner: Poly = group.into_iter().map(|(a, c)| (a, c / common)).collect();
        let atom = self.opaque(&inner);
        [(vec![atom], common)].into()
    }

    /// A product summed over the neighbours.
    fn product_over(&mut self, axis: AxisId, atoms: Vec<Atom>) -> Poly {
        let rounded = match self.graph.analysis.rounding {
            Tables::Exact => None,
            Tables::Int8 => self.rounded(axis, &atoms),
        };
        let Some(rounded) = rounded else {
            let sum = self.sum_over(axis, &[(atoms, 1.0)].into());
            return [(vec![sum], 1.0)].into();
        };
        let mut poly: Poly = [(vec![rounded.sum], rounded.slope)].into();
        if rounded.middle != 0.0 {
            let others: Vec<Atom> = atoms.into_iter().filter(|a| a.call).collect();
            let sum = self.sum_over(axis, &[(others, 1.0)].into());
            poly.insert(vec![sum], rounded.middle);
        }
        poly
    }

    /// A product of a code and integers of the call, summed and rounded; `None` where it is no such product, or its sums are
    /// bytes as they are.
    fn rounded(&mut self, axis: AxisId, atoms: &[Atom]) -> Option<Rounded> {
        let (call, weights): (Vec<&Atom>, Vec<&Atom>) = atoms.iter().partition(|a| a.call);
        let [code] = weights[..] else {
            return None;
        };
        let (id, _) = self.class_of(code);
        let fact = real(self.graph, id)?.clone();
        let extent = self.graph.analysis.extent(axis)?;
        let Word::Part(part) = &fact.word else {
            return None;
        };
        // What a product may be off is a part of the ranges of its two factors.
        let [other] = call[..] else {
            return None;
        };
        let given = real(self.graph, self.class_of(other).0)?;
        let others = given.low.abs().max(given.high.abs());
        let range = given.high - given.low;
        if !given.integer || !range.is_finite() {
            return None;
        }
        let together = part.clone().over(axis, Some(extent));
        let joint = together.is_some_and(|p| p.width <= u64::from(JOINT_BITS));
        if !joint || extent > NEIGHBOURS || !fact.integer {
            return None;
        }
        // Twice the distance to the middle, where the middle lies between integers.
        let ends = fact.low + fact.high;
        let scale = if ends.rem_euclid(2.0) == 0.0 {
            1.0
        } else {
            2.0
        };
        let middle = ends / 2.0;
        let most = scale * (fact.high - middle) * others * extent as f64;
        if most <= BYTE || most > f64::from(i16::MAX) {
            return None;
        }
        let factor = (WHOLE * BYTE / most).floor();
        let off = 0.5 * WHOLE / factor / scale;
        if off > TABLE_SHARE * (fact.high - fact.low) * range * extent as f64 {
            return None;
        }
        let others = vec![other.clone()];
        let mut centred: Poly = BTreeMap::new();
        let with_code = [others.clone(), vec![code.clone()]].concat();
        centred.insert(super::canon::sorted(with_code), scale);
        centred.insert(others, -scale * middle);
        centred.retain(|_, c| *c != 0.0);
        let sum = self.sum_over(axis, &centred);
        let rounded = self.round_product(&sum, factor);
        self.graph.analysis.rounded = true;
        Some(Rounded {
            slope: WHOLE / factor / scale,
            middle,
            sum: rounded,
        })
    }

    /// `floor(sum * factor / 2^15 + 1/2)`
    fn round_product(&mut self, sum: &Atom, factor: f64) -> Atom {
        let (id, axes) = self.class_of(sum);
        let [share, half] = [factor / WHOLE, 0.5].map(|n| self.graph.add(Node::num(n)));
        let product = self.graph.add(Node::Op(Op::Mul, vec![share, id]));
        let moved = self.graph.add(Node::Op(Op::Add, vec![product, half]));
        let floor = self.graph.add(Node::Op(Op::Floor, vec![moved]));
        let hash = crate::hash::fnv(&factor.to_bits().to_le_bytes(), sum.hash);
        self.remember(floor, hash, axes, true)
    }

    /// A polynomial summed over an axis, as one atom.
    pub(super) fn sum_over(&mut self, axis: AxisId, body: &Poly) -> Atom {
        let (id, hash, axes, call) = self.build_hashed(body);
        let hash = crate::hash::fnv(format!("sum {axis}").as_bytes(), hash);
        let leaf = self.graph.add(Node::Axis(axis));
        let sum = self.graph.add(Node::Op(Op::Sum, vec![leaf, id]));
        self.remember(sum, hash, axes.minus(AxisSet::one(axis)), call)
    }

    fn reads_weights(&self, atom: &Atom) -> bool {
        real(self.graph, self.class_of(atom).0).is_some_and(|r| r.word != Word::None)
    }
}
