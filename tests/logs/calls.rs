//! What happens to single calls.

use std::sync::{Arc, Mutex};

use fusebox::{CircuitBreaker, CircuitBreakerConfig, EventKind, ManualClock, Outcome, Registry, detect};
use serde_json::json;

use super::capture::{is_seen, listen, messages, told_of, told_with};
use super::support::{fail, ms, secs};

#[test]
fn calls_that_fail_and_are_rejected_are_told_at_debug_and_in_the_span_of_the_caller() {
    listen();
    let clock = ManualClock::new();
    let config = CircuitBreakerConfig::builder("spans")
        .detector(detect::consecutive_failures(2))
        .abandoned_after(secs(5))
        .clock(clock.clone());
    let breaker = CircuitBreaker::new(config.build().expect("a configuration"));
    tracing::info_span!("request 1").in_scope(|| {
        let permit = breaker.acquire().expect("closed");
        clock.advance(ms(120));
        permit.failure();
        breaker.acquire().expect("closed").report(Outcome::Ignored);
        drop(breaker.acquire().expect("closed"));
    });
    tracing::info_span!("request 2").in_scope(|| {
        let permit = breaker.acquire().expect("closed");
        clock.advance(secs(6));
        drop(permit);
    });
    tracing::info_span!("request 3").in_scope(|| breaker.acquire().expect_err("open"));
    clock.advance(secs(30));
    tracing::info_span!("request 4").in_scope(|| {
        let probe = breaker.acquire().expect("a probe");
        breaker.acquire().expect_err("one probe at a time");
        clock.advance(ms(3));
        probe.failure();
    });
    let told = told_of("spans");
    let expected = [
        json!({
            "level": "DEBUG", "target": "fusebox::breaker", "message": "call failed", "breaker": "spans", "registry": "",
            "took_ms": 120, "probe": false, "abandoned": false, "span": "request 1",
        }),
        json!({
            "level": "DEBUG", "target": "fusebox::breaker", "message": "call failed", "breaker": "spans", "registry": "",
            "took_ms": 6_000, "probe": false, "abandoned": true, "span": "request 2",
        }),
        json!({
            "level": "DEBUG", "target": "fusebox::breaker", "message": "call rejected", "breaker": "spans", "registry": "",
            "reason": "open", "retry_after_ms": 30_000, "span": "request 3",
        }),
        json!({
            "level": "DEBUG", "target": "fusebox::breaker", "message": "call rejected", "breaker": "spans", "registry": "",
            "reason": "probes_busy", "span": "request 4",
        }),
        json!({
            "level": "DEBUG", "target": "fusebox::breaker", "message": "call failed", "breaker": "spans", "registry": "",
            "took_ms": 3, "probe": true, "abandoned": false, "span": "request 4",
        }),
    ];
    assert_eq!(told.iter().filter(|event| !is_seen(event)).cloned().collect::<Vec<_>>(), expected);
    let order = [
        "call failed",
        "call failed",
        "circuit opened",
        "call rejected",
        "circuit half-open",
        "call rejected",
        "call failed",
        "circuit opened",
    ];
    assert_eq!(messages(&told), order, "a call comes before what follows from it");
}

#[test]
fn where_no_rule_asks_for_times_a_failed_call_has_none() {
    listen();
    let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("untimed"));
    fail(&breaker, 1);
    let expected = json!({
        "level": "DEBUG", "target": "fusebox::breaker", "message": "call failed", "breaker": "untimed", "registry": "",
        "probe": false, "abandoned": false,
    });
    assert_eq!(told_of("untimed"), [expected]);
}

#[tokio::test]
async fn rejected_calls_of_a_keyed_layer_are_told() {
    use tower::{Layer, ServiceExt, service_fn};

    listen();
    let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build()).named("keyed calls");
    registry.breaker("keyed").expect("a breaker").trip().expect("no override");
    let layer = fusebox::CircuitBreakerLayer::keyed(registry.clone(), |name: &&'static str| Some(*name));
    let service = layer.layer(service_fn(async |_: &'static str| Ok::<_, fusebox::BoxError>(())));
    service.oneshot("keyed").await.expect_err("open");
    let told = told_with("registry", "keyed calls");
    assert_eq!(messages(&told), ["circuit opened", "call rejected"]);
    assert_eq!((&told[1]["reason"], &told[1]["breaker"]), (&json!("open"), &json!("keyed")));
}

/// It is let through in the end.
#[tokio::test]
async fn a_call_that_waits_for_the_circuit_is_not_told_as_rejected() {
    use tower::{Layer, ServiceExt, service_fn};

    listen();
    let config = CircuitBreakerConfig::builder("waits").cooldown(ms(50)).build().expect("a configuration");
    let layer = fusebox::CircuitBreakerLayer::new(config).wait_when_open();
    layer.breaker().trip().expect("no override");
    let service = layer.layer(service_fn(async |(): ()| Ok::<_, fusebox::BoxError>(())));
    service.oneshot(()).await.expect("after a while");
    assert_eq!(messages(&told_of("waits")), ["circuit opened", "circuit half-open", "circuit closed"]);
}

/// By the listeners' own account of what happened.
#[test]
fn ten_thousand_failing_calls_tell_nothing_above_debug_but_the_transitions_in_their_order() {
    listen();
    let account = Arc::new(Mutex::new(Vec::new()));
    let list = account.clone();
    let config = CircuitBreakerConfig::builder("storm")
        .detector(detect::consecutive_failures(50))
        .cooldown(std::time::Duration::from_micros(100))
        .on_event(move |event| {
            if let EventKind::StateChanged { from, to, .. } = event.kind() {
                list.lock().expect("no panic").push(json!([from.as_str(), to.as_str(), event.generation().get()]));
            }
        });
    storm(&CircuitBreaker::new(config.build().expect("a configuration")));
    let told: Vec<_> = told_with("breaker", "storm").into_iter().filter(is_seen).collect();
    let told: Vec<_> = told.iter().map(|event| json!([event["from"], event["to"], event["generation"]])).collect();
    let account = account.lock().expect("no panic");
    assert!(account.len() > 20, "{}", account.len());
    assert_eq!(told, *account);
}

/// The same without listeners: each transition begins a generation, so none is missing and none comes twice.
#[test]
fn ten_thousand_failing_calls_of_a_plain_breaker_tell_every_transition_once() {
    listen();
    let config = CircuitBreakerConfig::builder("plain storm")
        .detector(detect::consecutive_failures(50))
        .cooldown(std::time::Duration::from_micros(100));
    let breaker = CircuitBreaker::new(config.build().expect("a configuration"));
    let first = breaker.snapshot().generation.get();
    storm(&breaker);
    let told: Vec<_> = told_with("breaker", "plain storm").into_iter().filter(is_seen).collect();
    let generations: Vec<_> = told.iter().map(|event| event["generation"].as_u64().expect("a number")).collect();
    assert_eq!(generations, (first + 1..=breaker.snapshot().generation.get()).collect::<Vec<_>>());
    assert!(generations.len() > 20, "{}", generations.len());
    let failed = told_with("breaker", "plain storm").iter().filter(|event| event["message"] == "call failed").count();
    let rejected =
        told_with("breaker", "plain storm").iter().filter(|event| event["message"] == "call rejected").count();
    assert_eq!(failed + rejected, 10_000);
}

/// 10,000 calls of four threads that fail if they are let through.
fn storm(breaker: &CircuitBreaker) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_500 {
                    if let Ok(permit) = breaker.acquire() {
                        permit.failure();
                    }
                }
            });
        }
    });
}
