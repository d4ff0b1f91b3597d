//! Which blocks are worth 0 where the codes of their elements are 0 bits, whatever the elements share: rows can then go on with
//! zeros.

use super::{Assigned, BinOp, BlockFormat, Element, EncodeExpr, Field, FieldId, UnOp, ValueExpr};

impl BlockFormat {
    /// Whether an element whose own codes are 0 bits is worth exactly 0 if what it shares with others is finite, and a block of
    /// 0 bits is worth nothing but zeros. The codes are in the order of the elements, and nothing else in a block depends on
    /// such codes.
    pub fn clears_to_zero(&self) -> bool {
        let in_order = |f: &Field| f.run() == Some(1);
        let fits = |f: &Field| {
            clear_value(f).is_some_and(f64::is_finite) && (!f.per_element() || in_order(f))
        };
        self.fields.values().all(fits) && self.is_zero(&self.value) && !self.reads_elements()
    }

    /// Whether elements past the end of a row are finite whatever their own codes are, if what the block has once is: no code is
    /// an infinity or no number, and nothing is divided by them.
    pub fn is_finite_past_the_end(&self) -> bool {
        let mut fields = self.fields.values();
        fields.all(|f| is_once(f) || !f.element.has_nan_or_inf())
            && divisors(&self.value, &|by| self.is_once(by))
    }

    /// Whether a value is made of constants, and of what a block has once.
    fn is_once(&self, value: &ValueExpr) -> bool {
        match value {
            ValueExpr::Const(_) => true,
            ValueExpr::Field(id) => is_once(&self.fields[*id]),
            ValueExpr::Unary(_, a) => self.is_once(a),
            ValueExpr::Binary(_, a, b) => self.is_once(a) && self.is_once(b),
        }
    }

    fn is_zero(&self, value: &ValueExpr) -> bool {
        match value {
            ValueExpr::Const(c) => *c == 0.0,
            ValueExpr::Field(id) => {
                let field = &self.fields[*id];
                field.per_element() && clear_value(field) == Some(0.0)
            }
            ValueExpr::Unary(
                UnOp::Neg
                | UnOp::Abs
                | UnOp::Round
                | UnOp::RoundAway
                | UnOp::Trunc
                | UnOp::Floor
                | UnOp::FloorPow2,
                a,
            ) => self.is_zero(a),
            ValueExpr::Binary(BinOp::Mul, a, b) => {
                // Fields of 0 bits are finite, and so is what is made of them without a division.
                let finite = |e: &ValueExpr| divisors(e, &|_| false);
                self.is_zero(a) && finite(b) || self.is_zero(b) && finite(a)
            }
            ValueExpr::Binary(BinOp::Div, a, b) => {
                self.is_zero(a) && matches!(**b, ValueExpr::Const(c) if c != 0.0)
            }
            ValueExpr::Binary(BinOp::Add | BinOp::Sub | BinOp::Min | BinOp::Max, a, b) => {
                self.is_zero(a) && self.is_zero(b)
            }
        }
    }

    /// Whether the `encode` clause assigns something from codes of elements that it has assigned before.
    fn reads_elements(&self) -> bool {
        let element = |id: FieldId| self.fields[id].per_element();
        let own = |target: Assigned, id: FieldId| target == Assigned::Field(id);
        let mut steps = self.encode.iter().flat_map(|e| &e.steps);
        steps.any(|s| reads(&s.expr, &|id| element(id) && !own(s.target, id)))
    }
}

/// Whether all elements of a block have the same value of a field.
fn is_once(field: &Field) -> bool {
    field.count == 1 && field.element.width() == 1
}

/// What a field is worth whose code is 0.
fn clear_value(field: &Field) -> Option<f64> {
    match &field.element {
        Element::Codebook(book) if book.width > 1 => None,
        element => Some(element.decode(0)),
    }
}

/// Whether all divisors in a value are of a kind.
fn divisors(value: &ValueExpr, kind: &impl Fn(&ValueExpr) -> bool) -> bool {
    match value {
        ValueExpr::Const(_) | ValueExpr::Field(_) => true,
        ValueExpr::Unary(_, a) => divisors(a, kind),
        ValueExpr::Binary(op, a, b) => {
            let divides = *op == BinOp::Div;
            divisors(a, kind) && if divides { kind(b) } else { divisors(b, kind) }
        }
    }
}

fn reads(expr: &EncodeExpr, which: &impl Fn(FieldId) -> bool) -> bool {
    match expr {
        EncodeExpr::Const(_) | EncodeExpr::Input | EncodeExpr::Local(_) => false,
        EncodeExpr::Field(id) => which(*id),
        EncodeExpr::Unary(_, a) | EncodeExpr::Reduce(_, a) | EncodeExpr::ArgAbsMax(a) => {
            reads(a, which)
        }
        EncodeExpr::Binary(_, a, b) => reads(a, which) || reads(b, which),
    }
}
