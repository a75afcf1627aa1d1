//! One instance over a store, beside a machine without one: whatever is done to both must come to the same.

use std::time::Duration;

use super::super::event::{At, S};
use super::super::setup::{Clocks, Setup};
use super::super::world::World;
use super::schedule::{Ending, Event, Hold, Step};
use crate::circuit::{
    Decision, Detector, Fact, Facts, Generation, Input, Machine, Outcome, Override, PermitId, RejectReason, Rules,
    State, StepContext, TransitionReason,
};
use crate::clock::Clock;
use crate::time::{Timestamp, nanos};

/// The time that an instance has to speak with its store: a suspicion and two polls.
const TALK: At = 2_500 * S / 1_000;

/// From one state to another, and why.
type Change = (State, State, TransitionReason);
/// A difference, in words.
pub(super) type Same = Result<(), String>;

pub(super) struct Pair {
    world: World,
    machine: Machine,
    rules: Rules,
    /// What the clocks show.
    shown: At,
    /// Calls on their way: the machine's permit and the instance's.
    running: Vec<(PermitId, PermitId)>,
    /// The generation of the machine in which a call was told that there is no lease yet.
    awaited_in: Option<Generation>,
    /// What both said happened, as far as they agree that it did.
    alone: Vec<Change>,
    /// With each: it was the fleet's.
    shared: Vec<(Change, bool)>,
    would_open: (Vec<Fact>, Vec<Fact>),
}

impl Pair {
    pub(super) fn new(setup: Setup) -> Self {
        let made = setup.make("alone", 0, 1);
        let rules = made.rules;
        let mut world = World::new(setup, super::super::runner::tail());
        world.checks.facts = Some(Vec::new());
        // From the first answer on, the store's clock is known exactly.
        let shown = world.now;
        world.stop_clocks(shown);
        world.run_for(TALK);
        let machine = Machine::new(made.detector, &rules, Generation::new(1), world.instances[0].clock.now());
        Self {
            world,
            machine,
            rules,
            shown,
            running: Vec::new(),
            awaited_in: None,
            alone: Vec::new(),
            shared: Vec::new(),
            would_open: (Vec::new(), Vec::new()),
        }
    }

    /// Does all that to both.
    pub(super) fn play(setup: &Setup, steps: &[Step]) -> Same {
        let mut pair = Self::new(setup.clone());
        let mut played = steps.iter().enumerate();
        let same =
            played.try_for_each(|(nth, step)| pair.take(step).map_err(|why| format!("step {nth}, {step:?}: {why}")));
        super::super::runner::show_tail(&pair.world);
        same
    }

    /// How often the engine looks after these steps, while nothing happens and no clock but its own goes on.
    pub(super) fn turns_after(setup: &Setup, steps: &[Step]) -> u64 {
        let mut pair = Self::new(setup.clone());
        steps.iter().try_for_each(|step| pair.take(step)).unwrap_or_default();
        let before = pair.instance().books().turns;
        pair.talk();
        pair.instance().books().turns - before
    }

    fn take(&mut self, step: &Step) -> Same {
        if !step.after.is_zero() {
            self.pass(step.after)?;
        }
        self.event(&step.event)?;
        self.talk();
        self.compare()
    }

    /// Time passes, and both are looked at.
    fn pass(&mut self, time: Duration) -> Same {
        self.move_clocks(time);
        self.look();
        self.talk();
        self.notice_deadline();
        self.compare()
    }

    /// An instance is to notice by itself that its probe has outlived its deadline; until it does, it is asked. Named
    /// difference: a round that was in vain for too long ends when the record is next written, whatever for.
    fn notice_deadline(&mut self) {
        const LEAST_PATIENCE: Duration = Duration::from_secs(60);
        let now = self.now();
        let is_over = self.machine.state.history().round.as_ref().is_some_and(|round| {
            round.next_expiry().is_some_and(|at| at <= now)
                || round.fruitless_since.is_some_and(|since| now.since(since) >= LEAST_PATIENCE)
        });
        if self.machine.state() == State::HalfOpen && is_over {
            self.alone(Input::Poll);
            self.shared(Input::Poll);
            self.talk();
        }
    }

    fn look(&mut self) {
        self.alone(Input::Look);
        self.shared(Input::Look);
    }

    fn move_clocks(&mut self, time: Duration) {
        self.shown += nanos(time);
        self.world.stop_clocks(self.shown);
    }

    fn now(&self) -> Timestamp {
        self.world.instances[0].clock.now()
    }

    fn instance(&self) -> &super::super::member::TestMember {
        &self.world.instances[0].members[0]
    }

    fn alone(&mut self, input: Input<'_>) -> Decision {
        let (mut facts, at) = (Facts::default(), StepContext { now: self.now(), seed: 0 });
        let decision = self.machine.step(&self.rules, input, at, &mut facts);
        for fact in facts.iter() {
            match fact {
                Fact::Transition(change) => self.alone.push((change.from, change.to, change.reason)),
                fact @ Fact::WouldOpen(_) => self.would_open.0.push(fact),
                _ => {}
            }
        }
        decision
    }

    fn shared(&mut self, input: Input<'_>) -> Decision {
        self.world.set_clock(0);
        let decision = self.instance().step(input);
        self.world.pump_all_of(0);
        self.hear();
        decision
    }

    fn hear(&mut self) {
        self.world.check(0);
        for fact in self.world.checks.facts.iter_mut().flat_map(std::mem::take) {
            match fact {
                Fact::Transition(change) => {
                    self.shared.push(((change.from, change.to, change.reason), change.fleet.is_some()));
                }
                fact @ Fact::WouldOpen(_) => self.would_open.1.push(fact),
                _ => {}
            }
        }
    }

    /// Gives the instance time, by its engine's clock, while the other clocks stand still.
    fn talk(&mut self) {
        let until = self.world.now + TALK;
        while self.world.step(until) {}
        self.hear();
        self.follow_round();
    }

    /// Named difference: where a fleet decides, half-open begins when the lease is fetched, and a probe that outlived its
    /// deadline is noticed then; the machine does either when it is next asked.
    fn follow_round(&mut self) {
        let (one, other) = (self.machine.state(), self.instance().state());
        let is_over = self.machine.state.history().open_until <= self.now();
        if one == State::Open && is_over && other == State::HalfOpen {
            if let Decision::Admitted(permit) = self.alone(Input::Acquire { reserve: true }) {
                self.alone(Input::Report { permit, outcome: Outcome::Ignored, took: None });
            }
        } else if one == State::HalfOpen && other == State::Open {
            self.alone(Input::Poll);
        }
    }

    fn event(&mut self, event: &Event) -> Same {
        match *event {
            Event::Call(ending) => {
                let before = self.running.len();
                self.begin()?;
                if self.running.len() > before { self.end(0, ending) } else { Ok(()) }
            }
            Event::Begin => self.begin(),
            Event::Head(nth, took) => self.answer(nth, took),
            Event::End(nth, ending) => self.end(nth, ending),
            Event::Burst(calls, failed) => self.burst(calls, failed),
            Event::Trip => self.command(Input::Trip),
            Event::Reset => self.command(Input::Reset),
            Event::Resume => self.command(Input::Resume),
            Event::Hold(Hold { kind, expires_in }) => {
                let order = match kind {
                    0 => Override::force_open("maintenance"),
                    1 => Override::disable("load test"),
                    _ => Override::dry_run("new limits"),
                };
                let order = expires_in.map_or(order.clone(), |time| order.expires_after(time));
                self.command(Input::Override(&order))
            }
        }
    }

    fn command(&mut self, input: Input<'_>) -> Same {
        let (alone, shared) = (self.alone(input), self.shared(input));
        if alone == shared { Ok(()) } else { Err(format!("alone {alone:?}, shared {shared:?}")) }
    }

    /// A call asks.
    fn begin(&mut self) -> Same {
        let mut shared = self.ask();
        if matches!(shared, Decision::Rejected { reason: RejectReason::AwaitingLease, until: Some(_) }) {
            // Named difference: a call may be told so once in a generation.
            let again = self.awaited_in.replace(self.machine.generation()) == Some(self.machine.generation());
            if again {
                return Err("a second call awaits a lease in one generation".to_owned());
            }
            self.talk();
            shared = self.ask();
        }
        let alone = self.alone(Input::Acquire { reserve: false });
        match (alone, shared) {
            (Decision::Admitted(alone), Decision::Admitted(shared))
                if alone.lease.is_some() == shared.lease.is_some() =>
            {
                self.running.push((alone, shared));
                Ok(())
            }
            // An instance knows when it is worth coming back; a machine does not.
            (
                Decision::Rejected { reason: RejectReason::ProbesBusy, .. },
                Decision::Rejected { reason: RejectReason::ProbesBusy, until: Some(_) },
            ) => Ok(()),
            _ if alone == shared => Ok(()),
            _ => Err(format!("a call: alone {alone:?}, shared {shared:?}")),
        }
    }

    fn ask(&mut self) -> Decision {
        self.world.set_clock(0);
        let decision = self.instance().ask();
        self.world.pump_all_of(0);
        self.hear();
        decision
    }

    /// The dependency answers a call, and the response goes on.
    fn answer(&mut self, nth: usize, took: Option<Duration>) -> Same {
        let Some(nth) = self.running.len().checked_sub(nth + 1) else {
            return Ok(());
        };
        let (alone, shared) = self.running[nth];
        let alone = self.alone(Input::Accept { permit: alone, took });
        let shared = self.shared(Input::Accept { permit: shared, took });
        if alone == shared { Ok(()) } else { Err(format!("a head: alone {alone:?}, shared {shared:?}")) }
    }

    fn end(&mut self, nth: usize, Ending { outcome, took }: Ending) -> Same {
        let Some(nth) = self.running.len().checked_sub(nth + 1) else {
            return Ok(());
        };
        let (alone, shared) = self.running.remove(nth);
        let alone = self.alone(Input::Report { permit: alone, outcome, took });
        let shared = self.shared(Input::Report { permit: shared, outcome, took });
        if alone == shared { Ok(()) } else { Err(format!("an end: alone {alone:?}, shared {shared:?}")) }
    }

    /// Named difference: from the call that meets the rule until the verdict, calls go on; the fleet of one opens for
    /// what the first of them met all the same. In a dry run they would be evidence for one and not for the other.
    fn burst(&mut self, calls: usize, failed: u32) -> Same {
        if self.machine.state() != State::Closed || self.machine.overridden().is_some() {
            return Ok(());
        }
        let first = self.running.len();
        (0..calls).try_for_each(|_| self.begin())?;
        let permits = self.running.split_off(first);
        for (nth, (alone, shared)) in permits.into_iter().enumerate() {
            let outcome = if failed >> nth & 1 == 1 { Outcome::Failure } else { Outcome::Success };
            self.alone(Input::Report { permit: alone, outcome, took: None });
            self.world.set_clock(0);
            self.instance().step(Input::Report { permit: shared, outcome, took: None });
        }
        self.world.pump_all_of(0);
        Ok(())
    }

    /// Both are in one state, for one reason, until the same time, with the same counts and the same past.
    fn compare(&mut self) -> Same {
        let instance = self.instance();
        let (one, other) = (self.machine.state(), instance.state());
        let history = self.machine.state.history();
        // An override is not over with any cooldown.
        let cools = |state| state == State::Open && self.machine.overridden().is_none();
        let alone = (one, history.reason, Some(history.open_until).filter(|_| cools(one)));
        let (open_until, reason) = instance.history();
        let shared = (other, reason, Some(open_until).filter(|_| cools(other)));
        if alone != shared {
            return Err(format!("alone {alone:?}, shared {shared:?}"));
        }
        if instance.is_overridden() != self.machine.overridden().is_some() {
            return Err("an override stands for one of them".to_owned());
        }
        if one == State::Closed {
            let (alone, shared) = (self.machine.tallies(self.now()), instance.tallies());
            if alone != shared {
                return Err(format!("alone {alone:?}, shared {shared:?}"));
            }
        }
        let (alone, shared) = &self.would_open;
        if alone != shared {
            return Err(format!("would have opened alone {:?}, shared {:?}", self.would_open.0, self.would_open.1));
        }
        let (alone, shared) = (&self.alone, self.past());
        if *alone == shared { Ok(()) } else { Err(format!("alone {alone:?}, shared {shared:?}")) }
    }

    /// The instance's changes of state. What it decides by itself becomes the fleet's, which it then says once more.
    fn past(&self) -> Vec<Change> {
        let mut past: Vec<Change> = Vec::new();
        let mut own = None;
        for &((from, to, reason), is_fleets) in &self.shared {
            if !is_fleets || own != Some((to, reason)) {
                past.push((from, to, reason));
            }
            own = (!is_fleets).then_some((to, reason));
        }
        past
    }
}

/// One instance, whose clock shows another time than the store's.
pub(super) fn one(seed: u64, detector: fn() -> Box<dyn Detector>) -> Setup {
    Setup { detector: Some(detector), clocks: Clocks::Skewed, ..Setup::quiet(seed, 1) }
}
