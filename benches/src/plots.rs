//! Pictures of a report: kernels below the limits of the machine, and beside peers.

use crate::report::{Line, Report};
use lowbit::plot::{Axis, Bar, Chart, Group, Line as Drawn, Point, Scale, bars};

/// Operations a second over operations a byte of weights, for as many threads as the most lines have.
pub(crate) fn roofline(report: &Report) -> String {
    let threads = report.lines.iter().map(|l| l.threads).max().unwrap_or(1);
    let mut points = Vec::new();
    for line in &report.lines {
        let (Some(operations), Some(rate)) = (line.summary.operations, line.summary.rate) else {
            continue;
        };
        points.push(Point {
            label: match (line.rows, line.threads == threads) {
                (1, true) => line.case.clone(),
                _ => String::new(),
            },
            x: operations / line.summary.weight_bytes.max(1.0),
            y: rate / 1e9,
            colour: if line.threads == threads { 0 } else { 1 },
        });
    }
    let intensities = || points.iter().map(|p| p.x);
    let low = intensities().fold(f64::INFINITY, f64::min).max(0.1);
    let high = intensities().fold(low, f64::max);
    let mut lines = Vec::new();
    let limits = &report.limits;
    for (name, peak) in [
        ("dot products of bytes", limits.dots),
        ("byte products in pairs", limits.pairs),
        ("f32 multiply-adds", limits.floats),
    ] {
        if let (Some(peak), Some(read)) = (peak, limits.bandwidth(threads)) {
            let peak = peak * threads as f64;
            lines.push(below(name, (low, high), read, peak));
        }
    }
    let axis = |label: &str| Axis {
        label: label.into(),
        scale: Scale::Decades,
    };
    let chart = Chart {
        x: axis("operations a byte of weights"),
        y: axis(&format!("GOPS; limits and blue: {threads} threads")),
        points,
        lines,
    };
    chart.svg()
}

/// A roof: the memory's rate up to where a peak is reached, then the peak.
fn below(name: &str, (low, high): (f64, f64), read: f64, peak: f64) -> Drawn {
    let edge = (peak / read).clamp(low, high);
    let at = |x: f64| (x, (x * read).min(peak) / 1e9);
    Drawn {
        label: name.into(),
        points: vec![at(low), at(edge), at(high)],
    }
}

/// Operations a second beside those of peers, for calls with so many rows on as few threads as were measured.
pub(crate) fn beside_peers(report: &Report, rows: u64) -> String {
    let threads = report.lines.iter().map(|l| l.threads).min().unwrap_or(1);
    let group = |line: &Line| {
        let operations = line.summary.operations?;
        let mut group = vec![Bar {
            label: "lowbit".into(),
            value: line.summary.rate? / 1e9,
        }];
        group.extend(line.peers.iter().map(|p| Bar {
            label: format!("{} {}", p.peer, p.format),
            value: operations / p.seconds.median / 1e9,
        }));
        Some(Group {
            label: format!("{}, {} × {}", line.case, line.n, line.k),
            bars: group,
        })
    };
    let lines = report.lines.iter();
    let lines = lines.filter(|l| (l.rows, l.threads) == (rows, threads));
    let groups: Vec<Group> = lines.filter_map(group).collect();
    bars("GOPS", &groups)
}
