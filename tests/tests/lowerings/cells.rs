//! Cells: a linear layer over a format, with a kind of activations and a number of rows, and what the compiler makes of it on
//! a target.

use lowbit::compiler::pipeline::{self, Program, Request};
use lowbit::compiler::rewrite::RuleSet;
use lowbit::compiler::rewrite::cost::CostVector;
use lowbit::compiler::rewrite::lang::Op;
use lowbit::compiler::schedule::plan::Layouts;
use lowbit::compiler::spec::kernel::{Kernel, Role};
use lowbit::compiler::spec::{bind, load};
use lowbit::compiler::target::{Target, names};
use lowbit_tests::on_two_threads;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;

/// A format, its module, and bits of a code.
pub(crate) type Row = (&'static str, &'static str, f64);

pub(crate) const FORMATS: [Row; 16] = [
    ("binary_128", "std/ternary", 1.0),
    ("int1_32", "std/ints", 1.0),
    ("ternary3_96", "std/ternary", 5.0 / 3.0),
    ("tq1_0", "std/ggml", 1.6),
    ("ternary2_128", "std/ternary", 2.0),
    ("int2_32", "std/ints", 2.0),
    ("q2_k", "std/ggml_k", 2.0),
    ("int3_32", "std/ints", 3.0),
    ("int4_32", "std/ints", 4.0),
    ("int6_32", "std/ints", 6.0),
    ("q4_k", "std/ggml_k", 4.0),
    ("iq4_nl", "std/ggml", 4.0),
    ("fp4_32", "std/floats", 4.0),
    ("mxfp4", "std/mx", 4.0),
    ("nvfp4", "std/mx", 4.0),
    ("nf4_64", "std/nf4", 4.0),
];

/// What weights are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Activations {
    /// 32-bit floats.
    F32,
    /// Bytes in blocks with a scale.
    Int8,
    /// The same in a kernel that says `tables int8`.
    Tables,
}

pub(crate) const ACTIVATIONS: [Activations; 3] =
    [Activations::F32, Activations::Int8, Activations::Tables];

/// Rows of activations.
pub(crate) const ROWS: [u64; 3] = [1, 8, 64];

/// Rows and columns of the weights.
const SIZE: u64 = 4096;

#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) target: &'static str,
    /// Whether the target looks up in registers.
    pub(crate) looks_up: bool,
    /// Whether it has dot products of four bytes.
    pub(crate) dots: bool,
    pub(crate) format: &'static str,
    /// Bits of a code.
    pub(crate) bits: f64,
    pub(crate) activations: Activations,
    pub(crate) rows: u64,
    /// Lanes, and neighbours in a joint code where there are several.
    lanes: String,
    /// The lowering in words.
    pub(crate) name: String,
    cost: CostVector,
    resident: f64,
    /// Lowerings that were considered.
    pub(crate) candidates: usize,
}

/// Short words for the table.
const SHORT: &[(&str, &str)] = &[
    (
        "look-up of rounded sums in tables of bytes",
        "rounded sums lut8",
    ),
    ("look-up of sums in tables of two bytes", "sums lut16"),
    ("look-up of sums in tables of bytes", "sums lut8"),
    ("table look-up to bytes", "lut->i8"),
    ("table look-up to f32", "lut->f32"),
    ("values in memory", "fetch"),
    ("table in memory", "table"),
    ("bit arithmetic to f32", "bits->f32"),
    ("sign extension", "sext"),
    ("digits by multiplication", "digits"),
    ("unpack to bytes", "unpack"),
    ("magic-number conversion", "magic"),
    ("dot product of four bytes", "dot4"),
    ("dot product of four signed bytes", "dot4s"),
    ("byte products in pairs", "pairs8"),
    ("16-bit products in pairs", "pairs16"),
    ("integer products", "imul"),
    ("f32 multiply-add", "fma"),
    ("staged sums", "staged"),
    ("decoded panels", "panels"),
];

fn short(name: &str) -> String {
    let part = |p: &str| {
        let known = SHORT.iter().find(|(long, _)| *long == p);
        known.map_or(p, |(_, short)| short).to_owned()
    };
    let parts: Vec<String> = name.split(", ").map(part).collect();
    parts.join(", ")
}

/// Two significant digits: smaller changes of costs change no table.
fn digits(value: f64) -> String {
    if value < 1e-9 {
        return "0".to_owned();
    }
    let places = (1 - value.log10().floor() as i32).max(0);
    let scale = 10f64.powi(1 - value.log10().floor() as i32);
    format!("{:.*}", places as usize, (value * scale).round() / scale)
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let activations = match self.activations {
            Activations::F32 => "f32",
            Activations::Int8 => "int8",
            Activations::Tables => "tables",
        };
        let of_weight = |total: f64| digits(total / (SIZE * SIZE) as f64);
        let units: Vec<String> = self.cost.units.iter().map(|u| of_weight(*u)).collect();
        write!(
            f,
            "{:<12} {activations:<6} {:>2}  {:>6} {:>6} {:>5} {:>2}  {:<14} {:<54} {}",
            self.format,
            self.rows,
            of_weight(self.cost.cycles),
            of_weight(self.cost.bytes),
            digits(self.resident),
            self.candidates,
            self.lanes,
            short(&self.name),
            units.join(" ")
        )
    }
}

/// The cells of a target, a line each.
pub(crate) fn table(cells: &[&Cell]) -> String {
    let mut text = "format, activations, rows; cycles and bytes a weight, bits it takes in memory, candidates; lanes; lowering; \
         operations of the vector, multiply, shuffle, load, store and scalar units and of additions of floats a weight\n"
        .to_owned();
    for cell in cells {
        text.push_str(&format!("{cell}\n"));
    }
    text
}

fn kernel_of((format, module, _): Row, activations: Activations) -> Kernel {
    let (input, suffix) = match activations {
        Activations::F32 => ("f32", ""),
        Activations::Int8 => ("q8_32", ""),
        Activations::Tables => ("q8_32", " tables int8"),
    };
    let modules: BTreeSet<&str> = ["std/ints", module].into();
    let imports: Vec<String> = modules.iter().map(|m| format!("import \"{m}\";")).collect();
    let text = format!(
        "language 1; {} kernel k(weight w: {format}[N, K], input x: {input}[M, K]) -> output y: f32[M, N]{suffix} {{
            y[m, n] = sum(k) w[n, k] * x[m, k];
        }}",
        imports.join(" ")
    );
    let module = load("cell", &text, &|_| None).expect(format);
    bind(&module.kernels[0], &[("N", SIZE), ("K", SIZE)]).expect(format)
}

/// The layouts that other numbers of rows must take.
fn settled(kernel: &Kernel, program: &Program) -> Layouts {
    let mut layouts = Layouts::new();
    for (id, tensor) in kernel.tensors.iter() {
        if tensor.role == Role::Weight {
            let chosen = program.layouts[id].clone();
            layouts[id] = Some(chosen.unwrap_or_else(|| tensor.format.clone()));
        }
    }
    layouts
}

fn cell(row: Row, activations: Activations, rows: u64, target: &Target, program: &Program) -> Cell {
    let stage = program.stages.last().expect("a step");
    let chosen = stage.candidates.iter().find(|c| c.chosen).expect("one");
    let weights = program.normal.kernel.tensors.iter();
    let (id, weight) = weights
        .into_iter()
        .find(|(_, t)| t.role == Role::Weight)
        .expect("a weight");
    let layout = program.layouts[id].as_ref().unwrap_or(&weight.format);
    let joint = stage.plan.joint();
    let lanes = match joint {
        1 => chosen.lanes.clone(),
        _ => format!("{} joint {joint}", chosen.lanes),
    };
    let names = names();
    let name = names.iter().find(|n| **n == target.name);
    Cell {
        target: name.expect("a known target"),
        looks_up: target.costs.contains_key(&Op::VLookup8),
        dots: [Op::VDot4, Op::VDot4S]
            .iter()
            .any(|op| target.costs.contains_key(op)),
        format: row.0,
        bits: row.2,
        activations,
        rows,
        lanes,
        name: chosen.name.clone(),
        cost: chosen.cost.clone(),
        resident: layout.bits_per_element(),
        candidates: stage.candidates.len(),
    }
}

/// The cells of a format on a target, in order.
fn of_format(row: Row, target: &Target, rules: &RuleSet) -> Vec<Cell> {
    let mut cells = Vec::new();
    for activations in ACTIVATIONS {
        let kernel = kernel_of(row, activations);
        let mut layouts = Layouts::new();
        for rows in ROWS {
            let request = Request {
                later: if rows == ROWS[0] { &[8] } else { &[] },
                target,
                batch: rows,
                layouts: layouts.clone(),
                force: None,
                picks: &[],
            };
            let program = pipeline::compile(&kernel, rules, &request).expect(row.0);
            if rows == ROWS[0] {
                layouts = settled(&kernel, &program);
            }
            cells.push(cell(row, activations, rows, target, &program));
        }
    }
    cells
}

/// All cells, by target and format; compiled once.
pub(crate) fn cells() -> &'static [Cell] {
    static CELLS: OnceLock<Vec<Cell>> = OnceLock::new();
    CELLS.get_or_init(|| {
        let targets = names().into_iter().enumerate();
        let jobs = targets.flat_map(|(t, name)| (0..FORMATS.len()).map(move |f| (t, name, f)));
        let rules = RuleSet::standard().expect("the rules compile");
        let mut done = on_two_threads(jobs, |(t, name, f)| {
            let target = Target::named(name).expect("a target");
            vec![(t, f, of_format(FORMATS[f], &target, &rules))]
        });
        done.sort_by_key(|(t, f, _)| (*t, *f));
        done.into_iter().flat_map(|(_, _, cells)| cells).collect()
    })
}
