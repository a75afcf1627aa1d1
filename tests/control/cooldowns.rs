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
fn the_longest_cooldown_may_have_jitter() {
    let cooldowns = [
        Cooldown::fixed(Duration::MAX).jitter(1e-17),
        Cooldown::fixed(Duration::MAX).jitter(0.1),
        Cooldown::with(|_| Duration::MAX).jitter(1e-17),
        Cooldown::with(|_| Duration::MAX).jitter(0.1),
    ];
    for cooldown in cooldowns {
        let (breaker, clock) = breaker(|b| b.cooldown(cooldown));
        breaker.trip().expect("no override stands");
        clock.advance(secs(86_400 * 365 * 100));
        assert!(breaker.acquire().is_err(), "a cooldown of centuries");
    }
}

/// Else it would never grow: a cooldown of nothing is over, and forgotten, as soon as the circuit closes.
#[test]
fn what_begins_with_nothing_grows() {
    let function = Cooldown::with(|ctx| secs(5) * ctx.reopenings());
    let line = Cooldown::linear(Duration::ZERO..=secs(60), secs(5)).jitter(0.0);
    let cases = [function, line]
        .map(|cooldown| [(cooldown.clone(), None, [0, 5, 10]), (cooldown, Some(Duration::ZERO), [0, 0, 0])]);
    for (cooldown, healthy_after, expected) in cases.into_iter().flatten() {
        let (breaker, clock) = breaker(|b| {
            b.cooldown(if let Some(period) = healthy_after { cooldown.healthy_after(period) } else { cooldown })
        });
        for cooldown in expected {
            breaker.trip().expect("no override stands");
            assert_eq!(breaker.retry_after().unwrap_or_default(), secs(cooldown));
            clock.advance(secs(cooldown));
            succeed(&breaker, 1);
            assert_eq!(breaker.state(), State::Closed);
        }
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
fn a_linear_cooldown_grows_by_its_step_up_to_its_cap() {
    let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::linear(secs(5)..=secs(22), secs(8)).jitter(0.0)));
    breaker.trip().expect("no override stands");
    for expected in [5, 13, 21, 22, 22] {
        assert_eq!(breaker.retry_after(), Some(secs(expected)));
        clock.advance(secs(expected));
        fail(&breaker, 1);
    }
    clock.advance(secs(22));
    succeed(&breaker, 1);
    call_for(&breaker, &clock, secs(23), secs(1));
    breaker.trip().expect("no override stands");
    assert_eq!(breaker.retry_after(), Some(secs(5)), "it has recovered");
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

/// All hundred came back within 10 ms: they had drawn the same number.
#[test]
fn breakers_of_one_process_that_open_together_come_back_apart() {
    let cooldowns: [(fn() -> Cooldown, _); 4] = [
        (|| Cooldown::exponential(secs(30)..=secs(300)), 30..33),
        (|| Cooldown::exponential(secs(30)..=secs(30)), 27..30),
        (|| Cooldown::fixed(secs(30)).jitter(0.1), 27..30),
        (|| Cooldown::with(|_| secs(30)).jitter(0.1), 27..30),
    ];
    for (cooldown, range) in cooldowns {
        let clock = ManualClock::new();
        let breakers: Vec<_> =
            (0..100).map(|_| CircuitBreaker::new(config(|b| b.cooldown(cooldown()).clock(clock.clone())))).collect();
        let mut waits: Vec<_> = breakers
            .iter()
            .map(|breaker| {
                breaker.trip().expect("no override stands");
                breaker.retry_after().expect("open")
            })
            .collect();
        waits.sort();
        assert!(waits.iter().all(|wait| secs(range.start) <= *wait && *wait <= secs(range.end)), "{waits:?}");
        let in_100_ms = |from: Duration| waits.iter().filter(|wait| (from..from + ms(100)).contains(*wait)).count();
        let most = waits.iter().map(|wait| in_100_ms(*wait)).max();
        assert!(most < Some(20), "{most:?} of 100 come back within 100 ms");
        assert!(waits[99].saturating_sub(waits[0]) > secs(2), "{waits:?}");
    }
}

#[test]
fn a_fixed_cooldown_and_a_plain_duration_are_exact() {
    for cooldown in [Cooldown::fixed(secs(30)), secs(30).into(), Cooldown::with(|_| secs(30))] {
        let (breaker, _clock) = breaker(|b| b.cooldown(cooldown));
        breaker.trip().expect("no override stands");
        assert_eq!(breaker.retry_after(), Some(secs(30)));
    }
}

/// Waits out the cooldown and closes the circuit.
fn recover(breaker: &CircuitBreaker, clock: &ManualClock) {
    clock.advance(breaker.retry_after().expect("open"));
    succeed(breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

/// Calls that succeed, so far apart, for so long.
fn call_for(breaker: &CircuitBreaker, clock: &ManualClock, time: Duration, apart: Duration) {
    let mut passed = Duration::ZERO;
    while passed < time {
        clock.advance(apart);
        succeed(breaker, 1);
        passed += apart;
    }
}

/// It was forgotten after as long a silence as the upper end.
#[test]
fn a_silent_period_forgets_no_growth() {
    let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(1)..=secs(60)).jitter(0.0)));
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        breaker.trip().expect("no override stands");
        assert_eq!(breaker.retry_after(), Some(secs(expected)));
        recover(&breaker, &clock);
        clock.advance(secs(86_400));
    }
}

#[test]
fn growth_is_forgotten_after_calls_for_as_long_as_the_last_cooldown() {
    for apart in [ms(50), secs(1)] {
        let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(20)..=secs(640)).jitter(0.0)));
        for (expected, openings) in [(20, 1), (40, 2), (80, 3)] {
            breaker.trip().expect("no override stands");
            assert_eq!(breaker.retry_after(), Some(secs(expected)), "a dependency that flaps");
            recover(&breaker, &clock);
            call_for(&breaker, &clock, secs(expected - 2), apart);
            assert_eq!(breaker.snapshot().openings, openings);
        }
        call_for(&breaker, &clock, secs(4), apart);
        assert_eq!(breaker.snapshot().openings, 0, "healthy for 82 s");
        breaker.trip().expect("no override stands");
        assert_eq!(breaker.retry_after(), Some(secs(20)));
    }
}

#[test]
fn failures_show_no_recovery() {
    let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(20)..=secs(640)).jitter(0.0)));
    breaker.trip().expect("no override stands");
    recover(&breaker, &clock);
    for _ in 0..100 {
        clock.advance(secs(30));
        fail(&breaker, 1);
    }
    assert_eq!((breaker.state(), breaker.snapshot().openings), (State::Closed, 1));
}

#[test]
fn sixteen_rare_calls_forget_growth() {
    let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(20)..=secs(640)).jitter(0.0)));
    breaker.trip().expect("no override stands");
    recover(&breaker, &clock);
    for openings in [vec![1; 15], vec![0]].concat() {
        clock.advance(secs(3_600));
        succeed(&breaker, 1);
        assert_eq!(breaker.snapshot().openings, openings);
    }
}

#[test]
fn the_healthy_period_can_be_chosen() {
    let config = |period| Cooldown::exponential(secs(5)..=secs(300)).jitter(0.0).healthy_after(period);
    let (breaker, clock) = breaker(|b| b.cooldown(config(secs(60))));
    first_probe(&breaker, &clock).success();
    call_for(&breaker, &clock, secs(57), secs(1));
    first_probe(&breaker, &clock).success();
    assert_eq!(breaker.snapshot().openings, 2, "57 s are not 60");
    call_for(&breaker, &clock, secs(62), secs(1));
    breaker.trip().expect("no override stands");
    assert_eq!(breaker.retry_after(), Some(secs(5)));

    let (breaker, clock) = self::breaker(|b| b.cooldown(config(Duration::ZERO)));
    for _ in 0..3 {
        breaker.trip().expect("no override stands");
        assert_eq!(breaker.retry_after(), Some(secs(5)), "each opening is the first");
        recover(&breaker, &clock);
    }
}

#[test]
fn a_reset_forgets_growth_at_once() {
    let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(5)..=secs(300)).jitter(0.0)));
    for _ in 0..3 {
        breaker.trip().expect("no override stands");
        recover(&breaker, &clock);
    }
    breaker.reset().expect("no override stands");
    assert_eq!(breaker.snapshot().openings, 0);
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
