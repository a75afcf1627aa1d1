//! Others write at the same time, or an answer is lost.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fusebox::State;
use fusebox::fleet::{FleetFilter, OperatorError};
use fusebox::store::{
    BatchId, Commit, Committed, MemoryStore, Store, StoreError, StoreFuture, Stored, Summary, Version,
};

use super::both::on_all;
use super::*;

/// Leaves a batch in the outbox of a writer that had a round and is gone.
async fn leave_a_batch(store: &dyn Store, key: &str) {
    let newest = store.load(&[key]).await.expect("answers").remove(0).version;
    let mut commit = Commit::new(Version(newest.0 + 1), Bytes::from("x"), Summary::closed(1), Duration::from_secs(60));
    commit.batch = Some((BatchId { writer: 7, seq: 1 }, Bytes::from("what a crashed instance has told")));
    commit.may_queue = true;
    let answer = store.commit(key, commit).await.expect("answers");
    assert!(matches!(answer, Committed::Combine(..)), "{answer:?}");
}

/// What waits must be taken in before anything is written: where no instance runs, the operator does it.
#[tokio::test(flavor = "multi_thread")]
async fn batches_that_an_instance_left_do_not_keep_a_command_out() {
    on_all(async |raw| {
        let (store, operator) = (raw.store().await, operator(raw.store().await));
        operator.reset("a").await.expect("makes it");
        leave_a_batch(&*store, "a").await;
        let change = operator.trip("a").await.expect("after the round of the one that left it");
        assert_eq!((change.changed, change.after.and_then(|row| row.state())), (true, Some(State::Open)), "{raw:?}");
        assert!(operator.reset("a").await.expect("nothing waits any more").changed);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_commands_that_race_each_is_carried_out() {
    on_all(async |raw| {
        let operator = operator(raw.store().await);
        let before = operator.reset("a").await.expect("makes it").after.map(|row| snapshot(&row).generation);
        let resets = (0..20).map(|_| {
            let operator = operator.clone();
            tokio::spawn(async move { operator.reset("a").await })
        });
        for reset in futures::future::join_all(resets).await {
            assert!(reset.expect("no panic").expect("in time").changed);
        }
        let seen = snapshot(&operator.get("a").await.expect("answers").expect("is there"));
        assert_eq!(Some(seen.generation.get()), before.map(|generation| generation.get() + 20), "{raw:?}");
    })
    .await;
}

/// A store whose answers to writes are lost, or that never lets one write.
#[derive(Debug)]
struct Lossy {
    inner: MemoryStore,
    writes: bool,
    has_lost: AtomicBool,
}

impl Store for Lossy {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        self.inner.load(keys)
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        Box::pin(async move {
            if !self.writes {
                return Ok(Committed::Conflict(self.inner.load(&[key]).await?.remove(0)));
            }
            let answer = self.inner.commit(key, commit).await;
            let is_lost = !self.has_lost.swap(true, Ordering::SeqCst);
            if is_lost { Err(StoreError::no_answer("reset by peer")) } else { answer }
        })
    }
}

fn lossy(writes: bool) -> (MemoryStore, Operator) {
    let inner = MemoryStore::new();
    let store = Lossy { inner: inner.clone(), writes, has_lost: AtomicBool::new(false) };
    (inner, operator(Arc::new(store)))
}

#[tokio::test]
async fn a_command_whose_answer_is_lost_is_carried_out_once() {
    let (inner, operator) = lossy(true);
    let change = operator.reset("a").await.expect("it shows in the record");
    assert!(change.changed && change.after.is_some(), "{change:?}");
    let seen = snapshot(&Operator::new(Arc::new(inner)).get("a").await.expect("memory").expect("is there"));
    assert_eq!(seen.generation.get(), 2, "one reset of what was fresh");
}

#[tokio::test]
async fn a_command_that_never_wins_says_so_in_time() {
    let (_, operator) = lossy(false);
    let began = now();
    let error = operator.timeout(Duration::from_millis(200)).trip("a").await.expect_err("never wins");
    assert!(matches!(error, OperatorError::Contended { .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

/// A store that hangs.
#[derive(Debug)]
struct Hangs;

impl Store for Hangs {
    fn load<'a>(&'a self, _: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(std::future::pending())
    }

    fn commit<'a>(&'a self, _: &'a str, _: Commit) -> StoreFuture<'a, Committed> {
        Box::pin(std::future::pending())
    }

    fn keys(&self) -> StoreFuture<'_, Vec<String>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up() {
    let operator = Operator::new(Arc::new(Hangs)).timeout(Duration::from_millis(50));
    let away = |error: &StoreError| matches!(error, StoreError::Unavailable { .. });
    assert!(operator.get("a").await.is_err_and(|error| away(&error)));
    assert!(operator.list(&FleetFilter::all()).await.is_err_and(|error| away(&error)));
    assert!(operator.check().await.is_err_and(|error| away(&error)));
    assert!(matches!(operator.trip("a").await, Err(OperatorError::Store(error)) if away(&error)));
}
