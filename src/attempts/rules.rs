//! The rules of trying again, in one place: whether, and after how long.

use std::sync::Arc;
use std::time::Duration;

use super::attempt_end::{Cause, Done, Failed, Place};
use super::budget::Budget;
use super::event::{RetryEventKind, StopReason};
#[cfg(feature = "http")]
use super::open_call::OpenCall;
use super::policy::{Plain, Policy, Shared, WhenRejected};
use crate::backoff::{Pace, draw};
use crate::circuit::Outcome;
use crate::classify::{Classify, Retry};

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
    /// A request that was not processed has been sent again at no cost.
    resent: bool,
    /// A request has been sent over another connection.
    moved: bool,
}

/// What a configuration shares with its calls, and the delays of a backoff of its own: in a box, because every call makes
/// room for them and hardly any needs them.
struct Held {
    shared: Arc<Shared>,
    delays: Option<Box<dyn Iterator<Item = Duration> + Send + Sync>>,
}

/// What the rules ask of the request.
pub(crate) trait Repeat {
    /// Tells whether the request may be sent again after such a result.
    fn may_repeat(&self, after: Retry) -> bool;

    /// The next attempt is to go over another connection.
    fn change_connection(&mut self);

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

    /// Tells how a result counts that goes to the caller as it is, or why it does not do.
    #[inline]
    pub(super) fn judge<C, T, E>(&self, classify: &C, result: &Result<T, E>) -> Result<Done, Failed>
    where
        C: Classify<T, E>,
        E: 'static,
    {
        if let Some(rejected) = classify.rejection(result) {
            return Err(Failed::rejected(rejected.retry_after()));
        }
        let (outcome, retry) = classify.judge(result);
        if let Some(failed) = Failed::of(outcome, retry) {
            return Err(failed);
        }
        let earns = outcome == Outcome::Success && self.counts_successes() && classify.earns(result);
        Ok(Done { outcome, earns })
    }

    #[inline]
    fn counts_successes(&self) -> bool {
        self.shared().is_some_and(Shared::counts_successes)
    }

    /// The call has ended in such a result.
    #[inline]
    pub(super) fn done(&self, done: Done) {
        if self.progress.is_some() || self.counts_successes() {
            self.tell_done(done);
        }
    }

    #[cold]
    fn tell_done(&self, done: Done) {
        if let Some(shared) = self.shared() {
            shared.done(done, self.place());
        }
    }

    /// The call, to be told of when its response has ended; `None` where nothing is told of calls.
    #[cfg(feature = "http")]
    pub(super) fn open(&self, if_left: Option<Done>) -> Option<OpenCall> {
        let shared = self.held.as_ref().map(|held| &held.shared).filter(|shared| shared.hears_of_ends())?;
        Some(OpenCall::new(shared.clone(), self.place(), if_left))
    }

    fn progress(&mut self) -> &mut Progress {
        let shared = self.held.as_ref().map(|held| &*held.shared);
        self.progress.get_or_insert_with(|| Progress {
            failed: 0,
            pace: Pace::new(Shared::seed(shared)),
            total_delay: Duration::ZERO,
            resent: false,
            moved: false,
        })
    }

    /// The delay that the backoff has next.
    fn delay(&mut self) -> Option<Duration> {
        let curve = self.plain.curve;
        let seed = self.progress().pace.seed();
        if let Some(Held { shared, delays }) = &mut self.held
            && let Some(backoff) = &shared.backoff
        {
            return delays.get_or_insert_with(|| backoff.delays(seed).into_boxed()).next();
        }
        Some(self.progress().pace.step(&curve))
    }

    /// The backoff begins anew.
    fn restart_backoff(&mut self) {
        let pace = &mut self.progress().pace;
        *pace = Pace::new(pace.seed());
        if let Some(held) = &mut self.held {
            held.delays = None;
        }
    }

    /// How long to wait before the next attempt; `None`: there is none. `allows`: whether there is time for such a wait.
    pub(super) fn next(
        &mut self,
        failed: Failed,
        allows: impl Fn(Duration) -> bool,
        request: &mut Option<impl Repeat>,
    ) -> Option<Duration> {
        if let Some(shared) = self.shared() {
            shared.ended(matches!(failed.cause, Cause::Rejected(_)));
        }
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
        failed: Failed,
        allows: impl Fn(Duration) -> bool,
        request: &mut Option<impl Repeat>,
    ) -> Result<Duration, StopReason> {
        let budget = self.budget().filter(|_| failed.takes).cloned();
        let is_free = self.is_free(failed.cause);
        if !is_free {
            budget.iter().for_each(Budget::failure);
        }
        let planned = self.repeat(failed.cause, budget.as_ref().filter(|_| !is_free), allows, request);
        // It is free only if it is made.
        if is_free && planned.is_err() {
            budget.iter().for_each(Budget::failure);
        }
        planned
    }

    /// Prepares the next attempt, which costs the `budget` one retry, and says how long to wait before it.
    fn repeat(
        &mut self,
        cause: Cause,
        budget: Option<&Budget>,
        allows: impl Fn(Duration) -> bool,
        request: &mut Option<impl Repeat>,
    ) -> Result<Duration, StopReason> {
        let after = self.wait(cause, self.is_free(cause))?;
        if !allows(after) {
            return Err(StopReason::Deadline);
        }
        let request = request.as_mut().ok_or(StopReason::NotReplayable)?;
        if matches!(cause, Cause::Retryable(retry) if !request.may_repeat(retry)) {
            return Err(StopReason::NotReplayable);
        }
        // Last of all, so that what is withdrawn is spent.
        if budget.is_some_and(|budget| !budget.withdraw()) {
            return Err(StopReason::Budget);
        }
        if cause == Cause::Retryable(Retry::Once) {
            request.change_connection();
        }
        if !request.prepare(self.number().saturating_add(1)) {
            budget.iter().for_each(|budget| budget.refund());
            return Err(StopReason::NotReplayable);
        }
        Ok(after)
    }

    /// Whether the next attempt costs neither time nor budget: the first one after a request that was not processed.
    fn is_free(&self, cause: Cause) -> bool {
        cause == Cause::Retryable(Retry::Unprocessed) && !self.progress.is_some_and(|progress| progress.resent)
    }

    /// How long to wait before the next attempt, or why there is none, as far as the request has no say in it.
    fn wait(&mut self, cause: Cause, is_free: bool) -> Result<Duration, StopReason> {
        let (cap, waits_for_breakers) = (self.plain.retry_after_cap(), self.plain.waits_for_breakers());
        match cause {
            Cause::Final(reason) => Err(reason),
            Cause::Rejected(_) if self.plain.when_rejected == WhenRejected::Return => Err(StopReason::Rejected),
            _ if self.number() > self.plain.max_retries => Err(StopReason::MaxRetries),
            Cause::Retryable(Retry::Unprocessed) if is_free => {
                self.progress().resent = true;
                Ok(Duration::ZERO)
            }
            Cause::Retryable(Retry::Once) if self.progress().moved => Err(StopReason::NotRetryable),
            Cause::Retryable(Retry::Once) => {
                self.progress().moved = true;
                Ok(Duration::ZERO)
            }
            Cause::Retryable(Retry::Pushback(wait)) => {
                self.restart_backoff();
                Ok(wait.min(cap))
            }
            // Never sooner than the dependency said: where that is too late, not at all.
            Cause::Retryable(Retry::After(least)) if least > cap => Err(StopReason::RetryAfter),
            Cause::Retryable(Retry::After(least)) => {
                let delay = self.delay().ok_or(StopReason::BackoffEnded)?;
                let nonce = u64::from(self.number());
                let spread = least.div_f64(10.0).mul_f64(draw(!self.progress().pace.seed(), nonce));
                Ok(delay.max(least).saturating_add(spread))
            }
            // Further away than a caller should wait: then it is not worth waiting at all.
            Cause::Rejected(Some(after)) if waits_for_breakers && after > cap => Err(StopReason::Rejected),
            Cause::Rejected(Some(after)) if waits_for_breakers => {
                self.delay().ok_or(StopReason::BackoffEnded)?;
                Ok(after)
            }
            Cause::Retryable(_) | Cause::Rejected(_) => self.delay().ok_or(StopReason::BackoffEnded),
        }
    }

    /// The next attempt cannot even start.
    #[cold]
    pub(super) fn give_up(&self) {
        self.tell(Outcome::Failure, RetryEventKind::Stopped { reason: StopReason::NotReady });
    }

    fn place(&self) -> Place {
        let total_delay = self.progress.map_or(Duration::ZERO, |progress| progress.total_delay);
        Place { attempt: self.number(), total_delay }
    }

    fn tell(&self, outcome: Outcome, kind: RetryEventKind) {
        if let Some(shared) = self.shared() {
            shared.tell(&self.place().event(outcome, kind));
        }
    }
}
