//! What is reported: a line for each case, shape, number of rows and of threads; as JSON, and as tables in Markdown.

use crate::cases::Activations;
use crate::machine::Machine;
use crate::peers::{Greeting, Ready};
use lowbit::bench::{Account, Compiling, Limits, Spread, Summary};
use serde::Serialize;
use std::fmt::Write;

/// Everything of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) limits: Limits,
    pub(crate) peers: Vec<Greeting>,
    pub(crate) lines: Vec<Line>,
    /// What could not be measured, and why.
    pub(crate) missing: Vec<String>,
}

/// A kernel on a shape, with some rows on some threads.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) case: String,
    pub(crate) format: String,
    pub(crate) n: u64,
    pub(crate) k: u64,
    pub(crate) rows: u64,
    pub(crate) threads: usize,
    /// Bits of a weight as its format stores it, and as it lies in memory.
    pub(crate) bits: f64,
    pub(crate) resident_bits: f64,
    /// Weights that share a scale, and its type.
    pub(crate) block: String,
    pub(crate) scale: String,
    pub(crate) activations: Activations,
    /// Whether sums in tables may be rounded.
    pub(crate) rounded: bool,
    pub(crate) summary: Summary,
    pub(crate) account: Account,
    pub(crate) compile: Compiling,
    /// Results that were compared with the interpreter's before.
    pub(crate) checked: usize,
    /// Bytes a second that as many threads read in the same rounds.
    pub(crate) stream: f64,
    /// How many times as fast as one thread as many compute in the same rounds; nothing of one thread.
    pub(crate) at_once: Option<f64>,
    /// Peers in the same rounds.
    pub(crate) peers: Vec<PeerLine>,
    /// The time of the best peer with activations of the same class over ours: more than 1 is faster than all.
    pub(crate) times_best_peer: Option<f64>,
}

/// What was measured of a peer.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PeerLine {
    pub(crate) peer: String,
    pub(crate) format: String,
    #[serde(flatten)]
    pub(crate) ready: Ready,
    pub(crate) seconds: Spread,
    /// Its time over ours.
    pub(crate) ratio: f64,
}

/// The best peer of an accuracy class.
pub(crate) fn best<'p>(peers: &'p [PeerLine], class: &str) -> Option<&'p PeerLine> {
    let same = peers.iter().filter(|p| p.ready.activations == class);
    same.min_by(|a, b| a.seconds.median.total_cmp(&b.seconds.median))
}

fn giga(value: f64) -> String {
    format!("{:.1}", value / 1e9)
}

impl Report {
    /// The tables.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::from("# How fast\n\n");
        out += &self.heading();
        let mut shapes: Vec<(u64, u64)> = Vec::new();
        for line in &self.lines {
            if !shapes.contains(&(line.n, line.k)) {
                shapes.push((line.n, line.k));
            }
        }
        for (n, k) in shapes {
            let _ = writeln!(out, "\n## {n} × {k}\n");
            out += TABLE;
            for line in self.lines.iter().filter(|l| (l.n, l.k) == (n, k)) {
                out += &row(line);
            }
        }
        out += &self.on_threads();
        out += &self.against_peers();
        out += &self.compiling();
        if !self.missing.is_empty() {
            out += "\n## Not measured\n\n";
            for missing in &self.missing {
                let _ = writeln!(out, "- {missing}");
            }
        }
        out
    }

    fn heading(&self) -> String {
        let Report {
            machine, limits, ..
        } = self;
        let mut out = format!(
            "lowbit {} on {}, {} processors; code for {} in vectors of {} bits, at {:.2} GHz.\n\n",
            machine.lowbit,
            machine.cpu,
            machine.processors,
            machine.used,
            8 * limits.vector_bytes,
            limits.hertz / 1e9
        );
        out += "| limit | |\n|---|--:|\n";
        for b in &limits.bandwidth {
            let rate = giga(b.bytes_per_second);
            let _ = writeln!(out, "| memory, GB/s, {} threads | {rate} |", b.threads);
        }
        for (name, rate) in [
            ("dot products of bytes, GOPS a thread", limits.dots),
            ("byte products in pairs, GOPS a thread", limits.pairs),
            ("f32 multiply-adds, GFLOP/s a thread", limits.floats),
            ("byte look-ups, G/s a thread", limits.look_ups),
        ] {
            let rate = rate.map_or("-".to_owned(), giga);
            let _ = writeln!(out, "| {name} | {rate} |");
        }
        for peer in &self.peers {
            let _ = writeln!(out, "\nPeer: {} {}.", peer.name, peer.version);
        }
        out += "\n`cargo run --release -p lowbit-benches` measured this. \
                Medians, with half the distance of the quartiles. Quantising activations is part of the time where they are int8. \
                Each call is on another copy of the weights, which come from memory. Every result was compared with the reference \
                interpreter's before.\n";
        out
    }

    /// Several threads beside one.
    fn on_threads(&self) -> String {
        let mut out = String::new();
        for (line, factor) in self.lines.iter().filter_map(|l| Some((l, l.at_once?))) {
            let same =
                |l: &&Line| (&l.case, l.n, l.k, l.rows) == (&line.case, line.n, line.k, line.rows);
            let one = self.lines.iter().find(|l| l.threads == 1 && same(l));
            let alone = one.map(|l| l.summary.seconds.median);
            let time = line.summary.seconds.median;
            let _ = writeln!(
                out,
                "| {} | {} × {} | {} | {} | {} | {:.3} | {} | {factor:.2} | {:.0} % |",
                line.case,
                line.n,
                line.k,
                line.rows,
                line.threads,
                or_none(alone.map(|alone| format!("{:.3}", alone * 1e3))),
                time * 1e3,
                or_none(alone.map(|alone| format!("{:.2}", alone / time))),
                line.summary.bandwidth / line.stream * 100.0,
            );
        }
        if out.is_empty() {
            return out;
        }
        format!("{THREADS}{out}")
    }

    /// What compiling took, once for each case and shape.
    fn compiling(&self) -> String {
        let mut out = String::from(COMPILING);
        let mut told = Vec::new();
        for line in &self.lines {
            let of = (&line.case, line.n, line.k);
            if told.contains(&of) {
                continue;
            }
            told.push(of);
            let Compiling { first, later } = line.compile;
            let _ = write!(out, "| {} | {} × {}", line.case, line.n, line.k);
            for times in [first, later] {
                let parts = [times.text, times.choose, times.lower, times.code];
                for seconds in parts.into_iter().chain([times.total()]) {
                    let _ = write!(out, " | {:.2}", seconds * 1e3);
                }
            }
            out += " |\n";
        }
        out
    }

    fn against_peers(&self) -> String {
        let lines = || self.lines.iter().filter(|l| !l.peers.is_empty());
        if lines().next().is_none() {
            return String::new();
        }
        let mut out = String::from("\n## Beside peers\n\n");
        out += "| case | shape | rows | threads | ours, ms | peer | kernel | bits | activations | ms | ± | × ours |\n";
        out += "|---|---|--:|--:|--:|---|---|--:|---|--:|--:|--:|\n";
        for line in lines() {
            for peer in &line.peers {
                let _ = writeln!(
                    out,
                    "| {} | {} × {} | {} | {} | {:.3} | {} | {} | {:.2} | {} | {:.3} | {:.3} | {:.2} |",
                    line.case,
                    line.n,
                    line.k,
                    line.rows,
                    line.threads,
                    line.summary.seconds.median * 1e3,
                    peer.peer,
                    peer.ready.what,
                    peer.ready.bits,
                    peer.ready.activations,
                    peer.seconds.median * 1e3,
                    peer.seconds.interquartile() / 2.0 * 1e3,
                    peer.ratio
                );
            }
        }
        out
    }
}

const TABLE: &str = "\
| case | bits | in memory | rows | threads | ms | ± | GB/s | GOPS | of the nearest limit | predicted, ms | best peer, ms | × best peer |
|---|--:|--:|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|
";

const THREADS: &str = "
## On several threads

What the machine gives to computing on as many threads, in the same rounds: less than their number where its processors are not \
cores of their own. And the share of what they read from memory at most.

| case | shape | rows | threads | ms, one thread | ms | × as fast | the machine | of memory |
|---|---|--:|--:|--:|--:|--:|--:|--:|
";

const COMPILING: &str = "
## Compiling

From the text to the code for one row, in milliseconds: in an engine that has made nothing yet, and in the same engine after it, with \
dimensions that are twice as large.

| case | shape | text | choose | lower | machine code | all | text | choose | lower | machine code | all, after it |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
";

fn or_none(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

fn row(line: &Line) -> String {
    let summary = &line.summary;
    let nearest = summary.shares.first();
    let nearest = nearest.map(|s| format!("{:.0} % {}", s.share * 100.0, s.limit));
    let peer = best(&line.peers, line.activations.class());
    format!(
        "| {} | {:.2} | {:.2} | {} | {} | {:.3} | {:.3} | {} | {} | {} | {:.3} | {} | {} |\n",
        line.case,
        line.bits,
        line.resident_bits,
        line.rows,
        line.threads,
        summary.seconds.median * 1e3,
        summary.seconds.interquartile() / 2.0 * 1e3,
        giga(summary.bandwidth),
        or_none(summary.rate.map(giga)),
        or_none(nearest),
        line.account.predicted * 1e3,
        or_none(peer.map(|p| format!("{:.3} {}", p.seconds.median * 1e3, p.peer))),
        or_none(line.times_best_peer.map(|r| format!("{r:.2}"))),
    )
}
