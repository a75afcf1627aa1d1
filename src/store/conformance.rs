//! The contract of [`Store`](super::Store) as a suite that every implementation can be put through.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::contract::{
    BatchId, Changes, Commit, Committed, Notice, Notices, Round, Store, StoreTime, Stored, Summary, Version,
};
use super::error::StoreError;
use crate::circuit::State;
use crate::clock::fresh_seed;
use crate::one_line::OneLine;

/// Puts a store through its contract. Those are some 20 checks under keys of their own, in a few seconds.
///
/// Needs a Tokio runtime with time enabled. Run it against a real server, and also against the store with its guards taken
/// out one at a time (no dedup, no fence, versions that only count): a suite that cannot fail proves nothing.
///
/// # Errors
///
/// The first check that failed: which rule it is of, what was expected, what was seen.
///
/// ```
/// use std::sync::Arc;
/// use fusebox::store::{self, MemoryStore};
///
/// # tokio_test::block_on(async {
/// let passed = store::conformance(Arc::new(MemoryStore::new())).await?;
/// assert!(passed.checks >= 12);
/// assert!(passed.combines && passed.pushes && passed.lists);
/// # Ok::<(), store::Violation>(()) }).unwrap();
/// ```
pub async fn conformance(store: Arc<dyn Store>) -> Result<Conformance, Violation> {
    let mut suite = Suite { store, prefix: fresh_seed(), keys: 0, checks: 0 };
    suite.an_absent_key_has_no_record().await?;
    suite.the_newest_record_is_read_back_byte_by_byte().await?;
    suite.keys_are_apart_and_come_in_order().await?;
    suite.only_the_newest_version_is_written_over().await?;
    suite.versions_are_the_stores_time_and_grow().await?;
    suite.of_many_writers_at_once_one_is_applied().await?;
    suite.a_batch_is_accepted_once().await?;
    suite.a_conflict_keeps_nothing().await?;
    suite.records_expire_only_after_their_time().await?;
    let combines = suite.rounds_are_in_one_hand().await?;
    if combines {
        suite.batches_wait_in_the_order_of_their_acceptance().await?;
        suite.what_waits_is_taken_in_before_anything_is_written().await?;
    }
    let pushes = suite.notices_come_with_their_writes().await?;
    suite.every_batch_counts_once_under_contention().await?;
    suite.a_write_that_was_given_up_counts_once().await?;
    let lists = suite.keys_with_a_record_are_listed().await?;
    let tells_changes = suite.what_changed_is_told_until_it_is_known().await?;
    Ok(Conformance { checks: suite.checks, combines, pushes, lists, tells_changes })
}

/// What a store that conforms can do: see [`conformance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conformance {
    /// How many checks it passed.
    pub checks: u32,
    /// It queues what loses a race, for a writer who combines.
    pub combines: bool,
    /// It tells watchers of changes.
    pub pushes: bool,
    /// It lists its keys.
    pub lists: bool,
    /// It tells [what changed](Store::changes).
    pub tells_changes: bool,
}

/// A store does not keep its contract: see [`conformance`].
#[derive(Debug)]
pub struct Violation {
    check: &'static str,
    what: String,
    source: Option<StoreError>,
}

impl Violation {
    /// Returns the check that failed.
    #[must_use]
    pub const fn check(&self) -> &'static str {
        self.check
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, OneLine(&self.what))
    }
}

impl Error for Violation {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.source {
            Some(source) => Some(source),
            None => None,
        }
    }
}

/// One check, for its messages.
#[derive(Clone, Copy)]
struct Check(&'static str);

impl Check {
    fn failed(self, what: impl Into<String>) -> Violation {
        Violation { check: self.0, what: what.into(), source: None }
    }

    fn require(self, holds: bool, what: impl FnOnce() -> String) -> Result<(), Violation> {
        if holds { Ok(()) } else { Err(self.failed(what())) }
    }

    fn error(self, source: StoreError) -> Violation {
        Violation { check: self.0, what: format!("the store failed: {source}"), source: Some(source) }
    }
}

struct Suite {
    store: Arc<dyn Store>,
    prefix: u64,
    keys: u32,
    checks: u32,
}

const TTL: Duration = Duration::from_secs(600);

fn record(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn write(expected: Version, text: &str) -> Commit {
    Commit::new(expected, record(text), Summary::closed(1), TTL)
}

fn with_batch(mut commit: Commit, writer: u64, seq: u64) -> Commit {
    commit.batch = Some((BatchId { writer, seq }, Bytes::from_static(b"+")));
    commit
}

impl Suite {
    fn begin(&mut self, name: &'static str) -> (Check, String) {
        self.checks += 1;
        (Check(name), self.key())
    }

    /// A key that nobody ever used.
    fn key(&mut self) -> String {
        self.keys += 1;
        format!("conformance-{:016x}-{}", self.prefix, self.keys)
    }

    async fn load(&self, check: Check, key: &str) -> Result<Stored, Violation> {
        let mut stored = self.store.load(&[key]).await.map_err(|error| check.error(error))?;
        check.require(stored.len() == 1, || format!("one key was asked for, {} came", stored.len()))?;
        Ok(stored.swap_remove(0))
    }

    async fn commit(&self, check: Check, key: &str, commit: Commit) -> Result<Committed, Violation> {
        self.store.commit(key, commit).await.map_err(|error| check.error(error))
    }

    /// A write that must succeed.
    async fn apply(&self, check: Check, key: &str, commit: Commit) -> Result<(Version, StoreTime), Violation> {
        match self.commit(check, key, commit).await? {
            Committed::Applied { version, now } => Ok((version, now)),
            other => Err(check.failed(format!("expected Applied, got {other:?}"))),
        }
    }

    async fn an_absent_key_has_no_record(&mut self) -> Result<(), Violation> {
        let (check, key) = self.begin("an absent key has no record");
        let stored = self.load(check, &key).await?;
        check.require(stored.version == Version::NONE && stored.record.is_empty(), || format!("{stored:?}"))?;
        let conflict = self.commit(check, &key, write(Version(7), "x")).await?;
        check.require(matches!(&conflict, Committed::Conflict(stored) if stored.version == Version::NONE), || {
            format!("a write over a version that never was: {conflict:?}")
        })
    }

    async fn the_newest_record_is_read_back_byte_by_byte(&mut self) -> Result<(), Violation> {
        let (check, key) = self.begin("the newest record is read back byte by byte");
        let every_byte: Bytes = (0..=255_u8).cycle().take(16 * 1024).collect();
        let mut commit = write(Version::NONE, "");
        commit.record = every_byte.clone();
        commit.summary = Summary {
            state: State::Open,
            failures: u32::MAX,
            open_until: Some(StoreTime(1_900_000_000_000_000)),
            generation: u64::from(u32::MAX),
        };
        let (version, _) = self.apply(check, &key, commit).await?;
        let stored = self.load(check, &key).await?;
        check.require(stored.version == version, || format!("written {version:?}, read {:?}", stored.version))?;
        check.require(stored.record == every_byte, || format!("{} bytes came back otherwise", stored.record.len()))
    }

    async fn keys_are_apart_and_come_in_order(&mut self) -> Result<(), Violation> {
        let (check, a) = self.begin("keys are apart and come in order");
        let (b, absent) = (self.key(), self.key());
        self.apply(check, &a, write(Version::NONE, "a")).await?;
        self.apply(check, &b, write(Version::NONE, "b")).await?;
        let stored = self.store.load(&[&b, &absent, &a, &b]).await.map_err(|error| check.error(error))?;
        let records: Vec<_> = stored.iter().map(|stored| String::from_utf8_lossy(&stored.record)).collect();
        check.require(records == ["b", "", "a", "b"], || format!("expected b, nothing, a, b; got {records:?}"))?;
        let none = self.store.load(&[]).await.map_err(|error| check.error(error))?;
        check.require(none.is_empty(), || "no keys were asked for, some came".into())
    }

    async fn only_the_newest_version_is_written_over(&mut self) -> Result<(), Violation> {
        let (check, key) = self.begin("only the newest version is written over");
        let (first, _) = self.apply(check, &key, write(Version::NONE, "1")).await?;
        let (second, _) = self.apply(check, &key, write(first, "2")).await?;
        for stale in [Version::NONE, first, Version(second.0 + 1)] {
            let answer = self.commit(check, &key, write(stale, "late")).await?;
            check.require(
                matches!(&answer, Committed::Conflict(stored) if stored.version == second && stored.record == "2"),
                || format!("over {stale:?} while {second:?} is the newest: {answer:?}"),
            )?;
        }
        let stored = self.load(check, &key).await?;
        check.require(stored.record == "2", || format!("a write that lost is there: {stored:?}"))
    }

    async fn versions_are_the_stores_time_and_grow(&mut self) -> Result<(), Violation> {
        let (check, key) = self.begin("versions are the store's time and grow");
        let before = self.load(check, &key).await?.now;
        let mut version = Version::NONE;
        for _ in 0..20 {
            let (next, now) = self.apply(check, &key, write(version, "x")).await?;
            check.require(next > version, || format!("{next:?} after {version:?}"))?;
            // What was lost and is written anew must be above what it was: only the time can see to that.
            check.require(next.0 >= before.0, || format!("{next:?} is below the time {before:?}"))?;
            check.require(now >= before, || format!("the time went back from {before:?} to {now:?}"))?;
            version = next;
        }
        Ok(())
    }

    async fn of_many_writers_at_once_one_is_applied(&mut self) -> Result<(), Violation> {
        let (check, key) = self.begin("of many writers at once one is applied");
        let mut version = Version::NONE;
        for _ in 0..5 {
            let mut writers = JoinSet::new();
            for writer in 0..20 {
                let (store, key) = (self.store.clone(), key.clone());
                writers.spawn(async move { store.commit(&key, write(version, &writer.to_string())).await });
            }
            let mut applied = Vec::new();
            while let Some(answer) = writers.join_next().await {
                match answer.map_err(|error| check.failed(error.to_string()))?.map_err(|error| check.error(error))? {
                    Committed::Applied { version, .. } => applied.push(version),
                    Committed::Conflict(_) => {}
                    other => return Err(check.failed(format!("a plain compare-and-swap got {other:?}"))),
                }
            }
            check.require(applied.len() == 1, || format!("applied: {applied:?}"))?;
            version = applied[0];
        }
        Ok(())
    }

    async fn a_batch_is_accepted_once(&mut self) -> Result<(), Violation> {
        let (check, key) = self.begin("a batch is accepted once");
        let (version, _) = self.apply(check, &key, with_batch(write(Version::NONE, "1"), 1, 5)).await?;
        for (seq, expected) in [(5, version), (5, Version::NONE), (4, version), (1, version)] {
            for may_queue in [false, true] {
                let mut again = with_batch(write(expected, "again"), 1, seq);
                again.may_queue = may_queue;
                let answer = self.commit(check, &key, again).await?;
                check.require(matches!(&answer, Committed::Duplicate(stored) if stored.version == version), || {
                    format!("batch {seq} after 5, over {expected:?} of {version:?}: {answer:?}")
                })?;
            }
        }
        let (version, _) = self.apply(check, &key, with_batch(write(version, "2"), 2, 5)).await?;
        self.apply(check, &key, with_batch(write(version, "3"), 1, 6)).await?;
        let other = self.key();
        self.apply(check, &other, with_batch(write(Version::NONE, "1"), 1, 5)).await?;
        Ok(())
    }

    async fn a_conflict_keeps_nothing(&mut self) -> Result<(), Violation> {
        let (check, key) = self.begin("a conflict keeps nothing");
        let (version, _) = self.apply(check, &key, write(Version::NONE, "1")).await?;
        let answer = self.commit(check, &key, with_batch(write(Version(1), "late"), 1, 1)).await?;
        check.require(matches!(answer, Committed::Conflict(_)), || format!("expected Conflict, got {answer:?}"))?;
        self.apply(check, &key, with_batch(write(version, "2"), 1, 1)).await?;
        Ok(())
    }

    async fn records_expire_only_after_their_time(&mut self) -> Result<(), Violation> {
        let (check, key) = self.begin("records expire only after their time");
        let mut short = write(Version::NONE, "short");
        short.ttl = Duration::from_millis(300);
        let (version, _) = self.apply(check, &key, short).await?;
        let stored = self.load(check, &key).await?;
        check.require(stored.version == version, || "gone at once".into())?;
        // A write extends it.
        let (version, _) = self.apply(check, &key, write(version, "long")).await?;
        sleep(Duration::from_millis(400)).await;
        let stored = self.load(check, &key).await?;
        check.require(stored.version == version && stored.record == "long", || {
            format!("gone after the time of an earlier write: {stored:?}")
        })
    }
}

/// A sum, and writers that add to it: what a fleet does with outcomes, in its simplest form.
#[derive(Clone)]
struct Sum {
    store: Arc<dyn Store>,
    key: Arc<str>,
}

fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn bytes(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

/// What the batches of a round add, in their order.
fn numbers(round: &Round) -> Vec<u64> {
    round.batches.iter().map(|(_, delta)| number(delta)).collect()
}

impl Sum {
    async fn newest(&self) -> Result<Stored, StoreError> {
        Ok(self.store.load(&[&self.key]).await?.pop().unwrap_or_default())
    }

    fn adding(on: &Stored, n: u64, id: BatchId, may_queue: bool) -> Commit {
        let mut commit = write(on.version, "");
        commit.record = bytes(number(&on.record) + n);
        commit.batch = Some((id, bytes(n)));
        commit.may_queue = may_queue;
        commit
    }

    fn taking_in(on: &Stored, round: Round) -> Commit {
        let more: u64 = round.batches.iter().map(|(_, delta)| number(delta)).sum();
        let mut commit = write(on.version, "");
        commit.record = bytes(number(&on.record) + more);
        commit.round = Some(round);
        commit
    }

    /// Adds, as an instance of a fleet does: once onto what it knows, then onto the newest; whoever is told to, combines.
    async fn add(&self, on: &mut Stored, n: u64, id: BatchId) -> Result<(), StoreError> {
        let mut may_queue = false;
        loop {
            match self.store.commit(&self.key, Self::adding(on, n, id, may_queue)).await? {
                Committed::Applied { version, now } => {
                    *on = Stored::new(version, bytes(number(&on.record) + n), now);
                    return Ok(());
                }
                Committed::Duplicate(newest) | Committed::Queued(newest) => {
                    *on = newest;
                    return Ok(());
                }
                Committed::Conflict(newest) | Committed::Fenced(newest) => *on = newest,
                Committed::Combine(newest, round) => return self.combine(newest, round).await,
            }
            may_queue = true;
        }
    }

    async fn combine(&self, mut on: Stored, mut round: Round) -> Result<(), StoreError> {
        loop {
            match self.store.commit(&self.key, Self::taking_in(&on, round)).await? {
                Committed::Combine(newest, next) => (on, round) = (newest, next),
                _ => return Ok(()),
            }
        }
    }

    /// The sum once nothing waits any more.
    async fn settled(&self) -> Result<u64, StoreError> {
        loop {
            let on = self.newest().await?;
            let mut same = write(on.version, "");
            same.record = on.record.clone();
            match self.store.commit(&self.key, same).await? {
                Committed::Applied { .. } => return Ok(number(&on.record)),
                Committed::Combine(newest, round) => self.combine(newest, round).await?,
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

impl Suite {
    fn sum(&self, key: &str) -> Sum {
        Sum { store: self.store.clone(), key: key.into() }
    }

    /// Returns whether the store queues at all.
    async fn rounds_are_in_one_hand(&mut self) -> Result<bool, Violation> {
        let (check, key) = self.begin("rounds are in one hand");
        let sum = self.sum(&key);
        let stale = Stored::default();
        let (version, _) =
            self.apply(check, &key, Sum::adding(&stale, 1, BatchId { writer: 1, seq: 1 }, false)).await?;
        let late = |writer, seq, n| Sum::adding(&stale, n, BatchId { writer, seq }, true);
        let (on, round) = match self.commit(check, &key, late(1, 2, 10)).await? {
            Committed::Combine(on, round) => (on, round),
            Committed::Conflict(_) => return Ok(false),
            other => return Err(check.failed(format!("a late batch that may queue got {other:?}"))),
        };
        check.require(on.version == version && round.batches.len() == 1, || format!("{on:?}, {round:?}"))?;

        let queued = self.commit(check, &key, late(2, 1, 100)).await?;
        check.require(matches!(queued, Committed::Queued(_)), || format!("while another combines: {queued:?}"))?;
        let again = self.commit(check, &key, late(2, 1, 100)).await?;
        check.require(matches!(again, Committed::Duplicate(_)), || format!("queued already: {again:?}"))?;
        let plain = self.commit(check, &key, write(version, "in between")).await?;
        check.require(matches!(plain, Committed::Conflict(_)), || format!("a write into a round: {plain:?}"))?;

        let Committed::Combine(on, next) = self.commit(check, &key, Sum::taking_in(&on, round.clone())).await? else {
            return Err(check.failed("the batch that came meanwhile was not handed out"));
        };
        check.require(number(&on.record) == 11 && next.batches.len() == 1, || format!("{on:?}, {next:?}"))?;
        if next.token != round.token {
            let fenced = self.commit(check, &key, Sum::taking_in(&on, round)).await?;
            check.require(matches!(fenced, Committed::Fenced(_)), || format!("with an old token: {fenced:?}"))?;
        }

        // The one whose turn it is falls asleep.
        let mut waited = Duration::ZERO;
        let (on, taken_over) = loop {
            match self.commit(check, &key, write(Version(1), "")).await? {
                Committed::Combine(on, round) => break (on, round),
                Committed::Conflict(_) if waited < Duration::from_secs(10) => {
                    sleep(Duration::from_millis(100)).await;
                    waited += Duration::from_millis(100);
                }
                other => return Err(check.failed(format!("a round that nobody ends does not come back: {other:?}"))),
            }
        };
        let fenced = self.commit(check, &key, Sum::taking_in(&on, next)).await?;
        check.require(matches!(fenced, Committed::Fenced(_)), || format!("the sleeper wrote: {fenced:?}"))?;
        self.apply(check, &key, Sum::taking_in(&on, taken_over)).await?;
        let total = sum.settled().await.map_err(|error| check.error(error))?;
        check.require(total == 111, || format!("1 + 10 + 100 became {total}"))?;
        Ok(true)
    }

    async fn batches_wait_in_the_order_of_their_acceptance(&mut self) -> Result<(), Violation> {
        let (check, key) = self.begin("batches wait in the order of their acceptance");
        self.apply(check, &key, write(Version::NONE, "")).await?;
        let late = |writer, seq, n| Sum::adding(&Stored::default(), n, BatchId { writer, seq }, true);
        let (on, round) = self.turn(check, &key, late(1, 1, 1)).await?;
        let waiting = [(2, 1, 10), (1, 2, 2), (1, 3, 3), (2, 2, 20), (1, 4, 4), (2, 3, 30)];
        for (writer, seq, n) in waiting {
            let queued = self.commit(check, &key, late(writer, seq, n)).await?;
            check.require(matches!(queued, Committed::Queued(_)), || format!("while another combines: {queued:?}"))?;
        }
        let (_, next) = self.turn(check, &key, Sum::taking_in(&on, round)).await?;
        check.require(numbers(&next) == waiting.map(|(_, _, n)| n), || {
            format!("accepted {waiting:?} (writer, number, content), handed out {:?}", numbers(&next))
        })
    }

    async fn what_waits_is_taken_in_before_anything_is_written(&mut self) -> Result<(), Violation> {
        let (check, key) = self.begin("what waits is taken in before anything is written");
        let sum = self.sum(&key);
        let on = self.leave_waiting(check, &key, 100).await?;
        let new = Sum::adding(&on, 1_000, BatchId { writer: 3, seq: 1 }, false);
        let (kept, round) = self.turn(check, &key, new.clone()).await?;
        self.is_unwritten(check, &key, &on, &kept).await?;
        check.require(numbers(&round) == [100, 1_000], || {
            format!("100 waits, 1000 came: the round has {:?}", numbers(&round))
        })?;
        let again = self.commit(check, &key, new).await?;
        check.require(matches!(again, Committed::Duplicate(_)), || format!("a batch of the round: {again:?}"))?;
        self.apply(check, &key, Sum::taking_in(&kept, round)).await?;
        let total = sum.settled().await.map_err(|error| check.error(error))?;
        check.require(total == 1_111, || format!("1 + 10 + 100 + 1000 became {total}"))?;

        // The same without a batch.
        let key = self.key();
        let on = self.leave_waiting(check, &key, 100).await?;
        let (kept, round) = self.turn(check, &key, write(on.version, "over it")).await?;
        self.is_unwritten(check, &key, &on, &kept).await?;
        check.require(numbers(&round) == [100], || format!("100 waits: the round has {:?}", numbers(&round)))?;
        let (version, _) = self.apply(check, &key, Sum::taking_in(&kept, round)).await?;
        self.apply(check, &key, write(version, "nothing waits")).await?;
        Ok(())
    }

    /// Leaves a record of eleven, and a batch that waits while no writer has a round.
    async fn leave_waiting(&self, check: Check, key: &str, n: u64) -> Result<Stored, Violation> {
        let add = |n, writer, seq, may_queue| Sum::adding(&Stored::default(), n, BatchId { writer, seq }, may_queue);
        self.apply(check, key, add(1, 1, 1, false)).await?;
        let (on, round) = self.turn(check, key, add(10, 1, 2, true)).await?;
        let queued = self.commit(check, key, add(n, 2, 1, true)).await?;
        check.require(matches!(queued, Committed::Queued(_)), || format!("while another combines: {queued:?}"))?;
        let mut last = Sum::taking_in(&on, round);
        last.release = true;
        self.apply(check, key, last).await?;
        self.load(check, key).await
    }

    /// A write that must be answered with a round.
    async fn turn(&self, check: Check, key: &str, commit: Commit) -> Result<(Stored, Round), Violation> {
        match self.commit(check, key, commit).await? {
            Committed::Combine(on, round) => Ok((on, round)),
            other => Err(check.failed(format!("batches wait and no writer has a round: {other:?}"))),
        }
    }

    /// The record is as it was, and was told as it is.
    async fn is_unwritten(&self, check: Check, key: &str, before: &Stored, told: &Stored) -> Result<(), Violation> {
        let now = self.load(check, key).await?;
        let is_same = |stored: &Stored| (stored.version, &stored.record) == (before.version, &before.record);
        check.require(is_same(&now) && is_same(told), || {
            format!("batches waited, a commit without them was written: {before:?} became {now:?}, told as {told:?}")
        })
    }

    /// Returns whether the store tells watchers anything.
    async fn notices_come_with_their_writes(&mut self) -> Result<bool, Violation> {
        let (check, key) = self.begin("notices come with their writes");
        let mut notices = self.store.watch();
        let noticed = |expected, text: &str, notice: &'static str| {
            let mut commit = write(expected, text);
            commit.notice = Some(Bytes::from_static(notice.as_bytes()));
            commit
        };
        // A watcher may need a moment until it hears.
        let (mut version, mut heard) = (Version::NONE, None);
        for _ in 0..20 {
            (version, _) = self.apply(check, &key, noticed(version, "1", "one")).await?;
            heard = hear(&mut notices, &key, Duration::from_millis(100)).await;
            if heard.is_some() {
                break;
            }
        }
        if heard.is_none() {
            return Ok(false);
        }
        let lost = self.commit(check, &key, noticed(Version(1), "lost", "lost")).await?;
        check.require(matches!(lost, Committed::Conflict(_)), || format!("expected Conflict, got {lost:?}"))?;
        let (silent, _) = self.apply(check, &key, write(version, "2")).await?;
        let (told, _) = self.apply(check, &key, noticed(silent, "3", "three")).await?;
        loop {
            let heard = hear(&mut notices, &key, Duration::from_secs(5)).await;
            let Some((version, notice)) = heard else {
                return Err(check.failed("a notice of a write that was applied did not come"));
            };
            check.require(notice == "one" || notice == "three", || format!("heard {notice:?}"))?;
            if notice == "three" {
                check.require(version == told, || format!("{version:?} was told, {told:?} written"))?;
                return Ok(true);
            }
        }
    }

    async fn every_batch_counts_once_under_contention(&mut self) -> Result<(), Violation> {
        const WRITERS: u64 = 16;
        const BATCHES: u64 = 25;
        let (check, key) = self.begin("every batch counts once under contention");
        let sum = self.sum(&key);
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let sum = sum.clone();
            writers.spawn(async move {
                let mut on = Stored::default();
                for seq in 1..=BATCHES {
                    sum.add(&mut on, 1, BatchId { writer, seq }).await?;
                }
                Ok::<(), StoreError>(())
            });
        }
        while let Some(done) = writers.join_next().await {
            done.map_err(|error| check.failed(error.to_string()))?.map_err(|error| check.error(error))?;
        }
        let total = sum.settled().await.map_err(|error| check.error(error))?;
        check.require(total == WRITERS * BATCHES, || format!("{} batches became {total}", WRITERS * BATCHES))
    }

    /// A writer that has no answer sends the same batch again.
    async fn a_write_that_was_given_up_counts_once(&mut self) -> Result<(), Violation> {
        const BATCHES: u64 = 30;
        let (check, key) = self.begin("a write that was given up counts once");
        let sum = self.sum(&key);
        let mut polls = 0_u64;
        let mut on = Stored::default();
        for seq in 1..=BATCHES {
            let id = BatchId { writer: 1, seq };
            {
                let mut given_up = self.store.commit(&key, Sum::adding(&on, 1, id, true));
                // Polled a few times, more with each batch, then dropped on its way.
                poll_fn(|cx| {
                    let done = given_up.as_mut().poll(cx).is_ready();
                    let enough = polls % (1 + seq % 3) == seq % 3;
                    polls += 1;
                    if done || enough { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
            sum.add(&mut on, 1, id).await.map_err(|error| check.error(error))?;
        }
        let total = sum.settled().await.map_err(|error| check.error(error))?;
        check.require(total == BATCHES, || format!("{BATCHES} batches became {total}"))
    }
}

impl Suite {
    /// Returns whether the store lists its keys.
    async fn keys_with_a_record_are_listed(&mut self) -> Result<bool, Violation> {
        let (check, key) = self.begin("keys with a record are listed");
        let absent = self.key();
        self.load(check, &absent).await?;
        let (version, _) = self.apply(check, &key, write(Version::NONE, "1")).await?;
        self.apply(check, &key, write(version, "2")).await?;
        let keys = match self.store.keys().await {
            Ok(keys) => keys,
            Err(StoreError::Refused(_)) => return Ok(false),
            Err(error) => return Err(check.error(error)),
        };
        let times = |key: &str| keys.iter().filter(|listed| *listed == key).count();
        check.require(times(&key) == 1, || format!("written twice, listed {} times of {}", times(&key), keys.len()))?;
        check.require(times(&absent) == 0, || "a key without a record is listed".into())?;
        Ok(true)
    }
}

impl Suite {
    /// Returns whether the store tells what changed.
    async fn what_changed_is_told_until_it_is_known(&mut self) -> Result<bool, Violation> {
        let (check, key) = self.begin("what changed is told until it is known");
        let (silent, other) = (self.key(), self.key());
        let mut cursor = match self.store.changes(None).await.map_err(|error| check.error(error))? {
            Changes::Unsupported => return Ok(false),
            Changes::Restart { cursor } => cursor,
            Changes::Since { .. } => return Err(check.failed("without a cursor it knows what changed")),
        };
        let tells = |expected, text: &str| {
            let mut commit = write(expected, text);
            commit.notice = Some(Bytes::from_static(b"notice"));
            commit
        };
        self.apply(check, &silent, write(Version::NONE, "1")).await?;
        let (mut version, _) = self.apply(check, &key, tells(Version::NONE, "1")).await?;
        for round in 2..=5 {
            let (next, _) = self.apply(check, &key, tells(version, &round.to_string())).await?;
            self.apply(check, &other, tells(Version::NONE, "1")).await.ok();
            version = next;
            let changes = self.store.changes(Some(&cursor)).await.map_err(|error| check.error(error))?;
            let (keys, next) = match changes {
                Changes::Since { keys, cursor } => (Some(keys), cursor),
                Changes::Restart { cursor } => (None, cursor),
                Changes::Unsupported => return Err(check.failed("it told what changed, and now cannot")),
            };
            let times = keys.as_ref().map(|keys| keys.iter().filter(|changed| **changed == key).count());
            check.require(times.is_none_or(|times| times == 1), || format!("a change was told {times:?} times"))?;
            // The same question has the same answer, or more.
            let again = self.store.changes(Some(&cursor)).await.map_err(|error| check.error(error))?;
            let is_told = !matches!(&again, Changes::Since { keys, .. } if !keys.contains(&key));
            check.require(is_told, || "a change is told to the first only".into())?;
            cursor = next;
        }
        let senseless = Bytes::from_static(b"no cursor");
        let changes = self.store.changes(Some(&senseless)).await.map_err(|error| check.error(error))?;
        check.require(matches!(changes, Changes::Restart { .. }), || {
            format!("an unknown cursor is taken: {changes:?}")
        })?;
        Ok(true)
    }
}

/// The next notice about the key.
async fn hear(notices: &mut Notices, key: &str, within: Duration) -> Option<(Version, Bytes)> {
    timeout(within, async {
        loop {
            match poll_fn(|cx| notices.as_mut().poll_next(cx)).await? {
                Notice::Changed { key: changed, version, notice } if changed == key => return Some((version, notice)),
                Notice::Changed { .. } | Notice::Lagged | Notice::Impaired { .. } | Notice::Mended { .. } => {}
            }
        }
    })
    .await
    .ok()?
}
