//! The deadline while the service is not ready. Time is tokio's, paused.

use std::task::{Context, Poll, Waker};

use fusebox::{CircuitBreakerLayer, RetryService, SafetyNet, rejection};
use tower::limit::{ConcurrencyLimit, ConcurrencyLimitLayer};

use super::*;

type Queued = ConcurrencyLimit<Stub>;
type Limited = RetryService<Stub, Errors, Cloned, Timed>;

/// A service whose deadline is 5 s.
fn within_5_s(stub: &Stub) -> Limited {
    timed(waiting(secs(1)).deadline(secs(5))).layer(stub.clone())
}

fn poll_ready<S: Service<u32>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

fn is_ready<S: Service<u32, Error: fmt::Debug>>(service: &mut S) -> bool {
    poll_ready(service).map(|ready| ready.expect("no error")).is_ready()
}

#[track_caller]
fn is_late(result: Result<u32, BoxError>) {
    let error = result.expect_err("there was no time");
    let timed_out = error.downcast_ref::<TimedOut>().expect("a timeout");
    assert_eq!((timed_out.limit(), timed_out.after(), timed_out.attempt()), (TimeLimit::Deadline, secs(5), 1));
}

fn never_ready() -> Stub {
    let stub = Stub::new(Answer::Ok);
    stub.gets_ready(Ready::Never);
    stub
}

/// A service of which the inner one gets ready three seconds after the first poll.
async fn gets_ready_after_3_s(stub: &Stub, service: &mut Limited) {
    stub.gets_ready(Ready::Never);
    waits(service);
    tokio::time::advance(secs(3)).await;
    stub.gets_ready(Ready::Yes);
    assert!(is_ready(service));
}

/// One that waits in a queue for the only place, which the other one has.
fn queued() -> (Stub, Queued, Queued, RetryService<Queued, Errors, Cloned, Timed>) {
    let stub = Stub::new(Answer::Ok);
    let limited = ConcurrencyLimitLayer::new(1).layer(stub.clone());
    let mut holder = limited.clone();
    assert!(is_ready(&mut holder), "it has the only place");
    let mut late = timed(waiting(secs(1)).deadline(secs(5))).layer(limited.clone());
    waits(&mut late);
    (stub, limited, holder, late)
}

/// Waits for readiness, in vain so far.
fn waits<S: Service<u32, Error: fmt::Debug>>(service: &mut S) {
    assert!(!is_ready(service), "it is not ready");
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_though_the_service_is_never_ready() {
    let stub = never_ready();
    let (builder, events) = listening(waiting(secs(1)).deadline(secs(5)));
    let before = timer_now();
    is_late(timed(builder).layer(stub.clone()).oneshot(1).await);
    assert_eq!((before.elapsed(), stub.calls()), (secs(5), 0));
    assert_eq!(lines(&events), ["attempt 1 failed, given up: no time left before the deadline"]);
}

#[tokio::test(start_paused = true)]
async fn an_unready_service_breaks_no_buffer_around_the_retry() {
    let stub = never_ready();
    let mut service = ServiceBuilder::new().buffer(2).service(within_5_s(&stub));
    for _ in 0..2 {
        let before = timer_now();
        is_late(service.ready().await.expect("there is room").call(1).await);
        assert_eq!(before.elapsed(), secs(5));
    }
    stub.gets_ready(Ready::Yes);
    assert_eq!(service.ready().await.expect("it works").call(7).await.expect("an answer"), 7);
    assert_eq!(stub.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_readiness_counts_against_the_call_that_follows_and_no_other() {
    let stub = Stub::new(Answer::Hang);
    let mut service = within_5_s(&stub);
    gets_ready_after_3_s(&stub, &mut service).await;
    for left in [2, 5, 5] {
        let before = timer_now();
        is_late(service.ready().await.expect("ready").call(1).await);
        assert_eq!(before.elapsed(), secs(left));
    }
    assert_eq!(stub.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_waits_between_attempts_have_what_readiness_has_left() {
    for (backoff, calls) in [(ms(1_999), 4), (secs(2), 1)] {
        let stub = Stub::in_turn([Answer::Err, Answer::Ok]);
        let mut service = timed(waiting(backoff).deadline(secs(5))).layer(stub.clone());
        gets_ready_after_3_s(&stub, &mut service).await;
        let answer = service.ready().await.expect("ready").call(7).await;
        assert_eq!(answer.ok(), (calls > 1).then_some(7), "{backoff:?}");
        assert_eq!(stub.calls(), calls.min(2), "{backoff:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_between_readiness_and_call_is_the_callers() {
    let stub = Stub::new(Answer::Hang);
    let mut service = within_5_s(&stub);
    gets_ready_after_3_s(&stub, &mut service).await;
    tokio::time::advance(secs(3_600)).await;
    assert!(is_ready(&mut service), "polled again, it is one readiness");
    let before = timer_now();
    is_late(service.call(1).await);
    assert_eq!((before.elapsed(), stub.calls()), (secs(2), 1));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_takes_its_readiness_back_goes_on_where_it_was() {
    let stub = never_ready();
    let mut service = within_5_s(&stub);
    waits(&mut service);
    tokio::time::advance(secs(3)).await;
    stub.gets_ready(Ready::Yes);
    assert!(is_ready(&mut service));
    stub.gets_ready(Ready::Never);
    waits(&mut service);
    let before = timer_now();
    is_late(service.ready().await.expect("ready").call(1).await);
    assert_eq!((before.elapsed(), stub.calls()), (secs(2), 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_wait_for_readiness_the_deadline_begins_at_the_call() {
    let stub = Stub::new(Answer::Hang);
    let mut service = within_5_s(&stub);
    assert!(is_ready(&mut service));
    tokio::time::advance(secs(3_600)).await;
    let before = timer_now();
    is_late(service.call(1).await);
    assert_eq!(before.elapsed(), secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_clone_begins_anew() {
    let stub = never_ready();
    let mut service = within_5_s(&stub);
    waits(&mut service);
    tokio::time::advance(secs(3)).await;
    let clone = service.clone();
    let before = timer_now();
    let (first, second) = futures::join!(
        async {
            is_late(service.oneshot(1).await);
            before.elapsed()
        },
        async {
            is_late(clone.oneshot(1).await);
            before.elapsed()
        },
    );
    assert_eq!((first, second, stub.calls()), (secs(2), secs(5), 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_reported_ready_stays_so_and_is_too_late_for_this_call() {
    let stub = never_ready();
    let mut service = within_5_s(&stub);
    waits(&mut service);
    tokio::time::advance(secs(5)).await;
    assert!(is_ready(&mut service), "to say so");
    assert!(is_ready(&mut service), "once ready, always ready until the call");
    // The inner service is ready after all: polled again or not, it is not called, since it was not made ready for this one.
    stub.gets_ready(Ready::Yes);
    tokio::time::advance(secs(1)).await;
    let mut other = within_5_s(&stub);
    is_late(service.call(1).await);
    assert!(is_ready(&mut service));
    assert_eq!((service.call(7).await.expect("in time"), stub.calls()), (7, 1), "and the next call has its whole time");

    stub.gets_ready(Ready::Never);
    waits(&mut other);
    tokio::time::advance(secs(5)).await;
    assert!(is_ready(&mut other));
    stub.gets_ready(Ready::Yes);
    assert!(is_ready(&mut other));
    is_late(other.call(1).await);
    assert_eq!(stub.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_ready_only_when_the_time_is_over_is_not_called() {
    for late in [secs(5), ms(9_999)] {
        let stub = never_ready();
        let mut service = within_5_s(&stub);
        waits(&mut service);
        tokio::time::advance(late).await;
        stub.gets_ready(Ready::Yes);
        assert!(is_ready(&mut service));
        is_late(service.call(1).await);
        assert_eq!(stub.calls(), 0, "{late:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_given_up_is_forgotten_once_as_much_time_again_has_passed() {
    let stub = Stub::new(Answer::Hang);
    for reported in [false, true] {
        stub.gets_ready(Ready::Never);
        let mut service = within_5_s(&stub);
        waits(&mut service);
        if reported {
            tokio::time::advance(secs(5)).await;
            assert!(is_ready(&mut service));
        }
        tokio::time::advance(secs(10)).await;
        if !reported {
            waits(&mut service);
        }
        stub.gets_ready(Ready::Yes);
        let before = timer_now();
        is_late(service.ready().await.expect("ready").call(1).await);
        assert_eq!(before.elapsed(), secs(5), "the whole time");
    }
    assert_eq!(stub.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_beyond_the_end_of_time_is_none() {
    let stub = never_ready();
    let mut service = timed(waiting(secs(1)).deadline(Duration::MAX)).layer(stub.clone());
    waits(&mut service);
    tokio::time::advance(secs(365 * 24 * 3_600)).await;
    waits(&mut service);
    stub.gets_ready(Ready::Yes);
    assert_eq!(service.ready().await.expect("ready").call(7).await.expect("in time"), 7);
}

#[tokio::test(start_paused = true)]
async fn a_readiness_error_is_the_answer_and_ends_the_wait() {
    let stub = never_ready();
    let mut service = within_5_s(&stub);
    waits(&mut service);
    tokio::time::advance(secs(3)).await;
    stub.gets_ready(Ready::Error);
    let Poll::Ready(Err(error)) = poll_ready(&mut service) else { panic!("it fails") };
    assert!(error.is::<Down>());
    stub.gets_ready(Ready::Never);
    let before = timer_now();
    is_late(service.ready().await.expect("ready").call(1).await);
    assert_eq!(before.elapsed(), secs(5));
}

#[tokio::test(start_paused = true)]
async fn map_timeout_makes_the_error_of_this_as_well() {
    let stub = never_ready();
    let retry = timed(waiting(secs(1)).deadline(secs(5))).map_timeout(|timed_out| {
        assert_eq!((timed_out.limit(), timed_out.attempt()), (TimeLimit::Deadline, 1));
        Down
    });
    let result: Result<u32, Down> = retry.layer(stub.clone()).oneshot(1).await;
    assert_eq!((result, stub.calls()), (Err(Down), 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_readiness_may_take_a_year() {
    let stub = never_ready();
    let mut untimed = retry(at_once()).layer(stub.clone());
    let mut each = timed(at_once().attempt_timeout(secs(1))).layer(stub.clone());
    for _ in 0..2 {
        waits(&mut untimed);
        waits(&mut each);
        tokio::time::advance(secs(365 * 24 * 3_600)).await;
    }
    stub.gets_ready(Ready::Yes);
    assert_eq!(untimed.ready().await.expect("ready").call(7).await, Ok(7));
    assert_eq!(each.ready().await.expect("ready").call(7).await.expect("in time"), 7);
}

#[tokio::test(start_paused = true)]
async fn who_is_too_late_leaves_the_queue_for_a_place() {
    let (stub, limited, holder, mut late) = queued();
    let mut next = limited;
    waits(&mut next);
    tokio::time::advance(secs(5)).await;
    assert!(is_ready(&mut late), "to say that it is too late");
    drop(holder);
    assert!(is_ready(&mut next), "the place is not kept for one that has no time for it");
    drop(next);
    is_late(late.call(1).await);
    assert_eq!(stub.calls(), 0);
    assert_eq!(late.ready().await.expect("ready").call(7).await.expect("in time"), 7);
}

#[tokio::test(start_paused = true)]
async fn who_is_ready_too_late_gives_its_place_back() {
    let (stub, limited, holder, mut late) = queued();
    tokio::time::advance(secs(5)).await;
    drop(holder);
    assert!(is_ready(&mut late), "it has the place, and no time");
    let mut next = limited;
    assert!(is_ready(&mut next));
    is_late(late.call(1).await);
    assert_eq!(stub.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_opens_meanwhile_rejects_the_call_before_the_deadline() {
    let (breaker, _clock) = tripping_at(1);
    let stub = never_ready();
    let guarded = CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone());
    let service = timed(waiting(secs(1)).deadline(secs(5))).layer(guarded);
    let before = timer_now();
    let call = tokio::spawn(service.oneshot(1));
    tokio::time::sleep(secs(2)).await;
    breaker.trip().expect("no override stands");
    let error = call.await.expect("no panic").expect_err("rejected");
    assert!(rejection(&*error).is_some());
    assert_eq!((before.elapsed(), stub.calls()), (secs(2), 0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_circuit_is_part_of_the_wait() {
    let (breaker, _clock) = tripping_at(1);
    let stub = Stub::new(Answer::Ok);
    let guarded = CircuitBreakerLayer::from(breaker.clone()).wait_when_open().layer(stub.clone());
    breaker.trip().expect("no override stands");
    let before = timer_now();
    is_late(timed(waiting(secs(1)).deadline(secs(5))).layer(guarded).oneshot(1).await);
    assert_eq!((before.elapsed(), stub.calls()), (secs(5), 0));
}

#[tokio::test(start_paused = true)]
async fn a_safety_net_has_the_deadline_of_its_retry() {
    let net = SafetyNet::database("orders").expect("a name");
    let stub = never_ready();
    let before = timer_now();
    let error = net.layer(stub.clone()).oneshot(1).await.expect_err("never ready");
    let timed_out = error.downcast_ref::<TimedOut>().expect("a timeout");
    assert_eq!((timed_out.limit(), timed_out.after()), (TimeLimit::Deadline, secs(10)));
    assert_eq!((before.elapsed(), stub.calls()), (secs(10), 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_too_late_is_counted_as_one() {
    let stats = RetryStats::new();
    let stub = never_ready();
    is_late(timed(waiting(secs(1)).deadline(secs(5)).stats(stats.clone())).layer(stub.clone()).oneshot(1).await);
    let counts = stats.counts();
    assert_eq!((counts.calls, counts.retries, counts.deadline), (1, 0, 1));
}
