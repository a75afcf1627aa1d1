//! What a retry is made from.

use std::fmt;

use super::policy::{Plain, Policy};
use super::timeouts::{Timeouts, Untimed};

/// What a retry is made from, all checked. `RetryConfig::default()` takes every default; [`builder`](Self::builder) begins
/// one of your own.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{Budget, RetryConfig, backoff};
///
/// let config = RetryConfig::builder()
///     .max_retries(2)
///     .backoff(backoff::exponential(Duration::from_millis(50)..=Duration::from_secs(2)))
///     .deadline(Duration::from_secs(10))
///     .budget(Budget::ratio(0.2).reserve_per_second(10))
///     .build()?;
/// assert_eq!(
///     config.to_string(),
///     "2 retries, exponential 50ms..=2s, full jitter, budget 0.2 of requests + 10/s, 10s in all",
/// );
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
///
/// # Default
///
/// | setting | default |
/// |---|---|
/// | `max_retries` | 3, so 4 attempts |
/// | `backoff` | exponential, 100 ms to 10 s, factor 2, full jitter |
/// | `deadline`, `attempt_timeout` | off |
/// | `budget` | none |
/// | `retry_after_cap` | 5 min |
/// | `when_rejected` | return the rejection at once |
///
/// `T` says whether there are limits of time: without them errors keep their type, with them there is one error more, so
/// that they are boxed unless [`map_timeout`](crate::retry::RetryLayer::map_timeout) says otherwise.
#[derive(Clone)]
pub struct RetryConfig<T = Untimed> {
    pub(crate) policy: Policy,
    pub(crate) timeouts: T,
}

impl<T: Timeouts> fmt::Display for RetryConfig<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.policy.fmt(f)?;
        self.timeouts.describe(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for RetryConfig<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plain, shared) = (self.policy.plain(), self.policy.shared());
        let Plain { max_retries, when_rejected, curve, .. } = plain;
        f.debug_struct("RetryConfig")
            .field("max_retries", max_retries)
            .field("backoff", curve)
            .field("own_backoff", &shared.is_some_and(|shared| shared.backoff.is_some()))
            .field("timeouts", &self.timeouts)
            .field("budget", &shared.and_then(|shared| shared.budget.as_ref()))
            .field("retry_after_cap", &plain.retry_after_cap())
            .field("when_rejected", when_rejected)
            .field("listeners", &shared.map_or(0, |shared| shared.listeners.len()))
            .finish()
    }
}
