//! Quantisation by search on whole tensors, on several threads; the compiler's `format/search/` finds the codes of a block.

use crate::bulk::{check_count, chunks, jobs, run};
use crate::{Error, Tensor};
use lowbit_compiler::format::search::{SearchPlan, search_tensor};
use lowbit_compiler::format::{Format, FormatKind};
use std::sync::Arc;

/// Values that one thread takes at a time: few, for a search takes microseconds for each.
const CHUNK: u64 = 1 << 14;

/// Finds the codes of the least squared error in one format.
pub struct Searcher {
    format: Arc<Format>,
    /// None for a plain format, which has nothing to search for: the nearest code is best.
    plan: Option<SearchPlan>,
}

impl Searcher {
    /// Reads from the format's `value` what there is to search for.
    ///
    /// # Errors
    ///
    /// [`Error::Search`] if `value` is not affine in each scale; [`Error::DecodeOnly`] if there is no `encode` clause
    /// either.
    pub fn new(format: &Arc<Format>) -> Result<Searcher, Error> {
        let plan = match &format.kind {
            FormatKind::Plain(_) => None,
            FormatKind::Block(block) => Some(SearchPlan::new(block).map_err(|reason| {
                let format = format.name.clone();
                match block.encode {
                    Some(_) => Error::Search { format, reason },
                    None => Error::DecodeOnly { format, reason },
                }
            })?),
        };
        Ok(Searcher {
            format: format.clone(),
            plan,
        })
    }

    /// Values in the format, computed by so many threads, which do not change the result. Importances weigh the squared
    /// errors of the columns; what is negative or no number counts as 0. No block is worse than what the `encode` clause
    /// gives, if there is one. `progress` is told of every few thousand values that are done, from any of the threads.
    ///
    /// # Errors
    ///
    /// If values or importances are not as many as the shape says.
    pub fn quantize(
        &self,
        shape: &[u64],
        values: &[f32],
        importances: Option<&[f32]>,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Tensor, Error> {
        check_count(shape, values.len())?;
        let columns = shape.last().copied().unwrap_or(1);
        if let Some(found) = importances.map(|i| i.len() as u64)
            && found != columns
        {
            return Err(Error::Importances { columns, found });
        }
        let (FormatKind::Block(block), Some(plan)) = (&self.format.kind, &self.plan) else {
            let tensor = Tensor::quantize(self.format.clone(), shape, values)?;
            progress(values.len() as u64);
            return Ok(tensor);
        };
        let (chunks, columns) = chunks(&self.format, shape, CHUNK)?;
        let mut out = vec![0; self.format.tensor_bytes(shape).unwrap_or(0) as usize];
        run(
            jobs(chunks, &mut out, |chunk| &chunk.bytes),
            threads,
            |(chunk, bytes), _| {
                let count = chunk.values.len() as u64;
                let values = &values[chunk.values];
                let made = search_tensor(block, plan, &[chunk.rows, columns], values, importances)?;
                bytes.copy_from_slice(&made);
                progress(count);
                Ok(())
            },
        )?;
        Tensor::of_legal(self.format.clone(), shape, Arc::new(out))
    }
}

#[cfg(test)]
mod tests {
    use super::Searcher;
    use crate::{Error, Tensor};
    use lowbit_compiler::format::Format;
    use lowbit_compiler::spec::load;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    const TEXT: &str = "language 1;
        import \"std/ggml_iq\";
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

    fn searched(name: &str, shape: &[u64], x: &[f32], importances: Option<&[f32]>) -> Tensor {
        let searcher = Searcher::new(&format(name)).expect(name);
        let found = searcher.quantize(shape, x, importances, 2, &|_| ());
        found.expect(name)
    }

    fn error(x: &[f32], tensor: &Tensor) -> f64 {
        let y = tensor.to_f32().expect("values");
        let pairs = x.iter().zip(&y);
        pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum()
    }

    #[test]
    fn threads_do_not_change_the_bytes_and_progress_counts_every_value() {
        // rows in groups of four, more of them than a thread takes at a time
        let shape = [3, 5, 8200];
        let x = values(3 * 5 * 8200);
        for name in ["int4", "nested", "woven", "small"] {
            let searcher = Searcher::new(&format(name)).expect(name);
            let of = |threads, shape: &[u64], x: &[f32]| {
                let done = AtomicU64::new(0);
                let count = |n| {
                    done.fetch_add(n, Ordering::Relaxed);
                };
                let found = searcher.quantize(shape, x, None, threads, &count);
                assert_eq!(done.into_inner(), x.len() as u64, "{name}");
                found.expect(name)
            };
            let whole = of(3, &shape, &x);
            assert_eq!(whole.bytes(), of(1, &shape, &x).bytes(), "{name}");
            let matrices = x.chunks(5 * 8200).map(|m| of(1, &[5, 8200], m));
            let joined: Vec<u8> = matrices.flat_map(|m| m.bytes().to_vec()).collect();
            assert_eq!(whole.bytes(), joined, "{name}");
        }
    }

    #[test]
    fn a_search_comes_nearer_than_the_clause_and_serves_formats_without_one() {
        let shape = [7, 43];
        let x = values(7 * 43);
        for name in ["int4", "woven"] {
            let nearest = Tensor::quantize(format(name), &shape, &x).expect(name);
            let found = searched(name, &shape, &x, None);
            assert!(error(&x, &found) < 0.96 * error(&x, &nearest), "{name}");
        }
        let energy: f64 = x.iter().map(|v| f64::from(*v).powi(2)).sum();
        let nested = searched("nested", &shape, &x, None);
        assert!(error(&x, &nested) < 0.05 * energy);
    }

    #[test]
    fn important_columns_come_nearer() {
        let shape = [16, 40];
        let x = values(16 * 40);
        let importances: Vec<f32> = (0..40)
            .map(|c| if c % 5 == 2 { 100.0 } else { 1.0 })
            .collect();
        let error = |importances: Option<&[f32]>| {
            let y = searched("nested", &shape, &x, importances).to_f32();
            let y = y.expect("values");
            let pairs = x.iter().zip(&y).skip(2).step_by(5);
            pairs.map(|(a, b)| (a - b).powi(2)).sum::<f32>()
        };
        let (with, without) = (error(Some(&importances)), error(None));
        assert!(with < 0.6 * without, "{with} and {without}");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let x = values(16);
        let int4 = Searcher::new(&format("int4")).expect("it is searched");
        let of = |shape: &[u64], importances: Option<&[f32]>| {
            int4.quantize(shape, &x, importances, 2, &|_| ())
        };
        let refused = of(&[2, 8], Some(&[1.0]));
        let short = Error::Importances {
            columns: 8,
            found: 1,
        };
        assert_eq!(
            refused.err().map(|e| e.to_string()),
            Some(short.to_string())
        );
        assert!(of(&[3, 8], None).is_err());
        assert!(of(&[u64::MAX, 8], None).is_err());
        let empty = int4.quantize(&[0, 8], &[], None, 2, &|_| ());
        assert!(empty.is_ok_and(|t| t.bytes().is_empty()));

        let refused = |name: &str| Searcher::new(&format(name)).err().map(|e| e.to_string());
        let message = refused("squared").expect("not affine");
        assert!(message.contains("`squared` is decode-only") && message.contains("`d`"));
        let message = refused("clause").expect("not affine");
        assert!(message.contains("only encoded by its clause"), "{message}");
        let message = refused("iq2_xxs").expect("a grid");
        assert!(message.contains("several elements"), "{message}");
    }
}
