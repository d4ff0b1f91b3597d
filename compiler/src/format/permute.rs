//! Other orders of the rows or columns of a tensor, without making a code anew: what checkpoints need whose columns were
//! quantised in another order than that of the activations.

use super::codec::{CodecError, check_bytes};
use super::grid::{BlockPlace, Grid};
use super::sums::fill_sums;
use super::{BlockFormat, Field, Format, FormatKind};

/// Which axis is put into another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// The last axis.
    Columns,
    /// The axis before it.
    Rows,
}

/// The bytes of a tensor whose position `i` along an axis is position `order[i]` of the given one. Padding becomes 0.
///
/// # Errors
/// If `order` does not hold each position of the axis once, or if elements that share a field would then need different
/// codes of it.
pub fn permute(
    format: &Format,
    shape: &[u64],
    bytes: &[u8],
    axis: Axis,
    order: &[u32],
) -> Result<Vec<u8>, CodecError> {
    check_bytes(format, shape, bytes)?;
    let plain;
    let block = match &format.kind {
        FormatKind::Block(block) => block,
        FormatKind::Plain(element) => {
            plain = BlockFormat::of_plain(element, 1);
            &plain
        }
    };
    let grid = Grid::new(block, shape).ok_or_else(|| CodecError::TooLarge {
        shape: shape.to_vec(),
    })?;
    let extent = match axis {
        Axis::Columns => grid.cols,
        Axis::Rows => grid.rows,
    };
    check_order(order, extent)?;
    if grid.rows == 0 || grid.cols == 0 {
        // Nothing moves, and the other axis may be of any length.
        return Ok(bytes.to_vec());
    }
    let mut out = vec![0; bytes.len()];
    // The slots of the target that have their codes.
    let slots: usize = block.fields.values().map(Field::slots).sum();
    let mut written = vec![false; slots * grid.blocks().unwrap_or(0) as usize];
    for matrix in 0..grid.matrices {
        for row in 0..grid.rows {
            for column in 0..grid.cols {
                let (from_row, from_column) = match axis {
                    Axis::Columns => (row, u64::from(order[column as usize])),
                    Axis::Rows => (u64::from(order[row as usize]), column),
                };
                let from = Place::new(block, &grid, [matrix, from_row, from_column]);
                let to = Place::new(block, &grid, [matrix, row, column]);
                let first = to.block.number as usize * slots;
                let written = &mut written[first..first + slots];
                move_element(block, (&from, bytes), (&to, &mut out), written)?;
            }
        }
    }
    fill_sums(block, shape, &mut out)?;
    Ok(out)
}

/// Where an element lies.
struct Place {
    /// Its block.
    block: BlockPlace,
    /// Its row in the block.
    row: usize,
    /// Its place in that row.
    element: usize,
}

impl Place {
    fn new(format: &BlockFormat, grid: &Grid, [matrix, row, column]: [u64; 3]) -> Place {
        let (rows, len) = (u64::from(format.rows), u64::from(format.len));
        Place {
            block: grid.place(matrix, row / rows, column / len),
            row: (row % rows) as usize,
            element: (column % len) as usize,
        }
    }

    fn slot(&self, field: &Field) -> usize {
        let occurrence = field.occurrence.get(self.element).copied().unwrap_or(0);
        self.row * field.count as usize + occurrence as usize
    }
}

/// Copies the codes of an element.
fn move_element(
    format: &BlockFormat,
    (from, source): (&Place, &[u8]),
    (to, target): (&Place, &mut [u8]),
    written: &mut [bool],
) -> Result<(), CodecError> {
    let mut first = 0;
    for field in format.fields.values() {
        let source = &source[from.block.of(field.scope)..];
        let target = &mut target[to.block.of(field.scope)..];
        let code = field.read(source, from.slot(field));
        let slot = to.slot(field);
        // One value of several that a code has is the same only if all of them move together.
        let component = |place: &Place| field.component.get(place.element).copied();
        let kept = !written[first + slot] || field.read(target, slot) == code;
        if !kept || component(from) != component(to) {
            return Err(CodecError::Order {
                reason: format!(
                    "elements that share `{}` would need different codes",
                    field.name
                ),
            });
        }
        field.write(target, slot, code);
        written[first + slot] = true;
        first += field.slots();
    }
    Ok(())
}

fn check_order(order: &[u32], extent: u64) -> Result<(), CodecError> {
    let wrong = |reason: String| Err(CodecError::Order { reason });
    if order.len() as u64 != extent {
        return wrong(format!("{} positions for an axis of {extent}", order.len()));
    }
    let mut seen = vec![false; order.len()];
    for position in order {
        match seen.get_mut(*position as usize) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => return wrong(format!("position {position} is given twice")),
            None => return wrong(format!("position {position} lies outside 0..{extent}")),
        }
    }
    Ok(())
}
