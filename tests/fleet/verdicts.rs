//! On what a fleet opens, and on what it does not: the same calls are seen by one breaker without a store.

use std::time::Duration;

use fusebox::{Permit, detect::Detector};

use super::*;

/// The calls of one instance over a store, each seen by a breaker without one as well.
struct Pair {
    bed: Bed,
    one: Instance,
    alone: CircuitBreaker,
}

impl Pair {
    async fn new<D: Detector>(detector: impl Fn() -> D) -> Self {
        let bed = Bed::new();
        let [one] = bed.fleet(|builder| builder.detector(detector())).await;
        let config = support::config(|builder| builder.clock(bed.clock.clone()).detector(detector()));
        Self { bed, one, alone: CircuitBreaker::new(config) }
    }

    /// `F` fails, `S` succeeds, `|` flushes; the clock moves on after each call.
    async fn play(&self, calls: &str, gap: Duration) {
        for call in calls.chars() {
            if call == '|' {
                self.one.breaker.flush().await;
                continue;
            }
            for breaker in [&self.one.breaker, &self.alone] {
                breaker.acquire().map(if call == 'F' { Permit::failure } else { Permit::success }).ok();
            }
            self.bed.clock.advance(gap);
        }
        assert_eq!(self.one.breaker.state(), self.alone.state(), "{calls}, {gap:?} apart");
    }
}

fn changes(instance: &Instance) -> usize {
    kinds(&instance.events.all(), |kind| matches!(kind, EventKind::StateChanged { .. }))
}

#[tokio::test]
async fn calls_of_one_moment_are_in_no_row_that_they_were_not_in() {
    let calls = "FSS".repeat(40) + "|";
    Pair::new(|| detect::consecutive_failures(3)).await.play(&calls, Duration::ZERO).await;
    Pair::new(|| detect::failures(2).of_last(2)).await.play(&calls, Duration::ZERO).await;
}

#[tokio::test]
async fn what_a_batch_brings_is_judged_with_all_that_came_between() {
    for gap in [ms(0), ms(10), ms(200)] {
        for calls in ["F|SFS|", "F||SF|", "FS|F|SF|S|", "F|F|", "SF|SF|FF|"] {
            Pair::new(|| detect::failures(2).of_last(2)).await.play(calls, gap).await;
            Pair::new(|| detect::consecutive_failures(2)).await.play(calls, gap).await;
        }
    }
}

/// The second batch is told while the answer to the first is on its way.
#[tokio::test]
async fn batches_of_one_instance_are_judged_in_their_order() {
    let pair = Pair::new(|| detect::consecutive_failures(2)).await;
    pair.one.wire.set(Fault::Late);
    for _ in 0..3 {
        futures::join!(pair.one.breaker.flush(), pair.play("FSFS", ms(10)));
        pair.play("|", ms(10)).await;
    }
    assert_eq!(pair.one.breaker.state(), State::Closed);
}

/// Those of the instance that saw only good calls arrive first.
#[tokio::test]
async fn failures_that_lie_between_calls_of_another_instance_are_judged_there() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(|builder| builder.detector(detect::failures(5).of_last(20))).await;
    for nth in 0..120 {
        succeed(&fleet[0].breaker, 1);
        if nth % 24 == 12 {
            bed.clock.advance(ms(50));
            fail(&fleet[1].breaker, 1);
        }
        bed.clock.advance(ms(50));
    }
    flush(&fleet).await;
    bed.clock.advance(secs(3));
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Closed; 2]);
    assert!(fleet.iter().all(|instance| changes(instance) == 0));
}

#[tokio::test]
async fn a_tenth_of_failures_is_no_row_of_them_however_many_calls_there_are() {
    let pair = Pair::new(|| detect::consecutive_failures(5).or(detect::failure_rate(0.5).within(secs(60)))).await;
    for _ in 0..6 {
        pair.play(&("FSSSSSSSSS".repeat(50) + "|"), ms(1)).await;
    }
    assert_eq!(pair.one.breaker.state(), State::Closed);
}

/// One bad instance of ten is a tenth of the calls: it protects itself, and opens nothing.
#[tokio::test]
async fn one_bad_instance_of_ten_opens_no_fleet() {
    let bed = Bed::new();
    let fleet: [_; 10] = bed.fleet(|builder| builder.detector(detect::failure_rate(0.5).within(secs(60)))).await;
    // All are known: a verdict waits for those that answer late, as these may that share a machine with other tests.
    fleet.iter().for_each(|instance| succeed(&instance.breaker, 50));
    bed.clock.advance(secs(1));
    flush(&fleet).await;
    // The bad one alone tells: after nine seconds its failures are as many as all good calls that were told.
    for _ in 0..15 {
        for _ in 0..50 {
            for (nth, instance) in fleet.iter().enumerate() {
                let call = instance.breaker.acquire();
                call.map(if nth == 0 { Permit::failure } else { Permit::success }).ok();
            }
            bed.clock.advance(ms(20));
        }
        fleet[0].breaker.flush().await;
    }
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Closed; 10]);
    assert!(fleet.iter().all(|instance| changes(instance) == 0));
}

#[tokio::test]
async fn each_rule_of_a_fleet_that_has_three_is_judged() {
    let bed = Bed::new();
    // Two of each, so that no instance's own calls are enough.
    let rules = [6, 6, 7, 7, 8, 8];
    let instances = rules.map(|n| bed.instance(|builder| builder.detector(detect::failures(n).within(secs(60)))));
    flush(&instances).await;
    for _ in 0..3 {
        // One may have heard already that the circuit is open.
        instances.iter().for_each(|instance| drop(instance.breaker.acquire().map(Permit::failure)));
        bed.clock.advance(ms(100));
        flush(&instances).await;
    }
    assert_eq!(states(&instances), [State::Open; 6], "six failures of the first two are what their rule says");
}

#[tokio::test]
async fn evidence_outlives_the_gaps_of_a_nightly_job() {
    let bed = Bed::new();
    let [one] = bed.fleet(|builder| builder.detector(detect::consecutive_failures(3))).await;
    for _ in 0..2 {
        fail(&one.breaker, 1);
        one.breaker.flush().await;
        bed.clock.advance(secs(25 * 3_600));
        assert_eq!(one.breaker.state(), State::Closed);
    }
    // Another process, as each night.
    drop(one);
    let [one] = bed.fleet(|builder| builder.detector(detect::consecutive_failures(3))).await;
    fail(&one.breaker, 1);
    one.breaker.flush().await;
    assert_eq!(one.breaker.state(), State::Open);
}
