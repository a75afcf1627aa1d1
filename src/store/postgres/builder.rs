//! The settings of a store.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnectOptions, PgPool};
use tokio::time::sleep;

use super::address;
use super::connections::{Connections, on_one_connection};
use super::dialler::Dialler;
use super::failure::is_locked;
use super::prune::{Keep, Pruner};
use super::schema::{self, Table};
use super::statements::Statement;
use super::store::{PostgresStore, Settings};
use crate::clock::timer_now;
use crate::error::{BoxError, ConfigError};
use crate::store::credentials::{Credentials, Provider};
use crate::store::error::StoreError;

/// Seconds.
const DAY: u64 = 24 * 60 * 60;
/// The longest namespace.
const LONGEST_NAMESPACE: usize = 64;

/// How long a migration tries to get the locks that it needs, and how long it leaves the tables alone after a try.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(30);
const MIGRATION_PAUSE: Duration = Duration::from_secs(1);

/// Builds a [`PostgresStore`], or what it needs in the database.
///
/// ```
/// use std::time::Duration;
/// use fusebox::store::PostgresStore;
///
/// let store = PostgresStore::builder()
///     .url("postgres://app@pooler.internal:6432/breakers")
///     .listen_url("postgres://app@db.internal/breakers") // poolers carry no notices
///     .namespace("shop")
///     .timeout(Duration::from_millis(500))
///     .build()?;
/// # let _ = store;
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until it is built"]
pub struct PostgresStoreBuilder {
    url: Option<String>,
    options: Option<Box<PgConnectOptions>>,
    listen_url: Option<String>,
    credentials: Option<Provider>,
    namespace: String,
    schema: String,
    table: String,
    roles: Vec<String>,
    prepared: bool,
    timeout: Duration,
    widen_from: Option<String>,
    keep: Keep,
}

impl PostgresStore {
    /// Begins with every setting at its default.
    ///
    /// ```
    /// use fusebox::store::PostgresStore;
    ///
    /// let store = PostgresStore::builder().url("postgres://app@localhost/breakers").namespace("shop").build()?;
    /// # let _ = store;
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn builder() -> PostgresStoreBuilder {
        PostgresStoreBuilder::new()
    }

    /// Connects and looks whether the schema is there.
    ///
    /// # Errors
    ///
    /// As [`PostgresStoreBuilder::connect`].
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), fusebox::store::StoreError> {
    /// let store = fusebox::store::PostgresStore::connect("postgres://app:secret@db.internal/breakers").await?;
    /// # let _ = store; Ok(()) }
    /// ```
    pub async fn connect(url: impl Into<String>) -> Result<Self, StoreError> {
        Self::builder().url(url).connect().await
    }

    /// Creates what the store needs in the default table. See [`PostgresStoreBuilder::migrate`].
    ///
    /// # Errors
    ///
    /// As [`PostgresStoreBuilder::migrate`].
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), fusebox::store::StoreError> {
    /// fusebox::store::PostgresStore::migrate("postgres://owner:secret@db.internal/breakers").await
    /// # }
    /// ```
    pub async fn migrate(url: impl Into<String>) -> Result<(), StoreError> {
        Self::builder().url(url).migrate().await
    }

    /// Creates the database that the URL names. See [`PostgresStoreBuilder::create_database`].
    ///
    /// # Errors
    ///
    /// As [`PostgresStoreBuilder::create_database`].
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), fusebox::store::StoreError> {
    /// fusebox::store::PostgresStore::create_database("postgres://owner:secret@db.internal/breakers").await
    /// # }
    /// ```
    pub async fn create_database(url: impl Into<String>) -> Result<(), StoreError> {
        Self::builder().url(url).create_database().await
    }
}

impl PostgresStoreBuilder {
    fn new() -> Self {
        Self {
            url: None,
            options: None,
            listen_url: None,
            credentials: None,
            namespace: String::new(),
            schema: String::new(),
            table: "hw_circuit_breakers".to_owned(),
            roles: Vec::new(),
            prepared: false,
            timeout: Duration::from_secs(1),
            widen_from: None,
            keep: Keep {
                closed: Duration::from_secs(7 * DAY),
                events: Duration::from_secs(30 * DAY),
                every: Duration::from_secs(60 * 60),
            },
        }
    }

    /// Where the server is: `postgres://user:password@host:port/database`. What it leaves out comes from `PGHOST`,
    /// `PGPASSWORD` and so on, and from `.pgpass`.
    ///
    /// With the feature `postgres-tls` it may ask for an encrypted connection, which notices then have as well:
    ///
    /// | `sslmode` (or `PGSSLMODE`) | the connection |
    /// |---|---|
    /// | `disable`, `allow` | is in clear |
    /// | `prefer`, the default | is encrypted where the server can, with any certificate |
    /// | `require` | is encrypted, with any certificate |
    /// | `verify-ca` | is encrypted, with a certificate of an authority that is trusted |
    /// | `verify-full` | .. that is for this host: the only one that keeps others from standing between |
    ///
    /// Trusted are the authorities in the file `sslrootcert`, and those that browsers trust. `sslcert` and `sslkey` are
    /// the files of a certificate of one's own and its key, where the server asks for one. All are read anew with each
    /// dial.
    ///
    /// ```
    /// # #[cfg(feature = "postgres-tls")] {
    /// use fusebox::store::PostgresStore;
    ///
    /// let url = "postgres://app@db.internal/breakers?sslmode=verify-full&sslrootcert=/etc/ssl/our-ca.pem";
    /// let store = PostgresStore::builder().url(url).build()?;
    /// # let _ = store; }
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self.options = None;
        self
    }

    /// Where the server is, in sqlx's words. Whatever they say of encryption, sqlx needs for it what the feature
    /// `postgres-tls` brings, or another of its own `tls-` features.
    pub fn options(mut self, options: PgConnectOptions) -> Self {
        self.options = Some(Box::new(options));
        self.url = None;
        self
    }

    /// The same server as a pool's. Only its settings are taken, none of its connections.
    pub fn like(self, pool: &PgPool) -> Self {
        self.options((*pool.connect_options()).clone())
    }

    /// Keeps the keys of this store apart from those of others in the same table. None by default. Letters, digits,
    /// `_`, `.` and `-`, at most 64.
    ///
    /// Without one, a key is the row's `resource_key` as it is; with one, it stands in front with a colon.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The table; `hw_circuit_breakers` by default.
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// The schema that the table is in. By default it is wherever the server's `search_path` finds it, which is
    /// `public` unless a database or a role says otherwise. [`migrate`](Self::migrate) makes the schema where it is
    /// missing.
    ///
    /// ```
    /// use fusebox::store::PostgresStore;
    ///
    /// let store = PostgresStore::builder().url("postgres://app@db.internal/shop").schema("ops").table("breakers").build()?;
    /// # let _ = store;
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Lets [`migrate`](Self::migrate) give a role what it needs to use the store. It gives no more: to select, insert,
    /// update and delete in the four tables, and to execute the function. May be said for several roles. Each must be
    /// there.
    ///
    /// ```
    /// use fusebox::store::PostgresStore;
    ///
    /// let script = PostgresStore::builder().grant_to("app").migration()?;
    /// assert!(script.contains("grant execute on function \"hw_circuit_breakers_commit_v2\" to \"app\";"));
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn grant_to(mut self, role: impl Into<String>) -> Self {
        self.roles.push(role.into());
        self
    }

    /// Sets another address for notices. It is the server itself where `url` is that of a pooler, through which none
    /// would come.
    pub fn listen_url(mut self, url: impl Into<String>) -> Self {
        self.listen_url = Some(url.into());
        self
    }

    /// Asks for credentials before each dial. It is for passwords that are changed while applications run, or tokens
    /// that end in their place (IAM, Vault). What the address says of user and password is replaced by what comes, for
    /// notices as well. A provider that fails is asked again with the next dial.
    ///
    /// ```
    /// use fusebox::store::{Credentials, PostgresStore};
    ///
    /// async fn token() -> Result<String, std::io::Error> {
    ///     Ok("a token that is good for a quarter of an hour".to_owned())
    /// }
    ///
    /// let store = PostgresStore::builder()
    ///     .url("postgres://app@db.internal/breakers")
    ///     .credentials(|| async { Ok(Credentials::password(token().await?)) })
    ///     .build()?;
    /// # let _ = store;
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn credentials<F>(mut self, provider: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Credentials, BoxError>> + Send + 'static,
    {
        self.credentials = Some(Provider::new(provider));
        self
    }

    /// Prepares statements: less work for the server, by something like a third. Only for direct connections: a pooler in
    /// transaction mode may give one client's statement to another.
    pub fn prepared(mut self, prepared: bool) -> Self {
        self.prepared = prepared;
        self
    }

    /// How long an operation may take, dialling included; a second by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Lets [`migrate`](Self::migrate) turn `timestamp` columns into `timestamptz`. It does so with columns of an older
    /// table, taking what is in them for times of this zone, for example `UTC`. Rewrites the table. Without this, such
    /// columns stay, and times in them are UTC.
    pub fn widen_timestamps(mut self, zone: impl Into<String>) -> Self {
        self.widen_from = Some(zone.into());
        self
    }

    /// Sets how long the rows of breakers are kept that are no longer written. 7 days by default. Taken away are those
    /// whose record ran out, and closed ones without a record.
    pub fn keep_closed(mut self, time: Duration) -> Self {
        self.keep.closed = time;
        self
    }

    /// How long the log of transitions is kept; 30 days by default.
    pub fn keep_events(mut self, time: Duration) -> Self {
        self.keep.events = time;
        self
    }

    /// Sets how often a store that is written to [prunes](PostgresStore::prune) by itself. It does so in the
    /// background; once an hour by default. Of several stores that do so at the same moment, one does.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::store::PostgresStore;
    ///
    /// let store = PostgresStore::builder()
    ///     .url("postgres://app@db.internal/breakers")
    ///     .keep_events(Duration::from_secs(90 * 24 * 60 * 60))
    ///     .prune_every(Duration::MAX) // something else calls `prune`
    ///     .build()?;
    /// # let _ = store;
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn prune_every(mut self, interval: Duration) -> Self {
        self.keep.every = interval;
        self
    }

    /// Builds the store without connecting. A server that is away holds up no start.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the setting that cannot work.
    ///
    /// ```
    /// use fusebox::store::PostgresStore;
    ///
    /// let error = PostgresStore::builder().url("postgres://localhost").table("a; drop table b").build().unwrap_err();
    /// assert_eq!(error.field(), "table");
    /// ```
    pub fn build(self) -> Result<PostgresStore, ConfigError> {
        let options = self.connect_options()?;
        let listening = match &self.listen_url {
            Some(url) => address::parse("listen_url", url)?,
            None => options.clone(),
        };
        let listening = self.dialler(listening);
        for (field, given) in [("timeout", self.timeout), ("prune_every", self.keep.every)] {
            if given.is_zero() {
                return Err(ConfigError::new(field, &"0 s", "more than nothing"));
            }
        }
        self.check()?;
        let table = Table::new(&self.schema, &self.table)?;
        let connections = Connections::new(self.dialler(options), self.timeout, self.prepared);
        Ok(PostgresStore::with(Settings {
            pruner: Pruner::new(connections.clone(), table.clone(), self.keep),
            connections,
            listening,
            table,
            namespace: self.namespace,
            prepared: self.prepared,
        }))
    }

    /// Builds the store, connects, and looks whether the schema is there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] for a setting that cannot work (a [`ConfigError`] is the source), wrong credentials, missing
    /// rights, and a missing schema, with what is to be done; [`StoreError::Unavailable`] when the server was not reached.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), fusebox::store::StoreError> {
    /// use fusebox::store::PostgresStore;
    ///
    /// let store = PostgresStore::builder().url("postgres://app@db.internal/breakers").prepared(true).connect().await?;
    /// # let _ = store; Ok(()) }
    /// ```
    pub async fn connect(self) -> Result<PostgresStore, StoreError> {
        let store = self.build().map_err(StoreError::refused)?;
        store.check().await?;
        store.hang_up();
        Ok(store)
    }

    /// Creates the table and what belongs to it, or adds what is missing. Running it again changes nothing, and then
    /// takes no lock on a table, so it may run beside a fleet at work. Rows and columns of an older table stay. All or
    /// nothing, in one transaction that waits for others who migrate. Where something is to be added to a table that
    /// others use, it waits 300 ms for its turn and tries again a second later, so that none of them waits longer than
    /// that.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] for a setting that cannot work and for a role that may not; [`StoreError::Unavailable`] when
    /// the server was not reached, or the table was not free for half a minute.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), fusebox::store::StoreError> {
    /// use fusebox::store::PostgresStore;
    ///
    /// PostgresStore::builder().url("postgres://owner@db.internal/breakers").table("breakers").migrate().await
    /// # }
    /// ```
    pub async fn migrate(self) -> Result<(), StoreError> {
        let script = self.migration().map_err(StoreError::refused)?;
        let options = self.connect_options().map_err(StoreError::refused)?;
        on_one_connection(self.dialler(options), async |connection| {
            let started = timer_now();
            loop {
                let done = sqlx::raw_sql(AssertSqlSafe(script.as_str())).execute(&mut *connection).await;
                match done {
                    // Who waits for a lock on a table holds up all who come later, and so does the server's queue for it.
                    Err(error) if is_locked(&error) && started.elapsed() < MIGRATION_PATIENCE => {
                        sqlx::raw_sql("rollback").execute(&mut *connection).await?;
                        sleep(MIGRATION_PAUSE).await;
                    }
                    done => return done.map(|_| ()),
                }
            }
        })
        .await
    }

    /// Returns what [`migrate`](Self::migrate) would run, for those who run such things themselves.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a name that cannot be a table's or a zone's.
    ///
    /// ```
    /// let script = fusebox::store::PostgresStore::builder().table("breakers").migration()?;
    /// assert!(script.starts_with("begin;") && script.contains("\"breakers\""));
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn migration(&self) -> Result<String, ConfigError> {
        let table = Table::new(&self.schema, &self.table)?;
        self.roles.iter().try_for_each(|role| schema::check_identifier("grant_to", role))?;
        if let Some(zone) = &self.widen_from {
            schema::check_zone(zone)?;
        }
        Ok(schema::migration(&table, self.widen_from.as_deref(), &self.roles))
    }

    /// Creates the database, unless it is there. Connects to the database `postgres` for that.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] for a setting that cannot work and for a role that may not; [`StoreError::Unavailable`] when
    /// the server was not reached.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), fusebox::store::StoreError> {
    /// use fusebox::store::PostgresStore;
    ///
    /// PostgresStore::builder().url("postgres://owner@db.internal/breakers").create_database().await
    /// # }
    /// ```
    pub async fn create_database(self) -> Result<(), StoreError> {
        let options = self.connect_options().map_err(StoreError::refused)?;
        let name = options.get_database().unwrap_or_else(|| options.get_username()).to_owned();
        on_one_connection(self.dialler(options.database("postgres")), async |connection| {
            if Statement::has_database(&name).run(connection).await?.is_empty() {
                let create = format!("create database \"{}\"", name.replace('"', "\"\""));
                sqlx::raw_sql(AssertSqlSafe(create)).execute(connection).await?;
            }
            Ok(())
        })
        .await
    }

    /// Looks at the names, without an address.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if self.namespace.len() > LONGEST_NAMESPACE || !self.namespace.bytes().all(is_plain) {
            let allowed = "at most 64 letters, digits, `_`, `.` and `-`";
            return Err(ConfigError::new("namespace", &self.namespace.escape_debug(), allowed));
        }
        Table::new(&self.schema, &self.table).map(|_| ())
    }

    fn dialler(&self, options: PgConnectOptions) -> Dialler {
        Dialler { options, credentials: self.credentials.clone() }
    }

    fn connect_options(&self) -> Result<PgConnectOptions, ConfigError> {
        match (&self.options, &self.url) {
            (Some(options), _) => Ok(address::ours((**options).clone())),
            (None, Some(url)) => address::parse("url", url),
            (None, None) => Err(ConfigError::new("url", &"missing", "a URL, or `options`, or `like`")),
        }
    }
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither URLs nor options: they hold passwords.
        f.debug_struct("PostgresStoreBuilder")
            .field("namespace", &self.namespace)
            .field("schema", &self.schema)
            .field("table", &self.table)
            .field("prepared", &self.prepared)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
