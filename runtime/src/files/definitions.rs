//! Formats that a file defines itself, and the tensors that are in them.
//!
//! Two entries of the metadata say so: [`FORMATS`] is a text of the language, [`TENSORS`] a JSON object from the name of a
//! tensor to the name of its format and its shape. Both come from strangers. The text has the caps of every text of the
//! language, may import the standard library and nothing else, and holds no kernels. What a definition says of a tensor
//! counts for more than its type, but must fit its bytes. A tensor that is not listed is what its type says; a name that
//! the file does not have any more says nothing.
#![forbid(unsafe_code)]

use super::bytes::elements;
use super::{Contents, FileError, Kind, TensorInfo, Value, format_of};
use lowbit_compiler::format::Format;
use lowbit_compiler::spec::{builtin, load};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The key of the text that defines formats.
pub(super) const FORMATS: &str = "lowbit.formats";
/// The key of the list of tensors.
pub(super) const TENSORS: &str = "lowbit.tensors";
/// Longest text of either kind, in bytes.
pub(super) const MAX_TEXT: usize = 1 << 24;
/// Most axes of a tensor.
const MAX_AXES: usize = 32;

/// Formats by name.
pub(super) type Formats = BTreeMap<String, Arc<Format>>;

/// What the list says of a tensor.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Listed {
    /// The name of its format: one that the text defines or imports, or one that the language has built in.
    pub(super) format: String,
    /// Its extents, outermost first, whatever the file needs to store it as.
    pub(super) shape: Vec<u64>,
}

/// Gives the tensors of a file the formats and shapes that its metadata defines for them.
pub(super) fn apply(
    kind: Kind,
    contents: &mut Contents,
    by_name: &BTreeMap<String, usize>,
) -> Result<(), FileError> {
    let formats = match text(contents, FORMATS)? {
        Some(text) => parse(text)?,
        None => Formats::new(),
    };
    let Some(list) = text(contents, TENSORS)? else {
        return Ok(());
    };
    let List(list) = serde_json::from_str(list)
        .map_err(|e| FileError::Definitions(format!("`{TENSORS}`: {e}")))?;
    for (name, listed) in list {
        let tensor = by_name
            .get(&name)
            .and_then(|at| contents.tensors.get_mut(*at));
        let Some(tensor) = tensor else {
            continue;
        };
        if tensor.definition.is_some() {
            return Err(wrong(tensor, format!("is listed twice in `{TENSORS}`")));
        }
        let format = formats.get(&listed.format).cloned();
        let Some(format) = format.or_else(|| builtin(&listed.format)) else {
            let what = format!("its format `{}` is not defined in the file", listed.format);
            return Err(wrong(tensor, what));
        };
        define(kind, tensor, format, listed.shape)?;
    }
    Ok(())
}

/// A text of the metadata, if it is there.
fn text<'a>(contents: &'a Contents, key: &str) -> Result<Option<&'a str>, FileError> {
    let error = |what: String| Err(FileError::Definitions(format!("`{key}` {what}")));
    match contents.metadata.iter().find(|(k, _)| k == key) {
        None => Ok(None),
        Some((_, Value::Text(text))) if text.len() <= MAX_TEXT => Ok(Some(text)),
        Some((_, Value::Text(text))) => error(format!(
            "has {} bytes; at most {MAX_TEXT} are read",
            text.len()
        )),
        Some(_) => error("is not a text".into()),
    }
}

/// The formats of a text.
pub(super) fn parse(text: &str) -> Result<Formats, FileError> {
    let module = load(FORMATS, text, &|_| None)
        .map_err(|diagnostics| FileError::Definitions(diagnostics.to_string()))?;
    if let Some(kernel) = module.kernels.first() {
        let what = format!(
            "only formats may stand there, and `{}` is a kernel",
            kernel.name
        );
        return Err(FileError::Definitions(what));
    }
    let named = |f: Arc<Format>| (f.name.clone(), f);
    Ok(module.formats.into_iter().map(named).collect())
}

/// Makes a tensor one of a format and a shape, if its bytes can be that.
fn define(
    kind: Kind,
    tensor: &mut TensorInfo,
    format: Arc<Format>,
    shape: Vec<u64>,
) -> Result<(), FileError> {
    if shape.len() > MAX_AXES || elements(&shape).is_none() {
        let what = format!("cannot have the shape that `{TENSORS}` gives it");
        return Err(wrong(tensor, what));
    }
    let wanted = format.tensor_bytes(&shape);
    // A type of unknown size seems to run to the next tensor; here is what says how long it really is.
    let padded = kind == Kind::Gguf && format_of(&tensor.dtype).is_err();
    match wanted {
        Some(wanted) if wanted == tensor.bytes || (padded && wanted <= tensor.bytes) => {
            tensor.bytes = wanted;
            tensor.shape = shape;
            tensor.definition = Some(format);
            Ok(())
        }
        wanted => {
            let wanted = wanted.map_or("too many".to_owned(), |n| n.to_string());
            let what = format!(
                "its definition `{}` takes {wanted} bytes for shape {shape:?}, and it has {} (type {})",
                format.name, tensor.bytes, tensor.dtype
            );
            Err(wrong(tensor, what))
        }
    }
}

fn wrong(tensor: &TensorInfo, what: String) -> FileError {
    FileError::Tensor {
        name: tensor.name.clone(),
        what,
    }
}

/// The list in its order, with whatever it repeats.
struct List(Vec<(String, Listed)>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List, D::Error> {
        deserializer.deserialize_map(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an entry for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<List, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = map.next_entry()? {
            list.push(entry);
        }
        Ok(List(list))
    }
}
