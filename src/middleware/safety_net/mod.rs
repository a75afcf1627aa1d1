//! Several policies as one layer.

mod builder;
mod call;
mod net;
mod presets;

pub use builder::{No, SafetyNetBuilder, Yes};
pub use call::{CallFuture, Op};
pub use net::SafetyNet;
pub use presets::Database;
#[cfg(feature = "grpc")]
pub use presets::GrpcClient;
#[cfg(feature = "http")]
pub use presets::HttpClient;
