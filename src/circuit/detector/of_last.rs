//! Judging the last n calls.

use std::fmt;
use std::time::Duration;

use super::bytes::{Kind, Reader, Writer};
use super::{Detector, LoadError, Tally};
use crate::circuit::window::CountWindow;
use crate::circuit::{Call, Horizon};
use crate::error::ConfigError;
use crate::time::{Timestamp, nanos};

/// As a limit of slowness: failures are counted.
const FAILURES: u64 = u64::MAX;

/// How many are too many.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    Count(u32),
    Rate(f64),
}

/// Trips on failures, or slow calls, among the last n calls: an exact sliding window of one bit per call.
///
/// Made by `failures(k).of_last(n)`, `failure_rate(r).of_last(n)` and `slow_call_rate(r).slower_than(d).of_last(n)`.
///
/// ```
/// use fusebox::detect::{self, OfLast};
/// use fusebox::{Call, Detector, Timestamp};
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
    /// Counts calls at least this slow, in nanoseconds; [`FAILURES`]: counts failures.
    slower_than: u64,
    min_calls: Option<u32>,
    window: CountWindow,
}

/// When `min_calls` is left out for a rate: five calls, or the window where that is shorter.
pub(super) const MIN_CALLS: u32 = 5;

impl OfLast {
    pub(super) fn new(limit: Limit, slower_than: Option<Duration>, calls: u32) -> Self {
        let slower_than = slower_than.map_or(FAILURES, nanos);
        Self { limit, slower_than, min_calls: None, window: CountWindow::new(calls) }
    }

    /// Waits for this many calls before it judges: at least 1, at most the window. Default: the smaller of 5 and the
    /// window for a rate, 1 for a number of failures.
    ///
    /// ```
    /// use fusebox::{detect, Call, Detector, Timestamp};
    ///
    /// let now = Timestamp::ZERO;
    /// let mut detector = detect::failure_rate(0.5).of_last(100).min_calls(2);
    /// detector.record(&Call::failure(now));
    /// assert!(!detector.verdict(now), "all calls failed, but one is too few to judge");
    /// detector.record(&Call::success(now));
    /// assert!(detector.verdict(now), "half of two");
    /// ```
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

    fn is_bad(&self, call: &Call) -> bool {
        match self.slow_after() {
            Some(limit) => call.slower_than(limit),
            None => call.failed(),
        }
    }
}

/// Checks a rate: above 0, at most 1.
pub(super) fn check_rate(slow: bool, rate: f64) -> Result<(), ConfigError> {
    if rate > 0.0 && rate <= 1.0 {
        return Ok(());
    }
    let field = if slow { "slow_call_rate" } else { "failure_rate" };
    Err(ConfigError::new(field, &rate, "a number above 0 and at most 1"))
}

/// Checks how slow slow is.
pub(super) fn check_slow(limit: Option<Duration>) -> Result<(), ConfigError> {
    match limit {
        Some(Duration::ZERO) => Err(ConfigError::new("slower_than", &"0s", "more than zero")),
        _ => Ok(()),
    }
}

/// Tells whether `bad` of `calls` reaches the rate.
pub(super) fn reaches(rate: f64, bad: u64, calls: u64) -> bool {
    let tally = Tally::failures(bad).of(calls);
    tally.rate().is_some_and(|share| share >= rate)
}

impl Detector for OfLast {
    fn record(&mut self, call: &Call) {
        let bad = self.is_bad(call);
        self.window.push(bad);
    }

    fn record_successes(&mut self, count: u64, _at: Timestamp) {
        self.window.push_good(count);
    }

    fn verdict(&self, _now: Timestamp) -> bool {
        let (bad, calls) = (self.window.bad(), self.window.len());
        calls >= self.least()
            && match self.limit {
                Limit::Count(n) => bad >= n,
                Limit::Rate(rate) => reaches(rate, bad.into(), calls.into()),
            }
    }

    fn reset(&mut self) {
        self.window.clear();
    }

    fn tally(&self, _now: Timestamp) -> Tally {
        let (bad, calls) = (self.window.bad().into(), self.window.len().into());
        if self.slow_after().is_some() { Tally::slow_calls(bad).of(calls) } else { Tally::failures(bad).of(calls) }
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
        (self.slower_than != FAILURES).then(|| Duration::from_nanos(self.slower_than))
    }

    fn time_tolerance(&self) -> Duration {
        Duration::MAX
    }

    fn check(&self) -> Result<(), ConfigError> {
        let most = CountWindow::MOST;
        if self.window.size() == 0 || self.window.size() > most {
            return Err(ConfigError::new("of_last", &self.window.size(), format!("1 to {most} calls")));
        }
        match self.limit {
            Limit::Count(n) if n == 0 || n > self.window.size() => {
                let allowed = format!("1 to the window ({})", self.window.size());
                return Err(ConfigError::new("failures", &n, allowed));
            }
            Limit::Count(_) => {}
            Limit::Rate(rate) => check_rate(self.slow_after().is_some(), rate)?,
        }
        if self.least() == 0 || self.least() > self.window.size() {
            let allowed = format!("1 to the window ({})", self.window.size());
            return Err(ConfigError::new("min_calls", &self.least(), allowed));
        }
        check_slow(self.slow_after())
    }

    fn recent(&self) -> Vec<bool> {
        if self.slow_after().is_some() { Vec::new() } else { self.window.iter().collect() }
    }

    fn horizon(&self) -> Horizon {
        Horizon::calls(self.window.size())
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
