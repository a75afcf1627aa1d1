//! What retries do.

use fusebox::retry::RetryStats;
use fusebox::{Budget, RetryConfig, RetryLayer, backoff};
use serde_json::json;

use super::capture::{listen, told_with};
use super::support::ms;

#[tokio::test(start_paused = true)]
async fn waits_and_giving_up_are_told_at_debug_in_the_span_of_the_call() {
    use tracing::Instrument;

    listen();
    let config = RetryConfig::builder()
        .max_retries(2)
        .backoff(backoff::exponential(ms(100)..=ms(1_000)).jitter(fusebox::Jitter::None))
        .stats(RetryStats::named("prices"))
        .build()
        .expect("a configuration");
    let retry = RetryLayer::new(config);
    let call = retry.call(async || Err::<(), _>(std::io::Error::other("down")));
    call.instrument(tracing::info_span!("checkout")).await.expect_err("down");
    let told = told_with("retry", "prices");
    let retrying = |attempt: u32, delay_ms: u64| {
        json!({
            "level": "DEBUG", "target": "fusebox::retry", "message": "retrying", "retry": "prices", "attempt": attempt,
            "outcome": "failure", "delay_ms": delay_ms, "span": "checkout",
        })
    };
    let given_up = json!({
        "level": "DEBUG", "target": "fusebox::retry", "message": "given up", "retry": "prices", "attempts": 3,
        "reason": "max_retries", "outcome": "failure", "total_delay_ms": 300, "span": "checkout",
    });
    assert_eq!(told, [retrying(1, 100), retrying(2, 200), given_up]);
}

/// What a plain configuration does is told too, though nothing in it counts or listens.
#[tokio::test(start_paused = true)]
async fn a_plain_configuration_tells_the_same_without_a_name() {
    listen();
    let config = RetryConfig::builder().max_retries(1).backoff(backoff::fixed(ms(71))).build().expect("one");
    RetryLayer::new(config).call(async || Err::<(), _>("down")).await.expect_err("down");
    let (waits, ends) = (told_with("delay_ms", 71), told_with("total_delay_ms", 71));
    assert_eq!((waits.len(), ends.len()), (1, 1));
    assert_eq!(
        (&waits[0]["retry"], &ends[0]["attempts"], &ends[0]["reason"]),
        (&json!(""), &json!(2), &json!("max_retries"))
    );
}

#[tokio::test]
async fn a_call_that_succeeds_by_a_retry_tells_its_wait_and_no_more_and_one_at_once_nothing() {
    listen();
    let stats = RetryStats::named("mends");
    let config = RetryConfig::builder().backoff(backoff::fixed(ms(0))).stats(stats).build().expect("one");
    let retry = RetryLayer::new(config);
    retry.call(async || Ok::<_, &str>(1)).await.expect("at once");
    let mut calls = 0;
    let second = || {
        calls += 1;
        std::future::ready(if calls == 2 { Ok(()) } else { Err("down") })
    };
    retry.call(second).await.expect("at the second");
    let told = told_with("retry", "mends");
    assert_eq!(super::capture::messages(&told), ["retrying"]);
}

#[test]
fn a_budget_that_is_spent_is_told_by_its_reason() {
    listen();
    let config = RetryConfig::builder()
        .budget(Budget::ratio(0.1).reserve_per_second(0))
        .backoff(backoff::fixed(ms(0)))
        .stats(RetryStats::named("poor"))
        .build()
        .expect("a configuration");
    RetryLayer::new(config).call_blocking(|| "x".parse::<u8>()).expect_err("no number");
    let told = told_with("retry", "poor");
    assert_eq!((told.len(), &told[0]["reason"], &told[0]["attempts"]), (1, &json!("budget"), &json!(1)));
}
