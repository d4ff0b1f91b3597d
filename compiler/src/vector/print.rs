//! Text of functions: one operation a line, types after the colon, two spaces a region. `read.rs` reads it back.
//!
//! ```text
//! func axpy {
//!   param p0 x: read
//!   param p1 n: scalar mul(d0, 4)
//!   table c0 codes: 000102ff
//!   v0: i64 = param p0
//!   loop k: v5 = v1 to v2 step 16 {
//!     carry v6: f32x4 = v3 next v9 result v10
//!     v7: f32x4 = load v0 + 16
//!     ...
//!   }
//!   store v10, v0 - 4
//! }
//! ```

use super::ir::{Elem, Function, Loop, Op, ParamKind, Scalar, Step, Type, Value};
use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter, Write};

impl Display for Elem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.lanes == 1 {
            write!(f, "{}", self.elem)
        } else {
            write!(f, "{}x{}", self.elem, self.lanes)
        }
    }
}

impl Display for Scalar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (name, a, b) = match self {
            Scalar::Const(c) => return write!(f, "{c}"),
            Scalar::Dim(d) => return write!(f, "d{d}"),
            Scalar::Add(a, b) => ("add", a, b),
            Scalar::Sub(a, b) => ("sub", a, b),
            Scalar::Mul(a, b) => ("mul", a, b),
            Scalar::Div(a, b) => ("div", a, b),
            Scalar::DivCeil(a, b) => ("div_ceil", a, b),
            Scalar::Rem(a, b) => ("rem", a, b),
            Scalar::Min(a, b) => ("min", a, b),
        };
        write!(f, "{name}({a}, {b})")
    }
}

impl Display for ParamKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            ParamKind::Read => f.write_str("read"),
            ParamKind::Write => f.write_str("write"),
            ParamKind::Scratch { bytes } => write!(f, "scratch {bytes}"),
            ParamKind::Scalar(scalar) => write!(f, "scalar {scalar}"),
            ParamKind::RangeStart => f.write_str("range_start"),
            ParamKind::RangeEnd => f.write_str("range_end"),
        }
    }
}

impl Display for Function {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "func {} {{", Name(&self.name))?;
        for (id, param) in self.params.iter() {
            writeln!(f, "  param {id} {}: {}", Name(&param.name), param.kind)?;
        }
        for (id, table) in self.tables.iter() {
            write!(f, "  table {id} {}:", Name(&table.name))?;
            for (at, byte) in table.bytes.iter().enumerate() {
                let space = if at % 16 == 0 { " " } else { "" };
                write!(f, "{space}{byte:02x}")?;
            }
            writeln!(f)?;
        }
        let mut defined = BTreeSet::new();
        definitions(&self.body, &mut defined);
        for (value, ty) in self.types.iter().filter(|(v, _)| !defined.contains(v)) {
            writeln!(f, "  undefined {value}: {ty}")?;
        }
        region(f, self, &self.body, 1)?;
        f.write_str("}\n")
    }
}

/// Values that a region and its loops define.
pub(super) fn definitions(steps: &[Step], into: &mut BTreeSet<Value>) {
    for step in steps {
        match step {
            Step::Let(value, _) => {
                into.insert(*value);
            }
            Step::Store { .. } => {}
            Step::Loop(l) => {
                into.insert(l.counter);
                into.extend(l.carried.iter().flat_map(|c| [c.inside, c.result]));
                definitions(&l.body, into);
            }
        }
    }
}

fn region(f: &mut Formatter<'_>, function: &Function, steps: &[Step], depth: usize) -> fmt::Result {
    for step in steps {
        write!(f, "{:1$}", "", depth * 2)?;
        match step {
            Step::Let(value, op) => {
                let ty = Known(function, *value);
                write!(f, "{value}: {ty} = {}", op.name())?;
                operation(f, function, *value, op)?;
                writeln!(f)?;
            }
            Step::Store {
                value,
                base,
                offset,
            } => {
                write!(f, "store {value}, {base}")?;
                displacement(f, *offset)?;
                writeln!(f)?;
            }
            Step::Loop(l) => looped(f, function, l, depth)?,
        }
    }
    Ok(())
}

fn looped(f: &mut Formatter<'_>, function: &Function, l: &Loop, depth: usize) -> fmt::Result {
    writeln!(
        f,
        "loop {}: {} = {} to {} step {} {{",
        Name(&l.name),
        l.counter,
        l.from,
        l.to,
        l.step
    )?;
    for c in &l.carried {
        let ty = Known(function, c.inside);
        write!(f, "{:1$}", "", depth * 2 + 2)?;
        writeln!(
            f,
            "carry {}: {ty} = {} next {} result {}",
            c.inside, c.init, c.next, c.result
        )?;
    }
    region(f, function, &l.body, depth + 1)?;
    writeln!(f, "{:1$}}}", "", depth * 2)
}

fn operation(f: &mut Formatter<'_>, function: &Function, value: Value, op: &Op) -> fmt::Result {
    let mut separator = " ";
    for operand in op.operands() {
        write!(f, "{separator}{operand}")?;
        separator = ", ";
    }
    match op {
        Op::IConst(n) => write!(f, " {n}"),
        Op::FConst(bits) => write!(f, " {}", Float(*bits)),
        Op::VConst(lanes) => {
            let elem = function.types.get(value).map_or(Elem::I64, |t| t.elem);
            for (at, bits) in lanes.iter().enumerate() {
                let separator = if at == 0 { " " } else { ", " };
                write!(f, "{separator}{}", Lane(elem, *bits))?;
            }
            Ok(())
        }
        Op::Param(id) => write!(f, " {id}"),
        Op::TableAddr(id) => write!(f, " {id}"),
        Op::Load { offset, .. } => displacement(f, *offset),
        Op::Shift(_, _, n) => write!(f, ", {n}"),
        Op::UDiv(_, by) => write!(f, ", {by}"),
        Op::Extract(_, lane) | Op::Slice(_, lane) => write!(f, ", {lane}"),
        Op::Bin(..)
        | Op::Un(..)
        | Op::ShiftBy(..)
        | Op::MulAdd(..)
        | Op::Cmp(..)
        | Op::Select(..)
        | Op::Convert(..)
        | Op::Bitcast(_)
        | Op::Splat(_)
        | Op::Tile(_)
        | Op::Repeat(_)
        | Op::Build(_)
        | Op::Join { .. }
        | Op::Lookup { .. }
        | Op::MulPairsU8S8(..)
        | Op::MulPairsS16(..)
        | Op::Dot4U8S8 { .. }
        | Op::Dot4S8S8 { .. }
        | Op::Fold(_)
        | Op::FoldMax(_) => Ok(()),
    }
}

fn displacement(f: &mut Formatter<'_>, offset: i32) -> fmt::Result {
    match offset {
        0 => Ok(()),
        1.. => write!(f, " + {offset}"),
        _ => write!(f, " - {}", offset.unsigned_abs()),
    }
}

/// The type of a value; a value outside the function prints as `?`.
struct Known<'a>(&'a Function, Value);

impl Display for Known<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.types.get(self.1) {
            Some(ty) => ty.fmt(f),
            None => f.write_char('?'),
        }
    }
}

/// A name: bare if it is a word, quoted otherwise.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if !self.0.is_empty() && self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\{:x};", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// Shortest text of a finite f32, bits of others.
struct Float(u32);

impl Display for Float {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let float = f32::from_bits(self.0);
        if float.is_finite() {
            write!(f, "{float:?}")
        } else {
            write!(f, "0x{:08x}", self.0)
        }
    }
}

/// A lane of a constant: signed integers, floats, or raw bits if they do not fit the element.
struct Lane(Elem, u64);

impl Display for Lane {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bits = self.0.bits();
        if bits < 64 && self.1 >> bits != 0 {
            return write!(f, "0x{:x}", self.1);
        }
        match self.0 {
            Elem::F32 => Float(self.1 as u32).fmt(f),
            Elem::I8 | Elem::I16 | Elem::I32 | Elem::I64 => {
                let unused = 64 - bits;
                write!(f, "{}", ((self.1 << unused) as i64) >> unused)
            }
        }
    }
}
