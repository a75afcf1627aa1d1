//! The store's own few connections.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{ConnectOptions, Connection};
use tokio::runtime::{Handle, Id};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::failure::{is_usable, store_error, unavailable};
use super::statements::Statement;
use crate::store::contract::StoreError;

/// Statements at the same time.
const MOST: usize = 2;

/// How long work on a connection of its own may take: changes of the schema, pruning.
const WORK: Duration = Duration::from_secs(60);

/// Connections that are closed as soon as anything about them is in doubt: sqlx's pool would wait for a frozen server to
/// answer a statement that is no longer wanted.
pub(super) struct Connections {
    options: PgConnectOptions,
    timeout: Duration,
    /// Each with the runtime that it was made on, with which it lives and stalls.
    idle: Mutex<Vec<(Option<Id>, PgConnection)>>,
    turns: Semaphore,
}

impl Connections {
    pub(super) fn new(options: PgConnectOptions, timeout: Duration) -> Self {
        Self { options, timeout, idle: Mutex::default(), turns: Semaphore::new(MOST) }
    }

    pub(super) const fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Runs a statement that may be run twice.
    pub(super) async fn read(&self, statement: &Statement) -> Result<Vec<PgRow>, StoreError> {
        self.in_time(statement, true).await
    }

    /// Runs a statement once at most.
    pub(super) async fn write(&self, statement: &Statement) -> Result<Vec<PgRow>, StoreError> {
        self.in_time(statement, false).await
    }

    async fn in_time(&self, statement: &Statement, may_repeat: bool) -> Result<Vec<PgRow>, StoreError> {
        let sent = AtomicBool::new(false);
        match timeout(self.timeout, self.run(statement, may_repeat, &sent)).await {
            Ok(rows) => rows.map_err(|error| store_error(&error, sent.load(Ordering::Relaxed))),
            Err(_) => {
                self.forget();
                let text = format!("no answer within {:?}", self.timeout);
                Err(unavailable(sent.load(Ordering::Relaxed), text))
            }
        }
    }

    async fn run(&self, statement: &Statement, may_repeat: bool, sent: &AtomicBool) -> Result<Vec<PgRow>, sqlx::Error> {
        let _turn = self.turns.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        if let Some(mut connection) = self.take() {
            sent.store(true, Ordering::Relaxed);
            let rows = self.keep(statement.run(&mut connection).await, connection);
            let was_stale = rows.as_ref().is_err_and(|error| !is_usable(error));
            if !(was_stale && may_repeat) {
                return rows;
            }
        }
        sent.store(false, Ordering::Relaxed);
        let mut connection = self.options.connect().await?;
        sent.store(true, Ordering::Relaxed);
        self.keep(statement.run(&mut connection).await, connection)
    }

    fn take(&self) -> Option<PgConnection> {
        let here = here();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().rposition(|(runtime, _)| *runtime == here)?;
        Some(idle.remove(at).1)
    }

    fn keep<T>(&self, result: Result<T, sqlx::Error>, connection: PgConnection) -> Result<T, sqlx::Error> {
        if result.as_ref().err().is_none_or(is_usable) {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((here(), connection));
            if idle.len() > MOST {
                idle.remove(0);
            }
        } else {
            self.forget();
        }
        result
    }

    /// What ended one connection has mostly ended the others.
    pub(super) fn forget(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The runtime that this runs on.
fn here() -> Option<Id> {
    Handle::try_current().ok().map(|runtime| runtime.id())
}

/// Works on a connection that is closed afterwards, for longer than an operation may take.
pub(super) async fn on_one_connection(
    options: PgConnectOptions,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<(), sqlx::Error>,
) -> Result<(), StoreError> {
    let all = async {
        let mut connection = options.connect().await?;
        work(&mut connection).await?;
        connection.close().await
    };
    match timeout(WORK, all).await {
        Ok(result) => result.map_err(|error| store_error(&error, true)),
        Err(_) => Err(unavailable(true, format!("no answer within {WORK:?}"))),
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: they hold the password.
        f.debug_struct("Connections").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
