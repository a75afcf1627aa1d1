//! Looking at a breaker without changing it.

use std::sync::Arc;
use std::time::Duration;

use super::breaker_cell::{Body, BreakerCell};
use super::info::Info;
use crate::breaker::trouble::Trouble;
use crate::circuit::{Generation, StandingOverride, State};
use crate::clock::{ClockSource, system_coarse, system_now};
use crate::rejected::Rejecter;
use crate::sync::{Ordering::Relaxed, lock};
use crate::time::Timestamp;

impl BreakerCell {
    pub(in crate::breaker) fn name(&self) -> Arc<str> {
        lock(&self.slot).name.clone()
    }

    /// The state, without the lock unless an override might be over.
    pub(in crate::breaker) fn state(&'static self) -> State {
        let word = self.word();
        if (word.is_unjudged() || word.is_forced_open()) && self.until.load(Relaxed) < u64::MAX {
            return self.look(|body, _| body.control.machine().state()).unwrap_or(State::Closed);
        }
        if word.admits_none() {
            State::Open
        } else if word.must_ask() {
            State::HalfOpen
        } else {
            State::Closed
        }
    }

    /// Tells whether nothing would be lost with the breaker: closed, not overridden, no failure in its window. Tells no
    /// listener anything, since the caller may hold locks.
    pub(in crate::breaker) fn is_idle(&self) -> bool {
        let slot = lock(&self.slot);
        let Some(Body { control, settings, .. }) = &slot.body else {
            return true;
        };
        let machine = control.machine();
        machine.state() == State::Closed
            && machine.overridden().is_none()
            && control.tallies(settings.clock.now()).iter().all(|part| part.tally.count() == 0)
    }

    /// Tells whether calls are held back, or are to be as an operator said: open and its cooldown not over, half-open with a
    /// probe on its way, or overridden.
    pub(in crate::breaker) fn protects(&self) -> bool {
        let slot = lock(&self.slot);
        let Some(Body { control, settings, .. }) = &slot.body else {
            return false;
        };
        let (machine, now) = (control.machine(), settings.clock.now());
        let holds = match machine.state() {
            State::Closed => false,
            State::Open => machine.state.history().open_until > now,
            State::HalfOpen => machine.next_deadline().is_some_and(|at| at > now),
        };
        holds || machine.overridden().is_some()
    }

    /// What is to be said of a breaker whose circuit is not closed. Nothing changes by that look, and what time has ended is
    /// over, whether or not that was noticed.
    pub(in crate::breaker) fn trouble(&self) -> Option<Trouble> {
        if !self.is_taken() || self.word().admits_all() {
            return None;
        }
        let slot = lock(&self.slot);
        let Body { control, settings, .. } = slot.body.as_ref()?;
        let (machine, now) = (control.machine(), settings.clock.now());
        let standing = machine.state.standing();
        if machine.state() == State::Closed || standing.is_some_and(|standing| standing.until <= now) {
            return None;
        }
        let open_until = control.view().until().filter(|_| machine.state() == State::Open);
        let retry_after = open_until.map(|until| until.since(now)).filter(|wait| !wait.is_zero());
        Some(Trouble {
            name: slot.name.clone(),
            registry: settings.registry.clone(),
            state: machine.state(),
            scope: control.scope(),
            reason: machine.reason(),
            lasts: now.since(machine.since()),
            retry_after,
            rejects: machine.state() == State::Open && (open_until.is_none() || retry_after.is_some()),
            overridden: standing.map(|standing| StandingOverride::of(standing.order.clone())),
            sharing: control.sharing(),
        })
    }

    /// How long until asking again is worth while for a call that found all probes on their way.
    pub(in crate::breaker) fn next_expiry(&self) -> Option<Duration> {
        let slot = lock(&self.slot);
        let body = slot.body.as_ref()?;
        body.control.machine().next_expiry(&body.settings.rules).map(|at| at.since(body.settings.clock.now()))
    }

    pub(in crate::breaker) fn now(&self) -> Timestamp {
        let info = self.info();
        if info.has(Info::OWN_CLOCK) {
            self.own_now()
        } else if info.has(Info::COARSE) {
            system_coarse()
        } else {
            system_now()
        }
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

impl Rejecter for BreakerCell {
    fn name_at(&self, generation: Generation) -> Option<Arc<str>> {
        let slot = lock(&self.slot);
        (slot.first_generation <= generation).then(|| slot.name.clone())
    }

    fn now_in(&self, generation: Generation) -> Option<Timestamp> {
        let slot = lock(&self.slot);
        if slot.first_generation > generation {
            return None;
        }
        let clock = match &slot.body {
            Some(body) => body.settings.clock.clone(),
            None if self.info().has(Info::OWN_CLOCK) => return None,
            None => ClockSource::System,
        };
        drop(slot);
        Some(clock.now())
    }

    fn explain(&self, generation: Generation) -> Option<String> {
        let slot = lock(&self.slot);
        let machine = slot.body.as_ref()?.control.machine();
        if machine.generation() != generation || machine.state() != State::Open {
            return None;
        }
        match machine.overridden() {
            Some(order) => Some(order.to_string()),
            None => machine.reason().map(|reason| reason.to_string()),
        }
    }
}
