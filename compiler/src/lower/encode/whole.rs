//! Whole blocks as straight code: expressions of several elements at a time, every code in a register, and the bytes of the
//! block put together in words before they are stored; codes that are bytes in order are stored as vectors. The last block
//! of a ragged row goes the general way.

use super::rows::{Rows, clean};
use super::{F32, Known, extreme};
use crate::format::{
    Assigned, BlockFormat, Codebook, Element, Encode, EncodeExpr, Field, FieldId, LocalId,
    ReduceOp, Scope,
};
use crate::lower::{I32, I64, Lower};
use crate::schedule::ScheduleError;
use crate::vector::ir::{Bin, Cmp, Convert, Elem, Op, Shift, Type, Un, Value};
use std::collections::BTreeMap;

/// Most elements of a block that becomes straight code, over all its rows.
const MOST: u32 = 256;
/// Elements of a vector: the most that divide what shares a field, and the fewest that are worth it.
const LANES: [u32; 3] = [16, 8, 4];

/// How the elements of a block share a field or a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    /// Each has its own, in order.
    Each,
    /// So many neighbours share one, a multiple of the lanes.
    Run(u32),
    /// Components of codes that give values to several elements.
    Component,
}

fn share(field: &Field) -> Option<Share> {
    if field.element.width() > 1 {
        return Some(Share::Component);
    }
    match field.run()? {
        1 => Some(Share::Each),
        run if run.is_multiple_of(4) => Some(Share::Run(run)),
        _ => None,
    }
}

/// The values that all components of a table take, if it is a product of the same ones, and the elements use neighbouring
/// components from the first on.
fn digits(field: &Field) -> Option<std::sync::Arc<Codebook>> {
    let Element::Codebook(book) = &field.element else {
        return None;
    };
    let all: Vec<u32> = (0..book.width).collect();
    let product = book.product(&all)?;
    let (_, first) = product.values.first()?;
    let same = product.values.iter().all(|(_, values)| values == first);
    same.then(|| first.clone())
}

/// The clause of a format whose whole blocks can be encoded so.
pub(super) fn possible(format: &BlockFormat) -> Option<&Encode> {
    let clause = format.encode.as_ref()?;
    let len = format.len;
    if !len.is_multiple_of(4) || len * format.rows > MOST {
        return None;
    }
    let of = |assigned: Assigned| match assigned {
        Assigned::Field(id) => &format.fields[id],
        Assigned::Local(id) => &clause.locals[id],
    };
    let step = |target: Assigned, expr: &EncodeExpr| {
        if of(target).scope != Scope::Block {
            return Some(()); // it is known by then
        }
        let each = match share(of(target))? {
            Share::Run(_) => false,
            Share::Each => true,
            Share::Component => digits(of(target)).map(|_| true)?,
        };
        readable(format, clause, expr, each).then_some(())
    };
    let steps = clause.steps.iter();
    steps
        .map(|s| step(s.target, &s.expr))
        .collect::<Option<Vec<()>>>()?;
    Some(clause)
}

/// Elements of a vector that divide the block and everything that shares a field or a number.
fn lanes(format: &BlockFormat, clause: &Encode) -> u32 {
    let fields = format.fields.values().chain(clause.locals.values());
    let runs: Vec<u32> = fields
        .filter_map(|f| match share(f)? {
            Share::Run(run) => Some(run),
            Share::Each | Share::Component => None,
        })
        .chain([format.len])
        .collect();
    let fits = |lanes: &u32| runs.iter().all(|run| run.is_multiple_of(*lanes));
    LANES.into_iter().find(fits).unwrap_or(4)
}

/// Whether an expression reads only what is at hand: codes of single elements are not read back.
fn readable(format: &BlockFormat, clause: &Encode, expr: &EncodeExpr, each: bool) -> bool {
    let all = |list: &[&EncodeExpr], each| list.iter().all(|e| readable(format, clause, e, each));
    match expr {
        EncodeExpr::Const(_) => true,
        EncodeExpr::Input => each,
        EncodeExpr::Field(id) => {
            matches!(share(&format.fields[*id]), Some(Share::Run(_)))
        }
        EncodeExpr::Local(id) => match share(&clause.locals[*id]) {
            Some(Share::Run(_)) => true,
            Some(Share::Each) => each,
            Some(Share::Component) | None => false,
        },
        EncodeExpr::Unary(_, a) => all(&[a], each),
        EncodeExpr::Binary(_, a, b) => all(&[a, b], each),
        EncodeExpr::Reduce(_, a) | EncodeExpr::ArgAbsMax(a) => !each && all(&[a], true),
    }
}

/// A block while it is encoded.
struct Whole<'f> {
    format: &'f BlockFormat,
    clause: &'f Encode,
    /// Elements of a vector.
    lanes: u32,
    /// Which of its rows is encoded.
    row: u32,
    /// Pointer to the values of the row.
    values: Value,
    /// Decoded values of the fields that elements share, occurrence after occurrence.
    fields: BTreeMap<FieldId, Vec<Value>>,
    locals: BTreeMap<LocalId, Vec<Value>>,
    /// Values, vector by vector, once they are loaded.
    loaded: BTreeMap<u32, Value>,
    /// Numbers in all lanes.
    splats: BTreeMap<Value, Value>,
    /// The bytes of the block, eight by eight.
    words: Vec<Option<Value>>,
    /// Codes that are bytes in order: vectors, and the first byte of each.
    direct: Vec<(u32, Value)>,
}

/// Encodes a block.
pub(super) fn block(
    lower: &mut Lower<'_>,
    format: &BlockFormat,
    clause: &Encode,
    rows: Rows,
    bytes: Value,
    known: &Known,
) -> Result<(), ScheduleError> {
    let (mut words, mut direct) = (vec![None; (format.bytes as usize).div_ceil(8)], Vec::new());
    for row in 0..format.rows {
        let values = rows.row(lower, row);
        let mut block = Whole {
            format,
            clause,
            lanes: lanes(format, clause),
            row,
            values,
            fields: known.iter().map(|(id, v)| (*id, vec![*v])).collect(),
            locals: BTreeMap::new(),
            loaded: BTreeMap::new(),
            splats: BTreeMap::new(),
            words,
            direct,
        };
        for step in &clause.steps {
            match step.target {
                Assigned::Field(id) if known.contains_key(&id) => {}
                Assigned::Field(id) => block.field(lower, id, &step.expr)?,
                Assigned::Local(id) => block.local(lower, id, &step.expr)?,
            }
        }
        if row + 1 == format.rows {
            block.store(lower, bytes);
        }
        (words, direct) = (block.words, block.direct);
    }
    Ok(())
}

/// An expression of as many elements from a pointer on as the widest vectors have; fields are known.
pub(super) fn vector(
    lower: &mut Lower<'_>,
    (format, clause): (&BlockFormat, &Encode),
    expr: &EncodeExpr,
    values: Value,
    known: &Known,
) -> Result<Value, ScheduleError> {
    let mut block = Whole {
        format,
        clause,
        lanes: LANES[0],
        row: 0,
        values,
        fields: known.iter().map(|(id, v)| (*id, vec![*v])).collect(),
        locals: BTreeMap::new(),
        loaded: BTreeMap::new(),
        splats: BTreeMap::new(),
        words: Vec::new(),
        direct: Vec::new(),
    };
    block.elements(lower, expr, 0)
}

/// Elements that [`vector`] takes.
pub(super) const WIDEST: u32 = LANES[0];

impl Whole<'_> {
    /// Floats in the lanes.
    fn floats(&self) -> Type {
        Type::new(Elem::F32, self.lanes as u16)
    }

    /// Where vectors of elements start, between two elements.
    fn starts(&self, from: u32, to: u32) -> impl Iterator<Item = u32> + use<> {
        (from..to).step_by(self.lanes as usize)
    }

    fn local(
        &mut self,
        lower: &mut Lower<'_>,
        id: LocalId,
        expr: &EncodeExpr,
    ) -> Result<(), ScheduleError> {
        let local = &self.clause.locals[id];
        let Some(Share::Run(run)) = share(local) else {
            // Evaluated where it is used.
            return Ok(());
        };
        let values = (0..local.count).map(|o| self.shared(lower, expr, o * run, run));
        let values = values.collect::<Result<Vec<Value>, _>>()?;
        self.locals.insert(id, values);
        Ok(())
    }

    fn field(
        &mut self,
        lower: &mut Lower<'_>,
        id: FieldId,
        expr: &EncodeExpr,
    ) -> Result<(), ScheduleError> {
        let format = self.format;
        let field = &format.fields[id];
        match share(field) {
            Some(Share::Run(run)) => {
                let mut decoded = Vec::new();
                for o in 0..field.count {
                    let value = self.shared(lower, expr, o * run, run)?;
                    let code = lower.encode_code(value, F32, &field.element)?;
                    let code = clean(lower, &field.element, code, I32);
                    self.place(lower, field, o, code);
                    decoded.push(lower.decode_code(&field.element, code)?);
                }
                self.fields.insert(id, decoded);
            }
            Some(Share::Each) => {
                for at in self.starts(0, format.len) {
                    let value = self.elements(lower, expr, at)?;
                    let codes = lower.encode_code(value, self.floats(), &field.element)?;
                    self.place_all(lower, field, at, codes);
                }
            }
            Some(Share::Component) => self.digits(lower, field, expr)?,
            None => return Err(ScheduleError::Internal("a field that is shared unevenly")),
        }
        Ok(())
    }

    /// Codes whose components all take the same values: the ranks of the nearest ones are the digits of the code's place.
    fn digits(
        &mut self,
        lower: &mut Lower<'_>,
        field: &Field,
        expr: &EncodeExpr,
    ) -> Result<(), ScheduleError> {
        let (Some(values), Element::Codebook(book)) = (digits(field), &field.element) else {
            return Err(ScheduleError::Internal("a table that is no product"));
        };
        let radix = values.entries.len() as u32;
        let element = Element::Codebook(values);
        let mut ranks = Vec::new();
        for at in self.starts(0, self.format.len) {
            let value = self.elements(lower, expr, at)?;
            let all = lower.encode_nearest(value, self.floats(), &element)?;
            let lanes = 0..self.lanes as u16;
            ranks.extend(lanes.map(|l| lower.put(I32, Op::Extract(all, l), &[all])));
        }
        let (order, start) = field.members();
        let mut products = BTreeMap::new();
        for o in 0..field.count {
            let members = &order[start[o as usize] as usize..start[o as usize + 1] as usize];
            let components = field.components(members);
            let product = products
                .entry(components)
                .or_insert_with_key(|c| book.product(c));
            let Some(product) = product else {
                return Err(ScheduleError::Internal("a table that is no product"));
            };
            let mut place = lower.put_at(0, I32, Op::IConst(0));
            for i in members.iter().rev() {
                let (rank, radix) = (ranks[*i as usize], i64::from(radix));
                let radix = lower.put_at(0, I32, Op::IConst(radix));
                let higher = lower.put(I32, Op::Bin(Bin::IMul, place, radix), &[place, radix]);
                place = lower.put(I32, Op::Bin(Bin::IAdd, higher, rank), &[higher, rank]);
            }
            let codes = product.codes.iter().flat_map(|c| c.to_le_bytes()).collect();
            let code = lower.table_load("codes", codes, 4, place, I32);
            self.place(lower, field, o, code);
        }
        Ok(())
    }

    /// A vector of elements of the block.
    fn input(&mut self, lower: &mut Lower<'_>, at: u32) -> Value {
        if let Some(value) = self.loaded.get(&at) {
            return *value;
        }
        let load = Op::Load {
            base: self.values,
            offset: 4 * at as i32,
        };
        let value = lower.put_at(lower.here(), self.floats(), load);
        self.loaded.insert(at, value);
        value
    }

    fn splat(&mut self, lower: &mut Lower<'_>, value: Value) -> Value {
        let ty = self.floats();
        let new = || lower.put(ty, Op::Splat(value), &[value]);
        *self.splats.entry(value).or_insert_with(new)
    }

    /// An expression for a vector of elements.
    fn elements(
        &mut self,
        lower: &mut Lower<'_>,
        expr: &EncodeExpr,
        at: u32,
    ) -> Result<Value, ScheduleError> {
        Ok(match expr {
            EncodeExpr::Const(c) => lower.float(*c, self.floats()),
            EncodeExpr::Input => self.input(lower, at),
            EncodeExpr::Field(id) => {
                let value = self.field_at(*id, at)?;
                self.splat(lower, value)
            }
            EncodeExpr::Local(id) => match self.locals.get(id) {
                Some(values) => {
                    let occurrence = self.clause.locals[*id].occurrence[at as usize];
                    let value = values[occurrence as usize];
                    self.splat(lower, value)
                }
                None => {
                    let clause = self.clause;
                    let mut steps = clause.steps.iter();
                    let step = steps.find(|s| s.target == Assigned::Local(*id));
                    let step = step.ok_or(ScheduleError::Internal("a number without a value"))?;
                    self.elements(lower, &step.expr, at)?
                }
            },
            EncodeExpr::Unary(op, a) => {
                let a = self.elements(lower, a, at)?;
                lower.declared_unary(*op, a, self.floats())
            }
            EncodeExpr::Binary(op, a, b) => {
                let a = self.elements(lower, a, at)?;
                let b = self.elements(lower, b, at)?;
                lower.declared_binary(*op, a, b, self.floats())
            }
            EncodeExpr::Reduce(..) | EncodeExpr::ArgAbsMax(_) => {
                return Err(ScheduleError::Internal("a reduction for one element"));
            }
        })
    }

    fn field_at(&self, id: FieldId, at: u32) -> Result<Value, ScheduleError> {
        let occurrence = self.format.fields[id].occurrence[at as usize];
        let values = self.fields.get(&id);
        values
            .and_then(|v| v.get(occurrence as usize))
            .copied()
            .ok_or(ScheduleError::Internal("a field before its value"))
    }

    /// An expression for elements that share an occurrence.
    fn shared(
        &mut self,
        lower: &mut Lower<'_>,
        expr: &EncodeExpr,
        from: u32,
        run: u32,
    ) -> Result<Value, ScheduleError> {
        Ok(match expr {
            EncodeExpr::Const(c) => lower.float(*c, F32),
            EncodeExpr::Field(id) => self.field_at(*id, from)?,
            EncodeExpr::Local(id) => {
                let occurrence = self.clause.locals[*id].occurrence[from as usize];
                let values = self.locals.get(id);
                values
                    .and_then(|v| v.get(occurrence as usize))
                    .copied()
                    .ok_or(ScheduleError::Internal("a number before its value"))?
            }
            EncodeExpr::Unary(op, a) => {
                let a = self.shared(lower, a, from, run)?;
                lower.declared_unary(*op, a, F32)
            }
            EncodeExpr::Binary(op, a, b) => {
                let a = self.shared(lower, a, from, run)?;
                let b = self.shared(lower, b, from, run)?;
                lower.declared_binary(*op, a, b, F32)
            }
            EncodeExpr::Reduce(ReduceOp::Sum, body) => self.sum(lower, body, from, run)?,
            EncodeExpr::Reduce(ReduceOp::Min, body) => {
                let least = self.fold(lower, body, from, run, true)?;
                extreme(lower, least)
            }
            EncodeExpr::Reduce(ReduceOp::Max, body) => {
                let most = self.fold(lower, body, from, run, false)?;
                extreme(lower, most)
            }
            EncodeExpr::ArgAbsMax(key) => self.largest(lower, key, from, run)?,
            EncodeExpr::Input => {
                return Err(ScheduleError::Internal("one element for several"));
            }
        })
    }

    /// The sum in the order of the elements.
    fn sum(
        &mut self,
        lower: &mut Lower<'_>,
        body: &EncodeExpr,
        from: u32,
        run: u32,
    ) -> Result<Value, ScheduleError> {
        let mut sum = lower.float(0.0, F32);
        for at in self.starts(from, from + run) {
            let all = self.elements(lower, body, at)?;
            for lane in 0..self.lanes as u16 {
                let one = lower.put(F32, Op::Extract(all, lane), &[all]);
                sum = lower.bin(Bin::FAdd, sum, one);
            }
        }
        Ok(sum)
    }

    /// The largest, or the smallest as the largest of what is negated; any order of the elements gives the same.
    fn fold(
        &mut self,
        lower: &mut Lower<'_>,
        body: &EncodeExpr,
        from: u32,
        run: u32,
        smallest: bool,
    ) -> Result<Value, ScheduleError> {
        let negated = |lower: &mut Lower<'_>, v: Value, ty: Type| match smallest {
            true => lower.put(ty, Op::Un(Un::FNeg, v), &[v]),
            false => v,
        };
        let mut most = None;
        for at in self.starts(from, from + run) {
            let all = self.elements(lower, body, at)?;
            let all = negated(lower, all, self.floats());
            most = Some(match most {
                None => all,
                Some(most) => lower.bin(Bin::FMax, most, all),
            });
        }
        let most = most.ok_or(ScheduleError::Internal("a reduction over nothing"))?;
        let one = lower.put(F32, Op::FoldMax(most), &[most]);
        Ok(negated(lower, one, F32))
    }

    /// The value of largest magnitude with its sign; of equals the first. Each lane keeps its first, and where it was.
    fn largest(
        &mut self,
        lower: &mut Lower<'_>,
        key: &EncodeExpr,
        from: u32,
        run: u32,
    ) -> Result<Value, ScheduleError> {
        let (floats, ints) = (self.floats(), self.floats().as_int());
        let mut best = lower.float(0.0, floats);
        let mut place = lower.put_at(0, ints, Op::IConst(0));
        for at in self.starts(from, from + run) {
            let value = self.elements(lower, key, at)?;
            let size = lower.put(floats, Op::Un(Un::FAbs, value), &[value]);
            let known = lower.put(floats, Op::Un(Un::FAbs, best), &[best]);
            let more = lower.put(ints, Op::Cmp(Cmp::FLt, known, size), &[known, size]);
            let here = (at..at + self.lanes).map(u64::from).collect();
            let here = lower.put_at(0, ints, Op::VConst(here));
            best = lower.put(floats, Op::Select(more, value, best), &[more, value, best]);
            place = lower.put(ints, Op::Select(more, here, place), &[more, here, place]);
        }
        // Halves against each other, down to one register; then its lanes.
        let mut kept = Largest { best, place };
        let mut lanes = self.lanes as u16;
        while lanes > 4 {
            lanes /= 2;
            let ty = Type::new(Elem::F32, lanes);
            let half = |lower: &mut Lower<'_>, v: Value, ty: Type, start: u16| {
                lower.put(ty, Op::Slice(v, start), &[v])
            };
            let [a, b] = [0, lanes].map(|start| Largest {
                best: half(lower, kept.best, ty, start),
                place: half(lower, kept.place, ty.as_int(), start),
            });
            kept = a.or(lower, b, ty);
        }
        let lane = |lower: &mut Lower<'_>, l: u16| Largest {
            best: lower.put(F32, Op::Extract(kept.best, l), &[kept.best]),
            place: lower.put(I32, Op::Extract(kept.place, l), &[kept.place]),
        };
        let mut one = lane(lower, 0);
        for l in 1..lanes {
            let other = lane(lower, l);
            one = one.or(lower, other, F32);
        }
        Ok(one.best)
    }

    /// Puts a vector of codes where they lie: as bytes if they are bytes in order, else one by one.
    fn place_all(&mut self, lower: &mut Lower<'_>, field: &Field, at: u32, codes: Value) {
        if let (Some(addresses), 8) = (field.whole(), field.element.bits()) {
            let at = self.row * field.count + at;
            let first = addresses[at as usize];
            let run = &addresses[at as usize..(at + self.lanes) as usize];
            if first % 8 == 0 && (0..).zip(run).all(|(n, a)| *a == first + 8 * n) {
                let ty = Type::new(Elem::I8, self.lanes as u16);
                let bytes = lower.put(ty, Op::Convert(Convert::Narrow, codes), &[codes]);
                self.direct.push((first / 8, bytes));
                return;
            }
        }
        let codes = clean(lower, &field.element, codes, self.floats().as_int());
        for lane in 0..self.lanes {
            let code = lower.put(I32, Op::Extract(codes, lane as u16), &[codes]);
            self.place(lower, field, at + lane, code);
        }
    }

    /// Puts the bits of a code into the words that they lie in.
    fn place(&mut self, lower: &mut Lower<'_>, field: &Field, occurrence: u32, code: Value) {
        let wide = lower.put(I64, Op::Convert(Convert::WidenU, code), &[code]);
        for (up, part) in field.placed_parts() {
            let mut bits = wide;
            if up > 0 {
                bits = lower.put(I64, Op::Shift(Shift::UShr, bits, up as u8), &[bits]);
            }
            if up + u32::from(part.bits) < field.element.bits() {
                let mask = lower.put_at(0, I64, Op::IConst((1i64 << part.bits) - 1));
                bits = lower.bin(Bin::And, bits, mask);
            }
            let address = part.address[(self.row * field.count + occurrence) as usize];
            let (word, shift) = (address / 64, (address % 64) as u8);
            let low = match shift {
                0 => bits,
                shift => lower.put(I64, Op::Shift(Shift::Shl, bits, shift), &[bits]),
            };
            self.add(lower, word, low);
            if shift + part.bits > 64 {
                let high = lower.put(I64, Op::Shift(Shift::UShr, bits, 64 - shift), &[bits]);
                self.add(lower, word + 1, high);
            }
        }
    }

    fn add(&mut self, lower: &mut Lower<'_>, word: u32, bits: Value) {
        let word = &mut self.words[word as usize];
        *word = Some(match *word {
            None => bits,
            Some(known) => lower.bin(Bin::Or, known, bits),
        });
    }

    fn store(&self, lower: &mut Lower<'_>, bytes: Value) {
        let here = lower.here();
        for (n, word) in (0..).zip(&self.words) {
            let at = 8 * n as u32;
            let left = self.format.bytes - at;
            if word.is_none() && (at..at + left.min(8)).all(|b| self.is_direct(b)) {
                continue;
            }
            let word = word.unwrap_or_else(|| lower.put_at(0, I64, Op::IConst(0)));
            lower.store_word(word, bytes, at, left.min(8));
        }
        // Over the zeros of the words that they share with other fields.
        for (at, codes) in &self.direct {
            lower.b.store_at(here, *codes, bytes, *at as i32);
        }
    }

    /// Whether a byte is stored with a vector.
    fn is_direct(&self, byte: u32) -> bool {
        let mut stored = self.direct.iter();
        stored.any(|(first, _)| (*first..first + self.lanes).contains(&byte))
    }
}

/// Values of largest magnitude, and where they were found.
#[derive(Clone, Copy)]
struct Largest {
    best: Value,
    place: Value,
}

impl Largest {
    /// The larger; of equals the earlier.
    fn or(self, lower: &mut Lower<'_>, other: Largest, ty: Type) -> Largest {
        let int = ty.as_int();
        let [known, size] =
            [self.best, other.best].map(|v| lower.put(ty, Op::Un(Un::FAbs, v), &[v]));
        let larger = lower.put(int, Op::Cmp(Cmp::FLt, known, size), &[known, size]);
        let equal = lower.put(int, Op::Cmp(Cmp::FEq, known, size), &[known, size]);
        let places = [other.place, self.place];
        let earlier = lower.put(int, Op::Cmp(Cmp::SLt, places[0], places[1]), &places);
        let tie = lower.bin(Bin::And, equal, earlier);
        let better = lower.bin(Bin::Or, larger, tie);
        let mut choose =
            |ty: Type, a: Value, b: Value| lower.put(ty, Op::Select(better, a, b), &[better, a, b]);
        Largest {
            best: choose(ty, other.best, self.best),
            place: choose(int, other.place, self.place),
        }
    }
}
