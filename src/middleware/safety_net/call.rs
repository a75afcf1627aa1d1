//! Calls of functions through a safety net.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
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
    pub const fn call<F, Fut, T, E>(
        &self,
        f: F,
    ) -> CallFuture<'_, L, F, L::Service, <L::Service as Service<()>>::Future>
    where
        F: FnMut() -> Fut + Clone,
        Fut: Future<Output = Result<T, E>>,
        L: Layer<Op<F>>,
        L::Service: Service<()>,
    {
        CallFuture { layers: &self.layers, state: State::Idle { f } }
    }
}

pin_project! {
    /// A call through a safety net. `F` is the function, `S` the service that the policies make of it, `Fut` that
    /// service's response. Made by [`SafetyNet::call`].
    ///
    /// It begins when it is polled first, and is `Send` where its parts are. Polled again after it was ready, it stays
    /// pending.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the call up, as each policy documents it.
    #[must_use = "futures do nothing unless polled"]
    pub struct CallFuture<'a, L, F, S, Fut> {
        layers: &'a L,
        #[pin]
        state: State<F, S, Fut>,
    }
}

pin_project! {
    #[project = StateProj]
    #[project_replace = StateOwned]
    enum State<F, S, Fut> {
        // Nothing has begun.
        Idle { f: F },
        // The policies are to become ready.
        Readying { service: S },
        // The call is on its way. The service lives as long: some tell their inner ones by being dropped.
        Calling { #[pin] response: Fut, service: S },
        // It is over.
        Over,
    }
}

impl<L, F, S, Fut> Future for CallFuture<'_, L, F, S, Fut>
where
    L: Layer<Op<F>, Service = S>,
    S: Service<(), Future = Fut>,
    Fut: Future<Output = Result<S::Response, S::Error>>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if matches!(this.state.as_mut().project(), StateProj::Idle { .. })
            && let StateOwned::Idle { f } = this.state.as_mut().project_replace(State::Over)
        {
            let service = this.layers.layer(Op { f });
            this.state.set(State::Readying { service });
        }
        if let StateProj::Readying { service } = this.state.as_mut().project() {
            let ready = ready!(service.poll_ready(cx));
            let StateOwned::Readying { mut service } = this.state.as_mut().project_replace(State::Over) else {
                return Poll::Pending;
            };
            ready?;
            let response = service.call(());
            this.state.set(State::Calling { response, service });
        }
        let StateProj::Calling { response, .. } = this.state.as_mut().project() else {
            return Poll::Pending;
        };
        let result = ready!(response.poll(cx));
        this.state.set(State::Over);
        Poll::Ready(result)
    }
}

impl<L, F, S, Fut> fmt::Debug for CallFuture<'_, L, F, S, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFuture").finish_non_exhaustive()
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
