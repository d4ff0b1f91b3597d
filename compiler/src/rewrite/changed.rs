//! Rewriting until nothing is new, searching only where something changed: a rule is tried on a class again when the class, or one that the rule's left side
//! can see from it, was made, merged or learned something since the last round.
//!
//! This is what Datalog calls semi-naive evaluation, on classes instead of tuples. It finds all that a whole search of every
//! round finds, because the right sides, conditions and computed variables of rules see the classes of their left sides and
//! nothing else; `tests` holds every rule to that.

use super::analysis::Graph;
use super::facts::Facts;
use super::lang::{Node, Op};
use super::{NODES, ROUNDS, RuleSet};
use egg::{ENodeOrVar, Id, Language, PatternAst, Rewrite, SearchMatches};
use std::collections::BTreeMap;

/// The distance of a class with no changed one below it within sight of any rule.
const FAR: usize = usize::MAX;

/// A graph to which nothing more can be added by rules, or which became too large.
pub(super) struct Saturated {
    pub(super) graph: Graph,
    /// Rounds of searching.
    pub(super) rounds: usize,
    /// How many times each rule made something new, by name.
    pub(super) applied: BTreeMap<String, usize>,
    /// Whether nothing is left to add.
    pub(super) complete: bool,
}

/// Rewrites until nothing is new or a limit is reached.
pub(super) fn saturate(mut graph: Graph, rules: &RuleSet) -> Saturated {
    let rules = &rules.rules;
    let depths: Vec<usize> = rules.iter().map(depth).collect();
    let mut seen = None;
    let (mut rounds, mut applied) = (0, BTreeMap::new());
    graph.rebuild();
    let complete = loop {
        if rounds == ROUNDS || graph.total_size() > NODES {
            break false;
        }
        rounds += 1;
        let before = (graph.total_size(), graph.number_of_classes());
        let found = search_all(&graph, rules, &depths, &mut seen);
        let mut new = 0;
        for (rule, matches) in rules.iter().zip(found) {
            let made = rule.apply(&mut graph, &matches).len();
            if made > 0 {
                *applied.entry(rule.name.to_string()).or_default() += made;
            }
            new += made;
            if graph.total_size() > NODES {
                break;
            }
        }
        graph.rebuild();
        let after = (graph.total_size(), graph.number_of_classes());
        // Rules whose conditions add nodes may do so without a change of their own.
        if new == 0 && before == after {
            break true;
        }
    };
    graph.analysis.changed.clear();
    Saturated {
        graph,
        rounds,
        applied,
        complete,
    }
}

/// What all rules match since the last search, if there was one: `seen` is how many of the graph's changes are older than it.
fn search_all<'a>(
    graph: &Graph,
    rules: &'a [Rewrite<Node, Facts>],
    depths: &[usize],
    seen: &mut Option<usize>,
) -> Vec<Vec<SearchMatches<'a, Node>>> {
    let sight = depths.iter().copied().max().unwrap_or(0);
    let changed = &graph.analysis.changed;
    let apart = match seen.replace(changed.len()) {
        Some(seen) => distances(graph, &changed[seen..], sight),
        None => vec![0; graph.nodes().len()],
    };
    let here = Here::of(graph);
    let rules = rules.iter().zip(depths);
    rules
        .map(|(rule, depth)| search(graph, &here, rule, |id| apart[usize::from(id)] <= *depth))
        .collect()
}

/// Where the operations of a graph are.
struct Here<'g> {
    /// The operations of each class, by number.
    of_class: Vec<Ops>,
    /// The nodes of each operation, with their classes.
    nodes: BTreeMap<Op, Vec<(Id, &'g [Id])>>,
}

/// A set of operations.
#[derive(Clone, Copy, Default)]
struct Ops(u128);

const _: () = assert!(Op::ALL.len() <= u128::BITS as usize);

impl Ops {
    fn with(self, op: Op) -> Ops {
        Ops(self.0 | 1 << op as u32)
    }

    fn has(self, op: Op) -> bool {
        self.0 >> op as u32 & 1 == 1
    }
}

impl<'g> Here<'g> {
    fn of(graph: &'g Graph) -> Here<'g> {
        let mut here = Here {
            of_class: vec![Ops::default(); graph.nodes().len()],
            nodes: BTreeMap::new(),
        };
        for class in graph.classes() {
            let ops = &mut here.of_class[usize::from(class.id)];
            for node in &class.nodes {
                if let Node::Op(op, operands) = node {
                    *ops = ops.with(*op);
                    let same = here.nodes.entry(*op).or_default();
                    same.push((class.id, operands));
                }
            }
        }
        here
    }

    /// Whether all operations of a pattern are in the graph: few rules are about all that a kernel computes.
    fn has_all(&self, pattern: &PatternAst<Node>) -> bool {
        pattern.iter().all(|node| match node {
            ENodeOrVar::ENode(Node::Op(op, _)) => self.nodes.contains_key(op),
            ENodeOrVar::ENode(_) | ENodeOrVar::Var(_) => true,
        })
    }

    /// Whether operands have the operations that a pattern wants of them.
    fn fit(&self, graph: &Graph, pattern: &PatternAst<Node>, wanted: &[Id], found: &[Id]) -> bool {
        let fits = |wanted: &Id, class: &Id| match &pattern[*wanted] {
            ENodeOrVar::Var(_) => true,
            ENodeOrVar::ENode(Node::Op(op, _)) => {
                self.of_class[usize::from(graph.find(*class))].has(*op)
            }
            ENodeOrVar::ENode(leaf) => graph[*class].iter().any(|n| n.matches(leaf)),
        };
        wanted.len() == found.len() && wanted.iter().zip(found).all(|(w, c)| fits(w, c))
    }

    /// Classes near a change in which a pattern may be: those with a node whose operands have the operations that it wants of
    /// them, a look at two levels, which spares most of the searches that find nothing. All that are near where there is no such
    /// pattern.
    fn candidates(
        &self,
        graph: &Graph,
        pattern: Option<&PatternAst<Node>>,
        near: impl Fn(Id) -> bool,
    ) -> Vec<Id> {
        let root = pattern.and_then(|p| Some((p, p.last()?)));
        let Some((pattern, ENodeOrVar::ENode(Node::Op(op, wanted)))) = root else {
            let classes = graph.classes().map(|class| class.id);
            return classes.filter(|id| near(*id)).collect();
        };
        let nodes = self.nodes.get(op).into_iter().flatten();
        let fit = nodes.filter(|(id, found)| near(*id) && self.fit(graph, pattern, wanted, found));
        let mut classes: Vec<Id> = fit.map(|(id, _)| *id).collect();
        // The nodes of a class lie beside each other.
        classes.dedup();
        classes
    }
}

/// How many steps below its root a rule sees.
fn depth(rule: &Rewrite<Node, Facts>) -> usize {
    // Rules that are code look at a class, and at the leaves of its nodes.
    rule.searcher.get_pattern_ast().map_or(1, depth_of)
}

fn depth_of(pattern: &PatternAst<Node>) -> usize {
    let mut depths: Vec<usize> = Vec::new();
    for node in pattern.iter() {
        let below = match node {
            ENodeOrVar::Var(_) => None,
            ENodeOrVar::ENode(node) => {
                let children = node.children().iter();
                children.map(|c| depths[usize::from(*c)] + 1).max()
            }
        };
        depths.push(below.unwrap_or(0));
    }
    depths.last().copied().unwrap_or(0)
}

/// How many steps each class is above the nearest changed one, by number; [`FAR`] if that is more than `sight`.
fn distances(graph: &Graph, changed: &[Id], sight: usize) -> Vec<usize> {
    let mut apart = vec![FAR; graph.nodes().len()];
    let mut front: Vec<Id> = changed.iter().map(|id| graph.find(*id)).collect();
    for distance in 0..=sight {
        front.retain(|id| {
            let here = &mut apart[usize::from(*id)];
            let first = *here == FAR;
            *here = distance.min(*here);
            first
        });
        let above = front.iter().flat_map(|id| graph[*id].parents());
        front = above.map(|id| graph.find(id)).collect();
    }
    apart
}

/// What a rule matches in classes near a change.
fn search<'a>(
    graph: &Graph,
    here: &Here<'_>,
    rule: &'a Rewrite<Node, Facts>,
    near: impl Fn(Id) -> bool,
) -> Vec<SearchMatches<'a, Node>> {
    let pattern = rule.searcher.get_pattern_ast();
    if pattern.is_some_and(|pattern| !here.has_all(pattern)) {
        return Vec::new();
    }
    let classes = here.candidates(graph, pattern, near);
    let on = |id: Id| (rule.searcher).search_eclass_with_limit(graph, id, usize::MAX);
    classes.into_iter().filter_map(on).collect()
}

#[cfg(test)]
mod tests {
    use super::saturate;
    use crate::rewrite::analysis::Graph;
    use crate::rewrite::outline::Outline;
    use crate::rewrite::{RuleSet, roots};
    use crate::schedule::normal::{Step, normalize};
    use crate::schedule::place::{Part, place};
    use crate::schedule::plan::{layouts_of, plans};
    use crate::spec::{bind, load};
    use crate::target::Target;
    use cranelift_entity::SecondaryMap;
    use egg::{Runner, SimpleScheduler};

    /// Integers, digits, a codebook, scales of few bits, and activations.
    const FORMATS: &str = "language 1;
        format whole = block i < 32 { d: f16; q[i]: int(4); value = d * q[i]; }
        format digits = block i < 160 { d: f16; q[i]: digit(3) packed 5 per 8; value = d * (q[i] - 1); }
        format levels = block i < 64 { d: f32; q[i]: codebook [-1, -0.7, -0.5, -0.4, -0.3, -0.2, -0.1, 0,
            0.08, 0.16, 0.25, 0.34, 0.44, 0.56, 0.72, 1]; value = d * q[i]; }
        format nested = block i < 256 { d: f16; sc[i / 16]: int(6); q[i]: int(3); value = d * sc[i / 16] * q[i]; }
        format bytes = block i < 32 { d: f32; q[i]: int(8); value = d * q[i]; }\n";
    const NAMES: [&str; 4] = ["whole", "digits", "levels", "nested"];

    fn text(format: &str) -> String {
        let kernel = |input: &str, tables: &str| {
            format!(
                "kernel with_{input}(weight w: {format}[N, K], input x: {input}[M, K]) -> output y: f32[M, N]{tables} {{
                    y[m, n] = sum(k) w[n, k] * x[m, k];
                }}\n"
            )
        };
        [
            FORMATS.into(),
            kernel("f32", ""),
            kernel("bytes", " tables int8"),
        ]
        .concat()
    }

    /// Rules that still make something new in any saturated graph of a text.
    fn missed(text: &str, target: &str) -> Vec<String> {
        let module = load("test.lowbit", text, &|_| None).expect("it is well formed");
        let target = Target::named(target).expect("there is such a target");
        let rules = RuleSet::standard().expect("the rules are well formed");
        let mut missed = Vec::new();
        for kernel in &module.kernels {
            let kernel = bind(kernel, &[("N", 96), ("K", 1920)]).expect("it has these dimensions");
            let normal = normalize(&kernel);
            let layouts = SecondaryMap::default();
            for step in &normal.steps {
                let Step::Compute(statement) = step else {
                    continue;
                };
                for plan in plans(&normal.kernel, statement, &layouts, &target) {
                    let chosen = layouts_of(&normal.kernel, statement, &plan, &layouts);
                    let placed = place(&normal.kernel, statement, &plan, &chosen, Part::MAIN, 1);
                    let placed = placed.expect("it has a place");
                    let outline = Outline::of(&placed, &normal.kernel);
                    let mut graph = Graph::new(outline.facts());
                    roots(&mut graph, &outline, &normal.kernel).expect("it fits");
                    let found = saturate(graph, &rules);
                    if !found.complete {
                        continue;
                    }
                    let whole = Runner::default()
                        .with_egraph(found.graph)
                        .with_scheduler(SimpleScheduler)
                        .with_iter_limit(1)
                        .run(&rules.rules);
                    let new = whole.iterations.iter().flat_map(|i| i.applied.keys());
                    missed.extend(new.map(|rule| format!("{rule} in {}", kernel.name)));
                }
            }
        }
        missed
    }

    #[test]
    fn a_whole_search_finds_nothing_more() {
        for format in NAMES {
            for target in ["x86-64", "x86-64-vnni", "aarch64-dotprod"] {
                let missed = missed(&text(format), target);
                assert!(missed.is_empty(), "{format} on {target}: {missed:?}");
            }
        }
    }
}
