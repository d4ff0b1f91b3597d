//! What a rule is: data with a name, two patterns, side conditions and computed variables. See `rules/README.md`.

mod bind;
mod when;

pub use bind::Bind;
pub use when::When;

use super::analysis::{Graph, data, reference};
use super::facts::Facts;
use super::lang::Node;
use crate::format::Element;
use crate::schedule::index::AxisSet;
use egg::{Applier, ENodeOrVar, Id, Pattern, PatternAst, Rewrite, Subst, Symbol, Var};
use std::collections::BTreeSet;
use std::str::FromStr;
use thiserror::Error;

/// A rewrite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Kebab-case, unique.
    pub name: &'static str,
    /// What it matches.
    pub left: &'static str,
    /// What it adds.
    pub right: &'static str,
    /// Conditions, all of which must be proved.
    pub when: &'static [When],
    /// Computed variables, in order.
    pub bind: &'static [Bind],
    /// Why it holds and what it is for.
    pub why: &'static str,
}

/// A rule that is not well formed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RuleError {
    /// A side is no pattern.
    #[error("rule `{0}`: {1}")]
    Pattern(String, String),
    /// A variable of the right side or of a condition is bound nowhere.
    #[error("rule `{0}`: `{1}` is not bound")]
    Unbound(String, String),
    /// The name of a variable has more than four letters.
    #[error("rule `{0}`: `{1}` has more than four letters")]
    LongName(String, String),
}

impl Rule {
    /// The rule for egg.
    pub fn compile(&self) -> Result<Rewrite<Node, Facts>, RuleError> {
        let pattern = |text: &str| {
            Pattern::<Node>::from_str(text)
                .map_err(|e| RuleError::Pattern(self.name.to_owned(), e.to_string()))
        };
        let (left, right) = (pattern(self.left)?, pattern(self.right)?);
        let mut bound: BTreeSet<String> = left.vars().iter().map(|v| v.to_string()).collect();
        for bind in self.bind {
            let (new, used) = bind.names();
            self.check(&bound, used)?;
            bound.extend(new.iter().map(|s| s.to_string()));
        }
        self.check(&bound, right.vars().iter().map(|v| v.to_string()))?;
        for when in self.when {
            self.check(&bound, when.names())?;
        }
        // All names that are used are bound.
        if let Some(name) = bound.into_iter().find(|name| name.len() > LONGEST) {
            return Err(RuleError::LongName(self.name.to_owned(), name));
        }
        let of_bound = |when: &When| {
            let mut names = when.names().into_iter();
            names.any(|name| self.bind.iter().any(|b| b.names().0.contains(&name)))
        };
        let (then, first) = self.when.iter().partition(|when| of_bound(when));
        let applier = Guarded {
            rule: *self,
            right: numbered(&right),
            first,
            then,
        };
        Rewrite::new(self.name, numbered(&left), applier)
            .map_err(|e| RuleError::Pattern(self.name.to_owned(), e))
    }

    fn check<S: ToString>(
        &self,
        bound: &BTreeSet<String>,
        used: impl IntoIterator<Item = S>,
    ) -> Result<(), RuleError> {
        match used
            .into_iter()
            .map(|s| s.to_string())
            .find(|u| !bound.contains(u))
        {
            Some(name) => Err(RuleError::Unbound(self.name.to_owned(), name)),
            None => Ok(()),
        }
    }
}

/// A pattern whose variables have the numbers of their names, by which conditions find them.
fn numbered(pattern: &Pattern<Node>) -> Pattern<Node> {
    let node = |node: &ENodeOrVar<Node>| match node {
        ENodeOrVar::ENode(node) => ENodeOrVar::ENode(node.clone()),
        ENodeOrVar::Var(named) => ENodeOrVar::Var(var(&named.to_string())),
    };
    let nodes: Vec<ENodeOrVar<Node>> = pattern.ast.iter().map(node).collect();
    Pattern::new(PatternAst::from(nodes))
}

fn element<'g>(graph: &'g Graph, subst: &Subst, name: &str) -> Option<&'g Element> {
    graph
        .analysis
        .terms
        .elements
        .get(reference(graph, get(subst, name))? as usize)
}

fn table_of(graph: &Graph, subst: &Subst, name: &str) -> Option<Vec<f64>> {
    let number = reference(graph, get(subst, name))?;
    graph.analysis.tables.get(number as usize).cloned()
}

/// Characters of a variable's name at most, the question mark included.
const LONGEST: usize = 5;

/// The variable with a name such as `?a`: its letters are its number, because names would be looked up in a table of all names
/// whenever a rule asks for one, which took a tenth of all rewriting.
fn var(name: &str) -> Var {
    let letters = name.trim_start_matches('?').bytes();
    Var::from_u32(letters.fold(0, |number, letter| number << 8 | u32::from(letter)))
}

/// The class of a variable; conditions and computed variables are checked to be bound when a rule is built.
fn get(subst: &Subst, name: &str) -> Id {
    subst[var(name)]
}

fn lanes(graph: &Graph, subst: &Subst, name: &str) -> Option<AxisSet> {
    match data(graph, get(subst, name)) {
        Some(Node::Lanes(set)) => Some(*set),
        _ => None,
    }
}

/// A right side behind its conditions.
struct Guarded {
    rule: Rule,
    right: Pattern<Node>,
    /// Conditions on what the left side has.
    first: Vec<When>,
    /// Conditions on what is bound then.
    then: Vec<When>,
}

impl Applier<Node, Facts> for Guarded {
    fn apply_one(
        &self,
        graph: &mut Graph,
        class: Id,
        subst: &Subst,
        ast: Option<&PatternAst<Node>>,
        name: Symbol,
    ) -> Vec<Id> {
        if !self.first.iter().all(|w| w.holds(graph, subst)) {
            return Vec::new();
        }
        let mut subst = subst.clone();
        let binds = self.rule.bind.iter();
        if !{ binds }.all(|bind| bind.apply(graph, &mut subst)) {
            return Vec::new();
        }
        if !self.then.iter().all(|w| w.holds(graph, &subst)) {
            return Vec::new();
        }
        self.right.apply_one(graph, class, &subst, ast, name)
    }
}
