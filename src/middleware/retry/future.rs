//! The response of a retrying service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::replay::Replay;
use crate::attempts::{OnTimeout, Repeat, Run, Source, Timeouts};
use crate::classify::{Classify, Retry};

pin_project! {
    /// The response of a retrying service: that of the last attempt, unchanged. Dropping it gives up the attempt on its way,
    /// and there is no further one.
    pub struct ResponseFuture<S, Req, C, P, T>
    where
        S: Service<P::Out>,
        P: Replay<Req>,
        T: Timeouts,
    {
        #[pin]
        pub(super) run: Run<Request<S, Req, P>, C, T::Limits, T>,
    }
}

impl<S, Req, C, P, T> Future for ResponseFuture<S, Req, C, P, T>
where
    S: Service<P::Out>,
    S::Error: 'static,
    P: Replay<Req>,
    C: Classify<S::Response, S::Error>,
    T: OnTimeout<S::Error>,
{
    type Output = Result<S::Response, T::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().run.poll(cx)
    }
}

impl<S, Req, C, P, T> fmt::Debug for ResponseFuture<S, Req, C, P, T>
where
    S: Service<P::Out>,
    P: Replay<Req>,
    T: Timeouts,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// A service with a request that it can be sent again.
pub(super) struct Request<S, Req, P: Replay<Req>> {
    service: S,
    replay: P,
    saved: P::Saved,
    /// The next one to send, once prepared.
    next: Option<P::Out>,
}

impl<S, Req, P: Replay<Req>> Request<S, Req, P> {
    pub(super) const fn new(service: S, replay: P, saved: P::Saved) -> Self {
        Self { service, replay, saved, next: None }
    }
}

impl<S, Req, P: Replay<Req>> Repeat for Request<S, Req, P> {
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

impl<S, Req, P> Source for Request<S, Req, P>
where
    S: Service<P::Out>,
    P: Replay<Req>,
{
    type Attempt = S::Future;
    type Error = S::Error;

    fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<Result<S::Future, S::Error>> {
        ready!(self.service.poll_ready(cx))?;
        match self.next.take() {
            Some(request) => Poll::Ready(Ok(self.service.call(request))),
            // What was not prepared is never started.
            None => Poll::Pending,
        }
    }
}
