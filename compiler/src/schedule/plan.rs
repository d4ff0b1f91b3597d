//! Plans: the few schedules of a statement that are worth an e-graph each. A plan says which index goes to the lanes,
//! how the blocked index is cut, and which layout each weight takes.

use super::amounts::chosen_by;
use super::cuts::{
    BlockUse, Facts, JOINT_COPIES, Lanes, MOST_COPIED, MOST_VECTORS, chunk, copies_wanted, cut,
    has_scattered_codes, joints, plain_len, suit,
};
use super::in_place;
use super::layout::{Cut, interleave, is_little_more, shared_bytes};
use crate::format::{BlockFormat, Element, Format, FormatKind};
use crate::spec::kernel::{Expr, ExprId, IndexId, Kernel, Role, Statement, Subscript, TensorId};
use crate::target::Target;
use cranelift_entity::SecondaryMap;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
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
    /// Groups of row lanes that share blocks, as copies beside each other: what is read for them lies side by side, too.
    pub woven: u64,
    /// How often such copies cover the rows of a block, in a loop, where layouts are fixed whose blocks have several rows.
    pub turns: Option<u64>,
    /// Copies of the row index beside each other, where rows share no blocks but those of lanes: 1 otherwise.
    pub row_tile: u64,
    /// The result indices over batches: the others that no weights change with; or where they change with all, the last one.
    pub batch: Vec<IndexId>,
    /// How many values of the last of these are copies.
    pub batch_tile: u64,
    /// Positions within the chunk where another block or sub-block begins, ascending, each dividing the next.
    pub bounds: Vec<u64>,
    /// Whether the runs between those positions are copies, too: every place in a chunk is then known where code is emitted.
    pub unrolled: bool,
}

/// How many rows of weights and of batches are computed beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TileShape {
    /// Groups of row lanes that share blocks, as copies.
    pub woven: u64,
    /// How often such copies cover the rows of a block, in a loop.
    pub turns: u64,
    /// Copies of rows that share no blocks.
    pub rows: u64,
    /// Copies of rows of a batch.
    pub batch: u64,
}

impl Plan {
    /// How many rows are computed beside each other.
    pub fn tile(&self) -> TileShape {
        TileShape {
            woven: self.woven,
            turns: self.turns.unwrap_or(1),
            rows: self.row_tile,
            batch: self.batch_tile,
        }
    }
    /// Lanes along rows.
    pub fn row_lanes(&self) -> u64 {
        self.row.map_or(1, |(_, lanes)| lanes)
    }
    /// Rows that are computed at a time, before tiles: those that share blocks.
    pub fn row_group(&self) -> u64 {
        self.row_lanes() * self.woven * self.turns.unwrap_or(1)
    }
    /// The index over batches whose values are copies.
    pub fn batch_index(&self) -> Option<IndexId> {
        self.batch.last().copied()
    }
    /// Lanes along the vector index.
    pub fn vector_lanes(&self) -> u64 {
        self.vector.map_or(1, |(_, cut)| cut.lanes)
    }
    /// Whether codes are read where they lie in their bytes.
    pub fn reads_in_place(&self) -> bool {
        self.vector.is_some_and(|(_, cut)| cut.beside > 1)
    }
    /// Whether registers hold the sums of so many rows of a batch beside each other, where codes are read in place: all groups
    /// that share bytes are summed at a time.
    pub fn holds_sums(&self, batch: u64) -> bool {
        !self.reads_in_place() || batch == 1 || self.woven * batch <= in_place::SUMS
    }
    /// What an index counts of a batch, where its extent is not known: the last over batches all of it, others one. `None` for
    /// an index that is not over batches.
    pub fn of_batch(&self, index: IndexId, batch: u64) -> Option<u64> {
        let last = self.batch_index() == Some(index);
        let own = if last { batch } else { 1 };
        self.batch.contains(&index).then_some(own)
    }
    /// Neighbours along the vector index whose codes make up a joint code.
    pub fn joint(&self) -> u64 {
        self.vector.map_or(1, |(_, cut)| cut.joint)
    }
    /// The lane list with the names of the indices: `[n:4, k:4]`, neighbours in joint codes: `[n:16] joint k:4`, and copies that
    /// share blocks with the lanes: `[n:4, k:4] woven n:4`, and `in place` where these share bytes, too.
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
        let woven = match self.row {
            Some((row, _)) if self.woven > 1 => {
                format!(" woven {}:{}", kernel.indices[row].name, self.woven)
            }
            Some(_) | None => String::new(),
        };
        let place = if self.reads_in_place() {
            " in place"
        } else {
            ""
        };
        format!("[{}]{joint}{woven}{place}", parts.join(", "))
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
            let role = kernel.tensors[*tensor].role;
            let free = role == Role::Weight && layouts[*tensor].is_none();
            (vector.map(Subscript::Index).as_ref() == Some(last)).then_some(BlockUse {
                tensor: *tensor,
                block: Cow::Borrowed(block),
                subscripts,
                free,
                packed: role.is_packed(),
            })
        })
        .collect();
    let row = row_index(kernel, &facts, vector, &blocks);
    let batch = batch_indices(kernel, &facts, row, vector);
    let steps = steps(&facts, vector);
    let (mut plans, mut suits) = (Vec::new(), Vec::new());
    let plain = plain_blocks(kernel, &facts, layouts, vector, row, Lanes::new(1, 1));
    let weights = [blocks.clone(), plain].concat();
    let joint = joints(kernel, &facts, vector, &weights, target);
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
        let lanes = [rows, vector_bytes, 4, 1].map(|l| l.min(rows));
        let together = lanes.map(|r| Lanes::new(r, (vector_bytes / r).max(1)));
        lists = together.to_vec();
        lists.push(Lanes::new(rows.min(vector_bytes), 1));
        lists.extend(with_joint(rows.min(vector_bytes)));
        lists.extend(narrow);
        // Registers hold powers of two.
        lists.retain(|l| l.rows.is_power_of_two() && rows.is_multiple_of(l.rows));
    }
    let several = |l: &&Lanes| l.rows > 1 && l.vector > 1 && l.joint == 1;
    if let Some(list) = lists.iter().copied().find(|l| several(&l)) {
        let beside = in_place::groups(kernel, statement, &blocks, list.rows, target);
        // Whole groups of rows, in blocks that are there or in those to come.
        let whole = |groups: &u64| match interleaved {
            Some(all) => all.is_multiple_of(list.rows * groups),
            None => has_rows(kernel, row, list.rows * groups),
        };
        lists.extend(beside.filter(whole).map(|beside| Lanes { beside, ..list }));
    }
    let fixed_blocks = blocks;
    for list in lists {
        let Lanes {
            rows,
            vector: lanes,
            joint,
            beside,
        } = list;
        let mut blocks = fixed_blocks.clone();
        if rows > 1 {
            blocks.extend(plain_blocks(kernel, &facts, layouts, vector, row, list));
        }
        // Rows that share blocks and are not lanes are copies.
        let woven = match interleaved {
            _ if beside > 1 => beside,
            Some(all) => all / rows,
            None if rows <= u64::from(IN_BYTES) => first_weave(kernel, &facts, row, &blocks),
            // Values of rows in so many lanes take several registers each.
            None => 1,
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
        let run = inner.filter(|run| run.is_multiple_of(lanes * joint));
        let unrolled = joint == 1
            && chunk / lanes <= MOST_VECTORS
            && run.is_some()
            && has_scattered_codes(&blocks, inner);
        let found = match run.filter(|_| unrolled) {
            Some(run) => Some(Cut {
                lanes,
                joint,
                copies: run / lanes,
                span: run,
                beside,
            }),
            None => cut(&blocks, inner, list, wanted, copied.then_some(chunk)),
        };
        if let Some(cut) = found {
            let chunk = if free { cut.span } else { chunk };
            let bounds = if free || cut.span == chunk {
                vec![cut.span]
            } else {
                bounds.clone()
            };
            let plan = Plan {
                vector: vector.map(|v| (v, cut)),
                chunk,
                row: row.map(|r| (r, rows)),
                woven,
                turns: interleaved.map(|all| all / (rows * woven)),
                row_tile: 1,
                batch: batch.clone(),
                batch_tile: 1,
                bounds,
                unrolled,
            };
            if !plans.contains(&plan) {
                suits.push(interleaved.is_some() && suit(&blocks, rows, cut));
                plans.push(plan);
            }
        }
    }
    // Where lanes find the codes of fixed layouts as they need them, others need not be tried.
    if suits.contains(&true) {
        let mut suits = suits.into_iter();
        plans.retain(|_| suits.next().unwrap_or(true));
    }
    if plans.is_empty() {
        let (chunk, bounds) = chunk(&fixed_blocks, &steps, vector_bytes);
        let free = fixed_blocks.is_empty() && steps.is_empty();
        let cut = Cut {
            lanes: 1,
            joint: 1,
            copies: 1,
            span: 1,
            beside: 1,
        };
        plans.push(Plan {
            vector: vector.map(|v| (v, cut)),
            chunk: if free { 1 } else { chunk },
            row: row.map(|r| (r, 1)),
            woven: interleaved.unwrap_or(1),
            turns: interleaved.map(|_| 1),
            row_tile: 1,
            batch,
            batch_tile: 1,
            bounds: if free { vec![1] } else { bounds },
            unrolled: false,
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
            FormatKind::Plain(element) => {
                BlockFormat::of_plain(element, plain_len(element, cut.lanes, cut.joint))
            }
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
            plan.row_group() as u32
        } else {
            1
        };
        let kept = rows == 1 && (plain || cut.lanes == 1);
        if kept || (plain && !worth_blocks(kernel, *tensor, u64::from(block.len))) {
            continue;
        }
        let groups = if rows > 1 { plan.woven as u32 } else { 1 };
        let packed = interleave(&block, rows, groups, cut);
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

/// Weights in plain values along the vector index whose rows may be interleaved, as blocks.
fn plain_blocks<'a>(
    kernel: &Kernel,
    facts: &Facts<'a>,
    layouts: &Layouts,
    vector: Option<IndexId>,
    row: Option<IndexId>,
    list: Lanes,
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
        let block = BlockFormat::of_plain(element, plain_len(element, list.vector, list.joint));
        let free = data.role == Role::Weight && layouts[*tensor].is_none();
        let wanted =
            free && over_rows(subscripts) && worth_blocks(kernel, *tensor, u64::from(block.len));
        wanted.then_some(BlockUse {
            tensor: *tensor,
            block: Cow::Owned(block),
            subscripts,
            free: true,
            packed: true,
        })
    });
    found.collect()
}

/// Whether blocks of plain values move exactly (through f32) and take at most a twentieth more bytes than the values alone.
fn worth_blocks(kernel: &Kernel, tensor: TensorId, len: u64) -> bool {
    let data = &kernel.tensors[tensor];
    let FormatKind::Plain(element) = &data.format.kind else {
        return false;
    };
    let exact = element.bits() <= 16 || matches!(element, Element::Float(_));
    let bits = |columns: u64, each: u32| columns.saturating_mul(each.into());
    let fits = |columns: u64| {
        let packed = bits(columns.next_multiple_of(len), element.bits());
        let alone = bits(columns, 8 * element.storage_bytes());
        is_little_more(packed, alone)
    };
    exact && known_columns(kernel, tensor).is_none_or(fits)
}

/// What plans depend on.
pub(super) fn facts<'a>(kernel: &'a Kernel, statement: &Statement) -> Facts<'a> {
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
    let node = &kernel.exprs[expr];
    match node {
        Expr::Load(tensor, subscripts) => facts.uses.push((*tensor, subscripts)),
        Expr::Reduce(_, indices, _) => facts.reduced.extend(indices),
        Expr::Const(_) | Expr::Dim(_) | Expr::Unary(..) | Expr::Binary(..) | Expr::Select(..) => {}
    }
    for operand in node.operands() {
        visit(kernel, operand, facts, seen);
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
    let packed = |t: TensorId| kernel.tensors[t].role.is_packed();
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

/// The result indices that are neither row nor vector index: those that no weights change with, else the last one.
fn batch_indices(
    kernel: &Kernel,
    facts: &Facts<'_>,
    row: Option<IndexId>,
    vector: Option<IndexId>,
) -> Vec<IndexId> {
    if row.is_none() {
        return Vec::new();
    }
    let mut of_weights = BTreeSet::new();
    for (tensor, subscripts) in &facts.uses {
        if kernel.tensors[*tensor].role.is_packed() {
            let subscripts = subscripts.iter();
            subscripts.for_each(|s| chosen_by(s, &mut of_weights));
        }
    }
    let outputs = facts.outputs.iter().copied();
    let others = outputs.filter(|i| Some(*i) != row && Some(*i) != vector);
    let (changing, batch): (Vec<IndexId>, Vec<IndexId>) =
        others.partition(|i| of_weights.contains(i));
    match batch.is_empty() {
        true => changing.last().copied().into_iter().collect(),
        false => batch,
    }
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

/// Groups of rows that share blocks in any case: as many as fill bytes with what several elements share, where that alone would
/// lie across bytes.
fn first_weave(
    kernel: &Kernel,
    facts: &Facts<'_>,
    row: Option<IndexId>,
    blocks: &[BlockUse<'_>],
) -> u64 {
    let fills = |b: &BlockUse<'_>| {
        let mut fields = b.block.fields.values();
        b.free && fields.any(|f| shared_bytes(f, b.block.len, IN_BYTES).is_some())
    };
    let enough = has_rows(kernel, row, 4 * u64::from(IN_BYTES));
    let many = enough && can_interleave(kernel, facts, row, blocks);
    match many && blocks.iter().any(fills) {
        true => IN_BYTES.into(),
        false => 1,
    }
}

/// Whether there are so many rows, as far as is known.
fn has_rows(kernel: &Kernel, row: Option<IndexId>, rows: u64) -> bool {
    row.is_some_and(|row| known_extent(kernel, row).is_none_or(|n| n >= rows))
}

/// Groups of rows of which parts of two bits and more fill bytes.
const IN_BYTES: u32 = 4;

/// Whether a tensor is read by one load only, so that its layout serves one purpose.
fn single_use(kernel: &Kernel, tensor: TensorId) -> bool {
    kernel
        .exprs
        .values()
        .filter(|e| matches!(e, Expr::Load(t, _) if *t == tensor))
        .count()
        == 1
}

/// The columns of a tensor, if they are known.
pub(super) fn known_columns(kernel: &Kernel, tensor: TensorId) -> Option<u64> {
    let columns = kernel.tensors[tensor].shape.last()?;
    columns.value(|d| kernel.dims[d].bound)
}

/// The extent of an index, if it is known.
pub fn known_extent(kernel: &Kernel, index: IndexId) -> Option<u64> {
    kernel.indices[index].extent.value(|d| kernel.dims[d].bound)
}
