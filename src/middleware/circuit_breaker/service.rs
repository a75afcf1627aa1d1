//! The guarded service.

use std::marker::PhantomData;
use std::mem;
use std::task::{Context, Poll};

use tower_service::Service;

use super::future::ResponseFuture;
use super::readiness::{GiveBack, KeepsReadiness};
use super::reject::{Boxed, OnReject};
use super::select::{Breakers, One, Select};
#[cfg(feature = "http")]
use crate::breaker::Permit;
use crate::breaker::{Alarm, CircuitBreaker, Guarded, Refusal, Watch};
use crate::circuit::{Outcome, State};
use crate::classify::Errors;
use crate::rejected::Rejected;

/// A service behind a circuit breaker. Made by [`CircuitBreakerLayer`](super::CircuitBreakerLayer).
///
/// ```
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, CircuitBreakerService};
/// use tower::Layer;
///
/// struct Client {
///     retries: u32,
/// }
/// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments"));
/// let mut service: CircuitBreakerService<Client> = layer.layer(Client { retries: 1 });
/// assert_eq!(service.breaker().name(), layer.breaker().name());
///
/// service.get_mut().retries = 3;
/// assert_eq!(service.get_ref().retries, 3);
/// assert_eq!(service.into_inner().retries, 3);
/// ```
#[derive(Debug)]
pub struct CircuitBreakerService<S, C = Errors, M = Boxed, K = One, R = KeepsReadiness> {
    inner: S,
    classify: C,
    mode: M,
    select: K,
    readiness: Readiness,
    /// Whether the inner service was asked, and may have reserved something.
    holds: bool,
    /// While the inner service is waited for. Apart, since most services never wait.
    alarm: Option<Box<Alarm>>,
    unready: Unready,
    on_reject: PhantomData<fn() -> R>,
}

/// What `poll_ready` learnt, for the one `call` that follows.
#[derive(Clone, Copy, Debug, Default)]
enum Readiness {
    /// The inner service is ready, as far as is known.
    #[default]
    Inner,
    /// Ready to reject: the inner service was not asked this time.
    Reject(Refusal),
}

/// Whether the inner service's failure to become ready has been counted. It may go on failing for as long as it
/// is polled; that is one failure.
#[derive(Debug, Default)]
pub(super) struct Unready {
    counted: bool,
}

impl Unready {
    /// Counts it, in closed only: it is no probe's verdict.
    pub(super) fn count(&mut self, breaker: &CircuitBreaker) {
        if mem::replace(&mut self.counted, true) || breaker.state() != State::Closed {
            return;
        }
        if let Ok(permit) = breaker.acquire() {
            let outcome = if permit.is_probe() { Outcome::Ignored } else { Outcome::Failure };
            permit.report(outcome);
        }
    }
}

impl<S, C, M, K, R> CircuitBreakerService<S, C, M, K, R> {
    pub(super) fn new(inner: S, classify: C, mode: M, select: K) -> Self {
        Self {
            inner,
            classify,
            mode,
            select,
            readiness: Readiness::default(),
            holds: false,
            alarm: None,
            unready: Unready::default(),
            on_reject: PhantomData,
        }
    }

    /// Returns the inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the inner service, to change it.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service by value.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, C, M, R> CircuitBreakerService<S, C, M, One, R> {
    /// Returns the breaker.
    #[must_use]
    pub const fn breaker(&self) -> &CircuitBreaker {
        &self.select.breaker
    }
}

impl<S: Clone, C: Clone, M: Clone, K: Clone, R> Clone for CircuitBreakerService<S, C, M, K, R> {
    /// Clones it without its readiness. That belongs to the instance that was polled: a clone has to be polled itself.
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.classify.clone(), self.mode.clone(), self.select.clone())
    }
}

impl<S, C, M, K, R, Req> Service<Req> for CircuitBreakerService<S, C, M, K, R>
where
    S: Service<Req>,
    C: Watch<S::Response, S::Error> + Clone,
    M: OnReject<Req, C::Response, S::Error>,
    K: Select<Req>,
    R: GiveBack<S>,
{
    type Response = C::Response;
    type Error = M::Error;
    type Future = ResponseFuture<S::Future, M::Future, C, fn(Req) -> M>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_readiness(cx).map_err(M::error)
    }

    #[expect(clippy::inline_always, reason = "a future that is returned through memory is copied, and waits for that")]
    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        if let Some(rejected) = self.promised() {
            return ResponseFuture::rejected(self.reject(request, rejected));
        }
        // The healthy path on its own: merged with the others, the permit would be copied through memory three times.
        if let Some(admitted) = self.select.one().and_then(CircuitBreaker::acquire_at_sight) {
            let response = self.inner.call(request);
            return ResponseFuture::guarded(Guarded::new(response, admitted.into_permit(), self.classify.clone()));
        }
        self.call_slow(request)
    }
}

impl<S, C, M, K, R> CircuitBreakerService<S, C, M, K, R>
where
    C: Clone,
    R: GiveBack<S>,
{
    /// Readiness for one call: that of the inner service, or to reject.
    #[inline]
    pub(super) fn poll_readiness<Req>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>>
    where
        S: Service<Req>,
        K: Breakers,
    {
        if let Some(breaker) = self.select.one()
            && let Some(refusal) = breaker.refusal()
        {
            self.readiness = Readiness::Reject(refusal);
            if self.alarm.is_some() {
                self.alarm = None;
            }
            return Poll::Ready(Ok(()));
        }
        self.readiness = Readiness::Inner;
        self.holds = true;
        let Poll::Ready(ready) = self.inner.poll_ready(cx) else {
            return self.wait_for_inner(cx).map(Ok);
        };
        if self.alarm.is_some() {
            self.alarm = None;
        }
        Poll::Ready(ready.inspect_err(|_| {
            if let Some(breaker) = self.select.one() {
                self.unready.count(breaker);
            }
        }))
    }

    /// The rejection that readiness has promised.
    #[inline]
    pub(super) fn promised(&mut self) -> Option<Rejected>
    where
        K: Breakers,
    {
        if let Readiness::Reject(refusal) = self.readiness
            && let Some(breaker) = self.select.one()
        {
            self.readiness = Readiness::Inner;
            return Some(breaker.reject_as_promised(refusal));
        }
        None
    }

    /// Answers a rejected request.
    #[inline]
    pub(super) fn reject<Req, Res, Err>(&mut self, request: Req, rejected: Rejected) -> M::Future
    where
        M: OnReject<Req, Res, Err>,
    {
        self.give_back();
        self.mode.reject(request, rejected)
    }

    /// The inner service is not ready: the caller is woken by that, or by the circuit. Only the breaker of all requests
    /// is known before there is one.
    #[cold]
    fn wait_for_inner(&mut self, cx: &Context<'_>) -> Poll<()>
    where
        K: Breakers,
    {
        let Some(breaker) = self.select.one() else {
            return Poll::Pending;
        };
        self.alarm.get_or_insert_with(|| Box::new(Alarm::new(breaker))).set(cx.waker());
        // Asked once more, so that no change since it was asked first is missed.
        let Some(refusal) = breaker.refusal() else {
            return Poll::Pending;
        };
        self.readiness = Readiness::Reject(refusal);
        self.alarm = None;
        Poll::Ready(())
    }

    /// The call is rejected: what the inner service has reserved for it is free, if that is wanted.
    #[inline]
    fn give_back(&mut self) {
        if mem::take(&mut self.holds) {
            R::give_back(&mut self.inner);
        }
    }

    /// The permit for a request, if it has a breaker. For services that have no healthy path of their own.
    #[cfg(feature = "http")]
    pub(super) fn admit<Req>(&mut self, request: &Req) -> Result<Option<Permit>, Rejected>
    where
        K: Select<Req>,
    {
        match self.promised() {
            Some(rejected) => Err(rejected),
            None => self.select.acquire(request).transpose(),
        }
    }

    #[cfg(feature = "http")]
    pub(super) fn classifier(&self) -> C {
        self.classify.clone()
    }

    #[inline(never)]
    fn call_slow<Req>(&mut self, request: Req) -> ResponseFuture<S::Future, M::Future, C, fn(Req) -> M>
    where
        S: Service<Req>,
        C: Watch<S::Response, S::Error>,
        M: OnReject<Req, C::Response, S::Error>,
        K: Select<Req>,
    {
        match self.select.acquire(&request) {
            Some(Ok(permit)) => {
                // If this panics, the permit is dropped while the thread panics, which is a failure.
                let response = self.inner.call(request);
                ResponseFuture::guarded(Guarded::new(response, permit, self.classify.clone()))
            }
            Some(Err(rejected)) => ResponseFuture::rejected(self.reject(request, rejected)),
            None => ResponseFuture::unguarded(self.inner.call(request)),
        }
    }
}
