//! What a caller who leaves does not get.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_it_waits_makes_no_further_attempt() {
    let stub = Stub::new(Answer::Err);
    let (builder, events) = listening(waiting(secs(1)));
    let mut response = Box::pin(retry(builder).layer(stub.clone()).oneshot(1));
    assert!(poll_once(response.as_mut()).is_pending());
    drop(response);
    tokio::time::advance(secs(60)).await;
    assert_eq!(stub.calls(), 1);
    assert_eq!(lines(&events), ["attempt 1 failed, next in 1s"], "nothing more to tell");

    let mut attempts = 0;
    let retry = retry(waiting(secs(1)));
    let mut call = Box::pin(retry.call(|| {
        attempts += 1;
        ready(Err::<(), _>(Down))
    }));
    assert!(poll_once(call.as_mut()).is_pending());
    drop(call);
    assert_eq!(attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_drops_the_attempt_on_its_way_the_clone_and_the_request() {
    let held = Arc::new(());
    let inner = tower::service_fn(|held: Arc<()>| async move {
        tokio::time::sleep(secs(1)).await;
        drop(held);
        Err::<(), _>(Down)
    });
    let mut response = Box::pin(retry(waiting(secs(1))).layer(inner).oneshot(held.clone()));
    assert!(poll_once(response.as_mut()).is_pending());
    assert_eq!(Arc::strong_count(&held), 3, "here, the one that is kept, the one that was sent");
    drop(response);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_while_the_service_gets_ready_is_never_made() {
    let stub = Stub::new(Answer::Err);
    let mut service = retry(at_once()).layer(stub.clone());
    let mut response = Box::pin(service.ready().await.expect("ready").call(1));
    stub.gets_ready(Ready::Never);
    assert!(poll_once(response.as_mut()).is_pending());
    stub.gets_ready(Ready::Yes);
    drop(response);
    assert_eq!(stub.calls(), 1);
}

#[test]
fn a_panic_of_the_inner_service_goes_to_the_caller_and_is_not_retried() {
    for answer in [Answer::Panic, Answer::PanicInCall] {
        let stub = Stub::in_turn([Answer::Err, answer]);
        let service = retry(at_once()).layer(stub.clone());
        let call = std::panic::AssertUnwindSafe(service.oneshot(1)).catch_unwind();
        assert!(call.now_or_never().expect("no wait").is_err());
        assert_eq!(stub.calls(), 2);
    }
}
