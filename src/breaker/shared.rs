//! The replica of a breaker that a fleet shares, with its way to the engine.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
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
    /// What the engine sees of the breaker.
    pub(super) member: Arc<dyn Linked>,
}

/// A breaker's way to its engine. It is where the engine's way to the breaker is, so that breakers that share nothing are no
/// larger for it.
pub(super) struct Link {
    pub(super) engine: Arc<Engine>,
    /// Which of the engine's members it is.
    pub(super) id: MemberId,
    /// In which of the engine's epochs it has joined.
    pub(super) epoch: AtomicU64,
}

/// A member of an engine that knows the way back.
pub(super) trait Linked: Member {
    fn link(&self) -> &Link;
}

/// What a dropped breaker leaves, for as long as the engine takes to send what it has left to say.
struct DroppedMember {
    key: Arc<str>,
    replica: Mutex<Option<Replica>>,
    settings: Arc<Settings>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("replica", &self.replica)
            .field("id", &self.member.link().id)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The time at which the engine has a turn. A clock is a user's code: where it panics, the last time that is known of it
    /// must do.
    pub(super) fn time(replica: &Replica, clock: &ClockSource) -> StepContext {
        let now = guarded(|| clock.now()).unwrap_or_else(|| replica.last_time());
        StepContext { now, seed: fresh_seed() }
    }

    /// Looks whether the engine runs. Where it does not, this instance goes on by itself; where it does again, in a process that
    /// was forked from another, it joins anew, under another number.
    #[inline]
    pub(super) fn watch_engine(&mut self, at: StepContext, rules: &Rules, facts: &mut Facts) {
        let Link { engine, id, epoch } = self.member.link();
        match engine.look(epoch.load(Relaxed)) {
            None => {}
            Some(Found::Silent(trouble)) => {
                self.replica.lose_engine(&trouble, &mut Turn { now: system_now(), at, rules, facts });
            }
            Some(Found::Anew(anew)) => {
                epoch.store(anew, Relaxed);
                self.replica.renew_writer(fleet::random());
                engine.send(Message::Join { id: *id, member: self.member.clone() });
            }
        }
    }

    /// Wakes the engine, if a step wants that. `here` is the breaker's time.
    #[inline]
    pub(super) fn wake_engine(&mut self, here: Timestamp) {
        if let Some(wake_up) = self.replica.take_wake_up(system_now, here) {
            let Link { engine, id, .. } = self.member.link();
            engine.send(Message::Wake(*id, wake_up));
        }
    }

    /// Returns when everything is sent and the newest is known, or that cannot be.
    pub(super) fn flush(&self) -> impl Future<Output = ()> + Send + use<> {
        let Link { engine, id, .. } = self.member.link();
        engine.flush(Some(*id))
    }

    /// The breaker is dropped: what it has left to say goes to the engine.
    pub(super) fn leave(self, settings: Arc<Settings>) {
        let Self { replica, member } = self;
        let key = Arc::clone(member.key());
        let left = DroppedMember { key, replica: Mutex::new(Some(replica)), settings };
        let Link { engine, id, .. } = member.link();
        engine.send(Message::Depart(*id, Arc::new(left)));
    }
}

impl Member for DroppedMember {
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
        // With it go a detector, listeners and a clock, on the engine's thread. One at a time: a second panic while the first
        // unwinds would abort the process.
        let (replica, settings) = (unpoisoned(self.replica.lock()).take(), std::mem::take(&mut self.settings));
        guarded(|| drop(replica));
        guarded(|| drop(settings));
    }
}
