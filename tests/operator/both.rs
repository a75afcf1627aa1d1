//! The stores on which all is tried, and what lies in them.

use std::sync::Arc;
use std::time::Duration;

use fusebox::fleet::Operator;
use fusebox::store::{Commit, Committed, MemoryStore, PostgresStore, RedisStore, Store, Summary, Version};
use fusebox::{CircuitBreaker, CircuitBreakerConfig};
use futures::StreamExt;

use crate::postgres_server::Database;
use crate::servers::Redis;

/// A server, past the store.
#[derive(Clone, Debug)]
pub(crate) enum Raw {
    Memory(MemoryStore),
    Redis(Arc<Redis>),
    Postgres(Arc<Database>),
}

/// Both kinds of servers, each with an address and a store of its own.
pub(crate) async fn on_both(test: impl AsyncFn(String, Arc<dyn Store>, Raw)) {
    for raw in [Raw::redis().await, Raw::postgres().await] {
        test(raw.url(), raw.store().await, raw).await;
    }
}

/// The same, and a store in memory.
pub(crate) async fn on_all(test: impl AsyncFn(Raw)) {
    for raw in [Raw::Memory(MemoryStore::new()), Raw::redis().await, Raw::postgres().await] {
        test(raw).await;
    }
}

/// Finds the hash of a breaker in its shard; without spaces, which separate the words of a command.
const FIND: &str =
    "for\ts=0,15\tdo\tlocal\tk='fb:{fb:'..s..'}:r:'..ARGV[1];if\tredis.call('EXISTS',k)==1\tthen\treturn\tk\tend\tend";

impl Raw {
    pub(crate) async fn redis() -> Self {
        Self::Redis(Arc::new(Redis::start().await))
    }

    /// A database with the tables.
    pub(crate) async fn postgres() -> Self {
        let database = Database::fresh().await;
        PostgresStore::migrate(database.url()).await.expect("migrates");
        Self::Postgres(Arc::new(database))
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Memory(_) => "memory:".to_owned(),
            Self::Redis(server) => server.url(),
            Self::Postgres(database) => database.url(),
        }
    }

    /// A handle of its own, and so an engine of its own, as if it were that of another process.
    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Memory(store) => Arc::new(store.clone()),
            Self::Redis(server) => Arc::new(RedisStore::connect(server.url()).await.expect("a server")),
            Self::Postgres(database) => Arc::new(PostgresStore::connect(database.url()).await.expect("a server")),
        }
    }

    /// Writes bytes in the place of a breaker's record.
    pub(crate) async fn write(&self, key: &str, record: &[u8]) {
        match self {
            Self::Memory(store) => {
                let stored = store.load(&[key]).await.expect("memory").remove(0);
                let summary = Summary::closed(1);
                let day = Duration::from_secs(86_400);
                let commit = Commit::new(stored.version, record.to_vec().into(), summary, day);
                store.commit(key, commit).await.expect("memory");
            }
            Self::Redis(server) => {
                let found = server.command(&format!("EVAL {FIND} 0 {key}")).await;
                let redis::Value::BulkString(hash) = found else { panic!("{key} has no record: {found:?}") };
                let hash = String::from_utf8(hash).expect("text");
                let client = redis::Client::open(server.url()).expect("a URL");
                let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
                let written: i64 = redis::cmd("HSET")
                    .arg(hash)
                    .arg("r")
                    .arg(record)
                    .query_async(&mut connection)
                    .await
                    .expect("written");
                assert_eq!(written, 0, "in the place of another");
            }
            Self::Postgres(database) => {
                let hex: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
                let set = format!("update hw_circuit_breakers set record = decode('{hex}', 'hex')");
                database.run(&format!("{set} where resource_key = '{key}'")).await;
            }
        }
    }

    /// Puts something under a breaker's key that is not ours.
    pub(crate) async fn usurp(&self, key: &str) {
        match self {
            // Memory has no other users.
            Self::Memory(_) => {}
            Self::Redis(server) => {
                let found = server.command(&format!("EVAL {FIND} 0 {key}")).await;
                let redis::Value::BulkString(hash) = found else { panic!("{key} has no record: {found:?}") };
                let hash = String::from_utf8(hash).expect("text");
                server.command(&format!("SET {hash} 17")).await;
            }
            Self::Postgres(database) => {
                let set = "update hw_circuit_breakers set version = 9223372036854775807";
                database.run(&format!("{set} where resource_key = '{key}'")).await;
            }
        }
    }
}

/// As a later release would write one.
pub(crate) fn newer() -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let mut newer = b"FB\x03what a later release writes".to_vec();
    let checksum = Sha256::digest(&newer);
    newer.extend(&checksum[..4]);
    newer
}

pub(crate) fn breaker(store: &Arc<dyn Store>, name: &str) -> CircuitBreaker {
    CircuitBreaker::new(CircuitBreakerConfig::builder(name).store(store.clone()).build().expect("a config"))
}

/// Breakers of these names, each with a record.
pub(crate) async fn breakers(store: &Arc<dyn Store>, names: &[&str]) -> Vec<CircuitBreaker> {
    let breakers: Vec<_> = names.iter().map(|name| breaker(store, name)).collect();
    for breaker in &breakers {
        breaker.acquire().expect("closed").failure();
        breaker.flush().await;
    }
    breakers
}

pub(crate) const MANY: usize = 10_000;

/// Fills a store with as many breakers as a registry of hosts may have, each as one that is open.
pub(crate) async fn fill(store: &Arc<dyn Store>) {
    Operator::new(store.clone()).create_missing().trip("first").await.expect("trips");
    let record = store.load(&["first"]).await.expect("answers").remove(0).record;
    let write = |at: usize| {
        let (store, record) = (store.clone(), record.clone());
        async move {
            let commit = Commit::new(Version::NONE, record, Summary::closed(1), Duration::from_secs(600));
            let answer = store.commit(&format!("host-{at}.example"), commit).await.expect("answers");
            assert!(matches!(answer, Committed::Applied { .. }), "{answer:?}");
        }
    };
    futures::stream::iter((1..MANY).map(write)).buffer_unordered(64).collect::<()>().await;
}
