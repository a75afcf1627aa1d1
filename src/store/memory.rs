//! A store in this process's memory.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::ready;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::contract::{
    BatchId, Changes, Commit, Committed, Notice, Notices, Round, Store, StoreFuture, StoreTime, Stored, Version,
};
use super::protocol::{DEDUP_WINDOW, MAX_ROUND_BATCHES, OUTBOX_CAPACITY, ROUND_LEASE};
use super::watchers::Watchers;
use crate::clock::{Clock, fresh_seed, wall_time};

/// A store in this process's memory. It is for tests, simulations, and breakers of one process that are to share state
/// by name.
///
/// It does all that the others do, combining included, so what works over it works over them. Clones are the same store.
///
/// ```
/// use std::sync::Arc;
/// use fusebox::store::{MemoryStore, Store};
///
/// let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
/// # let _ = store;
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Option<Arc<dyn Clock>>,
    /// Locked after the entries.
    log: Mutex<Log>,
    entries: Mutex<HashMap<String, Entry>>,
    watchers: Watchers,
}

/// What changed, by the number of its newest change.
struct Log {
    /// Another one after everything was forgotten.
    identity: u64,
    newest: u64,
    /// The number of the newest change that is no longer known.
    forgotten: u64,
    keys: BTreeMap<u64, String>,
    numbers: HashMap<String, u64>,
}

/// Keys of which it is known that they changed.
const MAX_CHANGES: usize = 65_536;

impl Log {
    fn new() -> Self {
        let (keys, numbers) = (BTreeMap::new(), HashMap::new());
        Self { identity: fresh_seed(), newest: 0, forgotten: 0, keys, numbers }
    }

    fn note(&mut self, key: &str) {
        self.newest += 1;
        if let Some(before) = self.numbers.insert(key.to_owned(), self.newest) {
            self.keys.remove(&before);
        }
        self.keys.insert(self.newest, key.to_owned());
        if self.keys.len() > MAX_CHANGES
            && let Some((number, key)) = self.keys.pop_first()
        {
            self.forgotten = number;
            self.numbers.remove(&key);
        }
    }

    fn since(&self, cursor: Option<&Bytes>) -> Changes {
        let next = Bytes::from(format!("{:x}:{}", self.identity, self.newest));
        let known = cursor.and_then(|cursor| {
            let (identity, number) = std::str::from_utf8(cursor).ok()?.split_once(':')?;
            Some((u64::from_str_radix(identity, 16).ok()?, number.parse::<u64>().ok()?))
        });
        match known {
            Some((identity, number)) if identity == self.identity && number >= self.forgotten => {
                let keys = self.keys.range((Bound::Excluded(number), Bound::Unbounded)).map(|(_, key)| key.clone());
                Changes::since(keys.collect(), next)
            }
            _ => Changes::restart(next),
        }
    }
}

#[derive(Default)]
struct Entry {
    version: Version,
    record: Bytes,
    expires: StoreTime,
    /// Batches that wait, by number, in the order in which they were accepted.
    outbox: Vec<(u64, Bytes)>,
    next_batch: u64,
    /// Whose round it is, until when.
    lease: Option<(u64, StoreTime)>,
    /// The newest batch of each writer, and when it came.
    accepted: HashMap<u64, (u64, StoreTime)>,
}

impl MemoryStore {
    /// An empty store with the time of this machine.
    #[must_use]
    pub fn new() -> Self {
        Self::with(None)
    }

    /// An empty store with a time of its own.
    ///
    /// ```
    /// use fusebox::{ManualClock, store::MemoryStore};
    ///
    /// let clock = ManualClock::new();
    /// let store = MemoryStore::with_clock(clock.clone());
    /// # let _ = store;
    /// ```
    #[must_use]
    pub fn with_clock(clock: impl Clock) -> Self {
        Self::with(Some(Arc::new(clock)))
    }

    fn with(clock: Option<Arc<dyn Clock>>) -> Self {
        let log = Mutex::new(Log::new());
        let shared = Shared { clock, log, entries: Mutex::default(), watchers: Watchers::default() };
        Self { shared: Arc::new(shared) }
    }

    fn now(&self) -> StoreTime {
        match &self.shared.clock {
            // One second in, so that the origin of a clock is no "never".
            Some(clock) => StoreTime::from(clock.now()).after(Duration::from_secs(1)),
            None => wall_time().into(),
        }
    }

    /// Forgets everything, as a server does that is restarted empty.
    ///
    /// ```
    /// use fusebox::store::MemoryStore;
    ///
    /// MemoryStore::new().clear();
    /// ```
    pub fn clear(&self) {
        let mut entries = self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
        *self.shared.log.lock().unwrap_or_else(PoisonError::into_inner) = Log::new();
        entries.clear();
    }

    fn commit_now(&self, key: &str, commit: Commit) -> Committed {
        let now = self.now();
        let notice = commit.notice.clone();
        let mut entries = self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(key.to_owned()).or_default();
        if entry.expires <= now {
            *entry = Entry::default();
        }
        let before = entry.version;
        let committed = entry.commit(commit, now);
        if let Some(notice) = notice.filter(|_| entry.version > before) {
            self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).note(key);
            // Under the lock, so that notices come in the order of the versions.
            self.shared.watchers.tell(&Notice::changed(key.to_owned(), entry.version, notice));
        }
        committed
    }
}

impl Entry {
    fn stored(&self, now: StoreTime) -> Stored {
        Stored::new(self.version, self.record.clone(), now)
    }

    fn commit(&mut self, commit: Commit, now: StoreTime) -> Committed {
        let Commit { expected, record, ttl, batch, may_queue, round, release, .. } = commit;
        if batch.as_ref().is_some_and(|(id, _)| self.is_accepted(*id)) {
            return Committed::Duplicate(self.stored(now));
        }
        // A lease that ends later than any can was given before the clock was set back.
        let is_free = self.lease.is_none_or(|(_, until)| until <= now || until > now.after(ROUND_LEASE));
        let may_write = match &round {
            Some(round) => self.lease.is_some_and(|(token, _)| round.token == token.to_le_bytes()[..]),
            // What waits comes first: the writer that finds it combines.
            None => is_free && self.outbox.is_empty(),
        };
        if expected == self.version && may_write {
            self.version = self.version.next(now);
            self.record = record;
            self.expires = now.after(ttl);
            if let Some((id, _)) = batch {
                self.accept(id, now);
            }
            for (id, _) in round.iter().flat_map(|round| &round.batches) {
                self.outbox.retain(|(number, _)| id != &number.to_le_bytes()[..]);
            }
            self.lease = None;
            if self.outbox.is_empty() || release {
                return Committed::Applied { version: self.version, now };
            }
            return self.combine(now);
        }
        if round.is_some() {
            return Committed::Fenced(self.stored(now));
        }
        let Some((id, delta)) = batch else {
            let is_abandoned = is_free && !self.outbox.is_empty();
            return if is_abandoned { self.combine(now) } else { Committed::Conflict(self.stored(now)) };
        };
        // Merely late, with no writer combining: cheaper to try again than to queue.
        let is_late = !may_queue && is_free && self.outbox.is_empty();
        // Where there is a round to be had, its writer makes room.
        let is_full = !is_free && self.outbox.len() >= OUTBOX_CAPACITY;
        if is_late || is_full {
            return Committed::Conflict(self.stored(now));
        }
        self.accept(id, now);
        // What waits is kept as long as a record, also where there is none yet.
        self.expires = self.expires.max(now.after(ttl));
        self.outbox.push((self.next_batch, delta));
        self.next_batch += 1;
        if is_free { self.combine(now) } else { Committed::Queued(self.stored(now)) }
    }

    /// Gives the caller the next round.
    fn combine(&mut self, now: StoreTime) -> Committed {
        self.next_batch += 1;
        let token = self.next_batch;
        self.lease = Some((token, now.after(ROUND_LEASE)));
        let bytes = |number: u64| Bytes::copy_from_slice(&number.to_le_bytes());
        let batches =
            self.outbox.iter().take(MAX_ROUND_BATCHES).map(|(number, delta)| (bytes(*number), delta.clone())).collect();
        Committed::Combine(self.stored(now), Round::new(bytes(token), batches))
    }

    fn is_accepted(&self, id: BatchId) -> bool {
        self.accepted.get(&id.writer).is_some_and(|(seq, _)| *seq >= id.seq)
    }

    fn accept(&mut self, id: BatchId, now: StoreTime) {
        self.accepted.retain(|_, (_, at)| at.after(DEDUP_WINDOW) > now);
        self.accepted.insert(id.writer, (id.seq, now));
    }
}

impl Store for MemoryStore {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        let now = self.now();
        let entries = self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = |key: &&str| match entries.get(*key) {
            Some(entry) if entry.expires > now => entry.stored(now),
            _ => Stored::new(Version::NONE, Bytes::new(), now),
        };
        Box::pin(ready(Ok(keys.iter().map(stored).collect())))
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        // When it is polled, not before: a commit whose future is dropped at once never happened.
        Box::pin(async move { Ok(self.commit_now(key, commit)) })
    }

    fn watch(&self) -> Notices {
        self.shared.watchers.watch()
    }

    fn changes<'a>(&'a self, since: Option<&'a Bytes>) -> StoreFuture<'a, Changes> {
        let log = self.shared.log.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(ready(Ok(log.since(since))))
    }

    fn keys(&self) -> StoreFuture<'_, Vec<String>> {
        let now = self.now();
        let entries = self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = |entry: &Entry| entry.version != Version::NONE && entry.expires > now;
        let keys = entries.iter().filter(|(_, entry)| is_there(entry)).map(|(key, _)| key.clone());
        Box::pin(ready(Ok(keys.collect())))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("MemoryStore").field("keys", &keys).finish_non_exhaustive()
    }
}
