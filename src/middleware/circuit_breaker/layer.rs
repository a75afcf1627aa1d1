//! The layer: where a breaker, a classifier and a rejection mode come together.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use tower_layer::Layer;

use super::readiness::{KeepsReadiness, ReleasesReadiness};
use super::reject::{Boxed, Fallback, MapRejection, RespondWith};
use super::select::{Breakers, By, ByAnyKey, ByOwned, Keyed, One};
use super::service::CircuitBreakerService;
use super::wait::WaitLayer;
use crate::breaker::{CircuitBreaker, CircuitBreakerConfig, Registry};
use crate::classify::{Errors, Rejections, errors};
use crate::rejected::Rejected;

/// Puts a circuit breaker around a service.
///
/// The breaker lives in the layer: every service that this layer (or a clone of it) makes shares it, also where a
/// framework applies the layer once per route, connection or request.
///
/// ```
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer};
/// use tower::{service_fn, Service, ServiceBuilder, ServiceExt};
///
/// # futures::executor::block_on(async {
/// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments"));
/// let breaker = layer.breaker().clone();
/// let mut service = ServiceBuilder::new()
///     .layer(layer)
///     .service(service_fn(|n: u32| async move { n.checked_mul(2).ok_or("too large") }));
///
/// assert_eq!(service.ready().await?.call(21).await?, 42);
/// breaker.trip()?;
/// let error = service.ready().await?.call(21).await.unwrap_err();
/// assert!(fusebox::rejection(&*error).is_some());
/// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
/// ```
///
/// # Calls that never end
///
/// The layer has no timer: a call that hangs is seen when something ends it. Put a timeout inside, whose error is one
/// like any other, or outside, and tell the breaker by
/// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after).
///
/// # What it is around
///
/// | around | one breaker | one for each key |
/// |---|---|---|
/// | anything: every `Err` is a failure | `new(config)` | `keyed_by(registry, key)` |
/// | HTTP, on either side (feature `http`) | `http(config)` | `keyed_by(registry, key::host()).classify(classify::http())` |
/// | a `reqwest::Client` (feature `reqwest`) | `reqwest(config)` | the same |
/// | a tonic `Channel`, a gRPC server (feature `grpc`) | `grpc(config)` | `keyed_by(registry, key::grpc_method()).classify(classify::grpc())` |
///
/// Every one of them takes another rule by [`classify`](Self::classify), such as `classify::http().exclude(..)`, and goes on
/// with the methods of the next table. A breaker that is there already becomes a layer by
/// `CircuitBreakerLayer::from(breaker)`.
///
/// # What a caller sees when the circuit is open
///
/// | method | error type | a rejected call gets |
/// |---|---|---|
/// | (none) | [`BoxError`](crate::BoxError) | a boxed [`Rejected`] |
/// | [`map_rejection`](Self::map_rejection) | the inner service's | an error of your making |
/// | [`respond_with`](Self::respond_with) | the inner service's | a response of your making |
/// | [`fallback`](Self::fallback) | the inner service's | whatever your function does with the request |
/// | [`wait_when_open`](Self::wait_when_open) | [`BoxError`](crate::BoxError) | no call: the service is not ready until the circuit lets one through |
///
/// A rejection is always the answer to a call, never an error of `poll_ready`: a `Buffer` around the service stays
/// alive and a `Balance` keeps the endpoint. An open circuit answers even while the inner service is not ready, and a
/// caller that waits for that when the circuit opens is woken and rejected. (Of a keyed layer it goes on waiting, since
/// which breaker is its own shows with the request.)
///
/// Put the breaker around Tower's `Hedge`, not into it: then both requests of a call have one permit, and the first
/// answer is its outcome. Inside, a half-open circuit would have one of them as its probe and reject the other at once;
/// a hedge takes the first answer, so its caller would get the rejection, and the probe would be dropped.
///
/// An inner service that was made ready for a call that is then rejected keeps what it has reserved for its next call,
/// such as the place of a `ConcurrencyLimit`; with [`releases_readiness`](Self::releases_readiness) it gives that back.
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer<C = Errors, M = Boxed, K = One, R = KeepsReadiness> {
    classify: C,
    mode: M,
    select: K,
    readiness: PhantomData<fn() -> R>,
}

impl CircuitBreakerLayer {
    /// Makes a breaker and its layer. Every `Err` is a failure; see [`classify`](Self::classify) for other rules.
    #[must_use]
    pub fn new(config: CircuitBreakerConfig) -> Self {
        CircuitBreaker::new(config).into()
    }

    /// Makes one breaker for each key that `key` finds in the request. By route, host, tenant. `None`: the request is
    /// not guarded, which [`Registry::unguarded`] counts and the event [`Unguarded`](crate::EventKind::Unguarded) tells
    /// once, unless there is a [`fallback_key`](Self::fallback_key).
    ///
    /// Give the closure its argument's type. Ready-made keys are in the module [`key`](crate::key); those that are types go
    /// to [`keyed_by`](Self::keyed_by).
    ///
    /// ```
    /// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// struct Order { tenant: String }
    ///
    /// # futures::executor::block_on(async {
    /// let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    /// let layer = CircuitBreakerLayer::keyed(registry.clone(), |order: &Order| Some(order.tenant.as_str()));
    /// let service = layer.layer(service_fn(|_: Order| async { Ok::<_, BoxError>("done") }));
    ///
    /// service.oneshot(Order { tenant: "tenant-7".into() }).await?;
    /// assert!(registry.get("tenant-7").is_some());
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub const fn keyed<Req, F>(registry: Registry, key: F) -> CircuitBreakerLayer<Errors, Boxed, By<F>>
    where
        F: Fn(&Req) -> Option<&str>,
    {
        CircuitBreakerLayer::of(errors(), Boxed, By { breakers: Keyed::new(registry), key })
    }

    /// As [`keyed`](Self::keyed), for keys that must be put together first.
    ///
    /// ```
    /// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// struct Order { tenant: u32, method: &'static str }
    ///
    /// # futures::executor::block_on(async {
    /// let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    /// let layer = CircuitBreakerLayer::keyed_owned(registry.clone(), |order: &Order| {
    ///     Some(format!("{}/{}", order.tenant, order.method))
    /// });
    /// let service = layer.layer(service_fn(|_: Order| async { Ok::<_, BoxError>("done") }));
    ///
    /// service.oneshot(Order { tenant: 7, method: "card" }).await?;
    /// assert!(registry.get("7/card").is_some());
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub const fn keyed_owned<Req, F, O>(registry: Registry, key: F) -> CircuitBreakerLayer<Errors, Boxed, ByOwned<F>>
    where
        F: Fn(&Req) -> Option<O>,
        O: AsRef<str>,
    {
        CircuitBreakerLayer::of(errors(), Boxed, ByOwned { breakers: Keyed::new(registry), key })
    }

    /// As [`keyed`](Self::keyed), for a [`Key`](crate::key::Key): those of the module [`key`](crate::key), or a type of your
    /// own. Whether it fits the requests shows where the layer is put around a service.
    ///
    /// ```
    /// use std::borrow::Cow;
    /// use fusebox::{key::Key, BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// /// The first line says where a message goes.
    /// #[derive(Clone, Copy)]
    /// struct Receiver;
    ///
    /// impl Key<String> for Receiver {
    ///     fn key<'a>(&self, message: &'a String) -> Option<Cow<'a, str>> {
    ///         message.lines().next().map(Cow::Borrowed)
    ///     }
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    /// let layer = CircuitBreakerLayer::keyed_by(registry.clone(), Receiver);
    /// let service = layer.layer(service_fn(|_: String| async { Ok::<_, BoxError>("sent") }));
    ///
    /// service.oneshot("ana\nHello!".into()).await?;
    /// assert!(registry.get("ana").is_some());
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub const fn keyed_by<K>(registry: Registry, key: K) -> CircuitBreakerLayer<Errors, Boxed, By<K>> {
        CircuitBreakerLayer::of(errors(), Boxed, By { breakers: Keyed::new(registry), key })
    }
}

impl From<CircuitBreaker> for CircuitBreakerLayer {
    fn from(breaker: CircuitBreaker) -> Self {
        Self::of(errors(), Boxed, One { breaker })
    }
}

impl<C, M, K, R> CircuitBreakerLayer<C, M, K, R> {
    const fn of(classify: C, mode: M, select: K) -> Self {
        Self { classify, mode, select, readiness: PhantomData }
    }
}

impl<C, M, R> CircuitBreakerLayer<C, M, One, R> {
    /// Returns the breaker.
    #[must_use]
    pub const fn breaker(&self) -> &CircuitBreaker {
        &self.select.breaker
    }
}

impl<C, M, K: ByAnyKey, R> CircuitBreakerLayer<C, M, K, R> {
    /// Guards requests that have no breaker of their own by a shared one. It has this name, and takes those without a
    /// key, and those whose name the registry's template refuses. Default: they are not guarded, or, where only their
    /// name is refused, by an overflow breaker. The event [`FallbackKeyUsed`](crate::EventKind::FallbackKeyUsed) tells
    /// when the breaker comes to be.
    ///
    /// ```
    /// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// # futures::executor::block_on(async {
    /// let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    /// let layer = CircuitBreakerLayer::keyed(registry.clone(), |path: &&'static str| path.split('/').nth(1))
    ///     .fallback_key("others");
    /// let service = layer.layer(service_fn(|_: &str| async { Ok::<_, BoxError>("done") }));
    /// service.oneshot("prices").await?;
    /// assert_eq!(registry.unguarded(), 0);
    /// assert!(registry.get("others").is_some());
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn fallback_key(mut self, name: impl Into<String>) -> Self {
        self.select.keyed().fall_back_to(name.into());
        self
    }
}

/// A layer of circuit breakers that rejects: [`CircuitBreakerLayer`], or what its `upload` makes of it. Sealed.
///
/// It is what [`SafetyNetBuilder::breaker`](crate::safety_net::SafetyNetBuilder::breaker) takes.
///
/// ```
/// use fusebox::circuit_breaker::BreakerLayer;
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, SafetyNet};
///
/// fn describe(breaker: impl BreakerLayer) -> String {
///     SafetyNet::builder().breaker(breaker).build().to_string()
/// }
/// assert_eq!(describe(CircuitBreakerLayer::new(CircuitBreakerConfig::new("prices"))), "circuit breaker `prices`");
/// ```
pub trait BreakerLayer: fmt::Display + sealed::Sealed {
    /// The breaker, if all requests have one in common.
    #[doc(hidden)]
    fn one(&self) -> Option<&CircuitBreaker>;
}

impl<C, M, K: Breakers, R> BreakerLayer for CircuitBreakerLayer<C, M, K, R> {
    fn one(&self) -> Option<&CircuitBreaker> {
        self.select.one()
    }
}

pub(super) mod sealed {
    pub trait Sealed {}
    impl<C, M, K, R> Sealed for super::CircuitBreakerLayer<C, M, K, R> {}
}

impl<C, M, K, R> CircuitBreakerLayer<C, M, K, R> {
    /// Decides with `classifier` what counts as a failure: see [`Classify`](crate::Classify).
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Outcome};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// # futures::executor::block_on(async {
    /// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("search")).classify(
    ///     |result: &Result<Vec<u32>, std::io::Error>| match result {
    ///         Ok(hits) if !hits.is_empty() => Outcome::Success,
    ///         _ => Outcome::Failure, // this index is never empty
    ///     },
    /// );
    /// let service = layer.layer(service_fn(|_: &str| async { Ok(vec![]) }));
    /// service.oneshot("breaker").await?;
    /// assert_eq!(layer.breaker().snapshot().detectors[0].tally.to_string(), "1 failure");
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn classify<N>(self, classifier: N) -> CircuitBreakerLayer<N, M, K, R> {
        CircuitBreakerLayer::of(classifier, self.mode, self.select)
    }

    /// Recognises the rejection of a breaker further in within one's own errors. [`map_rejection`](Self::map_rejection)
    /// makes such errors; the rejection counts neither way, because the dependency was not asked. Give it after
    /// [`classify`](Self::classify).
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Rejected};
    /// use tower::{service_fn, ServiceBuilder, ServiceExt};
    ///
    /// #[derive(Debug)]
    /// enum ShopError { Rejected(Rejected), Down }
    ///
    /// # futures::executor::block_on(async {
    /// let region = CircuitBreakerLayer::new(CircuitBreakerConfig::new("region")).map_rejection(ShopError::Rejected);
    /// let region = region.rejections(|e: &ShopError| match e {
    ///     ShopError::Rejected(rejected) => Some(rejected),
    ///     ShopError::Down => None,
    /// });
    /// let host = CircuitBreakerLayer::new(CircuitBreakerConfig::new("host"));
    /// host.breaker().trip()?;
    /// let breaker = region.breaker().clone();
    /// let shop = ServiceBuilder::new()
    ///     .layer(region)
    ///     .layer(host.map_rejection(ShopError::Rejected))
    ///     .service(service_fn(|_: ()| async { Err::<(), _>(ShopError::Down) }));
    /// assert!(matches!(shop.oneshot(()).await, Err(ShopError::Rejected(_))));
    /// assert_eq!(breaker.snapshot().detectors[0].tally.count(), 0);
    /// # Ok::<(), fusebox::circuit_breaker::Overridden>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn rejections<E, F>(self, find: F) -> CircuitBreakerLayer<Rejections<C, F>, M, K, R>
    where
        F: Fn(&E) -> Option<&Rejected>,
    {
        CircuitBreakerLayer::of(Rejections::new(self.classify, find), self.mode, self.select)
    }
}

impl<C, M, K> CircuitBreakerLayer<C, M, K> {
    /// Gives back what the inner service has reserved for a rejected call. That is a call for which it was made ready:
    /// a clone takes its place.
    ///
    /// Services such as `ConcurrencyLimit` and `Buffer` reserve a place for the call that follows readiness. When the
    /// circuit opens between the two, or readiness is waited for while it opens, that call is rejected, and the service
    /// keeps the place for its next call, or until it is dropped. That is the default, and asks nothing of the inner
    /// service; where services are kept and rarely called, their places are missing to others. With this, the inner
    /// service must be `Clone`, and its clones cheap: each such rejection makes one.
    ///
    /// ```
    /// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer};
    /// use futures::FutureExt;
    /// use tower::{service_fn, Layer, Service, ServiceBuilder, ServiceExt};
    ///
    /// # futures::executor::block_on(async {
    /// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments")).releases_readiness();
    /// let stack = ServiceBuilder::new().layer(layer.clone()).concurrency_limit(1);
    /// let mut one = stack.service(service_fn(|n: u32| async move { Ok::<_, BoxError>(2 * n) }));
    /// let mut other = one.clone();
    ///
    /// one.ready().await?; // it has the only place
    /// assert!(other.ready().now_or_never().is_none());
    /// layer.breaker().trip()?;
    /// assert!(one.call(21).await.is_err()); // rejected
    /// layer.breaker().reset()?;
    /// assert_eq!(other.ready().await?.call(21).await?, 42); // for ever pending without `releases_readiness`
    /// # drop(one);
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn releases_readiness(self) -> CircuitBreakerLayer<C, M, K, ReleasesReadiness> {
        CircuitBreakerLayer::of(self.classify, self.mode, self.select)
    }
}

impl<C, K, R> CircuitBreakerLayer<C, Boxed, K, R> {
    fn mode<N>(self, mode: N) -> CircuitBreakerLayer<C, N, K, R> {
        CircuitBreakerLayer::of(self.classify, mode, self.select)
    }

    /// Answers a rejected request with an error of the inner service's own type.
    ///
    /// A retry or a breaker further out cannot see that such an error is a rejection, and takes it for a failure of the
    /// dependency: keep the [`Rejected`] in it, and tell them how to find it, with
    /// [`RetryLayer::rejections`](crate::RetryLayer::rejections) and [`rejections`](Self::rejections). A box with the
    /// rejection among its sources, such as `io::Error::other(rejected)` in one, needs no telling.
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Rejected, RetryConfig, RetryLayer};
    /// use tower::{service_fn, ServiceBuilder, ServiceExt};
    ///
    /// #[derive(Debug)]
    /// enum ShopError { SoldOut, Rejected(Rejected) }
    ///
    /// fn rejection(error: &ShopError) -> Option<&Rejected> {
    ///     match error {
    ///         ShopError::Rejected(rejected) => Some(rejected),
    ///         ShopError::SoldOut => None,
    ///     }
    /// }
    ///
    /// # tokio_test::block_on(async {
    /// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("stock")).map_rejection(ShopError::Rejected);
    /// let breaker = layer.breaker().clone();
    /// let service = ServiceBuilder::new()
    ///     .layer(RetryLayer::new(RetryConfig::default()).rejections(rejection))
    ///     .layer(layer)
    ///     .service(service_fn(|_: u32| async { Err::<u32, _>(ShopError::SoldOut) }));
    /// breaker.trip()?;
    /// assert!(matches!(service.oneshot(7).await, Err(ShopError::Rejected(rejected)) if &*rejected.name() == "stock"));
    /// # Ok::<(), fusebox::circuit_breaker::Overridden>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn map_rejection<E, F>(self, f: F) -> CircuitBreakerLayer<C, MapRejection<F>, K, R>
    where
        F: Fn(Rejected) -> E,
    {
        self.mode(MapRejection(f))
    }

    /// Answers a rejected request with a response. Infallible routes of axum stay infallible.
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Rejected};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// # futures::executor::block_on(async {
    /// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("prices"))
    ///     .respond_with(|rejected: &Rejected| format!("sorry, {} is down", rejected.name()));
    /// let service = layer.layer(service_fn(|sku: u32| async move { Ok::<_, Infallible>(format!("{sku} cents")) }));
    /// layer.breaker().trip()?;
    /// assert_eq!(service.oneshot(7).await?, "sorry, prices is down");
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn respond_with<Res, F>(self, f: F) -> CircuitBreakerLayer<C, RespondWith<F>, K, R>
    where
        F: Fn(&Rejected) -> Res,
    {
        self.mode(RespondWith(f))
    }

    /// Answers a rejected request by a function that gets the request itself.
    ///
    /// ```
    /// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Rejected};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// /// The price of yesterday.
    /// async fn cached(sku: u32, _: Rejected) -> Result<u32, BoxError> {
    ///     Ok(100 + sku)
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("prices")).fallback(cached);
    /// let service = layer.layer(service_fn(|_: u32| async { Err("down".into()) }));
    /// layer.breaker().trip()?;
    /// assert_eq!(service.oneshot(7).await?, 107);
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn fallback<Req, F, Fut, Res, E>(self, f: F) -> CircuitBreakerLayer<C, Fallback<F>, K, R>
    where
        F: Fn(Req, Rejected) -> Fut,
        Fut: Future<Output = Result<Res, E>>,
    {
        self.mode(Fallback(f))
    }
}

impl<C, R> CircuitBreakerLayer<C, Boxed, One, R> {
    /// Makes the service wait instead of reject. `poll_ready` is pending until the breaker lets a call through, and the
    /// place it then has is reserved for that call. For `Balance` and `LoadShed`, which act on readiness.
    ///
    /// Waiting needs a Tokio runtime with time enabled. A rejection is still possible, boxed: when the circuit opened
    /// between readiness and call, and when the call would be a probe and another has taken its place meanwhile: a call
    /// that is made takes it at once, one that waits after 100 ms. A service that is ready and idle keeps no other from
    /// probing.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// # tokio_test::block_on(async {
    /// let config = CircuitBreakerConfig::builder("payments").cooldown(Duration::from_millis(20)).build()?;
    /// let layer = CircuitBreakerLayer::new(config).wait_when_open();
    /// let service = layer.layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(2 * n) }));
    /// layer.breaker().trip()?;
    /// let start = Instant::now();
    /// assert_eq!(service.oneshot(21).await?, 42); // late, but not rejected
    /// assert!(start.elapsed() >= Duration::from_millis(10));
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn wait_when_open(self) -> WaitLayer<C, R> {
        WaitLayer::new(self.classify, self.select.breaker)
    }
}

impl<S, C, M, K, R> Layer<S> for CircuitBreakerLayer<C, M, K, R>
where
    C: Clone,
    M: Clone,
    K: Clone,
{
    type Service = CircuitBreakerService<S, C, M, K, R>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreakerService::new(inner, self.classify.clone(), self.mode.clone(), self.select.clone())
    }
}

impl<C, M, K: fmt::Display, R> fmt::Display for CircuitBreakerLayer<C, M, K, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.select.fmt(f)
    }
}
