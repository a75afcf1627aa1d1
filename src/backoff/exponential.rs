//! The exponential curve.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::jitter::Jitter;
use super::range::DelayRange;
use crate::error::ConfigError;

/// Starts at the lower end and grows by a factor with each attempt. It grows no further than the upper end. Factor 2
/// and full jitter unless you say otherwise.
///
/// ```
/// use std::time::Duration;
/// use fusebox::backoff::{self, Backoff, Jitter};
///
/// let s = Duration::from_secs;
/// let curve = backoff::exponential(s(1)..=s(30)).factor(3.0).jitter(Jitter::None);
/// assert_eq!(curve.delays(0).take(5).collect::<Vec<_>>(), [s(1), s(3), s(9), s(27), s(30)]);
/// assert_eq!(curve.delays(0).nth(10_000), Some(s(30)), "it never overflows");
/// ```
#[must_use]
pub const fn exponential(range: RangeInclusive<Duration>) -> Exponential {
    Exponential { range: DelayRange::of(&range), factor: 2.0, jitter: Jitter::Full }
}

/// The curve of [`exponential`].
///
/// ```
/// use std::time::Duration;
/// use fusebox::backoff::{self, Backoff, Exponential};
///
/// const CURVE: Exponential = backoff::exponential(Duration::from_millis(50)..=Duration::from_secs(2));
/// assert!(CURVE.delays(7).take(100).all(|delay| delay <= Duration::from_secs(2)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exponential {
    range: DelayRange,
    factor: f64,
    jitter: Jitter,
}

impl Exponential {
    /// Sets the factor from one delay to the next. Default: 2. At least 1.
    #[must_use]
    pub const fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets the jitter. Default: full.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    pub(crate) const fn min(&self) -> Duration {
        self.range.min()
    }

    /// `field` is what the user calls the curve.
    pub(crate) fn check(&self, field: &'static str, jitter: &'static str) -> Result<(), ConfigError> {
        self.range.check(field)?;
        if !(self.factor.is_finite() && self.factor >= 1.0) {
            return Err(ConfigError::new("factor", &self.factor, "a number of at least 1"));
        }
        self.jitter.check(jitter)
    }

    /// Says how long a delay is: `each` follows where all are the same, and `next` says when there is another one.
    pub(crate) fn explain(&self, each: &str, next: &str) -> String {
        let (min, max) = (self.range.min(), self.range.max());
        let chance = self.jitter.explain_within((min, max));
        if min == max || self.factor <= 1.0 {
            return format!("{min:?}{each}{chance}");
        }
        format!("{min:?} at first, {} times as long {next}, at most {max:?}{chance}", self.factor)
    }

    /// The delay after `n` earlier ones, without jitter. Finite for every `n`: past the range of `f64` it is the cap.
    fn base(&self, n: u32) -> Duration {
        let n = i32::try_from(n).unwrap_or(i32::MAX);
        let grown = self.range.min().as_secs_f64() * self.factor.powi(n);
        Duration::try_from_secs_f64(grown).map_or(self.range.max(), |d| d.min(self.range.max()))
    }

    /// The delay after `n` earlier ones.
    pub(crate) fn delay(&self, n: u32, draw: f64) -> Duration {
        self.jitter.spread_between(self.base(n), (self.range.min(), self.range.max()), draw)
    }
}

impl fmt::Display for Exponential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exponential {:?}", self.range)?;
        if self.factor.to_bits() != 2.0_f64.to_bits() {
            write!(f, " x{}", self.factor)?;
        }
        self.jitter.describe(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn grows_by_the_factor_up_to_the_cap_and_stays_finite() {
        let curve = exponential(S..=10 * S).jitter(Jitter::None);
        let delays: Vec<_> = (0..5).map(|n| curve.delay(n, 0.5)).collect();
        assert_eq!(delays, [S, 2 * S, 4 * S, 8 * S, 10 * S]);
        assert_eq!(curve.delay(10_000, 0.5), 10 * S);
        assert_eq!(curve.delay(u32::MAX, 0.5), 10 * S);
    }

    #[test]
    fn nothing_grows_from_zero() {
        let curve = exponential(Duration::ZERO..=S).jitter(Jitter::None);
        assert_eq!(curve.delay(3, 0.5), Duration::ZERO);
        assert_eq!(curve.delay(u32::MAX, 0.5), S, "0 * infinity is not a number: the cap is the safe reading");
    }

    #[test]
    fn no_jitter_goes_beyond_the_cap_and_proportional_jitter_stays_within_both_ends() {
        for jitter in [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Proportional(1.0)] {
            let curve = exponential(S..=10 * S).jitter(jitter);
            for (n, draw) in (0..40).flat_map(|n| [0.0, 0.3, 0.7, 1.0].map(|draw| (n, draw))) {
                let delay = curve.delay(n, draw);
                assert!(delay <= 10 * S, "{jitter:?} {n} {draw}: {delay:?}");
                assert!(delay >= S || !matches!(jitter, Jitter::Proportional(_)), "{n} {draw}: {delay:?}");
            }
        }
    }

    /// Of a thousand delays at either end, about half were the end itself.
    #[test]
    fn delays_do_not_gather_at_an_end() {
        let draws = || (0..1_000).map(|seed| crate::backoff::draw(7, seed));
        for (curve, n) in [
            (exponential(S..=10 * S).jitter(Jitter::Proportional(0.1)), 9),
            (exponential(S..=10 * S).jitter(Jitter::Proportional(0.1)), 0),
            (exponential(S..=10 * S).jitter(Jitter::Proportional(1.0)), 9),
            (exponential(10 * S..=10 * S).jitter(Jitter::Proportional(0.2)), 3),
            (exponential(S..=10 * S).jitter(Jitter::Equal), 9),
            (exponential(S..=10 * S), 9),
        ] {
            let mut delays: Vec<_> = draws().map(|draw| curve.delay(n, draw)).collect();
            assert!(delays.iter().all(|delay| *delay <= 10 * S), "{curve}");
            delays.sort();
            let (first, last) = (delays[0], delays[999]);
            // In ten equal parts of what they may be there are about a hundred each.
            for part in 0..10 {
                let end = |nth: u32| first + last.saturating_sub(first) * nth / 10;
                let within = delays.iter().filter(|delay| (end(part)..end(part + 1)).contains(*delay)).count();
                assert!((60..140).contains(&within), "{curve}, part {part}: {within}");
            }
            delays.dedup();
            assert!(delays.len() > 990, "{curve}: {}", delays.len());
        }
    }

    #[test]
    fn impossible_curves_are_refused() {
        let check = |curve: Exponential| curve.check("x", "x.jitter");
        assert!(check(exponential(2 * S..=S)).is_err());
        for factor in [0.5, f64::NAN, f64::INFINITY, -1.0] {
            assert!(check(exponential(S..=S).factor(factor)).is_err(), "{factor}");
        }
        assert!(check(exponential(S..=S).jitter(Jitter::Proportional(2.0))).is_err());
        assert!(check(exponential(Duration::ZERO..=Duration::ZERO)).is_ok(), "no delay is legal");
    }
}
