//! The retrying service.

use std::task::{Context, Poll, ready};

use tower_service::Service;

use super::future::{Resend, ResponseFuture};
use super::readiness::Readiness;
use super::replay::{Cloned, Replay, Resends};
use crate::attempts::{Deliver, Delivered, Limits, OnTimeout, RetryConfig, Run, Timeouts, Untimed, Waited};
use crate::classify::{Classify, Errors};

/// A service whose failed calls are made again. Made by [`RetryLayer`](super::RetryLayer).
///
/// ```
/// use fusebox::{RetryConfig, RetryLayer, RetryService};
/// use tower::Layer;
///
/// #[derive(Clone)]
/// struct Client {
///     region: u32,
/// }
/// let service: RetryService<Client> = RetryLayer::new(RetryConfig::default()).layer(Client { region: 1 });
/// assert_eq!(service.get_ref().region, 1);
/// assert_eq!(service.into_inner().region, 1);
/// ```
///
/// It is ready when the inner service is. With a [`deadline`](crate::RetryConfigBuilder::deadline) it is ready when that has
/// passed at the latest, and the call ends in [`TimedOut`](super::TimedOut): the inner service is not called, and what it has
/// reserved is free.
#[derive(Clone, Debug)]
pub struct RetryService<S, C = Errors, P = Cloned, T = Untimed> {
    inner: S,
    config: RetryConfig<T>,
    classify: C,
    replay: P,
    readiness: Readiness,
}

impl<S, C, P, T> RetryService<S, C, P, T> {
    pub(super) const fn new(inner: S, config: RetryConfig<T>, classify: C, replay: P) -> Self {
        Self { inner, config, classify, replay, readiness: Readiness::AtOnce }
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

    /// The inner service is not ready, or was not: the deadline runs meanwhile. When it has passed, the service is ready to
    /// say so to a call: by an error its holder, such as Tower's `Buffer`, would take it for broken.
    #[cold]
    fn wait_for_inner<E>(&mut self, ready: Poll<Result<(), E>>, cx: &mut Context<'_>) -> Poll<Result<(), E>>
    where
        S: Clone,
        T: Timeouts,
    {
        let Some(deadline) = self.config.timeouts.limits().deadline() else {
            return ready;
        };
        if let Poll::Ready(Err(_)) = ready {
            self.readiness = Readiness::AtOnce;
            return ready;
        }
        if !ready!(self.readiness.poll_in_time(ready.is_ready(), deadline, cx)) {
            self.release();
        }
        Poll::Ready(Ok(()))
    }

    /// What the inner service has reserved, or waits for, is free: the original takes it along, and a clone has none of it.
    #[cold]
    fn release(&mut self)
    where
        S: Clone,
    {
        let unready = self.inner.clone();
        self.inner = unready;
    }
}

/// Where the further attempts of a call come from.
type Again<S, Req, P, R> =
    Resend<S, Req, R, <R as Replay<Req>>::Saved, <R as Replay<Req>>::Out, <P as Resends<Req>>::Answers>;

impl<S, C, P, T, Req> Service<Req> for RetryService<S, C, P, T>
where
    S: Service<<P::Replay as Replay<Req>>::Out> + Clone,
    S::Error: 'static,
    P: Resends<Req>,
    C: Classify<S::Response, S::Error> + Clone,
    T: OnTimeout<S::Error>,
    P::Answers: Deliver<C::Scope, C, T::Bodies, S::Response>,
{
    type Response = Delivered<P::Answers, C, T, S::Response, S::Error>;
    type Error = T::Error;
    type Future = ResponseFuture<S::Future, Again<S, Req, P, P::Replay>, C, T>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let mut ready = self.inner.poll_ready(cx);
        if T::LIMITED && (ready.is_pending() || !self.readiness.is_at_once()) {
            ready = self.wait_for_inner(ready, cx);
        }
        ready.map_err(T::error)
    }

    #[expect(clippy::inline_always, reason = "a future that is returned through memory is copied, and waits for that")]
    #[inline(always)]
    fn call(&mut self, request: Req) -> Self::Future {
        let replay = self.replay.replay();
        let RetryConfig { policy, timeouts } = &self.config;
        let own = replay.deadline(&request);
        policy.begin();
        let waited = if T::LIMITED { self.readiness.end() } else { Waited::default() };
        let limits = timeouts.begin_after(waited, own);
        if limits.is_over() {
            let run = Run::out_of_time(policy, limits, (self.classify.clone(), timeouts));
            self.release();
            return ResponseFuture { run };
        }
        let (first, saved) = replay.first(request);
        // The instance that is ready is the one that is called; further attempts are a clone's.
        let attempt = self.inner.call(first);
        let again = saved.map(|saved| Resend::new(self.inner.clone(), replay.clone(), saved));
        ResponseFuture { run: Run::new(policy, limits, attempt, again, (self.classify.clone(), timeouts)) }
    }
}
