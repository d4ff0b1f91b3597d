//! Transcripts of the command line: what it prints where, with which exit code. Each test has a folder of its own that
//! looks like the repository, so that the examples of the help and of the book run as they are written.

mod place;

use place::{Place, WEIGHT, done, npy, repository};
use std::fs;
use std::process::Stdio;

const FORMAT: &str = "language 1;
format octave = codebook [-4, -2, -1, 0, 1, 2, 4, 8];
format octave_32 = block i < 32 {
    scale: f16;
    code[i]: octave;
    value = scale * code[i];
}

kernel linear(weight w: octave_32[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
    y[m, n] = sum(k) w[n, k] * x[m, k];
}
";

#[test]
fn check_counts_what_a_text_defines() {
    let place = Place::new("check");
    place.write("octave.lowbit", FORMAT);
    let out = place.run(&["check", "octave.lowbit"]).good();
    assert_eq!(out, "octave.lowbit: 2 formats, 1 kernels\n");
    let out = place.line("lowbit check dsl-examples/*.lowbit").good();
    assert!(out.lines().count() >= 12, "{out}");
}

#[test]
fn check_shows_errors_at_their_places_without_colours() {
    let place = Place::new("check-errors");
    place.write("wrong.lowbit", FORMAT.replace("octave_32[N", "octave_33[N"));
    place.write("short.lowbit", "language 1;\nformat f = int(4)\n");
    let err = place
        .run(&["check", "wrong.lowbit", "short.lowbit", "missing.lowbit"])
        .bad(1);
    for wanted in [
        "error[unknown-name]: there is no format `octave_33`\n --> wrong.lowbit:9:25",
        "9 | kernel linear(weight w: octave_33[N, K]",
        "                        ^^^^^^^^^ not defined",
        "short.lowbit:2:",
        "missing.lowbit: ",
    ] {
        assert!(err.contains(wanted), "no {wanted:?} in\n{err}");
    }
    assert!(!err.contains('\u{1b}'), "{err}");
}

#[test]
fn check_warns_and_succeeds() {
    let place = Place::new("check-warns");
    let text = "language 1;\nkernel k(input x: f32[K], input z: f32[K]) -> output y: f32[K] {\n    y[k] = x[k];\n}\n";
    place.write("unused.lowbit", text);
    let done = place.run(&["check", "unused.lowbit"]);
    assert_eq!(done.code, 0);
    assert_eq!(done.out, "unused.lowbit: 0 formats, 1 kernels\n");
    assert!(done.err.contains("`z` is never used"), "{}", done.err);
}

#[test]
fn imports_lie_beside_the_text_and_nowhere_else() {
    let place = Place::new("imports");
    place.write("outside.lowbit", FORMAT);
    fs::create_dir(place.0.join("inside")).expect("a folder");
    place.write("inside/mine.lowbit", FORMAT);
    place.write("inside/good.lowbit", "language 1;\nimport \"mine\";\n");
    place.write("inside/bad.lowbit", "language 1;\nimport \"../outside\";\n");
    place.run(&["check", "inside/good.lowbit"]).good();
    let err = place.run(&["check", "inside/bad.lowbit"]).bad(1);
    assert!(err.contains("there is no module `../outside`"), "{err}");
}

#[test]
fn fmt_formats_in_place_and_checks() {
    let place = Place::new("fmt");
    let untidy = FORMAT.replace("    scale: f16;", "  scale :f16 ;");
    place.write("octave.lowbit", &untidy);
    let err = place.run(&["fmt", "--check", "octave.lowbit"]).bad(1);
    assert_eq!(
        err,
        "octave.lowbit is not formatted; `lowbit fmt octave.lowbit` formats it\n"
    );
    assert_eq!(place.read("octave.lowbit"), untidy.as_bytes());
    assert_eq!(place.run(&["fmt", "octave.lowbit"]).good(), "");
    let formatted = place.read("octave.lowbit");
    assert_ne!(formatted, untidy.as_bytes());
    assert_eq!(place.run(&["fmt", "--check", "octave.lowbit"]).good(), "");
    place
        .line("lowbit fmt --check dsl-examples/*.lowbit")
        .good();
}

#[test]
fn fmt_leaves_a_text_with_errors_as_it_is() {
    let place = Place::new("fmt-errors");
    place.write("wrong.lowbit", "language 1;\nformat f = (;\n");
    let err = place.run(&["fmt", "wrong.lowbit"]).bad(1);
    assert!(err.contains("wrong.lowbit:2:"), "{err}");
    assert_eq!(place.read("wrong.lowbit"), b"language 1;\nformat f = (;\n");
}

#[test]
fn show_prints_stages_of_any_target() {
    let place = Place::new("show");
    let args = [
        "show",
        "dsl-examples/int4_int8.lowbit",
        "--target",
        "x86-64-vnni",
    ];
    let dims = ["--dim", "N=64", "--dim", "K=256"];
    let page = place.run(&[&args[..], &dims].concat()).good();
    for part in [
        "layout of w",
        "spec",
        "schedule",
        "rewrite",
        "vector",
        "innermost loops",
    ] {
        assert!(
            page.contains(&format!("\n== {part}\n")),
            "no {part} in\n{page}"
        );
    }
    assert_eq!(
        page,
        place.run(&[&args[..], &dims].concat()).good(),
        "the page is stable"
    );
    let one = |stage: &str| {
        place
            .run(&[&args[..], &dims, &["--stage", stage]].concat())
            .good()
    };
    assert!(one("spec").starts_with("kernel @int4_int8 {\n  dim0: N = 64\n"));
    assert!(one("rewrite").contains("v.dot4"));
    assert!(one("vector").starts_with("func int4_int8 {\n"));
    assert!(one("assembly").contains("vpdpbusd"));
    let arm = place
        .run(&[
            "show",
            args[1],
            "--target",
            "aarch64-dotprod",
            "--stage",
            "assembly",
        ])
        .good();
    assert!(arm.contains("sdot") || arm.contains("usdot"), "{arm}");
}

#[test]
fn emit_writes_an_object_and_a_header() {
    let place = Place::new("emit");
    let line =
        "lowbit emit dsl-examples/int2_int8.lowbit --target aarch64 --dim N=64 --output linear.o";
    assert_eq!(
        place.line(line).good(),
        "int2_int8 for aarch64: `int2_int8` in linear.o, declared in linear.h\n"
    );
    assert!(place.read("linear.o").starts_with(b"\x7fELF"));
    let header = String::from_utf8(place.read("linear.h")).expect("text");
    for wanted in [
        "/* `int2_int8` for aarch64, made for batches of 1 or more.",
        "\n   [0] const void *w: int2_32",
        "\n   [1] const void *x: f32[M, K]\n   [2] void *y: f32[M, 64]\n   [3] void *xq: ",
        " bytes of any content\n",
        ": M * K\n",
        "\nvoid int2_int8(const uint64_t *words);\n",
    ] {
        assert!(header.contains(wanted), "no {wanted:?} in\n{header}");
    }
    let wrong = place.line(&format!("{line} --symbol 2nd")).bad(1);
    assert!(
        wrong.contains("`2nd` cannot be the name of a function"),
        "{wrong}"
    );
    let wrong = place.line(&line.replace("linear.o", "linear.h")).bad(1);
    assert!(wrong.contains("cannot be a `.h` file"), "{wrong}");
}

#[test]
fn explain_lists_candidates_as_text_and_as_json() {
    let place = Place::new("explain");
    let line =
        "lowbit explain dsl-examples/int4_int8.lowbit --target x86-64-vnni --dim N=64 --dim K=256";
    let text = place.line(line).good();
    assert!(text.starts_with("int4_int8 for x86-64-vnni\n"), "{text}");
    assert_eq!(
        text.lines().filter(|l| l.starts_with("* ")).count(),
        1,
        "{text}"
    );
    assert!(
        text.contains("× the winner") && text.contains("  rules: "),
        "{text}"
    );
    let json = place.line(&format!("{line} --json")).good();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["target"], "x86-64-vnni");
    let candidates = json["steps"][0]["candidates"]
        .as_array()
        .expect("candidates");
    let chosen = candidates.iter().filter(|c| c["chosen"] == true).count();
    assert_eq!((chosen, candidates.len() > 1), (1, true));
}

#[test]
fn explain_says_what_a_weight_takes_and_what_is_rounded() {
    let place = Place::new("explain-more");
    let line =
        "lowbit explain dsl-examples/int2_tables.lowbit --target x86-64-v2 --dim N=64 --dim K=256";
    let text = place.line(line).good();
    assert!(
        text.contains(" bounded  ") && text.contains(" exact  "),
        "{text}"
    );
    assert!(
        text.contains("1/1000 of the product of their ranges"),
        "{text}"
    );
    assert!(text.contains(" joint k:4 "), "{text}");
    assert!(text.contains("× as much of it"), "{text}");
    let json = place.line(&format!("{line} --batch 9 --json")).good();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["batch"], 8);
    let step = &json["steps"][0];
    assert_eq!(step["per"], "weight");
    let weights = 64.0 * 256.0;
    for c in step["candidates"].as_array().expect("candidates") {
        let of = |v: &serde_json::Value| v.as_f64().expect("a number");
        let cycles = of(&c["cycles_per_weight"]) * weights;
        assert!(
            (cycles - of(&c["cost"]["cycles"])).abs() < 1e-6 * cycles,
            "{c}"
        );
        let rounded = c["name"].as_str().expect("a name").contains("rounded sums");
        assert_eq!(c["bound"].is_string(), rounded, "{c}");
    }
}

#[test]
fn explain_draws_the_term_in_its_graph() {
    let place = Place::new("explain-draw");
    let line =
        "lowbit explain dsl-examples/int4_int8.lowbit --target x86-64-v3 --dim N=64 --dim K=256";
    place
        .line(&format!("{line} --dot graph.dot --svg term.svg"))
        .good();
    let read = |name: &str| String::from_utf8(place.read(name)).expect("text");
    let (dot, svg) = (read("graph.dot"), read("term.svg"));
    assert!(
        dot.starts_with("digraph lowering {\n") && dot.ends_with("}\n"),
        "{dot}"
    );
    assert!(
        dot.contains("style=filled") && dot.contains("subgraph cluster_0 "),
        "{dot}"
    );
    assert!(
        svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
        "{svg}"
    );
    place.line(&format!("{line} --dot again.dot")).good();
    assert_eq!(dot, read("again.dot"), "a graph has one text");
    let none = place
        .line(&format!("{line} --dot graph.dot --step 7"))
        .bad(1);
    assert!(none.contains("has no step 7"), "{none}");
}

#[test]
fn explain_measures_candidates_that_run_here() {
    let place = Place::new("explain-measure");
    let line = "lowbit explain dsl-examples/int4_int8.lowbit --measure --dim N=64 --dim K=256";
    let json = place.line(&format!("{line} --json")).good();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let step = &json["steps"][0];
    for c in step["candidates"].as_array().expect("candidates") {
        assert!(c["cached"].is_number() && c["streamed"].is_number(), "{c}");
    }
    assert!(step["streamed"]["rank_correlation"].is_number(), "{step}");
    let elsewhere = match cfg!(target_arch = "aarch64") {
        true => "x86-64-v3",
        false => "aarch64",
    };
    let err = place.line(&format!("{line} --target {elsewhere}")).bad(1);
    assert!(err.contains("does not run on this machine"), "{err}");
}

#[test]
fn bench_says_how_fast_and_what_bounds_it() {
    let place = Place::new("bench");
    let line = "lowbit bench dsl-examples/int2_int8.lowbit --dim N=96 --dim K=256 --rows 1,5 --threads 1,2 --seconds 0";
    let out = place.line(&format!("{line} --json all.json")).good();
    for wanted in [
        "int2_int8 for host: N = 96, K = 256\n",
        "rows  threads  µs",
        "one row: [",
        "where the time goes, 5 rows with one thread:",
        "alone\n",
        "not explained",
        "  encode x as xq: as if no operation waited for another",
        "the first time",
        "results agree with the reference interpreter",
    ] {
        assert!(out.contains(wanted), "no {wanted:?} in\n{out}");
    }
    let json: serde_json::Value = serde_json::from_slice(&place.read("all.json")).expect("JSON");
    let results = json["results"].as_array().expect("results");
    let shape = |r: &serde_json::Value| {
        (
            r["summary"]["rows"].as_u64(),
            r["summary"]["threads"].as_u64(),
        )
    };
    let shapes: Vec<_> = results.iter().map(shape).collect();
    let wanted = [(1, 1), (1, 2), (5, 1), (5, 2)];
    assert_eq!(shapes, wanted.map(|(r, t)| (Some(r), Some(t))));
    for result in results {
        let summary = &result["summary"];
        assert!(
            summary["seconds"]["median"].as_f64() > Some(0.0),
            "{summary}"
        );
        assert!(
            summary["shares"].as_array().is_some_and(|s| !s.is_empty()),
            "{summary}"
        );
        assert_eq!(summary["weights"][0]["format_bits"], 2.5);
        assert!(
            result["account"]["predicted"].as_f64() > Some(0.0),
            "{result}"
        );
    }
    assert!(json["limits"]["floats"].is_number() && json["compile"]["later"]["code"].is_number());
    place
        .line(&format!("{line} --cached --json cached.json"))
        .good();
    let cached = String::from_utf8(place.read("cached.json")).expect("UTF-8");
    assert!(
        !cached.contains("\"limit\": \"memory\""),
        "caches hold the weights:\n{cached}"
    );
    let elsewhere = match cfg!(target_arch = "aarch64") {
        true => "x86-64-v3",
        false => "aarch64",
    };
    let err = place.line(&format!("{line} --target {elsewhere}")).bad(1);
    assert!(err.contains("does not run on this machine"), "{err}");
    let bound = "lowbit bench dsl-examples/int2_int8.lowbit --dim N=96 --dim K=256 --dim M=8";
    let err = place.line(&format!("{bound} --rows 1,5")).bad(1);
    assert!(err.contains("all dimensions are bound"), "{err}");
    for wrong in ["--seconds -1", "--rows 0", "--threads 0"] {
        let words = format!("lowbit bench dsl-examples/int2_int8.lowbit {wrong}");
        place.line(&words).bad(2);
    }
}

#[test]
fn bench_takes_4096_for_what_is_not_bound_and_leaves_the_batch_free() {
    let place = Place::new("bench-dims");
    let line = "lowbit bench dsl-examples/rmsnorm_quantize.lowbit --rows 2 --cached --seconds 0";
    let out = place.line(line).good();
    assert!(
        out.contains("rmsnorm_quantize for host: K = 4096\n"),
        "{out}"
    );
    assert!(out.contains("2 rows: "), "{out}");
}

#[test]
fn tune_adds_to_a_file_that_others_choose_by() {
    let place = Place::new("tune");
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let of = "dsl-examples/int2_int8.lowbit --dim N=96 --dim K=256";
    let line = format!("lowbit tune {of} --cached --repeat 1");
    let printed = json(&place.line(&format!("{line} --rows 1")).good());
    assert_eq!(printed["records"].as_array().map(Vec::len), Some(1));
    for (rows, count) in [("1", 1), ("1,8", 2), ("8", 2)] {
        let out = place.line(&format!("{line} --rows {rows} --output t.json"));
        let out = out.good();
        assert!(out.contains("× what was chosen before"), "{out}");
        let kept = json(&String::from_utf8(place.read("t.json")).expect("text"));
        assert_eq!(kept["records"].as_array().map(Vec::len), Some(count));
    }
    let kept = json(&String::from_utf8(place.read("t.json")).expect("text"));
    let first = { kept["records"].as_array() }.and_then(|all| all.iter().find(|r| r["batch"] == 1));
    let explain = format!("lowbit explain {of} --json --tuning t.json");
    let explained = json(&place.line(&explain).good());
    let candidates = explained["steps"][0]["candidates"].as_array();
    let chosen = candidates.and_then(|all| all.iter().find(|c| c["chosen"] == true));
    let (first, chosen) = (first.expect("a record"), chosen.expect("a candidate"));
    assert_eq!(first["lowering"], chosen["name"]);
    assert_eq!(first["pick"]["lanes"], chosen["lanes"]);
    place.write("t.json", "[]");
    let err = place.line(&explain).bad(1);
    assert!(err.contains("the records of tuning are not valid"), "{err}");
}

#[test]
fn run_checks_the_weights_of_a_model() {
    let place = Place::new("run-model");
    let out = place
        .run(&[
            "run",
            "dsl-examples/q4_1_linear.lowbit",
            "--tensor",
            WEIGHT,
            "--dim",
            "M=4",
            "--check",
        ])
        .good();
    assert!(
        out.contains("N = 96, K = 576, M = 4; 1 tensors from files, 1 generated"),
        "{out}"
    );
    assert!(
        out.contains("checked: 384 results agree with the reference interpreter"),
        "{out}"
    );
}

#[test]
fn run_writes_the_output_and_a_seed_repeats_it() {
    let place = Place::new("run-output");
    place.write("octave.lowbit", FORMAT);
    let dims = "lowbit run octave.lowbit --dim N=8 --dim K=64 --dim M=3 --repeat 1";
    for (seed, file) in [(1, "a"), (1, "b"), (2, "c")] {
        place
            .line(&format!("{dims} --seed {seed} --output {file}"))
            .good();
    }
    assert_eq!(place.read("a").len(), 3 * 8 * 4);
    assert_eq!(place.read("a"), place.read("b"));
    assert_ne!(place.read("a"), place.read("c"));
}

#[test]
fn a_packed_file_gives_the_results_of_what_it_was_packed_from() {
    let place = Place::new("pack");
    let kernel = "dsl-examples/q4_1_linear.lowbit";
    let run = |weight: &str, out: &str| {
        let line =
            format!("lowbit run {kernel} --tensor {weight} --dim M=4 --check --output {out}");
        place.line(&line).good();
    };
    run(WEIGHT, "before");
    let out = place
        .line(&format!(
            "lowbit pack {kernel} --tensor {WEIGHT} --output w.packed"
        ))
        .good();
    assert!(
        out.starts_with("w: 55296 elements in 34560 bytes, layout q4_1_"),
        "{out}"
    );
    run("w=w.packed", "after");
    assert_eq!(place.read("before"), place.read("after"));
    let out = place.run(&["check", "w.packed.lowbit"]).good();
    assert_eq!(out, "w.packed.lowbit: 1 formats, 1 kernels\n");
}

#[test]
fn a_packed_file_is_refused_by_another_format_and_if_it_is_cut() {
    let place = Place::new("pack-refused");
    let pack =
        format!("lowbit pack dsl-examples/q4_1_linear.lowbit --tensor {WEIGHT} --output w.packed");
    place.line(&pack).good();
    let err = place
        .line("lowbit run dsl-examples/fp4_linear.lowbit --tensor w=w.packed")
        .bad(1);
    assert!(
        err.contains("`w` is `q4_1_") && err.contains("wants `fp4_32`"),
        "{err}"
    );
    let bytes = place.read("w.packed");
    place.write("w.packed", &bytes[1..]);
    let err = place
        .line("lowbit run dsl-examples/q4_1_linear.lowbit --tensor w=w.packed")
        .bad(1);
    assert!(err.contains("34559 bytes given"), "{err}");
    place.write("w.packed.lowbit", FORMAT);
    let err = place
        .line("lowbit run dsl-examples/q4_1_linear.lowbit --tensor w=w.packed")
        .bad(1);
    assert!(err.contains("w.packed.lowbit: "), "{err}");
}

#[test]
fn plain_values_of_a_file_are_quantised() {
    let place = Place::new("npy");
    place.write(
        "w.npy",
        npy("8, 128", (0..8 * 128).map(|i| (i % 17) as f32 - 8.0)),
    );
    let line = "lowbit run dsl-examples/nf4_linear.lowbit --tensor w=w.npy --dim M=2 --check";
    let out = place.line(line).good();
    assert!(out.contains("N = 8, K = 128, M = 2"), "{out}");
    assert!(out.contains("checked: 16 results agree"), "{out}");
}

#[test]
fn mistakes_in_what_is_asked_for_exit_with_1() {
    let place = Place::new("input");
    place.write("octave.lowbit", FORMAT);
    for (line, wanted) in [
        (
            "lowbit show octave.lowbit --target z80",
            "unknown target `z80`; known targets: host, x86-64",
        ),
        ("lowbit show octave.lowbit --kernel other", "linear"),
        (
            "lowbit show octave.lowbit --dim Q=3",
            "no dimension `Q`; it has N, K, M",
        ),
        ("lowbit show octave.lowbit --costs none.json", "none.json: "),
        (
            "lowbit run octave.lowbit --tensor w=none.gguf",
            "none.gguf: ",
        ),
        (
            "lowbit run octave.lowbit --tensor q=tests/data/smollm2-slice.gguf",
            "tensors (",
        ),
        (
            "lowbit run dsl-examples/q4_1_linear.lowbit --tensor w=tests/data/smollm2-slice.gguf:other",
            "other",
        ),
        (
            "lowbit run dsl-examples/q4_1_linear.lowbit --tensor w=tests/data/smollm2-slice.gguf:blk.0.attn_k.weight --dim K=32",
            "but the kernel wants",
        ),
    ] {
        let err = place.line(line).bad(1);
        assert!(err.contains(wanted), "{line}: no {wanted:?} in\n{err}");
        assert!(
            !err.contains('\u{1b}') && !err.contains("panicked"),
            "{err}"
        );
    }
}

#[test]
fn arguments_that_cannot_be_read_exit_with_2() {
    let place = Place::new("usage");
    for (line, wanted) in [
        ("lowbit chekc a", "check"),
        ("lowbit check", "<FILES>"),
        (
            "lowbit show a --stage middle",
            "the stages are spec, schedule, rewrite, vector, assembly",
        ),
        (
            "lowbit show a --dim K",
            "write NAME=EXTENT, for example K=4096",
        ),
        ("lowbit show a --dim K=many", "`many` is not a number"),
        (
            "lowbit run a --tensor w",
            "write NAME=FILE or NAME=FILE:TENSOR",
        ),
        ("lowbit pack a", "--output"),
    ] {
        let err = place.line(line).bad(2);
        assert!(err.contains(wanted), "{line}: no {wanted:?} in\n{err}");
        assert!(!err.contains('\u{1b}'), "{err}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_a_command_without_noise() {
    let place = Place::new("pipe");
    let mut command = place.command();
    command.args(["show", "dsl-examples/int4_int8.lowbit"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    drop(child.stdout.take());
    let done = done(child.wait_with_output().expect("it ends"));
    assert_eq!((done.code, done.err.as_str()), (0, ""));
}

#[test]
fn the_help_of_every_command_has_examples_that_run() {
    let place = Place::new("help");
    let mut ran = 0;
    for command in [
        "",
        "check",
        "fmt",
        "show",
        "explain",
        "run",
        "pack",
        "quantize",
        "convert",
        "bench",
        "tune",
        "calibrate",
    ] {
        let args: Vec<&str> = [command, "--help"]
            .into_iter()
            .filter(|a| !a.is_empty())
            .collect();
        let help = place.run(&args).good();
        assert!(!help.contains('\u{1b}'), "{help}");
        let examples = help.split("Examples:\n").nth(1).unwrap_or_default();
        assert!(
            !examples.trim().is_empty(),
            "`{command}` has no examples:\n{help}"
        );
        for line in examples.lines().map(str::trim).filter(|l| !l.is_empty()) {
            assert!(
                line.starts_with(&format!("lowbit {command}"))
                    || ["pack", "quantize", "convert", "tune", "calibrate"].contains(&command),
                "{line}"
            );
            let done = place.line(line);
            assert_eq!(done.code, 0, "{line}\n{}", done.err);
            ran += 1;
        }
    }
    assert!(ran >= 12, "{ran} examples");
}

/// The fenced blocks of a page: what stands behind the fence, and the text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut parts = page.split("```");
    let mut found = Vec::new();
    while let (Some(_), Some(block)) = (parts.next(), parts.next()) {
        let (info, text) = block.split_once('\n').expect("a line");
        found.push((info.to_owned(), text.to_owned()));
    }
    found
}

#[test]
fn the_ten_minutes_of_the_book_go_as_they_are_told() {
    let place = Place::new("ten-minutes");
    let page =
        fs::read_to_string(repository().join("book/src/ten-minutes.md")).expect("the chapter");
    let blocks = blocks(&page);
    let format = &blocks
        .iter()
        .find(|(info, _)| info == "lowbit")
        .expect("a format")
        .1;
    place.write("octave.lowbit", format);
    let mut last = String::new();
    let mut ran = 0;
    for (info, text) in &blocks {
        match info.as_str() {
            "sh" => {
                for line in text.lines().filter(|l| l.starts_with("lowbit ")) {
                    last = place.line(line).good();
                    ran += 1;
                }
            }
            // What the command before it prints, or what it prints of the text with the mistake.
            "text" if text.starts_with("error") => {
                place.write(
                    "octave.lowbit",
                    format.replace("absmax_signed", "absmax_sigend"),
                );
                assert_eq!(
                    place.run(&["check", "octave.lowbit"]).bad(1).trim(),
                    text.trim()
                );
                place.write("octave.lowbit", format);
            }
            "text" => assert!(last.contains(text.trim()), "no {text:?} in\n{last}"),
            _ => {}
        }
    }
    assert!(ran >= 6, "{ran} commands");
}

#[test]
fn the_command_of_the_readme_runs() {
    let place = Place::new("readme");
    let readme = fs::read_to_string(repository().join("README.md")).expect("the README");
    let lines = readme.lines();
    let mut commands =
        lines.filter_map(|l| l.strip_prefix("cargo run --release -p lowbit-cli -- "));
    let out = place
        .line(&format!("lowbit {}", commands.next().expect("a command")))
        .good();
    assert!(
        out.contains("agree with the reference interpreter"),
        "{out}"
    );
}

#[test]
fn the_format_of_the_how_to_runs_from_one_text_file() {
    let place = Place::new("how-to");
    let page = fs::read_to_string(repository().join("book/src/add-a-format.md")).expect("the page");
    let text = page.split("```lowbit\n").nth(1).expect("a text");
    let text = text.split("```").next().expect("its end");
    place.write("mine.lowbit", text);
    place.line("lowbit fmt --check mine.lowbit").good();
    let commands: Vec<&str> = page
        .split('`')
        .filter(|c| c.starts_with("lowbit "))
        .collect();
    assert_eq!(commands.len(), 2);
    let ran = place.line(commands[0]).good();
    assert!(
        ran.contains("64 results agree with the reference interpreter"),
        "{ran}"
    );
    let shown = place.line(commands[1]).good();
    assert!(shown.contains("i8x16"), "{shown}");
    let odd = "lowbit run mine.lowbit --dim N=7 --dim K=101 --dim M=3 --check";
    place.line(odd).good();
}
