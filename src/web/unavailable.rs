//! The answer to a rejected request.

use http::{HeaderValue, Response, StatusCode, header};

use crate::classify::{OwnRejection, retry_after};
use crate::rejected::Rejected;

/// Answers 503 Service Unavailable with an empty body. `Retry-After` is there where it is known when to come back; the
/// function is ready for [`respond_with`](crate::CircuitBreakerLayer::respond_with).
///
/// A breaker or retry further out that judges by [`classify::http`](crate::classify::http) sees that it is no answer of the
/// dependency, and ignores it.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// breaker.trip()?;
/// let response: http::Response<String> = fusebox::web::unavailable(&breaker.acquire().unwrap_err());
/// assert_eq!(response.status(), 503);
/// assert_eq!(response.headers()["retry-after"], "30");
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
/// ```
pub fn unavailable<B: Default>(rejected: &Rejected) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.extensions_mut().insert(OwnRejection(rejected.clone()));
    if let Some(wait) = rejected.retry_after()
        && let Ok(value) = HeaderValue::try_from(retry_after::format(wait))
    {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}
