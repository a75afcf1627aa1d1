//! The rules of trying again, in one place: whether, and after how long.

use std::time::Duration;

use super::budget::Budget;
use super::event::{RetryEvent, RetryEventKind, StopReason};
use super::policy::{Policy, WhenRejected};
use crate::backoff::Delays;
use crate::breaker::rejection_in;
use crate::circuit::Outcome;
use crate::classify::Classify;

/// The attempts of one call so far.
#[derive(Debug)]
pub(crate) struct Attempts {
    policy: Policy,
    /// The attempt on its way, counted from 1.
    number: u32,
    /// Made when the first attempt failed.
    delays: Option<Delays>,
    total_delay: Duration,
}

/// An attempt that did not do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed {
    outcome: Outcome,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The dependency failed, and might not the next time.
    Retryable,
    /// The dependency failed, and another attempt is out of the question.
    Final(StopReason),
    /// A breaker did not let the attempt through, and says when it will.
    Rejected(Option<Duration>),
}

impl Failed {
    pub(super) const TIMED_OUT: Self = Self { outcome: Outcome::Failure, cause: Cause::Retryable };
    /// The time of all attempts is over.
    pub(super) const OUT_OF_TIME: Self = Self { outcome: Outcome::Failure, cause: Cause::Final(StopReason::Deadline) };
}

/// What the rules ask of the request.
pub(crate) trait Repeat {
    /// Makes the request ready to be sent as the `attempt`th; `false` when that cannot be done after all.
    fn prepare(&mut self, attempt: u32) -> bool;
}

impl Attempts {
    #[inline]
    pub(crate) fn begin(policy: Policy) -> Self {
        if let Some(shared) = &policy.shared {
            shared.begin();
        }
        Self { policy, number: 1, delays: None, total_delay: Duration::ZERO }
    }

    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// Tells why a result does not do; `None` when it goes to the caller as it is.
    #[inline]
    pub(super) fn judge<C, T, E>(&self, classify: &C, result: &Result<T, E>) -> Option<Failed>
    where
        C: Classify<T, E>,
        E: 'static,
    {
        if let Err(error) = result
            && let Some(rejected) = rejection_in(error)
        {
            return Some(Failed { outcome: Outcome::Ignored, cause: Cause::Rejected(rejected.retry_after()) });
        }
        let outcome = classify.classify(result);
        if outcome.is_failure() {
            let cause =
                if classify.is_retryable(result) { Cause::Retryable } else { Cause::Final(StopReason::NotRetryable) };
            return Some(Failed { outcome, cause });
        }
        if self.policy.shared.is_some() || self.number > 1 {
            self.done(outcome);
        }
        None
    }

    #[cold]
    fn done(&self, outcome: Outcome) {
        if let Some(budget) = self.policy.budget()
            && outcome == Outcome::Success
        {
            budget.success();
        }
        if self.number > 1 {
            self.tell(outcome, RetryEventKind::Succeeded);
        }
    }

    /// How long to wait before the next attempt; `None`: there is none. `allows`: whether there is time for such a wait.
    pub(super) fn next(
        &mut self,
        failed: Failed,
        allows: impl Fn(Duration) -> bool,
        request: &mut Option<impl Repeat>,
    ) -> Option<Duration> {
        match self.plan(failed, allows, request) {
            Ok(after) => {
                self.total_delay = self.total_delay.saturating_add(after);
                self.tell(failed.outcome, RetryEventKind::Retrying { after });
                self.number = self.number.saturating_add(1);
                Some(after)
            }
            Err(reason) => {
                self.tell(failed.outcome, RetryEventKind::Stopped { reason });
                None
            }
        }
    }

    fn plan(
        &mut self,
        Failed { outcome, cause }: Failed,
        allows: impl Fn(Duration) -> bool,
        request: &mut Option<impl Repeat>,
    ) -> Result<Duration, StopReason> {
        // The dependency was not asked: nothing is earned, nothing spent.
        let budget = self.policy.budget().filter(|_| !matches!(cause, Cause::Rejected(_))).cloned();
        if let Some(budget) = &budget {
            budget.failure();
        }
        match cause {
            Cause::Final(reason) => return Err(reason),
            Cause::Rejected(_) if self.policy.when_rejected == WhenRejected::Return => {
                return Err(StopReason::Rejected);
            }
            Cause::Retryable | Cause::Rejected(_) => {}
        }
        if self.number > self.policy.max_retries {
            return Err(StopReason::MaxRetries);
        }
        let policy = &self.policy;
        let delay = self.delays.get_or_insert_with(|| policy.delays()).next().ok_or(StopReason::BackoffEnded)?;
        let after = match cause {
            // Further away than anybody should wait: then it is not worth waiting at all.
            Cause::Rejected(Some(after)) if policy.waits_for_breakers() && after > policy.retry_after_cap => {
                return Err(StopReason::Rejected);
            }
            Cause::Rejected(Some(after)) if policy.waits_for_breakers() => after,
            // The server knows better than the curve.
            _ => outcome.retry_after().map_or(delay, |after| after.min(policy.retry_after_cap)),
        };
        if !allows(after) {
            return Err(StopReason::Deadline);
        }
        let request = request.as_mut().ok_or(StopReason::NotReplayable)?;
        // Last of all, so that what is withdrawn is spent.
        if budget.as_ref().is_some_and(|budget| !budget.withdraw()) {
            return Err(StopReason::Budget);
        }
        if !request.prepare(self.number.saturating_add(1)) {
            budget.iter().for_each(Budget::refund);
            return Err(StopReason::NotReplayable);
        }
        Ok(after)
    }

    fn tell(&self, outcome: Outcome, kind: RetryEventKind) {
        if let Some(shared) = &self.policy.shared {
            shared.tell(&RetryEvent { attempt: self.number, outcome, kind, total_delay: self.total_delay });
        }
    }
}
