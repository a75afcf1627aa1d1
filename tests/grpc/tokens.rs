//! 61: which calls take a token and which give one back, as gRPC's proposal A6 has it.

use fusebox::retry::RetryStats;
use fusebox::{Budget, RetryLayer, classify};
use tonic::Status;
use tower::{Layer, ServiceExt};

use super::*;

/// 900 tokens of 1,000, so that what is given back can be seen: 400 above half.
fn drained() -> Budget {
    let budget = Budget::tokens(1_000, 1.0);
    (0..100).for_each(|_| budget.failure());
    assert_eq!(budget.available(), 400);
    budget
}

/// How many tokens a budget that was [`drained`] has gained since.
fn gained(budget: &Budget) -> i64 {
    i64::try_from(budget.available()).expect("few") - 400
}

/// How many tokens a call gains that is answered so; the next attempt, if there is one, succeeds.
fn gained_by(answer: Response<Script>, f: impl FnOnce(RetryConfigBuilder) -> RetryConfigBuilder) -> i64 {
    let budget = drained();
    let layer = RetryLayer::grpc(config(|builder| f(builder.budget(budget.clone()))));
    let response = at_hand(layer.layer(answers(vec![answer])).oneshot(request())).expect("an answer");
    at_hand(read_all(response.into_body())).ok();
    gained(&budget)
}

const NO: [&str; 5] = ["-1", "-250", "", "soon", "1.5"];

#[test]
fn c61_a_negative_pushback_takes_a_token_under_any_status() {
    for code in ALL.into_iter().filter(|code| *code != Code::Ok) {
        for value in NO {
            let (budget, stats) = (Budget::tokens(10, 0.1), RetryStats::new());
            let layer = RetryLayer::grpc(config(|builder| builder.budget(budget.clone()).stats(stats.clone())));
            for left in [4, 3, 2, 1, 0, 0] {
                let answer = trailers_only(code, &[("grpc-retry-pushback-ms", value)]);
                let response = at_hand(layer.layer(answers(vec![answer])).oneshot(request())).expect("an answer");
                assert_eq!(response.headers()["grpc-status"], *number(code), "as it is");
                assert_eq!(budget.available(), left, "{code:?} {value:?}");
            }
            let counts = stats.counts();
            assert_eq!((counts.attempts, counts.retries, counts.not_retryable), (6, 0, 6), "{code:?} {value:?}");
            (0..10).for_each(|_| budget.success());
            assert!(!budget.withdraw(), "4 were left, and 5 are half of them");
            budget.success();
            assert!(budget.withdraw());
        }
    }
}

#[test]
fn c61_a_negative_pushback_takes_a_token_of_calls_without_tower() {
    for code in ALL.into_iter().filter(|code| *code != Code::Ok) {
        let budget = Budget::tokens(10, 0.1);
        let (config, events) = (config(|builder| builder.budget(budget.clone())), Record::default());
        let retry = RetryLayer::new(config).classify(classify::grpc());
        let result = retry.call_blocking(|| {
            events.add(());
            let mut status = Status::new(code, "no");
            status.metadata_mut().insert("grpc-retry-pushback-ms", "-1".parse().expect("a value"));
            Err::<tonic::Response<()>, _>(status)
        });
        assert_eq!(result.expect_err("every time").code(), code);
        assert_eq!((budget.available(), events.take().len()), (4, 1), "{code:?}");
    }
}

#[test]
fn c61_several_pushbacks_are_as_good_as_a_malformed_one() {
    let twice = [("grpc-retry-pushback-ms", "0"), ("grpc-retry-pushback-ms", "0")];
    let answer = || trailers_only(Code::Unavailable, &twice);
    assert_eq!(answer().headers().get_all("grpc-retry-pushback-ms").iter().count(), 2);
    let (config, events) = told(Duration::ZERO);
    let service = RetryLayer::grpc(config).layer(answers(vec![answer()]));
    at_hand(service.oneshot(request())).expect("an answer");
    assert_eq!(stopped(&events), Some(StopReason::NotRetryable));
    assert_eq!(gained_by(answer(), |builder| builder), -1);
}

#[test]
fn c61_without_pushback_a_retryable_status_takes_a_token_and_ok_alone_gives_one() {
    for code in ALL {
        let expected = match code {
            Code::Ok => 1,
            Code::Unavailable => -1,
            _ => 0,
        };
        assert_eq!(gained_by(trailers_only(code, &[]), |builder| builder.max_retries(0)), expected, "{code:?}");
    }
    let pushed = trailers_only(Code::Ok, &[("grpc-retry-pushback-ms", "-1")]);
    assert_eq!(gained_by(pushed, |builder| builder), 1, "what succeeded was not refused");
    for code in [401, 404] {
        let mut page = Response::new(Script::of(&["<html>"]));
        *page.status_mut() = http::StatusCode::from_u16(code).expect("a status");
        assert_eq!(gained_by(page, |builder| builder), 0, "{code}: an answer, and no success of gRPC's");
    }
}

#[test]
fn c61_a_retryable_status_takes_a_token_also_where_something_else_ends_the_retries() {
    let down = || trailers_only(Code::Unavailable, &[]);
    assert_eq!(gained_by(down(), |builder| builder.max_retries(0)), -1);
    assert_eq!(gained_by(down(), |builder| builder.backoff([])), -1);
    // `google.rpc.RetryInfo`: 20 s.
    const IN_20_S: &str = "CA4aMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIFA";
    let later = trailers_only(Code::Unavailable, &[("grpc-status-details-bin", IN_20_S)]);
    assert_eq!(gained_by(later, |builder| builder.retry_after_cap(secs(19))), -1);
    let budget = drained();
    let layer = RetryLayer::grpc(config(|builder| builder.budget(budget.clone()))).replay_up_to(0);
    at_hand(layer.layer(answers(vec![down()])).oneshot(request())).expect("an answer");
    assert_eq!(gained(&budget), -1, "the request could not be sent again");
}

#[tokio::test(start_paused = true)]
async fn c61_a_retryable_status_takes_a_token_also_where_no_time_is_left() {
    let budget = drained();
    let limits = RetryConfig::builder().backoff(backoff::fixed(secs(60))).deadline(secs(5)).budget(budget.clone());
    let layer = RetryLayer::grpc(limits.build().expect("a configuration that works"));
    layer.layer(answers(vec![trailers_only(Code::Unavailable, &[])])).oneshot(request()).await.expect("an answer");
    assert_eq!(gained(&budget), -1);
}
