//! Plots as SVG, for what is measured: points in a chart of two axes, and bars beside each other. Text in, text out.
#![forbid(unsafe_code)]

mod axis;
mod bars;
mod chart;

pub use axis::Scale;
pub use bars::{Bar, Group, bars};
pub use chart::{Axis, Chart, Line, Point};

use std::fmt::Write;

/// Colours, told apart by people who see few.
pub const COLOURS: [&str; 6] = [
    "#2563eb", "#d97706", "#059669", "#be185d", "#64748b", "#7c3aed",
];

/// The beginning of a picture of a size.
fn opened(width: f64, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    )
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
    let text = escaped(text);
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
    );
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}
