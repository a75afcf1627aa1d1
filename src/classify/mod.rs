//! What counts as a failure.

mod contract;
mod errors;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
pub(crate) mod retry_after;

pub use contract::{AtHead, Classify, Scope};
pub use errors::{AllErrors, Errors, Except, ExceptSource, errors};
#[cfg(feature = "http")]
pub use http::{Http, StatusOf, http};
