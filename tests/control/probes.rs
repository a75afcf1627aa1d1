//! Probes and their leases.

use super::*;

// Probes

#[test]
fn consecutive_probes_close_under_low_traffic() {
    let (breaker, clock) = breaker(|b| b.detector(detect::failures(3).within(secs(10))).probes(Probes::consecutive(5)));
    first_probe(&breaker, &clock).success();
    for _ in 0..4 {
        assert_eq!(breaker.state(), State::HalfOpen);
        clock.advance(secs(600));
        succeed(&breaker, 1);
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_failure_among_consecutive_probes_reopens() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::consecutive(3)));
    first_probe(&breaker, &clock).success();
    succeed(&breaker, 1);
    fail(&breaker, 1);
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeFailed));
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_ratio_of_probes_is_decided_as_soon_as_it_is_certain() {
    let ratio = |outcomes: &[Outcome]| {
        let (breaker, clock) = breaker(|b| b.probes(Probes::ratio(2, 4)));
        breaker.trip().expect("no override stands");
        clock.advance(secs(30));
        let mut states = Vec::new();
        for outcome in outcomes {
            report(&breaker, 1, *outcome);
            states.push(breaker.state());
        }
        states
    };
    let (s, f) = (Outcome::Success, Outcome::Failure);
    assert_eq!(ratio(&[s, s]), [State::HalfOpen, State::Closed]);
    assert_eq!(ratio(&[f, f, f]), [State::HalfOpen, State::HalfOpen, State::Open]);
    assert_eq!(ratio(&[f, s, f, s]), [State::HalfOpen, State::HalfOpen, State::HalfOpen, State::Closed]);
}

#[test]
fn a_probe_that_outlives_its_deadline_has_failed_whoever_notices_first() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::one().deadline(secs(5))));
    let hung = first_probe(&breaker, &clock);
    clock.advance(just_under(secs(5)));
    assert_eq!(breaker.acquire().expect_err("its place is taken").reason(), RejectReason::ProbesBusy);
    clock.advance(ms(1));
    assert_eq!(breaker.acquire().expect_err("reopened").reason(), RejectReason::Open);
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeExpired));
    hung.success();
    assert_eq!(breaker.state(), State::Open, "too late");

    let hung = first_probe_again(&breaker, &clock);
    clock.advance(secs(5));
    hung.success();
    assert_eq!(breaker.state(), State::Open, "its own report comes too late, too");
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeExpired));
}

#[test]
fn a_call_abandoned_after_the_limit_is_a_failure_and_sooner_it_is_nothing() {
    let (breaker, clock) = breaker(|b| b.detector(detect::consecutive_failures(2)).abandoned_after(secs(10)));
    for (after, counted) in [(just_under(secs(10)), 0), (secs(10), 1)] {
        let call = breaker.acquire().expect("closed");
        clock.advance(after);
        drop(call);
        assert_eq!(failures(&breaker), counted);
    }
    let call = breaker.acquire().expect("closed");
    clock.advance(secs(11));
    call.report(Outcome::Ignored);
    assert_eq!(failures(&breaker), 1, "a call that ended is not abandoned");
    let call = breaker.acquire().expect("closed");
    clock.advance(secs(11));
    drop(call);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn an_abandoned_probe_reopens_and_one_dropped_sooner_frees_its_place() {
    let (breaker, clock) = breaker(|b| b.abandoned_after(secs(10)));
    drop(first_probe(&breaker, &clock));
    assert_eq!(breaker.state(), State::HalfOpen);
    let probe = breaker.acquire().expect("the place is free again");
    clock.advance(secs(10));
    drop(probe);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeFailed));
}

#[test]
fn c70_an_abandoned_call_that_counts_as_a_failure_is_told_as_one() {
    let (breaker, clock, events) = recorded(|b| b.detector(detect::consecutive_failures(2)).abandoned_after(secs(10)));
    let call = breaker.acquire().expect("closed");
    clock.advance(secs(10));
    drop(call);
    assert_eq!(failures(&breaker), 1);
    assert_eq!(
        lines(&events),
        ["test: call ended: Failure after 10s, abandoned"],
        "failures are told without `call_events`"
    );
}

/// What listeners hear of a call is what the breaker makes of it: the outcome, and whether it was abandoned.
fn told(events: &Record<Event>) -> Vec<(Outcome, bool, bool)> {
    let ended = |event: Event| match event.kind() {
        EventKind::Ended { outcome, probe, abandoned, .. } => Some((outcome, probe, abandoned)),
        _ => None,
    };
    events.take().into_iter().filter_map(ended).collect()
}

#[test]
fn c70_what_is_given_up_in_time_is_told_as_cancelled_and_what_fails_late_as_no_more_than_that() {
    let (breaker, clock, events) =
        recorded(|b| b.detector(detect::consecutive_failures(9)).abandoned_after(secs(10)).call_events(true));
    let call = |after: Duration, outcome: Option<Outcome>| {
        let permit = breaker.acquire().expect("closed");
        clock.advance(after);
        match outcome {
            Some(outcome) => permit.report(outcome),
            None => drop(permit),
        }
    };
    call(just_under(secs(10)), None);
    call(secs(10), None);
    call(secs(10), Some(Outcome::Cancelled));
    for outcome in [Outcome::Failure, Outcome::FailureAfter(secs(1)), Outcome::Ignored, Outcome::Success] {
        call(secs(10), Some(outcome));
    }
    assert_eq!(
        told(&events),
        [
            (Outcome::Cancelled, false, false),
            (Outcome::Failure, false, true),
            (Outcome::Failure, false, true),
            (Outcome::Failure, false, false),
            (Outcome::FailureAfter(secs(1)), false, false),
            (Outcome::Ignored, false, false),
            (Outcome::Success, false, false),
        ]
    );
}

#[test]
fn c70_an_abandoned_probe_is_told_as_a_failure() {
    let (breaker, clock, events) = recorded(|b| b.abandoned_after(secs(10)));
    drop(first_probe(&breaker, &clock));
    let probe = breaker.acquire().expect("the place is free again");
    clock.advance(secs(10));
    drop(probe);
    assert_eq!(told(&events), [(Outcome::Cancelled, true, false), (Outcome::Failure, true, true)]);
}

#[test]
fn a_slow_success_is_judged_and_a_fast_one_is_not() {
    let (breaker, clock) =
        breaker(|b| b.detector(detect::slow_call_rate(0.5).slower_than(secs(2)).of_last(4).min_calls(2)));
    let call = |took: Duration| {
        let permit = breaker.acquire().expect("closed");
        clock.advance(took);
        permit.success();
    };
    call(just_under(secs(2)));
    call(secs(1));
    call(secs(1));
    call(secs(2));
    assert_eq!(breaker.state(), State::Closed, "one of four");
    call(secs(3));
    assert_eq!(breaker.state(), State::Open, "two of the last four");
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::Detected(Tally::slow_calls(2).of(4))));
}

/// What opens the circuit in the tests below.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    SlowCalls,
    Failures,
    Command,
}

/// Half of the calls failed, or 80 % took two seconds.
fn mixed() -> Combined {
    let slow = detect::slow_call_rate(0.8).slower_than(secs(2)).of_last(20);
    detect::failure_rate(0.5).of_last(20).or(slow)
}

fn slow_success(breaker: &CircuitBreaker, clock: &ManualClock) {
    let permit = breaker.acquire().expect("admitted");
    clock.advance(secs(2));
    permit.success();
}

/// Has the circuit opened, and lets its cooldown pass.
fn opened(breaker: &CircuitBreaker, clock: &ManualClock, by: By) {
    match by {
        By::SlowCalls => (0..5).for_each(|_| slow_success(breaker, clock)),
        By::Failures => fail(breaker, 5),
        By::Command => breaker.trip().expect("no override stands"),
    }
    assert!(breaker.is_open(), "{by:?}");
    clock.advance(secs(30));
}

#[test]
fn a_slow_probe_reopens_where_slow_calls_opened_the_circuit_and_closes_where_not() {
    for (by, state) in [(By::SlowCalls, State::Open), (By::Failures, State::Closed), (By::Command, State::Closed)] {
        let (breaker, clock) = breaker(|b| b.detector(mixed()));
        opened(&breaker, &clock, by);
        slow_success(&breaker, &clock);
        assert_eq!(breaker.state(), state, "{by:?}");
    }
}

/// Every second call is slow, which is far from 80 %: this reopened nine times in a hundred seconds, for ever.
#[test]
fn what_failures_opened_closes_though_every_second_probe_is_slow() {
    for probes in [Probes::one(), Probes::consecutive(4), Probes::ratio(3, 5), Probes::consecutive(20)] {
        for slow_first in [false, true] {
            let (breaker, clock) = breaker(|b| b.detector(mixed()).probes(probes));
            opened(&breaker, &clock, By::Failures);
            for nth in 0..20 {
                match (nth % 2 == 0) == slow_first {
                    true => slow_success(&breaker, &clock),
                    false => succeed(&breaker, 1),
                }
                if breaker.state() == State::Closed {
                    break;
                }
            }
            assert_eq!(breaker.state(), State::Closed, "{probes:?}");
            assert_eq!(breaker.snapshot().openings, 1, "{probes:?}: at the first try");
        }
    }
}

/// The probes by themselves would open a closed circuit, so they do not close an open one.
#[test]
fn slow_probes_have_failed_where_they_meet_the_rule_by_themselves() {
    let (breaker, clock) = breaker(|b| b.detector(mixed()).probes(Probes::ratio(6, 8)));
    opened(&breaker, &clock, By::Failures);
    for _ in 0..4 {
        slow_success(&breaker, &clock);
        assert_eq!(breaker.snapshot().probes.expect("half-open").failed, 0, "too few to judge");
    }
    slow_success(&breaker, &clock);
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeFailed), "five of five");
    assert_eq!(breaker.snapshot().recent.to_string(), "SSSSF");

    clock.advance(secs(30));
    for state in [State::HalfOpen, State::HalfOpen, State::Open] {
        slow_success(&breaker, &clock);
        assert_eq!(breaker.state(), state, "it was slowness that reopened the circuit");
    }
}

#[test]
fn slow_probes_have_failed_from_when_they_meet_the_rule() {
    let (breaker, clock) = breaker(|b| b.detector(mixed()).probes(Probes::ratio(3, 20)));
    opened(&breaker, &clock, By::Failures);
    let results = |breaker: &CircuitBreaker| breaker.snapshot().probes.map(|probes| (probes.succeeded, probes.failed));
    slow_success(&breaker, &clock);
    fail(&breaker, 1);
    slow_success(&breaker, &clock);
    assert_eq!(results(&breaker), Some((2, 1)), "two of three are too few to judge");
    slow_success(&breaker, &clock);
    assert_eq!(breaker.state(), State::Closed);

    let (breaker, clock) = self::breaker(|b| b.detector(mixed()).probes(Probes::ratio(6, 20)));
    opened(&breaker, &clock, By::Failures);
    (0..5).for_each(|_| slow_success(&breaker, &clock));
    assert_eq!(results(&breaker), Some((0, 5)), "five of five");
    fail(&breaker, 5);
    assert_eq!(results(&breaker), Some((0, 10)), "a failure makes no slow probe good");
    succeed(&breaker, 6);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn what_slow_calls_opened_stays_so_while_probes_fail_and_no_longer() {
    let (breaker, clock) = breaker(|b| b.detector(mixed()));
    opened(&breaker, &clock, By::SlowCalls);
    fail(&breaker, 1);
    clock.advance(secs(30));
    slow_success(&breaker, &clock);
    assert_eq!(breaker.state(), State::Open, "no probe has shown that it is over");
    clock.advance(secs(30));
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
    opened(&breaker, &clock, By::Failures);
    slow_success(&breaker, &clock);
    assert_eq!(breaker.state(), State::Closed, "this time it were failures");
}

#[test]
fn probes_that_are_evidence_of_nothing_reopen_after_ten_cooldowns() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::one().deadline(secs(5))));
    let start = first_probe(&breaker, &clock);
    start.report(Outcome::Ignored);
    let mut waited = Duration::ZERO;
    while breaker.acquire().map(|permit| permit.report(Outcome::Ignored)).is_ok() {
        clock.advance(secs(1));
        waited += secs(1);
        assert!(waited <= secs(300), "half-open must end");
    }
    assert_eq!(waited, secs(300), "ten cooldowns of 30 s");
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbesInconclusive));
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_short_cooldown_leaves_an_inconclusive_round_a_minute() {
    let (breaker, clock) = breaker(|b| b.cooldown(secs(1)).probes(Probes::one().deadline(secs(5))));
    drop(first_probe(&breaker, &clock));
    clock.advance(just_under(secs(60)));
    drop(breaker.acquire().expect("still trying"));
    clock.advance(ms(1));
    assert!(breaker.acquire().is_err());
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbesInconclusive));
}

#[test]
fn evidence_begins_the_wait_for_a_verdict_anew() {
    let (breaker, clock) = breaker(|b| b.cooldown(secs(1)).probes(Probes::consecutive(3).deadline(secs(5))));
    first_probe(&breaker, &clock).success();
    clock.advance(secs(59));
    drop(breaker.acquire().expect("half-open"));
    clock.advance(secs(59));
    succeed(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed, "no calls is not the same as no evidence");
}

/// The dependency hangs, and each caller gives up after a second: it took a hundred calls in a hundred seconds, and more.
#[test]
fn three_probes_in_a_row_that_are_given_up_reopen() {
    let (breaker, clock) = breaker(|b| b);
    breaker.trip().expect("no override stands");
    for _ in 0..3 {
        clock.advance(secs(30));
        for states in [State::HalfOpen, State::HalfOpen, State::Open] {
            let hanging = breaker.acquire().expect("a place");
            clock.advance(secs(1));
            drop(hanging);
            assert_eq!(breaker.state(), states);
        }
        let reason = breaker.snapshot().reason.expect("it has changed");
        assert_eq!(reason, TransitionReason::ProbesGivenUp);
        assert_eq!(reason.to_string(), "three probes in a row were given up without an answer");
    }
    clock.advance(secs(30));
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn an_answer_begins_the_count_of_probes_that_are_given_up_anew() {
    for answer in [Outcome::Ignored, Outcome::Success, Outcome::Failure] {
        let (breaker, clock) = breaker(|b| b.probes(Probes::ratio(2, 3)));
        drop(first_probe(&breaker, &clock));
        drop(breaker.acquire().expect("a place"));
        report(&breaker, 1, answer);
        for state in [State::HalfOpen, State::HalfOpen, State::Open] {
            drop(breaker.acquire().expect("a place"));
            assert_eq!(breaker.state(), state, "{answer:?}");
        }
    }
}

#[test]
fn probes_that_are_given_up_count_by_the_half_open_period() {
    let (breaker, clock) = breaker(|b| b);
    for _ in 0..3 {
        drop(first_probe(&breaker, &clock));
        drop(breaker.acquire().expect("a place"));
        assert_eq!(breaker.state(), State::HalfOpen);
    }
}

#[test]
fn a_call_that_was_only_reserved_is_no_probe_that_was_given_up() {
    let (breaker, clock) = breaker(|b| b);
    let layer = CircuitBreakerLayer::from(breaker.clone()).wait_when_open();
    breaker.trip().expect("no override stands");
    clock.advance(secs(30));
    for _ in 0..10 {
        let mut service = layer.layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
        service.ready().now_or_never().expect("ready at once").expect("ready");
        assert_eq!(breaker.snapshot().probes.expect("half-open").in_flight, 1);
        drop(service);
        assert_eq!(breaker.state(), State::HalfOpen);
    }
}

#[test]
fn a_half_open_period_ends_when_its_probes_have_not_decided_in_time() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::consecutive(3).decide_within(secs(60))));
    first_probe(&breaker, &clock).success();
    clock.advance(secs(59));
    let late = breaker.acquire().expect("it has a second left");
    clock.advance(just_under(secs(1)));
    assert_eq!(breaker.acquire().expect_err("one at a time").reason(), RejectReason::ProbesBusy);
    clock.advance(ms(1));
    late.success();
    assert_eq!(breaker.state(), State::Open, "its own report comes too late");
    let reason = breaker.snapshot().reason.expect("it has changed");
    assert_eq!(reason, TransitionReason::HalfOpenTooLong);
    assert_eq!(
        (reason.as_str(), reason.to_string().as_str()),
        ("half_open_too_long", "half-open for too long without a verdict")
    );

    clock.advance(secs(30));
    for _ in 0..2 {
        succeed(&breaker, 1);
        clock.advance(secs(20));
    }
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed, "40 s are soon enough");
}
