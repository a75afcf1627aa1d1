//! How often a store is asked at all.

use std::time::Duration;

use crate::replica::Priority;
use crate::time::Timestamp;

/// A token bucket that keeps part of its tokens for what matters more.
#[derive(Debug)]
pub(super) struct TokenBucket {
    /// In thousandths of a token.
    milli: u64,
    at: Timestamp,
}

/// Operations a second in the long run.
const PER_SECOND: u64 = 200;
/// Operations at once, after a while without any.
const CAPACITY: u64 = 400;

impl TokenBucket {
    pub(super) const fn full(now: Timestamp) -> Self {
        Self { milli: CAPACITY * 1_000, at: now }
    }

    /// Takes a token; else says when to come back.
    pub(super) fn take(&mut self, priority: Priority, now: Timestamp) -> Result<(), Timestamp> {
        let passed = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        self.milli = self.milli.saturating_add(passed.saturating_mul(PER_SECOND) / 1_000).min(CAPACITY * 1_000);
        self.at = self.at.max(now);
        let kept = match priority {
            Priority::Outcomes => CAPACITY / 2,
            Priority::Failures => CAPACITY / 4,
            Priority::Change => 0,
        };
        let needed = (kept + 1) * 1_000;
        if self.milli >= needed {
            self.milli -= 1_000;
            return Ok(());
        }
        let missing = needed - self.milli;
        Err(now + Duration::from_micros(missing * 1_000 / PER_SECOND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_more_goes_on_longer_and_no_second_has_more_than_its_share() {
        let start = Timestamp::ZERO + Duration::from_secs(1);
        let mut bucket = TokenBucket::full(start);
        let taken = |bucket: &mut TokenBucket, priority| {
            (0..1_000).take_while(|_| bucket.take(priority, start).is_ok()).count()
        };
        assert_eq!(taken(&mut bucket, Priority::Outcomes), 200);
        assert_eq!(taken(&mut bucket, Priority::Failures), 100);
        assert_eq!(taken(&mut bucket, Priority::Change), 100);
        let again = bucket.take(Priority::Change, start).expect_err("empty");
        assert_eq!(again, start + Duration::from_millis(5));
        assert!(bucket.take(Priority::Change, again).is_ok());
        let later = start + Duration::from_secs(1);
        let one_second = (0..1_000).take_while(|_| bucket.take(Priority::Change, later).is_ok()).count();
        assert_eq!(one_second, 199);
    }
}
