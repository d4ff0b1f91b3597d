//! Calls on the threads of a pool give what calls on one thread give, whoever calls and whatever the shape.

use lowbit::{Call, Engine, Error, Kernel, Pool, Scratch, Scratches, Tensor, together};
use std::num::NonZeroUsize;

const TEXT: &str = "language 1; import \"std/ints\";
    kernel linear(weight w: int4_32[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
        let q[m, k] = quantize x[m, k] as q8_32;
        y[m, n] = sum(k) w[n, k] * q[m, k];
    }";

/// A kernel with tensors to call it on.
struct Linear {
    kernel: Kernel,
    w: Tensor,
    x: Tensor,
    bytes: usize,
}

impl Linear {
    fn new(engine: &Engine, (n, k, m): (u64, u64, u64)) -> Result<Linear, Error> {
        let kernel = engine.compile(TEXT, &[("N", n), ("K", k)])?;
        let number = |i: u64| ((i * 7919 % 997) as f32 - 498.0) / 498.0;
        let values = |count: u64| (0..count).map(number).collect::<Vec<f32>>();
        Ok(Linear {
            w: kernel.pack("w", &values(n * k))?,
            x: Tensor::from_f32(&[m, k], &values(m * k))?,
            bytes: (4 * m * n) as usize,
            kernel,
        })
    }

    /// One of each shape.
    fn all(engine: &Engine) -> Result<Vec<Linear>, Error> {
        SHAPES.iter().map(|s| Linear::new(engine, *s)).collect()
    }

    fn args(&self) -> [(&str, &Tensor); 2] {
        [("w", &self.w), ("x", &self.x)]
    }

    fn alone(&self) -> Result<Vec<u8>, Error> {
        let mut y = vec![0xaa; self.bytes];
        let scratch = &mut Scratch::default();
        self.kernel
            .call_into(&self.args(), &mut [&mut y], scratch)?;
        Ok(y)
    }

    fn on(&self, pool: &Pool) -> Result<Vec<u8>, Error> {
        let mut y = vec![0xaa; self.bytes];
        let scratches = &mut Scratches::default();
        self.kernel
            .call_on(pool, &self.args(), &mut [&mut y], scratches)?;
        Ok(y)
    }
}

fn pool(threads: usize) -> Pool {
    let threads = NonZeroUsize::new(threads).expect("some threads");
    Pool::new(threads).expect("a pool")
}

/// Rows that tiles divide, that they leave over, and fewer than there are threads.
const SHAPES: [(u64, u64, u64); 7] = [
    (64, 64, 1),
    (1, 32, 3),
    (37, 96, 1),
    (16, 33, 9),
    (129, 64, 2),
    (5, 1, 1),
    (48, 320, 70),
];

#[test]
fn rows_that_are_divided_among_threads_are_those_of_one_thread() -> Result<(), Error> {
    let engine = Engine::host()?;
    for threads in [1, 2, 3, 8] {
        let pool = pool(threads);
        for shape in SHAPES {
            let linear = Linear::new(&engine, shape)?;
            assert_eq!(linear.on(&pool)?, linear.alone()?, "{shape:?} on {threads}");
        }
    }
    Ok(())
}

#[test]
fn kernels_called_from_eight_threads_at_once_give_right_answers() -> Result<(), Error> {
    let engine = Engine::host()?;
    let pool = pool(3);
    let all = Linear::all(&engine)?;
    let expected: Result<Vec<Vec<u8>>, Error> = all.iter().map(Linear::alone).collect();
    let expected = expected?;
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let (all, expected, pool) = (&all, &expected, &pool);
            scope.spawn(move || {
                for round in 0..20 {
                    let at = (caller + round) % all.len();
                    let found = all[at].on(pool).expect("a result");
                    assert_eq!(found, expected[at], "{:?}", SHAPES[at]);
                }
            });
        }
    });
    Ok(())
}

#[test]
fn several_calls_are_one_region() -> Result<(), Error> {
    let engine = Engine::host()?;
    let pool = pool(2);
    let all = Linear::all(&engine)?;
    let mut results: Vec<Vec<u8>> = all.iter().map(|l| vec![0xaa; l.bytes]).collect();
    let mut scratches: Vec<Scratches> = all.iter().map(|_| Scratches::default()).collect();
    let prepared: Result<Vec<_>, Error> = all.iter().map(|l| l.kernel.prepare(&l.args())).collect();
    let prepared = prepared?;
    let mut outputs: Vec<[&mut [u8]; 1]> = results.iter_mut().map(|r| [r.as_mut_slice()]).collect();
    let calls = prepared.iter().zip(&mut outputs).zip(&mut scratches);
    let calls = calls.map(|((prepared, outputs), scratches)| Call {
        prepared,
        outputs,
        scratches,
    });
    together(&pool, calls.collect())?;
    for (linear, result) in all.iter().zip(&results) {
        assert_eq!(*result, linear.alone()?);
    }
    Ok(())
}

#[test]
fn outputs_of_a_wrong_length_are_refused_before_any_call_runs() -> Result<(), Error> {
    let engine = Engine::host()?;
    let linear = Linear::new(&engine, SHAPES[0])?;
    let mut short = vec![0xaa; linear.bytes - 4];
    let scratches = &mut Scratches::default();
    let args = linear.args();
    let refused = linear
        .kernel
        .call_on(&pool(2), &args, &mut [&mut short], scratches);
    assert!(matches!(refused, Err(Error::Length { .. })));
    assert!(short.iter().all(|b| *b == 0xaa));
    Ok(())
}

#[test]
fn a_kernel_that_is_compiled_again_is_the_same_while_it_lives() -> Result<(), Error> {
    let engine = Engine::host()?;
    let first = engine.compile(TEXT, &[("N", 32), ("K", 64)])?;
    let again = engine.compile(TEXT, &[("N", 32), ("K", 64)])?;
    assert!(first.is(&again));
    let other = engine.compile(TEXT, &[("N", 32), ("K", 96)])?;
    assert!(!first.is(&other));
    let elsewhere = Engine::host()?.compile(TEXT, &[("N", 32), ("K", 64)])?;
    assert!(!first.is(&elsewhere));
    Ok(())
}
