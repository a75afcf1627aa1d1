//! What listeners of a retry are told.

use std::fmt;
use std::time::Duration;

use crate::circuit::Outcome;
use crate::text::Soon;

/// Something that happened to a call after an attempt failed. A call whose first attempt succeeds has no events.
///
/// `Display` gives a line for a log:
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
/// use fusebox::{RetryConfig, RetryLayer, backoff};
///
/// let (tell, told) = mpsc::channel();
/// let config = RetryConfig::builder()
///     .max_retries(1)
///     .backoff(backoff::fixed(Duration::from_millis(1)))
///     .on_event(move |event| tell.send(event.to_string()).unwrap())
///     .build()?;
/// RetryLayer::new(config).call_blocking(|| "4z".parse::<u32>()).unwrap_err();
/// assert_eq!(told.recv()?, "attempt 1 failed, next in 1ms");
/// assert_eq!(told.recv()?, "attempt 2 failed, given up: no retries left");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryEvent {
    pub(super) attempt: u32,
    pub(super) outcome: Outcome,
    pub(super) kind: RetryEventKind,
    pub(super) total_delay: Duration,
}

/// The kinds of events.
///
/// ```
/// use fusebox::{RetryConfig, retry::RetryEventKind};
///
/// RetryConfig::builder().on_event(|event| match event.kind() {
///     RetryEventKind::Retrying { after, .. } => println!("again in {after:?}"),
///     RetryEventKind::Succeeded => println!("it took {} attempts", event.attempt()),
///     RetryEventKind::Stopped { reason, .. } => println!("failed for good: {reason}"),
///     _ => {}
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryEventKind {
    /// There will be another attempt.
    #[non_exhaustive]
    Retrying {
        /// The wait before it.
        after: Duration,
    },
    /// An attempt after the first one succeeded, or ended in a way that is no failure.
    Succeeded,
    /// The failure goes to the caller.
    #[non_exhaustive]
    Stopped {
        /// Why there is no further attempt.
        reason: StopReason,
    },
    /// An advice: a hundred retries, and nothing that limits them. The configuration has neither a
    /// [`budget`](crate::RetryConfigBuilder::budget) for all calls together nor a
    /// [`deadline`](crate::RetryConfigBuilder::deadline) for each. A dependency that fails gets as many times the load
    /// as there are attempts. Told once for each configuration.
    Unlimited,
}

impl RetryEventKind {
    /// Returns the kind in snake case, as a metrics label.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Retrying { .. } => "retrying",
            Self::Succeeded => "succeeded",
            Self::Stopped { .. } => "stopped",
            Self::Unlimited => "unlimited",
        }
    }
}

/// Why there is no further attempt.
///
/// ```
/// use fusebox::retry::StopReason;
///
/// assert_eq!(StopReason::Budget.to_string(), "the retry budget is spent");
/// assert_eq!(StopReason::Budget.as_str(), "budget", "a label for metrics");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// All of `max_retries` were made.
    MaxRetries,
    /// The backoff has no further delay.
    BackoffEnded,
    /// The deadline, configured or the caller's own, is over, or would be after the wait. Also where the body of a
    /// response outlives it.
    Deadline,
    /// The budget allows no retry.
    Budget,
    /// The failure is not of a kind that another attempt could mend, or the dependency asked for none.
    NotRetryable,
    /// The request cannot be sent again. It is not idempotent, cannot be cloned, its body was too long to keep, or the
    /// caller has its response already, which failed after it had begun.
    NotReplayable,
    /// The dependency asked for a wait beyond [`retry_after_cap`](crate::RetryConfigBuilder::retry_after_cap).
    RetryAfter,
    /// A circuit breaker rejected the attempt.
    Rejected,
    /// The service failed to become ready for the next attempt.
    NotReady,
}

impl StopReason {
    /// Returns a label for metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxRetries => "max_retries",
            Self::BackoffEnded => "backoff_ended",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
            Self::NotRetryable => "not_retryable",
            Self::NotReplayable => "not_replayable",
            Self::RetryAfter => "retry_after",
            Self::Rejected => "rejected",
            Self::NotReady => "not_ready",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaxRetries => "no retries left",
            Self::BackoffEnded => "the backoff has ended",
            Self::Deadline => "no time left before the deadline",
            Self::Budget => "the retry budget is spent",
            Self::NotRetryable => "another attempt would not help",
            Self::NotReplayable => "the request cannot be sent again",
            Self::RetryAfter => "the dependency asked for a wait longer than allowed",
            Self::Rejected => "rejected by a circuit breaker",
            Self::NotReady => "the service is not ready any more",
        })
    }
}

impl RetryEvent {
    /// Returns the attempt that ended, counted from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns how it ended. A timeout is a failure; a circuit breaker's rejection is ignored.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns what comes of it.
    #[must_use]
    pub const fn kind(&self) -> RetryEventKind {
        self.kind
    }

    /// Returns the waits of this call so far, together with the one to come.
    #[must_use]
    pub const fn total_delay(&self) -> Duration {
        self.total_delay
    }
}

impl fmt::Display for RetryEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attempt = self.attempt;
        match self.kind {
            RetryEventKind::Retrying { after } => {
                write!(f, "attempt {attempt} failed, next {}", Soon(after))
            }
            RetryEventKind::Succeeded => write!(f, "attempt {attempt} succeeded"),
            RetryEventKind::Stopped { reason } => write!(f, "attempt {attempt} failed, given up: {reason}"),
            RetryEventKind::Unlimited => {
                f.write_str("advice: nothing limits these retries, give them a budget and a deadline")
            }
        }
    }
}
