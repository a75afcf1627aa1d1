//! What it costs to keep count of failures that many instances have all the time.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fusebox::detect;
use tokio::runtime::Runtime;

use super::Connect;
use super::counted::Counts;
use super::measure::{Instances, ratio};
use super::report::Report;

/// How often an instance has a failure to tell of.
const FLUSH: Duration = Duration::from_millis(100);
const RUN: Duration = Duration::from_secs(3);
const WRITERS: [usize; 4] = [1, 10, 50, 200];

/// How long a load of one record takes: the median of some.
pub(crate) fn load_time(runtime: &Runtime, connect: &Connect) -> Duration {
    let store = connect();
    let mut times: Vec<_> = (0..40)
        .map(|_| {
            let start = Instant::now();
            // The first ones may find that there is no connection yet.
            drop(runtime.block_on(store.load(&["nothing"])));
            let took = start.elapsed();
            std::thread::sleep(Duration::from_millis(5));
            took
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// What a fleet may need at each number of writers, where there is a limit.
pub(crate) struct Limits {
    /// How far away the server is, for the rows' names.
    pub(crate) how_far: &'static str,
    /// Operations a batch.
    pub(crate) operations: [Option<f64>; 4],
    /// So near, and so fast, that it takes nearly all that two hundred writers could tell.
    pub(crate) keeps_up: bool,
}

/// All fail all the time, and none trips: what does it take to keep count of that?
pub(crate) fn contention(runtime: &Runtime, connect: &Connect, report: &mut Report, limits: &Limits) {
    let most_conflicts = [0.05, 1.0, 1.0, 0.05];
    let Limits { how_far, operations, keeps_up } = limits;
    for (at, writers) in WRITERS.into_iter().enumerate() {
        let name = format!("contention {writers}{how_far}");
        let detector = || detect::failures(60_000).within(Duration::from_secs(60));
        // Nothing changes its state here, and none need listen.
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
        let limit = operations[at];
        let row = format!("operations a batch, {writers} writers{how_far}");
        report.most_or_number(&row, ratio(commits, batches), limit);
        let row = format!("conflicts a batch, {writers} writers{how_far}");
        report.most_or_number(&row, ratio(conflicts, batches), limit.map(|_| most_conflicts[at]));
        if writers == 200 {
            let wanted = RUN.as_secs_f64() / FLUSH.as_secs_f64() * 200.0;
            let row = format!("batches of those that could be, 200 writers{how_far}");
            if *keeps_up {
                report.least(&row, ratio(batches, 1) / wanted, 0.9);
            } else {
                report.number(&row, ratio(batches, 1) / wanted);
            }
        }
    }
}
