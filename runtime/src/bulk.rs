//! Bulk work on whole tensors: decoding and rounding to nearest through compiled kernels, on several threads. The reference
//! codec says what the results are; here they are computed at the speed of the memory.

use crate::kernel::layout_error;
use crate::memory::{Memory, Part};
use crate::{Engine, Error, Kernel, Options, Scratch, SharedBytes, Tensor};
use lowbit_compiler::format::codec::CodecError;
use lowbit_compiler::format::layout::same_layout;
use lowbit_compiler::format::text::definition;
use lowbit_compiler::format::{BlockFormat, Element, Format, FormatKind};
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Values that one thread takes at a time through a kernel.
const CHUNK: u64 = 1 << 18;

/// Decodes tensors of one format.
pub struct Decoder {
    format: Arc<Format>,
    kernel: Kernel,
}

/// Quantises values into one format.
pub struct Encoder {
    format: Arc<Format>,
    kernel: Kernel,
}

/// Rows that are worked on together.
pub(crate) struct Chunk {
    /// Positions of their values.
    pub(crate) values: Range<usize>,
    /// Positions of their bytes.
    pub(crate) bytes: Range<usize>,
    /// How many there are.
    pub(crate) rows: u64,
}

/// Compiles a kernel over a format, by their texts.
fn compile(engine: &Engine, format: &str, kernel: &str) -> Result<Kernel, Error> {
    let text = format!("language 1;\n{format}{kernel}\n");
    let module = engine.load(&text)?;
    engine.compile_module(&module, &[], &Options::default())
}

/// The text of a format under another name.
pub(crate) fn named(name: &str, format: &Format) -> String {
    definition(&Format {
        name: name.into(),
        ..format.clone()
    })
}

impl Decoder {
    /// Compiles the kernel.
    ///
    /// # Errors
    ///
    /// What compiling gives for a format that no kernel can read.
    pub fn new(engine: &Engine, format: &Arc<Format>) -> Result<Decoder, Error> {
        let text =
            "kernel decode(stored w: whole[N, K]) -> output y: f32[N, K] { y[n, k] = w[n, k]; }";
        Ok(Decoder {
            format: format.clone(),
            kernel: compile(engine, &named("whole", format), text)?,
        })
    }

    /// The values of a tensor, outermost axis first, computed by so many threads.
    ///
    /// # Errors
    ///
    /// If the tensor is in another layout.
    pub fn decode(&self, tensor: &Tensor, threads: usize) -> Result<Vec<f32>, Error> {
        if !same_layout(&self.format, tensor.format()) {
            return Err(layout_error("w", tensor, &self.format));
        }
        if !is_one_matrix(&self.format, tensor.shape()) {
            return tensor.to_f32();
        }
        let (chunks, columns) = chunks(&self.format, tensor.shape(), CHUNK)?;
        let count: u64 = tensor.shape().iter().product();
        let mut out = vec![0.0; count as usize];
        let jobs = jobs(chunks, &mut out, |chunk| &chunk.values);
        let bytes = tensor.shared();
        run(jobs, threads, |(chunk, values), scratch| {
            let part: SharedBytes = Arc::new(Part {
                all: bytes.clone(),
                range: chunk.bytes,
            });
            let w = Tensor::of_legal(tensor.format().clone(), &[chunk.rows, columns], part)?;
            let mut decoded = vec![0; 4 * values.len()];
            self.kernel
                .call_into(&[("w", &w)], &mut [&mut decoded], scratch)?;
            for (value, bytes) in values.iter_mut().zip(decoded.chunks_exact(4)) {
                *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
            Ok(())
        })?;
        Ok(out)
    }
}

impl Encoder {
    /// Compiles the kernel.
    ///
    /// # Errors
    ///
    /// If the format has no `encode` clause, and what compiling gives for one that no kernel can write.
    pub fn new(engine: &Engine, format: &Arc<Format>) -> Result<Encoder, Error> {
        let (value, whole) = match &format.kind {
            FormatKind::Plain(e @ Element::Codebook(_)) if e.is_integer() => {
                // A kernel assigns whole numbers to such a table. Blocks of one element, which lie as the elements do, take the
                // nearest entry.
                let block = format!(
                    "format whole = block i < 1, bytes {} {{
                        q[i]: entry at 0;
                        value = q[i];
                        encode x {{ q[i] = x[i]; }}
                    }}\n",
                    e.storage_bytes()
                );
                ("quantize x[n, k] as whole", named("entry", format) + &block)
            }
            FormatKind::Plain(e) if e.is_integer() => ("round(x[n, k])", named("whole", format)),
            FormatKind::Plain(_) => ("x[n, k]", named("whole", format)),
            FormatKind::Block(BlockFormat { encode: None, .. }) => {
                return Err(Error::Codec(CodecError::NoClause {
                    format: format.name.clone(),
                }));
            }
            FormatKind::Block(_) => ("quantize x[n, k] as whole", named("whole", format)),
        };
        let text = format!(
            "kernel encode(input x: f32[N, K]) -> output w: whole[N, K] {{ w[n, k] = {value}; }}"
        );
        let kernel = compile(engine, &whole, &text)?;
        Ok(Encoder {
            format: format.clone(),
            kernel,
        })
    }

    /// Values in the format, each code the nearest one by the `encode` clause, computed by so many threads.
    ///
    /// # Errors
    ///
    /// If the values are not as many as the shape says.
    pub fn quantize(&self, shape: &[u64], values: &[f32], threads: usize) -> Result<Tensor, Error> {
        if !is_one_matrix(&self.format, shape) {
            return Tensor::quantize(self.format.clone(), shape, values);
        }
        let (chunks, columns) = chunks(&self.format, shape, CHUNK)?;
        check_count(shape, values.len())?;
        let size = self.format.tensor_bytes(shape).unwrap_or(0);
        let mut out = Memory::zeroed(size as usize)?;
        run(
            jobs(chunks, out.bytes(), |chunk| &chunk.bytes),
            threads,
            |(chunk, bytes), scratch| {
                let x = Tensor::from_f32(&[chunk.rows, columns], &values[chunk.values])?;
                self.kernel.call_into(&[("x", &x)], &mut [bytes], scratch)
            },
        )?;
        Tensor::of_legal(self.format.clone(), shape, out.share()?)
    }
}

/// An error if a shape has not so many elements.
pub(crate) fn check_count(shape: &[u64], found: usize) -> Result<(), CodecError> {
    let too_large = || CodecError::TooLarge {
        shape: shape.to_vec(),
    };
    let product = shape.iter().try_fold(1u64, |a, b| a.checked_mul(*b));
    match product.ok_or_else(too_large)? {
        expected if expected == found as u64 => Ok(()),
        expected => Err(CodecError::Elements {
            shape: shape.to_vec(),
            expected,
            found: found as u64,
        }),
    }
}

/// Cuts a shape into chunks of whole rows, in order, each of about so many values; and its columns. Rows that share blocks
/// are in one chunk.
pub(crate) fn chunks(
    format: &Format,
    shape: &[u64],
    values: u64,
) -> Result<(Vec<Chunk>, u64), Error> {
    let too_large = || CodecError::TooLarge {
        shape: shape.to_vec(),
    };
    let size = format.tensor_bytes(shape).ok_or_else(too_large)?;
    if size > isize::MAX as u64 {
        return Err(too_large().into());
    }
    let (rows, columns) = match shape {
        [] => (1, 1),
        [leading @ .., columns] => (leading.iter().product(), *columns),
    };
    // Blocks that several rows share end where a matrix ends.
    let (group, matrix) = match (&format.kind, shape) {
        // What all rows share has its place once.
        (FormatKind::Block(b), _) if b.frame.tensor != [0, 0] => (rows.max(1), rows.max(1)),
        (FormatKind::Block(b), [.., matrix, _]) if b.rows > 1 => (u64::from(b.rows), *matrix),
        _ => (1, rows),
    };
    let most = (values / columns.max(1) / group).max(1) * group;
    let (mut chunks, mut value, mut byte, mut done) = (Vec::new(), 0, 0, 0);
    while done < rows && columns > 0 {
        let count = most.min(matrix - done % matrix);
        let bytes = format
            .tensor_bytes(&[count, columns])
            .ok_or_else(too_large)? as usize;
        let values = (count * columns) as usize;
        chunks.push(Chunk {
            values: value..value + values,
            bytes: byte..byte + bytes,
            rows: count,
        });
        (value, byte, done) = (value + values, byte + bytes, done + count);
    }
    Ok((chunks, columns))
}

/// Chunks with the part of a result that each is to write, which begins behind that of the chunk before it.
pub(crate) fn jobs<T>(
    chunks: Vec<Chunk>,
    mut out: &mut [T],
    part: impl Fn(&Chunk) -> &Range<usize>,
) -> Vec<(Chunk, &mut [T])> {
    let each = chunks.into_iter().map(|chunk| {
        let (mine, others) = std::mem::take(&mut out).split_at_mut(part(&chunk).len());
        out = others;
        (chunk, mine)
    });
    each.collect()
}

/// Whether the rows of all matrices lie as those of one matrix would, or can be cut where a matrix ends. What the tensor has
/// once is in the way of that if rows share blocks.
fn is_one_matrix(format: &Format, shape: &[u64]) -> bool {
    match (&format.kind, shape) {
        (FormatKind::Block(b), [_, .., _, _]) => b.rows == 1 || b.frame.tensor == [0, 0],
        _ => true,
    }
}

/// Does the jobs on so many threads; the first error ends it.
pub(crate) fn run<J: Send>(
    jobs: Vec<J>,
    threads: usize,
    work: impl Fn(J, &mut Scratch) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let threads = threads.clamp(1, jobs.len().max(1));
    let waiting = Mutex::new(jobs.into_iter());
    let failed = Mutex::new(None);
    let next = || {
        let failed = failed.lock().ok()?;
        if failed.is_some() {
            return None;
        }
        waiting.lock().ok()?.next()
    };
    let worker = || {
        let mut scratch = Scratch::default();
        while let Some(job) = next() {
            if let Err(e) = work(job, &mut scratch)
                && let Ok(mut failed) = failed.lock()
            {
                failed.get_or_insert(e);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(worker);
        }
        worker();
    });
    match failed.into_inner() {
        Ok(Some(e)) => Err(e),
        Ok(None) | Err(_) => Ok(()),
    }
}
