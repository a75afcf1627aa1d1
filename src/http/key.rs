//! Keys for [`CircuitBreakerLayer::keyed`](crate::CircuitBreakerLayer::keyed), taken from requests.
//!
//! ```
//! use fusebox::{key, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
//!
//! let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
//! let by_host = CircuitBreakerLayer::keyed(registry, key::authority::<String>());
//! # let _ = by_host;
//! let request = http::Request::get("https://api.example/prices").body(String::new())?;
//! assert_eq!(key::authority()(&request), Some("api.example"));
//! # Ok::<(), http::Error>(())
//! ```

use http::{Request, header};

/// Host and port the request goes to: from its URI, else from the `Host` header. For clients.
///
/// ```
/// use fusebox::key;
///
/// let request = http::Request::get("https://ana:secret@api.example:8443/prices").body(())?;
/// assert_eq!(key::authority()(&request), Some("api.example:8443"), "no user, no password");
/// # Ok::<(), http::Error>(())
/// ```
pub fn authority<B>() -> impl Fn(&Request<B>) -> Option<&str> + Copy + Send + Sync {
    |request| {
        let authority = match request.uri().authority() {
            Some(authority) => authority.as_str(),
            None => request.headers().get(header::HOST)?.to_str().ok()?,
        };
        // A user and password must not become a breaker's name.
        authority.rsplit('@').next().filter(|host| !host.is_empty())
    }
}

/// Host the request goes to, without the port: from its URI, else from the `Host` header. For clients.
///
/// ```
/// use fusebox::key;
///
/// let request = http::Request::get("https://api.example:8443/prices").body(())?;
/// assert_eq!(key::host()(&request), Some("api.example"));
/// let relative = http::Request::get("/prices").body(())?;
/// assert_eq!(key::host()(&relative), None, "then the call is not guarded");
/// # Ok::<(), http::Error>(())
/// ```
pub fn host<B>() -> impl Fn(&Request<B>) -> Option<&str> + Copy + Send + Sync {
    |request| {
        let authority = authority()(request)?;
        let end = match authority.rfind(']') {
            Some(bracket) => bracket + 1,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        Some(&authority[..end]).filter(|host| !host.is_empty())
    }
}

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
/// let breakers = CircuitBreakerLayer::keyed(registry.clone(), key::matched_path())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, host: Option<&str>) -> Request<()> {
        let mut builder = Request::builder().uri(uri);
        if let Some(host) = host {
            builder = builder.header(header::HOST, host);
        }
        builder.body(()).expect("a request")
    }

    #[test]
    fn keys_name_the_host_and_never_a_password() {
        let cases = [
            ("http://api.example:8080/x", None, Some("api.example:8080"), Some("api.example")),
            ("http://ana:secret@api.example/x", None, Some("api.example"), Some("api.example")),
            ("http://[::1]:80/x", None, Some("[::1]:80"), Some("[::1]")),
            ("/x", Some("api.example:1"), Some("api.example:1"), Some("api.example")),
            ("/x", None, None, None),
        ];
        for (uri, header, full, bare) in cases {
            let request = request(uri, header);
            assert_eq!(authority()(&request), full, "{uri}");
            assert_eq!(host()(&request), bare, "{uri}");
        }
    }
}
