//! What a guarded service holds, and waits for, between readiness and call.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use fusebox::{
    BoxError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, RejectReason, Rejected, State, rejection,
};
use futures::FutureExt;
use support::{Answer, Down, Stub, tripping_at};
use tower::limit::{ConcurrencyLimit, ConcurrencyLimitLayer};
use tower::{Layer, Service, ServiceExt};

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

fn is_ready<S: Service<u32>>(service: &mut S, waker: &Waker) -> bool {
    match service.poll_ready(&mut Context::from_waker(waker)) {
        Poll::Ready(ready) => ready.is_ok(),
        Poll::Pending => false,
    }
}

fn limited() -> ConcurrencyLimit<Stub> {
    ConcurrencyLimitLayer::new(1).layer(Stub::new(Answer::Ok))
}

fn layer(breaker: &CircuitBreaker) -> CircuitBreakerLayer {
    CircuitBreakerLayer::from(breaker.clone())
}

fn trip(breaker: &CircuitBreaker) {
    breaker.trip().expect("no override stands");
}

fn reset(breaker: &CircuitBreaker) {
    breaker.reset().expect("no override stands");
}

// Given back

/// Makes `one` ready, has its call rejected, and tells whether its clone gets the only place there is.
fn clone_gets_ready<S: Service<u32> + Clone>(breaker: &CircuitBreaker, mut one: S) -> bool {
    let mut other = one.clone();
    assert!(is_ready(&mut one, Waker::noop()));
    assert!(!is_ready(&mut other, Waker::noop()), "there is one place");
    trip(breaker);
    let answer = one.call(1).now_or_never();
    assert!(answer.is_some(), "rejected");
    reset(breaker);
    let gets_ready = is_ready(&mut other, Waker::noop());
    drop(one);
    gets_ready
}

/// At release 0.1 the clone waited for as long as the rejected service lived.
#[tokio::test]
async fn a_rejected_call_gives_back_what_readiness_had_reserved() {
    let (breaker, _clock) = tripping_at(1);
    let releasing = || layer(&breaker).releases_readiness();
    assert!(clone_gets_ready(&breaker, releasing().layer(limited())), "boxed");
    assert!(clone_gets_ready(&breaker, releasing().map_rejection(|_| Down).layer(limited())), "mapped");
    assert!(clone_gets_ready(&breaker, releasing().respond_with(|_| 0).layer(limited())), "answered");
    let falling = releasing().fallback(|n: u32, _| ready(Ok::<_, Down>(n)));
    assert!(clone_gets_ready(&breaker, falling.layer(limited())), "redirected");
    assert!(clone_gets_ready(&breaker, releasing().wait_when_open().layer(limited())), "waited for");
    assert!(!clone_gets_ready(&breaker, layer(&breaker).layer(limited())), "not by default");
}

#[tokio::test]
async fn a_keyed_layer_gives_it_back_too() {
    let registry = fusebox::Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    let breaker = registry.breaker("a").expect("the template works");
    let keyed = CircuitBreakerLayer::keyed(registry, |_: &u32| Some("a")).releases_readiness();
    assert!(clone_gets_ready(&breaker, keyed.layer(limited())));
}

/// Who waits in the queue of a semaphore is given the next place, also while it does not look.
#[tokio::test]
async fn a_rejected_call_leaves_the_queue_in_which_it_waited_for_a_place() {
    for releases in [true, false] {
        let (breaker, _clock) = tripping_at(1);
        let limited = limited();
        let mut holder = limited.clone();
        assert!(is_ready(&mut holder, Waker::noop()));
        let mut gets_ready = async |mut one: tower::util::BoxService<u32, u32, BoxError>| {
            assert!(!is_ready(&mut one, Waker::noop()), "it waits for the place");
            trip(&breaker);
            assert!(is_ready(&mut one, Waker::noop()), "to reject");
            assert!(one.call(1).await.is_err());
            drop(std::mem::replace(&mut holder, limited.clone()));
            let gets_ready = is_ready(&mut holder, Waker::noop());
            drop(one);
            gets_ready
        };
        let one = if releases {
            tower::util::BoxService::new(layer(&breaker).releases_readiness().layer(limited.clone()))
        } else {
            tower::util::BoxService::new(layer(&breaker).layer(limited.clone()))
        };
        assert_eq!(gets_ready(one).await, releases);
    }
}

#[tokio::test]
async fn a_service_that_waits_for_the_circuit_holds_no_place_meanwhile() {
    let (breaker, _clock) = tripping_at(1);
    let limited = limited();
    let mut waiting = layer(&breaker).releases_readiness().wait_when_open().layer(limited.clone());
    assert!(is_ready(&mut waiting, Waker::noop()));
    trip(&breaker);
    assert!(!is_ready(&mut waiting, Waker::noop()), "it waits for the circuit");
    let mut other = limited;
    assert!(is_ready(&mut other, Waker::noop()), "and the place is free");
    reset(&breaker);
    drop(other);
    assert!(is_ready(&mut waiting, Waker::noop()));
    assert_eq!(waiting.call(7).await.expect("closed"), 7);
}

/// The slot of a bounded buffer is a reservation as well.
#[tokio::test]
async fn a_rejected_call_gives_back_its_slot_in_a_buffer() {
    let (breaker, _clock) = tripping_at(1);
    let (buffer, _worker) = tower::buffer::Buffer::pair(Stub::new(Answer::Ok), 1);
    assert!(clone_gets_ready(&breaker, layer(&breaker).releases_readiness().layer(buffer)));
}

/// Counts its clones.
#[derive(Debug)]
struct Counted(Stub, Arc<AtomicUsize>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.1.fetch_add(1, Ordering::SeqCst);
        Self(self.0.clone(), self.1.clone())
    }
}

impl Service<u32> for Counted {
    type Response = u32;
    type Error = Down;
    type Future = <Stub as Service<u32>>::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Down>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: u32) -> Self::Future {
        self.0.call(request)
    }
}

#[test]
fn a_service_that_has_nothing_reserved_is_not_cloned() {
    let (breaker, _clock) = tripping_at(1);
    let clones = Arc::new(AtomicUsize::new(0));
    let mut service = layer(&breaker).releases_readiness().layer(Counted(Stub::new(Answer::Ok), clones.clone()));
    assert!(is_ready(&mut service, Waker::noop()));
    trip(&breaker);
    let mut reject = || {
        assert!(is_ready(&mut service, Waker::noop()));
        assert!(service.call(1).now_or_never().expect("at once").is_err());
        clones.load(Ordering::SeqCst)
    };
    assert_eq!([reject(), reject(), reject()], [1; 3], "only where it was made ready before");
    reset(&breaker);
    assert!(is_ready(&mut service, Waker::noop()));
    assert_eq!(service.call(7).now_or_never().expect("at once").expect("closed"), 7);
}

#[cfg(feature = "http")]
#[tokio::test]
async fn the_preset_for_http_gives_it_back() {
    use bytes::Bytes;
    use http_body_util::Full;

    let client = tower::service_fn(|_: http::Request<_>| ready(Ok::<_, Down>(http::Response::new("12.50"))));
    let net = fusebox::SafetyNet::http_client("prices").expect("it has a name");
    let breaker = net.breaker().expect("one for all").clone();
    let mut one = net.layer(ConcurrencyLimitLayer::new(1).layer(client));
    let mut other = one.clone();
    let request = || http::Request::get("/prices/7").body(Full::<Bytes>::default()).expect("a request");
    one.ready().await.expect("closed");
    assert!(other.ready().now_or_never().is_none());
    trip(&breaker);
    let error = one.call(request()).await.expect_err("open");
    assert_eq!(rejection(&*error).map(Rejected::reason), Some(RejectReason::Open));
    reset(&breaker);
    let response = other.ready().await.expect("it has the place").call(request()).await.expect("closed");
    assert_eq!((response.into_body(), breaker.state()), ("12.50", State::Closed));
    drop(one);
}
