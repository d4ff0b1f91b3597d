//! Tensors: a format, a shape and bytes. Bytes may be owned or lie in a mapped file; they are shared, never copied.

use crate::Error;
use lowbit_compiler::format::codec::{decode_tensor, encode_tensor};
use lowbit_compiler::format::element::F32;
use lowbit_compiler::format::layout::{LayoutId, layout_id};
use lowbit_compiler::format::{Element, Format, FormatKind};
use std::fmt;
use std::sync::Arc;

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
    /// Bytes that are in a format already. They must be exactly as many as the format takes for the shape.
    pub fn from_bytes(format: Arc<Format>, shape: &[u64], bytes: Vec<u8>) -> Result<Tensor, Error> {
        Tensor::from_shared(format, shape, Arc::new(bytes))
    }

    /// Like [`Tensor::from_bytes`], over bytes that are shared (a mapped file).
    pub fn from_shared(
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
        Tensor::from_bytes(format, shape, bytes)
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

    /// The id of the layout.
    pub fn layout_id(&self) -> LayoutId {
        layout_id(&self.format)
    }

    /// Every value, decoded by the reference codec.
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        Ok(decode_tensor(&self.format, &self.shape, self.bytes())?)
    }
}
