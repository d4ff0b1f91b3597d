//! What a search holds for one row of one block: the values in the order of the cells, and the scales.

use super::linear::{MAX_COLUMNS, Theta};
use super::plan::{Cell, Level, SearchPlan};
use super::polynomial::Polynomial;
use super::table::Items;
use crate::format::FieldId;
use cranelift_entity::EntityRef;

/// Where nothing of a cell has a weight, everything has this part of the largest of the row, so that its codes are not
/// arbitrary.
const FAINT: f64 = 1.0 / (1u64 << 30) as f64;

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
