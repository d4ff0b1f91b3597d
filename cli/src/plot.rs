//! A plot of error against bits per weight, as SVG: points with labels, a logarithmic axis for the error.

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

/// A point of the plot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    /// What stands beside it.
    pub(crate) label: String,
    /// Bits per weight.
    pub(crate) bits: f64,
    /// The error; 0 is drawn on the lower edge and said in the label.
    pub(crate) error: f64,
}

/// The whole picture. Points that are no numbers are left out.
pub(crate) fn svg(points: &[Point]) -> String {
    let mut drawn: Vec<&Point> = points
        .iter()
        .filter(|p| p.bits.is_finite() && p.error.is_finite() && p.error >= 0.0)
        .collect();
    // From top to bottom, so that labels that are moved down stay in the order of their points.
    drawn.sort_by(|a, b| b.error.total_cmp(&a.error));
    let x = Linear::over(drawn.iter().map(|p| p.bits));
    let y = Decades::over(drawn.iter().map(|p| p.error).filter(|e| *e > 0.0));
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">"
    );
    out += "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
    axes(&mut out, &x, &y);
    labelled(&mut out, &drawn, &x, &y);
    out += "</svg>\n";
    out
}

fn axes(out: &mut String, x: &Linear, y: &Decades) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tick in x.ticks() {
        let at = x.place(tick);
        line(out, (at, TOP), (at, bottom), "#ddd");
        text(out, (at, bottom + 18.0), "middle", &number(tick));
    }
    for tick in y.ticks() {
        let at = y.place(tick);
        line(out, (LEFT, at), (right, at), "#ddd");
        text(out, (LEFT - 8.0, at + 4.0), "end", &number(tick));
    }
    line(out, (LEFT, bottom), (right, bottom), "black");
    line(out, (LEFT, TOP), (LEFT, bottom), "black");
    let middle = ((LEFT + right) / 2.0, HEIGHT - 12.0);
    text(out, middle, "middle", "bits per weight");
    let _ = writeln!(
        out,
        "<text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">RMSE</text>",
        (TOP + bottom) / 2.0
    );
}

/// Points, with labels that are moved down until they lie on no other.
fn labelled(out: &mut String, points: &[&Point], x: &Linear, y: &Decades) {
    let mut placed: Vec<(f64, f64, f64)> = Vec::new();
    for point in points {
        let (px, py) = (x.place(point.bits), y.place(point.error));
        let label = match point.error {
            0.0 => format!("{} (no error)", point.label),
            _ => point.label.clone(),
        };
        let wide = LETTER * label.chars().count() as f64;
        let left = px + 8.0 + wide > WIDTH - RIGHT;
        let start = if left { px - 8.0 - wide } else { px + 8.0 };
        let mut at = py + 4.0;
        let covers = |at: f64, (from, to, other): &(f64, f64, f64)| {
            start < *to && *from < start + wide && (at - other).abs() < LINE
        };
        while let Some((_, _, other)) = placed.iter().find(|p| covers(at, p)) {
            at = other + LINE;
        }
        placed.push((start, start + wide, at));
        let _ = writeln!(
            out,
            "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"4\" fill=\"#2563eb\"/>"
        );
        let (edge, anchor) = if left {
            (px - 8.0, "end")
        } else {
            (px + 8.0, "start")
        };
        text(out, (edge, at), anchor, &label);
    }
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
    );
}

fn text(out: &mut String, at: (f64, f64), anchor: &str, text: &str) {
    let (x, y) = at;
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

/// A tick in few digits.
fn number(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e5).contains(&value.abs()) {
        return format!("{value:e}");
    }
    // Steps are 1, 2 or 5 times a power of ten: what is left behind the eighth digit is rounding.
    let text = format!("{value:.8}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A linear axis, from left to right.
struct Linear {
    first: f64,
    last: f64,
    step: f64,
}

impl Linear {
    fn over(values: impl Iterator<Item = f64> + Clone) -> Linear {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        // Something to see around one point, or none.
        let (low, high) = match (low <= high, high - low < 0.5) {
            (true, false) => (low, high),
            (true, true) => (low - 0.5, high + 0.5),
            (false, _) => (0.0, 8.0),
        };
        let step = Linear::step(high - low);
        Linear {
            // Points do not lie on the frame.
            first: ((low / step - 0.25).floor() * step).max(0.0),
            last: (high / step + 0.25).ceil() * step,
            step,
        }
    }

    /// 1, 2 or 5 times a power of ten, so that there are at most ten steps.
    fn step(span: f64) -> f64 {
        let power = 10f64.powf((span / 10.0).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|m| m * power);
        let fits = |s: &&f64| span / **s <= 10.0;
        steps.iter().find(fits).copied().unwrap_or(10.0 * power)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = ((self.last - self.first) / self.step).round() as u32;
        (0..=count).map(|n| self.first + f64::from(n) * self.step)
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value - self.first) / (self.last - self.first);
        LEFT + part * (WIDTH - LEFT - RIGHT)
    }
}

/// A logarithmic axis, from bottom to top, that ends on powers of ten.
struct Decades {
    first: i32,
    last: i32,
}

impl Decades {
    fn over(values: impl Iterator<Item = f64> + Clone) -> Decades {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return Decades { first: -3, last: 0 };
        }
        let first = low.log10().floor() as i32;
        let last = high.log10().ceil() as i32;
        Decades {
            first,
            last: last.max(first + 1),
        }
    }

    /// Powers of ten; of one or two decades also what lies between.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        let between: &[f64] = if self.last - self.first <= 2 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        let (first, last) = (self.first, self.last);
        let within = (first..last).flat_map(|e| between.iter().map(move |m| m * 10f64.powi(e)));
        within.chain(std::iter::once(10f64.powi(last)))
    }

    fn place(&self, value: f64) -> f64 {
        let (first, last) = (f64::from(self.first), f64::from(self.last));
        // What has no logarithm lies on the lower edge.
        let part = ((value.log10() - first) / (last - first)).max(0.0);
        HEIGHT - BOTTOM - part * (HEIGHT - BOTTOM - TOP)
    }
}

#[cfg(test)]
mod tests {
    use super::{BOTTOM, Decades, HEIGHT, Linear, Point, TOP, WIDTH, number, svg};

    fn point(label: &str, bits: f64, error: f64) -> Point {
        Point {
            label: label.into(),
            bits,
            error,
        }
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
    fn axes_end_on_ticks_that_hold_every_point() {
        let x = Linear::over([2.1, 8.5].into_iter());
        assert_eq!(
            x.ticks().map(number).collect::<Vec<_>>(),
            ["1", "2", "3", "4", "5", "6", "7", "8", "9"]
        );
        let y = Decades::over([0.03, 0.2].into_iter());
        let ticks: Vec<String> = y.ticks().map(number).collect();
        assert_eq!(ticks, ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
        assert_eq!((y.place(0.01), y.place(1.0)), (HEIGHT - BOTTOM, TOP));
        let long = Decades::over([1e-9, 1.0].into_iter());
        assert_eq!(long.ticks().count(), 10);
        assert_eq!(number(1e-9), "1e-9");
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
            point("a<b>&c", 4.0, 0.0),
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
