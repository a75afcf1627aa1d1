//! One call with its attempts: as a future, and on a thread.

use std::future::Future;
use std::marker::PhantomData;
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
use crate::classify::{Classify, Leftover, Retry};
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
    pub(crate) struct Run<A, F, C, L, M, T> {
        #[pin]
        state: State<F>,
        #[pin]
        limits: L,
        // None: sent once.
        source: Option<A>,
        classify: C,
        late: M,
        attempts: Attempts,
        timeouts: PhantomData<fn() -> T>,
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

impl<F> State<F> {
    /// The next attempt is after `wait`; `left` is read meanwhile.
    #[inline]
    fn wait(mut self: Pin<&mut Self>, wait: Duration, mut left: Option<Leftover>, cx: &mut Context<'_>) {
        if wait.is_zero() {
            read(&mut left, cx);
            self.set(Self::Starting);
        } else {
            self.set(Self::Waiting { wait: Wait::boxed(wait, left) });
        }
    }
}

impl<A, F, C, T: Timeouts> Run<A, F, C, T::Limits, T::Late, T> {
    /// A call whose first attempt is on its way. `source`: where further attempts come from, if there can be any; `limits`:
    /// begun before that attempt.
    #[inline]
    pub(crate) fn new(
        policy: &Policy,
        limits: T::Limits,
        attempt: F,
        source: Option<A>,
        (classify, timeouts): (C, &T),
    ) -> Self {
        let state = State::Running { attempt };
        let (late, attempts) = (timeouts.late(), Attempts::new(policy));
        Self { state, limits, source, classify, late, attempts, timeouts: PhantomData }
    }

    /// A call whose time was over before its first attempt, as `limits` say. It ends when it is polled.
    pub(crate) fn out_of_time(policy: &Policy, limits: T::Limits, (classify, timeouts): (C, &T)) -> Self {
        let (late, attempts) = (timeouts.late(), Attempts::new(policy));
        Self { state: State::Starting, limits, source: None, classify, late, attempts, timeouts: PhantomData }
    }
}

impl<A, F, C, T, R, E> Future for Run<A, F, C, T::Limits, T::Late, T>
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
            return self.go_on(cx, None, None);
        };
        let Poll::Ready(result) = attempt.poll(cx) else {
            return self.pending(cx);
        };
        match this.attempts.judge(this.classify, &result) {
            Ok(done) => {
                let head = Head::new(this.attempts, &*this.limits, Some(done));
                Poll::Ready(deliver::<A::Answers, C, T, R, E>(this.classify, head, result))
            }
            Err(failed) => self.go_on(cx, Some(failed), Some(result)),
        }
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

impl<A, F, C, T, R, E> Run<A, F, C, T::Limits, T::Late, T>
where
    A: Source<Attempt = F, Error = E>,
    F: Future<Output = Result<R, E>>,
    C: Classify<R, E>,
    T: OnTimeout<E>,
    A::Answers: Deliver<C::Scope, C, T::Bodies, R>,
    E: 'static,
{
    /// Goes on where the attempt on its way has been polled already.
    #[inline(never)]
    fn pending(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<<Self as Future>::Output> {
        match ready!(self.as_mut().after_pending(cx)) {
            Some(end) => Poll::Ready(end),
            None => self.go_on(cx, None, None),
        }
    }

    /// Goes on after an attempt that `failed` with that result, or, without them, where none has been polled.
    ///
    /// They are two, and how it failed is read where it lies: in one piece they are copied, which waits until all that was
    /// just written of them has arrived in memory.
    #[cold]
    #[inline(never)]
    fn go_on(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut failed: Option<Failed>,
        mut result: Option<Result<R, E>>,
    ) -> Poll<<Self as Future>::Output> {
        loop {
            if let Some(failed) = &failed
                && let Some(result) = result.take()
                && let Some(end) = self.as_mut().after_failed(cx, failed, result)
            {
                return Poll::Ready(end);
            }
            match self.as_mut().look(cx) {
                Seen::Done(result, done) => {
                    let this = self.project();
                    let head = Head::new(this.attempts, &*this.limits, done);
                    return Poll::Ready(deliver::<A::Answers, C, T, R, E>(this.classify, head, result));
                }
                Seen::Failed(how, it) => (failed, result) = (Some(how), Some(it)),
                Seen::Pending => {
                    if let Some(end) = ready!(self.as_mut().after_pending(cx)) {
                        return Poll::Ready(end);
                    }
                }
                Seen::Waiting => return Poll::Pending,
            }
        }
    }

    /// An attempt did not do: there is another one, or the call ends.
    #[inline]
    fn after_failed(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        failed: &Failed,
        result: Result<R, E>,
    ) -> Option<<Self as Future>::Output> {
        let this = self.project();
        let allows = |wait| this.limits.allow(wait);
        let Some(wait) = this.attempts.next(failed, allows, this.source) else {
            let head = Head::new(this.attempts, &*this.limits, None);
            return Some(deliver::<A::Answers, C, T, R, E>(this.classify, head, result));
        };
        // No result is held during the wait, because a response holds a connection.
        let left = this.classify.leftover(result);
        this.state.wait(wait, left, cx);
        if wait.is_zero() {
            this.limits.next_attempt();
        }
        None
    }

    /// An attempt is on its way, or cannot start: where its time is over there is another one, or the call ends.
    fn after_pending(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<<Self as Future>::Output>> {
        let mut this = self.project();
        let expired = ready!(this.limits.as_mut().poll_expired(cx, this.attempts.number()));
        let asked = matches!(this.state.as_mut().project(), StateProj::Running { .. });
        let failed = if T::Limits::is_final(&expired) { Failed::out_of_time(asked) } else { Failed::TIMED_OUT };
        let allows = |wait| this.limits.allow(wait);
        let Some(wait) = this.attempts.next(&failed, allows, this.source) else {
            return Poll::Ready(Some(Err(T::timed_out(this.late, expired))));
        };
        this.state.wait(wait, None, cx);
        if wait.is_zero() {
            this.limits.next_attempt();
        }
        Poll::Ready(None)
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
        let Some(wait) = attempts.next(&failed, |wait| limits.allow(wait), &mut Some(Again)) else {
            return deliver::<AnyAnswer, C, T, R, E>(classify, Head::new(&attempts, &limits, None), result);
        };
        drop(result);
        sleep_blocking(wait);
    }
}
