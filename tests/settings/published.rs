//! Settings that other libraries publish, translated: each does what its author chose, at the numbers that were chosen.

use std::time::Duration;

use fusebox::retry::{RetryEvent, RetryEventKind, RetryLayer};
use fusebox::settings::Settings;
use fusebox::{CircuitBreaker, ManualClock, Permit, Registry, State};

use super::read;

/// The file, with a clock of the test's.
fn published(text: &str) -> (Settings, ManualClock) {
    let clock = ManualClock::new();
    clock.advance(Duration::from_secs(100_000));
    let of = clock.clone();
    (read::<Settings>(text).each(move |breaker| breaker.clock(of.clone())), clock)
}

fn breaker(settings: &Settings, name: &str) -> CircuitBreaker {
    CircuitBreaker::new(settings.breaker(name).expect("it is in the file"))
}

fn fail(breaker: &CircuitBreaker, calls: u32) {
    (0..calls).for_each(|_| breaker.acquire().expect("closed").failure());
}

fn succeed(breaker: &CircuitBreaker, calls: u32) {
    (0..calls).for_each(|_| breaker.acquire().expect("closed").success());
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How long a breaker that has just opened stays so; it is half-open then.
fn cooldown(breaker: &CircuitBreaker, clock: &ManualClock) -> Duration {
    let cooldown = breaker.retry_after().expect("open");
    clock.advance(cooldown.checked_sub(Duration::from_nanos(1)).expect("more than none"));
    assert!(breaker.acquire().is_err(), "not a nanosecond sooner");
    clock.advance(Duration::from_nanos(1));
    cooldown
}

/// The circuit is open, and opens again at each probe, for so many seconds each time.
fn stays_open_for(breaker: &CircuitBreaker, clock: &ManualClock, seconds: impl IntoIterator<Item = u64>) {
    for seconds in seconds {
        assert_eq!(cooldown(breaker, clock), s(seconds));
        probes(breaker).into_iter().for_each(Permit::failure);
    }
}

fn probes(breaker: &CircuitBreaker) -> Vec<Permit> {
    std::iter::from_fn(|| breaker.acquire().ok()).collect()
}

/// The waits of a call that always fails, without waiting for them.
fn waits(settings: &Settings, name: &str) -> Vec<Duration> {
    let (tell, told) = std::sync::mpsc::channel();
    let listen = move |event: &RetryEvent| {
        if let RetryEventKind::Retrying { after, .. } = event.kind() {
            tell.send(after).expect("heard");
        }
    };
    let config = settings.retry(name).expect("it is in the file").into_builder().on_event(listen);
    let layer = RetryLayer::new(config.build().expect("it works"));
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    let failed = runtime.block_on(layer.call(|| async { Err::<(), _>(std::io::Error::other("down")) }));
    assert!(failed.is_err(), "it is down");
    told.try_iter().collect()
}

#[test]
fn resilience4j_opens_at_50_of_100_and_closes_below_50_percent_of_10() {
    let (settings, clock) = published(include_str!("../data/published/resilience4j.toml"));
    let backend = breaker(&settings, "backend");
    succeed(&backend, 50);
    fail(&backend, 49);
    assert_eq!(backend.state(), State::Closed, "99 calls are too few, whatever they say");
    succeed(&backend, 1);
    assert_eq!(backend.state(), State::Closed, "49 of 100");
    fail(&backend, 1);
    assert_eq!(backend.state(), State::Open, "50 of the last 100");
    assert_eq!(cooldown(&backend, &clock), s(60));
    let ten = probes(&backend);
    assert_eq!(ten.len(), 10);
    for (n, probe) in ten.into_iter().enumerate() {
        assert_eq!(backend.state(), State::HalfOpen);
        if n < 5 { probe.success() } else { probe.failure() }
    }
    assert_eq!(backend.state(), State::Open, "5 of 10 failed");
    assert_eq!(cooldown(&backend, &clock), s(60));
    for (n, probe) in probes(&backend).into_iter().enumerate() {
        if n < 4 { probe.failure() } else { probe.success() }
    }
    assert_eq!(backend.state(), State::Closed, "4 of 10 failed");
    // Slow calls: all of a hundred take a minute.
    for calls in 1..=100 {
        let permit = backend.acquire().expect("closed");
        clock.advance(s(60));
        permit.success();
        assert_eq!(backend.is_open(), calls == 100, "{calls} slow calls");
    }
}

#[test]
fn resilience4j_judges_ten_seconds_once_there_are_ten_calls() {
    let (settings, clock) = published(include_str!("../data/published/resilience4j.toml"));
    let customers = breaker(&settings, "customer-service");
    fail(&customers, 9);
    assert_eq!(customers.state(), State::Closed, "nine calls are too few");
    clock.advance(s(11));
    fail(&customers, 9);
    assert_eq!(customers.state(), State::Closed, "the others are too long ago");
    fail(&customers, 1);
    assert_eq!(customers.state(), State::Open);
    assert_eq!(cooldown(&customers, &clock), s(50));
    assert_eq!(probes(&customers).len(), 3);
}

#[test]
fn resilience4j_makes_three_attempts_half_a_second_apart() {
    let (settings, _clock) = published(include_str!("../data/published/resilience4j.toml"));
    assert_eq!(waits(&settings, "backend"), [Duration::from_millis(500); 2]);
    let growing = waits(&settings, "growing");
    assert_eq!(growing.len(), 2);
    assert!((Duration::from_millis(500)..=Duration::from_millis(750)).contains(&growing[0]), "{growing:?}");
    assert!((Duration::from_millis(500)..=Duration::from_millis(1_500)).contains(&growing[1]), "{growing:?}");
}

#[test]
fn polly_opens_at_a_tenth_of_a_hundred_calls_in_thirty_seconds() {
    let (settings, clock) = published(include_str!("../data/published/polly.toml"));
    let defaults = breaker(&settings, "defaults");
    succeed(&defaults, 89);
    fail(&defaults, 10);
    assert_eq!(defaults.state(), State::Closed, "99 calls are too few");
    succeed(&defaults, 2);
    fail(&defaults, 1);
    assert_eq!(defaults.state(), State::Open, "11 of 102");
    assert_eq!(cooldown(&defaults, &clock), s(5));
    let probe = probes(&defaults);
    assert_eq!(probe.len(), 1);
    probe.into_iter().for_each(Permit::success);
    assert_eq!(defaults.state(), State::Closed);
    let example = breaker(&settings, "example");
    succeed(&example, 4);
    fail(&example, 3);
    assert_eq!(example.state(), State::Closed, "seven calls are too few");
    fail(&example, 1);
    assert_eq!(example.state(), State::Open, "4 of 8");
    assert_eq!(cooldown(&example, &clock), s(30));
}

#[test]
fn polly_waits_two_seconds_three_times() {
    let (settings, _clock) = published(include_str!("../data/published/polly.toml"));
    assert_eq!(waits(&settings, "defaults"), [s(2); 3]);
    assert_eq!(waits(&settings, "exponential"), [s(3), s(6), s(12), s(24)]);
}

fn host(registry: &Registry, name: &str) -> CircuitBreaker {
    registry.breaker(name).expect("the template works")
}

#[test]
fn envoy_ejects_a_host_after_five_failures_in_a_row_and_longer_each_time() {
    let (settings, clock) = published(include_str!("../data/published/envoy.toml"));
    let upstream = settings.registry("upstream").expect("it is in the file");
    let (ill, well) = (host(&upstream, "10.0.0.1"), host(&upstream, "10.0.0.2"));
    fail(&ill, 4);
    succeed(&ill, 1);
    fail(&ill, 4);
    assert_eq!(ill.state(), State::Closed, "never five in a row");
    fail(&ill, 1);
    assert_eq!((ill.state(), well.state()), (State::Open, State::Closed), "of one host only");
    // The base, times the ejections.
    stays_open_for(&ill, &clock, (1..=12).map(|ejections| (30 * ejections).min(300)));
    let httpbin = host(&settings.registry("httpbin").expect("it is in the file"), "10.0.0.1");
    fail(&httpbin, 1);
    stays_open_for(&httpbin, &clock, [180, 300, 300]);
}

#[test]
fn envoy_retries_three_times_within_its_budget() {
    let (settings, _clock) = published(include_str!("../data/published/envoy.toml"));
    let retry = settings.retry("upstream").expect("it is in the file").to_string();
    assert_eq!(retry, "3 retries, exponential 25ms..=250ms, full jitter, budget 0.2 of requests + 3/s, 2s an attempt");
    let waited = waits(&settings, "upstream");
    assert_eq!(waited.len(), 3);
    for (wait, most) in waited.iter().zip([25, 50, 100]) {
        assert!(*wait <= Duration::from_millis(most), "{waited:?}");
    }
}

#[test]
fn opossum_opens_above_half_of_the_last_ten_seconds() {
    let (settings, clock) = published(include_str!("../data/published/opossum.toml"));
    let readme = breaker(&settings, "readme");
    succeed(&readme, 50);
    fail(&readme, 50);
    assert_eq!(readme.state(), State::Closed, "half of them is not above it");
    fail(&readme, 1);
    assert_eq!(readme.state(), State::Open, "51 of 101");
    assert_eq!(cooldown(&readme, &clock), s(30));
    probes(&readme).into_iter().for_each(Permit::success);
    assert_eq!(readme.state(), State::Closed);
    let slow = readme.acquire().expect("closed");
    clock.advance(Duration::from_millis(2_950));
    drop(slow);
    assert_eq!(readme.state(), State::Open, "one of one: it took nearly as long as the timeout");
    assert_eq!(waits(&settings, "readme"), []);
}

#[test]
fn semian_opens_after_three_errors_in_ten_seconds_and_closes_after_two_successes() {
    let (settings, clock) = published(include_str!("../data/published/semian.toml"));
    let shard = breaker(&settings, "mysql_shard0");
    fail(&shard, 2);
    clock.advance(s(10));
    fail(&shard, 2);
    assert_eq!(shard.state(), State::Closed, "two in ten seconds");
    fail(&shard, 1);
    assert_eq!(shard.state(), State::Open);
    assert_eq!(cooldown(&shard, &clock), s(10));
    probes(&shard).into_iter().for_each(Permit::success);
    assert_eq!(shard.state(), State::HalfOpen, "one of two");
    probes(&shard).into_iter().for_each(Permit::success);
    assert_eq!(shard.state(), State::Closed);
    let growing = breaker(&settings, "growing");
    fail(&growing, 3);
    stays_open_for(&growing, &clock, [1, 2, 4, 8, 16, 32, 60, 60]);
}
