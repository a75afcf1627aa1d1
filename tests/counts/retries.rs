//! What retries count, to the unit and from many threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use fusebox::retry::{RetryCounts, RetryStats};
use fusebox::{Budget, ManualClock, RetryConfig, RetryLayer, backoff};

use crate::collector::Samples;
use crate::support::ms;

fn layer(stats: &RetryStats) -> RetryLayer {
    let config = RetryConfig::builder().backoff(backoff::fixed(ms(0))).max_retries(2).stats(stats.clone());
    RetryLayer::new(config.build().expect("a configuration that works"))
}

/// Makes `n` calls, of which every tenth fails, at each attempt.
fn calls(layer: &RetryLayer, n: u32) {
    for nth in 0..n {
        let result = layer.call_blocking(|| if nth % 10 == 0 { Err("down") } else { Ok(nth) });
        assert_eq!(result.is_err(), nth % 10 == 0);
    }
}

#[test]
fn retries_of_threads_that_come_and_go_are_counted_exactly_and_never_fall() {
    let stats = RetryStats::new();
    let made = Arc::new(AtomicU64::new(0));
    let mut last = RetryCounts::default();
    for _ in 0..10 {
        let threads = (0..8).map(|_| {
            let (layer, made) = (layer(&stats), made.clone());
            thread::spawn(move || {
                calls(&layer, 200);
                made.fetch_add(200, Ordering::Relaxed);
            })
        });
        let threads: Vec<_> = threads.collect();
        while !threads.iter().all(thread::JoinHandle::is_finished) {
            let now = stats.counts();
            assert!(now.calls >= last.calls && now.attempts >= last.attempts, "{last:?}, then {now:?}");
            last = now;
        }
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
    let (counts, made) = (stats.counts(), made.load(Ordering::Relaxed));
    assert_eq!((counts.calls, counts.exhausted, counts.retries), (made, made / 10, made / 5));
    assert_eq!(counts.attempts, made + made / 5);
}

#[test]
fn new_counters_begin_at_zero_wherever_others_have_been() {
    for _ in 0..50 {
        let all: Vec<_> = (0..20).map(|_| RetryStats::new()).collect();
        for stats in &all {
            assert_eq!(stats.counts(), RetryCounts::default());
            calls(&layer(stats), 11);
            assert_eq!(stats.counts().calls, 11);
        }
    }
}

#[test]
fn retries_of_one_name_are_one_series_which_outlives_them() {
    let value = |family: &str, labels: &[(&str, &str)]| Samples::collect().get(family, labels);
    let (one, other) = (RetryStats::named("prices"), RetryStats::named("prices"));
    calls(&layer(&one), 10);
    calls(&layer(&other), 20);
    let name = [("retry", "prices")];
    assert_eq!(value("fusebox_retry_calls_total", &name), Some(30.0));
    assert_eq!(value("fusebox_retry_attempts_total", &name), Some(36.0));
    assert_eq!(value("fusebox_retry_retries_total", &name), Some(6.0));
    assert_eq!(value("fusebox_retry_delay_seconds_total", &name), Some(0.0));
    assert_eq!(value("fusebox_retry_stopped_total", &[("retry", "prices"), ("reason", "max_retries")]), Some(3.0));
    assert_eq!(value("fusebox_retry_stopped_total", &[("retry", "prices"), ("reason", "budget")]), Some(0.0));
    drop(one);
    assert_eq!(value("fusebox_retry_calls_total", &name), Some(30.0));
    drop(other);
    assert_eq!(value("fusebox_retry_calls_total", &name), None);
    let third = RetryStats::named("prices");
    calls(&layer(&third), 1);
    assert_eq!(value("fusebox_retry_calls_total", &name), Some(31.0));
    assert_eq!(third.counts().calls, 1, "by itself it is new");
}

#[test]
fn what_a_budget_allows_now_is_told_as_long_as_something_spends_from_it() {
    let budget = Budget::ratio(0.5).clock(ManualClock::new());
    let layers = ["reads", "writes"].map(|name| {
        let stats = RetryStats::named(name);
        let config = RetryConfig::builder().backoff(backoff::fixed(ms(0))).max_retries(1).stats(stats.clone());
        (RetryLayer::new(config.budget(budget.clone()).build().expect("a configuration that works")), stats)
    });
    let told = |name| Samples::collect().get("fusebox_retry_budget_available", &[("retry", name)]);
    assert_eq!((told("reads"), told("prose")), (Some(0.0), None));
    for _ in 0..20 {
        assert_eq!(layers[0].0.call_blocking(|| Ok::<_, &str>(())), Ok(()));
    }
    // Half of twenty; and half of one more request, which spends one.
    assert_eq!((told("reads"), told("writes")), (Some(10.0), Some(10.0)), "they spend from one");
    assert_eq!(layers[1].0.call_blocking(|| Err::<(), _>("down")), Err("down"));
    assert_eq!((told("reads"), told("writes")), (Some(9.0), Some(9.0)));
    let [(layer, _stats), writes] = layers;
    drop((layer, writes, budget));
    assert_eq!(told("reads"), None);
}

#[test]
fn counters_that_are_dropped_while_something_looks_are_in_the_sum_all_the_same() {
    let stays = RetryStats::named("stays");
    let made = Arc::new(AtomicU64::new(0));
    let others = (0..2).map(|_| {
        let made = made.clone();
        thread::spawn(move || {
            for _ in 0..50_000 {
                let comes_and_goes = RetryStats::named("stays");
                layer(&comes_and_goes).call_blocking(|| Ok::<_, &str>(())).expect("it works");
                made.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let others: Vec<_> = others.collect();
    while !others.iter().all(thread::JoinHandle::is_finished) {
        let before = f64::from(u32::try_from(made.load(Ordering::SeqCst)).expect("few"));
        let now = Samples::collect().get("fusebox_retry_calls_total", &[("retry", "stays")]).expect("one lives");
        assert!(now >= before, "{before} calls were made, and {now} are told");
    }
    others.into_iter().for_each(|thread| thread.join().expect("no panic"));
    assert_eq!(Samples::collect().get("fusebox_retry_calls_total", &[("retry", "stays")]), Some(100_000.0));
    drop(stays);
}
