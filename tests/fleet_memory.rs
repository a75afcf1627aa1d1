//! What a breaker that a fleet shares takes beyond one of its own, while nothing happens to it. In a file of its own:
//! it reads what the whole process has in memory.
#![cfg(all(feature = "fleet", target_os = "linux"))]
#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test without a runtime waits for the engine's thread"
)]

#[path = "support/idle_memory.rs"]
mod idle_memory;

use std::sync::Arc;

use fusebox::store::{MemoryStore, Store};

/// In 0.1.0 it was 2.9 KB.
#[test]
fn an_idle_breaker_that_a_fleet_shares_takes_no_more_than_400_bytes_and_its_name() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let beyond = idle_memory::beyond_a_local_one(&store);
    assert!(beyond <= 410, "{beyond} bytes");
}
