use super::keys::{Keys, Load};
use super::{OURS, Row, Setup};
use crate::caller::{Boom, Caller, Req, Tower, hosts, inner};
use crate::growth::{Growth, WINDOW};
use crate::memory::Memory;
use fusebox::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, CircuitBreakerLayer, ConfigError, Probes,
    Registry, Rejected, detect, rejection,
};
use std::time::Duration;
use tower_layer::Layer;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Built = Result<CircuitBreakerConfig, ConfigError>;

pub fn last_calls_of(name: &str, setup: Setup) -> CircuitBreakerConfigBuilder {
    CircuitBreakerConfig::builder(name)
        .detector(detect::failure_rate(0.5).of_last(setup.calls).min_calls(setup.calls))
        .cooldown(setup.cooldown)
        .probes(Probes::one())
}

pub fn last_calls(name: &str, setup: Setup) -> Built {
    last_calls_of(name, setup).build()
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

pub fn one(config: Built) -> impl Caller + Sync {
    let service = CircuitBreakerLayer::new(config.unwrap()).map_rejection(open).layer(inner());
    Tower { service, rejected: |e: &Boom| *e == Boom::OPEN }
}

pub fn host(req: &Req) -> Option<&str> {
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
    by_host_of(registry(config, Setup::STEADY, names))
}

fn by_host_of(registry: Registry) -> impl Caller {
    let layer = CircuitBreakerLayer::keyed(registry, host);
    let service = layer.map_rejection(open).layer(inner());
    Tower { service, rejected: |e: &Boom| *e == Boom::OPEN }
}

fn by_host_boxed(setup: Setup) -> impl Caller + Sync {
    let service = CircuitBreakerLayer::keyed(registry(honest, setup, &[]), host).layer(inner());
    Tower { service, rejected: |e: &BoxError| rejection(&**e).is_some() }
}

pub const DEFAULT: &str = "fusebox-default";
pub const HONEST: &str = "fusebox-honest";

pub fn rows() -> [Row; 3] {
    [
        Row::new(OURS, "**fusebox**, last 100, typed rejection", |setup| one(last_calls("api", setup)))
            .keyed(|| by_host(last_calls, &hosts(1_000))),
        // One failure in ten calls opens it at once, as five failures within a minute should.
        Row::new(DEFAULT, "**fusebox**, default: 5 failures in 60 s", |setup| one(default_detector("api", setup)))
            .keyed(|| by_host(default_detector, &hosts(1_000)))
            .without(&[super::Column::Tenth]),
        Row::new(HONEST, "**fusebox**, honest set-up", by_host_boxed).keyed(|| by_host_boxed(Setup::STEADY)),
    ]
}

/// Where there is no room, a registry forgets what was idle for an hour: here nothing, and names beyond it share breakers.
/// The second one forgets what is idle at the moment, so that it is busy with forgetting.
pub fn keys() -> [Keys; 2] {
    let limited = |load: Load, idle| registry(last_calls, Setup::STEADY, &[]).max(load.room()).idle(idle);
    [
        Keys::new("**fusebox**, last 100, forgets after an hour", move |load| {
            by_host_of(limited(load, Duration::from_secs(3600)))
        }),
        Keys::new("**fusebox**, last 100, forgets at once", move |load| by_host_of(limited(load, Duration::ZERO))),
    ]
}

pub fn growth() -> Growth {
    Growth::new("fusebox", "**fusebox**, failure rate", 100_000, 40, || one(rate_in_time("api", Setup::STEADY)))
}

pub fn memory() -> Vec<Memory> {
    vec![
        Memory::alone("fusebox-alone", "**fusebox**, last 100, one alone", || {
            CircuitBreaker::new(last_calls("api", Setup::STEADY).unwrap())
        }),
        Memory::keyed("fusebox", "**fusebox**, last 100", |names| by_host(last_calls, names)),
        Memory::keyed("fusebox-60s", "**fusebox**, failure rate in 60 s", |names| by_host(rate_in_time, names)),
        Memory::million("fusebox-million", "**fusebox**, last 100, 1,000,000 in one registry", |names| {
            registry(last_calls, Setup::STEADY, names)
        }),
        #[cfg(feature = "parts")]
        Memory::named("fusebox-shared", "**fusebox**, last 100, one shared by a fleet", super::fleet::shared),
    ]
}
