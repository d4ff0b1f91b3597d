//! In which type a result is computed. Integers that are stored as such stay integers where the intervals prove that 32 bits
//! hold them, become f32 where that is exact, and are refused otherwise: a result that is silently off is worse than none.

use super::RewriteError;
use super::analysis::{Graph, real};
use super::lang::Ty;
use crate::format::Element;
use crate::schedule::term::{Term, TermId, Terms};
use crate::spec::kernel::Func;

/// Up to here f32 holds every integer.
const EXACT: f64 = (1u32 << 24) as f64;

/// The type for a result: its term, its class, and what it is stored as.
pub(super) fn result_type(
    graph: &Graph,
    term: TermId,
    class: egg::Id,
    stored: &Element,
    name: &str,
) -> Result<Ty, RewriteError> {
    if !matches!(stored, Element::Int { .. } | Element::UInt { .. }) {
        return Ok(Ty::F32);
    }
    let terms = &graph.analysis.terms;
    let Some(largest) = magnitude(graph, term) else {
        return Ok(Ty::F32);
    };
    let (low, high) = Ty::I32.range();
    let fits = real(graph, class).is_some_and(|r| r.integer && r.low >= low && r.high <= high);
    match () {
        () if fits && is_ring(terms, term) => Ok(Ty::I32),
        () if largest <= EXACT => Ok(Ty::F32),
        () => Err(RewriteError::Integers {
            name: name.to_owned(),
            largest,
        }),
    }
}

/// The largest magnitude of a term and all that it is made of, if those are integers.
fn magnitude(graph: &Graph, term: TermId) -> Option<f64> {
    let facts = &graph.analysis;
    let of = |t: TermId| magnitude(graph, t);
    let all = |list: &[TermId]| list.iter().map(|t| of(*t)).collect::<Option<Vec<f64>>>();
    match &facts.terms.terms[term] {
        Term::Const(c) => (c.fract() == 0.0).then(|| c.abs()),
        Term::Scalar(_) => Some(f64::from(u32::MAX)),
        Term::Load(load) => {
            let (low, high) = facts.load_ty(load.as_u32()).range();
            (high.is_finite()).then(|| high.max(-low))
        }
        Term::Bits(field, _) => Some(facts.terms.fields[*field as usize].most(&facts.axes)),
        Term::Element(element, _) => {
            let element = &facts.terms.elements[*element as usize];
            let (low, high) = element.range();
            element.is_integer().then(|| high.abs().max(low.abs()))
        }
        Term::Add(list) => Some(all(list)?.iter().sum()),
        Term::Mul(list) => Some(all(list)?.iter().product()),
        Term::Min(a, b) | Term::Max(a, b) => Some(of(*a)?.max(of(*b)?)),
        Term::Func(Func::Abs | Func::Neg, a) => of(*a),
        Term::Select(_, [a, b, t, f]) => {
            let both = of(*a)?.max(of(*b)?);
            Some(both.max(of(*t)?).max(of(*f)?))
        }
        Term::Sum(axis, e) => {
            let most = facts.most(*axis).unwrap_or(u64::MAX);
            Some(of(*e)? * most as f64)
        }
        Term::MaxOver(_, e) => of(*e),
        Term::Unit(_) | Term::Div(..) | Term::Func(..) | Term::Strict(..) => None,
    }
}

/// Whether a term is made by sums and products alone, which vectors of integers have.
fn is_ring(terms: &Terms, term: TermId) -> bool {
    let all = |list: &[TermId]| list.iter().all(|t| is_ring(terms, *t));
    match &terms.terms[term] {
        Term::Const(_) | Term::Load(_) | Term::Bits(..) | Term::Element(..) => true,
        Term::Add(list) | Term::Mul(list) => all(list),
        Term::Sum(_, e) => is_ring(terms, *e),
        Term::Scalar(_)
        | Term::Unit(_)
        | Term::Div(..)
        | Term::Min(..)
        | Term::Max(..)
        | Term::Func(..)
        | Term::Select(..)
        | Term::Strict(..)
        | Term::MaxOver(..) => false,
    }
}
