//! What a registry knows of requests that it has no breaker for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[cfg(feature = "tracing")]
use super::events::trace;

/// The requests that a registry has no breaker for.
#[derive(Debug, Default)]
pub(super) struct Unguarded {
    count: AtomicU64,
    pub(super) unkeyed: Told,
    pub(super) refused: Told,
}

/// Something that is told once.
#[derive(Debug, Default)]
pub(super) struct Told {
    is_told: AtomicBool,
    /// How often there was something to tell, and none who could have been told.
    in_vain: AtomicU64,
    #[cfg(feature = "tracing")]
    is_logged: AtomicBool,
}

/// Listeners are told of requests without a key by this name.
pub(super) const NAME: &str = "(unguarded)";

impl Unguarded {
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Told {
    /// Tells it, unless it is told.
    pub(super) fn once(&self, tell: impl FnOnce() -> bool) {
        // A template that fails is a user's code, and is not run again for each of many requests.
        let is_due = |in_vain: u64| in_vain == 0 || in_vain.is_power_of_two();
        if self.is_told.load(Ordering::Relaxed) || !is_due(self.in_vain.fetch_add(1, Ordering::Relaxed)) {
            return;
        }
        if !self.is_told.swap(true, Ordering::Relaxed) && !tell() {
            self.is_told.store(false, Ordering::Relaxed);
        }
    }

    /// Tells whether logs are to hear of it, whom listeners need not wait for.
    #[cfg(feature = "tracing")]
    pub(super) fn is_for_logs(&self) -> bool {
        trace::hears() && !self.is_logged.load(Ordering::Relaxed)
    }

    #[cfg(not(feature = "tracing"))]
    #[expect(clippy::unused_self, reason = "there are logs with a feature")]
    pub(super) const fn is_for_logs(&self) -> bool {
        false
    }

    /// Tells whether logs are to hear of it now: once.
    #[cfg(feature = "tracing")]
    pub(super) fn log(&self) -> bool {
        self.is_for_logs() && !self.is_logged.swap(true, Ordering::Relaxed)
    }
}
