//! The deadline that the caller of one call has.

use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "http")]
use crate::clock::timer_now;

/// By when the caller wants the answer to one call, whatever is configured for all.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct CallerDeadline {
    pub(super) from: Instant,
    pub(super) after: Duration,
    /// The client knows it, and ends an attempt then by itself.
    pub(super) is_clients: bool,
}

impl CallerDeadline {
    /// None: beyond the end of time.
    pub(super) fn end(self) -> Option<Instant> {
        self.from.checked_add(self.after)
    }
}

#[cfg(feature = "http")]
impl CallerDeadline {
    /// That long after now, as the client knows.
    #[cfg(any(feature = "grpc", feature = "reqwest"))]
    pub(crate) fn within(after: Duration) -> Self {
        Self { from: timer_now(), after, is_clients: true }
    }

    /// At that time, of which the client knows nothing.
    pub(crate) fn at(end: Instant) -> Self {
        let from = timer_now();
        Self { from, after: end.saturating_duration_since(from), is_clients: false }
    }

    /// The one that comes first.
    #[cfg(feature = "grpc")]
    pub(crate) fn or_sooner(self, other: Option<Self>) -> Self {
        let is_sooner = |other: &Self| match (self.end(), other.end()) {
            (Some(end), Some(other)) => other < end,
            (end, _) => end.is_none(),
        };
        other.filter(is_sooner).unwrap_or(self)
    }
}
