//! Fleets of processes over real stores, and everything that can happen to them. The number in a test's name is that of the
//! scenario in the conformance list.
//!
//! Every instance is a process: this program again, told by its environment to be one. Nothing waits for a time to pass
//! where something can be awaited, and nothing is awaited for ever.
#![cfg(all(feature = "redis", feature = "postgres", unix))]
#![expect(clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "helpers of tests")]
#![expect(clippy::disallowed_methods, reason = "real processes in real time")]

mod chaos;
mod counting;
mod dependency;
mod detection;
mod fleet;
mod forks;
#[cfg(feature = "http")]
mod health;
mod honest;
mod instance;
mod laws;
mod operators;
mod outages;
#[path = "../stores/postgres_server.rs"]
#[expect(dead_code, reason = "not every file needs every helper")]
mod postgres_server;
mod probing;
mod proxy;
mod records;
#[path = "../stores/servers.rs"]
#[expect(dead_code, reason = "not every file needs every helper")]
mod servers;
mod store;
#[cfg(all(feature = "cli", feature = "http", feature = "tracing", feature = "counts"))]
mod walk;

/// Not a test but what children of the tests run.
#[test]
fn one_instance_of_a_fleet() {
    assert!(!instance::run(), "a child ends with its parent");
}
