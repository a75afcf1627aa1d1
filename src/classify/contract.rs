//! The seam between a response and its outcome.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::retry::Retry;
use crate::circuit::Outcome;
use crate::rejected::{Rejected, rejection_in};

/// The rest of a result that goes to no caller, while it is read; then what it came over can be used again. Its caller
/// bounds it in time.
pub(crate) type Leftover = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Says what a result tells about the health of the dependency. It also says whether another attempt could mend it.
///
/// The two are apart: a circuit breaker asks for the [`Outcome`], a retry for [`Retry`] as well. 429 Too Many Requests is no
/// sign that the dependency fails, and still worth another attempt; an untrusted certificate is a failure, and no
/// attempt mends it.
///
/// Any `Fn(&Result<T, E>) -> Outcome` is a classifier; [`errors`](super::errors) is the default one. A classifier runs
/// outside every lock; each question is asked at most once for each attempt. Where it is a closure, give the types:
/// `|r: &Result<Response, Error>| ..`.
///
/// ```
/// use fusebox::{Classify, Outcome, classify::AtHead};
///
/// #[derive(Clone)]
/// struct EmptyIsFailure;
///
/// impl<E> Classify<Vec<u8>, E> for EmptyIsFailure {
///     type Scope = AtHead;
///
///     fn classify(&self, result: &Result<Vec<u8>, E>) -> Outcome {
///         match result {
///             Ok(body) if !body.is_empty() => Outcome::Success,
///             _ => Outcome::Failure,
///         }
///     }
/// }
/// assert_eq!(EmptyIsFailure.classify(&Ok::<_, ()>(vec![])), Outcome::Failure);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not classify `Result<{T}, {E}>`",
    label = "cannot tell success from failure here",
    note = "use `classify::errors()`, `classify::http()` for HTTP responses, `classify::grpc()` for gRPC, or a closure with its types given: `|r: &Result<_, _>| Outcome::..`"
)]
pub trait Classify<T, E> {
    /// When the outcome is known: [`AtHead`], or with the feature `http` also `AtEnd`.
    type Scope: Scope;

    /// Returns the outcome.
    fn classify(&self, result: &Result<T, E>) -> Outcome;

    /// Tells whether another attempt could mend the result. Asked by retries. Default: what follows from the outcome,
    /// that is failures are worth another attempt ([`Retry::of`]).
    ///
    /// ```
    /// use fusebox::{Classify, Outcome, RetryConfig, RetryLayer, classify::{AtHead, Retry}};
    ///
    /// #[derive(Debug, PartialEq)]
    /// enum Error { Busy, ReadOnly }
    ///
    /// struct Database;
    ///
    /// impl<T> Classify<T, Error> for Database {
    ///     type Scope = AtHead;
    ///
    ///     fn classify(&self, result: &Result<T, Error>) -> Outcome {
    ///         if result.is_ok() { Outcome::Success } else { Outcome::Failure }
    ///     }
    ///     fn retry(&self, result: &Result<T, Error>) -> Retry {
    ///         match result {
    ///             Err(Error::Busy) => Retry::IfIdempotent,
    ///             Err(Error::ReadOnly) | Ok(_) => Retry::Never,
    ///         }
    ///     }
    /// }
    /// let mut attempts = 0;
    /// let write = || -> Result<(), Error> {
    ///     attempts += 1;
    ///     Err(Error::ReadOnly)
    /// };
    /// RetryLayer::new(RetryConfig::default()).classify(Database).call_blocking(write).unwrap_err();
    /// assert_eq!(attempts, 1);
    /// ```
    fn retry(&self, result: &Result<T, E>) -> Retry {
        Retry::of(self.classify(result))
    }

    /// Finds the rejection by a circuit breaker further in. Then the dependency was not asked, so the result counts
    /// neither way, is not retried (see [`WhenRejected`](crate::retry::WhenRejected)), and is no attempt.
    ///
    /// Default: a [`Rejected`], or a box with one in its chain of sources (with the features `grpc` and `reqwest`, also
    /// within a `tonic::Status` or a `reqwest::Error`). For errors of any other type see
    /// [`RetryLayer::rejections`](crate::RetryLayer::rejections) and
    /// [`CircuitBreakerLayer::rejections`](crate::CircuitBreakerLayer::rejections).
    fn rejection<'a>(&self, result: &'a Result<T, E>) -> Option<&'a Rejected>
    where
        E: 'static,
    {
        result.as_ref().err().and_then(rejection_in)
    }

    /// Both answers at once, for classifiers that find them together.
    #[doc(hidden)]
    #[inline]
    fn judge(&self, result: &Result<T, E>) -> (Outcome, Retry) {
        (self.classify(result), self.retry(result))
    }

    /// Tells whether a result that is a success gives back what failures take from a budget.
    #[doc(hidden)]
    #[inline]
    fn earns(&self, result: &Result<T, E>) -> bool {
        let _ = result;
        true
    }

    /// Takes a result that goes to no caller, and returns what is worth reading of it first.
    #[doc(hidden)]
    fn leftover(&self, result: Result<T, E>) -> Option<Leftover> {
        drop(result);
        None
    }
}

/// When an outcome is known.
///
/// ```
/// use fusebox::{classify, Classify, Outcome};
///
/// /// Judges as another classifier does, but never lets the dependency say when to come back.
/// struct NoRetryAfter<C>(C);
///
/// impl<T, E, C: Classify<T, E>> Classify<T, E> for NoRetryAfter<C> {
///     type Scope = C::Scope; // known when the other one knows
///
///     fn classify(&self, result: &Result<T, E>) -> Outcome {
///         match self.0.classify(result) {
///             Outcome::FailureAfter(_) => Outcome::Failure,
///             other => other,
///         }
///     }
/// }
/// assert_eq!(NoRetryAfter(classify::errors()).classify(&Ok::<_, ()>(1)), Outcome::Success);
/// ```
pub trait Scope: sealed::Sealed {}

/// The outcome is known with the result itself. Nothing that follows (a body, trailers) changes it.
///
/// ```
/// use fusebox::{Classify, Outcome, classify::{self, AtHead}};
///
/// /// Judges without waiting for anything: only for classifiers that need not wait either.
/// fn at_once<C>(classifier: C, result: &Result<u32, String>) -> Outcome
/// where
///     C: Classify<u32, String, Scope = AtHead>,
/// {
///     classifier.classify(result)
/// }
/// assert_eq!(at_once(classify::errors(), &Ok(42)), Outcome::Success);
/// assert_eq!(at_once(|_: &Result<_, _>| Outcome::Ignored, &Ok(42)), Outcome::Ignored);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AtHead;

impl Scope for AtHead {}

/// The outcome is known when the body of an HTTP response has ended. Its trailers tell it, for gRPC, or that it ended
/// without an error. A circuit breaker's permit stays with the body until then.
///
/// ```
/// use fusebox::{Classify, classify::{self, AtEnd}};
///
/// fn needs_the_end<C: Classify<http::Response<String>, std::io::Error, Scope = AtEnd>>(_: C) {}
/// # #[cfg(feature = "grpc")]
/// needs_the_end(classify::grpc());
/// ```
#[cfg(feature = "http")]
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AtEnd;

#[cfg(feature = "http")]
impl Scope for AtEnd {}

/// A classifier with [`AtEnd`]: what it thinks of the headers, and of the end.
///
/// ```
/// use fusebox::{Classify, Outcome, classify::{AtEnd, ClassifyEnd}};
/// use http::{HeaderMap, Response};
///
/// /// A protocol that says at the end whether all went well.
/// #[derive(Clone)]
/// struct Checksummed;
///
/// impl<B, E> Classify<Response<B>, E> for Checksummed {
///     type Scope = AtEnd;
///
///     fn classify(&self, result: &Result<Response<B>, E>) -> Outcome {
///         match result {
///             Ok(response) => self.at_head(response).unwrap_or(Outcome::Success),
///             Err(_) => Outcome::Failure,
///         }
///     }
/// }
///
/// impl ClassifyEnd for Checksummed {
///     fn at_head<B>(&self, response: &Response<B>) -> Option<Outcome> {
///         response.status().is_server_error().then_some(Outcome::Failure)
///     }
///     fn at_end(&self, trailers: Option<&HeaderMap>) -> Outcome {
///         match trailers.is_some_and(|trailers| trailers.contains_key("checksum")) {
///             true => Outcome::Success,
///             false => Outcome::Failure,
///         }
///     }
/// }
/// assert_eq!(Checksummed.at_end(None), Outcome::Failure);
/// ```
#[cfg(feature = "http")]
pub trait ClassifyEnd {
    /// Returns the outcome if the headers tell it; `None`: wait for the end.
    fn at_head<B>(&self, response: &::http::Response<B>) -> Option<Outcome>;

    /// Returns the outcome of a body that came to its end. Its trailers may have been in its last frame, as gRPC-Web has
    /// them, by the response's `content-type`; where such a frame is compressed, this is not asked, and the call a success.
    fn at_end(&self, trailers: Option<&::http::HeaderMap>) -> Outcome;

    /// Returns the outcome of a body that ended in an error. Default: a failure, without question.
    fn at_error<E: 'static>(&self, error: &E) -> Outcome {
        let _ = error;
        Outcome::Failure
    }

    /// Tells what such an end is to a retry. There is no further attempt, since the response has gone to the caller; but
    /// what could be mended by one, or is [`Refused`](Retry::Refused), counts against the budget. Default: what follows
    /// from the outcome ([`Retry::of`]).
    fn retry_at_end(&self, trailers: Option<&::http::HeaderMap>) -> Retry {
        Retry::of(self.at_end(trailers))
    }

    /// Tells whether an end that is a success gives back what failures take from a budget.
    #[doc(hidden)]
    fn earns_at_end(&self, trailers: Option<&::http::HeaderMap>) -> bool {
        let _ = trailers;
        true
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::AtHead {}
    #[cfg(feature = "http")]
    impl Sealed for super::AtEnd {}
}

impl<F, T, E> Classify<T, E> for F
where
    F: Fn(&Result<T, E>) -> Outcome,
{
    type Scope = AtHead;

    #[inline]
    fn classify(&self, result: &Result<T, E>) -> Outcome {
        self(result)
    }

    /// A closure is asked once.
    #[inline]
    fn judge(&self, result: &Result<T, E>) -> (Outcome, Retry) {
        let outcome = self(result);
        (outcome, Retry::of(outcome))
    }
}

/// The answers of a classifier that finds both together.
macro_rules! answer_together {
    ($result:ty) => {
        #[inline]
        fn classify(&self, result: &$result) -> $crate::circuit::Outcome {
            self.judge(result).0
        }

        fn retry(&self, result: &$result) -> $crate::classify::Retry {
            self.judge(result).1
        }
    };
}
pub(super) use answer_together;

/// The answers of a classifier that has another one inside.
macro_rules! ask_the_inner {
    ($this:ident => $inner:expr) => {
        #[inline]
        fn classify(&$this, result: &Result<T, E>) -> $crate::circuit::Outcome {
            $inner.classify(result)
        }

        fn retry(&$this, result: &Result<T, E>) -> $crate::classify::Retry {
            $inner.retry(result)
        }

        #[inline]
        fn judge(&$this, result: &Result<T, E>) -> ($crate::circuit::Outcome, $crate::classify::Retry) {
            $inner.judge(result)
        }

        #[inline]
        fn earns(&$this, result: &Result<T, E>) -> bool {
            $inner.earns(result)
        }

        fn leftover(&$this, result: Result<T, E>) -> Option<$crate::classify::Leftover> {
            $inner.leftover(result)
        }
    };
}
pub(super) use ask_the_inner;

impl<C, T, E> Classify<T, E> for Arc<C>
where
    C: Classify<T, E> + ?Sized,
{
    type Scope = C::Scope;

    ask_the_inner!(self => (**self));

    #[inline]
    fn rejection<'a>(&self, result: &'a Result<T, E>) -> Option<&'a Rejected>
    where
        E: 'static,
    {
        (**self).rejection(result)
    }
}

#[cfg(feature = "http")]
impl<C: ClassifyEnd> ClassifyEnd for Arc<C> {
    fn at_head<B>(&self, response: &::http::Response<B>) -> Option<Outcome> {
        (**self).at_head(response)
    }

    fn at_end(&self, trailers: Option<&::http::HeaderMap>) -> Outcome {
        (**self).at_end(trailers)
    }

    fn at_error<E: 'static>(&self, error: &E) -> Outcome {
        (**self).at_error(error)
    }

    fn retry_at_end(&self, trailers: Option<&::http::HeaderMap>) -> Retry {
        (**self).retry_at_end(trailers)
    }

    fn earns_at_end(&self, trailers: Option<&::http::HeaderMap>) -> bool {
        (**self).earns_at_end(trailers)
    }
}

/// A classifier that is borrowed. (`&C` itself cannot be one: a reference to a closure is a closure already.)
#[derive(Debug)]
#[doc(hidden)]
pub struct Borrowed<'a, C>(pub(crate) &'a C);

impl<C, T, E> Classify<T, E> for Borrowed<'_, C>
where
    C: Classify<T, E>,
{
    type Scope = C::Scope;

    ask_the_inner!(self => self.0);

    #[inline]
    fn rejection<'a>(&self, result: &'a Result<T, E>) -> Option<&'a Rejected>
    where
        E: 'static,
    {
        self.0.rejection(result)
    }
}
