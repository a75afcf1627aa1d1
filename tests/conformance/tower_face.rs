//! 13, 14, 15, 18: layers, buffers, readiness, error chains.

use super::*;

// 13

#[test]
fn c13_a_layer_that_is_applied_per_request_still_trips() {
    let (breaker, _clock) = tripping_at(5);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let stub = Stub::new(Answer::Err);
    for n in 0..20 {
        let error = call(&mut layer.clone().layer(stub.clone()), n).expect_err("down or rejected");
        assert_eq!(rejection(&*error).is_some(), n >= 5);
    }
    assert_eq!(stub.calls(), 5);
    assert!(breaker.is_open());
    assert!(layer.breaker().is_open());
}

// 14

#[tokio::test]
async fn c14_rejecting_never_kills_a_buffer() {
    let (breaker, _clock) = tripping_at(1);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let stub = Stub::new(Answer::Ok);
    let mut service = ServiceBuilder::new().buffer(8).layer(layer).service(stub.clone());
    breaker.trip().expect("no override stands");
    for n in 0..100_u32 {
        let error = service.ready().await.expect("the buffer lives").call(n).await.expect_err("open");
        assert_eq!(rejection(&*error).map(fusebox::Rejected::reason), Some(RejectReason::Open));
    }
    breaker.reset().expect("no override stands");
    assert_eq!(service.ready().await.expect("the buffer lives").call(7).await.expect("closed"), 7);
    assert_eq!(stub.calls(), 1);
}

#[tokio::test]
async fn c14_rejecting_drops_no_endpoint_from_a_balance() {
    let endpoints: Vec<_> = (0..2)
        .map(|_| {
            let (breaker, clock) = tripping_at(1);
            (breaker, clock, Stub::new(Answer::Ok))
        })
        .collect();
    let services: Vec<_> = endpoints
        .iter()
        .map(|(breaker, _, stub)| {
            let service = CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone());
            tower::load::Constant::new(service, 1)
        })
        .collect();
    let mut balance = tower::balance::p2c::Balance::new(ServiceList::new::<u32>(services));
    assert!(balance.ready().await.expect("ready").call(0).await.is_ok());
    for (breaker, ..) in &endpoints {
        breaker.trip().expect("no override stands");
    }
    for n in 0..50 {
        let error = balance.ready().await.expect("ready to reject").call(n).await.expect_err("open");
        assert!(rejection(&*error).is_some());
    }
    for (breaker, ..) in &endpoints {
        breaker.reset().expect("no override stands");
    }
    let before: usize = endpoints.iter().map(|(.., stub)| stub.calls()).sum();
    for n in 0..50 {
        assert_eq!(balance.ready().await.expect("ready").call(n).await.expect("closed"), n);
    }
    assert_eq!(balance.len(), 2);
    let after: usize = endpoints.iter().map(|(.., stub)| stub.calls()).sum();
    assert_eq!(after - before, 50);
    assert!(endpoints.iter().all(|(.., stub)| stub.calls() > 1), "both endpoints work again");
}

// 15

#[test]
fn c15_an_open_breaker_answers_while_the_inner_service_is_never_ready() {
    let (breaker, clock) = tripping_at(1);
    let stub = Stub::new(Answer::Ok);
    stub.gets_ready(Ready::Never);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone());
    assert!(service.ready().now_or_never().is_none(), "closed: the inner service decides");
    breaker.trip().expect("no override stands");
    for _ in 0..3 {
        assert!(call(&mut service, 1).is_err());
    }
    clock.advance(secs(30));
    assert!(service.ready().now_or_never().is_none(), "a probe needs the inner service");
    let probe = breaker.acquire().expect("half-open");
    let error = call(&mut service, 1).expect_err("the only probe is on its way");
    assert_eq!(rejection(&*error).map(fusebox::Rejected::reason), Some(RejectReason::ProbesBusy));
    drop(probe);
    assert_eq!(stub.calls(), 0);
}

#[test]
fn c15_a_call_that_was_promised_a_rejection_gets_one_though_the_cooldown_ended_meanwhile() {
    let (breaker, clock) = tripping_at(1);
    let stub = Stub::new(Answer::Ok);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone());
    for recover in [false, true] {
        breaker.trip().expect("no override stands");
        let asked = stub.asked();
        assert!(service.ready().now_or_never().is_some());
        assert_eq!(stub.asked(), asked, "the inner service was not asked");
        clock.advance(secs(30));
        if recover {
            breaker.reset().expect("no override stands");
        }
        let error = service.call(1).now_or_never().expect("at once").expect_err("rejected");
        let rejected = rejection(&*error).expect("a rejection");
        let reason = if recover { RejectReason::NotReady } else { RejectReason::Open };
        assert_eq!((rejected.reason(), rejected.retry_after()), (reason, Some(Duration::ZERO)), "retry now");
        assert_eq!(stub.calls(), usize::from(recover));
        assert_eq!(call(&mut service, 1).expect("the next one goes through"), 1);
        assert_eq!(breaker.state(), State::Closed);
    }
}

#[test]
fn c15_a_rejection_names_the_state_that_the_breaker_is_in() {
    let (breaker, clock) = tripping_at(1);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(Stub::new(Answer::Ok));
    breaker.trip().expect("no override stands");
    assert!(service.ready().now_or_never().is_some());
    clock.advance(secs(30));
    assert_eq!(breaker.state(), State::Open, "nobody asked since the cooldown ended");
    let error = service.call(1).now_or_never().expect("at once").expect_err("rejected");
    assert_eq!(rejection(&*error).map(fusebox::Rejected::state), Some(State::Open));
}

#[test]
fn c15_an_inner_readiness_error_is_one_failure_per_instance() {
    let (breaker, _clock) = tripping_at(3);
    let stub = Stub::new(Answer::Ok);
    stub.gets_ready(Ready::Error);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let mut service = layer.layer(stub);
    for _ in 0..10 {
        let error = service.ready().now_or_never().expect("at once").expect_err("not ready");
        assert!(error.is::<Down>());
        assert_eq!(failures(&breaker), 1);
    }
    for _ in 0..2 {
        let mut fresh = service.clone();
        assert!(fresh.ready().now_or_never().expect("at once").is_err());
    }
    assert_eq!(breaker.state(), State::Open, "three instances failed");
}

#[test]
fn c15_an_inner_readiness_error_is_no_probes_verdict() {
    let (breaker, clock) = tripping_at(1);
    let stub = Stub::new(Answer::Ok);
    stub.gets_ready(Ready::Error);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(stub);
    breaker.trip().expect("no override stands");
    clock.advance(secs(30));
    assert!(service.ready().now_or_never().expect("at once").is_err());
    assert_eq!(breaker.state(), State::Open, "asking for readiness is not asking for a call");
    drop(breaker.acquire().expect("half-open"));
    let mut fresh = service.clone();
    assert!(fresh.ready().now_or_never().expect("at once").is_err());
    assert_eq!(breaker.state(), State::HalfOpen);
    succeed(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
}

// 18

/// An error with a source.
#[derive(Debug)]
struct Wrapper(BoxError);

impl fmt::Display for Wrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrapped")
    }
}

impl Error for Wrapper {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

#[test]
fn c18_error_chains_keep_their_source() {
    let (breaker, _clock) = tripping_at(1);
    let inner = tower::service_fn(|_: u32| async { Err::<u32, _>(Wrapper(Box::new(Down))) });
    let mut service = CircuitBreakerLayer::from(breaker).layer(inner);
    let error = call(&mut service, 1).expect_err("down");
    let own = error.downcast_ref::<Wrapper>().expect("the inner error itself, not one around it");
    assert!(own.source().expect("its source").is::<Down>());
    assert!(rejection(&*error).is_none());

    let rejected = call(&mut service, 1).expect_err("open");
    assert!(rejected.is::<fusebox::Rejected>());
    let outer = Wrapper(Box::new(Wrapper(rejected)));
    assert_eq!(rejection(&outer).expect("at any depth").reason(), RejectReason::Open);
}

#[test]
fn c18_call_errors_keep_their_source() {
    let (breaker, _clock) = tripping_at(1);
    let error = breaker.call_blocking(|| Err::<(), _>(Wrapper(Box::new(Down)))).expect_err("down");
    assert_eq!(error.to_string(), "wrapped");
    assert!(error.source().expect("the inner error's source").is::<Down>());
    let error = breaker.call_blocking(|| Err::<(), _>(Wrapper(Box::new(Down)))).expect_err("open");
    assert!(matches!(error, CallError::Rejected(_)));
    assert!(rejection(&error).is_some());
}
