//! 4: results of an earlier generation change nothing.

use super::*;

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
