//! The outline of a placed statement: all that rewriting sees of it. Shapes leave their mark on addresses, and on how often loops
//! go round; an outline has of those no more than what a term's worth depends on, so that statements that differ in their shapes
//! alone have the same outline, and are rewritten once (`known.rs`).

use super::facts::{FREE_REDUCTION, Facts};
use crate::schedule::index::{Affine, Axes, Axis, AxisId, AxisKind, AxisSet, Sym};
use crate::schedule::place::{Kept, Placed};
use crate::schedule::term::{Load, Storage, TermId, Terms};
use crate::spec::kernel::{Kernel, Tables, TensorId};
use crate::vector::ir::Scalar;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// A placed statement without what follows from its shape alone.
#[derive(Clone, Debug)]
pub(super) struct Outline {
    axes: Axes,
    terms: Terms,
    extents: Extents,
    /// Whether a load's tensor is given at the call, by load.
    call_loads: Vec<bool>,
    rounding: Tables,
    pub(super) roots: Vec<Root>,
    pub(super) kept: Vec<Kept>,
}

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Root {
    pub(super) term: TermId,
    pub(super) lanes: AxisSet,
    pub(super) tensor: TensorId,
    pub(super) element: crate::format::Element,
}

impl Outline {
    /// Of a placed statement.
    pub(super) fn of(placed: &Placed, kernel: &Kernel) -> Outline {
        let roots = placed.roots.iter().map(|root| Root {
            term: root.term,
            lanes: (root.lanes.iter()).fold(AxisSet::default(), |s, a| s.union(AxisSet::one(*a))),
            tensor: root.tensor,
            element: root.element.clone(),
        });
        let loads = placed.terms.loads.values();
        let given = |l: &Load| !kernel.tensors[l.tensor].role.is_packed();
        Outline {
            axes: without_extents(&placed.axes),
            terms: without_strides(&placed.terms, &placed.axes),
            extents: Extents::of(&placed.axes),
            call_loads: loads.map(given).collect(),
            rounding: kernel.tables,
            roots: roots.collect(),
            kept: placed.kept.clone(),
        }
    }

    /// Facts for the graph of it.
    pub(super) fn facts(&self) -> Facts {
        Facts::new(
            (self.axes.clone(), self.extents.clone()),
            self.terms.clone(),
            self.call_loads.clone(),
            self.rounding,
        )
    }

    /// Facts for the same graph made again: tables, fields and elements have the numbers that a term of the first refers to.
    pub(super) fn facts_again(&self, made: &Facts) -> Facts {
        let mut facts = self.facts();
        facts.take_made(made);
        facts
    }

    /// Whether what was found for another is right for this one: the two differ in extents at most that were not asked for.
    pub(super) fn is_like(&self, other: &Outline, asked: AxisSet) -> bool {
        let same = |axis: AxisId| self.extents.of.get(&axis) == other.extents.of.get(&axis);
        self.roots == other.roots
            && self.axes == other.axes
            && self.terms == other.terms
            && self.call_loads == other.call_loads
            && self.rounding == other.rounding
            && self.kept == other.kept
            && asked.iter().all(same)
    }
}

/// How many values a loop takes, as far as it is known before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// If it is a number.
    pub(super) constant: Option<u64>,
    /// If it is a number, or at most one.
    pub(super) extent: Option<u64>,
    /// At most: of a free dimension no more than a call may have.
    pub(super) most: Option<u64>,
}

impl Extent {
    pub(super) fn of(axis: &Axis) -> Extent {
        let extent = match (&axis.from, &axis.to) {
            (Scalar::Const(from), Scalar::Const(to)) => {
                Some(to.saturating_sub(*from).div_ceil(axis.step))
            }
            (Scalar::Div(a, b), Scalar::DivCeil(c, d)) if a == c && b == d => Some(1),
            (_, Scalar::Rem(_, d)) => match **d {
                Scalar::Const(d) => Some(d.saturating_sub(1)),
                _ => None,
            },
            _ => None,
        };
        let free = |to: &Scalar| match to {
            Scalar::Dim(_) => Some(FREE_REDUCTION),
            Scalar::Div(d, by) => match (&**d, &**by) {
                (Scalar::Dim(_), Scalar::Const(by)) => FREE_REDUCTION.checked_div(*by),
                _ => None,
            },
            Scalar::DivCeil(d, by) => match (&**d, &**by) {
                (Scalar::Dim(_), Scalar::Const(by)) if *by > 0 => {
                    Some(FREE_REDUCTION.div_ceil(*by))
                }
                _ => None,
            },
            _ => None,
        };
        Extent {
            constant: axis.to_const().and(extent),
            extent,
            most: extent.or_else(|| free(&axis.to)),
        }
    }
}

/// The extents of loops, and which were asked for.
#[derive(Debug, Default)]
pub(super) struct Extents {
    of: BTreeMap<AxisId, Extent>,
    /// A set of axes. It is shared with those who only look at the facts, and orders nothing.
    asked: AtomicU64,
}

impl Extents {
    fn of(axes: &Axes) -> Extents {
        let loops = axes.iter().filter(|(_, a)| a.kind == AxisKind::Loop);
        Extents {
            of: loops.map(|(id, axis)| (id, Extent::of(axis))).collect(),
            asked: AtomicU64::new(0),
        }
    }

    /// The extent of a loop, if it is one.
    pub(super) fn ask(&self, axis: AxisId) -> Option<Extent> {
        let extent = self.of.get(&axis)?;
        self.asked.fetch_or(AxisSet::one(axis).0, Ordering::Relaxed);
        Some(*extent)
    }

    /// The loops that were asked for.
    pub(super) fn asked(&self) -> AxisSet {
        AxisSet(self.asked.load(Ordering::Relaxed))
    }
}

impl Clone for Extents {
    fn clone(&self) -> Extents {
        Extents {
            of: self.of.clone(),
            asked: AtomicU64::new(self.asked().0),
        }
    }
}

/// Rounds that terms are compared for: of a loop over results, and of the outermost loop of a sum. What is done before such a loop
/// costs next to nothing beside what is done in it, if it has as many rounds or more.
const RESULTS: u64 = 128;
const SUMMED: u64 = 16;

/// The end of a loop of which nothing is known.
const UNKNOWN: Scalar = Scalar::Dim(u32::MAX);

/// Axes whose loops say how often they go round as far as that decides between terms.
fn without_extents(axes: &Axes) -> Axes {
    let mut all = axes.clone();
    let mut sums = BTreeSet::new();
    for axis in all.values_mut().filter(|a| a.kind == AxisKind::Loop) {
        (axis.from, axis.to, axis.full) = (Scalar::Const(0), UNKNOWN, UNKNOWN);
        let outermost = !axis.output && sums.insert(axis.group);
        if outermost {
            axis.nominal = axis.nominal.min(SUMMED);
        } else if axis.output && !axis.batch {
            axis.nominal = axis.nominal.min(RESULTS);
        }
    }
    all
}

/// Terms whose loads say what they change with, and of their strides along loops and their offsets only which of them are equal.
fn without_strides(terms: &Terms, axes: &Axes) -> Terms {
    let mut all = terms.clone();
    let strides = Ranks::of(terms.loads.values(), axes);
    for load in all.loads.values_mut() {
        strides.take_place_in(load, axes);
    }
    let loads: Vec<&Load> = all.loads.values().collect();
    let told_apart = (1..loads.len()).all(|at| !loads[..at].contains(&loads[at]));
    if told_apart { all } else { terms.clone() }
}

/// Strides along each loop, and offsets in each tensor, from the smallest up.
#[derive(Default)]
struct Ranks {
    strides: BTreeMap<AxisId, BTreeSet<Scalar>>,
    offsets: BTreeMap<TensorId, BTreeSet<Scalar>>,
}

impl Ranks {
    fn of<'a>(loads: impl Iterator<Item = &'a Load>, axes: &Axes) -> Ranks {
        let mut ranks = Ranks::default();
        for load in loads {
            for affine in places(load) {
                for (axis, stride) in affine.terms.iter().filter_map(|t| of_loop(t, axes)) {
                    ranks
                        .strides
                        .entry(axis)
                        .or_default()
                        .insert(stride.clone());
                }
            }
            let offsets = ranks.offsets.entry(load.tensor).or_default();
            offsets.insert(load.address.offset.clone());
        }
        ranks
    }

    fn take_place_in(&self, load: &mut Load, axes: &Axes) {
        let strided = |affine: &mut Affine| {
            for term in &mut affine.terms {
                if let Some((axis, stride)) = of_loop(term, axes) {
                    term.1 = rank(&self.strides[&axis], stride);
                }
            }
        };
        strided(&mut load.address);
        bring_copies_together(&mut load.address, axes);
        load.address.offset = rank(&self.offsets[&load.tensor], &load.address.offset);
        let is_number = matches!(load.storage, Storage::Place { .. });
        if let Some(bit) = load.bit.as_mut().filter(|_| !is_number) {
            strided(bit);
        }
    }
}

/// Copies over results that read apart from each other are as far apart as they need to be for that: how far does not matter.
fn bring_copies_together(address: &mut Affine, axes: &Axes) {
    let is_copy = |axis: AxisId| axes[axis].kind == AxisKind::Unroll;
    let reach = |axis: AxisId, stride: u64| stride.checked_mul(axes[axis].nominal.checked_sub(1)?);
    let mut reached = Some(0u64);
    let mut rows: Vec<(u64, usize)> = Vec::new();
    for (at, (sym, stride)) in address.terms.iter().enumerate() {
        match (sym, stride) {
            (Sym::Axis(axis), _) if !is_copy(*axis) => {}
            (Sym::Axis(axis), Scalar::Const(stride)) if axes[*axis].output => {
                rows.push((*stride, at));
            }
            (Sym::Axis(axis), Scalar::Const(stride)) => {
                let more = reach(*axis, *stride);
                reached = reached.zip(more).and_then(|(r, m)| r.checked_add(m));
            }
            (Sym::Table(entries, _), Scalar::Const(times)) => {
                let most = entries.iter().max().map_or(0, |most| u64::from(*most));
                let more = most.checked_mul(*times);
                reached = reached.zip(more).and_then(|(r, m)| r.checked_add(m));
            }
            // What these add is not known here.
            _ => return,
        }
    }
    rows.sort();
    for (stride, at) in rows {
        let (Some(before), (Sym::Axis(axis), own)) = (reached, &mut address.terms[at]) else {
            return;
        };
        if stride <= before {
            return;
        }
        *own = Scalar::Const(before + 1);
        let more = reach(*axis, before + 1);
        reached = more.and_then(|m| before.checked_add(m));
    }
}

/// What says where a load reads: the bit of a number that is no place is the number itself.
fn places(load: &Load) -> impl Iterator<Item = &Affine> {
    let bit = load.bit.iter();
    let bit = bit.filter(|_| !matches!(load.storage, Storage::Place { .. }));
    std::iter::once(&load.address).chain(bit)
}

fn of_loop<'t>((sym, stride): &'t (Sym, Scalar), axes: &Axes) -> Option<(AxisId, &'t Scalar)> {
    match sym {
        Sym::Axis(axis) if axes[*axis].kind == AxisKind::Loop => Some((*axis, stride)),
        _ => None,
    }
}

/// The position of a number among others; it is never nothing, which would say that it is not there.
fn rank(all: &BTreeSet<Scalar>, one: &Scalar) -> Scalar {
    Scalar::Const(all.range(..=one).count() as u64)
}
