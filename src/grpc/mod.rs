//! gRPC: answers to rejected calls.
//!
//! [`unavailable`] is the answer of a layer, on clients and servers; [`status_of`] that of a handler whose own call was
//! rejected.
//!
//! Classification is in [`classify::grpc`](crate::classify::grpc), retries are in
//! [`RetryLayer::grpc`](crate::RetryLayer::grpc), keys in [`key::grpc_method`](crate::key::grpc_method).
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

mod status;
mod unavailable;

pub use status::status_of;
pub use unavailable::unavailable;
