//! What a file says beside its tensors, on the way from one file to another.

use super::super::bytes::Cursor;
use super::super::definitions::{FORMATS, TENSORS};
use super::super::gguf::ALIGNMENT_KEY;
use super::super::value::{self, TEXT, Value};
use super::super::{FileError, TensorFile};
use serde_json::Value as Json;

/// Keys and values for a file that is to be written.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    pairs: Vec<(String, Pair)>,
}

#[derive(Clone, Debug)]
enum Pair {
    Text(String),
    /// The number of a kind and a value of it, as GGUF writes them.
    Encoded(Vec<u8>),
}

impl Metadata {
    /// Nothing.
    pub fn new() -> Metadata {
        Metadata::default()
    }

    /// All that a file says, but for what describes the bytes of that very file: the definitions of its formats, and at
    /// which multiples its tensors start.
    pub fn of(file: &TensorFile) -> Metadata {
        let bytes = (*file.source).as_ref();
        let mut metadata = Metadata::new();
        for (at, (key, value)) in file.metadata().iter().enumerate() {
            if [FORMATS, TENSORS, ALIGNMENT_KEY].contains(&key.as_str()) {
                continue;
            }
            let encoded = file.contents.encoded.get(at);
            let encoded = encoded.and_then(|range| bytes.get(range.clone()));
            match (encoded, value) {
                (_, Value::Text(text)) => metadata.set(key, text),
                (Some(encoded), _) => {
                    let pair = Pair::Encoded(encoded.to_vec());
                    metadata.pairs.push((key.clone(), pair));
                }
                // Only GGUF has values that are no texts.
                (None, _) => {}
            }
        }
        metadata
    }

    /// Gives a key a text, in the place of what it had.
    pub fn set(&mut self, key: &str, text: impl Into<String>) {
        let pair = Pair::Text(text.into());
        match self.pairs.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = pair,
            None => self.pairs.push((key.to_owned(), pair)),
        }
    }

    /// With the definitions of a file, and no others.
    pub(super) fn with_definitions(&self, definitions: Vec<(&str, String)>) -> Metadata {
        let mut metadata = self.clone();
        let ours = |key: &str| [FORMATS, TENSORS, ALIGNMENT_KEY].contains(&key);
        metadata.pairs.retain(|(key, _)| !ours(key));
        for (key, text) in definitions {
            metadata.set(key, text);
        }
        metadata
    }

    /// Keys with values as GGUF writes them: the number of the kind, then the value.
    pub(super) fn encoded(&self) -> impl ExactSizeIterator<Item = (&str, Vec<u8>)> {
        self.pairs.iter().map(|(key, pair)| {
            let encoded = match pair {
                Pair::Encoded(bytes) => bytes.clone(),
                Pair::Text(text) => [
                    &TEXT.to_le_bytes()[..],
                    &(text.len() as u64).to_le_bytes(),
                    text.as_bytes(),
                ]
                .concat(),
            };
            (key.as_str(), encoded)
        })
    }

    /// Keys with texts: what is no text is one in JSON.
    pub(super) fn texts(&self) -> impl Iterator<Item = Result<(&str, String), FileError>> {
        self.pairs.iter().map(|(key, pair)| {
            let text = match pair {
                Pair::Text(text) => text.clone(),
                Pair::Encoded(bytes) => decoded(bytes)
                    .map_err(|e| FileError::Unwritable(format!("`{key}` as a text: {e}")))?,
            };
            Ok((key.as_str(), text))
        })
    }
}

/// A value of GGUF as a text in JSON.
fn decoded(bytes: &[u8]) -> Result<String, FileError> {
    let mut cursor = Cursor::new(bytes, 0);
    let kind = cursor.u32("the kind of a value")?;
    let value = value::value(&mut cursor, kind)?;
    Ok(json(bytes, &value)?.to_string())
}

fn json(bytes: &[u8], value: &Value) -> Result<Json, FileError> {
    Ok(match value {
        Value::UInt(n) => Json::from(*n),
        Value::Int(n) => Json::from(*n),
        // JSON has no infinities.
        Value::Float(n) if n.is_finite() => Json::from(*n),
        Value::Float(n) => Json::from(n.to_string()),
        Value::Bool(b) => Json::from(*b),
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(list) => {
            let items = value::items(bytes, list)?;
            let items: Result<Vec<Json>, FileError> =
                items.iter().map(|item| json(bytes, item)).collect();
            Json::Array(items?)
        }
    })
}
