//! Where the blocks of a tensor lie, and what belongs to its rows and to all of it.

use super::{BlockFormat, Frame, Scope};

/// How a shape is cut into blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    /// Matrices (axes before the last two).
    pub(crate) matrices: u64,
    /// Rows of a matrix.
    pub(crate) rows: u64,
    /// Columns.
    pub(crate) cols: u64,
    /// Groups of rows in a matrix.
    pub(crate) groups: u64,
    /// Blocks along a row.
    pub(crate) across: u64,
    /// Bytes of a block.
    block: u64,
    /// Rows that share a block.
    height: u64,
    frame: Frame,
}

/// Where in the bytes of a tensor a block begins, and what belongs to its row and to the tensor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BlockPlace {
    /// The number of the block.
    pub(crate) number: u64,
    /// Where it begins.
    pub(crate) block: usize,
    /// What lies before and after the blocks of the row.
    row: [usize; 2],
    /// What lies before and after all rows.
    tensor: [usize; 2],
}

impl BlockPlace {
    /// Where the addresses of a scope count from.
    pub(crate) fn of(&self, scope: Scope) -> usize {
        match scope {
            Scope::Block => self.block,
            Scope::Row(side) => self.row[side as usize],
            Scope::Tensor(side) => self.tensor[side as usize],
        }
    }
}

impl Grid {
    /// The grid of a shape; `None` if it overflows.
    pub(crate) fn new(format: &BlockFormat, shape: &[u64]) -> Option<Grid> {
        let cols = shape.last().copied().unwrap_or(1);
        let rows = if shape.len() >= 2 {
            shape[shape.len() - 2]
        } else {
            1
        };
        let matrices = shape
            .iter()
            .rev()
            .skip(2)
            .try_fold(1u64, |a, b| a.checked_mul(*b))?;
        let grid = Grid {
            matrices,
            rows,
            cols,
            groups: rows.div_ceil(u64::from(format.rows)),
            across: cols.div_ceil(u64::from(format.len)),
            block: u64::from(format.bytes),
            height: u64::from(format.rows),
            frame: format.frame,
        };
        grid.blocks()?;
        grid.size().map(|_| grid)
    }
    /// Bytes of the tensor; `None` if that overflows.
    pub(crate) fn size(&self) -> Option<u64> {
        let [before, after] = self.frame.row.map(u64::from);
        let row = self.across.checked_mul(self.block)?;
        let row = row.checked_add(before + after)?;
        let rows = self.matrices.checked_mul(self.groups)?.checked_mul(row)?;
        let [before, after] = self.frame.tensor.map(u64::from);
        rows.checked_add(before + after)
    }
    /// The rows of a tensor without columns, which have no blocks, if they have bytes of their own: which of those that would
    /// share blocks, and where they lie.
    pub(crate) fn empty_rows(&self) -> impl Iterator<Item = (u32, BlockPlace)> {
        let rows = match self.across {
            0 if self.frame.row != [0, 0] => self.matrices * self.rows,
            // without bytes there may be any number of rows
            _ => 0,
        };
        (0..rows).map(|row| {
            let (matrix, row) = (row / self.rows, row % self.rows);
            let place = self.place(matrix, row / self.height, 0);
            ((row % self.height) as u32, place)
        })
    }
    /// Where a block lies: which matrix, which group of rows, how far along the row.
    pub(crate) fn place(&self, matrix: u64, group: u64, across: u64) -> BlockPlace {
        let [row_before, row_after] = self.frame.row.map(u64::from);
        let blocks = self.across * self.block;
        let groups = matrix * self.groups + group;
        let row = u64::from(self.frame.tensor[0]) + groups * (row_before + blocks + row_after);
        let end = self.size().unwrap_or(0) - u64::from(self.frame.tensor[1]);
        BlockPlace {
            number: groups * self.across + across,
            block: (row + row_before + across * self.block) as usize,
            row: [row as usize, (row + row_before + blocks) as usize],
            tensor: [0, end as usize],
        }
    }
    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> Option<u64> {
        self.matrices
            .checked_mul(self.groups)?
            .checked_mul(self.across)
    }
}

impl BlockFormat {
    /// Where the blocks of a tensor begin, in order; none if the shape is too large.
    pub fn block_starts(&self, shape: &[u64]) -> Vec<usize> {
        let mut starts = Vec::new();
        if let Some(grid) = Grid::new(self, shape) {
            for_each_block(self, &grid, |place, _| starts.push(place.block));
        }
        starts
    }
}

/// Calls `f` for each block with its place and, for each row that the tensor has, where its elements start and how
/// many there are.
pub(crate) fn for_each_block(
    b: &BlockFormat,
    grid: &Grid,
    mut f: impl FnMut(&BlockPlace, &[(usize, usize)]),
) {
    let (r_max, len) = (u64::from(b.rows), u64::from(b.len));
    if grid.groups == 0 || grid.across == 0 {
        // A tensor without elements may still have an axis of any length.
        return;
    }
    let mut tile_rows = Vec::new();
    for matrix in 0..grid.matrices {
        for group in 0..grid.groups {
            for across in 0..grid.across {
                tile_rows.clear();
                for row in group * r_max..(group * r_max + r_max).min(grid.rows) {
                    let column = across * len;
                    let start = (matrix * grid.rows + row) * grid.cols + column;
                    tile_rows.push((start as usize, len.min(grid.cols - column) as usize));
                }
                f(&grid.place(matrix, group, across), &tile_rows);
            }
        }
    }
}
