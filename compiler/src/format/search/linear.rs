//! Small systems of linear equations: what least squares, and the columns of a table, come down to.

use super::NotAffine;

/// The most columns of a table.
pub(super) const MAX_COLUMNS: usize = 4;

/// Parameters of a cell, one for each column; what is past the last column is 0.
pub(super) type Theta = [f64; MAX_COLUMNS];

/// Gaussian elimination with pivots from the diagonal, which is where a positive definite matrix has them.
pub(super) fn eliminate(
    rows: &mut [[f64; MAX_COLUMNS + 1]; MAX_COLUMNS],
    n: usize,
) -> Option<Theta> {
    for p in 0..n {
        let scale = rows[p][..n].iter().fold(0.0f64, |a, v| a.max(v.abs()));
        let pivot = rows[p][p];
        if pivot.is_nan() || pivot <= 0.0 || pivot <= 1e-12 * scale {
            return None;
        }
        for q in 0..n {
            if q != p {
                let factor = rows[q][p] / pivot;
                let from = rows[p];
                rows[q]
                    .iter_mut()
                    .zip(from)
                    .for_each(|(v, u)| *v -= factor * u);
            }
        }
    }
    let mut out = Theta::default();
    (0..n).for_each(|p| out[p] = rows[p][n] / rows[p][p]);
    out.iter().all(|v| v.is_finite()).then_some(out)
}

/// Linearly independent columns that given ones are made of.
#[derive(Default)]
pub(super) struct Basis {
    /// The columns; a constant one is the last.
    pub(super) columns: Vec<Vec<f64>>,
    /// Whether there is a constant one.
    pub(super) constant: bool,
}

impl Basis {
    /// Adds a column, or the constant one, if `t` is no combination of those that are there.
    pub(super) fn include(&mut self, t: &[f64]) -> Result<(), NotAffine> {
        if self.express(t).is_some() {
            return Ok(());
        }
        if !self.constant {
            self.columns.push(vec![1.0; t.len()]);
            self.constant = true;
            if self.express(t).is_some() {
                return self.fits();
            }
            self.columns.pop();
            self.constant = false;
        }
        let before_constant = self.columns.len() - usize::from(self.constant);
        self.columns.insert(before_constant, t.to_vec());
        self.fits()
    }

    fn fits(&self) -> Result<(), NotAffine> {
        if self.columns.len() > MAX_COLUMNS {
            return Err(NotAffine::Parts);
        }
        Ok(())
    }

    /// The factors that make `t` of the columns.
    pub(super) fn express(&self, t: &[f64]) -> Option<Vec<f64>> {
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        let mut rows = [[0.0; MAX_COLUMNS + 1]; MAX_COLUMNS];
        let n = self.columns.len();
        if n > MAX_COLUMNS {
            return None;
        }
        for (row, a) in rows.iter_mut().zip(&self.columns) {
            row[n] = dot(a, t);
            for (v, b) in row.iter_mut().zip(&self.columns) {
                *v = dot(a, b);
            }
        }
        let factors = eliminate(&mut rows, n)?[..n].to_vec();
        let made = |i: usize| -> f64 {
            self.columns
                .iter()
                .zip(&factors)
                .map(|(c, f)| c[i] * f)
                .sum()
        };
        let largest = t.iter().fold(0.0f64, |a, v| a.max(v.abs()));
        let exact = t
            .iter()
            .enumerate()
            .all(|(i, v)| (made(i) - v).abs() <= 1e-9 * largest);
        exact.then(|| factors.iter().map(|f| snap(*f)).collect())
    }
}

/// A factor without the dust of the elimination: a multiple of 2^-20 if it is near one.
fn snap(f: f64) -> f64 {
    let near = (f * 1_048_576.0).round_ties_even() / 1_048_576.0;
    if (f - near).abs() <= 1e-11 * f.abs().max(1.0) {
        near
    } else {
        f
    }
}
