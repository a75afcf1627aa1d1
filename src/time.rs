//! Points in time as plain numbers, so that the rules need no clock.

use std::time::Duration;

/// A point in time: nanoseconds since an origin that the clock chose.
///
/// Arithmetic saturates at both ends: a clock that steps back or a cooldown of ten thousand years can stretch a wait,
/// never overflow. Only timestamps of one [`Clock`](crate::Clock) are comparable.
///
/// ```
/// use std::time::Duration;
/// use fusebox::clock::Timestamp;
///
/// let t = Timestamp::from_nanos(5) + Duration::from_nanos(10);
/// assert_eq!(t.as_nanos(), 15);
/// assert_eq!(t.since(Timestamp::ZERO), Duration::from_nanos(15));
/// assert_eq!(t.since(Timestamp::from_nanos(20)), Duration::ZERO);
/// assert_eq!(Timestamp::MAX + Duration::from_secs(1), Timestamp::MAX, "never stays never");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);
    /// The last point in time there is; as a deadline it means "never".
    pub const MAX: Self = Self(u64::MAX);

    /// Makes a timestamp from nanoseconds since the clock's origin.
    #[must_use]
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the clock's origin.
    #[must_use]
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time that has passed since `earlier`; zero when `earlier` is later.
    #[must_use]
    #[inline]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, after: Duration) -> Self {
        Self(self.0.saturating_add(nanos(after)))
    }
}

/// A duration in whole nanoseconds; 584 years and more are all the same.
pub(crate) const fn nanos(d: Duration) -> u64 {
    match d.as_secs().checked_mul(1_000_000_000) {
        Some(secs) => secs.saturating_add(d.subsec_nanos() as u64),
        None => u64::MAX,
    }
}

/// Durations as a number of seconds, for snapshots as data.
#[cfg(feature = "serde")]
pub(crate) mod seconds {
    use serde::Serializer;
    use std::time::Duration;

    pub(crate) fn of<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(duration.as_secs_f64())
    }

    #[expect(clippy::ref_option, reason = "serde passes the field by reference")]
    pub(crate) fn of_option<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => to.serialize_some(&duration.as_secs_f64()),
            None => to.serialize_none(),
        }
    }
}
