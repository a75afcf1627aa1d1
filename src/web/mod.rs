//! HTTP: answers to rejected requests.
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

mod unavailable;

pub use unavailable::unavailable;
