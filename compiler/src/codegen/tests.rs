//! Machine code against the interpreter, on every level that runs here, and the instructions that must be selected.

use super::{Features, compile, listing};
use crate::vector::interp::run;
use crate::vector::ir::{Elem, Function, ParamId, Step, Type};
use crate::vector::testing::{OUT, Rng, inputs, random, single};

fn levels() -> Vec<(&'static str, Features)> {
    let all = [
        ("host", Features::host()),
        ("sse2", Features::x86_64_sse2()),
        ("v2", Features::x86_64_v2()),
        ("v3", Features::x86_64_v3()),
        ("vnni", Features::x86_64_vnni()),
        ("aarch64", Features::aarch64()),
        ("aarch64-dotprod", Features::aarch64_dotprod()),
    ];
    all.to_vec()
}

/// What a function writes: by the interpreter, and by machine code.
fn expected(function: &Function, seed: u64) -> Vec<u8> {
    let (bytes, floats) = inputs(&mut Rng(seed));
    let buffers = [bytes, floats, vec![0xaa; OUT]].into_iter().enumerate();
    let mut buffers: Vec<_> = buffers
        .map(|(n, b)| (ParamId::from_u32(n as u32), b))
        .collect();
    run(function, &mut buffers, &|s| s.eval(&[]), (0, 0))
        .unwrap_or_else(|e| panic!("{e}\n{function}"));
    buffers.swap_remove(2).1
}

fn found(function: &Function, features: &Features, seed: u64) -> Result<Vec<u8>, String> {
    let (bytes, floats) = inputs(&mut Rng(seed));
    let mut out = vec![0xaau8; OUT];
    let code = compile(function, features).map_err(|e| e.to_string())?;
    let args = [
        bytes.as_ptr() as u64,
        floats.as_ptr() as u64,
        out.as_mut_ptr() as u64,
    ];
    // SAFETY: the interpreter ran the function on buffers of these sizes, with every access checked.
    unsafe { code.call(&args) };
    Ok(out)
}

/// Types and places of everything that is stored.
fn stores(function: &Function, steps: &[Step], into: &mut Vec<(Type, usize)>) {
    for step in steps {
        match step {
            Step::Let(..) => {}
            Step::Store { value, offset, .. } => {
                into.push((function.types[*value], *offset as usize))
            }
            Step::Loop(l) => stores(function, &l.body, into),
        }
    }
}

/// Equal bytes, except that NaNs need not have the same bits.
fn difference(function: &Function, a: &[u8], b: &[u8]) -> Option<String> {
    let mut places = Vec::new();
    stores(function, &function.body, &mut places);
    for (ty, at) in places {
        let width = ty.elem.bits() as usize / 8;
        for lane in 0..usize::from(ty.lanes) {
            let range = at + lane * width..at + lane * width + width;
            let (x, y) = (&a[range.clone()], &b[range]);
            let nan = |lane: &[u8]| {
                lane.try_into()
                    .is_ok_and(|b| f32::from_le_bytes(b).is_nan())
            };
            if x != y && !(ty.elem == Elem::F32 && nan(x) && nan(y)) {
                return Some(format!(
                    "{ty} at {at}, lane {lane}: {x:02x?} wanted, {y:02x?} found"
                ));
            }
        }
    }
    let written = |bytes: &[u8]| bytes.iter().rposition(|b| *b != 0xaa);
    (written(a) != written(b)).then(|| "writes past its output".to_owned())
}

fn agree(functions: &[Function], seeds: u64) {
    let mut failures = Vec::new();
    for function in functions {
        for seed in 0..seeds {
            let wanted = expected(function, seed);
            for (name, features) in levels() {
                let failure = if features.runs_here() {
                    match found(function, &features, seed) {
                        Ok(bytes) => difference(function, &wanted, &bytes),
                        Err(error) => Some(error),
                    }
                } else {
                    listing(function, &features).err().map(|e| e.to_string())
                };
                if let Some(failure) = failure {
                    failures.push(format!("{name}: {failure}\n{function}"));
                }
            }
        }
    }
    let first: Vec<&str> = failures.iter().take(6).map(String::as_str).collect();
    assert!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        first.join("\n")
    );
}

#[test]
fn every_operation_is_its_meaning() {
    agree(&single(), 1);
}

#[test]
fn random_functions_are_their_meaning() {
    let functions: Vec<Function> = (100..140).map(random).collect();
    agree(&functions, 1);
}
