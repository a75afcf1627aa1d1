//! How long a call takes, in the ways that matter.

use std::time::Duration;

use crate::time::Timestamp;

/// The points in time by which a call is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Course {
    pub(super) started: Timestamp,
    /// When the head of its response came; never, where the call ends with that.
    head: Timestamp,
}

impl Course {
    /// Of a call that ends with its answer.
    #[inline]
    pub(super) const fn of(started: Timestamp) -> Self {
        Self { started, head: Timestamp::MAX }
    }

    /// The head of the response has come, and the rest of it is on its way.
    #[cfg(feature = "http")]
    pub(super) const fn goes_on(self, head: Timestamp) -> Self {
        Self { head, ..self }
    }

    /// How long the dependency took to answer, where the call ends now: what comes after the head is no part of that.
    #[inline]
    pub(super) fn answered_after(&self, now: Timestamp) -> Duration {
        now.min(self.head).since(self.started)
    }
}
