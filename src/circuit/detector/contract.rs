//! The contract between the breaker and what decides a trip.

use std::fmt::Debug;
use std::time::Duration;

use super::{LoadError, PartTally, Shape, Tally};
use crate::circuit::{Call, Horizon};
use crate::error::ConfigError;
use crate::time::Timestamp;

/// Decides, from how calls ended, when a circuit trips.
///
/// A detector is plain data with a rule: it sees the calls of the closed state in order, is asked for a verdict after
/// each failure or slow call, and is reset when the circuit closes. It runs under the breaker's lock, so it must not
/// wait; it never needs a clock, because every input carries its time. If it panics, the panic is caught, reported as
/// an event, and the detector is reset.
///
/// It must be `Clone`, as one configuration makes many breakers; `#[derive(Clone)]` is all that takes. What a clone shares
/// with its origin, such as what is behind an `Arc`, the breakers share.
///
/// ```
/// use fusebox::{
///     CircuitBreaker, CircuitBreakerConfig, State, clock::Timestamp, detect::{Call, Detector, LoadError, Tally},
/// };
///
/// /// A failure adds one, a success takes one back.
/// #[derive(Clone, Debug)]
/// struct Decrementing { failures: u32, most: u32 }
///
/// impl Detector for Decrementing {
///     fn record(&mut self, call: &Call) {
///         self.failures = if call.failed() { self.failures + 1 } else { self.failures.saturating_sub(1) };
///     }
///     fn verdict(&self, _now: Timestamp) -> bool {
///         self.failures >= self.most
///     }
///     fn reset(&mut self) {
///         self.failures = 0;
///     }
///     fn tally(&self, _now: Timestamp) -> Tally {
///         Tally::failures(self.failures.into())
///     }
///     fn save(&self) -> Vec<u8> {
///         self.failures.to_le_bytes().to_vec()
///     }
///     fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
///         self.failures = u32::from_le_bytes(bytes.try_into().map_err(|_| LoadError::new("expected four bytes"))?);
///         Ok(())
///     }
///     fn absorbs_success(&self) -> bool {
///         self.failures == 0
///     }
/// }
///
/// let config = CircuitBreakerConfig::builder("payments").detector(Decrementing { failures: 0, most: 2 }).build()?;
/// let breaker = CircuitBreaker::new(config);
/// for _ in 0..2 {
///     breaker.acquire()?.failure();
/// }
/// assert_eq!(breaker.state(), State::Open);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What the optional methods say, by those detectors that need them:
///
/// ```
/// use std::time::Duration;
/// use fusebox::{clock::Timestamp, detect::{self, Call, Detector, Horizon}};
///
/// let (s, now) = (Duration::from_secs, Timestamp::ZERO);
/// let mut last = detect::failures(2).of_last(3);
/// last.record(&Call::failure(now));
/// last.record_successes(2, now);
/// assert_eq!(last.recent(), [true, false, false]);
/// assert_eq!(last.horizon(), Horizon::calls(3));
/// assert_eq!(last.time_resolution(), None);
/// assert_eq!(last.check(), Ok(()));
///
/// let slow = detect::slow_call_rate(0.5).slower_than(s(2)).within(s(64));
/// assert_eq!(slow.slow_after(), Some(s(2)));
/// assert_eq!(slow.time_tolerance(), s(1));
///
/// let mut parts = Vec::new();
/// last.or(slow).tallies(now, &mut parts);
/// assert_eq!(parts[0].tally.to_string(), "1 failure in 3 calls");
/// assert_eq!(parts[1].tally.to_string(), "0 slow calls in 0 calls");
/// ```
#[diagnostic::on_unimplemented(note = "a detector is also `Clone`, `Debug`, `Send` and `Sync`")]
pub trait Detector: BoxedClone + Debug + Send + Sync + 'static {
    /// Takes in a call that ended. Calls come in the order in which they were reported.
    fn record(&mut self, call: &Call);

    /// Takes in `count` successes that were not slow. The last of them ended at about `at`.
    ///
    /// Successes are collected without a lock and handed over in one go before the next failure is judged. Default:
    /// [`record`](Self::record), `count` times.
    fn record_successes(&mut self, count: u64, at: Timestamp) {
        for _ in 0..count {
            self.record(&Call::success(at));
        }
    }

    /// Tells whether the circuit must trip. Asked after a failure or slow call was recorded, never after a success.
    fn verdict(&self, now: Timestamp) -> bool;

    /// Forgets every call.
    fn reset(&mut self);

    /// Returns the counts that the verdict rests on.
    fn tally(&self, now: Timestamp) -> Tally;

    /// Writes the calls it remembers, so that [`load`](Self::load) brings them back. Begin with a version.
    fn save(&self) -> Vec<u8>;

    /// Replaces what it remembers by what [`save`](Self::save) wrote.
    ///
    /// # Errors
    ///
    /// When the bytes are not its own; it is then as it was before.
    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError>;

    /// Tells whether one more success would change nothing. While this holds, successes write nothing at all, which
    /// is what makes a healthy breaker free. Default: `false`, always correct.
    fn absorbs_success(&self) -> bool {
        false
    }

    /// Returns how exactly it must know when successes ended. Default: `None`, it only needs their number and order;
    /// they then arrive with the time of the next failure.
    fn time_resolution(&self) -> Option<Duration> {
        None
    }

    /// Returns how far off the times of calls may be. Where nothing in a breaker needs more than some ten milliseconds, it
    /// reads a clock at a third of the price. With `Duration::MAX`, times say nothing to it: a failure then reads no clock
    /// unless the circuit opens by it, and has the time since when the circuit has been closed. Default: zero.
    fn time_tolerance(&self) -> Duration {
        Duration::ZERO
    }

    /// Returns from which duration on a call is slow for it. Default: `None`, durations are not measured.
    fn slow_after(&self) -> Option<Duration> {
        None
    }

    /// Says what is wrong with its settings; asked when the configuration is built.
    ///
    /// # Errors
    ///
    /// The first setting that cannot work.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Returns the recent outcomes it holds, oldest first, `true` for a failure. Default: none.
    fn recent(&self) -> Vec<bool> {
        Vec::new()
    }

    /// Adds its own tally, or those of its parts, to `parts`.
    fn tallies(&self, now: Timestamp, parts: &mut Vec<PartTally>) {
        parts.push(PartTally { rule: self.rule(), tally: self.tally(now) });
    }

    /// Returns how far back it looks. So much [`Evidence`](crate::detect::Evidence) must be kept to give the same
    /// verdict elsewhere. Default: everything.
    fn horizon(&self) -> Horizon {
        Horizon::everything()
    }

    /// Returns what it decides by, as data. A fleet can judge the calls of many instances by its rule then: two
    /// detectors of one shape must agree about every sequence of calls. Asked once, before any call. Default:
    /// [`Shape::Opaque`], always correct; a fleet then writes down every outcome, a batch each flush interval, and
    /// judges two intervals late.
    fn shape(&self) -> Shape {
        Shape::Opaque
    }

    /// Returns its rule as text, the same for equal settings and other for others. It is the same whatever it has seen:
    /// the instances of a fleet put together the evidence of those that judge by the same rule. Asked once, before any
    /// call. Default: its `Debug` output.
    fn rule(&self) -> String {
        format!("{self:?}")
    }
}

/// Clones a detector whose type is not known. Every [`Detector`] that is `Clone` has it.
///
/// ```
/// use fusebox::detect::{self, Detector};
///
/// let detector: Box<dyn Detector> = Box::new(detect::consecutive_failures(3));
/// assert_eq!(detector.clone().rule(), detector.rule());
/// ```
#[diagnostic::on_unimplemented(
    message = "the detector `{Self}` cannot be cloned",
    note = "one configuration makes many breakers, each with a detector of its own: `#[derive(Clone)]`"
)]
pub trait BoxedClone {
    /// Clones the detector.
    fn boxed_clone(&self) -> Box<dyn Detector>;
}

impl<D: Detector + Clone> BoxedClone for D {
    fn boxed_clone(&self) -> Box<dyn Detector> {
        Box::new(self.clone())
    }
}

impl Clone for Box<dyn Detector> {
    fn clone(&self) -> Self {
        (**self).boxed_clone()
    }
}

/// So that what takes a detector also takes one that is in a box already.
impl<D: Detector> From<D> for Box<dyn Detector> {
    fn from(detector: D) -> Self {
        Box::new(detector)
    }
}
