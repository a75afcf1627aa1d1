use super::{Row, Setup};
use crate::caller::{Boom, Caller, Req, Tower, hosts, inner};
use crate::growth::{Growth, WINDOW};
use crate::memory::Memory;
use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, ConfigError, Probes, Registry, Rejected, detect, rejection};
use std::time::Duration;
use tower_layer::Layer;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Built = Result<CircuitBreakerConfig, ConfigError>;

pub fn last_calls(name: &str, setup: Setup) -> Built {
    CircuitBreakerConfig::builder(name)
        .detector(detect::failure_rate(0.5).of_last(setup.calls).min_calls(setup.calls))
        .cooldown(setup.cooldown)
        .probes(Probes::one())
        .build()
}

fn default_detector(name: &str, setup: Setup) -> Built {
    CircuitBreakerConfig::builder(name).cooldown(setup.cooldown).build()
}

fn rate_in_time(name: &str, setup: Setup) -> Built {
    CircuitBreakerConfig::builder(name)
        .detector(detect::failure_rate(0.5).within(WINDOW).min_calls(setup.calls))
        .cooldown(setup.cooldown)
        .build()
}

/// What a careful service would configure; nothing in it is there to be cheap.
fn honest(name: &str, setup: Setup) -> Built {
    let rate = detect::failure_rate(0.5).within(WINDOW).min_calls(setup.calls);
    let slow = detect::slow_call_rate(0.8).slower_than(Duration::from_secs(2)).within(WINDOW);
    CircuitBreakerConfig::builder(name)
        .detector(rate.or(slow))
        .cooldown(setup.cooldown)
        .on_state_change(|_breaker, _old, _new| {})
        .build()
}

pub fn open(_: Rejected) -> Boom {
    Boom::OPEN
}

fn one(config: Built) -> impl Caller + Sync {
    let service = CircuitBreakerLayer::new(config.unwrap()).map_rejection(open).layer(inner());
    Tower { service, rejected: |e: &Boom| *e == Boom::OPEN }
}

fn host(req: &Req) -> Option<&str> {
    Some(req.host())
}

fn registry(config: fn(&str, Setup) -> Built, setup: Setup, names: &[&str]) -> Registry {
    let registry = Registry::new(move |name: &str| config(name, setup)).max(2_000_000);
    for name in names {
        registry.breaker(name).unwrap();
    }
    registry
}

fn by_host(config: fn(&str, Setup) -> Built, names: &[&str]) -> impl Caller + use<> {
    let layer = CircuitBreakerLayer::keyed(registry(config, Setup::STEADY, names), host);
    let service = layer.map_rejection(open).layer(inner());
    Tower { service, rejected: |e: &Boom| *e == Boom::OPEN }
}

fn by_host_boxed(setup: Setup) -> impl Caller + Sync {
    let service = CircuitBreakerLayer::keyed(registry(honest, setup, &[]), host).layer(inner());
    Tower { service, rejected: |e: &BoxError| rejection(&**e).is_some() }
}

pub const LAST_100: &str = "fusebox";
pub const DEFAULT: &str = "fusebox-default";
pub const HONEST: &str = "fusebox-honest";

pub fn rows() -> [Row; 3] {
    [
        Row::new(LAST_100, "**fusebox**, last 100, typed rejection", |setup| one(last_calls("api", setup)))
            .keyed(|| by_host(last_calls, &hosts(1_000))),
        // One failure in ten calls opens it at once, as five failures within a minute should.
        Row::new(DEFAULT, "**fusebox**, default: 5 failures in 60 s", |setup| one(default_detector("api", setup)))
            .keyed(|| by_host(default_detector, &hosts(1_000)))
            .without(&[super::Column::Tenth]),
        Row::new(HONEST, "**fusebox**, honest set-up", by_host_boxed).keyed(|| by_host_boxed(Setup::STEADY)),
    ]
}

pub fn growth() -> Growth {
    Growth::new("fusebox", "**fusebox**, failure rate", 100_000, 40, || one(rate_in_time("api", Setup::STEADY)))
}

pub fn memory() -> [Memory; 3] {
    [
        Memory::keyed("fusebox", "**fusebox**, last 100", |names| by_host(last_calls, names)),
        Memory::keyed("fusebox-60s", "**fusebox**, failure rate in 60 s", |names| by_host(rate_in_time, names)),
        Memory::million("fusebox-million", "**fusebox**, last 100, 1,000,000 in one registry", |names| {
            registry(last_calls, Setup::STEADY, names)
        }),
    ]
}
