//! What comes back, from a service, from `call` and from `call_blocking`.

use super::*;

#[test]
fn the_last_error_comes_back_unchanged_and_with_its_type() {
    let retry = retry(at_once());
    let blocking: Result<u32, Attempt> = retry.call_blocking(failing_blocking());
    assert_eq!(blocking, Err(Attempt(4)), "three retries by default");
    let from_call: Result<u32, Attempt> = retry.call(failing()).now_or_never().expect("no wait");
    assert_eq!(from_call, Err(Attempt(4)));

    let n = Arc::new(AtomicU32::new(0));
    let inner = tower::service_fn(|()| ready(Err::<(), _>(Attempt(n.fetch_add(1, Ordering::SeqCst) + 1))));
    let from_service: Result<(), Attempt> = retry.layer(inner).oneshot(()).now_or_never().expect("no wait");
    assert_eq!(from_service, Err(Attempt(4)));
}

#[test]
fn the_last_response_comes_back_though_it_counts_as_a_failure() {
    let mut n = 0;
    let retry = retry(at_once()).classify(|result: &Result<u32, Down>| match result {
        Ok(n) if *n < 10 => Outcome::Failure,
        _ => Outcome::Success,
    });
    let result = retry.call_blocking(|| {
        n += 1;
        Ok(n)
    });
    assert_eq!(result, Ok(4));
}

#[test]
fn with_limits_of_time_errors_are_boxed_and_nothing_is_put_around_them() {
    let retry = timed(at_once().deadline(secs(3_600)));
    for error in [
        retry.call(failing()).now_or_never().expect("no wait").expect_err("down"),
        retry.call_blocking(failing_blocking()).expect_err("down"),
    ] {
        assert_eq!(*error.downcast::<Attempt>().expect("the error itself"), Attempt(4));
    }
    let error = retry.layer(Stub::new(Answer::Err)).oneshot(1).now_or_never().expect("no wait").expect_err("down");
    assert!(error.is::<Down>());
}

#[test]
fn a_success_ends_the_attempts() {
    for failures in 0..4 {
        let script = std::iter::repeat_n(Answer::Err, failures).chain([Answer::Ok]);
        let stub = Stub::in_turn(script);
        assert_eq!(retry(at_once()).layer(stub.clone()).oneshot(7).now_or_never(), Some(Ok(7)));
        assert_eq!(stub.calls(), failures + 1);
    }
}

#[test]
fn max_retries_does_not_count_the_first_attempt() {
    for retries in [0, 1, 2, 10] {
        let stub = Stub::new(Answer::Err);
        let service = retry(at_once().max_retries(retries)).layer(stub.clone());
        assert_eq!(service.oneshot(7).now_or_never(), Some(Err(Down)));
        assert_eq!(stub.calls(), retries as usize + 1);
    }
}

#[test]
fn each_call_has_all_the_retries() {
    let stub = Stub::new(Answer::Err);
    let mut service = retry(at_once().backoff([Duration::ZERO; 2])).layer(stub.clone());
    for n in 1..=5 {
        assert_eq!(
            service.ready().now_or_never().expect("ready").expect("ready").call(1).now_or_never(),
            Some(Err(Down))
        );
        assert_eq!(stub.calls(), 3 * n);
    }
}

#[test]
fn what_is_no_failure_is_not_retried() {
    let excluded = retry(at_once()).classify(classify::errors().exclude(|error: &Attempt| error.0 == 2));
    assert_eq!(excluded.call_blocking(failing_blocking()), Err(Attempt(2)));

    for outcome in [Outcome::Success, Outcome::Ignored, Outcome::Cancelled] {
        let other = retry(at_once()).classify(move |_: &Result<u32, Attempt>| outcome);
        assert_eq!(other.call_blocking(failing_blocking()), Err(Attempt(1)), "{outcome:?}");
    }
}

/// Failures from the second attempt on are beyond mending.
#[derive(Clone, Debug)]
struct OnlyOnce;

impl<T> fusebox::Classify<T, Attempt> for OnlyOnce {
    type Scope = classify::AtHead;

    fn classify(&self, result: &Result<T, Attempt>) -> Outcome {
        if result.is_ok() { Outcome::Success } else { Outcome::Failure }
    }

    fn retry(&self, result: &Result<T, Attempt>) -> Retry {
        if matches!(result, Err(Attempt(1))) { Retry::IfIdempotent } else { Retry::Never }
    }
}

#[test]
fn a_failure_that_the_classifier_calls_final_is_not_retried() {
    let retry = retry(at_once()).classify(OnlyOnce);
    assert_eq!(retry.call_blocking(failing_blocking()), Err(Attempt(2)));
    let shared = super::retry(at_once()).classify(Arc::new(OnlyOnce));
    assert_eq!(shared.call(failing()).now_or_never(), Some(Err(Attempt(2))), "behind a pointer, too");
}

#[test]
fn without_a_wait_no_runtime_is_needed() {
    let stub = Stub::in_turn([Answer::Err, Answer::After(3), Answer::Ok]);
    let service = retry(at_once()).layer(stub.clone());
    assert_eq!(futures::executor::block_on(service.oneshot(7)), Ok(7));
    assert_eq!(stub.calls(), 2);
    let result = futures::executor::block_on(retry(at_once()).call(failing()));
    assert_eq!(result, Err(Attempt(4)));
    let with_limits = timed(at_once().deadline(secs(60)).attempt_timeout(secs(60)));
    assert!(futures::executor::block_on(with_limits.call(failing())).is_err(), "attempts that answer need no timer");
}

#[test]
fn call_makes_no_attempt_before_it_is_polled() {
    let retry = retry(at_once());
    let mut attempts = 0;
    drop(retry.call(|| {
        attempts += 1;
        ready(Ok::<_, Down>(()))
    }));
    assert_eq!(attempts, 0);
}

#[test]
fn blocking_calls_sleep_in_between() {
    let retry = retry(RetryConfig::builder().backoff([ms(2), Duration::ZERO, ms(1)]));
    let before = std::hint::black_box(timer_now());
    assert_eq!(retry.call_blocking(failing_blocking()), Err(Attempt(4)));
    assert!(before.elapsed() >= ms(3));
}

#[test]
fn blocking_calls_look_at_the_deadline_between_attempts_only() {
    let retry = timed(at_once().deadline(Duration::from_nanos(1)).attempt_timeout(Duration::from_nanos(1)));
    let late = |result: Result<u32, Attempt>| {
        let before = timer_now();
        while before.elapsed() < Duration::from_micros(1) {}
        result
    };
    assert_eq!(retry.call_blocking(|| late(Ok(7))).expect("late, but an answer"), 7);
    let mut fail = failing_blocking();
    let error = retry.call_blocking(|| late(fail())).expect_err("down");
    assert_eq!(*error.downcast::<Attempt>().expect("no timeout"), Attempt(1));
}

#[test]
fn a_layer_is_used_by_reference_and_by_several_callers_at_once() {
    let retry = retry(at_once());
    let mut inner = failing_blocking();
    let nested = retry.call_blocking(|| retry.call_blocking(&mut inner));
    assert_eq!(nested, Err(Attempt(16)));
}
