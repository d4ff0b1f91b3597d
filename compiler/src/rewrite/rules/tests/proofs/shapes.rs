//! Small worlds for a rule: which axis, which lanes, which type each variable of its left side stands for. Conditions on
//! these are decided here; conditions on numbers are left to the solver.

use super::super::machine::Env;
use super::Stop;
use crate::rewrite::lang::{Node, Op, Ty};
use crate::rewrite::rule::{Bind, Rule, When};
use crate::schedule::index::{AxisId, AxisKind, AxisSet};
use egg::{ENodeOrVar, PatternAst};
use std::collections::BTreeMap;

/// An axis of the world: kind, extent (of loops any), whether it runs over rows.
struct Place {
    kind: AxisKind,
    extent: u64,
    row: bool,
}

/// Axes in the order in which schedules have them: loops, copies, lanes.
const PLACES: [Place; 7] = [
    place(AxisKind::Loop, 1, true),
    place(AxisKind::Loop, 1, false),
    place(AxisKind::Unroll, 2, false),
    place(AxisKind::Lane, 2, false),
    place(AxisKind::Lane, 4, false),
    place(AxisKind::Lane, 2, false),
    place(AxisKind::Lane, 2, false),
];

const fn place(kind: AxisKind, extent: u64, row: bool) -> Place {
    Place { kind, extent, row }
}

/// What a variable stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    /// A lane list.
    Lanes(AxisSet),
    /// An axis.
    Axis(AxisId),
    /// A type.
    Ty(Ty),
    /// A load of a type, at an address of these axes.
    Load(Ty, AxisSet),
    /// A field, an element, a table or an extent.
    Leaf,
    /// A term of these axes; whether the compiler knows the number.
    Term(AxisSet, bool),
}

/// A world.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// What the variables stand for, without their question marks as elsewhere with them.
    pub(super) bound: BTreeMap<String, Bound>,
    /// Whether loops that are summed over run no time, or run for the last time.
    pub(super) empty: bool,
}

/// How a condition stands in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decided {
    /// It holds.
    Holds,
    /// It does not.
    Fails,
    /// It is about numbers.
    Open,
}

fn here(axis: AxisId) -> &'static Place {
    &PLACES[axis.as_u32() as usize]
}

/// Axes of a kind.
fn axes(which: impl Fn(&Place) -> bool) -> AxisSet {
    let ids = (0..PLACES.len()).map(|at| AxisId::from_u32(at as u32));
    ids.filter(|a| which(here(*a)))
        .fold(AxisSet::default(), |s, a| s.union(AxisSet::one(a)))
}

/// The kind of an axis.
pub(super) fn kind(axis: AxisId) -> AxisKind {
    here(axis).kind
}

/// How many values an axis takes that are told apart.
pub(super) fn extent(axis: AxisId) -> u64 {
    here(axis).extent
}

/// Axes over rows of weights.
pub(super) fn rows() -> AxisSet {
    axes(|p| p.row)
}

/// Loops that weights do not change with.
pub(super) fn batch() -> AxisSet {
    axes(|p| p.kind == AxisKind::Loop && !p.row)
}

/// All lanes.
pub(super) fn lanes() -> AxisSet {
    axes(|p| p.kind == AxisKind::Lane)
}

/// Where everything around a term has a value, and no lane.
pub(super) fn outside() -> Env {
    let around = axes(|p| p.kind != AxisKind::Lane);
    around.iter().fold(Env::EMPTY, |env, a| env.with(a, 0))
}

/// Values of the axes of a lane list, lane by lane, and of those around.
pub(super) fn places(set: AxisSet) -> Vec<Env> {
    let mut places = vec![outside()];
    for axis in set.intersect(lanes()).iter() {
        let more = |p: Env| (0..extent(axis)).map(move |v| p.with(axis, v));
        places = places.into_iter().flat_map(more).collect();
    }
    places
}

/// Which operand of an operation a variable is.
type Role = (Op, usize);

/// The variables of a pattern with where they stand first.
fn variables(pattern: &PatternAst<Node>) -> Vec<(String, Role)> {
    let mut found: Vec<(String, Role)> = Vec::new();
    for node in pattern.as_ref().iter().rev() {
        let ENodeOrVar::ENode(Node::Op(op, children)) = node else {
            continue;
        };
        for (at, child) in children.iter().enumerate() {
            if let ENodeOrVar::Var(var) = &pattern[*child]
                && !found.iter().any(|(name, _)| *name == var.to_string())
            {
                found.push((var.to_string(), (*op, at)));
            }
        }
    }
    found
}

/// All worlds of a left side, those in which the computed variables exist; conditions are not asked.
pub(super) fn shapes(rule: &Rule, left: &PatternAst<Node>) -> Result<Vec<Shape>, Stop> {
    let mut shapes = vec![BTreeMap::new()];
    let mut variables = variables(left);
    // Terms after what binds their axes.
    variables.sort_by_key(|(_, role)| matches!(choice(*role), Choice::Term | Choice::Load));
    for (name, role) in &variables {
        let mut more = Vec::new();
        for shape in &shapes {
            for bound in candidates(rule, shape, name, *role) {
                let mut shape: BTreeMap<String, Bound> = shape.clone();
                shape.insert(name.clone(), bound);
                more.push(shape);
            }
        }
        shapes = more;
    }
    let mut found = Vec::new();
    for mut bound in shapes {
        if !compute(rule, &mut bound)? {
            continue;
        }
        let loops = |b: &Bound| matches!(b, Bound::Axis(a) if kind(*a) == AxisKind::Loop);
        let both = bound.values().any(loops);
        for empty in [false, true].into_iter().take(1 + usize::from(both)) {
            let bound = bound.clone();
            found.push(Shape { bound, empty });
        }
    }
    Ok(found)
}

enum Choice {
    Lanes,
    Axis,
    Ty,
    Load,
    Leaf,
    Term,
}

fn choice(role: Role) -> Choice {
    match role {
        (Op::Vec, 0) => Choice::Lanes,
        (Op::Vec, 1) => Choice::Ty,
        (Op::Sum | Op::MaxOver | Op::PackBits, 0) => Choice::Axis,
        (Op::Ld, 0) => Choice::Load,
        (Op::Extent | Op::Unit | Op::Bits | Op::Elem | Op::Lookup, 0) => Choice::Leaf,
        _ => Choice::Term,
    }
}

fn candidates(rule: &Rule, shape: &BTreeMap<String, Bound>, name: &str, role: Role) -> Vec<Bound> {
    let all = || (0..PLACES.len()).map(|at| AxisId::from_u32(at as u32));
    let used = shape.values().fold(AxisSet::default(), |s, b| match b {
        Bound::Lanes(set) => s.union(*set),
        Bound::Axis(a) => s.union(AxisSet::one(*a)),
        _ => s,
    });
    let types = [Ty::U8, Ty::I8, Ty::U16, Ty::I16, Ty::I32, Ty::F32];
    // What a term may depend on: all around it.
    let scope = used.union(axes(|p| p.kind != AxisKind::Lane));
    match choice(role) {
        Choice::Lanes => {
            // Where there is no other axis, one lane is like another.
            let over = [Op::Sum, Op::MaxOver, Op::PackBits];
            let sums = over.iter().any(|op| rule.left.contains(op.name()));
            let one = lanes()
                .iter()
                .map(AxisSet::one)
                .take(if sums { 4 } else { 1 });
            let two = AxisSet::one(AxisId::from_u32(3)).union(AxisSet::one(AxisId::from_u32(5)));
            let some = rule.bind.iter().any(|b| matches!(b, Bind::Restrict(..)));
            let sets = std::iter::once(AxisSet::default())
                .chain(one)
                .chain(some.then_some(two));
            sets.filter(|s| s.intersect(used).is_empty())
                .map(Bound::Lanes)
                .collect()
        }
        Choice::Axis => all().filter(|a| !used.has(*a)).map(Bound::Axis).collect(),
        Choice::Ty => types.map(Bound::Ty).to_vec(),
        Choice::Load => {
            let frees = [scope, scope.minus(rows())];
            let load = |ty: &Ty| frees.map(|free| Bound::Load(*ty, free));
            types.iter().flat_map(load).collect()
        }
        Choice::Leaf => vec![Bound::Leaf],
        Choice::Term => {
            let mut found = vec![Bound::Term(scope, false)];
            let about = |w: &When| match *w {
                When::NotFree(_, e) | When::Needed(_, e) => e == name,
                When::StageableSum(_, e) | When::StageableLanes(_, _, e) | When::Panelled(e) => {
                    e == name
                }
                _ => false,
            };
            let restricted = |b: &Bind| matches!(*b, Bind::Restrict(_, _, e) if e == name);
            if rule.when.iter().any(about) || rule.bind.iter().any(restricted) {
                let without = |a: AxisId| Bound::Term(scope.minus(AxisSet::one(a)), false);
                found.extend(scope.iter().map(without));
                found.push(Bound::Term(scope.minus(rows().union(lanes())), false));
                found.push(Bound::Term(AxisSet::default(), false));
            }
            let known = |w: &When| match *w {
                When::Constant(e) | When::NotConstant(e) => e == name,
                _ => false,
            };
            if rule.when.iter().any(known) {
                found.push(Bound::Term(AxisSet::default(), true));
            }
            found.dedup();
            found
        }
    }
}

/// Adds the computed variables; `false` if they do not exist.
fn compute(rule: &Rule, bound: &mut BTreeMap<String, Bound>) -> Result<bool, Stop> {
    for bind in rule.bind {
        match *bind {
            Bind::Push(new, l, a) => {
                let (Bound::Lanes(set), Bound::Axis(a)) = (bound[l], bound[a]) else {
                    return Err(Stop::Unstated("lanes of something else".into()));
                };
                let set = set.union(AxisSet::one(a));
                bound.insert(new.to_owned(), Bound::Lanes(set));
            }
            Bind::Restrict(new, l, e) => {
                let (Bound::Lanes(set), Bound::Term(free, _)) = (bound[l], bound[e]) else {
                    return Err(Stop::Unstated("lanes of something else".into()));
                };
                let kept = set.intersect(free);
                if kept == set {
                    return Ok(false);
                }
                bound.insert(new.to_owned(), Bound::Lanes(kept));
            }
            Bind::OffsetTable(new, offset, _) => {
                bound.insert(new.to_owned(), Bound::Leaf);
                bound.insert(offset.to_owned(), Bound::Term(AxisSet::default(), true));
            }
            other => return Err(Stop::Unstated(format!("the computed variable {other:?}"))),
        }
    }
    Ok(true)
}

impl Shape {
    /// How a condition stands here.
    pub(super) fn decide(&self, when: &When) -> Result<Decided, Stop> {
        let odd = || Stop::Unstated(format!("the condition {when:?}"));
        let axis = |name: &str| match self.bound[name] {
            Bound::Axis(a) => Ok(a),
            _ => Err(odd()),
        };
        let free = |name: &str| match self.bound[name] {
            Bound::Term(free, _) | Bound::Load(_, free) => Ok(free),
            _ => Err(odd()),
        };
        let load = |name: &str| match self.bound[name] {
            Bound::Load(ty, _) => Ok(ty),
            _ => Err(odd()),
        };
        let holds = match *when {
            When::NotFree(a, e) => !free(e)?.has(axis(a)?),
            When::Loop(a) => kind(axis(a)?) != AxisKind::Lane,
            // Two neighbours stand for eight.
            When::Copies(a) | When::Octet(a) => kind(axis(a)?) == AxisKind::Unroll,
            When::Lane(a) | When::Folds(a) => kind(axis(a)?) == AxisKind::Lane,
            When::Needed(a, e) => free(e)?.has(axis(a)?) || kind(axis(a)?) == AxisKind::Loop,
            When::Two(a) => extent(axis(a)?) == 2,
            When::Innermost(a, l) => match self.bound[l] {
                Bound::Lanes(set) => {
                    let a = axis(a)?;
                    set.iter().all(|x| x < a)
                }
                _ => return Err(odd()),
            },
            When::Several(l) => match self.bound[l] {
                Bound::Lanes(set) => !set.is_empty(),
                _ => return Err(odd()),
            },
            When::Before(a, b) => axis(a)? < axis(b)?,
            When::StoredAs(x, t) => Bound::Ty(load(x)?) == self.bound[t],
            When::StoredAs16(x) => load(x)? == Ty::U16,
            When::SignedByteLoad(x) => load(x)? == Ty::I8,
            When::OverRows(x) => !free(x)?.intersect(rows()).is_empty(),
            When::StageableSum(a, e) => {
                let free = free(e)?.minus(AxisSet::one(axis(a)?));
                free.intersect(rows().union(lanes())).is_empty()
            }
            When::StageableLanes(l, a, e) => {
                let free = free(e)?.minus(AxisSet::one(axis(a)?));
                let kept = free.intersect(lanes());
                free.intersect(rows()).is_empty() && self.bound[l] == Bound::Lanes(kept)
            }
            When::Panelled(e) => free(e)?.intersect(batch()).is_empty(),
            When::Constant(e) => matches!(self.bound[e], Bound::Term(_, true)),
            When::NotConstant(e) => !matches!(self.bound[e], Bound::Term(_, true)),
            // Everything here is an integer.
            When::Integer(_) => true,
            When::Fits(..)
            | When::Bit(_)
            | When::SumFits(..)
            | When::ProductSumFits(..)
            | When::FitsVar(..)
            | When::WholeUnit(..)
            | When::TableFits(..)
            | When::ElementFits(..)
            | When::WideField(..)
            | When::Unrounded(..)
            | When::SignedInteger(_)
            | When::UnsignedInteger(_)
            | When::Tabular(_) => return Ok(Decided::Open),
            _ => return Err(odd()),
        };
        Ok(if holds {
            Decided::Holds
        } else {
            Decided::Fails
        })
    }
}

/// Whether a pattern has variables for real numbers, of which integers prove nothing.
pub(super) fn of_reals(left: &PatternAst<Node>) -> bool {
    let code = |role: &Role| {
        matches!(
            role,
            (Op::Lookup | Op::Elem | Op::Bits, 1) | (Op::Biased, 0)
        )
    };
    let mut roles = variables(left).into_iter().map(|(_, role)| role);
    roles.any(|role| matches!(choice(role), Choice::Term) && !code(&role))
}
