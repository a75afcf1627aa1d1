//! Judging the calls of the last seconds or minutes by their rate.

use std::fmt;
use std::time::Duration;

use super::judged::{Judged, MIN_CALLS};
use super::shape::Limit;
use super::{Detector, LoadError, Over, Shape, Tally, Threshold};
use crate::circuit::codec::{Kind, Reader, Writer};
use crate::circuit::window::{TimeWindow, tick_shift};
use crate::circuit::{Call, Horizon};
use crate::error::ConfigError;
use crate::time::Timestamp;

/// Trips on the rate of failures, or of slow calls, within a length of time.
///
/// Made by `failure_rate(r).within(d)` and `slow_call_rate(r).slower_than(t).within(d)`. Cost and memory do not depend
/// on how many calls there are.
///
/// ```
/// use std::time::Duration;
/// use fusebox::detect::{self, Within};
/// use fusebox::{clock::Timestamp, detect::{Call, Detector}};
///
/// let s = Duration::from_secs;
/// let mut detector: Within = detect::slow_call_rate(0.8).slower_than(s(2)).within(s(60));
/// let now = Timestamp::ZERO + s(100);
/// detector.record_successes(3, now);
/// detector.record(&Call::success(now).took(Some(s(5))));
/// assert_eq!(detector.tally(now).to_string(), "1 slow call in 4 calls");
/// assert_eq!(detector.tally(now + s(60)).calls(), Some(0));
/// ```
#[derive(Clone)]
pub struct Within {
    rate: f64,
    judged: Judged,
    min_calls: u32,
    window: TimeWindow,
}

impl Within {
    pub(super) fn new(rate: f64, judged: Judged, window: Duration) -> Self {
        Self { rate, judged, min_calls: MIN_CALLS, window: TimeWindow::new(window) }
    }

    /// Waits for this many calls within the window before it judges: at least 1. Default: 5.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{clock::Timestamp, detect::{self, Call, Detector}};
    ///
    /// let now = Timestamp::ZERO;
    /// let mut detector = detect::failure_rate(0.5).within(Duration::from_secs(60)).min_calls(100);
    /// (0..99).for_each(|_| detector.record(&Call::failure(now)));
    /// assert!(!detector.verdict(now), "a quiet night: too few to judge");
    /// detector.record(&Call::failure(now));
    /// assert!(detector.verdict(now));
    /// ```
    ///
    /// A verdict is given after a failure or a slow call only. The success that brings the number of calls to
    /// `min_calls` opens nothing; what follows from it waits for the next failure:
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{detect, CircuitBreaker, CircuitBreakerConfig, State};
    ///
    /// let rule = detect::failure_rate(0.5).within(Duration::from_secs(60)).min_calls(3);
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").detector(rule).build()?);
    /// breaker.acquire()?.failure();
    /// breaker.acquire()?.failure();
    /// breaker.acquire()?.success();
    /// assert_eq!(breaker.state(), State::Closed, "two of three failed, and the third call is a success");
    /// breaker.acquire()?.failure();
    /// assert_eq!(breaker.state(), State::Open, "three of four");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn min_calls(mut self, calls: u32) -> Self {
        self.min_calls = calls;
        self
    }

    fn threshold(&self) -> Threshold {
        Threshold {
            slower_than: self.judged.slow_after(),
            limit: Limit::Rate(self.rate),
            over: Over::Time(self.window.length()),
            min_calls: self.min_calls,
        }
    }
}

impl Detector for Within {
    fn record(&mut self, call: &Call) {
        let bad = self.judged.is_bad(call);
        self.window.add(1, u64::from(bad), call.ended());
    }

    fn record_successes(&mut self, count: u64, at: Timestamp) {
        self.window.add(count, 0, at);
    }

    fn verdict(&self, now: Timestamp) -> bool {
        let (calls, bad) = self.window.tally(now);
        self.threshold().holds(bad, calls)
    }

    fn reset(&mut self) {
        self.window.clear();
    }

    fn tally(&self, now: Timestamp) -> Tally {
        let (calls, bad) = self.window.tally(now);
        self.threshold().tally(bad, calls)
    }

    fn save(&self) -> Vec<u8> {
        let mut out = Writer::new(Kind::Within);
        let slots: Vec<_> = self.window.slots().collect();
        out.u32(u32::try_from(slots.len()).unwrap_or(u32::MAX));
        for (start, calls, bad) in slots {
            out.u64(start.as_nanos());
            out.u32(calls);
            out.u32(bad);
        }
        out.finish()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let mut from = Reader::new(Kind::Within, bytes)?;
        let mut window = TimeWindow::new(self.window.length());
        for _ in 0..from.count(16)? {
            let (start, calls, bad) = (from.u64()?, from.u32()?, from.u32()?);
            if bad > calls {
                return Err(LoadError::new("more failures than calls"));
            }
            window.add(calls.into(), bad.into(), Timestamp::from_nanos(start));
        }
        from.end()?;
        self.window = window;
        Ok(())
    }

    fn time_resolution(&self) -> Option<Duration> {
        Some(Duration::from_nanos(1 << tick_shift(self.window.length())))
    }

    fn time_tolerance(&self) -> Duration {
        self.window.length() / 64
    }

    fn slow_after(&self) -> Option<Duration> {
        self.judged.slow_after()
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.judged.check_rate(self.rate)?;
        self.judged.check()?;
        if self.window.length().is_zero() {
            return Err(ConfigError::new("within", &"0s", "more than zero"));
        }
        if self.min_calls == 0 {
            return Err(ConfigError::new("min_calls", &self.min_calls, "at least 1"));
        }
        Ok(())
    }

    fn horizon(&self) -> Horizon {
        Horizon::age(self.window.length())
    }

    fn shape(&self) -> Shape {
        self.threshold().into()
    }
}

impl fmt::Debug for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.slow_after() {
            None => write!(f, "failure_rate({})", self.rate)?,
            Some(d) => write!(f, "slow_call_rate({}).slower_than({d:?})", self.rate)?,
        }
        write!(f, ".within({:?}).min_calls({})", self.window.length(), self.min_calls)
    }
}
