//! Calls on the threads of a pool: each thread computes some of the rows. Several calls can be one region of the pool, so that
//! the projections of a layer cost one fork and join.
#![forbid(unsafe_code)]

use crate::call::{Prepared, Rows, Scratch};
use crate::{Error, Kernel, Pool, Tensor};
use smallvec::SmallVec;
use std::sync::{Mutex, PoisonError};

/// Memory for the intermediates of calls on several threads, kept between calls so that they need not allocate.
#[derive(Debug, Default)]
pub struct Scratches {
    each: Vec<Scratch>,
}

impl Scratches {
    fn of(&mut self, threads: usize) -> &mut [Scratch] {
        if self.each.len() < threads {
            self.each.resize_with(threads, Scratch::default);
        }
        &mut self.each[..threads]
    }
}

/// A call with what it writes to, for [`together`].
pub struct Call<'c, 'a> {
    /// The call.
    pub prepared: &'c Prepared<'a>,
    /// The bytes of its outputs, in the order declared.
    pub outputs: &'c mut [&'c mut [u8]],
    /// Its intermediates.
    pub scratches: &'c mut Scratches,
}

/// The parts of all calls that one thread computes, one after the other.
type Share<'c, 'a> = Mutex<SmallVec<[(Rows<'c, 'a>, &'c mut Scratch); 1]>>;

/// Runs calls that do not depend on each other as one region of a pool: each thread computes its part of each. A call whose rows
/// cannot be divided is computed by one of them.
///
/// # Errors
///
/// If the outputs of a call are not as many and as long as they must be; then none is run. If a call fails, others may have been
/// run.
pub fn together<'c, 'a>(pool: &Pool, calls: Vec<Call<'c, 'a>>) -> Result<(), Error> {
    let calls = calls.into_iter();
    at_once(pool, calls.map(|c| (c.prepared, c.outputs, c.scratches)))
}

/// Threads whose shares need no memory of their own.
const FEW: usize = 16;

/// A prepared call, its outputs and its intermediates.
type Borrowed<'c, 'o, 'a> = (&'c Prepared<'a>, &'c mut [&'o mut [u8]], &'c mut Scratches);

fn at_once<'c, 'o: 'c, 'a: 'c>(
    pool: &Pool,
    calls: impl IntoIterator<Item = Borrowed<'c, 'o, 'a>>,
) -> Result<(), Error> {
    let threads = pool.threads();
    let mut shares: SmallVec<[Share<'c, 'a>; FEW]> = SmallVec::new();
    shares.resize_with(threads, Mutex::default);
    for (at, (prepared, outputs, scratches)) in calls.into_iter().enumerate() {
        let parts = prepared.parts(outputs, threads as u64)?;
        for ((part, scratch), number) in parts.zip(scratches.of(threads)).zip(0..) {
            // What is one part goes to one thread after the other.
            let share = &mut shares[(number + at) % threads];
            let share = share.get_mut().unwrap_or_else(PoisonError::into_inner);
            share.push((part, scratch));
        }
    }
    let failed = Mutex::new(None);
    pool.run(threads, &|piece| {
        let mut share = shares[piece.index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (part, scratch) in share.drain(..) {
            if let Err(error) = part.run(scratch) {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(error);
            }
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

impl Prepared<'_> {
    /// Runs the call on the threads of a pool.
    ///
    /// # Errors
    ///
    /// If the outputs are not as many and as long as they must be.
    pub fn run_on(
        &self,
        pool: &Pool,
        outputs: &mut [&mut [u8]],
        scratches: &mut Scratches,
    ) -> Result<(), Error> {
        if let (1, [scratch]) = (pool.threads(), scratches.of(1)) {
            return self.run(outputs, scratch);
        }
        at_once(pool, [(self, outputs, scratches)])
    }
}

impl Kernel {
    /// Like [`Kernel::call_into`], on the threads of a pool.
    ///
    /// ```
    /// use lowbit::{Engine, Pool, Scratches, Tensor};
    /// let (engine, pool) = (Engine::host()?, Pool::host()?);
    /// let kernel = engine.compile(
    ///     "language 1; import \"std/ints\";
    ///      kernel linear(weight w: int4_32[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
    ///          y[m, n] = sum(k) w[n, k] * x[m, k];
    ///      }",
    ///     &[("N", 64), ("K", 64)],
    /// )?;
    /// let w = kernel.pack("w", &[0.5; 64 * 64])?;
    /// let x = Tensor::from_f32(&[1, 64], &[1.0; 64])?;
    /// let (mut y, mut scratches) = (vec![0; 64 * 4], Scratches::default());
    /// kernel.call_on(&pool, &[("w", &w), ("x", &x)], &mut [&mut y], &mut scratches)?;
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What [`Kernel::call_into`] gives.
    pub fn call_on(
        &self,
        pool: &Pool,
        args: &[(&str, &Tensor)],
        outputs: &mut [&mut [u8]],
        scratches: &mut Scratches,
    ) -> Result<(), Error> {
        self.prepare(args)?.run_on(pool, outputs, scratches)
    }
}
