//! 34, 37, 40, 41, 43: who trips, when, and how often.

use std::time::{Duration, Instant};

use crate::dependency::Dependency;
use crate::fleet::{GRACE, Instance, POLL, deciders, start, throughout, until, until_all};
use crate::store::{on_both_servers, on_both_stores};

#[test]
fn c34_forty_failures_over_four_processes_trip_a_window_of_twenty_exactly_once() {
    on_both_stores(|store| {
        let fleet = start(4, &store.settings().failures_of_last(20, 20));
        fleet.iter().for_each(|instance| instance.say("fail 10"));
        for instance in &fleet {
            assert!(instance.answer("fail 10").parse::<u32>().expect("a number") <= 10);
        }
        until_all(&fleet, "open", POLL + GRACE);
        fleet.iter().for_each(Instance::flush);
        let deciders = deciders(&fleet);
        assert_eq!(deciders.keys().copied().collect::<Vec<_>>(), [2], "one trip: {deciders:?}");
        assert!(deciders[&2].1.reason.contains("20 failures in 20 calls"), "{deciders:?}");
        for instance in &fleet {
            let changes = instance.changes();
            assert_eq!(changes.len(), 1, "each is told once: {changes:?}");
            assert_eq!((changes[0].to.as_str(), changes[0].generation), ("open", 2));
            assert_eq!(instance.look().number("fleet"), 2);
        }
    });
}

#[test]
fn c34_nineteen_failures_over_four_processes_trip_nothing() {
    on_both_stores(|store| {
        let fleet = start(4, &store.settings().failures_of_last(20, 20));
        for (instance, failures) in fleet.iter().zip([5, 5, 5, 4]) {
            instance.fail(failures);
        }
        // What had to wait in the queue is taken in by whoever combines.
        until("all is counted", POLL + GRACE, || fleet.iter().all(|instance| instance.look().number("failures") == 19));
        throughout("it stays closed", POLL, || fleet.iter().all(|instance| instance.look().is_fleets("closed")));
        assert!(fleet.iter().all(|instance| instance.changes().is_empty()));
    });
}

#[test]
fn c37_a_hung_store_delays_no_call_and_detection_stays_alive() {
    on_both_servers(|store| {
        let (proxy, through) = store.proxied();
        let direct = Instance::start(0, &store.settings());
        let behind = Instance::start(1, &through);
        let fleet = [direct, behind];
        until("both know the store", GRACE, || fleet.iter().all(crate::fleet::knows_the_store));
        let time = |instance: &Instance| instance.numbers("time 20000");
        let before: Vec<_> = fleet.iter().map(time).collect();
        store.freeze();
        proxy.set(|rules| (rules.holds_requests, rules.holds_answers) = (true, true));
        let closed: Vec<_> = fleet.iter().map(time).collect();
        until("both are on their own", GRACE * 2, || fleet.iter().all(|instance| instance.told("StoreDegraded") == 1));
        let degraded: Vec<_> = fleet.iter().map(time).collect();
        let used: Vec<_> = fleet.iter().map(Instance::cpu).collect();
        throughout("it is told once, and not taken back", Duration::from_secs(3), || {
            fleet.iter().all(|i| i.told("StoreDegraded") == 1 && i.told("StoreRecovered") == 0)
        });
        for (instance, used) in fleet.iter().zip(used) {
            let used = instance.cpu().saturating_sub(used);
            assert!(used < Duration::from_millis(500), "it waits, and does nothing else: {used:?}");
        }
        for instance in &fleet {
            instance.fail(5);
            until("it protects itself", GRACE, || instance.look().is("open"));
            assert_eq!(instance.look().get("scope"), "Instance");
        }
        let open: Vec<_> = fleet.iter().map(time).collect();
        // A call that waited for the store but once would be a thousand times as long.
        for frozen in [closed, degraded, open] {
            for (before, frozen) in before.iter().zip(&frozen) {
                let limit = before.number("p99") * 4 + 20_000;
                assert!(frozen.number("p99") <= limit, "{frozen:?}, before {before:?}");
                let limit = before.number("total") * 4 + 100_000_000;
                assert!(frozen.number("total") <= limit, "{frozen:?}, before {before:?}");
            }
        }
        proxy.set(|rules| (rules.holds_requests, rules.holds_answers) = (false, false));
        store.thaw();
        until("both are back", Duration::from_secs(20), || {
            fleet.iter().all(|instance| instance.told("StoreRecovered") == 1)
        });
        until_all(&fleet, "open", POLL + GRACE);
        assert_eq!(fleet[0].look().get("fleet"), fleet[1].look().get("fleet"));
        assert!(fleet.iter().all(|instance| instance.told("StoreDegraded") == 1), "once each");
    });
}

#[test]
fn c37_a_slow_store_delays_no_call_and_the_fleet_is_one_all_the_same() {
    on_both_stores(|store| {
        let (proxy, settings) = store.proxied();
        let fleet = start(3, &settings.cooldown(Duration::from_secs(60)));
        let before = fleet[0].numbers("time 20000");
        proxy.set(|rules| rules.delay = Duration::from_millis(40));
        for (instance, failures) in fleet.iter().zip([2, 2, 1]) {
            instance.fail(failures);
        }
        let slow = fleet[0].numbers("time 20000");
        assert!(slow.number("p99") <= before.number("p99") * 4 + 20_000, "{slow:?}, before {before:?}");
        until_all(&fleet, "open", POLL + GRACE);
        assert_eq!(deciders(&fleet).len(), 1);
        assert!(fleet.iter().all(|instance| instance.told("StoreDegraded") == 0), "slow is not away");
    });
}

#[test]
fn c40_clocks_that_are_hours_apart_change_nothing() {
    on_both_stores(|store| {
        let settings = store.settings().cooldown(Duration::from_secs(1));
        let fleet: Vec<_> = [0, 1, 2].map(|hours| Instance::start(hours, &settings.clone().hours(hours as u64))).into();
        until("all know the store", GRACE, || fleet.iter().all(crate::fleet::knows_the_store));
        let dependency = Dependency::start();
        fleet[0].fail(2);
        fleet[1].fail(2);
        until("as many as there were, each in its place in the window", POLL + GRACE, || {
            fleet.iter().all(|instance| instance.look().number("failures") == 4)
        });
        let start = Instant::now();
        fleet[2].fail(1);
        until_all(&fleet, "open", POLL + GRACE);
        for instance in &fleet {
            let wait = instance.look().number("retry_after");
            assert!(wait <= 1_000, "{wait} ms");
        }
        let traffic = format!("traffic {} 10 1", dependency.address());
        fleet.iter().for_each(|instance| assert_eq!(instance.ask(&traffic), ""));
        until_all(&fleet, "closed", Duration::from_secs(1) + POLL + GRACE);
        assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
        assert_eq!(deciders(&fleet).keys().copied().collect::<Vec<_>>(), [2, 3, 4], "open, half-open, closed");
    });
}

#[test]
fn c41_one_bad_instance_of_ten_protects_itself_and_the_others_go_on() {
    on_both_stores(|store| {
        let dependency = Dependency::start();
        let fleet = start(10, &store.settings().votes(3).cooldown(Duration::from_secs(30)));
        dependency.is_bad_for(0);
        let traffic = format!("traffic {} 20 1", dependency.address());
        fleet.iter().for_each(|instance| assert_eq!(instance.ask(&traffic), ""));
        until("the bad one protects itself", GRACE, || fleet[0].look().is("open"));
        assert_eq!(fleet[0].look().get("scope"), "Instance");
        until("its vote is known", POLL + GRACE, || fleet.iter().all(|instance| instance.look().get("votes") == "1"));
        throughout("the others go on", POLL, || fleet[1..].iter().all(|instance| instance.look().is("closed")));
        for instance in &fleet[1..] {
            let counts = instance.numbers("counts");
            assert_eq!((counts.number("rejected"), counts.number("failed")), (0, 0), "{counts:?}");
            assert!(instance.changes().is_empty());
        }
        dependency.is_bad_for(1);
        dependency.is_bad_for(2);
        until_all(&fleet, "open", POLL + GRACE);
        let deciders = deciders(&fleet);
        assert_eq!(deciders.len(), 1, "{deciders:?}");
        assert!(deciders[&2].1.reason.contains("3 instances"), "{deciders:?}");
    });
}

#[test]
fn c41_a_recovery_of_the_fleet_is_a_new_beginning_for_every_voter() {
    on_both_stores(|store| {
        let dependency = Dependency::start();
        let fleet = start(3, &store.settings().votes(2).cooldown(Duration::from_millis(300)));
        fleet[0].fail(5);
        fleet[1].fail(5);
        until("the fleet opens", POLL + GRACE, || {
            fleet.iter().all(|i| i.changes().iter().any(|change| change.is_fleets && change.to == "open"))
        });
        assert_eq!(fleet[2].ask(&format!("traffic {} 10 1", dependency.address())), "");
        until_all_closed(&fleet);
        for instance in &fleet {
            instance.fail(4);
            assert!(instance.look().is("closed"), "four failures since, and five before: {:?}", instance.look());
        }
    });
}

#[track_caller]
fn until_all_closed(fleet: &[Instance]) {
    until("all are closed", POLL + GRACE, || fleet.iter().all(|instance| instance.look().is("closed")));
}

#[test]
fn c43_a_trip_that_was_made_apart_does_not_outrank_what_the_fleet_decided_meanwhile() {
    on_both_stores(|store| {
        let cooldown = Duration::from_secs(60);
        let (proxy, through) = store.proxied();
        let mut fleet = start(2, &store.settings().cooldown(cooldown));
        let apart = Instance::start(2, &through.cooldown(cooldown));
        until("it knows the store", GRACE, || crate::fleet::knows_the_store(&apart));
        proxy.set(|rules| rules.refuses = true);
        proxy.cut();
        until("it is on its own", GRACE * 2, || apart.told("StoreDegraded") == 1);
        apart.fail(5);
        until("it protects itself", GRACE, || apart.look().is("open"));
        assert_eq!(fleet[0].ask("trip"), "Ok(())");
        until_all(&fleet, "open", POLL + GRACE);
        assert_eq!(fleet[1].ask("reset"), "Ok(())");
        until_all(&fleet, "closed", POLL + GRACE);
        proxy.set(|rules| rules.refuses = false);
        fleet.push(apart);
        until_all(&fleet, "closed", Duration::from_secs(10) + POLL + GRACE);
        throughout("it stays closed", POLL, || fleet.iter().all(|instance| instance.look().number("fleet") == 3));
        deciders(&fleet);
    });
}

#[test]
fn c43_an_instance_that_was_stopped_in_closed_does_not_close_what_others_opened() {
    on_both_stores(|store| {
        let (proxy, through) = store.proxied();
        let mut fleet = start(3, &store.settings().cooldown(Duration::from_secs(60)));
        // One is stopped with evidence in its hands, one with a commit on its way.
        let stale = Instance::start(3, &through.cooldown(Duration::from_secs(60)));
        until("it knows the store", GRACE, || crate::fleet::knows_the_store(&stale));
        proxy.set(|rules| rules.holds_commits = true);
        let before = proxy.commits();
        stale.fail(2);
        fleet[2].fail(2);
        fleet[2].stop();
        until("its commit is on its way", GRACE, || proxy.commits() > before);
        stale.stop();
        fleet[0].fail(5);
        until_all(&fleet[..2], "open", POLL + GRACE);
        let generation = fleet[0].look().number("fleet");
        fleet[2].go_on();
        proxy.set(|rules| rules.holds_commits = false);
        stale.go_on();
        fleet.push(stale);
        until_all(&fleet, "open", POLL * 2 + GRACE);
        throughout("it stays open", POLL, || {
            fleet.iter().all(|instance| {
                let view = instance.look();
                view.is_fleets("open") && view.number("fleet") == generation
            })
        });
        let deciders = deciders(&fleet);
        assert_eq!(deciders.len(), 1, "{deciders:?}");
        assert!(fleet.iter().all(|instance| instance.changes().len() == 1));
    });
}
