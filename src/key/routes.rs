//! Keys by what a server does with a request.

use http::Request;

/// Finds the route that axum matched, such as `/users/{id}`. It makes one breaker per route, however many users. For
/// layers of an axum `Router`.
///
/// Axum matches no route for a `nest_service` and for a `fallback`: their requests share one breaker, named
/// [`UNMATCHED`], of which the event [`FallbackKeyUsed`](crate::EventKind::FallbackKeyUsed) tells when it comes to be.
/// [`matched_path_or`] names it otherwise. A layer put in by `route_layer` leaves fallbacks out.
///
/// ```
/// use axum::{Router, body::Body, routing::get};
/// use fusebox::{key, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
/// use tower::ServiceExt;
///
/// # futures::executor::block_on(async {
/// let registry = Registry::new(|route| CircuitBreakerConfig::builder(route).build());
/// let breakers = CircuitBreakerLayer::keyed_by(registry.clone(), key::matched_path())
///     .respond_with(fusebox::web::unavailable);
/// let app = Router::<()>::new().route("/users/{id}", get(|| async { "ana" })).layer(breakers);
///
/// app.oneshot(http::Request::get("/users/7").body(Body::empty())?).await?;
/// assert!(registry.get("/users/{id}").is_some());
/// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
/// ```
#[cfg(feature = "axum")]
pub fn matched_path<B>() -> impl Fn(&Request<B>) -> Option<&str> + Copy + Send + Sync {
    matched_path_or(UNMATCHED)
}

/// As [`matched_path`], with a name for requests for which axum has matched no route.
///
/// ```
/// use axum::{Router, body::Body, routing::get};
/// use fusebox::{key, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
/// use tower::ServiceExt;
///
/// # futures::executor::block_on(async {
/// let registry = Registry::new(|route| CircuitBreakerConfig::builder(route).build());
/// let breakers = CircuitBreakerLayer::keyed_by(registry.clone(), key::matched_path_or("pages"))
///     .respond_with(fusebox::web::unavailable);
/// let pages = get(|| async { "a page" });
/// let app = Router::<()>::new().nest_service("/pages", pages).layer(breakers);
///
/// app.oneshot(http::Request::get("/pages/about").body(Body::empty())?).await?;
/// assert!(registry.get("pages").is_some());
/// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
/// ```
#[cfg(feature = "axum")]
pub fn matched_path_or<B>(name: &'static str) -> impl Fn(&Request<B>) -> Option<&str> + Copy + Send + Sync {
    move |request| {
        let matched = request.extensions().get::<axum::extract::MatchedPath>();
        Some(matched.map_or(name, axum::extract::MatchedPath::as_str))
    }
}

/// The breaker's name where axum has matched no route: `(unmatched)`.
///
/// ```
/// assert_eq!(fusebox::key::UNMATCHED, "(unmatched)");
/// ```
#[cfg(feature = "axum")]
pub const UNMATCHED: &str = super::contract::NO_ROUTE;

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
