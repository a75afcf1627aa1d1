//! The block of this thread, and sums over those of all.

use std::cell::{Cell, OnceCell};
use std::sync::{LazyLock, Mutex};

use super::ledger::{self, Block, Counters, Ledger, RARE, Rows, Tables};
use crate::sync::unpoisoned;

/// What is counted has a lane: for its successes, and for each of [`RARE`](Lane::RARE) rarer things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane(u32);

/// The lanes that are not taken.
#[derive(Debug)]
struct Lanes {
    free: Vec<Lane>,
    next: u32,
}

static LANES: Mutex<Lanes> = Mutex::new(Lanes { free: Vec::new(), next: 0 });
static LEDGER: LazyLock<Ledger> = LazyLock::new(Ledger::new);

thread_local! {
    // Without destructors, so that to find them takes no look at whether they are there. Empty until the thread counts.
    static SUCCESSES: Cell<Counters> = const { Cell::new(&[]) };
    static ROWS: Cell<Rows> = const { Cell::new(&[]) };
    static OWN: Own = const { Own(OnceCell::new()) };
}

/// The block that a thread has: `None` where it shares one.
struct Own(OnceCell<Option<Block>>);

impl Lane {
    /// How many rarer things a lane counts.
    pub(crate) const RARE: usize = RARE;

    /// Takes a lane that nothing counts in. What it has counted before is where it begins.
    pub(crate) fn take() -> Self {
        let mut lanes = unpoisoned(LANES.lock());
        if let Some(free) = lanes.free.pop() {
            return free;
        }
        let next = lanes.next;
        lanes.next += 1;
        Self(next)
    }

    /// Gives it back: nothing counts in it any more.
    pub(crate) fn give_back(self) {
        unpoisoned(LANES.lock()).free.push(self);
    }

    pub(crate) const fn number(self) -> u32 {
        self.0
    }

    #[inline]
    const fn index(self) -> usize {
        self.0 as usize
    }

    /// How many successes were counted, by all threads.
    pub(crate) fn successes(self) -> u64 {
        LEDGER.sum_of_successes(&LEDGER.tables(), self.index())
    }

    /// How often each of the rarer things was counted, by all threads.
    pub(crate) fn rarities(self) -> [u64; Self::RARE] {
        LEDGER.sums_of_rarities(&LEDGER.tables(), self.index())
    }
}

/// Counts a success.
#[inline]
pub(crate) fn add_success(lane: Lane) {
    if !ledger::add_success(SUCCESSES.get(), lane.index()) {
        add_first_success(lane.index());
    }
}

/// Counts one of the [`RARE`](Lane::RARE) rarer things.
#[inline]
pub(crate) fn add_rare(lane: Lane, kind: usize) {
    if !ledger::add_rare(ROWS.get(), lane.index(), kind) {
        add_first_rare(lane.index(), kind);
    }
}

#[cold]
#[inline(never)]
fn add_first_success(lane: usize) {
    let counters = with_block(|block| LEDGER.successes(block, lane));
    match counters {
        Some(counters) => {
            SUCCESSES.set(counters);
            ledger::add_success(counters, lane);
        }
        None => LEDGER.add_shared_success(lane),
    }
}

#[cold]
#[inline(never)]
fn add_first_rare(lane: usize, kind: usize) {
    let rows = with_block(|block| LEDGER.rows(block, lane));
    match rows {
        Some(rows) => {
            ROWS.set(rows);
            ledger::add_rare(rows, lane, kind);
        }
        None => LEDGER.add_shared_rare(lane, kind),
    }
}

/// `None`: the thread shares one, or has given its own back already, as it ends.
fn with_block<R>(f: impl FnOnce(&Block) -> R) -> Option<R> {
    OWN.try_with(|Own(block)| block.get_or_init(|| LEDGER.take()).as_ref().map(f)).ok().flatten()
}

impl Drop for Own {
    fn drop(&mut self) {
        SUCCESSES.set(&[]);
        ROWS.set(&[]);
        if let Some(block) = self.0.take().flatten() {
            LEDGER.give_back(block);
        }
    }
}

/// The counters of all threads, to read many sums by.
#[derive(Debug)]
pub(crate) struct View(Vec<Tables>);

impl View {
    pub(crate) fn new() -> Self {
        Self(LEDGER.tables())
    }

    /// As [`Lane::successes`].
    pub(crate) fn successes(&self, lane: Lane) -> u64 {
        LEDGER.sum_of_successes(&self.0, lane.index())
    }

    /// As [`Lane::rarities`].
    pub(crate) fn rarities(&self, lane: Lane) -> [u64; Lane::RARE] {
        LEDGER.sums_of_rarities(&self.0, lane.index())
    }
}
