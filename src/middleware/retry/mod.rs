//! Retrying as a Tower layer.
//!
//! [`RetryLayer`] is where to begin; the other types are what its methods make and what its configuration is of, here to
//! be written down in signatures and fields.

mod call;
#[cfg(feature = "http")]
mod deadline;
mod future;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "grpc")]
mod grpc_timeout;
#[cfg(feature = "http")]
mod http;
mod layer;
#[cfg(feature = "http")]
mod methods;
mod readiness;
mod replay;
#[cfg(feature = "http")]
mod replay_body;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "reqwest")]
mod reqwest_answer;
#[cfg(feature = "http")]
mod response_body;
mod service;

pub use crate::attempts::{
    Budget, MapTimeout, OnTimeout, RetryConfig, RetryConfigBuilder, RetryCounts, RetryEvent, RetryEventKind,
    RetryStats, StopReason, TimeLimit, Timed, TimedOut, Timeouts, Untimed, WhenRejected,
};
pub use crate::explanation::Explanation;
pub use call::CallFuture;
#[cfg(feature = "http")]
pub use deadline::Deadline;
pub use future::{Resend, ResponseFuture};
#[cfg(feature = "grpc")]
pub use grpc::ReplayGrpc;
#[cfg(feature = "http")]
pub use http::{AsIs, Attempt, BodyWith, ReplayHttp, SavedHttp, WrapBody};
pub use layer::RetryLayer;
pub use replay::{CloneWith, Cloned, Replay};
#[cfg(feature = "http")]
pub use replay_body::ReplayBody;
#[cfg(feature = "reqwest")]
pub use reqwest::CloneReqwest;
#[cfg(feature = "http")]
pub use response_body::ResponseBody;
pub use service::RetryService;
