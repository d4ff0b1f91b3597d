//! Shifts of bytes for x86, which shifts words: the bytes are shifted as words, and a mask drops what came in from their
//! neighbours. Cranelift would do the same with a mask from memory at each shift; as a constant of the IR, a loop keeps it in a
//! register, and codes with the same mask share it.

use crate::vector::ir::{Bin, Elem, Function, Op, Shift, Step, Type, Value};
use cranelift_entity::PrimaryMap;
use std::collections::BTreeMap;

/// The function without shifts of vectors of bytes.
pub(super) fn shifted_as_words(function: &Function) -> Function {
    let mut words = Words {
        types: function.types.clone(),
        masks: BTreeMap::new(),
        new: Vec::new(),
    };
    let mut body = Vec::new();
    for step in &function.body {
        // All that follows sees the constants of the outermost region.
        if let Step::Let(value, Op::IConst(n)) = step {
            words.masks.insert((function.types[*value], *n), *value);
        }
        body.extend(words.step(step));
    }
    words.new.extend(body);
    Function {
        name: function.name.clone(),
        params: function.params.clone(),
        tables: function.tables.clone(),
        types: words.types,
        body: words.new,
    }
}

struct Words {
    /// Types of all values, those that are added included.
    types: PrimaryMap<Value, Type>,
    /// Constants in the outermost region, by type and value.
    masks: BTreeMap<(Type, i64), Value>,
    /// Those that the function did not have; they come first.
    new: Vec<Step>,
}

impl Words {
    fn step(&mut self, step: &Step) -> Vec<Step> {
        match step {
            Step::Let(value, Op::Shift(shift, bytes, by)) => {
                let ty = self.types[*value];
                match kept(ty, *shift, *by) {
                    Some(mask) => self.shift(*value, (*shift, *bytes, *by), mask),
                    None => vec![step.clone()],
                }
            }
            Step::Loop(l) => {
                let mut l = l.clone();
                l.body = l.body.iter().flat_map(|s| self.step(s)).collect();
                vec![Step::Loop(l)]
            }
            Step::Let(..) | Step::Store { .. } => vec![step.clone()],
        }
    }

    /// Bytes as words, the words shifted, words as bytes, and of these what the bytes had.
    fn shift(
        &mut self,
        value: Value,
        (shift, bytes, by): (Shift, Value, u8),
        mask: i64,
    ) -> Vec<Step> {
        let ty = self.types[value];
        let wide = Type::new(Elem::I16, ty.lanes / 2);
        let mask = self.mask(ty, mask);
        let [words, moved, back] = [wide, wide, ty].map(|t| self.types.push(t));
        vec![
            Step::Let(words, Op::Bitcast(bytes)),
            Step::Let(moved, Op::Shift(shift, words, by)),
            Step::Let(back, Op::Bitcast(moved)),
            Step::Let(value, Op::Bin(Bin::And, back, mask)),
        ]
    }

    fn mask(&mut self, ty: Type, mask: i64) -> Value {
        if let Some(known) = self.masks.get(&(ty, mask)) {
            return *known;
        }
        let value = self.types.push(ty);
        self.masks.insert((ty, mask), value);
        self.new.push(Step::Let(value, Op::IConst(mask)));
        value
    }
}

/// The bits that a shift of a vector of bytes leaves; `None` for other shifts.
fn kept(ty: Type, shift: Shift, by: u8) -> Option<i64> {
    if ty.elem != Elem::I8 || ty.lanes < 2 {
        return None;
    }
    match shift {
        Shift::UShr => Some(0xff >> by),
        Shift::Shl => Some(0xff << by & 0xff),
        Shift::SShr => None,
    }
}
