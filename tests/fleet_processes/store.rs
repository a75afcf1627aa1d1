//! The two stores, as far as a test can treat them alike.

use std::future::Future;
use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use fusebox::store::PostgresStore;
use sha2::{Digest, Sha256};

use crate::fleet::Settings;
use crate::postgres_server::{Database, PASSWORD, Server, signal};
use crate::proxy::Proxy;
use crate::servers::Redis;

/// A store of one test.
#[derive(Debug)]
pub(crate) enum Store {
    Redis(Mutex<Redis>),
    Postgres {
        database: Database,
        /// The processes that are stopped.
        stopped: Mutex<String>,
    },
}

/// Runs a future to its end.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Runs a scenario on both stores at once. To nothing else than its data is anything done.
pub(crate) fn on_both_stores(scenario: impl Fn(&Store) + Sync) {
    on_both(&scenario, || wait(Database::fresh()));
}

/// Runs a scenario on both stores at once, each a server of its own.
pub(crate) fn on_both_servers(scenario: impl Fn(&Store) + Sync) {
    on_both(&scenario, || wait(Server::start().database()));
}

fn on_both(scenario: &(impl Fn(&Store) + Sync), database: impl FnOnce() -> Database + Send) {
    let redis = || scenario(&Store::redis());
    let postgres = || scenario(&Store::postgres(database()));
    thread::scope(|scope| {
        let redis = thread::Builder::new().name("redis".to_owned()).spawn_scoped(scope, redis).expect("a thread");
        let postgres = thread::Builder::new().name("postgres".to_owned()).spawn_scoped(scope, postgres);
        let ends = [redis.join(), postgres.expect("a thread").join()];
        for end in ends {
            end.unwrap_or_else(|panic| resume_unwind(panic));
        }
    });
}

impl Store {
    pub(crate) fn redis() -> Self {
        Self::Redis(Mutex::new(wait(Redis::start())))
    }

    fn postgres(database: Database) -> Self {
        wait(PostgresStore::migrate(database.url())).expect("migrates");
        Self::Postgres { database, stopped: Mutex::default() }
    }

    fn url_at(&self, port: u16) -> String {
        match self {
            Self::Redis(_) => format!("redis://127.0.0.1:{port}"),
            Self::Postgres { database, .. } => {
                format!("postgres://owner:{PASSWORD}@127.0.0.1:{port}/{}", database.name)
            }
        }
    }

    fn port(&self) -> u16 {
        match self {
            Self::Redis(_) => self.lock().port(),
            Self::Postgres { database, .. } => database.server.port(),
        }
    }

    pub(crate) fn url(&self) -> String {
        self.url_at(self.port())
    }

    /// What those who use it are told that it is.
    #[cfg(all(feature = "cli", feature = "http", feature = "tracing", feature = "counts"))]
    pub(crate) fn described(&self) -> String {
        use fusebox::store::{RedisStore, Store as _};
        match self {
            Self::Redis(_) => RedisStore::builder(self.url()).build().expect("a store").describe(),
            Self::Postgres { .. } => PostgresStore::builder().url(self.url()).build().expect("a store").describe(),
        }
    }

    /// Another database on the same server, without tables.
    #[cfg(all(feature = "cli", feature = "http", feature = "tracing", feature = "counts"))]
    pub(crate) fn another_database(&self) -> Database {
        match self {
            Self::Redis(_) => panic!("this is no PostgreSQL"),
            Self::Postgres { database, .. } => wait(database.server.database()),
        }
    }

    pub(crate) fn url_through(&self, proxy: &Proxy) -> String {
        self.url_at(proxy.port())
    }

    /// A proxy before it, and settings with no other way to it.
    pub(crate) fn proxied(&self) -> (Proxy, Settings) {
        let proxy = Proxy::before(self.port());
        let settings = Settings::store(self.url_through(&proxy));
        (proxy, settings)
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::store(self.url())
    }

    fn lock(&self) -> MutexGuard<'_, Redis> {
        match self {
            Self::Redis(server) => server.lock().unwrap_or_else(PoisonError::into_inner),
            Self::Postgres { .. } => panic!("this is no Redis"),
        }
    }

    pub(crate) const fn is_redis(&self) -> bool {
        matches!(self, Self::Redis(_))
    }

    /// A command to Redis, past the fleet.
    pub(crate) fn command(&self, words: &[&[u8]]) -> redis::Value {
        let client = redis::Client::open(self.url()).expect("a URL");
        let mut command = redis::cmd(std::str::from_utf8(words[0]).expect("a command"));
        words[1..].iter().for_each(|word| {
            command.arg(*word);
        });
        command.query(&mut client.get_connection().expect("a connection")).expect("an answer")
    }

    /// The same, in one line.
    pub(crate) fn words(&self, line: &str) -> redis::Value {
        self.command(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
    }

    /// Statements to PostgreSQL, past the fleet.
    pub(crate) fn sql(&self, statements: &str) -> Vec<Vec<String>> {
        match self {
            Self::Redis(_) => panic!("this is no PostgreSQL"),
            Self::Postgres { database, .. } => wait(database.run(statements)),
        }
    }

    /// Everything that the fleet has put there is gone.
    pub(crate) fn wipe(&self) {
        if self.is_redis() {
            self.words("FLUSHALL");
        } else {
            self.sql("delete from hw_circuit_breakers");
            self.sql("delete from hw_circuit_breakers_outbox");
            self.sql("delete from hw_circuit_breakers_writers");
        }
    }

    /// The store forgets which batches it has taken.
    pub(crate) fn forget_batches(&self) {
        if self.is_redis() {
            for (_, key) in self.keys().into_iter().filter(|(kind, _)| kind.starts_with('w')) {
                self.words(&format!("DEL {key}"));
            }
        } else {
            self.sql("delete from hw_circuit_breakers_writers");
        }
    }

    /// The keys in Redis, each with what it is for.
    fn keys(&self) -> Vec<(String, String)> {
        let keys: Vec<String> = redis::from_redis_value(self.words("KEYS fb:*")).expect("keys");
        let kind = |key: &str| key.split(':').nth(3).unwrap_or_default().to_owned();
        keys.into_iter().map(|key| (kind(&key), key)).collect()
    }

    fn record_key(&self) -> String {
        let is_record = |(kind, _): &(String, String)| kind == "r";
        self.keys().into_iter().find(is_record).expect("a record").1
    }

    pub(crate) fn record(&self) -> Vec<u8> {
        if self.is_redis() {
            let key = self.record_key();
            return redis::from_redis_value(self.words(&format!("HGET {key} r"))).expect("bytes");
        }
        let rows = self.sql("select encode(record, 'hex') from hw_circuit_breakers");
        let digit = |at| u8::from_str_radix(&rows[0][0][at..at + 2], 16).expect("a byte");
        (0..rows[0][0].len()).step_by(2).map(digit).collect()
    }

    pub(crate) fn version(&self) -> u64 {
        if self.is_redis() {
            let key = self.record_key();
            return redis::from_redis_value(self.words(&format!("HGET {key} v"))).expect("a number");
        }
        self.sql("select version::text from hw_circuit_breakers")[0][0].parse().expect("a number")
    }

    /// Puts another record in the place of the one that is there.
    pub(crate) fn put(&self, version: u64, record: &[u8]) {
        if self.is_redis() {
            let (key, version) = (self.record_key(), version.to_string());
            self.command(&[b"HSET", key.as_bytes(), b"v", version.as_bytes(), b"r", record]);
        } else {
            let digits: String = record.iter().map(|byte| format!("{byte:02x}")).collect();
            self.sql(&format!(
                "update hw_circuit_breakers set record = decode('{digits}', 'hex'), version = {version}"
            ));
        }
    }

    /// Puts what a newer release would write in the place of the record of one breaker of several.
    #[cfg(all(feature = "cli", feature = "http", feature = "tracing", feature = "counts"))]
    pub(crate) fn make_newer(&self, name: &str) {
        let newer = Self::of_newer_format(b"FB\x02what a later release writes...");
        if self.is_redis() {
            let keys = self.keys();
            let is_it = |(kind, key): &&(String, String)| kind == "r" && key.rsplit(':').next() == Some(name);
            let key = &keys.iter().find(is_it).expect("a record").1;
            self.command(&[b"HSET", key.as_bytes(), b"r", &newer]);
        } else {
            let digits: String = newer.iter().map(|byte| format!("{byte:02x}")).collect();
            self.sql(&format!(
                "update hw_circuit_breakers set record = decode('{digits}', 'hex') where resource_key = '{name}'"
            ));
        }
    }

    /// What a newer release would have written.
    pub(crate) fn of_newer_format(record: &[u8]) -> Vec<u8> {
        let mut newer = record[..record.len() - 4].to_vec();
        newer[2] = 3;
        let checksum = Sha256::digest(&newer);
        newer.extend(&checksum[..4]);
        newer
    }

    /// The server takes connections and says nothing more.
    pub(crate) fn freeze(&self) {
        match self {
            Self::Redis(_) => self.lock().freeze(),
            Self::Postgres { database, stopped } => {
                *stopped.lock().unwrap_or_else(PoisonError::into_inner) = database.server.freeze();
            }
        }
    }

    pub(crate) fn thaw(&self) {
        match self {
            Self::Redis(_) => self.lock().thaw(),
            Self::Postgres { stopped, .. } => {
                signal("CONT", &stopped.lock().unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// The server ends at once. Redis forgets everything, PostgreSQL nothing.
    pub(crate) fn kill(&self) {
        match self {
            Self::Redis(_) => self.lock().kill(),
            Self::Postgres { database, .. } => database.server.stop(),
        }
    }

    pub(crate) fn start_again(&self) {
        match self {
            Self::Redis(_) => wait(self.lock().start_again()),
            Self::Postgres { database, .. } => database.server.start_again(),
        }
    }

    /// Ends every connection that the server has, those that listen too.
    pub(crate) fn end_connections(&self) {
        if self.is_redis() {
            self.words("CLIENT KILL TYPE normal SKIPME yes");
            self.words("CLIENT KILL TYPE pubsub");
        } else {
            self.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity \
                 where pid <> pg_backend_pid() and datname = current_database()",
            );
        }
    }

    /// From now on, or not any more, the server refuses every write.
    pub(crate) fn refuse_writes(&self, refuses: bool) {
        match self {
            Self::Redis(_) => drop(self.words(&format!("CONFIG SET maxmemory {}", u32::from(refuses)))),
            Self::Postgres { database, .. } => {
                let name = &database.name;
                // While it refuses, it would refuse this too.
                self.sql(&format!(
                    "begin read write; alter database {name} set default_transaction_read_only = {refuses}; commit"
                ));
                self.end_connections();
            }
        }
    }
}
