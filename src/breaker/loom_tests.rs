//! The lock-free part under the model checker: every interleaving of a few threads.
//!
//! Run with `RUSTFLAGS="--cfg fusebox_loom" cargo test --release --lib loom_`.

use std::time::Duration;

use loom::thread;

use super::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder};
use crate::clock::ManualClock;
use crate::{Cooldown, Permit, Probes, State, detect};

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(f);
}

fn config() -> CircuitBreakerConfigBuilder {
    CircuitBreakerConfig::builder("loom").cooldown(Duration::ZERO).clock(ManualClock::new())
}

fn last_three() -> CircuitBreaker {
    CircuitBreaker::new(config().detector(detect::failures(3).of_last(3)).build().expect("valid"))
}

fn permit(breaker: &CircuitBreaker) -> Permit {
    breaker.acquire().expect("closed")
}

/// Calls and failures in the window.
fn window(breaker: &CircuitBreaker) -> (u64, u64) {
    let tally = breaker.snapshot().detectors[0].tally;
    (tally.calls().expect("calls are counted"), tally.count())
}

#[test]
fn loom_no_outcome_of_the_present_generation_is_lost() {
    model(|| {
        let breaker = last_three();
        let (a, b, c) = (permit(&breaker), permit(&breaker), permit(&breaker));
        let success = thread::spawn(move || a.success());
        let failure = thread::spawn(move || b.failure());
        c.success();
        success.join().expect("no panic");
        failure.join().expect("no panic");
        assert_eq!(window(&breaker), (3, 1));
    });
}

#[test]
fn loom_a_stale_success_is_counted_nowhere() {
    model(|| {
        let breaker = last_three();
        let stale = permit(&breaker);
        let late = thread::spawn(move || stale.success());
        breaker.reset().expect("no override");
        let fresh = permit(&breaker);
        fresh.success();
        late.join().expect("no panic");
        assert_eq!(window(&breaker), (1, 0), "the fresh one is, the stale one is not");
    });
}

#[test]
fn loom_a_success_that_raced_a_reset_is_not_lost() {
    model(|| {
        let breaker = last_three();
        let other = breaker.clone();
        let resets = thread::spawn(move || other.reset().expect("no override"));
        let permit = permit(&breaker);
        let generation = permit.generation();
        permit.success();
        resets.join().expect("no panic");
        let expected = u64::from(generation == breaker.snapshot().generation);
        assert_eq!(window(&breaker), (expected, 0));
    });
}

#[test]
fn loom_a_clean_window_misses_no_failure() {
    model(|| {
        let config = config().detector(detect::failures(2).of_last(2)).build().expect("valid");
        let breaker = CircuitBreaker::new(config);
        // Clean: full, without a failure. The next failure is the first of two.
        permit(&breaker).success();
        permit(&breaker).success();
        drop(breaker.snapshot());
        let (a, b) = (permit(&breaker), permit(&breaker));
        let one = thread::spawn(move || a.failure());
        let other = thread::spawn(move || b.failure());
        one.join().expect("no panic");
        other.join().expect("no panic");
        assert_eq!(breaker.state(), State::Open);
    });
}

#[test]
fn loom_successes_of_an_earlier_tick_stay_in_it() {
    model(|| {
        let clock = ManualClock::new();
        let detector = detect::failure_rate(1.0).within(Duration::from_secs(16)).min_calls(9);
        let config = CircuitBreakerConfig::builder("loom").clock(clock.clone()).detector(detector);
        let breaker = CircuitBreaker::new(config.build().expect("valid"));
        permit(&breaker).success();
        clock.advance(Duration::from_secs(10));
        let (a, b) = (permit(&breaker), permit(&breaker));
        let success = thread::spawn(move || a.success());
        let failure = thread::spawn(move || b.failure());
        success.join().expect("no panic");
        failure.join().expect("no panic");
        assert_eq!(window(&breaker), (3, 1));
        clock.advance(Duration::from_secs(8));
        assert_eq!(window(&breaker), (2, 1), "the first success is out, the later ones are in");
    });
}

/// Trips the breaker; the probe that closes it again, after no time, begins a recovery that is to be seen.
fn begins_to_recover(breaker: &CircuitBreaker) {
    breaker.trip().expect("no override");
    breaker.acquire().expect("the cooldown is over").success();
    assert_eq!(breaker.state(), State::Closed);
}

/// A breaker that has to be healthy for 16 s, and its clock.
fn recovering_in_16_s() -> (CircuitBreaker, ManualClock) {
    let clock = ManualClock::new();
    let cooldown = Cooldown::with(|_| Duration::ZERO).healthy_after(Duration::from_secs(16));
    let config = CircuitBreakerConfig::builder("loom").clock(clock.clone()).cooldown(cooldown);
    (CircuitBreaker::new(config.detector(detect::failures(9).of_last(99)).build().expect("valid")), clock)
}

#[test]
fn loom_successes_count_once_when_a_recovery_begins_or_ends_between_them() {
    model(|| {
        let (breaker, clock) = recovering_in_16_s();
        begins_to_recover(&breaker);
        for _ in 0..15 {
            clock.advance(Duration::from_secs(1));
            permit(&breaker).success();
        }
        clock.advance(Duration::from_secs(1));
        let (a, b) = (permit(&breaker), permit(&breaker));
        let success = thread::spawn(move || a.success());
        let failure = thread::spawn(move || b.failure());
        permit(&breaker).success();
        success.join().expect("no panic");
        failure.join().expect("no panic");
        assert_eq!(window(&breaker), (18, 1));
        clock.advance(Duration::from_secs(1));
        permit(&breaker).success();
        assert_eq!(window(&breaker), (19, 1));
        breaker.trip().expect("no override");
        assert_eq!(breaker.snapshot().openings, 1, "the recovery is over");
    });
}

#[test]
fn loom_a_success_of_before_a_recovery_is_no_part_of_it() {
    model(|| {
        let (breaker, _clock) = recovering_in_16_s();
        let stale = permit(&breaker);
        let late = thread::spawn(move || stale.success());
        begins_to_recover(&breaker);
        permit(&breaker).success();
        late.join().expect("no panic");
        assert_eq!(window(&breaker), (1, 0), "the fresh one is, the stale one is not");
    });
}

#[test]
fn loom_one_probe_goes_out_however_many_ask() {
    model(|| {
        let config = config().probes(Probes::one()).build().expect("valid");
        let breaker = CircuitBreaker::new(config);
        breaker.trip().expect("no override");
        let ask = |breaker: CircuitBreaker| move || breaker.acquire();
        let one = thread::spawn(ask(breaker.clone()));
        let other = thread::spawn(ask(breaker.clone()));
        let answers = [one.join().expect("no panic"), other.join().expect("no panic")];
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        drop(answers);
        assert!(breaker.acquire().is_ok(), "the dropped probe gave its place back");
    });
}

#[test]
fn loom_a_permit_that_outlives_its_breaker_touches_no_other() {
    model(|| {
        let breaker = last_three();
        let late = permit(&breaker);
        let drops = thread::spawn(move || drop(breaker));
        late.failure();
        drops.join().expect("no panic");
    });
}
