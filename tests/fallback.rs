//! The answer of last resort: what it replaces, and what it leaves alone.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::future::{pending, poll_fn, ready};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use fusebox::fallback::{OnError, OnErrorOf, ResponseFuture};
use fusebox::{BoxError, CircuitBreakerLayer, FallbackLayer, Outcome, classify, rejection};
use futures::FutureExt;
use support::{Answer, Down, Ready, Record, Stub, poll_once, tripping_at};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

/// Makes a call that never waits for anything.
fn ask<S: Service<Req>, Req>(service: S, request: Req) -> Result<S::Response, S::Error> {
    service.oneshot(request).now_or_never().expect("at once")
}

fn never<T>(_: T) -> std::future::Ready<Result<u32, Down>> {
    panic!("there was nothing to replace")
}

// What is replaced

#[test]
fn errors_are_replaced_and_answers_are_not() {
    let stub = Stub::new(Answer::Err);
    let service = FallbackLayer::new(|Down| ready(Ok(100))).layer(stub.clone());
    assert_eq!(ask(service.clone(), 7), Ok(100));
    stub.answers(Answer::Ok);
    assert_eq!(ask(service, 7), Ok(7));
    assert_eq!(ask(FallbackLayer::new(never::<Down>).layer(stub), 7), Ok(7));
}

#[test]
fn the_function_gets_the_error_itself() {
    let inner = service_fn(|n: u32| ready(Err::<u32, _>(format!("{n} is sold out"))));
    let layer = FallbackLayer::new(|error: String| ready(Err::<u32, _>(error + ", sorry")));
    assert_eq!(ask(layer.layer(inner), 7), Err("7 is sold out, sorry".to_owned()), "a fallback may fail");
}

#[test]
fn with_request_gets_the_request_as_it_was() {
    /// Changes while it is being served.
    #[derive(Clone, Debug)]
    struct Order(Vec<u32>);

    let inner = service_fn(|mut order: Order| {
        order.0.clear();
        ready(Err::<u32, _>("down"))
    });
    let layer = FallbackLayer::with_request(|order: Order, error: &str| {
        assert_eq!(error, "down");
        ready(Ok(order.0.iter().sum()))
    });
    assert_eq!(ask(layer.layer(inner), Order(vec![3, 4])), Ok(7));
}

#[test]
fn with_request_leaves_answers_alone() {
    let layer = FallbackLayer::with_request(|request: u32, Down| never::<u32>(request));
    assert_eq!(ask(layer.layer(Stub::new(Answer::Ok)), 7), Ok(7));
}

#[test]
fn on_failure_replaces_what_the_classifier_calls_a_failure_and_gets_it_whole() {
    let judge = |result: &Result<u32, &str>| match result {
        Ok(0) | Err("down") => Outcome::Failure,
        Ok(_) => Outcome::Success,
        Err("not mine") => Outcome::Ignored,
        Err(_) => Outcome::FailureAfter(support::secs(1)),
    };
    let seen = Record::default();
    let log = seen.clone();
    let layer = FallbackLayer::on_failure(judge, move |result: Result<u32, &'static str>| {
        log.add(result);
        ready(Ok(100))
    });
    for (result, answer) in [
        (Ok(7), Ok(7)),
        (Ok(0), Ok(100)),
        (Err("down"), Ok(100)),
        (Err("busy"), Ok(100)),
        (Err("not mine"), Err("not mine")),
    ] {
        assert_eq!(ask(layer.layer(service_fn(move |()| ready(result))), ()), answer);
        let replaced = if result == answer { vec![] } else { vec![result] };
        assert_eq!(seen.take(), replaced);
    }
}

#[test]
fn on_failure_takes_the_classifiers_of_breakers() {
    let spared = classify::errors().exclude(|error: &&str| *error == "sold out");
    let layer = FallbackLayer::on_failure(spared, |_: Result<u32, &'static str>| ready(Ok(100)));
    assert_eq!(ask(layer.layer(service_fn(|()| ready(Err("down")))), ()), Ok(100));
    assert_eq!(ask(layer.layer(service_fn(|()| ready(Err("sold out")))), ()), Err("sold out"));
}

#[test]
fn a_rejection_is_answered_and_can_be_told_from_other_errors() {
    let (breaker, _clock) = tripping_at(1);
    let stack = ServiceBuilder::new()
        .layer(FallbackLayer::new(|error: BoxError| ready(Ok(if rejection(&*error).is_some() { 1 } else { 2 }))))
        .layer(CircuitBreakerLayer::from(breaker.clone()));
    let stub = Stub::new(Answer::Err);
    let service = stack.service(stub.clone());
    let answer = || ask(service.clone(), 7).map_err(|error: BoxError| error.to_string());
    assert_eq!(answer(), Ok(2), "down");
    assert!(breaker.is_open());
    assert_eq!(answer(), Ok(1), "rejected");
    assert_eq!(stub.calls(), 1);
}

#[cfg(feature = "http")]
#[test]
fn on_failure_replaces_responses_by_their_status_but_not_a_breakers_own() {
    use http::{Request, Response, StatusCode};

    let layer = FallbackLayer::on_failure(classify::http(), |failed: Result<Response<u32>, Down>| {
        ready(failed.map(|response| response.map(|body| body + 100)))
    });
    for (code, body) in [(200, 7), (404, 7), (429, 7), (500, 107), (501, 7), (503, 107)] {
        let status = StatusCode::from_u16(code).expect("a status");
        let inner =
            service_fn(move |_: Request<()>| ready(Response::builder().status(status).body(7).map_err(|_| Down)));
        assert_eq!(ask(layer.layer(inner), Request::new(())).map(Response::into_body), Ok(body), "{code}");
    }
    let (breaker, _clock) = tripping_at(1);
    breaker.trip().expect("no override stands");
    let guarded = CircuitBreakerLayer::from(breaker).respond_with(fusebox::web::unavailable::<u32>);
    let inner = service_fn(|_: Request<()>| ready(Ok::<_, Down>(Response::new(7))));
    let answer = ask(layer.layer(guarded.layer(inner)), Request::new(())).expect("an answer");
    assert_eq!((answer.status(), answer.into_body()), (StatusCode::SERVICE_UNAVAILABLE, 0));
}

// What is asked of requests

/// Neither `Clone` nor `Send`.
struct Awkward(Rc<u32>);

#[test]
fn a_request_that_is_not_clone_is_served() {
    let inner = || service_fn(|request: Awkward| ready(if *request.0 == 0 { Err(Down) } else { Ok(*request.0) }));
    let on_error = FallbackLayer::new(|Down| ready(Ok(100)));
    let on_failure = FallbackLayer::on_failure(classify::errors(), |_: Result<u32, Down>| ready(Ok(200)));
    for (n, answers) in [(7, [7, 7]), (0, [100, 200])] {
        assert_eq!(ask(on_error.layer(inner()), Awkward(Rc::new(n))), Ok(answers[0]));
        assert_eq!(ask(on_failure.layer(inner()), Awkward(Rc::new(n))), Ok(answers[1]));
    }
}

type Future<G, K, Req> =
    ResponseFuture<std::future::Ready<Result<u32, Down>>, G, K, std::future::Ready<Result<u32, Down>>, Req>;

#[test]
fn a_response_is_send_whatever_the_request_is_unless_it_is_kept() {
    const fn is_send<T: Send>() {}
    const { is_send::<Future<OnError<fn(Down) -> std::future::Ready<Result<u32, Down>>>, (), Awkward>>() };
    const { is_send::<Future<OnErrorOf<fn(u32, Down) -> std::future::Ready<Result<u32, Down>>>, u32, u32>>() };
}

// Readiness

#[test]
fn an_error_of_readiness_is_passed_on() {
    let stub = Stub::new(Answer::Ok);
    stub.gets_ready(Ready::Error);
    let mut service = FallbackLayer::new(never::<Down>).layer(stub.clone());
    for _ in 0..2 {
        assert_eq!(service.ready().now_or_never().expect("at once").map(drop), Err(Down));
    }
    let mut with_request = FallbackLayer::with_request(|request: u32, Down| never(request)).layer(stub.clone());
    assert_eq!(with_request.ready().now_or_never().expect("at once").map(drop), Err(Down));
    stub.gets_ready(Ready::Yes);
    assert_eq!(ask(service, 7), Ok(7));
}

#[test]
fn a_service_that_is_not_ready_is_waited_for() {
    let stub = Stub::new(Answer::Err);
    stub.gets_ready(Ready::Never);
    let mut service = FallbackLayer::new(|Down| ready(Ok(100))).layer(stub.clone());
    assert!(service.ready().now_or_never().is_none());
    stub.gets_ready(Ready::Yes);
    let ready = service.ready().now_or_never().expect("at once").expect("ready");
    assert_eq!(ready.call(7).now_or_never(), Some(Ok(100)), "the instance that was ready is the one that is called");
    assert_eq!(stub.calls(), 1);
}

// Giving up

/// Set when it is dropped.
#[derive(Clone, Default)]
struct Flag(Arc<AtomicBool>);

struct OnDrop(Flag);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::SeqCst);
    }
}

impl Flag {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[test]
fn dropping_the_response_gives_the_call_up_and_asks_for_no_other_answer() {
    let dropped = Flag::default();
    let flag = dropped.clone();
    let inner = service_fn(move |()| {
        let guard = OnDrop(flag.clone());
        async move {
            let _guard = guard;
            pending::<Result<u32, Down>>().await
        }
    });
    let mut service = FallbackLayer::new(never::<Down>).layer(inner);
    let mut response = Box::pin(service.call(()));
    assert!(poll_once(response.as_mut()).is_pending());
    assert!(!dropped.is_set());
    drop(response);
    assert!(dropped.is_set());
}

#[test]
fn dropping_the_response_gives_up_the_other_answer_too() {
    let dropped = Flag::default();
    let flag = dropped.clone();
    let layer = FallbackLayer::new(move |Down| {
        let guard = OnDrop(flag.clone());
        async move {
            let _guard = guard;
            pending().await
        }
    });
    let mut service = layer.layer(service_fn(|()| ready(Err::<u32, _>(Down))));
    let mut response = Box::pin(service.call(()));
    assert!(poll_once(response.as_mut()).is_pending());
    assert!(!dropped.is_set());
    drop(response);
    assert!(dropped.is_set());
}

#[test]
fn the_failed_call_is_dropped_before_the_other_answer_is_asked_for_anything() {
    let dropped = Flag::default();
    let flag = dropped.clone();
    let inner = service_fn(move |()| {
        let mut guard = Some(OnDrop(flag.clone()));
        // Unlike an async block, it keeps what it has when it is done.
        poll_fn(move |_| {
            assert!(guard.as_mut().is_some());
            std::task::Poll::Ready(Err::<bool, _>(Down))
        })
    });
    let layer = FallbackLayer::new(move |Down| {
        let dropped = dropped.clone();
        async move { Ok(dropped.is_set()) }
    });
    assert_eq!(ask(layer.layer(inner), ()), Ok(true), "it may hold a connection");
}

#[test]
fn the_other_answer_may_take_its_time() {
    let (wakes, waker) = support::Wakes::new();
    let layer = FallbackLayer::new(|Down| async {
        support::pending_times(3).await;
        Ok(100)
    });
    let mut response = Box::pin(layer.layer(Stub::new(Answer::After(0))).oneshot(7));
    assert_eq!(poll_once(response.as_mut()), std::task::Poll::Ready(Ok(7)));
    let mut response = Box::pin(layer.layer(Stub::new(Answer::Err)).oneshot(7));
    let mut cx = Context::from_waker(&waker);
    for n in 1..=3 {
        assert!(std::future::Future::poll(response.as_mut(), &mut cx).is_pending());
        assert_eq!(wakes.count(), n);
    }
    let mut cx = Context::from_waker(Waker::noop());
    assert!(std::future::Future::poll(response.as_mut(), &mut cx).is_ready());
}

#[test]
fn it_says_what_it_is() {
    let layer = FallbackLayer::new(|Down| ready(Ok::<u32, _>(0)));
    assert_eq!(layer.to_string(), "fallback");
    let mut service = layer.layer(7);
    *service.get_mut() += 1;
    assert_eq!((*service.get_ref(), service.into_inner()), (8, 8));
}
