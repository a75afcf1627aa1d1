//! Configurations in plain words: each kind literally, and the numbers that are told are the ones that count.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    reason = "tests with small numbers"
)]

use std::time::Duration;

use fusebox::{
    Budget, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, Cooldown, Jitter, ManualClock, Override,
    Probes, RetryConfig, RetryConfigBuilder, State, backoff,
    detect::{self, Combined, Detector},
    retry::WhenRejected,
};
use own_detector::Mine;
use proptest::prelude::*;

#[path = "support/own_detector.rs"]
mod own_detector;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn breaker_lines(f: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder) -> Vec<String> {
    let config = f(CircuitBreakerConfig::builder("payments")).build().unwrap();
    let explained = config.explain();
    assert_eq!(explained.lines().collect::<Vec<_>>().join("\n"), explained.to_string());
    explained.lines().map(str::to_owned).collect()
}

fn opens(detector: impl Detector) -> String {
    let lines = breaker_lines(|b| b.detector(detector));
    lines.iter().take_while(|line| !line.starts_with("stays open")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_line_of_the_defaults() {
    let expected = "\
opens when at least 5 calls within 60s failed
stays open for 30s, or for as long as a `Retry-After` of the dependency says, if that is longer, up to 300s
then sends one probe, which decides: a success closes it, a failure opens it again
  a probe has 30s to answer, later is a failure
counts a call that is given up neither way, however long it ran: one that hangs opens nothing
  three probes in a row that are given up without an answer open it again";
    assert_eq!(CircuitBreakerConfig::new("payments").explain().to_string(), expected);
    let expected = "\
makes up to 3 retries after the first attempt
waits 100ms at first, 2 times as long before each retry that follows, at most 10s; by chance less, down to nothing
has no budget: nothing limits the retries of all calls together
has no deadline: nothing limits the time of a call
waits for as long as a `Retry-After` of the dependency says, if that is longer; one beyond 300s ends the retries
returns a circuit breaker's rejection at once";
    assert_eq!(RetryConfig::default().explain().to_string(), expected);
}

const ASKED: &str =
    "  asked after each call that has failed: a good one that completes the least number opens nothing\n";
const ASKED_OF_SLOW: &str =
    "  asked after each call that has failed or was slow: a good one that completes the least number opens nothing\n";

#[test]
fn each_kind_of_detector() {
    assert_eq!(opens(detect::consecutive_failures(1)), "opens when a call failed\n");
    assert_eq!(opens(detect::consecutive_failures(5)), "opens when 5 calls in a row failed\n");
    assert_eq!(opens(detect::failures(1).within(secs(10))), "opens when at least 1 call within 10s failed\n");
    assert_eq!(opens(detect::failures(3).of_last(10)), "opens when at least 3 of the last 10 calls failed\n");
    let waits = opens(detect::failures(2).of_last(20).min_calls(3));
    assert_eq!(waits, format!("opens when at least 2 of the last 20 calls failed, not before 3 calls\n{ASKED}"));
    let rate = opens(detect::failure_rate(0.07).of_last(100).min_calls(20));
    assert_eq!(rate, format!("opens when at least 7 % of the last 100 calls failed, not before 20 calls\n{ASKED}"));
    let third = opens(detect::failure_rate(1.0 / 3.0).within(ms(1_500)).min_calls(1));
    assert_eq!(third, "opens when at least 33.333333 % of the calls within 1.5s failed\n");
    let slow = opens(detect::slow_call_rate(0.8).slower_than(secs(2)).within(secs(60)).min_calls(10));
    assert_eq!(
        slow,
        format!(
            "opens when at least 80 % of the calls within 60s took 2s or longer, not before 10 calls\n{ASKED_OF_SLOW}"
        )
    );
    let slow = opens(detect::slow_call_rate(0.8).slower_than(secs(2)).of_last(1).min_calls(1));
    assert_eq!(slow, "opens when at least 80 % of the last 1 call took 2s or longer\n");
}

#[test]
fn detectors_within_detectors() {
    let inner =
        detect::failures(3).of_last(10).and(detect::slow_call_rate(0.5).slower_than(ms(300)).of_last(4).min_calls(1));
    let text = opens(detect::consecutive_failures(5).or(inner));
    let expected = "\
opens when any of these holds:
  - 5 calls in a row failed
  - all of these hold:
    - at least 3 of the last 10 calls failed
    - at least 50 % of the last 4 calls took 300ms or longer
";
    assert_eq!(text, expected);
    let one: Vec<Box<dyn Detector>> = vec![Box::new(detect::consecutive_failures(2))];
    assert_eq!(opens(Combined::all(one)), "opens when all of these hold:\n  - 2 calls in a row failed\n");
}

#[test]
fn a_detector_of_ones_own_speaks_for_itself() {
    assert_eq!(opens(Mine { most: 7 }), "opens when its own detector says so: Mine { most: 7 }\n");
    let text = opens(detect::consecutive_failures(5).or(Mine { most: 7 }));
    assert_eq!(text, "opens when its own detector says so: consecutive_failures(5).or(Mine { most: 7 })\n");
}

#[test]
fn each_kind_of_cooldown() {
    let cooldown = |cooldown: Cooldown| {
        let lines = breaker_lines(|b| b.cooldown(cooldown).retry_after_cap(Duration::ZERO));
        lines[1..].iter().take_while(|line| !line.starts_with("then")).cloned().collect::<Vec<_>>()
    };
    assert_eq!(cooldown(secs(5).into()), ["stays open for 5s"]);
    assert_eq!(cooldown(Duration::ZERO.into()), ["stays open until the next call, which is a probe"]);
    assert_eq!(cooldown(Cooldown::with(|_| secs(1))), ["stays open for as long as a function says"]);
    assert_eq!(cooldown(Cooldown::fixed(secs(5)).jitter(0.2)), ["stays open for 5s, by chance up to 20 % less"]);
    assert_eq!(
        cooldown(Cooldown::linear(secs(5)..=secs(60), secs(10)).jitter(0.1)),
        [
            "stays open for 5s at first, 10s longer with each opening that follows, at most 60s; by chance up to 10 % off \
             that, within these ends",
            "  begins with the shortest again once it stayed closed, with good calls, for as long as it was open last",
        ]
    );
    assert_eq!(
        cooldown(Cooldown::exponential(secs(5)..=secs(300)).jitter(0.0).factor(3.0).healthy_after(secs(60))),
        [
            "stays open for 5s at first, 3 times as long with each opening that follows, at most 300s",
            "  begins with the shortest again once it stayed closed, with good calls, for 60s",
        ]
    );
}

#[test]
fn each_kind_of_probes() {
    let probes = |probes: Probes| {
        let lines = breaker_lines(|b| b.probes(probes));
        lines.into_iter().filter(|line| line.starts_with("then") || line.starts_with("  a probe")).collect::<Vec<_>>()
    };
    let cases = [
        (
            Probes::one().concurrent(3).deadline(secs(90)),
            "then sends probes, up to 3 at once, the first of which decides: a success closes it, a failure opens it again",
            90,
        ),
        (
            Probes::consecutive(3),
            "then sends 3 probes, one at a time: 3 successes close it, any failure opens it again",
            30,
        ),
        (
            Probes::ratio(3, 5).concurrent(2),
            "then sends up to 5 probes, up to 2 at once: 3 successes close it, it opens again once that is out of reach",
            30,
        ),
        (
            Probes::ratio(1, 2),
            "then sends up to 2 probes, one at a time: 1 success closes it, it opens again once that is out of reach",
            30,
        ),
    ];
    for (given, expected, deadline) in cases {
        assert_eq!(
            probes(given),
            [expected.to_owned(), format!("  a probe has {deadline}s to answer, later is a failure")]
        );
    }
}

#[test]
fn a_longest_half_open_period() {
    let lines = breaker_lines(|b| b.probes(Probes::consecutive(3).decide_within(secs(60))));
    assert!(lines.iter().any(|line| line == "  probes that have not decided within 60s open it again"), "{lines:?}");
}

#[test]
fn calls_that_are_given_up() {
    let lines = breaker_lines(|b| b.abandoned_after(secs(10)));
    let expected =
        "counts a call that is given up after waiting 10s or longer as a failure, one given up sooner neither way";
    let end = [expected, "  three probes in a row that are given up without an answer open it again"];
    assert_eq!(lines[lines.len() - 2..], end);
    let lines = breaker_lines(|b| b);
    let expected = "counts a call that is given up neither way, however long it ran: one that hangs opens nothing";
    assert_eq!(lines[lines.len() - 2..], [expected, end[1]]);
}

#[test]
fn a_breaker_that_is_held_from_the_start() {
    let first = |order| breaker_lines(|b| b.initial_override(order))[0].clone();
    let for_60_s = Override::force_open("migration\nof data").by("ana").expires_after(secs(60));
    let cases = [
        (for_60_s, "for 60s: forced open: migration\\nof data (by ana)"),
        (Override::disable("load test"), "until an operator resumes: disabled: load test"),
    ];
    for (order, expected) in cases {
        assert_eq!(first(order), format!("is held from the start, by this instance alone and {expected}"));
    }
}

#[cfg(feature = "fleet")]
#[test]
fn fleets() {
    use std::sync::Arc;

    use fusebox::fleet::{Fleet, WhenDown};
    use fusebox::store::{MemoryStore, Store};

    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let name = store.describe();
    let fleet = |fleet: Fleet| {
        let mut lines =
            breaker_lines(|b| b.detector(detect::consecutive_failures(2)).store(store.clone()).fleet(fleet));
        lines.split_off(lines.len() - 2)
    };
    let alone = "  while the store is away, each instance goes on by itself";
    let pooled = format!("is shared over {name}: all instances' calls are judged together, and it opens for all");
    assert_eq!(fleet(Fleet::pooled()), [pooled, alone.to_owned()]);
    let votes = format!(
        "is shared over {name}: each instance judges its own calls and opens for itself, 3 that are open open for all"
    );
    let rejects = "  while the store is away, every call is rejected";
    assert_eq!(fleet(Fleet::votes(3).when_down(WhenDown::Reject)), [votes, rejects.to_owned()]);
    let first =
        format!("is shared over {name}: each instance judges its own calls, and the first that opens opens for all");
    let admits = "  while the store is away, every call goes through and none is judged";
    assert_eq!(fleet(Fleet::votes(1).when_down(WhenDown::Admit)), [first, admits.to_owned()]);

    let advice = "  its rule is the default, meant for one process: choose a rate with a least number of calls";
    let advised = |fleet: Fleet| breaker_lines(|b| b.store(store.clone()).fleet(fleet)).contains(&advice.to_owned());
    assert!(advised(Fleet::pooled()));
    assert!(!advised(Fleet::votes(3)), "each judges its own calls");
    let chosen = breaker_lines(|b| b.detector(detect::failures(5).within(secs(60))).store(store.clone()));
    assert!(!chosen.contains(&advice.to_owned()), "the same rule, but by choice");
}

fn retry_lines(f: impl FnOnce(RetryConfigBuilder) -> RetryConfigBuilder) -> Vec<String> {
    f(RetryConfig::builder()).build().unwrap().explain().lines().map(str::to_owned).collect()
}

#[test]
fn each_kind_of_backoff() {
    let waits = |backoff: backoff::Fixed| retry_lines(|b| b.backoff(backoff))[1].clone();
    assert_eq!(waits(backoff::fixed(secs(2))), "waits 2s before each");
    assert_eq!(waits(backoff::fixed(Duration::ZERO)), "does not wait between attempts");
    assert_eq!(
        waits(backoff::fixed(secs(2)).jitter(Jitter::Equal)),
        "waits 2s before each; by chance less, down to half"
    );
    let curve = backoff::exponential(secs(1)..=secs(8)).factor(1.5).jitter(Jitter::proportional(0.1));
    assert_eq!(
        retry_lines(|b| b.backoff(curve))[1],
        "waits 1s at first, 1.5 times as long before each retry that follows, at most 8s; \
         by chance up to 10 % off that, within these ends"
    );
    assert_eq!(
        retry_lines(|b| b.backoff(backoff::exponential(secs(1)..=secs(1)).jitter(Jitter::None)))[1],
        "waits 1s before each"
    );
    assert_eq!(
        retry_lines(|b| b.backoff(backoff::decorrelated(ms(50)..=secs(10))))[1],
        "waits by chance between 50ms and three times as long as before, at most 10s"
    );
    assert_eq!(retry_lines(|b| b.backoff([secs(1)]))[1], "waits as a backoff of its own says, and ends with it");
}

#[test]
fn the_rest_of_a_retry() {
    assert_eq!(
        retry_lines(|b| b.max_retries(0)),
        ["makes no retries", "has no deadline: nothing limits the time of a call"]
    );
    let limited = |retries| {
        let config = RetryConfig::builder().max_retries(retries).attempt_timeout(secs(2)).build().unwrap();
        config.explain().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        limited(0)[1..],
        ["gives each attempt 2s", "has no deadline: a call takes no longer than its attempts and waits together"]
    );
    assert!(
        limited(3).contains(&"has no deadline: a call takes no longer than its attempts and waits together".to_owned())
    );
    assert_eq!(retry_lines(|b| b.max_retries(1))[0], "makes 1 retry after the first attempt");
    assert_eq!(
        retry_lines(|b| b.budget(Budget::ratio(0.2).window(secs(60))))[2],
        "makes no more retries in all than 20 % of the requests of the last 60s"
    );
    assert_eq!(
        retry_lines(|b| b.budget(Budget::tokens(100, 0.1)))[2],
        "makes no retries unless more than half of 100 tokens are left: a failed attempt takes one, a success gives 0.1 back"
    );
    let cases = [
        (WhenRejected::Wait, "waits after a circuit breaker's rejection until the breaker may let a call through"),
        (WhenRejected::Retry, "retries a circuit breaker's rejection like any other failure"),
    ];
    for (when, expected) in cases {
        assert_eq!(retry_lines(|b| b.when_rejected(when)).last().unwrap(), expected);
    }
    let lines = retry_lines(|b| b.retry_after_cap(Duration::ZERO));
    assert!(lines.contains(&"ends the retries where the dependency sends a `Retry-After`".to_owned()), "{lines:?}");
    let timed =
        RetryConfig::builder().attempt_timeout(secs(2)).deadline(secs(30)).build().unwrap().explain().to_string();
    assert!(timed.contains("\ngives each attempt 2s\ngives all attempts and waits 30s together\n"), "{timed}");
}

/// What the text says of numbers, in order.
fn numbers(text: &str) -> Vec<f64> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|word| word.trim_end_matches('.'));
    words.filter_map(|word| word.parse().ok()).collect()
}

/// When the circuit opens, by what the text says alone: `calls` so far, `true` for one that failed; the last did.
fn says_open(text: &str, calls: &[bool]) -> bool {
    let first = text.lines().next().unwrap();
    let numbers = numbers(first);
    let (condition, least) =
        first.split_once(", not before").map_or((first, 0.0), |(condition, _)| (condition, *numbers.last().unwrap()));
    let count = |calls: &[bool]| f64::from(u32::try_from(calls.iter().filter(|failed| **failed).count()).unwrap());
    let len = |calls: &[bool]| f64::from(u32::try_from(calls.len()).unwrap());
    if condition.contains("in a row") {
        return len(calls) >= numbers[0] && calls.iter().rev().take(numbers[0] as usize).all(|failed| *failed);
    }
    if condition.contains("a call failed") {
        return calls.last() == Some(&true);
    }
    let window = &calls[calls.len().saturating_sub(numbers[1] as usize)..];
    let bad = count(window);
    let reached =
        if condition.contains(" % ") { bad * 100.0 >= numbers[0] * len(window) - 1e-6 } else { bad >= numbers[0] };
    reached && len(window) >= least
}

fn detectors() -> impl Strategy<Value = CircuitBreakerConfigBuilder> {
    let builder = || CircuitBreakerConfig::builder("told").clock(ManualClock::new());
    prop_oneof![
        (1..6_u32).prop_map(move |n| builder().detector(detect::consecutive_failures(n))),
        (1..6_u32, 0..10_u32, 1..12_u32).prop_map(move |(n, more, least)| {
            let of = n + more;
            builder().detector(detect::failures(n).of_last(of).min_calls(least.min(of)))
        }),
        (1..101_u32, 1..12_u32, 1..12_u32).prop_map(move |(percent, of, least)| {
            let rate = f64::from(percent) / 100.0;
            builder().detector(detect::failure_rate(rate).of_last(of).min_calls(least.min(of)))
        }),
    ]
}

proptest! {
    /// The threshold that is told is the one that trips, neither sooner nor later.
    #[test]
    fn the_numbers_that_are_told_are_those_that_count(
        builder in detectors(),
        calls in prop::collection::vec(prop::bool::weighted(0.6), 1..40),
    ) {
        let config = builder.build().unwrap();
        let text = config.explain().to_string();
        let breaker = CircuitBreaker::new(config);
        for (n, failed) in calls.iter().enumerate() {
            let permit = breaker.acquire().unwrap();
            if *failed { permit.failure() } else { permit.success() }
            let expected = *failed && says_open(&text, &calls[..=n]);
            prop_assert_eq!(breaker.state() == State::Open, expected, "{} after {:?}", text, &calls[..=n]);
            if expected {
                break;
            }
        }
    }

    #[test]
    fn the_times_that_are_told_are_those_that_count(cooldown in 1..600_u64, needed in 1..5_u32, more in 0..4_u32) {
        let clock = ManualClock::new();
        let probes = Probes::ratio(needed, needed + more);
        let builder = CircuitBreakerConfig::builder("told").cooldown(secs(cooldown)).probes(probes);
        let config = builder.clock(clock.clone()).build().unwrap();
        let text = config.explain().to_string();
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
        let told = Duration::from_secs_f64(numbers(line("stays open for"))[0]);
        let successes = match line("then sends") {
            one if one.contains("one probe, which decides") => 1.0,
            of => numbers(&of[of.find(": ").unwrap()..])[0],
        };
        let breaker = CircuitBreaker::new(config);
        breaker.trip().unwrap();
        clock.advance(told.saturating_sub(Duration::from_nanos(1)));
        prop_assert!(!breaker.would_admit());
        clock.advance(Duration::from_nanos(1));
        for n in 0..successes as u32 {
            prop_assert_eq!(breaker.state() == State::Closed, false, "after {} successes", n);
            breaker.acquire().unwrap().success();
        }
        prop_assert_eq!(breaker.state(), State::Closed);
    }
}
