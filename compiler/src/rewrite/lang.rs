//! The language of the e-graph: real terms, and typed vectors of them.
//!
//! A real term denotes a real number. `(vec lanes type e)` denotes the vector of `e` over the lanes in registers of that
//! type; operations whose name begins with `v.` compute such vectors and are what a target has. Lane lists are sets of
//! axes: lanes lie in the order of axis numbers, the highest innermost.

use crate::schedule::index::{AxisId, AxisSet};
use crate::spec::kernel::{Compare, Func};
use egg::{FromOp, Id, Language};
use std::fmt;

/// The number type of a register's lane, as the calculus sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ty {
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
    /// Unsigned 16 bits.
    U16,
    /// Signed 16 bits.
    I16,
    /// Signed 32 bits.
    I32,
    /// IEEE single precision.
    F32,
}

impl Ty {
    /// Width in bits.
    pub fn bits(self) -> u32 {
        match self {
            Ty::U8 | Ty::I8 => 8,
            Ty::U16 | Ty::I16 => 16,
            Ty::I32 | Ty::F32 => 32,
        }
    }
    /// The integers it holds; all numbers for f32.
    pub fn range(self) -> (f64, f64) {
        match self {
            Ty::U8 => (0.0, 255.0),
            Ty::I8 => (-128.0, 127.0),
            Ty::U16 => (0.0, 65535.0),
            Ty::I16 => (-32768.0, 32767.0),
            Ty::I32 => (-2147483648.0, 2147483647.0),
            Ty::F32 => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }
    const ALL: [(&'static str, Ty); 6] = [
        ("u8", Ty::U8),
        ("i8", Ty::I8),
        ("u16", Ty::U16),
        ("i16", Ty::I16),
        ("i32", Ty::I32),
        ("f32", Ty::F32),
    ];
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Ty::ALL
            .iter()
            .find(|(_, t)| t == self)
            .map_or("?", |(n, _)| n);
        f.write_str(name)
    }
}

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident = $text:literal / $arity:literal),* $(,)?) => {
        /// An operation of the language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Op { $($(#[$doc])* $name),* }

        impl Op {
            /// Every operation.
            pub const ALL: &'static [Op] = &[$(Op::$name),*];
            /// Its name in rules, cost files and listings.
            pub fn name(self) -> &'static str {
                match self { $(Op::$name => $text),* }
            }
            /// Its number of operands.
            pub fn arity(self) -> usize {
                match self { $(Op::$name => $arity),* }
            }
        }
    };
}

ops! {
    /// Sum of two reals.
    Add = "add" / 2,
    /// Product of two reals.
    Mul = "mul" / 2,
    /// Quotient.
    Div = "div" / 2,
    /// Smaller.
    Min = "min" / 2,
    /// Larger.
    Max = "max" / 2,
    /// `|a|`
    Abs = "abs" / 1,
    /// `e^a`
    Exp = "exp" / 1,
    /// Square root.
    Sqrt = "sqrt" / 1,
    /// Hyperbolic tangent.
    Tanh = "tanh" / 1,
    /// `a / (1 + e^-a)`
    Silu = "silu" / 1,
    /// GELU by its tanh form.
    Gelu = "gelu" / 1,
    /// To the nearest integer, ties to even.
    Round = "round" / 1,
    /// To the nearest integer, ties away from 0.
    RoundAway = "round-away" / 1,
    /// To the next integer towards 0.
    Trunc = "trunc" / 1,
    /// To the next integer below.
    Floor = "floor" / 1,
    /// The largest power of two not above the magnitude.
    FloorPow2 = "floor-pow2" / 1,
    /// `a < b ? c : d`
    SelectLt = "select-lt" / 4,
    /// `a <= b ? c : d`
    SelectLe = "select-le" / 4,
    /// `a == b ? c : d`
    SelectEq = "select-eq" / 4,
    /// f32 sum, rounded.
    StrictAdd = "strict-add" / 2,
    /// f32 difference, rounded.
    StrictSub = "strict-sub" / 2,
    /// f32 product, rounded.
    StrictMul = "strict-mul" / 2,
    /// f32 quotient, rounded.
    StrictDiv = "strict-div" / 2,
    /// Smaller; a NaN loses.
    StrictMin = "strict-min" / 2,
    /// Larger; a NaN loses.
    StrictMax = "strict-max" / 2,
    /// A number in memory.
    Ld = "ld" / 1,
    /// A number known before the call.
    Extent = "extent" / 1,
    /// A code within a byte: field, byte.
    Bits = "bits" / 2,
    /// The value of a code: element, code.
    Elem = "elem" / 2,
    /// `table[code]`
    Lookup = "lookup" / 2,
    /// A signed byte plus 128.
    Biased = "biased" / 1,
    /// The number of an entry of a table: its axis.
    Place = "place" / 1,
    /// A term at an entry: axis, term, number of the entry.
    Pick = "pick" / 3,
    /// A term where a code in memory is the number of an entry: axis, field of the code, load, term. Bits beside the code are 0.
    At = "at" / 4,
    /// What an integer is above a multiple of 256.
    LowByte = "low-byte" / 1,
    /// An integer over 256, rounded down.
    HighByte = "high-byte" / 1,
    /// An integer that is a multiple of 256, over 256.
    Over256 = "over-256" / 1,
    /// The integer from -2^15 on below 2^15 that differs by a multiple of 2^16.
    Wrap = "wrap" / 1,
    /// Bits that are set in both of two integers from 0 on.
    And = "and" / 2,
    /// How many bits of an integer from 0 on are set.
    CountOnes = "count-ones" / 1,
    /// The sum over an axis of a term times two to the power of where on the axis it is: axis, term.
    PackBits = "pack-bits" / 2,
    /// Sum over an axis.
    Sum = "sum" / 2,
    /// Largest over an axis.
    MaxOver = "max-over" / 2,
    /// A vector: lanes, type, real term.
    Vec = "vec" / 3,
    /// A load: lanes, type, load.
    VLoad = "v.load" / 3,
    /// The same number in every lane: lanes, type, number.
    VNum = "v.num" / 3,
    /// A number known before the call in every lane: lanes, extent.
    VExtent = "v.extent" / 2,
    /// A vector over fewer lanes, spread: lanes, vector.
    VSpread = "v.spread" / 2,
    /// Shift and mask of bytes: field, bytes.
    VBits = "v.bits" / 2,
    /// Look-up of bytes in a table of 16: type, table, codes.
    VLookup8 = "v.lookup8" / 3,
    /// Look-up of f32 in a table of 16, by byte planes: table, codes.
    VLookup32 = "v.lookup32" / 2,
    /// Numbers of the entries of a table: axis.
    VPlace = "v.place" / 1,
    /// Look-up in a table that is a vector: type, table, codes.
    VPick = "v.pick" / 3,
    /// Low and high bytes as i16: vectors.
    VJoin = "v.join" / 2,
    /// Low bytes of i16.
    VLow = "v.low" / 1,
    /// High bytes of i16: type, vector.
    VHigh = "v.high" / 2,
    /// To a narrower integer type that holds it: type, vector.
    VNarrow = "v.narrow" / 2,
    /// Products of i16 with a constant over 2^15, rounded: constant, vector.
    VMulHigh = "v.mul-high" / 2,
    /// Look-up of values in memory, lane by lane: type, element, codes.
    VFetch = "v.fetch" / 3,
    /// Look-up in a table in memory, lane by lane: type, table, codes.
    VTable = "v.table" / 3,
    /// Codes of a signed integer, sign-extended within their lanes: type, element, codes.
    VSigned = "v.signed" / 3,
    /// Value of a code by bit arithmetic: element, codes (i32).
    VDecode = "v.decode" / 2,
    /// Unsigned bytes below 128 as signed ones: the same register.
    VPlain = "v.plain" / 1,
    /// Signed bytes to unsigned by adding 128.
    VBias = "v.bias" / 1,
    /// To a wider integer type: type, vector.
    VWiden = "v.widen" / 2,
    /// i32 to f32.
    VFloat = "v.float" / 1,
    /// u16 as f32, plus 2^23: the low half of the float with bits `4b00____`.
    VMagic = "v.magic" / 1,
    /// f32 sum.
    VFAdd = "v.fadd" / 2,
    /// f32 difference.
    VFSub = "v.fsub" / 2,
    /// f32 product.
    VFMul = "v.fmul" / 2,
    /// f32 quotient.
    VFDiv = "v.fdiv" / 2,
    /// f32 minimum.
    VFMin = "v.fmin" / 2,
    /// f32 maximum.
    VFMax = "v.fmax" / 2,
    /// `|a|`
    VAbs = "v.abs" / 1,
    /// `e^a`
    VExp = "v.exp" / 1,
    /// Square root.
    VSqrt = "v.sqrt" / 1,
    /// Hyperbolic tangent.
    VTanh = "v.tanh" / 1,
    /// SiLU.
    VSilu = "v.silu" / 1,
    /// GELU.
    VGelu = "v.gelu" / 1,
    /// To the nearest integer.
    VRound = "v.round" / 1,
    /// To the nearest integer, ties away from 0.
    VRoundAway = "v.round-away" / 1,
    /// To the next integer towards 0.
    VTrunc = "v.trunc" / 1,
    /// To the next integer below.
    VFloor = "v.floor" / 1,
    /// The largest power of two not above the magnitude.
    VFloorPow2 = "v.floor-pow2" / 1,
    /// `a < b ? c : d`
    VSelectLt = "v.select-lt" / 4,
    /// `a <= b ? c : d`
    VSelectLe = "v.select-le" / 4,
    /// `a == b ? c : d`
    VSelectEq = "v.select-eq" / 4,
    /// Integer sum: type, vectors.
    VIAdd = "v.iadd" / 3,
    /// Integer product: type, vectors.
    VIMul = "v.imul" / 3,
    /// Low half of products of i16: vectors.
    VMulLow = "v.mul-low" / 2,
    /// Low bytes of products of bytes: vectors.
    VMulBytes = "v.mul-bytes" / 2,
    /// i32 over 256, rounded down.
    VOver256 = "v.over-256" / 1,
    /// Bits that are set in both bytes: vectors.
    VAnd = "v.and" / 2,
    /// How many bits of each byte are set.
    VCountOnes = "v.count-ones" / 1,
    /// Bits of copies as bytes, the first lowest: axis, vector.
    VPackBits = "v.pack-bits" / 2,
    /// Accumulation over a loop or copies: axis, vector.
    VSum = "v.sum" / 2,
    /// Bytes summed over copies in 16 bits: axis, vector.
    VSumBytes = "v.sum-bytes" / 2,
    /// Maximum over a loop or copies: axis, vector.
    VMaxOver = "v.max-over" / 2,
    /// Sum over lanes: axis, vector.
    VFold = "v.fold" / 2,
    /// Maximum over lanes: axis, vector.
    VFoldMax = "v.fold-max" / 2,
    /// Four neighbouring products summed, unsigned × signed bytes to i32.
    VDot4 = "v.dot4" / 2,
    /// Four neighbouring products summed, signed bytes to i32.
    VDot4S = "v.dot4s" / 2,
    /// Two neighbouring products summed, unsigned × signed bytes to i16.
    VMulPairs8 = "v.mul-pairs8" / 2,
    /// Two neighbouring products summed, i16 to i32.
    VMulPairs16 = "v.mul-pairs16" / 2,
    /// Two neighbouring i16 summed to i32.
    VAddPairs16 = "v.add-pairs16" / 1,
    /// A value kept in a buffer, computed before the loops over rows.
    VStage = "v.stage" / 1,
    /// A value of weights kept in a buffer, computed before the loop over the batch.
    VPanel = "v.panel" / 1,
    /// What a number is worth in the copies of rows: unit.
    Unit = "unit" / 1,
    /// What a number is worth, in every lane; copies differ in it: lanes, type, unit.
    VUnit = "v.unit" / 3,
}

impl Op {
    /// Whether it takes the values of a loop or of copies together: its axis is bound in it.
    pub fn has_axis(self) -> bool {
        matches!(
            self,
            Op::VSum | Op::VSumBytes | Op::VPackBits | Op::VMaxOver
        )
    }
}

/// A node: a leaf with data, or an operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// A number, by its bits.
    Num(u64),
    /// A type.
    Ty(Ty),
    /// A lane list.
    Lanes(AxisSet),
    /// An axis.
    Axis(AxisId),
    /// A load, bit field, element, table or extent, by its number.
    Ref(u32),
    /// An operation.
    Op(Op, Vec<Id>),
}

impl Node {
    /// A number.
    pub fn num(value: f64) -> Self {
        Node::Num(if value == 0.0 { 0 } else { value.to_bits() })
    }
}

impl Language for Node {
    type Discriminant = (u8, Option<Op>, u64);

    fn discriminant(&self) -> Self::Discriminant {
        match self {
            Node::Num(n) => (0, None, *n),
            Node::Ty(t) => (1, None, *t as u64),
            Node::Lanes(l) => (2, None, l.0),
            Node::Axis(a) => (3, None, u64::from(a.as_u32())),
            Node::Ref(r) => (4, None, u64::from(*r)),
            Node::Op(op, _) => (5, Some(*op), 0),
        }
    }

    fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Node::Op(a, _), Node::Op(b, _)) => a == b,
            _ => self.discriminant() == other.discriminant(),
        }
    }

    fn children(&self) -> &[Id] {
        match self {
            Node::Op(_, children) => children,
            Node::Num(_) | Node::Ty(_) | Node::Lanes(_) | Node::Axis(_) | Node::Ref(_) => &[],
        }
    }

    fn children_mut(&mut self) -> &mut [Id] {
        match self {
            Node::Op(_, children) => children,
            Node::Num(_) | Node::Ty(_) | Node::Lanes(_) | Node::Axis(_) | Node::Ref(_) => &mut [],
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Num(n) => write!(f, "{}", f64::from_bits(*n)),
            Node::Ty(t) => write!(f, "{t}"),
            Node::Lanes(l) => {
                let axes: Vec<String> = l.iter().map(|a| a.to_string()).collect();
                write!(f, "[{}]", axes.join(","))
            }
            Node::Axis(a) => write!(f, "{a}"),
            Node::Ref(r) => write!(f, "#{r}"),
            Node::Op(op, _) => f.write_str(op.name()),
        }
    }
}

/// A word in a rule that is no operation.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` with {1} operands is not in the language of the rewriter")]
pub struct UnknownOp(String, usize);

impl FromOp for Node {
    type Error = UnknownOp;

    fn from_op(op: &str, children: Vec<Id>) -> Result<Self, UnknownOp> {
        if let Some(found) = Op::ALL
            .iter()
            .find(|o| o.name() == op && o.arity() == children.len())
        {
            return Ok(Node::Op(*found, children));
        }
        if !children.is_empty() {
            return Err(UnknownOp(op.to_owned(), children.len()));
        }
        if op == "[]" {
            return Ok(Node::Lanes(AxisSet::default()));
        }
        if let Some((_, ty)) = Ty::ALL.iter().find(|(name, _)| *name == op) {
            return Ok(Node::Ty(*ty));
        }
        op.parse::<f64>()
            .map(Node::num)
            .map_err(|_| UnknownOp(op.to_owned(), 0))
    }
}

/// The operation of a function of the kernel language.
pub fn func_op(func: Func) -> Op {
    match func {
        Func::Abs => Op::Abs,
        Func::Exp => Op::Exp,
        Func::Sqrt => Op::Sqrt,
        Func::Tanh => Op::Tanh,
        Func::Silu => Op::Silu,
        Func::Gelu => Op::Gelu,
        Func::Round => Op::Round,
        Func::RoundAway => Op::RoundAway,
        Func::Trunc => Op::Trunc,
        Func::Floor => Op::Floor,
        Func::FloorPow2 => Op::FloorPow2,
        Func::Neg => Op::Mul,
    }
}

/// The operation of a comparison of the kernel language.
pub fn select_op(compare: Compare) -> Op {
    match compare {
        Compare::Lt => Op::SelectLt,
        Compare::Le => Op::SelectLe,
        Compare::Eq => Op::SelectEq,
    }
}
