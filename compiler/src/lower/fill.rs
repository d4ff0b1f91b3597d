//! Copies of plain tensors whose rows go on with zeros: vectors of a row, then what they leave over, then the zeros.

use super::Lower;
use crate::format::FormatKind;
use crate::schedule::ScheduleError;
use crate::schedule::index::{div, mul};
use crate::spec::kernel::TensorId;
use crate::vector::ir::{Elem, Op, Scalar, Type, Value};

/// Copies `source` into `target`, whose rows go on with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FillJob {
    /// What is copied.
    pub source: TensorId,
    /// Where to; of the same plain elements.
    pub target: TensorId,
}

/// Elements that are copied at a time.
const LANES: u16 = 16;

/// Lowers a copy.
pub(super) fn fill(lower: &mut Lower<'_>, job: &FillJob) -> Result<(), ScheduleError> {
    let FormatKind::Plain(element) = &lower.kernel.tensors[job.target].format.kind else {
        return Err(ScheduleError::Internal("blocks filled up by a copy"));
    };
    let elem = match element.storage_bytes() {
        1 => Elem::I8,
        2 => Elem::I16,
        _ => Elem::I32,
    };
    let bytes = Scalar::Const(element.storage_bytes().into());
    let mut rows = lower.shape(job.source);
    let all = rows.pop().unwrap_or(Scalar::Const(1));
    let stored = lower.stored_columns(job.target);
    let (source, target) = (lower.pointers[&job.source], lower.pointers[&job.target]);
    let rows = lower.scalar(&rows.into_iter().fold(Scalar::Const(1), mul));
    let zero = lower.scalar(&Scalar::Const(0));
    let (row, _) = lower.open("row", zero, rows, 1, &[]);
    let source = lower.offset(source, row, &mul(bytes.clone(), all.clone()));
    let target = lower.offset(target, row, &mul(bytes.clone(), stored.clone()));
    let vectors = lower.scalar(&div(all.clone(), LANES.into()));
    let several = mul(Scalar::Const(LANES.into()), bytes.clone());
    let (at, _) = lower.open("vector", zero, vectors, 1, &[]);
    copy(
        lower,
        Type::new(elem, LANES),
        at,
        &several,
        (source, target),
    );
    lower.close(&[]);
    let one = Type::new(elem, 1);
    let whole = mul(div(all.clone(), LANES.into()), Scalar::Const(LANES.into()));
    let (first, end) = (lower.scalar(&whole), lower.scalar(&all));
    let (at, _) = lower.open("element", first, end, 1, &[]);
    copy(lower, one, at, &bytes, (source, target));
    lower.close(&[]);
    let stored = lower.scalar(&stored);
    let (at, _) = lower.open("zero", end, stored, 1, &[]);
    let nothing = lower.put_at(0, one, Op::IConst(0));
    let pointer = lower.offset(target, at, &bytes);
    lower.b.store_at(lower.here(), nothing, pointer, 0);
    lower.close(&[]);
    lower.close(&[]);
    Ok(())
}

/// Copies some values: those at a multiple of a stride.
fn copy(
    lower: &mut Lower<'_>,
    ty: Type,
    at: Value,
    stride: &Scalar,
    (source, target): (Value, Value),
) {
    let base = lower.offset(source, at, stride);
    let here = lower.here();
    let values = lower.put_at(here, ty, Op::Load { base, offset: 0 });
    let pointer = lower.offset(target, at, stride);
    lower.b.store_at(here, values, pointer, 0);
}
