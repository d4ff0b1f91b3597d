//! What a number format *is*: elements, blocks, the place of every bit, and what each element is worth.
//!
//! Data types only know themselves here: [`Element`] is one code and its value, [`BlockFormat`] a tile of elements
//! with scales. `element.rs` and `codebook.rs` hold the reference decode and encode of one code, `codec.rs` that of whole blocks,
//! `refuse.rs` finds codes that a format refuses, `layout.rs` has ids and relayout, `recode.rs` joint codes of neighbours, and
//! `sums.rs` sums of rows that a layout keeps. Nothing in the compiler matches on the *name* of a format.

mod codebook;
pub mod codec;
pub mod element;
pub(crate) mod grid;
pub mod layout;
pub mod permute;
pub mod recode;
pub mod refuse;
pub mod search;
pub mod std;
pub mod sums;
pub mod text;
mod zeros;

pub use codebook::{Illegal, Product};
pub use element::BitWorths;

use ::std::sync::Arc;
use cranelift_entity::{PrimaryMap, entity_impl};

/// How a float element reads its special bit patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Specials {
    /// The top exponent holds infinities and NaNs (IEEE 754).
    Ieee,
    /// Every code is a finite number (OCP E2M1, E2M3, E3M2).
    Finite,
    /// Only the code with all exponent and mantissa bits set is a NaN (OCP E4M3, E8M0); no infinities.
    NanOnly,
    /// Only the code of a negative zero is a NaN; no infinities, and zero has no sign (the `fnuz` floats).
    NanAtNegativeZero,
}

/// What becomes of a number beyond the largest of a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// The largest number.
    Saturate,
    /// The infinity, or the NaN of a float that has none.
    Special,
}

/// A binary floating-point element: sign (if `signed`), `exp` exponent bits, `man` mantissa bits, from high to low.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FloatSpec {
    /// Exponent bits, 1 to 8.
    pub exp: u8,
    /// Mantissa bits, 0 to 23.
    pub man: u8,
    /// A code with exponent field `e > 0` is worth `2^(e - bias) * (1 + m / 2^man)`.
    pub bias: i32,
    /// The meaning of the special patterns.
    pub specials: Specials,
    /// What encoding makes of numbers that are too large. No part of what a code means.
    pub overflow: Overflow,
    /// Whether there is a sign bit.
    pub signed: bool,
    /// Whether exponent field 0 means zero and subnormals; if not it is an ordinary exponent (E8M0).
    pub subnormal: bool,
}

impl FloatSpec {
    /// An IEEE 754 float, with a sign and subnormals.
    pub const fn ieee(exp: u8, man: u8) -> FloatSpec {
        FloatSpec {
            exp,
            man,
            bias: (1 << (exp - 1)) - 1,
            specials: Specials::Ieee,
            overflow: Overflow::Special,
            signed: true,
            subnormal: true,
        }
    }
}

/// A table of values: a code is worth one of them, or several neighbouring ones for as many elements. Two are equal if all
/// bits of their values are.
#[derive(Clone, Debug)]
pub struct Codebook {
    /// The values, code after code; at least 1 and at most 2^16 of them.
    pub entries: Vec<f32>,
    /// Values of a code, at least 1.
    pub width: u32,
    /// Codes among them that are illegal, ascending; their entries are what they are worth.
    pub holes: Vec<u32>,
    /// What illegal codes are: the holes, and those past the end.
    pub illegal: Illegal,
}

/// One scalar number: how many bits its code has and what a code is worth.
#[derive(Clone, Debug, PartialEq)]
pub enum Element {
    /// Two's complement, 1 to 32 bits.
    Int {
        /// Width of the code.
        bits: u8,
    },
    /// Unsigned, 1 to 32 bits.
    UInt {
        /// Width of the code.
        bits: u8,
    },
    /// Binary floating point, at most 32 bits.
    Float(FloatSpec),
    /// A table of values.
    Codebook(Arc<Codebook>),
}

/// A field of a block, in order of declaration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(u32);
entity_impl!(FieldId, "field");

/// How often a field is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// With every block (once, once a sub-block or once an element, as `occurrence` says).
    Block,
    /// Once for a row of the tensor, before or after its blocks.
    Row(Side),
    /// Once for the tensor, before or after all its rows.
    Tensor(Side),
}

impl Scope {
    /// Whether two fields are stored equally often, wherever they lie.
    pub fn is_like(self, other: Scope) -> bool {
        match (self, other) {
            (Scope::Block, Scope::Block)
            | (Scope::Row(_), Scope::Row(_))
            | (Scope::Tensor(_), Scope::Tensor(_)) => true,
            (Scope::Block | Scope::Row(_) | Scope::Tensor(_), _) => false,
        }
    }
}

/// On which side of the blocks something lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Before them.
    Before,
    /// After them.
    After,
}

/// Bytes around the blocks of a row (of each group of rows that share blocks), and around all rows of a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Before and after the blocks of a row.
    pub row: [u32; 2],
    /// Before and after all rows.
    pub tensor: [u32; 2],
}

impl Frame {
    /// The bytes of a scope; none for a block's.
    pub fn bytes_mut(&mut self, scope: Scope) -> Option<&mut u32> {
        match scope {
            Scope::Block => None,
            Scope::Row(Side::Before) => Some(&mut self.row[0]),
            Scope::Row(Side::After) => Some(&mut self.row[1]),
            Scope::Tensor(Side::Before) => Some(&mut self.tensor[0]),
            Scope::Tensor(Side::After) => Some(&mut self.tensor[1]),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Frame::default()
    }
}

/// Some neighbouring bits of every code of a field, and where they lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// How many bits, 1 to 32.
    pub bits: u8,
    /// Bit address in the block (or where the field's scope begins) for occurrence `j` of row `r`, at `[r * count + j]`. The lowest of the bits lies there,
    /// the next ones follow upwards (little endian).
    pub address: Vec<u32>,
}

/// A field of a block: a run of equal elements, each at its own bit addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name in the text.
    pub name: String,
    /// What one occurrence is.
    pub element: Element,
    /// Whether it belongs to the block, the row or the tensor.
    pub scope: Scope,
    /// Occurrences per row of the block: 1 for a block's scale, `len` for a code per element, between for sub-blocks.
    pub count: u32,
    /// `occurrence[i]` is the occurrence that element `i` of a row uses; `len` entries, each below `count`.
    pub occurrence: Vec<u32>,
    /// Which of the values of a code element `i` of a row has; `len` entries, all 0 unless a code has several values.
    pub component: Vec<u32>,
    /// Where the bits of a code lie: in one place, or in several. The low bits of the code come first.
    pub parts: Vec<Part>,
}

/// Binary operations of `value` and `encode`, in f32, rounded to nearest even each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinOp {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// The smaller; a NaN loses against a number.
    Min,
    /// The larger; a NaN loses against a number.
    Max,
}

/// Unary operations of `value` and `encode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnOp {
    /// `-a`
    Neg,
    /// `|a|`
    Abs,
    /// To the nearest integer, ties to even.
    Round,
    /// To the nearest integer, ties away from 0.
    RoundAway,
    /// To the next integer towards 0.
    Trunc,
    /// To the next integer below.
    Floor,
    /// The largest power of two not above `|a|` (0 for 0); exact.
    FloorPow2,
}

/// What an element is worth: an expression over the fields of its block, in the declared arithmetic
/// (f32, round to nearest even, in the order written).
#[derive(Clone, Debug, PartialEq)]
pub enum ValueExpr {
    /// A literal, already rounded to f32.
    Const(f32),
    /// The decoded value of the field's occurrence that belongs to the element.
    Field(FieldId),
    /// A unary operation.
    Unary(UnOp, Box<ValueExpr>),
    /// A binary operation.
    Binary(BinOp, Box<ValueExpr>, Box<ValueExpr>),
}

/// Reductions in an `encode` clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Sum, in f32, in order of the elements.
    Sum,
    /// Smallest (NaN loses); 0 over nothing.
    Min,
    /// Largest (NaN loses); 0 over nothing.
    Max,
}

/// How a field is computed from the elements' real values, in the declared arithmetic. A division by zero gives 0 here,
/// so that an all-zero block has scale 0 and the codes of 0.
#[derive(Clone, Debug, PartialEq)]
pub enum EncodeExpr {
    /// A literal, already rounded to f32.
    Const(f32),
    /// The element's own value.
    Input,
    /// A field assigned before, as it reads back (decoded).
    Field(FieldId),
    /// A number assigned before.
    Local(LocalId),
    /// A unary operation.
    Unary(UnOp, Box<EncodeExpr>),
    /// A binary operation.
    Binary(BinOp, Box<EncodeExpr>, Box<EncodeExpr>),
    /// Over the elements that share the occurrence being assigned.
    Reduce(ReduceOp, Box<EncodeExpr>),
    /// The value of `key`'s element where `|key|` is largest (the first such), with its sign.
    ArgAbsMax(Box<EncodeExpr>),
}

/// A number of an `encode` clause that is not stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalId(u32);
entity_impl!(LocalId, "let");

/// What an assignment assigns to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assigned {
    /// A field: its code is the one nearest to the expression.
    Field(FieldId),
    /// A number that is used further down.
    Local(LocalId),
}

/// One assignment of an `encode` clause.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodeStep {
    /// What is assigned.
    pub target: Assigned,
    /// Its value, for a field before rounding to a code.
    pub expr: EncodeExpr,
}

/// How to quantise into a block.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Encode {
    /// Numbers that are not stored: fields of f32 that have no place.
    pub locals: PrimaryMap<LocalId, Field>,
    /// The assignments, in order.
    pub steps: Vec<EncodeStep>,
}

impl Encode {
    /// A clause that assigns to fields alone.
    pub fn of_fields(steps: Vec<(FieldId, EncodeExpr)>) -> Encode {
        let step = |(field, expr)| EncodeStep {
            target: Assigned::Field(field),
            expr,
        };
        Encode {
            locals: PrimaryMap::new(),
            steps: steps.into_iter().map(step).collect(),
        }
    }
}

/// A tile of `rows` × `len` elements stored in `bytes` bytes. File formats have one row; layouts that the compiler
/// chooses may interleave several.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockFormat {
    /// Rows of the tensor that share a block; 1 unless a layout interleaves rows.
    pub rows: u32,
    /// Elements of a row in a block.
    pub len: u32,
    /// Bytes of a block.
    pub bytes: u32,
    /// Bytes around blocks.
    pub frame: Frame,
    /// Whether the author gave bit addresses (or the compiler placed the bits).
    pub placed_by_author: bool,
    /// The fields, in order of declaration.
    pub fields: PrimaryMap<FieldId, Field>,
    /// The sum of the values of each row, if the layout keeps it: no field, since it follows from them (`sums.rs`).
    pub kept: Option<Box<Field>>,
    /// What an element is worth.
    pub value: ValueExpr,
    /// How to quantise into it: the author's clause or a derived default; `None` leaves only a search (`search/`).
    pub encode: Option<Encode>,
}

/// What a format is.
#[derive(Clone, Debug, PartialEq)]
pub enum FormatKind {
    /// One element after another, each in the bytes that hold its bits (1, 2 or 4 bytes): f32, i8, an index.
    Plain(Element),
    /// Blocks with fields.
    Block(BlockFormat),
}

/// A named format. Two formats are the same if their kinds are; the name is for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Format {
    /// The name in the text.
    pub name: String,
    /// The definition.
    pub kind: FormatKind,
}

impl BlockFormat {
    /// Plain values as blocks of so many, so that a layout can interleave their rows: one stream of memory then serves many rows,
    /// and an activation is read once for all of them.
    pub fn of_plain(element: &Element, len: u64) -> BlockFormat {
        let len = len as u32;
        let storage = 8 * element.storage_bytes();
        // Whole numbers are read as they are; of others only the code.
        let bits = match element.bits() {
            8 | 16 | 32 => storage,
            narrow => narrow,
        };
        let mut fields = PrimaryMap::new();
        let field = fields.push(Field {
            name: "v".into(),
            element: element.clone(),
            scope: Scope::Block,
            count: len,
            occurrence: (0..len).collect(),
            component: vec![0; len as usize],
            parts: vec![Part {
                bits: bits as u8,
                address: (0..len).map(|i| i * storage).collect(),
            }],
        });
        BlockFormat {
            rows: 1,
            len,
            bytes: len * storage / 8,
            frame: Frame::default(),
            placed_by_author: false,
            fields,
            kept: None,
            value: ValueExpr::Field(field),
            encode: Some(Encode::of_fields(vec![(field, EncodeExpr::Input)])),
        }
    }
}
