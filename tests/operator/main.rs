//! An operator without a breaker, over the stores of running fleets: in memory, on real Redis and on real PostgreSQL.
#![cfg(all(feature = "redis", feature = "postgres"))]
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod both;
mod commands;
mod listing;
mod queries;
mod races;
mod records;
mod watching;

use std::sync::Arc;
use std::time::Duration;

use fusebox::fleet::{FleetBreaker, FleetSnapshot, Operator};
use fusebox::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, Cooldown, detect};

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../stores/postgres_server.rs"]
mod postgres_server;
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../stores/servers.rs"]
mod servers;

const NAME: &str = "pay/ments";

/// The time that there is for anything that an engine does by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two instances of a fleet, each with an engine of its own, and an operator beside them.
struct Bed {
    fleet: [CircuitBreaker; 2],
    operator: Operator,
}

/// Three failures open for 77 seconds.
fn usual(builder: CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder {
    builder.detector(detect::failures(3).within(Duration::from_secs(60))).cooldown(Cooldown::fixed(SECONDS_77))
}

const SECONDS_77: Duration = Duration::from_secs(77);

impl Bed {
    async fn new(raw: &both::Raw) -> Self {
        Self::with(raw, usual).await
    }

    async fn with(raw: &both::Raw, f: impl Fn(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder) -> Self {
        let fleet = [instance(raw, &f).await, instance(raw, &f).await];
        fleet[0].acquire().expect("closed").failure();
        for breaker in &fleet {
            breaker.flush().await;
        }
        Self { fleet, operator: Operator::new(raw.store().await) }
    }

    async fn seen(&self) -> FleetSnapshot {
        snapshot(&self.operator.get(NAME).await.expect("answers").expect("is there"))
    }

    /// Waits until both instances say of themselves what the operator shows, and returns that.
    async fn agree(&self, what: &str) -> FleetSnapshot {
        let deadline = now() + PATIENCE;
        loop {
            let seen = self.seen().await;
            let apart = self.fleet.iter().find_map(|breaker| difference(breaker, &seen));
            let Some(apart) = apart else { return seen };
            assert!(now() < deadline, "{what}: {apart}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn instance(
    raw: &both::Raw,
    f: impl Fn(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
) -> CircuitBreaker {
    let config = f(CircuitBreakerConfig::builder(NAME).store(raw.store().await)).build().expect("a config");
    CircuitBreaker::new(config)
}

/// In what an instance and the record differ.
fn difference(breaker: &CircuitBreaker, seen: &FleetSnapshot) -> Option<String> {
    let own = breaker.snapshot();
    let fleet = own.fleet.as_ref().expect("shared");
    let near = |a: Option<Duration>, b: Option<Duration>| match (a, b) {
        (Some(a), Some(b)) => a.abs_diff(b) < Duration::from_millis(500),
        (None, None) => true,
        _ => false,
    };
    let is_same = own.state == seen.state
        && own.reason == seen.reason
        && own.overridden == seen.overridden
        && own.openings == seen.openings
        && near(own.retry_after, seen.retry_after)
        && fleet.generation == Some(seen.generation);
    (!is_same).then(|| format!("{own:?}\n{seen:?}"))
}

fn snapshot(row: &FleetBreaker) -> FleetSnapshot {
    row.snapshot().unwrap_or_else(|| panic!("{row}")).clone()
}

#[expect(clippy::disallowed_methods, reason = "real servers, in real time")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Waits for something that an engine does in its own time.
async fn until(what: &str, f: impl Fn() -> bool) {
    let deadline = now() + PATIENCE;
    while !f() {
        assert!(now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn operator(store: Arc<dyn fusebox::store::Store>) -> Operator {
    Operator::new(store).create_missing()
}
