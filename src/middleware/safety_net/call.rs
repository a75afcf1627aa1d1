//! Calls of functions through a safety net.

use std::fmt;
use std::future::{Future, poll_fn};
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::net::SafetyNet;

impl<L> SafetyNet<L> {
    /// Calls `f` through the policies. Waits between attempts need a Tokio runtime with time enabled.
    ///
    /// # Errors
    ///
    /// What the outermost policy makes of the errors: a [`BoxError`](crate::BoxError) with a circuit breaker inside that has
    /// no other mode.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the call up, as each policy documents it.
    pub async fn call<F, Fut, T, E>(
        &self,
        f: F,
    ) -> Result<<L::Service as Service<()>>::Response, <L::Service as Service<()>>::Error>
    where
        F: FnMut() -> Fut + Clone,
        Fut: Future<Output = Result<T, E>>,
        L: Layer<Op<F>>,
        L::Service: Service<()>,
    {
        let mut service = self.layer(Op { f });
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(()).await
    }
}

/// A function as a service, which [`SafetyNet::call`] puts the policies around.
///
/// ```
/// use fusebox::{RetryConfig, RetryLayer, SafetyNet, safety_net::Op};
/// use tower_layer::Layer;
/// use tower_service::Service;
///
/// /// Works with whatever net returns the number unchanged.
/// async fn fetch<L>(net: &SafetyNet<L>) -> Option<u32>
/// where
///     L: Layer<Op<fn() -> std::future::Ready<Result<u32, std::io::Error>>>>,
///     L::Service: Service<(), Response = u32>,
/// {
///     net.call((|| std::future::ready(Ok(42))) as fn() -> _).await.ok()
/// }
///
/// # futures::executor::block_on(async {
/// let net = SafetyNet::builder().retry(RetryLayer::new(RetryConfig::default())).build();
/// assert_eq!(fetch(&net).await, Some(42));
/// # })
/// ```
#[derive(Clone)]
pub struct Op<F> {
    f: F,
}

impl<F, Fut, T, E> Service<()> for Op<F>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Response = T;
    type Error = E;
    type Future = Fut;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Fut {
        (self.f)()
    }
}

impl<F> fmt::Debug for Op<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Op").finish_non_exhaustive()
    }
}
