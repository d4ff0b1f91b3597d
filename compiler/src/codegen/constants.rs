//! The constant tables of a function: their bytes, and where code finds them.

use crate::vector::ir::Function;
use cranelift_codegen::ir::UserExternalName;

/// Bytes of a line: tables begin on one, for vector loads.
pub(super) const LINE: usize = 16;

/// Bytes aligned for vector loads.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
struct Line([u8; LINE]);

/// The constant tables of a function, one behind the other.
#[derive(Debug)]
pub(super) struct Constants {
    lines: Vec<Line>,
    starts: Vec<usize>,
}

/// Where code finds the tables of a function.
#[derive(Clone, Debug)]
pub(super) enum Tables {
    /// At these addresses, in their order.
    At(Vec<u64>),
    /// At these offsets in a symbol that the linker places.
    In(UserExternalName, Vec<i64>),
}

impl Constants {
    pub(super) fn new(function: &Function) -> Constants {
        let mut constants = Constants {
            lines: Vec::new(),
            starts: Vec::new(),
        };
        for table in function.tables.values() {
            constants.starts.push(constants.lines.len());
            for chunk in table.bytes.chunks(LINE) {
                let mut line = [0; LINE];
                line[..chunk.len()].copy_from_slice(chunk);
                constants.lines.push(Line(line));
            }
        }
        constants
    }

    /// The tables at the addresses that they have in this process.
    pub(super) fn here(&self) -> Tables {
        let first = self.lines.as_ptr();
        let address = |start: &usize| first.wrapping_add(*start) as u64;
        Tables::At(self.starts.iter().map(address).collect())
    }

    /// The tables in a symbol that holds [`Constants::bytes`].
    pub(super) fn within(&self, symbol: UserExternalName) -> Tables {
        let offset = |start: &usize| (*start * LINE) as i64;
        Tables::In(symbol, self.starts.iter().map(offset).collect())
    }

    /// All lines.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| line.0).collect()
    }
}

impl Tables {
    /// Numbers instead of addresses: as large as addresses, since Cranelift has other forms for small ones.
    pub(super) fn placeholders(function: &Function) -> Tables {
        let numbers = 0..function.tables.len() as u64;
        Tables::At(numbers.map(|n| 0x7000_0000_0000 + 0x1000 * n).collect())
    }
}
