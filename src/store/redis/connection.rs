//! One connection that all operations share, and the task that dials it again.
//!
//! Not redis' own `ConnectionManager`: while a server is gone its calls wait for seconds, and one that is frozen it never
//! dials again.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::sentinel::SentinelClient;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult};
use tokio::runtime::{Handle, Id};
use tokio::sync::{OnceCell, watch};
use tokio::time::{sleep, timeout};

use super::failure::{Failure, Secrets};
use super::nodes::Nodes;
use crate::store::credentials::{Credentials, Provider};
use crate::store::redial;

/// Operations in a row without an answer after which a connection is given up.
const MOST_SILENT: u32 = 3;
/// For how long an operation waits for a connection that was lost to be dialled again.
const MOST_REDIAL: Duration = Duration::from_millis(250);

/// How long Sentinels have to name the primary, at least. The driver gives one up that says nothing after a second, and asks
/// three at a time: that many seconds pass over eight of them.
const FOR_SENTINELS: Duration = Duration::from_secs(3);

/// How to find a server.
#[derive(Clone)]
pub(super) enum Finder {
    /// It is always there.
    Fixed(Box<redis::Client>),
    /// Sentinels know which of them it is just now.
    Sentinel(Arc<tokio::sync::Mutex<SentinelClient>>),
    /// Any of a cluster's nodes will do, and another one the next time.
    Cluster(Arc<Nodes>),
}

impl Finder {
    /// Those that have to ask are given up after `limit`.
    async fn find(&self, limit: Duration) -> RedisResult<redis::Client> {
        match self {
            Self::Fixed(client) => Ok((**client).clone()),
            Self::Sentinel(sentinel) => {
                // One after the other, and each with all of the time: what one has learnt helps the next.
                let mut sentinel = sentinel.lock().await;
                let late =
                    || RedisError::from((ErrorKind::Io, "no Sentinel names a primary", format!("within {limit:?}")));
                timeout(limit, sentinel.async_get_client()).await.unwrap_or_else(|_| Err(late()))
            }
            Self::Cluster(nodes) => Ok(nodes.next()),
        }
    }
}

impl fmt::Display for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(client) => client.get_connection_info().addr().fmt(f),
            Self::Sentinel(_) => f.write_str("whom the sentinels name"),
            Self::Cluster(nodes) => nodes.fmt(f),
        }
    }
}

/// How to reach a server, and how long to wait for it.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) finder: Finder,
    /// Asked before each dial, where the address does not say all.
    pub(super) credentials: Option<Provider>,
    pub(super) secrets: Secrets,
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
}

impl Reach {
    /// The same for one server.
    pub(super) fn to(&self, client: redis::Client) -> Self {
        Self { finder: Finder::Fixed(Box::new(client)), ..self.clone() }
    }

    /// Runs a step of connecting to the server there is: finds it, learns by what to log in, and does the rest in time.
    ///
    /// Its type is hidden, or the compiler gives up deep inside an application's own futures.
    pub(super) fn connected<'a, T, F>(
        &'a self,
        step: impl FnOnce(redis::Client) -> F + Send + 'a,
    ) -> Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>
    where
        T: Send + 'a,
        F: Future<Output = RedisResult<T>> + Send + 'a,
    {
        Box::pin(async move {
            let found = self.finder.find(self.connect_timeout.max(FOR_SENTINELS)).await;
            let found = found.map_err(|error| Failure::of(&error, &self.secrets))?;
            self.within(self.connect_timeout, async { step(self.with_credentials(found).await?).await }).await
        })
    }

    async fn with_credentials(&self, client: redis::Client) -> RedisResult<redis::Client> {
        let Some(provider) = &self.credentials else {
            return Ok(client);
        };
        let refused = |why: String| RedisError::from((ErrorKind::AuthenticationFailed, "credentials", why));
        let Credentials { user, password } = provider.ask().await.map_err(refused)?;
        let info = client.get_connection_info().clone();
        let mut settings = info.redis_settings().clone().set_password(password);
        if let Some(user) = user {
            settings = settings.set_username(user);
        }
        redis::Client::open(info.set_redis_settings(settings))
    }

    /// Connects, and asks for the time: only an answer proves that the server lets us in and is ready.
    pub(super) async fn dial(&self) -> Result<MultiplexedConnection, Failure> {
        let connect = |client: redis::Client| async move {
            // The timeouts are ours: one around everything, and none inside.
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            redis::cmd("TIME").exec_async(&mut connection).await?;
            Ok(connection)
        };
        self.connected(connect).await
    }

    /// Runs a step of connecting.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        step: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, Failure> {
        match timeout(limit, step).await {
            Ok(done) => done.map_err(|error| Failure::of(&error, &self.secrets)),
            Err(_) => Err(Failure::away(format!("no answer to a dial within {limit:?}"))),
        }
    }
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").field("address", &format_args!("{}", self.finder)).finish_non_exhaustive()
    }
}

/// The connection, and another one on each runtime that uses it: connections live and stall with the runtime that they were
/// made on. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reach: Reach,
    slots: Mutex<Slots>,
}

/// Runtimes that use a store at the same time, at most.
const RUNTIMES: usize = 4;

/// One for each runtime, that of the newest last.
#[derive(Debug, Default)]
struct Slots(Vec<Slot>);

#[derive(Debug)]
struct Slot {
    runtime: Here,
    link: Link,
    /// Tells an old connection from the one that took its place.
    number: u64,
    is_dialling: bool,
    /// An operation asked for it, not only a test whether it can be had.
    is_used: bool,
    /// Whether the first operation has connected, or tried to.
    first: Arc<OnceCell<()>>,
    /// Ends when a connection that was lost has been dialled again once, with or without success.
    redial: Option<watch::Receiver<()>>,
}

#[derive(Debug)]
enum Link {
    Up { connection: MultiplexedConnection, silent: u32 },
    Down(Failure),
}

/// The runtime that this runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Here(Option<Id>);

impl Here {
    pub(super) fn find() -> Self {
        Self(Handle::try_current().ok().map(|runtime| runtime.id()))
    }
}

impl Slots {
    fn of(&mut self, runtime: Here) -> &mut Slot {
        let at = match self.0.iter().position(|slot| slot.runtime == runtime) {
            Some(at) => at,
            None => {
                if self.0.len() >= RUNTIMES {
                    // That runtime has mostly ended.
                    self.0.remove(0);
                }
                let link = Link::Down(Failure::away("not connected yet"));
                let first = Arc::default();
                let (number, is_dialling, is_used, redial) = (0, false, false, None);
                self.0.push(Slot { runtime, link, number, is_dialling, is_used, first, redial });
                self.0.len() - 1
            }
        };
        &mut self.0[at]
    }
}

impl Connection {
    pub(super) fn new(reach: Reach) -> Self {
        Self { shared: Arc::new(Shared { reach, slots: Mutex::default() }) }
    }

    pub(super) fn reach(&self) -> &Reach {
        &self.shared.reach
    }

    /// Connects now and says how that went.
    pub(super) async fn connect(&self) -> Result<(), Failure> {
        let connection = self.reach().dial().await.map_err(Failure::unsent)?;
        self.shared.connected(Here::find(), connection);
        Ok(())
    }

    async fn connect_first(&self, here: Here) {
        let is_needed = {
            let mut slots = self.shared.slots();
            let slot = slots.of(here);
            slot.is_used = true;
            matches!(slot.link, Link::Down(_)) && !slot.is_dialling
        };
        if is_needed {
            self.connect().await.ok();
        }
    }

    /// Whether it is up. Where not, makes sure that a task dials.
    pub(super) fn is_up(&self) -> bool {
        self.shared.current(Here::find()).is_ok()
    }

    /// Runs an operation over the connection. Where there is none it fails at once, and makes sure that a task dials;
    /// only the very first operation, and the first ones after a connection was lost, wait until that has been tried
    /// once: a server that ends a connection is not away.
    pub(super) async fn run<T, F>(&self, operation: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let here = Here::find();
        let first = self.shared.slots().of(here).first.clone();
        // Where this fails, the next line makes sure that a task goes on dialling.
        first.get_or_init(async || self.connect_first(here).await).await;
        let limit = self.reach().timeout;
        let redial = self.shared.slots().of(here).redial.clone();
        if let Some(mut redial) = redial {
            // Nothing is ever sent: it ends with its sender. In vain or in time, the next line says what came of it.
            timeout(limit.min(MOST_REDIAL), redial.changed()).await.ok();
        }
        let (connection, number) = self.shared.current(here)?;
        match timeout(limit, operation(connection)).await {
            Ok(Ok(answer)) => {
                self.shared.heard(here, number);
                Ok(answer)
            }
            Ok(Err(error)) => {
                let failure = Failure::of(&error, &self.reach().secrets);
                if failure.needs_redial() {
                    self.shared.lost(here, number, failure.clone());
                } else {
                    self.shared.heard(here, number);
                }
                Err(failure)
            }
            Err(_) => {
                self.shared.silent(here, number);
                Err(Failure::silent(format!("no answer within {limit:?}")))
            }
        }
    }
}

impl Shared {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(self: &Arc<Self>, here: Here) -> Result<(MultiplexedConnection, u64), Failure> {
        let mut slots = self.slots();
        let slot = slots.of(here);
        slot.is_used = true;
        match &slot.link {
            Link::Up { connection, .. } => Ok((connection.clone(), slot.number)),
            Link::Down(failure) => {
                let failure = failure.clone().unsent();
                self.see_to_dialling(slot);
                Err(failure)
            }
        }
    }

    fn connected(&self, here: Here, connection: MultiplexedConnection) {
        let mut slots = self.slots();
        let slot = slots.of(here);
        slot.number += 1;
        slot.link = Link::Up { connection, silent: 0 };
        if slot.is_used {
            // The store was connected on one runtime, and is used on another.
            slots.0.retain(|slot| slot.is_used || slot.is_dialling);
        }
    }

    fn heard(&self, here: Here, number: u64) {
        let mut slots = self.slots();
        let slot = slots.of(here);
        if slot.number == number
            && let Link::Up { silent, .. } = &mut slot.link
        {
            *silent = 0;
        }
    }

    fn silent(self: &Arc<Self>, here: Here, number: u64) {
        let mut slots = self.slots();
        let slot = slots.of(here);
        if slot.number == number
            && let Link::Up { silent, .. } = &mut slot.link
        {
            *silent += 1;
            if *silent >= MOST_SILENT {
                slot.link = Link::Down(Failure::away("the server stopped answering"));
                self.see_to_dialling(slot);
            }
        }
    }

    fn lost(self: &Arc<Self>, here: Here, number: u64, failure: Failure) {
        let mut slots = self.slots();
        let slot = slots.of(here);
        if slot.number == number && matches!(slot.link, Link::Up { .. }) {
            slot.link = Link::Down(failure);
            self.see_to_dialling(slot);
        }
    }

    fn see_to_dialling(self: &Arc<Self>, slot: &mut Slot) {
        if !slot.is_dialling {
            slot.is_dialling = true;
            let is_first = slot.number == 0;
            let (redial, tried) = watch::channel(());
            slot.redial = (!is_first).then_some(tried);
            tokio::spawn(
                Dialler { shared: Arc::downgrade(self), runtime: slot.runtime, is_first, redial: Some(redial) }.run(),
            );
        }
    }
}

/// Dials until it gets through, the store is gone, or its runtime ends: then the next operation sends another.
struct Dialler {
    shared: Weak<Shared>,
    runtime: Here,
    is_first: bool,
    /// Dropped after the first try.
    redial: Option<watch::Sender<()>>,
}

impl Dialler {
    async fn run(mut self) {
        let mut delays = redial::delays();
        if !self.is_first {
            sleep(delays.next().unwrap_or_default()).await;
        }
        while let Some(shared) = self.shared.upgrade() {
            match shared.reach.dial().await {
                Ok(connection) => {
                    shared.connected(self.runtime, connection);
                    return;
                }
                Err(failure) => shared.slots().of(self.runtime).link = Link::Down(failure),
            }
            self.redial = None;
            drop(shared);
            sleep(delays.next().unwrap_or_default()).await;
        }
    }
}

impl Drop for Dialler {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.slots().of(self.runtime).is_dialling = false;
        }
    }
}
