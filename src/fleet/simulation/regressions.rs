//! What runs have found, each with as little around it as shows it.

use std::sync::Arc;
use std::time::Duration;

use super::event::{Command, Health, MS, S, Trouble, name};
use super::member::TestMember;
use super::runner::{run, storm_and_calm};
use super::setup::{Rule, Setup, Wire};
use super::world::World;
use crate::circuit::State;
use crate::fleet::member::MemberId;
use crate::fleet::scheduler::{Ask, Scheduler};
use crate::store::{Changes, Stored};

/// A poll comes at least that often, and an answer takes some time.
const POLLED: u64 = 1_220 * MS;

fn steady(seed: u64, instances: usize) -> Setup {
    Setup { every: Duration::from_millis(200), ..Setup::quiet(seed, instances) }
}

fn tell(world: &mut World, at: usize, command: &Command) {
    world.command(at, 0, command);
    world.pump_all();
}

/// It asked to be woken at once, over and over, until the operation was given up.
#[test]
fn an_engine_whose_store_hangs_sleeps() {
    run(&steady(1, 2), |world| {
        world.run_for(2 * S);
        world.trouble(Trouble::Outage(false));
        let before = world.steps;
        world.traffic = false;
        world.run_for(60 * S);
        assert!(world.steps - before < 500, "{} steps", world.steps - before);
    });
}

/// The breaker whose load had not been sent when the store went away waited for its answer for ever.
#[test]
fn a_breaker_that_was_about_to_ask_when_the_store_went_away_comes_back() {
    for seed in 0..20 {
        run(&Setup { keys: 4, ..steady(seed, 3) }, |world| {
            world.run_for(2 * S);
            world.health = Health::Recovering;
            for refused in [false, true, false] {
                world.trouble(Trouble::Outage(refused));
                world.run_for(7 * S);
                world.trouble(Trouble::Back);
                world.run_for(12 * S);
            }
            world.health = Health::Well;
            world.run_for(20 * S);
            world.traffic = false;
            world.run_for(15 * S);
            world.check_agreement();
        });
    }
}

/// The lease came with an answer that waited for the process, and its deadline was counted from when it was read.
#[test]
fn a_lease_that_ran_out_while_its_holder_stood_still_is_not_used() {
    run(&steady(2, 3), |world| {
        world.run_for(2 * S);
        world.health = Health::Sick;
        let is = |world: &World, state| world.checks.record(&name(0)).is_some_and(|record| record.state() == state);
        assert!(world.run_until(5 * S, |world| is(world, State::Open)));
        world.health = Health::Well;
        while !is(world, State::HalfOpen) {
            assert!(world.step(60 * S), "an instance asks for a lease");
        }
        // Its answer is on the way: no call has used it, and its instance stands still.
        (0..3).for_each(|at| world.trouble(Trouble::Freeze(at, 10 * S + 500 * MS)));
        // The check is in every probe that goes out.
        assert!(world.run_until(40 * S, |world| world.states(0).iter().all(|state| *state == State::Closed)));
    });
}

/// It said once more that it had decided the generation to which it came back from one of its own.
#[test]
fn a_generation_is_decided_once_also_by_whoever_left_it_for_a_while() {
    run(&steady(3, 2), |world| {
        world.run_for(2 * S);
        tell(world, 0, &Command::Trip);
        world.run_for(3 * S);
        world.trouble(Trouble::Outage(true));
        assert!(world.run_until(10 * S, |world| world.states(0)[0] == State::Closed), "it goes on by itself");
        world.trouble(Trouble::Back);
        assert!(
            world.run_until(20 * S, |world| world.checks.record(&name(0)).is_some_and(|r| r.state() == State::Closed))
        );
        world.run_for(5 * S);
        world.check_agreement();
    });
}

/// An instance that knew of a later generation, closed, wrote that again over an open circuit that began afterwards.
#[test]
fn a_closed_state_from_before_a_loss_does_not_close_what_opened_since() {
    run(&Setup::quiet(4, 3), |world| {
        world.run_for(2 * S);
        world.trouble(Trouble::Cut(2, false));
        tell(world, 0, &Command::Trip);
        world.run_for(S);
        tell(world, 1, &Command::Reset);
        world.run_for(S);
        world.trouble(Trouble::Wipe);
        world.trouble(Trouble::Join(2));
        world.run_for(12 * S);
        tell(world, 2, &Command::Trip);
        world.run_for(POLLED);
        assert_eq!(world.states(0), [State::Open; 3]);
        world.run_for(S);
        assert_eq!(world.states(0), [State::Open; 3]);
        world.check_agreement();
    });
}

/// A poll was on its way when the instance sent a batch, and its answer was measured from then: it seemed fast, and clocks
/// better known than they were.
#[test]
fn what_a_clock_is_said_to_be_off_by_is_no_less_than_it_is() {
    for seed in 0..5 {
        let wire = Wire { slow: 500, ..Wire::default() };
        run(&Setup { wire, rule: Rule::Counting, ..steady(seed, 3) }, |world| {
            world.health = Health::Recovering;
            // Each step looks at the clock.
            world.run_for(60 * S);
        });
    }
}

/// An instance told its calls to the record before (343); one that had opened by itself opened a fleet that had closed since
/// (631); a telling that took 3.2 s made the fleet judge calls of which others had forgotten theirs (57); a voter's
/// late probe kept its engine awake (1918); one that had gone alone never came back (72).
#[test]
fn random_runs_that_failed_once_do_not_fail_any_more() {
    for seed in [57, 72, 343, 631, 1918] {
        run(&Setup::random(seed), storm_and_calm);
    }
}

/// The answer to a load may be older than a change that is told before it comes; the change was forgotten, for a minute.
#[test]
fn a_change_that_is_told_while_a_load_is_out_is_loaded_after_it() {
    run(&steady(1, 1), |world| {
        let (id, instance) = (MemberId(0), &world.instances[0]);
        let (clocks, now) = ((instance.clock.clone(), instance.engine.clone()), instance.engine_time());
        let member = Arc::new(TestMember::new((id, name(0)), world.setup.make(&instance.name, 1, 2), clocks));
        let mut scheduler = Scheduler::new("memory".into(), 0, now);
        scheduler.join(member, now);
        assert!(matches!(scheduler.next(now), Some(Ask::Changes(None))), "first where to go on from");
        scheduler.changed(&Ok(Changes::restart("1".into())), now);
        let Some(Ask::Load(lane, ..)) = scheduler.next(now) else { panic!("then the record") };
        scheduler.changed(&Ok(Changes::since(vec![name(0)], "2".into())), now);
        scheduler.loaded(lane, &[(id, Ok(Stored::default()))], now);
        let soon = now + Duration::from_millis(10);
        let asked = std::iter::from_fn(|| scheduler.next(soon)).any(|ask| matches!(ask, Ask::Load(..)));
        assert!(asked, "it may have been read before it changed");
    });
}

/// What a panic of the engine itself leaves: nothing that was asked is answered.
#[test]
fn an_engine_that_begins_again_loses_no_more_than_what_was_on_its_way() {
    for seed in 0..5 {
        run(&steady(seed, 3), |world| {
            world.health = Health::Recovering;
            for _ in 0..40 {
                world.run_for(250 * MS);
                let instance = &mut world.instances[1];
                let now = instance.engine_time();
                instance.asked.clear();
                instance.scheduler.begin_again(now);
                world.pump(1);
            }
            world.health = Health::Sick;
            assert!(world.run_until(10 * S, |world| world.states(0).iter().all(|state| *state == State::Open)));
            world.health = Health::Well;
            world.run_for(20 * S);
            world.traffic = false;
            world.run_for(15 * S);
            world.check_agreement();
        });
    }
}
