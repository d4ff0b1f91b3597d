//! Numbers of the evaluator: integers exactly, other reals with the size of what they were made from.

use crate::rewrite::lang::Op;

/// Why a term has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// A quotient by zero, a root of a negative number, a number too large, a fraction in a register of integers.
    Undefined,
    /// Something that the machine cannot do.
    Fault(&'static str),
}

/// A number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Num {
    /// An integer, exact.
    Int(i128),
    /// A real near `value`; what was added up to it was no larger than `size`.
    Real {
        /// The number.
        value: f64,
        /// Its rounding is relative to this.
        size: f64,
    },
}

use Num::{Int, Real};

/// Rounding of reals, relative to their size.
const TOLERANCE: f64 = 1e-9;

/// A real, unless it is too large.
fn real(value: f64, size: f64) -> Result<Num, Bad> {
    if value.is_finite() && size.is_finite() {
        let size = size.max(value.abs());
        Ok(Real { value, size })
    } else {
        Err(Bad::Undefined)
    }
}

impl Num {
    /// A number of a term.
    pub(super) fn of(value: f64) -> Result<Num, Bad> {
        if value.fract() == 0.0 && value.abs() < 2f64.powi(100) {
            Ok(Int(value as i128))
        } else {
            real(value, 0.0)
        }
    }

    /// As a float.
    pub(super) fn float(self) -> f64 {
        match self {
            Int(i) => i as f64,
            Real { value, .. } => value,
        }
    }

    fn size(self) -> f64 {
        match self {
            Int(i) => (i as f64).abs(),
            Real { size, .. } => size,
        }
    }

    /// The integer that it is.
    pub(super) fn integer(self) -> Option<i128> {
        match self {
            Int(i) => Some(i),
            Real { value, .. } => {
                (value.fract() == 0.0 && value.abs() < 2f64.powi(53)).then_some(value as i128)
            }
        }
    }

    /// What rounding may have changed.
    pub(super) fn slack(self) -> f64 {
        match self {
            Int(_) => 0.0,
            Real { size, .. } => TOLERANCE * size,
        }
    }

    /// Whether two numbers are the same but for rounding; integers that the compiler's own numbers hold are exact.
    pub(super) fn same(self, other: Num) -> bool {
        match (self, other) {
            (Int(a), Int(b)) if a.abs().max(b.abs()) < 1 << 53 => a == b,
            (a, b) => (a.float() - b.float()).abs() <= TOLERANCE * a.size().max(b.size()),
        }
    }

    fn plus(self, other: Num) -> Result<Num, Bad> {
        if let (Int(a), Int(b)) = (self, other)
            && let Some(sum) = a.checked_add(b)
        {
            return Ok(Int(sum));
        }
        real(self.float() + other.float(), self.size() + other.size())
    }

    fn times(self, other: Num) -> Result<Num, Bad> {
        if let (Int(a), Int(b)) = (self, other)
            && let Some(product) = a.checked_mul(b)
        {
            return Ok(Int(product));
        }
        real(self.float() * other.float(), self.size() * other.size())
    }

    fn over(self, other: Num) -> Result<Num, Bad> {
        let by = other.float().abs();
        if let (Int(a), Int(b)) = (self, other)
            && b != 0
            && a % b == 0
        {
            return Ok(Int(a / b));
        }
        real(
            self.float() / other.float(),
            self.size() * other.size() / by / by,
        )
    }

    fn below(self, other: Num) -> bool {
        match (self, other) {
            (Int(a), Int(b)) => a < b,
            (a, b) => a.float() < b.float(),
        }
    }

    fn map(self, f: impl Fn(f64) -> f64) -> Result<Num, Bad> {
        let value = f(self.float());
        real(value, (1.0 + self.size()) * (1.0 + value.abs()))
    }
}

/// An operation of reals on numbers; declared arithmetic is taken without its rounding.
pub(super) fn apply(op: Op, x: &[Num]) -> Result<Num, Bad> {
    let pick = |first: bool| Ok(if first { x[0] } else { x[1] });
    match op {
        Op::Add | Op::StrictAdd => x[0].plus(x[1]),
        Op::StrictSub => x[0].plus(x[1].times(Int(-1))?),
        Op::Mul | Op::StrictMul => x[0].times(x[1]),
        Op::Div | Op::StrictDiv => x[0].over(x[1]),
        Op::Min | Op::StrictMin => pick(x[0].below(x[1])),
        Op::Max | Op::StrictMax => pick(x[1].below(x[0])),
        Op::Abs => match x[0] {
            Int(i) => Ok(Int(i.abs())),
            Real { value, size } => real(value.abs(), size),
        },
        Op::Round | Op::RoundAway | Op::Trunc | Op::Floor => x[0].integer().map_or_else(
            || {
                let v = x[0].float();
                Num::of(match op {
                    Op::Round => v.round_ties_even(),
                    Op::RoundAway => v.round(),
                    Op::Trunc => v.trunc(),
                    _ => v.floor(),
                })
            },
            |whole| Ok(Int(whole)),
        ),
        Op::FloorPow2 => x[0].map(|a| {
            if a == 0.0 {
                0.0
            } else {
                a.abs().log2().floor().exp2()
            }
        }),
        Op::Exp => x[0].map(f64::exp),
        Op::Sqrt => x[0].map(f64::sqrt),
        Op::Tanh => x[0].map(f64::tanh),
        Op::Silu => x[0].map(|a| a / (1.0 + (-a).exp())),
        Op::Gelu => x[0].map(|a| {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (a + 0.044715 * a * a * a);
            0.5 * a * (1.0 + inner.tanh())
        }),
        Op::SelectLt | Op::SelectLe | Op::SelectEq => {
            let (less, more) = (x[0].below(x[1]), x[1].below(x[0]));
            let holds = match op {
                Op::SelectLt => less,
                Op::SelectLe => !more,
                _ => !less && !more,
            };
            Ok(if holds { x[2] } else { x[3] })
        }
        _ => Err(Bad::Fault("no operation of reals")),
    }
}
