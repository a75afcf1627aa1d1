//! What a replica makes of the store's answers.

use std::sync::Arc;
use std::time::Duration;

use super::poll::{JITTER, Priority};
use super::record::{Clocks, Record, Unreadable, before};
use super::replica::{Replica, Turn};
use super::state::{Combining, Contact, MAX_LINGER, MIN_LINGER, Pending, StoredRecord};
use super::status::WhenDown;
use crate::circuit::{Fact, Facts, FleetFact, Generation, Outcome, State};
use crate::store::{Committed, ROUND_LEASE, StoreError, StoreTime, Stored, Version};
use crate::time::Timestamp;

/// Something that the store has said.
#[derive(Debug)]
pub(crate) enum Response<'a> {
    /// The answer to a load, which this replica or the engine's poll asked for.
    Loaded(Result<&'a Stored, &'a StoreError>),
    /// The answer to a commit.
    Committed(Result<&'a Committed, &'a StoreError>),
    /// A change was pushed. `record`: what it says, unless it must be loaded.
    Changed { version: Version, record: Option<Record> },
}

/// The engine waits for no answer longer than this, if its process is there to stop waiting.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(1);
/// How long until a record that this release may not touch is looked at again.
const BLOCKED_RECHECK: Duration = Duration::from_secs(60);
/// How long instances that know what a damaged record said have to write it again.
const CORRUPT_GRACE: Duration = Duration::from_secs(5);
/// How far failures in a row push the next request back, at most.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

impl Replica {
    /// Takes in what the store has said. `asked_at` is when it was asked, by the engine's clock.
    pub(crate) fn handle(&mut self, response: Response<'_>, asked_at: Timestamp, turn: &mut Turn<'_>) {
        // An answer that takes too long has waited for this process, which stood still: what it says about the time was true
        // as long ago, and a lease that comes with it may be over.
        let waited = Some(turn.now.since(asked_at)).filter(|waited| *waited > MAX_ANSWER_TIME);
        let here = before(turn.at.now, waited.unwrap_or_default());
        match response {
            Response::Loaded(answer) => self.loaded(answer, here, turn),
            Response::Committed(answer) => self.committed(answer, here, turn),
            Response::Changed { version, record } => self.changed(version, record, turn),
        }
    }

    fn committed(&mut self, answer: Result<&Committed, &StoreError>, here: Timestamp, turn: &mut Turn<'_>) {
        let Some(Pending::Commit { merged, commands }) = self.state.in_flight.request.take() else {
            return;
        };
        let committed = match answer {
            Ok(committed) => committed,
            Err(error) => return self.failed(error, turn),
        };
        self.succeeded(turn);
        let now = turn.now;
        // A turn at combining takes a round into the record; the batch waits.
        let combining = self.state.in_flight.combining.take();
        let has_batch = combining.is_none() && self.state.outbox.batch.is_some();
        match committed {
            Committed::Applied { version, now: store } => {
                self.state.in_flight.conflicts = 0;
                if has_batch {
                    self.batch_accepted(now);
                    let timers = &mut self.state.timers;
                    timers.linger = timers.linger.saturating_sub(Duration::from_millis(5)).max(MIN_LINGER);
                }
                self.commands_done(commands);
                if let Some(tally) = merged.would_open {
                    turn.facts.push(Fact::WouldOpen(tally));
                }
                let at = Clocks { here, store: store.timestamp() };
                let record = Arc::new(merged.record);
                self.state.known.stored = Some(StoredRecord { version: *version, record, rewrite_at: None, at });
                self.apply_stored(&merged.granted, turn);
            }
            Committed::Conflict(stored) => {
                self.state.in_flight.combining = combining;
                self.state.in_flight.conflicts += 1;
                let conflicts = self.state.in_flight.conflicts;
                if let Some(batch) = &mut self.state.outbox.batch
                    && std::mem::replace(&mut batch.may_queue, true)
                {
                    // It might have been queued, but too many wait already.
                    self.linger_longer();
                }
                self.learn_stored(stored, here, turn);
                if self.state.outbox.batch.is_none() || conflicts > 2 {
                    // Nothing but a compare-and-swap will do, and other instances want the same.
                    let most = Duration::from_millis(5 << conflicts.min(6));
                    self.state.timers.not_before = now + self.state.jitter(most);
                }
            }
            Committed::Duplicate(stored) | Committed::Queued(stored) => {
                self.state.in_flight.combining = combining;
                self.state.in_flight.conflicts = 0;
                self.batch_accepted(now);
                self.look_after_round(now);
                self.learn_stored(stored, here, turn);
            }
            Committed::Combine(stored, round) => {
                // Of a commit without a round the store took nothing but its batch: commands wait until the turn is over, leases
                // were not granted. One with a round was written.
                if has_batch {
                    self.batch_accepted(now);
                }
                if let Some(tally) = merged.would_open.filter(|_| combining.is_some()) {
                    turn.facts.push(Fact::WouldOpen(tally));
                }
                let (rounds, since) = combining.map_or((1, now), |before| (before.rounds + 1, before.since));
                self.state.in_flight.combining = Some(Combining { round: round.clone(), rounds, since });
                // What was written in the round before counts.
                self.learn_stored(stored, here, turn);
            }
            Committed::Fenced(stored) => {
                self.look_after_round(now);
                self.learn_stored(stored, here, turn);
            }
        }
    }

    /// The store has a batch of this instance that no record is known to contain: once the round that is to take it in must
    /// be over, it may be this instance's turn.
    fn look_after_round(&mut self, now: Timestamp) {
        self.state.timers.look_at = Some(now + ROUND_LEASE + self.state.jitter(ROUND_LEASE / 2));
    }

    fn batch_accepted(&mut self, now: Timestamp) {
        if self.state.settle_batch(true) {
            self.state.timers.urgent_since = None;
        }
        self.state.timers.flushed_at = now;
    }

    fn loaded(&mut self, answer: Result<&Stored, &StoreError>, here: Timestamp, turn: &mut Turn<'_>) {
        let request = &mut self.state.in_flight.request;
        let is_own = matches!(request, Some(Pending::Load));
        if is_own {
            *request = None;
        }
        match answer {
            // A commit on its way will meet what the store has by itself.
            Ok(_) if request.is_some() => {}
            Ok(stored) => {
                self.succeeded(turn);
                if is_own && let Some(is_fetched) = &mut self.state.timers.flush {
                    *is_fetched = true;
                    self.state.timers.probe_at = None;
                }
                self.learn_stored(stored, here, turn);
            }
            Err(error) if is_own => self.failed(error, turn),
            Err(_) => {}
        }
    }

    fn changed(&mut self, version: Version, record: Option<Record>, turn: &mut Turn<'_>) {
        if version <= self.state.known.stored.as_ref().map_or(Version::NONE, |stored| stored.version) {
            return;
        }
        let Some(record) = record else {
            self.state.known.must_load = true;
            return;
        };
        // A version is the time of its write, or a little more where several writes fell into one microsecond.
        let (written, estimate) = (StoreTime(version.0).timestamp(), self.store_now(turn.at.now));
        let store = if written > estimate + Duration::from_millis(1) { written } else { estimate };
        let at = Clocks { here: turn.at.now, store };
        if self.state.in_flight.request.is_some() {
            // What is on its way will meet the new version by itself.
            self.apply(&Arc::new(record), &[], false, at.store, turn);
            return;
        }
        self.learn_record(version, Ok(Some(record)), None, at, turn);
    }

    fn succeeded(&mut self, turn: &mut Turn<'_>) {
        self.state.in_flight.failures = 0;
        if !self.state.is_reachable() {
            self.set_contact(Contact::Answers, turn);
        }
    }

    fn failed(&mut self, error: &StoreError, turn: &mut Turn<'_>) {
        if self.state.in_flight.combining.take().is_some() {
            self.look_after_round(turn.now);
        }
        self.state.in_flight.failures = self.state.in_flight.failures.saturating_add(1);
        self.linger_longer();
        let most = (JITTER * (1 << self.state.in_flight.failures.min(10))).min(MAX_BACKOFF);
        self.state.timers.not_before = turn.now + self.state.jitter(most);
        match error {
            StoreError::Foreign { .. } => self.block(&error.explain().into(), turn),
            StoreError::TooLarge { .. } => {
                // Nothing of it will ever fit.
                self.state.settle_batch(false);
            }
            StoreError::Unavailable { .. } | StoreError::Refused(_) => {}
        }
        if self.state.timers.urgent_since.is_some() {
            self.go_alone(Some(&error.explain().into()), turn);
        }
    }

    /// The store has more to do than it can.
    fn linger_longer(&mut self) {
        let timers = &mut self.state.timers;
        timers.linger = (timers.linger + timers.linger / 2).min(MAX_LINGER);
    }

    /// The record is not this release's to touch.
    fn block(&mut self, why: &Arc<str>, turn: &mut Turn<'_>) {
        if self.state.known.blocked_until.is_none() {
            turn.facts.push(Fact::Fleet(FleetFact::RecordUnreadable));
        }
        self.state.known.blocked_until = Some(turn.now + BLOCKED_RECHECK);
        self.set_contact(Contact::Away(why.clone()), turn);
        if let Some(is_fetched) = &mut self.state.timers.flush {
            *is_fetched = true;
        }
    }

    /// This instance goes on by itself.
    pub(super) fn go_alone(&mut self, why: Option<&Arc<str>>, turn: &mut Turn<'_>) {
        self.state.timers.urgent_since = None;
        let why = why.map_or_else(|| Arc::from("no answer yet"), Arc::clone);
        self.set_contact(Contact::Away(why), turn);
    }

    /// The store answers, or does not. Where it does not, and the user wants that, this instance decides for itself what it
    /// had left to the fleet.
    pub(super) fn set_contact(&mut self, contact: Contact, turn: &mut Turn<'_>) {
        let was_reachable = self.state.is_reachable();
        self.state.known.contact = contact;
        if self.state.is_reachable() == was_reachable {
            return;
        }
        let outbox = &mut self.state.outbox;
        let awaited = std::mem::take(&mut outbox.awaits_verdict) | std::mem::take(&mut outbox.verdict_asked);
        let is_local = was_reachable && self.state.terms.when_down == WhenDown::Local;
        if !is_local || !awaited || self.machine.state() != State::Closed || self.machine.overridden().is_some() {
            return;
        }
        let now = turn.at.now;
        let mut news = Facts::default();
        let tally = self.machine.judge(&mut news, |detector| detector.verdict(now).then(|| detector.tally(now)));
        if let Some(tally) = tally.flatten() {
            self.machine.trip(turn.rules, tally, Outcome::Failure, turn.at, &mut news);
        }
        self.learn(&news, now, turn.facts);
    }

    /// Takes in what the store had when it was `here` on this instance's clock.
    fn learn_stored(&mut self, stored: &Stored, here: Timestamp, turn: &mut Turn<'_>) {
        let record = if stored.record.is_empty() { Ok(None) } else { Record::load(&stored.record).map(Some) };
        let open = stored.adopted.filter(|left| left.state == State::Open).and_then(|left| left.open_until);
        let at = Clocks { here, store: stored.now.timestamp() };
        self.learn_record(stored.version, record, open.map(StoreTime::timestamp), at, turn);
    }

    fn learn_record(
        &mut self,
        version: Version,
        record: Result<Option<Record>, Unreadable>,
        legacy_open_until: Option<Timestamp>,
        at: Clocks,
        turn: &mut Turn<'_>,
    ) {
        let now = turn.now;
        let (record, lost) = match self.reconcile(record, legacy_open_until, at.store) {
            Ok(reconciled) => reconciled,
            Err(newer @ Unreadable::Newer(_)) => return self.block(&newer.to_string().into(), turn),
            Err(corrupt @ Unreadable::Corrupt(_)) => {
                if now.since(*self.state.known.corrupt_since.get_or_insert(now)) < CORRUPT_GRACE {
                    self.state.known.must_load = false;
                    self.state.timers.not_before = now + CORRUPT_GRACE / 5;
                    self.set_contact(Contact::Away(corrupt.to_string().into()), turn);
                    turn.facts.push(Fact::Fleet(FleetFact::RecordUnreadable));
                    self.state.known.stored = None;
                    return;
                }
                (Record::fresh(Generation::new(1), at.store), true)
            }
        };
        self.state.known.corrupt_since = None;
        self.state.known.blocked_until = None;
        let before = self.state.known.stored.take();
        let rewrite_at = lost.then(|| {
            let known = before.and_then(|stored| stored.rewrite_at);
            known.unwrap_or_else(|| now + self.state.jitter(JITTER))
        });
        self.state.known.stored = Some(StoredRecord { version, record: Arc::new(record), rewrite_at, at });
        self.apply_stored(&[], turn);
    }

    /// Follows the record that the store is known to have.
    pub(super) fn apply_stored(&mut self, granted: &[u32], turn: &mut Turn<'_>) {
        let stored = self.state.known.stored.as_ref().filter(|stored| stored.rewrite_at.is_none());
        let Some(record) = stored.map(|stored| stored.record.clone()) else {
            return;
        };
        let has_news = self.waits(turn.at.now) >= Some(Priority::Failures);
        let (outbox, in_flight) = (&self.state.outbox, &self.state.in_flight);
        let settled =
            !has_news && outbox.batch.is_none() && in_flight.combining.is_none() && outbox.commands.is_empty();
        self.apply(&record, granted, settled, self.store_now(turn.at.now), turn);
    }
}
