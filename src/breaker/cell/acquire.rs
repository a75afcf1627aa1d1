//! Asking for calls: which are admitted, which are rejected, and how that is found out without the lock.

use super::admission_word::AdmissionWord;
use super::breaker_cell::{BreakerCell, Visit};
use super::info::Info;
#[cfg(feature = "tracing")]
use crate::breaker::events::trace;
use crate::breaker::events::{EventKind, Occurrence};
use crate::breaker::permit::{AtSight, Permit};
use crate::circuit::{Decision, Generation, Input, PermitId, RejectReason};
use crate::clock::COARSE_LAG_NANOS;
use crate::rejected::Rejected;
#[cfg(feature = "fleet")]
use crate::replica::POLL_INTERVAL;
use crate::sync::Ordering::Relaxed;
use crate::time::Timestamp;

/// How a call would be rejected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(super) generation: Generation,
    pub(super) reason: RejectReason,
    /// Until when; `u64::MAX` where that is not known.
    pub(super) until: u64,
}

impl BreakerCell {
    /// Asks for one call.
    #[inline]
    pub(in crate::breaker) fn acquire(&'static self) -> Result<Permit, Rejected> {
        match self.acquire_at_sight() {
            Some(admitted) => Ok(admitted.into_permit()),
            None => self.acquire_slow(self.word(), false),
        }
    }

    #[inline]
    pub(in crate::breaker) fn acquire_at_sight(&'static self) -> Option<AtSight> {
        let word = self.word();
        if word.admits_at_sight() { Some(AtSight::new(self, word.generation())) } else { None }
    }

    /// Asks for one call where that can be answered without the machine and without a listener, so that the caller may
    /// hold a lock.
    pub(in crate::breaker) fn acquire_quietly(&'static self) -> Option<Result<Permit, Rejected>> {
        let word = self.word();
        if word.admits_all() {
            let permit = PermitId { generation: word.generation(), lease: None };
            return Some(Ok(Permit::new(self, permit, self.start(word))));
        }
        let until = self.until.load(Relaxed);
        // What subscribes to logs is a user's code as well.
        let rejects = word.admits_none() && !is_told_of_calls(word) && self.is_before(until);
        rejects.then(|| Err(self.reject_quietly(self.refusal_at_sight(word, until))))
    }

    /// Asks for a call that will be made later, or not at all: until then the permit is [`RESERVED`].
    pub(in crate::breaker) fn reserve(&'static self) -> Result<Permit, Rejected> {
        self.acquire_slow(self.word(), true).map(Permit::reserved)
    }

    #[inline(never)]
    fn acquire_slow(&'static self, word: AdmissionWord, reserve: bool) -> Result<Permit, Rejected> {
        let at_sight = PermitId { generation: word.generation(), lease: None };
        if word.admits_all() || word.is_unjudged() && self.until.load(Relaxed) == u64::MAX {
            return Ok(Permit::new(self, at_sight, self.start(word)));
        }
        if word.admits_none() {
            // Without the lock while the cooldown is surely not over.
            let until = self.until.load(Relaxed);
            if self.is_before(until) {
                return Err(self.refuse(self.refusal_at_sight(word, until), reserve));
            }
        }
        let (decision, now) = self.step(Input::Acquire { reserve });
        match decision {
            Decision::Admitted(permit) => Ok(Permit::new(self, permit, now)),
            Decision::Rejected { reason, until } => Err(self.refuse(self.refusal_by(reason, until), reserve)),
            // Only a cell without a breaker answers otherwise, and there is no handle to one.
            Decision::Done | Decision::Stale | Decision::Overridden => Ok(Permit::new(self, at_sight, now)),
        }
    }

    #[inline]
    fn is_before(&self, until: u64) -> bool {
        if until == u64::MAX {
            return true;
        }
        // Never ahead of the exact clock, so what is over by it is over.
        let coarse = self.coarse().as_nanos();
        if coarse >= until {
            return false;
        }
        until - coarse > COARSE_LAG_NANOS || self.info().has(Info::COARSE) || self.now().as_nanos() < until
    }

    /// Tells, without asking for one, whether a call would surely be rejected now, and how.
    #[inline]
    pub(in crate::breaker) fn refusal(&'static self) -> Option<Refusal> {
        let word = self.word();
        if word.admits_all() { None } else { self.refusal_slow(word) }
    }

    fn refusal_slow(&'static self, word: AdmissionWord) -> Option<Refusal> {
        let until = self.until.load(Relaxed);
        if word.admits_none() && self.is_before(until) {
            return Some(self.refusal_at_sight(word, until));
        }
        if word.admits_all() || word.probes_next() || word.is_unjudged() && until == u64::MAX {
            return None;
        }
        let Decision::Rejected { reason, until } = self.step(Input::Poll).0 else {
            return None;
        };
        Some(self.refusal_by(reason, until))
    }

    /// What the word says while no call is admitted.
    #[inline]
    fn refusal_at_sight(&self, word: AdmissionWord, until: u64) -> Refusal {
        let reason = word.refusal_reason();
        // A store that is away may be back at any time, and is asked each poll interval.
        #[cfg(feature = "fleet")]
        let until = if reason == RejectReason::StoreDown { (self.coarse() + POLL_INTERVAL).as_nanos() } else { until };
        Refusal { generation: word.generation(), reason, until }
    }

    /// What the machine has said.
    fn refusal_by(&self, reason: RejectReason, until: Option<Timestamp>) -> Refusal {
        let until = until.map_or(u64::MAX, Timestamp::as_nanos);
        Refusal { generation: self.word().generation(), reason, until }
    }

    /// The rejection of a call that was promised one when the service was asked whether it is ready.
    #[inline]
    pub(in crate::breaker) fn reject_as_promised(&'static self, promise: Refusal) -> Rejected {
        let word = self.word();
        let Refusal { generation, reason, until } = promise;
        // All that is not told to none is one branch, to a function that takes what it needs in registers: nothing has to
        // be kept for it.
        if word.generation() != generation || is_told_of_calls(word) {
            return self.reject_heard(generation, reason, until);
        }
        self.reject_quietly(promise)
    }

    #[cold]
    #[inline(never)]
    fn reject_heard(&'static self, generation: Generation, reason: RejectReason, until: u64) -> Rejected {
        let word = self.word();
        if word.generation() == generation {
            return self.reject(Refusal { generation, reason, until });
        }
        let nothing_rejects = Refusal { generation: word.generation(), reason: RejectReason::NotReady, until: 0 };
        self.reject(self.refusal_slow(word).unwrap_or(nothing_rejects))
    }

    /// Rejects a call; with `waits` none, but a caller that asks again later, which is told to none.
    #[inline]
    fn refuse(&'static self, refusal: Refusal, waits: bool) -> Rejected {
        if waits { self.rejected(refusal) } else { self.reject(refusal) }
    }

    #[inline]
    fn reject(&'static self, refusal: Refusal) -> Rejected {
        #[cfg(feature = "tracing")]
        if trace::hears_of_calls() {
            self.log_rejected(refusal);
        }
        if self.word().tells_every_call() {
            self.tell(EventKind::Rejected { reason: refusal.reason });
        }
        self.reject_quietly(refusal)
    }

    /// Rejects a call that neither listeners nor logs hear of.
    #[inline]
    fn reject_quietly(&'static self, refusal: Refusal) -> Rejected {
        #[cfg(feature = "counts")]
        self.counts.rejected(refusal.reason);
        self.rejected(refusal)
    }

    #[inline]
    fn rejected(&'static self, Refusal { generation, reason, until }: Refusal) -> Rejected {
        Rejected::new(self, generation, reason, until)
    }

    fn start(&self, word: AdmissionWord) -> Timestamp {
        if word.is_timed() { self.now() } else { Timestamp::ZERO }
    }

    /// Tells whether a reservation is still good.
    pub(in crate::breaker) fn holds(&'static self, permit: PermitId) -> bool {
        self.visit(|Visit { body, at, .. }| body.control.machine().holds(permit, at.now)).unwrap_or(false)
    }

    /// Turns a reservation into a call.
    pub(in crate::breaker) fn begin(&'static self, permit: PermitId) -> Option<Timestamp> {
        let word = self.word();
        if permit.lease.is_none() && permit.generation == word.generation() && word.admits_all() {
            return Some(self.start(word));
        }
        let (decision, now) = self.step(Input::Begin(permit));
        matches!(decision, Decision::Admitted(_)).then_some(now)
    }

    /// Tells those who hear of calls of something that the machine has no part in.
    pub(in crate::breaker) fn tell(&'static self, what: EventKind) {
        self.visit(|Visit { body, at, .. }| {
            // Of calls, logs are told at once.
            #[cfg(feature = "tracing")]
            let is_logged = trace::hears() && !matches!(what, EventKind::Rejected { .. } | EventKind::Ended { .. });
            #[cfg(not(feature = "tracing"))]
            let is_logged = false;
            #[cfg(feature = "tracing")]
            if is_logged {
                body.prepare_for_logs();
            }
            if let Some(notifier) = body.notifier()
                && (is_logged || notifier.tells_calls())
            {
                notifier.push(Occurrence::new(what, body.control.machine().generation(), at.now));
            }
        });
    }
}

/// Tells whether listeners or logs hear of each call.
#[inline]
fn is_told_of_calls(word: AdmissionWord) -> bool {
    #[cfg(feature = "tracing")]
    return word.tells_every_call() || trace::hears_of_calls();
    #[cfg(not(feature = "tracing"))]
    word.tells_every_call()
}
