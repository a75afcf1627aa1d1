//! A head that comes late is a slow dependency's, whatever becomes of the rest of the response. The truth is what the
//! breaker makes of the same call where its outcome is known with the head.

use fusebox::{
    CircuitBreakerLayer, Outcome, Probes, Snapshot, State, circuit_breaker::TransitionReason, classify,
    detect::Combined,
};
use tower::{Layer, ServiceExt};

use super::*;
use support::{just_under, ms, succeed};

/// From this on a call is slow.
const LIMIT: Duration = secs(1);
/// A response that goes on for so long after its head is judged without its end.
const RESPONSE_TIME: Duration = ms(500);

/// What becomes of a response after its head.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rest {
    /// There is nothing but the head, with the status in it.
    Nothing,
    /// It goes on for an hour, unless nothing is asked of it any more.
    GoesOn,
    /// It ends at once.
    Ends(Code),
    /// Its reader goes away.
    IsDropped,
}

/// What opens the circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    SlowCalls,
    Failures,
}

fn slow_calls() -> Combined {
    Combined::any(vec![Box::new(detect::slow_call_rate(0.5).slower_than(LIMIT).of_last(10).min_calls(2))])
}

/// Two in a row failed, or half of the calls were slow.
fn mixed() -> Combined {
    detect::consecutive_failures(2).or(detect::slow_call_rate(0.5).slower_than(LIMIT).of_last(10).min_calls(2))
}

/// A breaker that has opened, and whose cooldown is over.
fn cooled_down(rule: Combined, by: By, probes: Probes) -> (CircuitBreaker, ManualClock) {
    let (breaker, clock) = breaker(|builder| builder.detector(rule).probes(probes));
    for _ in 0..2 {
        let permit = breaker.acquire().expect("closed");
        match by {
            By::SlowCalls => {
                clock.advance(LIMIT);
                permit.success();
            }
            By::Failures => permit.failure(),
        }
    }
    assert!(breaker.is_open(), "{by:?}");
    clock.advance(secs(30));
    (breaker, clock)
}

/// A call whose head comes after so long. What is left of the response is still there where it goes on.
fn call(breaker: &CircuitBreaker, clock: &ManualClock, head: Duration, rest: Rest) -> Option<Response<Reading>> {
    let response = match rest {
        Rest::Nothing => trailers_only(Code::Ok, &[]),
        Rest::GoesOn | Rest::IsDropped => streaming([message("hello"), status(Code::Ok)]),
        Rest::Ends(code) => streaming([message("hello"), status(code)]),
    };
    let (service, slow) = (answers(vec![response]), clock.clone());
    let service = service.map_response(move |response| {
        slow.advance(head);
        response
    });
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
    let response = at_hand(layer.layer(service).oneshot(request())).expect("admitted");
    match rest {
        Rest::Nothing | Rest::IsDropped => None,
        Rest::Ends(_) => {
            at_hand(read_all(response.into_body())).expect("no error");
            None
        }
        Rest::GoesOn => {
            clock.advance(RESPONSE_TIME);
            Some(response.map(Box::pin))
        }
    }
}

/// The state and all that is known of the probes, once a caller has asked.
fn seen(breaker: &CircuitBreaker) -> (State, Option<TransitionReason>, Option<(u32, u32)>, String) {
    // Asked, it sees that a deadline is over.
    let _ = breaker.would_admit();
    let Snapshot { reason, probes, recent, .. } = breaker.snapshot();
    (breaker.state(), reason, probes.map(|probes| (probes.succeeded, probes.failed)), recent.to_string())
}

#[test]
fn a_head_is_as_slow_as_a_call_that_ends_with_it() {
    let rules: [fn() -> Combined; 2] = [slow_calls, mixed];
    let cases = [Probes::one(), Probes::consecutive(2), Probes::ratio(1, 2), Probes::ratio(2, 3)];
    for (nth, rule) in rules.into_iter().enumerate() {
        for (by, probes) in [By::SlowCalls, By::Failures].into_iter().flat_map(|by| cases.map(|probes| (by, probes))) {
            if nth == 0 && by == By::Failures {
                continue;
            }
            for heads in [[just_under(LIMIT); 2], [LIMIT; 2], [LIMIT, ms(1)], [ms(1), LIMIT]] {
                let [streamed, whole] = [Rest::GoesOn, Rest::Nothing].map(|rest| {
                    let (breaker, clock) = cooled_down(rule(), by, probes);
                    let mut all = Vec::new();
                    for head in heads {
                        let response = breaker.would_admit().then(|| call(&breaker, &clock, head, rest));
                        all.push(seen(&breaker));
                        drop(response);
                    }
                    all
                });
                assert_eq!(streamed, whole, "{by:?}, {probes:?}, {heads:?}");
            }
        }
    }
}

#[test]
fn a_late_head_reopens_what_slow_calls_opened_though_the_response_never_ends() {
    for rule in [slow_calls, mixed] {
        for (head, state, reason) in [
            (just_under(LIMIT), State::Closed, TransitionReason::ProbesSucceeded),
            (LIMIT, State::Open, TransitionReason::ProbeFailed),
            (secs(20), State::Open, TransitionReason::ProbeFailed),
        ] {
            let (breaker, clock) = cooled_down(rule(), By::SlowCalls, Probes::one());
            let response = call(&breaker, &clock, head, Rest::GoesOn);
            let (now, why, ..) = seen(&breaker);
            assert_eq!((now, why), (state, Some(reason)), "a head after {head:?}");
            clock.advance(secs(3_600));
            drop(response);
            assert_eq!(breaker.snapshot().reason, Some(reason), "how it ends is history");
        }
    }
}

#[test]
fn a_late_head_closes_what_failures_opened() {
    let (breaker, clock) = cooled_down(mixed(), By::Failures, Probes::one());
    let response = call(&breaker, &clock, LIMIT, Rest::GoesOn);
    assert_eq!(seen(&breaker).0, State::Closed, "one of one is too few to judge");
    drop(response);

    let (breaker, clock) = cooled_down(mixed(), By::Failures, Probes::consecutive(2));
    for state in [State::HalfOpen, State::Open] {
        let response = call(&breaker, &clock, LIMIT, Rest::GoesOn);
        assert_eq!(seen(&breaker).0, state, "two of two meet the rule by themselves");
        drop(response);
    }
}

#[test]
fn a_response_that_ends_well_at_once_is_as_slow_as_its_head() {
    for (head, code, state) in [
        (just_under(LIMIT), Code::Ok, State::Closed),
        (LIMIT, Code::Ok, State::Open),
        (LIMIT, Code::Unavailable, State::Open),
        (ms(1), Code::Unavailable, State::Open),
    ] {
        let (breaker, clock) = cooled_down(slow_calls(), By::SlowCalls, Probes::one());
        call(&breaker, &clock, head, Rest::Ends(code));
        assert_eq!(breaker.state(), state, "{head:?}, {code:?}");
    }
}

/// As a call that is given up before its head: it gives its place back, however long it took.
#[test]
fn a_response_that_is_dropped_soon_after_a_late_head_says_nothing() {
    let (breaker, clock) = cooled_down(slow_calls(), By::SlowCalls, Probes::one());
    for head in [ms(1), LIMIT, secs(20)] {
        call(&breaker, &clock, head, Rest::IsDropped);
        clock.advance(RESPONSE_TIME);
        let (state, _, probes, _) = seen(&breaker);
        assert_eq!((state, probes), (State::HalfOpen, Some((0, 0))), "{head:?}");
    }
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_period_that_must_be_decided_counts_late_heads_first() {
    for (head, state) in [(ms(1), State::Closed), (LIMIT, State::Open)] {
        let probes = Probes::ratio(1, 2).decide_within(head + RESPONSE_TIME);
        let (breaker, clock) = cooled_down(slow_calls(), By::SlowCalls, probes);
        let response = call(&breaker, &clock, head, Rest::GoesOn);
        assert_eq!(seen(&breaker).0, state, "{head:?}");
        if state == State::Open {
            assert_eq!(
                breaker.snapshot().reason,
                Some(TransitionReason::HalfOpenTooLong),
                "the other one may come yet"
            );
            assert_eq!(breaker.snapshot().recent.to_string().chars().last(), Some('F'));
        }
        drop(response);
    }
}

/// A service that was ready for a minute has made no call yet: its time begins with the call.
#[test]
fn the_time_before_a_reserved_call_is_not_its_own() {
    let (breaker, clock) = cooled_down(slow_calls(), By::SlowCalls, Probes::one());
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc()).wait_when_open();
    let mut service = layer.layer(answers(vec![fine()]));
    at_hand(service.ready()).expect("ready");
    clock.advance(ms(99));
    let response = at_hand(tower::Service::call(&mut service, request())).expect("a probe");
    clock.advance(RESPONSE_TIME);
    assert_eq!(seen(&breaker).0, State::Closed);
    drop(response);
}

/// Where no duration counts, none is looked at.
#[test]
fn no_head_is_late_for_a_rule_without_a_limit() {
    let (breaker, clock) = breaker(|builder| builder.detector(detect::consecutive_failures(1)));
    breaker.acquire().expect("closed").report(Outcome::Failure);
    clock.advance(secs(30));
    let response = call(&breaker, &clock, secs(20), Rest::GoesOn);
    assert_eq!(seen(&breaker).0, State::Closed);
    drop(response);
}

/// The other instance judges the probe, whose response goes on for an hour.
#[cfg(feature = "fleet")]
#[tokio::test]
async fn a_late_head_reopens_a_fleet_that_slow_calls_opened() {
    use fusebox::Cooldown;
    use fusebox::store::MemoryStore;

    for (head, state, reason) in [
        (just_under(LIMIT), State::Closed, TransitionReason::ProbesSucceeded),
        (LIMIT, State::Open, TransitionReason::ProbeFailed),
    ] {
        let clock = ManualClock::new();
        clock.advance(secs(100_000));
        let store = MemoryStore::with_clock(clock.clone());
        let [one, other] = [(), ()].map(|()| {
            let store: std::sync::Arc<dyn fusebox::store::Store> = std::sync::Arc::new(store.clone());
            let builder = CircuitBreakerConfig::builder("test").clock(clock.clone()).store(store);
            let builder = builder.detector(slow_calls()).cooldown(Cooldown::fixed(secs(30)));
            CircuitBreaker::new(builder.build().expect("a configuration that works"))
        });
        let both_are = async |wanted: State| {
            for _ in 0..4_000 {
                one.flush().await;
                other.flush().await;
                if [&one, &other].iter().all(|breaker| breaker.state() == wanted) {
                    return;
                }
                tokio::time::sleep(ms(2)).await;
            }
            panic!("{wanted:?} in vain: {:?}, {:?}", one.snapshot(), other.snapshot());
        };
        both_are(State::Closed).await;
        let permits = [(), ()].map(|()| one.acquire().expect("closed"));
        clock.advance(LIMIT);
        permits.into_iter().for_each(fusebox::Permit::success);
        both_are(State::Open).await;

        clock.advance(secs(30));
        let slow = clock.clone();
        let service = answers(vec![streaming([message("hello")])]).map_response(move |response| {
            slow.advance(head);
            response
        });
        let service = CircuitBreakerLayer::from(one.clone()).classify(classify::grpc()).layer(service);
        // Until it has fetched its lease it is rejected.
        let response = loop {
            if let Ok(response) = at_hand(service.clone().oneshot(request())) {
                break response;
            }
            one.flush().await;
            tokio::time::sleep(ms(2)).await;
        };
        one.flush().await;
        other.flush().await;
        assert_eq!(other.state(), State::HalfOpen, "its end may come");
        clock.advance(RESPONSE_TIME);
        both_are(state).await;
        for breaker in [&one, &other] {
            assert_eq!(breaker.snapshot().reason, Some(reason), "a head after {head:?}");
        }
        drop(response);
    }
}
