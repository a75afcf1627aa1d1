//! Reporting how calls ended: successes without the lock where that is possible, everything else under it.

use std::time::Duration;

use super::breaker_cell::{Body, BreakerCell, Visit};
use super::info::Info;
use super::success_counter::{Added, Mark};
use crate::breaker::call_times::CallTimes;
#[cfg(feature = "fleet")]
use crate::breaker::control::Control;
#[cfg(feature = "tracing")]
use crate::breaker::events::trace;
use crate::breaker::events::{EventKind, Occurrence};
use crate::breaker::permit::RESERVED;
use crate::breaker::settings::Settings;
use crate::circuit::{Facts, Generation, Input, Outcome, PermitId};
use crate::sync::{
    Ordering::{self, Relaxed},
    lock, try_lock,
};
use crate::time::Timestamp;

impl BreakerCell {
    /// Takes in a success of this generation if it would change nothing, and no listener hears of it.
    #[inline]
    pub(in crate::breaker) fn absorbs_success_of(&self, generation: Generation) -> bool {
        let is_absorbed = self.word().absorbs_success_of(generation);
        #[cfg(feature = "counts")]
        if is_absorbed {
            self.counts.success();
        }
        is_absorbed
    }

    /// Takes in how a call ended, unless it was a success that [`count_success`](Self::count_success) took in.
    #[inline(never)]
    pub(in crate::breaker) fn report(&'static self, permit: PermitId, outcome: Outcome, times: CallTimes) {
        #[cfg(feature = "tracing")]
        if trace::hears_of_calls() {
            self.log_failed(permit, outcome, times);
        }
        if permit.lease.is_some() || !outcome.is_failure() || !self.count_failure(permit.generation, outcome) {
            self.report_slow(permit, outcome, times);
        }
    }

    #[inline(never)]
    fn report_slow(&'static self, permit: PermitId, outcome: Outcome, times: CallTimes) {
        let word = self.word();
        if !word.tells_every_call() {
            let stale = word.generation() != permit.generation || !word.records();
            // Whether a cancelled call is a failure depends on how long it was waited for.
            let says_nothing = outcome == Outcome::Ignored || outcome == Outcome::Cancelled && !word.is_timed();
            if stale || says_nothing && permit.lease.is_none() {
                #[cfg(feature = "counts")]
                self.count_undecided(permit, outcome, times);
                return;
            }
        }
        #[cfg_attr(not(feature = "counts"), expect(unused_variables, reason = "only counts miss a call"))]
        let heard = self.visit(|Visit { body, at, first_generation }| {
            // A cell that was given to another breaker meanwhile has no use for it.
            if permit.generation < first_generation {
                return;
            }
            let rules = &body.settings.rules;
            let whole = rules.needs_duration().then(|| at.now.since(times.started));
            let counted = rules.counts_as(outcome, whole.map(|_| times.silence(at.now)));
            if let Some(notifier) = body.notifier()
                && times.started != RESERVED
                && (body.settings.every_call || permit.lease.is_some() || counted.is_failure())
                && notifier.tells_calls()
            {
                let (probe, abandoned) = (permit.lease.is_some(), counted != outcome);
                let kind = EventKind::Ended { outcome: counted, took: whole, probe, abandoned };
                notifier.push(Occurrence::new(kind, permit.generation, at.now));
            }
            // The rules are about how long it took to answer.
            let took = whole.map(|_| times.answered_after(at.now));
            #[cfg(feature = "counts")]
            if times.started != RESERVED {
                self.counts.ended(counted, rules.is_slow(took));
            }
            self.step_locked(body, Input::Report { permit, outcome: counted, took }, at);
        });
        #[cfg(feature = "counts")]
        if heard.is_none() {
            self.count_late_call(permit.generation, outcome, times);
        }
    }

    /// Takes in that the dependency has answered a probe, whose response is on its way. Returns when that was.
    #[cfg(feature = "http")]
    pub(in crate::breaker) fn accept(&'static self, permit: PermitId, started: Timestamp) -> Option<Timestamp> {
        self.visit(|Visit { body, at, .. }| {
            let took = body.settings.rules.needs_duration().then(|| at.now.since(started));
            self.step_locked(body, Input::Accept { permit, took }, at);
            at.now
        })
    }

    /// Tells whether a rule asks how long calls take.
    #[cfg(feature = "http")]
    pub(in crate::breaker) fn is_timed(&self) -> bool {
        self.word().is_timed()
    }

    /// The time, where a rule asks how long calls take.
    #[cfg(feature = "http")]
    pub(in crate::breaker) fn now_if_timed(&self) -> Option<Timestamp> {
        self.is_timed().then(|| self.now())
    }

    /// Counts a success, not of a probe, without the lock; `false` when it must be reported.
    #[inline(never)]
    pub(in crate::breaker) fn count_success(&self, generation: Generation, started: Timestamp) -> bool {
        // What most come to at the first look; everything else is looked at from the beginning.
        if let Some(mark) = self.successes.mark()
            && self.word().only_counts(generation)
            && self.add_at(mark)
        {
            #[cfg(feature = "counts")]
            self.counts.success();
            return true;
        }
        self.count_success_slow(generation, started)
    }

    #[inline(never)]
    fn count_success_slow(&self, generation: Generation, started: Timestamp) -> bool {
        self.count_success_by(generation, |ended| ended.since(started))
    }

    /// The same for a call whose response went on after its head.
    #[cfg(feature = "http")]
    #[inline(never)]
    pub(in crate::breaker) fn count_response(&self, generation: Generation, times: &CallTimes) -> bool {
        self.count_success_by(generation, |ended| times.answered_after(ended))
    }

    #[inline]
    fn count_success_by(&self, generation: Generation, took: impl Fn(Timestamp) -> Duration) -> bool {
        let is_in = self.take_success_in(generation, &took);
        #[cfg(feature = "counts")]
        if is_in {
            self.count_success_of(generation, took);
        }
        is_in
    }

    #[inline]
    fn take_success_in(&self, generation: Generation, took: &impl Fn(Timestamp) -> Duration) -> bool {
        let word = self.word();
        if word.only_counts(generation) {
            return self.add_success(generation, 0);
        }
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
                if took(ended) >= Duration::from_nanos(slow_after) {
                    return false;
                }
                now = Some(ended);
            }
        }
        let ticks = if word.is_dated() { self.info().tick_bits() } else { 0 };
        let tick = if ticks == 0 { 0 } else { now.unwrap_or_else(|| self.coarse()).as_nanos() >> ticks };
        word.is_clean() || self.add_success(generation, tick)
    }

    /// Takes in a failure, not of a probe, where no rule asks when it was: the clock is read only if the circuit opens by it.
    /// `false` when it must be reported.
    #[inline]
    fn count_failure(&'static self, generation: Generation, outcome: Outcome) -> bool {
        if !self.info().has(Info::NEVER_TIMED) || !self.word().only_judges(generation) {
            return false;
        }
        let mut slot = lock(&self.slot);
        // Under the lock it is as it is.
        let word = self.word();
        let Some(body) = slot.body.as_mut().filter(|body| word.only_judges(generation) && !body.has_audience()) else {
            return false;
        };
        let Some(machine) = body.control.solo() else {
            return false;
        };
        let Settings { rules, clock, .. } = &*body.settings;
        // What happens is told to no listener.
        let mut facts = Facts::default();
        let opened = machine.fail(rules, self.successes.drain(), outcome, || self.step_context(clock), &mut facts);
        #[cfg(feature = "counts")]
        {
            self.counts.ended(outcome, false);
            self.counts.happened(&facts);
        }
        if opened.is_some() || machine.is_clean() != word.is_clean() {
            let now = opened.unwrap_or_else(|| machine.since());
            self.publish(body, now);
        }
        #[cfg(feature = "tracing")]
        if !facts.is_empty() {
            let now = opened.unwrap_or_else(|| body.settings.clock.now());
            self.note(body, &facts, now);
            self.leave(slot);
        }
        true
    }

    /// Adds a success to those that wait; `false` while another thread changes the breaker.
    #[inline]
    fn add_success(&self, generation: Generation, tick: u64) -> bool {
        loop {
            let Some(mark) = self.successes.mark() else {
                return false;
            };
            if self.word().generation() != generation {
                return true;
            }
            if tick > 0 && tick > self.tick.load(Ordering::Acquire) && self.move_on(tick) {
                continue;
            }
            if self.add_at(mark) {
                return true;
            }
        }
    }

    /// Adds a success at a moment of the counter; `false`: that is over.
    #[inline]
    fn add_at(&self, mark: Mark) -> bool {
        let added = self.successes.add(mark);
        if added == Added::Batch {
            self.settle_if_free();
        }
        added != Added::Again
    }

    /// Begins a new tick, unless the lock is taken: then its holder will, and the success counts in the old one.
    #[cold]
    fn move_on(&self, tick: u64) -> bool {
        let Some(mut slot) = try_lock(&self.slot) else {
            return false;
        };
        let Some(body) = &mut slot.body else {
            return false;
        };
        let start = Timestamp::from_nanos(tick << self.info().tick_bits());
        // A detector that panics over successes is told of at the next step, if it does so again.
        self.settle_by_itself(body, start);
        true
    }

    /// Hands a full batch to the machine: a window without failures becomes clean by that.
    #[cold]
    fn settle_if_free(&self) {
        if let Some(mut slot) = try_lock(&self.slot)
            && let Some(body) = &mut slot.body
        {
            let now = body.settings.clock.now();
            self.settle_by_itself(body, now);
        }
    }

    fn settle_by_itself(&self, body: &mut Body, now: Timestamp) {
        let mut facts = Facts::default();
        self.settle(body, now, &mut facts);
        #[cfg(feature = "counts")]
        self.counts.happened(&facts);
        self.publish_settled(body, now);
    }

    /// What successes have changed: a window may be clean by them, or a recovery over, which a fleet must hear of.
    fn publish_settled(&self, body: &mut Body, now: Timestamp) {
        self.publish(body, now);
        #[cfg(feature = "fleet")]
        if let Control::Shared(shared) = &mut body.control {
            shared.wake_engine(now);
        }
    }

    /// Hands waiting successes to the machine and moves on to the tick of `now`.
    pub(super) fn settle(&self, body: &mut Body, now: Timestamp, facts: &mut Facts) {
        let ticks = self.info().tick_bits();
        if ticks == 0 {
            body.control.record_successes(self.successes.drain(), now, now, facts);
            return;
        }
        let (then, tick) = (self.tick.load(Relaxed), now.as_nanos() >> ticks);
        let waited = if tick == then {
            self.successes.drain()
        } else {
            let waited = self.successes.block();
            self.tick.store(tick, Ordering::Release);
            self.successes.unblock();
            waited
        };
        if !self.word().is_dated() {
            body.control.record_successes(waited, now, now, facts);
            return;
        }
        // Where the clock has stepped back, the tick that they were counted in lies in a future that is gone.
        let counted_in = then.min(tick);
        let begin = Timestamp::from_nanos(counted_in << ticks);
        let end = Timestamp::from_nanos(counted_in << ticks | ((1 << ticks) - 1));
        body.control.record_successes(waited, begin, end.min(now), facts);
    }
}

/// Counting what decides nothing.
#[cfg(feature = "counts")]
impl BreakerCell {
    /// Counts a success that was taken in.
    fn count_success_of(&self, generation: Generation, took: impl Fn(Timestamp) -> Duration) {
        let word = self.word();
        // Of one that was looked at whether it was slow, or that none is asked.
        if word.generation() == generation && (word.records() || !word.is_timed()) {
            self.counts.success();
        } else {
            self.count_late(generation, Outcome::Success, |now| (Duration::ZERO, took(now)));
        }
    }

    /// Counts a call that says nothing, or of which nothing is heard: it is late, or an operator has switched the breaker off.
    fn count_undecided(&self, permit: PermitId, outcome: Outcome, times: CallTimes) {
        let is_plain = self.word().generation() == permit.generation && !self.word().is_timed();
        if !(is_plain && times.started != RESERVED && self.counts.nothing_said(outcome)) {
            self.count_late_call(permit.generation, outcome, times);
        }
    }

    fn count_late_call(&self, generation: Generation, outcome: Outcome, times: CallTimes) {
        // A reserved permit is of no call until that begins.
        if times.started != RESERVED {
            self.count_late(generation, outcome, |now| (times.silence(now), times.answered_after(now)));
        }
    }

    /// Counts a call that ended in another generation, or after its breaker. It is no other breaker's. `times`: for how long
    /// the dependency has been silent, and how long it took to answer.
    #[cold]
    fn count_late(
        &self,
        generation: Generation,
        outcome: Outcome,
        times: impl FnOnce(Timestamp) -> (Duration, Duration),
    ) {
        let slot = lock(&self.slot);
        if generation < slot.first_generation {
            return;
        }
        let Some(Body { settings, .. }) = &slot.body else {
            self.counts.ended(outcome, false);
            return;
        };
        let (silence, took) = settings.rules.needs_duration().then(|| times(settings.clock.now())).unzip();
        self.counts.ended(settings.rules.counts_as(outcome, silence), settings.rules.is_slow(took));
    }
}
