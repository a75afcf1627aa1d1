//! `Err` is a failure.

use std::error::Error;
use std::marker::PhantomData;

use super::{AtHead, Classify};
use crate::circuit::Outcome;
use crate::error::BoxError;

/// Counts every `Err` as a failure: the default.
///
/// ```
/// use fusebox::{classify, Classify, Outcome};
///
/// #[derive(Debug)]
/// enum ShopError { OutOfStock, Database }
///
/// let c = classify::errors().exclude(|e: &ShopError| matches!(e, ShopError::OutOfStock));
/// assert_eq!(c.classify(&Err::<(), _>(ShopError::OutOfStock)), Outcome::Ignored);
/// assert_eq!(c.classify(&Err::<(), _>(ShopError::Database)), Outcome::Failure);
/// assert_eq!(c.classify(&Ok(())), Outcome::Success);
/// ```
#[must_use]
pub const fn errors() -> Errors {
    Errors { except: AllErrors }
}

/// Counts `Err` as a failure, less what is excluded. See [`errors`].
///
/// ```
/// use fusebox::classify::{self, Errors};
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Classified};
///
/// struct Client {
///     calls: Classified<Errors>,
/// }
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// let client = Client { calls: breaker.classify(classify::errors()) };
/// assert_eq!(client.calls.call_blocking(|| "42".parse::<u32>()).unwrap(), 42);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Errors<X = AllErrors> {
    except: X,
}

/// Nothing is excluded.
///
/// ```
/// use fusebox::classify::{self, AllErrors, Errors};
/// use fusebox::{Classify, Outcome};
///
/// const RULE: Errors<AllErrors> = classify::errors(); // written `Errors` for short
/// assert_eq!(RULE.classify(&Err::<(), _>("down")), Outcome::Failure);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AllErrors;

/// Errors for which a function says so are excluded.
///
/// A function pointer gives the rule a type that can be written down:
///
/// ```
/// use std::io;
/// use fusebox::classify::{self, Errors, Except};
/// use fusebox::{Classify, Outcome};
///
/// fn is_missing(error: &io::Error) -> bool {
///     error.kind() == io::ErrorKind::NotFound
/// }
/// let rule: Errors<Except<fn(&io::Error) -> bool>> = classify::errors().exclude(is_missing);
/// assert_eq!(rule.classify(&std::fs::read("no such file")), Outcome::Ignored);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Except<F> {
    is_excluded: F,
}

/// Errors with such a source are excluded.
///
/// ```
/// use std::io;
/// use fusebox::classify::{self, Errors, ExceptSource};
/// use fusebox::{BoxError, Classify, Outcome};
///
/// fn is_missing(error: &io::Error) -> bool {
///     error.kind() == io::ErrorKind::NotFound
/// }
/// let rule: Errors<ExceptSource<io::Error, fn(&io::Error) -> bool>> = classify::errors().exclude_source(is_missing);
/// let missing: BoxError = std::fs::read("no such file").unwrap_err().into();
/// assert_eq!(rule.classify(&Err::<(), _>(missing)), Outcome::Ignored);
/// ```
pub struct ExceptSource<T, F> {
    is_excluded: F,
    source: PhantomData<fn(&T)>,
}

impl<T, F: Clone> Clone for ExceptSource<T, F> {
    fn clone(&self) -> Self {
        Self { is_excluded: self.is_excluded.clone(), source: PhantomData }
    }
}

impl<T, F> std::fmt::Debug for ExceptSource<T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExceptSource").finish_non_exhaustive()
    }
}

impl Errors {
    /// Makes errors for which `is_excluded` holds [`Ignored`](Outcome::Ignored): they count neither way.
    ///
    /// ```
    /// use fusebox::{classify, CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("stock"));
    /// let calls = breaker.classify(classify::errors().exclude(|e: &&str| *e == "sold out"));
    /// assert!(calls.call_blocking(|| Err::<u32, _>("sold out")).is_err(), "the caller still gets it");
    /// assert!(calls.call_blocking(|| Err::<u32, _>("down")).is_err());
    /// assert_eq!(breaker.snapshot().detectors[0].tally.to_string(), "1 failure");
    /// ```
    pub const fn exclude<E, F: Fn(&E) -> bool>(self, is_excluded: F) -> Errors<Except<F>> {
        Errors { except: Except { is_excluded } }
    }

    /// The same for boxed errors: looks for a `T` anywhere in the chain of sources.
    ///
    /// ```
    /// use fusebox::{classify, BoxError, Classify, Outcome};
    ///
    /// let c = classify::errors().exclude_source(|e: &std::num::ParseIntError| e.to_string().contains("digit"));
    /// let mine: BoxError = "x".parse::<u32>().unwrap_err().into();
    /// assert_eq!(c.classify(&Err::<(), _>(mine)), Outcome::Ignored);
    /// assert_eq!(c.classify(&Err::<(), BoxError>("down".into())), Outcome::Failure);
    /// ```
    pub const fn exclude_source<T, F>(self, is_excluded: F) -> Errors<ExceptSource<T, F>>
    where
        T: Error + 'static,
        F: Fn(&T) -> bool,
    {
        Errors { except: ExceptSource { is_excluded, source: PhantomData } }
    }
}

impl<T, E> Classify<T, E> for Errors<AllErrors> {
    type Scope = AtHead;

    #[inline]
    fn classify(&self, result: &Result<T, E>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure,
        }
    }
}

impl<T, E, F: Fn(&E) -> bool> Classify<T, E> for Errors<Except<F>> {
    type Scope = AtHead;

    #[inline]
    fn classify(&self, result: &Result<T, E>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(error) if (self.except.is_excluded)(error) => Outcome::Ignored,
            Err(_) => Outcome::Failure,
        }
    }
}

impl<T, S, F> Classify<T, BoxError> for Errors<ExceptSource<S, F>>
where
    S: Error + 'static,
    F: Fn(&S) -> bool,
{
    type Scope = AtHead;

    #[inline]
    fn classify(&self, result: &Result<T, BoxError>) -> Outcome {
        let Err(error) = result else {
            return Outcome::Success;
        };
        let found =
            find_source(&**error, &|e| e.downcast_ref::<S>().filter(|e| (self.except.is_excluded)(e)).is_some());
        if found { Outcome::Ignored } else { Outcome::Failure }
    }
}

fn find_source(error: &(dyn Error + 'static), is_it: &dyn Fn(&(dyn Error + 'static)) -> bool) -> bool {
    std::iter::successors(Some(error), |&e| e.source()).any(is_it)
}
