//! The crate's own paths, for comparing one commit with another: `cargo bench`.
//!
//! How they compare with other crates is measured by the package in `benches/peers`.
#![expect(clippy::expect_used, missing_docs, reason = "a benchmark")]

use std::cell::Cell;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use fusebox::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, Registry, Rejected, RetryConfig, RetryLayer, State,
    backoff, detect,
};
use tower::{Layer, Service};

type Answer = Result<u32, &'static str>;

fn config(name: &str) -> fusebox::CircuitBreakerConfigBuilder {
    CircuitBreakerConfig::builder(name).detector(detect::failure_rate(0.5).of_last(100).min_calls(100))
}

fn breaker() -> CircuitBreaker {
    CircuitBreaker::new(config("bench").build().expect("valid"))
}

/// Fails for odd requests.
fn answer(request: u32) -> Ready<Answer> {
    ready(if request.is_multiple_of(2) { Ok(request) } else { Err("odd") })
}

fn call<S>(service: &mut S, request: u32) -> Answer
where
    S: Service<u32, Response = u32, Error = &'static str>,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    match pin!(service.call(request)).poll(&mut cx) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Err("pending"),
    }
}

fn layered(c: &mut Criterion) {
    let breaker = breaker();
    let layer = CircuitBreakerLayer::from(breaker.clone()).map_rejection(|_: Rejected| "rejected");
    let mut service = layer.layer(tower::service_fn(answer));
    (0..200).for_each(|_| assert!(call(&mut service, 2).is_ok()));
    c.bench_function("layer: closed, success", |b| b.iter(|| call(&mut service, black_box(2))));
    let mut n = 0;
    c.bench_function("layer: closed, every tenth fails", |b| {
        b.iter(|| {
            n = (n + 1) % 10;
            call(&mut service, black_box(u32::from(n == 0)))
        });
    });
    breaker.trip().expect("no override");
    c.bench_function("layer: open, rejected", |b| b.iter(|| call(&mut service, black_box(2))));
}

fn by_hand(c: &mut Criterion) {
    let breaker = breaker();
    let cycle = config("cycle").detector(detect::consecutive_failures(1)).cooldown(Duration::ZERO);
    let cycle = CircuitBreaker::new(cycle.build().expect("valid"));
    c.bench_function("handle: acquire, success", |b| b.iter(|| breaker.acquire().map(fusebox::Permit::success)));
    c.bench_function("handle: trip, probe, close", |b| {
        b.iter(|| {
            cycle.acquire().expect("closed").failure();
            cycle.acquire().expect("a probe").success();
        });
    });
    assert_eq!(cycle.state(), State::Closed);
}

fn keyed(c: &mut Criterion) {
    let registry = Registry::new(|name| config(name).build());
    let names: Vec<String> = (0..1000).map(|n| format!("host-{n}.example:443")).collect();
    let layer = CircuitBreakerLayer::keyed_owned(registry, move |n: &u32| names.get(*n as usize % 1000).cloned());
    let mut service = layer.map_rejection(|_: Rejected| "rejected").layer(tower::service_fn(answer));
    let mut n = 0;
    c.bench_function("keyed: one of 1,000", |b| {
        b.iter(|| {
            n = (n + 2) % 1000;
            call(&mut service, black_box(n))
        });
    });
}

/// Fails every other time. A thread-local, because a retry clones its service: shared state would be most of the cost.
fn every_other(request: u32) -> Ready<Answer> {
    thread_local!(static FAILED: Cell<bool> = const { Cell::new(false) });
    ready(if FAILED.replace(!FAILED.get()) { Ok(request) } else { Err("first") })
}

fn retried(c: &mut Criterion) {
    let mut service = RetryLayer::new(RetryConfig::default()).layer(tower::service_fn(answer));
    c.bench_function("retry: first try ok", |b| b.iter(|| call(&mut service, black_box(2))));
    let at_once = RetryConfig::builder().backoff(backoff::fixed(Duration::ZERO)).build().expect("valid");
    let mut service = RetryLayer::new(at_once).layer(tower::service_fn(every_other));
    assert!(call(&mut service, 2).is_ok());
    c.bench_function("retry: ok after a failure, no delay", |b| b.iter(|| call(&mut service, black_box(2))));
}

fn poll<F: Future>(call: F) -> Option<F::Output> {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn called(c: &mut Criterion) {
    let breaker = breaker();
    (0..200).for_each(|_| assert!(matches!(poll(breaker.call(|| answer(2))), Some(Ok(2)))));
    let calls = breaker.classify(fusebox::classify::errors());
    let wrapped = breaker.wrap(answer);
    let retry = RetryLayer::new(RetryConfig::default());
    c.bench_function("call: closed, success", |b| b.iter(|| poll(breaker.call(|| answer(black_box(2))))));
    c.bench_function("call_or: closed, success", |b| {
        b.iter(|| poll(breaker.call_or(|| answer(black_box(2)), |_| ready(Ok(0)))));
    });
    c.bench_function("classify, call: closed, success", |b| b.iter(|| poll(calls.call(|| answer(black_box(2))))));
    c.bench_function("wrap, call: closed, success", |b| b.iter(|| poll(wrapped.call(black_box(2)))));
    c.bench_function("retry, call: first try ok", |b| b.iter(|| poll(retry.call(|| answer(black_box(2))))));
}

criterion_group!(benches, layered, by_hand, keyed, retried, called);
criterion_main!(benches);
