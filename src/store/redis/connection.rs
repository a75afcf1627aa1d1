//! One connection that everybody shares, and whoever dials it again.
//!
//! Not redis' own `ConnectionManager`: while a server is gone its calls wait for seconds, and one that is frozen it never
//! dials again.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::sentinel::SentinelClient;
use redis::{AsyncConnectionConfig, RedisResult};
use tokio::time::{sleep, timeout};

use super::failure::{Failure, Secrets};
use super::members::Members;
use crate::backoff::{self, Backoff, Delays};
use crate::clock::fresh_seed;

/// Operations in a row without an answer after which a connection is given up.
const MOST_SILENT: u32 = 3;

/// How long to wait before each try to connect.
pub(super) fn delays() -> Delays {
    backoff::exponential(Duration::from_millis(100)..=Duration::from_secs(10)).delays(fresh_seed())
}

/// How to find a server.
#[derive(Clone)]
pub(super) enum Finder {
    /// It is always there.
    Fixed(Box<redis::Client>),
    /// Sentinels know which of them it is just now.
    Sentinel(Arc<tokio::sync::Mutex<SentinelClient>>),
    /// Any of a cluster's nodes will do, and another one the next time.
    Cluster(Arc<Members>),
}

impl Finder {
    pub(super) async fn find(&self) -> RedisResult<redis::Client> {
        match self {
            Self::Fixed(client) => Ok((**client).clone()),
            Self::Sentinel(sentinel) => sentinel.lock().await.async_get_client().await,
            Self::Cluster(members) => Ok(members.next()),
        }
    }
}

impl fmt::Display for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(client) => client.get_connection_info().addr().fmt(f),
            Self::Sentinel(_) => f.write_str("whom the sentinels name"),
            Self::Cluster(members) => members.fmt(f),
        }
    }
}

/// How to reach a server, and how long to wait for it.
#[derive(Clone)]
pub(super) struct Reach {
    pub(super) finder: Finder,
    pub(super) secrets: Secrets,
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
}

impl Reach {
    /// The same for one server.
    pub(super) fn to(&self, client: redis::Client) -> Self {
        Self { finder: Finder::Fixed(Box::new(client)), ..self.clone() }
    }

    /// Connects, and asks for the time: only an answer proves that the server lets us in and is ready.
    pub(super) async fn dial(&self) -> Result<MultiplexedConnection, Failure> {
        // The timeouts are ours: one around everything, and none inside.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connected = async {
            let client = self.finder.find().await?;
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            redis::cmd("TIME").exec_async(&mut connection).await?;
            Ok(connection)
        };
        self.within(self.connect_timeout, connected).await
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

/// The connection. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reach: Reach,
    slot: Mutex<Slot>,
}

#[derive(Debug)]
struct Slot {
    link: Link,
    /// Tells an old connection from the one that took its place.
    number: u64,
    is_dialling: bool,
    /// Nobody has used it yet.
    is_new: bool,
}

#[derive(Debug)]
enum Link {
    Up { connection: MultiplexedConnection, silent: u32 },
    Down(Failure),
}

impl Connection {
    pub(super) fn new(reach: Reach) -> Self {
        let slot =
            Slot { link: Link::Down(Failure::away("not connected yet")), number: 0, is_dialling: false, is_new: true };
        Self { shared: Arc::new(Shared { reach, slot: Mutex::new(slot) }) }
    }

    pub(super) fn reach(&self) -> &Reach {
        &self.shared.reach
    }

    /// Connects now and says how that went.
    pub(super) async fn connect(&self) -> Result<(), Failure> {
        let connection = self.reach().dial().await.map_err(Failure::unsent)?;
        self.shared.connected(connection);
        Ok(())
    }

    /// Whether it is up. Where not, sees to it that somebody dials.
    pub(super) fn is_up(&self) -> bool {
        self.shared.current().is_ok()
    }

    /// Runs an operation over the connection. Where there is none it fails at once, and sees to it that somebody dials; only
    /// the very first operation connects by itself.
    pub(super) async fn run<T, F>(&self, operation: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        if self.shared.is_first_use() {
            // Where this fails, the next line sees to it that somebody goes on dialling.
            self.connect().await.ok();
        }
        let (connection, number) = self.shared.current()?;
        let limit = self.reach().timeout;
        match timeout(limit, operation(connection)).await {
            Ok(Ok(answer)) => {
                self.shared.heard(number);
                Ok(answer)
            }
            Ok(Err(error)) => {
                let failure = Failure::of(&error, &self.reach().secrets);
                if failure.needs_redial() {
                    self.shared.lost(number, failure.clone());
                } else {
                    self.shared.heard(number);
                }
                Err(failure)
            }
            Err(_) => {
                self.shared.silent(number);
                Err(Failure::silent(format!("no answer within {limit:?}")))
            }
        }
    }
}

impl Shared {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_first_use(&self) -> bool {
        let mut slot = self.slot();
        std::mem::take(&mut slot.is_new) && matches!(slot.link, Link::Down(_)) && !slot.is_dialling
    }

    fn current(self: &Arc<Self>) -> Result<(MultiplexedConnection, u64), Failure> {
        let mut slot = self.slot();
        match &slot.link {
            Link::Up { connection, .. } => Ok((connection.clone(), slot.number)),
            Link::Down(failure) => {
                let failure = failure.clone().unsent();
                self.see_to_dialling(&mut slot);
                Err(failure)
            }
        }
    }

    fn connected(&self, connection: MultiplexedConnection) {
        let mut slot = self.slot();
        slot.number += 1;
        slot.link = Link::Up { connection, silent: 0 };
    }

    fn heard(&self, number: u64) {
        let mut slot = self.slot();
        if slot.number == number
            && let Link::Up { silent, .. } = &mut slot.link
        {
            *silent = 0;
        }
    }

    fn silent(self: &Arc<Self>, number: u64) {
        let mut slot = self.slot();
        if slot.number == number
            && let Link::Up { silent, .. } = &mut slot.link
        {
            *silent += 1;
            if *silent >= MOST_SILENT {
                slot.link = Link::Down(Failure::away("the server stopped answering"));
                self.see_to_dialling(&mut slot);
            }
        }
    }

    fn lost(self: &Arc<Self>, number: u64, failure: Failure) {
        let mut slot = self.slot();
        if slot.number == number && matches!(slot.link, Link::Up { .. }) {
            slot.link = Link::Down(failure);
            self.see_to_dialling(&mut slot);
        }
    }

    fn see_to_dialling(self: &Arc<Self>, slot: &mut Slot) {
        if !slot.is_dialling {
            slot.is_dialling = true;
            let dialler = Dialler { shared: Arc::downgrade(self), is_first: slot.number == 0 };
            tokio::spawn(dialler.run());
        }
    }
}

/// Dials until it gets through, the store is gone, or its runtime ends: then the next operation sends another.
struct Dialler {
    shared: Weak<Shared>,
    is_first: bool,
}

impl Dialler {
    async fn run(self) {
        let mut delays = delays();
        if !self.is_first {
            sleep(delays.next().unwrap_or_default()).await;
        }
        while let Some(shared) = self.shared.upgrade() {
            match shared.reach.dial().await {
                Ok(connection) => {
                    shared.connected(connection);
                    return;
                }
                Err(failure) => shared.slot().link = Link::Down(failure),
            }
            drop(shared);
            sleep(delays.next().unwrap_or_default()).await;
        }
    }
}

impl Drop for Dialler {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.slot().is_dialling = false;
        }
    }
}
