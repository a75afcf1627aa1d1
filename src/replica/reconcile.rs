//! Comparing what the store has with what it is known to have had, and following it.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use super::clocks::Clocks;
use super::poll::Priority;
use super::pooled::{RuleEvidence, advice_of_calls};
use super::record::{Record, Unreadable};
use super::replica::{Replica, Turn};
use crate::circuit::{Advice, Fact, FleetFact, History, MachineState, Origin, ProbeRound, State, TransitionReason};
use crate::time::Timestamp;

/// An instance that other ones wait for gives back its lease if it has had no call for so long.
const LEASE_IS_KEPT_FOR: Duration = Duration::from_millis(500);

impl Replica {
    /// Compares what the store has, if anything, with the last record that this instance followed. Returns the record that
    /// counts, and whether the store has lost it and must be given it again. `legacy_open_until`: where there is no
    /// record, a row of an older library may say that the circuit is open.
    pub(super) fn reconcile(
        &self,
        stored: Result<Option<Record>, Unreadable>,
        legacy_open_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(Record, bool), Unreadable> {
        let last = self.state.known.last_record.as_deref();
        match (stored, last) {
            (Ok(Some(record)), None) => Ok((record, false)),
            // Newer than anything known here, or as new.
            (Ok(Some(record)), Some(last)) if !last.generation().is_after(record.generation()) => Ok((record, false)),
            (Ok(None), None) => Ok(Record::unwritten(legacy_open_until, now)),
            // Evidence is not given again: it might be in batches that are still to come.
            (Ok(None), Some(last)) => Ok((last.headline(), last.matters(now))),
            // The record began after the store had lost everything, by instances that knew less: a closed state from before
            // is no reason to end it.
            (Ok(Some(mut record)), Some(last))
                if record.matters(now) && !last.matters(now) && record.machine.since > last.machine.since =>
            {
                record.machine.generation = last.generation().next();
                Ok((record, true))
            }
            (Ok(Some(_)) | Err(Unreadable::Corrupt(_)), Some(last)) => Ok((last.headline(), true)),
            (Err(unreadable), _) => Err(unreadable),
        }
    }

    /// Follows a record that the store is known to have; `store` is the store's time now.
    pub(super) fn apply(&mut self, record: &Arc<Record>, store: Timestamp, turn: &mut Turn<'_>) {
        let here = turn.at.now;
        self.state.own.heard = Some(Clocks { here, store });
        let known_generation = self.state.generation();
        if known_generation.is_some_and(|known| known.is_after(record.generation())) {
            return;
        }
        let held_a_state = self.state.fleet_holds_a_state();
        let local = record.by_clock(store, here);
        // After a loss of data there may be two generations of one number; the one that the store has counts.
        let last = self.state.known.last_record.replace(record.clone());
        let begins = last.as_ref().is_none_or(|last| !last.is_same_generation(record));
        if begins && (known_generation.is_some() || record.state() != State::Closed) {
            // What waits to be told belongs to the generation before.
            self.state.forget_calls();
        } else if begins && record.machine.history().reason.is_some() {
            // So does what this instance saw before it heard of the fleet, and before the fleet closed.
            self.forget_before(local.machine.since, turn);
        }
        let settled = self.is_settled();
        self.note_demand(last.as_deref(), record, begins);
        self.take_evidence(record, turn);
        if !self.state.is_pooled() && !held_a_state && !self.state.fleet_holds_a_state() {
            // The fleet is closed, as it was: each voter goes by its own calls.
            self.share_growth(&local, begins, turn);
            return;
        }
        let diverged = self.state.known.diverged;
        let is_closed = |state: &MachineState| state.state == State::Closed && state.standing().is_none();
        let first_look_at_closed = known_generation.is_none() && is_closed(&record.machine);
        let agrees = is_closed(&self.machine.state);
        if first_look_at_closed && agrees && !(diverged && settled) {
            // What was seen before the first answer waits to be told. What came before is known from now on.
            self.take_growth(local.machine.history(), turn);
        } else if first_look_at_closed && diverged && !settled {
            // The store has yet to hear why the circuit was opened here. To close for that long would let calls through.
        } else if begins || diverged && settled {
            // An instance that comes back to the generation from a state of its own has told of it before.
            let decided = begins && record.decider == self.state.own.writer;
            self.follow(&local, if decided { Origin::Decided } else { Origin::Adopted }, turn);
        } else if !diverged {
            self.keep_up(&local, turn);
        }
        if let (State::HalfOpen, Some(round)) = (self.machine.state(), &record.machine.history().round)
            && !self.state.known.diverged
        {
            self.take_leases(round, turn.now);
            self.state.outbox.demand.has_room = round.free(&turn.rules.probes) > 0;
            let taken_at = self.state.outbox.demand.taken_at;
            let had_its_chance = taken_at.is_none_or(|at| turn.now.since(at) >= LEASE_IS_KEPT_FOR);
            if had_its_chance && self.state.wanted_since().is_some() {
                self.return_leases();
            }
        }
    }

    /// Forgets calls from before the fleet closed; the detector goes on with those that are left.
    fn forget_before(&mut self, closed: Timestamp, turn: &mut Turn<'_>) {
        if self.state.outbox.untold.forget_before(closed) {
            let untold = &self.state.outbox.untold;
            self.machine.judge(turn.facts, |detector| {
                detector.reset();
                untold.show(detector);
            });
        }
    }

    /// Tells whether nothing is on its way from here that might change the record.
    pub(super) fn is_settled(&self) -> bool {
        let (outbox, in_flight) = (&self.state.outbox, &self.state.in_flight);
        let is_idle = outbox.batch.is_none() && in_flight.combining.is_none() && outbox.commands.is_empty();
        is_idle && self.waits() < Some(Priority::Failures)
    }

    /// Whether this instance is to have a lease begins anew with the generation, and after another one was seen to use one.
    fn note_demand(&mut self, last: Option<&Record>, record: &Record, begins: bool) {
        let round = |record: &Record| record.machine.history().round.clone();
        if begins || last.is_none_or(|last| round(last) != round(record)) {
            // What has changed may have freed a place.
            self.state.timers.probe_at = None;
        }
        let demand = &mut self.state.outbox.demand;
        let counts = |record: &Record| record.machine.history().round.as_ref().map(ProbeRound::counts);
        if begins {
            demand.rejected = 0;
            // Calls before the first word of the store are of the generation that it tells of.
            self.state.own.has_calls &= record.state() != State::Closed || last.is_none();
        } else if last.is_some_and(|last| counts(last) != counts(record)) {
            demand.rejected = 0;
        }
    }

    /// What the record says about the evidence for this instance's rule.
    fn take_evidence(&mut self, record: &Record, turn: &mut Turn<'_>) {
        let rule = self.state.outbox.untold.rule;
        if record.drifts_from(rule) && !mem::replace(&mut self.state.known.drift_told, true) {
            turn.facts.push(Fact::Fleet(FleetFact::ConfigDrift));
        }
        let evidence = record.evidence_of(rule);
        self.advise(evidence, turn);
        if let Some(dry_runs) = evidence.map(|evidence| evidence.dry_runs())
            && self.state.outbox.untold.note_dry_runs(dry_runs)
        {
            self.machine.judge(turn.facts, |detector| detector.reset());
        }
        if let Some(suspicion) = evidence.and_then(|evidence| evidence.suspicion())
            && let Some(protection) = &mut self.state.known.protection
        {
            let awaited = *protection.awaits.get_or_insert(suspicion.number);
            if awaited < suspicion.number {
                // That one has come to nothing: until the next verdict there is to be new evidence.
                self.end_protection(turn.at.now, turn.facts);
            }
        }
        let known = self.state.known.census.as_ref().map(|census| census.suspicion.number);
        match evidence.and_then(|evidence| evidence.suspicion()).copied() {
            Some(suspicion) if known == Some(suspicion.number) => {
                let store = self.state.store_at(turn.at.now);
                if let Some(census) = &mut self.state.known.census {
                    census.wait(suspicion, turn.now, store);
                }
                self.protect_until(suspicion.due(), turn.at.now);
            }
            Some(suspicion) if self.state.asks_fleet() && record.state() == State::Closed => {
                self.begin_census(suspicion, turn);
            }
            // Where the store has lost it, they begin anew.
            None if evidence.is_none_or(|evidence| !evidence.has_raised_so_many(self.state.known.censuses_over)) => {
                self.state.known.censuses_over = 0;
            }
            None if known.is_some_and(|known| evidence.is_none_or(|evidence| evidence.has_raised(known))) => {
                self.state.known.censuses_over = known.map_or(0, |known| known + 1);
                self.state.known.census = None;
                self.state.known.is_calm = true;
                self.end_protection(turn.at.now, turn.facts);
            }
            Some(_) | None => {}
        }
    }

    /// Tells what the fleet would be better off with, each kind once.
    fn advise(&mut self, evidence: Option<&RuleEvidence>, turn: &mut Turn<'_>) {
        if !self.state.is_pooled() {
            return;
        }
        let store = self.state.store_at(turn.at.now);
        let of_evidence = evidence.into_iter().flat_map(|evidence| evidence.advice(store));
        let of_rule = self.state.terms.tells_default_rule.then_some(Advice::DefaultRule);
        let of_calls = advice_of_calls(self.state.outbox.untold.newest_calls());
        for advice in of_evidence.chain(of_calls).chain(of_rule) {
            if self.state.known.advised.iter().all(|known| mem::discriminant(known) != mem::discriminant(&advice)) {
                self.state.known.advised.push(advice);
                turn.facts.push(Fact::Fleet(FleetFact::Advised(advice)));
            }
        }
    }

    /// A voter goes by its own calls, but cooldowns that grow are the fleet's: one that joins or has missed an opening
    /// may be the only one with calls that show that it is over. What it knows by itself is never less for that.
    fn share_growth(&mut self, local: &Record, begins: bool, turn: &Turn<'_>) {
        let own = &self.machine.state;
        if own.state != State::Closed || own.standing().is_some() {
            return;
        }
        if begins && local.machine.history().openings > self.machine.openings() {
            self.take_growth(local.machine.history(), turn);
        } else if !self.state.known.diverged {
            self.forget_fleets_growth(local);
        }
    }

    /// The fleet has seen the recovery.
    fn forget_fleets_growth(&mut self, local: &Record) {
        if local.state() == State::Closed && local.machine.history().openings == 0 && self.machine.openings() > 0 {
            self.machine.forget_growth();
        }
    }

    /// The machine is in the record's generation already: only what happened in it is taken over.
    fn keep_up(&mut self, local: &Record, turn: &Turn<'_>) {
        self.forget_fleets_growth(local);
        let (own, fleet) = (self.machine.state.history(), local.machine.history());
        if own.awaits_cooldown && !fleet.awaits_cooldown {
            // Now it is decided.
            let own = self.machine.state.history_mut();
            (own.cooldown, own.openings) = (fleet.cooldown, fleet.openings);
            own.open_until = fleet.open_until.min(turn.at.now + fleet.cooldown);
            own.awaits_cooldown = false;
            self.machine.expect_recovery(turn.rules);
        }
        if let (State::HalfOpen, Some(round)) = (local.state(), &local.machine.history().round) {
            let own = self.machine.state.history_mut();
            own.slowness_counts = local.machine.history().slowness_counts;
            own.round.get_or_insert_with(|| round.without_leases()).take_counts_of(round);
        }
    }

    /// The fleet has opened not long ago, and this instance has just joined: its calls, too, show whether it has recovered.
    fn take_growth(&mut self, fleet: &History, turn: &Turn<'_>) {
        if fleet.openings > 0 {
            let history = self.machine.state.history_mut();
            (history.openings, history.cooldown) = (fleet.openings, fleet.cooldown);
            self.machine.expect_recovery(turn.rules);
            self.machine.begin_recovery(turn.at.now);
        }
    }

    /// Takes over the fleet's state: the machine enters the record's generation.
    fn follow(&mut self, local: &Record, origin: Origin, turn: &mut Turn<'_>) {
        let here = turn.at.now;
        let fleet = local.machine.history();
        let history = self.machine.state.history_mut();
        history.clone_from(fleet);
        // Whatever the store's clock does, no call waits longer than one cooldown from the time this instance heard of it.
        history.open_until = fleet.open_until.min(here + fleet.cooldown);
        // Leases are each instance's own.
        history.round = fleet.round.as_ref().map(ProbeRound::without_leases);
        self.machine.expect_recovery(turn.rules);
        self.state.known.diverged = false;
        if local.state() == State::Closed {
            // For a voter too, whose own calls are not the fleet's: what it saw before the recovery is over.
            self.machine.judge(turn.facts, |detector| detector.reset());
        }
        self.end_protection(turn.at.now, turn.facts);
        self.state.known.census = None;
        self.state.known.is_calm = false;
        let reason = fleet.reason.unwrap_or(TransitionReason::Reset);
        self.machine.enter(local.state(), reason, (origin, Some(local.generation())), here, turn.facts);
        self.machine.state.since = local.machine.since.min(here);
        self.machine.state.history_mut().awaits_cooldown = fleet.awaits_cooldown;
        if let (State::Open, Some(verdict)) = (local.state(), local.verdict) {
            turn.facts.push(Fact::Fleet(FleetFact::Judged(verdict.shown(self.state.store_at(here)))));
        }
    }
}
