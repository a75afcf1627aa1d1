//! Judging the last n calls.

use std::fmt;
use std::time::Duration;

use super::judged::{Judged, MIN_CALLS};
use super::shape::Limit;
use super::{Detector, LoadError, Over, Shape, Tally, Threshold};
use crate::circuit::codec::{Kind, Reader, Writer};
use crate::circuit::window::CountWindow;
use crate::circuit::{Call, Horizon};
use crate::error::ConfigError;
use crate::time::Timestamp;

/// Trips on failures, or slow calls, among the last n calls. It is an exact sliding window of one bit per call.
///
/// Made by `failures(k).of_last(n)`, `failure_rate(r).of_last(n)` and `slow_call_rate(r).slower_than(d).of_last(n)`.
///
/// ```
/// use fusebox::detect::{self, OfLast};
/// use fusebox::{clock::Timestamp, detect::{Call, Detector}};
///
/// let mut detector: OfLast = detect::failures(2).of_last(3);
/// let now = Timestamp::ZERO;
/// for call in [Call::failure(now), Call::success(now), Call::success(now), Call::failure(now)] {
///     detector.record(&call);
/// }
/// assert_eq!(detector.recent(), [false, false, true], "the oldest call is out");
/// assert_eq!(detector.tally(now).rate(), Some(1.0 / 3.0));
/// ```
#[derive(Clone)]
pub struct OfLast {
    limit: Limit,
    judged: Judged,
    min_calls: Option<u32>,
    window: CountWindow,
}

impl OfLast {
    pub(super) fn new(limit: Limit, judged: Judged, calls: u32) -> Self {
        Self { limit, judged, min_calls: None, window: CountWindow::new(calls) }
    }

    /// Waits for this many calls before it judges: at least 1, at most the window. Default: the smaller of 5 and the
    /// window for a rate, 1 for a number of failures.
    ///
    /// ```
    /// use fusebox::{clock::Timestamp, detect::{self, Call, Detector}};
    ///
    /// let now = Timestamp::ZERO;
    /// let mut detector = detect::failure_rate(0.5).of_last(100).min_calls(2);
    /// detector.record(&Call::failure(now));
    /// assert!(!detector.verdict(now), "all calls failed, but one is too few to judge");
    /// detector.record(&Call::success(now));
    /// assert!(detector.verdict(now), "half of two");
    /// ```
    ///
    /// A verdict is given after a failure or a slow call only. The success that brings the number of calls to
    /// `min_calls` opens nothing; what follows from it waits for the next failure:
    ///
    /// ```
    /// use fusebox::{detect, CircuitBreaker, CircuitBreakerConfig, State};
    ///
    /// let rule = detect::failure_rate(0.5).of_last(10).min_calls(3);
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").detector(rule).build()?);
    /// breaker.acquire()?.failure();
    /// breaker.acquire()?.failure();
    /// breaker.acquire()?.success();
    /// assert_eq!(breaker.state(), State::Closed, "two of three failed, and the third call is a success");
    /// breaker.acquire()?.failure();
    /// assert_eq!(breaker.state(), State::Open, "three of four");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// For a number of failures it matters only where it is the greater: `failures(5).of_last(20).min_calls(10)` waits
    /// for the tenth call, and `min_calls(3)` says nothing that five failures do not.
    #[must_use]
    pub const fn min_calls(mut self, calls: u32) -> Self {
        self.min_calls = Some(calls);
        self
    }

    fn least(&self) -> u32 {
        self.min_calls.unwrap_or(match self.limit {
            Limit::Count(_) => 1,
            Limit::Rate(_) => MIN_CALLS.min(self.window.size()),
        })
    }

    fn threshold(&self) -> Threshold {
        Threshold {
            slower_than: self.judged.slow_after(),
            limit: self.limit,
            over: Over::Calls(self.window.size()),
            min_calls: self.least(),
        }
    }
}

impl Detector for OfLast {
    fn record(&mut self, call: &Call) {
        self.window.push(self.judged.is_bad(call));
    }

    fn record_successes(&mut self, count: u64, _at: Timestamp) {
        self.window.push_good(count);
    }

    fn verdict(&self, _now: Timestamp) -> bool {
        self.threshold().holds(self.window.bad().into(), self.window.len().into())
    }

    fn reset(&mut self) {
        self.window.clear();
    }

    fn tally(&self, _now: Timestamp) -> Tally {
        self.threshold().tally(self.window.bad().into(), self.window.len().into())
    }

    fn save(&self) -> Vec<u8> {
        let mut out = Writer::new(Kind::OfLast);
        out.u32(self.window.len());
        let calls: Vec<bool> = self.window.iter().collect();
        for eight in calls.chunks(8) {
            out.u8(eight.iter().enumerate().fold(0, |byte, (i, bad)| byte | u8::from(*bad) << i));
        }
        out.finish()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let mut from = Reader::new(Kind::OfLast, bytes)?;
        let len = from.u32()?;
        let mut window = CountWindow::new(self.window.size());
        let mut byte = 0;
        for i in 0..len {
            if i % 8 == 0 {
                byte = from.u8()?;
            }
            window.push(byte >> (i % 8) & 1 == 1);
        }
        from.end()?;
        self.window = window;
        Ok(())
    }

    fn absorbs_success(&self) -> bool {
        self.window.is_clean()
    }

    fn slow_after(&self) -> Option<Duration> {
        self.judged.slow_after()
    }

    fn time_tolerance(&self) -> Duration {
        Duration::MAX
    }

    fn check(&self) -> Result<(), ConfigError> {
        let most = CountWindow::MAX_SIZE;
        if self.window.size() == 0 || self.window.size() > most {
            return Err(ConfigError::new("of_last", &self.window.size(), format!("1 to {most} calls")));
        }
        match self.limit {
            Limit::Count(n) if n == 0 || n > self.window.size() => {
                let allowed = format!("1 to the window ({})", self.window.size());
                return Err(ConfigError::new("failures", &n, allowed));
            }
            Limit::Count(_) => {}
            Limit::Rate(rate) => self.judged.check_rate(rate)?,
        }
        if self.least() == 0 || self.least() > self.window.size() {
            let allowed = format!("1 to the window ({})", self.window.size());
            return Err(ConfigError::new("min_calls", &self.least(), allowed));
        }
        self.judged.check()
    }

    fn recent(&self) -> Vec<bool> {
        if self.slow_after().is_some() { Vec::new() } else { self.window.iter().collect() }
    }

    fn horizon(&self) -> Horizon {
        Horizon::calls(self.window.size())
    }

    fn shape(&self) -> Shape {
        self.threshold().into()
    }
}

impl fmt::Debug for OfLast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.limit, self.slow_after()) {
            (Limit::Count(n), _) => write!(f, "failures({n})")?,
            (Limit::Rate(rate), None) => write!(f, "failure_rate({rate})")?,
            (Limit::Rate(rate), Some(d)) => write!(f, "slow_call_rate({rate}).slower_than({d:?})")?,
        }
        write!(f, ".of_last({}).min_calls({})", self.window.size(), self.least())
    }
}
