//! Asking for the store.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use super::dotenv;
use super::env_store::{EnvStore, Kind};
use super::error::EnvError;
use super::place::{Given, Place};
#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "redis")]
use super::redis;
use super::source::StoreSource;
use super::variables::{self, Plan};
use crate::error::ConfigError;
use crate::store::MemoryStore;
#[cfg(feature = "postgres")]
use crate::store::{PostgresStore, PostgresStoreBuilder};

/// Asks the environment for the store that it names. See [the module](super) for the variables.
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
    let place = Place { namespace: None, schema: None, table: None };
    StoreFromEnv { dotenv: false, required: false, url: None, place }
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
#[derive(Clone)]
#[must_use = "nothing is read before it is awaited"]
pub struct StoreFromEnv {
    dotenv: bool,
    required: bool,
    url: Option<String>,
    place: Place,
}

impl StoreFromEnv {
    /// Reads the file `.env` too. It is that of the current folder or the nearest one above that has one; there need
    /// not be any.
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

    /// Makes it an error when no variable is set, or the store is of no use. It is of none when it does not answer or
    /// refuses.
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

    /// Takes this URL in the place of `FUSEBOX_STORE_URL`, for a program that has one from its command line. What may be in
    /// it, and what is said of it where it is wrong, is the same; no text of it is ever shown.
    ///
    /// ```
    /// # tokio_test::block_on(async {
    /// let store = fusebox::env::store().url("memory:").required().await?;
    /// assert_eq!(store.describe(), "MemoryStore");
    /// # Ok::<(), fusebox::env::EnvError>(()) }).unwrap();
    /// ```
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Keeps the breakers apart from those of other namespaces in that store. It goes before `FUSEBOX_STORE_NAMESPACE`.
    /// By default what the variable says, else the store's own default. A store in memory has no use for it.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), fusebox::env::EnvError> {
    /// let store = fusebox::env::store().namespace("shop").await?;
    /// # let _ = store; Ok(()) }
    /// ```
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.place.namespace = Some(Given { value: namespace.into(), from: "namespace" });
        self
    }

    /// The schema that the tables are in; goes before `FUSEBOX_STORE_SCHEMA`. An error where the store is in Redis.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), fusebox::env::EnvError> {
    /// let store = fusebox::env::store().schema("ops").table("breakers").await?;
    /// # let _ = store; Ok(()) }
    /// ```
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.place.schema = Some(Given { value: schema.into(), from: "schema" });
        self
    }

    /// The table; goes before `FUSEBOX_STORE_TABLE`. An error where the store is in Redis.
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.place.table = Some(Given { value: table.into(), from: "table" });
        self
    }

    /// Returns what builds the store in PostgreSQL that the environment names. It is for what else a builder can do.
    /// Nothing is connected. Where no variable names a store, it has no address yet, unless one is
    /// [`required`](Self::required).
    ///
    /// # Errors
    ///
    /// [`EnvError::Variable`] where a variable cannot be what it is, and where the variables name another store.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// fusebox::env::store().dotenv().required().postgres()?.grant_to("app").migrate().await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "postgres")]
    pub fn postgres(&self) -> Result<PostgresStoreBuilder, EnvError> {
        let (plan, place) = self.read()?;
        let builder = match plan {
            Plan::PostgresUrl(url) => postgres::of_url(url),
            Plan::LegacyEnv(legacy) => postgres::of_legacy(legacy)?,
            Plan::Memory(StoreSource::Unset) if self.required => return Err(variables::nothing_set().into()),
            Plan::Memory(StoreSource::Unset) => PostgresStore::builder(),
            _ => return Err(super::url::no_postgres().into()),
        };
        Ok(postgres::at(builder, &place)?)
    }

    fn read(&self) -> Result<(Plan, Place), ConfigError> {
        let file = if self.dotenv { nearest_file()? } else { HashMap::new() };
        let given = |name: &str| self.url.as_ref().filter(|_| name == super::url::URL).map(OsString::from);
        let set = |name: &str| std::env::var_os(name).or_else(|| file.get(name).map(OsString::from));
        let lookup = |name: &str| given(name).or_else(|| set(name));
        Ok((variables::plan(&lookup)?, self.place.clone().or(variables::place(&lookup)?)))
    }

    fn plan(&self) -> Result<(Plan, Place), ConfigError> {
        let (plan, place) = self.read()?;
        variables::check(&plan, &place)?;
        let names_none = matches!(plan, Plan::Memory(StoreSource::Unset));
        if names_none && self.required { Err(variables::nothing_set()) } else { Ok((plan, place)) }
    }
}

/// Without the URL: a password may be in it.
impl fmt::Debug for StoreFromEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreFromEnv")
            .field("dotenv", &self.dotenv)
            .field("required", &self.required)
            .field("has_url", &self.url.is_some())
            .field("place", &self.place)
            .finish()
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
            let (plan, place) = self.plan()?;
            let store = open(plan, &place).await?;
            if self.required { store.or_degraded() } else { Ok(store) }
        })
    }
}

#[cfg_attr(
    not(any(feature = "redis", feature = "postgres")),
    expect(clippy::unused_async, unused_variables, reason = "memory is there at once, and in one place")
)]
async fn open(plan: Plan, place: &Place) -> Result<EnvStore, ConfigError> {
    match plan {
        Plan::Memory(source) => Ok(EnvStore::new(Kind::Memory, source, Arc::new(MemoryStore::new()), None)),
        #[cfg(feature = "redis")]
        Plan::Redis(url) => redis::open(&url, place).await,
        #[cfg(feature = "postgres")]
        Plan::PostgresUrl(url) => postgres::open_url(url, place).await,
        #[cfg(feature = "postgres")]
        Plan::LegacyEnv(legacy) => postgres::open(legacy, place).await,
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
                    Ok(plan) => open(plan, &Place::default()).await,
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
