//! The servers of a soak, and what is done to them.

use std::time::{Duration, Instant};

use fusebox::store::PostgresStore;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::runtime::Runtime;

use super::postgres_server::{Database, Server, signal};
use super::proxy::{Proxy, Rules};
use super::servers::Redis;
use super::soak_plan::Kind;

/// A server, or its replica, has what was asked by then.
const PATIENCE: Duration = Duration::from_secs(30);

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Two Redis servers, of which one follows the other, and a Sentinel that says which is which. All ways lead through
/// proxies.
///
/// Each write is in a file before it is answered, so a kill loses nothing; a failover that is planned waits until the
/// replica has all.
pub(crate) struct RedisPair {
    runtime: Runtime,
    nodes: [Redis; 2],
    ways: [Proxy; 2],
    sentinel: Redis,
    primary: usize,
    fault: Option<Kind>,
}

impl RedisPair {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let durable = ["--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"];
        let node = || runtime.block_on(Redis::start_with(&durable));
        let nodes = [node(), node()];
        let ways = [Proxy::before(nodes[0].port()), Proxy::before(nodes[1].port())];
        let sentinel = runtime.block_on(nodes[0].sentinel());
        let pair = Self { runtime, nodes, ways, sentinel, primary: 0, fault: None };
        (0..2).for_each(|node| pair.attach(node));
        until("the replica has all", || pair.is_level());
        for order in [
            "SENTINEL REMOVE main".to_owned(),
            format!("SENTINEL MONITOR main 127.0.0.1 {} 1", pair.ways[0].port()),
            // By itself it does nothing: a failover that is not planned loses what was answered last.
            "SENTINEL SET main down-after-milliseconds 600000".to_owned(),
            "SENTINEL SET main failover-timeout 20000".to_owned(),
        ] {
            pair.runtime.block_on(pair.sentinel.command(&order));
        }
        until("the Sentinel knows the replica", || pair.ask_sentinel("SENTINEL REPLICAS main").contains("127.0.0.1:"));
        pair
    }

    pub(crate) fn sentinel_url(&self) -> String {
        self.sentinel.url()
    }

    /// The way to the primary past the proxies.
    pub(crate) fn url(&self) -> String {
        self.nodes[self.primary].url()
    }

    fn command(&self, node: usize, command: &str) -> String {
        let answer = self.runtime.block_on(self.nodes[node].command(command));
        redis::from_redis_value(answer).unwrap_or_default()
    }

    fn ask_sentinel(&self, command: &str) -> String {
        format!("{:?}", self.runtime.block_on(self.sentinel.try_command(command)))
    }

    /// A node that has just started learns by which name it is known, and whom it follows.
    fn attach(&self, node: usize) {
        let loaded = || self.runtime.block_on(self.nodes[node].try_command("PING")).is_ok();
        until("it has loaded what it had", loaded);
        self.command(node, "CONFIG SET replica-announce-ip 127.0.0.1");
        self.command(node, &format!("CONFIG SET replica-announce-port {}", self.ways[node].port()));
        if node != self.primary {
            self.command(node, &format!("REPLICAOF 127.0.0.1 {}", self.ways[self.primary].port()));
        }
    }

    /// What the primary says of its replica, if that is there.
    fn replica(&self) -> Option<(String, String)> {
        let info = self.command(self.primary, "INFO replication");
        let own = info.lines().find_map(|line| line.trim().strip_prefix("master_repl_offset:"))?;
        let line = info.lines().find(|line| line.starts_with("slave0:") && line.contains("state=online"))?;
        let offset = line.split(',').find_map(|part| part.strip_prefix("offset="))?;
        Some((offset.to_owned(), own.to_owned()))
    }

    /// The replica has told that it has everything.
    fn is_level(&self) -> bool {
        self.replica().is_some_and(|(offset, own)| offset == own)
    }

    /// Begins a fault. Returns whether it could.
    pub(crate) fn begin(&mut self, kind: Kind, lasts: Duration) -> bool {
        match kind {
            Kind::RedisKilled => self.nodes[self.primary].kill(),
            Kind::RedisFrozen => self.nodes[self.primary].freeze(),
            Kind::RedisCut => self.ways.iter().for_each(Proxy::cut),
            Kind::RedisClientsEnded => {
                self.command(self.primary, "CLIENT KILL TYPE normal");
                self.command(self.primary, "CLIENT KILL TYPE pubsub");
            }
            Kind::RedisWritesLocked => {
                drop(self.command(self.primary, &format!("CLIENT PAUSE {} WRITE", lasts.as_millis())));
            }
            Kind::RedisHeld => self.ways.iter().for_each(|way| way.set(|rules| rules.holds_answers = true)),
            Kind::RedisAnswersLost => self.ways.iter().for_each(|way| way.set(|rules| rules.loses_answers = 3)),
            Kind::RedisFailover => return self.fail_over(),
            Kind::RedisLost => return self.lose_primary(),
            other => unreachable!("{other:?} is of another target"),
        }
        self.fault = Some(kind);
        true
    }

    pub(crate) fn end(&mut self) {
        match self.fault.take() {
            Some(Kind::RedisKilled) => self.start_again(self.primary),
            Some(Kind::RedisFrozen) => self.nodes[self.primary].thaw(),
            Some(Kind::RedisLost) => self.start_again(1 - self.primary),
            Some(_) => self.ways.iter().for_each(|way| way.set(|rules| *rules = Rules::default())),
            None => {}
        }
    }

    fn start_again(&mut self, node: usize) {
        self.runtime.block_on(self.nodes[node].start_again());
        self.attach(node);
    }

    /// Writes wait until the replica has all and is the primary, so nothing that was answered is lost.
    fn fail_over(&mut self) -> bool {
        let before = self.primary;
        self.command(before, "CLIENT PAUSE 60000 WRITE");
        let start = Instant::now();
        while !self.is_level() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let begins = self.is_level() && self.ask_sentinel("SENTINEL FAILOVER main").starts_with("Ok");
        if begins {
            self.await_other_primary();
            // The Sentinel would do the same, some seconds later.
            self.attach(before);
            self.command(before, "CLIENT KILL TYPE normal");
            self.command(before, "CLIENT KILL TYPE pubsub");
        }
        self.command(before, "CLIENT UNPAUSE");
        begins
    }

    /// The primary is gone, and the Sentinel makes the replica one, which may lack what was answered last.
    fn lose_primary(&mut self) -> bool {
        if self.replica().is_none() {
            return false;
        }
        self.ask_sentinel("SENTINEL SET main down-after-milliseconds 1000");
        self.nodes[self.primary].kill();
        self.await_other_primary();
        self.ask_sentinel("SENTINEL SET main down-after-milliseconds 600000");
        self.fault = Some(Kind::RedisLost);
        true
    }

    fn await_other_primary(&mut self) {
        let other = 1 - self.primary;
        let port = self.ways[other].port().to_string();
        until("the Sentinel names the other", || {
            self.ask_sentinel("SENTINEL GET-MASTER-ADDR-BY-NAME main").contains(&port)
        });
        self.primary = other;
    }
}

/// A PostgreSQL behind a proxy.
///
/// The store commits evidence without waiting for the log to be written, so a plain kill may lose that of the last
/// moment. The kill that is to lose nothing lets no more commits in, has the log written, and comes then.
pub(crate) struct Postgres {
    runtime: Runtime,
    database: Database,
    way: Proxy,
    fault: Option<Kind>,
    stopped: String,
    /// A session that holds locks.
    holds: Option<PgConnection>,
}

const LOCK_TABLE: &str = "begin; lock table hw_circuit_breakers in access exclusive mode";
const LOCK_ROWS: &str = "begin; select resource_key from hw_circuit_breakers order by resource_key for update";

impl Postgres {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let database = runtime.block_on(Server::start().database());
        runtime.block_on(PostgresStore::migrate(database.url())).expect("migrates");
        runtime.block_on(database.run("create table soak_marks (at timestamptz)"));
        let way = Proxy::before(database.server.port());
        Self { runtime, database, way, fault: None, stopped: String::new(), holds: None }
    }

    /// The way past the proxy.
    pub(crate) fn url(&self) -> String {
        self.database.url()
    }

    pub(crate) fn url_through_proxy(&self) -> String {
        self.database.url_at(self.way.port())
    }

    fn hold(&mut self, statements: &str) {
        let options = self.database.options();
        let held = self.runtime.block_on(async {
            let mut connection = options.connect().await?;
            sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await?;
            Ok::<_, sqlx::Error>(connection)
        });
        self.holds = Some(held.expect("a lock"));
    }

    /// All locks that [`hold`](Self::hold) took are free.
    fn release(&mut self) {
        if let Some(connection) = self.holds.take() {
            self.runtime.block_on(connection.close()).ok();
        }
    }

    pub(crate) fn begin(&mut self, kind: Kind) -> bool {
        match kind {
            Kind::PostgresKilled => {
                self.hold(LOCK_TABLE);
                // Its commit waits for the log, with all that came before.
                self.runtime.block_on(self.database.run("insert into soak_marks values (now())"));
                self.database.server.stop();
                self.holds = None;
            }
            Kind::PostgresCrashed => self.database.server.stop(),
            Kind::PostgresRestarted => self.database.server.shut_down(),
            Kind::PostgresFrozen => self.stopped = self.database.server.freeze(),
            Kind::PostgresCut => self.way.cut(),
            Kind::PostgresClientsEnded => {
                let end = "select pg_terminate_backend(pid)::text from pg_stat_activity where pid <> pg_backend_pid() \
                    and datname = current_database()";
                self.runtime.block_on(self.database.run(end));
            }
            Kind::PostgresTableLocked => self.hold(LOCK_TABLE),
            Kind::PostgresRowsLocked => self.hold(LOCK_ROWS),
            Kind::PostgresHeld => self.way.set(|rules| rules.holds_answers = true),
            Kind::PostgresAnswersLost => self.way.set(|rules| rules.loses_answers = 3),
            other => unreachable!("{other:?} is of another target"),
        }
        self.fault = Some(kind);
        true
    }

    pub(crate) fn end(&mut self) {
        self.release();
        match self.fault.take() {
            Some(Kind::PostgresKilled | Kind::PostgresCrashed | Kind::PostgresRestarted) => {
                self.database.server.start_again();
            }
            Some(Kind::PostgresFrozen) => signal("CONT", &self.stopped),
            Some(_) => self.way.set(|rules| *rules = Rules::default()),
            None => {}
        }
    }
}
