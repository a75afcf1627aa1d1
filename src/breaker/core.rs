//! One breaker's memory: what calls look at without a lock, and the machine behind the lock.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::event::{EventKind, Occurrence};
use super::handle::CircuitBreaker;
use super::hub::Hub;
#[cfg(feature = "fleet")]
use super::membership::Membership;
use super::pending::Pending;
use super::settings::Settings;
use super::word::{Watch, Word};
use crate::circuit::{
    Admission, Decision, Detector, Fact, Facts, Generation, Input, Machine, PermitId, Rules, StateScope, StepContext,
};
use crate::clock::{ClockSource, seed, system_coarse, system_now};
use crate::sync::{
    AtomicU64, Mutex, MutexGuard,
    Ordering::{self, Relaxed},
    lock,
};
use crate::time::Timestamp;

/// A breaker's place in memory. Places are never freed, only used again (see `slots`), so permits and futures hold a
/// plain reference; what tells them that the breaker they belong to is gone is the generation, which goes on counting
/// over all the breakers that a place has held.
#[derive(Debug)]
pub(crate) struct Core {
    word: AtomicU64,
    pub(super) pending: Pending,
    /// The tick that waiting successes belong to, where the detector needs to know.
    pub(super) tick: AtomicU64,
    /// Until when no call is admitted, or every call unjudged.
    pub(super) until: AtomicU64,
    /// From how many nanoseconds on a call is slow.
    pub(super) slow_after: AtomicU64,
    /// An [`Info`].
    pub(super) info: AtomicU32,
    /// User handles; the breaker's contents go with the last.
    pub(super) handles: AtomicU32,
    pub(super) slot: Mutex<Slot>,
}

/// What is known without the lock about a breaker's clock, and when a registry last gave the breaker out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info(u32);

impl Info {
    /// How many bits a tick leaves out of a timestamp; 0: ticks do not matter.
    const TICK: u32 = 0x3f;
    /// The coarse clock is exact enough.
    pub(super) const COARSE: u32 = 1 << 6;
    /// The breaker has a clock of its own, behind the lock.
    pub(super) const OWN_CLOCK: u32 = 1 << 7;
    /// Above that, the seconds of the last use: they come round after half a year.
    pub(super) const USED: u32 = 8;

    pub(super) const fn tick_bits(self) -> u32 {
        self.0 & Self::TICK
    }

    pub(super) const fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }
}

#[derive(Debug)]
pub(super) struct Slot {
    /// Stays when the breaker goes, so that a rejection can be told by name for a while.
    pub(super) name: Arc<str>,
    /// The first generation of the breaker that is, or last was, here.
    pub(super) born: Generation,
    pub(super) body: Option<Body>,
}

#[derive(Debug)]
pub(super) struct Body {
    pub(super) machine: Machine,
    pub(super) settings: Arc<Settings>,
    pub(super) hub: Option<Arc<Hub>>,
    #[cfg(feature = "fleet")]
    pub(super) fleet: Option<Membership>,
}

/// The breaker while the lock is held.
pub(super) struct Visit<'a> {
    pub(super) body: &'a mut Body,
    pub(super) at: StepContext,
    pub(super) born: Generation,
}

/// What a new breaker brings along.
pub(super) struct Contents {
    pub(super) name: Arc<str>,
    pub(super) detector: Box<dyn Detector>,
    pub(super) settings: Arc<Settings>,
}

#[cold]
fn tell(hub: &Hub, machine: &Machine, facts: &Facts, now: Timestamp) {
    for fact in facts.iter() {
        let kind = EventKind::from(fact);
        hub.push(match fact {
            // A step may make two transitions, each into a generation of its own.
            Fact::Transition(transition) => Occurrence {
                generation: transition.fleet.unwrap_or(transition.generation),
                origin: transition.origin,
                scope: if transition.fleet.is_some() { StateScope::Fleet } else { StateScope::Instance },
                ..Occurrence::new(kind, transition.generation, now)
            },
            Fact::WouldOpen(_) | Fact::DetectorPanicked | Fact::ConfigDrift => {
                Occurrence::new(kind, machine.generation(), now)
            }
        });
    }
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
        let tick_bits = settings.time_resolution(&*detector).map_or(0, |d| crate::time::nanos(d).max(2).ilog2());
        let clock = match settings.clock {
            ClockSource::System => 0,
            ClockSource::Coarse => Info::COARSE,
            ClockSource::Other(_) => Info::OWN_CLOCK,
        };
        self.info.store(tick_bits | clock, Relaxed);
        let slow_after = settings.rules.slow_after.map_or(u64::MAX, crate::time::nanos);
        self.slow_after.store(slow_after, Relaxed);
        let now = settings.clock.now();
        #[cfg(feature = "fleet")]
        let (led, fleet) = settings.join(&name, &*detector, self, born).unzip();
        let machine = Machine::new(detector, &settings.rules, born, now);
        #[cfg(feature = "fleet")]
        let machine = match led {
            Some(led) => machine.led_by(led),
            None => machine,
        };
        let hub = settings.has_listeners().then(|| Hub::new(settings.clone()));
        slot.name = name;
        slot.born = born;
        let body = slot.body.insert(Body {
            machine,
            settings,
            hub,
            #[cfg(feature = "fleet")]
            fleet,
        });
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
        #[cfg(feature = "fleet")]
        let body = body.and_then(Body::depart);
        // Listeners and detectors are users' code: dropped outside the lock.
        drop(body);
    }

    #[inline]
    pub(super) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// Makes the machine's view the one that calls see.
    pub(super) fn publish(&self, body: &Body, now: Timestamp) {
        let view = body.machine.view();
        let watch = Watch { timed: body.settings.rules.needs_duration(), every_call: body.settings.every_call };
        let (word, before) = (Word::new(view, watch), self.word());
        if word == before {
            return;
        }
        if word.generation() == before.generation() {
            self.publish_until(view.admission);
            self.word.store(word.0, Ordering::Release);
            return;
        }
        // What still waits is of a generation that is over.
        self.pending.block();
        let ticks = self.info().tick_bits();
        if ticks > 0 {
            self.tick.store(now.as_nanos() >> ticks, Ordering::Release);
        }
        self.publish_until(view.admission);
        self.word.store(word.0, Ordering::Release);
        self.pending.unblock();
    }

    fn publish_until(&self, admission: Admission) {
        if let Admission::None { until, .. } | Admission::Unjudged { until, .. } = admission {
            self.until.store(until.as_nanos(), Relaxed);
        }
    }

    /// One step of the machine, with everything that belongs to it.
    pub(super) fn step(&'static self, input: Input<'_>) -> (Decision, Timestamp) {
        self.visit(|Visit { body, at, .. }| (self.step_locked(body, input, at), at.now))
            .unwrap_or((Decision::Stale, Timestamp::ZERO))
    }

    pub(super) fn step_locked(&self, body: &mut Body, input: Input<'_>, at: StepContext) -> Decision {
        let frees_a_probe = matches!(input, Input::Report { permit: PermitId { lease: Some(_), .. }, .. });
        self.act(body, at, frees_a_probe, |machine, rules, facts| machine.step(rules, input, at, facts))
    }

    /// Has something done to the machine, with everything that belongs to it.
    #[inline]
    pub(super) fn act<R>(
        &self,
        body: &mut Body,
        at: StepContext,
        frees_a_probe: bool,
        f: impl FnOnce(&mut Machine, &Rules, &mut Facts) -> R,
    ) -> R {
        let mut facts = Facts::default();
        self.settle(body, at.now, &mut facts);
        let result = f(&mut body.machine, &body.settings.rules, &mut facts);
        self.publish(body, at.now);
        if let Some(hub) = &body.hub {
            if !facts.is_empty() {
                tell(hub, &body.machine, &facts, at.now);
            } else if frees_a_probe {
                hub.wake_later(body.machine.free_probes(&body.settings.rules) as usize);
            }
        }
        #[cfg(feature = "fleet")]
        if let Some(fleet) = &body.fleet
            && let Some(ring) = body.machine.take_ring()
        {
            fleet.ring(ring);
        }
        result
    }

    /// Runs `f` under the lock, then tells listeners, outside it, what happened.
    pub(super) fn visit<R>(&'static self, f: impl FnOnce(Visit<'_>) -> R) -> Option<R> {
        let mut slot = lock(&self.slot);
        let born = slot.born;
        let body = slot.body.as_mut()?;
        let now = body.settings.clock.now();
        let result = f(Visit { body, at: StepContext { now, seed: seed() }, born });
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

    pub(super) fn info(&self) -> Info {
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

    pub(super) fn coarse(&self) -> Timestamp {
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
