//! Self-protection: an instance whose own calls meet the rule rejects calls by itself until the fleet has a verdict.

use std::time::Duration;

use super::pooled::TICK_BITS;
use super::replica::Replica;
use super::state::Protection;
use crate::circuit::{Fact, Facts, FleetFact};
use crate::time::Timestamp;

/// So much longer than to the verdict, a call is told to wait.
const VERDICT_MARGIN: Duration = Duration::from_millis(60);
/// A protection of this instance ends by itself after this, if it does not hear of a suspicion.
const PROTECTION_TIME: Duration = Duration::from_millis(1_500);
/// So long after a suspicion has come to nothing, none begins but under a new one.
const CALM: Duration = Duration::from_secs(3);

impl Replica {
    /// The calls of this instance alone meet the rule: until the fleet has a verdict it goes on for a moment, so that
    /// there is evidence, and then rejects calls by itself.
    pub(super) fn protect(&mut self, now: Timestamp) {
        let known = &self.state.known;
        let due = known.census.as_ref().map(|census| census.suspicion.due());
        if now < known.calm_until && due.is_none() {
            return;
        }
        let until = due.map_or(now + PROTECTION_TIME, |due| self.verdict_by(due, now));
        let awaits = known.census.as_ref().map(|census| census.suspicion.number);
        let from = end_of_next_tick(now);
        self.state.known.protection = Some(Protection { from, until, is_told: false, awaits });
    }

    /// A suspicion is known: the verdict will be there by then.
    pub(super) fn protect_until(&mut self, due: Timestamp, now: Timestamp) {
        let until = self.verdict_by(due, now);
        if let Some(protection) = &mut self.state.known.protection {
            protection.until = until;
        }
    }

    /// By when a verdict that is due then, by the store's clock, is known here.
    fn verdict_by(&self, due: Timestamp, now: Timestamp) -> Timestamp {
        now + due.since(self.state.store_at(now)) + VERDICT_MARGIN
    }

    /// Until when this instance rejects calls by itself, if it does now.
    pub(super) fn rejects_until(&mut self, now: Timestamp, facts: &mut Facts) -> Option<Timestamp> {
        let protection = self.state.known.protection?;
        if now >= protection.until {
            self.end_protection(now, facts);
            return None;
        }
        if now < protection.from {
            return None;
        }
        if !protection.is_told {
            self.state.known.protection = Some(Protection { is_told: true, ..protection });
            facts.push(Fact::Fleet(FleetFact::ProtectionBegan));
        }
        Some(protection.until)
    }

    /// This instance goes on; a protection begins anew only under another suspicion, or after a while.
    pub(super) fn end_protection(&mut self, now: Timestamp, facts: &mut Facts) {
        if let Some(protection) = self.state.known.protection.take() {
            self.state.known.calm_until = now + CALM;
            if protection.is_told {
                facts.push(Fact::Fleet(FleetFact::ProtectionEnded));
            }
        }
    }
}

/// The end of the tick after the one in which a moment lies.
const fn end_of_next_tick(now: Timestamp) -> Timestamp {
    Timestamp::from_nanos(((now.as_nanos() >> TICK_BITS) + 2) << TICK_BITS)
}
