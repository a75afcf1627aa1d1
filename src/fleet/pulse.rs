//! Signs of life of an engine's thread.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use crate::clock::real_millis;
use crate::store::StoreTrouble;
use crate::sync::unpoisoned;

/// When an engine's thread last went round, for all to see. Times are in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Zero while no thread goes round.
    beat: AtomicU64,
    /// When a thread was last started that has not gone round yet; zero for none.
    started: AtomicU64,
    /// When the last one failed that was started, if none has gone round since; zero for never.
    failed: AtomicU64,
    /// The process that the thread runs in: after a fork there is no thread in the child.
    process: AtomicU32,
    /// The beat that was first found too old, and when.
    suspected: AtomicU64,
    suspected_at: AtomicU64,
    /// Why no thread could go round.
    why: Mutex<Option<String>>,
    /// What the thread has found to be the matter with the store.
    outage: Mutex<Option<Arc<StoreTrouble>>>,
}

/// An engine that has not gone round for so long does not run, or something blocks its thread: it does so each second.
const SILENT: u64 = 4_000;
/// Where no thread could be had, so long until the next try.
const BETWEEN_TRIES: u64 = 900;
/// It is given so long from when that is seen: a whole process may have stood still.
const SURE: u64 = 1_000;

impl Pulse {
    /// A thread is about to run.
    pub(super) fn begin(&self) {
        self.process.store(std::process::id(), Relaxed);
        self.beat.store(0, Relaxed);
        self.started.store(real_millis(), Relaxed);
    }

    pub(super) fn beat(&self) {
        self.beat.store(real_millis(), Relaxed);
        self.started.store(0, Relaxed);
        self.failed.store(0, Relaxed);
    }

    /// The thread tells how it finds the store: away, for that reason, or not. Returns whether that is news.
    pub(super) fn tell(&self, outage: Option<&Arc<StoreTrouble>>) -> bool {
        let mut told = unpoisoned(self.outage.lock());
        let is_news = told.is_some() != outage.is_some();
        if is_news {
            *told = outage.cloned();
        }
        is_news
    }

    /// What the thread has found to be the matter with the store.
    pub(super) fn outage(&self) -> Option<Arc<StoreTrouble>> {
        unpoisoned(self.outage.lock()).clone()
    }

    /// The thread runs no more.
    pub(super) fn end(&self) {
        self.beat.store(0, Relaxed);
        self.started.store(0, Relaxed);
    }

    /// It could not be started, or could not go round.
    pub(super) fn fail(&self, why: String) {
        *unpoisoned(self.why.lock()) = Some(why);
        self.failed.store(real_millis(), Relaxed);
        self.end();
    }

    /// Why nothing is heard of it.
    pub(super) fn why(&self) -> String {
        let why = unpoisoned(self.why.lock()).clone().filter(|_| self.failed.load(Relaxed) > 0);
        why.unwrap_or_else(|| {
            "the thread that talks to the store stands still: a listener, a detector, a clock or the store itself blocks it"
                .to_owned()
        })
    }

    /// Tells whether a thread may be started: there is none in this process, and the last try was not a moment ago, or
    /// each call would start one that fails.
    pub(super) fn may_begin(&self) -> bool {
        self.may_begin_at(real_millis())
    }

    fn may_begin_at(&self, now: u64) -> bool {
        let is_any = self.beat.load(Relaxed) > 0 || self.started.load(Relaxed) > 0;
        let is_there = is_any && self.process.load(Relaxed) == std::process::id();
        let failed = self.failed.load(Relaxed);
        !is_there && (failed == 0 || now.saturating_sub(failed) >= BETWEEN_TRIES)
    }

    /// Tells whether nothing was heard of the thread for long.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent_at(real_millis())
    }

    fn is_silent_at(&self, now: u64) -> bool {
        let beat = self.beat.load(Relaxed);
        if beat == 0 {
            let started = self.started.load(Relaxed);
            return self.failed.load(Relaxed) > 0 || started == 0 || now.saturating_sub(started) >= SILENT;
        }
        if now.saturating_sub(beat) < SILENT {
            return false;
        }
        if self.suspected.swap(beat, Relaxed) != beat {
            self.suspected_at.store(now, Relaxed);
            return false;
        }
        now.saturating_sub(self.suspected_at.load(Relaxed)) >= SURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_silent_when_it_was_seen_to_be_and_still_is() {
        let pulse = Pulse::default();
        assert!(pulse.is_silent_at(1), "there is none");
        pulse.beat.store(1_000, Relaxed);
        assert!(!pulse.is_silent_at(4_999));
        assert!(!pulse.is_silent_at(60_000), "all may have stood still");
        assert!(!pulse.is_silent_at(60_999));
        assert!(pulse.is_silent_at(61_000));
        pulse.beat.store(61_000, Relaxed);
        assert!(!pulse.is_silent_at(61_001));
        assert!(!pulse.is_silent_at(70_000), "another time");
    }

    #[test]
    fn a_thread_that_never_goes_round_is_silent_at_once_the_second_time() {
        let pulse = Pulse::default();
        pulse.begin();
        let started = pulse.started.load(Relaxed);
        assert!(!pulse.is_silent_at(started) && pulse.is_silent_at(started + SILENT), "something blocks it");
        pulse.fail("no descriptors".to_owned());
        assert_eq!(pulse.why(), "no descriptors");
        let failed = pulse.failed.load(Relaxed);
        assert!(pulse.is_silent() && !pulse.may_begin_at(failed) && pulse.may_begin_at(failed + BETWEEN_TRIES));
        pulse.begin();
        assert!(pulse.is_silent() && !pulse.may_begin_at(failed + BETWEEN_TRIES), "it has failed before");
        pulse.beat();
        assert!(!pulse.is_silent() && pulse.why().contains("stands still"));
    }

    #[test]
    fn a_thread_of_another_process_is_none() {
        let pulse = Pulse::default();
        assert!(pulse.may_begin());
        pulse.begin();
        assert!(!pulse.may_begin());
        pulse.process.store(std::process::id().wrapping_add(1), Relaxed);
        assert!(pulse.may_begin(), "a fork has taken the memory along, and not the thread");
    }
}
