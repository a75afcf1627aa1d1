//! Which calls are made again, and what they carry: gRPC's proposal A6.

use fusebox::retry::Attempt;
use fusebox::{Budget, RetryLayer, classify};
use tonic::Status;
use tower::{Layer, Service, ServiceExt};

use super::script::Gate;
use super::*;

/// What a server saw of an attempt.
#[derive(Debug, PartialEq)]
struct Got {
    attempt: u32,
    previous: Option<String>,
    body: Bytes,
}

/// A server that answers with these responses, then with fine ones.
fn server(
    responses: Vec<Response<Script>>,
) -> (
    Record<Got>,
    impl Service<Request<tonic::body::Body>, Response = Response<Script>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static,
) {
    let log = Record::default();
    let (seen, inner) = (log.clone(), answers(responses));
    let service = tower::service_fn(move |request: Request<tonic::body::Body>| {
        let (seen, inner) = (seen.clone(), inner.clone());
        async move {
            let previous = request.headers().get("grpc-previous-rpc-attempts");
            let previous = previous.map(|value| value.to_str().expect("text").to_owned());
            let attempt = Attempt::of(request.extensions()).0;
            let (parts, body) = request.into_parts();
            let body = read_all(body).await.expect("no error").0;
            seen.add(Got { attempt, previous, body });
            inner.oneshot(Request::from_parts(parts, tonic::body::Body::empty())).await
        }
    });
    (log, service)
}

/// Makes one call that is answered so at first, and returns how many attempts there were and why they ended.
fn attempts(response: Response<Script>) -> (usize, Option<StopReason>) {
    let (log, service) = server(vec![response]);
    let (config, events) = told(Duration::ZERO);
    let response = at_hand(RetryLayer::grpc(config).layer(service).oneshot(request())).expect("an answer");
    drop(response);
    (log.take().len(), stopped(&events))
}

#[test]
fn unavailable_without_a_message_is_retried_and_no_other_status() {
    for code in ALL {
        let ended = match (expected(code), code) {
            (_, Code::Unavailable) => (2, None),
            ("F", _) => (1, Some(StopReason::NotRetryable)),
            _ => (1, None),
        };
        assert_eq!(attempts(trailers_only(code, &[])), ended, "{code:?}");
    }
}

#[test]
fn what_is_not_grpc_is_retried_where_it_means_unavailable() {
    for (code, count) in [(429, 2), (502, 2), (503, 2), (504, 2), (500, 1), (400, 1), (401, 1), (403, 1), (404, 1)] {
        let mut response = Response::new(Script::of(&["<html>"]));
        *response.status_mut() = http::StatusCode::from_u16(code).expect("a status");
        assert_eq!(attempts(response).0, count, "{code}");
    }
}

#[test]
fn an_error_of_the_transport_is_retried() {
    let log = Record::default();
    let seen = log.clone();
    let service = tower::service_fn(move |request: Request<tonic::body::Body>| {
        seen.add(());
        let fails = Attempt::of(request.extensions()) == Attempt(1);
        std::future::ready(if fails { Err(support::Down) } else { Ok(fine()) })
    });
    assert!(at_hand(RetryLayer::grpc(config(|b| b)).layer(service).oneshot(request())).is_ok());
    assert_eq!(log.take().len(), 2);
}

#[test]
fn a_call_is_committed_once_headers_without_a_status_are_in() {
    for steps in [
        vec![status(Code::Unavailable)],
        vec![message("half"), status(Code::Unavailable)],
        vec![message("half"), Step::Error],
    ] {
        assert_eq!(attempts(streaming(steps)), (1, None), "how it ends is not known yet");
    }
    assert_eq!(attempts(streaming([])), (1, Some(StopReason::NotRetryable)), "it has ended, without a status");
}

#[tokio::test]
async fn c17_the_status_at_the_end_of_a_committed_call_reaches_the_client() {
    let (log, service) = server(vec![streaming([message("half"), status(Code::Unavailable)])]);
    let error = client::unary(RetryLayer::grpc(config(|b| b)).layer(service)).await.expect_err("it fails in the end");
    assert_eq!((error.code(), log.take().len()), (Code::Unavailable, 1));
}

#[test]
fn retries_say_how_many_there_were_before() {
    let down = || trailers_only(Code::Unavailable, &[]);
    let (log, service) = server(vec![down(), down(), down()]);
    at_hand(RetryLayer::grpc(config(|b| b)).layer(service).oneshot(request())).expect("an answer");
    let Step::Data(order) = message("order") else { unreachable!() };
    let got =
        |attempt, previous: Option<&str>| Got { attempt, previous: previous.map(Into::into), body: order.clone() };
    assert_eq!(log.take(), [got(1, None), got(2, Some("1")), got(3, Some("2")), got(4, Some("3"))]);
}

#[test]
fn a_count_of_attempts_from_further_out_is_replaced() {
    let (log, service) = server(vec![trailers_only(Code::Unavailable, &[])]);
    let mut from_outside = request();
    from_outside.headers_mut().insert("grpc-previous-rpc-attempts", 7.into());
    at_hand(RetryLayer::grpc(config(|b| b)).layer(service).oneshot(from_outside)).expect("an answer");
    let counts: Vec<_> = log.take().into_iter().map(|got| got.previous).collect();
    assert_eq!(counts, [Some("7".to_owned()), Some("1".to_owned())]);
}

#[test]
fn http_retries_say_nothing_of_grpc() {
    let log = Record::default();
    let seen = log.clone();
    let service = tower::service_fn(move |request: Request<fusebox::retry::ReplayBody<Script>>| {
        seen.add(request.headers().clone());
        std::future::ready(Response::builder().status(503).body(()))
    });
    let put = Request::put("/").body(Script::of(&[])).expect("a request");
    at_hand(RetryLayer::http(config(|b| b)).layer(service).oneshot(put)).expect("an answer");
    assert_eq!(log.take(), vec![http::HeaderMap::new(); 4]);
}

#[test]
fn a_streaming_request_is_replayed_with_all_its_messages() {
    let messages = [message("one"), Step::Pause, message("two"), message(""), Step::Pause, message("three")];
    let whole: Bytes = messages
        .iter()
        .flat_map(|step| match step {
            Step::Data(data) => data.to_vec(),
            _ => vec![],
        })
        .collect();
    let down = || trailers_only(Code::Unavailable, &[]);
    let (log, service) = server(vec![down(), down()]);
    let body = tonic::body::Body::new(Script::new(messages).knows(script::Knows::Nothing));
    let call = RetryLayer::grpc(config(|b| b)).layer(service).oneshot(Request::new(body));
    futures::executor::block_on(call).expect("an answer");
    let bodies: Vec<_> = log.take().into_iter().map(|got| got.body).collect();
    assert_eq!(bodies, [whole.clone(), whole.clone(), whole]);
}

/// A stream that goes both ways: the answer comes while the client still has something to say.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_still_being_written_goes_on_in_the_next_attempt() {
    let gate = Gate::default();
    let body = Script::new([message("one"), Step::Wait(gate.clone()), message("two")]);
    let log = Record::default();
    let seen = log.clone();
    let service = tower::service_fn(move |request: Request<tonic::body::Body>| {
        let (seen, gate) = (seen.clone(), gate.clone());
        async move {
            let again = Attempt::of(request.extensions()).0 > 1;
            let mut body = request.into_body();
            let first = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
            let mut all = first.to_vec();
            if again {
                gate.open();
                all.extend(read_all(body).await.expect("no error").0);
            }
            seen.add(all);
            Ok::<_, Infallible>(if again { fine() } else { trailers_only(Code::Unavailable, &[]) })
        }
    });
    let client = RetryLayer::grpc(config(|b| b)).layer(service);
    client.oneshot(Request::new(tonic::body::Body::new(body))).await.expect("an answer");
    assert_eq!(log.take(), [b"\0\0\0\0\x03one".to_vec(), b"\0\0\0\0\x03one\0\0\0\0\x03two".to_vec()]);
}

#[test]
fn messages_over_the_cap_are_sent_once() {
    for (cap, count) in [(9, 1), (10, 2)] {
        let (log, service) = server(vec![trailers_only(Code::Unavailable, &[])]);
        let layer = RetryLayer::grpc(config(|b| b)).replay_up_to(cap);
        let answer = at_hand(layer.layer(service).oneshot(request())).expect("an answer");
        assert_eq!(log.take().len(), count);
        assert_eq!(answer.headers().contains_key("grpc-status"), count == 1);
    }
}

#[tokio::test]
async fn a_tonic_client_is_retried_whichever_kind_of_call_it_makes() {
    let down = || trailers_only(Code::Unavailable, &[]);
    let (log, service) = server(vec![down(), down(), fine(), down(), fine()]);
    let client = RetryLayer::grpc(config(|b| b)).layer(service);
    assert_eq!(client::unary(client.clone()).await.expect("a third attempt").into_inner(), "fine");
    assert_eq!(log.take().len(), 3);
    let mut answers = client::streaming(client, vec!["one", "two"]).await.expect("a second attempt").into_inner();
    assert_eq!(answers.message().await.expect("no error").as_deref(), Some("fine"));
    assert_eq!(answers.message().await.expect("no error"), None);
    let bodies: Vec<_> = log.take().into_iter().map(|got| got.body).collect();
    assert_eq!(bodies, [&b"\0\0\0\0\x03one\0\0\0\0\x03two"[..]; 2]);
}

#[tokio::test]
async fn a_client_sees_the_last_status_as_it_is() {
    let last = [("grpc-message", "come%20back"), ("detail", "7")];
    let down = || trailers_only(Code::Unavailable, &last);
    let (log, service) = server((0..10).map(|_| down()).collect());
    let error = client::unary(RetryLayer::grpc(config(|b| b)).layer(service)).await.expect_err("it is down");
    assert_eq!((error.code(), error.message(), log.take().len()), (Code::Unavailable, "come back", 4));
    assert_eq!(error.metadata().get("detail").expect("as sent"), "7");
}

#[test]
fn retries_are_throttled_by_tokens() {
    let budget = Budget::tokens(4, 0.5);
    let (log, service) = server((0..20).map(|_| trailers_only(Code::Unavailable, &[])).collect());
    let events = Record::default();
    let told = events.clone();
    let layer = RetryLayer::grpc(config(|b| b.budget(budget.clone()).on_event(move |event| told.add(*event))));
    for expected in [2, 1, 1] {
        at_hand(layer.layer(service.clone()).oneshot(request())).expect("an answer");
        assert_eq!(log.take().len(), expected, "{} tokens more than half", budget.available());
        assert_eq!(stopped(&events), Some(StopReason::Budget));
    }
}

// Without Tower

#[test]
fn calls_of_a_client_are_retried_by_its_status() {
    let calls = |code: Code, pushback: Option<&'static str>| {
        let (config, events) = told(Duration::ZERO);
        let retry = RetryLayer::new(config).classify(classify::grpc());
        let mut count = 0;
        let result = retry.call_blocking(|| {
            count += 1;
            let mut status = Status::new(code, "no");
            if let Some(pushback) = pushback {
                status.metadata_mut().insert("grpc-retry-pushback-ms", pushback.parse().expect("a value"));
            }
            Err::<tonic::Response<()>, _>(status)
        });
        assert_eq!(result.expect_err("every time").code(), code);
        (count, stopped(&events))
    };
    assert_eq!(calls(Code::Unavailable, None), (4, Some(StopReason::MaxRetries)));
    assert_eq!(calls(Code::Unavailable, Some("0")), (4, Some(StopReason::MaxRetries)));
    assert_eq!(calls(Code::Unavailable, Some("-1")), (1, Some(StopReason::NotRetryable)));
    assert_eq!(calls(Code::Internal, None), (1, Some(StopReason::NotRetryable)));
    assert_eq!(calls(Code::Internal, Some("0")), (1, Some(StopReason::NotRetryable)));
    assert_eq!(calls(Code::NotFound, None), (1, None));
}
