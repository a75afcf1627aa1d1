//! Batches of one writer are taken in as they were accepted, whatever the writers do to each other.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;

use bytes::Bytes;
use fusebox::store::{BatchId, Commit, Committed, MemoryStore, Round, Store, Stored, Summary};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Duration;

const WRITERS: usize = 8;
const BATCHES: u64 = 40;

/// For each writer the number of the newest batch that was taken in; `None` once one came before its time.
type Seen = Option<[u64; WRITERS]>;

fn read(record: &[u8]) -> Seen {
    match record {
        [] => Some([0; WRITERS]),
        [_] => None,
        numbers => Some(std::array::from_fn(|at| u64::from(numbers[at]))),
    }
}

fn saved(seen: Seen) -> Bytes {
    let number = |seq| u8::try_from(seq).expect("few batches");
    seen.map_or_else(|| Bytes::from_static(b"!"), |seen| seen.map(number).to_vec().into())
}

fn delta(id: BatchId) -> Bytes {
    saved(Some(std::array::from_fn(|at| if at as u64 == id.writer { id.seq } else { 0 })))
}

fn with(seen: Seen, delta: &[u8]) -> Seen {
    let (mut seen, new) = (seen?, read(delta)?);
    for (seq, new) in seen.iter_mut().zip(new).filter(|(_, new)| *new > 0) {
        if new != *seq + 1 {
            return None;
        }
        *seq = new;
    }
    Some(seen)
}

fn commit(on: &Stored, seen: Seen) -> Commit {
    Commit::new(on.version, saved(seen), Summary::closed(1), Duration::from_secs(600))
}

async fn combine(store: &dyn Store, key: &str, mut on: Stored, mut round: Round) {
    loop {
        let seen = round.batches.iter().fold(read(&on.record), |seen, (_, delta)| with(seen, delta));
        let mut combined = commit(&on, seen);
        // Rounds that end with batches left are when a writer could get ahead of itself.
        combined.release = on.version.0.is_multiple_of(2);
        combined.round = Some(round);
        match store.commit(key, combined).await.expect("an answer") {
            Committed::Combine(newest, next) => (on, round) = (newest, next),
            _ => return,
        }
    }
}

async fn tell(store: &dyn Store, key: &str, on: &mut Stored, id: BatchId) {
    loop {
        let mut new = commit(on, with(read(&on.record), &delta(id)));
        new.batch = Some((id, delta(id)));
        new.may_queue = true;
        let record = new.record.clone();
        match store.commit(key, new).await.expect("an answer") {
            Committed::Applied { version, now } => return *on = Stored::new(version, record, now),
            Committed::Duplicate(newest) | Committed::Queued(newest) => return *on = newest,
            Committed::Combine(newest, round) => return combine(store, key, newest, round).await,
            Committed::Conflict(newest) => *on = newest,
            other => unreachable!("without a round: {other:?}"),
        }
    }
}

/// Takes in all that waits; returns what the record says then.
async fn settled(store: &dyn Store, key: &str) -> Seen {
    loop {
        let on = store.load(&[key]).await.expect("an answer").remove(0);
        match store.commit(key, commit(&on, read(&on.record))).await.expect("an answer") {
            Committed::Applied { .. } => return read(&on.record),
            Committed::Combine(newest, round) => combine(store, key, newest, round).await,
            _ => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// What must hold of every store that combines.
pub(crate) async fn each_writers_batches_are_taken_in_in_order(store: Arc<dyn Store>) {
    one_after_the_other(&*store).await;
    all_at_once(store).await;
}

/// A batch is left by the round that was to take it in, and its writer's next one comes.
async fn one_after_the_other(store: &dyn Store) {
    let key = "one-after-the-other";
    tell(store, key, &mut Stored::default(), BatchId { writer: 0, seq: 1 }).await;
    let late = |id| {
        let mut late = commit(&Stored::default(), None);
        late.batch = Some((id, delta(id)));
        late.may_queue = true;
        store.commit(key, late)
    };
    let Ok(Committed::Combine(on, round)) = late(BatchId { writer: 1, seq: 1 }).await else { panic!("a turn") };
    let queued = late(BatchId { writer: 0, seq: 2 }).await.expect("an answer");
    assert!(matches!(queued, Committed::Queued(_)), "{queued:?}");
    let mut last = commit(&on, round.batches.iter().fold(read(&on.record), |seen, (_, delta)| with(seen, delta)));
    (last.round, last.release) = (Some(round), true);
    let released = store.commit(key, last).await.expect("an answer");
    assert!(matches!(released, Committed::Applied { .. }), "{released:?}");
    let mut newest = store.load(&[key]).await.expect("an answer").remove(0);
    tell(store, key, &mut newest, BatchId { writer: 0, seq: 3 }).await;
    assert_eq!(settled(store, key).await, Some([3, 1, 0, 0, 0, 0, 0, 0]));
}

async fn all_at_once(store: Arc<dyn Store>) {
    let key = "all-at-once";
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS as u64 {
        let store = store.clone();
        writers.spawn(async move {
            let mut on = Stored::default();
            for seq in 1..=BATCHES {
                tell(&*store, key, &mut on, BatchId { writer, seq }).await;
                // As an instance that hears of each version: it builds on the newest while its last batch waits.
                tokio::task::yield_now().await;
                on = store.load(&[key]).await.expect("an answer").remove(0);
            }
        });
    }
    writers.join_all().await;
    assert_eq!(settled(&*store, key).await, Some([BATCHES; WRITERS]));
}

#[tokio::test]
async fn memory_takes_each_writers_batches_in_in_order() {
    each_writers_batches_are_taken_in_in_order(Arc::new(MemoryStore::new())).await;
}
