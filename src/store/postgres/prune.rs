//! Taking away what is no longer needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::Row;
use tokio::runtime::Handle;

use super::connections::{Connections, WORK};
use super::schema::{PRUNE_LIMIT, Table, mark_retention};
use super::statements::{Statement, micros};
use crate::clock::fresh_seed;
use crate::store::contract::StoreTime;
use crate::store::error::StoreError;

/// What [`PostgresStore::prune`](super::PostgresStore::prune) took away.
///
/// ```
/// use fusebox::store::Pruned;
///
/// assert_eq!(Pruned::default().rows + Pruned::default().events, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pruned {
    /// Rows of breakers.
    pub rows: u64,
    /// Rows of the log.
    pub events: u64,
}

/// How long what is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    pub(super) closed: Duration,
    pub(super) events: Duration,
    /// How often to look.
    pub(super) every: Duration,
}

/// Looks from time to time.
pub(super) struct Pruner {
    connections: Connections,
    table: Table,
    keep: Keep,
    /// When to look next, by the server's clock; zero until that is known.
    due: AtomicU64,
}

impl Pruner {
    pub(super) fn new(connections: Connections, table: Table, keep: Keep) -> Arc<Self> {
        Arc::new(Self { connections, table, keep, due: AtomicU64::new(0) })
    }

    /// Prunes in the background if it is time to.
    pub(super) fn tend(self: &Arc<Self>, now: StoreTime) {
        let every = u64::try_from(self.keep.every.as_micros()).unwrap_or(u64::MAX);
        let due = self.due.load(Ordering::Relaxed);
        // Later than that it cannot be, unless the clock was set back.
        let is_known = due != 0 && due <= now.0.saturating_add(every);
        if is_known && now.0 < due {
            return;
        }
        // A fleet that starts at once does not look at once.
        let wait = if is_known { every } else { 1 + fresh_seed() % every.max(1) };
        let next = now.0.saturating_add(wait);
        let is_ours = self.due.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_known
            && is_ours
            && let Ok(runtime) = Handle::try_current()
        {
            let pruner = self.clone();
            // Whatever goes wrong goes wrong for the commits as well, and they tell.
            runtime.spawn(async move { pruner.prune().await.ok() });
        }
    }

    /// In the place of another connection: with a large table it takes longer than an operation may.
    pub(super) async fn prune(&self) -> Result<Pruned, StoreError> {
        let statement = statement(&self.table, self.keep).within(WORK);
        let mut all = Pruned::default();
        self.connections
            .at_length(async |connection| {
                loop {
                    let rows = statement.run(connection).await?;
                    let count = |at: usize| -> Result<u64, sqlx::Error> {
                        let count: Option<i64> = rows.first().map(|row| row.try_get(at)).transpose()?;
                        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
                    };
                    let [rows, events, writers] = [count(0)?, count(1)?, count(2)?];
                    all.rows += rows;
                    all.events += events;
                    if rows.max(events).max(writers) < PRUNE_LIMIT {
                        return Ok(());
                    }
                }
            })
            .await?;
        Ok(all)
    }
}

/// Takes away what is no longer kept, unless another store does so just now, and counts rows, events, and marks of writers.
fn statement(table: &Table, keep: Keep) -> Statement {
    let name = table.shown();
    let [outbox, writers, events_log, table] = ["_outbox", "_writers", "_events", ""].map(|suffix| table.sql(suffix));
    let ago = |time: Duration| format!("clock_timestamp() - {} * interval '1 microsecond'", micros(time));
    let (closed, events, retention) = (ago(keep.closed), ago(keep.events), mark_retention());
    Statement::plain(format!(
        "with turn as materialized (select pg_try_advisory_xact_lock(hashtext('fusebox prune'), hashtext('{name}')) as ours), \
         old as materialized (select c.resource_key from {table} c where (select ours from turn) \
            and c.updated_at < {closed} and c.lease_until < clock_timestamp() \
            and case when c.record is null then c.state = 'CLOSED' else c.expires_at < clock_timestamp() end \
            limit {PRUNE_LIMIT} for update skip locked), \
         gone as (delete from {table} c using old where c.resource_key = old.resource_key returning 1), \
         batches as (delete from {outbox} o using old \
            where o.resource_key = old.resource_key and o.queued_at < {closed}), \
         writers as (delete from {writers} m where (m.resource_key, m.writer) in ( \
            select d.resource_key, d.writer from {writers} d where (select ours from turn) \
            and d.seen_at < clock_timestamp() - interval '{retention}' limit {PRUNE_LIMIT} for update skip locked) returning 1), \
         events as (delete from {events_log} e where (e.resource_key, e.version) in ( \
            select d.resource_key, d.version from {events_log} d where (select ours from turn) \
            and d.at < {events} limit {PRUNE_LIMIT}) returning 1) \
         select (select count(*) from gone), (select count(*) from events), (select count(*) from writers)"
    ))
}
