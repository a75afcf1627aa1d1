//! An answer of last resort as a Tower layer.
//!
//! [`FallbackLayer`] is where to begin; the other types are what its methods make, here to be written down in signatures and
//! fields.

mod future;
mod layer;
mod replace;
mod service;

pub use future::ResponseFuture;
pub use layer::FallbackLayer;
pub use replace::{OnError, OnErrorOf, OnFailure, Replace};
pub use service::FallbackService;
