//! HTTP responses by their status.

use std::time::Duration;

use ::http::{Extensions, HeaderMap, Response, StatusCode};

use super::retry_after;
use super::{AtHead, Classify};
use crate::circuit::Outcome;
use crate::clock::wall_clock;

/// Judges HTTP responses by their status.
///
/// | result | outcome |
/// |---|---|
/// | `Err(_)` | failure |
/// | 5xx | failure |
/// | 429 Too Many Requests | failure |
/// | everything else, also other 4xx | success: the dependency answered |
/// | the answer of a breaker further in, made by [`unavailable`](fn@crate::http::unavailable) | ignored: the dependency was not asked |
///
/// A `Retry-After` header of a failure, as seconds or as a date, may lengthen the cooldown of a circuit that it opens, and
/// is the wait before a retry. Every failure is worth a retry but 501 Not Implemented and 505 HTTP Version Not Supported.
///
/// ```
/// use fusebox::{classify, Classify, Outcome};
/// use http::Response;
///
/// let judge = |status| classify::http().classify(&Ok::<_, ()>(Response::builder().status(status).body(()).unwrap()));
/// assert_eq!(judge(503), Outcome::Failure);
/// assert_eq!(judge(404), Outcome::Success);
/// ```
#[must_use]
pub const fn http() -> Http {
    Http {}
}

/// The classifier of [`http()`].
///
/// ```
/// use std::time::Duration;
/// use fusebox::classify::{self, Http};
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Classify, Outcome};
///
/// fn layer(dependency: &str) -> CircuitBreakerLayer<Http> {
///     CircuitBreakerLayer::new(CircuitBreakerConfig::new(dependency)).classify(classify::http())
/// }
/// assert_eq!(&*layer("payments").breaker().name(), "payments");
///
/// let busy = http::Response::builder().status(429).header("retry-after", "60").body(())?;
/// assert_eq!(classify::http().classify(&Ok::<_, ()>(busy)), Outcome::FailureAfter(Duration::from_secs(60)));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Http {}

/// A response that has an HTTP status and headers. For a response type of another crate, which cannot be given this trait
/// here, classify by a closure.
///
/// ```
/// use fusebox::classify::{self, StatusOf};
/// use fusebox::{Classify, Outcome};
/// use http::{HeaderMap, StatusCode};
///
/// /// What our own client returns.
/// struct Answer {
///     status: StatusCode,
///     headers: HeaderMap,
/// }
///
/// impl StatusOf for Answer {
///     fn status(&self) -> StatusCode {
///         self.status
///     }
///     fn headers(&self) -> &HeaderMap {
///         &self.headers
///     }
/// }
/// let answer = Answer { status: StatusCode::BAD_GATEWAY, headers: HeaderMap::new() };
/// assert_eq!(classify::http().classify(&Ok::<_, ()>(answer)), Outcome::Failure);
/// ```
pub trait StatusOf {
    /// Returns the status.
    fn status(&self) -> StatusCode;

    /// Returns the headers.
    fn headers(&self) -> &HeaderMap;

    /// Returns the extensions, if there are any: they tell a breaker's own answer from one of the dependency.
    fn extensions(&self) -> Option<&Extensions> {
        None
    }
}

/// Marks a response that a breaker of this process made instead of a rejection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnRejection;

pub(super) fn is_own_rejection(extensions: &Extensions) -> bool {
    extensions.get::<OwnRejection>().is_some()
}

impl<B> StatusOf for Response<B> {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn extensions(&self) -> Option<&Extensions> {
        Some(self.extensions())
    }
}

#[cfg(feature = "reqwest")]
impl StatusOf for ::reqwest::Response {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn extensions(&self) -> Option<&Extensions> {
        Some(self.extensions())
    }
}

impl<T: StatusOf, E> Classify<T, E> for Http {
    type Scope = AtHead;

    fn classify(&self, result: &Result<T, E>) -> Outcome {
        let Ok(response) = result else {
            return Outcome::Failure;
        };
        let status = response.status();
        if !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS {
            return Outcome::Success;
        }
        if response.extensions().is_some_and(is_own_rejection) {
            return Outcome::Ignored;
        }
        retry_after_of(response.headers()).map_or(Outcome::Failure, Outcome::FailureAfter)
    }

    /// Not where the server cannot do what is asked, and never will: 501, 505.
    fn is_retryable(&self, result: &Result<T, E>) -> bool {
        const NEVER: [StatusCode; 2] = [StatusCode::NOT_IMPLEMENTED, StatusCode::HTTP_VERSION_NOT_SUPPORTED];
        !matches!(result, Ok(response) if NEVER.contains(&response.status()))
    }
}

fn retry_after_of(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(::http::header::RETRY_AFTER)?.to_str().ok()?;
    // A wait of no time asks for nothing.
    retry_after::parse(value, wall_clock()).filter(|wait| !wait.is_zero())
}
