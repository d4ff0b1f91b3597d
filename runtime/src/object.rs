//! Objects: the code of a kernel as an ELF file for linkers, for any target, also for one that does not run here.

use crate::call::{divisible, tasks};
use crate::kernel::Made;
use crate::{Error, Kernel};
use lowbit_compiler::codegen;
use lowbit_compiler::format::layout::layout_id;
use lowbit_compiler::spec::kernel::{Role, TensorId};
use lowbit_compiler::vector::ir::{Param, ParamKind, Scalar};
use std::fmt::{Display, Formatter};

/// Code that C calls as `void symbol(const uint64_t *words)`: one word for each of [`Object::params`], in their order. A word
/// is the address of a buffer, of any alignment, or a number; [`Prepared::words`](crate::Prepared::words) says what a call
/// passes, [`Object::header`] how to compute it. Written buffers overlap no other one. Nothing is checked: what is passed has
/// to be what the header says.
#[derive(Clone, Debug)]
pub struct Object {
    /// The ELF file. It needs no other symbol.
    pub bytes: Vec<u8>,
    /// The name of the function.
    pub symbol: String,
    /// The batch that the code is made for: this many rows or more. It is right for every other too.
    pub batch: u64,
    /// What the function takes.
    pub params: Vec<Param>,
    header: String,
}

impl Object {
    /// A header of C that declares the function, and says what each word is.
    pub fn header(&self) -> &str {
        &self.header
    }
}

impl Kernel {
    /// The code for calls of `batch` rows as an object that defines `symbol`. The same kernel and version give the same
    /// bytes. Weights lie in the layout of this kernel ([`Kernel::convert`]), whose layouts depend on the target.
    ///
    /// ```
    /// let target = lowbit::compiler::target::Target::named("aarch64")?;
    /// let text = "language 1;
    ///     kernel scale(input x: f32[N]) -> output y: f32[N] { y[n] = 2 * x[n]; }";
    /// let kernel = lowbit::Engine::new(target)?.compile(text, &[])?;
    /// let object = kernel.object("scale", 1)?;
    /// assert!(object.bytes.starts_with(b"\x7fELF"));
    /// assert!(object.header().contains("void scale(const uint64_t *words);"));
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Codegen`] if `symbol` is no name of C, or if the code cannot be generated.
    pub fn object(&self, symbol: &str, batch: u64) -> Result<Object, Error> {
        let batch = self.class_of(batch);
        let made = self.class(batch)?;
        let function = &made.program.function;
        Ok(Object {
            bytes: codegen::object(function, &self.target().features, symbol)?,
            symbol: symbol.to_owned(),
            batch,
            params: function.params.values().cloned().collect(),
            header: header(self, made, symbol, batch),
        })
    }
}

fn header(kernel: &Kernel, made: &Made, symbol: &str, batch: u64) -> String {
    let target = &kernel.target().name;
    let mut text = format!(
        "/* `{}` for {target}, made for batches of {batch} or more. `words` holds:\n",
        kernel.name()
    );
    let (params, tensors) = (made.program.function.params.values(), &made.program.normal);
    let find = |name: &str| {
        let mut tensors = tensors.kernel.tensors.iter();
        tensors.find(|(_, t)| t.name == name).map(|(id, _)| id)
    };
    let number = |scalar: &Scalar| {
        let text = Formula(kernel, scalar).to_string();
        let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')'));
        inner.map_or(text.clone(), str::to_owned)
    };
    let parts = divisible(&made.program);
    for (at, param) in params.enumerate() {
        let what = match &param.kind {
            ParamKind::Read => format!("const void *{}", buffer(kernel, &param.name, find)),
            ParamKind::Write => format!("void *{}", buffer(kernel, &param.name, find)),
            ParamKind::Scratch { bytes } => {
                format!(
                    "void *{}: {} bytes of any content",
                    param.name,
                    number(bytes)
                )
            }
            ParamKind::Scalar(scalar) => format!("{}: {}", param.name, number(scalar)),
            ParamKind::RangeStart if parts => "the first part of the results: 0 for all".to_owned(),
            ParamKind::RangeStart => "0: these results have no parts".to_owned(),
            ParamKind::RangeEnd => {
                let tasks = number(&tasks(&made.program).unwrap_or(Scalar::Const(0)));
                match parts {
                    true => format!("one past the last part: {tasks} + 1 for all"),
                    false => format!("{tasks} + 1"),
                }
            }
        };
        text.push_str(&format!("   [{at}] {what}\n"));
    }
    text.push_str(&format!(
        "*/\n#include <stdint.h>\nvoid {symbol}(const uint64_t *words);\n"
    ));
    text
}

/// A buffer of a tensor: its format and shape.
fn buffer(kernel: &Kernel, name: &str, find: impl Fn(&str) -> Option<TensorId>) -> String {
    let spec = kernel.spec();
    let Some(id) = find(name).filter(|id| spec.tensors.get(*id).is_some_and(|t| t.name == name))
    else {
        return name.to_owned();
    };
    let tensor = &spec.tensors[id];
    let extents = tensor.shape.iter().map(|e| {
        let bound = e.value(|d| spec.dims[d].bound);
        bound.map_or_else(|| spec.extent_text(*e), |b| b.to_string())
    });
    let shape: Vec<String> = extents.collect();
    let format = kernel.layout_of(id);
    let layout = match tensor.role {
        Role::Weight => format!(", layout {}", layout_id(&format)),
        Role::Stored | Role::Input | Role::Output | Role::Local => String::new(),
    };
    format!("{name}: {}[{}]{layout}", format.name, shape.join(", "))
}

/// A number as people write it, with the names of dimensions.
struct Formula<'a>(&'a Kernel, &'a Scalar);

impl Display for Formula<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Formula(kernel, scalar) = self;
        let part = |scalar| Formula(kernel, scalar);
        match scalar {
            Scalar::Const(n) => write!(f, "{n}"),
            Scalar::Dim(d) => match kernel.spec().dims.values().nth(*d as usize) {
                Some(dim) => match dim.bound {
                    Some(bound) => write!(f, "{bound}"),
                    None => f.write_str(&dim.name),
                },
                None => write!(f, "d{d}"),
            },
            Scalar::Add(a, b) => write!(f, "({} + {})", part(a), part(b)),
            Scalar::Sub(a, b) => write!(f, "max({} - {}, 0)", part(a), part(b)),
            Scalar::Mul(a, b) => write!(f, "({} * {})", part(a), part(b)),
            Scalar::Div(a, b) => write!(f, "({} / {})", part(a), part(b)),
            Scalar::DivCeil(a, b) => write!(f, "ceil({} / {})", part(a), part(b)),
            Scalar::Rem(a, b) => write!(f, "({} % {})", part(a), part(b)),
            Scalar::Min(a, b) => write!(f, "min({}, {})", part(a), part(b)),
        }
    }
}
