//! The response of a guarded service.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::reject::OnReject;
use crate::breaker::{Guarded, Watch};

pin_project! {
    /// The response of a guarded service. Dropping it gives the call up, which counts neither way unless it ran for
    /// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after).
    ///
    /// ```
    /// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer};
    /// use tower::{service_fn, Layer, Service, ServiceExt};
    ///
    /// # futures::executor::block_on(async {
    /// let hangs = service_fn(|_: ()| std::future::pending::<Result<(), BoxError>>());
    /// let mut service = CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments")).layer(hangs);
    /// let response = service.ready().await?.call(());
    /// drop(response); // the user has closed the tab
    /// assert_eq!(service.breaker().snapshot().detectors[0].tally.count(), 0);
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    pub struct ResponseFuture<F, R, C, M> {
        #[pin]
        state: ResponseState<Guarded<F, C>, F, R>,
        mode: PhantomData<M>,
    }
}

pin_project! {
    #[project = ResponseStateProj]
    pub(super) enum ResponseState<G, F, R> {
        // The call goes through; its outcome is reported.
        Guarded { #[pin] inner: G },
        // The request has no breaker.
        Unguarded { #[pin] inner: F },
        // The request was rejected; what becomes of it is up to the mode.
        Rejected { #[pin] answer: R },
    }
}

impl<F, R, C, M> ResponseFuture<F, R, C, M> {
    #[inline]
    pub(super) const fn guarded(inner: Guarded<F, C>) -> Self {
        Self { state: ResponseState::Guarded { inner }, mode: PhantomData }
    }

    pub(super) const fn unguarded(inner: F) -> Self {
        Self { state: ResponseState::Unguarded { inner }, mode: PhantomData }
    }

    #[inline]
    pub(super) const fn rejected(answer: R) -> Self {
        Self { state: ResponseState::Rejected { answer }, mode: PhantomData }
    }
}

impl<F, R, C, M, Req, Res, Err> Future for ResponseFuture<F, R, C, fn(Req) -> M>
where
    F: Future<Output = Result<Res, Err>>,
    R: Future<Output = Result<C::Response, M::Error>>,
    C: Watch<Res, Err>,
    M: OnReject<Req, C::Response, Err>,
{
    type Output = Result<C::Response, M::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().state.poll_response::<C, M, Req, Res, Err>(cx)
    }
}

impl<G, F, R> ResponseState<G, F, R> {
    #[inline]
    pub(super) fn poll_response<C, M, Req, Res, Err>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<C::Response, M::Error>>
    where
        G: Future<Output = Result<C::Response, Err>>,
        F: Future<Output = Result<Res, Err>>,
        R: Future<Output = Result<C::Response, M::Error>>,
        C: Watch<Res, Err>,
        M: OnReject<Req, C::Response, Err>,
    {
        match self.project() {
            ResponseStateProj::Guarded { inner } => inner.poll(cx).map_err(M::error),
            ResponseStateProj::Unguarded { inner } => inner.poll(cx).map_ok(C::unwatched).map_err(M::error),
            ResponseStateProj::Rejected { answer } => answer.poll(cx),
        }
    }
}

impl<F, R, C, M> fmt::Debug for ResponseFuture<F, R, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
