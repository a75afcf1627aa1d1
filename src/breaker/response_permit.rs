//! The permit of a call whose response is on its way.

use std::mem::ManuallyDrop;

use super::call_times::CallTimes;
use super::cell::BreakerCell;
use crate::circuit::{Outcome, PermitId};

/// The permit of a call whose head has come, while the rest of the response is on its way. It reports exactly once, as a
/// [`Permit`](super::permit::Permit) does.
#[derive(Debug)]
pub(crate) struct ResponsePermit {
    cell: &'static BreakerCell,
    id: PermitId,
    times: CallTimes,
}

impl ResponsePermit {
    pub(super) const fn new(cell: &'static BreakerCell, id: PermitId, times: CallTimes) -> Self {
        Self { cell, id, times }
    }

    /// Notes that more of the response was asked for and is not there. The silence began with the first time.
    #[inline]
    pub(super) fn waits(&mut self) {
        if !self.times.is_silent()
            && let Some(now) = self.cell.now_if_timed()
        {
            self.times.falls_silent(now);
        }
    }

    /// Notes that more of the response has come: while the reader asks for nothing, the silence is its own.
    #[inline]
    pub(super) const fn hears(&mut self) {
        self.times.ends_silence();
    }

    /// Reports how the call ended.
    pub(super) fn report(self, outcome: Outcome) {
        let Self { cell, id, times } = *ManuallyDrop::new(self);
        if outcome == Outcome::Success
            && (cell.absorbs_success_of(id.generation)
                || id.lease.is_none() && cell.count_response(id.generation, &times))
        {
            return;
        }
        cell.report(id, outcome, times);
    }
}

impl Drop for ResponsePermit {
    #[cold]
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() { Outcome::Failure } else { Outcome::Cancelled };
        self.cell.report(self.id, outcome, self.times);
    }
}
