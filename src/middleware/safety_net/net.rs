//! The composed layer.

use std::fmt;

use tower_layer::Layer;

use crate::breaker::CircuitBreaker;

/// Several policies as one layer, the first given outermost; no policy twice.
///
/// ```
/// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, RetryConfig, RetryLayer, SafetyNet};
/// use tower::{service_fn, Layer, ServiceExt};
///
/// # tokio_test::block_on(async {
/// let net = SafetyNet::builder()
///     .fallback(|_: BoxError| async { Ok(100) })
///     .retry(RetryLayer::new(RetryConfig::builder().max_retries(1).build()?))
///     .breaker(CircuitBreakerLayer::new(CircuitBreakerConfig::new("prices")))
///     .build();
/// assert_eq!(
///     net.to_string(),
///     "fallback -> retry (1 retry, exponential 100ms..=10s, full jitter) -> circuit breaker `prices`",
/// );
///
/// let prices = net.layer(service_fn(|_sku: u32| async { Err::<u32, _>("down") }));
/// assert_eq!(prices.oneshot(7).await?, 100); // around a service
/// assert_eq!(net.call(|| async { Ok::<_, std::io::Error>(12) }).await?, 12); // around a function
/// # Ok::<(), BoxError>(()) }).unwrap();
/// ```
///
/// The same policy twice does not compile:
///
/// ```compile_fail
/// use fusebox::{RetryConfig, RetryLayer, SafetyNet};
///
/// let retry = || RetryLayer::new(RetryConfig::default());
/// SafetyNet::builder().retry(retry()).retry(retry());
/// ```
///
/// # Which order
///
/// Fallback, retry, circuit breaker: the breaker sees every attempt and opens in time; the retry stops at the breaker's
/// rejection; the fallback answers whatever is left. With the breaker outside, it sees one outcome per call, however many
/// attempts that took, and a retry goes on while the circuit opens.
#[derive(Clone)]
pub struct SafetyNet<L> {
    pub(super) layers: L,
    /// What is in it, outermost first.
    pub(super) steps: Vec<String>,
    pub(super) breaker: Option<CircuitBreaker>,
}

impl<L> SafetyNet<L> {
    /// Returns the circuit breaker, to look at it or to take it in hand. `None` when there is none, or one for each
    /// key.
    ///
    /// ```
    /// use fusebox::SafetyNet;
    ///
    /// let database = SafetyNet::database("orders")?;
    /// let breaker = database.breaker().expect("the preset has one");
    /// assert!(!breaker.is_open());
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[must_use]
    pub const fn breaker(&self) -> Option<&CircuitBreaker> {
        self.breaker.as_ref()
    }
}

impl<S, L: Layer<S>> Layer<S> for SafetyNet<L> {
    type Service = L::Service;

    fn layer(&self, inner: S) -> L::Service {
        self.layers.layer(inner)
    }
}

impl<L> fmt::Display for SafetyNet<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return f.write_str("no policies");
        }
        f.write_str(&self.steps.join(" -> "))
    }
}

impl<L> fmt::Debug for SafetyNet<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SafetyNet").field("steps", &self.steps).finish_non_exhaustive()
    }
}
