//! The store itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{RedisResult, Value, from_redis_value};

use super::connection::Reach;
use super::join_all::join_all;
use super::layout::{Layout, shard_of};
use super::script::{self, number, senseless};
use super::servers::Servers;
use super::watch::watch;
use crate::store::contract::{Commit, Committed, Notices, Store, StoreError, StoreFuture, StoreTime, Stored, Version};

/// The largest record, and the largest batch.
const LARGEST: usize = 64 * 1024;

/// A store in Redis 5 or newer, or Valkey: one server, one that Sentinels replace, or [a cluster](super::RedisServer::cluster).
///
/// It has two connections of its own, one for commands (in a cluster, one to each node that it needs) and one for notices,
/// and dials them again by itself. Each runtime that it is used on has its own, so none stalls with another. While the server
/// is away, operations fail at once or within [`timeout`](super::RedisStoreBuilder::timeout); none waits for a connection but
/// the first, and those that come in the moment after a connection was lost, for 250 ms at most.
///
/// A breaker `payments` of the namespace `fb` has these keys, where `3` depends on its name; all of them expire:
///
/// | key | holds |
/// |---|---|
/// | `fb:{fb:3}:r:payments` | the record, and for people `s` state, `f` failures, `u` open until (microseconds), `e` generation |
/// | `fb:{fb:3}:o:payments` | batches that wait to be combined |
/// | `fb:{fb:3}:w0:payments`, `..:w1:..` | the last batch of each writer |
///
/// Notices are published on the channels `fb:{fb:0}:ev` to `fb:{fb:15}:ev`. A user of the server needs, for these keys and
/// channels: `EVALSHA`, `SCRIPT|LOAD`, `TIME`, `HMGET`, `HSET`, `EXISTS`, `DEL`, `PEXPIRE`, `PTTL`, `LLEN`, `LINDEX`,
/// `LRANGE`, `LTRIM`, `RPUSH`, `PUBLISH`, `SUBSCRIBE`, `PING`; in a cluster also `CLUSTER|SLOTS`; and `SCAN`
/// to list keys.
///
/// ```no_run
/// use std::sync::Arc;
/// use fusebox::store::{RedisStore, Store, StoreError};
///
/// # async fn example() -> Result<(), StoreError> {
/// let store: Arc<dyn Store> = Arc::new(RedisStore::connect("redis://127.0.0.1").await?);
/// # let _ = store;
/// # Ok(()) }
/// ```
pub struct RedisStore {
    servers: Servers,
    layout: Layout,
}

impl RedisStore {
    pub(super) fn new(reach: Reach, namespace: String) -> Self {
        let layout = Layout::new(namespace);
        Self { servers: Servers::new(reach, &layout), layout }
    }

    pub(super) async fn dial(&self) -> Result<(), StoreError> {
        // Its type is hidden: the compiler would have to look through all of the driver's for each caller that waits for it,
        // and deep inside an application's own futures it gives up.
        let connected: StoreFuture<'_, ()> = Box::pin(self.servers.connect());
        connected.await
    }

    async fn load_all(&self, names: &[&str]) -> Result<Vec<Stored>, StoreError> {
        // Names that one command can ask for, and where they are in the list.
        let mut groups: BTreeMap<u16, Vec<(usize, &str)>> = BTreeMap::new();
        for (at, name) in names.iter().enumerate() {
            groups.entry(self.servers.group(shard_of(name))).or_default().push((at, name));
        }
        let (places, names): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .map(|(shard, group)| {
                let (places, names): (Vec<_>, Vec<_>) = group.into_iter().unzip();
                (places, (shard, names))
            })
            .unzip();
        let groups = join_all(names.iter().map(|(shard, names)| self.load_group(*shard, names))).await;
        let mut loaded = vec![Stored::default(); places.iter().map(Vec::len).sum()];
        for (places, group) in places.into_iter().zip(groups) {
            places.into_iter().zip(group?).for_each(|(at, stored)| loaded[at] = stored);
        }
        Ok(loaded)
    }

    async fn load_group(&self, shard: u16, names: &[&str]) -> Result<Vec<Stored>, StoreError> {
        let keys: Vec<_> = names.iter().map(|name| self.layout.record(name)).collect();
        // Twice where one looks foreign: another client may have written it between the two looks.
        let mut is_second = false;
        loop {
            let (now, looks) = self.servers.run(shard, |connection| look(connection, &keys)).await?;
            let mut loaded = Vec::with_capacity(names.len());
            let mut foreign = None;
            for (name, look) in names.iter().zip(looks) {
                match look {
                    Look::Record(version, record) => loaded.push(Stored::new(version, record, now)),
                    Look::Foreign => foreign = Some(*name),
                }
            }
            match foreign {
                None => return Ok(loaded),
                Some(name) if is_second => return Err(StoreError::foreign(name)),
                Some(_) => is_second = true,
            }
        }
    }

    async fn keys_now(&self) -> Result<Vec<String>, StoreError> {
        let pattern = self.layout.records();
        // A scan may come upon the same key twice, and slots may move while it runs.
        let mut names = BTreeSet::new();
        for server in self.servers.each().await? {
            let mut cursor = 0;
            loop {
                let (next, keys) =
                    self.servers.run_on(&server, |connection| scan(connection, &pattern, cursor)).await?;
                names.extend(keys.iter().filter_map(|key| self.layout.name(key)).map(ToOwned::to_owned));
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(names.into_iter().collect())
    }
}

impl Store for RedisStore {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(self.load_all(keys))
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        Box::pin(async move {
            let delta = commit.batch.as_ref().map_or(0, |(_, delta)| delta.len());
            let bytes = commit.record.len().max(delta);
            if bytes > LARGEST {
                return Err(StoreError::too_large(bytes, LARGEST));
            }
            let keys = self.layout.keys(key);
            let run = |connection| script::commit(connection, &keys, key, &commit);
            let answer = self.servers.run(shard_of(key), run).await?;
            script::committed(key, answer)
        })
    }

    fn watch(&self) -> Notices {
        watch(self.servers.reach().clone(), self.layout.channels())
    }

    /// Looks through all keys of each server that has some of the records, as many at a time as hold up no other client.
    fn keys(&self) -> StoreFuture<'_, Vec<String>> {
        Box::pin(self.keys_now())
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("address", &format_args!("{}", self.servers.reach().finder))
            .field("namespace", &self.layout.namespace())
            .finish_non_exhaustive()
    }
}

/// One step through the keys of a server: where to go on, zero at the end, and what was found.
async fn scan(mut connection: MultiplexedConnection, pattern: &str, cursor: u64) -> RedisResult<(u64, Vec<String>)> {
    let mut step = redis::cmd("SCAN");
    step.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1_000);
    step.query_async(&mut connection).await
}

/// What is at a key.
enum Look {
    Record(Version, Bytes),
    Foreign,
}

async fn look(mut connection: MultiplexedConnection, keys: &[String]) -> RedisResult<(StoreTime, Vec<Look>)> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("TIME");
    for key in keys {
        pipeline.cmd("HMGET").arg(key).arg("v").arg("r").cmd("EXISTS").arg(key);
    }
    // Not `query_async`, which makes one error of all: a foreign key is no reason to know nothing of the others' fate.
    let mut answers = connection.req_packed_commands(&pipeline, 0, pipeline.len()).await?.into_iter();
    let mut next = || answers.next().ok_or_else(senseless);
    let (seconds, micros): (u64, u64) = answer(next()?)?;
    let now = StoreTime(seconds.saturating_mul(1_000_000).saturating_add(micros));
    let mut looks = Vec::with_capacity(keys.len());
    for _ in keys {
        let (fields, exists) = (next()?, next()?);
        if matches!(&fields, Value::ServerError(error) if error.code() == "WRONGTYPE") {
            looks.push(Look::Foreign);
            continue;
        }
        let (version, record): (Option<Bytes>, Option<Bytes>) = answer(fields)?;
        let exists: bool = answer(exists)?;
        looks.push(match version {
            None if !exists => Look::Record(Version::NONE, Bytes::new()),
            None => Look::Foreign,
            Some(version) => match number(&version) {
                Some(version) => Look::Record(Version(version), record.unwrap_or_default()),
                None => Look::Foreign,
            },
        });
    }
    Ok((now, looks))
}

fn answer<T: redis::FromRedisValue>(value: Value) -> RedisResult<T> {
    Ok(from_redis_value(value.extract_error()?)?)
}
