//! Keys by what a server does with a request.

use http::Request;

/// The route that axum matched, such as `/users/{id}`: one breaker per route, however many users. For layers of an axum
/// `Router`.
///
/// ```
/// use axum::{Router, body::Body, routing::get};
/// use fusebox::{key, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
/// use tower::ServiceExt;
///
/// # futures::executor::block_on(async {
/// let registry = Registry::new(|route| CircuitBreakerConfig::builder(route).build());
/// let breakers = CircuitBreakerLayer::keyed_by(registry.clone(), key::matched_path())
///     .respond_with(fusebox::http::unavailable);
/// let app = Router::<()>::new().route("/users/{id}", get(|| async { "ana" })).layer(breakers);
///
/// app.oneshot(http::Request::get("/users/7").body(Body::empty())?).await?;
/// assert!(registry.get("/users/{id}").is_some());
/// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
/// ```
#[cfg(feature = "axum")]
pub fn matched_path<B>() -> impl Fn(&Request<B>) -> Option<&str> + Copy + Send + Sync {
    |request| request.extensions().get::<axum::extract::MatchedPath>().map(axum::extract::MatchedPath::as_str)
}

/// The method of a gRPC call, such as `shop.Payments/Charge`. For clients and servers.
///
/// ```
/// use fusebox::key;
///
/// let request = http::Request::post("https://api.example/shop.Payments/Charge").body(())?;
/// assert_eq!(key::grpc_method()(&request), Some("shop.Payments/Charge"));
/// # Ok::<(), http::Error>(())
/// ```
#[cfg(feature = "grpc")]
pub fn grpc_method<B>() -> impl Fn(&Request<B>) -> Option<&str> + Copy + Send + Sync {
    |request| request.uri().path().strip_prefix('/').filter(|method| method.contains('/'))
}
