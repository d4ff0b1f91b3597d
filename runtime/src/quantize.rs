//! From f32 values to a tensor in a format, on several threads: by the format's `encode` clause, or by a search for the
//! codes with the least squared error; and how near the tensor then comes to the values.

use crate::{Error, Tensor};
use lowbit_compiler::format::codec::{CodecError, encode_tensor};
use lowbit_compiler::format::search::{SearchPlan, search_tensor};
use lowbit_compiler::format::{BlockFormat, Format, FormatKind};
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How codes are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// As the `encode` clause says. Fast, and what other programs do who follow the same clause. Importances do not matter.
    #[default]
    Nearest,
    /// By a search for the least squared error, weighted by importances. It is never worse than the `encode` clause, and
    /// serves formats that have none; a format that the search does not know is encoded by its clause.
    Search,
}

/// Told how many rows are done, of how many; from any of the threads.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// How to quantise a tensor.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// How codes are chosen.
    pub method: Method,
    /// A weight for each column (the last axis): how much a squared error there matters. What is negative or no number
    /// counts as 0.
    pub importances: Option<&'a [f32]>,
    /// How many threads work; as many as the machine has if not given. The result does not depend on it.
    pub threads: Option<NonZero<usize>>,
    /// Told of every row.
    pub progress: Option<Progress<'a>>,
}

/// Brings values (outermost axis first) into a format.
///
/// # Errors
/// [`Error::DecodeOnly`] if the format can only be read, [`Error::NoClause`] if it can be searched alone,
/// [`Error::Importances`] and [`Error::Codec`] if numbers do not go
/// with the shape.
pub fn quantize(
    values: &[f32],
    shape: &[u64],
    format: &Arc<Format>,
    options: &Options<'_>,
) -> Result<Tensor, Error> {
    let columns = shape.last().copied().unwrap_or(1);
    if let Some(found) = options.importances.map(|i| i.len() as u64)
        && found != columns
    {
        return Err(Error::Importances { columns, found });
    }
    let coder = Coder::new(format, options)?;
    let bytes = Job::new(&coder, values, shape)?.run(options)?;
    Tensor::from_bytes(format.clone(), shape, bytes)
}

/// How rows become bytes.
enum Coder<'a> {
    Nearest(&'a Format),
    Search {
        block: &'a BlockFormat,
        plan: Box<SearchPlan>,
        importances: Option<&'a [f32]>,
    },
}

impl<'a> Coder<'a> {
    fn new(format: &'a Format, options: &Options<'a>) -> Result<Coder<'a>, Error> {
        let FormatKind::Block(block) = &format.kind else {
            return Ok(Coder::Nearest(format));
        };
        if options.method == Method::Nearest && block.encode.is_some() {
            return Ok(Coder::Nearest(format));
        }
        match (SearchPlan::new(block), options.method) {
            (Ok(plan), Method::Search) => Ok(Coder::Search {
                block,
                plan: Box::new(plan),
                importances: options.importances,
            }),
            (Ok(_), Method::Nearest) => Err(Error::NoClause {
                format: format.name.clone(),
            }),
            (Err(_), _) if block.encode.is_some() => Ok(Coder::Nearest(format)),
            (Err(reason), _) => Err(Error::DecodeOnly {
                format: format.name.clone(),
                reason,
            }),
        }
    }

    fn format_rows(&self) -> u64 {
        match self {
            Coder::Nearest(format) => match &format.kind {
                FormatKind::Block(block) => u64::from(block.rows),
                FormatKind::Plain(_) => 1,
            },
            Coder::Search { block, .. } => u64::from(block.rows),
        }
    }

    /// The bytes of some rows that share their blocks with no others.
    fn bytes(&self, shape: [u64; 2], values: &[f32]) -> Result<Vec<u8>, CodecError> {
        match self {
            Coder::Nearest(format) => encode_tensor(format, &shape, values),
            Coder::Search {
                block,
                plan,
                importances,
            } => search_tensor(block, plan, &shape, values, *importances),
        }
    }
}

/// Rows to be coded, in groups that share blocks.
struct Job<'a> {
    coder: &'a Coder<'a>,
    columns: u64,
    rows: u64,
    /// The values of each group, in order.
    groups: Vec<&'a [f32]>,
}

impl<'a> Job<'a> {
    fn new(coder: &'a Coder<'a>, values: &'a [f32], shape: &[u64]) -> Result<Job<'a>, CodecError> {
        let expected = shape.iter().try_fold(1u64, |a, b| a.checked_mul(*b));
        let expected = expected.ok_or_else(|| CodecError::TooLarge {
            shape: shape.to_vec(),
        })?;
        if expected != values.len() as u64 {
            return Err(CodecError::Elements {
                shape: shape.to_vec(),
                expected,
                found: values.len() as u64,
            });
        }
        let columns = shape.last().copied().unwrap_or(1);
        let matrix_rows = match shape {
            [.., rows, _] => *rows,
            _ => 1,
        };
        let mut groups = Vec::new();
        if !values.is_empty() {
            // no axis is 0, and none is longer than there are values
            let group = coder.format_rows().min(matrix_rows) * columns;
            for matrix in values.chunks((matrix_rows * columns) as usize) {
                groups.extend(matrix.chunks(group as usize));
            }
        }
        Ok(Job {
            coder,
            columns,
            rows: expected / columns.max(1),
            groups,
        })
    }

    fn run(&self, options: &Options<'_>) -> Result<Vec<u8>, Error> {
        let available = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = options.threads.map_or_else(available, NonZero::get);
        let parts = Mutex::new(vec![Vec::new(); self.groups.len()]);
        let failure = Mutex::new(None);
        let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
        let work = || {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed) as usize;
                let Some(values) = self.groups.get(n) else {
                    return;
                };
                let rows = values.len() as u64 / self.columns.max(1);
                match self.coder.bytes([rows, self.columns], values) {
                    Ok(bytes) => locked(&parts)[n] = bytes,
                    Err(e) => *locked(&failure) = Some(e),
                }
                let done = done.fetch_add(rows, Ordering::Relaxed) + rows;
                if let Some(progress) = options.progress {
                    progress(done, self.rows);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.min(self.groups.len()) {
                scope.spawn(work);
            }
            work();
        });
        match locked(&failure).take() {
            Some(e) => Err(e.into()),
            None => Ok(locked(&parts).concat()),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // a poisoned lock means that a thread has panicked, and the scope passes that on
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How near a tensor comes to the values that it was made of. Values that are no finite numbers are left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fidelity {
    /// The root of the mean squared error.
    pub rmse: f64,
    /// The signal-to-quantisation-noise ratio in decibels: the sum of squares of the values over that of the errors.
    /// Infinite if there is no error.
    pub sqnr_db: f64,
    /// The largest error.
    pub max_error: f64,
    /// Bits that a value takes, scales and padding included.
    pub bits_per_weight: f64,
}

/// Compares a tensor with values in the same order.
///
/// # Errors
/// [`Error::Codec`] if there are not as many values as the tensor has.
pub fn fidelity(values: &[f32], tensor: &Tensor) -> Result<Fidelity, Error> {
    let decoded = tensor.to_f32()?;
    if decoded.len() != values.len() {
        return Err(CodecError::Elements {
            shape: tensor.shape().to_vec(),
            expected: decoded.len() as u64,
            found: values.len() as u64,
        }
        .into());
    }
    let (mut noise, mut signal, mut count, mut max_error) = (0.0, 0.0, 0.0, 0.0f64);
    for (x, y) in values.iter().zip(&decoded).filter(|(x, _)| x.is_finite()) {
        let error = (f64::from(*x) - f64::from(*y)).abs();
        noise += error * error;
        signal += f64::from(*x) * f64::from(*x);
        count += 1.0;
        if error.is_nan() || error > max_error {
            max_error = error;
        }
    }
    let sqnr_db = match noise == 0.0 {
        true => f64::INFINITY,
        false => 10.0 * (signal / noise).log10(),
    };
    Ok(Fidelity {
        rmse: (noise / f64::max(count, 1.0)).sqrt(),
        sqnr_db,
        max_error,
        bits_per_weight: 8.0 * tensor.bytes().len() as f64 / (values.len() as f64).max(1.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lowbit_compiler::spec::load;

    const TEXT: &str = "language 1;
        format int4 = block i < 32 { d: f16; q[i]: int(4); value = d * q[i]; }
        format nested = block i < 32 { d: f16; sc[i / 8]: uint(4); q[i]: int(3); value = d * sc[i / 8] * q[i]; }
        format woven = block r < 4, i < 8, bytes 24 {
            d[r]: f16 at 16 * r;
            q[r, i]: uint(4) at 64 + 8 * (2 * i + r / 2) + 4 * (r % 2);
            value = d[r] * (q[r, i] - 8);
        }
        format squared = block i < 8 { d: f16; q[i]: int(4); value = d * d * q[i]; }
        format clause = block i < 8 { d: f16; q[i]: int(4); value = d * d * q[i]; encode x { d = 1; q[i] = x[i]; } }
        format small = float(4, 3);";

    fn format(name: &str) -> Arc<Format> {
        let module = load("test", TEXT, &|_| None).expect("the formats read");
        module.format(name).expect(name).clone()
    }

    fn values(n: u64) -> Vec<f32> {
        let wave = |i: u64| ((i * i * 7919 + i * 31) % 1009) as f32 / 400.0 - 1.1;
        (0..n).map(wave).collect()
    }

    fn options(method: Method, threads: usize) -> Options<'static> {
        Options {
            method,
            threads: NonZero::new(threads),
            ..Options::default()
        }
    }

    #[test]
    fn threads_do_not_change_the_bytes() {
        let shape = [3, 5, 43];
        let x = values(3 * 5 * 43);
        for name in ["int4", "nested", "woven", "clause", "small"] {
            for method in [Method::Nearest, Method::Search] {
                if (name, method) == ("nested", Method::Nearest) {
                    continue; // it has no clause
                }
                let f = format(name);
                let one = quantize(&x, &shape, &f, &options(method, 1)).expect(name);
                let many = quantize(&x, &shape, &f, &options(method, 3)).expect(name);
                assert_eq!(one.bytes(), many.bytes(), "{name} {method:?}");
                if method == Method::Nearest {
                    let whole = Tensor::quantize(f, &shape, &x).expect(name);
                    assert_eq!(one.bytes(), whole.bytes(), "{name}");
                }
            }
        }
    }

    #[test]
    fn a_search_comes_nearer_than_the_clause_and_serves_formats_without_one() {
        let shape = [7, 43];
        let x = values(7 * 43);
        for name in ["int4", "woven"] {
            let of = |method| {
                let t = quantize(&x, &shape, &format(name), &options(method, 2)).expect(name);
                fidelity(&x, &t).expect(name)
            };
            let (nearest, search) = (of(Method::Nearest), of(Method::Search));
            assert!(search.rmse < 0.98 * nearest.rmse, "{search:?} {nearest:?}");
            assert!(search.sqnr_db > nearest.sqnr_db);
        }
        let t =
            quantize(&x, &shape, &format("nested"), &options(Method::Search, 2)).expect("searched");
        assert!(fidelity(&x, &t).expect("compared").sqnr_db > 13.0);
    }

    #[test]
    fn important_columns_come_nearer() {
        let shape = [16, 40];
        let x = values(16 * 40);
        let importances: Vec<f32> = (0..40)
            .map(|c| if c % 5 == 2 { 100.0 } else { 1.0 })
            .collect();
        let error = |importances: Option<&[f32]>| {
            let o = Options {
                importances,
                ..options(Method::Search, 2)
            };
            let y = quantize(&x, &shape, &format("nested"), &o)
                .and_then(|t| t.to_f32())
                .expect("searched");
            let pairs = x.iter().zip(&y).skip(2).step_by(5);
            pairs.map(|(a, b)| (a - b).powi(2)).sum::<f32>()
        };
        let (with, without) = (error(Some(&importances)), error(None));
        assert!(with < 0.6 * without, "{with} and {without}");
    }

    #[test]
    fn progress_counts_every_row() {
        let seen = Mutex::new(Vec::new());
        let count = |done: u64, total: u64| locked(&seen).push((done, total));
        let o = Options {
            progress: Some(&count),
            ..options(Method::Nearest, 2)
        };
        quantize(&values(2 * 6 * 8), &[2, 6, 8], &format("woven"), &o).expect("quantised");
        let mut seen = locked(&seen).clone();
        seen.sort();
        assert_eq!(seen.len(), 4); // two groups of rows a matrix
        assert_eq!(seen.last(), Some(&(12, 12)));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let x = values(16);
        let int4 = format("int4");
        let short = Options {
            importances: Some(&[1.0]),
            ..options(Method::Search, 1)
        };
        let refused =
            |f: &str, method| quantize(&x, &[2, 8], &format(f), &options(method, 1)).expect_err(f);
        assert!(matches!(
            quantize(&x, &[2, 8], &int4, &short),
            Err(Error::Importances {
                columns: 8,
                found: 1
            })
        ));
        assert!(quantize(&x, &[3, 8], &int4, &Options::default()).is_err());
        assert!(quantize(&x, &[u64::MAX, 8], &int4, &Options::default()).is_err());
        let message = refused("squared", Method::Search).to_string();
        assert!(
            message.contains("`squared` is decode-only") && message.contains("`d`"),
            "{message}"
        );
        assert!(matches!(
            refused("nested", Method::Nearest),
            Error::NoClause { .. }
        ));
        let empty = quantize(&[], &[0, 8], &int4, &Options::default()).expect("no values");
        assert!(empty.bytes().is_empty());
    }

    #[test]
    fn fidelity_is_of_the_errors() {
        let t = Tensor::from_f32(&[4], &[1.0, 2.0, 3.0, 0.0]).expect("a tensor");
        let f = fidelity(&[1.0, 2.0, 1.0, f32::NAN], &t).expect("compared");
        assert_eq!((f.max_error, f.bits_per_weight), (2.0, 32.0));
        assert!((f.rmse - (4.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((f.sqnr_db - 10.0 * 1.5f64.log10()).abs() < 1e-12);
        let exact = fidelity(&[1.0, 2.0, 3.0, 0.0], &t).expect("compared");
        assert_eq!((exact.rmse, exact.sqnr_db), (0.0, f64::INFINITY));
        assert!(fidelity(&[1.0], &t).is_err());
    }
}
