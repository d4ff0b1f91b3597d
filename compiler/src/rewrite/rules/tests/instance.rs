//! Random small instances of a pattern: axes, loads, fields, elements and tables, and terms for its variables. What fits
//! where follows from the language, never from a rule.

use super::machine::mix;
use crate::rewrite::facts::Facts;
use crate::rewrite::lang::{Node, Op, Ty};
use crate::schedule::index::{Axes, Axis, AxisId, AxisKind, AxisSet, TableAxis};
use crate::schedule::layout::COUNTED;
use crate::schedule::term::{LoadId, Storage};
use crate::vector::ir::Scalar;
use egg::{ENodeOrVar, Id, Language, PatternAst, Var};
use std::collections::BTreeMap;

/// A source of numbers.
pub(super) struct Random(u64);

impl Random {
    /// From a seed.
    pub(super) fn new(seed: u64) -> Random {
        Random(mix(seed, 0x51))
    }

    /// Below a bound.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = mix(self.0, 0x9d);
        (self.0 >> 16) % bound
    }

    /// Once in so many times.
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of several.
    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }
}

/// An instance of a pattern.
pub(super) struct Instance {
    /// What its leaves refer to.
    pub(super) facts: Facts,
    /// How many values each axis takes.
    pub(super) extents: Vec<u64>,
    /// The term, operands first; children are positions.
    pub(super) nodes: Vec<Node>,
}

/// Entries of tables.
const ENTRIES: u64 = 16;

/// What may stand at a place of a term.
#[derive(Clone, Copy)]
enum Sort {
    Real,
    /// A digit of a number to base two, mostly a bit.
    Digit,
    /// An integer with so many bits to take a code from.
    Word(u32),
    SignedByte,
    Code(u32),
    Load,
    Field,
    Element,
    /// An element whose codes have several values, one after the other.
    Several,
    /// The number of such a value: that of the first of its code, and its place.
    Entry,
    FirstEntry,
    /// How many values a code has.
    Width,
    CodeOfSeveral,
    /// The place of a value of a code.
    Place,
    Table,
    Extent,
    Unit,
    Data,
}

/// Bits of an integer up to the highest that a field takes.
pub(super) fn top(facts: &Facts, field: u32) -> u32 {
    u32::from(facts.terms.fields[field as usize].width.max(8))
}

/// What an operand of an operation is; `first` is the number that its first operand turned out to be.
fn sort_of(op: Op, operand: usize, first: u32, facts: &Facts) -> Sort {
    match (op, operand) {
        (Op::Ld, 0) => Sort::Load,
        (Op::Extent, 0) => Sort::Extent,
        (Op::Unit, 0) => Sort::Unit,
        (Op::Bits, 0) => Sort::Field,
        (Op::Bits, _) => Sort::Word(top(facts, first)),
        (Op::Elem, 0) => Sort::Element,
        (Op::Elem, _) => Sort::Code(facts.terms.elements[first as usize].bits()),
        (Op::Lookup, 0) => Sort::Table,
        (Op::Lookup, _) => Sort::Code(facts.tables[first as usize].len().ilog2()),
        (Op::Biased, _) => Sort::SignedByte,
        (Op::At, 1) => Sort::Field,
        (Op::At, 2) => Sort::Load,
        (Op::Pick, 2) => Sort::Code(ENTRIES.ilog2()),
        (Op::Vec, 0 | 1) => Sort::Data,
        (Op::Sum | Op::MaxOver | Op::PackBits, 0) => Sort::Data,
        (Op::Place | Op::Pick | Op::At, 0) => Sort::Data,
        (Op::PackBits, _) => Sort::Digit,
        _ => Sort::Real,
    }
}

/// An instance in the making.
pub(super) struct Builder<'r> {
    /// Where choices come from.
    pub(super) random: &'r mut Random,
    /// What there is of it.
    pub(super) instance: Instance,
    /// How many values the codes of the last element with several have.
    pub(super) width: u32,
    variables: BTreeMap<Var, Id>,
    /// Axes that have a binder in the pattern, or are lanes of a vector around.
    bound: AxisSet,
}

/// Draws an instance of a pattern.
pub(super) fn draw(pattern: &PatternAst<Node>, random: &mut Random) -> Instance {
    let (axes, extents) = axes(random);
    let facts = Facts {
        axes,
        ..Facts::default()
    };
    let nodes = Vec::new();
    let instance = Instance {
        facts,
        extents,
        nodes,
    };
    let mut builder = Builder {
        random,
        instance,
        width: 1,
        variables: BTreeMap::new(),
        bound: AxisSet::default(),
    };
    builder.bind_axes(pattern);
    let root = Id::from(pattern.as_ref().len() - 1);
    let all = builder.axes(|a| a.tables != TableAxis::Entries);
    let free = all.minus(builder.bound);
    builder.build(pattern, root, Sort::Real, free);
    builder.instance
}

/// Loops and copies first, lanes last, as schedules have them.
fn axes(random: &mut Random) -> (Axes, Vec<u64>) {
    let (mut axes, mut extents) = (Axes::new(), Vec::new());
    let (loops, copies) = (2, random.below(2));
    // The last axis numbers the entries of tables.
    let last = loops + copies + 4;
    for at in 0..=last {
        let kind = match at {
            a if a < loops => AxisKind::Loop,
            a if a < loops + copies => AxisKind::Unroll,
            _ => AxisKind::Lane,
        };
        let mut extent = if random.one_in(4) { 4 } else { 2 };
        if kind == AxisKind::Unroll && !random.one_in(3) {
            extent = COUNTED;
        }
        let mut to = Scalar::Const(extent);
        let mut nominal = extent;
        if at == last {
            extent = ENTRIES;
            to = Scalar::Const(extent);
            nominal = extent;
        }
        if kind == AxisKind::Loop {
            match random.below(4) {
                0 => {
                    extent = random.below(4);
                    to = Scalar::Dim(0);
                    nominal = 16;
                }
                1 => {
                    extent = random.below(4);
                    let end = Scalar::Dim(0);
                    to = Scalar::Rem(Box::new(end), Box::new(Scalar::Const(4)));
                }
                2 => {
                    extent = 1 + random.below(4);
                    to = Scalar::Const(extent);
                }
                _ => {}
            }
        }
        extents.push(extent);
        axes.push(Axis {
            name: format!("i{at}"),
            kind,
            from: Scalar::Const(0),
            to: to.clone(),
            step: 1,
            full: to,
            nominal,
            output: random.one_in(2),
            row: kind != AxisKind::Lane && random.one_in(2),
            batch: kind == AxisKind::Loop && random.one_in(2),
            ranged: false,
            folds: kind == AxisKind::Lane && !random.one_in(3),
            tables: match kind {
                _ if at == last => TableAxis::Entries,
                AxisKind::Unroll => TableAxis::Joint,
                _ => TableAxis::None,
            },
            group: 0,
        });
    }
    (axes, extents)
}

impl Builder<'_> {
    /// A node, by its position.
    pub(super) fn add(&mut self, node: Node) -> Id {
        self.instance.nodes.push(node);
        Id::from(self.instance.nodes.len() - 1)
    }

    /// An operation, by its position.
    pub(super) fn op(&mut self, op: Op, children: Vec<Id>) -> Id {
        self.add(Node::Op(op, children))
    }

    /// Axes of a kind.
    pub(super) fn axes(&self, which: impl Fn(&Axis) -> bool) -> AxisSet {
        let axes = self.instance.facts.axes.iter();
        let found = axes.filter(|(_, axis)| which(axis)).map(|(a, _)| a);
        found.fold(AxisSet::default(), |s, a| s.union(AxisSet::one(a)))
    }

    /// Chooses lane lists and axes: lanes from the outside in and then sums over the next ones, or anything.
    fn bind_axes(&mut self, pattern: &PatternAst<Node>) {
        let entries = self.axes(|a| a.tables == TableAxis::Entries);
        let lanes = self.axes(|a| a.kind == AxisKind::Lane).minus(entries);
        let lanes: Vec<AxisId> = lanes.iter().collect();
        let outer = self.random.below(3) as usize;
        let mut next = outer;
        let any = self.random.one_in(2);
        for node in pattern.as_ref().iter().rev() {
            let ENodeOrVar::ENode(Node::Op(op, children)) = node else {
                continue;
            };
            let ENodeOrVar::Var(var) = pattern[children[0]] else {
                continue;
            };
            if *op == Op::Vec {
                let mut set = AxisSet::default();
                for (at, axis) in lanes.iter().enumerate() {
                    if (any && self.random.one_in(2)) || (!any && at < outer) {
                        set = set.union(AxisSet::one(*axis));
                    }
                }
                match self.random.below(12) {
                    0 => set = entries,
                    1 => set = set.union(entries),
                    _ => {}
                }
                self.bound = self.bound.union(set);
                let id = self.add(Node::Lanes(set));
                self.variables.insert(var, id);
            }
            if matches!(op, Op::Place | Op::Pick | Op::At) && !self.variables.contains_key(&var) {
                for axis in entries.iter() {
                    let id = self.add(Node::Axis(axis));
                    self.variables.insert(var, id);
                }
            }
            if matches!(op, Op::Sum | Op::MaxOver | Op::PackBits) {
                let unused = self.axes(|_| true).minus(self.bound).minus(entries);
                let unused: Vec<AxisId> = unused.iter().collect();
                let mut axis = self.random.pick(&unused);
                let copies = |a: &&AxisId| self.instance.facts.axes[**a].kind == AxisKind::Unroll;
                if let Some(copies) = unused.iter().find(copies)
                    && *op == Op::PackBits
                    && !self.random.one_in(4)
                {
                    axis = *copies;
                }
                if next < lanes.len()
                    && !any
                    && !self.bound.has(lanes[next])
                    && !self.random.one_in(4)
                {
                    axis = lanes[next];
                    next += 1;
                }
                self.bound = self.bound.union(AxisSet::one(axis));
                let id = self.add(Node::Axis(axis));
                self.variables.insert(var, id);
            }
        }
    }

    /// The instance of a node of the pattern, over some free axes.
    fn build(&mut self, pattern: &PatternAst<Node>, at: Id, sort: Sort, free: AxisSet) -> Id {
        let node = match &pattern[at] {
            ENodeOrVar::Var(var) => {
                if let Some(id) = self.variables.get(var) {
                    return *id;
                }
                let id = self.leaf_or_term(sort, free);
                self.variables.insert(*var, id);
                return id;
            }
            ENodeOrVar::ENode(node) => node.clone(),
        };
        let Node::Op(op, _) = node else {
            return self.add(node);
        };
        let (mut children, mut free, mut first) = (Vec::new(), free, 0);
        for (i, child) in node.children().iter().enumerate() {
            let is_node = |child: Id| matches!(pattern[child], ENodeOrVar::ENode(_));
            let own = sort_of(op, i, first, &self.instance.facts);
            let sort = match (op, i, sort) {
                (Op::Elem, 0, _) if is_node(node.children()[1]) => Sort::Several,
                (Op::Elem, 1, _) if is_node(*child) => Sort::Entry,
                (Op::Add, _, Sort::Entry) if is_node(*child) => Sort::FirstEntry,
                (Op::Add, _, Sort::Entry) => Sort::Place,
                (Op::Mul, 0, Sort::FirstEntry) => Sort::Width,
                (Op::Mul, _, Sort::FirstEntry) => Sort::CodeOfSeveral,
                (Op::Mul, _, Sort::Digit) => Sort::Digit,
                _ => own,
            };
            let id = self.build(pattern, *child, sort, free);
            children.push(id);
            if i > 0 {
                continue;
            }
            match self.instance.nodes[usize::from(id)] {
                Node::Ref(number) => first = number,
                // Lanes have values in their vector only.
                Node::Lanes(set) => {
                    free = free
                        .minus(self.axes(|a| a.kind == AxisKind::Lane))
                        .union(set)
                }
                Node::Axis(axis) => free = free.union(AxisSet::one(axis)),
                _ => {}
            }
        }
        self.op(op, children)
    }

    fn leaf_or_term(&mut self, sort: Sort, free: AxisSet) -> Id {
        match sort {
            Sort::Real => {
                let depth = [0, 0, 0, 1, 1, 2][self.random.below(6) as usize];
                self.real(free, depth)
            }
            Sort::Digit if !self.random.one_in(4) => self.code(1, free),
            Sort::Digit => self.real(free, 0),
            Sort::Word(bits) => self.word(bits, free),
            Sort::SignedByte => self.load_of(Storage::I8, free),
            Sort::Code(bits) => self.code(bits, free),
            Sort::Load => {
                let storage = self.storage();
                let load = self.load(storage, free);
                self.add(Node::Ref(load))
            }
            Sort::Field => {
                let width = self.random.pick(&[1, 1, 1, 2, 4, 8, 12, 20]);
                let field = self.part(width, free);
                self.add(Node::Ref(field))
            }
            Sort::Element => {
                let element = self.element();
                self.add(Node::Ref(element))
            }
            Sort::Several => {
                let element = self.several();
                self.add(Node::Ref(element))
            }
            Sort::Width => self.add(Node::num(f64::from(self.width))),
            Sort::Place => {
                let below = self.width + u32::from(self.random.one_in(4));
                self.load_of(Storage::Place { below }, free)
            }
            // The table is padded to a power of two, so there are codes above those of a byte.
            Sort::CodeOfSeveral if self.random.one_in(4) => {
                let codes = (256 * self.width).next_power_of_two();
                let below = codes / self.width;
                self.load_of(Storage::Place { below }, free)
            }
            Sort::Entry | Sort::FirstEntry | Sort::CodeOfSeveral => self.code(8, free),
            Sort::Table => {
                let table = self.table();
                self.add(Node::Ref(table))
            }
            Sort::Unit => {
                let unit = self.unit(free);
                self.add(Node::Ref(unit))
            }
            Sort::Extent => {
                let extent = self.random.below(3) as u32;
                self.add(Node::Ref(extent))
            }
            Sort::Data => {
                let ty = self
                    .random
                    .pick(&[Ty::U8, Ty::I8, Ty::U16, Ty::I16, Ty::I32, Ty::F32]);
                self.add(Node::Ty(ty))
            }
        }
    }

    /// A random term over some axes.
    fn real(&mut self, free: AxisSet, depth: u32) -> Id {
        if depth == 0 {
            return self.leaf(free);
        }
        let part = |b: &mut Self| b.real(free, depth - 1);
        let (unary, binary) = (
            [
                Op::Abs,
                Op::Exp,
                Op::Sqrt,
                Op::Tanh,
                Op::Silu,
                Op::Gelu,
                Op::Round,
                Op::RoundAway,
                Op::Trunc,
                Op::Floor,
                Op::FloorPow2,
            ],
            [Op::Div, Op::Min, Op::Max, Op::StrictSub],
        );
        match self.random.below(9) {
            0..=2 => {
                let parts = vec![part(self), part(self)];
                self.op(Op::Add, parts)
            }
            3..=5 => {
                let parts = vec![part(self), part(self)];
                self.op(Op::Mul, parts)
            }
            6 => {
                let parts = vec![part(self)];
                let op = self.random.pick(&unary);
                self.op(op, parts)
            }
            7 => {
                let parts = vec![part(self), part(self)];
                let op = self.random.pick(&binary);
                self.op(op, parts)
            }
            _ => {
                let unused = self.axes(|a| a.tables != TableAxis::Entries);
                let unused = unused.minus(self.bound).minus(free);
                let Some(axis) = unused.iter().next() else {
                    return self.leaf(free);
                };
                let binder = self.add(Node::Axis(axis));
                let term = self.real(free.union(AxisSet::one(axis)), depth - 1);
                self.op(Op::Sum, vec![binder, term])
            }
        }
    }

    /// A load that the instance has already, at places that are in scope.
    fn known_load(&mut self, free: AxisSet) -> Option<Id> {
        let terms = &self.instance.facts.terms;
        let in_scope = |l: &LoadId| terms.load_axes(*l).minus(free).is_empty();
        let loads: Vec<LoadId> = terms.loads.keys().filter(in_scope).collect();
        if loads.is_empty() || !self.random.one_in(4) {
            return None;
        }
        let load = self.random.pick(&loads).as_u32();
        let leaf = self.add(Node::Ref(load));
        Some(self.op(Op::Ld, vec![leaf]))
    }

    fn leaf(&mut self, free: AxisSet) -> Id {
        if let Some(known) = self.known_load(free) {
            return known;
        }
        match self.random.below(15) {
            14 => self.code(1, free),
            0 | 1 => self.load_of(Storage::U8, free),
            2 | 3 => self.load_of(Storage::I8, free),
            4 => self.load_of(Storage::I16, free),
            5 => self.load_of(Storage::F32, free),
            6 => {
                let storage = self.storage();
                self.load_of(storage, free)
            }
            7 | 8 => {
                let width = self.random.pick(&[1, 2, 4, 4, 5]);
                self.code(width, free)
            }
            9 => {
                let element = self.element();
                let bits = self.instance.facts.terms.elements[element as usize].bits();
                let parts = vec![self.add(Node::Ref(element)), self.code(bits, free)];
                self.op(Op::Elem, parts)
            }
            10 => {
                let table = self.table();
                let bits = self.instance.facts.tables[table as usize].len().ilog2();
                let parts = vec![self.add(Node::Ref(table)), self.code(bits, free)];
                self.op(Op::Lookup, parts)
            }
            11 => {
                let byte = vec![self.load_of(Storage::I8, free)];
                self.op(Op::Biased, byte)
            }
            12 if self.random.one_in(2) => {
                let extent = self.random.below(3) as u32;
                let leaf = vec![self.add(Node::Ref(extent))];
                self.op(Op::Extent, leaf)
            }
            12 if self.random.one_in(8) => {
                let unit = self.unit(free);
                let leaf = vec![self.add(Node::Ref(unit))];
                self.op(Op::Unit, leaf)
            }
            _ => {
                let numbers = [
                    0.0, 1.0, -1.0, 0.5, 2.0, -128.0, 127.0, 300.0, -40000.0, 3e9,
                ];
                let number = self.random.pick(&numbers);
                self.add(Node::num(number))
            }
        }
    }
}
