//! What was rewritten before. Statements with the same outline have the same lowerings, so a kernel of a format that is known
//! costs no e-graph, whatever its shape. What is found here is what rewriting would have given: code does not depend on it.

use super::Rewritten;
use super::outline::Outline;
use crate::schedule::index::AxisSet;
use crate::target::Target;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Statements that are remembered: the plans of some twenty formats for all batches. A statement takes about 100 KB.
const MOST: usize = 512;

/// Lowerings by outline, those that were asked for last at the end.
#[derive(Default)]
pub(super) struct Known(Mutex<VecDeque<Entry>>);

struct Entry {
    outline: Outline,
    /// The loops whose extents they depend on.
    asked: AxisSet,
    target: Arc<Target>,
    rewritten: Arc<Rewritten>,
}

impl Known {
    /// What a statement of an outline was rewritten to for a target.
    pub(super) fn find(&self, outline: &Outline, target: &Target) -> Option<Arc<Rewritten>> {
        let mut entries = self.entries();
        let here =
            |e: &Entry| outline.is_like(&e.outline, e.asked) && same_target(&e.target, target);
        let at = entries.iter().rposition(here)?;
        let entry = entries.remove(at)?;
        let rewritten = entry.rewritten.clone();
        entries.push_back(entry);
        Some(rewritten)
    }

    /// Remembers it.
    pub(super) fn note(&self, outline: Outline, target: &Target, rewritten: &Arc<Rewritten>) {
        let mut entries = self.entries();
        let known = entries
            .iter()
            .find(|e| same_target(&e.target, target))
            .map(|e| e.target.clone());
        entries.push_back(Entry {
            outline,
            asked: rewritten.facts.extents.asked(),
            target: known.unwrap_or_else(|| Arc::new(target.clone())),
            rewritten: rewritten.clone(),
        });
        if entries.len() > MOST {
            entries.pop_front();
        }
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        self.entries().clear();
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
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
        let made = rules.known.entries().len();
        assert!(made > 0);
        for shape in [[11008, 4096], [4096, 11008], [32000, 4096]] {
            code(&text, &target, &rules, shape);
            assert_eq!(rules.known.entries().len(), made, "{shape:?}");
        }
    }

    #[test]
    fn sums_that_may_not_fit_are_not_taken_for_those_that_do() {
        let target = Target::named("x86-64-vnni").expect("there is such a target");
        let text = text(PLAIN);
        let rules = RuleSet::standard().expect("the rules are well formed");
        code(&text, &target, &rules, [4096, 4096]);
        let made = rules.known.entries().len();
        code(&text, &target, &rules, [11008, 4096]);
        assert_eq!(rules.known.entries().len(), made);
        code(&text, &target, &rules, [4096, 200_000]);
        assert!(rules.known.entries().len() > made);
    }
}
