//! The chain of rules from a statement to a term: egg's explanation of why the two are equal.

use super::analysis::Graph;
use super::extract::Extracted;
use super::lang::Node;
use super::{RuleSet, roots, saturate};
use crate::schedule::place::Placed;
use crate::spec::kernel::Kernel;
use egg::{Id, RecExpr};

/// Names of the rules on the way from a placed statement to a term chosen for it, in order of first use. The e-graph is
/// built again with explanations, which the compiler does without.
pub fn rules_behind(
    placed: &Placed,
    kernel: &Kernel,
    rules: &RuleSet,
    term: &Extracted,
) -> Vec<String> {
    let mut graph = super::start(placed, kernel).with_explanations_enabled();
    // A statement with a term for it has passed this before.
    let roots = roots(&mut graph, placed, kernel).unwrap_or_default();
    let starts: Vec<RecExpr<Node>> = roots.iter().map(|r| graph.id_to_expr(*r)).collect();
    let mut graph = saturate(graph, rules).egraph;
    let mut names: Vec<String> = Vec::new();
    for (start, root) in starts.iter().zip(&term.roots) {
        let end = expression(&mut graph, term, *root);
        let mut explanation = graph.explain_equivalence(start, &end);
        for line in explanation.get_flat_strings() {
            collect(&line, &mut names);
        }
    }
    names
}

/// Rule names in a line of an explanation.
fn collect(line: &str, names: &mut Vec<String>) {
    for (marker, _) in line.match_indices("(Rewrite") {
        let rest = &line[marker + "(Rewrite=> ".len()..];
        let name: String = rest
            .chars()
            .take_while(|c| !c.is_whitespace() && *c != ')')
            .collect();
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
}

/// A term as an expression of the e-graph's language.
fn expression(graph: &mut Graph, term: &Extracted, root: usize) -> RecExpr<Node> {
    let mut expression = RecExpr::default();
    let mut at: Vec<Option<Id>> = vec![None; term.nodes.len()];
    let mut needed = vec![false; term.nodes.len()];
    needed[root] = true;
    for node in (0..=root).rev() {
        if needed[node] {
            term.nodes[node]
                .children
                .iter()
                .for_each(|c| needed[*c] = true);
        }
    }
    for node in (0..=root).filter(|n| needed[*n]) {
        let picked = &term.nodes[node];
        let mut children: Vec<Id> = picked
            .data
            .iter()
            .map(|leaf| expression.add(leaf.clone()))
            .collect();
        children.extend(picked.children.iter().filter_map(|c| at[*c]));
        at[node] = Some(expression.add(Node::Op(picked.op, children)));
    }
    graph.add_expr(&expression);
    expression
}
