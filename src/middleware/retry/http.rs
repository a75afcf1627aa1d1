//! How an HTTP request is sent more than once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "grpc")]
use http::HeaderName;
use http::Request;
use http::request::Parts;
use http_body::Body;
#[cfg(feature = "hyper")]
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};

use super::deadline::Deadline;
#[cfg(feature = "grpc")]
use super::grpc_timeout;
use super::layer::RetryLayer;
use super::methods::is_idempotent;
use super::replay::{Replay, Resends};
use super::replay_body::{Recorder, ReplayBody};
use super::response_body::HttpAnswer;
use crate::attempts::{CallerDeadline, RetryConfig};
use crate::classify::{self, Http, Retry};

/// HTTP requests are sent again where that is safe. Their body is recorded while it is first sent. Made by
/// [`RetryLayer::http`].
///
/// ```
/// use fusebox::classify::Http;
/// use fusebox::{RetryConfig, RetryLayer, retry::ReplayHttp};
///
/// fn layer() -> RetryLayer<Http, ReplayHttp> {
///     RetryLayer::http(RetryConfig::default())
/// }
/// # let _ = layer();
/// ```
#[derive(Clone)]
pub struct ReplayHttp<W = AsIs>(ResendHttp<W>);

/// The part of it that is a [`Replay`].
#[derive(Clone)]
#[doc(hidden)]
pub struct ResendHttp<W> {
    cap: usize,
    rule: Rule,
    protocol: Protocol,
    wrap: W,
}

/// Whose headers a request has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http,
    #[cfg(feature = "grpc")]
    Grpc,
}

/// Which requests may be sent again.
#[derive(Clone)]
enum Rule {
    /// By method, or with an `Idempotency-Key`.
    Idempotent,
    Custom(Arc<dyn Fn(&Parts) -> bool + Send + Sync>),
    /// gRPC says by the status whether the call may be made again.
    #[cfg(feature = "grpc")]
    Any,
}

/// The inner service takes the [`ReplayBody`] as it is.
///
/// ```
/// use fusebox::retry::{AsIs, ReplayHttp};
///
/// fn is_the_same(replay: ReplayHttp<AsIs>) -> ReplayHttp {
///     replay
/// }
/// # let _ = is_the_same;
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AsIs;

/// A function makes the body that the inner service takes. Made by [`RetryLayer::body`].
///
/// ```
/// use axum::body::Body;
/// use fusebox::classify::Http;
/// use fusebox::retry::{BodyWith, ReplayBody, ReplayHttp, RetryConfig, RetryLayer};
///
/// type ToAxum = BodyWith<fn(ReplayBody<Body>) -> Body>;
///
/// fn layer() -> RetryLayer<Http, ReplayHttp<ToAxum>> {
///     RetryLayer::http(RetryConfig::default()).body(Body::new)
/// }
/// # let _ = layer();
/// ```
#[derive(Clone, Copy)]
pub struct BodyWith<F>(pub(super) F);

/// What becomes of a [`ReplayBody`]: [`AsIs`] or [`BodyWith`]. Sealed.
pub trait WrapBody<B: Body>: Clone + sealed::Sealed {
    /// The body that the inner service takes.
    type Body;

    #[doc(hidden)]
    fn wrap(&self, body: ReplayBody<B>) -> Self::Body;
}

impl<B: Body> WrapBody<B> for AsIs {
    type Body = ReplayBody<B>;

    fn wrap(&self, body: ReplayBody<B>) -> ReplayBody<B> {
        body
    }
}

impl<B: Body, F, O> WrapBody<B> for BodyWith<F>
where
    F: Fn(ReplayBody<B>) -> O + Clone,
{
    type Body = O;

    fn wrap(&self, body: ReplayBody<B>) -> O {
        (self.0)(body)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::AsIs {}
    impl<F> Sealed for super::BodyWith<F> {}
}

/// Which attempt a request is, counted from 1. It is an extension of requests that are sent again.
///
/// ```
/// use fusebox::retry::Attempt;
///
/// let first = http::Request::new(());
/// assert_eq!(Attempt::of(first.extensions()), Attempt(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Attempt(pub u32);

impl Attempt {
    /// Reads the attempt from a request's extensions; 1 when nothing says otherwise.
    #[must_use]
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self(1))
    }

    /// Returns how often the request was sent before: OpenTelemetry's attribute `http.request.resend_count`, which a
    /// first attempt does not have.
    ///
    /// ```
    /// use fusebox::retry::Attempt;
    ///
    /// let request = http::Request::new(());
    /// assert_eq!(Attempt::of(request.extensions()).resends(), None);
    /// assert_eq!(Attempt(3).resends(), Some(2));
    /// ```
    #[must_use]
    pub const fn resends(self) -> Option<u32> {
        match self.0 {
            0 | 1 => None,
            attempt => Some(attempt - 1),
        }
    }
}

#[cfg(feature = "grpc")]
impl<W> ReplayHttp<W> {
    pub(super) const fn grpc(wrap: W) -> Self {
        Self(ResendHttp { cap: REPLAY_CAP, rule: Rule::Any, protocol: Protocol::Grpc, wrap })
    }
}

const REPLAY_CAP: usize = 64 * 1024;

impl<T> RetryLayer<Http, ReplayHttp, T> {
    /// Retries HTTP requests that are safe to repeat, with their body. It goes by
    /// [`classify::http`](crate::classify::http).
    ///
    /// - Sent again are requests whose method is idempotent (by IANA's registry: GET, HEAD, OPTIONS, TRACE, PUT,
    ///   DELETE, QUERY, and those of WebDAV such as PROPFIND, REPORT and SEARCH) and those with an `Idempotency-Key`;
    ///   [`idempotent_when`](Self::idempotent_when) changes that.
    /// - Any other is sent again only where the server certainly did not process it: the connection was refused, HTTP/2
    ///   refused the stream or went away before it (feature `hyper`), or the answer says so (421, 425). The first time
    ///   that is at once and costs no budget. What follows redirects belongs outside of the retry: inside, the request
    ///   that was not processed may be one that an order has led to.
    /// - The body streams as it always did and is recorded meanwhile, up to a cap of 64 KiB
    ///   ([`replay_up_to`](Self::replay_up_to)). A longer one is sent once, never refused.
    /// - No retry comes sooner than `Retry-After` says; one beyond
    ///   [`retry_after_cap`](crate::RetryConfigBuilder::retry_after_cap), which is 5 min, ends the retries: set a
    ///   [`deadline`](crate::RetryConfigBuilder::deadline), or callers may wait as long.
    /// - A failed response is not held during the wait. So that HTTP/1 keeps its connection, what is left of it is
    ///   read, up to 16 KiB within 10 ms of the wait, where its body is hyper's, reqwest's or axum's (features of these
    ///   names). The last one is returned as it is.
    /// - The caller's own deadline, the extension [`Deadline`], is over all attempts: none begins after it.
    /// - A [`deadline`](crate::RetryConfigBuilder::deadline) is over the body of the response, too: one that outlives it
    ///   ends in a [`TimedOut`](super::TimedOut). With limits of time the response is therefore one with a
    ///   [`ResponseBody`](super::ResponseBody), whose errors are boxed.
    /// - Retries carry the extension [`Attempt`].
    ///
    /// The inner service gets [`ReplayBody`] as its body; for one that names its body type see [`body`](Self::body).
    ///
    /// ```
    /// use bytes::Bytes;
    /// use fusebox::{RetryConfig, RetryLayer, backoff, retry::{Attempt, ReplayBody}};
    /// use http::{Request, Response, StatusCode};
    /// use http_body_util::{BodyExt, Full};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// /// Fails at first.
    /// async fn server(request: Request<ReplayBody<Full<Bytes>>>) -> Result<Response<Bytes>, fusebox::BoxError> {
    ///     let attempt = Attempt::of(request.extensions());
    ///     let mut response = Response::new(request.into_body().collect().await?.to_bytes());
    ///     if attempt == Attempt(1) {
    ///         *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    ///     }
    ///     Ok(response)
    /// }
    ///
    /// # tokio_test::block_on(async {
    /// let at_once = RetryConfig::builder().backoff(backoff::fixed(std::time::Duration::ZERO)).build()?;
    /// let client = RetryLayer::http(at_once).layer(service_fn(server));
    /// let put = client.clone().oneshot(Request::put("/prices/7").body(Full::from("12.50"))?).await?;
    /// assert_eq!((put.status().as_u16(), put.into_body()), (200, "12.50".into()));
    /// let post = client.oneshot(Request::post("/orders").body(Full::from("7"))?).await?;
    /// assert_eq!(post.status(), 503, "who knows what a second order would do");
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub const fn http(config: RetryConfig<T>) -> Self {
        let replay = ResendHttp { cap: REPLAY_CAP, rule: Rule::Idempotent, protocol: Protocol::Http, wrap: AsIs };
        Self::with(config, classify::http(), ReplayHttp(replay))
    }
}

impl<C, W, T> RetryLayer<C, ReplayHttp<W>, T> {
    /// Sets how many bytes of a body are recorded. Default: 64 KiB. Zero: only requests without a body are sent again.
    #[must_use]
    pub fn replay_up_to(self, bytes: usize) -> Self {
        self.map_replay(|ReplayHttp(replay)| ReplayHttp(ResendHttp { cap: bytes, ..replay }))
    }

    /// Decides which requests may be sent again. Default: by method or `Idempotency-Key`; for gRPC all of them.
    ///
    /// ```
    /// use fusebox::{RetryConfig, RetryLayer};
    ///
    /// let layer = RetryLayer::http(RetryConfig::default())
    ///     .idempotent_when(|request| request.method.is_safe() || request.uri.path() == "/search");
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn idempotent_when(self, f: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.map_replay(|ReplayHttp(replay)| ReplayHttp(ResendHttp { rule: Rule::Custom(Arc::new(f)), ..replay }))
    }
}

impl<C, T> RetryLayer<C, ReplayHttp, T> {
    /// Makes the body that the inner service takes from the recorded one. Such as `axum::body::Body::new`,
    /// `tonic::body::Body::new`, or `http_body_util::BodyExt::boxed_unsync`.
    #[must_use]
    pub fn body<F, B, O>(self, f: F) -> RetryLayer<C, ReplayHttp<BodyWith<F>>, T>
    where
        B: Body,
        F: Fn(ReplayBody<B>) -> O,
    {
        self.map_replay(|ReplayHttp(ResendHttp { cap, rule, protocol, .. })| {
            ReplayHttp(ResendHttp { cap, rule, protocol, wrap: BodyWith(f) })
        })
    }
}

impl Rule {
    fn is_idempotent(&self, parts: &Parts) -> bool {
        match self {
            Self::Idempotent => is_idempotent(&parts.method, &parts.headers),
            Self::Custom(f) => f(parts),
            #[cfg(feature = "grpc")]
            Self::Any => true,
        }
    }
}

impl Protocol {
    fn stamp(self, parts: &mut Parts, attempt: u32) {
        parts.extensions.insert(Attempt(attempt));
        #[cfg(feature = "grpc")]
        if self == Self::Grpc {
            const PREVIOUS_ATTEMPTS: HeaderName = HeaderName::from_static("grpc-previous-rpc-attempts");
            parts.headers.insert(PREVIOUS_ATTEMPTS, attempt.saturating_sub(1).into());
        }
    }
}

/// What is kept of a request.
pub struct SavedHttp<B: Body> {
    parts: Parts,
    /// None: it has no body.
    body: Option<Recorder<B>>,
    /// The connection that the last attempt went over.
    #[cfg(feature = "hyper")]
    connection: Option<CaptureConnection>,
}

impl<B: Body> fmt::Debug for SavedHttp<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedHttp").field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl<B, W> Resends<Request<B>> for ReplayHttp<W>
where
    B: Body,
    W: WrapBody<B>,
{
    type Replay = ResendHttp<W>;
    type Answers = HttpAnswer;

    fn replay(&self) -> &ResendHttp<W> {
        &self.0
    }
}

impl<B, W> Replay<Request<B>> for ResendHttp<W>
where
    B: Body,
    W: WrapBody<B>,
{
    type Out = Request<W::Body>;
    type Saved = SavedHttp<B>;

    fn first(&self, request: Request<B>) -> (Self::Out, Option<SavedHttp<B>>) {
        let (parts, body) = request.into_parts();
        if body.size_hint().lower() > u64::try_from(self.cap).unwrap_or(u64::MAX) {
            return (Request::from_parts(parts, self.wrap.wrap(ReplayBody::once(body))), None);
        }
        let (body, recorder) = if body.is_end_stream() {
            (ReplayBody::empty(), None)
        } else {
            let (body, recorder) = ReplayBody::recorded(body, self.cap);
            (body, Some(recorder))
        };
        let mut saved = SavedHttp {
            parts: parts.clone(),
            body: recorder,
            #[cfg(feature = "hyper")]
            connection: None,
        };
        let request = self.send(&mut saved, Request::from_parts(parts, self.wrap.wrap(body)));
        (request, Some(saved))
    }

    fn may_repeat(&self, saved: &SavedHttp<B>, after: Retry) -> bool {
        !after.needs_idempotence() || self.rule.is_idempotent(&saved.parts)
    }

    fn change_connection(&self, saved: &mut SavedHttp<B>) {
        #[cfg(feature = "hyper")]
        if let Some(connection) = &saved.connection
            && let Some(connected) = &*connection.connection_metadata()
        {
            connected.poison();
        }
        #[cfg(not(feature = "hyper"))]
        let _ = saved;
    }

    fn again(&self, saved: &mut SavedHttp<B>, attempt: u32) -> Option<Self::Out> {
        let body = match &saved.body {
            Some(recorder) => recorder.again()?,
            None => ReplayBody::empty(),
        };
        let mut parts = saved.parts.clone();
        self.protocol.stamp(&mut parts, attempt);
        Some(self.send(saved, Request::from_parts(parts, self.wrap.wrap(body))))
    }

    fn deadline(&self, request: &Request<B>) -> Option<CallerDeadline> {
        let own = request.extensions().get::<Deadline>().map(|deadline| CallerDeadline::at(deadline.0));
        #[cfg(feature = "grpc")]
        if self.protocol == Protocol::Grpc
            && let Some(timeout) = grpc_timeout::read(request.headers())
        {
            return Some(CallerDeadline::within(timeout).or_sooner(own));
        }
        own
    }

    fn leave(&self, request: &mut Self::Out, left: Duration) {
        #[cfg(feature = "grpc")]
        if self.protocol == Protocol::Grpc {
            grpc_timeout::rewrite(request.headers_mut(), left);
        }
        #[cfg(not(feature = "grpc"))]
        let _ = (request, left);
    }
}

impl<W> ResendHttp<W> {
    /// Marks a request that is about to be sent, so that the connection it goes over is known.
    #[cfg(feature = "hyper")]
    fn send<B: Body, O>(&self, saved: &mut SavedHttp<B>, mut request: Request<O>) -> Request<O> {
        // gRPC has no answer that asks for another connection.
        if self.protocol == Protocol::Http {
            saved.connection = Some(capture_connection(&mut request));
        }
        request
    }

    #[cfg(not(feature = "hyper"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    fn send<B: Body, O>(&self, _saved: &mut SavedHttp<B>, request: Request<O>) -> Request<O> {
        request
    }
}

impl<W> fmt::Debug for ReplayHttp<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayHttp").field("cap", &self.0.cap).finish_non_exhaustive()
    }
}

impl<W> fmt::Debug for ResendHttp<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResendHttp").field("cap", &self.cap).finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for BodyWith<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyWith").finish_non_exhaustive()
    }
}
