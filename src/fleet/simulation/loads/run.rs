//! One run of a fleet under load.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::super::event::{At, ORIGIN, S, name};
use super::super::rng::Chance;
use super::super::runner;
use super::super::setup::Setup;
use super::super::world::World;
use super::load::Load;
use super::truth::Truth;
use crate::circuit::detector::Detector;
use crate::circuit::{Cooldown, Decision, Outcome, RejectReason, State};
use crate::clock::Clock;
use crate::time::Timestamp;

pub(in super::super) struct Run {
    pub(in super::super) load: Load,
    pub(in super::super) instances: usize,
    /// Calls of an instance a second.
    pub(in super::super) rate: f64,
    pub(in super::super) detector: fn() -> Box<dyn Detector>,
    pub(in super::super) seconds: u64,
    pub(in super::super) push: bool,
    pub(in super::super) seed: u64,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Outcomes {
    pub(in super::super) calls: u64,
    /// Rejected by an open or half-open circuit.
    pub(in super::super) rejected: u64,
    /// Rejected by an instance that awaited a verdict.
    pub(in super::super) alone: u64,
    pub(in super::super) openings: u64,
    /// Openings for which the one breaker had no reason.
    pub(in super::super) wrong: u64,
    /// Times at which the one breaker would have opened, a moment apart.
    pub(in super::super) truths: u64,
    /// All that the store was asked, polls included.
    pub(in super::super) operations: u64,
    /// Those that write.
    pub(in super::super) commits: u64,
    pub(in super::super) most_bytes: usize,
    /// How many times instances were told that their window is short.
    pub(in super::super) short_windows: u64,
    /// From the one breaker's verdict on the outage to the fleet's, and until all instances knew.
    pub(in super::super) decided: Option<Duration>,
    pub(in super::super) known: Option<Duration>,
}

/// A run under way.
struct UnderLoad {
    world: World,
    truth: Truth,
    out: Outcomes,
    /// The record's generation that was looked at last.
    generation: u64,
    /// When the one breaker would first have opened for the outage.
    first_met: Option<At>,
}

impl Run {
    pub(in super::super) fn run(&self) -> Outcomes {
        let setup = Setup { detector: Some(self.detector), ..Setup::quiet(self.seed, self.instances) };
        let setup = Setup { cooldown: Cooldown::fixed(Duration::from_secs(1)), ..setup };
        let mut world = World::new(setup, runner::tail());
        if !self.push {
            world.instances.iter_mut().for_each(|instance| instance.deaf = true);
        }
        world.run_for(2 * S);
        let before: u64 = world.instances.iter().map(|instance| instance.ops).sum();
        let mut chance = Chance::new(self.seed ^ 0x10ad);
        let mut next: BinaryHeap<_> =
            (0..self.instances).map(|at| Reverse((world.now + chance.gap(self.rate), at))).collect();
        let (start, end) = (world.now, world.now + self.seconds * S);
        let outage_at = start + (end - start) / 2;
        // One instance is judged by what its own detector says, by its own clock.
        let truth = Truth::new((self.detector)(), self.instances > 1);
        let mut load = UnderLoad { world, truth, out: Outcomes::default(), generation: 0, first_met: None };
        while let Some(Reverse((at, who))) = next.pop() {
            if at > end || load.out.known.is_some() {
                break;
            }
            next.push(Reverse((at + chance.gap(self.rate), who)));
            load.run_until(at);
            load.out.calls += 1;
            let is_out = self.load == Load::Outage && at >= outage_at;
            let fails = self.load.fails(load.out.calls, who, chance.below(1_000), is_out);
            load.call(at, who, fails, self.instances > 1, is_out);
        }
        let UnderLoad { world, truth, mut out, .. } = load;
        let after: u64 = world.instances.iter().map(|instance| instance.ops).sum();
        (out.operations, out.commits) = (after - before, world.checks.commits);
        (out.most_bytes, out.truths) = (world.checks.most_bytes, truth.times);
        out.short_windows = world.checks.short_windows;
        runner::show_tail(&world);
        out
    }
}

const fn brief(fails: bool) -> &'static str {
    if fails { "fails" } else { "succeeds" }
}

impl UnderLoad {
    fn run_until(&mut self, at: At) {
        while self.world.step(at) {
            self.look();
        }
    }

    fn call(&mut self, at: At, who: usize, fails: bool, is_one_of_many: bool, is_out: bool) {
        self.world.set_clock(who);
        let member = self.world.instances[who].members[0].clone();
        let was_closed = member.state() == State::Closed;
        match member.ask() {
            Decision::Admitted(permit) => {
                member.report(permit, if fails { Outcome::Failure } else { Outcome::Success });
                if was_closed && permit.lease.is_none() {
                    let exact = Timestamp::from_nanos(at + ORIGIN);
                    let now = if is_one_of_many { exact } else { self.world.instances[who].clock.now() };
                    let is_met = self.truth.sees(at, now, fails);
                    self.world
                        .note(|| format!("{who} {}{}", brief(fails), if is_met { ", by which it is met" } else { "" }));
                    if is_met && is_out {
                        self.first_met.get_or_insert(at);
                    }
                }
            }
            Decision::Rejected { reason: RejectReason::AwaitingVerdict, .. } => self.out.alone += 1,
            _ => self.out.rejected += 1,
        }
        self.world.pump_all_of(who);
        self.world.check(who);
        self.look();
    }

    /// Looks whether the fleet has opened, and whether it was right.
    fn look(&mut self) {
        let Some(record) = self.world.checks.record(&name(0)) else {
            return;
        };
        if let (Some(first), Some(_)) = (self.first_met, self.out.decided)
            && self.world.states(0).iter().all(|state| *state != State::Closed)
        {
            self.out.known.get_or_insert(Duration::from_nanos(self.world.now - first));
        }
        if record.generation().get() == self.generation {
            return;
        }
        self.generation = record.generation().get();
        match (record.state(), record.verdict_at()) {
            (State::Open, Some(verdict)) => {
                self.out.openings += 1;
                // The store's clock is a second ahead.
                let moment = verdict.as_nanos() - ORIGIN - S;
                if !self.truth.is_met_at(moment) {
                    self.out.wrong += 1;
                    self.world.note(|| format!("opened for nothing, by what was there at {moment}: {record:?}"));
                }
                if let Some(first) = self.first_met {
                    self.out.decided.get_or_insert(Duration::from_nanos(self.world.now.saturating_sub(first)));
                }
            }
            (State::Closed, _) => self.truth.reset(),
            _ => {}
        }
    }
}
