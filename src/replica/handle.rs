//! What a replica makes of the store's answers.

use std::sync::Arc;
use std::time::Duration;

use super::census::Census;
use super::clocks::{Clocks, Estimate, before};
use super::notice::Announcement;
use super::poll::JITTER;
use super::pooled::Suspicion;
use super::push::Asked;
use super::record::{Record, Unreadable};
use super::replica::{Replica, Turn};
use super::state::{
    CALM_LINGER, Combining, Contact, Failing, MAX_LINGER, MIN_LINGER, POLL_INTERVAL, Pending, Protocol, StoredRecord,
};
use super::status::WhenDown;
use crate::circuit::{Fact, Facts, FleetFact, Generation, Outcome, State, StepContext};
use crate::store::{Committed, ROUND_LEASE, StoreError, StoreTime, Stored, Version};
use crate::time::Timestamp;

/// Something that the store has said.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Response<'a> {
    /// The answer to a load, which this replica or the engine's poll asked for.
    Loaded(Result<&'a Stored, &'a StoreError>),
    /// The answer to a commit.
    Committed(Result<&'a Committed, &'a StoreError>),
    /// A change was pushed.
    Changed { version: Version, announcement: Announcement },
}

/// The engine waits for no answer longer than this, if its process is there to stop waiting.
const MAX_ANSWER_TIME: Duration = Duration::from_secs(1);
/// How long until a record that this release may not touch is looked at again.
const BLOCKED_RECHECK: Duration = Duration::from_secs(60);
/// How long instances that know what a damaged record said have to write it again.
const CORRUPT_GRACE: Duration = Duration::from_secs(5);
/// So many races in a row an instance may lose that ends its own suspicion before it waits as others do.
const MAX_RACES: u32 = 6;
/// How far failures in a row push the next request back, at most.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

impl Replica {
    /// Takes in what the store has said. `asked_at` is when it was asked, by the engine's clock.
    pub(crate) fn handle(&mut self, response: Response<'_>, asked_at: Timestamp, turn: &mut Turn<'_>) {
        // An answer that takes too long has waited for this process, which stood still: what it says about the time was true
        // as long ago, and a lease that comes with it may be over.
        let waited = Some(turn.now.since(asked_at)).filter(|waited| *waited > MAX_ANSWER_TIME);
        let here = before(turn.at.now, waited.unwrap_or_default());
        let store = match &response {
            Response::Loaded(answer) => answer.ok().map(|stored| stored.now),
            Response::Committed(answer) => answer.ok().map(Committed::now),
            Response::Changed { .. } => None,
        };
        if let Some(store) = store {
            let took = turn.now.since(asked_at).min(MAX_ANSWER_TIME);
            let at = Clocks { here, store: store.timestamp() };
            self.state.own.clock = Some(Estimate::learn(self.state.own.clock, at, took));
        }
        match response {
            Response::Loaded(answer) => self.loaded(answer, here, turn),
            Response::Committed(answer) => self.committed(answer, here, turn),
            Response::Changed { version, announcement } => self.changed(version, announcement, turn),
        }
    }

    fn committed(&mut self, answer: Result<&Committed, &StoreError>, here: Timestamp, turn: &mut Turn<'_>) {
        let Some(Pending::Commit { merged, commands }) = self.state.in_flight.request.take() else {
            return;
        };
        let committed = match answer {
            Ok(committed) => committed,
            Err(error) => return self.failed(error, true, turn),
        };
        self.succeeded(turn);
        self.note_written(committed);
        let now = turn.now;
        // A turn at combining takes a round into the record; the batch waits.
        let combining = self.state.in_flight.combining.take();
        let has_batch = combining.is_none() && self.state.outbox.batch.is_some();
        match committed {
            Committed::Applied { version, .. } => {
                let had_conflicts = std::mem::take(&mut self.state.in_flight.conflicts) > 0;
                self.took_something();
                if has_batch {
                    self.state.in_flight.is_contended = had_conflicts;
                    self.batch_accepted();
                    let timers = &mut self.state.timers;
                    timers.linger = timers.linger.saturating_sub(Duration::from_millis(5)).max(MIN_LINGER);
                }
                self.commands_done(commands);
                if let Some(verdict) = merged.would_open {
                    turn.facts.push(Fact::WouldOpen(verdict.tally));
                }
                if merged.drops_evidence {
                    turn.facts.push(Fact::Fleet(FleetFact::EvidenceDropped));
                }
                if merged.tells_all || merged.began {
                    self.state.known.push.note_sent(*version, now);
                }
                self.hold(StoredRecord { version: *version, record: Arc::new(merged.record), rewrite_at: None }, turn);
                self.end_vain_protection(has_batch, turn);
            }
            Committed::Conflict(stored) => {
                self.state.in_flight.combining = combining;
                self.lost_race(stored, here, turn);
            }
            Committed::Duplicate(stored) | Committed::Queued(stored) => {
                self.state.in_flight.combining = combining;
                self.state.in_flight.conflicts = 0;
                self.took_something();
                self.batch_accepted();
                self.look_after_queued(now, stored.now.timestamp() + ROUND_LEASE);
                self.learn_stored(stored, here, turn);
            }
            Committed::Combine(stored, round) => {
                // Of a commit without a round the store took nothing but its batch: commands wait until the turn is
                // over, leases were not granted. One with a round was written.
                self.took_something();
                if has_batch {
                    self.batch_accepted();
                }
                if let Some(verdict) = merged.would_open.filter(|_| combining.is_some()) {
                    turn.facts.push(Fact::WouldOpen(verdict.tally));
                }
                let (rounds, since) = combining.map_or((1, now), |before| (before.rounds + 1, before.since));
                let handed_out = stored.now.timestamp();
                self.state.in_flight.combining = Some(Combining { round: round.clone(), rounds, since, handed_out });
                // What was written in the round before counts.
                self.learn_stored(stored, here, turn);
            }
            Committed::Fenced(stored) => {
                self.look_after_round(now);
                self.learn_stored(stored, here, turn);
            }
        }
    }

    /// Trouble with writing is over when something was written, and when the record is another since: it can be, then. A batch
    /// that is queued beside a record shows neither.
    fn note_written(&mut self, committed: &Committed) {
        let is_written = match committed {
            Committed::Applied { .. } | Committed::Combine(..) => {
                self.state.timers.forget_look();
                true
            }
            Committed::Conflict(stored)
            | Committed::Duplicate(stored)
            | Committed::Queued(stored)
            | Committed::Fenced(stored) => stored.version > self.known_version(),
        };
        self.state.known.trouble.take_if(|(_, failing)| is_written || *failing == Failing::Loads);
    }

    fn lost_race(&mut self, stored: &Stored, here: Timestamp, turn: &mut Turn<'_>) {
        let now = turn.now;
        self.state.in_flight.conflicts += 1;
        let conflicts = self.state.in_flight.conflicts;
        let Protocol { outbox, in_flight, .. } = &mut **self.state;
        if let Some(batch) = &mut outbox.batch {
            in_flight.is_contended = true;
            if std::mem::replace(&mut batch.may_queue, true) && conflicts > 1 {
                // It might have been queued, but too many wait already.
                self.linger_longer();
            }
        }
        self.learn_stored(stored, here, turn);
        self.put_off_look(now);
        let may_be_queued = self.state.outbox.batch.is_some() && conflicts <= 2;
        if !may_be_queued && (!self.ends_own_suspicion(now) || conflicts > MAX_RACES) {
            // Nothing but a compare-and-swap will do, and other instances want the same.
            let most = Duration::from_millis(5 << conflicts.min(6));
            self.state.timers.not_before = now + self.state.jitter(most);
        }
    }

    /// Tells whether a suspicion is to be ended that this instance has raised: no other one wants to yet.
    fn ends_own_suspicion(&self, now: Timestamp) -> bool {
        let census = self.state.known.census.as_ref();
        census.is_some_and(|census| census.suspicion.raised_by == self.state.own.writer && census.end_at <= now)
    }

    /// The store has a batch of this instance that no record is known to contain: once the round that is to take it in must
    /// be over, it may be this instance's turn.
    fn look_after_round(&mut self, now: Timestamp) {
        let look_at = self.after_round(now);
        self.state.timers.forget_look();
        self.state.timers.look_at = Some(look_at);
    }

    /// The same for a batch that a record contains that is written by then. One that is queued later does not put it off.
    fn look_after_queued(&mut self, now: Timestamp, taken_in_by: Timestamp) {
        let look_at = self.after_round(now);
        let timers = &mut self.state.timers;
        if timers.look_at.is_some() && timers.taken_in_by.is_some() {
            timers.queued_later = Some((look_at, taken_in_by));
        } else {
            (timers.look_at, timers.taken_in_by) = (Some(look_at), Some(taken_in_by));
        }
    }

    /// It was this instance's turn, and it could not be taken.
    fn put_off_look(&mut self, now: Timestamp) {
        if self.state.timers.look_at.is_some_and(|at| at <= now) {
            let again = self.after_round(now);
            let timers = &mut self.state.timers;
            timers.look_at = timers.taken_in_by.map(|_| again);
        }
    }

    fn after_round(&mut self, now: Timestamp) -> Timestamp {
        now + ROUND_LEASE + self.state.jitter(POLL_INTERVAL)
    }

    fn batch_accepted(&mut self) {
        if self.state.settle_batch(true) {
            self.state.timers.urgent_since = None;
        }
    }

    /// The store takes what this instance writes.
    fn took_something(&mut self) {
        self.state.known.is_stuck = false;
        self.state.timers.urgent_since = None;
    }

    /// The record knows what this instance has told, and does not suspect what its own detector says: other instances have
    /// had calls as well.
    fn end_vain_protection(&mut self, has_told: bool, turn: &mut Turn<'_>) {
        if has_told && self.state.known.census.is_none() && !self.state.outbox.untold.has_trip() {
            self.end_protection(turn.at.now, turn.facts);
        }
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
                self.state.known.trouble.take_if(|(_, failing)| *failing == Failing::Loads);
                if is_own && let Some(is_fetched) = &mut self.state.timers.flush {
                    *is_fetched = true;
                    self.state.timers.probe_at = None;
                }
                self.learn_stored(stored, here, turn);
                self.end_needless_trouble(turn.at.now);
            }
            Err(error) if is_own => self.failed(error, false, turn),
            Err(_) => {}
        }
    }

    /// The store tells of a change. What the notice says is not believed: who may send one need not be one of the fleet.
    fn changed(&mut self, version: Version, announcement: Announcement, turn: &Turn<'_>) {
        self.state.known.push.note_heard(version);
        if version <= self.known_version() {
            return;
        }
        let rule_here = self.state.outbox.untold.rule;
        match announcement {
            Announcement::Load => self.state.known.push.ask_to_load(version),
            Announcement::Trouble => self.state.known.push.tells_of_trouble = true,
            Announcement::Suspected { rule, number, cut } if rule == rule_here => {
                self.hear_of(version, (number, cut), turn);
            }
            Announcement::Cleared { rule, number } if rule == rule_here => self.hear_of_end(version, number, turn),
            Announcement::Suspected { .. } | Announcement::Cleared { .. } => {}
        }
    }

    /// All are asked what they have seen, a notice says: this instance tells it after the cut. However many notices come, it
    /// does not tell more often than five times a second for that, and what it tells is what it has seen.
    fn hear_of(&mut self, version: Version, (number, cut): (u64, Timestamp), turn: &Turn<'_>) {
        let known = &self.state.known;
        let is_old = number < known.censuses_over
            || known.census.as_ref().is_some_and(|census| number <= census.suspicion.number);
        let may_answer = self.state.is_pooled() && self.machine.state() == State::Closed && self.state.asks_fleet();
        if is_old || !may_answer {
            return;
        }
        let protects = known.protection.and_then(|protection| protection.awaits).is_some_and(|awaits| awaits < number);
        let is_asked_otherwise = known.push.asked.is_some_and(|asked| (asked.number, asked.cut) != (number, cut));
        if protects || is_asked_otherwise {
            // The record says which it is.
            self.state.known.push.ask_to_load(version);
        }
        if self.state.known.push.asked.is_some() {
            return;
        }
        let here = turn.at.now;
        let (draw, store, error) = (self.state.chance(), self.state.store_at(here), self.state.clock_error(here));
        let answer_at = Census::answer_at(cut, (turn.now, store), error, draw);
        let earliest = self.state.timers.answered_at.map_or(Timestamp::ZERO, |told| told + CALM_LINGER);
        self.state.known.push.asked = Some(Asked { number, cut, answer_at: answer_at.max(earliest) });
    }

    /// A suspicion has come to nothing, a notice says. An instance that only stands in for the one that ends it leaves
    /// it the time that a poll takes, once; one that waits for the verdict sees whether that is so.
    fn hear_of_end(&mut self, version: Version, number: u64, turn: &Turn<'_>) {
        if let Some(census) = self.state.known.census.as_mut().filter(|census| census.suspicion.number <= number) {
            census.wait_for_poll(turn.now + POLL_INTERVAL * 3 / 2);
            if self.state.known.protection.is_some() || self.state.timers.flush.is_some() {
                self.state.known.push.ask_to_load(version);
            }
        }
    }

    /// Takes part in a census.
    pub(super) fn begin_census(&mut self, suspicion: Suspicion, turn: &Turn<'_>) {
        let here = turn.at.now;
        let is_raiser = suspicion.raised_by == self.state.own.writer;
        let draws = (self.state.chance(), self.state.chance());
        let (store, error) = (self.state.store_at(here), self.state.clock_error(here));
        let mut census = Census::hear(suspicion, is_raiser, (turn.now, store), error, draws);
        if self.state.outbox.untold.is_told_up_to(suspicion.cut) {
            // A notice of it has been answered.
            census.answer_at = None;
        }
        if let Some(asked) = self.state.known.push.asked.take_if(|asked| asked.number <= suspicion.number)
            && asked.cut == suspicion.cut
        {
            census.answer_at = census.answer_at.map(|at| at.min(asked.answer_at));
        }
        self.state.known.census = Some(census);
        self.protect_until(suspicion.due(), here);
    }

    fn known_version(&self) -> Version {
        self.state.known.stored.as_ref().map_or(Version::NONE, |stored| stored.version)
    }

    fn succeeded(&mut self, turn: &mut Turn<'_>) {
        self.state.in_flight.failures = 0;
        if !self.state.is_reachable() && !self.state.known.is_stuck {
            self.set_contact(Contact::Answers, turn);
        }
    }

    fn failed(&mut self, error: &StoreError, wrote: bool, turn: &mut Turn<'_>) {
        if self.state.in_flight.combining.take().is_some() {
            self.look_after_round(turn.now);
        } else if wrote {
            self.put_off_look(turn.now);
        }
        self.state.in_flight.failures = self.state.in_flight.failures.saturating_add(1);
        self.linger_longer();
        let why: Arc<str> = error.explain().into();
        let failing = match error {
            StoreError::TooLarge { .. } if wrote => Failing::Size,
            _ if wrote => Failing::Writes,
            _ => Failing::Loads,
        };
        self.state.known.trouble = Some((why.clone(), failing));
        let most = (JITTER * (1 << self.state.in_flight.failures.min(10))).min(MAX_BACKOFF);
        self.state.timers.not_before = turn.now + self.state.jitter(most);
        match error {
            StoreError::Foreign { .. } => self.block(&why, turn),
            StoreError::TooLarge { .. } => {
                // Nothing of it will ever fit.
                self.state.settle_batch(false);
            }
            StoreError::Unavailable { .. } | StoreError::Busy(_) | StoreError::Refused(_) => {}
        }
        if self.state.timers.urgent_since.is_some() {
            self.go_alone(Some(&why), turn);
        }
    }

    /// What could not be written is not to be written any more, so no write will show that it could be: the record is known,
    /// and others have seen to it.
    pub(super) fn end_needless_trouble(&mut self, here: Timestamp) {
        let known = &self.state.known;
        let must_write = known.census.is_some()
            || known.stored.as_ref().is_none_or(|stored| stored.rewrite_at.is_some())
            || self.state.timers.look_at.is_some()
            || !self.is_settled()
            || self.wants_lease(here);
        if !must_write {
            self.state.known.trouble.take_if(|(_, failing)| *failing == Failing::Writes);
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
        self.end_protection(turn.at.now, turn.facts);
        self.state.known.census = None;
        if was_reachable && self.state.is_pooled() && self.machine.state() == State::Closed {
            self.take_over_evidence(turn.at.now, turn.facts);
        }
        let is_local = was_reachable && self.state.is_pooled() && self.state.terms.when_down == WhenDown::Local;
        let tripped = self.state.outbox.untold.tripped().copied();
        let (Some(trip), true, State::Closed) = (tripped, is_local, self.machine.state()) else {
            return;
        };
        // What it tripped on awaited a verdict; it may be over.
        let now = turn.at.now;
        let mut news = Facts::default();
        if self.machine.judge(&mut news, |detector| detector.verdict(now)) == Some(true) {
            let outcome = trip.retry_after.map_or(Outcome::Failure, Outcome::FailureAfter);
            self.machine.trip(turn.rules, trip.tally, outcome, turn.at, &mut news);
        }
        self.learn(&news, now, turn.facts);
    }

    /// Takes in what the store had when it was `here` on this instance's clock.
    fn learn_stored(&mut self, stored: &Stored, here: Timestamp, turn: &mut Turn<'_>) {
        // A record that is known is not read anew: what was cut when it was first seen stays cut. It is cut again,
        // though: the clock may have been set back since.
        let known = self.state.known.stored.as_ref();
        let known = known.filter(|known| known.version == stored.version && known.rewrite_at.is_none());
        let mut record = match known {
            _ if stored.record.is_empty() => Ok(None),
            Some(known) => Ok(Some((*known.record).clone())),
            None => Record::load(&stored.record).map(Some),
        };
        if let Ok(Some(record)) = &mut record {
            record.cut_to(stored.now.timestamp(), turn.rules.probes.deadline_after());
        }
        let open = stored.adopted.filter(|left| left.state == State::Open).and_then(|left| left.open_until);
        let at = Clocks { here, store: stored.now.timestamp() };
        self.learn_record(stored.version, record, open.map(StoreTime::timestamp), at, turn);
        if Record::is_of_older_format(&stored.record) && self.state.known.stored.is_some() {
            // All instances are to read the same: one writes it anew, whether anything else is to be written or not.
            let at = turn.now + self.state.jitter(JITTER);
            let timers = &mut self.state.timers;
            timers.look_at = Some(timers.look_at.map_or(at, |known| known.min(at)));
        }
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
        let (mut record, mut lost) = match self.reconcile(record, legacy_open_until, at.store) {
            Ok(reconciled) => reconciled,
            Err(newer @ Unreadable::Newer(_)) => return self.block(&newer.to_string().into(), turn),
            Err(corrupt @ Unreadable::Corrupt(_)) => {
                let is_news = self.state.known.corrupt_since.is_none();
                let since = *self.state.known.corrupt_since.get_or_insert(now);
                // What an operator commands replaces it at once.
                if now.since(since) < CORRUPT_GRACE && self.state.outbox.commands.is_empty() {
                    self.state.known.must_load = false;
                    self.state.timers.not_before = now + CORRUPT_GRACE / 5;
                    self.set_contact(Contact::Away(corrupt.to_string().into()), turn);
                    if is_news {
                        turn.facts.push(Fact::Fleet(FleetFact::RecordUnreadable));
                    }
                    self.state.known.stored = None;
                    return;
                }
                (Record::fresh(Generation::new(1), at.store), true)
            }
        };
        // An operator has left it to the fleet for how long: what the first instance writes counts for all.
        let awaits_cooldown = record.machine.history().awaits_cooldown;
        if awaits_cooldown {
            let opened = StepContext { now: record.machine.since, ..turn.at };
            record.machine.history_mut().decide_cooldown(turn.rules, opened);
            lost = true;
        }
        self.state.known.corrupt_since = None;
        self.state.known.blocked_until = None;
        // The instance that wrote this met an empty outbox, or goes on emptying it.
        self.state.timers.end_look(StoreTime(version.0).timestamp());
        let before = self.state.known.stored.take();
        let rewrite_at = lost.then(|| {
            let known = before.and_then(|stored| stored.rewrite_at);
            known.unwrap_or_else(|| now + self.state.jitter(JITTER))
        });
        let proposal = awaits_cooldown.then(|| {
            let mut record = record.clone();
            record.machine.history_mut().awaits_cooldown = true;
            Arc::new(record)
        });
        self.hold(StoredRecord { version, record: Arc::new(record), rewrite_at }, turn);
        if let Some(record) = proposal {
            // The circuit is open all the same, also where this instance may not write, or another one is faster.
            self.apply(&record, self.store_now(turn), turn);
        }
    }

    /// The store has this record now.
    fn hold(&mut self, stored: StoredRecord, turn: &mut Turn<'_>) {
        self.state.known.push.note_known(stored.version);
        self.state.known.push.tells_of_trouble = false;
        self.state.known.stored = Some(stored);
        self.apply_stored(turn);
    }

    /// Follows the record that the store is known to have.
    pub(super) fn apply_stored(&mut self, turn: &mut Turn<'_>) {
        let stored = self.state.known.stored.as_ref().filter(|stored| stored.rewrite_at.is_none());
        let Some(record) = stored.map(|stored| stored.record.clone()) else {
            return;
        };
        self.apply(&record, self.store_now(turn), turn);
    }
}
