//! Who failed, by the errors that clients return.
//!
//! `walk` asks each link of an error's chain; there is one file for each crate whose errors are known.

#[cfg(feature = "hyper")]
mod h2;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "hyper")]
mod hyper_util;
mod meaning;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "postgres")]
mod sqlx;
#[cfg(any(feature = "hyper", feature = "redis-tls", feature = "postgres-tls"))]
mod tls;
#[cfg(feature = "grpc")]
mod tonic;
#[cfg(feature = "tower")]
mod tower;
mod walk;

pub(super) use meaning::Fault;
pub(super) use walk::fault_in;
#[cfg(feature = "grpc")]
pub(super) use walk::fault_of_status;
