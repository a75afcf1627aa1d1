//! The layer: where a configuration, a classifier and a way to repeat requests come together.

use std::fmt;

use tower_layer::Layer;

use super::replay::{CloneWith, Cloned};
use super::service::RetryService;
use crate::attempts::{MapTimeout, RetryConfig, Timed, TimedOut, Timeouts, Untimed};
use crate::classify::{Errors, Rejections, errors};
use crate::rejected::Rejected;

/// Makes failed calls of a service again.
///
/// Put it outside a circuit breaker: then the breaker sees every attempt, and once it is open the retries stop at once and
/// spend no budget.
///
/// ```
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, RetryConfig, RetryLayer};
/// use tower::{service_fn, ServiceBuilder, ServiceExt};
///
/// # tokio_test::block_on(async {
/// let service = ServiceBuilder::new()
///     .layer(RetryLayer::new(RetryConfig::default()))
///     .layer(CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments")))
///     .service(service_fn(|n: u32| async move { n.checked_mul(2).ok_or("too large") }));
/// assert_eq!(service.oneshot(21).await?, 42);
/// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
/// ```
///
/// The inner service must be `Clone`, the request too; for others see [`clone_with`](Self::clone_with), and for HTTP
/// requests `RetryLayer::http`, which replays streaming bodies. Without limits of time the error is the inner service's;
/// with them it is a [`BoxError`](crate::BoxError), unless [`map_timeout`](Self::map_timeout) makes it one of yours. The
/// last error comes back unchanged.
#[derive(Clone, Debug)]
pub struct RetryLayer<C = Errors, P = Cloned, T = Untimed> {
    config: RetryConfig<T>,
    classify: C,
    replay: P,
}

impl<T> RetryLayer<Errors, Cloned, T> {
    /// Retries every `Err`; see [`classify`](Self::classify) for other rules.
    #[must_use]
    pub const fn new(config: RetryConfig<T>) -> Self {
        Self::with(config, errors(), Cloned)
    }
}

impl<C, P, T> RetryLayer<C, P, T> {
    pub(super) const fn with(config: RetryConfig<T>, classify: C, replay: P) -> Self {
        Self { config, classify, replay }
    }

    #[cfg(feature = "http")]
    pub(super) fn map_replay<N>(self, f: impl FnOnce(P) -> N) -> RetryLayer<C, N, T> {
        RetryLayer { config: self.config, classify: self.classify, replay: f(self.replay) }
    }

    pub(super) const fn parts(&self) -> (&RetryConfig<T>, &C) {
        (&self.config, &self.classify)
    }

    pub(in crate::middleware) const fn classifier(&self) -> &C {
        &self.classify
    }

    /// Decides with `classifier` what is to be retried, and after how long. See [`Classify`](crate::Classify). The same
    /// one does for a circuit breaker.
    ///
    /// ```
    /// use fusebox::{RetryConfig, RetryLayer, classify};
    ///
    /// let sold_out = classify::errors().exclude(|error: &&str| *error == "sold out");
    /// let retry = RetryLayer::new(RetryConfig::default()).classify(sold_out);
    /// let mut attempts = 0;
    /// let result = retry.call_blocking(|| {
    ///     attempts += 1;
    ///     Err::<(), _>("sold out")
    /// });
    /// assert_eq!((result, attempts), (Err("sold out"), 1));
    /// ```
    #[must_use]
    pub fn classify<N>(self, classifier: N) -> RetryLayer<N, P, T> {
        RetryLayer { config: self.config, classify: classifier, replay: self.replay }
    }

    /// Recognises a circuit breaker's rejection within errors of one's own.
    /// [`map_rejection`](crate::CircuitBreakerLayer::map_rejection) makes such errors. The rejection is not retried
    /// (see [`WhenRejected`](crate::retry::WhenRejected)), costs no budget and is no attempt. Give it after
    /// [`classify`](Self::classify).
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Rejected, RetryConfig, RetryLayer, retry::RetryStats};
    /// use tower::{service_fn, ServiceBuilder, ServiceExt};
    ///
    /// #[derive(Debug)]
    /// enum ShopError { Rejected(Rejected), Down }
    ///
    /// # tokio_test::block_on(async {
    /// let stats = RetryStats::new();
    /// let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::new("shop"));
    /// breaker.breaker().trip()?;
    /// let shop = ServiceBuilder::new()
    ///     .layer(RetryLayer::new(RetryConfig::builder().stats(stats.clone()).build()?).rejections(|e: &ShopError| match e {
    ///         ShopError::Rejected(rejected) => Some(rejected),
    ///         ShopError::Down => None,
    ///     }))
    ///     .layer(breaker.map_rejection(ShopError::Rejected))
    ///     .service(service_fn(|_: ()| async { Err::<(), _>(ShopError::Down) }));
    /// assert!(matches!(shop.oneshot(()).await, Err(ShopError::Rejected(_))), "at once");
    /// assert_eq!((stats.counts().attempts, stats.counts().rejected_attempts), (0, 1));
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn rejections<E, F>(self, find: F) -> RetryLayer<Rejections<C, F>, P, T>
    where
        F: Fn(&E) -> Option<&Rejected>,
    {
        RetryLayer { config: self.config, classify: Rejections::new(self.classify, find), replay: self.replay }
    }
}

impl<C, T> RetryLayer<C, Cloned, T> {
    /// Clones requests with a function. Where it returns `None`, the request is sent once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{RetryConfig, RetryLayer, backoff};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// struct Order(u32); // not `Clone`
    ///
    /// # tokio_test::block_on(async {
    /// let at_once = RetryConfig::builder().backoff(backoff::fixed(Duration::ZERO)).build()?;
    /// let retry = RetryLayer::new(at_once).clone_with(|order: &Order| Some(Order(order.0 + 1)));
    /// let service = retry.layer(service_fn(|order: Order| async move {
    ///     if order.0 < 2 { Err("small") } else { Ok(order.0) }
    /// }));
    /// assert_eq!(service.oneshot(Order(1)).await, Ok(3), "the copy of the copy");
    /// # Ok::<(), fusebox::ConfigError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn clone_with<Req, F>(self, f: F) -> RetryLayer<C, CloneWith<F>, T>
    where
        F: Fn(&Req) -> Option<Req>,
    {
        RetryLayer { config: self.config, classify: self.classify, replay: CloneWith(f) }
    }

    /// Sends requests again in a way of your own.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{RetryConfig, RetryLayer, backoff, retry::Replay};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// /// Asks the second server where the first has failed.
    /// #[derive(Clone)]
    /// struct SecondServer;
    ///
    /// impl Replay<u32> for SecondServer {
    ///     type Out = (&'static str, u32);
    ///     type Saved = u32;
    ///
    ///     fn first(&self, sku: u32) -> ((&'static str, u32), Option<u32>) {
    ///         (("first", sku), Some(sku))
    ///     }
    ///     fn again(&self, sku: &mut u32, _attempt: u32) -> Option<(&'static str, u32)> {
    ///         Some(("second", *sku))
    ///     }
    /// }
    ///
    /// # tokio_test::block_on(async {
    /// let at_once = RetryConfig::builder().backoff(backoff::fixed(Duration::ZERO)).build()?;
    /// let prices = RetryLayer::new(at_once).replay_with(SecondServer).layer(service_fn(|(server, sku)| async move {
    ///     if server == "first" { Err("down") } else { Ok(100 + sku) }
    /// }));
    /// assert_eq!(prices.oneshot(7_u32).await, Ok(107));
    /// # Ok::<(), fusebox::ConfigError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn replay_with<N>(self, replay: N) -> RetryLayer<C, N, T> {
        RetryLayer { config: self.config, classify: self.classify, replay }
    }
}

impl<C, P> RetryLayer<C, P, Timed> {
    /// Makes an error of the inner service's type when a limit of time is exceeded. So the error keeps that type.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{RetryConfig, RetryLayer, retry::TimedOut};
    ///
    /// #[derive(Debug, PartialEq)]
    /// enum ShopError { Late(TimedOut) }
    ///
    /// # tokio_test::block_on(async {
    /// let config = RetryConfig::builder().max_retries(0).attempt_timeout(Duration::from_millis(5)).build()?;
    /// let retry = RetryLayer::new(config).map_timeout(ShopError::Late);
    /// let error = retry.call(std::future::pending::<Result<(), ShopError>>).await.unwrap_err();
    /// assert!(matches!(error, ShopError::Late(timed_out) if timed_out.attempt() == 1));
    /// # Ok::<(), fusebox::ConfigError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn map_timeout<E, F>(self, f: F) -> RetryLayer<C, P, MapTimeout<F>>
    where
        F: Fn(TimedOut) -> E,
    {
        let RetryConfig { policy, timeouts } = self.config;
        let config = RetryConfig { policy, timeouts: MapTimeout::new(timeouts, f) };
        RetryLayer { config, classify: self.classify, replay: self.replay }
    }
}

impl<S, C, P, T> Layer<S> for RetryLayer<C, P, T>
where
    C: Clone,
    P: Clone,
    T: Clone,
{
    type Service = RetryService<S, C, P, T>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryService::new(inner, self.config.clone(), self.classify.clone(), self.replay.clone())
    }
}

impl<C, P, T: Timeouts> fmt::Display for RetryLayer<C, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "retry ({})", self.config)
    }
}
