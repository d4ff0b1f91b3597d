//! Blocks of one column whose codes depend on one element each: neighbouring columns in the lanes, the words of their blocks
//! put together row by row.

use super::Known;
use super::rows::{Rows, clean};
use crate::format::{Assigned, BlockFormat, Encode, EncodeExpr, FieldId, Scope};
use crate::lower::{I32, Lower};
use crate::schedule::ScheduleError;
use crate::vector::ir::{Bin, Convert, Elem, Op, Shift, Type, Value};

/// Columns side by side.
pub(super) const LANES: u64 = 16;
const FLOATS: Type = Type::new(Elem::F32, LANES as u16);
const INTS: Type = Type::new(Elem::I32, LANES as u16);
/// Most words of a block.
const MOST_WORDS: u32 = 16;

/// The clause of a format whose columns can be encoded side by side.
pub(super) fn possible(format: &BlockFormat) -> Option<&Encode> {
    let clause = format.encode.as_ref()?;
    let words = matches!(format.bytes, 1 | 2) || format.bytes.is_multiple_of(4);
    if format.len != 1 || !words || format.bytes > 4 * MOST_WORDS {
        return None;
    }
    let single = |id: FieldId| format.fields[id].element.width() == 1;
    let steps = clause.steps.iter().all(|step| match step.target {
        Assigned::Field(id) if format.fields[id].scope != Scope::Block => true,
        Assigned::Field(id) => single(id) && of_element(format, &step.expr),
        Assigned::Local(_) => of_element(format, &step.expr),
    });
    steps.then_some(clause)
}

/// Whether an expression reads the element, and what the tensor has once, and nothing else.
fn of_element(format: &BlockFormat, expr: &EncodeExpr) -> bool {
    match expr {
        EncodeExpr::Const(_) | EncodeExpr::Input | EncodeExpr::Local(_) => true,
        EncodeExpr::Unary(_, a) => of_element(format, a),
        EncodeExpr::Binary(_, a, b) => of_element(format, a) && of_element(format, b),
        EncodeExpr::Field(id) => matches!(format.fields[*id].scope, Scope::Tensor(_)),
        EncodeExpr::Reduce(..) | EncodeExpr::ArgAbsMax(_) => false,
    }
}

/// Encodes the blocks of all columns in the lanes.
pub(super) fn blocks(
    lower: &mut Lower<'_>,
    format: &BlockFormat,
    clause: &Encode,
    rows: Rows,
    bytes: Value,
    known: &Known,
) -> Result<(), ScheduleError> {
    let nothing = lower.put_at(0, INTS, Op::IConst(0));
    let mut words = vec![nothing; format.bytes.div_ceil(4) as usize];
    for r in 0..format.rows {
        let base = rows.row(lower, r);
        let load = Op::Load { base, offset: 0 };
        let input = lower.put_at(lower.here(), FLOATS, load);
        for step in &clause.steps {
            let Assigned::Field(id) = step.target else {
                // Evaluated where it is used.
                continue;
            };
            if known.contains_key(&id) {
                continue;
            }
            let value = value(lower, clause, &step.expr, input, known)?;
            let field = &format.fields[id];
            let codes = lower.encode_code(value, FLOATS, &field.element)?;
            let codes = clean(lower, &field.element, codes, INTS);
            for (up, part) in field.placed_parts() {
                let mut bits = shifted(lower, Shift::UShr, codes, up);
                if up + u32::from(part.bits) < field.element.bits() {
                    let mask = lower.put_at(0, INTS, Op::IConst((1i64 << part.bits) - 1));
                    bits = lower.bin(Bin::And, bits, mask);
                }
                let address = part.address[(r * field.count) as usize];
                let (word, shift) = ((address / 32) as usize, address % 32);
                let low = shifted(lower, Shift::Shl, bits, shift);
                words[word] = lower.bin(Bin::Or, words[word], low);
                if shift + u32::from(part.bits) > 32 {
                    let high = shifted(lower, Shift::UShr, bits, 32 - shift);
                    words[word + 1] = lower.bin(Bin::Or, words[word + 1], high);
                }
            }
        }
    }
    store(lower, format, &words, bytes);
    Ok(())
}

fn shifted(lower: &mut Lower<'_>, shift: Shift, value: Value, by: u32) -> Value {
    match by {
        0 => value,
        by => lower.put(INTS, Op::Shift(shift, value, by as u8), &[value]),
    }
}

/// An expression for the elements in the lanes.
fn value(
    lower: &mut Lower<'_>,
    clause: &Encode,
    expr: &EncodeExpr,
    input: Value,
    known: &Known,
) -> Result<Value, ScheduleError> {
    Ok(match expr {
        EncodeExpr::Const(c) => lower.float(*c, FLOATS),
        EncodeExpr::Input => input,
        EncodeExpr::Local(id) => {
            let mut steps = clause.steps.iter();
            let step = steps.find(|s| s.target == Assigned::Local(*id));
            let step = step.ok_or(ScheduleError::Internal("a number without a value"))?;
            value(lower, clause, &step.expr, input, known)?
        }
        EncodeExpr::Unary(op, a) => {
            let a = value(lower, clause, a, input, known)?;
            lower.declared_unary(*op, a, FLOATS)
        }
        EncodeExpr::Binary(op, a, b) => {
            let a = value(lower, clause, a, input, known)?;
            let b = value(lower, clause, b, input, known)?;
            lower.declared_binary(*op, a, b, FLOATS)
        }
        EncodeExpr::Field(id) => {
            let scalar = known
                .get(id)
                .ok_or(ScheduleError::Internal("a field before its value"))?;
            lower.put(FLOATS, Op::Splat(*scalar), &[*scalar])
        }
        EncodeExpr::Reduce(..) | EncodeExpr::ArgAbsMax(_) => {
            return Err(ScheduleError::Internal("several elements in a column"));
        }
    })
}

/// Stores the blocks: as one vector if a block is a number, else word by word.
fn store(lower: &mut Lower<'_>, format: &BlockFormat, words: &[Value], bytes: Value) {
    let here = lower.here();
    let narrow = match format.bytes {
        1 => Some(Elem::I8),
        2 => Some(Elem::I16),
        4 => {
            lower.b.store_at(here, words[0], bytes, 0);
            return;
        }
        _ => None,
    };
    if let Some(elem) = narrow {
        let ty = Type::new(elem, LANES as u16);
        let all = lower.put(ty, Op::Convert(Convert::Narrow, words[0]), &[words[0]]);
        lower.b.store_at(here, all, bytes, 0);
        return;
    }
    for (n, word) in words.iter().enumerate() {
        for lane in 0..LANES as u16 {
            let one = lower.put(I32, Op::Extract(*word, lane), &[*word]);
            let at = u32::from(lane) * format.bytes + 4 * n as u32;
            lower.b.store_at(here, one, bytes, at as i32);
        }
    }
}
