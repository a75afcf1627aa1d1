//! Calls through a breaker without Tower, as futures.
//!
//! They have names, and no bounds that say how their parts belong together: so they are `Send` where their parts are. Of an
//! `async fn` with such bounds the compiler cannot prove that in a task that is spawned
//! (<https://github.com/rust-lang/rust/issues/110338>).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::call_error::CallError;
use super::guarded::{finish, poll_guarded};
use super::handle::CircuitBreaker;
use super::permit::Permit;
use super::watch::Watch;
use crate::classify::Errors;
use crate::rejected::Rejected;

pin_project! {
    /// A call through a circuit breaker. The breaker is asked when the future is polled first.
    ///
    /// Made by [`CircuitBreaker::call`], by [`Classified::call`](super::Classified::call) and, with [`Apply`], by
    /// [`Wrapped::call`](super::Wrapped::call). It is `Send` where the function, its future and the classifier are. Polled
    /// again after it was ready, it stays pending.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the call up, which counts neither way unless it ran for
    /// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after).
    ///
    /// ```
    /// use std::future::{Ready, ready};
    /// use fusebox::circuit_breaker::CallFuture;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// type Answer = Ready<Result<u32, std::num::ParseIntError>>;
    ///
    /// # futures::executor::block_on(async {
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("parser"));
    /// let parse: fn() -> Answer = || ready("42".parse());
    /// let call: CallFuture<'_, fn() -> Answer, Answer> = breaker.call(parse);
    /// assert_eq!(call.await.unwrap(), 42);
    /// # })
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct CallFuture<'a, F, Fut, C = Errors> {
        breaker: &'a CircuitBreaker,
        classify: &'a C,
        #[pin]
        state: CallState<F, Fut>,
    }
}

pin_project! {
    #[project = CallStateProj]
    enum CallState<F, Fut> {
        // The breaker has not been asked; without the function, the call is over.
        Idle { f: Option<F> },
        // The call is on its way. The future is dropped before the permit: it may be a part of the call.
        Running { #[pin] inner: Fut, permit: Option<Permit> },
    }
}

/// What a call's future is made by: a function, or an [`Apply`].
#[doc(hidden)]
pub trait Start<Fut> {
    fn start(self) -> Fut;
}

impl<F, Fut> Start<Fut> for F
where
    F: FnOnce() -> Fut,
{
    #[inline]
    fn start(self) -> Fut {
        self()
    }
}

/// A function with the argument that it is called with. Made by [`Wrapped::call`](super::Wrapped::call).
///
/// ```
/// use std::future::{Ready, ready};
/// use fusebox::circuit_breaker::{Apply, CallFuture};
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
///
/// type Parse = fn(&'static str) -> Ready<Result<u32, std::num::ParseIntError>>;
/// type Call<'a, Fut> = CallFuture<'a, Apply<'a, Parse, &'static str>, Fut>;
///
/// # futures::executor::block_on(async {
/// let parse: Parse = |text| ready(text.parse());
/// let parse = CircuitBreaker::new(CircuitBreakerConfig::new("parser")).wrap(parse);
/// let call: Call<'_, _> = parse.call("42");
/// assert_eq!(call.await.unwrap(), 42);
/// # })
/// ```
pub struct Apply<'a, F, A> {
    f: &'a F,
    argument: A,
}

impl<'a, F, A> Apply<'a, F, A> {
    pub(super) const fn new(f: &'a F, argument: A) -> Self {
        Self { f, argument }
    }
}

impl<F, A, Fut> Start<Fut> for Apply<'_, F, A>
where
    F: Fn(A) -> Fut,
{
    #[inline]
    fn start(self) -> Fut {
        (self.f)(self.argument)
    }
}

impl<F, A> fmt::Debug for Apply<'_, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Apply").finish_non_exhaustive()
    }
}

impl<'a, F, Fut, C> CallFuture<'a, F, Fut, C> {
    #[inline]
    pub(super) const fn new(breaker: &'a CircuitBreaker, classify: &'a C, f: F) -> Self {
        Self { breaker, classify, state: CallState::Idle { f: Some(f) } }
    }
}

impl<F, Fut, C, T, E> Future for CallFuture<'_, F, Fut, C>
where
    F: Start<Fut>,
    Fut: Future<Output = Result<T, E>>,
    C: Watch<T, E>,
{
    type Output = Result<C::Response, CallError<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let CallStateProj::Idle { f } = this.state.as_mut().project() {
            let Some(f) = f.take() else {
                return Poll::Pending;
            };
            let permit = match this.breaker.acquire() {
                Ok(permit) => permit,
                Err(rejected) => return Poll::Ready(Err(CallError::Rejected(rejected))),
            };
            // If this panics, the permit is dropped while the thread panics, which is a failure.
            let inner = f.start();
            this.state.set(CallState::Running { inner, permit: Some(permit) });
        }
        let CallStateProj::Running { inner, permit } = this.state.as_mut().project() else {
            return Poll::Pending;
        };
        let (permit, result) = ready!(poll_guarded(inner, permit, cx));
        // What the call holds is free before its end is told.
        this.state.set(CallState::Idle { f: None });
        Poll::Ready(finish(*this.classify, permit, result).map_err(CallError::Inner))
    }
}

impl<F, Fut, C> fmt::Debug for CallFuture<'_, F, Fut, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFuture").field("breaker", &self.breaker).finish_non_exhaustive()
    }
}

pin_project! {
    /// A call through a circuit breaker that has a fallback. Made by [`CircuitBreaker::call_or`].
    ///
    /// It is `Send` where the functions and their futures are. Polled again after it was ready, it stays pending.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the call, as that of a [`CallFuture`], or the fallback, whichever is on its way.
    ///
    /// ```
    /// use std::future::{Ready, ready};
    /// use fusebox::circuit_breaker::CallOrFuture;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Rejected};
    ///
    /// type Answer = Ready<Result<u32, std::num::ParseIntError>>;
    /// type Call<'a> = CallOrFuture<'a, fn() -> Answer, Answer, fn(Rejected) -> Answer, Answer>;
    ///
    /// # futures::executor::block_on(async {
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("parser"));
    /// breaker.trip().unwrap();
    /// let call: Call<'_> = breaker.call_or(|| ready("42".parse()), |_| ready(Ok(0)));
    /// assert_eq!(call.await, Ok(0));
    /// # })
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct CallOrFuture<'a, F, Fut, G, Alt> {
        #[pin]
        state: CallOrState<'a, F, Fut, Alt>,
        // Gone once asked.
        fallback: Option<G>,
    }
}

pin_project! {
    #[project = CallOrStateProj]
    enum CallOrState<'a, F, Fut, Alt> {
        // The call is on its way.
        Calling { #[pin] call: CallFuture<'a, F, Fut> },
        // It was rejected; the fallback is on its way.
        Replacing { #[pin] answer: Alt },
    }
}

impl<'a, F, Fut, G, Alt> CallOrFuture<'a, F, Fut, G, Alt> {
    #[inline]
    pub(super) const fn new(call: CallFuture<'a, F, Fut>, fallback: G) -> Self {
        Self { state: CallOrState::Calling { call }, fallback: Some(fallback) }
    }
}

impl<F, Fut, G, Alt, T, E> Future for CallOrFuture<'_, F, Fut, G, Alt>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    G: FnOnce(Rejected) -> Alt,
    Alt: Future<Output = Result<T, E>>,
    E: 'static,
{
    type Output = Result<T, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let CallOrStateProj::Calling { call } = this.state.as_mut().project() {
            let rejected = match ready!(call.poll(cx)) {
                Ok(value) => return Poll::Ready(Ok(value)),
                Err(CallError::Inner(error)) => return Poll::Ready(Err(error)),
                Err(CallError::Rejected(rejected)) => rejected,
            };
            let Some(fallback) = this.fallback.take() else {
                return Poll::Pending;
            };
            this.state.set(CallOrState::Replacing { answer: fallback(rejected) });
        }
        match this.state.project() {
            CallOrStateProj::Replacing { answer } => answer.poll(cx),
            CallOrStateProj::Calling { .. } => Poll::Pending,
        }
    }
}

impl<F, Fut, G, Alt> fmt::Debug for CallOrFuture<'_, F, Fut, G, Alt> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOrFuture").finish_non_exhaustive()
    }
}
