//! 21: clocks that step back, and the longest times there are.

use super::*;

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
fn c21_calls_of_a_clock_that_stands_still_are_judged_by_their_share() {
    // As what an instance has seen and others replay: nothing tells in which order the calls of a moment ended.
    let now = Timestamp::from_nanos(7);
    let mut evidence = Evidence::default();
    for _ in 0..40 {
        evidence.add(Run::new(&Call::failure(now), 1));
        evidence.add(Run::new(&Call::success(now), 2));
    }
    let trips = |mut detector: Box<dyn Detector>| {
        evidence.replay(&mut *detector);
        detector.verdict(now)
    };
    assert!(!trips(Box::new(detect::consecutive_failures(2))));
    assert!(!trips(Box::new(detect::failures(2).of_last(2))));
    assert!(!trips(Box::new(detect::failure_rate(0.5).of_last(10))));
    assert!(trips(Box::new(detect::failures(3).of_last(9))));
    assert!(trips(Box::new(detect::failure_rate(0.3).of_last(10))));
    assert!(trips(Box::new(detect::failures(40).within(secs(60)))));
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
    breaker.set_override(Override::force_open("x").expires_after(secs(10)));
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
    breaker.set_override(Override::force_open("x").expires_after(longest));
    assert!(breaker.acquire().is_err());
    clock.set(Timestamp::ZERO);
    breaker.set_override(Override::dry_run("x").expires_after(longest));
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

#[test]
fn c21_rates_within_a_time_are_kept_after_the_clock_stepped_back_with_successes_between() {
    let detector = detect::failure_rate(0.5).within(secs(60)).min_calls(4);
    let (breaker, clock) = breaker(|b| b.detector(detector));
    clock.set(Timestamp::from_nanos(3_600_000_000_000));
    succeed(&breaker, 1);
    fail(&breaker, 1);
    succeed(&breaker, 1);
    clock.set(Timestamp::ZERO);
    fail(&breaker, 1);
    assert!(!breaker.is_open(), "too few calls by the new time");
    succeed(&breaker, 1);
    fail(&breaker, 1);
    assert!(breaker.is_open(), "{}", breaker.snapshot());
}
