//! Registers of a statement: lanes as terms of the solver, and what is done to all of them alike.

use super::Stop;
use super::smt::{WIDTH, any, extended};
use crate::rewrite::lang::Ty;
use crate::schedule::index::AxisSet;

/// A lane of a register.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    /// Its bits.
    pub(super) value: String,
    /// Whether it, or what it was computed from, is not the number that it stands for.
    pub(super) misread: String,
}

/// Registers of a side.
#[derive(Clone, Debug)]
pub(super) struct Vector {
    /// Its lane list.
    pub(super) set: AxisSet,
    /// Its type.
    pub(super) ty: Ty,
    /// Its lanes, the highest axis innermost.
    pub(super) lanes: Vec<Lane>,
}

/// A template with its operands.
pub(super) fn fill(template: &str, operands: &[String]) -> String {
    let fill = |text: String, (at, x): (usize, &String)| text.replace(&format!("%{at}"), x);
    operands.iter().enumerate().fold(template.to_owned(), fill)
}

impl Lane {
    /// A lane that holds what it stands for.
    pub(super) fn of(value: String) -> Lane {
        let misread = "false".to_owned();
        Lane { value, misread }
    }
}

fn misread<'l>(lanes: impl IntoIterator<Item = &'l Lane>) -> String {
    let wrong = lanes.into_iter().map(|l| l.misread.clone());
    let wrong: Vec<String> = wrong.filter(|m| m != "false").collect();
    any(&wrong)
}

impl Vector {
    /// The vector, if it is of the type.
    pub(super) fn of(self, ty: Ty) -> Result<Vector, Stop> {
        if self.ty == ty {
            Ok(self)
        } else {
            Err(Stop::Fault("a register of another type"))
        }
    }

    /// What becomes of every lane.
    pub(super) fn map(self, ty: Ty, f: impl Fn(&str) -> String) -> Vector {
        let of = |l: Lane| Lane {
            value: f(&l.value),
            ..l
        };
        let lanes = self.lanes.into_iter().map(of).collect();
        Vector { ty, lanes, ..self }
    }

    /// Lanes of two vectors of one shape together.
    pub(super) fn zip(&self, other: &Vector, f: impl Fn(&str, &str) -> String) -> Vector {
        let pairs = self.lanes.iter().zip(&other.lanes);
        let lanes = pairs.map(|(a, b)| Lane {
            value: f(&a.value, &b.value),
            misread: misread([a, b]),
        });
        let (set, ty, lanes) = (self.set, self.ty, lanes.collect());
        Vector { set, ty, lanes }
    }

    /// A template on lanes of vectors.
    pub(super) fn lane_wise(x: &[Vector], ty: Ty, template: &str) -> Result<Vector, Stop> {
        let set = x[0].set;
        if x.iter().any(|v| v.set != set) {
            return Err(Stop::Fault("vectors over other lanes"));
        }
        let lanes = (0..x[0].lanes.len()).map(|at| {
            let operands: Vec<String> = x.iter().map(|v| v.lanes[at].value.clone()).collect();
            Lane {
                value: fill(template, &operands),
                misread: misread(x.iter().map(|v| &v.lanes[at])),
            }
        });
        let lanes = lanes.collect();
        Ok(Vector { set, ty, lanes })
    }

    /// The numbers that it holds.
    pub(super) fn exact(self) -> Vector {
        let from = self.ty;
        self.map(Ty::F32, |x| extended(x, from, WIDTH))
    }

    /// Groups of neighbouring lanes summed.
    pub(super) fn neighbours(self, set: AxisSet, group: usize) -> Vector {
        let lanes = self.lanes.chunks(group).map(|lanes| {
            let values: Vec<&str> = lanes.iter().map(|l| l.value.as_str()).collect();
            let value = match values[..] {
                [one] => one.to_owned(),
                _ => format!("(bvadd {})", values.join(" ")),
            };
            let misread = misread(lanes);
            Lane { value, misread }
        });
        let lanes = lanes.collect();
        Vector { set, lanes, ..self }
    }
}
