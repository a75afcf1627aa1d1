//! Panics in code of others.

use std::panic::panic_any;
use std::task::{Context, Poll, Wake, Waker};

use fusebox::CircuitBreakerLayer;
use tower::{Layer, Service, service_fn};

use super::*;

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

/// Panics again when what it was thrown with is dropped.
struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("payload");
    }
}

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("waker");
    }
}

// Up to 0.1.0 the second panic left a flag behind that kept every later event from being told.
#[test]
fn a_listener_whose_panic_panics_when_dropped_silences_no_later_event() {
    let heard = Record::default();
    let list = heard.clone();
    let (breaker, _clock) = breaker(|b| {
        b.on_event(|_| panic_any(PanicsInDrop))
            .on_state_change(|_, _, _| panic_any(PanicsInDrop))
            .on_state_change(move |_, _, to| list.add(to))
    });
    let mut events = breaker.events();
    breaker.trip().expect("no override stands");
    breaker.reset().expect("no override stands");
    assert_eq!(heard.take(), [State::Open, State::Closed]);
    assert_eq!(waiting(&mut events).len(), 2);
}

// Up to 0.1.0 likewise.
#[test]
fn a_reader_whose_waker_panics_silences_no_later_event() {
    let (breaker, _clock, heard) = recorded(|b| b);
    let (mut reader, mut other) = (breaker.events(), breaker.events());
    let waker = Waker::from(Arc::new(PanickingWaker));
    assert!(reader.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
    breaker.trip().expect("no override stands");
    breaker.reset().expect("no override stands");
    assert_eq!(heard.take().len(), 2);
    assert_eq!(waiting(&mut other).len(), 2);
    assert_eq!(waiting(&mut reader).len(), 2, "its events wait for it all the same");
}

// Up to 0.1.0 the panic came out of `resume()`, and later callers in the queue slept on.
#[test]
fn a_caller_whose_waker_panics_keeps_no_other_caller_asleep() {
    let layer = CircuitBreakerLayer::new(config(|b| b)).wait_when_open();
    let service = || layer.layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
    layer.breaker().set_override(Override::force_open("x"));
    let (mut first, mut second) = (service(), service());
    let waker = Waker::from(Arc::new(PanickingWaker));
    assert!(first.poll_ready(&mut Context::from_waker(&waker)).is_pending());
    let mut second = tokio_test::task::spawn(std::future::poll_fn(move |cx| second.poll_ready(cx)));
    assert!(second.poll().is_pending());
    layer.breaker().resume();
    assert!(second.is_woken());
    assert!(matches!(second.poll(), Poll::Ready(Ok(()))));
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
#[derive(Clone, Debug)]
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
    #[derive(Clone, Debug)]
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
