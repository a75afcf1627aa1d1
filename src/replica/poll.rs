//! What a replica asks of the store next.

use std::time::Duration;

use bytes::Bytes;

use super::batch::{Batch, Command};
use super::clocks::translate;
use super::merge::News;
use super::notice::Announcement;
use super::pooled::{IDLE_AFTER, Moment, Telling, kept_at_first};
use super::replica::{Replica, Turn};
use super::state::{CALM_LINGER, Merged, POLL_INTERVAL, Pending, StoredRecord, TakenBatch, Wake};
use crate::circuit::{ProbeRound, State};
use crate::store::{BatchId, Commit, MAX_BATCH_AGE, MAX_ROUND_BATCHES, StoreTime, Summary};
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

/// Why an instance tells of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Something has happened.
    News,
    /// All are asked: the number of the suspicion.
    Asked(u64),
    /// Calls that it has promised do not come.
    Withdraws,
}

/// What to ask the store, or else when to look again.
type Plan = Result<Request, Option<Timestamp>>;

/// Where something urgent waits, a request may be without an answer for so long; then this instance decides by itself.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(300);
/// And so long it waits for a store that answers, and takes nothing.
const STUCK_AFTER: Duration = Duration::from_millis(1_500);
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
        let here_before = self.state.timers.looked_at.replace(turn.at.now);
        self.state.timers.stands_still = here_before == Some(turn.at.now);
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
            || known.census.is_some()
            || known.must_load
            || known.blocked_until.is_some()
            || now < timers.not_before
            || timers.flush.is_some()
            || self.state.in_flight.combining.is_some()
            || outbox.batch.is_some()
            || !outbox.commands.is_empty()
            || due.into_iter().flatten().any(|at| at <= now);
        if must_look || self.waits() != Some(Priority::Failures) || self.wants_lease(here) {
            return None;
        }
        self.state.timers.urgent_since = None;
        self.state.timers.probe_at = None;
        self.arm(Some(Priority::Failures), now);
        self.next_timer(now, here)
    }

    /// The most urgent of what there is for the fleet now.
    pub(super) fn waits(&self) -> Option<Priority> {
        let (outbox, timers) = (&self.state.outbox, &self.state.timers);
        let is_asked_to = timers.flush.is_some() && timers.departing.is_none();
        let tells_rest = self.state.tells_everything() || is_asked_to || self.leaves_evidence();
        if !outbox.probes.is_empty() || outbox.vote.is_some() || self.state.is_pooled() && outbox.untold.has_trip() {
            Some(Priority::Change)
        } else if outbox.untold.has_bad() {
            Some(Priority::Failures)
        } else {
            (tells_rest && !outbox.untold.is_empty()).then_some(Priority::Outcomes)
        }
    }

    /// A breaker that is dropped tells of its good calls where others have told of failures.
    fn leaves_evidence(&self) -> bool {
        let has_evidence = |stored: &StoredRecord| stored.record.has_live_evidence();
        self.state.timers.departing.is_some() && self.state.known.stored.as_ref().is_some_and(has_evidence)
    }

    /// Tells whether this instance is to have a lease: calls have come since the circuit opened, its cooldown is over, and
    /// none is in hand.
    pub(super) fn wants_lease(&self, here: Timestamp) -> bool {
        let is_held = self.machine.overridden().is_some();
        let is_due = self.state.outbox.demand.has_calls && self.state.asks_fleet() && !is_held;
        // Beside a probe that is on its way, places are left to the others, unless there is none, or a call has found no lease.
        let demand = &self.state.outbox.demand;
        let may_have_more = demand.has_room && (demand.rejected > 0 || !self.knows_others());
        let has_none = self.leases_in_hand() == 0 && (!self.probes() || may_have_more);
        is_due && self.is_ready_for_probes(here) && has_none
    }

    /// Tells whether another instance has told of its calls, or waits for a lease.
    fn knows_others(&self) -> bool {
        let writer = self.state.terms.writer;
        let record = self.state.known.last_record.as_ref();
        record.is_some_and(|record| {
            let has_told =
                record.evidence_of(self.state.outbox.untold.rule).is_some_and(|known| known.has_others(writer));
            has_told || record.wants.iter().any(|want| want.writer != writer)
        })
    }

    /// Tells whether a call of this instance is on its way as a probe.
    fn probes(&self) -> bool {
        self.round().is_some_and(|round| round.in_use())
    }

    /// The engine has looked: only a louder wake-up need reach it. Where a timer is set, it looks by itself for what merely
    /// waits.
    fn acknowledge(&mut self) {
        self.state.timers.woken = self.state.timers.flush_at.map(|_| Wake::MayWait);
    }

    /// What to do next. Called whenever anything has changed, or its time has come.
    fn plan(&mut self, turn: &mut Turn<'_>, budget: &mut Budget<'_>) -> Plan {
        let (now, here) = (turn.now, turn.at.now);
        self.note_urgency(now);
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
            return Ok(self.load(turn.now));
        };
        if self.state.asks_fleet() {
            self.machine.expire_leases(here);
        }
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
        let waits = self.waits();
        if !self.state.outbox.commands.is_empty() {
            return self.commit(&stored, Priority::Change, turn, budget);
        }
        self.arm(waits, now);
        if let Some(why) = self.answer_due(now, here)
            && self.take_batch(turn, why)
        {
            return self.commit(&stored, Priority::Change, turn, budget);
        }
        if let Some(priority) = waits
            && self.state.timers.flush_at.is_some_and(|at| at <= now)
            && self.take_batch(turn, Why::News)
        {
            return self.commit(&stored, priority, turn, budget);
        }
        if self.state.known.census.as_ref().is_some_and(|census| census.end_at <= now) || self.opaque_is_due(here) {
            return self.see_to_verdict(&stored, turn, budget);
        }
        if self.wants_lease(here) {
            let is_flushing = self.state.timers.flush.is_some();
            let jitter = if is_flushing { Duration::ZERO } else { self.state.jitter(self.lease_spread()) };
            if *self.state.timers.probe_at.get_or_insert(now + jitter) <= now || is_flushing {
                return self.ask_for_lease(&stored, turn, budget);
            }
        } else {
            self.state.timers.probe_at = None;
        }
        if self.state.timers.look_at.is_some_and(|at| at <= now) {
            return self.commit(&stored, Priority::Failures, turn, budget);
        }
        if self.state.timers.flush == Some(false) && !self.flush_waits(now) {
            budget(Priority::Change).map_err(Some)?;
            return Ok(self.load(turn.now));
        }
        Err(self.next_timer(now, here))
    }

    /// Notes since when something urgent waits, also behind a batch that the store does not take.
    fn note_urgency(&mut self, now: Timestamp) {
        let is_urgent = self.waits() == Some(Priority::Change);
        let is_out = self.state.outbox.batch.is_some() || self.state.in_flight.combining.is_some();
        let urgent_since = &mut self.state.timers.urgent_since;
        *urgent_since = urgent_since.or_else(|| is_urgent.then_some(now)).filter(|_| is_urgent || is_out);
    }

    /// Within which time instances ask for a lease: so that of many few ask, and the rest hear who has it.
    fn lease_spread(&self) -> Duration {
        let evidence = self.state.known.stored.as_ref();
        let evidence = evidence.and_then(|stored| stored.record.evidence_of(self.state.outbox.untold.rule));
        let instances = evidence.map_or(0, |evidence| evidence.instances());
        (JITTER * (1 + instances / 16)).min(POLL_INTERVAL)
    }

    /// A flush waits for the verdict, if one is on its way.
    fn flush_waits(&self, now: Timestamp) -> bool {
        const MOST: Duration = Duration::from_secs(2);
        self.state.known.census.as_ref().is_some_and(|census| now < census.due + MOST)
    }

    /// Whether this instance is to tell now what it has seen because all are asked, or because it has promised calls that do
    /// not come; and what that answers.
    fn answer_due(&mut self, now: Timestamp, here: Timestamp) -> Option<Why> {
        if !self.state.is_pooled() {
            return None;
        }
        let told_lately = self.state.timers.flushed_at.is_some_and(|at| now.since(at) < IDLE_AFTER);
        if let Some(census) = &mut self.state.known.census
            && census.answer_at.is_some_and(|at| at <= now)
        {
            census.answer_at = None;
            let number = census.suspicion.number;
            return self.state.outbox.untold.has_an_answer(here, told_lately).then_some(Why::Asked(number));
        }
        self.state.outbox.untold.breaks_promise(here).then_some(Why::Withdraws)
    }

    /// Tells whether calls that only the detector can judge have waited long enough.
    fn opaque_is_due(&self, here: Timestamp) -> bool {
        self.opaque_due().is_some_and(|due| due <= self.state.store_at(here))
    }

    fn opaque_due(&self) -> Option<Timestamp> {
        if !self.state.tells_everything() || self.machine.state() != State::Closed {
            return None;
        }
        let record = &self.state.known.stored.as_ref()?.record;
        record.evidence_of(self.state.outbox.untold.rule)?.opaque_due(2 * self.state.terms.flush_interval)
    }

    /// This instance has nothing to tell, but something is to be judged.
    fn see_to_verdict(&mut self, stored: &StoredRecord, turn: &mut Turn<'_>, budget: &mut Budget<'_>) -> Plan {
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

    fn load(&mut self, now: Timestamp) -> Request {
        self.state.known.must_load = false;
        self.state.in_flight.request = Some(Pending::Load);
        self.state.in_flight.asked_at = now;
        Request::Load
    }

    /// When something urgent has waited for the fleet long enough.
    fn give_up_at(&mut self, turn: &mut Turn<'_>) -> Option<Timestamp> {
        let timers = &self.state.timers;
        let stuck_at = timers.urgent_since.map(|since| since + STUCK_AFTER);
        if stuck_at.is_some_and(|at| at <= turn.now) {
            self.state.known.is_stuck = true;
            self.go_alone(Some(&"the store answers, but takes nothing of this breaker".into()), turn);
            return None;
        }
        let is_urgent = timers.urgent_since.is_some() || self.state.known.protection.is_some();
        let until = self.state.in_flight.asked_at + ANSWER_TIMEOUT;
        if !is_urgent || self.state.in_flight.request.is_none() {
            return stuck_at;
        }
        if until <= turn.now {
            self.go_alone(None, turn);
            return None;
        }
        stuck_at.into_iter().chain([until]).min()
    }

    /// When to look again, while there is nothing to do.
    fn next_timer(&self, now: Timestamp, here: Timestamp) -> Option<Timestamp> {
        let timers = &self.state.timers;
        let rewrite_at = self.state.known.stored.as_ref().and_then(|stored| stored.rewrite_at);
        // A clock that stands still shortly before something is due does not keep the engine busy.
        let least = if timers.stands_still { 2 * JITTER } else { Duration::from_millis(1) };
        let later = |at: Timestamp| now + at.since(here).max(least);
        let census = self.state.known.census.as_ref();
        let (answer_at, end_at) = (census.and_then(|census| census.answer_at), census.map(|census| census.end_at));
        let promise_at = self.state.outbox.untold.promise_due().map(later);
        let opaque_at = self.opaque_due().map(|due| now + due.since(self.state.store_at(here)).max(least));
        // A lease is fetched when the cooldown ends.
        let open_until = self.machine.state.history().open_until;
        let waits_for_end =
            self.machine.state() == State::Open && self.state.outbox.demand.has_calls && open_until > here;
        let lease_at = waits_for_end.then(|| later(open_until)).filter(|_| self.state.asks_fleet());
        // Outcomes that only a detector can judge wake nothing; where the poll does not come often enough, the replica asks
        // for a look.
        let flush_interval = self.state.terms.flush_interval;
        let often = self.state.tells_everything() && flush_interval < POLL_INTERVAL;
        let outcomes_at = often.then(|| {
            let due = timers.flushed_at.map_or(now, |at| at + flush_interval);
            due.max(now + Duration::from_millis(100))
        });
        // A probe that outlives its deadline has failed, and its place is free.
        let expires_at = self.round().and_then(ProbeRound::next_deadline).map(later);
        let times = [timers.flush_at, timers.probe_at, timers.look_at, rewrite_at, outcomes_at];
        let more = [answer_at, end_at, promise_at, opaque_at, lease_at, expires_at];
        times.into_iter().chain(more).flatten().min()
    }

    /// Sets when what waits is sent; the engine knows of it.
    fn arm(&mut self, waits: Option<Priority>, now: Timestamp) {
        // A failure is told at once, unless something was told a moment ago.
        let told = self.state.timers.flushed_at;
        let after = |wait: Duration| told.map_or(now, |at| (at + wait).max(now));
        let linger = self.state.timers.linger.max(if self.state.known.is_calm { CALM_LINGER } else { Duration::ZERO });
        let at = waits.map(|priority| match priority {
            Priority::Change => now,
            Priority::Failures => after(linger),
            Priority::Outcomes => after(self.state.terms.flush_interval),
        });
        let timers = &mut self.state.timers;
        let at = if timers.flush.is_some() { at.map(|_| now) } else { at };
        timers.flush_at = at.map(|at| timers.flush_at.map_or(at, |known| known.min(at)));
        self.acknowledge();
    }

    /// Takes out what waits; `false` where that is nothing any more.
    pub(super) fn take_batch(&mut self, turn: &Turn<'_>, why: Why) -> bool {
        self.state.timers.flush_at = None;
        // Before the fleet's generation is known, it is not known either what the batch belongs to.
        let Some(generation) = self.state.generation() else {
            return false;
        };
        let (here, there) = (turn.at.now, self.store_now(turn));
        let tells = why != Why::News || self.waits().is_some();
        let telling = tells.then(|| self.telling(turn, why)).flatten();
        let outbox = &mut self.state.outbox;
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
        self.state.timers.flushed_at = Some(turn.now);
        outbox.batches += 1;
        let id = BatchId { writer: self.state.terms.writer, seq: outbox.batches };
        let calls = batch.telling.as_ref().map_or(0, Telling::calls);
        // Many answer at once, and most of them by a record that is not the newest.
        let may_queue = matches!(why, Why::Asked(_)) || self.state.in_flight.is_contended;
        outbox.batch = Some(TakenBatch { id, batch, taken_at: turn.now, calls, may_queue });
        true
    }

    /// What this instance has to tell of its calls, where it does.
    fn telling(&mut self, turn: &Turn<'_>, why: Why) -> Option<Telling> {
        if !self.state.is_pooled() {
            return None;
        }
        let (here, there) = (turn.at.now, self.store_now(turn));
        let answers = if let Why::Asked(number) = why { Some(number) } else { None };
        let census = self.state.known.census.as_ref();
        let cut = census.filter(|census| answers == Some(census.suspicion.number)).map(|census| census.suspicion.cut);
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
        let telling = self.state.outbox.untold.take(self.state.terms.writer, &moment);
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
    fn commit(
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
            // What has come since this round was handed out is not in it.
            judge_at = (waiting.len() < MAX_ROUND_BATCHES).then_some(combining.handed_out);
        } else if let Some(taken) = &self.state.outbox.batch {
            batches.push(taken.batch.clone());
        } else {
            commands = self.fresh_commands(turn.at.now);
        }
        let news = News { batches: &batches, commands: &commands, judge_at, has_waited: self.waited(turn) };
        let merged = self.merge(&stored.record, &news, now, turn);
        let only_looks = !commands.is_empty() && commands.iter().all(|command| *command == Command::Look);
        let may_be_void = self.state.in_flight.combining.is_none() && stored.rewrite_at.is_none();
        if may_be_void && !merged.matters() && (only_looks || self.state.outbox.batch.is_some()) {
            // Nothing in it counts any more.
            self.state.settle_batch(true);
            self.commands_done(commands.len());
            self.apply_stored(turn);
            return Err(Some(turn.now));
        }
        Ok(self.write(stored, merged, commands.len(), turn))
    }

    fn ask_for_lease(&mut self, stored: &StoredRecord, turn: &mut Turn<'_>, budget: &mut Budget<'_>) -> Plan {
        let may_want = self.state.outbox.demand.rejected > stored.record.handovers;
        let command = [Command::Lease { may_want }];
        let news = News { batches: &[], commands: &command, judge_at: None, has_waited: None };
        let merged = self.merge(&stored.record, &news, self.store_now(turn), turn);
        if !merged.changed {
            // All places are taken. What changes that changes the record, and is seen then.
            let again = turn.now + POLL_INTERVAL;
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
        let summary = Summary {
            state: record.state(),
            failures: record.failures(),
            open_until: record.until().filter(|_| record.state() == State::Open).map(StoreTime::from),
            generation: record.generation().get(),
        };
        let ttl = record.ttl(self.store_now(turn));
        let mut commit = Commit::new(stored.version, record.save().into(), summary, ttl);
        commit.notice = self.announcement(stored, &merged);
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
        self.state.in_flight.asked_at = turn.now;
        Request::Commit(Box::new(commit))
    }

    /// What all others are to hear of a change, if anything.
    fn announcement(&self, stored: &StoredRecord, merged: &Merged) -> Option<Bytes> {
        let record = &merged.record;
        if merged.began || stored.rewrite_at.is_some() {
            let headline = record.headline().save();
            let is_enough = headline.len() <= MAX_NOTICE_BYTES && !record.has_live_evidence();
            return Some(if is_enough { headline.into() } else { Bytes::new() });
        }
        if !merged.tells_all {
            return None;
        }
        for evidence in &record.evidence {
            let before = stored.record.evidence_of(evidence.rule).and_then(|before| before.suspicion());
            match (before, evidence.suspicion()) {
                (old, Some(new)) if old.is_none_or(|old| old.number != new.number) => {
                    return Some(Announcement::save_suspicion(evidence.rule, new).into());
                }
                (Some(old), None) => return Some(Announcement::save_cleared(evidence.rule, old.number).into()),
                _ => {}
            }
        }
        Some(Bytes::new())
    }
}
