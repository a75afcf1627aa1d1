//! Generations and events.

use super::*;

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
    assert!(events.iter().all(|event| event.name() == "test"));
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

#[test]
fn two_transitions_of_one_step_have_a_generation_each() {
    let (breaker, clock, events) = recorded(|b| b.cooldown(Duration::ZERO).probes(Probes::one().deadline(secs(5))));
    breaker.trip().expect("no override stands");
    let _hung = breaker.acquire().expect("a probe");
    events.take();
    clock.advance(secs(5));
    let probe = breaker.acquire().expect("reopened and asked again, at once");
    let generations: Vec<u64> = events.take().iter().map(|event| event.generation().get()).collect();
    let last = probe.generation().get();
    assert_eq!(generations, [last - 1, last]);
}

/// A listener that is at it while 6,001 changes come, or as many calls and then one change: what it hears last is how things
/// stand, and it hears how much it missed.
#[test]
fn a_slow_listener_hears_how_things_stand_and_what_it_missed() {
    for calls in [0, 5_000] {
        let (heard, list) = std::sync::mpsc::channel();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let (breaker, _clock) = breaker(|b| {
            b.call_events(true).detector(detect::failures(60_000).within(secs(60))).on_event(move |event| {
                heard.send(event.kind()).expect("a test");
                // The first time it takes long; later the way is free.
                wait.lock().expect("locks").recv_timeout(secs(60)).unwrap_or_default();
            })
        });
        let mut stream = breaker.events();
        let slow = breaker.clone();
        let first = thread::spawn(move || slow.trip().expect("no override stands"));
        assert!(matches!(list.recv().expect("told"), EventKind::StateChanged { .. }));
        let mut events = 0_u64;
        if calls > 0 {
            breaker.reset().expect("no override stands");
            succeed(&breaker, calls);
            events += 1 + calls as u64;
            breaker.trip().expect("no override stands");
            events += 1;
        } else {
            for _ in 0..3_000 {
                breaker.reset().expect("no override stands");
                breaker.trip().expect("no override stands");
                events += 2;
            }
        }
        drop(go_on);
        first.join().expect("tells all");
        let told: Vec<_> = list.try_iter().collect();
        assert!(matches!(told.last(), Some(EventKind::StateChanged { to: State::Open, .. })), "{:?}", told.last());
        let missed = told
            .iter()
            .filter_map(|kind| if let EventKind::Missed { events, .. } = kind { Some(*events) } else { None });
        let (missed, kept) = (missed.clone().sum::<u64>(), told.len() as u64 - missed.count() as u64);
        assert!(missed > 0);
        assert_eq!(missed + kept, events, "nothing is lost without a word");
        // Nor by one who reads a stream and has read nothing yet.
        let mut last = None;
        let mut read = 0;
        while let Some(Some(event)) = stream.next().now_or_never() {
            read += 1;
            last = Some(event.kind());
        }
        assert!(matches!(last, Some(EventKind::StateChanged { to: State::Open, .. })), "{last:?}");
        assert!(stream.dropped() > 0 && read <= 1_024);
    }
}
