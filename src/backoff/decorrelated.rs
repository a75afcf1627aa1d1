//! The decorrelated curve: each delay depends on the one before, by chance.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::range::DelayRange;
use crate::error::ConfigError;

/// Draws each delay at random, by the one before. It is between the lower end and three times the delay before, or the
/// upper end where that is less.
///
/// It spreads callers as widely as full jitter does, and never comes back sooner than the lower end (Brooker: Exponential
/// Backoff And Jitter, AWS Architecture Blog, 2015).
///
/// ```
/// use std::time::Duration;
/// use fusebox::backoff::{self, Backoff};
///
/// let s = Duration::from_secs;
/// let delays: Vec<_> = backoff::decorrelated(s(1)..=s(20)).delays(7).take(50).collect();
/// assert!(delays.iter().all(|delay| (s(1)..=s(20)).contains(delay)));
/// assert!(delays.windows(2).all(|pair| pair[1] <= pair[0] * 3));
/// ```
#[must_use]
pub const fn decorrelated(range: RangeInclusive<Duration>) -> Decorrelated {
    Decorrelated { range: DelayRange::of(&range) }
}

/// The curve of [`decorrelated`].
///
/// ```
/// use std::time::Duration;
/// use fusebox::backoff::{self, Decorrelated};
///
/// const CURVE: Decorrelated = backoff::decorrelated(Duration::from_millis(50)..=Duration::from_secs(2));
/// assert_eq!(CURVE, backoff::decorrelated(Duration::from_millis(50)..=Duration::from_secs(2)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decorrelated {
    range: DelayRange,
}

impl Decorrelated {
    /// Says how long a delay is.
    pub(super) fn explain(&self) -> String {
        let (min, max) = (self.range.min(), self.range.max());
        format!("waits by chance between {min:?} and three times as long as before, at most {max:?}")
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.range.check("backoff")?;
        if self.range.min().is_zero() {
            return Err(ConfigError::new("backoff", &"0ns", "a lower end above zero: nothing grows from zero"));
        }
        Ok(())
    }

    /// The delay after one of `previous`, which is zero for the first.
    pub(super) fn delay(&self, previous: Duration, draw: f64) -> Duration {
        let (min, max) = (self.range.min(), self.range.max());
        // Cut before it is drawn, not after: two of three delays would be the upper end.
        let most = previous.max(min).saturating_mul(3).min(max);
        let range = most.saturating_sub(min).as_secs_f64();
        let delay = Duration::try_from_secs_f64(min.as_secs_f64() + range * draw).unwrap_or(max);
        delay.max(min).min(max)
    }
}

impl fmt::Display for Decorrelated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "decorrelated {:?}..={:?}", self.range.min(), self.range.max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_between_its_ends_whatever_came_before() {
        let s = Duration::from_secs;
        let curve = decorrelated(s(1)..=s(10));
        assert_eq!(curve.delay(Duration::ZERO, 0.0), s(1));
        assert_eq!(curve.delay(Duration::ZERO, 1.0), s(3));
        assert_eq!(curve.delay(s(3), 0.5), s(5));
        assert_eq!(curve.delay(s(10), 1.0), s(10));
        assert_eq!(curve.delay(Duration::MAX, 1.0), s(10));
    }

    /// Of a thousand delays two thirds were the upper end itself.
    #[test]
    fn delays_do_not_gather_at_the_upper_end() {
        let s = Duration::from_secs;
        let curve = decorrelated(s(1)..=s(10));
        let mut previous = s(10);
        let near = (0..1_000).filter(|nth| {
            previous = curve.delay(previous, crate::backoff::draw(7, *nth));
            previous > Duration::from_millis(9_990)
        });
        assert!(near.count() < 10);
    }

    #[test]
    fn impossible_curves_are_refused() {
        let s = Duration::from_secs;
        assert!(decorrelated(s(2)..=s(1)).check().is_err());
        assert!(decorrelated(s(0)..=s(1)).check().is_err());
    }
}
