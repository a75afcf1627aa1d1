//! Configurations: what is refused, defaults, and what they say of themselves.

use fusebox::ConfigError;

use super::*;

#[test]
fn every_wrong_setting_is_an_error_that_names_field_given_and_allowed() {
    let (s, b) = (secs, RetryConfig::builder);
    let exponential = |jitter| b().backoff(backoff::exponential(s(1)..=s(2)).jitter(jitter)).build();
    let factor = |factor| b().backoff(backoff::exponential(s(1)..=s(2)).factor(factor)).build();
    let budget = |budget| b().budget(budget).build();
    let window = |window| budget(Budget::ratio(0.1).window(window));
    let range = "a range whose lower end is not above its upper end";
    let cases = [
        (b().backoff(backoff::exponential(s(2)..=s(1))).build(), "backoff", "2s..=1s", range),
        (b().backoff(backoff::decorrelated(s(2)..=s(1))).build(), "backoff", "2s..=1s", range),
        (
            b().backoff(backoff::decorrelated(s(0)..=s(1))).build(),
            "backoff",
            "0ns",
            "a lower end above zero: nothing grows from zero",
        ),
        (factor(0.5), "factor", "0.5", "a number of at least 1"),
        (factor(f64::NAN), "factor", "NaN", "a number of at least 1"),
        (factor(f64::INFINITY), "factor", "inf", "a number of at least 1"),
        (exponential(Jitter::proportional(1.5)), "backoff.jitter", "1.5", "a number from 0 to 1"),
        (exponential(Jitter::proportional(-0.5)), "backoff.jitter", "-0.5", "a number from 0 to 1"),
        (exponential(Jitter::proportional(f64::NAN)), "backoff.jitter", "NaN", "a number from 0 to 1"),
        (
            b().backoff(backoff::fixed(s(1)).jitter(Jitter::proportional(1.5))).build(),
            "backoff.jitter",
            "1.5",
            "a number from 0 to 1",
        ),
        (budget(Budget::ratio(-0.1)), "budget.ratio", "-0.1", "a number from 0 to 1000"),
        (budget(Budget::ratio(1_001.0)), "budget.ratio", "1001", "a number from 0 to 1000"),
        (budget(Budget::ratio(f64::NAN)), "budget.ratio", "NaN", "a number from 0 to 1000"),
        (window(ms(999)), "budget.window", "999ms", "from 1s to one day"),
        (window(s(86_401)), "budget.window", "86401s", "from 1s to one day"),
        (window(Duration::ZERO), "budget.window", "0ns", "from 1s to one day"),
        (budget(Budget::tokens(0, 0.1)), "budget.max_tokens", "0", "1 to 1000"),
        (budget(Budget::tokens(1_001, 0.1)), "budget.max_tokens", "1001", "1 to 1000"),
        (budget(Budget::tokens(10, 0.0)), "budget.token_ratio", "0", "a number from 0.001 to 1000"),
        (budget(Budget::tokens(10, 1_001.0)), "budget.token_ratio", "1001", "a number from 0.001 to 1000"),
        (budget(Budget::tokens(10, f64::NAN)), "budget.token_ratio", "NaN", "a number from 0.001 to 1000"),
    ];
    for (result, field, given, allowed) in cases {
        let error = result.expect_err(field);
        assert_eq!((error.field(), error.given(), error.allowed()), (field, given, allowed));
    }
    let tokens = || Budget::tokens(10, 1.0);
    for (misplaced, field) in [
        (tokens().reserve_per_second(1), "budget.reserve_per_second"),
        (tokens().window(s(20)), "budget.window"),
        (tokens().clock(ManualClock::new()), "budget.clock"),
    ] {
        let error = budget(misplaced).expect_err("tokens know nothing of it");
        assert_eq!((error.field(), error.given()), (field, "set on a budget of tokens"));
        assert_eq!(error.allowed(), "nothing here: it is for `Budget::ratio`");
    }
    for (result, field) in [
        (b().deadline(s(0)).build(), "deadline"),
        (b().attempt_timeout(s(0)).build(), "attempt_timeout"),
        (b().deadline(s(1)).attempt_timeout(s(0)).build(), "attempt_timeout"),
    ] {
        let error = result.expect_err(field);
        assert_eq!((error.field(), error.given(), error.allowed()), (field, "0ns", "any time above zero"));
    }
}

#[test]
fn the_ends_of_what_is_allowed_are_allowed() {
    let b = RetryConfig::builder;
    for result in [
        b().max_retries(0).build(),
        b().max_retries(u32::MAX).build(),
        b().backoff(backoff::fixed(Duration::ZERO)).build(),
        b().backoff(backoff::fixed(Duration::MAX)).build(),
        b().backoff(backoff::exponential(Duration::ZERO..=Duration::ZERO).factor(1.0)).build(),
        b().backoff(backoff::exponential(secs(1)..=Duration::MAX).jitter(Jitter::proportional(1.0))).build(),
        b().backoff(backoff::decorrelated(secs(1)..=secs(1))).build(),
        b().backoff([]).build(),
        b().retry_after_cap(Duration::ZERO).build(),
        b().budget(Budget::ratio(0.0)).build(),
        b().budget(Budget::ratio(1_000.0).window(secs(86_400)).reserve_per_second(u32::MAX)).build(),
        b().budget(Budget::tokens(1, 0.001)).build(),
        b().budget(Budget::tokens(1_000, 1_000.0)).build(),
    ] {
        result.expect("at the very end, but allowed");
    }
    assert!(b().deadline(Duration::from_nanos(1)).attempt_timeout(Duration::MAX).build().is_ok());
}

#[test]
fn the_last_setting_holds() {
    let wrong = backoff::exponential(secs(2)..=secs(1));
    let config = RetryConfig::builder().backoff(wrong).backoff([ms(1)]).backoff(backoff::fixed(ms(2))).build();
    assert_eq!(config.expect("the wrong one was replaced").to_string(), "3 retries, fixed 2ms");
    let config = RetryConfig::builder().backoff(backoff::fixed(ms(2))).backoff([ms(1)]).max_retries(9).max_retries(1);
    assert_eq!(config.build().expect("it works").to_string(), "1 retry, backoff of its own");
    assert!(RetryConfig::builder().backoff([ms(1)]).backoff(wrong).build().is_err());
}

/// A backoff that is never right.
struct Broken;

impl Backoff for Broken {
    fn delays(&self, _seed: u64) -> backoff::Delays {
        backoff::Delays::new(std::iter::empty())
    }

    fn check(&self) -> Result<(), ConfigError> {
        Err(ConfigError::new("ladder", &3, "at least 5"))
    }
}

#[test]
fn a_backoff_of_ones_own_is_checked_too() {
    let error = RetryConfig::builder().backoff(Broken).build().expect_err("checked");
    assert_eq!(error.to_string(), "`ladder` is 3, allowed is at least 5");
}

#[test]
fn the_documented_defaults_are_the_real_ones() {
    let (default, built) = (RetryConfig::default(), RetryConfig::builder().build().expect("the defaults work"));
    assert_eq!(default.to_string(), "3 retries, exponential 100ms..=10s, full jitter");
    assert_eq!(format!("{default:?}"), format!("{built:?}"));
    let debug = format!("{default:?}");
    for part in ["retry_after_cap: 300s", "when_rejected: Return", "budget: None", "timeouts: Untimed", "listeners: 0"]
    {
        assert!(debug.contains(part), "{debug}");
    }
}

#[test]
fn a_configuration_says_all_that_it_does() {
    let config = RetryConfig::builder()
        .max_retries(5)
        .backoff(backoff::exponential(ms(50)..=secs(2)).factor(1.5).jitter(Jitter::Equal))
        .budget(Budget::ratio(0.2).reserve_per_second(10))
        .attempt_timeout(secs(2))
        .deadline(secs(10))
        .on_retry(|_| {})
        .on_event(|_| {})
        .build()
        .expect("it works");
    assert_eq!(
        config.to_string(),
        "5 retries, exponential 50ms..=2s x1.5, equal jitter, budget 0.2 of requests + 10/s, 2s an attempt, 10s in all",
    );
    assert!(format!("{config:?}").contains("listeners: 2"), "{config:?}");
    let map = RetryLayer::new(config).map_timeout(|_| Down);
    assert!(map.to_string().ends_with("10s in all)"), "{map}");
    assert!(format!("{map:?}").contains("MapTimeout(Timed"), "{map:?}");
    let builder = RetryConfig::builder().backoff(backoff::decorrelated(secs(1)..=secs(9)));
    assert!(format!("{builder:?}").contains("decorrelated 1s..=9s"), "{builder:?}");
}

#[test]
fn a_builder_can_be_used_for_several_configurations() {
    let builder = at_once().max_retries(1);
    assert_eq!(retry(builder.clone()).call_blocking(failing_blocking()), Err(Attempt(2)));
    assert_eq!(retry(builder.max_retries(2)).call_blocking(failing_blocking()), Err(Attempt(3)));
}

/// The few that a program has are kept; what is beyond that is counted.
#[test]
fn each_of_many_configurations_is_its_own() {
    let layers: Vec<_> = (0..600).map(|retries| retry(at_once().max_retries(retries))).collect();
    for (attempts, layer) in (1..).zip(&layers) {
        let stub = Stub::new(Answer::Err);
        let mut service = layer.layer(stub.clone());
        let response = service.ready().now_or_never().expect("ready").expect("ready").call(1);
        assert_eq!(response.now_or_never(), Some(Err(Down)));
        assert_eq!(stub.calls(), attempts);
    }
    let told: Vec<_> = [7, 599].map(|n: u32| at_once().max_retries(n).build().expect("legal").to_string()).into();
    assert_eq!(told, ["7 retries, no wait", "599 retries, no wait"]);
}

#[test]
fn a_call_keeps_what_it_needs_of_a_configuration_that_is_gone() {
    let plain = at_once().max_retries(2);
    let own = plain.clone().backoff([Duration::ZERO; 2]);
    for builder in [plain, own] {
        let stub = Stub::new(Answer::Err);
        let mut service = retry(builder).layer(stub.clone());
        let response = service.ready().now_or_never().expect("ready").expect("ready").call(1);
        drop(service);
        assert_eq!(response.now_or_never(), Some(Err(Down)));
        assert_eq!(stub.calls(), 3);
    }
}

/// Waits not at all, and holds something meanwhile.
#[derive(Clone, Debug)]
struct Holding(Arc<()>);

impl Backoff for Holding {
    fn delays(&self, _seed: u64) -> backoff::Delays {
        let held = self.0.clone();
        backoff::Delays::new(std::iter::from_fn(move || {
            let _held = &held;
            Some(Duration::ZERO)
        }))
    }
}

#[test]
fn what_a_backoff_of_its_own_holds_goes_with_the_call() {
    let held = Arc::new(());
    let layer = retry(RetryConfig::builder().backoff(Holding(held.clone())));
    let idle = Arc::strong_count(&held);
    let mut ended = layer.layer(Stub::new(Answer::Err));
    let response = ended.ready().now_or_never().expect("ready").expect("ready").call(1);
    assert_eq!(response.now_or_never(), Some(Err(Down)));
    assert_eq!(Arc::strong_count(&held), idle, "at its end");

    let mut service = layer.layer(Stub::in_turn([Answer::Err, Answer::Hang]));
    let mut response = Box::pin(service.ready().now_or_never().expect("ready").expect("ready").call(1));
    assert!(poll_once(response.as_mut()).is_pending());
    assert_eq!(Arc::strong_count(&held), idle + 1, "while it goes on");
    drop((response, service, ended, layer));
    assert_eq!(Arc::strong_count(&held), 1, "dropped, and the configuration too");
}
