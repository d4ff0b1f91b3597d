//! Codes that give values to several elements: the nearest one, component by component where the table is a product of
//! values, else by comparing all of them.

use super::{Block, F32, Scope, evaluate, store_code};
use crate::format::{Codebook, Element, EncodeExpr, Field, Product};
use crate::lower::{I32, I64, Lower};
use crate::schedule::ScheduleError;
use crate::vector::ir::{Bin, Cmp, Convert, Op, Scalar, Shift, Value};

/// Neighbouring occurrences that use the same components.
struct Range {
    from: u32,
    to: u32,
    components: Vec<u32>,
}

/// Encodes all occurrences of a field.
pub(super) fn encode(
    lower: &mut Lower<'_>,
    block: &Block<'_>,
    field: &Field,
    book: &Codebook,
    expr: &EncodeExpr,
) -> Result<(), ScheduleError> {
    let (order, start) = field.members();
    for range in ranges(field, &order, &start) {
        let from = lower.scalar(&Scalar::Const(u64::from(range.from)));
        let to = lower.scalar(&Scalar::Const(u64::from(range.to)));
        let (at, _) = lower.open(&field.name, from, to, 1, &[]);
        let mut values = Vec::new();
        for n in 0..range.components.len() as u32 {
            // The elements of the occurrences before the range are never looked up.
            let element = |o: u32| {
                start
                    .get(o as usize)
                    .and_then(|s| order.get((s + n) as usize))
            };
            let elements = (0..range.to).map(|o| element(o).copied().unwrap_or(0));
            let element = lower.table_entry("members", elements.collect(), at);
            values.push(evaluate(lower, block, expr, Scope::Element(element))?);
        }
        let code = match book.product(&range.components) {
            Some(product) => by_component(lower, &product, &values)?,
            None => by_distance(lower, book, &range.components, &values),
        };
        store_code(lower, block, field, at, code);
        lower.close(&[]);
    }
    Ok(())
}

/// One value of a code, for an element.
pub(super) fn decode(
    lower: &mut Lower<'_>,
    field: &Field,
    book: &Codebook,
    code: Value,
    element: Value,
) -> Value {
    let component = lower.table_entry("component", field.component.clone(), element);
    let wide = lower.put(I64, Op::Convert(Convert::WidenU, code), &[code]);
    let width = lower.put_at(0, I64, Op::IConst(i64::from(book.width)));
    let first = lower.put(I64, Op::Bin(Bin::IMul, wide, width), &[wide, width]);
    let at = lower.put(
        I64,
        Op::Bin(Bin::IAdd, first, component),
        &[first, component],
    );
    entry(lower, &book.entries, at)
}

fn ranges(field: &Field, order: &[u32], start: &[u32]) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for (o, bounds) in (0..).zip(start.windows(2)) {
        let components = field.components(&order[bounds[0] as usize..bounds[1] as usize]);
        match ranges.last_mut() {
            Some(last) if last.components == components => last.to = o + 1,
            _ => ranges.push(Range {
                from: o,
                to: o + 1,
                components,
            }),
        }
    }
    ranges
}

/// A value of the table, by its place.
fn entry(lower: &mut Lower<'_>, entries: &[f32], at: Value) -> Value {
    let bytes = entries.iter().flat_map(|v| v.to_le_bytes());
    let table = lower.table("values", bytes.collect());
    let scaled = lower.put(I64, Op::Shift(Shift::Shl, at, 2), &[at]);
    let base = lower.put(I64, Op::Bin(Bin::IAdd, table, scaled), &[table, scaled]);
    lower.put(F32, Op::Load { base, offset: 0 }, &[base])
}

/// The ranks of the nearest values of the components are the digits of the code's place.
fn by_component(
    lower: &mut Lower<'_>,
    product: &Product,
    values: &[Value],
) -> Result<Value, ScheduleError> {
    let mut place = lower.put_at(0, I32, Op::IConst(0));
    for ((_, book), value) in product.values.iter().zip(values).rev() {
        let radix = lower.put_at(0, I32, Op::IConst(book.entries.len() as i64));
        let rank = lower.encode_nearest(*value, F32, &Element::Codebook(book.clone()))?;
        let higher = lower.put(I32, Op::Bin(Bin::IMul, place, radix), &[place, radix]);
        place = lower.put(I32, Op::Bin(Bin::IAdd, higher, rank), &[higher, rank]);
    }
    let place = lower.put(I64, Op::Convert(Convert::WidenU, place), &[place]);
    let code = lower.table_entry("codes", product.codes.clone(), place);
    Ok(lower.put(I32, Op::Convert(Convert::Narrow, code), &[code]))
}

/// The code of the smallest sum of squares; the first of equals. That of an illegal code is a NaN, which is not smaller.
fn by_distance(
    lower: &mut Lower<'_>,
    book: &Codebook,
    components: &[u32],
    values: &[Value],
) -> Value {
    let entries = book.legal_entries();
    let zero = lower.scalar(&Scalar::Const(0));
    let codes = lower.scalar(&Scalar::Const(book.codes() as u64));
    let far = lower.float(f32::INFINITY, F32);
    let first_legal = book.legal().next().unwrap_or(0);
    let none = lower.put_at(0, I32, Op::IConst(i64::from(first_legal)));
    let (code, best) = lower.open("code", zero, codes, 1, &[far, none]);
    let width = lower.put_at(0, I64, Op::IConst(i64::from(book.width)));
    let first = lower.put(I64, Op::Bin(Bin::IMul, code, width), &[code, width]);
    let mut sum = lower.float(0.0, F32);
    for (component, value) in components.iter().zip(values) {
        let component = lower.put_at(0, I64, Op::IConst(i64::from(*component)));
        let at = lower.put(
            I64,
            Op::Bin(Bin::IAdd, first, component),
            &[first, component],
        );
        let entry = entry(lower, &entries, at);
        let d = lower.bin(Bin::FSub, entry, *value);
        let square = lower.bin(Bin::FMul, d, d);
        sum = lower.bin(Bin::FAdd, sum, square);
    }
    let nearer = lower.put(I32, Op::Cmp(Cmp::FLt, sum, best[0]), &[sum, best[0]]);
    let code = lower.put(I32, Op::Convert(Convert::Narrow, code), &[code]);
    let kept = [nearer, sum, best[0]];
    let least = lower.put(F32, Op::Select(nearer, sum, best[0]), &kept);
    let kept = [nearer, code, best[1]];
    let chosen = lower.put(I32, Op::Select(nearer, code, best[1]), &kept);
    lower.close(&[least, chosen])[1]
}
