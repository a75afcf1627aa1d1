//! The rules of trying again, in one place: whether, and after how long.

use std::mem::ManuallyDrop;
use std::time::Duration;

use super::attempt_end::{Cause, Done, Failed, Place, judged};
use super::budget::Budget;
use super::event::{RetryEventKind, StopReason};
#[cfg(feature = "http")]
use super::open_call::OpenCall;
use super::policy::{Plain, Policy, Shared, WhenRejected};
#[cfg(feature = "tracing")]
use super::trace;
use crate::backoff::{Pace, draw};
use crate::circuit::Outcome;
use crate::classify::{Classify, Retry};
use crate::clock::fresh_seed;

/// The attempts of one call so far. What a call that succeeds at once does not need is made when the first attempt failed.
///
/// In this order: next to what is moved in one piece, the room for `progress` would be copied along while it is empty.
#[repr(C)]
pub(crate) struct Attempts {
    /// None while the first attempt is on its way.
    progress: Option<Progress>,
    /// Dropped by hand, behind one test that is taken into the caller: a plain call has nothing to drop.
    policy: ManuallyDrop<Policy>,
}

type OwnDelays = Box<dyn Iterator<Item = Duration> + Send + Sync>;

/// How far a call has come after its first attempt failed.
struct Progress {
    /// The attempts that failed.
    failed: u32,
    /// A request that was not processed has been sent again at no cost.
    resent: bool,
    /// A request has been sent over another connection.
    moved: bool,
    /// None until chance is asked for, where the configuration gives none.
    seed: Option<u64>,
    pace: Pace,
    total_delay: Duration,
    /// Those of the configuration's own backoff, once asked for. Dropped by hand, with the policy, which is not plain then.
    delays: ManuallyDrop<Option<OwnDelays>>,
}

impl Drop for Attempts {
    #[inline]
    fn drop(&mut self) {
        if self.shared().is_some() {
            self.release();
        }
    }
}

impl Progress {
    #[inline]
    fn begin(shared: Option<&Shared>) -> Self {
        Self {
            failed: 0,
            resent: false,
            moved: false,
            seed: shared.and_then(Shared::seed),
            pace: Pace::new(),
            total_delay: Duration::ZERO,
            delays: ManuallyDrop::new(None),
        }
    }

    fn seed(&mut self) -> u64 {
        *self.seed.get_or_insert_with(fresh_seed)
    }
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
    #[inline(never)]
    fn release(&mut self) {
        *self.policy = Policy::DEFAULT;
        if let Some(progress) = &mut self.progress {
            *progress.delays = None;
        }
    }

    #[inline]
    pub(super) fn new(policy: &Policy) -> Self {
        Self { policy: ManuallyDrop::new(policy.clone()), progress: None }
    }

    /// The attempt on its way, counted from 1.
    pub(super) fn number(&self) -> u32 {
        self.progress.as_ref().map_or(1, |progress| progress.failed.saturating_add(1))
    }

    #[inline]
    fn shared(&self) -> Option<&Shared> {
        self.policy.shared()
    }

    #[inline]
    fn plain(&self) -> &Plain {
        self.policy.plain()
    }

    /// The budget that such a failure is held against.
    #[inline]
    fn budget(&self, failed: &Failed) -> Option<&Budget> {
        self.shared()?.budget.as_ref().filter(|_| failed.takes)
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
        Ok(judged(outcome, retry)?.earning(|| self.counts_successes() && classify.earns(result)))
    }

    #[inline]
    fn counts_successes(&self) -> bool {
        self.shared().is_some_and(Shared::counts_successes)
    }

    /// The call has ended in such a result.
    #[inline]
    pub(super) fn done(&self, done: Done) {
        if let Some(shared) = self.shared()
            && (self.progress.is_some() || shared.counts_successes())
        {
            self.tell_done(shared, done);
        }
    }

    #[cold]
    fn tell_done(&self, shared: &Shared, done: Done) {
        shared.done(done, self.place());
    }

    /// The call, to be told of when its response has ended; `None` where nothing is told of calls.
    #[cfg(feature = "http")]
    pub(super) fn open(&self, if_left: Option<Done>) -> Option<OpenCall> {
        match &*self.policy {
            Policy::Shared(shared) if shared.hears_of_ends() => {
                Some(OpenCall::new(shared.clone(), self.place(), if_left))
            }
            _ => None,
        }
    }

    #[inline]
    fn progress(&mut self) -> &mut Progress {
        self.progress.get_or_insert_with(|| Progress::begin(self.policy.shared()))
    }

    /// The delay that the backoff has next.
    #[inline]
    fn delay(&mut self) -> Option<Duration> {
        if self.shared().is_some_and(|shared| shared.backoff.is_some()) {
            return self.own_delay();
        }
        let Self { policy, progress } = self;
        let Progress { pace, seed, .. } = progress.get_or_insert_with(|| Progress::begin(policy.shared()));
        Some(pace.step(&policy.plain().curve, || *seed.get_or_insert_with(fresh_seed)))
    }

    #[inline(never)]
    fn own_delay(&mut self) -> Option<Duration> {
        let Self { policy, progress } = self;
        let backoff = policy.shared()?.backoff.as_ref()?;
        let progress = progress.get_or_insert_with(|| Progress::begin(policy.shared()));
        let seed = progress.seed();
        progress.delays.get_or_insert_with(|| backoff.delays(seed).into_boxed()).next()
    }

    fn restart_backoff(&mut self) {
        let progress = self.progress();
        progress.pace = Pace::new();
        *progress.delays = None;
    }

    /// How long to wait before the next attempt; `None`: there is none. `allows`: whether there is time for such a wait.
    pub(super) fn next(
        &mut self,
        failed: &Failed,
        allows: impl Fn(Duration) -> bool,
        request: &mut Option<impl Repeat>,
    ) -> Option<Duration> {
        if let Some(shared) = self.shared() {
            shared.ended(matches!(failed.cause, Cause::Rejected(_)));
        }
        let is_free = self.is_free(failed.cause);
        if !is_free {
            self.budget(failed).into_iter().for_each(Budget::failure);
        }
        match self.repeat(failed, is_free, allows, request) {
            Ok(after) => {
                self.go_on(failed.outcome, after);
                Some(after)
            }
            Err(reason) => {
                // It is free only if it is made.
                if is_free {
                    self.budget(failed).into_iter().for_each(Budget::failure);
                }
                self.tell(failed.outcome, RetryEventKind::Stopped { reason });
                None
            }
        }
    }

    /// There is another attempt.
    #[inline]
    fn go_on(&mut self, outcome: Outcome, after: Duration) {
        if self.shared().is_some() || cfg!(feature = "tracing") {
            self.tell_retrying(outcome, after);
        }
        let progress = self.progress();
        progress.failed = progress.failed.saturating_add(1);
    }

    #[inline(never)]
    fn tell_retrying(&mut self, outcome: Outcome, after: Duration) {
        let progress = self.progress();
        progress.total_delay = progress.total_delay.saturating_add(after);
        self.tell(outcome, RetryEventKind::Retrying { after });
    }

    /// Prepares the next attempt, which costs the budget one retry unless it is free, and says how long to wait before it.
    #[inline]
    fn repeat(
        &mut self,
        failed: &Failed,
        is_free: bool,
        allows: impl Fn(Duration) -> bool,
        request: &mut Option<impl Repeat>,
    ) -> Result<Duration, StopReason> {
        let cause = failed.cause;
        let after = self.wait(failed, is_free)?;
        if !allows(after) {
            return Err(StopReason::Deadline);
        }
        let request = request.as_mut().ok_or(StopReason::NotReplayable)?;
        if matches!(cause, Cause::Retryable(retry) if !request.may_repeat(retry)) {
            return Err(StopReason::NotReplayable);
        }
        let budget = self.budget(failed).filter(|_| !is_free);
        // Last of all, so that what is withdrawn is spent.
        if budget.is_some_and(|budget| !budget.withdraw()) {
            return Err(StopReason::Budget);
        }
        if cause == Cause::Retryable(Retry::Once) {
            request.change_connection();
        }
        if !request.prepare(self.number().saturating_add(1)) {
            budget.into_iter().for_each(Budget::refund);
            return Err(StopReason::NotReplayable);
        }
        Ok(after)
    }

    /// Whether the next attempt costs neither time nor budget: the first one after a request that was not processed.
    fn is_free(&self, cause: Cause) -> bool {
        cause == Cause::Retryable(Retry::Unprocessed) && !self.progress.as_ref().is_some_and(|progress| progress.resent)
    }

    /// How long to wait before the next attempt, or why there is none, as far as the request has no say in it.
    #[expect(
        clippy::inline_always,
        reason = "on its own it hands its answer over in memory, a fifth of a retry's cost"
    )]
    #[inline(always)]
    fn wait(&mut self, failed: &Failed, is_free: bool) -> Result<Duration, StopReason> {
        match failed.cause {
            Cause::Retryable(Retry::IfIdempotent) if self.has_used_all_retries() => Err(StopReason::MaxRetries),
            Cause::Retryable(Retry::IfIdempotent) => self.delay().ok_or(StopReason::BackoffEnded),
            cause => self.wait_as_told(cause, is_free),
        }
    }

    #[inline]
    fn has_used_all_retries(&self) -> bool {
        self.number() > self.plain().max_retries
    }

    /// The same where the result, or the breaker that rejected, says more than that another attempt might mend it.
    #[inline(never)]
    fn wait_as_told(&mut self, cause: Cause, is_free: bool) -> Result<Duration, StopReason> {
        match cause {
            Cause::Final(reason) => return Err(reason),
            Cause::Rejected(_) if self.plain().when_rejected == WhenRejected::Return => {
                return Err(StopReason::Rejected);
            }
            _ if self.has_used_all_retries() => return Err(StopReason::MaxRetries),
            Cause::Retryable(Retry::Unprocessed) if is_free => {
                self.progress().resent = true;
                return Ok(Duration::ZERO);
            }
            Cause::Retryable(Retry::Once) if self.progress().moved => return Err(StopReason::NotRetryable),
            Cause::Retryable(Retry::Once) => {
                self.progress().moved = true;
                return Ok(Duration::ZERO);
            }
            Cause::Retryable(Retry::Pushback(wait)) => {
                self.restart_backoff();
                return Ok(wait.min(self.plain().retry_after_cap()));
            }
            // Never sooner than the dependency said: where that is too late, not at all.
            Cause::Retryable(Retry::After(least)) if least > self.plain().retry_after_cap() => {
                return Err(StopReason::RetryAfter);
            }
            // Further away than a caller should wait: then it is not worth waiting at all.
            Cause::Rejected(Some(after))
                if self.plain().waits_for_breakers() && after > self.plain().retry_after_cap() =>
            {
                return Err(StopReason::Rejected);
            }
            Cause::Retryable(_) | Cause::Rejected(_) => {}
        }
        let delay = self.delay().ok_or(StopReason::BackoffEnded)?;
        match cause {
            Cause::Retryable(Retry::After(least)) => {
                let nonce = u64::from(self.number());
                let spread = least.div_f64(10.0).mul_f64(draw(!self.progress().seed(), nonce));
                Ok(delay.max(least).saturating_add(spread))
            }
            Cause::Rejected(Some(after)) if self.plain().waits_for_breakers() => Ok(after),
            _ => Ok(delay),
        }
    }

    /// The next attempt cannot even start.
    #[cold]
    pub(super) fn give_up(&self) {
        self.tell(Outcome::Failure, RetryEventKind::Stopped { reason: StopReason::NotReady });
    }

    fn place(&self) -> Place {
        let total_delay = self.progress.as_ref().map_or(Duration::ZERO, |progress| progress.total_delay);
        Place { attempt: self.number(), total_delay }
    }

    fn tell(&self, outcome: Outcome, kind: RetryEventKind) {
        #[cfg(feature = "tracing")]
        if self.shared().is_none() {
            trace::tell("", &self.place().event(outcome, kind));
        }
        if let Some(shared) = self.shared() {
            shared.tell(&self.place().event(outcome, kind));
        }
    }
}
