//! From a first choice of scales downhill: each move gives one scale, or two, other codes, and stays if the error with the
//! best codes of all elements is smaller.

use super::fit;
use super::linear::Theta;
use super::plan::{Level, Move, Rescale, SearchPlan};
use super::state::{Cells, Scales};
use super::table::Sums;
use crate::format::FieldId;
use cranelift_entity::EntityRef;

/// The most sweeps over all moves.
const SWEEPS: usize = 6;
/// Rounds of coarse scales with everything below them.
const RESCALES: usize = 2;
/// How coarse scales are tried: a few per cent each way, which is a code or so of a finer scale.
const FACTORS: [f64; 10] = [
    1.008, 0.992, 1.02, 0.98, 1.04, 0.96, 1.075, 0.93, 1.13, 0.88,
];
/// How a coarse scale is tried that several parameters share: the first choice looked at one of them.
const WIDE_FACTORS: [f64; 6] = [0.7, 1.4, 0.5, 2.0, 0.25, 4.0];
/// A gain below this part of the error is none.
const GAIN: f64 = 1e-9;

/// The scales of a row of a block, on their way.
pub(super) struct Descent<'a> {
    plan: &'a SearchPlan,
    cells: &'a Cells,
    /// Where it is.
    pub(super) scales: Scales,
    sums: Vec<Sums>,
    /// The sums of the cells of a move, as a candidate would have them.
    trial: Vec<Sums>,
    /// Where it was before a coarse scale was tried.
    kept: (Scales, Vec<Sums>),
}

/// The codes of the one or two scales of a move.
type Codes = [u32; 2];

/// The most candidates of a move: three codes of one scale for each of three of the other.
const CANDIDATES: usize = 9;

/// A few candidates, each once.
#[derive(Default)]
struct Candidates {
    all: [Codes; CANDIDATES],
    count: usize,
}

impl Candidates {
    fn push(&mut self, codes: Codes) {
        let known = &self.all[..self.count];
        if self.count < CANDIDATES && !known.contains(&codes) {
            self.all[self.count] = codes;
            self.count += 1;
        }
    }
}

impl<'a> Descent<'a> {
    /// The best of the descents from all first choices.
    pub(super) fn best(plan: &'a SearchPlan, cells: &'a Cells) -> Descent<'a> {
        let mut best = Descent::new(plan, &plan.root, cells);
        best.run();
        if let Some(other) = &plan.other {
            let mut other = Descent::new(plan, other, cells);
            other.run();
            if other.error(None) < best.error(None) {
                return other;
            }
        }
        best
    }

    /// At the first choice of the scales, by the levels from `root` on.
    fn new(plan: &'a SearchPlan, root: &Level, cells: &'a Cells) -> Descent<'a> {
        let mut scales = Scales::new(plan);
        fit::choose(plan, root, &mut scales, &cells.x, &cells.w);
        let mut all = Descent {
            plan,
            cells,
            kept: (scales.clone(), Vec::new()),
            scales,
            sums: vec![Sums::default(); plan.root.cells.len()],
            trial: Vec::new(),
        };
        (0..plan.root.cells.len() as u32).for_each(|c| all.sums[c as usize] = all.sums_of(c));
        all
    }

    /// Goes downhill until nothing is gained, or long enough.
    fn run(&mut self) {
        self.sweep(&self.plan.moves, SWEEPS);
        for _ in 0..RESCALES {
            let before = self.error(None);
            for rescale in &self.plan.rescales {
                self.rescale(rescale);
            }
            self.sweep(&self.plan.moves, SWEEPS);
            if self.error(None) >= before * (1.0 - 1e-4) {
                break;
            }
        }
    }

    /// The codes that all elements have under the scales.
    pub(super) fn element_codes(&self, cells: &Cells) -> Vec<(u32, u32)> {
        let root = &self.plan.root;
        let mut out = Vec::with_capacity(root.items.len());
        for cell in &root.cells {
            let theta = self.scales.theta(self.plan, root, cell);
            for n in cell.items.clone() {
                let entry = root.table.nearest(&theta, cells.x[n]);
                out.push((root.items[n].element, root.table.code(entry)));
            }
        }
        out
    }

    fn theta_of(&self, cell: u32) -> Theta {
        let root = &self.plan.root;
        self.scales
            .theta(self.plan, root, &root.cells[cell as usize])
    }

    fn sums_of(&self, cell: u32) -> Sums {
        let root = &self.plan.root;
        let items = self.cells.of(&root.cells[cell as usize]);
        root.table.sums(&self.theta_of(cell), items)
    }

    fn error(&self, cells: Option<&[u32]>) -> f64 {
        match cells {
            None => self.sums.iter().map(|s| s.error).sum(),
            Some(cells) => cells.iter().map(|c| self.sums[*c as usize].error).sum(),
        }
    }

    fn sweep(&mut self, moves: &[Move], rounds: usize) {
        let mut quiet = vec![false; moves.len()];
        for _ in 0..rounds {
            let mut changed = vec![false; self.sums.len()];
            for (m, quiet) in moves.iter().zip(&mut quiet) {
                if *quiet {
                    continue;
                }
                *quiet = !self.step(m);
                if !*quiet {
                    m.cells.iter().for_each(|c| changed[*c as usize] = true);
                }
            }
            // a move is worth trying again where something has changed since
            let mut any = false;
            for (m, quiet) in moves.iter().zip(&mut quiet) {
                *quiet = !m.cells.iter().any(|c| changed[*c as usize]);
                any |= !*quiet;
            }
            if !any {
                break;
            }
        }
    }

    /// Tries the candidates of a move and keeps the best; says whether anything was gained.
    fn step(&mut self, m: &Move) -> bool {
        let mut gained = false;
        let candidates = self.candidates(m);
        for candidate in &candidates.all[..candidates.count] {
            gained |= self.try_codes(m, candidate);
        }
        gained
    }

    /// Takes the codes if the error is smaller with them.
    fn try_codes(&mut self, m: &Move, codes: &Codes) -> bool {
        let before = self.codes(m);
        if *codes == before {
            return false;
        }
        self.set(m, codes);
        let limit = self.error(Some(&m.cells)) * (1.0 - GAIN);
        let mut trial = std::mem::take(&mut self.trial);
        trial.clear();
        trial.extend(m.cells.iter().map(|c| self.sums_of(*c)));
        let better = trial.iter().map(|s| s.error).sum::<f64>() < limit;
        match better {
            true => {
                for (c, sums) in m.cells.iter().zip(&trial) {
                    self.sums[*c as usize] = *sums;
                }
            }
            false => self.set(m, &before),
        }
        self.trial = trial;
        better
    }

    fn codes(&self, m: &Move) -> Codes {
        let mut codes = Codes::default();
        for (code, f) in codes.iter_mut().zip(&m.fields) {
            *code = self.scales.codes[f.index()][m.occurrence as usize];
        }
        codes
    }

    fn set(&mut self, m: &Move, codes: &Codes) {
        for (f, code) in m.fields.iter().zip(codes) {
            self.scales.set(self.plan, *f, m.occurrence, *code);
        }
    }

    /// Codes that a move should try: those around the least-squares solution under the codes that the elements have, and
    /// the neighbours of those that it has.
    fn candidates(&mut self, m: &Move) -> Candidates {
        let mut out = Candidates::default();
        let at = m.occurrence as usize;
        match m.fields[..] {
            [one] => {
                let best = self.solve_one(m, one);
                let here = self.scales.values[one.index()][at];
                for value in [best, here] {
                    self.around(one, value, |code| out.push([code, 0]));
                }
            }
            [one, two] => {
                let Some(best) = self.solve_two(m, one, two) else {
                    return out;
                };
                let here = self.scales.values[two.index()][at];
                let mut seconds = Candidates::default();
                self.around(two, best, |code| seconds.push([0, code]));
                for [_, code] in &seconds.all[..seconds.count] {
                    // the first follows from the second as it is stored
                    self.scales.values[two.index()][at] = self.plan.decode(two, *code);
                    let first = self.solve_one(m, one);
                    self.around(one, first, |c| out.push([c, *code]));
                }
                self.scales.values[two.index()][at] = here;
            }
            _ => {}
        }
        out
    }

    /// The nearest code to a value, then its neighbours; of a wide scale the nearest alone.
    fn around(&self, field: FieldId, value: f64, mut give: impl FnMut(u32)) {
        let Some(listed) = self.plan.listed.get(&field) else {
            return give(self.plan.nearest(field, value));
        };
        let rank = self.plan.rank(listed, value);
        let ranks = [Some(rank), rank.checked_sub(1), Some(rank + 1)];
        let codes = ranks.into_iter().flatten().filter_map(|r| listed.get(r));
        codes.for_each(|v| give(v.1));
    }

    /// The parameters of a cell if an occurrence had a value.
    fn theta_with(&mut self, cell: u32, field: FieldId, occurrence: u32, value: f64) -> Theta {
        let at = occurrence as usize;
        let kept = std::mem::replace(&mut self.scales.values[field.index()][at], value);
        let theta = self.theta_of(cell);
        self.scales.values[field.index()][at] = kept;
        theta
    }

    /// The least-squares value of one scale under the elements' codes; where it is if they do not depend on it.
    fn solve_one(&mut self, m: &Move, field: FieldId) -> f64 {
        let (mut up, mut down) = (0.0, 0.0);
        for c in &m.cells {
            let rest = self.theta_with(*c, field, m.occurrence, 0.0);
            let slope = difference(&self.theta_with(*c, field, m.occurrence, 1.0), &rest);
            let sums = &self.sums[*c as usize];
            up += dot(&slope, &sums.rhs) - form(sums, &slope, &rest);
            down += form(sums, &slope, &slope);
        }
        let best = up / down;
        if best.is_finite() {
            best
        } else {
            self.scales.values[field.index()][m.occurrence as usize]
        }
    }

    /// The least-squares value of the second of two scales, if the first follows.
    fn solve_two(&mut self, m: &Move, one: FieldId, two: FieldId) -> Option<f64> {
        let at = m.occurrence as usize;
        let (mut g11, mut g12, mut g22, mut r1, mut r2) = (0.0, 0.0, 0.0, 0.0, 0.0);
        let kept = std::mem::replace(&mut self.scales.values[one.index()][at], 0.0);
        for c in &m.cells {
            let rest = self.theta_with(*c, two, m.occurrence, 0.0);
            let slope2 = difference(&self.theta_with(*c, two, m.occurrence, 1.0), &rest);
            self.scales.values[one.index()][at] = 1.0;
            let slope1 = difference(&self.theta_with(*c, two, m.occurrence, 0.0), &rest);
            self.scales.values[one.index()][at] = 0.0;
            let sums = &self.sums[*c as usize];
            g11 += form(sums, &slope1, &slope1);
            g12 += form(sums, &slope1, &slope2);
            g22 += form(sums, &slope2, &slope2);
            r1 += dot(&slope1, &sums.rhs) - form(sums, &slope1, &rest);
            r2 += dot(&slope2, &sums.rhs) - form(sums, &slope2, &rest);
        }
        self.scales.values[one.index()][at] = kept;
        let determinant = g11 * g22 - g12 * g12;
        if determinant.is_nan() || determinant <= 1e-12 * g11 * g22 {
            return None;
        }
        Some((g11 * r2 - g12 * r1) / determinant)
    }

    /// Tries a coarse scale at other sizes, with the finer ones chosen anew.
    fn rescale(&mut self, rescale: &Rescale) {
        let m = &rescale.coarse;
        let (field, at) = (m.fields[0], m.occurrence as usize);
        let wide: &[f64] = if rescale.shared { &WIDE_FACTORS } else { &[] };
        for factor in wide.iter().chain(&FACTORS) {
            let here = self.scales.values[field.index()][at];
            let code = self.plan.nearest(field, here * factor);
            if code == self.scales.codes[field.index()][at] {
                continue;
            }
            let before = self.error(Some(&m.cells));
            self.kept.0.copy_from(&self.scales);
            self.kept.1.clone_from(&self.sums);
            self.scales.set(self.plan, field, m.occurrence, code);
            // by the sums of the codes that fitted the old scale: they say what the products should be
            for f in &rescale.fine {
                if let [fine] = f.fields[..] {
                    let best = self.solve_one(f, fine);
                    let code = self.plan.nearest(fine, best);
                    self.scales.set(self.plan, fine, f.occurrence, code);
                }
            }
            m.cells
                .iter()
                .for_each(|c| self.sums[*c as usize] = self.sums_of(*c));
            self.sweep(&rescale.fine, 1);
            if self.error(Some(&m.cells)) >= before * (1.0 - GAIN) {
                std::mem::swap(&mut self.scales, &mut self.kept.0);
                std::mem::swap(&mut self.sums, &mut self.kept.1);
            }
        }
    }
}

fn difference(a: &Theta, b: &Theta) -> Theta {
    let mut out = *a;
    out.iter_mut().zip(b).for_each(|(a, b)| *a -= b);
    out
}

fn dot(a: &Theta, b: &Theta) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `a' * gram * b`
fn form(sums: &Sums, a: &Theta, b: &Theta) -> f64 {
    let rows = a.iter().zip(&sums.gram);
    rows.map(|(a, row)| a * dot(row, b)).sum()
}
