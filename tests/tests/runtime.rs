//! Kernels as values: shared between threads, run in parts, refused arguments, layouts that are checked.

use lowbit::compiler::format::text::definition;
use lowbit::compiler::spec::load;
use lowbit::{Engine, Error, Kernel, Options, Scratch, Tensor};

const TEXT: &str = "language 1;
    format i4 = block i < 32 { d: f16; q[i]: uint(4); value = d * (q[i] - 8); }
    kernel linear(weight w: i4[N, K], input x: f32[M, K], input b: f32[N]) -> output y: f32[M, N] {
        y[m, n] = sum(k) w[n, k] * x[m, k] + b[n];
    }";

fn numbers(count: u64, seed: u64) -> Vec<f32> {
    let mut random = lowbit::check::Random::new(seed);
    (0..count).map(|_| random.real()).collect()
}

struct Call {
    kernel: Kernel,
    w: Tensor,
    x: Tensor,
    b: Tensor,
}

fn call(n: u64, k: u64, m: u64) -> Call {
    let engine = Engine::host().expect("an engine");
    let kernel = engine
        .compile(TEXT, &[("N", n), ("K", k)])
        .expect("it compiles");
    let w = kernel.pack("w", &numbers(n * k, 1)).expect("weights");
    let x = Tensor::from_f32(&[m, k], &numbers(m * k, 2)).expect("activations");
    let b = Tensor::from_f32(&[n], &numbers(n, 3)).expect("a bias");
    Call { kernel, w, x, b }
}

impl Call {
    fn args(&self) -> [(&str, &Tensor); 3] {
        [("w", &self.w), ("x", &self.x), ("b", &self.b)]
    }
}

#[test]
fn parts_of_the_rows_make_the_whole() {
    for (n, k, m) in [(37, 64, 3), (64, 96, 1), (3, 32, 2), (128, 33, 9)] {
        let call = call(n, k, m);
        let whole = call.kernel.call(&call.args()).expect("a call");
        for parts in [1, 2, 3, 8] {
            let mut bytes = vec![0xff; whole.bytes().len()];
            let prepared = call.kernel.prepare(&call.args()).expect("it is checked");
            let mut outputs = [bytes.as_mut_slice()];
            let rows = prepared.split(&mut outputs, parts).expect("it divides");
            std::thread::scope(|scope| {
                for part in rows {
                    scope.spawn(move || part.run(&mut Scratch::default()).expect("it runs"));
                }
            });
            assert_eq!(
                bytes,
                whole.bytes(),
                "{n} rows of {k}, batch {m}, {parts} parts"
            );
        }
    }
}

#[test]
fn only_the_last_part_does_what_whole_tiles_leave_over() {
    let text = "language 1; import \"std/ints\";
        kernel decode(stored w: int4_32[N, K]) -> output y: f32[N, K] { y[n, k] = w[n, k]; }";
    let kernel = Engine::host()
        .expect("an engine")
        .compile(text, &[])
        .expect("it compiles");
    let format = kernel
        .spec()
        .tensors
        .values()
        .next()
        .expect("w")
        .format
        .clone();
    let w = Tensor::quantize(format, &[8, 40], &numbers(8 * 40, 4)).expect("weights");
    let args = [("w", &w)];
    let mut bytes = vec![0xff; 4 * 8 * 40];
    let prepared = kernel.prepare(&args).expect("it is checked");
    let mut outputs = [bytes.as_mut_slice()];
    let mut parts = prepared.split(&mut outputs, 2).expect("it divides");
    parts.truncate(1);
    for part in parts {
        part.run(&mut Scratch::default()).expect("it runs");
    }
    let wanted = kernel.call(&args).expect("a call");
    let (row, whole) = (&bytes[..4 * 40], &wanted.bytes()[..4 * 40]);
    assert_eq!(row[..4 * 32], whole[..4 * 32], "a block of the first row");
    assert!(
        row[4 * 32..].iter().all(|b| *b == 0xff),
        "past its last whole block"
    );
}

#[test]
fn a_kernel_is_shared_between_threads_and_outlives_its_engine() {
    let call = call(64, 64, 2);
    let wanted = call.kernel.call(&call.args()).expect("a call");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let kernel = call.kernel.clone();
            let (call, wanted) = (&call, &wanted);
            scope.spawn(move || {
                for _ in 0..50 {
                    let found = kernel.call(&call.args()).expect("a call");
                    assert_eq!(found.bytes(), wanted.bytes());
                }
            });
        }
    });
}

#[test]
fn call_into_writes_the_same_and_reuses_its_scratch() {
    let call = call(16, 64, 3);
    let wanted = call.kernel.call(&call.args()).expect("a call");
    let mut bytes = vec![0; wanted.bytes().len()];
    let mut scratch = Scratch::default();
    for _ in 0..3 {
        bytes.fill(0xee);
        call.kernel
            .call_into(&call.args(), &mut [&mut bytes], &mut scratch)
            .expect("a call");
        assert_eq!(bytes, wanted.bytes());
    }
    let short = call
        .kernel
        .call_into(&call.args(), &mut [&mut bytes[1..]], &mut scratch);
    assert!(matches!(short, Err(Error::Length { .. })), "{short:?}");
}

#[test]
fn wrong_arguments_are_refused_before_code_runs() {
    let call = call(16, 64, 2);
    let kernel = &call.kernel;
    let text = |args: &[(&str, &Tensor)]| match kernel.call(args) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    assert!(text(&[("w", &call.w), ("x", &call.x)]).contains("`b`: is missing"));
    assert!(text(&[("v", &call.w)]).contains("the kernel has w, x, b, y"));
    let twice = [
        ("w", &call.w),
        ("w", &call.w),
        ("x", &call.x),
        ("b", &call.b),
    ];
    assert!(text(&twice).contains("given twice"));
    assert!(text(&[("y", &call.b)]).contains("is an output"));
    let narrow = Tensor::from_f32(&[2, 63], &[0.0; 126]).expect("a tensor");
    let shape = text(&[("w", &call.w), ("x", &narrow), ("b", &call.b)]);
    assert!(
        shape.contains("axis 1 is 63, not 64 (dimension `K`)"),
        "{shape}"
    );
    let flat = Tensor::from_f32(&[128], &[0.0; 128]).expect("a tensor");
    assert!(text(&[("w", &call.w), ("x", &flat), ("b", &call.b)]).contains("1 axes, not 2"));
}

#[test]
fn scales_apart_are_packed_and_their_groups_are_counted() {
    let text = "language 1;
        format pair = block i < 2, bytes 1 { q[i]: uint(4); value = q[i]; encode x { q[i] = x[i] + 8; } }
        kernel k(weight q: pair[N, K], weight s: f16[N, K / 32], input x: f32[M, K]) -> output y: f32[M, N] {
            y[m, n] = sum(k) (q[n, k] - 8) * s[n, k / 32] * x[m, k];
        }";
    let engine = Engine::host().expect("an engine");
    let (n, k) = (21, 75);
    for dims in [&[("N", n), ("K", k)][..], &[]] {
        let kernel = engine.compile(text, dims).expect("it compiles");
        let codes: Vec<f32> = (0..n * k).map(|i| (i % 16) as f32 - 8.0).collect();
        let q = kernel.pack_shaped("q", &[n, k], &codes).expect("packed");
        let scales: Vec<f32> = (0..n * 3).map(|i| 1.0 + (i % 5) as f32).collect();
        let s = kernel.pack_shaped("s", &[n, 3], &scales).expect("packed");
        let back = kernel.unpack("s", &s).and_then(|s| s.to_f32());
        assert_eq!(back.expect("unpacked"), scales);
        let x = Tensor::from_f32(&[1, k], &vec![1.0; k as usize]).expect("a tensor");
        let y = kernel.call(&[("q", &q), ("s", &s), ("x", &x)]);
        let y = y.and_then(|y| y.to_f32()).expect("results");
        for (row, y) in y.iter().enumerate() {
            let at = |i: usize| codes[row * k as usize + i] * scales[row * 3 + i / 32];
            assert_eq!(*y, (0..k as usize).map(at).sum::<f32>());
        }
        let wide = vec![0.0; n as usize * 4];
        let wide = kernel.pack_shaped("s", &[n, 4], &wide).expect("packed");
        let refused = kernel.call(&[("q", &q), ("s", &wide), ("x", &x)]);
        let refused = refused.expect_err("a group too many").to_string();
        assert!(
            refused.contains("axis 1 is 4, not 3 (`K / 32`)"),
            "{refused}"
        );
    }
}

#[test]
fn positions_outside_of_a_free_axis_are_refused_before_code_runs() {
    let text = "language 1;
        kernel k(input x: f32[M, K], input id: i32[J]) -> output y: f32[M] { y[m] = x[m, 5] + x[id[7], 0]; }";
    let engine = Engine::host().expect("an engine");
    let kernel = engine.compile(text, &[]).expect("it compiles");
    let call = |k: u64, j: u64| {
        let x = Tensor::from_f32(&[2, k], &numbers(2 * k, 1)).expect("x");
        let id = Tensor::from_i32(&[j], &vec![1; j as usize]).expect("id");
        let called = kernel.call(&[("x", &x), ("id", &id)]);
        called.map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(call(6, 8), Ok(()));
    let refused = "`x` is read at position 5 of an axis of extent 5";
    assert_eq!(call(5, 8), Err(refused.into()));
    let refused = "`id` is read at position 7 of an axis of extent 7";
    assert_eq!(call(6, 7), Err(refused.into()));
}

#[test]
fn plain_weights_keep_their_codes_in_every_layout() {
    let text = "language 1;
        format half = codebook [1, 2, 3] else 2.5;
        format none = codebook c < 200: c else nan;
        kernel k(weight w: i8[N, K], weight s: i32[N, K / 32], weight h: half[N, K / 32], weight v: none[N, K], input x: f32[M, K])
            -> output y: f32[M, N] {
            y[m, n] = sum(k) (w[n, k] + v[n, k]) * s[n, k / 32] * h[n, k / 32] * x[m, k];
        }";
    let engine = Engine::host().expect("an engine");
    let kernel = engine
        .compile(text, &[("N", 64), ("K", 128)])
        .expect("it compiles");
    let shapes = [
        ("s", 4, [1, 0, 0, 1]),
        ("h", 4, [3; 4]),
        ("v", 128, [250; 4]),
    ];
    for (name, columns, code) in shapes {
        let mut tensors = kernel.spec().tensors.values();
        let format = tensors.find(|t| t.name == name).expect(name).format.clone();
        let bytes = format.tensor_bytes(&[64, columns]).expect(name) as usize;
        let bytes: Vec<u8> = code.into_iter().cycle().take(bytes).collect();
        let given = Tensor::from_bytes(format, &[64, columns], bytes).expect(name);
        let packed = kernel.convert(name, &given).expect(name);
        assert_ne!(packed.layout_id(), given.layout_id(), "{name} is packed");
        let values = |t: &Tensor| -> Vec<u32> {
            let values = t.to_f32().expect(name);
            values.into_iter().map(f32::to_bits).collect()
        };
        assert_eq!(values(&packed), values(&given), "{name}");
        let back = kernel.unpack(name, &packed).expect(name);
        assert_eq!(back.bytes(), given.bytes(), "{name}");
    }
}

#[test]
fn another_layout_is_refused_by_name_and_converted_on_request() {
    let call = call(16, 64, 1);
    let module = load("i4", TEXT, &|_| None).expect("it reads");
    let declared = module.format("i4").expect("the format").clone();
    let stored = Tensor::quantize(declared, &[16, 64], &numbers(16 * 64, 1)).expect("weights");
    let refused = call
        .kernel
        .call(&[("w", &stored), ("x", &call.x), ("b", &call.b)]);
    let Err(Error::Layout { found, wanted, .. }) = refused else {
        panic!("another layout was accepted")
    };
    assert_ne!(found, wanted);
    let converted = call.kernel.convert("w", &stored).expect("it converts");
    assert_eq!(converted.bytes(), call.w.bytes());
    assert_eq!(
        converted.to_f32().expect("values"),
        stored.to_f32().expect("values")
    );
}

#[test]
fn a_packed_layout_describes_itself() {
    let call = call(16, 64, 1);
    let layout = call.kernel.layout("w").expect("a layout");
    let text = format!("language 1;\n{}", definition(&layout));
    let module = load("layout", &text, &|_| None).expect("a layout is a text of the language");
    let read = module.formats.last().expect("its format").clone();
    let again = Tensor::from_bytes(read, call.w.shape(), call.w.bytes().to_vec()).expect("bytes");
    assert_eq!(again.layout_id(), call.w.layout_id());
    assert_eq!(
        again.to_f32().expect("values"),
        call.w.to_f32().expect("values")
    );
}

#[test]
fn an_index_outside_its_axis_is_refused() {
    let text = "language 1;
        kernel rows(input t: f32[V, D], input id: i32[T]) -> output y: f32[T, D] { y[t_, d] = t[id[t_], d]; }";
    let kernel = Engine::host()
        .expect("an engine")
        .compile(text, &[])
        .expect("it compiles");
    let table = Tensor::from_f32(&[3, 4], &numbers(12, 5)).expect("a table");
    for (index, fits) in [(2, true), (3, false), (-1, false)] {
        let ids = Tensor::from_i32(&[2], &[0, index]).expect("indices");
        let found = kernel.call(&[("t", &table), ("id", &ids)]);
        assert_eq!(found.is_ok(), fits, "{index}");
    }
}

#[test]
fn a_layout_of_another_format_is_refused() {
    let engine = Engine::host().expect("an engine");
    let text = |format: &str| {
        format!(
            "language 1;\nformat f = {format};\nkernel k(weight w: f[N, K], input x: f32[M, K]) -> output y: f32[M, N] {{ y[m, n] = sum(k) w[n, k] * x[m, k]; }}"
        )
    };
    let narrow = text("block i < 32 { s: f16; q[i]: int(4); value = s * q[i]; }");
    let wide = text("block i < 32 { s: f16; q[i]: int(8); value = s * q[i]; }");
    let layout = |text: &str| {
        let kernel = engine.compile(text, &[]).expect("it compiles");
        kernel.layout("w").expect("a layout")
    };
    let compile = |name: &str, layout| {
        let options = Options {
            layouts: vec![(name.to_owned(), layout)],
            ..Options::default()
        };
        engine.compile_with(&narrow, &[], &options)
    };
    compile("w", layout(&narrow)).expect("its own layout is accepted");
    for (name, layout) in [
        ("w", layout(&wide)),
        ("x", layout(&narrow)),
        ("y", layout(&narrow)),
    ] {
        let error = compile(name, layout)
            .expect_err("it is refused")
            .to_string();
        assert!(error.contains("no layout of a weight"), "{error}");
    }
}

#[test]
fn a_lowering_that_only_larger_batches_have_can_be_asked_for() {
    let engine = Engine::host().expect("an engine");
    let compile = |force: &str| {
        let options = Options {
            force: Some(force.to_owned()),
            ..Options::default()
        };
        engine.compile_with(TEXT, &[("N", 64), ("K", 64)], &options)
    };
    let kernel = compile("decoded panels").expect("it is there for larger batches");
    let chosen = |batch: u64| {
        let explanation = kernel.explain_batch(batch).expect("an explanation");
        let candidates = explanation.steps[0].candidates.clone();
        candidates.into_iter().find(|c| c.chosen).expect("one").name
    };
    assert!(!chosen(1).contains("decoded panels"));
    assert!(chosen(64).contains("decoded panels"), "{}", chosen(64));
    let error = compile("no such words").expect_err("nothing has them");
    let named = error.to_string();
    assert!(named.contains("`no such words`"), "{named}");
}
