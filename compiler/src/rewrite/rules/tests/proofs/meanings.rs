//! Operations whose meaning depends on data, lanes or axes.

use super::Stop;
use super::operations::FLOATS;
use super::registers::{Lane, Vector};
use super::shapes::{extent, kind, places};
use super::smt::{WIDTH, extended, fits, literal, saturated, wrapped};
use super::statement::{Pattern, Statement};
use crate::rewrite::lang::Ty;
use crate::schedule::index::{AxisKind, AxisSet};
use egg::Id;

type Env = super::super::machine::Env;

/// A field's bits are taken from words of memory, of 32 bits at most.
pub(super) fn bits(s: &mut Statement<'_>, p: &Pattern, c: &[Id], env: Env) -> Result<String, Stop> {
    let word = s.number(p, c[1], env)?;
    s.defined(&word, fits(&word, Ty::I32), Some(Ty::I32));
    let [shift, mask, up] = s.field(p, c[0])?;
    Ok(format!(
        "(bvshl (bvand (bvashr {word} {shift}) {mask}) {up})"
    ))
}

pub(super) fn elem(s: &mut Statement<'_>, p: &Pattern, c: &[Id], env: Env) -> Result<String, Stop> {
    let code = s.number(p, c[1], env)?;
    let bits = s.element(p, c[0])?;
    s.defined(
        &code,
        format!("(bvult {code} (bvshl {} {bits}))", literal(1)),
        None,
    );
    s.value(p, c[0], code)
}

pub(super) fn lookup(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<String, Stop> {
    let code = s.number(p, c[1], env)?;
    s.defined(&code, format!("(bvult {code} {})", literal(16)), None);
    s.entry(p, c[0], &code)
}

pub(super) fn biased(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<String, Stop> {
    let byte = s.number(p, c[0], env)?;
    s.defined(&byte, fits(&byte, Ty::I8), Some(Ty::I8));
    Ok(format!("(bvadd {byte} {})", literal(128)))
}

/// Of multiples of 256 only.
pub(super) fn over_256(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<String, Stop> {
    let number = s.number(p, c[0], env)?;
    let whole = format!("(= (bvand {number} {}) {})", literal(255), literal(0));
    s.defined(&number, whole, None);
    Ok(format!("(bvashr {number} {})", literal(8)))
}

/// Over lanes and copies one by one; over a loop by induction: what came before its last term is any number.
pub(super) fn sum(s: &mut Statement<'_>, p: &Pattern, c: &[Id], env: Env) -> Result<String, Stop> {
    let axis = s.axis(p, c[0])?;
    if kind(axis) != AxisKind::Loop {
        let terms = (0..extent(axis)).map(|v| s.number(p, c[1], env.with(axis, v)));
        let terms = terms.collect::<Result<Vec<_>, _>>()?;
        return Ok(format!("(bvadd {})", terms.join(" ")));
    }
    if s.shape.empty {
        return Ok(literal(0));
    }
    let last = s.number(p, c[1], env.with(axis, 0))?;
    let before = s.before(&last);
    Ok(format!("(bvadd {before} {last})"))
}

/// How many bits of a bit-vector are set, in as many bits.
fn ones(x: &str, width: u32) -> String {
    let bit = |at: u32| {
        format!(
            "((_ zero_extend {}) ((_ extract {at} {at}) {x}))",
            width - 1
        )
    };
    let bits: Vec<String> = (0..width).map(bit).collect();
    format!("(bvadd {})", bits.join(" "))
}

pub(super) fn count_ones(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<String, Stop> {
    Ok(ones(&s.number(p, c[0], env)?, WIDTH))
}

pub(super) fn pack_bits(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<String, Stop> {
    let axis = s.axis(p, c[0])?;
    let digit = |v: u64| {
        let digit = s.number(p, c[1], env.with(axis, v))?;
        Ok(format!("(bvmul {} {digit})", literal(1 << v)))
    };
    let digits = (0..extent(axis))
        .map(digit)
        .collect::<Result<Vec<_>, Stop>>()?;
    Ok(format!("(bvadd {})", digits.join(" ")))
}

pub(super) fn vec(s: &mut Statement<'_>, p: &Pattern, c: &[Id], env: Env) -> Result<Vector, Stop> {
    let ty = s.ty(p, c[1])?;
    s.each(p, c[0], ty, env, |s, env| s.number(p, c[2], env))
}

pub(super) fn load(s: &mut Statement<'_>, p: &Pattern, c: &[Id], env: Env) -> Result<Vector, Stop> {
    let ty = s.ty(p, c[1])?;
    if s.load_type(p, c[2])? != ty {
        return Err(Stop::Fault("a load of another type"));
    }
    s.each(p, c[0], ty, env, |s, env| s.variable(p, c[2], env))
}

pub(super) fn num(s: &mut Statement<'_>, p: &Pattern, c: &[Id], env: Env) -> Result<Vector, Stop> {
    let ty = s.ty(p, c[1])?;
    let number = s.known(p, c[2])?;
    s.bad.push(format!("(not {})", fits(&number, ty)));
    s.each(p, c[0], ty, env, |_, _| Ok(number.clone()))
}

pub(super) fn extent_of(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let number = s.leaf(p, c[1], "extent")?;
    s.each(p, c[0], Ty::F32, env, |_, _| Ok(number.clone()))
}

pub(super) fn unit_of(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let (ty, number) = (s.ty(p, c[1])?, s.leaf(p, c[2], "unit")?);
    if ty != Ty::F32 {
        s.bad.push(format!("(not {})", fits(&number, ty)));
    }
    s.each(p, c[0], ty, env, |_, _| Ok(number.clone()))
}

pub(super) fn spread(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let inner = s.vector(p, c[1], env)?;
    let set = s.lanes(p, c[0])?;
    if !inner.set.minus(set).is_empty() {
        return Err(Stop::Fault("a spread to fewer lanes"));
    }
    let mut spread = Vec::new();
    for place in places(set) {
        let at = inner.set.iter().fold(0, |at, axis| {
            at * extent(axis) as usize + place.get(axis).unwrap_or(0) as usize
        });
        spread.push(inner.lanes[at].clone());
    }
    Ok(Vector {
        set,
        lanes: spread,
        ..inner
    })
}

/// One shift to where the bits go, and a mask there.
pub(super) fn v_bits(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let words = s.vector(p, c[1], env)?;
    let ty = words.ty;
    if !matches!(ty, Ty::U8 | Ty::I32) {
        return Err(Stop::Fault("a register of another type"));
    }
    let [shift, mask, up] = s.field(p, c[0])?.map(|x| wrapped(&x, ty));
    Ok(words.map(ty, |x| {
        let right = format!("(bvlshr {x} (bvsub {shift} {up}))");
        let left = format!("(bvshl {x} (bvsub {up} {shift}))");
        format!("(bvand (ite (bvuge {shift} {up}) {right} {left}) (bvshl {mask} {up}))")
    }))
}

/// Entries of a table at the lanes of a register, as they are stored.
pub(super) fn entries(
    s: &mut Statement<'_>,
    (p, table): (&Pattern, Id),
    index: Vector,
    ty: Ty,
    stored: impl Fn(&mut Statement<'_>, &str) -> String,
) -> Result<Vector, Stop> {
    let mut found = Vec::new();
    for lane in &index.lanes {
        let code = extended(&lane.value, index.ty, WIDTH);
        s.bad.push(format!("(not (bvult {code} {}))", literal(16)));
        let entry = s.entry(p, table, &code)?;
        let value = stored(s, &entry);
        let misread = lane.misread.clone();
        found.push(Lane { value, misread });
    }
    Ok(Vector {
        ty,
        lanes: found,
        ..index
    })
}

pub(super) fn lookup8(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let ty = s.ty(p, c[0])?;
    let index = s.vector(p, c[2], env)?.of(Ty::U8)?;
    entries(s, (p, c[1]), index, ty, |s, entry| {
        s.bad.push(format!("(not {})", fits(entry, ty)));
        wrapped(entry, ty)
    })
}

pub(super) fn lookup32(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let index = s.vector(p, c[1], env)?.of(Ty::U8)?;
    entries(s, (p, c[0]), index, Ty::F32, |_, entry| entry.to_owned())
}

pub(super) fn table(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let ty = s.ty(p, c[0])?;
    let index = s.vector(p, c[2], env)?.of(Ty::I32)?;
    entries(s, (p, c[1]), index, ty, |_, entry| saturated(entry, ty))
}

/// A table in memory has 2^16 entries at most.
pub(super) fn fetch(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let ty = s.ty(p, c[0])?;
    let bits = s.element(p, c[1])?;
    s.bad.push(format!("(bvugt {bits} {})", literal(16)));
    let codes = s.codes(p, (c[1], c[2]), Ty::I32, env)?;
    let mut found = Vec::new();
    for lane in &codes.lanes {
        let code = format!(
            "((_ zero_extend {}) ((_ extract 15 0) {}))",
            WIDTH - 16,
            lane.value
        );
        let value = saturated(&s.value(p, c[1], code)?, ty);
        let misread = lane.misread.clone();
        found.push(Lane { value, misread });
    }
    Ok(Vector {
        ty,
        lanes: found,
        ..codes
    })
}

/// The sign bit is flipped and subtracted.
pub(super) fn signed(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let ty = s.ty(p, c[0])?;
    let from = if ty.bits() == 8 { Ty::U8 } else { ty };
    let bits = s.element(p, c[1])?;
    let sign = format!("(bvshl {} (bvsub {bits} {}))", literal(1), literal(1));
    let sign = wrapped(&sign, ty);
    let codes = s.codes(p, (c[1], c[2]), from, env)?;
    Ok(codes.map(ty, |x| format!("(bvsub (bvxor {x} {sign}) {sign})")))
}

pub(super) fn widen(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let (ty, narrow) = (s.ty(p, c[0])?, s.vector(p, c[1], env)?);
    let from = narrow.ty;
    if ty == Ty::F32 || from == Ty::F32 || from.bits() >= ty.bits() {
        return Err(Stop::Fault("no wider type"));
    }
    Ok(narrow.map(ty, |x| extended(x, from, ty.bits())))
}

/// The low bits.
pub(super) fn narrow(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let (ty, wide) = (s.ty(p, c[0])?, s.vector(p, c[1], env)?);
    if wide.ty == Ty::F32 || wide.ty.bits() <= ty.bits() {
        return Err(Stop::Fault("no narrower type"));
    }
    let top = ty.bits() - 1;
    Ok(wide.map(ty, |x| format!("((_ extract {top} 0) {x})")))
}

/// High bytes of words.
pub(super) fn high(s: &mut Statement<'_>, p: &Pattern, c: &[Id], env: Env) -> Result<Vector, Stop> {
    let (ty, words) = (s.ty(p, c[0])?, s.vector(p, c[1], env)?.of(Ty::I16)?);
    Ok(words.map(ty, |x| format!("((_ extract 15 8) {x})")))
}

/// The float of an integer stands for it; what it rounds goes into the bound.
pub(super) fn float(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    Ok(s.vector(p, c[0], env)?.of(Ty::I32)?.exact())
}

/// An accumulator, which holds what came before its last term if that fits.
pub(super) fn v_sum(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let axis = s.axis(p, c[0])?;
    if kind(axis) == AxisKind::Lane {
        return Err(Stop::Fault("a loop over lanes"));
    }
    let first = s.vector(p, c[1], env.with(axis, 0))?;
    if first.ty == Ty::F32 {
        return Err(Stop::Unstated(FLOATS.to_owned()));
    }
    if kind(axis) != AxisKind::Loop {
        let mut total = first;
        for value in 1..extent(axis) {
            let term = s.vector(p, c[1], env.with(axis, value))?;
            total = total.zip(&term, |a, b| format!("(bvadd {a} {b})"));
        }
        return Ok(total);
    }
    if s.shape.empty {
        let zero = wrapped(&literal(0), first.ty);
        let lanes = first.lanes.iter().map(|_| Lane::of(zero.clone())).collect();
        return Ok(Vector { lanes, ..first });
    }
    let before = s.before_vector(p, c[1], env.with(axis, 0))?;
    Ok(before.zip(&first, |a, b| format!("(bvadd {a} {b})")))
}

pub(super) fn v_count_ones(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let bytes = s.vector(p, c[0], env)?.of(Ty::U8)?;
    Ok(bytes.map(Ty::U8, |x| ones(x, Ty::U8.bits())))
}

/// Bits of copies in bytes.
pub(super) fn v_pack_bits(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let axis = s.axis(p, c[0])?;
    if kind(axis) != AxisKind::Unroll {
        return Err(Stop::Fault("bits of no copies"));
    }
    let mut packed: Option<Vector> = None;
    for value in (0..extent(axis)).rev() {
        let bit = s.vector(p, c[1], env.with(axis, value))?.of(Ty::U8)?;
        packed = Some(match packed {
            None => bit,
            Some(above) => above.zip(&bit, |a, b| format!("(bvadd {a} {a} {b})")),
        });
    }
    packed.ok_or(Stop::Fault("bits of no copies"))
}

/// Bytes summed over copies in 16 bits.
pub(super) fn sum_bytes(
    s: &mut Statement<'_>,
    p: &Pattern,
    c: &[Id],
    env: Env,
) -> Result<Vector, Stop> {
    let axis = s.axis(p, c[0])?;
    if kind(axis) != AxisKind::Unroll {
        return Err(Stop::Fault("bytes of no copies"));
    }
    let mut total: Option<Vector> = None;
    for value in 0..extent(axis) {
        let bytes = s.vector(p, c[1], env.with(axis, value))?.of(Ty::U8)?;
        if bytes.set.is_empty() {
            return Err(Stop::Fault("no pairs of lanes"));
        }
        let words = bytes.map(Ty::I16, |x| extended(x, Ty::U8, Ty::I16.bits()));
        total = Some(match total {
            None => words,
            Some(t) => t.zip(&words, |a, b| format!("(bvadd {a} {b})")),
        });
    }
    total.ok_or(Stop::Fault("a sum over no copies"))
}

pub(super) fn fold(s: &mut Statement<'_>, p: &Pattern, c: &[Id], env: Env) -> Result<Vector, Stop> {
    let (axis, inner) = (s.axis(p, c[0])?, s.vector(p, c[1], env)?);
    let set = inner.set.minus(AxisSet::one(axis));
    if set == inner.set {
        return Err(Stop::Fault("a fold of other lanes"));
    }
    if inner.ty == Ty::F32 {
        return Err(Stop::Unstated(FLOATS.to_owned()));
    }
    Ok(inner.neighbours(set, extent(axis) as usize))
}
