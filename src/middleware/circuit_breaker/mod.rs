//! The circuit breaker as a Tower layer.

mod future;
mod layer;
mod reject;
mod select;
mod service;
mod wait;

pub use future::ResponseFuture;
pub use layer::CircuitBreakerLayer;
pub use reject::{Boxed, Fallback, MapRejection, OnReject, RespondWith};
pub use select::{By, ByOwned, One, Select};
pub use service::CircuitBreakerService;
pub use wait::{WaitFuture, WaitLayer, WaitService};
