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

// What the end of a committed call tells

/// A call whose headers say nothing yet.
async fn committed(
    layer: &RetryLayer<classify::Grpc, fusebox::retry::ReplayGrpc>,
    steps: impl IntoIterator<Item = Step>,
) -> fusebox::retry::ResponseBody<Script, classify::Grpc> {
    layer.layer(answers(vec![streaming(steps)])).oneshot(request()).await.expect("an answer").into_body()
}

/// A layer whose calls are counted; and what counts them.
fn counted() -> (RetryLayer<classify::Grpc, fusebox::retry::ReplayGrpc>, Budget, RetryStats, Record<RetryEvent>) {
    let (budget, stats, events) = (drained(), RetryStats::new(), Record::default());
    let (told, counts) = (events.clone(), stats.clone());
    let config = config(|b| b.budget(budget.clone()).stats(counts).on_event(move |event| told.add(*event)));
    (RetryLayer::grpc(config), budget, stats, events)
}

#[test]
fn c61_trailers_take_tokens_from_a_budget_that_is_spent_and_give_none() {
    let budget = Budget::tokens(10, 1.0);
    (0..10).for_each(|_| budget.failure());
    let layer = RetryLayer::grpc(config(|builder| builder.budget(budget.clone())));
    for _ in 0..6 {
        let body = at_hand(committed(&layer, [message("half"), status(Code::Unavailable)]));
        at_hand(read_all(body)).expect("a body");
    }
    (0..5).for_each(|_| budget.success());
    assert!(!budget.withdraw(), "none were left, and 5 are half of them");
    budget.success();
    assert!(budget.withdraw());
}

#[test]
fn c61_the_end_of_a_committed_call_counts_by_its_status_as_its_head_would() {
    for code in ALL {
        for pushed in [false, true] {
            for knows in [script::Knows::All, script::Knows::Nothing] {
                let (layer, budget, stats, events) = counted();
                let pushback = pushed.then_some(("grpc-retry-pushback-ms", "-1"));
                let code_in_digits = number(code);
                let pairs: Vec<_> = [("grpc-status", &*code_in_digits)].into_iter().chain(pushback).collect();
                let script = Script::new([message("half"), trailers(&pairs)]).knows(knows);
                let response = streaming([]).map(|_| script);
                let response = at_hand(layer.layer(answers(vec![response])).oneshot(request())).expect("an answer");
                assert_eq!((gained(&budget), stats.counts().attempts), (0, 0), "{code:?}: not known yet");
                at_hand(read_all(response.into_body())).expect("a body");
                let gain = match code {
                    Code::Ok => 1,
                    _ if pushed => -1,
                    Code::Unavailable => -1,
                    _ => 0,
                };
                assert_eq!(gained(&budget), gain, "{code:?}, pushback: {pushed}");
                let counts = stats.counts();
                let reason = match code {
                    Code::Ok => None,
                    _ if pushed => Some(StopReason::NotRetryable),
                    Code::Unavailable => Some(StopReason::NotReplayable),
                    _ if expected(code) == "F" => Some(StopReason::NotRetryable),
                    _ => None,
                };
                assert_eq!(stopped(&events), reason, "{code:?}, pushback: {pushed}");
                assert_eq!((counts.calls, counts.attempts, counts.retries, counts.recovered), (1, 1, 0, 0));
                let of = [StopReason::NotRetryable, StopReason::NotReplayable].map(|r| u64::from(reason == Some(r)));
                assert_eq!([counts.not_retryable, counts.not_replayable], of, "{code:?}, pushback: {pushed}");
            }
        }
    }
}

#[test]
fn c61_a_body_that_breaks_takes_a_token_and_one_without_a_status_does_neither() {
    let ends: [(&[Step], i64, StopReason); 3] = [
        (&[message("half"), Step::Error], -1, StopReason::NotReplayable),
        (&[message("half")], 0, StopReason::NotRetryable),
        (&[], 0, StopReason::NotRetryable),
    ];
    for (steps, gain, reason) in ends {
        let (layer, budget, stats, events) = counted();
        let body = at_hand(committed(&layer, steps.iter().cloned()));
        at_hand(read_all(body)).ok();
        assert_eq!((gained(&budget), stopped(&events)), (gain, Some(reason)), "{steps:?}");
        assert_eq!((stats.counts().attempts, stats.counts().recovered), (1, 0));
    }
}

#[test]
fn c61_the_trailers_of_grpc_web_count_as_trailers_do() {
    let refused = "grpc-status:5\r\ngrpc-retry-pushback-ms:-1\r\n";
    for (block, gain) in
        [("grpc-status:0\r\n", 1), ("grpc-status: 14\r\n", -1), ("grpc-status:5\r\n", 0), (refused, -1)]
    {
        let (layer, budget, stats, _events) = counted();
        let length = u32::try_from(block.len()).expect("short").to_be_bytes();
        let last = [&[0x80][..], &length, block.as_bytes()].concat();
        let mut response = streaming([message("half"), Step::Data(last.into())]);
        let web = http::HeaderValue::from_static("application/grpc-web+proto");
        response.headers_mut().insert("content-type", web);
        let response = at_hand(layer.layer(answers(vec![response])).oneshot(request())).expect("an answer");
        assert_eq!((gained(&budget), stats.counts().attempts), (0, 0), "{block:?}: not known yet");
        at_hand(read_all(response.into_body())).expect("a body");
        assert_eq!((gained(&budget), stats.counts().attempts), (gain, 1), "{block:?}");
    }
}

#[test]
fn c61_a_reader_who_leaves_neither_takes_nor_gives() {
    for frames in 0..3 {
        let (layer, budget, stats, events) = counted();
        let gate = script::Gate::default();
        let steps = [message("one"), message("two"), Step::Wait(gate), status(Code::Unavailable)];
        let mut body = Box::pin(at_hand(committed(&layer, steps)));
        for _ in 0..frames {
            at_hand(body.frame()).expect("a frame").expect("no error");
        }
        drop(body);
        assert_eq!((gained(&budget), events.take()), (0, vec![]));
        assert_eq!((stats.counts().calls, stats.counts().attempts), (1, 0));
    }
}

#[test]
fn c61_a_call_has_recovered_when_it_has_ended_well_and_not_at_its_head() {
    for (code, recovered, gain) in [(Code::Ok, 1, 0), (Code::Unavailable, 0, -2)] {
        let (layer, budget, stats, events) = counted();
        let responses = vec![trailers_only(Code::Unavailable, &[]), streaming([message("half"), status(code)])];
        let response = at_hand(layer.layer(answers(responses)).oneshot(request())).expect("an answer");
        let kinds = |events: Vec<RetryEvent>| -> Vec<_> { events.iter().map(|event| event.kind().as_str()).collect() };
        assert_eq!((stats.counts().retries, stats.counts().recovered), (1, 0), "not known yet");
        assert_eq!(kinds(events.take()), ["retrying"]);
        at_hand(read_all(response.into_body())).expect("a body");
        assert_eq!((stats.counts().recovered, gained(&budget)), (recovered, gain), "{code:?}");
        let told = events.take();
        assert_eq!(told.iter().map(RetryEvent::attempt).collect::<Vec<_>>(), [2]);
        assert_eq!(kinds(told), [if recovered == 1 { "succeeded" } else { "stopped" }]);
    }
}

#[test]
fn c61_the_end_is_told_with_the_last_frame_once() {
    let (layer, budget, stats, _events) = counted();
    let mut body = Box::pin(at_hand(committed(&layer, [message("half"), status(Code::Unavailable)])));
    at_hand(body.frame()).expect("a frame").expect("no error");
    assert_eq!(gained(&budget), 0);
    at_hand(body.frame()).expect("trailers").expect("no error");
    assert_eq!(gained(&budget), -1, "a reader need not ask again");
    assert!(at_hand(body.frame()).is_none());
    drop(body);
    assert_eq!((gained(&budget), stats.counts().attempts), (-1, 1));
}

#[test]
fn c61_a_response_that_its_head_judges_is_told_there() {
    let (layer, budget, stats, _events) = counted();
    let service = layer.layer(answers(vec![trailers_only(Code::Ok, &[])]));
    let response = at_hand(service.oneshot(request())).expect("an answer");
    assert_eq!((gained(&budget), stats.counts().attempts), (1, 1));
    drop(response);
    assert_eq!((gained(&budget), stats.counts().attempts), (1, 1));
}

#[test]
fn c61_without_anything_that_counts_the_body_is_the_inner_one() {
    let told = |_: &RetryEvent| {};
    let watched = |f: fn(RetryConfigBuilder) -> RetryConfigBuilder| {
        let body = at_hand(committed(&RetryLayer::grpc(config(f)), [message("half"), status(Code::Ok)]));
        assert_eq!(body.size_hint().exact(), Some(9));
        format!("{body:?}").contains("watched: true")
    };
    assert!(!watched(|builder| builder) && !watched(|builder| builder.budget(Budget::ratio(0.2))));
    assert!(watched(|builder| builder.budget(Budget::tokens(10, 0.1))) && watched(|b| b.stats(RetryStats::new())));
    let body = at_hand(committed(&RetryLayer::grpc(config(|builder| builder.on_event(told))), [message("half")]));
    assert!(format!("{body:?}").contains("watched: true"));
}

#[test]
fn c61_a_classifier_that_is_shared_or_finds_rejections_tells_the_same() {
    let (shared, finding) = (drained(), drained());
    let layer = |budget: &Budget| RetryLayer::grpc(config(|builder| builder.budget(budget.clone())));
    let torn = || answers(vec![streaming([message("half"), status(Code::Unavailable)])]);
    let service = layer(&shared).classify(std::sync::Arc::new(classify::grpc())).layer(torn());
    at_hand(read_all(at_hand(service.oneshot(request())).expect("an answer").into_body())).expect("a body");
    let service = layer(&finding).rejections(|_: &Infallible| None).layer(torn());
    at_hand(read_all(at_hand(service.oneshot(request())).expect("an answer").into_body())).expect("a body");
    assert_eq!((gained(&shared), gained(&finding)), (-1, -1));
}

#[test]
fn c61_so_it_is_without_tower() {
    let (budget, stats) = (drained(), RetryStats::new());
    let config = config(|builder| builder.budget(budget.clone()).stats(stats.clone()));
    let retry = RetryLayer::new(config).classify(classify::grpc());
    let mut answers =
        vec![streaming([message("half"), status(Code::Unavailable)]), trailers_only(Code::Unavailable, &[])];
    let response = at_hand(retry.call(|| std::future::ready(Ok::<_, Infallible>(answers.pop().expect("two")))));
    let body: fusebox::retry::ResponseBody<_, classify::Grpc> = response.expect("an answer").into_body();
    assert_eq!((gained(&budget), stats.counts().recovered), (-1, 0));
    at_hand(read_all(body)).expect("a body");
    assert_eq!((gained(&budget), stats.counts().recovered), (-2, 0));

    let response = retry.call_blocking(|| Ok::<_, Infallible>(fine())).expect("an answer");
    assert_eq!(gained(&budget), -2);
    at_hand(read_all(response.into_body())).expect("a body");
    assert_eq!(gained(&budget), -1);
}

/// A6's own words, as arithmetic: `token_count` in thousandths, from 0 to `maxTokens`.
#[test]
fn c61_any_row_of_calls_leaves_as_many_tokens_as_a6_says() {
    const MOST: i64 = 10_000;
    const NEGATIVE: [(&str, &str); 1] = [("grpc-retry-pushback-ms", "-1")];
    type Kind = (fn() -> Response<Script>, bool, i64);
    let kinds: [Kind; 9] = [
        (fine, true, 100),
        (|| trailers_only(Code::Ok, &[]), true, 100),
        (|| trailers_only(Code::NotFound, &[]), true, 0),
        (|| trailers_only(Code::Unavailable, &[]), true, -1_000),
        (|| trailers_only(Code::ResourceExhausted, &NEGATIVE), true, -1_000),
        (|| streaming([message("half"), status(Code::Unavailable)]), true, -1_000),
        (|| streaming([message("half"), status(Code::Internal)]), true, 0),
        (|| streaming([message("half"), Step::Error]), true, -1_000),
        (fine, false, 0),
    ];
    let budget = Budget::tokens(10, 0.1);
    let layer = RetryLayer::grpc(config(|builder| builder.max_retries(0).budget(budget.clone())));
    let (mut tokens, mut seed, mut seen) = (MOST, 1_u64, [false; 2]);
    for call in 0..20_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let drawn = usize::try_from(seed >> 33).expect("31 bits");
        // Three of four calls go well, or the count would stay at zero.
        let (answer, is_read, gain) = kinds[if drawn % 16 < 13 { 0 } else { drawn / 16 % kinds.len() }];
        let response = at_hand(layer.layer(answers(vec![answer()])).oneshot(request())).expect("an answer");
        if is_read {
            at_hand(read_all(response.into_body())).ok();
        } else {
            drop(response);
        }
        tokens = (tokens + gain).clamp(0, MOST);
        seen[usize::from(budget.withdraw())] = true;
        assert_eq!(budget.withdraw(), tokens > MOST / 2, "call {call}: {tokens} thousandths");
    }
    assert_eq!(seen, [true; 2], "on both sides of the half");
}

// The deadline, over the body

#[tokio::test(start_paused = true)]
async fn a_stream_that_outlives_the_deadline_ends_in_deadline_exceeded_and_takes_a_token() {
    let (budget, stats, events) = (drained(), RetryStats::new(), Record::default());
    let (told, counts) = (events.clone(), stats.clone());
    let limits = RetryConfig::builder().deadline(secs(5)).budget(budget.clone()).stats(counts);
    let limits = limits.on_event(move |event: &RetryEvent| told.add(*event)).build().expect("it works");
    let gate = script::Gate::default();
    let steps = [message("one"), Step::Wait(gate), message("two"), status(Code::Ok)];
    let elapsed = timer();
    let service = RetryLayer::grpc(limits).layer(answers(vec![streaming(steps)]));
    let mut answers = client::streaming(service, vec!["order"]).await.expect("headers").into_inner();
    assert_eq!(answers.message().await.expect("in time").as_deref(), Some("one"));
    let status = answers.message().await.expect_err("it stalls");
    assert_eq!((status.code(), gained(&budget)), (Code::DeadlineExceeded, -1), "{status:?}");
    assert!((secs(5)..secs(5) + support::ms(20)).contains(&elapsed()), "{:?}", elapsed());
    assert_eq!((stopped(&events), stats.counts().deadline), (Some(StopReason::Deadline), 1));
    assert_eq!((stats.counts().attempts, stats.counts().recovered), (1, 0));
}
