//! What operators, listeners and settings do to a breaker.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use fusebox::{
    Call, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, Combined, Cooldown, Detector, Event,
    EventKind, Events, LoadError, ManualClock, Outcome, Override, OverrideKind, PartTally, Probes, RejectReason, State,
    Tally, Timestamp, TransitionReason, detect,
};
use futures::{FutureExt, StreamExt};
use support::{
    Record, breaker, config, fail, failures, first_probe, just_under, ms, no_deadlock, report, secs, succeed,
    tripping_at,
};

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

/// A breaker that writes its events into a list.
fn recorded(
    f: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
) -> (CircuitBreaker, ManualClock, Record<Event>) {
    let events = Record::default();
    let list = events.clone();
    let (breaker, clock) = breaker(|builder| f(builder).on_event(move |event| list.add(event.clone())));
    (breaker, clock, events)
}

fn lines(events: &Record<Event>) -> Vec<String> {
    events.take().iter().map(ToString::to_string).collect()
}

/// The events that wait in the stream.
fn waiting(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).collect()
}

// Commands

#[test]
fn trip_opens_a_healthy_circuit_and_recovery_goes_on_by_itself() {
    let (breaker, clock, events) = recorded(|b| b);
    succeed(&breaker, 3);
    breaker.trip().expect("no override stands");
    assert!(breaker.is_open());
    assert_eq!(breaker.acquire().expect_err("open").reason(), RejectReason::Open);
    clock.advance(secs(30));
    breaker.acquire().expect("the cooldown is over").success();
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(
        lines(&events),
        [
            "test: closed -> open (tripped by command)",
            "test: open -> half-open (the cooldown is over)",
            "test: probe ended: Success",
            "test: half-open -> closed (probes succeeded)",
        ]
    );
}

#[test]
fn trip_while_open_neither_prolongs_the_cooldown_nor_begins_a_generation() {
    let (breaker, clock) = breaker(|b| b);
    breaker.trip().expect("no override stands");
    let before = breaker.snapshot();
    clock.advance(secs(10));
    breaker.trip().expect("no override stands");
    let after = breaker.snapshot();
    assert_eq!(after.generation, before.generation);
    assert_eq!(after.retry_after, Some(secs(20)));
}

#[test]
fn trip_while_half_open_opens_for_a_whole_cooldown_and_the_probe_decides_nothing() {
    let (breaker, clock) = breaker(|b| b);
    let probe = first_probe(&breaker, &clock);
    breaker.trip().expect("no override stands");
    assert_eq!(breaker.retry_after(), Some(secs(30)));
    probe.success();
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn reset_closes_an_open_and_a_half_open_circuit() {
    let (breaker, clock) = breaker(|b| b);
    breaker.trip().expect("no override stands");
    breaker.reset().expect("no override stands");
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.retry_after(), None);

    let probe = first_probe(&breaker, &clock);
    breaker.reset().expect("no override stands");
    assert_eq!(breaker.state(), State::Closed);
    probe.failure();
    assert_eq!(breaker.state(), State::Closed, "the probe is of an earlier generation");
    assert_eq!(failures(&breaker), 0);
}

#[test]
fn reset_in_closed_forgets_the_window_and_is_an_event_but_no_change_of_state() {
    let changes = Record::default();
    let list = changes.clone();
    let (breaker, _clock, events) = recorded(|b| {
        b.detector(detect::consecutive_failures(3)).on_state_change(move |_, from, to| list.add((from, to)))
    });
    fail(&breaker, 2);
    let before = breaker.snapshot().generation;
    events.take();
    breaker.reset().expect("no override stands");
    assert!(breaker.snapshot().generation > before);
    assert_eq!(lines(&events), ["test: closed (reset by command)"]);
    assert!(changes.take().is_empty());
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed, "two of the four were forgotten");
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn reset_forgets_the_growth_of_the_cooldown() {
    let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(5)..=secs(300)).jitter(0.0)));
    first_probe(&breaker, &clock).failure();
    assert_eq!(breaker.retry_after(), Some(secs(10)));
    breaker.reset().expect("no override stands");
    breaker.trip().expect("no override stands");
    assert_eq!(breaker.retry_after(), Some(secs(5)));
}

// Overrides

#[test]
fn forced_open_rejects_every_call_until_somebody_resumes() {
    let (breaker, clock) = tripping_at(1);
    breaker.set_override(Override::force_open("deploy 42").actor("ana"));
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
    breaker.set_override(Override::force_open("deploy 42").expires_in(secs(600)));
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
        (Override::force_open("a").actor("ana"), OverrideKind::ForcedOpen, "forced open: a (by ana)"),
        (Override::disable("b").actor("bo"), OverrideKind::Disabled, "disabled: b (by bo)"),
        (Override::dry_run("c"), OverrideKind::DryRun, "dry run: c"),
    ];
    for (order, kind, text) in orders {
        breaker.set_override(order.clone());
        let seen = breaker.snapshot();
        assert_eq!(seen.overridden.as_ref(), Some(&order), "the newest replaces the one before");
        assert_eq!(seen.overridden.as_ref().map(Override::kind), Some(kind));
        assert!(seen.to_string().contains(text), "{seen}");
    }
    breaker.resume();
    assert_eq!(breaker.snapshot().overridden, None);
}

#[test]
fn commands_are_refused_while_an_override_stands_and_the_error_says_which() {
    let (breaker, clock) = tripping_at(1);
    let orders = [
        (Override::force_open("deploy 42").actor("ana"), "forced open: deploy 42 (by ana)"),
        (Override::disable("flaky").expires_in(secs(60)), "disabled: flaky"),
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
    breaker.set_override(Override::disable("short").expires_in(secs(1)));
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
            breaker.set_override(order.expires_in(secs(10)));
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

// Generations and events

#[test]
fn every_transition_begins_a_new_generation() {
    let (breaker, clock, events) = recorded(|b| b.detector(detect::consecutive_failures(1)));
    fail(&breaker, 1);
    clock.advance(secs(30));
    fail(&breaker, 1);
    clock.advance(secs(30));
    succeed(&breaker, 1);
    breaker.reset().expect("no override stands");
    breaker.trip().expect("no override stands");
    breaker.set_override(Override::force_open("x"));
    breaker.set_override(Override::force_open("y"));
    breaker.resume();
    let changes: Vec<_> =
        events.take().into_iter().filter(|e| matches!(e.kind(), EventKind::StateChanged { .. })).collect();
    let numbers: Vec<_> = changes.iter().map(|event| event.generation().get()).collect();
    let first = numbers[0];
    assert_eq!(numbers, (first..first + 10).collect::<Vec<_>>());
    assert_eq!(breaker.snapshot().generation, changes[9].generation());
    assert_eq!(breaker.acquire().expect("closed").generation(), changes[9].generation());
}

#[test]
fn events_tell_name_reason_counts_and_time_in_order() {
    let (breaker, clock, events) = recorded(|b| b.detector(detect::failures(2).of_last(3)));
    succeed(&breaker, 1);
    clock.advance(secs(1));
    fail(&breaker, 2);
    let events = events.take();
    assert!(events.iter().all(|event| event.breaker() == "test"));
    assert!(events.iter().all(|event| event.at() == Timestamp::ZERO + secs(100_001)));
    let text: Vec<_> = events.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        ["test: call ended: Failure", "test: call ended: Failure", "test: closed -> open (2 failures in 3 calls)",]
    );
    match events[2].kind() {
        EventKind::StateChanged { from, to, reason, .. } => {
            assert_eq!((from, to), (State::Closed, State::Open));
            assert_eq!(reason, TransitionReason::Detected(Tally::failures(2).of(3)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_listener_that_trips_and_resets_sees_its_own_changes_afterwards_in_order() {
    no_deadlock(|| {
        let (first, second) = (Record::default(), Record::default());
        let (one, other) = (first.clone(), second.clone());
        let (breaker, _clock) = breaker(|b| {
            b.detector(detect::consecutive_failures(1))
                .on_state_change(move |breaker, from, to| {
                    one.add((from, to));
                    assert_eq!(breaker.snapshot().name.as_ref(), "test");
                    match to {
                        State::Open => breaker.reset().expect("no override stands"),
                        State::Closed => breaker.acquire().expect("closed").success(),
                        State::HalfOpen => panic!("nobody waits that long"),
                    }
                })
                .on_state_change(move |_, from, to| other.add((from, to)))
        });
        fail(&breaker, 1);
        let both = [(State::Closed, State::Open), (State::Open, State::Closed)];
        assert_eq!(first.take(), both);
        assert_eq!(second.take(), both, "the second listener hears the first change first");
        assert_eq!(breaker.state(), State::Closed);
    });
}

#[test]
fn a_listener_may_trip_from_within_a_trip() {
    no_deadlock(|| {
        let seen = Record::default();
        let list = seen.clone();
        let (breaker, clock) = breaker(|b| {
            b.on_event(move |event| list.add(event.to_string())).on_state_change(|breaker, _, to| {
                if to == State::HalfOpen {
                    breaker.trip().expect("no override stands");
                }
            })
        });
        breaker.trip().expect("no override stands");
        clock.advance(secs(30));
        let probe = breaker.acquire().expect("the cooldown is over");
        assert_eq!(breaker.state(), State::Open, "the listener did that before `acquire` came back");
        probe.success();
        assert_eq!(breaker.state(), State::Open);
        assert_eq!(
            seen.take(),
            [
                "test: closed -> open (tripped by command)",
                "test: open -> half-open (the cooldown is over)",
                "test: half-open -> open (tripped by command)",
            ]
        );
    });
}

#[test]
fn two_threads_that_trip_and_reset_are_heard_in_the_order_of_generations() {
    let seen = Record::default();
    let list = seen.clone();
    let (breaker, _clock) = breaker(|b| {
        b.on_event(move |event| {
            if let EventKind::StateChanged { from, to, .. } = event.kind() {
                list.add((event.generation().get(), from, to));
            }
        })
    });
    let barrier = Arc::new(Barrier::new(2));
    thread::scope(|scope| {
        for _ in 0..2 {
            let (breaker, barrier) = (breaker.clone(), barrier.clone());
            scope.spawn(move || {
                barrier.wait();
                for _ in 0..500 {
                    breaker.trip().expect("no override stands");
                    breaker.reset().expect("no override stands");
                }
            });
        }
    });
    let seen = seen.take();
    assert!(seen.len() >= 1_001, "every reset, and at least the first trip");
    for pair in seen.windows(2) {
        assert_eq!(pair[1].0, pair[0].0 + 1, "none is missing, none comes late");
        assert_eq!(pair[1].1, pair[0].2, "each begins where the one before ended");
    }
    assert_eq!(breaker.snapshot().generation.get(), seen.last().expect("not empty").0);
}

#[test]
fn the_event_stream_keeps_the_newest_and_says_how_many_it_dropped() {
    let (breaker, _clock) = breaker(|b| b);
    let mut events = breaker.events();
    assert!(waiting(&mut events).is_empty());
    for _ in 0..1_500 {
        breaker.reset().expect("no override stands");
    }
    assert_eq!(events.dropped(), 1_500 - 1_024);
    let read = waiting(&mut events);
    assert_eq!(read.len(), 1_024);
    assert_eq!(read.last().expect("not empty").generation(), breaker.snapshot().generation);
    breaker.trip().expect("no override stands");
    assert_eq!(waiting(&mut events).len(), 1);
    assert_eq!(events.dropped(), 1_500 - 1_024, "a reader that has caught up loses nothing");
}

#[test]
fn every_stream_gets_every_event_and_wakes_its_reader() {
    let (breaker, _clock) = breaker(|b| b);
    let (mut one, mut other) = (breaker.events(), breaker.events());
    let mut reader = tokio_test::task::spawn(async move { one.next().await });
    assert!(reader.poll().is_pending());
    breaker.trip().expect("no override stands");
    assert!(reader.is_woken());
    assert!(reader.poll().is_ready());
    assert_eq!(waiting(&mut other).len(), 1);
}

#[test]
fn call_events_tell_of_every_call_and_rejection() {
    let (breaker, _clock, events) = recorded(|b| b.detector(detect::consecutive_failures(1)).call_events(true));
    succeed(&breaker, 1);
    report(&breaker, 1, Outcome::Ignored);
    drop(breaker.acquire().expect("closed"));
    report(&breaker, 1, Outcome::FailureAfter(secs(60)));
    assert!(breaker.acquire().is_err());
    assert_eq!(
        lines(&events),
        [
            "test: call ended: Success",
            "test: call ended: Ignored",
            "test: call ended: Cancelled",
            "test: call ended: FailureAfter(60s)",
            "test: closed -> open (1 failure)",
            "test: call rejected (open)",
        ]
    );
}

#[test]
fn without_call_events_only_failures_and_probes_are_told() {
    let (breaker, clock, events) = recorded(|b| b.detector(detect::consecutive_failures(2)));
    succeed(&breaker, 1);
    report(&breaker, 1, Outcome::Ignored);
    drop(breaker.acquire().expect("closed"));
    assert!(events.take().is_empty());
    fail(&breaker, 2);
    assert!(breaker.acquire().is_err());
    assert_eq!(
        lines(&events),
        ["test: call ended: Failure", "test: call ended: Failure", "test: closed -> open (2 failures)"]
    );
    clock.advance(secs(30));
    report(&breaker, 1, Outcome::Ignored);
    assert_eq!(lines(&events), ["test: open -> half-open (the cooldown is over)", "test: probe ended: Ignored"]);
}

#[test]
fn events_tell_how_long_a_call_took_where_durations_are_measured() {
    let (breaker, clock, events) =
        recorded(|b| b.detector(detect::slow_call_rate(1.0).slower_than(secs(9)).of_last(2)).call_events(true));
    let call = breaker.acquire().expect("closed");
    clock.advance(ms(250));
    call.failure();
    let call = breaker.acquire().expect("closed");
    clock.advance(ms(750));
    call.success();
    assert_eq!(lines(&events), ["test: call ended: Failure after 250ms", "test: call ended: Success after 750ms"]);
}

// Panics

#[test]
fn a_panicking_listener_stops_neither_the_breaker_nor_the_other_listeners() {
    let heard = Record::default();
    let (by_event, by_state) = (heard.clone(), heard.clone());
    let (breaker, clock) = breaker(|b| {
        b.detector(detect::consecutive_failures(1))
            .on_event(|_| panic!("listener"))
            .on_state_change(|_, _, _| panic!("listener"))
            .on_event(move |event| {
                if matches!(event.kind(), EventKind::StateChanged { .. }) {
                    by_event.add("event");
                }
            })
            .on_state_change(move |_, _, _| by_state.add("state"))
    });
    let mut events = breaker.events();
    for _ in 0..3 {
        fail(&breaker, 1);
        clock.advance(secs(30));
        succeed(&breaker, 1);
    }
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(heard.take(), ["event", "state"].repeat(9));
    assert_eq!(waiting(&mut events).len(), 9 + 6);
}

#[test]
fn a_panicking_classifier_is_a_failure_and_wedges_nothing() {
    let (breaker, clock) = tripping_at(2);
    let judged = breaker.classify(|_: &Result<u32, &str>| -> Outcome { panic!("classifier") });
    for _ in 0..2 {
        let panicked = catch_unwind(AssertUnwindSafe(|| judged.call_blocking(|| Ok(1)))).is_err();
        assert!(panicked);
    }
    assert_eq!(breaker.state(), State::Open);
    clock.advance(secs(30));
    let panicked = catch_unwind(AssertUnwindSafe(|| judged.call(|| async { Ok(1) }).now_or_never())).is_err();
    assert!(panicked);
    assert_eq!(breaker.state(), State::Open, "as a probe, too");
    clock.advance(secs(30));
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_function_that_panics_in_call_blocking_is_a_failure() {
    let (breaker, clock) = tripping_at(1);
    let call = || breaker.call_blocking(|| -> Result<(), ()> { panic!("inner") });
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    assert_eq!(breaker.state(), State::Open);
    clock.advance(secs(30));
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    assert_eq!(breaker.state(), State::Open);
    clock.advance(secs(30));
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

/// Trips at two failures in a row, and panics in one of its methods.
#[derive(Debug)]
struct Panicking {
    method: &'static str,
    run: u32,
}

impl Panicking {
    fn enter(&self, method: &str) {
        assert!(self.method != method, "detector: {method}");
    }
}

impl Detector for Panicking {
    fn record(&mut self, call: &Call) {
        self.enter("record");
        self.run = if call.failed() { self.run + 1 } else { 0 };
    }

    fn record_successes(&mut self, _count: u64, _at: Timestamp) {
        self.enter("record_successes");
        self.run = 0;
    }

    fn verdict(&self, _now: Timestamp) -> bool {
        self.enter("verdict");
        self.run >= 2
    }

    fn reset(&mut self) {
        self.enter("reset");
        self.run = 0;
    }

    fn tally(&self, _now: Timestamp) -> Tally {
        self.enter("tally");
        Tally::failures(self.run.into())
    }

    fn save(&self) -> Vec<u8> {
        self.enter("save");
        Vec::new()
    }

    fn load(&mut self, _bytes: &[u8]) -> Result<(), LoadError> {
        self.enter("load");
        Ok(())
    }

    fn absorbs_success(&self) -> bool {
        self.enter("absorbs_success");
        false
    }

    fn recent(&self) -> Vec<bool> {
        self.enter("recent");
        Vec::new()
    }

    fn tallies(&self, now: Timestamp, parts: &mut Vec<PartTally>) {
        self.enter("tallies");
        drop(self.tally(now).to_string());
        parts.clear();
    }
}

#[test]
fn a_detector_may_panic_in_any_method_and_the_breaker_goes_on() {
    let methods = [
        "record",
        "record_successes",
        "verdict",
        "reset",
        "tally",
        "save",
        "load",
        "absorbs_success",
        "recent",
        "tallies",
    ];
    for method in methods {
        let (breaker, clock, events) = recorded(|b| b.detector(Panicking { method, run: 0 }));
        for round in 0..2 {
            succeed(&breaker, 100);
            fail(&breaker, 1);
            succeed(&breaker, 100);
            fail(&breaker, 2);
            drop(breaker.snapshot());
            let trips = !["record", "verdict", "tally"].contains(&method);
            assert_eq!(breaker.is_open(), trips, "{method}, round {round}");
            breaker.trip().expect("no override stands");
            clock.advance(secs(30));
            fail(&breaker, 1);
            clock.advance(secs(30));
            succeed(&breaker, 1);
            assert_eq!(breaker.state(), State::Closed, "{method}, round {round}");
        }
        breaker.set_override(Override::dry_run("x"));
        fail(&breaker, 3);
        breaker.resume();
        assert_eq!(breaker.state(), State::Closed, "{method}");
        let told = lines(&events).iter().any(|line| line == "test: the detector panicked and was reset");
        let decides = ["record", "record_successes", "verdict", "reset", "tally"].contains(&method);
        assert_eq!(told, decides, "{method}: a panic that may cost a trip is an event");
    }
}

#[test]
fn a_detector_that_panics_while_the_breaker_is_made_harms_no_other_breaker() {
    #[derive(Debug)]
    struct NoResolution;

    impl Detector for NoResolution {
        fn record(&mut self, _call: &Call) {}

        fn verdict(&self, _now: Timestamp) -> bool {
            false
        }

        fn reset(&mut self) {}

        fn tally(&self, _now: Timestamp) -> Tally {
            Tally::default()
        }

        fn save(&self) -> Vec<u8> {
            Vec::new()
        }

        fn load(&mut self, _bytes: &[u8]) -> Result<(), LoadError> {
            Ok(())
        }

        fn time_resolution(&self) -> Option<Duration> {
            panic!("detector: time_resolution")
        }
    }

    for _ in 0..3 {
        let made = catch_unwind(|| CircuitBreaker::new(config(|b| b.detector(NoResolution))));
        if let Ok(breaker) = made {
            fail(&breaker, 1);
        }
    }
    let (breaker, _clock) = tripping_at(1);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_panicking_cooldown_function_opens_for_thirty_seconds() {
    let (breaker, clock) =
        breaker(|b| b.detector(detect::consecutive_failures(1)).cooldown(Cooldown::with(|_| panic!("cooldown"))));
    fail(&breaker, 1);
    assert_eq!(breaker.retry_after(), Some(secs(30)));
    clock.advance(secs(30));
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

// Detectors

#[test]
fn combined_detectors_trip_on_any_part_or_only_on_all() {
    let (run, share) = (|| detect::consecutive_failures(3), || detect::failure_rate(0.5).of_last(10).min_calls(6));
    let (any, _clock) = breaker(|b| b.detector(run().or(share())));
    let (all, _clock) = breaker(|b| b.detector(run().and(share())));
    fail(&any, 3);
    fail(&all, 3);
    assert_eq!((any.state(), all.state()), (State::Open, State::Closed), "three in a row, but not six calls");
    succeed(&all, 3);
    fail(&all, 2);
    assert_eq!(all.state(), State::Closed, "half of ten, but not three in a row");
    fail(&all, 1);
    assert_eq!(all.state(), State::Open);
    assert_eq!(all.snapshot().detectors.len(), 2, "each part shows its counts");
}

/// Trips at `most` points; a failure scores one more than the one before.
#[derive(Debug)]
struct Escalating {
    points: u32,
    next: u32,
    most: u32,
}

impl Detector for Escalating {
    fn record(&mut self, call: &Call) {
        if call.failed() {
            self.points += self.next;
            self.next += 1;
        }
    }

    fn verdict(&self, _now: Timestamp) -> bool {
        self.points >= self.most
    }

    fn reset(&mut self) {
        (self.points, self.next) = (0, 1);
    }

    fn tally(&self, _now: Timestamp) -> Tally {
        Tally::failures(self.points.into())
    }

    fn save(&self) -> Vec<u8> {
        [self.points.to_le_bytes(), self.next.to_le_bytes()].concat()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let Some((points, Some(next))) = bytes.split_first_chunk().map(|(points, rest)| (points, rest.first_chunk()))
        else {
            return Err(LoadError::new("expected eight bytes"));
        };
        (self.points, self.next) = (u32::from_le_bytes(*points), u32::from_le_bytes(*next));
        Ok(())
    }
}

#[test]
fn a_detector_of_ones_own_decides_and_its_state_comes_back_from_its_bytes() {
    let fresh = || Escalating { points: 0, next: 1, most: 6 };
    let (breaker, clock) = breaker(|b| b.detector(fresh()));
    succeed(&breaker, 100);
    fail(&breaker, 2);
    assert_eq!((breaker.state(), failures(&breaker)), (State::Closed, 3));
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
    clock.advance(secs(30));
    succeed(&breaker, 1);
    assert_eq!(failures(&breaker), 0, "it was reset");

    let pair = || Combined::any(vec![Box::new(fresh()), Box::new(detect::consecutive_failures(9))]);
    let mut there = pair();
    (0..2).for_each(|_| there.record(&Call::failure(Timestamp::ZERO)));
    let mut here = pair();
    here.load(&there.save()).expect("its own bytes");
    assert_eq!(here.save(), there.save());
    here.record(&Call::failure(Timestamp::ZERO));
    assert!(here.verdict(Timestamp::ZERO));
    assert!(here.load(b"something else").is_err());
    assert!(here.verdict(Timestamp::ZERO), "and a refused load changes nothing");
}

// Cooldowns

#[test]
fn a_retry_after_lengthens_the_cooldown_up_to_the_cap() {
    let cases = [
        (None, secs(120), secs(120)),
        (None, secs(10), secs(30)),
        (None, secs(7_200), secs(300)),
        (None, Duration::MAX, secs(300)),
        (Some(secs(60)), secs(120), secs(60)),
        (Some(Duration::ZERO), secs(120), secs(30)),
    ];
    for (cap, asked, expected) in cases {
        let (breaker, clock) = breaker(|b| {
            let b = b.detector(detect::consecutive_failures(1));
            if let Some(cap) = cap { b.retry_after_cap(cap) } else { b }
        });
        report(&breaker, 1, Outcome::FailureAfter(asked));
        assert_eq!(breaker.retry_after(), Some(expected), "cap {cap:?}, asked {asked:?}");
        clock.advance(just_under(expected));
        assert!(breaker.acquire().is_err());
        clock.advance(ms(1));
        report(&breaker, 1, Outcome::FailureAfter(asked));
        assert_eq!(breaker.retry_after(), Some(expected), "a probe's answer does the same");
    }
}

#[test]
fn only_the_failure_that_opens_the_circuit_may_lengthen_its_cooldown() {
    let (breaker, _clock) = tripping_at(2);
    report(&breaker, 1, Outcome::FailureAfter(secs(120)));
    fail(&breaker, 1);
    assert_eq!(breaker.retry_after(), Some(secs(30)));
}

#[test]
fn a_growing_cooldown_doubles_with_each_reopening_up_to_its_cap() {
    let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(5)..=secs(60)).jitter(0.0)));
    breaker.trip().expect("no override stands");
    for (openings, expected) in (1_u32..).zip([5, 10, 20, 40, 60, 60]) {
        assert_eq!(breaker.retry_after(), Some(secs(expected)));
        assert_eq!(breaker.snapshot().openings, openings);
        clock.advance(secs(expected));
        fail(&breaker, 1);
    }
}

#[test]
fn the_factor_of_a_growing_cooldown_can_be_chosen() {
    let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(1)..=secs(60)).factor(3.0).jitter(0.0)));
    breaker.trip().expect("no override stands");
    for expected in [1, 3, 9, 27, 60] {
        assert_eq!(breaker.retry_after(), Some(secs(expected)));
        clock.advance(secs(expected));
        fail(&breaker, 1);
    }
}

#[test]
fn jitter_spreads_a_cooldown_within_ten_percent_and_never_beyond_its_range() {
    let mut second = Vec::new();
    for n in 0..200 {
        let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(100)..=secs(400))));
        clock.advance(secs(n));
        breaker.trip().expect("no override stands");
        let mut cooldowns = Vec::new();
        for _ in 0..4 {
            let wait = breaker.retry_after().expect("open");
            cooldowns.push(wait);
            clock.advance(wait);
            fail(&breaker, 1);
        }
        assert!((secs(100)..=secs(110)).contains(&cooldowns[0]), "{cooldowns:?}");
        assert!((secs(180)..=secs(220)).contains(&cooldowns[1]), "{cooldowns:?}");
        assert!((secs(360)..=secs(400)).contains(&cooldowns[2]), "{cooldowns:?}");
        assert!((secs(360)..=secs(400)).contains(&cooldowns[3]), "{cooldowns:?}");
        second.push(cooldowns[1]);
    }
    assert!(second.iter().any(|d| *d < secs(190)) && second.iter().any(|d| *d > secs(210)), "both ends are used");
    second.sort();
    second.dedup();
    assert!(second.len() > 190, "breakers that opened at different times come back at different times");
}

#[test]
fn growth_outlives_a_short_recovery_and_is_forgotten_after_a_healthy_period() {
    let (breaker, clock) = breaker(|b| b.cooldown(Cooldown::exponential(secs(5)..=secs(300)).jitter(0.0)));
    let recover = || {
        clock.advance(breaker.retry_after().expect("open"));
        succeed(&breaker, 1);
        assert_eq!(breaker.state(), State::Closed);
    };
    for expected in [5, 10, 20] {
        breaker.trip().expect("no override stands");
        assert_eq!(breaker.retry_after(), Some(secs(expected)), "a dependency that flaps");
        recover();
        clock.advance(just_under(secs(300)));
    }
    clock.advance(ms(1));
    breaker.trip().expect("no override stands");
    assert_eq!(breaker.retry_after(), Some(secs(5)));
    assert_eq!(breaker.snapshot().openings, 1);
}

#[test]
fn the_healthy_period_can_be_chosen() {
    let (breaker, clock) =
        breaker(|b| b.cooldown(Cooldown::exponential(secs(5)..=secs(300)).jitter(0.0).healthy_after(secs(10))));
    first_probe(&breaker, &clock).success();
    clock.advance(just_under(secs(10)));
    first_probe(&breaker, &clock).success();
    assert_eq!(breaker.snapshot().openings, 2);
    clock.advance(secs(10));
    breaker.trip().expect("no override stands");
    assert_eq!(breaker.retry_after(), Some(secs(5)));
}

#[test]
fn a_cooldown_function_sees_reopenings_retry_after_and_a_draw() {
    let seen = Record::default();
    let list = seen.clone();
    let (breaker, clock) = breaker(|b| {
        b.detector(detect::consecutive_failures(1)).cooldown(Cooldown::with(move |ctx| {
            list.add((ctx.reopenings(), ctx.retry_after(), ctx.draw()));
            secs(10) * (1 + ctx.reopenings())
        }))
    });
    fail(&breaker, 1);
    assert_eq!(breaker.retry_after(), Some(secs(10)));
    clock.advance(secs(10));
    report(&breaker, 1, Outcome::FailureAfter(secs(15)));
    assert_eq!(breaker.retry_after(), Some(secs(20)));
    let seen = seen.take();
    assert_eq!((seen[0].0, seen[0].1), (0, None));
    assert_eq!((seen[1].0, seen[1].1), (1, Some(secs(15))));
    assert!(seen.iter().all(|(_, _, draw)| (0.0..1.0).contains(draw)));
}

// Logs

#[test]
fn the_execution_log_runs_over_all_states_and_keeps_the_newest() {
    let (breaker, clock) = breaker(|b| b.detector(detect::consecutive_failures(2)).execution_log(5));
    succeed(&breaker, 2);
    report(&breaker, 1, Outcome::Ignored);
    drop(breaker.acquire().expect("closed"));
    fail(&breaker, 2);
    assert_eq!(breaker.snapshot().recent.to_string(), "SSFF");
    clock.advance(secs(30));
    fail(&breaker, 1);
    assert_eq!(breaker.snapshot().recent.to_string(), "SSFFF");
    clock.advance(secs(30));
    succeed(&breaker, 2);
    let recent = breaker.snapshot().recent;
    assert_eq!(recent.to_string(), "FFFSS");
    assert_eq!(recent.iter().next_back(), Some(Outcome::Success));
    assert_eq!((recent.len(), recent.is_empty()), (5, false));
    breaker.reset().expect("no override stands");
    assert!(breaker.snapshot().recent.is_empty(), "reset forgets every outcome");
}

#[test]
fn the_execution_log_counts_healthy_calls_exactly() {
    let (breaker, _clock) = breaker(|b| b.execution_log(1_000));
    for n in 1..=300 {
        succeed(&breaker, 1);
        if n % 100 == 0 {
            assert_eq!(breaker.snapshot().recent.len(), n);
        }
    }
}

#[test]
fn a_probe_that_expired_is_in_the_execution_log_like_any_other_failed_one() {
    let (breaker, clock) = breaker(|b| b.execution_log(5).probes(Probes::one().deadline(secs(5))));
    let hung = first_probe(&breaker, &clock);
    clock.advance(secs(5));
    assert!(breaker.acquire().is_err());
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.snapshot().recent.to_string(), "F");
    drop(hung);
}

#[test]
fn without_a_log_the_recent_outcomes_are_those_that_matter_in_the_state() {
    let (breaker, clock) = breaker(|b| b.detector(detect::failures(2).of_last(4)).probes(Probes::ratio(2, 4)));
    succeed(&breaker, 3);
    fail(&breaker, 2);
    assert_eq!(breaker.snapshot().recent.to_string(), "SSFF", "what opened it");
    clock.advance(secs(30));
    succeed(&breaker, 1);
    fail(&breaker, 1);
    assert_eq!(breaker.snapshot().recent.to_string(), "SF", "the probes");
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.snapshot().recent.to_string(), "SFFF", "the probes that reopened it");
    breaker.reset().expect("no override stands");
    assert!(breaker.snapshot().recent.is_empty());
}

#[test]
fn a_snapshot_shows_state_since_reason_and_probes() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::consecutive(3).concurrent(2)));
    assert_eq!(breaker.snapshot().reason, None, "it never changed");
    let probe = first_probe(&breaker, &clock);
    succeed(&breaker, 1);
    clock.advance(secs(7));
    let seen = breaker.snapshot();
    assert_eq!((seen.state, seen.reason), (State::HalfOpen, Some(TransitionReason::CooldownOver)));
    assert_eq!(seen.in_state_for, secs(7));
    assert_eq!(seen.retry_after, None);
    let tally = seen.probes.expect("half-open");
    assert_eq!((tally.in_flight, tally.succeeded, tally.failed, tally.needed), (1, 1, 0, 3));
    assert_eq!(
        seen.to_string(),
        "test: half-open (the cooldown is over), probes: 1 on their way, 1 of 3 succeeded, 0 failures"
    );
    drop(probe);
}

// Probes

#[test]
fn consecutive_probes_close_under_low_traffic() {
    let (breaker, clock) = breaker(|b| b.detector(detect::failures(3).within(secs(10))).probes(Probes::consecutive(5)));
    first_probe(&breaker, &clock).success();
    for _ in 0..4 {
        assert_eq!(breaker.state(), State::HalfOpen);
        clock.advance(secs(600));
        succeed(&breaker, 1);
    }
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_failure_among_consecutive_probes_reopens() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::consecutive(3)));
    first_probe(&breaker, &clock).success();
    succeed(&breaker, 1);
    fail(&breaker, 1);
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeFailed));
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_ratio_of_probes_is_decided_as_soon_as_it_is_certain() {
    let ratio = |outcomes: &[Outcome]| {
        let (breaker, clock) = breaker(|b| b.probes(Probes::ratio(2, 4)));
        breaker.trip().expect("no override stands");
        clock.advance(secs(30));
        let mut states = Vec::new();
        for outcome in outcomes {
            report(&breaker, 1, *outcome);
            states.push(breaker.state());
        }
        states
    };
    let (s, f) = (Outcome::Success, Outcome::Failure);
    assert_eq!(ratio(&[s, s]), [State::HalfOpen, State::Closed]);
    assert_eq!(ratio(&[f, f, f]), [State::HalfOpen, State::HalfOpen, State::Open]);
    assert_eq!(ratio(&[f, s, f, s]), [State::HalfOpen, State::HalfOpen, State::HalfOpen, State::Closed]);
}

#[test]
fn a_probe_that_outlives_its_deadline_has_failed_whoever_notices_first() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::one().deadline(secs(5))));
    let hung = first_probe(&breaker, &clock);
    clock.advance(just_under(secs(5)));
    assert_eq!(breaker.acquire().expect_err("its place is taken").reason(), RejectReason::ProbesBusy);
    clock.advance(ms(1));
    assert_eq!(breaker.acquire().expect_err("reopened").reason(), RejectReason::Open);
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeExpired));
    hung.success();
    assert_eq!(breaker.state(), State::Open, "too late");

    let hung = first_probe_again(&breaker, &clock);
    clock.advance(secs(5));
    hung.success();
    assert_eq!(breaker.state(), State::Open, "its own report comes too late, too");
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeExpired));
}

fn first_probe_again(breaker: &CircuitBreaker, clock: &ManualClock) -> fusebox::Permit {
    clock.advance(breaker.retry_after().expect("open"));
    breaker.acquire().expect("the cooldown is over")
}

#[test]
fn a_call_abandoned_after_the_limit_is_a_failure_and_sooner_it_is_nothing() {
    let (breaker, clock) = breaker(|b| b.detector(detect::consecutive_failures(2)).abandoned_after(secs(10)));
    for (after, counted) in [(just_under(secs(10)), 0), (secs(10), 1)] {
        let call = breaker.acquire().expect("closed");
        clock.advance(after);
        drop(call);
        assert_eq!(failures(&breaker), counted);
    }
    let call = breaker.acquire().expect("closed");
    clock.advance(secs(11));
    call.report(Outcome::Ignored);
    assert_eq!(failures(&breaker), 1, "a call that ended is not abandoned");
    let call = breaker.acquire().expect("closed");
    clock.advance(secs(11));
    drop(call);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn an_abandoned_probe_reopens_and_one_dropped_sooner_frees_its_place() {
    let (breaker, clock) = breaker(|b| b.abandoned_after(secs(10)));
    drop(first_probe(&breaker, &clock));
    assert_eq!(breaker.state(), State::HalfOpen);
    let probe = breaker.acquire().expect("the place is free again");
    clock.advance(secs(10));
    drop(probe);
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeFailed));
}

#[test]
fn an_abandoned_call_that_counts_as_a_failure_is_told_like_one() {
    let (breaker, clock, events) = recorded(|b| b.detector(detect::consecutive_failures(2)).abandoned_after(secs(10)));
    let call = breaker.acquire().expect("closed");
    clock.advance(secs(10));
    drop(call);
    assert_eq!(failures(&breaker), 1);
    assert_eq!(lines(&events), ["test: call ended: Cancelled after 10s"], "failures are told without `call_events`");
}

#[test]
fn a_slow_success_is_judged_and_a_fast_one_is_not() {
    let (breaker, clock) =
        breaker(|b| b.detector(detect::slow_call_rate(0.5).slower_than(secs(2)).of_last(4).min_calls(2)));
    let call = |took: Duration| {
        let permit = breaker.acquire().expect("closed");
        clock.advance(took);
        permit.success();
    };
    call(just_under(secs(2)));
    call(secs(1));
    call(secs(1));
    call(secs(2));
    assert_eq!(breaker.state(), State::Closed, "one of four");
    call(secs(3));
    assert_eq!(breaker.state(), State::Open, "two of the last four");
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::Detected(Tally::slow_calls(2).of(4))));
}

#[test]
fn a_slow_probe_reopens_where_slow_calls_are_configured_and_closes_where_not() {
    for (slow_calls, state) in [(true, State::Open), (false, State::Closed)] {
        let (breaker, clock) = breaker(|b| match slow_calls {
            true => b.detector(detect::slow_call_rate(0.5).slower_than(secs(2)).within(secs(60))),
            false => b,
        });
        let probe = first_probe(&breaker, &clock);
        clock.advance(secs(2));
        probe.success();
        assert_eq!(breaker.state(), state);
    }
}

#[test]
fn probes_that_are_evidence_of_nothing_reopen_after_ten_cooldowns() {
    let (breaker, clock) = breaker(|b| b.probes(Probes::one().deadline(secs(5))));
    let start = first_probe(&breaker, &clock);
    start.report(Outcome::Ignored);
    let mut waited = Duration::ZERO;
    while breaker.acquire().map(|permit| permit.report(Outcome::Ignored)).is_ok() {
        clock.advance(secs(1));
        waited += secs(1);
        assert!(waited <= secs(300), "half-open must end");
    }
    assert_eq!(waited, secs(300), "ten cooldowns of 30 s");
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbesInconclusive));
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_short_cooldown_leaves_an_inconclusive_round_a_minute() {
    let (breaker, clock) = breaker(|b| b.cooldown(secs(1)).probes(Probes::one().deadline(secs(5))));
    drop(first_probe(&breaker, &clock));
    clock.advance(just_under(secs(60)));
    drop(breaker.acquire().expect("still trying"));
    clock.advance(ms(1));
    assert!(breaker.acquire().is_err());
    assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbesInconclusive));
}

#[test]
fn evidence_begins_the_wait_for_a_verdict_anew() {
    let (breaker, clock) = breaker(|b| b.cooldown(secs(1)).probes(Probes::consecutive(3).deadline(secs(5))));
    first_probe(&breaker, &clock).success();
    clock.advance(secs(59));
    drop(breaker.acquire().expect("half-open"));
    clock.advance(secs(59));
    succeed(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed, "no calls is not the same as no evidence");
}

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
