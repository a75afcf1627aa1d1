//! What listeners and counters are told.

use fusebox::{Classify, classify::Retry};

use super::*;

fn excluded() -> Errors<classify::Except<fn(&Attempt) -> bool>> {
    classify::errors().exclude(|error| error.0 == 2)
}

#[tokio::test(start_paused = true)]
async fn listeners_are_told_of_every_failure_and_of_the_success_after_one() {
    let (builder, events) = listening(RetryConfig::builder().backoff([secs(1), secs(5)]));
    let stub = Stub::in_turn([Answer::Err, Answer::Err, Answer::Ok]);
    assert_eq!(retry(builder).layer(stub).oneshot(7).await, Ok(7));
    let events = events.take();
    let parts: Vec<_> = events.iter().map(|event| (event.attempt(), event.outcome(), event.total_delay())).collect();
    assert_eq!(parts, [(1, Outcome::Failure, secs(1)), (2, Outcome::Failure, secs(6)), (3, Outcome::Success, secs(6))]);
    assert!(matches!(events[0].kind(), RetryEventKind::Retrying { after, .. } if after == secs(1)));
    assert!(matches!(events[1].kind(), RetryEventKind::Retrying { after, .. } if after == secs(5)));
    assert_eq!(events[2].kind(), RetryEventKind::Succeeded);
    let lines: Vec<_> = events.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["attempt 1 failed, next in 1s", "attempt 2 failed, next in 5s", "attempt 3 succeeded"]);
}

#[test]
fn a_success_at_the_first_attempt_is_no_event() {
    let (builder, events) = listening(at_once());
    assert_eq!(retry(builder.clone()).layer(Stub::new(Answer::Ok)).oneshot(7).now_or_never(), Some(Ok(7)));
    let fine = retry(builder).classify(classify::errors().exclude(|_: &Down| true));
    assert_eq!(fine.layer(Stub::new(Answer::Err)).oneshot(7).now_or_never(), Some(Err(Down)));
    assert!(events.take().is_empty());
}

#[test]
fn an_end_that_is_no_failure_is_told_like_a_success_with_its_outcome() {
    let (builder, events) = listening(at_once());
    assert_eq!(retry(builder).classify(excluded()).call_blocking(failing_blocking()), Err(Attempt(2)));
    let events = events.take();
    assert_eq!(events.len(), 2);
    assert_eq!((events[1].kind(), events[1].outcome()), (RetryEventKind::Succeeded, Outcome::Ignored));
}

#[tokio::test(start_paused = true)]
async fn listeners_are_told_before_the_wait_and_in_the_order_they_were_added() {
    let told = Record::default();
    let start = timer_now();
    let tell = |name: &'static str| {
        let told = told.clone();
        move |event: &RetryEvent| told.add((name, event.attempt(), start.elapsed()))
    };
    let builder = waiting(secs(1)).max_retries(1);
    let builder = builder.on_retry(tell("retry")).on_event(tell("event")).on_retry(tell("retry 2"));
    assert_eq!(retry(builder).layer(Stub::new(Answer::Err)).oneshot(7).await, Err(Down));
    let zero = Duration::ZERO;
    assert_eq!(
        told.take(),
        [("retry", 1, zero), ("event", 1, zero), ("retry 2", 1, zero), ("event", 2, secs(1))],
        "`on_retry` hears of retries alone"
    );
}

#[test]
fn a_listener_that_panics_stops_neither_the_call_nor_the_others_nor_the_counters() {
    let stats = RetryStats::new();
    let builder = at_once().on_retry(|_| panic!("a listener")).on_event(|_| panic!("another")).stats(stats.clone());
    let (builder, events) = listening(builder);
    assert_eq!(retry(builder).call_blocking(failing_blocking()), Err(Attempt(4)));
    assert_eq!(events.take().len(), 4);
    assert_eq!((stats.counts().retries, stats.counts().exhausted), (3, 1));
}

#[test]
fn a_listener_may_use_budget_counters_and_the_retry_itself() {
    let counts = no_deadlock(|| {
        let (budget, stats) = (Budget::ratio(100.0).clock(ManualClock::new()), RetryStats::new());
        let inner = retry(at_once().budget(budget.clone()).stats(stats.clone()));
        let listener = {
            let (budget, stats) = (budget.clone(), stats.clone());
            move |_: &RetryEvent| {
                assert!(budget.withdraw());
                assert!(stats.counts().calls > 0);
                assert_eq!(inner.call_blocking(failing_blocking()), Err(Attempt(4)));
            }
        };
        let outer = retry(at_once().max_retries(1).budget(budget).stats(stats.clone()).on_retry(listener));
        assert_eq!(outer.call_blocking(failing_blocking()), Err(Attempt(2)));
        stats.counts()
    });
    assert_eq!((counts.calls, counts.retries, counts.exhausted), (2, 4, 2));
}

/// How the only call ended, and which counters count it: exhausted, budget, deadline, rejected.
#[track_caller]
fn assert_stopped(stats: &RetryStats, events: &Record<RetryEvent>, expected: StopReason, counters: [u64; 4]) {
    let counts = stats.counts();
    assert_eq!(events.take().last().and_then(reason), Some(expected));
    assert_eq!([counts.exhausted, counts.budget_refused, counts.deadline, counts.rejected], counters, "{expected}");
    assert_eq!((counts.calls, counts.recovered), (1, 0));
    let others = [counts.not_retryable, counts.not_replayable, counts.retry_after, counts.not_ready];
    let of = [StopReason::NotRetryable, StopReason::NotReplayable, StopReason::RetryAfter, StopReason::NotReady];
    assert_eq!(others, of.map(|reason| u64::from(reason == expected)), "{expected}");
}

#[tokio::test(start_paused = true)]
async fn every_reason_to_stop_is_told_and_counted() {
    let listening = || {
        let stats = RetryStats::new();
        let (builder, events) = listening(at_once().stats(stats.clone()));
        (builder, stats, events)
    };

    let (builder, stats, events) = listening();
    assert!(retry(builder).call(failing()).await.is_err());
    assert_stopped(&stats, &events, StopReason::MaxRetries, [1, 0, 0, 0]);

    let (builder, stats, events) = listening();
    assert!(retry(builder.backoff([secs(1)])).call(failing()).await.is_err());
    assert_stopped(&stats, &events, StopReason::BackoffEnded, [1, 0, 0, 0]);

    let (builder, stats, events) = listening();
    assert!(retry(builder.budget(Budget::ratio(0.0))).call(failing()).await.is_err());
    assert_stopped(&stats, &events, StopReason::Budget, [0, 1, 0, 0]);

    let (builder, stats, events) = listening();
    let builder = builder.backoff(backoff::fixed(secs(9))).deadline(secs(5));
    assert!(timed(builder).call(failing()).await.is_err());
    assert_stopped(&stats, &events, StopReason::Deadline, [0, 0, 1, 0]);

    let (builder, stats, events) = listening();
    assert!(timed(builder.deadline(secs(5))).call(pending::<Result<(), Down>>).await.is_err());
    assert_stopped(&stats, &events, StopReason::Deadline, [0, 0, 1, 0]);

    let (builder, stats, events) = listening();
    let (breaker, _clock) = tripping_at(1);
    breaker.trip().expect("no override stands");
    assert!(retry(builder).call(|| ready(breaker.acquire().map(drop))).await.is_err());
    assert_stopped(&stats, &events, StopReason::Rejected, [0, 0, 0, 1]);

    let (builder, stats, events) = listening();
    assert!(retry(builder).classify(Never).call(failing()).await.is_err());
    assert_stopped(&stats, &events, StopReason::NotRetryable, [0; 4]);

    let (builder, stats, events) = listening();
    let service = retry(builder).clone_with(|_: &u32| None).layer(Stub::new(Answer::Err));
    assert!(service.oneshot(1).await.is_err());
    assert_stopped(&stats, &events, StopReason::NotReplayable, [0; 4]);

    let (builder, stats, events) = listening();
    let tomorrow = |_: &Result<u32, Attempt>| Outcome::FailureAfter(secs(86_400));
    assert!(retry(builder).classify(tomorrow).call(failing()).await.is_err());
    assert_stopped(&stats, &events, StopReason::RetryAfter, [0; 4]);

    let (builder, stats, events) = listening();
    let stub = Stub::new(Answer::Err);
    let mut service = retry(builder).layer(stub.clone());
    let response = service.ready().await.expect("ready").call(1);
    stub.gets_ready(Ready::Error);
    assert!(response.await.is_err());
    assert_stopped(&stats, &events, StopReason::NotReady, [0; 4]);
}

/// Told with the hundredth retry, once, and only where nothing limits them.
#[test]
fn retries_that_nothing_limits_are_told_of_once() {
    let unlimited = |builder: RetryConfigBuilder| {
        let (builder, events) = listening(builder.max_retries(1));
        let retry = retry(builder);
        let calls = |n: usize| (0..n).for_each(|_| drop(retry.call(failing()).now_or_never().expect("no wait")));
        let told = || events.take().iter().filter(|event| event.kind() == RetryEventKind::Unlimited).count();
        let told_after = |n| {
            calls(n);
            told()
        };
        [told_after(99), told_after(1), told_after(1_000)]
    };
    assert_eq!(unlimited(at_once()), [0, 1, 0]);
    assert_eq!(unlimited(at_once().budget(Budget::ratio(1_000.0))), [0, 0, 0]);
    let (builder, events) = listening(at_once().max_retries(1).deadline(secs(60)));
    let retry = timed(builder);
    (0..1_000).for_each(|_| drop(retry.call(failing()).now_or_never().expect("no wait")));
    assert!(events.take().iter().all(|event| event.kind() != RetryEventKind::Unlimited));
}

/// No failure can be mended.
#[derive(Clone, Debug)]
struct Never;

impl<T, E: 'static> Classify<T, E> for Never {
    type Scope = classify::AtHead;

    fn classify(&self, result: &Result<T, E>) -> Outcome {
        classify::errors().classify(result)
    }

    fn retry(&self, _result: &Result<T, E>) -> Retry {
        Retry::Never
    }
}

#[test]
fn of_two_reasons_to_stop_the_one_that_no_setting_could_change_is_told() {
    let (builder, events) = listening(at_once().max_retries(0).budget(Budget::ratio(0.0)).backoff([]));
    assert!(retry(builder.clone()).classify(Never).call_blocking(failing_blocking()).is_err());
    assert!(retry(builder.clone()).call_blocking(failing_blocking()).is_err());
    assert!(retry(builder.max_retries(1)).call_blocking(failing_blocking()).is_err());
    let reasons: Vec<_> = events.take().iter().filter_map(reason).collect();
    assert_eq!(reasons, [StopReason::NotRetryable, StopReason::MaxRetries, StopReason::BackoffEnded]);
}

#[test]
fn a_readiness_error_between_attempts_is_told_like_any_other_end() {
    let (builder, events) = listening(at_once());
    let stub = Stub::new(Answer::Err);
    let mut service = retry(builder).layer(stub.clone());
    let response = service.ready().now_or_never().expect("ready").expect("ready").call(7);
    stub.gets_ready(Ready::Error);
    assert_eq!(response.now_or_never(), Some(Err(Down)));
    let told = events.take();
    let last = told.last().expect("events");
    assert!(reason(last).is_some(), "the last word is `{last}`, though the call has failed");
    assert_eq!(last.attempt(), 2);
}

#[test]
fn an_event_tells_what_the_dependency_asked_for_and_what_came_of_it() {
    let (builder, events) = listening(at_once().max_retries(1).retry_after_cap(secs(1)));
    let asked = |after| move |_: &Result<u32, Attempt>| Outcome::FailureAfter(after);
    let calls = |after| retry(builder.clone()).classify(asked(after)).call_blocking(failing_blocking());
    assert_eq!(calls(ms(1)), Err(Attempt(2)));
    assert_eq!(calls(secs(60)), Err(Attempt(1)), "longer than allowed");
    let events = events.take();
    let lines: Vec<_> = events.iter().map(|event| (event.outcome(), event.to_string())).collect();
    let expected = [
        (ms(1), "attempt 1 failed, next in 1ms"),
        (ms(1), "attempt 2 failed, given up: no retries left"),
        (secs(60), "attempt 1 failed, given up: the dependency asked for a wait longer than allowed"),
    ];
    assert_eq!(lines, expected.map(|(after, line)| (Outcome::FailureAfter(after), line.to_owned())));
}

#[test]
fn counters_count_calls_attempts_waits_and_recoveries_of_all_layers_that_share_them() {
    let stats = RetryStats::new();
    let first = retry(at_once().stats(stats.clone()));
    let second = retry(RetryConfig::builder().backoff([ms(1), ms(2)]).stats(stats.clone()));
    assert_eq!(first.call_blocking(|| Ok::<_, Down>(7)), Ok(7));
    assert_eq!(first.call_blocking(failing_blocking()), Err(Attempt(4)));
    let recovering = second.layer(Stub::in_turn([Answer::Err, Answer::Ok]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    assert_eq!(runtime.expect("a runtime").block_on(recovering.oneshot(7)), Ok(7));
    assert_eq!(second.call_blocking(failing_blocking()), Err(Attempt(3)));

    let counts = stats.counts();
    assert_eq!((counts.calls, counts.retries, counts.attempts), (4, 3 + 1 + 2, 10));
    assert_eq!((counts.recovered, counts.exhausted), (1, 2));
    assert_eq!(counts.total_delay, ms(1 + 1 + 2));
    assert_eq!((counts.budget_refused, counts.deadline, counts.rejected), (0, 0, 0));
    assert_eq!(RetryStats::new().counts(), fusebox::retry::RetryCounts::default());
}
