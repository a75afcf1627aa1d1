//! Comparing what the store has with what it is known to have had, and following it.

use std::sync::Arc;

use super::record::{Clocks, Record, Unreadable};
use super::replica::{Replica, Turn};
use crate::circuit::{Fact, FleetFact, Generation, MachineState, Origin, ProbeRound, State, TransitionReason};
use crate::time::Timestamp;

impl Replica {
    /// Compares what the store has, if anything, with the last record that this instance followed. Returns the record that
    /// counts, and whether the store has lost it and must be given it again. `legacy_open_until`: where there is no record, a
    /// row of an older library may say that the circuit is open.
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
            (Ok(Some(record)), Some(last)) if last.generation() <= record.generation() => Ok((record, false)),
            (Ok(None), None) => {
                let fresh = Record::fresh(Generation::new(1), now);
                Ok(match legacy_open_until.filter(|until| *until > now) {
                    Some(until) => (fresh.opened(until, now), true),
                    None => (fresh, false),
                })
            }
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

    /// Follows a record that the store is known to have. `granted` are the leases that the record gives this instance;
    /// `settled`: nothing is on its way from here that might change the record; `store`: the store's time now.
    pub(super) fn apply(
        &mut self,
        record: &Arc<Record>,
        granted: &[u32],
        settled: bool,
        store: Timestamp,
        turn: &mut Turn<'_>,
    ) {
        let here = turn.at.now;
        self.state.known.heard = Some(Clocks { here, store });
        let known_generation = self.state.generation();
        if known_generation.is_some_and(|known| known > record.generation()) {
            return;
        }
        let held_a_state = self.state.fleet_holds_a_state();
        let local = record.by_clock(store, here);
        // After a loss of data there may be two generations of one number; the one that the store has counts.
        let last = self.state.known.last_record.replace(record.clone());
        let begins = last.is_none_or(|last| !last.is_same_generation(record));
        if begins && (known_generation.is_some() || record.state() != State::Closed) {
            // What waits to be told belongs to the generation before.
            self.state.forget_calls();
        }
        if self.state.outbox.batch.is_none() {
            // The record contains the newest batch, which the fleet's evidence now stands for.
            self.state.outbox.sent_calls = None;
        }
        self.take_fleet_evidence(&local, turn);
        if !self.state.is_pooled() && !held_a_state && !self.state.fleet_holds_a_state() {
            // The fleet is closed, as it was: each voter goes by its own calls.
            return;
        }
        let diverged = self.state.known.diverged;
        let is_closed = |state: &MachineState| state.state == State::Closed && state.standing().is_none();
        let first_look_at_closed = known_generation.is_none() && is_closed(&record.machine);
        let agrees = is_closed(&self.machine.state);
        if first_look_at_closed && agrees {
            self.replay(turn.facts);
        } else if first_look_at_closed && diverged && !settled {
            // The store has yet to hear why the circuit was opened here. To close for that long would let calls through.
        } else if begins || diverged && settled {
            // An instance that comes back to the generation from a state of its own has told of it before.
            let decided = begins && record.decider == self.state.terms.writer;
            self.follow(&local, if decided { Origin::Decided } else { Origin::Adopted }, turn);
        } else if !diverged {
            self.keep_up(&local, turn);
        }
        if let (State::HalfOpen, Some(round)) = (self.machine.state(), &local.machine.history().round) {
            for &lease in granted {
                round.deadline_of(lease).into_iter().for_each(|deadline| self.put_in_hand(lease, deadline, here));
            }
        }
    }

    /// The record's evidence for this instance's rule; instances of another rule are told of.
    fn take_fleet_evidence(&mut self, local: &Record, turn: &mut Turn<'_>) {
        let rule = self.state.rule;
        let evidence = local.evidence_of(rule);
        self.state.known.fleet_evidence = evidence.map(|evidence| evidence.calls.clone());
        // Evidence that an instance of another rule has put there has not been evaluated by this one.
        self.state.outbox.awaits_verdict |= evidence.is_some_and(|evidence| evidence.unevaluated);
        let drifts = local.evidence.iter().any(|evidence| evidence.rule != rule);
        if drifts && !std::mem::replace(&mut self.state.known.drift_told, true) {
            turn.facts.push(Fact::Fleet(FleetFact::ConfigDrift));
        }
    }

    /// The machine is in the record's generation already: only what happened in it is taken over.
    fn keep_up(&mut self, local: &Record, turn: &mut Turn<'_>) {
        match (local.state(), &local.machine.history().round) {
            (State::HalfOpen, Some(round)) => {
                let own = &mut self.machine.state.history_mut().round;
                own.get_or_insert_with(|| round.without_leases()).take_counts_of(round);
            }
            (State::Closed, _) => self.replay(turn.facts),
            _ => {}
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
        self.state.known.diverged = false;
        if local.state() == State::Closed {
            // For a voter too, whose own calls are not the fleet's: what it saw before the recovery is over.
            self.machine.judge(turn.facts, |detector| detector.reset());
        }
        self.replay(turn.facts);
        let reason = fleet.reason.unwrap_or(TransitionReason::Reset);
        self.machine.enter(local.state(), reason, (origin, Some(local.generation())), here, turn.facts);
        self.machine.state.since = local.machine.since.min(here);
    }
}
