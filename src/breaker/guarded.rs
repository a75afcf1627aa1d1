//! A call on its way: a future that holds a permit.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::permit::Permit;
use super::watch::Watch;

pin_project! {
    /// Runs a future and reports how it ended.
    #[derive(Debug)]
    pub(crate) struct Guarded<F, C> {
        #[pin]
        inner: F,
        // Gone once reported.
        permit: Option<Permit>,
        classify: C,
    }
}

impl<F, C> Guarded<F, C> {
    #[inline]
    pub(crate) const fn new(inner: F, permit: Permit, classify: C) -> Self {
        Self { inner, permit: Some(permit), classify }
    }
}

impl<F, C, T, E> Future for Guarded<F, C>
where
    F: Future<Output = Result<T, E>>,
    C: Watch<T, E>,
{
    type Output = Result<C::Response, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Poll::Ready((permit, result)) = poll_guarded(this.inner, this.permit, cx) else {
            return Poll::Pending;
        };
        // From here on a panic drops the permit, which is a failure too.
        Poll::Ready(finish(this.classify, permit, result))
    }
}

/// Polls a call that holds a permit, and hands the permit out with the result. A panic is a failure.
#[inline]
pub(super) fn poll_guarded<F: Future>(
    inner: Pin<&mut F>,
    permit: &mut Option<Permit>,
    cx: &mut Context<'_>,
) -> Poll<(Option<Permit>, F::Output)> {
    let guard = OnPanic(permit);
    let Poll::Ready(result) = inner.poll(cx) else {
        // A pending call keeps its permit; only a panic takes it.
        mem::forget(guard);
        return Poll::Pending;
    };
    Poll::Ready((guard.disarm(), result))
}

/// Reports how a call ended, unless a panic has reported it.
#[inline]
pub(super) fn finish<C, T, E>(classify: &C, permit: Option<Permit>, result: Result<T, E>) -> Result<C::Response, E>
where
    C: Watch<T, E>,
{
    match permit {
        Some(permit) => classify.finish(permit, result),
        None => result.map(C::unwatched),
    }
}

/// Reports a failure when code of others panics: the code that catches the panic may keep the future, and with it
/// the permit, for as long as it likes.
#[derive(Debug)]
struct OnPanic<'a>(&'a mut Option<Permit>);

impl OnPanic<'_> {
    #[inline]
    fn disarm(self) -> Option<Permit> {
        let permit = self.0.take();
        mem::forget(self);
        permit
    }
}

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.0.take() {
            permit.failure();
        }
    }
}
