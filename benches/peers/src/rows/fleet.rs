//! Breakers that share their state.

use super::Setup;
use super::ours::last_calls_of;
use fusebox::CircuitBreaker;
use fusebox::store::{MemoryStore, Store};
use std::sync::Arc;
use std::time::Duration;

/// Instances of a fleet, over a store in memory; they have joined once they have heard from it.
pub fn shared(names: &[&str]) -> (Arc<dyn Store>, Vec<CircuitBreaker>) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let mut breakers = Vec::with_capacity(names.len());
    // What many take at once to join stays taken for the next.
    for part in names.chunks(1_000) {
        let joining = breakers.len();
        breakers.extend(part.iter().map(|name| {
            let config = last_calls_of(name, Setup::STEADY).store(store.clone()).build();
            CircuitBreaker::new(config.unwrap())
        }));
        let has_heard = |breaker: &CircuitBreaker| breaker.snapshot().fleet.is_some_and(|fleet| fleet.heard.is_some());
        while !breakers[joining..].iter().all(has_heard) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    (store, breakers)
}
