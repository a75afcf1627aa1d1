//! The conformance list: what other circuit breakers fail somewhere and this one does not. The number in a test's name is
//! that of the scenario. Scenario 22 is in `memory.rs`.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use fusebox::{
    BoxError, CallError, CircuitBreaker, CircuitBreakerLayer, Cooldown, ManualClock, Outcome, Override, Probes, State,
    circuit_breaker::{RejectReason, TransitionReason},
    clock::Timestamp,
    detect::{self, Call, Combined, Detector, Evidence, Run},
    rejection,
};
use futures::FutureExt;
use support::{
    Answer, Down, Ready, Record, Stub, breaker, config, fail, failures, first_probe, just_under, ms, no_deadlock,
    poll_once, report, secs, succeed, tripping_at,
};
use tower::discover::ServiceList;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

#[cfg(feature = "counts")]
#[path = "../support/exposition.rs"]
mod exposition;

mod clocks;
#[cfg(feature = "counts")]
mod exported;
mod generations;
mod listeners;
#[cfg(feature = "testing")]
mod paused;
mod probes;
mod retry;
mod tower_face;
mod windows;

const YEAR: Duration = secs(365 * 24 * 3_600);

/// One detector of each kind, which trips at three failures among a few calls.
fn detectors() -> Vec<Box<dyn Detector>> {
    vec![
        Box::new(detect::failures(3).within(secs(60))),
        Box::new(detect::failures(3).of_last(6)),
        Box::new(detect::failure_rate(0.5).of_last(6).min_calls(3)),
        Box::new(detect::failure_rate(0.5).within(secs(60)).min_calls(3)),
        Box::new(detect::consecutive_failures(3)),
        Box::new(detect::failures(3).of_last(6).and(detect::failures(3).within(secs(60)))),
        Box::new(detect::consecutive_failures(3).or(detect::failure_rate(1.0).of_last(100).min_calls(50))),
    ]
}

/// A breaker for each of the [`detectors`], with its rule in words.
fn breakers() -> impl Iterator<Item = (String, CircuitBreaker, ManualClock)> {
    detectors().into_iter().map(|detector| {
        let rule = format!("{detector:?}");
        let (breaker, clock) = breaker(|b| b.detector(Combined::any(vec![detector])));
        (rule, breaker, clock)
    })
}

/// A call of a service that never waits for anything.
fn call<S>(service: &mut S, request: u32) -> Result<S::Response, S::Error>
where
    S: Service<u32>,
{
    let ready = service.ready().now_or_never().expect("ready at once");
    let Ok(service) = ready else { panic!("readiness failed") };
    service.call(request).now_or_never().expect("answers at once")
}
