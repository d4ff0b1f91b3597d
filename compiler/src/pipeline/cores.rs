//! Work on all cores: the graphs of plans know nothing of each other.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};

/// What some work gives for all jobs, in their order, on as many threads as there are processors, or jobs.
pub(super) fn on_all_cores<J: Send, R: Send>(jobs: Vec<J>, work: impl Fn(J) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cores.min(jobs.len());
    let waiting = Mutex::new(jobs.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.next()
    };
    let run = || {
        while let Some((at, job)) = next() {
            let result = work(job);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((at, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Where the system has no thread to give, this one does the work.
            let _ = std::thread::Builder::new().spawn_scoped(scope, run);
        }
        run();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::on_all_cores;

    #[test]
    fn results_are_in_the_order_of_the_jobs() {
        let doubled = on_all_cores((0..100).collect(), |n: u64| {
            std::thread::sleep(std::time::Duration::from_micros(n % 7));
            2 * n
        });
        assert_eq!(doubled, (0..100).map(|n| 2 * n).collect::<Vec<u64>>());
        assert_eq!(on_all_cores(Vec::new(), |n: u64| n), [0; 0]);
    }
}
