//! What is read from which level of the memory hierarchy. A loop whose data a level holds reads them from further away once,
//! however often it uses them; all that is read once comes from memory.

use super::{Mode, distinct};
use crate::rewrite::extract::{Extracted, Picked};
use crate::rewrite::lang::{Node, Op};
use crate::schedule::index::{Axes, AxisId, AxisKind, AxisSet};
use crate::schedule::term::{LoadId, Storage, Terms};
use crate::target::Target;

/// What a load, or a buffer that is kept, reads.
struct Stream {
    /// What its address changes with.
    axes: AxisSet,
    /// Loops around it, from the outside in.
    loops: Vec<AxisId>,
    /// Bytes of one round of all its loops, each counted once.
    bytes: f64,
    weight: bool,
}

/// The streams of a term.
pub(super) struct Traffic<'a> {
    axes: &'a Axes,
    streams: Vec<Stream>,
}

impl<'a> Traffic<'a> {
    pub(super) fn new(
        terms: &Terms,
        axes: &'a Axes,
        term: &Extracted,
        weights: &[bool],
    ) -> Traffic<'a> {
        let streams = term.nodes.iter();
        Traffic {
            axes,
            streams: streams
                .filter_map(|node| stream(terms, axes, node, weights))
                .collect(),
        }
    }

    /// Bytes read from each level but the nearest: what the level before it does not hold.
    pub(super) fn levels(&self, target: &Target) -> Vec<f64> {
        let all = |s: &Stream, held: u64| self.missed(s, held as f64);
        let levels = target.levels.iter().rev().skip(1).rev();
        let level = |held: u64| self.streams.iter().map(|s| all(s, held)).sum();
        levels.map(|l| level(l.bytes)).collect()
    }

    /// Bytes of weights read from memory.
    pub(super) fn weights(&self, target: &Target) -> f64 {
        let caches = target.levels.iter().rev().skip(1);
        let held = caches.map(|l| l.bytes).max().unwrap_or(0);
        let weights = self.streams.iter().filter(|s| s.weight);
        weights.map(|s| self.missed(s, held as f64)).sum()
    }

    /// Bytes of a stream that are read again, because the data of the loops between do not stay.
    fn missed(&self, stream: &Stream, held: f64) -> f64 {
        let cuts = 0..=stream.loops.len();
        let inner = |cut: usize| set(&stream.loops[cut..]);
        let fits = |cut: &usize| self.footprint(stream, inner(*cut)) <= held;
        let cut = cuts.into_iter().find(fits).unwrap_or(stream.loops.len());
        let around = self.rounds(set(&stream.loops[..cut]));
        stream.bytes * around * self.rounds(inner(cut).intersect(stream.axes))
    }

    /// Bytes that all streams touch in some loops of one of them.
    fn footprint(&self, of: &Stream, inner: AxisSet) -> f64 {
        // Loops of other sums lie within the loops over results.
        let over_results = inner.iter().any(|a| self.axes[a].output);
        let own = set(&of.loops);
        let touched = |s: &Stream| {
            let loops = set(&s.loops);
            let inside = match over_results {
                true => inner.union(loops.minus(own)),
                false => inner,
            };
            let together = over_results || !loops.intersect(inner).is_empty();
            let bytes = s.bytes * self.rounds(inside.intersect(loops).intersect(s.axes));
            if together { bytes } else { 0.0 }
        };
        self.streams.iter().map(touched).sum()
    }

    fn rounds(&self, loops: AxisSet) -> f64 {
        loops.iter().map(|a| self.axes[a].nominal as f64).product()
    }
}

fn set(axes: &[AxisId]) -> AxisSet {
    let one = |s: AxisSet, a: &AxisId| s.union(AxisSet::one(*a));
    axes.iter().fold(AxisSet::default(), one)
}

/// What a node reads from memory, if it does.
fn stream(terms: &Terms, axes: &Axes, node: &Picked, weights: &[bool]) -> Option<Stream> {
    let count = |kind: AxisKind, among: AxisSet| -> f64 {
        let of_kind = among.iter().filter(|a| axes[*a].kind == kind);
        of_kind.map(|a| axes[a].nominal as f64).product()
    };
    let lanes = count(AxisKind::Lane, node.lanes);
    let copies = count(AxisKind::Unroll, node.free);
    let whole = f64::from(node.ty.bits()) / 8.0;
    let (bytes, weight) = match (node.op, node.data.last()) {
        (Op::VLoad, Some(Node::Ref(number))) => {
            let load = LoadId::from_u32(*number);
            let width = match terms.loads[load].storage {
                Storage::Code { bits } => f64::from(bits) / 8.0,
                Storage::Place { .. } => 0.0,
                _ => whole,
            };
            let once = distinct(terms, axes, load);
            (width * lanes * copies * once, weights[*number as usize])
        }
        (Op::VStage | Op::VPanel, _) => (whole * lanes * copies, false),
        _ => return None,
    };
    let groups: Vec<u32> = node.runs.iter().map(|a| axes[a].group).collect();
    let around = |a: AxisId| {
        let axis = &axes[a];
        let stands = match node.mode {
            Mode::Main => true,
            Mode::Staged => !axis.row,
            Mode::Panel => !axis.batch,
        };
        axis.kind == AxisKind::Loop && stands && (axis.group == 0 || groups.contains(&axis.group))
    };
    let mut loops: Vec<AxisId> = axes.keys().filter(|a| around(*a)).collect();
    loops.sort_by_key(|a| (axes[*a].group, *a));
    Some(Stream {
        axes: node.free,
        loops,
        bytes,
        weight,
    })
}
