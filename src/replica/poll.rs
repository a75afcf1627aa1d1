//! What a replica asks of the store next.

use std::time::Duration;

use bytes::Bytes;

use super::batch::{Batch, Command, ToldCalls};
use super::evidence_log::CallLog;
use super::record::translate;
use super::replica::{Replica, Turn};
use super::state::{MIN_LINGER, Merged, PROBE_DEMAND_LASTS, Pending, StoredRecord, TakenBatch, Wake};
use crate::circuit::{Run, State};
use crate::store::{BatchId, Commit, MAX_BATCH_AGE, StoreTime, Summary};
use crate::time::Timestamp;

/// What an operation is for; the greater, the sooner it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    Outcomes,
    Failures,
    /// Probes, transitions, commands.
    Change,
}

/// Leave to ask the store for something, or the time at which to come back.
pub(crate) type Budget<'a> = dyn FnMut(Priority) -> Result<(), Timestamp> + 'a;

/// Something to ask the store.
#[derive(Debug)]
pub(crate) enum Request {
    Load,
    Commit(Box<Commit>),
}

/// What came of a look at a replica.
#[derive(Debug)]
pub(crate) struct Polled {
    pub(crate) request: Option<Request>,
    /// When to look again, unless something happens before.
    pub(crate) wake_at: Option<Timestamp>,
    /// Those who wait for a flush need not wait any more.
    pub(crate) flushed: bool,
    /// The breaker was dropped, and what it left has been sent, or cannot be.
    pub(crate) departed: bool,
    /// The number of this look.
    pub(crate) look: u64,
}

/// A wake-up of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WakeUp {
    /// When to look, by the engine's clock.
    pub(crate) at: Timestamp,
    /// The number of the last look that it knows of: after a later one it is void.
    pub(crate) look: u64,
}

/// What to ask the store, or else when to look again.
type Plan = Result<Request, Option<Timestamp>>;

/// Records are looked at this often, whether or not the store tells of changes.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// What is urgent waits this long for the fleet; then this instance protects itself.
const VERDICT_TIMEOUT: Duration = Duration::from_millis(300);
/// A turn at combining ends after so many rounds, or so long.
const MAX_ROUNDS: u32 = 20;
const MAX_COMBINING_TIME: Duration = Duration::from_millis(250);
/// Larger notices do not fit everywhere. An empty one makes its readers load: also where a headline would leave out what
/// counts.
const MAX_NOTICE_BYTES: usize = 3_000;
/// Instances of a fleet do not ask for a lease, or write a lost record, all in the same moment.
pub(super) const JITTER: Duration = Duration::from_millis(50);
/// A command to trip or to reset that the store did not take for so long is void.
const MAX_COMMAND_AGE: Duration = Duration::from_secs(60);

impl Replica {
    /// Says what to ask the store now, or when to look again.
    pub(crate) fn poll(&mut self, turn: &mut Turn<'_>, budget: &mut Budget<'_>) -> Polled {
        self.state.timers.looks += 1;
        let (request, mut wake_at) = match self.plan(turn, budget) {
            // A replica that wanted to be looked at for ever in one moment would stop all others.
            Err(until) => (None, until.map(|until| until.max(turn.now + Duration::from_micros(1)))),
            Ok(Request::Load) => (Some(Request::Load), None),
            Ok(commit) => (Some(commit), self.give_up_at(turn)),
        };
        if self.wakes_anew() {
            wake_at = Some(turn.now);
        }
        let waits = request.is_none();
        let (flushed, departed) = (waits && self.end_flush(false), waits && self.has_departed(turn.now));
        Polled { request, wake_at, flushed, departed, look: self.state.timers.looks }
    }

    /// Takes the wake-up that a step asked for, unless one as loud is outstanding. Failures that may wait for company set
    /// their own timer here, so that the engine need not look to find out that they wait. `now` tells the engine's time,
    /// `here` is the breaker's.
    #[inline]
    pub(crate) fn take_wake_up(&mut self, now: impl FnOnce() -> Timestamp, here: Timestamp) -> Option<WakeUp> {
        if self.state.timers.wake.is_none() || !self.wakes_anew() || self.state.in_flight.request.is_some() {
            // With the answer that is awaited the engine looks anyway.
            return None;
        }
        let now = now();
        let at = self.linger_until(now, here).unwrap_or(now);
        Some(WakeUp { at, look: self.state.timers.looks })
    }

    /// Notes what a step wants the engine woken for; tells whether that is louder than what the engine knows.
    fn wakes_anew(&mut self) -> bool {
        let timers = &mut self.state.timers;
        let wake = timers.wake.take();
        let is_louder = wake > timers.woken;
        timers.woken = timers.woken.max(wake);
        is_louder
    }

    /// Where nothing but failures wait, sets when they are sent, as a look would.
    fn linger_until(&mut self, now: Timestamp, here: Timestamp) -> Option<Timestamp> {
        let (known, timers, outbox) = (&self.state.known, &self.state.timers, &self.state.outbox);
        let due = [known.stored.as_ref()?.rewrite_at, timers.look_at, timers.flush_at];
        let must_look = known.store_is_down
            || known.must_load
            || known.blocked_until.is_some()
            || now < timers.not_before
            || timers.flush.is_some()
            || self.state.in_flight.combining.is_some()
            || outbox.batch.is_some()
            || !outbox.commands.is_empty()
            || due.into_iter().flatten().any(|at| at <= now);
        if must_look || self.waits(here) != Some(Priority::Failures) || self.wants_lease(here) {
            return None;
        }
        self.state.timers.urgent_since = None;
        self.state.timers.probe_at = None;
        self.arm(Some(Priority::Failures), now);
        self.next_timer(now, here)
    }

    /// The most urgent of what there is for the fleet now, by the breaker's time.
    pub(super) fn waits(&mut self, here: Timestamp) -> Option<Priority> {
        self.return_idle_leases(here);
        let outbox = &self.state.outbox;
        if outbox.awaits_verdict || !outbox.probes.is_empty() || outbox.vote.is_some() {
            return Some(Priority::Change);
        }
        let priority = |run: Run| if run.is_bad() { Priority::Failures } else { Priority::Outcomes };
        outbox.calls.runs().into_iter().map(priority).max()
    }

    /// Tells whether a call could be a probe.
    pub(super) fn wants_lease(&self, here: Timestamp) -> bool {
        let has_demand = |at| here.since(at) < PROBE_DEMAND_LASTS;
        self.state.outbox.wants_probe.is_some_and(has_demand) && self.leases_in_hand() == 0
    }

    /// The engine has looked: only a louder wake-up need reach it. Where a timer is set, it looks by itself for what merely
    /// waits.
    fn acknowledge(&mut self) {
        self.state.timers.woken = self.state.timers.flush_at.map(|_| Wake::MayWait);
    }

    /// What to do next. Called whenever anything has changed, or its time has come.
    fn plan(&mut self, turn: &mut Turn<'_>, budget: &mut Budget<'_>) -> Plan {
        let (now, here) = (turn.now, turn.at.now);
        if self.state.in_flight.request.is_some() {
            return Err(self.give_up_at(turn));
        }
        let (known, timers) = (&self.state.known, &self.state.timers);
        if known.blocked_until.is_some_and(|until| now < until) && timers.flush.is_none() {
            return Err(known.blocked_until);
        }
        if now < timers.not_before {
            return Err(Some(timers.not_before));
        }
        let is_good = known.blocked_until.is_none() && !known.must_load;
        let Some(stored) = known.stored.clone().filter(|_| is_good) else {
            budget(Priority::Change).map_err(Some)?;
            return Ok(self.load());
        };
        let is_combining = self.state.in_flight.combining.is_some();
        let is_young = |batch: &TakenBatch| now.since(batch.taken_at) < MAX_BATCH_AGE;
        if !is_combining && !self.state.outbox.batch.as_ref().is_some_and(is_young) {
            self.state.settle_batch(false);
        }
        let must_rewrite = stored.rewrite_at.is_some_and(|at| at <= now);
        if is_combining || must_rewrite || self.state.outbox.batch.is_some() {
            return self.commit(&stored, Priority::Change, turn, budget);
        }
        self.acknowledge();
        let waits = self.waits(here);
        if !self.state.outbox.commands.is_empty() {
            return self.commit(&stored, Priority::Change, turn, budget);
        }
        let timers = &mut self.state.timers;
        timers.urgent_since = timers.urgent_since.or(Some(now)).filter(|_| waits == Some(Priority::Change));
        self.arm(waits, now);
        if let Some(priority) = waits
            && self.state.timers.flush_at.is_some_and(|at| at <= now)
            && self.take_batch(now, here, self.store_now(here))
        {
            return self.commit(&stored, priority, turn, budget);
        }
        if self.wants_lease(here) {
            let is_flushing = self.state.timers.flush.is_some();
            let jitter = if is_flushing { Duration::ZERO } else { self.state.jitter(JITTER) };
            if *self.state.timers.probe_at.get_or_insert(now + jitter) <= now {
                return self.ask_for_lease(&stored, turn, budget);
            }
        } else {
            self.state.timers.probe_at = None;
        }
        if self.state.timers.look_at.is_some_and(|at| at <= now) {
            return self.commit(&stored, Priority::Failures, turn, budget);
        }
        if self.state.timers.flush == Some(false) {
            budget(Priority::Change).map_err(Some)?;
            return Ok(self.load());
        }
        Err(self.next_timer(now, here))
    }

    fn load(&mut self) -> Request {
        self.state.known.must_load = false;
        self.state.in_flight.request = Some(Pending::Load);
        Request::Load
    }

    /// When something urgent has waited for the fleet long enough.
    fn give_up_at(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        let until = self.state.timers.urgent_since? + VERDICT_TIMEOUT;
        if until > turn.now {
            return Some(until);
        }
        self.go_alone(None, turn);
        None
    }

    /// When to look again, while there is nothing to do.
    fn next_timer(&self, now: Timestamp, here: Timestamp) -> Option<Timestamp> {
        let timers = &self.state.timers;
        let rewrite_at = self.state.known.stored.as_ref().and_then(|stored| stored.rewrite_at);
        let idle_at = self.round().and_then(|round| round.idle_at()).map(|at| now + at.since(here));
        // Successes wake nothing; where the poll does not come often enough, the replica asks for a look.
        let flush_interval = self.state.terms.flush_interval;
        let often = self.state.shares_successes() && flush_interval < POLL_INTERVAL;
        let outcomes_at = often.then(|| (timers.flushed_at + flush_interval).max(now + MIN_LINGER));
        let times = [timers.flush_at, timers.probe_at, timers.look_at, rewrite_at, idle_at, outcomes_at];
        times.into_iter().flatten().min()
    }

    /// Sets when what waits is sent; the engine knows of it.
    fn arm(&mut self, waits: Option<Priority>, now: Timestamp) {
        let at = waits.map(|priority| match priority {
            Priority::Change => now,
            Priority::Failures => now + self.state.jitter(self.state.timers.linger),
            Priority::Outcomes => (self.state.timers.flushed_at + self.state.terms.flush_interval).max(now),
        });
        let timers = &mut self.state.timers;
        let at = if timers.flush.is_some() { at.map(|_| now) } else { at };
        timers.flush_at = at.map(|at| timers.flush_at.map_or(at, |known| known.min(at)));
        self.acknowledge();
    }

    /// Takes out what waits, by the store's clock, where `here` is `there` on it; `false` where that is nothing any more.
    pub(super) fn take_batch(&mut self, now: Timestamp, here: Timestamp, there: Timestamp) -> bool {
        self.state.timers.flush_at = None;
        self.state.timers.flushed_at = now;
        // Before the fleet's generation is known, it is not known either what the batch belongs to.
        let Some(generation) = self.state.generation() else {
            return false;
        };
        let (rule, writer) = (self.state.rule, self.state.terms.writer);
        let outbox = &mut self.state.outbox;
        let mut log = std::mem::replace(&mut outbox.calls, CallLog::new(self.state.horizon));
        log.trim(here);
        outbox.sent_calls = Some(log.clone()).filter(|log| !log.is_empty());
        // A rule that has tripped on what others told wants to be judged by the fleet, with nothing new to say.
        outbox.verdict_asked = std::mem::take(&mut outbox.awaits_verdict);
        let tells_calls = outbox.verdict_asked || !log.is_empty();
        let told = ToldCalls { rule, log, retry_after: outbox.retry_after.take() };
        let calls = tells_calls.then_some(told);
        let mut batch =
            Batch { generation, calls, probes: std::mem::take(&mut outbox.probes), vote: outbox.vote.take() };
        if batch.calls.is_none() && batch.probes.is_empty() && batch.vote.is_none() {
            return false;
        }
        batch.move_times(|at| translate(at, here, there));
        if let Some(vote) = &mut batch.vote {
            // Whatever became of the clocks since the last one: this is the later.
            vote.delay(outbox.voted_at + Duration::from_nanos(1));
            outbox.voted_at = vote.cast;
        }
        outbox.batches += 1;
        let id = BatchId { writer, seq: outbox.batches };
        outbox.batch = Some(TakenBatch { id, batch, taken_at: now, may_queue: false });
        true
    }

    /// The store's time in whole microseconds, as far as it is known here.
    pub(super) fn store_now(&self, here: Timestamp) -> Timestamp {
        let stored = self.state.known.stored.as_ref();
        stored.map_or(Timestamp::ZERO, |stored| StoreTime::from(stored.at.store_at(here)).timestamp())
    }

    /// The commands that wait, oldest first, as of now. One to change the state is good only while it is fresh: a fleet must
    /// not open because of what an operator wanted before a long outage of the store.
    pub(super) fn fresh_commands(&mut self, here: Timestamp) -> Vec<Command> {
        let commands = &mut self.state.outbox.commands;
        let as_of_now = |(at, command): &(Timestamp, Command)| match command {
            Command::Override(order) => order.after(here.since(*at)).map(Command::Override),
            Command::Trip | Command::Reset | Command::Lease if here.since(*at) >= MAX_COMMAND_AGE => None,
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
    fn commit(
        &mut self,
        stored: &StoredRecord,
        priority: Priority,
        turn: &mut Turn<'_>,
        budget: &mut Budget<'_>,
    ) -> Plan {
        budget(priority).map_err(Some)?;
        let (mut batches, mut commands) = (Vec::new(), Vec::new());
        if let Some(combining) = &self.state.in_flight.combining {
            // A batch of a newer release that another instance left: it is lost, the others are not.
            batches.extend(combining.round.batches.iter().filter_map(|(_, bytes)| Batch::load(bytes).ok()));
        } else if let Some(taken) = &self.state.outbox.batch {
            batches.push(taken.batch.clone());
        } else {
            commands = self.fresh_commands(turn.at.now);
        }
        let merged = self.merge(&stored.record, &batches, &commands, self.store_now(turn.at.now), turn);
        let only_looks = !commands.is_empty() && commands.iter().all(|command| *command == Command::Look);
        let may_be_void = self.state.in_flight.combining.is_none() && stored.rewrite_at.is_none();
        if may_be_void && !merged.matters() && (only_looks || self.state.outbox.batch.is_some()) {
            // Nothing in it counts any more.
            self.state.settle_batch(true);
            self.commands_done(commands.len());
            self.apply_stored(&[], turn);
            return Err(Some(turn.now));
        }
        Ok(self.write(stored, merged, commands.len(), turn))
    }

    fn ask_for_lease(&mut self, stored: &StoredRecord, turn: &mut Turn<'_>, budget: &mut Budget<'_>) -> Plan {
        let merged = self.merge(&stored.record, &[], &[Command::Lease], self.store_now(turn.at.now), turn);
        if merged.granted.is_empty() && !merged.began {
            // All places are taken: the instance that frees one will say so.
            let again = turn.now + JITTER + self.state.jitter(JITTER);
            self.state.timers.probe_at = Some(again);
            return if self.state.timers.flush == Some(false) { Ok(self.load()) } else { Err(Some(again)) };
        }
        budget(Priority::Change).map_err(Some)?;
        self.state.timers.probe_at = None;
        Ok(self.write(stored, merged, 0, turn))
    }

    /// Asks the store to replace the record; so many of the commands that wait are in the new one.
    fn write(&mut self, stored: &StoredRecord, merged: Merged, commands: usize, turn: &Turn<'_>) -> Request {
        let record = &merged.record;
        let summary = Summary {
            state: record.state(),
            failures: record.failures(),
            open_until: record.until().filter(|_| record.state() == State::Open).map(StoreTime::from),
            generation: record.generation().get(),
        };
        let ttl = record.ttl(self.store_now(turn.at.now));
        let mut commit = Commit::new(stored.version, record.save().into(), summary, ttl);
        if merged.began || stored.rewrite_at.is_some() {
            let headline = record.headline().save();
            let is_enough = headline.len() <= MAX_NOTICE_BYTES && !record.has_live_evidence();
            commit.notice = Some(if is_enough { headline.into() } else { Bytes::new() });
        }
        if let Some(combining) = &self.state.in_flight.combining {
            let is_over = turn.now.since(combining.since) >= MAX_COMBINING_TIME;
            commit.release = combining.rounds >= MAX_ROUNDS || is_over;
            commit.round = Some(combining.round.clone());
        } else if let Some(taken) = &self.state.outbox.batch {
            commit.batch = Some((taken.id, taken.batch.save().into()));
            commit.may_queue = taken.may_queue;
        }
        self.state.timers.look_at = None;
        self.state.in_flight.request = Some(Pending::Commit { merged: Box::new(merged), commands });
        Request::Commit(Box::new(commit))
    }
}
