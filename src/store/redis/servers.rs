//! One server or many.

use std::future::Future;

use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use super::cluster::Cluster;
use super::connection::{Connection, Finder, Reach};
use super::failure::Failure;
use super::layout::Layout;
use crate::store::error::StoreError;

/// Where the shards are.
#[derive(Debug)]
pub(super) enum Servers {
    /// All on one server.
    One(Connection),
    /// Each on a node of a cluster.
    Many(Cluster),
}

impl Servers {
    pub(super) fn new(reach: Reach, layout: &Layout) -> Self {
        match &reach.finder {
            Finder::Cluster(nodes) => {
                let nodes = nodes.clone();
                Self::Many(Cluster::new(reach, nodes, layout.slots()))
            }
            Finder::Fixed(_) | Finder::Sentinel(_) => Self::One(Connection::new(reach)),
        }
    }

    pub(super) fn reach(&self) -> &Reach {
        match self {
            Self::One(connection) => connection.reach(),
            Self::Many(cluster) => cluster.reach(),
        }
    }

    pub(super) async fn connect(&self) -> Result<(), StoreError> {
        match self {
            Self::One(connection) => connection.connect().await?,
            Self::Many(cluster) => cluster.connect().await?,
        }
        Ok(())
    }

    /// A connection to each server that has shards.
    pub(super) async fn each(&self) -> Result<Vec<Connection>, StoreError> {
        match self {
            Self::One(connection) => Ok(vec![connection.clone()]),
            Self::Many(cluster) => Ok(cluster.owners().await?),
        }
    }

    /// Runs an operation on one of those.
    pub(super) async fn run_on<T, F>(
        &self,
        server: &Connection,
        operation: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let done = match self {
            Self::One(connection) => connection.run(operation).await,
            Self::Many(cluster) => cluster.run_on(server, operation).await,
        };
        Ok(done?)
    }

    /// Shards that have the same number here may share a command.
    pub(super) const fn group(&self, shard: u16) -> u16 {
        match self {
            Self::One(_) => 0,
            Self::Many(_) => shard,
        }
    }

    /// Runs an operation where the shard is.
    pub(super) async fn run<T, F>(
        &self,
        shard: u16,
        operation: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let done = match self {
            Self::One(connection) => connection.run(operation).await.map_err(Failure::alone),
            Self::Many(cluster) => cluster.run(shard, operation).await,
        };
        Ok(done?)
    }
}
