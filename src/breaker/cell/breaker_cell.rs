//! One breaker's cell.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::admission_word::{AdmissionWord, CallNeeds};
use super::arena::Arena;
#[cfg(feature = "counts")]
use super::cell_counts::{BY_HAND, CellCounts};
#[cfg(feature = "tracing")]
use super::episode::{Episode, is_news_for_logs};
use super::info::Info;
use super::success_counter::SuccessCounter;
use crate::backoff::mix;
use crate::breaker::control::Control;
#[cfg(feature = "tracing")]
use crate::breaker::events::trace;
use crate::breaker::events::{Channel, Notifier, Source, WaitQueue};
use crate::breaker::home::Home;
use crate::breaker::settings::Settings;
#[cfg(feature = "fleet")]
use crate::breaker::shared::Shared;
#[cfg(feature = "counts")]
use crate::breaker::{cell_view::About, named_breakers};
use crate::circuit::{Admission, Decision, Detector, Facts, Generation, Input, Machine, PermitId, Rules, StepContext};
use crate::clock::{ClockSource, seed};
use crate::sync::{
    AtomicU64, Mutex, MutexGuard,
    Ordering::{self, Relaxed},
    lock,
};
use crate::time::Timestamp;

static ARENA: Arena<BreakerCell> = Arena::new();

/// A breaker's place in memory. Cells are never freed, only used again (see `arena`), so permits and futures hold a
/// plain reference; what tells them that the breaker they belong to is gone is the generation, which goes on counting
/// over all the breakers that a cell has held.
#[derive(Debug)]
pub(in crate::breaker) struct BreakerCell {
    word: AtomicU64,
    pub(super) successes: SuccessCounter,
    /// The tick that waiting successes belong to, where the detector needs to know.
    pub(super) tick: AtomicU64,
    /// Until when no call is admitted, or every call unjudged.
    pub(super) until: AtomicU64,
    /// From how many nanoseconds on a call is slow.
    pub(super) slow_after: AtomicU64,
    /// An [`Info`].
    info: AtomicU32,
    /// How many [`CellRef`]s there are.
    handles: AtomicU32,
    #[cfg(feature = "counts")]
    pub(super) counts: CellCounts,
    pub(super) slot: Mutex<Slot>,
}

/// A share of a breaker: its contents go with the last.
pub(in crate::breaker) struct CellRef(&'static BreakerCell);

#[derive(Debug)]
pub(super) struct Slot {
    /// Stays when the breaker goes, so that a rejection can be told by name for a while.
    pub(super) name: Arc<str>,
    /// Of the breaker that is, or last was, here.
    pub(super) first_generation: Generation,
    /// Where the breaker belongs that is, or last was, here.
    #[cfg(feature = "counts")]
    pub(super) home: Option<Home>,
    pub(super) body: Option<Body>,
}

#[derive(Debug)]
pub(in crate::breaker) struct Body {
    pub(in crate::breaker) control: Control,
    pub(in crate::breaker) settings: Arc<Settings>,
    /// Made for the first listener, reader, or caller that waits: most breakers have none.
    audience: Option<Box<Audience>>,
}

/// Those who are told what happens to a breaker.
#[derive(Debug, Default)]
struct Audience {
    notifier: Option<Arc<Notifier>>,
    wait_queue: Option<Arc<WaitQueue>>,
    /// Callers that wait for what is behind the breaker, and are to hear when its state changes.
    alarms: Option<Arc<WaitQueue>>,
    /// What logs will tell of this trouble when it is over.
    #[cfg(feature = "tracing")]
    episode: Episode,
}

impl Audience {
    const fn is_empty(&self) -> bool {
        #[cfg(feature = "tracing")]
        if !self.episode.is_over() {
            return false;
        }
        self.notifier.is_none() && self.wait_queue.is_none() && self.alarms.is_none()
    }
}

/// The breaker while the lock is held.
pub(in crate::breaker) struct Visit<'a> {
    pub(in crate::breaker) body: &'a mut Body,
    pub(in crate::breaker) at: StepContext,
    pub(in crate::breaker) first_generation: Generation,
}

/// What a new breaker brings along.
pub(in crate::breaker) struct Contents {
    pub(in crate::breaker) name: Arc<str>,
    pub(in crate::breaker) detector: Box<dyn Detector>,
    pub(in crate::breaker) settings: Arc<Settings>,
    pub(in crate::breaker) home: Home,
    /// What a breaker with these settings is controlled by.
    pub(in crate::breaker) take_control: TakeControl,
}

/// Makes a machine the control of the breaker of that name in a cell, where its first generation is that one.
pub(in crate::breaker) type TakeControl =
    fn(&Settings, &Arc<str>, Machine, &'static BreakerCell, Generation) -> Control;

impl BreakerCell {
    fn vacant() -> Self {
        Self {
            word: AtomicU64::new(AdmissionWord::vacant(Generation::new(0)).0),
            successes: SuccessCounter::new(),
            tick: AtomicU64::new(0),
            until: AtomicU64::new(0),
            slow_after: AtomicU64::new(0),
            info: AtomicU32::new(0),
            handles: AtomicU32::new(0),
            #[cfg(feature = "counts")]
            counts: CellCounts::new(),
            slot: Mutex::new(Slot {
                name: Arc::from(""),
                first_generation: Generation::new(0),
                #[cfg(feature = "counts")]
                home: None,
                body: None,
            }),
        }
    }

    /// Makes a breaker.
    pub(in crate::breaker) fn alloc(contents: Contents) -> CellRef {
        let cell = ARENA.alloc(Self::vacant);
        cell.fill(contents);
        cell.handles.store(1, Relaxed);
        CellRef(cell)
    }

    /// All cells of the process, those without a breaker too.
    pub(in crate::breaker) fn all() -> impl Iterator<Item = &'static Self> {
        ARENA.all()
    }

    /// Tells whether a breaker is here.
    pub(super) fn is_taken(&self) -> bool {
        self.handles.load(Relaxed) > 0
    }

    fn fill(&'static self, contents: Contents) {
        #[cfg_attr(not(feature = "counts"), expect(unused_variables, reason = "only counts go home"))]
        let Contents { name, detector, settings, home, take_control } = contents;
        // A detector is a user's code, which runs outside the lock.
        #[cfg(feature = "counts")]
        let about = matches!(home, Home::Name).then(|| About::of(&*detector, &settings));
        let mut slot = lock(&self.slot);
        #[cfg(all(feature = "counts", feature = "fleet"))]
        if let Home::Registry(registry) = &home
            && settings.store.is_some()
        {
            registry.note_shared();
        }
        #[cfg(feature = "counts")]
        self.move_in(&mut slot, &name, home, about);
        let first_generation = self.word().generation().next();
        let (of_calls, of_recovery) = (settings.time_resolution(&*detector), settings.rules.cooldown.time_resolution());
        let ticks = of_calls.into_iter().chain(of_recovery).min().map_or(0, Info::ticks_of);
        let dated = match of_calls {
            Some(_) => Info::ALWAYS_DATED,
            None if settings.asks_no_time(&*detector) => Info::NEVER_TIMED,
            None => 0,
        };
        let clock = match settings.clock {
            ClockSource::System => 0,
            ClockSource::Coarse => Info::COARSE,
            ClockSource::Other(_) => Info::OWN_CLOCK,
        };
        self.info.store(ticks | dated | clock, Relaxed);
        let slow_after = settings.rules.slowness.least().map_or(u64::MAX, crate::time::nanos);
        self.slow_after.store(slow_after, Relaxed);
        let now = settings.clock.now();
        let mut machine = Machine::new(detector, &settings.rules, first_generation, now);
        let mut facts = Facts::default();
        if let Some(order) = &settings.initial_override {
            machine.step(&settings.rules, Input::Override(order), StepContext { now, seed: seed() }, &mut facts);
        }
        let control = take_control(&settings, &name, machine, self, first_generation);
        // What has happened already waits for readers, too: they come before it is told.
        let has_news = settings.has_listeners() || !facts.is_empty();
        let notifier = has_news.then(|| Notifier::new(settings.clone()));
        let audience = notifier.map(|notifier| Box::new(Audience { notifier: Some(notifier), ..Audience::default() }));
        slot.name = name;
        slot.first_generation = first_generation;
        #[cfg(feature = "counts")]
        self.counts.happened(&facts);
        let body = slot.body.insert(Body { control, settings, audience });
        self.publish(body, now);
        self.note(body, &facts, now);
    }

    /// Tells listeners and readers what happened when the breaker was made. Not at once, as a registry makes it under
    /// its lock.
    pub(in crate::breaker) fn tell_of_start(&'static self) {
        self.visit(|_| ());
        if let Some(body) = &mut lock(&self.slot).body {
            body.drop_idle_notifier();
        }
    }

    /// Ends the breaker; permits that are still on their way find a foreign generation.
    #[cold]
    #[inline(never)]
    fn release(&'static self) {
        let mut slot = lock(&self.slot);
        let body = slot.body.take();
        self.successes.block();
        self.word.store(AdmissionWord::vacant(self.word().generation().next()).0, Ordering::Release);
        self.successes.unblock();
        #[cfg(feature = "counts")]
        if matches!(slot.home, Some(Home::Name)) {
            named_breakers::part(&self.counts);
        }
        drop(slot);
        // Listeners and detectors are users' code: dropped outside the lock.
        match body {
            #[cfg(feature = "fleet")]
            Some(Body { control: Control::Shared(shared), settings, .. }) => shared.leave(settings),
            other => drop(other),
        }
        ARENA.release(self);
    }

    #[inline]
    pub(super) fn word(&self) -> AdmissionWord {
        AdmissionWord(self.word.load(Ordering::Acquire))
    }

    pub(in crate::breaker) fn generation(&self) -> Generation {
        self.word().generation()
    }

    /// Makes the machine's view the one that calls see.
    pub(super) fn publish(&self, body: &Body, now: Timestamp) {
        let view = body.control.view();
        let needs = CallNeeds {
            timed: body.settings.rules.needs_duration(),
            every_call: body.settings.every_call,
            dated: self.info().has(Info::ALWAYS_DATED),
            shared: !body.control.is_solo(),
        };
        let (word, before) = (AdmissionWord::new(view, needs), self.word());
        if word == before {
            return;
        }
        if word.generation() == before.generation() {
            self.publish_until(view.admission);
            self.word.store(word.0, Ordering::Release);
            return;
        }
        // What still waits is of a generation that is over.
        self.successes.block();
        let ticks = self.info().tick_bits();
        if ticks > 0 {
            self.tick.store(now.as_nanos() >> ticks, Ordering::Release);
        }
        self.publish_until(view.admission);
        self.word.store(word.0, Ordering::Release);
        self.successes.unblock();
    }

    fn publish_until(&self, admission: Admission) {
        if let Admission::None { until, .. } | Admission::Unjudged { until, .. } = admission {
            self.until.store(until.as_nanos(), Relaxed);
        }
    }

    /// One step, with everything that belongs to it.
    pub(in crate::breaker) fn step(&'static self, input: Input<'_>) -> (Decision, Timestamp) {
        self.visit(|Visit { body, at, .. }| (self.step_locked(body, input, at), at.now))
            .unwrap_or((Decision::Stale, Timestamp::ZERO))
    }

    pub(super) fn step_locked(&self, body: &mut Body, input: Input<'_>, at: StepContext) -> Decision {
        let frees_a_probe = matches!(input, Input::Report { permit: PermitId { lease: Some(_), .. }, .. });
        self.act(body, at, frees_a_probe, |control, rules, facts| control.step(rules, input, at, facts))
    }

    /// Has something done to what decides, with everything that belongs to it.
    #[inline]
    pub(in crate::breaker) fn act<R>(
        &self,
        body: &mut Body,
        at: StepContext,
        frees_a_probe: bool,
        f: impl FnOnce(&mut Control, &Rules, &mut Facts) -> R,
    ) -> R {
        let mut facts = Facts::default();
        self.settle(body, at.now, &mut facts);
        #[cfg(feature = "fleet")]
        if let Control::Shared(shared) = &mut body.control {
            shared.watch_engine(at, &body.settings.rules, &mut facts);
        }
        let result = f(&mut body.control, &body.settings.rules, &mut facts);
        #[cfg(all(feature = "counts", feature = "fleet"))]
        if let Control::Shared(shared) = &body.control {
            self.counts.forgotten(shared.replica.forgotten());
        }
        #[cfg(feature = "fleet")]
        body.control.end_hold(&body.settings);
        self.publish(body, at.now);
        if !facts.is_empty() {
            #[cfg(feature = "counts")]
            self.counts.happened(&facts);
            self.note(body, &facts, at.now);
            body.queues().for_each(|queue| queue.wake_later(usize::MAX));
        } else if frees_a_probe && let Some(queue) = body.wait_queue() {
            queue.wake_later(body.control.free_probes(&body.settings.rules) as usize);
        }
        #[cfg(feature = "fleet")]
        if let Control::Shared(shared) = &mut body.control {
            shared.wake_engine(at.now);
        }
        result
    }

    /// Runs `f` under the lock, then tells listeners, outside it, what happened.
    pub(in crate::breaker) fn visit<R>(&'static self, f: impl FnOnce(Visit<'_>) -> R) -> Option<R> {
        self.visit_at(|_, clock| Some(self.step_context(clock)), f)
    }

    /// What a step takes that is made now.
    pub(super) fn step_context(&self, clock: &ClockSource) -> StepContext {
        StepContext { now: clock.now(), seed: self.seed() }
    }

    /// A number that differs from breaker to breaker: many that open in one moment must not come back in one.
    fn seed(&self) -> u64 {
        mix(seed() ^ std::ptr::from_ref(self).addr() as u64)
    }

    /// As [`visit`](Self::visit), at the time that `time` tells; not at all, if it tells none.
    #[inline]
    pub(in crate::breaker) fn visit_at<R>(
        &'static self,
        time: impl FnOnce(&Control, &ClockSource) -> Option<StepContext>,
        f: impl FnOnce(Visit<'_>) -> R,
    ) -> Option<R> {
        let mut slot = lock(&self.slot);
        let first_generation = slot.first_generation;
        let body = slot.body.as_mut()?;
        let at = time(&body.control, &body.settings.clock)?;
        let result = f(Visit { body, at, first_generation });
        self.leave(slot);
        Some(result)
    }

    /// Lets go of the lock, and then has it told, outside it, what there is to tell.
    #[inline]
    pub(super) fn leave(&'static self, slot: MutexGuard<'_, Slot>) {
        if slot.body.as_ref().is_some_and(Body::has_audience) {
            self.tell_audience(slot);
        }
    }

    #[inline(never)]
    fn tell_audience(&'static self, slot: MutexGuard<'_, Slot>) {
        let Some(body) = &slot.body else {
            return;
        };
        let due = |queue: Option<&Arc<WaitQueue>>| queue.filter(|queue| queue.has_due()).cloned();
        let (waiting, alarmed) = (due(body.wait_queue()), due(body.alarms()));
        let notifier = body.notifier().filter(|notifier| notifier.has_pending()).cloned();
        drop(slot);
        for queue in [waiting, alarmed].into_iter().flatten() {
            queue.wake_due();
        }
        if let Some(notifier) = notifier {
            self.deliver(&notifier);
            #[cfg(feature = "tracing")]
            self.forget(notifier);
        }
    }

    /// What tells logs alone goes when it has told all: most breakers have nothing to tell for most of their lives.
    #[cfg(feature = "tracing")]
    fn forget(&self, notifier: Arc<Notifier>) {
        if !notifier.is_heard() {
            // Before the lock is taken, so that the last of several threads that tell finds itself alone.
            drop(notifier);
            if let Some(body) = &mut lock(&self.slot).body {
                body.drop_idle_notifier();
            }
        }
    }

    /// Takes a look: waiting successes are in, and an override that is over has ended.
    pub(in crate::breaker) fn look<R>(&'static self, f: impl FnOnce(&Body, Timestamp) -> R) -> Option<R> {
        self.visit(|Visit { body, at, .. }| {
            self.step_locked(body, Input::Look, at);
            f(body, at.now)
        })
    }

    #[cold]
    fn deliver(&'static self, notifier: &Arc<Notifier>) {
        // Listeners get a handle, and it must be of the breaker that the news is about.
        let Some(breaker) = CellRef::upgrade(self) else {
            return;
        };
        let slot = lock(&self.slot);
        let is_here = |body: &Body| body.notifier().is_some_and(|here| Arc::ptr_eq(here, notifier));
        let name = slot.body.as_ref().is_some_and(is_here).then(|| slot.name.clone());
        drop(slot);
        if let Some(name) = name {
            notifier.deliver(&name, &breaker);
        }
    }

    pub(in crate::breaker) fn notifier(&self) -> Arc<Notifier> {
        match &mut lock(&self.slot).body {
            Some(Body { audience, settings, .. }) => {
                let notifier = &mut audience.get_or_insert_default().notifier;
                Arc::clone(notifier.get_or_insert_with(|| Notifier::new(settings.clone())))
            }
            None => Notifier::new(Arc::default()),
        }
    }

    /// From now on, events go into the channel too.
    pub(in crate::breaker) fn subscribe(&self, channel: &Arc<Channel>) {
        if let Some(Body { audience, settings, .. }) = &mut lock(&self.slot).body {
            let notifier = &mut audience.get_or_insert_default().notifier;
            notifier.get_or_insert_with(|| Notifier::new(settings.clone())).subscribe(channel);
        }
    }

    /// From now on they do not. Where they are heard by no one else, the breaker is as light as before.
    pub(in crate::breaker) fn unsubscribe(&self, channel: &Arc<Channel>) {
        let mut slot = lock(&self.slot);
        if let Some(body) = &mut slot.body {
            if let Some(notifier) = body.notifier() {
                notifier.unsubscribe(channel);
            }
            body.drop_idle_notifier();
        }
    }

    pub(in crate::breaker) fn wait_queue(&self) -> Arc<WaitQueue> {
        match &mut lock(&self.slot).body {
            Some(Body { audience, .. }) => {
                Arc::clone(audience.get_or_insert_default().wait_queue.get_or_insert_default())
            }
            None => Arc::default(),
        }
    }

    pub(in crate::breaker) fn alarms(&self) -> Arc<WaitQueue> {
        match &mut lock(&self.slot).body {
            Some(Body { audience, .. }) => Arc::clone(audience.get_or_insert_default().alarms.get_or_insert_default()),
            None => Arc::default(),
        }
    }

    pub(super) fn info(&self) -> Info {
        Info(self.info.load(Relaxed))
    }

    /// Notes that the breaker was used at this second; writes only when that is new.
    pub(in crate::breaker) fn touch(&self, second: u32) {
        let info = self.info();
        let new = info.used_at(second);
        if new.0 != info.0 {
            self.info.store(new.0, Relaxed);
        }
    }

    /// For how many seconds the breaker has not been used.
    pub(in crate::breaker) fn unused_for(&self, second: u32) -> u32 {
        self.info().unused_for(second)
    }

    /// Has it told later, outside the lock, what happened.
    #[cfg(not(feature = "tracing"))]
    #[expect(clippy::unused_self, reason = "logs tell more than a breaker's body knows")]
    fn note(&self, body: &Body, facts: &Facts, now: Timestamp) {
        if let Some(notifier) = body.notifier().filter(|_| !facts.is_empty()) {
            let generation = body.control.machine().generation();
            notifier.push_facts(facts, generation, now, |what| body.control.complete(what).into());
        }
    }

    /// The same, and logs are told where something listens: what tells them is made when there is something to tell.
    #[cfg(feature = "tracing")]
    pub(super) fn note(&self, body: &mut Body, facts: &Facts, now: Timestamp) {
        let Body { control, settings, audience } = body;
        let is_told = audience.as_ref().is_some_and(|audience| audience.notifier.is_some());
        let is_logged = trace::hears() && facts.iter().any(|fact| is_news_for_logs(control, fact));
        if facts.is_empty() || !is_told && !is_logged {
            return;
        }
        let Audience { notifier, episode, .. } = &mut **audience.get_or_insert_default();
        let notifier = notifier.get_or_insert_with(|| Notifier::new(settings.clone()));
        let generation = control.machine().generation();
        notifier.push_facts(facts, generation, now, |what| {
            let what = control.complete(what);
            if is_logged { episode.complete(what, control, self.rejections()) } else { what.into() }
        });
    }

    /// How many calls the breaker has rejected, where that is counted.
    #[cfg(feature = "tracing")]
    #[cfg_attr(not(feature = "counts"), expect(clippy::unused_self, reason = "with a feature it is counted"))]
    fn rejections(&self) -> Option<u64> {
        #[cfg(feature = "counts")]
        return Some(self.counts.rejections());
        #[cfg(not(feature = "counts"))]
        None
    }
}

impl Body {
    /// Makes what tells logs of something that is no fact of the machine.
    #[cfg(feature = "tracing")]
    pub(super) fn prepare_for_logs(&mut self) {
        let Self { settings, audience, .. } = self;
        let notifier = &mut audience.get_or_insert_default().notifier;
        notifier.get_or_insert_with(|| Notifier::new(settings.clone()));
    }

    /// Forgets what tells of the breaker, if it has nothing to tell and no one to tell it to.
    fn drop_idle_notifier(&mut self) {
        let Some(all) = &mut self.audience else {
            return;
        };
        // A reader that is about to subscribe has taken a share of it under the breaker's lock.
        all.notifier.take_if(|notifier| {
            Arc::strong_count(notifier) == 1 && notifier.is_unread() && !self.settings.has_listeners()
        });
        if all.is_empty() {
            self.audience = None;
        }
    }

    /// Tells whether there is someone who might be told what happens.
    pub(super) const fn has_audience(&self) -> bool {
        self.audience.is_some()
    }

    pub(super) fn notifier(&self) -> Option<&Arc<Notifier>> {
        self.audience.as_ref()?.notifier.as_ref()
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        self.audience.as_ref()?.wait_queue.as_ref()
    }

    fn alarms(&self) -> Option<&Arc<WaitQueue>> {
        self.audience.as_ref()?.alarms.as_ref()
    }

    /// All who are to hear when the state changes.
    fn queues(&self) -> impl Iterator<Item = &Arc<WaitQueue>> {
        self.wait_queue().into_iter().chain(self.alarms())
    }
}

#[cfg(feature = "counts")]
impl BreakerCell {
    /// A breaker comes: what the last one has counted goes where that belongs.
    fn move_in(&'static self, slot: &mut Slot, name: &Arc<str>, home: Home, about: Option<About>) {
        match &slot.home {
            None => {}
            Some(Home::Name) => named_breakers::retire(&slot.name, &self.counts),
            Some(Home::Registry(registry)) => registry.retire(&self.counts),
        }
        match (&home, about) {
            (Home::Registry(registry), _) => self.counts.set_home(registry.number()),
            (Home::Name, about) => {
                self.counts.set_home(BY_HAND);
                named_breakers::enlist(name, self, about.unwrap_or_default());
            }
        }
        slot.home = Some(home);
    }
}

#[cfg(feature = "fleet")]
impl BreakerCell {
    /// A flush, where the breaker is in a fleet.
    pub(in crate::breaker) fn flush(&'static self) -> Option<impl Future<Output = ()> + Send + use<>> {
        self.visit(|Visit { body, .. }| body.control.shared().map(Shared::flush)).flatten()
    }
}

impl CellRef {
    /// Another share of the breaker that lives in a cell, unless the last one is gone.
    fn upgrade(cell: &'static BreakerCell) -> Option<Self> {
        let more = |handles| (handles > 0).then(|| handles + 1);
        cell.handles.fetch_update(Ordering::Acquire, Relaxed, more).ok().map(|_| Self(cell))
    }

    #[inline]
    pub(in crate::breaker) const fn get(&self) -> &'static BreakerCell {
        self.0
    }

    /// Tells whether there is no other.
    pub(in crate::breaker) fn is_only(&self) -> bool {
        self.0.handles.load(Ordering::Acquire) == 1
    }
}

impl Clone for CellRef {
    #[inline]
    fn clone(&self) -> Self {
        self.0.handles.fetch_add(1, Relaxed);
        Self(self.0)
    }
}

impl Drop for CellRef {
    #[inline]
    fn drop(&mut self) {
        if self.0.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.release();
        }
    }
}
