//! Asking for the store.

use std::collections::HashMap;
use std::ffi::OsString;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use super::dotenv;
use super::env_store::{EnvStore, Kind};
use super::error::EnvError;
#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "redis")]
use super::redis;
use super::source::StoreSource;
use super::variables::{self, Plan};
use crate::error::ConfigError;
use crate::store::MemoryStore;

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
            if self.required { store.or_degraded() } else { Ok(store) }
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
        Plan::LegacyEnv(legacy) => postgres::open(legacy).await,
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
