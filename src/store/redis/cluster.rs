//! A cluster: which of its nodes owns which shard, and a connection to each owner.
//!
//! Not redis' own cluster connection. It sends a command again whose connection broke under it, and then says
//! "conflict" of a write that it had carried out itself; and while it asks for the owners of slots, one node that
//! stands still keeps all other operations waiting.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

use super::connection::{Connection, Finder, Here, Reach};
use super::failure::Failure;
use super::join_all::join_all;
use super::layout::SHARDS;
use super::nodes::{Address, Nodes, Range, ranges};
use crate::backoff::{self, Backoff};
use crate::clock::fresh_seed;

/// The connections to a cluster.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    reach: Reach,
    nodes: Arc<Nodes>,
    /// The slot of each shard.
    slots: Vec<u16>,
    routes: Mutex<Routes>,
    /// Whether the first operation has asked who owns what.
    first: OnceCell<()>,
}

#[derive(Debug)]
struct Routes {
    /// Who owns each shard.
    owners: Vec<Option<Address>>,
    connections: HashMap<Address, Connection>,
    /// Runtimes on which a task asks who owns what: what stalls one runtime must not keep another from asking.
    asking: HashSet<Here>,
    /// Why shards have no owner.
    why: Failure,
}

impl Cluster {
    /// `slots`: that of each shard.
    pub(super) fn new(reach: Reach, nodes: Arc<Nodes>, slots: Vec<u16>) -> Self {
        let routes = Routes {
            owners: vec![None; usize::from(SHARDS)],
            connections: HashMap::new(),
            asking: HashSet::new(),
            why: Failure::away("not connected yet"),
        };
        Self { shared: Arc::new(Shared { reach, nodes, slots, routes: Mutex::new(routes), first: OnceCell::new() }) }
    }

    pub(super) fn reach(&self) -> &Reach {
        &self.shared.reach
    }

    /// Connects to every owner now and says how that went.
    pub(super) async fn connect(&self) -> Result<(), Failure> {
        self.shared.ask().await?;
        let owners = self.shared.routes().all_owners()?;
        join_all(owners.into_iter().map(|owner| async move { owner.connect().await })).await.into_iter().collect()
    }

    /// Runs an operation over the connection to the owner of a shard. Where there is none it fails at once; only the very
    /// first operation, and those that come meanwhile, wait until the owners were asked for once.
    pub(super) async fn run<T, F>(
        &self,
        shard: u16,
        operation: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        self.begin().await;
        let owner = self.or_ask(|routes| routes.owner(shard))?;
        let done = self.run_on(&owner, &operation).await;
        let Some(address) = done.as_ref().err().and_then(Failure::moved) else {
            return done;
        };
        // Nothing took place there, so this is no second time.
        let owner = self.shared.moved(shard, address.clone(), &owner)?;
        self.run_on(&owner, operation).await
    }

    /// Runs an operation over one of the connections.
    pub(super) async fn run_on<T, F>(
        &self,
        owner: &Connection,
        operation: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let done = owner.run(operation).await;
        if done.as_ref().is_err_and(Failure::doubts_the_node) {
            self.see_to_asking();
        }
        done
    }

    /// Connections to all who own something.
    pub(super) async fn owners(&self) -> Result<Vec<Connection>, Failure> {
        self.begin().await;
        self.or_ask(Routes::all_owners)
    }

    async fn begin(&self) {
        let ask = async || {
            let is_needed = self.shared.routes().connections.is_empty();
            if is_needed {
                // Where this fails, an operation that finds no owner makes sure that a task goes on asking.
                timeout(self.reach().connect_timeout, self.shared.ask()).await.ok();
            }
        };
        self.shared.first.get_or_init(ask).await;
    }

    fn or_ask<T>(&self, look: impl FnOnce(&Routes) -> Result<T, Failure>) -> Result<T, Failure> {
        let found = look(&self.shared.routes());
        if found.is_err() {
            self.see_to_asking();
        }
        found
    }

    fn see_to_asking(&self) {
        let runtime = Here::find();
        if self.shared.routes().asking.insert(runtime) {
            tokio::spawn(Asker { shared: Arc::downgrade(&self.shared), runtime }.run());
        }
    }
}

impl Routes {
    fn owner(&self, shard: u16) -> Result<Connection, Failure> {
        let address = self.owners.get(usize::from(shard)).and_then(Option::as_ref);
        address.and_then(|address| self.connections.get(address)).cloned().ok_or_else(|| self.why.clone())
    }

    /// Each of them once.
    fn all_owners(&self) -> Result<Vec<Connection>, Failure> {
        if self.owners.iter().any(Option::is_none) {
            return Err(self.why.clone());
        }
        Ok(self.connections.values().cloned().collect())
    }
}

impl Shared {
    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one node after another who owns what, until one answers.
    async fn ask(&self) -> Result<(), Failure> {
        let mut why = Failure::away("nobody to ask");
        for client in self.nodes.all() {
            let reach = self.reach.to(client.clone());
            let asked = async {
                let mut connection = reach.dial().await?;
                let slots = async { redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await };
                let slots = reach.within(reach.timeout, async { ranges(slots.await?, &client) }).await?;
                Ok::<_, Failure>(slots)
            };
            match asked.await {
                Ok(ranges) => {
                    self.learn(&ranges);
                    return Ok(());
                }
                // A refusal says more than the silence of others.
                Err(failure) if failure.is_refusal() || !why.is_refusal() => why = failure.unsent(),
                Err(_) => {}
            }
        }
        self.routes().why = why.clone();
        Err(why)
    }

    fn learn(&self, ranges: &[Range]) {
        let owner = |slot: &u16| {
            let range = ranges.iter().find(|range| range.slots.contains(slot))?;
            range.nodes.first().cloned()
        };
        let owners: Vec<_> = self.slots.iter().map(owner).collect();
        let mut known: Vec<Address> = Vec::new();
        for node in ranges.iter().flat_map(|range| &range.nodes) {
            if !known.contains(node) {
                known.push(node.clone());
            }
        }
        self.nodes.learn(known);
        let mut routes = self.routes();
        routes.why = Failure::away("no node of the cluster owns the slot");
        // Those of nodes that own nothing any more end.
        routes.connections.retain(|address, _| owners.iter().flatten().any(|owner| owner == address));
        for address in owners.iter().flatten() {
            self.connection(&mut routes, address).ok();
        }
        routes.owners = owners;
    }

    /// Takes the word of a node that another one owns the shard.
    fn moved(&self, shard: u16, address: Address, said_by: &Connection) -> Result<Connection, Failure> {
        let address = match &said_by.reach().finder {
            Finder::Fixed(client) => address.or_at(client),
            _ => address,
        };
        let mut routes = self.routes();
        let connection = self.connection(&mut routes, &address)?;
        if let Some(owner) = routes.owners.get_mut(usize::from(shard)) {
            *owner = Some(address);
        }
        Ok(connection)
    }

    fn connection(&self, routes: &mut Routes, address: &Address) -> Result<Connection, Failure> {
        if let Some(connection) = routes.connections.get(address) {
            return Ok(connection.clone());
        }
        let client = self.nodes.client(address).map_err(|error| Failure::of(&error, &self.reach.secrets))?;
        let connection = Connection::new(self.reach.to(client));
        routes.connections.insert(address.clone(), connection.clone());
        Ok(connection)
    }

    /// Whether every shard has an owner and every owner a connection. Where not, makes sure that a task dials.
    fn is_settled(&self) -> bool {
        match self.routes().all_owners() {
            // All of them, also after the first that is not.
            Ok(owners) => owners.iter().filter(|owner| !owner.is_up()).count() == 0,
            Err(_) => false,
        }
    }
}

/// Asks who owns what until every shard has an owner that answers, or the store is gone.
struct Asker {
    shared: Weak<Shared>,
    runtime: Here,
}

impl Asker {
    async fn run(self) {
        // A replica takes over within seconds: longer than this there is no point in waiting.
        let mut delays = backoff::exponential(Duration::from_millis(100)..=Duration::from_secs(2)).delays(fresh_seed());
        while let Some(shared) = self.shared.upgrade() {
            shared.ask().await.ok();
            let was_settled = shared.is_settled();
            drop(shared);
            // Also after the last time, so that operations that go on failing ask no more often than this.
            sleep(delays.next().unwrap_or_default()).await;
            if was_settled {
                return;
            }
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.routes().asking.remove(&self.runtime);
        }
    }
}
