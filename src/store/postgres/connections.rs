//! The store's own few connections.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::dialler::Dialler;
use super::failure::{is_usable, store_error, unavailable};
use super::statements::Statement;
use crate::clock::timer_now;
use crate::store::error::StoreError;

/// Connections at the same time, those included of which an answer is no longer waited for.
const MOST: usize = 2;
/// How long a connection is kept that does not answer. The server ends a statement before that, and says so: where it
/// does not, it stands still or the network has lost the connection.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long work on a connection of its own may take: changes of the schema, pruning.
pub(super) const WORK: Duration = Duration::from_secs(60);

/// Connections that are closed as soon as anything about them is in doubt: sqlx's pool would wait for a frozen server to
/// answer a statement that is no longer wanted. An operation that is given up leaves its connection to a task that
/// waits for the answer, so that what the server still works on is never more than [`MOST`] statements. Clones are the
/// same ones.
#[derive(Clone)]
pub(super) struct Connections {
    shared: Arc<Shared>,
    turns: Arc<Semaphore>,
}

struct Shared {
    dialler: Dialler,
    timeout: Duration,
    /// Statements are prepared, so the session is the store's own.
    prepared: bool,
    /// Each with the runtime that it was made on, with which it lives and stalls.
    idle: Mutex<Vec<(Option<Id>, PgConnection)>>,
}

impl Connections {
    pub(super) fn new(dialler: Dialler, timeout: Duration, prepared: bool) -> Self {
        let shared = Arc::new(Shared { dialler, timeout, prepared, idle: Mutex::default() });
        Self { shared, turns: Arc::new(Semaphore::new(MOST)) }
    }

    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.shared.dialler.options
    }

    /// Runs a statement that may be run twice.
    pub(super) async fn read(&self, statement: Statement) -> Result<Vec<PgRow>, StoreError> {
        self.in_time(statement, true).await
    }

    /// Runs a statement once at most.
    pub(super) async fn write(&self, statement: Statement) -> Result<Vec<PgRow>, StoreError> {
        self.in_time(statement, false).await
    }

    async fn in_time(&self, statement: Statement, may_repeat: bool) -> Result<Vec<PgRow>, StoreError> {
        let limit = self.shared.timeout;
        let until = timer_now() + limit;
        let turn = self.turn(until).await?;
        let statement = statement.within(limit);
        let shared = Arc::clone(&self.shared);
        let sent = Arc::new(AtomicBool::new(false));
        let was_sent = Arc::clone(&sent);
        let (tell, answer) = oneshot::channel();
        tokio::spawn(async move {
            let rows = timeout(PATIENCE.max(limit), shared.run(&statement, may_repeat, &sent, &turn)).await;
            // The operation that gets the next turn finds the connection.
            drop(turn);
            if rows.is_err() {
                shared.forget();
            }
            tell.send(rows.ok()).ok();
        });
        match timeout_at(until, answer).await {
            Ok(Ok(Some(rows))) => rows.map_err(|error| store_error(&error, was_sent.load(Ordering::Relaxed))),
            Ok(Ok(None) | Err(_)) | Err(_) => {
                Err(unavailable(was_sent.load(Ordering::Relaxed), format!("no answer within {limit:?}")))
            }
        }
    }

    async fn turn(&self, until: Instant) -> Result<OwnedSemaphorePermit, StoreError> {
        let turn = timeout_at(until, Arc::clone(&self.turns).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            let limit = self.shared.timeout;
            unavailable(false, format!("all {MOST} connections were in use, or without an answer, for {limit:?}"))
        })
    }

    /// Works for longer than an operation may take, in the place of one of the others.
    pub(super) async fn at_length(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<(), sqlx::Error>,
    ) -> Result<(), StoreError> {
        let turn = self.turn(timer_now() + WORK).await?;
        self.shared.make_room(&turn);
        on_one_connection(self.shared.dialler.clone(), work).await
    }

    /// What ended one connection has mostly ended the others.
    pub(super) fn forget(&self) {
        self.shared.forget();
    }
}

impl Shared {
    async fn run(
        &self,
        statement: &Statement,
        may_repeat: bool,
        sent: &AtomicBool,
        turn: &OwnedSemaphorePermit,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        if let Some(mut connection) = self.take() {
            sent.store(true, Ordering::Relaxed);
            let rows = self.keep(statement.run(&mut connection).await, connection);
            let was_stale = rows.as_ref().is_err_and(|error| !is_usable(error));
            if !(was_stale && may_repeat) {
                return rows;
            }
        }
        sent.store(false, Ordering::Relaxed);
        self.make_room(turn);
        let mut connection = self.dialler.connect().await?;
        if self.prepared {
            Statement::session_limits(self.timeout).run(&mut connection).await?;
        }
        sent.store(true, Ordering::Relaxed);
        self.keep(statement.run(&mut connection).await, connection)
    }

    fn take(&self) -> Option<PgConnection> {
        let here = here();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().rposition(|(runtime, _)| *runtime == here)?;
        Some(idle.remove(at).1)
    }

    /// Before another connection is made: idle ones of other runtimes have no turn, and count all the same.
    fn make_room(&self, turn: &OwnedSemaphorePermit) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let others = turn.semaphore().available_permits();
        let excess = idle.len().saturating_sub(others);
        idle.drain(..excess);
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

    fn forget(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The runtime that this runs on.
fn here() -> Option<Id> {
    Handle::try_current().ok().map(|runtime| runtime.id())
}

/// Works on a connection that is closed afterwards, for longer than an operation may take.
pub(super) async fn on_one_connection(
    dialler: Dialler,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<(), sqlx::Error>,
) -> Result<(), StoreError> {
    let all = async {
        let mut connection = dialler.connect().await?;
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
        f.debug_struct("Connections").field("timeout", &self.shared.timeout).finish_non_exhaustive()
    }
}
