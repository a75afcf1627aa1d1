//! 48: fleets as they are run, with everything as by default. Only the cooldown is shorter, for these tests to end.

use std::time::Duration;

use crate::dependency::{Answer, Dependency};
use crate::fleet::{GRACE, Instance, POLL, deciders, start, throughout, until, until_all};
use crate::store::on_both_servers;

/// Instead of 30 s.
const COOLDOWN: Duration = Duration::from_secs(1);
/// How long probes may take, by default.
const DEADLINE: Duration = Duration::from_secs(30);

fn all_closed(fleet: &[Instance]) -> bool {
    fleet.iter().all(|instance| instance.look().is("closed"))
}

#[test]
fn c48_the_honest_fleet_trips_when_its_dependency_dies_and_at_no_other_time_and_recovers() {
    on_both_servers(|store| {
        let dependency = Dependency::start();
        dependency.fails_one_of(100);
        let (proxy, settings) = store.proxied();
        let mut fleet = start(5, &settings.cooldown(COOLDOWN));
        let traffic = |period: u32| format!("traffic {} {period} 1", dependency.address());
        // By default five failures within a minute trip: with one in a hundred, that is not to be reached.
        fleet.iter().for_each(|instance| assert_eq!(instance.ask(&traffic(200)), ""));
        throughout("it stays closed", Duration::from_secs(2), || all_closed(&fleet));
        proxy.cut_push(true);
        throughout("it stays closed without push", Duration::from_secs(2), || all_closed(&fleet));
        store.kill();
        throughout("it stays closed without a store", Duration::from_secs(2), || all_closed(&fleet));
        store.start_again();
        until("all have the store back", DEADLINE, || {
            fleet.iter().all(|i| i.told("StoreRecovered") == i.told("StoreDegraded"))
        });
        throughout("it stays closed with an empty store", Duration::from_secs(1), || all_closed(&fleet));
        assert!(dependency.calls() < 500, "{} calls would be five failures", dependency.calls());
        for instance in &fleet {
            assert!(instance.changes().is_empty(), "{:?}", instance.changes());
            assert_eq!(instance.numbers("counts").number("rejected"), 0);
        }

        dependency.answers(Answer::Fail);
        until("it trips", POLL * 2 + GRACE, || fleet.iter().all(|instance| !instance.look().is("closed")));
        proxy.cut_push(false);
        dependency.answers(Answer::Hang);
        until("somebody probes", COOLDOWN * 3 + POLL + GRACE, || !dependency.probing().is_empty());
        assert_eq!(dependency.probing().len(), 1);
        let prober = dependency.probing()[0];
        fleet.remove(prober).kill();
        dependency.answers(Answer::Ok);
        until_all(&fleet, "closed", DEADLINE + POLL + COOLDOWN + GRACE);
        assert_eq!(dependency.most_probing(), 1, "one at a time");
        throughout("it stays closed", Duration::from_secs(1), || all_closed(&fleet));
        deciders(&fleet);
    });
}

#[test]
fn c48_the_honest_fleet_of_voters_bears_a_bad_node_and_trips_when_its_dependency_dies() {
    on_both_servers(|store| {
        let dependency = Dependency::start();
        dependency.fails_one_of(100);
        dependency.is_bad_for(0);
        let (proxy, settings) = store.proxied();
        let fleet = start(5, &settings.votes(3).cooldown(COOLDOWN));
        let traffic = format!("traffic {} 50 1", dependency.address());
        fleet.iter().for_each(|instance| assert_eq!(instance.ask(&traffic), ""));
        until("the bad node protects itself", GRACE, || !fleet[0].look().is("closed"));
        proxy.cut_push(true);
        store.kill();
        throughout("the others go on", Duration::from_secs(2), || all_closed(&fleet[1..]));
        store.start_again();
        until("all have the store back", DEADLINE, || {
            fleet.iter().all(|i| i.told("StoreRecovered") == i.told("StoreDegraded"))
        });
        throughout("the others go on", POLL * 2, || all_closed(&fleet[1..]));
        assert!(fleet[1..].iter().all(|instance| instance.numbers("counts").number("rejected") == 0));

        dependency.answers(Answer::Fail);
        until("all are open", POLL * 2 + GRACE, || fleet.iter().all(|instance| !instance.look().is("closed")));
        until("it is the fleet's", POLL * 2 + GRACE, || {
            fleet.iter().all(|i| i.changes().iter().any(|change| change.is_fleets && change.to == "open"))
        });
        proxy.cut_push(false);
        dependency.answers(Answer::Ok);
        until_all_good(&fleet[1..]);
        throughout("the others go on", POLL * 2, || all_closed(&fleet[1..]));
        deciders(&fleet);
    });
}

#[track_caller]
fn until_all_good(fleet: &[Instance]) {
    until("all but the bad node are closed", COOLDOWN * 6 + POLL * 2 + GRACE * 2, || all_closed(fleet));
}
