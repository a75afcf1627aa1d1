//! One breaker's line to the store: what is on its way, what waits, and until when.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::bucket::Weight;
use super::core::POLL;
use super::member::{Member, News};
use crate::backoff::draw;
use crate::circuit::{Folded, Generation, Order, Record, State, Unreadable};
use crate::store::{BatchId, Commit, Committed, Round, StoreError, StoreTime, Stored, Summary, Version};
use crate::time::Timestamp;

/// One breaker's line to the store.
pub(super) struct Link {
    pub(super) member: Arc<dyn Member>,
    pub(super) key: String,
    /// Names this line in batches and records; random.
    writer: u64,
    flush_interval: Duration,
    seq: u64,
    draws: u64,
    known: Option<Known>,
    /// What was asked of the store and is not answered yet.
    asked: Option<Asked>,
    /// When the store was last asked.
    asked_at: (Timestamp, Timestamp),
    /// Taken from the member, and not accepted by the store yet.
    batch: Option<Batch>,
    round: Option<Combining>,
    /// When what waits is sent; moves as failures are waiting or not.
    flush_at: Option<Timestamp>,
    flushed: Timestamp,
    /// How long failures wait for company.
    linger: Duration,
    probe_at: Option<Timestamp>,
    /// A batch was queued; when to see whether it was taken in.
    look_at: Option<Timestamp>,
    load_now: bool,
    not_before: Timestamp,
    failures: u32,
    conflicts: u32,
    /// Since when something urgent waits.
    urgent_since: Option<Timestamp>,
    alone: bool,
    /// The record is not this release's to touch; when to look again.
    blocked_until: Option<Timestamp>,
    corrupt_since: Option<Timestamp>,
    flush: Option<Flush>,
    /// The member is gone; until when what it left may be sent.
    departing: Option<Timestamp>,
}

/// The record as the store last had it.
struct Known {
    version: Version,
    record: Record,
    /// The store has lost it; when to give it again.
    lost: Option<Timestamp>,
    /// The store's time, and what that was by the member's clock: calls and deadlines are timed by that one.
    now: StoreTime,
    at: Timestamp,
}

enum Asked {
    Load,
    Commit { folded: Box<Folded>, batch: bool, orders: usize, round: bool },
}

struct Batch {
    id: BatchId,
    bytes: Bytes,
    taken: Timestamp,
    /// It lost a race: the store may keep it for whoever combines.
    may_queue: bool,
}

struct Combining {
    round: Round,
    rounds: u32,
    since: Timestamp,
}

/// Somebody waits until everything is sent and the newest is fetched.
struct Flush {
    waiters: Vec<u64>,
    /// Fetched since.
    fetched: bool,
}

/// What a line wants.
pub(super) enum Plan {
    /// Nothing before this time.
    Wait(Option<Timestamp>),
    Load,
    Commit(Box<Commit>),
}

/// Failures wait this long for company, and up to [`LINGER_MOST`] where the store is busy.
const LINGER: Duration = Duration::from_millis(100);
const LINGER_MOST: Duration = Duration::from_secs(5);
/// A store remembers batches for 60 s; one that is older might be taken twice.
const TOO_OLD: Duration = Duration::from_secs(55);
/// A trip to be waits this long for the fleet; then this instance protects itself.
const PATIENCE: Duration = Duration::from_millis(300);
/// After so long whoever combines has done so, or is gone.
const LEASE: Duration = Duration::from_millis(500);
/// The engine waits for no answer longer than this, if it is there to stop waiting.
const LATE: Duration = Duration::from_secs(1);
/// A writer combines so often, or so long, in a row.
const ROUNDS: u32 = 20;
const COMBINING: Duration = Duration::from_millis(250);
/// Instances of a fleet do not ask for a probe, or write a lost record, all in the same moment.
const JITTER: Duration = Duration::from_millis(50);
/// A record that cannot be read is looked at again.
const BLOCKED: Duration = Duration::from_secs(60);
/// Whoever knows what a damaged record said gets this long to write it again.
const CORRUPT: Duration = Duration::from_secs(5);
/// What a breaker has left to say when it is dropped is sent within this time, or never.
const PARTING: Duration = Duration::from_secs(1);
/// Larger notices do not fit everywhere; whoever gets an empty one loads.
const NOTICE: usize = 3_000;

impl Link {
    pub(super) fn new(
        member: Arc<dyn Member>,
        key: String,
        writer: u64,
        flush_interval: Duration,
        now: Timestamp,
    ) -> Self {
        Self {
            member,
            key,
            writer,
            flush_interval,
            seq: 0,
            draws: writer,
            known: None,
            asked: None,
            asked_at: (now, now),
            batch: None,
            round: None,
            flush_at: None,
            flushed: now,
            linger: LINGER,
            probe_at: None,
            look_at: None,
            load_now: true,
            not_before: Timestamp::ZERO,
            failures: 0,
            conflicts: 0,
            urgent_since: None,
            alone: true,
            blocked_until: None,
            corrupt_since: None,
            flush: None,
            departing: None,
        }
    }

    /// The member is gone, and `departed` has what it left.
    pub(super) fn depart(&mut self, departed: Arc<dyn Member>, now: Timestamp) {
        self.member = departed;
        self.member.return_leases();
        self.not_before = Timestamp::ZERO;
        self.departing = Some(now + PARTING);
        let waiters = self.flush.take().map_or_else(Vec::new, |flush| flush.waiters);
        self.flush = Some(Flush { waiters, fetched: true });
    }

    /// Nothing of a member that is gone is left to be sent, or it cannot be.
    pub(super) fn has_departed(&self, now: Timestamp) -> bool {
        let waits = self.asked.is_some() || self.batch.is_some() || self.round.is_some();
        self.departing.is_some_and(|until| !waits || now >= until || self.failures > 0)
    }

    fn draw(&mut self) -> f64 {
        self.draws = self.draws.wrapping_add(1);
        draw(self.writer, self.draws)
    }

    fn jitter(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.draw())
    }

    pub(super) const fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// It is asked for now.
    pub(super) fn loading(&mut self, now: Timestamp) {
        self.asked_at = (now, self.member.clock(now));
    }

    /// When an answer came that is here now, by the member's clock. One that takes so long has waited for this process, which stood still: what it
    /// says about the time was true as long ago, and a lease that comes with it may be over.
    fn answered_at(&self, now: Timestamp) -> Timestamp {
        let (asked, by_member) = self.asked_at;
        if now.since(asked) > LATE { by_member } else { self.member.clock(now) }
    }

    /// A load that was wished for has not been sent.
    pub(super) fn load_later(&mut self) {
        if matches!(self.asked, Some(Asked::Load)) {
            self.asked = None;
            self.load_now = true;
        }
    }

    /// The version it knows.
    pub(super) fn version(&self) -> Version {
        self.known.as_ref().map_or(Version::NONE, |known| known.version)
    }

    /// What to do next. Called whenever anything has changed, or its time has come.
    pub(super) fn plan(&mut self, now: Timestamp, room: &mut dyn FnMut(Weight) -> Result<(), Timestamp>) -> Plan {
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
        if self.round.is_some() || self.batch.as_ref().is_some_and(|batch| now.since(batch.taken) < TOO_OLD) {
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
    fn take(&mut self, now: Timestamp) -> bool {
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
    fn store_now(&self, now: Timestamp) -> StoreTime {
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
            commit.notice = Some(if headline.len() <= NOTICE { headline.into() } else { Bytes::new() });
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

    /// The store has answered a commit.
    pub(super) fn committed(&mut self, answer: Result<Committed, StoreError>, now: Timestamp) {
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
                self.look_at = Some(now + LEASE + self.jitter(LEASE / 2));
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
    pub(super) fn loaded(&mut self, answer: Result<&Stored, &StoreError>, now: Timestamp) {
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
    pub(super) fn go_alone(&mut self, why: Option<&Arc<str>>) {
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
                crate::circuit::Met { record: Record::fresh(Generation::new(1), time), lost: true }
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
    fn adopt(&self, granted: &[u32], now: Timestamp) {
        let Some(known) = self.known.as_ref().filter(|known| known.lost.is_none()) else {
            return;
        };
        let needs = self.member.needs();
        let waits = self.batch.is_some() || self.round.is_some();
        let settled = !waits && !needs.orders && !needs.urgent && !needs.failures;
        self.member.adopt(&known.record, self.writer, granted, settled, self.store_now(now));
    }

    /// A change was pushed. `record`: what it says, unless it must be loaded.
    pub(super) fn noticed(&mut self, version: Version, record: Option<Record>, now: Timestamp) {
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

    /// Somebody waits until everything is sent and the newest is known.
    pub(super) fn flush(&mut self, waiter: u64) {
        self.not_before = Timestamp::ZERO;
        match &mut self.flush {
            Some(flush) => {
                flush.waiters.push(waiter);
                flush.fetched = false;
            }
            None => {
                self.member.return_leases();
                self.flush = Some(Flush { waiters: vec![waiter], fetched: false });
            }
        }
    }

    /// Nothing is left to do, or can be done now, for those who wait.
    pub(super) fn flushed(&mut self, is_down: bool) -> Vec<u64> {
        let is_done = self.flush.as_ref().is_some_and(|flush| flush.fetched) || self.failures > 0 || is_down;
        let done = if is_done && self.asked.is_none() { self.flush.take() } else { None };
        done.map_or_else(Vec::new, |flush| flush.waiters)
    }

    /// Whatever is known may be old.
    pub(super) const fn reload(&mut self) {
        self.load_now = true;
    }
}

enum Wish {
    Nothing(Option<Timestamp>),
    Load,
    Commit(Weight),
    Probe,
}
