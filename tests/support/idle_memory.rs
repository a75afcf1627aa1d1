//! What an idle breaker that a fleet shares has in memory. It reads what the whole process has: what other measurements have
//! left in it would be used again first, so a process does nothing else.

use std::sync::Arc;
use std::time::Duration;

use fusebox::store::Store;
use fusebox::{CircuitBreaker, CircuitBreakerConfig};

const BREAKERS: usize = 50_000;
/// So many join together: what that takes for a while is taken again by the next.
const PART: usize = 1_000;

/// How many bytes an idle breaker over that store takes beyond one of its own, its name of ten letters included.
pub(crate) fn beyond_a_local_one(store: &Arc<dyn Store>) -> usize {
    let at_first = resident();
    let local: Vec<_> = (0..BREAKERS).map(|at| breaker(at, None)).collect();
    let with_local = resident();
    let mut shared = Vec::with_capacity(BREAKERS);
    for part in 0..BREAKERS / PART {
        shared.extend((0..PART).map(|at| breaker(part * PART + at, Some(store))));
        while !shared[part * PART..].iter().all(has_heard) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let grown = [with_local - at_first, resident() - with_local].map(|bytes| bytes / BREAKERS);
    drop((local, shared));
    grown[1].saturating_sub(grown[0])
}

fn breaker(at: usize, store: Option<&Arc<dyn Store>>) -> CircuitBreaker {
    let config = CircuitBreakerConfig::builder(format!("host-{at:05}"));
    let config = if let Some(store) = store { config.store(Arc::clone(store)) } else { config };
    CircuitBreaker::new(config.build().expect("a configuration"))
}

fn has_heard(breaker: &CircuitBreaker) -> bool {
    breaker.snapshot().fleet.is_some_and(|fleet| fleet.heard.is_some())
}

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("Linux") * 4_096
}
