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
    BoxError, CallError, CircuitBreaker, CircuitBreakerLayer, Combined, Cooldown, Detector, ManualClock, Outcome,
    Override, Probes, RejectReason, State, Timestamp, TransitionReason, detect, rejection,
};
use futures::FutureExt;
use support::{
    Answer, Down, Ready, Record, Stub, breaker, config, fail, failures, first_probe, just_under, ms, no_deadlock,
    poll_once, report, secs, succeed, tripping_at,
};
use tower::discover::ServiceList;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

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

// 1

#[test]
fn c01_a_window_slides_after_ten_thousand_successes() {
    for (rule, breaker, clock) in breakers() {
        succeed(&breaker, 10_000);
        clock.advance(secs(60));
        fail(&breaker, 2);
        assert_eq!(breaker.state(), State::Closed, "{rule}");
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Open, "{rule}: three of the last few, whatever was before");
    }
}

#[test]
fn c01_failures_that_left_the_window_count_no_more() {
    for (rule, breaker, clock) in breakers() {
        for _ in 0..20 {
            fail(&breaker, 2);
            succeed(&breaker, 6);
            clock.advance(secs(60));
        }
        assert_eq!(breaker.state(), State::Closed, "{rule}");
    }
}

#[test]
fn c01_a_failure_is_out_when_it_is_exactly_one_window_old() {
    for (age, state) in [(just_under(secs(60)), State::Open), (secs(60), State::Closed)] {
        let (breaker, clock) = breaker(|b| b.detector(detect::failures(2).within(secs(60))));
        fail(&breaker, 1);
        clock.advance(age);
        fail(&breaker, 1);
        assert_eq!(breaker.state(), state);
    }
}

// 2

#[test]
fn c02_reset_in_closed_forgets_the_window() {
    for (rule, breaker, _clock) in breakers() {
        fail(&breaker, 2);
        breaker.reset().expect("no override stands");
        assert_eq!(failures(&breaker), 0, "{rule}");
        fail(&breaker, 2);
        assert_eq!(breaker.state(), State::Closed, "{rule}");
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Open, "{rule}");
    }
}

// 3; the whole table is in `config.rs`

#[test]
fn c03_settings_that_cannot_work_are_refused_and_zero_waits_are_not() {
    let refused = |field: &str, detector: Box<dyn Detector>, probes: Probes| {
        let error =
            fusebox::CircuitBreakerConfig::builder("x").detector(Combined::any(vec![detector])).probes(probes).build();
        let error = error.expect_err(field);
        assert_eq!(error.field(), field);
        assert!(!error.given().is_empty() && !error.allowed().is_empty());
    };
    let fine = || Box::new(detect::consecutive_failures(1));
    refused("probes", fine(), Probes::consecutive(0));
    refused("of_last", Box::new(detect::failures(1).of_last(0)), Probes::one());
    refused("within", Box::new(detect::failures(1).within(Duration::ZERO)), Probes::one());
    refused("within", Box::new(detect::failure_rate(0.5).within(Duration::ZERO)), Probes::one());
    for rate in [0.0, 1.1, f64::NAN] {
        refused("failure_rate", Box::new(detect::failure_rate(rate).of_last(10)), Probes::one());
    }
    refused("min_calls", Box::new(detect::failure_rate(0.5).of_last(10).min_calls(11)), Probes::one());

    let (breaker, _clock) = breaker(|b| b.detector(detect::consecutive_failures(1)).cooldown(Duration::ZERO));
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed, "with a cooldown of zero the very next call is the probe");
}

// 4

#[test]
fn c04_a_success_admitted_while_closed_cannot_close_half_open() {
    let (breaker, clock) = tripping_at(1);
    let early = breaker.acquire().expect("closed");
    let probe = first_probe(&breaker, &clock);
    early.success();
    assert_eq!(breaker.state(), State::HalfOpen);
    assert!(breaker.acquire().is_err(), "and gives back no place that it never had");
    probe.success();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn c04_a_failure_admitted_while_closed_cannot_reopen_half_open() {
    let (breaker, clock) = tripping_at(1);
    let early = breaker.acquire().expect("closed");
    let probe = first_probe(&breaker, &clock);
    early.failure();
    assert_eq!(breaker.state(), State::HalfOpen);
    probe.success();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn c04_results_from_before_a_recovery_do_not_count_after_it() {
    for (rule, breaker, clock) in breakers() {
        let early: Vec<_> = (0..20).map(|_| breaker.acquire().expect("closed")).collect();
        first_probe(&breaker, &clock).success();
        assert_eq!(breaker.state(), State::Closed, "{rule}");
        let mut early = early.into_iter();
        early.by_ref().take(10).for_each(fusebox::Permit::failure);
        assert_eq!((breaker.state(), failures(&breaker)), (State::Closed, 0), "{rule}");
        fail(&breaker, 2);
        early.for_each(fusebox::Permit::success);
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Open, "{rule}: old successes do not water the window down");
    }
}

#[test]
fn c04_a_probe_of_an_earlier_round_decides_nothing_in_a_later_one() {
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Ignored, Outcome::Cancelled] {
        let (breaker, clock) = breaker(|b| b.probes(Probes::one().concurrent(2)));
        let slow = first_probe(&breaker, &clock);
        fail(&breaker, 1);
        clock.advance(secs(30));
        let probes = [breaker.acquire().expect("half-open"), breaker.acquire().expect("half-open")];
        slow.report(outcome);
        assert_eq!(breaker.state(), State::HalfOpen, "{outcome:?}");
        assert!(breaker.acquire().is_err(), "{outcome:?} gave back a place of another round");
        drop(probes);
    }
}

#[test]
fn c04_results_of_other_generations_change_nothing_where_every_call_is_told_either() {
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::FailureAfter(secs(99)), Outcome::Cancelled] {
        let events = Record::default();
        let list = events.clone();
        let (breaker, clock) = breaker(|b| {
            let b = b.detector(detect::consecutive_failures(1)).call_events(true);
            b.on_event(move |event| list.add(event.generation()))
        });
        let early = [(); 2].map(|()| breaker.acquire().expect("closed"));
        let admitted_in = early[0].generation();
        let [first, second] = early;
        let probe = first_probe(&breaker, &clock);
        first.report(outcome);
        assert_eq!(breaker.state(), State::HalfOpen, "{outcome:?}");
        probe.success();
        second.report(outcome);
        assert_eq!((breaker.state(), failures(&breaker)), (State::Closed, 0), "{outcome:?}");
        let told = events.take().into_iter().filter(|generation| *generation == admitted_in).count();
        assert_eq!(told, 2, "both are told, as calls of the generation that admitted them");
    }
}

#[test]
fn c04_a_call_under_way_during_reset_counts_neither_way() {
    let (breaker, _clock) = tripping_at(2);
    fail(&breaker, 1);
    let early = breaker.acquire().expect("closed");
    breaker.reset().expect("no override stands");
    early.failure();
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn c04_permits_that_outlive_their_breaker_touch_no_other() {
    let (old, _clock) = tripping_at(1);
    let orphans: Vec<_> = (0..10).map(|_| old.acquire().expect("closed")).collect();
    drop(old);
    let others = support::reuse_places();
    orphans.into_iter().for_each(fusebox::Permit::failure);
    assert!(others.iter().all(|breaker| breaker.state() == State::Closed && failures(breaker) == 0));
    others.iter().for_each(|breaker| fail(breaker, 1));
    assert!(others.iter().all(CircuitBreaker::is_open));
}

// 5

#[test]
fn c05_a_dropped_or_ignored_probe_frees_its_slot() {
    let (breaker, clock) = tripping_at(1);
    drop(first_probe(&breaker, &clock));
    for _ in 0..100 {
        report(&breaker, 1, Outcome::Ignored);
        drop(breaker.acquire().expect("the slot is free again"));
    }
    assert_eq!(breaker.state(), State::HalfOpen);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn c05_a_probe_that_panics_has_failed_even_while_its_future_is_kept() {
    let (breaker, clock) = tripping_at(1);
    let stub = Stub::new(Answer::Panic);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone());
    let mut kept = Vec::new();
    breaker.trip().expect("no override stands");
    for _ in 0..3 {
        clock.advance(secs(30));
        assert!(service.ready().now_or_never().is_some());
        let mut future = Box::pin(service.call(1));
        assert_eq!(breaker.state(), State::HalfOpen);
        assert!(catch_unwind(AssertUnwindSafe(|| poll_once(future.as_mut()))).is_err());
        assert_eq!(breaker.state(), State::Open);
        assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeFailed));
        kept.push(future);
    }
    stub.answers(Answer::Ok);
    clock.advance(secs(30));
    assert_eq!(call(&mut service, 7).expect("the dependency is back"), 7);
    assert_eq!(breaker.state(), State::Closed);
    drop(kept);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn c05_a_panic_in_call_itself_is_a_failed_probe() {
    let (breaker, clock) = tripping_at(1);
    let stub = Stub::new(Answer::PanicInCall);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone());
    breaker.trip().expect("no override stands");
    clock.advance(secs(30));
    assert!(catch_unwind(AssertUnwindSafe(|| call(&mut service, 1))).is_err());
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeFailed));
    stub.answers(Answer::Ok);
    clock.advance(secs(30));
    assert!(call(&mut service, 1).is_ok());
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn c05_a_panic_counts_while_closed() {
    for answer in [Answer::Panic, Answer::PanicInCall] {
        let (breaker, _clock) = tripping_at(2);
        let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(Stub::new(answer));
        for state in [State::Closed, State::Open] {
            assert!(catch_unwind(AssertUnwindSafe(|| call(&mut service, 1))).is_err());
            assert_eq!(breaker.state(), state, "{answer:?}");
        }
    }
}

#[test]
fn c05_hung_probes_give_their_slots_back_at_the_deadline() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::ratio(1, 3).concurrent(3).deadline(secs(10))));
    let hung = [first_probe(&breaker, &clock), breaker.acquire().expect("2nd"), breaker.acquire().expect("3rd")];
    assert!(breaker.acquire().is_err());
    clock.advance(secs(10));
    assert!(breaker.acquire().is_err(), "all three have failed, so it opened again");
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeExpired));
    clock.advance(secs(30));
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
    drop(hung);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn c05_a_hung_probe_that_does_not_decide_only_frees_its_slot() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::ratio(1, 3).deadline(secs(10))));
    let hung = first_probe(&breaker, &clock);
    clock.advance(secs(10));
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
    drop(hung);
}

#[test]
fn c05_half_open_ends_whatever_becomes_of_the_probes() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::consecutive(2).deadline(secs(10))));
    let mut forgotten = Vec::new();
    drop(first_probe(&breaker, &clock));
    for second in 0.. {
        match breaker.acquire() {
            Ok(probe) if second % 7 == 6 => forgotten.push(probe),
            Ok(probe) if second % 2 == 0 => probe.report(Outcome::Ignored),
            Ok(probe) => drop(probe),
            Err(_) if breaker.is_open() => break,
            Err(_) => {}
        }
        assert!(second < 1_000, "half-open must end");
        clock.advance(secs(1));
    }
}

// 6

#[test]
fn c06_half_open_admits_at_most_its_limit_under_a_hundred_clones_and_threads() {
    for (limit, round) in [(1, 0), (3, 1), (1, 2), (7, 3), (3, 4)] {
        let (breaker, clock) = breaker(|b| b.probes(Probes::ratio(1, 100).concurrent(limit)));
        breaker.trip().expect("no override stands");
        clock.advance(secs(30));
        let barrier = Arc::new(Barrier::new(100));
        let threads: Vec<_> = (0..100)
            .map(|_| {
                let (breaker, barrier) = (breaker.clone(), barrier.clone());
                thread::spawn(move || {
                    barrier.wait();
                    let permit = breaker.acquire().ok();
                    // Nobody gives a place back before everybody asked.
                    barrier.wait();
                    permit.is_some_and(|permit| permit.is_probe())
                })
            })
            .collect();
        let admitted =
            threads.into_iter().map(|thread| thread.join().expect("no panic")).filter(|probe| *probe).count();
        assert_eq!(admitted, limit as usize, "round {round}");
        assert_eq!(breaker.snapshot().probes.expect("half-open").in_flight, 0, "all places came back");
    }
}

#[test]
fn c06_the_limit_holds_through_the_layer_and_its_clones() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::one().concurrent(2)));
    let stub = Stub::new(Answer::Hang);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    breaker.trip().expect("no override stands");
    clock.advance(secs(30));
    let mut calls: Vec<_> = (0..100)
        .map(|n| {
            let mut service = if n % 2 == 0 { layer.layer(stub.clone()) } else { layer.clone().layer(stub.clone()) };
            assert!(service.ready().now_or_never().is_some());
            Box::pin(service.call(n))
        })
        .collect();
    let answered = calls.iter_mut().map(|call| poll_once(call.as_mut())).filter(std::task::Poll::is_ready).count();
    assert_eq!((stub.calls(), answered), (2, 98));
}

// 7

#[test]
fn c07_an_ignored_call_does_not_close_half_open() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::consecutive(2)));
    first_probe(&breaker, &clock).success();
    report(&breaker, 5, Outcome::Ignored);
    assert_eq!(breaker.snapshot().probes.expect("half-open").succeeded, 1);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn c07_ignored_calls_neither_reset_a_failure_run_nor_move_a_window() {
    for (rule, breaker, _clock) in breakers() {
        fail(&breaker, 2);
        report(&breaker, 1_000, Outcome::Ignored);
        assert_eq!(failures(&breaker) % 2, 0, "{rule}");
        fail(&breaker, 1);
        assert_eq!(breaker.state(), State::Open, "{rule}");
    }
}

#[test]
fn c07_ignored_calls_are_no_calls_for_min_calls() {
    let (breaker, _clock) = breaker(|b| b.detector(detect::failure_rate(0.5).of_last(10).min_calls(5)));
    report(&breaker, 10, Outcome::Ignored);
    fail(&breaker, 4);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn c07_excluded_errors_are_ignored_in_closed_and_half_open() {
    let (breaker, clock) = tripping_at(1);
    let judged = breaker.classify(fusebox::classify::errors().exclude(|e: &&str| *e == "not found"));
    for _ in 0..10 {
        assert!(judged.call_blocking(|| Err::<(), _>("not found")).is_err());
    }
    assert_eq!(breaker.state(), State::Closed);
    drop(first_probe(&breaker, &clock));
    assert!(judged.call_blocking(|| Err::<(), _>("not found")).is_err());
    assert_eq!(breaker.state(), State::HalfOpen);
    assert!(judged.call_blocking(|| Err::<(), _>("down")).is_err());
    assert_eq!(breaker.state(), State::Open);
}

// 10

#[test]
fn c10_five_probes_three_seconds_apart_under_a_ten_second_window_close() {
    for detector in detectors() {
        let (breaker, clock) = breaker(|b| {
            let short = detect::failure_rate(0.5).within(secs(10)).min_calls(1);
            b.detector(Combined::any(vec![detector, Box::new(short)])).probes(Probes::consecutive(5))
        });
        first_probe(&breaker, &clock).success();
        for _ in 0..4 {
            assert_eq!(breaker.state(), State::HalfOpen);
            clock.advance(secs(3));
            succeed(&breaker, 1);
        }
        assert_eq!(breaker.state(), State::Closed);
    }
}

// 13

#[test]
fn c13_a_layer_that_is_applied_per_request_still_trips() {
    let (breaker, _clock) = tripping_at(5);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let stub = Stub::new(Answer::Err);
    for n in 0..20 {
        let error = call(&mut layer.clone().layer(stub.clone()), n).expect_err("down or rejected");
        assert_eq!(rejection(&*error).is_some(), n >= 5);
    }
    assert_eq!(stub.calls(), 5);
    assert!(breaker.is_open());
    assert!(layer.breaker().is_open());
}

// 14

#[tokio::test]
async fn c14_rejecting_never_kills_a_buffer() {
    let (breaker, _clock) = tripping_at(1);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let stub = Stub::new(Answer::Ok);
    let mut service = ServiceBuilder::new().buffer(8).layer(layer).service(stub.clone());
    breaker.trip().expect("no override stands");
    for n in 0..100_u32 {
        let error = service.ready().await.expect("the buffer lives").call(n).await.expect_err("open");
        assert_eq!(rejection(&*error).map(fusebox::Rejected::reason), Some(RejectReason::Open));
    }
    breaker.reset().expect("no override stands");
    assert_eq!(service.ready().await.expect("the buffer lives").call(7).await.expect("closed"), 7);
    assert_eq!(stub.calls(), 1);
}

#[tokio::test]
async fn c14_rejecting_drops_no_endpoint_from_a_balance() {
    let endpoints: Vec<_> = (0..2)
        .map(|_| {
            let (breaker, clock) = tripping_at(1);
            (breaker, clock, Stub::new(Answer::Ok))
        })
        .collect();
    let services: Vec<_> = endpoints
        .iter()
        .map(|(breaker, _, stub)| {
            let service = CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone());
            tower::load::Constant::new(service, 1)
        })
        .collect();
    let mut balance = tower::balance::p2c::Balance::new(ServiceList::new::<u32>(services));
    assert!(balance.ready().await.expect("ready").call(0).await.is_ok());
    for (breaker, ..) in &endpoints {
        breaker.trip().expect("no override stands");
    }
    for n in 0..50 {
        let error = balance.ready().await.expect("ready to reject").call(n).await.expect_err("open");
        assert!(rejection(&*error).is_some());
    }
    for (breaker, ..) in &endpoints {
        breaker.reset().expect("no override stands");
    }
    let before: usize = endpoints.iter().map(|(.., stub)| stub.calls()).sum();
    for n in 0..50 {
        assert_eq!(balance.ready().await.expect("ready").call(n).await.expect("closed"), n);
    }
    assert_eq!(balance.len(), 2);
    let after: usize = endpoints.iter().map(|(.., stub)| stub.calls()).sum();
    assert_eq!(after - before, 50);
    assert!(endpoints.iter().all(|(.., stub)| stub.calls() > 1), "both endpoints work again");
}

// 15

#[test]
fn c15_an_open_breaker_answers_while_the_inner_service_is_never_ready() {
    let (breaker, clock) = tripping_at(1);
    let stub = Stub::new(Answer::Ok);
    stub.gets_ready(Ready::Never);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone());
    assert!(service.ready().now_or_never().is_none(), "closed: the inner service decides");
    breaker.trip().expect("no override stands");
    for _ in 0..3 {
        assert!(call(&mut service, 1).is_err());
    }
    clock.advance(secs(30));
    assert!(service.ready().now_or_never().is_none(), "a probe needs the inner service");
    let probe = breaker.acquire().expect("half-open");
    let error = call(&mut service, 1).expect_err("the only probe is on its way");
    assert_eq!(rejection(&*error).map(fusebox::Rejected::reason), Some(RejectReason::ProbesBusy));
    drop(probe);
    assert_eq!(stub.calls(), 0);
}

#[test]
fn c15_a_call_that_was_promised_a_rejection_gets_one_though_the_cooldown_ended_meanwhile() {
    let (breaker, clock) = tripping_at(1);
    let stub = Stub::new(Answer::Ok);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone());
    for recover in [false, true] {
        breaker.trip().expect("no override stands");
        let asked = stub.asked();
        assert!(service.ready().now_or_never().is_some());
        assert_eq!(stub.asked(), asked, "the inner service was not asked");
        clock.advance(secs(30));
        if recover {
            breaker.reset().expect("no override stands");
        }
        let error = service.call(1).now_or_never().expect("at once").expect_err("rejected");
        let rejected = rejection(&*error).expect("a rejection");
        let reason = if recover { RejectReason::NotReady } else { RejectReason::Open };
        assert_eq!((rejected.reason(), rejected.retry_after()), (reason, Some(Duration::ZERO)), "retry now");
        assert_eq!(stub.calls(), usize::from(recover));
        assert_eq!(call(&mut service, 1).expect("the next one goes through"), 1);
        assert_eq!(breaker.state(), State::Closed);
    }
}

#[test]
fn c15_a_rejection_names_the_state_that_the_breaker_is_in() {
    let (breaker, clock) = tripping_at(1);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(Stub::new(Answer::Ok));
    breaker.trip().expect("no override stands");
    assert!(service.ready().now_or_never().is_some());
    clock.advance(secs(30));
    assert_eq!(breaker.state(), State::Open, "nobody asked since the cooldown ended");
    let error = service.call(1).now_or_never().expect("at once").expect_err("rejected");
    assert_eq!(rejection(&*error).map(fusebox::Rejected::state), Some(State::Open));
}

#[test]
fn c15_an_inner_readiness_error_is_one_failure_per_instance() {
    let (breaker, _clock) = tripping_at(3);
    let stub = Stub::new(Answer::Ok);
    stub.gets_ready(Ready::Error);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let mut service = layer.layer(stub);
    for _ in 0..10 {
        let error = service.ready().now_or_never().expect("at once").expect_err("not ready");
        assert!(error.is::<Down>());
        assert_eq!(failures(&breaker), 1);
    }
    for _ in 0..2 {
        let mut fresh = service.clone();
        assert!(fresh.ready().now_or_never().expect("at once").is_err());
    }
    assert_eq!(breaker.state(), State::Open, "three instances failed");
}

#[test]
fn c15_an_inner_readiness_error_is_no_probes_verdict() {
    let (breaker, clock) = tripping_at(1);
    let stub = Stub::new(Answer::Ok);
    stub.gets_ready(Ready::Error);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(stub);
    breaker.trip().expect("no override stands");
    clock.advance(secs(30));
    assert!(service.ready().now_or_never().expect("at once").is_err());
    assert_eq!(breaker.state(), State::Open, "asking for readiness is not asking for a call");
    drop(breaker.acquire().expect("half-open"));
    let mut fresh = service.clone();
    assert!(fresh.ready().now_or_never().expect("at once").is_err());
    assert_eq!(breaker.state(), State::HalfOpen);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

// 18

/// An error with a source.
#[derive(Debug)]
struct Wrapper(BoxError);

impl fmt::Display for Wrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrapped")
    }
}

impl Error for Wrapper {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

#[test]
fn c18_error_chains_keep_their_source() {
    let (breaker, _clock) = tripping_at(1);
    let inner = tower::service_fn(|_: u32| async { Err::<u32, _>(Wrapper(Box::new(Down))) });
    let mut service = CircuitBreakerLayer::from(breaker).layer(inner);
    let error = call(&mut service, 1).expect_err("down");
    let own = error.downcast_ref::<Wrapper>().expect("the inner error itself, not one around it");
    assert!(own.source().expect("its source").is::<Down>());
    assert!(rejection(&*error).is_none());

    let rejected = call(&mut service, 1).expect_err("open");
    assert!(rejected.is::<fusebox::Rejected>());
    let outer = Wrapper(Box::new(Wrapper(rejected)));
    assert_eq!(rejection(&outer).expect("at any depth").reason(), RejectReason::Open);
}

#[test]
fn c18_call_errors_keep_their_source() {
    let (breaker, _clock) = tripping_at(1);
    let error = breaker.call_blocking(|| Err::<(), _>(Wrapper(Box::new(Down)))).expect_err("down");
    assert_eq!(error.to_string(), "wrapped");
    assert!(error.source().expect("the inner error's source").is::<Down>());
    let error = breaker.call_blocking(|| Err::<(), _>(Wrapper(Box::new(Down)))).expect_err("open");
    assert!(matches!(error, CallError::Rejected(_)));
    assert!(rejection(&error).is_some());
}

// 19

#[test]
fn c19_listeners_run_after_the_state_is_stored() {
    let seen = Record::default();
    let list = seen.clone();
    let (breaker, clock) = breaker(|b| {
        b.detector(detect::consecutive_failures(1)).on_state_change(move |breaker, _, to| {
            let now = breaker.snapshot();
            list.add((to, breaker.state(), now.state, now.generation));
        })
    });
    fail(&breaker, 1);
    clock.advance(secs(30));
    succeed(&breaker, 1);
    let seen = seen.take();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|(to, state, snapshot, _)| to == state && to == snapshot));
    assert!(seen.windows(2).all(|pair| pair[0].3 < pair[1].3));
}

#[test]
fn c19_listeners_may_call_everything_on_the_breaker() {
    no_deadlock(|| {
        let (breaker, clock) = breaker(|b| {
            b.detector(detect::consecutive_failures(1)).on_event(|_| {}).on_state_change(|breaker, _, _| {
                drop(breaker.acquire());
                breaker.call_blocking(|| Ok::<_, ()>(())).ok();
                drop((breaker.state(), breaker.snapshot(), breaker.retry_after(), breaker.events(), breaker.name()));
                drop(breaker.clone());
                if breaker.is_open() {
                    breaker.set_override(Override::disable("from a listener"));
                    assert!(breaker.trip().is_err());
                    breaker.resume();
                    breaker.reset().expect("resumed");
                }
            })
        });
        for _ in 0..3 {
            fail(&breaker, 1);
            clock.advance(secs(30));
        }
        assert_eq!(breaker.state(), State::Closed);
    });
}

#[test]
fn c19_a_listener_that_panics_is_called_again_and_the_caller_does_not_notice() {
    let calls = Record::default();
    let list = calls.clone();
    let (breaker, clock) = breaker(|b| {
        b.on_state_change(move |_, _, to| {
            list.add(to);
            panic!("listener")
        })
    });
    first_probe(&breaker, &clock).success();
    assert_eq!(calls.take(), [State::Open, State::HalfOpen, State::Closed]);
    assert!(breaker.acquire().is_ok());
}

#[test]
fn c19_whoever_is_woken_may_call_the_breaker_at_once() {
    /// Runs what it is given when it is woken, as some executors do.
    struct RunOnWake(CircuitBreaker);
    impl std::task::Wake for RunOnWake {
        fn wake(self: Arc<Self>) {
            drop((self.0.snapshot(), self.0.events()));
        }
    }
    no_deadlock(|| {
        let (breaker, _clock) = breaker(|b| b);
        let waker = std::task::Waker::from(Arc::new(RunOnWake(breaker.clone())));
        let mut events = breaker.events();
        let polled =
            futures::Stream::poll_next(std::pin::Pin::new(&mut events), &mut std::task::Context::from_waker(&waker));
        assert!(polled.is_pending());
        breaker.trip().expect("no override stands");
        assert!(breaker.is_open());
    });
}

// 21

#[test]
fn c21_a_clock_that_steps_back_stretches_a_cooldown_and_nothing_more() {
    let (breaker, clock) = breaker(|b| b);
    breaker.trip().expect("no override stands");
    let now = fusebox::Clock::now(&clock);
    clock.set(Timestamp::from_nanos(now.as_nanos() - 500_000_000_000));
    assert_eq!(breaker.acquire().expect_err("open").retry_after(), Some(secs(530)));
    clock.advance(secs(530));
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn c21_detectors_trip_after_the_clock_stepped_back() {
    for (rule, breaker, clock) in breakers() {
        succeed(&breaker, 10);
        fail(&breaker, 2);
        succeed(&breaker, 1);
        breaker.reset().expect("no override stands");
        fail(&breaker, 1);
        let now = fusebox::Clock::now(&clock);
        clock.set(Timestamp::from_nanos(now.as_nanos() - 3_600_000_000_000));
        for _ in 0..3 {
            if !breaker.is_open() {
                fail(&breaker, 1);
            }
            clock.advance(secs(1));
        }
        assert!(breaker.is_open(), "{rule}: three failures in a row, three seconds apart");
    }
}

#[test]
fn c21_half_open_survives_a_clock_that_steps_back() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::consecutive(2)).abandoned_after(secs(10)));
    let probe = first_probe(&breaker, &clock);
    clock.set(Timestamp::ZERO);
    drop(probe);
    succeed(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn c21_an_override_survives_a_clock_that_steps_back() {
    let (breaker, clock) = breaker(|b| b);
    breaker.set_override(Override::force_open("x").expires_in(secs(10)));
    clock.set(Timestamp::ZERO);
    assert!(breaker.is_open());
    clock.advance(secs(100_010));
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn c21_a_cooldown_of_ten_years_ends_after_ten_years() {
    let (breaker, clock) = breaker(|b| b.cooldown(YEAR * 10));
    breaker.trip().expect("no override stands");
    let rejected = breaker.acquire().expect_err("open");
    assert_eq!(rejected.retry_after(), Some(YEAR * 10));
    assert!(!rejected.to_string().is_empty());
    clock.advance(just_under(YEAR * 10));
    assert!(breaker.acquire().is_err());
    clock.advance(ms(1));
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn c21_the_longest_durations_and_latest_times_neither_panic_nor_wedge() {
    let longest = Duration::MAX;
    let slow = || detect::slow_call_rate(1.0).slower_than(longest);
    let detectors: Vec<Box<dyn Detector>> = vec![
        Box::new(detect::failures(2).within(longest)),
        Box::new(detect::failure_rate(0.015).within(longest).min_calls(2)),
        Box::new(slow().within(longest).or(detect::consecutive_failures(2))),
        Box::new(slow().of_last(2).or(detect::consecutive_failures(2))),
    ];
    let cooldowns = || {
        [
            Cooldown::fixed(longest),
            Cooldown::exponential(longest..=longest).healthy_after(longest),
            Cooldown::exponential(Duration::ZERO..=longest).factor(f64::MAX).jitter(1.0),
            Cooldown::with(move |_| longest),
        ]
    };
    for (detector, cooldown) in detectors.into_iter().zip(cooldowns()) {
        for start in [0, 1, u64::MAX - 1, u64::MAX] {
            let clock = ManualClock::new();
            clock.set(Timestamp::from_nanos(start));
            let mut copy: Box<dyn Detector> = Box::new(detect::consecutive_failures(2));
            copy.load(&detect::consecutive_failures(2).save()).expect("its own bytes");
            let breaker = CircuitBreaker::new(config(|b| {
                b.detector(Combined::any(vec![copy]))
                    .cooldown(cooldown.clone())
                    .probes(Probes::one().deadline(longest))
                    .abandoned_after(longest)
                    .retry_after_cap(longest)
                    .clock(clock.clone())
            }));
            walk(&breaker, &clock, longest);
        }
        let (breaker, clock) = breaker(|b| {
            b.detector(Combined::any(vec![detector]))
                .cooldown(cooldown)
                .probes(Probes::one().deadline(longest))
                .abandoned_after(longest)
                .retry_after_cap(longest)
        });
        walk(&breaker, &clock, longest);
    }
}

/// Goes through every state and shows that commands still work at the end.
fn walk(breaker: &CircuitBreaker, clock: &ManualClock, longest: Duration) {
    succeed(breaker, 100);
    drop(breaker.acquire().expect("closed"));
    fail(breaker, 1);
    report(breaker, 1, Outcome::FailureAfter(longest));
    assert!(breaker.is_open());
    assert!(breaker.acquire().is_err() || breaker.state() == State::HalfOpen);
    drop(breaker.snapshot().to_string());
    clock.set(Timestamp::MAX);
    drop(breaker.acquire().map(fusebox::Permit::failure));
    drop(breaker.acquire());
    breaker.set_override(Override::force_open("x").expires_in(longest));
    assert!(breaker.acquire().is_err());
    clock.set(Timestamp::ZERO);
    breaker.set_override(Override::dry_run("x").expires_in(longest));
    clock.set(Timestamp::MAX);
    drop(breaker.snapshot().to_string());
    breaker.resume();
    breaker.trip().expect("no override stands");
    breaker.reset().expect("no override stands");
    assert_eq!(breaker.state(), State::Closed);
    succeed(breaker, 100);
    fail(breaker, 2);
    assert!(breaker.is_open(), "it judges as before");
}

// 23; what a call allocates is in `memory.rs`

#[test]
fn c23_the_memory_of_a_window_does_not_depend_on_the_calls_in_it() {
    let size = |detector: &dyn Detector| detector.save().len();
    let mut windows: Vec<Box<dyn Detector>> = vec![
        Box::new(detect::failures(5).within(secs(60))),
        Box::new(detect::failure_rate(0.5).within(secs(60))),
        Box::new(detect::slow_call_rate(0.5).slower_than(secs(1)).within(secs(60))),
    ];
    for window in &mut windows {
        let mut sizes = Vec::new();
        for calls in 0..100_000_u64 {
            let at = Timestamp::ZERO + Duration::from_micros(calls * 599);
            let call = if calls % 2 == 0 { fusebox::Call::failure(at) } else { fusebox::Call::success(at) };
            window.record(&call);
            window.record_successes(3, at);
            if [9_999, 99_999].contains(&calls) {
                sizes.push(size(&**window));
            }
        }
        assert!(sizes[1] <= 2 * sizes[0] + 512, "{window:?}: {sizes:?}");
        assert!(sizes[1] < 16_384, "{window:?}: {sizes:?}");
    }
}

// 24

#[test]
fn c24_ratios_are_not_reduced() {
    let trips_after = |detector: detect::OfLast| {
        let (breaker, _clock) = breaker(|b| b.detector(detector));
        (1..=20).find(|_| {
            fail(&breaker, 1);
            breaker.is_open()
        })
    };
    assert_eq!(trips_after(detect::failures(5).of_last(10)), Some(5), "not 1 of 2");
    assert_eq!(trips_after(detect::failures(5).of_last(5)), Some(5), "not 1 of 1");
    assert_eq!(trips_after(detect::failures(1).of_last(1)), Some(1));
    assert_eq!(trips_after(detect::failures(5).of_last(10).min_calls(10)), Some(10));

    let (breaker, _clock) = breaker(|b| b.detector(detect::failures(5).of_last(10)));
    for _ in 0..4 {
        fail(&breaker, 1);
        succeed(&breaker, 1);
    }
    assert_eq!(breaker.state(), State::Closed, "half of eight, and no five yet");
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open, "five of the last ten");
}

#[test]
fn c24_a_ratio_of_probes_is_not_reduced() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::ratio(2, 4)));
    first_probe(&breaker, &clock).success();
    assert_eq!(breaker.state(), State::HalfOpen, "two of four is not one of two");
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::HalfOpen);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

/// Scenarios 8, 9, 11 and 12, where breakers, timeouts and timers share tokio's paused clock.
#[cfg(feature = "testing")]
mod paused {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Waker};

    use fusebox::circuit_breaker::WaitService;
    use fusebox::{CircuitBreakerConfig, Registry, Tally};
    use tokio::time::{advance, timeout};

    use super::*;
    use crate::support::{Wakes, now};

    /// A breaker on the system's clock, which is tokio's here.
    fn breaker(
        f: impl FnOnce(fusebox::CircuitBreakerConfigBuilder) -> fusebox::CircuitBreakerConfigBuilder,
    ) -> CircuitBreaker {
        CircuitBreaker::new(config(f))
    }

    fn tripping_at(n: u32) -> CircuitBreaker {
        breaker(|b| b.detector(detect::consecutive_failures(n)))
    }

    // 8

    #[tokio::test(start_paused = true)]
    async fn c08_a_hanging_dependency_behind_an_outer_timeout_trips_when_abandoned_calls_count() {
        for (counts, state) in [(true, State::Open), (false, State::Closed)] {
            let breaker = breaker(|b| {
                let b = b.detector(detect::consecutive_failures(3));
                if counts { b.abandoned_after(secs(9)) } else { b }
            });
            let stub = Stub::new(Answer::Hang);
            let layer = CircuitBreakerLayer::from(breaker.clone());
            let mut service = ServiceBuilder::new().timeout(secs(10)).layer(layer).service(stub.clone());
            for n in 0..3 {
                let error = service.ready().await.expect("ready").call(n).await.expect_err("it hangs");
                assert!(error.is::<tower::timeout::error::Elapsed>());
            }
            assert_eq!(breaker.state(), state, "abandoned calls count: {counts}");
            let before = now();
            drop(service.ready().await.expect("ready").call(4).await);
            let waited = now().since(before) >= secs(10);
            assert_eq!(waited, !counts, "an open circuit answers at once");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn c08_a_hanging_probe_behind_an_outer_timeout_reopens() {
        let breaker = breaker(|b| b.abandoned_after(secs(9)));
        let layer = CircuitBreakerLayer::from(breaker.clone());
        let mut service = ServiceBuilder::new().timeout(secs(10)).layer(layer).service(Stub::new(Answer::Hang));
        breaker.trip().expect("no override stands");
        advance(secs(30)).await;
        assert!(service.ready().await.expect("ready").call(1).await.is_err());
        assert_eq!(breaker.state(), State::Open);
        assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeFailed));
    }

    #[tokio::test(start_paused = true)]
    async fn c08_a_caller_who_leaves_early_is_no_failure() {
        let breaker = breaker(|b| b.detector(detect::consecutive_failures(1)).abandoned_after(secs(9)));
        let layer = CircuitBreakerLayer::from(breaker.clone());
        let mut service = ServiceBuilder::new().timeout(secs(8)).layer(layer).service(Stub::new(Answer::Hang));
        for n in 0..5 {
            assert!(service.ready().await.expect("ready").call(n).await.is_err());
        }
        assert_eq!(breaker.state(), State::Closed);
    }

    // 9

    #[tokio::test(start_paused = true)]
    async fn c09_a_slow_probe_reopens_when_slow_calls_are_configured() {
        for (took, state) in [(secs(2), State::Open), (just_under(secs(2)), State::Closed)] {
            let breaker = breaker(|b| b.detector(detect::slow_call_rate(0.5).slower_than(secs(2)).of_last(10)));
            let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(Stub::new(Answer::In(took)));
            breaker.trip().expect("no override stands");
            advance(secs(30)).await;
            assert_eq!(service.ready().await.expect("ready").call(7).await.expect("slow, but fine"), 7);
            assert_eq!(breaker.state(), state);
        }
    }

    // 11

    #[tokio::test(start_paused = true)]
    async fn c11_cooldowns_follow_paused_time() {
        let breaker = breaker(|b| b.cooldown(Cooldown::exponential(secs(5)..=secs(20)).jitter(0.0)));
        breaker.trip().expect("no override stands");
        for cooldown in [5, 10, 20, 20] {
            advance(just_under(secs(cooldown))).await;
            assert_eq!(breaker.acquire().expect_err("open").retry_after(), Some(ms(1)));
            advance(ms(1)).await;
            fail(&breaker, 1);
        }
        advance(secs(20)).await;
        succeed(&breaker, 1);
        advance(secs(20)).await;
        breaker.trip().expect("no override stands");
        assert_eq!(breaker.retry_after(), Some(secs(5)), "the healthy period has passed, too");
    }

    #[tokio::test(start_paused = true)]
    async fn c11_a_retry_after_follows_paused_time() {
        let breaker = tripping_at(1);
        report(&breaker, 1, Outcome::FailureAfter(secs(120)));
        advance(secs(119)).await;
        assert_eq!(breaker.acquire().expect_err("open").retry_after(), Some(secs(1)));
        advance(secs(1)).await;
        assert!(breaker.acquire().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn c11_windows_follow_paused_time() {
        let windows: Vec<Box<dyn Detector>> = vec![
            Box::new(detect::failures(3).within(secs(60))),
            Box::new(detect::failure_rate(0.9).within(secs(60)).min_calls(3)),
        ];
        for window in windows {
            let rule = format!("{window:?}");
            let breaker = breaker(|b| b.detector(Combined::any(vec![window])));
            succeed(&breaker, 100);
            advance(secs(61)).await;
            fail(&breaker, 2);
            advance(secs(61)).await;
            fail(&breaker, 2);
            assert_eq!(breaker.state(), State::Closed, "{rule}");
            advance(secs(30)).await;
            fail(&breaker, 1);
            assert_eq!(breaker.state(), State::Open, "{rule}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn c11_successes_leave_a_window_of_time_under_paused_time() {
        let breaker = breaker(|b| b.detector(detect::failure_rate(0.5).within(secs(16)).min_calls(1)));
        for second in 0..40 {
            succeed(&breaker, 10);
            let seen = breaker.snapshot().detectors[0].tally.calls().expect("a rate counts calls");
            let all = 10 * (second + 1);
            assert!(seen == all.min(160) || (150..160).contains(&seen) && all >= 160, "{seen} after {second} s");
            advance(secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn c11_probe_deadlines_follow_paused_time() {
        let breaker = breaker(|b| b.probes(Probes::one().deadline(secs(5))));
        breaker.trip().expect("no override stands");
        advance(secs(30)).await;
        let hung = breaker.acquire().expect("the cooldown is over");
        advance(just_under(secs(5))).await;
        assert_eq!(breaker.acquire().expect_err("busy").reason(), RejectReason::ProbesBusy);
        advance(ms(1)).await;
        assert_eq!(breaker.acquire().expect_err("reopened").reason(), RejectReason::Open);
        hung.success();
        assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeExpired));
    }

    #[tokio::test(start_paused = true)]
    async fn c11_inconclusive_rounds_follow_paused_time() {
        let breaker = breaker(|b| b.cooldown(secs(1)).probes(Probes::one().deadline(secs(5))));
        breaker.trip().expect("no override stands");
        advance(secs(1)).await;
        drop(breaker.acquire().expect("the cooldown is over"));
        advance(secs(60)).await;
        assert!(breaker.acquire().is_err());
        assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbesInconclusive));
    }

    #[tokio::test(start_paused = true)]
    async fn c11_durations_of_calls_follow_paused_time() {
        let breaker = breaker(|b| {
            b.detector(detect::slow_call_rate(1.0).slower_than(secs(2)).of_last(2).min_calls(2))
                .abandoned_after(secs(9))
        });
        let slow = || {
            breaker.call(|| async {
                tokio::time::sleep(secs(2)).await;
                Ok::<_, Down>(())
            })
        };
        slow().await.expect("slow, but fine");
        assert_eq!(breaker.state(), State::Closed);
        slow().await.expect("slow, but fine");
        assert_eq!(breaker.snapshot().reason, Some(TransitionReason::Detected(Tally::slow_calls(2).of(2))));
    }

    #[tokio::test(start_paused = true)]
    async fn c11_overrides_expire_under_paused_time() {
        let breaker = breaker(|b| b);
        breaker.set_override(Override::force_open("deploy").expires_in(secs(600)));
        advance(just_under(secs(600))).await;
        assert!(breaker.is_open());
        advance(ms(1)).await;
        assert_eq!(breaker.state(), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn c11_snapshots_tell_paused_time() {
        let breaker = breaker(|b| b);
        advance(secs(77)).await;
        assert_eq!(breaker.snapshot().in_state_for, secs(77));
    }

    #[tokio::test(start_paused = true)]
    async fn c11_registries_forget_under_paused_time() {
        let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build()).max(1).idle(secs(60));
        drop(registry.breaker("old").expect("the template works"));
        advance(secs(30)).await;
        drop(registry.breaker("young").expect("the template works"));
        assert_eq!((registry.get("young").is_some(), registry.overflowed()), (false, 1));
        drop(registry.get("old"));
        advance(secs(90)).await;
        drop(registry.breaker("young").expect("the template works"));
        assert_eq!((registry.get("young").is_some(), registry.overflowed()), (true, 1));
        assert!(registry.get("old").is_none());
    }

    // 12

    type Waiting = WaitService<Stub>;

    fn waiting(breaker: &CircuitBreaker, stub: &Stub) -> Waiting {
        CircuitBreakerLayer::from(breaker.clone()).wait_when_open().layer(stub.clone())
    }

    fn is_ready(service: &mut Waiting, waker: &Waker) -> bool {
        service.poll_ready(&mut Context::from_waker(waker)).map(|ready| ready.expect("the stub gets ready")).is_ready()
    }

    /// Opens the circuit and waits for the end of its cooldown.
    async fn to_half_open(breaker: &CircuitBreaker) -> fusebox::Permit {
        breaker.trip().expect("no override stands");
        advance(secs(30)).await;
        breaker.acquire().expect("the cooldown is over")
    }

    #[tokio::test(start_paused = true)]
    async fn c12_a_manual_close_wakes_every_waiter_once() {
        let (breaker, stub) = (tripping_at(1), Stub::new(Answer::Ok));
        breaker.trip().expect("no override stands");
        let mut waiters: Vec<_> = (0..5).map(|_| (waiting(&breaker, &stub), Wakes::new())).collect();
        for (service, (_, waker)) in &mut waiters {
            assert!(!is_ready(service, waker));
        }
        assert!(waiters.iter().all(|(_, (wakes, _))| wakes.count() == 0));
        breaker.reset().expect("no override stands");
        for (service, (wakes, waker)) in &mut waiters {
            assert_eq!(wakes.count(), 1);
            assert!(is_ready(service, waker));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn c12_the_end_of_an_override_wakes_waiters() {
        let (breaker, stub) = (tripping_at(1), Stub::new(Answer::Ok));
        breaker.set_override(Override::force_open("deploy"));
        let mut service = waiting(&breaker, &stub);
        let (wakes, waker) = Wakes::new();
        assert!(!is_ready(&mut service, &waker));
        advance(secs(3_600)).await;
        assert_eq!(wakes.count(), 0, "nothing to wait for but an operator");
        breaker.resume();
        assert_eq!(wakes.count(), 1);
        assert!(is_ready(&mut service, &waker));

        breaker.set_override(Override::force_open("deploy").expires_in(secs(60)));
        let before = now();
        let mut other = service.clone();
        other.ready().await.expect("it expires");
        assert!((secs(60)..secs(61)).contains(&now().since(before)));
    }

    #[tokio::test(start_paused = true)]
    async fn c12_the_end_of_the_cooldown_wakes_a_waiter() {
        let (breaker, stub) = (tripping_at(1), Stub::new(Answer::Ok));
        breaker.trip().expect("no override stands");
        let before = now();
        let mut service = waiting(&breaker, &stub);
        assert_eq!(service.ready().await.expect("in the end").call(7).await.expect("it works"), 7);
        assert!((secs(30)..secs(30) + ms(5)).contains(&now().since(before)));
        assert_eq!(breaker.state(), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn c12_a_probe_slot_that_is_given_back_wakes_one_waiter() {
        let (breaker, stub) = (tripping_at(1), Stub::new(Answer::Ok));
        let probe = to_half_open(&breaker).await;
        let (mut first, mut second) = (waiting(&breaker, &stub), waiting(&breaker, &stub));
        let ((first_wakes, first_waker), (second_wakes, second_waker)) = (Wakes::new(), Wakes::new());
        assert!(!is_ready(&mut first, &first_waker) && !is_ready(&mut second, &second_waker));
        probe.report(Outcome::Ignored);
        assert_eq!((first_wakes.count(), second_wakes.count()), (1, 0));
        assert!(is_ready(&mut first, &first_waker));
        assert!(!is_ready(&mut second, &second_waker));
        assert_eq!(first.call(1).await.expect("the probe works"), 1);
        assert_eq!(second_wakes.count(), 1, "the probe closed the circuit");
        assert!(is_ready(&mut second, &second_waker));
    }

    #[tokio::test(start_paused = true)]
    async fn c12_two_ready_clones_never_both_take_one_slot() {
        let (breaker, stub) = (tripping_at(1), Stub::new(Answer::Hang));
        drop(to_half_open(&breaker).await);
        let mut services: Vec<_> = (0..10).map(|_| waiting(&breaker, &stub)).collect();
        services.push(services[0].clone());
        let ready: Vec<_> = services.iter_mut().map(|service| is_ready(service, Waker::noop())).collect();
        assert_eq!(ready.iter().filter(|ready| **ready).count(), 1);
        assert!(ready[0]);
        let mut clone = services[0].clone();
        assert!(!is_ready(&mut clone, Waker::noop()), "readiness is not cloned");
        assert!(breaker.acquire().is_err(), "the slot is reserved");
        let mut hung = Box::pin(services[0].call(1));
        assert!(poll_once(hung.as_mut()).is_pending());
        assert!(!is_ready(&mut services[0], Waker::noop()), "it has used its slot");
        assert_eq!(stub.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn c12_as_many_waiters_get_ready_as_there_are_slots() {
        let breaker = breaker(|b| b.probes(Probes::consecutive(5).concurrent(3)));
        let stub = Stub::new(Answer::Ok);
        drop(to_half_open(&breaker).await);
        let mut services: Vec<_> = (0..10).map(|_| waiting(&breaker, &stub)).collect();
        let ready = services.iter_mut().map(|service| is_ready(service, Waker::noop())).filter(|ready| *ready).count();
        assert_eq!(ready, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn c12_a_ready_service_that_is_dropped_passes_its_slot_on() {
        let (breaker, stub) = (tripping_at(1), Stub::new(Answer::Ok));
        drop(to_half_open(&breaker).await);
        let (mut first, mut second) = (waiting(&breaker, &stub), waiting(&breaker, &stub));
        let (wakes, waker) = Wakes::new();
        assert!(is_ready(&mut first, Waker::noop()) && !is_ready(&mut second, &waker));
        drop(first);
        assert_eq!(wakes.count(), 1);
        assert!(is_ready(&mut second, &waker));
        assert_eq!(breaker.state(), State::HalfOpen);
    }

    #[tokio::test(start_paused = true)]
    async fn c12_a_woken_waiter_that_is_dropped_passes_the_wake_on() {
        let (breaker, stub) = (tripping_at(1), Stub::new(Answer::Ok));
        let probe = to_half_open(&breaker).await;
        let (mut first, mut second) = (waiting(&breaker, &stub), waiting(&breaker, &stub));
        let (wakes, waker) = Wakes::new();
        assert!(!is_ready(&mut first, Waker::noop()) && !is_ready(&mut second, &waker));
        drop(probe);
        assert_eq!(wakes.count(), 0);
        drop(first);
        assert_eq!(wakes.count(), 1);
        assert!(is_ready(&mut second, &waker));
    }

    #[tokio::test(start_paused = true)]
    async fn c12_only_the_latest_waker_of_a_waiter_is_woken() {
        let (breaker, stub) = (tripping_at(1), Stub::new(Answer::Ok));
        breaker.trip().expect("no override stands");
        let mut service = waiting(&breaker, &stub);
        let ((old_wakes, old), (new_wakes, new)) = (Wakes::new(), Wakes::new());
        assert!(!is_ready(&mut service, &old) && !is_ready(&mut service, &new));
        breaker.reset().expect("no override stands");
        assert_eq!((old_wakes.count(), new_wakes.count()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn c12_a_circuit_that_opened_between_readiness_and_call_rejects_and_is_waited_for_again() {
        let (breaker, stub) = (tripping_at(1), Stub::new(Answer::Ok));
        let mut service = waiting(&breaker, &stub);
        assert!(is_ready(&mut service, Waker::noop()));
        fail(&breaker, 1);
        let error = service.call(1).await.expect_err("open");
        assert!(rejection(&*error).is_some());
        assert_eq!(stub.calls(), 0);
        breaker.reset().expect("no override stands");
        assert!(is_ready(&mut service, Waker::noop()));
        fail(&breaker, 1);
        assert!(!is_ready(&mut service, Waker::noop()), "an older readiness is no promise");
    }

    #[tokio::test(start_paused = true)]
    async fn c12_waiting_does_not_poll_busily() {
        let (breaker, stub) = (tripping_at(1), Stub::new(Answer::Err));
        breaker.trip().expect("no override stands");
        let polls = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..10)
            .map(|n| {
                let (mut service, polls) = (waiting(&breaker, &stub), polls.clone());
                tokio::spawn(async move {
                    let answer = loop {
                        let ready = std::future::poll_fn(|cx| {
                            polls.fetch_add(1, Ordering::SeqCst);
                            service.poll_ready(cx)
                        });
                        ready.await.expect("the stub gets ready");
                        if let Ok(answer) = service.call(n).await {
                            break answer;
                        }
                    };
                    assert_eq!(answer, n);
                })
            })
            .collect();
        // The dependency is down for twenty cooldowns.
        for _ in 0..20 {
            tokio::time::sleep(secs(30)).await;
        }
        stub.answers(Answer::Ok);
        for waiter in waiters {
            waiter.await.expect("everybody gets an answer");
        }
        let failed = stub.calls() - 10;
        assert!((15..=20).contains(&failed), "{failed} probes failed");
        let polls = polls.load(Ordering::SeqCst);
        assert!(polls <= 10 * (failed + 2) * 5, "{polls} polls by ten waiters over {failed} failed probes");
    }

    #[tokio::test(start_paused = true)]
    async fn c12_a_hung_probe_holds_waiters_up_no_longer_than_its_deadline() {
        let breaker = breaker(|b| b.probes(Probes::one().deadline(secs(5))));
        let stub = Stub::new(Answer::Ok);
        let hung = to_half_open(&breaker).await;
        let mut service = waiting(&breaker, &stub);
        let before = now();
        let ready = timeout(secs(3_600), service.ready()).await;
        assert!(ready.is_ok(), "nobody but waiters is there to notice that the probe expired");
        assert!(now().since(before) <= secs(36), "the deadline, and then a cooldown");
        drop(hung);
    }

    #[tokio::test(start_paused = true)]
    async fn c12_a_reserved_slot_that_is_never_used_holds_others_up_no_longer_than_its_deadline() {
        let breaker = breaker(|b| b.probes(Probes::one().deadline(secs(5))));
        let stub = Stub::new(Answer::Ok);
        drop(to_half_open(&breaker).await);
        let (mut idle, mut service) = (waiting(&breaker, &stub), waiting(&breaker, &stub));
        assert!(is_ready(&mut idle, Waker::noop()));
        let ready = timeout(secs(3_600), service.ready()).await;
        assert!(ready.is_ok(), "a reservation is a lease with a deadline");
        drop(idle);
    }

    #[tokio::test(start_paused = true)]
    async fn c12_readiness_that_is_never_used_is_no_abandoned_call() {
        let stub = Stub::new(Answer::Ok);
        let breaker = breaker(|b| {
            b.detector(detect::consecutive_failures(1))
                .abandoned_after(secs(10))
                .probes(Probes::one().deadline(secs(60)))
        });
        let mut service = waiting(&breaker, &stub);
        assert!(is_ready(&mut service, Waker::noop()));
        advance(secs(20)).await;
        drop(service);
        assert_eq!(breaker.state(), State::Closed, "no call was made");

        drop(to_half_open(&breaker).await);
        let mut service = waiting(&breaker, &stub);
        assert!(is_ready(&mut service, Waker::noop()));
        advance(secs(20)).await;
        drop(service);
        assert_eq!(breaker.state(), State::HalfOpen, "no probe was made");
        assert_eq!(stub.calls(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn c12_readiness_that_is_lost_to_a_panic_elsewhere_is_no_failed_call() {
        let (breaker, stub) = (tripping_at(1), Stub::new(Answer::Ok));
        let lost = |service: Waiting| {
            let unwound = catch_unwind(AssertUnwindSafe(|| {
                let _ready = service;
                panic!("elsewhere");
            }));
            assert!(unwound.is_err());
        };
        let mut service = waiting(&breaker, &stub);
        assert!(is_ready(&mut service, Waker::noop()));
        lost(service);
        assert_eq!(breaker.state(), State::Closed, "no call was made");

        drop(to_half_open(&breaker).await);
        let mut service = waiting(&breaker, &stub);
        assert!(is_ready(&mut service, Waker::noop()));
        lost(service);
        assert_eq!(breaker.state(), State::HalfOpen, "no probe was made");
        assert!(breaker.acquire().is_ok(), "and its slot is free");
    }

    #[tokio::test]
    async fn c12_no_wake_is_lost_while_another_thread_tells_events() {
        let told = Arc::new(AtomicUsize::new(0));
        let counter = told.clone();
        let breaker = breaker(|b| {
            b.call_events(true).on_event(move |_| {
                counter.fetch_add(1, Ordering::SeqCst);
            })
        });
        let stub = Stub::new(Answer::Ok);
        let barrier = Arc::new(Barrier::new(2));
        const ROUNDS: usize = 5_000;
        let other = thread::spawn({
            let (breaker, barrier) = (breaker.clone(), barrier.clone());
            move || {
                for _ in 0..ROUNDS {
                    barrier.wait();
                    (0..4).for_each(|_| drop(breaker.acquire()));
                    barrier.wait();
                }
            }
        });
        for round in 0..ROUNDS {
            breaker.set_override(Override::force_open("x"));
            let mut service = waiting(&breaker, &stub);
            let (wakes, waker) = Wakes::new();
            assert!(!is_ready(&mut service, &waker));
            barrier.wait();
            (0..round % 7).for_each(|_| std::hint::spin_loop());
            breaker.resume();
            barrier.wait();
            assert_eq!(wakes.count(), 1, "round {round}");
        }
        other.join().expect("no panic");
        assert!(told.load(Ordering::SeqCst) > ROUNDS);
    }

    #[tokio::test(start_paused = true)]
    async fn c12_readiness_is_no_event_of_a_call() {
        let events = Record::default();
        let list = events.clone();
        let breaker = breaker(|b| b.call_events(true).on_event(move |event| list.add(event.to_string())));
        let mut service = waiting(&breaker, &Stub::new(Answer::Ok));
        assert!(is_ready(&mut service, Waker::noop()));
        drop(service);
        assert!(events.take().is_empty(), "a place that was reserved and given back is no call");
    }

    #[tokio::test(start_paused = true)]
    async fn c12_the_time_of_a_call_begins_with_the_call_and_not_with_readiness() {
        let breaker = breaker(|b| b.detector(detect::slow_call_rate(1.0).slower_than(secs(2)).of_last(1)));
        let mut service = waiting(&breaker, &Stub::new(Answer::Ok));
        assert!(is_ready(&mut service, Waker::noop()));
        advance(secs(20)).await;
        assert_eq!(service.call(1).await.expect("fast"), 1);
        assert_eq!(breaker.state(), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn c12_an_inner_readiness_error_gives_the_slot_back() {
        let (breaker, stub) = (tripping_at(1), Stub::new(Answer::Ok));
        drop(to_half_open(&breaker).await);
        stub.gets_ready(Ready::Error);
        let mut service = waiting(&breaker, &stub);
        assert!(service.ready().await.is_err());
        assert_eq!(breaker.state(), State::HalfOpen);
        assert!(breaker.acquire().is_ok(), "the slot is free");
    }
}
