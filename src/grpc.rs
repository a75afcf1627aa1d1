//! gRPC: the answer to rejected calls.
//!
//! Classification is in [`classify::grpc`](crate::classify::grpc), retries are in [`RetryLayer::grpc`](crate::RetryLayer::grpc), keys in
//! [`key::grpc_method`](crate::key::grpc_method).
//!
//! ```
//! use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, RetryConfig, RetryLayer};
//! use tower::{Layer, ServiceBuilder};
//!
//! fn client<Channel>(channel: Channel) -> impl Sized {
//!     ServiceBuilder::new()
//!         .layer(RetryLayer::grpc(RetryConfig::default()))
//!         .layer(CircuitBreakerLayer::grpc(CircuitBreakerConfig::new("payments")))
//!         .service(channel) // then `PaymentsClient::new(..)` of it
//! }
//! # let _ = client(());
//! ```

use http::Response;

use crate::classify::OwnRejection;
use crate::rejected::Rejected;

/// Answers in the status UNAVAILABLE, with `grpc-retry-pushback-ms` where it is known when to come back: ready for
/// [`respond_with`](crate::CircuitBreakerLayer::respond_with), on servers and clients.
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
