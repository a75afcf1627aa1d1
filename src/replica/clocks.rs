//! One moment on two clocks: this instance's and the store's.

use std::time::Duration;

use crate::time::{Timestamp, nanos};

/// A moment, by this instance's clock and by the store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clocks {
    pub(crate) here: Timestamp,
    pub(crate) store: Timestamp,
}

/// What an instance knows of the store's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    at: Clocks,
    /// What the moment may be off by: so long was the answer on its way.
    error: Duration,
}

/// Clocks run apart by a ten-thousandth at the most, of the time that truly passed: it is a little more of what a slow one
/// shows.
const DRIFT: u32 = 9_999;

impl Clocks {
    /// The store's time that is `here` now, as far as this instance can tell.
    pub(super) fn store_at(self, here: Timestamp) -> Timestamp {
        if here >= self.here { self.store + here.since(self.here) } else { before(self.store, self.here.since(here)) }
    }
}

impl Estimate {
    /// What an answer tells that was on its way for so long. Of answers that agree, the fastest counts; one that does not
    /// tells that a clock was set.
    pub(super) fn learn(known: Option<Self>, at: Clocks, took: Duration) -> Self {
        let new = Self { at, error: took };
        let Some(known) = known else {
            return new;
        };
        let (expected, error) = (known.at.store_at(at.here), known.error_at(at.here));
        let apart = expected.since(at.store).max(at.store.since(expected));
        let agrees = apart <= error + took;
        if agrees && error < took { known } else { new }
    }

    pub(super) fn store_at(&self, here: Timestamp) -> Timestamp {
        self.at.store_at(here)
    }

    /// What this instance's idea of the store's time may be off by.
    pub(super) fn error_at(&self, here: Timestamp) -> Duration {
        self.error + here.since(self.at.here) / DRIFT
    }
}

/// A time of one clock on another one, where `here` on the first is `there` on the second.
pub(crate) fn translate(at: Timestamp, here: Timestamp, there: Timestamp) -> Timestamp {
    if at == Timestamp::MAX {
        at
    } else if at >= here {
        there + at.since(here)
    } else {
        before(there, here.since(at))
    }
}

/// The time that lies so far back.
pub(crate) const fn before(now: Timestamp, time: Duration) -> Timestamp {
    Timestamp::from_nanos(now.as_nanos().saturating_sub(nanos(time)))
}
