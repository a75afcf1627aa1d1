//! A breaker that a fleet shares, as one of its instances has it.

use std::sync::Arc;
use std::time::Duration;

use super::batch::{Command, Probed, Vote};
use super::state::{Contact, ReplicaState, Terms, Wake};
use super::status::{FleetStatus, WhenDown};
use crate::circuit::{
    Admission, Call, Decision, Fact, Facts, FleetFact, Input, Machine, Outcome, PermitId, ProbeRound, RefusedBy,
    RejectReason, Rules, Run, State, StateScope, StepContext, TransitionReason, View,
};
use crate::time::Timestamp;

/// A machine, with all that the protocol between it and its fleet needs: deterministic, without clock, lock or I/O.
///
/// Calls and commands go in by [`step`](Self::step). The engine asks by [`poll`](Self::poll) what to ask the store, and
/// brings the answers by [`handle`](Self::handle).
#[derive(Debug)]
pub(crate) struct Replica {
    pub(super) machine: Machine,
    pub(super) state: ReplicaState,
}

/// What the engine brings along when it asks or tells a replica something.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    /// The engine's time: timers are by this clock.
    pub(crate) now: Timestamp,
    /// The breaker's time: calls and deadlines are by this one.
    pub(crate) at: StepContext,
    pub(crate) rules: &'a Rules,
    /// What happens is added here.
    pub(crate) facts: &'a mut Facts,
}

/// A call that finds no lease is told to come back after this, where nothing better is known.
const LEASE_FETCH_TIME: Duration = Duration::from_millis(50);
/// A lease that no call uses goes back after this.
const LEASE_IDLE_TIMEOUT: Duration = Duration::from_secs(1);
/// What a breaker has left to say when it is dropped is sent within this time, or never.
const DEPARTURE_TIME: Duration = Duration::from_secs(1);
/// Commands that wait, at most; no operator gives more.
const MAX_COMMANDS: usize = 64;

impl Replica {
    /// Makes a machine a replica. `now` is the engine's time.
    pub(crate) fn new(machine: Machine, terms: Terms, now: Timestamp) -> Self {
        let state = ReplicaState::new(&*machine.detector, terms, now);
        Self { machine, state }
    }

    pub(crate) const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The newest time of the breaker's clock that is known.
    pub(crate) fn last_time(&self) -> Timestamp {
        let heard = self.state.known.heard.map_or(Timestamp::ZERO, |heard| heard.here);
        self.machine.since().max(heard)
    }

    /// Decides about one input; what happens is added to `facts`. Does what [`Machine::step`] does, except that the fleet
    /// gives out the leases of probes and judges pooled evidence.
    pub(crate) fn step(&mut self, rules: &Rules, input: Input<'_>, at: StepContext, facts: &mut Facts) -> Decision {
        let mut news = Facts::default();
        let decision = match input {
            Input::Acquire { reserve } => self.acquire(rules, reserve, at, &mut news),
            Input::Report { permit, outcome, took } if permit.lease.is_none() => {
                self.report(rules, permit, (outcome, took), at, &mut news)
            }
            Input::Report { permit, outcome, took } if self.state.asks_fleet() => {
                let failed = rules.judge_probe(outcome, took);
                let ended = |lease| Probed::ended(lease, failed, outcome.retry_after());
                self.tell_probe(permit, at.now, ProbeRound::give_back, ended)
            }
            Input::Begin(permit) if self.state.asks_fleet() => self.begin(permit, at.now, &mut news),
            Input::Accept(permit) if self.state.asks_fleet() => {
                self.tell_probe(permit, at.now, ProbeRound::accept, Probed::accepted)
            }
            Input::Poll if self.state.asks_fleet() => self.poll_admission(rules, at, &mut news),
            _ => self.machine.step(rules, input, at, &mut news),
        };
        self.learn(&news, at.now, facts);
        match input {
            Input::Trip if decision == Decision::Done => self.command(Command::Trip, at.now),
            Input::Reset if decision == Decision::Done => self.command(Command::Reset, at.now),
            Input::Override(order) => self.command(Command::Override(order.clone()), at.now),
            _ => {}
        }
        decision
    }

    /// Takes in successes as [`Machine::record_successes`] does; the newest of them ended at `latest`.
    pub(crate) fn record_successes(&mut self, count: u64, at: Timestamp, latest: Timestamp, facts: &mut Facts) {
        if count > 0 && self.machine.state() == State::Closed && self.records() {
            self.machine.record_successes(count, at, facts);
            // Behind the failures that this instance saw before them.
            self.state.saw(Run::new(&Call::success(latest), count), None);
        }
    }

    /// How calls go through until the next step.
    pub(crate) fn view(&self) -> View {
        let view = self.machine.view();
        let until = Timestamp::MAX;
        let admission = match self.state.stand_in().filter(|_| self.machine.overridden().is_none()) {
            None => return View { clean: view.clean && !self.state.shares_successes(), ..view },
            Some(WhenDown::Admit) => Admission::Unjudged { until, recorded: false },
            Some(WhenDown::Local | WhenDown::Reject) => Admission::None { until, by: RefusedBy::Store },
        };
        View { admission, clean: false, ..view }
    }

    /// How many more probes may go out now.
    pub(crate) fn free_probes(&self, rules: &Rules) -> u32 {
        if self.state.asks_fleet() { self.leases_in_hand() } else { self.machine.free_probes(rules) }
    }

    /// Whose state it is: this instance's own, or the fleet's.
    pub(crate) fn scope(&self) -> StateScope {
        let is_fleets = !self.state.known.diverged && self.state.follows_fleet();
        if is_fleets { StateScope::Fleet } else { StateScope::Instance }
    }

    /// How this instance stands with its fleet.
    pub(crate) fn status(&self, now: Timestamp) -> FleetStatus {
        let known = &self.state.known;
        let away = if let Contact::Away(why) = &known.contact { Some(why.clone()) } else { None };
        // Votes are by the store's clock, which is as far from the last word of it as this one is.
        let store = known.heard.map_or(Timestamp::ZERO, |heard| heard.store_at(now));
        let votes = known.last_record.as_ref().map_or(0, |record| record.live_votes(store));
        FleetStatus {
            generation: self.state.generation(),
            away,
            heard: known.heard.map(|heard| now.since(heard.here)),
            waiting: self.state.outbox.calls.count(),
            forgotten: self.state.outbox.forgotten,
            votes: (!self.state.is_pooled()).then_some(votes),
        }
    }

    /// A caller waits until everything is sent and the newest is known.
    pub(crate) fn begin_flush(&mut self) {
        self.state.timers.not_before = Timestamp::ZERO;
        if self.state.timers.flush.replace(false).is_none() {
            self.return_idle_leases(Timestamp::MAX);
        }
    }

    /// Ends a flush for which nothing is left to do, or nothing can be done now; tells whether there was one.
    pub(crate) fn end_flush(&mut self, store_is_down: bool) -> bool {
        let is_done = self.state.timers.flush == Some(true) || self.state.in_flight.failures > 0 || store_is_down;
        is_done && self.state.in_flight.request.is_none() && self.state.timers.flush.take().is_some()
    }

    /// The engine finds the store away: this instance goes on by itself. `is_news`: listeners do not know yet.
    pub(crate) fn go_without_store(&mut self, why: Option<&Arc<str>>, is_news: bool, turn: &mut Turn<'_>) {
        self.state.known.store_is_down = true;
        self.go_alone(why, turn);
        if is_news {
            turn.facts.push(Fact::Fleet(FleetFact::StoreDegraded));
        }
    }

    /// The engine has had an answer of the store again. `is_news`: listeners have heard that it was away.
    pub(crate) fn store_came_back(&mut self, is_news: bool, turn: &mut Turn<'_>) {
        self.state.known.store_is_down = false;
        if is_news {
            turn.facts.push(Fact::Fleet(FleetFact::StoreRecovered));
        }
        self.reload();
    }

    /// Whatever is known may be old.
    pub(crate) const fn reload(&mut self) {
        self.state.known.must_load = true;
    }

    /// What was asked for has not been sent, or its answer was lost: it is asked for again.
    pub(crate) fn ask_again(&mut self) {
        self.state.known.must_load |= self.state.in_flight.request.take().is_some();
    }

    /// The breaker is dropped. `now` is the engine's time.
    pub(crate) fn depart(&mut self, now: Timestamp) {
        self.return_idle_leases(Timestamp::MAX);
        self.state.timers.not_before = Timestamp::ZERO;
        self.state.timers.departing = Some(now + DEPARTURE_TIME);
        self.state.timers.flush = Some(true);
    }

    /// Tells whether nothing of a dropped breaker is left to be sent, or it cannot be.
    pub(super) fn has_departed(&self, now: Timestamp) -> bool {
        let in_flight = &self.state.in_flight;
        let waits = in_flight.request.is_some() || self.state.outbox.batch.is_some() || in_flight.combining.is_some();
        let is_over = |until| !waits || now >= until || in_flight.failures > 0;
        self.state.timers.departing.is_some_and(is_over)
    }

    /// Open with its cooldown over, or half-open.
    fn is_ready_for_probes(&self, now: Timestamp) -> bool {
        match self.machine.state() {
            State::Closed => false,
            State::Open => self.machine.state.history().open_until <= now,
            State::HalfOpen => true,
        }
    }

    fn records(&self) -> bool {
        self.state.stand_in().is_none() && self.machine.records()
    }

    pub(super) fn round(&self) -> Option<&ProbeRound> {
        self.machine.state.history().round.as_ref()
    }

    pub(super) fn round_mut(&mut self) -> Option<&mut ProbeRound> {
        self.machine.state.past_mut()?.round.as_mut()
    }

    pub(super) fn leases_in_hand(&self) -> u32 {
        self.round().map_or(0, ProbeRound::in_hand)
    }

    fn acquire(&mut self, rules: &Rules, reserve: bool, at: StepContext, facts: &mut Facts) -> Decision {
        let input = Input::Acquire { reserve };
        self.machine.expire_override(at.now, facts);
        if self.machine.overridden().is_some() {
            return self.machine.step(rules, input, at, facts);
        }
        self.end_hopeless_round(rules, at, facts);
        if let Some(when_down) = self.state.stand_in() {
            let rejected = Decision::Rejected { reason: RejectReason::StoreDown, until: None };
            return if when_down == WhenDown::Admit { self.machine.admitted(None) } else { rejected };
        }
        if !self.is_ready_for_probes(at.now) {
            return self.machine.step(rules, input, at, facts);
        }
        if self.state.asks_fleet() {
            return self.acquire_lease(at.now, reserve);
        }
        // Whatever round it is, the fleet has leases of that number as well.
        let round = &mut self.machine.state.history_mut().round;
        round.get_or_insert_with(|| ProbeRound::new(&rules.probes)).number_own_leases();
        self.machine.step(rules, input, at, facts)
    }

    /// A call asks that only a lease of the fleet's lets through.
    fn acquire_lease(&mut self, now: Timestamp, reserve: bool) -> Decision {
        if let Some(lease) = self.round_mut().and_then(|round| round.use_hand(now, reserve)) {
            return self.machine.admitted(Some(lease));
        }
        self.state.want_probe(now);
        // While others probe, how long that takes is not known.
        let until = (self.machine.state() == State::Open).then(|| now + LEASE_FETCH_TIME);
        Decision::Rejected { reason: RejectReason::ProbesBusy, until }
    }

    fn poll_admission(&mut self, rules: &Rules, at: StepContext, facts: &mut Facts) -> Decision {
        self.machine.expire_override(at.now, facts);
        self.end_hopeless_round(rules, at, facts);
        if !self.is_ready_for_probes(at.now) || self.leases_in_hand() > 0 {
            return Decision::Done;
        }
        self.state.want_probe(at.now);
        Decision::Busy
    }

    /// A reservation becomes a call.
    fn begin(&mut self, permit: PermitId, now: Timestamp, facts: &mut Facts) -> Decision {
        self.machine.expire_override(now, facts);
        let is_good = match permit.lease {
            None => permit.generation == self.machine.generation(),
            Some(_) => self.place(permit, now, ProbeRound::begin_in_hand).is_some(),
        };
        if is_good { Decision::Admitted(permit) } else { Decision::Stale }
    }

    /// A probe has something to tell, unless it has lost its place; what that means is the fleet's to decide.
    fn tell_probe(
        &mut self,
        permit: PermitId,
        now: Timestamp,
        f: fn(&mut ProbeRound, u32) -> bool,
        what: impl FnOnce(u32) -> Probed,
    ) -> Decision {
        let Some(lease) = self.place(permit, now, f) else {
            return Decision::Stale;
        };
        self.state.outbox.probes.push(what(lease));
        self.state.wake(Wake::Now);
        Decision::Done
    }

    /// Does something with the place of a probe in the round; returns its lease, unless the place is lost.
    fn place(&mut self, permit: PermitId, now: Timestamp, f: fn(&mut ProbeRound, u32) -> bool) -> Option<u32> {
        let lease = permit.lease.filter(|_| permit.generation == self.machine.generation())?;
        self.machine.expire_leases(now);
        self.round_mut().is_some_and(|round| f(round, lease)).then_some(lease)
    }

    /// A call has ended that was no probe.
    fn report(
        &mut self,
        rules: &Rules,
        permit: PermitId,
        (outcome, took): (Outcome, Option<Duration>),
        at: StepContext,
        facts: &mut Facts,
    ) -> Decision {
        if permit.generation != self.machine.generation() {
            return Decision::Stale;
        }
        if !self.records() {
            return Decision::Done;
        }
        if let Some(failed) = rules.judge(outcome, took) {
            let call = if failed { Call::failure(at.now) } else { Call::success(at.now) };
            let slow = took.filter(|took| rules.is_slow(Some(*took)));
            self.state.saw(Run::new(&call.took(slow), 1), outcome.retry_after());
        }
        let Some(tally) = self.machine.observe(rules, outcome, took, at.now, facts) else {
            return Decision::Done;
        };
        if !self.state.asks_fleet() || !self.state.is_pooled() {
            self.machine.trip(rules, tally, outcome, at, facts);
        } else if !std::mem::replace(&mut self.state.outbox.awaits_verdict, true) {
            self.state.wake(Wake::Now);
        }
        Decision::Done
    }

    /// Ends a round that cannot succeed. Where the fleet decides, its record knows of the same deadlines, and only leases go.
    fn end_hopeless_round(&mut self, rules: &Rules, at: StepContext, facts: &mut Facts) {
        if self.state.asks_fleet() {
            self.machine.expire_leases(at.now);
        } else {
            self.machine.end_hopeless_round(rules, at, facts);
        }
    }

    /// Changes of state that this instance decided: the fleet must hear of some, and none is the fleet's yet. All
    /// go on to `facts`.
    pub(super) fn learn(&mut self, news: &Facts, now: Timestamp, facts: &mut Facts) {
        for fact in news.iter() {
            facts.push(fact);
            let Fact::Transition(transition) = fact else {
                continue;
            };
            match transition.reason {
                TransitionReason::OverrideExpired => self.command(Command::Look, now),
                TransitionReason::Resumed => self.command(Command::Resume, now),
                _ => {}
            }
            self.diverge(transition.to, now);
        }
    }

    fn diverge(&mut self, to: State, now: Timestamp) {
        let open_until = self.machine.state.history().open_until;
        let state = &mut self.state;
        state.known.diverged = true;
        state.outbox.wants_probe = None;
        if let Some(voter) = &state.terms.voter
            && to != State::HalfOpen
            && !state.fleet_holds_a_state()
        {
            let until = if to == State::Open { open_until } else { now };
            state.outbox.vote = Some(Vote { voter: voter.name.clone(), cast: now, until });
            state.wake(Wake::Now);
        }
        if to == State::Closed {
            state.known.fleet_evidence = None;
            state.forget_calls();
        }
    }

    /// Something was commanded here, or seen to be over; the fleet must hear of it.
    fn command(&mut self, command: Command, now: Timestamp) {
        let commands = &mut self.state.outbox.commands;
        if commands.len() < MAX_COMMANDS {
            commands.push_back((now, command));
            self.state.wake(Wake::Now);
        }
    }

    /// A lease of the fleet's is in hand: the next call may be a probe.
    pub(super) fn put_in_hand(&mut self, lease: u32, deadline: Timestamp, now: Timestamp) {
        self.state.outbox.wants_probe = None;
        if let Some(round) = &mut self.machine.state.history_mut().round {
            round.put_in_hand(lease, deadline, now + LEASE_IDLE_TIMEOUT);
        }
    }

    /// Gives back the leases in hand that may not be kept beyond `now`.
    pub(super) fn return_idle_leases(&mut self, now: Timestamp) {
        let idle = self.round_mut().map_or_else(Vec::new, |round| round.drop_idle(now));
        let returned = idle.into_iter().map(|lease| Probed::ended(lease, None, None));
        self.state.outbox.probes.extend(returned);
    }

    /// Shows the detector what the fleet has seen, and what only this instance has.
    pub(super) fn replay(&mut self, facts: &mut Facts) {
        if self.state.is_pooled() {
            let state = &self.state;
            self.machine.judge(facts, |detector| state.replay(detector));
        }
    }
}
