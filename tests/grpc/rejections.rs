//! 17, 18: what a tonic client sees of rejections, timeouts and errors from within.

use std::error::Error;
use std::fmt;

use fusebox::{
    Budget, CircuitBreakerLayer, Override, Rejected, RetryLayer, circuit_breaker::RejectReason, classify, rejection,
    retry::TimedOut,
};
use futures::future::LocalBoxFuture;
use tonic::Status;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;
use support::{first_probe, ms, tripping_at};

fn tripped() -> CircuitBreaker {
    let (breaker, _clock) = tripping_at(1);
    breaker.trip().expect("no override stands");
    breaker
}

fn pushback(status: &Status) -> Option<&str> {
    Some(status.metadata().get("grpc-retry-pushback-ms")?.to_str().expect("text"))
}

#[test]
fn c17_a_rejection_is_unavailable_with_pushback() {
    let (breaker, clock) = tripping_at(1);
    breaker.trip().expect("no override stands");
    clock.advance(Duration::from_micros(999_500));
    let rejected: BoxError = breaker.acquire().expect_err("open").into();
    let status = Status::from_error(rejected);
    assert_eq!((status.code(), pushback(&status)), (Code::Unavailable, Some("29001")), "rounded up");
    assert_eq!(status.message(), "circuit breaker `test` is open (tripped by command), retry in 29s");
    assert_eq!(rejection(&status).map(Rejected::reason), Some(RejectReason::Open));
}

#[test]
fn c17_a_rejection_without_an_end_has_no_pushback() {
    let (half_open, clock) = tripping_at(1);
    let _probe = first_probe(&half_open, &clock);
    let (forced, _clock) = tripping_at(1);
    forced.set_override(Override::force_open("incident 7"));
    for (breaker, reason) in [(half_open, RejectReason::ProbesBusy), (forced, RejectReason::ForcedOpen)] {
        let status = Status::from_error(breaker.acquire().expect_err("not now").into());
        assert_eq!((status.code(), pushback(&status)), (Code::Unavailable, None));
        assert_eq!(rejection(&status).map(Rejected::reason), Some(reason));
    }
}

/// Errors from within, at some depth.
#[derive(Debug)]
struct Wrapper(BoxError);

impl fmt::Display for Wrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrapped")
    }
}

impl Error for Wrapper {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn c17_a_tonic_client_sees_unavailable_through_any_stack() {
    let limits = || {
        RetryConfig::builder().deadline(secs(60)).attempt_timeout(secs(10)).build().expect("a configuration that works")
    };
    for depth in 0..4 {
        let guarded = CircuitBreakerLayer::from(tripped()).classify(classify::grpc()).layer(answers(vec![]));
        let error = match depth {
            0 => client::unary(guarded).await,
            1 => client::unary(RetryLayer::grpc(config(|b| b)).layer(guarded)).await,
            2 => {
                client::unary(ServiceBuilder::new().layer(RetryLayer::grpc(limits())).timeout(secs(9)).service(guarded))
                    .await
            }
            _ => client::unary(ServiceBuilder::new().map_err(Wrapper).map_err(|e: BoxError| e).service(guarded)).await,
        }
        .expect_err("rejected");
        assert_eq!((error.code(), pushback(&error)), (Code::Unavailable, Some("30000")), "{depth}");
        assert_eq!(rejection(&error).map(Rejected::reason), Some(RejectReason::Open), "{depth}");
    }
}

#[tokio::test]
async fn c17_a_tonic_client_sees_unavailable_in_an_answer_made_from_a_rejection() {
    let layer = CircuitBreakerLayer::from(tripped()).respond_with(fusebox::grpc::unavailable::<tonic::body::Body>);
    let service = tower::service_fn(|_: Request<tonic::body::Body>| async {
        Ok::<_, Infallible>(Response::new(tonic::body::Body::empty()))
    });
    let error = client::unary(layer.layer(service)).await.expect_err("rejected");
    assert_eq!((error.code(), pushback(&error)), (Code::Unavailable, Some("30000")));
}

#[tokio::test(start_paused = true)]
async fn c17_the_status_within_an_error_stays_what_it_was() {
    let not_found = || {
        let mut status = Status::not_found("no such order");
        status.metadata_mut().insert("order", 7.into());
        status
    };
    let wrappings: [fn(Status) -> BoxError; 3] = [
        |status| status.into(),
        |status| Wrapper(status.into()).into(),
        |status| Wrapper(Wrapper(status.into()).into()).into(),
    ];
    for wrap in wrappings {
        let limits = RetryConfig::builder().deadline(secs(60)).build().expect("a configuration that works");
        let inner = tower::service_fn(move |_: Request<tonic::body::Body>| async move {
            Err::<Response<tonic::body::Body>, _>(wrap(not_found()))
        });
        let stack = ServiceBuilder::new()
            .layer(RetryLayer::grpc(limits))
            .layer(CircuitBreakerLayer::from(watcher().clone()).classify(classify::grpc()));
        let error = client::unary(stack.service(inner)).await.expect_err("every time");
        assert_eq!((error.code(), error.message()), (Code::NotFound, "no such order"));
        assert_eq!(error.metadata().get("order").expect("as sent"), "7");
        assert!(rejection(&error).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn c17_a_timeout_is_deadline_exceeded() {
    for (attempt, deadline) in [(Some(secs(2)), None), (None, Some(secs(3))), (Some(secs(2)), Some(secs(3)))] {
        let mut limits = RetryConfig::builder().backoff(backoff::fixed(ms(1))).deadline(secs(1_000));
        if let Some(attempt) = attempt {
            limits = limits.attempt_timeout(attempt);
        }
        if let Some(deadline) = deadline {
            limits = limits.deadline(deadline);
        }
        let hangs = tower::service_fn(|_: Request<tonic::body::Body>| {
            std::future::pending::<Result<Response<tonic::body::Body>, Infallible>>()
        });
        let client = RetryLayer::grpc(limits.build().expect("a configuration that works")).layer(hangs);
        let error = client::unary(client).await.expect_err("it hangs");
        assert_eq!(error.code(), Code::DeadlineExceeded);
        let source = error.source().expect("the timeout itself");
        assert!(source.downcast_ref::<TimedOut>().is_some_and(|timed_out| timed_out.attempt() >= 1));
        assert!(rejection(&error).is_none());
    }
}

/// As a handler makes it of an error of its own call.
#[tokio::test(start_paused = true)]
async fn a_timeout_is_an_answer_of_either_protocol_and_stays_the_source() {
    let limits = RetryConfig::builder().max_retries(0).attempt_timeout(secs(2)).build();
    let retry = RetryLayer::new(limits.expect("a configuration that works"));
    let error: BoxError = retry.call(std::future::pending::<Result<(), BoxError>>).await.expect_err("it never answers");
    for error in [error, Wrapper("down".into()).into()] {
        let is_late = error.is::<TimedOut>();
        let answer = fusebox::web::response_of::<String>(&*error).map(|response| response.status().as_u16());
        assert_eq!(answer, is_late.then_some(504), "{error}");
        let status = fusebox::grpc::status_of(&*error);
        assert_eq!(status.as_ref().map(Status::code), is_late.then_some(Code::DeadlineExceeded), "{error}");
        let source = status.as_ref().and_then(Error::source);
        assert_eq!(source.is_some_and(<dyn Error>::is::<TimedOut>), is_late, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn c29_a_rejection_is_not_retried_and_spends_no_budget() {
    let budget = Budget::tokens(10, 1.0);
    let (waits, events) = {
        let events = Record::<RetryEvent>::default();
        let told = events.clone();
        (config(|b| b.budget(budget.clone()).on_event(move |event| told.add(*event))), events)
    };
    let guarded = CircuitBreakerLayer::from(tripped()).classify(classify::grpc()).layer(answers(vec![]));
    let before = budget.available();
    assert!(client::unary(RetryLayer::grpc(waits).layer(guarded)).await.is_err());
    assert_eq!((stopped(&events), budget.available()), (Some(StopReason::Rejected), before));
}

/// A whole client that is guarded within, as a function that fails with a status.
fn guarded_client(
    breaker: &CircuitBreaker,
) -> impl Fn() -> LocalBoxFuture<'static, Result<tonic::Response<String>, Status>> + use<> {
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
    let service = layer.layer(answers(vec![]));
    move || Box::pin(client::unary(service.clone()))
}

/// tonic's clients turn every error into a status, so that this is how a rejection arrives further out.
#[tokio::test(start_paused = true)]
async fn c29_a_rejection_within_a_status_is_not_retried() {
    let call = guarded_client(&tripped());
    let (waits, events) = told(secs(60));
    let retry = RetryLayer::new(waits).classify(classify::grpc());
    let error = retry.call(&call).await.expect_err("rejected");
    assert!(rejection(&error).is_some());
    assert_eq!(stopped(&events), Some(StopReason::Rejected));
}

#[tokio::test]
async fn a_rejection_within_a_status_is_no_evidence_for_an_outer_breaker() {
    let call = guarded_client(&tripped());
    let outer = watcher();
    for _ in 0..3 {
        let error = outer.classify(classify::grpc()).call(&call).await.expect_err("rejected");
        assert!(rejection(&error).is_some());
    }
    assert_eq!(outcomes(&outer), "", "the dependency was not asked");
}

// 18

#[tokio::test(start_paused = true)]
async fn c18_error_chains_keep_their_source_through_retry_and_breaker() {
    let limits = RetryConfig::builder().attempt_timeout(secs(60)).build().expect("a configuration that works");
    let inner = tower::service_fn(|_: Request<tonic::body::Body>| async {
        Err::<Response<tonic::body::Body>, _>(Wrapper(Status::not_found("no such order").into()))
    });
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::grpc(limits))
        .layer(CircuitBreakerLayer::from(watcher().clone()).classify(classify::grpc()));
    let error = stack.service(inner).oneshot(request()).await.expect_err("every time");
    let own = error.downcast_ref::<Wrapper>().expect("the inner error itself, not one around it");
    let source = own.source().expect("its source").downcast_ref::<Status>().expect("a status");
    assert_eq!(source.code(), Code::NotFound);
}
