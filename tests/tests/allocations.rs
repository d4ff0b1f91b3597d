//! Calls of a kernel that is warm allocate nothing: prepared or not, on one thread and on the threads of a pool. Only one test,
//! because the allocations of the whole process are counted.

use lowbit::{Engine, Pool, Scratch, Scratches, Tensor};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::num::NonZeroUsize;
use std::sync::Barrier;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Quantising puts intermediates into scratch memory.
const TEXT: &str = "language 1; import \"std/ints\";
    kernel linear(weight w: int4_32[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
        let q[m, k] = quantize x[m, k] as q8_32;
        y[m, n] = sum(k) w[n, k] * q[m, k];
    }";

/// Allocations of any kind during the third to twelfth of twelve calls.
fn allocations(mut call: impl FnMut()) -> usize {
    (0..2).for_each(|_| call());
    let region = Region::new(ALLOCATOR);
    (0..10).for_each(|_| call());
    let change = region.change();
    change.allocations + change.reallocations + change.deallocations
}

#[test]
fn warm_calls_allocate_nothing() -> Result<(), lowbit::Error> {
    // What allocates is seen.
    let allocating = || drop(std::hint::black_box(vec![0u8; 100]));
    assert_eq!(allocations(allocating), 20);
    let (n, k) = (200, 256);
    let engine = Engine::host()?;
    let kernel = engine.compile(TEXT, &[("N", n), ("K", k)])?;
    let w = kernel.pack("w", &vec![0.5; (n * k) as usize])?;
    for rows in [1, 7] {
        let x = Tensor::from_f32(&[rows, k], &vec![1.0; (rows * k) as usize])?;
        let args = [("w", &w), ("x", &x)];
        let mut y = vec![0; (rows * n * 4) as usize];
        let mut scratch = Scratch::default();
        let prepared = kernel.prepare(&args)?;
        let one = allocations(|| {
            let done = prepared.run(&mut [&mut y], &mut scratch);
            done.expect("it runs");
        });
        let into = allocations(|| {
            let done = kernel.call_into(&args, &mut [&mut y], &mut scratch);
            done.expect("it runs");
        });
        assert_eq!((one, into), (0, 0), "{rows} rows");
        for threads in [1, 2, 5] {
            let pool = Pool::new(NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN))?;
            // All threads have begun, which takes memory.
            let all = Barrier::new(threads);
            pool.run(threads, &|_| _ = all.wait());
            let mut scratches = Scratches::default();
            let prepared = allocations(|| {
                let done = prepared.run_on(&pool, &mut [&mut y], &mut scratches);
                done.expect("it runs");
            });
            let on = allocations(|| {
                let done = kernel.call_on(&pool, &args, &mut [&mut y], &mut scratches);
                done.expect("it runs");
            });
            assert_eq!((prepared, on), (0, 0), "{rows} rows on {threads} threads");
        }
    }
    Ok(())
}
