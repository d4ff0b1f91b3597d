//! A chart: points with labels, and lines, in two axes.

use super::axis::{Scale, Spread, number};
use super::{COLOURS, escaped, line, opened, text};
use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 52.0;
/// How far labels must lie from each other.
const LINE: f64 = 13.0;
/// About how wide a letter of a label is.
const LETTER: f64 = 7.0;

/// What an axis is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// What stands beside it.
    pub label: String,
    /// How values are spread along it.
    pub scale: Scale,
}

/// A point. On an axis of decades, 0 is drawn at the beginning.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// What stands beside it; may be empty.
    pub label: String,
    /// From left to right.
    pub x: f64,
    /// From bottom to top.
    pub y: f64,
    /// Which of the colours it has.
    pub colour: usize,
}

/// A line through some points.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What stands at its end.
    pub label: String,
    /// From where to where.
    pub points: Vec<(f64, f64)>,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// The points; those that are no numbers, or less than 0, are left out.
    pub points: Vec<Point>,
    /// Lines below the points.
    pub lines: Vec<Line>,
}

/// The axes, with the values that they hold.
struct Frame {
    x: Spread,
    y: Spread,
}

impl Frame {
    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (
            LEFT + self.x.part(x) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - self.y.part(y) * (HEIGHT - BOTTOM - TOP),
        )
    }
}

fn usable(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

impl Chart {
    /// The whole picture.
    pub fn svg(&self) -> String {
        let points = self.points.iter();
        let mut drawn: Vec<&Point> = points.filter(|p| usable(p.x) && usable(p.y)).collect();
        // From top to bottom, so that labels that are moved down stay in the order of their points.
        drawn.sort_by(|a, b| b.y.total_cmp(&a.y));
        let lines = || self.lines.iter().flat_map(|l| &l.points);
        let frame = Frame {
            x: Spread::over(
                self.x.scale,
                drawn.iter().map(|p| p.x).chain(lines().map(|p| p.0)),
            ),
            y: Spread::over(
                self.y.scale,
                drawn.iter().map(|p| p.y).chain(lines().map(|p| p.1)),
            ),
        };
        let mut out = opened(WIDTH, HEIGHT);
        self.axes(&mut out, &frame);
        self.lines.iter().for_each(|l| through(&mut out, &frame, l));
        labelled(&mut out, &drawn, &frame);
        out += "</svg>\n";
        out
    }

    fn axes(&self, out: &mut String, frame: &Frame) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in frame.x.ticks() {
            let (at, _) = frame.place((tick, 0.0));
            line(out, (at, TOP), (at, bottom), "#ddd");
            text(out, (at, bottom + 18.0), "middle", &number(tick));
        }
        for tick in frame.y.ticks() {
            let (_, at) = frame.place((0.0, tick));
            line(out, (LEFT, at), (right, at), "#ddd");
            text(out, (LEFT - 8.0, at + 4.0), "end", &number(tick));
        }
        line(out, (LEFT, bottom), (right, bottom), "black");
        line(out, (LEFT, TOP), (LEFT, bottom), "black");
        let middle = ((LEFT + right) / 2.0, HEIGHT - 12.0);
        text(out, middle, "middle", &self.x.label);
        let _ = writeln!(
            out,
            "<text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            (TOP + bottom) / 2.0,
            escaped(&self.y.label)
        );
    }
}

fn through(out: &mut String, frame: &Frame, through: &Line) {
    let places: Vec<(f64, f64)> = through.points.iter().map(|p| frame.place(*p)).collect();
    let written: Vec<String> = places
        .iter()
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#444\" stroke-dasharray=\"5 4\"/>",
        written.join(" ")
    );
    if let Some((x, y)) = places.last() {
        text(out, (*x, y - 5.0), "end", &through.label);
    }
}

/// What a line's height may seem to have lost where it is added to a place: a label that was moved by it must not move again.
const ROUNDING: f64 = 1e-6;

/// Points, with labels that are moved down until they lie on no other.
fn labelled(out: &mut String, points: &[&Point], frame: &Frame) {
    let mut placed: Vec<(f64, f64, f64)> = Vec::new();
    for point in points {
        let (px, py) = frame.place((point.x, point.y));
        let colour = COLOURS[point.colour % COLOURS.len()];
        let _ = writeln!(
            out,
            "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"4\" fill=\"{colour}\"/>"
        );
        if point.label.is_empty() {
            continue;
        }
        let wide = LETTER * point.label.chars().count() as f64;
        let left = px + 8.0 + wide > WIDTH - RIGHT;
        let start = if left { px - 8.0 - wide } else { px + 8.0 };
        let mut at = py + 4.0;
        let covers = |at: f64, (from, to, other): &(f64, f64, f64)| {
            start < *to && *from < start + wide && (at - other).abs() < LINE - ROUNDING
        };
        while let Some((_, _, other)) = placed.iter().find(|p| covers(at, p)) {
            at = other + LINE;
        }
        placed.push((start, start + wide, at));
        let (edge, anchor) = if left {
            (px - 8.0, "end")
        } else {
            (px + 8.0, "start")
        };
        text(out, (edge, at), anchor, &point.label);
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, BOTTOM, Chart, HEIGHT, Line, Point, Scale, WIDTH};

    fn point(label: &str, x: f64, y: f64) -> Point {
        Point {
            label: label.into(),
            x,
            y,
            colour: 0,
        }
    }

    fn svg(points: &[Point]) -> String {
        let axis = |label: &str, scale| Axis {
            label: label.into(),
            scale,
        };
        let chart = Chart {
            x: axis("bits per weight", Scale::Linear),
            y: axis("RMSE", Scale::Decades),
            points: points.to_vec(),
            lines: Vec::new(),
        };
        chart.svg()
    }

    #[test]
    fn labels_are_placed_wherever_their_points_are() {
        for step in 1..500 {
            let pair = 0.01 * 1.0137f64.powi(step);
            let points = [
                point("lowest", 2.0, 0.01),
                point("highest", 8.0, 10.0),
                point("label", 4.0, pair),
                point("label", 4.0, pair),
            ];
            assert_eq!(svg(&points).matches("label</text>").count(), 2, "{step}");
        }
    }

    #[test]
    fn lines_are_within_the_axes() {
        let axis = || Axis {
            label: "x".into(),
            scale: Scale::Decades,
        };
        let chart = Chart {
            x: axis(),
            y: axis(),
            points: Vec::new(),
            lines: vec![Line {
                label: "a & b".into(),
                points: vec![(1.0, 10.0), (100.0, 1000.0)],
            }],
        };
        let picture = chart.svg();
        assert!(
            picture.contains("points=\"76.0,388.0 696.0,24.0\""),
            "{picture}"
        );
        assert!(picture.contains(">a &amp; b<"), "{picture}");
    }

    /// Numbers of an attribute, in the order of the text.
    fn numbers(svg: &str, element: &str, attribute: &str) -> Vec<f64> {
        let start = format!("{attribute}=\"");
        svg.lines()
            .filter(|l| l.starts_with(&format!("<{element} ")))
            .filter_map(|l| l.split(&start).nth(1)?.split('"').next()?.parse().ok())
            .collect()
    }

    #[test]
    fn more_bits_lie_to_the_right_and_smaller_errors_lower() {
        let picture = svg(&[
            point("a", 2.0, 0.1),
            point("b", 4.5, 0.01),
            point("c", 8.5, 0.001),
        ]);
        let (x, y) = (
            numbers(&picture, "circle", "cx"),
            numbers(&picture, "circle", "cy"),
        );
        assert!(x[0] < x[1] && x[1] < x[2], "{x:?}");
        let (down, further) = (y[1] - y[0], y[2] - y[1]);
        assert!(
            down > 0.0 && (down - further).abs() < 0.2,
            "decades are as wide: {y:?}"
        );
        for label in [
            ">a<",
            ">b<",
            ">c<",
            ">bits per weight<",
            ">RMSE<",
            ">0.01<",
            ">4<",
        ] {
            assert!(picture.contains(label), "no {label} in\n{picture}");
        }
    }

    #[test]
    fn labels_of_points_at_one_place_lie_under_each_other_and_inside() {
        let picture = svg(&[
            point("one", 4.5, 0.01),
            point("two", 4.5, 0.01),
            point("a long label", 9.0, 0.02),
        ]);
        let at = |label: &str| {
            let line = picture.lines().find(|l| l.contains(&format!(">{label}<")));
            line.map(str::to_owned).unwrap_or_default()
        };
        assert_ne!(
            at("one").replace("one", ""),
            at("two").replace("two", ""),
            "one lies on the other"
        );
        assert!(at("a long label").contains("end"), "{}", at("a long label"));
        let xs = numbers(&picture, "text", "x");
        assert!(xs.iter().all(|x| (0.0..WIDTH).contains(x)), "{xs:?}");
    }

    #[test]
    fn labels_are_escaped_and_what_is_no_number_is_left_out() {
        let picture = svg(&[
            point("a<b>&c (no error)", 4.0, 0.0),
            point("nan", f64::NAN, 1.0),
            point("infinite", 4.0, f64::INFINITY),
        ]);
        assert!(picture.contains("a&lt;b&gt;&amp;c (no error)"), "{picture}");
        assert!(
            !picture.contains("NaN") && !picture.contains("inf"),
            "{picture}"
        );
        assert_eq!(numbers(&picture, "circle", "cy"), [HEIGHT - BOTTOM]);
        assert!(svg(&[]).ends_with("</svg>\n"));
    }
}
