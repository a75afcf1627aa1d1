//! What the store says, and what a line makes of it.

use std::sync::Arc;
use std::time::Duration;

use super::line::{Asked, Combining, JITTER, Known, LINGER, Link};
use crate::circuit::{Generation, Met, Record, Unreadable};
use crate::fleet::member::News;
use crate::store::{Committed, ROUND_LEASE, StoreError, StoreTime, Stored, Version};
use crate::time::Timestamp;

const LINGER_MOST: Duration = Duration::from_secs(5);
/// A record that cannot be read is looked at again.
const BLOCKED: Duration = Duration::from_secs(60);
/// Whoever knows what a damaged record said gets this long to write it again.
const CORRUPT: Duration = Duration::from_secs(5);

impl Link {
    /// The store has answered a commit.
    pub(in crate::fleet) fn committed(&mut self, answer: Result<Committed, StoreError>, now: Timestamp) {
        let Some(Asked::Commit { folded, batch, orders, round }) = self.asked.take() else {
            return;
        };
        let committed = match answer {
            Ok(committed) => committed,
            Err(error) => return self.failed(&error, now),
        };
        self.succeeded();
        match committed {
            Committed::Applied { version, now: time } => {
                self.round = None;
                self.conflicts = 0;
                if batch {
                    self.accepted(now);
                    self.linger = self.linger.saturating_sub(Duration::from_millis(5)).max(LINGER);
                }
                self.member.ordered(orders);
                if let Some(tally) = folded.would_open {
                    self.member.tell(News::WouldOpen(tally));
                }
                let granted = folded.granted;
                let at = self.answered_at(now);
                self.known = Some(Known { version, record: folded.record, lost: None, now: time, at });
                self.adopt(&granted, now);
            }
            Committed::Conflict(stored) => {
                self.conflicts += 1;
                if let Some(batch) = &mut self.batch
                    && std::mem::replace(&mut batch.may_queue, true)
                {
                    // It might have been queued, but too many wait already.
                    self.linger_longer();
                }
                self.learn(&stored, self.answered_at(now), now);
                if self.batch.is_none() || self.conflicts > 2 {
                    // Nothing but a compare-and-swap will do, and others want the same.
                    let most = Duration::from_millis(5 << self.conflicts.min(6));
                    self.not_before = now + self.jitter(most);
                }
            }
            Committed::Duplicate(stored) | Committed::Queued(stored) => {
                self.conflicts = 0;
                self.accepted(now);
                self.look_at = Some(now + ROUND_LEASE + self.jitter(ROUND_LEASE / 2));
                self.learn(&stored, self.answered_at(now), now);
            }
            Committed::Combine(stored, next) => {
                if batch {
                    self.accepted(now);
                }
                let before = self.round.take().filter(|_| round);
                let (rounds, since) = before.map_or((1, now), |before| (before.rounds + 1, before.since));
                self.round = Some(Combining { round: next, rounds, since });
                // What was written in the round before counts.
                self.learn(&stored, self.answered_at(now), now);
            }
            Committed::Fenced(stored) => {
                self.round = None;
                self.learn(&stored, self.answered_at(now), now);
            }
        }
    }

    fn accepted(&mut self, now: Timestamp) {
        if self.batch.take().is_some() {
            self.member.taken_settled(true);
            self.urgent_since = None;
        }
        self.flushed = now;
    }

    /// The store has answered a load, this line's own or another's.
    pub(in crate::fleet) fn loaded(&mut self, answer: Result<&Stored, &StoreError>, now: Timestamp) {
        let own = matches!(self.asked, Some(Asked::Load));
        if own {
            self.asked = None;
        }
        match answer {
            Ok(_) if self.asked.is_some() => {}
            Ok(stored) => {
                self.succeeded();
                if own && let Some(flush) = &mut self.flush {
                    flush.fetched = true;
                    self.probe_at = None;
                }
                self.learn(stored, self.answered_at(now), now);
            }
            Err(error) if own => self.failed(error, now),
            Err(_) => {}
        }
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        if std::mem::take(&mut self.alone) {
            self.member.set_reachable(None);
        }
    }

    fn failed(&mut self, error: &StoreError, now: Timestamp) {
        self.round = None;
        self.failures = self.failures.saturating_add(1);
        self.linger_longer();
        let most = (JITTER * (1 << self.failures.min(10))).min(Duration::from_secs(5));
        self.not_before = now + self.jitter(most);
        match error {
            StoreError::Foreign { .. } => self.block(now, error),
            StoreError::TooLarge { .. } => {
                // Nothing of it will ever fit.
                if self.batch.take().is_some() {
                    self.member.taken_settled(false);
                }
            }
            StoreError::Unavailable { .. } | StoreError::Refused(_) => {}
        }
        if self.urgent_since.is_some() {
            self.go_alone(Some(&error.to_string().into()));
        }
    }

    /// The store has more to do than it can.
    fn linger_longer(&mut self) {
        self.linger = (self.linger + self.linger / 2).min(LINGER_MOST);
    }

    fn block(&mut self, now: Timestamp, why: &dyn std::fmt::Display) {
        if self.blocked_until.is_none() {
            self.member.tell(News::RecordUnreadable);
        }
        self.blocked_until = Some(now + BLOCKED);
        self.alone = true;
        self.member.set_reachable(Some(&Arc::from(why.to_string())));
        if let Some(flush) = &mut self.flush {
            flush.fetched = true;
        }
    }

    /// This instance goes on by itself.
    pub(in crate::fleet) fn go_alone(&mut self, why: Option<&Arc<str>>) {
        self.urgent_since = None;
        self.alone = true;
        let unknown = || Arc::from("no answer yet");
        self.member.set_reachable(Some(&why.map_or_else(unknown, Arc::clone)));
    }

    /// Takes in what the store had at `at`.
    fn learn(&mut self, stored: &Stored, at: Timestamp, now: Timestamp) {
        let met = match self.member.meet(stored) {
            Ok(met) => met,
            Err(unreadable @ Unreadable::Newer(_)) => return self.block(now, &unreadable),
            Err(unreadable @ Unreadable::Corrupt(_)) => {
                if now.since(*self.corrupt_since.get_or_insert(now)) < CORRUPT {
                    self.load_now = false;
                    self.not_before = now + CORRUPT / 5;
                    self.alone = true;
                    self.member.set_reachable(Some(&unreadable.to_string().into()));
                    self.member.tell(News::RecordUnreadable);
                    self.known = None;
                    return;
                }
                let time = Timestamp::from_nanos(stored.now.0.saturating_mul(1_000));
                Met { record: Record::fresh(Generation::new(1), time), lost: true }
            }
        };
        self.corrupt_since = None;
        self.blocked_until = None;
        let before = self.known.take();
        let lost = met.lost.then(|| {
            let known = before.as_ref().and_then(|known| known.lost);
            known.unwrap_or_else(|| now + self.jitter(JITTER))
        });
        self.known = Some(Known { version: stored.version, record: met.record, lost, now: stored.now, at });
        if lost.is_none() {
            self.adopt(&[], now);
        }
    }

    /// Has the member do as the newest record says.
    pub(super) fn adopt(&self, granted: &[u32], now: Timestamp) {
        let Some(known) = self.known.as_ref().filter(|known| known.lost.is_none()) else {
            return;
        };
        let needs = self.member.needs();
        let waits = self.batch.is_some() || self.round.is_some();
        let settled = !waits && !needs.orders && !needs.urgent && !needs.failures;
        self.member.adopt(&known.record, self.writer, granted, settled, self.store_now(now));
    }

    /// A change was pushed. `record`: what it says, unless it must be loaded.
    pub(in crate::fleet) fn noticed(&mut self, version: Version, record: Option<Record>, now: Timestamp) {
        if version <= self.version() {
            return;
        }
        let Some(record) = record else {
            self.load_now = true;
            return;
        };
        // A version is the time of its write, or a little more where several writes fell into one microsecond.
        let estimate = self.store_now(now);
        let time = if version.0 > estimate.0.saturating_add(1_000) { StoreTime(version.0) } else { estimate };
        if self.asked.is_some() {
            // What is on its way will meet the new version by itself.
            self.member.adopt(&record, self.writer, &[], false, time);
            return;
        }
        let stored = Stored::new(version, record.save().into(), time);
        self.learn(&stored, self.member.clock(now), now);
    }
}
