//! Building a configuration.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::budget::Budget;
use super::config::RetryConfig;
use super::event::RetryEvent;
use super::kept::KEPT;
use super::policy::{Listener, Policy, Seed, Shared, WhenRejected};
use super::stats::RetryStats;
use super::timeouts::{Timed, Untimed};
use crate::backoff::{Backoff, BuiltIn};
use crate::error::ConfigError;
use crate::time::nanos;

/// Builds a [`RetryConfig`]; see there for the defaults.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{RetryConfig, backoff};
///
/// let config = RetryConfig::builder().max_retries(5).backoff(backoff::fixed(Duration::from_secs(2))).build()?;
/// assert_eq!(config.to_string(), "5 retries, fixed 2s");
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use = "call `.build()`"]
pub struct RetryConfigBuilder<T = Untimed> {
    shared: Shared,
    backoff_check: Result<(), ConfigError>,
    timeouts: T,
}

impl RetryConfig {
    /// Starts a configuration of your own.
    pub fn builder() -> RetryConfigBuilder {
        RetryConfigBuilder { shared: Shared::default(), backoff_check: Ok(()), timeouts: Untimed }
    }
}

impl<T> RetryConfig<T> {
    /// Goes on building from this configuration. For example to add listeners to one that came from a file. A budget
    /// stays the same one.
    ///
    /// ```
    /// use fusebox::{RetryConfig, RetryLayer, retry::RetryStats};
    ///
    /// let (from_file, stats) = (RetryConfig::builder().max_retries(2).build()?, RetryStats::new());
    /// let config = from_file.into_builder().stats(stats.clone()).build()?;
    /// RetryLayer::new(config).call_blocking(|| Ok::<_, std::io::Error>(1)).unwrap();
    /// assert_eq!(stats.counts().calls, 1);
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn into_builder(self) -> RetryConfigBuilder<T> {
        let shared = match self.policy {
            Policy::Plain(plain) => Shared { plain: *plain, ..Shared::default() },
            Policy::Shared(shared) => Arc::unwrap_or_clone(shared),
        };
        RetryConfigBuilder { shared, backoff_check: Ok(()), timeouts: self.timeouts }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { policy: Policy::DEFAULT, timeouts: Untimed }
    }
}

/// Either builder, as one that can have limits of time.
#[doc(hidden)]
pub trait MaybeTimed {
    fn timed(self) -> Timed;
}

impl MaybeTimed for Untimed {
    fn timed(self) -> Timed {
        Timed::default()
    }
}

impl MaybeTimed for Timed {
    fn timed(self) -> Timed {
        self
    }
}

impl<T: MaybeTimed> RetryConfigBuilder<T> {
    /// As one that can have limits of time, and has none yet.
    pub(crate) fn timed(self) -> RetryConfigBuilder<Timed> {
        let Self { shared, backoff_check, timeouts } = self;
        RetryConfigBuilder { shared, backoff_check, timeouts: timeouts.timed() }
    }

    /// Sets the time for the whole call: the wait for the service, all attempts, the waits between. Default: none.
    ///
    /// There is no wait that would end after it; then the last error is returned at once. An attempt on its way at that
    /// time is given up, and the call ends in [`TimedOut`](crate::retry::TimedOut). So does the body of a response that has
    /// begun, of `RetryLayer::http`, `grpc` and `reqwest` (see `retry::ResponseBody`): a stream that is to last has none.
    ///
    /// It begins with the call. Where a [`RetryService`](crate::RetryService) has to wait before that until its inner service
    /// is ready, that counts as well: it begins with the first `poll_ready` that is pending. When it passes meanwhile, the
    /// service reports that it is ready, and the call ends in `TimedOut` without an attempt. The wait belongs to the
    /// instance; a clone begins anew. A wait that is given up counts for the next call as long as the deadline lasts, and is
    /// forgotten after twice that time.
    ///
    /// A caller may have a deadline of its own (`grpc-timeout`, `retry::Deadline`, reqwest's `timeout`). Then the sooner of
    /// both counts.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use fusebox::{RetryConfig, RetryLayer, backoff};
    ///
    /// let config = RetryConfig::builder()
    ///     .backoff(backoff::fixed(Duration::from_secs(60)))
    ///     .deadline(Duration::from_secs(30))
    ///     .build()?;
    /// let start = Instant::now();
    /// let error = RetryLayer::new(config).call_blocking(|| "4z".parse::<u32>()).unwrap_err();
    /// assert!(error.is::<std::num::ParseIntError>() && start.elapsed() < Duration::from_secs(30));
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn deadline(self, deadline: Duration) -> RetryConfigBuilder<Timed> {
        let mut timed = self.timed();
        timed.timeouts.deadline = Some(deadline);
        timed
    }

    /// Sets the time for each attempt. Default: none. An attempt that has no answer by then is given up and counts as a
    /// failure that may be retried.
    ///
    /// A circuit breaker further in sees a call that was dropped: give it
    /// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after) a little below this, and a dependency that
    /// hangs opens it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{RetryConfig, RetryLayer, retry::TimedOut};
    ///
    /// # tokio_test::block_on(async {
    /// let config = RetryConfig::builder().max_retries(0).attempt_timeout(Duration::from_millis(5)).build()?;
    /// let error = RetryLayer::new(config).call(std::future::pending::<Result<(), std::io::Error>>).await.unwrap_err();
    /// assert!(error.is::<TimedOut>());
    /// # Ok::<(), fusebox::ConfigError>(()) }).unwrap();
    /// ```
    pub fn attempt_timeout(self, timeout: Duration) -> RetryConfigBuilder<Timed> {
        let mut timed = self.timed();
        timed.timeouts.attempt = Some(timeout);
        timed
    }

    /// Checks everything.
    ///
    /// # Errors
    ///
    /// The first setting that cannot work: its name, the value that was given, and what is allowed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{RetryConfig, backoff};
    ///
    /// let s = Duration::from_secs;
    /// let error = RetryConfig::builder().backoff(backoff::exponential(s(10)..=s(1))).build().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "`backoff` is 10s..=1s, allowed is a range whose lower end is not above its upper end",
    /// );
    /// ```
    pub fn build(self) -> Result<RetryConfig<T>, ConfigError>
    where
        T: Copy,
    {
        self.backoff_check?;
        let Timed { deadline, attempt } = self.timeouts.timed();
        for (field, limit) in [("deadline", deadline), ("attempt_timeout", attempt)] {
            if limit.is_some_and(|limit| limit.is_zero()) {
                return Err(ConfigError::new(field, &"0ns", "any time above zero"));
            }
        }
        if let Some(budget) = &self.shared.budget {
            budget.check()?;
            #[cfg(feature = "counts")]
            if let Some(stats) = &self.shared.stats {
                stats.note_budget(budget);
            }
        }
        let mut shared = self.shared;
        let is_unlimited = shared.budget.is_none() && deadline.is_none();
        shared.unlimited = (is_unlimited && !shared.listeners.is_empty()).then(Arc::default);
        let plain = if shared.is_needed() { None } else { KEPT.find(shared.plain) };
        let policy = plain.map_or_else(|| Policy::Shared(Arc::new(shared)), Policy::Plain);
        Ok(RetryConfig { policy, timeouts: self.timeouts })
    }
}

impl<T> RetryConfigBuilder<T> {
    /// Sets how many attempts may follow the first. Default: 3. Zero is legal: no retries.
    pub const fn max_retries(mut self, retries: u32) -> Self {
        self.shared.plain.max_retries = retries;
        self
    }

    /// Sets the waits between attempts: see [`backoff`](crate::backoff), or anything to iterate over. A wait of zero needs
    /// no timer.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{RetryConfig, RetryLayer};
    ///
    /// let twice = RetryLayer::new(RetryConfig::builder().backoff([Duration::ZERO, Duration::from_millis(1)]).build()?);
    /// let mut attempts = 0;
    /// let result = twice.call_blocking(|| {
    ///     attempts += 1;
    ///     Err::<(), _>("down")
    /// });
    /// assert_eq!((result, attempts), (Err("down"), 3));
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn backoff(mut self, backoff: impl Backoff) -> Self {
        self.backoff_check = backoff.check();
        match backoff.curve() {
            Some(BuiltIn(curve)) => {
                self.shared.plain.curve = curve;
                self.shared.backoff = None;
            }
            None => self.shared.backoff = Some(Arc::new(backoff)),
        }
        self
    }

    /// Sets a cap on retries overall. Default: none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{Budget, RetryConfig, RetryLayer, backoff};
    ///
    /// let none = Budget::ratio(0.0);
    /// let config = RetryConfig::builder().backoff(backoff::fixed(Duration::ZERO)).budget(none).build()?;
    /// let mut attempts = 0;
    /// let result = RetryLayer::new(config).call_blocking(|| {
    ///     attempts += 1;
    ///     Err::<(), _>("down")
    /// });
    /// assert_eq!((result, attempts), (Err("down"), 1));
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn budget(mut self, budget: Budget) -> Self {
        self.shared.budget = Some(budget);
        self
    }

    /// Sets the longest wait that the dependency may ask for. Default: 5 min.
    ///
    /// A longer `Retry-After` ends the retries ([`StopReason::RetryAfter`](crate::retry::StopReason::RetryAfter)): the
    /// dependency is never asked sooner than it said. A longer `grpc-retry-pushback-ms` is cut. A circuit breaker that
    /// stays open for longer is not waited for (see [`WhenRejected::Wait`]).
    ///
    /// The caller waits for that long, too: set a [`deadline`](Self::deadline), and a wait that would outlast it ends
    /// the call at once instead. The wait is that of the backoff where that one is longer, and up to a tenth of the
    /// asked time more, so that callers who were told the same do not come back together.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{Outcome, RetryConfig, RetryLayer};
    ///
    /// let config = RetryConfig::builder().retry_after_cap(Duration::from_secs(3600)).build()?;
    /// let mut attempts = 0;
    /// let tomorrow = |_: &Result<(), &str>| Outcome::FailureAfter(Duration::from_secs(86_400));
    /// let closed = RetryLayer::new(config).classify(tomorrow).call_blocking(|| {
    ///     attempts += 1;
    ///     Err("closed today")
    /// });
    /// assert_eq!((closed, attempts), (Err("closed today"), 1));
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub const fn retry_after_cap(mut self, cap: Duration) -> Self {
        self.shared.plain.retry_after_cap = nanos(cap);
        self
    }

    /// Sets what to do when a circuit breaker further in rejects an attempt. Default: [`WhenRejected::Return`].
    ///
    /// A rejection is recognised where the error is a [`Rejected`](crate::Rejected), or a box with one in its chain of
    /// sources (with the features `grpc` and `reqwest`, also within a `tonic::Status` or a `reqwest::Error`), and in
    /// the answers of `web::unavailable` and `grpc::unavailable`. For errors of any other type see
    /// [`RetryLayer::rejections`](crate::RetryLayer::rejections).
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, RetryConfig, RetryLayer, classify, retry::WhenRejected};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.trip()?;
    /// let retry = RetryLayer::new(RetryConfig::builder().when_rejected(WhenRejected::Return).build()?);
    /// let rejected = retry.call_blocking(|| breaker.acquire().map(drop)).unwrap_err(); // at once
    /// assert_eq!(&*rejected.name(), "payments");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn when_rejected(mut self, when_rejected: WhenRejected) -> Self {
        self.shared.plain.when_rejected = when_rejected;
        self
    }

    /// Calls `f` before each retry, before the wait.
    ///
    /// Listeners run in order on the task that makes the call; a panic in one stops neither the call nor the others.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// use fusebox::{RetryConfig, RetryLayer, backoff};
    ///
    /// let (tell, told) = mpsc::channel();
    /// let config = RetryConfig::builder()
    ///     .backoff(backoff::fixed(Duration::ZERO))
    ///     .on_retry(move |attempt| tell.send(attempt.attempt()).unwrap())
    ///     .build()?;
    /// RetryLayer::new(config).call_blocking(|| Err::<(), _>("down")).unwrap_err();
    /// assert_eq!(told.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn on_retry(mut self, f: impl Fn(&RetryEvent) + Send + Sync + 'static) -> Self {
        self.shared.listeners.push(Listener::Retry(Arc::new(f)));
        self
    }

    /// Calls `f` with every [`RetryEvent`]; runs like [`on_retry`](Self::on_retry).
    pub fn on_event(mut self, f: impl Fn(&RetryEvent) + Send + Sync + 'static) -> Self {
        self.shared.listeners.push(Listener::Event(Arc::new(f)));
        self
    }

    /// Counts calls, attempts and how they end.
    pub fn stats(mut self, stats: RetryStats) -> Self {
        self.shared.stats = Some(stats);
        self
    }

    /// Makes jitter the same from run to run: for tests and simulations. Default: chance.
    ///
    /// Requests still differ from each other, in the order in which they first fail.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    /// use fusebox::{RetryConfig, RetryLayer, backoff, retry::RetryEventKind};
    ///
    /// let delays = || {
    ///     let (tell, told) = mpsc::channel();
    ///     let config = RetryConfig::builder()
    ///         .backoff(backoff::exponential(Duration::from_micros(10)..=Duration::from_micros(100)))
    ///         .seed(7)
    ///         .on_retry(move |event| tell.send(event.kind()).unwrap())
    ///         .build()
    ///         .unwrap();
    ///     RetryLayer::new(config).call_blocking(|| Err::<(), _>("down")).unwrap_err();
    ///     told.try_iter().collect::<Vec<RetryEventKind>>()
    /// };
    /// assert_eq!(delays(), delays());
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        self.shared.seed = Some(Seed { start: seed, next: Arc::new(AtomicU64::new(0)) });
        self
    }
}

impl Shared {
    const fn is_needed(&self) -> bool {
        self.backoff.is_some()
            || self.budget.is_some()
            || self.stats.is_some()
            || !self.listeners.is_empty()
            || self.seed.is_some()
    }
}

impl<T: fmt::Debug> fmt::Debug for RetryConfigBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shared: Shared { plain, .. }, timeouts, .. } = self;
        f.debug_struct("RetryConfigBuilder")
            .field("max_retries", &plain.max_retries)
            .field("backoff", &format_args!("{}", plain.curve))
            .field("timeouts", timeouts)
            .finish_non_exhaustive()
    }
}
