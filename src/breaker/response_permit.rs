//! The permit of a call whose response is on its way.

use std::mem::ManuallyDrop;

use super::cell::BreakerCell;
use super::course::Course;
use crate::circuit::{Outcome, PermitId};

/// The permit of a call whose head has come, while the rest of the response is on its way. It reports exactly once, as a
/// [`Permit`](super::permit::Permit) does.
#[derive(Debug)]
pub(crate) struct ResponsePermit {
    cell: &'static BreakerCell,
    id: PermitId,
    course: Course,
}

impl ResponsePermit {
    pub(super) const fn new(cell: &'static BreakerCell, id: PermitId, course: Course) -> Self {
        Self { cell, id, course }
    }

    /// Reports how the call ended.
    pub(super) fn report(self, outcome: Outcome) {
        let Self { cell, id, course } = *ManuallyDrop::new(self);
        if outcome == Outcome::Success
            && (cell.absorbs_success_of(id.generation)
                || id.lease.is_none() && cell.count_response(id.generation, &course))
        {
            return;
        }
        cell.report(id, outcome, course);
    }
}

impl Drop for ResponsePermit {
    #[cold]
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() { Outcome::Failure } else { Outcome::Cancelled };
        self.cell.report(self.id, outcome, self.course);
    }
}
