//! Axes: which values they show, where ticks stand, and where a value lies.

/// How values are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithms, between powers of ten.
    Decades,
}

/// An axis that holds some values.
pub(super) enum Spread {
    Linear { first: f64, last: f64, step: f64 },
    Decades { first: i32, last: i32 },
}

impl Spread {
    pub(super) fn over(scale: Scale, values: impl Iterator<Item = f64>) -> Spread {
        let none = (f64::INFINITY, f64::NEG_INFINITY);
        let shown = values.filter(|v| scale == Scale::Linear || *v > 0.0);
        let range = shown.fold(none, |(low, high), v| (low.min(v), high.max(v)));
        match scale {
            Scale::Linear => Spread::linear(range),
            Scale::Decades => Spread::decades(range),
        }
    }

    fn linear((low, high): (f64, f64)) -> Spread {
        // Something to see around one point, or none.
        let (low, high) = match (low <= high, high - low < 0.5) {
            (true, false) => (low, high),
            (true, true) => (low - 0.5, high + 0.5),
            (false, _) => (0.0, 8.0),
        };
        let step = step(high - low);
        Spread::Linear {
            // Points do not lie on the frame.
            first: ((low / step - 0.25).floor() * step).max(0.0),
            last: (high / step + 0.25).ceil() * step,
            step,
        }
    }

    fn decades((low, high): (f64, f64)) -> Spread {
        if low > high {
            return Spread::Decades { first: -3, last: 0 };
        }
        let first = low.log10().floor() as i32;
        let last = high.log10().ceil() as i32;
        Spread::Decades {
            first,
            last: last.max(first + 1),
        }
    }

    /// Values that are named; of one or two decades also what lies between powers of ten.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match *self {
            Spread::Linear { first, last, step } => {
                let count = ((last - first) / step).round() as u32;
                (0..=count).map(|n| first + f64::from(n) * step).collect()
            }
            Spread::Decades { first, last } => {
                let between: &[f64] = if last - first <= 2 {
                    &[1.0, 2.0, 5.0]
                } else {
                    &[1.0]
                };
                let within =
                    (first..last).flat_map(|e| between.iter().map(move |m| m * 10f64.powi(e)));
                within.chain(std::iter::once(10f64.powi(last))).collect()
            }
        }
    }

    /// Where a value lies: 0 at the beginning, 1 at the end.
    pub(super) fn part(&self, value: f64) -> f64 {
        match *self {
            Spread::Linear { first, last, .. } => (value - first) / (last - first),
            Spread::Decades { first, last } => {
                let (first, last) = (f64::from(first), f64::from(last));
                // What has no logarithm lies at the beginning.
                ((value.log10() - first) / (last - first)).max(0.0)
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, so that there are at most ten steps.
fn step(span: f64) -> f64 {
    let power = 10f64.powf((span / 10.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|m| m * power);
    let fits = |s: &&f64| span / **s <= 10.0;
    steps.iter().find(fits).copied().unwrap_or(10.0 * power)
}

/// A tick in few digits.
pub(super) fn number(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e5).contains(&value.abs()) {
        return format!("{value:e}");
    }
    // Steps are 1, 2 or 5 times a power of ten: what is left behind the eighth digit is rounding.
    let text = format!("{value:.8}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Scale, Spread, number};

    fn ticks(scale: Scale, values: &[f64]) -> Vec<String> {
        let spread = Spread::over(scale, values.iter().copied());
        spread.ticks().into_iter().map(number).collect()
    }

    #[test]
    fn axes_end_on_ticks_that_hold_every_point() {
        let linear = ticks(Scale::Linear, &[2.1, 8.5]);
        assert_eq!(linear, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        let decades = ticks(Scale::Decades, &[0.03, 0.2]);
        assert_eq!(decades, ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
        let spread = Spread::over(Scale::Decades, [0.03, 0.2].into_iter());
        assert_eq!(
            (spread.part(0.01), spread.part(1.0), spread.part(0.0)),
            (0.0, 1.0, 0.0)
        );
        assert_eq!(ticks(Scale::Decades, &[1e-9, 1.0]).len(), 10);
        assert_eq!(number(1e-9), "1e-9");
    }
}
