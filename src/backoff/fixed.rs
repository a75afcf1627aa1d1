//! Always the same delay.

use std::fmt;
use std::time::Duration;

use super::jitter::Jitter;
use crate::error::ConfigError;

/// Always the same delay, exactly; zero is legal.
///
/// ```
/// use std::time::Duration;
/// use fusebox::backoff::{self, Backoff};
///
/// let two = Duration::from_secs(2);
/// assert!(backoff::fixed(two).delays(0).take(100).all(|delay| delay == two));
/// ```
#[must_use]
pub const fn fixed(delay: Duration) -> Fixed {
    Fixed { delay, jitter: Jitter::None }
}

/// The curve of [`fixed`].
///
/// ```
/// use std::time::Duration;
/// use fusebox::backoff::{self, Backoff, Fixed, Jitter};
///
/// const POLL: Fixed = backoff::fixed(Duration::from_secs(2)).jitter(Jitter::proportional(0.1));
/// let delay = POLL.delays(7).next().unwrap();
/// assert!((1.8..=2.2).contains(&delay.as_secs_f64()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fixed {
    delay: Duration,
    jitter: Jitter,
}

impl Fixed {
    /// Sets the jitter. Default: none.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.jitter.check("backoff.jitter")
    }

    /// Says how long a delay is.
    pub(super) fn explain(&self) -> String {
        if self.delay.is_zero() {
            return "does not wait between attempts".to_owned();
        }
        format!("waits {:?} before each{}", self.delay, self.jitter.explain())
    }

    /// Whether chance has no part in it.
    #[inline]
    pub(super) const fn is_exact(&self) -> bool {
        matches!(self.jitter, Jitter::None)
    }

    #[inline]
    pub(super) fn delay(&self, draw: f64) -> Duration {
        self.jitter.spread(self.delay, draw)
    }
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.delay.is_zero() {
            return f.write_str("no wait");
        }
        write!(f, "fixed {:?}", self.delay)?;
        self.jitter.describe(f)
    }
}
