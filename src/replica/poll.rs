//! What a replica asks of the store next.

use std::time::Duration;

use super::pooled::IDLE_AFTER;
use super::replica::{Replica, Turn};
use super::state::{CALM_LINGER, POLL_INTERVAL, Pending, StoredRecord, TakenBatch, Wake};
use crate::circuit::{ProbeRound, State};
use crate::store::{Commit, MAX_BATCH_AGE};
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
    /// Something goes on, of which each poll is to fetch the news.
    pub(crate) follows: bool,
    /// The number of this look.
    pub(crate) look: u32,
}

/// A wake-up of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WakeUp {
    /// When to look, by the engine's clock.
    pub(crate) at: Timestamp,
    /// The number of the last look that it knows of: after a later one it is void.
    pub(crate) look: u32,
}

/// Why an instance tells of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Something has happened.
    News,
    /// All are asked: the number of the suspicion, and what it is about: calls up to this time of the store's.
    Asked(u64, Timestamp),
    /// Calls that it has promised do not come.
    Withdraws,
}

/// What to ask the store, or else when to look again.
pub(super) type Plan = Result<Request, Option<Timestamp>>;

/// Where something urgent waits, a request may be without an answer for so long; then this instance decides by itself.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(300);
/// And so long it waits for a store that answers, and takes nothing.
const STUCK_AFTER: Duration = Duration::from_millis(1_500);
/// After so long the clocks of an instance and of its store have run apart by 15 ms, as far as is known.
const LONG_UNHEARD: Duration = Duration::from_secs(150);
/// Instances of a fleet do not ask for a lease, or write a lost record, all in the same moment.
pub(super) const JITTER: Duration = Duration::from_millis(50);

impl Replica {
    /// Says what to ask the store now, or when to look again.
    pub(crate) fn poll(&mut self, turn: &mut Turn<'_>, budget: &mut Budget<'_>) -> Polled {
        self.regain_engine(turn.facts);
        self.state.own.looks = self.state.own.looks.wrapping_add(1);
        let here_before = self.state.own.looked_at.replace(turn.at.now);
        self.state.own.stands_still = here_before == Some(turn.at.now);
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
        Polled { request, wake_at, flushed, departed, follows: self.follows(turn.at.now), look: self.state.own.looks }
    }

    /// Tells whether something goes on that may change the record without a notice, or of which this instance must know soon
    /// whether a notice comes or not. Of all else the store tells what changed.
    fn follows(&self, here: Timestamp) -> bool {
        let (known, outbox, in_flight) = (&self.state.known, &self.state.outbox, &self.state.in_flight);
        if known.blocked_until.is_some() || self.state.timers.departing.is_some() {
            // It looks again by itself.
            return false;
        }
        let is_sound = self.state.is_reachable() && known.stored.is_some() && in_flight.failures == 0;
        let judges = known.census.is_some() || known.protection.is_some() || outbox.untold.has_bad();
        let waits = outbox.batch.is_some() || !outbox.commands.is_empty() || !outbox.probes.is_empty();
        // While a cooldown runs, nothing happens; then places for probes are taken and given back.
        let probes =
            self.machine.state() != State::Closed && self.state.own.has_calls && self.is_ready_for_probes(here);
        // What others tell while there is trouble, and whether the store still has what holds calls back.
        let store = self.state.store_at(here);
        let is_known = |stored: &StoredRecord| stored.record.is_in_trouble(store);
        let is_held = known.push.tells_of_trouble || self.state.fleet_holds_a_state();
        let is_trouble = is_held || known.stored.as_ref().is_some_and(is_known);
        let is_pending = self.state.timers.look_at.is_some() || known.diverged;
        !is_sound || is_trouble || judges || waits || probes || is_pending
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
        Some(WakeUp { at, look: self.state.own.looks })
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
        let asked_at = known.push.asked.map(|asked| asked.answer_at);
        let due = [known.stored.as_ref()?.rewrite_at, timers.look_at, timers.flush_at, known.push.load_at(), asked_at];
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
        let is_there = self.state.timers.departing.is_none();
        let is_due = self.state.own.has_calls && self.state.asks_fleet() && !is_held && is_there;
        // Beside a probe that is on its way, places are left to the others, unless there is none, or a call has found
        // no lease.
        let demand = &self.state.outbox.demand;
        let may_have_more = demand.has_room && (demand.rejected > 0 || !self.knows_others());
        let has_none = self.leases_in_hand() == 0 && (!self.probes() || may_have_more);
        is_due && self.is_ready_for_probes(here) && has_none
    }

    /// Tells whether another instance has told of its calls, or waits for a lease.
    fn knows_others(&self) -> bool {
        let writer = self.state.own.writer;
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
        if known.blocked_until.is_some_and(|until| now < until) && timers.flush != Some(false) {
            return Err(known.blocked_until);
        }
        if now < timers.not_before {
            return Err(Some(timers.not_before));
        }
        let must_load = known.must_load || known.push.load_at().is_some_and(|at| at <= now);
        let is_good = known.blocked_until.is_none() && !must_load;
        let Some(stored) = known.stored.clone().filter(|_| is_good) else {
            return Ok(self.load(turn.now));
        };
        if self.state.asks_fleet() {
            self.expire_leases(here);
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
        if waits.is_some() && self.state.own.heard.is_some_and(|heard| here.since(heard.here) >= LONG_UNHEARD) {
            // First what time it is by the store's clock.
            return Ok(self.load(now));
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
        // What the store did not take is over: with its next answer, this instance is one of the fleet again.
        self.state.known.is_stuck &= is_urgent || is_out;
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
        if let Some((number, cut)) = self.question_due(now) {
            let is_active = self.state.own.rates.is_active(here);
            return self.state.outbox.untold.has_an_answer(is_active, told_lately).then_some(Why::Asked(number, cut));
        }
        self.state.outbox.untold.breaks_promise(here).then_some(Why::Withdraws)
    }

    /// The suspicion that is to be answered now, of which a notice tells, or the record: its number and its cut.
    fn question_due(&mut self, now: Timestamp) -> Option<(u64, Timestamp)> {
        let known = &mut self.state.known;
        if let Some(asked) = known.push.asked.take_if(|asked| asked.answer_at <= now) {
            return Some((asked.number, asked.cut));
        }
        let census = known.census.as_mut()?;
        census.answer_at.take_if(|at| *at <= now)?;
        Some((census.suspicion.number, census.suspicion.cut))
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

    pub(super) fn load(&mut self, now: Timestamp) -> Request {
        self.state.known.must_load = false;
        self.state.known.push.note_load(now);
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
        let least = if self.state.own.stands_still { 2 * JITTER } else { Duration::from_millis(1) };
        let later = |at: Timestamp| now + at.since(here).max(least);
        let census = self.state.known.census.as_ref();
        let (answer_at, end_at) = (census.and_then(|census| census.answer_at), census.map(|census| census.end_at));
        let promise_at = self.state.outbox.untold.promise_due().map(later);
        let opaque_at = self.opaque_due().map(|due| now + due.since(self.state.store_at(here)).max(least));
        // A lease is fetched when the cooldown ends.
        let open_until = self.machine.state.history().open_until;
        let waits_for_end = self.machine.state() == State::Open && self.state.own.has_calls && open_until > here;
        let lease_at = waits_for_end.then(|| later(open_until)).filter(|_| self.state.asks_fleet());
        // A probe that outlives its deadline has failed, and its place is free. In a round of one's own, the next call
        // sees it.
        let round = self.round().filter(|_| self.state.asks_fleet());
        let expires_at = round.and_then(ProbeRound::next_deadline).map(later);
        let push = &self.state.known.push;
        let (asked_at, load_at) = (push.asked.map(|asked| asked.answer_at), push.load_at());
        let times = [timers.flush_at, timers.probe_at, timers.look_at, rewrite_at, asked_at, load_at];
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
}
