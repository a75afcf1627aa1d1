//! Successes on their way into the window: counted without a lock, drained in order under it.

use crate::sync::{AtomicU64, Ordering};

/// `tag << 25 | blocked << 24 | count`: how many successes wait, under a tag that is never used twice.
///
/// A thread that counts has looked, between reading the tag and adding, that its generation is still the present one and
/// that its tick is the present one. A thread that changes generation or tick holds the breaker's lock and does so between
/// [`block`](Self::block) and [`unblock`](Self::unblock): the first makes every count that began before fail or be
/// part of what is drained, the second lets counts begin that see the change. So no success is lost, none is counted
/// in a generation that is not its own, and none needs the lock.
#[derive(Debug)]
pub(super) struct SuccessCounter(AtomicU64);

const COUNT: u64 = (1 << 24) - 1;
const BLOCKED: u64 = 1 << 24;
const TAG: u32 = 25;

/// After so many waiting successes their caller tries to drain them, so that a window without failures becomes clean.
const BATCH: u64 = 64;

/// A moment of the counter, to add to if it still is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(u64);

/// What came of adding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    Yes,
    /// Yes, and a batch is full.
    Batch,
    /// Something changed meanwhile: look again.
    Again,
}

impl SuccessCounter {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// `None`: the holder of the lock is changing something; the success must go through the lock.
    #[inline]
    pub(super) fn mark(&self) -> Option<Mark> {
        let word = self.0.load(Ordering::Acquire);
        // Blocked is beyond the highest count.
        (word & (BLOCKED | COUNT) < COUNT).then_some(Mark(word))
    }

    /// Adds one success if nothing happened since the mark.
    #[inline]
    pub(super) fn add(&self, mark: Mark) -> Added {
        match self.0.compare_exchange_weak(mark.0, mark.0 + 1, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(before) if ((before + 1) & COUNT).is_multiple_of(BATCH) => Added::Batch,
            Ok(_) => Added::Yes,
            Err(_) => Added::Again,
        }
    }

    /// Takes out what waits. Only under the lock.
    #[inline]
    pub(super) fn drain(&self) -> u64 {
        let word = self.0.load(Ordering::Acquire);
        if word & COUNT == 0 {
            return 0;
        }
        // Meanwhile only the count can change.
        self.0.swap(word & !COUNT, Ordering::AcqRel) & COUNT
    }

    /// Begins a change of generation or tick; returns what waited. Only under the lock.
    pub(super) fn block(&self) -> u64 {
        let tag = (self.0.load(Ordering::Relaxed) >> TAG).wrapping_add(1);
        self.0.swap(tag << TAG | BLOCKED, Ordering::AcqRel) & COUNT
    }

    /// Ends a change. Only under the lock.
    pub(super) fn unblock(&self) {
        // No count is added to it while it is blocked.
        self.0.store(self.0.load(Ordering::Relaxed) & !BLOCKED, Ordering::Release);
    }
}
