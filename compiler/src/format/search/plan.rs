//! What a search knows of a format before it sees a value.
//!
//! A [`Level`] is a quantiser: items with codes of their own, in cells that share parameters. On the lowest level the
//! items are the elements of a row. A parameter that depends on scales makes a level of its own, whose items are the
//! cells below: `d * sc[i / 16] * q[i]` has the elements with codes `q`, then 16 sub-blocks with codes `sc`, then one `d`.

use super::NotAffine;
use super::polynomial::{Codes, Polynomial, Tabulated, tabulate};
use super::table::{Items, MAX_COLUMNS, Table, Theta};
use crate::format::{BlockFormat, Element, FieldId, Scope};
use cranelift_entity::{EntityRef, PrimaryMap};
use std::collections::BTreeMap;
use std::ops::Range;

/// The most bits that the codes of an element have together.
pub(super) const MAX_CODE_BITS: u32 = 16;
/// Scales of up to so many bits are listed; wider ones are found by their encoder.
const MAX_LISTED_BITS: u32 = 12;
/// Where nothing of a cell has a weight, everything has this part of the largest of the row, so that its codes are not
/// arbitrary.
const FAINT: f64 = 1.0 / (1u64 << 30) as f64;

/// How to search the codes of a format's blocks: depends on the format alone, and serves any number of blocks.
#[derive(Debug)]
pub struct SearchPlan {
    /// The scales, finest first.
    pub(super) scales: Vec<FieldId>,
    /// The elements of a row.
    pub(super) root: Level,
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

impl Part {
    fn one_sign(&self) -> bool {
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

    fn codes(&self, fields: &PrimaryMap<FieldId, FieldFacts>) -> Codes {
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
        let mut fields = PrimaryMap::new();
        for f in format.fields.values() {
            if f.scope != Scope::Block {
                return Err(NotAffine::Scope {
                    field: f.name.clone(),
                });
            }
            fields.push(facts(f));
        }
        let own = codes_of_elements(format)?;
        let terms = tabulate(format, &own.codes(&fields))?;
        let mut planner = Planner {
            fields: &fields,
            chosen: Vec::new(),
        };
        let elements = (0..format.len).map(|i| Item {
            element: i,
            sources: Vec::new(),
        });
        let root = planner.level(own, &terms, elements.collect())?;
        let mut scales: Vec<FieldId> = terms.keys().flatten().copied().collect();
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

    fn reached(&self, field: FieldId, occurrence: u32) -> Vec<u32> {
        let cells = self.root.cells.iter().enumerate();
        cells
            .filter(|(_, c)| self.at(field, c.element) == occurrence)
            .map(|(i, _)| i as u32)
            .collect()
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
            for occurrence in 0..self.fields[*a].count {
                let cells = self.reached(*a, occurrence);
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
            let inside = |m: &&Move| {
                m.fields.iter().any(below) && m.cells.iter().all(|c| a.cells.contains(c))
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

/// The fields that belong to one element. If their codes are too wide together, the widest are scales instead.
fn codes_of_elements(format: &BlockFormat) -> Result<Own, NotAffine> {
    let mut own: Vec<(FieldId, u32)> = format
        .fields
        .iter()
        .filter(|(_, f)| distinct(f.occurrence.iter().copied(), format.len as usize))
        .map(|(id, f)| (id, f.element.bits()))
        .collect();
    let total = |own: &[(FieldId, u32)]| own.iter().map(|f| f.1).sum::<u32>();
    while own.len() > 1 && (total(&own) > MAX_CODE_BITS || format.len == 1) {
        let widest = (0..own.len()).max_by_key(|i| own[*i].1).unwrap_or(0);
        own.remove(widest);
    }
    match total(&own) {
        bits if bits > MAX_CODE_BITS => Err(NotAffine::Codes { bits }),
        _ => Ok(Own { fields: own }),
    }
}

/// Whether there are `count` different ones.
fn distinct(occurrences: impl Iterator<Item = u32>, count: usize) -> bool {
    let mut all: Vec<u32> = occurrences.collect();
    all.sort_unstable();
    all.dedup();
    all.len() == count
}

/// The finite values of an element, ascending, of equal ones the lowest code.
fn listed(element: &Element) -> Vec<(f64, u32)> {
    let values = element.values().into_iter().zip(0..);
    let mut all: Vec<(f64, u32)> = values.filter(|(v, _)| v.is_finite()).collect();
    all.sort_by(|a, b| {
        let by_value = a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal);
        by_value.then(a.1.cmp(&b.1))
    });
    all.dedup_by(|a, b| a.0 == b.0);
    all
}

struct Planner<'a> {
    fields: &'a PrimaryMap<FieldId, FieldFacts>,
    /// The scales that have their values by now.
    chosen: Vec<FieldId>,
}

impl Planner<'_> {
    /// The level of some items with codes, and those above it.
    fn level(&mut self, own: Own, terms: &Tabulated, items: Vec<Item>) -> Result<Level, NotAffine> {
        let (table, parts) = Table::new(terms)?;
        self.finish(own, table, parts, items)
    }

    fn finish(
        &mut self,
        own: Own,
        table: Table,
        polynomials: Vec<Polynomial>,
        items: Vec<Item>,
    ) -> Result<Level, NotAffine> {
        let mut shared: Vec<FieldId> = polynomials.iter().flat_map(Polynomial::fields).collect();
        shared.sort();
        shared.dedup();
        let (items, cells) = self.cells(items, &shared);
        let before = self.chosen.clone();
        let mut parts = Vec::new();
        for polynomial in polynomials {
            let known = polynomial.fields().iter().all(|f| before.contains(f));
            let source = match self.source(&polynomial, &cells)? {
                Source::Known if !known => Source::Later,
                source => source,
            };
            parts.push(Part { polynomial, source });
        }
        self.chosen.extend(own.fields.iter().map(|f| f.0));
        Ok(Level {
            own,
            table,
            items,
            cells,
            one_sign: parts.first().is_some_and(Part::one_sign),
            parts,
        })
    }

    fn places(&self, fields: &[FieldId], element: u32) -> Vec<u32> {
        let at = |f: &FieldId| self.fields[*f].occurrence[element as usize];
        fields.iter().map(at).collect()
    }

    /// Items by the occurrences that they share, in order of their first.
    fn cells(&self, items: Vec<Item>, shared: &[FieldId]) -> (Vec<Item>, Vec<Cell>) {
        let mut groups: Vec<(Vec<u32>, Vec<Item>)> = Vec::new();
        for item in items {
            let key = self.places(shared, item.element);
            match groups.iter_mut().find(|g| g.0 == key) {
                Some(group) => group.1.push(item),
                None => groups.push((key, vec![item])),
            }
        }
        let (mut items, mut cells) = (Vec::new(), Vec::new());
        for (_, group) in groups {
            let start = items.len();
            let element = group.first().map_or(0, |i| i.element);
            items.extend(group);
            cells.push(Cell {
                items: start..items.len(),
                element,
            });
        }
        (items, cells)
    }

    fn source(&mut self, polynomial: &Polynomial, below: &[Cell]) -> Result<Source, NotAffine> {
        let fields = polynomial.fields();
        let open = |f: &FieldId| !self.chosen.contains(f);
        let mut open: Vec<FieldId> = fields.iter().copied().filter(open).collect();
        if open.is_empty() {
            return Ok(Source::Known);
        }
        let mut items: Vec<Item> = Vec::new();
        for (n, cell) in (0..).zip(below) {
            let key = self.places(&fields, cell.element);
            let same = |i: &&mut Item| self.places(&fields, i.element) == key;
            match items.iter_mut().find(same) {
                Some(item) => item.sources.push(n),
                None => items.push(Item {
                    element: cell.element,
                    sources: vec![n],
                }),
            }
        }
        open.sort_by_key(|f| (std::cmp::Reverse(self.fields[*f].count), *f));
        let tells = |f: &&FieldId| {
            let all = items.iter().map(|i| self.places(&[**f], i.element)[0]);
            distinct(all, items.len())
        };
        let mut able: Vec<(FieldId, u32)> = open
            .iter()
            .filter(tells)
            .map(|f| (*f, self.fields[*f].element.bits()))
            .collect();
        able.sort_by_key(|f| f.1);
        let mut own = Own::default();
        let mut bits = 0;
        for (f, b) in &able {
            if bits + b <= MAX_LISTED_BITS {
                bits += b;
                own.fields.push((*f, *b));
            }
        }
        if !own.fields.is_empty() {
            let terms = self.tabulated(polynomial, &own);
            return Ok(Source::Level(Box::new(self.level(own, &terms, items)?)));
        }
        match able.first() {
            Some(wide) => {
                own.fields.push(*wide);
                let (table, parts) = self.wide(polynomial, wide.0);
                let level = self.finish(own, table, parts, items)?;
                Ok(Source::Level(Box::new(level)))
            }
            None => {
                self.chosen.extend(&open);
                Ok(Source::Each(open))
            }
        }
    }

    /// A polynomial with some of its fields as codes.
    fn tabulated(&self, polynomial: &Polynomial, own: &Own) -> Tabulated {
        let codes = own.codes(self.fields);
        let mut terms = Tabulated::new();
        for (c, monomial) in &polynomial.0 {
            let mut table = vec![*c; codes.count];
            let mut rest = monomial.clone();
            for (field, column) in &codes.columns {
                if rest.contains(field) {
                    rest.retain(|f| f != field);
                    table.iter_mut().zip(column).for_each(|(t, v)| *t *= v);
                }
            }
            let sum = terms.entry(rest).or_insert_with(|| vec![0.0; codes.count]);
            sum.iter_mut().zip(&table).for_each(|(s, t)| *s += t);
        }
        terms
    }

    /// The same for one wide field: its factor, and what is without it.
    fn wide(&self, polynomial: &Polynomial, field: FieldId) -> (Table, Vec<Polynomial>) {
        let (mut with, mut without) = (Polynomial::default(), Polynomial::default());
        for (c, monomial) in &polynomial.0 {
            let rest: Vec<FieldId> = monomial.iter().copied().filter(|f| *f != field).collect();
            match rest.len() < monomial.len() {
                true => with.0.push((*c, rest)),
                false => without.0.push((*c, rest)),
            }
        }
        let table = Table::wide(&self.fields[field].element, !without.0.is_empty());
        let parts = [with, without].into_iter().take(table.width).collect();
        (table, parts)
    }
}

/// A weight that a sum can use.
pub(super) fn sane_weight(w: f32) -> f64 {
    if w.is_finite() && w > 0.0 {
        f64::from(w)
    } else {
        0.0
    }
}

/// The values of one row of a block, cell after cell.
pub(super) struct Cells {
    /// The values.
    pub(super) x: Vec<f64>,
    /// Their weights.
    pub(super) w: Vec<f64>,
}

impl Cells {
    /// Puts values and weights in the order of the cells.
    pub(super) fn new(plan: &SearchPlan, values: &[f32], weights: Option<&[f32]>) -> Cells {
        let largest = values
            .iter()
            .filter(|v| v.is_finite())
            .fold(0.0f32, |a, v| a.max(v.abs()));
        let value = |i: usize| match values.get(i) {
            None => 0.0,
            Some(v) if v.is_nan() => 0.0,
            Some(v) => f64::from(v.clamp(-largest, largest)),
        };
        let weight = |i: usize| match (values.get(i), weights) {
            (Some(v), _) if !v.is_finite() => 0.0,
            (None, _) => 0.0,
            (Some(_), None) => 1.0,
            (Some(_), Some(w)) => sane_weight(w.get(i).copied().unwrap_or(0.0)),
        };
        let order = || plan.root.items.iter().map(|i| i.element as usize);
        let mut w: Vec<f64> = order().map(weight).collect();
        let most = w.iter().fold(0.0f64, |a, v| a.max(*v));
        // relative to the largest: weights as small as they come must not underflow
        w.iter_mut().for_each(|v| *v /= most.max(f64::MIN_POSITIVE));
        for cell in &plan.root.cells {
            let w = &mut w[cell.items.clone()];
            if w.iter().all(|v| *v == 0.0) {
                w.fill(FAINT);
            }
        }
        Cells {
            x: order().map(value).collect(),
            w,
        }
    }

    /// The values of a cell.
    pub(super) fn of(&self, cell: &Cell) -> Items<'_> {
        Items {
            x: &self.x[cell.items.clone()],
            w: &self.w[cell.items.clone()],
        }
    }
}

/// The scales of a row of a block.
#[derive(Clone, Debug)]
pub(super) struct Scales {
    /// The codes of each field.
    pub(super) codes: Vec<Vec<u32>>,
    /// What they are worth.
    pub(super) values: Vec<Vec<f64>>,
}

impl Scales {
    /// Codes of 0 everywhere.
    pub(super) fn new(plan: &SearchPlan) -> Scales {
        let count = |f: FieldId| match plan.scales.contains(&f) {
            true => plan.fields[f].count as usize,
            false => 0,
        };
        Scales {
            codes: plan.fields.keys().map(|f| vec![0; count(f)]).collect(),
            values: plan.fields.keys().map(|f| vec![0.0; count(f)]).collect(),
        }
    }

    /// Becomes equal to others, in the memory that is there.
    pub(super) fn copy_from(&mut self, other: &Scales) {
        self.codes.clone_from(&other.codes);
        self.values.clone_from(&other.values);
    }

    /// Gives an occurrence the value of a code.
    pub(super) fn set(&mut self, plan: &SearchPlan, field: FieldId, occurrence: u32, code: u32) {
        let at = occurrence as usize;
        self.codes[field.index()][at] = code;
        self.values[field.index()][at] = plan.decode(field, code);
    }

    /// The value of a polynomial where an element is.
    pub(super) fn eval(&self, plan: &SearchPlan, polynomial: &Polynomial, element: u32) -> f64 {
        polynomial.eval(|f| self.values[f.index()][plan.at(f, element) as usize])
    }

    /// The parameters of a cell.
    pub(super) fn theta(&self, plan: &SearchPlan, level: &Level, cell: &Cell) -> Theta {
        let mut theta = [0.0; MAX_COLUMNS];
        for (t, part) in theta.iter_mut().zip(&level.parts) {
            *t = self.eval(plan, &part.polynomial, cell.element);
        }
        theta
    }
}
