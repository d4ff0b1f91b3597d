//! The meaning of the vector IR: executes a function on bytes. Slow and plain; machine code is held against it.
//!
//! Pointers are simulated: buffer `i` starts at `(i + 1) << 40` and table `i` at `(1 << 62) + (i << 40)`, so that every
//! access can be checked against the one buffer it may touch. `mul_add` rounds once; machines that do not fuse may differ
//! there, and only there. Scratch memory starts as `0xaa`, not as zeros: reading it before writing it shows.

use super::ir::{Function, Op, ParamId, ParamKind, Scalar, Step, TableId, Type, Value};
use super::verify::{VerifyError, verify};
use super::{interp_ops, ir};
use cranelift_entity::SecondaryMap;
use std::collections::BTreeMap;
use thiserror::Error;

/// How often each operation was executed, by name; `store` and `loop` (rounds) among them.
pub type Counts = BTreeMap<&'static str, u64>;

/// Why a function could not be executed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InterpError {
    /// The function breaks a rule.
    #[error("the function is not valid: {0}")]
    Invalid(VerifyError),
    /// A buffer that a parameter needs was not given.
    #[error("no buffer for parameter `{0}`")]
    Missing(String),
    /// An access outside every buffer.
    #[error("{size} bytes at offset {offset} of `{buffer}` are outside its {length}")]
    Bounds {
        /// The buffer that the pointer belongs to.
        buffer: String,
        /// Offset in it.
        offset: u64,
        /// Size of the access.
        size: u64,
        /// Size of the buffer.
        length: u64,
    },
    /// A pointer that belongs to no buffer.
    #[error("{0:#x} points to no buffer")]
    Pointer(u64),
    /// A store to a buffer that is only read.
    #[error("a store to `{0}`, which is only read")]
    ReadOnly(String),
    /// An index of a lookup that is not below 16.
    #[error("{value} looks up index {index}")]
    Index {
        /// The lookup.
        value: Value,
        /// The index.
        index: u64,
    },
    /// Too many operations.
    #[error("more than {0} operations")]
    Long(u64),
    /// Scratch memory that is too large.
    #[error("scratch `{0}` is too large")]
    Scratch(String),
}

/// Most operations that [`run`] executes: minutes.
pub const MOST_OPS: u64 = 1 << 30;

/// What scratch memory holds before the function writes to it.
const UNWRITTEN: u8 = 0xaa;

/// Most bytes of scratch memory.
const MOST_SCRATCH: u64 = 1 << 32;

/// Executes a function. `buffers` holds memory for the parameters that are buffers (scratch may be left out), `scalars`
/// computes the others, `range` is the range of rows.
pub fn run(
    function: &Function,
    buffers: &mut [(ParamId, Vec<u8>)],
    scalars: &dyn Fn(&Scalar) -> u64,
    range: (u64, u64),
) -> Result<Counts, InterpError> {
    run_within(function, buffers, scalars, range, MOST_OPS)
}

/// The same, with at most `most` operations.
pub fn run_within(
    function: &Function,
    buffers: &mut [(ParamId, Vec<u8>)],
    scalars: &dyn Fn(&Scalar) -> u64,
    range: (u64, u64),
    most: u64,
) -> Result<Counts, InterpError> {
    if let Some(error) = verify(function).into_iter().next() {
        return Err(InterpError::Invalid(error));
    }
    let given = buffers
        .iter_mut()
        .map(|(id, bytes)| (*id, std::mem::take(bytes)))
        .collect();
    let mut machine = Machine {
        function,
        memory: Memory {
            buffers: given,
            names: BTreeMap::new(),
        },
        params: BTreeMap::new(),
        values: SecondaryMap::new(),
        counts: Counts::new(),
        most,
        left: most,
    };
    let result = machine
        .enter(scalars, range)
        .and_then(|()| machine.region(&function.body));
    for ((_, into), (_, bytes)) in buffers.iter_mut().zip(machine.memory.buffers) {
        *into = bytes;
    }
    result.map(|()| machine.counts)
}

/// Where a simulated buffer starts.
fn address(at: usize) -> u64 {
    (at as u64 + 1) << 40
}

struct Memory {
    buffers: Vec<(ParamId, Vec<u8>)>,
    /// Names, and whether stores are allowed.
    names: BTreeMap<usize, (String, bool)>,
}

struct Machine<'f> {
    function: &'f Function,
    memory: Memory,
    params: BTreeMap<ParamId, u64>,
    values: SecondaryMap<Value, Vec<u64>>,
    counts: Counts,
    most: u64,
    left: u64,
}

impl Machine<'_> {
    /// Gives every parameter its word.
    fn enter(
        &mut self,
        scalars: &dyn Fn(&Scalar) -> u64,
        range: (u64, u64),
    ) -> Result<(), InterpError> {
        for (id, param) in self.function.params.iter() {
            let given = self.memory.buffers.iter().position(|(p, _)| *p == id);
            let at = match (&param.kind, given) {
                (ParamKind::Scalar(scalar), _) => {
                    self.params.insert(id, scalars(scalar));
                    continue;
                }
                (ParamKind::RangeStart, _) => {
                    self.params.insert(id, range.0);
                    continue;
                }
                (ParamKind::RangeEnd, _) => {
                    self.params.insert(id, range.1);
                    continue;
                }
                (ParamKind::Read | ParamKind::Write | ParamKind::Scratch { .. }, Some(at)) => at,
                (ParamKind::Scratch { bytes }, None) => {
                    let size = scalars(bytes);
                    if size > MOST_SCRATCH {
                        return Err(InterpError::Scratch(param.name.clone()));
                    }
                    self.memory
                        .buffers
                        .push((id, vec![UNWRITTEN; size as usize]));
                    self.memory.buffers.len() - 1
                }
                (ParamKind::Read | ParamKind::Write, None) => {
                    return Err(InterpError::Missing(param.name.clone()));
                }
            };
            self.params.insert(id, address(at));
            self.memory
                .names
                .insert(at, (param.name.clone(), param.kind != ParamKind::Read));
        }
        Ok(())
    }

    fn count(&mut self, name: &'static str) -> Result<(), InterpError> {
        *self.counts.entry(name).or_insert(0) += 1;
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(InterpError::Long(self.most))?;
        Ok(())
    }

    fn region(&mut self, steps: &[Step]) -> Result<(), InterpError> {
        for step in steps {
            match step {
                Step::Let(value, op) => {
                    self.count(op.name())?;
                    self.values[*value] = self.operation(*value, op)?;
                }
                Step::Store {
                    value,
                    base,
                    offset,
                } => {
                    self.count("store")?;
                    let bytes = to_bytes(self.function.types[*value], &self.values[*value]);
                    let at = self.scalar(*base).wrapping_add_signed(i64::from(*offset));
                    self.memory
                        .bytes_mut(at, bytes.len())?
                        .copy_from_slice(&bytes);
                }
                Step::Loop(l) => self.looped(l)?,
            }
        }
        Ok(())
    }

    fn looped(&mut self, l: &ir::Loop) -> Result<(), InterpError> {
        let (mut counter, to) = (self.scalar(l.from) as i64, self.scalar(l.to) as i64);
        let mut carried: Vec<Vec<u64>> = l
            .carried
            .iter()
            .map(|c| self.values[c.init].clone())
            .collect();
        while counter < to {
            self.count("loop")?;
            self.values[l.counter] = vec![counter as u64];
            for (c, now) in l.carried.iter().zip(carried) {
                self.values[c.inside] = now;
            }
            self.region(&l.body)?;
            carried = l
                .carried
                .iter()
                .map(|c| self.values[c.next].clone())
                .collect();
            counter = counter.wrapping_add(l.step);
        }
        for (c, now) in l.carried.iter().zip(carried) {
            self.values[c.result] = now;
        }
        Ok(())
    }

    fn scalar(&self, value: Value) -> u64 {
        self.values[value].first().copied().unwrap_or(0)
    }

    fn operation(&self, value: Value, op: &Op) -> Result<Vec<u64>, InterpError> {
        let ty = self.function.types[value];
        match op {
            Op::Param(id) => Ok(vec![self.params.get(id).copied().unwrap_or(0)]),
            Op::TableAddr(id) => Ok(vec![address(TABLES + id.as_u32() as usize)]),
            Op::Load { base, offset } => {
                let at = self.scalar(*base).wrapping_add_signed(i64::from(*offset));
                let bytes = self.bytes(at, ty.bytes() as usize)?;
                let width = ty.elem.bits() as usize / 8;
                Ok(bytes
                    .chunks(width)
                    .map(|lane| lane.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
                    .collect())
            }
            Op::Lookup { table, index } => {
                let table = &self.values[*table];
                let entry = |i: &u64| {
                    table
                        .get(*i as usize)
                        .copied()
                        .ok_or(InterpError::Index { value, index: *i })
                };
                self.values[*index].iter().map(entry).collect()
            }
            other => {
                let operands: Vec<(Type, &[u64])> = other
                    .operands()
                    .into_iter()
                    .map(|v| (self.function.types[v], self.values[v].as_slice()))
                    .collect();
                Ok(interp_ops::compute(ty, other, &operands))
            }
        }
    }

    fn bytes(&self, at: u64, size: usize) -> Result<&[u8], InterpError> {
        let (buffer, offset) = split(at)?;
        let bytes = match buffer.checked_sub(TABLES) {
            Some(table) => self
                .function
                .tables
                .get(TableId::from_u32(table as u32))
                .map(|t| t.bytes.as_slice()),
            None => self
                .memory
                .buffers
                .get(buffer)
                .map(|(_, bytes)| bytes.as_slice()),
        };
        let bytes = bytes.ok_or(InterpError::Pointer(at))?;
        bytes
            .get(offset..offset.saturating_add(size))
            .ok_or_else(|| {
                let name = self
                    .memory
                    .names
                    .get(&buffer)
                    .map_or("a table", |(name, _)| name);
                bounds(name, offset, size, bytes.len())
            })
    }
}

/// Number of the first buffer that is a table.
const TABLES: usize = (1 << 22) - 1;

fn split(at: u64) -> Result<(usize, usize), InterpError> {
    let buffer = (at >> 40).checked_sub(1).ok_or(InterpError::Pointer(at))?;
    Ok((buffer as usize, (at & ((1 << 40) - 1)) as usize))
}

fn bounds(buffer: &str, offset: usize, size: usize, length: usize) -> InterpError {
    InterpError::Bounds {
        buffer: buffer.to_owned(),
        offset: offset as u64,
        size: size as u64,
        length: length as u64,
    }
}

impl Memory {
    fn bytes_mut(&mut self, at: u64, size: usize) -> Result<&mut [u8], InterpError> {
        let (buffer, offset) = split(at)?;
        let (name, writable) = self.names.get(&buffer).ok_or(InterpError::Pointer(at))?;
        if !writable {
            return Err(InterpError::ReadOnly(name.clone()));
        }
        let (_, bytes) = self
            .buffers
            .get_mut(buffer)
            .ok_or(InterpError::Pointer(at))?;
        let length = bytes.len();
        bytes
            .get_mut(offset..offset.saturating_add(size))
            .ok_or_else(|| bounds(name, offset, size, length))
    }
}

/// Little-endian bytes of a value.
fn to_bytes(ty: Type, lanes: &[u64]) -> Vec<u8> {
    let width = ty.elem.bits() as usize / 8;
    lanes
        .iter()
        .flat_map(|lane| lane.to_le_bytes().into_iter().take(width))
        .collect()
}
