//! Rejections within errors of a user's own.

use std::fmt;

use super::Classify;
#[cfg(feature = "http")]
use super::ClassifyEnd;
use super::contract::ask_the_inner;
#[cfg(feature = "http")]
use super::retry::Retry;
use crate::rejected::Rejected;

/// Judges as another classifier does, and recognises a breaker's rejection. It recognises it within an error of one's
/// own.
///
/// Made by [`RetryLayer::rejections`](crate::RetryLayer::rejections) and
/// [`CircuitBreakerLayer::rejections`](crate::CircuitBreakerLayer::rejections). A function pointer gives it a type that
/// can be written down:
///
/// ```
/// use fusebox::classify::{Errors, Rejections};
/// use fusebox::{Rejected, RetryConfig, RetryLayer, retry::Cloned};
///
/// enum ShopError { Rejected(Rejected), Down }
///
/// fn rejection(error: &ShopError) -> Option<&Rejected> {
///     match error {
///         ShopError::Rejected(rejected) => Some(rejected),
///         ShopError::Down => None,
///     }
/// }
/// type Retries = RetryLayer<Rejections<Errors, fn(&ShopError) -> Option<&Rejected>>, Cloned>;
///
/// fn retries() -> Retries {
///     RetryLayer::new(RetryConfig::default()).rejections(rejection)
/// }
/// # let _ = retries();
/// ```
#[derive(Clone, Copy)]
pub struct Rejections<C, F> {
    inner: C,
    find: F,
}

impl<C, F> Rejections<C, F> {
    pub(crate) const fn new(inner: C, find: F) -> Self {
        Self { inner, find }
    }
}

impl<C, F, T, E> Classify<T, E> for Rejections<C, F>
where
    C: Classify<T, E>,
    F: Fn(&E) -> Option<&Rejected>,
{
    type Scope = C::Scope;

    ask_the_inner!(self => self.inner);

    fn rejection<'a>(&self, result: &'a Result<T, E>) -> Option<&'a Rejected>
    where
        E: 'static,
    {
        result.as_ref().err().and_then(&self.find).or_else(|| self.inner.rejection(result))
    }
}

#[cfg(feature = "http")]
impl<C: ClassifyEnd, F> ClassifyEnd for Rejections<C, F> {
    fn at_head<B>(&self, response: &::http::Response<B>) -> Option<crate::circuit::Outcome> {
        self.inner.at_head(response)
    }

    fn at_end(&self, trailers: Option<&::http::HeaderMap>) -> crate::circuit::Outcome {
        self.inner.at_end(trailers)
    }

    fn at_error<E: 'static>(&self, error: &E) -> crate::circuit::Outcome {
        self.inner.at_error(error)
    }

    fn retry_at_end(&self, trailers: Option<&::http::HeaderMap>) -> Retry {
        self.inner.retry_at_end(trailers)
    }

    fn earns_at_end(&self, trailers: Option<&::http::HeaderMap>) -> bool {
        self.inner.earns_at_end(trailers)
    }
}

impl<C: fmt::Debug, F> fmt::Debug for Rejections<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejections").field("inner", &self.inner).finish_non_exhaustive()
    }
}
