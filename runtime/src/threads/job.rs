//! How a region that is borrowed gets to threads that live longer than it. All unsafe code of the team is here.
//!
//! Whoever has the turn lends a region: its address is put beside the gate, the gate is opened, and closed again before the
//! borrow ends. A worker reads the address only inside the gate.

use super::gate::{Gate, Seen};
use super::region::Region;
use super::spin::Patience;
use super::sync::{Line, Mutex, MutexGuard, UnsafeCell, held_at_once};
use std::ptr;

/// Where regions are lent to the workers of a team.
pub(super) struct Job {
    turn: Line<Mutex<()>>,
    lent: Line<Lent>,
}

/// The gate and what is behind it, on one line of the cache: a worker needs both at once.
struct Lent {
    gate: Gate,
    region: UnsafeCell<*const Region<'static>>,
}

/// The right to lend, which one thread has at a time.
pub(super) struct Turn<'j> {
    lent: &'j Lent,
    _held: MutexGuard<'j, ()>,
}

/// A loan that has to end, also on the way of a panic.
struct Loan<'j>(&'j Lent, Patience);

/// A region may be used from several threads at once.
const fn shared<T: Sync>() {}
const _: () = shared::<Region<'static>>();

// SAFETY: all fields but `region` can be sent and shared. `region` is an address, accessed in this file only: written in
// `Turn::lend`, before the gate is opened and after it was closed, and read in `Job::visit`, inside the gate. Writers exclude
// each other by the lock of the turn. When they write, the gate is closed and empty: it is so at first, and when
// `Gate::close` returns, which is before the lock is released. That readers see the write before the opening, and that the
// next write comes after the reads before the leaving, is promise (3) of the gate. So there is no data race, and what the
// address leads to is `Sync`, as checked above.
unsafe impl Send for Lent {}
// SAFETY: as for `Send`.
unsafe impl Sync for Lent {}

impl Job {
    pub(super) fn new() -> Job {
        Job {
            turn: Line(Mutex::new(())),
            lent: Line(Lent {
                gate: Gate::new(),
                region: UnsafeCell::new(ptr::null()),
            }),
        }
    }

    /// The turn, if nobody has it. It never waits: who has it may itself be waiting for whoever asks.
    pub(super) fn turn(&self) -> Option<Turn<'_>> {
        Some(Turn {
            _held: held_at_once(self.turn.try_lock())?,
            lent: &self.lent,
        })
    }

    /// Waits for a region that calls worker `thread`, and attends it; false if the team ends. `park` is how it sleeps.
    pub(super) fn visit(
        &self,
        thread: usize,
        seen: &mut Seen,
        patience: Patience,
        park: &dyn Fn(),
        attend: impl FnOnce(&Region<'_>),
    ) -> bool {
        let Some(inside) = self.lent.gate.enter(thread, seen, patience, park) else {
            return false;
        };
        // SAFETY: this worker came in while the gate was open, by promise (1) of the gate, and is inside until `inside` is
        // dropped, which a panic does, too. The gate is opened by `Turn::lend` alone, which has written the address of a region
        // before, and neither returns nor unwinds before `Gate::close` has returned, which is when nobody is inside (2). So
        // until `inside` is dropped `lend` runs, and with it the borrow of the region. The reference ends with the call of
        // `attend`, which cannot keep it, nor anything of the region: it takes a region of any lifetimes, and knows of none
        // that they are longer than the call.
        self.lent.region.with(|slot| attend(unsafe { &**slot }));
        drop(inside);
        true
    }

    /// Tells all workers that the team ends.
    pub(super) fn stop(&self) {
        self.lent.gate.stop();
    }
}

impl Turn<'_> {
    /// Lends a region to `team` threads while `body` runs, which is told whether workers sleep. When this returns, no worker
    /// has the region any more.
    pub(super) fn lend(
        &mut self,
        region: &Region<'_>,
        team: usize,
        patience: Patience,
        body: impl FnOnce(bool),
    ) {
        let address = ptr::from_ref(region).cast::<Region<'static>>();
        // SAFETY: this has the turn, and the gate is closed and empty while nobody lends.
        unsafe { self.lent.set(address) };
        let asleep = self.lent.gate.open(team);
        let loan = Loan(self.lent, patience);
        body(asleep);
        drop(loan);
    }
}

impl Lent {
    /// Writes what is lent.
    ///
    /// # Safety
    ///
    /// Only by who has the turn, while the gate is closed and empty.
    unsafe fn set(&self, address: *const Region<'static>) {
        // SAFETY: nobody else accesses the cell now, as said at `Send`.
        self.region.with_mut(|slot| unsafe { *slot = address });
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.0.gate.close(self.1);
        // Nobody reads it any more. It is written so that loom finds out if somebody does.
        // SAFETY: a loan is made by who has the turn, and does not outlive it; the gate has just been closed, and is empty.
        unsafe { self.0.set(ptr::null()) };
    }
}
