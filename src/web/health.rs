//! The answer to a question of health.

use http::{HeaderValue, Response, StatusCode, header};

use crate::health::Report;

/// Answers 200 OK, or 503 Service Unavailable where the instance is [`Down`](crate::health::Status::Down), with the
/// [report as JSON](Report::to_json). Nothing on the way may keep it.
///
/// The body names breakers, hosts that registries have as keys, and stores: it belongs on a port that strangers cannot
/// reach.
///
/// ```
/// use fusebox::health::Health;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, web};
///
/// let ready = Health::process().critical(["database"]);
/// let answer = || web::health::<String>(&ready.check());
///
/// let search = CircuitBreaker::new(CircuitBreakerConfig::new("search"));
/// search.trip()?;
/// assert_eq!(answer().status(), 200, "to send requests elsewhere would not help");
/// assert!(answer().body().contains(r#""status": "degraded""#));
///
/// let database = CircuitBreaker::new(CircuitBreakerConfig::new("database"));
/// database.trip()?;
/// assert_eq!(answer().status(), 503);
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
/// ```
#[must_use]
pub fn health<B: From<String>>(report: &Report) -> Response<B> {
    let mut response = Response::new(B::from(report.to_json()));
    if !report.status.is_fit() {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
