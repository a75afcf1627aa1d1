//! The contract of a Tower service, and what the types promise.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::cell::Cell;
use std::future::{Future, Ready, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use fusebox::circuit_breaker::WaitService;
use fusebox::{
    BoxError, CallError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, CircuitBreakerLayer,
    CircuitBreakerService, Classify, Clock, ConfigError, Cooldown, Event, ManualClock, Outcome, Override, Permit,
    Probes, Registry, Rejected, Snapshot, State,
    circuit_breaker::{Events, NameTaken, Overridden, RejectReason},
    classify::AtHead,
    clock::{SystemClock, Timestamp},
    detect::{self, Detector, Evidence, Tally},
    rejection,
};
use futures::FutureExt;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use support::{
    Answer, Down, Ready as Readiness, Stub, breaker, fail, failures, first_probe, poll_once, secs, tripping_at,
};
use tower::util::{BoxCloneService, BoxCloneSyncService};
use tower::{Layer, Service, ServiceExt};

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

type Boxed = BoxCloneService<u32, u32, BoxError>;

/// The stub behind each kind of guarded service, for one breaker.
fn every_face(breaker: &CircuitBreaker, stub: &Stub) -> Vec<(&'static str, Boxed)> {
    let layer = || CircuitBreakerLayer::from(breaker.clone());
    let registry = Registry::new(|_| Err(ConfigError::new("name", &"?", "only the one that is registered")));
    let keyed = CircuitBreakerLayer::keyed(registry, |_: &u32| None);
    vec![
        ("boxed", BoxCloneService::new(layer().layer(stub.clone()))),
        ("map_rejection", boxed(layer().map_rejection(|_| Down).layer(stub.clone()))),
        ("respond_with", boxed(layer().respond_with(|_| 0).layer(stub.clone()))),
        ("fallback", boxed(layer().fallback(|request: u32, _| async move { Ok(request) }).layer(stub.clone()))),
        ("unguarded", BoxCloneService::new(keyed.layer(stub.clone()))),
        ("wait", BoxCloneService::new(layer().wait_when_open().layer(stub.clone()))),
    ]
}

fn boxed<S>(service: S) -> Boxed
where
    S: Service<u32, Response = u32, Error = Down> + Clone + Send + 'static,
    S::Future: Send,
{
    BoxCloneService::new(service.map_err(Into::into))
}

fn poll_ready<S: Service<u32>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

// Readiness

#[tokio::test]
async fn the_inner_service_is_never_called_unready_whatever_happens_between_readiness_and_call() {
    let (breaker, clock) = breaker(|b| b.detector(detect::consecutive_failures(2)).probes(Probes::consecutive(2)));
    let stub = Stub::new(Answer::Ok);
    let mut services = every_face(&breaker, &stub);
    let mut kept = Vec::new();
    // A fixed walk through whatever can happen; the stub panics if it is ever called unready.
    let mut random = 1_u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut event = |chance: u64| match chance {
        0 => breaker.trip().expect("no override stands"),
        1 => breaker.reset().expect("no override stands"),
        2 => clock.advance(secs(30)),
        3 => drop(breaker.acquire()),
        4 => kept.extend(breaker.acquire()),
        5 => kept.clear(),
        6 => stub.gets_ready(Readiness::Never),
        7 => stub.gets_ready(Readiness::Yes),
        8 => stub.answers(Answer::Err),
        9 => stub.answers(Answer::Ok),
        _ => {}
    };
    let mut answered = 0;
    for step in 0..20_000 {
        let count = services.len() as u64;
        let (name, service) = &mut services[usize::try_from(next(count)).expect("an index")];
        event(next(24));
        if poll_ready(service).is_ready() {
            event(next(24));
            let answer = service.call(step).now_or_never();
            answered += usize::from(answer.unwrap_or_else(|| panic!("{name} answers at once")).is_ok());
        }
    }
    assert!(stub.calls() > 1_000 && answered > stub.calls() / 4, "{} calls, {answered} answers", stub.calls());
}

#[test]
fn readiness_belongs_to_the_instance_that_was_polled() {
    let (breaker, _clock) = tripping_at(1);
    let stub = Stub::new(Answer::Ok);
    for (name, mut service) in every_face(&breaker, &stub) {
        assert!(poll_ready(&mut service).is_ready(), "{name}");
        let mut clone = service.clone();
        let unready = catch_unwind(AssertUnwindSafe(|| drop(clone.call(1))));
        assert!(unready.is_err(), "{name}: a clone has to be polled itself");
        breaker.reset().expect("no override stands");
        assert!(poll_ready(&mut service).is_ready(), "{name}");
        assert_eq!(service.call(7).now_or_never().expect("at once").expect("ready"), 7, "{name}");
    }
}

#[test]
fn a_promise_to_reject_is_not_cloned_either() {
    let (breaker, _clock) = tripping_at(1);
    let stub = Stub::new(Answer::Ok);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone());
    breaker.trip().expect("no override stands");
    assert!(poll_ready(&mut service).is_ready());
    assert_eq!(stub.asked(), 0);
    breaker.reset().expect("no override stands");
    let mut clone = service.clone();
    assert!(poll_ready(&mut clone).is_ready());
    assert_eq!(clone.call(1).now_or_never().expect("at once").expect("closed"), 1);
    let error = service.call(1).now_or_never().expect("at once").expect_err("the inner service was not asked");
    assert_eq!(rejection(&*error).map(Rejected::reason), Some(RejectReason::NotReady));
}

#[test]
fn a_promise_to_reject_is_for_one_call() {
    let (breaker, _clock) = tripping_at(1);
    let mut service =
        CircuitBreakerLayer::from(breaker.clone()).layer(tower::service_fn(|n: u32| ready(Ok::<_, Down>(n))));
    breaker.trip().expect("no override stands");
    assert!(poll_ready(&mut service).is_ready());
    breaker.reset().expect("no override stands");
    assert!(service.call(1).now_or_never().expect("at once").is_err());
    assert_eq!(service.call(2).now_or_never().expect("at once").expect("closed"), 2);
}

#[test]
fn a_later_poll_replaces_an_earlier_promise() {
    let (breaker, _clock) = tripping_at(1);
    let stub = Stub::new(Answer::Ok);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(stub);
    breaker.trip().expect("no override stands");
    assert!(poll_ready(&mut service).is_ready());
    breaker.reset().expect("no override stands");
    assert!(poll_ready(&mut service).is_ready());
    assert_eq!(service.call(3).now_or_never().expect("at once").expect("closed"), 3);
}

#[test]
fn call_without_readiness_asks_the_breaker_and_then_the_inner_service() {
    let (breaker, clock) = tripping_at(1);
    let always = tower::service_fn(|n: u32| ready(if n > 0 { Ok(n) } else { Err(Down) }));
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(always);
    assert_eq!(service.call(1).now_or_never().expect("at once").expect("closed"), 1);
    assert!(service.call(0).now_or_never().expect("at once").is_err());
    assert!(breaker.is_open());
    assert!(service.call(1).now_or_never().expect("at once").is_err());
    clock.advance(secs(30));
    assert_eq!(service.call(1).now_or_never().expect("at once").expect("the probe"), 1);
    assert_eq!(breaker.state(), State::Closed);

    let mut waiting = CircuitBreakerLayer::from(breaker.clone()).wait_when_open().layer(always);
    assert_eq!(waiting.call(1).now_or_never().expect("at once").expect("closed"), 1);
    breaker.trip().expect("no override stands");
    let error = waiting.call(1).now_or_never().expect("at once").expect_err("open");
    assert!(rejection(&*error).is_some(), "it cannot wait, so it rejects");
}

#[test]
fn an_open_circuit_is_ready_again_and_again() {
    let (breaker, _clock) = tripping_at(1);
    let stub = Stub::new(Answer::Ok);
    stub.gets_ready(Readiness::Error);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(stub.clone());
    breaker.trip().expect("no override stands");
    for _ in 0..10 {
        assert!(matches!(poll_ready(&mut service), Poll::Ready(Ok(()))), "an open circuit is no error of readiness");
    }
    assert_eq!(stub.asked(), 0);
}

// Cancellation and panics

type Call = Pin<Box<dyn Future<Output = bool>>>;

/// Every way to make a call that is pending five times before it succeeds.
fn every_way(breaker: &CircuitBreaker) -> Vec<(&'static str, Box<dyn Fn() -> Call>)> {
    const TIMES: usize = 5;
    let work = || async {
        support::pending_times(TIMES).await;
        Ok::<_, Down>(1)
    };
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let (rejecting, waiting) = (layer.clone(), layer.wait_when_open());
    let [a, b, c, d] = [(); 4].map(|()| breaker.clone());
    vec![
        (
            "call",
            Box::new(move || {
                let a = a.clone();
                Box::pin(async move { a.call(work).await.is_ok() })
            }),
        ),
        (
            "classify",
            Box::new(move || {
                let judged = b.classify(|_: &Result<u32, Down>| Outcome::Failure);
                Box::pin(async move { judged.call(|| async { work().await.map(|_| 1) }).await.is_ok() })
            }),
        ),
        (
            "call_or",
            Box::new(move || {
                let c = c.clone();
                Box::pin(async move { c.call_or(work, |_| async { Err(Down) }).await.is_ok() })
            }),
        ),
        (
            "wrap",
            Box::new(move || {
                let guarded = d.wrap(move |()| work());
                Box::pin(async move { guarded.call(()).await.is_ok() })
            }),
        ),
        (
            "layer",
            Box::new(move || {
                let mut service = rejecting.layer(Stub::new(Answer::After(TIMES)));
                assert!(poll_ready(&mut service).is_ready());
                Box::pin(service.call(1).map(|answer| answer.is_ok()))
            }),
        ),
        (
            "wait",
            Box::new(move || {
                let mut service = waiting.layer(Stub::new(Answer::After(TIMES)));
                assert!(poll_ready(&mut service).is_ready());
                Box::pin(service.call(1).map(|answer| answer.is_ok()))
            }),
        ),
    ]
}

#[test]
fn a_call_that_is_dropped_at_any_await_point_counts_neither_way() {
    let (breaker, _clock) = breaker(|b| b.detector(detect::consecutive_failures(1)).execution_log(100));
    for (name, call) in every_way(&breaker) {
        for polls in 0..=5 {
            let mut call = call();
            for _ in 0..polls {
                assert!(poll_once(call.as_mut()).is_pending(), "{name}");
            }
            drop(call);
            let seen = breaker.snapshot();
            assert_eq!((seen.state, seen.recent.len()), (State::Closed, 0), "{name} after {polls} polls");
        }
    }
}

#[test]
fn a_probe_that_is_dropped_at_any_await_point_gives_its_slot_back() {
    let (breaker, clock) = tripping_at(1);
    drop(first_probe(&breaker, &clock));
    for (name, call) in every_way(&breaker) {
        for polls in 0..=5 {
            let mut call = call();
            for _ in 0..polls {
                assert!(poll_once(call.as_mut()).is_pending(), "{name}");
            }
            assert!(polls == 0 || breaker.acquire().is_err(), "{name}: the only slot is taken");
            drop(call);
            let probes = breaker.snapshot().probes.expect("half-open");
            assert_eq!((probes.in_flight, probes.failed), (0, 0), "{name} after {polls} polls");
            // Three in a row would be a dependency that hangs.
            breaker.acquire().expect("its place is free").report(Outcome::Ignored);
        }
    }
    let (_, call) = every_way(&breaker).remove(0);
    let mut call = call();
    let answer = (0..10).find_map(|_| if let Poll::Ready(ok) = poll_once(call.as_mut()) { Some(ok) } else { None });
    assert_eq!(answer, Some(true));
    assert_eq!(breaker.state(), State::Closed, "and one that ends decides");
}

#[test]
fn a_call_whose_error_drops_it_from_within_counts_once() {
    let (breaker, _clock) = tripping_at(10);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(Stub::new(Answer::Err));
    for n in 1..=3 {
        assert!(poll_ready(&mut service).is_ready());
        let mut call = Box::pin(service.call(1));
        assert!(poll_once(call.as_mut()).is_ready());
        drop(call);
        assert_eq!(failures(&breaker), n, "the drop after the end reports nothing more");
    }
}

#[test]
fn a_future_that_is_polled_again_after_a_panic_does_not_count_again() {
    let (breaker, _clock) = tripping_at(10);
    let mut service = CircuitBreakerLayer::from(breaker.clone()).layer(Stub::new(Answer::Panic));
    assert!(poll_ready(&mut service).is_ready());
    let mut call = Box::pin(service.call(1));
    for _ in 0..3 {
        assert!(catch_unwind(AssertUnwindSafe(|| poll_once(call.as_mut()))).is_err());
        assert_eq!(failures(&breaker), 1);
    }
    drop(call);
    assert_eq!(failures(&breaker), 1);
}

#[test]
fn an_inner_future_that_panics_while_it_is_dropped_wedges_nothing() {
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    let (breaker, clock) = tripping_at(1);
    for _ in 0..2 {
        drop(first_probe(&breaker, &clock));
        let bomb = Bomb;
        let mut call = Box::pin(breaker.call(|| async move {
            let _bomb = bomb;
            std::future::pending::<Result<(), Down>>().await
        }));
        assert!(poll_once(call.as_mut()).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(call))).is_err());
        assert_eq!(breaker.state(), State::Open, "a panic is a failure");
        breaker.reset().expect("no override stands");
    }
}

// Bounds

/// Can be neither cloned nor shared between threads.
#[derive(Debug, Default)]
struct Awkward(Cell<u32>);

#[derive(Clone, Debug)]
struct AwkwardService;

impl Service<Awkward> for AwkwardService {
    type Response = Awkward;
    type Error = Awkward;
    type Future = Ready<Result<Awkward, Awkward>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Awkward>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Awkward) -> Self::Future {
        ready(if request.0.get() > 0 { Ok(request) } else { Err(request) })
    }
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn requests_responses_and_errors_need_neither_clone_nor_sync() {
    let (breaker, _clock) = tripping_at(1);
    let layer = || CircuitBreakerLayer::from(breaker.clone());
    let mut mapped = layer().map_rejection(|_| Awkward::default()).layer(AwkwardService);
    let mut responding = layer().respond_with(|_| Awkward(Cell::new(7))).layer(AwkwardService);
    let mut falling = layer().fallback(|request: Awkward, _| ready(Ok(request))).layer(AwkwardService);
    let call = |n| Awkward(Cell::new(n));
    assert_eq!(is_send(mapped.call(call(3))).now_or_never().expect("at once").expect("closed").0.get(), 3);
    assert!(is_send(mapped.call(call(0))).now_or_never().expect("at once").is_err());
    assert!(breaker.is_open());
    assert_eq!(is_send(responding.call(call(3))).now_or_never().expect("at once").expect("a response").0.get(), 7);
    assert_eq!(is_send(falling.call(call(5))).now_or_never().expect("at once").expect("the request").0.get(), 5);
}

#[test]
fn what_cannot_leave_its_thread_works_on_it() {
    let (breaker, _clock) = tripping_at(1);
    let local = Rc::new(Cell::new(1));
    let shared = local.clone();
    let inner = tower::service_fn(move |n: Rc<u32>| {
        let shared = shared.clone();
        async move {
            shared.set(*n);
            if *n > 0 { Ok(n) } else { Err(Rc::new("zero")) }
        }
    });
    let mut service = CircuitBreakerLayer::from(breaker).map_rejection(|_| Rc::new("open")).layer(inner);
    assert_eq!(service.call(Rc::new(4)).now_or_never(), Some(Ok(Rc::new(4))));
    assert_eq!(local.get(), 4);
    assert_eq!(service.call(Rc::new(0)).now_or_never(), Some(Err(Rc::new("zero"))));
    assert_eq!(service.call(Rc::new(4)).now_or_never(), Some(Err(Rc::new("open"))));
}

#[test]
fn http_bodies_need_not_be_sync() {
    type Body = UnsyncBoxBody<&'static [u8], Down>;
    let (breaker, _clock) = tripping_at(1);
    let body = || http_body_util::Full::new(&b"hello"[..]).map_err(|never| match never {}).boxed_unsync();
    let inner = tower::service_fn(|request: http::Request<Body>| {
        ready(Ok::<_, Down>(http::Response::new(request.into_body())))
    });
    let mut service = CircuitBreakerLayer::from(breaker).layer(inner);
    let answer = is_send(service.call(http::Request::new(body()))).now_or_never().expect("at once").expect("closed");
    let bytes = answer.into_body().collect().now_or_never().expect("at once").expect("a whole body").to_bytes();
    assert_eq!(&bytes[..], b"hello");
}

#[test]
fn closures_may_borrow_from_their_surroundings() {
    let (breaker, _clock) = tripping_at(1);
    let text = String::from("hello");
    let mut count = 0;
    let borrowed = breaker.call(|| async {
        count += 1;
        Ok::<&str, Down>(&text[1..])
    });
    assert_eq!(borrowed.now_or_never().expect("at once").expect("closed"), "ello");
    assert_eq!(breaker.call_blocking(|| Ok::<&str, Down>(&text)).expect("closed"), "hello");
    let length = breaker.call_or(|| async { Ok::<_, Down>(text.len()) }, |_| async { Ok(count) });
    assert_eq!(length.now_or_never().expect("at once"), Ok(5));
    let wrapped = breaker.wrap(|n: usize| text.get(n..).ok_or(Down));
    assert_eq!(wrapped.call_blocking(3).expect("closed"), "lo");
}

#[test]
fn inner_services_stay_within_reach() {
    let (breaker, _clock) = tripping_at(1);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    let mut service = layer.layer(Stub::new(Answer::Ok));
    service.get_mut().answers(Answer::Err);
    breaker.trip().expect("no override stands");
    assert!(service.breaker().is_open() && layer.breaker().is_open());
    assert_eq!(service.get_ref().calls(), 0);
    assert_eq!(service.into_inner().calls(), 0);
    let waiting = layer.wait_when_open();
    assert!(waiting.breaker().is_open());
    let service = waiting.layer(Stub::new(Answer::Ok));
    assert!(service.breaker().is_open());
    assert_eq!(service.get_ref().calls(), 0);
}

// Types

const fn send<T: Send + ?Sized>() {}
const fn sync<T: Sync + ?Sized>() {}
const fn unpin<T: Unpin + ?Sized>() {}
const fn long_lived<T: 'static + ?Sized>() {}
const fn cloned<T: Clone>() {}
const fn error<T: std::error::Error + Send + Sync + 'static>() {}

macro_rules! everywhere {
    ($($type:ty),* $(,)?) => {
        const _: () = {
            $( send::<$type>(); sync::<$type>(); unpin::<$type>(); long_lived::<$type>(); )*
        };
    };
}

type Guarded = CircuitBreakerService<Stub>;

everywhere!(
    BoxError,
    CallError<Down>,
    CircuitBreaker,
    CircuitBreakerLayer,
    ConfigError,
    Cooldown,
    Event,
    Events,
    Evidence,
    Guarded,
    ManualClock,
    NameTaken,
    Outcome,
    Overridden,
    Override,
    Permit,
    Probes,
    Registry,
    Rejected,
    Snapshot,
    State,
    SystemClock,
    Tally,
    Timestamp,
    WaitService<Stub>,
);

const _: () = {
    // A configuration holds a detector, which is moved between threads and never shared.
    send::<CircuitBreakerConfig>();
    unpin::<CircuitBreakerConfig>();
    // Futures are as movable as what they hold.
    send::<<Guarded as Service<u32>>::Future>();
    unpin::<
        <CircuitBreakerService<
            AwkwardService,
            fusebox::classify::Errors,
            fusebox::circuit_breaker::MapRejection<fn(Rejected) -> Awkward>,
        > as Service<Awkward>>::Future,
    >();
    cloned::<CircuitBreaker>();
    cloned::<CircuitBreakerConfig>();
    cloned::<CircuitBreakerConfigBuilder>();
    cloned::<CircuitBreakerLayer>();
    cloned::<Guarded>();
    cloned::<Registry>();
    cloned::<Rejected>();
    cloned::<Snapshot>();
    cloned::<WaitService<Stub>>();
    error::<CallError<Down>>();
    error::<ConfigError>();
    error::<NameTaken>();
    error::<Overridden>();
    error::<Rejected>();
    // What is meant to be a trait object can be one.
    send::<Box<dyn Detector>>();
    sync::<Box<dyn Detector>>();
    cloned::<Box<dyn Detector>>();
    send::<Arc<dyn Clock>>();
    sync::<Arc<dyn Clock>>();
};

#[test]
fn detectors_clocks_and_classifiers_work_as_trait_objects() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    assert_eq!(clock.now(), Timestamp::ZERO);
    let mut detector: Box<dyn Detector> = Box::new(detect::consecutive_failures(1));
    detector.record(&detect::Call::failure(clock.now()));
    assert!(detector.verdict(clock.now()));

    let classifier: Arc<dyn Classify<u32, Down, Scope = AtHead> + Send + Sync> =
        Arc::new(|result: &Result<u32, Down>| if result == &Ok(13) { Outcome::Failure } else { Outcome::Success });
    let (breaker, _clock) = tripping_at(1);
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classifier);
    let mut service = layer.layer(Stub::new(Answer::Ok));
    for (n, state) in [(12, State::Closed), (13, State::Open)] {
        assert!(poll_ready(&mut service).is_ready());
        assert!(service.call(n).now_or_never().expect("at once").is_ok());
        assert_eq!(breaker.state(), state);
    }
}

#[test]
fn guarded_services_can_be_boxed() {
    let (breaker, _clock) = tripping_at(1);
    let service = CircuitBreakerLayer::from(breaker.clone()).layer(tower::service_fn(|n: u32| ready(Ok::<_, Down>(n))));
    let boxed: BoxCloneSyncService<u32, u32, BoxError> = BoxCloneSyncService::new(service.clone());
    assert_eq!(boxed.oneshot(1).now_or_never().expect("at once").expect("closed"), 1);
    fail(&breaker, 1);
    assert!(service.boxed().oneshot(1).now_or_never().expect("at once").is_err());
}

#[test]
fn permits_and_futures_are_small() {
    struct Sized200;

    impl Service<()> for Sized200 {
        type Response = ();
        type Error = Down;
        type Future = Ready200;

        fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Down>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _request: ()) -> Ready200 {
            Ready200([1; 25])
        }
    }

    struct Ready200([u64; 25]);

    impl Future for Ready200 {
        type Output = Result<(), Down>;

        fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
            assert_eq!(self.0[24], 1);
            Poll::Ready(Ok(()))
        }
    }

    fn added<L: Layer<Sized200>>(_: &L) -> usize
    where
        L::Service: Service<()>,
    {
        size_of::<<L::Service as Service<()>>::Future>() - size_of::<Ready200>()
    }

    assert!(size_of::<Permit>() <= 40, "{}", size_of::<Permit>());
    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("x"));
    let sizes = [
        added(&layer),
        added(&layer.clone().map_rejection(|_| Down)),
        added(&layer.clone().respond_with(|_| ())),
        added(&layer.clone().fallback(|(), _| ready(Err(Down)))),
        added(&layer.wait_when_open()),
    ];
    assert!(sizes.iter().all(|size| *size <= 64), "{sizes:?}");
    let mut service = CircuitBreakerLayer::new(CircuitBreakerConfig::new("x")).layer(Sized200);
    assert!(service.call(()).now_or_never().expect("at once").is_ok());
}
