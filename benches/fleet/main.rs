//! What sharing a breaker costs, measured against what it may cost: `cargo bench --bench fleet --features redis,postgres`.
//!
//! It starts a redis-server and a PostgreSQL of its own. Counts are gates: one that is over its limit ends the program with a
//! failure. Times are printed beside, because they are the machine's. With `-- falsehood`, `outage`, `background`, `recovery` or
//! `storms` it runs fleets in virtual time instead.
#![expect(clippy::print_stdout, reason = "it reports")]
#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a measurement may fail loudly, and reads the time"
)]

mod counted;
mod measure;
mod recovery;
mod report;
mod scale;
mod simulated;

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../../tests/stores/postgres_server.rs"]
mod postgres_server;
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../../tests/stores/servers.rs"]
mod servers;

use std::sync::Arc;

use fusebox::store::{PostgresStore, RedisStore, Store};
use report::Report;

/// What makes a connection of its own to the server that is measured.
type Connect = Arc<dyn Fn() -> Arc<dyn Store> + Send + Sync>;

fn main() {
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    let rows: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let of_servers = |row: &String| ["contention", "scale"].contains(&row.as_str());
    if !rows.is_empty() && !rows.iter().any(of_servers) {
        let all_hold = rows.iter().all(|row| simulated::run(row));
        std::process::exit(i32::from(!all_hold));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut report = Report::default();
    let wants_all = rows.is_empty();
    let wants = |row: &str| wants_all || rows.iter().any(|asked| asked == row);

    let redis = runtime.block_on(servers::Redis::start());
    let url = redis.url();
    let connect: Connect = Arc::new(move || {
        let store = RedisStore::builder(url.as_str()).build().expect("a URL");
        Arc::new(store)
    });
    report.head("Redis");
    if wants("contention") {
        measure::contention(&runtime, &connect, &mut report, 200);
    }
    if wants_all {
        measure::storm(&runtime, &connect, &mut report);
        measure::propagation(&runtime, &connect, &mut report);
        measure::healthy_calls(&runtime, &connect, &mut report);
        measure::frozen(&runtime, &connect, &mut report, |freeze| if freeze { redis.freeze() } else { redis.thaw() });
        recovery::recovery(&runtime, &connect, &mut report);
    }
    let cut = || {
        runtime.block_on(redis.command("CLIENT KILL TYPE pubsub"));
    };
    let freeze = |freeze| if freeze { redis.freeze() } else { redis.thaw() };
    if wants("scale") {
        scale::scale(&connect, &mut report, 17.0, &scale::Server { cut: &cut, freeze: &freeze });
    }
    drop(redis);

    let postgres = runtime.block_on(postgres_server::Database::fresh());
    let url = postgres.url();
    runtime.block_on(PostgresStore::migrate(url.clone())).expect("a server");
    let connect: Connect = Arc::new(move || {
        let store = PostgresStore::builder().url(url.clone()).build().expect("a URL");
        Arc::new(store)
    });
    report.head("PostgreSQL");
    // A server with its usual settings has a hundred connections, and each instance wants two.
    if wants("contention") {
        measure::contention(&runtime, &connect, &mut report, 10);
    }
    if wants_all {
        measure::propagation(&runtime, &connect, &mut report);
        measure::healthy_calls(&runtime, &connect, &mut report);
        recovery::recovery(&runtime, &connect, &mut report);
    }
    let cut = || {
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'fusebox'";
        runtime.block_on(postgres.run(end));
    };
    let processes = std::cell::RefCell::new(String::new());
    let freeze = |freeze| {
        if freeze {
            *processes.borrow_mut() = postgres.server.freeze();
        } else {
            postgres_server::signal("CONT", &processes.borrow());
        }
    };
    if wants("scale") {
        scale::scale(&connect, &mut report, 2.0, &scale::Server { cut: &cut, freeze: &freeze });
    }
    drop(postgres);
    report.end();
}
