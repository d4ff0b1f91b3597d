//! The rules of the vector IR. A violation is a defect of the stage that made the function, never a user's mistake.
//!
//! Checked: every operation's typing rule (see `ir.rs`); every value is defined once, before its uses, in the same or an
//! enclosing region; loops have positive steps and carry values of one type; ids are those of the function.

use super::ir::{Carried, Convert, Elem, Function, Loop, Op, Shift, Step, Type, Value};
use std::collections::BTreeSet;
use std::fmt;

/// Where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the definition of a value.
    Value(Value),
    /// At a store of a value.
    Store(Value),
    /// At a loop, by its counter.
    Loop(Value),
    /// In the declarations.
    Function,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Value(v) => write!(f, "{v}"),
            Place::Store(v) => write!(f, "store of {v}"),
            Place::Loop(v) => write!(f, "loop over {v}"),
            Place::Function => f.write_str("declarations"),
        }
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct VerifyError {
    /// Where.
    pub place: Place,
    /// Which rule.
    pub message: String,
}

/// Most lanes of a vector.
pub const MOST_LANES: u16 = 4096;

/// Deepest nest of loops.
const DEEPEST: usize = 64;

const I64: Type = Type::new(Elem::I64, 1);

/// All broken rules of a function, in program order; empty if it is right.
pub fn verify(function: &Function) -> Vec<VerifyError> {
    let mut check = Check {
        function,
        visible: BTreeSet::new(),
        defined: BTreeSet::new(),
        errors: Vec::new(),
    };
    check.declarations();
    check.region(&function.body, 0);
    check.errors
}

struct Check<'f> {
    function: &'f Function,
    /// What the current region sees.
    visible: BTreeSet<Value>,
    /// Everything defined so far.
    defined: BTreeSet<Value>,
    errors: Vec<VerifyError>,
}

impl Check<'_> {
    fn error(&mut self, place: Place, message: impl Into<String>) {
        self.errors.push(VerifyError {
            place,
            message: message.into(),
        });
    }

    fn declarations(&mut self) {
        let mut names = BTreeSet::new();
        let params = self.function.params.values().map(|p| &p.name);
        for name in params.chain(self.function.tables.values().map(|t| &t.name)) {
            if !names.insert(name) {
                self.errors.push(VerifyError {
                    place: Place::Function,
                    message: format!("the name `{name}` is used twice"),
                });
            }
        }
        for (value, ty) in self.function.types.iter() {
            if !ty.lanes.is_power_of_two() || ty.lanes > MOST_LANES {
                self.error(
                    Place::Value(value),
                    format!("{} lanes are no power of two up to {MOST_LANES}", ty.lanes),
                );
            }
        }
    }

    fn define(&mut self, value: Value) {
        if !self.function.types.is_valid(value) {
            self.error(Place::Value(value), "has no type");
        }
        if !self.defined.insert(value) {
            self.error(Place::Value(value), "is defined twice");
        }
        self.visible.insert(value);
    }

    /// The type of an operand, if it may be used here.
    fn operand(&mut self, place: &Place, value: Value) -> Option<Type> {
        if !self.visible.contains(&value) {
            let why = if self.defined.contains(&value) {
                "outside the region that defines it"
            } else {
                "before its definition"
            };
            self.error(place.clone(), format!("uses {value} {why}"));
        }
        self.function.types.get(value).copied()
    }

    fn expect(&mut self, place: &Place, what: &str, value: Value, wanted: Type) {
        if let Some(found) = self.operand(place, value)
            && found != wanted
        {
            self.error(
                place.clone(),
                format!("{what} {value} is {found}, not {wanted}"),
            );
        }
    }

    fn region(&mut self, steps: &[Step], depth: usize) {
        for step in steps {
            match step {
                Step::Let(value, op) => {
                    let place = Place::Value(*value);
                    let operands: Option<Vec<Type>> = op
                        .operands()
                        .into_iter()
                        .map(|v| self.operand(&place, v))
                        .collect();
                    if let (Some(operands), Some(ty)) =
                        (operands, self.function.types.get(*value).copied())
                        && let Err(message) = rule(self.function, ty, op, &operands)
                    {
                        self.error(place, format!("{} of {ty}: {message}", op.name()));
                    }
                    self.define(*value);
                }
                Step::Store { value, base, .. } => {
                    let place = Place::Store(*value);
                    self.operand(&place, *value);
                    self.expect(&place, "base", *base, I64);
                }
                Step::Loop(l) if depth < DEEPEST => self.looped(l, depth),
                Step::Loop(l) => self.error(
                    Place::Loop(l.counter),
                    format!("is nested deeper than {DEEPEST}"),
                ),
            }
        }
    }

    fn looped(&mut self, l: &Loop, depth: usize) {
        let place = Place::Loop(l.counter);
        self.expect(&place, "start", l.from, I64);
        self.expect(&place, "end", l.to, I64);
        if l.step <= 0 {
            self.error(place.clone(), format!("step {} is not positive", l.step));
        }
        if self
            .function
            .types
            .get(l.counter)
            .is_some_and(|t| *t != I64)
        {
            self.error(place.clone(), "counter is not i64");
        }
        for c in &l.carried {
            self.operand(&place, c.init);
        }
        let outside = self.visible.clone();
        self.define(l.counter);
        for c in &l.carried {
            self.define(c.inside);
        }
        self.region(&l.body, depth + 1);
        for c in &l.carried {
            self.operand(&place, c.next);
        }
        self.visible = outside;
        for Carried {
            inside,
            init,
            next,
            result,
        } in &l.carried
        {
            let types = [inside, init, next, result].map(|v| self.function.types.get(*v));
            if types.iter().any(|t| *t != types[0]) {
                self.error(place.clone(), format!("carries {inside} in several types"));
            }
            self.define(*result);
        }
    }
}

/// The typing rule of an operation: `ty` is the result, `operands` are in the order of [`Op::operands`].
fn rule(function: &Function, ty: Type, op: &Op, operands: &[Type]) -> Result<(), String> {
    let want = |holds: bool, rule: &str| {
        if holds {
            Ok(())
        } else {
            Err(format!("{rule}; operands: {}", list(operands)))
        }
    };
    let same_lanes = operands.iter().all(|o| o.lanes == ty.lanes);
    let alike = operands.iter().all(|o| *o == ty);
    let first = operands.first().copied().unwrap_or(ty);
    let second = operands.get(1).copied().unwrap_or(first);
    let int = ty.elem.is_int();
    match op {
        Op::IConst(n) => {
            let bits = ty.elem.bits();
            let fits = bits == 64 || (-(1i64 << (bits - 1))..1i64 << bits).contains(n);
            want(
                int && fits,
                "an integer type that holds the number is needed",
            )
        }
        Op::FConst(_) => want(ty.elem == Elem::F32, "the result is f32"),
        Op::VConst(lanes) => {
            let bits = ty.elem.bits();
            let fits = bits == 64 || lanes.iter().all(|l| l >> bits == 0);
            want(
                lanes.len() == usize::from(ty.lanes) && fits,
                "as many numbers as lanes, each of the element's width",
            )
        }
        Op::Param(id) => want(
            ty == I64 && function.params.is_valid(*id),
            "a parameter of the function, as i64",
        ),
        Op::TableAddr(id) => want(
            ty == I64 && function.tables.is_valid(*id),
            "a table of the function, as i64",
        ),
        Op::Load { .. } => want(first == I64, "the base is i64"),
        Op::Bin(bin, ..) => want(
            alike && bin.takes(ty.elem),
            "operands and result alike, of a type that it takes",
        ),
        Op::Un(un, _) => want(
            alike && ty.elem == un.elem(),
            "operand and result alike, of the type that it takes",
        ),
        Op::Shift(_, _, n) => want(
            alike && int && u32::from(*n) < ty.elem.bits(),
            "integers alike, by less than their width",
        ),
        Op::ShiftBy(Shift::Shl | Shift::UShr | Shift::SShr, ..) => {
            let scalar = ty.lanes == 1 && matches!(ty.elem, Elem::I32 | Elem::I64);
            want(alike && scalar, "i32 or i64 alike, one lane")
        }
        Op::UDiv(_, by) => want(
            alike && ty == Type::new(Elem::I64, 1) && *by > 0,
            "i64, one lane, by more than 0",
        ),
        Op::MulAdd(..) => want(
            alike && ty.elem == Elem::F32,
            "operands and result are f32 alike",
        ),
        Op::Cmp(cmp, ..) => {
            let right =
                first == second && first.as_int() == ty && cmp.is_int() == first.elem.is_int();
            want(right, "operands alike, result the integer of their width")
        }
        Op::Select(..) => {
            let right = first == ty.as_int() && operands.iter().skip(1).all(|o| *o == ty);
            want(
                right,
                "a mask of the result's width, then two values of its type",
            )
        }
        Op::Convert(convert, _) => {
            let (from, to) = (first.elem, ty.elem);
            let ints = from.is_int() && to.is_int();
            let right = match convert {
                Convert::WidenS | Convert::WidenU => ints && from.bits() < to.bits(),
                Convert::Narrow => ints && from.bits() > to.bits(),
                Convert::IntToFloat => from == Elem::I32 && to == Elem::F32,
                Convert::FloatToInt => from == Elem::F32 && to == Elem::I32,
            };
            want(same_lanes && right, "no such conversion")
        }
        Op::Bitcast(_) => want(first.bytes() == ty.bytes(), "sizes are equal"),
        Op::Splat(_) => want(first == Type::new(ty.elem, 1), "the operand is the element"),
        Op::Tile(_) | Op::Repeat(_) => want(
            first.elem == ty.elem && ty.lanes.is_multiple_of(first.lanes),
            "same element, a multiple of the lanes",
        ),
        Op::Build(values) => {
            let elements = operands.iter().all(|o| *o == Type::new(ty.elem, 1));
            want(
                values.len() == usize::from(ty.lanes) && elements,
                "as many elements as lanes",
            )
        }
        Op::Extract(_, lane) => want(
            ty == Type::new(first.elem, 1) && *lane < first.lanes,
            "a lane of the operand",
        ),
        Op::Slice(_, start) => {
            let fits = u32::from(*start) + u32::from(ty.lanes) <= u32::from(first.lanes);
            want(ty.elem == first.elem && fits, "lanes of the operand")
        }
        Op::Join { .. } => {
            let halves = first == second && first.elem.is_int() && int && same_lanes;
            want(
                halves && first.elem.bits() * 2 == ty.elem.bits(),
                "two integers of half the width",
            )
        }
        Op::Lookup { .. } => {
            let right = ty.elem == Elem::I8 && first == Type::new(Elem::I8, 16) && second == ty;
            want(right, "a table i8x16, indices and result i8 alike")
        }
        Op::MulPairsU8S8(..) => want(
            pairs(ty, first, second, Elem::I8, Elem::I16, 2),
            "i8 operands alike, half as many i16",
        ),
        Op::MulPairsS16(..) => want(
            pairs(ty, first, second, Elem::I16, Elem::I32, 2),
            "i16 operands alike, half as many i32",
        ),
        Op::Dot4U8S8 { .. } | Op::Dot4S8S8 { .. } => {
            let third = operands.get(2).copied().unwrap_or(second);
            let right = first == ty && pairs(ty, second, third, Elem::I8, Elem::I32, 4);
            want(
                right,
                "an accumulator of the result's type, then four times as many i8",
            )
        }
        Op::Fold(_) => {
            let elem = matches!(ty.elem, Elem::I16 | Elem::I32 | Elem::F32);
            want(
                elem && first.elem == ty.elem && ty.lanes <= first.lanes,
                "i16, i32 or f32, to fewer lanes",
            )
        }
        Op::FoldMax(_) => want(
            ty.elem == Elem::F32 && first.elem == ty.elem && ty.lanes <= first.lanes,
            "f32, to fewer lanes",
        ),
    }
}

/// Whether `a` and `b` are alike and give `group` lanes to each lane of the result.
fn pairs(ty: Type, a: Type, b: Type, from: Elem, to: Elem, group: u16) -> bool {
    a == b && a.elem == from && ty.elem == to && a.lanes == ty.lanes.saturating_mul(group)
}

fn list(types: &[Type]) -> String {
    let names: Vec<String> = types.iter().map(Type::to_string).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
