//! The words that begin a detector: how many failures, which rate.

use std::time::Duration;

use super::of_last::Limit;
use super::{FailureTimes, OfLast, Within};

/// Trips at `n` failures: say [`within`](Failures::within) which time, or [`of_last`](Failures::of_last) how many calls.
pub const fn failures(n: u32) -> Failures {
    Failures { n }
}

/// Trips when this share of the calls failed: above 0, at most 1.
pub const fn failure_rate(rate: f64) -> FailureRate {
    FailureRate { rate }
}

/// Trips when this share of the calls, above 0 and at most 1, was slow.
pub const fn slow_call_rate(rate: f64) -> SlowCallRate {
    SlowCallRate { rate }
}

/// A number of failures that still needs a window. See [`failures`].
#[derive(Clone, Copy, Debug)]
#[must_use = "say `.within(..)` or `.of_last(..)`"]
pub struct Failures {
    n: u32,
}

impl Failures {
    /// Counts the failures of the last `window` of time, exactly. One that is exactly one window old is out.
    ///
    /// Successes cost nothing, and memory is at most the failures themselves.
    #[must_use]
    pub fn within(self, window: Duration) -> FailureTimes {
        FailureTimes::new(self.n, window)
    }

    /// Counts the failures among the last `calls` calls. Trips as soon as `n` are in; add
    /// [`min_calls`](OfLast::min_calls) to wait for more calls first.
    #[must_use]
    pub fn of_last(self, calls: u32) -> OfLast {
        OfLast::new(Limit::Count(self.n), None, calls)
    }
}

/// A failure rate that still needs a window. See [`failure_rate`].
#[derive(Clone, Copy, Debug)]
#[must_use = "say `.within(..)` or `.of_last(..)`"]
pub struct FailureRate {
    rate: f64,
}

impl FailureRate {
    /// Judges the last `calls` calls.
    #[must_use]
    pub fn of_last(self, calls: u32) -> OfLast {
        OfLast::new(Limit::Rate(self.rate), None, calls)
    }

    /// Judges the calls of the last `window` of time, kept in slots: a call may fall out up to a sixteenth of the window
    /// early, never late.
    #[must_use]
    pub fn within(self, window: Duration) -> Within {
        Within::new(self.rate, None, window)
    }
}

/// A rate of slow calls that still needs a limit. See [`slow_call_rate`].
#[derive(Clone, Copy, Debug)]
#[must_use = "say `.slower_than(..)`, then `.within(..)` or `.of_last(..)`"]
pub struct SlowCallRate {
    rate: f64,
}

impl SlowCallRate {
    /// A call is slow when it takes this long or longer, whether it succeeds or fails.
    pub const fn slower_than(self, limit: Duration) -> SlowCallRateOver {
        SlowCallRateOver { rate: self.rate, limit }
    }
}

/// A rate of slow calls that still needs a window. See [`slow_call_rate`].
#[derive(Clone, Copy, Debug)]
#[must_use = "say `.within(..)` or `.of_last(..)`"]
pub struct SlowCallRateOver {
    rate: f64,
    limit: Duration,
}

impl SlowCallRateOver {
    /// Judges the last `calls` calls.
    #[must_use]
    pub fn of_last(self, calls: u32) -> OfLast {
        OfLast::new(Limit::Rate(self.rate), Some(self.limit), calls)
    }

    /// Judges the calls of the last `window` of time; see [`FailureRate::within`].
    #[must_use]
    pub fn within(self, window: Duration) -> Within {
        Within::new(self.rate, Some(self.limit), window)
    }
}
