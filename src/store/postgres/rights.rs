//! Whether a role may use the store.

use super::failure::schema_missing;
use super::schema;
use super::statements::Statement;
use super::store::{PostgresStore, get, nonsense};
use crate::store::error::StoreError;

impl PostgresStore {
    /// Looks whether the store can be used. The server must be there, take writes, have the schema, and let this role
    /// use it. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] with what is to be done; [`StoreError::Unavailable`] when the server was not reached.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = fusebox::store::PostgresStore::builder().url("postgres://app@db.internal/breakers").build()?;
    /// if let Err(error) = store.check().await {
    ///     eprintln!("starting without shared state: {error}");
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn check(&self) -> Result<(), StoreError> {
        let rows = self.connections.read(Statement::plain(schema::check(&self.table))).await?;
        let row = rows.first().ok_or_else(nonsense)?;
        let [is_there, may_use, takes_writes]: [bool; 3] = [get(row, 0)?, get(row, 1)?, get(row, 2)?];
        let table = self.table.shown();
        if !is_there {
            Err(schema_missing(&format!("the table `{table}` or its companions are missing")))
        } else if !may_use {
            Err(StoreError::refused(format!(
                "this role may not select, insert, update and delete in `{table}`, `{table}_outbox`, `{table}_writers` and \
                 `{table}_events`, or not execute `{table}_commit_v2`"
            )))
        } else if !takes_writes {
            Err(StoreError::refused("the server only reads: a replica, or `default_transaction_read_only`"))
        } else {
            Ok(())
        }
    }

    /// Returns what a role lacks to use the store, each as `grant` takes it; empty where it lacks nothing. `None`: the server
    /// has no such role. Changes nothing, and needs no right of this role's.
    ///
    /// What a role has by being a member of another counts, as what all have. It is what
    /// [`grant_to`](super::PostgresStoreBuilder::grant_to) gives, and the right to connect.
    ///
    /// # Errors
    ///
    /// As for every operation.
    ///
    /// ```no_run
    /// # async fn example(store: fusebox::store::PostgresStore) -> Result<(), fusebox::store::StoreError> {
    /// for right in store.missing_rights("app").await?.unwrap_or_default() {
    ///     println!("grant {right} to app;"); // grant select on "hw_circuit_breakers" to app;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn missing_rights(&self, role: &str) -> Result<Option<Vec<String>>, StoreError> {
        if self.connections.read(Statement::has_role(role)).await?.is_empty() {
            return Ok(None);
        }
        let rows = self.connections.read(Statement::lacking(&self.table, role)).await?;
        rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>().map(Some)
    }
}
