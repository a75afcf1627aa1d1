//! Calls through a breaker without Tower.

use std::fmt;
use std::future::Future;

use super::call_error::CallError;
use super::call_future::{Apply, CallFuture, CallOrFuture};
use super::handle::CircuitBreaker;
use super::watch::Watch;
use crate::classify::{Errors, errors};
use crate::rejected::Rejected;

/// The classifier of calls that have none of their own.
static ERRORS: Errors = errors();

impl CircuitBreaker {
    /// Calls `f` and awaits its future, if the circuit lets it.
    ///
    /// Every `Err` counts as a failure; for other rules see [`classify`](Self::classify).
    ///
    /// # Errors
    ///
    /// [`CallError::Rejected`] when `f` was not called, [`CallError::Inner`] with its own error otherwise.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the call up, which counts neither way unless it ran for
    /// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after).
    #[inline]
    pub fn call<F, Fut, T, E>(&self, f: F) -> CallFuture<'_, F, Fut>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: 'static,
    {
        CallFuture::new(self, &ERRORS, f)
    }

    /// Calls `f`, or when it is rejected, `fallback` with the rejection.
    ///
    /// # Errors
    ///
    /// The error of `f` or of `fallback`.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// # futures::executor::block_on(async {
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("prices"));
    /// breaker.trip().unwrap();
    /// let price = breaker.call_or(|| async { Ok::<_, std::io::Error>(12) }, |_| async { Ok(10) }).await;
    /// assert_eq!(price.unwrap(), 10);
    /// # })
    /// ```
    #[inline]
    pub fn call_or<F, Fut, G, Alt, T, E>(&self, f: F, fallback: G) -> CallOrFuture<'_, F, Fut, G, Alt>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        G: FnOnce(Rejected) -> Alt,
        Alt: Future<Output = Result<T, E>>,
        E: 'static,
    {
        CallOrFuture::new(self.call(f), fallback)
    }

    /// Calls `f` from synchronous code.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("disk"));
    /// let manifest = breaker.call_blocking(|| std::fs::read_to_string("Cargo.toml"));
    /// assert!(manifest.is_ok());
    /// ```
    pub fn call_blocking<F, T, E>(&self, f: F) -> Result<T, CallError<E>>
    where
        F: FnOnce() -> Result<T, E>,
        E: 'static,
    {
        self.classify(errors()).call_blocking(f)
    }

    /// Decides with `classifier` what counts as a failure. It does so for the calls made through what it returns.
    ///
    /// ```
    /// use fusebox::{classify, CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("disk"));
    /// let missing_is_fine = classify::errors().exclude(|e: &std::io::Error| e.kind() == std::io::ErrorKind::NotFound);
    /// let read = breaker.classify(missing_is_fine).call_blocking(|| std::fs::read_to_string("no such file"));
    /// assert!(read.is_err());
    /// assert!(breaker.snapshot().detectors.iter().all(|part| part.tally.count() == 0));
    /// ```
    pub fn classify<C>(&self, classifier: C) -> Classified<C> {
        Classified::new(self.clone(), classifier)
    }

    /// Wraps a function so that every call of it goes through the breaker. The function may be asynchronous or not.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, State};
    ///
    /// async fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
    ///     text.parse()
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let guarded = CircuitBreaker::new(CircuitBreakerConfig::new("parser")).wrap(parse);
    /// assert_eq!(guarded.call("42").await.unwrap(), 42);
    /// assert_eq!(guarded.breaker().state(), State::Closed);
    /// # })
    /// ```
    pub fn wrap<F>(&self, f: F) -> Wrapped<F, Errors> {
        self.classify(errors()).wrap(f)
    }
}

/// A breaker with a rule of what counts as a failure. Made by [`CircuitBreaker::classify`].
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Outcome};
///
/// # futures::executor::block_on(async {
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("queue"));
/// let queue = breaker.classify(|result: &Result<u32, &str>| match result {
///     Ok(_) => Outcome::Success,
///     Err("empty") => Outcome::Ignored,
///     Err(_) => Outcome::Failure,
/// });
/// assert_eq!(queue.call(|| async { Ok(7) }).await.unwrap(), 7);
/// assert!(queue.call_blocking(|| Err("empty")).is_err(), "the caller still gets it");
/// assert_eq!(breaker.snapshot().detectors[0].tally.count(), 0);
///
/// let pop = queue.wrap(|index: u32| Ok(index + 1));
/// assert_eq!(pop.call_blocking(6).unwrap(), 7);
/// # })
/// ```
#[derive(Clone, Debug)]
#[must_use = "make calls through it"]
pub struct Classified<C> {
    breaker: CircuitBreaker,
    classifier: C,
}

impl<C> Classified<C> {
    pub(super) const fn new(breaker: CircuitBreaker, classifier: C) -> Self {
        Self { breaker, classifier }
    }

    /// See [`CircuitBreaker::call`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    #[inline]
    pub fn call<F, Fut, T, E>(&self, f: F) -> CallFuture<'_, F, Fut, C>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Watch<T, E>,
    {
        CallFuture::new(&self.breaker, &self.classifier, f)
    }

    /// See [`CircuitBreaker::call_blocking`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn call_blocking<F, T, E>(&self, f: F) -> Result<C::Response, CallError<E>>
    where
        F: FnOnce() -> Result<T, E>,
        C: Watch<T, E>,
    {
        let permit = self.breaker.acquire().map_err(CallError::Rejected)?;
        self.classifier.finish(permit, f()).map_err(CallError::Inner)
    }

    /// See [`CircuitBreaker::wrap`].
    pub fn wrap<F>(self, f: F) -> Wrapped<F, C> {
        Wrapped { guarded: self, f }
    }
}

/// A function whose calls go through a breaker. Made by [`CircuitBreaker::wrap`].
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
///
/// let parse = CircuitBreaker::new(CircuitBreakerConfig::new("parser")).wrap(str::parse::<u32>);
/// assert_eq!(parse.call_blocking("42").unwrap(), 42);
///
/// parse.breaker().trip()?;
/// assert!(parse.call_blocking("42").is_err(), "not even called");
/// assert_eq!((parse.get_ref())("42"), Ok(42), "past the breaker");
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
/// ```
#[derive(Clone)]
#[must_use = "call it"]
pub struct Wrapped<F, C> {
    guarded: Classified<C>,
    f: F,
}

impl<F, C> Wrapped<F, C> {
    /// Calls an asynchronous function.
    ///
    /// # Errors
    ///
    /// As [`CircuitBreaker::call`].
    ///
    /// # Cancel safety
    ///
    /// As [`CircuitBreaker::call`].
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// # futures::executor::block_on(async {
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("prices"));
    /// let price = breaker.wrap(|sku: u32| async move { Ok::<_, std::io::Error>(100 + sku) });
    /// assert_eq!(price.call(7).await.unwrap(), 107);
    /// # })
    /// ```
    #[inline]
    pub fn call<A, Fut, T, E>(&self, argument: A) -> CallFuture<'_, Apply<'_, F, A>, Fut, C>
    where
        F: Fn(A) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        C: Watch<T, E>,
    {
        CallFuture::new(&self.guarded.breaker, &self.guarded.classifier, Apply::new(&self.f, argument))
    }

    /// Calls a synchronous function.
    ///
    /// # Errors
    ///
    /// As [`CircuitBreaker::call`].
    pub fn call_blocking<A, T, E>(&self, argument: A) -> Result<C::Response, CallError<E>>
    where
        F: Fn(A) -> Result<T, E>,
        C: Watch<T, E>,
    {
        self.guarded.call_blocking(|| (self.f)(argument))
    }

    /// Returns the breaker.
    #[must_use]
    pub const fn breaker(&self) -> &CircuitBreaker {
        &self.guarded.breaker
    }

    /// Returns the function itself.
    #[must_use]
    pub const fn get_ref(&self) -> &F {
        &self.f
    }
}

impl<F, C> fmt::Debug for Wrapped<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped").field("breaker", &self.guarded.breaker).finish_non_exhaustive()
    }
}
