//! Stores and their contract.
#![cfg(feature = "fleet")]
#![expect(clippy::expect_used, clippy::disallowed_methods, reason = "helpers of tests, and real servers in real time")]

#[cfg(all(any(feature = "redis-tls", feature = "postgres-tls"), unix))]
mod authority;
#[cfg(all(feature = "redis", unix))]
mod redis;
#[cfg(all(feature = "redis", unix))]
mod redis_cluster;
#[cfg(all(feature = "redis", unix))]
mod redis_sentinel;
#[cfg(all(feature = "redis-tls", unix))]
mod redis_tls;
#[cfg(all(feature = "redis", unix))]
mod servers;

#[cfg(any(feature = "postgres", all(feature = "redis", unix)))]
mod changes;
#[cfg(any(feature = "postgres", all(feature = "redis", unix)))]
mod deaf;
#[cfg(any(feature = "postgres", all(feature = "redis", unix)))]
mod judged;
mod order;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_locks;
#[cfg(feature = "postgres")]
#[expect(dead_code, reason = "not every file needs every helper")]
mod postgres_server;
#[cfg(all(feature = "postgres-tls", unix))]
mod postgres_tls;
#[cfg(any(feature = "postgres", all(feature = "redis", unix)))]
mod rotation;
#[cfg(any(feature = "postgres", all(feature = "redis", unix)))]
mod side_steps;
#[cfg(any(feature = "postgres", all(feature = "redis", unix)))]
mod strangers;
#[cfg(any(feature = "postgres", all(feature = "redis", unix)))]
mod troubles;
mod words;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fusebox::ManualClock;
use fusebox::store::{
    self, BatchId, Cas, CasStore, Commit, Committed, Key, MemoryStore, Notice, Notices, Round, Store, StoreError,
    StoreFuture, StoreTime, Stored, Summary, Version,
};
use proptest::prelude::*;

/// The least a store can be.
#[derive(Debug, Default)]
struct Map(Mutex<HashMap<String, (u64, Bytes)>>);

impl Cas for Map {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<(u64, Bytes)>> {
        Box::pin(async move { Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()) })
    }

    fn put<'a>(&'a self, key: &'a str, revision: u64, value: Bytes, _ttl: Duration) -> StoreFuture<'a, Option<u64>> {
        Box::pin(async move {
            // As a server would: others may come in between a read and a write.
            tokio::task::yield_now().await;
            let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let newest = map.get(key).map_or(0, |(revision, _)| *revision);
            let written = newest == revision;
            if written {
                map.insert(key.to_owned(), (newest + 1, value));
            }
            Ok(written.then_some(newest + 1))
        })
    }

    fn keys(&self) -> StoreFuture<'_, Vec<String>> {
        Box::pin(async { Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()) })
    }
}

#[tokio::test]
async fn the_memory_store_keeps_the_contract_combines_and_pushes() {
    let passed = store::conformance(Arc::new(MemoryStore::new())).await.expect("conforms");
    assert!(passed.combines && passed.pushes && passed.lists && passed.tells_changes, "{passed:?}");
}

#[tokio::test]
async fn a_store_that_can_only_compare_and_swap_keeps_the_contract() {
    let passed = store::conformance(Arc::new(CasStore::new(Map::default()))).await.expect("conforms");
    assert!(!passed.combines && !passed.pushes && passed.lists, "{passed:?}");
}

#[tokio::test]
async fn a_store_that_cannot_list_says_so() {
    #[derive(Debug)]
    struct Mute;
    impl Cas for Mute {
        fn get<'a>(&'a self, _: &'a str) -> StoreFuture<'a, Option<(u64, Bytes)>> {
            Box::pin(async { Ok(None) })
        }

        fn put<'a>(&'a self, _: &'a str, _: u64, _: Bytes, _: Duration) -> StoreFuture<'a, Option<u64>> {
            Box::pin(async { Ok(None) })
        }
    }
    let error = CasStore::new(Mute).keys().await.expect_err("it cannot");
    assert_eq!(error.to_string(), "the store refused: this store cannot list its keys");
}

#[tokio::test]
async fn what_ran_out_or_only_waits_is_not_listed() {
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let write = |ttl| Commit::new(Version::NONE, Bytes::from_static(b"1"), Summary::closed(1), ttl);
    store.commit("short", write(Duration::from_secs(1))).await.expect("memory");
    store.commit("long", write(Duration::from_secs(60))).await.expect("memory");
    let mut waits = write(Duration::from_secs(60));
    waits.expected = Version(7);
    waits.batch = Some((BatchId { writer: 1, seq: 1 }, Bytes::from_static(b"+1")));
    waits.may_queue = true;
    store.commit("waits", waits).await.expect("memory");
    clock.advance(Duration::from_secs(2));
    assert_eq!(store.keys().await.expect("memory"), ["long"]);
}

#[tokio::test]
async fn a_lease_from_before_the_clock_was_set_back_holds_up_no_writer() {
    let clock = ManualClock::new();
    clock.advance(Duration::from_secs(7_200));
    let store = MemoryStore::with_clock(clock.clone());
    let write = |expected, seq| {
        let mut commit = Commit::new(expected, Bytes::from_static(b"1"), Summary::closed(1), Duration::from_secs(60));
        commit.batch = Some((BatchId { writer: seq, seq: 1 }, Bytes::from_static(b"+1")));
        commit.may_queue = true;
        commit
    };
    store.commit("a", write(Version::NONE, 9)).await.expect("memory");
    let combines = store.commit("a", write(Version(1), 1)).await.expect("memory");
    assert!(matches!(&combines, Committed::Combine(_, round) if round.batches.len() == 1), "{combines:?}");
    assert!(matches!(store.commit("a", write(Version(1), 2)).await, Ok(Committed::Queued(_))), "it is another's turn");
    clock.set(fusebox::clock::Timestamp::ZERO + Duration::from_secs(3_600));
    let combines = store.commit("a", write(Version(1), 3)).await.expect("memory");
    assert!(matches!(&combines, Committed::Combine(_, round) if round.batches.len() == 3), "{combines:?}");
}

/// What a broken store does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    /// Takes a batch that it has taken before.
    ForgetsBatches,
    /// Lets whoever comes with a round write it.
    ForgetsWhoseTurn,
    /// Writes over whatever is there.
    ForgetsVersions,
    /// Counts versions from one.
    CountsVersions,
    /// Remembers batches of writes that lost.
    RemembersLosers,
    /// Takes records for text.
    SpoilsBytes,
    /// Answers in an order of its own.
    Shuffles,
    /// Tells of writes that lost.
    TellsOfLosers,
    /// Forgets records after the time of their first write.
    ForgetsRecords,
    /// Lists keys that are not there, and not those that are.
    ListsOthers,
    /// Hands out the newest batch first.
    Reverses,
    /// Writes a commit whose version is right although batches wait, and hands them out afterwards.
    WritesOverWaiting,
    /// Hands out what waits, and drops the batch of the commit that found it.
    DropsTheFinder,
}

/// A memory store with one mistake.
#[derive(Debug)]
struct Broken {
    inner: MemoryStore,
    wrong: Wrong,
    fresh: AtomicU64,
    /// For each key, what the inner store calls the versions that were counted.
    counted: Mutex<HashMap<String, Vec<Version>>>,
    first_ttl: Mutex<HashMap<String, StoreTime>>,
    told: tokio::sync::broadcast::Sender<Notice>,
}

impl Broken {
    fn new(wrong: Wrong) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            wrong,
            fresh: AtomicU64::new(1_000),
            counted: Mutex::default(),
            first_ttl: Mutex::default(),
            told: tokio::sync::broadcast::channel(64).0,
        })
    }

    async fn newest(&self, key: &str) -> Stored {
        self.inner.load(&[key]).await.expect("memory").pop().expect("one")
    }

    fn outside(&self, key: &str, stored: &mut Stored) {
        if self.wrong == Wrong::CountsVersions && stored.version != Version::NONE {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            let versions = counted.entry(key.to_owned()).or_default();
            if !versions.contains(&stored.version) {
                versions.push(stored.version);
            }
            let number = versions.iter().position(|version| *version == stored.version).expect("just put in");
            stored.version = Version(number as u64 + 1);
        }
        if self.wrong == Wrong::SpoilsBytes {
            stored.record = String::from_utf8_lossy(&stored.record).into_owned().into();
        }
    }

    /// The mistakes of those who find batches waiting.
    async fn commit_wrongly(&self, key: &str, mut commit: Commit) -> Result<Committed, StoreError> {
        let finds = commit.round.is_none() && commit.expected == self.newest(key).await.version;
        if self.wrong == Wrong::DropsTheFinder && finds {
            let look = Commit::new(Version(1), Bytes::new(), commit.summary, commit.ttl);
            if let Committed::Combine(on, round) = self.inner.commit(key, look).await? {
                return Ok(Committed::Combine(on, round));
            }
        }
        let mut answer = self.inner.commit(key, commit.clone()).await?;
        if let Committed::Combine(_, round) = &mut answer {
            if self.wrong == Wrong::WritesOverWaiting && finds {
                let own = round.batches.pop().filter(|_| commit.batch.take().is_some());
                commit.round = Some(Round::new(round.token.clone(), Vec::from_iter(own)));
                return self.inner.commit(key, commit).await;
            }
            if self.wrong == Wrong::Reverses {
                round.batches.reverse();
            }
        }
        Ok(answer)
    }

    fn inside(&self, key: &str, version: Version) -> Version {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let number = usize::try_from(version.0).expect("small").wrapping_sub(1);
        counted.get(key).and_then(|versions| versions.get(number)).copied().unwrap_or(version)
    }
}

impl Store for Broken {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move {
            let mut all = self.inner.load(keys).await?;
            for (key, stored) in keys.iter().zip(&mut all) {
                self.outside(key, stored);
                let gone = self.first_ttl.lock().unwrap_or_else(PoisonError::into_inner).get(*key).copied();
                if self.wrong == Wrong::ForgetsRecords && gone.is_some_and(|gone| gone <= stored.now) {
                    *stored = Stored::new(Version::NONE, Bytes::new(), stored.now);
                }
            }
            if self.wrong == Wrong::Shuffles {
                all.reverse();
            }
            Ok(all)
        })
    }

    fn commit<'a>(&'a self, key: &'a str, mut commit: Commit) -> StoreFuture<'a, Committed> {
        Box::pin(async move {
            match self.wrong {
                Wrong::ForgetsBatches => {
                    if let Some((id, _)) = &mut commit.batch {
                        id.writer = self.fresh.fetch_add(1, Ordering::SeqCst);
                    }
                }
                Wrong::ForgetsWhoseTurn if commit.round.take().is_some() => {
                    commit.expected = self.newest(key).await.version;
                }
                Wrong::ForgetsVersions if commit.round.is_none() => {
                    commit.expected = self.newest(key).await.version;
                }
                Wrong::CountsVersions => commit.expected = self.inside(key, commit.expected),
                _ => {}
            }
            let now = self.newest(key).await.now;
            let gone = StoreTime(now.0 + u64::try_from(commit.ttl.as_micros()).expect("minutes"));
            self.first_ttl.lock().unwrap_or_else(PoisonError::into_inner).entry(key.to_owned()).or_insert(gone);
            let (batch, notice, summary, ttl) =
                (commit.batch.clone(), commit.notice.clone(), commit.summary, commit.ttl);
            let mut answer = self.commit_wrongly(key, commit).await?;
            match &mut answer {
                Committed::Conflict(newest) => {
                    if self.wrong == Wrong::RemembersLosers && batch.is_some() {
                        let mut mark = Commit::new(newest.version, newest.record.clone(), summary, ttl);
                        mark.batch = batch;
                        self.inner.commit(key, mark).await?;
                    }
                    if self.wrong == Wrong::TellsOfLosers
                        && let Some(notice) = notice
                    {
                        self.told.send(Notice::changed(key.to_owned(), newest.version, notice)).ok();
                    }
                    self.outside(key, newest);
                }
                Committed::Applied { version, now } => {
                    if let Some(notice) = notice {
                        self.told.send(Notice::changed(key.to_owned(), *version, notice)).ok();
                    }
                    let mut stored = Stored::new(*version, Bytes::new(), *now);
                    self.outside(key, &mut stored);
                    *version = stored.version;
                }
                Committed::Duplicate(stored)
                | Committed::Queued(stored)
                | Committed::Combine(stored, _)
                | Committed::Fenced(stored) => self.outside(key, stored),
                _ => {}
            }
            Ok(answer)
        })
    }

    fn watch(&self) -> Notices {
        let told = self.told.subscribe();
        Box::pin(futures::stream::unfold(told, |mut told| async move { Some((told.recv().await.ok()?, told)) }))
    }

    fn keys(&self) -> StoreFuture<'_, Vec<String>> {
        if self.wrong == Wrong::ListsOthers {
            return Box::pin(async { Ok(vec!["other".to_owned()]) });
        }
        self.inner.keys()
    }
}

#[tokio::test]
async fn the_suite_finds_each_mistake_by_the_check_that_is_for_it() {
    for (wrong, check) in [
        (Wrong::ForgetsBatches, "a batch is accepted once"),
        (Wrong::ForgetsWhoseTurn, "rounds are in one hand"),
        (Wrong::ForgetsVersions, "an absent key has no record"),
        (Wrong::CountsVersions, "versions are the store's time and grow"),
        (Wrong::RemembersLosers, "a conflict keeps nothing"),
        (Wrong::SpoilsBytes, "the newest record is read back byte by byte"),
        (Wrong::Shuffles, "keys are apart and come in order"),
        (Wrong::TellsOfLosers, "notices come with their writes"),
        (Wrong::ForgetsRecords, "records expire only after their time"),
        (Wrong::ListsOthers, "keys with a record are listed"),
        (Wrong::Reverses, "batches wait in the order of their acceptance"),
        (Wrong::WritesOverWaiting, "what waits is taken in before anything is written"),
        (Wrong::DropsTheFinder, "what waits is taken in before anything is written"),
    ] {
        let violation = store::conformance(Broken::new(wrong)).await.expect_err("a mistake");
        assert_eq!(violation.check(), check, "{wrong:?}: {violation}");
    }
}

#[tokio::test]
async fn a_batch_that_waits_for_a_record_that_is_not_there_yet_is_kept() {
    let store = MemoryStore::new();
    let batch = |writer, expected| {
        let mut commit = Commit::new(expected, Bytes::from_static(b"1"), Summary::closed(1), Duration::from_secs(60));
        commit.batch = Some((BatchId { writer, seq: 1 }, Bytes::from_static(b"+1")));
        commit.may_queue = true;
        commit
    };
    let late = Version(7);
    let first = store.commit("payments", batch(1, late)).await.expect("memory");
    assert!(matches!(first, Committed::Combine(..)), "{first:?}");
    let again = store.commit("payments", batch(1, late)).await.expect("memory");
    assert!(matches!(again, Committed::Duplicate(..)), "{again:?}");
    let second = store.commit("payments", batch(2, late)).await.expect("memory");
    assert!(matches!(second, Committed::Queued(..)), "the first one combines: {second:?}");
}

#[tokio::test]
async fn an_outbox_that_is_full_takes_one_more_from_the_writer_that_makes_room() {
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(clock.clone());
    let late = |n: u64| {
        let ttl = Duration::from_secs(60);
        let mut commit = Commit::new(Version(7), Bytes::from_static(b"1"), Summary::closed(1), ttl);
        commit.batch = Some((BatchId { writer: 1, seq: n }, Bytes::copy_from_slice(&n.to_le_bytes())));
        commit.may_queue = true;
        store.commit("payments", commit)
    };
    let first = late(1).await.expect("memory");
    assert!(matches!(first, Committed::Combine(..)), "{first:?}");
    for n in 2..=4_096 {
        let queued = late(n).await.expect("memory");
        assert!(matches!(queued, Committed::Queued(_)), "{n}: {queued:?}");
    }
    let full = late(4_097).await.expect("memory");
    assert!(matches!(full, Committed::Conflict(_)), "another writer has the round: {full:?}");
    clock.advance(Duration::from_millis(500));
    let Ok(Committed::Combine(_, round)) = late(4_097).await else { panic!("its round has run out") };
    let oldest: Vec<_> = (1..=1_000_u64).map(|n| Bytes::copy_from_slice(&n.to_le_bytes())).collect();
    let handed_out: Vec<_> = round.batches.into_iter().map(|(_, delta)| delta).collect();
    assert_eq!(handed_out, oldest, "as many as a round has, oldest first");
    let again = late(4_097).await.expect("memory");
    assert!(matches!(again, Committed::Duplicate(_)), "it was accepted: {again:?}");
    let full = late(4_098).await.expect("memory");
    assert!(matches!(full, Committed::Conflict(_)), "{full:?}");
}

#[test]
fn keys_are_names_that_no_request_can_bend() {
    assert_eq!(Key::new("payment_api.v2-eu").as_str(), "payment_api.v2-eu");
    assert_eq!(Key::new("").as_str(), "");
    assert_eq!(Key::new("a\nb").as_str(), "a_x0Ab");
    assert_ne!(Key::new("a:b"), Key::new("a_x3Ab"));
    let long = "x".repeat(300);
    assert_ne!(Key::new(&long), Key::new(&format!("{long}y")));
    assert_eq!(Key::new(&long).name(), None);
    assert_ne!(Key::new(Key::new(&long).as_str()), Key::new(&long), "a name that looks like a key that was cut");
}

proptest! {
    #[test]
    fn every_name_comes_back_from_its_key(name in "\\PC{0,60}|[_x0-9A-F.]{0,30}") {
        let key = Key::new(&name);
        prop_assert!(key.as_str().len() <= Key::MOST);
        prop_assert!(key.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)));
        if let Some(back) = key.name() {
            prop_assert_eq!(back, name);
        } else {
            prop_assert!(key.as_str().len() == Key::MOST);
        }
    }

    #[test]
    fn two_names_have_two_keys(a in "[_x.A-F0-9]{0,12}", b in "[_x.A-F0-9]{0,12}") {
        prop_assert_eq!(a == b, Key::new(&a) == Key::new(&b));
    }
}
