//! Fields that a row, or the tensor, has once: assigned from all values that share them, before the blocks are encoded.

use super::{Block, F32, Members, Scope, encoded, store_code, whole};
use crate::format::{Assigned, EncodeExpr, FieldId, ReduceOp, Scope as Stored, Side};
use crate::lower::frames::{Frames, Sides};
use crate::lower::{I64, Lower};
use crate::schedule::ScheduleError;
use crate::vector::ir::{Bin, Elem, Op, Scalar, Shift, Type, Value};
use std::collections::BTreeMap;

/// What fields read back as.
pub(super) type Known = BTreeMap<FieldId, Value>;

impl Frames<'_> {
    /// Assigns what the tensor has once.
    pub(super) fn tensor(
        &self,
        lower: &mut Lower<'_>,
        target: Value,
        (values, count): (Value, Value),
        rows: &Scalar,
    ) -> Result<Known, ScheduleError> {
        let sides = self.tensor_sides(lower, target, rows);
        let sizes = self.format.frame.tensor;
        let stored = Stored::Tensor(Side::Before);
        self.assign(lower, stored, sides, sizes, (values, count), Known::new())
    }

    /// Assigns what a row has once; also where its blocks begin.
    pub(super) fn of_row(
        &self,
        lower: &mut Lower<'_>,
        (target, row): (Value, Value),
        values: (Value, Value),
        known: Known,
    ) -> Result<(Value, Known), ScheduleError> {
        let first = self.first_row(lower, target);
        let start = lower.offset(first, row, &self.row());
        let blocks = self.first_block(lower, start);
        let sides = self.row_sides(lower, start);
        let stored = Stored::Row(Side::Before);
        let known = self.assign(lower, stored, sides, self.format.frame.row, values, known)?;
        Ok((blocks, known))
    }

    fn assign(
        &self,
        lower: &mut Lower<'_>,
        stored: Stored,
        sides: Sides,
        sizes: [u32; 2],
        (values, count): (Value, Value),
        mut known: Known,
    ) -> Result<Known, ScheduleError> {
        let no_clause = ScheduleError::Internal("a format without an encode clause");
        let encode = self.format.encode.as_ref().ok_or(no_clause)?;
        for (bytes, size) in sides.into_iter().zip(sizes) {
            lower.clear(bytes, size);
        }
        let zero = lower.scalar(&Scalar::Const(0));
        for step in &encode.steps {
            let Assigned::Field(id) = step.target else {
                continue;
            };
            let field = &self.format.fields[id];
            let side = match field.scope {
                Stored::Row(side) | Stored::Tensor(side) if field.scope.is_like(stored) => side,
                Stored::Row(_) | Stored::Tensor(_) | Stored::Block => continue,
            };
            let block = Block {
                format: &self.format,
                values,
                count,
                bytes: sides[side as usize],
                row: None,
                encode,
                single: known.clone(),
                locals: BTreeMap::new(),
                // all elements, as they are
                members: Members {
                    order: None,
                    start: Vec::new(),
                },
            };
            let all = Scope::Members(zero, count);
            let code = encoded(lower, &block, &step.expr, all, field)?;
            store_code(lower, &block, field, zero, code);
            let decoded = lower.decode_code(&field.element, code)?;
            known.insert(id, decoded);
        }
        Ok(known)
    }
}

/// The extreme of the whole vectors among all values, and where the rest begins. Any order gives the same.
pub(super) fn extremes(
    lower: &mut Lower<'_>,
    block: &Block<'_>,
    op: ReduceOp,
    body: &EncodeExpr,
    count: Value,
) -> Result<(Value, Value), ScheduleError> {
    let bin = match op {
        ReduceOp::Min => Bin::FMin,
        ReduceOp::Max | ReduceOp::Sum => Bin::FMax,
    };
    let lanes = whole::WIDEST;
    let shift = lanes.trailing_zeros() as u8;
    let zero = lower.scalar(&Scalar::Const(0));
    let vectors = lower.put(I64, Op::Shift(Shift::UShr, count, shift), &[count]);
    let nothing = lower.float(f32::NAN, Type::new(Elem::F32, lanes as u16));
    let (at, inside) = lower.open("vector", zero, vectors, 1, &[nothing]);
    let values = lower.offset(block.values, at, &Scalar::Const(4 * u64::from(lanes)));
    let clause = (block.format, block.encode);
    let vector = whole::vector(lower, clause, body, values, &block.single)?;
    let next = lower.bin(bin, inside[0], vector);
    let all = lower.close(&[next])[0];
    let mut found = lower.float(f32::NAN, F32);
    for lane in 0..lanes as u16 {
        let one = lower.put(F32, Op::Extract(all, lane), &[all]);
        found = lower.bin(bin, found, one);
    }
    let rest = lower.put(I64, Op::Shift(Shift::Shl, vectors, shift), &[vectors]);
    Ok((rest, found))
}
