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

/// A caller that makes no call while `is_open` says yes waits for ever; with `would_admit` the circuit closes.
#[test]
fn a_loop_that_asks_before_each_call_recovers() {
    type Ask = fn(&CircuitBreaker) -> bool;
    let closes = |ask: Ask| {
        let (breaker, clock) = breaker(|b| b.cooldown(secs(30)));
        breaker.trip().expect("no override stands");
        (0..600).any(|_| {
            clock.advance(secs(1));
            if ask(&breaker) {
                breaker.acquire().expect("what was asked for a moment before").success();
            }
            breaker.state() == State::Closed
        })
    };
    assert!(closes(CircuitBreaker::would_admit));
    assert!(!closes(|breaker| !breaker.is_open()), "or its documentation is wrong");
}

#[test]
fn a_probe_that_hangs_is_noticed_by_a_caller_who_asks_before_each_call() {
    let (breaker, clock) = breaker(|b| b.cooldown(secs(10)).probes(Probes::one().deadline(secs(5))));
    let hung = first_probe(&breaker, &clock);
    let mut admitted = Vec::new();
    for second in 0..60 {
        if breaker.would_admit() {
            admitted.push(second);
            breaker.acquire().expect("what was asked for a moment before").success();
            break;
        }
        clock.advance(secs(1));
    }
    assert_eq!(admitted, [15], "five until its deadline, and a cooldown");
    assert_eq!(breaker.state(), State::Closed);
    drop(hung);
}

#[test]
fn asking_takes_no_place_and_tells_no_listener() {
    let told = Record::default();
    let (breaker, clock) = breaker(|b| {
        let told = told.clone();
        b.on_event(move |event: &Event| told.add(event.to_string()))
    });
    let ask_often = |expected: bool| (0..100).for_each(|_| assert_eq!(breaker.would_admit(), expected));
    ask_often(true);
    breaker.trip().expect("no override stands");
    told.take();
    ask_often(false);
    clock.advance(secs(30));
    ask_often(true);
    let generation = breaker.snapshot().generation;
    assert_eq!(told.take(), [""; 0], "no rejection, and no change of state");
    let probe = breaker.acquire().expect("the cooldown is over");
    assert!(probe.is_probe() && probe.generation() > generation);
    ask_often(false);
    probe.success();
    ask_often(true);
}

#[test]
fn under_an_override_the_answer_is_the_operators() {
    let (breaker, clock) = breaker(|b| b);
    for (order, admits) in
        [(Override::force_open("x"), false), (Override::disable("x"), true), (Override::dry_run("x"), true)]
    {
        breaker.trip().expect("no override stands");
        breaker.set_override(order.clone().expires_after(secs(10)));
        assert_eq!(breaker.would_admit(), admits, "{order}");
        clock.advance(secs(10));
        assert!(breaker.would_admit(), "{order} is over");
    }
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
