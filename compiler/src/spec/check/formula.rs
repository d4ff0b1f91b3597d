//! Integer formulas over indices: subscripts, addresses, and tables of codebooks.

use super::{Checked, Checker};
use crate::diagnostic::Diagnostic;
use crate::syntax::ast::{Expr, ExprKind, Ident, Op, Span};
use std::sync::Arc;

/// An integer formula over a few variables, in postfix order.
pub(super) struct Formula {
    code: Vec<Instr>,
    span: Span,
}

enum Instr {
    Const(i64),
    Var(usize),
    Neg,
    Op(Op),
    Call(Function),
    /// The entry of a list.
    Entry(Arc<Vec<i64>>),
}

/// A function of integers.
#[derive(Clone, Copy)]
enum Function {
    Min,
    Max,
    Abs,
    Pow,
    Select,
}

const FUNCTIONS: [(&str, Function, usize); 5] = [
    ("min", Function::Min, 2),
    ("max", Function::Max, 2),
    ("abs", Function::Abs, 1),
    ("pow", Function::Pow, 2),
    ("select", Function::Select, 3),
];

impl Formula {
    /// The value for the given variables; `None` where there is none: a division by zero, an entry that the list does not
    /// have, a number beyond 64 bits.
    pub(super) fn eval(&self, vars: &[i64], stack: &mut Vec<i64>) -> Option<i64> {
        stack.clear();
        for i in &self.code {
            let v = match i {
                Instr::Const(c) => *c,
                Instr::Var(v) => *vars.get(*v)?,
                Instr::Neg => stack.pop()?.checked_neg()?,
                Instr::Op(op) => {
                    let (b, a) = (stack.pop()?, stack.pop()?);
                    operate(*op, a, b)?
                }
                Instr::Call(f) => call(*f, stack)?,
                Instr::Entry(list) => *list.get(usize::try_from(stack.pop()?).ok()?)?,
            };
            stack.push(v);
        }
        stack.pop()
    }

    /// Operations of one evaluation.
    pub(super) fn size(&self) -> usize {
        self.code.len()
    }

    /// Its place.
    pub(super) fn span(&self) -> Span {
        self.span
    }
}

/// Division rounds down; a comparison is 1 or 0.
fn operate(op: Op, a: i64, b: i64) -> Option<i64> {
    Some(match op {
        Op::Add => a.checked_add(b)?,
        Op::Sub => a.checked_sub(b)?,
        Op::Mul => a.checked_mul(b)?,
        Op::Div => a.checked_div_euclid(b)?,
        Op::Rem => a.checked_rem_euclid(b)?,
        Op::Lt => i64::from(a < b),
        Op::Le => i64::from(a <= b),
        Op::Eq => i64::from(a == b),
        Op::Gt => i64::from(a > b),
        Op::Ge => i64::from(a >= b),
    })
}

fn call(f: Function, stack: &mut Vec<i64>) -> Option<i64> {
    let last = stack.pop()?;
    Some(match f {
        Function::Abs => last.checked_abs()?,
        Function::Min => last.min(stack.pop()?),
        Function::Max => last.max(stack.pop()?),
        Function::Pow => stack.pop()?.checked_pow(u32::try_from(last).ok()?)?,
        Function::Select => {
            let (then, condition) = (stack.pop()?, stack.pop()?);
            if condition != 0 { then } else { last }
        }
    })
}

impl Checker<'_> {
    /// Compiles a formula over `vars`.
    pub(super) fn formula(&mut self, e: &Expr, vars: &[&str]) -> Checked<Formula> {
        let mut code = Vec::new();
        self.compile(e, vars, &mut code)?;
        Ok(Formula { code, span: e.span })
    }

    /// Appends the code of `e`.
    fn compile(&mut self, e: &Expr, vars: &[&str], code: &mut Vec<Instr>) -> Checked<()> {
        match &e.kind {
            ExprKind::Number(_) => code.push(Instr::Const(self.integer(e)?)),
            ExprKind::Name(n) => match vars.iter().position(|v| v == n) {
                Some(v) => code.push(Instr::Var(v)),
                None if self.consts.contains_key(n) => code.push(Instr::Const(self.integer(e)?)),
                None => return self.not_in_a_formula(n, e.span, vars),
            },
            ExprKind::Neg(a) => {
                self.compile(a, vars, code)?;
                code.push(Instr::Neg);
            }
            ExprKind::Binary(op, a, b) => {
                self.compile(a, vars, code)?;
                self.compile(b, vars, code)?;
                code.push(Instr::Op(*op));
            }
            ExprKind::Call(f, args) => {
                let known = FUNCTIONS
                    .iter()
                    .find(|(name, _, count)| *name == f.name && *count == args.len());
                let Some((_, function, _)) = known else {
                    return self.bad_call(f, args.len(), &FUNCTIONS.map(|(name, ..)| name));
                };
                for a in args {
                    self.compile(a, vars, code)?;
                }
                code.push(Instr::Call(*function));
            }
            ExprKind::Index(list, index) => {
                let entries = self.list(list)?;
                let [index] = index.as_slice() else {
                    return self.fail(Diagnostic::error(
                        "subscript",
                        e.span,
                        format!("the list `{}` has one subscript", list.name),
                        format!("has {}", index.len()),
                    ));
                };
                self.compile(index, vars, code)?;
                code.push(Instr::Entry(entries));
            }
            ExprKind::Reduce(..) => {
                return self.fail(Diagnostic::error(
                    "not-an-integer",
                    e.span,
                    "a subscript, an address or a table is a formula of integers, without sums",
                    "not allowed here",
                ));
            }
        }
        Ok(())
    }

    fn not_in_a_formula<T>(&mut self, name: &str, span: Span, vars: &[&str]) -> Checked<T> {
        let d = Diagnostic::error(
            "unknown-name",
            span,
            format!("`{name}` is not an index or a constant"),
            "not known here",
        );
        let known = vars.iter().copied();
        let d = d.near(
            span,
            name,
            known.chain(self.consts.keys().map(String::as_str)),
        );
        self.fail_unless_broken(name, d)
    }

    /// A list of integers by its name.
    fn list(&mut self, name: &Ident) -> Checked<Arc<Vec<i64>>> {
        if let Some(list) = self.lists.get(&name.name) {
            return Ok(list.clone());
        }
        let d = Diagnostic::error(
            "unknown-name",
            name.span,
            format!("there is no list `{}`", name.name),
            "expected a constant list of integers",
        );
        let d = d.near(name.span, &name.name, self.lists.keys().map(String::as_str));
        self.fail_unless_broken(&name.name, d)
    }
}
