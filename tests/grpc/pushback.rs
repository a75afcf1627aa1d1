//! 30: the server says when to come back, or not to.

use fusebox::{Budget, RetryLayer, classify};
use tonic::Status;
use tower::{Layer, ServiceExt};

use super::*;
use support::ms;

const BACKOFF: Duration = secs(7);

fn pushing(value: &str) -> Response<Script> {
    trailers_only(Code::Unavailable, &[("grpc-retry-pushback-ms", value)])
}

/// The wait after a response with such a pushback, where the backoff would be 7 s; none if there was no retry.
async fn wait_after(value: &str, cap: Option<Duration>) -> Option<Duration> {
    let (waits, events) = told(BACKOFF);
    let waits = match cap {
        Some(cap) => config(|builder| builder.backoff(backoff::fixed(BACKOFF)).retry_after_cap(cap)),
        None => waits,
    };
    let elapsed = timer();
    let service = RetryLayer::grpc(waits).layer(answers(vec![pushing(value)]));
    let response = service.oneshot(request()).await.expect("an answer");
    let retried = !response.headers().contains_key("grpc-status");
    assert!(retried || stopped(&events) == Some(StopReason::NotRetryable));
    assert!(retried || elapsed() == Duration::ZERO, "there is nothing to wait for");
    retried.then(elapsed)
}

/// Timers tick in milliseconds.
fn is_about(waited: Option<Duration>, wait: Duration) -> bool {
    waited.is_some_and(|waited| (wait..wait + ms(20)).contains(&waited))
}

#[tokio::test(start_paused = true)]
async fn c30_pushback_replaces_the_backoff() {
    for (value, wait) in [("1", ms(1)), ("250", ms(250)), ("120000", secs(120)), (" 250 ", ms(250))] {
        let waited = wait_after(value, None).await;
        assert!(is_about(waited, wait), "{value:?}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn c30_pushback_of_zero_is_a_retry_at_once() {
    assert_eq!(wait_after("0", None).await, Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn c30_pushback_is_cut_at_the_cap() {
    for value in ["60001", "86400000", "18446744073709551615"] {
        let waited = wait_after(value, Some(secs(60))).await;
        assert!(is_about(waited, secs(60)), "{value}: {waited:?}");
    }
    assert!(is_about(wait_after("59999", Some(secs(60))).await, ms(59_999)));
    assert!(is_about(wait_after("300001", None).await, secs(300)), "five minutes by default");
}

#[tokio::test(start_paused = true)]
async fn c30_negative_or_malformed_pushback_ends_the_retries() {
    for value in ["-1", "-250", "", "soon", "1.5", "250ms", "0x10", "99999999999999999999", "\u{663}"] {
        assert_eq!(wait_after(value, None).await, None, "{value:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn c30_pushback_makes_no_status_retryable() {
    for code in [Code::Internal, Code::ResourceExhausted, Code::NotFound] {
        let (waits, events) = told(BACKOFF);
        let answer = trailers_only(code, &[("grpc-retry-pushback-ms", "250")]);
        let service = RetryLayer::grpc(waits).layer(answers(vec![answer]));
        let response = service.oneshot(request()).await.expect("an answer");
        assert_eq!(response.headers()["grpc-status"], *number(code));
        assert!(events.take().len() <= 1, "no retry");
    }
    let patient = classify::grpc().retryable(&[Code::ResourceExhausted]);
    let answer = trailers_only(Code::ResourceExhausted, &[("grpc-retry-pushback-ms", "250")]);
    let service = RetryLayer::grpc(config(|b| b)).classify(patient).layer(answers(vec![answer]));
    let elapsed = timer();
    assert!(!service.oneshot(request()).await.expect("an answer").headers().contains_key("grpc-status"));
    assert!(is_about(Some(elapsed()), ms(250)));
}

#[tokio::test(start_paused = true)]
async fn c30_pushback_that_ends_the_retries_spends_no_budget() {
    let budget = Budget::ratio(0.0).reserve_per_second(1);
    let before = budget.available();
    let layer = RetryLayer::grpc(config(|builder| builder.budget(budget.clone())));
    layer.layer(answers(vec![pushing("-1")])).oneshot(request()).await.expect("an answer");
    assert_eq!(budget.available(), before);
    layer.layer(answers(vec![pushing("0")])).oneshot(request()).await.expect("an answer");
    assert_eq!(budget.available(), before - 1);
}

#[tokio::test(start_paused = true)]
async fn c30_pushback_in_a_status_is_honoured_by_calls_without_tower() {
    for (value, wait) in [("250", Some(ms(250))), ("-1", None), ("soon", None)] {
        let (waits, _events) = told(BACKOFF);
        let retry = RetryLayer::new(waits).classify(classify::grpc());
        let elapsed = timer();
        let mut count = 0;
        let result = retry
            .call(|| {
                count += 1;
                let mut busy = Status::unavailable("busy");
                busy.metadata_mut().insert("grpc-retry-pushback-ms", value.parse().expect("a value"));
                std::future::ready(if count == 1 { Err(busy) } else { Ok(tonic::Response::new(())) })
            })
            .await;
        assert_eq!((result.is_ok(), count), (wait.is_some(), 1 + i32::from(wait.is_some())));
        assert!(wait.is_none_or(|wait| is_about(Some(elapsed()), wait)), "{value}: {:?}", elapsed());
    }
}

// `google.rpc.RetryInfo` in `grpc-status-details-bin`, put together by hand:
// `Status { code: 14, details: [RetryInfo { .. }] }`.

const IN_20_S: &str = "CA4aMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIFA";
const IN_A_NEGATIVE_TIME: &str = "CA4aOQoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxINCgsI7P//////////AQ";
const IN_A_TIME_WITHOUT_END: &str = "CA4aOAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIMCgoI//////////9/";
const CUT_OFF: &str = "CA4aMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECg";
const NO_DETAILS: &str = "CA4";

/// The wait after UNAVAILABLE with such details, where the backoff would be 7 s; or why there was no retry.
async fn wait_after_details(details: &str) -> Result<Duration, Option<StopReason>> {
    let (waits, events) = told(BACKOFF);
    let answer = trailers_only(Code::Unavailable, &[("grpc-status-details-bin", details)]);
    let elapsed = timer();
    let response = RetryLayer::grpc(waits).layer(answers(vec![answer])).oneshot(request()).await.expect("an answer");
    if response.headers().contains_key("grpc-status") { Err(stopped(&events)) } else { Ok(elapsed()) }
}

#[tokio::test(start_paused = true)]
async fn c65_retry_info_is_heeded_as_retry_after_is() {
    for padding in ["", "=="] {
        let waited = wait_after_details(&format!("{IN_20_S}{padding}")).await.expect("a retry");
        assert!((secs(20)..=secs(22) + ms(20)).contains(&waited), "{waited:?}");
    }
    assert_eq!(wait_after_details(IN_A_TIME_WITHOUT_END).await, Err(Some(StopReason::RetryAfter)));
}

#[tokio::test(start_paused = true)]
async fn c65_details_that_are_none_leave_the_backoff() {
    for details in [IN_A_NEGATIVE_TIME, CUT_OFF, NO_DETAILS, "", "=", "CA4=CA4", "soon", "\u{663}"] {
        let waited = wait_after_details(details).await;
        assert!(is_about(waited.ok(), BACKOFF), "{details:?}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn c65_pushback_counts_where_both_are_there() {
    let (waits, _events) = told(BACKOFF);
    let more = [("grpc-status-details-bin", IN_20_S), ("grpc-retry-pushback-ms", "250")];
    let elapsed = timer();
    let service = RetryLayer::grpc(waits).layer(answers(vec![trailers_only(Code::Unavailable, &more)]));
    service.oneshot(request()).await.expect("an answer");
    assert!(is_about(Some(elapsed()), ms(250)), "{:?}", elapsed());
}

#[tokio::test(start_paused = true)]
async fn c65_the_backoff_begins_anew_after_a_pushback() {
    let waits = config(|builder| builder.backoff([secs(1), secs(2), secs(4)]));
    let unavailable = || trailers_only(Code::Unavailable, &[]);
    let elapsed = timer();
    let service = RetryLayer::grpc(waits).layer(answers(vec![unavailable(), pushing("250"), unavailable()]));
    service.oneshot(request()).await.expect("an answer");
    let waited = elapsed();
    assert!((ms(2_250)..ms(2_310)).contains(&waited), "1 s, 250 ms, 1 s: {waited:?}");
}
