//! Quantising by search comes at least as near as ggml's own quantisers (see `scripts/oracles/quantisers.py`).

use super::{floats, index, list, oracle, string};
use lowbit::Searcher;
use lowbit::files::{Dtype, format_of};

fn squared_error(x: &[f32], y: &[f32]) -> f64 {
    let pairs = x.iter().zip(y);
    pairs
        .map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2))
        .sum()
}

#[test]
fn a_search_comes_at_least_as_near_as_ggml() {
    let Some(report) = index("quantisers.json") else {
        return;
    };
    let mut compared = 0;
    for set in report.as_array().expect("a list") {
        let name = string(set, "values");
        let x = floats(&oracle(&format!("quantisers-{name}.f32")).expect("values lie beside"));
        let shape = [x.len() as u64 / 256, 256];
        for entry in list(set, "errors") {
            let format = string(entry, "name");
            let theirs = entry["error"].as_f64().expect("a number");
            let dtype = Dtype::new(string(entry, "dtype"));
            let searcher = Searcher::new(&format_of(&dtype).expect(format)).expect(format);
            let tensor = searcher
                .quantize(&shape, &x, None, 2, &|_| ())
                .expect(format);
            let ours = squared_error(&x, &tensor.to_f32().expect("values"));
            assert!(
                ours <= theirs,
                "{name} in {format}: {ours:e} is above {theirs:e}"
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 35, "five sets of values in seven formats");
}
