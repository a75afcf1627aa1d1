//! Whether the store is there: asking it, and what follows.

use super::loads::{Lane, MAX_KEYS_IN_LOAD};
use super::members::{Asking, Entry};
use super::scheduler::{Ask, Scheduler};
use super::store_health::Change;
use crate::store::StoreError;
use crate::time::Timestamp;

impl Scheduler {
    /// Tells whether a ping would say something of the store, and not of keys in trouble alone: what others have asked for
    /// says it too, and is answered, or given up, before long.
    pub(super) fn has_witness(&self) -> bool {
        let entries = || self.members.entries().values();
        let is_idle = |entry: &&Entry| entry.asking.is_none();
        let mut calm = entries().filter(|entry| entry.troubles == 0).peekable();
        if calm.peek().is_some() { calm.any(|entry| is_idle(&entry)) } else { entries().any(|entry| is_idle(&entry)) }
    }

    /// Asks for as many keys as it can. A load of no keys needs no store: its answer would say nothing of it.
    pub(super) fn ping(&mut self, now: Timestamp) -> Option<Ask> {
        if self.loads.is_out(Lane::Calm) {
            return None;
        }
        let idle = |troubled: bool| {
            let is_idle = move |entry: &Entry| entry.asking.is_none() && (entry.troubles > 0) == troubled;
            self.members.entries().iter().filter(move |(_, entry)| is_idle(entry)).map(|(id, _)| *id)
        };
        let ids: Vec<_> = idle(false).chain(idle(true)).take(MAX_KEYS_IN_LOAD).collect();
        (!ids.is_empty()).then(|| self.load(Lane::Calm, ids, true, now))
    }

    pub(super) fn all_are_asking(&self) -> bool {
        self.members.entries().values().all(|entry| entry.asking.is_some())
    }

    pub(super) fn look_whether_it_is_back(&mut self, now: Timestamp) -> Option<Ask> {
        let is_due = self.health.down().is_none_or(|down| down.retry_at <= now);
        if !is_due || self.loads.is_out(Lane::Calm) || self.all_are_asking() {
            return None;
        }
        // Replicas that were about to ask are asked for now, or ask again later.
        for id in self.loads.take_all() {
            let Some(entry) = self.members.get_mut(id) else {
                continue;
            };
            entry.is_listed = false;
            if entry.asking == Some(Asking::Load) {
                entry.asking = None;
                self.members.visit(id, now, |replica, _| replica.ask_again());
            }
        }
        self.ping(now)
    }

    pub(super) fn answered(&mut self, now: Timestamp) {
        if self.health.answered(now) == Change::Recovered {
            self.members.visit_all(now, |replica, turn| replica.store_came_back(turn));
            self.schedule_all(now);
        }
    }

    pub(super) fn ping_failed(&mut self, error: &StoreError, now: Timestamp) {
        let draw = self.draw();
        if self.health.ping_failed(error, now, draw) == Change::Degraded {
            let Some(outage) = self.health.down().map(|down| down.outage.clone()) else {
                return;
            };
            self.members.visit_all(now, |replica, turn| replica.go_without_store(&outage, turn));
            self.end_flushes(now);
        }
    }

    /// The store is away: those who wait for a flush need not wait any more.
    pub(super) fn end_flushes(&mut self, now: Timestamp) {
        for id in self.flushes.awaited() {
            let mut is_over = false;
            self.members.visit(id, now, |replica, _| is_over = replica.end_flush(true));
            if is_over {
                self.flushes.end(id);
            }
        }
    }
}
