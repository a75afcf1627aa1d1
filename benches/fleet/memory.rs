//! What an idle breaker that a fleet shares has in memory, in a process of its own: what another measurement has left in this
//! one would be used again first.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fusebox::CircuitBreaker;
use fusebox::store::{PostgresStore, RedisStore, Store};

use super::report::Report;
use super::scale::make_breakers;

/// Tells the process which store it is about.
const STORE: &str = "FUSEBOX_BENCH_MEMORY";
const BREAKERS: usize = 50_000;
/// So many join together: what that takes for a while is taken again by the next.
const PART: usize = 1_000;
/// Four hundred, and a name.
const MOST: f64 = 410.0;

pub(crate) fn measure(url: &str, report: &mut Report) {
    let told =
        Command::new(std::env::current_exe().expect("this program")).env(STORE, url).output().expect("a process");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told = String::from_utf8_lossy(&told.stdout).trim().parse().expect("a number of bytes");
    report.most("bytes of an idle shared breaker beyond a local one", told, MOST);
}

/// Runs as that process, if it is one.
pub(crate) fn run() -> bool {
    let Ok(url) = std::env::var(STORE) else {
        return false;
    };
    let store: Arc<dyn Store> = if url.starts_with("redis") {
        Arc::new(RedisStore::builder(url.as_str()).build().expect("a URL"))
    } else {
        Arc::new(PostgresStore::builder().url(url).build().expect("a URL"))
    };
    let at_first = resident();
    let local = make_breakers(0..BREAKERS, None);
    let with_local = resident();
    let has_heard = |breaker: &CircuitBreaker| breaker.snapshot().fleet.is_some_and(|fleet| fleet.heard.is_some());
    let mut shared = Vec::with_capacity(BREAKERS);
    for part in 0..BREAKERS / PART {
        shared.extend(make_breakers(part * PART..(part + 1) * PART, Some(&store)));
        while !shared[part * PART..].iter().all(has_heard) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let with_shared = resident();
    let (a_local, a_shared) = ((with_local - at_first) / BREAKERS, (with_shared - with_local) / BREAKERS);
    println!("{}", a_shared.saturating_sub(a_local));
    drop((local, shared));
    true
}

/// What this process has in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096
}
