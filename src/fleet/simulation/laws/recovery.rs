//! Recovery does not depend on traffic: with the dependency well and the store up, the circuit closes after so many calls,
//! however far apart they come and however many instances share them.
#![expect(clippy::panic, reason = "a broken promise must be told")]

use std::time::Duration;

use super::super::event::{At, Command, Health, MS, S, Trouble, name};
use super::super::rng::Chance;
use super::super::runner::{seeds, tail};
use super::super::setup::Setup;
use super::super::world::World;
use crate::circuit::detector::{Detector, failure_rate};
use crate::circuit::{Cooldown, Decision, Probes, RejectReason, State};
use crate::clock::Clock;
use crate::time::Timestamp;

const GAPS: [At; 7] = [10 * MS, 100 * MS, 1_100 * MS, 5 * S, 60 * S, 3_600 * S, 86_400 * S];
const COOLDOWN: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
struct Case {
    gap: At,
    instances: usize,
    probes: (Probes, u32),
    concurrent: u32,
    /// How long a call takes.
    took: At,
    push: bool,
}

#[derive(Clone, Debug, Default)]
struct Calls {
    /// The instance whose turn it is: all have calls, one after the other.
    next: usize,
    /// Those that came while not all probes ran, and not before their instance had told calls to come back.
    counted: u64,
    rejected: u64,
    /// Until when calls of each instance were told to wait.
    until: Vec<Timestamp>,
    /// When a probe was last out.
    out_at: At,
    /// From the end of the cooldown to the first call.
    waited: At,
}

impl Case {
    fn most(&self) -> u64 {
        3 * u64::from(self.probes.1) * self.instances as u64
    }

    fn setup(&self, seed: u64) -> Setup {
        let cooldown = Cooldown::fixed(COOLDOWN);
        Setup { cooldown, probes: self.probes.0, concurrent: self.concurrent, ..Setup::quiet(seed, self.instances) }
    }

    /// Trips, waits, and calls until the circuit is closed.
    fn recover(&self, world: &mut World, chance: &mut Chance) -> Calls {
        if !self.push {
            (0..self.instances).for_each(|at| world.trouble(Trouble::Deaf(at)));
        }
        world.run_for(3 * S);
        // All have calls, before the circuit opens.
        for at in 0..self.instances {
            world.ask(at, 0, 999, 999, MS);
        }
        world.run_for(S);
        let who = chance.index(self.instances);
        world.command(who, 0, &Command::Trip);
        world.pump_all();
        let waited = chance.below(2 * S);
        pass(world, crate::time::nanos(COOLDOWN) + waited);
        let mut calls = Calls {
            waited,
            next: chance.index(self.instances),
            until: vec![Timestamp::ZERO; self.instances],
            ..Calls::default()
        };
        while world.checks.record(&name(0)).is_some_and(|record| record.state() != State::Closed) {
            self.call(world, &mut calls);
            assert!(calls.counted <= self.most(), "{} calls, {} rejected", calls.counted, calls.rejected);
            pass(world, self.gap);
        }
        calls
    }

    fn call(&self, world: &mut World, calls: &mut Calls) {
        // By chance alone, one of ten instances goes without a call for long.
        let at = calls.next % self.instances;
        calls.next += 1;
        let out = world.instances.iter().flat_map(|instance| instance.calls.values());
        let out = out.filter(|call| call.permit.lease.is_some()).count();
        // A draw that neither fails nor is cancelled.
        let decision = world.ask(at, 0, 999, 999, self.took);
        world.pump_all_of(at);
        if matches!(decision, Decision::Admitted(permit) if permit.lease.is_some()) {
            calls.out_at = world.now;
        }
        let is_early = world.instances[at].clock.now() < calls.until[at];
        let counts = out < self.concurrent.min(self.probes.1) as usize && !is_early;
        calls.counted += u64::from(counts);
        if let Decision::Rejected { reason, until } = decision {
            calls.rejected += u64::from(counts);
            calls.until[at] = until.unwrap_or_else(|| panic!("{reason:?} does not say when to come back"));
            // An instance may not have heard yet of a probe that ended a poll ago.
            let is_out = world.now < calls.out_at + self.took + 1_250 * MS;
            assert!(reason != RejectReason::ProbesBusy || is_out, "probes are busy, and none is out");
        }
    }
}

/// Lets the time pass. In the middle of a long one nothing happens but polls, which are left out.
fn pass(world: &mut World, time: At) {
    const SHOWN: At = 30 * S;
    if time <= 2 * SHOWN {
        return world.run_for(time);
    }
    world.run_for(SHOWN);
    let left_out = time - 2 * SHOWN;
    (0..world.instances.len()).for_each(|at| world.trouble(Trouble::Freeze(at, left_out)));
    world.run_for(left_out + SHOWN);
}

/// Every case; what does not hold is told together.
fn all_recover(cases: impl Fn(At, usize, (Probes, u32)) -> Vec<Case>, check: impl Fn(&Case, &Calls)) {
    let mut failed = Vec::new();
    for gap in GAPS {
        for instances in [1, 2, 10] {
            for probes in [(Probes::one(), 1), (Probes::consecutive(3), 3), (Probes::ratio(3, 5), 3)] {
                for case in cases(gap, instances, probes) {
                    for seed in seeds(3) {
                        let recovered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                            let mut world = World::new(case.setup(seed), tail());
                            let calls = case.recover(&mut world, &mut Chance::new(seed));
                            check(&case, &calls);
                        }));
                        if let Err(said) = recovered {
                            let said = said
                                .downcast_ref::<String>()
                                .map(String::as_str)
                                .or(said.downcast_ref::<&str>().copied());
                            failed.push(format!("seed {seed}, {case:?}: {}", said.unwrap_or("it panicked")));
                        }
                    }
                }
            }
        }
    }
    if !failed.is_empty() {
        panic!("{} cases:\n{}", failed.len(), failed.join("\n"));
    }
}

/// One instance that had a call before fetches its lease by itself: once that had its time, no call is without.
fn brief(case: &Case, calls: &Calls) {
    const FETCHED: At = 300 * MS;
    let is_late = calls.waited >= FETCHED && case.gap >= FETCHED;
    let most = if case.instances > 1 { u64::MAX } else { u64::from(!is_late) };
    assert!(calls.rejected <= most, "{} rejected", calls.rejected);
}

#[test]
fn a_circuit_closes_after_a_few_calls_however_far_apart() {
    all_recover(
        |gap, instances, probes| {
            let case = Case { gap, instances, probes, concurrent: 1, took: MS, push: true };
            vec![case, Case { push: false, ..case }]
        },
        brief,
    );
}

#[test]
fn it_does_so_where_several_probes_may_run_at_once() {
    all_recover(
        |gap, instances, probes| {
            let case = Case { gap, instances, probes, concurrent: 3, took: MS, push: true };
            vec![case, Case { took: (3 * gap).min(2 * S), ..case }]
        },
        |_, _| {},
    );
}

fn recovers(case: &Case, seed: u64) {
    let mut world = World::new(case.setup(seed), tail());
    case.recover(&mut world, &mut Chance::new(seed));
    super::super::runner::show_tail(&world);
}

/// Each instance gives the lease back before it has used it, because another one wants it as well.
#[test]
fn ten_busy_instances_without_push_recover() {
    let case = Case { gap: 10 * MS, instances: 10, probes: (Probes::one(), 1), concurrent: 1, took: MS, push: false };
    (0..3).for_each(|seed| recovers(&case, seed));
}

#[test]
fn two_instances_without_push_recover() {
    let case = Case { gap: 1_100 * MS, instances: 2, probes: (Probes::one(), 1), concurrent: 1, took: MS, push: false };
    (0..10).for_each(|seed| recovers(&case, seed));
}

/// An operator trips while all are asked what they have seen. The suspicion stays in the record, and instances see to
/// its end over and over while there is nothing to be judged; what else they have to do, they come to by chance.
#[test]
fn instances_sleep_while_a_circuit_is_open_that_was_tripped_while_suspected() {
    let detector: fn() -> Box<dyn Detector> = || Box::new(failure_rate(0.5).of_last(10));
    let setup = Setup { detector: Some(detector), cooldown: Cooldown::fixed(6 * COOLDOWN), ..Setup::quiet(0, 2) };
    let mut world = World::new(setup, tail());
    world.run_for(3 * S);
    world.health = Health::Sick;
    for nth in 0..6 {
        // A draw that fails, and is not cancelled.
        world.ask(nth % 2, 0, 0, 999, MS);
        world.pump_all();
        world.run_for(10 * MS);
    }
    let is_suspected = world.checks.record(&name(0)).is_some_and(|record| record.is_suspected());
    assert!(is_suspected, "all are asked");
    world.command(0, 0, &Command::Trip);
    world.pump_all();
    world.run_for(5 * S);
    assert_eq!(world.states(0), [State::Open; 2]);
    let turns = |world: &World| world.instances.iter().map(|one| one.members[0].books().turns).sum::<u64>();
    let before = turns(&world);
    world.run_for(10 * S);
    let looks = turns(&world) - before;
    // A poll a second, which is a turn or two.
    assert!(looks <= 60, "{looks} looks of two instances in 10 s");
}

/// The lease goes from one instance to the next, and each call comes to one that does not have it.
#[test]
fn ten_instances_with_a_call_a_minute_recover() {
    let case = Case { gap: 60 * S, instances: 10, probes: (Probes::one(), 1), concurrent: 1, took: MS, push: true };
    [52, 66].into_iter().for_each(|seed| recovers(&case, seed));
}
