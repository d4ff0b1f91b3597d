//! Real numbers with a bound on what f32 arithmetic may differ.

use crate::format::element::{exponent, pow2};
use crate::spec::kernel::{Binary, Compare, Func};

/// The unit roundoff of f32.
pub(super) const EPS: f64 = 1.0 / (1u64 << 24) as f64;
/// Below this, f32 holds every integer.
pub(super) const EXACT: f64 = (1u64 << 24) as f64;
/// A real number, how far machine code may be off, and the largest magnitude that it may pass through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Num {
    /// The value.
    pub(super) v: f64,
    /// The bound of |machine - value|.
    pub(super) b: f64,
    /// The largest magnitude on the way to it.
    pub(super) m: f64,
}

impl Num {
    /// A result whose operands may be off by `b`, rounded `n` times at magnitude `m`.
    pub(super) fn rounded(v: f64, b: f64, m: f64, n: f64, exact: f64) -> Num {
        let m = m.max(v.abs());
        // A product that underflows on the way may be scaled up again by its other factors.
        let tiny = if m > 0.0 && m < 1e-30 {
            f64::from(f32::from_bits(1 << 9))
        } else {
            0.0
        };
        let b = if m < exact { b } else { b + n * EPS * m + tiny };
        let b = match () {
            // NaN stays NaN in any order of operations, but infinities cancel in some orders only.
            () if v.is_nan() && m.is_finite() => b,
            () if b.is_nan() || m > f64::from(f32::MAX) && v.is_finite() => f64::INFINITY,
            () => b,
        };
        Num { v, b, m }
    }
}

/// A function with steps, which may go either way where the number is not known exactly.
fn step(a: Num, f: fn(f64) -> f64) -> Num {
    let v = f(a.v);
    let (low, high) = (f(a.v - a.b), f(a.v + a.b));
    let b = match a.b == 0.0 {
        true => 0.0,
        false => (v - low).max(high - v),
    };
    Num { v, b, m: v.abs() }
}

pub(super) fn unary(f: Func, a: Num) -> Num {
    let x = a.v;
    let smooth = |v: f64, slope: f64| Num::rounded(v, slope * a.b + EPS * 2.0, v.abs(), 4.0, 0.0);
    match f {
        Func::Neg => Num { v: -x, ..a },
        Func::Abs => Num { v: x.abs(), ..a },
        Func::Exp => Num::rounded(x.exp(), x.exp() * a.b.exp_m1() + 1e-37, 0.0, 8.0, 0.0),
        Func::Sqrt => {
            let v = x.sqrt();
            let b = if a.b == 0.0 {
                0.0
            } else if x > 2.0 * a.b {
                a.b / (x - a.b).sqrt()
            } else {
                (x.abs() + a.b).sqrt()
            };
            Num::rounded(v, b, v, 1.0, 0.0)
        }
        Func::Tanh => smooth(x.tanh(), 1.0),
        Func::Silu => smooth(x / (1.0 + (-x).exp()), 1.1),
        Func::Gelu => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            smooth(x / 2.0 * (1.0 + inner.tanh()), 1.13)
        }
        Func::Round => step(a, f64::round_ties_even),
        Func::RoundAway => step(a, f64::round),
        Func::Trunc => step(a, f64::trunc),
        Func::Floor => step(a, f64::floor),
        Func::FloorPow2 => {
            let size = |v: f64| match v > 0.0 && v.is_finite() {
                true => pow2(exponent(v)),
                false => v.max(0.0),
            };
            let (v, m) = (size(x.abs()), x.abs());
            let (low, high) = (size(m - a.b), size(m + a.b));
            Num {
                v,
                b: (v - low).max(high - v),
                m: v,
            }
        }
    }
}

pub(super) fn binary(op: Binary, a: Num, b: Num, exact: f64) -> Num {
    match op {
        Binary::Add => Num::rounded(a.v + b.v, a.b + b.b, a.m + b.m, 1.0, exact),
        Binary::Sub => Num::rounded(a.v - b.v, a.b + b.b, a.m + b.m, 1.0, exact),
        Binary::Mul => Num::rounded(
            a.v * b.v,
            a.m * b.b + b.m * a.b + a.b * b.b,
            a.m * b.m,
            1.0,
            exact,
        ),
        Binary::Div => {
            let v = a.v / b.v;
            let left = b.v.abs() - b.b;
            let off = if a.b == 0.0 && b.b == 0.0 {
                0.0
            } else if left > 0.0 {
                (a.b + v.abs() * b.b) / left
            } else {
                f64::INFINITY
            };
            // a reciprocal and a product round twice more
            Num::rounded(v, off, a.m / b.v.abs(), 3.0, 0.0)
        }
        Binary::Min => Num {
            v: a.v.min(b.v),
            b: a.b.max(b.b),
            m: a.m.max(b.m),
        },
        Binary::Max => Num {
            v: a.v.max(b.v),
            b: a.b.max(b.b),
            m: a.m.max(b.m),
        },
    }
}

pub(super) fn select(c: Compare, a: Num, b: Num, x: Num, y: Num) -> Num {
    let holds = match c {
        Compare::Lt => a.v < b.v,
        Compare::Le => a.v <= b.v,
        Compare::Eq => a.v == b.v,
    };
    let (chosen, other) = if holds { (x, y) } else { (y, x) };
    let doubt = a.b + b.b;
    if doubt > 0.0 && (a.v - b.v).abs() <= doubt {
        return Num {
            b: chosen.b.max((chosen.v - other.v).abs() + other.b),
            ..chosen
        };
    }
    chosen
}
