//! How an attempt ended, and where its call stands then.

use std::time::Duration;

use super::event::{RetryEvent, RetryEventKind, StopReason};
use crate::circuit::Outcome;
use crate::classify::Retry;

/// A result that goes to the caller as it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) outcome: Outcome,
    /// It gives back what failures take from the budget.
    pub(super) earns: bool,
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

impl Failed {
    pub(super) const TIMED_OUT: Self =
        Self { outcome: Outcome::Failure, cause: Cause::Retryable(Retry::IfIdempotent), takes: true };
    /// The time of all attempts is over. `asked`: while the dependency was.
    pub(super) const fn out_of_time(asked: bool) -> Self {
        Self { outcome: Outcome::Failure, cause: Cause::Final(StopReason::Deadline), takes: asked }
    }

    /// Tells why a result does not do; `None` when it goes to the caller as it is.
    #[inline]
    pub(super) fn of(outcome: Outcome, retry: Retry) -> Option<Self> {
        let (cause, takes) = match retry {
            Retry::Never if !outcome.is_failure() => return None,
            Retry::Never => (Cause::Final(StopReason::NotRetryable), false),
            Retry::Refused => (Cause::Final(StopReason::NotRetryable), true),
            _ => (Cause::Retryable(retry), true),
        };
        Some(Self { outcome, cause, takes })
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
