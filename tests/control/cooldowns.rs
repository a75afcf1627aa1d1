//! Cooldowns: growing, by function, with `Retry-After`.

use super::*;

// Cooldowns

#[test]
fn a_retry_after_lengthens_the_cooldown_up_to_the_cap() {
    let cases = [
        (None, secs(120), secs(120)),
        (None, secs(10), secs(30)),
        (None, secs(7_200), secs(300)),
        (None, Duration::MAX, secs(300)),
        (Some(secs(60)), secs(120), secs(60)),
        (Some(Duration::ZERO), secs(120), secs(30)),
    ];
    for (cap, asked, expected) in cases {
        let (breaker, clock) = breaker(|b| {
            let b = b.detector(detect::consecutive_failures(1));
            if let Some(cap) = cap { b.retry_after_cap(cap) } else { b }
        });
        report(&breaker, 1, Outcome::FailureAfter(asked));
        assert_eq!(breaker.retry_after(), Some(expected), "cap {cap:?}, asked {asked:?}");
        clock.advance(just_under(expected));
        assert!(breaker.acquire().is_err());
        clock.advance(ms(1));
        report(&breaker, 1, Outcome::FailureAfter(asked));
        assert_eq!(breaker.retry_after(), Some(expected), "a probe's answer does the same");
    }
}

#[test]
fn only_the_failure_that_opens_the_circuit_may_lengthen_its_cooldown() {
    let (breaker, _clock) = tripping_at(2);
    report(&breaker, 1, Outcome::FailureAfter(secs(120)));
    fail(&breaker, 1);
    assert_eq!(breaker.retry_after(), Some(secs(30)));
}

#[test]
fn a_growing_cooldown_doubles_with_each_reopening_up_to_its_cap() {
    let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(5)..=secs(60)).jitter(0.0)));
    breaker.trip().expect("no override stands");
    for (openings, expected) in (1_u32..).zip([5, 10, 20, 40, 60, 60]) {
        assert_eq!(breaker.retry_after(), Some(secs(expected)));
        assert_eq!(breaker.snapshot().openings, openings);
        clock.advance(secs(expected));
        fail(&breaker, 1);
    }
}

#[test]
fn the_factor_of_a_growing_cooldown_can_be_chosen() {
    let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(1)..=secs(60)).factor(3.0).jitter(0.0)));
    breaker.trip().expect("no override stands");
    for expected in [1, 3, 9, 27, 60] {
        assert_eq!(breaker.retry_after(), Some(secs(expected)));
        clock.advance(secs(expected));
        fail(&breaker, 1);
    }
}

#[test]
fn jitter_spreads_a_cooldown_within_ten_percent_and_never_beyond_its_range() {
    let mut second = Vec::new();
    for n in 0..200 {
        let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(100)..=secs(400))));
        clock.advance(secs(n));
        breaker.trip().expect("no override stands");
        let mut cooldowns = Vec::new();
        for _ in 0..4 {
            let wait = breaker.retry_after().expect("open");
            cooldowns.push(wait);
            clock.advance(wait);
            fail(&breaker, 1);
        }
        assert!((secs(100)..=secs(110)).contains(&cooldowns[0]), "{cooldowns:?}");
        assert!((secs(180)..=secs(220)).contains(&cooldowns[1]), "{cooldowns:?}");
        assert!((secs(360)..=secs(400)).contains(&cooldowns[2]), "{cooldowns:?}");
        assert!((secs(360)..=secs(400)).contains(&cooldowns[3]), "{cooldowns:?}");
        second.push(cooldowns[1]);
    }
    assert!(second.iter().any(|d| *d < secs(190)) && second.iter().any(|d| *d > secs(210)), "both ends are used");
    second.sort();
    second.dedup();
    assert!(second.len() > 190, "breakers that opened at different times come back at different times");
}

#[test]
fn growth_outlives_a_short_recovery_and_is_forgotten_after_a_healthy_period() {
    let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(5)..=secs(300)).jitter(0.0)));
    let recover = || {
        clock.advance(breaker.retry_after().expect("open"));
        succeed(&breaker, 1);
        assert_eq!(breaker.state(), State::Closed);
    };
    for expected in [5, 10, 20] {
        breaker.trip().expect("no override stands");
        assert_eq!(breaker.retry_after(), Some(secs(expected)), "a dependency that flaps");
        recover();
        clock.advance(just_under(secs(300)));
    }
    clock.advance(ms(1));
    breaker.trip().expect("no override stands");
    assert_eq!(breaker.retry_after(), Some(secs(5)));
    assert_eq!(breaker.snapshot().openings, 1);
}

#[test]
fn the_healthy_period_can_be_chosen() {
    let (breaker, clock) =
        breaker(|b| b.cooldown(Cooldown::exponential(secs(5)..=secs(300)).jitter(0.0).healthy_after(secs(10))));
    first_probe(&breaker, &clock).success();
    clock.advance(just_under(secs(10)));
    first_probe(&breaker, &clock).success();
    assert_eq!(breaker.snapshot().openings, 2);
    clock.advance(secs(10));
    breaker.trip().expect("no override stands");
    assert_eq!(breaker.retry_after(), Some(secs(5)));
}

#[test]
fn a_cooldown_function_sees_reopenings_retry_after_and_a_draw() {
    let seen = Record::default();
    let list = seen.clone();
    let (breaker, clock) = breaker(|b| {
        b.detector(detect::consecutive_failures(1)).cooldown(Cooldown::with(move |ctx| {
            list.add((ctx.reopenings(), ctx.retry_after(), ctx.draw()));
            secs(10) * (1 + ctx.reopenings())
        }))
    });
    fail(&breaker, 1);
    assert_eq!(breaker.retry_after(), Some(secs(10)));
    clock.advance(secs(10));
    report(&breaker, 1, Outcome::FailureAfter(secs(15)));
    assert_eq!(breaker.retry_after(), Some(secs(20)));
    let seen = seen.take();
    assert_eq!((seen[0].0, seen[0].1), (0, None));
    assert_eq!((seen[1].0, seen[1].1), (1, Some(secs(15))));
    assert!(seen.iter().all(|(_, _, draw)| (0.0..1.0).contains(draw)));
}
