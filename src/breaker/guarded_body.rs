//! The body of a guarded response whose outcome is known at its end.

use std::any::Any;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::permit::Permit;
use super::response_permit::ResponsePermit;
use super::watch::Observe;
use crate::circuit::Outcome;
use crate::classify::{AtEnd, ClassifyEnd, EndFinder, note_cover};

pin_project! {
    /// The body of a guarded response. It carries the call's permit and reports the outcome when it ends. Dropped
    /// before that, its reader has left, which counts neither way unless the dependency had been silent for
    /// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after): since the body was first polled in vain,
    /// after its last frame. While a slow reader does not poll it, nothing is silent.
    ///
    /// ```
    /// # #[cfg(feature = "grpc")]
    /// # futures::executor::block_on(async {
    /// use bytes::Bytes;
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, circuit_breaker::GuardedBody, classify};
    /// use http::{HeaderMap, Request, Response};
    /// use http_body_util::{BodyExt, Full};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments")).classify(classify::grpc());
    /// let service = layer.layer(service_fn(|_: Request<()>| async {
    ///     let failed = async { Some(Ok(HeaderMap::from_iter([("grpc-status".parse().unwrap(), "13".parse().unwrap())]))) };
    ///     Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from("half an answer")).with_trailers(failed)))
    /// }));
    /// let body: GuardedBody<_, _> = service.oneshot(Request::new(())).await.unwrap().into_body();
    /// let failures = || layer.breaker().snapshot().detectors[0].tally.count();
    /// assert_eq!(failures(), 0, "not known yet");
    /// body.collect().await.unwrap();
    /// assert_eq!(failures(), 1);
    /// # })
    /// ```
    pub struct GuardedBody<B, C> {
        #[pin]
        inner: B,
        // Gone once reported.
        watch: Option<Watched<C>>,
    }
}

/// The call that a body belongs to.
struct Watched<C> {
    permit: ResponsePermit,
    classify: C,
    end: EndFinder,
}

impl<C: ClassifyEnd> Watched<C> {
    /// Sees what came of asking for a frame, and reports the outcome if the body ended.
    fn see<D: Buf, E: 'static>(
        watch: &mut Option<Self>,
        polled: &Poll<Option<Result<Frame<D>, E>>>,
        is_last: impl FnOnce() -> bool,
    ) {
        let Some(watched) = watch else {
            return;
        };
        let Poll::Ready(frame) = polled else {
            watched.permit.waits();
            return;
        };
        watched.permit.hears();
        if let Some(end) = watched.end.see(frame.as_ref(), is_last)
            && let Some(Self { permit, classify, .. }) = watch.take()
        {
            // If the classifier panics, the permit is dropped while the thread panics, which is a failure.
            permit.report(end.outcome(&classify));
        }
    }
}

impl<B, C> Body for GuardedBody<B, C>
where
    B: Body<Error: 'static>,
    C: ClassifyEnd,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let guard = OnPanic(this.watch);
        let polled = this.inner.as_mut().poll_frame(cx);
        mem::forget(guard);
        Watched::see(this.watch, &polled, || this.inner.is_end_stream());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Reports a failure when code of others panics: the code that catches the panic may keep the body, and with it the
/// permit, for as long as it likes. Not one with that of `guarded`: made generic, that one is no longer taken into its
/// caller, and a healthy call costs a fifth more.
struct OnPanic<'a, C>(&'a mut Option<Watched<C>>);

impl<C> Drop for OnPanic<'_, C> {
    fn drop(&mut self) {
        if let Some(watched) = self.0.take() {
            watched.permit.report(Outcome::Failure);
        }
    }
}

impl<B: Default, C> Default for GuardedBody<B, C> {
    /// An empty body that reports nothing: for answers to rejected calls.
    fn default() -> Self {
        Self { inner: B::default(), watch: None }
    }
}

impl<B, C> fmt::Debug for GuardedBody<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedBody").field("reported", &self.watch.is_none()).finish_non_exhaustive()
    }
}

impl<B: 'static, C: 'static> GuardedBody<B, C> {
    /// Puts it around the body of a response.
    fn around(mut response: Response<B>, watch: Option<Watched<C>>) -> Response<Self> {
        note_cover(&mut response, Self::uncover);
        response.map(|inner| Self { inner, watch })
    }

    /// The inner body, where this one goes to no caller.
    fn uncover(body: Box<dyn Any>) -> Box<dyn Any> {
        match body.downcast::<Self>() {
            Ok(guarded) => Box::new(guarded.inner),
            Err(other) => other,
        }
    }
}

impl<C, B> Observe<C, Response<B>> for AtEnd
where
    C: ClassifyEnd + Clone + 'static,
    B: Body + 'static,
{
    type Response = Response<GuardedBody<B, C>>;

    fn observe<E>(
        classify: &C,
        permit: Permit,
        outcome: Outcome,
        result: Result<Response<B>, E>,
    ) -> Result<Self::Response, E> {
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                permit.report(outcome);
                return Err(error);
            }
        };
        let watch = match classify.at_head(&response) {
            Some(outcome) => {
                permit.report(outcome);
                None
            }
            // An empty body is not read on.
            None if response.body().is_end_stream() => {
                permit.report(classify.at_end(None));
                None
            }
            None => {
                let end = EndFinder::of(response.headers());
                Some(Watched { permit: permit.accept(), classify: classify.clone(), end })
            }
        };
        Ok(GuardedBody::around(response, watch))
    }

    fn unobserved(response: Response<B>) -> Self::Response {
        GuardedBody::around(response, None)
    }
}
