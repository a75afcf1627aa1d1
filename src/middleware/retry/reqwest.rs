//! Retries around reqwest's client.

use std::time::Duration;

use reqwest::Request;

use super::layer::RetryLayer;
use super::methods::is_idempotent;
use super::replay::{Replay, Resends};
use super::reqwest_answer::ReqwestAnswer;
use crate::attempts::{CallerDeadline, RetryConfig};
use crate::classify::{self, Http, Retry};

/// How reqwest's requests are sent again: cloned, unless their body is a stream. Made by [`RetryLayer::reqwest`].
///
/// ```
/// use fusebox::classify::Http;
/// use fusebox::{RetryConfig, RetryLayer, retry::CloneReqwest};
///
/// fn layer() -> RetryLayer<Http, CloneReqwest> {
///     RetryLayer::reqwest(RetryConfig::default())
/// }
/// # let _ = layer();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneReqwest(ResendReqwest);

/// The part of it that is a [`Replay`].
#[derive(Clone, Copy, Debug, Default)]
#[doc(hidden)]
pub struct ResendReqwest {
    /// An error is about the request itself, and not one that it has led to.
    has_no_redirects: bool,
}

impl<T> RetryLayer<Http, CloneReqwest, T> {
    /// Retries requests of a [`reqwest::Client`] that are safe to repeat. The client is a Tower service; the retry goes
    /// by [`classify::http`](crate::classify::http).
    ///
    /// Sent again are requests whose method is idempotent and those with an `Idempotency-Key`, unless their body is a
    /// stream, which reqwest cannot clone: those are sent once. `Retry-After` is heeded as by [`http`](Self::http). For
    /// others, which the server certainly did not process, see [`without_redirects`](Self::without_redirects).
    ///
    /// The [`timeout`](reqwest::RequestBuilder::timeout) of a request is the caller's own deadline, over all attempts: each
    /// further one has what is left, and none begins after it. It counts until the last response's body has ended, as
    /// without retries. That of the client is for each attempt, as is
    /// [`attempt_timeout`](crate::RetryConfigBuilder::attempt_timeout).
    ///
    /// A [`deadline`](crate::RetryConfigBuilder::deadline) is over the body of the response, too: one that outlives it
    /// ends in an error whose chain of sources has a [`TimedOut`](super::TimedOut).
    ///
    /// reqwest sends some requests again by itself, up to twice, when a connection of HTTP/2 refuses them. To have one
    /// rule, and one count, build the client with [`retry(reqwest::retry::never())`](reqwest::ClientBuilder::retry).
    ///
    /// ```
    /// use fusebox::{RetryConfig, RetryLayer};
    /// use tower::{Layer, ServiceExt};
    ///
    /// # async fn get() -> Result<(), fusebox::BoxError> {
    /// let client = reqwest::Client::builder().retry(reqwest::retry::never()).build()?;
    /// let client = RetryLayer::reqwest(RetryConfig::default()).layer(client);
    /// let request = reqwest::Request::new(reqwest::Method::GET, "http://api.example/prices".parse()?);
    /// let response = client.oneshot(request).await?;
    /// assert!(response.status().is_success());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn reqwest(config: RetryConfig<T>) -> Self {
        Self::with(config, classify::http(), CloneReqwest(ResendReqwest { has_no_redirects: false }))
    }
}

impl<C, T> RetryLayer<C, CloneReqwest, T> {
    /// Tells that the client follows no redirects. Then requests that the server certainly did not process (the
    /// connection was refused, HTTP/2 refused the stream) are sent again whatever their method.
    ///
    /// reqwest follows redirects unless it is built otherwise, and its errors do not tell whether it has: a connection
    /// that was refused may be that of the page to which an order has led (303 See Other), and the order must not be
    /// sent twice.
    ///
    /// ```
    /// use fusebox::{RetryConfig, RetryLayer};
    /// use reqwest::{Client, redirect, retry};
    ///
    /// let client = Client::builder().redirect(redirect::Policy::none()).retry(retry::never()).build()?;
    /// let layer = RetryLayer::reqwest(RetryConfig::default()).without_redirects();
    /// # let _ = (client, layer);
    /// # Ok::<(), reqwest::Error>(())
    /// ```
    #[must_use]
    pub fn without_redirects(self) -> Self {
        self.map_replay(|_| CloneReqwest(ResendReqwest { has_no_redirects: true }))
    }
}

impl Resends<Request> for CloneReqwest {
    type Replay = ResendReqwest;
    type Answers = ReqwestAnswer;

    fn replay(&self) -> &ResendReqwest {
        &self.0
    }
}

impl Replay<Request> for ResendReqwest {
    type Out = Request;
    type Saved = Request;

    fn first(&self, request: Request) -> (Request, Option<Request>) {
        let saved = request.try_clone();
        (request, saved)
    }

    fn may_repeat(&self, saved: &Request, after: Retry) -> bool {
        let was_not_processed = self.has_no_redirects && !after.needs_idempotence();
        was_not_processed || is_idempotent(saved.method(), saved.headers())
    }

    fn again(&self, saved: &mut Request, _attempt: u32) -> Option<Request> {
        saved.try_clone()
    }

    fn deadline(&self, request: &Request) -> Option<CallerDeadline> {
        request.timeout().copied().map(CallerDeadline::within)
    }

    fn leave(&self, request: &mut Request, left: Duration) {
        *request.timeout_mut() = Some(left);
    }
}
