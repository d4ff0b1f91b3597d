//! What a search knows of a format before it sees a value.
//!
//! A [`Level`] is a quantiser: items with codes of their own, in cells that share parameters. On the lowest level the
//! items are the elements of a row. A parameter that depends on scales makes a level of its own, whose items are the
//! cells below: `d * sc[i / 16] * q[i]` has the elements with codes `q`, then 16 sub-blocks with codes `sc`, then one `d`.

use super::NotAffine;
use super::levels::{self, Order};
use super::polynomial::{Codes, Polynomial};
use super::table::Table;
use crate::format::{BlockFormat, Element, FieldId, Scope};
use cranelift_entity::PrimaryMap;
use std::collections::BTreeMap;
use std::ops::Range;

/// Scales of up to so many bits are listed; wider ones are found by their encoder.
pub(super) const MAX_LISTED_BITS: u32 = 12;

/// How to search the codes of a format's blocks: depends on the format alone, and serves any number of blocks.
#[derive(Debug)]
pub struct SearchPlan {
    /// The scales, finest first.
    pub(super) scales: Vec<FieldId>,
    /// The elements of a row.
    pub(super) root: Level,
    /// The same, for another first choice: if several parameters share a scale, the last of them chooses it.
    pub(super) other: Option<Level>,
    /// The sequences of moves: finest first.
    pub(super) moves: Vec<Move>,
    /// Scales that others are multiplied by, with the moves of what they reach.
    pub(super) rescales: Vec<Rescale>,
    /// The values of listed scales, ascending, with their codes.
    pub(super) listed: BTreeMap<FieldId, Vec<(f64, u32)>>,
    /// What is needed of each field.
    pub(super) fields: PrimaryMap<FieldId, FieldFacts>,
}

/// What a search needs of a field.
#[derive(Debug)]
pub(super) struct FieldFacts {
    /// Of one occurrence.
    pub(super) element: Element,
    /// The occurrence of each element.
    pub(super) occurrence: Vec<u32>,
    /// How many there are in a row.
    pub(super) count: u32,
}

/// Items with codes, in cells of common parameters.
#[derive(Debug)]
pub(super) struct Level {
    /// The fields whose codes the items have.
    pub(super) own: Own,
    /// What those codes are worth.
    pub(super) table: Table,
    /// The items, cell after cell.
    pub(super) items: Vec<Item>,
    /// The cells.
    pub(super) cells: Vec<Cell>,
    /// For each column of the table, where its parameters come from.
    pub(super) parts: Vec<Part>,
    /// The columns in the order in which their parameters choose scales.
    pub(super) order: Vec<usize>,
    /// Whether the first parameter has the same sign in all cells: the scales that it is made of have one.
    pub(super) one_sign: bool,
}

/// An element, or some cells of the level below.
#[derive(Debug)]
pub(super) struct Item {
    /// An element whose scales are those of the item.
    pub(super) element: u32,
    /// The cells of the level below.
    pub(super) sources: Vec<u32>,
}

/// Items that share all scales.
#[derive(Debug)]
pub(super) struct Cell {
    /// The items.
    pub(super) items: Range<usize>,
    /// An element whose scales are those of the cell.
    pub(super) element: u32,
}

/// A parameter as a polynomial in scales.
#[derive(Debug)]
pub(super) struct Part {
    /// What it is.
    pub(super) polynomial: Polynomial,
    /// How the scales in it are chosen at first.
    pub(super) source: Source,
}

impl Level {
    /// Whether a scale is in several parameters.
    fn shares_scales(&self) -> bool {
        let fields = self.parts.iter().flat_map(|p| p.polynomial.fields());
        let mut seen = Vec::new();
        for f in fields {
            if seen.contains(&f) {
                return true;
            }
            seen.push(f);
        }
        false
    }
}

impl Part {
    /// Whether the scales that it is made of cannot give it both signs.
    pub(super) fn one_sign(&self) -> bool {
        let Source::Level(level) = &self.source else {
            return false;
        };
        let (low, high) = level.table.range(0);
        level.table.is_line() && !level.table.constant && (low >= 0.0 || high <= 0.0)
    }
}

/// How the scales of a polynomial are chosen at first.
#[derive(Debug)]
pub(super) enum Source {
    /// They are known before the level is fitted (or there are none).
    Known,
    /// The parts before it choose them.
    Later,
    /// By a level of their own.
    Level(Box<Level>),
    /// One after the other, each by least squares: no field tells the items apart.
    Each(Vec<FieldId>),
}

/// Fields whose codes are chosen together.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// The fields and their bits; the first has the lowest bits of a joint code.
    pub(super) fields: Vec<(FieldId, u32)>,
}

impl Own {
    /// The code of each field in a joint code.
    pub(super) fn split(&self, joint: u32) -> impl Iterator<Item = (FieldId, u32)> {
        self.fields.iter().scan(0u32, move |at, (field, bits)| {
            let code = u64::from(joint) >> *at & ((1 << bits) - 1);
            *at += bits;
            Some((*field, code as u32))
        })
    }

    /// What each field is worth under each joint code.
    pub(super) fn codes(&self, fields: &PrimaryMap<FieldId, FieldFacts>) -> Codes {
        let bits: u32 = self.fields.iter().map(|f| f.1).sum();
        let count = 1usize << bits;
        let column = |wanted: &FieldId| {
            let element = &fields[*wanted].element;
            let value = |joint: u32| {
                let mut parts = self.split(joint);
                let code = parts.find(|(f, _)| f == wanted).map_or(0, |p| p.1);
                f64::from(element.decode(code) as f32)
            };
            (*wanted, (0..count as u32).map(value).collect())
        };
        Codes {
            columns: self.fields.iter().map(|(f, _)| column(f)).collect(),
            count,
        }
    }
}

/// Scales that move together: one, or two that are never multiplied.
#[derive(Debug, Clone)]
pub(super) struct Move {
    /// The field, or both.
    pub(super) fields: Vec<FieldId>,
    /// The occurrence.
    pub(super) occurrence: u32,
    /// The cells of elements that depend on them.
    pub(super) cells: Vec<u32>,
}

/// A scale that multiplies finer ones.
#[derive(Debug)]
pub(super) struct Rescale {
    /// The scale alone.
    pub(super) coarse: Move,
    /// The moves of the finer scales that it multiplies, where it does.
    pub(super) fine: Vec<Move>,
    /// Whether it is in several parameters, of which the first choice looked at one.
    pub(super) shared: bool,
}

impl SearchPlan {
    /// The plan of a format, or why it has none.
    ///
    /// # Errors
    /// [`NotAffine`] says which part of `value` is in the way.
    pub fn new(format: &BlockFormat) -> Result<SearchPlan, NotAffine> {
        let facts = |f: &crate::format::Field| FieldFacts {
            element: f.element.clone(),
            occurrence: f.occurrence.clone(),
            count: f.count,
        };
        if !format.frame.is_empty() && format.fields.values().all(|f| f.scope == Scope::Block) {
            return Err(NotAffine::Around);
        }
        let mut fields = PrimaryMap::new();
        for f in format.fields.values() {
            if f.scope != Scope::Block {
                return Err(NotAffine::Scope {
                    field: f.name.clone(),
                });
            }
            if f.element.width() > 1 {
                return Err(NotAffine::Vectors {
                    field: f.name.clone(),
                });
            }
            fields.push(facts(f));
        }
        let root = levels::root(format, &fields, Order::Forward)?;
        let other = match root.shares_scales() {
            true => Some(levels::root(format, &fields, Order::Backward)?),
            false => None,
        };
        let mut scales: Vec<FieldId> = root
            .parts
            .iter()
            .flat_map(|p| p.polynomial.fields())
            .collect();
        scales.sort();
        scales.dedup();
        scales.sort_by_key(|f| std::cmp::Reverse(fields[*f].count));
        let listed = scales
            .iter()
            .filter(|f| fields[**f].element.bits() <= MAX_LISTED_BITS)
            .map(|f| (*f, listed(&fields[*f].element)))
            .collect();
        let mut plan = SearchPlan {
            scales,
            root,
            other,
            moves: Vec::new(),
            rescales: Vec::new(),
            listed,
            fields,
        };
        plan.moves = plan.all_moves();
        plan.rescales = plan.all_rescales();
        Ok(plan)
    }

    /// Whether two fields are factors of one term.
    fn multiplied(&self, a: FieldId, b: FieldId) -> bool {
        let mut terms = self.root.parts.iter().flat_map(|p| &p.polynomial.0);
        terms.any(|(_, m)| m.contains(&a) && m.contains(&b))
    }

    /// For each occurrence of a field, the cells that it reaches, ascending.
    fn reached(&self, field: FieldId) -> Vec<Vec<u32>> {
        let mut reached = vec![Vec::new(); self.fields[field].count as usize];
        for (cell, n) in self.root.cells.iter().zip(0..) {
            reached[self.at(field, cell.element) as usize].push(n);
        }
        reached
    }

    /// The occurrence of a field at an element.
    pub(super) fn at(&self, field: FieldId, element: u32) -> u32 {
        self.fields[field].occurrence[element as usize]
    }

    /// What a code is worth, as expressions see it.
    pub(super) fn decode(&self, field: FieldId, code: u32) -> f64 {
        f64::from(self.fields[field].element.decode(code) as f32)
    }

    fn all_moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        for (n, a) in self.scales.iter().enumerate() {
            let same = |b: &FieldId| self.fields[*b].occurrence == self.fields[*a].occurrence;
            let partners = self.scales[n + 1..].iter().copied();
            let partners = partners.filter(|b| same(b) && !self.multiplied(*a, *b));
            let mut groups: Vec<Vec<FieldId>> = partners.map(|b| vec![*a, b]).collect();
            groups.push(vec![*a]);
            for (cells, occurrence) in self.reached(*a).into_iter().zip(0..) {
                moves.extend(groups.iter().filter(|_| !cells.is_empty()).map(|g| Move {
                    fields: g.clone(),
                    occurrence,
                    cells: cells.clone(),
                }));
            }
        }
        moves
    }

    fn all_rescales(&self) -> Vec<Rescale> {
        let finer = |a: &Move| {
            let coarse = a.fields[0];
            let count = self.fields[coarse].count;
            let below = |f: &FieldId| self.fields[*f].count > count && self.multiplied(*f, coarse);
            if !self.scales.iter().any(below) {
                return Vec::new();
            }
            let inside = |m: &&Move| {
                m.fields.iter().any(below)
                    && m.cells.iter().all(|c| a.cells.binary_search(c).is_ok())
            };
            self.moves
                .iter()
                .filter(inside)
                .cloned()
                .collect::<Vec<_>>()
        };
        let parts_of = |f: FieldId| {
            let parts = self.root.parts.iter();
            parts.filter(|p| p.polynomial.fields().contains(&f)).count()
        };
        let single = self.moves.iter().filter(|m| m.fields.len() == 1);
        let mut out: Vec<Rescale> = single
            .map(|m| Rescale {
                coarse: m.clone(),
                fine: finer(m),
                shared: parts_of(m.fields[0]) > 1,
            })
            .filter(|r| !r.fine.is_empty())
            .collect();
        // coarsest first: they decide most
        out.reverse();
        out
    }
}

/// The finite values of an element's legal codes, ascending, of equal ones the lowest code.
fn listed(element: &Element) -> Vec<(f64, u32)> {
    let legal = (0..1u32 << element.bits()).filter(|c| element.is_legal(*c));
    let values = legal.map(|c| (element.decode(c), c));
    let mut all: Vec<(f64, u32)> = values.filter(|(v, _)| v.is_finite()).collect();
    all.sort_by(|a, b| {
        let by_value = a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal);
        by_value.then(a.1.cmp(&b.1))
    });
    all.dedup_by(|a, b| a.0 == b.0);
    all
}
