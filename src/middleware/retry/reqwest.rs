//! Retries around reqwest's client.

use reqwest::Request;

use super::http::is_idempotent;
use super::layer::RetryLayer;
use super::replay::Replay;
use crate::attempts::RetryConfig;
use crate::classify::{self, Http};

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
#[non_exhaustive]
pub struct CloneReqwest;

impl<T> RetryLayer<Http, CloneReqwest, T> {
    /// Retries requests of a [`reqwest::Client`], which is a Tower service: those that are safe to repeat, by
    /// [`classify::http`](crate::classify::http).
    ///
    /// Sent again are requests whose method is idempotent, those with an `Idempotency-Key`, and any other that the server
    /// certainly did not process; unless their body is a stream, which reqwest cannot clone: those are sent once.
    /// `Retry-After` is heeded as by [`http`](Self::http).
    ///
    /// reqwest sends some requests again by itself, up to twice, when a connection of HTTP/2 refuses them. To have one rule, and
    /// one count, build the client with [`retry(reqwest::retry::never())`](reqwest::ClientBuilder::retry).
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
        Self::with(config, classify::http(), CloneReqwest)
    }
}

impl Replay<Request> for CloneReqwest {
    type Out = Request;
    type Saved = Request;

    fn first(&self, request: Request) -> (Request, Option<Request>) {
        let saved = request.try_clone();
        (request, saved)
    }

    fn is_idempotent(&self, saved: &Request) -> bool {
        is_idempotent(saved.method(), saved.headers())
    }

    fn again(&self, saved: &mut Request, _attempt: u32) -> Option<Request> {
        saved.try_clone()
    }
}
