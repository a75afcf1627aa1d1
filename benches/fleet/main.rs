//! What sharing a breaker costs, measured against what it may cost: `cargo bench --bench fleet --features redis,postgres`.
//!
//! It starts a redis-server and a PostgreSQL of its own. Counts are gates: one that is over its limit ends the program
//! with a failure. Times are printed beside, because they are the machine's. With `-- falsehood`, `outage`,
//! `background`, `recovery` or `storms` it runs fleets in virtual time instead, and with `-- soak 20` processes in
//! trouble for twenty minutes.
#![expect(clippy::print_stdout, reason = "it reports")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a measurement may fail loudly, and reads the time"
)]

mod contention;
mod counted;
mod delay;
mod draw;
mod measure;
mod memory;
mod recovery;
mod report;
mod scale;
mod simulated;
mod soak;
mod soak_child;
mod soak_instances;
mod soak_plan;
mod soak_stores;

#[path = "../../tests/support/idle_memory.rs"]
mod idle_memory;
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../../tests/stores/postgres_server.rs"]
mod postgres_server;
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../../tests/fleet_processes/proxy.rs"]
mod proxy;
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../../tests/stores/servers.rs"]
mod servers;

use std::sync::Arc;
use std::time::Duration;

use contention::Limits;
use fusebox::store::{PostgresStore, RedisStore, Store};
use report::Report;
use tokio::runtime::Runtime;

/// What can be asked for of what is measured on real servers.
const OF_SERVERS: [&str; 9] =
    ["contention", "storm", "propagation", "healthy", "frozen", "turns", "closing", "memory", "scale"];

/// What makes a connection of its own to the server that is measured.
type Connect = Arc<dyn Fn() -> Arc<dyn Store> + Send + Sync>;

/// A server that is measured.
struct Measured<'a> {
    name: &'a str,
    url: String,
    connect: Connect,
    /// The same, 4.5 ms away.
    connect_far: Connect,
    /// What batches may cost there, and next door.
    batch_costs: [Limits; 2],
    /// How many operations a second an instance may need where nothing happens.
    idle_costs: f64,
    server: scale::Server<'a>,
}

/// How much farther away than it is a server seems to be: as in another zone of a cloud's region.
const FAR: Duration = Duration::from_micros(4_500);
const AWAY: &str = ", 4.5 ms away";

fn main() {
    if soak_child::run() || memory::run() {
        return;
    }
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    println!("on {}", processor());
    let rows: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if let [soak, minutes @ ..] = &rows[..]
        && soak == "soak"
    {
        let minutes = minutes.first().map_or(20, |minutes| minutes.parse().expect("minutes"));
        std::process::exit(i32::from(!soak::run(minutes)));
    }
    let of_servers = |row: &String| OF_SERVERS.contains(&row.as_str());
    if !rows.is_empty() && !rows.iter().any(of_servers) {
        let all_hold = rows.iter().all(|row| simulated::run(row));
        std::process::exit(i32::from(!all_hold));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut report = Report::default();
    let wants = |row: &str| rows.is_empty() || rows.iter().any(|asked| asked == row);
    on_redis(&runtime, &wants, &mut report);
    on_postgres(&runtime, &wants, &mut report);
    report.end();
}

/// What runs on: the processor, as the system calls it.
fn processor() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|name| name.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{cores} cores of {}", name.unwrap_or("a processor without a name"))
}

fn on_redis(runtime: &Runtime, wants: &dyn Fn(&str) -> bool, report: &mut Report) {
    let redis = runtime.block_on(servers::Redis::start());
    let connect = |url: String| -> Connect {
        Arc::new(move || Arc::new(RedisStore::builder(url.as_str()).build().expect("a URL")))
    };
    let far = delay::before(runtime, redis.port(), FAR);
    let cut = || {
        runtime.block_on(redis.command("CLIENT KILL TYPE pubsub"));
    };
    let freeze = |freeze| if freeze { redis.freeze() } else { redis.thaw() };
    let measured = Measured {
        name: "Redis",
        url: redis.url(),
        connect: connect(redis.url()),
        connect_far: connect(format!("redis://127.0.0.1:{far}")),
        batch_costs: [
            // What is told each 100 ms takes two round trips more.
            Limits { how_far: AWAY, operations: [Some(1.05), Some(2.4), Some(1.7), Some(1.2)], keeps_up: false },
            Limits { how_far: "", operations: [Some(1.05), Some(2.4), Some(1.7), Some(1.2)], keeps_up: true },
        ],
        idle_costs: 17.0,
        server: scale::Server { cut: &cut, freeze: &freeze },
    };
    measure_all(runtime, wants, report, &measured);
}

fn on_postgres(runtime: &Runtime, wants: &dyn Fn(&str) -> bool, report: &mut Report) {
    // Two hundred instances, each with two connections.
    let server = postgres_server::Server::start_with(&["max_connections=500"]);
    let postgres = runtime.block_on(server.database());
    runtime.block_on(PostgresStore::migrate(postgres.url())).expect("a server");
    let connect = |url: String| -> Connect {
        Arc::new(move || Arc::new(PostgresStore::builder().url(url.clone()).build().expect("a URL")))
    };
    let far = delay::before(runtime, server.port(), FAR);
    let cut = || {
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'fusebox'";
        runtime.block_on(postgres.run(end));
    };
    let processes = std::cell::RefCell::new(String::new());
    let freeze = |freeze| {
        if freeze {
            *processes.borrow_mut() = server.freeze();
        } else {
            postgres_server::signal("CONT", &processes.borrow());
        }
    };
    let measured = Measured {
        name: "PostgreSQL",
        url: postgres.url(),
        connect: connect(postgres.url()),
        connect_far: connect(postgres.url_at(far)),
        batch_costs: [
            Limits { how_far: AWAY, operations: [Some(1.05), Some(2.4), Some(1.9), Some(1.3)], keeps_up: false },
            // Two hundred backends next door want all of the processor, and then the machine decides.
            Limits { how_far: "", operations: [Some(1.05), Some(2.4), None, None], keeps_up: false },
        ],
        idle_costs: 2.0,
        server: scale::Server { cut: &cut, freeze: &freeze },
    };
    measure_all(runtime, wants, report, &measured);
}

fn measure_all(runtime: &Runtime, wants: &dyn Fn(&str) -> bool, report: &mut Report, measured: &Measured<'_>) {
    let Measured { name, url, connect, connect_far, batch_costs, idle_costs, server } = measured;
    report.head(name);
    if wants("contention") {
        let [far, near] = batch_costs;
        report.time("a load, 4.5 ms away", &format!("{:.1?}", contention::load_time(runtime, connect_far)));
        report.time("a load", &format!("{:.1?}", contention::load_time(runtime, connect)));
        contention::contention(runtime, connect_far, report, far);
        contention::contention(runtime, connect, report, near);
    }
    if wants("storm") && *name == "Redis" {
        measure::storm(runtime, connect, report);
    }
    if wants("propagation") {
        measure::propagation(runtime, connect, report);
    }
    if wants("healthy") {
        measure::healthy_calls(runtime, connect, report);
    }
    if wants("frozen") {
        measure::frozen(runtime, connect, report, server.freeze);
    }
    if wants("turns") {
        measure::turns(runtime, connect, report);
    }
    if wants("closing") {
        recovery::recovery(runtime, connect, report);
    }
    if wants("memory") {
        memory::measure(url, report);
    }
    if wants("scale") {
        scale::scale(runtime, connect, report, *idle_costs, server);
    }
}
