//! A picture of an e-graph: its classes with their nodes, and which of them are the extracted term. As text for `dot`.

use super::analysis::{Fact, Graph};
use super::extract::Extracted;
use super::facts::Facts;
use super::lang::{Node, Op};
use super::outline::Outline;
use super::print::leaf;
use super::{RuleSet, forms, saturate};
use crate::schedule::place::Placed;
use crate::spec::kernel::Kernel;
use egg::Id;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

/// What can be reached from the results in an e-graph, numbered from the results down.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// The classes; those that are data (lanes, types, numbers of tables) stand in the words of their users instead.
    pub classes: Vec<Class>,
    /// The classes of the results.
    pub roots: Vec<usize>,
}

/// Equal terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// The type with its lanes, or `real`.
    pub label: String,
    /// Its operations.
    pub nodes: Vec<Drawn>,
}

/// An operation on classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// Its name and data.
    pub label: String,
    /// The classes that it works on.
    pub children: Vec<usize>,
    /// Whether it is in the extracted term.
    pub chosen: bool,
}

impl Class {
    /// Whether the extracted term has a node in it.
    pub fn is_chosen(&self) -> bool {
        self.nodes.iter().any(|n| n.chosen)
    }
}

/// The e-graph of a placed statement, built again, with a term marked that was extracted from it.
/// `facts` are those of the first one.
pub fn picture(
    placed: &Placed,
    kernel: &Kernel,
    rules: &RuleSet,
    (facts, term): (&Facts, &Extracted),
) -> Picture {
    let outline = Outline::of(placed, kernel);
    let mut graph = Graph::new(outline.facts_again(facts));
    // A statement with a term for it has passed this before.
    let forms = forms(&mut graph, &outline, kernel).unwrap_or_default();
    let roots: Vec<Id> = forms.into_iter().flat_map(|form| form.roots).collect();
    let graph = saturate(graph, rules).graph;
    let marked = marked(&graph, term);
    let mut numbers: BTreeMap<Id, usize> = BTreeMap::new();
    let mut order = Vec::new();
    for root in &roots {
        number(&graph, *root, &mut numbers, &mut order);
    }
    // `order` grows while it is read: classes are numbered breadth first.
    let mut at = 0;
    while let Some(class) = order.get(at).copied() {
        for node in &graph[class].nodes {
            for child in operands(&graph, node) {
                number(&graph, child, &mut numbers, &mut order);
            }
        }
        at += 1;
    }
    let classes = order.iter().map(|class| Class {
        label: label(&graph, *class),
        nodes: graph[*class]
            .nodes
            .iter()
            .map(|node| Drawn {
                label: words(&graph, node),
                children: operands(&graph, node)
                    .filter_map(|c| numbers.get(&graph.find(c)).copied())
                    .collect(),
                chosen: marked.contains(&(*class, canonical(&graph, node))),
            })
            .collect(),
    });
    Picture {
        classes: classes.collect(),
        roots: roots
            .iter()
            .filter_map(|r| numbers.get(&graph.find(*r)).copied())
            .collect(),
    }
}

fn number(graph: &Graph, class: Id, numbers: &mut BTreeMap<Id, usize>, order: &mut Vec<Id>) {
    let class = graph.find(class);
    numbers.entry(class).or_insert_with(|| {
        order.push(class);
        order.len() - 1
    });
}

/// Operands that are no data.
fn operands<'a>(graph: &'a Graph, node: &'a Node) -> impl Iterator<Item = Id> + 'a {
    let children: &[Id] = match node {
        Node::Op(_, children) => children,
        _ => &[],
    };
    let is_data = |id: &Id| matches!(graph[*id].data, Fact::Data(_));
    children.iter().copied().filter(move |id| !is_data(id))
}

fn canonical(graph: &Graph, node: &Node) -> Node {
    match node {
        Node::Op(op, children) => Node::Op(*op, children.iter().map(|c| graph.find(*c)).collect()),
        leaf => leaf.clone(),
    }
}

/// The nodes of a term in the graph, with their classes.
fn marked(graph: &Graph, term: &Extracted) -> BTreeSet<(Id, Node)> {
    let mut marked = BTreeSet::new();
    let mut classes: Vec<Option<Id>> = Vec::new();
    for picked in &term.nodes {
        let data = picked.data.iter().map(|leaf| graph.lookup(leaf.clone()));
        let vectors = picked.children.iter().map(|c| classes.get(*c).copied()?);
        let children: Option<Vec<Id>> = data.chain(vectors).collect();
        let node = children.map(|children| canonical(graph, &Node::Op(picked.op, children)));
        let class = node.clone().and_then(|node| graph.lookup(node));
        let class = class.map(|class| graph.find(class));
        if let (Some(class), Some(node)) = (class, node) {
            marked.insert((class, node));
        }
        classes.push(class);
    }
    marked
}

fn label(graph: &Graph, class: Id) -> String {
    let facts = &graph.analysis;
    match &graph[class].data {
        Fact::Vector { lanes, ty } => {
            let lanes: Vec<&str> = lanes.iter().map(|a| facts.axes[a].name.as_str()).collect();
            format!("{ty}[{}]", lanes.join(", "))
        }
        Fact::Real(_) => "real".to_owned(),
        Fact::Data(_) => "data".to_owned(),
    }
}

/// An operation with its data in words.
fn words(graph: &Graph, node: &Node) -> String {
    let facts = &graph.analysis;
    let Node::Op(op, children) = node else {
        return bare(facts, node);
    };
    let data = children.iter().filter_map(|c| match &graph[*c].data {
        Fact::Data(data) => leaf(facts, *op, data),
        Fact::Vector { .. } | Fact::Real(_) => None,
    });
    std::iter::once(op.name().to_owned())
        .chain(data)
        .collect::<Vec<String>>()
        .join(" ")
}

/// A leaf that is a class of its own.
fn bare(facts: &Facts, node: &Node) -> String {
    leaf(facts, Op::Vec, node).unwrap_or_default()
}

/// Text for `dot`: a cluster for each class, a record for each node, the extracted term filled.
impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "digraph lowering {{")?;
        writeln!(f, "  compound=true; fontname=\"monospace\";")?;
        writeln!(f, "  node [shape=record, fontname=\"monospace\"];")?;
        for (at, class) in self.classes.iter().enumerate() {
            let mark = match class.is_chosen() {
                true => "color=\"#2563eb\"; penwidth=2",
                false => "color=\"#999999\"",
            };
            let label = format!("c{at}: {}", class.label);
            writeln!(
                f,
                "  subgraph cluster_{at} {{ label=\"{}\"; {mark};",
                escaped(&label)
            )?;
            for (which, node) in class.nodes.iter().enumerate() {
                let mark = match node.chosen {
                    true => ", style=filled, fillcolor=\"#bfdbfe\"",
                    false => "",
                };
                let mut record = escaped(&node.label);
                for child in 0..node.children.len() {
                    let _ = write!(record, "|<o{child}>");
                }
                writeln!(f, "    n{at}_{which} [label=\"{record}\"{mark}];")?;
            }
            writeln!(f, "  }}")?;
        }
        for (at, class) in self.classes.iter().enumerate() {
            for (which, node) in class.nodes.iter().enumerate() {
                for (operand, child) in node.children.iter().enumerate() {
                    let mark = match node.chosen {
                        true => ", color=\"#2563eb\", penwidth=2",
                        false => ", color=\"#999999\"",
                    };
                    writeln!(
                        f,
                        "  n{at}_{which}:o{operand} -> n{child}_{} [lhead=cluster_{child}{mark}];",
                        self.entry(*child)
                    )?;
                }
            }
        }
        writeln!(f, "}}")
    }
}

impl Picture {
    /// The node of a class that edges lead to: the chosen one, or the first.
    fn entry(&self, class: usize) -> usize {
        let nodes = self.classes.get(class).map(|c| c.nodes.as_slice());
        let chosen = nodes.and_then(|n| n.iter().position(|n| n.chosen));
        chosen.unwrap_or(0)
    }
}

/// Text in a label of `dot`, also inside of a record.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        if "\\\"{}|<>".contains(letter) {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Class, Drawn, Picture};

    #[test]
    fn dot_has_a_cluster_for_each_class_and_marks_the_term() {
        let node = |label: &str, children: &[usize], chosen| Drawn {
            label: label.into(),
            children: children.to_vec(),
            chosen,
        };
        let picture = Picture {
            classes: vec![
                Class {
                    label: "f32[n]".into(),
                    nodes: vec![node("v.a", &[1, 1], false), node("v.b <1>", &[1], true)],
                },
                Class {
                    label: "i8[]".into(),
                    nodes: vec![node("v.load", &[], true)],
                },
            ],
            roots: vec![0],
        };
        let wanted = "digraph lowering {
  compound=true; fontname=\"monospace\";
  node [shape=record, fontname=\"monospace\"];
  subgraph cluster_0 { label=\"c0: f32[n]\"; color=\"#2563eb\"; penwidth=2;
    n0_0 [label=\"v.a|<o0>|<o1>\"];
    n0_1 [label=\"v.b \\<1\\>|<o0>\", style=filled, fillcolor=\"#bfdbfe\"];
  }
  subgraph cluster_1 { label=\"c1: i8[]\"; color=\"#2563eb\"; penwidth=2;
    n1_0 [label=\"v.load\", style=filled, fillcolor=\"#bfdbfe\"];
  }
  n0_0:o0 -> n1_0 [lhead=cluster_1, color=\"#999999\"];
  n0_0:o1 -> n1_0 [lhead=cluster_1, color=\"#999999\"];
  n0_1:o0 -> n1_0 [lhead=cluster_1, color=\"#2563eb\", penwidth=2];
}
";
        assert_eq!(picture.to_string(), wanted);
    }
}
