//! Tables of weights in bytes: where the kernel says `tables int8`, what the codes of a small codebook are worth is rounded to
//! bytes with a common scale, so that products with integers of the call are integers (as ggml's `IQ4_NL` rounds NF4's quantiles).
//!
//! Like the rounding of sums (`neighbours.rs`), it is put in here, in canonical form, before anything is rewritten.

use super::analysis::{Real, real, reference};
use super::canon::{Atom, Canon, Poly, sorted};
use super::lang::{Node, Op, Ty};
use crate::format::Element;
use crate::hash::fnv;
use crate::schedule::index::TableAxis;
use crate::schedule::term::LoadId;
use crate::spec::interp::TABLE_SHARE;
use crate::spec::kernel::Tables;
use egg::{Id, Language};
use std::collections::BTreeSet;

/// The largest magnitude that a byte with a sign has.
const BYTE: f64 = 127.0;

/// How many scales are tried: the largest byte goes down to half.
const SCALES: u32 = 512;

impl Canon<'_> {
    /// Products with the codes rounded that are multiplied with integers of the call.
    pub(super) fn with_bytes(&mut self, poly: Poly) -> Poly {
        if self.graph.analysis.rounding == Tables::Exact {
            return poly;
        }
        // Joint codes have the sums of their products rounded, which may be off by as much as there is.
        let mut axes = self.graph.analysis.axes.values();
        if axes.any(|a| a.tables == TableAxis::Joint) {
            return poly;
        }
        let mut bytes = Poly::new();
        for (atoms, coefficient) in poly {
            let (atoms, factor) = self.product_with_bytes(atoms);
            *bytes.entry(atoms).or_insert(0.0) += coefficient * factor;
        }
        bytes
    }

    /// A product with its code rounded, and what it is to be multiplied by.
    fn product_with_bytes(&mut self, atoms: Vec<Atom>) -> (Vec<Atom>, f64) {
        let codes = self
            .innermost(&atoms, false)
            .zip(self.innermost(&atoms, true));
        let Some((code, integer)) = codes else {
            return (atoms, 1.0);
        };
        let (code, integer) = (code.clone(), integer.clone());
        let entries = self.fact(&code).and_then(|r| r.table.clone());
        let range = self.fact(&integer).map(|r| (r.low, r.high));
        let found = range.zip(entries);
        let rounded = found.and_then(|(other, (at, entries))| {
            let (bytes, scale) = in_bytes(&entries, other)?;
            Some((at, bytes, scale))
        });
        let Some((at, bytes, scale)) = rounded else {
            return (atoms, 1.0);
        };
        let table = Node::Ref(self.graph.analysis.table(bytes));
        let table = self.graph.add(table);
        let id = self.graph.add(Node::Op(Op::Lookup, vec![table, at]));
        self.graph.analysis.rounded = true;
        let hash = fnv(b"in bytes", code.hash);
        let byte = self.remember(id, hash, self.axes_of(&code), false);
        let others = atoms.into_iter().filter(|a| *a != code);
        (sorted(others.chain([byte]).collect()), scale)
    }

    /// The factor that is a code of an element, of weights or of the call: it changes with all that is summed over, and the
    /// others, which are scales, with less than it.
    fn innermost<'a>(&self, atoms: &'a [Atom], call: bool) -> Option<&'a Atom> {
        let own: Vec<&Atom> = atoms.iter().filter(|a| a.call == call).collect();
        let code = *own.iter().find(|a| self.is_code(a))?;
        let axes = self.axes_of(code);
        let further_out = |a: &&Atom| {
            let others = self.axes_of(a);
            others != axes && others.minus(axes).is_empty()
        };
        let scales = own.iter().filter(|a| further_out(a)).count();
        let of_element = self.within.minus(axes).is_empty();
        (of_element && scales + 1 == own.len()).then_some(code)
    }

    /// Whether a factor is a code of those whose ranges the bound takes, which are those of one element: of a codebook, or of the
    /// call an integer.
    fn is_code(&self, atom: &Atom) -> bool {
        let facts = &self.graph.analysis;
        let (class, _) = self.class_of(atom);
        if self.reads_shared(class, &mut BTreeSet::new()) {
            return false;
        }
        let of_element = |element: &Element| match element {
            Element::Codebook(_) if !atom.call => true,
            Element::Codebook(_) | Element::Int { .. } | Element::UInt { .. } => {
                atom.call && element.is_integer() && element.bits() <= 8
            }
            Element::Float(_) => false,
        };
        self.graph[class].nodes.iter().any(|node| match node {
            Node::Op(Op::Elem, children) => reference(self.graph, children[0])
                .and_then(|number| facts.terms.elements.get(number as usize))
                .is_some_and(of_element),
            Node::Op(Op::Ld, children) => reference(self.graph, children[0])
                .is_some_and(|load| matches!(facts.load_ty(load), Ty::I8 | Ty::U8)),
            _ => false,
        })
    }

    /// Whether a term reads a code that some elements have together.
    fn reads_shared(&self, class: Id, seen: &mut BTreeSet<Id>) -> bool {
        if !seen.insert(class) {
            return false;
        }
        self.graph[class].nodes.iter().any(|node| match node {
            Node::Op(Op::Ld, children) => reference(self.graph, children[0])
                .map(LoadId::from_u32)
                .is_some_and(|load| self.graph.analysis.terms.shared.contains(&load)),
            node => node.children().iter().any(|c| self.reads_shared(*c, seen)),
        })
    }

    fn fact(&self, atom: &Atom) -> Option<&Real> {
        real(self.graph, self.class_of(atom).0)
    }
}

/// Entries as bytes and what those are to be multiplied by, if some are no integers after any doubling, and no product with an
/// integer is off by more than is allowed.
fn in_bytes(entries: &[f64], (least, largest): (f64, f64)) -> Option<(Vec<f64>, f64)> {
    let low = entries.iter().copied().fold(f64::INFINITY, f64::min);
    let high = entries.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let most = low.abs().max(high.abs());
    let is_byte = |e: f64| e.fract() == 0.0 && e.abs() <= BYTE;
    let exact = |doublings: i32| entries.iter().all(|e| is_byte(e * 2f64.powi(doublings)));
    if !most.is_finite() || most == 0.0 || (0..8).any(exact) {
        return None;
    }
    let off = |scale: f64| {
        let off = entries
            .iter()
            .map(|e| (e - (e / scale).round() * scale).abs());
        off.fold(0.0, f64::max)
    };
    let byte = |step: u32| BYTE - BYTE / 2.0 * f64::from(step) / f64::from(SCALES);
    let scales = (0..SCALES).map(|step| most / byte(step));
    let offs = scales.map(|scale| (off(scale), scale));
    let (off, scale) = offs.min_by(|a, b| a.0.total_cmp(&b.0))?;
    let others = least.abs().max(largest.abs());
    let allowed = TABLE_SHARE * (high - low) * (largest - least);
    let bytes = entries.iter().map(|e| (e / scale).round()).collect();
    (off * others <= allowed).then_some((bytes, scale))
}

#[cfg(test)]
mod tests {
    use super::in_bytes;

    const LEVELS: [f64; 16] = [
        -1.0, -0.701, -0.553, -0.434, -0.297, -0.206, -0.113, 0.0, 0.083, 0.174, 0.262, 0.357,
        0.479, 0.612, 0.738, 1.0,
    ];

    const SIGNED: (f64, f64) = (-128.0, 127.0);

    #[test]
    fn fractions_are_rounded_with_one_scale() {
        let (bytes, scale) = in_bytes(&LEVELS, SIGNED).expect("bytes");
        assert!(bytes.iter().all(|b| b.fract() == 0.0 && b.abs() <= 127.0));
        for (byte, level) in bytes.iter().zip(LEVELS) {
            assert!((byte * scale - level).abs() <= 0.5 / 127.0, "{level}");
        }
    }

    #[test]
    fn what_is_exact_in_bytes_is_not_rounded() {
        for entries in [&[-6.0, -0.5, 0.0, 1.5][..], &[-3.0, 7.0], &[0.0, 0.0]] {
            assert_eq!(in_bytes(entries, SIGNED), None, "{entries:?}");
        }
    }

    #[test]
    fn what_the_bound_does_not_allow_is_not_rounded() {
        // Integers far from 0 make products that are off by more than a part of their range.
        assert_eq!(in_bytes(&LEVELS, (0.0, 255.0)), None);
        // So do entries on one side of 0.
        let one_sided = LEVELS.map(f64::abs);
        assert_eq!(in_bytes(&one_sided, SIGNED), None);
        assert_eq!(in_bytes(&[f64::INFINITY, 0.3], SIGNED), None);
    }
}
