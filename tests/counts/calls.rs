//! How calls end, one thing at a time.

use allocation_counter::measure;
use fusebox::circuit_breaker::{Counts, Origin, RejectReason};
use fusebox::{
    BoxError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, Outcome, Override, Registry, State, detect,
};
use futures::FutureExt;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::{breaker, config, fail, first_probe, report, reuse_places, secs, succeed};

fn counts(breaker: &CircuitBreaker) -> Counts {
    breaker.snapshot().counts
}

/// Successes, failures, ignored, cancelled.
fn calls(breaker: &CircuitBreaker) -> [u64; 4] {
    let Counts { successes, failures, ignored, cancelled, .. } = counts(breaker);
    [successes, failures, ignored, cancelled]
}

#[test]
fn each_call_is_counted_by_how_it_ended_whether_or_not_its_window_is_clean() {
    let breakers = [
        breaker(|b| b.detector(detect::failures(30).within(secs(60)))),
        breaker(|b| b.detector(detect::failures(30).of_last(100))),
        breaker(|b| b.detector(detect::failure_rate(1.0).within(secs(60)).min_calls(1_000))),
        breaker(|b| b.detector(detect::slow_call_rate(1.0).slower_than(secs(1)).of_last(1_000).min_calls(999))),
        breaker(|b| b.detector(detect::consecutive_failures(100)).call_events(true).on_event(|_| {})),
        breaker(|b| b.detector(detect::failures(30).of_last(100)).abandoned_after(secs(10))),
    ];
    for (breaker, _clock) in breakers {
        succeed(&breaker, 200);
        fail(&breaker, 3);
        succeed(&breaker, 5);
        report(&breaker, 2, Outcome::FailureAfter(secs(1)));
        report(&breaker, 7, Outcome::Ignored);
        (0..4).for_each(|_| drop(breaker.acquire().expect("closed")));
        assert_eq!(calls(&breaker), [205, 5, 7, 4], "{breaker:?}");
        assert_eq!(counts(&breaker).calls(), 221);
    }
}

#[test]
fn a_call_that_ends_late_is_counted_and_decides_nothing() {
    let (breaker, _clock) = breaker(|b| b);
    let late: Vec<_> = (0..4).map(|_| breaker.acquire().expect("closed")).collect();
    breaker.trip().expect("no override");
    breaker.reset().expect("no override");
    let outcomes = [Outcome::Success, Outcome::Failure, Outcome::Ignored, Outcome::Cancelled];
    late.into_iter().zip(outcomes).for_each(|(permit, outcome)| permit.report(outcome));
    assert_eq!(calls(&breaker), [1, 1, 1, 1]);
    assert_eq!(breaker.snapshot().detectors[0].tally.count(), 0);
}

#[test]
fn calls_of_a_breaker_that_is_switched_off_are_counted() {
    for timed in [false, true] {
        let (breaker, clock) = breaker(|b| {
            let slow = detect::slow_call_rate(1.0).slower_than(secs(2)).of_last(10);
            let b = b.detector(detect::failures(2).of_last(10));
            if timed { b.detector(slow) } else { b }
        });
        breaker.set_override(Override::disable("load test"));
        succeed(&breaker, 2);
        fail(&breaker, 3);
        report(&breaker, 1, Outcome::Ignored);
        let slow = breaker.acquire().expect("disabled");
        clock.advance(secs(3));
        slow.success();
        assert_eq!(calls(&breaker), [3, 3, 1, 0]);
        assert_eq!(counts(&breaker).slow, u64::from(timed));
    }
}

#[test]
fn slow_calls_and_calls_that_were_given_up_too_late_are_counted_as_the_rules_have_it() {
    let rule = || detect::slow_call_rate(1.0).slower_than(secs(2)).of_last(100).min_calls(100);
    let (breaker, clock) = breaker(|b| b.detector(rule()).abandoned_after(secs(5)));
    for (outcome, took) in [
        (Outcome::Success, 1),
        (Outcome::Success, 2),
        (Outcome::Failure, 3),
        (Outcome::Ignored, 3),
        (Outcome::Cancelled, 4),
        (Outcome::Cancelled, 5),
    ] {
        let permit = breaker.acquire().expect("closed");
        clock.advance(secs(took));
        permit.report(outcome);
    }
    assert_eq!(calls(&breaker), [2, 2, 1, 1]);
    assert_eq!(counts(&breaker).slow, 3, "a success, a failure, and the call that was given up too late");
}

#[test]
fn probes_are_calls_like_any_other() {
    let (breaker, clock) = breaker(|b| b);
    first_probe(&breaker, &clock).failure();
    first_probe(&breaker, &clock).report(Outcome::Ignored);
    breaker.acquire().expect("a place is free").success();
    assert_eq!(calls(&breaker), [1, 1, 1, 0]);
}

#[test]
fn rejected_calls_are_counted_by_reason_however_they_were_asked_for() {
    let (breaker, clock) = breaker(|b| b);
    let probe = first_probe(&breaker, &clock);
    assert!(breaker.acquire().is_err());
    probe.failure();
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let mut service = layer.layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
    for _ in 0..3 {
        let ready = service.ready().now_or_never().expect("ready to reject").expect("no error");
        assert!(ready.call(()).now_or_never().expect("at once").is_err());
    }
    assert!(breaker.call_blocking(|| Ok::<_, BoxError>(())).is_err());
    let ready = service.ready().now_or_never().expect("ready to reject").expect("no error");
    breaker.reset().expect("no override");
    assert!(ready.call(()).now_or_never().expect("at once").is_err(), "the inner service was not asked");
    breaker.set_override(Override::force_open("incident 7"));
    assert!(breaker.acquire().is_err() && breaker.acquire().is_err());
    let counts = counts(&breaker);
    let rejected = |reason| counts.rejected(reason);
    assert_eq!(rejected(RejectReason::ProbesBusy), 1);
    assert_eq!(rejected(RejectReason::Open), 4);
    assert_eq!(rejected(RejectReason::NotReady), 1);
    assert_eq!(rejected(RejectReason::ForcedOpen), 2);
    assert_eq!(counts.rejections.len(), 4);
    assert_eq!(counts.calls(), 1, "the probe");
}

#[test]
fn neither_a_question_nor_a_caller_that_waits_is_a_rejected_call() {
    let (breaker, _clock) = breaker(|b| b);
    breaker.trip().expect("no override");
    assert!(!breaker.would_admit());
    let layer = CircuitBreakerLayer::from(breaker.clone()).wait_when_open();
    let mut service = layer.layer(service_fn(|()| async { Ok::<_, BoxError>(()) }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        assert!(service.ready().now_or_never().is_none());
        breaker.reset().expect("no override");
        // Promised, and then given back without a call.
        service.ready().await.expect("closed");
        drop(service);
    });
    assert_eq!(counts(&breaker).rejections, []);
    assert_eq!(counts(&breaker).calls(), 0);
}

#[test]
fn transitions_are_counted_by_what_they_were() {
    let (breaker, clock) = breaker(|b| b.detector(detect::consecutive_failures(2)));
    for _ in 0..3 {
        fail(&breaker, 2);
        clock.advance(secs(30));
        breaker.acquire().expect("half-open").success();
    }
    breaker.set_override(Override::dry_run("new limits"));
    fail(&breaker, 5);
    let counts = counts(&breaker);
    let mut seen: Vec<_> = counts.transitions.iter().map(|t| (t.from, t.to, t.reason, t.count)).collect();
    seen.sort_by_key(|(_, _, reason, _)| *reason);
    assert_eq!(
        seen,
        [
            (State::Open, State::HalfOpen, "cooldown_over", 3),
            (State::Closed, State::Open, "detected", 3),
            (State::Closed, State::Closed, "overridden", 1),
            (State::HalfOpen, State::Closed, "probes_succeeded", 3),
        ]
    );
    assert!(counts.transitions.iter().all(|t| t.origin == Origin::Decided));
    assert_eq!(counts.would_open, 2);
}

#[test]
fn an_override_from_the_start_is_a_transition() {
    let breaker = CircuitBreaker::new(config(|b| b.initial_override(Override::force_open("not yet"))));
    let transitions = counts(&breaker).transitions;
    assert_eq!(transitions.iter().map(|t| (t.reason, t.count)).collect::<Vec<_>>(), [("overridden", 1)]);
}

#[test]
fn a_new_breaker_has_counted_nothing_wherever_it_is_in_memory() {
    for _ in 0..3 {
        let all = reuse_places();
        for breaker in &all {
            assert_eq!(counts(breaker), Counts::default());
        }
        for breaker in &all {
            succeed(breaker, 1);
            report(breaker, 1, Outcome::Ignored);
            fail(breaker, 1);
            assert!(breaker.acquire().is_err());
            assert_eq!(calls(breaker), [1, 1, 1, 0]);
        }
    }
}

#[test]
fn a_call_that_outlives_its_breaker_by_far_is_no_other_breakers() {
    let permits: Vec<_> = {
        let (short, _clock) = breaker(|b| b);
        (0..4).map(|_| short.acquire().expect("closed")).collect()
    };
    let all = reuse_places();
    let outcomes = [Outcome::Success, Outcome::Failure, Outcome::Ignored, Outcome::Cancelled];
    permits.into_iter().zip(outcomes).for_each(|(permit, outcome)| permit.report(outcome));
    assert!(all.iter().all(|breaker| counts(breaker) == Counts::default()));
}

#[test]
fn counting_allocates_nothing_after_the_first_time() {
    let (closed, _clock) = breaker(|b| b.detector(detect::failures(60_000).of_last(100_000)));
    let (open, _clock) = breaker(|b| b);
    open.trip().expect("no override");
    let calls = || {
        succeed(&closed, 100);
        report(&closed, 10, Outcome::Ignored);
        fail(&closed, 1);
        (0..100).for_each(|_| assert!(open.acquire().is_err()));
    };
    calls();
    fail(&closed, 200);
    let seen = measure(|| (0..100).for_each(|_| calls()));
    assert_eq!(seen.count_total, 0, "{seen:?}");
}

#[test]
fn a_registrys_breaker_counts_for_itself_too() {
    let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build()).named("of-its-own");
    let breaker = registry.breaker("tenant-7").expect("a template that works");
    succeed(&breaker, 3);
    assert_eq!(calls(&breaker), [3, 0, 0, 0]);
}
