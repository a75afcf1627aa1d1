//! A state that a breaker is held in by its configuration.

use std::time::Duration;

use fusebox::circuit_breaker::OverrideKind;
use fusebox::settings::Settings;
use fusebox::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, ManualClock, Override, State};

use super::{read, refusal};

fn refused(text: &str) -> String {
    refusal::<CircuitBreakerConfig>(text)
}

#[test]
fn a_breaker_that_is_not_enabled_lets_every_call_through_and_records_none() {
    let breaker = CircuitBreaker::new(read(
        "name = 'x'\nenabled = false\ndetector = { type = 'consecutive_failures', count = 1 }",
    ));
    for _ in 0..10 {
        breaker.acquire().expect("it is disabled").failure();
    }
    assert_eq!(breaker.state(), State::Closed);
    let standing = breaker.snapshot().overridden.expect("it is held");
    assert_eq!(standing.kind(), OverrideKind::Disabled);
    assert_eq!(standing.reason(), "`enabled` is false in the configuration");
    let enabled: CircuitBreakerConfig = read("enabled = true");
    assert_eq!(CircuitBreaker::new(enabled).snapshot().overridden, None);
}

#[test]
fn a_state_may_be_forced_for_a_while() {
    let clock = ManualClock::new();
    let text =
        "name = 'x'\noverride = { kind = 'forced_open', reason = 'migration', by = 'ana', expires_after = '10m' }";
    let builder: CircuitBreakerConfigBuilder = read(text);
    let breaker = CircuitBreaker::new(builder.clock(clock.clone()).build().expect("it works"));
    let order = Override::force_open("migration").by("ana").expires_after(Duration::from_secs(600));
    assert!(breaker.snapshot().overridden.is_some_and(|standing| standing == order));
    assert!(breaker.acquire().is_err());
    clock.advance(Duration::from_secs(600));
    breaker.acquire().expect("it has expired").success();
    assert_eq!(read::<Override>("kind = 'dry_run'\nreason = 'new limits'"), Override::dry_run("new limits"));
}

#[test]
fn every_breaker_of_a_registry_is_held_each_from_its_own_start() {
    let settings: Settings = read(
        "[registries.r]\noverride = { kind = 'forced_open', reason = 'x' }
         [registries.r.keys.on]\nenabled = true\n[registries.r.keys.off]\nenabled = false",
    );
    let registry = settings.registry("r").expect("it is there");
    let kind =
        |key: &str| registry.breaker(key).expect("it works").snapshot().overridden.map(|standing| standing.kind());
    assert_eq!((kind("a"), kind("b")), (Some(OverrideKind::ForcedOpen), Some(OverrideKind::ForcedOpen)));
    assert_eq!((kind("on"), kind("off")), (None, Some(OverrideKind::Disabled)), "two ways to say one thing");
}

#[test]
fn an_override_that_says_too_little_or_too_much_is_refused() {
    for (text, message) in [
        ("override = { kind = 'forced_open' }", "`override` lacks `reason`: text of 1 to 1024 bytes"),
        ("override = { reason = 'x' }", "`override` lacks `kind`: \"forced_open\", \"disabled\" or \"dry_run\""),
        (
            "override = { kind = 'open', reason = 'x' }",
            "`override.kind` is \"open\", allowed is \"forced_open\", \"disabled\" or \"dry_run\"",
        ),
        (
            "enabled = false\noverride = { kind = 'dry_run', reason = 'x' }",
            "`override` excludes `enabled`: `enabled = false` is an override of the kind \"disabled\"",
        ),
        ("enabled = 'no'", "`enabled` is \"no\", allowed is true or false"),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}
