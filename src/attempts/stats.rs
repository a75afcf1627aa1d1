//! Counters of retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::event::{RetryEvent, RetryEventKind, StopReason};
use crate::circuit::Outcome;
use crate::time::nanos;

/// Counters of retries, for metrics. Clones count together; give one to each layer, or one to several.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{RetryConfig, RetryLayer, backoff, retry::RetryStats};
///
/// let stats = RetryStats::new();
/// let config = RetryConfig::builder().backoff(backoff::fixed(Duration::ZERO)).stats(stats.clone()).build()?;
/// RetryLayer::new(config).call_blocking(|| "4z".parse::<u32>()).unwrap_err();
///
/// let counts = stats.counts();
/// assert_eq!((counts.calls, counts.attempts, counts.exhausted), (1, 4, 1));
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RetryStats {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    attempts: AtomicU64,
    rejected_attempts: AtomicU64,
    retries: AtomicU64,
    recovered: AtomicU64,
    exhausted: AtomicU64,
    budget_refused: AtomicU64,
    deadline: AtomicU64,
    rejected: AtomicU64,
    delay: AtomicU64,
}

/// The counters at one moment. All of them only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryCounts {
    /// Calls that came in.
    pub calls: u64,
    /// Attempts that have ended. Neither those on their way are among them, nor those that the caller gave up, nor those that a
    /// circuit breaker rejected.
    pub attempts: u64,
    /// Attempts that a circuit breaker rejected: the dependency was not asked.
    pub rejected_attempts: u64,
    /// Attempts after the first, made or about to be.
    pub retries: u64,
    /// Calls that succeeded by a retry.
    pub recovered: u64,
    /// Calls that failed because no retries were left.
    pub exhausted: u64,
    /// Calls that failed because the budget allowed no retry.
    pub budget_refused: u64,
    /// Calls that failed because no time was left.
    pub deadline: u64,
    /// Calls that ended because a circuit breaker rejected an attempt.
    pub rejected: u64,
    /// The waits between attempts, all together.
    pub total_delay: Duration,
}

impl RetryStats {
    /// Starts at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the counters.
    #[must_use]
    pub fn counts(&self) -> RetryCounts {
        let c = &*self.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RetryCounts {
            calls: get(&c.calls),
            attempts: get(&c.attempts),
            rejected_attempts: get(&c.rejected_attempts),
            retries: get(&c.retries),
            recovered: get(&c.recovered),
            exhausted: get(&c.exhausted),
            budget_refused: get(&c.budget_refused),
            deadline: get(&c.deadline),
            rejected: get(&c.rejected),
            total_delay: Duration::from_nanos(get(&c.delay)),
        }
    }

    pub(super) fn call(&self) {
        self.counters.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn attempt(&self) {
        self.counters.attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rejected_attempt(&self) {
        self.counters.rejected_attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn event(&self, event: &RetryEvent) {
        let c = &*self.counters;
        let counter = match event.kind {
            RetryEventKind::Retrying { after } => {
                c.delay.fetch_add(nanos(after), Ordering::Relaxed);
                &c.retries
            }
            // An answer that says nothing of the dependency, such as a breaker's own, is no recovery.
            RetryEventKind::Succeeded if event.outcome == Outcome::Success => &c.recovered,
            RetryEventKind::Succeeded => return,
            RetryEventKind::Stopped { reason } => match reason {
                StopReason::MaxRetries | StopReason::BackoffEnded => &c.exhausted,
                StopReason::Budget => &c.budget_refused,
                StopReason::Deadline => &c.deadline,
                StopReason::Rejected => &c.rejected,
                StopReason::NotRetryable
                | StopReason::NotReplayable
                | StopReason::RetryAfter
                | StopReason::NotReady => return,
            },
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
