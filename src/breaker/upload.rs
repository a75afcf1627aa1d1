//! How long a call takes, from the end of what its caller sends.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::cell::BreakerCell;
use super::guarded::{finish, poll_guarded};
use super::permit::Permit;
use super::watch::Watch;
use crate::sync::{AtomicU64, Ordering};
use crate::time::Timestamp;

/// The most that a body gives at once. A client takes its next frame when it has room for it, so that what takes long to
/// send is seen to take long, even where all of it is one piece of memory.
const PIECE: usize = 64 * 1024;

/// Since when the dependency has all that the caller has given so far.
#[derive(Debug)]
#[doc(hidden)]
pub struct Upload {
    cell: &'static BreakerCell,
    /// In nanoseconds; [`Timestamp::MAX`] while it is the caller's turn.
    complete_since: AtomicU64,
}

impl Upload {
    /// That of a call that begins; `None` where no rule asks how long calls take.
    pub(crate) fn of(permit: &Permit) -> Option<Arc<Self>> {
        let (cell, started) = permit.timed()?;
        Some(Arc::new(Self { cell, complete_since: AtomicU64::new(started.as_nanos()) }))
    }

    /// The dependency has got a piece, or the end.
    fn passes(&self) {
        self.set(self.cell.now());
    }

    /// The dependency asks for more, and there is nothing yet.
    fn waits(&self) {
        self.set(Timestamp::MAX);
    }

    fn is_waiting(&self) -> bool {
        self.complete_since() == Timestamp::MAX
    }

    // Nothing else is published by it: what comes of the last piece reaches the call's future by the client's own means.
    fn set(&self, since: Timestamp) {
        self.complete_since.store(since.as_nanos(), Ordering::Relaxed);
    }

    fn complete_since(&self) -> Timestamp {
        Timestamp::from_nanos(self.complete_since.load(Ordering::Relaxed))
    }

    /// Where the call begins that the dependency is judged by, if it ends now.
    fn started(&self) -> Timestamp {
        if self.is_waiting() { self.cell.now() } else { self.complete_since() }
    }
}

pin_project! {
    /// The body of a request whose time counts as its caller's. The inner service reads it; the breaker counts from its end,
    /// or from its latest piece, how long the dependency takes.
    ///
    /// [`upload`](crate::CircuitBreakerLayer::upload) makes it, and says which body becomes of it. It gives the bytes and
    /// the trailers of the body within, in pieces of at most 64 KiB.
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use bytes::Bytes;
    /// use fusebox::circuit_breaker::UploadBody;
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer};
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, Full};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// async fn server(request: Request<UploadBody<Full<Bytes>>>) -> Result<Response<Bytes>, Infallible> {
    ///     Ok(Response::new(request.into_body().collect().await?.to_bytes()))
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let layer = CircuitBreakerLayer::http(CircuitBreakerConfig::new("archive")).upload(|body| body);
    /// let client = layer.layer(service_fn(server));
    /// let response = client.oneshot(Request::new(Full::from("a photo"))).await?;
    /// assert_eq!(response.into_body(), "a photo");
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    pub struct UploadBody<B> {
        #[pin]
        inner: B,
        // What a larger piece of the inner body has left.
        rest: Bytes,
        // None where the breaker asks nothing of the time.
        upload: Option<Arc<Upload>>,
    }

    impl<B> PinnedDrop for UploadBody<B> {
        // No more is waited for: what comes next is up to the dependency.
        fn drop(this: Pin<&mut Self>) {
            if let Some(upload) = this.upload.as_deref().filter(|upload| upload.is_waiting()) {
                upload.passes();
            }
        }
    }
}

impl<B> UploadBody<B> {
    pub(crate) const fn new(inner: B, upload: Option<Arc<Upload>>) -> Self {
        Self { inner, rest: Bytes::new(), upload }
    }
}

impl<B: Body> Body for UploadBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let upload = this.upload.as_deref();
        let frame = if this.rest.is_empty() {
            let Poll::Ready(frame) = this.inner.poll_frame(cx) else {
                if let Some(upload) = upload {
                    upload.waits();
                }
                return Poll::Pending;
            };
            frame.map(|frame| Ok(frame?.map_data(|mut data| data.copy_to_bytes(data.remaining()))))
        } else {
            Some(Ok(Frame::data(std::mem::take(this.rest))))
        };
        if let Some(upload) = upload {
            upload.passes();
        }
        Poll::Ready(frame.map(|frame| {
            Ok(frame?.map_data(|mut data| {
                *this.rest = data.split_off(data.len().min(PIECE));
                data
            }))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

impl<B> fmt::Debug for UploadBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadBody").finish_non_exhaustive()
    }
}

pin_project! {
    /// Runs the call of an upload and reports how it ended.
    pub(crate) struct GuardedUpload<F, C> {
        #[pin]
        inner: F,
        // Gone once reported.
        permit: Option<Permit>,
        upload: Option<Arc<Upload>>,
        classify: C,
    }

    impl<F, C> PinnedDrop for GuardedUpload<F, C> {
        // Given up: for how long the dependency was waited for goes by its upload, too. Before the body itself is dropped.
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            count_from(this.permit, this.upload.as_deref());
        }
    }
}

impl<F, C> GuardedUpload<F, C> {
    pub(crate) const fn new(inner: F, permit: Permit, upload: Option<Arc<Upload>>, classify: C) -> Self {
        Self { inner, permit: Some(permit), upload, classify }
    }
}

impl<F, C, T, E> Future for GuardedUpload<F, C>
where
    F: Future<Output = Result<T, E>>,
    C: Watch<T, E>,
{
    type Output = Result<C::Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (mut permit, result) = ready!(poll_guarded(this.inner, this.permit, cx));
        count_from(&mut permit, this.upload.as_deref());
        // From here on a panic drops the permit, which is a failure too.
        Poll::Ready(finish(this.classify, permit, result))
    }
}

fn count_from(permit: &mut Option<Permit>, upload: Option<&Upload>) {
    if let (Some(permit), Some(upload)) = (permit, upload) {
        permit.count_from(upload.started());
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::stream;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use http_body_util::{BodyExt, Full, StreamBody};
    use proptest::prelude::*;

    use super::*;

    /// How a body ends.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum End {
        Plain,
        Trailers,
        Broken,
    }

    fn trailers() -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static("sum"), HeaderValue::from_static("7"))])
    }

    /// All that a body gives: its bytes, and what came at its end.
    fn read(mut body: impl Body<Data = Bytes, Error = &'static str> + Unpin) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        block_on(async {
            while let Some(frame) = body.frame().await {
                match frame.map(Frame::into_data) {
                    Ok(Ok(data)) => {
                        assert!(data.len() <= PIECE, "{} bytes at once", data.len());
                        bytes.extend_from_slice(&data);
                    }
                    Ok(Err(frame)) => {
                        assert_eq!(frame.into_trailers().ok(), Some(trailers()));
                        return (bytes, End::Trailers);
                    }
                    Err("the file is gone") => return (bytes, End::Broken),
                    Err(other) => unreachable!("{other}"),
                }
            }
            (bytes, End::Plain)
        })
    }

    proptest! {
        #[test]
        fn what_passes_is_what_was_given(
            lengths in prop::collection::vec(
                prop_oneof![0..20_usize, PIECE - 2..PIECE + 2, 2 * PIECE - 2..2 * PIECE + 2, 0..5 * PIECE], 0..5,
            ),
            end in prop_oneof![Just(End::Plain), Just(End::Trailers), Just(End::Broken)],
        ) {
            let given: Vec<Vec<u8>> =
                lengths.iter().zip(1_u8..).map(|(length, nth)| vec![nth; *length]).collect();
            let frames = given.iter().map(|data| Ok(Frame::data(Bytes::copy_from_slice(data))));
            let last = match end {
                End::Plain => None,
                End::Trailers => Some(Ok(Frame::trailers(trailers()))),
                End::Broken => Some(Err("the file is gone")),
            };
            let body = StreamBody::new(stream::iter(frames.chain(last).collect::<Vec<_>>()));
            prop_assert_eq!(read(UploadBody::new(body, None)), (given.concat(), end));
        }

        #[test]
        fn its_length_is_known_at_every_piece(length in 0..5 * PIECE) {
            let mut body = UploadBody::new(Full::new(Bytes::from(vec![7; length])), None);
            let mut left = length;
            loop {
                prop_assert_eq!(body.size_hint().exact(), Some(left as u64));
                prop_assert_eq!(body.is_end_stream(), left == 0);
                let Some(frame) = block_on(body.frame()) else { break };
                left -= frame.unwrap_or_else(|never| match never {}).into_data().map_or(0, |data| data.len());
            }
            prop_assert_eq!(left, 0);
        }
    }
}
