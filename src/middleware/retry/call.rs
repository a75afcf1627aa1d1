//! Calls with retries and without Tower.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::layer::RetryLayer;
use crate::attempts::{
    AnyAnswer, Deliver, Delivered, OnTimeout, Repeat, RetryConfig, Run, Source, Timeouts, run_blocking,
};
use crate::classify::{Borrowed, Classify, Retry};

impl<C, P, T> RetryLayer<C, P, T> {
    /// Calls `f` and awaits its future, again and again. It ends when one succeeds or there are no retries left.
    ///
    /// Waiting needs a Tokio runtime with time enabled.
    ///
    /// Around the call of a circuit breaker, tell its rejections from failures, or they are retried like any other error
    /// ([`SafetyNet::call`](crate::SafetyNet::call) needs no telling):
    ///
    /// ```
    /// use fusebox::{CallError, CircuitBreaker, CircuitBreakerConfig, RetryConfig, RetryLayer, classify};
    ///
    /// # tokio_test::block_on(async {
    /// # async fn fetch() -> Result<u32, std::io::Error> { Ok(42) }
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("prices"));
    /// let retry = RetryLayer::new(RetryConfig::default()).classify(classify::errors().exclude(CallError::is_rejected));
    /// assert_eq!(retry.call(|| breaker.call(fetch)).await.unwrap(), 42);
    ///
    /// breaker.trip()?;
    /// assert!(retry.call(|| breaker.call(fetch)).await.unwrap_err().is_rejected(), "at once");
    /// # Ok::<(), fusebox::circuit_breaker::Overridden>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// The last error of `f`, unchanged; boxed where the configuration has limits of time, which make
    /// [`TimedOut`](crate::retry::TimedOut) one of the possible errors.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the attempt on its way; there is no further one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{RetryConfig, RetryLayer, backoff};
    ///
    /// # tokio_test::block_on(async {
    /// let retry = RetryLayer::new(RetryConfig::builder().backoff(backoff::fixed(Duration::from_millis(1))).build()?);
    /// let mut attempts = 0;
    /// let answer = retry.call(|| {
    ///     attempts += 1;
    ///     let third = attempts == 3;
    ///     async move { if third { Ok(42) } else { Err("down") } }
    /// });
    /// assert_eq!(answer.await, Ok(42));
    /// # Ok::<(), fusebox::ConfigError>(()) }).unwrap();
    /// ```
    #[inline]
    pub fn call<F, Fut, R, E>(&self, f: F) -> CallFuture<'_, F, Fut, C, T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<R, E>>,
        C: Classify<R, E>,
        T: OnTimeout<E>,
        E: 'static,
    {
        let (config, classify) = self.parts();
        CallFuture { config, classify, state: State::Idle { f } }
    }

    /// Calls `f` from synchronous code, again and again. It ends when it succeeds or there are no retries left; the
    /// thread sleeps in between.
    ///
    /// A function on its way cannot be interrupted: the deadline counts between attempts, and
    /// [`attempt_timeout`](crate::RetryConfigBuilder::attempt_timeout) does not count at all.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{RetryConfig, RetryLayer, backoff};
    ///
    /// let retry = RetryLayer::new(RetryConfig::builder().backoff(backoff::fixed(Duration::from_millis(1))).build()?);
    /// let manifest = retry.call_blocking(|| std::fs::read_to_string("Cargo.toml"));
    /// assert!(manifest.is_ok());
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn call_blocking<F, R, E>(&self, f: F) -> Result<Delivered<AnyAnswer, C, T, R, E>, T::Error>
    where
        F: FnMut() -> Result<R, E>,
        C: Classify<R, E>,
        T: OnTimeout<E>,
        AnyAnswer: Deliver<C::Scope, C, T::Bodies, R>,
        E: 'static,
    {
        let (RetryConfig { policy, timeouts }, classify) = self.parts();
        run_blocking(policy, classify, timeouts, f)
    }
}

pin_project! {
    /// A call with its attempts. The first begins when the future is polled first. Made by [`RetryLayer::call`].
    ///
    /// It is `Send` where the function, its futures, the classifier and the limits of time are. Polled again after it was
    /// ready, it stays pending.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the attempt on its way; there is no further one.
    ///
    /// ```
    /// use std::future::{Ready, ready};
    /// use fusebox::classify::Errors;
    /// use fusebox::retry::{CallFuture, RetryConfig, RetryLayer, Untimed};
    ///
    /// type Answer = Ready<Result<u32, std::num::ParseIntError>>;
    ///
    /// # futures::executor::block_on(async {
    /// let retry = RetryLayer::new(RetryConfig::default());
    /// let parse: fn() -> Answer = || ready("42".parse());
    /// let call: CallFuture<'_, fn() -> Answer, Answer, Errors, Untimed> = retry.call(parse);
    /// assert_eq!(call.await, Ok(42));
    /// # })
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct CallFuture<'a, F, Fut, C, T>
    where
        T: Timeouts,
    {
        config: &'a RetryConfig<T>,
        classify: &'a C,
        #[pin]
        state: State<F, Run<Call<F>, Fut, Borrowed<'a, C>, T::Limits, T::Late, T>>,
    }
}

pin_project! {
    #[project = StateProj]
    #[project_replace = StateOwned]
    enum State<F, R> {
        // Nothing has begun.
        Idle { f: F },
        // Attempts are made.
        Running { #[pin] run: R },
        // It is over.
        Over,
    }
}

impl<'a, F, Fut, C, T, R, E> Future for CallFuture<'a, F, Fut, C, T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<R, E>>,
    C: Classify<R, E>,
    T: OnTimeout<E>,
    AnyAnswer: Deliver<C::Scope, Borrowed<'a, C>, T::Bodies, R>,
    E: 'static,
{
    type Output = Result<Delivered<AnyAnswer, Borrowed<'a, C>, T, R, E>, T::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if matches!(this.state.as_mut().project(), StateProj::Idle { .. })
            && let StateOwned::Idle { mut f } = this.state.as_mut().project_replace(State::Over)
        {
            let RetryConfig { policy, timeouts } = *this.config;
            policy.begin();
            let limits = timeouts.begin();
            let attempt = f();
            let run = Run::new(policy, limits, attempt, Some(Call { f }), (Borrowed(*this.classify), timeouts));
            this.state.set(State::Running { run });
        }
        let StateProj::Running { run } = this.state.as_mut().project() else {
            return Poll::Pending;
        };
        let result = ready!(run.poll(cx));
        this.state.set(State::Over);
        Poll::Ready(result)
    }
}

impl<F, Fut, C, T: Timeouts> fmt::Debug for CallFuture<'_, F, Fut, C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFuture").finish_non_exhaustive()
    }
}

/// A function that makes attempts.
struct Call<F> {
    f: F,
}

impl<F> Repeat for Call<F> {
    fn may_repeat(&self, _after: Retry) -> bool {
        true
    }

    fn change_connection(&mut self) {}

    fn prepare(&mut self, _attempt: u32) -> bool {
        true
    }
}

impl<F, Fut, R, E> Source for Call<F>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<R, E>>,
{
    type Attempt = Fut;
    type Error = E;
    type Answers = AnyAnswer;

    fn poll_start(&mut self, _cx: &mut Context<'_>, _left: Option<Duration>) -> Poll<Result<Fut, E>> {
        Poll::Ready(Ok((self.f)()))
    }
}
