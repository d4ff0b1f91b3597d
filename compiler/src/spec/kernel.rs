//! The typed kernel: index notation with names resolved and extents checked. It knows nothing of the stages that make
//! or use it.
//!
//! Properties, which the checker establishes:
//! - every index has one binder and a unique id in the kernel; its extent is known in terms of dimensions;
//! - operands of an expression come before it in the arena;
//! - a tensor is written by one statement, before it is read, at plain index variables, each once;
//! - an expression denotes a real number (for i32 index tensors an integer); loads decode their element;
//! - `Expr::Reduce` binds its own indices, which occur nowhere outside its body.

use crate::format::Format;
use cranelift_entity::{PrimaryMap, entity_impl};
use std::sync::Arc;

/// A dimension of the kernel (`N`, `K`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DimId(u32);
entity_impl!(DimId, "dim");

/// A tensor of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorId(u32);
entity_impl!(TensorId, "t");

/// An index variable (binder).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexId(u32);
entity_impl!(IndexId, "i");

/// An expression of the kernel's arena.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExprId(u32);
entity_impl!(ExprId, "e");

/// A named dimension, bound at compile time or free until the call.
#[derive(Clone, Debug, PartialEq)]
pub struct Dim {
    /// Its name in the text.
    pub name: String,
    /// The extent, if bound at compile time.
    pub bound: Option<u64>,
}

/// How far an index or a tensor's axis goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// A named dimension.
    Dim(DimId),
    /// A number in the text.
    Const(u64),
    /// A named dimension over a number, rounded up: as many groups of so many.
    Quotient(DimId, u64),
}

impl Extent {
    /// As a number, if its dimension has one.
    pub fn value(self, dim: impl FnOnce(DimId) -> Option<u64>) -> Option<u64> {
        match self {
            Extent::Dim(d) => dim(d),
            Extent::Const(n) => Some(n),
            Extent::Quotient(d, by) => dim(d).map(|n| n.div_ceil(by)),
        }
    }

    /// The dimension that it depends on.
    pub fn dim(self) -> Option<DimId> {
        match self {
            Extent::Dim(d) | Extent::Quotient(d, _) => Some(d),
            Extent::Const(_) => None,
        }
    }

    /// How many groups of so many there are in it.
    pub fn over(self, by: u64) -> Extent {
        match self {
            _ if by == 1 => self,
            Extent::Dim(d) => Extent::Quotient(d, by),
            Extent::Const(n) => Extent::Const(n.div_ceil(by)),
            Extent::Quotient(d, first) => Extent::Quotient(d, first.saturating_mul(by)),
        }
    }

    /// What it is so many groups of; `None` if that is no dimension, or part of one.
    pub fn times(self, by: u64) -> Option<Extent> {
        match self {
            Extent::Quotient(d, n) if n == by => Some(Extent::Dim(d)),
            Extent::Quotient(d, n) if n.is_multiple_of(by) => Some(Extent::Quotient(d, n / by)),
            Extent::Dim(_) | Extent::Const(_) | Extent::Quotient(..) => None,
        }
    }
}

/// When a tensor is known, and who owns its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Known at pack time; the layout is the compiler's to choose.
    Weight,
    /// Known at pack time; the bytes stay as a file has them.
    Stored,
    /// Given at each call.
    Input,
    /// Made by each call.
    Output,
    /// An intermediate (`let`); plain f32 unless its statement quantises.
    Local,
}

impl Role {
    /// Whether it is known at pack time.
    pub fn is_packed(self) -> bool {
        matches!(self, Role::Weight | Role::Stored)
    }
}

/// A tensor: its role, format and axes (outermost first; blocks run along the last).
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name in the text.
    pub name: String,
    /// When it is known.
    pub role: Role,
    /// What its elements are.
    pub format: Arc<Format>,
    /// The axes.
    pub shape: Vec<Extent>,
    /// In memory its rows go on with zeros up to a multiple of this; 1 unless the compiler made it so.
    pub filled: u64,
}

/// An index variable.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// Its name in the text.
    pub name: String,
    /// How far it goes.
    pub extent: Extent,
}

/// One subscript of a load.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subscript {
    /// An index variable.
    Index(IndexId),
    /// An index variable over a number, rounded down: the group of so many that it lies in.
    Quotient(IndexId, u64),
    /// A fixed position.
    Const(u64),
    /// The value of an integer tensor at the given subscripts (index variables or constants).
    Gather(TensorId, Vec<Subscript>),
}

/// Unary functions on reals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Func {
    /// `-a`
    Neg,
    /// `|a|`
    Abs,
    /// `e^a`
    Exp,
    /// Square root.
    Sqrt,
    /// Hyperbolic tangent.
    Tanh,
    /// `a / (1 + e^-a)`
    Silu,
    /// `a / 2 * (1 + tanh(sqrt(2/pi) * (a + 0.044715 a^3)))`
    Gelu,
    /// To the nearest integer, ties to even.
    Round,
    /// To the nearest integer, ties away from 0.
    RoundAway,
    /// To the next integer towards 0.
    Trunc,
    /// To the next integer below.
    Floor,
    /// The largest power of two not above `|a|`; 0 for 0.
    FloorPow2,
}

impl Func {
    /// Whether its results are integers.
    pub fn to_integer(self) -> bool {
        matches!(
            self,
            Func::Round | Func::RoundAway | Func::Trunc | Func::Floor
        )
    }
}

/// Binary functions on reals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// The smaller.
    Min,
    /// The larger.
    Max,
}

/// Comparisons, for `select`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compare {
    /// `a < b`
    Lt,
    /// `a <= b`
    Le,
    /// `a == b`
    Eq,
}

/// Reductions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reduce {
    /// Sum; 0 over nothing.
    Sum,
    /// Largest; minus infinity over nothing.
    Max,
}

/// An expression; denotes a real number for each value of its free indices.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A literal.
    Const(f64),
    /// The extent of a dimension, as a number.
    Dim(DimId),
    /// An element of a tensor, decoded.
    Load(TensorId, Vec<Subscript>),
    /// A unary function.
    Unary(Func, ExprId),
    /// A binary function.
    Binary(Binary, ExprId, ExprId),
    /// `select(a < b, then, otherwise)`
    Select(Compare, [ExprId; 2], ExprId, ExprId),
    /// A reduction over its own indices.
    Reduce(Reduce, Vec<IndexId>, ExprId),
}

impl Expr {
    /// The expressions that it is made of, in the order in which they are written.
    pub fn operands(&self) -> Vec<ExprId> {
        match self {
            Expr::Const(_) | Expr::Dim(_) | Expr::Load(..) => Vec::new(),
            Expr::Unary(_, a) | Expr::Reduce(_, _, a) => vec![*a],
            Expr::Binary(_, a, b) => vec![*a, *b],
            Expr::Select(_, [a, b], t, f) => vec![*a, *b, *t, *f],
        }
    }
}

/// One result of a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The tensor written.
    pub tensor: TensorId,
    /// Its subscripts: distinct index variables of the statement, covering the tensor's whole shape.
    pub index: Vec<IndexId>,
    /// The value.
    pub value: ExprId,
    /// How the value becomes elements of the tensor.
    pub store: Store,
}

/// How a value becomes elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Each element of a plain tensor rounds its value.
    Number,
    /// Blocks are quantised by the `encode` clause of their format.
    Quantized,
    /// The value is a tensor as it stands, whose format has the same fields in another layout: codes are moved, none is made
    /// anew.
    Codes,
}

/// A statement: one or more results over the same set of index variables.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The results, in the order written; at least one.
    pub targets: Vec<Target>,
}

/// What tables hold that are made at a call, or of the codes of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tables {
    /// Their entries as they are.
    #[default]
    Exact,
    /// Entries rounded to bytes with a common scale. The product of a code and an integer of the call
    /// may then be off by a thousandth of the product of their ranges.
    Int8,
}

/// A checked kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// Its name in the text.
    pub name: String,
    /// Into what tables may be rounded.
    pub tables: Tables,
    /// Dimensions in order of first mention.
    pub dims: PrimaryMap<DimId, Dim>,
    /// Tensors: parameters in order, then locals.
    pub tensors: PrimaryMap<TensorId, Tensor>,
    /// Index variables.
    pub indices: PrimaryMap<IndexId, Index>,
    /// Expressions, operands first.
    pub exprs: PrimaryMap<ExprId, Expr>,
    /// Statements, in the order they run.
    pub statements: Vec<Statement>,
}

impl Kernel {
    /// A name that no tensor has: the given one, or with a number.
    pub fn fresh_name(&self, base: &str) -> String {
        let taken = |name: &str| self.tensors.values().any(|t| t.name == name);
        let mut name = base.to_owned();
        let mut number = 2;
        while taken(&name) {
            name = format!("{base}{number}");
            number += 1;
        }
        name
    }
}
