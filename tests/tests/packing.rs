//! Packing: codes moved into other layouts by compiled kernels are the bytes that the reference codec moves, for every format
//! that ships, under layouts with lanes along rows and columns, joint codes and bit planes, on shapes that no block divides.

use lowbit::check::{Random, compare, random_tensor};
use lowbit::compiler::format::layout::move_codes;
use lowbit::compiler::format::text::definition;
use lowbit::compiler::format::{BlockFormat, Format, FormatKind};
use lowbit::compiler::schedule::layout::{Cut, interleave};
use lowbit::{Engine, Error, Options, Packer, Scratch, Tensor};
use lowbit_tests::{library, on_two_threads};
use std::sync::Arc;

/// Rows of a layout, the groups of lanes that they make, lanes along columns, neighbours in a joint code, and copies.
type Layout = (u32, u32, u64, u64, u64);

const LAYOUTS: [Layout; 11] = [
    (1, 1, 16, 1, 2),
    (4, 1, 4, 1, 2),
    (16, 1, 1, 1, 2),
    (16, 1, 1, 4, 2),
    (16, 1, 1, 2, 1),
    (4, 1, 4, 8, 1),
    (2, 1, 8, 1, 1),
    (16, 1, 1, 3, 8),
    (4, 1, 2, 5, 2),
    (16, 4, 4, 1, 2),
    (8, 2, 4, 1, 2),
];

/// Formats with what rows and tensors have once, rows that share blocks, blocks of few bytes, codes in parts, and few values that
/// joint codes hold (among them one of two codes).
const OTHERS: &str = "language 1;
    format woven = block r < 4, i < 20 { d[r]: f16; q[r, i]: uint(3); value = d[r] * (q[r, i] - 3); }
    format planes = block i < 24, bytes 11 {
        d: uint(16) at 0;
        low[i]: uint(2) at 16 + 2 * ((i * 7) % 24);
        high[i]: uint(1) at 64 + i;
        value = d * (low[i] + 4 * high[i]);
    }
    format tiny = block i < 3 { q[i]: uint(5); value = q[i]; }
    format signs = block i < 40 { d: f16; q[i]: codebook [1, -1]; value = d * q[i]; }
    format trits = block i < 48 { d: f16; q[i]: codebook [1, 0, -1]; value = d * q[i]; }
    format strict_trits = block i < 24 { q[i]: codebook [-1, 0, 1] else refuse; value = q[i]; }
    format again = block i < 24 { q[i]: codebook [0, 1, -1, 1]; value = q[i]; }
    format fives = block i < 32 { q[i]: codebook [-4, -1, 0, 1, 4]; value = q[i]; }
    format plain_trits = codebook [-1, 0, 1];
    format plain_signs = codebook [-1, 1];
    format row_scale = block i < 16 { row d: f32; q[i]: int(4); value = d * q[i]; }
    format tensor_scale = block i < 16 { tensor d: f32 after; s: f16; q[i]: int(6); value = d * s * q[i]; }";

fn under(block: &BlockFormat, layout: Layout) -> Arc<Format> {
    let (rows, groups, lanes, joint, copies) = layout;
    let run = lanes * joint;
    let whole = u64::from(block.len) / run / copies * run * copies;
    let cut = Cut {
        lanes,
        joint,
        copies,
        span: whole.max(run * copies),
        beside: 1,
    };
    Arc::new(Format {
        name: "packed".into(),
        kind: FormatKind::Block(interleave(block, rows, groups, cut)),
    })
}

/// Tensors of a format, of shapes that blocks and groups of rows divide and do not.
fn tensors(packer: &Packer, len: u64) -> Vec<Tensor> {
    let spec = packer.kernel().spec();
    let id = spec.tensors.keys().next().expect("a source");
    let shapes = [
        [1, 1, 1],
        [1, 16, 2 * len],
        [1, 5, len + 7],
        [2, 19, 2 * len + 1],
        [3, 0, len],
        [2, 3, 0],
    ];
    let random = &mut Random::new(5);
    let tensor = |shape: &[u64; 3]| random_tensor(spec, id, shape, random).expect("a tensor");
    shapes.iter().map(tensor).collect()
}

/// What went wrong on the way from a format to a layout.
fn failures(engine: &Engine, from: &Arc<Format>, to: &Arc<Format>, len: u64) -> Vec<String> {
    let way = format!("{} to {}", from.name, to.name);
    let packer = match Packer::new(engine, from, to) {
        Ok(packer) => packer,
        Err(e) => return vec![format!("{way}: {e}")],
    };
    let mut failures = Vec::new();
    for tensor in tensors(&packer, len) {
        let shape = tensor.shape();
        let wanted = move_codes(from, to, shape, tensor.bytes()).expect("the reference");
        let found = packer.pack(&tensor).expect("a call");
        // Every byte is written, also those between codes and of rows that fill up a group.
        let mut bytes = vec![0xff; wanted.len()];
        let scratch = &mut Scratch::default();
        let called = packer
            .kernel()
            .call_into(&[("a", &tensor)], &mut [&mut bytes], scratch);
        called.expect("a call");
        if found.bytes() != wanted || bytes != wanted {
            failures.push(format!("{way}: {shape:?}"));
        }
        let values = |tensor: &Tensor| -> Vec<u32> {
            let values = tensor.to_f32().expect("values").into_iter();
            values.map(f32::to_bits).collect()
        };
        if values(&found) != values(&tensor) {
            failures.push(format!("{way}: {shape:?}: other values"));
        }
    }
    failures
}

/// There and back, under all layouts.
fn both_ways(engine: &Engine, format: &Arc<Format>) -> Vec<Vec<String>> {
    let (block, len) = match &format.kind {
        FormatKind::Block(block) => (block.clone(), u64::from(block.len)),
        FormatKind::Plain(element) => (BlockFormat::of_plain(element, 64), 64),
    };
    let mut ways = Vec::new();
    for layout in LAYOUTS {
        let to = under(&block, layout);
        // Joint codes are for codes of few bits: of others they would lie over each other.
        if engine
            .load(&format!("language 1;\n{}", definition(&to)))
            .is_err()
        {
            continue;
        }
        ways.push(failures(engine, format, &to, len));
        if matches!(format.kind, FormatKind::Block(_)) {
            ways.push(failures(engine, &to, format, len));
        }
    }
    ways
}

#[test]
fn every_format_that_ships_is_packed_as_the_reference_packs_it() {
    let engine = Engine::host().expect("an engine");
    let formats = library().into_iter().map(|(_, format)| format);
    let own = engine.load(OTHERS).expect("the formats").formats;
    let formats: Vec<Arc<Format>> = formats.chain(own).collect();
    assert!(formats.len() >= 60, "{}", formats.len());
    let ways = on_two_threads(formats, |format| both_ways(&engine, &format));
    assert!(ways.len() >= 700, "{}", ways.len());
    let failed = ways.concat();
    assert!(
        failed.is_empty(),
        "{} failed: {}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn few_values_go_to_joint_codes_and_back() {
    let engine = Engine::host().expect("an engine");
    let own = engine.load(OTHERS).expect("the formats").formats;
    let format = |name: &str| own.iter().find(|f| f.name == name).expect(name);
    let cases = [
        ("signs", (4, 1, 2, 5, 2), 5),
        ("trits", (16, 1, 1, 3, 8), 3),
        ("strict_trits", (16, 1, 1, 3, 8), 3),
        ("again", (16, 1, 1, 3, 8), 3),
        ("fives", (16, 1, 1, 2, 1), 2),
        ("plain_trits", (16, 1, 1, 3, 8), 3),
        ("plain_signs", (4, 1, 2, 5, 2), 5),
    ];
    for (name, layout, neighbours) in cases {
        let block = match &format(name).kind {
            FormatKind::Block(block) => block.clone(),
            FormatKind::Plain(element) => BlockFormat::of_plain(element, 240),
        };
        let packed = under(&block, layout);
        let FormatKind::Block(joint) = &packed.kind else {
            panic!("no blocks");
        };
        let codes = joint.fields.values().last().expect("codes");
        assert_eq!(codes.element.width(), neighbours, "{name}");
        assert_eq!(codes.element.bits(), 5, "{name}");
        let failed = failures(&engine, format(name), &packed, block.len.into());
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        // What comes back are the lowest codes of the same values, also to values in no blocks.
        let packer = Packer::new(&engine, format(name), &packed).expect("a packer");
        for tensor in tensors(&packer, block.len.into()) {
            let there = packer.pack(&tensor).expect("packed");
            let back = move_codes(&packed, format(name), tensor.shape(), there.bytes());
            let back = Tensor::from_bytes(format(name).clone(), tensor.shape(), back.expect(name));
            let values = |tensor: &Tensor| tensor.to_f32().expect("values");
            assert_eq!(values(&back.expect(name)), values(&tensor), "{name}");
        }
    }
}

#[test]
fn groups_of_rows_are_regrouped_where_one_divides_the_other() {
    let engine = Engine::host().expect("an engine");
    let module = engine.load(OTHERS).expect("the formats");
    let woven = module.formats.iter().find(|f| f.name == "woven");
    let FormatKind::Block(block) = &woven.expect("the format").kind else {
        panic!("no blocks");
    };
    let of = |rows: u32| under(block, (rows, 1, 4, 1, 1));
    for (a, b) in [(2, 6), (6, 3), (60, 5), (16, 2), (1, 64)] {
        let failed = failures(&engine, &of(a), &of(b), 20);
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }
    let error = Packer::new(&engine, &of(13), &of(16))
        .err()
        .expect("an error");
    assert!(matches!(error, Error::Compile(_)), "{error}");
}

#[test]
fn kernels_pack_weights_of_any_size_alike() {
    let text = "language 1; import \"std/ggml\"; import \"std/ints\";
        kernel linear(weight w: q4_0[N, K], input x: q8_32[M, K]) -> output y: f32[M, N] {
            y[m, n] = sum(k) w[n, k] * x[m, k];
        }";
    // Packing is for this machine, whatever the kernel is for.
    for target in ["x86-64-v3", "aarch64-dotprod"] {
        let target = lowbit::compiler::target::Target::named(target).expect("a target");
        let engine = Engine::new(target).expect("an engine");
        let kernel = engine.compile(text, &[]).expect("a kernel");
        let declared = kernel
            .spec()
            .tensors
            .values()
            .next()
            .expect("w")
            .format
            .clone();
        let packed = kernel.layout("w").expect("a layout");
        for shape in [[3, 96], [301, 480]] {
            let count = shape.iter().product::<u64>();
            let values: Vec<f32> = (0..count)
                .map(|i| ((i * 37 % 101) as f32 - 50.0) / 9.0)
                .collect();
            let tensor = kernel.pack_shaped("w", &shape, &values).expect("packed");
            let plain = Tensor::quantize(declared.clone(), &shape, &values).expect("quantised");
            let wanted = move_codes(&declared, &packed, &shape, plain.bytes()).expect("moved");
            assert!(tensor.bytes() == wanted, "{shape:?}");
            let back = kernel.unpack("w", &tensor).expect("unpacked");
            assert!(back.bytes() == plain.bytes(), "{shape:?}");
        }
    }
}

/// Kernels that move codes among other things: what is quantised in them, weights that they also multiply with, several results.
const MOVES: [&str; 3] = [
    "format a = block i < 32 { d: f16; q[i]: int(4); value = d * q[i];
         encode x { d = max(i) abs(x[i]) / 7; q[i] = x[i] / d; } }
     format b = block i < 32, bytes 18 { d: f16 at 128; q[i]: int(4) at 8 * (i % 16) + 4 * (i / 16); value = d * q[i]; }
     kernel k(input x: f32[N, K]) -> output y: b[N, K] { let q[n, k] = quantize x[n, k] as a; y[n, k] = q[n, k]; }",
    "format a = block i < 32 { d: f16; q[i]: uint(2); value = d * q[i]; }
     format b = block r < 2, i < 32 { d[r]: f16; q[r, i]: uint(2); value = d[r] * q[r, i]; }
     kernel k(weight w: a[N, K], input x: f32[M, K]) -> (output y: f32[M, N], output v: b[N, K]) {
         y[m, n] = sum(k) w[n, k] * x[m, k];
         v[n, k] = w[n, k];
     }",
    "format v = block i < 8 { q[i]: f16; value = q[i]; }
     kernel k(stored w: f16[E, N, K]) -> output y: v[E, N, K] { y[e, n, k] = w[e, n, k]; }",
];

#[test]
fn codes_are_moved_among_other_statements() {
    let engine = Engine::host().expect("an engine");
    for text in MOVES {
        let kernel = engine
            .compile(&format!("language 1;\n{text}"), &[])
            .expect(text);
        for free in [[3, 70, 5], [1, 1, 1], [4, 64, 2], [2, 33, 41]] {
            let free = &free[..kernel.spec().dims.len()];
            let result = compare(&kernel, free, &mut Random::new(3)).expect(text);
            assert!(
                result.differences.is_empty(),
                "{text}: {:?}",
                result.differences
            );
        }
    }
}

#[test]
fn other_fields_must_be_quantised() {
    let text = "language 1;
        format a = block i < 32 { d: f16; q[i]: uint(2); value = d * q[i]; }
        format b = block i < 32 { d: f16; q[i]: uint(2); value = d * (q[i] - 1); }
        kernel k(stored w: a[N, K]) -> output y: b[N, K] { y[n, k] = w[n, k]; }";
    let engine = Engine::host().expect("an engine");
    let error = engine.compile_with(text, &[], &Options::default()).err();
    let message = error.expect("an error").to_string();
    assert!(message.contains("must be quantised"), "{message}");
}

/// Every code of two bytes, NaNs with what they carry among them.
#[test]
fn plain_values_keep_their_codes_in_blocks() {
    let engine = Engine::host().expect("an engine");
    let text = "language 1; format v = block i < 64 { q[i]: f16; value = q[i]; }
        kernel k(stored w: f16[N, K]) -> output y: v[N, K] { y[n, k] = w[n, k]; }";
    let kernel = engine.compile(text, &[]).expect("a kernel");
    let tensors: Vec<_> = kernel.spec().tensors.values().collect();
    let (plain, blocks) = (&tensors[0].format, &tensors[1].format);
    let codes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    let w = Tensor::from_bytes(plain.clone(), &[256, 256], codes.clone()).expect("a tensor");
    let packed = Packer::new(&engine, plain, blocks).expect("a packer");
    let packed = packed.pack(&w).expect("packed");
    assert!(packed.bytes() == codes);
    assert!(kernel.call(&[("w", &w)]).expect("a call").bytes() == codes);
    let error = Packer::new(&engine, blocks, plain).err().expect("an error");
    assert!(matches!(error, Error::Fields { .. }), "{error}");
}

/// A layout that was asked for has blocks of another length than the result.
#[test]
fn blocks_of_another_length_are_refused() {
    let text = "language 1;
        format b8 = block i < 8 { q[i]: int(8); value = q[i]; }
        format b16 = block i < 16 { q[i]: int(8); value = q[i]; }
        kernel k(weight w: i8[N, K]) -> output v: b8[N, K] { v[n, k] = w[n, k]; }";
    let engine = Engine::host().expect("an engine");
    let module = engine.load(text).expect("a module");
    for (name, works) in [("b8", true), ("b16", false)] {
        let options = Options {
            layouts: vec![("w".to_owned(), module.format(name).expect(name).clone())],
            ..Options::default()
        };
        let kernel = engine.compile_module(&module, &[], &options);
        match kernel {
            Ok(kernel) => {
                let result = compare(&kernel, &[3, 21], &mut Random::new(3)).expect(name);
                assert!(works && result.differences.is_empty(), "{name}");
            }
            Err(error) => assert!(!works && matches!(error, Error::Compile(_)), "{error}"),
        }
    }
}

/// Blocks that are nearly all padding, and tensors of rows without columns: neither takes long.
#[test]
fn what_holds_nothing_takes_no_time() {
    let text = |rows: &str, r: &str| {
        format!(
            "language 1;
            format a = block {rows}i < 32 {{ d{r}: f16; q[{i}]: uint(2); value = d{r} * q[{i}]; }}
            format b = block i < 32, bytes 65536 {{ d: f16 at 0; q[i]: uint(2) at 16 + 2 * i; value = d * q[i]; }}
            kernel k(stored w: a[N, K]) -> output v: b[N, K] {{ v[n, k] = w[n, k]; }}",
            i = if rows.is_empty() { "i" } else { "r, i" }
        )
    };
    let engine = Engine::host().expect("an engine");
    for (rows, r) in [("", ""), ("r < 64, ", "[r]")] {
        let kernel = engine.compile(&text(rows, r), &[]).expect("a kernel");
        assert!(kernel.code_size().expect("code") < 1 << 14);
        let source = kernel.spec().tensors.values().next().expect("a tensor");
        let empty = Tensor::from_bytes(source.format.clone(), &[1 << 40, 0], Vec::new());
        let result = kernel.call(&[("w", &empty.expect("a tensor"))]);
        assert_eq!(result.expect("a call").shape(), [1 << 40, 0]);
    }
}
