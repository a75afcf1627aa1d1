//! Limits of time.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::caller_deadline::CallerDeadline;
use super::time_left::{NoEnd, Rest, TimeLeft};
use super::timed_out::{TimeLimit, TimedOut};
use crate::clock::timer_now;
use crate::error::BoxError;

/// How long the service took to become ready for a call.
#[derive(Clone, Copy, Debug, Default)]
#[doc(hidden)]
pub struct Waited {
    pub(crate) time: Duration,
    /// The deadline came first: there is no service to make the call with.
    pub(crate) in_vain: bool,
}

/// Whether a retry has limits of time: [`Untimed`], [`Timed`] or [`MapTimeout`]. Sealed.
pub trait Timeouts: Clone + sealed::Sealed {
    #[doc(hidden)]
    type Limits: Limits;

    /// Whether there can be any.
    #[doc(hidden)]
    const LIMITED: bool;

    /// What a call carries of it to make its error, besides its limits.
    #[doc(hidden)]
    type Late;

    /// The limits of a response's body, whose errors are boxed where there are any.
    #[doc(hidden)]
    type Bodies: Timeouts<Limits = Self::Limits, Late = ()>;

    #[doc(hidden)]
    #[inline]
    fn begin(&self) -> Self::Limits {
        self.begin_after(Waited::default(), None)
    }

    #[doc(hidden)]
    fn late(&self) -> Self::Late;

    #[doc(hidden)]
    fn begin_after(&self, waited: Waited, own: Option<CallerDeadline>) -> Self::Limits;

    #[doc(hidden)]
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    #[doc(hidden)]
    fn limits(&self) -> Timed;
}

/// What becomes of a call that exceeds a limit of time. Sealed.
#[diagnostic::on_unimplemented(
    message = "a call that times out has no error of type `{E}`",
    note = "with a deadline or an attempt timeout, the inner error must be `Into<BoxError>`; or say `.map_timeout(|timed_out| ..)`, which keeps the inner error type"
)]
pub trait OnTimeout<E>: Timeouts {
    /// The error of the retrying service.
    type Error;

    #[doc(hidden)]
    fn error(error: E) -> Self::Error;

    #[doc(hidden)]
    fn timed_out(late: &Self::Late, expired: <Self::Limits as Limits>::Expired) -> Self::Error;
}

/// No limit of time: errors keep their type.
///
/// ```
/// use fusebox::retry::{RetryLayer, Untimed};
/// use fusebox::{classify::Errors, RetryConfig};
///
/// # futures::executor::block_on(async {
/// let retry: RetryLayer<Errors, fusebox::retry::Cloned, Untimed> = RetryLayer::new(RetryConfig::default());
/// let error: std::num::ParseIntError = retry.call_blocking(|| "4z".parse::<u32>()).unwrap_err();
/// assert_eq!(error.to_string(), "invalid digit found in string");
/// # })
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Untimed;

/// With limits of time: errors are boxed, [`TimedOut`] among them.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{RetryConfig, retry::Timed};
///
/// let config: RetryConfig<Timed> = RetryConfig::builder().deadline(Duration::from_secs(30)).build()?;
/// assert!(format!("{config:?}").contains("deadline"));
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Timed {
    pub(super) deadline: Option<Duration>,
    pub(super) attempt: Option<Duration>,
}

impl Timed {
    pub(crate) const fn deadline(self) -> Option<Duration> {
        self.deadline
    }
}

/// Limits of time, and a function that makes an error of [`TimedOut`]. The error is of the inner service's type. Made
/// by [`map_timeout`](crate::retry::RetryLayer::map_timeout).
#[derive(Clone, Copy)]
pub struct MapTimeout<F> {
    timed: Timed,
    f: F,
}

impl<F> MapTimeout<F> {
    pub(crate) const fn new(timed: Timed, f: F) -> Self {
        Self { timed, f }
    }
}

impl<F> fmt::Debug for MapTimeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MapTimeout").field(&self.timed).finish()
    }
}

impl Timeouts for Untimed {
    type Limits = NoLimits;
    type Bodies = Self;

    const LIMITED: bool = false;

    type Late = ();

    #[inline]
    fn late(&self) {}

    #[inline]
    fn begin_after(&self, _waited: Waited, own: Option<CallerDeadline>) -> NoLimits {
        NoLimits { own: own.and_then(CallerDeadline::end) }
    }

    fn describe(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }

    fn limits(&self) -> Timed {
        Timed::default()
    }
}

impl Timeouts for Timed {
    type Limits = Timer;
    type Bodies = Self;

    const LIMITED: bool = true;

    type Late = ();

    #[inline]
    fn late(&self) {}

    fn begin_after(&self, waited: Waited, own: Option<CallerDeadline>) -> Timer {
        let now = timer_now();
        let started = now.checked_sub(waited.time).unwrap_or(now);
        let mut timer = Timer { timed: *self, started, own: None, waits_for_client: false, until: None, sleep: None };
        if waited.in_vain {
            timer.until = Some(End { at: now, limit: TimeLimit::Deadline, is_past: true });
        } else {
            timer.heed(own);
            timer.until = timer.next_end(now);
        }
        timer
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(attempt) = self.attempt {
            write!(f, ", {attempt:?} an attempt")?;
        }
        match self.deadline {
            Some(deadline) => write!(f, ", {deadline:?} in all"),
            None => Ok(()),
        }
    }

    fn limits(&self) -> Timed {
        *self
    }
}

impl<F: Clone> Timeouts for MapTimeout<F> {
    type Limits = Timer;
    type Bodies = Timed;

    const LIMITED: bool = true;

    type Late = F;

    #[inline]
    fn late(&self) -> F {
        self.f.clone()
    }

    fn begin_after(&self, waited: Waited, own: Option<CallerDeadline>) -> Timer {
        self.timed.begin_after(waited, own)
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.timed.describe(f)
    }

    fn limits(&self) -> Timed {
        self.timed
    }
}

impl<E> OnTimeout<E> for Untimed {
    type Error = E;

    #[inline]
    fn error(error: E) -> E {
        error
    }

    fn timed_out((): &(), expired: Infallible) -> E {
        match expired {}
    }
}

impl<E: Into<BoxError>> OnTimeout<E> for Timed {
    type Error = BoxError;

    fn error(error: E) -> BoxError {
        error.into()
    }

    fn timed_out((): &(), expired: TimedOut) -> BoxError {
        expired.into()
    }
}

impl<E, F: Fn(TimedOut) -> E + Clone> OnTimeout<E> for MapTimeout<F> {
    type Error = E;

    fn error(error: E) -> E {
        error
    }

    fn timed_out(late: &F, expired: TimedOut) -> E {
        late(expired)
    }
}

/// The limits of one call, from its beginning.
#[doc(hidden)]
pub trait Limits {
    type Expired;
    type Rest: Rest<Expired = Self::Expired>;

    /// A new attempt begins.
    fn next_attempt(self: Pin<&mut Self>);

    /// Waits until the attempt, the `attempt`th, must end.
    fn poll_expired(self: Pin<&mut Self>, cx: &mut Context<'_>, attempt: u32) -> Poll<Self::Expired>;

    /// Tells whether a wait of that length leaves time for an attempt.
    fn allow(&self, wait: Duration) -> bool;

    /// Tells whether the call's time was over before the attempt began.
    fn is_over(&self) -> bool;

    /// How much is left until the caller's own deadline, if there is one.
    fn left(&self) -> Option<Duration>;

    /// Tells whether no time is left for anything.
    fn is_final(expired: &Self::Expired) -> bool;

    /// The time that is left for the body of the response in which the `attempt`th attempt has ended.
    fn rest(&self, attempt: u32) -> Self::Rest;
}

/// Nothing cuts an attempt; the caller's own deadline prevents further ones.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct NoLimits {
    own: Option<Instant>,
}

fn ends_before(wait: Duration, deadline: Instant) -> bool {
    timer_now().checked_add(wait).is_some_and(|end| end < deadline)
}

fn left(own: Option<Instant>) -> Option<Duration> {
    own.map(|end| end.saturating_duration_since(timer_now()))
}

impl Limits for NoLimits {
    type Expired = Infallible;
    type Rest = NoEnd;

    #[inline]
    fn next_attempt(self: Pin<&mut Self>) {}

    #[inline]
    fn poll_expired(self: Pin<&mut Self>, _cx: &mut Context<'_>, _attempt: u32) -> Poll<Infallible> {
        Poll::Pending
    }

    #[inline]
    fn allow(&self, wait: Duration) -> bool {
        self.own.is_none_or(|end| ends_before(wait, end))
    }

    #[inline]
    fn is_over(&self) -> bool {
        false
    }

    fn left(&self) -> Option<Duration> {
        left(self.own)
    }

    fn is_final(expired: &Infallible) -> bool {
        match *expired {}
    }

    #[inline]
    fn rest(&self, _attempt: u32) -> NoEnd {
        NoEnd
    }
}

pin_project! {
    #[derive(Debug)]
    #[doc(hidden)]
    pub struct Timer {
        timed: Timed,
        started: Instant,
        own: Option<Instant>,
        // The deadline is one that the client knows.
        waits_for_client: bool,
        // When the attempt must end; none where that is beyond the end of time.
        until: Option<End>,
        // Made when an attempt is first found pending: one that answers at once needs no timer.
        #[pin]
        sleep: Option<Sleep>,
    }
}

/// A client that ends an attempt at the caller's deadline goes first: its error is a failure for a circuit breaker inside,
/// which an attempt that is dropped is not. Its timer begins a moment later than the call.
const CLIENTS_LAG: Duration = Duration::from_millis(10);

/// When an attempt must end, and by which limit.
#[derive(Clone, Copy, Debug)]
struct End {
    at: Instant,
    limit: TimeLimit,
    /// That was before it could begin.
    is_past: bool,
}

impl Timer {
    /// Where there are limits at all, the caller's own deadline is one of them if it is the sooner.
    fn heed(&mut self, own: Option<CallerDeadline>) {
        let Some((own, end)) = own.and_then(|own| own.end().map(|end| (own, end))) else {
            return;
        };
        self.own = Some(end);
        let is_limited = self.timed.attempt.is_some() || self.timed.deadline.is_some();
        if is_limited && self.deadline().is_none_or(|deadline| end < deadline) {
            (self.started, self.timed.deadline) = (own.from, Some(own.after));
            self.waits_for_client = own.is_clients;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.started.checked_add(self.timed.deadline?)
    }

    /// When an attempt that begins now must end.
    fn next_end(&self, now: Instant) -> Option<End> {
        let attempt = self.timed.attempt.and_then(|limit| now.checked_add(limit)).map(|end| (end, TimeLimit::Attempt));
        let deadline = self.deadline().map(|end| (end, TimeLimit::Deadline));
        let (at, limit) = match (attempt, deadline) {
            (Some(attempt), Some(deadline)) if attempt.0 < deadline.0 => attempt,
            (attempt, deadline) => deadline.or(attempt)?,
        };
        let is_past = at <= now;
        let waits = self.waits_for_client && limit == TimeLimit::Deadline;
        Some(End { at: if waits { at.checked_add(CLIENTS_LAG)? } else { at }, limit, is_past })
    }
}

impl Limits for Timer {
    type Expired = TimedOut;
    type Rest = TimeLeft<TimedOut>;

    fn next_attempt(mut self: Pin<&mut Self>) {
        let end = self.next_end(timer_now());
        let mut this = self.as_mut().project();
        *this.until = end;
        this.sleep.set(None);
    }

    fn poll_expired(self: Pin<&mut Self>, cx: &mut Context<'_>, attempt: u32) -> Poll<TimedOut> {
        let mut this = self.project();
        let Some(End { at, limit, is_past }) = *this.until else {
            return Poll::Pending;
        };
        let after = match limit {
            TimeLimit::Attempt => this.timed.attempt,
            TimeLimit::Deadline => this.timed.deadline,
        };
        let timed_out = TimedOut { limit, after: after.unwrap_or_default(), attempt, answered: false };
        if is_past {
            return Poll::Ready(timed_out);
        }
        if this.sleep.is_none() {
            this.sleep.set(Some(sleep_until(at)));
        }
        let Some(sleep) = this.sleep.as_pin_mut() else {
            return Poll::Pending;
        };
        sleep.poll(cx).map(|()| timed_out)
    }

    fn allow(&self, wait: Duration) -> bool {
        let deadline = self.deadline().into_iter().chain(self.own).min();
        deadline.is_none_or(|deadline| ends_before(wait, deadline))
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|end| {
            let is_elapsed = || self.sleep.as_ref().is_some_and(Sleep::is_elapsed);
            end.is_past || (end.limit == TimeLimit::Deadline && is_elapsed())
        })
    }

    fn left(&self) -> Option<Duration> {
        left(self.own)
    }

    fn is_final(expired: &TimedOut) -> bool {
        expired.limit == TimeLimit::Deadline
    }

    fn rest(&self, attempt: u32) -> TimeLeft<TimedOut> {
        let after = self.timed.deadline.unwrap_or_default();
        let expired = TimedOut { limit: TimeLimit::Deadline, after, attempt, answered: true };
        // Here as well the client goes first.
        let lag = if self.waits_for_client { CLIENTS_LAG } else { Duration::ZERO };
        TimeLeft::until(self.deadline().and_then(|end| end.checked_add(lag)).map(|end| (end, expired)))
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Untimed {}
    impl Sealed for super::Timed {}
    impl<F> Sealed for super::MapTimeout<F> {}
}
