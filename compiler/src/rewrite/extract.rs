//! Extraction: the cheapest term of the root's class, as a DAG, under a weighting of the units. A maximum over units does
//! not decompose over a term, so a few terms are extracted under different weightings and each is scored whole.

use super::analysis::{Fact, Graph};
use super::canon::fnv;
use super::cost::{Mode, node_cost, trips};
use super::lang::{Node, Op, Ty};
use crate::schedule::index::AxisSet;
use crate::target::{Target, Unit};
use egg::{Id, Language};
use std::collections::{BTreeMap, BTreeSet};

/// An operation of an extracted term.
#[derive(Clone, Debug, PartialEq)]
pub struct Picked {
    /// The operation.
    pub op: Op,
    /// Its data operands (lanes, type, axis, numbers of tables …), in order.
    pub data: Vec<Node>,
    /// Its vector operands, as positions in the term.
    pub children: Vec<usize>,
    /// Lanes of the result.
    pub lanes: AxisSet,
    /// Number type of the result.
    pub ty: Ty,
    /// Axes that the result depends on, lanes excepted.
    pub free: AxisSet,
    /// Axes that the operation runs over: those of its operands.
    pub runs: AxisSet,
    /// In the loops over rows or in a stage before them.
    pub mode: Mode,
    /// For a look-up of floats: byte planes of its table that are not all zero.
    pub planes: usize,
}

/// A term: operands before users.
#[derive(Clone, Debug, PartialEq)]
pub struct Extracted {
    /// The operations.
    pub nodes: Vec<Picked>,
    /// The results, as positions.
    pub roots: Vec<usize>,
    /// A hash of the structure and contents, the same for equal terms however the graph was numbered.
    pub hash: u64,
}

/// The best choice for a class.
#[derive(Clone, Debug)]
struct Best {
    cost: f64,
    hash: u64,
    node: Node,
    picked: Picked,
}

/// Weights of the units in a sum of micro-operations.
pub type Weights = [f64; 6];

/// Extracts a term for the roots, without the operations banned. `None` if there is none on the target.
pub fn extract(
    graph: &Graph,
    roots: &[Id],
    target: &Target,
    weights: Weights,
    banned: &[Op],
) -> Option<Extracted> {
    let best = choose(graph, target, weights, banned);
    let mut term = Extracted {
        nodes: Vec::new(),
        roots: Vec::new(),
        hash: 0,
    };
    let mut placed = BTreeMap::new();
    for root in roots {
        let at = build(
            graph,
            &best,
            graph.find(*root),
            Mode::Main,
            &mut term,
            &mut placed,
        )?;
        term.roots.push(at);
        let hash = best.get(&(graph.find(*root), Mode::Main))?.hash;
        term.hash = fnv(&hash.to_le_bytes(), term.hash);
    }
    Some(term)
}

fn choose(
    graph: &Graph,
    target: &Target,
    weights: Weights,
    banned: &[Op],
) -> BTreeMap<(Id, Mode), Best> {
    let mut best: BTreeMap<(Id, Mode), Best> = BTreeMap::new();
    let classes = graph
        .classes()
        .filter(|c| matches!(c.data, Fact::Vector { .. }));
    let mut waiting: BTreeSet<Id> = classes.map(|c| c.id).collect();
    // Costs are positive, so every improvement comes from a cheaper operand: a class is looked at again when one of its
    // operands got cheaper.
    while let Some(class) = waiting.pop_last() {
        let mut improved = false;
        for mode in [Mode::Staged, Mode::Main] {
            for node in &graph[class].nodes {
                let Some(found) =
                    evaluate(graph, &best, node, class, mode, target, &weights, banned)
                else {
                    continue;
                };
                let better = best.get(&(class, mode)).is_none_or(|old| {
                    found.cost < old.cost * (1.0 - 1e-9)
                        || (found.cost <= old.cost * (1.0 + 1e-9) && found.hash < old.hash)
                });
                if better {
                    best.insert((class, mode), found);
                    improved = true;
                }
            }
        }
        if improved {
            waiting.extend(
                graph[class]
                    .parents()
                    .map(|p| graph.find(p))
                    .filter(|p| matches!(graph[*p].data, Fact::Vector { .. })),
            );
            waiting.insert(class);
        }
    }
    best
}

/// The mode that an operand of a node is computed in.
fn operand_mode(op: Op, mode: Mode) -> Mode {
    if op == Op::VStage { Mode::Staged } else { mode }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the state of one fixpoint, passed to its one step"
)]
fn evaluate(
    graph: &Graph,
    best: &BTreeMap<(Id, Mode), Best>,
    node: &Node,
    class: Id,
    mode: Mode,
    target: &Target,
    weights: &Weights,
    banned: &[Op],
) -> Option<Best> {
    let Node::Op(op, children) = node else {
        return None;
    };
    let Fact::Vector { lanes, ty } = graph[class].data else {
        return None;
    };
    if *op == Op::Vec || banned.contains(op) || (*op == Op::VStage && mode == Mode::Staged) {
        return None;
    }
    let facts = &graph.analysis;
    let mut cost = 0.0;
    let mut hash = fnv(op.name().as_bytes(), u64::from(mode == Mode::Staged) + 17);
    let (mut data, mut operands, mut runs) = (Vec::new(), Vec::new(), AxisSet::default());
    for child in children {
        match &graph[*child].data {
            Fact::Vector { .. } => {
                let chosen = best.get(&(graph.find(*child), operand_mode(*op, mode)))?;
                cost += chosen.cost;
                hash = fnv(&chosen.hash.to_le_bytes(), hash);
                runs = runs.union(chosen.picked.free);
                operands.push(&chosen.picked);
            }
            Fact::Data(leaf) => {
                hash = fnv(&leaf_hash(graph, *op, leaf).to_le_bytes(), hash);
                data.push(leaf.clone());
            }
            Fact::Real(real) => {
                let number = Node::num(real.constant?);
                hash = fnv(&word(&number).to_le_bytes(), hash);
                data.push(number);
            }
        }
    }
    let lane_axes = facts
        .axes
        .keys()
        .filter(|a| facts.is_lane(*a))
        .fold(AxisSet::default(), |s, a| s.union(AxisSet::one(a)));
    if let (Op::VLoad, Some(Node::Ref(load))) = (*op, data.last()) {
        runs = facts
            .terms
            .load_axes(crate::schedule::term::LoadId::from_u32(*load))
            .minus(lane_axes);
    }
    if let (Op::VBits, Some(Node::Ref(field))) = (*op, data.first()) {
        runs = runs.union(facts.terms.fields[*field as usize].shift.axes());
    }
    let mut free = runs;
    if let (Op::VSum | Op::VMaxOver, Some(Node::Axis(axis))) = (*op, data.first()) {
        free = free.minus(AxisSet::one(*axis));
        runs = runs.union(AxisSet::one(*axis));
    }
    let planes = match (*op, data.first()) {
        (Op::VLookup32, Some(Node::Ref(table))) => float_planes(&facts.tables[*table as usize]),
        _ => 0,
    };
    let picked = Picked {
        op: *op,
        data,
        children: Vec::new(),
        lanes,
        ty,
        free,
        runs,
        mode,
        planes,
    };
    let own = node_cost(target, &facts.terms, &facts.axes, &picked, &operands)?;
    let unit = Unit::ALL.iter().position(|u| *u == own.unit).unwrap_or(0);
    cost += own.uops * weights[unit] * trips(&facts.axes, picked.runs, mode) + 1e-3;
    Some(Best {
        cost,
        hash,
        node: node.clone(),
        picked,
    })
}

/// Byte planes of a table of floats that are not all zero.
fn float_planes(entries: &[f64]) -> usize {
    (0..4)
        .filter(|p| {
            entries
                .iter()
                .any(|e| (*e as f32).to_bits() >> (8 * p) & 0xff != 0)
        })
        .count()
}

/// A hash of what a leaf refers to, which does not depend on numbering.
fn leaf_hash(graph: &Graph, op: Op, leaf: &Node) -> u64 {
    let facts = &graph.analysis;
    match (op, leaf) {
        (Op::VLoad, Node::Ref(r)) => facts.hashes.loads[*r as usize],
        (Op::VBits, Node::Ref(r)) => facts.hashes.fields[*r as usize],
        (Op::VLookup8 | Op::VLookup32, Node::Ref(r)) => facts.tables[*r as usize]
            .iter()
            .fold(1, |h, e| fnv(&e.to_bits().to_le_bytes(), h)),
        (Op::VFetch | Op::VDecode, Node::Ref(r)) => facts.hashes.elements[*r as usize],
        (_, leaf) => word(leaf),
    }
}

/// A leaf that is its own contents.
fn word(leaf: &Node) -> u64 {
    match leaf {
        Node::Num(n) => fnv(&n.to_le_bytes(), 2),
        Node::Ty(t) => fnv(&[*t as u8], 3),
        Node::Lanes(l) => fnv(&l.0.to_le_bytes(), 4),
        Node::Axis(a) => fnv(&a.as_u32().to_le_bytes(), 5),
        Node::Ref(r) => fnv(&r.to_le_bytes(), 6),
        Node::Op(op, _) => fnv(op.name().as_bytes(), 7),
    }
}

fn build(
    graph: &Graph,
    best: &BTreeMap<(Id, Mode), Best>,
    class: Id,
    mode: Mode,
    term: &mut Extracted,
    placed: &mut BTreeMap<(Id, Mode), usize>,
) -> Option<usize> {
    if let Some(at) = placed.get(&(class, mode)) {
        return Some(*at);
    }
    let chosen = best.get(&(class, mode))?;
    let mut children = Vec::new();
    for child in chosen.node.children() {
        if matches!(graph[*child].data, Fact::Vector { .. }) {
            children.push(build(
                graph,
                best,
                graph.find(*child),
                operand_mode(chosen.picked.op, mode),
                term,
                placed,
            )?);
        }
    }
    term.nodes.push(Picked {
        children,
        ..chosen.picked.clone()
    });
    let at = term.nodes.len() - 1;
    placed.insert((class, mode), at);
    Some(at)
}
