//! Counting failures within a length of time, exactly.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::{Detector, LoadError, Over, Shape, Tally, Threshold};
use crate::circuit::codec::{Kind, Reader, Writer};
use crate::circuit::{Call, Horizon};
use crate::error::ConfigError;
use crate::time::Timestamp;

/// Trips at n failures within a length of time: `failures(n).within(d)`.
///
/// It keeps the times of the failures and nothing else, so successes cost nothing. On its own it holds at most n
/// times; as a part of `.and(..)` it counts on past n, up to 1,024 (or n, if that is more).
///
/// ```
/// use std::time::Duration;
/// use fusebox::detect::{self, FailureTimes};
/// use fusebox::{clock::Timestamp, detect::{Call, Detector}};
///
/// let mut detector: FailureTimes = detect::failures(5).within(Duration::from_secs(60));
/// let start = Timestamp::ZERO;
/// detector.record(&Call::failure(start));
/// detector.record(&Call::failure(start + Duration::from_secs(40)));
/// assert_eq!(detector.tally(start + Duration::from_secs(50)).to_string(), "2 failures");
/// assert_eq!(detector.tally(start + Duration::from_secs(70)).to_string(), "1 failure");
/// ```
#[derive(Clone)]
pub struct FailureTimes {
    threshold: u32,
    window: Duration,
    /// Sorted, oldest first.
    times: VecDeque<Timestamp>,
}

const MOST: u32 = 1 << 16;
const KEPT: usize = 1024;

impl FailureTimes {
    pub(super) const fn new(threshold: u32, window: Duration) -> Self {
        Self { threshold, window, times: VecDeque::new() }
    }

    const fn rule_of_count(&self) -> Threshold {
        Threshold::count(self.threshold, Over::Time(self.window))
    }

    fn is_within(&self, at: Timestamp, now: Timestamp) -> bool {
        now.since(at) < self.window
    }

    fn count(&self, now: Timestamp) -> usize {
        self.times.len() - self.times.partition_point(|at| !self.is_within(*at, now))
    }

    fn push(&mut self, at: Timestamp) {
        // A clock that stepped back by a window or more: what it said before means nothing now.
        if self.times.back().is_some_and(|newest| newest.since(at) >= self.window) {
            self.times.clear();
        }
        // Calls that end together may report in any order.
        let place = self.times.partition_point(|t| *t <= at);
        self.times.insert(place, at);
        let newest = self.times.back().copied().unwrap_or(at);
        while self.times.front().is_some_and(|t| !self.is_within(*t, newest)) {
            self.times.pop_front();
        }
        if self.times.len() > KEPT.max(self.threshold as usize) {
            self.times.pop_front();
        }
    }
}

impl Detector for FailureTimes {
    fn record(&mut self, call: &Call) {
        if call.failed() {
            self.push(call.ended());
        }
    }

    fn record_successes(&mut self, _count: u64, _at: Timestamp) {}

    fn verdict(&self, now: Timestamp) -> bool {
        let count = self.count(now) as u64;
        self.rule_of_count().holds(count, count)
    }

    fn reset(&mut self) {
        self.times.clear();
    }

    fn tally(&self, now: Timestamp) -> Tally {
        let count = self.count(now) as u64;
        self.rule_of_count().tally(count, count)
    }

    fn save(&self) -> Vec<u8> {
        let mut out = Writer::new(Kind::FailureTimes);
        out.u32(u32::try_from(self.times.len()).unwrap_or(u32::MAX));
        self.times.iter().for_each(|t| out.u64(t.as_nanos()));
        out.finish()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let mut from = Reader::new(Kind::FailureTimes, bytes)?;
        let mut loaded = Self::new(self.threshold, self.window);
        for _ in 0..from.count(8)? {
            loaded.push(Timestamp::from_nanos(from.u64()?));
        }
        from.end()?;
        self.times = loaded.times;
        Ok(())
    }

    fn absorbs_success(&self) -> bool {
        true
    }

    fn time_tolerance(&self) -> Duration {
        self.window / 64
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.threshold == 0 || self.threshold > MOST {
            return Err(ConfigError::new("failures", &self.threshold, format!("1 to {MOST}")));
        }
        if self.window.is_zero() {
            return Err(ConfigError::new("within", &"0s", "more than zero"));
        }
        Ok(())
    }

    fn horizon(&self) -> Horizon {
        Horizon::age(self.window).failures_only()
    }

    fn shape(&self) -> Shape {
        self.rule_of_count().into()
    }
}

impl fmt::Debug for FailureTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failures({}).within({:?})", self.threshold, self.window)
    }
}
