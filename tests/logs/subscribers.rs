//! Subscribers, which are a user's code.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use fusebox::{CircuitBreaker, CircuitBreakerConfig, State, detect};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, with_default};
use tracing::{Event, Metadata, Subscriber};

use super::support::fail;

/// Listens to nothing.
pub(crate) struct Deaf;

impl Subscriber for Deaf {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::never()
    }
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Does something with each event.
struct Does<F>(F);

impl<F: Fn() + Send + Sync + 'static> Subscriber for Does<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("fusebox")
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        (self.0)();
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn breaker() -> CircuitBreaker {
    let config = CircuitBreakerConfig::builder("subscribers").detector(detect::consecutive_failures(2));
    CircuitBreaker::new(config.build().expect("a configuration"))
}

#[test]
fn one_that_panics_fails_no_call_and_keeps_no_circuit_from_opening() {
    let breaker = breaker();
    with_default(Does(|| panic!("a subscriber")), || {
        fail(&breaker, 2);
        assert_eq!(breaker.state(), State::Open);
        assert!(breaker.acquire().expect_err("open").retry_after().is_some());
        breaker.reset().expect("no override");
        fail(&breaker, 2);
    });
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn one_may_look_at_the_breaker_and_call_it() {
    let (breaker, told) = (Arc::new(OnceLock::<CircuitBreaker>::new()), Arc::new(AtomicUsize::new(0)));
    let (within, count) = (breaker.clone(), told.clone());
    let looks = move || {
        count.fetch_add(1, Ordering::SeqCst);
        let breaker = within.get().expect("a breaker");
        assert!(!breaker.snapshot().name.is_empty());
        // What is told meanwhile is not told to the subscriber that is being told: `tracing` sees to that.
        drop(breaker.acquire());
    };
    assert!(breaker.set(self::breaker()).is_ok());
    with_default(Does(looks), || {
        let breaker = breaker.get().expect("a breaker");
        fail(breaker, 2);
        breaker.acquire().expect_err("open");
    });
    assert_eq!(told.load(Ordering::SeqCst), 4, "two failures, the opening, a rejection");
}

#[test]
fn one_that_is_deaf_is_told_nothing_and_costs_no_lock() {
    let breaker = breaker();
    breaker.trip().expect("no override");
    let measured = allocation_counter::measure(|| {
        with_default(Deaf, || (0..100).for_each(|_| drop(breaker.acquire().expect_err("open"))));
    });
    assert!(measured.count_total < 100, "no rejection was prepared for logs: {}", measured.count_total);
}
