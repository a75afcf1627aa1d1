//! The guarded service.

use std::marker::PhantomData;
use std::mem;
use std::task::{Context, Poll};

use tower_service::Service;

use super::future::ResponseFuture;
use super::readiness::{GiveBack, KeepsReadiness};
use super::reject::{Boxed, OnReject};
use super::select::{Breakers, One, Select};
use crate::breaker::{Alarm, CircuitBreaker, Guarded, Refusal, Watch};
use crate::circuit::{Outcome, State};
use crate::classify::Errors;

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
        Poll::Ready(ready.map_err(|error| {
            if let Some(breaker) = self.select.one() {
                self.unready.count(breaker);
            }
            M::error(error)
        }))
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        // The healthy path on its own: merged with the others, the permit would be copied through memory three times.
        let one = self.select.one();
        if let Readiness::Reject(refusal) = self.readiness
            && let Some(breaker) = one
        {
            self.readiness = Readiness::Inner;
            let answer = ResponseFuture::rejected(self.mode.reject(request, breaker.reject_as_promised(refusal)));
            self.give_back();
            return answer;
        }
        if let Some(admitted) = one.and_then(CircuitBreaker::acquire_at_sight) {
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
            Some(Err(rejected)) => {
                self.give_back();
                ResponseFuture::rejected(self.mode.reject(request, rejected))
            }
            None => ResponseFuture::unguarded(self.inner.call(request)),
        }
    }
}
