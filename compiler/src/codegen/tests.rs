//! Machine code against the interpreter, on every level that runs here, and the instructions that must be selected.

mod loops;
mod machines;

use super::{CodegenError, Features, ListingFacts, MachineCode, compile, listing};
use crate::vector::build::Builder;
use crate::vector::interp::run;
use crate::vector::ir::{
    Bin, Convert, Elem, Function, ParamId, ParamKind, Scalar, Shift, Step, Type, Un, Value,
};
use crate::vector::testing::{OUT, Rng, inputs, mutant, random, single};
use crate::vector::verify::verify;

fn levels() -> Vec<(&'static str, Features)> {
    let all = [
        ("host", Features::host()),
        ("sse2", Features::x86_64_sse2()),
        ("v2", Features::x86_64_v2()),
        ("v3", Features::x86_64_v3()),
        ("vnni", Features::x86_64_vnni()),
        (
            "bitalg",
            Features {
                avx512bitalg: true,
                ..Features::x86_64_vnni()
            },
        ),
        ("aarch64", Features::aarch64()),
        ("aarch64-dotprod", Features::aarch64_dotprod()),
        ("aarch64-i8mm", Features::aarch64_i8mm()),
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
    let code = compile(function, features).map_err(|e| e.to_string())?;
    Ok(call(&code, seed))
}

/// Calls the code of a function that the interpreter ran before.
fn call(code: &MachineCode, seed: u64) -> Vec<u8> {
    let (bytes, floats) = inputs(&mut Rng(seed));
    let mut out = vec![0xaau8; OUT];
    let args = [
        bytes.as_ptr() as u64,
        floats.as_ptr() as u64,
        out.as_mut_ptr() as u64,
    ];
    // SAFETY: the interpreter ran the function on buffers of these sizes, with every access checked.
    unsafe { code.call(&args) };
    out
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

/// A function with a loop over `x`, `y` and `out` that carries a value of each type given.
fn in_loop(init: &[Type], build: impl Fn(&mut Builder, [Value; 3], &mut [Value])) -> Function {
    let mut b = Builder::new("f");
    let pointers = [ParamKind::Read, ParamKind::Read, ParamKind::Write];
    let names = ["x", "y", "out"];
    let pointers: Vec<Value> = names
        .into_iter()
        .zip(pointers)
        .map(|(name, kind)| b.param(name, kind))
        .collect();
    let n = b.param("n", ParamKind::Scalar(Scalar::Dim(0)));
    let zero = b.number_of(0);
    let init: Vec<Value> = init.iter().map(|ty| b.load(*ty, pointers[1], 0)).collect();
    let (i, mut inside) = b.open_loop("i", zero, n, 16, &init);
    let here = [0, 1, 2].map(|p: usize| b.iadd(pointers[p], i));
    build(&mut b, here, &mut inside);
    for (at, value) in b.close_loop(&inside).into_iter().enumerate() {
        b.store(value, pointers[2], 64 * at as i32);
    }
    let function = b.finish();
    assert_eq!(verify(&function), []);
    function
}

/// The one instruction that each operation must become, and the number of all instructions of the loop around it.
#[test]
fn operations_become_their_instructions() {
    let i8x16 = Type::new(Elem::I8, 16);
    let i16x8 = Type::new(Elem::I16, 8);
    let i32x4 = Type::new(Elem::I32, 4);
    let f32x4 = Type::new(Elem::F32, 4);
    let two =
        |b: &mut Builder, ty: Type, at: [Value; 3]| (b.load(ty, at[0], 0), b.load(ty, at[1], 0));
    let lookup = in_loop(&[i8x16], |b, at, c| {
        let (x, y) = two(b, i8x16, at);
        let found = b.lookup(x, y);
        c[0] = b.iadd(c[0], found);
    });
    let pairs8 = in_loop(&[i16x8], |b, at, c| {
        let (x, y) = two(b, i8x16, at);
        let sums = b.mul_pairs_u8s8(x, y);
        c[0] = b.iadd(c[0], sums);
    });
    let pairs16 = in_loop(&[i32x4], |b, at, c| {
        let (x, y) = two(b, i16x8, at);
        let sums = b.mul_pairs_s16(x, y);
        c[0] = b.iadd(c[0], sums);
    });
    let dot_u = in_loop(&[i32x4], |b, at, c| {
        let (x, y) = two(b, i8x16, at);
        c[0] = b.dot4_u8s8(c[0], x, y);
    });
    let dot_s = in_loop(&[i32x4], |b, at, c| {
        let (x, y) = two(b, i8x16, at);
        c[0] = b.dot4_s8s8(c[0], x, y);
    });
    let fused = in_loop(&[f32x4], |b, at, c| {
        let (x, y) = two(b, f32x4, at);
        c[0] = b.mul_add(x, y, c[0]);
    });
    let splat = in_loop(&[f32x4], |b, at, c| {
        let x = b.load(Type::new(Elem::F32, 1), at[0], 0);
        let x = b.splat(4, x);
        c[0] = b.fadd(c[0], x);
    });
    let tile = in_loop(&[i8x16], |b, at, c| {
        let x = b.load(Type::new(Elem::I8, 4), at[0], 0);
        let x = b.tile(16, x);
        c[0] = b.iadd(c[0], x);
    });
    let widen = in_loop(&[i32x4], |b, at, c| {
        let x = b.load(Type::new(Elem::I16, 4), at[0], 0);
        let x = b.convert(Convert::WidenS, Elem::I32, x);
        c[0] = b.iadd(c[0], x);
    });
    let float = in_loop(&[f32x4], |b, at, c| {
        let x = b.load(i32x4, at[0], 0);
        let x = b.convert(Convert::IntToFloat, Elem::F32, x);
        c[0] = b.fadd(c[0], x);
    });
    let join = in_loop(&[Type::new(Elem::I16, 16)], |b, at, c| {
        let (x, y) = two(b, i8x16, at);
        let x = b.join(x, y);
        c[0] = b.iadd(c[0], x);
    });
    let magic = in_loop(&[Type::new(Elem::F32, 8)], |b, at, c| {
        let words = b.load(i16x8, at[0], 0);
        let high = b.iconst(i16x8, 0x4b00);
        let bits = b.join(words, high);
        let x = b.bitcast(Type::new(Elem::F32, 8), bits);
        c[0] = b.fadd(c[0], x);
    });
    let smaller = in_loop(&[f32x4], |b, at, c| {
        let x = b.load(f32x4, at[0], 0);
        c[0] = b.bin(Bin::FMin, c[0], x);
    });
    let found_by_code = in_loop(&[Type::new(Elem::F32, 1)], |b, at, c| {
        let table = b.table("t", vec![0; 1024]);
        let code = b.load(Type::new(Elem::I8, 1), at[0], 0);
        let code = b.convert(Convert::WidenU, Elem::I32, code);
        let code = b.convert(Convert::WidenU, Elem::I64, code);
        let offset = b.shift(Shift::Shl, code, 2);
        let entry = b.iadd(table, offset);
        let entry = b.load(Type::new(Elem::F32, 1), entry, 0);
        c[0] = b.fadd(c[0], entry);
    });
    let scaled = in_loop(&[Type::new(Elem::F32, 8)], |b, at, c| {
        let scale = b.load(Type::new(Elem::F32, 1), at[0], 0);
        let scale = b.splat(8, scale);
        let x = b.load(Type::new(Elem::F32, 8), at[1], 0);
        let product = b.fmul(x, x);
        c[0] = b.mul_add(scale, product, c[0]);
    });
    let counts = in_loop(&[Type::new(Elem::I8, 16)], |b, at, c| {
        let x = b.load(Type::new(Elem::I8, 16), at[0], 0);
        let ones = b.un(Un::CountOnes, x);
        c[0] = b.iadd(c[0], ones);
    });
    // Function, level, instruction, and instructions of the loop at most: test, branch, step and jump are four.
    let cases: &[(&Function, &str, &str, usize)] = &[
        (&lookup, "v2", "pshufb", 9),
        (&lookup, "v3", "vpshufb", 7),
        (&lookup, "aarch64", "tbl", 8),
        (&counts, "v2", "psrlw", 15),
        (&counts, "v3", "vpsrlw", 13),
        (&counts, "bitalg", "vpopcntb", 7),
        (&counts, "aarch64", "cnt", 8),
        (&pairs8, "v2", "pmaddubsw", 8),
        (&pairs8, "v3", "vpmaddubsw", 7),
        (&pairs16, "sse2", "pmaddwd", 8),
        (&pairs16, "v3", "vpmaddwd", 8),
        (&pairs16, "aarch64", "smull2", 10),
        (&dot_u, "vnni", "vpdpbusd", 7),
        (&dot_u, "aarch64-i8mm", "usdot", 7),
        (&dot_s, "aarch64-dotprod", "sdot", 7),
        (&dot_s, "aarch64-i8mm", "sdot", 7),
        (&dot_s, "v3", "vphaddd", 16),
        (&dot_u, "v2", "phaddd", 16),
        (&fused, "v3", "vfmadd132ps", 7),
        (&fused, "aarch64", "fmla", 8),
        (&fused, "v2", "mulps", 8),
        (&splat, "v3", "vbroadcastss", 6),
        (&splat, "aarch64", "ld1r", 7),
        (&tile, "v3", "vbroadcastss", 6),
        (&widen, "v2", "pmovsxwd", 6),
        (&float, "sse2", "cvtdq2ps", 7),
        (&float, "aarch64", "scvtf", 7),
        (&join, "sse2", "punpckhbw", 12),
        (&join, "aarch64", "zip2", 10),
        (&magic, "sse2", "punpcklwd", 11),
        (&magic, "sse2", "punpckhwd", 11),
        (&magic, "v3", "vpunpcklwd", 10),
        (&magic, "v3", "vpunpckhwd", 10),
        (&magic, "aarch64", "zip1", 10),
        (&magic, "aarch64", "zip2", 10),
        (&smaller, "v3", "vminps", 9),
        (&found_by_code, "v3", "movzbq", 8),
        (&found_by_code, "aarch64", "ldrb", 9),
        (&scaled, "v3", "vbroadcastss", 14),
    ];
    for (function, name, instruction, most) in cases {
        let (_, features) = levels()
            .into_iter()
            .find(|(n, _)| n == name)
            .expect("a level");
        let text = listing(function, &features).expect("code");
        let facts = ListingFacts::of(&text, features.arch);
        assert_eq!(
            facts.count(instruction),
            1,
            "{instruction} on {name}\n{text}"
        );
        assert!(
            facts.inner.len() <= *most,
            "{} instructions on {name}\n{text}",
            facts.inner.len()
        );
        assert_eq!(facts.stack_accesses, 0, "{text}");
    }
}

/// Twelve accumulators, one factor and one product fit sixteen registers.
#[test]
fn a_tile_of_accumulators_stays_in_registers() {
    let f32x4 = Type::new(Elem::F32, 4);
    let tile = in_loop(&[f32x4; 12], |b, at, c| {
        for row in 0..3 {
            let weights = b.load(f32x4, at[0], 16 * row);
            for column in 0..4 {
                let x = b.load(Type::new(Elem::F32, 1), at[1], 4 * column);
                let x = b.splat(4, x);
                let sum = &mut c[(row * 4 + column) as usize];
                *sum = b.mul_add(weights, x, *sum);
            }
        }
    });
    for (name, features) in levels() {
        let text = listing(&tile, &features).expect("code");
        let facts = ListingFacts::of(&text, features.arch);
        assert_eq!(facts.stack_accesses, 0, "{name}\n{text}");
    }
}

#[test]
fn listings_are_stable() {
    for function in (0..5).map(random) {
        for (_, features) in levels() {
            assert_eq!(listing(&function, &features), listing(&function, &features));
        }
    }
}

#[test]
fn listing_of_a_loop() {
    let i8x16 = Type::new(Elem::I8, 16);
    let function = in_loop(&[Type::new(Elem::I32, 4)], |b, at, c| {
        let (x, y) = (b.load(i8x16, at[0], 0), b.load(i8x16, at[1], 0));
        c[0] = b.dot4_u8s8(c[0], x, y);
    });
    let text = listing(&function, &Features::x86_64_vnni()).expect("code");
    insta::assert_snapshot!(text, @r"
      pushq %rbp
      movq %rsp, %rbp
    block0:
      movq (%rdi), %rax
      movq 8(%rdi), %rcx
      movq 0x10(%rdi), %rdx
      movq 0x18(%rdi), %rsi
      vmovdqu (%rcx), %xmm0
      xorq %rdi, %rdi
    block1:
      cmpq %rsi, %rdi
      jnl     block3
    block2:
      vmovdqu (%rax, %rdi), %xmm1
      vmovdqu (%rcx, %rdi), %xmm2
      vpdpbusd %xmm2, %xmm1, %xmm0
      leaq 0x10(%rdi), %rdi
      jmp     block1
    block3:
      vmovdqu %xmm0, (%rdx)
      movq %rbp, %rsp
      popq %rbp
      retq
    ");
}

#[test]
fn code_runs_on_many_threads_and_is_freed() {
    let function = random(7);
    let wanted = expected(&function, 1);
    let code = compile(&function, &Features::host()).expect("code");
    assert!(code.size() > 0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(difference(&function, &wanted, &call(&code, 1)), None);
                }
            });
        }
    });
    for _ in 0..200 {
        drop(compile(&function, &Features::host()).expect("code"));
    }
}

#[test]
fn invalid_functions_are_refused() {
    let mut function = random(1);
    function.body.reverse();
    let refused = |error| matches!(error, CodegenError::Invalid { .. });
    assert!(compile(&function, &Features::host()).is_err_and(refused));
    assert!(listing(&function, &Features::host()).is_err_and(refused));
}

#[test]
fn code_for_another_machine_is_listed_but_not_loaded() {
    let function = random(1);
    let foreign = levels().into_iter().find(|(_, f)| !f.runs_here());
    let Some((_, features)) = foreign else { return };
    assert!(compile(&function, &features).is_err());
    assert!(listing(&function, &features).is_ok());
    assert!(super::clif(&function, &features).is_ok_and(|text| text.starts_with("function")));
}

/// What the rules allow can be compiled for every machine; what they forbid is refused before.
#[test]
fn mutants_are_refused_or_compiled() {
    let mut rng = Rng(11);
    let (mut refused, mut compiled) = (0, 0);
    while refused + compiled < 600 {
        let Some(function) = mutant(&random(rng.below(1000)), &mut rng) else {
            continue;
        };
        if verify(&function).is_empty() {
            compiled += 1;
            let (_, features) = levels()[compiled % levels().len()];
            if let Err(error) = listing(&function, &features) {
                panic!("{error}\n{function}");
            }
        } else {
            refused += 1;
        }
    }
    assert!(refused > 100 && compiled > 50, "{refused} {compiled}");
}

/// Resident memory of this process in KiB.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|l| l.starts_with("VmRSS:"));
    let number = line.and_then(|l| l.split_whitespace().nth(1));
    number.and_then(|n| n.parse().ok()).expect("a size")
}

/// Kept mappings would be at least one page each.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "measures the memory of the process: run alone"]
fn dropped_code_frees_its_memory() {
    let function = in_loop(&[], |b, at, _| {
        let x = b.load(Type::new(Elem::I8, 16), at[0], 0);
        b.store(x, at[2], 0);
    });
    let compile_many = |count: usize| {
        for _ in 0..count {
            drop(compile(&function, &Features::host()).expect("code"));
        }
    };
    compile_many(200);
    let before = resident();
    compile_many(2000);
    let growth = resident().saturating_sub(before);
    assert!(growth < 2000, "{growth} KiB for 2000 functions");
}

#[test]
#[ignore = "slow: a minute"]
fn many_random_functions_are_their_meaning() {
    for first in (1000..5000).step_by(50) {
        let functions: Vec<Function> = (first..first + 50).map(random).collect();
        agree(&functions, 1);
    }
}
