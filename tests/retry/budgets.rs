//! Budgets, by their own methods and through layers. The figures of a ratio are in `conformance/retry.rs`.

use super::*;

fn failures(budget: &Budget, n: usize) {
    (0..n).for_each(|_| budget.failure());
}

fn successes(budget: &Budget, n: usize) {
    (0..n).for_each(|_| budget.success());
}

// Tokens, as in gRPC's proposal A6

#[test]
fn tokens_allow_retries_while_more_than_half_are_left() {
    for (most, allowed) in [(1, 0), (2, 0), (3, 1), (4, 1), (10, 4), (11, 5), (100, 49), (1_000, 499)] {
        let budget = Budget::tokens(most, 0.1);
        assert!(budget.withdraw(), "{most}: all are left");
        let seen = (0..most * 2).filter(|_| (budget.failure(), budget.withdraw()).1).count();
        assert_eq!(seen, allowed, "{most}");
    }
}

#[test]
fn a_success_gives_the_ratio_back_to_three_decimals_and_never_above_the_most() {
    let budget = Budget::tokens(10, 0.1);
    failures(&budget, 5);
    assert!(!budget.withdraw(), "5 of 10 is not more than half");
    successes(&budget, 1);
    assert!(budget.withdraw(), "5.1 is");

    failures(&budget, 1);
    successes(&budget, 9);
    assert!(!budget.withdraw(), "5.0, exactly");
    successes(&budget, 1_000);
    failures(&budget, 4);
    assert!(budget.withdraw(), "10 and no more");
    failures(&budget, 1);
    assert!(!budget.withdraw());

    let fine = Budget::tokens(10, 0.001);
    failures(&fine, 6);
    successes(&fine, 1_000);
    assert!(!fine.withdraw());
    successes(&fine, 1);
    assert!(fine.withdraw());

    let coarse = Budget::tokens(10, 0.0014);
    failures(&coarse, 6);
    successes(&coarse, 1_000);
    assert!(!coarse.withdraw(), "the fourth decimal does not count, up or down");
    let generous = Budget::tokens(1_000, 1_000.0);
    failures(&generous, 1_000);
    successes(&generous, 1);
    assert_eq!(generous.available(), 500);
    failures(&generous, 1);
    successes(&generous, 1);
    assert_eq!(generous.available(), 500, "cut at the most");
}

#[test]
fn tokens_do_not_go_below_none() {
    let budget = Budget::tokens(10, 1.0);
    failures(&budget, 1_000);
    successes(&budget, 5);
    assert!(!budget.withdraw());
    successes(&budget, 1);
    assert!(budget.withdraw());
}

#[test]
fn every_failed_attempt_takes_a_token_and_a_retry_takes_none_of_its_own() {
    let budget = Budget::tokens(10, 0.1);
    let (builder, events) = listening(at_once().budget(budget));
    let retry = retry(builder);
    assert_eq!(retry.call_blocking(failing_blocking()), Err(Attempt(4)), "9, 8, 7, 6 tokens, and the last one too");
    assert_eq!(retry.call_blocking(failing_blocking()), Err(Attempt(1)), "5");
    let reasons: Vec<_> = events.take().iter().filter_map(reason).collect();
    assert_eq!(reasons, [StopReason::MaxRetries, StopReason::Budget]);
    assert_eq!(retry.call_blocking(|| Ok::<_, Down>(7)), Ok(7), "at 0.1 each");
    for _ in 0..10 {
        assert_eq!(retry.call_blocking(|| Ok::<_, Down>(7)), Ok(7));
    }
    assert_eq!(retry.call_blocking(failing_blocking()), Err(Attempt(2)), "6.1 less one, then 4.1");
}

#[test]
fn a_success_after_retries_gives_tokens_back_and_what_is_ignored_gives_none() {
    let budget = Budget::tokens(10, 1.0);
    failures(&budget, 3);
    let service = retry(at_once().budget(budget.clone())).layer(Stub::in_turn([Answer::Err, Answer::Ok]));
    assert_eq!(service.oneshot(7).now_or_never(), Some(Ok(7)));
    assert_eq!(budget.available(), 2, "7 - 1 + 1 = 7 tokens, two above half");
    let ignoring = retry(at_once().budget(budget.clone())).classify(classify::errors().exclude(|_: &Attempt| true));
    assert_eq!(ignoring.call_blocking(failing_blocking()), Err(Attempt(1)));
    assert_eq!(budget.available(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_given_up_takes_a_token() {
    let budget = Budget::tokens(10, 1.0);
    let retry = timed(at_once().max_retries(1).attempt_timeout(secs(1)).budget(budget.clone()));
    assert!(retry.layer(Stub::new(Answer::Hang)).oneshot(7).await.is_err());
    assert_eq!(budget.available(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_the_deadline_ends_takes_a_token() {
    let budget = Budget::tokens(10, 1.0);
    let retry = timed(at_once().deadline(secs(1)).budget(budget.clone()));
    assert!(retry.layer(Stub::new(Answer::Hang)).oneshot(7).await.is_err());
    assert_eq!(budget.available(), 4);
}

/// In gRPC only failures of a kind that is retried count, so that mistakes of one caller do not cost the retries of all.
#[test]
fn a_failure_that_is_not_of_a_kind_to_be_retried_takes_no_token() {
    struct Never;

    impl<T, E> fusebox::Classify<T, E> for Never {
        type Scope = classify::AtHead;

        fn classify(&self, _result: &Result<T, E>) -> Outcome {
            Outcome::Failure
        }

        fn retry(&self, _result: &Result<T, E>) -> Retry {
            Retry::Never
        }
    }
    let budget = Budget::tokens(10, 0.1);
    let retry = retry(at_once().budget(budget.clone())).classify(Never);
    assert_eq!(retry.call_blocking(failing_blocking()), Err(Attempt(1)));
    assert_eq!(budget.available(), 5);
}

#[test]
fn tokens_are_counted_exactly_by_many_threads() {
    let budget = Budget::tokens(1_000, 0.5);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| failures(&budget, 200));
        }
    });
    assert_eq!(budget.available(), 0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| successes(&budget, 151));
        }
    });
    assert_eq!(budget.available(), 2, "200 + 302");
}

// Ratio

#[test]
fn a_request_earns_for_ten_seconds_and_a_retry_is_held_against_it_as_long() {
    let clock = ManualClock::new();
    let budget = Budget::ratio(1.0).clock(clock.clone());
    budget.request();
    clock.advance(ms(9_900));
    assert_eq!(budget.available(), 1);
    clock.advance(ms(100));
    assert_eq!(budget.available(), 0);

    let budget = Budget::ratio(0.0).reserve_per_second(1).window(secs(20)).clock(clock.clone());
    assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 20);
    clock.advance(ms(19_900));
    assert!(!budget.withdraw());
    clock.advance(ms(100));
    assert_eq!(budget.available(), 20);
}

#[test]
fn retries_are_no_requests_and_earn_nothing() {
    let stub = Stub::new(Answer::Err);
    let budget = Budget::ratio(0.5).clock(ManualClock::new());
    let service = retry(at_once().max_retries(10).budget(budget.clone())).layer(stub.clone());
    for calls in 1..=10 {
        assert_eq!(service.clone().oneshot(7).now_or_never(), Some(Err(Down)));
        assert_eq!(stub.calls(), calls + calls / 2);
    }
    assert_eq!(budget.available(), 0);
}

#[test]
fn a_retry_that_is_not_made_is_not_paid_for() {
    let budget = Budget::ratio(0.0).reserve_per_second(1).clock(ManualClock::new());
    let builder = || at_once().budget(budget.clone());
    assert!(retry(builder().max_retries(0)).call_blocking(failing_blocking()).is_err());
    assert!(retry(builder().backoff([])).call_blocking(failing_blocking()).is_err());
    let soon = timed(builder().backoff(backoff::fixed(secs(60))).deadline(secs(1)));
    assert!(soon.call_blocking(failing_blocking()).is_err());
    let once = retry(builder()).clone_with(|_: &u32| None).layer(Stub::new(Answer::Err));
    assert_eq!(once.oneshot(7).now_or_never(), Some(Err(Down)));
    assert_eq!(budget.available(), 10);
    assert!(retry(builder()).call_blocking(failing_blocking()).is_err());
    assert_eq!(budget.available(), 7, "these three were");
}

#[test]
fn layers_that_share_a_budget_spend_what_the_others_earn() {
    let budget = Budget::ratio(0.1).clock(ManualClock::new());
    let (earning, spending) = (Stub::new(Answer::Ok), Stub::new(Answer::Err));
    let reads = retry(at_once().budget(budget.clone())).layer(earning.clone());
    let writes = retry(at_once().max_retries(5).budget(budget)).layer(spending.clone());
    for n in 0..29 {
        assert_eq!(reads.clone().oneshot(n).now_or_never(), Some(Ok(n)));
    }
    assert_eq!(writes.clone().oneshot(7).now_or_never(), Some(Err(Down)));
    assert_eq!((earning.calls(), spending.calls()), (29, 4), "30 requests, three retries");
    assert_eq!(writes.oneshot(7).now_or_never(), Some(Err(Down)));
    assert_eq!(spending.calls(), 5);
}

#[test]
fn settings_make_a_budget_of_their_own() {
    let budget = Budget::ratio(1.0).clock(ManualClock::new());
    let other = budget.clone().reserve_per_second(1);
    budget.request();
    assert_eq!((budget.available(), other.available()), (1, 10));
    let clone = budget.clone();
    assert!(budget.withdraw());
    assert_eq!(clone.available(), 0, "a clone alone does not");
    let tokens = Budget::tokens(10, 0.1);
    let same = tokens.clone().reserve_per_second(1).window(secs(60)).clock(ManualClock::new());
    tokens.failure();
    assert_eq!(same.available(), 4, "tokens have no such settings");
}

#[test]
fn a_clock_that_steps_back_neither_overdraws_nor_panics() {
    let clock = ManualClock::new();
    clock.advance(secs(1_000));
    let budget = Budget::ratio(0.5).clock(clock.clone());
    (0..10).for_each(|_| budget.request());
    assert_eq!((0..10).filter(|_| budget.withdraw()).count(), 5);
    clock.set(fusebox::clock::Timestamp::ZERO);
    assert!(!budget.withdraw());
    (0..10).for_each(|_| budget.request());
    assert_eq!((0..20).filter(|_| budget.withdraw()).count(), 5);
    clock.set(fusebox::clock::Timestamp::MAX);
    assert_eq!(budget.available(), 0);
    (0..10).for_each(|_| budget.request());
    assert_eq!(budget.available(), 5);
}

#[test]
fn budgets_say_what_they_allow_and_what_is_left() {
    let ratio = Budget::ratio(0.2).clock(ManualClock::new());
    assert_eq!(format!("{ratio:?}"), "budget 0.2 of requests, 0 available");
    assert_eq!(ratio.reserve_per_second(10).to_string(), "budget 0.2 of requests + 10/s");
    assert_eq!(format!("{:?}", Budget::tokens(10, 0.1)), "budget 10 tokens, 0.1 per success, 5 available");
}

#[test]
fn with_the_clock_of_the_system_a_budget_works_as_well() {
    let budget = Budget::ratio(0.5).clock(fusebox::clock::SystemClock);
    (0..10).for_each(|_| budget.request());
    assert_eq!((0..20).filter(|_| budget.withdraw()).count(), 5);
}
