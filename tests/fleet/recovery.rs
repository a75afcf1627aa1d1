//! How a fleet comes back, whatever its calls, its store and its clocks do. By the clock of the machine, as users have it,
//! where an engine's own timers are in question.

use std::time::Duration;

use fusebox::{Permit, Probes};
use tokio::time::sleep;

use super::*;

const COOLDOWN: Duration = ms(300);

/// A breaker over a store of its own, by the clock of the machine.
fn alone() -> (CircuitBreaker, Wire) {
    let wire = Wire::over(&MemoryStore::new());
    let store: Arc<dyn Store> = Arc::new(wire.clone());
    (CircuitBreaker::new(support::config(|builder| usual(builder).cooldown(COOLDOWN).store(store))), wire)
}

/// The first call after the cooldown is a probe where the instance had a call, the second where it had none.
#[tokio::test]
async fn where_calls_are_rare_they_close_the_circuit_all_the_same() {
    for (failed, succeeded) in [(0, 0), (1, 0), (0, 1), (0, 200)] {
        let (breaker, _) = alone();
        let calls_before = usize::from(failed + succeeded > 0);
        fail(&breaker, failed);
        succeed(&breaker, succeeded);
        breaker.trip().expect("no override");
        breaker.flush().await;
        sleep(COOLDOWN + ms(1_000)).await;
        let mut rejected = 0;
        while breaker.state() != State::Closed {
            if let Err(why) = breaker.acquire().map(Permit::success) {
                rejected += 1;
                assert_ne!(why.reason(), RejectReason::ProbesBusy, "no probe is out");
                assert!(why.retry_after().is_some(), "{why} does not say when to come back");
            }
            assert!(rejected <= 1 - calls_before, "{rejected} calls found no lease");
            sleep(ms(1_100)).await;
        }
    }
}

/// The places of probes are the fleet's: an instance that asks before each call must get one all the same.
#[tokio::test]
async fn an_instance_that_asks_before_each_call_gets_its_probe() {
    let (breaker, _) = alone();
    breaker.trip().expect("no override");
    breaker.flush().await;
    let mut asked = 0;
    while breaker.state() != State::Closed {
        if breaker.would_admit() {
            breaker.acquire().map(Permit::success).expect("what was asked for a moment before");
        }
        asked += 1;
        assert!(asked <= 60, "{asked} questions were answered by no");
        sleep(ms(50)).await;
    }
}

#[tokio::test]
async fn a_flush_keeps_the_lease_that_was_asked_for() {
    let (breaker, _) = alone();
    breaker.trip().expect("no override");
    breaker.flush().await;
    let mut calls = 0;
    while breaker.state() != State::Closed {
        breaker.acquire().map(Permit::success).ok();
        calls += 1;
        assert!(calls <= 20, "all of {calls} calls were rejected");
        sleep(ms(130)).await;
        breaker.flush().await;
    }
}

/// The store answers, and each commit has lost to another: the instance goes on by itself, and says why.
#[tokio::test]
async fn where_the_store_takes_no_commit_an_instance_opens_probes_and_closes_by_itself() {
    let (breaker, wire) = alone();
    breaker.flush().await;
    wire.set(Fault::Conflict);
    let before = wire.commits();
    fail(&breaker, 1);
    until("the first failure is on its way", || wire.commits() > before).await;
    // Its detector trips while that is being tried again.
    fail(&breaker, 2);
    until("it opens by itself", || breaker.state() == State::Open).await;
    let away = || breaker.snapshot().fleet.and_then(|fleet| fleet.away);
    assert!(away().is_some(), "an operator sees that the store takes nothing");
    until("it closes by itself", || {
        breaker.acquire().map(Permit::success).ok();
        breaker.state() == State::Closed
    })
    .await;
    wire.set(Fault::None);
    until("the store takes what it has to say", || away().is_none()).await;
}

/// An hour back, as a virtual machine that is restored: no circuit stays open, and no override stands, for longer than
/// it was to.
#[tokio::test]
async fn a_clock_of_the_store_that_is_set_back_keeps_nothing_open() {
    let (clock, stores) = (ManualClock::new(), ManualClock::new());
    clock.advance(secs(100_000));
    stores.advance(secs(100_000));
    let bed = Bed { store: MemoryStore::with_clock(stores.clone()), clock };
    let fleet: [_; 2] = bed.fleet(usual).await;
    fail(&fleet[0].breaker, 3);
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Open; 2]);
    stores.set(fusebox::clock::Timestamp::from_nanos(96_400 * 1_000_000_000));
    flush(&fleet).await;
    // A second is what a time may be ahead of the store's clock.
    for _ in 0..33 {
        bed.clock.advance(secs(1));
        stores.advance(secs(1));
        flush(&fleet).await;
    }
    probe(&fleet[1]).await.success();
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Closed; 2]);
}

/// It held its place until the others had waited for it in vain.
#[tokio::test]
async fn a_breaker_that_is_dropped_gives_back_its_place_among_the_probes() {
    let bed = Bed::new();
    let probing = |builder: CircuitBreakerConfigBuilder| usual(builder).probes(Probes::consecutive(2).concurrent(2));
    let [one, other] = bed.fleet(probing).await;
    fail(&one.breaker, 1);
    fail(&other.breaker, 2);
    flush([&one, &other]).await;
    assert_eq!(states([&one, &other]), [State::Open; 2]);
    bed.clock.advance(secs(30));
    flush([&one, &other]).await;
    let probe = other.breaker.acquire().expect("its place");
    flush([&one, &other]).await;
    let restarted = bed.instance(probing);
    drop(one);
    flush([&restarted, &other]).await;
    assert!(restarted.breaker.acquire().is_err(), "it had no call before, so it has no lease");
    restarted.breaker.flush().await;
    let second = restarted.breaker.acquire();
    assert!(second.is_ok(), "{second:?}");
    drop(probe);
}
