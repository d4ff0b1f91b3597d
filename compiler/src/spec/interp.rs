//! The reference interpreter: the meaning of a kernel, in f64, with a bound on what f32 machine code may differ.
//!
//! - Sums and arithmetic are exact reals (computed in f64). Decoding and quantising follow their declared f32 arithmetic.
//! - A statement whose value is one load is declared arithmetic: machine code must give the same bits.
//! - Integers stay exact while they are below 2^24, and always if they end in an integer tensor.
//! - Otherwise the bound follows every operation: what its operands may be off, plus a rounding of the largest sum that
//!   any order and any distribution of products over sums may pass through.
//! - Intermediates and outputs are kept as they are stored; their bound is carried on.

use super::bind::{BindError, check_positions};
use super::kernel::*;
use crate::format::codec::{self, CodecError};
use crate::format::layout::move_codes;
use crate::format::refuse::check_codes;
use crate::format::{Element, Format, FormatKind};
use cranelift_entity::{EntityRef, SecondaryMap};
use std::borrow::Cow;

mod number;
mod quantize;
mod tables;

pub use tables::{NEIGHBOURS, SHARE as TABLE_SHARE};

use number::{EPS, EXACT, Num, binary, select, unary};

/// Most elements of a tensor.
const MAX_ELEMENTS: u64 = 1 << 31;

/// A tensor that a kernel made.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// The values, in row-major order.
    pub values: Vec<f64>,
    /// How far machine code may be off: |machine - value|. 0 demands the same number.
    pub bound: Vec<f64>,
    /// The tensor in its format.
    pub bytes: Vec<u8>,
}

/// Why a kernel cannot be evaluated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InterpError {
    /// The extents given are too few or too many.
    #[error("the kernel has {expected} dimensions, but {found} extents were given")]
    Dims {
        /// Dimensions of the kernel.
        expected: usize,
        /// Extents given.
        found: usize,
    },
    /// An extent contradicts one that is bound.
    #[error("dimension `{name}` is bound to {bound}, but {found} was given")]
    Bound {
        /// Its name.
        name: String,
        /// What it is bound to.
        bound: u64,
        /// What was given.
        found: u64,
    },
    /// A tensor was not given.
    #[error("no data for `{0}`")]
    Missing(String),
    /// The data of a tensor does not fit.
    #[error("`{tensor}`: {error}")]
    Data {
        /// The tensor.
        tensor: String,
        /// What does not fit.
        error: CodecError,
    },
    /// A position looked up lies outside.
    #[error("`{tensor}` is read at position {position} of an axis of extent {extent}")]
    Outside {
        /// The tensor.
        tensor: String,
        /// The position.
        position: i64,
        /// The extent of the axis.
        extent: u64,
    },
    /// A fixed position lies outside.
    #[error(transparent)]
    Position(#[from] BindError),
    /// A tensor has too many elements.
    #[error("`{0}` has more than 2^31 elements")]
    TooLarge(String),
}

/// The outputs of a kernel, in the order of its tensors. `dims` has the extent of every dimension; `inputs` the bytes of
/// every tensor that is given, in its declared format.
pub fn evaluate(
    kernel: &Kernel,
    dims: &[u64],
    inputs: &[Option<&[u8]>],
) -> Result<Vec<(TensorId, Evaluated)>, InterpError> {
    let mut m = Machine::new(kernel, dims)?;
    for (id, t) in kernel.tensors.iter() {
        m.shapes[id] = t.shape.iter().map(|e| m.extent(*e)).collect();
        let count = m.shapes[id]
            .iter()
            .try_fold(1u64, |a, b| a.checked_mul(*b))
            .filter(|n| *n <= MAX_ELEMENTS);
        count.ok_or_else(|| InterpError::TooLarge(t.name.clone()))?;
        if matches!(t.role, Role::Weight | Role::Stored | Role::Input) {
            let bytes = inputs
                .get(id.index())
                .copied()
                .flatten()
                .ok_or_else(|| InterpError::Missing(t.name.clone()))?;
            let in_bytes = m.is_in_bytes(id);
            m.data[id] = load(&t.format, &m.shapes[id], bytes, kernel.tables, in_bytes).map_err(
                |error| InterpError::Data {
                    tensor: t.name.clone(),
                    error,
                },
            )?;
            m.bytes[id] = Cow::Borrowed(bytes);
        }
    }
    check_positions(kernel, &|e| Some(m.extent(e)))?;
    let mut out = Vec::new();
    for s in &kernel.statements {
        for t in &s.targets {
            let result = m.target(t)?;
            if kernel.tensors[t.tensor].role == Role::Output {
                out.push((t.tensor, result));
            }
        }
    }
    out.sort_by_key(|(t, _)| *t);
    Ok(out)
}

/// A tensor's elements.
#[derive(Clone, Default)]
struct Data {
    values: Vec<f64>,
    /// What machine code may be off by; empty means 0.
    bound: Vec<f64>,
    /// What may be added to that when decoding is merged with other arithmetic; empty means 0.
    decoding: Vec<f64>,
    /// The largest intermediate magnitude of decoding; empty means the value's own.
    magnitude: Vec<f64>,
    /// How far apart the values are that an element's code could have where it stands; empty means 0.
    span: Vec<f64>,
    integer: bool,
}

impl Data {
    fn num(&self, at: usize, merged: bool) -> Num {
        let v = self.values.get(at).copied().unwrap_or(0.0);
        let of = |list: &[f64]| list.get(at).copied().unwrap_or(0.0);
        let b = of(&self.bound) + if merged { of(&self.decoding) } else { 0.0 };
        Num {
            v,
            b,
            m: v.abs().max(of(&self.magnitude)),
        }
    }
}

/// Decodes the bytes of a tensor.
fn load(
    format: &Format,
    shape: &[u64],
    bytes: &[u8],
    tables: Tables,
    in_bytes: bool,
) -> Result<Data, CodecError> {
    let span = match tables {
        Tables::Exact => Vec::new(),
        Tables::Int8 => tables::spans(format, shape, bytes),
    };
    Ok(Data {
        span,
        ..decode(format, shape, bytes, in_bytes)?
    })
}

fn decode(
    format: &Format,
    shape: &[u64],
    bytes: &[u8],
    in_bytes: bool,
) -> Result<Data, CodecError> {
    codec::check_bytes(format, shape, bytes)?;
    check_codes(format, shape, bytes)?;
    match &format.kind {
        FormatKind::Plain(e) => {
            let code = |c: &[u8]| e.decode(codec::read_code(c, 0, e.bits()));
            let values = bytes
                .chunks_exact(e.storage_bytes() as usize)
                .map(code)
                .collect();
            Ok(Data {
                values,
                integer: e.is_integer(),
                ..Data::default()
            })
        }
        FormatKind::Block(b) => {
            let values: Vec<f64> = codec::decode_tensor(format, shape, bytes)?
                .into_iter()
                .map(f64::from)
                .collect();
            let integer = quantize::integer_value(b);
            let magnitude = quantize::magnitudes(b, in_bytes, shape, bytes);
            let operations = quantize::operations(&b.value) as f64;
            let decoding = if integer {
                Vec::new()
            } else {
                magnitude.iter().map(|m| operations * EPS * m).collect()
            };
            Ok(Data {
                values,
                decoding,
                magnitude,
                integer,
                ..Data::default()
            })
        }
    }
}

struct Machine<'a> {
    kernel: &'a Kernel,
    dims: &'a [u64],
    shapes: SecondaryMap<TensorId, Vec<u64>>,
    data: SecondaryMap<TensorId, Data>,
    /// Bytes of the tensors whose codes may be moved.
    bytes: SecondaryMap<TensorId, Cow<'a, [u8]>>,
    /// The current value of each index.
    index: SecondaryMap<IndexId, u64>,
    /// Whether an index that is reduced over has its last value.
    last: bool,
}

impl<'a> Machine<'a> {
    fn new(kernel: &'a Kernel, dims: &'a [u64]) -> Result<Self, InterpError> {
        if dims.len() != kernel.dims.len() {
            return Err(InterpError::Dims {
                expected: kernel.dims.len(),
                found: dims.len(),
            });
        }
        for (d, n) in kernel.dims.values().zip(dims) {
            if let Some(bound) = d.bound.filter(|b| b != n) {
                return Err(InterpError::Bound {
                    name: d.name.clone(),
                    bound,
                    found: *n,
                });
            }
        }
        Ok(Machine {
            kernel,
            dims,
            shapes: SecondaryMap::new(),
            data: SecondaryMap::new(),
            bytes: SecondaryMap::new(),
            index: SecondaryMap::new(),
            last: false,
        })
    }

    fn extent(&self, e: Extent) -> u64 {
        let value = e.value(|d| self.dims.get(d.index()).copied());
        value.unwrap_or(0)
    }

    /// Whether the codes of a tensor that is given may be multiplied in bytes, which other tensors have.
    fn is_in_bytes(&self, id: TensorId) -> bool {
        let mut others = self.kernel.tensors.iter().filter(|(other, _)| *other != id);
        others.any(|(_, t)| quantize::has_bytes(&t.format))
    }

    /// Whether an expression is made of integers only.
    fn integer(&self, e: ExprId, of: &SecondaryMap<ExprId, bool>) -> bool {
        match &self.kernel.exprs[e] {
            Expr::Const(c) => c.fract() == 0.0,
            Expr::Dim(_) => true,
            Expr::Load(t, _) => self.data[*t].integer,
            Expr::Unary(Func::Neg | Func::Abs, a) => of[*a],
            Expr::Unary(f, _) => f.to_integer(),
            Expr::Binary(op, a, b) => *op != Binary::Div && of[*a] && of[*b],
            Expr::Select(_, _, a, b) => of[*a] && of[*b],
            Expr::Reduce(_, _, a) => of[*a],
        }
    }

    /// The codes of a tensor in the layout of a result, which is kept.
    fn moved(&mut self, source: TensorId, target: TensorId) -> Result<Evaluated, InterpError> {
        let (from, to) = (&self.kernel.tensors[source], &self.kernel.tensors[target]);
        let data = self.data[source].clone();
        let moved = move_codes(
            &from.format,
            &to.format,
            &self.shapes[target],
            &self.bytes[source],
        );
        let bytes = moved.map_err(|error| InterpError::Data {
            tensor: from.name.clone(),
            error,
        })?;
        self.bytes[target] = Cow::Owned(bytes.clone());
        self.data[target] = data.clone();
        let mut bound = data.bound;
        bound.resize(data.values.len(), 0.0);
        Ok(Evaluated {
            values: data.values,
            bound,
            bytes,
        })
    }

    /// Evaluates one result over all its elements, and keeps it.
    fn target(&mut self, t: &Target) -> Result<Evaluated, InterpError> {
        let kernel = self.kernel;
        if let (Store::Codes, Expr::Load(source, _)) = (t.store, &kernel.exprs[t.value]) {
            return self.moved(*source, t.tensor);
        }
        let tensor = &kernel.tensors[t.tensor];
        let shape = self.shapes[t.tensor].clone();
        let exact = self.exact_limits(t.value, &tensor.format);
        let integer = exact[t.value] > 0.0;
        let single = matches!(kernel.exprs[t.value], Expr::Load(..));
        let count: u64 = shape.iter().product();
        let mut nums = Vec::new();
        for n in 0..count {
            let mut rest = n;
            for (i, extent) in t.index.iter().zip(&shape).rev() {
                self.index[*i] = rest % extent;
                rest /= extent;
            }
            nums.push(self.eval(t.value, &exact, !single)?);
        }
        let data_error = |error| InterpError::Data {
            tensor: tensor.name.clone(),
            error,
        };
        let (result, integer) = if t.store == Store::Quantized {
            (
                quantize::quantize(&tensor.format, &shape, &nums).map_err(data_error)?,
                false,
            )
        } else {
            (store(&tensor.format, &nums), integer)
        };
        let mut data = load(&tensor.format, &shape, &result.bytes, kernel.tables, false)
            .map_err(data_error)?;
        self.bytes[t.tensor] = Cow::Owned(result.bytes.clone());
        data.bound = result.bound.clone();
        data.integer |= integer && result.values.iter().all(|v| v.abs() < EXACT);
        self.data[t.tensor] = data;
        Ok(result)
    }

    /// For each expression, the magnitude below which its arithmetic is exact: integers are, as far as f32 holds them,
    /// and without limit where they lead to an integer tensor by integers alone.
    fn exact_limits(&self, root: ExprId, format: &Format) -> SecondaryMap<ExprId, f64> {
        let (mut integer, mut exact) = (SecondaryMap::new(), SecondaryMap::with_default(0.0));
        for e in self.kernel.exprs.keys() {
            integer[e] = self.integer(e, &integer);
            exact[e] = if integer[e] { EXACT } else { 0.0 };
        }
        let plain = matches!(
            &format.kind,
            FormatKind::Plain(Element::Int { .. } | Element::UInt { .. })
        );
        let mut open = if plain { vec![root] } else { Vec::new() };
        while let Some(e) = open.pop() {
            if !integer[e] {
                continue;
            }
            exact[e] = f64::INFINITY;
            match &self.kernel.exprs[e] {
                Expr::Const(_) | Expr::Dim(_) | Expr::Load(..) => {}
                Expr::Unary(_, a) | Expr::Reduce(_, _, a) => open.push(*a),
                Expr::Binary(_, a, b) | Expr::Select(_, _, a, b) => open.extend([*a, *b]),
            }
        }
        exact
    }

    fn eval(
        &mut self,
        e: ExprId,
        exact: &SecondaryMap<ExprId, f64>,
        merged: bool,
    ) -> Result<Num, InterpError> {
        let kernel = self.kernel;
        let limit = exact[e];
        Ok(match &kernel.exprs[e] {
            Expr::Const(c) => Num {
                v: *c,
                b: if *c as f32 as f64 == *c {
                    0.0
                } else {
                    (*c as f32 as f64 - *c).abs()
                },
                m: c.abs(),
            },
            Expr::Dim(d) => {
                let v = self.extent(Extent::Dim(*d)) as f64;
                Num::rounded(v, 0.0, v, 1.0, EXACT)
            }
            Expr::Load(t, subscripts) => {
                let at = self.offset(*t, subscripts)?;
                let n = self.data[*t].num(at, merged);
                // an integer too large for f32 is rounded when it meets other arithmetic
                if merged && limit > 0.0 {
                    Num::rounded(n.v, n.b, n.m, 1.0, limit)
                } else {
                    n
                }
            }
            Expr::Unary(f, a) => unary(*f, self.eval(*a, exact, true)?),
            Expr::Binary(op, a, b) => {
                let (x, y) = (self.eval(*a, exact, true)?, self.eval(*b, exact, true)?);
                let product = binary(*op, x, y, limit);
                let rounded = kernel.tables == Tables::Int8 && *op == Binary::Mul;
                match rounded {
                    true => self.in_tables(product, *a, *b)?,
                    false => product,
                }
            }
            Expr::Select(c, [a, b], then, otherwise) => {
                let (a, b) = (self.eval(*a, exact, true)?, self.eval(*b, exact, true)?);
                let (x, y) = (
                    self.eval(*then, exact, true)?,
                    self.eval(*otherwise, exact, true)?,
                );
                select(*c, a, b, x, y)
            }
            Expr::Reduce(r, indices, body) => self.reduce(*r, indices, *body, exact)?,
        })
    }

    fn reduce(
        &mut self,
        r: Reduce,
        indices: &[IndexId],
        body: ExprId,
        exact: &SecondaryMap<ExprId, f64>,
    ) -> Result<Num, InterpError> {
        let extents: Vec<u64> = indices
            .iter()
            .map(|i| self.extent(self.kernel.indices[*i].extent))
            .collect();
        let count: u128 = extents.iter().map(|e| u128::from(*e)).product();
        let mut total = match r {
            Reduce::Sum => Num {
                v: 0.0,
                b: 0.0,
                m: 0.0,
            },
            Reduce::Max => Num {
                v: f64::NEG_INFINITY,
                b: 0.0,
                m: 0.0,
            },
        };
        let around = self.last;
        let mut n = 0u128;
        while n < count {
            let mut rest = n;
            for (i, extent) in indices.iter().zip(&extents).rev() {
                self.index[*i] = (rest % u128::from(*extent)) as u64;
                rest /= u128::from(*extent);
            }
            let at_end = |(i, extent): (&IndexId, &u64)| self.index[*i] + 1 == *extent;
            self.last = around || indices.iter().zip(&extents).any(at_end);
            let x = self.eval(body, exact, true)?;
            total = match r {
                Reduce::Sum => Num {
                    v: total.v + x.v,
                    b: total.b + x.b,
                    m: total.m + x.m,
                },
                Reduce::Max => Num {
                    v: total.v.max(x.v),
                    b: total.b.max(x.b),
                    m: total.m.max(x.m),
                },
            };
            n += 1;
        }
        self.last = around;
        Ok(match r {
            // f64 is not exact either, but 2^-29 of the bound is not worth a word
            Reduce::Sum => Num::rounded(
                total.v,
                total.b,
                total.m,
                (count as f64).max(1.0),
                exact[body],
            ),
            Reduce::Max => total,
        })
    }

    fn offset(&mut self, t: TensorId, subscripts: &[Subscript]) -> Result<usize, InterpError> {
        let kernel = self.kernel;
        let mut at = 0u64;
        for (axis, s) in subscripts.iter().enumerate() {
            let extent = self.shapes[t].get(axis).copied().unwrap_or(1);
            let position = match s {
                Subscript::Index(i) => self.index[*i],
                Subscript::Quotient(i, by) => self.index[*i] / by,
                Subscript::Const(n) => *n,
                Subscript::Gather(g, inner) => {
                    let place = self.offset(*g, inner)?;
                    let v = self.data[*g].num(place, false).v;
                    if !(v >= 0.0 && v < extent as f64) {
                        return Err(InterpError::Outside {
                            tensor: kernel.tensors[t].name.clone(),
                            position: v as i64,
                            extent,
                        });
                    }
                    v as u64
                }
            };
            at = at * extent + position;
        }
        Ok(at as usize)
    }
}

/// Stores numbers in a plain format.
fn store(format: &Format, nums: &[Num]) -> Evaluated {
    let mut out = Evaluated {
        values: Vec::new(),
        bound: Vec::new(),
        bytes: Vec::new(),
    };
    let FormatKind::Plain(e) = &format.kind else {
        return out; // the checker has seen to it that blocks are quantised
    };
    let size = e.storage_bytes() as usize;
    let (low, high) = e.reach();
    for n in nums {
        let code = e.encode_f64(n.v);
        out.bytes.extend_from_slice(&code.to_le_bytes()[..size]);
        let exact = n.b == 0.0;
        if exact || !(low..=high).contains(&n.v) {
            out.values.push(e.decode(code));
            out.bound.push(if exact { 0.0 } else { n.b });
        } else {
            out.values.push(n.v);
            out.bound.push(n.b + quantize::step(e, code) / 2.0);
        }
    }
    out
}
