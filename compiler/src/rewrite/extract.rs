//! Extraction: the cheapest term of the root's class, as a DAG, under a weighting of the units. A maximum over units does
//! not decompose over a term, so a few terms are extracted under different weightings and each is scored whole.

use super::analysis::{Fact, Graph};
use super::canon::fnv;
use super::cost::{Mode, node_cost, trips};
use super::lang::{Node, Op, Ty};
use crate::schedule::index::AxisSet;
use crate::schedule::term::LoadId;
use crate::target::{Target, Unit};
use egg::{Id, Language};
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};

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
    /// Axes that it or an operand sums over.
    pub bound: AxisSet,
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

/// The operations of a graph with their operands and users: what every extraction from it starts from.
pub struct Operations<'a> {
    graph: &'a Graph,
    list: Vec<Operation<'a>>,
    /// Operations that use a class.
    users: HashMap<Id, Vec<usize>>,
    /// Modes that terms can be in.
    modes: &'static [Mode],
    lane_axes: AxisSet,
}

/// An operation that a target may have.
struct Operation<'a> {
    class: Id,
    op: Op,
    node: &'a Node,
    /// Classes of its vector operands.
    operands: Vec<Id>,
}

impl<'a> Operations<'a> {
    /// The operations of a graph.
    pub fn of(graph: &'a Graph) -> Operations<'a> {
        let facts = &graph.analysis;
        let lane_axes = facts.axes.keys().filter(|a| facts.is_lane(*a));
        let vector = |id: &Id| matches!(graph[*id].data, Fact::Vector { .. });
        let mut list = Vec::new();
        for class in graph.classes().filter(|c| vector(&c.id)) {
            for node in &class.nodes {
                let Node::Op(op, children) = node else {
                    continue;
                };
                if *op == Op::Vec {
                    continue;
                }
                let operands = children.iter().filter(|c| vector(c));
                list.push(Operation {
                    class: class.id,
                    op: *op,
                    node,
                    operands: operands.map(|c| graph.find(*c)).collect(),
                });
            }
        }
        let mut users: HashMap<Id, Vec<usize>> = HashMap::new();
        for (at, operation) in list.iter().enumerate() {
            let used: BTreeSet<Id> = operation.operands.iter().copied().collect();
            used.into_iter()
                .for_each(|c| users.entry(c).or_default().push(at));
        }
        let stages = list.iter().any(|o| o.op == Op::VStage);
        Operations {
            graph,
            list,
            users,
            modes: if stages {
                &[Mode::Staged, Mode::Main]
            } else {
                &[Mode::Main]
            },
            lane_axes: lane_axes.fold(AxisSet::default(), |s, a| s.union(AxisSet::one(a))),
        }
    }
}

/// Extracts a term for the roots, without the operations banned. `None` if there is none on the target.
pub fn extract(
    operations: &Operations<'_>,
    roots: &[Id],
    target: &Target,
    weights: Weights,
    banned: &[Op],
) -> Option<Extracted> {
    let graph = operations.graph;
    let best = Search::new(operations, target, weights, banned).run();
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

/// A class and where its term is computed.
type Place = (Id, Mode);

/// Knuth's generalisation of Dijkstra's algorithm (A generalization of Dijkstra's algorithm, 1977): choices become final
/// from the cheapest up, so a term never contains itself and each class is settled once. Ties go to the smaller hash,
/// which does not depend on how the graph was numbered.
struct Search<'a> {
    operations: &'a Operations<'a>,
    target: &'a Target,
    weights: Weights,
    banned: &'a [Op],
    best: HashMap<Place, Best>,
    waiting: BinaryHeap<Reverse<Ranked>>,
}

/// A choice in the order in which choices become final.
struct Ranked {
    place: Place,
    found: Best,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> Ordering {
        let by_cost = self.found.cost.total_cmp(&other.found.cost);
        by_cost
            .then(self.found.hash.cmp(&other.found.hash))
            .then(self.place.cmp(&other.place))
    }
}
impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Ranked {}

impl<'a> Search<'a> {
    fn new(
        operations: &'a Operations<'a>,
        target: &'a Target,
        weights: Weights,
        banned: &'a [Op],
    ) -> Search<'a> {
        Search {
            operations,
            target,
            weights,
            banned,
            best: HashMap::new(),
            waiting: BinaryHeap::new(),
        }
    }

    fn run(mut self) -> HashMap<Place, Best> {
        for operation in self
            .operations
            .list
            .iter()
            .filter(|o| o.operands.is_empty())
        {
            for mode in self.operations.modes {
                self.consider(operation, *mode);
            }
        }
        while let Some(Reverse(Ranked { place, found })) = self.waiting.pop() {
            if self.best.contains_key(&place) {
                continue;
            }
            self.best.insert(place, found);
            self.settled(place);
        }
        self.best
    }

    /// Looks at the users of a class that became final.
    fn settled(&mut self, (class, mode): Place) {
        let operations = self.operations;
        for user in operations.users.get(&class).into_iter().flatten() {
            let user = &operations.list[*user];
            for user_mode in operations.modes {
                if operand_mode(user.op, *user_mode) == mode {
                    self.consider(user, *user_mode);
                }
            }
        }
    }

    fn consider(&mut self, operation: &Operation<'_>, mode: Mode) {
        let place = (operation.class, mode);
        let allowed = !self.banned.contains(&operation.op)
            && (operation.op != Op::VStage || mode == Mode::Main);
        if !allowed || self.best.contains_key(&place) {
            return;
        }
        let final_too = |c: &Id| {
            self.best
                .contains_key(&(*c, operand_mode(operation.op, mode)))
        };
        if !operation.operands.iter().all(final_too) {
            return;
        }
        if let Some(found) = self.evaluate(operation.node, place) {
            self.waiting.push(Reverse(Ranked { place, found }));
        }
    }

    /// The cost of a node on top of its operands; nothing while an operand is not final.
    fn evaluate(&self, node: &Node, (class, mode): Place) -> Option<Best> {
        let Node::Op(op, children) = node else {
            return None;
        };
        let Fact::Vector { lanes, ty } = self.operations.graph[class].data else {
            return None;
        };
        let graph = self.operations.graph;
        let facts = &graph.analysis;
        let mut cost = 0.0;
        let mut hash = fnv(op.name().as_bytes(), u64::from(mode == Mode::Staged) + 17);
        let (mut data, mut operands) = (Vec::new(), Vec::new());
        let (mut runs, mut bound) = (AxisSet::default(), AxisSet::default());
        for child in children {
            match &graph[*child].data {
                Fact::Vector { .. } => {
                    let place = (graph.find(*child), operand_mode(*op, mode));
                    let chosen = self.best.get(&place)?;
                    cost += chosen.cost;
                    hash = fnv(&chosen.hash.to_le_bytes(), hash);
                    runs = runs.union(chosen.picked.free);
                    bound = bound.union(chosen.picked.bound);
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
        if let (Op::VLoad, Some(Node::Ref(load))) = (*op, data.last()) {
            let axes = facts.terms.load_axes(LoadId::from_u32(*load));
            runs = axes.minus(self.operations.lane_axes);
        }
        if let (Op::VBits, Some(Node::Ref(field))) = (*op, data.first()) {
            runs = runs.union(facts.terms.fields[*field as usize].shift.axes());
        }
        let mut free = runs;
        if let (Op::VSum | Op::VMaxOver, Some(Node::Axis(axis))) = (*op, data.first()) {
            // Loops have one binder: two equal terms may meet here although neither was written inside the other.
            if bound.has(*axis) {
                return None;
            }
            bound = bound.union(AxisSet::one(*axis));
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
            bound,
            runs,
            mode,
            planes,
        };
        let own = node_cost(self.target, &facts.terms, &facts.axes, &picked, &operands)?;
        let unit = Unit::ALL.iter().position(|u| *u == own.unit).unwrap_or(0);
        cost += own.uops * self.weights[unit] * trips(&facts.axes, picked.runs, mode) + 1e-3;
        Some(Best {
            cost,
            hash,
            node: node.clone(),
            picked,
        })
    }
}

/// The mode that an operand of a node is computed in.
fn operand_mode(op: Op, mode: Mode) -> Mode {
    if op == Op::VStage { Mode::Staged } else { mode }
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
        (Op::VLookup8 | Op::VLookup32 | Op::VTable, Node::Ref(r)) => facts.tables[*r as usize]
            .iter()
            .fold(1, |h, e| fnv(&e.to_bits().to_le_bytes(), h)),
        (Op::VFetch | Op::VSigned | Op::VDecode, Node::Ref(r)) => {
            facts.hashes.elements[*r as usize]
        }
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
    best: &HashMap<Place, Best>,
    class: Id,
    mode: Mode,
    term: &mut Extracted,
    placed: &mut BTreeMap<Place, usize>,
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
