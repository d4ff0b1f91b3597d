//! What the facts of a graph's classes (`analysis.rs`) are derived from: the axes and terms of a statement, and the tables, fields
//! and elements that rewriting makes.

use super::digits::{Digits, Fractions};
use super::lang::Ty;
use super::outline::{Extent, Extents};
use crate::format::Element;
use crate::schedule::index::{Axes, AxisId, AxisKind, TableAxis};
use crate::schedule::layout::COUNTED;
use crate::schedule::term::{BitField, Storage, Terms, Unit};
use crate::spec::kernel::Tables;
use std::collections::BTreeMap;

/// What the facts are derived from, and the tables made on the way.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The axes of the statement.
    pub axes: Axes,
    /// The extents of its loops, where they are told apart from the axes.
    pub(super) extents: Extents,
    /// Its terms.
    pub terms: Terms,
    /// Whether a load's tensor is given at the call, by load.
    pub call_loads: Vec<bool>,
    /// Tables of look-ups, interned.
    pub tables: Vec<Vec<f64>>,
    /// What tables that are made at the call hold.
    pub rounding: Tables,
    /// Whether sums over neighbours were rounded so: then they are in every lowering, if canonical form keeps them.
    pub rounded: bool,
    /// Hashes of the contents of loads, bit fields and elements: they order terms independently of numbering.
    pub hashes: Hashes,
    /// The digits that elements are found to be, by number and width.
    pub(super) digits: BTreeMap<(u32, usize), Option<Digits>>,
    /// The same within bytes.
    pub(super) fractions: BTreeMap<(u32, usize), Option<Fractions>>,
    /// The classes that were made, merged or learned something, in that order (see `changed.rs`).
    pub(super) changed: Vec<egg::Id>,
}

/// Hashes of contents, by number.
#[derive(Clone, Debug, Default)]
pub struct Hashes {
    /// Of loads.
    pub loads: Vec<u64>,
    /// Of bit fields.
    pub fields: Vec<u64>,
    /// Of elements.
    pub elements: Vec<u64>,
    /// Of what numbers are worth.
    pub units: Vec<u64>,
}

/// The largest extent at a call of a free dimension that a reduction runs over: it lets sums of integers be proved to fit.
/// 32 bits hold as many products of two bytes.
pub const FREE_REDUCTION: u64 = 1 << 15;

impl Facts {
    /// Facts about the terms of a statement: its axes, with the extents of loops apart from them; whether a load's tensor is given
    /// at the call, by load; and what tables that are made at the call hold.
    pub(super) fn new(
        (axes, extents): (Axes, Extents),
        terms: Terms,
        call_loads: Vec<bool>,
        rounding: Tables,
    ) -> Facts {
        let hashes = Hashes {
            loads: terms.loads.values().map(hash_of).collect(),
            fields: terms.fields.iter().map(hash_of).collect(),
            elements: terms.elements.iter().map(hash_of).collect(),
            units: terms.units.iter().map(hash_of).collect(),
        };
        Facts {
            axes,
            extents,
            terms,
            call_loads,
            hashes,
            rounding,
            ..Facts::default()
        }
    }
    /// Takes over the tables, fields, elements and units that rewriting made, under their numbers.
    pub(super) fn take_made(&mut self, made: &Facts) {
        made.put_made(&mut self.terms);
        self.tables = made.tables.clone();
        self.rounded = made.rounded;
        self.digits = made.digits.clone();
        self.fractions = made.fractions.clone();
        self.hashes = made.hashes.clone();
    }
    /// Gives terms the fields, elements and units that rewriting made.
    pub(crate) fn put_made(&self, terms: &mut Terms) {
        terms.fields = self.terms.fields.clone();
        terms.elements = self.terms.elements.clone();
        terms.units = self.terms.units.clone();
    }
    /// Whether a load is of weights, by load.
    pub(super) fn weight_loads(&self) -> Vec<bool> {
        self.call_loads.iter().map(|given| !given).collect()
    }
    /// The number of a table, new or known.
    pub fn table(&mut self, entries: Vec<f64>) -> u32 {
        let at = self
            .tables
            .iter()
            .position(|t| *t == entries)
            .unwrap_or_else(|| {
                self.tables.push(entries);
                self.tables.len() - 1
            });
        at as u32
    }
    /// The number of a bit field, new or known.
    pub fn field(&mut self, field: BitField) -> u32 {
        intern(&mut self.terms.fields, &mut self.hashes.fields, field)
    }
    /// The number of a unit, new or known.
    pub fn unit(&mut self, unit: Unit) -> u32 {
        intern(&mut self.terms.units, &mut self.hashes.units, unit)
    }
    /// The number of an element, new or known.
    pub fn element(&mut self, element: Element) -> u32 {
        intern(&mut self.terms.elements, &mut self.hashes.elements, element)
    }
    /// How the entries of an element, at `code * width + place`, follow from products.
    pub fn digits(&mut self, element: u32, width: usize) -> Option<Digits> {
        let elements = &self.terms.elements;
        let found = self
            .digits
            .entry((element, width))
            .or_insert_with(|| Digits::of(&entries_of(elements, element)?, width));
        found.clone()
    }
    /// The same within bytes.
    pub fn fractions(&mut self, element: u32, width: usize) -> Option<Fractions> {
        let elements = &self.terms.elements;
        let found = self
            .fractions
            .entry((element, width))
            .or_insert_with(|| Fractions::of(&entries_of(elements, element)?, width));
        found.clone()
    }
    /// How many values an axis takes, if that is known at compile time.
    pub fn extent(&self, axis: AxisId) -> Option<u64> {
        self.extent_of(axis).extent
    }
    /// How many values an axis takes, if that is a number.
    pub fn constant_extent(&self, axis: AxisId) -> Option<u64> {
        self.extent_of(axis).constant
    }
    /// How many values an axis takes at most: of a free dimension no more than a call may have.
    pub fn most(&self, axis: AxisId) -> Option<u64> {
        self.extent_of(axis).most
    }
    fn extent_of(&self, axis: AxisId) -> Extent {
        let of_loop = self.extents.ask(axis);
        of_loop.unwrap_or_else(|| Extent::of(&self.axes[axis]))
    }
    /// Whether the axis is of neighbours whose bits make up a byte.
    pub fn is_octet(&self, axis: AxisId) -> bool {
        let neighbours = self.axes[axis].tables == TableAxis::Joint;
        neighbours && self.extent(axis) == Some(COUNTED)
    }
    /// Whether the axis is a lane.
    pub fn is_lane(&self, axis: AxisId) -> bool {
        self.axes[axis].kind == AxisKind::Lane
    }
    /// The type that a load's storage is read in.
    pub fn load_ty(&self, load: u32) -> Ty {
        match self.terms.loads[crate::schedule::term::LoadId::from_u32(load)].storage {
            Storage::U8 => Ty::U8,
            Storage::I8 => Ty::I8,
            Storage::U16 => Ty::U16,
            Storage::I16 => Ty::I16,
            Storage::I32 => Ty::I32,
            Storage::F32 => Ty::F32,
            Storage::Code { bits } if bits <= 8 => Ty::U8,
            Storage::Place { below } if below <= 256 => Ty::U8,
            Storage::Code { .. } | Storage::Place { .. } => Ty::I32,
        }
    }
}

/// The number of a thing among those that are known, which it is added to with its hash if it is new.
fn intern<T: PartialEq + std::fmt::Debug>(
    known: &mut Vec<T>,
    hashes: &mut Vec<u64>,
    new: T,
) -> u32 {
    let at = known.iter().position(|k| *k == new).unwrap_or_else(|| {
        hashes.push(hash_of(&new));
        known.push(new);
        known.len() - 1
    });
    at as u32
}

/// A hash of contents.
fn hash_of(contents: &impl std::fmt::Debug) -> u64 {
    crate::hash::fnv(format!("{contents:?}").as_bytes(), 0)
}

/// What the codes of a codebook are worth, place by place.
fn entries_of(elements: &[Element], number: u32) -> Option<Vec<f64>> {
    let Element::Codebook(book) = elements.get(number as usize)? else {
        return None;
    };
    let entries = (0..book.codes() as u32).map(|c| f64::from(book.worth(c, 0)));
    Some(entries.collect())
}
