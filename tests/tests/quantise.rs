//! Quantising by search comes at least as near as ggml's own quantisers (see `scripts/quantisers.py`).
//!
//! Run `scripts/oracle.sh` first. Without its files this test says so and compares nothing, except where the environment
//! has `CI`: there it fails.

use lowbit::compiler::format::{Format, FormatKind};
use lowbit::compiler::spec::load;
use lowbit::quantize::{Method, Options};
use lowbit::{fidelity, quantize};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// The fields of ggml's blocks; where their bits lie does not matter here.
const FORMATS: &str = "language 1;
format q2_k = block i < 256 {
    d: f16;
    dmin: f16;
    sc[i / 16]: uint(4);
    m[i / 16]: uint(4);
    q[i]: uint(2);
    value = d * sc[i / 16] * q[i] - dmin * m[i / 16];
}
format q3_k = block i < 256 {
    d: f16;
    sc[i / 16]: uint(6);
    q[i]: uint(3);
    value = d * (sc[i / 16] - 32) * (q[i] - 4);
}
format q4_k = block i < 256 {
    d: f16;
    dmin: f16;
    sc[i / 32]: uint(6);
    m[i / 32]: uint(6);
    q[i]: uint(4);
    value = d * sc[i / 32] * q[i] - dmin * m[i / 32];
}
format q5_k = block i < 256 {
    d: f16;
    dmin: f16;
    sc[i / 32]: uint(6);
    m[i / 32]: uint(6);
    q[i]: uint(5);
    value = d * sc[i / 32] * q[i] - dmin * m[i / 32];
}
format q6_k = block i < 256 {
    d: f16;
    sc[i / 16]: int(8);
    q[i]: uint(6);
    value = d * sc[i / 16] * (q[i] - 32);
}
format nl = codebook [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
format iq4_nl = block i < 32 {
    d: f16;
    q[i]: nl;
    value = d * q[i];
}
format iq4_xs = block i < 256 {
    d: f16;
    sc[i / 32]: uint(6);
    q[i]: nl;
    value = d * (sc[i / 32] - 32) * q[i];
}
";

/// A file of the oracles; `None`, and a line that cannot be overlooked, if it is not there.
fn oracle(name: &str) -> Option<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/oracle")
        .join(name);
    match fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(e) if std::env::var_os("CI").is_some() => {
            panic!("{}: {e}; run scripts/oracle.sh", path.display())
        }
        Err(_) => {
            // Straight to the stream: what tests print is shown only if they fail.
            let _ = writeln!(
                std::io::stderr(),
                "\nSKIPPED: no target/oracle/{name}; run scripts/oracle.sh"
            );
            None
        }
    }
}

fn squared_error(format: &Arc<Format>, x: &[f32]) -> f64 {
    let options = Options {
        method: Method::Search,
        ..Options::default()
    };
    let shape = [x.len() as u64 / 256, 256];
    let tensor = quantize(x, &shape, format, &options).expect("the format is searched");
    let rmse = fidelity(x, &tensor).expect("as many values").rmse;
    rmse * rmse * x.len() as f64
}

#[test]
fn a_search_comes_at_least_as_near_as_ggml() {
    let module = load("formats", FORMATS, &|_| None).expect("the formats read");
    let Some(report) = oracle("quantisers.json") else {
        return;
    };
    let report: Value = serde_json::from_slice(&report).expect("the oracle writes JSON");
    let mut compared = 0;
    for set in report.as_array().expect("a list") {
        let name = set["values"].as_str().expect("a name");
        let bytes = oracle(&format!("quantisers-{name}.f32")).expect("the values lie beside");
        let x: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]]))
            .collect();
        for (format, theirs) in set["errors"].as_object().expect("errors by format") {
            let format = module.format(format).expect("a format of this test");
            assert!(matches!(format.kind, FormatKind::Block(_)));
            let theirs = theirs.as_f64().expect("a number");
            let ours = squared_error(format, &x);
            assert!(
                ours <= theirs,
                "{name} in {}: {ours:e} is above {theirs:e}",
                format.name
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 35, "five sets of values in seven formats");
}
