//! `value` as a polynomial in the scales. Its coefficients are tables over the joint codes of an element, so that any
//! operation is allowed where no scale takes part.

use super::NotAffine;
use crate::format::codec::{binary, unary};
use crate::format::{BinOp, BlockFormat, FieldId, UnOp, ValueExpr};
use std::collections::BTreeMap;

/// The most terms that are kept: more than any format in use has, few enough for wide code tables.
const MAX_TERMS: usize = 32;

/// A product of scales, sorted; each at most once.
pub(super) type Monomial = Vec<FieldId>;
/// For each product of scales, its coefficient under each joint code.
pub(super) type Tabulated = BTreeMap<Monomial, Vec<f64>>;

/// A sum of products of scales.
#[derive(Clone, Debug, Default)]
pub(super) struct Polynomial(pub(super) Vec<(f64, Monomial)>);

impl Polynomial {
    /// The value, given those of the fields.
    pub(super) fn eval(&self, value: impl Fn(FieldId) -> f64) -> f64 {
        let term = |(c, m): &(f64, Monomial)| m.iter().fold(*c, |p, f| p * value(*f));
        self.0.iter().map(term).sum()
    }
    /// Its fields, sorted.
    pub(super) fn fields(&self) -> Vec<FieldId> {
        let mut all: Vec<FieldId> = self.0.iter().flat_map(|(_, m)| m).copied().collect();
        all.sort();
        all.dedup();
        all
    }
}

/// The joint codes of some fields, and what each field is worth under each.
pub(super) struct Codes {
    /// The fields, each with its value under each joint code.
    pub(super) columns: Vec<(FieldId, Vec<f64>)>,
    /// How many joint codes there are.
    pub(super) count: usize,
}

/// `value` with its terms collected by products of scales.
pub(super) fn tabulate(format: &BlockFormat, codes: &Codes) -> Result<Tabulated, NotAffine> {
    Expand { format, codes }.expand(&format.value)
}

struct Expand<'a> {
    format: &'a BlockFormat,
    codes: &'a Codes,
}

impl Expand<'_> {
    fn expand(&self, e: &ValueExpr) -> Result<Tabulated, NotAffine> {
        Ok(match e {
            ValueExpr::Const(c) => constant(vec![f64::from(*c); self.codes.count]),
            ValueExpr::Field(f) => match self.codes.columns.iter().find(|c| c.0 == *f) {
                Some((_, column)) => constant(column.clone()),
                None => Tabulated::from([(vec![*f], vec![1.0; self.codes.count])]),
            },
            ValueExpr::Unary(UnOp::Neg, a) => map(self.expand(a)?, |v| -v),
            ValueExpr::Unary(op, a) => {
                let a = self.codes_only(a, "a function of it")?;
                constant(a.iter().map(|v| f64::from(unary(*op, *v as f32))).collect())
            }
            ValueExpr::Binary(BinOp::Add, a, b) => sum(self.expand(a)?, self.expand(b)?),
            ValueExpr::Binary(BinOp::Sub, a, b) => {
                sum(self.expand(a)?, map(self.expand(b)?, |v| -v))
            }
            ValueExpr::Binary(BinOp::Mul, a, b) => {
                self.product(&self.expand(a)?, &self.expand(b)?)?
            }
            ValueExpr::Binary(BinOp::Div, a, b) => {
                let b = self.codes_only(b, "it divides")?;
                let by = constant(b.iter().map(|v| 1.0 / v).collect());
                self.product(&self.expand(a)?, &by)?
            }
            ValueExpr::Binary(op @ (BinOp::Min | BinOp::Max), a, b) => {
                let a = self.codes_only(a, "a minimum or maximum of it")?;
                let b = self.codes_only(b, "a minimum or maximum of it")?;
                let pairs = a.iter().zip(&b);
                constant(
                    pairs
                        .map(|(a, b)| f64::from(binary(*op, *a as f32, *b as f32)))
                        .collect(),
                )
            }
        })
    }

    /// An expression in which no scale occurs.
    fn codes_only(&self, e: &ValueExpr, what: &'static str) -> Result<Vec<f64>, NotAffine> {
        let mut terms = self.expand(e)?;
        if let Some(field) = terms.keys().flatten().next() {
            return Err(self.not_affine(*field, what));
        }
        let none = || vec![0.0; self.codes.count];
        Ok(terms.remove(&Vec::new()).unwrap_or_else(none))
    }

    fn product(&self, a: &Tabulated, b: &Tabulated) -> Result<Tabulated, NotAffine> {
        let mut out = Tabulated::new();
        for (m, x) in a {
            for (n, y) in b {
                if let Some(f) = m.iter().find(|f| n.contains(f)) {
                    return Err(self.not_affine(*f, "it is multiplied by itself"));
                }
                let mut fields = [m.as_slice(), n].concat();
                fields.sort();
                let table = x.iter().zip(y).map(|(x, y)| x * y).collect();
                out = sum(out, Tabulated::from([(fields, table)]));
            }
            if out.len() > MAX_TERMS {
                return Err(NotAffine::Parts);
            }
        }
        Ok(out)
    }

    fn not_affine(&self, field: FieldId, what: &'static str) -> NotAffine {
        NotAffine::Scale {
            field: self.format.fields[field].name.clone(),
            what,
        }
    }
}

fn constant(table: Vec<f64>) -> Tabulated {
    Tabulated::from([(Vec::new(), table)])
}

fn map(mut a: Tabulated, f: impl Fn(f64) -> f64) -> Tabulated {
    a.values_mut().flatten().for_each(|v| *v = f(*v));
    a
}

fn sum(mut a: Tabulated, b: Tabulated) -> Tabulated {
    for (m, y) in b {
        match a.get_mut(&m) {
            Some(x) => x.iter_mut().zip(&y).for_each(|(x, y)| *x += y),
            None => {
                a.insert(m, y);
            }
        }
    }
    a
}
