//! The response of a retrying service.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tower_service::Service;

use super::replay::Replay;
use crate::attempts::{AnyAnswer, Deliver, Delivered, OnTimeout, Repeat, Run, Source, Timeouts};
use crate::classify::{Classify, Retry};

pin_project! {
    /// The response of a retrying service: that of the last attempt, unchanged but for a body that is watched or limited in
    /// time (`ResponseBody`). Dropping it gives up the attempt on its way, and there is no further one.
    ///
    /// `F` is the future of an attempt, `A` is where further ones come from ([`Resend`]), `C` the classifier, `T` the limits
    /// of time.
    pub struct ResponseFuture<F, A, C, T>
    where
        T: Timeouts,
    {
        #[pin]
        pub(super) run: Run<A, F, C, T::Limits, T::Late, T>,
    }
}

impl<F, S, Req, P, A, C, T, R, E> Future for ResponseFuture<F, Resend<S, Req, P, P::Saved, P::Out, A>, C, T>
where
    S: Service<P::Out, Response = R, Error = E, Future = F>,
    F: Future<Output = Result<R, E>>,
    E: 'static,
    P: Replay<Req>,
    C: Classify<R, E>,
    T: OnTimeout<E>,
    A: Deliver<C::Scope, C, T::Bodies, R>,
{
    type Output = Result<Delivered<A, C, T, R, E>, T::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().run.poll(cx)
    }
}

impl<F, A, C, T: Timeouts> fmt::Debug for ResponseFuture<F, A, C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// A service with a request that can be sent to it again. A [`ResponseFuture`] has its further attempts from it. `A` says
/// what becomes of a response.
pub struct Resend<S, Req, P, Saved, Out, A = AnyAnswer> {
    service: S,
    replay: P,
    saved: Saved,
    /// The next one to send, once prepared.
    next: Option<Out>,
    answers: PhantomData<fn(Req) -> A>,
}

impl<S, Req, P, Saved, Out, A> Resend<S, Req, P, Saved, Out, A> {
    pub(super) const fn new(service: S, replay: P, saved: Saved) -> Self {
        Self { service, replay, saved, next: None, answers: PhantomData }
    }
}

impl<S, Req, P, Saved, Out, A> fmt::Debug for Resend<S, Req, P, Saved, Out, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resend").finish_non_exhaustive()
    }
}

impl<S, Req, P: Replay<Req>, A> Repeat for Resend<S, Req, P, P::Saved, P::Out, A> {
    fn may_repeat(&self, after: Retry) -> bool {
        self.replay.may_repeat(&self.saved, after)
    }

    fn change_connection(&mut self) {
        self.replay.change_connection(&mut self.saved);
    }

    fn prepare(&mut self, attempt: u32) -> bool {
        self.next = self.replay.again(&mut self.saved, attempt);
        self.next.is_some()
    }
}

impl<S, Req, P, A> Source for Resend<S, Req, P, P::Saved, P::Out, A>
where
    S: Service<P::Out>,
    P: Replay<Req>,
{
    type Attempt = S::Future;
    type Error = S::Error;
    type Answers = A;

    fn poll_start(&mut self, cx: &mut Context<'_>, left: Option<Duration>) -> Poll<Result<S::Future, S::Error>> {
        ready!(self.service.poll_ready(cx))?;
        match self.next.take() {
            Some(mut request) => {
                if let Some(left) = left {
                    self.replay.leave(&mut request, left);
                }
                Poll::Ready(Ok(self.service.call(request)))
            }
            // What was not prepared is never started.
            None => Poll::Pending,
        }
    }
}
