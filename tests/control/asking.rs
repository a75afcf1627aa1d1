//! What an asker is told.

use super::*;

// Asking

#[test]
fn a_rejection_says_which_breaker_which_state_why_and_when_to_come_back() {
    let (breaker, clock) = breaker(|b| b.detector(detect::failures(2).within(secs(60))));
    fail(&breaker, 2);
    clock.advance(ms(12_500));
    let rejected = breaker.acquire().expect_err("open");
    assert_eq!(&*rejected.name(), "test");
    assert_eq!((rejected.state(), rejected.reason()), (State::Open, RejectReason::Open));
    assert_eq!(rejected.retry_after(), Some(ms(17_500)));
    assert_eq!(rejected.to_string(), "circuit breaker `test` is open (2 failures), retry in 17.5s");
    let _probe = first_probe_again(&breaker, &clock);
    let rejected = breaker.acquire().expect_err("one probe at a time");
    assert_eq!((rejected.state(), rejected.reason()), (State::HalfOpen, RejectReason::ProbesBusy));
    assert_eq!(rejected.to_string(), "circuit breaker `test` is half-open and its probes are on their way");
}

#[test]
fn a_rejection_that_outlives_its_breaker_tells_nothing_of_another() {
    let (old, _clock) = breaker(|b| b);
    old.trip().expect("no override stands");
    let rejected = old.acquire().expect_err("open");
    drop(old);
    assert_eq!(&*rejected.name(), "test", "for a while");
    let others = support::reuse_places();
    others.iter().for_each(|breaker| breaker.set_override(Override::force_open("another's secret")));
    assert_eq!(&*rejected.name(), "(dropped)");
    let wait = rejected.retry_after();
    assert!(wait.is_none_or(|wait| wait <= secs(30)), "{wait:?} by the clock of another breaker");
    assert!(!rejected.to_string().contains("secret"), "{rejected}");
}

#[test]
fn state_never_changes_by_time_alone() {
    let (breaker, clock) = breaker(|b| b);
    breaker.trip().expect("no override stands");
    clock.advance(secs(3_600));
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.snapshot().state, State::Open);
    assert_eq!(breaker.retry_after(), Some(Duration::ZERO));
    let probe = breaker.acquire().expect("the cooldown is over");
    assert!(probe.is_probe());
    assert_eq!(breaker.state(), State::HalfOpen);
    probe.success();
}

#[test]
fn a_wrapped_function_goes_through_its_breaker_in_both_worlds() {
    let (breaker, _clock) = tripping_at(1);
    let guarded = breaker.wrap(|n: u32| -> Result<u32, String> { n.checked_sub(1).ok_or("zero".into()) });
    assert_eq!(guarded.call_blocking(3).expect("fine"), 2);
    assert_eq!(guarded.call_blocking(0).expect_err("zero").into_inner().as_deref(), Some("zero"));
    assert!(guarded.call_blocking(3).expect_err("open").rejected().is_some());
    assert!(guarded.breaker().is_open());
    breaker.reset().expect("no override stands");
    let later = breaker.wrap(|n: u32| async move { n.checked_sub(1).ok_or("zero") });
    assert_eq!(later.call(3).now_or_never().expect("at once").expect("fine"), 2);
    assert!(later.call(0).now_or_never().expect("at once").is_err());
    assert!(breaker.is_open());
    assert_eq!((later.get_ref())(1).now_or_never(), Some(Ok(0)), "the function itself is still there");
}

#[test]
fn a_fallback_answers_rejections_and_leaves_errors_alone() {
    let (breaker, _clock) = tripping_at(1);
    let price = |result: Result<u32, &'static str>| {
        let breaker = breaker.clone();
        async move {
            breaker
                .call_or(
                    || async { result },
                    |rejected| async move { Ok(if &*rejected.name() == "test" { 10 } else { 0 }) },
                )
                .await
        }
    };
    assert_eq!(price(Ok(12)).now_or_never(), Some(Ok(12)));
    assert_eq!(price(Err("down")).now_or_never(), Some(Err("down")));
    assert_eq!(price(Ok(12)).now_or_never(), Some(Ok(10)), "open");
}

#[test]
fn a_default_configuration_works_without_a_name_of_its_own() {
    assert_eq!(CircuitBreakerConfig::new("").name(), "unnamed");
}

#[test]
fn a_reset_is_the_reason_of_a_state_also_where_there_was_no_trouble() {
    let (breaker, _clock) = breaker(|b| b);
    breaker.reset().expect("no override stands");
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::Reset));
}

#[test]
fn a_name_cannot_begin_a_new_line_in_a_log() {
    let name = "tenant\n2026-11-21 all is well";
    let breaker = CircuitBreaker::new(CircuitBreakerConfig::new(name));
    let mut events = breaker.events();
    breaker.trip().expect("no override stands");
    let event = events.next().now_or_never().flatten().expect("an event");
    let rejected = breaker.acquire().expect_err("open");
    for line in [event.to_string(), rejected.to_string(), breaker.snapshot().to_string()] {
        assert!(line.contains(r"tenant\n2026") && !line.contains('\n'), "{line}");
    }
    assert_eq!(&*rejected.name(), name, "the name itself stays what it is");
}
