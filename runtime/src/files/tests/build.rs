//! Small files, byte by byte.

/// A GGUF file in the making.
#[derive(Default)]
pub(super) struct Gguf {
    pairs: Vec<u8>,
    pair_count: u64,
    tensors: Vec<u8>,
    tensor_count: u64,
}

pub(super) fn text(s: &str) -> Vec<u8> {
    [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat()
}

impl Gguf {
    /// A key with a value that is encoded already.
    pub(super) fn pair(mut self, key: &str, kind: u32, value: &[u8]) -> Gguf {
        self.pairs
            .extend([&text(key)[..], &kind.to_le_bytes(), value].concat());
        self.pair_count += 1;
        self
    }
    /// A tensor; extents in the file's order, innermost first.
    pub(super) fn tensor(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Gguf {
        self.tensors.extend(text(name));
        self.tensors.extend((dims.len() as u32).to_le_bytes());
        self.tensors
            .extend(dims.iter().flat_map(|d| d.to_le_bytes()));
        self.tensors.extend(kind.to_le_bytes());
        self.tensors.extend(offset.to_le_bytes());
        self.tensor_count += 1;
        self
    }
    /// The header, padded, and the data.
    pub(super) fn file(self, data: &[u8]) -> Vec<u8> {
        self.aligned(32, data)
    }
    pub(super) fn aligned(self, alignment: usize, data: &[u8]) -> Vec<u8> {
        let mut out = self.header(3);
        out.resize(out.len().next_multiple_of(alignment), 0);
        out.extend(data);
        out
    }
    /// Only the header.
    pub(super) fn header(self, version: u32) -> Vec<u8> {
        let counts = [
            self.tensor_count.to_le_bytes(),
            self.pair_count.to_le_bytes(),
        ]
        .concat();
        [
            b"GGUF",
            &version.to_le_bytes()[..],
            &counts,
            &self.pairs,
            &self.tensors,
        ]
        .concat()
    }
}

/// Two tensors that have formats, one that has none, and values of several kinds.
pub(super) fn small_gguf() -> Vec<u8> {
    let list = [
        &4u32.to_le_bytes()[..],
        &3u64.to_le_bytes(),
        &[7, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0],
    ]
    .concat();
    let texts = [
        &8u32.to_le_bytes()[..],
        &2u64.to_le_bytes(),
        &text("a"),
        &text("bc"),
    ]
    .concat();
    let nested = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes(), &list].concat();
    let data: Vec<u8> = (0..128u8).map(|b| b.wrapping_mul(37)).collect();
    Gguf::default()
        .pair("general.name", 8, &text("small"))
        .pair("general.alignment", 4, &32u32.to_le_bytes())
        .pair("numbers", 9, &list)
        .pair("texts", 9, &texts)
        .pair("nested", 9, &nested)
        .pair("flag", 7, &[1])
        .tensor("q", &[32, 2], 3, 0)
        .tensor("norm", &[4], 0, 64)
        .tensor("odd", &[8], 99, 96)
        .file(&data)
}

/// The formats of [`defined_gguf`].
pub(super) const DEFINED: &str = "language 1;\nformat t = block i < 4, bytes 2 \
    { s: uint(8) at 0; c[i]: uint(2) at 8 + 2 * i; value = s * c[i]; }\n";

/// A file that defines a format, and says which tensors are in it. The tensors: bytes (`a`), a type of which nothing is
/// known (`b`, whose bytes run to the end), and floats (`c`, that are said to be other floats).
pub(super) fn defining(formats: &str, tensors: &str) -> Vec<u8> {
    Gguf::default()
        .pair("lowbit.formats", 8, &text(formats))
        .pair("lowbit.tensors", 8, &text(tensors))
        .tensor("a", &[8], 24, 0)
        .tensor("c", &[2], 1, 32)
        .tensor("b", &[1], 99, 64)
        .file(&(0..96).collect::<Vec<u8>>())
}

pub(super) fn defined_gguf() -> Vec<u8> {
    let tensors = r#"{"a":{"format":"t","shape":[4,4]},"b":{"format":"t","shape":[5]},
        "c":{"format":"bf16","shape":[2,1]},"gone":{"format":"t","shape":[4]}}"#;
    defining(DEFINED, tensors)
}

/// A safetensors file.
pub(super) fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        data,
    ]
    .concat()
}

pub(super) fn small_safetensors() -> Vec<u8> {
    let header = r#"{"__metadata__":{"format":"pt"},
        "w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
        "code":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[24,28]},
        "packed":{"dtype":"I4","shape":[8],"data_offsets":[28,32]}}   "#;
    safetensors(header, &(0..32).collect::<Vec<u8>>())
}

/// An npy file, version 1.
pub(super) fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    [
        b"\x93NUMPY\x01\x00",
        &(header.len() as u16).to_le_bytes()[..],
        header.as_bytes(),
        data,
    ]
    .concat()
}

pub(super) fn small_npy() -> Vec<u8> {
    npy(
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }          \n",
        &(0..24).collect::<Vec<u8>>(),
    )
}
