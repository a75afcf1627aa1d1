//! 47: records of other releases, and damaged ones.

use std::time::Duration;

use crate::fleet::{GRACE, Instance, POLL, knows_the_store, start, throughout, until, until_all};
use crate::store::{Store, on_both_stores};

#[test]
fn c47_a_record_of_a_newer_format_is_left_alone_and_each_instance_goes_on_by_itself() {
    on_both_stores(|store| {
        let fleet = start(2, &store.settings());
        fleet[0].fail(1);
        fleet.iter().for_each(Instance::flush);
        let newer = Store::of_newer_format(&store.record());
        store.put(store.version() + 1, &newer);
        until("all have seen it", POLL + GRACE, || fleet.iter().all(|instance| instance.told("RecordUnreadable") == 1));
        for instance in &fleet {
            assert!(instance.look().get("away").contains("format 3"), "{:?}", instance.look());
            assert_eq!(instance.ask("ok 10"), "10");
        }
        fleet[0].fail(4);
        until("it protects itself", GRACE, || fleet[0].look().is("open"));
        assert_eq!(fleet[0].look().get("scope"), "Instance");
        assert_eq!(fleet[1].ask("trip"), "Ok(())");
        let newcomer = Instance::start(2, &store.settings());
        until("a newcomer sees it", POLL + GRACE, || newcomer.told("RecordUnreadable") == 1);
        newcomer.fail(5);
        until("it protects itself", GRACE, || newcomer.look().is("open"));
        throughout("the record is as it was", POLL, || store.record() == newer);
        assert!(fleet.iter().all(|instance| instance.told("RecordUnreadable") == 1), "told once");
        assert!(fleet.iter().all(|instance| instance.told("StoreDegraded") == 0), "the store itself is well");
    });
}

#[test]
fn c47_a_damaged_record_closes_no_open_fleet_and_is_replaced() {
    on_both_stores(|store| {
        let settings = store.settings().cooldown(Duration::from_secs(60));
        let fleet = start(2, &settings);
        fleet[0].fail(5);
        until_all(&fleet, "open", POLL + GRACE);
        fleet.iter().for_each(Instance::flush);
        let mut damaged = store.record();
        damaged[20] ^= 1;
        store.put(store.version() + 1, &damaged);
        until("it is replaced", POLL * 2 + GRACE, || store.record() != damaged);
        throughout("it stays open", POLL, || fleet.iter().all(|instance| instance.look().is("open")));
        let newcomer = Instance::start(2, &settings);
        until("a newcomer can read it", GRACE, || knows_the_store(&newcomer));
        assert!(newcomer.look().is_fleets("open"));
    });
}

#[test]
fn c47_a_damaged_record_that_nobody_knew_is_replaced_after_a_while() {
    on_both_stores(|store| {
        let fleet = start(1, &store.settings());
        fleet[0].fail(1);
        fleet[0].flush();
        fleet.into_iter().for_each(Instance::kill);
        store.put(store.version() + 1, b"FB\x01 this is no record");
        let newcomer = Instance::start(1, &store.settings());
        newcomer.fail(5);
        until("it says so", POLL + GRACE, || newcomer.told("RecordUnreadable") == 1);
        until("it protects itself", GRACE, || newcomer.look().is("open"));
        until("it is one fleet again", Duration::from_secs(10) + GRACE, || knows_the_store(&newcomer));
        let second = start(1, &store.settings());
        assert_eq!(second[0].ask("trip"), "Ok(())");
        until("they agree", POLL + GRACE, || newcomer.look().is_fleets("open"));
    });
}
