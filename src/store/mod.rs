//! Where a fleet keeps what its instances share.
//!
//! A [`Store`] holds one record for each breaker and never looks into it. [`MemoryStore`] is for one process, [`CasStore`]
//! makes one of anything that can compare and swap, and [`conformance`] puts any of them to the test. With the features
//! `redis` and `postgres` there are `RedisStore` and `PostgresStore`, for a fleet.

mod cas;
mod conformance;
mod contract;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod credentials;
mod error;
mod key;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod protocol;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod redial;
#[cfg(feature = "redis")]
mod redis;
mod trouble;
mod watchers;

pub use cas::{Cas, CasStore};
pub use conformance::{Conformance, Violation, conformance};
pub(crate) use contract::never_notices;
pub use contract::{
    Answers, BatchId, Changes, Commit, Committed, Notice, Notices, Round, Store, StoreFuture, StoreTime, Stored,
    Summary, Version,
};
#[cfg(any(feature = "postgres", feature = "redis"))]
pub use credentials::Credentials;
pub use error::StoreError;
pub use key::Key;
pub use memory::MemoryStore;
#[cfg(all(feature = "postgres", feature = "env"))]
pub(crate) use postgres::check_encryption;
#[cfg(feature = "postgres")]
pub use postgres::{PostgresStore, PostgresStoreBuilder, Pruned};
pub(crate) use protocol::{MAX_BATCH_AGE, MAX_ROUND_BATCHES, ROUND_LEASE};
#[cfg(feature = "redis")]
pub use redis::{RedisServer, RedisStore, RedisStoreBuilder};
pub use trouble::StoreTrouble;

pub(crate) use trouble::Hearer;
