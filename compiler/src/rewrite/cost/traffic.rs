//! What is read from which level of the memory hierarchy. A loop whose data a level holds reads them from further away once,
//! however often it uses them; all that is read once comes from memory.

use super::{Prices, copies, extents};
use crate::rewrite::extract::{Extracted, Picked};
use crate::rewrite::lang::{Node, Op};
use crate::schedule::index::{AxisId, AxisKind, AxisSet};
use crate::schedule::term::{LoadId, Storage};

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

/// Bytes that a cache does not hold when they are read.
#[derive(Clone, Copy, Default)]
pub(super) struct Missed {
    pub(super) all: f64,
    pub(super) weights: f64,
}

/// The streams of a term.
pub(super) struct Traffic<'a> {
    prices: &'a Prices<'a>,
    streams: Vec<Stream>,
}

impl<'a> Traffic<'a> {
    pub(super) fn new(prices: &'a Prices<'a>, term: &Extracted, weights: &[bool]) -> Traffic<'a> {
        let streams = term.nodes.iter();
        let streams = streams.filter_map(|node| stream(prices, node, weights));
        Traffic {
            prices,
            streams: streams.collect(),
        }
    }

    /// What is read from each level but the nearest: what the level before it does not hold.
    pub(super) fn levels(&self) -> Vec<Missed> {
        let levels = &self.prices.target.levels;
        let caches = levels.split_last().map_or(&[][..], |(_, caches)| caches);
        caches.iter().map(|l| self.beyond(l.bytes)).collect()
    }

    /// What is read from behind caches that hold so many bytes.
    pub(super) fn beyond(&self, held: u64) -> Missed {
        let mut sum = Missed::default();
        for stream in &self.streams {
            let bytes = self.missed(stream, held as f64);
            sum.all += bytes;
            sum.weights += if stream.weight { bytes } else { 0.0 };
        }
        sum
    }

    /// Bytes of a stream that are read again, because the data of the loops between do not stay.
    fn missed(&self, stream: &Stream, held: f64) -> f64 {
        let cuts = 0..=stream.loops.len();
        let inner = |cut: usize| set(&stream.loops[cut..]);
        let fits = |cut: &usize| self.footprint(stream, inner(*cut)) <= held;
        let cut = cuts.into_iter().find(fits).unwrap_or(stream.loops.len());
        // One round is held, so loops right around it that bring nothing new read nothing again.
        let brings = |a: &AxisId| stream.axes.has(*a);
        let around = stream.loops[..cut].iter().rposition(brings);
        let around = set(&stream.loops[..around.map_or(0, |at| at + 1)]);
        stream.bytes * self.rounds(around.union(inner(cut).intersect(stream.axes)))
    }

    /// Bytes that all streams touch in some loops of one of them.
    fn footprint(&self, of: &Stream, inner: AxisSet) -> f64 {
        // Loops of other sums lie within the loops over results.
        let over_results = inner.iter().any(|a| self.prices.axes[a].output);
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
        extents(self.prices.axes, loops, |_| true)
    }
}

fn set(axes: &[AxisId]) -> AxisSet {
    let one = |s: AxisSet, a: &AxisId| s.union(AxisSet::one(*a));
    axes.iter().fold(AxisSet::default(), one)
}

/// What a node reads from memory, if it does.
fn stream(prices: &Prices<'_>, node: &Picked, weights: &[bool]) -> Option<Stream> {
    let Prices { terms, axes, .. } = *prices;
    let count = prices.lanes(node) * copies(axes, node.free);
    let whole = f64::from(node.ty.bits()) / 8.0;
    let (bytes, weight) = match (node.op, node.data.last()) {
        (Op::VLoad, Some(Node::Ref(number))) => {
            let load = LoadId::from_u32(*number);
            let width = match terms.loads[load].storage {
                Storage::Code { bits } => f64::from(bits) / 8.0,
                Storage::Place { .. } => 0.0,
                _ => whole,
            };
            (
                width * count * prices.distinct(load),
                weights[*number as usize],
            )
        }
        (Op::VStage | Op::VPanel, _) => (whole * count, false),
        _ => return None,
    };
    let groups: Vec<u32> = node.runs.iter().map(|a| axes[a].group).collect();
    let around = |a: AxisId| {
        let axis = &axes[a];
        let stands = axis.kind == AxisKind::Loop && node.mode.stands_in(axis);
        stands && (axis.group == 0 || groups.contains(&axis.group))
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
