//! The header of a GGUF file, version 3.

use super::super::gguf::{DEFAULT_ALIGNMENT, MAGIC, MAX_NAME};
use super::super::{FileError, Kind};
use super::{Entry, Layout, Metadata, Placed, unwritable};

const VERSION: u32 = 3;

/// The header, and where the tensors lie behind it.
pub(super) fn layout(
    metadata: &Metadata,
    entries: &[Entry],
    placed: &[Placed],
) -> Result<Layout, FileError> {
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend((entries.len() as u64).to_le_bytes());
    let pairs = metadata.encoded();
    header.extend((pairs.len() as u64).to_le_bytes());
    for (key, value) in pairs {
        if key.len() as u64 > MAX_NAME {
            return Err(FileError::Unwritable(format!(
                "a key of {} bytes",
                key.len()
            )));
        }
        text(&mut header, key);
        header.extend(value);
    }
    let mut offset = 0u64;
    for (entry, placed) in entries.iter().zip(placed) {
        describe(&mut header, entry, placed, offset)?;
        let end = offset.checked_add(placed.bytes);
        let next = end.and_then(|end| end.checked_next_multiple_of(DEFAULT_ALIGNMENT));
        offset = next.ok_or_else(|| unwritable(entry, "lies too far from the start"))?;
    }
    header.resize(header.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
    Ok(Layout {
        header,
        order: (0..entries.len()).collect(),
        alignment: DEFAULT_ALIGNMENT,
    })
}

/// The description of a tensor.
fn describe(
    header: &mut Vec<u8>,
    entry: &Entry,
    placed: &Placed,
    offset: u64,
) -> Result<(), FileError> {
    if entry.name.len() as u64 > MAX_NAME {
        return Err(unwritable(entry, "the name is too long"));
    }
    let number = placed.dtype.as_str().strip_prefix(Kind::Gguf.types());
    let number = number.and_then(|n| n.strip_prefix(':')?.parse::<u32>().ok());
    let number = number.ok_or_else(|| unwritable(entry, "its type has no number"))?;
    text(header, &entry.name);
    header.extend((placed.shape.len() as u32).to_le_bytes());
    // The file names the innermost axis first.
    header.extend(placed.shape.iter().rev().flat_map(|n| n.to_le_bytes()));
    header.extend(number.to_le_bytes());
    header.extend(offset.to_le_bytes());
    Ok(())
}

fn text(header: &mut Vec<u8>, text: &str) {
    header.extend((text.len() as u64).to_le_bytes());
    header.extend(text.as_bytes());
}
