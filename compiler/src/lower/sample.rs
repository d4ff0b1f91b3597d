//! Samples: small functions that do one thing over and over, for the clock of somebody else to measure what operations and
//! accesses cost. An operation is lowered as in kernels.
//!
//! Every function has three parameters: a buffer that is read, one that is written, and how many rounds to run. The buffers
//! are at least as large as the sample says.

mod peak;
mod step;
#[cfg(test)]
mod tests;

pub use peak::{Peak, peak};

use super::{I64, Lower};
use crate::rewrite::lang::Op as Term;
use crate::spec::kernel::Kernel;
use crate::vector::ir::{Bin, Elem, Function, Op, ParamKind, Scalar, Type, Value};
use cranelift_entity::PrimaryMap;

/// A function to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The code.
    pub function: Function,
    /// How often a round does what is measured, on a register or, where lanes are counted, a lane.
    pub times: f64,
    /// How many of that wait for each other.
    pub links: f64,
    /// Bytes that the buffer which is read must have.
    pub bytes: usize,
    /// Bytes that the buffer which is written must have.
    pub written: usize,
}

/// Bytes of a buffer that stays in the nearest cache.
const NEAR: u64 = 8 << 10;

/// Bytes that a step through a buffer takes.
const STEP: u64 = 256;

/// Chains whose latencies overlap.
pub const CHAINS: u16 = 8;

/// Operations whose cost is not measured, and why.
pub const DERIVED: [(Term, &str); 13] = [
    (
        Term::VNum,
        "a constant stands in a register before the loops",
    ),
    (Term::VExtent, "it is computed before the loops"),
    (Term::VUnit, "a constant"),
    (Term::VStage, NEAREST),
    (Term::VPanel, NEAREST),
    (Term::VPlace, "a constant"),
    (Term::VPlain, "the same register"),
    (Term::VLow, ENTRIES),
    (Term::VHigh, ENTRIES),
    (Term::VNarrow, ENTRIES),
    (
        Term::VMulBytes,
        "sums of bytes, as many as the number takes that they are multiplied by",
    ),
    (Term::VPackBits, "two sums for each bit"),
    (
        Term::VSumBytes,
        "a shift and two sums, and a few operations for the whole sum",
    ),
];

const NEAREST: &str = "a load from the nearest cache";
const ENTRIES: &str = "it makes entries of tables, once for all rows";

const F32: Type = Type::new(Elem::F32, 4);
const I32: Type = Type::new(Elem::I32, 4);
const I16: Type = Type::new(Elem::I16, 8);
const I8: Type = Type::new(Elem::I8, 16);

/// The type of the chain that an operation is repeated on.
fn chain_type(op: Term) -> Option<Type> {
    Some(match op {
        Term::VAnd | Term::VCountOnes => I8,
        Term::VBits | Term::VSigned | Term::VBias | Term::VLookup8 | Term::VLookup32 => I8,
        Term::VPick | Term::VJoin => I8,
        Term::VWiden | Term::VDot4 | Term::VDot4S | Term::VMulPairs8 => I8,
        Term::VMulPairs16 | Term::VAddPairs16 | Term::VMulHigh | Term::VMulLow => I16,
        Term::VMagic => I16,
        Term::VFetch | Term::VTable | Term::VDecode | Term::VFloat => I32,
        Term::VIAdd | Term::VIMul | Term::VOver256 => I32,
        Term::VFAdd | Term::VFSub | Term::VFMul | Term::VFDiv | Term::VFMin | Term::VFMax => F32,
        Term::VAbs | Term::VExp | Term::VSqrt | Term::VTanh | Term::VSilu | Term::VGelu => F32,
        Term::VRound | Term::VRoundAway | Term::VTrunc | Term::VFloor | Term::VFloorPow2 => F32,
        Term::VSelectLt | Term::VSelectLe | Term::VSelectEq | Term::VSpread => F32,
        Term::VSum | Term::VMaxOver | Term::VFold | Term::VFoldMax => F32,
        _ => return None,
    })
}

/// Links of a chain in a round: several of an operation that is few instructions, so that the loop itself does not count;
/// one where more could be simplified, or would be much code.
fn links(op: Term) -> u32 {
    match op {
        Term::VSigned | Term::VBias | Term::VLookup8 | Term::VWiden | Term::VFloat => 4,
        Term::VFAdd | Term::VFSub | Term::VFMul | Term::VFDiv | Term::VSum => 4,
        Term::VFMin | Term::VFMax | Term::VMaxOver | Term::VSqrt => 4,
        Term::VSelectLt | Term::VSelectLe | Term::VSelectEq | Term::VIAdd | Term::VIMul => 4,
        Term::VDot4 | Term::VDot4S | Term::VPick | Term::VJoin | Term::VMulHigh | Term::VMulLow => {
            4
        }
        Term::VMulPairs8 | Term::VMulPairs16 | Term::VAddPairs16 => 4,
        Term::VAnd | Term::VCountOnes | Term::VMagic | Term::VOver256 => 4,
        _ => 1,
    }
}

/// Chains of an operation, each round one step further; `None` if it is not measured.
pub fn operation(op: Term, chains: u16) -> Option<Sample> {
    let ty = chain_type(op)?;
    side_by_side(op.name(), ty, chains, links(op), |lower, [x, other]| {
        lower.step(op, ty, [x, other])
    })
}

/// Chains beside each other, each round some links further. A link is made of the one before and of a value that stays the
/// same, and counts for some of what is measured.
fn side_by_side(
    name: &str,
    ty: Type,
    chains: u16,
    links: u32,
    link: impl Fn(&mut Lower<'_>, [Value; 2]) -> Option<(Value, f64)>,
) -> Option<Sample> {
    let kernel = nothing();
    let mut lower = Lower::new(&kernel, name);
    let (data, out, rounds) = lower.sample_parameters();
    let first: Vec<Value> = (0..i32::from(chains))
        .map(|at| lower.first(ty, data, 16 * at))
        .collect();
    let other = lower.first(ty, data, 16 * i32::from(chains));
    let zero = lower.put_at(0, I64, Op::IConst(0));
    let (_, inside) = lower.open("round", zero, rounds, 1, &first);
    let mut times = 0.0;
    let mut next = inside;
    for _ in 0..links {
        for x in &mut next {
            let (value, counted) = link(&mut lower, [*x, other])?;
            times += counted;
            *x = value;
        }
    }
    let last = lower.close(&next);
    for (at, value) in last.into_iter().enumerate() {
        lower.b.store(value, out, 16 * at as i32);
    }
    let function = lower.b.finish();
    let bytes = NEAR as usize;
    Some(Sample {
        function,
        times,
        links: f64::from(links),
        bytes,
        written: NEAR as usize,
    })
}

/// Accesses of a kind through a buffer of so many bytes (a multiple of 256); `None` if there is no such kind.
pub fn access(kind: &str, window: u64) -> Option<Sample> {
    let kernel = nothing();
    let mut lower = Lower::new(&kernel, kind);
    let (data, out, rounds) = lower.sample_parameters();
    let zero = lower.put_at(0, I64, Op::IConst(0));
    let end = lower.put_at(0, I64, Op::IConst(window as i64));
    let first: Vec<Value> = (0..4).map(|at| lower.first(I32, data, 16 * at)).collect();
    let (_, outer) = lower.open("round", zero, rounds, 1, &first);
    let (at, mut sums) = lower.open("step", zero, end, STEP as i64 as u64, &outer);
    let base = if kind == "store" { out } else { data };
    let base = lower.bin(Bin::IAdd, base, at);
    let i32s = |lanes| Type::new(Elem::I32, lanes);
    let mut count = 0.0;
    let loaded =
        |lower: &mut Lower<'_>, ty, offset| lower.put(ty, Op::Load { base, offset }, &[base]);
    for step in 0..16 {
        let offset = 16 * step;
        let value = match kind {
            "load" => loaded(&mut lower, I32, offset),
            "broadcast" => {
                let one = loaded(&mut lower, i32s(1), offset);
                lower.put(I32, Op::Splat(one), &[one])
            }
            "tile" => {
                let two = loaded(&mut lower, i32s(2), offset);
                lower.put(I32, Op::Tile(two), &[two])
            }
            "gather" => {
                let lanes = (0..4).map(|l| (offset * 5 + 68 * l) % 252 / 4 * 4);
                let lanes: Vec<Value> = lanes.map(|o| loaded(&mut lower, i32s(1), o)).collect();
                lower.put(I32, Op::Build(lanes.clone()), &lanes)
            }
            "store" => {
                lower.b.store(sums[0], base, offset);
                count += 1.0;
                continue;
            }
            _ => return None,
        };
        count += if kind == "gather" { 4.0 } else { 1.0 };
        let sum = step as usize % 4;
        sums[sum] = lower.bin(Bin::Xor, sums[sum], value);
    }
    let inner = lower.close(&sums);
    let last = lower.close(&inner);
    for (at, value) in last.into_iter().enumerate() {
        lower.b.store(value, out, 16 * at as i32);
    }
    Some(Sample {
        function: lower.b.finish(),
        times: count * (window / STEP) as f64,
        links: 1.0,
        bytes: (window + STEP) as usize,
        written: if kind == "store" { window + STEP } else { NEAR } as usize,
    })
}

/// Loads of an address from that address, which the buffer holds at its start.
pub fn chase() -> Sample {
    let kernel = nothing();
    let mut lower = Lower::new(&kernel, "chase");
    let (data, out, rounds) = lower.sample_parameters();
    let zero = lower.put_at(0, I64, Op::IConst(0));
    let (_, inside) = lower.open("round", zero, rounds, 1, &[data]);
    let mut at = inside[0];
    for _ in 0..8 {
        at = lower.put(
            I64,
            Op::Load {
                base: at,
                offset: 0,
            },
            &[at],
        );
    }
    let last = lower.close(&[at]);
    lower.b.store(last[0], out, 0);
    let (function, bytes) = (lower.b.finish(), NEAR as usize);
    Sample {
        function,
        times: 8.0,
        links: 8.0,
        bytes,
        written: NEAR as usize,
    }
}

/// Sums and exclusive ors of integers, each of the one before: one a cycle.
pub fn clock() -> Sample {
    let kernel = nothing();
    let mut lower = Lower::new(&kernel, "clock");
    let (data, out, rounds) = lower.sample_parameters();
    let zero = lower.put_at(0, I64, Op::IConst(0));
    let (_, inside) = lower.open("round", zero, rounds, 1, &[data]);
    let mut x = inside[0];
    for _ in 0..16 {
        x = lower.bin(Bin::IAdd, x, rounds);
        x = lower.bin(Bin::Xor, x, data);
    }
    let last = lower.close(&[x]);
    lower.b.store(last[0], out, 0);
    let (function, bytes) = (lower.b.finish(), NEAR as usize);
    Sample {
        function,
        times: 32.0,
        links: 32.0,
        bytes,
        written: NEAR as usize,
    }
}

/// Sums of scalars and of vectors beside each other, as many as a machine takes at once, and the three of the loop itself.
pub fn issue() -> Sample {
    let kernel = nothing();
    let mut lower = Lower::new(&kernel, "issue");
    let (data, out, rounds) = lower.sample_parameters();
    let zero = lower.put_at(0, I64, Op::IConst(0));
    let step = lower.first(I32, data, 16 * 6);
    let mut first: Vec<Value> = (0..6).map(|at| lower.first(I32, data, 16 * at)).collect();
    for at in 0..6 {
        let load = Op::Load {
            base: data,
            offset: 8 * at,
        };
        first.push(lower.put(I64, load, &[data]));
    }
    let (_, inside) = lower.open("round", zero, rounds, 1, &first);
    let mut next = inside;
    for _ in 0..8 {
        for (at, x) in next.iter_mut().enumerate() {
            *x = lower.bin(Bin::IAdd, *x, if at < 6 { step } else { rounds });
        }
    }
    let last = lower.close(&next);
    for (at, value) in last.into_iter().enumerate() {
        lower.b.store(value, out, 16 * at as i32);
    }
    let (function, bytes) = (lower.b.finish(), NEAR as usize);
    Sample {
        function,
        times: 99.0,
        links: 1.0,
        bytes,
        written: NEAR as usize,
    }
}

/// A kernel without anything.
pub(super) fn nothing() -> Kernel {
    Kernel {
        tables: crate::spec::kernel::Tables::Exact,
        name: String::new(),
        dims: PrimaryMap::new(),
        tensors: PrimaryMap::new(),
        indices: PrimaryMap::new(),
        exprs: PrimaryMap::new(),
        statements: Vec::new(),
    }
}

impl Lower<'_> {
    fn sample_parameters(&mut self) -> (Value, Value, Value) {
        let data = self.b.param("data", ParamKind::Read);
        let out = self.b.param("out", ParamKind::Write);
        let rounds = self.scalar(&Scalar::Dim(0));
        self.depth.insert(data, 0);
        self.depth.insert(out, 0);
        (data, out, rounds)
    }

    /// What a chain begins with: small integers, or a float near 1.
    fn first(&mut self, ty: Type, base: Value, offset: i32) -> Value {
        let loaded = self.put(ty, Op::Load { base, offset }, &[base]);
        if ty.elem == Elem::F32 {
            return loaded;
        }
        let mask = self.put_at(0, ty, Op::IConst(7));
        self.bin(Bin::And, loaded, mask)
    }
}
