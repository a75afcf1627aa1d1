//! 8, 9, 11, 12: what takes time, under paused Tokio time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use fusebox::circuit_breaker::WaitService;
use fusebox::{CircuitBreakerConfig, Registry, detect::Tally};
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
        for _ in 0..5 {
            let call = breaker.acquire().expect("closed");
            advance(secs(2)).await;
            call.success();
        }
        assert_eq!(breaker.state(), State::Open, "by slow calls");
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
    for _ in 0..21 {
        advance(secs(1)).await;
        succeed(&breaker, 1);
    }
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
        b.detector(detect::slow_call_rate(1.0).slower_than(secs(2)).of_last(2).min_calls(2)).abandoned_after(secs(9))
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
    breaker.set_override(Override::force_open("deploy").expires_after(secs(600)));
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

    breaker.set_override(Override::force_open("deploy").expires_after(secs(60)));
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
    let probe = breaker.acquire().expect("a call that is made takes the slot of one to come");
    assert!(services[0].call(1).await.is_err(), "there is one slot");
    drop(probe);
    assert!(is_ready(&mut services[0], Waker::noop()), "it came back unused");
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
        b.detector(detect::consecutive_failures(1)).abandoned_after(secs(10)).probes(Probes::one().deadline(secs(60)))
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
