//! 51 to 54: the laws of a fleet, on real servers and in real time. `src/fleet/simulation/laws` has them at every
//! distance of calls, and thousands of schedules.

use std::thread::sleep;
use std::time::Duration;

use fusebox::{
    CircuitBreaker, CircuitBreakerConfig, Permit,
    detect::{self, Detector},
};

use crate::dependency::{Answer, Dependency};
use crate::fleet::{GRACE, Instance, POLL, Settings, deciders, start, throughout, until, until_all};
use crate::store::{Store, on_both_stores};

/// The same calls, `F` and `S`, with time to speak with the store after each.
fn same_as_alone(settings: &Settings, detector: impl Detector, calls: &str) {
    let config = CircuitBreakerConfig::builder("alone").detector(detector).build().expect("a configuration");
    let alone = CircuitBreaker::new(config);
    let one = Instance::start(0, settings);
    one.flush();
    for (nth, call) in calls.chars().enumerate() {
        let (order, end): (_, fn(Permit)) =
            if call == 'F' { ("fail 1", Permit::failure) } else { ("ok 1", Permit::success) };
        let admitted = u32::from(alone.acquire().map(end).is_ok());
        assert_eq!(one.ask(order), admitted.to_string(), "call {nth} of {calls}");
        one.flush();
        assert_eq!(one.look().get("state"), alone.state().to_string(), "after call {nth} of {calls}");
    }
}

#[test]
fn c51_an_instance_alone_decides_as_a_breaker_without_a_store() {
    let calls = ["FFSFFSSFSFFFS", "SSFFSFSSFFSFFF", "FSFSFSFSSSFFFF"];
    on_both_stores(|store| {
        for calls in calls {
            same_as_alone(&fresh(store).failures_in_a_row(3), detect::consecutive_failures(3), calls);
            store.wipe();
            same_as_alone(&fresh(store).failures_of_last(3, 5), detect::failures(3).of_last(5), calls);
            store.wipe();
        }
    });
}

fn fresh(store: &Store) -> Settings {
    store.settings().cooldown(Duration::from_secs(60))
}

#[test]
fn c52_failures_between_the_calls_of_others_are_in_no_row() {
    on_both_stores(|store| {
        let fleet = start(3, &fresh(store).failures_of_last(5, 20));
        // Of the calls of all in any order, a tenth fail, and never two of one instance in ten.
        for _ in 0..20 {
            fleet.iter().for_each(|instance| instance.say("ok 9"));
            fleet.iter().for_each(|instance| drop(instance.answer("ok 9")));
            fleet[0].fail(1);
            sleep(Duration::from_millis(40));
        }
        throughout("it stays closed", POLL * 2, || fleet.iter().all(|instance| instance.look().is_fleets("closed")));
        assert!(fleet.iter().all(|instance| instance.changes().is_empty()));
        fleet.iter().for_each(|instance| instance.say("fail 20"));
        fleet.iter().for_each(|instance| drop(instance.answer("fail 20")));
        until_all(&fleet, "open", POLL * 2 + GRACE);
        deciders(&fleet);
    });
}

#[test]
fn c53_one_bad_instance_of_ten_opens_no_fleet_and_a_dead_dependency_does() {
    on_both_stores(|store| {
        let dependency = Dependency::start();
        dependency.is_bad_for(0);
        let fleet = start(10, &fresh(store).failure_rate(50, 10));
        let traffic = format!("traffic {} 40 1", dependency.address());
        fleet.iter().for_each(|instance| assert_eq!(instance.ask(&traffic), ""));
        throughout("no circuit opens", Duration::from_secs(8), || {
            fleet.iter().all(|instance| instance.look().is_fleets("closed"))
        });
        assert!(fleet.iter().all(|instance| instance.changes().is_empty()));
        let rejected = |instance: &Instance| instance.numbers("counts").number("rejected");
        assert_eq!(fleet[1..].iter().map(rejected).sum::<u64>(), 0, "the good ones go on");
        dependency.answers(Answer::Fail);
        until_all(&fleet, "open", Duration::from_secs(10) + POLL * 2 + GRACE);
        deciders(&fleet);
    });
}

#[test]
fn c54_a_fleet_recovers_though_its_calls_are_seconds_apart() {
    on_both_stores(|store| {
        for gap in [1_100, 5_000].map(Duration::from_millis) {
            let fleet = start(2, &store.settings().cooldown(Duration::from_secs(1)));
            fleet.iter().for_each(|instance| assert_eq!(instance.ask("ok 1"), "1"));
            assert_eq!(fleet[0].ask("trip"), "Ok(())");
            until_all(&fleet, "open", POLL + GRACE);
            sleep(Duration::from_secs(1));
            let mut calls = 0;
            for instance in fleet.iter().cycle() {
                sleep(gap);
                if instance.look().is_fleets("closed") {
                    break;
                }
                calls += 1;
                assert!(calls <= 6, "{calls} calls, {gap:?} apart: {}", instance.ask("hold"));
                instance.ask("ok 1");
            }
            until("both are closed", POLL + GRACE, || fleet.iter().all(|instance| instance.look().is_fleets("closed")));
            drop(fleet);
            store.wipe();
        }
    });
}
