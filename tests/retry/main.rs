//! Retries as an experienced user of Tower expects them. The numbered scenarios are in `conformance/retry.rs`.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::fmt;
use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fusebox::backoff::{self, Backoff};
use fusebox::classify::Errors;
use fusebox::retry::{Cloned, Timed};
use fusebox::{
    BoxError, Budget, Jitter, ManualClock, Outcome, RetryConfig, RetryConfigBuilder, RetryLayer,
    classify::{self, Retry},
    retry::{RetryEvent, RetryEventKind, RetryStats, StopReason, TimeLimit, TimedOut},
};
use futures::FutureExt;
use support::{Answer, Down, Ready, Record, Stub, ms, no_deadlock, poll_once, secs, timer_now, tripping_at};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

mod budgets;
mod calls;
mod cancelling;
mod delays;
mod kinds;
mod listeners;
mod readiness;
mod requests;
mod services;
mod settings;
mod time_limits;

/// A configuration whose retries follow at once.
fn at_once() -> RetryConfigBuilder {
    RetryConfig::builder().backoff(backoff::fixed(Duration::ZERO))
}

fn waiting(delay: Duration) -> RetryConfigBuilder {
    RetryConfig::builder().backoff(backoff::fixed(delay))
}

fn retry(builder: RetryConfigBuilder) -> RetryLayer {
    RetryLayer::new(builder.build().expect("a configuration that works"))
}

/// A layer with limits of time.
fn timed(builder: RetryConfigBuilder<Timed>) -> RetryLayer<Errors, Cloned, Timed> {
    RetryLayer::new(builder.build().expect("a configuration that works"))
}

/// The builder with a listener for all events, and what that is told.
fn listening<T>(builder: RetryConfigBuilder<T>) -> (RetryConfigBuilder<T>, Record<RetryEvent>) {
    let events = Record::default();
    let listener = events.clone();
    (builder.on_event(move |event| listener.add(*event)), events)
}

/// The events as lines of a log.
fn lines(events: &Record<RetryEvent>) -> Vec<String> {
    events.take().iter().map(ToString::to_string).collect()
}

fn reason(event: &RetryEvent) -> Option<StopReason> {
    match event.kind() {
        RetryEventKind::Stopped { reason, .. } => Some(reason),
        _ => None,
    }
}

/// An error that says which attempt it is from. Neither `Clone` nor boxed.
#[derive(Debug, PartialEq)]
struct Attempt(u32);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {}", self.0)
    }
}

impl std::error::Error for Attempt {}

/// A function that fails each time, and says how often it was called.
fn failing() -> impl FnMut() -> std::future::Ready<Result<u32, Attempt>> {
    let mut n = 0;
    move || {
        n += 1;
        ready(Err(Attempt(n)))
    }
}

/// The same for synchronous code.
fn failing_blocking() -> impl FnMut() -> Result<u32, Attempt> {
    let mut n = 0;
    move || {
        n += 1;
        Err(Attempt(n))
    }
}
