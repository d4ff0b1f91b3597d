//! What busy neighbours cost: calls on teams of one to twice as many threads as there are processors, beside none to twice as
//! many threads of others that do nothing but compute. Prints for each the median of a call and the slowest in twenty, and
//! the median over a fair one: the time that the team needs alone, over the part of the processors that is its share.
#![forbid(unsafe_code)]

use clap::Parser;
use lowbit::bench::{Bench, Data};
use lowbit::{Engine, Kernel};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Times of calls beside threads of others
#[derive(Parser)]
struct Arguments {
    /// Rows of activations
    #[arg(long, default_value_t = 1)]
    rows: u64,
    /// Rows and columns of the weights
    #[arg(long, value_delimiter = ',', default_value = "512,4096")]
    sizes: Vec<u64>,
    /// Seconds for each line
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

const TEXT: &str = "language 1; import \"std/ints\";
    kernel linear(weight w: int4_32[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
        let q[m, k] = quantize x[m, k] as q8_32;
        y[m, n] = sum(k) w[n, k] * q[m, k];
    }";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let engine = Engine::host()?;
    let processors = thread::available_parallelism()?.get();
    println!("{processors} processors\n");
    println!(
        "| N = K | threads | threads of others | µs | slowest in twenty, µs | of a fair time |"
    );
    println!("|--:|--:|--:|--:|--:|--:|");
    for size in &arguments.sizes {
        let kernel = engine.compile(TEXT, &[("N", *size), ("K", *size)])?;
        let data = Data::new(&kernel, arguments.rows, 0)?;
        let alone = |threads: usize| -> Result<f64, Box<dyn Error>> {
            Ok(Times::of(&kernel, &data, threads, arguments.seconds)?.median)
        };
        let quiet = [alone(1)?, alone(processors)?];
        for threads in [1, processors, 2 * processors] {
            for others in [0, processors, 2 * processors] {
                let busy = Busy::start(others);
                let times = Times::of(&kernel, &data, threads, arguments.seconds)?;
                busy.stop();
                let at_once = threads.min(processors) as f64;
                let share = (processors * threads) as f64 / (threads + others) as f64;
                let fair = quiet[usize::from(threads > 1)] * at_once / share.min(at_once);
                println!(
                    "| {size} | {threads} | {others} | {:.1} | {:.1} | {:.2} |",
                    times.median * 1e6,
                    times.slow * 1e6,
                    times.median / fair
                );
            }
        }
    }
    Ok(())
}

/// Seconds of calls.
struct Times {
    median: f64,
    /// What the slowest call in twenty takes.
    slow: f64,
}

impl Times {
    /// Of calls one after the other on a team of so many threads.
    fn of(
        kernel: &Kernel,
        data: &Data,
        threads: usize,
        seconds: f64,
    ) -> Result<Times, Box<dyn Error>> {
        // One call a round, after one that is not timed: the team is awake.
        let mut bench = Bench::new(kernel, data, threads, Duration::ZERO)?;
        let (start, mut times) = (Instant::now(), Vec::new());
        while times.is_empty() || start.elapsed().as_secs_f64() < seconds {
            times.push(bench.round()?);
        }
        times.sort_by(f64::total_cmp);
        Ok(Times {
            median: times[times.len() / 2],
            slow: times[times.len() * 19 / 20],
        })
    }
}

/// Threads that compute until they are told to stop.
struct Busy {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    fn start(threads: usize) -> Busy {
        let stop = Arc::new(AtomicBool::new(false));
        let compute = |stop: Arc<AtomicBool>| {
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let add = |sum: u64, i| std::hint::black_box(sum).wrapping_add(i);
                    std::hint::black_box((0..1000u64).fold(0, add));
                }
            }
        };
        Busy {
            threads: (0..threads)
                .map(|_| thread::spawn(compute(stop.clone())))
                .collect(),
            stop,
        }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // Nothing in them panics.
            let _ended = thread.join();
        }
    }
}
