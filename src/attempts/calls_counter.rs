//! What each call with retries counts, whether or not anything goes wrong.

#[cfg(not(feature = "counts"))]
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[cfg(feature = "counts")]
use crate::counts::{Lane, add_rare, add_success};

/// Calls and attempts. With the feature `counts` each thread counts its own.
#[derive(Debug, Default)]
#[cfg(not(feature = "counts"))]
pub(super) struct CallsCounter {
    calls: AtomicU64,
    attempts: AtomicU64,
}

#[cfg(not(feature = "counts"))]
impl CallsCounter {
    pub(super) fn call(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    pub(super) fn attempt(&self) {
        self.attempts.fetch_add(1, Relaxed);
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    pub(super) fn attempts(&self) -> u64 {
        self.attempts.load(Relaxed)
    }
}

/// Calls and attempts, each thread's own.
#[derive(Debug)]
#[cfg(feature = "counts")]
pub(super) struct CallsCounter {
    lane: Lane,
    /// What the lane had counted for another one.
    base: (u64, u64),
}

#[cfg(feature = "counts")]
const ATTEMPT: usize = 0;

#[cfg(feature = "counts")]
impl CallsCounter {
    pub(super) fn call(&self) {
        add_success(self.lane);
    }

    pub(super) fn attempt(&self) {
        add_rare(self.lane, ATTEMPT);
    }

    pub(super) fn calls(&self) -> u64 {
        self.lane.successes() - self.base.0
    }

    pub(super) fn attempts(&self) -> u64 {
        self.lane.rarities()[ATTEMPT] - self.base.1
    }
}

#[cfg(feature = "counts")]
impl Default for CallsCounter {
    fn default() -> Self {
        let lane = Lane::take();
        Self { lane, base: (lane.successes(), lane.rarities()[ATTEMPT]) }
    }
}

#[cfg(feature = "counts")]
impl Drop for CallsCounter {
    fn drop(&mut self) {
        self.lane.give_back();
    }
}
