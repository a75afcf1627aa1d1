//! A breaker that a fleet shares, as one of its instances has it.

use std::sync::Arc;
use std::time::Duration;

use super::batch::{Command, ProbeNews, Probed, Vote};
use super::clocks::translate;

use super::pooled::Trip;
use super::state::{Contact, Demand, KnownTrouble, POLL_INTERVAL, ReplicaState, Terms, Wake};
use super::status::{FleetStatus, WhenDown};
use crate::circuit::{
    Admission, Call, Decision, Fact, Facts, FleetFact, History, Input, Machine, Outcome, PartTally, PermitId,
    ProbeRound, RefusedBy, RejectReason, Rules, Run, State, StateScope, StepContext, TransitionReason, Verdict, View,
};
use crate::store::StoreTrouble;
use crate::time::Timestamp;

/// A machine, with all that the protocol between it and its fleet needs: deterministic, without clock, lock or I/O.
///
/// Calls and commands go in by [`step`](Self::step). The engine asks by [`poll`](Self::poll) what to ask the store, and
/// brings the answers by [`handle`](Self::handle).
#[derive(Debug)]
pub(crate) struct Replica {
    pub(super) machine: Machine,
    pub(super) state: Box<ReplicaState>,
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

/// What a breaker has left to say when it is dropped is sent within this time, or never.
const DEPARTURE_TIME: Duration = Duration::from_secs(1);
/// Failures of one moment that are taken over, at most.
const MAX_TAKEN_OVER: u32 = 1_024;
/// Commands that wait, at most; no operator gives more.
const MAX_COMMANDS: usize = 64;

impl Replica {
    /// Makes a machine a replica, which goes by the number `writer`.
    pub(crate) fn new(machine: Machine, writer: u64, terms: Terms) -> Self {
        let state = ReplicaState::new(&*machine.detector, writer, terms);
        Self { machine, state: Box::new(state) }
    }

    pub(crate) const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The newest time of the breaker's clock that is known.
    pub(crate) fn last_time(&self) -> Timestamp {
        let heard = self.state.own.heard.map_or(Timestamp::ZERO, |heard| heard.here);
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
                let (failed, slow) = (outcome.verdict(), rules.slowness.passed(took));
                if failed.is_none() && self.state.wanted_since().is_some() {
                    // Another instance has the place, until this one has a call again.
                    self.state.own.has_calls = false;
                }
                self.tell_probe(permit, at.now, ProbeRound::give_back, |lease| {
                    let news = ProbeNews::of(&lease, outcome, failed);
                    let slow = slow.max(lease.passed);
                    Probed { slow, retry_after: outcome.retry_after(), ..Probed::new(lease.id, news, at.now) }
                })
            }
            Input::Begin(permit) if self.state.asks_fleet() => self.begin(rules, permit, at.now, &mut news),
            Input::Accept { permit, took } if self.state.asks_fleet() => {
                let slow = rules.slowness.passed(took);
                let accept = |round: &mut ProbeRound, lease| round.accept(lease, slow, at.now).then_some(lease);
                self.tell_probe(permit, at.now, accept, |lease| Probed {
                    slow,
                    ..Probed::new(lease, ProbeNews::Accepted, at.now)
                })
            }
            Input::Poll => self.poll_admission(rules, at, &mut news),
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
            let openings = self.machine.openings();
            self.machine.record_successes(count, at, facts);
            self.tell_recovery(openings, latest);
            // Behind the failures that this instance saw before them.
            self.state.saw(Run::new(&Call::success(latest), count), None);
        }
    }

    /// How calls go through until the next step.
    pub(crate) fn view(&self) -> View {
        let view = self.machine.view();
        let until = Timestamp::MAX;
        let admission = match self.state.stand_in().filter(|_| self.machine.overridden().is_none()) {
            None => {
                // That there are calls at all must be seen once in each generation: such an instance is to probe.
                let known = &self.state.known;
                let is_at_ease = self.state.own.has_calls && !known.engine_is_lost;
                let clean = view.clean && is_at_ease && !self.state.shares_successes();
                // Each call must be asked for while some are rejected; their outcomes count.
                let admission = self.state.known.protection.map_or(view.admission, |protection| Admission::Unjudged {
                    until: protection.until,
                    recorded: true,
                });
                return View { admission, clean, ..view };
            }
            Some(WhenDown::Admit) => Admission::Unjudged { until, recorded: false },
            Some(WhenDown::Local | WhenDown::Reject) => Admission::None { until, by: RefusedBy::Store },
        };
        View { admission, clean: false, ..view }
    }

    /// What the parts of the detector count. It has seen the calls of this instance; what others have told is counted
    /// as well, where any instance can.
    pub(crate) fn tallies(&self, now: Timestamp) -> Vec<PartTally> {
        let mut parts = self.machine.tallies(now);
        let is_alone = !self.state.is_pooled() || !self.state.is_reachable() || self.state.known.diverged;
        let record =
            self.state.known.last_record.as_ref().filter(|_| !is_alone && self.machine.state() == State::Closed);
        let untold = &self.state.outbox.untold;
        let evidence = record.and_then(|record| record.evidence_of(untold.rule));
        if let Some(evidence) = evidence.filter(|evidence| evidence.has_others(self.state.own.writer)) {
            let store = self.state.store_at(now);
            let sent = self.state.outbox.batch.as_ref().and_then(|taken| taken.batch.telling.as_ref());
            let mut own: Vec<_> = sent.into_iter().flat_map(|telling| telling.calls.iter().copied()).collect();
            own.extend(untold.calls(now, store));
            for (part, tally) in parts.iter_mut().zip(evidence.tallies(self.state.own.writer, &own, store)) {
                part.tally = tally;
            }
        }
        parts
    }

    /// What others have told of failures becomes this instance's own evidence: it goes on alone, from what it knew. Where
    /// good calls count as well, those of others are not known, and its own calls say more.
    pub(super) fn take_over_evidence(&mut self, now: Timestamp, facts: &mut Facts) {
        let (state, writer) = (&self.state, self.state.own.writer);
        let evidence = state.known.last_record.as_ref().and_then(|record| record.evidence_of(state.outbox.untold.rule));
        let Some(evidence) = evidence.filter(|evidence| evidence.has_others(writer)) else {
            return;
        };
        let store = state.store_at(now);
        let mut bad: Vec<_> = evidence.bad_calls();
        if bad.is_empty() {
            return;
        }
        let sent = state.outbox.batch.as_ref().and_then(|taken| taken.batch.telling.as_ref());
        let own = state.outbox.untold.bad_calls(now, store);
        let own = own.iter().chain(sent.into_iter().flat_map(|telling| &telling.calls));
        bad.extend(own.map(|told| (told.at, told.calls.count)));
        bad.sort_unstable();
        self.machine.judge(facts, |detector| {
            detector.reset();
            for (at, count) in bad {
                let call = Call::failure(translate(at, store, now));
                (0..count.min(MAX_TAKEN_OVER)).for_each(|_| detector.record(&call));
            }
        });
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

    /// The newest outage of the store.
    pub(crate) fn outage(&self) -> Option<&Arc<StoreTrouble>> {
        self.state.known.outage.as_ref().map(|outage| &outage.0)
    }

    /// The newest trouble with one of the store's side steps.
    pub(crate) fn impairment(&self) -> Option<&Arc<StoreTrouble>> {
        self.state.known.impairment.as_ref().map(|impairment| &impairment.0)
    }

    /// The store works, and one of its side steps does not, or does again.
    pub(crate) fn hear_of_impairment(&mut self, trouble: &Arc<StoreTrouble>, is_over: bool, turn: &mut Turn<'_>) {
        self.state.known.impairment = Some(KnownTrouble(trouble.clone()));
        turn.facts.push(Fact::Fleet(if is_over { FleetFact::StoreMended } else { FleetFact::StoreImpaired }));
    }

    /// Tells whether the fleet is known to be closed and held by no operator, whatever this instance is.
    pub(crate) fn fleet_is_closed(&self) -> bool {
        self.state.is_reachable() && self.state.generation().is_some() && !self.state.fleet_holds_a_state()
    }

    /// Why this instance is on its own, while it is.
    pub(crate) fn away(&self) -> Option<&Arc<str>> {
        if let Contact::Away(why) = &self.state.known.contact { Some(why) } else { None }
    }

    /// How this instance stands with its fleet.
    pub(crate) fn status(&self, now: Timestamp) -> FleetStatus {
        let known = &self.state.known;
        let trouble = known.trouble.as_ref().filter(|_| !known.store_is_down).map(|(why, _)| why.clone());
        let store = self.state.store_at(now);
        let votes = known.last_record.as_ref().map_or(0, |record| record.live_votes(store));
        let on_its_way = self.state.outbox.batch.as_ref().map_or(0, |batch| batch.calls);
        FleetStatus {
            generation: self.state.generation(),
            away: self.away().cloned(),
            trouble,
            heard: self.state.own.heard.map(|heard| now.since(heard.here)),
            waiting: self.state.outbox.untold.count() + on_its_way,
            forgotten: self.forgotten(),
            votes: (!self.state.is_pooled()).then_some(votes),
            verdict: self.verdict(store),
            awaits_verdict: known.protection.is_some_and(|protection| protection.is_told),
            drifts: known.last_record.as_ref().is_some_and(|record| record.drifts_from(self.state.outbox.untold.rule)),
        }
    }

    /// Calls that the store will never know of.
    pub(crate) fn forgotten(&self) -> u64 {
        self.state.outbox.forgotten
    }

    /// What the fleet was opened for, while it is so.
    fn verdict(&self, store: Timestamp) -> Option<Verdict> {
        let record = self.state.known.last_record.as_ref().filter(|record| record.state() != State::Closed)?;
        let verdict = record.verdict.filter(|_| !self.state.known.diverged)?;
        Some(verdict.shown(store))
    }

    /// A caller waits until everything is sent and the newest is known.
    pub(crate) fn begin_flush(&mut self) {
        self.state.timers.not_before = Timestamp::ZERO;
        self.state.timers.flush = Some(false);
    }

    /// Ends a flush for which nothing is left to do, or nothing can be done now; tells whether there was one.
    pub(crate) fn end_flush(&mut self, store_is_down: bool) -> bool {
        let is_done = self.state.timers.flush == Some(true) || self.state.in_flight.failures > 0 || store_is_down;
        is_done && self.state.in_flight.request.is_none() && self.state.timers.flush.take().is_some()
    }

    /// The engine finds the store away: this instance goes on by itself.
    pub(crate) fn go_without_store(&mut self, outage: &Arc<StoreTrouble>, turn: &mut Turn<'_>) {
        self.state.known.store_is_down = true;
        self.state.known.outage = Some(KnownTrouble(outage.clone()));
        self.go_alone(Some(outage.shared_why()), turn);
        turn.facts.push(Fact::Fleet(FleetFact::StoreDegraded));
    }

    /// No engine runs, or nothing is heard of it: this instance goes on by itself, as without the store.
    pub(crate) fn lose_engine(&mut self, trouble: &Arc<StoreTrouble>, turn: &mut Turn<'_>) {
        if !std::mem::replace(&mut self.state.known.engine_is_lost, true) {
            self.state.known.outage = Some(KnownTrouble(trouble.clone()));
            self.go_alone(Some(trouble.shared_why()), turn);
            turn.facts.push(Fact::Fleet(FleetFact::StoreDegraded));
        }
    }

    /// The engine has a turn: it runs.
    pub(super) fn regain_engine(&mut self, facts: &mut Facts) {
        if std::mem::take(&mut self.state.known.engine_is_lost) {
            facts.push(Fact::Fleet(FleetFact::StoreRecovered));
            self.reload();
        }
    }

    /// This instance may be one of two that were one: from its next batch on it goes by another number, and votes by it.
    pub(crate) fn renew_writer(&mut self, writer: u64) {
        self.state.known.next_writer = Some(writer);
    }

    /// The engine has had an answer of the store again.
    pub(crate) fn store_came_back(&mut self, turn: &mut Turn<'_>) {
        self.state.known.store_is_down = false;
        turn.facts.push(Fact::Fleet(FleetFact::StoreRecovered));
        self.reload();
    }

    /// Whatever is known may be old.
    pub(crate) fn reload(&mut self) {
        self.state.known.must_load = true;
    }

    /// What was asked for has not been sent, or its answer was lost: it is asked for again.
    pub(crate) fn ask_again(&mut self) {
        self.state.known.must_load |= self.state.in_flight.request.take().is_some();
    }

    /// The breaker is dropped. `now` is the engine's time.
    pub(crate) fn depart(&mut self, now: Timestamp) {
        self.return_leases();
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

    fn records(&self) -> bool {
        self.state.stand_in().is_none() && self.machine.records()
    }

    fn acquire(&mut self, rules: &Rules, reserve: bool, at: StepContext, facts: &mut Facts) -> Decision {
        let input = Input::Acquire { reserve };
        self.machine.expire_override(at.now, facts);
        if self.machine.overridden().is_some() {
            return self.machine.step(rules, input, at, facts);
        }
        self.state.own.has_calls = true;
        self.end_hopeless_round(rules, at, facts);
        if let Some(when_down) = self.state.stand_in() {
            let admits = when_down == WhenDown::Admit;
            return if admits { self.machine.admitted(None) } else { store_is_down(at.now) };
        }
        if let Some(until) = self.rejects_until(at.now, facts) {
            return Decision::Rejected { reason: RejectReason::AwaitingVerdict, until: Some(until) };
        }
        if !self.is_ready_for_probes(at.now) {
            return self.machine.step(rules, input, at, facts);
        }
        if self.state.asks_fleet() {
            return self.acquire_lease(rules, at.now, reserve);
        }
        // Whatever round it is, the fleet has leases of that number as well.
        let round = &mut self.machine.state.history_mut().round;
        round.get_or_insert_with(|| ProbeRound::new(&rules.probes)).number_own_leases();
        self.machine.step(rules, input, at, facts)
    }

    /// Answers as [`acquire`](Self::acquire) would; no call is admitted. That there is a caller is noted: else an instance
    /// that asks before each call would never have a lease.
    fn poll_admission(&mut self, rules: &Rules, at: StepContext, facts: &mut Facts) -> Decision {
        self.machine.expire_override(at.now, facts);
        if self.machine.overridden().is_some() {
            return self.machine.step(rules, Input::Poll, at, facts);
        }
        self.end_hopeless_round(rules, at, facts);
        if let Some(when_down) = self.state.stand_in() {
            return if when_down == WhenDown::Admit { Decision::Done } else { store_is_down(at.now) };
        }
        if let Some(until) = self.rejects_until(at.now, facts) {
            return Decision::Rejected { reason: RejectReason::AwaitingVerdict, until: Some(until) };
        }
        if !self.is_ready_for_probes(at.now) || !self.state.asks_fleet() {
            return self.machine.step(rules, Input::Poll, at, facts);
        }
        if self.has_a_lease(at.now) {
            return Decision::Done;
        }
        match self.misses_a_lease(at.now) {
            // As a breaker without a store says it: when the probes end is not known.
            Decision::Rejected { reason: RejectReason::ProbesBusy, .. } => Decision::PROBES_BUSY,
            rejected => rejected,
        }
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
        if let Some(failed) = outcome.verdict() {
            let call = if failed { Call::failure(at.now) } else { Call::success(at.now) };
            let slow = took.filter(|took| rules.is_slow(Some(*took)));
            self.state.saw(Run::new(&call.took(slow), 1), outcome.retry_after());
        }
        let openings = self.machine.openings();
        let tripped = self.machine.observe(rules, outcome, took, at.now, facts);
        self.tell_recovery(openings, at.now);
        let Some(tally) = tripped else {
            return Decision::Done;
        };
        if !self.state.asks_fleet() || !self.state.is_pooled() {
            self.machine.trip(rules, tally, outcome, at, facts);
            return Decision::Done;
        }
        self.state.tripped(Trip { at: at.now, tally, retry_after: outcome.retry_after() });
        if self.machine.overridden().is_none() && self.state.known.protection.is_none() {
            self.protect(at.now);
        }
        Decision::Done
    }

    /// Changes of state that this instance decided: the fleet must hear of some, and none is the fleet's yet. All
    /// go on to `facts`.
    pub(super) fn learn(&mut self, news: &Facts, now: Timestamp, facts: &mut Facts) {
        for fact in news.iter() {
            facts.push(fact);
            if let Fact::WouldOpen(_) = fact {
                self.state.forget_calls();
            }
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
        let &History { open_until, slowness_counts: by_slowness, .. } = self.machine.state.history();
        let state = &mut self.state;
        state.known.diverged = true;
        state.known.protection = None;
        // A call of the generation that opens is one that is to come again.
        state.own.has_calls &= to != State::Closed;
        state.outbox.demand = Demand::default();
        if let Some(voter) = &state.terms.voter
            && to != State::HalfOpen
            && !state.fleet_holds_a_state()
        {
            let until = if to == State::Open { open_until } else { now };
            state.outbox.vote = Some(Vote { voter: voter.name.clone(), cast: now, until, by_slowness });
            state.wake(Wake::Now);
        }
        if to == State::Closed {
            state.forget_calls();
        }
    }

    /// Where the circuit has recovered by the calls of this instance, the fleet must hear of it: it has no calls that
    /// are well.
    fn tell_recovery(&mut self, openings_before: u32, now: Timestamp) {
        if openings_before == 0 || self.machine.openings() > 0 {
            return;
        }
        let record = self.state.known.last_record.as_ref().filter(|record| record.state() == State::Closed);
        if let Some(generation) = record.map(|record| record.generation()) {
            self.command(Command::Recovered(generation), now);
        }
    }

    /// Something is seen to be over that the fleet may not have seen: it is told once until it is heard.
    pub(super) fn look_at_fleet(&mut self, now: Timestamp) {
        if self.state.outbox.commands.iter().all(|(_, command)| *command != Command::Look) {
            self.command(Command::Look, now);
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
}

/// A store that is away may be back at any time, and is asked each poll interval.
fn store_is_down(now: Timestamp) -> Decision {
    Decision::Rejected { reason: RejectReason::StoreDown, until: Some(now + POLL_INTERVAL) }
}
