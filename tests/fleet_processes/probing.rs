//! 35, 36, 44: probes of a fleet.

use std::time::Duration;

use crate::dependency::{Answer, Dependency};
use crate::fleet::{GRACE, Instance, POLL, Settings, deciders, start, throughout, until, until_all};
use crate::outages::LOOKS;
use crate::store::{on_both_servers, on_both_stores};

const COOLDOWN: Duration = Duration::from_millis(500);
/// How long the fleet waits for a prober that says nothing.
const LEASE: Duration = Duration::from_secs(2);

/// An open fleet under traffic, whose dependency does not answer.
fn probing(count: usize, settings: &Settings) -> (Vec<Instance>, Dependency) {
    let dependency = Dependency::start();
    dependency.answers(Answer::Hang);
    let fleet = start(count, settings);
    assert_eq!(fleet[0].ask("trip"), "Ok(())");
    until_all(&fleet, "open", POLL + GRACE);
    let traffic = format!("traffic {} 5 4", dependency.address());
    fleet.iter().for_each(|instance| assert_eq!(instance.ask(&traffic), ""));
    (fleet, dependency)
}

#[test]
fn c35_one_probe_reaches_the_dependency_from_ten_processes() {
    on_both_stores(|store| {
        let (fleet, dependency) = probing(10, &store.settings().cooldown(COOLDOWN));
        until("a probe", COOLDOWN + POLL + GRACE, || dependency.probes() > 0);
        throughout("one is enough", POLL * 2, || (dependency.calls(), dependency.probes()) == (1, 1));
        dependency.answers(Answer::Ok);
        until_all(&fleet, "closed", POLL + GRACE);
        assert_eq!((dependency.probes(), dependency.most_probing()), (1, 1));
        assert_eq!(deciders(&fleet).keys().copied().collect::<Vec<_>>(), [2, 3, 4], "open, half-open, closed");
    });
}

#[test]
fn c35_two_at_a_time_and_three_in_a_row_from_ten_processes() {
    on_both_stores(|store| {
        let settings = store.settings().cooldown(COOLDOWN).probes(3, 2, Duration::from_secs(30));
        let (fleet, dependency) = probing(10, &settings);
        until("two probes", COOLDOWN + POLL + GRACE, || dependency.probes() == 2);
        throughout("no third", POLL * 2, || (dependency.calls(), dependency.probes()) == (2, 2));
        dependency.answers(Answer::Ok);
        until_all(&fleet, "closed", POLL + GRACE);
        assert_eq!(dependency.most_probing(), 2);
        // When the third success comes, a fourth probe may be on its way.
        assert!((3..=4).contains(&dependency.probes()), "{} probes", dependency.probes());
    });
}

#[test]
fn c36_a_fleet_recovers_when_its_prober_was_killed() {
    on_both_stores(|store| {
        let (mut fleet, dependency) = probing(4, &store.settings().cooldown(COOLDOWN).probes(1, 1, LEASE));
        until("a probe", COOLDOWN + POLL + GRACE, || !dependency.probing().is_empty());
        fleet.remove(dependency.probing()[0]).kill();
        dependency.answers(Answer::Ok);
        // A probe that nobody has heard of again has failed, so there is one more cooldown.
        let took = until_all(&fleet, "closed", LEASE + POLL + COOLDOWN + GRACE);
        assert!(took >= LEASE / 2, "another probed after {took:?}, when the lease was not over");
        assert_eq!(dependency.most_probing(), 1);
    });
}

#[test]
fn c36_a_fleet_recovers_when_its_prober_stands_still_and_what_that_says_later_is_void() {
    on_both_stores(|store| {
        let (mut fleet, dependency) = probing(4, &store.settings().cooldown(COOLDOWN).probes(1, 1, LEASE));
        until("a probe", COOLDOWN + POLL + GRACE, || !dependency.probing().is_empty());
        let prober = fleet.remove(dependency.probing()[0]);
        prober.stop();
        dependency.answers(Answer::Ok);
        until_all(&fleet, "closed", LEASE + POLL + COOLDOWN + GRACE);
        let generation = fleet[0].look().number("fleet");
        prober.go_on();
        fleet.push(prober);
        until_all(&fleet, "closed", POLL + GRACE);
        throughout("it stays closed", POLL, || {
            fleet.iter().all(|instance| instance.look().number("fleet") == generation)
        });
        deciders(&fleet);
    });
}

#[test]
fn c36_a_fleet_recovers_though_its_store_stands_still_while_it_probes() {
    on_both_servers(|store| {
        let (fleet, dependency) = probing(4, &store.settings().cooldown(COOLDOWN).probes(1, 1, LEASE));
        until("a probe", COOLDOWN + POLL + GRACE, || dependency.probes() == 1);
        store.freeze();
        // Now each probes for itself, one at a time.
        dependency.answers(Answer::Fail);
        until("all are on their own", GRACE * 2, || fleet.iter().all(|instance| instance.told("StoreDegraded") == 1));
        throughout("each probes for itself", POLL, || dependency.most_probing() <= fleet.len());
        store.thaw();
        until("all have the store", LOOKS + GRACE, || {
            fleet.iter().all(|instance| instance.told("StoreRecovered") == 1)
        });
        dependency.answers(Answer::Ok);
        until_all(&fleet, "closed", LEASE + COOLDOWN * 2 + POLL + GRACE);
        deciders(&fleet);
    });
}

#[test]
fn c44_rejected_calls_in_half_open_send_nothing_to_the_store() {
    on_both_stores(|store| {
        let (proxy, settings) = store.proxied();
        let (fleet, dependency) = probing(4, &settings.cooldown(COOLDOWN));
        until("a probe", COOLDOWN + POLL + GRACE, || dependency.probes() == 1);
        until("all know of it", POLL + GRACE, || fleet.iter().all(|instance| instance.look().is_fleets("half-open")));
        fleet.iter().for_each(Instance::flush);
        let rejected = |instance: &Instance| instance.numbers("counts").number("rejected");
        let before: u64 = fleet.iter().map(rejected).sum();
        let commits = proxy.commits();
        until("a thousand rejections", GRACE * 2, || fleet.iter().map(rejected).sum::<u64>() >= before + 1_000);
        assert_eq!(proxy.commits() - commits, 0, "writes for rejections");
        dependency.answers(Answer::Ok);
        until_all(&fleet, "closed", POLL + GRACE);
    });
}
