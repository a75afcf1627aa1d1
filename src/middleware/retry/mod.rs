//! Retrying as a Tower layer.
//!
//! [`RetryLayer`] is where to begin; the other types are what its methods make and what its configuration is of, here to
//! be written down in signatures and fields.

mod call;
mod future;
mod layer;
mod replay;
mod service;

pub use crate::attempts::{
    Budget, MapTimeout, OnTimeout, RetryConfig, RetryConfigBuilder, RetryCounts, RetryEvent, RetryEventKind,
    RetryStats, StopReason, TimeLimit, Timed, TimedOut, Timeouts, Untimed, WhenRejected,
};
pub use future::ResponseFuture;
pub use layer::RetryLayer;
pub use replay::{CloneWith, Cloned, Replay};
pub use service::RetryService;
