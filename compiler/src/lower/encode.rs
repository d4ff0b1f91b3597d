//! Quantisation: a plain f32 tensor into a block format by the format's `encode` clause, in the declared arithmetic, with
//! stores that invert the bit-address map of the block.

mod columns;
mod rows;
mod shared;
mod vectors;
mod whole;
mod woven;

use super::frames::Frames;
use super::{I32, I64, Lower};
use crate::format::{
    Assigned, BlockFormat, Element, Encode, EncodeExpr, Field, FieldId, FormatKind, LocalId,
    ReduceOp,
};
use crate::schedule::ScheduleError;
use crate::schedule::index::{div, div_ceil, mul, rem};
use crate::spec::kernel::TensorId;
use crate::vector::ir::{Bin, Cmp, Convert, Elem, Op, Scalar, Shift, Type, Un, Value};
use rows::Rows;
use shared::Known;
use std::borrow::Cow;
use std::collections::BTreeMap;

const F32: Type = Type::new(Elem::F32, 1);

/// Quantises `source` (plain f32) into `target` (its format's blocks along the last axis).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeJob {
    /// What is quantised.
    pub source: TensorId,
    /// Where the blocks go.
    pub target: TensorId,
}

/// The values of a row that a block encodes.
#[derive(Clone, Copy)]
struct Count {
    /// How many there are; past them they count as 0.
    values: Value,
    /// Whether elements past them have codes of 0 bits, and not what 0 is encoded to.
    clear: bool,
}

/// A block while it is encoded.
struct Block<'f> {
    format: &'f BlockFormat,
    /// Pointer to the first of its values.
    values: Value,
    /// How many values there are; past them they count as 0.
    count: Value,
    /// Pointer to its bytes.
    bytes: Value,
    /// Which of the rows that share the block is encoded, if there are several.
    row: Option<Value>,
    /// Fields stored once a block, decoded.
    single: BTreeMap<FieldId, Value>,
    encode: &'f Encode,
    /// Numbers of the clause that the block has once.
    locals: BTreeMap<LocalId, Value>,
    /// The elements of the field that is encoded.
    members: Members,
}

/// What an expression is evaluated for.
#[derive(Clone, Copy)]
enum Scope {
    /// One element, by its position.
    Element(Value),
    /// An occurrence: its elements are those between two positions in the field's order of elements.
    Members(Value, Value),
}

/// Lowers a quantisation.
pub(super) fn encode(lower: &mut Lower<'_>, job: &EncodeJob) -> Result<(), ScheduleError> {
    let tensor = lower.kernel.tensors[job.target].clone();
    let FormatKind::Block(format) = &tensor.format.kind else {
        return Err(ScheduleError::Internal("quantisation into a plain tensor"));
    };
    if format.rows > 1 && format.frame.row != [0, 0] {
        return Err(ScheduleError::Unsupported(
            "quantising at the call into blocks that rows share, with fields of rows".into(),
        ));
    }
    let mut shape = lower.shape(job.target);
    let columns = Columns {
        values: shape.pop().unwrap_or(Scalar::Const(1)),
        stored: lower.stored_columns(job.target),
        clear: tensor.filled > 1,
    };
    let (source, target) = (lower.pointers[&job.source], lower.pointers[&job.target]);
    let columns_alone = format.frame.row == [0, 0] && columns::possible(format).is_some();
    if format.rows > 1 || columns_alone {
        return woven::encode(lower, format, shape, &columns, (source, target));
    }
    let rows = shape.into_iter().fold(Scalar::Const(1), mul);
    let len = u64::from(format.len);
    let blocks = columns.row_bytes(format);
    let frames = Frames {
        format: Cow::Borrowed(format),
        blocks,
    };
    let all = lower.scalar(&mul(rows.clone(), columns.values.clone()));
    let known = frames.tensor(lower, target, (source, all), &rows)?;
    let zero = lower.scalar(&Scalar::Const(0));
    let rows = lower.scalar(&rows);
    let (row, _) = lower.open("row", zero, rows, 1, &[]);
    let source = lower.offset(source, row, &mul(Scalar::Const(4), columns.values.clone()));
    let all = lower.scalar(&columns.values);
    let (target, known) = frames.of_row(lower, (target, row), (source, all), known)?;
    let whole = lower.scalar(&div(columns.values.clone(), len));
    let (block, _) = lower.open("block", zero, whole, 1, &[]);
    let values = lower.offset(source, block, &Scalar::Const(4 * len));
    let bytes = lower.offset(target, block, &Scalar::Const(u64::from(format.bytes)));
    let count = lower.scalar(&Scalar::Const(len));
    let here = Rows::one(values);
    match whole::possible(format) {
        Some(clause) => whole::block(lower, format, clause, here, bytes, &known)?,
        None => {
            one_block(lower, format, here, columns.count(count), bytes, &known)?;
        }
    }
    lower.close(&[]);
    let rest = rem(columns.values.clone(), len);
    if rest != Scalar::Const(0) {
        let count = lower.scalar(&rest);
        let one = lower.scalar(&Scalar::Const(1));
        let some = lower.put(I64, Op::Bin(Bin::SMin, count, one), &[count, one]);
        lower.open("ragged", zero, some, 1, &[]);
        let values = lower.offset(source, whole, &Scalar::Const(4 * len));
        let bytes = lower.offset(target, whole, &Scalar::Const(u64::from(format.bytes)));
        let here = Rows::one(values);
        one_block(lower, format, here, columns.count(count), bytes, &known)?;
        lower.close(&[]);
    }
    columns.fill_up(lower, format, target);
    lower.close(&[]);
    Ok(())
}

/// The columns of what is encoded.
struct Columns {
    /// How many there are.
    values: Scalar,
    /// How many rows have in memory.
    stored: Scalar,
    /// Whether codes past the end are 0 bits.
    clear: bool,
}

impl Columns {
    /// So many of them, in a block.
    fn count(&self, values: Value) -> Count {
        Count {
            values,
            clear: self.clear,
        }
    }

    /// Bytes of the blocks of a row.
    fn row_bytes(&self, format: &BlockFormat) -> Scalar {
        let blocks = div_ceil(self.stored.clone(), u64::from(format.len));
        mul(Scalar::Const(u64::from(format.bytes)), blocks)
    }

    /// Clears the blocks of a row that lie past its end.
    fn fill_up(&self, lower: &mut Lower<'_>, format: &BlockFormat, row: Value) {
        let blocks = |columns: &Scalar| div_ceil(columns.clone(), u64::from(format.len));
        let (first, end) = (blocks(&self.values), blocks(&self.stored));
        if first == end {
            return;
        }
        let (first, end) = (lower.scalar(&first), lower.scalar(&end));
        let (block, _) = lower.open("past", first, end, 1, &[]);
        let bytes = lower.offset(row, block, &Scalar::Const(u64::from(format.bytes)));
        lower.clear(bytes, format.bytes);
        lower.close(&[]);
    }
}

fn one_block(
    lower: &mut Lower<'_>,
    format: &BlockFormat,
    rows: Rows,
    count: Count,
    bytes: Value,
    known: &Known,
) -> Result<(), ScheduleError> {
    lower.clear(bytes, format.bytes);
    if format.rows == 1 {
        return row_of_block(lower, format, (rows.values, count), bytes, None, known);
    }
    let zero = lower.scalar(&Scalar::Const(0));
    let end = lower.scalar(&Scalar::Const(u64::from(format.rows)));
    let (row, _) = lower.open("row", zero, end, 1, &[]);
    // Rows that the matrix does not have: the address stays on its last one, of which no values count.
    let one = lower.put_at(0, I64, Op::IConst(1));
    let last = lower.bin(Bin::ISub, rows.height, one);
    let at = lower.bin(Bin::SMin, row, last);
    let far = lower.bin(Bin::IMul, at, rows.stride);
    let values = lower.bin(Bin::IAdd, rows.values, far);
    let left = lower.bin(Bin::ISub, rows.height, row);
    let left = lower.bin(Bin::SMax, left, zero);
    let all = lower.bin(Bin::IMul, left, count.values);
    let count = Count {
        values: lower.bin(Bin::SMin, all, count.values),
        ..count
    };
    row_of_block(lower, format, (values, count), bytes, Some(row), known)?;
    lower.close(&[]);
    Ok(())
}

/// Encodes the elements of a row of a block whose bytes are cleared.
fn row_of_block(
    lower: &mut Lower<'_>,
    format: &BlockFormat,
    (values, count): (Value, Count),
    bytes: Value,
    row: Option<Value>,
    known: &Known,
) -> Result<(), ScheduleError> {
    let encode = format
        .encode
        .as_ref()
        .ok_or(ScheduleError::Internal("a format without an encode clause"))?;
    let zero = lower.scalar(&Scalar::Const(0));
    let mut block = Block {
        format,
        values,
        count: count.values,
        bytes,
        row,
        encode,
        single: known.clone(),
        locals: BTreeMap::new(),
        members: Members {
            order: None,
            start: Vec::new(),
        },
    };
    for step in &encode.steps {
        let id = match step.target {
            Assigned::Field(id) => id,
            Assigned::Local(id) => {
                once(lower, &mut block, id, &step.expr)?;
                continue;
            }
        };
        let field = &format.fields[id];
        if known.contains_key(&id) {
            continue;
        }
        if let Element::Codebook(book) = &field.element
            && book.width > 1
        {
            vectors::encode(lower, &block, field, book, &step.expr)?;
            continue;
        }
        block.members = Members::of(field);
        if field.count == 1 {
            let first = lower.scalar(&Scalar::Const(0));
            let all = lower.scalar(&Scalar::Const(u64::from(format.len)));
            let code = encoded(lower, &block, &step.expr, Scope::Members(first, all), field)?;
            store_code(lower, &block, field, first, code);
            let decoded = lower.decode_code(&field.element, code)?;
            block.single.insert(id, decoded);
            continue;
        }
        let occurrences = match count.clear && field.per_element() {
            true => count.values,
            false => lower.scalar(&Scalar::Const(u64::from(field.count))),
        };
        let (at, _) = lower.open(&field.name, zero, occurrences, 1, &[]);
        let scope = block.members.scope(lower, at);
        let code = encoded(lower, &block, &step.expr, scope, field)?;
        store_code(lower, &block, field, at, code);
        lower.close(&[]);
    }
    Ok(())
}

/// Evaluates a number that the block has once; others are evaluated where they are used.
fn once(
    lower: &mut Lower<'_>,
    block: &mut Block<'_>,
    id: LocalId,
    expr: &EncodeExpr,
) -> Result<(), ScheduleError> {
    let local = &block.encode.locals[id];
    if local.count > 1 {
        return Ok(());
    }
    block.members = Members::of(local);
    let first = lower.scalar(&Scalar::Const(0));
    let all = lower.scalar(&Scalar::Const(u64::from(block.format.len)));
    let value = evaluate(lower, block, expr, Scope::Members(first, all))?;
    block.locals.insert(id, value);
    Ok(())
}

/// A number of the clause, for an element.
fn local(
    lower: &mut Lower<'_>,
    block: &Block<'_>,
    id: LocalId,
    scope: Scope,
) -> Result<Value, ScheduleError> {
    if let Some(value) = block.locals.get(&id) {
        return Ok(*value);
    }
    let steps = &block.encode.steps;
    let assigned = steps.iter().find(|s| s.target == Assigned::Local(id));
    let expr = assigned.ok_or(ScheduleError::Internal("a number without a value"))?;
    let field = &block.encode.locals[id];
    let at = first_element(lower, block, scope);
    let occurrence = occurrence(lower, field, at);
    let members = Members::of(field);
    let scope = members.scope(lower, occurrence);
    let inner = Block {
        members,
        single: block.single.clone(),
        locals: block.locals.clone(),
        ..*block
    };
    evaluate(lower, &inner, &expr.expr, scope)
}

/// Which elements belong to the occurrences of a field.
struct Members {
    /// The elements in the order of their occurrences; `None` if they are in order as they are.
    order: Option<Vec<u32>>,
    /// Where the elements of each occurrence start in that order.
    start: Vec<u32>,
}

impl Members {
    fn of(field: &Field) -> Members {
        let (order, start) = field.members();
        let sorted = order.is_sorted();
        Members {
            order: (!sorted).then_some(order),
            start,
        }
    }

    /// What an expression of an occurrence is evaluated for.
    fn scope(&self, lower: &mut Lower<'_>, occurrence: Value) -> Scope {
        let run = self.start.get(1).copied().unwrap_or(0);
        let regular = (0..).zip(&self.start).all(|(o, s)| o * run == *s);
        let first = match regular {
            true => {
                let stride = lower.scalar(&Scalar::Const(u64::from(run)));
                let operands = [occurrence, stride];
                lower.put(I64, Op::Bin(Bin::IMul, occurrence, stride), &operands)
            }
            false => lower.table_entry("starts", self.start.clone(), occurrence),
        };
        if regular && run == 1 {
            return Scope::Element(self.element(lower, first));
        }
        let end = match regular {
            true => {
                let run = lower.scalar(&Scalar::Const(u64::from(run)));
                lower.put(I64, Op::Bin(Bin::IAdd, first, run), &[first, run])
            }
            false => lower.table_entry("ends", self.start[1..].to_vec(), occurrence),
        };
        Scope::Members(first, end)
    }

    /// The element at a position of the order.
    fn element(&self, lower: &mut Lower<'_>, position: Value) -> Value {
        match &self.order {
            Some(order) => lower.table_entry("order", order.clone(), position),
            None => position,
        }
    }
}

fn encoded(
    lower: &mut Lower<'_>,
    block: &Block<'_>,
    expr: &EncodeExpr,
    scope: Scope,
    field: &Field,
) -> Result<Value, ScheduleError> {
    let value = evaluate(lower, block, expr, scope)?;
    lower.encode_code(value, F32, &field.element)
}

/// Evaluates an expression of an `encode` clause.
fn evaluate(
    lower: &mut Lower<'_>,
    block: &Block<'_>,
    expr: &EncodeExpr,
    scope: Scope,
) -> Result<Value, ScheduleError> {
    Ok(match expr {
        EncodeExpr::Const(c) => lower.float(*c, F32),
        EncodeExpr::Input => {
            let at = first_element(lower, block, scope);
            element(lower, block, at)
        }
        EncodeExpr::Field(id) => match block.single.get(id) {
            Some(value) => *value,
            None => {
                let at = first_element(lower, block, scope);
                read_back(lower, block, *id, at)?
            }
        },
        EncodeExpr::Local(id) => local(lower, block, *id, scope)?,
        EncodeExpr::Unary(op, a) => {
            let a = evaluate(lower, block, a, scope)?;
            lower.declared_unary(*op, a, F32)
        }
        EncodeExpr::Binary(op, a, b) => {
            let (a, b) = (
                evaluate(lower, block, a, scope)?,
                evaluate(lower, block, b, scope)?,
            );
            lower.declared_binary(*op, a, b, F32)
        }
        EncodeExpr::Reduce(op, a) => reduce(lower, block, *op, a, scope)?,
        EncodeExpr::ArgAbsMax(key) => largest(lower, block, key, scope)?,
    })
}

fn first_element(lower: &mut Lower<'_>, block: &Block<'_>, scope: Scope) -> Value {
    match scope {
        Scope::Element(at) => at,
        Scope::Members(first, _) => block.members.element(lower, first),
    }
}

/// The value of an element; 0 past the end of the row.
fn element(lower: &mut Lower<'_>, block: &Block<'_>, at: Value) -> Value {
    let one = lower.put_at(0, I64, Op::IConst(1));
    let mut last = lower.bin(Bin::ISub, block.count, one);
    if block.row.is_some() {
        // A row that is not there has no last one.
        let zero = lower.scalar(&Scalar::Const(0));
        last = lower.bin(Bin::SMax, last, zero);
    }
    let inside = lower.put(I64, Op::Bin(Bin::SMin, at, last), &[at, last]);
    let scaled = lower.put(I64, Op::Shift(Shift::Shl, inside, 2), &[inside]);
    let pointer = lower.put(
        I64,
        Op::Bin(Bin::IAdd, block.values, scaled),
        &[block.values, scaled],
    );
    let value = lower.put(
        F32,
        Op::Load {
            base: pointer,
            offset: 0,
        },
        &[pointer],
    );
    let (short, end) = (narrow(lower, at), narrow(lower, block.count));
    let exists = lower.put(I32, Op::Cmp(Cmp::SLt, short, end), &[short, end]);
    let zero = lower.float(0.0, F32);
    lower.put(F32, Op::Select(exists, value, zero), &[exists, value, zero])
}

fn narrow(lower: &mut Lower<'_>, value: Value) -> Value {
    lower.put(I32, Op::Convert(Convert::Narrow, value), &[value])
}

/// A field stored before, as it reads back for an element.
fn read_back(
    lower: &mut Lower<'_>,
    block: &Block<'_>,
    id: FieldId,
    at: Value,
) -> Result<Value, ScheduleError> {
    let field = &block.format.fields[id];
    let occurrence = occurrence(lower, field, at);
    let code = load_code(lower, block, field, occurrence)?;
    match &field.element {
        Element::Codebook(book) if book.width > 1 => {
            Ok(vectors::decode(lower, field, book, code, at))
        }
        element => lower.decode_code(element, code),
    }
}

/// The occurrence that an element uses.
fn occurrence(lower: &mut Lower<'_>, field: &Field, at: Value) -> Value {
    match field.run() {
        Some(1) => at,
        _ => lower.table_entry("occurrence", field.occurrence.clone(), at),
    }
}

/// A reduction over the elements of the occurrence, in their order.
fn reduce(
    lower: &mut Lower<'_>,
    block: &Block<'_>,
    op: ReduceOp,
    body: &EncodeExpr,
    scope: Scope,
) -> Result<Value, ScheduleError> {
    let (mut from, to) = bounds(lower, scope);
    let start = match op {
        ReduceOp::Sum => 0.0,
        ReduceOp::Min | ReduceOp::Max => f32::NAN,
    };
    let mut init = lower.float(start, F32);
    if block.members.start.is_empty() && op != ReduceOp::Sum {
        (from, init) = shared::extremes(lower, block, op, body, to)?;
    }
    let (at, inside) = lower.open("element", from, to, 1, &[init]);
    let at = block.members.element(lower, at);
    let value = evaluate(lower, block, body, Scope::Element(at))?;
    let next = match op {
        ReduceOp::Sum => lower.bin(Bin::FAdd, inside[0], value),
        ReduceOp::Min => lower.bin(Bin::FMin, inside[0], value),
        ReduceOp::Max => lower.bin(Bin::FMax, inside[0], value),
    };
    let result = lower.close(&[next])[0];
    Ok(match op {
        ReduceOp::Sum => result,
        ReduceOp::Min | ReduceOp::Max => extreme(lower, result),
    })
}

/// A minimum or maximum: 0 of nothing but NaNs, and a zero is positive.
fn extreme(lower: &mut Lower<'_>, found: Value) -> Value {
    let zero = lower.float(0.0, F32);
    let number = lower.put(I32, Op::Cmp(Cmp::FEq, found, found), &[found]);
    let kept = lower.put(F32, Op::Select(number, found, zero), &[number, found, zero]);
    lower.bin(Bin::FAdd, kept, zero)
}

/// The value of largest magnitude, with its sign; the first of equals.
fn largest(
    lower: &mut Lower<'_>,
    block: &Block<'_>,
    key: &EncodeExpr,
    scope: Scope,
) -> Result<Value, ScheduleError> {
    let (from, to) = bounds(lower, scope);
    let zero = lower.float(0.0, F32);
    let (at, inside) = lower.open("element", from, to, 1, &[zero]);
    let at = block.members.element(lower, at);
    let value = evaluate(lower, block, key, Scope::Element(at))?;
    let magnitude = lower.put(F32, Op::Un(Un::FAbs, value), &[value]);
    let best = lower.put(F32, Op::Un(Un::FAbs, inside[0]), &[inside[0]]);
    let more = lower.put(I32, Op::Cmp(Cmp::FLt, best, magnitude), &[best, magnitude]);
    let next = lower.put(
        F32,
        Op::Select(more, value, inside[0]),
        &[more, value, inside[0]],
    );
    Ok(lower.close(&[next])[0])
}

fn bounds(lower: &mut Lower<'_>, scope: Scope) -> (Value, Value) {
    match scope {
        Scope::Members(first, end) => (first, end),
        Scope::Element(at) => {
            let one = lower.put_at(0, I64, Op::IConst(1));
            (at, lower.put(I64, Op::Bin(Bin::IAdd, at, one), &[at, one]))
        }
    }
}

/// An occurrence among those of all rows.
fn slot(lower: &mut Lower<'_>, block: &Block<'_>, field: &Field, occurrence: Value) -> Value {
    let Some(row) = block.row else {
        return occurrence;
    };
    let count = lower.scalar(&Scalar::Const(u64::from(field.count)));
    let first = lower.bin(Bin::IMul, row, count);
    lower.bin(Bin::IAdd, first, occurrence)
}

fn load_code(
    lower: &mut Lower<'_>,
    block: &Block<'_>,
    field: &Field,
    occurrence: Value,
) -> Result<Value, ScheduleError> {
    let slot = slot(lower, block, field, occurrence);
    lower.load_slot(block.bytes, field, slot)
}

fn store_code(
    lower: &mut Lower<'_>,
    block: &Block<'_>,
    field: &Field,
    occurrence: Value,
    code: Value,
) {
    let slot = slot(lower, block, field, occurrence);
    lower.store_slot(block.bytes, field, slot, code);
}
