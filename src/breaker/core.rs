//! One breaker's memory: what calls look at without a lock, and the machine behind the lock.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::event::EventKind;
use super::handle::CircuitBreaker;
use super::hub::Hub;
use super::pending::{Added, Pending};
use super::permit::Permit;
use super::rejected::Rejected;
use super::settings::Settings;
use super::word::{Watch, Word};
use crate::circuit::{
    Decision, Detector, Facts, Gate, Generation, Input, Machine, Moment, Outcome, RejectReason, State, Ticket,
};
use crate::clock::{COARSE_LAG, ClockSource, draw, system_coarse, system_now};
use crate::sync::{
    AtomicU64, Mutex, MutexGuard,
    Ordering::{self, Relaxed},
    lock, try_lock,
};
use crate::time::Timestamp;

/// A breaker's place in memory. Places are never freed, only used again (see `slots`), so permits and futures hold a
/// plain reference; what tells them that the breaker they belong to is gone is the generation, which goes on counting
/// over all the breakers that a place has held.
#[derive(Debug)]
pub(crate) struct Core {
    word: AtomicU64,
    pending: Pending,
    /// The tick that waiting successes belong to, where the detector needs to know.
    tick: AtomicU64,
    /// Until when the gate is shut or held.
    until: AtomicU64,
    /// From how many nanoseconds on a call is slow.
    slow_after: AtomicU64,
    /// How many bits a tick leaves out of a timestamp; 0: ticks do not matter. With [`OWN_CLOCK`].
    ticks: AtomicU32,
    /// User handles; the breaker's contents go with the last.
    pub(super) handles: AtomicU32,
    slot: Mutex<Slot>,
}

/// The breaker has a clock of its own, behind the lock.
const OWN_CLOCK: u32 = 1 << 8;

#[derive(Debug)]
struct Slot {
    /// Stays when the breaker goes, so that a rejection can be told by name for a while.
    name: Arc<str>,
    /// The first generation of the breaker that is, or last was, here.
    born: Generation,
    body: Option<Body>,
}

#[derive(Debug)]
pub(super) struct Body {
    pub(super) machine: Machine,
    pub(super) settings: Arc<Settings>,
    pub(super) hub: Option<Arc<Hub>>,
}

/// The breaker while the lock is held.
pub(super) struct Visit<'a> {
    pub(super) body: &'a mut Body,
    pub(super) at: Moment,
    born: Generation,
}

/// What a new breaker brings along.
pub(super) struct Contents {
    pub(super) name: Arc<str>,
    pub(super) detector: Box<dyn Detector>,
    pub(super) settings: Arc<Settings>,
}

impl Body {
    fn tell(&self, facts: &Facts, now: Timestamp) {
        if let Some(hub) = &self.hub
            && !facts.is_empty()
        {
            let generation = self.machine.generation();
            facts.iter().for_each(|fact| hub.push(EventKind::from(fact), generation, now));
            hub.wake(usize::MAX);
        }
    }
}

impl Core {
    pub(super) fn vacant() -> Self {
        Self {
            word: AtomicU64::new(Word::vacant(Generation::new(0)).0),
            pending: Pending::new(),
            tick: AtomicU64::new(0),
            until: AtomicU64::new(0),
            slow_after: AtomicU64::new(0),
            ticks: AtomicU32::new(0),
            handles: AtomicU32::new(0),
            slot: Mutex::new(Slot { name: Arc::from(""), born: Generation::new(0), body: None }),
        }
    }

    /// Moves a breaker in.
    pub(super) fn move_in(&'static self, contents: Contents) {
        let Contents { name, detector, settings } = contents;
        let mut slot = lock(&self.slot);
        let born = self.word().generation().next();
        let ticks = detector.time_resolution().map_or(0, |d| crate::time::nanos(d).max(2).ilog2());
        let own_clock = if matches!(settings.clock, ClockSource::Other(_)) { OWN_CLOCK } else { 0 };
        self.ticks.store(ticks | own_clock, Relaxed);
        let slow_after = settings.rules.slow_after.map_or(u64::MAX, crate::time::nanos);
        self.slow_after.store(slow_after, Relaxed);
        let now = settings.clock.now();
        let machine = Machine::new(detector, &settings.rules, born, now);
        let hub = settings.has_listeners().then(|| Hub::new(settings.clone()));
        slot.name = name;
        slot.born = born;
        let body = slot.body.insert(Body { machine, settings, hub });
        self.publish(body, now);
    }

    /// Moves the breaker out; permits that are still on their way find a foreign generation.
    pub(super) fn move_out(&'static self) {
        let mut slot = lock(&self.slot);
        let body = slot.body.take();
        self.pending.block();
        self.word.store(Word::vacant(self.word().generation().next()).0, Ordering::Release);
        self.pending.unblock();
        drop(slot);
        // Listeners and detectors are users' code: dropped outside the lock.
        drop(body);
    }

    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// Asks for one call.
    #[inline]
    pub(super) fn acquire(&'static self) -> Result<Permit, Rejected> {
        let word = self.word();
        if word.admits_at_sight() {
            return Ok(Permit::new(self, Ticket { generation: word.generation(), lease: None }, Timestamp::ZERO));
        }
        self.acquire_slow(word, false)
    }

    /// Asks for a call that will be made later, or not at all.
    pub(super) fn reserve(&'static self) -> Result<Permit, Rejected> {
        self.acquire_slow(self.word(), true)
    }

    #[inline(never)]
    fn acquire_slow(&'static self, word: Word, reserve: bool) -> Result<Permit, Rejected> {
        let at_sight = Ticket { generation: word.generation(), lease: None };
        if word.is_open() {
            return Ok(Permit::new(self, at_sight, self.start(word)));
        }
        if word.is_shut()
            && let Some(rejected) = self.reject_at_sight(word)
        {
            return Err(rejected);
        }
        if word.is_held() && self.until.load(Relaxed) == u64::MAX {
            return Ok(Permit::new(self, at_sight, self.start(word)));
        }
        let (decision, now) = self.step(Input::Acquire { reserve });
        match decision {
            Decision::Admitted(ticket) => Ok(Permit::new(self, ticket, now)),
            Decision::Rejected { reason, until } => Err(self.reject(reason, until.map(|until| until.since(now)))),
            // Only a place without a breaker answers otherwise, and nobody holds a handle to one.
            Decision::Done | Decision::Stale | Decision::Busy | Decision::Overridden => {
                Ok(Permit::new(self, at_sight, now))
            }
        }
    }

    /// Rejects without the lock while the cooldown is surely not over.
    pub(super) fn reject_at_sight(&'static self, word: Word) -> Option<Rejected> {
        let left = self.time_left();
        if left == Some(Duration::ZERO) {
            return None;
        }
        let reason = if word.is_forced() { RejectReason::ForcedOpen } else { RejectReason::Open };
        if word.tells_every_call() {
            self.tell(EventKind::Rejected { reason });
        }
        Some(Rejected::new(self, word.generation(), reason, left))
    }

    /// How long the gate stays shut; `None`: until somebody opens it.
    fn time_left(&self) -> Option<Duration> {
        let until = Timestamp::from_nanos(self.until.load(Relaxed));
        if until == Timestamp::MAX {
            return None;
        }
        let coarse = self.coarse();
        let now = if coarse + COARSE_LAG < until { coarse } else { self.now() };
        Some(until.since(now))
    }

    fn reject(&'static self, reason: RejectReason, retry_after: Option<Duration>) -> Rejected {
        let word = self.word();
        if word.tells_every_call() {
            self.tell(EventKind::Rejected { reason });
        }
        Rejected::new(self, word.generation(), reason, retry_after)
    }

    /// The rejection of a call that was promised one: it was asked for while the circuit was open.
    pub(crate) fn reject_unready(&'static self) -> Rejected {
        let word = self.word();
        if word.must_ask() {
            return self.reject(RejectReason::ProbesBusy, None);
        }
        let rejected = word.is_shut().then(|| self.reject_at_sight(word)).flatten();
        rejected.unwrap_or_else(|| self.reject(RejectReason::NotReady, Some(Duration::ZERO)))
    }

    fn start(&self, word: Word) -> Timestamp {
        if word.is_timed() { self.now() } else { Timestamp::ZERO }
    }

    /// Turns a reservation into a call.
    pub(super) fn begin(&'static self, ticket: Ticket) -> Option<Timestamp> {
        let word = self.word();
        if ticket.lease.is_none() && ticket.generation == word.generation() && word.is_open() {
            return Some(self.start(word));
        }
        let (decision, now) = self.step(Input::Begin(ticket));
        matches!(decision, Decision::Admitted(_)).then_some(now)
    }

    /// Takes in how a call ended.
    #[inline]
    pub(super) fn report(&'static self, ticket: Ticket, outcome: Outcome, started: Timestamp) {
        if outcome == Outcome::Success && self.word().absorbs_success_of(ticket.generation) {
            return;
        }
        self.report_slow(ticket, outcome, started);
    }

    #[inline(never)]
    fn report_slow(&'static self, ticket: Ticket, outcome: Outcome, started: Timestamp) {
        let word = self.word();
        let unseen = !word.tells_every_call();
        if unseen && (word.generation() != ticket.generation || !word.records()) {
            return;
        }
        if unseen && ticket.lease.is_none() {
            let counted = match outcome {
                Outcome::Success => self.count_success(ticket.generation, started),
                Outcome::Ignored => true,
                // Whether it is a failure depends on how long it took.
                Outcome::Cancelled => !word.is_timed(),
                Outcome::Failure | Outcome::FailureAfter(_) => false,
            };
            if counted {
                return;
            }
        }
        self.visit(|Visit { body, at, born }| {
            // A place that was given to another breaker meanwhile has no use for it.
            if ticket.generation < born {
                return;
            }
            let took = body.settings.rules.needs_duration().then(|| at.now.since(started));
            if let Some(hub) = &body.hub
                && (body.settings.every_call || outcome.is_failure() || ticket.lease.is_some())
                && hub.tells_calls()
            {
                hub.push(EventKind::Ended { outcome, took, probe: ticket.lease.is_some() }, ticket.generation, at.now);
            }
            self.step_locked(body, Input::Report { ticket, outcome, took }, at);
        });
    }

    /// Counts a success without the lock; `false` when it must be told to the machine.
    fn count_success(&self, generation: Generation, started: Timestamp) -> bool {
        let ticks = self.ticks.load(Relaxed) & !OWN_CLOCK;
        let mut now = None;
        let slow_after = self.slow_after.load(Relaxed);
        if slow_after < u64::MAX {
            let ended = self.now();
            if ended.since(started) >= Duration::from_nanos(slow_after) {
                return false;
            }
            now = Some(ended);
        }
        if self.word().is_clean() {
            return true;
        }
        let tick = if ticks == 0 { 0 } else { now.unwrap_or_else(|| self.coarse()).as_nanos() >> ticks };
        loop {
            let Some(mark) = self.pending.mark() else {
                return false;
            };
            let word = self.word();
            if word.generation() != generation {
                return true;
            }
            if tick > self.tick.load(Ordering::Acquire)
                && let Some(mut slot) = try_lock(&self.slot)
                && let Some(body) = &mut slot.body
            {
                self.settle(body, Timestamp::from_nanos(tick << ticks));
                continue;
            }
            match self.pending.add(mark) {
                Added::Again => {}
                Added::Yes => return true,
                Added::Batch => {
                    if let Some(mut slot) = try_lock(&self.slot)
                        && let Some(body) = &mut slot.body
                    {
                        let now = body.settings.clock.now();
                        self.settle(body, now);
                        self.publish(body, now);
                    }
                    return true;
                }
            }
        }
    }

    /// Hands waiting successes to the machine and moves on to the tick of `now`.
    fn settle(&self, body: &mut Body, now: Timestamp) {
        let ticks = self.ticks.load(Relaxed) & !OWN_CLOCK;
        let (then, tick) = (self.tick.load(Relaxed), if ticks == 0 { 0 } else { now.as_nanos() >> ticks });
        let at = if ticks == 0 { now } else { Timestamp::from_nanos(then << ticks) };
        let waited = if tick > then {
            let waited = self.pending.block();
            self.tick.store(tick, Ordering::Release);
            self.pending.unblock();
            waited
        } else {
            self.pending.drain()
        };
        let facts = body.machine.record_successes(waited, at);
        body.tell(&facts, now);
    }

    /// Makes the machine's view the one that calls see.
    fn publish(&self, body: &Body, now: Timestamp) {
        let view = body.machine.view();
        let watch = Watch { timed: body.settings.rules.needs_duration(), every_call: body.settings.every_call };
        let (word, before) = (Word::new(view, watch), self.word());
        if word == before {
            return;
        }
        if word.generation() == before.generation() {
            self.word.store(word.0, Ordering::Release);
            return;
        }
        // What still waits is of a generation that is over.
        self.pending.block();
        let ticks = self.ticks.load(Relaxed) & !OWN_CLOCK;
        if ticks > 0 {
            self.tick.store(now.as_nanos() >> ticks, Ordering::Release);
        }
        if let Gate::Shut { until, .. } | Gate::Held { until, .. } = view.gate {
            self.until.store(until.as_nanos(), Relaxed);
        }
        self.word.store(word.0, Ordering::Release);
        self.pending.unblock();
    }

    /// One step of the machine, with everything that belongs to it.
    pub(super) fn step(&'static self, input: Input) -> (Decision, Timestamp) {
        self.visit(|Visit { body, at, .. }| (self.step_locked(body, input, at), at.now))
            .unwrap_or((Decision::Stale, Timestamp::ZERO))
    }

    fn step_locked(&self, body: &mut Body, input: Input, at: Moment) -> Decision {
        self.settle(body, at.now);
        let ends_probe = matches!(input, Input::Report { ticket: Ticket { lease: Some(_), .. }, .. });
        let step = body.machine.step(&body.settings.rules, input, at);
        self.publish(body, at.now);
        body.tell(&step.facts, at.now);
        if ends_probe
            && step.facts.is_empty()
            && let Some(hub) = &body.hub
        {
            hub.wake(body.machine.free_probes(&body.settings.rules) as usize);
        }
        step.decision
    }

    /// Runs `f` under the lock, then tells listeners, outside it, what happened.
    pub(super) fn visit<R>(&'static self, f: impl FnOnce(Visit<'_>) -> R) -> Option<R> {
        let mut slot = lock(&self.slot);
        let born = slot.born;
        let body = slot.body.as_mut()?;
        let now = body.settings.clock.now();
        let result = f(Visit { body, at: Moment { now, draw: draw(now) }, born });
        let hub = body.hub.clone();
        drop(slot);
        if let Some(hub) = hub
            && hub.has_news()
        {
            self.deliver(&hub);
        }
        Some(result)
    }

    /// Takes a look: waiting successes are in, and an override that is over has ended.
    pub(super) fn look<R>(&'static self, f: impl FnOnce(&Body, Timestamp) -> R) -> Option<R> {
        self.visit(|Visit { body, at, .. }| {
            self.step_locked(body, Input::Look, at);
            f(body, at.now)
        })
    }

    fn tell(&'static self, what: EventKind) {
        self.visit(|Visit { body, at, .. }| {
            if let Some(hub) = &body.hub
                && hub.tells_calls()
            {
                hub.push(what, body.machine.generation(), at.now);
            }
        });
    }

    #[cold]
    fn deliver(&'static self, hub: &Arc<Hub>) {
        let Some(breaker) = CircuitBreaker::upgrade(self) else {
            return;
        };
        // The handle must be of the breaker that the news is about.
        let is_here = lock(&self.slot)
            .body
            .as_ref()
            .is_some_and(|body| body.hub.as_ref().is_some_and(|here| Arc::ptr_eq(here, hub)));
        if is_here {
            hub.deliver(&breaker);
        }
    }

    /// The name, if the breaker of that generation still is here or was the last one here.
    pub(super) fn name_at(&self, generation: Generation) -> Option<Arc<str>> {
        let slot = lock(&self.slot);
        (slot.born <= generation).then(|| slot.name.clone())
    }

    pub(super) fn name(&self) -> Arc<str> {
        lock(&self.slot).name.clone()
    }

    /// Why the circuit is open, if it still is in that generation.
    pub(super) fn explain(&self, generation: Generation) -> Option<String> {
        let slot = lock(&self.slot);
        let machine = &slot.body.as_ref()?.machine;
        if machine.generation() != generation || machine.state() != State::Open {
            return None;
        }
        match machine.overridden() {
            Some(order) => Some(order.to_string()),
            None => machine.reason().map(|reason| reason.to_string()),
        }
    }

    /// The state, without the lock unless an override might be over.
    pub(super) fn state(&'static self) -> State {
        let word = self.word();
        if (word.is_held() || word.is_forced()) && self.until.load(Relaxed) < u64::MAX {
            return self.look(|body, _| body.machine.state()).unwrap_or(State::Closed);
        }
        if word.is_shut() {
            State::Open
        } else if word.must_ask() {
            State::HalfOpen
        } else {
            State::Closed
        }
    }

    /// Tells whether nothing would be lost with the breaker: closed, not overridden, no failure in its window. Tells no
    /// listener anything, since whoever asks may hold locks.
    pub(super) fn is_idle(&self) -> bool {
        let slot = lock(&self.slot);
        let Some(Body { machine, settings, .. }) = &slot.body else {
            return true;
        };
        machine.state() == State::Closed
            && machine.overridden().is_none()
            && machine.tallies(settings.clock.now()).iter().all(|part| part.tally.count() == 0)
    }

    /// Tells whether a call would surely be rejected now, without asking for one.
    pub(crate) fn would_reject(&'static self) -> bool {
        let word = self.word();
        if word.is_shut() {
            return self.time_left() != Some(Duration::ZERO);
        }
        word.must_ask() && self.step(Input::Poll).0 == Decision::Busy
    }

    /// The waiting room of listeners and of calls that wait for the circuit to close.
    pub(super) fn hub(&self) -> Arc<Hub> {
        let mut slot: MutexGuard<'_, Slot> = lock(&self.slot);
        match &mut slot.body {
            Some(Body { hub, settings, .. }) => Arc::clone(hub.get_or_insert_with(|| Hub::new(settings.clone()))),
            None => Hub::new(Arc::new(Settings::default())),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        if self.ticks.load(Relaxed) & OWN_CLOCK == 0 { system_now() } else { self.own_now() }
    }

    fn coarse(&self) -> Timestamp {
        if self.ticks.load(Relaxed) & OWN_CLOCK == 0 { system_coarse() } else { self.own_now() }
    }

    #[cold]
    fn own_now(&self) -> Timestamp {
        let slot = lock(&self.slot);
        let clock = slot.body.as_ref().map(|body| body.settings.clock.clone());
        drop(slot);
        clock.unwrap_or_default().now()
    }
}
