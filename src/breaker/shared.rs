//! The replica of a breaker that a fleet shares, with its way to the engine.

use std::sync::{Arc, Mutex};

use super::settings::Settings;
use crate::circuit::{Facts, StepContext};
use crate::clock::{ClockSource, fresh_seed, system_now};
use crate::fleet::{Engine, Member, MemberId, Message};
use crate::guard::guarded;
use crate::replica::{Replica, Turn};
use crate::sync::unpoisoned;
use crate::time::Timestamp;

/// What decides for a breaker that a fleet shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) replica: Replica,
    pub(super) engine: Arc<Engine>,
    /// Which of the engine's members it is.
    pub(super) id: MemberId,
}

/// What a dropped breaker leaves, for as long as the engine takes to send what it has left to say.
struct DroppedMember {
    replica: Mutex<Option<Replica>>,
    settings: Arc<Settings>,
}

impl Shared {
    /// The time at which the engine has a turn. A clock is a user's code: where it panics, the last time that is known of it
    /// must do.
    pub(super) fn time(replica: &Replica, clock: &ClockSource) -> StepContext {
        let now = guarded(|| clock.now()).unwrap_or_else(|| replica.last_time());
        StepContext { now, seed: fresh_seed() }
    }

    /// Wakes the engine, if a step wants that. `here` is the breaker's time.
    #[inline]
    pub(super) fn wake_engine(&mut self, here: Timestamp) {
        if let Some(wake_up) = self.replica.take_wake_up(system_now, here) {
            self.engine.send(Message::Wake(self.id, wake_up));
        }
    }

    /// The breaker is dropped: what it has left to say goes to the engine.
    pub(super) fn leave(self, settings: Arc<Settings>) {
        let left = DroppedMember { replica: Mutex::new(Some(self.replica)), settings };
        self.engine.send(Message::Depart(self.id, Arc::new(left)));
    }
}

impl Member for DroppedMember {
    fn visit(&self, now: Timestamp, f: &mut dyn FnMut(&mut Replica, &mut Turn<'_>)) {
        if let Some(replica) = &mut *unpoisoned(self.replica.lock()) {
            let at = Shared::time(replica, &self.settings.clock);
            let facts = &mut Facts::default();
            guarded(|| f(replica, &mut Turn { now, at, rules: &self.settings.rules, facts }));
        }
    }
}

impl Drop for DroppedMember {
    fn drop(&mut self) {
        // With it go a detector, listeners and a clock, on the engine's thread. One at a time: a second panic while the first
        // unwinds would abort the process.
        let (replica, settings) = (unpoisoned(self.replica.lock()).take(), std::mem::take(&mut self.settings));
        guarded(|| drop(replica));
        guarded(|| drop(settings));
    }
}
