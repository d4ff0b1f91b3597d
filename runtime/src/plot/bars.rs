//! Bars in groups: what belongs together stands together.

use super::axis::{Scale, Spread, number};
use super::{COLOURS, line, opened, text};
use std::fmt::Write;

/// A bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What stands beside it; bars of one name have one colour.
    pub label: String,
    /// How long it is.
    pub value: f64,
}

/// Bars that are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What they are of.
    pub label: String,
    /// The bars.
    pub bars: Vec<Bar>,
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 150.0;
const BAR: f64 = 15.0;
const GAP: f64 = 12.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 48.0;

/// A picture of bars from left to right. Values that are no numbers, or less than 0, are left out.
pub fn bars(axis: &str, groups: &[Group]) -> String {
    let usable = |b: &&Bar| b.value.is_finite() && b.value >= 0.0;
    let count: usize = groups.iter().map(|g| g.bars.len()).sum();
    let height = TOP + count as f64 * BAR + groups.len() as f64 * GAP + BOTTOM;
    let all = groups.iter().flat_map(|g| &g.bars).filter(usable);
    let spread = Spread::over(Scale::Linear, all.map(|b| b.value).chain([0.0]));
    let place = |value: f64| LEFT + spread.part(value) * (WIDTH - LEFT - RIGHT);
    let mut out = opened(WIDTH, height);
    let bottom = height - BOTTOM;
    for tick in spread.ticks() {
        let at = place(tick);
        line(&mut out, (at, TOP), (at, bottom), "#ddd");
        text(&mut out, (at, bottom + 18.0), "middle", &number(tick));
    }
    text(&mut out, (place(0.0), height - 10.0), "start", axis);
    let mut names: Vec<&str> = Vec::new();
    let mut at = TOP + GAP / 2.0;
    for group in groups {
        let middle = at + group.bars.len() as f64 * BAR / 2.0 + 4.0;
        text(&mut out, (LEFT - 8.0, middle), "end", &group.label);
        for bar in group.bars.iter().filter(usable) {
            let known = names.iter().position(|n| *n == bar.label);
            let colour = known.unwrap_or_else(|| {
                names.push(&bar.label);
                names.len() - 1
            });
            let (from, to) = (place(0.0), place(bar.value));
            let _ = writeln!(
                out,
                "<rect x=\"{from:.1}\" y=\"{at:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
                to - from,
                BAR - 2.0,
                COLOURS[colour % COLOURS.len()]
            );
            text(&mut out, (to + 4.0, at + BAR - 4.0), "start", &bar.label);
            at += BAR;
        }
        at += GAP;
    }
    line(&mut out, (LEFT, TOP), (LEFT, bottom), "black");
    out += "</svg>\n";
    out
}

#[cfg(test)]
mod tests {
    use super::{Bar, Group, bars};

    #[test]
    fn bars_are_as_long_as_their_values_and_keep_their_colours() {
        let bar = |label: &str, value| Bar {
            label: label.into(),
            value,
        };
        let group = |label: &str, bars: &[Bar]| Group {
            label: label.into(),
            bars: bars.to_vec(),
        };
        let picture = bars(
            "GOPS",
            &[
                group("one <row>", &[bar("ours", 50.0), bar("peer", 100.0)]),
                group("two", &[bar("ours", 25.0), bar("peer", f64::NAN)]),
            ],
        );
        let attribute = |name: &str| -> Vec<String> {
            let drawn = picture.lines().filter(|l| l.starts_with("<rect x="));
            let start = format!("{name}=\"");
            let values = drawn.filter_map(|l| l.split(&start).nth(1)?.split('"').next());
            values.map(str::to_owned).collect()
        };
        let width: Vec<f64> = attribute("width")
            .iter()
            .filter_map(|w| w.parse().ok())
            .collect();
        assert!((width[1] - 2.0 * width[0]).abs() < 0.2 && (width[0] - 2.0 * width[2]).abs() < 0.2);
        let fill = attribute("fill");
        assert!(
            fill.len() == 3 && fill[0] == fill[2] && fill[0] != fill[1],
            "{fill:?}"
        );
        assert!(picture.contains("one &lt;row&gt;") && picture.ends_with("</svg>\n"));
        assert!(bars("nothing", &[]).ends_with("</svg>\n"));
    }
}
