//! Measuring a case on a shape: compiled, checked, and timed in turn with peers and with streams from memory.

use crate::cases::Case;
use crate::peers::{Order, Peer, Ready};
use crate::report::{Line, PeerLine, best};
use lowbit::bench::{Bench, Compiling, Data, Effort, Limits, STREAMED, Source, Spread, Stream};
use lowbit::{Engine, Pool};
use std::error::Error;
use std::num::NonZeroUsize;

/// What is measured of each case.
pub(crate) struct Plan {
    pub(crate) rows: Vec<u64>,
    pub(crate) threads: Vec<usize>,
    pub(crate) rounds: usize,
    pub(crate) effort: Effort,
}

/// What cases are measured with.
pub(crate) struct Bed<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) stream: &'a Stream,
    pub(crate) limits: &'a Limits,
    pub(crate) peers: Vec<Peer>,
    /// What could not be measured, and why.
    pub(crate) missing: Vec<String>,
}

/// What a peer has got ready, and its times.
struct Other {
    /// Which peer.
    at: usize,
    format: String,
    ready: Ready,
    times: Vec<f64>,
}

/// Calls of a peer in a round; the first is not counted.
const CALLS: u64 = 4;

impl Bed<'_> {
    /// The lines of a case on a shape.
    pub(crate) fn measure(
        &mut self,
        case: &Case,
        (n, k): (u64, u64),
        plan: &Plan,
    ) -> Result<Vec<Line>, Box<dyn Error>> {
        let dims = [("N", n), ("K", k)];
        let text = case.text();
        let source = Source {
            name: case.name,
            text: &text,
            imports: &|_| None,
            kernel: None,
        };
        let compile = Compiling::of(self.engine.target(), &source, &dims)?;
        let kernel = self.engine.compile(&text, &dims)?;
        let Some(rows) = plan.rows.first() else {
            return Ok(Vec::new());
        };
        let weights = Data::new(&kernel, *rows, STREAMED)?;
        let mut lines = Vec::new();
        for rows in &plan.rows {
            let data = weights.with_rows(&kernel, *rows)?;
            for threads in &plan.threads {
                let bench = Bench::new(&kernel, &data, *threads, plan.effort.run)?;
                let order = |format: &str| Order {
                    format: format.to_owned(),
                    n,
                    k,
                    rows: *rows,
                    threads: *threads,
                    copies: data.copies(),
                };
                let others = self.prepared(case, &order);
                lines.push(self.line(case, bench, others, plan, (n, k, &compile))?);
            }
        }
        Ok(lines)
    }

    /// What the peers have for a case.
    fn prepared(&mut self, case: &Case, order: &dyn Fn(&str) -> Order) -> Vec<Other> {
        let mut others = Vec::new();
        for at in 0..self.peers.len() {
            let formats = self.peers[at].greeting.formats.clone();
            for format in formats.iter().filter(|f| case.peers.contains(&f.as_str())) {
                let order = order(format);
                match self.peers[at].prepare(&order) {
                    Ok(Ok(ready)) => others.push(Other {
                        at,
                        format: format.clone(),
                        ready,
                        times: Vec::new(),
                    }),
                    Ok(Err(why)) => self.misses(at, &format!("{order}: {why}")),
                    Err(why) => self.loses(at, &format!("{order}: {why}")),
                }
            }
        }
        others
    }

    /// Something that a peer does not have.
    fn misses(&mut self, at: usize, what: &str) {
        let name = &self.peers[at].greeting.name;
        self.missing.push(format!("{name}: {what}"));
    }

    /// A peer that failed: it is asked no more.
    fn loses(&mut self, at: usize, what: &str) {
        self.misses(at, what);
        self.peers[at].give_up();
    }

    /// A round of some peers; one that fails is left out from now on.
    fn round_of_peers(&mut self, others: &mut Vec<Other>) {
        others.retain_mut(|other| {
            match self.peers[other.at].run(other.ready.handle, CALLS) {
                Ok(times) => other.times.extend(&times[1..]),
                Err(why) => {
                    self.loses(other.at, &format!("{}: {why}", other.format));
                    return false;
                }
            }
            true
        });
    }

    /// Rounds of ours, of peers and of a stream.
    fn line(
        &mut self,
        case: &Case,
        mut bench: Bench<'_>,
        mut others: Vec<Other>,
        plan: &Plan,
        (n, k, compile): (u64, u64, &Compiling),
    ) -> Result<Line, Box<dyn Error>> {
        let checked = bench.verify()?.ok_or("too large for the interpreter")?;
        if let Some(difference) = checked.differences.first() {
            return Err(format!("a result is wrong: {difference}").into());
        }
        let threads = bench.threads();
        let pool = Pool::new(NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN))?;
        let (mut streams, mut at_once) = (Vec::new(), Vec::new());
        for _ in 0..plan.rounds {
            streams.push(self.stream.read(threads));
            bench.round()?;
            if threads > 1 {
                at_once.push(self.stream.at_once(&pool));
            }
            self.round_of_peers(&mut others);
        }
        let stream = Spread::of(&streams).median;
        let mut limits = self.limits.clone();
        limits.set_bandwidth(threads, stream);
        let summary = bench.summary(&limits)?;
        let mut peers = Vec::new();
        for other in others {
            let peer = &mut self.peers[other.at];
            if let Err(why) = peer.drop_handle(other.ready.handle) {
                self.loses(other.at, &why);
            }
            let seconds = Spread::of(&other.times);
            peers.push(PeerLine {
                peer: self.peers[other.at].greeting.name.clone(),
                format: other.format,
                ready: other.ready,
                ratio: seconds.median / summary.seconds.median,
                seconds,
            });
        }
        let weight = summary.weights.first().ok_or("it has no weight")?;
        Ok(Line {
            case: case.name.to_owned(),
            format: case.format.to_owned(),
            n,
            k,
            rows: summary.rows,
            threads,
            bits: weight.format_bits,
            resident_bits: weight.resident_bits,
            block: case.block.to_owned(),
            scale: case.scale.to_owned(),
            activations: case.activations,
            rounded: case.rounded,
            account: bench.account(&limits)?,
            compile: *compile,
            checked: checked.compared,
            stream,
            at_once: (threads > 1).then(|| Spread::of(&at_once).median),
            times_best_peer: best(&peers, case.activations.class()).map(|p| p.ratio),
            peers,
            summary,
        })
    }
}
