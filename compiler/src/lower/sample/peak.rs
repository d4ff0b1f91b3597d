//! Samples of what bounds kernels that are not bound by memory: the operations that do most of their work, as many at once as
//! a machine takes. Their rates are the limits that measured kernels are held against.

use super::{F32, I8, I16, I32, Sample, operation, side_by_side};
use crate::lower::Lower;
use crate::rewrite::lang::Op as Term;
use crate::target::Target;
use crate::vector::ir::{Bin, Op, Value};

/// What a machine does at most in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peak {
    /// Additions and multiplications in dot products of four bytes.
    Dots,
    /// The same where bytes are multiplied in pairs, and the sums of pairs widened and added.
    Pairs,
    /// Additions and multiplications of 32-bit floats.
    Floats,
    /// Bytes looked up in tables that stand in registers.
    LookUps,
}

impl Peak {
    /// All of them.
    pub const ALL: [Peak; 4] = [Peak::Dots, Peak::Pairs, Peak::Floats, Peak::LookUps];

    /// The name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Peak::Dots => "dot products of bytes",
            Peak::Pairs => "byte products in pairs",
            Peak::Floats => "f32 multiply-adds",
            Peak::LookUps => "byte look-ups",
        }
    }

    /// The operations of kernels that it bounds; any one of them will do.
    pub fn operations(self) -> &'static [Term] {
        match self {
            Peak::Dots => &[Term::VDot4, Term::VDot4S],
            Peak::Pairs => &[Term::VMulPairs8],
            Peak::Floats => &[Term::VFMul],
            Peak::LookUps => &[Term::VPick, Term::VLookup8],
        }
    }
}

/// Chains of additions that wait for a product in pairs before: more than of single operations.
const LONG_CHAINS: u16 = 12;

/// Samples of a peak, the fastest of which counts: `times` is what a round does, in what the peak is in. None where the target
/// does not have it.
pub fn peak(peak: Peak, target: &Target) -> Vec<Sample> {
    let mut had = peak.operations().iter().copied();
    let Some(op) = had.find(|op| target.costs.contains_key(op)) else {
        return Vec::new();
    };
    // Each lane is multiplied and added.
    let (bytes, floats) = (2.0 * f64::from(I8.lanes), 2.0 * f64::from(F32.lanes));
    let counted = |sample: Sample, each: f64| Sample {
        times: sample.times * each,
        ..sample
    };
    let samples = [super::CHAINS / 2, super::CHAINS, LONG_CHAINS].map(|chains| match peak {
        Peak::Dots => Some(counted(operation(op, chains)?, bytes)),
        Peak::LookUps => Some(counted(operation(op, chains)?, f64::from(I8.lanes))),
        Peak::Pairs => Some(counted(
            side_by_side("pairs", I32, chains, 4, pairs)?,
            bytes,
        )),
        Peak::Floats => Some(counted(
            side_by_side("floats", F32, chains, 4, multiply_add)?,
            floats,
        )),
    });
    samples.into_iter().flatten().collect()
}

/// Sums of pairs of products of bytes, widened, and added to the link.
fn pairs(lower: &mut Lower<'_>, [x, _]: [Value; 2]) -> Option<(Value, f64)> {
    let bytes = lower.put(I8, Op::Bitcast(x), &[x]);
    let (three, one) = (
        lower.put_at(0, I8, Op::IConst(3)),
        lower.put_at(0, I16, Op::IConst(1)),
    );
    let words = lower.put(I16, Op::MulPairsU8S8(bytes, three), &[bytes]);
    let sums = lower.put(I32, Op::MulPairsS16(words, one), &[words]);
    Some((lower.bin(Bin::IAdd, x, sums), 1.0))
}

/// A link that stays near 1.
fn multiply_add(lower: &mut Lower<'_>, [x, _]: [Value; 2]) -> Option<(Value, f64)> {
    let half = lower.float(0.5, F32);
    Some((lower.put(F32, Op::MulAdd(x, half, half), &[x]), 1.0))
}
