//! What a store is.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;

use super::error::StoreError;
use crate::circuit::State;
use crate::one_line::OneLine;
use crate::time::Timestamp;

/// What a store's methods return.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What [`Store::load_each`] returns: an answer for each key, in order.
pub type Answers<'a> = Pin<Box<dyn Future<Output = Vec<Result<Stored, StoreError>>> + Send + 'a>>;

/// What [`Store::watch`] returns.
pub type Notices = Pin<Box<dyn Stream<Item = Notice> + Send>>;

/// Where the instances of a fleet keep what they share. It is one record for each breaker, which the store never looks
/// into.
///
/// A store of your own needs two methods, and most need not even those: where all you have is "put if the revision is still
/// that", implement [`Cas`](super::Cas) and wrap it in [`CasStore`](super::CasStore). Then run
/// [`store::conformance`](super::conformance) against it.
///
/// # The contract
///
/// 1. A commit is written only when the newest version is [`expected`](Commit::expected), and without a round only when
///    no batch waits.
/// 2. A batch whose number is not above the last one accepted from its writer is never accepted again, for 60 s at least.
/// 3. Acceptance, record, notice and the mark that the batch was accepted are one atomic step.
/// 4. Versions grow, also after a loss of data.
/// 5. A round is in the hands of one writer at a time, and comes back when its lease runs out.
/// 6. What waits is taken in before anything else is written. Where batches wait and no writer has a round, a commit
///    without one is not written, whatever it expects: its batch, if it has one, is accepted and waits behind the
///    others, and the answer is [`Combine`](Committed::Combine). So [`Applied`](Committed::Applied) for a commit
///    without a round means that nothing waited at that moment, and `Combine` for one that nothing of it but its batch
///    was taken.
/// 7. A round has the batches that wait, oldest first, those of one writer in the order in which they were accepted: all of
///    them, or as many as the store hands out at once, which are 1,000 in the stores of this crate.
/// 8. A store bounds how many batches may wait (4,096 in those of this crate), and then answers
///    [`Conflict`](Committed::Conflict). A writer that gets a round adds its own batch all the same: it is about to
///    make room.
/// 9. Where a store tells [what changed](Self::changes), every commit with a notice is among the changes that are read after
///    it, or the answer is [`Restart`](Changes::Restart).
///
/// A store that keeps no batches for later never answers with a round, and has nothing to do for rules 5 to 8.
///
/// No call ever waits for a store, so its latency is no concern of callers. A method that takes longer than a second is
/// given up by dropping its future; whether the operation took place is then unknown, and the batch's number finds out.
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use fusebox::store::{Commit, Committed, MemoryStore, Store, Summary, Version};
///
/// # tokio_test::block_on(async {
/// let store = MemoryStore::new();
/// let first = Commit::new(Version::NONE, Bytes::from("one"), Summary::closed(1), Duration::from_secs(60));
/// let Committed::Applied { version, .. } = store.commit("payments", first.clone()).await? else {
///     panic!("there is no other writer");
/// };
/// assert_eq!(store.load(&["payments"]).await?[0].version, version);
/// assert!(matches!(store.commit("payments", first).await?, Committed::Conflict(newest) if newest.record == "one"));
/// # Ok::<(), fusebox::store::StoreError>(()) }).unwrap();
/// ```
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Returns the newest record of each key, in order. A key without one has [`Version::NONE`] and an empty record.
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>>;

    /// Does the same, with an answer for each key. What is wrong with one is no reason to know nothing of the others.
    /// By default it [loads](Self::load) all of them, and where that fails each by itself.
    ///
    /// ```
    /// use fusebox::store::{MemoryStore, Store};
    ///
    /// # tokio_test::block_on(async {
    /// let answers = MemoryStore::new().load_each(&["payments", "invoices"]).await;
    /// assert!(answers.len() == 2 && answers.iter().all(Result::is_ok));
    /// # });
    /// ```
    fn load_each<'a>(&'a self, keys: &'a [&'a str]) -> Answers<'a> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(keys.len());
            match self.load(keys).await {
                Ok(records) if records.len() == keys.len() => answers.extend(records.into_iter().map(Ok)),
                Ok(records) => {
                    let (asked, came) = (keys.len(), records.len());
                    let wrong =
                        || StoreError::refused(format!("the store was asked for {asked} records and gave {came}"));
                    answers.extend(keys.iter().map(|_| Err(wrong())));
                }
                Err(error) if keys.len() == 1 => answers.push(Err(error.into_own())),
                Err(error) => {
                    error.into_own();
                    for key in keys {
                        let answer = self.load(std::slice::from_ref(key)).await.map_err(StoreError::into_own);
                        answers.push(answer.and_then(|records| {
                            let nothing = || StoreError::refused("the store was asked for a record and gave none");
                            records.into_iter().next().ok_or_else(nothing)
                        }));
                    }
                }
            }
            answers
        })
    }

    /// Writes a record. The only write there is.
    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed>;

    /// Tells of changes as they happen, ahead of the next poll. It tells of each commit with a [notice](Commit::notice)
    /// to all watchers, the writer's too. An instance whose own notices do not come back tells
    /// [`StoreImpaired`](crate::EventKind::StoreImpaired). By default it never says anything, and no instance expects
    /// that: the stream's `size_hint` says so, as that of a stream which is pending for ever does.
    fn watch(&self) -> Notices {
        never_notices()
    }

    /// Tells which records changed since it was last asked. Those with a [notice](Commit::notice), and perhaps others.
    /// With it an instance need not load all records that it uses to find those few. `since` is the cursor of the last
    /// answer. By default a store cannot tell, and each record is loaded each second.
    ///
    /// ```
    /// use fusebox::store::{Changes, MemoryStore, Store};
    ///
    /// # tokio_test::block_on(async {
    /// let store = MemoryStore::new();
    /// let Changes::Restart { cursor, .. } = store.changes(None).await? else { panic!("nothing is known yet") };
    /// let Changes::Since { keys, .. } = store.changes(Some(&cursor)).await? else { panic!("nothing was lost") };
    /// assert!(keys.is_empty());
    /// # Ok::<(), fusebox::store::StoreError>(()) }).unwrap();
    /// ```
    fn changes<'a>(&'a self, since: Option<&'a Bytes>) -> StoreFuture<'a, Changes> {
        let _ = since;
        Box::pin(ready(Ok(Changes::Unsupported)))
    }

    /// Returns by how much its answers may be off as to the time. However fast they come, it is zero where one clock
    /// tells it, which is the default; more where each client, or each node, goes by its own. Calls of several
    /// instances that ended within twice this, or within 34 ms, have no order.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::store::{MemoryStore, Store};
    ///
    /// assert_eq!(MemoryStore::new().clock_error(), Duration::ZERO);
    /// ```
    fn clock_error(&self) -> Duration {
        Duration::ZERO
    }

    /// Says which store this is, for people: what it is and where, and never a secret. By default the name of its type.
    ///
    /// ```
    /// use fusebox::store::{MemoryStore, Store};
    ///
    /// assert_eq!(MemoryStore::new().describe(), "MemoryStore");
    /// ```
    fn describe(&self) -> String {
        let name = std::any::type_name::<Self>();
        let name = name.split('<').next().unwrap_or(name);
        name.rsplit("::").next().unwrap_or(name).to_owned()
    }

    /// Lists the keys that have a record, each once and in any order. It is for people who look after a fleet. It may
    /// be slow. By default a store cannot, and says [`StoreError::Refused`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use bytes::Bytes;
    /// use fusebox::store::{Commit, MemoryStore, Store, Summary, Version};
    ///
    /// # tokio_test::block_on(async {
    /// let store = MemoryStore::new();
    /// let first = Commit::new(Version::NONE, Bytes::from("one"), Summary::closed(1), Duration::from_secs(60));
    /// store.commit("payments", first).await?;
    /// assert_eq!(store.keys().await?, ["payments"]);
    /// # Ok::<(), fusebox::store::StoreError>(()) }).unwrap();
    /// ```
    fn keys(&self) -> StoreFuture<'_, Vec<String>> {
        Box::pin(ready(Err(StoreError::cannot_list())))
    }
}

/// Notices that never come: the stream stays pending and does not end.
pub(crate) fn never_notices() -> Notices {
    struct Never;

    impl Stream for Never {
        type Item = Notice;

        fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Notice>> {
            Poll::Pending
        }

        /// By this an engine knows that it need not wait for any.
        fn size_hint(&self) -> (usize, Option<usize>) {
            (0, Some(0))
        }
    }

    Box::pin(Never)
}

/// The version of a record. It is microseconds of the store's clock at the write, or one more than the version before
/// where that is more. Never used twice, also when data was lost.
///
/// ```
/// use fusebox::store::{StoreTime, Version};
///
/// let version = Version::NONE.next(StoreTime(1_000));
/// assert_eq!(version, Version(1_000));
/// assert_eq!(version.next(StoreTime(900)), Version(1_001), "the clock went back, the version does not");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct Version(pub u64);

impl Version {
    /// There is no record.
    pub const NONE: Self = Self(0);

    /// The version of a write at `now`, after this one.
    #[must_use]
    pub fn next(self, now: StoreTime) -> Self {
        Self(now.0.max(self.0.saturating_add(1)))
    }
}

/// Microseconds since 1970, by the store's clock.
///
/// ```
/// use fusebox::store::{MemoryStore, Store};
///
/// # tokio_test::block_on(async {
/// let store = MemoryStore::new();
/// let before = store.load(&["payments"]).await?[0].now;
/// assert!(store.load(&["payments"]).await?[0].now >= before);
/// # Ok::<(), fusebox::store::StoreError>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else")]
pub struct StoreTime(pub u64);

impl StoreTime {
    /// The same time in the unit of the rules. Times beyond the rules' calendar become its end.
    pub(crate) const fn timestamp(self) -> Timestamp {
        Timestamp::from_nanos(self.0.saturating_mul(1_000))
    }

    pub(super) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Nanoseconds become whole microseconds; the rest is dropped.
impl From<Timestamp> for StoreTime {
    fn from(time: Timestamp) -> Self {
        Self(time.as_nanos() / 1_000)
    }
}

/// A batch of outcomes: which writer's, and which of its batches for the key.
///
/// ```
/// use fusebox::store::BatchId;
///
/// let first = BatchId { writer: 0x5eed, seq: 1 };
/// let next = BatchId { seq: first.seq + 1, ..first };
/// assert_ne!(first, next);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_structs, reason = "two numbers and nothing else")]
pub struct BatchId {
    /// Random for each start of a process.
    pub writer: u64,
    /// Grows by one with each batch of the writer for the key.
    pub seq: u64,
}

/// A record as a store has it.
///
/// ```
/// use fusebox::store::{Stored, Version};
///
/// let nothing = Stored::default();
/// assert!(nothing.version == Version::NONE && nothing.record.is_empty() && nothing.adopted.is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// Its version; [`Version::NONE`] when there is no record.
    pub version: Version,
    /// Its bytes; empty when there is no record.
    pub record: Bytes,
    /// The time on the store's clock.
    pub now: StoreTime,
    /// What others left of a breaker who keep no records: that it is open or half-open. Only where there is no record, and
    /// in most stores never. A breaker that finds this begins with it: it is open until
    /// [`open_until`](Summary::open_until), and where that is past or missing its cooldown is over. The first commit, over
    /// [`Version::NONE`], takes its place, so load a key before you commit to it for the first time.
    pub adopted: Option<Summary>,
}

impl Stored {
    /// Puts the three together.
    #[must_use]
    pub const fn new(version: Version, record: Bytes, now: StoreTime) -> Self {
        Self { version, record, now, adopted: None }
    }

    /// The same with what others left: see [`adopted`](Self::adopted).
    ///
    /// ```
    /// use fusebox::State;
    /// use fusebox::store::{StoreTime, Stored, Summary};
    ///
    /// let mut left = Summary::closed(0);
    /// left.state = State::Open;
    /// left.open_until = Some(StoreTime(1_900_000_000_000_000));
    /// assert_eq!(Stored::default().with_adopted(left).adopted, Some(left));
    /// ```
    #[must_use]
    pub const fn with_adopted(mut self, left: Summary) -> Self {
        self.adopted = Some(left);
        self
    }
}

/// What people who look into a store want to see of a record. A store may show it, or drop it.
///
/// ```
/// use fusebox::{State, store::Summary};
///
/// let summary = Summary::closed(7);
/// assert_eq!((summary.state, summary.failures, summary.generation), (State::Closed, 0, 7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The state.
    pub state: State,
    /// The failures in the window.
    pub failures: u32,
    /// The end of the cooldown, while open.
    pub open_until: Option<StoreTime>,
    /// The generation.
    pub generation: u64,
}

impl Summary {
    /// A closed breaker without failures.
    #[must_use]
    pub const fn closed(generation: u64) -> Self {
        Self { state: State::Closed, failures: 0, open_until: None, generation }
    }
}

/// A write.
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use fusebox::store::{BatchId, Commit, Summary, Version};
///
/// let mut commit = Commit::new(Version::NONE, Bytes::from("1"), Summary::closed(1), Duration::from_secs(60));
/// commit.batch = Some((BatchId { writer: 0x5eed, seq: 1 }, Bytes::from("+1")));
/// commit.may_queue = true;
/// assert!(commit.notice.is_none() && commit.round.is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// The version that the record was made from. It is written only if that is still the newest.
    pub expected: Version,
    /// The new record.
    pub record: Bytes,
    /// The same for people.
    pub summary: Summary,
    /// How long to keep the record when no write follows.
    pub ttl: Duration,
    /// What is handed to every watcher in the same atomic step. It is there where all are to hear at once of a
    /// transition, of a suspicion or its end, or of a lease that is wanted. `None` for most commits.
    pub notice: Option<Bytes>,
    /// The batch that the record takes in: its number, and what it adds. Without one, the write is a plain
    /// compare-and-swap.
    pub batch: Option<(BatchId, Bytes)>,
    /// Whether the store may keep the batch where the write loses. It keeps it for the writer that combines. Where
    /// others wait already, it keeps the batch in any case.
    pub may_queue: bool,
    /// The round of combining that the record takes in. With it the write does not wait for batches that are left: the
    /// answer is the next round, or [`Applied`](Committed::Applied) when none is left or it [ends](Self::release) the round.
    pub round: Option<Round>,
    /// Ends the round even if batches are left.
    pub release: bool,
}

impl Commit {
    /// A plain compare-and-swap.
    #[must_use]
    pub const fn new(expected: Version, record: Bytes, summary: Summary, ttl: Duration) -> Self {
        Self {
            expected,
            record,
            summary,
            ttl,
            notice: None,
            batch: None,
            may_queue: false,
            round: None,
            release: false,
        }
    }
}

/// Batches that lost the race for the record and wait to be taken in. They are in the hands of one writer.
///
/// ```
/// use bytes::Bytes;
/// use fusebox::store::Round;
///
/// let round = Round::new(Bytes::from("token"), vec![(Bytes::from("17"), Bytes::from("+1"))]);
/// assert_eq!(round.batches.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Round {
    /// Whose turn it is, in words of the store.
    pub token: Bytes,
    /// The batches, oldest first: what the store calls them, and what they add.
    pub batches: Vec<(Bytes, Bytes)>,
}

impl Round {
    /// Puts the two together.
    #[must_use]
    pub const fn new(token: Bytes, batches: Vec<(Bytes, Bytes)>) -> Self {
        Self { token, batches }
    }
}

/// What became of a write.
///
/// ```
/// use fusebox::store::{Committed, Stored};
///
/// /// What a writer knows afterwards.
/// fn newest(committed: &Committed) -> Option<&Stored> {
///     match committed {
///         Committed::Conflict(newest) | Committed::Duplicate(newest) | Committed::Queued(newest) => Some(newest),
///         Committed::Combine(newest, _) | Committed::Fenced(newest) => Some(newest),
///         _ => None, // applied: its own
///     }
/// }
/// assert!(newest(&Committed::Conflict(Stored::default())).is_some());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Committed {
    /// It is the newest record now. Without a round: and nothing waited.
    Applied {
        /// Its version.
        version: Version,
        /// The time on the store's clock.
        now: StoreTime,
    },
    /// Another writer was faster, or too many batches wait; nothing was kept.
    Conflict(Stored),
    /// The batch was accepted by an earlier try.
    Duplicate(Stored),
    /// The batch was accepted; another writer combines.
    Queued(Stored),
    /// It is the caller's turn to take in all of the round and commit that. To a commit with a round: it was written, and
    /// this is the next one. To a commit without: its batch, if it had one, was accepted and waits, the last of those that
    /// do, in this round or a later one; nothing else of it was taken.
    Combine(Stored, Round),
    /// The round is another writer's by now; nothing was written.
    Fenced(Stored),
}

impl Committed {
    /// The time on the store's clock.
    pub(crate) const fn now(&self) -> StoreTime {
        match self {
            Self::Applied { now, .. } => *now,
            Self::Conflict(stored)
            | Self::Duplicate(stored)
            | Self::Queued(stored)
            | Self::Combine(stored, _)
            | Self::Fenced(stored) => stored.now,
        }
    }
}

/// What a watcher hears.
///
/// ```
/// use bytes::Bytes;
/// use fusebox::store::{Notice, Version};
///
/// match Notice::changed("payments".into(), Version(1_000), Bytes::from("open")) {
///     Notice::Changed { key, version, .. } => assert_eq!((key.as_str(), version), ("payments", Version(1_000))),
///     _ => unreachable!("load everything anew"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A record changed.
    #[non_exhaustive]
    Changed {
        /// Its key.
        key: String,
        /// Its new version.
        version: Version,
        /// The notice of the commit.
        notice: Bytes,
    },
    /// Something may have been missed: load whatever you use.
    Lagged,
    /// The store works, and something beside does not, such as publishing. What happens is found later, by polls. To be
    /// said once for each such trouble.
    #[non_exhaustive]
    Impaired {
        /// What is wrong, never with a secret, fit to be shown. Control characters and what cannot be seen are escaped.
        why: String,
    },
    /// What was wrong is so no more.
    #[non_exhaustive]
    Mended {
        /// What was wrong, as it was told.
        why: String,
    },
}

impl Notice {
    /// A record changed.
    #[must_use]
    pub const fn changed(key: String, version: Version, notice: Bytes) -> Self {
        Self::Changed { key, version, notice }
    }

    /// The store works, and something beside does not.
    pub fn impaired(why: impl Into<String>) -> Self {
        Self::Impaired { why: OneLine(&why.into()).to_string() }
    }

    /// What was told so is over.
    pub fn mended(why: impl Into<String>) -> Self {
        Self::Mended { why: why.into() }
    }
}

/// What changed in a store.
///
/// ```
/// use fusebox::store::Changes;
///
/// /// Whether all that is used must be loaded.
/// fn must_load_all(changes: &Changes) -> bool {
///     !matches!(changes, Changes::Since { .. })
/// }
/// assert!(must_load_all(&Changes::Unsupported));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changes {
    /// The store cannot tell.
    Unsupported,
    /// It does not know the cursor, or no longer all that changed since. Load whatever you use, and go on from here.
    #[non_exhaustive]
    Restart {
        /// In words of the store.
        cursor: Bytes,
    },
    /// The records of these keys changed, each named once and in any order.
    #[non_exhaustive]
    Since {
        /// Keys as they were given to [`Store::commit`].
        keys: Vec<String>,
        /// In words of the store.
        cursor: Bytes,
    },
}

impl Changes {
    /// Load whatever you use, and go on from here.
    #[must_use]
    pub const fn restart(cursor: Bytes) -> Self {
        Self::Restart { cursor }
    }

    /// These changed.
    #[must_use]
    pub const fn since(keys: Vec<String>, cursor: Bytes) -> Self {
        Self::Since { keys, cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_times_are_timestamps_in_microseconds() {
        assert_eq!(StoreTime(7).timestamp(), Timestamp::from_nanos(7_000));
        assert_eq!(StoreTime::from(Timestamp::from_nanos(7_999)), StoreTime(7));
        assert_eq!(StoreTime(u64::MAX).timestamp(), Timestamp::MAX);
        assert_eq!(StoreTime(7).after(Duration::from_millis(1)), StoreTime(1_007));
        assert_eq!(StoreTime(7).after(Duration::MAX), StoreTime(u64::MAX));
    }
}
