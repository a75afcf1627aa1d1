//! Retries, budgets and backoffs by themselves.

use std::time::Duration;

use fusebox::backoff::{self, Backoff};
use fusebox::retry::{Timed, Untimed, WhenRejected};
use fusebox::{Budget, Jitter, RetryConfig, RetryLayer};

use super::{read, refusal};

fn refused(text: &str) -> String {
    refusal::<RetryConfig<Timed>>(text)
}

#[test]
fn a_file_sets_everything_that_the_builder_does() {
    let (s, ms) = (Duration::from_secs, Duration::from_millis);
    let config: RetryConfig<Timed> = read(
        r#"
        max_retries = 2
        backoff = { type = "exponential", min = "100ms", max = "2s", factor = 3, jitter = "equal" }
        deadline = "10s"
        attempt_timeout = "2s"
        budget = { type = "ratio", ratio = 0.2, reserve_per_second = 10, window = "30s" }
        retry_after_cap = "1m"
        when_rejected = "wait"
        seed = 7
        "#,
    );
    let expected = RetryConfig::builder()
        .max_retries(2)
        .backoff(backoff::exponential(ms(100)..=s(2)).factor(3.0).jitter(Jitter::Equal))
        .deadline(s(10))
        .attempt_timeout(s(2))
        .budget(Budget::ratio(0.2).reserve_per_second(10).window(s(30)))
        .retry_after_cap(s(60))
        .when_rejected(WhenRejected::Wait)
        .build()
        .expect("it works");
    assert_eq!(format!("{config:?}"), format!("{expected:?}"));
    assert_eq!(config.to_string(), expected.to_string());
}

#[test]
fn every_word_for_a_rejection_is_understood() {
    for when in [WhenRejected::Return, WhenRejected::Wait, WhenRejected::Retry] {
        let config: RetryConfig<Timed> = read(&format!("when_rejected = '{}'", when.as_str()));
        let expected = RetryConfig::builder().when_rejected(when).build().expect("it works");
        assert_eq!(config.explain(), expected.explain(), "{when:?}");
    }
}

/// What no text shows: the waits are those of a configuration with that seed, and of no other.
#[test]
fn a_seed_makes_the_waits_the_same() {
    let waits = |config: RetryConfig<Timed>| {
        let (tell, told) = std::sync::mpsc::channel();
        let config = config.into_builder().on_event(move |event| tell.send(event.kind()).expect("heard")).build();
        let failed =
            RetryLayer::new(config.expect("it works")).call_blocking(|| Err::<(), _>(std::io::Error::other("down")));
        assert!(failed.is_err());
        told.try_iter().collect::<Vec<_>>()
    };
    let backoff = "backoff = { min = '10us', max = '100us' }";
    let seeded = |seed: u64| waits(read(&format!("{backoff}\nseed = {seed}")));
    let built = RetryConfig::builder()
        .backoff(backoff::exponential(Duration::from_micros(10)..=Duration::from_micros(100)))
        .seed(7)
        .deadline(Duration::from_secs(60))
        .build();
    assert_eq!(seeded(7), waits(built.expect("it works")));
    assert_ne!(seeded(7), seeded(8));
}

#[test]
fn nothing_at_all_gives_the_defaults() {
    assert_eq!(format!("{:?}", read::<RetryConfig<Untimed>>("")), format!("{:?}", RetryConfig::default()));
    assert_eq!(read::<RetryConfig<Timed>>("").to_string(), RetryConfig::default().to_string());
}

#[test]
fn limits_of_time_are_for_the_type_that_has_them() {
    assert_eq!(
        refusal::<RetryConfig>("deadline = '1s'"),
        "`deadline` is set, allowed is none here: with a limit of time it is a `RetryConfig<Timed>`"
    );
    assert!(refusal::<RetryConfig>("attempt_timeout = '1s'").starts_with("`attempt_timeout` is set"));
    assert_eq!(read::<RetryConfig>("max_retries = 1").to_string(), "1 retry, exponential 100ms..=10s, full jitter");
}

#[test]
fn backoffs_are_durations_lists_and_tables() {
    #[derive(serde::Deserialize)]
    struct Mine {
        waits: Box<dyn Backoff>,
    }
    let waits =
        |text: &str| -> Vec<Duration> { read::<Mine>(&format!("waits = {text}")).waits.delays(0).take(4).collect() };
    let ms = |list: &[u64]| list.iter().copied().map(Duration::from_millis).collect::<Vec<_>>();
    assert_eq!(waits("'1s'"), ms(&[1_000; 4]));
    assert_eq!(waits("['10ms', '500ms']"), ms(&[10, 500]));
    assert_eq!(waits("'10ms,500ms'"), ms(&[10, 500]));
    assert_eq!(waits("{ type = 'fixed', delay = '1s' }"), ms(&[1_000; 4]));
    assert_eq!(waits("{ min = '100ms', max = '500ms', jitter = 'none' }"), ms(&[100, 200, 400, 500]));
    assert_eq!(waits("{ min = '1s', max = '10s', factor = 3, jitter = 0 }"), ms(&[1_000, 3_000, 9_000, 10_000]));
    let decorrelated = backoff::decorrelated(Duration::from_millis(10)..=Duration::from_secs(1));
    assert_eq!(
        waits("{ type = 'decorrelated', min = '10ms', max = '1s' }"),
        decorrelated.delays(0).take(4).collect::<Vec<_>>()
    );
    let full = backoff::exponential(Duration::from_millis(10)..=Duration::from_secs(1));
    assert_eq!(waits("{ min = '10ms', max = '1s', jitter = 'full' }"), full.delays(0).take(4).collect::<Vec<_>>());
    let proportional = full.jitter(Jitter::Proportional(0.25));
    assert_eq!(
        waits("{ min = '10ms', max = '1s', jitter = '25%' }"),
        proportional.delays(0).take(4).collect::<Vec<_>>()
    );
    let equal = backoff::fixed(Duration::from_secs(1)).jitter(Jitter::Equal);
    assert_eq!(
        waits("{ type = 'fixed', delay = '1s', jitter = 'equal' }"),
        equal.delays(0).take(4).collect::<Vec<_>>()
    );
    assert_eq!(
        waits("{ type = 'linear', min = '1s', max = '3s', step = '1s', jitter = 'none' }"),
        ms(&[1_000, 2_000, 3_000, 3_000])
    );
}

#[test]
fn mistakes_are_told_with_path_value_and_what_is_allowed() {
    for (text, message) in [
        ("max_retries = 'many'", "`max_retries` is \"many\", allowed is a whole number from 0 to 4294967295"),
        ("backoff = { min = '2s', max = '1s' }", "`backoff.min` is 2s, allowed is at most `max`, which is 1s"),
        (
            "backoff = { type = 'decorrelated', min = '0s', max = '1s' }",
            "`backoff.min` is 0ns, allowed is a lower end above zero: nothing grows from zero",
        ),
        (
            "backoff = { min = '1s', max = '2s', factor = 0.5 }",
            "`backoff.factor` is 0.5, allowed is a number of at least 1",
        ),
        (
            "backoff = { min = '1s', max = '2s', factor = inf }",
            "`backoff.factor` is inf, allowed is a number of at least 1",
        ),
        (
            "backoff = { min = '1s', max = '2s', jitter = 'ful' }",
            "`backoff.jitter` is \"ful\", allowed is \"full\", \"equal\", \"none\" or a number from 0 to 1; did you mean `full`?",
        ),
        (
            "backoff = { min = '1s', max = '2s', jitter = 1.5 }",
            "`backoff.jitter` is 1.5, allowed is \"full\", \"equal\", \"none\" or a number from 0 to 1",
        ),
        (
            "backoff = ['1s', 'soon']",
            "`backoff[1]` is \"soon\", allowed is a duration with its unit, such as \"30s\", \"5m\" or \"250ms\"",
        ),
        (
            "deadline = '0s'",
            "`deadline` is \"0s\", allowed is a duration with its unit, such as \"30s\", \"5m\" or \"250ms\", above zero",
        ),
        ("budget = 'shared'", "`budget` is \"shared\", allowed is a table: only a whole file has named budgets"),
        (
            "budget = { type = 'ratio', ratio = 2000 }",
            "`budget.ratio` is 2000, allowed is a number of at least 0 and at most 1000, or a share such as \"50%\"",
        ),
        (
            "budget = { type = 'tokens', max_tokens = 10, ratio = 0.1, reserve_per_second = 3 }",
            "`budget.reserve_per_second` is for `type` = \"ratio\": a budget with `type` = \"tokens\" has `type`, `max_tokens` and `ratio`",
        ),
        (
            "budget = { type = 'ratio', ratio = 0.1, window = '500ms' }",
            "`budget.window` is \"500ms\", allowed is a duration with its unit, such as \"30s\", \"5m\" or \"250ms\", from 1s to 86400s",
        ),
        ("when_rejected = 'give_up'", "`when_rejected` is \"give_up\", allowed is \"return\", \"wait\" or \"retry\""),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}
