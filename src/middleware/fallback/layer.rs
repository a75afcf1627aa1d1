//! The layer.

use std::fmt;
use std::future::Future;

use tower_layer::Layer;

use super::replace::{OnError, OnErrorOf, OnFailure};
use super::service::FallbackService;

/// Gives another answer when a call has failed. It comes from a cache, from a second dependency, or is a default.
///
/// It answers every failure of what is inside it, a circuit breaker's rejection included. To answer rejections only, use the
/// breaker's own [`fallback`](crate::CircuitBreakerLayer::fallback).
///
/// ```
/// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, FallbackLayer};
/// use tower::{service_fn, ServiceBuilder, ServiceExt};
///
/// # futures::executor::block_on(async {
/// let prices = ServiceBuilder::new()
///     .layer(FallbackLayer::new(|error: BoxError| async move {
///         eprintln!("yesterday's price will do: {error}");
///         Ok(100)
///     }))
///     .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::new("prices")))
///     .service(service_fn(|_sku: u32| async { Err::<u32, _>("down") }));
/// assert_eq!(prices.oneshot(7).await?, 100);
/// # Ok::<(), BoxError>(()) }).unwrap();
/// ```
///
/// An error of `poll_ready` belongs to no request, so it is passed on.
#[derive(Clone, Debug)]
pub struct FallbackLayer<G> {
    replace: G,
}

impl<F> FallbackLayer<OnError<F>> {
    /// Replaces errors. Give the closure its argument's type.
    #[must_use]
    pub const fn new<E, Fut, T>(f: F) -> Self
    where
        F: Fn(E) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Self { replace: OnError { f } }
    }
}

impl<F> FallbackLayer<OnErrorOf<F>> {
    /// Replaces errors by a function that gets the request as well. The request must be `Clone`.
    ///
    /// ```
    /// use fusebox::FallbackLayer;
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// # futures::executor::block_on(async {
    /// let cached = FallbackLayer::with_request(|sku: u32, _: &str| async move { Ok(100 + sku) });
    /// assert_eq!(cached.layer(service_fn(|_: u32| async { Err("down") })).oneshot(7).await, Ok(107));
    /// # })
    /// ```
    #[must_use]
    pub const fn with_request<Req, E, Fut, T>(f: F) -> Self
    where
        F: Fn(Req, E) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Self { replace: OnErrorOf { f } }
    }
}

impl<C, F> FallbackLayer<OnFailure<C, F>> {
    /// Replaces what `classifier` calls a failure, by a function. The failure may be a response, and the function gets
    /// it whole.
    ///
    /// ```
    /// use fusebox::{FallbackLayer, Outcome};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// # futures::executor::block_on(async {
    /// let zero_is_unknown = |result: &Result<u32, &str>| match result {
    ///     Ok(0) | Err(_) => Outcome::Failure,
    ///     Ok(_) => Outcome::Success,
    /// };
    /// let layer = FallbackLayer::on_failure(zero_is_unknown, |_: Result<u32, &'static str>| async { Ok(100) });
    /// assert_eq!(layer.layer(service_fn(|_: ()| async { Ok(0) })).oneshot(()).await, Ok(100));
    /// # })
    /// ```
    #[must_use]
    pub const fn on_failure<T, E, Fut>(classifier: C, f: F) -> Self
    where
        F: Fn(Result<T, E>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Self { replace: OnFailure { classify: classifier, f } }
    }
}

impl<S, G: Clone> Layer<S> for FallbackLayer<G> {
    type Service = FallbackService<S, G>;

    fn layer(&self, inner: S) -> Self::Service {
        FallbackService::new(inner, self.replace.clone())
    }
}

impl<G> fmt::Display for FallbackLayer<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fallback")
    }
}
