//! Looking at a breaker without changing it.

use std::sync::Arc;
use std::time::Duration;

use super::core::{Body, Core, Info};
use crate::circuit::{Generation, State};
use crate::clock::ClockSource;
use crate::sync::{Ordering::Relaxed, lock};
use crate::time::Timestamp;

impl Core {
    /// The name, if the breaker of that generation still is here or was the last one here.
    pub(super) fn name_at(&self, generation: Generation) -> Option<Arc<str>> {
        let slot = lock(&self.slot);
        (slot.born <= generation).then(|| slot.name.clone())
    }

    pub(super) fn name(&self) -> Arc<str> {
        lock(&self.slot).name.clone()
    }

    /// The time by the clock of the breaker of that generation, while that can be told.
    pub(super) fn now_in(&self, generation: Generation) -> Option<Timestamp> {
        let slot = lock(&self.slot);
        if slot.born > generation {
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
        if (word.is_unjudged() || word.is_forced_open()) && self.until.load(Relaxed) < u64::MAX {
            return self.look(|body, _| body.machine.state()).unwrap_or(State::Closed);
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
}
