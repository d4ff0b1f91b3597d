//! Kernels on every target, also on those that are not this machine: as objects, linked and run on an emulated processor
//! that has exactly the level. All examples, and every format that ships in linear layers,
//! decoded and encoded, against the interpreter.

#[path = "../machines/harness.rs"]
mod harness;

use harness::{Job, Machine, Program, Word, machines};
use lowbit::check::{Random, Reference, borrow, converted, random_inputs};
use lowbit::compiler::spec::Module;
use lowbit::compiler::spec::kernel::Kernel as Spec;
use lowbit::compiler::target::{Target, names};
use lowbit::{Engine, Error, Kernel, Options, Tensor};
use lowbit_tests::{block_len, encodes, examples, is_woven, library, on_two_threads};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Extents for the dimensions of an example, by position.
/// The last has whole tiles of rows and whole blocks in linear layers.
const SHAPES: [[u64; 4]; 6] = [
    [1, 1, 1, 1],
    [3, 5, 64, 7],
    [2, 17, 96, 5],
    [5, 0, 33, 2],
    [13, 7, 191, 3],
    [35, 261, 3, 2],
];

/// Rows of weights in linear layers: two groups of rows in lanes, and three rows.
const ROWS: u64 = 35;

/// A kernel with some dimensions bound, and data to call it on.
struct Case {
    name: String,
    module: Arc<Module>,
    kernel: String,
    bound: Vec<(String, u64)>,
    calls: Vec<Call>,
    /// Whether it may be refused: some kernels are, over formats whose rows share blocks.
    refusable: bool,
}

/// Data, and what the reference says of it.
struct Call {
    dims: Vec<u64>,
    inputs: Vec<Option<Tensor>>,
    reference: Reference,
}

fn call(spec: &Spec, dims: &[u64]) -> Call {
    let inputs = random_inputs(spec, dims, &mut Random::new(7)).expect("inputs");
    let reference = Reference::new(spec, dims, &inputs).expect("a reference");
    Call {
        dims: dims.to_vec(),
        inputs,
        reference,
    }
}

/// Every example, with its dimensions free on several shapes, and with all bound.
fn example_cases(engine: &Engine) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, text) in examples() {
        let module = Arc::new(engine.load(&text).expect("the example reads"));
        for spec in &module.kernels {
            let extents = |shape: &[u64; 4]| shape[..spec.dims.len()].to_vec();
            let case = |bound: Vec<(String, u64)>, shapes: &[[u64; 4]]| Case {
                name: format!(
                    "{name}, {}",
                    if bound.is_empty() { "free" } else { "bound" }
                ),
                module: module.clone(),
                kernel: spec.name.clone(),
                bound,
                calls: shapes.iter().map(|s| call(spec, &extents(s))).collect(),
                refusable: false,
            };
            cases.push(case(Vec::new(), &SHAPES));
            let names = spec.dims.values().map(|d| d.name.clone());
            for shape in [SHAPES[1], SHAPES[4]] {
                cases.push(case(names.clone().zip(shape).collect(), &[shape]));
            }
        }
    }
    cases
}

/// Linear layers over every format that ships, decoding and encoding it, on shapes that no block divides.
fn library_cases(engine: &Engine) -> Vec<Case> {
    let mut cases = Vec::new();
    for (import, format) in library() {
        let name = &format.name;
        let mut text = format!(
            "language 1;
            import \"std/ints\";
            import \"{import}\";
            kernel with_f32(weight w: {name}[N, K], input x: f32[M, K]) -> output y: f32[M, N] {{
                y[m, n] = sum(k) w[n, k] * x[m, k];
            }}
            kernel with_int8(weight w: {name}[N, K], input x: q8_32[M, K]) -> output y: f32[M, N] {{
                y[m, n] = sum(k) w[n, k] * x[m, k];
            }}
            kernel with_tables(weight w: {name}[N, K], input x: i8[M, K]) -> output y: f32[M, N] tables int8 {{
                y[m, n] = sum(k) w[n, k] * x[m, k];
            }}
            kernel decode(stored w: {name}[N, K]) -> output y: f32[N, K] {{ y[n, k] = w[n, k]; }}\n"
        );
        if encodes(&format) {
            text += &format!(
                "kernel encode(input x: f32[N, K]) -> output w: {name}[N, K] {{
                    w[n, k] = quantize x[n, k] as {name};
                }}\n"
            );
        }
        let module = Arc::new(engine.load(&text).expect(name));
        let k = block_len(&format) + 7;
        for spec in &module.kernels {
            // Dimensions are in the order of their first use; only linear layers have a batch.
            let dims = |m: u64| [ROWS, k, m][..spec.dims.len()].to_vec();
            let batches: &[u64] = if spec.dims.len() == 3 {
                &[1, 3, 9]
            } else {
                &[1]
            };
            cases.push(Case {
                name: format!("{} of {name}", spec.name),
                module: module.clone(),
                kernel: spec.name.clone(),
                bound: vec![("N".to_owned(), ROWS), ("K".to_owned(), k)],
                calls: batches.iter().map(|m| call(spec, &dims(*m))).collect(),
                refusable: is_woven(&format),
            });
        }
    }
    cases
}

fn compile(engine: &Engine, case: &Case) -> Result<Kernel, Error> {
    let bound: Vec<(&str, u64)> = case.bound.iter().map(|(n, e)| (n.as_str(), *e)).collect();
    let options = Options {
        kernel: Some(case.kernel.clone()),
        ..Options::default()
    };
    engine.compile_module(&case.module, &bound, &options)
}

/// The objects of a target and the calls of them.
#[derive(Default)]
struct Work<'c> {
    objects: Vec<(String, Vec<u8>)>,
    jobs: Vec<Job>,
    calls: Vec<(&'c Case, &'c Call)>,
}

impl<'c> Work<'c> {
    fn add(&mut self, kernel: &Kernel, case: &'c Case) -> Result<(), Error> {
        // One object for each class of batches that is called.
        let mut functions = BTreeMap::new();
        for call in &case.calls {
            let args = converted(kernel, &call.inputs)?;
            let prepared = kernel.prepare(&borrow(&args))?;
            let function = match functions.get(&prepared.batch()) {
                Some(function) => *function,
                None => {
                    let function = self.objects.len();
                    let symbol = format!("f{function}");
                    let object = kernel.object(&symbol, prepared.batch())?;
                    assert_eq!(object.batch, prepared.batch());
                    self.objects.push((object.symbol, object.bytes));
                    functions.insert(prepared.batch(), function);
                    function
                }
            };
            // Nothing may depend on what was in an output before.
            let outputs: Vec<(&_, &[u64])> = call.reference.outputs().collect();
            let words = prepared.words()?.into_iter().map(|word| match word {
                lowbit::Word::Input(bytes) => Word::Read(bytes.to_vec()),
                lowbit::Word::Output(at) => {
                    let (format, shape) = outputs[at];
                    let size = format.tensor_bytes(shape).expect("a size");
                    Word::Write(vec![0x5a; size as usize])
                }
                lowbit::Word::Scratch(bytes) => Word::Scratch(bytes),
                lowbit::Word::Number(number) => Word::Number(number),
            });
            let words = words.collect();
            self.jobs.push(Job { function, words });
            self.calls.push((case, call));
        }
        Ok(())
    }
}

/// What happened on a target.
#[derive(Default)]
struct Report {
    lines: Vec<String>,
    failures: Vec<String>,
}

fn on_machine(
    work: &Work,
    program: &Program,
    machine: &Machine,
    target: &str,
    report: &mut Report,
) {
    let start = Instant::now();
    let outcomes = program.run(machine, &work.jobs).expect("it runs");
    let mut compared = 0;
    for ((case, call), outcome) in work.calls.iter().zip(outcomes) {
        let place = format!("{target} ({}): {} {:?}", machine.name, case.name, call.dims);
        let written = match outcome {
            Ok(written) => written,
            Err(ending) => {
                report.failures.push(format!("{place}: {ending}"));
                continue;
            }
        };
        let tensors = call.reference.outputs().zip(written);
        let tensors = tensors.map(|((f, s), bytes)| Tensor::from_bytes(f.clone(), s, bytes));
        let compared_with = tensors
            .collect::<Result<Vec<Tensor>, Error>>()
            .and_then(|tensors| call.reference.compare(&tensors));
        match compared_with {
            Ok(comparison) => {
                compared += comparison.compared;
                let found = comparison.differences.first();
                report
                    .failures
                    .extend(found.map(|d| format!("{place}: {d}")));
            }
            Err(error) => report.failures.push(format!("{place}: {error}")),
        }
    }
    report.lines.push(format!(
        "{target} on {}: {} functions, {} calls, {compared} results in {:.1?}",
        machine.name,
        work.objects.len(),
        work.jobs.len(),
        start.elapsed()
    ));
}

fn on_target(target: &str, cases: &[Case]) -> Report {
    let mut report = Report::default();
    let target_of = Target::named(target).expect("a target");
    let machines = machines(target, target_of.features.runs_here());
    if machines.is_empty() {
        return report;
    }
    let start = Instant::now();
    let engine = Engine::new(target_of).expect("an engine");
    let mut work = Work::default();
    for case in cases {
        let added = compile(&engine, case).and_then(|kernel| work.add(&kernel, case));
        match added {
            Err(e) if case.refusable && e.to_string().contains("not supported yet") => {}
            Err(e) => report
                .failures
                .push(format!("{target}: {}: {e}", case.name)),
            Ok(()) => {}
        }
    }
    let compiled = start.elapsed();
    let program = Program::link(target, &work.objects).expect("it links");
    report.lines.push(format!(
        "{target}: compiled in {compiled:.1?}, linked in {:.1?}",
        start.elapsed() - compiled
    ));
    for machine in &machines {
        on_machine(&work, &program, machine, target, &mut report);
    }
    report
}

#[test]
fn kernels_are_right_on_every_machine() {
    let engine = Engine::host().expect("an engine");
    let mut cases = example_cases(&engine);
    let examples = cases.len();
    cases.extend(library_cases(&engine));
    assert!(examples > 30 && cases.len() > examples + 100);
    println!(
        "{examples} kernels of examples, {} of formats",
        cases.len() - examples
    );
    let failed = on_two_threads(names().into_iter().rev(), |target| {
        let report = on_target(target, &cases);
        report.lines.iter().for_each(|line| println!("{line}"));
        report.failures
    });
    assert!(
        failed.is_empty(),
        "{} failures\n{}",
        failed.len(),
        failed.join("\n")
    );
}
