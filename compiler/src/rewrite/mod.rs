//! The rewriter: a placed statement into the cheapest equal term on the target.
//!
//! `lang.rs` is the language of the e-graph, `analysis.rs` what each class knows, `canon.rs` the form in which a term
//! enters, `rules/` the rewrites as data (`rule.rs` runs them), `cost.rs` and `extract.rs` the choice.

pub mod analysis;
pub mod apart;
pub mod canon;
mod changed;
pub mod cost;
pub mod digits;
pub mod draw;
pub mod extract;
pub mod facts;
mod integers;
mod known;
pub mod lang;
mod neighbours;
mod outline;
pub mod print;
pub mod proof;
mod rounded;
pub mod rule;
pub mod rules;
mod scale;
pub mod tabulate;
pub mod word;

use crate::format::Element;
use crate::schedule::index::TableAxis;
use crate::schedule::place::Placed;
use crate::schedule::term::{LoadId, Storage, Terms};
use crate::spec::kernel::{Kernel, Tables};
use crate::target::Target;
use analysis::Graph;
use changed::{Saturated, saturate};
use cost::{CostVector, Prices};
use egg::Rewrite;
use extract::{Extracted, Operations, extract};
use facts::Facts;
use known::Known;
use lang::{Node, Op};
use outline::Outline;
use rule::{Rule, RuleError};
use std::collections::BTreeMap;
use std::sync::Arc;
use tabulate::{CODE, CodeRule};
use thiserror::Error;

/// Nodes that an e-graph may have; see the budget in the design.
pub const NODES: usize = 8_000;
/// Rounds of rewriting.
pub const ROUNDS: usize = 40;

/// Why a statement could not be rewritten.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RewriteError {
    /// A rule is not well formed.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// No term of operations that the target has.
    #[error("no lowering on target `{target}` for {what}")]
    NoLowering {
        /// The target's name.
        target: String,
        /// What was to be lowered.
        what: String,
    },
    /// No lowering that was considered has a description that was asked for.
    #[error(
        "none of the lowerings considered on target `{target}` has `{text}` in its description"
    )]
    NotConsidered {
        /// The target's name.
        target: String,
        /// What was asked for.
        text: String,
    },
    /// The e-graph reached its limit before there was a term of operations that the target has.
    #[error(
        "a statement is too large: its e-graph has {nodes} nodes, at most {NODES} are allowed, and there is no lowering on target \
         `{target}` yet; make it several statements (`let`)"
    )]
    TooLarge {
        /// The target's name.
        target: String,
        /// Nodes of the e-graph.
        nodes: usize,
    },
    /// Integers that may be too large for exact arithmetic.
    #[error(
        "the integers of `{name}` may reach {largest:.3e} on the way, more than 32 bits hold: bind the dimensions that are \
         summed over, read narrower integers, or write a real result"
    )]
    Integers {
        /// The result.
        name: String,
        /// What they may reach.
        largest: f64,
    },
}

/// A compiled list of rules, with what they made of statements before.
pub struct RuleSet {
    rules: Vec<Rewrite<Node, Facts>>,
    known: Known,
}

impl RuleSet {
    /// All rules of the compiler.
    pub fn standard() -> Result<RuleSet, RuleError> {
        RuleSet::of(&rules::all(), &CODE)
    }
    /// A list of rules, and of those that are code.
    pub fn of(rules: &[Rule], code: &[CodeRule]) -> Result<RuleSet, RuleError> {
        let data = rules.iter().map(Rule::compile);
        let compiled = data.chain(code.iter().map(|c| c.compile()));
        let compiled = compiled.collect::<Result<Vec<_>, _>>()?;
        Ok(RuleSet {
            rules: compiled,
            known: Known::default(),
        })
    }
    /// Names of the rules, those that are code too.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|r| r.name.as_str())
    }
    /// Forgets what they made of statements: what is rewritten next takes as long as the first time.
    pub fn forget(&self) {
        self.known.clear();
    }
}

/// A lowering of a placed statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Lowering {
    /// In words, from the operations it uses.
    pub name: String,
    /// The term.
    pub term: Extracted,
    /// Whether it looks sums up in tables that are rounded to bytes: then results have the bound of
    /// [`Tables::Int8`].
    pub rounded: bool,
}

/// What rewriting a placed statement gave.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// Lowerings, all from one e-graph. The cheapest are first where loops go round often; which is the cheapest for a statement,
    /// [`Rewritten::best`] says.
    pub lowerings: Arc<[Lowering]>,
    /// Facts that the terms refer to (axes, loads, tables).
    pub facts: Facts,
    /// Whether a load is of weights, by load.
    pub weights: Vec<bool>,
    /// Nodes of the e-graph at the end.
    pub nodes: usize,
    /// Rounds that it took.
    pub rounds: usize,
    /// Whether it was saturated (or a limit was reached).
    pub saturated: bool,
    /// How many times each rule made something new, by name.
    pub applied: Arc<BTreeMap<String, usize>>,
}

impl Rewritten {
    /// The same with the facts of a statement that has the outline.
    pub fn of(&self, placed: &Placed) -> Rewritten {
        let mut facts = Facts {
            axes: placed.axes.clone(),
            terms: placed.terms.clone(),
            call_loads: self.facts.call_loads.clone(),
            rounding: self.facts.rounding,
            ..Facts::default()
        };
        facts.take_made(&self.facts);
        Rewritten {
            facts,
            ..self.clone()
        }
    }

    /// The cheapest lowering for a statement that has the outline.
    pub fn best(&self, placed: &Placed, target: &Target) -> Option<&Lowering> {
        let mut terms = placed.terms.clone();
        self.facts.put_made(&mut terms);
        let prices = Prices::new(target, &terms, &placed.axes);
        let cost = |l: &Lowering| cost::total(&prices, &l.term, &self.weights);
        let costs = self.lowerings.iter().map(|l| (l, cost(l)));
        let first = |a: &(&Lowering, CostVector), b: &(&Lowering, CostVector)| {
            let ties = || a.0.term.hash.cmp(&b.0.term.hash);
            a.1.order(&b.1).then_with(ties)
        };
        costs.min_by(first).map(|(lowering, _)| lowering)
    }
}

/// Whether an element's value comes from its code by bit arithmetic.
pub fn is_arithmetic(element: &Element) -> bool {
    match element {
        Element::Float(f) => f.bias - 127 < 0 || f.exp == 8,
        Element::Int { .. } | Element::UInt { .. } | Element::Codebook(_) => false,
    }
}

/// Lowerings that are told apart: what is left when these operations are not allowed.
const BANS: &[&[Op]] = &[
    &[],
    &[Op::VDot4, Op::VDot4S],
    &[Op::VDot4, Op::VDot4S, Op::VMulPairs8],
    &[
        Op::VDot4,
        Op::VDot4S,
        Op::VMulPairs8,
        Op::VMulPairs16,
        Op::VAddPairs16,
    ],
    &[Op::VPick],
    &[Op::VLookup8],
    &[Op::VLookup32],
    &[Op::VLookup8, Op::VLookup32],
    &[Op::VMagic],
    &[Op::VMagic, Op::VLookup32],
    &[Op::VMagic, Op::VLookup8, Op::VLookup32],
    &[
        Op::VDot4,
        Op::VDot4S,
        Op::VMulPairs8,
        Op::VMulPairs16,
        Op::VAddPairs16,
        Op::VIMul,
    ],
    &[
        Op::VDot4,
        Op::VDot4S,
        Op::VMulPairs8,
        Op::VMulPairs16,
        Op::VAddPairs16,
        Op::VIMul,
        Op::VLookup32,
    ],
    &[Op::VStage],
    &[Op::VPanel],
    &[Op::VPanel, Op::VDot4, Op::VDot4S],
];

/// Weightings of the units under which terms are extracted.
const WEIGHTINGS: &[extract::Weights] = &[
    [1.0, 2.0, 2.0, 2.0, 4.0, 1.0, 2.0],
    [1.0, 1.0, 4.0, 1.0, 1.0, 1.0, 1.0],
    [2.0, 4.0, 1.0, 1.0, 1.0, 2.0, 2.0],
];

/// Rewrites a placed statement and returns its lowerings on the target: what the rules made of one with the same outline before,
/// if they did. The facts are those of the outline, see [`Rewritten::of`].
pub fn rewrite(
    placed: &Placed,
    kernel: &Kernel,
    target: &Target,
    rules: &RuleSet,
) -> Result<Arc<Rewritten>, RewriteError> {
    let outline = Outline::of(placed, kernel);
    if let Some(known) = rules.known.rewritten(&outline, target) {
        return Ok(known);
    }
    let rewritten = Arc::new(rewrite_outline(&outline, kernel, target, rules)?);
    rules.known.note(outline, target, &rewritten);
    Ok(rewritten)
}

fn rewrite_outline(
    outline: &Outline,
    kernel: &Kernel,
    target: &Target,
    rules: &RuleSet,
) -> Result<Rewritten, RewriteError> {
    let mut graph = Graph::new(outline.facts());
    let forms = forms(&mut graph, outline, kernel)?;
    let Saturated {
        graph,
        rounds,
        applied,
        complete: saturated,
    } = saturate(graph, rules);
    let nodes = graph.total_number_of_nodes();
    let lowerings = lowerings(&graph, &forms, target);
    if lowerings.is_empty() {
        let target = target.name.clone();
        return Err(match saturated {
            true => RewriteError::NoLowering {
                target,
                what: "a statement".into(),
            },
            false => RewriteError::TooLarge { target, nodes },
        });
    }
    let facts = graph.analysis;
    Ok(Rewritten {
        lowerings: lowerings.into(),
        weights: facts.weight_loads(),
        facts,
        nodes,
        rounds,
        saturated,
        applied: Arc::new(applied),
    })
}

/// The results of a statement in canonical form.
struct Form {
    roots: Vec<egg::Id>,
    /// Whether something in it was rounded.
    rounded: bool,
}

/// The forms of a statement: where codes were rounded to bytes the exact one stands beside, for targets and shapes on which
/// nothing is gained by it.
fn forms(graph: &mut Graph, outline: &Outline, kernel: &Kernel) -> Result<Vec<Form>, RewriteError> {
    let form = |graph: &mut Graph| -> Result<Form, RewriteError> {
        let roots = roots(graph, outline, kernel)?;
        let rounded = graph.analysis.rounded;
        Ok(Form { roots, rounded })
    };
    let mut forms = vec![form(graph)?];
    let mut axes = graph.analysis.axes.values();
    let joint = axes.any(|axis| axis.tables == TableAxis::Joint);
    if forms[0].rounded && !joint {
        let rounding = std::mem::replace(&mut graph.analysis.rounding, Tables::Exact);
        graph.analysis.rounded = false;
        forms.push(form(graph)?);
        graph.analysis.rounding = rounding;
        graph.analysis.rounded = true;
    }
    Ok(forms)
}

/// The terms of a saturated graph that are told apart, the cheapest first.
fn lowerings(graph: &Graph, forms: &[Form], target: &Target) -> Vec<Lowering> {
    let operations = Operations::of(graph);
    let facts = &graph.analysis;
    let prices = Prices::new(target, &facts.terms, &facts.axes);
    let weights = facts.weight_loads();
    let mut costs: Vec<(CostVector, Extracted, bool)> = Vec::new();
    for form in forms {
        let terms = told_apart(&operations, &form.roots, &prices);
        costs.extend(terms.into_iter().map(|term| {
            let cost = cost::total(&prices, &term, &weights);
            (cost, term, form.rounded)
        }));
    }
    costs.sort_by(|(a, x, _), (b, y, _)| a.order(b).then(x.hash.cmp(&y.hash)));
    let lowering = |(_, term, rounded): (CostVector, Extracted, bool)| Lowering {
        name: name(&term, &facts.terms, rounded),
        term,
        rounded,
    };
    costs.into_iter().map(lowering).collect()
}

/// The terms of a form that are told apart.
fn told_apart(
    operations: &Operations<'_>,
    roots: &[egg::Id],
    prices: &Prices<'_>,
) -> Vec<Extracted> {
    let mut terms: Vec<Extracted> = Vec::new();
    for weighting in WEIGHTINGS {
        // Terms found under this weighting, with what was banned then.
        let mut found: Vec<(&[Op], Extracted)> = Vec::new();
        for banned in BANS {
            let known = found.iter().any(|(before, term)| {
                before.iter().all(|op| banned.contains(op))
                    && term.nodes.iter().all(|n| !banned.contains(&n.op))
            });
            if known {
                continue;
            }
            let Some(term) = extract(operations, roots, prices, *weighting, banned) else {
                continue;
            };
            if terms.iter().all(|t| t.hash != term.hash) {
                terms.push(term.clone());
            }
            found.push((banned, term));
        }
    }
    terms
}

/// Inserts the results of a statement in canonical form, as vectors.
fn roots(
    graph: &mut Graph,
    outline: &Outline,
    kernel: &Kernel,
) -> Result<Vec<egg::Id>, RewriteError> {
    let mut roots = Vec::new();
    for root in &outline.roots {
        let value = canon::insert(graph, root.term);
        apart::tell(graph, root.term, value, &outline.kept);
        let name = &kernel.tensors[root.tensor].name;
        let ty = integers::result_type(graph, root.term, value, &root.element, name)?;
        let children = vec![
            graph.add(Node::Lanes(root.lanes)),
            graph.add(Node::Ty(ty)),
            value,
        ];
        roots.push(graph.add(Node::Op(Op::Vec, children)));
    }
    Ok(roots)
}

/// Whether some node of an operation depends on a load of a kind.
fn has_of(term: &Extracted, op: Op, kind: impl Fn(LoadId) -> bool) -> bool {
    let mut depends: Vec<bool> = Vec::new();
    for node in &term.nodes {
        let own = match (node.op, node.data.last()) {
            (Op::VLoad, Some(Node::Ref(load))) => kind(LoadId::from_u32(*load)),
            _ => node.children.iter().any(|c| depends[*c]),
        };
        if own && node.op == op {
            return true;
        }
        depends.push(own);
    }
    false
}

/// A lowering in words: how weights are decoded, and how products are summed.
fn name(term: &Extracted, terms: &Terms, rounded: bool) -> String {
    let read = |load: LoadId| !matches!(terms.loads[load].storage, Storage::Place { .. });
    let has = |op: Op| match op {
        // What tables hold at known places is a constant.
        Op::VFetch | Op::VTable => has_of(term, op, read),
        _ => term.nodes.iter().any(|n| n.op == op),
    };
    let mut parts: Vec<&str> = Vec::new();
    let decoders = [
        (Op::VLookup8, "table look-up to bytes"),
        (Op::VLookup32, "table look-up to f32"),
        (Op::VFetch, "values in memory"),
        (Op::VTable, "table in memory"),
        (Op::VDecode, "bit arithmetic to f32"),
        (Op::VSigned, "sign extension"),
        (Op::VBits, "unpack to bytes"),
    ];
    parts.extend(
        decoders
            .iter()
            .filter(|(op, _)| has(*op))
            .map(|(_, text)| *text),
    );
    if has(Op::VMulHigh) && !rounded {
        parts.push("digits by multiplication");
    }
    if has(Op::VMagic) {
        parts.push("magic-number conversion");
    }
    let joined = has(Op::VJoin);
    let products = [
        (
            Op::VPick,
            match (joined, rounded) {
                (true, _) => "look-up of sums in tables of two bytes",
                (false, true) => "look-up of rounded sums in tables of bytes",
                (false, false) => "look-up of sums in tables of bytes",
            },
        ),
        (Op::VCountOnes, "counts of bits"),
        (Op::VDot4, "dot product of four bytes"),
        (Op::VDot4S, "dot product of four signed bytes"),
        (Op::VMulPairs8, "byte products in pairs"),
        (Op::VMulPairs16, "16-bit products in pairs"),
        (Op::VIMul, "integer products"),
    ];
    let integer: Vec<&str> = products
        .iter()
        .filter(|(op, _)| has(*op))
        .map(|(_, text)| *text)
        .collect();
    if integer.is_empty() {
        parts.push(if has(Op::VSum) {
            "f32 multiply-add"
        } else {
            "f32"
        });
    }
    parts.extend(integer);
    if has(Op::VStage) {
        parts.push("staged sums");
    }
    if has(Op::VPanel) {
        parts.push("decoded panels");
    }
    parts.join(", ")
}
