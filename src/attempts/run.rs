//! One call with its attempts: as a future, and on a thread.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::policy::Policy;
use super::rules::{Attempts, Failed, Repeat};
use super::timeouts::{Limits, OnTimeout, Timeouts};
use crate::classify::Classify;
use crate::clock::sleep_blocking;

/// Where attempts come from.
pub(crate) trait Source: Repeat {
    type Attempt;
    type Error;

    /// Starts the attempt that was prepared, once that is possible.
    fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<Result<Self::Attempt, Self::Error>>;
}

pin_project! {
    /// One call with its attempts.
    pub(crate) struct Run<A, C, L, T>
    where
        A: Source,
    {
        #[pin]
        state: State<A::Attempt>,
        #[pin]
        limits: L,
        // None: sent once.
        source: Option<A>,
        classify: C,
        timeouts: T,
        attempts: Attempts,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        // An attempt is on its way.
        Running { #[pin] attempt: F },
        // Time passes before the next one.
        Waiting { #[pin] sleep: Sleep },
        // The next one is prepared and starts as soon as it can.
        Starting,
    }
}

impl<A: Source, C, T: Timeouts> Run<A, C, T::Limits, T> {
    /// `source`: where further attempts come from, if there can be any. `first` is called once the call has begun.
    #[inline]
    pub(crate) fn new(
        policy: &Policy,
        classify: C,
        timeouts: T,
        source: Option<A>,
        first: impl FnOnce() -> A::Attempt,
    ) -> Self {
        let attempts = Attempts::begin(policy.clone());
        let limits = timeouts.begin();
        Self { state: State::Running { attempt: first() }, limits, source, classify, timeouts, attempts }
    }
}

impl<A, C, T, R, E> Future for Run<A, C, T::Limits, T>
where
    A: Source<Error = E>,
    A::Attempt: Future<Output = Result<R, E>>,
    C: Classify<R, E>,
    T: OnTimeout<E>,
    E: 'static,
{
    type Output = Result<R, T::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let pending = match this.state.as_mut().project() {
                StateProj::Running { attempt } => match attempt.poll(cx) {
                    Poll::Ready(result) => {
                        let Some(failed) = this.attempts.judge(this.classify, &result) else {
                            return Poll::Ready(result.map_err(T::error));
                        };
                        let allows = |wait| this.limits.allow(wait);
                        let Some(wait) = this.attempts.next(failed, allows, this.source) else {
                            return Poll::Ready(result.map_err(T::error));
                        };
                        // Before the wait, because a response holds a connection.
                        drop(result);
                        Some(wait)
                    }
                    Poll::Pending => None,
                },
                StateProj::Waiting { sleep } => {
                    ready!(sleep.poll(cx));
                    Some(Duration::ZERO)
                }
                StateProj::Starting => match this.source.as_mut().map(|source| source.poll_start(cx)) {
                    Some(Poll::Ready(Ok(attempt))) => {
                        this.state.set(State::Running { attempt });
                        continue;
                    }
                    Some(Poll::Ready(Err(error))) => return Poll::Ready(Err(T::error(error))),
                    Some(Poll::Pending) | None => None,
                },
            };
            let wait = match pending {
                Some(wait) => wait,
                None => {
                    let expired = ready!(this.limits.as_mut().poll_expired(cx, this.attempts.number()));
                    let is_final = T::Limits::is_final(&expired);
                    let failed = if is_final { Failed::OUT_OF_TIME } else { Failed::TIMED_OUT };
                    let allows = |wait| this.limits.allow(wait);
                    match this.attempts.next(failed, allows, this.source) {
                        Some(wait) => wait,
                        None => return Poll::Ready(Err(this.timeouts.timed_out(expired))),
                    }
                }
            };
            if wait.is_zero() {
                this.state.set(State::Starting);
                this.limits.as_mut().next_attempt();
            } else {
                this.state.set(State::Waiting { sleep: sleep(wait) });
            }
        }
    }
}

/// A closure can always be called again.
#[derive(Debug)]
struct Again;

impl Repeat for Again {
    fn prepare(&mut self, _attempt: u32) -> bool {
        true
    }
}

/// One call with its attempts, on this thread. An attempt cannot be interrupted: of the limits only the deadline counts,
/// between attempts.
pub(crate) fn run_blocking<C, T, R, E>(
    policy: &Policy,
    classify: &C,
    timeouts: &T,
    mut f: impl FnMut() -> Result<R, E>,
) -> Result<R, T::Error>
where
    C: Classify<R, E>,
    T: OnTimeout<E>,
    E: 'static,
{
    let mut attempts = Attempts::begin(policy.clone());
    let limits = timeouts.begin();
    loop {
        let result = f();
        let Some(failed) = attempts.judge(classify, &result) else {
            return result.map_err(T::error);
        };
        let Some(wait) = attempts.next(failed, |wait| limits.allow(wait), &mut Some(Again)) else {
            return result.map_err(T::error);
        };
        drop(result);
        sleep_blocking(wait);
    }
}
