//! What a guarded service holds, and waits for, between readiness and call.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[cfg(any(feature = "http", feature = "testing"))]
use fusebox::State;
use fusebox::{
    BoxError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, EventKind, Rejected,
    circuit_breaker::RejectReason, rejection,
};
use futures::FutureExt;
use support::{Answer, Down, Stub, Wakes, tripping_at};
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

// Woken

/// At release 0.1 they went on waiting, for as long as the inner service was full.
#[test]
fn callers_that_wait_for_the_inner_service_are_woken_and_rejected_when_the_circuit_opens() {
    let (breaker, _clock) = tripping_at(1);
    let full = Stub::new(Answer::Ok);
    full.gets_ready(support::Ready::Never);
    let mut callers: Vec<_> = (0..5).map(|_| (layer(&breaker).layer(full.clone()), Wakes::new())).collect();
    for (service, (_, waker)) in &mut callers {
        assert!(!is_ready(service, waker));
    }
    let wakes =
        |callers: &[(_, (Arc<Wakes>, Waker))]| callers.iter().map(|(_, (wakes, _))| wakes.count()).sum::<usize>();
    support::report(&breaker, 1, fusebox::Outcome::Success);
    assert_eq!(wakes(&callers), 0, "nothing has changed");
    support::fail(&breaker, 1);
    for (service, (wakes, waker)) in &mut callers {
        assert_eq!(wakes.count(), 1);
        assert!(is_ready(service, waker), "to reject");
        let error = service.call(1).now_or_never().expect("at once").expect_err("open");
        assert_eq!(rejection(&*error).map(Rejected::reason), Some(RejectReason::Open));
    }
    reset(&breaker);
    trip(&breaker);
    assert_eq!(wakes(&callers), 5, "who waits no more is not woken");
    assert_eq!(full.calls(), 0);
}

#[test]
fn whom_the_inner_service_lets_in_is_not_woken_by_the_circuit() {
    let (breaker, _clock) = tripping_at(1);
    let stub = Stub::new(Answer::Ok);
    stub.gets_ready(support::Ready::Never);
    let mut service = layer(&breaker).layer(stub.clone());
    let (wakes, waker) = Wakes::new();
    assert!(!is_ready(&mut service, &waker));
    stub.gets_ready(support::Ready::Yes);
    assert!(is_ready(&mut service, &waker));
    trip(&breaker);
    assert_eq!(wakes.count(), 0);
}

#[test]
fn only_the_latest_waker_is_woken_and_none_of_a_clone_or_of_what_is_dropped() {
    let (breaker, _clock) = tripping_at(1);
    let full = Stub::new(Answer::Ok);
    full.gets_ready(support::Ready::Never);
    let mut service = layer(&breaker).layer(full);
    let ((old, old_waker), (new, new_waker), (gone, gone_waker)) = (Wakes::new(), Wakes::new(), Wakes::new());
    assert!(!is_ready(&mut service, &old_waker) && !is_ready(&mut service, &new_waker));
    let mut clone = service.clone();
    assert!(!is_ready(&mut clone, &gone_waker));
    let before = Arc::strong_count(&gone);
    drop(clone);
    assert!(Arc::strong_count(&gone) < before, "its waker has left the queue");
    trip(&breaker);
    assert_eq!((old.count(), new.count(), gone.count()), (0, 1, 0));
}

/// A place among the probes that is given back is for one that waits for the circuit.
#[cfg(feature = "testing")]
#[tokio::test(start_paused = true)]
async fn who_waits_for_the_inner_service_takes_no_wake_from_who_waits_for_the_circuit() {
    let breaker = CircuitBreaker::new(support::config(|b| b));
    let full = Stub::new(Answer::Ok);
    full.gets_ready(support::Ready::Never);
    let ((inner_wakes, inner_waker), (wakes, waker)) = (Wakes::new(), Wakes::new());
    trip(&breaker);
    tokio::time::advance(support::secs(30)).await;
    let mut in_front = layer(&breaker).layer(full);
    assert!(!is_ready(&mut in_front, &inner_waker), "a probe needs the inner service");
    let probe = breaker.acquire().expect("the cooldown is over");
    assert_eq!(inner_wakes.count(), 1, "half-open, and its probe is out");
    let mut waiting = layer(&breaker).wait_when_open().layer(Stub::new(Answer::Ok));
    assert!(!is_ready(&mut waiting, &waker));
    drop(probe);
    assert_eq!(wakes.count(), 1);
    assert!(!is_ready(&mut in_front, &inner_waker), "it waits again, and holds nothing");
    assert!(is_ready(&mut waiting, &waker));
    assert_eq!(waiting.call(7).await.expect("the probe"), 7);
    assert_eq!((breaker.state(), inner_wakes.count()), (State::Closed, 2));
}

#[test]
fn no_wake_is_lost_whenever_the_circuit_opens() {
    use std::sync::Barrier;

    const ROUNDS: usize = 5_000;
    let (breaker, _clock) = tripping_at(1);
    let full = Stub::new(Answer::Ok);
    full.gets_ready(support::Ready::Never);
    let barrier = Arc::new(Barrier::new(2));
    let other = std::thread::spawn({
        let (breaker, barrier) = (breaker.clone(), barrier.clone());
        move || {
            for round in 0..ROUNDS {
                barrier.wait();
                (0..round % 50).for_each(|_| std::hint::spin_loop());
                trip(&breaker);
                barrier.wait();
                barrier.wait();
            }
        }
    });
    for round in 0..ROUNDS {
        let mut service = layer(&breaker).layer(full.clone());
        let (wakes, waker) = Wakes::new();
        barrier.wait();
        (0..round % 7).for_each(|_| std::hint::spin_loop());
        let is_ready = is_ready(&mut service, &waker);
        barrier.wait();
        assert!(is_ready || wakes.count() == 1, "round {round}");
        reset(&breaker);
        barrier.wait();
    }
    other.join().expect("no panic");
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
    use http_body_util::{BodyExt, Full};

    let client = tower::service_fn(|_: http::Request<_>| {
        ready(Ok::<_, Down>(http::Response::new(Full::<Bytes>::from("12.50"))))
    });
    let net = fusebox::SafetyNet::http("prices").expect("it has a name");
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
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!((body, breaker.state()), (Bytes::from("12.50"), State::Closed));
    drop(one);
}

#[cfg(feature = "http")]
type Http<R> =
    CircuitBreakerLayer<fusebox::classify::Http, fusebox::circuit_breaker::Boxed, fusebox::circuit_breaker::One, R>;

/// Whether another one is ready once the first, made ready, has been rejected.
#[cfg(feature = "http")]
async fn is_given_back<R>(layer: &Http<R>) -> bool
where
    R: fusebox::circuit_breaker::GiveBack<ConcurrencyLimit<Answering>>,
{
    let mut one = layer.layer(ConcurrencyLimitLayer::new(1).layer(Answering));
    let mut other = one.clone();
    one.ready().await.expect("closed");
    trip(layer.breaker());
    assert!(one.call(http::Request::new(())).await.is_err());
    reset(layer.breaker());
    other.ready().now_or_never().is_some()
}

#[cfg(feature = "http")]
#[derive(Clone)]
struct Answering;

#[cfg(feature = "http")]
impl Service<http::Request<()>> for Answering {
    type Response = http::Response<()>;
    type Error = Down;
    type Future = std::future::Ready<Result<http::Response<()>, Down>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Down>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: http::Request<()>) -> Self::Future {
        ready(Ok(http::Response::new(())))
    }
}

#[cfg(feature = "http")]
#[tokio::test]
async fn layers_that_bring_their_classifier_give_it_back_as_the_presets_do() {
    let named = CircuitBreakerConfig::new;
    assert!(is_given_back(&CircuitBreakerLayer::http(named("prices"))).await);
    #[cfg(feature = "reqwest")]
    assert!(is_given_back(&CircuitBreakerLayer::reqwest(named("prices"))).await);
    let keeps = CircuitBreakerLayer::new(named("prices")).classify(fusebox::classify::http());
    assert!(!is_given_back(&keeps).await, "it is no matter of course");
}

// An idle service and the place of a probe

#[cfg(feature = "testing")]
mod idle {
    use std::time::Duration;

    use fusebox::Probes;
    use fusebox::circuit_breaker::WaitService;
    use support::{just_under, ms, secs};
    use tokio::time::{advance, timeout};

    use super::*;

    /// What a reservation is kept for.
    const KEPT: Duration = ms(100);

    /// A breaker that is half-open, its only place reserved by a service that is ready and not called.
    async fn reserved(stub: &Stub) -> (CircuitBreaker, WaitService<Stub>) {
        let breaker = CircuitBreaker::new(support::config(|b| b.probes(Probes::one())));
        let mut service = layer(&breaker).wait_when_open().layer(stub.clone());
        trip(&breaker);
        advance(secs(30)).await;
        assert!(is_ready(&mut service, Waker::noop()));
        assert_eq!(breaker.state(), State::HalfOpen);
        (breaker, service)
    }

    /// At release 0.1 the place was taken for the 30 s of a probe's deadline.
    #[tokio::test(start_paused = true)]
    async fn a_ready_service_that_is_not_called_keeps_no_caller_from_probing() {
        let stub = Stub::new(Answer::Ok);
        let (breaker, mut idle) = reserved(&stub).await;
        let mut rejecting = layer(&breaker).layer(stub.clone());
        assert!(is_ready(&mut rejecting, Waker::noop()), "it would be let through");
        let probe = breaker.acquire().expect("a call that is made takes the place of one to come, at once");
        assert!(probe.is_probe());
        let error = idle.call(1).await.expect_err("it asks anew, and the place is taken");
        assert_eq!(rejection(&*error).map(Rejected::reason), Some(RejectReason::ProbesBusy));
        assert_eq!((stub.calls(), breaker.state()), (0, State::HalfOpen));
        probe.success();
        assert!(is_ready(&mut idle, Waker::noop()));
        assert_eq!(idle.call(7).await.expect("closed"), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reservation_is_kept_from_those_who_only_wait_for_a_while() {
        let stub = Stub::new(Answer::Ok);
        let (breaker, mut idle) = reserved(&stub).await;
        let mut other = idle.clone();
        advance(just_under(KEPT)).await;
        assert!(!is_ready(&mut other, Waker::noop()), "ready, as one was told, is not taken back at once");
        assert_eq!(idle.call(7).await.expect("the probe"), 7);
        assert_eq!(breaker.state(), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_waits_for_the_circuit_gets_the_place_and_the_idle_one_waits_in_turn() {
        let stub = Stub::new(Answer::Ok);
        let (breaker, mut idle) = reserved(&stub).await;
        let mut other = idle.clone();
        let got = timeout(KEPT + ms(5), other.ready()).await;
        assert!(got.is_ok_and(|ready| ready.is_ok()), "woken when the reservation is over");
        let (wakes, waker) = Wakes::new();
        assert!(!is_ready(&mut idle, &waker), "an older readiness is no promise");
        assert_eq!(other.call(7).await.expect("the probe"), 7);
        assert_eq!((breaker.state(), wakes.count()), (State::Closed, 1));
        assert!(is_ready(&mut idle, &waker));
    }

    #[tokio::test(start_paused = true)]
    async fn where_no_other_asks_the_idle_one_still_probes() {
        let stub = Stub::new(Answer::Ok);
        for late in [ms(1), KEPT, secs(20), secs(3_600)] {
            let (breaker, mut idle) = reserved(&stub).await;
            advance(late).await;
            assert_eq!(idle.call(7).await.expect("the probe"), 7, "{late:?}");
            assert_eq!(breaker.state(), State::Closed, "an unused reservation has failed nothing");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_probes_than_places() {
        let stub = Stub::new(Answer::Hang);
        let (breaker, first) = reserved(&stub).await;
        let mut services: Vec<_> = (0..5).map(|_| first.clone()).collect();
        services.push(first);
        let mut hung = Vec::new();
        for n in 0..60 {
            let service = &mut services[n % 6];
            advance(ms(40)).await;
            // Many are ready, one after another, and few are called.
            if is_ready(service, Waker::noop()) && n % 5 == 4 {
                let mut call = Box::pin(service.call(1));
                assert_eq!(support::poll_once(call.as_mut()).is_pending(), hung.is_empty());
                hung.push(call);
            }
            let out = breaker.snapshot().probes.map_or(0, |probes| probes.in_flight);
            assert!(out <= 1 && stub.calls() <= 1, "{out} places, {} calls", stub.calls());
        }
        assert_eq!(stub.calls(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_ends_ignored_gives_its_place_back_and_counts_neither_way() {
        let breaker = CircuitBreaker::new(support::config(|b| b.probes(Probes::ratio(2, 3))));
        trip(&breaker);
        advance(secs(30)).await;
        for _ in 0..10 {
            support::report(&breaker, 1, fusebox::Outcome::Ignored);
            let tally = breaker.snapshot().probes.expect("half-open");
            assert_eq!((tally.in_flight, tally.succeeded, tally.failed), (0, 0, 0));
        }
        support::report(&breaker, 1, fusebox::Outcome::Failure);
        support::report(&breaker, 10, fusebox::Outcome::Ignored);
        assert_eq!(breaker.state(), State::HalfOpen);
        support::report(&breaker, 2, fusebox::Outcome::Success);
        assert_eq!(breaker.state(), State::Closed, "two of the three that counted");
    }
}

/// It is let through in the end.
#[tokio::test]
async fn a_call_that_waits_for_the_circuit_is_not_told_as_rejected() {
    let (tell, told) = std::sync::mpsc::channel();
    let config = CircuitBreakerConfig::builder("waits").cooldown(Duration::from_millis(20)).call_events(true);
    let config = config.on_event(move |event| {
        if matches!(event.kind(), EventKind::Rejected { .. }) {
            tell.send(event.to_string()).expect("the test reads on");
        }
    });
    let layer = CircuitBreakerLayer::new(config.build().expect("a configuration")).wait_when_open();
    let breaker = layer.breaker().clone();
    trip(&breaker);
    let service = layer.layer(tower::service_fn(async |(): ()| Ok::<_, BoxError>(())));
    service.oneshot(()).await.expect("after a while");
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [""; 0]);
    trip(&breaker);
    breaker.acquire().expect_err("open");
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["waits: call rejected (open)"]);
}
