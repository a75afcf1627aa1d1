//! Stores that know no more than "put if the revision is still that".

use std::fmt;
use std::future::ready;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::contract::{BatchId, Commit, Committed, Store, StoreFuture, StoreTime, Stored, Version};
use super::error::StoreError;
use super::protocol::DEDUP_WINDOW;
use crate::clock::wall_time;

/// The least that a store must be able to do. DynamoDB, etcd, Consul, NATS KV, a table in any database, a file with a
/// lock can.
///
/// Wrapped in [`CasStore`] it is a [`Store`]. It is good for some 50 instances that write the same key at the same time;
/// beyond that a store that queues what loses the race is much cheaper.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use std::time::Duration;
/// use bytes::Bytes;
/// use fusebox::store::{Cas, CasStore, StoreFuture};
///
/// #[derive(Debug, Default)]
/// struct Map(Mutex<HashMap<String, (u64, Bytes)>>);
///
/// impl Cas for Map {
///     fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<(u64, Bytes)>> {
///         Box::pin(async move { Ok(self.0.lock().unwrap().get(key).cloned()) })
///     }
///
///     fn put<'a>(&'a self, key: &'a str, revision: u64, value: Bytes, _: Duration) -> StoreFuture<'a, Option<u64>> {
///         Box::pin(async move {
///             let mut map = self.0.lock().unwrap();
///             let newest = map.get(key).map_or(0, |(revision, _)| *revision);
///             if newest != revision {
///                 return Ok(None);
///             }
///             map.insert(key.to_owned(), (newest + 1, value));
///             Ok(Some(newest + 1))
///         })
///     }
/// }
/// let store = CasStore::new(Map::default());
/// # let _ = store;
/// ```
pub trait Cas: fmt::Debug + Send + Sync + 'static {
    /// Returns the newest value and its revision, which is not zero. `None` when there is none.
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Option<(u64, Bytes)>>;

    /// Writes the value if the newest revision is still that one. Zero means that there is none. The value is to be
    /// kept for `ttl` at least. Returns the new revision; `None` when the newest was another.
    fn put<'a>(&'a self, key: &'a str, revision: u64, value: Bytes, ttl: Duration) -> StoreFuture<'a, Option<u64>>;

    /// Lists the keys that have a value, each once and in any order. By default it says [`StoreError::Refused`]: see
    /// [`Store::keys`].
    fn keys(&self) -> StoreFuture<'_, Vec<String>> {
        Box::pin(ready(Err(StoreError::cannot_list())))
    }

    /// Tells the time: the store's if it can be asked, else this machine's.
    fn now(&self) -> StoreTime {
        wall_time().into()
    }

    /// Returns by how much [`now`](Self::now) may be off: one second, unless you say otherwise. Zero where the store's own
    /// clock tells it; some milliseconds where machines are known to keep time well. See [`Store::clock_error`].
    fn clock_error(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// A [`Cas`] as a [`Store`]: see there for an example.
#[derive(Debug)]
pub struct CasStore<C> {
    cas: C,
}

impl<C: Cas> CasStore<C> {
    /// Wraps it.
    pub const fn new(cas: C) -> Self {
        Self { cas }
    }

    /// Returns what is wrapped.
    pub const fn get_ref(&self) -> &C {
        &self.cas
    }

    async fn read(&self, key: &str) -> Result<(u64, Envelope), StoreError> {
        match self.cas.get(key).await? {
            Some((revision, value)) => {
                let envelope = Envelope::parse(&value).ok_or_else(|| StoreError::foreign(key))?;
                Ok((revision, envelope))
            }
            None => Ok((0, Envelope::default())),
        }
    }
}

impl<C: Cas> Store for CasStore<C> {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move {
            let mut records = Vec::with_capacity(keys.len());
            for key in keys {
                let (_, envelope) = self.read(key).await?;
                records.push(envelope.stored(self.cas.now()));
            }
            Ok(records)
        })
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        Box::pin(async move {
            let (revision, mut envelope) = self.read(key).await?;
            let now = self.cas.now();
            if commit.batch.as_ref().is_some_and(|(id, _)| envelope.is_accepted(*id)) {
                return Ok(Committed::Duplicate(envelope.stored(now)));
            }
            if commit.round.is_some() {
                return Ok(Committed::Fenced(envelope.stored(now)));
            }
            if commit.expected != envelope.version {
                return Ok(Committed::Conflict(envelope.stored(now)));
            }
            envelope.version = envelope.version.next(now);
            envelope.record = commit.record;
            if let Some((id, _)) = commit.batch {
                envelope.accept(id, now);
            }
            match self.cas.put(key, revision, envelope.write(), commit.ttl).await? {
                Some(_) => Ok(Committed::Applied { version: envelope.version, now }),
                None => Ok(Committed::Conflict(self.read(key).await?.1.stored(self.cas.now()))),
            }
        })
    }

    fn clock_error(&self) -> Duration {
        self.cas.clock_error()
    }

    fn keys(&self) -> StoreFuture<'_, Vec<String>> {
        self.cas.keys()
    }
}

/// What a value holds: the record, and the marks of the batches that it took in.
#[derive(Debug, Default)]
struct Envelope {
    version: Version,
    record: Bytes,
    accepted: Vec<(BatchId, StoreTime)>,
}

const MAGIC: &[u8; 4] = b"FBC1";
/// Marks in a value, at most.
const WRITERS: usize = 1_024;
/// Bytes of a mark.
const MARK: usize = 24;

impl Envelope {
    fn stored(&self, now: StoreTime) -> Stored {
        Stored::new(self.version, self.record.clone(), now)
    }

    fn is_accepted(&self, id: BatchId) -> bool {
        self.accepted.iter().any(|(known, _)| known.writer == id.writer && known.seq >= id.seq)
    }

    fn accept(&mut self, id: BatchId, now: StoreTime) {
        self.accepted.retain(|(known, at)| known.writer != id.writer && at.after(DEDUP_WINDOW) > now);
        if self.accepted.len() >= WRITERS {
            self.accepted.remove(0);
        }
        self.accepted.push((id, now));
    }

    /// Magic, version, number of marks, marks (writer, seq, time), record.
    fn write(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(16 + self.accepted.len() * MARK + self.record.len());
        out.put_slice(MAGIC);
        out.put_u64_le(self.version.0);
        out.put_u32_le(u32::try_from(self.accepted.len()).unwrap_or(0));
        for (id, at) in &self.accepted {
            out.put_u64_le(id.writer);
            out.put_u64_le(id.seq);
            out.put_u64_le(at.0);
        }
        out.put_slice(&self.record);
        out.freeze()
    }

    fn parse(value: &Bytes) -> Option<Self> {
        let mut rest = &value[..];
        let u64 = |rest: &mut &[u8]| {
            let (head, tail) = rest.split_first_chunk::<8>()?;
            *rest = tail;
            Some(u64::from_le_bytes(*head))
        };
        rest = rest.strip_prefix(MAGIC)?;
        let version = Version(u64(&mut rest)?);
        let (count, tail) = rest.split_first_chunk::<4>()?;
        rest = tail;
        let count = u32::from_le_bytes(*count) as usize;
        if count > WRITERS || count * MARK > rest.len() {
            return None;
        }
        let mut accepted = Vec::with_capacity(count);
        for _ in 0..count {
            let id = BatchId { writer: u64(&mut rest)?, seq: u64(&mut rest)? };
            accepted.push((id, StoreTime(u64(&mut rest)?)));
        }
        Some(Self { version, record: value.slice_ref(rest), accepted })
    }
}
