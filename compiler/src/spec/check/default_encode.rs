//! The `encode` clause of a block that has none: a scale from the largest magnitude, then the nearest code.

use crate::format::{
    BinOp, BlockFormat, Element, Encode, EncodeExpr, FieldId, ReduceOp, UnOp, ValueExpr,
};
use std::collections::BTreeMap;

/// Derives the clause if `value` is `e[i]`, `s * e[i]` or `s * (e[i] - z)` in any spelling, with a float `s` once a
/// block or sub-block, a field `e` once an element and a constant `z`.
pub(super) fn derive(b: &BlockFormat) -> Option<Encode> {
    let polynomial = expand(&b.value)?;
    let each = |f: FieldId| b.fields[f].per_element();
    let terms: Vec<(&Vec<FieldId>, f64)> = polynomial.iter().map(|(m, c)| (m, *c)).collect();
    let input = || Box::new(EncodeExpr::Input);
    if let ([(m, 1.0)], 1) = (terms.as_slice(), b.fields.len()) {
        return match m.as_slice() {
            [e] if each(*e) => Some(Encode::of_fields(vec![(*e, EncodeExpr::Input)])),
            _ => None,
        };
    }
    let (product, factor) = *terms.iter().find(|(m, _)| m.len() == 2)?;
    let [x, y] = product[..] else { return None };
    // In a block of one element the scale is as frequent as the code: it is the wider of the two.
    let scales = |s: FieldId, e: FieldId| match b.len {
        1 => b.fields[s].element.bits() > b.fields[e].element.bits(),
        _ => each(e) && !each(s),
    };
    let (s, e) = match () {
        () if scales(x, y) => (x, y),
        () if scales(y, x) => (y, x),
        () => return None,
    };
    let shift = match terms
        .iter()
        .filter(|(m, _)| **m != *product)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => 0.0,
        [(m, c)] if m.as_slice() == [s] => *c,
        _ => return None,
    };
    if b.fields.len() != 2 || !matches!(b.fields[s].element, Element::Float(_)) || factor == 0.0 {
        return None;
    }
    let zero = -shift / factor;
    let element = &b.fields[e].element;
    let (low, high) = element.reach();
    let (below, above) = ((low - zero).abs(), (high - zero).abs());
    let reach = match element {
        // both ends must hold the largest magnitude, unless one side has no values at all
        Element::Int { .. } | Element::UInt { .. } if low < zero && high > zero => below.min(above),
        Element::Int { .. } | Element::UInt { .. } | Element::Float(_) | Element::Codebook(_) => {
            below.max(above)
        }
    };
    let constant = |v: f64| Box::new(EncodeExpr::Const(v as f32));
    let uneven =
        matches!(element, Element::Codebook(_)) && low < zero && high > zero && below != above;
    let scale = match uneven {
        // Each sign has an end of its own to reach.
        true => {
            let (up, down) = if factor > 0.0 {
                (above, below)
            } else {
                (below, above)
            };
            let positive = largest(input(), up * factor.abs())?;
            let negative = largest(
                Box::new(EncodeExpr::Unary(UnOp::Neg, input())),
                down * factor.abs(),
            )?;
            EncodeExpr::Binary(BinOp::Max, Box::new(positive), Box::new(negative))
        }
        false => largest(
            Box::new(EncodeExpr::Unary(UnOp::Abs, input())),
            reach * factor.abs(),
        )?,
    };
    let mut code = EncodeExpr::Binary(BinOp::Div, input(), Box::new(EncodeExpr::Field(s)));
    if factor != 1.0 {
        code = EncodeExpr::Binary(BinOp::Div, Box::new(code), constant(factor));
    }
    if zero != 0.0 {
        code = EncodeExpr::Binary(BinOp::Add, Box::new(code), constant(zero));
    }
    Some(Encode::of_fields(vec![(s, scale), (e, code)]))
}

/// The largest of some values, divided; `None` if the divisor is no positive number.
fn largest(values: Box<EncodeExpr>, divisor: f64) -> Option<EncodeExpr> {
    let divisor = divisor as f32;
    let most = Box::new(EncodeExpr::Reduce(ReduceOp::Max, values));
    (divisor.is_finite() && divisor > 0.0)
        .then(|| EncodeExpr::Binary(BinOp::Div, most, Box::new(EncodeExpr::Const(divisor))))
}

/// A polynomial: coefficients of products of fields (sorted).
type Polynomial = BTreeMap<Vec<FieldId>, f64>;

/// `value` as a polynomial of degree at most 2; `None` if it is none.
fn expand(e: &ValueExpr) -> Option<Polynomial> {
    let constant = |c: f64| Polynomial::from([(Vec::new(), c)]);
    let scaled = |p: Polynomial, by: f64| {
        p.into_iter()
            .map(|(m, c)| (m, c * by))
            .collect::<Polynomial>()
    };
    let mut out = match e {
        ValueExpr::Const(c) => constant(f64::from(*c)),
        ValueExpr::Field(f) => Polynomial::from([(vec![*f], 1.0)]),
        ValueExpr::Unary(UnOp::Neg, a) => scaled(expand(a)?, -1.0),
        ValueExpr::Binary(BinOp::Add | BinOp::Sub, a, b) => {
            let sign = if matches!(e, ValueExpr::Binary(BinOp::Sub, ..)) {
                -1.0
            } else {
                1.0
            };
            let mut p = expand(a)?;
            for (m, c) in expand(b)? {
                *p.entry(m).or_insert(0.0) += sign * c;
            }
            p
        }
        ValueExpr::Binary(BinOp::Mul, a, b) => {
            let (a, b) = (expand(a)?, expand(b)?);
            let mut p = Polynomial::new();
            for (m, c) in &a {
                for (n, d) in &b {
                    let mut product = [m.as_slice(), n.as_slice()].concat();
                    product.sort();
                    *p.entry(product).or_insert(0.0) += c * d;
                }
            }
            p
        }
        ValueExpr::Binary(BinOp::Div, a, b) => {
            let (a, b) = (expand(a)?, expand(b)?);
            match b.iter().collect::<Vec<_>>().as_slice() {
                [(m, c)] if m.is_empty() && **c != 0.0 => scaled(a, 1.0 / **c),
                _ => return None,
            }
        }
        ValueExpr::Unary(..) | ValueExpr::Binary(..) => return None,
    };
    out.retain(|_, c| *c != 0.0);
    // more terms than a value of two fields can have: not ours
    (out.len() <= 4 && out.keys().all(|m| m.len() <= 2)).then_some(out)
}
