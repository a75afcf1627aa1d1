//! The measurements.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fusebox::fleet::Fleet;
use fusebox::store::Store;
use fusebox::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, State, detect};
use tokio::runtime::Runtime;

use super::Connect;
use super::counted::{Counted, Counts};
use super::report::Report;

/// How often an instance has a failure to tell of.
const FLUSH: Duration = Duration::from_millis(100);

/// Instances of one breaker, each with an engine of its own.
pub(crate) struct Instances {
    pub(crate) breakers: Vec<CircuitBreaker>,
    counts: Arc<Counts>,
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
        std::thread::sleep(Duration::from_secs(1));
        for count in [&counts.loads, &counts.commits, &counts.conflicts, &counts.batches, &counts.elsewhere] {
            count.store(0, Relaxed);
        }
        Self { breakers, counts }
    }

    pub(crate) fn until_all(&self, state: State, deadline: Duration) -> Duration {
        let start = Instant::now();
        while self.breakers.iter().any(|breaker| breaker.state() != state) {
            assert!(start.elapsed() < deadline, "not all are {state} after {deadline:?}");
            std::thread::sleep(Duration::from_micros(200));
        }
        start.elapsed()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
const fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}

/// Everybody fails all the time, and nobody trips: what does it take to keep count of that?
pub(crate) fn contention(runtime: &Runtime, connect: &Connect, report: &mut Report, most_writers: usize) {
    const RUN: Duration = Duration::from_secs(3);
    let cases = [(1_usize, 1.05, 0.05), (10, 2.4, 1.0), (50, 1.7, 1.0), (200, 1.2, 0.05)];
    for (writers, most, most_conflicts) in cases.into_iter().filter(|(writers, ..)| *writers <= most_writers) {
        let name = format!("contention {writers}");
        let detector = || detect::failures(60_000).within(Duration::from_secs(60));
        // Nothing changes its state here, and two hundred listeners are more than a server for tests has connections for.
        let instances = Instances::start(runtime, connect, (&name, writers, false), |c| c.detector(detector()));
        let start = Instant::now();
        while start.elapsed() < RUN {
            // Each of them once in each interval, and not all at the same time.
            for part in instances.breakers.chunks(writers.div_ceil(10)) {
                part.iter().for_each(|breaker| breaker.acquire().expect("closed").failure());
                std::thread::sleep(FLUSH / 10);
            }
        }
        let Counts { commits, conflicts, batches, .. } = &*instances.counts;
        let (commits, conflicts, batches) = (commits.load(Relaxed), conflicts.load(Relaxed), batches.load(Relaxed));
        report.most(&format!("operations a batch, {writers} writers"), ratio(commits, batches), most);
        report.most(&format!("conflicts a batch, {writers} writers"), ratio(conflicts, batches), most_conflicts);
        if writers == 200 {
            let wanted = RUN.as_secs_f64() / FLUSH.as_secs_f64() * 200.0;
            report.least("batches of those that could be, 200 writers", ratio(batches, 1) / wanted, 0.9);
        }
    }
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
        std::thread::sleep(Duration::from_micros(200));
    }
    let first = start.elapsed();
    let all = first + instances.until_all(State::Open, Duration::from_secs(30));
    let operations = instances.counts.commits.load(Relaxed);
    report.most("storm of 1,000: commits an instance", ratio(operations, 1_000), 2.0);
    report.time("storm of 1,000: the first is open after", &format!("{first:.0?}"));
    report.time("storm of 1,000: all are open after", &format!("{all:.0?}"));
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
    std::thread::sleep(later);
    for _ in 0..5 {
        instances.breakers[0].acquire().expect("closed").failure();
    }
    let took = instances.until_all(State::Open, Duration::from_secs(10));
    assert_eq!(instances.counts.elsewhere.load(Relaxed), 0, "a store is asked by its engine only");
    took
}

/// A million healthy calls.
pub(crate) fn healthy_calls(runtime: &Runtime, connect: &Connect, report: &mut Report) {
    for (what, fleet) in [("pooled failures", Fleet::pooled()), ("votes", Fleet::votes(3))] {
        let name = format!("healthy {what}");
        let instances = Instances::start(runtime, connect, (&name, 1, true), |config| config.fleet(fleet.clone()));
        for _ in 0..1_000_000 {
            instances.breakers[0].acquire().expect("closed").success();
        }
        runtime.block_on(instances.breakers[0].flush());
        let Counts { commits, elsewhere, .. } = &*instances.counts;
        report.most(&format!("writes in a million healthy calls, {what}"), ratio(commits.load(Relaxed), 1), 0.0);
        report.most("operations begun by calls", ratio(elsewhere.load(Relaxed), 1), 0.0);
    }
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
