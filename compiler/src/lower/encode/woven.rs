//! Quantisation where rows share blocks, or where a block is one column wide: groups of rows, each a row of blocks. Columns go
//! side by side where nothing but bits is shared; what rows or columns leave over goes the general way.

use super::rows::Rows;
use super::{Columns, Known, columns, one_block, whole};
use crate::format::BlockFormat;
use crate::lower::frames::Frames;
use crate::lower::{I64, Lower};
use crate::schedule::ScheduleError;
use crate::schedule::index::{div, div_ceil, mul, rem};
use crate::vector::ir::{Bin, Op, Scalar, Value};
use std::borrow::Cow;

/// Encodes all matrices of a shape whose last axis has been taken off.
pub(super) fn encode(
    lower: &mut Lower<'_>,
    format: &BlockFormat,
    mut shape: Vec<Scalar>,
    columns: &Columns,
    (source, target): (Value, Value),
) -> Result<(), ScheduleError> {
    let rows = shape.pop().unwrap_or(Scalar::Const(1));
    let matrices = shape.into_iter().fold(Scalar::Const(1), mul);
    let height = u64::from(format.rows);
    let row_bytes = columns.row_bytes(format);
    let stride = mul(Scalar::Const(4), columns.values.clone());
    let groups = div_ceil(rows.clone(), height);
    let (frames, all) = (
        Frames {
            format: Cow::Borrowed(format),
            blocks: row_bytes.clone(),
        },
        mul(mul(matrices.clone(), rows.clone()), columns.values.clone()),
    );
    let all = lower.scalar(&all);
    let end = mul(matrices.clone(), groups.clone());
    let known = frames.tensor(lower, target, (source, all), &end)?;
    let target = frames.first_row(lower, target);
    let group_bytes = mul(Scalar::Const(height), stride.clone());
    let zero = lower.scalar(&Scalar::Const(0));
    let end = lower.scalar(&matrices);
    let (matrix, _) = lower.open("matrix", zero, end, 1, &[]);
    let source = lower.offset(source, matrix, &mul(rows.clone(), stride.clone()));
    let target = lower.offset(target, matrix, &mul(groups, row_bytes.clone()));
    let stride = lower.scalar(&stride);
    let whole = lower.scalar(&div(rows.clone(), height));
    let group = |lower: &mut Lower<'_>, at: Value, height: &Scalar, whole: bool| {
        let rows = Rows {
            values: lower.offset(source, at, &group_bytes),
            stride,
            height: lower.scalar(height),
        };
        let bytes = lower.offset(target, at, &row_bytes);
        blocks(lower, format, columns, rows, bytes, whole, &known)?;
        columns.fill_up(lower, format, bytes);
        Ok(())
    };
    let (at, _) = lower.open("group", zero, whole, 1, &[]);
    group(lower, at, &Scalar::Const(height), true)?;
    lower.close(&[]);
    let rest = rem(rows, height);
    if rest != Scalar::Const(0) {
        let count = lower.scalar(&rest);
        let one = lower.scalar(&Scalar::Const(1));
        let some = lower.put(I64, Op::Bin(Bin::SMin, count, one), &[count, one]);
        lower.open("rest", zero, some, 1, &[]);
        group(lower, whole, &rest, false)?;
        lower.close(&[]);
    }
    lower.close(&[]);
    Ok(())
}

/// Encodes the blocks of a group of rows, which `is_whole` says are all there.
fn blocks(
    lower: &mut Lower<'_>,
    format: &BlockFormat,
    columns: &Columns,
    rows: Rows,
    bytes: Value,
    is_whole: bool,
    known: &Known,
) -> Result<(), ScheduleError> {
    let values = &columns.values;
    let len = u64::from(format.len);
    let block_bytes = Scalar::Const(u64::from(format.bytes));
    let zero = lower.scalar(&Scalar::Const(0));
    let whole = lower.scalar(&div(values.clone(), len));
    let mut first = zero;
    let clauses = match is_whole {
        true => (columns::possible(format), whole::possible(format)),
        false => (None, None),
    };
    if let (Some(clause), _) = clauses {
        let end = lower.scalar(&div(values.clone(), columns::LANES));
        let (at, _) = lower.open("columns", zero, end, 1, &[]);
        let here = rows.from(lower, at, columns::LANES);
        let several = mul(Scalar::Const(columns::LANES), block_bytes.clone());
        let bytes = lower.offset(bytes, at, &several);
        columns::blocks(lower, format, clause, here, bytes, known)?;
        lower.close(&[]);
        let lanes = lower.scalar(&Scalar::Const(columns::LANES));
        first = lower.put(I64, Op::Bin(Bin::IMul, end, lanes), &[end, lanes]);
    }
    let (at, _) = lower.open("block", first, whole, 1, &[]);
    let here = rows.from(lower, at, len);
    let block = lower.offset(bytes, at, &block_bytes);
    match clauses {
        (None, Some(clause)) => whole::block(lower, format, clause, here, block, known)?,
        _ => {
            let count = columns.count(lower.scalar(&Scalar::Const(len)));
            one_block(lower, format, here, count, block, known)?;
        }
    }
    lower.close(&[]);
    let rest = rem(values.clone(), len);
    if rest != Scalar::Const(0) {
        let count = lower.scalar(&rest);
        let one = lower.scalar(&Scalar::Const(1));
        let some = lower.put(I64, Op::Bin(Bin::SMin, count, one), &[count, one]);
        lower.open("ragged", zero, some, 1, &[]);
        let here = rows.from(lower, whole, len);
        let block = lower.offset(bytes, whole, &block_bytes);
        one_block(lower, format, here, columns.count(count), block, known)?;
        lower.close(&[]);
    }
    Ok(())
}
