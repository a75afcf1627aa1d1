//! Several policies as one layer.

mod boxed_errors;
mod builder;
mod call;
mod client;
mod net;
mod presets;

pub use boxed_errors::{BoxedErrors, BoxedErrorsFuture};
pub use builder::{No, SafetyNetBuilder, Yes};
pub use call::{CallFuture, Op};
pub use client::RetryOverBreaker;
pub use net::SafetyNet;
pub use presets::Database;
#[cfg(feature = "grpc")]
pub use presets::GrpcClient;
#[cfg(feature = "http")]
pub use presets::HttpClient;
#[cfg(feature = "reqwest")]
pub use presets::ReqwestClient;
