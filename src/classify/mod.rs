//! What counts as a failure.
//!
//! Every `Err`, unless you say otherwise: with [`errors`] less some of them, with `http` for HTTP responses, or with a
//! closure that looks at the result.
//!
//! ```
//! use fusebox::{CircuitBreaker, CircuitBreakerConfig, Outcome};
//!
//! let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("stock"));
//! let calls = breaker.classify(|result: &Result<u32, std::io::Error>| match result {
//!     Ok(0) => Outcome::Failure, // it says zero when it does not know
//!     Ok(_) => Outcome::Success,
//!     Err(_) => Outcome::Failure,
//! });
//! assert_eq!(calls.call_blocking(|| Ok(0)).unwrap(), 0);
//! assert_eq!(breaker.snapshot().detectors[0].tally.to_string(), "1 failure");
//! ```

#[cfg(feature = "http")]
mod body_end;
mod contract;
#[cfg(feature = "http")]
mod covers;
mod errors;
mod excluded;
mod fault;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "http")]
mod http;
#[cfg(all(feature = "http", any(feature = "hyper", feature = "axum")))]
mod leftover;
mod outcomes;
mod rejections;
mod retry;
#[cfg(feature = "http")]
pub(crate) mod retry_after;
#[cfg(feature = "http")]
mod status;
#[cfg(feature = "http")]
mod web_trailers;

#[cfg(feature = "http")]
pub use contract::{AtEnd, ClassifyEnd};
pub use contract::{AtHead, Classify, Scope};
pub(crate) use contract::{Borrowed, Leftover};
pub use errors::{Errors, errors};
pub use excluded::{AllErrors, Except, ExceptSource, Excluded};
#[cfg(feature = "grpc")]
pub use grpc::{Grpc, grpc};
#[cfg(feature = "http")]
pub use http::{Http, StatusOf, http};
pub use outcomes::Outcomes;
pub use rejections::Rejections;
pub use retry::Retry;

#[cfg(feature = "http")]
pub(crate) use body_end::{BodyEnd, EndFinder};
#[cfg(feature = "http")]
pub(crate) use covers::note_cover;
#[cfg(feature = "http")]
pub(crate) use http::OwnRejection;
#[cfg(feature = "serde")]
pub(crate) use outcomes::{CLASSES, CODES, ERRORS};
