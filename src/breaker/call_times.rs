//! How long a call takes, in the ways that matter.

use std::time::Duration;

use crate::time::Timestamp;

/// The points in time by which a call is judged. "Never" is [`Timestamp::MAX`]: no time has passed since.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallTimes {
    pub(super) started: Timestamp,
    /// When the head of its response came; never, where the call ends with that.
    head: Timestamp,
    /// Since when the dependency is waited for in vain; never, while it is its caller's turn.
    silent_since: Timestamp,
}

impl CallTimes {
    /// Of a call that ends with its answer: until then it is waited for.
    #[inline]
    pub(super) const fn of(started: Timestamp) -> Self {
        Self { started, head: Timestamp::MAX, silent_since: started }
    }

    /// How long the dependency took to answer, where the call ends now: what comes after the head is no part of that.
    #[inline]
    pub(super) fn answered_after(&self, now: Timestamp) -> Duration {
        now.min(self.head).since(self.started)
    }

    /// For how long the dependency has been waited for in vain.
    #[inline]
    pub(super) const fn silence(&self, now: Timestamp) -> Duration {
        now.since(self.silent_since)
    }
}

#[cfg(feature = "http")]
impl CallTimes {
    /// The head of the response has come, and the rest of it is on its way.
    pub(super) const fn goes_on(self, head: Timestamp) -> Self {
        Self { head, silent_since: Timestamp::MAX, ..self }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent_since < Timestamp::MAX
    }

    /// More was asked for, and is not there.
    pub(super) const fn falls_silent(&mut self, now: Timestamp) {
        self.silent_since = now;
    }

    /// What was asked for has come.
    #[inline]
    pub(super) const fn ends_silence(&mut self) {
        self.silent_since = Timestamp::MAX;
    }
}
