//! Breakers by name: made from a template, bounded, and never forgotten while they protect.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;

use fusebox::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, ConfigError, ManualClock, Registry, State,
    clock::Timestamp,
    detect::{self, Call, Detector},
    rejection,
};
use futures::{FutureExt, StreamExt};
use support::{Down, Record, fail, failures, no_deadlock, secs};
use tower::{Layer, ServiceExt};

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

/// Breakers that trip at two failures in a row.
fn template(name: &str) -> Result<CircuitBreakerConfig, ConfigError> {
    CircuitBreakerConfig::builder(name).detector(detect::consecutive_failures(2)).build()
}

fn names(registry: &Registry) -> Vec<String> {
    let mut names: Vec<_> = registry.iter().map(|breaker| breaker.name().to_string()).collect();
    names.sort();
    names
}

/// Makes a call through a keyed layer; the request is the key.
fn call(registry: &Registry, name: &str, succeeds: bool) -> Result<(), fusebox::BoxError> {
    let inner = tower::service_fn(move |_: String| ready(if succeeds { Ok(()) } else { Err(Down) }));
    let layer = CircuitBreakerLayer::keyed(registry.clone(), |name: &String| Some(name));
    layer.layer(inner).oneshot(name.to_owned()).now_or_never().expect("at once")
}

// Names

#[test]
fn a_configuration_is_a_template() {
    let registry = Registry::of(template("of no account").expect("it works"));
    let [a, b] = ["a", "b"].map(|name| registry.breaker(name).expect("it works"));
    fail(&a, 2);
    assert_eq!((a.state(), b.state()), (State::Open, State::Closed));
    assert!(registry.breaker("a").expect("it is there").is_open(), "the same breaker");
    assert_eq!(names(&registry), ["a", "b"]);
    assert_eq!(registry.breaker("").expect_err("no name").field(), "name");
    assert!(call(&registry, "c", true).is_ok());
    assert_eq!(names(&registry), ["a", "b", "c"]);
}

#[test]
fn what_the_detector_of_a_template_has_seen_no_breaker_knows() {
    let mut used = detect::consecutive_failures(2);
    used.record(&Call::failure(Timestamp::ZERO));
    let template = CircuitBreakerConfig::builder("of no account").detector(used).build().expect("it works");
    let breaker = Registry::of(template).breaker("a").expect("it works");
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn the_template_makes_a_breaker_when_its_name_is_first_asked_for() {
    let asked = Record::default();
    let list = asked.clone();
    let registry = Registry::new(move |name| {
        list.add(name.to_owned());
        template(name)
    });
    assert!(registry.get("a").is_none(), "`get` only looks");
    assert!(registry.is_empty());
    let a = registry.breaker("a").expect("the template works");
    assert_eq!(&*a.name(), "a");
    fail(&a, 2);
    assert!(registry.breaker("a").expect("it is there").is_open(), "the same breaker");
    assert!(registry.get("a").expect("it is there").is_open());
    assert!(!registry.breaker("b").expect("the template works").is_open(), "another one");
    assert_eq!(asked.take(), ["a", "b"]);
    assert_eq!(registry.len(), 2);
}

#[test]
fn a_breaker_has_the_name_it_was_asked_for_by() {
    let registry = Registry::new(|_| template("always the same"));
    assert_eq!(&*registry.breaker("a").expect("the template works").name(), "a");
    assert!(registry.get("always the same").is_none());
}

#[test]
fn clones_of_a_registry_are_the_same_registry() {
    let registry = Registry::new(template);
    let clone = registry.clone();
    drop(registry.breaker("a").expect("the template works"));
    assert_eq!((clone.len(), clone.get("a").is_some()), (1, true));
}

#[test]
fn iter_gives_every_breaker() {
    let registry = Registry::new(template);
    for name in ["c", "a", "b"] {
        drop(registry.breaker(name).expect("the template works"));
    }
    assert_eq!(names(&registry), ["a", "b", "c"]);
    registry.iter().for_each(|breaker| breaker.trip().expect("no override stands"));
    assert!(registry.get("b").expect("it is there").is_open());
}

#[test]
fn a_removed_breaker_goes_on_and_its_name_is_free() {
    let registry = Registry::new(template);
    let old = registry.breaker("a").expect("the template works");
    old.trip().expect("no override stands");
    let removed = registry.remove("a").expect("it is there");
    assert!(removed.is_open());
    assert!(registry.remove("a").is_none());
    assert!(registry.get("a").is_none());
    assert_eq!(registry.len(), 0);
    assert!(!registry.breaker("a").expect("the template works").is_open());
    assert!(old.is_open(), "whoever holds it still has it");
}

#[test]
fn a_registered_breaker_is_found_however_long_its_name_is() {
    let long = "registered-".repeat(100);
    let registry = Registry::global();
    let mut events = registry.events();
    let breaker = CircuitBreaker::new(template(&long).expect("the template works"));
    breaker.register().expect("its name is free");
    assert_eq!(breaker.register().expect_err("it is there already").name(), long);
    breaker.trip().expect("no override stands");
    let told = std::iter::from_fn(|| events.next().now_or_never().flatten());
    assert_eq!(told.filter(|event| event.name() == long).count(), 1, "a stream of the registry's events tells of it");
    assert!(registry.get(&long).expect("it is there").is_open());
    assert!(registry.breaker(&long).expect("it is there").is_open(), "the same breaker");
    assert!(registry.remove(&long).expect("it is there").is_open());
    assert!(registry.get(&long).is_none());
    breaker.register().expect("its name is free again");
    assert!(registry.remove(&long).is_some());
}

// Bounds

#[test]
fn beyond_max_names_share_overflow_breakers_which_are_counted() {
    let registry = Registry::new(template).max(2);
    let held: Vec<_> = ["a", "b"].map(|name| registry.breaker(name).expect("the template works")).into();
    assert_eq!(registry.overflowed(), 0);
    let c = registry.breaker("c").expect("an overflow breaker");
    assert!(c.name().starts_with("(overflow "), "{}", c.name());
    fail(&c, 2);
    assert!(registry.breaker("c").expect("an overflow breaker").is_open(), "one and the same");
    assert_eq!((registry.len(), registry.overflowed()), (2, 2));
    assert!(registry.get("c").is_none());
    let last = registry.iter().last().expect("three");
    assert_eq!((last.name(), registry.iter().count()), (c.name(), 3));
    assert!(held.iter().all(|breaker| !breaker.is_open()));
}

#[test]
fn a_call_beyond_max_is_guarded_by_the_overflow_breaker() {
    let registry = Registry::new(template).max(1);
    let held = registry.breaker("a").expect("the template works");
    for _ in 0..2 {
        assert!(call(&registry, "b", false).expect_err("down").is::<Down>());
    }
    let error = call(&registry, "b", true).expect_err("the shared circuit is open");
    assert!(rejection(&*error).is_some_and(|rejected| rejected.name().starts_with("(overflow ")), "{error}");
    assert!(call(&registry, "a", true).is_ok());
    assert_eq!((registry.len(), registry.overflowed()), (1, 3));
    drop(held);
}

#[test]
fn a_registry_for_nobody_has_only_its_overflow_breaker() {
    let registry = Registry::new(template).max(0);
    assert!(call(&registry, "a", true).is_ok());
    assert_eq!((registry.len(), registry.overflowed(), registry.iter().count()), (0, 1, 1));
}

#[test]
fn names_beyond_max_that_fail_shut_out_few_that_are_well() {
    let registry = Registry::new(template).max(0);
    for at in 0..5 {
        fail_all(&registry, &format!("junk-{at}"));
    }
    let shut = (0..1_000).filter(|at| call(&registry, &format!("good-{at}"), true).is_err()).count();
    assert!((1..=200).contains(&shut), "{shut} of 1,000: five of 64 overflow breakers are open");
    assert_eq!(registry.len(), 0);
    assert!(registry.iter().count() <= 64);
}

fn fail_all(registry: &Registry, name: &str) {
    while call(registry, name, false).is_err_and(|error| error.is::<Down>()) {}
}

#[test]
fn a_very_long_name_is_cut_and_still_one_of_its_own() {
    let registry = Registry::new(template);
    let long = |end: char| format!("{}{end}", "ä".repeat(40_000));
    let one = registry.breaker(&long('1')).expect("the template works");
    let other = registry.breaker(&long('2')).expect("the template works");
    assert!(one.name().len() <= 255 && other.name().len() <= 255);
    assert_ne!(one.name(), other.name());
    assert_eq!(registry.get(&long('1')).map(|found| found.name()), Some(one.name()));
    fail(&one, 2);
    assert!(registry.breaker(&long('1')).expect("the same").is_open() && !other.is_open());
    assert!(registry.remove(&long('1')).is_some() && registry.len() == 1);
    let again = Registry::new(template).breaker(&long('1')).expect("the template works");
    assert_eq!(again.name(), one.name(), "the same in another registry");
}

#[test]
fn threads_that_ask_for_one_name_at_once_get_one_breaker() {
    for _ in 0..20 {
        let registry = Registry::new(template);
        let barrier = Arc::new(Barrier::new(32));
        let threads: Vec<_> = (0..32)
            .map(|_| {
                let (registry, barrier) = (registry.clone(), barrier.clone());
                thread::spawn(move || {
                    barrier.wait();
                    registry.breaker("a").expect("the template works")
                })
            })
            .collect();
        let breakers: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        breakers[0].trip().expect("no override stands");
        assert!(breakers.iter().all(CircuitBreaker::is_open));
        assert_eq!(registry.len(), 1);
    }
}

#[test]
fn threads_that_ask_for_many_names_at_once_do_not_exceed_max() {
    for _ in 0..50 {
        let registry = Registry::new(template).max(4);
        let barrier = Arc::new(Barrier::new(32));
        thread::scope(|scope| {
            for n in 0..32 {
                let (registry, barrier) = (registry.clone(), barrier.clone());
                scope.spawn(move || {
                    barrier.wait();
                    drop(registry.breaker(&format!("tenant-{n}")).expect("the template works"));
                });
            }
        });
        assert_eq!((registry.len(), registry.overflowed()), (4, 28));
        assert!((5..=4 + 28).contains(&registry.iter().count()), "four, and those that the others share");
    }
}

#[cfg(feature = "testing")]
mod idle {
    use std::time::Duration;

    use fusebox::{Override, Permit};
    use support::succeed;
    use tokio::time::advance;

    use super::*;

    /// Room for one breaker, which may be forgotten as soon as nobody uses it.
    fn room_for_one() -> Registry {
        Registry::new(|name| CircuitBreakerConfig::builder(name).detector(detect::failures(2).within(secs(60))).build())
            .max(1)
            .idle(Duration::ZERO)
    }

    /// Looks for room at most once a second.
    async fn next_second() {
        advance(secs(2)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_breaker_makes_room_for_a_new_one() {
        let registry = room_for_one();
        next_second().await;
        for name in ["a", "b", "c"] {
            let breaker = registry.breaker(name).expect("the template works");
            assert_eq!(&*breaker.name(), name);
            succeed(&breaker, 10);
            drop(breaker);
            assert_eq!((registry.len(), registry.overflowed()), (1, 0));
            next_second().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_made_in_the_first_second_of_a_process_too() {
        let registry = room_for_one();
        drop(registry.breaker("a").expect("the template works"));
        drop(registry.breaker("b").expect("the template works"));
        assert_eq!(registry.overflowed(), 0);
        assert!(registry.get("b").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_breaker_that_protects_is_never_forgotten() {
        type Prepare = fn(&CircuitBreaker) -> Option<Permit>;
        let cases: [(&str, State, Prepare); 6] = [
            ("open", State::Open, |b| {
                b.trip().expect("no override stands");
                None
            }),
            ("half-open", State::HalfOpen, |b| b.acquire().ok()),
            ("forced open", State::Open, |b| {
                b.set_override(Override::force_open("x"));
                None
            }),
            ("disabled", State::Closed, |b| {
                b.set_override(Override::disable("x"));
                None
            }),
            ("dry run", State::Closed, |b| {
                b.set_override(Override::dry_run("x"));
                None
            }),
            ("held", State::Closed, |_| None),
        ];
        for (name, state, prepare) in cases {
            let registry = room_for_one();
            next_second().await;
            let breaker = registry.breaker("a").expect("the template works");
            if name == "half-open" {
                breaker.trip().expect("no override stands");
                advance(secs(30)).await;
            }
            let probe = prepare(&breaker);
            assert_eq!(breaker.state(), state, "{name}");
            let held = (name == "held").then(|| breaker.clone());
            drop(breaker);
            next_second().await;
            let other = registry.breaker("b").expect("an overflow breaker");
            assert!(other.name().starts_with("(overflow "), "{name}");
            assert_eq!(registry.get("a").map(|a| a.state()), Some(state), "{name}");

            drop((probe, held));
            let breaker = registry.get("a").expect("still there");
            breaker.resume();
            breaker.reset().expect("no override stands");
            drop(breaker);
            next_second().await;
            drop(registry.breaker("b").expect("the template works"));
            assert!(registry.get("b").is_some(), "{name}: once it is healthy, it makes room");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_idle_and_knows_nothing_goes_first_then_what_knows_failures_then_what_was_open() {
        let registry = Registry::new(template).max(3).idle(Duration::ZERO);
        drop(registry.breaker("calm").expect("the template works"));
        fail(&registry.breaker("failed").expect("the template works"), 1);
        registry.breaker("opened").expect("the template works").trip().expect("no override stands");
        next_second().await;
        drop(registry.breaker("first").expect("the template works"));
        assert!(registry.get("calm").is_none() && registry.get("failed").is_some());
        // A place for what has failures is taken where there is no other; an open circuit still protects.
        let held = registry.get("first");
        next_second().await;
        let second = registry.breaker("second").expect("the template works");
        assert!(registry.get("failed").is_none() && registry.get("opened").is_some());
        // Its cooldown is over, and nothing calls.
        advance(secs(31)).await;
        drop(registry.breaker("third").expect("the template works"));
        assert!(registry.get("opened").is_none() && registry.get("third").is_some());
        assert_eq!((registry.len(), registry.overflowed()), (3, 0));
        drop((held, second));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_keep_a_breaker_from_being_idle() {
        let registry = Registry::new(template).max(1).idle(secs(60));
        for _ in 0..5 {
            assert!(call(&registry, "a", true).is_ok());
            advance(secs(50)).await;
            assert!(call(&registry, "b", true).is_ok());
        }
        assert_eq!((registry.overflowed(), registry.len(), registry.iter().count()), (5, 1, 2));
        assert!(registry.get("a").is_some());
        advance(secs(61)).await;
        assert!(call(&registry, "b", true).is_ok());
        assert_eq!(registry.overflowed(), 5);
        assert!(registry.get("a").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_has_been_idle_long_enough_is_forgotten() {
        let registry = Registry::new(template).max(2).idle(secs(60));
        drop(registry.breaker("old").expect("the template works"));
        advance(secs(59)).await;
        drop(registry.breaker("young").expect("the template works"));
        advance(secs(2)).await;
        drop(registry.breaker("new").expect("the template works"));
        assert_eq!(names(&registry), ["new", "young"]);
    }
}

// Names from requests

#[test]
fn no_name_fails_a_call() {
    let registry = Registry::new(template);
    let long = "x".repeat(10 * 1024);
    let names =
        ["", " ", "\0", "line\nbreak\r\t\u{1b}[31m", "ünïcödé/мир/世界/🦀", "\u{202e}evil", "(overflow)", &long];
    for name in names {
        for _ in 0..2 {
            assert!(call(&registry, name, true).is_ok(), "{name:.20?}");
        }
        for _ in 0..2 {
            assert!(call(&registry, name, false).expect_err("down").is::<Down>(), "{name:.20?}");
        }
        let error = call(&registry, name, true).expect_err("open");
        assert!(rejection(&*error).is_some(), "{name:.20?} is guarded");
        assert!(!error.to_string().is_empty());
    }
}

/// As a template does that asks for its settings elsewhere.
#[test]
fn an_overflow_breaker_that_the_template_refused_is_made_when_it_gives_one() {
    for is_keyed in [false, true] {
        let refuses = Arc::new(AtomicBool::new(true));
        let of = refuses.clone();
        let registry = Registry::new(move |name| match name.starts_with("(overflow ") && of.load(Ordering::SeqCst) {
            true => Err(ConfigError::new("name", &name, "another one")),
            false => template(name),
        });
        let registry = registry.max(0);
        if is_keyed {
            assert!(call(&registry, "a", false).expect_err("down").is::<Down>());
        } else {
            assert_eq!(registry.breaker("a").expect_err("refused").field(), "name");
        }
        assert_eq!(registry.iter().count(), 0);
        refuses.store(false, Ordering::SeqCst);
        fail(&registry.breaker("a").expect("an overflow breaker"), 2);
        assert!(registry.breaker("a").expect("an overflow breaker").is_open(), "one and the same");
        assert!(call(&registry, "a", true).is_err_and(|error| rejection(&*error).is_some()), "for layers, too");
        assert_eq!(names(&registry).len(), 1, "it is the registry's");
    }
}

#[test]
fn a_name_that_the_template_refuses_is_guarded_by_the_overflow_breaker() {
    let registry = Registry::new(template);
    assert_eq!(registry.breaker("").expect_err("no name").field(), "name");
    assert!(call(&registry, "", false).is_err());
    assert!(matches!(&names(&registry)[..], [name] if name.starts_with("(overflow ")));
    assert!(registry.is_empty());
    let overflow = registry.iter().next().expect("the overflow breaker");
    assert_eq!(failures(&overflow), 1);
}

#[test]
fn calls_go_unguarded_when_the_template_refuses_everything() {
    let registry = Registry::new(|name| Err(ConfigError::new("name", &name, "none")));
    for _ in 0..20 {
        assert!(call(&registry, "a", false).expect_err("down").is::<Down>());
    }
    assert!(call(&registry, "a", true).is_ok());
    assert!(registry.breaker("a").is_err());
    assert_eq!((registry.len(), registry.iter().count()), (0, 0));
}

#[test]
fn a_panicking_template_harms_no_later_call() {
    let registry = Registry::new(|name| if name == "bad" { panic!("template") } else { template(name) });
    for _ in 0..3 {
        assert!(catch_unwind(AssertUnwindSafe(|| call(&registry, "bad", true))).is_err());
        assert!(call(&registry, "good", true).is_ok());
    }
    assert_eq!(registry.len(), 1);
}

// The global registry

#[test]
fn registered_breakers_are_found_in_the_global_registry_and_names_are_taken_once() {
    let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("registry-test: payments"));
    breaker.register().expect("the name is free");
    let found = Registry::global().get("registry-test: payments").expect("it is registered");
    found.trip().expect("no override stands");
    assert!(breaker.is_open());
    assert!(Registry::global().iter().any(|b| &*b.name() == "registry-test: payments"));

    let other = CircuitBreaker::new(CircuitBreakerConfig::new("registry-test: payments"));
    let error = other.register().expect_err("the name is taken").to_string();
    assert!(error.contains("`registry-test: payments`"), "{error}");
    assert!(Registry::global().get("registry-test: payments").expect("the first one").is_open());

    assert!(Registry::global().remove("registry-test: payments").is_some());
    other.register().expect("the name is free again");
    assert!(!Registry::global().get("registry-test: payments").expect("the second one").is_open());
}

#[test]
fn the_global_registry_makes_breakers_with_the_defaults() {
    let breaker = Registry::global().breaker("registry-test: made").expect("the defaults work");
    fail(&breaker, 4);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open, "five failures within a minute");
    let taken = CircuitBreaker::new(CircuitBreakerConfig::new("registry-test: made")).register();
    assert!(taken.is_err());
}

// Listeners

/// A registry whose breakers call `f` with the registry and their own name at every change of state.
fn with_listener(f: impl Fn(&Registry, &str) + Send + Sync + Clone + 'static) -> (Registry, ManualClock) {
    let clock = ManualClock::new();
    let late = Arc::new(OnceLock::<Registry>::new());
    let (template_clock, template_late) = (clock.clone(), late.clone());
    let registry = Registry::new(move |name| {
        let (f, late) = (f.clone(), template_late.clone());
        CircuitBreakerConfig::builder(name)
            .detector(detect::consecutive_failures(1))
            .clock(template_clock.clone())
            .on_state_change(move |breaker, _, _| f(late.get().expect("set at once"), &breaker.name()))
            .build()
    });
    late.set(registry.clone()).expect("only here");
    (registry, clock)
}

/// Trips, tries and closes the breakers of many names by calls through a keyed layer.
fn flap(registry: &Registry, clock: &ManualClock) {
    for n in 0..64 {
        let name = format!("tenant-{n}");
        call(registry, &name, false).expect_err("down");
        clock.advance(secs(30));
        call(registry, &name, true).expect("the probe");
    }
}

#[test]
fn a_listener_may_look_into_the_registry() {
    no_deadlock(|| {
        let (registry, clock) = with_listener(|registry, name| {
            assert!(registry.get(name).is_some());
            assert!(registry.iter().count() >= 1 && !registry.is_empty());
        });
        flap(&registry, &clock);
    });
}

#[test]
fn a_listener_may_make_breakers_in_the_registry() {
    no_deadlock(|| {
        let (registry, clock) = with_listener(|registry, name| {
            let generation = registry.get(name).expect("it is there").snapshot().generation;
            drop(registry.breaker(&format!("{name}/{generation}")).expect("the template works"));
        });
        flap(&registry, &clock);
        assert_eq!(registry.len(), 64 * 4, "one more for each of three changes");
    });
}

#[test]
fn a_listener_may_remove_its_own_breaker_from_the_registry() {
    no_deadlock(|| {
        let (registry, clock) = with_listener(|registry, name| drop(registry.remove(name)));
        flap(&registry, &clock);
        let half_open = |name: &str| {
            let breaker = registry.breaker(name).expect("the template works");
            breaker.trip().expect("no override stands");
        };
        half_open("x");
        assert!(registry.get("x").is_none());
    });
}

#[test]
fn a_listener_may_make_and_remove_while_the_cooldown_ends_in_a_keyed_call() {
    no_deadlock(|| {
        let (registry, clock) = with_listener(|registry, name| {
            if registry.get(name).is_some_and(|breaker| breaker.state() == State::HalfOpen) {
                drop(registry.remove(name));
                drop(registry.breaker(name).expect("the template works"));
            }
        });
        flap(&registry, &clock);
        assert_eq!(registry.len(), 64);
    });
}
