//! What operators run, against real servers.
#![cfg(all(feature = "env", feature = "redis", feature = "postgres"))]
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod damage;
mod migration;
mod names;

use std::env::{consts::EXE_SUFFIX, current_exe};
use std::process::Command;
use std::sync::Arc;

use fusebox::store::{PostgresStore, RedisStore, Store};
use fusebox::{CircuitBreaker, CircuitBreakerConfig, State};
use postgres_server::Database;
use servers::Redis;

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../stores/postgres_server.rs"]
mod postgres_server;
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../stores/servers.rs"]
mod servers;

/// An example, as cargo has built it.
fn example(name: &str) -> Command {
    let test = current_exe().expect("the path of this test");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<this test>");
    let program = profile.join("examples").join(format!("{name}{EXE_SUFFIX}"));
    assert!(program.exists(), "`cargo build --examples --all-features` builds {}", program.display());
    Command::new(program)
}

/// Runs it; returns whether it ended well, and what it said.
fn run(example: &mut Command) -> (bool, String) {
    let run = example.output().expect("to start it");
    let said = [run.stdout, run.stderr].concat();
    (run.status.success(), String::from_utf8(said).expect("UTF-8").trim_end().to_owned())
}

fn admin(store: &str, command: &str) -> (bool, String) {
    admin_with(store, &command.split(' ').collect::<Vec<_>>())
}

fn admin_with(store: &str, words: &[&str]) -> (bool, String) {
    let mut admin = example("fleet_admin");
    for name in ["FUSEBOX_STORE_NAMESPACE", "FUSEBOX_STORE_SCHEMA", "FUSEBOX_STORE_TABLE"] {
        admin.env_remove(name);
    }
    run(admin.args(words).env("FUSEBOX_STORE_URL", store))
}

/// Both kinds of servers, each with an address and a store of its own.
async fn on_both(test: impl AsyncFn(String, Arc<dyn Store>, Raw)) {
    let redis = Arc::new(Redis::start().await);
    let store = Arc::new(RedisStore::connect(redis.url()).await.expect("a server"));
    test(redis.url(), store, Raw::Redis(redis)).await;
    let database = Arc::new(Database::fresh().await);
    PostgresStore::migrate(database.url()).await.expect("migrates");
    let store = Arc::new(PostgresStore::connect(database.url()).await.expect("a server"));
    test(database.url(), store, Raw::Postgres(database)).await;
}

/// A server, past the store.
#[derive(Clone)]
enum Raw {
    Redis(Arc<Redis>),
    Postgres(Arc<Database>),
}

impl Raw {
    /// Writes bytes in the place of a breaker's record.
    async fn write(&self, key: &str, record: &[u8]) {
        match self {
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
}

/// Finds the hash of a breaker in its shard; without spaces, which separate the words of a command.
const FIND: &str =
    "for\ts=0,15\tdo\tlocal\tk='fb:{fb:'..s..'}:r:'..ARGV[1];if\tredis.call('EXISTS',k)==1\tthen\treturn\tk\tend\tend";

fn breaker(store: &Arc<dyn Store>, name: &str) -> CircuitBreaker {
    CircuitBreaker::new(CircuitBreakerConfig::builder(name).store(store.clone()).build().expect("a config"))
}

/// Breakers of these names, each with a record.
async fn breakers(store: &Arc<dyn Store>, names: &[&str]) -> Vec<CircuitBreaker> {
    let breakers: Vec<_> = names.iter().map(|name| breaker(store, name)).collect();
    for breaker in &breakers {
        breaker.acquire().expect("closed").failure();
        breaker.flush().await;
    }
    breakers
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_needs_no_code_of_the_application() {
    let server = Redis::start().await;
    let url = server.url();
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(url.as_str()).await.expect("a server"));
    let config = CircuitBreakerConfig::builder("pay/ments").store(store).build().expect("a config");
    let breaker = CircuitBreaker::new(config);
    breaker.acquire().expect("closed").failure();
    breaker.flush().await;

    let ok = |command: &str, said: &str| {
        let (ended_well, text) = admin(&url, command);
        assert!(ended_well && text.contains(said), "{command}: {text}");
    };
    ok("check", "the store answers");
    ok("list", "pay/ments: closed");
    ok("trip pay/ments --cooldown 300", "pay/ments: open (tripped by command), retry in");
    breaker.flush().await;
    assert_eq!(breaker.state(), State::Open, "the application's breaker is the same one");
    ok("force pay/ments incident 7 --actor ana --for 60", "open (forced open: incident 7 (by ana)), retry in");
    breaker.flush().await;
    let rejected = breaker.acquire().expect_err("forced open").to_string();
    assert!(rejected.contains("incident 7 (by ana)"), "{rejected}");

    let (ended_well, text) = admin(&url, "reset pay/ments");
    assert!(
        !ended_well && text.contains("is overridden (forced open: incident 7 (by ana)): resume it first"),
        "{text}"
    );
    let (ended_well, text) = admin(&url, "disable pay/ments");
    assert!(!ended_well && text.contains("say why"), "{text}");
    ok("resume pay/ments", "pay/ments: closed");
    breaker.flush().await;
    assert_eq!(breaker.state(), State::Closed);

    drop(server);
    let (ended_well, text) = admin(&url, "list");
    assert!(!ended_well && !text.is_empty(), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_query_what_breakers_share() {
    let database = Database::fresh().await;
    let (ended_well, text) = run(example("shared_postgres").env("DATABASE_URL", database.url()));
    assert!(ended_well, "{text}");
    let expected = [
        "one:     payments: open (3 failures)",
        "another: payments: open (3 failures)",
        "what is not closed",
        "payments  OPEN  3",
        "how many in each state",
        "CLOSED  1",
        "OPEN  1",
        "what happened",
        "payments  OPEN",
    ];
    let mut rest = text.as_str();
    for part in expected {
        let found = rest.split_once(part);
        assert!(found.is_some(), "no `{part}` where it should be in:\n{text}");
        rest = found.map_or("", |(_, after)| after);
    }
    let left = database.run("select tablename from pg_tables where tablename like 'fusebox_example%'").await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_made_by_the_operator_not_by_the_application() {
    let database = Database::fresh().await;
    let (ended_well, text) = admin(&database.url(), "check");
    assert!(!ended_well && text.contains("migrate"), "{text}");
    assert_eq!(admin(&database.url(), "migrate"), (true, "the table is there".to_owned()));
    assert_eq!(admin(&database.url(), "check"), (true, "the store answers".to_owned()));
    assert!(admin(&database.url(), "trip payments --create").0);
    let (ended_well, text) = admin(&database.url(), "list");
    assert!(ended_well && text.starts_with("payments: open (tripped by command), retry in"), "{text}");
}
