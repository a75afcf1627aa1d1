//! What a call ends in that exceeds a limit of time.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A call had no answer in time, or none that ended in time.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{RetryConfig, RetryLayer, retry::{TimeLimit, TimedOut}};
///
/// # tokio_test::block_on(async {
/// let config = RetryConfig::builder().max_retries(1).attempt_timeout(Duration::from_millis(5)).build()?;
/// let error = RetryLayer::new(config).call(std::future::pending::<Result<(), std::io::Error>>).await.unwrap_err();
/// let timed_out = error.downcast_ref::<TimedOut>().unwrap();
/// assert_eq!(timed_out.to_string(), "attempt 2 had no answer within 5ms");
/// assert_eq!((timed_out.limit(), timed_out.attempt()), (TimeLimit::Attempt, 2));
/// # Ok::<(), fusebox::ConfigError>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedOut {
    pub(super) limit: TimeLimit,
    pub(super) after: Duration,
    pub(super) attempt: u32,
    /// The answer had begun.
    pub(super) answered: bool,
}

/// The limits there are.
///
/// ```
/// use fusebox::retry::TimeLimit;
///
/// assert_eq!(TimeLimit::Attempt.to_string(), "attempt_timeout");
/// assert_eq!(TimeLimit::Deadline.to_string(), "deadline");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeLimit {
    /// That of one attempt.
    Attempt,
    /// That of the whole call: the wait for the service, all attempts, the waits between them and, where the response is
    /// HTTP's, its body. Where the caller has a deadline of its own that is sooner (`grpc-timeout`, `retry::Deadline`,
    /// reqwest's `timeout`), it is that one.
    Deadline,
}

impl TimeLimit {
    /// Returns `attempt_timeout` or `deadline`, as the settings are called.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempt => "attempt_timeout",
            Self::Deadline => "deadline",
        }
    }
}

impl fmt::Display for TimeLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TimedOut {
    /// Returns which limit was exceeded.
    #[must_use]
    pub const fn limit(&self) -> TimeLimit {
        self.limit
    }

    /// Returns the limit in time.
    #[must_use]
    pub const fn after(&self) -> Duration {
        self.after
    }

    /// Returns the attempt that was given up, counted from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, after, attempt, answered } = self;
        match limit {
            TimeLimit::Deadline if *answered => {
                write!(f, "no end of the answer within the deadline of {after:?}, on attempt {attempt}")
            }
            TimeLimit::Attempt => write!(f, "attempt {attempt} had no answer within {after:?}"),
            TimeLimit::Deadline => write!(f, "no answer within the deadline of {after:?}, on attempt {attempt}"),
        }
    }
}

impl Error for TimedOut {
    /// Returns a `tonic::Status` with the feature `grpc`, otherwise nothing. By it a tonic client sees
    /// DEADLINE_EXCEEDED.
    #[cfg(feature = "grpc")]
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        use std::sync::LazyLock;
        use tonic::Status;
        static STATUS: LazyLock<Status> = LazyLock::new(|| Status::deadline_exceeded("no answer in time"));
        Some(&*STATUS)
    }
}
