//! How predictions agree with times: the chosen candidate beside the fastest, and ranks.

use super::MeasuredCandidate;
use serde::Serialize;

/// How predictions agree with times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Time of the chosen candidate over that of the fastest.
    pub chosen_over_fastest: f64,
    /// The rank correlation (Spearman's) of predicted and measured cycles.
    pub rank_correlation: f64,
}

/// How the predictions of some candidates agree with times of theirs, if all have one.
pub(super) fn agreement(
    candidates: &[MeasuredCandidate],
    time: impl Fn(&MeasuredCandidate) -> Option<f64>,
) -> Option<Agreement> {
    let times: Vec<f64> = candidates.iter().map(&time).collect::<Option<_>>()?;
    let predicted: Vec<f64> = candidates.iter().map(|c| c.predicted).collect();
    let chosen = time(candidates.iter().find(|c| c.chosen)?)?;
    let fastest = times.iter().copied().fold(f64::INFINITY, f64::min);
    Some(Agreement {
        chosen_over_fastest: chosen / fastest,
        rank_correlation: rank_correlation(&predicted, &times),
    })
}

/// Spearman's rank correlation of two lists of equal length; 1 where either has no two different values.
pub fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = |r: &[f64]| r.iter().sum::<f64>() / r.len().max(1) as f64;
    let (ma, mb) = (mean(&a), mean(&b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(&b).map(|(x, y)| f(x - ma, y - mb)).sum()
    };
    let spread = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    if spread == 0.0 {
        return 1.0;
    }
    sum(&|x, y| x * y) / spread
}

/// The rank of each value; equal ones share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |v: &f64| {
        let below = values.iter().filter(|o| *o < v).count() as f64;
        let equal = values.iter().filter(|o| *o == v).count() as f64;
        below + (equal - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::rank_correlation;

    #[test]
    fn ranks_agree_whatever_the_values() {
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[10.0, 20.0, 1e9]), 1.0);
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
        assert_eq!(rank_correlation(&[1.0], &[2.0]), 1.0);
        let ties = rank_correlation(&[1.0, 1.0, 2.0], &[1.0, 2.0, 3.0]);
        assert!((ties - 0.866).abs() < 1e-3, "{ties}");
    }
}
