use super::{Row, Setup};
use crate::caller::{Boom, Inner, Tower, inner};
use crate::growth::{Growth, WINDOW};
use crate::memory::Memory;
use tower_layer::Layer;
use tower_resilience_circuitbreaker::{
    CircuitBreaker, CircuitBreakerError, CircuitBreakerLayer, DefaultClassifier, SlidingWindowType,
};

type Service = CircuitBreaker<Inner, DefaultClassifier>;
pub type Breaker = Tower<Service, CircuitBreakerError<Boom>>;

pub fn service(setup: Setup, timed: bool) -> Service {
    let builder = CircuitBreakerLayer::builder()
        .failure_rate_threshold(0.5)
        .minimum_number_of_calls(setup.calls as usize)
        .wait_duration_in_open(setup.cooldown)
        .permitted_calls_in_half_open(1);
    let builder = if timed {
        builder.sliding_window_type(SlidingWindowType::TimeBased).sliding_window_duration(WINDOW)
    } else {
        builder.sliding_window_size(setup.calls as usize)
    };
    builder.build().unwrap().layer(inner())
}

pub fn build(setup: Setup, timed: bool) -> Breaker {
    Tower { service: service(setup, timed), rejected: |e| matches!(e, CircuitBreakerError::OpenCircuit) }
}

pub fn row() -> Row {
    Row::new("tower-resilience", "tower-resilience 0.14.0, 100 calls", |setup| build(setup, false))
}

pub fn growth() -> Growth {
    // Its cost grows with the window: the last size would take minutes. Four breakers are enough
    // to measure a cost of this order, and filling forty would take minutes too.
    Growth::new("tower-resilience", "tower-resilience", 10_000, 4, || build(Setup::STEADY, true))
}

pub fn memory() -> [Memory; 3] {
    [
        Memory::alone("tower-resilience-alone", "tower-resilience, 100 calls, one alone", || {
            service(Setup::STEADY, false)
        }),
        Memory::by_host("tower-resilience", "tower-resilience, 100 calls", || build(Setup::STEADY, false)),
        Memory::by_host("tower-resilience-60s", "tower-resilience, 60 s", || build(Setup::STEADY, true)),
    ]
}
