//! Any bytes are a file whose tensors lie within it, or are refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lowbit::files::{Kind, TensorFile, Value};

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = TensorFile::from_bytes(Kind::Npy, bytes.to_vec()) else {
        return;
    };
    for tensor in file.tensors() {
        let view = file.tensor(&tensor.name).expect("a tensor that is listed");
        assert_eq!(view.bytes.len() as u64, tensor.bytes);
        let _ = file.load(&tensor.name);
    }
    for (_, value) in file.metadata() {
        if let Value::List(list) = value {
            let _ = file.items(list);
        }
    }
});
