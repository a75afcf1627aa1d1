//! What becomes of the inner service's readiness when its call is rejected.

/// What becomes of the inner service's readiness when its call is rejected. Either [`KeepsReadiness`] or
/// [`ReleasesReadiness`]. Sealed.
///
/// It is a bound for code that works with both:
///
/// ```
/// use fusebox::circuit_breaker::{Boxed, GiveBack, One};
/// use fusebox::classify::Errors;
/// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer};
/// use tower::{Layer, Service, ServiceExt};
///
/// async fn ask<S, R>(layer: &CircuitBreakerLayer<Errors, Boxed, One, R>, service: S) -> Result<S::Response, BoxError>
/// where
///     S: Service<u32, Error = BoxError>,
///     R: GiveBack<S>,
/// {
///     layer.layer(service).oneshot(21).await
/// }
///
/// # futures::executor::block_on(async {
/// let double = tower::service_fn(|n: u32| async move { Ok::<_, BoxError>(2 * n) });
/// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments"));
/// assert_eq!(ask(&layer, double).await?, 42);
/// assert_eq!(ask(&layer.releases_readiness(), double).await?, 42);
/// # Ok::<(), BoxError>(()) }).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "the readiness of `{S}` cannot be given back",
    note = "`releases_readiness` puts a clone in the place of the inner service, which must be `Clone`"
)]
pub trait GiveBack<S>: sealed::Sealed {
    /// Gives it back, if it does.
    #[doc(hidden)]
    fn give_back(inner: &mut S);
}

/// The inner service stays as it is when a call is rejected. The default.
///
/// ```
/// use fusebox::circuit_breaker::{Boxed, KeepsReadiness, One};
/// use fusebox::classify::Errors;
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer};
///
/// let layer: CircuitBreakerLayer<Errors, Boxed, One, KeepsReadiness> =
///     CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments"));
/// assert!(!layer.breaker().is_open());
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct KeepsReadiness;

/// The inner service gives way to a clone when a call is rejected. That is a call for which it was made ready.
///
/// Made by [`releases_readiness`](super::CircuitBreakerLayer::releases_readiness).
///
/// ```
/// use fusebox::circuit_breaker::{Boxed, One, ReleasesReadiness};
/// use fusebox::classify::Errors;
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer};
///
/// let layer: CircuitBreakerLayer<Errors, Boxed, One, ReleasesReadiness> =
///     CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments")).releases_readiness();
/// assert!(!layer.breaker().is_open());
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReleasesReadiness;

impl<S> GiveBack<S> for KeepsReadiness {
    #[inline]
    fn give_back(_inner: &mut S) {}
}

impl<S: Clone> GiveBack<S> for ReleasesReadiness {
    fn give_back(inner: &mut S) {
        // A clone has no readiness, and the original takes along what it has reserved.
        let unready = inner.clone();
        *inner = unready;
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::KeepsReadiness {}
    impl Sealed for super::ReleasesReadiness {}
}
