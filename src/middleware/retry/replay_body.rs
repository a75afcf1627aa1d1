//! A body that is recorded while it is first sent, so that it can be sent again.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

use crate::error::BoxError;
use crate::sync::{Mutex, lock};

/// The body of a request that may be sent more than once. It streams as the original does, and is recorded meanwhile up
/// to a cap. What a later attempt sends is first the record, then whatever the original still has.
///
/// The record is a copy, and the attempts share it: a small piece of a large buffer does not keep the buffer. Besides the
/// bytes, what pieces of less than 64 bytes (also empty ones) and trailers cost to keep may take up as much as the cap, or
/// 4 KiB where that is more.
///
/// It is `Send` and `Unpin` whatever the original is, as clients ask for; the original needs neither `Sync` nor `Clone`.
///
/// ```
/// use bytes::Bytes;
/// use fusebox::{RetryConfig, RetryLayer, retry::ReplayBody};
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{service_fn, Layer, ServiceExt};
///
/// # tokio_test::block_on(async {
/// let echo = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| async {
///     let body = request.into_body().collect().await?.to_bytes();
///     Ok::<_, fusebox::BoxError>(Response::new(body))
/// });
/// let client = RetryLayer::http(RetryConfig::default()).layer(echo);
/// let response = client.oneshot(Request::put("/prices/7").body(Full::from("12.50"))?).await?;
/// assert_eq!(response.into_body(), "12.50");
/// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
/// ```
pub struct ReplayBody<B: Body> {
    kind: Kind<B>,
}

enum Kind<B: Body> {
    Empty,
    /// Sent once; nothing is recorded.
    Once(Pin<Box<B>>),
    Recorded(Reader<B>),
}

/// One attempt's way through the record.
struct Reader<B: Body> {
    record: Arc<Mutex<Record<B>>>,
    attempt: u32,
    sent: u64,
    /// It has been asked for a frame.
    begun: bool,
}

/// What the attempts of a request share.
struct Record<B: Body> {
    body: Pin<Box<B>>,
    frames: VecDeque<Bytes>,
    /// Of these frames, how many the reader has sent.
    next: usize,
    trailers: Option<HeaderMap>,
    trailers_sent: bool,
    /// Bytes that may still be recorded.
    room: usize,
    /// What may still be spent on keeping them, apart from the bytes.
    overhead: usize,
    /// There may be another attempt.
    keep: bool,
    /// The record is whole, from the first byte to where the original stands.
    whole: bool,
    ended: bool,
    /// What the original said of its size at first. Each attempt says the same, so that clients send it with the same
    /// headers: a length that is known only afterwards would add one.
    hint: SizeHint,
    /// The attempt that reads; earlier ones may linger in a connection, and get an error.
    reader: u32,
    /// Whoever waits for the original to go on.
    waiting: Option<Waker>,
}

/// What a frame costs to keep, at least: its place in the record and its allocation.
const FRAME: usize = 64;

/// Enough for a small cap to mean what it says, in whatever pieces the bytes come.
const LEAST_OVERHEAD: usize = 4 * 1024;

/// The end of a [`ReplayBody`] that can make another one.
pub(super) struct Recorder<B: Body>(Arc<Mutex<Record<B>>>);

impl<B: Body> ReplayBody<B> {
    /// A body that is sent once.
    pub(super) fn once(body: B) -> Self {
        let kind = if body.is_end_stream() { Kind::Empty } else { Kind::Once(Box::pin(body)) };
        Self { kind }
    }

    pub(super) const fn empty() -> Self {
        Self { kind: Kind::Empty }
    }

    /// A body that is recorded up to `cap` bytes.
    pub(super) fn recorded(body: B, cap: usize) -> (Self, Recorder<B>) {
        let record = Record {
            hint: body.size_hint(),
            body: Box::pin(body),
            frames: VecDeque::new(),
            next: 0,
            trailers: None,
            trailers_sent: false,
            room: cap,
            overhead: cap.max(LEAST_OVERHEAD),
            keep: true,
            whole: true,
            ended: false,
            reader: 0,
            waiting: None,
        };
        let recorder = Recorder(Arc::new(Mutex::new(record)));
        (recorder.reader(0), recorder)
    }
}

impl<B: Body> Recorder<B> {
    fn reader(&self, attempt: u32) -> ReplayBody<B> {
        let record = self.0.clone();
        ReplayBody { kind: Kind::Recorded(Reader { record, attempt, sent: 0, begun: false }) }
    }

    /// The body once more, from its beginning; `None` when that is lost. The one before stops.
    pub(super) fn again(&self) -> Option<ReplayBody<B>> {
        let mut record = lock(&self.0);
        if !record.whole {
            return None;
        }
        record.reader += 1;
        record.next = 0;
        record.trailers_sent = false;
        let attempt = record.reader;
        // A connection that still waits for more of the body before has to learn that there will be none.
        let waiting = record.waiting.take();
        drop(record);
        waiting.into_iter().for_each(Waker::wake);
        Some(self.reader(attempt))
    }
}

impl<B: Body> Drop for Recorder<B> {
    /// The call is over: what streams on needs no record, and what was sent no longer either.
    fn drop(&mut self) {
        let mut record = lock(&self.0);
        record.keep = false;
        let sent = record.next;
        let sent: Vec<Bytes> = record.frames.drain(..sent).collect();
        record.next = 0;
        drop(record);
        // Dropping bytes may run code of others.
        drop(sent);
    }
}

impl<B: Body> Record<B> {
    /// The next frame that the reader has not sent yet.
    fn next_recorded(&mut self) -> Option<Bytes> {
        if !self.keep {
            return self.frames.pop_front();
        }
        let data = self.frames.get(self.next).cloned()?;
        self.next += 1;
        Some(data)
    }

    /// What is sent of a frame: a copy that the record shares, as long as it fits; then the frame itself.
    fn record<D: Buf>(&mut self, mut data: D) -> Bytes {
        let length = data.remaining();
        if !self.has_room(length, FRAME.saturating_sub(length)) {
            return data.copy_to_bytes(length);
        }
        let mut copy = BytesMut::with_capacity(length);
        copy.put(data);
        let copy = copy.freeze();
        self.frames.push_back(copy.clone());
        self.next = self.frames.len();
        copy
    }

    fn record_trailers(&mut self, trailers: &HeaderMap) {
        let size = |(name, value): (&HeaderName, &HeaderValue)| FRAME + name.as_str().len() + value.len();
        if self.has_room(0, trailers.iter().map(size).sum()) {
            self.trailers = Some(trailers.clone());
            self.trailers_sent = true;
        }
    }

    /// Takes the room; where there is not enough, the body is not kept at all.
    fn has_room(&mut self, bytes: usize, overhead: usize) -> bool {
        let left = self.room.checked_sub(bytes).zip(self.overhead.checked_sub(overhead));
        let Some((room, overhead)) = left.filter(|_| self.keep && self.whole) else {
            self.whole = false;
            if self.keep {
                self.frames = VecDeque::new();
                self.next = 0;
            }
            return false;
        };
        (self.room, self.overhead) = (room, overhead);
        true
    }
}

impl<B> Record<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// The next frame of the original.
    fn poll_original(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match self.body.as_mut().poll_frame(cx) {
            Poll::Pending => {
                self.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(None) => {
                self.ended = true;
                return Poll::Ready(None);
            }
            Poll::Ready(Some(Err(error))) => {
                self.whole = false;
                return Poll::Ready(Some(Err(error.into())));
            }
            Poll::Ready(Some(Ok(frame))) => frame.map_data(|data| self.record(data)),
        };
        if let Some(trailers) = frame.trailers_ref() {
            self.record_trailers(trailers);
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl<B> Reader<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.begun = true;
        let mut record = lock(&self.record);
        if record.reader != self.attempt {
            return Poll::Ready(Some(Err(Superseded.into())));
        }
        if let Some(data) = record.next_recorded() {
            self.sent += data.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(trailers) = record.trailers.clone().filter(|_| !record.trailers_sent) {
            record.trailers_sent = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if record.ended {
            return Poll::Ready(None);
        }
        let frame = record.poll_original(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        frame
    }
}

impl<B: Body> Reader<B> {
    fn is_end_stream(&self) -> bool {
        let record = lock(&self.record);
        self.begun
            && record.reader == self.attempt
            && record.frames.len() == record.next
            && (record.trailers.is_none() || record.trailers_sent)
            && (record.ended || record.body.is_end_stream())
    }

    /// What is left to send.
    fn size_hint(&self) -> SizeHint {
        let whole = &lock(&self.record).hint;
        let mut hint = SizeHint::new();
        if let Some(upper) = whole.upper() {
            hint.set_upper(upper.saturating_sub(self.sent));
        }
        hint.set_lower(whole.lower().saturating_sub(self.sent));
        hint
    }
}

fn bytes_of<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Once(body) => {
                body.as_mut().poll_frame(cx).map(|frame| frame.map(|frame| frame.map(bytes_of).map_err(Into::into)))
            }
            Kind::Recorded(reader) => reader.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Once(body) => body.is_end_stream(),
            Kind::Recorded(reader) => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Once(body) => body.size_hint(),
            Kind::Recorded(reader) => reader.size_hint(),
        }
    }
}

impl<B: Body> Default for ReplayBody<B> {
    /// Empty.
    fn default() -> Self {
        Self::empty()
    }
}

impl<B: Body> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").finish_non_exhaustive()
    }
}

/// What the body of an attempt ends in when the next attempt has taken over.
#[derive(Debug)]
struct Superseded;

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request is being sent again, this attempt's body has ended")
    }
}

impl Error for Superseded {}
