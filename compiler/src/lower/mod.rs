//! Lowering: extracted terms into loops over vector operations.
//!
//! In: for each statement of a kernel the placed parts with their chosen terms. Out: one function of the vector IR. Loops
//! over results are opened in the order of the axes; sums over the same loop share it; an operation is placed in the
//! innermost loop that one of its operands changes with, so that what is invariant is computed outside.

mod address;
mod bits;
mod codes;
mod decode;
mod encode;
mod fill;
mod frames;
mod known;
mod loads;
mod math;
mod multiples;
mod nearest;
mod nest;
mod relayout;
mod results;
pub mod sample;
mod slots;
mod stages;
mod values;

use crate::format::{BlockFormat, FormatKind};
use crate::rewrite::extract::Extracted;
use crate::rewrite::facts::Facts;
use crate::schedule::ScheduleError;
use crate::schedule::index::{Affine, AxisId, Sym};
use crate::schedule::place::{Part, Placed, stored_shape};
use crate::spec::kernel::{Extent, Kernel, Role, TensorId};
use crate::vector::build::Builder;
use crate::vector::ir::{Bin, Elem, Function, Op, ParamKind, Scalar, Shift, Type, Value};
use std::collections::BTreeMap;

pub use encode::EncodeJob;
pub use fill::FillJob;
pub use nest::trips;
pub use relayout::RelayoutJob;

/// A part of a statement with the term chosen for it.
pub struct Chosen<'a> {
    /// Which part.
    pub part: Part,
    /// The placed statement.
    pub placed: &'a Placed,
    /// Facts that the term refers to.
    pub facts: &'a Facts,
    /// The term.
    pub term: &'a Extracted,
}

/// What one step of a kernel computes.
pub enum Job<'a> {
    /// Results of a statement, in parts that together cover it.
    Compute(Vec<Chosen<'a>>),
    /// Quantisation of a plain tensor into a block format.
    Encode(EncodeJob),
    /// A copy of a plain tensor whose rows go on with zeros.
    Fill(FillJob),
    /// Codes of a tensor in another layout.
    Relayout(RelayoutJob),
}

/// Values of axes that are known where code is emitted (copies and lanes).
type Env = BTreeMap<AxisId, u64>;

/// The state of lowering one function.
struct Lower<'a> {
    kernel: &'a Kernel,
    b: Builder,
    /// Depth of the region that a value lives in.
    depth: BTreeMap<Value, usize>,
    pointers: BTreeMap<TensorId, Value>,
    scalars: BTreeMap<Scalar, Value>,
    /// Constants by type and contents; all are made in the body.
    constants: BTreeMap<String, Value>,
    /// Results of operations on two values, which are the same wherever both are known.
    binary: BTreeMap<(Bin, Value, Value), Value>,
    /// The lanes of constants that are integers.
    known: BTreeMap<Value, Vec<u64>>,
    /// Multiples of bytes modulo 256, by value and number.
    multiples: BTreeMap<Value, BTreeMap<u8, Value>>,
    /// The bytes and the number of a multiple.
    multiple_of: BTreeMap<Value, (Value, u8)>,
    range: Option<(Value, Value)>,
    /// Pointers and counts made on the way, by region depth.
    addresses: Vec<BTreeMap<Prefix, Value>>,
    counters: BTreeMap<AxisId, Value>,
    stages: u32,
}

/// The first terms of an address (symbol, coefficient, and the value that stands for it), after a base and a fixed part.
type Prefix = (Base, Vec<(Sym, Scalar, u64)>, Scalar);

/// What an address starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Base {
    Tensor(TensorId),
    Stage(Value),
    Zero,
}

/// Lowers the jobs of a kernel into one function. The last job is the one that row ranges divide.
pub fn lower(kernel: &Kernel, jobs: &[Job<'_>]) -> Result<Function, ScheduleError> {
    let mut lower = Lower::new(kernel, &kernel.name);
    lower.parameters();
    for (at, job) in jobs.iter().enumerate() {
        let last = at + 1 == jobs.len();
        match job {
            Job::Compute(parts) => {
                let tiles = parts.first().map_or(Scalar::Const(0), nest::tiles);
                for part in parts {
                    nest::statement(&mut lower, part, &tiles, last)?;
                }
            }
            Job::Encode(job) => {
                keeps_no_sums(kernel, job.target)?;
                encode::encode(&mut lower, job)?;
            }
            Job::Fill(job) => fill::fill(&mut lower, job)?,
            Job::Relayout(job) => {
                keeps_no_sums(kernel, job.target)?;
                relayout::relayout(&mut lower, job)?;
            }
        }
    }
    Ok(lower.b.finish())
}

/// Sums of rows are added up after codes have been moved, by the reference codec.
fn keeps_no_sums(kernel: &Kernel, target: TensorId) -> Result<(), ScheduleError> {
    match &kernel.tensors[target].format.kind {
        FormatKind::Block(BlockFormat { kept: Some(_), .. }) => Err(ScheduleError::Unsupported(
            "a result in a layout that keeps sums of rows".into(),
        )),
        FormatKind::Block(_) | FormatKind::Plain(_) => Ok(()),
    }
}

impl<'a> Lower<'a> {
    /// A function with nothing in it.
    fn new(kernel: &'a Kernel, name: &str) -> Lower<'a> {
        Lower {
            kernel,
            b: Builder::new(name),
            depth: BTreeMap::new(),
            pointers: BTreeMap::new(),
            scalars: BTreeMap::new(),
            constants: BTreeMap::new(),
            binary: BTreeMap::new(),
            known: BTreeMap::new(),
            multiples: BTreeMap::new(),
            multiple_of: BTreeMap::new(),
            range: None,
            addresses: vec![BTreeMap::new()],
            counters: BTreeMap::new(),
            stages: 0,
        }
    }
}

impl Lower<'_> {
    /// One parameter a tensor, then the row range; scalars follow as they are needed.
    fn parameters(&mut self) {
        for (id, tensor) in self.kernel.tensors.iter() {
            let kind = match tensor.role {
                Role::Weight | Role::Stored | Role::Input => ParamKind::Read,
                Role::Output => ParamKind::Write,
                Role::Local => ParamKind::Scratch {
                    bytes: self.tensor_bytes(id),
                },
            };
            let pointer = self.b.param(&tensor.name, kind);
            self.depth.insert(pointer, 0);
            self.pointers.insert(id, pointer);
        }
        let from = self.b.param("range.from", ParamKind::RangeStart);
        let to = self.b.param("range.to", ParamKind::RangeEnd);
        self.depth.insert(from, 0);
        self.depth.insert(to, 0);
        self.range = Some((from, to));
    }

    /// The extents of a tensor, outermost first.
    fn shape(&self, id: TensorId) -> Vec<Scalar> {
        let shape = self.kernel.tensors[id].shape.iter();
        let extent = |e: &Extent| crate::schedule::place::extent(self.kernel, *e);
        shape.map(extent).collect()
    }

    /// Columns of a tensor's rows in memory: more than its extent where rows go on with zeros.
    fn stored_columns(&self, id: TensorId) -> Scalar {
        let last = stored_shape(self.kernel, id).pop();
        last.unwrap_or(Scalar::Const(1))
    }

    /// Bytes of an intermediate.
    fn tensor_bytes(&self, id: TensorId) -> Scalar {
        use crate::format::FormatKind;
        use crate::schedule::index::{add, div_ceil, mul};
        let tensor = &self.kernel.tensors[id];
        let mut shape = stored_shape(self.kernel, id);
        match &tensor.format.kind {
            FormatKind::Plain(element) => {
                let bytes = u64::from(element.bits().div_ceil(8).next_power_of_two());
                shape.into_iter().fold(Scalar::Const(bytes), mul)
            }
            FormatKind::Block(block) => {
                let columns = shape.pop().unwrap_or(Scalar::Const(1));
                let rows = shape.pop().unwrap_or(Scalar::Const(1));
                shape.push(div_ceil(rows, u64::from(block.rows)));
                let blocks = mul(
                    Scalar::Const(u64::from(block.bytes)),
                    div_ceil(columns, u64::from(block.len)),
                );
                let around =
                    |bytes: [u32; 2]| Scalar::Const(bytes.iter().map(|n| u64::from(*n)).sum());
                let row = add(blocks, around(block.frame.row));
                add(shape.into_iter().fold(row, mul), around(block.frame.tensor))
            }
        }
    }

    /// Depth of the innermost open region.
    fn here(&self) -> usize {
        self.addresses.len() - 1
    }

    fn depth_of(&self, value: Value) -> usize {
        self.depth.get(&value).copied().unwrap_or(0)
    }

    /// Appends an operation in the region of its operands.
    fn put(&mut self, ty: Type, op: Op, operands: &[Value]) -> Value {
        let binary = match op {
            Op::Bin(op, a, b) => Some((op, a, b)),
            _ => None,
        };
        if let Some(value) = binary.and_then(|key| self.binary.get(&key)) {
            return *value;
        }
        let depths = operands.iter().map(|v| self.depth_of(*v));
        let value = self.put_at(depths.max().unwrap_or(0), ty, op);
        self.binary.extend(binary.map(|key| (key, value)));
        value
    }

    fn put_at(&mut self, depth: usize, ty: Type, op: Op) -> Value {
        let constant = matches!(op, Op::IConst(_) | Op::FConst(_) | Op::VConst(_));
        let key = constant.then(|| format!("{ty:?} {op:?}"));
        if let Some(value) = key.as_ref().and_then(|k| self.constants.get(k)) {
            return *value;
        }
        let depth = if constant { 0 } else { depth };
        let lanes = known::lanes_of(ty, &op);
        let value = self.b.push_at(depth, ty, op);
        if let Some(lanes) = lanes {
            self.known.insert(value, lanes);
        }
        // A value that was there already stands where it stood.
        self.depth.entry(value).or_insert(depth);
        if let Some(key) = key {
            self.constants.insert(key, value);
        }
        value
    }

    /// A number known before the call, as `i64`.
    fn scalar(&mut self, scalar: &Scalar) -> Value {
        if let Some(value) = self.scalars.get(scalar) {
            return *value;
        }
        let value = match scalar {
            Scalar::Const(c) => self.put_at(0, I64, Op::IConst(*c as i64)),
            other => {
                let name = format!("s{}", self.scalars.len());
                let value = self.b.param(&name, ParamKind::Scalar(other.clone()));
                self.depth.insert(value, 0);
                value
            }
        };
        self.scalars.insert(scalar.clone(), value);
        value
    }

    /// Bytes shifted as words: bits of neighbours come in, which a mask is to drop. No processor shifts bytes; a shift of bytes
    /// would have a mask of its own.
    fn shift_words(&mut self, ty: Type, shift: Shift, bytes: Value, by: u8) -> Value {
        let wide = Type::new(Elem::I16, ty.lanes / 2);
        let words = self.put(wide, Op::Bitcast(bytes), &[bytes]);
        let moved = self.put(wide, Op::Shift(shift, words, by), &[words]);
        self.put(ty, Op::Bitcast(moved), &[moved])
    }

    /// Opens a loop; returns its counter and the carried values inside.
    fn open(
        &mut self,
        name: &str,
        from: Value,
        to: Value,
        step: u64,
        init: &[Value],
    ) -> (Value, Vec<Value>) {
        let (counter, inside) = self.b.open_loop(name, from, to, step as i64, init);
        self.addresses.push(BTreeMap::new());
        let depth = self.here();
        self.depth.insert(counter, depth);
        for value in &inside {
            self.depth.insert(*value, depth);
        }
        (counter, inside)
    }

    /// Closes the innermost loop; returns what it carried out.
    fn close(&mut self, next: &[Value]) -> Vec<Value> {
        self.addresses.pop();
        let results = self.b.close_loop(next);
        let depth = self.here();
        for value in &results {
            self.depth.insert(*value, depth);
        }
        results
    }

    /// An affine number as `i64`.
    fn number(&mut self, affine: &Affine, env: &Env) -> Result<Value, ScheduleError> {
        let (value, offset) = self.address(Base::Zero, affine, env)?;
        if offset == 0 {
            return Ok(value);
        }
        let offset = self.put_at(0, I64, Op::IConst(i64::from(offset)));
        Ok(self.put(
            I64,
            Op::Bin(crate::vector::ir::Bin::IAdd, value, offset),
            &[value, offset],
        ))
    }
}

const I64: Type = Type::new(Elem::I64, 1);
const I32: Type = Type::new(Elem::I32, 1);
