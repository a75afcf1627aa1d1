//! What logs are told of single calls: at once, by the thread that makes the call, and while it holds no lock. So it is
//! in the span of the caller, whichever thread tells what follows from it.

use super::acquire::Refusal;
use super::breaker_cell::BreakerCell;
use crate::breaker::call_times::CallTimes;
use crate::breaker::events::trace;
use crate::breaker::permit::RESERVED;
use crate::circuit::{Outcome, PermitId};
use crate::sync::lock;
use crate::time::Timestamp;

impl BreakerCell {
    #[cold]
    #[inline(never)]
    pub(super) fn log_rejected(&self, refusal: Refusal) {
        if !trace::is_heard() {
            return;
        }
        let slot = lock(&self.slot);
        let Some(body) = slot.body.as_ref().filter(|_| slot.first_generation <= refusal.generation) else {
            return;
        };
        let (name, settings) = (slot.name.clone(), body.settings.clone());
        drop(slot);
        let until = Some(refusal.until).filter(|until| *until < u64::MAX);
        let wait = until.map(|until| Timestamp::from_nanos(until).since(settings.clock.now()));
        trace::rejected(&name, &settings.registry, refusal.reason, wait);
    }

    /// Tells of a call that ended so, if it counts as a failure.
    #[cold]
    #[inline(never)]
    pub(super) fn log_failed(&self, permit: PermitId, outcome: Outcome, times: CallTimes) {
        let says_nothing = matches!(outcome, Outcome::Success | Outcome::Ignored) || times.started == RESERVED;
        if says_nothing || !trace::is_heard() {
            return;
        }
        let slot = lock(&self.slot);
        let Some(body) = slot.body.as_ref().filter(|_| slot.first_generation <= permit.generation) else {
            return;
        };
        let (name, settings) = (slot.name.clone(), body.settings.clone());
        drop(slot);
        let now = settings.rules.needs_duration().then(|| settings.clock.now());
        let counted = settings.rules.counts_as(outcome, now.map(|now| times.silence(now)));
        if counted.is_failure() {
            let took = now.map(|now| now.since(times.started));
            trace::failed(&name, &settings.registry, took, permit.lease.is_some(), counted != outcome);
        }
    }
}
