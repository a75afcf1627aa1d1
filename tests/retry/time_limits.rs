//! Deadlines, timeouts of attempts, and what becomes of them. Time is tokio's, paused.

use super::*;

fn timed_out(error: BoxError) -> TimedOut {
    *error.downcast().expect("a timeout")
}

fn is(error: &TimedOut, limit: TimeLimit, after: Duration, attempt: u32) -> bool {
    (error.limit(), error.after(), error.attempt()) == (limit, after, attempt)
}

#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_in_time_is_given_up_and_made_again() {
    let stub = Stub::new(Answer::Hang);
    let (builder, events) = listening(waiting(secs(1)).max_retries(2).attempt_timeout(secs(2)));
    let before = timer_now();
    let error = timed(builder).layer(stub.clone()).oneshot(1).await.expect_err("it hangs");
    assert_eq!(error.to_string(), "attempt 3 had no answer within 2s");
    assert!(is(&timed_out(error), TimeLimit::Attempt, secs(2), 3));
    assert_eq!((before.elapsed(), stub.calls()), (secs(2 + 1 + 2 + 1 + 2), 3));
    assert!(events.take().iter().all(|event| event.outcome() == Outcome::Failure));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_given_up_is_dropped_before_the_wait() {
    let held = Arc::new(());
    let copy = held.clone();
    let inner = tower::service_fn(move |_: u32| {
        let held = copy.clone();
        async move {
            pending::<()>().await;
            drop(held);
            Ok::<_, Down>(())
        }
    });
    let mut response = Box::pin(timed(waiting(secs(5)).attempt_timeout(secs(1))).layer(inner).oneshot(1));
    assert!(poll_once(response.as_mut()).is_pending());
    assert_eq!(Arc::strong_count(&held), 3, "here, in the service, and in the attempt");
    tokio::time::advance(secs(1)).await;
    assert!(poll_once(response.as_mut()).is_pending());
    assert_eq!(Arc::strong_count(&held), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_at_the_very_end_of_an_attempt_or_of_the_deadline_still_counts() {
    for builder in [at_once().attempt_timeout(secs(2)), at_once().deadline(secs(2))] {
        let retry = timed(builder);
        for took in [ms(1_999), secs(2)] {
            let stub = Stub::new(Answer::In(took));
            assert_eq!(retry.layer(stub.clone()).oneshot(7).await.expect("in time"), 7);
            assert_eq!(stub.calls(), 1);
        }
        assert!(retry.layer(Stub::new(Answer::In(ms(2_001)))).oneshot(7).await.expect_err("late").is::<TimedOut>());
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_its_whole_time() {
    let stub = Stub::in_turn([Answer::Hang, Answer::Err, Answer::In(ms(1_900))]);
    let before = timer_now();
    let answer = timed(waiting(secs(1)).attempt_timeout(secs(2))).layer(stub.clone()).oneshot(7).await;
    assert_eq!(answer.expect("the third works"), 7);
    assert_eq!(before.elapsed(), ms(2_000 + 1_000 + 1_000 + 1_900));

    let retries_at_once = timed(at_once().attempt_timeout(secs(2)));
    let stub = Stub::in_turn([Answer::In(ms(3_000)), Answer::In(ms(1_900))]);
    let before = timer_now();
    assert_eq!(retries_at_once.layer(stub).oneshot(7).await.expect("the second works"), 7);
    assert_eq!(before.elapsed(), ms(2_000 + 1_900));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_gives_up_the_attempt_on_its_way_and_is_the_last_word() {
    let stub = Stub::in_turn([Answer::Err, Answer::Hang]);
    let (builder, events) = listening(waiting(secs(1)).deadline(secs(5)));
    let before = timer_now();
    let error = timed(builder).layer(stub.clone()).oneshot(1).await.expect_err("it hangs");
    assert_eq!(error.to_string(), "no answer within the deadline of 5s, on attempt 2");
    assert!(is(&timed_out(error), TimeLimit::Deadline, secs(5), 2));
    assert_eq!((before.elapsed(), stub.calls()), (secs(5), 2));
    let told = lines(&events);
    assert_eq!(told, ["attempt 1 failed, next in 1s", "attempt 2 failed, given up: no time left before the deadline"]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_waits_and_attempts_that_were_given_up() {
    let stub = Stub::new(Answer::Hang);
    let before = timer_now();
    let builder = waiting(secs(2)).max_retries(9).attempt_timeout(secs(2)).deadline(secs(5));
    let error = timed_out(timed(builder).layer(stub.clone()).oneshot(1).await.expect_err("it hangs"));
    assert!(is(&error, TimeLimit::Deadline, secs(5), 2), "{error}");
    assert_eq!((before.elapsed(), stub.calls()), (secs(5), 2));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_given_up_with_no_time_left_for_another_says_so_at_once() {
    let (builder, events) = listening(waiting(secs(1)).attempt_timeout(secs(2)).deadline(secs(3)));
    let before = timer_now();
    let error = timed_out(timed(builder).layer(Stub::new(Answer::Hang)).oneshot(1).await.expect_err("it hangs"));
    assert!(is(&error, TimeLimit::Attempt, secs(2), 1), "{error}");
    assert_eq!(before.elapsed(), secs(2));
    assert_eq!(events.take().iter().map(reason).collect::<Vec<_>>(), [Some(StopReason::Deadline)]);
}

#[tokio::test(start_paused = true)]
async fn where_both_limits_end_together_it_is_the_deadline() {
    let retry = timed(at_once().attempt_timeout(secs(2)).deadline(secs(2)));
    let error = timed_out(retry.layer(Stub::new(Answer::Hang)).oneshot(1).await.expect_err("it hangs"));
    assert!(is(&error, TimeLimit::Deadline, secs(2), 1), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_order_in_which_limits_are_set_does_not_matter() {
    for builder in [
        at_once().max_retries(0).attempt_timeout(secs(2)).deadline(secs(9)),
        at_once().max_retries(0).deadline(secs(9)).attempt_timeout(secs(2)),
    ] {
        let error = timed_out(timed(builder).layer(Stub::new(Answer::Hang)).oneshot(1).await.expect_err("it hangs"));
        assert!(is(&error, TimeLimit::Attempt, secs(2), 1), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_wait_for_readiness_between_attempts() {
    let stub = Stub::new(Answer::Err);
    let mut service = timed(waiting(secs(1)).deadline(secs(5))).layer(stub.clone());
    let before = timer_now();
    let response = service.ready().await.expect("ready").call(1);
    stub.gets_ready(Ready::Never);
    let error = timed_out(response.await.expect_err("never ready"));
    assert!(is(&error, TimeLimit::Deadline, secs(5), 2), "{error}");
    assert_eq!((before.elapsed(), stub.calls()), (secs(5), 1));
}

/// The task that polls it may have been elsewhere meanwhile.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_could_begin_only_after_the_deadline_does_not_begin() {
    for waits_for_readiness in [false, true] {
        let stub = Stub::in_turn([Answer::Err, Answer::Ok]);
        let mut service = timed(waiting(secs(1)).deadline(secs(5))).layer(stub.clone());
        let mut response = Box::pin(service.ready().await.expect("ready").call(1));
        assert!(poll_once(response.as_mut()).is_pending(), "the first attempt failed");
        if waits_for_readiness {
            stub.gets_ready(Ready::Never);
            tokio::time::advance(secs(1)).await;
            assert!(poll_once(response.as_mut()).is_pending());
            stub.gets_ready(Ready::Yes);
        }
        tokio::time::advance(secs(10)).await;
        let error = timed_out(response.await.expect_err("there was no time"));
        assert!(is(&error, TimeLimit::Deadline, secs(5), 2), "{error}");
        assert_eq!(stub.calls(), 1, "waits for readiness: {waits_for_readiness}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_an_attempt_includes_that_for_getting_ready() {
    let stub = Stub::new(Answer::Err);
    let mut service = timed(waiting(secs(1)).max_retries(2).attempt_timeout(secs(2))).layer(stub.clone());
    let before = timer_now();
    let response = service.ready().await.expect("ready").call(1);
    stub.gets_ready(Ready::Never);
    let error = timed_out(response.await.expect_err("never ready"));
    assert!(is(&error, TimeLimit::Attempt, secs(2), 3), "{error}");
    assert_eq!((before.elapsed(), stub.calls()), (secs(1 + 2 + 1 + 2), 1));
}

#[derive(Debug, PartialEq)]
enum Own {
    Down,
    Late(TimedOut),
}

impl From<Down> for Own {
    fn from(_: Down) -> Self {
        Self::Down
    }
}

#[tokio::test(start_paused = true)]
async fn map_timeout_keeps_the_type_of_the_error() {
    let builder = waiting(secs(1)).max_retries(1).attempt_timeout(secs(2)).deadline(secs(4));
    let retry = timed(builder).map_timeout(Own::Late);
    let stub = Stub::new(Answer::Err);
    let service = retry.layer(ServiceBuilder::new().map_err(Own::from).service(stub.clone()));
    let result: Result<u32, Own> = service.clone().oneshot(7).await;
    assert_eq!(result, Err(Own::Down));
    stub.answers(Answer::Hang);
    let Err(Own::Late(error)) = service.oneshot(7).await else { panic!("it hangs") };
    assert!(is(&error, TimeLimit::Deadline, secs(4), 2), "{error}");
    let attempt = retry.call(pending::<Result<(), Own>>).await;
    assert!(matches!(attempt, Err(Own::Late(_))));
    assert_eq!(retry.call_blocking(|| Err::<(), _>(Own::Down)), Err(Own::Down));
}

#[tokio::test(start_paused = true)]
async fn each_call_has_a_deadline_of_its_own_from_its_beginning() {
    let mut service = timed(at_once().deadline(secs(5))).layer(Stub::new(Answer::In(secs(4))));
    for n in 0..5 {
        assert_eq!(service.ready().await.expect("ready").call(n).await.expect("in time"), n);
    }
    let response = service.ready().await.expect("ready").call(1);
    tokio::time::advance(secs(2)).await;
    let before = timer_now();
    let error = response.await.expect_err("it began when it was called");
    assert_eq!((before.elapsed(), error.is::<TimedOut>()), (secs(3), true));
}

#[tokio::test(start_paused = true)]
async fn without_limits_an_attempt_may_take_a_year() {
    let stub = Stub::new(Answer::In(secs(365 * 24 * 3_600)));
    assert_eq!(RetryLayer::new(RetryConfig::default()).layer(stub.clone()).oneshot(7).await, Ok(7));
    assert_eq!(stub.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_retried_whatever_the_classifier_says_of_errors() {
    let stub = Stub::in_turn([Answer::Hang, Answer::Err]);
    let retry = timed(at_once().attempt_timeout(secs(1))).classify(classify::errors().exclude(|_: &Down| true));
    assert!(retry.layer(stub.clone()).oneshot(1).await.expect_err("excluded").is::<Down>());
    assert_eq!(stub.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_behind_a_breaker_opens_it_by_timeouts() {
    let (breaker, clock) =
        support::breaker(|b| b.detector(fusebox::detect::consecutive_failures(3)).abandoned_after(ms(1_900)));
    let stub = Stub::new(Answer::Hang);
    let builder = at_once().max_retries(9).attempt_timeout(secs(2)).on_retry({
        let clock = clock.clone();
        move |_| clock.advance(secs(2))
    });
    let service = timed(builder).layer(fusebox::CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone()));
    let before = timer_now();
    assert!(fusebox::rejection(&*service.oneshot(1).await.expect_err("open")).is_some());
    assert_eq!((stub.calls(), before.elapsed()), (3, secs(6)));
}
