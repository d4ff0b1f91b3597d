//! Packing: tensors in the layouts of kernels, by kernels that move codes. The reference codec says what the results are.

use crate::bulk::{check_count, named};
use crate::kernel::layout_error;
use crate::memory::Memory;
use crate::{Encoder, Engine, Error, Kernel, Options, Scratch, Tensor};
use lowbit_compiler::format::layout::{blocks_differ, is_layout_of, move_codes, same_layout};
use lowbit_compiler::format::sums::fill_sums;
use lowbit_compiler::format::{Format, FormatKind};
use lowbit_compiler::target::Target;
use std::sync::{Arc, Mutex};

/// Moves the codes of tensors from one layout to another of the same fields, exactly: between blocks, or from plain values into
/// blocks of them.
///
/// ```
/// use lowbit::{Engine, Packer, Tensor};
/// let engine = Engine::host()?;
/// let kernel = engine.compile(
///     "language 1; import \"std/ggml\";
///      kernel linear(weight w: q4_0[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
///          y[m, n] = sum(k) w[n, k] * x[m, k];
///      }",
///     &[("N", 8), ("K", 64)],
/// )?;
/// let declared = kernel.spec().tensors.values().next().map(|t| t.format.clone());
/// let stored = Tensor::quantize(declared.expect("a weight"), &[8, 64], &[0.5; 8 * 64])?;
/// let packer = Packer::new(&engine, stored.format(), &kernel.layout("w")?)?;
/// assert_eq!(packer.pack(&stored)?.bytes(), kernel.convert("w", &stored)?.bytes());
/// # Ok::<(), lowbit::Error>(())
/// ```
pub struct Packer {
    from: Arc<Format>,
    to: Arc<Format>,
    kernel: Kernel,
}

impl Packer {
    /// Compiles the kernel.
    ///
    /// # Errors
    ///
    /// [`Error::Fields`] if the second format is no layout in blocks of what the first holds, and what compiling gives where
    /// their groups of rows do not go together.
    pub fn new(engine: &Engine, from: &Arc<Format>, to: &Arc<Format>) -> Result<Packer, Error> {
        if let Some(reason) = blocks_differ(from, to) {
            return Err(Error::fields(from, to, reason));
        }
        let text = format!(
            "language 1;\n{}{}
             kernel pack(stored a: declared[E, N, K]) -> output w: packed[E, N, K] {{ w[e, n, k] = a[e, n, k]; }}\n",
            named("declared", from),
            named("packed", &without_sums(to))
        );
        let module = engine.load(&text)?;
        Ok(Packer {
            from: from.clone(),
            to: to.clone(),
            kernel: engine.compile_module(&module, &[], &Options::default())?,
        })
    }

    /// The kernel: `pack(stored a[E, N, K]) -> output w[E, N, K]`.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// A tensor in the other layout.
    ///
    /// # Errors
    ///
    /// If the tensor is in another layout than the first.
    pub fn pack(&self, tensor: &Tensor) -> Result<Tensor, Error> {
        if !same_layout(&self.from, tensor.format()) {
            return Err(layout_error("a", tensor, &self.from));
        }
        let shape = tensor.shape();
        let [matrices @ .., rows, columns] = &[&[1, 1], shape].concat()[..] else {
            return Err(Error::TooLarge(0));
        };
        let matrices = matrices.iter().product();
        let size = self.to.tensor_bytes(shape);
        let size = size.filter(|n| *n <= isize::MAX as u64);
        let size = size.ok_or(Error::TooLarge(u64::MAX))?;
        let mut memory = Memory::zeroed(size as usize)?;
        let bytes = memory.bytes();
        let a = Tensor::of_legal(
            self.from.clone(),
            &[matrices, *rows, *columns],
            tensor.shared(),
        )?;
        let scratch = &mut Scratch::default();
        self.kernel
            .call_into(&[("a", &a)], &mut [&mut *bytes], scratch)?;
        if let FormatKind::Block(to) = &self.to.kind {
            fill_sums(to, shape, bytes)?;
        }
        Tensor::of_legal(self.to.clone(), shape, memory.share()?)
    }
}

/// A layout as kernels write it: sums of rows are added up from the codes that they have moved.
fn without_sums(to: &Format) -> Format {
    let kind = match &to.kind {
        FormatKind::Block(block) => FormatKind::Block(block.without_sums()),
        plain => plain.clone(),
    };
    Format {
        name: to.name.clone(),
        kind,
    }
}

/// Kernels that bring weights into layouts, each made when it is first needed.
#[derive(Default)]
pub(crate) struct Packers {
    movers: List<Ways, Packer>,
    encoders: List<Arc<Format>, Encoder>,
}

/// From which layout to which.
type Ways = (Arc<Format>, Arc<Format>);

/// Kernels by what they are for; `None` where there is none.
type List<K, T> = Mutex<Vec<(K, Option<Arc<T>>)>>;

/// Elements from which on a tensor is worth compiling for; fewer go through the reference codec.
const WORTH: u64 = 1 << 16;

fn is_worth(shape: &[u64]) -> bool {
    shape.iter().fold(1, |n: u64, e| n.saturating_mul(*e)) >= WORTH
}

impl Packers {
    /// A tensor in another layout of the same fields.
    pub(crate) fn pack(
        &self,
        engine: &Engine,
        name: &str,
        tensor: &Tensor,
        to: &Arc<Format>,
    ) -> Result<Tensor, Error> {
        let from = tensor.format();
        if same_layout(to, from) {
            return Ok(tensor.clone());
        }
        if !is_layout_of(to, from) && !is_layout_of(from, to) {
            return Err(layout_error(name, tensor, to));
        }
        // Values in no blocks are assigned, not moved, which would make a NaN anew.
        let blocks = matches!(to.kind, FormatKind::Block(_));
        if blocks && is_worth(tensor.shape()) {
            let known = |k: &Ways| same_layout(&k.0, from) && same_layout(&k.1, to);
            let made = || Packer::new(&here(engine)?, from, to);
            if let Some(packer) = found_or(&self.movers, known, (from.clone(), to.clone()), made)? {
                return packer.pack(tensor);
            }
        }
        let bytes = move_codes(from, to, tensor.shape(), tensor.bytes())?;
        Tensor::of_legal(to.clone(), tensor.shape(), Arc::new(bytes))
    }

    /// Values in a format, each code the nearest by the `encode` clause.
    pub(crate) fn quantize(
        &self,
        engine: &Engine,
        format: &Arc<Format>,
        shape: &[u64],
        values: &[f32],
    ) -> Result<Tensor, Error> {
        if is_worth(shape) {
            check_count(shape, values.len())?;
            let made = || Encoder::new(&here(engine)?, format);
            let known = |f: &Arc<Format>| f == format;
            if let Some(encoder) = found_or(&self.encoders, known, format.clone(), made)? {
                return encoder.quantize(shape, values, 1);
            }
        }
        Tensor::quantize(format.clone(), shape, values)
    }
}

/// What is in a list already, else what is made, which it then has; `None` where the compiler has no kernel for it.
fn found_or<K, T>(
    list: &List<K, T>,
    is_it: impl Fn(&K) -> bool,
    key: K,
    make: impl FnOnce() -> Result<T, Error>,
) -> Result<Option<Arc<T>>, Error> {
    // A list whose user panicked lacks nothing but what it was to be given.
    let mut list = list.lock().unwrap_or_else(|e| e.into_inner());
    if let Some((_, found)) = list.iter().find(|(k, _)| is_it(k)) {
        return Ok(found.clone());
    }
    let made = match make() {
        Ok(made) => Some(Arc::new(made)),
        Err(Error::Compile(_)) => None,
        Err(e) => return Err(e),
    };
    list.push((key, made.clone()));
    Ok(made)
}

/// An engine for the kernels of packers: with the target of another, if its code runs here; else for this machine, since weights
/// may be packed for another. It has none of what the other has made, which has the packers.
fn here(engine: &Engine) -> Result<Engine, Error> {
    match engine.target.features.runs_here() {
        true => Ok(Engine::of(
            Target::clone(&engine.target),
            engine.rules.clone(),
        )),
        false => Engine::host(),
    }
}
