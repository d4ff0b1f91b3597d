//! Constant factors: every class is a constant times a base, and keeps no other product with a constant.
//!
//! Sums over axes that a term does not depend on multiply it by extents. Were `x = k * y` and `y = x / k` both kept, the
//! rules would go up and down between them and make ever larger multiples of each other.

use super::analysis::{Graph, real};
use super::lang::{Node, Op};
use egg::Id;

/// The constant and the other factor of a product.
fn factors(graph: &Graph, children: &[Id]) -> Option<(f64, Id)> {
    let constant = |id: Id| real(graph, id).and_then(|r| r.constant);
    match (constant(children[0]), constant(children[1])) {
        (Some(k), None) => Some((k, graph.find(children[1]))),
        (None, Some(k)) => Some((k, graph.find(children[0]))),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// The constant and the base of a new product.
pub(super) fn of(graph: &Graph, op: Op, children: &[Id]) -> Option<(f64, Id)> {
    if op != Op::Mul {
        return None;
    }
    let (k, other) = factors(graph, children)?;
    let (k2, base) = base(graph, other);
    Some((k * k2, base))
}

/// What a class is a constant multiple of. Bases that are multiples of each other agree on the oldest.
fn base(graph: &Graph, id: Id) -> (f64, Id) {
    let mut path = vec![(1.0, graph.find(id))];
    while let Some(&(k, at)) = path.last() {
        let Some((k2, next)) = real(graph, at).and_then(|r| r.scale) else {
            return (k, at);
        };
        let next = graph.find(next);
        if let Some(start) = path.iter().position(|(_, seen)| *seen == next) {
            let oldest = path[start..].iter().min_by_key(|(_, id)| *id);
            return oldest.copied().unwrap_or((k, at));
        }
        path.push((k * k2, next));
    }
    (1.0, graph.find(id))
}

/// Brings the products with constants in a class to one.
pub(super) fn normalise(graph: &mut Graph, id: Id) {
    let id = graph.find(id);
    let scaled = |graph: &Graph, node: &Node| match node {
        Node::Op(Op::Mul, children) => factors(graph, children),
        _ => None,
    };
    let products = graph[id].nodes.iter().filter_map(|n| scaled(graph, n));
    let (k, base) = base(graph, id);
    if products.filter(|p| *p != (k, base)).count() == 0 {
        return;
    }
    if base != id {
        if k == 1.0 {
            graph.union_trusted(id, base, "constants");
            return;
        }
        let number = graph.add(Node::num(k));
        let product = graph.add(Node::Op(Op::Mul, vec![number, base]));
        graph.union_trusted(id, product, "constants");
    }
    let id = graph.find(id);
    let nodes = &graph[id].nodes;
    let direct = |n: &Node| scaled(graph, n).is_none_or(|p| base != id && p == (k, base));
    let kept: Vec<Node> = nodes.iter().filter(|n| direct(n)).cloned().collect();
    if !kept.is_empty() && kept.len() < nodes.len() {
        graph[id].nodes = kept;
    }
}
