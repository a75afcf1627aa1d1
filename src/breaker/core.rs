//! One breaker's memory: what calls look at without a lock, and the machine behind the lock.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::event::EventKind;
use super::handle::CircuitBreaker;
use super::hub::Hub;
use super::pending::{Added, Pending};
use super::permit::{AtSight, Permit};
use super::rejected::Rejected;
use super::settings::Settings;
use super::word::{Watch, Word};
use crate::circuit::{
    Decision, Detector, Facts, Gate, Generation, Input, Machine, Moment, Outcome, RejectReason, State, Ticket,
};
use crate::clock::{COARSE_LAG, ClockSource, seed, system_coarse, system_now};
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
    /// An [`Info`].
    info: AtomicU32,
    /// User handles; the breaker's contents go with the last.
    pub(super) handles: AtomicU32,
    slot: Mutex<Slot>,
}

/// What is known without the lock about a breaker's clock, and when a registry last gave the breaker out.
#[derive(Clone, Copy, Debug)]
struct Info(u32);

impl Info {
    /// How many bits a tick leaves out of a timestamp; 0: ticks do not matter.
    const TICK: u32 = 0x3f;
    /// The coarse clock is exact enough.
    const COARSE: u32 = 1 << 6;
    /// The breaker has a clock of its own, behind the lock.
    const OWN_CLOCK: u32 = 1 << 7;
    /// Above that, the seconds of the last use: they come round after half a year.
    const USED: u32 = 8;

    const fn tick_bits(self) -> u32 {
        self.0 & Self::TICK
    }

    const fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }
}

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

/// As the start of a call: it has not begun. Whatever becomes of such a permit, no call was given up.
pub(super) const RESERVED: Timestamp = Timestamp::MAX;

/// How a call would be rejected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    word: Word,
    /// Until when; `u64::MAX` where that is not known.
    until: u64,
}

/// What a new breaker brings along.
pub(super) struct Contents {
    pub(super) name: Arc<str>,
    pub(super) detector: Box<dyn Detector>,
    pub(super) settings: Arc<Settings>,
}

#[inline]
fn shut_reason(word: Word) -> RejectReason {
    if word.is_forced() { RejectReason::ForcedOpen } else { RejectReason::Open }
}

#[cold]
fn tell(hub: &Hub, machine: &Machine, facts: &Facts, now: Timestamp) {
    facts.iter().for_each(|fact| hub.push(EventKind::from(fact), machine.generation(), now));
    hub.wake_later(usize::MAX);
}

impl Core {
    pub(super) fn vacant() -> Self {
        Self {
            word: AtomicU64::new(Word::vacant(Generation::new(0)).0),
            pending: Pending::new(),
            tick: AtomicU64::new(0),
            until: AtomicU64::new(0),
            slow_after: AtomicU64::new(0),
            info: AtomicU32::new(0),
            handles: AtomicU32::new(0),
            slot: Mutex::new(Slot { name: Arc::from(""), born: Generation::new(0), body: None }),
        }
    }

    /// Moves a breaker in.
    pub(super) fn move_in(&'static self, contents: Contents) {
        let Contents { name, detector, settings } = contents;
        let mut slot = lock(&self.slot);
        let born = self.word().generation().next();
        let tick_bits = detector.time_resolution().map_or(0, |d| crate::time::nanos(d).max(2).ilog2());
        let clock = match settings.clock {
            ClockSource::System => 0,
            ClockSource::Coarse => Info::COARSE,
            ClockSource::Other(_) => Info::OWN_CLOCK,
        };
        self.info.store(tick_bits | clock, Relaxed);
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

    #[inline]
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// Asks for one call.
    #[inline]
    pub(super) fn acquire(&'static self) -> Result<Permit, Rejected> {
        match self.acquire_at_sight() {
            Some(admitted) => Ok(admitted.into_permit()),
            None => self.acquire_slow(self.word(), false),
        }
    }

    #[inline]
    pub(super) fn acquire_at_sight(&'static self) -> Option<AtSight> {
        let word = self.word();
        if word.admits_at_sight() { Some(AtSight::new(self, word.generation())) } else { None }
    }

    /// Asks for one call where that can be answered without the machine and without a listener, so that the caller may
    /// hold a lock.
    pub(super) fn acquire_quietly(&'static self) -> Option<Result<Permit, Rejected>> {
        let word = self.word();
        if word.is_open() {
            let ticket = Ticket { generation: word.generation(), lease: None };
            return Some(Ok(Permit::new(self, ticket, self.start(word))));
        }
        let until = self.until.load(Relaxed);
        let rejects = word.is_shut() && !word.tells_every_call() && self.is_before(until);
        rejects.then(|| Err(self.reject(word, until)))
    }

    /// Asks for a call that will be made later, or not at all: until then the permit is [`RESERVED`].
    pub(super) fn reserve(&'static self) -> Result<Permit, Rejected> {
        self.acquire_slow(self.word(), true).map(Permit::reserved)
    }

    #[inline(never)]
    fn acquire_slow(&'static self, word: Word, reserve: bool) -> Result<Permit, Rejected> {
        let at_sight = Ticket { generation: word.generation(), lease: None };
        if word.is_open() || word.is_held() && self.until.load(Relaxed) == u64::MAX {
            return Ok(Permit::new(self, at_sight, self.start(word)));
        }
        if word.is_shut() {
            // Without the lock while the cooldown is surely not over.
            let until = self.until.load(Relaxed);
            if self.is_before(until) {
                return Err(self.reject(word, until));
            }
        }
        let (decision, now) = self.step(Input::Acquire { reserve });
        match decision {
            Decision::Admitted(ticket) => Ok(Permit::new(self, ticket, now)),
            Decision::Rejected { reason, until } => {
                let word = self.word();
                self.tell_rejected(word, reason);
                Err(Rejected::new(self, word.generation(), reason, until.map_or(u64::MAX, Timestamp::as_nanos)))
            }
            // Only a place without a breaker answers otherwise, and nobody holds a handle to one.
            Decision::Done | Decision::Stale | Decision::Busy | Decision::Overridden => {
                Ok(Permit::new(self, at_sight, now))
            }
        }
    }

    #[inline]
    fn is_before(&self, until: u64) -> bool {
        if until == u64::MAX {
            return true;
        }
        let coarse = self.coarse().as_nanos();
        let exact = coarse.saturating_add(crate::time::nanos(COARSE_LAG)) < until || self.info().has(Info::COARSE);
        until > if exact { coarse } else { self.now().as_nanos() }
    }

    /// Tells, without asking for one, whether a call would surely be rejected now, and how.
    #[inline]
    pub(crate) fn refusal(&'static self) -> Option<Refusal> {
        let word = self.word();
        if word.is_open() || word.is_held() { None } else { self.refusal_slow(word) }
    }

    fn refusal_slow(&'static self, word: Word) -> Option<Refusal> {
        if word.is_shut() {
            let until = self.until.load(Relaxed);
            return self.is_before(until).then_some(Refusal { word, until });
        }
        let busy = word.must_ask() && self.step(Input::Poll).0 == Decision::Busy;
        busy.then(|| Refusal { word: self.word(), until: u64::MAX })
    }

    /// The rejection of a call that was promised one when the service was asked whether it is ready.
    #[inline]
    pub(crate) fn reject_as_promised(&'static self, promise: Refusal) -> Rejected {
        let word = self.word();
        if word.generation() != promise.word.generation() {
            return self.reject_after_change(word);
        }
        self.reject(word, promise.until)
    }

    #[inline]
    fn reject(&'static self, word: Word, until: u64) -> Rejected {
        let reason = if word.must_ask() { RejectReason::ProbesBusy } else { shut_reason(word) };
        self.tell_rejected(word, reason);
        Rejected::new(self, word.generation(), reason, until)
    }

    #[cold]
    fn reject_after_change(&'static self, word: Word) -> Rejected {
        if let Some(refusal) = self.refusal_slow(word) {
            return self.reject(refusal.word, refusal.until);
        }
        self.tell_rejected(word, RejectReason::NotReady);
        Rejected::new(self, word.generation(), RejectReason::NotReady, 0)
    }

    #[inline]
    fn tell_rejected(&'static self, word: Word, reason: RejectReason) {
        if word.tells_every_call() {
            self.tell(EventKind::Rejected { reason });
        }
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
        if outcome == Outcome::Success {
            let word = self.word();
            if word.absorbs_success_of(ticket.generation)
                || ticket.lease.is_none() && self.count_success(ticket.generation, started)
            {
                return;
            }
        }
        self.report_slow(ticket, outcome, started);
    }

    #[inline(never)]
    fn report_slow(&'static self, ticket: Ticket, outcome: Outcome, started: Timestamp) {
        let word = self.word();
        if !word.tells_every_call() {
            let stale = word.generation() != ticket.generation || !word.records();
            // Whether a cancelled call is a failure depends on how long it took.
            let says_nothing = outcome == Outcome::Ignored || outcome == Outcome::Cancelled && !word.is_timed();
            if stale || says_nothing && ticket.lease.is_none() {
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
                && started != RESERVED
                && (body.settings.every_call
                    || ticket.lease.is_some()
                    || body.settings.rules.judge(outcome, took) == Some(true))
                && hub.tells_calls()
            {
                hub.push(EventKind::Ended { outcome, took, probe: ticket.lease.is_some() }, ticket.generation, at.now);
            }
            self.step_locked(body, Input::Report { ticket, outcome, took }, at);
        });
    }

    /// Counts a success without the lock; `false` when it must be told to the machine.
    #[inline(never)]
    fn count_success(&self, generation: Generation, started: Timestamp) -> bool {
        let word = self.word();
        if word.tells_every_call() {
            return false;
        }
        if word.generation() != generation || !word.records() {
            return true;
        }
        let mut now = None;
        if word.is_timed() {
            let slow_after = self.slow_after.load(Relaxed);
            if slow_after < u64::MAX {
                let ended = self.now();
                if ended.since(started) >= Duration::from_nanos(slow_after) {
                    return false;
                }
                now = Some(ended);
            }
        }
        if word.is_clean() {
            return true;
        }
        let ticks = self.info().tick_bits();
        let tick = if ticks == 0 { 0 } else { now.unwrap_or_else(|| self.coarse()).as_nanos() >> ticks };
        loop {
            let Some(mark) = self.pending.mark() else {
                return false;
            };
            let word = self.word();
            if word.generation() != generation {
                return true;
            }
            if tick > 0
                && tick > self.tick.load(Ordering::Acquire)
                && let Some(mut slot) = try_lock(&self.slot)
                && let Some(body) = &mut slot.body
            {
                // A detector that panics over successes is told of at the next step, if it does so again.
                self.settle(body, Timestamp::from_nanos(tick << ticks), &mut Facts::default());
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
                        self.settle(body, now, &mut Facts::default());
                        self.publish(body, now);
                    }
                    return true;
                }
            }
        }
    }

    /// Hands waiting successes to the machine and moves on to the tick of `now`.
    fn settle(&self, body: &mut Body, now: Timestamp, facts: &mut Facts) {
        let ticks = self.info().tick_bits();
        if ticks == 0 {
            body.machine.record_successes(self.pending.drain(), now, facts);
            return;
        }
        let (then, tick) = (self.tick.load(Relaxed), now.as_nanos() >> ticks);
        let waited = if tick > then {
            let waited = self.pending.block();
            self.tick.store(tick, Ordering::Release);
            self.pending.unblock();
            waited
        } else {
            self.pending.drain()
        };
        body.machine.record_successes(waited, Timestamp::from_nanos(then << ticks), facts);
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
        let ticks = self.info().tick_bits();
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
    pub(super) fn step(&'static self, input: Input<'_>) -> (Decision, Timestamp) {
        self.visit(|Visit { body, at, .. }| (self.step_locked(body, input, at), at.now))
            .unwrap_or((Decision::Stale, Timestamp::ZERO))
    }

    fn step_locked(&self, body: &mut Body, input: Input<'_>, at: Moment) -> Decision {
        let mut facts = Facts::default();
        self.settle(body, at.now, &mut facts);
        let decision = body.machine.step(&body.settings.rules, input, at, &mut facts);
        self.publish(body, at.now);
        if let Some(hub) = &body.hub {
            if !facts.is_empty() {
                tell(hub, &body.machine, &facts, at.now);
            } else if matches!(input, Input::Report { ticket: Ticket { lease: Some(_), .. }, .. }) {
                hub.wake_later(body.machine.free_probes(&body.settings.rules) as usize);
            }
        }
        decision
    }

    /// Runs `f` under the lock, then tells listeners, outside it, what happened.
    pub(super) fn visit<R>(&'static self, f: impl FnOnce(Visit<'_>) -> R) -> Option<R> {
        let mut slot = lock(&self.slot);
        let born = slot.born;
        let body = slot.body.as_mut()?;
        let now = body.settings.clock.now();
        let result = f(Visit { body, at: Moment { now, seed: seed() }, born });
        let hub = body.hub.as_ref().filter(|hub| hub.has_news()).cloned();
        drop(slot);
        if let Some(hub) = hub {
            hub.wake_due();
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

    /// How long until the next place of a probe is free by its deadline.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        let slot = lock(&self.slot);
        let body = slot.body.as_ref()?;
        body.machine.next_expiry().map(|at| at.since(body.settings.clock.now()))
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
        let info = self.info();
        if info.has(Info::OWN_CLOCK) {
            self.own_now()
        } else if info.has(Info::COARSE) {
            system_coarse()
        } else {
            system_now()
        }
    }

    fn info(&self) -> Info {
        Info(self.info.load(Relaxed))
    }

    /// Notes that the breaker was used at this second; writes only when that is new.
    pub(super) fn touch(&self, second: u32) {
        let info = self.info.load(Relaxed);
        let new = second << Info::USED | info & ((1 << Info::USED) - 1);
        if new != info {
            self.info.store(new, Relaxed);
        }
    }

    /// For how many seconds the breaker has not been used.
    pub(super) fn unused_for(&self, second: u32) -> u32 {
        (second << Info::USED).wrapping_sub(self.info.load(Relaxed) & !((1 << Info::USED) - 1)) >> Info::USED
    }

    fn coarse(&self) -> Timestamp {
        if self.info().has(Info::OWN_CLOCK) { self.own_now() } else { system_coarse() }
    }

    #[cold]
    fn own_now(&self) -> Timestamp {
        let slot = lock(&self.slot);
        let clock = slot.body.as_ref().map(|body| body.settings.clock.clone());
        drop(slot);
        clock.unwrap_or_default().now()
    }
}
