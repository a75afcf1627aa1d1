//! What happens to breakers.

use fusebox::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, CircuitBreakerLayer, Cooldown, ManualClock,
    Override, Registry, detect,
};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};

use super::capture::{listen, messages, told_of};
use super::support::{fail, ms, secs, succeed};

/// A breaker of that name for which time stands still, with its clock; what it does is kept.
fn breaker(
    name: &str,
    f: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
) -> (CircuitBreaker, ManualClock) {
    listen();
    let clock = ManualClock::new();
    clock.advance(secs(100_000));
    let config = f(CircuitBreakerConfig::builder(name).clock(clock.clone())).build().expect("a configuration");
    (CircuitBreaker::new(config), clock)
}

/// An event of a breaker that decides by itself.
fn local(fields: &Value) -> Value {
    let mut event = json!({ "target": "fusebox::breaker", "registry": "", "scope": "instance", "origin": "decided" });
    for (name, value) in fields.as_object().expect("fields") {
        event[name] = value.clone();
    }
    event
}

/// What was told above the level of single calls.
fn seen(name: &str) -> Vec<Value> {
    told_of(name).into_iter().filter(super::capture::is_seen).collect()
}

#[test]
fn an_outage_is_told_from_its_beginning_to_its_end() {
    let growing = Cooldown::exponential(secs(10)..=secs(60)).jitter(0.0);
    let rule = detect::failure_rate(0.5).of_last(10).min_calls(4);
    let (breaker, clock) = breaker("outage", |b| b.detector(rule).cooldown(growing));
    succeed(&breaker, 2);
    fail(&breaker, 2);
    (0..3).for_each(|_| assert!(breaker.acquire().is_err()));
    clock.advance(secs(10));
    fail(&breaker, 1);
    (0..2).for_each(|_| assert!(breaker.acquire().is_err()));
    clock.advance(secs(20));
    succeed(&breaker, 1);
    let rule = "failure_rate(0.5).of_last(10).min_calls(4)";
    let mut closed = local(&json!({
        "level": "INFO", "message": "circuit closed", "breaker": "outage", "from": "half_open", "to": "closed",
        "cause": "probes_succeeded", "open_for_ms": 30_000,
    }));
    if cfg!(feature = "counts") {
        closed["rejected"] = json!(5);
    }
    let expected = [
        local(&json!({
            "level": "WARN", "message": "circuit opened", "breaker": "outage", "from": "closed", "to": "open",
            "cause": "detected", "counted": "failures", "count": 2, "calls": 4, "rule": rule, "openings": 1,
            "cooldown_ms": 10_000,
        })),
        local(&json!({
            "level": "INFO", "message": "circuit half-open", "breaker": "outage", "from": "open", "to": "half_open",
            "cause": "cooldown_over",
        })),
        local(&json!({
            "level": "WARN", "message": "circuit opened", "breaker": "outage", "from": "half_open", "to": "open",
            "cause": "probe_failed", "rule": rule, "openings": 2, "cooldown_ms": 20_000,
        })),
        local(&json!({
            "level": "INFO", "message": "circuit half-open", "breaker": "outage", "from": "open", "to": "half_open",
            "cause": "cooldown_over",
        })),
        closed,
    ];
    assert_eq!(seen("outage"), expected);
    // Those of an earlier outage are not among them.
    breaker.trip().expect("no override");
    breaker.acquire().expect_err("open");
    breaker.reset().expect("no override");
    let again = seen("outage");
    assert_eq!(again.last().expect("told").get("rejected"), cfg!(feature = "counts").then_some(&json!(1)));
}

#[test]
fn slow_calls_are_told_as_such_and_commands_by_their_cause() {
    let rule = detect::slow_call_rate(0.5).slower_than(ms(100)).of_last(2);
    let (breaker, clock) = breaker("slow", |b| b.detector(rule));
    for _ in 0..2 {
        let permit = breaker.acquire().expect("closed");
        clock.advance(ms(250));
        permit.success();
    }
    breaker.reset().expect("no override");
    breaker.reset().expect("no override");
    breaker.trip().expect("no override");
    let told = seen("slow");
    assert_eq!(messages(&told), ["circuit opened", "circuit closed", "circuit closed", "circuit opened"]);
    assert_eq!(
        (&told[0]["counted"], &told[0]["count"], &told[0]["calls"]),
        (&json!("slow_calls"), &json!(2), &json!(2))
    );
    assert_eq!(told.iter().map(|event| &event["cause"]).collect::<Vec<_>>(), ["detected", "reset", "reset", "tripped"]);
    assert_eq!((&told[1]["open_for_ms"], told[2].get("open_for_ms")), (&json!(0), None), "it was closed already");
}

#[test]
fn an_override_is_told_with_its_reason_and_who_gave_it_when_it_is_set_and_when_it_ends() {
    let (breaker, clock) = breaker("held", |b| b);
    breaker.set_override(Override::force_open("incident 7").by("ana").expires_after(secs(60)));
    clock.advance(secs(60));
    succeed(&breaker, 1);
    breaker.set_override(Override::disable("load test"));
    breaker.set_override(Override::dry_run("new limits").by("bo"));
    breaker.resume();
    let expected = [
        local(&json!({
            "level": "WARN", "message": "circuit forced open", "breaker": "held", "from": "closed", "to": "open",
            "cause": "overridden", "kind": "forced_open", "reason": "incident 7", "actor": "ana", "expires_in_ms": 60_000,
        })),
        local(&json!({
            "level": "INFO", "message": "override ended", "breaker": "held", "from": "open", "to": "closed",
            "cause": "override_expired", "kind": "forced_open", "reason": "incident 7", "actor": "ana",
            "open_for_ms": 60_000,
        })),
        local(&json!({
            "level": "INFO", "message": "override set", "breaker": "held", "from": "closed", "to": "closed",
            "cause": "overridden", "kind": "disabled", "reason": "load test",
        })),
        local(&json!({
            "level": "INFO", "message": "override set", "breaker": "held", "from": "closed", "to": "closed",
            "cause": "overridden", "kind": "dry_run", "reason": "new limits", "actor": "bo",
        })),
        local(&json!({
            "level": "INFO", "message": "override ended", "breaker": "held", "from": "closed", "to": "closed",
            "cause": "resumed", "kind": "dry_run", "reason": "new limits", "actor": "bo",
        })),
    ];
    assert_eq!(seen("held"), expected);
}

#[test]
fn an_override_from_the_start_is_told_and_a_dry_run_tells_what_it_would_have_done() {
    let rule = detect::failures(2).of_last(10);
    let order = Override::dry_run("trial").by("ana");
    let (breaker, _) = breaker("trial", |b| b.detector(rule).initial_override(order));
    fail(&breaker, 2);
    let told = seen("trial");
    assert_eq!(messages(&told), ["override set", "would have opened"]);
    assert_eq!((&told[0]["kind"], &told[0]["actor"]), (&json!("dry_run"), &json!("ana")));
    let expected = json!({
        "level": "INFO", "target": "fusebox::breaker", "message": "would have opened", "breaker": "trial", "registry": "",
        "counted": "failures", "count": 2, "calls": 2, "rule": "failures(2).of_last(10).min_calls(1)",
    });
    assert_eq!(told[1], expected);
}

#[derive(Clone, Debug)]
struct Panics;

impl detect::Detector for Panics {
    fn record(&mut self, _call: &detect::Call) {
        panic!("a detector that panics");
    }

    fn verdict(&self, _now: fusebox::clock::Timestamp) -> bool {
        false
    }

    fn tally(&self, _now: fusebox::clock::Timestamp) -> detect::Tally {
        detect::Tally::failures(0)
    }

    fn reset(&mut self) {}

    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    fn load(&mut self, _bytes: &[u8]) -> Result<(), detect::LoadError> {
        Ok(())
    }
}

#[test]
fn a_detector_that_panics_is_told() {
    let (breaker, _) = breaker("panics", |b| b.detector(Panics));
    fail(&breaker, 1);
    let expected = json!({
        "level": "WARN", "target": "fusebox::breaker", "message": "detector panicked", "breaker": "panics", "registry": "",
        "rule": "Panics",
    });
    assert_eq!(seen("panics"), [expected]);
}

#[test]
fn breakers_of_a_registry_are_told_with_its_name() {
    listen();
    let registry =
        Registry::new(|name| CircuitBreakerConfig::builder(name).detector(detect::consecutive_failures(1)).build());
    let early = registry.breaker("host-early").expect("a breaker");
    let registry = registry.named("hosts");
    let late = registry.breaker("host-late").expect("a breaker");
    let other = Registry::of(CircuitBreakerConfig::new("template")).named("others").breaker("host-other").expect("one");
    fail(&early, 1);
    fail(&late, 1);
    other.trip().expect("no override");
    for (name, registry) in [("host-early", ""), ("host-late", "hosts"), ("host-other", "others")] {
        let told = seen(name);
        assert_eq!((messages(&told), &told[0]["registry"]), (vec!["circuit opened"], &json!(registry)), "{name}");
    }
}

#[tokio::test]
async fn what_a_registry_has_no_breaker_for_is_told_without_any_listener() {
    fn key<'a>(name: &'a &'static str) -> Option<&'a str> {
        Some(*name).filter(|name| !name.is_empty())
    }

    listen();
    let registry =
        Registry::new(|name| CircuitBreakerConfig::builder(if name == "refused" { "" } else { name }).build())
            .named("doors");
    let layer = CircuitBreakerLayer::keyed(registry.clone(), key);
    let service = layer.layer(service_fn(async |_: &'static str| Ok::<_, fusebox::BoxError>(())));
    for name in ["", "refused", "", "refused"] {
        service.clone().oneshot(name).await.expect("it is let through");
    }
    let told: Vec<_> = super::capture::told_with("registry", "doors");
    let expected = [
        json!({
            "level": "WARN", "target": "fusebox::breaker", "message": "request without a key was not guarded",
            "breaker": "(unguarded)", "registry": "doors",
        }),
        json!({
            "level": "WARN", "target": "fusebox::breaker", "message": "template refused a name", "breaker": "refused",
            "registry": "doors", "error": "`name` is empty, allowed is any text that is not empty",
        }),
    ];
    assert_eq!(told, expected);
    let layer = CircuitBreakerLayer::keyed(registry, key).fallback_key("rest");
    let service = layer.layer(service_fn(async |_: &'static str| Ok::<_, fusebox::BoxError>(())));
    service.oneshot("").await.expect("it is let through");
    let told = seen("rest");
    assert_eq!((messages(&told), &told[0]["level"]), (vec!["fallback key used"], &json!("INFO")));
}

#[test]
fn advice_is_told() {
    let outcomes = fusebox::classify::Outcomes::new().failures(["404"]).expect("statuses");
    let (_breaker, _) = breaker("advised", |b| b.outcomes(outcomes));
    let told = seen("advised");
    assert_eq!((messages(&told), &told[0]["kind"]), (vec!["advice"], &json!("outcomes_unheeded")));
}

/// What tells of a breaker is made when there is something to tell, and gone when that is told: a breaker with a listener
/// keeps it.
#[test]
fn a_breaker_that_was_told_of_keeps_nothing_of_that() {
    let freed = |name: &str, has_listener: bool| {
        let (breaker, clock) = breaker(name, |b| {
            let b = b.detector(detect::consecutive_failures(1));
            if has_listener { b.on_state_change(|_, _, _| ()) } else { b }
        });
        fail(&breaker, 1);
        clock.advance(secs(30));
        succeed(&breaker, 1);
        assert_eq!(seen(name).len(), 3);
        -allocation_counter::measure(|| drop(breaker)).bytes_current
    };
    let (plain, heard) = (freed("light", false), freed("heard", true));
    assert!(heard - plain > 500, "{heard} bytes with a listener, {plain} without");
}
