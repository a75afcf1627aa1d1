//! How an attempt ended, and where its call stands then.

use std::time::Duration;

use super::event::{RetryEvent, RetryEventKind, StopReason};
use crate::circuit::Outcome;
use crate::classify::Retry;

/// A result that goes to the caller as it is. It fits in a register: every call that goes well has one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Done {
    /// `earns`: it gives back what failures take from the budget.
    Success {
        earns: bool,
    },
    Ignored,
    Cancelled,
}

impl Done {
    /// The same; a success earns as is said.
    #[inline]
    pub(super) fn earning(self, earns: impl FnOnce() -> bool) -> Self {
        match self {
            Self::Success { .. } => Self::Success { earns: earns() },
            Self::Ignored | Self::Cancelled => self,
        }
    }

    pub(super) const fn earns(self) -> bool {
        matches!(self, Self::Success { earns: true })
    }

    pub(super) const fn outcome(self) -> Outcome {
        match self {
            Self::Success { .. } => Outcome::Success,
            Self::Ignored => Outcome::Ignored,
            Self::Cancelled => Outcome::Cancelled,
        }
    }
}

/// An attempt that did not do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    pub(super) outcome: Outcome,
    pub(super) cause: Cause,
    /// It is held against the budget, whether there is another attempt or not.
    pub(super) takes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Another attempt might mend it.
    Retryable(Retry),
    /// Another attempt is out of the question.
    Final(StopReason),
    /// A breaker did not let the attempt through, and says when it will.
    Rejected(Option<Duration>),
}

/// Tells whether a result goes to the caller as it is, or why it does not do. Nothing is earned by it so far.
#[inline]
pub(super) const fn judged(outcome: Outcome, retry: Retry) -> Result<Done, Failed> {
    let (cause, takes) = match retry {
        Retry::Never => match outcome {
            Outcome::Success => return Ok(Done::Success { earns: false }),
            Outcome::Ignored => return Ok(Done::Ignored),
            Outcome::Cancelled => return Ok(Done::Cancelled),
            Outcome::Failure | Outcome::FailureAfter(_) => (Cause::Final(StopReason::NotRetryable), false),
        },
        Retry::Refused => (Cause::Final(StopReason::NotRetryable), true),
        _ => (Cause::Retryable(retry), true),
    };
    Err(Failed { outcome, cause, takes })
}

impl Failed {
    pub(super) const TIMED_OUT: Self =
        Self { outcome: Outcome::Failure, cause: Cause::Retryable(Retry::IfIdempotent), takes: true };
    /// The time of all attempts is over. `asked`: while the dependency was.
    pub(super) const fn out_of_time(asked: bool) -> Self {
        Self { outcome: Outcome::Failure, cause: Cause::Final(StopReason::Deadline), takes: asked }
    }

    pub(super) const fn rejected(after: Option<Duration>) -> Self {
        Self { outcome: Outcome::Ignored, cause: Cause::Rejected(after), takes: false }
    }
}

/// How far a call has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The attempt on its way, counted from 1.
    pub(super) attempt: u32,
    pub(super) total_delay: Duration,
}

impl Place {
    pub(super) const fn event(self, outcome: Outcome, kind: RetryEventKind) -> RetryEvent {
        RetryEvent { attempt: self.attempt, outcome, kind, total_delay: self.total_delay }
    }
}
