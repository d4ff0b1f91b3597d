//! The cores that the workers of a team went to sleep on, and waking each on one that no other of the team is on.
//!
//! A thread is woken where it last ran, or where its waker runs, unless the system finds an idle core for it; and a busy system
//! hardly looks for one (Linux, when its cores were nearly all in use of late). A worker on the core of its caller waits until
//! the caller is interrupted, some milliseconds in which the caller does all pieces, and goes to sleep again on the same core:
//! so a team of two took as long as one thread, for as long as a benchmark ran. Who wakes the team therefore takes the cores
//! of the others off the list that the system chooses from for a worker; the worker puts them back as soon as it runs.

use super::spin::core_for_each;
use super::sync::{held, held_at_once};
use os::{Id, List};
use std::sync::Mutex;

/// Where the workers of a team sleep.
pub(super) struct Cores {
    workers: Box<[Mutex<Option<Asleep>>]>,
    /// The process that they are threads of. One that was forked from it has none of them.
    process: u32,
}

/// A worker that sleeps, or is about to.
struct Asleep {
    id: Id,
    /// Where it last ran.
    core: usize,
    /// If it is kept off some cores.
    kept: Option<Kept>,
}

/// The lists of cores of a worker that is kept off some.
#[derive(Clone, Copy)]
struct Kept {
    /// As it was.
    whole: List,
    /// As it is until the worker runs.
    rest: List,
}

impl Cores {
    /// Of a team of so many threads, its caller included. Nothing is known of a team that has not a core for each: its threads
    /// sleep wherever they are put.
    pub(super) fn of(threads: usize) -> Cores {
        let known = if core_for_each(threads) { threads } else { 1 };
        Cores {
            workers: (1..known).map(|_| Mutex::new(None)).collect(),
            process: std::process::id(),
        }
    }

    /// Runs `sleep` as a worker, the calling thread, whose core is known meanwhile.
    pub(super) fn asleep(&self, worker: usize, sleep: impl FnOnce()) {
        let Some((slot, core)) = self.workers.get(worker).zip(os::core()) else {
            return sleep();
        };
        let id = os::id();
        *held(slot.lock()) = Some(Asleep {
            id,
            core,
            kept: None,
        });
        sleep();
        let was = held(slot.lock()).take();
        if let Some(Kept { whole, rest }) = was.and_then(|a| a.kept)
            // Another list is that of somebody else, who wants it.
            && os::list(id) == Some(rest)
        {
            os::set_list(id, &whole);
        }
    }

    /// Before the first workers, so many of them, are woken by the calling thread: each will wake where it went to sleep, or on a
    /// core that none of these is on, if there is one. Also those that sleep apart are kept off the core of the caller, which
    /// the system likes to wake them on.
    pub(super) fn part(&self, workers: usize) {
        let Some(here) = os::core().filter(|_| std::process::id() == self.process) else {
            return;
        };
        let workers = &self.workers[..workers.min(self.workers.len())];
        let mut all = Set::of(here);
        for slot in workers {
            asleep_in(slot, |asleep| _ = all.insert(asleep.core));
        }
        let mut taken = Set::of(here);
        for slot in workers {
            asleep_in(slot, |asleep| {
                let own = taken.insert(asleep.core).then_some(asleep.core);
                asleep.keep_off(all.cores().filter(|core| Some(*core) != own));
            });
        }
    }
}

impl Asleep {
    /// Takes cores off the list that it may run on, if others are left.
    fn keep_off(&mut self, cores: impl Iterator<Item = usize>) {
        // Who was kept off others before, and has not run since, has the whole list still.
        let known = self.kept.map(|kept| kept.whole);
        let Some(whole) = known.or_else(|| os::list(self.id)) else {
            return;
        };
        let rest = os::without(whole, cores);
        if rest.is_some_and(|rest| os::set_list(self.id, &rest)) {
            self.kept = rest.map(|rest| Kept { whole, rest });
        }
    }
}

/// Does something with a worker if it sleeps. One that is just waking or going to sleep is not waited for.
fn asleep_in(slot: &Mutex<Option<Asleep>>, then: impl FnOnce(&mut Asleep)) {
    let mut guard = held_at_once(slot.try_lock());
    if let Some(asleep) = guard.as_mut().and_then(|g| g.as_mut()) {
        then(asleep);
    }
}

/// Cores, of the first 1024; there are no others in it.
struct Set([u64; 16]);

impl Set {
    fn of(core: usize) -> Set {
        let mut set = Set([0; 16]);
        set.insert(core);
        set
    }

    /// Whether the core was not in it.
    fn insert(&mut self, core: usize) -> bool {
        let bit = 1 << (core % 64);
        let new = |word: &mut u64| {
            let new = *word & bit == 0;
            *word |= bit;
            new
        };
        self.0.get_mut(core / 64).is_none_or(new)
    }

    fn cores(&self) -> impl Iterator<Item = usize> {
        (0..64 * self.0.len()).filter(|core| self.0[core / 64] >> (core % 64) & 1 == 1)
    }
}

/// What Linux says of cores, and lets choose.
#[cfg(all(target_os = "linux", not(loom)))]
mod os {
    use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

    pub(super) type Id = Pid;
    /// Cores that a thread may run on.
    pub(super) type List = CpuSet;

    /// The calling thread.
    pub(super) fn id() -> Id {
        gettid()
    }

    /// The core of the calling thread.
    pub(super) fn core() -> Option<usize> {
        Some(sched_getcpu())
    }

    /// The list of a thread.
    pub(super) fn list(thread: Id) -> Option<List> {
        sched_getaffinity(Some(thread)).ok()
    }

    /// A list without some cores, if others are left.
    pub(super) fn without(list: List, cores: impl Iterator<Item = usize>) -> Option<List> {
        let mut rest = list;
        let known = cores.take_while(|c| *c < CpuSet::MAX_CPU);
        known.for_each(|core| rest.unset(core));
        (rest.count() > 0).then_some(rest)
    }

    /// Sets the list of a thread; false if the system refuses, which leaves it as it is.
    pub(super) fn set_list(thread: Id, list: &List) -> bool {
        sched_setaffinity(Some(thread), list).is_ok()
    }
}

/// Other systems are not asked.
#[cfg(not(all(target_os = "linux", not(loom))))]
mod os {
    #[derive(Clone, Copy)]
    pub(super) struct Id;
    #[derive(Clone, Copy, PartialEq)]
    pub(super) enum List {}

    pub(super) fn id() -> Id {
        Id
    }

    pub(super) fn core() -> Option<usize> {
        None
    }

    pub(super) fn list(_: Id) -> Option<List> {
        None
    }

    pub(super) fn without(list: List, _: impl Iterator<Item = usize>) -> Option<List> {
        match list {}
    }

    pub(super) fn set_list(_: Id, list: &List) -> bool {
        match *list {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_knows_what_was_in_it() {
        let mut set = Set::of(63);
        assert!(set.insert(64) && set.insert(0) && set.insert(1023) && set.insert(5000));
        assert!(!set.insert(63) && !set.insert(64) && set.insert(5000));
        assert_eq!(set.cores().collect::<Vec<_>>(), [0, 63, 64, 1023]);
    }

    #[cfg(all(target_os = "linux", not(loom)))]
    #[test]
    fn a_worker_is_kept_off_the_core_of_its_caller_until_it_runs() {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let whole = sched_getaffinity(None).expect("the list of cores");
        let cores = Cores::of(2);
        if whole.count() < 2 || cores.workers.is_empty() {
            return;
        }
        // Who panics drops an end of these, so that the other does not wait for ever.
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (wake, awake) = std::sync::mpsc::channel::<()>();
        let cores = &cores;
        std::thread::scope(move |scope| {
            let worker = scope.spawn(move || {
                let mut inside = None;
                cores.asleep(0, || {
                    ready.send(()).expect("a caller");
                    awake.recv().expect("a caller");
                    inside = Some((os::core(), sched_getaffinity(None)));
                });
                (inside.expect("it slept"), sched_getaffinity(None))
            });
            is_ready.recv().expect("a worker");
            let slept_on = held(cores.workers[0].lock()).as_ref().expect("asleep").core;
            // The calling thread goes where the worker is.
            let mut one = CpuSet::new();
            one.set(slept_on);
            sched_setaffinity(None, &one).expect("a core of the list");
            cores.part(1);
            let listed = held(cores.workers[0].lock()).as_ref().expect("asleep").id;
            let kept = sched_getaffinity(Some(listed)).expect("the list of the worker");
            sched_setaffinity(None, &whole).expect("as it was");
            wake.send(()).expect("a worker");
            let ((core, within), after) = worker.join().expect("no panic");
            assert!(!kept.is_set(slept_on), "{kept:?}");
            assert_eq!(within.expect("a list"), kept);
            assert_ne!(core, Some(slept_on));
            assert_eq!(after.expect("a list"), whole);
        });
    }

    #[test]
    fn a_forked_process_leaves_the_workers_of_its_parent_alone() {
        let Some(core) = os::core() else { return };
        let parent = Cores {
            workers: [Mutex::new(None)].into(),
            process: std::process::id() + 1,
        };
        parent.asleep(0, || {
            // It sleeps where the caller runs, and would be kept off.
            parent.part(1);
            let slot = held(parent.workers[0].lock());
            let asleep = slot.as_ref().expect("it is asleep");
            assert!(asleep.kept.is_none(), "on core {core}");
        });
    }
}
