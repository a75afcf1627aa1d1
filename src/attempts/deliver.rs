//! What becomes of a response on its way to the caller.

use std::fmt;

use super::attempt_end::Done;
#[cfg(feature = "http")]
use super::open_call::OpenCall;
use super::rules::Attempts;
use super::timeouts::{Limits, Timeouts};
use crate::classify::{AtHead, Classify};

/// Gives a response to the caller: as it is, or with a body that tells how the call ends and in time. `S` is when the
/// outcome is known, `C` the classifier, `T` the limits of time for the body.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "a retry cannot give `{R}` to its caller",
    note = "a classifier with the scope `AtEnd` needs an `http::Response` with a `Body`, and `ClassifyEnd + Clone`, both `'static`; with limits of time `RetryLayer::http` needs an `http::Response` too",
    note = "code generic over `Classify` adds `Scope = AtHead`"
)]
pub trait Deliver<S, C, T: Timeouts, R> {
    type Response;

    fn deliver(classify: &C, head: Head<'_, T::Limits>, response: R) -> Self::Response;
}

/// The response that the caller gets.
pub(crate) type Delivered<A, C, T, R, E> =
    <A as Deliver<<C as Classify<R, E>>::Scope, C, <T as Timeouts>::Bodies, R>>::Response;

/// Answers of any kind: nothing is known of a body.
#[derive(Debug)]
#[doc(hidden)]
pub struct AnyAnswer;

impl<C, T: Timeouts, R> Deliver<AtHead, C, T, R> for AnyAnswer {
    type Response = R;

    #[inline]
    fn deliver(_classify: &C, head: Head<'_, T::Limits>, response: R) -> R {
        head.tell();
        response
    }
}

/// What is known of a call when it has a result for its caller.
#[doc(hidden)]
pub struct Head<'a, L> {
    attempts: &'a Attempts,
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "it is for bodies"))]
    limits: &'a L,
    /// None: all that there is to tell is told.
    done: Option<Done>,
}

impl<'a, L: Limits> Head<'a, L> {
    #[inline]
    pub(super) const fn new(attempts: &'a Attempts, limits: &'a L, done: Option<Done>) -> Self {
        Self { attempts, limits, done }
    }

    /// Tells how the call ended, as its result says.
    #[inline]
    pub(crate) fn tell(self) {
        if let Some(done) = self.done {
            self.attempts.done(done);
        }
    }

    /// The call, to be told of at its end; `None` where there is nothing to tell, or nothing that hears it.
    #[cfg(feature = "http")]
    pub(crate) fn open(&self) -> Option<OpenCall> {
        self.done?;
        self.attempts.open(None)
    }

    /// The call, to be told of when its reader has left or its time is over; `None` as in `open`.
    #[cfg(feature = "http")]
    pub(crate) fn open_until_left(&self) -> Option<OpenCall> {
        self.attempts.open(Some(self.done?))
    }

    /// The time that is left.
    #[cfg(feature = "http")]
    pub(crate) fn rest(&self) -> L::Rest {
        self.limits.rest(self.attempts.number())
    }
}

impl<L> fmt::Debug for Head<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").field("done", &self.done).finish_non_exhaustive()
    }
}
