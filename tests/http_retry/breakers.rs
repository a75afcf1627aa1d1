//! Retries around a breaker that answers rejected requests with a response, and breakers around both.

use fusebox::{
    Budget, CircuitBreaker, CircuitBreakerLayer, ManualClock, Outcome, Override, RetryLayer, State, classify,
    retry::{RetryStats, WhenRejected},
};
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;
use support::{failures, first_probe, report, tripping_at};

/// The body of responses to rejected requests is a default one.
type Server = tower::util::BoxCloneService<Request<Replayed>, Response<Flag>, Infallible>;

fn guarded(breaker: &CircuitBreaker, codes: &'static [u16]) -> (Record<Request<String>>, Server) {
    let (log, service) = answers::<Replayed>(codes);
    let layer = CircuitBreakerLayer::from(breaker.clone())
        .classify(classify::http())
        .respond_with(fusebox::web::unavailable::<Flag>);
    (log, tower::util::BoxCloneService::new(layer.layer(service)))
}

fn tripped() -> (CircuitBreaker, ManualClock) {
    let (breaker, clock) = tripping_at(1);
    breaker.trip().expect("no override stands");
    (breaker, clock)
}

#[tokio::test(start_paused = true)]
async fn c29_an_answer_made_by_an_open_breaker_is_not_retried_and_spends_no_budget() {
    for when_rejected in [WhenRejected::Return, WhenRejected::Wait] {
        let (breaker, _clock) = tripped();
        let (log, service) = guarded(&breaker, &[]);
        let (budget, stats) = (Budget::ratio(0.0).reserve_per_second(1), RetryStats::new());
        let before = budget.available();
        let retries = config(|b| b.budget(budget.clone()).stats(stats.clone()).when_rejected(when_rejected));
        let elapsed = timer();
        let client = RetryLayer::http(retries).layer(service);
        let answer = client.oneshot(put(Script::of(&["some"]))).await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (503, &"30".parse().expect("a value"))
        );
        // The breaker's clock stands still, so a wait for it is for nothing, three times.
        let (waited, retries) = if when_rejected == WhenRejected::Wait { (secs(90), 3) } else { (Duration::ZERO, 0) };
        assert!((waited..waited + secs(1)).contains(&elapsed()));
        assert_eq!((log.take().len(), budget.available()), (0, before));
        let counts = stats.counts();
        assert_eq!((counts.attempts, counts.rejected_attempts, counts.retries), (0, 1 + retries, retries));
    }
}

#[tokio::test(start_paused = true)]
async fn c29_retries_stop_where_the_breaker_opens() {
    let (breaker, _clock) = tripping_at(2);
    let (log, service) = guarded(&breaker, &[503, 503, 503, 503]);
    let client = RetryLayer::http(config(|builder| builder.max_retries(10))).layer(service);
    let answer = client.oneshot(put(Script::of(&["some"]))).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), log.take().len(), breaker.state()), (503, 2, State::Open));
}

/// What is counted as recovered is what an operator takes for retries that helped.
#[tokio::test(start_paused = true)]
async fn a_call_that_ends_in_an_answer_made_by_a_breaker_is_not_counted_as_recovered() {
    let (breaker, _clock) = tripping_at(1);
    let (log, service) = guarded(&breaker, &[503]);
    let stats = RetryStats::new();
    let client = RetryLayer::http(config(|builder| builder.stats(stats.clone()))).layer(service);
    let answer = client.oneshot(put(Script::of(&["some"]))).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), log.take().len()), (503, 1), "the breaker answered the second attempt");
    let counts = stats.counts();
    assert_eq!((counts.calls, counts.retries, counts.recovered), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_outer_breaker_ignores_the_answers_of_an_inner_one() {
    let ((outer, _), (inner, _)) = (tripping_at(1), tripped());
    let (log, service) = guarded(&inner, &[]);
    let stack = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::from(outer.clone()).classify(classify::http()))
        .layer(RetryLayer::http(at_once()));
    let client = stack.service(service);
    for _ in 0..10 {
        let answer = client.clone().oneshot(put(Script::of(&["some"]))).await.expect("an answer");
        assert_eq!(answer.status(), 503);
    }
    assert_eq!((log.take().len(), outer.state(), failures(&outer)), (0, State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_an_inner_breaker_answers_decides_nothing() {
    let ((outer, clock), (inner, _)) = (tripping_at(1), tripped());
    drop(first_probe(&outer, &clock));
    let (_log, service) = guarded(&inner, &[]);
    let layer = CircuitBreakerLayer::from(outer.clone()).classify(classify::http());
    for _ in 0..3 {
        let client = layer.layer(RetryLayer::http(at_once()).layer(service.clone()));
        let answer = client.oneshot(put(Script::of(&[]))).await.expect("an answer");
        assert_eq!((answer.status().as_u16(), outer.state()), (503, State::HalfOpen));
    }
    report(&outer, 1, Outcome::Success);
    assert_eq!(outer.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_outer_breaker_counts_the_same_status_of_the_server_itself() {
    let ((outer, _), (inner, _)) = (tripping_at(5), tripping_at(100));
    let (log, service) = guarded(&inner, &[503; 100]);
    let layer = CircuitBreakerLayer::from(outer.clone()).classify(classify::http());
    let client = layer.layer(RetryLayer::http(at_once()).layer(service));
    for n in 1..=4 {
        assert_eq!(client.clone().oneshot(put(Script::of(&[]))).await.expect("an answer").status(), 503);
        assert_eq!((failures(&outer), failures(&inner)), (n, 4 * n), "once a call, and once an attempt");
    }
    assert_eq!(log.take().len(), 16);
}

#[tokio::test(start_paused = true)]
async fn an_answer_says_when_to_come_back_only_where_that_is_known() {
    let (forced, _) = tripping_at(1);
    forced.set_override(Override::force_open("incident 7"));
    let (half_open, clock) = tripping_at(1);
    let _probe = first_probe(&half_open, &clock);
    let (waiting, clock) = tripped();
    clock.advance(support::ms(29_001));
    for (breaker, seconds) in [(forced, None), (half_open, None), (waiting, Some("1"))] {
        let (_log, service) = guarded(&breaker, &[]);
        let answer = RetryLayer::http(at_once()).layer(service).oneshot(put(Script::of(&[]))).await.expect("an answer");
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers().get("retry-after").map(|value| value.to_str().expect("text")), seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn c29_a_boxed_rejection_is_not_retried_either() {
    let (breaker, _clock) = tripped();
    let (log, service) = answers::<Replayed>(&[]);
    let (config, events) = told();
    let layer = CircuitBreakerLayer::from(breaker).classify(classify::http());
    let client = RetryLayer::http(config).layer(layer.layer(service));
    let error = client.oneshot(put(Script::of(&["some"]))).await.expect_err("rejected");
    assert!(fusebox::rejection(&*error).is_some());
    assert_eq!((log.take().len(), stopped(&events)), (0, Some(StopReason::Rejected)));
}
