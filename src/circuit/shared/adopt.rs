//! Doing as the fleet does.

use super::record::{Record, Unreadable};
use crate::circuit::machine::Machine;
use crate::circuit::probes::Round;
use crate::circuit::step::{Fact, Facts, Origin, StepContext};
use crate::circuit::{Generation, State, TransitionReason};
use crate::time::Timestamp;

/// What this instance makes of what a store has.
#[derive(Debug)]
pub(crate) struct Met {
    /// The record that counts.
    pub(crate) record: Record,
    /// The store has lost it, and must be given it again.
    pub(crate) lost: bool,
}

/// A time, on this instance's clock and on the store's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) here: Timestamp,
    pub(crate) store: Timestamp,
}

impl Machine {
    /// Compares what a store has, if anything, with what it is known to have had.
    /// `open_until`: where there is no record, something older may say that the circuit is open.
    pub(crate) fn meet(
        &self,
        stored: Option<&[u8]>,
        open_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Met, Unreadable> {
        let acked = self.led.as_deref().and_then(|led| led.acked.as_ref());
        let stored = stored.map(Record::load).transpose();
        match (stored, acked) {
            // Newer than anything known here, or as new.
            (Ok(Some(record)), acked) if acked.is_none_or(|acked| acked.generation <= record.generation) => {
                Ok(Met { record, lost: false })
            }
            (Ok(None), None) => {
                let fresh = Record::fresh(Generation::new(1), now);
                Ok(match open_until.filter(|until| *until > now) {
                    Some(until) => Met { record: fresh.opened(until, now), lost: true },
                    None => Met { record: fresh, lost: false },
                })
            }
            // Evidence is not given again: it might be in batches that are still to come.
            (Ok(None), Some(acked)) => Ok(Met { record: acked.headline(), lost: acked.matters(now) }),
            // Begun after everything was lost, by some who knew less: a closed state from before is no reason to end it.
            (Ok(Some(record)), Some(acked))
                if record.matters(now) && !acked.matters(now) && record.since > acked.since =>
            {
                Ok(Met { record: Record { generation: acked.generation.next(), ..record }, lost: true })
            }
            (Ok(Some(_)) | Err(Unreadable::Corrupt(_)), Some(acked)) => {
                Ok(Met { record: acked.headline(), lost: true })
            }
            (Err(unreadable), _) => Err(unreadable),
            (Ok(Some(record)), None) => Ok(Met { record, lost: false }),
        }
    }

    /// Does as a record that the store is known to have says. `writer` is this instance; `granted` are the leases that the
    /// record gives it; `settled`: nothing is on its way from here that might change the record.
    pub(crate) fn adopt(
        &mut self,
        record: &Record,
        (writer, granted, settled): (u64, &[u32], bool),
        clocks: Clocks,
        at: StepContext,
        facts: &mut Facts,
    ) {
        self.heard(clocks);
        let Some(led) = self.led.as_deref_mut() else {
            return;
        };
        let known = led.generation();
        if known.is_some_and(|known| known > record.generation) {
            return;
        }
        let led_before = led.leads();
        let local = record.by_clock(clocks.store, clocks.here);
        // After a loss of data there may be two of one number; what the store has counts.
        let begins = led.acked.as_ref().is_none_or(|acked| !acked.is_same_generation(record));
        led.acked = Some(record.clone());
        if begins && (known.is_some() || record.state != State::Closed) {
            led.forget_calls();
        }
        if std::mem::take(&mut led.accepted) {
            led.sent = None;
        }
        let held = local.held(led.fingerprint);
        led.base = held.map(|held| held.seen.clone());
        let drifts = local.held.iter().any(|held| held.fingerprint != led.fingerprint);
        if drifts && !std::mem::replace(&mut led.drift_told, true) {
            facts.push(Fact::ConfigDrift);
        }
        // Evidence that an instance of another rule has put there has not been judged by this one.
        led.suspect |= held.is_some_and(|held| held.unjudged);
        let pooled = led.votes.is_none();
        if !pooled && !led_before && !led.leads() {
            // Its own calls decide; the fleet has nothing to say.
            return;
        }
        let is_first_look = known.is_none() && record.state == State::Closed && record.standing.is_none();
        let agrees = self.state == State::Closed && self.standing().is_none();
        let provisional = self.led.as_deref().is_some_and(|led| led.provisional);
        if is_first_look && agrees {
            self.replay_led();
        } else if is_first_look && provisional && !settled {
            // The store has yet to hear why it was opened here. To close for that long would let calls through.
        } else if begins || provisional && settled {
            // Whoever comes back to it from a state of its own has said so before.
            let decided = begins && record.decider == writer;
            let origin = if decided { Origin::Decided } else { Origin::Adopted };
            self.follow(&local, origin, at, facts);
        } else if !provisional {
            match (record.state, &local.round) {
                (State::HalfOpen, Some(round)) => {
                    self.history().round.get_or_insert_with(|| round.without_leases()).adopt(round);
                }
                (State::Closed, _) => self.replay_led(),
                _ => {}
            }
        }
        for lease in granted {
            let deadline = local.round.as_ref().and_then(|round| round.deadline_of(*lease));
            if let Some(deadline) = deadline
                && self.state == State::HalfOpen
            {
                self.put_in_hand(*lease, deadline, at.now);
            }
        }
    }

    /// Takes over the fleet's state.
    fn follow(&mut self, local: &Record, origin: Origin, at: StepContext, facts: &mut Facts) {
        let history = self.history();
        history.standing.clone_from(&local.standing);
        // Whatever the store's clock does, nobody waits longer than one cooldown from the time he heard of it.
        history.open_until = local.open_until.min(at.now + local.cooldown);
        history.cooldown = local.cooldown;
        history.openings = local.openings;
        history.opened_by_round = local.opened_by_round;
        history.round = local.round.as_ref().map(Round::without_leases);
        if let Some(led) = &mut self.led {
            led.provisional = false;
        }
        if local.state == State::Closed {
            // For a voter too, whose own calls are not the fleet's: what it saw before the recovery is over.
            self.judge(facts, |detector| detector.reset());
        }
        self.replay_led();
        let reason = local.reason.unwrap_or(TransitionReason::Reset);
        self.enter(local.state, reason, (origin, Some(local.generation)), at.now, facts);
        self.since = local.since.min(at.now);
    }

    /// The detector sees what the fleet has seen, and what only this instance has.
    pub(super) fn replay_led(&mut self) {
        if let Some(led) = self.led.take() {
            if led.votes.is_none() {
                self.judge(&mut Facts::default(), |detector| led.replay(detector));
            }
            self.led = Some(led);
        }
    }
}
