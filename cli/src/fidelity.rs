//! What quantising costs: tensors brought into a format, and how far they are from what they were.

use crate::Failure;
use lowbit::compiler::format::Format;
use lowbit::compiler::format::layout::LayoutId;
use lowbit::{Decoder, Encoder, Engine, Searcher, Tensor};
use std::sync::Arc;

/// How codes are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Method {
    /// As the format's `encode` clause says
    Nearest,
    /// By a search for the least squared error: seconds for a million values, and for formats without a clause too
    Search,
}

/// Decodes tensors and quantises into a format, on all cores: through compiled kernels, and by the reference codec where a
/// layout is one that kernels cannot read or write.
pub(crate) struct Codecs {
    engine: Engine,
    quantizer: Quantizer,
    /// Decoders of the layouts met so far.
    decoders: Vec<(LayoutId, Option<Decoder>)>,
    threads: usize,
}

/// What makes codes.
enum Quantizer {
    Kernel(Encoder),
    Reference(Arc<Format>),
    Search(Box<Searcher>),
}

impl Codecs {
    /// For quantising into a format.
    pub(crate) fn new(format: &Arc<Format>, method: Method) -> Result<Codecs, Failure> {
        let engine = Engine::host()?;
        let quantizer = match method {
            Method::Search => Quantizer::Search(Box::new(Searcher::new(format)?)),
            Method::Nearest => match Encoder::new(&engine, format) {
                Ok(encoder) => Quantizer::Kernel(encoder),
                Err(_) => Quantizer::Reference(format.clone()),
            },
        };
        Ok(Codecs {
            quantizer,
            decoders: Vec::new(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            engine,
        })
    }

    /// Values in the format. Only a search looks at importances. `progress` is told how many values are done.
    pub(crate) fn quantize(
        &self,
        shape: &[u64],
        values: &[f32],
        importances: Option<&[f32]>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Tensor, Failure> {
        let tensor = match &self.quantizer {
            Quantizer::Search(searcher) => {
                let made = searcher.quantize(shape, values, importances, self.threads, progress);
                return Ok(made?);
            }
            Quantizer::Kernel(encoder) => encoder.quantize(shape, values, self.threads)?,
            Quantizer::Reference(format) => Tensor::quantize(format.clone(), shape, values)?,
        };
        progress(values.len() as u64);
        Ok(tensor)
    }

    /// The values of a tensor.
    pub(crate) fn decode(&mut self, tensor: &Tensor) -> Result<Vec<f32>, Failure> {
        let id = tensor.layout_id();
        let known = self.decoders.iter().position(|(known, _)| *known == id);
        let at = known.unwrap_or_else(|| {
            let decoder = Decoder::new(&self.engine, tensor.format()).ok();
            self.decoders.push((id, decoder));
            self.decoders.len() - 1
        });
        Ok(match &self.decoders[at].1 {
            Some(decoder) => decoder.decode(tensor, self.threads)?,
            None => tensor.to_f32()?,
        })
    }
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
    /// Of what was found for values, in so many bytes.
    pub(crate) fn of(values: &[f32], found: &[f32], bytes: usize) -> Sums {
        let mut sums = Sums {
            count: values.len() as u64,
            bytes: bytes as u64,
            ..Sums::default()
        };
        for (value, found) in values.iter().zip(found) {
            let (value, found) = (f64::from(*value), f64::from(*found));
            // An infinity that stays one has no error.
            let error = if value == found { 0.0 } else { value - found };
            sums.signal += value * value;
            sums.noise += error * error;
            sums.max_error = larger(sums.max_error, error.abs());
        }
        sums
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
    use super::{Codecs, Fidelity, Method, Sums};

    #[test]
    fn errors_are_measured_against_the_values() {
        let sums = Sums::of(&[3.0, 0.0, 0.0, 4.0], &[3.0, 0.0, 0.0, 4.5], 16);
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
        let found = Codecs::new(&format, Method::Nearest).and_then(|mut codecs| {
            let tensor = codecs.quantize(&[3], &values, None, &|_| ())?;
            codecs.decode(&tensor)
        });
        let Ok(found) = found else {
            panic!("f16 encodes")
        };
        let fidelity = Sums::of(&values, &found, 6).fidelity();
        assert_eq!((fidelity.rmse, fidelity.max_error), (0.0, 0.0));
        assert_eq!(fidelity.sqnr_db, f64::INFINITY);
        let nan = Sums::of(&[f32::NAN, 0.0, 0.0], &found, 6).fidelity();
        assert!(nan.max_error.is_nan());
    }
}
