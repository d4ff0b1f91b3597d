//! Loads: subscripts into addresses, fields of blocks into codes, codes into values, and where results are stored.

use super::{Placer, Root, Spot, stored_shape};
use crate::format::{
    BinOp, BlockFormat, Codebook, Element, Field, FieldId, Format, FormatKind, Part, Scope, UnOp,
    ValueExpr,
};
use crate::schedule::ScheduleError;
use crate::schedule::fit::{Digit, FieldAccess, Place, part_access, position};
use crate::schedule::index::{Affine, AxisId, Sym, add, div_ceil, mul};
use crate::schedule::layout::JOINT_BITS;
use crate::schedule::term::{BitField, Load, Storage, Strict, Term, TermId};
use crate::spec::kernel::{Binary, Func, IndexId, Subscript, TensorId};
use crate::vector::ir::Scalar;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Placer<'_> {
    pub(super) fn format(&self, tensor: TensorId) -> Arc<Format> {
        let format = self.layouts[tensor]
            .as_ref()
            .unwrap_or(&self.kernel.tensors[tensor].format);
        format.clone()
    }

    /// Whether a tensor is known to have no elements. What does not change in a loop stands before it even if the loop has no
    /// trips, so nothing may be read of such a tensor.
    fn is_empty(&self, tensor: TensorId) -> bool {
        let mut shape = self.kernel.tensors[tensor].shape.iter();
        shape.any(|e| self.extent(*e) == Scalar::Const(0))
    }

    pub(super) fn load(
        &mut self,
        tensor: TensorId,
        subscripts: &[Subscript],
        spots: &BTreeMap<IndexId, Spot>,
        strict: bool,
    ) -> Result<TermId, ScheduleError> {
        if self.is_empty(tensor) {
            return Ok(self.terms.add(Term::Const(0.0)));
        }
        match &self.format(tensor).kind {
            FormatKind::Plain(element) => {
                let address = self.plain_address(tensor, element, subscripts, spots)?;
                let storage = plain_storage(element)?;
                let load = self.terms.load(Load {
                    tensor,
                    storage,
                    address,
                    bit: None,
                });
                if let Some(planes) = self.counted(element) {
                    return Ok(self.in_planes(&planes, load));
                }
                // Bits above the code's are not the format's.
                let code = match element.bits() < bytes(storage) * 8 {
                    true => self.terms.bits(whole_code(element), load),
                    false => load,
                };
                Ok(self.number(element, storage, code))
            }
            FormatKind::Block(block) => self.block_load(tensor, block, subscripts, spots, strict),
        }
    }

    /// A code as a number: itself if it is one, else its element's value.
    fn number(&mut self, element: &Element, storage: Storage, code: TermId) -> TermId {
        let itself = match element {
            Element::UInt { .. } => true,
            Element::Int { bits } => matches!(
                (storage, bits),
                (Storage::I8, 8) | (Storage::I16, 16) | (Storage::I32, 32)
            ),
            Element::Float(_) => storage == Storage::F32,
            Element::Codebook(_) => false,
        };
        if itself {
            code
        } else {
            self.terms.element(element, code)
        }
    }

    fn subscript(
        &mut self,
        subscript: &Subscript,
        spots: &BTreeMap<IndexId, Spot>,
    ) -> Result<Affine, ScheduleError> {
        Ok(match subscript {
            Subscript::Index(i) => spots
                .get(i)
                .map(|s| s.value.clone())
                .ok_or(ScheduleError::Internal("index without a place"))?,
            Subscript::Quotient(i, by) => {
                let spot = spots
                    .get(i)
                    .ok_or(ScheduleError::Internal("index without a place"))?;
                spot.value.over(*by, &self.axes)
            }
            Subscript::Const(c) => Affine::constant(*c),
            Subscript::Gather(tensor, _) if self.is_empty(*tensor) => Affine::constant(0),
            Subscript::Gather(tensor, inner) => {
                let FormatKind::Plain(element) = &self.format(*tensor).kind else {
                    return Err(ScheduleError::Unsupported(
                        "an index tensor in a block format".into(),
                    ));
                };
                let address = self.plain_address(*tensor, element, inner, spots)?;
                let (bytes, signed) = match element {
                    Element::Int { bits } => (bits.div_ceil(8).next_power_of_two(), true),
                    Element::UInt { bits } => (bits.div_ceil(8).next_power_of_two(), false),
                    Element::Float(_) | Element::Codebook(_) => {
                        return Err(ScheduleError::Unsupported(
                            "an index tensor that is not of integers".into(),
                        ));
                    }
                };
                Affine::symbol(Sym::Gather {
                    tensor: tensor.as_u32(),
                    address: Box::new(address),
                    bytes,
                    signed,
                })
            }
        })
    }

    pub(super) fn plain_address(
        &mut self,
        tensor: TensorId,
        element: &Element,
        subscripts: &[Subscript],
        spots: &BTreeMap<IndexId, Spot>,
    ) -> Result<Affine, ScheduleError> {
        let mut stride = Scalar::Const(u64::from(element.bits().div_ceil(8).next_power_of_two()));
        let mut address = Affine::constant(0);
        let extents = stored_shape(self.kernel, tensor);
        for (subscript, extent) in subscripts.iter().zip(extents).rev() {
            address = address.plus(&self.subscript(subscript, spots)?.times(&stride));
            stride = mul(stride, extent);
        }
        Ok(address)
    }

    pub(super) fn block_load(
        &mut self,
        tensor: TensorId,
        block: &BlockFormat,
        subscripts: &[Subscript],
        spots: &BTreeMap<IndexId, Spot>,
        strict: bool,
    ) -> Result<TermId, ScheduleError> {
        let shape = stored_shape(self.kernel, tensor);
        let [leading @ .., last] = subscripts else {
            return Err(ScheduleError::Internal("a block tensor of rank 0"));
        };
        let len = u64::from(block.len);
        let columns = shape.last().cloned().unwrap_or(Scalar::Const(1));
        let blocks = mul(
            Scalar::Const(u64::from(block.bytes)),
            div_ceil(columns, len),
        );
        let [before, after] = block.frame.row.map(|n| Scalar::Const(n.into()));
        let group = add(add(before.clone(), blocks.clone()), after);
        let (mut base, mut row) = (Affine::constant(0), Affine::constant(0));
        let mut all = group.clone();
        if let [matrices @ .., row_subscript] = leading {
            let index = self.subscript(row_subscript, spots)?;
            let (q, r) = index.split(u64::from(block.rows), &self.axes);
            base = base.plus(&q.times(&group));
            row = r;
            let rows = shape[leading.len() - 1].clone();
            let mut stride = mul(group, div_ceil(rows, u64::from(block.rows)));
            for (subscript, extent) in matrices.iter().zip(&shape).rev() {
                base = base.plus(&self.subscript(subscript, spots)?.times(&stride));
                stride = mul(stride, extent.clone());
            }
            all = stride;
        }
        let start = Scalar::Const(block.frame.tensor[0].into());
        let around = Around {
            tensor: [Affine::constant(0), Affine::scalar(add(start.clone(), all))],
            row: [
                base.clone().plus(&Affine::scalar(start.clone())),
                base.clone().plus(&Affine::scalar(add(
                    add(start.clone(), before.clone()),
                    blocks,
                ))),
            ],
        };
        base = base.plus(&Affine::scalar(add(start, before)));
        let bytes = Scalar::Const(u64::from(block.bytes));
        let chunk_spot = match last {
            Subscript::Index(i) => spots.get(i).and_then(|s| s.chunk.clone()),
            Subscript::Quotient(..) | Subscript::Const(_) | Subscript::Gather(..) => None,
        };
        let (digits, chunk) = match chunk_spot {
            Some((number, digits)) if self.plan.chunk.is_multiple_of(len) => {
                base = base.plus(&number.times(&mul(Scalar::Const(self.plan.chunk / len), bytes)));
                (digits, self.plan.chunk)
            }
            // Blocks that chunks do not end with are found by a division, too.
            _ => {
                let position = self.subscript(last, spots)?;
                let (q, r) = position.split(len, &self.axes);
                base = base.plus(&q.times(&bytes));
                let at = (&base, &around, &row);
                return self.value_at(block, tensor, at, &Inner::Position(r), strict);
            }
        };
        self.value_at(
            block,
            tensor,
            (&base, &around, &row),
            &Inner::Digits(&digits, chunk),
            strict,
        )
    }

    fn value_at(
        &mut self,
        block: &BlockFormat,
        tensor: TensorId,
        (base, around, row): (&Affine, &Around, &Affine),
        inner: &Inner<'_>,
        strict: bool,
    ) -> Result<TermId, ScheduleError> {
        let mut fields = BTreeMap::new();
        for (id, field) in block.fields.iter() {
            if mentions(&block.value, id) {
                let (base, inner) = match field.scope {
                    Scope::Block => (base, inner),
                    // All elements of the row have it at one address.
                    Scope::Row(side) => (&around.row[side as usize], &Inner::ONCE),
                    Scope::Tensor(side) => (&around.tensor[side as usize], &Inner::ONCE),
                };
                fields.insert(id, self.field(block, field, tensor, base, row, inner)?);
            }
        }
        self.value(&block.value, &fields, strict)
    }

    fn field(
        &mut self,
        block: &BlockFormat,
        field: &Field,
        tensor: TensorId,
        base: &Affine,
        row: &Affine,
        inner: &Inner<'_>,
    ) -> Result<TermId, ScheduleError> {
        if matches!(field.element, Element::UInt { bits } if bits > 31) {
            return Err(ScheduleError::Unsupported(
                "an unsigned 32-bit field in a kernel".into(),
            ));
        }
        let planes = self.planes(block, field);
        let joint_sign = self.has_joint_sign(block, field);
        let accesses = field.placed_parts().map(|(up, part)| {
            let access = match inner {
                Inner::Digits(digits, chunk) => {
                    let place = Place {
                        base,
                        row,
                        digits,
                        chunk: *chunk,
                    };
                    part_access(block, field, (up, part), &place, &self.axes)
                }
                Inner::Position(position) => at_position(block, field, part, base, row, position),
            };
            (up, access)
        });
        let accesses: Vec<(u32, FieldAccess)> = accesses.collect();
        let stored = accesses.last().map(|(_, access)| access.storage);
        if !field.per_element() {
            for (_, access) in &accesses {
                self.terms.share(access.load(tensor));
            }
        }
        if let Some(in_place) = self.in_place(block, field)
            && let Some(parts) = self.codes_in_place(tensor, &in_place, &accesses)
        {
            return Ok(self.sum_of_bits(in_place.zero, parts));
        }
        let mut parts = Vec::new();
        for ((up, access), part) in accesses.into_iter().zip(&field.parts) {
            // The sign of a joint code is no part of the number of its entry.
            let alone = joint_sign && up > 0;
            match &planes {
                Some(planes) => {
                    for bit in 0..u32::from(part.bits) {
                        parts.push(self.plane(tensor, planes, up + bit, access.bit(bit)));
                    }
                }
                None if alone => parts.push(self.bit(tensor, access)),
                None => parts.push(self.part(tensor, up, access)),
            }
        }
        if let Element::Codebook(book) = &field.element
            && book.width > 1
        {
            return match parts[..] {
                [code, sign] if joint_sign => {
                    let entry = vec![code];
                    let codes = 1 << JOINT_BITS;
                    let value =
                        self.component(block, field, (book, codes), tensor, entry, inner)?;
                    Ok(self.signed(sign, value))
                }
                _ => {
                    let codes = 1 << field.element.bits();
                    self.component(block, field, (book, codes), tensor, parts, inner)
                }
            };
        }
        if let Some(planes) = planes {
            return Ok(self.sum_of_bits(planes.zero, parts));
        }
        match (parts.as_slice(), stored) {
            ([code], Some(storage)) => Ok(self.number(&field.element, storage, *code)),
            _ => {
                let code = self.terms.add(Term::Add(parts));
                // An element even if it is the code itself: products must not be distributed over the parts.
                Ok(self.terms.element(&field.element, code))
            }
        }
    }

    /// One value of a code that has several: an entry of the whole table, at `code * width + component`.
    fn component(
        &mut self,
        block: &BlockFormat,
        field: &Field,
        (book, codes): (&Codebook, u32),
        tensor: TensorId,
        code: Vec<TermId>,
        inner: &Inner<'_>,
    ) -> Result<TermId, ScheduleError> {
        let len = u64::from(block.len);
        let component = |at: u64| field.component[(at % len) as usize];
        let (entries, at) = match inner {
            Inner::Digits(digits, chunk) => {
                ((0..*chunk).map(component).collect(), position(digits))
            }
            Inner::Position(at) => ((0..len).map(component).collect::<Vec<u32>>(), at.clone()),
        };
        let place = Affine::symbol(Sym::Table(Arc::new(entries), Box::new(at)));
        let place = self.terms.load(Load {
            tensor,
            storage: Storage::Place { below: book.width },
            address: Affine::constant(0),
            bit: Some(place),
        });
        let width = self.terms.add(Term::Const(f64::from(book.width)));
        let code = match code[..] {
            [code] => code,
            _ => self.terms.add(Term::Add(code)),
        };
        let first = self.terms.add(Term::Mul(vec![width, code]));
        let at = self.terms.add(Term::Add(vec![first, place]));
        // Illegal codes are worth something too.
        let worth = |c: u32| (0..book.width).map(move |j| book.worth(c, j));
        let entries = (0..codes).flat_map(worth);
        let table = Codebook::scalar(entries.collect());
        Ok(self.terms.element(&Element::Codebook(table.into()), at))
    }

    /// Whether the codes of a field are joint codes with the sign of all their values above.
    fn has_joint_sign(&self, block: &BlockFormat, field: &Field) -> bool {
        let Element::Codebook(book) = &field.element else {
            return false;
        };
        let joint = self.plan.joint();
        let bits = field.parts.iter().map(|p| u32::from(p.bits));
        joint > 1
            && field.values_per_code(block.len) == Some(joint)
            && bits.eq([JOINT_BITS, 1])
            && book.is_mirrored()
    }

    /// A value, or its opposite where a bit is set.
    fn signed(&mut self, bit: TermId, value: TermId) -> TermId {
        let [one, minus_two] = [1.0, -2.0].map(|n| self.terms.add(Term::Const(n)));
        let twice = self.terms.add(Term::Mul(vec![minus_two, bit]));
        let sign = self.terms.add(Term::Add(vec![one, twice]));
        self.terms.add(Term::Mul(vec![sign, value]))
    }

    /// A part of a code, at its place in the code.
    pub(super) fn part(&mut self, tensor: TensorId, up: u32, access: FieldAccess) -> TermId {
        let load = self.terms.load(access.load(tensor));
        match access.field {
            Some(bits) => self.terms.bits(bits, load),
            None if up > 0 => {
                let factor = self.terms.add(Term::Const(2f64.powi(up as i32)));
                self.terms.add(Term::Mul(vec![factor, load]))
            }
            None => load,
        }
    }

    fn value(
        &mut self,
        value: &ValueExpr,
        fields: &BTreeMap<FieldId, TermId>,
        strict: bool,
    ) -> Result<TermId, ScheduleError> {
        Ok(match value {
            ValueExpr::Const(c) => self.terms.add(Term::Const(f64::from(*c))),
            ValueExpr::Field(id) => fields
                .get(id)
                .copied()
                .ok_or(ScheduleError::Internal("a field without a load"))?,
            ValueExpr::Unary(op, a) => {
                // What has steps is applied to the very number that the reference has.
                let steps = !matches!(op, UnOp::Neg | UnOp::Abs);
                let a = self.value(a, fields, strict || steps)?;
                let term = match op {
                    UnOp::Neg if strict => {
                        let minus = self.terms.add(Term::Const(-1.0));
                        Term::Strict(Strict::Mul, minus, a)
                    }
                    UnOp::Neg => {
                        let minus = self.terms.add(Term::Const(-1.0));
                        Term::Mul(vec![minus, a])
                    }
                    UnOp::Abs => Term::Func(Func::Abs, a),
                    UnOp::Round => Term::Func(Func::Round, a),
                    UnOp::RoundAway => Term::Func(Func::RoundAway, a),
                    UnOp::Trunc => Term::Func(Func::Trunc, a),
                    UnOp::Floor => Term::Func(Func::Floor, a),
                    UnOp::FloorPow2 => Term::Func(Func::FloorPow2, a),
                };
                self.terms.add(term)
            }
            ValueExpr::Binary(op, a, b) => {
                let (a, b) = (
                    self.value(a, fields, strict)?,
                    self.value(b, fields, strict)?,
                );
                match (strict, op) {
                    (true, op) => self.terms.add(Term::Strict(strict_op(*op), a, b)),
                    (false, BinOp::Add) => self.binary(Binary::Add, a, b),
                    (false, BinOp::Sub) => self.binary(Binary::Sub, a, b),
                    (false, BinOp::Mul) => self.binary(Binary::Mul, a, b),
                    (false, BinOp::Div) => self.binary(Binary::Div, a, b),
                    (false, BinOp::Min) => self.binary(Binary::Min, a, b),
                    (false, BinOp::Max) => self.binary(Binary::Max, a, b),
                }
            }
        })
    }

    pub(super) fn root(
        &mut self,
        tensor: TensorId,
        index: &[IndexId],
        term: TermId,
    ) -> Result<Root, ScheduleError> {
        let FormatKind::Plain(element) = self.kernel.tensors[tensor].format.kind.clone() else {
            return Err(ScheduleError::Internal(
                "a block result that is not quantised",
            ));
        };
        let subscripts: Vec<Subscript> = index.iter().map(|i| Subscript::Index(*i)).collect();
        let spots = self.spots.clone();
        let address = self.plain_address(tensor, &element, &subscripts, &spots)?;
        let vector_out = self.plan.vector.is_some_and(|(i, _)| index.contains(&i));
        let mut lanes: Vec<AxisId> = self.row_lane.into_iter().collect();
        if vector_out {
            lanes.extend(&self.lane_axes);
        }
        Ok(Root {
            term,
            lanes,
            tensor,
            storage: plain_storage(&element)?,
            element,
            address,
        })
    }
}

/// Where in a block an element lies.
enum Inner<'a> {
    Digits(&'a [Digit], u64),
    Position(Affine),
}

impl Inner<'_> {
    /// Anywhere: the first element stands for all.
    const ONCE: Inner<'static> = Inner::Digits(&[], 1);
}

/// Where that lies which a row, and the tensor, have once: before and after their blocks.
struct Around {
    row: [Affine; 2],
    tensor: [Affine; 2],
}

fn at_position(
    block: &BlockFormat,
    field: &Field,
    part: &Part,
    base: &Affine,
    row: &Affine,
    position: &Affine,
) -> FieldAccess {
    let entries = (0..block.rows)
        .flat_map(|r| field.occurrence.iter().map(move |o| (r, o)))
        .map(|(r, o)| part.address[(r * field.count + o) as usize])
        .collect::<Vec<_>>();
    let at = position
        .clone()
        .plus(&row.clone().times(&Scalar::Const(u64::from(block.len))));
    FieldAccess {
        storage: Storage::Code { bits: part.bits },
        address: base.clone(),
        bit: Some(Affine::symbol(Sym::Table(Arc::new(entries), Box::new(at)))),
        field: None,
    }
}

/// Bytes of a number in memory.
fn bytes(storage: Storage) -> u32 {
    match storage {
        Storage::U8 | Storage::I8 => 1,
        Storage::U16 | Storage::I16 => 2,
        Storage::I32 | Storage::F32 => 4,
        Storage::Code { bits } => u32::from(bits).div_ceil(8),
        Storage::Place { .. } => 0,
    }
}

/// The low bits that hold a code.
fn whole_code(element: &Element) -> BitField {
    BitField {
        shift: Affine::constant(0),
        width: element.bits() as u8,
        up: Affine::constant(0),
    }
}

fn plain_storage(element: &Element) -> Result<Storage, ScheduleError> {
    Ok(match (element, element.bits()) {
        (Element::Float(f), 32) if f.exp == 8 && f.man == 23 && f.bias == 127 => Storage::F32,
        (Element::Int { .. }, 8) => Storage::I8,
        (Element::Int { .. }, 16) => Storage::I16,
        (Element::Int { .. }, 32) => Storage::I32,
        (Element::UInt { .. }, 32) => {
            return Err(ScheduleError::Unsupported(
                "a tensor of unsigned 32-bit integers in a kernel".into(),
            ));
        }
        (_, 0..=8) => Storage::U8,
        (_, 9..=16) => Storage::U16,
        _ => Storage::I32,
    })
}

fn strict_op(op: BinOp) -> Strict {
    match op {
        BinOp::Add => Strict::Add,
        BinOp::Sub => Strict::Sub,
        BinOp::Mul => Strict::Mul,
        BinOp::Div => Strict::Div,
        BinOp::Min => Strict::Min,
        BinOp::Max => Strict::Max,
    }
}

fn mentions(value: &ValueExpr, field: FieldId) -> bool {
    match value {
        ValueExpr::Const(_) => false,
        ValueExpr::Field(f) => *f == field,
        ValueExpr::Unary(_, a) => mentions(a, field),
        ValueExpr::Binary(_, a, b) => mentions(a, field) || mentions(b, field),
    }
}
