//! Tests of the vector IR: text, rules, meaning.

use super::build::Builder;
use super::interp::{InterpError, run, run_within};
use super::ir::{Elem, Op, ParamId, ParamKind, Scalar, Step, Type, Value};
use super::read::read;
use super::testing::{BYTES, OUT, Rng, inputs, mutant, names, random, scalar, single};
use super::verify::verify;
use std::collections::BTreeSet;

const I64: Type = Type::new(Elem::I64, 1);

#[test]
fn generated_functions_are_valid_and_cover_every_operation() {
    let mut found = BTreeSet::new();
    for function in (0..40).map(random).chain(single()) {
        assert_eq!(verify(&function), [], "{function}");
        names(&function.body, &mut found);
    }
    // All names of operations: 14 + 6 + 3 + 3 + 5 + 5, and 23 of their own.
    assert_eq!(found.len(), 60, "{found:?}");
}

#[test]
fn text_reads_back_as_the_same_function() {
    for function in (0..40).map(random).chain(single()) {
        let text = function.to_string();
        assert_eq!(read(&text).as_ref(), Ok(&function), "{text}");
    }
}

#[test]
fn declarations_read_back() {
    let mut b = Builder::new("odd \"name\"\n\u{1}\\");
    b.param("x", ParamKind::Scratch { bytes: scalar() });
    b.param("", ParamKind::Scalar(Scalar::Dim(3)));
    b.param("from", ParamKind::RangeStart);
    b.param("to", ParamKind::RangeEnd);
    b.table("empty", Vec::new());
    b.table("t", (0..40).collect());
    b.fconst(4, f32::NAN);
    b.fconst(1, -0.0);
    b.vconst(Elem::F32, vec![0x7f80_0000, 0x0000_0001]);
    b.vconst(Elem::I8, vec![255, 128]);
    let mut function = b.finish();
    function.types.push(Type::new(Elem::F32, 2));
    assert_eq!(read(&function.to_string()), Ok(function));
}

#[test]
fn printed_form() {
    let mut b = Builder::new("sum");
    let x = b.param("x", ParamKind::Read);
    let y = b.param("y", ParamKind::Write);
    let n = b.param("n", ParamKind::Scalar(Scalar::Dim(0)));
    let zero = b.number_of(0);
    let start = b.fconst(4, 0.0);
    let (i, inside) = b.open_loop("k", zero, n, 16, &[start]);
    let at = b.iadd(x, i);
    let lanes = b.load(Type::new(Elem::F32, 4), at, 16);
    let next = b.fadd(inside[0], lanes);
    let total = b.close_loop(&[next]);
    let sum = b.fold(1, total[0]);
    b.store(sum, y, -4);
    insta::assert_snapshot!(b.finish(), @r"
    func sum {
      param p0 x: read
      param p1 y: write
      param p2 n: scalar d0
      v0: i64 = param p0
      v1: i64 = param p1
      v2: i64 = param p2
      v3: i64 = iconst 0
      v4: f32x4 = fconst 0.0
      loop k: v5 = v3 to v2 step 16 {
        carry v6: f32x4 = v4 next v9 result v10
        v7: i64 = iadd v0, v5
        v8: f32x4 = load v7 + 16
        v9: f32x4 = fadd v6, v8
      }
      v11: f32 = fold v10
      store v11, v1 - 4
    }
    ");
}

#[test]
fn broken_texts_are_errors_with_their_line() {
    let text = random(3).to_string();
    let mut rng = Rng(5);
    let pieces = [
        "v1",
        "}",
        "{",
        ":",
        "=",
        "\"",
        "99999999999",
        "v4294967295",
        "-",
        "i8x3",
        "loop",
        "0x",
        "é",
    ];
    for _ in 0..3000 {
        let mut broken: Vec<char> = text.chars().collect();
        let at = rng.below(broken.len() as u64) as usize;
        let until = (at + rng.below(12) as usize).min(broken.len());
        let piece = pieces[rng.below(pieces.len() as u64) as usize];
        broken.splice(at..until, piece.chars());
        let broken: String = broken.into_iter().collect();
        match read(&broken) {
            Ok(function) => drop(verify(&function)),
            Err(error) => assert!(error.line <= broken.lines().count(), "{error}"),
        }
    }
    let error = |text: &str| read(text).map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(
        error("func f {\n  v0: i64 = fly v1\n}\n"),
        Err("line 2: `fly` is no operation".into())
    );
    assert_eq!(
        error("func f {\n  v1: i64 = iconst 1\n}\n"),
        Err("line 2: v1 is defined, but v0 is not".into())
    );
    assert_eq!(
        error("func f {\n"),
        Err("line 1: the text ends too early".into())
    );
    assert_eq!(error(""), Err("line 0: the text ends too early".into()));
    let deep = format!("func f {{\n  param p0 x: scalar {}", "add(".repeat(100_000));
    assert!(error(&deep).is_err());
}

#[test]
fn broken_rules_are_found() {
    let text = |body: &str| {
        let text = format!("func f {{\n  param p0 x: read\n  v0: i64 = param p0\n{body}}}\n");
        let errors = verify(&read(&text).expect("text"));
        errors
            .iter()
            .map(|e| e.to_string())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let wrong = |body: &str, errors: &str| assert_eq!(text(body), errors, "{body}");
    wrong(
        "v1: i8x16 = load v2\nv2: i64 = iconst 0\n",
        "v1: uses v2 before its definition",
    );
    wrong(
        "v1: i8x16 = iconst 256\n",
        "v1: iconst of i8x16: an integer type that holds the number is needed; operands: none",
    );
    wrong(
        "v1: i8x16 = iconst 1\nv2: i8x16 = imul v1, v1\n",
        "v2: imul of i8x16: operands and result alike, of a type that it takes; operands: i8x16, i8x16",
    );
    wrong(
        "v1: f32x4 = fconst 1.0\nv2: f32x8 = fadd v1, v1\n",
        "v2: fadd of f32x8: operands and result alike, of a type that it takes; operands: f32x4, f32x4",
    );
    wrong(
        "loop k: v1 = v0 to v0 step 0 {\ncarry v2: i64 = v0 next v1 result v3\nv4: i32 = iconst 1\n}\nv5: i32x4 = splat v4\n",
        "loop over v1: step 0 is not positive\nv5: uses v4 outside the region that defines it",
    );
    // One operation of a wrong type for each rule: whatever type it is given, at most the right one passes.
    for function in single() {
        let last = function.body.iter().rev().find_map(|s| {
            if let Step::Let(v, op) = s {
                Some((*v, op))
            } else {
                None
            }
        });
        let Some((value, op)) = last else { continue };
        let free = matches!(
            op,
            Op::Load { .. }
                | Op::IConst(_)
                | Op::Bitcast(_)
                | Op::Tile(_)
                | Op::Repeat(_)
                | Op::Splat(_)
        );
        let mut broken = function.clone();
        broken.types[value] = Type::new(
            if function.types[value].elem == Elem::F32 {
                Elem::I16
            } else {
                Elem::F32
            },
            3,
        );
        assert!(!verify(&broken).is_empty(), "{broken}");
        broken.types[value].lanes = 128;
        assert!(free || !verify(&broken).is_empty(), "{broken}");
    }
}

#[test]
fn building_in_an_outer_region_hoists() {
    let mut b = Builder::new("hoist");
    let n = b.param("n", ParamKind::Scalar(Scalar::Dim(0)));
    let zero = b.number_of(0);
    b.open_loop("i", zero, n, 1, &[]);
    b.open_loop("j", zero, n, 1, &[]);
    let (a, c) = b.at(1, |b| (b.iadd(n, n), b.at(0, |b| b.imul(n, n))));
    b.iadd(a, c);
    let table = b.table("t", vec![1]);
    assert_eq!(b.table("other", vec![1]), table);
    assert_ne!(b.table("t", vec![2]), table);
    let function = b.finish();
    assert_eq!(verify(&function), []);
    assert_eq!(
        function
            .tables
            .values()
            .map(|t| t.name.as_str())
            .collect::<Vec<_>>(),
        ["t", "t1"]
    );
}

#[test]
fn trivial_operations_are_not_built() {
    let mut b = Builder::new("trivial");
    let x = b.param("x", ParamKind::Read);
    let (zero, one, two) = (b.number_of(0), b.number_of(1), b.number_of(2));
    assert_eq!(b.iadd(x, zero), x);
    assert_eq!(b.isub(x, zero), x);
    assert_eq!(b.imul(one, x), x);
    assert_eq!(b.imul(x, zero), zero);
    let four = b.imul(two, two);
    assert_eq!(b.shift(super::ir::Shift::Shl, x, 0), x);
    let function = b.finish();
    let op = |v: Value| {
        function.body.iter().find_map(|s| {
            if let Step::Let(w, op) = s {
                (*w == v).then_some(op)
            } else {
                None
            }
        })
    };
    assert_eq!(op(four), Some(&Op::IConst(4)));
}

#[test]
fn the_interpreter_checks_accesses() {
    let run_one = |build: &dyn Fn(&mut Builder, Value, Value)| {
        let mut b = Builder::new("f");
        let x = b.param("x", ParamKind::Read);
        let y = b.param("y", ParamKind::Write);
        build(&mut b, x, y);
        let mut buffers = [
            (ParamId::from_u32(0), vec![1; 16]),
            (ParamId::from_u32(1), vec![0; 16]),
        ];
        let counts = run(&b.finish(), &mut buffers, &|s| s.eval(&[]), (0, 0))?;
        Ok::<_, InterpError>((counts, buffers[1].1.clone()))
    };
    let i8x16 = Type::new(Elem::I8, 16);
    let bounds = |b: &str, offset| {
        Err(InterpError::Bounds {
            buffer: b.to_owned(),
            offset,
            size: 16,
            length: 16,
        })
    };
    assert_eq!(
        run_one(&|b, x, _| {
            b.load(i8x16, x, 1);
        }),
        bounds("x", 1)
    );
    assert_eq!(
        run_one(&|b, x, _| {
            b.load(i8x16, x, -1);
        }),
        Err(InterpError::Pointer((1 << 40) - 1))
    );
    assert_eq!(
        run_one(&|b, _, y| {
            b.load(I64, y, 0);
        })
        .map(|(c, _)| c["load"]),
        Ok(1)
    );
    assert!(matches!(
        run_one(&|b, x, _| {
            let table = b.load(i8x16, x, 0);
            let sixteen = b.iconst(i8x16, 16);
            b.lookup(table, sixteen);
        }),
        Err(InterpError::Index { index: 16, .. })
    ));
    let copy = |b: &mut Builder, x, y| {
        let v = b.load(i8x16, x, 0);
        b.store(v, y, 0);
    };
    assert_eq!(run_one(&copy).map(|(_, out)| out), Ok(vec![1; 16]));
    assert_eq!(
        run_one(&|b, x, y| copy(b, y, x)).map(|_| ()),
        Err(InterpError::ReadOnly("x".into()))
    );
}

#[test]
fn random_functions_run() {
    for seed in 0..20 {
        let (bytes, floats) = inputs(&mut Rng(seed));
        assert_eq!((bytes.len(), floats.len()), (BYTES, BYTES));
        let mut buffers = [bytes, floats, vec![0; OUT]].into_iter().enumerate();
        let mut buffers: Vec<_> = buffers
            .by_ref()
            .map(|(n, b)| (ParamId::from_u32(n as u32), b))
            .collect();
        let counts = run(&random(seed), &mut buffers, &|s| s.eval(&[]), (0, 0)).expect("runs");
        assert!(counts["store"] > 0);
    }
}

#[test]
fn mutants_run_or_fail_in_the_interpreter() {
    let mut rng = Rng(12);
    let mut results = BTreeSet::new();
    for _ in 0..2000 {
        let Some(function) = mutant(&random(rng.below(1000)), &mut rng) else {
            continue;
        };
        let (bytes, floats) = inputs(&mut rng);
        let buffers = [bytes, floats, vec![0; OUT]].into_iter().enumerate();
        let mut buffers: Vec<_> = buffers
            .map(|(n, b)| (ParamId::from_u32(n as u32), b))
            .collect();
        let valid = verify(&function).is_empty();
        let result = run_within(&function, &mut buffers, &|s| s.eval(&[]), (0, 0), 20_000);
        assert_eq!(
            valid,
            !matches!(result, Err(InterpError::Invalid(_))),
            "{function}"
        );
        results.insert(match result {
            Ok(_) => "ran",
            Err(InterpError::Invalid(_)) => "invalid",
            Err(InterpError::Missing(_)) => "missing",
            Err(InterpError::Bounds { .. }) => "bounds",
            Err(InterpError::Pointer(_)) => "pointer",
            Err(InterpError::ReadOnly(_)) => "read only",
            Err(InterpError::Index { .. }) => "index",
            Err(InterpError::Long(_)) => "long",
            Err(InterpError::Scratch(_)) => "scratch",
        });
    }
    let seen = ["ran", "invalid", "bounds", "pointer", "read only", "long"];
    assert!(seen.iter().all(|s| results.contains(s)), "{results:?}");
}

#[test]
fn scratch_is_given_and_endless_loops_end() {
    let mut b = Builder::new("f");
    let bytes = Scalar::Const(8);
    let scratch = b.param("scratch", ParamKind::Scratch { bytes });
    let out = b.param("out", ParamKind::Write);
    let unwritten = b.load(Type::new(Elem::I8, 8), scratch, 0);
    b.store(unwritten, out, 0);
    let (zero, most) = (b.number_of(0), b.number_of(i64::MAX));
    b.open_loop("k", zero, most, 1, &[]);
    b.close_loop(&[]);
    let mut buffers = [(ParamId::from_u32(1), vec![0; 8])];
    let result = run_within(&b.finish(), &mut buffers, &|s| s.eval(&[]), (0, 0), 1000);
    assert_eq!(result, Err(InterpError::Long(1000)));
    assert_eq!(buffers[0].1, [0xaa; 8]);
}

#[test]
fn a_sum_of_a_product_rounds_once() {
    let mut b = Builder::new("f");
    let out = b.param("out", ParamKind::Write);
    let x = b.fconst(1, 1.0 + f32::EPSILON);
    let y = b.fconst(1, 1.0 - f32::EPSILON);
    let z = b.fconst(1, -1.0);
    let sum = b.mul_add(x, y, z);
    b.store(sum, out, 0);
    let mut buffers = [(ParamId::from_u32(0), vec![0; 4])];
    assert!(run(&b.finish(), &mut buffers, &|s| s.eval(&[]), (0, 0)).is_ok());
    let exact = -f32::EPSILON * f32::EPSILON;
    assert_eq!(buffers[0].1, exact.to_le_bytes());
}
