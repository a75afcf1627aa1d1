//! The response of a service with a fallback.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::replace::Replace;

pin_project! {
    /// The response of a service with a fallback. Dropping it gives up whichever of the two is on its way.
    pub struct ResponseFuture<F, G, K, A, Req> {
        #[pin]
        state: State<F, A>,
        // Gone once asked for another answer.
        replace: Option<(G, K)>,
        request: PhantomData<fn(Req)>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, A> {
        // The call is on its way.
        Calling { #[pin] inner: F },
        // It failed; another answer is on its way.
        Replacing { #[pin] answer: A },
    }
}

impl<F, G, K, A, Req> ResponseFuture<F, G, K, A, Req> {
    pub(super) const fn new(inner: F, replace: G, kept: K) -> Self {
        Self { state: State::Calling { inner }, replace: Some((replace, kept)), request: PhantomData }
    }
}

impl<F, G, Req, T, E> Future for ResponseFuture<F, G, G::Kept, G::Future, Req>
where
    F: Future<Output = Result<T, E>>,
    G: Replace<Req, T, E>,
{
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let result = match this.state.as_mut().project() {
                StateProj::Calling { inner } => ready!(inner.poll(cx)),
                StateProj::Replacing { answer } => return answer.poll(cx),
            };
            let Some((replace, kept)) = this.replace.take() else {
                return Poll::Ready(result);
            };
            match replace.replace(kept, result) {
                Ok(answer) => this.state.set(State::Replacing { answer }),
                Err(result) => return Poll::Ready(result),
            }
        }
    }
}

impl<F, G, K, A, Req> fmt::Debug for ResponseFuture<F, G, K, A, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
