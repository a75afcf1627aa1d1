//! Metrics as a real Prometheus sees them, and what is made of them: alerts, a board, a chart.
//!
//! Nothing here counts on something being done within a time: Prometheus is asked again and again, up to a bound.
#![cfg(all(feature = "prometheus-client", feature = "metrics", feature = "redis", feature = "postgres"))]
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]
#![expect(clippy::float_cmp, reason = "counts are whole")]

mod alerts;
mod answers;
mod app;
mod board;
mod cast;
mod chart;
mod counted;
mod fleets;
mod keys;
mod moments;
mod outage;
mod rules;
mod server;
mod tally;

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../operator/both.rs"]
mod both;
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../stores/postgres_server.rs"]
mod postgres_server;
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../stores/servers.rs"]
mod servers;
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

/// The time that there is for anything that servers and engines do by themselves.
const PATIENCE: Duration = Duration::from_secs(40);

/// Asks until there is an answer, and fails with why there was none.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = support::timer_now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(seen) => assert!(support::timer_now() < deadline, "in vain: {what}: {seen}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A file of the repository.
fn text_of(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).expect("a text file")
}

/// Seconds since 1970, as Prometheus has them.
#[expect(clippy::disallowed_methods, reason = "what is compared with the time of real servers")]
fn unix_now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64()
}
