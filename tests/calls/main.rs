//! Calls of functions and futures without Tower: where they compile, and when they do what.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::error::Error;
use std::fmt;
use std::time::Duration;

use fusebox::{
    BoxError, CallError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, FallbackLayer, Outcome, Rejected,
    RetryConfig, RetryLayer, SafetyNet, backoff, classify,
};
use tower::{Layer, Service, ServiceExt, service_fn};

mod lazily;
mod spawned;
#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

fn breaker() -> CircuitBreaker {
    CircuitBreaker::new(CircuitBreakerConfig::new("prices"))
}

/// How many failures the breaker has in its window.
fn failures(breaker: &CircuitBreaker) -> u64 {
    breaker.snapshot().detectors[0].tally.count()
}
