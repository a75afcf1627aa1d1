//! The store itself.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::connections::Connections;
use super::dialler::Dialler;
use super::failure::{store_error, unavailable};
use super::limits::LATEST;
use super::prune::{Pruned, Pruner};
use super::schema::Table;
use super::statements;
use super::{listener, listener::Channel};
use crate::circuit::State;
use crate::store::contract::{
    Answers, Changes, Commit, Committed, Notices, Round, Store, StoreFuture, StoreTime, Stored, Summary, Version,
};
use crate::store::error::StoreError;
use crate::store::protocol::LARGEST;
use crate::store::watchers::SideSteps;
use crate::text::unhex;

/// A store in PostgreSQL 12 or later, in one row for each breaker. People can query the rows as well.
///
/// It has two connections of its own, also to [prune](Self::prune), and one more for each [`watch`](Store::watch):
/// never more, whatever is locked, stands still or is lost, and your application's pool is never used. The server ends
/// a statement of theirs that waits for a lock for 100 ms, or that takes longer than
/// [`timeout`](super::PostgresStoreBuilder::timeout). Each operation is one statement in one round trip and leaves
/// nothing in the session, so a pooler in transaction mode may stand between (give the direct address as
/// [`listen_url`](super::PostgresStoreBuilder::listen_url) then). Nothing is created at run time: call
/// [`migrate`](Self::migrate) once, with a role that may.
///
/// Counts are written without waiting for the disk; a transition waits.
///
/// ```no_run
/// use std::sync::Arc;
/// use fusebox::store::{PostgresStore, Store};
///
/// # async fn example() -> Result<(), fusebox::store::StoreError> {
/// let url = "postgres://app:secret@db.internal/breakers";
/// PostgresStore::migrate(url).await?; // in your deployment
/// let store: Arc<dyn Store> = Arc::new(PostgresStore::connect(url).await?);
/// # let _ = store; Ok(()) }
/// ```
///
/// Who is open, which fail most:
///
/// ```sql
/// select state, count(*) from hw_circuit_breakers group by state;
/// select resource_key, open_until from hw_circuit_breakers where state = 'OPEN' and open_until > now();
/// select resource_key, failure_count from hw_circuit_breakers where failure_count > 3;
/// ```
///
/// Every transition is also a row of a log, written by the same statement and kept for
/// [30 days](super::PostgresStoreBuilder::keep_events):
///
/// ```sql
/// select at, state from hw_circuit_breakers_events where resource_key = 'payments' order by version;
/// ```
///
/// A row of an older library that is open or half-open is honoured until the first write
/// ([`Stored::adopted`](super::super::Stored::adopted)).
///
/// Encrypted connections come with the feature `postgres-tls`: see [`url`](super::PostgresStoreBuilder::url).
pub struct PostgresStore {
    pub(super) connections: Connections,
    listening: Dialler,
    pub(super) table: Table,
    namespace: String,
    prepared: bool,
    pruner: Arc<Pruner>,
    /// Keys that are too long for the table, by the name that they have there.
    shortened: Mutex<HashMap<String, String>>,
    side_steps: Arc<SideSteps>,
}

/// The longest `resource_key` that the table takes, in bytes.
const LONGEST_KEY: usize = 255;
/// Longer ones that are known again when the log names them.
const MOST_SHORTENED: usize = 10_000;

/// What [`PostgresStoreBuilder::build`](super::PostgresStoreBuilder::build) found to be right.
pub(super) struct Settings {
    pub(super) connections: Connections,
    pub(super) listening: Dialler,
    pub(super) table: Table,
    pub(super) namespace: String,
    pub(super) prepared: bool,
    pub(super) pruner: Arc<Pruner>,
}

impl PostgresStore {
    /// Closes its connections, to be made anew: they live and stall with the runtime that they were made on, and those who
    /// use the store have their own.
    pub(super) fn hang_up(&self) {
        self.connections.forget();
    }

    /// Takes away what is no longer needed. Those are rows that are no longer written, and the log's oldest. A store
    /// that is written to does so by itself [from time to time](super::PostgresStoreBuilder::prune_every). While
    /// another store prunes, nothing happens.
    ///
    /// # Errors
    ///
    /// As for every operation, but with a minute of time. What was taken away by then is gone.
    ///
    /// ```no_run
    /// # async fn example(store: fusebox::store::PostgresStore) -> Result<(), fusebox::store::StoreError> {
    /// let pruned = store.prune().await?;
    /// println!("{} unused breakers, {} old transitions", pruned.rows, pruned.events);
    /// # Ok(()) }
    /// ```
    pub async fn prune(&self) -> Result<Pruned, StoreError> {
        self.pruner.prune().await
    }

    pub(super) fn with(settings: Settings) -> Self {
        let Settings { connections, listening, table, namespace, prepared, pruner } = settings;
        Self {
            connections,
            listening,
            table,
            namespace,
            prepared,
            pruner,
            shortened: Mutex::default(),
            side_steps: Arc::default(),
        }
    }

    /// The key as the table has it: as it is without a namespace, so that rows of others are met again.
    fn resource_key(&self, key: &str) -> String {
        let prefix = self.prefix();
        // Shortened without the namespace, so that none can be left.
        let name = crate::store::key::shortened(key, LONGEST_KEY - prefix.len());
        if name != key {
            let mut shortened = self.shortened.lock().unwrap_or_else(PoisonError::into_inner);
            if shortened.len() < MOST_SHORTENED {
                shortened.insert(name.clone(), key.to_owned());
            }
        }
        prefix + &name
    }

    /// What is wrong with all of them, or an answer for each.
    async fn load_now(&self, keys: &[&str]) -> Result<Vec<Result<Stored, StoreError>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let names = keys.iter().map(|key| self.resource_key(key)).collect();
        let statement =
            statements::load(&self.table, self.prepared, names).map_err(|error| store_error(&error, false))?;
        let rows = self.connections.read(statement).await?;
        if rows.len() != keys.len() {
            return Err(nonsense());
        }
        let answers = keys.iter().zip(&rows).map(|(key, row)| {
            check_fit(key, get(row, 0)?, get(row, 4)?)?;
            stored(get(row, 0)?, get(row, 1)?, get(row, 2)?, get(row, 3)?)
        });
        Ok(answers.collect())
    }

    fn prefix(&self) -> String {
        if self.namespace.is_empty() { String::new() } else { format!("{}:", self.namespace) }
    }

    async fn changes_now(&self, since: Option<&Bytes>) -> Result<Changes, StoreError> {
        let known = since.and_then(Snapshot::read);
        let asked = known.as_ref().map(|known| (known.taken.clone(), known.oldest));
        let statement = statements::changes(&self.table, self.prepared, &self.prefix(), asked)
            .map_err(|error| store_error(&error, false))?;
        let rows = self.connections.read(statement).await?;
        let first = rows.first().ok_or_else(nonsense)?;
        let (started, taken): (String, String) = (get(first, 0)?, get(first, 1)?);
        let cursor = Bytes::from(format!("{started} {taken}"));
        // Another process may have another history: it was restored, or has taken over from one that is gone.
        if known.is_none_or(|known| known.started != started) || rows.len() > statements::MAX_CHANGES {
            return Ok(Changes::restart(cursor));
        }
        let names: Vec<Option<String>> = rows.iter().map(|row| get(row, 2)).collect::<Result<_, _>>()?;
        let shortened = self.shortened.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |name: String| shortened.get(&name).cloned().unwrap_or(name);
        Ok(Changes::since(names.into_iter().flatten().map(key).collect(), cursor))
    }

    async fn keys_now(&self) -> Result<Vec<String>, StoreError> {
        let prefix = self.prefix();
        let statement =
            statements::keys(&self.table, self.prepared, &prefix).map_err(|error| store_error(&error, false))?;
        let rows = self.connections.read(statement).await?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    async fn commit_now(&self, key: &str, commit: Commit) -> Result<Committed, StoreError> {
        let delta = commit.batch.as_ref().map_or(0, |(_, delta)| delta.len());
        let bytes = commit.record.len().max(delta);
        if bytes > LARGEST {
            return Err(StoreError::too_large(bytes, LARGEST));
        }
        let (has_notice, has_round) = (commit.notice.is_some(), commit.round.is_some());
        let notice = commit.notice.as_deref().map(|notice| self.channel().write(key, notice));
        let statement = statements::commit(&self.table, self.prepared, self.resource_key(key), commit, notice)
            .map_err(|error| store_error(&error, false))?;
        let rows = self.connections.write(statement).await?;
        let row = rows.first().ok_or_else(nonsense)?;
        self.pruner.tend(StoreTime(u64::try_from(get::<i64>(row, 2)?).unwrap_or(0)));
        let answer: i32 = get(row, 0)?;
        // The first round is handed out before anything is written.
        let has_written = answer == 1 || answer == 2 && has_round;
        if has_written && has_notice {
            self.side_steps.told(get(row, 7)?);
        }
        committed(key, row)
    }

    fn channel(&self) -> Channel {
        Channel::new(self.table.shown(), &self.namespace)
    }
}

/// A cursor: what was over when it was taken, and on which process.
struct Snapshot {
    started: String,
    taken: String,
    /// All transactions below this one were over.
    oldest: i64,
}

impl Snapshot {
    /// `None` for anything that is none, so that no statement has it.
    fn read(cursor: &Bytes) -> Option<Self> {
        let (started, taken) = std::str::from_utf8(cursor).ok()?.split_once(' ')?;
        let is_snapshot = taken.bytes().all(|byte| byte.is_ascii_digit() || byte == b':' || byte == b',');
        let oldest = taken.split(':').next()?.parse().ok()?;
        let is_whole = is_snapshot && taken.split(':').count() == 3;
        is_whole.then(|| Self { started: started.to_owned(), taken: taken.to_owned(), oldest })
    }
}

fn committed(key: &str, row: &PgRow) -> Result<Committed, StoreError> {
    let answer: i32 = get(row, 0)?;
    if answer == 6 {
        check_fit(key, get(row, 1)?, get(row, 4)?)?;
        return Err(nonsense());
    }
    let stored = stored(get(row, 1)?, get(row, 2)?, get(row, 3)?, get(row, 6)?)?;
    match answer {
        0 => Ok(Committed::Conflict(stored)),
        1 => Ok(Committed::Applied { version: stored.version, now: stored.now }),
        2 => Ok(Committed::Combine(stored, round(get(row, 4)?, get(row, 5)?).ok_or_else(nonsense)?)),
        3 => Ok(Committed::Queued(stored)),
        4 => Ok(Committed::Duplicate(stored)),
        5 => Ok(Committed::Fenced(stored)),
        _ => Err(nonsense()),
    }
}

/// A row that only a stranger can have written is this key's trouble.
fn check_fit(key: &str, version: i64, bytes: Option<i64>) -> Result<(), StoreError> {
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
    if bytes > LARGEST {
        Err(StoreError::too_large(bytes, LARGEST))
    } else if u64::try_from(version).is_ok_and(|version| version > LATEST) {
        Err(StoreError::foreign(key))
    } else {
        Ok(())
    }
}

fn stored(version: i64, now: i64, record: Option<&str>, adopted: Option<&str>) -> Result<Stored, StoreError> {
    let record = unhex(record.unwrap_or_default()).ok_or_else(nonsense)?;
    let [version, now] = [version, now].map(|number| u64::try_from(number).unwrap_or(0));
    let stored = Stored::new(Version(version), record.into(), StoreTime(now));
    Ok(match adopted.and_then(left).filter(|_| version == 0) {
        Some(left) => stored.with_adopted(left),
        None => stored,
    })
}

/// Reads `state failures end`.
fn left(adopted: &str) -> Option<Summary> {
    let mut parts = adopted.split(' ');
    let mut left = Summary::closed(0);
    left.state = match parts.next()? {
        "OPEN" => State::Open,
        "HALF_OPEN" => State::HalfOpen,
        _ => return None,
    };
    left.failures = parts.next()?.parse().ok()?;
    left.open_until = parts.next()?.parse().ok().map(StoreTime);
    Some(left)
}

/// `id:hex,id:hex` as a round.
fn round(token: i64, batches: &str) -> Option<Round> {
    let number = |number: i64| Bytes::copy_from_slice(&number.to_le_bytes());
    let batch = |text: &str| {
        let (id, delta) = text.split_once(':')?;
        Some((number(id.parse().ok()?), unhex(delta)?.into()))
    };
    Some(Round::new(number(token), batches.split(',').map(batch).collect::<Option<_>>()?))
}

pub(super) fn get<'r, T>(row: &'r PgRow, at: usize) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(at).map_err(|_| nonsense())
}

pub(super) fn nonsense() -> StoreError {
    unavailable(true, "the server answered something else than asked: the schema's function is not ours")
}

impl Store for PostgresStore {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move { self.load_now(keys).await?.into_iter().collect() })
    }

    fn load_each<'a>(&'a self, keys: &'a [&'a str]) -> Answers<'a> {
        Box::pin(async move { self.load_now(keys).await.unwrap_or_else(|error| error.for_each(keys)) })
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        Box::pin(self.commit_now(key, commit))
    }

    /// Listens on a connection of its own. It does so in a task of the Tokio runtime that this is called on; without
    /// one it never says anything. [`Notice::Lagged`](super::super::Notice::Lagged) comes each time it begins to hear.
    fn watch(&self) -> Notices {
        let notices = listener::watch(self.listening.clone(), self.channel(), self.side_steps.clone());
        self.side_steps.watch_with(notices)
    }

    fn changes<'a>(&'a self, since: Option<&'a Bytes>) -> StoreFuture<'a, Changes> {
        Box::pin(self.changes_now(since))
    }

    fn describe(&self) -> String {
        let options = self.connections.options();
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let (host, port, table) = (options.get_host(), options.get_port(), self.table.shown());
        let namespace = match self.namespace.as_str() {
            "" => String::new(),
            namespace => format!(", namespace `{namespace}`"),
        };
        format!("PostgreSQL at {host}:{port}, database `{database}`, table `{table}`{namespace}")
    }

    /// Lists them as the table has them. Without a namespace, rows whose key has a colon are another namespace's. A key
    /// of more than 255 bytes (with its namespace) is listed with the hash that its end became.
    fn keys(&self) -> StoreFuture<'_, Vec<String>> {
        Box::pin(self.keys_now())
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.connections.options();
        f.debug_struct("PostgresStore")
            .field("host", &options.get_host())
            .field("port", &options.get_port())
            .field("database", &options.get_database())
            .field("table", &self.table.shown())
            .field("namespace", &self.namespace)
            .field("prepared", &self.prepared)
            .finish_non_exhaustive()
    }
}
