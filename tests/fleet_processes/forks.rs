//! 58: processes that cannot be told apart by what they are called, or by what they remember.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fork::Fork;
use fusebox::fleet::Fleet;
use fusebox::store::{PostgresStore, RedisStore};
use fusebox::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, EventKind, Permit, detect};

use crate::fleet::{GRACE, start, until_all};
use crate::store::{Store, on_both_stores};

/// Where a process that is to fork finds what it shares, and how.
const FORKS: &str = "FUSEBOX_TEST_FORKS";

/// How many failures open a fleet that pools them: more than any one process has.
const FAILURES: u32 = 6;

fn config(url: &str, how: &str) -> CircuitBreakerConfigBuilder {
    let store: Arc<dyn fusebox::store::Store> = if url.starts_with("redis") {
        Arc::new(RedisStore::builder(url).build().expect("a store"))
    } else {
        Arc::new(PostgresStore::builder().url(url).build().expect("a store"))
    };
    let config = CircuitBreakerConfig::builder("payments").store(store).on_event(|event| match event.kind() {
        EventKind::StoreDegraded | EventKind::StoreImpaired => say(&format!("{event}")),
        _ => {}
    });
    let failures = if how == "votes" { FAILURES / 2 } else { FAILURES };
    let config = config.detector(detect::failures(failures).within(Duration::from_secs(60)));
    if how == "votes" { config.fleet(Fleet::votes(2)) } else { config }
}

/// In one piece: processes share the way out.
fn say(line: &str) {
    std::io::stdout().write_all(format!("\n@{} {line}\n", std::process::id()).as_bytes()).expect("there is a parent");
}

/// Not a test but what processes of the tests run: it makes a breaker, then two processes more of itself.
#[test]
fn one_process_that_forks() {
    let Ok(settings) = std::env::var(FORKS) else { return };
    let (how, url) = settings.split_once(' ').expect("two words");
    let breaker = CircuitBreaker::new(config(url, how).build().expect("a configuration"));
    // What is known before is known to all of them: the connections, the number of the writer, and one batch that it
    // has sent.
    breaker.acquire().expect("closed").success();
    futures::executor::block_on(breaker.flush());
    // Until the next poll its threads do nothing: no lock is held that would never be free in a child.
    sleep(Duration::from_millis(300));
    let mut children = Vec::new();
    for _ in 0..2 {
        match fork::fork().expect("another process") {
            Fork::Parent(child) => children.push(child),
            Fork::Child => {
                for _ in 0..FAILURES / 2 {
                    breaker.acquire().expect("lets calls through").failure();
                }
                until_open(&breaker);
            }
        }
    }
    for child in &children {
        assert!(fork::waitpid(*child).is_ok_and(|status| status == 0), "a child ends well");
    }
    until_open(&breaker);
}

/// Ends the process when the fleet is open, or is not.
fn until_open(breaker: &CircuitBreaker) {
    let until = Instant::now() + Duration::from_secs(20);
    while !breaker.snapshot().scope.eq(&fusebox::circuit_breaker::StateScope::Fleet) || !breaker.is_open() {
        if Instant::now() >= until {
            say(&format!("in vain: {:?}", breaker.snapshot()));
            std::process::exit(1);
        }
        sleep(Duration::from_millis(20));
    }
    let reason = breaker.snapshot().reason.map(|reason| reason.to_string());
    say(&format!("open: {}", reason.unwrap_or_default()));
    std::process::exit(0);
}

/// Not a test but what a process of the test runs: its fork uses the breaker, and is done with it.
#[test]
fn one_process_whose_fork_has_done() {
    let Ok(settings) = std::env::var(FORKS) else { return };
    let (how, url) = settings.split_once(' ').expect("two words");
    let breaker = CircuitBreaker::new(config(url, how).build().expect("a configuration"));
    futures::executor::block_on(breaker.flush());
    sleep(Duration::from_millis(300));
    let child = match fork::fork().expect("another process") {
        Fork::Parent(child) => child,
        Fork::Child => {
            let until = Instant::now() + Duration::from_secs(20);
            // No thread outlives the fork: the first call after it has been noticed starts one.
            while engines() == 0 && Instant::now() < until {
                breaker.acquire().map(Permit::failure).ok();
                sleep(Duration::from_millis(20));
            }
            say(&format!("engines: {}", engines()));
            drop(breaker);
            while engines() > 0 && Instant::now() < until {
                sleep(Duration::from_millis(20));
            }
            say(&format!("engines: {}", engines()));
            std::process::exit(0);
        }
    };
    assert!(fork::waitpid(child).is_ok_and(|status| status == 0), "a child ends well");
}

/// Threads of this process that talk to a store.
fn engines() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim() == "fusebox-fleet").count()
}

/// Runs such a process, and returns what it said.
fn said_by(process: &str, settings: &str) -> (Vec<String>, String) {
    let process = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", &format!("forks::{process}"), "--nocapture", "--test-threads=1"])
        .env(FORKS, settings)
        .stdin(Stdio::null())
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&process.stdout).into_owned();
    assert!(process.status.success(), "{said}");
    let lines = said.lines().filter_map(|line| Some(line.strip_prefix('@')?.split_once(' ')?.1.to_owned()));
    (lines.collect(), said)
}

/// Two forks of one process fail three times each; they and their parent open as one.
fn forks_open_as_one(store: &Store, how: &str, reason: &str) {
    let (lines, said) = said_by("one_process_that_forks", &format!("{how} {}", store.url()));
    let open: Vec<_> = lines.iter().filter(|line| line.starts_with("open: ") && line.contains(reason)).collect();
    assert!(lines.len() == 3 && open.len() == 3, "{how}: {said}");
}

/// What the thread of the parent had in memory keeps nothing going in a child.
#[test]
fn a_fork_that_has_dropped_its_breakers_has_no_thread_for_them() {
    on_both_stores(|store| {
        let (lines, said) = said_by("one_process_whose_fork_has_done", &format!("pooled {}", store.url()));
        assert_eq!(lines, ["engines: 1", "engines: 0"], "{said}");
    });
}

#[test]
fn c58_forks_of_one_process_are_counted_each() {
    on_both_stores(|store| forks_open_as_one(store, "pooled", "6 failures"));
}

#[test]
fn c58_forks_of_one_process_have_a_vote_each() {
    on_both_stores(|store| forks_open_as_one(store, "votes", "2 instances"));
}

#[test]
fn c58_processes_of_one_host_have_a_vote_each() {
    on_both_stores(|store| {
        let fleet = start(3, &store.settings().failures_in_a_row(3).votes(2).cooldown(Duration::from_secs(60)));
        fleet[0].fail(3);
        fleet[1].fail(3);
        until_all(&fleet, "open", GRACE);
    });
}
