//! Responses that go on after their heads: how slow they are, and what is made of readers who leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fusebox::{CircuitBreakerLayer, Clock, Event, State, classify, clock::Timestamp, detect::Combined};
use tower::{Layer, ServiceExt};

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
        assert!(futures::FutureExt::now_or_never(body.frame()).is_none(), "no answer yet");
        at_hand(body.frame()).expect("a frame").expect("no error");
        drop(body);
        // One whose reader leaves.
        drop(head(&breaker, &ManualClock::new(), Duration::ZERO, streaming([message("a")])));
        assert_eq!(clock.reads(), before);
    }
}
