//! How a Redis store is put together.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::sentinel::SentinelClient;
use tokio::sync::Mutex;

use super::connection::{Finder, Reach};
use super::failure::Secrets;
use super::nodes::Nodes;
use super::store::RedisStore;
use crate::error::BoxError;
use crate::error::ConfigError;
use crate::store::credentials::{Credentials, Provider};
use crate::store::error::StoreError;

/// Where a Redis server is. A URL; a [`redis::Client`] for all that a URL cannot say (certificates, socket options); a
/// [`SentinelClient`] for a primary that moves; or [some nodes of a cluster](Self::cluster).
///
/// A primary that is replaced may lose the last writes that it had acknowledged; no client can do anything about that.
/// Versions are times, so none of them comes twice.
///
/// ```
/// use fusebox::store::RedisServer;
///
/// let server = RedisServer::from("redis://:secret@127.0.0.1:6379/2");
/// assert!(!format!("{server:?}").contains("secret"));
/// ```
///
/// With certificates of one's own, which takes the feature `redis-tls`. Without any, the server's must come from an
/// authority that browsers trust as well.
///
/// ```
/// # #[cfg(feature = "redis-tls")]
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use fusebox::store::RedisStore;
/// use redis::{Client, TlsCertificates};
///
/// let root_cert = Some(std::fs::read("/etc/ssl/our-ca.pem")?);
/// // Or a certificate and its key, where the server asks for one.
/// let certificates = TlsCertificates { client_tls: None, root_cert };
/// let client = Client::build_with_tls("rediss://:secret@redis.internal", certificates)?;
/// let store = RedisStore::connect(client).await?;
/// # let _ = store;
/// # Ok(()) }
/// ```
///
/// With Sentinels:
///
/// ```
/// use fusebox::store::RedisStore;
/// use redis::sentinel::{SentinelClient, SentinelServerType};
///
/// let sentinels = vec!["redis://10.0.0.1:26379", "redis://10.0.0.2:26379"];
/// let client = SentinelClient::build(sentinels, "main".to_owned(), None, SentinelServerType::Master)?;
/// let store = RedisStore::builder(client).build()?;
/// # let _ = store;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RedisServer(Server);

enum Server {
    Url(String),
    Client(Box<redis::Client>),
    Sentinel(Box<SentinelClient>),
    Cluster(Vec<RedisServer>),
}

impl From<&str> for RedisServer {
    fn from(url: &str) -> Self {
        Self(Server::Url(url.to_owned()))
    }
}

impl From<String> for RedisServer {
    fn from(url: String) -> Self {
        Self(Server::Url(url))
    }
}

impl From<&String> for RedisServer {
    fn from(url: &String) -> Self {
        Self(Server::Url(url.clone()))
    }
}

impl From<redis::Client> for RedisServer {
    fn from(client: redis::Client) -> Self {
        Self(Server::Client(Box::new(client)))
    }
}

impl From<SentinelClient> for RedisServer {
    fn from(client: SentinelClient) -> Self {
        Self(Server::Sentinel(Box::new(client)))
    }
}

impl fmt::Debug for RedisServer {
    /// Says nothing of what is in it, which may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisServer").finish_non_exhaustive()
    }
}

const URLS: &str = "`redis://[user:password@]host[:port][/database]`, `unix://path`, and `rediss://..` with the feature \
    `redis-tls`";
const NODES: &str = "one node of the cluster at least, each with a host and without a database";
const NAMESPACES: &str = "1 to 64 of A-Z, a-z, 0-9, `_`, `.`, `-`";

impl RedisServer {
    /// A cluster, of which some nodes are given to begin with: URLs or clients. Whatever they do not say is learnt from
    /// them, and the others are reached with the credentials and certificates of the first.
    ///
    /// Breakers have the same keys as on a single server, spread over 16 slots for each namespace. Where a primary fails,
    /// its breakers come back with the replica that takes over; those on other nodes are not held up. Their versions are
    /// times of the node that they are on. Notices are for all nodes, so it is enough to listen to one.
    ///
    /// ```
    /// use fusebox::store::{RedisServer, RedisStore};
    ///
    /// let cluster = RedisServer::cluster(["redis://10.0.0.1:6379", "redis://10.0.0.2:6379"]);
    /// let store = RedisStore::builder(cluster).namespace("orders").build()?;
    /// # let _ = store;
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[must_use]
    pub fn cluster<I>(nodes: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Self>,
    {
        Self(Server::Cluster(nodes.into_iter().map(Into::into).collect()))
    }

    /// The only place that it can be.
    fn client(self) -> Result<redis::Client, ConfigError> {
        // The reason is dropped: it may quote the URL.
        let wrong = || ConfigError::new("url", &"something else (not shown, a password may be in it)", URLS);
        let client = match self.0 {
            Server::Url(url) => redis::Client::open(url).map_err(|_| wrong())?,
            Server::Client(client) => *client,
            Server::Sentinel(_) | Server::Cluster(_) => return Err(ConfigError::new("url", &"several servers", URLS)),
        };
        if client.get_connection_info().addr().is_supported() { Ok(client) } else { Err(wrong()) }
    }

    fn finder(self) -> Result<(Finder, Secrets), ConfigError> {
        match self.0 {
            // What is secret there cannot be asked for; redis quotes it nowhere.
            Server::Sentinel(client) => Ok((Finder::Sentinel(Arc::new(Mutex::new(*client))), Secrets::default())),
            Server::Cluster(nodes) => {
                let nodes = nodes.into_iter().map(Self::client).collect::<Result<Vec<_>, _>>()?;
                let secrets = Secrets::of(&nodes);
                let nodes = Nodes::new(nodes).ok_or_else(|| ConfigError::new("url", &"something else", NODES))?;
                Ok((Finder::Cluster(Arc::new(nodes)), secrets))
            }
            Server::Url(_) | Server::Client(_) => {
                let client = self.client()?;
                let secrets = Secrets::of(std::slice::from_ref(&client));
                Ok((Finder::Fixed(Box::new(client)), secrets))
            }
        }
    }
}

/// Puts a [`RedisStore`] together; from [`RedisStore::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build` or `connect`"]
pub struct RedisStoreBuilder {
    server: RedisServer,
    credentials: Option<Provider>,
    namespace: String,
    timeout: Duration,
    connect_timeout: Duration,
}

impl RedisStore {
    /// Connects to a server, with every default.
    ///
    /// # Errors
    ///
    /// Fails when the address cannot be one, and when the server is not reached or refuses. To start without the server, use
    /// [`build`](RedisStoreBuilder::build).
    ///
    /// ```no_run
    /// use fusebox::store::{RedisStore, StoreError};
    ///
    /// # async fn example() -> Result<(), StoreError> {
    /// let store = RedisStore::connect("redis://127.0.0.1").await?;
    /// # let _ = store;
    /// # Ok(()) }
    /// ```
    pub async fn connect(server: impl Into<RedisServer>) -> Result<Self, StoreError> {
        Self::builder(server).connect().await
    }

    /// Begins a store for a server. It is a URL, a [`redis::Client`], or what Sentinels watch over.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::store::RedisStore;
    ///
    /// let store = RedisStore::builder("redis://127.0.0.1")
    ///     .namespace("orders")
    ///     .timeout(Duration::from_millis(200))
    ///     .build()?; // connects when it is first asked for something
    /// # let _ = store;
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn builder(server: impl Into<RedisServer>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(server.into())
    }
}

impl RedisStoreBuilder {
    fn new(server: RedisServer) -> Self {
        Self {
            server,
            credentials: None,
            namespace: "fb".to_owned(),
            timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(1),
        }
    }

    /// Keeps the records apart from those of other namespaces on the same server. 1 to 64 of A-Z, a-z, 0-9, `_`, `.`, `-`;
    /// default `fb`.
    ///
    /// ```
    /// use fusebox::store::RedisStore;
    ///
    /// assert!(RedisStore::builder("redis://127.0.0.1").namespace("orders-eu.v2").build().is_ok());
    /// assert!(RedisStore::builder("redis://127.0.0.1").namespace("orders eu").build().is_err());
    /// ```
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Asks for credentials before each dial. It is for passwords that are changed while applications run, or tokens
    /// that end in their place (IAM, Vault). What the address says of user and password is replaced by what comes. A
    /// provider that fails is asked again with the next dial, at most a second later.
    ///
    /// ```
    /// use fusebox::store::{Credentials, RedisStore};
    ///
    /// async fn token() -> Result<String, std::io::Error> {
    ///     Ok("a token that is good for a quarter of an hour".to_owned())
    /// }
    ///
    /// let store = RedisStore::builder("redis://app@cache.internal")
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

    /// Gives an operation up after this time; default 500 ms. After three in a row the connection is given up as well.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::store::RedisStore;
    ///
    /// let store = RedisStore::builder("redis://127.0.0.1").timeout(Duration::from_secs(1)).build()?;
    /// # let _ = store;
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Gives a connection up that is not ready after this time; default 1 s. Sentinels have at least 3 s besides to name the
    /// primary: the first ones may be silent, and each costs up to a second.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::store::RedisStore;
    ///
    /// let store = RedisStore::builder("redis://127.0.0.1").connect_timeout(Duration::from_secs(3)).build()?;
    /// # let _ = store;
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Makes a store that connects when it is first asked for something. It also starts while the server is away.
    ///
    /// # Errors
    ///
    /// Says which setting cannot work. The text never quotes a URL, in which a password may be.
    ///
    /// ```
    /// use fusebox::store::RedisStore;
    ///
    /// let error = RedisStore::builder("http://:secret@127.0.0.1").build().unwrap_err();
    /// assert_eq!(error.field(), "url");
    /// assert!(!error.to_string().contains("secret"));
    /// ```
    pub fn build(self) -> Result<RedisStore, ConfigError> {
        let Self { server, credentials, namespace, timeout, connect_timeout } = self;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if !(1..=64).contains(&namespace.len()) || !namespace.bytes().all(is_plain) {
            return Err(ConfigError::new("namespace", &format!("{namespace:?}"), NAMESPACES));
        }
        for (field, given) in [("timeout", timeout), ("connect_timeout", connect_timeout)] {
            if given.is_zero() {
                return Err(ConfigError::new(field, &"0", "more than nothing"));
            }
        }
        let (finder, secrets) = server.finder()?;
        let secrets = secrets.and_of(credentials.as_ref());
        Ok(RedisStore::new(Reach { finder, credentials, secrets, timeout, connect_timeout }, namespace))
    }

    /// Makes a store and connects it.
    ///
    /// # Errors
    ///
    /// Fails when a setting cannot work ([`StoreError::Refused`] with the [`ConfigError`] as its source), when the server is
    /// not reached, and when it refuses.
    ///
    /// ```no_run
    /// use fusebox::store::{RedisStore, StoreError};
    ///
    /// # async fn example() -> Result<(), StoreError> {
    /// let store = RedisStore::builder("redis://127.0.0.1").namespace("orders").connect().await?;
    /// # let _ = store;
    /// # Ok(()) }
    /// ```
    pub async fn connect(self) -> Result<RedisStore, StoreError> {
        let store = self.build().map_err(StoreError::refused)?;
        store.dial().await?;
        Ok(store)
    }
}
