//! Text of an extracted term: one operation a line, operands before users, with lanes and type.

use super::cost::Mode;
use super::extract::{Extracted, Picked};
use super::facts::Facts;
use super::lang::{Node, Op};
use std::fmt;

/// A term with the facts that it refers to.
pub struct Shown<'a> {
    /// The term.
    pub term: &'a Extracted,
    /// The facts.
    pub facts: &'a Facts,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, node) in self.term.nodes.iter().enumerate() {
            let lanes: Vec<String> = node
                .lanes
                .iter()
                .map(|a| self.facts.axes[a].name.clone())
                .collect();
            let stage = match node.mode {
                Mode::Main => "",
                Mode::Staged => "  (staged)",
                Mode::Panel => "  (in a panel)",
            };
            let mut words: Vec<String> = self.data(node);
            words.extend(node.children.iter().map(|c| format!("%{c}")));
            writeln!(
                f,
                "  %{at}: {}[{}] = {} {}{stage}",
                node.ty,
                lanes.join(", "),
                node.op.name(),
                words.join(", ")
            )?;
        }
        let roots: Vec<String> = self.term.roots.iter().map(|r| format!("%{r}")).collect();
        writeln!(f, "  result {}", roots.join(", "))
    }
}

impl Shown<'_> {
    /// Data operands as words.
    fn data(&self, node: &Picked) -> Vec<String> {
        let leaves = node.data.iter();
        leaves
            .filter_map(|l| leaf(self.facts, node.op, l))
            .collect()
    }
}

/// A data operand of an operation as words; nothing of lanes and types, which are in the result's type already.
pub(super) fn leaf(facts: &Facts, op: Op, leaf: &Node) -> Option<String> {
    match (op, leaf) {
        (_, Node::Lanes(_) | Node::Ty(_)) => None,
        (_, Node::Axis(a)) => Some(facts.axes[*a].name.clone()),
        (Op::VLookup8 | Op::VLookup32, Node::Ref(r)) => {
            let entries: Vec<String> = facts.tables[*r as usize]
                .iter()
                .map(|e| e.to_string())
                .collect();
            Some(format!("[{}]", entries.join(" ")))
        }
        (Op::VLoad, Node::Ref(r)) => Some(format!("ld{r}")),
        (Op::VBits, Node::Ref(r)) => {
            let field = &facts.terms.fields[*r as usize];
            Some(match field.fixed_up() {
                Some(0) => format!("bits{}", field.width),
                Some(up) => format!("bits{}<<{up}", field.width),
                None => format!("bits{} in place", field.width),
            })
        }
        (_, Node::Ref(r)) => Some(format!("#{r}")),
        (_, Node::Num(n)) => Some(f64::from_bits(*n).to_string()),
        (_, Node::Op(..)) => None,
    }
}
