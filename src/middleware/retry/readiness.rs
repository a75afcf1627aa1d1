//! The deadline while the inner service is not ready.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::attempts::Waited;
use crate::clock::timer_now;

/// How long a service has waited for its inner one, for the call to come. It belongs to the instance that was polled: a
/// clone begins anew.
#[derive(Debug, Default)]
pub(super) enum Readiness {
    /// There was nothing to wait for.
    #[default]
    AtOnce,
    /// The inner service is not ready yet. The timer is for the deadline.
    Pending { since: Instant, timer: Pin<Box<Sleep>> },
    /// The inner service was ready after so long.
    After(Duration),
    /// The deadline came first. That has been reported as ready, which holds until there is a call.
    InVain { since: Instant },
}

impl Clone for Readiness {
    fn clone(&self) -> Self {
        Self::AtOnce
    }
}

impl Readiness {
    #[inline]
    pub(super) const fn is_at_once(&self) -> bool {
        matches!(self, Self::AtOnce)
    }

    /// The call has come.
    #[inline]
    pub(super) fn end(&mut self) -> Waited {
        if self.is_at_once() {
            return Waited::default();
        }
        match mem::take(self) {
            Self::After(time) => Waited { time, in_vain: false },
            Self::InVain { .. } => Waited { time: Duration::ZERO, in_vain: true },
            Self::AtOnce | Self::Pending { .. } => Waited::default(),
        }
    }

    /// Goes on after the inner service was asked whether it is ready. `false`: the deadline has come first.
    pub(super) fn poll_in_time(&mut self, is_ready: bool, deadline: Duration, cx: &mut Context<'_>) -> Poll<bool> {
        let now = timer_now();
        // A task that waits is called by the timer. Where no poll comes for as long again, that task has given up, and what
        // comes now is for another call.
        let is_given_up = |since| now.saturating_duration_since(since) >= deadline.saturating_mul(2);
        let since = match *self {
            Self::Pending { since, .. } if !is_given_up(since) => since,
            // It was reported ready, and stays so until the call.
            Self::InVain { since } if !is_ready || !is_given_up(since) => return Poll::Ready(false),
            // The time between readiness and call is the caller's.
            Self::After(_) if is_ready => return Poll::Ready(true),
            Self::After(time) => now.checked_sub(time).unwrap_or(now),
            Self::AtOnce | Self::Pending { .. } | Self::InVain { .. } => now,
        };
        let waited = now.saturating_duration_since(since);
        if waited < deadline {
            if is_ready {
                *self = Self::After(waited);
                return Poll::Ready(true);
            }
            if !matches!(*self, Self::Pending { since: begun, .. } if begun == since) {
                *self = Self::Pending { since, timer: Box::pin(sleep(deadline.saturating_sub(waited))) };
            }
            if let Self::Pending { timer, .. } = self {
                ready!(timer.as_mut().poll(cx));
            }
        }
        *self = Self::InVain { since };
        Poll::Ready(false)
    }
}
