//! Responses that go on after their heads: how slow they are, and what is made of readers who leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fusebox::{CircuitBreakerLayer, Clock, Event, State, classify, clock::Timestamp, detect::Combined};
use futures::FutureExt;
use tower::{Layer, ServiceExt};

use super::script::Gate;
use super::*;
use support::{just_under, ms};

/// From this on a call is slow.
const LIMIT: Duration = secs(1);

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Status(Code),
    BreaksOff,
    NoStatus,
}

impl End {
    /// The status of a call that ends so with its head.
    const fn at_once(self) -> Code {
        match self {
            Self::Status(code) => code,
            Self::BreaksOff | Self::NoStatus => Code::Unknown,
        }
    }

    fn step(self) -> Option<Step> {
        match self {
            Self::Status(code) => Some(status(code)),
            Self::BreaksOff => Some(Step::Error),
            Self::NoStatus => None,
        }
    }
}

/// The head of a response, which comes after so long.
fn head(breaker: &CircuitBreaker, clock: &ManualClock, after: Duration, response: Response<Script>) -> Reading {
    let slow = clock.clone();
    let service = answers(vec![response]).map_response(move |response| {
        slow.advance(after);
        response
    });
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
    Box::pin(at_hand(layer.layer(service).oneshot(request())).expect("closed").into_body())
}

/// A call whose head comes after so long, with a message a second for so many seconds after it.
fn stream(breaker: &CircuitBreaker, clock: &ManualClock, after: Duration, messages: usize, end: End) {
    let steps = std::iter::repeat_n(message("hello"), messages).chain(end.step());
    let mut body = head(breaker, clock, after, streaming(steps));
    for _ in 0..messages {
        at_hand(body.frame()).expect("a frame").expect("no error");
        clock.advance(secs(1));
    }
    while let Some(Ok(_)) = at_hand(body.frame()) {}
}

/// The same call, where it ends with its head and nothing is left to watch; so long after that another may begin.
fn whole(breaker: &CircuitBreaker, clock: &ManualClock, after: Duration, messages: u64, end: End) {
    drop(head(breaker, clock, after, trailers_only(end.at_once(), &[])));
    clock.advance(secs(messages));
}

/// The state, and what each part of the rule has counted.
fn seen(breaker: &CircuitBreaker) -> (State, Vec<String>, String) {
    let snapshot = breaker.snapshot();
    let parts = snapshot.detectors.iter().map(|part| part.tally.to_string());
    (snapshot.state, parts.collect(), snapshot.recent.to_string())
}

/// A rule about slow calls that looks at the last few, at a time, or at failures too.
const RULES: [fn() -> Combined; 3] = [
    || Combined::any(vec![Box::new(detect::slow_call_rate(0.5).slower_than(LIMIT).of_last(10).min_calls(2))]),
    || Combined::any(vec![Box::new(detect::slow_call_rate(0.5).slower_than(LIMIT).within(secs(3_600)).min_calls(2))]),
    || detect::failures(3).of_last(10).or(detect::slow_call_rate(0.5).slower_than(LIMIT).of_last(10).min_calls(2)),
];

#[test]
fn c62_a_long_stream_is_no_slow_call() {
    for (nth, rule) in RULES.into_iter().enumerate() {
        let (breaker, clock) = breaker(|builder| builder.detector(rule()));
        for _ in 0..10 {
            stream(&breaker, &clock, Duration::ZERO, 60, End::Status(Code::Ok));
        }
        assert_eq!(breaker.state(), State::Closed, "rule {nth}");
        let snapshot = breaker.snapshot();
        let slow = snapshot.detectors.last().expect("the part about slow calls").tally;
        assert_eq!((slow.count(), slow.calls()), (0, Some(10)), "each of them counted, and none was slow");
    }
}

#[test]
fn a_stream_counts_as_a_call_that_ends_with_its_head() {
    let ends = [End::Status(Code::Ok), End::Status(Code::Internal), End::BreaksOff, End::NoStatus];
    for (nth, rule) in RULES.into_iter().enumerate() {
        for (end, tells) in ends.into_iter().flat_map(|end| [(end, false), (end, true)]) {
            for after in [ms(1), just_under(LIMIT), LIMIT, secs(20)] {
                let make = || breaker(|builder| builder.detector(rule()).call_events(tells).on_event(|_| {}));
                let ((streamed, one), (at_once, other)) = (make(), make());
                for call in 0..2 {
                    stream(&streamed, &one, after, 30, end);
                    whole(&at_once, &other, after, 30, end);
                    assert_eq!(
                        seen(&streamed),
                        seen(&at_once),
                        "rule {nth}, call {call}, {end:?}, a head after {after:?}"
                    );
                }
                let is_slow = after >= LIMIT;
                assert_eq!(streamed.is_open(), is_slow, "rule {nth}, {end:?}, a head after {after:?}");
            }
        }
    }
}

#[test]
fn listeners_are_told_how_long_the_whole_of_a_stream_took() {
    let events = Record::default();
    let list = events.clone();
    let (breaker, clock) = breaker(|builder| {
        let builder = builder.detector(RULES[0]()).call_events(true);
        builder.on_event(move |event: &Event| list.add(event.to_string()))
    });
    stream(&breaker, &clock, ms(250), 60, End::Status(Code::Ok));
    stream(&breaker, &clock, ms(250), 5, End::Status(Code::Internal));
    whole(&breaker, &clock, ms(750), 0, End::Status(Code::Ok));
    assert_eq!(
        events.take(),
        [
            "test: call ended: Success after 60.25s",
            "test: call ended: Failure after 5.25s",
            "test: call ended: Success after 750ms",
        ]
    );
}

/// A clock that counts how often it is read.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<AtomicUsize>);

impl Counting {
    fn reads(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Clock for Counting {
    fn now(&self) -> Timestamp {
        self.0.fetch_add(1, Ordering::SeqCst);
        Timestamp::from_nanos(1_000)
    }
}

/// The first failure is what needs the time, not the responses before it.
#[test]
fn a_breaker_without_limits_of_time_reads_no_clock_for_a_response() {
    let rules: [Box<dyn detect::Detector>; 2] =
        [Box::new(detect::consecutive_failures(3)), Box::new(detect::failures(3).of_last(9))];
    for rule in rules {
        let clock = Counting::default();
        let config = CircuitBreakerConfig::builder("test").clock(clock.clone()).detector(rule);
        let breaker = CircuitBreaker::new(config.build().expect("a configuration that works"));
        let before = clock.reads();
        let steps = [message("a"), Step::Pause, status(Code::Ok)];
        let mut body = head(&breaker, &ManualClock::new(), Duration::ZERO, streaming(steps));
        at_hand(body.frame()).expect("a frame").expect("no error");
        assert!(body.frame().now_or_never().is_none(), "no answer yet");
        at_hand(body.frame()).expect("a frame").expect("no error");
        drop(body);
        // One whose reader leaves.
        drop(head(&breaker, &ManualClock::new(), Duration::ZERO, streaming([message("a")])));
        assert_eq!(clock.reads(), before);
    }
}

// Readers who leave

/// A response stalls for them after a message.
fn stalling(more: impl IntoIterator<Item = Step>) -> Response<Script> {
    streaming([message("hello")].into_iter().chain(more).chain([Step::Wait(Gate::default())]))
}

/// Asks for a frame that is not there.
#[track_caller]
fn asks_in_vain(body: &mut Reading) {
    assert!(body.frame().now_or_never().is_none(), "nothing is there");
}

/// The configurations in which the limit is the only one, or one of two.
fn limited(builder: CircuitBreakerConfigBuilder, with_rate: bool) -> CircuitBreakerConfigBuilder {
    let failures = detect::failures(1_000).of_last(2_000);
    let builder = builder.abandoned_after(secs(10)).execution_log(100);
    if with_rate {
        builder.detector(failures.or(detect::slow_call_rate(1.0).slower_than(secs(60)).of_last(1_000)))
    } else {
        builder.detector(failures)
    }
}

/// What was recorded of the calls so far.
fn recorded(breaker: &CircuitBreaker) -> String {
    breaker.snapshot().recent.to_string()
}

#[test]
fn c62_a_reader_who_leaves_a_stream_that_goes_on_is_no_failure() {
    let (breaker, clock) = breaker(|builder| limited(builder, false).detector(detect::consecutive_failures(1)));
    for _ in 0..5 {
        let frames = (0..60).flat_map(|_| [Step::Pause, message("tick")]);
        let mut body = head(&breaker, &clock, ms(1), streaming(frames.chain([Step::Wait(Gate::default())])));
        for _ in 0..60 {
            asks_in_vain(&mut body);
            clock.advance(secs(1));
            at_hand(body.frame()).expect("a frame").expect("no error");
        }
        asks_in_vain(&mut body);
        clock.advance(just_under(secs(10)));
        drop(body);
    }
    assert_eq!((breaker.state(), recorded(&breaker)), (State::Closed, String::new()));
}

#[test]
fn c62_a_stream_that_is_silent_while_it_is_waited_for_is_a_failure() {
    for with_rate in [false, true] {
        let (breaker, clock) = breaker(|builder| limited(builder, with_rate));
        for (silence, seen) in [(just_under(secs(10)), ""), (secs(10), "F"), (secs(3_600), "FF")] {
            let mut body = head(&breaker, &clock, ms(1), stalling([]));
            at_hand(body.frame()).expect("a frame").expect("no error");
            asks_in_vain(&mut body);
            clock.advance(silence);
            drop(body);
            assert_eq!(recorded(&breaker), seen, "after {silence:?}");
        }
        // One that says nothing at all after its head.
        let mut body = head(&breaker, &clock, ms(1), streaming([Step::Wait(Gate::default())]));
        asks_in_vain(&mut body);
        clock.advance(secs(10));
        drop(body);
        assert_eq!(recorded(&breaker), "FFF");
    }
}

#[test]
fn a_silence_begins_with_the_first_poll_that_finds_nothing_and_ends_with_a_frame() {
    let (breaker, clock) = breaker(|builder| limited(builder, false));
    let mut body = head(&breaker, &clock, ms(1), stalling([]));
    at_hand(body.frame()).expect("a frame").expect("no error");
    for _ in 0..10 {
        asks_in_vain(&mut body);
        clock.advance(secs(1));
    }
    drop(body);
    assert_eq!(recorded(&breaker), "F", "asking again is no answer");

    let more = (0..3).flat_map(|_| [Step::Pause, message("late")]);
    let mut body = head(&breaker, &clock, ms(1), stalling(more));
    at_hand(body.frame()).expect("a frame").expect("no error");
    for _ in 0..3 {
        asks_in_vain(&mut body);
        clock.advance(secs(9));
        at_hand(body.frame()).expect("a frame").expect("no error");
    }
    asks_in_vain(&mut body);
    clock.advance(secs(9));
    drop(body);
    assert_eq!(recorded(&breaker), "F", "36 s, and never ten without a frame");
}

#[test]
fn a_reader_who_asks_for_nothing_waits_for_nothing() {
    let (breaker, clock) = breaker(|builder| limited(builder, false));
    // Never read.
    let body = head(&breaker, &clock, ms(1), stalling([]));
    clock.advance(secs(3_600));
    drop(body);
    // Read slowly, all of it at hand.
    let mut body = head(&breaker, &clock, ms(1), stalling((0..9).map(|_| message("at hand"))));
    for _ in 0..10 {
        clock.advance(secs(60));
        at_hand(body.frame()).expect("a frame").expect("no error");
    }
    clock.advance(secs(3_600));
    drop(body);
    // The answer to the last question has come.
    let mut body = head(&breaker, &clock, ms(1), stalling([Step::Pause, message("late")]));
    at_hand(body.frame()).expect("a frame").expect("no error");
    asks_in_vain(&mut body);
    at_hand(body.frame()).expect("a frame").expect("no error");
    clock.advance(secs(3_600));
    drop(body);
    assert_eq!(recorded(&breaker), "");
}

/// Before the head it is the call that is waited for; a head that comes late, and then is left, has come.
#[test]
fn the_limit_counts_anew_after_the_head() {
    let (breaker, clock) = breaker(|builder| limited(builder, true));
    for after in [ms(1), just_under(secs(10)), secs(10), secs(3_600)] {
        let mut body = head(&breaker, &clock, after, stalling([]));
        at_hand(body.frame()).expect("a frame").expect("no error");
        asks_in_vain(&mut body);
        clock.advance(just_under(secs(10)));
        drop(body);
        assert_eq!(recorded(&breaker), "", "a head after {after:?}");
    }
    type Never = std::future::Pending<Result<Response<Script>, BoxError>>;
    let hangs = tower::service_fn(|_: Request<tonic::body::Body>| -> Never { std::future::pending() });
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
    for (after, seen) in [(just_under(secs(10)), ""), (secs(10), "F")] {
        let mut call = tokio_test::task::spawn(layer.layer(hangs).oneshot(request()));
        assert!(call.poll().is_pending());
        clock.advance(after);
        drop(call);
        assert_eq!(recorded(&breaker), seen, "no head for {after:?}");
    }
}

/// A probe whose head was early and whose end is not yet known, so that it is still judged by that.
#[test]
fn a_probe_that_is_silent_and_then_dropped_has_failed() {
    for (silence, state) in [(just_under(ms(100)), State::HalfOpen), (ms(100), State::Open)] {
        let (breaker, clock) =
            breaker(|builder| builder.detector(detect::consecutive_failures(1)).abandoned_after(ms(100)));
        drop(support::first_probe(&breaker, &clock));
        let mut body = head(&breaker, &clock, ms(200), stalling([]));
        at_hand(body.frame()).expect("a frame").expect("no error");
        asks_in_vain(&mut body);
        clock.advance(silence);
        drop(body);
        assert_eq!(breaker.state(), state, "after {silence:?}");
    }
}

/// A stream that ends well has ended well, however long it was silent in between.
#[test]
fn a_silence_that_ends_is_forgiven() {
    let (breaker, clock) = breaker(|builder| limited(builder, false));
    let mut body = head(&breaker, &clock, ms(1), streaming([Step::Pause, status(Code::Ok)]));
    asks_in_vain(&mut body);
    clock.advance(secs(3_600));
    at_hand(body.frame()).expect("the trailers").expect("no error");
    assert_eq!(recorded(&breaker), "S");
}

/// At the head and in the body, as a probe and as any other call.
#[test]
fn c70_an_abandoned_response_is_told_as_the_failure_that_it_counts_as() {
    let events = Record::default();
    let list = events.clone();
    let (breaker, clock) = breaker(|builder| {
        let builder = builder.detector(detect::consecutive_failures(3)).abandoned_after(ms(100));
        builder.call_events(true).on_event(move |event: &Event| list.add(event.to_string()))
    });
    let leave = |silence: Duration| {
        let mut body = head(&breaker, &clock, ms(20), stalling([]));
        at_hand(body.frame()).expect("a frame").expect("no error");
        clock.advance(ms(200));
        asks_in_vain(&mut body);
        clock.advance(silence);
    };
    leave(just_under(ms(100)));
    leave(ms(100));
    assert_eq!(
        events.take(),
        ["test: call ended: Cancelled after 319ms", "test: call ended: Failure after 320ms, abandoned"]
    );
    drop(support::first_probe(&breaker, &clock));
    events.take();
    leave(ms(100));
    assert_eq!(
        events.take(),
        ["test: probe ended: Failure after 320ms, abandoned", "test: half-open -> open (a probe failed)"]
    );
}
