//! How often a breaker reads its clock: a call that needs no time costs none.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use fusebox::Clock;

use super::*;

#[derive(Clone, Debug, Default)]
struct CountingClock {
    inner: ManualClock,
    reads: Arc<AtomicUsize>,
}

impl Clock for CountingClock {
    fn now(&self) -> Timestamp {
        self.reads.fetch_add(1, SeqCst);
        self.inner.now()
    }
}

/// A breaker that counts each success, with that cooldown.
struct Counted {
    breaker: CircuitBreaker,
    clock: CountingClock,
}

impl Counted {
    fn with(cooldown: impl Into<Cooldown>) -> Self {
        let clock = CountingClock::default();
        let detector = detect::failures(3).of_last(100_000);
        let breaker = CircuitBreaker::new(config(|b| b.detector(detector).cooldown(cooldown).clock(clock.clone())));
        Self { breaker, clock }
    }

    /// How often the clock is read while so many calls succeed, in one moment.
    fn reads_of(&self, calls: u32) -> usize {
        let before = self.clock.reads.load(SeqCst);
        succeed(&self.breaker, calls);
        self.clock.reads.load(SeqCst) - before
    }

    fn opens_and_closes(&self) {
        first_probe(&self.breaker, &self.clock.inner).success();
        assert_eq!(self.breaker.state(), State::Closed);
    }
}

/// The truth is a breaker whose cooldown is fixed: it asks for no time but when it hands a batch of successes to its detector.
#[test]
fn successes_read_the_clock_for_a_growing_cooldown_while_a_recovery_is_seen_and_no_longer() {
    const CALLS: u32 = 1_000;
    let fixed = Counted::with(secs(5));
    let healthy = fixed.reads_of(CALLS);
    assert!(healthy < CALLS as usize / 10, "{healthy}");
    let growing = [
        Cooldown::exponential(secs(5)..=secs(60)).jitter(0.0),
        Cooldown::exponential(secs(5)..=secs(60)).jitter(0.0).healthy_after(secs(1)),
        Cooldown::linear(secs(5)..=secs(60), secs(5)).jitter(0.0),
        Cooldown::linear(Duration::ZERO..=secs(60), secs(5)).jitter(0.0),
        Cooldown::with(|ctx| secs(5) * (1 + ctx.reopenings())),
    ];
    for (case, cooldown) in growing.into_iter().enumerate() {
        let growing = Counted::with(cooldown);
        assert_eq!(growing.reads_of(CALLS), healthy, "{case}: it was never open");
        growing.breaker.trip().expect("no override stands");
        growing.clock.inner.advance(secs(5));
        growing.breaker.acquire().expect("the cooldown is over").success();
        assert!(growing.reads_of(CALLS) >= CALLS as usize, "{case}: the recovery is to be seen");
        for _ in 0..16 {
            growing.clock.inner.advance(secs(1));
            growing.reads_of(1);
        }
        drop(growing.breaker.snapshot()); // takes in the last of them
        assert_eq!(growing.reads_of(CALLS), healthy, "{case}: it has recovered");
        growing.opens_and_closes();
        assert_eq!(growing.breaker.snapshot().openings, 1, "{case}: and begins anew");
    }
    fixed.opens_and_closes();
    assert_eq!(fixed.reads_of(CALLS), healthy);
}

/// A rule over numbers of calls asks for no time. The truth is a rule over a time, whose failures have each one.
#[test]
fn failures_over_numbers_of_calls_read_the_clock_only_when_they_open_the_circuit() {
    let reads_of_each = |detector: Box<dyn Detector>| {
        let clock = CountingClock::default();
        let breaker = CircuitBreaker::new(config(|b| b.detector(detector).clock(clock.clone())));
        let reads = std::iter::from_fn(|| {
            let before = clock.reads.load(SeqCst);
            breaker.acquire().ok()?.failure();
            Some(clock.reads.load(SeqCst) - before)
        });
        reads.collect::<Vec<usize>>()
    };
    let of_last = || detect::failures(4).of_last(9);
    let in_a_row = detect::consecutive_failures(4);
    assert_eq!(reads_of_each(of_last().into()), [0, 0, 0, 1]);
    assert_eq!(reads_of_each(in_a_row.into()), [0, 0, 0, 1]);
    assert_eq!(reads_of_each(of_last().or(detect::consecutive_failures(9)).into()), [0, 0, 0, 1]);
    let within = detect::failures(4).within(secs(60));
    assert_eq!(reads_of_each(within.clone().into()), [1, 1, 1, 1]);
    assert_eq!(reads_of_each(of_last().or(within).into()), [1, 1, 1, 1]);
    let slow = detect::slow_call_rate(1.0).slower_than(secs(9)).of_last(9).min_calls(9);
    assert_eq!(reads_of_each(of_last().or(slow).into()), [2, 2, 2, 2], "when it began, and when it ended");
}

/// Whether a service is ready is asked before each call: where the cooldown is over, the call is the one to find out more.
#[test]
fn a_service_whose_cooldown_is_over_is_ready_after_one_look_at_the_clock() {
    let Counted { breaker, clock } = Counted::with(secs(5));
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let mut service = layer.layer(service_fn(async |request: u32| Ok::<u32, &str>(request)));
    let mut reads_of_ready = || {
        let before = clock.reads.load(SeqCst);
        assert!(service.ready().now_or_never().is_some_and(|ready| ready.is_ok()));
        clock.reads.load(SeqCst) - before
    };
    breaker.trip().expect("no override stands");
    let while_open = reads_of_ready();
    clock.inner.advance(secs(5));
    assert_eq!(reads_of_ready(), while_open);
    assert_eq!(breaker.state(), State::Open, "no call has asked yet");
}
