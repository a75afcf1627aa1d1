//! The exponential curve.

use std::time::Duration;

use crate::error::ConfigError;

/// `min * factor^n`, never above `max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exponential {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
    pub(crate) factor: f64,
}

impl Exponential {
    pub(crate) fn check(&self, field: &'static str) -> Result<(), ConfigError> {
        if self.min > self.max {
            let given = format!("{:?}..={:?}", self.min, self.max);
            return Err(ConfigError::new(field, &given, "a range whose lower end is not above its upper end"));
        }
        if !(self.factor.is_finite() && self.factor >= 1.0) {
            return Err(ConfigError::new("factor", &self.factor, "a number of at least 1"));
        }
        Ok(())
    }

    /// The delay after `n` earlier ones. Finite for every `n`: past the range of `f64` it is the cap.
    pub(crate) fn delay(&self, n: u32) -> Duration {
        let n = i32::try_from(n).unwrap_or(i32::MAX);
        let grown = self.min.as_secs_f64() * self.factor.powi(n);
        Duration::try_from_secs_f64(grown).map_or(self.max, |d| d.min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn grows_by_the_factor_up_to_the_cap_and_stays_finite() {
        let curve = Exponential { min: S, max: 10 * S, factor: 2.0 };
        let delays: Vec<_> = (0..5).map(|n| curve.delay(n)).collect();
        assert_eq!(delays, [S, 2 * S, 4 * S, 8 * S, 10 * S]);
        assert_eq!(curve.delay(10_000), 10 * S);
        assert_eq!(curve.delay(u32::MAX), 10 * S);
    }

    #[test]
    fn nothing_grows_from_zero() {
        let curve = Exponential { min: Duration::ZERO, max: S, factor: 2.0 };
        assert_eq!(curve.delay(3), Duration::ZERO);
        assert_eq!(curve.delay(u32::MAX), S, "0 * infinity is not a number: the cap is the safe reading");
    }

    #[test]
    fn impossible_curves_are_refused() {
        assert!(Exponential { min: 2 * S, max: S, factor: 2.0 }.check("x").is_err());
        for factor in [0.5, f64::NAN, f64::INFINITY, -1.0] {
            assert!(Exponential { min: S, max: S, factor }.check("x").is_err(), "{factor}");
        }
    }
}
