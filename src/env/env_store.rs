//! The store that comes back, and how it came about.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::error::EnvError;
use super::source::StoreSource;
use crate::store::{Store, StoreError};

/// Where a store keeps its records.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Memory,
    #[cfg(feature = "redis")]
    Redis,
    #[cfg(feature = "postgres")]
    Postgres,
}

/// The store that the environment named, and how it came about.
///
/// Dereferences to the `Arc<dyn Store>`, which is also what `clone()` makes. Printed, it says in one line where it is, who
/// named it, and what is wrong with it; that line is worth a place in your log, and the only one who ever prints it is you.
///
/// ```no_run
/// use fusebox::env::{self, StoreSource};
///
/// # async fn example() -> Result<(), env::EnvError> {
/// let store = env::store().await?;
/// println!("breakers share {store}");
/// if store.source() == StoreSource::Unset {
///     eprintln!("every instance is on its own");
/// }
/// let records = store.load(&["payments"]).await; // a `Store` like any other
/// # let _ = records; Ok(()) }
/// ```
///
/// ```text
/// breakers share a store in memory, of this process alone: no variable is set
/// breakers share a store in Redis, of `FUSEBOX_STORE_URL`
/// breakers share a store in PostgreSQL, of `HW_DB_HOST`, degraded: the store was not reached: Connection refused
/// ```
pub struct EnvStore {
    kind: Kind,
    source: StoreSource,
    store: Arc<dyn Store>,
    degraded: Option<StoreError>,
}

impl EnvStore {
    pub(super) fn new(kind: Kind, source: StoreSource, store: Arc<dyn Store>, degraded: Option<StoreError>) -> Self {
        Self { kind, source, store, degraded }
    }

    /// The store, or why it was of no use at the start.
    pub(super) fn or_degraded(self) -> Result<Self, EnvError> {
        match self.degraded {
            Some(error) => Err(EnvError::Store { from: self.source, error }),
            None => Ok(self),
        }
    }

    /// Returns what named the store.
    #[must_use]
    pub const fn source(&self) -> StoreSource {
        self.source
    }

    /// Returns why the store was of no use at the start, if so. It did not answer, or refused. It may since have come
    /// back.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), fusebox::env::EnvError> {
    /// let store = fusebox::env::store().await?;
    /// if let Some(reason) = store.degraded() {
    ///     eprintln!("each instance judges for itself until it is back: {reason}");
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn degraded(&self) -> Option<&StoreError> {
        self.degraded.as_ref()
    }
}

impl Deref for EnvStore {
    type Target = Arc<dyn Store>;

    fn deref(&self) -> &Self::Target {
        &self.store
    }
}

impl From<EnvStore> for Arc<dyn Store> {
    fn from(store: EnvStore) -> Self {
        store.store
    }
}

impl fmt::Display for EnvStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Memory => "a store in memory, of this process alone",
            #[cfg(feature = "redis")]
            Kind::Redis => "a store in Redis",
            #[cfg(feature = "postgres")]
            Kind::Postgres => "a store in PostgreSQL",
        })?;
        match self.source {
            StoreSource::Unset => f.write_str(": no variable is set")?,
            source => write!(f, ", of {source}")?,
        }
        match &self.degraded {
            Some(error) => write!(f, ", degraded: {}", error.explain()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for EnvStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvStore")
            .field("source", &self.source)
            .field("store", &self.store)
            .field("degraded", &self.degraded)
            .finish_non_exhaustive()
    }
}
