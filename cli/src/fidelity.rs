//! What quantising costs: tensors brought into a format, and how far they are from what they were.

use crate::Failure;
use lowbit::Tensor;
use lowbit::compiler::format::Format;
use std::sync::Arc;

/// Values in a format, each code the nearest one by the `encode` clause.
pub(crate) fn nearest(
    values: &[f32],
    shape: &[u64],
    format: &Arc<Format>,
) -> Result<Tensor, Failure> {
    Ok(Tensor::quantize(format.clone(), shape, values)?)
}

/// How far values are from what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Fidelity {
    /// The root of the mean of the squared errors.
    pub(crate) rmse: f64,
    /// The power of the values over that of the errors, in decibels; infinite if there are no errors.
    pub(crate) sqnr_db: f64,
    /// The largest error.
    pub(crate) max_error: f64,
    /// Bits that a value takes, with its share of the scales and of padding.
    pub(crate) bits_per_weight: f64,
}

/// Sums over values, of one tensor or of many.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    count: u64,
    signal: f64,
    noise: f64,
    max_error: f64,
    bytes: u64,
}

impl Sums {
    /// Of a tensor that stands for values.
    pub(crate) fn of(values: &[f32], tensor: &Tensor) -> Result<Sums, Failure> {
        let mut sums = Sums {
            count: values.len() as u64,
            bytes: tensor.bytes().len() as u64,
            ..Sums::default()
        };
        for (value, found) in values.iter().zip(tensor.to_f32()?) {
            let (value, found) = (f64::from(*value), f64::from(found));
            // An infinity that stays one has no error.
            let error = if value == found { 0.0 } else { value - found };
            sums.signal += value * value;
            sums.noise += error * error;
            sums.max_error = larger(sums.max_error, error.abs());
        }
        Ok(sums)
    }

    /// With those of another tensor.
    pub(crate) fn and(self, other: Sums) -> Sums {
        Sums {
            count: self.count + other.count,
            signal: self.signal + other.signal,
            noise: self.noise + other.noise,
            max_error: larger(self.max_error, other.max_error),
            bytes: self.bytes + other.bytes,
        }
    }

    /// What they come to.
    pub(crate) fn fidelity(&self) -> Fidelity {
        let count = self.count.max(1) as f64;
        Fidelity {
            rmse: (self.noise / count).sqrt(),
            sqnr_db: match self.noise {
                0.0 => f64::INFINITY,
                noise => 10.0 * (self.signal / noise).log10(),
            },
            max_error: self.max_error,
            bits_per_weight: 8.0 * self.bytes as f64 / count,
        }
    }
}

/// The larger of two; a NaN is larger than any number, so that it shows.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::{Fidelity, Sums, nearest};
    use lowbit::Tensor;

    #[test]
    fn errors_are_measured_against_the_values() {
        let tensor =
            Tensor::from_f32(&[4], &[3.0, 0.0, 0.0, 4.5]).unwrap_or_else(|e| panic!("{e}"));
        let Ok(sums) = Sums::of(&[3.0, 0.0, 0.0, 4.0], &tensor) else {
            panic!("f32 decodes")
        };
        let Fidelity {
            rmse,
            sqnr_db,
            max_error,
            bits_per_weight,
        } = sums.fidelity();
        assert_eq!((rmse, max_error, bits_per_weight), (0.25, 0.5, 32.0));
        assert!((sqnr_db - 20.0).abs() < 1e-12, "{sqnr_db}");
        let both = sums.and(sums).fidelity();
        assert_eq!(both, sums.fidelity());
    }

    #[test]
    fn values_that_a_format_holds_have_no_error_and_nan_shows() {
        let values = [1.0, f32::INFINITY, -0.5];
        let format = lowbit::compiler::spec::builtin("f16").unwrap_or_else(|| panic!("f16"));
        let Ok(tensor) = nearest(&values, &[3], &format) else {
            panic!("f16 encodes")
        };
        let sums = Sums::of(&values, &tensor).ok();
        let fidelity = sums.map(|s| s.fidelity()).unwrap_or_default();
        assert_eq!((fidelity.rmse, fidelity.max_error), (0.0, 0.0));
        assert_eq!(fidelity.sqnr_db, f64::INFINITY);
        let nan = Sums::of(&[f32::NAN, 0.0, 0.0], &tensor).ok();
        assert!(nan.is_some_and(|s| s.fidelity().max_error.is_nan()));
    }
}
