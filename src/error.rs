//! The error types that belong to no single module.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use crate::one_line::OneLine;

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
    field: Cow<'static, str>,
    given: String,
    allowed: Cow<'static, str>,
}

impl ConfigError {
    /// Makes an error for a setting of your own, for example in [`Detector::check`](crate::detect::Detector::check).
    ///
    /// ```
    /// let error = fusebox::ConfigError::new("max_failures", &0, "at least 1");
    /// assert_eq!(error.to_string(), "`max_failures` is 0, allowed is at least 1");
    /// ```
    pub fn new(field: &'static str, given: &dyn fmt::Display, allowed: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), given: given.to_string(), allowed: allowed.into() }
    }

    /// The error of a breaker without a name.
    pub(crate) fn no_name() -> Self {
        Self::new("name", &"empty", "any text that is not empty")
    }

    /// The same of what stands at a path in a file.
    #[cfg(feature = "serde")]
    pub(crate) fn within(mut self, path: &dyn fmt::Display) -> Self {
        self.field = format!("{path}.{}", self.field).into();
        self
    }

    /// Returns the setting that was wrong.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
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
