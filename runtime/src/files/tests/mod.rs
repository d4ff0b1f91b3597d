//! Tests of the readers and writers: files that are built here, files that lie, and files that were damaged.
#![forbid(unsafe_code)]

mod build;
mod damaged;
mod defined;
mod good;
mod hostile;
mod seeds;
mod write;

use super::{FileError, Kind, TensorFile};

/// Reads bytes and everything that can be asked of them.
fn read(kind: Kind, bytes: &[u8]) -> Result<TensorFile, FileError> {
    let file = TensorFile::from_bytes(kind, bytes.to_vec())?;
    let length = bytes.len() as u64;
    for tensor in file.tensors() {
        assert!(
            tensor.offset + tensor.bytes <= length,
            "{tensor:?} lies outside {length} bytes"
        );
        let view = file.tensor(&tensor.name).expect("a tensor that is listed");
        assert_eq!(view.bytes.len() as u64, tensor.bytes);
        if let Ok(loaded) = file.load(&tensor.name) {
            assert_eq!(loaded.bytes(), view.bytes);
            assert_eq!(loaded.shape(), tensor.shape);
        }
    }
    for (_, value) in file.metadata() {
        if let super::Value::List(list) = value {
            let items = file.items(list);
            assert!(items.is_err() || items.is_ok_and(|i| i.len() as u64 == list.len()));
        }
    }
    Ok(file)
}

/// The message of the error that reading gives.
fn refusal(kind: Kind, bytes: &[u8]) -> String {
    match read(kind, bytes) {
        Ok(file) => panic!("read as {:?}", file.tensors()),
        Err(e) => e.to_string(),
    }
}
