//! The execution log and call events.

use super::*;

// Logs

#[test]
fn the_execution_log_runs_over_all_states_and_keeps_the_newest() {
    let (breaker, clock) = breaker(|b| b.detector(detect::consecutive_failures(2)).execution_log(5));
    succeed(&breaker, 2);
    report(&breaker, 1, Outcome::Ignored);
    drop(breaker.acquire().expect("closed"));
    fail(&breaker, 2);
    assert_eq!(breaker.snapshot().recent.to_string(), "SSFF");
    clock.advance(secs(30));
    fail(&breaker, 1);
    assert_eq!(breaker.snapshot().recent.to_string(), "SSFFF");
    clock.advance(secs(30));
    succeed(&breaker, 2);
    let recent = breaker.snapshot().recent;
    assert_eq!(recent.to_string(), "FFFSS");
    assert_eq!(recent.iter().next_back(), Some(Outcome::Success));
    assert_eq!((recent.len(), recent.is_empty()), (5, false));
    breaker.reset().expect("no override stands");
    assert!(breaker.snapshot().recent.is_empty(), "reset forgets every outcome");
}

#[test]
fn the_execution_log_counts_healthy_calls_exactly() {
    let (breaker, _clock) = breaker(|b| b.execution_log(1_000));
    for n in 1..=300 {
        succeed(&breaker, 1);
        if n % 100 == 0 {
            assert_eq!(breaker.snapshot().recent.len(), n);
        }
    }
}

#[test]
fn a_probe_that_expired_is_in_the_execution_log_like_any_other_failed_one() {
    let (breaker, clock) = breaker(|b| b.execution_log(5).probes(Probes::one().deadline(secs(5))));
    let hung = first_probe(&breaker, &clock);
    clock.advance(secs(5));
    assert!(breaker.acquire().is_err());
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.snapshot().recent.to_string(), "F");
    drop(hung);
}

#[test]
fn without_a_log_the_recent_outcomes_are_those_that_matter_in_the_state() {
    let (breaker, clock) = breaker(|b| b.detector(detect::failures(2).of_last(4)).probes(Probes::ratio(2, 4)));
    succeed(&breaker, 3);
    fail(&breaker, 2);
    assert_eq!(breaker.snapshot().recent.to_string(), "SSFF", "what opened it");
    clock.advance(secs(30));
    succeed(&breaker, 1);
    fail(&breaker, 1);
    assert_eq!(breaker.snapshot().recent.to_string(), "SF", "the probes");
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.snapshot().recent.to_string(), "SFFF", "the probes that reopened it");
    breaker.reset().expect("no override stands");
    assert!(breaker.snapshot().recent.is_empty());
}

#[test]
fn a_snapshot_shows_state_since_reason_and_probes() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::consecutive(3).concurrent(2)));
    assert_eq!(breaker.snapshot().reason, None, "it never changed");
    let probe = first_probe(&breaker, &clock);
    succeed(&breaker, 1);
    clock.advance(secs(7));
    let seen = breaker.snapshot();
    assert_eq!((seen.state, seen.reason), (State::HalfOpen, Some(TransitionReason::CooldownOver)));
    assert_eq!(seen.in_state_for, secs(7));
    assert_eq!(seen.retry_after, None);
    let tally = seen.probes.expect("half-open");
    assert_eq!((tally.in_flight, tally.succeeded, tally.failed, tally.needed), (1, 1, 0, 3));
    assert_eq!(
        seen.to_string(),
        "test: half-open (the cooldown is over), probes: 1 on their way, 1 of 3 succeeded, 0 failures"
    );
    drop(probe);
}

// Times that are over, and things that are one

#[test]
fn a_wait_that_is_over_or_next_to_nothing_is_said_in_words() {
    let (breaker, clock) = breaker(|b| b.cooldown(secs(30)).probes(Probes::one()));
    breaker.trip().expect("no override stands");
    let rejected = breaker.acquire().expect_err("open");
    let said = |left: Duration| {
        let snapshot = breaker.snapshot().to_string();
        let ending = |text: &str| text.split(", ").find(|part| part.starts_with("retry")).map(str::to_owned);
        assert_eq!(breaker.retry_after(), Some(left));
        (ending(&snapshot), ending(&rejected.to_string()))
    };
    let both = |text: &str| (Some(text.to_owned()), Some(text.to_owned()));
    clock.advance(ms(29_000));
    assert_eq!(said(secs(1)), (Some("retry in 1.0s".to_owned()), Some("retry in 1s".to_owned())));
    clock.advance(Duration::from_micros(999_900));
    assert_eq!(said(Duration::from_micros(100)), both("retry in less than 1ms"));
    clock.advance(Duration::from_micros(100));
    assert_eq!(said(Duration::ZERO), both("retry now"));
}

#[test]
fn one_of_something_is_not_called_many() {
    assert_eq!(TransitionReason::Voted(1).to_string(), "1 instance has tripped");
    assert_eq!(fusebox::Budget::tokens(1, 0.5).to_string(), "budget 1 token, 0.5 per success");
    let error = CircuitBreakerConfig::builder("a").probes(Probes::ratio(2, 1)).build().expect_err("two of one");
    assert_eq!(error.to_string(), "`probes` is 2, allowed is 1 success of 1");
}
