//! A drawing of an extracted term as SVG: the classes that it goes through from the result down, layer by layer, with the
//! operations that each has beside the chosen one.

use lowbit::compiler::rewrite::draw::{Class, Picture};
use std::collections::BTreeMap;
use std::fmt::Write;

const LETTER: f64 = 6.7;
const LINE: f64 = 15.0;
const PAD: f64 = 8.0;
const ACROSS: f64 = 24.0;
const DOWN: f64 = 46.0;
const EDGE: f64 = 20.0;
/// Other operations of a class that are listed.
const OTHERS: usize = 4;
/// Letters of a line: tables can be long.
const LONGEST: usize = 44;

/// A box with its lines; the first is the type, the second what was chosen.
struct Boxed {
    lines: Vec<String>,
    children: Vec<usize>,
    layer: usize,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// The whole picture.
pub(crate) fn svg(picture: &Picture) -> String {
    let mut boxes = boxes(picture);
    layers(&mut boxes, &picture.roots);
    let (width, height) = place(&mut boxes);
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"monospace\" font-size=\"11\">"
    );
    out += "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
    for from in boxes.values() {
        for to in from.children.iter().filter_map(|c| boxes.get(c)) {
            let (x1, y1) = (from.x + from.width / 2.0, from.y + from.height);
            let (x2, y2) = (to.x + to.width / 2.0, to.y);
            let half = (y1 + y2) / 2.0;
            let _ = writeln!(
                out,
                "<path d=\"M{x1:.1} {y1:.1} C{x1:.1} {half:.1} {x2:.1} {half:.1} {x2:.1} {y2:.1}\" \
                 fill=\"none\" stroke=\"#2563eb\"/>"
            );
        }
    }
    for one in boxes.values() {
        draw(&mut out, one);
    }
    out += "</svg>\n";
    out
}

fn boxes(picture: &Picture) -> BTreeMap<usize, Boxed> {
    let chosen = picture.classes.iter().enumerate();
    let chosen = chosen.filter(|(_, class)| class.is_chosen());
    chosen.map(|(at, class)| (at, boxed(at, class))).collect()
}

fn boxed(at: usize, class: &Class) -> Boxed {
    let mut lines = vec![format!("c{at}: {}", class.label)];
    let (chosen, others): (Vec<_>, Vec<_>) = class.nodes.iter().partition(|n| n.chosen);
    let described = |label: &str, children: &[usize]| {
        let operands = children.iter().map(|c| format!(" c{c}"));
        short(&format!("{label}{}", operands.collect::<String>()))
    };
    lines.extend(
        chosen
            .iter()
            .take(1)
            .map(|n| described(&n.label, &n.children)),
    );
    let listed = others.iter().take(OTHERS);
    lines.extend(listed.map(|n| described(&n.label, &n.children)));
    if others.len() > OTHERS {
        lines.push(format!("and {} more", others.len() - OTHERS));
    }
    let longest = lines.iter().map(|l| l.chars().count()).max().unwrap_or(0);
    Boxed {
        width: longest as f64 * LETTER + 2.0 * PAD,
        height: lines.len() as f64 * LINE + PAD,
        lines,
        children: chosen.iter().flat_map(|n| n.children.clone()).collect(),
        layer: 0,
        x: 0.0,
        y: 0.0,
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// Each class lies below all that use it. A term does not contain itself, so there are at most as many layers as boxes.
fn layers(boxes: &mut BTreeMap<usize, Boxed>, roots: &[usize]) {
    let most = boxes.len();
    let mut pending: Vec<(usize, usize)> = roots.iter().map(|r| (*r, 0)).collect();
    for _ in 0..=most {
        let mut next = Vec::new();
        for (at, layer) in pending {
            let Some(one) = boxes.get_mut(&at).filter(|b| layer == 0 || b.layer < layer) else {
                continue;
            };
            one.layer = layer;
            next.extend(one.children.iter().map(|c| (*c, layer + 1)));
        }
        next.sort_unstable();
        next.dedup();
        pending = next;
    }
}

/// Puts layers under each other; in a layer, boxes stand in the order of the middles of their users.
fn place(boxes: &mut BTreeMap<usize, Boxed>) -> (f64, f64) {
    let last = boxes.values().map(|b| b.layer).max().unwrap_or(0);
    let (mut y, mut right) = (EDGE, 0.0f64);
    for layer in 0..=last {
        let mut members: Vec<(f64, usize)> = Vec::new();
        for (at, _) in boxes.iter().filter(|(_, b)| b.layer == layer) {
            let users = boxes
                .values()
                .filter(|b| b.layer < layer && b.children.contains(at));
            let middles: Vec<f64> = users.map(|b| b.x + b.width / 2.0).collect();
            let wanted = middles.iter().sum::<f64>() / middles.len().max(1) as f64;
            members.push((wanted, *at));
        }
        members.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let (mut x, mut height) = (EDGE, 0.0f64);
        for (wanted, at) in members {
            if let Some(one) = boxes.get_mut(&at) {
                one.x = x.max(wanted - one.width / 2.0);
                one.y = y;
                x = one.x + one.width + ACROSS;
                height = height.max(one.height);
            }
        }
        right = right.max(x - ACROSS);
        y += height + DOWN;
    }
    (right + EDGE, y - DOWN + EDGE)
}

fn draw(out: &mut String, one: &Boxed) {
    let Boxed {
        x,
        y,
        width,
        height,
        ..
    } = one;
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"4\" fill=\"#f8fafc\" \
         stroke=\"#2563eb\"/>"
    );
    for (at, line) in one.lines.iter().enumerate() {
        let style = match at {
            0 => "fill=\"#555\"",
            1 => "font-weight=\"bold\" fill=\"#1d4ed8\"",
            _ => "fill=\"#999\"",
        };
        let text = line
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" {style}>{text}</text>",
            x + PAD,
            y + LINE * (at as f64 + 1.0)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::svg;
    use lowbit::Engine;
    use lowbit::compiler::target::Target;

    #[test]
    fn the_term_of_a_kernel_is_drawn_as_well_formed_xml() {
        let text = "language 1; import \"std/ints\";
            kernel linear(weight w: int4_32[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
                y[m, n] = sum(k) w[n, k] * x[m, k];
            }";
        let target = Target::named("x86-64-v3").expect("a target");
        let engine = Engine::new(target).expect("an engine");
        let kernel = engine
            .compile(text, &[("N", 64), ("K", 64)])
            .expect("it compiles");
        let picture = kernel.picture(1, 0).expect("a picture");
        let drawn = picture.classes.iter().filter(|c| c.is_chosen()).count();
        let svg = svg(&picture);
        assert_eq!(svg.matches("rx=\"4\"").count(), drawn, "{svg}");
        assert!(svg.contains("v.load") && svg.contains("<path "), "{svg}");
        well_formed(&svg);
    }

    /// Tags are closed in the order in which they were opened, and text has no letters that XML reserves.
    fn well_formed(xml: &str) {
        let mut open: Vec<&str> = Vec::new();
        for part in xml.split('<').skip(1) {
            let (tag, text) = part.split_once('>').expect("a tag ends");
            assert!(!text.contains('>'), "{part}");
            for entity in text.split('&').skip(1) {
                assert!(
                    ["amp;", "lt;", "gt;"].iter().any(|e| entity.starts_with(e)),
                    "{part}"
                );
            }
            assert!(tag.matches('"').count() % 2 == 0, "{part}");
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') => {}
                None => open.extend(tag.split_whitespace().next()),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
