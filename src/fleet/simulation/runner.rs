//! The runs.
#![expect(clippy::panic, reason = "a broken promise must be told")]

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::checks::Digest;
use super::event::{Command, Health, S, Tail};
use super::setup::{Rule, Setup, Troubles, Wire};
use super::world::World;
use crate::circuit::State;

/// Runs it; where something does not hold it runs again with a log.
pub(super) fn run<R>(setup: &Setup, script: impl Fn(&mut World) -> R) -> R {
    let quietly = |tail: Option<Tail>| {
        catch_unwind(AssertUnwindSafe(|| {
            let mut world = World::new(setup.clone(), tail);
            script(&mut world)
        }))
    };
    match quietly(None) {
        Ok(result) => result,
        Err(_) => {
            let tail = Tail::new(VecDeque::new().into());
            let said = match quietly(Some(Arc::clone(&tail))) {
                Ok(_) => "not when run again".to_owned(),
                Err(said) => said
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| said.downcast_ref::<&str>().map(|said| (*said).to_owned()))
                    .unwrap_or_default(),
            };
            let tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            let lines: Vec<_> = tail.iter().map(String::as_str).collect();
            panic!("{}\n{setup:?}\nseed {}: {said}", lines.join("\n"), setup.seed);
        }
    }
}

/// A log, where one is asked for: `FUSEBOX_SIM_TRACE`.
pub(super) fn tail() -> Option<Tail> {
    std::env::var_os("FUSEBOX_SIM_TRACE").map(|_| Tail::new(VecDeque::new().into()))
}

#[expect(clippy::print_stdout, reason = "asked for by an environment variable")]
pub(super) fn show_tail(world: &World) {
    if let Some(tail) = &world.tail {
        for line in tail.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            println!("{line}");
        }
    }
}

/// How many runs of each kind, and from which seed on.
pub(super) fn seeds(usual: u64) -> std::ops::Range<u64> {
    let more = std::env::var("FUSEBOX_SIM_SEEDS").ok().and_then(|seeds| seeds.parse::<u64>().ok());
    let first = std::env::var("FUSEBOX_SIM_FIRST").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    first..first + more.unwrap_or(usual)
}

/// The part with the troubles, and what must become of it in the end.
pub(super) fn storm_and_calm(world: &mut World) {
    world.run_for(crate::time::nanos(world.setup.stormy));
    world.mend();
    // No instance stays frozen, nothing stays on its way.
    world.run_for(65 * S);
    for at in 0..world.instances.len() {
        for key in 0..world.setup.keys {
            world.command(at, key, &Command::Resume);
        }
    }
    world.pump_all();
    world.checks.recovering.counts = world.setup.at_last == Health::Well;
    let expected: &[State] =
        if world.setup.at_last == Health::Sick { &[State::Open, State::HalfOpen] } else { &[State::Closed] };
    let all = |world: &mut World| {
        let mut states = (0..world.setup.keys).flat_map(|key| world.states(key)).collect::<Vec<_>>().into_iter();
        states.all(|state| expected.contains(&state))
    };
    let states = |world: &World| (0..world.setup.keys).map(|key| world.states(key)).collect::<Vec<_>>();
    assert!(world.run_until(150 * S, all), "at last {:?}, but {:?}", world.setup.at_last, states(world));
    world.traffic = false;
    world.run_for(70 * S);
    world.check_agreement();
    for (at, instance) in world.instances.iter().enumerate() {
        assert!(instance.flushing.is_empty(), "{at} still waits for a flush");
    }
}

impl World {
    /// Says how the run went, so that runs of two revisions can be compared: `FUSEBOX_SIM_DIGEST=1`.
    #[expect(clippy::print_stdout, reason = "asked for by an environment variable")]
    fn tell_digest(&self, seed: u64) {
        if std::env::var_os("FUSEBOX_SIM_DIGEST").is_some() {
            let Digest { transitions, records } = self.checks.digest;
            let operations: u64 = self.instances.iter().map(|instance| instance.ops).sum();
            let count = self.checks.transitions;
            println!(
                "seed {seed}: {count} transitions {transitions:016x}, {operations} operations, records {records:016x}"
            );
        }
    }
}

#[test]
fn whatever_happens_the_fleet_keeps_its_promises() {
    let (mut steps, mut transitions, mut instances) = (0, 0, 0);
    for seed in seeds(100) {
        let done = run(&Setup::random(seed), |world| {
            storm_and_calm(world);
            world.tell_digest(seed);
            (world.steps, world.checks.transitions, world.instances.len())
        });
        steps += done.0;
        transitions += done.1;
        instances += done.2;
    }
    println!("{instances} instances, {steps} steps, {transitions} transitions");
}

/// Everything that can go wrong on the way of a batch.
fn counting(seed: u64) -> Setup {
    let troubles = Troubles { cuts: 3, outages: 1, freezes: 2, deafness: 1, ..Troubles::default() };
    Setup {
        rule: Rule::Counting,
        wire: Wire::awful(),
        troubles,
        every: Duration::from_millis(100),
        stormy: Duration::from_secs(60),
        healths: vec![(Duration::ZERO, Health::Recovering)],
        ..Setup::quiet(seed, 3 + usize::try_from(seed % 4).unwrap_or(0))
    }
}

fn count(world: &mut World) {
    world.run_for(crate::time::nanos(world.setup.stormy));
    world.mend();
    world.run_for(65 * S);
    world.traffic = false;
    world.run_for(10 * S);
    world.check_books();
}

#[test]
fn what_the_store_holds_is_what_instances_were_told_it_took() {
    for seed in seeds(20) {
        run(&counting(seed), count);
        let troubles = Troubles { crashes: 3, ..counting(seed).troubles };
        run(&Setup { troubles, ..counting(seed) }, count);
    }
}

#[test]
fn a_store_that_forgets_which_batches_it_took_is_found_out() {
    let found = (0..5).filter(|seed| {
        let setup = Setup { forgetful: true, ..counting(*seed) };
        let counted = catch_unwind(AssertUnwindSafe(|| count(&mut World::new(setup, None))));
        counted.is_err_and(|said| {
            said.downcast_ref::<String>().is_some_and(|said| said.contains("failures the store took"))
        })
    });
    assert_eq!(found.count(), 5);
}
