//! Makes the levels of a plan from the terms of `value`.

use super::NotAffine;
use super::plan::{Cell, FieldFacts, Item, Level, MAX_LISTED_BITS, Own, Part, Source};
use super::polynomial::{Polynomial, Tabulated, tabulate};
use super::table::Table;
use crate::format::{BlockFormat, FieldId};
use cranelift_entity::PrimaryMap;
use std::collections::BTreeMap;

/// The most bits that the codes of an element have together.
pub(super) const MAX_CODE_BITS: u32 = 16;

/// The order in which the parameters of a level choose the scales that they share.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As the columns of the table are.
    Forward,
    /// The other way round.
    Backward,
}

/// The level of the elements, with those above it.
pub(super) fn root(
    format: &BlockFormat,
    fields: &PrimaryMap<FieldId, FieldFacts>,
    order: Order,
) -> Result<Level, NotAffine> {
    let own = codes_of_elements(format)?;
    let terms = tabulate(format, &own.codes(fields))?;
    let mut planner = Planner {
        fields,
        order,
        chosen: Vec::new(),
    };
    let elements = (0..format.len).map(|i| Item {
        element: i,
        sources: Vec::new(),
    });
    planner.level(own, &terms, elements.collect())
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

struct Planner<'a> {
    fields: &'a PrimaryMap<FieldId, FieldFacts>,
    order: Order,
    /// The scales that have their values by now.
    chosen: Vec<FieldId>,
}

impl Planner<'_> {
    /// The level of some items with codes, and those above it.
    fn level(&mut self, own: Own, terms: &Tabulated, items: Vec<Item>) -> Result<Level, NotAffine> {
        let legal = |joint| {
            let mut parts = own.split(joint);
            parts.all(|(f, code)| self.fields[f].element.is_legal(code))
        };
        let (table, parts) = Table::new(terms, legal)?;
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
        let mut order: Vec<usize> = (0..polynomials.len()).collect();
        if self.order == Order::Backward {
            order.reverse();
        }
        let mut sources: Vec<Source> = polynomials.iter().map(|_| Source::Known).collect();
        for k in &order {
            let known = polynomials[*k].fields().iter().all(|f| before.contains(f));
            sources[*k] = match self.source(&polynomials[*k], &cells)? {
                Source::Known if !known => Source::Later,
                source => source,
            };
        }
        let parts: Vec<Part> = polynomials
            .into_iter()
            .zip(sources)
            .map(|(polynomial, source)| Part { polynomial, source })
            .collect();
        self.chosen.extend(own.fields.iter().map(|f| f.0));
        Ok(Level {
            own,
            table,
            items,
            cells,
            order,
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
        let mut known: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
        let mut groups: Vec<Vec<Item>> = Vec::new();
        for item in items {
            let group = known.entry(self.places(shared, item.element));
            let group = *group.or_insert(groups.len());
            match groups.get_mut(group) {
                Some(group) => group.push(item),
                None => groups.push(vec![item]),
            }
        }
        let (mut items, mut cells) = (Vec::new(), Vec::new());
        for group in groups {
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
        let mut known: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
        let mut items: Vec<Item> = Vec::new();
        for (n, cell) in (0..).zip(below) {
            let item = known.entry(self.places(&fields, cell.element));
            let item = *item.or_insert(items.len());
            match items.get_mut(item) {
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
