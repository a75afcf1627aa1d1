//! The store of a run, and what it has had.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::event::{Answer, At, ORIGIN, Request};
use crate::clock::ManualClock;
use crate::store::{
    BatchId, Changes, Commit, Committed, MemoryStore, Notices, Store, StoreError, StoreFuture, Stored, Summary, Version,
};
use crate::time::Timestamp;

/// The store and the way to it.
pub(super) struct Network {
    clock: ManualClock,
    pub(super) memory: MemoryStore,
    store: Arc<dyn Store>,
    pub(super) notices: Notices,
    /// The store is away; `true`: and says so at once.
    pub(super) outage: Option<bool>,
    /// The number of the newest operation.
    pub(super) next: u64,
    /// What the store has had lately, oldest first.
    had: BTreeMap<String, VecDeque<Bytes>>,
}

impl Network {
    pub(super) fn new(forgetful: bool) -> Self {
        let clock = ManualClock::new();
        let memory = MemoryStore::with_clock(clock.clone());
        let store: Arc<dyn Store> =
            if forgetful { Arc::new(Forgetful::of(memory.clone())) } else { Arc::new(memory.clone()) };
        let network =
            Self { clock, notices: store.watch(), store, memory, outage: None, next: 0, had: BTreeMap::new() };
        network.set_clock(0);
        network
    }

    pub(super) fn set_clock(&self, at: At) {
        self.clock.set(Timestamp::from_nanos(at + ORIGIN));
    }

    /// The store's time, in the unit of the rules.
    pub(super) fn store_time(at: At) -> Timestamp {
        Timestamp::from_nanos((at + ORIGIN) / 1_000 * 1_000) + Duration::from_secs(1)
    }

    pub(super) fn ask(&self, request: &Request) -> Answer {
        match request {
            Request::Load(keys) => {
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                at_once(self.store.load(&keys)).map_or(Answer::None, Answer::Loaded)
            }
            Request::Changes(since) => {
                at_once(self.store.changes(since.as_ref())).map_or(Answer::None, Answer::Changes)
            }
            Request::Commit(key, commit) => {
                at_once(self.store.commit(key, (**commit).clone())).map_or(Answer::None, Answer::Committed)
            }
        }
    }

    pub(super) fn remember(&mut self, key: &str) {
        let record = self.peek(key).record;
        let had = self.had.entry(key.to_owned()).or_default();
        if had.back() != Some(&record) {
            had.push_back(record);
        }
        if had.len() > 20 {
            had.pop_front();
        }
    }

    /// The store loses its newest writes, as where a server without them takes over.
    pub(super) fn roll_back(&mut self, writes: usize) {
        self.memory.clear();
        for (key, had) in &self.had {
            let old = had.iter().rev().nth(writes).or(had.front()).filter(|record| !record.is_empty());
            if let Some(record) = old {
                let commit =
                    Commit::new(Version::NONE, record.clone(), Summary::closed(0), Duration::from_secs(86_400));
                at_once(self.memory.commit(key, commit)).ok();
            }
        }
    }

    /// What the store holds, for the checks.
    pub(super) fn peek(&self, key: &str) -> Stored {
        at_once(self.memory.load(&[key])).ok().and_then(|mut stored| stored.pop()).unwrap_or_default()
    }
}

/// A store in memory never waits.
fn at_once<T>(mut future: StoreFuture<'_, T>) -> Result<T, StoreError> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Err(StoreError::no_answer("a store in memory waits")),
    }
}

/// A store that forgets which batches it has taken in.
#[derive(Debug)]
struct Forgetful {
    inner: MemoryStore,
    count: AtomicU64,
}

impl Forgetful {
    const fn of(inner: MemoryStore) -> Self {
        Self { inner, count: AtomicU64::new(1) }
    }
}

impl Store for Forgetful {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        self.inner.load(keys)
    }

    fn commit<'a>(&'a self, key: &'a str, mut commit: Commit) -> StoreFuture<'a, Committed> {
        let writer = self.count.fetch_add(1, Ordering::Relaxed);
        commit.batch = commit.batch.map(|(_, bytes)| (BatchId { writer, seq: 1 }, bytes));
        self.inner.commit(key, commit)
    }

    fn changes<'a>(&'a self, since: Option<&'a Bytes>) -> StoreFuture<'a, Changes> {
        self.inner.changes(since)
    }

    fn watch(&self) -> Notices {
        self.inner.watch()
    }
}
