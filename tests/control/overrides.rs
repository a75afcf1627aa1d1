//! Force open, disable, dry run.

use super::*;

// Overrides

#[test]
fn forced_open_rejects_every_call_until_somebody_resumes() {
    let (breaker, clock) = tripping_at(1);
    breaker.set_override(Override::force_open("deploy 42").by("ana"));
    let rejected = breaker.acquire().expect_err("forced open");
    assert_eq!(rejected.reason(), RejectReason::ForcedOpen);
    assert_eq!(rejected.retry_after(), None);
    assert_eq!(rejected.to_string(), "circuit breaker `test` is forced open (forced open: deploy 42 (by ana))");
    clock.advance(secs(1_000_000));
    assert!(breaker.acquire().is_err(), "no cooldown ends it");
    assert!(breaker.is_open());
    breaker.resume();
    assert_eq!(breaker.state(), State::Closed);
    succeed(&breaker, 1);
}

#[test]
fn forced_open_with_an_expiry_says_when_to_come_back() {
    let (breaker, clock) = tripping_at(1);
    breaker.set_override(Override::force_open("deploy 42").expires_after(secs(600)));
    clock.advance(secs(100));
    assert_eq!(breaker.acquire().expect_err("forced open").retry_after(), Some(secs(500)));
    assert_eq!(breaker.retry_after(), Some(secs(500)));
    assert_eq!(breaker.snapshot().retry_after, Some(secs(500)));
}

#[test]
fn disabled_lets_every_call_through_and_records_nothing() {
    let (breaker, _clock) =
        breaker(|b| b.detector(detect::consecutive_failures(2)).execution_log(10).cooldown(secs(30)));
    fail(&breaker, 1);
    breaker.set_override(Override::disable("known flaky"));
    fail(&breaker, 50);
    succeed(&breaker, 1);
    let seen = breaker.snapshot();
    assert_eq!(seen.state, State::Closed);
    assert_eq!(seen.detectors[0].tally.count(), 0);
    assert_eq!(seen.recent.to_string(), "F", "the log keeps what was before, and nothing is added");
    breaker.resume();
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed, "the window was empty");
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn disabled_lets_calls_through_an_open_circuit() {
    let (breaker, _clock) = tripping_at(1);
    fail(&breaker, 1);
    breaker.set_override(Override::disable("we need it"));
    assert_eq!(breaker.state(), State::Closed);
    succeed(&breaker, 1);
}

#[test]
fn a_dry_run_admits_records_and_reports_that_it_would_have_opened() {
    let (breaker, _clock, events) = recorded(|b| b.detector(detect::failures(2).of_last(4)));
    breaker.set_override(Override::dry_run("new limits"));
    events.take();
    succeed(&breaker, 1);
    fail(&breaker, 1);
    assert_eq!(failures(&breaker), 1, "it records");
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(failures(&breaker), 0, "the next report needs evidence of its own");
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed);
    let would: Vec<_> = lines(&events).into_iter().filter(|line| line.contains("would")).collect();
    assert_eq!(
        would,
        [
            "test: would have opened (2 failures in 3 calls); dry run",
            "test: would have opened (2 failures in 2 calls); dry run"
        ]
    );
}

#[test]
fn overrides_show_kind_reason_and_actor() {
    let (breaker, _clock) = tripping_at(1);
    let orders = [
        (Override::force_open("a").by("ana"), OverrideKind::ForcedOpen, "forced open: a (by ana)"),
        (Override::disable("b").by("bo"), OverrideKind::Disabled, "disabled: b (by bo)"),
        (Override::dry_run("c"), OverrideKind::DryRun, "dry run: c"),
    ];
    for (order, kind, text) in orders {
        breaker.set_override(order.clone());
        let seen = breaker.snapshot();
        let standing = seen.overridden.as_ref().expect("an override stands");
        assert_eq!(*standing, order, "the newest replaces the one before");
        assert_eq!(standing.kind(), kind);
        assert!(seen.to_string().contains(text), "{seen}");
    }
    breaker.resume();
    assert_eq!(breaker.snapshot().overridden, None);
}

#[test]
fn commands_are_refused_while_an_override_stands_and_the_error_says_which() {
    let (breaker, clock) = tripping_at(1);
    let orders = [
        (Override::force_open("deploy 42").by("ana"), "forced open: deploy 42 (by ana)"),
        (Override::disable("flaky").expires_after(secs(60)), "disabled: flaky"),
        (Override::dry_run("new limits"), "dry run: new limits"),
    ];
    for (order, text) in orders {
        breaker.set_override(order);
        let before = breaker.snapshot().generation;
        for refused in [breaker.trip(), breaker.reset()] {
            let error = refused.expect_err("an override stands").to_string();
            assert_eq!(error, format!("circuit breaker `test` is overridden ({text}): resume it first"));
        }
        assert_eq!(breaker.snapshot().generation, before);
    }
    breaker.set_override(Override::disable("short").expires_after(secs(1)));
    clock.advance(secs(1));
    breaker.trip().expect("it expired");
    assert!(breaker.is_open());
}

#[test]
fn an_override_expires_at_the_next_acquire_and_at_every_kind_of_look() {
    type Look = fn(&CircuitBreaker);
    let looks: [(&str, Look); 6] = [
        ("acquire", |b| succeed(b, 1)),
        ("state", |b| assert_eq!(b.state(), State::Closed)),
        ("is_open", |b| assert!(!b.is_open())),
        ("snapshot", |b| {
            let seen = b.snapshot();
            assert_eq!((seen.state, seen.overridden, seen.retry_after), (State::Closed, None, None));
        }),
        ("retry_after", |b| assert_eq!(b.retry_after(), None)),
        ("reset", |b| b.reset().expect("it expired")),
    ];
    for (name, look) in looks {
        for order in [Override::force_open("x"), Override::disable("x"), Override::dry_run("x")] {
            let (breaker, clock, events) = recorded(|b| b.detector(detect::consecutive_failures(2)));
            let kind = order.kind();
            breaker.set_override(order.expires_after(secs(10)));
            clock.advance(just_under(secs(10)));
            assert_eq!(breaker.snapshot().overridden.map(|o| o.kind()), Some(kind), "{name}: not yet");
            assert_eq!(breaker.acquire().is_err(), kind == OverrideKind::ForcedOpen);
            events.take();
            clock.advance(ms(1));
            look(&breaker);
            let lines = lines(&events);
            assert!(
                lines.first().is_some_and(|line| line.ends_with("(override expired)")),
                "{name}, {kind}: {lines:?}"
            );
            fail(&breaker, 2);
            assert_eq!(breaker.state(), State::Open, "{name}, {kind}: it judges again");
        }
    }
}

#[test]
fn calls_from_before_and_during_an_override_are_history_after_it() {
    let (breaker, _clock) = tripping_at(1);
    let before = breaker.acquire().expect("closed");
    breaker.set_override(Override::dry_run("x"));
    before.failure();
    let during = breaker.acquire().expect("a dry run admits");
    breaker.resume();
    during.failure();
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(failures(&breaker), 0);
}

#[test]
fn resume_without_an_override_changes_nothing() {
    let (breaker, _clock) = tripping_at(2);
    fail(&breaker, 1);
    let before = breaker.snapshot();
    breaker.resume();
    assert_eq!(breaker.snapshot().generation, before.generation);
    assert_eq!(failures(&breaker), 1);
    breaker.trip().expect("no override stands");
    breaker.resume();
    assert!(breaker.is_open());
}

#[test]
fn an_override_during_half_open_frees_its_probes_and_ends_in_closed() {
    let (breaker, clock) = tripping_at(1);
    let probe = first_probe(&breaker, &clock);
    breaker.set_override(Override::disable("x"));
    probe.failure();
    breaker.resume();
    assert_eq!(breaker.state(), State::Closed);
    let second = first_probe(&breaker, &clock);
    second.success();
    assert_eq!(breaker.state(), State::Closed);
}

// From the start

#[test]
fn a_breaker_may_be_held_from_the_start_and_tells_so() {
    let order = Override::force_open("migration").by("ana").expires_after(secs(60));
    let (breaker, clock, events) = recorded(|b| b.initial_override(order));
    assert_eq!(lines(&events), ["test: closed -> open (overridden by an operator)"]);
    assert_eq!(breaker.acquire().expect_err("forced open").reason(), RejectReason::ForcedOpen);
    assert_eq!(breaker.retry_after(), Some(secs(60)));
    clock.advance(secs(60));
    succeed(&breaker, 1);
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::OverrideExpired));
    breaker.set_override(Override::disable("load test"));
    breaker.resume();
    fail(&breaker, 5);
    assert_eq!(breaker.state(), State::Open, "and then it is like any other");
}

#[test]
fn a_breaker_held_from_the_start_is_let_go_by_an_operator() {
    let (breaker, _clock) =
        breaker(|b| b.detector(detect::consecutive_failures(1)).initial_override(Override::disable("x")));
    fail(&breaker, 10);
    breaker.resume();
    assert_eq!((breaker.state(), failures(&breaker)), (State::Closed, 0));
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

/// The listener asks the registry for another breaker while it hears that this one is held.
#[test]
fn a_registry_tells_of_a_held_breaker_outside_its_lock() {
    use std::sync::OnceLock;

    use fusebox::Registry;

    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    let told = Record::default();
    let list = told.clone();
    let template = CircuitBreakerConfig::template()
        .initial_override(Override::dry_run("new limits"))
        .on_event(move |event| {
            list.add(event.to_string());
            if let Some(registry) = REGISTRY.get() {
                (0..100).for_each(|n| drop(registry.get(&n.to_string())));
            }
        })
        .build()
        .expect("it works");
    let registry = REGISTRY.get_or_init(|| Registry::of(template));
    no_deadlock(|| drop(registry.breaker("a").expect("it works")));
    assert_eq!(told.take(), ["a: closed (overridden by an operator)"]);
}
