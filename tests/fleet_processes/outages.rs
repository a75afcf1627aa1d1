//! 38, 39: stores that are away, empty, or refuse.

use std::time::Duration;

use crate::fleet::{GRACE, Instance, POLL, deciders, knows_the_store, start, throughout, until, until_all};
use crate::store::{Store, on_both_servers, on_both_stores};

/// An instance looks for a store that is away at least this often; one that refuses, half as often.
pub(crate) const LOOKS: Duration = Duration::from_secs(10);

#[test]
fn c38_a_store_that_is_down_at_first_and_later_is_told_of_once_each_way_and_calls_go_on() {
    on_both_servers(|store| {
        let (proxy, settings) = store.proxied();
        proxy.set(|rules| rules.refuses = true);
        let settings = settings.cooldown(Duration::from_secs(60));
        let fleet: Vec<_> = (0..3).map(|number| Instance::start(number, &settings)).collect();
        for instance in &fleet {
            assert_eq!(instance.ask("ok 100"), "100");
        }
        until("all are on their own", GRACE * 2, || fleet.iter().all(|i| i.told("StoreDegraded") == 1));
        fleet[0].fail(5);
        until("one trips by itself", GRACE, || fleet[0].look().is("open"));
        assert_eq!(fleet[0].look().get("scope"), "Instance");
        assert!(fleet[1..].iter().all(|instance| instance.look().is("closed")), "the others cannot know");

        proxy.set(|rules| rules.refuses = false);
        until("all have the store", LOOKS + GRACE, || fleet.iter().all(|i| i.told("StoreRecovered") == 1));
        // Five failures within a minute: the store hears of them now.
        until_agreed(&fleet);
        assert!(fleet.iter().all(|instance| instance.look().is("open")));
        assert!(
            fleet.iter().all(|instance| instance.changes().iter().all(|change| change.to == "open")),
            "not for a moment"
        );
        assert!(fleet.iter().all(|i| i.told("StoreDegraded") == 1 && i.told("StoreRecovered") == 1));
        assert_eq!(fleet[0].ask("reset"), "Ok(())");
        until_all(&fleet, "closed", POLL + GRACE);

        store.kill();
        until("all have lost it", GRACE * 2, || fleet.iter().all(|i| i.told("StoreDegraded") == 2));
        for instance in &fleet {
            assert_eq!(instance.ask("ok 100"), "100");
        }
        fleet[1].fail(5);
        until("one trips by itself", GRACE, || fleet[1].look().is("open"));
        store.start_again();
        until("all have it back", LOOKS + GRACE, || fleet.iter().all(|i| i.told("StoreRecovered") == 2));
        until_agreed(&fleet);
        assert_eq!(fleet[2].ask("trip"), "Ok(())");
        until_all(&fleet, "open", POLL + GRACE);
        assert!(fleet.iter().all(|i| i.told("StoreDegraded") == 2 && i.told("StoreRecovered") == 2), "once each");
        deciders(&fleet);
    });
}

/// Awaits that all are in one state of one generation, which is the fleet's.
#[track_caller]
fn until_agreed(fleet: &[Instance]) {
    until("they agree", POLL * 2 + GRACE, || {
        let views: Vec<_> = fleet.iter().map(Instance::look).collect();
        let said = |at: usize| ["state", "scope", "fleet"].map(|field| views[at].get(field).to_owned());
        views[0].get("scope") == "Fleet" && (1..views.len()).all(|at| said(at) == said(0))
    });
}

/// Whatever becomes of the store's data, an open fleet stays open, and a newcomer hears of it.
fn stays_open(store: &Store, lose: impl Fn()) {
    let settings = store.settings().cooldown(Duration::from_secs(120));
    let fleet = start(3, &settings);
    fleet[0].fail(5);
    until_all(&fleet, "open", POLL + GRACE);
    fleet.iter().for_each(Instance::flush);
    for _ in 0..2 {
        lose();
        let newcomer = Instance::start(9, &settings);
        until("the newcomer hears of it", LOOKS + POLL + GRACE, || newcomer.look().is_fleets("open"));
        assert_eq!(newcomer.look().number("fleet"), 2);
        throughout("it is open everywhere", POLL, || fleet.iter().all(|instance| instance.look().is("open")));
        for instance in &fleet {
            assert_eq!(instance.ask("ok 1"), "0", "no call goes through");
            assert_eq!(instance.changes().len(), 1, "nothing has changed: {:?}", instance.changes());
        }
    }
    assert_eq!(deciders(&fleet).keys().copied().collect::<Vec<_>>(), [2]);
}

#[test]
fn c39_a_store_that_is_wiped_while_open_is_given_the_record_again() {
    on_both_stores(|store| stays_open(store, || store.wipe()));
}

#[test]
fn c39_a_server_that_comes_back_empty_is_given_the_record_again() {
    on_both_servers(|store| {
        stays_open(store, || {
            store.kill();
            store.start_again();
            // Redis has nothing saved; PostgreSQL must lose what it has by other means.
            store.wipe();
        });
    });
}

#[test]
fn c39_a_failover_that_lost_the_opening_closes_nothing() {
    on_both_stores(|store| {
        let settings = store.settings().cooldown(Duration::from_secs(120));
        let fleet = start(3, &settings);
        fleet[0].fail(4);
        fleet.iter().for_each(Instance::flush);
        let before = (store.version(), store.record());
        fleet[0].fail(1);
        until_all(&fleet, "open", POLL + GRACE);
        fleet.iter().for_each(Instance::flush);
        store.put(before.0, &before.1);
        let newcomer = Instance::start(9, &settings);
        until("the newcomer hears of it", POLL * 2 + GRACE, || newcomer.look().is_fleets("open"));
        assert_eq!(newcomer.look().number("fleet"), 2);
        assert!(fleet.iter().all(|instance| instance.look().is("open") && instance.changes().len() == 1));
    });
}

#[test]
fn c38_what_is_done_while_the_store_is_away_is_as_was_chosen() {
    on_both_stores(|store| {
        let (proxy, settings) = store.proxied();
        let fleet = ["admit", "reject"].map(|what| Instance::start(0, &settings.clone().when_down(what)));
        until("both know the store", GRACE, || fleet.iter().all(knows_the_store));
        assert!(fleet.iter().all(|instance| instance.ask("ok 10") == "10"));
        proxy.set(|rules| rules.refuses = true);
        proxy.cut();
        until("both are on their own", GRACE * 2, || fleet.iter().all(|i| i.told("StoreDegraded") == 1));
        assert_eq!(fleet[0].ask("fail 100"), "100", "every call goes through and none is judged");
        assert_eq!(fleet[1].ask("ok 100"), "0", "none goes through");
        assert!(fleet[1].ask("hold").contains("store"), "and says why: {}", fleet[1].ask("hold"));
        proxy.set(|rules| rules.refuses = false);
        until("both have it back", LOOKS + GRACE, || fleet.iter().all(|i| i.told("StoreRecovered") == 1));
        until("both go on", GRACE, || fleet.iter().all(|instance| instance.ask("ok 10") == "10"));
        assert_eq!(fleet[0].look().number("failures"), 0);
    });
}

#[test]
fn c39_an_override_outlives_a_wipe() {
    on_both_stores(|store| {
        let fleet = start(3, &store.settings());
        fleet[0].ask("force_open maintenance ann");
        until_all(&fleet, "open", POLL + GRACE);
        fleet.iter().for_each(Instance::flush);
        store.wipe();
        let newcomer = Instance::start(9, &store.settings());
        until("the newcomer hears of it", POLL + GRACE, || newcomer.look().is_fleets("open"));
        let view = newcomer.look();
        assert_eq!((view.get("override"), view.get("actor")), ("maintenance", "ann"));
        assert!(fleet.iter().all(|instance| instance.look().get("override") == "maintenance"));
    });
}

/// While something refuses every write, calls go on and trips are each instance's own; then the fleet is one again.
fn goes_on_while_refused(store: &Store, refuse: impl FnOnce(), allow: impl FnOnce()) {
    let fleet = start(3, &store.settings().cooldown(Duration::from_secs(60)));
    fleet[0].fail(1);
    fleet.iter().for_each(Instance::flush);
    refuse();
    fleet[0].fail(4);
    until("it protects itself", GRACE * 2, || fleet[0].look().is("open"));
    until("it says so", GRACE, || !fleet[0].look().get("trouble").is_empty());
    for instance in &fleet[1..] {
        assert_eq!(instance.ask("ok 100"), "100");
    }
    throughout("the store itself is well", LOOKS / 2, || {
        fleet.iter().all(|instance| instance.told("StoreDegraded") == 0 && instance.told("StoreRecovered") == 0)
    });
    allow();
    until("it is one fleet again", LOOKS * 2 + GRACE, || fleet[0].look().get("trouble").is_empty());
    until_agreed(&fleet);
    assert_eq!(fleet[1].ask("trip"), "Ok(())");
    until_all(&fleet, "open", POLL + GRACE);
}

#[test]
fn a_server_that_refuses_writes_leaves_every_instance_to_itself_until_it_takes_them() {
    on_both_stores(|store| goes_on_while_refused(store, || store.refuse_writes(true), || store.refuse_writes(false)));
}

#[test]
fn a_primary_that_becomes_a_replica_leaves_every_instance_to_itself() {
    let store = Store::redis();
    let refuse = || drop(store.words("REPLICAOF 127.0.0.1 1"));
    goes_on_while_refused(&store, refuse, || drop(store.words("REPLICAOF NO ONE")));
}

#[test]
fn a_role_that_may_not_write_any_more_leaves_every_instance_to_itself() {
    let store = Store::redis();
    let refuse = || drop(store.words("ACL SETUSER default -evalsha -eval"));
    goes_on_while_refused(&store, refuse, || drop(store.words("ACL SETUSER default +@all")));
}

#[test]
fn connections_that_a_server_ends_are_made_again_and_nothing_is_told() {
    on_both_stores(|store| {
        let fleet = start(3, &store.settings().cooldown(Duration::from_secs(60)));
        for round in 0..3 {
            store.end_connections();
            if store.is_redis() {
                store.words("SCRIPT FLUSH");
            }
            let order = if round % 2 == 0 { "trip" } else { "reset" };
            assert_eq!(fleet[round].ask(order), "Ok(())");
            until_all(&fleet, if round % 2 == 0 { "open" } else { "closed" }, POLL * 2 + GRACE);
        }
        assert!(fleet.iter().all(knows_the_store));
        deciders(&fleet);
    });
}
