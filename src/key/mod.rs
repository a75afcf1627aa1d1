//! Keys, which tell a keyed layer which breaker a request belongs to.
//!
//! A closure that borrows the name from the request is one; [`Key`] is for keys that are put together only where they must
//! be. With the features `http`, `axum` and `grpc` there are ready-made ones:
//!
//! | key | of | feature |
//! |---|---|---|
//! | `authority()` | a client's host and port | `http`; with `reqwest` also for its requests |
//! | `host()` | a client's host, whatever the port | the same |
//! | `matched_path()` | axum's matched route; `matched_path_or(..)` names the rest | `axum` |
//! | `grpc_method()` | a gRPC call's service and method | `grpc` |
//!
//! ```
//! use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
//! use tower::{service_fn, Layer, ServiceExt};
//!
//! struct Order { tenant: String }
//!
//! /// Tenants write their names as they like.
//! #[derive(Clone)]
//! struct Tenant;
//!
//! impl fusebox::key::Key<Order> for Tenant {
//!     fn key<'a>(&self, order: &'a Order) -> Option<std::borrow::Cow<'a, str>> {
//!         Some(order.tenant.to_lowercase().into())
//!     }
//! }
//!
//! # futures::executor::block_on(async {
//! let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
//! let layer = CircuitBreakerLayer::keyed_by(registry.clone(), Tenant);
//! for tenant in ["acme", "ACME"] {
//!     let service = layer.layer(service_fn(|_: Order| async { Ok::<_, BoxError>("done") }));
//!     service.oneshot(Order { tenant: tenant.into() }).await?;
//! }
//! assert_eq!(registry.len(), 1);
//! # Ok::<(), BoxError>(()) }).unwrap();
//! ```

mod contract;
#[cfg(feature = "http")]
mod hosts;
#[cfg(any(feature = "axum", feature = "grpc"))]
mod routes;

pub use contract::Key;
pub(crate) use contract::is_unmatched;
#[cfg(feature = "http")]
pub use hosts::{Authority, Host, authority, host};
#[cfg(feature = "grpc")]
pub use routes::grpc_method;
#[cfg(feature = "axum")]
pub use routes::{UNMATCHED, matched_path, matched_path_or};
