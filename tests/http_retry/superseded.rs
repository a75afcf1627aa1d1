//! 31: one attempt's body ends where the next attempt begins; it gets an error, and takes nothing from its successor.

use std::pin::Pin;
use std::task::{Context, Waker};

use fusebox::RetryLayer;
use tower::Layer;

use super::script::{Gate, Step, data, trailers};
use super::*;
use support::Wakes;

fn superseded(body: &mut Replayed) {
    let error = at_hand(body.frame()).expect("no end").expect_err("no frame");
    assert_eq!(error.to_string(), "the request is being sent again, this attempt's body has ended");
}

#[tokio::test(start_paused = true)]
async fn c31_an_old_body_gets_an_error_and_takes_nothing_from_the_new_one() {
    for frames in 0..=4 {
        let (service, mut server) = server::<Replayed>();
        let steps = [data("some"), data("thing"), trailers(&[("checksum", "7f")])];
        let call = start(RetryLayer::http(at_once()).layer(service), put(Script::new(steps)));
        let mut first = server.next().await;
        for _ in 0..frames {
            first.request.body_mut().frame().await.transpose().expect("no error");
        }
        let mut old = first.answer(503);
        let mut second = server.next().await;
        let new = second.request.body_mut();
        superseded(&mut old);
        assert_eq!(text(new).await, "some");
        superseded(&mut old);
        assert_eq!(text(new).await, "thing");
        superseded(&mut old);
        assert!(new.frame().await.expect("trailers").expect("no error").is_trailers());
        superseded(&mut old);
        assert!(new.frame().await.is_none());
        superseded(&mut old);
        assert!(!old.is_end_stream(), "an error is no end");

        let mut older = second.answer(503);
        let mut third = server.next().await;
        superseded(&mut older);
        superseded(&mut old);
        assert_eq!(rest(third.request.body_mut()).await.0, "something");
        third.answer(200);
        assert_eq!(ended(call).await.expect("an answer").status(), 200);
        superseded(&mut older);
        superseded(&mut old);
    }
}

#[tokio::test(start_paused = true)]
async fn c31_an_old_body_is_superseded_while_the_next_attempt_still_waits_for_its_turn() {
    let (service, mut server) = server::<Replayed>();
    let slow = config(|builder| builder.backoff(backoff::fixed(secs(60))));
    let body = Script::of(&["some", "thing"]);
    let seen = body.seen();
    let call = start(RetryLayer::http(slow).layer(service), put(body));
    let mut first = server.next().await;
    assert_eq!(text(first.request.body_mut()).await, "some");
    let mut old = first.answer(503);
    tokio::task::yield_now().await;
    superseded(&mut old);
    assert_eq!(seen.bytes(), 4, "it did not read on");
    let second = server.next().await;
    assert_eq!(rest(second.answer(200)).await.0, "something");
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
}

#[tokio::test(start_paused = true)]
async fn c31_a_body_that_is_sent_once_is_not_superseded() {
    let (service, mut server) = server::<Replayed>();
    let post = Request::post("/").body(Script::of(&["some", "thing"])).expect("a request");
    let call = start(RetryLayer::http(at_once()).layer(service), post);
    let body = server.next().await.answer(503);
    assert_eq!(ended(call).await.expect("an answer").status(), 503);
    assert_eq!(rest(body).await.0, "something");
}

#[tokio::test(start_paused = true)]
async fn c31_the_last_attempt_of_a_failed_call_is_not_superseded() {
    let (service, mut server) = server::<Replayed>();
    let once_more = config(|builder| builder.max_retries(1));
    let call = start(RetryLayer::http(once_more).layer(service), put(Script::of(&["some", "thing"])));
    server.next().await.answer(503);
    let body = server.next().await.answer(503);
    assert_eq!(ended(call).await.expect("an answer").status(), 503);
    assert_eq!(rest(body).await.0, "something");
}

/// A connection that waits for more of an old body would otherwise wait for as long as the original lives.
#[tokio::test(start_paused = true)]
async fn c31_an_old_body_that_waits_is_woken_when_it_is_superseded() {
    let (service, mut server) = server::<Replayed>();
    let gate = Gate::default();
    let body = Script::new([data("some"), Step::Wait(gate.clone()), data("thing")]);
    let call = start(RetryLayer::http(at_once()).layer(service), put(body));
    let mut first = server.next().await;
    assert_eq!(text(first.request.body_mut()).await, "some");
    let (wakes, waker) = Wakes::new();
    assert!(Pin::new(first.request.body_mut()).poll_frame(&mut Context::from_waker(&waker)).is_pending());
    let mut old = first.answer(503);
    let mut second = server.next().await;
    let new = second.request.body_mut();
    assert_eq!(text(new).await, "some");
    assert!(Pin::new(&mut *new).poll_frame(&mut Context::from_waker(Waker::noop())).is_pending());
    let woken = wakes.count();
    superseded(&mut old);
    gate.open();
    assert_eq!(text(new).await, "thing");
    second.answer(200);
    assert_eq!(ended(call).await.expect("an answer").status(), 200);
    assert!(woken > 0, "the old body was left waiting");
}
