//! A peer of the benchmark (`benches/README.md` has the protocol): candle's `QMatMul`.
//!
//! candle reads the number of its threads from the environment once, so there is a process for each number of threads: the
//! first process hands on what it hears, and the others, which have the number as their argument, measure.
#![forbid(unsafe_code)]

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Module, Tensor};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, Lines, Write, stdin};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The versions of what this program is built with.
const LOCK: &str = include_str!("../Cargo.lock");

/// Formats by the names of the protocol.
const FORMATS: [(&str, GgmlDType); 5] = [
    ("f32", GgmlDType::F32),
    ("q4_0", GgmlDType::Q4_0),
    ("q2_k", GgmlDType::Q2K),
    ("q3_k", GgmlDType::Q3K),
    ("q4_k", GgmlDType::Q4K),
];

/// Rows that are quantised; weights are made of them, in every copy in another order.
const ROWS: usize = 61;

/// How far results may be from those of decoded weights, over the largest: activations are bytes.
const TOLERANCE: f32 = 0.05;

/// How often candle's threads look for work before they sleep: some 30 µs, so that they are awake for the next call of a run, but
/// not while others are timed. Of itself candle has them spin for longer than a call takes.
const SPINS: &str = "2000";

/// The part of glibc's settings that has it ask for pages of 2 MiB, as the benchmark does for its own weights.
const LARGE_PAGES: &str = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1048576";

fn main() -> Outcome<()> {
    match env::args().nth(1) {
        Some(_) => measure(),
        None => hand_on(),
    }
}

/// A process that measures.
struct Process {
    // Ends with its standard input.
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(threads: u64) -> Outcome<Process> {
        let threads = threads.to_string();
        let mut child = Command::new(env::current_exe()?)
            .arg(&threads)
            .env("RAYON_NUM_THREADS", &threads)
            .env("CANDLE_NUM_THREADS", &threads)
            .env("CANDLE_BARRIER_POOL_SPIN_LIMIT", SPINS)
            .env("GLIBC_TUNABLES", LARGE_PAGES)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = child.stdout.take().ok_or("no standard output")?;
        Ok(Process {
            _child: child,
            input,
            output: BufReader::new(output).lines(),
        })
    }

    fn tell(&mut self, request: &Value) -> Outcome<()> {
        writeln!(self.input, "{request}")?;
        Ok(self.input.flush()?)
    }
}

/// The version of candle.
fn version() -> Outcome<&'static str> {
    let package = LOCK
        .split("[[package]]")
        .find(|p| p.contains("name = \"candle-core\""));
    let version = package.and_then(|p| p.lines().find_map(|line| line.strip_prefix("version = ")));
    Ok(version.ok_or("no version of candle")?.trim_matches('"'))
}

/// Hands requests on to the process with as many threads as they want.
fn hand_on() -> Outcome<()> {
    let formats: Vec<&str> = FORMATS.iter().map(|(name, _)| *name).collect();
    say(&json!({"name": "candle", "version": version()?, "formats": formats}));
    let mut processes: HashMap<u64, Process> = HashMap::new();
    let mut owners: Vec<u64> = Vec::new();
    for line in stdin().lines() {
        let mut request: Value = serde_json::from_str(&line?)?;
        let threads = if let Some(order) = request.get_mut("prepare") {
            let threads = number(order, "threads")?;
            order["handle"] = owners.len().into();
            owners.push(threads);
            threads
        } else {
            let run = request.get("run").map(|run| &run["handle"]);
            let handle = run.or_else(|| request.get("drop")).and_then(Value::as_u64);
            *owners
                .get(handle.ok_or("a request of another kind")? as usize)
                .ok_or("an unknown handle")?
        };
        let process = match processes.entry(threads) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Process::start(threads)?),
        };
        process.tell(&request)?;
        if request.get("drop").is_none() {
            let answer = process.output.next().ok_or("a process ended")??;
            say(&serde_json::from_str(&answer)?);
        }
    }
    Ok(())
}

/// Measures what it is told to.
fn measure() -> Outcome<()> {
    let mut layers: HashMap<u64, Layer> = HashMap::new();
    for line in stdin().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        if let Some(order) = request.get("prepare") {
            let handle = number(order, "handle")?;
            match Layer::new(order) {
                Ok(layer) => {
                    say(&layer.described(handle));
                    layers.insert(handle, layer);
                }
                Err(why) => say(&json!({"unsupported": why.to_string()})),
            }
        } else if let Some(run) = request.get("run") {
            let layer = layers
                .get_mut(&number(run, "handle")?)
                .ok_or("an unknown handle")?;
            let seconds = (0..number(run, "calls")?).map(|_| layer.call());
            match seconds.collect::<Outcome<Vec<f64>>>() {
                Ok(seconds) => say(&json!({"seconds": seconds})),
                Err(why) => say(&json!({"error": why.to_string()})),
            }
        } else if let Some(handle) = request.get("drop").and_then(Value::as_u64) {
            layers.remove(&handle);
        }
    }
    Ok(())
}

/// A linear layer with copies of its weights.
struct Layer {
    format: &'static str,
    bits: f64,
    x: Tensor,
    copies: Vec<QMatMul>,
    next: usize,
}

impl Layer {
    fn new(order: &Value) -> Outcome<Layer> {
        let wanted = order["format"].as_str().unwrap_or_default();
        let (format, dtype) = FORMATS
            .into_iter()
            .find(|(name, _)| *name == wanted)
            .ok_or_else(|| format!("no format {wanted}"))?;
        let (n, k) = (number(order, "n")? as usize, number(order, "k")? as usize);
        if !k.is_multiple_of(dtype.block_size()) {
            return Err(format!("k is no multiple of {}", dtype.block_size()).into());
        }
        let rows = number(order, "rows")? as usize;
        let device = Device::Cpu;
        let drawn = Tensor::randn(0f32, 1f32, (ROWS, k), &device)?;
        let drawn = QTensor::quantize(&drawn, dtype)?;
        let bytes = drawn.data()?;
        let row = bytes.len() / ROWS;
        let copy = |first: usize| -> Outcome<QMatMul> {
            let rows = (0..n).map(|r| (r + first) % ROWS);
            let bytes: Vec<u8> = rows
                .flat_map(|r| &bytes[r * row..(r + 1) * row])
                .copied()
                .collect();
            let storage = QStorage::from_data(Cow::Owned(bytes), &device, dtype)?;
            Ok(QMatMul::from_qtensor(QTensor::new(storage, (n, k))?)?)
        };
        let copies: Outcome<Vec<QMatMul>> =
            (0..number(order, "copies")? as usize).map(copy).collect();
        let mut layer = Layer {
            format,
            bits: (dtype.type_size() * 8) as f64 / dtype.block_size() as f64,
            x: Tensor::randn(0f32, 1f32, (rows, k), &device)?,
            copies: copies?,
            next: 0,
        };
        layer.check(&drawn.dequantize(&device)?, n.min(ROWS))?;
        // What is packed at the first use is packed before anything is timed.
        for _ in 0..layer.copies.len() {
            layer.call()?;
        }
        Ok(layer)
    }

    /// Compares the first columns of the first copy's results with those of decoded weights.
    fn check(&self, decoded: &Tensor, columns: usize) -> Outcome<()> {
        let wanted = self.x.matmul(&decoded.narrow(0, 0, columns)?.t()?)?;
        let found = self.copies[0].forward(&self.x)?.narrow(1, 0, columns)?;
        let largest = wanted.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
        let off = (wanted - found)?.abs()?.flatten_all()?.max(0)?;
        match off.to_scalar::<f32>()? <= TOLERANCE * largest {
            true => Ok(()),
            false => Err("its results are not those of its weights".into()),
        }
    }

    fn described(&self, handle: u64) -> Value {
        let activations = if self.format == "f32" { "f32" } else { "int8" };
        json!({
            "handle": handle,
            "what": format!("QMatMul {}", self.format),
            "bits": self.bits,
            "activations": activations,
        })
    }

    /// Seconds of a call on the next copy.
    fn call(&mut self) -> Outcome<f64> {
        let weights = &self.copies[self.next % self.copies.len()];
        self.next += 1;
        let start = Instant::now();
        let y = weights.forward(&self.x)?;
        let seconds = start.elapsed().as_secs_f64();
        drop(y);
        Ok(seconds)
    }
}

fn number(of: &Value, key: &str) -> Outcome<u64> {
    let number = of.get(key).and_then(Value::as_u64);
    number.ok_or_else(|| format!("no number `{key}`").into())
}

fn say(answer: &Value) {
    println!("{answer}");
}
