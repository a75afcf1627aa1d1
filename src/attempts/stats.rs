//! Counters of retries.

#[cfg(feature = "counts")]
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "counts")]
use std::sync::{Mutex, Weak};
use std::time::Duration;

#[cfg(feature = "counts")]
use super::budget::{Budget, WatchedBudget};
use super::calls_counter::CallsCounter;
use super::event::{RetryEvent, RetryEventKind, StopReason};
use crate::circuit::Outcome;
#[cfg(feature = "counts")]
use crate::counts::{Departed, Sum, lock_with_all};
#[cfg(feature = "counts")]
use crate::sync::unpoisoned;
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
#[derive(Clone, Debug)]
pub struct RetryStats {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    name: Arc<str>,
    numbers: Numbers,
    /// What the retries that count here spend from.
    #[cfg(feature = "counts")]
    budgets: Mutex<Vec<WatchedBudget>>,
}

#[derive(Debug, Default)]
struct Numbers {
    /// What every call counts.
    each: CallsCounter,
    rejected_attempts: AtomicU64,
    retries: AtomicU64,
    recovered: AtomicU64,
    exhausted: AtomicU64,
    budget_refused: AtomicU64,
    deadline: AtomicU64,
    rejected: AtomicU64,
    not_retryable: AtomicU64,
    not_replayable: AtomicU64,
    retry_after: AtomicU64,
    not_ready: AtomicU64,
    delay: AtomicU64,
}

/// The counters at one moment. All of them only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryCounts {
    /// Calls that came in.
    pub calls: u64,
    /// Attempts that have ended. Neither those on their way are among them, nor those that the caller gave up, nor
    /// those that a circuit breaker rejected. One of gRPC ends with its trailers, and under a deadline one of HTTP with its
    /// body.
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
    /// Calls that failed in a way that no further attempt could mend, or whose dependency asked for none.
    pub not_retryable: u64,
    /// Calls that failed because the request could not be sent again, or after their response had begun.
    pub not_replayable: u64,
    /// Calls that failed because the dependency asked for too long a wait.
    pub retry_after: u64,
    /// Calls that failed because the service did not become ready for another attempt.
    pub not_ready: u64,
    /// The waits between attempts, all together.
    pub total_delay: Duration,
}

impl RetryStats {
    /// Starts at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts at zero, with a name for labels of metrics and logs.
    ///
    /// ```
    /// use fusebox::retry::RetryStats;
    ///
    /// let stats = RetryStats::named("prices");
    /// assert_eq!((stats.name(), RetryStats::new().name()), ("prices", ""));
    /// ```
    #[must_use]
    pub fn named(name: impl AsRef<str>) -> Self {
        Self::of(Counters {
            name: Arc::from(name.as_ref()),
            numbers: Numbers::default(),
            #[cfg(feature = "counts")]
            budgets: Mutex::default(),
        })
    }

    /// Retries that count here spend from that budget.
    #[cfg(feature = "counts")]
    pub(super) fn note_budget(&self, budget: &Budget) {
        let budget = WatchedBudget::of(budget);
        let mut budgets = unpoisoned(self.counters.budgets.lock());
        budgets.retain(|known| known.available().is_some());
        if !budgets.iter().any(|known| known.is_same(&budget)) {
            budgets.push(budget);
        }
    }

    fn of(counters: Counters) -> Self {
        let counters = Arc::new(counters);
        #[cfg(feature = "counts")]
        unpoisoned(ALL.lock()).living.push(Arc::downgrade(&counters));
        Self { counters }
    }

    /// Returns the name, empty where there is none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.counters.name
    }

    /// Returns the counters.
    #[must_use]
    pub fn counts(&self) -> RetryCounts {
        self.counters.numbers.counts()
    }

    pub(super) fn call(&self) {
        self.counters.numbers.each.call();
    }

    pub(super) fn attempt(&self) {
        self.counters.numbers.each.attempt();
    }

    pub(super) fn rejected_attempt(&self) {
        self.counters.numbers.rejected_attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn event(&self, event: &RetryEvent) {
        let c = &self.counters.numbers;
        let counter = match event.kind {
            RetryEventKind::Retrying { after } => {
                c.delay.fetch_add(nanos(after), Ordering::Relaxed);
                &c.retries
            }
            // An answer that says nothing of the dependency, such as a breaker's own, is no recovery.
            RetryEventKind::Succeeded if event.outcome == Outcome::Success => &c.recovered,
            RetryEventKind::Succeeded | RetryEventKind::Unlimited => return,
            RetryEventKind::Stopped { reason } => match reason {
                StopReason::MaxRetries | StopReason::BackoffEnded => &c.exhausted,
                StopReason::Budget => &c.budget_refused,
                StopReason::Deadline => &c.deadline,
                StopReason::Rejected => &c.rejected,
                StopReason::NotRetryable => &c.not_retryable,
                StopReason::NotReplayable => &c.not_replayable,
                StopReason::RetryAfter => &c.retry_after,
                StopReason::NotReady => &c.not_ready,
            },
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Numbers {
    fn counts(&self) -> RetryCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RetryCounts {
            calls: self.each.calls(),
            attempts: self.each.attempts(),
            rejected_attempts: get(&self.rejected_attempts),
            retries: get(&self.retries),
            recovered: get(&self.recovered),
            exhausted: get(&self.exhausted),
            budget_refused: get(&self.budget_refused),
            deadline: get(&self.deadline),
            rejected: get(&self.rejected),
            not_retryable: get(&self.not_retryable),
            not_replayable: get(&self.not_replayable),
            retry_after: get(&self.retry_after),
            not_ready: get(&self.not_ready),
            total_delay: Duration::from_nanos(get(&self.delay)),
        }
    }
}

impl Default for RetryStats {
    fn default() -> Self {
        Self::of(Counters::default())
    }
}

/// All counters of the process, for a scrape.
#[cfg(feature = "counts")]
#[derive(Debug)]
struct All {
    living: Vec<Weak<Counters>>,
    /// Of those that are gone, by their names.
    departed: Departed<RetryCounts>,
}

#[cfg(feature = "counts")]
static ALL: Mutex<All> = Mutex::new(All { living: Vec::new(), departed: Departed::new() });

#[cfg(feature = "counts")]
impl Drop for Counters {
    fn drop(&mut self) {
        let counts = self.numbers.counts();
        let mut all = unpoisoned(ALL.lock());
        all.living.retain(|counters| !std::ptr::eq(counters.as_ptr(), self));
        all.departed.add(&self.name, &counts);
    }
}

#[cfg(feature = "counts")]
impl Sum for RetryCounts {
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.attempts += other.attempts;
        self.rejected_attempts += other.rejected_attempts;
        self.retries += other.retries;
        self.recovered += other.recovered;
        self.exhausted += other.exhausted;
        self.budget_refused += other.budget_refused;
        self.deadline += other.deadline;
        self.rejected += other.rejected;
        self.not_retryable += other.not_retryable;
        self.not_replayable += other.not_replayable;
        self.retry_after += other.retry_after;
        self.not_ready += other.not_ready;
        self.total_delay += other.total_delay;
    }
}

#[cfg(feature = "counts")]
impl RetryCounts {
    /// What was counted under each name of which there are counters; those of one name together.
    pub(crate) fn by_name() -> BTreeMap<Arc<str>, Self> {
        let mut by_name = BTreeMap::new();
        // Dropped outside the lock, which the last of a counter's owners takes.
        let living;
        {
            let all;
            (all, living) = lock_with_all(&ALL, |all| &all.living);
            for counters in &living {
                let departed = || all.departed.of(&counters.name);
                by_name.entry(Arc::clone(&counters.name)).or_insert_with(departed).add(&counters.numbers.counts());
            }
        }
        by_name
    }
}

/// How many retries the budgets of each name allow now; nothing of names without a budget.
#[cfg(feature = "counts")]
pub(crate) fn budgets_by_name() -> BTreeMap<Arc<str>, u64> {
    let living: Vec<_> = unpoisoned(ALL.lock()).living.iter().filter_map(Weak::upgrade).collect();
    let mut by_name: BTreeMap<_, Vec<WatchedBudget>> = BTreeMap::new();
    for counters in &living {
        let budgets = by_name.entry(Arc::clone(&counters.name)).or_default();
        for budget in &*unpoisoned(counters.budgets.lock()) {
            if !budgets.iter().any(|known| known.is_same(budget)) {
                budgets.push(budget.clone());
            }
        }
    }
    let available = |budgets: Vec<WatchedBudget>| {
        let left: Vec<_> = budgets.iter().filter_map(WatchedBudget::available).collect();
        if left.is_empty() { None } else { Some(left.into_iter().fold(0, u64::saturating_add)) }
    };
    by_name.into_iter().filter_map(|(name, budgets)| Some((name, available(budgets)?))).collect()
}
