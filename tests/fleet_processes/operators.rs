//! 45: what an operator orders in one process, and what one process decides, reaches all.

use std::time::Duration;

use crate::fleet::{GRACE, Instance, POLL, deciders, knows_the_store, start, until, until_all};
use crate::outages::LOOKS;
use crate::store::on_both_stores;

#[test]
fn c45_orders_from_one_process_reach_all_with_reason_and_actor_with_and_without_push() {
    on_both_stores(|store| {
        let (proxy, settings) = store.proxied();
        let fleet = start(5, &settings.cooldown(Duration::from_secs(60)));
        let mut fastest = GRACE;
        for push in [true, false] {
            proxy.cut_push(!push);
            // Whoever had to subscribe anew looks at once.
            fleet.iter().for_each(Instance::flush);
            fleet[0].ask("force_open migration ann");
            until_all(&fleet, "open", POLL + GRACE);
            for instance in &fleet {
                let view = instance.look();
                assert_eq!((view.get("override"), view.get("actor")), ("migration", "ann"), "{view:?}");
                assert_eq!(instance.ask("ok 1"), "0");
            }
            assert!(fleet[1].ask("trip").starts_with("Err"), "an override stands");
            assert!(fleet[2].ask("reset").starts_with("Err"), "an override stands");
            fleet[1].ask("resume");
            until_all(&fleet, "closed", POLL + GRACE);
            assert!(fleet.iter().all(|instance| instance.look().get("override").is_empty()));
            assert_eq!(fleet[2].ask("trip"), "Ok(())");
            until_all(&fleet, "open", POLL + GRACE);
            assert_eq!(fleet[4].look().get("reason"), "tripped by command");
            assert_eq!(fleet[3].ask("reset"), "Ok(())");
            let took = until_all(&fleet, "closed", POLL + GRACE);
            fastest = fastest.min(took);
            assert_eq!(fleet[0].look().get("reason"), "reset by command");
        }
        assert!(fastest <= POLL, "one poll, where nothing else is to be done: {fastest:?}");
        let deciders = deciders(&fleet);
        let who: Vec<_> = deciders.values().map(|(instance, _)| *instance).collect();
        assert_eq!(who, [0, 1, 2, 3, 0, 1, 2, 3], "each order is its giver's: {deciders:?}");
        for instance in &fleet {
            let (fleets, own): (Vec<_>, Vec<_>) = instance.changes().into_iter().partition(|change| change.is_fleets);
            assert_eq!(fleets.len(), 8, "each is told once of each change: {fleets:?}");
            let orders = who.iter().filter(|giver| **giver == instance.number).count();
            assert_eq!(own.len(), orders, "what it ordered itself, at once: {own:?}");
        }
    });
}

#[test]
fn c45_with_push_it_takes_no_poll() {
    on_both_stores(|store| {
        let fleet = start(3, &store.settings().cooldown(Duration::from_secs(60)));
        // Subscribing may come after the first look at the store.
        until("orders arrive at once", GRACE * 3, || {
            let start = std::time::Instant::now();
            assert_eq!(fleet[0].ask("trip"), "Ok(())");
            until_all(&fleet, "open", POLL + GRACE);
            let took = start.elapsed();
            assert_eq!(fleet[0].ask("reset"), "Ok(())");
            until_all(&fleet, "closed", POLL + GRACE);
            took < Duration::from_millis(300)
        });
    });
}

#[test]
fn c45_an_override_that_was_ordered_while_the_store_was_away_reaches_all_when_it_is_back() {
    on_both_stores(|store| {
        let (proxy, settings) = store.proxied();
        let fleet = start(3, &settings);
        proxy.set(|rules| rules.refuses = true);
        proxy.cut();
        until("all are on their own", GRACE * 2, || fleet.iter().all(|instance| instance.told("StoreDegraded") == 1));
        fleet[0].ask("force_open migration ann");
        assert!(fleet[0].look().is("open"), "here at once");
        proxy.set(|rules| rules.refuses = false);
        until_all(&fleet, "open", LOOKS + POLL + GRACE);
        until("all have the store", LOOKS + GRACE, || fleet.iter().all(knows_the_store));
        for instance in &fleet {
            let view = instance.look();
            assert_eq!((view.get("override"), view.get("actor")), ("migration", "ann"), "{view:?}");
        }
        fleet[1].ask("resume");
        until_all(&fleet, "closed", POLL + GRACE);
    });
}

#[test]
fn what_an_instance_decided_stands_though_it_died_before_it_heard_so() {
    on_both_stores(|store| {
        for push in [true, false] {
            let (proxy, through) = store.proxied();
            let (others_proxy, others) = store.proxied();
            let cooldown = Duration::from_secs(60);
            others_proxy.cut_push(!push);
            let fleet = start(3, &others.cooldown(cooldown));
            let decider = Instance::start(3, &through.cooldown(cooldown));
            until("it knows the store", GRACE, || knows_the_store(&decider));
            // One commit, and no more, decides.
            decider.fail(4);
            decider.flush();
            proxy.set(|rules| rules.holds_answers_to_commits = true);
            let before = proxy.commits();
            decider.fail(1);
            until("it has decided", GRACE, || proxy.commits() > before);
            decider.kill();
            until_all(&fleet, "open", POLL + GRACE);
            assert!(deciders(&fleet).values().all(|(_, change)| change.to != "open"), "it was not theirs");
            assert_eq!(fleet[0].ask("reset"), "Ok(())");
            until_all(&fleet, "closed", POLL + GRACE);
        }
    });
}
