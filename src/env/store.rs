//! Asking for the store, and what comes back.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use super::dotenv;
use super::error::EnvError;
#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "redis")]
use super::redis;
use super::source::StoreSource;
use super::variables::{self, Plan};
use crate::error::ConfigError;
use crate::store::{MemoryStore, Store, StoreError};

/// Asks the environment for the store that it names: see [the module](super) for the variables.
///
/// ```no_run
/// use std::sync::Arc;
/// use fusebox::store::Store;
///
/// # async fn example() -> Result<(), fusebox::env::EnvError> {
/// let store = fusebox::env::store().await?;
/// let shared: Arc<dyn Store> = store.clone();
/// # let _ = shared; Ok(()) }
/// ```
pub const fn store() -> StoreFromEnv {
    StoreFromEnv { dotenv: false, required: false }
}

/// A question to the environment, asked when it is awaited; from [`store`].
///
/// Needs a Tokio runtime with I/O and time enabled, unless the store is in memory.
///
/// ```no_run
/// # async fn example() -> Result<(), fusebox::env::EnvError> {
/// let store = fusebox::env::store()
///     .dotenv() // on a developer's machine
///     .required() // or no start at all
///     .await?;
/// # let _ = store; Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is read before it is awaited"]
pub struct StoreFromEnv {
    dotenv: bool,
    required: bool,
}

impl StoreFromEnv {
    /// Reads the file `.env` too, of the current folder or the nearest one above that has one; there need not be any.
    ///
    /// What the real environment has goes first, also where it is empty. The environment itself stays as it is.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), fusebox::env::EnvError> {
    /// let store = fusebox::env::store().dotenv().await?;
    /// # let _ = store; Ok(()) }
    /// ```
    pub const fn dotenv(mut self) -> Self {
        self.dotenv = true;
        self
    }

    /// Makes it an error when no variable is set, and when the store does not answer or refuses.
    ///
    /// Memory is still to be had, for those who ask for it: `FUSEBOX_STORE_URL=memory:`.
    ///
    /// ```no_run
    /// use fusebox::env;
    ///
    /// # async fn example() {
    /// if let Err(error) = env::store().required().await {
    ///     eprintln!("cannot start: {error}");
    /// }
    /// # }
    /// ```
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    fn plan(&self) -> Result<Plan, ConfigError> {
        let file = if self.dotenv { nearest_file()? } else { HashMap::new() };
        let plan = variables::plan(&|name| std::env::var_os(name).or_else(|| file.get(name).map(OsString::from)))?;
        let names_none = matches!(plan, Plan::Memory(StoreSource::Unset));
        if names_none && self.required { Err(variables::nothing_set()) } else { Ok(plan) }
    }
}

fn nearest_file() -> Result<HashMap<String, String>, ConfigError> {
    match std::env::current_dir() {
        Ok(folder) => dotenv::nearest(&folder),
        Err(error) => Err(ConfigError::new(".env", &format!("not to be looked for ({error})"), "there when asked for")),
    }
}

impl IntoFuture for StoreFromEnv {
    type Output = Result<EnvStore, EnvError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let store = open(self.plan()?).await?;
            match store.degraded {
                Some(error) if self.required => Err(EnvError::Store { from: store.source, error }),
                _ => Ok(store),
            }
        })
    }
}

#[cfg_attr(
    not(any(feature = "redis", feature = "postgres")),
    expect(clippy::unused_async, reason = "memory is there at once")
)]
async fn open(plan: Plan) -> Result<EnvStore, ConfigError> {
    match plan {
        Plan::Memory(source) => Ok(EnvStore::new(Kind::Memory, source, Arc::new(MemoryStore::new()), None)),
        #[cfg(feature = "redis")]
        Plan::Redis(url) => redis::open(&url).await,
        #[cfg(feature = "postgres")]
        Plan::PostgresUrl(url) => postgres::open_url(url).await,
        #[cfg(feature = "postgres")]
        Plan::Highway(highway) => postgres::open(highway).await,
    }
}

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

    /// Returns what named the store.
    #[must_use]
    pub const fn source(&self) -> StoreSource {
        self.source
    }

    /// Returns why the store was of no use at the start, if so: it did not answer, or refused. It may since have come back.
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
            Some(error @ StoreError::Unavailable { source: Some(source), .. }) => {
                write!(f, ", degraded: {error}: {source}")
            }
            Some(error) => write!(f, ", degraded: {error}"),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// With each character that means something in a URL, written as it is.
    const PASSWORDS: [&str; 12] = [
        "s3cret",
        "s3cret/1",
        "1/s3cret",
        "s3cret?",
        "1?s3cret",
        "1#s3cret",
        "1@s3cret",
        "a:s3cret",
        "%zzs3cret",
        "[s3cret]",
        "1\\s3cret",
        " s3cret ",
    ];

    #[tokio::test]
    async fn no_text_shows_a_password_however_badly_it_is_written() {
        let ways = ["redis://", "redis+sentinel://", "rediss://", "postgres://", "postgresql://"];
        for (way, password) in ways.iter().flat_map(|way| PASSWORDS.map(|password| (way, password))) {
            for user in ["", "u"] {
                let url = format!("{way}{user}:{password}@127.0.0.1:1/7");
                let lookup = |name: &str| (name == super::super::url::URL).then(|| OsString::from(&url));
                let opened = match variables::plan(&lookup) {
                    Ok(plan) => open(plan).await,
                    Err(error) => Err(error),
                };
                let text = match opened {
                    Ok(store) => format!("{store} {store:?} {:?}", store.degraded().map(ToString::to_string)),
                    Err(error) => format!("{error} {error:?}"),
                };
                assert!(!text.contains("s3cret"), "{url}: {text}");
            }
        }
    }
}
