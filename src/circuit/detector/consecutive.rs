//! Counting failures in a row.

use std::fmt;
use std::time::Duration;

use super::{Detector, LoadError, Shape, Tally, Threshold};
use crate::circuit::codec::{Kind, Reader, Writer};
use crate::circuit::{Call, Horizon};
use crate::error::ConfigError;
use crate::time::Timestamp;

/// Trips at `n` failures in a row. A success begins a new count, an ignored call does not.
///
/// ```
/// use fusebox::{detect, CircuitBreaker, CircuitBreakerConfig, State};
///
/// let config = CircuitBreakerConfig::builder("payments").detector(detect::consecutive_failures(2)).build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.acquire()?.failure();
/// breaker.acquire()?.success(); // begins a new count
/// breaker.acquire()?.failure();
/// assert_eq!(breaker.state(), State::Closed);
/// breaker.acquire()?.failure();
/// assert_eq!(breaker.state(), State::Open);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub const fn consecutive_failures(n: u32) -> ConsecutiveFailures {
    ConsecutiveFailures { threshold: n, run: 0 }
}

/// Trips at n failures in a row. See [`consecutive_failures`].
///
/// ```
/// use fusebox::detect::{self, ConsecutiveFailures};
/// use fusebox::{clock::Timestamp, detect::{Call, Detector}};
///
/// const RULE: ConsecutiveFailures = detect::consecutive_failures(2); // one rule for many breakers
///
/// let mut detector = RULE;
/// detector.record(&Call::failure(Timestamp::ZERO));
/// assert_eq!(detector.tally(Timestamp::ZERO).count(), 1);
/// assert!(!detector.verdict(Timestamp::ZERO));
/// ```
#[derive(Clone)]
pub struct ConsecutiveFailures {
    threshold: u32,
    run: u32,
}

impl Detector for ConsecutiveFailures {
    fn record(&mut self, call: &Call) {
        self.run = if call.failed() { self.run.saturating_add(1) } else { 0 };
    }

    fn record_successes(&mut self, count: u64, _at: Timestamp) {
        if count > 0 {
            self.run = 0;
        }
    }

    fn verdict(&self, _now: Timestamp) -> bool {
        Threshold::in_a_row(self.threshold).holds(self.run.into(), self.run.into())
    }

    fn reset(&mut self) {
        self.run = 0;
    }

    fn tally(&self, _now: Timestamp) -> Tally {
        Threshold::in_a_row(self.threshold).tally(self.run.into(), self.run.into())
    }

    fn save(&self) -> Vec<u8> {
        let mut out = Writer::new(Kind::Consecutive);
        out.u32(self.run);
        out.finish()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let mut from = Reader::new(Kind::Consecutive, bytes)?;
        let run = from.u32()?;
        from.end()?;
        self.run = run;
        Ok(())
    }

    fn absorbs_success(&self) -> bool {
        self.run == 0
    }

    fn time_tolerance(&self) -> Duration {
        Duration::MAX
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.threshold == 0 {
            return Err(ConfigError::new("consecutive_failures", &self.threshold, "at least 1"));
        }
        Ok(())
    }

    fn horizon(&self) -> Horizon {
        Horizon::calls(self.threshold)
    }

    fn shape(&self) -> Shape {
        Threshold::in_a_row(self.threshold).into()
    }
}

impl fmt::Debug for ConsecutiveFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "consecutive_failures({})", self.threshold)
    }
}
