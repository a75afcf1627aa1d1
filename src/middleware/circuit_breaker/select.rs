//! Which breaker a request belongs to.

use std::fmt;
use std::sync::Arc;

use crate::breaker::{CircuitBreaker, Permit, Registry};
use crate::key::Key;
use crate::one_line::OneLine;
use crate::rejected::Rejected;

/// Which breaker a request belongs to: [`One`], [`By`] or [`ByOwned`]. Sealed.
///
/// It is a bound for code that works with one breaker and with many:
///
/// ```
/// use fusebox::circuit_breaker::{Boxed, Select};
/// use fusebox::classify::Errors;
/// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
/// use tower::{service_fn, Layer, ServiceExt};
///
/// async fn ask<K>(layer: CircuitBreakerLayer<Errors, Boxed, K>) -> Result<u32, BoxError>
/// where
///     K: Select<&'static str> + Clone,
/// {
///     layer.layer(service_fn(|text: &str| std::future::ready(text.parse::<u32>()))).oneshot("42").await
/// }
///
/// # futures::executor::block_on(async {
/// let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
/// assert_eq!(ask(CircuitBreakerLayer::new(CircuitBreakerConfig::new("parser"))).await?, 42);
/// assert_eq!(ask(CircuitBreakerLayer::keyed(registry, |text: &&'static str| Some(*text))).await?, 42);
/// # Ok::<(), BoxError>(()) }).unwrap();
/// ```
pub trait Select<Req>: Breakers {
    /// Asks the request's breaker for a call; `None` when the request has none.
    #[doc(hidden)]
    fn acquire(&self, request: &Req) -> Option<Result<Permit, Rejected>>;
}

/// The breakers of a layer, whatever its requests are.
#[doc(hidden)]
pub trait Breakers: fmt::Display + sealed::Sealed {
    /// The breaker of all requests, if they have one in common.
    fn one(&self) -> Option<&CircuitBreaker>;
}

/// A layer that has a breaker for each key.
#[doc(hidden)]
pub trait ByAnyKey: Breakers {
    #[doc(hidden)]
    fn keyed(&mut self) -> &mut Keyed;
}

/// The breakers of all keys.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Keyed {
    registry: Registry,
    /// The name of the breaker of requests without a key.
    fallback: Option<Arc<str>>,
}

impl Keyed {
    pub(super) const fn new(registry: Registry) -> Self {
        Self { registry, fallback: None }
    }

    pub(super) fn fall_back_to(&mut self, name: String) {
        self.fallback = Some(name.into());
    }

    fn acquire(&self, key: Option<&str>) -> Option<Result<Permit, Rejected>> {
        self.registry.acquire(key, self.fallback.as_deref())
    }
}

/// All requests have one breaker.
///
/// ```
/// use fusebox::circuit_breaker::One;
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer};
///
/// /// Only such a layer has *the* breaker.
/// fn is_healthy<C, M>(layer: &CircuitBreakerLayer<C, M, One>) -> bool {
///     !layer.breaker().is_open()
/// }
/// assert!(is_healthy(&CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments"))));
/// ```
#[derive(Clone, Debug)]
pub struct One {
    pub(super) breaker: CircuitBreaker,
}

/// A breaker for each key of a [`Key`]. The `Key` is a function that finds it in the request, or a type of its own.
///
/// Made by [`keyed`](super::CircuitBreakerLayer::keyed) and [`keyed_by`](super::CircuitBreakerLayer::keyed_by). A function
/// pointer gives the layer a type that can be written down:
///
/// ```
/// use fusebox::circuit_breaker::{Boxed, By};
/// use fusebox::classify::Errors;
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Registry};
///
/// struct Order { tenant: String }
/// type ByTenant = CircuitBreakerLayer<Errors, Boxed, By<fn(&Order) -> Option<&str>>>;
///
/// fn by_tenant(registry: Registry) -> ByTenant {
///     CircuitBreakerLayer::keyed(registry, |order| Some(&order.tenant))
/// }
/// let layer = by_tenant(Registry::new(|name| CircuitBreakerConfig::builder(name).build()));
/// assert!(format!("{layer:?}").contains("By"));
/// ```
#[derive(Clone)]
pub struct By<K> {
    pub(super) breakers: Keyed,
    pub(super) key: K,
}

/// A breaker for each key that a function makes from the request.
///
/// Made by [`keyed_owned`](super::CircuitBreakerLayer::keyed_owned). A function pointer gives the layer a type that can
/// be written down:
///
/// ```
/// use fusebox::circuit_breaker::{Boxed, ByOwned};
/// use fusebox::classify::Errors;
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Registry};
///
/// struct Order { tenant: u32 }
/// type ByTenant = CircuitBreakerLayer<Errors, Boxed, ByOwned<fn(&Order) -> Option<String>>>;
///
/// fn by_tenant(registry: Registry) -> ByTenant {
///     CircuitBreakerLayer::keyed_owned(registry, |order| Some(order.tenant.to_string()))
/// }
/// let layer = by_tenant(Registry::new(|name| CircuitBreakerConfig::builder(name).build()));
/// assert!(format!("{layer:?}").contains("ByOwned"));
/// ```
#[derive(Clone)]
pub struct ByOwned<F> {
    pub(super) breakers: Keyed,
    pub(super) key: F,
}

impl<Req> Select<Req> for One {
    #[inline]
    fn acquire(&self, _request: &Req) -> Option<Result<Permit, Rejected>> {
        Some(self.breaker.acquire())
    }
}

impl Breakers for One {
    #[inline]
    fn one(&self) -> Option<&CircuitBreaker> {
        Some(&self.breaker)
    }
}

impl<Req, K> Select<Req> for By<K>
where
    K: Key<Req>,
{
    fn acquire(&self, request: &Req) -> Option<Result<Permit, Rejected>> {
        self.breakers.acquire(self.key.key(request).as_deref())
    }
}

impl<K> Breakers for By<K> {
    fn one(&self) -> Option<&CircuitBreaker> {
        None
    }
}

impl<K> ByAnyKey for By<K> {
    fn keyed(&mut self) -> &mut Keyed {
        &mut self.breakers
    }
}

impl<Req, F, O> Select<Req> for ByOwned<F>
where
    F: Fn(&Req) -> Option<O>,
    O: AsRef<str>,
{
    fn acquire(&self, request: &Req) -> Option<Result<Permit, Rejected>> {
        self.breakers.acquire((self.key)(request).as_ref().map(AsRef::as_ref))
    }
}

impl<F> Breakers for ByOwned<F> {
    fn one(&self) -> Option<&CircuitBreaker> {
        None
    }
}

impl<F> ByAnyKey for ByOwned<F> {
    fn keyed(&mut self) -> &mut Keyed {
        &mut self.breakers
    }
}

impl<K> fmt::Debug for By<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("By").field("breakers", &self.breakers).finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for ByOwned<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByOwned").field("breakers", &self.breakers).finish_non_exhaustive()
    }
}

impl fmt::Display for One {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circuit breaker `{}`", OneLine(&self.breaker.name()))
    }
}

impl<K> fmt::Display for By<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("circuit breakers by key")
    }
}

impl<F> fmt::Display for ByOwned<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("circuit breakers by key")
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::One {}
    impl<F> Sealed for super::By<F> {}
    impl<F> Sealed for super::ByOwned<F> {}
}
