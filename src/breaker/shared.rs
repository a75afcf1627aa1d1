//! The replica of a breaker that a fleet shares, with its way to the engine.

use std::sync::{Arc, Mutex};

use super::settings::Settings;
use crate::circuit::{Facts, Rules, StepContext};
use crate::clock::{ClockSource, fresh_seed, system_now};
use crate::fleet::{self, Engine, Found, Member, MemberId, Message};
use crate::guard::guarded;
use crate::replica::{Replica, Turn};
use crate::sync::unpoisoned;
use crate::time::Timestamp;

/// What decides for a breaker that a fleet shares.
pub(super) struct Shared {
    pub(super) replica: Replica,
    /// Its thread ends with the last breaker. So nothing that the thread holds may hold the engine: a fork has that thread's
    /// memory, and not the thread.
    pub(super) engine: Arc<Engine>,
    /// What the engine sees of the breaker.
    pub(super) member: Arc<dyn Member>,
    /// In which of the engine's epochs it has joined.
    pub(super) epoch: u64,
}

/// What a dropped breaker leaves, for as long as the engine takes to send what it has left to say.
struct DroppedMember {
    id: MemberId,
    key: Arc<str>,
    replica: Mutex<Option<Replica>>,
    settings: Arc<Settings>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("replica", &self.replica).field("id", &self.member.id()).finish_non_exhaustive()
    }
}

impl Shared {
    /// The time at which the engine has a turn. A clock is a user's code: where it panics, the last time that is known of it
    /// must do.
    pub(super) fn time(replica: &Replica, clock: &ClockSource) -> StepContext {
        let now = guarded(|| clock.now()).unwrap_or_else(|| replica.last_time());
        StepContext { now, seed: fresh_seed() }
    }

    /// Looks whether the engine runs. Where it does not, this instance goes on by itself; where it does again, in a
    /// process that was forked from another, it joins anew, under another number.
    #[inline]
    pub(super) fn watch_engine(&mut self, at: StepContext, rules: &Rules, facts: &mut Facts) {
        match self.engine.look(self.epoch) {
            None => {}
            Some(Found::Silent(trouble)) => {
                self.replica.lose_engine(&trouble, &mut Turn { now: system_now(), at, rules, facts });
            }
            Some(Found::Anew(epoch)) => {
                self.epoch = epoch;
                self.replica.renew_writer(fleet::random());
                self.engine.send(Message::Join(Arc::clone(&self.member)));
            }
        }
    }

    /// Wakes the engine, if a step wants that. `here` is the breaker's time.
    #[inline]
    pub(super) fn wake_engine(&mut self, here: Timestamp) {
        if let Some(wake_up) = self.replica.take_wake_up(system_now, here) {
            self.engine.send(Message::Wake(self.member.id(), wake_up));
        }
    }

    /// Returns when everything is sent and the newest is known, or that cannot be.
    pub(super) fn flush(&self) -> impl Future<Output = ()> + Send + use<> {
        self.engine.flush(Some(self.member.id()))
    }

    /// The breaker is dropped: what it has left to say goes to the engine.
    pub(super) fn leave(self, settings: Arc<Settings>) {
        let Self { replica, engine, member, .. } = self;
        let (id, key) = (member.id(), Arc::clone(member.key()));
        let left = DroppedMember { id, key, replica: Mutex::new(Some(replica)), settings };
        engine.send(Message::Depart(Arc::new(left)));
    }
}

impl Member for DroppedMember {
    fn id(&self) -> MemberId {
        self.id
    }

    fn key(&self) -> &Arc<str> {
        &self.key
    }

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
        // With it go a detector, listeners and a clock, on the engine's thread. One at a time: a second panic while the
        // first unwinds would abort the process.
        let (replica, settings) = (unpoisoned(self.replica.lock()).take(), std::mem::take(&mut self.settings));
        guarded(|| drop(replica));
        guarded(|| drop(settings));
    }
}
