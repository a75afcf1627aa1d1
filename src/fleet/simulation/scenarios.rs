//! Single events in a fleet where all else is well.

use std::time::Duration;

use super::event::{At, Command, Health, MS, S, Trouble, name};
use super::runner::run;
use super::setup::{Clocks, Rule, Setup, Wire};
use super::world::World;
use crate::circuit::{Decision, Fact, FleetFact, Override, State};

/// A poll comes at least that often, and an answer takes some time.
const POLLED: At = 1_200 * MS + 10 * MS;

fn steady(seed: u64, instances: usize) -> Setup {
    Setup { every: Duration::from_millis(200), ..Setup::quiet(seed, instances) }
}

fn all_are(world: &World, state: State) -> bool {
    world.states(0).into_iter().all(|other| other == state)
}

fn cut_push(world: &mut World) {
    (0..world.instances.len()).for_each(|at| world.trouble(Trouble::Deaf(at)));
}

/// One failure each, all at once: the case that shared breakers exist for.
fn one_failure_each(world: &mut World, within: At) {
    world.health = Health::Sick;
    for at in 0..world.instances.len() {
        let step = within / world.instances.len() as At;
        world.run_for(step);
        // Draws that fail and are neither cancelled nor ignored.
        world.ask(at, 0, 0, 999, MS);
        world.pump_all_of(at);
    }
}

#[test]
fn a_thousand_instances_with_one_failure_each_open_as_one() {
    let setup = Setup { rule: Rule::Failures(100), ..Setup::quiet(1, 1_000) };
    run(&setup, |world| {
        world.run_for(3 * S);
        let before: u64 = world.instances.iter().map(|instance| instance.ops).sum();
        let began = world.now;
        one_failure_each(world, 10 * MS);
        assert!(world.run_until(2 * S, |world| all_are(world, State::Open)), "{:?}", world.states(0));
        let took = world.now - began;
        let polls = 1_000 * took / S + 1_000;
        let after: u64 = world.instances.iter().map(|instance| instance.ops).sum();
        let ops = (after - before).saturating_sub(0);
        println!("open after {} ms, {ops} operations, of these at most {polls} polls", took / MS);
        assert!(took <= 500 * MS, "{took}");
        assert!(ops <= 2_500, "{ops} operations of 1,000 instances");
    });
}

#[test]
fn fifty_instances_trip_probe_and_close_as_one() {
    for seed in 0..3 {
        run(&Setup { wire: Wire::shaky(), ..steady(seed, 50) }, |world| {
            world.run_for(5 * S);
            world.health = Health::Sick;
            assert!(world.run_until(3 * S, |world| all_are(world, State::Open)), "{:?}", world.states(0));
            world.run_for(20 * S);
            world.health = Health::Well;
            assert!(world.run_until(20 * S, |world| all_are(world, State::Closed)), "{:?}", world.states(0));
            assert!(world.checks.most_probes == 1);
        });
    }
}

#[test]
fn a_bad_node_protects_itself_and_the_others_do_not_notice() {
    for (seed, votes) in [(1, 2), (2, 3)] {
        let setup = Setup {
            votes: Some(votes),
            rule: Rule::Consecutive,
            bad: Some(0),
            wire: Wire::shaky(),
            every: Duration::from_millis(50),
            ..Setup::quiet(seed, 10)
        };
        run(&setup, |world| {
            world.health = Health::Background;
            for _ in 0..1_000 {
                world.run_for(100 * MS);
                assert!(world.states(0)[1..].iter().all(|state| *state == State::Closed), "{:?}", world.states(0));
            }
            // 100 s, a cooldown of 5 s: five calls to trip, then one probe each time.
            assert!(world.instances[0].passed[0] < 40, "{} calls", world.instances[0].passed[0]);
            assert!(world.instances[1].passed[0] > 1_500, "{} calls", world.instances[1].passed[0]);
        });
    }
}

#[test]
fn orders_of_an_operator_reach_all_within_a_poll_and_end_everywhere() {
    for push in [true, false] {
        run(&steady(3, 8), |world| {
            world.run_for(3 * S);
            if !push {
                cut_push(world);
            }
            let bound = if push { 20 * MS } else { POLLED };
            let hold = Override::force_open("maintenance").by("ana").expires_after(Duration::from_secs(10));
            let overridden =
                |world: &World| world.instances.iter().filter(|instance| instance.members[0].is_overridden()).count();
            let began = world.now;
            world.command(2, 0, &Command::Override(hold));
            world.pump_all();
            world.run_for(bound);
            assert_eq!(overridden(world), 8, "push {push}");
            assert!(all_are(world, State::Open));
            // `command` checks that it is refused.
            world.command(5, 0, &Command::Trip);
            world.command(6, 0, &Command::Reset);
            world.run_for(began + 10 * S + POLLED - world.now);
            assert_eq!(overridden(world), 0, "push {push}");
            assert!(all_are(world, State::Closed));
            world.command(1, 0, &Command::Override(Override::disable("load test")));
            world.pump_all();
            world.run_for(bound);
            assert_eq!(overridden(world), 8, "push {push}");
            world.run_for(30 * S);
            world.command(7, 0, &Command::Resume);
            world.pump_all();
            world.run_for(bound);
            assert_eq!(overridden(world), 0, "push {push}");
            world.command(4, 0, &Command::Trip);
            world.pump_all();
            world.run_for(bound);
            assert!(all_are(world, State::Open), "push {push}: {:?}", world.states(0));
            world.command(3, 0, &Command::Reset);
            world.pump_all();
            world.run_for(bound);
            assert!(all_are(world, State::Closed), "push {push}: {:?}", world.states(0));
        });
    }
}

#[test]
fn what_is_open_stays_open_when_the_store_loses_everything() {
    for seed in 0..5 {
        let cooldown = crate::circuit::Cooldown::fixed(Duration::from_secs(30));
        run(&Setup { cooldown, ..steady(seed, 5) }, |world| {
            world.run_for(2 * S);
            world.health = Health::Sick;
            assert!(world.run_until(5 * S, |world| all_are(world, State::Open)));
            let generation = world.checks.record(&name(0)).map(|record| record.generation());
            world.run_for(seed * S);
            world.trouble(Trouble::Wipe);
            for _ in 0..20 {
                world.run_for(100 * MS);
                assert!(all_are(world, State::Open));
            }
            let record = world.checks.record(&name(0));
            let known = record.map(|record| (record.state(), Some(record.generation())));
            assert_eq!(known, Some((State::Open, generation)), "it was written again");
            // One that knows nothing learns it.
            world.trouble(Trouble::Crash(2));
            world.trouble(Trouble::Start(2));
            world.run_for(20 * MS);
            assert!(all_are(world, State::Open));
        });
    }
}

#[test]
fn a_prober_that_is_killed_holds_nobody_up_beyond_its_lease() {
    for seed in 0..5 {
        run(&steady(seed, 6), |world| {
            world.run_for(2 * S);
            world.health = Health::Sick;
            assert!(world.run_until(5 * S, |world| all_are(world, State::Open)));
            world.health = Health::Well;
            let prober = loop {
                assert!(world.step(60 * S), "an instance probes");
                if let Some(at) = world.checks.probers().next() {
                    break at;
                }
            };
            world.trouble(Trouble::Crash(prober));
            let lease = crate::time::nanos(world.setup.deadline);
            // The lease runs out, the circuit reopens, and the next probe closes it.
            let cooldown = 5 * S;
            assert!(
                world.run_until(lease + POLLED + cooldown + S, |world| all_are(world, State::Closed)),
                "{:?}",
                world.states(0)
            );
        });
    }
}

/// Times of every change of the record, with the state.
fn history(setup: &Setup) -> Vec<(At, State, u64)> {
    run(setup, |world| {
        let mut history = Vec::new();
        for (second, health) in [(5, Health::Sick), (12, Health::Recovering), (20, Health::Well), (30, Health::Sick)] {
            while world.step(second * S) {
                let record = world.checks.record(&name(0));
                let now = record.map(|record| (world.now, record.state(), record.generation().get()));
                if history.last().map(|(_, state, generation)| (*state, *generation)) != now.map(|now| (now.1, now.2)) {
                    history.extend(now);
                }
            }
            world.health = health;
        }
        history
    })
}

#[test]
fn what_the_clocks_of_instances_show_has_no_effect() {
    for seed in 0..5 {
        let setup = |clocks| Setup { clocks, wire: Wire::shaky(), ..steady(seed, 5) };
        let equal = history(&setup(Clocks::Equal));
        assert!(equal.len() > 5, "{equal:?}");
        assert_eq!(equal, history(&setup(Clocks::Skewed)));
    }
}

#[test]
fn a_fleet_that_is_closed_and_healthy_writes_nothing() {
    run(&steady(4, 5), |world| {
        world.run_for(60 * S);
        assert!(world.checks.record(&name(0)).is_none());
        let most = world.instances.iter().map(|instance| instance.ops).max().unwrap_or(0);
        assert!(most <= 80, "{most} operations in 60 s, for one poll a second");
        assert_eq!(world.ask(0, 0, 999, 999, MS), world.ask(0, 0, 999, 999, MS));
        assert!(matches!(world.ask(0, 0, 999, 999, MS), Decision::Admitted(_)));
    });
}

/// A pooler took its connection, and gave it to others: the instance was told that it listens.
#[test]
fn an_instance_to_which_its_own_notices_do_not_come_back_says_so_once_and_when_they_do_again() {
    run(&steady(6, 3), |world| {
        world.checks.facts = Some(Vec::new());
        let told = |world: &World, wanted: FleetFact| {
            let facts = world.checks.facts.iter().flatten();
            facts.filter(|fact| matches!(fact, Fact::Fleet(fact) if *fact == wanted)).count()
        };
        let write = |world: &mut World, times: usize| {
            for at in 0..times {
                world.command(0, 0, if at % 2 == 0 { &Command::Trip } else { &Command::Reset });
                world.pump_all();
                world.run_for(2 * S);
                assert!(all_are(world, [State::Open, State::Closed][at % 2]), "those that hear nothing poll");
            }
        };
        world.run_for(3 * S);
        write(world, 10);
        world.run_for(60 * S);
        assert_eq!(told(world, FleetFact::StoreImpaired), 0, "all is well");

        world.trouble(Trouble::Deaf(0));
        world.run_for(3_600 * S);
        assert_eq!(told(world, FleetFact::StoreImpaired), 0, "one that writes nothing misses nothing of its own");
        write(world, 20);
        assert_eq!((told(world, FleetFact::StoreImpaired), told(world, FleetFact::StoreMended)), (1, 0));
        world.trouble(Trouble::Hears(0));
        write(world, 20);
        assert_eq!((told(world, FleetFact::StoreImpaired), told(world, FleetFact::StoreMended)), (1, 1));
    });
}

/// Two instances made a second generation of the first: what the store has counts.
#[test]
fn of_two_states_of_one_generation_the_one_that_the_store_has_counts() {
    run(&Setup::quiet(5, 2), |world| {
        world.run_for(3 * S);
        cut_push(world);
        world.command(0, 0, &Command::Trip);
        world.pump_all();
        world.run_for(10 * MS);
        assert_eq!(world.states(0), [State::Open, State::Closed]);
        world.trouble(Trouble::Wipe);
        world.command(1, 0, &Command::Reset);
        world.pump_all();
        world.run_for(POLLED);
        assert_eq!(world.states(0), [State::Closed, State::Closed]);
        world.check_agreement();
    });
}
