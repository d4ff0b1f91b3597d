//! What was rewritten before. Statements with the same outline have the same lowerings, so a kernel of a format that is known
//! costs no e-graph, whatever its shape. What is found here is what rewriting would have given: code does not depend on it.

use super::Rewritten;
use super::outline::Outline;
use crate::schedule::index::AxisSet;
use crate::target::Target;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Statements that are remembered: the plans of ten formats for all batches. A statement takes 100 to 500 KB.
const MOST: usize = 256;

/// What is known of outlines.
#[derive(Default)]
pub(super) struct Known {
    /// Their lowerings, by target.
    rewritten: Memory<(Arc<Target>, Arc<Rewritten>)>,
    /// Whether they have a form with a sum that is kept.
    keeping: Memory<bool>,
}

impl Known {
    /// What a statement of an outline was rewritten to for a target.
    pub(super) fn rewritten(&self, outline: &Outline, target: &Target) -> Option<Arc<Rewritten>> {
        let for_target = |(of, _): &(Arc<Target>, _)| same_target(of, target);
        let (_, rewritten) = self.rewritten.find(outline, for_target)?;
        Some(rewritten)
    }

    /// Remembers it.
    pub(super) fn note(&self, outline: Outline, target: &Target, rewritten: &Arc<Rewritten>) {
        let asked = rewritten.facts.extents.asked();
        let known = |(of, _): &(Arc<Target>, _)| same_target(of, target).then(|| of.clone());
        let known = self.rewritten.any(known);
        let target = known.unwrap_or_else(|| Arc::new(target.clone()));
        let what = (target, rewritten.clone());
        self.rewritten.note(outline, asked, what);
    }

    /// Whether a statement of an outline has a form with a sum that is kept; else what finds it out is asked, with the loops whose
    /// extents decided.
    pub(super) fn keeps(
        &self,
        outline: Outline,
        find_out: impl FnOnce(&Outline) -> (bool, AxisSet),
    ) -> bool {
        if let Some(known) = self.keeping.find(&outline, |_| true) {
            return known;
        }
        let (keeps, asked) = find_out(&outline);
        self.keeping.note(outline, asked, keeps);
        keeps
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        self.rewritten.entries().clear();
        self.keeping.entries().clear();
    }
}

/// Things by outline, those that were asked for last at the end.
struct Memory<T>(Mutex<VecDeque<Entry<T>>>);

struct Entry<T> {
    outline: Outline,
    /// The loops whose extents it depends on.
    asked: AxisSet,
    what: T,
}

impl<T> Default for Memory<T> {
    fn default() -> Memory<T> {
        Memory(Mutex::default())
    }
}

impl<T: Clone> Memory<T> {
    fn find(&self, outline: &Outline, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let mut entries = self.entries();
        let here = |e: &Entry<T>| outline.is_like(&e.outline, e.asked) && wanted(&e.what);
        let at = entries.iter().rposition(here)?;
        let entry = entries.remove(at)?;
        let what = entry.what.clone();
        entries.push_back(entry);
        Some(what)
    }

    fn any<R>(&self, of: impl FnMut(&T) -> Option<R>) -> Option<R> {
        let entries = self.entries();
        entries.iter().map(|e| &e.what).find_map(of)
    }

    fn note(&self, outline: Outline, asked: AxisSet, what: T) {
        let mut entries = self.entries();
        entries.push_back(Entry {
            outline,
            asked,
            what,
        });
        if entries.len() > MOST {
            entries.pop_front();
        }
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn same_target(a: &Target, b: &Target) -> bool {
    std::ptr::eq(a, b) || a == b
}

#[cfg(test)]
mod tests {
    use crate::pipeline::{Request, compile};
    use crate::rewrite::RuleSet;
    use crate::schedule::plan::Layouts;
    use crate::spec::{bind, load};
    use crate::target::Target;

    /// Weights with a scale for some, and without.
    const SCALED: &str = "block i < 32 { d: f16; q[i]: uint(4); value = d * (q[i] - 8); }";
    const PLAIN: &str = "int(8);";
    const WEIGHTS: [&str; 2] = [SCALED, PLAIN];

    fn text(weights: &str) -> String {
        format!(
            "language 1; format weights = {weights} format bytes = int(8);
             kernel linear(weight w: weights[N, K], input x: bytes[M, K]) -> output y: f32[M, N] {{
                 y[m, n] = sum(k) w[n, k] * x[m, k];
             }}"
        )
    }

    /// The code for a shape.
    fn code(text: &str, target: &Target, rules: &RuleSet, shape: [u64; 2]) -> String {
        let module = load("test.lowbit", text, &|_| None).expect("it is well formed");
        let [n, k] = shape;
        let kernel = bind(&module.kernels[0], &[("N", n), ("K", k)]).expect("it has these");
        let request = Request {
            target,
            batch: 1,
            later: &[8],
            layouts: Layouts::default(),
            force: None,
            picks: &[],
        };
        let program = compile(&kernel, rules, &request).expect("it compiles");
        program.function.to_string()
    }

    #[test]
    fn code_does_not_depend_on_what_was_compiled_before() {
        let target = Target::named("x86-64-vnni").expect("there is such a target");
        let shapes = [
            [4096, 4096],
            [11008, 4096],
            [4096, 11008],
            [577, 1536],
            [33, 95],
            [1, 1],
            [64, 200_000],
        ];
        for weights in WEIGHTS {
            let text = text(weights);
            let shared = RuleSet::standard().expect("the rules are well formed");
            for shape in shapes {
                let fresh = RuleSet::standard().expect("the rules are well formed");
                let alone = code(&text, &target, &fresh, shape);
                let known = code(&text, &target, &shared, shape);
                assert!(alone == known, "{weights} {shape:?}");
                shared.forget();
                code(&text, &target, &shared, [4096, 4096]);
                assert!(
                    alone == code(&text, &target, &shared, shape),
                    "{weights} {shape:?}"
                );
            }
        }
    }

    #[test]
    fn another_shape_of_a_format_is_known() {
        let target = Target::named("x86-64-vnni").expect("there is such a target");
        let text = text(SCALED);
        let rules = RuleSet::standard().expect("the rules are well formed");
        code(&text, &target, &rules, [4096, 4096]);
        let made = rules.known.rewritten.entries().len();
        assert!(made > 0);
        for shape in [[11008, 4096], [4096, 11008], [32000, 4096]] {
            code(&text, &target, &rules, shape);
            assert_eq!(rules.known.rewritten.entries().len(), made, "{shape:?}");
        }
    }

    #[test]
    fn sums_that_may_not_fit_are_not_taken_for_those_that_do() {
        let target = Target::named("x86-64-vnni").expect("there is such a target");
        let text = text(PLAIN);
        let rules = RuleSet::standard().expect("the rules are well formed");
        code(&text, &target, &rules, [4096, 4096]);
        let made = rules.known.rewritten.entries().len();
        code(&text, &target, &rules, [11008, 4096]);
        assert_eq!(rules.known.rewritten.entries().len(), made);
        code(&text, &target, &rules, [4096, 200_000]);
        assert!(rules.known.rewritten.entries().len() > made);
    }
}
