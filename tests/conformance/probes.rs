//! 5, 6, 7, 10: probes give their places back, and no more go out than may.

use super::*;

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
                    permit.is_some_and(|permit| {
                        let is_probe = permit.is_probe();
                        permit.report(Outcome::Ignored);
                        is_probe
                    })
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
