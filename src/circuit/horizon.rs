//! How far a detector looks back.

use std::time::Duration;

/// How far back a detector looks. A call counts while it is among the newest [`calls`](Self::calls) or younger than
/// [`age`](Self::age).
///
/// ```
/// use std::time::Duration;
/// use fusebox::detect::{self, Detector, Horizon};
///
/// let minute = Duration::from_secs(60);
/// let detector = detect::failures(5).within(minute).or(detect::failure_rate(0.5).of_last(100));
/// assert_eq!(detector.horizon(), Horizon::age(minute).widest(Horizon::calls(100)));
/// assert_eq!(detector.horizon().widest(Horizon::everything()), Horizon::everything());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    pub(super) calls: u64,
    pub(super) age: Duration,
    failures_only: bool,
}

impl Horizon {
    /// The newest `n` calls, however old.
    #[must_use]
    pub const fn calls(n: u32) -> Self {
        Self { calls: n as u64, age: Duration::ZERO, failures_only: false }
    }

    /// The calls younger than `age`, however many.
    #[must_use]
    pub const fn age(age: Duration) -> Self {
        Self { calls: 0, age, failures_only: false }
    }

    /// Of these, only failures and slow calls: successes are nothing to the detector. A fleet whose detector says so
    /// writes nothing while all is well.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::detect::{self, Detector, Horizon};
    ///
    /// let minute = Duration::from_secs(60);
    /// assert_eq!(detect::failures(5).within(minute).horizon(), Horizon::age(minute).failures_only());
    /// ```
    #[must_use]
    pub const fn failures_only(mut self) -> Self {
        self.failures_only = true;
        self
    }

    /// Every call there ever was.
    #[must_use]
    pub const fn everything() -> Self {
        Self { calls: u64::MAX, age: Duration::MAX, failures_only: false }
    }

    /// What satisfies both.
    #[must_use]
    pub fn widest(self, other: Self) -> Self {
        Self {
            calls: self.calls.max(other.calls),
            age: self.age.max(other.age),
            failures_only: self.failures_only && other.failures_only,
        }
    }
}

#[cfg(feature = "fleet")]
impl Horizon {
    #[cfg(test)]
    pub(crate) const fn age_of(self) -> Duration {
        self.age
    }

    pub(crate) const fn wants_successes(self) -> bool {
        !self.failures_only
    }
}
