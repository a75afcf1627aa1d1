//! Backpressure instead of rejections.

use std::future::Future;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::readiness::{GiveBack, KeepsReadiness};
use super::service::Unready;
use crate::breaker::{CircuitBreaker, Guarded, Permit, Waiter, Watch};
use crate::classify::Errors;
use crate::error::BoxError;
use crate::rejected::Rejected;

/// Makes a service wait while its circuit is open. Made by
/// [`wait_when_open`](super::CircuitBreakerLayer::wait_when_open).
///
/// It is for what acts on readiness, such as `LoadShed`:
///
/// ```
/// use fusebox::circuit_breaker::WaitLayer;
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer};
/// use tower::load_shed::error::Overloaded;
/// use tower::{service_fn, ServiceBuilder, ServiceExt};
///
/// # tokio_test::block_on(async {
/// let layer: WaitLayer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments")).wait_when_open();
/// let service = ServiceBuilder::new()
///     .load_shed()
///     .layer(layer.clone())
///     .service(service_fn(|n: u32| async move { Ok::<_, fusebox::BoxError>(2 * n) }));
/// layer.breaker().trip()?;
/// assert!(service.oneshot(21).await.unwrap_err().is::<Overloaded>());
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct WaitLayer<C = Errors, R = KeepsReadiness> {
    classify: C,
    breaker: CircuitBreaker,
    readiness: PhantomData<fn() -> R>,
}

impl<C, R> WaitLayer<C, R> {
    pub(super) const fn new(classify: C, breaker: CircuitBreaker) -> Self {
        Self { classify, breaker, readiness: PhantomData }
    }

    /// Returns the breaker.
    #[must_use]
    pub const fn breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }
}

impl<S, C: Clone, R> Layer<S> for WaitLayer<C, R> {
    type Service = WaitService<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        WaitService::new(inner, self.classify.clone(), self.breaker.clone())
    }
}

/// A service that is not ready while its circuit is open. Made by [`WaitLayer`].
///
/// ```
/// use futures::FutureExt;
/// use fusebox::circuit_breaker::WaitService;
/// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer};
/// use tower::{service_fn, Layer, Service, ServiceExt};
///
/// # tokio_test::block_on(async {
/// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments")).wait_when_open();
/// let mut service: WaitService<_> = layer.layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(2 * n) }));
/// assert_eq!(service.ready().await?.call(21).await?, 42);
///
/// service.breaker().trip()?;
/// assert!(service.ready().now_or_never().is_none(), "not ready yet");
/// assert_eq!(service.get_ref().clone().oneshot(21).await?, 42, "past the breaker");
/// # Ok::<(), BoxError>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct WaitService<S, C = Errors, R = KeepsReadiness> {
    inner: S,
    classify: C,
    waiter: Waiter,
    /// The place that readiness promised.
    reserved: Option<Permit>,
    /// Whether the inner service was asked, and may have reserved something.
    holds: bool,
    unready: Unready,
    on_reject: PhantomData<fn() -> R>,
}

impl<S, C, R> WaitService<S, C, R> {
    fn new(inner: S, classify: C, breaker: CircuitBreaker) -> Self {
        Self {
            inner,
            classify,
            waiter: Waiter::new(breaker),
            reserved: None,
            holds: false,
            unready: Unready::default(),
            on_reject: PhantomData,
        }
    }

    /// Returns the breaker.
    #[must_use]
    pub const fn breaker(&self) -> &CircuitBreaker {
        self.waiter.breaker()
    }

    /// Returns the inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S, C, R: GiveBack<S>> WaitService<S, C, R> {
    /// There is no call for now: what the inner service has reserved for one is free, if that is wanted.
    fn give_back(&mut self) {
        if mem::take(&mut self.holds) {
            R::give_back(&mut self.inner);
        }
    }
}

impl<S: Clone, C: Clone, R> Clone for WaitService<S, C, R> {
    /// A clone has no place of its own until it is polled.
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.classify.clone(), self.breaker().clone())
    }
}

impl<S, C, R, Req> Service<Req> for WaitService<S, C, R>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Watch<S::Response, S::Error> + Clone,
    R: GiveBack<S>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = WaitFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // A place may have been taken back since an earlier poll; only a fresh one is a promise.
        self.reserved = self.reserved.take().filter(Permit::is_held);
        if self.reserved.is_none() {
            match self.waiter.poll_reserve(cx) {
                Poll::Ready(permit) => self.reserved = Some(permit),
                Poll::Pending => {
                    self.give_back();
                    return Poll::Pending;
                }
            }
        }
        self.holds = true;
        self.inner.poll_ready(cx).map_err(|error| {
            self.reserved = None;
            self.unready.count(self.waiter.breaker());
            error.into()
        })
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let reserved = self.reserved.take().and_then(Permit::begin);
        match reserved.map_or_else(|| self.breaker().acquire(), Ok) {
            Ok(permit) => {
                self.holds = false;
                let response = self.inner.call(request);
                WaitFuture {
                    state: WaitState::Guarded { inner: Guarded::new(response, permit, self.classify.clone()) },
                }
            }
            Err(rejected) => {
                self.give_back();
                WaitFuture { state: WaitState::Rejected { rejected: Some(rejected) } }
            }
        }
    }
}

pin_project! {
    /// The response of a [`WaitService`]. Dropping it gives the call up, which counts neither way unless it ran for
    /// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after).
    ///
    /// ```
    /// use fusebox::circuit_breaker::WaitFuture;
    /// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer};
    /// use tower::{service_fn, Layer, Service, ServiceExt};
    ///
    /// # tokio_test::block_on(async {
    /// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments")).wait_when_open();
    /// let mut service = layer.layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(2 * n) }));
    /// service.ready().await?;
    /// layer.breaker().trip()?; // between readiness and call
    /// let response: WaitFuture<_, _> = service.call(21);
    /// assert!(fusebox::rejection(&*response.await.unwrap_err()).is_some());
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    #[derive(Debug)]
    pub struct WaitFuture<F, C> {
        #[pin]
        state: WaitState<F, C>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = WaitStateProj]
    enum WaitState<F, C> {
        // The call goes through; its outcome is reported.
        Guarded { #[pin] inner: Guarded<F, C> },
        // The circuit opened between readiness and call.
        Rejected { rejected: Option<Rejected> },
    }
}

impl<F, C, Res, Err> Future for WaitFuture<F, C>
where
    F: Future<Output = Result<Res, Err>>,
    C: Watch<Res, Err>,
    Err: Into<BoxError>,
{
    type Output = Result<C::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            WaitStateProj::Guarded { inner } => inner.poll(cx).map_err(Into::into),
            WaitStateProj::Rejected { rejected } => match rejected.take() {
                Some(rejected) => Poll::Ready(Err(rejected.into())),
                None => Poll::Pending,
            },
        }
    }
}
