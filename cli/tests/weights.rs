//! Transcripts of `quantize` and `convert`: files of weights go in, other files come out and are read again.

mod place;

use lowbit::Tensor;
use lowbit::files::{Kind, Metadata, TensorFile, Value, write_tensors};
use place::{Place, WEIGHT, npy, repository};

const SLICE: &str = "tests/data/smollm2-slice.gguf";
const MATRIX: &str = "blk.0.attn_k.weight";

/// Formats of the tests: one that nobody knows, and two layouts of the same fields and as many bytes.
const FORMATS: &str = "language 1;
format octave = codebook [-4, -2, -1, 0, 1, 2, 4, 8];
format octave_20 = block i < 20 { scale: f16; code[i]: octave; value = scale * code[i]; }
format straight = block i < 32, bytes 18 {
    d: f16 at 0;
    q[i]: uint(4) at 16 + 4 * i;
    value = d * (q[i] - 8);
    encode x { d = absmax_signed(i) x[i] / -8; q[i] = floor(x[i] / d + 8.5); }
}
format split = block i < 32, bytes 18 {
    d: f16 at 0;
    q[i]: uint(4) at 16 + 8 * (i % 16) + 4 * (i / 16);
    value = d * (q[i] - 8);
}
";

fn load(place: &Place, file: &str, tensor: &str) -> Tensor {
    let file = TensorFile::read(place.0.join(file)).expect("it is read");
    file.load(tensor).expect("the tensor")
}

fn dtype(place: &Place, file: &str, tensor: &str) -> String {
    let file = TensorFile::read(place.0.join(file)).expect("it is read");
    file.tensor(tensor)
        .expect("the tensor")
        .info
        .dtype
        .to_string()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_f32().expect("values")
}

#[test]
fn quantize_writes_a_file_that_says_what_it_is() {
    let place = Place::new("quantize");
    place.write("mine.lowbit", FORMATS);
    for output in ["out.gguf", "out.safetensors"] {
        let out = place
            .line(&format!(
                "lowbit quantize {SLICE} --as mine.lowbit:octave_20 --output {output}"
            ))
            .good();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], format!("octave_20: 1 of 2 tensors, in {output}"));
        assert!(
            lines[1].starts_with("tensor ") && lines[1].contains("SQNR dB"),
            "{out}"
        );
        assert!(out.contains("kept in f32: fewer than two axes"), "{out}");
        assert!(
            lines.last().is_some_and(|l| l.starts_with("together")),
            "{out}"
        );
        let tensor = load(&place, output, MATRIX);
        assert_eq!(tensor.format().name, "octave_20");
        let before = values(&load(&place, SLICE, MATRIX));
        let wanted = Tensor::quantize(tensor.format().clone(), tensor.shape(), &before);
        assert_eq!(tensor.bytes(), wanted.expect("it encodes").bytes());
        let norm = "blk.0.attn_norm.weight";
        assert_eq!(
            load(&place, output, norm).bytes(),
            load(&place, SLICE, norm).bytes()
        );
    }
    let file = TensorFile::read(place.0.join("out.gguf")).expect("it is read");
    let source = TensorFile::read(place.0.join(SLICE)).expect("it is read");
    for (key, value) in source.metadata() {
        assert!(
            matches!(value, Value::List(_)) || file.value(key) == Some(value),
            "{key}"
        );
    }
}

/// The error (RMSE) of all tensors together in the first table.
fn together(out: &str) -> f64 {
    let line = out.lines().find(|l| l.starts_with("together")).expect(out);
    let numbers: Vec<&str> = line.split_whitespace().collect();
    numbers[2].parse().expect(out)
}

#[test]
fn a_search_comes_nearer_and_importances_move_it() {
    let place = Place::new("quantize-search");
    let line = format!("lowbit quantize {SLICE} --as q4_0 --output");
    let nearest = together(&place.line(&format!("{line} nearest.gguf")).good());
    let search = format!("{line} equal.gguf --method search");
    let equal = together(&place.line(&search).good());
    assert!(equal < 0.95 * nearest, "{equal} and {nearest}");

    let shape = load(&place, SLICE, MATRIX).shape().to_vec();
    let column = |c: u64| if c.is_multiple_of(7) { 30.0 } else { 1.0 };
    let importances: Vec<f32> = (0..shape[1]).map(column).collect();
    let tensor = Tensor::from_f32(&shape[1..], &importances).expect("a row");
    let name = format!("{MATRIX}.in_sum2");
    let mut file = Vec::new();
    write_tensors(&mut file, Kind::Gguf, &Metadata::new(), &[(&name, &tensor)]).expect("a file");
    std::fs::write(place.0.join("importances.gguf"), file).expect("it is written");
    let line = format!("{line} weighted.gguf --importances importances.gguf");
    let err = place.line(&line).bad(1);
    assert!(err.contains("add --method search"), "{err}");
    let weighted = together(&place.line(&format!("{line} --method search")).good());
    assert!(weighted > equal, "{weighted} and {equal}");

    let before = values(&load(&place, SLICE, MATRIX));
    let of = |file: &str| {
        let after = values(&load(&place, file, MATRIX));
        let row = shape[1] as usize;
        let heavy = (0..before.len()).filter(|i| (i % row).is_multiple_of(7));
        heavy.map(|i| (before[i] - after[i]).powi(2)).sum::<f32>()
    };
    let (weighted, equal) = (of("weighted.gguf"), of("equal.gguf"));
    assert!(weighted < 0.7 * equal, "{weighted} and {equal}");
}

#[test]
fn what_is_quantised_runs() {
    let place = Place::new("quantize-run");
    let kernel = "language 1;
format octave = codebook [-4, -2, -1, 0, 1, 2, 4, 8];
format octave_20 = block i < 20 { scale: f16; code[i]: octave; value = scale * code[i]; }
kernel linear(weight w: octave_20[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
    y[m, n] = sum(k) w[n, k] * x[m, k];
}
";
    place.write("mine.lowbit", kernel);
    let line =
        format!("lowbit quantize {SLICE}:{MATRIX} --as mine.lowbit:octave_20 --output q.gguf");
    place.line(&line).good();
    let line = format!("lowbit run mine.lowbit --tensor w=q.gguf:{MATRIX} --dim M=2 --check");
    let out = place.line(&line).good();
    assert!(out.contains("checked: 192 results agree"), "{out}");
}

#[test]
fn types_that_a_file_has_are_used_for_their_layouts_only() {
    let place = Place::new("quantize-types");
    place.write("mine.lowbit", FORMATS);
    for (format, wanted) in [
        ("q8_0", "ggml:8"),
        ("bf16", "ggml:30"),
        ("mine.lowbit:straight", "ggml:24"),
        ("nf4_64", "ggml:24"),
    ] {
        place
            .line(&format!(
                "lowbit quantize {SLICE} --as {format} --output q.gguf"
            ))
            .good();
        assert_eq!(dtype(&place, "q.gguf", MATRIX), wanted, "{format}");
    }
    // In two steps, over the file itself.
    place.line("lowbit convert q.gguf q.gguf").good();
    assert_eq!(load(&place, "q.gguf", MATRIX).format().name, "nf4_64");
}

#[test]
fn rows_that_the_rules_of_the_file_forbid_are_kept() {
    let place = Place::new("quantize-ragged");
    let bytes = npy("4, 33", (0..4 * 33).map(|n| n as f32));
    place.write("w.npy", bytes);
    let out = place
        .line("lowbit quantize w.npy --as q4_0 --output q.gguf")
        .good();
    assert!(
        out.contains("kept in f32: rows of 33 are no whole blocks of 32"),
        "{out}"
    );
    assert_eq!(dtype(&place, "q.gguf", "array"), "ggml:0");
    let out = place
        .line("lowbit quantize w.npy --as q4_0 --output q.safetensors")
        .good();
    assert!(out.starts_with("q4_0: 1 of 1 tensors"), "{out}");
    assert_eq!(load(&place, "q.safetensors", "array").shape(), [4, 33]);
}

#[test]
fn several_formats_are_compared_and_drawn() {
    let place = Place::new("quantize-several");
    let line = format!(
        "lowbit quantize {SLICE} --as q4_0 --as q8_0 --as std/ints:int2_32 --only attn_k --output out.gguf --plot error.svg"
    );
    let out = place.line(&line).good();
    let rmse = |name: &str| -> f64 {
        let page = out
            .split("\n\n")
            .find(|p| p.starts_with(&format!("{name}: ")));
        let row = page.and_then(|p| p.lines().last()).expect("a last row");
        row.split_whitespace()
            .nth(2)
            .and_then(|n| n.parse().ok())
            .expect("an error")
    };
    assert!(
        rmse("q8_0") < rmse("q4_0") && rmse("q4_0") < rmse("int2_32"),
        "{out}"
    );
    for name in ["q4_0", "q8_0", "int2_32"] {
        let file = format!("out-{name}.gguf");
        assert_eq!(load(&place, &file, MATRIX).format().name, name);
    }
    let picture = String::from_utf8(place.read("error.svg")).expect("UTF-8");
    for label in [">q4_0<", ">q8_0<", ">int2_32<", ">bits per weight<"] {
        assert!(picture.contains(label), "no {label} in\n{picture}");
    }
}

#[test]
fn convert_moves_codes_and_changes_no_value() {
    let place = Place::new("convert");
    place.write("mine.lowbit", FORMATS);
    let quantised = format!("lowbit quantize {SLICE} --as mine.lowbit:straight --output a.gguf");
    place.line(&quantised).good();
    let out = place
        .line("lowbit convert a.gguf b.safetensors --to mine.lowbit:split")
        .good();
    assert!(
        out.contains("straight (layout ") && out.contains("split (layout "),
        "{out}"
    );
    assert!(out.contains("f32 (layout 9d8c69d0e2404228)"), "{out}");
    let (a, b) = (
        load(&place, "a.gguf", MATRIX),
        load(&place, "b.safetensors", MATRIX),
    );
    assert_eq!(a.bytes().len(), b.bytes().len());
    assert_ne!(a.bytes(), b.bytes());
    assert_eq!(values(&a), values(&b));
    // The second layout is the one that ggml calls Q4_0, whatever its name here.
    place.line("lowbit convert b.safetensors c.gguf").good();
    assert_eq!(dtype(&place, "c.gguf", MATRIX), "ggml:2");
    place
        .line(&format!(
            "lowbit convert c.gguf d.gguf --as-layout a.gguf:{MATRIX}"
        ))
        .good();
    assert_eq!(load(&place, "d.gguf", MATRIX).bytes(), a.bytes());
    place.line("lowbit convert a.gguf e.gguf").good();
    let same = place.read("e.gguf") == place.read("a.gguf");
    assert!(same, "a file that is written again is another");
}

#[test]
fn packed_tensors_become_tensors_of_files() {
    let place = Place::new("convert-packed");
    let kernel = "dsl-examples/q4_1_linear.lowbit";
    let pack = format!("lowbit pack {kernel} --tensor {WEIGHT} --output w.packed");
    place.line(&pack).good();
    place.line("lowbit convert w.packed w.gguf").good();
    let file = TensorFile::read(place.0.join("w.gguf")).expect("it is read");
    assert_eq!(file.kind(), Kind::Gguf);
    assert_eq!(load(&place, "w.gguf", "w").bytes(), place.read("w.packed"));
    place
        .line("lowbit convert w.gguf q4_1.gguf --to q4_1")
        .good();
    assert_eq!(
        load(&place, "q4_1.gguf", "w").bytes(),
        load(&place, SLICE, MATRIX).bytes()
    );
    let run = format!("lowbit run {kernel} --tensor w=w.gguf --check");
    assert!(
        place
            .line(&run)
            .good()
            .contains("checked: 96 results agree")
    );
}

#[test]
fn mistakes_leave_no_file_behind() {
    let place = Place::new("convert-mistakes");
    place.write("mine.lowbit", FORMATS);
    place
        .line(&format!(
            "lowbit quantize {SLICE} --as mine.lowbit:straight --output a.gguf"
        ))
        .good();
    for (line, wanted) in [
        (
            "lowbit convert a.gguf out.gguf --to q4_1",
            "`quantize` brings values into another format",
        ),
        (
            "lowbit convert a.gguf out.gguf --to q4_1",
            "`straight` (layout ",
        ),
        (
            "lowbit convert a.gguf out.gguf --to q4_1",
            "as `q4_1` (layout 566f23098d8cf5ca)",
        ),
        (
            "lowbit convert a.gguf:blk.0.attn_norm.weight out.gguf --to q4_1",
            "`f32` (layout ",
        ),
        (
            "lowbit convert a.gguf out.npy",
            "must end in .gguf or .safetensors",
        ),
        ("lowbit convert a.gguf:x out.gguf", "no tensor `x`"),
        ("lowbit convert none.gguf out.gguf", "none.gguf: "),
        (
            "lowbit convert a.gguf out.gguf --to q4_7",
            "no format `q4_7` ships",
        ),
        (
            "lowbit convert a.gguf out.gguf --to std/no:q4_0",
            "there is no module `std/no`",
        ),
        (
            "lowbit convert a.gguf out.gguf --to std/ggml:q4_7",
            "no format `q4_7` in std/ggml; it has q4_0",
        ),
        (
            "lowbit convert a.gguf out.gguf --to mine.lowbit:oktave",
            "it has octave, octave_20",
        ),
        ("lowbit convert a.gguf none/out.gguf", "none/out.gguf: "),
        (
            "lowbit quantize a.gguf --as mine.lowbit:undone --output out.gguf",
            "it has octave",
        ),
        (
            "lowbit quantize a.gguf --as q4_0 --as std/ggml:q4_0",
            "two formats are called `q4_0`",
        ),
        (
            "lowbit quantize a.gguf --as q4_0 --only mlp --output out.gguf",
            "no tensor has `mlp` in its name",
        ),
        (
            "lowbit quantize a.gguf --as q4_0 --output out.bin",
            "must end in",
        ),
    ] {
        let err = place.line(line).bad(1);
        assert!(err.contains(wanted), "{line}: no {wanted:?} in\n{err}");
        assert!(!err.contains("panicked"), "{err}");
    }
    place.write("once.lowbit", "language 1;\nformat once = block i < 8 { a: f16; b: f16; q[i]: uint(4); value = (a + q[i]) * (b - q[i]); }\n");
    let err = place
        .line(&format!(
            "lowbit quantize {SLICE} --as once.lowbit:once --output out.gguf"
        ))
        .bad(1);
    assert!(err.contains("--method search"), "{err}");
    place.write("never.lowbit", "language 1;\nformat never = block i < 8 { a: f16; q[i]: uint(4); value = a * a * q[i]; }\n");
    for method in ["nearest", "search"] {
        let line = format!("lowbit quantize {SLICE} --as never.lowbit:never --method {method}");
        let err = place.line(&line).bad(1);
        assert!(
            err.contains("`never` is decode-only") && err.contains("`a`"),
            "{err}"
        );
    }
    for file in ["out.gguf", "out.gguf.part"] {
        assert!(!place.0.join(file).exists(), "{file} is left over");
    }
}

/// The texts of a file's metadata.
fn described(place: &Place, file: &str) -> String {
    let file = TensorFile::read(place.0.join(file)).expect("it is read");
    let texts = file.metadata().iter().map(|(_, value)| match value {
        Value::Text(text) => format!("{text}\n"),
        _ => String::new(),
    });
    texts.collect()
}

#[test]
fn the_chapter_about_files_goes_as_it_is_told() {
    let place = Place::new("book-files");
    let page = std::fs::read_to_string(repository().join("book/src/files.md"));
    let page = page.expect("the chapter");
    let mut last = String::new();
    let mut ran = 0;
    for block in page.split("```").skip(1).step_by(2) {
        let (info, text) = block.split_once('\n').expect("a line");
        match info {
            "lowbit" => place.write("octave.lowbit", text),
            "sh" => {
                for line in text.lines() {
                    last = place.line(line).good();
                    ran += 1;
                }
            }
            "text" => {
                let known = last.clone() + &described(&place, "octave.gguf");
                assert!(known.contains(text.trim()), "no {text:?} in\n{known}");
            }
            _ => {}
        }
    }
    assert!(ran >= 7, "{ran} commands");
}

#[test]
fn a_damaged_definition_is_shown_with_its_place() {
    let place = Place::new("convert-damaged");
    place.write("mine.lowbit", FORMATS);
    place
        .line(&format!(
            "lowbit quantize {SLICE} --as mine.lowbit:straight --output a.gguf"
        ))
        .good();
    let mut bytes = place.read("a.gguf");
    let wanted = b"uint(4)";
    let at = bytes
        .windows(wanted.len())
        .position(|w| w == wanted)
        .expect("the definition");
    bytes[at..at + wanted.len()].copy_from_slice(b"uint[4)");
    place.write("a.gguf", bytes);
    let err = place.line("lowbit convert a.gguf out.gguf").bad(1);
    assert!(
        err.contains("a.gguf: the formats that the file defines: ")
            && err.contains("lowbit.formats:"),
        "{err}"
    );
}
