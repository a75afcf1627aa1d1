//! Calls whose time counts from the end of their upload.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use http_body::Body;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::future::ResponseState;
use super::layer::{self, BreakerLayer, CircuitBreakerLayer};
use super::readiness::{GiveBack, KeepsReadiness};
use super::reject::{Boxed, OnReject};
use super::select::{Breakers, One, Select};
use super::service::CircuitBreakerService;
use crate::breaker::{CircuitBreaker, GuardedUpload, Upload, UploadBody, Watch};
use crate::classify::Errors;

impl<C, M, K, R> CircuitBreakerLayer<C, M, K, R> {
    /// Counts the time of a call from the end of its upload. Default: from the call.
    ///
    /// A caller that needs five seconds to send its request makes no slow dependency. With this, a call is as slow as the
    /// head of its response is late after the request's body has ended. Where the head comes sooner, it counts from the
    /// latest piece of the body; while the body itself is waited for, it is the caller's turn, and no time counts. The
    /// same goes for [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after). For how long a probe holds
    /// its place stays as it is.
    ///
    /// `wrap` makes the body that the inner service takes: `axum::body::Body::new`, `tonic::body::Body::new`,
    /// `reqwest::Body::wrap`, `|body| body.boxed_unsync()`, or `|body| body` where it takes any. A body has ended when the
    /// client has taken its last piece (of at most 64 KiB): what the client and the system have in their buffers then,
    /// up to some megabytes, is sent in the dependency's time. reqwest follows no redirect that wants such a body
    /// again (307, 308), as with every stream; a request without a body stays as it is.
    ///
    /// Give it last; [`wait_when_open`](Self::wait_when_open) has no such thing. A breaker for which no rule asks how long
    /// calls take reads no clock for it.
    ///
    /// ```
    /// use axum::body::Body;
    /// use fusebox::{detect, CircuitBreakerConfig, CircuitBreakerLayer, ManualClock};
    /// use http::{Request, Response};
    /// use http_body_util::BodyExt;
    /// use std::time::Duration;
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// # futures::executor::block_on(async {
    /// let clock = ManualClock::new();
    /// let slow = detect::slow_call_rate(0.5).slower_than(Duration::from_secs(1)).of_last(10).min_calls(1);
    /// let config = CircuitBreakerConfig::builder("archive").detector(slow).clock(clock.clone()).build()?;
    /// let layer = CircuitBreakerLayer::http(config).upload(Body::new);
    /// let client = layer.layer(service_fn(|request: Request<Body>| async {
    ///     Ok::<_, fusebox::BoxError>(Response::new(request.into_body().collect().await?.to_bytes()))
    /// }));
    ///
    /// let film = futures::stream::once(async move {
    ///     clock.advance(Duration::from_secs(5)); // the caller's line is slow
    ///     Ok::<_, fusebox::BoxError>("a film")
    /// });
    /// let response = client.oneshot(Request::put("/films/7").body(Body::from_stream(film))?).await?;
    /// assert_eq!(response.into_body(), "a film");
    /// assert!(!layer.breaker().is_open());
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub const fn upload<B, F, O>(self, wrap: F) -> UploadLayer<F, C, M, K, R>
    where
        F: Fn(UploadBody<B>) -> O,
    {
        UploadLayer { breaker: self, wrap }
    }
}

/// Guards services by a breaker that counts from the end of an upload. Made by
/// [`upload`](super::CircuitBreakerLayer::upload).
///
/// ```
/// use axum::body::Body;
/// use fusebox::circuit_breaker::{Boxed, One, ReleasesReadiness, UploadBody, UploadLayer};
/// use fusebox::classify::Http;
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer};
///
/// type ToAxum = fn(UploadBody<Body>) -> Body;
///
/// fn layer() -> UploadLayer<ToAxum, Http, Boxed, One, ReleasesReadiness> {
///     CircuitBreakerLayer::http(CircuitBreakerConfig::new("archive")).upload(Body::new as ToAxum)
/// }
/// assert_eq!(&*layer().breaker().name(), "archive");
/// ```
#[derive(Clone)]
pub struct UploadLayer<F, C = Errors, M = Boxed, K = One, R = KeepsReadiness> {
    breaker: CircuitBreakerLayer<C, M, K, R>,
    wrap: F,
}

impl<F, C, M, R> UploadLayer<F, C, M, One, R> {
    /// Returns the breaker.
    #[must_use]
    pub const fn breaker(&self) -> &CircuitBreaker {
        self.breaker.breaker()
    }
}

impl<F, C, M, K: Breakers, R> BreakerLayer for UploadLayer<F, C, M, K, R> {
    fn one(&self) -> Option<&CircuitBreaker> {
        self.breaker.one()
    }
}

impl<F, C, M, K, R> layer::sealed::Sealed for UploadLayer<F, C, M, K, R> {}

impl<S, F, C, M, K, R> Layer<S> for UploadLayer<F, C, M, K, R>
where
    C: Clone,
    M: Clone,
    K: Clone,
    F: Clone,
{
    type Service = UploadService<S, F, C, M, K, R>;

    fn layer(&self, inner: S) -> Self::Service {
        UploadService { breaker: self.breaker.layer(inner), wrap: self.wrap.clone() }
    }
}

impl<F, C, M, K: fmt::Display, R> fmt::Display for UploadLayer<F, C, M, K, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.breaker.fmt(f)
    }
}

impl<F, C, M, K: fmt::Display, R> fmt::Debug for UploadLayer<F, C, M, K, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadLayer").field("breaker", &format_args!("{}", self.breaker)).finish_non_exhaustive()
    }
}

/// A service behind a breaker that counts from the end of an upload. Made by [`UploadLayer`].
///
/// ```
/// use bytes::Bytes;
/// use fusebox::circuit_breaker::UploadBody;
/// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer};
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{service_fn, Layer, ServiceExt};
///
/// # futures::executor::block_on(async {
/// type Archived = UploadBody<Full<Bytes>>;
///
/// let inner = service_fn(|request: Request<Archived>| async {
///     Ok::<_, BoxError>(Response::new(request.into_body().collect().await?.to_bytes()))
/// });
/// let layer = CircuitBreakerLayer::http(CircuitBreakerConfig::new("archive"));
/// let service = layer.upload(|body: Archived| body).layer(inner);
/// assert_eq!(service.clone().oneshot(Request::new(Full::from("a photo"))).await?.into_body(), "a photo");
/// assert!(!service.breaker().is_open());
/// # Ok::<(), BoxError>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct UploadService<S, F, C = Errors, M = Boxed, K = One, R = KeepsReadiness> {
    breaker: CircuitBreakerService<S, C, M, K, R>,
    wrap: F,
}

impl<S, F, C, M, K, R> UploadService<S, F, C, M, K, R> {
    /// Returns the inner service.
    pub const fn get_ref(&self) -> &S {
        self.breaker.get_ref()
    }

    /// Returns the inner service, to change it.
    pub const fn get_mut(&mut self) -> &mut S {
        self.breaker.get_mut()
    }

    /// Returns the inner service by value.
    pub fn into_inner(self) -> S {
        self.breaker.into_inner()
    }
}

impl<S, F, C, M, R> UploadService<S, F, C, M, One, R> {
    /// Returns the breaker.
    #[must_use]
    pub const fn breaker(&self) -> &CircuitBreaker {
        self.breaker.breaker()
    }
}

impl<S: fmt::Debug, F, C, M, K: Breakers, R> fmt::Debug for UploadService<S, F, C, M, K, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadService").field("inner", self.get_ref()).finish_non_exhaustive()
    }
}

impl<S, F, C, M, K, R, Req> Service<Req> for UploadService<S, F, C, M, K, R>
where
    Req: UploadRequest<F>,
    S: Service<Req::Watched>,
    C: Watch<S::Response, S::Error> + Clone,
    M: OnReject<Req, C::Response, S::Error>,
    K: Select<Req>,
    R: GiveBack<S>,
{
    type Response = C::Response;
    type Error = M::Error;
    type Future = UploadFuture<S::Future, M::Future, C, fn(Req) -> M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.breaker.poll_readiness(cx).map_err(M::error)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let state = match self.breaker.admit(&request) {
            Ok(Some(permit)) => {
                let upload = Upload::of(&permit);
                // If this panics, the permit is dropped while the thread panics, which is a failure.
                let response = self.breaker.get_mut().call(request.watched(upload.clone(), &self.wrap));
                let inner = GuardedUpload::new(response, permit, upload, self.breaker.classifier());
                ResponseState::Guarded { inner }
            }
            Ok(None) => {
                let inner = self.breaker.get_mut().call(request.watched(None, &self.wrap));
                ResponseState::Unguarded { inner }
            }
            Err(rejected) => ResponseState::Rejected { answer: self.breaker.reject(request, rejected) },
        };
        UploadFuture { state, mode: PhantomData }
    }
}

pin_project! {
    /// The response of an [`UploadService`]. Dropping it gives the call up, which counts neither way unless the dependency
    /// has been waited for, with all of the request in its hands, for
    /// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after).
    ///
    /// ```
    /// use bytes::Bytes;
    /// use fusebox::circuit_breaker::{UploadBody, UploadFuture};
    /// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer};
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use tower::{service_fn, Layer, Service, ServiceExt};
    ///
    /// # futures::executor::block_on(async {
    /// let hangs = service_fn(|_| std::future::pending::<Result<Response<Bytes>, BoxError>>());
    /// let layer = CircuitBreakerLayer::http(CircuitBreakerConfig::new("archive"));
    /// let mut service = layer.clone().upload(|body: UploadBody<Full<Bytes>>| body).layer(hangs);
    /// let request = Request::new(Full::from("a photo"));
    /// let response: UploadFuture<_, _, _, _> = ServiceExt::<Request<Full<Bytes>>>::ready(&mut service).await?.call(request);
    /// drop(response); // the user has closed the tab
    /// assert_eq!(layer.breaker().snapshot().detectors[0].tally.count(), 0);
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    pub struct UploadFuture<F, R, C, M> {
        #[pin]
        state: ResponseState<GuardedUpload<F, C>, F, R>,
        mode: PhantomData<M>,
    }
}

impl<F, R, C, M, Req, Res, Err> Future for UploadFuture<F, R, C, fn(Req) -> M>
where
    F: Future<Output = Result<Res, Err>>,
    R: Future<Output = Result<C::Response, M::Error>>,
    C: Watch<Res, Err>,
    M: OnReject<Req, C::Response, Err>,
{
    type Output = Result<C::Response, M::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().state.poll_response::<C, M, Req, Res, Err>(cx)
    }
}

impl<F, R, C, M> fmt::Debug for UploadFuture<F, R, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadFuture").finish_non_exhaustive()
    }
}

/// A request with a body that can be watched: one of `http` or of reqwest. Sealed.
///
/// It is a bound for code that works with both:
///
/// ```
/// use fusebox::circuit_breaker::{UploadLayer, UploadRequest, UploadService};
/// use fusebox::classify::Http;
/// use tower::{Layer, Service};
///
/// fn guard<Req, S, F>(layer: &UploadLayer<F, Http>, client: S) -> UploadService<S, F, Http>
/// where
///     Req: UploadRequest<F>,
///     S: Service<Req::Watched>,
///     F: Clone,
/// {
///     layer.layer(client)
/// }
/// # type ToReqwest = fn(fusebox::circuit_breaker::UploadBody<reqwest::Body>) -> reqwest::Body;
/// # let _ = guard::<reqwest::Request, reqwest::Client, ToReqwest>;
/// ```
#[diagnostic::on_unimplemented(
    message = "the upload of `{Self}` cannot be watched by `{F}`",
    note = "`.upload(wrap)` is for `http::Request<B>` with `B: Body` and for `reqwest::Request`; `wrap` takes an `UploadBody<B>`, and returns the body that the inner service takes, such as `axum::body::Body::new`"
)]
pub trait UploadRequest<F>: sealed::Sealed {
    /// The request as the inner service gets it.
    type Watched;

    #[doc(hidden)]
    fn watched(self, upload: Option<Arc<Upload>>, wrap: &F) -> Self::Watched;
}

impl<B, F, O> UploadRequest<F> for Request<B>
where
    B: Body,
    F: Fn(UploadBody<B>) -> O,
{
    type Watched = Request<O>;

    fn watched(self, upload: Option<Arc<Upload>>, wrap: &F) -> Request<O> {
        self.map(|body| wrap(UploadBody::new(body, upload)))
    }
}

#[cfg(feature = "reqwest")]
impl<F> UploadRequest<F> for reqwest::Request
where
    F: Fn(UploadBody<reqwest::Body>) -> reqwest::Body,
{
    type Watched = Self;

    fn watched(mut self, upload: Option<Arc<Upload>>, wrap: &F) -> Self {
        if let Some(body) = self.body_mut().take() {
            *self.body_mut() = Some(wrap(UploadBody::new(body, upload)));
        }
        self
    }
}

mod sealed {
    pub trait Sealed {}
    impl<B> Sealed for http::Request<B> {}
    #[cfg(feature = "reqwest")]
    impl Sealed for reqwest::Request {}
}
