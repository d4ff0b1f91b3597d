//! The vector IR: structured loops over operations on vectors of any number of lanes. It stands between the extracted
//! term and machine code, and assumes no register width: the back end splits long vectors and pads short ones.
//!
//! Properties:
//! - values are immutable, defined once, before use, in the same or an enclosing region;
//! - integers are signless; an operation says how it reads them. Integer arithmetic wraps;
//! - floats are IEEE f32, round to nearest even; `fmin`/`fmax` return the number if one operand is NaN;
//! - a pointer is an `i64`. Memory is bytes, little endian, any alignment. Buffers of different parameters do not overlap,
//!   except that a buffer that is only read may be passed twice;
//! - a load or store touches `lanes * elem` bytes from its address, and nothing else;
//! - loops run `from, from + step, … < to` with carried values (accumulators); bounds and step are positive or zero counts;
//! - the function returns nothing: results are stored.
//!
//! Text form (see `print.rs`): one operation a line, `v7: i8x16 = ushr v6, 4`.

use cranelift_entity::{PrimaryMap, entity_impl};

/// A value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(u32);
entity_impl!(Value, "v");

/// A parameter: a buffer's pointer or a scalar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(u32);
entity_impl!(ParamId, "p");

/// A constant table in memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(u32);
entity_impl!(TableId, "c");

/// What a lane holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Elem {
    /// 8 bits.
    I8,
    /// 16 bits.
    I16,
    /// 32 bits.
    I32,
    /// 64 bits; for addresses and counts.
    I64,
    /// IEEE single precision.
    F32,
}

/// A vector type; `lanes == 1` is a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Type {
    /// What a lane holds.
    pub elem: Elem,
    /// How many lanes, a power of two.
    pub lanes: u16,
}

/// A number the caller computes from the dimensions before the call (extents, strides, trip counts).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scalar {
    /// A literal.
    Const(u64),
    /// The extent of a dimension of the kernel, by its position.
    Dim(u32),
    /// Sum.
    Add(Box<Scalar>, Box<Scalar>),
    /// Difference, 0 if negative.
    Sub(Box<Scalar>, Box<Scalar>),
    /// Product.
    Mul(Box<Scalar>, Box<Scalar>),
    /// Quotient, rounded down.
    Div(Box<Scalar>, Box<Scalar>),
    /// Quotient, rounded up.
    DivCeil(Box<Scalar>, Box<Scalar>),
    /// Remainder.
    Rem(Box<Scalar>, Box<Scalar>),
    /// Smaller of two.
    Min(Box<Scalar>, Box<Scalar>),
}

/// What a parameter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// A buffer that is only read; the name of the kernel's tensor.
    Read,
    /// A buffer that is written (and may be read back after).
    Write,
    /// Memory for the call: `bytes` of it, written before it is read.
    Scratch {
        /// Size in bytes.
        bytes: Scalar,
    },
    /// A scalar computed from the dimensions, as `i64`.
    Scalar(Scalar),
    /// The first row of the outermost row loop that this call computes (row ranges).
    RangeStart,
    /// One past its last row.
    RangeEnd,
}

/// A parameter with its name for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Tensor, stage or scalar name, unique in the function.
    pub name: String,
    /// What it is.
    pub kind: ParamKind,
}

/// Binary operations on equal types, lane by lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bin {
    /// Integer sum.
    IAdd,
    /// Integer difference.
    ISub,
    /// Integer product (i16, i32, i64).
    IMul,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Signed minimum (i8, i16, i32, i64).
    SMin,
    /// Signed maximum (i8, i16, i32, i64).
    SMax,
    /// The product of two i16 over 2^15, to the nearest (halves up), wrapped.
    MulHigh,
    /// f32 sum.
    FAdd,
    /// f32 difference.
    FSub,
    /// f32 product.
    FMul,
    /// f32 quotient.
    FDiv,
    /// f32 minimum; a NaN loses.
    FMin,
    /// f32 maximum; a NaN loses.
    FMax,
}

/// Unary operations, lane by lane, same type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Un {
    /// Flips the sign bit.
    FNeg,
    /// Clears the sign bit.
    FAbs,
    /// Square root.
    FSqrt,
    /// To the nearest integral value, ties to even.
    FRound,
    /// To the next integral value below.
    FFloor,
    /// How many bits are set; of i8.
    CountOnes,
}

/// Shifts by a constant less than the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shift {
    /// Left.
    Shl,
    /// Right, zeros in.
    UShr,
    /// Right, sign in.
    SShr,
}

/// Conversions, lane by lane; the number of lanes stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Convert {
    /// Integer to a wider integer, sign extended.
    WidenS,
    /// Integer to a wider integer, zero extended.
    WidenU,
    /// Integer to a narrower one, high bits dropped.
    Narrow,
    /// Signed i32 to f32, rounded to nearest even.
    IntToFloat,
    /// f32 to i32: to nearest even, saturating, NaN to 0.
    FloatToInt,
}

/// Comparisons; the result has all bits of a lane set or none, as integers of the operand's width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cmp {
    /// Integers equal.
    IEq,
    /// Signed less.
    SLt,
    /// Floats less (false on NaN).
    FLt,
    /// Floats less or equal (false on NaN).
    FLe,
    /// Floats equal (false on NaN).
    FEq,
}

/// An operation. `T` in a rule is the type of the result.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Every lane the same integer (sign-extended literal); `T` any integer type.
    IConst(i64),
    /// Every lane the same f32, by its bits; `T` is f32.
    FConst(u32),
    /// Lane by lane, raw little-endian bits of each lane; `T` has as many lanes.
    VConst(Vec<u64>),
    /// A parameter; `T` is i64.
    Param(ParamId),
    /// Address of a constant table; `T` is i64.
    TableAddr(TableId),
    /// `T` loaded from `base + offset` bytes.
    Load {
        /// Pointer, i64.
        base: Value,
        /// Bytes added to it.
        offset: i32,
    },
    /// Operands and `T` alike.
    Bin(Bin, Value, Value),
    /// Operand and `T` alike.
    Un(Un, Value),
    /// Integer shift by a constant.
    Shift(Shift, Value, u8),
    /// Scalar integer shift by a scalar of the same type (taken modulo the width); `T` i32 or i64, one lane.
    ShiftBy(Shift, Value, Value),
    /// Unsigned quotient by a constant that is not 0; `T` is i64, one lane.
    UDiv(Value, u32),
    /// `a * b + c`; one rounding if the target fuses, else two: used only where the result has an error bound.
    MulAdd(Value, Value, Value),
    /// Comparison; `T` is the integer type of the operand's width.
    Cmp(Cmp, Value, Value),
    /// Bit by bit `mask ? a : b`; the mask is an integer vector of `T`'s width and lanes, from `Cmp`.
    Select(Value, Value, Value),
    /// Conversion to `T`.
    Convert(Convert, Value),
    /// Same bits as another type of the same size.
    Bitcast(Value),
    /// A scalar in every lane.
    Splat(Value),
    /// The lanes of a short vector, over and over: `[a b] -> [a b a b]`.
    Tile(Value),
    /// Each lane of a short vector several times: `[a b] -> [a a b b]`.
    Repeat(Value),
    /// Vector of the scalars given, first lane first; `T` has as many lanes, each operand its element.
    Build(Vec<Value>),
    /// One lane, as a scalar.
    Extract(Value, u16),
    /// Lanes `start ..` of the operand; `T` has fewer lanes and the same element.
    Slice(Value, u16),
    /// `lo | hi << w` per lane, from two vectors of half-wide integers; `T` has the same lanes, twice the width.
    Join {
        /// Low halves.
        lo: Value,
        /// High halves.
        hi: Value,
    },
    /// `table[index]` per lane; table is `i8x16`, every index in `0..16`; `T` and the indices are `i8` of the same lanes.
    Lookup {
        /// The table, `i8x16`.
        table: Value,
        /// The indices.
        index: Value,
    },
    /// Neighbouring products summed in pairs: unsigned `a` times signed `b`, i8 to i16; `T` has half the lanes.
    /// Saturates like `pmaddubsw`; used only where it provably does not.
    MulPairsU8S8(Value, Value),
    /// Neighbouring products summed in pairs: signed i16 to i32; `T` has half the lanes.
    MulPairsS16(Value, Value),
    /// `acc` plus four neighbouring products each: unsigned `a` times signed `b`; i8 to i32; `T` is acc's type, a quarter of the lanes.
    Dot4U8S8 {
        /// The accumulator.
        acc: Value,
        /// Unsigned bytes.
        a: Value,
        /// Signed bytes.
        b: Value,
    },
    /// The same, both signed.
    Dot4S8S8 {
        /// The accumulator.
        acc: Value,
        /// Signed bytes.
        a: Value,
        /// Signed bytes.
        b: Value,
    },
    /// Sums of groups of neighbouring lanes (f32 or i32, i16); `T` has fewer lanes. With one lane: the horizontal sum.
    /// Floats are summed by halves: first half plus second half, until a group is one lane.
    Fold(Value),
    /// Maxima of groups of neighbouring lanes, f32; a NaN loses.
    FoldMax(Value),
}

/// A step of a region.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Defines a value.
    Let(Value, Op),
    /// Writes a value to `base + offset`.
    Store {
        /// The value.
        value: Value,
        /// Pointer, i64.
        base: Value,
        /// Bytes added to it.
        offset: i32,
    },
    /// A loop.
    Loop(Box<Loop>),
}

/// A loop with carried values.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// Name for people.
    pub name: String,
    /// The counter, i64.
    pub counter: Value,
    /// First value of the counter, i64.
    pub from: Value,
    /// It runs while the counter is below this, i64, signed.
    pub to: Value,
    /// Added each time, positive.
    pub step: i64,
    /// Carried values.
    pub carried: Vec<Carried>,
    /// The body.
    pub body: Vec<Step>,
}

/// A value carried round a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Its name in the body.
    pub inside: Value,
    /// Its value before the first round.
    pub init: Value,
    /// Its value after a round, defined in the body.
    pub next: Value,
    /// Its value after the loop.
    pub result: Value,
}

/// Constant data in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Name for people, unique in the function.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A function over buffers and scalars.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Parameters, in call order.
    pub params: PrimaryMap<ParamId, Param>,
    /// Constant tables.
    pub tables: PrimaryMap<TableId, Table>,
    /// Type of every value.
    pub types: PrimaryMap<Value, Type>,
    /// The code.
    pub body: Vec<Step>,
}

impl Elem {
    /// Width in bits.
    pub fn bits(self) -> u32 {
        match self {
            Elem::I8 => 8,
            Elem::I16 => 16,
            Elem::I32 | Elem::F32 => 32,
            Elem::I64 => 64,
        }
    }
}

impl Type {
    /// A vector of `lanes` lanes.
    pub const fn new(elem: Elem, lanes: u16) -> Self {
        Type { elem, lanes }
    }

    /// Size in bytes.
    pub fn bytes(self) -> u32 {
        self.elem.bits() / 8 * u32::from(self.lanes)
    }

    /// The integer type of the same width and lanes.
    pub fn as_int(self) -> Self {
        let elem = match self.elem {
            Elem::F32 => Elem::I32,
            other => other,
        };
        Type { elem, ..self }
    }
}

impl Scalar {
    /// The value for given extents; saturates instead of wrapping, and divides by zero to 0.
    pub fn eval(&self, dims: &[u64]) -> u64 {
        match self {
            Scalar::Const(c) => *c,
            Scalar::Dim(d) => dims.get(*d as usize).copied().unwrap_or(0),
            Scalar::Add(a, b) => a.eval(dims).saturating_add(b.eval(dims)),
            Scalar::Sub(a, b) => a.eval(dims).saturating_sub(b.eval(dims)),
            Scalar::Mul(a, b) => a.eval(dims).saturating_mul(b.eval(dims)),
            Scalar::Div(a, b) => a.eval(dims).checked_div(b.eval(dims)).unwrap_or(0),
            Scalar::DivCeil(a, b) => match b.eval(dims) {
                0 => 0,
                d => a.eval(dims).div_ceil(d),
            },
            Scalar::Rem(a, b) => a.eval(dims).checked_rem(b.eval(dims)).unwrap_or(0),
            Scalar::Min(a, b) => a.eval(dims).min(b.eval(dims)),
        }
    }
}
