//! Codes moved one after the other: as they are, neighbours to a joint code, or a joint code to those of neighbours.

use super::{Relayout, Row, constant, side};
use crate::format::recode::{Recoding, Way};
use crate::format::{Field, Scope};
use crate::lower::frames::Sides;
use crate::lower::{I32, I64, Lower};
use crate::schedule::ScheduleError;
use crate::vector::ir::{Bin, Convert, Op, Scalar, Shift, Value};

/// A field on one side: what its addresses count from, and its first slot.
struct Slots<'f> {
    field: &'f Field,
    bytes: Value,
    first: Value,
}

impl<'f> Slots<'f> {
    fn new(lower: &mut Lower<'_>, field: &'f Field, (sides, row): (Sides, Value)) -> Slots<'f> {
        let count = lower.scalar(&constant(field.count));
        Slots {
            field,
            bytes: sides[side(field.scope)],
            first: lower.bin(Bin::IMul, row, count),
        }
    }

    fn load(&self, lower: &mut Lower<'_>, at: Value) -> Result<Value, ScheduleError> {
        let slot = lower.bin(Bin::IAdd, self.first, at);
        lower.load_slot(self.bytes, self.field, slot)
    }

    fn store(&self, lower: &mut Lower<'_>, at: Value, code: Value) {
        let slot = lower.bin(Bin::IAdd, self.first, at);
        lower.store_slot(self.bytes, self.field, slot, code);
    }
}

impl Relayout<'_> {
    /// Moves the codes of a row of a block, or what a row or the tensor has once: all, or those of so many elements.
    pub(super) fn codes(
        &self,
        lower: &mut Lower<'_>,
        like: Scope,
        row: Row,
        count: Option<Value>,
    ) -> Result<(), ScheduleError> {
        for (a, b, way) in self.fields(like) {
            let (from, to) = (Slots::new(lower, a, row.from), Slots::new(lower, b, row.to));
            match way {
                Way::Alone => alone(lower, &from, &to, count)?,
                Way::Join(recoding) => join(lower, &from, &to, recoding, count)?,
                Way::Split(recoding) => split(lower, &from, &to, recoding)?,
            }
        }
        Ok(())
    }
}

/// Moves codes as they are.
fn alone(
    lower: &mut Lower<'_>,
    from: &Slots<'_>,
    to: &Slots<'_>,
    count: Option<Value>,
) -> Result<(), ScheduleError> {
    let zero = lower.scalar(&Scalar::Const(0));
    let end = count.unwrap_or_else(|| lower.scalar(&constant(from.field.count)));
    let (at, _) = lower.open(&to.field.name, zero, end, 1, &[]);
    let code = from.load(lower, at)?;
    to.store(lower, at, code);
    lower.close(&[]);
    Ok(())
}

/// Makes joint codes. Of so many elements the others of a block have code 0, as if the source had room for them.
fn join(
    lower: &mut Lower<'_>,
    from: &Slots<'_>,
    to: &Slots<'_>,
    recoding: &Recoding,
    count: Option<Value>,
) -> Result<(), ScheduleError> {
    let [zero, one] = [0, 1].map(|n| lower.scalar(&Scalar::Const(n)));
    let all = lower.scalar(&constant(to.field.count));
    let end = match count {
        // A block without elements is not there.
        Some(count) => {
            let some = lower.bin(Bin::SMin, count, one);
            lower.bin(Bin::IMul, all, some)
        }
        None => all,
    };
    let last = count.map(|count| lower.bin(Bin::ISub, count, one));
    let (group, _) = lower.open(&to.field.name, zero, end, 1, &[]);
    let width = lower.scalar(&constant(recoding.width));
    let first = lower.bin(Bin::IMul, group, width);
    let mut codes = None;
    for j in 0..recoding.width {
        let at = lower.further(first, &constant(j));
        let code = match last {
            None => from.load(lower, at)?,
            Some(last) => {
                let inside = lower.bin(Bin::SMin, at, last);
                let code = from.load(lower, inside)?;
                let over = lower.bin(Bin::ISub, last, at);
                let past = lower.put(I64, Op::Shift(Shift::UShr, over, 63), &[over]);
                let kept = lower.bin(Bin::ISub, past, one);
                let kept = lower.put(I32, Op::Convert(Convert::Narrow, kept), &[kept]);
                lower.bin(Bin::And, code, kept)
            }
        };
        let up = (j * recoding.bits) as u8;
        let placed = match up {
            0 => code,
            up => lower.put(I32, Op::Shift(Shift::Shl, code, up), &[code]),
        };
        codes = Some(match codes {
            None => placed,
            Some(codes) => lower.bin(Bin::Or, codes, placed),
        });
    }
    let codes = codes.ok_or(ScheduleError::Internal("a joint code of nothing"))?;
    let codes = lower.put(I64, Op::Convert(Convert::WidenU, codes), &[codes]);
    let joint = lower.table_entry(&to.field.name, recoding.joint.clone(), codes);
    let joint = lower.put(I32, Op::Convert(Convert::Narrow, joint), &[joint]);
    to.store(lower, group, joint);
    lower.close(&[]);
    Ok(())
}

/// Makes single codes of joint ones.
fn split(
    lower: &mut Lower<'_>,
    from: &Slots<'_>,
    to: &Slots<'_>,
    recoding: &Recoding,
) -> Result<(), ScheduleError> {
    let zero = lower.scalar(&Scalar::Const(0));
    let all = lower.scalar(&constant(from.field.count));
    let (group, _) = lower.open(&to.field.name, zero, all, 1, &[]);
    let joint = from.load(lower, group)?;
    let joint = lower.put(I64, Op::Convert(Convert::WidenU, joint), &[joint]);
    let width = lower.scalar(&constant(recoding.width));
    let first = lower.bin(Bin::IMul, group, width);
    let entries = lower.bin(Bin::IMul, joint, width);
    for j in 0..recoding.width {
        let entry = lower.further(entries, &constant(j));
        let code = lower.table_entry(&to.field.name, recoding.single.clone(), entry);
        let code = lower.put(I32, Op::Convert(Convert::Narrow, code), &[code]);
        let at = lower.further(first, &constant(j));
        to.store(lower, at, code);
    }
    lower.close(&[]);
    Ok(())
}
