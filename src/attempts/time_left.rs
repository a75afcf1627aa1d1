//! The time that is left for the body of a response.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::clock::timer_now;

/// The time that is left for the body of a response.
#[doc(hidden)]
pub trait Rest: Default {
    type Expired;

    /// Tells whether it ever is over.
    fn is_limited(&self) -> bool;

    /// Tells that it was over before now.
    fn passed(&mut self) -> Option<Self::Expired>;

    /// Waits until it is over.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Self::Expired>;
}

/// There is no end to it.
#[derive(Clone, Copy, Debug, Default)]
#[doc(hidden)]
pub struct NoEnd;

impl Rest for NoEnd {
    type Expired = Infallible;

    #[inline]
    fn is_limited(&self) -> bool {
        false
    }

    #[inline]
    fn passed(&mut self) -> Option<Infallible> {
        None
    }

    #[inline]
    fn poll_over(&mut self, _cx: &mut Context<'_>) -> Poll<Infallible> {
        Poll::Pending
    }
}

/// The time until a deadline, if there is one.
#[derive(Debug)]
#[doc(hidden)]
pub struct TimeLeft<X> {
    /// When it is over, and what to say then.
    end: Option<(Instant, X)>,
    /// Made when the body is first found pending: one that is there at once needs no timer. In a box, so that a body stays
    /// `Unpin`.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<X> TimeLeft<X> {
    pub(super) const fn until(end: Option<(Instant, X)>) -> Self {
        Self { end, sleep: None }
    }

    fn over(&mut self) -> Option<X> {
        self.sleep = None;
        self.end.take().map(|(_, expired)| expired)
    }
}

impl<X> Default for TimeLeft<X> {
    fn default() -> Self {
        Self::until(None)
    }
}

impl<X> Rest for TimeLeft<X> {
    type Expired = X;

    fn is_limited(&self) -> bool {
        self.end.is_some()
    }

    fn passed(&mut self) -> Option<X> {
        let (end, _) = self.end.as_ref()?;
        // What comes at the very end still counts.
        if timer_now() > *end { self.over() } else { None }
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<X> {
        let Some((end, _)) = &self.end else {
            return Poll::Pending;
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(*end)));
        ready!(sleep.as_mut().poll(cx));
        self.over().map_or(Poll::Pending, Poll::Ready)
    }
}
