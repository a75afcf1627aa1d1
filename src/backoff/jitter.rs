//! Random spreading of delays.

use std::fmt;
use std::time::Duration;

use crate::error::ConfigError;
use crate::explanation::percent;

/// How far chance moves a delay. Callers that failed together do not come back together.
///
/// | jitter | a delay `d` becomes a random one of |
/// |---|---|
/// | `None` | `d` |
/// | `Full` | 0 to `d` |
/// | `Equal` | `d / 2` to `d` |
/// | `Proportional(0.1)` | `0.9 d` to `1.1 d`; only what is within the curve's ends: at the upper end `0.9 d` to `d` |
///
/// Where the curve's ends are one, proportional jitter goes below it. Whatever the jitter, delays are spread over all that
/// they may be, and do not gather at an end of the curve.
///
/// Full jitter needs the fewest calls in all to get everybody through (Brooker: Exponential Backoff And Jitter, AWS
/// Architecture Blog, 2015). No jitter takes a delay beyond the upper end of its curve.
///
/// ```
/// use std::time::Duration;
/// use fusebox::backoff::{self, Backoff, Jitter};
///
/// let s = Duration::from_secs;
/// let curve = backoff::exponential(s(8)..=s(8)).jitter(Jitter::Equal);
/// for request in 0..100 {
///     let delay = curve.delays(request).next().unwrap();
///     assert!((s(4)..=s(8)).contains(&delay));
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Jitter {
    /// Delays are exact.
    None,
    /// Anything from zero to the delay: the default.
    #[default]
    Full,
    /// Half of the delay is certain, half is chance.
    Equal,
    /// Up to this fraction of the delay either way; 0.1 is ten percent.
    Proportional(f64),
}

impl Jitter {
    /// Up to `fraction` of the delay either way.
    ///
    /// ```
    /// use fusebox::backoff::Jitter;
    ///
    /// assert_eq!(Jitter::proportional(0.1), Jitter::Proportional(0.1));
    /// ```
    #[must_use]
    pub const fn proportional(fraction: f64) -> Self {
        Self::Proportional(fraction)
    }

    pub(crate) fn check(self, field: &'static str) -> Result<(), ConfigError> {
        match self {
            Self::Proportional(fraction) if !(0.0..=1.0).contains(&fraction) => {
                Err(ConfigError::new(field, &fraction, "a number from 0 to 1"))
            }
            _ => Ok(()),
        }
    }

    /// What chance makes of a delay, to be said after it.
    pub(super) fn explain(self) -> String {
        match self {
            Self::None | Self::Proportional(0.0) => String::new(),
            Self::Full => "; by chance less, down to nothing".to_owned(),
            Self::Equal => "; by chance less, down to half".to_owned(),
            Self::Proportional(fraction) => format!("; by chance up to {} off that", percent(fraction)),
        }
    }

    /// The same for a curve with these ends.
    pub(super) fn explain_within(self, (min, max): (Duration, Duration)) -> String {
        let ends = match self {
            Self::Proportional(fraction) if fraction > 0.0 && min < max => ", within these ends",
            _ => "",
        };
        format!("{}{ends}", self.explain())
    }

    pub(super) fn describe(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Full => f.write_str(", full jitter"),
            Self::Equal => f.write_str(", equal jitter"),
            Self::Proportional(fraction) => write!(f, ", jitter {fraction}"),
        }
    }

    /// The delay, moved by `draw`, a random number from 0 to 1. Only proportional jitter can lengthen it.
    #[inline]
    pub(super) fn spread(self, delay: Duration, draw: f64) -> Duration {
        let scale = match self {
            Self::None => return delay,
            Self::Full => draw,
            Self::Equal => f64::midpoint(1.0, draw),
            Self::Proportional(fraction) => 1.0 + fraction * (2.0 * draw - 1.0),
        };
        Duration::try_from_secs_f64(delay.as_secs_f64() * scale).unwrap_or(delay)
    }

    /// The same of a delay along a curve between two ends. What lies beyond an end is not cut to it, which would put
    /// half of the delays into one moment: the rest is spread wider.
    pub(super) fn spread_between(self, delay: Duration, (min, max): (Duration, Duration), draw: f64) -> Duration {
        let Self::Proportional(_) = self else {
            // These never lengthen a delay, and are meant to go below the lower end.
            return self.spread(delay, draw);
        };
        let least = self.spread(delay, 0.0);
        let least = if min < max { least.max(min) } else { least };
        let most = self.spread(delay, 1.0).min(max);
        let above = most.saturating_sub(least).as_secs_f64() * draw;
        Duration::try_from_secs_f64(least.as_secs_f64() + above).map_or(max, |delay| delay.min(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_keeps_within_its_bounds() {
        let s = Duration::from_secs;
        for (jitter, low, middle, high) in [
            (Jitter::None, s(10), s(10), s(10)),
            (Jitter::Full, s(0), s(5), s(10)),
            (Jitter::Equal, s(5), Duration::from_millis(7_500), s(10)),
            (Jitter::Proportional(0.1), s(9), s(10), s(11)),
            (Jitter::Proportional(0.0), s(10), s(10), s(10)),
        ] {
            assert_eq!([0.0, 0.5, 1.0].map(|draw| jitter.spread(s(10), draw)), [low, middle, high], "{jitter:?}");
        }
    }

    #[test]
    fn proportional_jitter_is_spread_over_what_the_ends_leave() {
        let (s, jitter) = (Duration::from_secs, Jitter::Proportional(0.1));
        let spread = |delay, ends| [0.0, 0.5, 1.0].map(|draw| jitter.spread_between(s(delay), ends, draw).as_millis());
        let ends = (s(10), s(100));
        assert_eq!(spread(10, ends), [10_000, 10_500, 11_000], "at the lower end");
        assert_eq!(spread(50, ends), [45_000, 50_000, 55_000]);
        assert_eq!(spread(96, ends), [86_400, 93_200, 100_000]);
        assert_eq!(spread(100, ends), [90_000, 95_000, 100_000], "at the upper end");
        assert_eq!(spread(10, (s(10), s(10))), [9_000, 9_500, 10_000], "where both are one");
        assert_eq!(spread(10, (s(9), s(10))), [9_000, 9_500, 10_000]);
    }

    #[test]
    fn the_longest_delay_can_be_spread() {
        for jitter in [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Proportional(1.0)] {
            assert!(jitter.spread(Duration::MAX, 1.0) <= Duration::MAX, "{jitter:?}");
        }
    }

    #[test]
    fn impossible_fractions_are_refused() {
        for fraction in [-0.1, 1.1, f64::NAN] {
            assert!(Jitter::Proportional(fraction).check("jitter").is_err(), "{fraction}");
        }
        assert!(Jitter::Proportional(1.0).check("jitter").is_ok());
    }
}
