//! The rules of trying again, in one place: whether, and after how long.

use std::sync::Arc;
use std::time::Duration;

use super::budget::Budget;
use super::event::{RetryEvent, RetryEventKind, StopReason};
use super::policy::{Plain, Policy, Shared, WhenRejected};
use crate::backoff::Pace;
use crate::breaker::rejection_in;
use crate::circuit::Outcome;
use crate::classify::Classify;

/// The attempts of one call so far. What a call that succeeds at once does not need is made when the first attempt failed.
pub(crate) struct Attempts {
    plain: Plain,
    held: Option<Held>,
    /// None while the first attempt is on its way.
    progress: Option<Progress>,
}

/// How far a call has come after its first attempt failed.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// The attempts that failed.
    failed: u32,
    pace: Pace,
    total_delay: Duration,
}

/// What a configuration shares with its calls, and the delays of a backoff of its own: in a box, because every call makes
/// room for them and hardly any needs them.
struct Held {
    shared: Arc<Shared>,
    delays: Option<Box<dyn Iterator<Item = Duration> + Send + Sync>>,
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
    pub(super) fn new(policy: &Policy) -> Self {
        let held = policy.shared.as_ref().map(|shared| Held { shared: shared.clone(), delays: None });
        Self { plain: policy.plain, held, progress: None }
    }

    /// The attempt on its way, counted from 1.
    pub(super) fn number(&self) -> u32 {
        self.progress.map_or(1, |progress| progress.failed.saturating_add(1))
    }

    fn shared(&self) -> Option<&Shared> {
        self.held.as_ref().map(|held| &*held.shared)
    }

    #[inline]
    fn budget(&self) -> Option<&Budget> {
        self.held.as_ref()?.shared.budget.as_ref()
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
        if self.progress.is_some() || self.budget().is_some_and(Budget::counts_successes) {
            self.done(outcome);
        }
        None
    }

    #[cold]
    fn done(&self, outcome: Outcome) {
        if let Some(budget) = self.budget()
            && outcome == Outcome::Success
        {
            budget.success();
        }
        if self.progress.is_some() {
            self.tell(outcome, RetryEventKind::Succeeded);
        }
    }

    /// The delay that the backoff has next.
    fn delay(&mut self) -> Option<Duration> {
        let shared = self.held.as_ref().map(|held| &*held.shared);
        let progress = self.progress.get_or_insert_with(|| Progress {
            failed: 0,
            pace: Pace::new(Shared::seed(shared)),
            total_delay: Duration::ZERO,
        });
        if let Some(Held { shared, delays }) = &mut self.held
            && let Some(backoff) = &shared.backoff
        {
            return delays.get_or_insert_with(|| backoff.delays(progress.pace.seed()).into_boxed()).next();
        }
        Some(progress.pace.step(&self.plain.curve))
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
                if let Some(progress) = &mut self.progress {
                    progress.total_delay = progress.total_delay.saturating_add(after);
                }
                self.tell(failed.outcome, RetryEventKind::Retrying { after });
                if let Some(progress) = &mut self.progress {
                    progress.failed = progress.failed.saturating_add(1);
                }
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
        // Nothing is spent where the dependency was not asked, or would not be asked again anyway.
        let budget = self.budget().filter(|_| cause == Cause::Retryable).cloned();
        if let Some(budget) = &budget {
            budget.failure();
        }
        let plain = self.plain;
        match cause {
            Cause::Final(reason) => return Err(reason),
            Cause::Rejected(_) if plain.when_rejected == WhenRejected::Return => return Err(StopReason::Rejected),
            Cause::Retryable | Cause::Rejected(_) => {}
        }
        if self.number() > plain.max_retries {
            return Err(StopReason::MaxRetries);
        }
        let delay = self.delay().ok_or(StopReason::BackoffEnded)?;
        let after = match cause {
            // Further away than anybody should wait: then it is not worth waiting at all.
            Cause::Rejected(Some(after)) if plain.waits_for_breakers() && after > plain.retry_after_cap() => {
                return Err(StopReason::Rejected);
            }
            Cause::Rejected(Some(after)) if plain.waits_for_breakers() => after,
            // The server knows better than the curve.
            _ => outcome.retry_after().map_or(delay, |after| after.min(plain.retry_after_cap())),
        };
        if !allows(after) {
            return Err(StopReason::Deadline);
        }
        let request = request.as_mut().ok_or(StopReason::NotReplayable)?;
        // Last of all, so that what is withdrawn is spent.
        if budget.as_ref().is_some_and(|budget| !budget.withdraw()) {
            return Err(StopReason::Budget);
        }
        if !request.prepare(self.number().saturating_add(1)) {
            budget.iter().for_each(Budget::refund);
            return Err(StopReason::NotReplayable);
        }
        Ok(after)
    }

    /// The next attempt cannot even start.
    #[cold]
    pub(super) fn give_up(&self) {
        self.tell(Outcome::Failure, RetryEventKind::Stopped { reason: StopReason::NotReady });
    }

    fn tell(&self, outcome: Outcome, kind: RetryEventKind) {
        if let Some(shared) = self.shared() {
            let total_delay = self.progress.map_or(Duration::ZERO, |progress| progress.total_delay);
            shared.tell(&RetryEvent { attempt: self.number(), outcome, kind, total_delay });
        }
    }
}
