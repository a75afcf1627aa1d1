//! Building a safety net: each kind of policy has a slot in the type, empty or taken.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;

use tower_layer::{Identity, Stack};

use super::net::SafetyNet;
use crate::attempts::Timeouts;
use crate::breaker::CircuitBreaker;
use crate::middleware::circuit_breaker::BreakerLayer;
use crate::middleware::fallback::{FallbackLayer, OnError};
use crate::middleware::retry::RetryLayer;

/// Builds a [`SafetyNet`]: the first policy given is the outermost. `R`, `B` and `F` say whether there is a retry, a
/// breaker, a fallback.
///
/// ```
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, SafetyNet};
///
/// let builder = SafetyNet::builder().breaker(CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments")));
/// assert_eq!(builder.build().to_string(), "circuit breaker `payments`");
/// ```
#[must_use = "call `.build()`"]
pub struct SafetyNetBuilder<L = Identity, R = No, B = No, F = No> {
    layers: L,
    steps: Vec<String>,
    breaker: Option<CircuitBreaker>,
    taken: PhantomData<fn() -> (R, B, F)>,
}

/// There is no such policy yet.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct No;

/// There is such a policy.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Yes;

impl SafetyNet<Identity> {
    /// Starts with nothing.
    pub fn builder() -> SafetyNetBuilder {
        SafetyNetBuilder::new()
    }
}

impl SafetyNetBuilder {
    fn new() -> Self {
        Self { layers: Identity::new(), steps: Vec::new(), breaker: None, taken: PhantomData }
    }
}

impl<L, R, B, F> SafetyNetBuilder<L, R, B, F> {
    /// Puts a policy inside those that are there.
    fn inside<P, R2, B2, F2>(self, policy: P) -> SafetyNetBuilder<Stack<P, L>, R2, B2, F2>
    where
        P: fmt::Display,
    {
        let mut steps = self.steps;
        steps.push(policy.to_string());
        let layers = Stack::new(policy, self.layers);
        SafetyNetBuilder { layers, steps, breaker: self.breaker, taken: PhantomData }
    }

    /// Returns the composed layer.
    pub fn build(self) -> SafetyNet<L> {
        SafetyNet { layers: self.layers, steps: self.steps, breaker: self.breaker }
    }
}

impl<L, B, F> SafetyNetBuilder<L, No, B, F> {
    /// Adds retries.
    pub fn retry<C, P, T>(
        self,
        retry: RetryLayer<C, P, T>,
    ) -> SafetyNetBuilder<Stack<RetryLayer<C, P, T>, L>, Yes, B, F>
    where
        T: Timeouts,
    {
        self.inside(retry)
    }
}

impl<L, R, F> SafetyNetBuilder<L, R, No, F> {
    /// Adds a circuit breaker.
    pub fn breaker<G: BreakerLayer>(self, breaker: G) -> SafetyNetBuilder<Stack<G, L>, R, Yes, F> {
        let handle = breaker.one().cloned();
        let mut builder = self.inside(breaker);
        builder.breaker = handle;
        builder
    }
}

impl<L, R, B> SafetyNetBuilder<L, R, B, No> {
    /// Adds another answer for errors. Give the closure its argument's type.
    pub fn fallback<G, Fut, T, E>(self, f: G) -> SafetyNetBuilder<Stack<FallbackLayer<OnError<G>>, L>, R, B, Yes>
    where
        G: Fn(E) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.fallback_layer(FallbackLayer::new(f))
    }

    /// Adds a fallback of any kind.
    ///
    /// ```
    /// use fusebox::{FallbackLayer, SafetyNet};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// # futures::executor::block_on(async {
    /// let cached = FallbackLayer::with_request(|sku: u32, _: &str| async move { Ok(100 + sku) });
    /// let net = SafetyNet::builder().fallback_layer(cached).build();
    /// assert_eq!(net.layer(service_fn(|_: u32| async { Err("down") })).oneshot(7).await, Ok(107));
    /// # })
    /// ```
    pub fn fallback_layer<G>(
        self,
        fallback: FallbackLayer<G>,
    ) -> SafetyNetBuilder<Stack<FallbackLayer<G>, L>, R, B, Yes> {
        self.inside(fallback)
    }
}

impl<L, R, B, F> fmt::Debug for SafetyNetBuilder<L, R, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SafetyNetBuilder").field("steps", &self.steps).finish_non_exhaustive()
    }
}
