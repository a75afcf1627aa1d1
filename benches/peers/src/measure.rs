//! Time per call. Every cell is measured once a round, and cells are compared within a round, so
//! that a machine that changes its speed changes both; disturbed batches are repeated.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

pub type Runner = Box<dyn FnMut(u64) + Send>;

const BATCH_NS: f64 = 8e6;

pub static REPEATED: AtomicU32 = AtomicU32::new(0);

#[derive(Clone, Copy)]
pub struct Sample {
    /// Per call.
    pub ns: f64,
    /// Throughput of two threads over that of one, where two threads ran.
    pub scaling: f64,
}

/// What `a` costs in units of `b`, by rounds.
pub fn ratio(a: &[f64], b: &[f64]) -> f64 {
    median(a.iter().zip(b).map(|(a, b)| a / b))
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// Nanoseconds this thread was ready to run while another had its core. Being blocked in a mutex
/// is the breaker's own cost and not in it. Zero where the system does not say.
fn waited_for_core() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0.0)
}

/// Wall time, and how much of it was lost to other processes.
fn timed(run: impl FnOnce()) -> (f64, f64) {
    let waited = waited_for_core();
    let start = Instant::now();
    run();
    let wall = start.elapsed().as_nanos() as f64;
    (wall, waited_for_core() - waited)
}

/// From the first thread's start to the last one's end: threads that ran one after the other on a
/// core they had to share would otherwise pass for threads that do not disturb each other.
fn once(runners: &mut [Runner], n: u64) -> (f64, f64) {
    if let [runner] = runners {
        return timed(|| runner(n));
    }
    let line = Barrier::new(runners.len());
    let race = |runner: &mut Runner| {
        line.wait();
        let start = Instant::now();
        runner(n);
        (start, Instant::now())
    };
    let mut lost: f64 = 0.0;
    let mut spans = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = runners
            .iter_mut()
            .map(|runner| {
                scope.spawn(|| {
                    let waited = waited_for_core();
                    let span = race(runner);
                    (span, waited_for_core() - waited)
                })
            })
            .collect();
        for thread in threads {
            let (span, waited) = thread.join().unwrap();
            spans.push(span);
            lost = lost.max(waited);
        }
    });
    let start = spans.iter().map(|span| span.0).min().unwrap();
    let end = spans.iter().map(|span| span.1).max().unwrap();
    ((end - start).as_nanos() as f64, lost)
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Nanoseconds per call over all threads together.
fn batch(runners: &mut [Runner], n: u64) -> f64 {
    let mut least = f64::INFINITY;
    // Threads that have no core of their own wait for one, whatever else the machine does.
    let may_wait = runners.len() > cores();
    for _ in 0..8 {
        let (wall, lost) = once(runners, n);
        let per_call = wall / (n as f64 * runners.len() as f64);
        if may_wait || lost <= 0.015 * wall {
            return per_call;
        }
        REPEATED.fetch_add(1, Relaxed);
        least = least.min(per_call);
    }
    least
}

/// How many calls fill a batch.
fn calibrate(runner: &mut Runner) -> u64 {
    let mut n = 64;
    loop {
        let (wall, _) = timed(|| runner(n));
        if wall > 1e6 {
            return (n as f64 * BATCH_NS / wall).max(1.0) as u64;
        }
        n *= 2;
    }
}

/// One measurement of a cell. `make` builds runners for that many threads on one breaker; `n` is
/// found on first use.
pub fn sample(make: &dyn Fn(usize) -> Vec<Runner>, threads: usize, n: &mut u64) -> Sample {
    let mut one = make(1);
    if *n == 0 {
        *n = calibrate(&mut one[0]);
    }
    one[0](*n / 8 + 1);
    let alone = batch(&mut one, *n);
    if threads == 1 {
        return Sample { ns: alone, scaling: f64::NAN };
    }
    // As many calls in all, however many threads make them: a breaker that takes a turn of the
    // scheduler for each would take minutes.
    let ns = batch(&mut make(threads), (*n * 2 / threads as u64).max(1));
    Sample { ns, scaling: alone / ns }
}
