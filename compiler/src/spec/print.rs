//! A kernel as text: names, extents and the arena, in a stable form.

use super::kernel::*;
use std::fmt::{Display, Formatter, Result};

impl Kernel {
    /// An extent as text.
    pub fn extent_text(&self, e: Extent) -> String {
        match e {
            Extent::Dim(d) => self.dims[d].name.clone(),
            Extent::Const(n) => n.to_string(),
            Extent::Quotient(d, by) => format!("{} / {by}", self.dims[d].name),
        }
    }

    fn subscripts(&self, list: &[Subscript]) -> String {
        let text = |s: &Subscript| match s {
            Subscript::Index(i) => self.index(*i),
            Subscript::Quotient(i, by) => format!("{} / {by}", self.index(*i)),
            Subscript::Const(n) => n.to_string(),
            Subscript::Gather(t, inner) => {
                format!("{}[{}]", self.tensors[*t].name, self.subscripts(inner))
            }
        };
        list.iter().map(text).collect::<Vec<_>>().join(", ")
    }

    /// An index with its number: two statements may use one name.
    fn index(&self, i: IndexId) -> String {
        format!("{}.{}", self.indices[i].name, i.as_u32())
    }

    fn expr_text(&self, e: &Expr) -> String {
        let indices = |list: &[IndexId]| {
            let one = |i: &IndexId| {
                format!(
                    "{} < {}",
                    self.index(*i),
                    self.extent_text(self.indices[*i].extent)
                )
            };
            list.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        match e {
            Expr::Const(c) => format!("{c}"),
            Expr::Dim(d) => format!("dim {}", self.dims[*d].name),
            Expr::Load(t, s) => format!("load {}[{}]", self.tensors[*t].name, self.subscripts(s)),
            Expr::Unary(f, a) => format!("{} {a}", format!("{f:?}").to_lowercase()),
            Expr::Binary(op, a, b) => format!("{} {a}, {b}", format!("{op:?}").to_lowercase()),
            Expr::Select(c, [a, b], t, f) => format!(
                "select {} {a}, {b} then {t} else {f}",
                format!("{c:?}").to_lowercase()
            ),
            Expr::Reduce(r, list, a) => {
                format!("{}({}) {a}", format!("{r:?}").to_lowercase(), indices(list))
            }
        }
    }
}

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let tables = match self.tables {
            Tables::Exact => "",
            Tables::Int8 => " tables int8",
        };
        writeln!(f, "kernel @{}{tables} {{", self.name)?;
        for (id, d) in self.dims.iter() {
            match d.bound {
                Some(n) => writeln!(f, "  {id}: {} = {n}", d.name)?,
                None => writeln!(f, "  {id}: {}", d.name)?,
            }
        }
        for (id, t) in self.tensors.iter() {
            let shape: Vec<String> = t.shape.iter().map(|e| self.extent_text(*e)).collect();
            writeln!(
                f,
                "  {id}: {} {}: {}[{}]",
                format!("{:?}", t.role).to_lowercase(),
                t.name,
                t.format.name,
                shape.join(", ")
            )?;
        }
        let mut printed = 0;
        for s in &self.statements {
            writeln!(f, "  statement")?;
            let last = s
                .targets
                .iter()
                .map(|t| t.value.as_u32() as usize + 1)
                .max()
                .unwrap_or(0);
            for (id, e) in self
                .exprs
                .iter()
                .skip(printed)
                .take(last.saturating_sub(printed))
            {
                writeln!(f, "    {id} = {}", self.expr_text(e))?;
            }
            printed = printed.max(last);
            for t in &s.targets {
                let index: Vec<String> = t
                    .index
                    .iter()
                    .map(|i| {
                        format!(
                            "{} < {}",
                            self.index(*i),
                            self.extent_text(self.indices[*i].extent)
                        )
                    })
                    .collect();
                let how = match t.store {
                    Store::Number => "",
                    Store::Quantized => "quantize ",
                    Store::Codes => "codes of ",
                };
                writeln!(
                    f,
                    "    {}[{}] = {how}{}",
                    self.tensors[t.tensor].name,
                    index.join(", "),
                    t.value
                )?;
            }
        }
        writeln!(f, "}}")
    }
}
