//! The linear curve.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::jitter::Jitter;
use super::range::DelayRange;
use crate::error::ConfigError;
use crate::time::nanos;

/// Starts at the lower end and grows by `step` with each attempt. It grows no further than the upper end. Full jitter
/// unless you say otherwise.
///
/// ```
/// use std::time::Duration;
/// use fusebox::backoff::{self, Backoff, Jitter};
///
/// let s = Duration::from_secs;
/// let curve = backoff::linear(s(1)..=s(6), s(2)).jitter(Jitter::None);
/// assert_eq!(curve.delays(0).take(5).collect::<Vec<_>>(), [s(1), s(3), s(5), s(6), s(6)]);
/// assert_eq!(curve.delays(0).nth(10_000), Some(s(6)), "it never overflows");
/// ```
#[must_use]
pub const fn linear(range: RangeInclusive<Duration>, step: Duration) -> Linear {
    Linear { range: DelayRange::of(&range), step: nanos(step), jitter: Jitter::Full }
}

/// The curve of [`linear`].
///
/// ```
/// use std::time::Duration;
/// use fusebox::backoff::{self, Backoff, Linear};
///
/// let ms = Duration::from_millis;
/// const CURVE: Linear =
///     backoff::linear(Duration::from_millis(50)..=Duration::from_secs(2), Duration::from_millis(50));
/// assert!(CURVE.delays(7).take(100).all(|delay| delay <= ms(2_000)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    range: DelayRange,
    /// In nanoseconds.
    step: u64,
    jitter: Jitter,
}

impl Linear {
    /// Sets the jitter. Default: full.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    pub(crate) const fn min(&self) -> Duration {
        self.range.min()
    }

    const fn step(&self) -> Duration {
        Duration::from_nanos(self.step)
    }

    /// `field`, `step` and `jitter` are what the user calls the curve and its settings.
    pub(crate) fn check(
        &self,
        field: &'static str,
        step: &'static str,
        jitter: &'static str,
    ) -> Result<(), ConfigError> {
        self.range.check(field)?;
        if self.step == 0 {
            return Err(ConfigError::new(step, &"0s", "more than zero: without a step nothing grows"));
        }
        self.jitter.check(jitter)
    }

    /// Says how long a delay is: `each` follows where all are the same, and `next` says when there is another one.
    pub(crate) fn explain(&self, each: &str, next: &str) -> String {
        let (min, max) = (self.range.min(), self.range.max());
        let chance = self.jitter.explain_within((min, max));
        if min == max {
            return format!("{min:?}{each}{chance}");
        }
        format!("{min:?} at first, {:?} longer {next}, at most {max:?}{chance}", self.step())
    }

    /// The delay after `n` earlier ones.
    pub(crate) fn delay(&self, n: u32, draw: f64) -> Duration {
        let base = self.step().saturating_mul(n).saturating_add(self.range.min()).min(self.range.max());
        self.jitter.spread_between(base, (self.range.min(), self.range.max()), draw)
    }
}

impl fmt::Display for Linear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linear {:?} +{:?}", self.range, self.step())?;
        self.jitter.describe(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn grows_by_the_step_up_to_the_cap_and_stays_finite() {
        let curve = linear(S..=10 * S, 4 * S).jitter(Jitter::None);
        let delays: Vec<_> = (0..5).map(|n| curve.delay(n, 0.5)).collect();
        assert_eq!(delays, [S, 5 * S, 9 * S, 10 * S, 10 * S]);
        assert_eq!(curve.delay(u32::MAX, 0.5), 10 * S);
        let endless = linear(S..=Duration::MAX, Duration::MAX).jitter(Jitter::None);
        assert!(endless.delay(u32::MAX, 0.5) > 1_000_000 * S);
        assert_eq!(linear(Duration::ZERO..=S, S).jitter(Jitter::None).delay(1, 0.5), S, "it grows from zero too");
    }

    #[test]
    fn no_jitter_goes_beyond_the_cap() {
        for jitter in [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Proportional(1.0)] {
            let curve = linear(S..=10 * S, 2 * S).jitter(jitter);
            for (n, draw) in (0..40).flat_map(|n| [0.0, 0.3, 0.7, 1.0].map(|draw| (n, draw))) {
                assert!(curve.delay(n, draw) <= 10 * S, "{jitter:?} {n} {draw}");
            }
        }
    }

    #[test]
    fn impossible_curves_are_refused() {
        let check = |curve: Linear| curve.check("x", "x.step", "x.jitter").map_err(|error| error.field().to_owned());
        assert_eq!(check(linear(2 * S..=S, S)), Err("x".to_owned()));
        assert_eq!(check(linear(S..=S, Duration::ZERO)), Err("x.step".to_owned()));
        assert_eq!(check(linear(S..=S, S).jitter(Jitter::Proportional(2.0))), Err("x.jitter".to_owned()));
        assert_eq!(check(linear(S..=S, S)), Ok(()));
    }
}
