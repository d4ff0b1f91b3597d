//! What operations mean to the solver: one line each. Terms of numbers are exact; registers wrap or saturate as the machine
//! does. A new operation needs a line here, or a line that says why it has none.

use super::Stop;
use super::meanings as m;
use super::registers::{Vector, fill};
use super::shapes::{batch, places, rows};
use super::smt::{saturated, wrapped};
use super::statement::{Pattern, Statement};
use crate::rewrite::lang::{Op, Ty};
use crate::schedule::index::AxisSet;
use egg::Id;

type Env = super::super::machine::Env;
type Number = fn(&mut Statement<'_>, &Pattern, &[Id], Env) -> Result<String, Stop>;
type Register = fn(&mut Statement<'_>, &Pattern, &[Id], Env) -> Result<Vector, Stop>;

/// The meaning of an operation. Templates have `%0`, `%1`, … for their operands.
#[derive(Clone, Copy)]
pub(super) enum Line {
    /// Of numbers: a template.
    Number(&'static str),
    /// Of numbers, by data.
    NumberBy(Number),
    /// Lane by lane: the types of the operands, of the result, a template.
    Lanes(&'static [Ty], Ty, &'static str),
    /// Lane by lane in the type that is the first operand, which takes the low bits of what the template says of numbers.
    Typed(&'static str),
    /// Neighbours summed: how many axes of two lanes, the types of the operands, the template of what is summed, exact, and
    /// what becomes of the sum.
    Groups(u32, &'static [Ty], &'static str, Sum),
    /// By data, lanes or axes.
    By(Register),
    /// Not stated, and why.
    Unstated(&'static str),
}

/// What a register takes of an exact sum.
#[derive(Clone, Copy)]
pub(super) enum Sum {
    /// Its low bits.
    Wraps(Ty),
    /// The nearest number.
    Saturates(Ty),
}

use Line::*;
use Sum::{Saturates, Wraps};

pub(super) const FLOATS: &str = "arithmetic of floats; what it rounds goes into a bound";
const ENTRIES: &str = "tables whose entries are terms; no arithmetic";
const REALS: &str = "a function of real numbers";

const U8_I8: &[Ty] = &[Ty::U8, Ty::I8];
const PRODUCT: &str = "(bvmul %0 %1)";

/// The table.
const LINES: &[(Op, Line)] = &[
    (Op::Add, Number("(bvadd %0 %1)")),
    (Op::Mul, Number("(bvmul %0 %1)")),
    (Op::Min, Number("(ite (bvslt %0 %1) %0 %1)")),
    (Op::Max, Number("(ite (bvslt %1 %0) %0 %1)")),
    (Op::Ld, NumberBy(|s, p, c, env| s.variable(p, c[0], env))),
    (Op::Extent, NumberBy(|s, p, c, _| s.leaf(p, c[0], "extent"))),
    (Op::Unit, NumberBy(|s, p, c, _| s.leaf(p, c[0], "unit"))),
    (Op::Bits, NumberBy(m::bits)),
    (Op::Elem, NumberBy(m::elem)),
    (Op::Lookup, NumberBy(m::lookup)),
    (Op::Biased, NumberBy(m::biased)),
    (Op::Sum, NumberBy(m::sum)),
    (Op::And, Number("(bvand %0 %1)")),
    (Op::CountOnes, NumberBy(m::count_ones)),
    (Op::PackBits, NumberBy(m::pack_bits)),
    (Op::Vec, By(m::vec)),
    (Op::VLoad, By(m::load)),
    (Op::VNum, By(m::num)),
    (Op::VExtent, By(m::extent_of)),
    (Op::VUnit, By(m::unit_of)),
    (Op::VSpread, By(m::spread)),
    (Op::VBits, By(m::v_bits)),
    (Op::VLookup8, By(m::lookup8)),
    (Op::VLookup32, By(m::lookup32)),
    (Op::VFetch, By(m::fetch)),
    (Op::VTable, By(m::table)),
    (Op::VSigned, By(m::signed)),
    (Op::VWiden, By(m::widen)),
    (Op::VFloat, By(m::float)),
    (Op::VPlain, Lanes(&[Ty::U8], Ty::I8, "%0")),
    (Op::VBias, Lanes(&[Ty::I8], Ty::U8, "(bvxor %0 #x80)")),
    (Op::VIAdd, Typed("(bvadd %0 %1)")),
    (Op::VIMul, Typed("(bvmul %0 %1)")),
    (
        Op::VMulLow,
        Lanes(&[Ty::I16, Ty::I16], Ty::I16, "(bvmul %0 %1)"),
    ),
    (
        Op::VMulBytes,
        Lanes(&[Ty::U8, Ty::U8], Ty::U8, "(bvmul %0 %1)"),
    ),
    (
        Op::VOver256,
        Lanes(&[Ty::I32], Ty::I32, "(bvashr %0 (_ bv8 32))"),
    ),
    (Op::VSum, By(m::v_sum)),
    (Op::VFold, By(m::fold)),
    (Op::VDot4, Groups(2, U8_I8, PRODUCT, Wraps(Ty::I32))),
    (
        Op::VDot4S,
        Groups(2, &[Ty::I8, Ty::I8], PRODUCT, Wraps(Ty::I32)),
    ),
    (
        Op::VMulPairs8,
        Groups(1, U8_I8, PRODUCT, Saturates(Ty::I16)),
    ),
    (
        Op::VMulPairs16,
        Groups(1, &[Ty::I16, Ty::I16], PRODUCT, Wraps(Ty::I32)),
    ),
    (Op::VAddPairs16, Groups(1, &[Ty::I16], "%0", Wraps(Ty::I32))),
    (
        Op::VStage,
        By(|s, p, c, env| s.vector(p, c[0], env.without(rows()))),
    ),
    (
        Op::VPanel,
        By(|s, p, c, env| s.vector(p, c[0], env.without(batch()))),
    ),
    (Op::LowByte, Number("(bvand %0 (_ bv255 80))")),
    (Op::HighByte, Number("(bvashr %0 (_ bv8 80))")),
    (Op::Over256, NumberBy(m::over_256)),
    (
        Op::Wrap,
        Number("((_ sign_extend 64) ((_ extract 15 0) %0))"),
    ),
    (Op::VJoin, Lanes(U8_I8, Ty::I16, "(concat %1 %0)")),
    (Op::VLow, Lanes(&[Ty::I16], Ty::U8, "((_ extract 7 0) %0)")),
    (Op::VHigh, By(m::high)),
    (Op::VNarrow, By(m::narrow)),
    (Op::VSumBytes, By(m::sum_bytes)),
    (Op::VAnd, Lanes(&[Ty::U8, Ty::U8], Ty::U8, "(bvand %0 %1)")),
    (Op::VCountOnes, By(m::v_count_ones)),
    (Op::VPackBits, By(m::v_pack_bits)),
    (Op::Place, Unstated(ENTRIES)),
    (Op::Pick, Unstated(ENTRIES)),
    (Op::At, Unstated(ENTRIES)),
    (Op::VPlace, Unstated(ENTRIES)),
    (Op::VPick, Unstated(ENTRIES)),
    (
        Op::VMulHigh,
        Unstated("a fraction; 2^32 pairs say what it does"),
    ),
    (Op::Div, Unstated(REALS)),
    (Op::Abs, Unstated(REALS)),
    (Op::Exp, Unstated(REALS)),
    (Op::Sqrt, Unstated(REALS)),
    (Op::Tanh, Unstated(REALS)),
    (Op::Silu, Unstated(REALS)),
    (Op::Gelu, Unstated(REALS)),
    (Op::Round, Unstated(REALS)),
    (Op::RoundAway, Unstated(REALS)),
    (Op::Trunc, Unstated(REALS)),
    (Op::Floor, Unstated(REALS)),
    (Op::FloorPow2, Unstated(REALS)),
    (Op::SelectLt, Unstated(REALS)),
    (Op::SelectLe, Unstated(REALS)),
    (Op::SelectEq, Unstated(REALS)),
    (Op::MaxOver, Unstated(REALS)),
    (Op::StrictAdd, Unstated(FLOATS)),
    (Op::StrictSub, Unstated(FLOATS)),
    (Op::StrictMul, Unstated(FLOATS)),
    (Op::StrictDiv, Unstated(FLOATS)),
    (Op::StrictMin, Unstated(FLOATS)),
    (Op::StrictMax, Unstated(FLOATS)),
    (Op::VDecode, Unstated(FLOATS)),
    (
        Op::VMagic,
        Unstated("bits of a float; `magic.rs` tries them all"),
    ),
    (Op::VFAdd, Unstated(FLOATS)),
    (Op::VFSub, Unstated(FLOATS)),
    (Op::VFMul, Unstated(FLOATS)),
    (Op::VFDiv, Unstated(FLOATS)),
    (Op::VFMin, Unstated(FLOATS)),
    (Op::VFMax, Unstated(FLOATS)),
    (Op::VAbs, Unstated(FLOATS)),
    (Op::VExp, Unstated(FLOATS)),
    (Op::VSqrt, Unstated(FLOATS)),
    (Op::VTanh, Unstated(FLOATS)),
    (Op::VSilu, Unstated(FLOATS)),
    (Op::VGelu, Unstated(FLOATS)),
    (Op::VRound, Unstated(FLOATS)),
    (Op::VRoundAway, Unstated(FLOATS)),
    (Op::VTrunc, Unstated(FLOATS)),
    (Op::VFloor, Unstated(FLOATS)),
    (Op::VFloorPow2, Unstated(FLOATS)),
    (Op::VSelectLt, Unstated(FLOATS)),
    (Op::VSelectLe, Unstated(FLOATS)),
    (Op::VSelectEq, Unstated(FLOATS)),
    (Op::VMaxOver, Unstated(FLOATS)),
    (Op::VFoldMax, Unstated(FLOATS)),
];

/// The line of an operation.
pub(super) fn line(op: Op) -> Result<Line, Stop> {
    let found = LINES.iter().find(|(o, _)| *o == op);
    found.map(|(_, line)| *line).ok_or(Stop::NoLine(op))
}

/// Operations that the table lacks or has twice.
pub(super) fn odd_lines() -> Vec<&'static str> {
    let count = |op: Op| LINES.iter().filter(|(o, _)| *o == op).count();
    let odd = Op::ALL.iter().filter(|op| count(**op) != 1);
    odd.map(|op| op.name()).collect()
}

/// An operation that a template says, on the registers of its operands.
pub(super) fn by_template(
    s: &mut Statement<'_>,
    p: &Pattern,
    (line, c): (Line, &[Id]),
    env: Env,
) -> Result<Vector, Stop> {
    let operands = |s: &mut Statement<'_>, c: &[Id], of: &[Ty]| {
        let each = c
            .iter()
            .zip(of)
            .map(|(c, ty)| s.vector(p, *c, env)?.of(*ty));
        each.collect::<Result<Vec<Vector>, Stop>>()
    };
    match line {
        By(code) => code(s, p, c, env),
        Typed(template) => {
            let ty = s.ty(p, c[0])?;
            let x = operands(s, &c[1..], &vec![ty; c.len() - 1])?;
            let exact: Vec<Vector> = x.into_iter().map(Vector::exact).collect();
            let result = Vector::lane_wise(&exact, Ty::F32, template)?;
            Ok(result.map(ty, |x| wrapped(x, ty)))
        }
        Lanes(of, to, template) => Vector::lane_wise(&operands(s, c, of)?, to, template),
        Groups(axes, of, each, sum) => {
            let exact = operands(s, c, of)?.into_iter().map(Vector::exact);
            let x = Vector::lane_wise(&exact.collect::<Vec<_>>(), Ty::F32, each)?;
            let kept = x.set.iter().count().saturating_sub(axes as usize);
            let inner = x.set.iter().skip(kept);
            let set = inner.fold(x.set, |set, a| set.minus(AxisSet::one(a)));
            let group = 1 << axes;
            if places(set).len() * group != x.lanes.len() {
                return Err(Stop::Fault("groups of another size"));
            }
            let sums = x.neighbours(set, group);
            Ok(match sum {
                Wraps(to) => sums.map(to, |x| wrapped(x, to)),
                Saturates(to) => sums.map(to, |x| saturated(x, to)),
            })
        }
        Unstated(why) => Err(Stop::Unstated(why.to_owned())),
        Number(_) | NumberBy(_) => Err(Stop::Fault("a number is no register")),
    }
}

/// A number that a template says.
pub(super) fn number(
    s: &mut Statement<'_>,
    p: &Pattern,
    (line, c): (Line, &[Id]),
    env: Env,
) -> Result<String, Stop> {
    match line {
        Number(template) => {
            let operands = c.iter().map(|c| s.number(p, *c, env));
            Ok(fill(template, &operands.collect::<Result<Vec<_>, _>>()?))
        }
        NumberBy(code) => code(s, p, c, env),
        Unstated(why) => Err(Stop::Unstated(why.to_owned())),
        Typed(_) | Lanes(..) | Groups(..) | By(_) => Err(Stop::Fault("a register is no number")),
    }
}
