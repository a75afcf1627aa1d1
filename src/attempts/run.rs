//! One call with its attempts: as a future, and on a thread.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::attempt_end::{Done, Failed};
use super::deliver::{AnyAnswer, Deliver, Delivered, Head};
use super::policy::Policy;
use super::rules::{Attempts, Repeat};
use super::timeouts::{Limits, OnTimeout, Timeouts};
use super::wait::{Wait, read};
use crate::classify::{Classify, Retry};
use crate::clock::sleep_blocking;

/// Where attempts come from.
pub(crate) trait Source: Repeat {
    type Attempt;
    type Error;
    /// What becomes of the response: one that [delivers](Deliver) it.
    type Answers;

    /// Starts the attempt that was prepared, once that is possible. `left`: of the time that the caller gives, if it says
    /// so.
    fn poll_start(&mut self, cx: &mut Context<'_>, left: Option<Duration>) -> Poll<Result<Self::Attempt, Self::Error>>;
}

pin_project! {
    /// One call with its attempts, of the type `F`. It has no bounds, so that its future is `Send` where its parts are, in
    /// tasks too.
    pub(crate) struct Run<A, F, C, L, T> {
        #[pin]
        state: State<F>,
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
        // Time passes before the next one. In a box of its own, so that calls that never wait do not carry it.
        Waiting { wait: Pin<Box<Wait>> },
        // The next one is prepared and starts as soon as it can.
        Starting,
    }
}

/// What a look at a call showed.
enum Seen<R, E> {
    /// It is over. None: all that there is to tell is told.
    Done(Result<R, E>, Option<Done>),
    /// An attempt did not do.
    Failed(Failed, Result<R, E>),
    /// An attempt is on its way, or cannot start yet; there may be a limit to that.
    Pending,
    /// Time has to pass before the next one.
    Waiting,
}

impl<A, F, C, T: Timeouts> Run<A, F, C, T::Limits, T> {
    /// A call whose first attempt is on its way. `source`: where further attempts come from, if there can be any; `limits`:
    /// begun before that attempt.
    #[inline]
    pub(crate) fn new(
        policy: &Policy,
        limits: T::Limits,
        attempt: F,
        source: Option<A>,
        (classify, timeouts): (C, T),
    ) -> Self {
        let state = State::Running { attempt };
        Self { state, limits, source, classify, timeouts, attempts: Attempts::new(policy) }
    }

    /// A call whose time was over before its first attempt, as `limits` say. It ends when it is polled.
    pub(crate) fn out_of_time(policy: &Policy, limits: T::Limits, (classify, timeouts): (C, T)) -> Self {
        Self { state: State::Starting, limits, source: None, classify, timeouts, attempts: Attempts::new(policy) }
    }
}

impl<A, F, C, T, R, E> Future for Run<A, F, C, T::Limits, T>
where
    A: Source<Attempt = F, Error = E>,
    F: Future<Output = Result<R, E>>,
    C: Classify<R, E>,
    T: OnTimeout<E>,
    A::Answers: Deliver<C::Scope, C, T::Bodies, R>,
    E: 'static,
{
    type Output = Result<Delivered<A::Answers, C, T, R, E>, T::Error>;

    /// The call that succeeds at once, on its own: merged with the rest it would be too large to be taken into its caller.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        let StateProj::Running { attempt } = this.state.project() else {
            return self.go_on(cx, None);
        };
        let seen = match attempt.poll(cx) {
            Poll::Ready(result) => match this.attempts.judge(this.classify, &result) {
                Ok(done) => {
                    let head = Head::new(this.attempts, &*this.limits, Some(done));
                    return Poll::Ready(deliver::<A::Answers, C, T, R, E>(this.classify, head, result));
                }
                Err(failed) => Seen::Failed(failed, result),
            },
            Poll::Pending => Seen::Pending,
        };
        self.go_on(cx, Some(seen))
    }
}

/// Gives the caller a result, and tells how its call ended, unless that is known later.
#[inline]
fn deliver<A, C, T, R, E>(
    classify: &C,
    head: Head<'_, T::Limits>,
    result: Result<R, E>,
) -> Result<Delivered<A, C, T, R, E>, T::Error>
where
    A: Deliver<C::Scope, C, T::Bodies, R>,
    C: Classify<R, E>,
    T: OnTimeout<E>,
{
    match result {
        Ok(response) => Ok(A::deliver(classify, head, response)),
        Err(error) => {
            head.tell();
            Err(T::error(error))
        }
    }
}

impl<A, F, C, T, R, E> Run<A, F, C, T::Limits, T>
where
    A: Source<Attempt = F, Error = E>,
    F: Future<Output = Result<R, E>>,
    C: Classify<R, E>,
    T: OnTimeout<E>,
    A::Answers: Deliver<C::Scope, C, T::Bodies, R>,
    E: 'static,
{
    /// Goes on after what was seen, where the call was looked at already.
    #[inline(never)]
    fn go_on(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut seen: Option<Seen<R, E>>,
    ) -> Poll<<Self as Future>::Output> {
        loop {
            let seen = match seen.take() {
                Some(seen) => seen,
                None => self.as_mut().look(cx),
            };
            let mut this = self.as_mut().project();
            let (wait, mut left) = match seen {
                Seen::Done(result, done) => {
                    let head = Head::new(this.attempts, &*this.limits, done);
                    return Poll::Ready(deliver::<A::Answers, C, T, R, E>(this.classify, head, result));
                }
                Seen::Waiting => return Poll::Pending,
                Seen::Failed(failed, result) => {
                    let allows = |wait| this.limits.allow(wait);
                    match this.attempts.next(failed, allows, this.source) {
                        // No result is held during the wait, because a response holds a connection.
                        Some(wait) => (wait, this.classify.leftover(result)),
                        None => {
                            let head = Head::new(this.attempts, &*this.limits, None);
                            return Poll::Ready(deliver::<A::Answers, C, T, R, E>(this.classify, head, result));
                        }
                    }
                }
                Seen::Pending => {
                    let expired = ready!(this.limits.as_mut().poll_expired(cx, this.attempts.number()));
                    let is_final = T::Limits::is_final(&expired);
                    let asked = matches!(this.state.as_mut().project(), StateProj::Running { .. });
                    let failed = if is_final { Failed::out_of_time(asked) } else { Failed::TIMED_OUT };
                    let allows = |wait| this.limits.allow(wait);
                    match this.attempts.next(failed, allows, this.source) {
                        Some(wait) => (wait, None),
                        None => return Poll::Ready(Err(this.timeouts.timed_out(expired))),
                    }
                }
            };
            if wait.is_zero() {
                read(&mut left, cx);
                this.state.set(State::Starting);
                this.limits.next_attempt();
            } else {
                this.state.set(State::Waiting { wait: Box::pin(Wait::new(wait, left)) });
            }
        }
    }

    fn look(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Seen<R, E> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Running { attempt } => {
                    let Poll::Ready(result) = attempt.poll(cx) else {
                        return Seen::Pending;
                    };
                    return match this.attempts.judge(this.classify, &result) {
                        Ok(done) => Seen::Done(result, Some(done)),
                        Err(failed) => Seen::Failed(failed, result),
                    };
                }
                StateProj::Waiting { wait } => {
                    if wait.as_mut().poll(cx).is_pending() {
                        return Seen::Waiting;
                    }
                    this.state.set(State::Starting);
                    this.limits.as_mut().next_attempt();
                }
                // What cannot end in time does not begin.
                StateProj::Starting if this.limits.is_over() => return Seen::Pending,
                StateProj::Starting => {
                    let left = this.limits.left();
                    match this.source.as_mut().map(|source| source.poll_start(cx, left)) {
                        Some(Poll::Ready(Ok(attempt))) => this.state.set(State::Running { attempt }),
                        Some(Poll::Ready(Err(error))) => {
                            this.attempts.give_up();
                            return Seen::Done(Err(error), None);
                        }
                        Some(Poll::Pending) | None => return Seen::Pending,
                    }
                }
            }
        }
    }
}

/// A closure can always be called again.
#[derive(Debug)]
struct Again;

impl Repeat for Again {
    fn may_repeat(&self, _after: Retry) -> bool {
        true
    }

    fn change_connection(&mut self) {}

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
) -> Result<Delivered<AnyAnswer, C, T, R, E>, T::Error>
where
    C: Classify<R, E>,
    T: OnTimeout<E>,
    AnyAnswer: Deliver<C::Scope, C, T::Bodies, R>,
    E: 'static,
{
    policy.begin();
    let mut attempts = Attempts::new(policy);
    let limits = timeouts.begin();
    loop {
        let result = f();
        let failed = match attempts.judge(classify, &result) {
            Ok(done) => {
                let head = Head::new(&attempts, &limits, Some(done));
                return deliver::<AnyAnswer, C, T, R, E>(classify, head, result);
            }
            Err(failed) => failed,
        };
        let Some(wait) = attempts.next(failed, |wait| limits.allow(wait), &mut Some(Again)) else {
            return deliver::<AnyAnswer, C, T, R, E>(classify, Head::new(&attempts, &limits, None), result);
        };
        drop(result);
        sleep_blocking(wait);
    }
}
