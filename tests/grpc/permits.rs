//! The permit lives in the body: until that has ended, nobody knows how the call went.

use fusebox::{
    CircuitBreakerLayer, Outcome, Probes, Registry, RetryLayer, State,
    circuit_breaker::{GuardedBody, RejectReason},
    classify, key, rejection,
};
use futures::FutureExt;
use tower::{Layer, Service, ServiceExt};

use super::script::Gate;
use super::*;
use support::{Wakes, failures, first_probe, ms, report};

/// A half-open breaker with one place for probes, and the response of the probe that has it, up to its headers.
fn probing(
    f: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
    response: Response<Script>,
) -> (CircuitBreaker, ManualClock, Response<Reading>) {
    let (breaker, clock) = breaker(|builder| f(builder.detector(detect::consecutive_failures(1))));
    drop(first_probe(&breaker, &clock));
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
    let response = at_hand(layer.layer(answers(vec![response])).oneshot(request())).expect("a probe");
    (breaker, clock, response.map(Box::pin))
}

fn is_busy(breaker: &CircuitBreaker) -> bool {
    breaker.acquire().is_err_and(|rejected| rejected.reason() == RejectReason::ProbesBusy)
}

#[test]
fn a_probe_is_decided_by_its_trailers_alone() {
    let table = [
        (Code::Ok, State::Closed),
        (Code::NotFound, State::Closed),
        (Code::Unavailable, State::Open),
        (Code::Unknown, State::Open),
        (Code::Cancelled, State::HalfOpen),
    ];
    for (code, state) in table {
        let (breaker, _clock, response) = probing(|b| b, streaming([message("hello"), status(code)]));
        let mut body = response.into_body();
        assert_eq!(breaker.state(), State::HalfOpen);
        assert!(is_busy(&breaker), "headers are no verdict");
        assert!(at_hand(body.frame()).expect("a frame").expect("no error").is_data());
        assert!(is_busy(&breaker), "a message is none either");
        assert!(at_hand(body.frame()).expect("a frame").expect("no error").is_trailers());
        assert_eq!(breaker.state(), state, "{code:?}");
        assert!(state != State::HalfOpen || !is_busy(&breaker), "its place is free again");
    }
}

#[test]
fn a_probe_that_breaks_off_or_ends_without_a_status_reopens() {
    for last in [Some(Step::Error), None] {
        let steps = [message("hello")].into_iter().chain(last);
        let (breaker, _clock, response) = probing(|b| b, streaming(steps));
        let mut body = response.into_body();
        while let Some(Ok(_)) = at_hand(body.frame()) {}
        assert_eq!(breaker.state(), State::Open);
    }
}

#[test]
fn a_probe_with_its_status_in_the_headers_is_decided_by_them() {
    for (code, state) in [(Code::Ok, State::Closed), (Code::Internal, State::Open)] {
        let (breaker, _clock, response) = probing(|b| b, trailers_only(code, &[]));
        assert_eq!(breaker.state(), state);
        drop(response);
        assert_eq!(breaker.state(), state);
    }
}

#[test]
fn a_probe_that_is_dropped_gives_its_place_back() {
    for frames in [0, 1] {
        let (breaker, _clock, response) = probing(|b| b, streaming([message("hello"), status(Code::Ok)]));
        let mut body = response.into_body();
        for _ in 0..frames {
            at_hand(body.frame()).expect("a frame").expect("no error");
        }
        assert!(is_busy(&breaker));
        drop(body);
        assert_eq!(breaker.state(), State::HalfOpen);
        report(&breaker, 1, Outcome::Success);
        assert_eq!(breaker.state(), State::Closed);
    }
}

/// A response that goes on for half a second after its head is a good one, however it ends.
#[test]
fn a_probe_that_goes_on_streaming_has_succeeded() {
    let limit = |builder: CircuitBreakerConfigBuilder| builder.abandoned_after(secs(5)).probes(Probes::one());
    for (after, state) in [(ms(499), State::HalfOpen), (ms(500), State::Closed), (secs(5), State::Closed)] {
        let (breaker, clock, response) = probing(limit, streaming([message("hello")]));
        clock.advance(after);
        drop(response);
        assert_eq!(breaker.state(), state, "dropped after {after:?}");
    }
    let (breaker, clock, response) = probing(limit, fine());
    clock.advance(ms(499));
    assert!(is_busy(&breaker));
    clock.advance(ms(1));
    assert!(breaker.acquire().is_ok(), "the dependency has answered, and goes on answering");
    assert_eq!(breaker.state(), State::Closed);
    at_hand(read_all(response.into_body())).expect("no error");
    assert_eq!(breaker.state(), State::Closed, "how it ends is history");
}

#[test]
fn a_stream_admitted_before_the_circuit_opened_decides_nothing_afterwards() {
    for code in [Code::Ok, Code::Unavailable] {
        let (breaker, clock) = breaker(|b| b.detector(detect::consecutive_failures(1)));
        let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
        let old = streaming([message("hello"), status(code)]);
        let response = at_hand(layer.layer(answers(vec![old])).oneshot(request())).expect("closed");
        let probe = first_probe(&breaker, &clock);
        at_hand(read_all(response.into_body())).expect("no error");
        assert_eq!(breaker.state(), State::HalfOpen, "{code:?}");
        probe.success();
        assert_eq!((breaker.state(), failures(&breaker)), (State::Closed, 0));
    }
}

#[test]
fn a_response_dropped_before_its_end_counts_neither_way_unless_it_was_silent_for_too_long() {
    for (limit, after, seen) in [(None, secs(3_600), ""), (Some(secs(5)), ms(4_999), ""), (Some(secs(5)), secs(5), "F")]
    {
        let (breaker, clock) =
            watching(|builder| limit.into_iter().fold(builder, CircuitBreakerConfigBuilder::abandoned_after));
        let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
        let stalls = streaming([message("half"), Step::Wait(Gate::default())]);
        let service = layer.layer(answers(vec![stalls]));
        let mut body = Box::pin(at_hand(service.oneshot(request())).expect("closed").into_body());
        at_hand(body.frame()).expect("a frame").expect("no error");
        assert!(body.frame().now_or_never().is_none(), "it stalls");
        clock.advance(after);
        drop(body);
        assert_eq!(outcomes(&breaker), seen, "{limit:?}, {after:?}");
    }
}

#[test]
fn a_long_stream_that_ends_well_is_a_success_whatever_the_limit() {
    let (breaker, clock) = watching(|builder| builder.abandoned_after(secs(5)));
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
    let response = at_hand(layer.layer(answers(vec![])).oneshot(request())).expect("closed");
    clock.advance(secs(3_600));
    at_hand(read_all(response.into_body())).expect("no error");
    assert_eq!(outcomes(&breaker), "S");
}

#[tokio::test]
async fn the_outcome_is_known_when_a_tonic_client_has_its_answer() {
    let breaker = watcher();
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
    for (code, seen) in [(Code::Ok, "S"), (Code::NotFound, "S"), (Code::Internal, "F"), (Code::Unavailable, "F")] {
        let in_trailers = streaming([message("hello"), status(code)]);
        let result = client::unary(layer.layer(answers(vec![in_trailers]))).await;
        assert_eq!((result.is_ok(), outcomes(&breaker).as_str()), (code == Code::Ok, seen), "{code:?}");

        let several = streaming([message("one"), message("two"), status(code)]);
        let mut answers =
            client::streaming(layer.layer(answers(vec![several])), vec!["order"]).await.expect("headers").into_inner();
        for text in ["one", "two"] {
            assert_eq!(answers.message().await.expect("no error").as_deref(), Some(text));
            assert_eq!(outcomes(&breaker), "");
        }
        assert_eq!(answers.message().await.is_ok(), code == Code::Ok);
        assert_eq!(outcomes(&breaker), seen, "{code:?}, while the client still has its stream");
    }
}

#[test]
fn each_method_has_a_breaker_of_its_own_and_rejections_are_grpc_answers() {
    let registry = Registry::new(|name| tripping(name).build());
    let layer = CircuitBreakerLayer::keyed(registry.clone(), key::grpc_method())
        .classify(classify::grpc())
        .respond_with(fusebox::grpc::unavailable);
    let log = Record::default();
    let seen = log.clone();
    let service = layer.layer(tower::service_fn(move |request: Request<tonic::body::Body>| {
        let method = request.uri().path().to_owned();
        let code = if method.ends_with("Place") { Code::Unavailable } else { Code::Ok };
        seen.add(method);
        let body = http_body_util::Full::new(Bytes::new())
            .with_trailers(async move { Some(Ok::<_, Infallible>(headers(&[("grpc-status", &number(code))]))) });
        std::future::ready(Ok::<_, Infallible>(Response::new(tonic::body::Body::new(body))))
    }));
    let call = |path: &'static str| {
        let request = Request::post(path).body(tonic::body::Body::empty()).expect("a request");
        at_hand(service.clone().oneshot(request)).expect("an answer")
    };
    let (_, end) = at_hand(read_all(call("/shop.Orders/Place").into_body())).expect("no error");
    assert_eq!(end.expect("trailers")["grpc-status"], "14");
    assert!(registry.iter().all(|breaker| breaker.is_open()));

    let rejected = call("/shop.Orders/Place");
    assert_eq!(
        (rejected.status().as_u16(), &rejected.headers()["grpc-status"]),
        (200, &"14".parse().expect("a value"))
    );
    assert_eq!(rejected.headers()["grpc-retry-pushback-ms"], "30000");
    assert!(rejected.body().is_end_stream());

    let other = call("/shop.Orders/Look");
    at_hand(read_all(other.into_body())).expect("no error");
    assert_eq!(log.take(), ["/shop.Orders/Place", "/shop.Orders/Look"]);
    assert_eq!(registry.len(), 2);
}

#[test]
fn answers_made_by_a_breaker_are_ignored_further_out() {
    let inner = CircuitBreaker::new(tripping("inner").build().expect("it works"));
    inner.trip().expect("no override stands");
    let outer = watcher();
    let guarded = CircuitBreakerLayer::from(inner)
        .classify(classify::grpc())
        .respond_with(fusebox::grpc::unavailable::<GuardedBody<tonic::body::Body, classify::Grpc>>);
    let (config, events) = told(secs(1));
    let service = tower::service_fn(|_: Request<tonic::body::Body>| async {
        Ok::<_, Infallible>(Response::new(tonic::body::Body::empty()))
    });
    let client = CircuitBreakerLayer::from(outer.clone())
        .classify(classify::grpc())
        .layer(RetryLayer::grpc(config).layer(guarded.layer(service)));
    let answer = at_hand(client.oneshot(request())).expect("an answer, at once");
    assert_eq!(answer.headers()["grpc-status"], "14");
    at_hand(read_all(answer.into_body())).expect("no error");
    assert_eq!((outcomes(&outer).as_str(), events.take().len()), ("", 1), "neither judged nor retried");
}

#[tokio::test]
async fn a_waiting_service_is_ready_when_the_stream_of_the_probe_before_has_ended() {
    let (breaker, _clock) = breaker(|b| b.cooldown(Duration::ZERO).probes(Probes::consecutive(2)));
    breaker.trip().expect("no override stands");
    let gate = Gate::default();
    let slow = streaming([message("hello"), Step::Wait(gate.clone()), status(Code::Ok)]);
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc()).wait_when_open();
    let mut first = layer.layer(answers(vec![slow]));
    let mut second = first.clone();

    let probe = at_hand(at_hand(first.ready()).expect("ready").call(request())).expect("a probe");
    let mut body = Box::pin(probe.into_body());
    at_hand(body.frame()).expect("a frame").expect("no error");
    let (wakes, waker) = Wakes::new();
    let mut cx = std::task::Context::from_waker(&waker);
    let ready = |service: &mut _, cx: &mut _| Service::<Request<tonic::body::Body>>::poll_ready(service, cx);
    assert!(ready(&mut second, &mut cx).is_pending(), "one probe at a time");
    gate.open();
    at_hand(read_all(&mut body)).expect("no error");
    assert_eq!(wakes.count(), 1);
    assert!(ready(&mut second, &mut cx).is_ready());
    let response = at_hand(second.call(request())).expect("a probe");
    assert_eq!(breaker.state(), State::HalfOpen);
    at_hand(read_all(response.into_body())).expect("no error");
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test]
async fn a_waiting_service_still_rejects_what_was_ready_before_the_circuit_opened() {
    let (breaker, _clock) = breaker(|b| b.detector(detect::consecutive_failures(1)));
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc()).wait_when_open();
    let mut service = layer.layer(answers(vec![]));
    at_hand(service.ready()).expect("ready");
    breaker.trip().expect("no override stands");
    let error = at_hand(service.call(request())).expect_err("rejected");
    assert_eq!(rejection(&*error).expect("a rejection").reason(), RejectReason::Open);
}
