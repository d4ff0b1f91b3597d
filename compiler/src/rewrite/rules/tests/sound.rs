//! Whether a rule is sound, as far as random instances show: the left side is put in a graph, the rule runs once, and
//! every node of every class must then be worth what the class is worth.

use super::instance::{Instance, Random, draw};
use super::lanes::{Lane, Vector};
use super::machine::{Env, Machine, mix};
use crate::rewrite::analysis::{Fact, Graph};
use crate::rewrite::facts::Facts;
use crate::rewrite::lang::Node;
use crate::rewrite::rule::Rule;
use egg::{Id, Language, Pattern, Rewrite, Runner, SimpleScheduler};
use std::str::FromStr;

/// Assignments of memory and of extents under which an instance is evaluated.
const ASSIGNMENTS: u64 = 3;

/// What instances showed.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing that speaks against the rule.
    Sound,
    /// A difference of its sides.
    Differs(String),
}

/// What became of a rule.
#[derive(Debug)]
pub(super) struct Trial {
    /// Instances in which it made something new that could be compared.
    pub(super) fired: usize,
    /// What they showed.
    pub(super) outcome: Outcome,
}

/// Runs a rule on so many instances, or until it has fired often enough or differed.
pub(super) fn trial(rule: &Rule, instances: u64, enough: usize) -> Trial {
    let compiled = rule.compile().expect("the rule compiles");
    trial_of(&compiled, rule.left, instances, enough)
}

/// The same for a compiled rule, on instances of a pattern.
pub(super) fn trial_of(
    compiled: &Rewrite<Node, Facts>,
    left: &str,
    instances: u64,
    enough: usize,
) -> Trial {
    let left = Pattern::<Node>::from_str(left).expect("a pattern");
    let mut fired = 0;
    for seed in 0..instances {
        if fired >= enough {
            break;
        }
        let mut random = Random::new(seed);
        let instance = draw(&left.ast, &mut random);
        let Some((graph, known)) = run(&instance, compiled) else {
            continue;
        };
        match difference(&graph, &known, &instance, seed) {
            Ok(compared) => fired += usize::from(compared),
            Err(why) => {
                let outcome = Outcome::Differs(format!("instance {seed}: {why}"));
                return Trial { fired, outcome };
            }
        }
    }
    let outcome = Outcome::Sound;
    Trial { fired, outcome }
}

/// The graph of an instance after one round of the rule, if that made something new; and the nodes that went in.
fn run(instance: &Instance, rule: &Rewrite<Node, Facts>) -> Option<(Graph, Vec<(Id, Node)>)> {
    let mut graph = Graph::new(instance.facts.clone());
    let mut known: Vec<(Id, Node)> = Vec::new();
    for node in &instance.nodes {
        let node = node.clone().map_children(|c| known[usize::from(c)].0);
        known.push((graph.add(node.clone()), node));
    }
    graph.rebuild();
    let runner = Runner::default()
        .with_egraph(graph)
        .with_scheduler(SimpleScheduler)
        .with_iter_limit(1)
        .run(std::iter::once(rule));
    let fired = runner.iterations.iter().any(|i| !i.applied.is_empty());
    fired.then_some((runner.egraph, known))
}

/// Whether two nodes of a class could be compared, or what in the graph is not so.
fn difference(
    graph: &Graph,
    known: &[(Id, Node)],
    instance: &Instance,
    seed: u64,
) -> Result<bool, String> {
    let mut compared = false;
    for salt in 0..ASSIGNMENTS {
        let seed = mix(seed, salt + 1000);
        let mut extents = instance.extents.clone();
        let mut env = Env::EMPTY;
        for (axis, facts) in graph.analysis.axes.iter() {
            let at = axis.as_u32() as usize;
            if facts.to_const().is_none() {
                extents[at] = mix(seed, at as u64) % 4;
            }
            env = env.with(axis, mix(seed, at as u64 + 50) % extents[at].max(1));
        }
        let machine = Machine::new(graph, known, extents, seed);
        let kept = graph
            .classes()
            .flat_map(|class| class.nodes.iter().map(|node| (class.id, node)));
        let given = known.iter().map(|(id, node)| (graph.find(*id), node));
        for (id, node) in kept.chain(given) {
            compared |= right(&machine, id, node, env)?;
        }
    }
    Ok(compared)
}

/// Whether a node of a class could be compared with what the class is worth, or what is wrong about it.
fn right(machine: &Machine<'_>, id: Id, node: &Node, env: Env) -> Result<bool, String> {
    let chosen = &machine.chosen[&id];
    let differ = |value: String, other: String| {
        let (first, second) = (show(machine, chosen), show(machine, node));
        Err(format!("{first} is {value}, {second} is {other}"))
    };
    match &machine.graph[id].data {
        Fact::Data(_) if chosen == node => Ok(false),
        Fact::Data(_) => Err(format!("{chosen} and {node} are one class")),
        Fact::Real(facts) => {
            let Ok(value) = machine.real(id, env) else {
                return Ok(false);
            };
            let v = value.float();
            // Intervals are of f64, which does not hold larger integers exactly.
            let slack = match v.abs() < 2f64.powi(53) {
                true => value.slack(),
                false => value.slack().max(v.abs() * 1e-12),
            };
            let fraction = (v - v.round()).abs() > slack;
            if v < facts.low - slack || v > facts.high + slack || (facts.integer && fraction) {
                let class = show(machine, chosen);
                return Err(format!("{class} is {value:?}, outside of {facts:?}"));
            }
            match machine.real_node(node, env) {
                Ok(other) if other.same(value) => Ok(chosen != node),
                other => differ(format!("{value:?}"), format!("{other:?}")),
            }
        }
        Fact::Vector { lanes, ty } => {
            let Ok(value) = machine.vector(id, env) else {
                return Ok(false);
            };
            let shaped = |v: &Vector| v.set == *lanes && v.ty == *ty;
            let equal = |other: &Vector| {
                let mut pairs = value.lanes.iter().zip(&other.lanes);
                let all = pairs.all(|(a, b)| same(*a, *b));
                all && value.lanes.len() == other.lanes.len()
            };
            match machine.vector_node(node, env) {
                Ok(other) if shaped(&value) && shaped(&other) && equal(&other) => {
                    Ok(chosen != node)
                }
                other => differ(format!("{value:?}"), format!("{other:?}")),
            }
        }
    }
}

/// Whether a lane holds what it should, without anything having wrapped that did not have to.
fn same(wanted: Lane, found: Lane) -> bool {
    wanted.value.same(found.value) && (wanted.wrapped || !found.wrapped)
}

/// A node as a term.
fn show(machine: &Machine<'_>, node: &Node) -> String {
    let parts = node.children().iter().map(|c| {
        let chosen = &machine.chosen[&machine.graph.find(*c)];
        show(machine, chosen)
    });
    let parts: Vec<String> = parts.collect();
    match parts.is_empty() {
        true => node.to_string(),
        false => format!("({node} {})", parts.join(" ")),
    }
}
