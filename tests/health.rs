//! What is said of this instance's health.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use fusebox::health::{Health, Report, Status};
use fusebox::{CircuitBreaker, CircuitBreakerConfig, Cooldown, ManualClock, Override, Registry, State, detect};
use support::{Record, fail, secs};

#[path = "support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

/// Health is that of the process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn breaker(name: &str, clock: &ManualClock) -> CircuitBreaker {
    let config = CircuitBreakerConfig::builder(name)
        .detector(detect::failures(3).of_last(10))
        .cooldown(Cooldown::fixed(secs(30)))
        .clock(clock.clone());
    CircuitBreaker::new(config.build().expect("a configuration"))
}

fn names(report: &Report) -> Vec<&str> {
    report.breakers.iter().map(|breaker| &*breaker.name).collect()
}

#[test]
fn an_open_circuit_is_degraded_and_a_critical_one_is_down_until_a_call_may_show_that_it_is_well() {
    let _alone = alone();
    let clock = ManualClock::new();
    let (search, database) = (breaker("search", &clock), breaker("database", &clock));
    let health = Health::process().critical(["database", "no such breaker"]);
    assert_eq!((health.check().status, health.check().breakers.len()), (Status::Up, 0));

    fail(&search, 3);
    let report = health.check();
    assert_eq!((report.status, names(&report), report.breakers[0].critical), (Status::Degraded, vec!["search"], false));
    assert_eq!((report.breakers[0].state, report.breakers[0].retry_after), (State::Open, Some(secs(30))));
    assert_eq!(report.breakers[0].reason.map(|reason| reason.to_string()), Some("3 failures in 3 calls".to_owned()));

    clock.advance(secs(10));
    fail(&database, 3);
    let report = health.check();
    assert_eq!((report.status, names(&report)), (Status::Down, vec!["database", "search"]));
    assert_eq!(report.breakers[1].in_state_for, secs(10));
    assert_eq!(Health::process().check().status, Status::Degraded, "where none is critical");

    clock.advance(secs(30));
    let report = health.check();
    assert_eq!((report.status, report.breakers[0].retry_after), (Status::Degraded, None), "the next call is a probe");
    assert_eq!(database.state(), State::Open);
    let probe = database.acquire().expect("a probe");
    assert_eq!((health.check().status, health.check().breakers[0].state), (Status::Degraded, State::HalfOpen));
    probe.failure();
    assert_eq!(health.check().status, Status::Down);
    clock.advance(secs(30));
    database.acquire().expect("a probe").success();
    search.reset().expect("no override");
    assert_eq!(health.check().status, Status::Up);
    drop(database);
}

#[test]
fn a_look_changes_nothing() {
    let _alone = alone();
    let (clock, heard) = (ManualClock::new(), Record::default());
    let list = heard.clone();
    let config =
        CircuitBreakerConfig::builder("held").clock(clock.clone()).on_event(move |event| list.add(event.to_string()));
    let breaker = CircuitBreaker::new(config.build().expect("a configuration"));
    breaker.set_override(Override::force_open("incident 7").by("ana").expires_after(secs(60)));
    let health = Health::process().critical(["held"]);
    let report = health.check();
    assert_eq!(report.status, Status::Degraded, "an operator's hold says nothing of this instance");
    assert_eq!(report.to_string(), "degraded: held is open (forced open: incident 7 (by ana))");
    heard.take();
    clock.advance(secs(60));
    assert_eq!(health.check().status, Status::Up, "it is over, though none has noticed");
    assert!(heard.take().is_empty());
    breaker.acquire().expect("closed").success();
    assert_eq!(heard.take(), ["held: open -> closed (override expired)"], "the call has noticed");
    breaker.set_override(Override::disable("load test"));
    assert_eq!(health.check().status, Status::Up);
}

/// A check that came to a lock which is held would wait for ever.
#[test]
fn a_closed_breaker_is_not_locked() {
    #[derive(Debug)]
    struct Asks(Health, Mutex<Option<Status>>);

    impl fusebox::Clock for Asks {
        fn now(&self) -> fusebox::clock::Timestamp {
            // Breakers ask their clock with their lock held.
            let status = self.0.check().status;
            *self.1.lock().expect("no panic") = Some(status);
            fusebox::clock::Timestamp::ZERO
        }
    }

    let _alone = alone();
    let clock = std::sync::Arc::new(Asks(Health::process(), Mutex::default()));
    #[derive(Debug)]
    struct Shared(std::sync::Arc<Asks>);
    impl fusebox::Clock for Shared {
        fn now(&self) -> fusebox::clock::Timestamp {
            self.0.now()
        }
    }
    let config = CircuitBreakerConfig::builder("asks").clock(Shared(clock.clone())).build().expect("a configuration");
    let breaker = CircuitBreaker::new(config);
    fail(&breaker, 1);
    assert_eq!(*clock.1.lock().expect("no panic"), Some(Status::Up));
}

#[test]
fn keys_of_a_registry_do_not_drown_what_matters() {
    let _alone = alone();
    let clock = ManualClock::new();
    let times = clock.clone();
    let hosts = Registry::new(move |name| {
        let builder = CircuitBreakerConfig::builder(name).detector(detect::consecutive_failures(1));
        builder.clock(times.clone()).build()
    });
    let hosts = hosts.named("hosts");
    for n in 0..300 {
        fail(&hosts.breaker(&format!("host-{n}")).expect("a breaker"), 1);
        clock.advance(secs(1) / 100);
    }
    let (by_hand, critical) = (breaker("by hand", &clock), breaker("critical", &clock));
    by_hand.trip().expect("no override");
    critical.trip().expect("no override");
    let report = Health::process().critical(["critical"]).check();
    assert_eq!((report.breakers.len(), report.left_out, report.status), (100, 202, Status::Down));
    assert_eq!(names(&report)[..4], ["critical", "by hand", "host-0", "host-1"], "the oldest trouble first");
    assert_eq!((&*report.breakers[1].registry, &*report.breakers[2].registry), ("", "hosts"));
    let short = Health::process().critical(["critical"]).max_breakers(0).check();
    assert_eq!((short.breakers.len(), short.left_out, short.status), (0, 302, Status::Down));
    drop((by_hand, critical, hosts));
    assert_eq!(Health::process().check().status, Status::Up, "what is dropped is no trouble");
}

#[test]
fn it_is_written_the_same_by_hand_and_by_serde() {
    let _alone = alone();
    let clock = ManualClock::new();
    let (odd, held) = (breaker("odd \"name\"\n\u{1b}[31m é 💶", &clock), breaker("held", &clock));
    fail(&odd, 3);
    clock.advance(secs(3) / 2);
    held.set_override(Override::force_open("incident 7"));
    let report = Health::process().critical(["held"]).check();
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("JSON");
    assert_eq!(json["breakers"][1]["name"], "odd \"name\"\n\u{1b}[31m é 💶");
    let odd = &json["breakers"][1];
    assert_eq!((odd["in_state_for"].as_f64(), odd["retry_after"].as_f64()), (Some(1.5), Some(28.5)));
    assert_eq!((&odd["reason"], &odd["overridden"]), (&"3 failures in 3 calls".into(), &serde_json::Value::Null));
    assert_eq!(json["breakers"][0]["overridden"], "forced open: incident 7");
    #[cfg(feature = "serde")]
    assert_eq!(numbers_as_floats(json), numbers_as_floats(serde_json::to_value(&report).expect("JSON")));
}

#[cfg(feature = "serde")]
fn numbers_as_floats(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) => Value::from(number.as_f64()),
        Value::Array(items) => items.into_iter().map(numbers_as_floats).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, numbers_as_floats(value))).collect(),
        other => other,
    }
}

#[cfg(feature = "axum")]
#[test]
fn an_axum_handler_answers_with_a_report() {
    use axum::{Router, body::Body, routing::get};
    use futures::executor::block_on;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    let _alone = alone();
    let clock = ManualClock::new();
    let database = breaker("database", &clock);
    let health = Health::process().critical(["database"]);
    let app = Router::new().route("/ready", get(move || std::future::ready(health.check())));
    for (trips, code, status) in [(false, 200, "up"), (true, 503, "down")] {
        if trips {
            database.trip().expect("no override");
        }
        let request = http::Request::get("/ready").body(Body::empty()).expect("a request");
        let response = block_on(app.clone().oneshot(request)).expect("an answer");
        assert_eq!(response.status(), code);
        assert_eq!(
            (&response.headers()["content-type"], &response.headers()["cache-control"]),
            (&"application/json".parse().expect("one"), &"no-store".parse().expect("one"))
        );
        let body = block_on(response.into_body().collect()).expect("a body").to_bytes();
        let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(json["status"], status);
    }
}
