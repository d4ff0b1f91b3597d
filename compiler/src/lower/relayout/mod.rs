//! Packing: the codes of a tensor in another layout of the same fields, with stores that invert the bit-address map of a block.
//!
//! Rows go unit by unit: by the groups of the layout that has the larger ones. The blocks of whole units are moved word by word
//! (`words.rs`); rows that are left over, what rows have once, the last columns of plain values, blocks of very many codes, and
//! codes that become joint codes or come from them go code by code (`codes.rs`).

mod codes;
mod words;

use super::Lower;
use super::frames::{Frames, Sides};
use crate::format::layout::ways;
use crate::format::recode::Way;
use crate::format::{BlockFormat, Field, Format, FormatKind, Scope, Side};
use crate::schedule::ScheduleError;
use crate::schedule::index::{add, div, div_ceil, min, mul, rem};
use crate::spec::kernel::TensorId;
use crate::vector::ir::{Bin, Scalar, Value};
use std::borrow::Cow;
use std::sync::Arc;
use words::{Run, Sources, words};

/// Moves the codes of `source` into the layout of `target`.
#[derive(Clone, Debug)]
pub struct RelayoutJob {
    /// Whose codes are moved.
    pub source: TensorId,
    /// The layout that they are in.
    pub layout: Arc<Format>,
    /// Where they go; its format has the same fields.
    pub target: TensorId,
}

/// One of the two layouts, for tensors of some shape.
struct Layout<'f> {
    frames: Frames<'f>,
    /// Groups of rows in a matrix.
    groups: Scalar,
}

/// What is moved: all matrices of a tensor.
struct Relayout<'f> {
    from: Layout<'f>,
    to: Layout<'f>,
    /// Rows of a matrix.
    rows: Scalar,
    /// Blocks of a row that both layouts store whole.
    across: Scalar,
    /// Values behind these, which only blocks of plain values have.
    ragged: Scalar,
    /// How the codes of each field move.
    ways: Vec<Way>,
    /// Words of the blocks of a unit, by group of the target; `None` if they are too many, or codes are made anew.
    words: Option<Vec<Vec<Run>>>,
}

/// Lowers a move.
pub(super) fn relayout(lower: &mut Lower<'_>, job: &RelayoutJob) -> Result<(), ScheduleError> {
    let tensor = lower.kernel.tensors[job.target].clone();
    let FormatKind::Block(to) = &tensor.format.kind else {
        return Err(ScheduleError::Internal("codes moved to a plain tensor"));
    };
    let mut shape = lower.shape(job.target);
    let columns = shape.pop().unwrap_or(Scalar::Const(1));
    let rows = shape.pop().unwrap_or(Scalar::Const(1));
    let matrices = shape.into_iter().fold(Scalar::Const(1), mul);
    let stored = lower.stored_columns(job.source);
    let relayout = Relayout::new((&job.layout, &stored), to, rows.clone(), &columns)?;
    let (source, target) = (lower.pointers[&job.source], lower.pointers[&job.target]);
    relayout.tensor(lower, &matrices, (source, target))?;
    let (from, to) = (&relayout.from, &relayout.to);
    let zero = lower.scalar(&Scalar::Const(0));
    let end = lower.scalar(&matrices);
    let (matrix, _) = lower.open("matrix", zero, end, 1, &[]);
    let matrix_of = |lower: &mut Lower<'_>, layout: &Layout<'_>, base: Value| {
        let base = layout.frames.first_row(lower, base);
        let bytes = mul(layout.groups.clone(), layout.frames.row());
        lower.offset(base, matrix, &bytes)
    };
    let source = matrix_of(lower, from, source);
    let target = matrix_of(lower, to, target);
    let units = div(rows.clone(), relayout.unit().into());
    let all = div_ceil(rows, relayout.unit().into());
    let (units, all) = (lower.scalar(&units), lower.scalar(&all));
    let mut first = zero;
    if let Some(words) = &relayout.words {
        let (unit, _) = lower.open("unit", zero, units, 1, &[]);
        relayout.whole(lower, unit, (source, target), words)?;
        lower.close(&[]);
        first = units;
    }
    if first != all {
        let (unit, _) = lower.open("unit", first, all, 1, &[]);
        relayout.one_by_one(lower, unit, (source, target), &Scalar::Const(0))?;
        lower.close(&[]);
    }
    lower.close(&[]);
    Ok(())
}

fn constant(n: u32) -> Scalar {
    Scalar::Const(n.into())
}

impl Layout<'_> {
    fn format(&self) -> &BlockFormat {
        &self.frames.format
    }

    /// A block of a group, by its number.
    fn block_at(&self, lower: &mut Lower<'_>, group: Value, across: Value) -> Value {
        let blocks = self.frames.first_block(lower, group);
        lower.offset(blocks, across, &constant(self.format().bytes))
    }
}

/// Which of the sides a field lies on.
fn side(scope: Scope) -> usize {
    match scope {
        Scope::Block => 0,
        Scope::Row(side) | Scope::Tensor(side) => side as usize,
    }
}

impl<'f> Relayout<'f> {
    fn new(
        (layout, stored): (&'f Format, &Scalar),
        to: &'f BlockFormat,
        rows: Scalar,
        columns: &Scalar,
    ) -> Result<Relayout<'f>, ScheduleError> {
        let len = u64::from(to.len);
        let whole = div_ceil(columns.clone(), len);
        let (from, bytes, across, ragged) = match &layout.kind {
            FormatKind::Block(from) => {
                // Rows of an intermediate may go on past its end.
                let blocks = div_ceil(stored.clone(), from.len.into());
                let bytes = mul(blocks, constant(from.bytes));
                (Cow::Borrowed(from), bytes, whole.clone(), Scalar::Const(0))
            }
            FormatKind::Plain(element) => {
                let bytes = mul(stored.clone(), constant(element.storage_bytes()));
                let from = Cow::Owned(BlockFormat::of_plain(element, len));
                let (across, ragged) = (div(columns.clone(), len), rem(columns.clone(), len));
                (from, bytes, across, ragged)
            }
        };
        if from.len != to.len {
            let (a, b) = (from.len, to.len);
            return Err(ScheduleError::Unsupported(format!(
                "moving codes from blocks of {a} elements to blocks of {b}"
            )));
        }
        let (a, b) = (from.rows, to.rows);
        if !a.is_multiple_of(b) && !b.is_multiple_of(a) {
            return Err(ScheduleError::Unsupported(format!(
                "moving codes from blocks of {a} rows to blocks of {b} rows"
            )));
        }
        let other = |_| ScheduleError::Internal("codes moved to other values");
        let ways = ways(&from, to).map_err(other)?;
        let words = words(&from, to, &ways);
        let groups = |block: &BlockFormat| div_ceil(rows.clone(), block.rows.into());
        let (before, after) = (groups(&from), groups(to));
        Ok(Relayout {
            from: Layout {
                frames: Frames {
                    format: from,
                    blocks: bytes,
                },
                groups: before,
            },
            to: Layout {
                frames: Frames {
                    format: Cow::Borrowed(to),
                    blocks: mul(whole, constant(to.bytes)),
                },
                groups: after,
            },
            rows,
            across,
            ragged,
            ways,
            words,
        })
    }

    /// Rows of a unit: of the larger groups.
    fn unit(&self) -> u32 {
        self.from.format().rows.max(self.to.format().rows)
    }

    /// The fields that belong to as much in both layouts, and how they move.
    fn fields(&self, like: Scope) -> impl Iterator<Item = (&Field, &Field, &Way)> {
        let (from, to) = (&self.from.format().fields, &self.to.format().fields);
        let fields = from.values().zip(to.values()).zip(&self.ways);
        let fields = fields.map(|((a, b), way)| (a, b, way));
        fields.filter(move |(a, ..)| a.scope.is_like(like))
    }

    /// Moves what the tensor has once.
    fn tensor(
        &self,
        lower: &mut Lower<'_>,
        matrices: &Scalar,
        (source, target): (Value, Value),
    ) -> Result<(), ScheduleError> {
        if self.to.format().frame.tensor == [0, 0] {
            return Ok(());
        }
        let mut sides = |layout: &Layout<'_>, base: Value| {
            let groups = mul(matrices.clone(), layout.groups.clone());
            layout.frames.tensor_sides(lower, base, &groups)
        };
        let (source, target) = (sides(&self.from, source), sides(&self.to, target));
        for (side, bytes) in target.into_iter().zip(self.to.format().frame.tensor) {
            lower.clear(side, bytes);
        }
        let zero = lower.scalar(&Scalar::Const(0));
        let first = Row {
            from: (source, zero),
            to: (target, zero),
        };
        self.codes(lower, Scope::Tensor(Side::Before), first, None)
    }

    /// Moves a unit whose rows are all there: blocks word by word.
    fn whole(
        &self,
        lower: &mut Lower<'_>,
        unit: Value,
        (source, target): (Value, Value),
        words: &[Vec<Run>],
    ) -> Result<(), ScheduleError> {
        let groups = |lower: &mut Lower<'_>, layout: &Layout<'_>, base: Value| -> Vec<Value> {
            let count = self.unit() / layout.format().rows;
            let first = lower.offset(base, unit, &mul(constant(count), layout.frames.row()));
            let group = |at: u32| lower.further(first, &mul(constant(at), layout.frames.row()));
            (0..count).map(group).collect()
        };
        let sources = groups(lower, &self.from, source);
        let targets = groups(lower, &self.to, target);
        let zero = lower.scalar(&Scalar::Const(0));
        let end = lower.scalar(&self.across);
        let (across, _) = lower.open("block", zero, end, 1, &[]);
        let mut blocks = |layout: &Layout<'_>, groups: &[Value]| -> Vec<Value> {
            let block = |group: &Value| layout.block_at(lower, *group, across);
            groups.iter().map(block).collect()
        };
        let (sources, targets) = (blocks(&self.from, &sources), blocks(&self.to, &targets));
        let sources = Sources {
            blocks: &sources,
            apart: &self.from.frames.row(),
        };
        for (words, block) in words.iter().zip(targets) {
            words::store(lower, words, &sources, (block, self.to.format().bytes));
        }
        lower.close(&[]);
        if self.to.format().frame.row == [0, 0] && self.ragged == Scalar::Const(0) {
            return Ok(());
        }
        self.one_by_one(lower, unit, (source, target), &self.across)
    }

    /// Moves a unit code by code: what rows have once, and their blocks from the first that is given on.
    /// Rows that are not there are not touched: all addresses depend on the counters of loops that they are not in.
    fn one_by_one(
        &self,
        lower: &mut Lower<'_>,
        unit: Value,
        bases: (Value, Value),
        first_block: &Scalar,
    ) -> Result<(), ScheduleError> {
        let small = self.from.format().rows.min(self.to.format().rows);
        let small = lower.scalar(&constant(small));
        let zero = lower.scalar(&Scalar::Const(0));
        let target_is_large = self.to.format().rows == self.unit();
        // Groups of the other layout in the unit.
        let (other, each) = match target_is_large {
            true => (&self.from, self.unit() / self.from.format().rows),
            false => (&self.to, self.unit() / self.to.format().rows),
        };
        let groups = lower.scalar(&other.groups);
        let each = lower.scalar(&constant(each));
        if target_is_large {
            let target = lower.offset(bases.1, unit, &self.to.frames.row());
            self.clear(lower, target, first_block);
        }
        let first = lower.bin(Bin::IMul, unit, each);
        let past = lower.bin(Bin::IAdd, first, each);
        let past = lower.bin(Bin::SMin, past, groups);
        let (group, _) = lower.open("group", first, past, 1, &[]);
        let (from, to) = match target_is_large {
            true => (group, unit),
            false => (unit, group),
        };
        let source = lower.offset(bases.0, from, &self.from.frames.row());
        let target = lower.offset(bases.1, to, &self.to.frames.row());
        if !target_is_large {
            self.clear(lower, target, first_block);
        }
        let rows = lower.scalar(&self.rows);
        let before = lower.bin(Bin::IMul, group, small);
        let left = lower.bin(Bin::ISub, rows, before);
        let some = lower.bin(Bin::SMin, left, small);
        let (row, _) = lower.open("row", zero, some, 1, &[]);
        let row = lower.bin(Bin::IAdd, before, row);
        let mut of = |group: Value, layout: &Layout<'_>| {
            let height = lower.scalar(&constant(layout.format().rows));
            let first = lower.bin(Bin::IMul, group, height);
            lower.bin(Bin::ISub, row, first)
        };
        let (read, write) = (of(from, &self.from), of(to, &self.to));
        self.row(lower, (source, read), (target, write), first_block)?;
        lower.close(&[]);
        lower.close(&[]);
        Ok(())
    }

    /// Sets to 0 what [`Relayout::one_by_one`] is to move into a group.
    fn clear(&self, lower: &mut Lower<'_>, target: Value, first: &Scalar) {
        if self.to.format().frame.row != [0, 0] {
            let sides = self.to.frames.row_sides(lower, target);
            for (side, bytes) in sides.into_iter().zip(self.to.format().frame.row) {
                lower.clear(side, bytes);
            }
        }
        let end = add(
            self.across.clone(),
            min(self.ragged.clone(), Scalar::Const(1)),
        );
        if *first == end {
            return;
        }
        let (first, end) = (lower.scalar(first), lower.scalar(&end));
        let (across, _) = lower.open("block", first, end, 1, &[]);
        let block = self.to.block_at(lower, target, across);
        lower.clear(block, self.to.format().bytes);
        lower.close(&[]);
    }

    /// Moves a row: from a group and its place there to another.
    fn row(
        &self,
        lower: &mut Lower<'_>,
        (source, read): (Value, Value),
        (target, write): (Value, Value),
        first: &Scalar,
    ) -> Result<(), ScheduleError> {
        if self.to.format().frame.row != [0, 0] {
            let row = Row {
                from: (self.from.frames.row_sides(lower, source), read),
                to: (self.to.frames.row_sides(lower, target), write),
            };
            self.codes(lower, Scope::Row(Side::Before), row, None)?;
        }
        let at = |lower: &mut Lower<'_>, across: Value| Row {
            from: ([self.from.block_at(lower, source, across); 2], read),
            to: ([self.to.block_at(lower, target, across); 2], write),
        };
        let end = lower.scalar(&self.across);
        if *first != self.across {
            let first = lower.scalar(first);
            let (across, _) = lower.open("block", first, end, 1, &[]);
            let block = at(lower, across);
            self.codes(lower, Scope::Block, block, None)?;
            lower.close(&[]);
        }
        if self.ragged == Scalar::Const(0) {
            return Ok(());
        }
        let last = at(lower, end);
        let count = lower.scalar(&self.ragged);
        self.codes(lower, Scope::Block, last, Some(count))
    }
}

/// A row on both sides: what the addresses of its fields count from, and which of the rows of its group it is.
#[derive(Clone, Copy)]
struct Row {
    from: (Sides, Value),
    to: (Sides, Value),
}
