//! The contract of Tower's services, and company in a stack.

use std::task::{Context, Poll, Waker};

use fusebox::RetryService;
use fusebox::retry::{Resend, ResponseFuture};
use tower::timeout::error::Elapsed;

use super::*;

#[test]
fn the_instance_that_is_ready_is_the_one_that_is_called() {
    let stub = Stub::new(Answer::Err);
    let mut service = retry(at_once()).layer(stub.clone());
    let ready = service.ready().now_or_never().expect("ready").expect("ready");
    assert_eq!((stub.asked(), stub.calls()), (1, 0));
    let response = ready.call(1);
    assert_eq!((stub.asked(), stub.calls()), (1, 1), "called before the response is polled, as in Tower");
    assert_eq!(response.now_or_never(), Some(Err(Down)));
    assert_eq!((stub.asked(), stub.calls()), (4, 4), "each further attempt gets ready first");
}

#[test]
fn a_service_can_be_called_again_while_its_last_response_is_on_its_way() {
    let mut service = retry(at_once()).layer(Stub::in_turn([Answer::Hang, Answer::Err, Answer::Ok]));
    let mut hung = Box::pin(service.ready().now_or_never().expect("ready").expect("ready").call(1));
    assert!(poll_once(hung.as_mut()).is_pending());
    let other = service.ready().now_or_never().expect("ready").expect("ready").call(2);
    assert_eq!(other.now_or_never(), Some(Ok(2)));
}

#[test]
fn readiness_is_the_inner_services() {
    let stub = Stub::new(Answer::Ok);
    stub.gets_ready(Ready::Never);
    let mut service = retry(at_once()).layer(stub.clone());
    assert!(service.ready().now_or_never().is_none());
    stub.gets_ready(Ready::Error);
    let error: Down = service.ready().now_or_never().expect("at once").expect_err("not ready");
    assert_eq!((error, stub.asked(), stub.calls()), (Down, 2, 0));

    let mut with_limits = timed(at_once().deadline(secs(1))).layer(stub);
    assert!(with_limits.ready().now_or_never().expect("at once").expect_err("not ready").is::<Down>());
}

#[test]
fn a_retry_waits_until_the_service_is_ready_again() {
    let stub = Stub::in_turn([Answer::Err, Answer::Ok]);
    let mut service = retry(at_once()).layer(stub.clone());
    let mut response = Box::pin(service.ready().now_or_never().expect("ready").expect("ready").call(7));
    stub.gets_ready(Ready::Never);
    for _ in 0..3 {
        assert!(poll_once(response.as_mut()).is_pending());
    }
    stub.gets_ready(Ready::Yes);
    assert_eq!(poll_once(response.as_mut()), Poll::Ready(Ok(7)));
    assert_eq!(stub.calls(), 2);
}

#[test]
fn a_readiness_error_between_attempts_is_the_answer() {
    let stub = Stub::new(Answer::Err);
    let inner = ServiceBuilder::new().map_err(|Down| Attempt(0)).service(stub.clone());
    let mut service = retry(at_once()).layer(inner);
    let response = service.ready().now_or_never().expect("ready").expect("ready").call(7);
    stub.gets_ready(Ready::Error);
    assert_eq!(response.now_or_never(), Some(Err(Attempt(0))));
    assert_eq!(stub.calls(), 1);
}

#[test]
fn services_layers_and_futures_can_be_sent_and_shared_and_printed() {
    fn is_send<T: Send + 'static>(_: &T) {}
    fn is_shared<T: Send + Sync + Clone + fmt::Debug + 'static>(_: &T) {}

    let layer = timed(at_once().deadline(secs(1)).budget(Budget::ratio(1.0)).on_retry(|_| {}).stats(RetryStats::new()));
    is_shared(&layer);
    assert_eq!(layer.to_string(), "retry (3 retries, no wait, budget 1 of requests, 1s in all)");
    let mut service: RetryService<Stub, _, _, _> = layer.layer(Stub::new(Answer::Ok));
    is_shared(&service);
    assert!(format!("{service:?}").starts_with("RetryService"), "{service:?}");
    assert!(service.ready().now_or_never().is_some());
    let response: ResponseFuture<_, Resend<Stub, u32, _, _, _>, _, _> = service.call(1);
    is_send(&response);
    assert_eq!(format!("{response:?}"), "ResponseFuture { .. }");
    assert_eq!(service.get_ref().calls(), 1);
    service.get_mut().answers(Answer::Err);
    assert_eq!(service.into_inner().calls(), 1);
}

#[tokio::test]
async fn a_response_can_be_awaited_on_another_task() {
    let service = retry(at_once()).layer(Stub::in_turn([Answer::Err, Answer::After(2), Answer::Ok]));
    assert_eq!(tokio::spawn(service.oneshot(7)).await.expect("no panic"), Ok(7));
    let call = async { retry(at_once()).call(failing()).await };
    assert_eq!(tokio::spawn(call).await.expect("no panic"), Err(Attempt(4)));
}

// Tower's middleware

#[tokio::test(start_paused = true)]
async fn a_wait_holds_no_permit_of_a_concurrency_limit_inside() {
    let stub = Stub::in_turn([Answer::Err, Answer::Ok]);
    let mut service = ServiceBuilder::new().layer(retry(waiting(secs(1)))).concurrency_limit(1).service(stub.clone());
    let mut other = service.clone();
    let mut first = Box::pin(service.ready().await.expect("ready").call(1));
    assert!(other.ready().now_or_never().is_none(), "the first attempt has the permit");
    assert!(poll_once(first.as_mut()).is_pending(), "it waits");
    assert_eq!(other.ready().now_or_never().expect("free").expect("ready").call(2).await, Ok(2));
    assert_eq!(first.await, Ok(1));
    assert_eq!(stub.calls(), 3);
}

#[tokio::test]
async fn retries_work_between_two_buffers() {
    let stub = Stub::in_turn([Answer::Err, Answer::Err, Answer::Ok]);
    let mut service = ServiceBuilder::new().buffer(2).layer(retry(at_once())).buffer(2).service(stub.clone());
    assert_eq!(service.ready().await.expect("ready").call(7).await.expect("the third works"), 7);
    assert_eq!(stub.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_ends_the_attempts() {
    let stub = Stub::new(Answer::Err);
    let mut service = ServiceBuilder::new().timeout(ms(2_500)).layer(retry(waiting(secs(1)))).service(stub.clone());
    assert!(service.ready().await.expect("ready").call(1).await.expect_err("late").is::<Elapsed>());
    tokio::time::advance(secs(60)).await;
    assert_eq!(stub.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_inside_is_a_failure_like_any_other() {
    let stub = Stub::in_turn([Answer::Hang, Answer::Ok]);
    let mut service = ServiceBuilder::new().layer(retry(waiting(secs(1)))).timeout(secs(2)).service(stub.clone());
    let before = timer_now();
    assert_eq!(service.ready().await.expect("ready").call(7).await.expect("the second works"), 7);
    assert_eq!(before.elapsed(), secs(3));
}

#[test]
fn retries_fit_into_an_optional_layer_and_a_boxed_service() {
    let stub = Stub::in_turn([Answer::Err, Answer::Ok]);
    let boxed = ServiceBuilder::new().boxed_clone().option_layer(Some(retry(at_once()))).service(stub);
    assert_eq!(boxed.oneshot(7).now_or_never().expect("no wait").expect("the second works"), 7);
}

#[test]
fn a_breaker_outside_sees_a_call_and_not_its_attempts() {
    let (breaker, _clock) = tripping_at(2);
    let layer = fusebox::CircuitBreakerLayer::from(breaker.clone());
    let stub = Stub::new(Answer::Err);
    let mut service = ServiceBuilder::new().layer(layer).layer(retry(at_once())).service(stub.clone());
    let mut call = || service.ready().now_or_never().expect("ready").expect("ready").call(1).now_or_never();
    assert!(call().expect("no wait").is_err());
    assert_eq!((stub.calls(), support::failures(&breaker)), (4, 1));
    assert!(call().expect("no wait").is_err());
    assert!(breaker.is_open());
}

#[test]
fn polling_readiness_many_times_is_one_readiness() {
    let stub = Stub::new(Answer::Ok);
    let mut service = retry(at_once()).layer(stub);
    for _ in 0..3 {
        assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready());
    }
    assert_eq!(service.call(7).now_or_never(), Some(Ok(7)));
}
