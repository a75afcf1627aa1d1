//! Counting from many threads, while others read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use fusebox::circuit_breaker::Counts;
use fusebox::{CircuitBreaker, CircuitBreakerConfig, Outcome, Registry, detect};

use crate::collector::Samples;
use crate::support::reuse_places;

const THREADS: u64 = 8;

/// What the threads have counted themselves, by outcome.
#[derive(Debug, Default)]
struct Told([AtomicU64; 4]);

impl Told {
    /// Makes a call by the breaker and counts it, if it goes through.
    fn call(&self, breaker: &CircuitBreaker, nth: u64) {
        let Ok(permit) = breaker.acquire() else { panic!("these breakers never open") };
        let (at, outcome) = match nth % 100 {
            7 => (1, Outcome::Failure),
            13 => (2, Outcome::Ignored),
            29 => (3, Outcome::Cancelled),
            _ => (0, Outcome::Success),
        };
        permit.report(outcome);
        self.0[at].fetch_add(1, Ordering::Relaxed);
    }

    fn all(&self) -> [u64; 4] {
        [0, 1, 2, 3].map(|at| self.0[at].load(Ordering::Relaxed))
    }
}

fn by_outcome(counts: &Counts) -> [u64; 4] {
    [counts.successes, counts.failures, counts.ignored, counts.cancelled]
}

/// Reads over and over until it is told to stop; what it reads never falls.
fn watch(is_over: Arc<AtomicBool>, read: impl Fn() -> [u64; 4] + Send + 'static) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let (mut last, mut looks) = ([0; 4], 0);
        while !is_over.load(Ordering::Acquire) {
            let now = read();
            assert!(now.iter().zip(last).all(|(now, last)| *now >= last), "{last:?}, then {now:?}");
            (last, looks) = (now, looks + 1);
        }
        looks
    })
}

fn never_opens(name: &str) -> CircuitBreakerConfig {
    let detector = detect::failure_rate(1.0).of_last(1_000).min_calls(1_000);
    CircuitBreakerConfig::builder(name).detector(detector).build().expect("a configuration that works")
}

#[test]
fn the_sum_over_threads_that_come_and_go_is_exact_and_never_falls() {
    let breakers: Vec<_> = (0..3).map(|nth| CircuitBreaker::new(never_opens(&format!("sum-{nth}")))).collect();
    let (told, is_over) = (Arc::new(Told::default()), Arc::new(AtomicBool::new(false)));
    let watched = breakers[0].clone();
    let watcher = watch(is_over.clone(), move || by_outcome(&watched.snapshot().counts));
    // Each round ends its threads, whose blocks go on to those of the next.
    for round in 0..20 {
        let threads = (0..THREADS).map(|nth| {
            let (breakers, told) = (breakers.clone(), told.clone());
            thread::spawn(move || {
                for call in 0..2_500 {
                    told.call(&breakers[usize::try_from((call + nth + round) % 3).expect("small")], call);
                }
            })
        });
        threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
    is_over.store(true, Ordering::Release);
    assert!(watcher.join().expect("never falls") > 0);
    let mut sum = [0; 4];
    for breaker in &breakers {
        let counts = by_outcome(&breaker.snapshot().counts);
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    assert_eq!(sum, told.all());
    assert_eq!(sum.iter().sum::<u64>(), 20 * THREADS * 2_500);
}

#[test]
fn more_threads_than_there_are_blocks_lose_nothing() {
    let breaker = CircuitBreaker::new(never_opens("many-threads"));
    let gate = Arc::new(std::sync::Barrier::new(100));
    let threads = (0..100).map(|_| {
        let (breaker, gate) = (breaker.clone(), gate.clone());
        thread::spawn(move || {
            // All are alive before one ends.
            (0..50).for_each(|_| breaker.acquire().expect("closed").success());
            gate.wait();
            (0..50).for_each(|_| breaker.acquire().expect("closed").report(Outcome::Ignored));
            gate.wait();
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(by_outcome(&breaker.snapshot().counts), [5_000, 0, 5_000, 0]);
}

thread_local! {
    static LAST_CALL: LastCall = const { LastCall(std::cell::OnceCell::new()) };
}

/// Makes a call when its thread ends.
struct LastCall(std::cell::OnceCell<CircuitBreaker>);

impl Drop for LastCall {
    fn drop(&mut self) {
        if let Some(breaker) = self.0.get() {
            breaker.acquire().expect("closed").success();
            breaker.acquire().expect("closed").report(Outcome::Ignored);
        }
    }
}

#[test]
fn calls_of_a_thread_that_ends_are_counted() {
    let breaker = CircuitBreaker::new(never_opens("last-call"));
    for counts_before in [false, true] {
        let breaker = breaker.clone();
        let thread = thread::spawn(move || {
            // Thread-locals go in the order in which they came, or in the other one: in one of the two this one is last.
            if counts_before {
                breaker.acquire().expect("closed").success();
            }
            LAST_CALL.with(|last| last.0.set(breaker.clone()).expect("once"));
            breaker.acquire().expect("closed").report(Outcome::Ignored);
        });
        thread.join().expect("no panic");
    }
    assert_eq!(by_outcome(&breaker.snapshot().counts), [3, 0, 4, 0]);
}

/// Forgets all the time, also breakers with calls on their way.
#[test]
fn a_registry_that_forgets_loses_nothing_and_never_falls() {
    let registry =
        Registry::new(|name| Ok(never_opens(name))).named("forgetful").max(10).idle(std::time::Duration::ZERO);
    let (told, is_over) = (Arc::new(Told::default()), Arc::new(AtomicBool::new(false)));
    let read = || Samples::collect().calls("", "forgetful");
    let watcher = watch(is_over.clone(), read);
    let threads = (0..4).map(|thread| {
        let (registry, told) = (registry.clone(), told.clone());
        thread::spawn(move || {
            for call in 0..20_000 {
                let name = format!("key-{}", (call * 7 + thread) % 50);
                let breaker = registry.breaker(&name).expect("a template that works");
                told.call(&breaker, call);
                if call % 64 == 0 {
                    drop(registry.remove(&name));
                }
            }
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().expect("no panic"));
    is_over.store(true, Ordering::Release);
    assert!(watcher.join().expect("never falls") > 0);
    assert_eq!(Samples::collect().calls("", "forgetful"), told.all());
}

#[test]
fn calls_that_outlive_a_forgotten_breaker_count_for_its_registry() {
    let registry = Registry::new(|name| Ok(never_opens(name))).named("outlived");
    let permits: Vec<_> = {
        let breaker = registry.breaker("a").expect("a template that works");
        (0..4).map(|_| breaker.acquire().expect("closed")).collect()
    };
    drop(registry.remove("a"));
    let outcomes = [Outcome::Success, Outcome::Failure, Outcome::Ignored, Outcome::Cancelled];
    permits.into_iter().zip(outcomes).for_each(|(permit, outcome)| permit.report(outcome));
    assert_eq!(Samples::collect().calls("", "outlived"), [1, 1, 1, 1]);
    let moved_in = reuse_places();
    assert_eq!(Samples::collect().calls("", "outlived"), [1, 1, 1, 1], "others are where it was");
    drop(moved_in);
}

#[test]
fn registries_that_are_dropped_while_something_looks_are_in_the_sum_all_the_same() {
    let registry = || Registry::of(CircuitBreakerConfig::new("template")).named("leaves");
    let stays = registry();
    stays.breaker("one").expect("a breaker").acquire().expect("closed").success();
    let made = Arc::new(AtomicU64::new(1));
    let others = (0..2).map(|_| {
        let made = made.clone();
        thread::spawn(move || {
            for _ in 0..50_000 {
                registry().breaker("one").expect("a breaker").acquire().expect("closed").success();
                made.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let others: Vec<_> = others.collect();
    while !others.iter().all(thread::JoinHandle::is_finished) {
        let before = made.load(Ordering::SeqCst);
        let now = Samples::collect().calls("", "leaves")[0];
        assert!(now >= before, "{before} calls were made, and {now} are told");
    }
    others.into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(Samples::collect().calls("", "leaves")[0], 100_001);
    drop(stays);
}
