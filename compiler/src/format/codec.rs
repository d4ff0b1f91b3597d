//! The reference decoder and encoder of blocks and tensors: what the bytes of a tensor mean.
//!
//! - Rows start on a block. The last block of a row is stored whole; past the end of the row the encoder sees zeros.
//! - A block of R rows holds the same columns of R neighbouring rows of one matrix (the last two axes); the rows of a
//!   matrix are padded to a multiple of R. Axes before the last two number the matrices.
//! - `value` and `encode` compute in f32, rounding to nearest even at each step, in the order written.

use super::grid::{BlockPlace, Grid, for_each_block};
use super::refuse::check_codes;
use super::sums::fill_sums;
use super::{
    Assigned, BinOp, BlockFormat, Element, Encode, EncodeExpr, Field, FieldId, Format, FormatKind,
    Part, Product, ReduceOp, Scope, Side, UnOp, ValueExpr,
};
use cranelift_entity::EntityRef;

/// Why bytes and shape do not fit a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes are too few or too many.
    #[error(
        "format `{format}` needs {expected} bytes for the shape {shape:?}, but {found} were given"
    )]
    Bytes {
        /// Its name.
        format: String,
        /// The shape.
        shape: Vec<u64>,
        /// What the shape needs.
        expected: u64,
        /// What was given.
        found: u64,
    },
    /// The values are too few or too many.
    #[error("the shape {shape:?} has {expected} elements, but {found} were given")]
    Elements {
        /// The shape.
        shape: Vec<u64>,
        /// Its elements.
        expected: u64,
        /// What was given.
        found: u64,
    },
    /// The shape has more elements than memory can hold.
    #[error("the shape {shape:?} is too large")]
    TooLarge {
        /// The shape.
        shape: Vec<u64>,
    },
    /// The format does not say how to encode.
    #[error("format `{format}` has no `encode` clause")]
    NoClause {
        /// Its name.
        format: String,
    },
    /// An order that a tensor cannot be brought into.
    #[error("the tensor cannot be brought into this order: {reason}")]
    Order {
        /// Why not.
        reason: String,
    },
    /// A code that the format refuses.
    #[error(
        "`{format}` refuses code {code}{}, which stands in row {row}, element {element}",
        field.as_ref().map_or(String::new(), |f| format!(" of `{f}`"))
    )]
    Refused {
        /// Its name.
        format: String,
        /// The field, if the format is a block.
        field: Option<String>,
        /// The code.
        code: u32,
        /// The row of the tensor, over all axes before the last.
        row: u64,
        /// The first element of the row that has the code.
        element: u64,
    },
    /// A sum that a layout keeps and that is not that of its row.
    #[error("`{format}` keeps a sum of row {row} that its values do not add up to")]
    Sum {
        /// The format's name.
        format: String,
        /// The row of the tensor, over all axes before the last.
        row: u64,
    },
    /// The values of a row add up to more than the sum that a layout keeps can be.
    #[error("the values of a row add up to {sum}, more than `{kept}` holds")]
    LargeSum {
        /// Its name.
        kept: String,
        /// The sum.
        sum: String,
    },
    /// Two layouts that do not hold the same fields.
    #[error("the two layouts do not hold the same fields: {reason}")]
    Layouts {
        /// What differs.
        reason: String,
    },
}

/// The code of `bits` bits at a bit address, low bit first. Bits past the end read as 0.
pub fn read_code(bytes: &[u8], address: u64, bits: u32) -> u32 {
    let (first, shift) = ((address / 8) as usize, address % 8);
    let mut word = 0u64;
    match bytes.get(first..).and_then(|b| b.first_chunk()) {
        Some(eight) => word = u64::from_le_bytes(*eight),
        None => {
            for i in 0..5 {
                word |= u64::from(bytes.get(first + i).copied().unwrap_or(0)) << (8 * i);
            }
        }
    }
    ((word >> shift) & ((1u64 << bits.min(32)) - 1)) as u32
}

/// Stores a code of `bits` bits at a bit address, low bit first. Bits past the end are dropped.
pub fn write_code(bytes: &mut [u8], address: u64, bits: u32, code: u32) {
    let (first, shift) = ((address / 8) as usize, address % 8);
    let mask = ((1u64 << bits.min(32)) - 1) << shift;
    let word = (u64::from(code) << shift) & mask;
    for i in 0..5 {
        if let Some(b) = bytes.get_mut(first + i) {
            *b = (*b & !((mask >> (8 * i)) as u8)) | (word >> (8 * i)) as u8;
        }
    }
}

impl Format {
    /// Bits that an element takes in a long row, with its share of the scales.
    pub fn bits_per_element(&self) -> f64 {
        match &self.kind {
            FormatKind::Plain(e) => f64::from(8 * e.storage_bytes()),
            FormatKind::Block(b) => {
                8.0 * f64::from(b.bytes) / (f64::from(b.len) * f64::from(b.rows))
            }
        }
    }
    /// Bytes of a row of `cols` elements; of a layout that interleaves rows, one row's share, rounded up.
    pub fn row_bytes(&self, cols: u64) -> u64 {
        match &self.kind {
            FormatKind::Plain(e) => cols.saturating_mul(u64::from(e.storage_bytes())),
            FormatKind::Block(b) => cols
                .div_ceil(u64::from(b.len))
                .saturating_mul(u64::from(b.bytes))
                .saturating_add(b.frame.row.iter().map(|n| u64::from(*n)).sum())
                .div_ceil(u64::from(b.rows)),
        }
    }
    /// Bytes of a tensor; `None` if that overflows.
    pub fn tensor_bytes(&self, shape: &[u64]) -> Option<u64> {
        match &self.kind {
            FormatKind::Plain(e) => elements(shape)?.checked_mul(u64::from(e.storage_bytes())),
            FormatKind::Block(b) => Grid::new(b, shape)?.size(),
        }
    }
}

fn elements(shape: &[u64]) -> Option<u64> {
    shape
        .iter()
        .try_fold(1u64, |a, b| a.checked_mul(*b))
        .filter(|n| *n <= isize::MAX as u64 / 8)
}

fn too_large(shape: &[u64]) -> CodecError {
    CodecError::TooLarge {
        shape: shape.to_vec(),
    }
}

pub(crate) fn check_bytes(format: &Format, shape: &[u64], bytes: &[u8]) -> Result<u64, CodecError> {
    let count = elements(shape).ok_or_else(|| too_large(shape))?;
    let expected = format.tensor_bytes(shape).ok_or_else(|| too_large(shape))?;
    if expected != bytes.len() as u64 {
        return Err(CodecError::Bytes {
            format: format.name.clone(),
            shape: shape.to_vec(),
            expected,
            found: bytes.len() as u64,
        });
    }
    Ok(count)
}

/// The values of a tensor, in row-major order.
pub fn decode_tensor(format: &Format, shape: &[u64], bytes: &[u8]) -> Result<Vec<f32>, CodecError> {
    let count = check_bytes(format, shape, bytes)?;
    check_codes(format, shape, bytes)?;
    match &format.kind {
        FormatKind::Plain(e) => {
            let size = e.storage_bytes() as usize;
            Ok(bytes
                .chunks_exact(size)
                .map(|c| e.decode(read_code(c, 0, e.bits())) as f32)
                .collect())
        }
        FormatKind::Block(b) => {
            let grid = Grid::new(b, shape).ok_or_else(|| too_large(shape))?;
            let mut out = vec![0.0; count as usize];
            let mut tile = vec![0.0; (b.rows * b.len) as usize];
            for_each_block(b, &grid, |place, tile_rows| {
                b.decode_at(bytes, place, &mut tile);
                for (r, (start, n)) in tile_rows.iter().enumerate() {
                    out[*start..start + n].copy_from_slice(&tile[r * b.len as usize..][..*n]);
                }
            });
            Ok(out)
        }
    }
}

/// The bytes of a tensor with the given values, in row-major order.
pub fn encode_tensor(
    format: &Format,
    shape: &[u64],
    values: &[f32],
) -> Result<Vec<u8>, CodecError> {
    let count = elements(shape).ok_or_else(|| too_large(shape))?;
    if count != values.len() as u64 {
        return Err(CodecError::Elements {
            shape: shape.to_vec(),
            expected: count,
            found: values.len() as u64,
        });
    }
    let size = format
        .tensor_bytes(shape)
        .filter(|n| *n <= isize::MAX as u64)
        .ok_or_else(|| too_large(shape))?;
    let mut out = vec![0; size as usize];
    match &format.kind {
        FormatKind::Plain(e) => {
            for (c, v) in out.chunks_exact_mut(e.storage_bytes() as usize).zip(values) {
                write_code(c, 0, e.bits(), e.encode(*v));
            }
        }
        FormatKind::Block(b) => {
            let encode = b.encode.as_ref().ok_or_else(|| CodecError::NoClause {
                format: format.name.clone(),
            })?;
            let grid = Grid::new(b, shape).ok_or_else(|| too_large(shape))?;
            let mut tile = vec![0.0; (b.rows * b.len) as usize];
            let mut shared = Shared::new(b, encode);
            shared.encode(
                Scope::Tensor(Side::Before),
                0,
                values,
                &mut out,
                &grid.place(0, 0, 0),
            );
            for (row, place) in grid.empty_rows() {
                shared.encode(Scope::Row(Side::Before), row, &[], &mut out, &place);
            }
            for_each_block(b, &grid, |place, tile_rows| {
                tile.fill(0.0);
                for (r, (start, n)) in tile_rows.iter().enumerate() {
                    tile[r * b.len as usize..][..*n].copy_from_slice(&values[*start..start + n]);
                }
                if place.number % grid.across == 0 {
                    for (r, (start, _)) in (0..).zip(tile_rows) {
                        let row = &values[*start..start + grid.cols as usize];
                        shared.encode(Scope::Row(Side::Before), r, row, &mut out, place);
                    }
                }
                let block = &mut out[place.block..place.block + b.bytes as usize];
                b.encode_with(encode, &shared.read_back, &tile, block);
            });
            fill_sums(b, shape, &mut out)?;
        }
    }
    Ok(out)
}

impl Field {
    /// Occurrences over all rows of a block.
    pub fn slots(&self) -> usize {
        self.parts.first().map_or(0, |p| p.address.len())
    }

    /// The addresses, if the bits of a code lie in one place.
    pub fn whole(&self) -> Option<&[u32]> {
        match self.parts.as_slice() {
            [part] => Some(&part.address),
            _ => None,
        }
    }

    /// The parts, each with the place of its lowest bit in the code.
    pub fn placed_parts(&self) -> impl Iterator<Item = (u32, &Part)> {
        self.parts.iter().scan(0, |up, part| {
            let at = *up;
            *up += u32::from(part.bits);
            Some((at, part))
        })
    }

    /// How many neighbours share an occurrence, if they do so in order: 1 where every element has its own.
    pub fn run(&self) -> Option<u32> {
        let len = self.occurrence.len() as u32;
        let run = (len / self.count.max(1)).max(1);
        let mut all = (0..).zip(&self.occurrence);
        all.all(|(i, o)| i / run == *o).then_some(run)
    }

    /// How many neighbours a code gives their values in blocks of `len`, if all codes do so in order; 1 where every element has a
    /// code of its own.
    pub fn values_per_code(&self, len: u32) -> Option<u64> {
        let values = self.element.width();
        let components = self.component.iter().enumerate();
        let whole = self.scope == Scope::Block
            && self.count * values == len
            && self.run() == Some(values)
            && (values == 1 || { components }.all(|(i, c)| i as u32 % values == *c));
        whole.then_some(u64::from(values))
    }

    /// Whether every element has a value of its own: a code, or a component of one.
    pub fn per_element(&self) -> bool {
        if self.scope != Scope::Block {
            return false;
        }
        let width = self.element.width();
        let values = u64::from(self.count) * u64::from(width);
        if values < self.occurrence.len() as u64 {
            return false;
        }
        let mut seen = vec![false; values as usize];
        let mut own = self.occurrence.iter().zip(&self.component);
        own.all(|(o, c)| {
            let place = (o * width + c) as usize;
            !std::mem::replace(&mut seen[place], true)
        })
    }

    /// The code of an occurrence, from the bytes of a block.
    pub fn read(&self, bytes: &[u8], slot: usize) -> u32 {
        self.placed_parts().fold(0, |code, (up, part)| {
            let address = part.address.get(slot).copied().unwrap_or(0);
            code | read_code(bytes, u64::from(address), u32::from(part.bits)) << up
        })
    }

    /// The elements of a row in the order of their occurrences (and of their components, ascending), and where those of each
    /// occurrence start; one more start ends the last.
    pub fn members(&self) -> (Vec<u32>, Vec<u32>) {
        let mut order: Vec<u32> = (0..self.occurrence.len() as u32).collect();
        let key = |i: u32| (self.occurrence[i as usize], self.component[i as usize]);
        order.sort_by_key(|i| key(*i));
        let before = |o: u32| order.partition_point(|i| self.occurrence[*i as usize] < o) as u32;
        let start = (0..=self.count).map(before).collect();
        (order, start)
    }

    /// The components that the elements of an occurrence use.
    pub fn components(&self, members: &[u32]) -> Vec<u32> {
        members
            .iter()
            .map(|i| self.component[*i as usize])
            .collect()
    }

    /// The values of a code, one for each component.
    pub fn values(&self, code: u32) -> Vec<f32> {
        let components = 0..self.element.width();
        components
            .map(|c| self.element.decode_at(code, c) as f32)
            .collect()
    }

    /// Stores the code of an occurrence in the bytes of a block.
    pub fn write(&self, bytes: &mut [u8], slot: usize, code: u32) {
        for (up, part) in self.placed_parts() {
            if let Some(address) = part.address.get(slot) {
                write_code(bytes, u64::from(*address), u32::from(part.bits), code >> up);
            }
        }
    }
}

impl BlockFormat {
    /// The occurrence of a field that element `i` of row `r` uses, as an index into the addresses of its parts.
    pub(crate) fn slot(&self, field: FieldId, r: u32, i: u32) -> usize {
        let f = &self.fields[field];
        (r * f.count + f.occurrence.get(i as usize).copied().unwrap_or(0)) as usize
    }

    /// The code of a field that element `i` of row `r` of a block of a tensor uses.
    pub(crate) fn code(
        &self,
        bytes: &[u8],
        place: &BlockPlace,
        field: FieldId,
        r: u32,
        i: u32,
    ) -> u32 {
        let f = &self.fields[field];
        let bytes = bytes.get(place.of(f.scope)..).unwrap_or(&[]);
        f.read(bytes, self.slot(field, r, i))
    }

    /// The values of a block, row after row; `bytes` and `out` must be a block long (what is missing reads as 0). Nothing lies
    /// around it: fields of rows and tensors read as the first bytes.
    pub fn decode_block(&self, bytes: &[u8], out: &mut [f32]) {
        self.decode_at(bytes, &BlockPlace::default(), out);
    }

    /// The values of a block of a tensor, row after row.
    pub(crate) fn decode_at(&self, bytes: &[u8], place: &BlockPlace, out: &mut [f32]) {
        let decoded = self.decode_fields(bytes, place);
        for (n, o) in out
            .iter_mut()
            .enumerate()
            .take((self.rows * self.len) as usize)
        {
            let (r, i) = (n as u32 / self.len, n as u32 % self.len);
            *o = eval_value(&self.value, &|f| {
                decoded[f.index()][self.value_slot(f, r, i)]
            });
        }
    }

    /// The decoded values of every field, occurrence after occurrence.
    fn decode_fields(&self, bytes: &[u8], place: &BlockPlace) -> Vec<Vec<f32>> {
        let decode = |f: &Field| {
            let bytes = bytes.get(place.of(f.scope)..).unwrap_or(&[]);
            let values = |slot| f.values(f.read(bytes, slot));
            (0..f.slots()).flat_map(values).collect()
        };
        self.fields.values().map(decode).collect()
    }

    /// The value of a field that element `i` of row `r` uses, among all values of all occurrences.
    fn value_slot(&self, field: FieldId, r: u32, i: u32) -> usize {
        let f = &self.fields[field];
        let component = f.component.get(i as usize).copied().unwrap_or(0);
        self.slot(field, r, i) * f.element.width() as usize + component as usize
    }

    /// The bytes of a block with the given values, row after row; `None` if the format has no `encode` clause or there are not
    /// `rows * len` values.
    pub fn encode_block(&self, values: &[f32]) -> Option<Vec<u8>> {
        let encode = self.encode.as_ref()?;
        if values.len() != (self.rows * self.len) as usize {
            return None;
        }
        let mut out = vec![0; self.bytes as usize];
        let shared = Shared::new(self, encode);
        self.encode_with(encode, &shared.read_back, values, &mut out);
        Some(out)
    }

    /// Encodes the fields of a block, given what those of its row and of the tensor read back as.
    fn encode_with(&self, encode: &Encode, shared: &[Vec<f32>], values: &[f32], out: &mut [u8]) {
        out.fill(0);
        let blank = |f: &Field| vec![0.0; (self.rows * f.count * f.element.width()) as usize];
        let mut read_back = shared.to_vec();
        let mut locals: Vec<Vec<f32>> = encode.locals.values().map(blank).collect();
        for step in &encode.steps {
            let field = match step.target {
                Assigned::Field(id) => &self.fields[id],
                Assigned::Local(id) => &encode.locals[id],
            };
            if field.scope != Scope::Block {
                continue;
            }
            let (order, start) = field.members();
            let mut coder = Coder::new(field);
            for r in 0..self.rows {
                let row = &values[(r * self.len) as usize..][..self.len as usize];
                for o in 0..field.count as usize {
                    let group = &order[start[o] as usize..start[o + 1] as usize];
                    let scope = Encoding {
                        block: self,
                        r,
                        row,
                        group: Group::Of(group),
                        read_back: &read_back,
                        encode,
                        locals: &locals,
                    };
                    let slot = r as usize * field.count as usize + o;
                    match step.target {
                        Assigned::Local(id) => {
                            let first = group.first().copied().unwrap_or(0);
                            locals[id.index()][slot] = scope.eval(&step.expr, first);
                        }
                        Assigned::Field(id) => {
                            let code = coder.code(group, &|i| scope.eval(&step.expr, i));
                            field.write(out, slot, code);
                            let width = field.element.width() as usize;
                            read_back[id.index()][slot * width..][..width]
                                .copy_from_slice(&field.values(code));
                        }
                    }
                }
            }
        }
    }
}

/// Fields that a whole row, or the whole tensor, shares, while a tensor is encoded.
struct Shared<'a> {
    block: &'a BlockFormat,
    encode: &'a Encode,
    /// What the fields read back as, those of blocks as 0.
    read_back: Vec<Vec<f32>>,
}

impl<'a> Shared<'a> {
    fn new(block: &'a BlockFormat, encode: &'a Encode) -> Shared<'a> {
        let blank = |f: &Field| vec![0.0; (block.rows * f.count * f.element.width()) as usize];
        Shared {
            block,
            encode,
            read_back: block.fields.values().map(blank).collect(),
        }
    }

    /// Assigns the fields of a scope from all values that share them: a row, the `r`th of its block, or the tensor.
    fn encode(&mut self, scope: Scope, r: u32, values: &[f32], out: &mut [u8], place: &BlockPlace) {
        for step in &self.encode.steps {
            let Assigned::Field(id) = step.target else {
                continue;
            };
            let field = &self.block.fields[id];
            if !field.scope.is_like(scope) {
                continue;
            }
            let encoding = Encoding {
                block: self.block,
                r,
                row: values,
                group: Group::All(values.len() as u32),
                read_back: &self.read_back,
                encode: self.encode,
                locals: &[],
            };
            let code = field.element.encode(encoding.eval(&step.expr, 0));
            let Some(bytes) = out.get_mut(place.of(field.scope)..) else {
                continue;
            };
            let slots = match scope {
                Scope::Tensor(_) => 0..self.block.rows,
                Scope::Row(_) | Scope::Block => r..r + 1,
            };
            for slot in slots {
                field.write(bytes, slot as usize, code);
                self.read_back[id.index()][slot as usize] = field.element.decode(code) as f32;
            }
        }
    }
}

/// The elements that share what is assigned.
#[derive(Clone, Copy)]
enum Group<'a> {
    /// These of a block's row.
    Of(&'a [u32]),
    /// The first so many of a row or a tensor.
    All(u32),
}

impl<'a> Group<'a> {
    fn iter(self) -> impl Iterator<Item = u32> + 'a {
        let (some, all) = match self {
            Group::Of(list) => (list, 0),
            Group::All(count) => (&[][..], count),
        };
        some.iter().copied().chain(0..all)
    }
}

/// Finds the codes of one field; what it learns of the components in use serves the next occurrences.
struct Coder<'a> {
    field: &'a Field,
    /// The components of the occurrence before, and the table as a product over them if it is one.
    product: Option<(Vec<u32>, Option<Product>)>,
}

impl<'a> Coder<'a> {
    fn new(field: &'a Field) -> Coder<'a> {
        Coder {
            field,
            product: None,
        }
    }

    /// The code nearest to the values of the elements that share it.
    fn code(&mut self, group: &[u32], value: &dyn Fn(u32) -> f32) -> u32 {
        let book = match &self.field.element {
            Element::Codebook(book) if book.width > 1 => book,
            element => return element.encode(value(group.first().copied().unwrap_or(0))),
        };
        let components = self.field.components(group);
        let wanted = group.iter().map(|i| value(*i));
        let known = self.product.take().filter(|(c, _)| *c == components);
        let (components, product) = known.unwrap_or_else(|| {
            let product = book.product(&components);
            (components, product)
        });
        let code = match &product {
            Some(product) => product.nearest(&wanted.collect::<Vec<f32>>()),
            None => {
                let wanted = components.iter().copied().zip(wanted);
                book.nearest(&wanted.collect::<Vec<(u32, f32)>>())
            }
        };
        self.product = Some((components, product));
        code
    }
}

/// What an `encode` expression of one occurrence sees.
struct Encoding<'a> {
    block: &'a BlockFormat,
    r: u32,
    row: &'a [f32],
    group: Group<'a>,
    read_back: &'a [Vec<f32>],
    encode: &'a Encode,
    locals: &'a [Vec<f32>],
}

impl Encoding<'_> {
    /// The value at element `i`.
    fn eval(&self, e: &EncodeExpr, i: u32) -> f32 {
        match e {
            EncodeExpr::Const(c) => *c,
            EncodeExpr::Input => self.row[i as usize],
            EncodeExpr::Field(f) => self.read_back[f.index()][self.block.value_slot(*f, self.r, i)],
            EncodeExpr::Local(l) => {
                let local = &self.encode.locals[*l];
                let slot = self.r * local.count + local.occurrence[i as usize];
                self.locals[l.index()][slot as usize]
            }
            EncodeExpr::Unary(op, a) => unary(*op, self.eval(a, i)),
            EncodeExpr::Binary(BinOp::Div, a, b) => {
                let b = self.eval(b, i);
                if b == 0.0 { 0.0 } else { self.eval(a, i) / b }
            }
            EncodeExpr::Binary(op, a, b) => binary(*op, self.eval(a, i), self.eval(b, i)),
            EncodeExpr::Reduce(op, a) => {
                let values = self.group.iter().map(|i| self.eval(a, i));
                match op {
                    ReduceOp::Sum => values.fold(0.0, |s, v| s + v),
                    // A zero is positive, in whatever order the elements are looked at.
                    ReduceOp::Min => extreme(values, |a, b| a < b) + 0.0,
                    ReduceOp::Max => extreme(values, |a, b| a > b) + 0.0,
                }
            }
            EncodeExpr::ArgAbsMax(key) => {
                let (mut best, mut value) = (0.0, 0.0);
                for i in self.group.iter() {
                    let v = self.eval(key, i);
                    if v.abs() > best {
                        (best, value) = (v.abs(), v);
                    }
                }
                value
            }
        }
    }
}

/// The first value that none other is better than; NaNs lose; 0 over nothing.
fn extreme(values: impl Iterator<Item = f32>, better: impl Fn(f32, f32) -> bool) -> f32 {
    let best = values
        .filter(|v| !v.is_nan())
        .fold(None, |best, v| match best {
            Some(b) if !better(v, b) => Some(b),
            _ => Some(v),
        });
    best.unwrap_or(0.0)
}

/// Evaluates a `value` expression in the declared arithmetic.
pub(crate) fn eval_value(e: &ValueExpr, field: &impl Fn(FieldId) -> f32) -> f32 {
    match e {
        ValueExpr::Const(c) => *c,
        ValueExpr::Field(f) => field(*f),
        ValueExpr::Unary(op, a) => unary(*op, eval_value(a, field)),
        ValueExpr::Binary(op, a, b) => binary(*op, eval_value(a, field), eval_value(b, field)),
    }
}

pub(crate) fn unary(op: UnOp, a: f32) -> f32 {
    match op {
        UnOp::Neg => -a,
        UnOp::Abs => a.abs(),
        UnOp::Round => a.round_ties_even(),
        UnOp::RoundAway => {
            let size = a.abs();
            let whole = size.floor();
            let rounded = whole + (2.0 * (size - whole)).floor();
            if a < 0.0 { -rounded } else { rounded }
        }
        UnOp::Trunc if a < 0.0 => -(-a).floor(),
        UnOp::Trunc => a.floor(),
        UnOp::Floor => a.floor(),
        UnOp::FloorPow2 if a == 0.0 || !a.is_finite() => a.abs(),
        UnOp::FloorPow2 => super::element::pow2(super::element::exponent(f64::from(a))) as f32,
    }
}

pub(crate) fn binary(op: BinOp, a: f32, b: f32) -> f32 {
    match op {
        BinOp::Add => a + b,
        BinOp::Sub => a - b,
        BinOp::Mul => a * b,
        BinOp::Div => a / b,
        BinOp::Min if a.is_nan() || b < a => b,
        BinOp::Max if a.is_nan() || b > a => b,
        BinOp::Min | BinOp::Max => a,
    }
}
