//! 42, 46: what was counted is counted once.

use std::time::Duration;

use crate::fleet::{GRACE, Instance, POLL, Settings, knows_the_store, start, until};
use crate::proxy::Proxy;
use crate::store::{Store, on_both_stores};

/// Counts without ever tripping.
fn counting(settings: Settings) -> Settings {
    settings.failures_within(1_000, 60)
}

/// What an instance that has seen nothing itself knows.
fn recorded(store: &Store) -> u64 {
    let fresh = Instance::start(99, &counting(store.settings()));
    until("it knows the store", GRACE, || knows_the_store(&fresh));
    fresh.look().number("failures")
}

/// An instance that has told the store once, so that nothing is the first time.
fn behind(proxy: &Proxy, store: &Store) -> Instance {
    let instance = Instance::start(0, &counting(Settings::store(store.url_through(proxy))));
    until("it knows the store", GRACE, || knows_the_store(&instance));
    instance.fail(1);
    until("the first is told", POLL + GRACE, || recorded(store) == 1);
    instance
}

#[test]
fn c42_a_batch_whose_answer_was_lost_counts_once() {
    on_both_stores(|store| {
        let (proxy, _) = store.proxied();
        let instance = behind(&proxy, store);
        for round in 1..=4 {
            proxy.set(|rules| rules.loses_answers = 1);
            instance.fail(10);
            until("an answer is lost", GRACE, || proxy.to_lose() == 0);
            until("the batch is settled", Duration::from_secs(15), || {
                instance.flush();
                let view = instance.look();
                view.number("waiting") == 0 && view.get("away").is_empty()
            });
            assert_eq!(recorded(store), 1 + round * 10);
        }
        assert_eq!(instance.look().number("forgotten"), 0);
    });
}

#[test]
fn c42_requests_and_answers_that_come_late_count_once() {
    on_both_stores(|store| {
        let (proxy, _) = store.proxied();
        let instance = behind(&proxy, store);
        let mut total = 1;
        for answers in [true, false] {
            proxy.set(|rules| (rules.holds_answers_to_commits, rules.holds_commits) = (answers, !answers));
            let before = proxy.commits();
            instance.fail(10);
            total += 10;
            until("a commit is on its way", GRACE, || proxy.commits() > before);
            // Later than anybody waits for an answer, so that it is asked again, perhaps over another connection.
            std::thread::sleep(Duration::from_millis(2_500));
            proxy.set(|rules| (rules.holds_answers_to_commits, rules.holds_commits) = (false, false));
            until("the batch is settled", Duration::from_secs(15), || {
                instance.flush();
                let view = instance.look();
                view.number("waiting") == 0 && view.get("away").is_empty()
            });
            until("it is counted", POLL + GRACE, || recorded(store) >= total);
            assert_eq!(recorded(store), total);
        }
    });
}

#[test]
fn c42_without_the_marks_of_batches_the_same_would_count_twice() {
    on_both_stores(|store| {
        let (proxy, _) = store.proxied();
        let instance = behind(&proxy, store);
        // In one, or the instance asks again before connections are refused.
        proxy.set(|rules| (rules.loses_answers, rules.refuses_after_loss) = (1, true));
        instance.fail(10);
        until("an answer is lost", GRACE, || proxy.to_lose() == 0);
        until("the batch is applied", GRACE, || recorded(store) == 11);
        store.forget_batches();
        proxy.set(|rules| (rules.refuses, rules.refuses_after_loss) = (false, false));
        until("it is applied again", Duration::from_secs(15), || {
            instance.flush();
            recorded(store) == 21
        });
    });
}

#[test]
fn c42_instances_that_are_stopped_again_and_again_lose_and_double_nothing() {
    on_both_stores(|store| {
        let fleet = start(5, &counting(store.settings()));
        let mut total = 0;
        for round in 0..24 {
            let stopped = &fleet[round % fleet.len()];
            for instance in &fleet {
                instance.fail(5);
                total += 5;
            }
            stopped.stop();
            // Long enough for a round of combining to be taken over by another.
            std::thread::sleep(Duration::from_millis(if round % 6 == 0 { 700 } else { 60 }));
            stopped.go_on();
            if round == 12 {
                store.end_connections();
                if store.is_redis() {
                    store.words("SCRIPT FLUSH");
                }
            }
        }
        until("everything is told", POLL + GRACE * 2, || {
            fleet.iter().for_each(Instance::flush);
            fleet.iter().all(|instance| instance.look().number("waiting") == 0)
        });
        until("everything is counted", POLL + GRACE, || recorded(store) >= total);
        assert_eq!(recorded(store), total);
        until("everybody knows", POLL + GRACE, || {
            fleet.iter().all(|instance| instance.look().number("failures") == total)
        });
    });
}

#[test]
fn c46_an_instance_that_starts_again_finds_state_and_counts() {
    on_both_stores(|store| {
        let settings = store.settings().cooldown(Duration::from_secs(60));
        let mut fleet = start(2, &settings);
        fleet[0].fail(4);
        fleet[0].flush();
        fleet.remove(0).kill();
        let again = Instance::start(2, &settings);
        until("it knows the store", GRACE, || knows_the_store(&again));
        assert_eq!(again.look().number("failures"), 4);
        assert!(again.changes().is_empty());
        again.fail(1);
        fleet.push(again);
        crate::fleet::until_all(&fleet, "open", POLL + GRACE);
        fleet.drain(..).for_each(Instance::kill);
        let again = Instance::start(3, &settings);
        until("it knows the store", GRACE, || knows_the_store(&again));
        let view = again.look();
        assert!(view.is_fleets("open"), "{view:?}");
        assert_eq!(view.number("fleet"), 2);
        assert!(view.number("retry_after") <= 60_000, "{view:?}");
        assert!(again.changes().iter().all(|change| !change.is_decided));
        assert_eq!(again.ask("ok 1"), "0", "no call goes through");
    });
}

#[test]
fn c46_what_an_instance_had_flushed_before_it_died_is_not_lost_and_what_it_had_not_is_little() {
    on_both_stores(|store| {
        let fleet = start(1, &counting(store.settings()));
        fleet[0].fail(50);
        std::thread::sleep(Duration::from_millis(600));
        fleet.into_iter().for_each(Instance::kill);
        assert_eq!(recorded(store), 50, "failures are told within 100 ms");
    });
}
