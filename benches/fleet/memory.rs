//! What an idle breaker that a fleet shares has in memory, in a process of its own: what another measurement has left
//! in this one would be used again first.

use std::process::Command;
use std::sync::Arc;

use fusebox::store::{PostgresStore, RedisStore, Store};

use super::idle_memory;
use super::report::Report;

/// Tells the process which store it is about.
const STORE: &str = "FUSEBOX_BENCH_MEMORY";
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
    println!("{}", idle_memory::beyond_a_local_one(&store));
    true
}
