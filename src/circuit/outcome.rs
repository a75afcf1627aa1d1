//! How calls end.

use std::time::Duration;

use crate::time::Timestamp;

/// How a call ended, as far as the breaker is concerned.
///
/// `Ignored` and `Cancelled` are evidence of nothing: they count neither way, and a probe that ends so gives its place
/// to the next one. Only three probes in a row that are cancelled reopen the circuit.
///
/// ```
/// use std::time::Duration;
/// use fusebox::Outcome;
///
/// fn judge(status: u16, retry_after: Option<Duration>) -> Outcome {
///     match (status, retry_after) {
///         (500.., Some(wait)) => Outcome::FailureAfter(wait),
///         (500.., None) => Outcome::Failure,
///         (400..500, _) => Outcome::Ignored, // our own mistake
///         _ => Outcome::Success,
///     }
/// }
/// assert!(judge(503, Some(Duration::from_secs(5))).is_failure());
/// assert!(!judge(404, None).is_failure());
/// assert!(!Outcome::Cancelled.is_failure(), "whether it becomes one is up to `abandoned_after`");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The dependency did its job.
    Success,
    /// The dependency failed.
    Failure,
    /// The dependency failed and said when to come back (`Retry-After`). A circuit that opens by this failure stays
    /// open at least that long, up to a cap.
    FailureAfter(Duration),
    /// The call says nothing about the health of the dependency. For example a client's own mistake.
    Ignored,
    /// The call was given up before it ended. Counts as a failure, and is told as one, once the dependency had been waited
    /// for so long as [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after) says.
    Cancelled,
}

impl Outcome {
    /// Returns `success`, `failure`, `ignored` or `cancelled`, as a metrics label. `FailureAfter` is a `failure` like
    /// any other: a counter takes the two together.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::Outcome;
    ///
    /// assert_eq!(Outcome::FailureAfter(Duration::from_secs(5)).as_str(), "failure");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure | Self::FailureAfter(_) => "failure",
            Self::Ignored => "ignored",
            Self::Cancelled => "cancelled",
        }
    }

    /// Tells whether this is `Failure` or `FailureAfter`.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failure | Self::FailureAfter(_))
    }

    /// What it says about the dependency: `Some(true)` it failed, `Some(false)` it works, `None` nothing.
    pub(crate) const fn verdict(self) -> Option<bool> {
        match self {
            Self::Success => Some(false),
            Self::Failure | Self::FailureAfter(_) => Some(true),
            Self::Ignored | Self::Cancelled => None,
        }
    }

    pub(crate) const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::FailureAfter(wait) => Some(wait),
            _ => None,
        }
    }
}

/// A call that ended with a success or a failure: what a [`Detector`](crate::detect::Detector) gets to see.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{clock::Timestamp, detect::Call};
///
/// let s = Duration::from_secs;
/// let call = Call::failure(Timestamp::from_nanos(100)).took(Some(s(3)));
/// assert!(call.failed() && call.slower_than(s(3)));
/// assert_eq!((call.duration(), call.ended().as_nanos()), (Some(s(3)), 100));
/// assert!(!Call::success(Timestamp::ZERO).slower_than(s(0)), "nobody measured it");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    failed: bool,
    duration: Option<Duration>,
    ended: Timestamp,
}

impl Call {
    /// Makes a successful call that ended at `ended`.
    #[must_use]
    pub const fn success(ended: Timestamp) -> Self {
        Self { failed: false, duration: None, ended }
    }

    /// Makes a failed call that ended at `ended`.
    #[must_use]
    pub const fn failure(ended: Timestamp) -> Self {
        Self { failed: true, duration: None, ended }
    }

    /// Sets how long the call took.
    #[must_use]
    pub const fn took(mut self, duration: Option<Duration>) -> Self {
        self.duration = duration;
        self
    }

    /// Tells whether the call failed.
    #[must_use]
    pub const fn failed(&self) -> bool {
        self.failed
    }

    /// Returns how long the call took. It ends with the head of its response, where the rest of that was watched.
    /// `None` when no detector asked for it or the call was not slow for any of them.
    #[must_use]
    pub const fn duration(&self) -> Option<Duration> {
        self.duration
    }

    /// Returns when the call ended.
    #[must_use]
    pub const fn ended(&self) -> Timestamp {
        self.ended
    }

    /// Tells whether the call took `limit` or longer.
    #[must_use]
    pub fn slower_than(&self, limit: Duration) -> bool {
        self.duration.is_some_and(|d| d >= limit)
    }
}
