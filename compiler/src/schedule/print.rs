//! Text of a placed statement: its axes, and its results as terms over loads.

use super::index::{Affine, AxisKind, Sym};
use super::place::Placed;
use super::term::{Storage, Term, TermId};
use crate::spec::kernel::Kernel;
use crate::vector::ir::Scalar;
use std::fmt::{self, Write};

/// A placed statement with the kernel whose tensors it names.
pub struct Shown<'a> {
    /// The statement.
    pub placed: &'a Placed,
    /// The kernel.
    pub kernel: &'a Kernel,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, axis) in self.placed.axes.iter() {
            let kind = match axis.kind {
                AxisKind::Loop => "loop",
                AxisKind::Unroll => "copies",
                AxisKind::Lane => "lanes",
            };
            write!(
                f,
                "  {kind} {id} = {} < {}",
                axis.name,
                self.scalar(&axis.to)
            )?;
            if axis.step > 1 {
                write!(f, " step {}", axis.step)?;
            }
            writeln!(f)?;
        }
        for root in &self.placed.roots {
            let lanes: Vec<String> = root.lanes.iter().map(|a| a.to_string()).collect();
            let name = &self.kernel.tensors[root.tensor].name;
            writeln!(
                f,
                "  {name}[{}] lanes [{}] =",
                self.affine(&root.address),
                lanes.join(", ")
            )?;
            writeln!(f, "    {}", self.term(root.term))?;
        }
        Ok(())
    }
}

impl Shown<'_> {
    fn scalar(&self, scalar: &Scalar) -> String {
        let two = |a: &Scalar, op: &str, b: &Scalar| {
            format!("({} {op} {})", self.scalar(a), self.scalar(b))
        };
        match scalar {
            Scalar::Const(c) => c.to_string(),
            Scalar::Dim(d) => self.kernel.dims[crate::spec::kernel::DimId::from_u32(*d)]
                .name
                .clone(),
            Scalar::Add(a, b) => two(a, "+", b),
            Scalar::Sub(a, b) => two(a, "-", b),
            Scalar::Mul(a, b) => two(a, "*", b),
            Scalar::Div(a, b) => two(a, "/", b),
            Scalar::DivCeil(a, b) => format!("ceil{}", two(a, "/", b)),
            Scalar::Rem(a, b) => two(a, "%", b),
            Scalar::Min(a, b) => format!("min{}", two(a, ",", b)),
        }
    }

    /// An affine expression; the symbols are axes, tables and gathers.
    pub fn affine(&self, affine: &Affine) -> String {
        let mut text = String::new();
        for (sym, coefficient) in &affine.terms {
            let factor = match coefficient {
                Scalar::Const(1) => String::new(),
                other => format!("{}*", self.scalar(other)),
            };
            let sym = match sym {
                Sym::Axis(a) => a.to_string(),
                Sym::Table(entries, at) => format!("table{}[{}]", entries.len(), self.affine(at)),
                Sym::Quotient(value, by) => format!("({}) / {by}", self.affine(value)),
                Sym::Remainder(value, by) => format!("({}) % {by}", self.affine(value)),
                Sym::Gather {
                    tensor, address, ..
                } => {
                    let tensor = crate::spec::kernel::TensorId::from_u32(*tensor);
                    format!(
                        "{}[{}]",
                        self.kernel.tensors[tensor].name,
                        self.affine(address)
                    )
                }
            };
            let _ = write!(
                text,
                "{}{factor}{sym}",
                if text.is_empty() { "" } else { " + " }
            );
        }
        match &affine.offset {
            Scalar::Const(0) if !text.is_empty() => {}
            offset => {
                let _ = write!(
                    text,
                    "{}{}",
                    if text.is_empty() { "" } else { " + " },
                    self.scalar(offset)
                );
            }
        }
        text
    }

    fn term(&self, id: TermId) -> String {
        let terms = &self.placed.terms;
        let all = |ids: &[TermId], op: &str| {
            let parts: Vec<String> = ids.iter().map(|i| self.term(*i)).collect();
            format!("({})", parts.join(op))
        };
        match &terms.terms[id] {
            Term::Const(c) => c.to_string(),
            Term::Scalar(s) => self.scalar(s),
            Term::Load(load) => {
                let load = &terms.loads[*load];
                let name = &self.kernel.tensors[load.tensor].name;
                let kind = match load.storage {
                    Storage::U8 => "u8".to_owned(),
                    Storage::I8 => "i8".to_owned(),
                    Storage::U16 => "u16".to_owned(),
                    Storage::I16 => "i16".to_owned(),
                    Storage::I32 => "i32".to_owned(),
                    Storage::F32 => "f32".to_owned(),
                    Storage::Code { bits } => format!("code{bits}"),
                    Storage::Place { .. } => "place".to_owned(),
                };
                let bit = load
                    .bit
                    .as_ref()
                    .map_or(String::new(), |b| format!(", bit {}", self.affine(b)));
                format!("{kind} {name}[{}{bit}]", self.affine(&load.address))
            }
            Term::Bits(field, e) => {
                let field = &terms.fields[*field as usize];
                let up = match field.fixed_up() {
                    Some(0) => String::new(),
                    _ => format!(" << {}", self.affine(&field.up)),
                };
                format!(
                    "bits{}({} >> {}){up}",
                    field.width,
                    self.term(*e),
                    self.affine(&field.shift)
                )
            }
            Term::Unit(unit) => {
                let unit = &terms.units[*unit as usize];
                let bits = self.affine(&unit.bits);
                match unit.times {
                    Some(times) => format!("{times} << {bits}"),
                    None => format!("2^-({bits})"),
                }
            }
            Term::Element(element, e) => format!("element{element}({})", self.term(*e)),
            Term::Add(parts) => all(parts, " + "),
            Term::Mul(parts) => all(parts, " * "),
            Term::Div(a, b) => all(&[*a, *b], " / "),
            Term::Min(a, b) => format!("min{}", all(&[*a, *b], ", ")),
            Term::Max(a, b) => format!("max{}", all(&[*a, *b], ", ")),
            Term::Func(f, a) => format!("{}({})", format!("{f:?}").to_lowercase(), self.term(*a)),
            Term::Select(c, o) => {
                format!("select-{}{}", format!("{c:?}").to_lowercase(), all(o, ", "))
            }
            Term::Strict(op, a, b) => format!(
                "f32-{}{}",
                format!("{op:?}").to_lowercase(),
                all(&[*a, *b], ", ")
            ),
            Term::Sum(axis, e) => format!("sum {axis}. {}", self.term(*e)),
            Term::MaxOver(axis, e) => format!("max {axis}. {}", self.term(*e)),
        }
    }
}
