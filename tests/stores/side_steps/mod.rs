//! 55 and 57 of the conformance list. What a store does beside what it is asked, and fails to do; and keys in which
//! strangers have written. The write stands, the other breakers hear nothing, and the trouble is told once.
//!
//! 55 has a node of a cluster in `redis_cluster.rs`, 57 a silent Sentinel in `redis_sentinel.rs`.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fusebox::store::{self, Store, StoreError};
use fusebox::{CircuitBreaker, CircuitBreakerConfig, EventKind, Permit, State, detect};
use tokio::time::{Instant, sleep, timeout};

use crate::order::each_writers_batches_are_taken_in_in_order;

type Told = Arc<Mutex<Vec<(EventKind, String)>>>;

/// One instance's breakers over a store, and what their listener is told.
pub(crate) struct Instance {
    pub(crate) store: Arc<dyn Store>,
    told: Told,
}

impl Instance {
    pub(crate) fn over(store: impl Store) -> Self {
        Self { store: Arc::new(store), told: Told::default() }
    }

    pub(crate) fn breaker(&self, name: &str) -> CircuitBreaker {
        self.breaker_of(name, 3)
    }

    /// One that opens by so many failures.
    pub(crate) fn breaker_of(&self, name: &str, failures: u32) -> CircuitBreaker {
        let told = self.told.clone();
        let config = CircuitBreakerConfig::builder(name)
            .detector(detect::failures(failures).within(Duration::from_secs(60)))
            .cooldown(Duration::from_secs(3))
            .store(self.store.clone())
            .on_event(move |event| {
                told.lock().unwrap_or_else(PoisonError::into_inner).push((event.kind(), event.to_string()));
            });
        CircuitBreaker::new(config.build().expect("a configuration"))
    }

    pub(crate) fn count(&self, kind: EventKind) -> usize {
        self.lines(kind).len()
    }

    pub(crate) fn lines(&self, kind: EventKind) -> Vec<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().filter(|(known, _)| *known == kind).map(|(_, line)| line.clone()).collect()
    }
}

pub(crate) async fn until(what: &str, f: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !f() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn fail(breaker: &CircuitBreaker, times: usize) {
    for _ in 0..times {
        breaker.acquire().expect("lets calls through").failure();
    }
}

/// Two instances open together, and close together by a probe, as if nothing were the matter.
async fn opens_and_recovers(instances: &[Instance; 2]) -> [CircuitBreaker; 2] {
    let breakers = instances.each_ref().map(|instance| instance.breaker("payments"));
    for breaker in &breakers {
        breaker.flush().await;
    }
    fail(&breakers[0], 3);
    until("both are open", || breakers.iter().all(|breaker| breaker.state() == State::Open)).await;
    let closed = async {
        while breakers.iter().any(|breaker| breaker.state() != State::Closed) {
            for breaker in &breakers {
                if let Ok(permit) = breaker.acquire() {
                    permit.success();
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), closed).await.expect("closes after its probe");
    breakers
}

/// What both have heard of the store: these words, and nothing twice.
fn told_once(instances: &[Instance; 2], words: &str) {
    for instance in instances {
        assert_eq!(instance.count(EventKind::StoreDegraded), 0);
        let lines = instance.lines(EventKind::StoreImpaired);
        assert!(lines.iter().enumerate().all(|(at, line)| !lines[..at].contains(line)), "{lines:?}");
    }
    let lines: Vec<_> = instances.iter().flat_map(|instance| instance.lines(EventKind::StoreImpaired)).collect();
    assert!(lines.iter().any(|line| line.contains(words)), "{lines:?}");
}

/// The neighbour of a key that strangers have spoilt goes on with its fleet, and hears nothing.
async fn the_neighbour_goes_on(instance: &Instance, other: &Instance, spoilt: &CircuitBreaker, is_told: bool) {
    let neighbours = [instance.breaker("neighbour"), other.breaker("neighbour")];
    for breaker in neighbours.iter().chain([spoilt]) {
        timeout(Duration::from_secs(10), breaker.flush()).await.expect("a flush returns");
    }
    fail(&neighbours[0], 2);
    fail(&neighbours[1], 1);
    until("the fleet of the neighbour opens", || neighbours.iter().all(CircuitBreaker::is_open)).await;
    assert_eq!(instance.count(EventKind::StoreDegraded), 0);
    let status = neighbours[0].snapshot().fleet.expect("shared");
    assert!(status.away.is_none() && status.trouble.is_none(), "{status:?}");
    if is_told {
        until("it shows", || {
            let status = spoilt.snapshot().fleet.expect("shared");
            status.trouble.is_some() || status.away.is_some()
        })
        .await;
    }
    until("the spoilt one goes on by itself", || {
        spoilt.acquire().map(Permit::failure).ok();
        spoilt.is_open()
    })
    .await;
}

const TEN: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "spoilt", "8", "9"];

/// Ten breakers of which each has told one failure.
async fn ten_that_failed(instance: &Instance) -> Vec<CircuitBreaker> {
    let breakers: Vec<_> = TEN.iter().map(|name| instance.breaker(name)).collect();
    for breaker in &breakers {
        fail(breaker, 1);
        breaker.flush().await;
    }
    breakers
}

/// Another instance starts with the same ten, which one load asks for; one of the records is spoilt. The others know
/// what was told, and hear of nothing.
async fn ten_are_loaded_together(instance: &Instance) {
    let breakers: Vec<_> = TEN.iter().map(|name| instance.breaker(name)).collect();
    for (breaker, name) in breakers.iter().zip(TEN).filter(|(_, name)| *name != "spoilt") {
        breaker.flush().await;
        fail(breaker, 2);
        until(&format!("{name} opens by three failures"), || breaker.is_open()).await;
        let status = breaker.snapshot().fleet.expect("shared");
        assert!(status.away.is_none() && status.trouble.is_none(), "{name}: {status:?}");
    }
    let status = breakers[7].snapshot().fleet.expect("shared");
    assert!(status.trouble.is_some() || status.away.is_some(), "{status:?}");
    assert_eq!((instance.count(EventKind::StoreDegraded), instance.count(EventKind::StoreImpaired)), (0, 0));
}

/// So many fail at the same moment that most of their batches are queued, and taken in by others; ten times over.
async fn fail_together(instances: &[Instance]) {
    let breakers: Vec<_> = instances.iter().map(|instance| instance.breaker("busy")).collect();
    for breaker in &breakers {
        breaker.flush().await;
    }
    for _ in 0..10 {
        breakers[0].reset().expect("no override");
        breakers[0].flush().await;
        let generation = |breaker: &CircuitBreaker| breaker.snapshot().fleet.and_then(|fleet| fleet.generation);
        until("all are closed", || breakers.iter().all(|breaker| generation(breaker) == generation(&breakers[0])))
            .await;
        for breaker in &breakers {
            breaker.acquire().map(Permit::failure).ok();
        }
        until("all are open", || breakers.iter().all(CircuitBreaker::is_open)).await;
    }
    for kind in
        [EventKind::StoreImpaired, EventKind::StoreDegraded, EventKind::RecordUnreadable, EventKind::BatchUnreadable]
    {
        assert!(instances.iter().all(|instance| instance.count(kind) == 0), "{kind:?}");
    }
}

/// Everything that the contract asks of a store: with races, queues, rounds and their ends.
async fn keeps_the_contract(store: impl Store) {
    let store: Arc<dyn Store> = Arc::new(store);
    let passed = store::conformance(store.clone()).await.expect("conforms");
    assert!(passed.combines && passed.pushes && passed.lists && passed.tells_changes, "{passed:?}");
    each_writers_batches_are_taken_in_in_order(store).await;
}

#[cfg(all(feature = "redis", unix))]
mod redis;

#[cfg(feature = "postgres")]
mod postgres;
