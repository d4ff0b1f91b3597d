//! The example of the README, run; and a check that the README has it as it is here.

use lowbit::{Engine, Tensor, files::TensorFile};

fn example(file: &str) -> Result<Tensor, Box<dyn std::error::Error>> {
    // <readme>
    let engine = Engine::host()?;
    let kernel = engine.compile(
        r#"
        language 1;
        import "std/ggml";
        kernel linear(weight w: q4_1[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
            y[m, n] = sum(k) w[n, k] * x[m, k];
        }"#,
        &[("N", 96), ("K", 576)],
    )?;

    let model = TensorFile::open(file)?; // mapped, and checked
    let w = kernel.convert("w", &model.load("blk.0.attn_k.weight")?)?; // once
    let x = Tensor::from_f32(&[2, 576], &[0.5; 2 * 576])?;
    let y = kernel.call(&[("w", &w), ("x", &x)])?; // M is free: any batch
    assert_eq!(y.shape(), [2, 96]);
    // </readme>
    Ok(y)
}

#[test]
fn the_example_runs() -> Result<(), Box<dyn std::error::Error>> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/data/smollm2-slice.gguf");
    let y = example(file)?.to_f32()?;
    let weights = TensorFile::open(file)?
        .load("blk.0.attn_k.weight")?
        .to_f32()?;
    for (row, weights) in weights.chunks_exact(576).enumerate() {
        let wanted: f64 = weights.iter().map(|w| f64::from(*w) * 0.5).sum();
        let size: f64 = weights.iter().map(|w| f64::from(w.abs()) * 0.5).sum();
        for found in [y[row], y[96 + row]] {
            assert!(
                (f64::from(found) - wanted).abs() <= 1e-5 * size,
                "row {row}: {found}, not {wanted}"
            );
        }
    }
    Ok(())
}

#[test]
fn the_readme_has_it() {
    let source = include_str!("readme.rs");
    let code = source
        .split("// <readme>\n")
        .nth(1)
        .and_then(|s| s.split("    // </readme>").next())
        .expect("markers");
    let code: String = code
        .lines()
        .map(|l| l.strip_prefix("    ").unwrap_or(l).to_owned() + "\n")
        .collect();
    let readme = include_str!("../../README.md");
    assert!(
        readme.contains(&format!("```rust\n{code}```\n")),
        "the README's example is not this:\n{code}"
    );
}
