//! Where the rows of a tensor, and their blocks, lie in its bytes: what quantising and moving codes share. A row is here what the
//! format stores as one: a group of rows, where rows share blocks.

use super::Lower;
use crate::format::BlockFormat;
use crate::schedule::index::{add, mul};
use crate::vector::ir::{Scalar, Value};
use std::borrow::Cow;

/// Where the addresses of fields count from: those before, and those after what they belong to.
pub(super) type Sides = [Value; 2];

/// The rows of a tensor.
pub(super) struct Frames<'f> {
    pub(super) format: Cow<'f, BlockFormat>,
    /// Bytes of the blocks of a row.
    pub(super) blocks: Scalar,
}

impl Frames<'_> {
    /// Bytes from one row to the next.
    pub(super) fn row(&self) -> Scalar {
        let [before, after] = self.format.frame.row.map(|n| Scalar::Const(n.into()));
        add(add(before, self.blocks.clone()), after)
    }

    /// Where the rows begin.
    pub(super) fn first_row(&self, lower: &mut Lower<'_>, tensor: Value) -> Value {
        let before = Scalar::Const(self.format.frame.tensor[0].into());
        lower.further(tensor, &before)
    }

    /// Where the blocks of a row begin.
    pub(super) fn first_block(&self, lower: &mut Lower<'_>, row: Value) -> Value {
        let before = Scalar::Const(self.format.frame.row[0].into());
        lower.further(row, &before)
    }

    /// What a row has once.
    pub(super) fn row_sides(&self, lower: &mut Lower<'_>, row: Value) -> Sides {
        let before = Scalar::Const(self.format.frame.row[0].into());
        let after = add(before, self.blocks.clone());
        [row, lower.further(row, &after)]
    }

    /// What a tensor of so many rows has once.
    pub(super) fn tensor_sides(
        &self,
        lower: &mut Lower<'_>,
        tensor: Value,
        rows: &Scalar,
    ) -> Sides {
        let before = Scalar::Const(self.format.frame.tensor[0].into());
        let end = add(before, mul(self.row(), rows.clone()));
        [tensor, lower.further(tensor, &end)]
    }
}
