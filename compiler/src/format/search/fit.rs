//! The first choice of all scales, level by level: real parameters for each cell, which are then the values that the
//! level above quantises, each as important as the error grows with it.

use super::linear::Theta;
use super::plan::{Cell, Level, Part, SearchPlan, Source};
use super::start::{self, Fit};
use super::state::Scales;
use super::table::Items;
use crate::format::FieldId;
use cranelift_entity::EntityRef;

/// Rounds of [`Source::Each`].
const ROUNDS: usize = 4;

/// Chooses the scales of a level, of those above it, and its own codes if they are scales.
pub(super) fn choose(plan: &SearchPlan, level: &Level, scales: &mut Scales, x: &[f64], w: &[f64]) {
    let items = |range: &std::ops::Range<usize>| Items {
        x: &x[range.clone()],
        w: &w[range.clone()],
    };
    let mut free: Vec<usize> = level
        .order
        .iter()
        .copied()
        .filter(|k| !matches!(level.parts[*k].source, Source::Known))
        .collect();
    let fit = |cell: &Cell, signs: &[f64]| {
        let mut theta = Theta::default();
        for (k, part) in level.parts.iter().enumerate() {
            if !free.contains(&k) {
                theta[k] = scales.eval(plan, &part.polynomial, cell.element);
            }
        }
        start::fit(&level.table, items(&cell.items), &theta, &free, signs)
    };
    let fit_all =
        |signs: &[f64]| -> Vec<Fit> { level.cells.iter().map(|c| fit(c, signs)).collect() };
    let mut fits = match level.one_sign {
        true => better(fit_all(&[1.0]), fit_all(&[-1.0])),
        false => fit_all(&[1.0, -1.0]),
    };
    while let Some(k) = free.first().copied() {
        let wanted: Vec<(f64, f64)> = fits
            .iter()
            .map(|f| {
                let theta = f.sums.solve(&f.theta, &free).unwrap_or(f.theta);
                (theta[k], f.sums.stiffness(&free, k))
            })
            .collect();
        part(plan, &level.parts[k], scales, level, &wanted);
        free.remove(0);
        for (cell, f) in level.cells.iter().zip(&mut fits) {
            f.theta[k] = scales.eval(plan, &level.parts[k].polynomial, cell.element);
        }
    }
    if level.items.first().is_some_and(|i| i.sources.is_empty()) {
        return; // elements: their codes follow from the scales
    }
    for cell in &level.cells {
        let theta = scales.theta(plan, level, cell);
        for n in cell.items.clone() {
            let code = level.table.code(level.table.nearest(&theta, x[n]));
            for (field, code) in level.own.split(code) {
                let occurrence = plan.at(field, level.items[n].element);
                scales.set(plan, field, occurrence, code);
            }
        }
    }
}

/// The fits with the smaller error, on a tie the first.
fn better(a: Vec<Fit>, b: Vec<Fit>) -> Vec<Fit> {
    let error = |fits: &[Fit]| fits.iter().map(|f| f.sums.error).sum::<f64>();
    if error(&b) < error(&a) { b } else { a }
}

/// Chooses the scales of one parameter, which should be `wanted` (with how much it matters) in each cell.
fn part(plan: &SearchPlan, part: &Part, scales: &mut Scales, below: &Level, wanted: &[(f64, f64)]) {
    match &part.source {
        Source::Known | Source::Later => {}
        Source::Level(level) => {
            let (mut x, mut w) = (Vec::new(), Vec::new());
            for item in &level.items {
                let sources = item.sources.iter().map(|s| wanted[*s as usize]);
                let (sum, weight) = sources.fold((0.0, 0.0), |(s, h), (t, g)| (s + g * t, h + g));
                x.push(if weight > 0.0 { sum / weight } else { 0.0 });
                w.push(weight);
            }
            choose(plan, level, scales, &x, &w);
        }
        Source::Each(fields) => each(plan, part, fields, scales, below, wanted),
    }
}

/// One field after the other, one occurrence after the other, from scales of 1.
fn each(
    plan: &SearchPlan,
    part: &Part,
    fields: &[FieldId],
    scales: &mut Scales,
    below: &Level,
    wanted: &[(f64, f64)],
) {
    for f in fields {
        for o in 0..plan.fields[*f].count {
            scales.set(plan, *f, o, plan.nearest(*f, 1.0));
        }
    }
    for f in std::iter::repeat_n(fields.iter().rev(), ROUNDS).flatten() {
        for o in 0..plan.fields[*f].count {
            let (mut up, mut down) = (0.0, 0.0);
            for (cell, (x, w)) in below.cells.iter().zip(wanted) {
                if plan.at(*f, cell.element) == o {
                    let at = |scales: &mut Scales, v: f64| {
                        scales.values[f.index()][o as usize] = v;
                        scales.eval(plan, &part.polynomial, cell.element)
                    };
                    let rest = at(scales, 0.0);
                    let slope = at(scales, 1.0) - rest;
                    up += w * slope * (x - rest);
                    down += w * slope * slope;
                }
            }
            let best = if down > 0.0 { up / down } else { 0.0 };
            scales.set(plan, *f, o, plan.nearest(*f, best));
        }
    }
}

impl SearchPlan {
    /// The finite code of a scale that is nearest to a value.
    pub(super) fn nearest(&self, field: FieldId, value: f64) -> u32 {
        match self.listed.get(&field) {
            Some(listed) => listed.get(self.rank(listed, value)).map_or(0, |v| v.1),
            None => {
                let element = &self.fields[field].element;
                let (low, high) = element.reach();
                element.encode_f64(value.clamp(low, high))
            }
        }
    }

    /// The place of the nearest among ascending values.
    pub(super) fn rank(&self, listed: &[(f64, u32)], value: f64) -> usize {
        let above = listed.partition_point(|v| v.0 < value);
        let below = above.saturating_sub(1);
        match (listed.get(below), listed.get(above)) {
            (Some(b), Some(a)) if (a.0 - value).abs() < (value - b.0).abs() => above,
            _ => below,
        }
    }
}
