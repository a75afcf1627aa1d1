//! What a call carries of its configuration.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[cfg(feature = "http")]
use super::attempt_end::Failed;
use super::attempt_end::{Done, Place};
use super::budget::Budget;
#[cfg(feature = "http")]
use super::event::StopReason;
use super::event::{RetryEvent, RetryEventKind};
use super::stats::RetryStats;
#[cfg(feature = "tracing")]
use super::trace;
use crate::backoff::{Backoff, Curve, exponential, mix};
use crate::guard::guarded;
use crate::time::nanos;

/// What to do when a circuit breaker further in rejects an attempt. The dependency was not asked, so a rejection never
/// spends budget.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{RetryConfig, retry::WhenRejected};
///
/// let patient = RetryConfig::builder().when_rejected(WhenRejected::Wait).deadline(Duration::from_secs(60)).build()?;
/// # let _ = patient;
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenRejected {
    /// Returns the rejection at once. The breaker knows that another attempt would not help. The default.
    #[default]
    Return,
    /// Waits until the breaker says it is worth another try. It does so where the deadline and
    /// [`retry_after_cap`](crate::RetryConfigBuilder::retry_after_cap) allow that, and waits as long as the backoff
    /// says where it is not known.
    Wait,
    /// Treats it like any other failure.
    Retry,
}

impl WhenRejected {
    /// Returns `return`, `wait` or `retry`, as logs and files spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Return => "return",
            Self::Wait => "wait",
            Self::Retry => "retry",
        }
    }
}

/// What a call carries of its configuration: one pointer, which costs where it has to be counted.
pub(crate) enum Policy {
    /// Nothing but numbers, which are kept for as long as the program runs.
    Plain(&'static Plain),
    Shared(Arc<Shared>),
}

/// The numbers of a configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plain {
    pub(super) max_retries: u32,
    pub(super) when_rejected: WhenRejected,
    /// In nanoseconds.
    pub(super) retry_after_cap: u64,
    pub(super) curve: Curve,
}

#[derive(Clone, Default)]
pub(crate) struct Shared {
    pub(super) plain: Plain,
    /// Instead of the curve.
    pub(super) backoff: Option<Arc<dyn Backoff>>,
    pub(super) budget: Option<Budget>,
    pub(super) stats: Option<RetryStats>,
    pub(super) listeners: Vec<Listener>,
    pub(super) seed: Option<Seed>,
    /// How many retries there were, where nothing limits them.
    pub(super) unlimited: Option<Arc<AtomicU64>>,
}

/// So many retries that nothing limits are worth a word.
const MANY_RETRIES: u64 = 100;

#[derive(Clone)]
pub(super) enum Listener {
    Retry(Arc<dyn Fn(&RetryEvent) + Send + Sync>),
    Event(Arc<dyn Fn(&RetryEvent) + Send + Sync>),
}

/// Requests get seeds in the order in which they first fail.
#[derive(Clone)]
pub(super) struct Seed {
    pub(super) start: u64,
    pub(super) next: Arc<AtomicU64>,
}

impl Plain {
    pub(super) const DEFAULT: Self = Self {
        max_retries: 3,
        when_rejected: WhenRejected::Return,
        retry_after_cap: nanos(Duration::from_secs(300)),
        curve: Curve::Exponential(exponential(Duration::from_millis(100)..=Duration::from_secs(10))),
    };

    pub(super) const fn retry_after_cap(&self) -> Duration {
        Duration::from_nanos(self.retry_after_cap)
    }

    pub(super) fn waits_for_breakers(&self) -> bool {
        self.when_rejected == WhenRejected::Wait
    }
}

impl Default for Plain {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Moves the code of a branch out of the way: jumps are most of what a plain call costs, and little of what others do.
#[cold]
#[inline]
const fn out_of_the_way() {}

impl Clone for Policy {
    #[inline]
    fn clone(&self) -> Self {
        match self {
            Self::Plain(plain) => Self::Plain(plain),
            Self::Shared(shared) => {
                out_of_the_way();
                Self::Shared(shared.clone())
            }
        }
    }
}

impl Policy {
    pub(super) const DEFAULT: Self = Self::Plain(&Plain::DEFAULT);

    #[inline]
    pub(super) fn plain(&self) -> &Plain {
        match self {
            Self::Plain(plain) => plain,
            Self::Shared(shared) => &shared.plain,
        }
    }

    #[inline]
    pub(super) fn shared(&self) -> Option<&Shared> {
        match self {
            Self::Plain(_) => None,
            Self::Shared(shared) => {
                out_of_the_way();
                Some(shared)
            }
        }
    }

    /// A call begins.
    #[inline]
    pub(crate) fn begin(&self) {
        if let Some(shared) = self.shared() {
            shared.begin();
        }
    }
}

impl Shared {
    /// The seed of one request, where the configuration gives them.
    // Apart, as is all that plain calls do without, so that the rest is small enough to be taken into its caller.
    #[inline(never)]
    pub(super) fn seed(&self) -> Option<u64> {
        let Seed { start, next } = self.seed.as_ref()?;
        Some(mix(start.wrapping_add(next.fetch_add(1, Ordering::Relaxed))))
    }

    pub(super) fn begin(&self) {
        if let Some(budget) = &self.budget {
            budget.request();
        }
        if let Some(stats) = &self.stats {
            stats.call();
        }
    }

    /// Whether anything counts attempts that need no retry.
    #[inline]
    pub(super) fn counts_successes(&self) -> bool {
        self.stats.is_some() || self.budget.as_ref().is_some_and(Budget::counts_successes)
    }

    /// Whether anything counts how calls end whose response has begun, or is told.
    #[cfg(feature = "http")]
    pub(super) fn hears_of_ends(&self) -> bool {
        self.counts_successes() || !self.listeners.is_empty()
    }

    /// An attempt ended in a result that goes to the caller as it is.
    pub(super) fn done(&self, done: Done, place: Place) {
        if let Some(stats) = &self.stats {
            stats.attempt();
        }
        if let Some(budget) = self.budget.as_ref().filter(|_| done.earns()) {
            budget.success();
        }
        if place.attempt > 1 {
            self.tell(&place.event(done.outcome(), RetryEventKind::Succeeded));
        }
    }

    /// An attempt failed after its response had gone to the caller.
    #[cfg(feature = "http")]
    pub(super) fn broke_off(&self, failed: Failed, reason: StopReason, place: Place) {
        self.ended(false);
        if let Some(budget) = self.budget.as_ref().filter(|_| failed.takes) {
            budget.failure();
        }
        self.tell(&place.event(failed.outcome, RetryEventKind::Stopped { reason }));
    }

    /// An attempt ended otherwise: rejected by a breaker, or failed.
    pub(super) fn ended(&self, rejected: bool) {
        match &self.stats {
            Some(stats) if rejected => stats.rejected_attempt(),
            Some(stats) => stats.attempt(),
            None => {}
        }
    }

    pub(super) fn tell(&self, event: &RetryEvent) {
        if let Some(stats) = &self.stats {
            stats.event(event);
        }
        self.hear(event);
        let is_retry = matches!(event.kind, RetryEventKind::Retrying { .. });
        if let Some(retries) = self.unlimited.as_ref().filter(|_| is_retry)
            && retries.fetch_add(1, Ordering::Relaxed) + 1 == MANY_RETRIES
        {
            self.hear(&RetryEvent { kind: RetryEventKind::Unlimited, ..*event });
        }
    }

    fn hear(&self, event: &RetryEvent) {
        #[cfg(feature = "tracing")]
        trace::tell(self.stats.as_ref().map_or("", RetryStats::name), event);
        let is_retry = matches!(event.kind, RetryEventKind::Retrying { .. });
        for listener in &self.listeners {
            // A listener that panics has said so on standard error; the call and the other listeners go on.
            guarded(|| match listener {
                Listener::Retry(f) if is_retry => f(event),
                Listener::Event(f) => f(event),
                Listener::Retry(_) => {}
            });
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plain { max_retries: retries, curve, .. } = self.plain();
        write!(f, "{retries} {}, ", if *retries == 1 { "retry" } else { "retries" })?;
        let shared = self.shared();
        match shared.and_then(|shared| shared.backoff.as_ref()) {
            Some(_) => f.write_str("backoff of its own")?,
            None => curve.fmt(f)?,
        }
        match shared.and_then(|shared| shared.budget.as_ref()) {
            Some(budget) => write!(f, ", {budget}"),
            None => Ok(()),
        }
    }
}
