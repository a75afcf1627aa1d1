//! The counts behind a verdict.

use std::fmt;

/// What a tally counts.
///
/// ```
/// use fusebox::detect::{Counted, Tally};
///
/// fn metric(tally: Tally) -> &'static str {
///     match tally.counted() {
///         Counted::Failures => "failures",
///         Counted::SlowCalls => "slow_calls",
///         _ => "other",
///     }
/// }
/// assert_eq!(metric(Tally::slow_calls(3)), "slow_calls");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Counted {
    /// Calls that failed.
    #[default]
    Failures,
    /// Calls that were slow.
    SlowCalls,
}

impl Counted {
    /// Returns `failures` or `slow_calls`, as metrics and files spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::SlowCalls => "slow_calls",
        }
    }
}

/// Counts of a window.
///
/// ```
/// use fusebox::detect::{Counted, Tally};
///
/// assert_eq!(Tally::failures(5).to_string(), "5 failures");
/// assert_eq!(Tally::failures(12).of(20).to_string(), "12 failures in 20 calls");
/// assert_eq!(Tally::slow_calls(1).of(2).to_string(), "1 slow call in 2 calls");
///
/// let half = Tally::failures(10).of(20);
/// assert_eq!((half.count(), half.counted()), (10, Counted::Failures));
/// assert_eq!((half.calls(), half.rate()), (Some(20), Some(0.5)));
/// assert_eq!(Tally::failures(10).rate(), None, "ten of how many?");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Tally {
    counted: Counted,
    count: u64,
    calls: Option<u64>,
}

impl Tally {
    /// Counts failures.
    #[must_use]
    pub const fn failures(count: u64) -> Self {
        Self { counted: Counted::Failures, count, calls: None }
    }

    /// Counts slow calls.
    #[must_use]
    pub const fn slow_calls(count: u64) -> Self {
        Self { counted: Counted::SlowCalls, count, calls: None }
    }

    /// Says of how many calls.
    #[must_use]
    pub const fn of(mut self, calls: u64) -> Self {
        self.calls = Some(calls);
        self
    }

    /// Returns what is counted.
    #[must_use]
    pub const fn counted(&self) -> Counted {
        self.counted
    }

    /// Returns the number of failures or slow calls.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the number of calls they are among. `None` when successes are not counted.
    #[must_use]
    pub const fn calls(&self) -> Option<u64> {
        self.calls
    }

    /// Returns the share of the calls, from 0 to 1. `None` when there are no calls or they are not counted.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate of more than 2^53 calls may be off in its last digit")]
    pub fn rate(&self) -> Option<f64> {
        self.calls.filter(|calls| *calls > 0).map(|calls| self.count as f64 / calls as f64)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: u64| if n == 1 { "" } else { "s" };
        let what = match self.counted {
            Counted::Failures => "failure",
            Counted::SlowCalls => "slow call",
        };
        write!(f, "{} {what}{}", self.count, plural(self.count))?;
        match self.calls {
            Some(calls) => write!(f, " in {calls} call{}", plural(calls)),
            None => Ok(()),
        }
    }
}

/// The tally of one detector, or of one part of a combined one.
///
/// ```
/// use fusebox::{detect, CircuitBreaker, CircuitBreakerConfig};
///
/// let rule = detect::failures(5).of_last(20).or(detect::consecutive_failures(3));
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").detector(rule).build()?);
/// breaker.acquire()?.failure();
/// let parts = breaker.snapshot().detectors;
/// assert_eq!(parts[1].rule, "consecutive_failures(3)");
/// assert_eq!(parts[1].tally.to_string(), "1 failure");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PartTally {
    /// The rule in words.
    pub rule: String,
    /// Its counts.
    pub tally: Tally,
}
