//! The real-valued parameters of one cell: least squares in turn with nearest codes, from many starting points.
//!
//! That iteration ends in one of many local minima, which lie the closer together the more codes there are. So the range
//! of the codes is laid over the range of the values in many sizes: first over a wide choice of sizes, then in
//! fractions of a code around the best.

use super::linear::Theta;
use super::table::{Items, Sums, Table};

/// Sizes of the codes' range over that of the values, at first.
const SIZES: [f64; 15] = [
    1.33, 1.15, 1.06, 1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.63, 0.56, 0.5, 0.42, 0.34,
];
/// Between which sizes many codes are tried closely.
const FINE: (f64, f64) = (1.3, 0.9);
/// Steps around the best size, on each side.
const STEPS: i32 = 6;
/// How far they go: the range grows by so many codes a step.
const STEP: f64 = 0.22;
/// How many starting points are followed to their minima.
const FOLLOWED: usize = 3;
/// The most rounds of an iteration.
const ROUNDS: usize = 12;

/// The fit of one cell.
pub(super) struct Fit {
    /// The parameters.
    pub(super) theta: Theta,
    /// The sums under them.
    pub(super) sums: Sums,
}

/// Fits the free parameters, the first with one of the given signs; the others stay as in `theta`.
pub(super) fn fit(
    table: &Table,
    items: Items,
    theta: &Theta,
    free: &[usize],
    signs: &[f64],
) -> Fit {
    let sums_of = |t: &Theta| table.sums(t, items);
    if free.is_empty() {
        return Fit {
            theta: *theta,
            sums: sums_of(theta),
        };
    }
    let allowed = |t: &Theta| !free.contains(&0) || signs.iter().any(|s| s * t[0] >= 0.0);
    let mut best = Candidates::default();
    for start in starts(table, items, theta, free, &sizes(table)) {
        if allowed(&start) {
            best.add(table, items, start, free);
        }
    }
    if table.is_line() && free.contains(&0) {
        for size in fractions(table) {
            if let Some(centre) = best.all.first().map(|c| c.1) {
                best.add(table, items, scaled(table, &centre, size, free), free);
            }
        }
    }
    let followed = best.all.iter().map(|c| follow(table, items, c.1, free));
    let least = followed.min_by(|a, b| a.sums.error.total_cmp(&b.sums.error));
    least.unwrap_or_else(|| follow(table, items, *theta, free))
}

/// Least squares and nearest codes in turn, as long as the error falls.
pub(super) fn follow(table: &Table, items: Items, theta: Theta, free: &[usize]) -> Fit {
    let mut best = Fit {
        theta,
        sums: table.sums(&theta, items),
    };
    for _ in 0..ROUNDS {
        let Some(theta) = best.sums.solve(&best.theta, free) else {
            break;
        };
        let sums = table.sums(&theta, items);
        let better = sums.error < best.sums.error * (1.0 - 1e-9);
        if sums.error < best.sums.error {
            best = Fit { theta, sums };
        }
        if !better {
            break;
        }
    }
    best
}

/// The few best starting points, best first, by the error after one step of least squares.
#[derive(Default)]
struct Candidates {
    all: Vec<(f64, Theta)>,
}

impl Candidates {
    fn add(&mut self, table: &Table, items: Items, start: Theta, free: &[usize]) {
        let sums = table.sums(&start, items);
        let (error, theta) = match sums.solve(&start, free) {
            Some(solved) => (sums.error + sums.bend(&solved) - sums.bend(&start), solved),
            None => (sums.error, start),
        };
        if self.all.iter().any(|c| c.0 == error) {
            return;
        }
        let at = self.all.partition_point(|c| c.0 <= error);
        self.all.insert(at, (error, theta));
        self.all.truncate(FOLLOWED);
    }
}

/// The sizes to begin with: with many codes as close to each other as minima are.
fn sizes(table: &Table) -> Vec<f64> {
    let mut sizes = SIZES.to_vec();
    let codes = table.len();
    if (33..=256).contains(&codes) {
        let step = 1.4 / codes as f64;
        let count = ((FINE.0 - FINE.1) / step) as i32;
        sizes.extend((0..=count).map(|i| FINE.0 - f64::from(i) * step));
    }
    sizes
}

/// Sizes around 1 that grow the range of the codes by fractions of a code.
fn fractions(table: &Table) -> Vec<f64> {
    let codes = table.len().min(256) as f64;
    let steps = (-STEPS..=STEPS).filter(|s| *s != 0);
    steps
        .map(|s| 1.0 + f64::from(s) * STEP / (codes / 2.0))
        .filter(|s| *s > 0.0)
        .collect()
}

/// A line with its slope scaled, turning around the middle of the codes if the offset is free.
fn scaled(table: &Table, theta: &Theta, size: f64, free: &[usize]) -> Theta {
    let mut out = *theta;
    out[0] *= size;
    if table.constant && free.contains(&1) {
        let (low, high) = table.range(0);
        out[1] += (theta[0] - out[0]) * 0.5 * (low + high);
    }
    out
}

/// Parameters that lay the range of the codes over that of the values.
fn starts(table: &Table, items: Items, theta: &Theta, free: &[usize], sizes: &[f64]) -> Vec<Theta> {
    let offset = if table.constant && table.width > 1 && !free.contains(&(table.width - 1)) {
        theta[table.width - 1]
    } else {
        0.0
    };
    let (least, most) = range(items);
    if !table.is_line() {
        return sizes
            .iter()
            .map(|s| nested(table, theta, free, least - offset, most - offset, *s))
            .collect();
    }
    let (low, high) = table.range(0);
    if table.constant && free.contains(&1) {
        return match free.contains(&0) {
            true => between(low, high, least, most, sizes, theta),
            false => {
                let mut out = *theta;
                out[1] = 0.5 * (least + most) - out[0] * 0.5 * (low + high);
                vec![out]
            }
        };
    }
    let (least, most) = (least - offset, most - offset);
    let extreme = if most.abs() >= least.abs() {
        most
    } else {
        least
    };
    let mut out = Vec::new();
    for end in [low, high] {
        if end == 0.0 || (end == low && table.symmetric) {
            continue;
        }
        for size in sizes {
            let mut start = *theta;
            start[0] = size * extreme / end;
            out.push(start);
        }
    }
    // the other end may be what decides
    let other = if extreme == most { least } else { most };
    for (end, value) in [(low, other), (high, other)] {
        if end != 0.0 && value != 0.0 {
            let mut start = *theta;
            start[0] = value / end;
            out.push(start);
        }
    }
    out
}

/// Slopes and offsets that put `low..high` upon `least..most`: at its lower end, its middle, its upper end.
fn between(low: f64, high: f64, least: f64, most: f64, sizes: &[f64], theta: &Theta) -> Vec<Theta> {
    let mut out = Vec::new();
    let slope = (most - least) / (high - low);
    for size in sizes {
        for lean in [0.5, 0.25, 0.75] {
            let mut start = *theta;
            start[0] = if slope.is_finite() { slope * size } else { 0.0 };
            // the part of the values' range that the codes leave out is shared between both ends
            let from = least + (most - least) * (1.0 - size) * lean;
            start[1] = from - start[0] * low;
            out.push(start);
        }
    }
    out
}

/// For columns that do not lie on a line: each takes what those before it leave.
fn nested(table: &Table, theta: &Theta, free: &[usize], least: f64, most: f64, size: f64) -> Theta {
    let mut out = *theta;
    let mut reach = size * most.abs().max(least.abs());
    for k in free {
        let (low, high) = table.range(*k);
        if table.constant && k + 1 == table.width {
            out[*k] = 0.5 * (least + most);
            continue;
        }
        let end = low.abs().max(high.abs());
        out[*k] = if end > 0.0 { reach / end } else { 0.0 };
        reach /= 4.0;
    }
    out
}

/// The smallest and the largest value that matters; 0 and 0 if there is none.
fn range(items: Items) -> (f64, f64) {
    let heaviest = items.w.iter().fold(0.0f64, |a, w| a.max(*w));
    let matter = |w: f64| w > heaviest * 1e-6;
    let values = items.x.iter().zip(items.w).filter(|(_, w)| matter(**w));
    let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), (x, _)| {
        (a.min(*x), b.max(*x))
    });
    if least <= most {
        (least, most)
    } else {
        (0.0, 0.0)
    }
}
