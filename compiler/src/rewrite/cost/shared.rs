//! What loads and bits of codes have in common, and is paid for once: bytes that several loads read, and parts of a code that lie
//! side by side in the same bytes.

use super::copies_of;
use crate::schedule::index::{Affine, Axes, AxisId, AxisKind, AxisSet, Sym};
use crate::schedule::term::{BitField, Load, Storage, Term, TermId, Terms, Unit};
use crate::spec::kernel::TensorId;
use crate::vector::ir::Scalar;
use std::collections::{BTreeMap, BTreeSet};

/// Values of copies.
type Copy = BTreeMap<AxisId, u64>;

/// What does not follow from the values of copies in where a load reads: equal for loads whose other part says all.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Moving<'a> {
    tensor: TensorId,
    storage: Storage,
    terms: Vec<&'a (Sym, Scalar)>,
    offset: &'a Scalar,
}

impl<'a> Moving<'a> {
    fn of(axes: &Axes, load: &'a Load) -> Moving<'a> {
        let copy = |axis: AxisId| axes[axis].kind == AxisKind::Unroll;
        let known = |sym: &Sym| Affine::symbol(sym.clone()).axes().iter().all(copy);
        let terms = load.address.terms.iter().filter(|(sym, _)| !known(sym));
        Moving {
            tensor: load.tensor,
            storage: load.storage,
            terms: terms.collect(),
            offset: &load.address.offset,
        }
    }
}

/// Of the copies of each load, those that read other bytes than the others, and than the loads before: the same bytes are read
/// once.
pub(super) fn distinct(terms: &Terms, axes: &Axes) -> Vec<f64> {
    let mut known: BTreeMap<Moving<'_>, BTreeSet<u64>> = BTreeMap::new();
    let mut shares = Vec::new();
    for load in terms.loads.values() {
        if load.bit.is_some() {
            shares.push(1.0);
            continue;
        }
        let copies = copies_of(axes, load.address.axes());
        let places = copies.iter().map(|at| load.address.known_part(at));
        let read = known.entry(Moving::of(axes, load)).or_default();
        let before = read.len();
        read.extend(places);
        shares.push((read.len() - before) as f64 / copies.len() as f64);
    }
    shares
}

/// What each unit changes with, and of the copies the share in which it is another number than in those before.
pub(super) fn units(terms: &Terms, axes: &Axes) -> Vec<(AxisSet, f64)> {
    let of_unit = |unit: &Unit| {
        let copies = copies_of(axes, unit.bits.axes());
        let bits = copies.iter().map(|copy| unit.bits.known_part(copy));
        let different: BTreeSet<u64> = bits.collect();
        let share = different.len() as f64 / copies.len() as f64;
        (unit.bits.axes(), share)
    };
    terms.units.iter().map(of_unit).collect()
}

/// What taking each field out of bytes costs, relative to a shift and a mask. Parts of a code that are moved equally far in
/// the same bytes are taken with one mask, which takes the place of their addition.
pub(super) fn field_work(terms: &Terms, axes: &Axes) -> Vec<f64> {
    let mut work: Vec<f64> = terms.fields.iter().map(|f| alone(axes, f)).collect();
    for term in terms.terms.values() {
        let Term::Add(parts) = term else {
            continue;
        };
        let parts = parts.iter().filter_map(|part| part_of(terms, axes, *part));
        let parts: Vec<Part<'_>> = parts.collect();
        if parts.len() < 2 {
            continue;
        }
        let among = parts
            .iter()
            .map(|p| p.field.axes().union(p.load.address.axes()));
        let among = among.fold(AxisSet::default(), AxisSet::union);
        let copies = copies_of(axes, among);
        for (at, part) in parts.iter().enumerate() {
            let each = copies.iter().map(|copy| part.work(copy, &parts, at));
            work[part.number] = each.sum::<f64>() / copies.len() as f64;
        }
    }
    work
}

/// A part of a code.
struct Part<'a> {
    number: usize,
    field: &'a BitField,
    load: &'a Load,
    moving: Moving<'a>,
}

fn part_of<'a>(terms: &'a Terms, axes: &Axes, part: TermId) -> Option<Part<'a>> {
    let Term::Bits(number, byte) = terms.terms[part] else {
        return None;
    };
    let Term::Load(load) = terms.terms[byte] else {
        return None;
    };
    let load: &Load = &terms.loads[load];
    Some(Part {
        number: number as usize,
        field: &terms.fields[number as usize],
        load,
        moving: Moving::of(axes, load),
    })
}

impl Part<'_> {
    /// What it costs in a copy, beside the other parts of its code.
    fn work(&self, copy: &Copy, all: &[Part<'_>], own: usize) -> f64 {
        let with = |(at, other): &(usize, &Part<'_>)| *at != own && self.lies_with(other, copy);
        let mut with = all.iter().enumerate().filter(with).peekable();
        match with.peek() {
            None => in_copy(self.field, copy),
            Some((first, _)) if *first < own => 0.0,
            Some(_) => in_copy(self.field, copy) - MASK,
        }
    }

    /// Whether one shift and one mask take both parts.
    fn lies_with(&self, other: &Part<'_>, copy: &Copy) -> bool {
        let place = |part: &Part<'_>| {
            let [shift, up] = [&part.field.shift, &part.field.up].map(|a| a.known_part(copy));
            (part.load.address.known_part(copy), shift.wrapping_sub(up))
        };
        self.moving == other.moving && place(self) == place(other)
    }
}

/// A mask, relative to a shift and a mask.
const MASK: f64 = 0.5;

/// What taking bits out of bytes costs in a copy: bits that stay where they are take no shift.
fn in_copy(field: &BitField, copy: &Copy) -> f64 {
    match field.shift.known_part(copy) {
        low if low == field.up.known_part(copy) => MASK,
        _ => 1.0,
    }
}

/// What taking bits costs that are no part of a code.
fn alone(axes: &Axes, field: &BitField) -> f64 {
    let copies = copies_of(axes, field.axes());
    let work = copies.iter().map(|copy| in_copy(field, copy));
    work.sum::<f64>() / copies.len() as f64
}
