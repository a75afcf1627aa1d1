//! The body of a response whose call is judged, or limited in time, to its end.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::attempts::{AnyAnswer, Deliver, Head, Limits, OnTimeout, OpenCall, Rest, Timed, Timeouts, Untimed};
use crate::classify::{AtEnd, AtHead, BodyEnd, Borrowed, ClassifyEnd, EndFinder, note_cover};

pin_project! {
    /// The body of a response that has come through a retry. It tells how the call ends, and ends in time.
    ///
    /// A classifier with the scope [`AtEnd`](crate::classify::AtEnd), such as that of gRPC, knows the outcome at the end
    /// only. So what counts calls ([`Budget::tokens`](crate::Budget::tokens), [`RetryStats`](super::RetryStats), listeners)
    /// learns it there: a call that ended well gives tokens back and may have recovered, one that failed takes a token. There
    /// is no further attempt, because the response has gone to the caller. A body that is dropped before its end was given
    /// up by its reader, and tells nothing.
    ///
    /// With a [`deadline`](crate::RetryConfigBuilder::deadline) it ends, where it outlives that, in a
    /// [`TimedOut`](super::TimedOut), which counts as a failure; the inner body is dropped then. Where it comes to that while
    /// its reader is elsewhere, it does so when it is polled next. Errors are boxed, [`TimedOut`](super::TimedOut) among them.
    ///
    /// `B` is the inner body, `C` the classifier, or [`AtHead`](crate::classify::AtHead) where the head has told all but the
    /// time; `T` is [`Untimed`](super::Untimed) or [`Timed`](super::Timed). Without anything that counts calls, and without a
    /// deadline, it is the inner body and nothing else. With one, it is to be read where a Tokio runtime with time runs.
    ///
    /// ```
    /// # #[cfg(feature = "grpc")]
    /// # futures::executor::block_on(async {
    /// use bytes::Bytes;
    /// use fusebox::{Budget, RetryConfig, RetryLayer, retry::ResponseBody};
    /// use http::{HeaderMap, Request, Response};
    /// use http_body_util::{BodyExt, Full};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// let tokens = Budget::tokens(10, 1.0);
    /// let layer = RetryLayer::grpc(RetryConfig::builder().budget(tokens.clone()).build().unwrap());
    /// let service = layer.layer(service_fn(|_: Request<_>| async {
    ///     let failed = async { Some(Ok(HeaderMap::from_iter([("grpc-status".parse().unwrap(), "14".parse().unwrap())]))) };
    ///     Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from("half an answer")).with_trailers(failed)))
    /// }));
    /// let request = Request::new(tonic::body::Body::empty());
    /// let body: ResponseBody<_, _> = service.oneshot(request).await.unwrap().into_body();
    /// assert_eq!(tokens.available(), 5, "not known yet");
    /// body.collect().await.unwrap();
    /// assert_eq!(tokens.available(), 4);
    /// # })
    /// ```
    pub struct ResponseBody<B, C, T = Untimed>
    where
        T: Timeouts,
    {
        // Gone when the time is over.
        #[pin]
        inner: Option<B>,
        rest: <T::Limits as Limits>::Rest,
        // Gone once told, or where nothing is to be told.
        watch: Option<Watched<C>>,
    }
}

/// The call that a body belongs to.
pub(super) struct Watched<C> {
    call: OpenCall,
    classify: C,
    end: EndFinder,
}

/// What the end of a body tells of its call.
#[doc(hidden)]
pub trait JudgeEnd {
    #[doc(hidden)]
    fn tell<E: 'static>(&self, call: OpenCall, end: &BodyEnd<'_, E>);
}

impl<C: ClassifyEnd> JudgeEnd for C {
    fn tell<E: 'static>(&self, call: OpenCall, end: &BodyEnd<'_, E>) {
        call.ended(end.outcome(self), end.retry(self), end.earns(self));
    }
}

/// The head has told how the call ends, unless its time is over before: dropped, the call tells what the head has.
impl JudgeEnd for AtHead {
    fn tell<E: 'static>(&self, call: OpenCall, _end: &BodyEnd<'_, E>) {
        drop(call);
    }
}

impl<B, C, T: Timeouts> ResponseBody<B, C, T> {
    pub(super) fn new(inner: B, rest: <T::Limits as Limits>::Rest, watch: Option<Watched<C>>) -> Self {
        Self { inner: Some(inner), rest, watch }
    }
}

impl<B: 'static, C: 'static, T: Timeouts + 'static> ResponseBody<B, C, T> {
    /// Puts it around the body of a response.
    fn around(
        mut response: Response<B>,
        rest: <T::Limits as Limits>::Rest,
        watch: Option<Watched<C>>,
    ) -> Response<Self> {
        note_cover(&mut response, Self::uncover);
        response.map(|inner| Self::new(inner, rest, watch))
    }

    /// The inner body, where this one goes to no caller.
    fn uncover(body: Box<dyn Any>) -> Box<dyn Any> {
        match body.downcast::<Self>() {
            Ok(body) => match body.inner {
                Some(inner) => Box::new(inner),
                None => Box::new(()),
            },
            Err(other) => other,
        }
    }
}

impl<C: JudgeEnd> Watched<C> {
    /// Tells how the call ended, if this frame is where it did.
    fn see<D: Buf, E: 'static>(
        watch: &mut Option<Self>,
        frame: Option<&Result<Frame<D>, E>>,
        is_last: impl FnOnce() -> bool,
    ) {
        if let Some(end) = watch.as_mut().and_then(|watched| watched.end.see(frame, is_last))
            && let Some(Self { call, classify, .. }) = watch.take()
        {
            classify.tell(call, &end);
        }
    }
}

impl<B, C, T> Body for ResponseBody<B, C, T>
where
    B: Body<Error: 'static>,
    C: JudgeEnd,
    T: OnTimeout<B::Error> + Timeouts<Late = ()>,
{
    type Data = B::Data;
    type Error = <T as OnTimeout<B::Error>>::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        // Where nothing more is to come, there is nothing to be late.
        let passed = if inner.is_end_stream() { None } else { this.rest.passed() };
        let expired = match passed {
            Some(expired) => expired,
            None => match inner.as_mut().poll_frame(cx) {
                Poll::Ready(frame) => {
                    Watched::see(this.watch, frame.as_ref(), || inner.is_end_stream());
                    if !matches!(frame, Some(Ok(_))) {
                        *this.rest = Default::default();
                    }
                    return Poll::Ready(frame.map(|frame| frame.map_err(T::error)));
                }
                Poll::Pending => ready!(this.rest.poll_over(cx)),
            },
        };
        // What it came over is free again, however long the reader keeps what is left.
        this.inner.set(None);
        if let Some(watched) = this.watch.take() {
            watched.call.out_of_time();
        }
        Poll::Ready(Some(Err(T::timed_out(&(), expired))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Default, C, T: Timeouts> Default for ResponseBody<B, C, T> {
    /// An empty body that tells nothing.
    fn default() -> Self {
        B::default().into()
    }
}

impl<B, C, T: Timeouts> From<B> for ResponseBody<B, C, T> {
    /// A body as it is, which tells nothing and has no end to its time: for a fallback's answers.
    fn from(inner: B) -> Self {
        Self::new(inner, Default::default(), None)
    }
}

impl<B, C, T: Timeouts> fmt::Debug for ResponseBody<B, C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("watched", &self.watch.is_some()).finish_non_exhaustive()
    }
}

/// A classifier that a body can keep.
#[doc(hidden)]
pub trait Keep {
    type Kept: ClassifyEnd + Clone;

    fn kept(&self) -> &Self::Kept;
}

impl<C: ClassifyEnd + Clone> Keep for C {
    type Kept = C;

    fn kept(&self) -> &C {
        self
    }
}

impl<C: ClassifyEnd + Clone> Keep for Borrowed<'_, C> {
    type Kept = C;

    fn kept(&self) -> &C {
        self.0
    }
}

impl<A, C, T, B> Deliver<AtEnd, C, T, Response<B>> for A
where
    C: Keep<Kept: 'static>,
    T: Timeouts + 'static,
    B: Body + 'static,
{
    type Response = Response<ResponseBody<B, C::Kept, T>>;

    fn deliver(classify: &C, head: Head<'_, T::Limits>, response: Response<B>) -> Self::Response {
        let rest = head.rest();
        let watch = watch(classify.kept(), head, &response);
        ResponseBody::around(response, rest, watch)
    }
}

/// Tells how the call ended, or leaves that to the body.
fn watch<C, L, B>(classify: &C, head: Head<'_, L>, response: &Response<B>) -> Option<Watched<C>>
where
    C: ClassifyEnd + Clone,
    L: Limits,
    B: Body,
{
    let call = head.open()?;
    if classify.at_head(response).is_some() {
        head.tell();
        return None;
    }
    // An empty body is not read on.
    if response.body().is_end_stream() {
        classify.tell(call, &BodyEnd::<Infallible>::Whole(None));
        return None;
    }
    Some(Watched { call, classify: classify.clone(), end: EndFinder::of(response.headers()) })
}

/// Answers whose bodies are limited in time where the call is; where it is not, they are answers as any.
#[doc(hidden)]
pub trait LimitsBodies {}

impl<A: LimitsBodies, C, R> Deliver<AtHead, C, Untimed, R> for A {
    type Response = R;

    #[inline]
    fn deliver(classify: &C, head: Head<'_, <Untimed as Timeouts>::Limits>, response: R) -> R {
        <AnyAnswer as Deliver<AtHead, C, Untimed, R>>::deliver(classify, head, response)
    }
}

/// Answers of HTTP.
#[derive(Debug)]
#[doc(hidden)]
pub struct HttpAnswer;

impl LimitsBodies for HttpAnswer {}

impl<C, B: 'static> Deliver<AtHead, C, Timed, Response<B>> for HttpAnswer {
    type Response = Response<ResponseBody<B, AtHead, Timed>>;

    fn deliver(_classify: &C, head: Head<'_, <Timed as Timeouts>::Limits>, response: Response<B>) -> Self::Response {
        let (rest, watch) = limit(head);
        ResponseBody::around(response, rest, watch)
    }
}

/// The time that is left for a body, and what to tell when it has passed. Tells how the call ended, if there is no end to
/// the time.
pub(super) fn limit<L: Limits>(head: Head<'_, L>) -> (L::Rest, Option<Watched<AtHead>>) {
    let rest = head.rest();
    if rest.is_limited() {
        return (rest, head.open_until_left().map(|call| Watched { call, classify: AtHead, end: EndFinder::NONE }));
    }
    head.tell();
    (rest, None)
}
