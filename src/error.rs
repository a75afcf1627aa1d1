//! The error types that belong to no single module.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::{fmt, io, iter};

use crate::text::OneLine;

/// The boxed error that Tower's middleware uses.
///
/// ```
/// use fusebox::{BoxError, CircuitBreaker, CircuitBreakerConfig};
///
/// fn charge(breaker: &CircuitBreaker) -> Result<u32, BoxError> {
///     let permit = breaker.acquire()?; // whatever went wrong fits
///     let cents = "1200".parse()?;
///     permit.success();
///     Ok(cents)
/// }
/// assert_eq!(charge(&CircuitBreaker::new(CircuitBreakerConfig::new("payments"))).unwrap(), 1200);
/// ```
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A configuration that cannot work, and what would.
///
/// ```
/// use fusebox::{detect, CircuitBreakerConfig};
///
/// let error = CircuitBreakerConfig::builder("payments")
///     .detector(detect::failure_rate(1.5).of_last(100))
///     .build()
///     .unwrap_err();
/// assert_eq!(error.field(), "failure_rate");
/// assert_eq!(error.given(), "1.5");
/// assert_eq!(error.allowed(), "a number above 0 and at most 1");
/// assert_eq!(error.to_string(), "`failure_rate` is 1.5, allowed is a number above 0 and at most 1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: &'static str,
    given: String,
    allowed: Cow<'static, str>,
}

impl ConfigError {
    /// Makes an error for a setting of your own, for example in [`Detector::check`](crate::Detector::check).
    ///
    /// ```
    /// let error = fusebox::ConfigError::new("max_failures", &0, "at least 1");
    /// assert_eq!(error.to_string(), "`max_failures` is 0, allowed is at least 1");
    /// ```
    pub fn new(field: &'static str, given: &dyn fmt::Display, allowed: impl Into<Cow<'static, str>>) -> Self {
        Self { field, given: given.to_string(), allowed: allowed.into() }
    }

    /// Returns the setting that was wrong.
    #[must_use]
    pub fn field(&self) -> &str {
        self.field
    }

    /// Returns the value that was given.
    #[must_use]
    pub fn given(&self) -> &str {
        &self.given
    }

    /// Returns the values that would have been accepted, in words.
    #[must_use]
    pub fn allowed(&self) -> &str {
        &self.allowed
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}, allowed is {}", self.field, OneLine(&self.given), OneLine(&self.allowed))
    }
}

impl Error for ConfigError {}

/// Sees an error whose type is known to be one: boxed errors, and those of clients that wrap what their connector or channel
/// returned. A type parameter tells nothing of its error; which type it is, is known when it is compiled, so the question
/// costs nothing.
#[inline]
pub(crate) fn as_error<E: 'static>(error: &E) -> Option<&(dyn Error + 'static)> {
    macro_rules! one_of {
        ($any:ident, $($(#[$gate:meta])* $known:ty),+ $(,)?) => {
            $($(#[$gate])* if let Some(error) = $any.downcast_ref::<$known>() {
                return Some(error);
            })+
        };
    }
    let any: &dyn Any = error;
    if let Some(boxed) = any.downcast_ref::<BoxError>() {
        return Some(&**boxed);
    }
    one_of!(
        any,
        io::Error,
        #[cfg(feature = "grpc")]
        tonic::Status,
        #[cfg(feature = "grpc")]
        tonic::transport::Error,
        #[cfg(feature = "grpc")]
        tonic::ConnectError,
        #[cfg(feature = "reqwest")]
        reqwest::Error,
        #[cfg(feature = "hyper")]
        hyper_util::client::legacy::Error,
        // Its connector's error has no other name.
        #[cfg(feature = "hyper")]
        <hyper_util::client::legacy::connect::HttpConnector as tower_service::Service<hyper::Uri>>::Error,
        #[cfg(feature = "hyper")]
        hyper::Error,
        #[cfg(feature = "hyper")]
        h2::Error,
        #[cfg(feature = "tower")]
        tower::load_shed::error::Overloaded,
        #[cfg(feature = "tower")]
        tower::timeout::error::Elapsed,
    );
    None
}

/// An error and all that it comes from, one by one: an error is asked for its source only when the next one is wanted.
pub(crate) fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut here = None;
    let mut start = Some(error);
    iter::from_fn(move || {
        here = start.take().or_else(|| here.and_then(inside));
        here
    })
}

/// What an error has inside. For most it is their source; some hide it there, or skip one.
fn inside<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // Its `source()` is the source of what it holds.
        let held = error.get_ref()?;
        return Some(held);
    }
    #[cfg(feature = "hyper")]
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        let io = error.get_io()?;
        return Some(io);
    }
    error.source()
}
