//! The measurements.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fusebox::fleet::Fleet;
use fusebox::store::{Commit, Committed, Store, Summary, Version};
use fusebox::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, Clock, State,
    clock::{SystemClock, Timestamp},
    detect,
};
use tokio::runtime::Runtime;

use super::Connect;
use super::counted::{Counted, Counts};
use super::report::Report;

/// Instances of one breaker, each with an engine of its own.
pub(crate) struct Instances {
    pub(crate) breakers: Vec<CircuitBreaker>,
    pub(crate) counts: Arc<Counts>,
}

impl Instances {
    pub(crate) fn start(
        runtime: &Runtime,
        connect: &Connect,
        (name, count, pushes): (&str, usize, bool),
        settings: impl Fn(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
    ) -> Self {
        let counts = Arc::<Counts>::default();
        let breaker = |_| {
            // As in a process: an engine, and a store with connections of its own.
            let store: Arc<dyn Store> = Arc::new(Counted { store: connect(), counts: Arc::clone(&counts), pushes });
            let config = CircuitBreakerConfig::builder(name).store(store);
            CircuitBreaker::new(settings(config).build().expect("a configuration"))
        };
        let breakers: Vec<_> = (0..count).map(breaker).collect();
        let is_alone = |breaker: &CircuitBreaker| breaker.snapshot().fleet.is_none_or(|fleet| fleet.away.is_some());
        let start = Instant::now();
        while breakers.iter().any(is_alone) {
            assert!(start.elapsed() < Duration::from_secs(60), "not all instances have found the store");
            runtime.block_on(futures::future::join_all(breakers.iter().map(CircuitBreaker::flush)));
        }
        // Whoever listens has been told that it does.
        thread::sleep(Duration::from_secs(1));
        for count in [&counts.loads, &counts.commits, &counts.conflicts, &counts.batches, &counts.elsewhere] {
            count.store(0, Relaxed);
        }
        Self { breakers, counts }
    }

    pub(crate) fn until_all(&self, state: State, deadline: Duration) -> Duration {
        let start = Instant::now();
        while self.breakers.iter().any(|breaker| breaker.state() != state) {
            assert!(start.elapsed() < deadline, "not all are {state} after {deadline:?}");
            thread::sleep(Duration::from_micros(200));
        }
        start.elapsed()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
pub(crate) const fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}

/// A thousand instances see one failure each, at once; a hundred open the circuit.
pub(crate) fn storm(runtime: &Runtime, connect: &Connect, report: &mut Report) {
    const INSTANCES: usize = 1_000;
    let detector = || detect::failures(100).within(Duration::from_secs(60));
    let instances =
        Instances::start(runtime, connect, ("storm", INSTANCES, true), |config| config.detector(detector()));
    let start = Instant::now();
    for breaker in &instances.breakers {
        // The first hundred may have opened it for the others already.
        if let Ok(permit) = breaker.acquire() {
            permit.failure();
        }
    }
    while instances.breakers.iter().all(|breaker| breaker.state() == State::Closed) {
        assert!(start.elapsed() < Duration::from_secs(30), "nobody opens");
        thread::sleep(Duration::from_micros(200));
    }
    let first = start.elapsed();
    let all = first + instances.until_all(State::Open, Duration::from_secs(30));
    let operations = instances.counts.commits.load(Relaxed);
    report.most("storm of 1,000: commits an instance", ratio(operations, 1_000), 2.0);
    report.time("storm of 1,000: the first is open after", &format!("{first:.0?}"));
    report.time("storm of 1,000: all are open after", &format!("{all:.0?}"));
    drop(instances);
    let plain = plain_swaps(runtime, connect, INSTANCES);
    report.time("1,000 plain compare-and-swaps", &format!("{plain:.0?}"));
    report.most("storm of 1,000: its time of theirs", all.as_secs_f64() / plain.as_secs_f64(), 0.1);
}

/// The other way to do it: all write to one key, each until its own write has won. Returns how long that takes, or the time
/// after which that is given up.
fn plain_swaps(runtime: &Runtime, connect: &Connect, count: usize) -> Duration {
    const PATIENCE: Duration = Duration::from_secs(60);
    let stores: Vec<_> = (0..count).map(|_| connect()).collect();
    runtime.block_on(async {
        // So that all have their connections: a store that has none yet says so at once.
        for store in &stores {
            while store.load(&["plain"]).await.is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let start = Instant::now();
        let swaps = stores.into_iter().map(|store| tokio::spawn(async move { swap(&*store).await }));
        tokio::time::timeout(PATIENCE, futures::future::join_all(swaps)).await.ok();
        start.elapsed()
    })
}

async fn swap(store: &dyn Store) {
    let mut version = Version::NONE;
    loop {
        let record = Bytes::from_static(&[b'x'; 100]);
        let commit = Commit::new(version, record, Summary::closed(1), Duration::from_secs(60));
        match store.commit("plain", commit).await {
            Ok(Committed::Conflict(newest)) => version = newest.version,
            Ok(_) => return,
            // It has too much to do.
            Err(_) => {}
        }
    }
}

/// One instance opens: when do nine others know?
pub(crate) fn propagation(runtime: &Runtime, connect: &Connect, report: &mut Report) {
    let told = opens_everywhere(runtime, connect, ("propagation true", true), Duration::ZERO);
    report.time("from the deciding failure to all ten open, with push", &format!("{told:.1?}"));
    // Engines that begin together look together at first, a second later: at each of these times another part of an interval
    // is over.
    let polls = (0_u32..5).map(|round| {
        let name = format!("propagation false {round}");
        opens_everywhere(runtime, connect, (&name, false), Duration::from_millis(230) * round)
    });
    let longest = polls.max().unwrap_or_default();
    // The interval is a second, more or less by a fifth; and the way there and back.
    let intervals = longest.as_secs_f64() / 1.2;
    let what = "the same without push, in poll intervals (the longest of five)";
    report.most(what, intervals, 1.4 / 1.2);
    // Were it sooner, something else than a poll would have told them.
    report.least("the same, so that it was a poll that told them", intervals, 0.3);
}

/// How long that takes, begun so much later than it could be.
fn opens_everywhere(runtime: &Runtime, connect: &Connect, (name, pushes): (&str, bool), later: Duration) -> Duration {
    let instances = Instances::start(runtime, connect, (name, 10, pushes), |config| config);
    thread::sleep(later);
    for _ in 0..5 {
        instances.breakers[0].acquire().expect("closed").failure();
    }
    let took = instances.until_all(State::Open, Duration::from_secs(10));
    assert_eq!(instances.counts.elsewhere.load(Relaxed), 0, "a store is asked by its engine only");
    took
}

type Setting = fn(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder;

/// Every kind of detector that there is.
const RULES: [(&str, Setting); 7] = [
    ("failures(5).within(60s)", |config| config.detector(detect::failures(5).within(Duration::from_secs(60)))),
    ("failures(5).of_last(20)", |config| config.detector(detect::failures(5).of_last(20))),
    ("consecutive_failures(5)", |config| config.detector(detect::consecutive_failures(5))),
    ("failure_rate(0.5).of_last(100)", |config| config.detector(detect::failure_rate(0.5).of_last(100))),
    ("failure_rate(0.5).within(60s)", |config| {
        config.detector(detect::failure_rate(0.5).within(Duration::from_secs(60)))
    }),
    ("slow_call_rate(0.5).of_last(100)", |config| {
        config.detector(detect::slow_call_rate(0.5).slower_than(Duration::from_secs(1)).of_last(100))
    }),
    ("slow_call_rate(0.5).within(60s)", |config| {
        let rate = detect::slow_call_rate(0.5).slower_than(Duration::from_secs(1));
        config.detector(rate.within(Duration::from_secs(60)))
    }),
];

/// A million healthy calls.
pub(crate) fn healthy_calls(runtime: &Runtime, connect: &Connect, report: &mut Report) {
    let mut begun_by_calls = 0;
    for (rule, detector) in RULES {
        for (what, fleet) in [("pooled", Fleet::pooled()), ("votes", Fleet::votes(3))] {
            let name = format!("healthy {what} {rule}");
            let settings = |config| detector(config).fleet(fleet.clone());
            let instances = Instances::start(runtime, connect, (&name, 1, true), settings);
            for _ in 0..1_000_000 {
                instances.breakers[0].acquire().expect("closed").success();
            }
            // Longer than a poll.
            thread::sleep(Duration::from_millis(1_300));
            if rule.starts_with("failures(5).within") {
                // Of good calls that never matter, a flush tells nothing either.
                runtime.block_on(instances.breakers[0].flush());
            }
            let Counts { commits, elsewhere, .. } = &*instances.counts;
            let row = format!("writes in a million healthy calls, {what}, {rule}");
            report.most(&row, ratio(commits.load(Relaxed), 1), 0.0);
            begun_by_calls += elsewhere.load(Relaxed);
        }
    }
    report.most("operations begun by those calls", ratio(begun_by_calls, 1), 0.0);
}

/// Calls while the server does not answer at all.
pub(crate) fn frozen(runtime: &Runtime, connect: &Connect, report: &mut Report, freeze: impl Fn(bool)) {
    let instances = Instances::start(runtime, connect, ("frozen", 1, true), |config| config);
    let breaker = &instances.breakers[0];
    let time = || {
        let mut best = Duration::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            for _ in 0..100_000 {
                breaker.acquire().expect("closed").success();
            }
            best = best.min(start.elapsed());
        }
        best
    };
    let up = time();
    freeze(true);
    breaker.acquire().expect("closed").failure();
    let hung = time();
    freeze(false);
    report.time("100,000 closed calls, the server up", &format!("{up:.0?}"));
    report.time("100,000 closed calls, the server frozen", &format!("{hung:.0?}"));
    let elsewhere = instances.counts.elsewhere.load(Relaxed);
    report.most("operations begun by calls", ratio(elsewhere, 1), 0.0);
}

/// Counts how often it is read on an engine's thread: the engine reads a breaker's clock once each time it takes its lock.
#[derive(Clone, Debug, Default)]
struct CountingClock(Arc<AtomicU64>);

impl Clock for CountingClock {
    fn now(&self) -> Timestamp {
        if thread::current().name() == Some("fusebox-fleet") {
            self.0.fetch_add(1, Relaxed);
        }
        SystemClock.now()
    }
}

/// How often a batch takes the engine to a breaker's lock, which calls want as well.
pub(crate) fn turns(runtime: &Runtime, connect: &Connect, report: &mut Report) {
    let clock = CountingClock::default();
    let settings = |config: CircuitBreakerConfigBuilder| {
        config.detector(detect::failures(60_000).within(Duration::from_secs(60))).clock(clock.clone())
    };
    let instances = Instances::start(runtime, connect, ("turns", 1, true), settings);
    let turns = clock.0.load(Relaxed);
    for _ in 0..40 {
        instances.breakers[0].acquire().expect("closed").failure();
        thread::sleep(Duration::from_millis(130));
    }
    let Counts { batches, loads, .. } = &*instances.counts;
    // Each second the engine looks at the breaker, and brings it what the store has.
    let of_batches = (clock.0.load(Relaxed) - turns).saturating_sub(2 * loads.load(Relaxed));
    report.most("turns at the breaker's lock for a committed batch", ratio(of_batches, batches.load(Relaxed)), 2.0);
}
