//! Errors that count neither way.

use std::error::Error;
use std::marker::PhantomData;

use crate::error::BoxError;
use crate::error_chain::sources;

/// Which errors a classifier leaves out. [`AllErrors`] (none), [`Except`] or [`ExceptSource`] say so. Sealed.
///
/// It is a bound for code that works with every classifier of this crate:
///
/// ```
/// use fusebox::classify::{self, Errors, Excluded};
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer};
///
/// fn layer<X: Excluded<std::io::Error>>(rule: Errors<X>) -> CircuitBreakerLayer<Errors<X>> {
///     CircuitBreakerLayer::new(CircuitBreakerConfig::new("disk")).classify(rule)
/// }
/// let missing = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
/// # let _ =
/// layer(classify::errors().exclude(missing));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` excludes no errors of type `{E}`",
    note = "`.exclude(|e: &MyError| ..)` is for the error type of the call; `.exclude_source(..)` looks into a `BoxError`"
)]
pub trait Excluded<E>: sealed::Sealed {
    /// Tells whether the error is left out.
    #[doc(hidden)]
    fn has(&self, error: &E) -> bool;
}

/// Which errors of any type count neither way, by what is among their sources: those of a body too.
#[cfg(feature = "http")]
#[doc(hidden)]
pub trait ExcludedSource: sealed::Sealed {
    #[doc(hidden)]
    fn has_source(&self, error: &(dyn Error + 'static)) -> bool;
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

impl<F> Except<F> {
    pub(super) const fn new(is_excluded: F) -> Self {
        Self { is_excluded }
    }
}

impl<T, F> ExceptSource<T, F> {
    pub(super) const fn new(is_excluded: F) -> Self {
        Self { is_excluded, source: PhantomData }
    }
}

impl<E> Excluded<E> for AllErrors {
    #[inline]
    fn has(&self, _error: &E) -> bool {
        false
    }
}

impl<E, F: Fn(&E) -> bool> Excluded<E> for Except<F> {
    #[inline]
    fn has(&self, error: &E) -> bool {
        (self.is_excluded)(error)
    }
}

impl<S, F> Excluded<BoxError> for ExceptSource<S, F>
where
    S: Error + 'static,
    F: Fn(&S) -> bool,
{
    fn has(&self, error: &BoxError) -> bool {
        self.is_among_sources_of(&**error)
    }
}

#[cfg(feature = "http")]
impl ExcludedSource for AllErrors {
    fn has_source(&self, _error: &(dyn Error + 'static)) -> bool {
        false
    }
}

/// Its function is for the error type of the call.
#[cfg(feature = "http")]
impl<F> ExcludedSource for Except<F> {
    fn has_source(&self, _error: &(dyn Error + 'static)) -> bool {
        false
    }
}

#[cfg(feature = "http")]
impl<S, F> ExcludedSource for ExceptSource<S, F>
where
    S: Error + 'static,
    F: Fn(&S) -> bool,
{
    fn has_source(&self, error: &(dyn Error + 'static)) -> bool {
        self.is_among_sources_of(error)
    }
}

impl<S, F> ExceptSource<S, F>
where
    S: Error + 'static,
    F: Fn(&S) -> bool,
{
    fn is_among_sources_of(&self, error: &(dyn Error + 'static)) -> bool {
        sources(error).filter_map(|error| error.downcast_ref()).any(|error| (self.is_excluded)(error))
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::AllErrors {}
    impl<F> Sealed for super::Except<F> {}
    impl<T, F> Sealed for super::ExceptSource<T, F> {}
}
