//! Errors of this crate as responses.

use std::error::Error;

use http::{Response, StatusCode};

use super::unavailable::unavailable;
use crate::attempts::TimedOut;
use crate::error_chain::sources;
use crate::rejected::rejection;

/// Makes a response of an error that a breaker or a retry of this crate made. It is for handlers that call others.
///
/// A [`Rejected`](crate::Rejected) anywhere among the error's sources is 503 with `Retry-After`, as [`unavailable`] has
/// it; a [`TimedOut`] is 504. `None`: it is neither, and so something that the dependency said, or that went wrong on
/// the way to it.
///
/// Ask it before the error's variants are told apart. A rejection is not always where it is looked for: a generated
/// gRPC client has it within a `tonic::Status`, reqwest's within a `reqwest::Error`, where it would become a 502 with
/// all the rest.
///
/// ```
/// use fusebox::{BoxError, CircuitBreaker, CircuitBreakerConfig, web};
/// use http::{Response, StatusCode};
///
/// /// What a gateway answers when its call of a dependency has failed.
/// fn to_response(error: &BoxError) -> Response<String> {
///     web::response_of(&**error).unwrap_or_else(|| {
///         let mut bad_gateway = Response::default();
///         *bad_gateway.status_mut() = StatusCode::BAD_GATEWAY;
///         bad_gateway
///     })
/// }
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("warehouse"));
/// breaker.trip()?;
/// let rejected = breaker.acquire().unwrap_err();
/// let within: BoxError = std::io::Error::other(rejected).into(); // or a `tonic::Status`, or an enum of your own
/// assert_eq!(to_response(&within).status(), 503);
/// assert_eq!(to_response(&within).headers()["retry-after"], "30");
/// assert_eq!(to_response(&"on fire".into()).status(), 502);
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
/// ```
#[must_use]
pub fn response_of<B: Default>(error: &(dyn Error + 'static)) -> Option<Response<B>> {
    if let Some(rejected) = rejection(error) {
        return Some(unavailable(rejected));
    }
    sources(error).any(|error| error.is::<TimedOut>()).then(too_late)
}

/// 504 with an empty body.
pub(super) fn too_late<B: Default>() -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response
}
