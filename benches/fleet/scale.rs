//! Very many breakers over one store, to which nothing happens.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fusebox::store::Store;
use fusebox::{CircuitBreaker, CircuitBreakerConfig, State};
use tokio::runtime::Runtime;

use super::Connect;
use super::counted::{Counted, Counts};
use super::report::Report;

/// What may be done to a server.
pub(crate) struct Server<'a> {
    /// What the clients of an application do not see: they are cut off.
    pub(crate) cut: &'a dyn Fn(),
    /// It stands still, or goes on.
    pub(crate) freeze: &'a dyn Fn(bool),
}

/// Breakers of one instance over one store.
struct Breakers {
    all: Vec<CircuitBreaker>,
    counts: Arc<Counts>,
}

impl Breakers {
    fn join(connect: &Connect, count: usize) -> Self {
        let counts = Arc::<Counts>::default();
        let store: Arc<dyn Store> = Arc::new(Counted { store: connect(), counts: Arc::clone(&counts), pushes: true });
        let breaker = |at| {
            let config = CircuitBreakerConfig::builder(format!("host-{at:05}")).store(Arc::clone(&store));
            CircuitBreaker::new(config.build().expect("a configuration"))
        };
        Self { all: (0..count).map(breaker).collect(), counts }
    }

    fn operations(&self) -> u64 {
        [&self.counts.loads, &self.counts.commits, &self.counts.changes].map(|count| count.load(Relaxed)).iter().sum()
    }

    /// Waits until all have the store, and tells how long that took, how much of a processor, and how many operations.
    fn until_together(&self, since: &Mark) -> (Duration, Duration, u64) {
        let is_away = |breaker: &CircuitBreaker| {
            breaker
                .snapshot()
                .fleet
                .is_none_or(|fleet| fleet.away.is_some() || fleet.generation.is_none() && fleet.heard.is_none())
        };
        while self.all.iter().any(is_away) {
            assert!(since.at.elapsed() < Duration::from_secs(60), "not all have found the store");
            std::thread::sleep(Duration::from_millis(20));
        }
        since.so_far(self)
    }
}

/// A moment, to measure from.
struct Mark {
    at: Instant,
    busy: Duration,
    operations: u64,
}

impl Mark {
    fn of(breakers: &Breakers) -> Self {
        Self { at: Instant::now(), busy: engines_busy(), operations: breakers.operations() }
    }

    fn so_far(&self, breakers: &Breakers) -> (Duration, Duration, u64) {
        let busy = engines_busy().saturating_sub(self.busy);
        (self.at.elapsed(), busy, breakers.operations() - self.operations)
    }
}

/// How long engines have been busy so far, as Linux counts it.
fn engines_busy() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let busy = tasks.filter_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanos: u64 = stat.split_whitespace().next()?.parse().ok()?;
        name.starts_with("fusebox").then(|| Duration::from_nanos(nanos))
    });
    busy.sum()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
const fn number(count: u64) -> f64 {
    count as f64
}

pub(crate) fn scale(runtime: &Runtime, connect: &Connect, report: &mut Report, per_second: f64, server: &Server<'_>) {
    for count in [1_000_usize, 50_000] {
        let start = Instant::now();
        let breakers = Breakers::join(connect, count);
        let mark = Mark { at: start, busy: Duration::ZERO, operations: 0 };
        let told = |report: &mut Report, what: &str, (took, busy, operations): (Duration, Duration, u64), most: f64| {
            report.most(&format!("{count} {what}: operations"), number(operations), most);
            report.time(&format!("{count} {what}: all known after, of a processor"), &format!("{took:.1?} {busy:.1?}"));
        };
        let busy = engines_busy();
        let (took, _, operations) = breakers.until_together(&mark);
        told(report, "breakers join", (took, engines_busy().saturating_sub(busy), operations), 250.0);
        std::thread::sleep(Duration::from_secs(3));

        let idle = Mark::of(&breakers);
        std::thread::sleep(Duration::from_secs(10));
        let (took, busy, operations) = idle.so_far(&breakers);
        report.most(
            &format!("{count} idle breakers: operations a second"),
            number(operations) / took.as_secs_f64(),
            per_second,
        );
        let share = busy.as_secs_f64() / took.as_secs_f64() * 100.0;
        report.time(&format!("{count} idle breakers: of a processor"), &format!("{share:.2} %"));

        let mark = Mark::of(&breakers);
        (server.cut)();
        std::thread::sleep(Duration::from_secs(5));
        told(report, "breakers, reconnected", mark.so_far(&breakers), 250.0);

        let mark = Mark::of(&breakers);
        (server.freeze)(true);
        std::thread::sleep(Duration::from_secs(5));
        (server.freeze)(false);
        let outage = mark.so_far(&breakers);
        let back = Mark::of(&breakers);
        let (took, busy, operations) = breakers.until_together(&back);
        std::thread::sleep(Duration::from_secs(2));
        told(report, "breakers after an outage of 5 s", (took, busy + outage.1, operations + outage.2), 260.0);

        // Another instance opens one of them, and its notice does not come.
        breakers.counts.is_deaf.store(true, Relaxed);
        let other: Arc<dyn Store> = Arc::new(Counted { store: connect(), counts: Arc::default(), pushes: false });
        let at = count * 2 / 3;
        let config =
            CircuitBreakerConfig::builder(format!("host-{at:05}")).store(other).build().expect("a configuration");
        let one = CircuitBreaker::new(config);
        one.trip().expect("no override");
        let start = Instant::now();
        while breakers.all[at].state() != State::Open {
            assert!(start.elapsed() < Duration::from_secs(10), "nothing is heard of it");
            std::thread::sleep(Duration::from_millis(1));
        }
        // The interval is a second, more or less by a fifth.
        let took = start.elapsed().as_secs_f64();
        report.most(&format!("{count} breakers, without push: one that opens is known, in polls"), took, 1.2 * 1.2);
        // One that is open is read in each poll, and the next breakers are to be idle, all of them.
        one.reset().expect("no override");
        runtime.block_on(one.flush());
    }
}
