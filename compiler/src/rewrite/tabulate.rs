//! Tabulation: what depends on weights through one small code only is a look-up in a table of its values.
//!
//! These two rules are code and no patterns, because what they match is a fact of the analysis and not a shape. A term that
//! is known but for its code is a table of constants. One that also depends on data of the call is a table of terms: `at`
//! puts the number of an entry in place of the code, and the rules of `rules/entries.rs` bring it to where the code is read.

use super::analysis::{Fact, Graph, real};
use super::facts::Facts;
use super::lang::{Node, Op};
use super::rule::RuleError;
use super::word::Word;
use crate::schedule::index::{AxisId, TableAxis};
use crate::schedule::layout::JOINT_BITS;
use egg::{Applier, Id, PatternAst, Rewrite, SearchMatches, Searcher, Subst, Symbol, Var};

/// A rule that is code.
#[derive(Clone, Copy, Debug)]
pub enum CodeRule {
    /// [`Tabulate`].
    Tabulate,
    /// [`TabulateJoint`].
    TabulateJoint,
}

/// All rules that are code.
pub const CODE: [CodeRule; 2] = [CodeRule::Tabulate, CodeRule::TabulateJoint];

impl CodeRule {
    /// Kebab-case, unique among all rules.
    pub fn name(self) -> &'static str {
        match self {
            CodeRule::Tabulate => "tabulate",
            CodeRule::TabulateJoint => "tabulate-joint",
        }
    }

    /// Why it is no pattern.
    pub fn why(self) -> &'static str {
        match self {
            CodeRule::Tabulate => {
                "what it matches is a fact: the values for each code, whatever the term"
            }
            CodeRule::TabulateJoint => {
                "what it matches is a fact: the bits that the term reads, whatever the term"
            }
        }
    }

    /// The rule for egg.
    ///
    /// # Errors
    /// [`RuleError::Pattern`] if egg refuses it.
    pub fn compile(self) -> Result<Rewrite<Node, Facts>, RuleError> {
        let rule = match self {
            CodeRule::Tabulate => Rewrite::new(self.name(), Tabulate, AddLookup),
            CodeRule::TabulateJoint => Rewrite::new(self.name(), TabulateJoint, AddPick),
        };
        rule.map_err(|e| RuleError::Pattern(self.name().to_owned(), e))
    }
}

fn one_match(class: Id) -> SearchMatches<'static, Node> {
    SearchMatches {
        eclass: class,
        substs: vec![Subst::default()],
        ast: None,
    }
}

/// A class that depends on rows through one small code only, and on nothing of the call, is a look-up in the table of its
/// values.
pub struct Tabulate;

impl Searcher<Node, Facts> for Tabulate {
    fn search_eclass_with_limit(
        &self,
        graph: &Graph,
        class: Id,
        _: usize,
    ) -> Option<SearchMatches<'_, Node>> {
        let Fact::Real(real) = &graph[class].data else {
            return None;
        };
        let (code, _) = real.table.as_ref()?;
        (graph.find(*code) != class && real.constant.is_none()).then(|| one_match(class))
    }

    fn vars(&self) -> Vec<Var> {
        Vec::new()
    }
}

/// The right side of [`Tabulate`].
pub struct AddLookup;

impl Applier<Node, Facts> for AddLookup {
    fn apply_one(
        &self,
        graph: &mut Graph,
        class: Id,
        _: &Subst,
        _: Option<&PatternAst<Node>>,
        name: Symbol,
    ) -> Vec<Id> {
        let Some((code, entries)) = real(graph, class).and_then(|r| r.table.clone()) else {
            return Vec::new();
        };
        let number = graph.analysis.table(entries);
        let table = graph.add(Node::Ref(number));
        let lookup = graph.add(Node::Op(Op::Lookup, vec![table, code]));
        union(graph, class, lookup, name)
    }
}

/// A sum over a joint code, or what is rounded of one, depends on weights through that code only: it is a look-up in a table
/// over the joint codes, whose entries are terms.
pub struct TabulateJoint;

/// The axis of the entries of tables.
fn entries(graph: &Graph) -> Option<AxisId> {
    let mut axes = graph.analysis.axes.iter();
    let found = axes.find(|(_, axis)| axis.tables == TableAxis::Entries);
    found.map(|(id, _)| id)
}

/// Whether a class is made over neighbours: smaller terms are not worth a table.
fn over_neighbours(graph: &Graph, class: Id) -> bool {
    graph[class].nodes.iter().any(|node| match node {
        Node::Op(Op::Floor, _) => true,
        Node::Op(Op::Sum, children) => super::analysis::axis(graph, children[0])
            .is_some_and(|a| graph.analysis.axes[a].tables == TableAxis::Joint),
        _ => false,
    })
}

impl Searcher<Node, Facts> for TabulateJoint {
    fn search_eclass_with_limit(
        &self,
        graph: &Graph,
        class: Id,
        _: usize,
    ) -> Option<SearchMatches<'_, Node>> {
        entries(graph)?;
        let Fact::Real(real) = &graph[class].data else {
            return None;
        };
        let Word::Part(part) = &real.word else {
            return None;
        };
        let small = part.width <= u64::from(JOINT_BITS);
        (real.call && small && over_neighbours(graph, class)).then(|| one_match(class))
    }

    fn vars(&self) -> Vec<Var> {
        Vec::new()
    }
}

/// The right side of [`TabulateJoint`].
pub struct AddPick;

impl Applier<Node, Facts> for AddPick {
    fn apply_one(
        &self,
        graph: &mut Graph,
        class: Id,
        _: &Subst,
        _: Option<&PatternAst<Node>>,
        name: Symbol,
    ) -> Vec<Id> {
        let word = real(graph, class).map(|r| r.word.clone());
        let (Some(Word::Part(part)), Some(axis)) = (word, entries(graph)) else {
            return Vec::new();
        };
        let Some(field) = part.field() else {
            return Vec::new();
        };
        let field = graph.analysis.field(field);
        let [axis, field, load] =
            [Node::Axis(axis), Node::Ref(field), Node::Ref(part.load)].map(|leaf| graph.add(leaf));
        let word = graph.add(Node::Op(Op::Ld, vec![load]));
        let code = graph.add(Node::Op(Op::Bits, vec![field, word]));
        let entry = graph.add(Node::Op(Op::At, vec![axis, field, load, class]));
        let pick = graph.add(Node::Op(Op::Pick, vec![axis, entry, code]));
        union(graph, class, pick, name)
    }
}

fn union(graph: &mut Graph, class: Id, other: Id, name: Symbol) -> Vec<Id> {
    match graph.union_trusted(class, other, name) {
        true => vec![class],
        false => Vec::new(),
    }
}
