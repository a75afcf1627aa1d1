//! Errors, boxed before they are judged.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::error::BoxError;

/// A service whose errors are boxed. The breaker around it judges what the retry further out sees: an error of the
/// caller's own type is looked into as well.
///
/// ```
/// use fusebox::circuit_breaker::CircuitBreakerService;
/// use fusebox::classify::Errors;
/// use fusebox::retry::{Cloned, RetryService, Timed};
/// use fusebox::safety_net::{BoxedErrors, SafetyNet};
/// use tower::Layer;
///
/// struct Client; // some service
///
/// struct Orders {
///     service: RetryService<CircuitBreakerService<BoxedErrors<Client>>, Errors, Cloned, Timed>,
/// }
/// let orders = Orders { service: SafetyNet::database("orders")?.layer(Client) };
/// # let _ = orders.service;
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BoxedErrors<S> {
    inner: S,
}

impl<S> BoxedErrors<S> {
    pub(super) const fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, Req> Service<Req> for BoxedErrors<S>
where
    S: Service<Req, Error: Into<BoxError>>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxedErrorsFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        BoxedErrorsFuture { call: self.inner.call(request) }
    }
}

pin_project! {
    /// The future of [`BoxedErrors`].
    pub struct BoxedErrorsFuture<F> {
        #[pin]
        call: F,
    }
}

impl<F, T, E> Future for BoxedErrorsFuture<F>
where
    F: Future<Output = Result<T, E>>,
    E: Into<BoxError>,
{
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().call.poll(cx).map_err(Into::into)
    }
}

impl<F> fmt::Debug for BoxedErrorsFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxedErrorsFuture").finish_non_exhaustive()
    }
}
