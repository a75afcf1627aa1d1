//! A call whose response has begun and that is told of when the response has ended.

use std::fmt;
use std::sync::Arc;

use super::attempt_end::{Cause, Done, Failed, Place, judged};
use super::event::StopReason;
use super::policy::Shared;
use crate::circuit::Outcome;
use crate::classify::Retry;

/// What is still to be told of a call: how it ends. Dropped before that, its reader has left.
#[doc(hidden)]
pub struct OpenCall {
    shared: Arc<Shared>,
    place: Place,
    /// What to tell when the reader leaves; none: nothing.
    if_left: Option<Done>,
}

impl OpenCall {
    pub(super) const fn new(shared: Arc<Shared>, place: Place, if_left: Option<Done>) -> Self {
        Self { shared, place, if_left }
    }

    /// The response ended so. `earns`: it gives back what failures take from the budget.
    pub(crate) fn ended(mut self, outcome: Outcome, retry: Retry, earns: bool) {
        self.if_left = None;
        match judged(outcome, retry) {
            Ok(done) => self.shared.done(done.earning(|| earns), self.place),
            Err(failed) => {
                // The caller has the response already.
                let reason = match failed.cause {
                    Cause::Final(reason) => reason,
                    Cause::Retryable(_) | Cause::Rejected(_) => StopReason::NotReplayable,
                };
                self.shared.broke_off(failed, reason, self.place);
            }
        }
    }

    /// The time was over before the response ended.
    pub(crate) fn out_of_time(mut self) {
        self.if_left = None;
        self.shared.broke_off(Failed::out_of_time(true), StopReason::Deadline, self.place);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if let Some(done) = self.if_left.take() {
            self.shared.done(done, self.place);
        }
    }
}

impl fmt::Debug for OpenCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenCall").field("place", &self.place).finish_non_exhaustive()
    }
}
