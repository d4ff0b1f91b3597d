//! What intervals say of sums and products: conditions on sums are decided by intervals and extents, and the statements take
//! from them that every partial sum fits. Over all integers, for any type that holds 0.

use super::smt::{Answer, PROOF, Solver};

/// An interval of terms, an extent, a type; a sum of `k` of at most `n` terms, which lies between `k` times the ends.
const SUM: &str = "\
(set-logic QF_NIA)
(declare-const low Int) (declare-const high Int) (declare-const n Int) (declare-const k Int)
(declare-const least Int) (declare-const most Int) (declare-const term Int) (declare-const sum Int)
(assert (and (<= least 0) (<= 0 most)))
(assert (and (<= low term) (<= term high) (<= 1 n) (<= 0 k) (<= k n)))
(assert (and (<= (* low k) sum) (<= sum (* high k))))
";

/// What `SumFits` asks.
const SUM_FITS: &str = "(assert (and (<= least (* low n)) (<= (* high n) most)))\n";

/// Two intervals, a number of each, and the corners of their products.
const PRODUCT: &str = "\
(set-logic QF_NIA)
(declare-const a Int) (declare-const b Int) (declare-const c Int) (declare-const d Int)
(declare-const x Int) (declare-const y Int) (declare-const low Int) (declare-const high Int)
(assert (and (<= a x) (<= x b) (<= c y) (<= y d)))
";

/// What `ProductSumFits` asks of the corners, as ends of an interval of products.
const CORNERS: &str = "\
(assert (and (<= low (* a c)) (<= low (* a d)) (<= low (* b c)) (<= low (* b d))))
(assert (and (<= (* a c) high) (<= (* a d) high) (<= (* b c) high) (<= (* b d) high)))
";

/// The same without one corner.
const THREE_CORNERS: &str = "\
(assert (and (<= low (* a c)) (<= low (* a d)) (<= low (* b c))))
(assert (and (<= (* a c) high) (<= (* a d) high) (<= (* b c) high)))
";

#[test]
fn intervals_bound_sums_and_products() {
    let Some(mut solver) = Solver::start() else {
        return;
    };
    let outside =
        |x: &str, low: &str, high: &str| format!("(assert (not (<= {low} {x} {high})))\n");
    let cases = [
        (
            SUM,
            SUM_FITS,
            outside("sum", "least", "most"),
            Answer::Unsat,
        ),
        (
            SUM,
            SUM_FITS,
            outside("term", "least", "most"),
            Answer::Unsat,
        ),
        (SUM, "", outside("sum", "least", "most"), Answer::Sat),
        (
            PRODUCT,
            CORNERS,
            outside("(* x y)", "low", "high"),
            Answer::Unsat,
        ),
        (
            PRODUCT,
            THREE_CORNERS,
            outside("(* x y)", "low", "high"),
            Answer::Sat,
        ),
    ];
    for (given, condition, wrong, wanted) in cases {
        let text = format!("{given}{condition}{wrong}");
        assert_eq!(solver.ask(&text, PROOF), wanted, "{text}");
    }
    // The interval of a sum of one term more, which the bounds of `sum` rest on.
    let step = "(assert (not (and (<= (* low (+ k 1)) (+ sum term)) (<= (+ sum term) (* high (+ k 1))))))\n";
    assert_eq!(solver.ask(&format!("{SUM}{step}"), PROOF), Answer::Unsat);
}
