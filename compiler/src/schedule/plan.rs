//! Plans: the few schedules of a statement that are worth an e-graph each. A plan says which index goes to the lanes,
//! how the blocked index is cut, and which layout each weight takes.

use super::layout::{Cut, JOINT_BITS, interleave, joint_width, values_per_code, widths};
use crate::format::{BlockFormat, Codebook, Element, Field, Format, FormatKind, Scope};
use crate::spec::kernel::{Expr, ExprId, IndexId, Kernel, Role, Statement, Subscript, TensorId};
use crate::target::Target;
use cranelift_entity::SecondaryMap;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The formats that the tensors of a kernel have in memory.
pub type Layouts = SecondaryMap<TensorId, Option<Arc<Format>>>;

/// A schedule of one statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The index whose values lie side by side in lanes, with its cut; `None` for scalar code.
    pub vector: Option<(IndexId, Cut)>,
    /// The elements of a chunk of the vector index: a multiple of every block along it.
    pub chunk: u64,
    /// The index over rows of weights, and how many of its values are lanes.
    pub row: Option<(IndexId, u64)>,
    /// Rows that share blocks, where they are copies beside each other rather than lanes; 1 otherwise.
    pub woven: u64,
    /// Copies of the row index beside each other (times the row lanes).
    pub row_tile: u64,
    /// The last other result index, and how many of its values are copies.
    pub batch_tile: Option<(IndexId, u64)>,
    /// Positions within the chunk where another block or sub-block begins, ascending, each dividing the next.
    pub bounds: Vec<u64>,
}

impl Plan {
    /// Lanes along rows.
    pub fn row_lanes(&self) -> u64 {
        self.row.map_or(1, |(_, lanes)| lanes)
    }
    /// Rows that are computed at a time, before tiles: lanes, or copies of rows that share blocks.
    pub fn row_group(&self) -> u64 {
        self.row_lanes() * self.woven
    }
    /// Lanes along the vector index.
    pub fn vector_lanes(&self) -> u64 {
        self.vector.map_or(1, |(_, cut)| cut.lanes)
    }
    /// Neighbours along the vector index whose codes make up a joint code.
    pub fn joint(&self) -> u64 {
        self.vector.map_or(1, |(_, cut)| cut.joint)
    }
    /// The lane list with the names of the indices: `[n:4, k:4]`, and neighbours in joint codes: `[n:16] joint k:4`.
    pub fn lane_list(&self, kernel: &Kernel) -> String {
        let mut parts = Vec::new();
        if let Some((row, lanes)) = self.row
            && lanes > 1
        {
            parts.push(format!("{}:{lanes}", kernel.indices[row].name));
        }
        if let Some((index, cut)) = self.vector
            && cut.lanes > 1
        {
            parts.push(format!("{}:{}", kernel.indices[index].name, cut.lanes));
        }
        let joint = match self.vector {
            Some((index, cut)) if cut.joint > 1 => {
                format!(" joint {}:{}", kernel.indices[index].name, cut.joint)
            }
            Some(_) | None => String::new(),
        };
        format!("[{}]{joint}", parts.join(", "))
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lanes, {} copies in {}",
            self.lanes, self.copies, self.span
        )
    }
}

/// A load of a block tensor along an index.
#[derive(Clone)]
struct BlockUse<'a> {
    tensor: TensorId,
    block: Cow<'a, BlockFormat>,
    subscripts: &'a [Subscript],
    /// Whether its layout is still to be chosen.
    free: bool,
}

/// What plans depend on: facts of a statement.
struct Facts<'a> {
    outputs: Vec<IndexId>,
    reduced: Vec<IndexId>,
    uses: Vec<(TensorId, &'a [Subscript])>,
}

/// Lanes of a plan before it is cut.
#[derive(Clone, Copy)]
struct Lanes {
    rows: u64,
    vector: u64,
    joint: u64,
}

impl Lanes {
    fn new(rows: u64, vector: u64) -> Lanes {
        Lanes {
            rows,
            vector,
            joint: 1,
        }
    }
}

/// The plans of a statement on a target, best guess first; never empty.
pub fn plans(
    kernel: &Kernel,
    statement: &Statement,
    layouts: &Layouts,
    target: &Target,
) -> Vec<Plan> {
    let vector_bytes = u64::from(target.vector_bytes);
    let facts = facts(kernel, statement);
    let vector = vector_index(kernel, &facts);
    let blocks: Vec<BlockUse<'_>> = facts
        .uses
        .iter()
        .filter_map(|(tensor, subscripts)| {
            let format = layouts[*tensor]
                .as_deref()
                .unwrap_or(&kernel.tensors[*tensor].format);
            let FormatKind::Block(block) = &format.kind else {
                return None;
            };
            let last = subscripts.last()?;
            let free = kernel.tensors[*tensor].role == Role::Weight && layouts[*tensor].is_none();
            (vector.map(Subscript::Index).as_ref() == Some(last)).then_some(BlockUse {
                tensor: *tensor,
                block: Cow::Borrowed(block),
                subscripts,
                free,
            })
        })
        .collect();
    let row = row_index(kernel, &facts, vector, &blocks);
    let steps = steps(&facts, vector);
    let mut plans = Vec::new();
    let joint: Vec<u64> = match target.has_tables() {
        true => joints(kernel, &facts, vector, &blocks),
        false => Vec::new(),
    };
    let with_joint = |rows: u64| {
        let of = move |joint: &u64| Lanes {
            joint: *joint,
            ..Lanes::new(rows, 1)
        };
        joint.iter().map(of).collect::<Vec<Lanes>>()
    };
    let narrow = [(1, 8), (1, 4), (1, 2), (1, 1)].map(|(r, v)| Lanes::new(r, v));
    let mut lists = vec![
        Lanes::new(1, vector_bytes),
        Lanes::new(4, vector_bytes / 4),
        Lanes::new(vector_bytes, 1),
    ];
    lists.extend(with_joint(vector_bytes));
    lists.extend(narrow);
    let interleaved = layouts_rows(&blocks).filter(|_| row.is_some());
    let over_results = vector.is_some_and(|v| facts.outputs.contains(&v));
    if interleaved.is_some() && over_results {
        // Rows of results are stored one by one.
        lists.retain(|l| l.rows == 1);
    } else if let Some(rows) = interleaved {
        lists = vec![
            Lanes::new(rows, (vector_bytes / rows).max(1)),
            Lanes::new(rows, 1),
        ];
        lists.extend(with_joint(rows));
        lists.extend(narrow);
        // Registers hold powers of two.
        lists.retain(|l| l.rows.is_power_of_two());
    }
    let fixed_blocks = blocks;
    for list in lists {
        let Lanes {
            rows,
            vector: lanes,
            joint,
        } = list;
        let mut blocks = fixed_blocks.clone();
        if rows > 1 {
            blocks.extend(plain_blocks(kernel, &facts, layouts, vector, row, lanes));
        }
        // Rows that share blocks and are not lanes are copies.
        let woven = match rows {
            1 => interleaved.unwrap_or(1),
            _ => 1,
        };
        let (chunk, bounds) = chunk(&blocks, &steps, vector_bytes);
        let free = blocks.is_empty() && steps.is_empty();
        let inner = bounds.first().copied().filter(|_| !free);
        let wanted = match joint {
            1 => copies_wanted(&blocks),
            _ => JOINT_COPIES,
        };
        if rows > 1
            && !(row.is_some()
                && (interleaved.is_some() || can_interleave(kernel, &facts, row, &blocks)))
        {
            continue;
        }
        // Fewer lanes along the vector index only where no list with more was possible.
        let scalar = lanes == 1 && rows == 1;
        let narrow = rows == 1 && lanes < vector_bytes && !plans.is_empty();
        if scalar || narrow || vector.is_none() {
            continue;
        }
        let copied = over_results && chunk <= MOST_COPIED;
        if let Some(cut) = cut(&blocks, inner, list, wanted, copied.then_some(chunk)) {
            let chunk = if free { cut.span } else { chunk };
            let bounds = if free || cut.span == chunk {
                vec![cut.span]
            } else {
                bounds.clone()
            };
            let batch_tile = batch_index(&facts, row, vector).map(|i| (i, 1));
            let plan = Plan {
                vector: vector.map(|v| (v, cut)),
                chunk,
                row: row.map(|r| (r, rows)),
                woven,
                row_tile: 1,
                batch_tile,
                bounds,
            };
            if !plans.contains(&plan) {
                plans.push(plan);
            }
        }
    }
    if plans.is_empty() {
        let (chunk, bounds) = chunk(&fixed_blocks, &steps, vector_bytes);
        let free = fixed_blocks.is_empty() && steps.is_empty();
        let cut = Cut {
            lanes: 1,
            joint: 1,
            copies: 1,
            span: 1,
        };
        plans.push(Plan {
            vector: vector.map(|v| (v, cut)),
            chunk: if free { 1 } else { chunk },
            row: row.map(|r| (r, 1)),
            woven: interleaved.unwrap_or(1),
            row_tile: 1,
            batch_tile: batch_index(&facts, row, vector).map(|i| (i, 1)),
            bounds: if free { vec![1] } else { bounds },
        });
    }
    plans
}

/// The layouts that a plan wants beside those already chosen: weights along the vector index, interleaved by its row lanes
/// where the row index numbers their rows.
pub fn layouts_of(
    kernel: &Kernel,
    statement: &Statement,
    plan: &Plan,
    chosen: &Layouts,
) -> Layouts {
    let facts = facts(kernel, statement);
    let mut layouts = chosen.clone();
    let Some((vector, cut)) = plan.vector else {
        return layouts;
    };
    for (tensor, subscripts) in &facts.uses {
        let data = &kernel.tensors[*tensor];
        let block = match &data.format.kind {
            FormatKind::Block(block) => block.clone(),
            FormatKind::Plain(element) => BlockFormat::of_plain(element, cut.lanes * PLAIN_COPIES),
        };
        let plain = matches!(data.format.kind, FormatKind::Plain(_));
        if data.role != Role::Weight
            || chosen[*tensor].is_some()
            || subscripts.last() != Some(&Subscript::Index(vector))
            || block.rows > 1
        {
            continue;
        }
        let by_row = matches!(subscripts, [.., Subscript::Index(i), _] if plan.row.is_some_and(|(row, _)| row == *i));
        let rows = if by_row && single_use(kernel, *tensor) {
            plan.row_lanes() as u32
        } else {
            1
        };
        let kept = rows == 1 && (plain || cut.lanes == 1);
        if kept || (plain && !worth_blocks(kernel, *tensor, u64::from(block.len))) {
            continue;
        }
        let packed = interleave(&block, rows, cut);
        let name = match cut.joint {
            1 => format!("{}_{}x{}", data.format.name, rows, cut.lanes),
            joint => format!("{}_{}x{}j{joint}", data.format.name, rows, cut.lanes),
        };
        layouts[*tensor] = Some(Arc::new(Format {
            name,
            kind: FormatKind::Block(packed),
        }));
    }
    layouts
}

/// Settles the layouts of the weights that a statement reads: later statements must read them as this one does.
pub fn settle(kernel: &Kernel, statement: &Statement, layouts: &mut Layouts) {
    for (tensor, _) in &facts(kernel, statement).uses {
        let data = &kernel.tensors[*tensor];
        if data.role == Role::Weight && layouts[*tensor].is_none() {
            layouts[*tensor] = Some(data.format.clone());
        }
    }
}

/// Copies of the lanes in a block of plain values: they spread the cost of the loop.
const PLAIN_COPIES: u64 = 4;

/// Weights in plain values along the vector index whose rows may be interleaved, as blocks.
fn plain_blocks<'a>(
    kernel: &Kernel,
    facts: &Facts<'a>,
    layouts: &Layouts,
    vector: Option<IndexId>,
    row: Option<IndexId>,
    lanes: u64,
) -> Vec<BlockUse<'a>> {
    let over_rows = |subscripts: &[Subscript]| match subscripts {
        [.., Subscript::Index(r), Subscript::Index(v)] => row == Some(*r) && vector == Some(*v),
        _ => false,
    };
    let found = facts.uses.iter().filter_map(|(tensor, subscripts)| {
        let data = &kernel.tensors[*tensor];
        let FormatKind::Plain(element) = &data.format.kind else {
            return None;
        };
        let block = BlockFormat::of_plain(element, lanes * PLAIN_COPIES);
        let free = data.role == Role::Weight && layouts[*tensor].is_none();
        let wanted =
            free && over_rows(subscripts) && worth_blocks(kernel, *tensor, u64::from(block.len));
        wanted.then_some(BlockUse {
            tensor: *tensor,
            block: Cow::Owned(block),
            subscripts,
            free: true,
        })
    });
    found.collect()
}

/// Whether blocks of plain values move exactly (through f32) and waste at most one value in twenty.
fn worth_blocks(kernel: &Kernel, tensor: TensorId, len: u64) -> bool {
    let data = &kernel.tensors[tensor];
    let FormatKind::Plain(element) = &data.format.kind else {
        return false;
    };
    let whole = matches!(element.bits(), 8 | 16 | 32);
    let exact = element.bits() <= 16 || matches!(element, Element::Float(_));
    let columns = data.shape.last();
    let columns = columns.and_then(|e| e.value(|d| kernel.dims[d].bound));
    let wasted = columns.map_or(0, |c| c.next_multiple_of(len) - c);
    whole && exact && wasted * 20 <= columns.unwrap_or(u64::MAX)
}

fn facts<'a>(kernel: &'a Kernel, statement: &Statement) -> Facts<'a> {
    let mut facts = Facts {
        outputs: statement.targets[0].index.clone(),
        reduced: Vec::new(),
        uses: Vec::new(),
    };
    let mut seen = BTreeMap::new();
    for target in &statement.targets {
        visit(kernel, target.value, &mut facts, &mut seen);
    }
    facts
}

fn visit<'a>(
    kernel: &'a Kernel,
    expr: ExprId,
    facts: &mut Facts<'a>,
    seen: &mut BTreeMap<ExprId, ()>,
) {
    if seen.insert(expr, ()).is_some() {
        return;
    }
    match &kernel.exprs[expr] {
        Expr::Const(_) | Expr::Dim(_) => {}
        Expr::Load(tensor, subscripts) => facts.uses.push((*tensor, subscripts)),
        Expr::Unary(_, a) => visit(kernel, *a, facts, seen),
        Expr::Binary(_, a, b) => {
            visit(kernel, *a, facts, seen);
            visit(kernel, *b, facts, seen);
        }
        Expr::Select(_, [a, b], t, f) => {
            for e in [a, b, t, f] {
                visit(kernel, *e, facts, seen);
            }
        }
        Expr::Reduce(_, indices, body) => {
            facts.reduced.extend(indices);
            visit(kernel, *body, facts, seen);
        }
    }
}

/// The index for the lanes: the one that most loads have last, reduced ones first; else the last result index.
fn vector_index(kernel: &Kernel, facts: &Facts<'_>) -> Option<IndexId> {
    let votes = |index: IndexId| -> (usize, usize) {
        let last = |(t, s): &&(TensorId, &[Subscript])| -> Option<bool> {
            (s.last() == Some(&Subscript::Index(index))).then_some(matches!(
                kernel.tensors[*t].format.kind,
                FormatKind::Block(_)
            ))
        };
        let all: Vec<bool> = facts.uses.iter().filter_map(|u| last(&u)).collect();
        (all.iter().filter(|b| **b).count(), all.len())
    };
    let best = facts
        .reduced
        .iter()
        .copied()
        .max_by_key(|i| (votes(*i), std::cmp::Reverse(*i)));
    match best {
        Some(index) if votes(index).1 > 0 => Some(index),
        Some(_) | None => facts.outputs.last().copied(),
    }
}

/// The index over rows of weights: the one before the vector index in a block (or plain) tensor known at pack time, else
/// the last result index that is not the vector index.
fn row_index(
    kernel: &Kernel,
    facts: &Facts<'_>,
    vector: Option<IndexId>,
    blocks: &[BlockUse<'_>],
) -> Option<IndexId> {
    let before_last = |subscripts: &[Subscript]| match subscripts {
        [.., Subscript::Index(row), _] if facts.outputs.contains(row) => Some(*row),
        _ => None,
    };
    if !vector.is_some_and(|v| facts.reduced.contains(&v)) {
        // Rows matter only where they share blocks.
        let mut woven = blocks.iter().filter(|b| b.block.rows > 1);
        return woven.find_map(|b| before_last(b.subscripts));
    }
    let packed = |t: TensorId| matches!(kernel.tensors[t].role, Role::Weight | Role::Stored);
    blocks
        .iter()
        .filter(|b| packed(b.tensor))
        .find_map(|b| before_last(b.subscripts))
        .or_else(|| {
            facts
                .uses
                .iter()
                .filter(|(t, _)| packed(*t))
                .find_map(|(_, s)| before_last(s))
        })
        .or_else(|| facts.outputs.last().copied().filter(|o| Some(*o) != vector))
}

/// The last result index that is neither row nor vector index.
fn batch_index(
    facts: &Facts<'_>,
    row: Option<IndexId>,
    vector: Option<IndexId>,
) -> Option<IndexId> {
    row?;
    facts
        .outputs
        .iter()
        .rev()
        .copied()
        .find(|i| Some(*i) != row && Some(*i) != vector)
}

/// By what the vector index is divided in subscripts.
fn steps(facts: &Facts<'_>, vector: Option<IndexId>) -> Vec<u64> {
    let subscripts = facts.uses.iter().flat_map(|(_, subscripts)| *subscripts);
    let divisors = subscripts.filter_map(|s| match s {
        Subscript::Quotient(index, by) if vector == Some(*index) => Some(*by),
        _ => None,
    });
    divisors.filter(|by| *by <= MAX_STEP).collect()
}

/// The largest divisor that chunks are made for.
const MAX_STEP: u64 = 1 << 12;

/// The most elements of a chunk: tables over its positions are made and searched.
const MAX_CHUNK: u64 = 1 << 16;

/// Elements of a chunk (least common multiple of the blocks, and of what the index is divided by, as far as they go together)
/// and the boundaries inside it.
fn chunk(blocks: &[BlockUse<'_>], steps: &[u64], vector_bytes: u64) -> (u64, Vec<u64>) {
    let mut lens: Vec<u64> = Vec::new();
    let mut chunk = 1;
    let mut fits = |len: u64| {
        let longer = lcm(chunk, len);
        let fits = longer <= MAX_CHUNK;
        chunk = if fits { longer } else { chunk };
        fits
    };
    for BlockUse { block, .. } in blocks {
        let len = u64::from(block.len);
        if !fits(len) {
            continue;
        }
        lens.push(len);
        for field in block.fields.values() {
            let run = u64::from(block.len / field.count.max(1));
            let regular = field
                .occurrence
                .iter()
                .enumerate()
                .all(|(i, o)| i as u64 / run.max(1) == u64::from(*o));
            // A code of several values is read for each of them anyway.
            if regular && run > 1 && field.element.width() == 1 {
                lens.push(run);
            }
        }
    }
    lens.extend(steps.iter().copied().filter(|by| fits(*by)));
    // Lanes may run over several blocks that are shorter than a vector, if their elements share nothing.
    let alone = |b: &BlockUse<'_>| !b.free && b.block.fields.values().all(Field::per_element);
    let short = chunk < vector_bytes && steps.is_empty();
    if short && !blocks.is_empty() && blocks.iter().all(alone) {
        let several = lcm(chunk, vector_bytes);
        return (several, vec![several]);
    }
    lens.push(chunk);
    lens.sort_unstable();
    lens.dedup();
    let mut bounds: Vec<u64> = Vec::new();
    for len in lens {
        if bounds.last().is_none_or(|b| len.is_multiple_of(*b)) {
            bounds.push(len);
        }
    }
    (chunk, bounds)
}

fn lcm(a: u64, b: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    (a / gcd(a, b)).saturating_mul(b)
}

/// Copies that let the codes of one byte go to different copies.
fn copies_wanted(blocks: &[BlockUse<'_>]) -> u64 {
    blocks
        .iter()
        .filter(|b| b.free)
        .flat_map(|b| b.block.fields.values().filter(|f| f.count == b.block.len))
        .flat_map(|f| widths(f.element.bits(), true, 1))
        .filter(|bits| *bits < 8)
        .map(|bits| u64::from(8 / bits))
        .max()
        .unwrap_or_else(|| {
            if blocks.iter().any(|b| matches!(b.block, Cow::Owned(_))) {
                PLAIN_COPIES
            } else {
                1
            }
        })
}

/// Copies of joint codes beside each other.
const JOINT_COPIES: u64 = 8;

/// How many neighbours the joint codes may have that the weights of a statement are cut into: where each weight along the
/// vector index has a code of few bits that can be cut so, and integers of the call meet them. The parts of an integer are
/// its bits; other codes stay whole.
fn joints(
    kernel: &Kernel,
    facts: &Facts<'_>,
    vector: Option<IndexId>,
    blocks: &[BlockUse<'_>],
) -> Vec<u64> {
    let along = |t: &TensorId, s: &[Subscript]| {
        let own = vector.map(Subscript::Index);
        own.is_some() && s.last() == own.as_ref() && kernel.tensors[*t].role != Role::Stored
    };
    let integers = facts.uses.iter().any(|(t, s)| {
        let given = matches!(kernel.tensors[*t].role, Role::Input | Role::Local);
        let elements: Vec<&Element> = match &kernel.tensors[*t].format.kind {
            FormatKind::Plain(element) => vec![element],
            FormatKind::Block(block) => {
                let own = block.fields.values().filter(|f| f.count == block.len);
                own.map(|f| &f.element).collect()
            }
        };
        let small = |e: &&Element| e.is_integer() && e.bits() <= 8;
        given && along(t, s) && !elements.is_empty() && elements.iter().all(small)
    });
    let weights = blocks
        .iter()
        .filter(|b| matches!(kernel.tensors[b.tensor].role, Role::Weight | Role::Stored));
    let codes = weights.flat_map(|b| {
        let fields = b.block.fields.values();
        fields.filter(|f| values_per_code(f, b.block.len).is_some())
    });
    let mut wanted: Vec<u64> = codes.map(joint_of).collect();
    wanted.sort_unstable();
    wanted.dedup();
    match wanted[..] {
        [joint] if integers && joint > 1 => vec![joint],
        _ => Vec::new(),
    }
}

/// Whether a code of several values is a joint code, but for a bit that is the sign of all values.
fn is_joint_code(book: &Codebook) -> bool {
    book.bits() <= JOINT_BITS || book.bits() == JOINT_BITS + 1 && book.is_mirrored()
}

/// How many neighbours make up a joint code of a field; 1 where none do.
fn joint_of(field: &Field) -> u64 {
    let whole = match &field.element {
        Element::UInt { .. } | Element::Int { .. } => 1,
        Element::Codebook(book) if book.width == 1 => field.element.bits(),
        Element::Codebook(book) if is_joint_code(book) => return u64::from(book.width),
        Element::Codebook(_) | Element::Float(_) => return 1,
    };
    let joint = u64::from(JOINT_BITS / whole.clamp(1, JOINT_BITS));
    joint_width(field.element.bits(), joint).map_or(1, |_| joint)
}

/// Most elements of a chunk that become copies of lanes.
const MOST_COPIED: u64 = 256;

/// A cut with the wanted lanes that divides the smallest run between boundaries and suits the codes of the tensors whose
/// layout is fixed. Where none does, a chunk that may be copied becomes copies of lanes: every place is then known where code
/// is emitted.
fn cut(
    blocks: &[BlockUse<'_>],
    inner: Option<u64>,
    list: Lanes,
    wanted: u64,
    copied: Option<u64>,
) -> Option<Cut> {
    let (lanes, joint) = (list.vector, list.joint);
    let step = lanes * joint;
    let cut = |copies: u64, span: u64| Cut {
        lanes,
        joint,
        copies,
        span,
    };
    let Some(inner) = inner else {
        // Nothing is packed: a few copies only spread the cost of the loop.
        let copies = if lanes > 1 { 4 } else { 1 };
        return Some(cut(copies, step * copies));
    };
    if !inner.is_multiple_of(step) {
        return None;
    }
    let fixed: Vec<&BlockUse<'_>> = blocks.iter().filter(|b| !b.free).collect();
    let copied = copied
        .filter(|_| !fixed.is_empty())
        .map(|chunk| cut(chunk / step, chunk));
    let of_several = |f: &Field| f.element.width() > 1;
    if copied.is_some()
        && fixed
            .iter()
            .any(|b| b.block.fields.values().any(of_several))
    {
        return copied;
    }
    let mut best = None;
    for copies in [wanted, 8, 4, 2, 1] {
        let mut span = step * copies;
        while span <= inner {
            let cut = cut(copies, span);
            if inner.is_multiple_of(span) {
                let fits = fixed.iter().filter(|b| fits(&b.block, cut)).count();
                if fits == fixed.len() {
                    return Some(cut);
                }
                if best.as_ref().is_none_or(|(f, _)| fits > *f) {
                    best = Some((fits, cut));
                }
            }
            span *= 2;
        }
    }
    // Joint codes that lie otherwise are none.
    if joint > 1 {
        return None;
    }
    copied.or(best.map(|(_, cut)| cut))
}

/// Whether the codes of a fixed layout lie in lanes under a cut: same shift in all lanes, neighbouring bytes; the parts of a
/// joint code side by side.
fn fits(block: &BlockFormat, cut: Cut) -> bool {
    let run = cut.span / cut.copies;
    let step = cut.lanes * cut.joint;
    block
        .fields
        .values()
        .filter(|f| f.scope == Scope::Block && f.count == block.len)
        .flat_map(|f| f.parts.iter().map(move |p| (f, p)))
        .all(|(f, part)| {
            let bits = u32::from(part.bits);
            let address = |i: u64| part.address[f.occurrence[i as usize] as usize];
            let width = if bits < 8 { 8 } else { bits };
            // Neighbours in one joint code, or one after the other.
            let together = bits * cut.joint as u32 == JOINT_BITS;
            let (unit, next) = match together {
                true => (cut.joint, bits),
                false => (1, width),
            };
            let apart = (cut.joint / unit) as u32 * width;
            (together || cut.joint == 1 || bits >= 8)
                && (0..u64::from(block.len)).all(|i| {
                    let (lane, at) = (i % step / cut.joint, i % cut.joint);
                    let first = address(i - i % step);
                    let steps = (i - i % step) % run;
                    let run_start = address(i - i % step - steps);
                    address(i) == first + lane as u32 * apart + at as u32 * next
                        && first == run_start + (steps / unit) as u32 * width
                        && address(i) % width + bits <= width
                        && (i / cut.span == 0 || address(i) % 8 == address(i % cut.span) % 8)
                })
        })
}

/// Rows that tensors of fixed layout interleave.
fn layouts_rows(blocks: &[BlockUse<'_>]) -> Option<u64> {
    blocks
        .iter()
        .map(|b| u64::from(b.block.rows))
        .find(|r| *r > 1)
}

/// Whether row lanes make sense: some weight along the vector index may be interleaved over the row index.
fn can_interleave(
    kernel: &Kernel,
    facts: &Facts<'_>,
    row: Option<IndexId>,
    blocks: &[BlockUse<'_>],
) -> bool {
    let Some(row) = row else { return false };
    facts.outputs.contains(&row)
        && blocks.iter().any(|b| {
            b.free
                && single_use(kernel, b.tensor)
                && matches!(b.subscripts, [.., Subscript::Index(i), _] if *i == row)
        })
}

/// Whether a tensor is read by one load only, so that its layout serves one purpose.
fn single_use(kernel: &Kernel, tensor: TensorId) -> bool {
    kernel
        .exprs
        .values()
        .filter(|e| matches!(e, Expr::Load(t, _) if *t == tensor))
        .count()
        == 1
}

/// The extent of an index, if it is known.
pub fn known_extent(kernel: &Kernel, index: IndexId) -> Option<u64> {
    kernel.indices[index].extent.value(|d| kernel.dims[d].bound)
}
