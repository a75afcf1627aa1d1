//! Leases as the calls of an instance meet them: asked for, used, told of, given back.

use std::time::Duration;

use super::batch::{ProbeNews, Probed};
use super::replica::Replica;
use super::state::{POLL_INTERVAL, Wake};
use crate::circuit::{
    Decision, Facts, Hold, Lease, PermitId, ProbeRound, RejectReason, Rules, State, StepContext, held_until,
};
use crate::time::Timestamp;

/// A call that finds no lease is told to come back after this: so long it takes to fetch one.
const LEASE_FETCH_TIME: Duration = Duration::from_millis(50);
/// An instance that has not heard of its store for so long does not use a lease: it may have been handed over. That is less
/// than another instance waits for it, so no two use one lease.
const LEASE_IS_SURE_FOR: Duration = Duration::from_millis(2_250);

impl Replica {
    /// Open with its cooldown over, or half-open.
    pub(super) fn is_ready_for_probes(&self, now: Timestamp) -> bool {
        match self.machine.state() {
            State::Closed => false,
            State::Open => self.machine.state.history().open_until <= now,
            State::HalfOpen => true,
        }
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

    /// A call asks that only a lease of the fleet's lets through.
    pub(super) fn acquire_lease(&mut self, rules: &Rules, now: Timestamp, reserve: bool) -> Decision {
        self.expire_leases(now);
        let deadline = held_until(rules.probes.deadline_after(), now, reserve);
        let is_sure = self.has_sure_leases(now);
        let round = self.round_mut().filter(|_| is_sure);
        if let Some(lease) = round.and_then(|round| round.use_hand(deadline, reserve)) {
            self.tell(Probed::new(lease, ProbeNews::Began, now));
            return self.machine.admitted(Some(lease));
        }
        // A call that is made now is worth more than one to come: the fleet may give out its place anew.
        if !reserve && let Some(lease) = self.round_mut().and_then(ProbeRound::drop_reservation) {
            self.tell(Probed::new(lease, ProbeNews::Ended, now));
        }
        self.misses_a_lease(now)
    }

    /// Tells whether a call that asks now finds a lease.
    pub(super) fn has_a_lease(&self, now: Timestamp) -> bool {
        self.leases_in_hand() > 0 && self.has_sure_leases(now)
    }

    /// Tells whether no lease in hand can have been handed over: the store was heard of a moment ago, and none has
    /// waited for it long.
    fn has_sure_leases(&self, now: Timestamp) -> bool {
        let has_heard = self.state.own.heard.is_some_and(|heard| now.since(heard.here) < LEASE_IS_SURE_FOR);
        let store = self.state.store_at(now);
        has_heard && self.state.wanted_since().is_none_or(|since| store.since(since) < LEASE_IS_SURE_FOR)
    }

    /// Tells whether calls are on their way with all the leases that there are.
    fn probes_are_out(&self, now: Timestamp) -> bool {
        let record = self.state.known.last_record.as_ref();
        let round = record.filter(|record| record.state() == State::HalfOpen);
        let round = round.and_then(|record| record.machine.history().round.as_ref());
        let store = self.state.store_at(now);
        let is_used = |lease: &Lease| lease.held != Hold::InHand && lease.deadline > store;
        let all_are_used = round.is_some_and(|round| !round.leases.is_empty() && round.leases.iter().all(is_used));
        all_are_used || self.round().is_some_and(ProbeRound::in_use)
    }

    /// A call finds no lease.
    pub(super) fn misses_a_lease(&mut self, now: Timestamp) -> Decision {
        self.state.own.has_calls = true;
        let demand = &mut self.state.outbox.demand;
        demand.rejected = demand.rejected.saturating_add(1);
        // The engine is not woken for each of many: what they want is known.
        if demand.rejected.is_power_of_two() {
            self.state.timers.probe_at = None;
            self.state.wake(Wake::Now);
        }
        let (reason, wait) = if self.probes_are_out(now) {
            (RejectReason::ProbesBusy, POLL_INTERVAL)
        } else {
            (RejectReason::AwaitingLease, LEASE_FETCH_TIME)
        };
        Decision::Rejected { reason, until: Some(now + wait) }
    }

    /// A reservation becomes a call.
    pub(super) fn begin(&mut self, rules: &Rules, permit: PermitId, now: Timestamp, facts: &mut Facts) -> Decision {
        self.machine.expire_override(now, facts);
        let deadline = now + rules.probes.deadline_after();
        let is_good = match permit.lease {
            None => permit.generation == self.machine.generation(),
            Some(lease) => {
                let begin = |round: &mut ProbeRound, lease| round.begin_in_hand(lease, deadline).then_some(());
                let is_held = self.place(permit, now, begin).is_some();
                if is_held {
                    self.tell(Probed::new(lease, ProbeNews::Began, now));
                }
                is_held
            }
        };
        if is_good { Decision::Admitted(permit) } else { Decision::Stale }
    }

    /// A probe has something to tell, unless it has lost its place; what that means is the fleet's to decide.
    pub(super) fn tell_probe<T>(
        &mut self,
        permit: PermitId,
        now: Timestamp,
        f: impl FnOnce(&mut ProbeRound, u32) -> Option<T>,
        what: impl FnOnce(T) -> Probed,
    ) -> Decision {
        let Some(held) = self.place(permit, now, f) else {
            return Decision::Stale;
        };
        self.tell(what(held));
        Decision::Done
    }

    fn tell(&mut self, probed: Probed) {
        self.state.outbox.probes.push(probed);
        self.state.wake(Wake::Now);
    }

    /// Drops leases whose deadline has come. The record knows of the deadline of a probe; of a place that was reserved,
    /// and not used in time, the fleet is told that it is free.
    pub(super) fn expire_leases(&mut self, now: Timestamp) {
        let idle = self.round().map_or_else(Vec::new, |round| round.idle(now));
        self.machine.expire_leases(now);
        idle.into_iter().for_each(|lease| self.tell(Probed::new(lease, ProbeNews::Ended, now)));
    }

    /// Does something with the place of a probe in the round; returns what comes of it, unless the place is lost.
    fn place<T>(
        &mut self,
        permit: PermitId,
        now: Timestamp,
        f: impl FnOnce(&mut ProbeRound, u32) -> Option<T>,
    ) -> Option<T> {
        let lease = permit.lease.filter(|_| permit.generation == self.machine.generation())?;
        self.expire_leases(now);
        f(self.round_mut()?, lease)
    }

    /// Ends a round that cannot succeed. Where the fleet decides, its record knows of the same deadlines, and only
    /// leases go.
    pub(super) fn end_hopeless_round(&mut self, rules: &Rules, at: StepContext, facts: &mut Facts) {
        if self.state.asks_fleet() {
            self.expire_leases(at.now);
            let is_too_long = self.machine.is_half_open_too_long(rules, at.now);
            if is_too_long || self.is_fruitless(rules, at.now) {
                // No more probes go out in it: the fleet is to look.
                self.return_leases();
                self.state.wake(Wake::Now);
            }
            if is_too_long {
                // It may have no lease to give back, and so no other news.
                self.look_at_fleet(at.now);
            }
        } else {
            self.machine.end_hopeless_round(rules, at, facts);
        }
    }

    /// Tells whether probes have gone out in vain for too long.
    fn is_fruitless(&self, rules: &Rules, now: Timestamp) -> bool {
        let patience = rules.probes.patience(self.machine.state.history().cooldown);
        self.machine.state() == State::HalfOpen && self.round().is_some_and(|round| round.is_fruitless(patience, now))
    }

    /// Leases that the record has for this instance are in its hand, unless it has used them, or given them back.
    pub(super) fn take_leases(&mut self, fleet: &ProbeRound, now: Timestamp) {
        let own: Vec<_> = fleet.unused_of(self.state.own.writer).copied().collect();
        let outbox = &self.state.outbox;
        let new: Vec<_> = own.into_iter().filter(|lease| !outbox.tells_of(lease.id)).collect();
        if let Some(round) = &mut self.machine.state.history_mut().round {
            // One that it does not have any more went to another instance.
            let is_there = |lease: &Lease| lease.held != Hold::InHand || fleet.knows(lease.id);
            round.leases.retain(is_there);
            for lease in new {
                if !round.knows(lease.id) {
                    round.put_in_hand(&lease);
                    let demand = &mut self.state.outbox.demand;
                    (demand.rejected, demand.taken_at) = (0, Some(now));
                }
            }
        }
    }

    /// Gives back the leases in hand.
    pub(super) fn return_leases(&mut self) {
        let unused = self.round_mut().map_or_else(Vec::new, ProbeRound::drop_unused);
        let returned = unused.into_iter().map(|lease| Probed::new(lease, ProbeNews::Ended, Timestamp::ZERO));
        self.state.outbox.probes.extend(returned);
    }
}
