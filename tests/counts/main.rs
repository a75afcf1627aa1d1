//! What breakers count, against what the test itself has counted: to the unit, from any number of threads.
#![cfg(feature = "counts")]
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]
#![expect(clippy::float_cmp, reason = "counts are whole")]

#[cfg(any(feature = "prometheus-client", feature = "metrics", feature = "opentelemetry"))]
mod bridges;
mod calls;
mod collector;
#[cfg(feature = "fleet")]
mod fleet;
mod model;
mod retries;
mod threads;

#[cfg(any(feature = "prometheus-client", feature = "metrics", feature = "opentelemetry"))]
#[path = "../support/exposition.rs"]
mod exposition;
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../support/mod.rs"]
mod support;
