//! Computed variables: what stands on the right side of a rule and is no part of its left side.

use super::{get, lanes, table_of, var};
use crate::format::{Codebook, Element};
use crate::rewrite::analysis::{Graph, TABLE, axis, real, reference};
use crate::rewrite::lang::Node;
use crate::rewrite::word;
use crate::schedule::index::{Affine, AxisSet};
use crate::schedule::term::BitField;
use egg::Subst;

/// A computed variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// The lanes and one axis more.
    Push(&'static str, &'static str, &'static str),
    /// Those lanes that are free in the term, if that is not all of them.
    Restrict(&'static str, &'static str, &'static str),
    /// The extent of an axis as a number, if it is known.
    Extent(&'static str, &'static str),
    /// A table of integers within -128..=255, and the power of two (at most one) that the result is to be multiplied by.
    ScaleTable(&'static str, &'static str, &'static str),
    /// A table of unsigned bytes, and what is to be added to the result.
    OffsetTable(&'static str, &'static str, &'static str),
    /// A table of the products of the entries of two, the first of which has the low bits of its codes. Together they have at
    /// most as many as a register holds.
    ProductTable(&'static str, &'static str, &'static str),
    /// The field's bits, above those of a code of a table.
    Above(&'static str, &'static str, &'static str),
    /// The first field's bits, counted from the lowest of the second.
    Below(&'static str, &'static str, &'static str),
    /// The lanes of one axis.
    Only(&'static str, &'static str),
    /// The constant times 2^15, if that is an integer above 0 that 16 bits hold.
    Fraction(&'static str, &'static str),
    /// How the entries of an element follow from products, at `code * width + place`: its multipliers, half, first and second
    /// factor and middle ([`Digits`](crate::rewrite::digits::Digits)); then the element, and the width.
    Digits([&'static str; 5], &'static str, &'static str),
    /// How they follow within bytes: the multipliers, the base, and the lowest
    /// ([`Fractions`](crate::rewrite::digits::Fractions)); then the element, and the width.
    Fractions([&'static str; 3], &'static str, &'static str),
}

impl Bind {
    pub(super) fn names(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        match *self {
            Bind::Push(new, lanes, axis) => (vec![new], vec![lanes, axis]),
            Bind::Restrict(new, lanes, e) => (vec![new], vec![lanes, e]),
            Bind::Below(new, a, b) | Bind::Above(new, a, b) | Bind::ProductTable(new, a, b) => {
                (vec![new], vec![a, b])
            }
            Bind::Extent(new, of) | Bind::Only(new, of) | Bind::Fraction(new, of) => {
                (vec![new], vec![of])
            }
            Bind::ScaleTable(new, factor, t) | Bind::OffsetTable(new, factor, t) => {
                (vec![new, factor], vec![t])
            }
            Bind::Digits(new, of, width) => (new.to_vec(), vec![of, width]),
            Bind::Fractions(new, of, width) => (new.to_vec(), vec![of, width]),
        }
    }

    /// Adds the variables to a substitution; `false` if they do not exist here.
    pub(super) fn apply(&self, graph: &mut Graph, subst: &mut Subst) -> bool {
        let node = match *self {
            Bind::Push(new, l, a) => lanes(graph, subst, l)
                .zip(axis(graph, get(subst, a)))
                .map(|(set, a)| (new, Node::Lanes(set.union(AxisSet::one(a))))),
            Bind::Restrict(new, l, e) => lanes(graph, subst, l).and_then(|set| {
                let kept = set.intersect(real(graph, get(subst, e))?.free);
                (kept != set).then_some((new, Node::Lanes(kept)))
            }),
            Bind::Extent(new, a) => axis(graph, get(subst, a))
                .and_then(|a| graph.analysis.constant_extent(a))
                .map(|n| (new, Node::num(n as f64))),
            Bind::Below(new, field, from) => {
                let field_of = |name: &str| {
                    let number = reference(graph, get(subst, name))?;
                    graph.analysis.terms.fields.get(number as usize)
                };
                let below = field_of(field).zip(field_of(from));
                below
                    .and_then(|(field, from)| word::below(field, from))
                    .map(|field| (new, Node::Ref(graph.analysis.field(field))))
            }
            Bind::Above(new, field, table) => above(graph, subst, field, table)
                .map(|field| (new, Node::Ref(graph.analysis.field(field)))),
            Bind::Only(new, a) => {
                axis(graph, get(subst, a)).map(|a| (new, Node::Lanes(AxisSet::one(a))))
            }
            Bind::Fraction(new, c) => real(graph, get(subst, c))
                .and_then(|r| r.constant)
                .map(|c| c * f64::from(1u32 << 15))
                .filter(|k| k.fract() == 0.0 && (1.0..=32767.0).contains(k))
                .map(|k| (new, Node::num(k))),
            Bind::ScaleTable(new, factor, t) => {
                return scale_table(graph, subst, new, factor, t).is_some();
            }
            Bind::ProductTable(new, low, high) => {
                return product_table(graph, subst, new, low, high).is_some();
            }
            Bind::OffsetTable(new, offset, t) => {
                return offset_table(graph, subst, new, offset, t).is_some();
            }
            Bind::Digits(new, of, width) => {
                let parts = digits(graph, subst, of, width);
                return parts.is_some_and(|parts| set_all(graph, subst, new, parts));
            }
            Bind::Fractions(new, of, width) => {
                let parts = fractions(graph, subst, of, width);
                return parts.is_some_and(|parts| set_all(graph, subst, new, parts));
            }
        };
        let Some((name, node)) = node else {
            return false;
        };
        let id = graph.add(node);
        subst.insert(var(name), id);
        true
    }
}

/// Sets several variables; that is always possible.
fn set_all<const N: usize>(
    graph: &mut Graph,
    subst: &mut Subst,
    names: [&str; N],
    parts: [Node; N],
) -> bool {
    for (name, leaf) in names.into_iter().zip(parts) {
        let id = graph.add(leaf);
        subst.insert(var(name), id);
    }
    true
}

fn set_table(graph: &mut Graph, subst: &mut Subst, name: &str, entries: Vec<f64>) {
    let number = graph.analysis.table(entries);
    let id = graph.add(Node::Ref(number));
    subst.insert(var(name), id);
}

/// Halves of a table are integers after doubling; at most seven doublings are worth trying.
fn scale_table(
    graph: &mut Graph,
    subst: &mut Subst,
    new: &str,
    factor: &str,
    t: &str,
) -> Option<()> {
    let entries = table_of(graph, subst, t)?;
    if entries.iter().all(|e| e.fract() == 0.0) {
        return None;
    }
    let (scaled, shift) = (1..8).find_map(|shift| {
        let scaled: Vec<f64> = entries
            .iter()
            .map(|e| e * f64::from(1u32 << shift))
            .collect();
        scaled
            .iter()
            .all(|e| e.fract() == 0.0 && (-128.0..=127.0).contains(e))
            .then_some((scaled, shift))
    })?;
    set_table(graph, subst, new, scaled);
    let number = graph.add(Node::num(1.0 / f64::from(1u32 << shift)));
    subst.insert(var(factor), number);
    Some(())
}

fn offset_table(
    graph: &mut Graph,
    subst: &mut Subst,
    new: &str,
    offset: &str,
    t: &str,
) -> Option<()> {
    let entries = table_of(graph, subst, t)?;
    let low = entries.iter().copied().fold(f64::INFINITY, f64::min);
    let high = entries.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let integers = entries.iter().all(|e| e.fract() == 0.0);
    if !integers || low >= 0.0 || high - low > 255.0 {
        return None;
    }
    set_table(graph, subst, new, entries.iter().map(|e| e - low).collect());
    let number = graph.add(Node::num(low));
    subst.insert(var(offset), number);
    Some(())
}

/// The products of all pairs of entries.
fn product_table(
    graph: &mut Graph,
    subst: &mut Subst,
    new: &str,
    low: &str,
    high: &str,
) -> Option<()> {
    let (low, high) = (table_of(graph, subst, low)?, table_of(graph, subst, high)?);
    // The codes of the first are all numbers of some bits.
    if !low.len().is_power_of_two() || low.len() * high.len() > TABLE {
        return None;
    }
    let row = |h: f64| low.iter().map(move |l| l * h);
    let entries = high.iter().copied().flat_map(row).collect();
    set_table(graph, subst, new, entries);
    Some(())
}

/// A field moved up past the codes of a table.
fn above(graph: &Graph, subst: &Subst, field: &str, table: &str) -> Option<BitField> {
    let number = reference(graph, get(subst, field))?;
    let field = graph.analysis.terms.fields.get(number as usize)?;
    let bits = table_of(graph, subst, table)?.len().ilog2();
    Some(BitField {
        up: field.up.clone().plus(&Affine::constant(bits.into())),
        ..field.clone()
    })
}

/// The parts of the digits that the entries of an element are.
fn digits(graph: &mut Graph, subst: &Subst, of: &str, width: &str) -> Option<[Node; 5]> {
    let (number, width) = several(graph, subst, of, width)?;
    let digits = graph.analysis.digits(number, width)?;
    let multipliers = book(graph, digits.multipliers.iter().copied());
    let [half, first, second, middle] =
        [digits.half, digits.first, digits.second, digits.middle].map(Node::num);
    Some([multipliers, half, first, second, middle])
}

/// The parts of the digits that they are within bytes.
fn fractions(graph: &mut Graph, subst: &Subst, of: &str, width: &str) -> Option<[Node; 3]> {
    let (number, width) = several(graph, subst, of, width)?;
    let digits = graph.analysis.fractions(number, width)?;
    let multipliers = book(graph, digits.multipliers.iter().copied());
    let (base, low) = (Node::num(digits.base.into()), Node::num(digits.low));
    Some([multipliers, base, low])
}

/// An element, and how many values its codes have, if it is several.
fn several(graph: &Graph, subst: &Subst, of: &str, width: &str) -> Option<(u32, usize)> {
    let number = reference(graph, get(subst, of))?;
    let width = real(graph, get(subst, width))?.constant?;
    let several = width.fract() == 0.0 && (2.0..=16.0).contains(&width);
    several.then_some((number, width as usize))
}

/// An element whose codes are numbered from 0.
fn book<T: Into<f32>>(graph: &mut Graph, values: impl Iterator<Item = T>) -> Node {
    let values = values.map(Into::into).collect();
    let element = Element::Codebook(Codebook::scalar(values).into());
    Node::Ref(graph.analysis.element(element))
}
