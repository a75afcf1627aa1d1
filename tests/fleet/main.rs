//! What callers and operators see of breakers that share their state: several of one name over one store, each over a handle
//! of its own and so with an engine of its own, as if each were a process.
#![cfg(feature = "fleet")]
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::collections::HashMap;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fusebox::fleet::{Advice, Fleet, WhenDown};
use fusebox::store::{Commit, Committed, MemoryStore, Notices, Store, StoreError, StoreFuture, Stored, Summary};
use fusebox::{
    CallError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, CircuitBreakerLayer, Cooldown, Event,
    EventKind, ManualClock, Override, Registry, State,
    circuit_breaker::{Origin, RejectReason, StateScope, TransitionReason},
    detect,
};
use futures::{FutureExt, StreamExt};
use support::{Record, fail, failures, ms, secs, succeed};
use tower::{Layer, Service, ServiceExt};

#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

mod away;
mod calls;
mod cost;
mod engine;
mod events;
mod overrides;
mod readiness;
mod records;
mod recovery;
mod strangers;
mod trouble;
mod users_code;
mod verdicts;
mod writes;

/// What a [`Wire`] does instead of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Unreachable,
    Refused,
    /// Answers take their time.
    Late,
    /// Another one was first, whatever is to be written.
    Conflict,
}

#[derive(Debug)]
struct Line {
    fault: Mutex<Fault>,
    commits: AtomicUsize,
    loads: AtomicUsize,
}

/// A store that does what the test says, and counts.
#[derive(Clone, Debug)]
struct Wire {
    inner: MemoryStore,
    line: Arc<Line>,
}

impl Wire {
    fn over(inner: &MemoryStore) -> Self {
        let line = Line { fault: Mutex::new(Fault::None), commits: AtomicUsize::new(0), loads: AtomicUsize::new(0) };
        Self { inner: inner.clone(), line: Arc::new(line) }
    }

    fn set(&self, fault: Fault) {
        *self.line.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn commits(&self) -> usize {
        self.line.commits.load(Ordering::SeqCst)
    }

    fn loads(&self) -> usize {
        self.line.loads.load(Ordering::SeqCst)
    }

    fn has(&self, fault: Fault) -> bool {
        *self.line.fault.lock().unwrap_or_else(PoisonError::into_inner) == fault
    }

    fn answer(&self) -> Result<(), StoreError> {
        match *self.line.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            Fault::None | Fault::Late | Fault::Conflict => Ok(()),
            Fault::Unreachable => Err(StoreError::unreachable("the wire is cut")),
            Fault::Refused => Err(StoreError::refused("the password is wrong")),
        }
    }
}

impl Store for Wire {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move {
            self.line.loads.fetch_add(1, Ordering::SeqCst);
            self.answer()?;
            self.inner.load(keys).await
        })
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        Box::pin(async move {
            self.answer()?;
            self.line.commits.fetch_add(1, Ordering::SeqCst);
            if self.has(Fault::Conflict) {
                let newest = self.inner.load(&[key]).await?.pop().expect("one for each key");
                return Ok(Committed::Conflict(newest));
            }
            let committed = self.inner.commit(key, commit).await;
            if self.has(Fault::Late) {
                tokio::time::sleep(ms(50)).await;
            }
            committed
        })
    }

    fn watch(&self) -> Notices {
        let wire = self.clone();
        Box::pin(self.inner.watch().filter(move |_| ready(wire.answer().is_ok())))
    }
}

/// A store, and the clock by which it and all its breakers go.
struct Bed {
    store: MemoryStore,
    clock: ManualClock,
}

/// One breaker of the fleet.
struct Instance {
    breaker: CircuitBreaker,
    events: Record<Event>,
    wire: Wire,
}

/// Three failures within a minute open; the cooldown is 30 s.
fn usual(builder: CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder {
    builder.detector(detect::failures(3).within(secs(60))).cooldown(Cooldown::fixed(secs(30)))
}

impl Bed {
    fn new() -> Self {
        let clock = ManualClock::new();
        clock.advance(secs(100_000));
        Self { store: MemoryStore::with_clock(clock.clone()), clock }
    }

    fn instance(&self, f: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder) -> Instance {
        let (wire, events) = (Wire::over(&self.store), Record::default());
        let (handle, list): (Arc<dyn Store>, Record<Event>) = (Arc::new(wire.clone()), events.clone());
        let config = support::config(|builder| {
            f(builder.clock(self.clock.clone()).store(handle).on_event(move |event| list.add(event.clone())))
        });
        Instance { breaker: CircuitBreaker::new(config), events, wire }
    }

    /// So many equal instances that know each other's store.
    async fn fleet<const N: usize>(
        &self,
        f: impl Fn(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
    ) -> [Instance; N] {
        let instances = std::array::from_fn(|_| self.instance(&f));
        flush(&instances).await;
        instances
    }

    async fn stored(&self) -> Stored {
        self.store.load(&["test"]).await.expect("memory").pop().expect("one key")
    }

    /// Somebody else writes these bytes.
    async fn put(&self, bytes: impl Into<Bytes>) {
        let commit = Commit::new(self.stored().await.version, bytes.into(), Summary::closed(1), secs(600));
        let committed = self.store.commit("test", commit).await.expect("memory");
        assert!(matches!(committed, Committed::Applied { .. }), "{committed:?}");
    }
}

/// Everybody sends what there is, and learns of it.
async fn flush<'a>(instances: impl IntoIterator<Item = &'a Instance> + Clone) {
    for _ in 0..2 {
        for instance in instances.clone() {
            instance.breaker.flush().await;
        }
    }
}

fn states<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Vec<State> {
    instances.into_iter().map(|instance| instance.breaker.state()).collect()
}

fn kinds(events: &[Event], f: impl Fn(EventKind) -> bool) -> usize {
    events.iter().filter(|event| f(event.kind())).count()
}

/// Waits for something that an engine does in its own time.
async fn until(what: &str, f: impl Fn() -> bool) {
    let deadline = support::timer_now() + secs(20);
    while !f() {
        assert!(support::timer_now() < deadline, "in vain: {what}");
        tokio::time::sleep(ms(2)).await;
    }
}

/// Calls that ask until one has a lease: it is fetched, or comes from an instance that does not use it.
async fn probe(instance: &Instance) -> fusebox::Permit {
    let deadline = support::timer_now() + secs(20);
    loop {
        match instance.breaker.acquire() {
            Ok(permit) => return permit,
            Err(rejected) => assert!(support::timer_now() < deadline, "in vain: {rejected}"),
        }
        instance.breaker.flush().await;
        tokio::time::sleep(ms(2)).await;
    }
}
