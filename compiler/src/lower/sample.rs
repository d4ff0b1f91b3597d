//! Samples: small functions that do one thing over and over, for the clock of somebody else to measure what operations and
//! accesses cost. An operation is lowered as in kernels.
//!
//! Every function has three parameters: a buffer that is read, one that is written, and how many rounds to run. The buffers
//! are at least as large as the sample says.

#[cfg(test)]
mod tests;

use super::{I64, Lower};
use crate::format::{Element, FloatSpec, UnOp};
use crate::rewrite::lang::Op as Term;
use crate::spec::kernel::Kernel;
use crate::vector::build::Builder;
use crate::vector::ir::{
    Bin, Cmp, Convert, Elem, Function, Op, ParamKind, Scalar, Shift, Type, Un, Value,
};
use cranelift_entity::PrimaryMap;
use std::collections::BTreeMap;

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
pub const DERIVED: [(Term, &str); 3] = [
    (
        Term::VNum,
        "a constant stands in a register before the loops",
    ),
    (Term::VExtent, "it is computed before the loops"),
    (Term::VStage, "a load from the nearest cache"),
];

const F32: Type = Type::new(Elem::F32, 4);
const I32: Type = Type::new(Elem::I32, 4);
const I16: Type = Type::new(Elem::I16, 8);
const I8: Type = Type::new(Elem::I8, 16);

/// The type of the chain that an operation is repeated on.
fn chain_type(op: Term) -> Option<Type> {
    Some(match op {
        Term::VBits | Term::VSigned | Term::VBias | Term::VLookup8 | Term::VLookup32 => I8,
        Term::VWiden | Term::VDot4 | Term::VDot4S | Term::VMulPairs8 => I8,
        Term::VMulPairs16 | Term::VAddPairs16 => I16,
        Term::VFetch | Term::VTable | Term::VDecode | Term::VFloat => I32,
        Term::VIAdd | Term::VIMul => I32,
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
        Term::VDot4 | Term::VDot4S => 4,
        Term::VMulPairs8 | Term::VMulPairs16 | Term::VAddPairs16 => 4,
        _ => 1,
    }
}

/// Chains of an operation, each round one step further; `None` if it is not measured.
pub fn operation(op: Term, chains: u16) -> Option<Sample> {
    let ty = chain_type(op)?;
    let kernel = nothing();
    let mut lower = start(&kernel, op.name());
    let (data, out, rounds) = lower.sample_parameters();
    let first: Vec<Value> = (0..i32::from(chains))
        .map(|at| lower.first(ty, data, 16 * at))
        .collect();
    let other = lower.first(ty, data, 16 * i32::from(chains));
    let zero = lower.put_at(0, I64, Op::IConst(0));
    let (_, inside) = lower.open("round", zero, rounds, 1, &first);
    let mut times = 0.0;
    let mut next = inside;
    for _ in 0..links(op) {
        for x in &mut next {
            let (value, counted) = lower.step(op, ty, [*x, other])?;
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
        links: f64::from(links(op)),
        bytes,
        written: NEAR as usize,
    })
}

/// Accesses of a kind through a buffer of so many bytes (a multiple of 256); `None` if there is no such kind.
pub fn access(kind: &str, window: u64) -> Option<Sample> {
    let kernel = nothing();
    let mut lower = start(&kernel, kind);
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
    let mut lower = start(&kernel, "chase");
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
    let mut lower = start(&kernel, "clock");
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
    let mut lower = start(&kernel, "issue");
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
fn nothing() -> Kernel {
    Kernel {
        name: String::new(),
        dims: PrimaryMap::new(),
        tensors: PrimaryMap::new(),
        indices: PrimaryMap::new(),
        exprs: PrimaryMap::new(),
        statements: Vec::new(),
    }
}

fn start<'k>(kernel: &'k Kernel, name: &str) -> Lower<'k> {
    Lower {
        kernel,
        b: Builder::new(name),
        depth: BTreeMap::new(),
        pointers: BTreeMap::new(),
        scalars: BTreeMap::new(),
        constants: BTreeMap::new(),
        range: None,
        addresses: vec![BTreeMap::new()],
        counters: BTreeMap::new(),
        stages: 0,
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

    fn integers(&mut self, n: i64, ty: Type) -> Value {
        self.put_at(0, ty, Op::IConst(n))
    }

    fn cast(&mut self, x: Value, ty: Type) -> Value {
        self.put(ty, Op::Bitcast(x), &[x])
    }

    /// An operation on a link of a chain, as the next link; and for how many registers that counts.
    fn step(&mut self, op: Term, ty: Type, [x, other]: [Value; 2]) -> Option<(Value, f64)> {
        let near_one = 1.000_01;
        let value = match op {
            Term::VFAdd | Term::VSum => self.with(Bin::FAdd, x, near_one),
            Term::VFSub => self.with(Bin::FSub, x, near_one),
            Term::VFMul => self.with(Bin::FMul, x, near_one),
            Term::VFDiv => self.with(Bin::FDiv, x, near_one),
            Term::VFMin => self.with(Bin::FMin, x, near_one),
            Term::VFMax | Term::VMaxOver => self.with(Bin::FMax, x, near_one),
            Term::VAbs => self.put(ty, Op::Un(Un::FAbs, x), &[x]),
            Term::VSqrt => self.put(ty, Op::Un(Un::FSqrt, x), &[x]),
            Term::VExp => self.exp(x, ty),
            Term::VTanh => self.tanh(x, ty),
            Term::VSilu => self.silu(x, ty),
            Term::VGelu => self.gelu(x, ty),
            Term::VRound => self.declared_unary(UnOp::Round, x, ty),
            Term::VRoundAway => self.declared_unary(UnOp::RoundAway, x, ty),
            Term::VTrunc => self.declared_unary(UnOp::Trunc, x, ty),
            Term::VFloor => self.declared_unary(UnOp::Floor, x, ty),
            Term::VFloorPow2 => self.declared_unary(UnOp::FloorPow2, x, ty),
            Term::VSelectLt => self.chosen_by(Cmp::FLt, x),
            Term::VSelectLe => self.chosen_by(Cmp::FLe, x),
            Term::VSelectEq => self.chosen_by(Cmp::FEq, x),
            Term::VIAdd | Term::VIMul => {
                let bin = if op == Term::VIAdd {
                    Bin::IAdd
                } else {
                    Bin::IMul
                };
                self.bin(bin, x, other)
            }
            Term::VBias => self.bin(Bin::Xor, x, other),
            Term::VBits => {
                let mask = self.integers(15, ty);
                let moved = self.put(ty, Op::Shift(Shift::UShr, x, 2), &[x]);
                self.bin(Bin::And, moved, mask)
            }
            Term::VSigned => self.extend_sign(&Element::Int { bits: 4 }, ty, x),
            Term::VFloat => {
                let float = self.put(F32, Op::Convert(Convert::IntToFloat, x), &[x]);
                self.cast(float, ty)
            }
            Term::VDecode => {
                let element = Element::Float(FloatSpec::ieee(4, 3));
                let float = self.decode_value(&element, F32, x).ok()?;
                self.cast(float, ty)
            }
            Term::VFetch => self.fetch_value(&Element::UInt { bits: 8 }, ty, x),
            Term::VTable => {
                let entries: Vec<f64> = (0..16).map(|n| f64::from(n * 7 % 16)).collect();
                self.table_value("table", &entries, ty, x)
            }
            Term::VWiden => {
                let half = self.put(Type::new(Elem::I8, 8), Op::Slice(x, 0), &[x]);
                let wide = self.put(I16, Op::Convert(Convert::WidenS, half), &[half]);
                self.cast(wide, ty)
            }
            Term::VSpread => {
                let one = self.put(Type::new(Elem::F32, 1), Op::Extract(x, 0), &[x]);
                self.put(ty, Op::Splat(one), &[one])
            }
            Term::VFold | Term::VFoldMax => {
                let fold = if op == Term::VFold {
                    Op::Fold(x)
                } else {
                    Op::FoldMax(x)
                };
                let one = self.put(Type::new(Elem::F32, 1), fold, &[x]);
                self.put(ty, Op::Splat(one), &[one])
            }
            Term::VLookup8 => self.table_step(x, 7),
            Term::VLookup32 => return Some(self.planes(x)),
            Term::VDot4 | Term::VDot4S => {
                let (acc, b) = (self.integers(0, I32), self.integers(3, ty));
                let dot = match op {
                    Term::VDot4 => Op::Dot4U8S8 { acc, a: x, b },
                    _ => Op::Dot4S8S8 { acc, a: x, b },
                };
                let sum = self.put(I32, dot, &[x]);
                self.cast(sum, ty)
            }
            Term::VMulPairs8 => {
                let b = self.integers(3, ty);
                let sum = self.put(I16, Op::MulPairsU8S8(x, b), &[x]);
                self.cast(sum, ty)
            }
            Term::VMulPairs16 | Term::VAddPairs16 => {
                let b = self.integers(if op == Term::VAddPairs16 { 1 } else { 3 }, ty);
                let sum = self.put(I32, Op::MulPairsS16(x, b), &[x]);
                self.cast(sum, ty)
            }
            _ => return None,
        };
        Some((value, 1.0))
    }

    fn with(&mut self, bin: Bin, x: Value, number: f32) -> Value {
        let number = self.float(number, F32);
        self.bin(bin, x, number)
    }

    fn chosen_by(&mut self, cmp: Cmp, x: Value) -> Value {
        let (bound, other) = (self.float(0.5, F32), self.float(0.75, F32));
        let mask = self.put(I32, Op::Cmp(cmp, x, bound), &[x]);
        self.put(F32, Op::Select(mask, other, x), &[mask, x])
    }

    /// A look-up in a table that has every index once.
    fn table_step(&mut self, x: Value, by: u64) -> Value {
        let lanes = (0..16).map(|n| n * by % 16).collect();
        let table = self.put_at(0, I8, Op::VConst(lanes));
        self.put(I8, Op::Lookup { table, index: x }, &[x])
    }

    /// Floats of sixteen codes by four byte planes, joined; the cost model counts four look-ups and six joins for these.
    fn planes(&mut self, x: Value) -> (Value, f64) {
        let planes = [3, 5, 7, 9].map(|by| self.table_step(x, by));
        let half = Type::new(Elem::I16, 16);
        let [lo, hi] = [0, 2].map(|at| {
            let (lo, hi) = (planes[at], planes[at + 1]);
            self.put(half, Op::Join { lo, hi }, &[lo, hi])
        });
        let words = Type::new(Elem::I32, 16);
        let all = self.put(words, Op::Join { lo, hi }, &[lo, hi]);
        let four: Vec<Value> = (0..4)
            .map(|at| self.put(I32, Op::Slice(all, 4 * at), &[all]))
            .collect();
        let sum = four[1..]
            .iter()
            .fold(four[0], |s, v| self.bin(Bin::Or, s, *v));
        let bytes = self.cast(sum, I8);
        let mask = self.integers(15, I8);
        (self.bin(Bin::And, bytes, mask), 10.0)
    }
}
