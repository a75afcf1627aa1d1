//! What each kind of [`Retry`] makes of a result, apart from its outcome.

use fusebox::retry::Replay;
use fusebox::{Classify, Rejected, classify::AtHead};

use super::*;

/// Says the same of every result, whatever it is.
#[derive(Clone, Copy, Debug)]
struct Says(Outcome, Retry);

impl<T, E> Classify<T, E> for Says {
    type Scope = AtHead;

    fn classify(&self, _result: &Result<T, E>) -> Outcome {
        self.0
    }

    fn retry(&self, _result: &Result<T, E>) -> Retry {
        self.1
    }
}

/// A request that must not be processed twice; and how often another connection was asked for.
#[derive(Clone, Debug, Default)]
struct Order(Record<()>);

impl Replay<u32> for Order {
    type Out = u32;
    type Saved = u32;

    fn first(&self, request: u32) -> (u32, Option<u32>) {
        (request, Some(request))
    }

    fn may_repeat(&self, _saved: &u32, after: Retry) -> bool {
        matches!(after, Retry::Unprocessed | Retry::Once)
    }

    fn change_connection(&self, _saved: &mut u32) {
        self.0.add(());
    }

    fn again(&self, saved: &mut u32, _attempt: u32) -> Option<u32> {
        Some(*saved)
    }
}

/// Orders once; returns the attempts, the events as lines, and how often another connection was asked for.
async fn order(says: Retry, builder: RetryConfigBuilder) -> (usize, Vec<String>, usize) {
    let (builder, events) = listening(builder);
    let (stub, order) = (Stub::new(Answer::Ok), Order::default());
    let retry = retry(builder).classify(Says(Outcome::Ignored, says)).replay_with(order.clone());
    assert_eq!(retry.layer(stub.clone()).oneshot(7).await, Ok(7), "the last result comes back, whatever it is");
    (stub.calls(), lines(&events), order.0.take().len())
}

#[tokio::test(start_paused = true)]
async fn c66_what_was_not_processed_is_sent_again_at_once_and_then_by_the_rules() {
    let (attempts, events, moved) = order(Retry::Unprocessed, waiting(secs(2)).max_retries(2)).await;
    assert_eq!((attempts, moved), (3, 0), "of `max_retries` there is no exception");
    let expected =
        ["attempt 1 failed, next now", "attempt 2 failed, next in 2s", "attempt 3 failed, given up: no retries left"];
    assert_eq!(events, expected);
    assert_eq!(order(Retry::Unprocessed, waiting(secs(2)).max_retries(0)).await.0, 1);
}

#[tokio::test(start_paused = true)]
async fn c66_the_first_time_that_costs_no_budget() {
    let budget = Budget::ratio(0.0).reserve_per_second(1);
    let before = budget.available();
    assert_eq!(order(Retry::Unprocessed, at_once().max_retries(1).budget(budget.clone())).await.0, 2);
    assert_eq!(budget.available(), before);
    assert_eq!(order(Retry::Unprocessed, at_once().max_retries(3).budget(budget.clone())).await.0, 4);
    assert_eq!(budget.available(), before - 2, "the others do");

    let tokens = Budget::tokens(10, 1.0);
    assert_eq!(order(Retry::Unprocessed, at_once().max_retries(1).budget(tokens.clone())).await.0, 2);
    assert_eq!(tokens.available(), 4, "nine tokens, four above half: the second failure took one");
}

#[tokio::test(start_paused = true)]
async fn c61_it_costs_a_token_where_it_is_not_sent_again_after_all() {
    let tokens = Budget::tokens(10, 1.0);
    assert_eq!(order(Retry::Unprocessed, at_once().max_retries(0).budget(tokens.clone())).await.0, 1);
    assert_eq!(tokens.available(), 4);
    let lost = retry(at_once().budget(tokens.clone())).classify(Says(Outcome::Failure, Retry::Unprocessed));
    let service = lost.clone_with(|_: &u32| None).layer(Stub::new(Answer::Ok));
    assert_eq!(service.oneshot(7).await, Ok(7));
    assert_eq!(tokens.available(), 3);
}

#[tokio::test(start_paused = true)]
async fn c61_a_dependency_that_asks_for_no_retry_is_heeded_and_takes_a_token() {
    let (tokens, stats) = (Budget::tokens(10, 1.0), RetryStats::new());
    for left in [4, 3, 2, 1, 0, 0] {
        let builder = at_once().budget(tokens.clone()).stats(stats.clone());
        let (attempts, events, moved) = order(Retry::Refused, builder).await;
        assert_eq!((attempts, moved, tokens.available()), (1, 0, left));
        assert_eq!(events, ["attempt 1 failed, given up: another attempt would not help"]);
    }
    let counts = stats.counts();
    assert_eq!((counts.calls, counts.attempts, counts.retries), (6, 6, 0));
    assert_eq!((counts.not_retryable, counts.recovered), (6, 0));
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_processed_is_not_sent_again_where_it_must_not_be() {
    for says in [Retry::IfIdempotent, Retry::After(secs(1)), Retry::Pushback(secs(1))] {
        let budget = Budget::ratio(0.0).reserve_per_second(1);
        let before = budget.available();
        let (attempts, events, _) = order(says, at_once().budget(budget.clone())).await;
        assert_eq!((attempts, budget.available()), (1, before), "{says:?}");
        assert_eq!(events, ["attempt 1 failed, given up: the request cannot be sent again"]);
    }
}

#[tokio::test(start_paused = true)]
async fn once_is_once_and_asks_for_another_connection() {
    let (attempts, events, moved) = order(Retry::Once, waiting(secs(2))).await;
    assert_eq!((attempts, moved), (2, 1));
    let expected = ["attempt 1 failed, next now", "attempt 2 failed, given up: another attempt would not help"];
    assert_eq!(events, expected);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_no_failure_and_not_to_be_tried_again_tells_nothing() {
    let (attempts, events, _) = order(Retry::Never, at_once()).await;
    assert_eq!((attempts, events), (1, vec![]));
}

#[test]
fn a_failure_without_cure_is_final() {
    let (builder, events) = listening(at_once());
    let retry = retry(builder).classify(Says(Outcome::Failure, Retry::Never));
    assert_eq!(retry.call_blocking(failing_blocking()), Err(Attempt(1)));
    assert_eq!(lines(&events), ["attempt 1 failed, given up: another attempt would not help"]);
}

// Rejections

/// An error of a user's own.
#[derive(Debug)]
enum ShopError {
    Rejected(Rejected),
    Down,
}

fn rejected(error: &ShopError) -> Option<&Rejected> {
    match error {
        ShopError::Rejected(rejected) => Some(rejected),
        ShopError::Down => None,
    }
}

#[tokio::test(start_paused = true)]
async fn c67_a_rejection_in_an_error_of_ones_own_is_not_retried_costs_nothing_and_is_no_attempt() {
    let (breaker, _clock) = tripping_at(2);
    let (budget, stats) = (Budget::ratio(0.0).reserve_per_second(10), RetryStats::new());
    let before = budget.available();
    let retry = retry(at_once().max_retries(9).budget(budget.clone()).stats(stats.clone())).rejections(rejected);
    let down = tower::service_fn(|_: u32| ready(Err::<u32, _>(ShopError::Down)));
    let guarded = fusebox::CircuitBreakerLayer::from(breaker.clone()).map_rejection(ShopError::Rejected).layer(down);
    let service = retry.layer(guarded);
    assert!(matches!(service.clone().oneshot(7).await, Err(ShopError::Rejected(_))));
    let counts = stats.counts();
    assert_eq!((counts.attempts, counts.rejected_attempts, counts.rejected), (2, 1, 1), "two failures opened it");
    assert_eq!(before - budget.available(), 2);
    assert!(matches!(service.oneshot(7).await, Err(ShopError::Rejected(_))));
    assert_eq!((stats.counts().attempts, stats.counts().rejected_attempts), (2, 2));
    assert_eq!(before - budget.available(), 2);
}

#[tokio::test]
async fn c67_a_breaker_further_out_does_not_count_it_either() {
    let (inner, _) = tripping_at(1);
    let (outer, _) = tripping_at(1);
    inner.trip().expect("no override stands");
    let down = tower::service_fn(|_: u32| ready(Err::<u32, _>(ShopError::Down)));
    let layers = |rule: fusebox::CircuitBreakerLayer| rule.map_rejection(ShopError::Rejected).rejections(rejected);
    let service = layers(outer.clone().into()).layer(layers(inner.into()).layer(down));
    assert!(matches!(service.clone().oneshot(7).await, Err(ShopError::Rejected(_))));
    assert!(!outer.is_open());
}

#[test]
fn c67_a_rejection_within_an_io_error_is_one() {
    let (breaker, _clock) = tripping_at(1);
    breaker.trip().expect("no override stands");
    let mut calls = 0;
    let result = retry(at_once()).call_blocking(|| {
        calls += 1;
        breaker.acquire().map(drop).map_err(std::io::Error::other)
    });
    assert!(result.is_err());
    assert_eq!(calls, 1);
}
