//! What a breaker that a fleet shares takes beyond one of its own, while nothing happens to it. In a file of its own: it reads
//! what the whole process has in memory.
#![cfg(all(feature = "fleet", target_os = "linux"))]
#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test without a runtime waits for the engine's thread"
)]

use std::sync::Arc;
use std::time::Duration;

use fusebox::store::{MemoryStore, Store};
use fusebox::{CircuitBreaker, CircuitBreakerConfig};

const BREAKERS: usize = 50_000;
/// So many join together.
const PART: usize = 1_000;

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4_096
}

fn name(at: usize) -> String {
    format!("host-{at:05}")
}

fn breaker(at: usize, store: Option<&Arc<dyn Store>>) -> CircuitBreaker {
    let config = CircuitBreakerConfig::builder(name(at));
    let config = if let Some(store) = store { config.store(Arc::clone(store)) } else { config };
    CircuitBreaker::new(config.build().expect("a configuration"))
}

fn has_heard(breaker: &CircuitBreaker) -> bool {
    breaker.snapshot().fleet.is_some_and(|fleet| fleet.heard.is_some())
}

/// In 0.1.0 it was 2.9 KB.
#[test]
fn an_idle_breaker_that_a_fleet_shares_takes_no_more_than_400_bytes_and_its_name() {
    let at_first = resident();
    let local: Vec<_> = (0..BREAKERS).map(|at| breaker(at, None)).collect();
    let with_local = resident();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let mut shared = Vec::with_capacity(BREAKERS);
    for part in 0..BREAKERS / PART {
        // What it takes to join is taken again by the next.
        shared.extend((0..PART).map(|at| breaker(part * PART + at, Some(&store))));
        while !shared[part * PART..].iter().all(has_heard) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let with_shared = resident();
    let (a_local, a_shared) = ((with_local - at_first) / BREAKERS, (with_shared - with_local) / BREAKERS);
    let beyond = a_shared.saturating_sub(a_local);
    assert!(beyond <= 400 + name(0).len(), "{a_shared} bytes, {beyond} beyond the {a_local} of a local one");
    drop((local, shared));
}
