//! From the shortest delay of a curve to the longest.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::error::ConfigError;
use crate::time::nanos;

/// The shortest delay and the longest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct DelayRange {
    /// In nanoseconds: every call of a retry carries its curve, and half the size is a nanosecond less.
    min: u64,
    max: u64,
}

impl DelayRange {
    pub(super) const fn of(range: &RangeInclusive<Duration>) -> Self {
        Self { min: nanos(*range.start()), max: nanos(*range.end()) }
    }

    pub(super) const fn min(self) -> Duration {
        Duration::from_nanos(self.min)
    }

    pub(super) const fn max(self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// `field` is what the user calls the curve.
    pub(super) fn check(self, field: &'static str) -> Result<(), ConfigError> {
        if self.min > self.max {
            let allowed = "a range whose lower end is not above its upper end";
            return Err(ConfigError::new(field, &format_args!("{self:?}"), allowed));
        }
        Ok(())
    }
}

impl fmt::Debug for DelayRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..={:?}", self.min(), self.max())
    }
}
