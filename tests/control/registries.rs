//! The events of a registry, as one stream.

use std::future::ready;
use std::sync::OnceLock;

use fusebox::{BoxError, CircuitBreakerLayer, Registry};
use tower::{Layer, ServiceExt};

use super::*;

fn registry() -> Registry {
    Registry::new(|name| {
        let config = CircuitBreakerConfig::builder(name).detector(detect::consecutive_failures(2));
        config.cooldown(Duration::ZERO).build()
    })
}

/// What can be read without waiting.
fn lines(events: &mut Events) -> Vec<String> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).map(|event| event.to_string()).collect()
}

fn trip(registry: &Registry, name: &str) {
    registry.breaker(name).expect("a template that works").trip().expect("no override stands");
}

#[test]
fn it_tells_of_breakers_that_are_and_that_come() {
    let registry = registry();
    trip(&registry, "before");
    let mut events = registry.events();
    assert_eq!(lines(&mut events), [""; 0], "from now on");
    registry.breaker("before").expect("it is there").acquire().expect("its cooldown is over").success();
    trip(&registry, "later");
    fail(&registry.breaker("failing").expect("a template that works"), 2);
    let expected = [
        "before: open -> half-open (the cooldown is over)",
        "before: probe ended: Success",
        "before: half-open -> closed (probes succeeded)",
        "later: closed -> open (tripped by command)",
        "failing: call ended: Failure",
        "failing: call ended: Failure",
        "failing: closed -> open (2 failures)",
    ];
    assert_eq!(lines(&mut events), expected);
    assert_eq!(events.dropped(), 0);
}

#[test]
fn each_reader_hears_all_and_one_that_leaves_takes_nothing_from_others() {
    let registry = registry();
    let (mut one, two) = (registry.events(), registry.events());
    trip(&registry, "a");
    let mut of_one = registry.get("a").expect("it is there").events();
    drop(two);
    trip(&registry, "b");
    assert_eq!(lines(&mut one), ["a: closed -> open (tripped by command)", "b: closed -> open (tripped by command)"]);
    drop(one);
    registry.get("a").expect("it is there").reset().expect("no override stands");
    assert_eq!(lines(&mut of_one), ["a: open -> closed (reset by command)"], "the breaker's own stream goes on");
}

#[test]
fn a_slow_reader_keeps_the_newest_changes_and_is_told_how_many_it_lost() {
    let registry = registry();
    let mut events = registry.events();
    for n in 0..10_000 {
        trip(&registry, &n.to_string());
    }
    let dropped = events.dropped();
    let read = lines(&mut events);
    assert_eq!((read.len() as u64 + dropped, read.len()), (10_000, 8_192));
    assert_eq!(read.last().map(String::as_str), Some("9999: closed -> open (tripped by command)"));
    for _ in 0..5_000 {
        fail(&registry.breaker("busy").expect("a template that works"), 1);
        registry.breaker("busy").expect("a template that works").reset().expect("no override stands");
    }
    let read = lines(&mut events);
    let changes = read.iter().filter(|line| line.ends_with("(reset by command)")).count();
    assert_eq!(changes, 5_000, "failed calls give way first");
}

#[test]
fn one_that_is_removed_or_forgotten_is_heard_no_more() {
    let registry = registry().max(1).idle(Duration::ZERO);
    let mut events = registry.events();
    let removed = {
        registry.breaker("removed").expect("a template that works");
        registry.remove("removed").expect("it is there")
    };
    removed.trip().expect("no override stands");
    registry.breaker("forgotten").expect("a template that works");
    trip(&registry, "newcomer");
    assert!(registry.get("forgotten").is_none());
    assert_eq!(lines(&mut events), ["newcomer: closed -> open (tripped by command)"]);
}

#[test]
fn a_breaker_that_is_held_from_the_start_is_told_of() {
    for max in [1, 0] {
        let order = Override::force_open("migration");
        let registry =
            Registry::new(move |name| CircuitBreakerConfig::builder(name).initial_override(order.clone()).build());
        let registry = registry.max(max);
        let mut events = registry.events();
        let breaker = registry.breaker("a").expect("a template that works");
        let expected = [format!("{}: closed -> open (overridden by an operator)", breaker.name())];
        assert_eq!(lines(&mut events), expected, "{max}");
        breaker.resume();
        assert_eq!(lines(&mut events).len(), 1, "and then it is like any other");
    }
}

/// Its listener, too, may ask for what has the same overflow breaker.
#[test]
fn a_held_overflow_breaker_is_told_of_outside_every_lock() {
    let place: Arc<OnceLock<Registry>> = Arc::default();
    let registry = {
        let place = place.clone();
        Registry::new(move |name| {
            let place = place.clone();
            let order = Override::disable("load test");
            let config = CircuitBreakerConfig::builder(name).initial_override(order);
            config.on_event(move |_| drop(place.get().map(|registry| registry.breaker("a")))).build()
        })
    };
    let registry = place.get_or_init(|| registry.max(0)).clone();
    no_deadlock(move || assert!(registry.breaker("a").is_ok()));
}

#[test]
fn requests_without_a_breaker_are_told_of_too() {
    let registry = Registry::new(|name| CircuitBreakerConfig::builder(if name == "bad" { "" } else { name }).build());
    let mut events = registry.events();
    let layer = CircuitBreakerLayer::keyed(registry, |key: &Option<&'static str>| *key);
    let service = layer.layer(service_fn(|_: Option<&'static str>| ready(Ok::<_, BoxError>(()))));
    for key in [None, Some("bad"), None, Some("bad")] {
        service.clone().oneshot(key).now_or_never().expect("at once").expect("the service works");
    }
    let told = lines(&mut events);
    assert!(told[0].starts_with("(unguarded): a request without a key was not guarded"), "{told:?}");
    assert!(told[1].starts_with("bad: the registry's template refuses this name"), "{told:?}");
    assert_eq!(told.len(), 2, "once each");
}

#[test]
fn overflow_breakers_are_heard() {
    let registry = registry().max(1);
    let mut events = registry.events();
    let _held = registry.breaker("held").expect("a template that works");
    let overflow = registry.breaker("one more").expect("a template that works");
    overflow.trip().expect("no override stands");
    assert_eq!(lines(&mut events), [format!("{}: closed -> open (tripped by command)", overflow.name())]);
}

/// Breakers are made, and trip, while readers come: none that began before a breaker misses anything of it.
#[test]
fn no_breaker_is_missed_while_readers_come_and_go() {
    let registry = registry();
    let mut first = registry.events();
    no_deadlock(move || {
        thread::scope(|scope| {
            for thread in 0..4 {
                let registry = &registry;
                scope.spawn(move || (0..500).for_each(|n| trip(registry, &format!("{thread}/{n}"))));
            }
            scope.spawn(|| (0..200).for_each(|_| drop(registry.events())));
        });
    });
    assert_eq!(lines(&mut first).len(), 2_000);
}

/// A stream keeps neither a registry nor its breakers.
#[test]
fn a_stream_outlives_its_registry() {
    let mut events = {
        let registry = registry();
        let events = registry.events();
        trip(&registry, "a");
        events
    };
    assert_eq!(lines(&mut events).len(), 1);
    assert_eq!(lines(&mut events), [""; 0]);
}
