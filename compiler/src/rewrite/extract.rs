//! Extraction: the cheapest term of the root's class, as a DAG, under a weighting of the units. A maximum over units does
//! not decompose over a term, so a few terms are extracted under different weightings and each is scored whole.

use super::analysis::{Fact, Graph};
use super::cost::{Mode, Prices};
use super::lang::{Node, Op, Ty};
use crate::hash::fnv;
use crate::schedule::index::AxisSet;
use crate::schedule::term::LoadId;
use crate::target::{UNITS, Unit};
use egg::Id;
use smallvec::SmallVec;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;

/// An operation of an extracted term.
#[derive(Clone, Debug, PartialEq)]
pub struct Picked {
    /// The operation.
    pub op: Op,
    /// Its data operands (lanes, type, axis, numbers of tables …), in order.
    pub data: Arc<[Node]>,
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
    /// In the loops over results or before some of them.
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
    /// The operation, by its position in [`Operations`].
    operation: usize,
    picked: Picked,
}

/// Weights of the units in a sum of micro-operations.
pub type Weights = [f64; UNITS];

/// The operations of a graph with their operands and users, classes numbered from 0: what every extraction starts from.
pub struct Operations<'a> {
    graph: &'a Graph,
    classes: HashMap<Id, usize>,
    list: Vec<Operation>,
    /// Operations that use a class.
    users: Vec<Vec<usize>>,
    /// Modes that terms can be in.
    modes: Vec<Mode>,
    lane_axes: AxisSet,
}

/// An operation that a target may have.
struct Operation {
    class: usize,
    op: Op,
    lanes: AxisSet,
    ty: Ty,
    children: Vec<Child>,
    /// The operands that are data, in order.
    data: Arc<[Node]>,
    planes: usize,
}

/// An operand.
enum Child {
    /// A class of vectors.
    Vector(usize),
    /// The hash of data.
    Data(u64),
}

impl Operation {
    fn operands(&self) -> impl Iterator<Item = usize> {
        self.children.iter().filter_map(|c| match c {
            Child::Vector(class) => Some(*class),
            Child::Data(_) => None,
        })
    }
}

impl<'a> Operations<'a> {
    /// The operations of a graph.
    pub fn of(graph: &'a Graph) -> Operations<'a> {
        let facts = &graph.analysis;
        let lane_axes = facts.axes.keys().filter(|a| facts.is_lane(*a));
        let vectors = || {
            graph.classes().filter_map(|class| match class.data {
                Fact::Vector { lanes, ty } => Some((class, lanes, ty)),
                Fact::Real(_) | Fact::Data(_) => None,
            })
        };
        let numbers = vectors()
            .enumerate()
            .map(|(at, (class, ..))| (class.id, at));
        let classes: HashMap<Id, usize> = numbers.collect();
        let mut list = Vec::new();
        for (class, lanes, ty) in vectors() {
            for node in &class.nodes {
                let Node::Op(op, ids) = node else {
                    continue;
                };
                let mut data = Vec::new();
                let operands = ids.iter();
                let children: Option<Vec<Child>> = operands
                    .map(|id| child(graph, &classes, *op, *id, &mut data))
                    .collect();
                let (Some(children), false) = (children, *op == Op::Vec) else {
                    continue;
                };
                let planes = match (op, data.first()) {
                    (Op::VLookup32, Some(Node::Ref(table))) => {
                        float_planes(&facts.tables[*table as usize])
                    }
                    _ => 0,
                };
                list.push(Operation {
                    class: classes[&class.id],
                    op: *op,
                    lanes,
                    ty,
                    children,
                    data: data.into(),
                    planes,
                });
            }
        }
        let mut users = vec![Vec::new(); classes.len()];
        for (at, operation) in list.iter().enumerate() {
            let used: BTreeSet<usize> = operation.operands().collect();
            used.into_iter().for_each(|c| users[c].push(at));
        }
        let made_by = |mode: &Mode| match mode {
            Mode::Main => true,
            apart => list.iter().any(|o| Mode::Main.of_operands(o.op) == *apart),
        };
        let all = [Mode::Staged, Mode::Panel, Mode::Main];
        let modes = all.into_iter().filter(made_by).collect();
        Operations {
            graph,
            classes,
            list,
            users,
            modes,
            lane_axes: lane_axes.fold(AxisSet::default(), |s, a| s.union(AxisSet::one(a))),
        }
    }
}

/// An operand of an operation, which is put beside the others if it is data; `None` for a real one that is no constant.
fn child(
    graph: &Graph,
    classes: &HashMap<Id, usize>,
    op: Op,
    id: Id,
    data: &mut Vec<Node>,
) -> Option<Child> {
    let (leaf, hash) = match &graph[id].data {
        Fact::Vector { .. } => return Some(Child::Vector(*classes.get(&graph.find(id))?)),
        Fact::Data(leaf) => (leaf.clone(), leaf_hash(graph, op, leaf)),
        Fact::Real(real) => {
            let number = Node::num(real.constant?);
            let hash = word(&number);
            (number, hash)
        }
    };
    data.push(leaf);
    Some(Child::Data(hash))
}

/// Extracts a term for the roots, without the operations banned. `None` if there is none on the target.
pub fn extract(
    operations: &Operations<'_>,
    roots: &[Id],
    prices: &Prices<'_>,
    weights: Weights,
    banned: &[Op],
) -> Option<Extracted> {
    let best = Search::new(operations, prices, weights, banned).run();
    let mut term = Extracted {
        nodes: Vec::new(),
        roots: Vec::new(),
        hash: 0,
    };
    let mut placed = BTreeMap::new();
    for root in roots {
        let class = *operations.classes.get(&operations.graph.find(*root))?;
        let place = (class, Mode::Main);
        let at = build(operations, &best, place, &mut term, &mut placed)?;
        term.roots.push(at);
        let hash = best.settled_at(place)?.hash;
        term.hash = fnv(&hash.to_le_bytes(), term.hash);
    }
    Some(term)
}

/// A class, by its number, and where its term is computed.
type Place = (usize, Mode);

/// All choices that were looked at, and which of them are settled.
struct Choices {
    all: Vec<Best>,
    /// Positions of what is settled, by class and mode.
    settled: Vec<[Option<usize>; Mode::COUNT]>,
}

impl Choices {
    fn settled_at(&self, (class, mode): Place) -> Option<&Best> {
        self.settled[class][mode as usize].map(|at| &self.all[at])
    }
}

/// Knuth's generalisation of Dijkstra's algorithm (A generalization of Dijkstra's algorithm, 1977): choices become final
/// from the cheapest up, so a term never contains itself and each class is settled once. Ties go to the smaller hash,
/// which does not depend on how the graph was numbered.
struct Search<'a> {
    operations: &'a Operations<'a>,
    prices: &'a Prices<'a>,
    weights: Weights,
    banned: &'a [Op],
    best: Choices,
    waiting: BinaryHeap<Reverse<Ranked>>,
}

/// A choice in the order in which choices become final.
struct Ranked {
    cost: f64,
    hash: u64,
    place: Place,
    /// Its position among the choices.
    at: usize,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> Ordering {
        let by_cost = self.cost.total_cmp(&other.cost);
        by_cost
            .then(self.hash.cmp(&other.hash))
            .then(self.place.cmp(&other.place))
            .then(self.at.cmp(&other.at))
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
        prices: &'a Prices<'a>,
        weights: Weights,
        banned: &'a [Op],
    ) -> Search<'a> {
        Search {
            operations,
            prices,
            weights,
            banned,
            best: Choices {
                all: Vec::new(),
                settled: vec![[None; Mode::COUNT]; operations.users.len()],
            },
            waiting: BinaryHeap::new(),
        }
    }

    fn run(mut self) -> Choices {
        for at in 0..self.operations.list.len() {
            if self.operations.list[at].operands().next().is_none() {
                for mode in &self.operations.modes {
                    self.consider(at, *mode);
                }
            }
        }
        while let Some(Reverse(Ranked { place, at, .. })) = self.waiting.pop() {
            let (class, mode) = place;
            let here = &mut self.best.settled[class][mode as usize];
            if here.is_some() {
                continue;
            }
            *here = Some(at);
            self.settled(place);
        }
        self.best
    }

    /// Looks at the users of a class that became final.
    fn settled(&mut self, (class, mode): Place) {
        let operations = self.operations;
        for at in &operations.users[class] {
            for user_mode in &operations.modes {
                if user_mode.of_operands(operations.list[*at].op) == mode {
                    self.consider(*at, *user_mode);
                }
            }
        }
    }

    fn consider(&mut self, at: usize, mode: Mode) {
        let operation = &self.operations.list[at];
        let place = (operation.class, mode);
        let allowed = !self.banned.contains(&operation.op) && mode.admits(operation.op);
        if !allowed || self.best.settled_at(place).is_some() {
            return;
        }
        let inner = mode.of_operands(operation.op);
        if !operation
            .operands()
            .all(|c| self.best.settled_at((c, inner)).is_some())
        {
            return;
        }
        if let Some(found) = self.evaluate(at, mode) {
            self.waiting.push(Reverse(Ranked {
                cost: found.cost,
                hash: found.hash,
                place,
                at: self.best.all.len(),
            }));
            self.best.all.push(found);
        }
    }

    /// The cost of an operation on top of its operands; nothing while an operand is not final.
    fn evaluate(&self, at: usize, mode: Mode) -> Option<Best> {
        let operation = &self.operations.list[at];
        let op = operation.op;
        let facts = &self.operations.graph.analysis;
        let mut cost = 0.0;
        let mut hash = fnv(op.name().as_bytes(), mode as u64 + 17);
        let data = operation.data.clone();
        let mut operands: SmallVec<[&Picked; 4]> = SmallVec::new();
        let (mut runs, mut bound) = (AxisSet::default(), AxisSet::default());
        for child in &operation.children {
            match child {
                Child::Vector(class) => {
                    let chosen = self.best.settled_at((*class, mode.of_operands(op)))?;
                    cost += chosen.cost;
                    hash = fnv(&chosen.hash.to_le_bytes(), hash);
                    runs = runs.union(chosen.picked.free);
                    bound = bound.union(chosen.picked.bound);
                    operands.push(&chosen.picked);
                }
                Child::Data(contents) => hash = fnv(&contents.to_le_bytes(), hash),
            }
        }
        if let (Op::VLoad, Some(Node::Ref(load))) = (op, data.last()) {
            let axes = facts.terms.load_axes(LoadId::from_u32(*load));
            runs = axes.minus(self.operations.lane_axes);
        }
        if let (Op::VBits, Some(Node::Ref(field))) = (op, data.first()) {
            runs = runs.union(facts.terms.fields[*field as usize].axes());
        }
        if let (Op::VUnit, Some(Node::Ref(unit))) = (op, data.last()) {
            runs = runs.union(facts.terms.units[*unit as usize].bits.axes());
        }
        let mut free = runs;
        if let (true, Some(Node::Axis(axis))) = (op.has_axis(), data.first()) {
            // Loops have one binder: two equal terms may meet here although neither was written inside the other.
            if bound.has(*axis) {
                return None;
            }
            bound = bound.union(AxisSet::one(*axis));
            free = free.minus(AxisSet::one(*axis));
            runs = runs.union(AxisSet::one(*axis));
        }
        let picked = Picked {
            op,
            data,
            children: Vec::new(),
            lanes: operation.lanes,
            ty: operation.ty,
            free,
            bound,
            runs,
            mode,
            planes: operation.planes,
        };
        let own = self.prices.node(&picked, &operands)?;
        cost += own.uops * self.weights[own.unit as usize] * self.prices.trips(&picked) + 1e-3;
        cost += self.weights[Unit::Store as usize] * self.prices.stores(&picked);
        Some(Best {
            cost,
            hash,
            operation: at,
            picked,
        })
    }
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
        (Op::VUnit, Node::Ref(r)) => facts.hashes.units[*r as usize],
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
    operations: &Operations<'_>,
    best: &Choices,
    place: Place,
    term: &mut Extracted,
    placed: &mut BTreeMap<Place, usize>,
) -> Option<usize> {
    if let Some(at) = placed.get(&place) {
        return Some(*at);
    }
    let chosen = best.settled_at(place)?;
    let mode = place.1.of_operands(chosen.picked.op);
    let operands = operations.list[chosen.operation].operands();
    let children = operands
        .map(|class| build(operations, best, (class, mode), term, placed))
        .collect::<Option<Vec<usize>>>()?;
    term.nodes.push(Picked {
        children,
        ..chosen.picked.clone()
    });
    let at = term.nodes.len() - 1;
    placed.insert(place, at);
    Some(at)
}
