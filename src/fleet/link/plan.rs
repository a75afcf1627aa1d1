//! What a line does next.

use std::time::Duration;

use bytes::Bytes;

use super::line::{Asked, Batch, JITTER, LINGER, Link, Plan};
use crate::circuit::{Folded, Order, State};
use crate::fleet::bucket::Weight;
use crate::fleet::core::POLL;
use crate::store::{BatchId, Commit, MAX_BATCH_AGE, StoreTime, Summary};
use crate::time::Timestamp;

enum Wish {
    Nothing(Option<Timestamp>),
    Load,
    Commit(Weight),
    Probe,
}

/// A trip to be waits this long for the fleet; then this instance protects itself.
const PATIENCE: Duration = Duration::from_millis(300);
/// A writer combines so often, or so long, in a row.
const ROUNDS: u32 = 20;
const COMBINING: Duration = Duration::from_millis(250);
/// Larger notices do not fit everywhere. Whoever gets an empty one loads: also where a headline would leave out what counts.
const NOTICE: usize = 3_000;

impl Link {
    /// What to do next. Called whenever anything has changed, or its time has come.
    pub(in crate::fleet) fn plan(
        &mut self,
        now: Timestamp,
        room: &mut dyn FnMut(Weight) -> Result<(), Timestamp>,
    ) -> Plan {
        if self.asked.is_some() {
            return Plan::Wait(self.give_up_at(now));
        }
        if self.blocked_until.is_some_and(|until| now < until) && self.flush.is_none() {
            return Plan::Wait(self.blocked_until);
        }
        if now < self.not_before {
            return Plan::Wait(Some(self.not_before));
        }
        match self.wish(now) {
            Wish::Nothing(until) => Plan::Wait(until),
            Wish::Load => match room(Weight::Change) {
                Ok(()) => {
                    self.asked = Some(Asked::Load);
                    self.load_now = false;
                    Plan::Load
                }
                Err(until) => Plan::Wait(Some(until)),
            },
            Wish::Commit(weight) => match room(weight) {
                Ok(()) => self.commit(now),
                Err(until) => Plan::Wait(Some(until)),
            },
            Wish::Probe => self.ask_for_probe(now, room),
        }
    }

    /// When something urgent has waited for the fleet long enough.
    fn give_up_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        let until = self.urgent_since? + PATIENCE;
        if until > now {
            return Some(until);
        }
        self.go_alone(None);
        None
    }

    fn wish(&mut self, now: Timestamp) -> Wish {
        let Some(known) = &self.known else {
            return Wish::Load;
        };
        if self.blocked_until.is_some() || self.load_now {
            return Wish::Load;
        }
        if self.round.is_some() || self.batch.as_ref().is_some_and(|batch| now.since(batch.taken) < MAX_BATCH_AGE) {
            return Wish::Commit(Weight::Change);
        }
        if self.batch.take().is_some() {
            self.member.taken_settled(false);
        }
        let lost = known.lost;
        if lost.is_some_and(|at| at <= now) {
            return Wish::Commit(Weight::Change);
        }
        let flushing = self.flush.is_some();
        // Before the look, so that whatever comes after the look rings.
        self.member.heard(self.flush_at.is_some());
        let needs = self.member.needs();
        if needs.orders {
            return Wish::Commit(Weight::Change);
        }
        if needs.urgent {
            self.urgent_since.get_or_insert(now);
        } else {
            self.urgent_since = None;
        }
        self.arm(needs.urgent, needs.failures, needs.outcomes, now);
        if flushing && (needs.urgent || needs.failures || needs.outcomes) {
            self.flush_at = Some(now);
        }
        self.member.heard(self.flush_at.is_some());
        let weight = match (needs.urgent, needs.failures) {
            (true, _) => Weight::Change,
            (false, true) => Weight::Failures,
            (false, false) => Weight::Outcomes,
        };
        if self.flush_at.is_some_and(|at| at <= now) && self.take(now) {
            return Wish::Commit(weight);
        }
        if needs.probe {
            let jitter = if flushing { Duration::ZERO } else { self.jitter(JITTER) };
            if *self.probe_at.get_or_insert(now + jitter) <= now {
                return Wish::Probe;
            }
        } else {
            self.probe_at = None;
        }
        if self.look_at.is_some_and(|at| at <= now) {
            return Wish::Commit(Weight::Failures);
        }
        if self.flush.as_ref().is_some_and(|flush| !flush.fetched) {
            return Wish::Load;
        }
        let idle_at = needs.idle_in.map(|idle| now + idle);
        // Successes ring for nobody; where the poll does not come often enough, the line looks by itself.
        let often = needs.shares_successes && self.flush_interval < POLL;
        let outcomes_at = often.then(|| (self.flushed + self.flush_interval).max(now + LINGER));
        let times = [self.flush_at, self.probe_at, self.look_at, lost, idle_at, outcomes_at];
        Wish::Nothing(times.into_iter().flatten().min())
    }

    /// Sets when what waits is sent.
    fn arm(&mut self, urgent: bool, failures: bool, outcomes: bool, now: Timestamp) {
        let at = if urgent {
            now
        } else if failures {
            now + self.jitter(self.linger)
        } else if outcomes {
            (self.flushed + self.flush_interval).max(now)
        } else {
            self.flush_at = None;
            return;
        };
        self.flush_at = Some(self.flush_at.map_or(at, |known| known.min(at)));
    }

    /// Takes what the member has seen; `false` where that is nothing any more.
    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        self.flush_at = None;
        self.flushed = now;
        let Some(bytes) = self.member.take(self.store_now(now)) else {
            return false;
        };
        self.seq += 1;
        let id = BatchId { writer: self.writer, seq: self.seq };
        self.batch = Some(Batch { id, bytes: bytes.into(), taken: now, may_queue: false });
        true
    }

    /// The store's time, as far as is known here.
    pub(super) fn store_now(&self, now: Timestamp) -> StoreTime {
        let Some(known) = &self.known else {
            return StoreTime(0);
        };
        let passed = u64::try_from(self.member.clock(now).since(known.at).as_micros()).unwrap_or(u64::MAX);
        StoreTime(known.now.0.saturating_add(passed))
    }

    fn commit(&mut self, now: Timestamp) -> Plan {
        let orders = if self.round.is_none() && self.batch.is_none() { self.member.orders() } else { Vec::new() };
        match self.propose(&orders, now) {
            Some(commit) => Plan::Commit(Box::new(commit)),
            // Nothing in it counts any more.
            None => {
                if self.batch.take().is_some() {
                    self.member.taken_settled(true);
                }
                self.member.ordered(orders.len());
                self.adopt(&[], now);
                Plan::Wait(Some(now))
            }
        }
    }

    fn ask_for_probe(&mut self, now: Timestamp, room: &mut dyn FnMut(Weight) -> Result<(), Timestamp>) -> Plan {
        let folded = self.fold(&[Order::Lease], now);
        let Some(folded) = folded.filter(|folded| !folded.granted.is_empty() || folded.began) else {
            // All places are taken: whoever knows of one that is free again will say so.
            let again = now + JITTER + self.jitter(JITTER);
            self.probe_at = Some(again);
            if self.flush.as_ref().is_some_and(|flush| !flush.fetched) {
                self.asked = Some(Asked::Load);
                return Plan::Load;
            }
            return Plan::Wait(Some(again));
        };
        if let Err(until) = room(Weight::Change) {
            return Plan::Wait(Some(until));
        }
        self.probe_at = None;
        self.propose_folded(folded, 0, now).map_or(Plan::Wait(None), |commit| Plan::Commit(Box::new(commit)))
    }

    fn fold(&self, orders: &[Order], now: Timestamp) -> Option<Folded> {
        let known = self.known.as_ref()?;
        let mut batches: Vec<&[u8]> = Vec::new();
        match (&self.round, &self.batch) {
            (Some(combining), _) => batches.extend(combining.round.batches.iter().map(|(_, bytes)| &bytes[..])),
            (None, Some(batch)) => batches.push(&batch.bytes),
            (None, None) => {}
        }
        Some(self.member.fold(&known.record, &batches, orders, self.writer, self.store_now(now)))
    }

    fn propose(&mut self, orders: &[Order], now: Timestamp) -> Option<Commit> {
        let folded = self.fold(orders, now)?;
        let only_looks = !orders.is_empty() && orders.iter().all(|order| *order == Order::Look);
        let is_void = (self.batch.is_some() || only_looks) && self.round.is_none() && !folded.changed;
        if is_void && self.known.as_ref().is_some_and(|known| known.lost.is_none()) {
            return None;
        }
        self.propose_folded(folded, orders.len(), now)
    }

    fn propose_folded(&mut self, folded: Folded, orders: usize, now: Timestamp) -> Option<Commit> {
        let store_now = self.store_now(now);
        let known = self.known.as_ref()?;
        let record = &folded.record;
        let time = Timestamp::from_nanos(store_now.0.saturating_mul(1_000));
        let summary = Summary {
            state: record.state,
            failures: record.failures(),
            open_until: record
                .until()
                .filter(|_| record.state == State::Open)
                .map(|until| StoreTime(until.as_nanos() / 1_000)),
            generation: record.generation.get(),
        };
        let mut commit = Commit::new(known.version, record.save().into(), summary, record.ttl(time));
        if folded.began || known.lost.is_some() {
            let headline = record.headline().save();
            let is_enough = headline.len() <= NOTICE && !record.has_live_evidence();
            commit.notice = Some(if is_enough { headline.into() } else { Bytes::new() });
        }
        if let Some(combining) = &self.round {
            commit.release = combining.rounds >= ROUNDS || now.since(combining.since) >= COMBINING;
            commit.round = Some(combining.round.clone());
        } else if let Some(batch) = &self.batch {
            commit.batch = Some((batch.id, batch.bytes.clone()));
            commit.may_queue = batch.may_queue;
        }
        let (batch, round) = (commit.batch.is_some(), commit.round.is_some());
        self.look_at = None;
        self.loading(now);
        self.asked = Some(Asked::Commit { folded: Box::new(folded), batch, orders, round });
        Some(commit)
    }
}
