//! What the failures of PostgreSQL and its driver mean for a store.

use crate::error::BoxError;
use crate::one_line::OneLine;
use crate::store::error::StoreError;

/// Turns a driver's error into a store's. `sent`: the statement was on its way.
pub(super) fn store_error(error: &sqlx::Error, sent: bool) -> StoreError {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().unwrap_or_default();
            // The message only: details may hold rows.
            let text = format!("{} (SQLSTATE {})", OneLine(database.message()), OneLine(&code));
            by_code(&code, text, sent)
        }
        sqlx::Error::Configuration(_) => StoreError::refused("the connection's settings cannot be used"),
        sqlx::Error::Tls(why) => {
            let hint =
                if cfg!(feature = "postgres-tls") { "" } else { " (fusebox's feature `postgres-tls` brings it)" };
            StoreError::refused(format!("no encrypted connection: {why}{hint}"))
        }
        other => unavailable(sent, other.to_string()),
    }
}

fn by_code(code: &str, text: String, sent: bool) -> StoreError {
    match code {
        // Rolled back for sure: lost a race, a lock was not free in time, took too long; no memory, no disk, no time.
        "40001" | "40P01" | "55P03" | "57014" => StoreError::busy(text),
        // It lets none in now, or not that many.
        "57P03" | "53300" => unavailable(false, text),
        _ if code.starts_with("53") || code.starts_with("54") => StoreError::busy(text),
        // Table, function, column, schema.
        "42P01" | "42883" | "42703" | "3F000" => schema_missing(&text),
        _ if code.starts_with("08") || code.starts_with("57P") || code.starts_with("XX") => unavailable(sent, text),
        _ => StoreError::refused(text),
    }
}

pub(super) fn unavailable(maybe: bool, source: impl Into<BoxError>) -> StoreError {
    if maybe { StoreError::no_answer(source) } else { StoreError::unreachable(source) }
}

/// Says what to do, since a new user sees this first.
pub(super) fn schema_missing(what: &str) -> StoreError {
    StoreError::refused(format!("{what}; run `PostgresStore::migrate`, or the builder's `migrate`, once"))
}

/// Whether a lock was not free in time.
pub(super) fn is_locked(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.code().as_deref() == Some("55P03"))
}

/// Whether a connection is still good after this.
pub(super) fn is_usable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => {
            database.code().is_some_and(|code| !(code.starts_with("57P") || code.starts_with("08") || code == "25006"))
        }
        _ => false,
    }
}
