//! Codes without values in compiled kernels, and as bytes of tensors.

use lowbit::check::{Random, compare_on};
use lowbit::compiler::format::codec::CodecError;
use lowbit::compiler::format::{Format, FormatKind};
use lowbit::compiler::spec::load;
use lowbit::{Decoder, Encoder, Engine, Error, Options, Searcher, Tensor};
use std::sync::Arc;

fn format(text: &str) -> Arc<Format> {
    let module = load("test", &format!("language 1;\n{text}"), &|_| None);
    let module = module.unwrap_or_else(|e| panic!("{e}"));
    module.formats.last().expect("a format").clone()
}

/// Rows of random codes, all scales 1.5.
fn any_codes(format: &Arc<Format>, shape: &[u64]) -> Vec<u8> {
    let mut random = Random::new(7);
    let count = format.tensor_bytes(shape).expect("a size");
    let mut bytes: Vec<u8> = (0..count).map(|_| random.number() as u8).collect();
    let FormatKind::Block(block) = &format.kind else {
        return bytes;
    };
    for scale in block.fields.values().filter(|f| f.name == "d") {
        for block in bytes.chunks_mut(block.bytes as usize) {
            (0..scale.slots()).for_each(|s| scale.write(block, s, 0x3e00));
        }
    }
    bytes
}

#[test]
fn kernels_read_illegal_codes_as_the_interpreter_does() {
    let engine = Engine::host().expect("an engine");
    for element in [
        "q[i]: codebook [-1, 0, 1] else 2.5",
        "q[i]: codebook [-1, 0, 1] else 2",
        "q[i]: codebook [-1, 0, 1] else nan",
        "q[i]: codebook [0, 1, _, -1] else -3",
        "q[i]: codebook [1, _, 2, 4, 8, 100] else 1000",
        "q[i]: codebook c < 200: c - 100 else 0.25",
        "q[i / 5, i % 5]: digit(3) packed 5 per 8 else -7",
        "q[i / 2, i % 2]: codebook j < 2: [1, 2, _, _, 3, 4] else 2.5",
        "q[i / 2, i % 2]: codebook c < 9, j < 2: c / pow(3, j) % 3 else nan",
    ] {
        for (role, m) in [("weight", 1), ("stored", 1), ("weight", 5)] {
            let text = format!(
                "language 1;
                format f = block i < 40 {{ d: f16; {element}; value = d * q[i]; }}
                kernel linear({role} w: f[N, K], input x: f32[M, K]) -> output y: f32[M, N] {{
                    y[m, n] = sum(k) w[n, k] * x[m, k];
                }}
                kernel decode(stored w: f[N, K]) -> output y: f32[N, K] {{ y[n, k] = w[n, k]; }}"
            );
            let module = engine.load(&text).expect(element);
            let format = module.format("f").expect("the format").clone();
            let shape = [7, 90];
            let w = Tensor::from_bytes(format.clone(), &shape, any_codes(&format, &shape))
                .expect("bytes");
            let mut random = Random::new(3);
            let x: Vec<f32> = (0..m * 90).map(|_| random.real()).collect();
            let x = Tensor::from_f32(&[m, 90], &x).expect("activations");
            for (name, free, inputs) in [
                (
                    "linear",
                    vec![7, 90, m],
                    vec![Some(w.clone()), Some(x), None],
                ),
                ("decode", vec![7, 90], vec![Some(w.clone()), None]),
            ] {
                let options = Options {
                    kernel: Some(name.into()),
                    ..Options::default()
                };
                let kernel = engine.compile_module(&module, &[], &options);
                let kernel = kernel.expect("it compiles");
                let found = compare_on(&kernel, &free, &inputs).expect("it runs");
                assert_eq!(
                    found.differences,
                    Vec::<String>::new(),
                    "{element}: {name}, {role}"
                );
                assert!(found.compared > 0);
            }
        }
    }
}

const TRITS: &str = "format trits = block i < 8 {
    d: f16;
    q[i]: codebook [-1, 0, 1] else refuse;
    value = d * q[i];
}";

#[test]
fn bytes_with_a_refused_code_do_not_become_a_tensor() {
    let format = format(TRITS);
    let shape = [3, 12];
    let mut bytes = vec![0x55; 24];
    assert!(Tensor::from_bytes(format.clone(), &shape, bytes.clone()).is_ok());
    // Row 1, element 9, in the row's second block.
    bytes[3 * 4 + 2] |= 0b1100;
    let shared = Tensor::from_shared(format.clone(), &shape, Arc::new(bytes.clone()));
    for tensor in [Tensor::from_bytes(format.clone(), &shape, bytes), shared] {
        let Err(Error::Codec(CodecError::Refused {
            format,
            field,
            code,
            row,
            element,
        })) = tensor
        else {
            panic!("{tensor:?}")
        };
        let at = (format.as_str(), field.as_deref(), code, row, element);
        assert_eq!(at, ("trits", Some("q"), 3, 1, 9));
    }
}

#[test]
fn formats_that_refuse_codes_are_quantised_laid_out_and_read_back() {
    let engine = Engine::host().expect("an engine");
    let plain = format(TRITS);
    let woven = format(
        "format woven = block r < 2, i < 8 {
            d[r]: f16;
            q[r, i]: codebook [-1, 0, 1] else refuse;
            value = d[r] * q[r, i];
        }",
    );
    let shape = [5, 21];
    let mut random = Random::new(5);
    let x: Vec<f32> = (0..105).map(|_| random.real()).collect();
    let clause = Tensor::quantize(plain.clone(), &shape, &x).expect("the clause");
    let kernel = Encoder::new(&engine, &plain).expect("a kernel");
    let kernel = kernel.quantize(&shape, &x, 1).expect("it encodes");
    assert_eq!(kernel.bytes(), clause.bytes());
    let search = Searcher::new(&plain).expect("a search");
    let search = search.quantize(&shape, &x, None, 1, &|_| ());
    let search = search.expect("it searches");
    for tensor in [clause, search] {
        let again = Tensor::from_bytes(plain.clone(), &shape, tensor.bytes().to_vec());
        let values = again.expect("legal codes").to_f32().expect("values");
        let decoder = Decoder::new(&engine, &plain).expect("a kernel");
        assert_eq!(decoder.decode(&tensor, 2).expect("values"), values);
        let moved = tensor.relayout(&woven).expect("the same fields");
        let again = Tensor::from_bytes(woven.clone(), &shape, moved.bytes().to_vec());
        assert_eq!(
            again.expect("legal codes").to_f32().expect("values"),
            values
        );
    }
}

#[test]
fn a_layout_that_refuses_less_is_another() {
    let engine = Engine::host().expect("an engine");
    let text = format!(
        "language 1; {TRITS}
        kernel sums(weight w: trits[N, K]) -> output y: f32[N] {{ y[n] = sum(k) w[n, k]; }}"
    );
    let kernel = engine.compile(&text, &[]).expect("it compiles");
    let lax = format(&TRITS.replace(" else refuse", ""));
    let tensor = Tensor::from_bytes(lax, &[2, 8], vec![0xff; 8]).expect("any codes");
    assert!(matches!(
        kernel.convert("w", &tensor),
        Err(Error::Layout { .. })
    ));
}
