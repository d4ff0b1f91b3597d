//! Speed of bulk work: decoding, rounding to nearest and packing of every format that ships, through compiled kernels, on one
//! thread. Packing is into the layout that a linear layer over f32 activations likes.
//! Gigabytes count the f32 side; 16 MiB of it at a time. Arguments: a file for the figures as JSON (`-` for none), then the
//! formats to measure, by parts of their names.

use lowbit::check::{Random, random_tensor};
use lowbit::compiler::format::layout::same_layout;
use lowbit::compiler::format::std as shipped;
use lowbit::compiler::format::{BlockFormat, Format, FormatKind};
use lowbit::compiler::spec::load;
use lowbit::{Engine, Error, Options, Packer, Scratch};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

const ROWS: u64 = 1024;
const COLUMNS: u64 = 4096;
const ROUNDS: usize = 5;

#[derive(Serialize)]
struct Row {
    format: String,
    /// `None` where no kernel reads the format.
    decode: Option<f64>,
    /// `None` where none writes it, as where it does not say how to encode.
    encode: Option<f64>,
    /// `None` where weights stay as they are, or no kernel moves them.
    pack: Option<f64>,
}

/// What was measured; nothing for a format that kernels do not have.
fn supported<T>(speed: Result<T, Error>) -> Result<Option<T>, Error> {
    match speed {
        Ok(speed) => Ok(Some(speed)),
        Err(Error::Compile(_)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Gigabytes per second of the f32 side, in the fastest round.
fn speed(engine: &Engine, text: &str, name: &str) -> Result<f64, Error> {
    let module = engine.load(text)?;
    let options = Options {
        kernel: Some(name.to_owned()),
        ..Options::default()
    };
    let kernel = engine.compile_module(&module, &[("K", COLUMNS)], &options)?;
    let spec = kernel.spec();
    let (id, input) = spec
        .tensors
        .iter()
        .next()
        .map(|(id, t)| (id, t.name.clone()))
        .ok_or(Error::TooLarge(0))?;
    let extents: Vec<u64> = spec
        .dims
        .values()
        .map(|d| d.bound.unwrap_or(ROWS))
        .collect();
    let x = random_tensor(spec, id, &extents, &mut Random::new(3))?;
    let args = [(input.as_str(), &x)];
    let mut out = kernel.call(&args)?.bytes().to_vec();
    let mut scratch = Scratch::default();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        kernel.call_into(&args, &mut [&mut out], &mut scratch)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok((ROWS * COLUMNS * 4) as f64 / best / 1e9)
}

/// Gigabytes per second of the f32 side at which weights go into the layout of a linear layer; nothing where they stay as they
/// are.
fn pack_speed(engine: &Engine, text: &str, format: &Arc<Format>) -> Result<Option<f64>, Error> {
    let layout = engine.compile(text, &[("K", COLUMNS)])?.layout("w")?;
    if same_layout(&layout, format) {
        return Ok(None);
    }
    let packer = Packer::new(engine, format, &layout)?;
    let spec = packer.kernel().spec();
    let source = spec.tensors.keys().next().ok_or(Error::TooLarge(0))?;
    let w = random_tensor(spec, source, &[1, ROWS, COLUMNS], &mut Random::new(3))?;
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        packer.pack(&w)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(Some((ROWS * COLUMNS * 4) as f64 / best / 1e9))
}

fn row(engine: &Engine, module: &str, format: &Arc<Format>) -> Result<Row, Error> {
    let name = &format.name;
    let text = format!(
        "language 1;\nimport \"{module}\";\n\
         kernel decode(stored w: {name}[N, K]) -> output y: f32[N, K] {{ y[n, k] = w[n, k]; }}\n"
    );
    let decode = supported(speed(engine, &text, "decode"))?;
    let statement = match &format.kind {
        FormatKind::Plain(e) if e.is_integer() => Some("w[n, k] = round(x[n, k]);".to_owned()),
        FormatKind::Plain(_) => Some("w[n, k] = x[n, k];".to_owned()),
        FormatKind::Block(BlockFormat { encode: None, .. }) => None,
        FormatKind::Block(_) => Some(format!("w[n, k] = quantize x[n, k] as {name};")),
    };
    let encode = match statement {
        Some(statement) => {
            let text = format!(
                "language 1;\nimport \"{module}\";\n\
                 kernel encode(input x: f32[N, K]) -> output w: {name}[N, K] {{ {statement} }}\n"
            );
            supported(speed(engine, &text, "encode"))?
        }
        None => None,
    };
    let text = format!(
        "language 1;\nimport \"{module}\";\n\
         kernel linear(weight w: {name}[N, K], input x: f32[M, K]) -> output y: f32[M, N] {{ \
         y[m, n] = sum(k) w[n, k] * x[m, k]; }}\n"
    );
    let pack = supported(pack_speed(engine, &text, format))?.flatten();
    Ok(Row {
        format: name.clone(),
        decode,
        encode,
        pack,
    })
}

fn main() -> Result<(), Error> {
    let engine = Engine::host()?;
    let json = std::env::args().nth(1).filter(|path| path != "-");
    let wanted: Vec<String> = std::env::args().skip(2).collect();
    let mut rows = Vec::new();
    println!(
        "{:<16} {:>8} {:>8} {:>8}  GB/s of f32",
        "format", "decode", "encode", "pack"
    );
    for module in shipped::NAMES {
        let text = shipped::source(module).unwrap_or_default();
        let Ok(loaded) = load(module, text, &|_| None) else {
            continue;
        };
        for format in &loaded.formats {
            if matches!(&format.kind, FormatKind::Plain(e) if e.width() > 1) {
                continue;
            }
            if !wanted.is_empty() && !wanted.iter().any(|w| format.name.contains(w)) {
                continue;
            }
            let row = row(&engine, module, format)?;
            let text = |n: Option<f64>| n.map_or("-".to_owned(), |n| format!("{n:.2}"));
            println!(
                "{:<16} {:>8} {:>8} {:>8}",
                row.format,
                text(row.decode),
                text(row.encode),
                text(row.pack)
            );
            rows.push(row);
        }
    }
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&rows).unwrap_or_default();
        std::fs::write(&path, text).map_err(|_| Error::TooLarge(0))?;
    }
    Ok(())
}
