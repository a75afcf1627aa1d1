//! Several policies as one layer: the order that they are given in, and the numbers of the ready-made ones.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::future::ready;
use std::time::Duration;

use fusebox::{
    BoxError, Budget, CircuitBreaker, CircuitBreakerLayer, FallbackLayer, Rejected, RetryConfig, RetryLayer, SafetyNet,
    backoff,
    circuit_breaker::RejectReason,
    rejection,
    retry::{RetryEvent, RetryEventKind, StopReason, WhenRejected},
};
use futures::FutureExt;
use support::{Answer, Down, Record, Stub, failures, tripping_at};
use tower::{Layer, Service, ServiceExt};

#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

mod left_out;
#[cfg(feature = "testing")]
mod numbers;

/// Two retries without any wait.
fn retry() -> RetryLayer {
    retry_telling(&Record::default())
}

fn retry_telling(events: &Record<RetryEvent>) -> RetryLayer {
    let told = events.clone();
    let config = RetryConfig::builder().max_retries(2).backoff(backoff::fixed(Duration::ZERO));
    RetryLayer::new(config.on_event(move |event| told.add(*event)).build().expect("a configuration that works"))
}

fn stopped(events: &Record<RetryEvent>) -> Option<StopReason> {
    events.take().iter().find_map(|event| match event.kind() {
        RetryEventKind::Stopped { reason, .. } => Some(reason),
        _ => None,
    })
}

/// The breaker's rejections must not change the type of the errors, so that every order compiles.
fn guard(breaker: &CircuitBreaker) -> CircuitBreakerLayer {
    CircuitBreakerLayer::from(breaker.clone())
}

// The order

/// What became of one call.
#[derive(Debug, PartialEq)]
struct Seen {
    answer: Result<u32, &'static str>,
    calls: usize,
    failures: u64,
    stopped: Option<StopReason>,
}

/// Makes one call of a service that always fails, with the circuit closed and with the circuit open.
fn try_out<L>(net: &SafetyNet<L>, breaker: &CircuitBreaker, events: &Record<RetryEvent>) -> [Seen; 2]
where
    L: Layer<Stub>,
    L::Service: Service<u32, Response = u32, Error: Into<BoxError>>,
{
    [false, true].map(|open| {
        let stub = Stub::new(Answer::Err);
        breaker.reset().expect("no override stands");
        if open {
            breaker.trip().expect("no override stands");
        }
        let result = net.layer(stub.clone()).oneshot(7).now_or_never().expect("at once");
        let answer = result.map_err(|error| {
            let error: BoxError = error.into();
            if rejection(&*error).is_some() { "rejected" } else { "down" }
        });
        Seen { answer, calls: stub.calls(), failures: failures(breaker), stopped: stopped(events) }
    })
}

const fn seen(answer: Result<u32, &'static str>, calls: usize, failures: u64, stopped: Option<StopReason>) -> Seen {
    Seen { answer, calls, failures, stopped }
}

const RETRY: &str = "retry (2 retries, no wait)";
const BREAKER: &str = "circuit breaker `test`";

#[test]
fn the_first_policy_is_the_outermost_in_every_order() {
    let events = Record::default();
    let (breaker, _clock) = tripping_at(100);
    let (retry, guard) = (|| retry_telling(&events), || guard(&breaker));
    let boxed = |_: BoxError| ready(Ok(100));
    let down = |Down| ready(Ok(100));
    let (spent, refused) = (Some(StopReason::MaxRetries), Some(StopReason::Rejected));

    let net = SafetyNet::builder().fallback(boxed).retry(retry()).breaker(guard()).build();
    assert_eq!(net.to_string(), format!("fallback -> {RETRY} -> {BREAKER}"));
    let [closed, open] = try_out(&net, &breaker, &events);
    assert_eq!(closed, seen(Ok(100), 3, 3, spent), "the breaker sees every attempt");
    assert_eq!(open, seen(Ok(100), 0, 0, refused), "the retry stops at the rejection");

    let net = SafetyNet::builder().fallback(boxed).breaker(guard()).retry(retry()).build();
    assert_eq!(net.to_string(), format!("fallback -> {BREAKER} -> {RETRY}"));
    let [closed, open] = try_out(&net, &breaker, &events);
    assert_eq!(closed, seen(Ok(100), 3, 1, spent), "the breaker sees the call");
    assert_eq!(open, seen(Ok(100), 0, 0, None), "the retry sees nothing");

    let net = SafetyNet::builder().retry(retry()).breaker(guard()).fallback(down).build();
    assert_eq!(net.to_string(), format!("{RETRY} -> {BREAKER} -> fallback"));
    let [closed, open] = try_out(&net, &breaker, &events);
    assert_eq!(closed, seen(Ok(100), 1, 0, None), "nobody else sees an error");
    assert_eq!(open, seen(Err("rejected"), 0, 0, refused));

    let net = SafetyNet::builder().breaker(guard()).retry(retry()).fallback(down).build();
    assert_eq!(net.to_string(), format!("{BREAKER} -> {RETRY} -> fallback"));
    let [closed, open] = try_out(&net, &breaker, &events);
    assert_eq!(closed, seen(Ok(100), 1, 0, None));
    assert_eq!(open, seen(Err("rejected"), 0, 0, None));

    let net = SafetyNet::builder().retry(retry()).fallback(boxed).breaker(guard()).build();
    assert_eq!(net.to_string(), format!("{RETRY} -> fallback -> {BREAKER}"));
    let [closed, open] = try_out(&net, &breaker, &events);
    assert_eq!(closed, seen(Ok(100), 1, 1, None), "the fallback answers before the retry can try again");
    assert_eq!(open, seen(Ok(100), 0, 0, None));

    let net = SafetyNet::builder().breaker(guard()).fallback(down).retry(retry()).build();
    assert_eq!(net.to_string(), format!("{BREAKER} -> fallback -> {RETRY}"));
    let [closed, open] = try_out(&net, &breaker, &events);
    assert_eq!(closed, seen(Ok(100), 3, 0, spent), "the breaker sees the fallback's answer");
    assert_eq!(open, seen(Err("rejected"), 0, 0, None));
}

#[test]
fn a_net_of_nothing_changes_nothing() {
    let net = SafetyNet::builder().build();
    assert_eq!(net.to_string(), "no policies");
    assert_eq!(net.layer(Stub::new(Answer::Err)).oneshot(7).now_or_never(), Some(Err(Down)));
    assert_eq!(net.layer(Stub::new(Answer::Ok)).oneshot(7).now_or_never(), Some(Ok(7)));
    assert_eq!(net.call(|| ready(Err::<u32, _>(Down))).now_or_never(), Some(Err(Down)));
}

#[test]
fn any_kind_of_fallback_and_breaker_fits() {
    let (breaker, _clock) = tripping_at(1);
    breaker.trip().expect("no override stands");
    let net = SafetyNet::builder()
        .fallback_layer(FallbackLayer::with_request(|sku: u32, Down| ready(Ok(100 + sku))))
        .breaker(guard(&breaker).map_rejection(|_: Rejected| Down))
        .build();
    assert_eq!(net.to_string(), format!("fallback -> {BREAKER}"));
    assert_eq!(net.layer(Stub::new(Answer::Ok)).oneshot(7).now_or_never(), Some(Ok(107)));

    let registry = fusebox::Registry::new(|name| fusebox::CircuitBreakerConfig::builder(name).build());
    let by_parity =
        CircuitBreakerLayer::keyed(registry.clone(), |n: &u32| Some(if n.is_multiple_of(2) { "even" } else { "odd" }));
    let net = SafetyNet::builder().breaker(by_parity).build();
    assert_eq!(net.to_string(), "circuit breakers by key");
    registry.breaker("even").expect("the template works").trip().expect("no override stands");
    assert!(net.layer(Stub::new(Answer::Ok)).oneshot(2).now_or_never().expect("at once").is_err());
    assert!(net.layer(Stub::new(Answer::Ok)).oneshot(1).now_or_never().expect("at once").is_ok());
}

#[test]
fn clones_and_the_services_they_make_share_their_breaker_and_their_budget() {
    let budget = Budget::ratio(0.0).reserve_per_second(1);
    let (breaker, _clock) = tripping_at(12);
    let retries =
        RetryConfig::builder().max_retries(100).backoff(backoff::fixed(Duration::ZERO)).budget(budget.clone());
    let net = SafetyNet::builder()
        .retry(RetryLayer::new(retries.build().expect("a configuration that works")))
        .breaker(guard(&breaker))
        .build();
    let stub = Stub::new(Answer::Err);
    let clone = net.clone();
    assert!(clone.layer(stub.clone()).oneshot(7).now_or_never().expect("at once").is_err());
    assert_eq!((stub.calls(), budget.available()), (11, 0), "one attempt, and ten from the reserve");
    assert!(!breaker.is_open());
    assert!(net.layer(stub.clone()).oneshot(7).now_or_never().expect("at once").is_err());
    assert_eq!(stub.calls(), 12);
    assert!(breaker.is_open());
}

// 29

#[test]
fn c29_a_rejection_stops_the_retry_and_spends_no_budget() {
    let budgets = [Budget::ratio(0.0).reserve_per_second(1), Budget::tokens(10, 1.0)];
    for budget in budgets {
        let (breaker, _clock) = tripping_at(1);
        breaker.trip().expect("no override stands");
        let events = Record::<RetryEvent>::default();
        let told = events.clone();
        let retries = RetryConfig::builder().budget(budget.clone()).on_event(move |event| told.add(*event));
        let net = SafetyNet::builder()
            .retry(RetryLayer::new(retries.build().expect("a configuration that works")))
            .breaker(guard(&breaker))
            .build();
        let (stub, before) = (Stub::new(Answer::Ok), budget.available());
        for _ in 0..20 {
            let error = net.layer(stub.clone()).oneshot(7).now_or_never().expect("at once").expect_err("rejected");
            assert_eq!(rejection(&*error).map(Rejected::reason), Some(RejectReason::Open));
            assert_eq!(stopped(&events), Some(StopReason::Rejected));
        }
        assert_eq!((budget.available(), stub.calls()), (before, 0));
    }
}

#[test]
fn c29_the_attempt_that_opens_the_circuit_is_the_last_one() {
    let budget = Budget::ratio(0.0).reserve_per_second(10);
    let (breaker, _clock) = tripping_at(3);
    let retries = RetryConfig::builder().max_retries(50).backoff(backoff::fixed(Duration::ZERO)).budget(budget.clone());
    let net = SafetyNet::builder()
        .retry(RetryLayer::new(retries.build().expect("a configuration that works")))
        .breaker(guard(&breaker))
        .build();
    let (stub, before) = (Stub::new(Answer::Err), budget.available());
    let error = net.layer(stub.clone()).oneshot(7).now_or_never().expect("at once").expect_err("down");
    assert!(rejection(&*error).is_some());
    assert_eq!((stub.calls(), before - budget.available()), (3, 3), "the third retry was rejected");
}

#[tokio::test(start_paused = true)]
async fn c29_a_rejection_is_waited_for_where_that_is_asked_for() {
    let (breaker, clock) = tripping_at(1);
    breaker.trip().expect("no override stands");
    let turn = clock.clone();
    let retries = RetryConfig::builder()
        .backoff(backoff::fixed(Duration::ZERO))
        .when_rejected(WhenRejected::Wait)
        .on_retry(move |event| match event.kind() {
            RetryEventKind::Retrying { after, .. } => turn.advance(after),
            _ => unreachable!("these are retries"),
        });
    let net = SafetyNet::builder()
        .retry(RetryLayer::new(retries.build().expect("a configuration that works")))
        .breaker(guard(&breaker))
        .build();
    assert_eq!(net.layer(Stub::new(Answer::Ok)).oneshot(7).await.expect("after the cooldown"), 7);
}

// Functions

#[tokio::test]
async fn a_function_is_called_through_the_policies_as_a_service_is() {
    let (breaker, _clock) = tripping_at(4);
    let net =
        SafetyNet::builder().fallback(|_: BoxError| ready(Ok(100))).retry(retry()).breaker(guard(&breaker)).build();
    let calls = std::cell::Cell::new(0);
    let limit = String::from("4"); // borrowed by the future
    let fetch = || async {
        calls.set(calls.get() + 1);
        if calls.get() < limit.parse().expect("a number") { Err(Down) } else { Ok(calls.get()) }
    };
    assert_eq!(net.call(fetch).await.expect("the fallback"), 100);
    assert_eq!((calls.get(), failures(&breaker)), (3, 3));
    assert_eq!(net.call(fetch).await.expect("the function itself"), 4);
    breaker.trip().expect("no override stands");
    assert_eq!(net.call(fetch).await.expect("the fallback"), 100);
    assert_eq!(calls.get(), 4);
}

#[tokio::test]
async fn the_last_error_of_a_function_comes_back_as_it_is() {
    let net = SafetyNet::builder().retry(retry()).build();
    let attempts = std::cell::Cell::new(0);
    let count = || {
        attempts.set(attempts.get() + 1);
        ready(Err::<u32, _>(attempts.get()))
    };
    assert_eq!(net.call(count).await, Err(3), "not boxed where nothing else is possible");
}

#[tokio::test]
async fn the_same_net_serves_functions_and_services_of_different_types() {
    let (breaker, _clock) = tripping_at(2);
    let net = SafetyNet::builder().breaker(guard(&breaker)).build();
    assert_eq!(net.call(|| ready(Ok::<_, Down>("text"))).await.expect("closed"), "text");
    assert!(net.call(|| ready(Err::<(), _>("down"))).await.is_err());
    assert!(net.layer(Stub::new(Answer::Err)).oneshot(7).await.is_err());
    assert!(breaker.is_open(), "one breaker for all");
    let error = net.call(|| ready(Ok::<_, Down>(1.5))).await.expect_err("open");
    assert!(rejection(&*error).is_some());
}

// Ready-made nets

#[test]
fn presets_say_their_retries_budgets_and_limits() {
    let database = SafetyNet::database("orders").expect("a name");
    assert_eq!(
        database.to_string(),
        "retry (2 retries, exponential 20ms..=500ms, full jitter, budget 0.1 of requests + 5/s, 5s an attempt, \
         10s in all) -> circuit breaker `orders`",
    );
    #[cfg(feature = "http")]
    assert_eq!(
        SafetyNet::http("prices").expect("a name").to_string(),
        "retry (2 retries, exponential 100ms..=2s, full jitter, budget 0.2 of requests + 10/s, 10s an attempt, \
         30s in all) -> circuit breaker `prices`",
    );
    #[cfg(feature = "grpc")]
    assert_eq!(
        SafetyNet::grpc("payments").expect("a name").to_string(),
        "retry (3 retries, exponential 100ms..=1s, full jitter, budget 100 tokens, 0.1 per success, 5s an attempt, \
         15s in all) -> circuit breaker `payments`",
    );
    #[cfg(feature = "reqwest")]
    {
        let (http, reqwest) =
            (SafetyNet::http("prices").expect("a name"), SafetyNet::reqwest("prices").expect("a name"));
        assert_eq!(reqwest.to_string(), http.to_string());
        let rule = |breaker: Option<&CircuitBreaker>| breaker.expect("it has one").snapshot().detectors[0].rule.clone();
        assert_eq!(rule(reqwest.breaker()), rule(http.breaker()));
    }
}

#[test]
fn presets_refuse_an_empty_name() {
    assert!(SafetyNet::database("").expect_err("no name").to_string().contains("`name`"));
    #[cfg(feature = "http")]
    assert!(SafetyNet::http("").expect_err("no name").to_string().contains("`name`"));
    #[cfg(feature = "reqwest")]
    assert!(SafetyNet::reqwest("").expect_err("no name").to_string().contains("`name`"));
    #[cfg(feature = "grpc")]
    assert!(SafetyNet::grpc("").expect_err("no name").to_string().contains("`name`"));
}
