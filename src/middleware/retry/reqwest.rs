//! Retries around reqwest's client.

use reqwest::Request;

use super::http::is_idempotent;
use super::layer::RetryLayer;
use super::replay::CloneWith;
use crate::attempts::RetryConfig;
use crate::classify::{self, Http};

/// How reqwest's requests are sent again.
pub type CloneReqwest = CloneWith<fn(&Request) -> Option<Request>>;

impl<T> RetryLayer<Http, CloneReqwest, T> {
    /// Retries requests of a [`reqwest::Client`], which is a Tower service: those that are safe to repeat, by
    /// [`classify::http`](crate::classify::http).
    ///
    /// Sent again are requests whose method is idempotent and those with an `Idempotency-Key`, unless their body is a
    /// stream, which reqwest cannot clone; those are sent once. `Retry-After` is heeded as by [`http`](Self::http).
    ///
    /// ```
    /// use fusebox::{RetryConfig, RetryLayer};
    /// use tower::{Layer, ServiceExt};
    ///
    /// # async fn get() -> Result<(), fusebox::BoxError> {
    /// let client = RetryLayer::reqwest(RetryConfig::default()).layer(reqwest::Client::new());
    /// let request = reqwest::Request::new(reqwest::Method::GET, "http://api.example/prices".parse()?);
    /// let response = client.oneshot(request).await?;
    /// assert!(response.status().is_success());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn reqwest(config: RetryConfig<T>) -> Self {
        let clone: fn(&Request) -> Option<Request> = clone;
        Self::with(config, classify::http(), CloneWith(clone))
    }
}

fn clone(request: &Request) -> Option<Request> {
    is_idempotent(request.method(), request.headers()).then(|| request.try_clone())?
}
