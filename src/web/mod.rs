//! HTTP: answers to rejected requests.
//!
//! [`unavailable`] is the answer of a layer, on clients and servers; [`response_of`] that of a handler whose own call was
//! rejected. [`health`](fn@health) answers a load balancer. With the feature `axum`, [`Rejected`](crate::Rejected), [`CallError`](crate::CallError) and
//! [`TimedOut`](crate::retry::TimedOut) are answers themselves, so that a handler can return them:
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! use axum::http::StatusCode;
//! use axum::response::IntoResponse;
//! use fusebox::{CallError, CircuitBreaker, CircuitBreakerConfig};
//!
//! async fn price(breaker: &CircuitBreaker) -> Result<String, CallError<StatusCode>> {
//!     breaker.call(|| async { Err(StatusCode::BAD_GATEWAY) }).await // as if from a dependency
//! }
//!
//! # futures::executor::block_on(async {
//! let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("prices"));
//! assert_eq!(price(&breaker).await.into_response().status(), StatusCode::BAD_GATEWAY);
//! breaker.trip()?;
//! let response = price(&breaker).await.into_response();
//! assert_eq!((response.status(), &response.headers()["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"30".parse()?));
//! # Ok::<(), fusebox::BoxError>(()) }).unwrap();
//! # }
//! ```
//!
//! A layer:
//!
//! ```
//! use std::convert::Infallible;
//! use fusebox::{classify, key, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
//! use http::{Request, Response, StatusCode};
//! use tower::{service_fn, Layer, ServiceExt};
//!
//! # futures::executor::block_on(async {
//! let registry = Registry::new(|host| CircuitBreakerConfig::builder(host).build());
//! let client = CircuitBreakerLayer::keyed_by(registry.clone(), key::host())
//!     .classify(classify::http())
//!     .respond_with(fusebox::web::unavailable)
//!     .layer(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(String::from("hello"))) }));
//!
//! registry.breaker("api.example")?.trip()?;
//! let response = client.oneshot(Request::get("https://api.example/").body(())?).await?;
//! assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
//! # Ok::<(), fusebox::BoxError>(()) }).unwrap();
//! ```

#[cfg(feature = "axum")]
mod axum;
mod health;
mod response;
mod unavailable;

pub use health::health;
pub use response::response_of;
pub use unavailable::unavailable;
