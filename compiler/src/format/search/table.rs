//! What the codes of an item are worth: each joint code has a few numbers (columns), and under the parameters `theta` of
//! a cell the item is worth `sum(k) theta[k] * column[k]`. A column that is constant comes last.

use super::NotAffine;
use super::linear::{Basis, MAX_COLUMNS, Theta, eliminate};
use super::polynomial::{Polynomial, Tabulated};
use crate::format::Element;

/// The most codes of which the nearest is found by trying all: values of one element under several scales.
pub(super) const MAX_MIXED: usize = 1 << 9;

/// What a least-squares fit needs to know of a cell under chosen codes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// `sum w * column[j] * column[k]`
    pub(super) gram: [Theta; MAX_COLUMNS],
    /// `sum w * x * column[k]`
    pub(super) rhs: Theta,
    /// `sum w * (x - value)^2`
    pub(super) error: f64,
}

/// Some items of equal scales.
#[derive(Clone, Copy)]
pub(super) struct Items<'a> {
    /// What they should be worth.
    pub(super) x: &'a [f64],
    /// How much they matter.
    pub(super) w: &'a [f64],
}

/// How the nearest entry is found.
#[derive(Debug)]
enum Nearest {
    /// One column besides the constant, in even steps from the first value on.
    Even { first: f64, step: f64 },
    /// One column besides the constant, ascending; the bounds between neighbours, filled up to one less than a power of
    /// two.
    Ascending { bounds: Vec<f64> },
    /// One column besides the constant: all values of a wide element, by its encoder. Entries are codes.
    Wide { element: Element },
    /// Any columns.
    Any,
}

/// The codes of an item.
#[derive(Debug)]
pub(super) struct Table {
    /// The joint code of each entry; empty if entries are codes.
    codes: Vec<u32>,
    /// The columns, each with a number for each entry; empty if entries are codes.
    columns: Vec<Vec<f64>>,
    /// How many columns there are.
    pub(super) width: usize,
    /// Whether the last column is 1 everywhere.
    pub(super) constant: bool,
    /// Whether the values of a line change only their order with the sign of its slope.
    pub(super) symmetric: bool,
    nearest: Nearest,
}

impl Table {
    /// The table of tabulated terms under the legal codes, and the polynomial in the scales that each column is multiplied by.
    pub(super) fn new(
        terms: &Tabulated,
        legal: impl Fn(u32) -> bool,
    ) -> Result<(Table, Vec<Polynomial>), NotAffine> {
        let count = terms.values().map(Vec::len).max().unwrap_or(0);
        let finite = |c: u32| terms.values().all(|t| t[c as usize].is_finite());
        let usable = |c: &u32| legal(*c) && finite(*c);
        let codes: Vec<u32> = (0..count as u32).filter(usable).collect();
        if codes.is_empty() {
            return Err(NotAffine::NoCodes);
        }
        let terms: Vec<_> = terms
            .iter()
            .map(|(m, t)| (m, codes.iter().map(|c| t[*c as usize]).collect::<Vec<_>>()))
            .filter(|(_, t)| t.iter().any(|v| *v != 0.0))
            .collect();
        let mut basis = Basis::default();
        for (_, t) in &terms {
            basis.include(t)?;
        }
        let mut parts = vec![Polynomial::default(); basis.columns.len()];
        for (m, t) in &terms {
            let factors = basis.express(t).unwrap_or_default();
            for (part, c) in parts.iter_mut().zip(factors).filter(|(_, c)| *c != 0.0) {
                part.0.push((c, (*m).clone()));
            }
        }
        let table = Table::of(codes, basis);
        let count = table.codes.len();
        match table.nearest {
            Nearest::Any if count > MAX_MIXED => Err(NotAffine::Mixed { count }),
            _ => Ok((table, parts)),
        }
    }

    /// All values of an element that is too wide to be listed, and a constant column if wanted.
    pub(super) fn wide(element: &Element, constant: bool) -> Table {
        let (low, high) = element.reach();
        Table {
            codes: Vec::new(),
            columns: Vec::new(),
            width: 1 + usize::from(constant),
            constant,
            symmetric: low == -high,
            nearest: Nearest::Wide {
                element: element.clone(),
            },
        }
    }

    fn of(mut codes: Vec<u32>, basis: Basis) -> Table {
        let Basis {
            mut columns,
            constant,
        } = basis;
        let width = columns.len();
        let nearest = if width == 1 + usize::from(constant) {
            let mut order: Vec<usize> = (0..codes.len()).collect();
            // of codes that are worth the same, the lowest
            order.sort_by(|a, b| {
                let by_value = columns[0][*a].partial_cmp(&columns[0][*b]);
                by_value.unwrap_or(std::cmp::Ordering::Equal).then(a.cmp(b))
            });
            order.dedup_by(|a, b| columns[0][*a] == columns[0][*b]);
            let pick = |c: &Vec<f64>| order.iter().map(|i| c[*i]).collect();
            columns = columns.iter().map(pick).collect();
            codes = order.iter().map(|i| codes[*i]).collect();
            ordered(&columns[0])
        } else {
            Nearest::Any
        };
        let mirrored = |c: &Vec<f64>| c.iter().zip(c.iter().rev()).all(|(a, b)| *a == -b);
        Table {
            symmetric: columns.first().is_some_and(mirrored),
            codes,
            columns,
            width,
            constant,
            nearest,
        }
    }

    /// Whether one column besides the constant decides, so that a range can be covered.
    pub(super) fn is_line(&self) -> bool {
        !matches!(self.nearest, Nearest::Any)
    }

    /// The smallest and the largest number of a column.
    pub(super) fn range(&self, column: usize) -> (f64, f64) {
        if self.constant && column + 1 == self.width {
            return (1.0, 1.0);
        }
        if let Nearest::Wide { element } = &self.nearest {
            return element.reach();
        }
        let all = self.columns[column].iter();
        all.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| {
            (a.min(*v), b.max(*v))
        })
    }

    /// How many entries a line has; a wide element has more than matters.
    pub(super) fn len(&self) -> usize {
        match self.nearest {
            Nearest::Wide { .. } => usize::MAX,
            Nearest::Even { .. } | Nearest::Ascending { .. } | Nearest::Any => self.codes.len(),
        }
    }

    /// The joint code of an entry.
    pub(super) fn code(&self, entry: u32) -> u32 {
        self.codes.get(entry as usize).copied().unwrap_or(entry)
    }

    /// The number of an entry in a column.
    fn number(&self, column: usize, entry: u32) -> f64 {
        match &self.nearest {
            Nearest::Wide { .. } if column > 0 => 1.0,
            Nearest::Wide { element } => f64::from(element.decode(entry) as f32),
            Nearest::Even { .. } | Nearest::Ascending { .. } | Nearest::Any => {
                self.columns[column][entry as usize]
            }
        }
    }

    /// Slope (as its reciprocal) and offset of a line; a slope of 0 sends everything to the entry nearest to 0.
    fn line(&self, theta: &Theta) -> (f64, f64, f64) {
        let offset = if self.constant && self.width > 1 {
            theta[self.width - 1]
        } else {
            0.0
        };
        let inverse = 1.0 / theta[0];
        let inverse = if inverse.is_finite() { inverse } else { 0.0 };
        (theta[0], inverse, offset)
    }

    /// The entry whose value is nearest to `x`.
    pub(super) fn nearest(&self, theta: &Theta, x: f64) -> u32 {
        let (_, inverse, offset) = self.line(theta);
        let t = (x - offset) * inverse;
        match &self.nearest {
            Nearest::Even { first, step } => {
                even((t - first) / step, (self.codes.len() - 1) as f64) as u32
            }
            Nearest::Ascending { bounds } => below(bounds, t) as u32,
            Nearest::Wide { element } => {
                let (low, high) = element.reach();
                element.encode_f64(t.clamp(low, high))
            }
            Nearest::Any => self.search(theta, x),
        }
    }

    fn search(&self, theta: &Theta, x: f64) -> u32 {
        let mut best = (f64::INFINITY, 0);
        for entry in 0..self.codes.len() {
            let value: f64 = self
                .columns
                .iter()
                .zip(theta)
                .map(|(c, t)| c[entry] * t)
                .sum();
            let distance = (x - value).abs();
            if distance < best.0 {
                best = (distance, entry);
            }
        }
        best.1 as u32
    }

    /// The sums over items that have their nearest entries.
    pub(super) fn sums(&self, theta: &Theta, items: Items) -> Sums {
        let (slope, inverse, offset) = self.line(theta);
        match &self.nearest {
            Nearest::Even { first, step } => {
                let (scale, shift, last) = (
                    inverse / step,
                    (offset * inverse + first) / step,
                    (self.codes.len() - 1) as f64,
                );
                self.line_sums(slope, offset, items, |x| {
                    first + step * even(x * scale - shift, last)
                })
            }
            Nearest::Ascending { bounds } => {
                let values = &self.columns[0];
                self.line_sums(slope, offset, items, |x| {
                    values[below(bounds, (x - offset) * inverse).min(values.len() - 1)]
                })
            }
            Nearest::Wide { .. } => self.line_sums(slope, offset, items, |x| {
                self.number(0, self.nearest(theta, x))
            }),
            Nearest::Any => self.any_sums(theta, items),
        }
    }

    #[inline(always)]
    fn line_sums(&self, slope: f64, offset: f64, items: Items, value: impl Fn(f64) -> f64) -> Sums {
        let (mut wu, mut wuu, mut wxu, mut error) = (0.0, 0.0, 0.0, 0.0);
        for (x, w) in items.x.iter().zip(items.w) {
            let u = value(*x);
            let rest = x - (slope * u + offset);
            let wide = w * u;
            wu += wide;
            wuu += wide * u;
            wxu += wide * x;
            error += w * rest * rest;
        }
        let mut sums = Sums {
            error,
            ..Sums::default()
        };
        (sums.gram[0][0], sums.rhs[0]) = (wuu, wxu);
        if self.width > 1 {
            (sums.gram[0][1], sums.gram[1][0]) = (wu, wu);
            sums.gram[1][1] = items.w.iter().sum();
            sums.rhs[1] = items.x.iter().zip(items.w).map(|(x, w)| x * w).sum();
        }
        sums
    }

    fn any_sums(&self, theta: &Theta, items: Items) -> Sums {
        let mut sums = Sums::default();
        for (x, w) in items.x.iter().zip(items.w) {
            let entry = self.search(theta, *x);
            let mut u = Theta::default();
            (0..self.width).for_each(|k| u[k] = self.number(k, entry));
            let value: f64 = u.iter().zip(theta).map(|(u, t)| u * t).sum();
            sums.error += w * (x - value).powi(2);
            for j in 0..self.width {
                sums.rhs[j] += w * x * u[j];
                (0..self.width).for_each(|k| sums.gram[j][k] += w * u[j] * u[k]);
            }
        }
        sums
    }
}

impl Sums {
    /// The error that other parameters would have under the same codes, up to what does not depend on them.
    pub(super) fn bend(&self, theta: &Theta) -> f64 {
        let row = |j: usize| -> f64 { self.gram[j].iter().zip(theta).map(|(g, t)| g * t).sum() };
        (0..MAX_COLUMNS)
            .map(|j| theta[j] * (row(j) - 2.0 * self.rhs[j]))
            .sum()
    }

    /// The free parameters that minimise the error under the same codes, the others as they are; `None` if the codes do not
    /// determine them.
    pub(super) fn solve(&self, theta: &Theta, free: &[usize]) -> Option<Theta> {
        let n = free.len();
        let mut rows = [[0.0; MAX_COLUMNS + 1]; MAX_COLUMNS];
        for (row, j) in rows.iter_mut().zip(free) {
            row[n] = self.rhs[*j];
            for (k, (g, t)) in self.gram[*j].iter().zip(theta).enumerate() {
                match free.iter().position(|f| *f == k) {
                    Some(at) => row[at] = *g,
                    None => row[n] -= g * t,
                }
            }
        }
        let solution = eliminate(&mut rows, n)?;
        let mut out = *theta;
        free.iter().zip(solution).for_each(|(k, v)| out[*k] = v);
        Some(out)
    }

    /// How steeply the error grows with one free parameter if the other free ones follow: half its second derivative.
    pub(super) fn stiffness(&self, free: &[usize], k: usize) -> f64 {
        let others: Vec<usize> = free.iter().copied().filter(|j| *j != k).collect();
        let mut unit = Theta::default();
        unit[k] = 1.0;
        let bare = Sums {
            gram: self.gram,
            ..Sums::default()
        };
        match bare.solve(&unit, &others) {
            Some(follow) => bare.bend(&follow).max(0.0),
            None => self.gram[k][k],
        }
    }
}

/// The nearest whole number from 0 to `last`, ties to even. Adding and taking away 1.5 * 2^52 rounds, in every target's
/// vectors.
#[inline(always)]
fn even(t: f64, last: f64) -> f64 {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let t = if t > 0.0 { t } else { 0.0 };
    let t = if t < last { t } else { last };
    (t + ROUND) - ROUND
}

/// How many of the bounds, one less than a power of two of them, lie below `t`.
#[inline(always)]
fn below(bounds: &[f64], t: f64) -> usize {
    let mut step = bounds.len().div_ceil(2);
    let mut at = 0;
    while step > 0 {
        at += if bounds[at + step - 1] < t { step } else { 0 };
        step /= 2;
    }
    at
}

/// How to find the nearest of ascending values.
fn ordered(values: &[f64]) -> Nearest {
    let first = values[0];
    let last = values[values.len() - 1];
    let step = (last - first) / (values.len() - 1).max(1) as f64;
    let even = |(i, v): (usize, &f64)| (first + step * i as f64 - v).abs() <= 1e-12 * step;
    if values.len() > 1 && values.iter().enumerate().all(even) {
        return Nearest::Even { first, step };
    }
    let mut bounds: Vec<f64> = values.windows(2).map(|v| 0.5 * (v[0] + v[1])).collect();
    bounds.resize(values.len().next_power_of_two() - 1, f64::INFINITY);
    Nearest::Ascending { bounds }
}
