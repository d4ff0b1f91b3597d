//! The meaning of operations without memory: lanes are the low bits of words.

use super::ir::{Bin, Cmp, Convert, Elem, Op, Shift, Type, Un};

/// The lanes of an operation's result. Operands are valid and in the order of [`Op::operands`].
pub(super) fn compute(ty: Type, op: &Op, operands: &[(Type, &[u64])]) -> Vec<u64> {
    const NONE: (Type, &[u64]) = (Type::new(Elem::I64, 1), &[]);
    let operand = |n: usize| operands.get(n).copied().unwrap_or(NONE);
    let ((from, a), (_, b), (_, c)) = (operand(0), operand(1), operand(2));
    let elem = ty.elem;
    let lanes = usize::from(ty.lanes);
    match op {
        Op::IConst(n) => vec![mask(elem, *n as u64); lanes],
        Op::FConst(bits) => vec![u64::from(*bits); lanes],
        Op::VConst(bits) => bits.clone(),
        Op::Bin(bin, ..) => zip(a, b, |x, y| binary(*bin, elem, x, y)),
        Op::Un(un, _) => a.iter().map(|x| unary(*un, *x)).collect(),
        Op::Shift(shift, _, n) => a
            .iter()
            .map(|x| shifted(*shift, elem, *x, u32::from(*n)))
            .collect(),
        Op::ShiftBy(shift, ..) => zip(a, b, |x, n| {
            shifted(*shift, elem, x, n as u32 % elem.bits())
        }),
        Op::UDiv(_, by) => a.iter().map(|x| x / u64::from((*by).max(1))).collect(),
        Op::MulAdd(..) => a
            .iter()
            .zip(b)
            .zip(c)
            .map(|((x, y), z)| bits(float(*x).mul_add(float(*y), float(*z))))
            .collect(),
        Op::Cmp(cmp, ..) => zip(a, b, |x, y| {
            if compare(*cmp, from.elem, x, y) {
                mask(elem, u64::MAX)
            } else {
                0
            }
        }),
        Op::Select(..) => a
            .iter()
            .zip(b)
            .zip(c)
            .map(|((m, x), y)| m & x | !m & y & mask(elem, u64::MAX))
            .collect(),
        Op::Convert(convert, _) => a
            .iter()
            .map(|x| converted(*convert, from.elem, elem, *x))
            .collect(),
        Op::Bitcast(_) => regroup(from.elem, a, elem),
        Op::Splat(_) | Op::Tile(_) => a.iter().copied().cycle().take(lanes).collect(),
        Op::Repeat(_) => a.iter().flat_map(|x| vec![*x; lanes / a.len()]).collect(),
        Op::Build(_) => operands
            .iter()
            .filter_map(|(_, lanes)| lanes.first().copied())
            .collect(),
        Op::Extract(_, lane) => a.iter().skip(usize::from(*lane)).take(1).copied().collect(),
        Op::Slice(_, start) => a
            .iter()
            .skip(usize::from(*start))
            .take(lanes)
            .copied()
            .collect(),
        Op::Join { .. } => zip(a, b, |lo, hi| lo | hi << from.elem.bits()),
        Op::MulPairsU8S8(..) => groups(Elem::I8, 2, a, b, false)
            .map(|sum| {
                mask(
                    elem,
                    sum.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as u64,
                )
            })
            .collect(),
        Op::MulPairsS16(..) => groups(Elem::I16, 2, a, b, true)
            .map(|sum| mask(elem, sum as u64))
            .collect(),
        Op::Dot4U8S8 { .. } => dot(a, b, c, false),
        Op::Dot4S8S8 { .. } => dot(a, b, c, true),
        Op::Fold(_) => {
            let sum = if elem == Elem::F32 {
                Bin::FAdd
            } else {
                Bin::IAdd
            };
            a.chunks(a.len() / lanes)
                .map(|group| folded(sum, elem, group.to_vec()))
                .collect()
        }
        Op::FoldMax(_) => a
            .chunks(a.len() / lanes)
            .map(|group| folded(Bin::FMax, elem, group.to_vec()))
            .collect(),
        // Memory, parameters and lookups are the machine's.
        Op::Param(_) | Op::TableAddr(_) | Op::Load { .. } | Op::Lookup { .. } => Vec::new(),
    }
}

fn mask(elem: Elem, bits: u64) -> u64 {
    bits & (u64::MAX >> (64 - elem.bits()))
}

fn signed(elem: Elem, bits: u64) -> i64 {
    let unused = 64 - elem.bits();
    ((bits << unused) as i64) >> unused
}

fn float(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn bits(float: f32) -> u64 {
    u64::from(float.to_bits())
}

fn zip(a: &[u64], b: &[u64], f: impl Fn(u64, u64) -> u64) -> Vec<u64> {
    a.iter().zip(b).map(|(x, y)| f(*x, *y)).collect()
}

fn binary(bin: Bin, elem: Elem, x: u64, y: u64) -> u64 {
    let (a, b) = (float(x), float(y));
    match bin {
        Bin::IAdd => mask(elem, x.wrapping_add(y)),
        Bin::ISub => mask(elem, x.wrapping_sub(y)),
        Bin::IMul => mask(elem, x.wrapping_mul(y)),
        Bin::And => x & y,
        Bin::Or => x | y,
        Bin::Xor => x ^ y,
        Bin::SMin => {
            if signed(elem, x) < signed(elem, y) {
                x
            } else {
                y
            }
        }
        Bin::SMax => {
            if signed(elem, x) > signed(elem, y) {
                x
            } else {
                y
            }
        }
        Bin::MulHigh => {
            let product = signed(elem, x) * signed(elem, y);
            mask(elem, ((product + (1 << 14)) >> 15) as u64)
        }
        Bin::FAdd => bits(a + b),
        Bin::FSub => bits(a - b),
        Bin::FMul => bits(a * b),
        Bin::FDiv => bits(a / b),
        // Equal operands (zeros of both signs) give the second.
        Bin::FMin => {
            if a < b || b.is_nan() {
                x
            } else {
                y
            }
        }
        Bin::FMax => {
            if a > b || b.is_nan() {
                x
            } else {
                y
            }
        }
    }
}

fn unary(un: Un, x: u64) -> u64 {
    match un {
        Un::FNeg => x ^ 0x8000_0000,
        Un::FAbs => x & 0x7fff_ffff,
        Un::FSqrt => bits(float(x).sqrt()),
        Un::FRound => bits(float(x).round_ties_even()),
        Un::FFloor => bits(float(x).floor()),
        Un::CountOnes => u64::from((x & 0xff).count_ones()),
    }
}

fn shifted(shift: Shift, elem: Elem, x: u64, n: u32) -> u64 {
    match shift {
        Shift::Shl => mask(elem, x << n),
        Shift::UShr => x >> n,
        Shift::SShr => mask(elem, (signed(elem, x) >> n) as u64),
    }
}

fn compare(cmp: Cmp, elem: Elem, x: u64, y: u64) -> bool {
    match cmp {
        Cmp::IEq => x == y,
        Cmp::SLt => signed(elem, x) < signed(elem, y),
        Cmp::FLt => float(x) < float(y),
        Cmp::FLe => float(x) <= float(y),
        Cmp::FEq => float(x) == float(y),
    }
}

fn converted(convert: Convert, from: Elem, to: Elem, x: u64) -> u64 {
    match convert {
        Convert::WidenS => mask(to, signed(from, x) as u64),
        Convert::WidenU => x,
        Convert::Narrow => mask(to, x),
        Convert::IntToFloat => bits(signed(from, x) as f32),
        Convert::FloatToInt => mask(to, float(x).round_ties_even() as i32 as u64),
    }
}

/// The same bytes in lanes of another width.
fn regroup(from: Elem, lanes: &[u64], to: Elem) -> Vec<u64> {
    let (from, to) = (from.bits() as usize / 8, to.bits() as usize / 8);
    let bytes: Vec<u8> = lanes
        .iter()
        .flat_map(|l| l.to_le_bytes().into_iter().take(from))
        .collect();
    bytes
        .chunks(to)
        .map(|lane| lane.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
        .collect()
}

/// Sums of products of neighbours.
fn groups<'a>(
    elem: Elem,
    size: usize,
    a: &'a [u64],
    b: &'a [u64],
    a_signed: bool,
) -> impl Iterator<Item = i64> + 'a {
    a.chunks(size).zip(b.chunks(size)).map(move |(a, b)| {
        let left = |x: u64| if a_signed { signed(elem, x) } else { x as i64 };
        a.iter()
            .zip(b)
            .map(|(x, y)| left(*x) * signed(elem, *y))
            .sum()
    })
}

fn dot(acc: &[u64], a: &[u64], b: &[u64], a_signed: bool) -> Vec<u64> {
    let sums = groups(Elem::I8, 4, a, b, a_signed);
    acc.iter()
        .zip(sums)
        .map(|(acc, sum)| mask(Elem::I32, acc.wrapping_add(sum as u64)))
        .collect()
}

/// First half with second half, until one is left.
fn folded(bin: Bin, elem: Elem, mut lanes: Vec<u64>) -> u64 {
    while lanes.len() > 1 {
        let (first, second) = lanes.split_at(lanes.len() / 2);
        lanes = zip(first, second, |x, y| binary(bin, elem, x, y));
    }
    lanes.first().copied().unwrap_or(0)
}
