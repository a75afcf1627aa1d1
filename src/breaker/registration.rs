//! Breakers that are made without a registry, added to that of the process.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use super::handle::CircuitBreaker;
use super::registry::Registry;
use crate::one_line::OneLine;

impl CircuitBreaker {
    /// Adds the breaker to [`Registry::global`].
    ///
    /// # Errors
    ///
    /// [`NameTaken`] when another breaker has that name there.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Registry};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.register()?; // now an admin page can find it
    /// assert_eq!(Registry::global().get("payments").unwrap().name(), breaker.name());
    /// # Ok::<(), fusebox::circuit_breaker::NameTaken>(())
    /// ```
    pub fn register(&self) -> Result<(), NameTaken> {
        if Registry::global().inner.insert(self) { Ok(()) } else { Err(NameTaken { name: self.name() }) }
    }
}

/// A registry already holds a breaker of that name.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
///
/// let (one, other) = (CircuitBreakerConfig::new("mailer"), CircuitBreakerConfig::new("mailer"));
/// CircuitBreaker::new(one).register()?;
/// let taken = CircuitBreaker::new(other).register().unwrap_err();
/// assert!(taken.to_string().contains("`mailer` is registered already"));
/// # Ok::<(), fusebox::circuit_breaker::NameTaken>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTaken {
    name: Arc<str>,
}

impl NameTaken {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for NameTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a circuit breaker named `{}` is registered already: give this one another name", OneLine(&self.name))
    }
}

impl Error for NameTaken {}
