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
#[derive(Clone, Copy, Debug)]
pub struct Errors<X = AllErrors> {
    except: X,
}

/// Nothing is excluded.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AllErrors;

/// Errors for which a function says so are excluded.
#[derive(Clone, Copy, Debug)]
pub struct Except<F> {
    is_excluded: F,
}

/// Errors with such a source are excluded.
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
