//! The answer of a layer to a rejected call.

use http::Response;

use crate::classify::OwnRejection;
use crate::rejected::Rejected;

/// Answers in the status UNAVAILABLE, with pushback where that is known. `grpc-retry-pushback-ms` says when to come
/// back; the function is ready for [`respond_with`](crate::CircuitBreakerLayer::respond_with), on servers and clients.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock};
///
/// let config = CircuitBreakerConfig::builder("payments").clock(ManualClock::new()).build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.trip()?;
/// let response: http::Response<String> = fusebox::grpc::unavailable(&breaker.acquire().unwrap_err());
/// assert_eq!(response.headers()["grpc-status"], "14");
/// assert_eq!(response.headers()["grpc-retry-pushback-ms"], "30000");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unavailable<B: Default>(rejected: &Rejected) -> Response<B> {
    let mut response = rejected.status().clone().into_http();
    response.extensions_mut().insert(OwnRejection(rejected.clone()));
    response
}
