//! Requests of keyed layers that have no breaker of their own.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::future::ready;

use fusebox::circuit_breaker::Select;
use fusebox::{
    BoxError, CircuitBreakerConfig, CircuitBreakerLayer, ConfigError, EventKind, Registry, State,
    circuit_breaker::RejectReason, detect, rejection,
};
use futures::FutureExt;
use support::{Down, Record};
use tower::{Layer, ServiceExt};

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

type Told = Record<(String, EventKind, String)>;

/// A registry whose listeners write down what they hear, but for calls; its template refuses names as `refuses` has it.
fn registry(refuses: fn(&str) -> bool) -> (Registry, Told) {
    let told = Told::default();
    let list = told.clone();
    let registry = Registry::new(move |name| {
        if refuses(name) {
            return Err(ConfigError::new("name", &name, "another one"));
        }
        let list = list.clone();
        CircuitBreakerConfig::builder(name)
            .detector(detect::consecutive_failures(1))
            .on_event(move |event| {
                if !matches!(event.kind(), EventKind::Ended { .. } | EventKind::StateChanged { .. }) {
                    list.add((event.name().to_owned(), event.kind(), event.to_string()));
                }
            })
            .build()
    });
    (registry, told)
}

/// Its key is the tenant; whether it fails.
type Order = (Option<&'static str>, bool);

fn tenant(order: &Order) -> Option<&str> {
    order.0
}

fn ask<K: Select<Order> + Clone>(
    layer: &CircuitBreakerLayer<fusebox::classify::Errors, fusebox::circuit_breaker::Boxed, K>,
    tenant: Option<&'static str>,
    fails: bool,
) -> Result<(), BoxError> {
    let inner = tower::service_fn(|order: Order| ready(if order.1 { Err(Down) } else { Ok(()) }));
    layer.layer(inner).oneshot((tenant, fails)).now_or_never().expect("at once")
}

/// At release 0.1 nothing told of it.
#[test]
fn c71_a_request_without_a_key_is_counted_and_told_of_once() {
    let (registry, told) = registry(|_| false);
    let layers = [(); 2].map(|()| CircuitBreakerLayer::keyed(registry.clone(), tenant));
    for layer in &layers {
        for _ in 0..10 {
            assert!(ask(layer, None, true).expect_err("down").is::<Down>());
        }
    }
    assert_eq!((registry.len(), registry.iter().count(), registry.unguarded()), (0, 0, 20));
    let [(name, kind, line)] = &told.take()[..] else { panic!("told once, for all layers of the registry") };
    assert_eq!((&**name, *kind), ("(unguarded)", EventKind::Unguarded));
    assert!(line.contains("not guarded") && line.contains("fallback_key"), "{line}");
    assert!(ask(&layers[0], Some("a"), false).is_ok());
    assert_eq!((registry.len(), registry.unguarded(), told.take().len()), (1, 20, 0));
}

#[test]
fn c71_a_name_that_the_template_refuses_is_told_of_with_the_reason() {
    let (registry, told) = registry(|name| name == "bad");
    let layer = CircuitBreakerLayer::keyed(registry.clone(), tenant);
    assert!(ask(&layer, Some("good"), false).is_ok());
    assert!(ask(&layer, Some("bad"), true).is_err());
    let rejected = ask(&layer, Some("bad"), false).expect_err("an overflow breaker guards it");
    assert!(rejection(&*rejected).is_some_and(|rejected| rejected.name().starts_with("(overflow ")));
    assert_eq!((registry.len(), registry.unguarded(), registry.overflowed()), (1, 0, 2));
    let [(name, kind, line)] = &told.take()[..] else { panic!("told once") };
    assert_eq!((&**name, *kind), ("bad", EventKind::TemplateFailed));
    assert!(line.ends_with("`name` is bad, allowed is another one"), "{line}");
}

#[test]
fn where_the_template_refuses_even_the_overflow_breaker_requests_are_not_guarded_and_counted() {
    let (registry, told) = registry(|name| name != "(unguarded)");
    let layer = CircuitBreakerLayer::keyed(registry.clone(), tenant);
    for _ in 0..10 {
        assert!(ask(&layer, Some("bad"), true).expect_err("down").is::<Down>());
    }
    assert_eq!((registry.len(), registry.unguarded(), registry.overflowed()), (0, 10, 0));
    assert_eq!(told.take().into_iter().map(|(.., kind, _)| kind).collect::<Vec<_>>(), [EventKind::TemplateFailed]);
}

#[test]
fn what_no_listener_could_hear_is_told_when_one_can() {
    use std::sync::atomic::{AtomicU32, Ordering};
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let (registry, told) = registry(|_| ASKED.fetch_add(1, Ordering::SeqCst) < 4);
    let layer = CircuitBreakerLayer::keyed(registry.clone(), tenant);
    for _ in 0..1_000 {
        assert!(ask(&layer, None, false).is_ok());
    }
    assert_eq!((registry.unguarded(), told.take().len()), (1_000, 1));
    assert!(ASKED.load(Ordering::SeqCst) <= 10, "the template is not run for each request");
}

#[test]
fn a_fallback_key_guards_requests_without_a_key_by_one_breaker() {
    let (registry, told) = registry(|name| name == "bad");
    let layer = CircuitBreakerLayer::keyed(registry.clone(), tenant).fallback_key("others");
    assert!(ask(&layer, None, true).expect_err("down").is::<Down>());
    for tenant in [None, Some("bad")] {
        let rejected = ask(&layer, tenant, false).expect_err("their circuit is open");
        let rejected = rejection(&*rejected).expect("a rejection");
        assert_eq!((&*rejected.name(), rejected.reason()), ("others", RejectReason::Open));
    }
    assert!(ask(&layer, Some("good"), false).is_ok());
    assert_eq!((registry.len(), registry.unguarded(), registry.overflowed()), (2, 0, 0));
    assert_eq!(registry.iter().count(), 2, "no overflow breaker is made in vain");
    assert_eq!(registry.get("others").map(|breaker| breaker.state()), Some(State::Open));
    let told: Vec<_> = told.take().into_iter().map(|(name, kind, _)| (name, kind)).collect();
    let expected = [("others", EventKind::FallbackKeyUsed), ("bad", EventKind::TemplateFailed)];
    assert_eq!(told, expected.map(|(name, kind)| (name.to_owned(), kind)));
}

#[test]
fn a_fallback_key_goes_with_every_kind_of_key() {
    let (registry, _) = registry(|_| false);
    let by = CircuitBreakerLayer::keyed(registry.clone(), tenant).fallback_key("a");
    let owned = CircuitBreakerLayer::keyed_owned(registry.clone(), |order: &Order| order.0.map(str::to_owned));
    let typed = CircuitBreakerLayer::keyed_by(registry.clone(), tenant).fallback_key(String::from("c"));
    assert!(ask(&by, None, false).is_ok());
    assert!(ask(&owned.fallback_key("b"), None, false).is_ok());
    assert!(ask(&typed, None, false).is_ok());
    let mut names: Vec<_> = registry.iter().map(|breaker| breaker.name().to_string()).collect();
    names.sort();
    assert_eq!((names, registry.unguarded()), (vec!["a".into(), "b".into(), "c".into()], 0));
}

#[test]
fn where_the_fallback_is_refused_too_the_request_is_not_guarded() {
    let (registry, told) = registry(|name| name != "(unguarded)");
    let layer = CircuitBreakerLayer::keyed(registry.clone(), tenant).fallback_key("others");
    for tenant in [None, Some("bad")] {
        assert!(ask(&layer, tenant, true).expect_err("down").is::<Down>());
    }
    assert_eq!((registry.unguarded(), told.take().len()), (2, 1));
}

/// The listener is a user's code: it may call the registry, and may panic.
#[test]
fn a_listener_that_is_told_may_ask_the_registry() {
    let (sender, receiver) = std::sync::mpsc::channel::<Registry>();
    let (sender, receiver) = (sender, std::sync::Mutex::new(receiver));
    let heard = Record::default();
    let list = heard.clone();
    let receiver = std::sync::Arc::new(receiver);
    let registry = Registry::new(move |name| {
        let (receiver, list) = (receiver.clone(), list.clone());
        let builder = CircuitBreakerConfig::builder(name).on_event(move |event| {
            let registry = receiver.lock().expect("one at a time").recv().expect("it is sent");
            list.add((event.kind(), registry.breaker("made by the listener").is_ok()));
        });
        builder.build()
    });
    sender.send(registry.clone()).expect("it is received");
    let layer = CircuitBreakerLayer::keyed(registry, tenant);
    support::no_deadlock(move || assert!(ask(&layer, None, false).is_ok()));
    assert_eq!(heard.take(), [(EventKind::Unguarded, true)]);
}

#[cfg(feature = "fleet")]
#[test]
fn no_breaker_joins_a_fleet_only_to_tell() {
    use std::sync::Arc;

    use fusebox::store::{MemoryStore, Store};

    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (watched, heard) = (store.clone(), Record::default());
    let list = heard.clone();
    let registry = Registry::new(move |name| {
        let list = list.clone();
        let builder = CircuitBreakerConfig::builder(name).store(watched.clone());
        builder.on_event(move |event| list.add(event.kind())).build()
    });
    let layer = CircuitBreakerLayer::keyed(registry.clone(), tenant);
    assert!(ask(&layer, None, true).is_err());
    futures::executor::block_on(registry.flush());
    assert_eq!((heard.take(), registry.iter().count()), (vec![EventKind::Unguarded], 0));
    assert_eq!(Arc::strong_count(&store), 2, "no engine holds the store");
}
