//! What code reads from beside it: the constant tables of a function, and the constants of its vectors, which instructions take
//! from memory where they are in no register. Cranelift has places of its own for constants, but loads them by instructions of
//! their own.

use super::features::Features;
use crate::vector::ir::{Convert, Elem, Function, Op, Step, Type};
use cranelift_codegen::ir::UserExternalName;
use std::collections::BTreeMap;

/// Bytes of a line: tables begin on one, for vector loads.
pub(super) const LINE: usize = 16;

/// The bytes of a register.
pub(super) type Register = [u8; LINE];

/// Bytes aligned for vector loads.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
struct Line(Register);

/// The constant tables of a function, one behind the other, then the constants of vectors, then where all that begins.
#[derive(Debug)]
pub(super) struct Constants {
    lines: Vec<Line>,
    starts: Vec<usize>,
    vectors: BTreeMap<Register, usize>,
}

/// Where code finds the constants of a function.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    pub(super) place: Place,
    /// How far behind the beginning the constants of vectors lie.
    vectors: BTreeMap<Register, i32>,
}

/// Where constants lie.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In this process.
    Here {
        /// The addresses of the tables, in their order.
        tables: Vec<u64>,
        /// The address of a word with the address of the beginning.
        beginning: u64,
    },
    /// In a symbol that the linker places, the tables at these offsets.
    In(UserExternalName, Vec<i64>),
}

impl Constants {
    /// The constants of a function for a target; vectors of constants only where instructions take them from memory wherever they
    /// lie.
    pub(super) fn new(function: &Function, features: &Features) -> Constants {
        let mut lines = Vec::new();
        let mut starts = Vec::new();
        for table in function.tables.values() {
            starts.push(lines.len());
            for chunk in table.bytes.chunks(LINE) {
                let mut line = [0; LINE];
                line[..chunk.len()].copy_from_slice(chunk);
                lines.push(Line(line));
            }
        }
        let mut vectors = BTreeMap::new();
        let mut note = |register| {
            vectors.entry(register).or_insert_with(|| {
                lines.push(Line(register));
                lines.len() - 1
            });
        };
        if features.avx2 {
            collect(function, &function.body, &mut note);
        }
        if !vectors.is_empty() {
            lines.push(Line([0; LINE]));
            let beginning = lines.as_ptr() as u64;
            if let Some(Line(last)) = lines.last_mut() {
                last[..8].copy_from_slice(&beginning.to_le_bytes());
            }
        }
        Constants {
            lines,
            starts,
            vectors,
        }
    }

    /// Where they are in this process.
    pub(super) fn here(&self) -> Tables {
        let first = self.lines.as_ptr();
        let address = |line: &usize| first.wrapping_add(*line) as u64;
        self.found_at(Place::Here {
            tables: self.starts.iter().map(address).collect(),
            beginning: address(&self.lines.len().saturating_sub(1)),
        })
    }

    /// Where they are in a symbol that holds [`Constants::bytes`].
    pub(super) fn within(&self, symbol: UserExternalName) -> Tables {
        let offset = |start: &usize| (*start * LINE) as i64;
        self.found_at(Place::In(symbol, self.starts.iter().map(offset).collect()))
    }

    /// Numbers instead of addresses: as large as addresses, since Cranelift has other forms for small ones.
    pub(super) fn placeholders(&self) -> Tables {
        let address = |n: u64| 0x7000_0000_0000 + 0x1000 * n;
        let count = self.starts.len() as u64;
        self.found_at(Place::Here {
            tables: (0..count).map(address).collect(),
            beginning: address(count),
        })
    }

    fn found_at(&self, place: Place) -> Tables {
        let offset = |(register, line): (&Register, &usize)| (*register, (*line * LINE) as i32);
        Tables {
            place,
            vectors: self.vectors.iter().map(offset).collect(),
        }
    }

    /// All lines, as an object has them: without an address.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let lines = match self.vectors.is_empty() {
            true => &self.lines[..],
            false => &self.lines[..self.lines.len() - 1],
        };
        lines.iter().flat_map(|line| line.0).collect()
    }
}

impl Tables {
    /// How far behind the beginning a constant lies.
    pub(super) fn offset(&self, register: &[u8]) -> Option<i32> {
        self.vectors.get(register).copied()
    }

    /// Whether there are constants of vectors.
    pub(super) fn has_vectors(&self) -> bool {
        !self.vectors.is_empty()
    }
}

/// Notes the registers of all constants of vectors, but of those that an instruction makes from nothing.
fn collect(function: &Function, steps: &[Step], note: &mut impl FnMut(Register)) {
    for step in steps {
        match step {
            Step::Let(value, op) => {
                let ty = function.types[*value];
                let spread = match op {
                    Op::Convert(Convert::WidenU, a) if spreads(function.types[*a], ty) => {
                        &SPREAD[..]
                    }
                    _ => &[],
                };
                let registers = registers(ty, op).into_iter().chain(spread.iter().copied());
                let made = |r: &Register| *r == [0; LINE] || *r == [0xff; LINE];
                registers.filter(|r| !made(r)).for_each(&mut *note);
            }
            Step::Loop(l) => collect(function, &l.body, note),
            Step::Store { .. } => {}
        }
    }
}

/// Shuffles of bytes that put four of them into the low bytes of words, and 0 into the others: by the four.
pub(super) const SPREAD: [Register; 4] = [spread(0), spread(4), spread(8), spread(12)];

const fn spread(first: u8) -> Register {
    let mut register = [0x80; LINE];
    let mut lane = 0;
    while lane < 4 {
        register[4 * lane] = first + lane as u8;
        lane += 1;
    }
    register
}

/// Whether a shuffle widens bytes of one type to words of another.
pub(super) fn spreads(from: Type, to: Type) -> bool {
    from.lanes > 1 && from.elem == Elem::I8 && to.elem == Elem::I32
}

/// The registers of a constant of several lanes; none of anything else.
pub(super) fn registers(ty: Type, op: &Op) -> Vec<Register> {
    if ty.lanes == 1 {
        return Vec::new();
    }
    match op {
        Op::IConst(n) => vec![same(ty.elem, *n as u64)],
        Op::FConst(bits) => vec![same(ty.elem, u64::from(*bits))],
        Op::VConst(values) => {
            let width = (ty.elem.bits() / 8) as usize;
            let bytes = values
                .iter()
                .flat_map(|v| v.to_le_bytes().into_iter().take(width));
            let bytes: Vec<u8> = bytes.collect();
            let register = |part: &[u8]| {
                let mut register = [0; LINE];
                register[..part.len()].copy_from_slice(part);
                register
            };
            bytes.chunks(LINE).map(register).collect()
        }
        _ => Vec::new(),
    }
}

/// A register with the same bits in all lanes.
pub(super) fn same(elem: Elem, bits: u64) -> Register {
    let width = (elem.bits() / 8) as usize;
    let mut register = [0; LINE];
    for lane in register.chunks_mut(width) {
        lane.copy_from_slice(&bits.to_le_bytes()[..width]);
    }
    register
}
