//! The breaker among Tower's own middleware, and among breakers.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fusebox::{
    BoxError, CallError, CircuitBreakerConfig, CircuitBreakerLayer, Outcome, Registry, Rejected, State,
    circuit_breaker::RejectReason, classify, detect, rejection,
};
use futures::FutureExt;
use support::{Answer, Down, Ready, Stub, breaker, fail, failures, first_probe, ms, poll_once, secs, tripping_at};
use tower::hedge::{Hedge, Policy};
use tower::limit::ConcurrencyLimitLayer;
use tower::load_shed::error::Overloaded;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

async fn call<S: Service<u32>>(service: &mut S, request: u32) -> Result<S::Response, S::Error> {
    service.ready().await?.call(request).await
}

fn is_rejection(result: Result<u32, BoxError>) -> bool {
    result.is_err_and(|error| rejection(&*error).is_some())
}

// Tower's middleware

#[tokio::test]
async fn a_breaker_between_two_buffers_trips_rejects_and_recovers() {
    let (breaker, clock) = tripping_at(2);
    let stub = Stub::new(Answer::Err);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let mut service = ServiceBuilder::new().buffer(4).layer(layer).buffer(4).service(stub.clone());
    for _ in 0..2 {
        assert!(call(&mut service, 1).await.expect_err("down").is::<Down>());
    }
    for _ in 0..20 {
        assert!(is_rejection(call(&mut service, 1).await));
    }
    assert_eq!(stub.calls(), 2);
    stub.answers(Answer::Ok);
    clock.advance(secs(30));
    assert_eq!(call(&mut service, 7).await.expect("the probe"), 7);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test]
async fn an_open_breaker_answers_while_the_concurrency_limit_inside_is_used_up() {
    let (breaker, clock) = tripping_at(1);
    let stub = Stub::new(Answer::Hang);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let limited = ConcurrencyLimitLayer::new(1).layer(stub.clone());
    let (mut first, mut second) = (layer.layer(limited.clone()), layer.layer(limited));
    let mut hung = Box::pin(first.ready().await.expect("ready").call(1));
    assert!(poll_once(hung.as_mut()).is_pending());
    assert!(second.ready().now_or_never().is_none(), "closed: the limit decides");
    breaker.trip().expect("no override stands");
    assert!(is_rejection(call(&mut second, 1).await));
    stub.answers(Answer::Ok);
    drop(hung);
    clock.advance(secs(30));
    assert_eq!(call(&mut second, 7).await.expect("the probe"), 7);
}

#[tokio::test]
async fn rejections_give_back_the_permits_of_a_concurrency_limit_outside() {
    let (breaker, _clock) = tripping_at(1);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let mut service = ServiceBuilder::new().concurrency_limit(2).layer(layer).service(Stub::new(Answer::Ok));
    breaker.trip().expect("no override stands");
    for _ in 0..50 {
        assert!(is_rejection(call(&mut service, 1).await));
    }
    breaker.reset().expect("no override stands");
    assert_eq!(call(&mut service, 7).await.expect("closed"), 7);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_inside_is_a_failure_like_any_other() {
    let (breaker, _clock) = tripping_at(2);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let stub = Stub::new(Answer::Hang);
    let mut service = ServiceBuilder::new().layer(layer).timeout(secs(1)).service(stub.clone());
    for _ in 0..2 {
        let error = call(&mut service, 1).await.expect_err("it hangs");
        assert!(error.is::<tower::timeout::error::Elapsed>());
    }
    assert!(breaker.is_open());
    assert!(is_rejection(call(&mut service, 1).await));
    assert_eq!(stub.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_takes_nothing_from_a_rejection() {
    let (breaker, _clock) = tripping_at(1);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let mut service = ServiceBuilder::new().timeout(secs(1)).layer(layer).service(Stub::new(Answer::Hang));
    assert!(call(&mut service, 1).await.expect_err("it hangs").is::<tower::timeout::error::Elapsed>());
    assert_eq!((breaker.state(), failures(&breaker)), (State::Closed, 0), "given up is not failed");
    breaker.trip().expect("no override stands");
    assert!(is_rejection(call(&mut service, 1).await));
}

#[tokio::test]
async fn load_shed_outside_lets_a_rejecting_breaker_answer_and_sheds_for_a_waiting_one() {
    let (breaker, _clock) = tripping_at(1);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let stub = Stub::new(Answer::Ok);
    let mut rejecting = ServiceBuilder::new().load_shed().layer(layer.clone()).service(stub.clone());
    let mut waiting = ServiceBuilder::new().load_shed().layer(layer.wait_when_open()).service(stub.clone());
    breaker.trip().expect("no override stands");
    for _ in 0..10 {
        assert!(is_rejection(call(&mut rejecting, 1).await));
        assert!(call(&mut waiting, 1).await.expect_err("not ready").is::<Overloaded>());
    }
    breaker.reset().expect("no override stands");
    assert_eq!(call(&mut rejecting, 1).await.expect("closed"), 1);
    assert_eq!(call(&mut waiting, 2).await.expect("closed"), 2);
    assert_eq!(stub.calls(), 2);
}

#[tokio::test]
async fn what_is_shed_inside_can_be_excluded() {
    let (breaker, _clock) = tripping_at(1);
    let stub = Stub::new(Answer::Ok);
    stub.gets_ready(Ready::Never);
    let excluded = classify::errors().exclude_source(|_: &Overloaded| true);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let mut service = ServiceBuilder::new().layer(layer.clone().classify(excluded)).load_shed().service(stub.clone());
    for _ in 0..5 {
        assert!(call(&mut service, 1).await.expect_err("shed").is::<Overloaded>());
    }
    assert_eq!(breaker.state(), State::Closed);
    let mut strict = ServiceBuilder::new().layer(layer).load_shed().service(stub);
    assert!(call(&mut strict, 1).await.is_err());
    let is_known = cfg!(feature = "tower");
    assert_eq!(breaker.state(), if is_known { State::Closed } else { State::Open });
}

#[cfg(feature = "testing")]
mod balance {
    use super::*;
    use fusebox::CircuitBreaker;
    use fusebox::circuit_breaker::WaitService;
    use tokio::time::{advance, timeout};
    use tower::balance::p2c::Balance;
    use tower::discover::ServiceList;
    use tower::load::Constant;

    type Endpoint = Constant<WaitService<Stub>, u32>;

    /// Three endpoints, each behind a breaker that trips at two failures in a row and waits while open.
    fn three() -> (Vec<(CircuitBreaker, Stub)>, Balance<ServiceList<Vec<Endpoint>>, u32>) {
        let endpoints: Vec<_> = (0..3)
            .map(|_| {
                let config = support::config(|b| b.detector(detect::consecutive_failures(2)));
                (CircuitBreaker::new(config), Stub::new(Answer::Ok))
            })
            .collect();
        let waiting = |(breaker, stub): &(CircuitBreaker, Stub)| {
            let layer = CircuitBreakerLayer::from(breaker.clone()).wait_when_open();
            Constant::new(layer.layer(stub.clone()), 1)
        };
        let services = endpoints.iter().map(waiting).collect();
        (endpoints, Balance::new(ServiceList::new::<u32>(services)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_sick_endpoint_drops_out_of_a_balance_and_returns() {
        let (endpoints, mut balance) = three();
        endpoints[0].1.answers(Answer::Err);
        let mut errors = 0;
        for n in 0..300 {
            errors += usize::from(call(&mut balance, n).await.is_err());
        }
        assert_eq!(errors, 2, "two failures opened its circuit");
        assert_eq!(endpoints[0].1.calls(), 2);
        assert_eq!(endpoints[1].1.calls() + endpoints[2].1.calls(), 298);

        advance(secs(31)).await;
        let mut errors = 0;
        for n in 0..100 {
            errors += usize::from(call(&mut balance, n).await.is_err());
        }
        assert_eq!(errors, 1, "one probe failed");

        endpoints[0].1.answers(Answer::Ok);
        advance(secs(31)).await;
        let before = endpoints[0].1.calls();
        for n in 0..300 {
            assert_eq!(call(&mut balance, n).await.expect("everybody is well"), n);
        }
        assert_eq!(endpoints[0].0.state(), State::Closed);
        assert!(endpoints[0].1.calls() - before > 30, "it takes its share again");
        assert_eq!(balance.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_balance_whose_endpoints_are_all_sick_waits_for_the_first_to_return() {
        let (endpoints, mut balance) = three();
        for (breaker, _) in &endpoints {
            breaker.trip().expect("no override stands");
        }
        assert!(timeout(secs(29), balance.ready()).await.is_err(), "nobody is there");
        let answer = timeout(secs(2), call(&mut balance, 7)).await.expect("the cooldowns are over");
        assert_eq!(answer.expect("the probe works"), 7);
    }
}

// Rejection modes

#[tokio::test]
async fn boxed_rejections_pass_through_a_whole_stack() {
    let (breaker, _clock) = tripping_at(1);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let stack = ServiceBuilder::new().buffer(8).concurrency_limit(4).layer(layer).timeout(secs(9));
    let mut service = stack.service(Stub::new(Answer::Ok));
    assert_eq!(call(&mut service, 1).await.expect("closed"), 1);
    breaker.trip().expect("no override stands");
    let error = call(&mut service, 1).await.expect_err("open");
    let rejected = rejection(&*error).expect("a rejection");
    assert_eq!((&*rejected.name(), rejected.retry_after()), ("test", Some(secs(30))));
}

#[tokio::test]
async fn mapped_rejections_keep_the_inner_error_type() {
    #[derive(Debug)]
    enum Mine {
        Down,
        Open(Rejected),
    }
    let (breaker, _clock) = tripping_at(1);
    let layer = CircuitBreakerLayer::from(breaker.clone()).map_rejection(Mine::Open);
    let stub = Stub::new(Answer::Err);
    let mut service = ServiceBuilder::new().layer(layer).map_err(|Down| Mine::Down).service(stub.clone());
    assert!(matches!(call(&mut service, 1).await, Err(Mine::Down)));
    match call(&mut service, 1).await {
        Err(Mine::Open(rejected)) => assert_eq!(rejected.reason(), RejectReason::Open),
        other => panic!("{other:?}"),
    }
    assert_eq!(stub.calls(), 1);
}

#[tokio::test]
async fn responses_to_rejections_keep_an_infallible_stack_infallible() {
    let (breaker, _clock) = tripping_at(1);
    let layer = CircuitBreakerLayer::from(breaker.clone())
        .classify(|answer: &Result<u32, std::convert::Infallible>| match answer {
            Ok(500) => Outcome::Failure,
            _ => Outcome::Success,
        })
        .respond_with(|rejected: &Rejected| if rejected.retry_after().is_some() { 503 } else { 0 });
    let inner = tower::service_fn(|n: u32| ready(Ok::<_, std::convert::Infallible>(n)));
    let mut service = ServiceBuilder::new().layer(layer).service(inner);
    let Ok(answer) = call(&mut service, 200).await;
    assert_eq!(answer, 200);
    let Ok(answer) = call(&mut service, 500).await;
    assert_eq!((answer, breaker.state()), (500, State::Open));
    let Ok(answer) = call(&mut service, 200).await;
    assert_eq!(answer, 503);
}

#[tokio::test]
async fn a_fallback_gets_the_request_and_may_ask_another_guarded_service() {
    let ((primary, _), (secondary, _)) = (tripping_at(1), tripping_at(1));
    let cache = CircuitBreakerLayer::from(secondary.clone())
        .map_rejection(|_| Down)
        .layer(tower::service_fn(|n: u32| async move { if n < 100 { Ok(n + 1_000) } else { Err(Down) } }));
    let layer = CircuitBreakerLayer::from(primary.clone()).fallback(move |request: u32, rejected: Rejected| {
        assert_eq!(&*rejected.name(), "test");
        cache.clone().oneshot(request)
    });
    let stub = Stub::new(Answer::Err);
    let mut service = ServiceBuilder::new().concurrency_limit(4).layer(layer).service(stub.clone());
    assert_eq!(call(&mut service, 7).await, Err(Down), "an error is no rejection");
    assert_eq!(call(&mut service, 7).await, Ok(1_007));
    assert_eq!(call(&mut service, 100).await, Err(Down), "a fallback may fail");
    assert!(secondary.is_open());
    assert_eq!(call(&mut service, 7).await, Err(Down));
    assert_eq!(stub.calls(), 1);
}

#[tokio::test]
async fn what_a_fallback_does_is_no_evidence() {
    let (breaker, clock) = tripping_at(1);
    let probe = first_probe(&breaker, &clock);
    for result in [Ok(1), Err(Down)] {
        let layer = CircuitBreakerLayer::from(breaker.clone()).fallback(move |_: u32, _| ready(result));
        assert_eq!(call(&mut layer.layer(Stub::new(Answer::Ok)), 9).await, result);
        assert_eq!(breaker.state(), State::HalfOpen);
    }
    probe.success();
    assert_eq!((breaker.state(), failures(&breaker)), (State::Closed, 0));
}

#[cfg(feature = "testing")]
#[tokio::test(start_paused = true)]
async fn a_waiting_breaker_holds_a_whole_stack_back_until_it_may_go_on() {
    let breaker = fusebox::CircuitBreaker::new(support::config(|b| b));
    let layer = CircuitBreakerLayer::from(breaker.clone()).wait_when_open();
    let stack = ServiceBuilder::new().buffer(8).concurrency_limit(4).layer(layer).timeout(secs(9));
    let mut service = stack.service(Stub::new(Answer::Ok));
    breaker.trip().expect("no override stands");
    let before = support::now();
    assert_eq!(call(&mut service, 7).await.expect("in the end"), 7);
    assert!((secs(30)..secs(31)).contains(&support::now().since(before)));
}

// Keyed

fn registry() -> Registry {
    Registry::new(|name| CircuitBreakerConfig::builder(name).detector(detect::consecutive_failures(1)).build())
}

/// A request with somewhere to go.
#[derive(Clone, Debug)]
struct Order {
    tenant: Option<&'static str>,
    fails: bool,
}

impl Order {
    const fn of(tenant: &'static str) -> Self {
        Self { tenant: Some(tenant), fails: false }
    }

    const fn failing(mut self) -> Self {
        self.fails = true;
        self
    }
}

async fn order<S: Service<Order>>(service: &mut S, order: Order) -> Result<S::Response, S::Error> {
    service.ready().await?.call(order).await
}

fn shop() -> (Arc<AtomicUsize>, impl Service<Order, Response = (), Error = Down, Future: Send> + Clone) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let inner = tower::service_fn(move |order: Order| {
        counter.fetch_add(1, Ordering::SeqCst);
        ready(if order.fails { Err(Down) } else { Ok(()) })
    });
    (calls, inner)
}

#[tokio::test]
async fn each_key_has_a_breaker_of_its_own() {
    let registry = registry();
    let (calls, inner) = shop();
    let layer = CircuitBreakerLayer::keyed(registry.clone(), |order: &Order| order.tenant);
    let mut service = layer.layer(inner);
    assert!(order(&mut service, Order::of("a").failing()).await.is_err());
    assert!(order(&mut service, Order::of("b")).await.is_ok());
    let error = order(&mut service, Order::of("a")).await.expect_err("its circuit is open");
    assert_eq!(rejection(&*error).map(Rejected::name).as_deref(), Some("a"));
    assert!(order(&mut service.clone(), Order::of("a")).await.is_err(), "clones share the registry");
    assert!(order(&mut service, Order::of("b")).await.is_ok());
    assert_eq!((calls.load(Ordering::SeqCst), registry.len()), (3, 2));
    assert!(registry.get("a").expect("made by the call").is_open());
}

#[tokio::test]
async fn a_request_without_a_key_is_not_guarded() {
    let registry = registry();
    let (calls, inner) = shop();
    let mut service = CircuitBreakerLayer::keyed(registry.clone(), |order: &Order| order.tenant).layer(inner);
    let nobody = Order { tenant: None, fails: true };
    for _ in 0..10 {
        let error = order(&mut service, nobody.clone()).await.expect_err("down");
        assert!(error.is::<Down>());
    }
    assert_eq!(calls.load(Ordering::SeqCst), 10);
    assert!(registry.is_empty());
}

#[tokio::test]
async fn keys_may_be_put_together_first() {
    let registry = registry();
    let (_, inner) = shop();
    let key = |order: &Order| order.tenant.map(|tenant| format!("tenant/{tenant}"));
    let mut service = CircuitBreakerLayer::keyed_owned(registry.clone(), key).layer(inner.clone());
    assert!(order(&mut service, Order::of("a").failing()).await.is_err());
    assert!(registry.get("tenant/a").expect("made by the call").is_open());
    let nobody = Order { tenant: None, fails: false };
    assert!(order(&mut service, nobody).await.is_ok());
    assert_eq!(registry.len(), 1);
}

#[tokio::test]
async fn keyed_layers_have_all_modes_that_answer() {
    let registry = registry();
    registry.breaker("a").expect("the template works").trip().expect("no override stands");
    let (calls, inner) = shop();
    let keyed = || CircuitBreakerLayer::keyed(registry.clone(), |order: &Order| order.tenant);
    let mut mapped = keyed().map_rejection(|_| Down).layer(inner.clone());
    let mut responding = keyed().respond_with(|rejected| assert_eq!(&*rejected.name(), "a")).layer(inner.clone());
    let mut falling = keyed().fallback(|order: Order, _| ready(order.tenant.map(drop).ok_or(Down))).layer(inner);
    assert_eq!(order(&mut mapped, Order::of("a")).await, Err(Down));
    assert_eq!(order(&mut responding, Order::of("a")).await, Ok(()));
    assert_eq!(order(&mut falling, Order::of("a")).await, Ok(()));
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    assert_eq!(order(&mut mapped, Order::of("b")).await, Ok(()));
}

#[tokio::test]
async fn an_inner_readiness_error_belongs_to_no_key() {
    let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    let stub = Stub::new(Answer::Ok);
    stub.gets_ready(Ready::Error);
    let mut service = CircuitBreakerLayer::keyed(registry.clone(), |_: &u32| Some("a")).layer(stub);
    assert!(call(&mut service, 1).await.is_err());
    assert!(registry.is_empty());
}

// Breakers among breakers

#[tokio::test]
async fn a_rejection_by_an_inner_breaker_is_no_evidence_for_an_outer_one() {
    let ((outer, _), (inner, _)) = (tripping_at(2), tripping_at(1));
    let stub = Stub::new(Answer::Err);
    let stack = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::from(outer.clone()))
        .timeout(secs(9))
        .layer(CircuitBreakerLayer::from(inner.clone()));
    let mut service = stack.service(stub.clone());
    assert!(call(&mut service, 1).await.expect_err("down").is::<Down>());
    assert_eq!((outer.state(), inner.state(), failures(&outer)), (State::Closed, State::Open, 1));
    for _ in 0..20 {
        let error = call(&mut service, 1).await.expect_err("the inner circuit is open");
        assert_eq!(rejection(&*error).map(Rejected::reason), Some(RejectReason::Open));
    }
    assert_eq!((outer.state(), failures(&outer), stub.calls()), (State::Closed, 1, 1));
}

#[tokio::test]
async fn a_probe_that_an_inner_breaker_rejects_decides_nothing() {
    let ((outer, clock), (inner, _)) = (tripping_at(1), tripping_at(1));
    let stack = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::from(outer.clone()))
        .layer(CircuitBreakerLayer::from(inner.clone()));
    let mut service = stack.service(Stub::new(Answer::Ok));
    inner.trip().expect("no override stands");
    outer.trip().expect("no override stands");
    clock.advance(secs(30));
    for _ in 0..5 {
        assert!(is_rejection(call(&mut service, 1).await));
        assert_eq!(outer.state(), State::HalfOpen);
    }
    inner.reset().expect("no override stands");
    assert_eq!(call(&mut service, 7).await.expect("the probe"), 7);
    assert_eq!(outer.state(), State::Closed);
}

#[test]
fn a_rejected_call_inside_a_call_is_no_evidence_either() {
    let ((outer, _), (inner, _)) = (tripping_at(1), tripping_at(1));
    inner.trip().expect("no override stands");
    let boxed = outer.call(|| async { inner.call(|| async { Err::<(), _>(Down) }).await.map_err(BoxError::from) });
    assert!(boxed.now_or_never().expect("at once").is_err());
    assert_eq!(outer.state(), State::Closed, "boxed");

    let permit = outer.call_blocking(|| inner.acquire().map(drop));
    assert!(permit.is_err());
    assert_eq!(outer.state(), State::Closed, "the rejection itself");

    let not_rejections = outer.classify(classify::errors().exclude(CallError::is_rejected));
    let nested = not_rejections.call_blocking(|| inner.call_blocking(|| Err::<(), _>(Down)));
    assert!(nested.is_err());
    assert_eq!(outer.state(), State::Closed, "as a `CallError`, which only its own type can tell");
}

#[test]
fn two_layers_of_one_breaker_share_it() {
    let (breaker, _clock) = breaker(|b| b.detector(detect::consecutive_failures(2)));
    let one = CircuitBreakerLayer::from(breaker.clone()).layer(Stub::new(Answer::Err));
    let other = CircuitBreakerLayer::from(breaker.clone()).map_rejection(|_| Down).layer(Stub::new(Answer::Err));
    assert!(one.oneshot(1).now_or_never().expect("at once").is_err());
    assert!(other.oneshot(1).now_or_never().expect("at once").is_err());
    assert!(breaker.is_open());
}

#[test]
fn a_breaker_made_by_a_config_lives_in_its_layer() {
    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments"));
    let breaker = layer.breaker().clone();
    fail(&breaker, 4);
    let service = layer.layer(Stub::new(Answer::Err));
    drop(layer);
    assert!(service.oneshot(1).now_or_never().expect("at once").is_err());
    assert!(breaker.is_open(), "five within a minute, by default");
}

// HTTP

#[cfg(feature = "http")]
mod http_faces {
    use super::*;
    use ::http::{Request, Response, StatusCode};
    use fusebox::key;

    type Answered = Result<Response<String>, Down>;

    fn server() -> impl Service<Request<String>, Response = Response<String>, Error = Down, Future: Send> + Clone {
        tower::service_fn(|request: Request<String>| async move {
            let mut response = Response::new(String::from("hello"));
            let status = request.headers().get("answer").and_then(|value| value.to_str().ok()?.parse().ok());
            *response.status_mut() = status.unwrap_or(StatusCode::OK);
            if let Some(wait) = request.headers().get("wait") {
                response.headers_mut().insert("retry-after", wait.clone());
            }
            Answered::Ok(response)
        })
    }

    fn get(uri: &str, status: u16, wait: Option<&str>) -> Request<String> {
        let mut request = Request::get(uri).header("answer", status.to_string());
        if let Some(wait) = wait {
            request = request.header("wait", wait);
        }
        request.body(String::new()).expect("a request")
    }

    #[tokio::test]
    async fn statuses_are_judged_and_rejected_requests_get_a_503_with_retry_after() {
        let (breaker, _clock) = tripping_at(1);
        let layer = CircuitBreakerLayer::from(breaker.clone())
            .classify(classify::http())
            .respond_with(fusebox::web::unavailable::<String>);
        let service = layer.layer(server());
        for fine in [200, 204, 301, 400, 401, 404, 408, 409, 421, 425, 429, 501, 505] {
            let answer = service.clone().oneshot(get("/", fine, None)).await.expect("an answer");
            assert_eq!((answer.status().as_u16(), breaker.state()), (fine, State::Closed));
        }
        for (bad, wait, seconds) in [(500, None, "30"), (503, Some("120"), "120"), (504, Some("1000000"), "300")] {
            let answer = service.clone().oneshot(get("/", bad, wait)).await.expect("an answer");
            assert_eq!((answer.status().as_u16(), breaker.state()), (bad, State::Open));
            let answer = service.clone().oneshot(get("/", 200, None)).await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answer.headers()["retry-after"], seconds);
            breaker.reset().expect("no override stands");
        }
    }

    #[tokio::test]
    async fn hosts_have_breakers_of_their_own() {
        let registry = registry();
        let layer = CircuitBreakerLayer::keyed_by(registry.clone(), key::authority())
            .classify(classify::http())
            .respond_with(fusebox::web::unavailable);
        let service = layer.layer(server());
        let answer = |uri, status| service.clone().oneshot(get(uri, status, None));
        assert_eq!(answer("http://a.example/x", 500).await.expect("an answer").status(), 500);
        assert_eq!(answer("http://a.example/y", 200).await.expect("an answer").status(), 503);
        assert_eq!(answer("http://b.example/x", 200).await.expect("an answer").status(), 200);
        assert_eq!(answer("/nowhere", 500).await.expect("an answer").status(), 500);
        assert_eq!(registry.len(), 2);
    }
}

/// The standard library's `Arc` is an error that shows the source of what it holds, and not what it holds.
#[test]
fn a_rejection_is_found_in_an_error_that_is_shared() {
    #[derive(Debug)]
    struct Shared(Arc<dyn std::error::Error + Send + Sync>);

    impl std::fmt::Display for Shared {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("as all who wait for it have it")
        }
    }

    impl std::error::Error for Shared {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    let (breaker, _clock) = tripping_at(1);
    breaker.trip().expect("no override stands");
    let error = Shared(Arc::new(breaker.acquire().expect_err("open")));
    assert_eq!(rejection(&error).map(Rejected::name).as_deref(), Some("test"));
    assert!(rejection(&Shared(Arc::new(Down))).is_none());
}

/// Under a glob import of this crate, crates beside it are still reached by their names.
#[cfg(feature = "http")]
mod glob {
    use fusebox::*;
    use tower::ServiceExt;

    #[test]
    fn the_crate_http_is_not_shadowed() {
        let layer =
            CircuitBreakerLayer::new(CircuitBreakerConfig::new("prices")).respond_with(web::unavailable::<String>);
        layer.breaker().trip().expect("no override stands");
        let service = tower::Layer::layer(
            &layer,
            tower::service_fn(|_: http::Request<()>| async { Ok::<_, BoxError>(http::Response::new(String::new())) }),
        );
        let answer = futures::executor::block_on(service.oneshot(http::Request::new(()))).expect("an answer");
        assert_eq!(answer.status(), http::StatusCode::SERVICE_UNAVAILABLE);
    }
}

// Hedges

/// Every request may be sent twice.
#[derive(Clone, Debug)]
struct Always;

impl Policy<u32> for Always {
    fn clone_request(&self, request: &u32) -> Option<u32> {
        Some(*request)
    }

    fn can_retry(&self, _request: &u32) -> bool {
        true
    }
}

/// Sends a request once more that takes longer than most did: those took 10 ms.
fn hedge<S>(service: S) -> Hedge<S, Always>
where
    S: Service<u32> + Clone,
    S::Error: Into<BoxError>,
{
    Hedge::new_with_mock_latencies(service, Always, 10, 0.9, secs(60), &[10; 20])
}

/// A breaker whose next call is its only probe.
fn cooled_down() -> fusebox::CircuitBreaker {
    let config = CircuitBreakerConfig::builder("hedged").cooldown(std::time::Duration::ZERO);
    let breaker = fusebox::CircuitBreaker::new(config.build().expect("works"));
    breaker.trip().expect("no override stands");
    breaker
}

#[tokio::test(start_paused = true)]
async fn a_breaker_around_a_hedge_has_one_probe_of_both_requests() {
    let (breaker, stub) = (cooled_down(), Stub::new(Answer::In(ms(200))));
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(hedge(stub.clone()));
    assert_eq!(call(&mut service, 7).await.expect("the first answer"), 7);
    assert_eq!(stub.calls(), 2, "the dependency got both");
    assert_eq!(breaker.state(), State::Closed);
}

/// The order that the documentation warns of, or it is wrong.
#[tokio::test(start_paused = true)]
async fn a_hedge_around_a_breaker_ends_the_call_with_the_rejection_of_the_second_request() {
    let (breaker, stub) = (cooled_down(), Stub::new(Answer::In(ms(200))));
    let mut service = hedge(CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone()));
    assert!(is_rejection(call(&mut service, 7).await));
    assert_eq!(stub.calls(), 1, "the probe, which is dropped");
    assert_eq!(breaker.state(), State::HalfOpen);
}
