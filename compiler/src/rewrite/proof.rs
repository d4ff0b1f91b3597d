//! The chain of rules from a statement to a term: egg's explanation of why the two are equal.

use super::analysis::Graph;
use super::extract::Extracted;
use super::facts::Facts;
use super::lang::Node;
use super::outline::Outline;
use super::{Form, RuleSet, forms, saturate};
use crate::schedule::place::Placed;
use crate::spec::kernel::Kernel;
use egg::{Id, RecExpr};

/// Names of the rules on the way from a placed statement to a term chosen for it, in order of first use. The e-graph is
/// built again with explanations, which the compiler does without; `facts` are those of the first. `None` if it does not
/// have the term again.
pub fn rules_behind(
    placed: &Placed,
    kernel: &Kernel,
    rules: &RuleSet,
    (facts, term): (&Facts, &Extracted),
) -> Option<Vec<String>> {
    let outline = Outline::of(placed, kernel);
    let mut graph = Graph::new(outline.facts_again(facts)).with_explanations_enabled();
    // A statement with a term for it has passed this before.
    let forms = forms(&mut graph, &outline, kernel).unwrap_or_default();
    let starts = |form: &Form| -> Vec<RecExpr<Node>> {
        let roots = form.roots.iter();
        roots.map(|r| graph.id_to_expr(*r)).collect()
    };
    let starts: Vec<Vec<RecExpr<Node>>> = forms.iter().map(starts).collect();
    // The term is there from the start: of equal nodes a class keeps one, which need not be that of the first graph.
    let ends: Vec<RecExpr<Node>> = term.roots.iter().map(|r| expression(term, *r)).collect();
    for end in &ends {
        graph.add_expr(end);
    }
    let mut graph = saturate(graph, rules).graph;
    let equal = |(start, end): (&RecExpr<Node>, &RecExpr<Node>)| {
        let [from, to] = [start, end].map(|e| graph.lookup_expr(e));
        from.is_some() && from == to
    };
    // The form that the term is one of.
    let mut forms = starts.iter();
    let starts = forms.find(|starts| starts.iter().zip(&ends).all(equal))?;
    let mut names: Vec<String> = Vec::new();
    for (start, end) in starts.iter().zip(&ends) {
        let mut explanation = graph.explain_equivalence(start, end);
        for line in explanation.get_flat_strings() {
            collect(&line, &mut names);
        }
    }
    Some(names)
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
fn expression(term: &Extracted, root: usize) -> RecExpr<Node> {
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
    expression
}
