//! Tensors: a format, a shape and bytes. Bytes may be owned or lie in a mapped file; they are shared, never copied.

use crate::Error;
use lowbit_compiler::format::codec::{CodecError, decode_tensor, encode_tensor};
use lowbit_compiler::format::element::F32;
use lowbit_compiler::format::layout::{LayoutId, layout_id, relayout, same_layout};
use lowbit_compiler::format::permute::permute;
use lowbit_compiler::format::refuse::check_codes;
use lowbit_compiler::format::{Element, Format, FormatKind};
use std::fmt;
use std::sync::Arc;

pub use lowbit_compiler::format::permute::Axis;

/// Bytes that several tensors may share.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Values in a format.
#[derive(Clone)]
pub struct Tensor {
    format: Arc<Format>,
    shape: Vec<u64>,
    bytes: SharedBytes,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Tensor({} {:?}, {} bytes)",
            self.format.name,
            self.shape,
            self.bytes().len()
        )
    }
}

/// IEEE single precision.
pub(crate) fn f32_format() -> Format {
    Format {
        name: "f32".into(),
        kind: FormatKind::Plain(F32),
    }
}

fn int_format(name: &str, bits: u8) -> Format {
    Format {
        name: name.into(),
        kind: FormatKind::Plain(Element::Int { bits }),
    }
}

impl Tensor {
    /// Bytes that are in a format already. They must be exactly as many as the format takes for the shape, and hold no code
    /// that the format refuses.
    pub fn from_bytes(format: Arc<Format>, shape: &[u64], bytes: Vec<u8>) -> Result<Tensor, Error> {
        Tensor::from_shared(format, shape, Arc::new(bytes))
    }

    /// Like [`Tensor::from_bytes`], over bytes that are shared (a mapped file).
    pub fn from_shared(
        format: Arc<Format>,
        shape: &[u64],
        bytes: SharedBytes,
    ) -> Result<Tensor, Error> {
        let tensor = Tensor::of_legal(format, shape, bytes)?;
        check_codes(&tensor.format, shape, tensor.bytes())?;
        Ok(tensor)
    }

    /// The same for bytes in which no code is illegal: those of another tensor, and what encoders and kernels write.
    pub(crate) fn of_legal(
        format: Arc<Format>,
        shape: &[u64],
        bytes: SharedBytes,
    ) -> Result<Tensor, Error> {
        let wanted = format.tensor_bytes(shape);
        let found = (*bytes).as_ref().len() as u64;
        if wanted != Some(found) {
            return Err(Error::Length {
                format: format.name.clone(),
                shape: shape.to_vec(),
                wanted,
                found,
            });
        }
        Ok(Tensor {
            format,
            shape: shape.to_vec(),
            bytes,
        })
    }

    /// Plain f32 values, outermost axis first.
    pub fn from_f32(shape: &[u64], values: &[f32]) -> Result<Tensor, Error> {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor::from_bytes(Arc::new(f32_format()), shape, bytes)
    }

    /// Signed bytes.
    pub fn from_i8(shape: &[u64], values: &[i8]) -> Result<Tensor, Error> {
        let bytes = values.iter().map(|v| *v as u8).collect();
        Tensor::from_bytes(Arc::new(int_format("i8", 8)), shape, bytes)
    }

    /// 32-bit integers: indices, or results of integer kernels.
    pub fn from_i32(shape: &[u64], values: &[i32]) -> Result<Tensor, Error> {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor::from_bytes(Arc::new(int_format("i32", 32)), shape, bytes)
    }

    /// Quantises values into a format by its `encode` clause.
    pub fn quantize(format: Arc<Format>, shape: &[u64], values: &[f32]) -> Result<Tensor, Error> {
        let bytes = encode_tensor(&format, shape, values)?;
        Tensor::of_legal(format, shape, Arc::new(bytes))
    }

    /// The tensor in another layout that holds the same fields: every code is moved, none is made anew, so no value
    /// changes. What a layout has beyond them (rows that fill up a group, bits between fields) becomes 0.
    ///
    /// # Errors
    /// [`Error::Fields`], which names both layouts, if they do not hold the same fields.
    pub fn relayout(&self, to: &Arc<Format>) -> Result<Tensor, Error> {
        if same_layout(&self.format, to) {
            return Tensor::of_legal(to.clone(), &self.shape, self.bytes.clone());
        }
        let differ = |reason: String| Error::fields(&self.format, to, reason);
        let (FormatKind::Block(old), FormatKind::Block(new)) = (&self.format.kind, &to.kind) else {
            return Err(differ("they are no blocks of the same fields".into()));
        };
        let bytes = relayout(old, new, &self.shape, self.bytes()).map_err(|e| match e {
            CodecError::Layouts { reason } => differ(reason),
            e => e.into(),
        })?;
        Tensor::of_legal(to.clone(), &self.shape, Arc::new(bytes))
    }

    /// The tensor with its rows or columns in another order: position `i` of the axis is position `order[i]` of this one's.
    /// Codes are moved, none is made anew. Checkpoints whose columns were quantised in another order (act-order) are brought
    /// into that order, group after group, and their kernel looks the activations up with the same `order`.
    ///
    /// # Errors
    /// If `order` does not hold each position once, or if elements that share a scale would be torn apart.
    pub fn permute(&self, axis: Axis, order: &[u32]) -> Result<Tensor, Error> {
        let bytes = permute(&self.format, &self.shape, self.bytes(), axis, order)?;
        Tensor::of_legal(self.format.clone(), &self.shape, Arc::new(bytes))
    }

    /// The format.
    pub fn format(&self) -> &Arc<Format> {
        &self.format
    }

    /// The extents, outermost first.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// Its bytes, to share.
    pub(crate) fn shared(&self) -> SharedBytes {
        self.bytes.clone()
    }

    /// The id of the layout.
    pub fn layout_id(&self) -> LayoutId {
        layout_id(&self.format)
    }

    /// Every value, decoded by the reference codec.
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        Ok(decode_tensor(&self.format, &self.shape, self.bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, Tensor};
    use crate::Error;
    use lowbit_compiler::format::Format;
    use lowbit_compiler::spec::load;
    use std::sync::Arc;

    const TEXT: &str = "language 1;
        format plain = block i < 8 { d: f16; q[i]: uint(4); value = d * q[i]; }
        format woven = block r < 4, i < 8, bytes 24 {
            d[r]: f16 at 16 * r;
            q[r, i]: uint(4) at 64 + 8 * (2 * i + r / 2) + 4 * (r % 2);
            value = d[r] * q[r, i];
        }
        format swapped = block i < 8, bytes 6 { d: f16 at 0; q[i]: uint(4) at 44 - 4 * i; value = d * q[i]; }
        format signed = block i < 8 { d: f16; q[i]: int(4); value = d * q[i]; }
        format offset = block i < 8 { d: f16; q[i]: uint(4); value = d * (q[i] - 8); encode x { d = 1; q[i] = 0; } }
        format minifloat = float(4, 3);";

    fn format(name: &str) -> Arc<Format> {
        let module = load("test", TEXT, &|_| None).expect("the formats read");
        module.format(name).expect(name).clone()
    }

    fn tensor() -> Tensor {
        let values: Vec<f32> = (0..2 * 6 * 19).map(|i| (i % 16) as f32).collect();
        Tensor::quantize(format("plain"), &[2, 6, 19], &values).expect("a tensor")
    }

    #[test]
    fn columns_and_rows_take_another_order() {
        let text = "language 1; import \"std/gptq\"; format pair = block i < 2, bytes 1 { q[i]: uint(4); value = q[i]; encode x { q[i] = x[i]; } }";
        let module = load("test", text, &|_| None).expect("the formats read");
        let values: Vec<f32> = (0..2 * 13 * 7).map(|i| (i * 5 % 16) as f32).collect();
        let order: Vec<u32> = (0..13).map(|i| i * 5 % 13).collect();
        for (name, axis, shape) in [
            ("pair", Axis::Columns, [2, 7, 13]),
            ("pair", Axis::Rows, [2, 13, 7]),
            ("gptq4", Axis::Rows, [2, 13, 7]),
            ("f16", Axis::Columns, [2, 7, 13]),
        ] {
            let format = module.format(name).cloned();
            let format = format.or_else(|| lowbit_compiler::spec::builtin(name));
            let t = Tensor::quantize(format.expect(name), &shape, &values).expect(name);
            let before = t.to_f32().expect(name);
            let after = t.permute(axis, &order).and_then(|t| t.to_f32());
            for (at, value) in after.expect(name).iter().enumerate() {
                let (rows, columns) = (shape[1] as usize, shape[2] as usize);
                let (m, r, c) = (at / columns / rows, at / columns % rows, at % columns);
                let (r, c) = match axis {
                    Axis::Columns => (r, order[c] as usize),
                    Axis::Rows => (order[r] as usize, c),
                };
                assert_eq!(*value, before[(m * rows + r) * columns + c], "{name}");
            }
        }
    }

    #[test]
    fn orders_that_tear_scales_apart_or_are_none_are_refused() {
        let t = tensor();
        let reversed: Vec<u32> = (0..19).rev().collect();
        let refused =
            |axis, order: &[u32]| t.permute(axis, order).expect_err("no order").to_string();
        assert!(refused(Axis::Columns, &reversed).contains("share `d`"));
        assert!(refused(Axis::Rows, &[0, 1]).contains("2 positions for an axis of 6"));
        assert!(refused(Axis::Rows, &[0, 1, 2, 2, 4, 5]).contains("2 is given twice"));
        assert!(refused(Axis::Rows, &[0, 1, 2, 3, 4, 6]).contains("outside 0..6"));
        assert!(t.permute(Axis::Rows, &[5, 4, 3, 2, 1, 0]).is_ok());
    }

    #[test]
    fn another_layout_holds_the_same_values_and_leads_back() {
        let plain = tensor();
        for name in ["woven", "swapped"] {
            let moved = plain.relayout(&format(name)).expect(name);
            assert_ne!(moved.bytes(), plain.bytes(), "{name}");
            assert_eq!(
                moved.to_f32().expect("values"),
                plain.to_f32().expect("values")
            );
            let back = moved.relayout(plain.format()).expect("the way back");
            assert_eq!(back.bytes(), plain.bytes(), "{name}");
        }
    }

    #[test]
    fn other_fields_are_refused_with_both_layouts_named() {
        let plain = tensor();
        for name in ["signed", "offset", "minifloat"] {
            let to = format(name);
            let error = plain.relayout(&to).expect_err(name);
            let message = error.to_string();
            let Error::Fields {
                found,
                found_id,
                wanted,
                wanted_id,
                ..
            } = error
            else {
                panic!("{message}")
            };
            assert_eq!((found.as_str(), wanted.as_str()), ("plain", name));
            assert_ne!(found_id, wanted_id);
            assert!(message.contains("quantize"), "{message}");
            assert!(message.contains(&wanted_id.to_string()), "{message}");
        }
    }
}
