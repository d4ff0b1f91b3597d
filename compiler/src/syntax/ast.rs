//! The syntax tree: what the text says, before any name is looked up. Every node knows its place in the source.

use std::ops::Range;

/// A place in the source, in bytes. Two spans always compare equal: where something stands is no part of what it says,
/// so trees can be compared.
#[derive(Clone, Copy, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The span from the start of `self` to the end of `other`.
    pub fn to(self, other: Span) -> Span {
        Span {
            start: self.start,
            end: other.end,
        }
    }
    /// As a range of bytes.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

impl PartialEq for Span {
    fn eq(&self, _: &Span) -> bool {
        true
    }
}
impl Eq for Span {}

/// A name.
#[derive(Clone, Debug, PartialEq)]
pub struct Ident {
    /// The name.
    pub name: String,
    /// Its place.
    pub span: Span,
}

/// A comment, without its line break.
#[derive(Clone, Debug)]
pub struct Comment {
    /// The text with its `//`, without trailing blanks.
    pub text: String,
    /// Its place.
    pub span: Span,
    /// Whether nothing but blanks stands before it on its line.
    pub own_line: bool,
}

/// A file.
#[derive(Clone, Debug)]
pub struct File {
    /// The items in order.
    pub items: Vec<Item>,
    /// All comments in order.
    pub comments: Vec<Comment>,
    /// Byte offsets after which the source has an empty line (the formatter keeps one).
    pub blank_lines: Vec<usize>,
    /// Names that items with a syntax error would have defined.
    pub broken: Vec<String>,
}

impl PartialEq for File {
    fn eq(&self, other: &File) -> bool {
        self.items == other.items
    }
}

/// A top-level item.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `language 1;`
    Language {
        /// The version.
        version: Expr,
        /// The item.
        span: Span,
    },
    /// `import "std/nf4";`
    Import {
        /// The text between the quotes.
        path: Ident,
        /// The item.
        span: Span,
    },
    /// `const N = 4;`, `const levels = [1, 2, 4];`
    Const {
        /// Its name.
        name: Ident,
        /// Its value.
        value: Constant,
        /// The item.
        span: Span,
    },
    /// `format f = …`
    Format {
        /// Its name.
        name: Ident,
        /// The definition.
        body: FormatBody,
        /// The item.
        span: Span,
    },
    /// `kernel f(…) -> … { … }`
    Kernel(Kernel),
}

impl Item {
    /// The place of the whole item.
    pub fn span(&self) -> Span {
        match self {
            Item::Language { span, .. }
            | Item::Import { span, .. }
            | Item::Const { span, .. }
            | Item::Format { span, .. } => *span,
            Item::Kernel(k) => k.span,
        }
    }
}

/// The right side of a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// A number.
    Number(Expr),
    /// A list of integers.
    List(Vec<Expr>, Span),
}

/// The right side of a format definition.
#[derive(Clone, Debug, PartialEq)]
pub enum FormatBody {
    /// One scalar.
    Element(Element),
    /// A block with fields.
    Block(Block),
}

/// A scalar element: a name, a constructor or a codebook, and what its illegal codes are.
#[derive(Clone, Debug, PartialEq)]
pub enum Element {
    /// A format defined elsewhere.
    Name(Ident),
    /// `int(4)`, `float(2, 1, finite)`.
    Call {
        /// The constructor.
        head: Ident,
        /// Its arguments.
        args: Vec<ElementArg>,
        /// `packed 5 per 8`: how many to a word of how many bits.
        packed: Option<Box<(Expr, Expr)>>,
        /// All of it.
        span: Span,
    },
    /// `codebook [ … ]`, `codebook c < 243, j < 5: …`
    Codebook {
        /// Names and extents of the code and of the component, if they have names.
        axes: Vec<(Ident, Expr)>,
        /// The values.
        values: CodebookValues,
        /// All of it.
        span: Span,
    },
    /// `… else refuse`
    Else {
        /// What comes before.
        of: Box<Element>,
        /// A constant, `nan` or `refuse`.
        worth: Expr,
        /// From `else` on.
        span: Span,
    },
}

impl Element {
    /// Its place.
    pub fn span(&self) -> Span {
        match self {
            Element::Name(n) => n.span,
            Element::Call { span, .. } | Element::Codebook { span, .. } => *span,
            Element::Else { of, span, .. } => of.span().to(*span),
        }
    }
}

/// The values of a codebook.
#[derive(Clone, Debug, PartialEq)]
pub enum CodebookValues {
    /// Code after code.
    List(Vec<Expr>),
    /// A formula of the code and the component.
    Formula(Box<Expr>),
}

/// An argument of a scalar's constructor.
#[derive(Clone, Debug, PartialEq)]
pub enum ElementArg {
    /// A number or a flag such as `finite`.
    Value(Expr),
    /// `bias 7`
    Bias(Expr),
}

/// `block i < 32, bytes 20 { … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The indices with their bounds: rows first if there are two.
    pub axes: Vec<(Ident, Expr)>,
    /// The size that the author promises.
    pub bytes: Option<Expr>,
    /// Bytes around its blocks.
    pub frame: Vec<FrameBytes>,
    /// Fields and clauses in order.
    pub members: Vec<Member>,
    /// All of it.
    pub span: Span,
}

/// A line of a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Member {
    /// A field.
    Field(Box<Field>),
    /// `value = …;`
    Value {
        /// What an element is worth.
        value: Expr,
        /// The line.
        span: Span,
    },
    /// `encode x { … }`
    Encode {
        /// The name of the elements to encode.
        var: Ident,
        /// The assignments.
        steps: Vec<Step>,
        /// The clause.
        span: Span,
    },
}

impl Member {
    /// Its place.
    pub fn span(&self) -> Span {
        match self {
            Member::Field(f) => f.span,
            Member::Value { span, .. } | Member::Encode { span, .. } => *span,
        }
    }
}

/// `row bytes 4`, `tensor after bytes 32`
#[derive(Clone, Debug, PartialEq)]
pub struct FrameBytes {
    /// `row` or `tensor`.
    pub scope: Ident,
    /// Whether they lie after the blocks of a row, or after all rows.
    pub after: bool,
    /// How many there are.
    pub bytes: Expr,
}

/// `q[i]: uint(4) at …;`
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// `kept`, if it is what the values of a row add up to.
    pub kept: Option<Span>,
    /// `row` or `tensor`.
    pub scope: Option<Ident>,
    /// Its name.
    pub name: Ident,
    /// How often it occurs.
    pub subscript: Vec<Expr>,
    /// What it is.
    pub element: Element,
    /// `after`, if it lies after the blocks of its row, or after all rows.
    pub after: Option<Span>,
    /// Where it lies.
    pub at: Option<Placement>,
    /// The line.
    pub span: Span,
}

/// Where the bits of a field lie.
#[derive(Clone, Debug, PartialEq)]
pub enum Placement {
    /// All bits of a code in one place.
    Whole(Addresses),
    /// So many bits in each of several places, low bits first.
    Pieces(Vec<(Expr, Addresses)>, Span),
}

/// Bit addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Addresses {
    /// Whether they count from the highest bit of each byte, and a code's highest bit comes first.
    pub msb: bool,
    /// The addresses.
    pub kind: AddressKind,
    /// All of it.
    pub span: Span,
}

/// How bit addresses are given.
#[derive(Clone, Debug, PartialEq)]
pub enum AddressKind {
    /// A formula of the block's indices.
    Formula(Expr),
    /// One address for each occurrence.
    List(Vec<Expr>),
}

/// `d = max(i) abs(x[i]) / 7;` in an encode clause.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Whether it defines a number that is not stored.
    pub is_let: bool,
    /// The field, or the number.
    pub name: Ident,
    /// Its subscript, as declared.
    pub subscript: Vec<Expr>,
    /// The value.
    pub value: Expr,
    /// The line.
    pub span: Span,
}

/// A kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// Its name.
    pub name: Ident,
    /// What it takes.
    pub params: Vec<Param>,
    /// What it makes.
    pub outputs: Vec<Param>,
    /// Into what tables may be rounded (`tables int8`).
    pub tables: Option<Ident>,
    /// How.
    pub statements: Vec<Statement>,
    /// All of it.
    pub span: Span,
}

/// `weight w: nf4_64[N, K]`
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// `weight`, `stored`, `input` or `output`.
    pub role: Ident,
    /// Its name.
    pub name: Ident,
    /// The name of its format.
    pub format: Ident,
    /// Its axes.
    pub shape: Vec<Expr>,
    /// All of it.
    pub span: Span,
}

/// `y[m, n] = …;`
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Whether it defines intermediates.
    pub is_let: bool,
    /// The results.
    pub targets: Vec<Target>,
    /// Their values.
    pub values: Vec<Value>,
    /// The line.
    pub span: Span,
}

/// The left side of a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The tensor.
    pub name: Ident,
    /// Its subscripts.
    pub subscript: Vec<Expr>,
    /// All of it.
    pub span: Span,
}

/// The right side of a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// The expression.
    pub expr: Expr,
    /// The format of `quantize … as format`.
    pub quantize: Option<Ident>,
    /// All of it.
    pub span: Span,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its place.
    pub span: Span,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A number, as written.
    Number(String),
    /// A name.
    Name(String),
    /// `x[i, j]`
    Index(Ident, Vec<Expr>),
    /// `-a`
    Neg(Box<Expr>),
    /// `a + b`
    Binary(Op, Box<Expr>, Box<Expr>),
    /// `f(a, b)`
    Call(Ident, Vec<Expr>),
    /// `sum(k) a`
    Reduce(Ident, Vec<Ident>, Box<Expr>),
}

/// An operator between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `==`
    Eq,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl Op {
    /// How it is written.
    pub fn text(self) -> &'static str {
        match self {
            Op::Add => "+",
            Op::Sub => "-",
            Op::Mul => "*",
            Op::Div => "/",
            Op::Rem => "%",
            Op::Lt => "<",
            Op::Le => "<=",
            Op::Eq => "==",
            Op::Gt => ">",
            Op::Ge => ">=",
        }
    }
    /// How tightly it binds: 0 comparisons, 1 sums, 2 products.
    pub fn level(self) -> u8 {
        match self {
            Op::Lt | Op::Le | Op::Eq | Op::Gt | Op::Ge => 0,
            Op::Add | Op::Sub => 1,
            Op::Mul | Op::Div | Op::Rem => 2,
        }
    }
}
