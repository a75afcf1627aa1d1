//! What goes into a commit: a batch of what this instance has to tell, and the record that it makes of the stored one.

use std::time::Duration;

use super::batch::{Batch, Command};
use super::clocks::translate;
use super::merge::News;
use super::notice::Announcement;
use super::poll::{Budget, JITTER, Plan, Priority, Request, Why};
use super::pooled::{Moment, Telling, kept_at_first};
use super::record::Record;
use super::replica::{Replica, Turn};
use super::state::{Merged, POLL_INTERVAL, Pending, Protocol, StoredRecord, TakenBatch};
use crate::circuit::{Fact, FleetFact, State};
use crate::store::{BatchId, Commit, MAX_ROUND_BATCHES, StoreTime, Summary, Version};
use crate::time::Timestamp;

/// A turn at combining ends after so many rounds, or so long.
const MAX_ROUNDS: u32 = 20;
const MAX_COMBINING_TIME: Duration = Duration::from_millis(250);
/// A command to trip or to reset that the store did not take for so long is void.
const MAX_COMMAND_AGE: Duration = Duration::from_secs(60);

/// What writes a record over that version, by the store's time now.
pub(super) fn commit_of(record: &Record, expected: Version, now: Timestamp) -> Commit {
    let summary = Summary {
        state: record.state(),
        failures: record.failures(),
        open_until: record.until().filter(|_| record.state() == State::Open).map(StoreTime::from),
        generation: record.generation().get(),
    };
    Commit::new(expected, record.save().into(), summary, record.ttl(now))
}

impl Replica {
    /// Takes out what waits; `false` where that is nothing any more.
    pub(super) fn take_batch(&mut self, turn: &Turn<'_>, why: Why) -> bool {
        self.state.timers.flush_at = None;
        // Before the fleet's generation is known, it is not known either what the batch belongs to.
        let Some(generation) = self.state.generation() else {
            return false;
        };
        if let Some(writer) = self.state.known.next_writer.take() {
            self.state.own.writer = writer;
            self.state.outbox.batches = 0;
            let Protocol { terms, outbox, .. } = &mut **self.state;
            if let Some(voter) = &mut terms.voter {
                voter.renew(writer);
                // One that is taken back was given before, by the other one too.
                let vote = outbox.vote.as_mut().filter(|vote| vote.until > vote.cast);
                vote.into_iter().for_each(|vote| vote.voter = voter.name.clone());
            }
        }
        let (here, there) = (turn.at.now, self.store_now(turn));
        let tells = why != Why::News || self.waits().is_some();
        let telling = tells.then(|| self.telling(turn, why)).flatten();
        let writer = self.state.own.writer;
        let Protocol { outbox, timers, in_flight, .. } = &mut **self.state;
        let (probes, vote) = (std::mem::take(&mut outbox.probes), outbox.vote.take());
        let mut batch = Batch { generation, telling, probes, vote };
        if batch.telling.is_none() && batch.probes.is_empty() && batch.vote.is_none() {
            return false;
        }
        batch.probes.iter_mut().for_each(|probed| probed.at = translate(probed.at, here, there));
        if let Some(vote) = &mut batch.vote {
            (vote.cast, vote.until) = (translate(vote.cast, here, there), translate(vote.until, here, there));
            // Whatever became of the clocks since the last one: this is the later.
            vote.delay(outbox.voted_at + Duration::from_nanos(1));
            outbox.voted_at = vote.cast;
        }
        timers.flushed_at = Some(turn.now);
        if let Why::Asked(..) = why {
            timers.answered_at = Some(turn.now);
        }
        outbox.batches += 1;
        let id = BatchId { writer, seq: outbox.batches };
        let calls = batch.telling.as_ref().map_or(0, Telling::calls);
        // Many answer at once, and most of them by a record that is not the newest.
        let may_queue = matches!(why, Why::Asked(..)) || in_flight.is_contended;
        outbox.batch = Some(TakenBatch { id, batch, taken_at: turn.now, calls, may_queue });
        true
    }

    /// What this instance has to tell of its calls, where it does.
    fn telling(&mut self, turn: &Turn<'_>, why: Why) -> Option<Telling> {
        if !self.state.is_pooled() {
            return None;
        }
        let (here, there) = (turn.at.now, self.store_now(turn));
        let (answers, cut) = match why {
            Why::Asked(number, cut) => (Some(number), Some(cut)),
            Why::News | Why::Withdraws => (None, None),
        };
        let untold = &self.state.outbox.untold;
        let evidence = self.state.known.stored.as_ref().and_then(|stored| stored.record.evidence_of(untold.rule));
        let moment = Moment {
            here,
            there,
            answers,
            // What was waited for by a clock that goes on is over, also where another stands still.
            up_to: cut.map_or(there, |cut| there.max(cut)),
            clock_error: self.state.clock_error(here),
            has_push: self.state.known.push.is_heard(),
            kept_for: evidence
                .map_or_else(|| kept_at_first(self.state.clock_error(here)), |evidence| evidence.kept_for(there)),
        };
        let own = &mut self.state.own;
        own.rates.decay(here);
        let (writer, rates) = (own.writer, own.rates);
        let telling = self.state.outbox.untold.take(writer, &rates, &moment);
        Some(telling)
    }

    /// The store's time in whole microseconds, as far as it is known here.
    pub(super) fn store_now(&self, turn: &Turn<'_>) -> Timestamp {
        StoreTime::from(self.state.store_at(turn.at.now)).timestamp()
    }

    /// The commands that wait, oldest first, as of now. One to change the state is good only while it is fresh: a fleet must
    /// not open because of what an operator wanted before a long outage of the store.
    pub(super) fn fresh_commands(&mut self, here: Timestamp) -> Vec<Command> {
        let commands = &mut self.state.outbox.commands;
        let as_of_now = |(at, command): &(Timestamp, Command)| match command {
            Command::Override(order) => order.after(here.since(*at)).map(Command::Override),
            Command::Trip | Command::Reset if here.since(*at) >= MAX_COMMAND_AGE => None,
            other => Some(other.clone()),
        };
        commands.retain(|command| as_of_now(command).is_some());
        commands.iter().filter_map(as_of_now).collect()
    }

    /// The first `count` commands that wait are done.
    pub(super) fn commands_done(&mut self, count: usize) {
        let commands = &mut self.state.outbox.commands;
        commands.drain(..count.min(commands.len()));
    }

    /// Takes the round at hand into the record, or else the batch, or else the commands that wait.
    pub(super) fn commit(
        &mut self,
        stored: &StoredRecord,
        priority: Priority,
        turn: &mut Turn<'_>,
        budget: &mut Budget<'_>,
    ) -> Plan {
        budget(priority).map_err(Some)?;
        let (mut batches, mut commands) = (Vec::new(), Vec::new());
        let now = self.store_now(turn);
        let mut judge_at = Some(now);
        if let Some(combining) = &self.state.in_flight.combining {
            let waiting = &combining.round.batches;
            // A batch of a newer release that another instance left: it is lost, the others are not.
            batches.extend(waiting.iter().filter_map(|(_, bytes)| Batch::load(bytes).ok()));
            if batches.len() < waiting.len() {
                turn.facts.push(Fact::Fleet(FleetFact::BatchUnreadable));
            }
            // What has come since this round was handed out is not in it.
            judge_at = (waiting.len() < MAX_ROUND_BATCHES).then_some(combining.handed_out);
        } else if let Some(taken) = &self.state.outbox.batch {
            batches.push(taken.batch.clone());
        } else {
            commands = self.fresh_commands(turn.at.now);
        }
        let news = News { batches: &batches, commands: &commands, judge_at, has_waited: self.waited(turn) };
        let merged = self.merge(&stored.record, &news, now, turn);
        let is_look = |command: &Command| matches!(command, Command::Look | Command::Recovered(_));
        let only_looks = !commands.is_empty() && commands.iter().all(is_look);
        let may_be_void = self.state.in_flight.combining.is_none() && stored.rewrite_at.is_none();
        if may_be_void && !merged.matters() && (only_looks || self.state.outbox.batch.is_some()) {
            // Nothing in it counts any more.
            self.state.settle_batch(true);
            self.commands_done(commands.len());
            self.apply_stored(turn);
            self.end_needless_trouble(turn.at.now);
            return Err(Some(turn.now));
        }
        Ok(self.write(stored, merged, commands.len(), turn))
    }

    /// This instance has nothing to tell, but something is to be judged.
    pub(super) fn see_to_verdict(
        &mut self,
        stored: &StoredRecord,
        turn: &mut Turn<'_>,
        budget: &mut Budget<'_>,
    ) -> Plan {
        let news =
            News { batches: &[], commands: &[], judge_at: Some(self.store_now(turn)), has_waited: self.waited(turn) };
        let merged = self.merge(&stored.record, &news, self.store_now(turn), turn);
        if !merged.changed {
            // It was judged, or waits on.
            let again = turn.now + JITTER;
            if let Some(census) = &mut self.state.known.census {
                census.end_at = census.end_at.max(again);
            }
            return Err(Some(again));
        }
        budget(Priority::Change).map_err(Some)?;
        Ok(self.write(stored, merged, 0, turn))
    }

    /// The suspicion for whose end this instance has waited, by its own clock.
    fn waited(&self, turn: &Turn<'_>) -> Option<u64> {
        let census = self.state.known.census.as_ref().filter(|census| census.due <= turn.now);
        census.map(|census| census.suspicion.number)
    }

    pub(super) fn ask_for_lease(
        &mut self,
        stored: &StoredRecord,
        turn: &mut Turn<'_>,
        budget: &mut Budget<'_>,
    ) -> Plan {
        let may_want = self.state.outbox.demand.rejected > stored.record.handovers;
        let command = [Command::Lease { may_want }];
        let news = News { batches: &[], commands: &command, judge_at: None, has_waited: None };
        let merged = self.merge(&stored.record, &news, self.store_now(turn), turn);
        if !merged.changed {
            // All places are taken: what changes that changes the record, and is seen then. Or the cooldown is not over by
            // the store's clock, which is known better now than when this instance heard of it.
            let cooldown = stored.record.until().filter(|_| stored.record.state() == State::Open);
            let is_left = cooldown.map(|until| until.since(self.store_now(turn))).filter(|left| !left.is_zero());
            let wait = is_left.map_or(POLL_INTERVAL, |left| (left + Duration::from_millis(1)).min(POLL_INTERVAL));
            let again = turn.now + wait;
            self.state.timers.probe_at = Some(again);
            return if self.state.timers.flush == Some(false) { Ok(self.load(turn.now)) } else { Err(Some(again)) };
        }
        budget(Priority::Change).map_err(Some)?;
        self.state.timers.probe_at = None;
        Ok(self.write(stored, merged, 0, turn))
    }

    /// Asks the store to replace the record; so many of the commands that wait are in the new one.
    fn write(&mut self, stored: &StoredRecord, merged: Merged, commands: usize, turn: &Turn<'_>) -> Request {
        let record = &merged.record;
        let mut commit = commit_of(record, stored.version, self.store_now(turn));
        commit.notice =
            self.announcement(stored, &merged, self.store_now(turn)).map(|announcement| announcement.save().into());
        if let Some(combining) = &self.state.in_flight.combining {
            let is_over = turn.now.since(combining.since) >= MAX_COMBINING_TIME;
            commit.release = combining.rounds >= MAX_ROUNDS || is_over;
            commit.round = Some(combining.round.clone());
        } else if let Some(taken) = &self.state.outbox.batch {
            commit.batch = Some((taken.id, taken.batch.save().into()));
            commit.may_queue = taken.may_queue;
        }
        self.state.in_flight.request = Some(Pending::Commit { merged: Box::new(merged), commands });
        self.state.in_flight.asked_at = turn.now;
        Request::Commit(Box::new(commit))
    }

    /// What all others are to hear of a change, if anything.
    fn announcement(&self, stored: &StoredRecord, merged: &Merged, now: Timestamp) -> Option<Announcement> {
        if merged.began || stored.rewrite_at.is_some() {
            return Some(Announcement::Load);
        }
        if !merged.tells_all {
            // Where trouble begins all hear of it, and look each second until it is over.
            let (before, after) = (&stored.record, &merged.record);
            let begins = after.is_in_trouble(now) && !before.is_in_trouble(now);
            return (begins || after.votes != before.votes).then_some(Announcement::Trouble);
        }
        for evidence in &merged.record.evidence {
            let before = stored.record.evidence_of(evidence.rule).and_then(|before| before.suspicion());
            match (before, evidence.suspicion()) {
                (old, Some(new)) if old.is_none_or(|old| old.number != new.number) => {
                    return Some(Announcement::suspected(evidence.rule, new));
                }
                (Some(old), None) => {
                    return Some(Announcement::Cleared { rule: evidence.rule, number: old.number });
                }
                _ => {}
            }
        }
        Some(Announcement::Load)
    }
}
