//! The store itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use super::changes;
use super::connection::Reach;
use super::join_all::join_all;
use super::layout::{Layout, shard_of};
use super::script::{self, Look};
use super::servers::Servers;
use super::watch::watch;
use crate::store::contract::{Answers, Changes, Commit, Committed, Notices, Store, StoreFuture, Stored};
use crate::store::error::StoreError;
use crate::store::protocol::LARGEST;
use crate::store::watchers::SideSteps;

/// A store in Redis 5 or newer, or Valkey. It may be one server, one that Sentinels replace, or
/// [a cluster](super::RedisServer::cluster).
///
/// It has two connections of its own, one for commands (in a cluster, one to each node that it needs) and one for notices,
/// and dials them again by itself. Each runtime that it is used on has its own, so none stalls with another. While the
/// server is away, operations fail at once or within [`timeout`](super::RedisStoreBuilder::timeout); none waits for a
/// connection but the first, and those that come in the moment after a connection was lost, for 250 ms at most.
///
/// A breaker `payments` of the namespace `fb` has these keys, where `3` depends on its name; all of them expire:
///
/// | key | holds |
/// |---|---|
/// | `fb:{fb:3}:r:payments` | the record, and for people `s` state, `f` failures, `u` open until (microseconds), `e` generation |
/// | `fb:{fb:3}:o:payments` | batches that wait to be combined |
/// | `fb:{fb:3}:w0:payments`, `..:w1:..` | the last batch of each writer |
///
/// What changed of late is in the sorted sets `fb:{fb:0}:ch` to `fb:{fb:15}:ch`, and notices are published on the channels
/// `fb:{fb:0}:ev` to `fb:{fb:15}:ev`. A user of the server needs, for these keys and channels: `EVALSHA`,
/// `SCRIPT|LOAD`, `TIME`, `HMGET`, `HSET`, `HSTRLEN`, `EXISTS`, `DEL`, `PEXPIRE`, `PTTL`, `LLEN`, `LINDEX`, `LRANGE`,
/// `LTRIM`, `RPUSH`, `ZADD`, `ZRANGE`, `ZREVRANGE`, `ZRANGEBYSCORE`, `ZCARD`, `ZREMRANGEBYRANK`, `PUBLISH`,
/// `SUBSCRIBE`, `PING`, `SCAN`; in a cluster also `CLUSTER|SLOTS`.
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
    side_steps: Arc<SideSteps>,
}

impl RedisStore {
    pub(super) fn new(reach: Reach, namespace: String) -> Self {
        let layout = Layout::new(namespace);
        Self { servers: Servers::new(reach, &layout), layout, side_steps: Arc::default() }
    }

    pub(super) async fn dial(&self) -> Result<(), StoreError> {
        // Its type is hidden: the compiler would have to look through all of the driver's for each caller that waits for it,
        // and deep inside an application's own futures it gives up.
        let connected: StoreFuture<'_, ()> = Box::pin(self.servers.connect());
        connected.await
    }

    async fn load_all(&self, names: &[&str]) -> Vec<Result<Stored, StoreError>> {
        // Names that one command can ask for, and where they are in the list.
        let mut groups: BTreeMap<u16, Vec<(usize, &str)>> = BTreeMap::new();
        for (at, name) in names.iter().enumerate() {
            groups.entry(self.servers.group(shard_of(name))).or_default().push((at, name));
        }
        let groups: Vec<_> = groups.into_iter().map(|(shard, group)| (shard, group.into_iter().unzip())).collect();
        let each =
            groups.iter().map(|(shard, (_, names)): &(u16, (Vec<usize>, Vec<&str>))| self.load_group(*shard, names));
        let answers = join_all(each).await;
        let places = groups.iter().flat_map(|(_, (places, _))| places.iter().copied());
        let mut placed: Vec<_> = places.zip(answers.into_iter().flatten()).collect();
        placed.sort_unstable_by_key(|(at, _)| *at);
        placed.into_iter().map(|(_, answer)| answer).collect()
    }

    async fn load_group(&self, shard: u16, names: &[&str]) -> Vec<Result<Stored, StoreError>> {
        match self.ask_for(shard, names).await {
            Ok(answers) => answers,
            // A right may be missing for one of the keys, and then the server refuses all of them together.
            Err(StoreError::Refused(_)) if names.len() > 1 => {
                let each = names.iter().map(|name| async move { self.ask_for(shard, &[name]).await?.remove(0) });
                join_all(each).await
            }
            Err(error) => error.for_each(names),
        }
    }

    async fn ask_for(&self, shard: u16, names: &[&str]) -> Result<Vec<Result<Stored, StoreError>>, StoreError> {
        let keys: Vec<_> = names.iter().map(|name| self.layout.record(name)).collect();
        let loaded = self.servers.run(shard, |connection| script::load(connection, &keys)).await;
        let (now, looks) = match loaded {
            Err(StoreError::Refused(why)) if why.to_string().contains("evalsha") => {
                self.servers.run(shard, |connection| script::load_without_script(connection, &keys)).await?
            }
            loaded => loaded?,
        };
        let answer = |(name, look): (&&str, Look)| match look {
            Look::Record(version, record) => Ok(Stored::new(version, record, now)),
            Look::Foreign => Err(StoreError::foreign(*name)),
            Look::TooLarge(bytes) => Err(StoreError::too_large(bytes, LARGEST)),
            Look::Refused(why) => Err(StoreError::refused(why)),
        };
        Ok(names.iter().zip(looks).map(answer).collect())
    }

    async fn changes_now(&self, since: Option<&Bytes>) -> Result<Changes, StoreError> {
        let mut places = changes::places(since);
        let sets = self.layout.changes();
        let mut groups: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (at, (shard, _)) in sets.iter().enumerate() {
            groups.entry(self.servers.group(*shard)).or_default().push(at);
        }
        let looks = join_all(groups.iter().map(|(shard, group)| {
            let sets: Vec<_> = group.iter().map(|at| (sets[*at].1.as_str(), &places[*at])).collect();
            async move { self.servers.run(*shard, |connection| changes::look(connection, &sets)).await }
        }))
        .await;
        let (mut names, mut is_restart, mut failure) = (Vec::new(), false, None);
        let mut has_answer = false;
        for ((_, group), looks) in groups.iter().zip(looks) {
            match looks {
                Ok(looks) => {
                    has_answer = true;
                    for (at, look) in group.iter().zip(looks) {
                        is_restart |= look.is_restart;
                        names.extend(look.names);
                        places[*at] = look.place;
                    }
                }
                // A node that is away is looked at again from the same place.
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if !has_answer => Err(error),
            _ if is_restart => Ok(Changes::restart(changes::cursor(&places))),
            _ => Ok(Changes::since(names, changes::cursor(&places))),
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
        Box::pin(async move { self.load_all(keys).await.into_iter().collect() })
    }

    fn load_each<'a>(&'a self, keys: &'a [&'a str]) -> Answers<'a> {
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
            if script::has_written(&answer, &commit) && commit.notice.is_some() {
                self.side_steps.told(Some(script::trouble(&answer)).filter(|trouble| !trouble.is_empty()));
            }
            script::committed(key, answer)
        })
    }

    fn watch(&self) -> Notices {
        let notices = watch(self.servers.reach().clone(), self.layout.channels(), self.side_steps.clone());
        self.side_steps.watch_with(notices)
    }

    fn changes<'a>(&'a self, since: Option<&'a Bytes>) -> StoreFuture<'a, Changes> {
        Box::pin(self.changes_now(since))
    }

    fn describe(&self) -> String {
        format!("Redis at {}, namespace `{}`", self.servers.reach().finder, self.layout.namespace())
    }

    /// Looks through all keys of each server that has some of the records. It looks at as many at a time as hold up no
    /// other client.
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
