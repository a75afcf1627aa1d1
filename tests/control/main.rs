//! What operators, listeners and settings do to a breaker.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use fusebox::{
    BoxError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, CircuitBreakerLayer, Cooldown, Event,
    EventKind, ManualClock, Outcome, Override, Probes, State,
    circuit_breaker::{Events, OverrideKind, PartTally, RejectReason, TransitionReason},
    clock::Timestamp,
    detect::{self, Call, Combined, Detector, LoadError, Tally},
};
use futures::{FutureExt, StreamExt};
use support::{
    Record, breaker, config, fail, failures, first_probe, just_under, ms, no_deadlock, report, secs, succeed,
    tripping_at,
};
use tower::{Layer, ServiceExt, service_fn};

#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

mod asking;
mod clock_reads;
mod commands;
mod cooldowns;
mod detectors;
mod events;
mod logs;
mod overrides;
mod panics;
mod probes;
mod registries;

/// A breaker that writes its events into a list.
fn recorded(
    f: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
) -> (CircuitBreaker, ManualClock, Record<Event>) {
    let events = Record::default();
    let list = events.clone();
    let (breaker, clock) = breaker(|builder| f(builder).on_event(move |event| list.add(event.clone())));
    (breaker, clock, events)
}

fn lines(events: &Record<Event>) -> Vec<String> {
    events.take().iter().map(ToString::to_string).collect()
}

/// The events that wait in the stream.
fn waiting(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).collect()
}

fn first_probe_again(breaker: &CircuitBreaker, clock: &ManualClock) -> fusebox::Permit {
    clock.advance(breaker.retry_after().expect("open"));
    breaker.acquire().expect("the cooldown is over")
}
