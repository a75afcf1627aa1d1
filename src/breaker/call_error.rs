//! Why a call did not succeed.

use std::error::Error;
use std::fmt;

use crate::rejected::Rejected;

/// What became of a call that did not succeed.
///
/// ```
/// use fusebox::{CallError, CircuitBreaker, CircuitBreakerConfig};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("parser"));
/// let failed = breaker.call_blocking(|| "4z".parse::<u32>()).unwrap_err();
/// assert!(failed.rejected().is_none());
/// assert!(failed.into_inner().is_some(), "the parser's own error");
///
/// breaker.trip()?;
/// match breaker.call_blocking(|| "42".parse::<u32>()) {
///     Err(CallError::Rejected(rejected)) => assert_eq!(&*rejected.name(), "parser"),
///     Err(CallError::Inner(_)) | Ok(_) => panic!("was called"),
/// }
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
/// ```
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a call is either made or not")]
pub enum CallError<E> {
    /// The call was not made.
    Rejected(Rejected),
    /// The call was made and failed.
    Inner(E),
}

impl<E> CallError<E> {
    /// Tells whether the call was not made.
    ///
    /// Where one breaker's call is inside another's, the outer one must not take the inner one's rejection for a failure of
    /// the dependency. It sees that by itself in a [`Rejected`], also boxed or wrapped in a box, but not in a `CallError`:
    ///
    /// ```
    /// use fusebox::{classify, CallError, CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let outer = CircuitBreaker::new(CircuitBreakerConfig::new("cluster"));
    /// let inner = CircuitBreaker::new(CircuitBreakerConfig::new("host"));
    /// let not_rejections = outer.classify(classify::errors().exclude(CallError::is_rejected));
    /// let answer = not_rejections.call_blocking(|| inner.call_blocking(|| "42".parse::<u32>()));
    /// assert_eq!(answer.unwrap(), 42);
    /// ```
    #[must_use]
    pub const fn is_rejected(&self) -> bool {
        matches!(self, Self::Rejected(_))
    }

    /// Returns the rejection, if that is what it is.
    #[must_use]
    pub const fn rejected(&self) -> Option<&Rejected> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            Self::Inner(_) => None,
        }
    }

    /// Returns the call's own error, if it was made.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Rejected(_) => None,
            Self::Inner(error) => Some(error),
        }
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejected) => rejected.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for CallError<E> {
    /// Returns a rejection as its own source, so that [`rejection`](crate::rejection) finds it. An inner error stands
    /// aside for its sources.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            Self::Inner(error) => error.source(),
        }
    }
}
