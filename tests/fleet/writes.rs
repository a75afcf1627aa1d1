//! What is written, and what is not.

use fusebox::{Clock, clock::Timestamp};

use super::*;

#[tokio::test]
async fn healthy_calls_write_nothing() {
    let bed = Bed::new();
    let voting = |builder: CircuitBreakerConfigBuilder| {
        builder.detector(detect::failure_rate(0.5).of_last(100)).fleet(Fleet::votes(2).instance_id("a"))
    };
    for one in [bed.instance(|builder| builder), bed.instance(usual), bed.instance(voting)] {
        one.breaker.flush().await;
        let before = one.wire.commits();
        for n in 0..100_000 {
            if n % 1_000 == 0 {
                bed.clock.advance(ms(500));
            }
            succeed(&one.breaker, 1);
        }
        one.breaker.flush().await;
        assert_eq!(one.wire.commits(), before);
    }
}

#[tokio::test]
async fn healthy_calls_under_a_rate_write_no_more_than_a_flush_does() {
    let bed = Bed::new();
    let [one] = bed.fleet(|builder| builder.detector(detect::failure_rate(0.5).of_last(100))).await;
    let before = one.wire.commits();
    for _ in 0..10 {
        for _ in 0..10_000 {
            succeed(&one.breaker, 1);
        }
        one.breaker.flush().await;
    }
    let commits = one.wire.commits() - before;
    assert!((1..=20).contains(&commits), "{commits} writes for ten flushes");
}

#[tokio::test]
async fn calls_rejected_while_open_or_half_open_write_nothing() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    fleet[0].breaker.trip().expect("no override");
    flush(&fleet).await;
    let before = fleet[1].wire.commits();
    for _ in 0..1_000 {
        assert!(fleet[1].breaker.acquire().is_err());
    }
    flush(&fleet).await;
    assert_eq!(fleet[1].wire.commits(), before, "open");

    bed.clock.advance(secs(30));
    let permit = probe(&fleet[0]).await;
    // The other one would want a lease that it takes for unused: it hears first that a call has it.
    fleet[0].breaker.flush().await;
    fleet[1].breaker.flush().await;
    let before = fleet[1].wire.commits();
    for _ in 0..20 {
        for _ in 0..50 {
            assert!(fleet[1].breaker.acquire().is_err());
        }
        fleet[1].breaker.flush().await;
    }
    assert_eq!(fleet[1].wire.commits(), before, "half-open, with the only place taken");
    permit.success();
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Closed; 2]);
}

#[tokio::test]
async fn failures_that_come_together_are_one_batch() {
    let bed = Bed::new();
    let [one] = bed.fleet(|builder| builder.detector(detect::failures(10_000).within(secs(60)))).await;
    let before = one.wire.commits();
    fail(&one.breaker, 1_000);
    one.breaker.flush().await;
    let commits = one.wire.commits() - before;
    // The first of them may be on its way by then.
    assert!((1..=3).contains(&commits), "{commits}");
    assert_eq!(failures(&one.breaker), 1_000);
}

/// Counts how often it is read on an engine's thread: the engine reads a breaker's clock once each time it takes its lock.
#[derive(Clone, Debug)]
struct CountingClock {
    inner: ManualClock,
    reads: Arc<AtomicUsize>,
}

impl Clock for CountingClock {
    fn now(&self) -> Timestamp {
        if std::thread::current().name() == Some("fusebox-fleet") {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.now()
    }
}

#[tokio::test]
async fn a_committed_batch_costs_two_turns_at_the_breakers_lock() {
    let bed = Bed::new();
    let reads = Arc::<AtomicUsize>::default();
    let clock = CountingClock { inner: bed.clock.clone(), reads: reads.clone() };
    let one = bed.instance(|builder| builder.detector(detect::failures(60_000).within(secs(600))).clock(clock));
    one.breaker.flush().await;
    let (turns, loads) = (reads.load(Ordering::SeqCst), one.wire.loads());
    for batch in 1..=20 {
        fail(&one.breaker, 3);
        until("the batch is committed", || one.wire.commits() == batch).await;
        until("the breaker knows it", || one.breaker.snapshot().fleet.is_some_and(|fleet| fleet.waiting == 0)).await;
        // A poll that came between would find nothing to send, and be one more.
        tokio::time::sleep(ms(5)).await;
    }
    let (turns, loads) = (reads.load(Ordering::SeqCst) - turns, one.wire.loads() - loads);
    // Each second the engine looks at the breaker, and brings it what the store has.
    assert!(turns <= 2 * 20 + 2 * (loads + 1), "{turns} turns for 20 batches and {loads} polls");
}
