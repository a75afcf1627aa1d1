//! What a rate or count is about: failures, or slow calls.

use std::time::Duration;

use crate::circuit::Call;
use crate::error::ConfigError;
use crate::time::nanos;

/// When `min_calls` is left out for a rate: five calls, or the window where that is shorter.
pub(super) const MIN_CALLS: u32 = 5;

/// Which calls count against the dependency: those that failed, or those that took at least so many nanoseconds.
#[derive(Clone, Copy)]
pub(super) struct Judged(u64);

const FAILURES: u64 = u64::MAX;

impl Judged {
    pub(super) const fn failures() -> Self {
        Self(FAILURES)
    }

    pub(super) fn slower_than(limit: Duration) -> Self {
        Self(nanos(limit).min(FAILURES - 1))
    }

    pub(super) fn slow_after(self) -> Option<Duration> {
        (self.0 != FAILURES).then(|| Duration::from_nanos(self.0))
    }

    pub(super) fn is_bad(self, call: &Call) -> bool {
        match self.slow_after() {
            Some(limit) => call.slower_than(limit),
            None => call.failed(),
        }
    }

    /// Checks a rate: above 0, at most 1.
    pub(super) fn check_rate(self, rate: f64) -> Result<(), ConfigError> {
        if rate > 0.0 && rate <= 1.0 {
            return Ok(());
        }
        let field = if self.slow_after().is_some() { "slow_call_rate" } else { "failure_rate" };
        Err(ConfigError::new(field, &rate, "a number above 0 and at most 1"))
    }

    /// Checks how slow slow is.
    pub(super) fn check(self) -> Result<(), ConfigError> {
        match self.slow_after() {
            Some(Duration::ZERO) => Err(ConfigError::new("slower_than", &"0s", "more than zero")),
            _ => Ok(()),
        }
    }
}
