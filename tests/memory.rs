//! What breaker and retries allocate: nothing on the paths of healthy and of rejected calls, and nothing that stays.
//! Scenario 22 of the conformance list, and the part of 23 that is about cost. `allocation_counter` counts the
//! allocations of the thread that measures, so that tests may run side by side.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::{AllocationInfo, measure};
use fusebox::{
    BoxError, Budget, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, Cooldown, ManualClock, Outcome,
    Permit, Probes, Registry, Rejected, RetryConfig, RetryLayer, State, backoff, detect, rejection, retry::RetryStats,
};
use futures::FutureExt;
use support::{breaker, config, fail, report, secs, succeed};
use tower::{Layer, Service};

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

/// Measures the second of two runs: what the first one allocates once may stay.
fn steady(mut f: impl FnMut()) -> AllocationInfo {
    f();
    measure(f)
}

/// Has this thread count each kind of thing once, where calls are counted: a thread's first count makes room for what follows. The
/// breaker is as it was.
fn count_first(breaker: &CircuitBreaker) {
    if cfg!(feature = "counts") {
        match breaker.acquire() {
            Ok(permit) => {
                report(breaker, 1, Outcome::Ignored);
                permit.success();
            }
            Err(_) => assert!(!breaker.would_admit()),
        }
    }
}

/// The memory that runs leave behind must not grow with their number; a block that is kept for reuse may stay.
#[track_caller]
fn assert_flat(left: &AllocationInfo) {
    assert!(
        left.bytes_current.abs() < 16_384,
        "{} bytes in {} blocks are left",
        left.bytes_current,
        left.count_current
    );
}

#[track_caller]
fn assert_none(seen: &AllocationInfo) {
    assert_eq!(seen.count_total, 0, "{} bytes", seen.bytes_total);
}

/// A service that does not allocate.
#[derive(Clone, Debug)]
struct Echo;

impl Service<&'static str> for Echo {
    type Response = &'static str;
    type Error = Refused;
    type Future = Ready<Result<&'static str, Refused>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: &'static str) -> Self::Future {
        ready(if request == "fail" { Err(Refused::Down) } else { Ok(request) })
    }
}

#[derive(Debug)]
enum Refused {
    Down,
    Open(Rejected),
}

fn call<S: Service<&'static str>>(service: &mut S, request: &'static str) -> Result<S::Response, S::Error> {
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(())) = service.poll_ready(&mut cx) else { panic!("not ready") };
    service.call(request).now_or_never().expect("answers at once")
}

/// Trips, lets a probe fail, lets one succeed: five transitions.
fn cycle(breaker: &CircuitBreaker, clock: &ManualClock) {
    breaker.trip().expect("no override stands");
    clock.advance(secs(30));
    breaker.acquire().expect("half-open").failure();
    clock.advance(secs(30));
    breaker.acquire().expect("half-open").success();
}

// Nothing that stays

#[test]
fn c22_a_million_transitions_leak_nothing() {
    let (breaker, clock) = breaker(|b| b.execution_log(100).on_event(|_| {}).on_state_change(|_, _, _| {}));
    let unread = breaker.events();
    let first = breaker.snapshot().generation.get();
    (0..2_000).for_each(|_| cycle(&breaker, &clock));
    let left = measure(|| (0..200_000).for_each(|_| cycle(&breaker, &clock)));
    assert!(breaker.snapshot().generation.get() - first >= 1_000_000);
    assert!(unread.dropped() > 1_000_000);
    assert_flat(&left);
    assert!(left.bytes_max < 65_536, "{left:?}");
}

#[test]
fn c22_a_million_breakers_made_and_dropped_one_after_another_keep_memory_flat() {
    let live = |_| {
        let config = config(|b| b.detector(detect::failures(2).of_last(100)).on_state_change(|_, _, _| {}));
        let breaker = CircuitBreaker::new(config);
        succeed(&breaker, 1);
        fail(&breaker, 2);
        assert!(breaker.is_open());
        drop(breaker.events());
    };
    (0..3_000).for_each(live);
    let left = measure(|| (0..1_000_000).for_each(live));
    assert_flat(&left);
}

#[test]
fn c22_permits_that_outlive_a_million_breakers_keep_none_of_them() {
    let (short, _clock) = breaker(|b| b);
    let permit = short.acquire().expect("closed");
    drop(short);
    let live = |_| {
        let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("x"));
        let permit = breaker.acquire().expect("closed");
        drop(breaker);
        permit.failure();
    };
    (0..3_000).for_each(live);
    let left = measure(|| (0..100_000).for_each(live));
    assert_flat(&left);
    drop(permit);
}

#[test]
fn c22_a_registry_that_is_asked_for_endless_names_stays_bounded() {
    let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build()).max(100).idle(Duration::ZERO);
    let mut n = 0_u64;
    let left = steady(|| {
        for _ in 0..100_000 {
            n += 1;
            let breaker = registry.breaker(&format!("tenant-{n}")).expect("the template works");
            breaker.acquire().expect("closed").success();
        }
    });
    assert!(registry.len() <= 100);
    assert!(left.bytes_current < 65_536, "{left:?}");
}

#[test]
fn c22_event_streams_made_and_dropped_leave_nothing_behind() {
    let (breaker, _clock) = breaker(|b| b);
    let left = steady(|| (0..100_000).for_each(|_| drop(breaker.events())));
    assert_flat(&left);
}

#[test]
fn c22_waiters_made_and_dropped_leave_nothing_behind() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _inside = runtime.enter();
    let (breaker, _clock) = breaker(|b| b);
    breaker.trip().expect("no override stands");
    let layer = CircuitBreakerLayer::from(breaker).wait_when_open();
    let left = steady(|| {
        for _ in 0..10_000 {
            let mut service = layer.layer(tower::service_fn(|_: u32| ready(Ok::<_, Infallible>(()))));
            assert!(service.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending());
        }
    });
    assert_flat(&left);
}

#[test]
fn c22_clones_overrides_snapshots_and_rejections_leave_nothing_behind() {
    let (breaker, _clock) = breaker(|b| b.detector(detect::consecutive_failures(1)));
    let left = steady(|| {
        for _ in 0..10_000 {
            let clone = breaker.clone();
            clone.set_override(fusebox::Override::force_open("x").by("ana"));
            drop(clone.trip().expect_err("an override stands").to_string());
            drop(clone.acquire().expect_err("forced open").to_string());
            drop(clone.snapshot().to_string());
            clone.resume();
        }
    });
    assert_flat(&left);
}

// Nothing at all

#[test]
fn a_closed_success_allocates_nothing_whatever_the_detector() {
    let breakers = [
        breaker(|b| b),
        breaker(|b| b.detector(detect::failures(3).of_last(100))),
        breaker(|b| b.detector(detect::failure_rate(0.5).within(secs(60)))),
        breaker(|b| b.detector(detect::consecutive_failures(3))),
        breaker(|b| b.detector(detect::slow_call_rate(0.5).slower_than(secs(1)).of_last(100))),
        breaker(|b| b.detector(detect::failures(3).within(secs(9)).and(detect::failure_rate(0.6).of_last(5)))),
        breaker(|b| b.execution_log(100)),
        breaker(|b| b.abandoned_after(secs(1))),
    ];
    for (breaker, clock) in breakers {
        count_first(&breaker);
        let seen = measure(|| {
            for _ in 0..1_000 {
                breaker.acquire().expect("closed").success();
                clock.advance(secs(1));
            }
        });
        assert_none(&seen);
    }
}

#[test]
fn a_closed_success_through_the_layer_allocates_nothing() {
    let (breaker, _clock) = breaker(|b| b.detector(detect::failures(3).of_last(100)));
    count_first(&breaker);
    let mut service = CircuitBreakerLayer::from(breaker).map_rejection(Refused::Open).layer(Echo);
    let seen = measure(|| (0..1_000).for_each(|_| assert_eq!(call(&mut service, "ok").expect("closed"), "ok")));
    assert_none(&seen);
}

#[test]
fn a_rejection_allocates_nothing() {
    let (breaker, _clock) = breaker(|b| b);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).map_rejection(Refused::Open).layer(Echo);
    breaker.trip().expect("no override stands");
    count_first(&breaker);
    let seen = measure(|| {
        for _ in 0..1_000 {
            let Err(Refused::Open(rejected)) = call(&mut service, "ok") else { panic!("open") };
            assert_eq!(rejected.retry_after(), Some(secs(30)));
            assert!(breaker.acquire().is_err());
        }
    });
    assert_none(&seen);
}

#[test]
fn a_rejection_while_probes_are_on_their_way_allocates_nothing() {
    let (breaker, clock) = breaker(|b| b);
    let probe = support::first_probe(&breaker, &clock);
    count_first(&breaker);
    let mut service = CircuitBreakerLayer::from(breaker).map_rejection(Refused::Open).layer(Echo);
    let seen = measure(|| (0..1_000).for_each(|_| assert!(call(&mut service, "ok").is_err())));
    assert_none(&seen);
    drop(probe);
}

#[test]
fn a_keyed_hit_allocates_nothing() {
    let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    let layer = CircuitBreakerLayer::keyed(registry.clone(), |request: &&'static str| Some(request));
    let mut service = layer.map_rejection(Refused::Open).layer(Echo);
    drop((call(&mut service, "a"), call(&mut service, "b")));
    registry.get("b").expect("made by the call").trip().expect("no override stands");
    count_first(&registry.get("a").expect("made by the call"));
    count_first(&registry.get("b").expect("made by the call"));
    let seen = measure(|| {
        for _ in 0..1_000 {
            assert!(call(&mut service, "a").is_ok());
            assert!(call(&mut service, "b").is_err());
        }
    });
    assert_none(&seen);
    assert_eq!(registry.len(), 2);
}

#[test]
fn a_failure_allocates_nothing_once_its_window_is_full() {
    let breakers = [
        breaker(|b| b.detector(detect::failures(5_000).of_last(10_000))),
        breaker(|b| b.detector(detect::failure_rate(1.0).within(secs(60)).min_calls(1_000_000))),
        breaker(|b| b.detector(detect::failures(60_000).within(secs(1_000)))),
    ];
    for (breaker, clock) in breakers {
        let calls = || {
            for _ in 0..2_000 {
                breaker.acquire().expect("closed").failure();
                report(&breaker, 1, Outcome::Ignored);
                clock.advance(secs(1));
            }
        };
        let seen = steady(calls);
        assert_none(&seen);
        assert_eq!(breaker.state(), State::Closed);
    }
}

#[test]
fn tripping_probing_and_closing_allocates_nothing_after_the_first_time() {
    let (breaker, clock) = breaker(|b| {
        b.detector(detect::consecutive_failures(2))
            .cooldown(Cooldown::exponential(secs(5)..=secs(30)))
            .probes(Probes::consecutive(2).concurrent(2))
    });
    let seen = steady(|| {
        for _ in 0..1_000 {
            fail(&breaker, 2);
            clock.advance(secs(30));
            fail(&breaker, 1);
            clock.advance(secs(30));
            let both = [(); 2].map(|()| breaker.acquire().expect("half-open"));
            both.into_iter().for_each(Permit::success);
            assert_eq!(breaker.state(), State::Closed);
        }
    });
    assert_none(&seen);
}

#[test]
fn c23_a_call_costs_the_same_whether_ten_or_ten_thousand_are_in_the_window() {
    let windows = || {
        [
            breaker(|b| b.detector(detect::failure_rate(1.0).within(secs(60)))),
            breaker(|b| b.detector(detect::failures(60_000).within(secs(60)))),
            breaker(|b| b.detector(detect::slow_call_rate(1.0).slower_than(secs(1)).within(secs(60)))),
        ]
    };
    for before in [10, 10_000] {
        for (breaker, clock) in windows() {
            succeed(&breaker, 1);
            for _ in 0..before {
                fail(&breaker, 1);
                clock.advance(Duration::from_micros(10));
            }
            let seen = measure(|| {
                succeed(&breaker, 100);
                fail(&breaker, 10);
            });
            // A window of times may grow once more; nothing is copied or counted per call in it.
            assert!(seen.count_total <= 1, "{before}: {seen:?}");
            assert!(seen.bytes_total <= 32_768, "{before}: {seen:?}");
        }
    }
}

/// A body that is pending, then has data, then trailers, all made before.
#[cfg(feature = "grpc")]
struct Frames(Vec<Poll<http_body::Frame<bytes::Bytes>>>);

#[cfg(feature = "grpc")]
impl http_body::Body for Frames {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
        self.0.pop().map_or(Poll::Ready(None), |next| next.map(|frame| Some(Ok(frame))))
    }
}

#[cfg(feature = "grpc")]
#[test]
fn a_response_that_is_watched_to_its_end_allocates_nothing() {
    use fusebox::classify;
    use http::{HeaderMap, HeaderName, HeaderValue, Response};
    use http_body::{Body, Frame};

    let response = |ends: bool| {
        let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
        let last = Poll::Ready(Frame::trailers(HeaderMap::from_iter([status])));
        let data = Poll::Ready(Frame::data(bytes::Bytes::from_static(b"\0\0\0\0\0")));
        let frames = [ends.then_some(last), Some(Poll::Pending), Some(data), Some(Poll::Pending)];
        let mut response = Response::new(Frames(frames.into_iter().flatten().collect()));
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        response
    };
    let breakers = [
        breaker(|b| b),
        breaker(|b| b.detector(detect::failures(3).of_last(100))),
        breaker(|b| b.detector(detect::failure_rate(0.5).within(secs(60)))),
        breaker(|b| b.detector(detect::slow_call_rate(0.5).slower_than(secs(1)).of_last(100))),
        breaker(|b| b.abandoned_after(secs(1))),
    ];
    for (breaker, clock) in breakers {
        count_first(&breaker);
        let calls = breaker.classify(classify::grpc());
        let mut responses: Vec<_> = (0..1_000).map(|n| (n % 2 == 0, response(n % 2 == 0))).collect();
        let seen = measure(|| {
            while let Some((ends, response)) = responses.pop() {
                let made = calls.call_blocking(|| Ok::<_, Infallible>(response));
                let Ok(response) = made else { panic!("closed") };
                let mut body = std::pin::pin!(response.into_body());
                // Of those that do not end, the reader leaves.
                for is_there in [false, true, false, true].into_iter().take(if ends { 4 } else { 3 }) {
                    clock.advance(Duration::from_millis(400));
                    let polled = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()));
                    assert_eq!(polled.is_ready(), is_there);
                }
            }
        });
        assert_none(&seen);
        assert_eq!(breaker.state(), State::Closed);
    }
}

// Retries

#[test]
fn a_success_at_the_first_attempt_allocates_nothing() {
    let retry = RetryLayer::new(RetryConfig::default());
    let mut service = retry.layer(Echo);
    let seen = measure(|| {
        for _ in 0..1_000 {
            assert_eq!(call(&mut service, "ok").expect("it works"), "ok");
            assert!(retry.call(|| ready(Ok::<_, Refused>(7))).now_or_never().is_some_and(|result| result.is_ok()));
            assert!(retry.call_blocking(|| Ok::<_, Refused>(7)).is_ok());
        }
    });
    assert_none(&seen);
}

#[test]
fn a_success_at_the_first_attempt_over_a_breaker_allocates_nothing() {
    let (breaker, _clock) = breaker(|b| b.detector(detect::failures(3).of_last(100)));
    count_first(&breaker);
    let guarded = CircuitBreakerLayer::from(breaker).map_rejection(Refused::Open).layer(Echo);
    let mut service = RetryLayer::new(RetryConfig::default()).layer(guarded);
    let seen = measure(|| (0..1_000).for_each(|_| assert_eq!(call(&mut service, "ok").expect("closed"), "ok")));
    assert_none(&seen);
}

#[test]
fn a_success_with_a_budget_counters_and_listeners_allocates_nothing() {
    for budget in [Budget::ratio(0.1), Budget::tokens(10, 0.1)] {
        let config = RetryConfig::builder().budget(budget).stats(RetryStats::new()).on_event(|_| {}).seed(7).build();
        let mut service = RetryLayer::new(config.expect("it works")).layer(Echo);
        if cfg!(feature = "counts") {
            // A thread's first count makes room for what follows.
            assert_eq!(call(&mut service, "ok").expect("it works"), "ok");
        }
        let seen = measure(|| (0..1_000).for_each(|_| assert_eq!(call(&mut service, "ok").expect("it works"), "ok")));
        assert_none(&seen);
    }
}

#[test]
fn limits_of_time_allocate_nothing_for_an_attempt_that_answers_at_once() {
    let config = RetryConfig::builder().deadline(secs(10)).attempt_timeout(secs(1)).build().expect("it works");
    let mut service = RetryLayer::new(config).map_timeout(|_| Refused::Down).layer(Echo);
    let seen = measure(|| (0..1_000).for_each(|_| assert_eq!(call(&mut service, "ok").expect("it works"), "ok")));
    assert_none(&seen);
}

#[test]
fn retries_at_once_allocate_nothing_and_an_open_breaker_ends_them_without_allocating() {
    let at_once = RetryConfig::builder().backoff(backoff::fixed(Duration::ZERO)).budget(Budget::tokens(1_000, 1_000.0));
    let retry = RetryLayer::new(at_once.build().expect("it works"));
    let mut service = retry.layer(Echo);
    let seen = measure(|| (0..10).for_each(|_| assert!(call(&mut service, "fail").is_err())));
    assert_none(&seen);

    let (breaker, _clock) = breaker(|b| b);
    breaker.trip().expect("no override stands");
    count_first(&breaker);
    let seen = measure(|| assert!((0..1_000).all(|_| retry.call_blocking(|| breaker.acquire().map(drop)).is_err())));
    assert_none(&seen);
}

#[test]
fn a_million_retries_leave_nothing_behind() {
    let listener = |_: &fusebox::retry::RetryEvent| {};
    let config = RetryConfig::builder().backoff([Duration::ZERO; 10]).max_retries(10).seed(7).on_event(listener);
    let budget = Budget::ratio(1.0).reserve_per_second(1_000_000);
    let mut service = RetryLayer::new(config.budget(budget).build().expect("it works")).layer(Echo);
    let left = steady(|| (0..100_000).for_each(|_| assert!(call(&mut service, "fail").is_err())));
    assert_flat(&left);
}

#[test]
fn finding_a_rejection_in_a_box_allocates_nothing() {
    let (breaker, _clock) = breaker(|b| b);
    breaker.trip().expect("no override stands");
    let rejected = || BoxError::from(breaker.acquire().map(drop).expect_err("open"));
    let boxes: Vec<_> = (0..100).map(|_| rejected()).collect();
    let seen = measure(|| assert!(boxes.iter().all(|error| rejection(&**error).is_some())));
    assert_none(&seen);
}

/// A stream of all events costs each breaker a little while it is read, and nothing after that.
#[test]
fn a_reader_of_a_registry_leaves_nothing_behind() {
    const BREAKERS: i64 = 10_000;
    let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    for n in 0..BREAKERS {
        registry.breaker(&n.to_string()).expect("a template that works");
    }
    let mut events = None;
    let reading = measure(|| events = Some(registry.events()));
    let each = reading.bytes_current / BREAKERS;
    assert!((1..=400).contains(&each), "{each} bytes a breaker while there is a reader");
    let events = events.expect("it was made");
    let unread = measure(|| {
        for n in 0..BREAKERS {
            registry.get(&n.to_string()).expect("it is there").trip().expect("no override stands");
            registry.get(&n.to_string()).expect("it is there").reset().expect("no override stands");
        }
    });
    // Besides what is counted of the transitions.
    let counted = if cfg!(feature = "counts") { BREAKERS * 200 } else { 0 };
    let waits = unread.bytes_current - counted;
    assert!(waits < 8_000_000, "{waits} bytes wait for a reader that does not come");
    assert_eq!(events.dropped(), 2 * 10_000 - 8_192);
    let left = measure(|| drop(events));
    let after = reading.bytes_current + unread.bytes_current + left.bytes_current;
    // What breakers keep of their first transition.
    assert!(after < BREAKERS * 300 + counted, "{after} bytes are left");
    let again = measure(|| drop(registry.events()));
    assert_flat(&again);
}
