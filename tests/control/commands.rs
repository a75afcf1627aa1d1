//! Trip and reset.

use super::*;

// Commands

#[test]
fn trip_opens_a_healthy_circuit_and_recovery_goes_on_by_itself() {
    let (breaker, clock, events) = recorded(|b| b);
    succeed(&breaker, 3);
    breaker.trip().expect("no override stands");
    assert!(breaker.is_open());
    assert_eq!(breaker.acquire().expect_err("open").reason(), RejectReason::Open);
    clock.advance(secs(30));
    breaker.acquire().expect("the cooldown is over").success();
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(
        lines(&events),
        [
            "test: closed -> open (tripped by command)",
            "test: open -> half-open (the cooldown is over)",
            "test: probe ended: Success",
            "test: half-open -> closed (probes succeeded)",
        ]
    );
}

#[test]
fn trip_while_open_neither_prolongs_the_cooldown_nor_begins_a_generation() {
    let (breaker, clock) = breaker(|b| b);
    breaker.trip().expect("no override stands");
    let before = breaker.snapshot();
    clock.advance(secs(10));
    breaker.trip().expect("no override stands");
    let after = breaker.snapshot();
    assert_eq!(after.generation, before.generation);
    assert_eq!(after.retry_after, Some(secs(20)));
}

#[test]
fn trip_while_half_open_opens_for_a_whole_cooldown_and_the_probe_decides_nothing() {
    let (breaker, clock) = breaker(|b| b);
    let probe = first_probe(&breaker, &clock);
    breaker.trip().expect("no override stands");
    assert_eq!(breaker.retry_after(), Some(secs(30)));
    probe.success();
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn reset_closes_an_open_and_a_half_open_circuit() {
    let (breaker, clock) = breaker(|b| b);
    breaker.trip().expect("no override stands");
    breaker.reset().expect("no override stands");
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.retry_after(), None);

    let probe = first_probe(&breaker, &clock);
    breaker.reset().expect("no override stands");
    assert_eq!(breaker.state(), State::Closed);
    probe.failure();
    assert_eq!(breaker.state(), State::Closed, "the probe is of an earlier generation");
    assert_eq!(failures(&breaker), 0);
}

#[test]
fn reset_in_closed_forgets_the_window_and_is_an_event_but_no_change_of_state() {
    let changes = Record::default();
    let list = changes.clone();
    let (breaker, _clock, events) = recorded(|b| {
        b.detector(detect::consecutive_failures(3)).on_state_change(move |_, from, to| list.add((from, to)))
    });
    fail(&breaker, 2);
    let before = breaker.snapshot().generation;
    events.take();
    breaker.reset().expect("no override stands");
    assert!(breaker.snapshot().generation > before);
    assert_eq!(lines(&events), ["test: closed (reset by command)"]);
    assert!(changes.take().is_empty());
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed, "two of the four were forgotten");
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn reset_forgets_the_growth_of_the_cooldown() {
    let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(5)..=secs(300)).jitter(0.0)));
    first_probe(&breaker, &clock).failure();
    assert_eq!(breaker.retry_after(), Some(secs(10)));
    breaker.reset().expect("no override stands");
    breaker.trip().expect("no override stands");
    assert_eq!(breaker.retry_after(), Some(secs(5)));
}
