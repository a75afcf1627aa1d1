//! The words that begin a detector: how many failures, which rate.

use std::time::Duration;

use super::judged::Judged;
use super::shape::Limit;
use super::{FailureTimes, OfLast, Within};

/// Trips at `n` failures: say [`within`](Failures::within) which time, or [`of_last`](Failures::of_last) how many calls.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{clock::Timestamp, detect::{self, Call, Detector}};
///
/// let now = Timestamp::ZERO;
/// let mut detector = detect::failures(2).within(Duration::from_secs(60));
/// detector.record(&Call::failure(now));
/// assert!(!detector.verdict(now));
/// detector.record(&Call::failure(now));
/// assert!(detector.verdict(now), "reached is enough");
/// ```
pub const fn failures(n: u32) -> Failures {
    Failures { n }
}

/// Trips when this share of the calls failed: above 0, at most 1.
///
/// ```
/// use fusebox::{detect, CircuitBreakerConfig};
///
/// let half = detect::failure_rate(0.5).of_last(100);
/// assert!(CircuitBreakerConfig::builder("payments").detector(half).build().is_ok());
/// let fifty = detect::failure_rate(50.0).of_last(100); // not a percentage
/// assert!(CircuitBreakerConfig::builder("payments").detector(fifty).build().is_err());
/// ```
pub const fn failure_rate(rate: f64) -> FailureRate {
    FailureRate { rate }
}

/// Trips when this share of the calls, above 0 and at most 1, was slow.
///
/// A call is as slow as its answer is late. Where the end of a response is watched (`classify::grpc()`), the answer is
/// its head: a stream that goes on for an hour is no slow call, and one whose head comes late is, however it ends.
///
/// A slow probe has failed where slow calls opened the circuit, until one round of probes has closed it. Where something
/// else did, failures for example, slow probes are successes, unless those of one half-open period meet this rule by
/// themselves: its share, of as many calls as it waits for. One whose response goes on after its head, as a stream does, is
/// judged without its end.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{clock::Timestamp, detect::{self, Call, Detector}};
///
/// let now = Timestamp::ZERO;
/// let mut detector = detect::slow_call_rate(0.8).slower_than(Duration::from_secs(2)).of_last(5);
/// detector.record(&Call::success(now));
/// for _ in 0..4 {
///     detector.record(&Call::success(now).took(Some(Duration::from_secs(3))));
/// }
/// assert!(detector.verdict(now), "four of five, although none failed");
/// ```
///
/// What failures opened closes, though its probes are slow:
///
/// ```
/// use std::time::Duration;
/// use fusebox::{detect, CircuitBreaker, CircuitBreakerConfig, ManualClock, State};
///
/// let (s, clock) = (Duration::from_secs, ManualClock::new());
/// let slow = detect::slow_call_rate(0.8).slower_than(s(2)).within(s(60));
/// let rule = detect::consecutive_failures(1).or(slow);
/// let config = CircuitBreakerConfig::builder("search").detector(rule).clock(clock.clone()).build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.acquire()?.failure();
/// clock.advance(s(30));
/// let probe = breaker.acquire()?;
/// clock.advance(s(3));
/// probe.success();
/// assert_eq!(breaker.state(), State::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const fn slow_call_rate(rate: f64) -> SlowCallRate {
    SlowCallRate { rate }
}

/// A number of failures that still needs a window. See [`failures`].
///
/// ```
/// use std::time::Duration;
/// use fusebox::detect::{self, Failures};
///
/// const FEW: Failures = detect::failures(5); // one number, two windows
/// let rule = FEW.of_last(20).or(FEW.within(Duration::from_secs(60)));
/// assert_eq!(format!("{rule:?}"), "failures(5).of_last(20).min_calls(1).or(failures(5).within(60s))");
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "say `.within(..)` or `.of_last(..)`"]
pub struct Failures {
    n: u32,
}

impl Failures {
    /// Counts the failures of the last `window` of time, exactly. One that is exactly one window old is out.
    ///
    /// Successes cost nothing, and memory is at most the failures themselves, of which it counts up to 65,536.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{clock::Timestamp, detect::{self, Call, Detector}};
    ///
    /// let (s, start) = (Duration::from_secs, Timestamp::ZERO);
    /// let mut detector = detect::failures(2).within(s(60));
    /// detector.record(&Call::failure(start));
    /// detector.record(&Call::failure(start + s(60)));
    /// assert!(!detector.verdict(start + s(60)), "the first one is out");
    /// detector.record(&Call::failure(start + s(61)));
    /// assert!(detector.verdict(start + s(61)));
    /// ```
    #[must_use]
    pub fn within(self, window: Duration) -> FailureTimes {
        FailureTimes::new(self.n, window)
    }

    /// Counts the failures among the last `calls` calls, at most 1,048,576. Trips as soon as `n` are in; add
    /// [`min_calls`](OfLast::min_calls) to wait for more calls first.
    ///
    /// ```
    /// use fusebox::{clock::Timestamp, detect::{self, Call, Detector}};
    ///
    /// let now = Timestamp::ZERO;
    /// let mut detector = detect::failures(2).of_last(10);
    /// detector.record(&Call::failure(now));
    /// detector.record(&Call::failure(now));
    /// assert!(detector.verdict(now), "the window need not be full");
    /// ```
    #[must_use]
    pub fn of_last(self, calls: u32) -> OfLast {
        OfLast::new(Limit::Count(self.n), Judged::failures(), calls)
    }
}

/// A failure rate that still needs a window. See [`failure_rate`].
///
/// ```
/// use std::time::Duration;
/// use fusebox::detect::{self, FailureRate};
///
/// const HALF: FailureRate = detect::failure_rate(0.5); // one rate, a window for each dependency
/// let busy = HALF.within(Duration::from_secs(10)).min_calls(100);
/// let rare = HALF.of_last(20);
/// assert_eq!(format!("{busy:?}"), "failure_rate(0.5).within(10s).min_calls(100)");
/// assert_eq!(format!("{rare:?}"), "failure_rate(0.5).of_last(20).min_calls(5)");
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "say `.within(..)` or `.of_last(..)`"]
pub struct FailureRate {
    rate: f64,
}

impl FailureRate {
    /// Judges the last `calls` calls, at most 1,048,576. A rate needs a few calls to mean anything, so it waits for
    /// [`min_calls`](OfLast::min_calls): five, unless you say otherwise. It is judged after failures only, so where a
    /// success is the call that completes them, the next failure opens the circuit.
    ///
    /// ```
    /// use fusebox::{clock::Timestamp, detect::{self, Call, Detector}};
    ///
    /// let now = Timestamp::ZERO;
    /// let mut detector = detect::failure_rate(0.5).of_last(100);
    /// (0..4).for_each(|_| detector.record(&Call::failure(now)));
    /// assert!(!detector.verdict(now), "too few to judge");
    /// detector.record(&Call::failure(now));
    /// assert!(detector.verdict(now));
    /// ```
    #[must_use]
    pub fn of_last(self, calls: u32) -> OfLast {
        OfLast::new(Limit::Rate(self.rate), Judged::failures(), calls)
    }

    /// Judges the calls of the last `window` of time. It is kept in slots: a call may fall out up to a sixteenth of the
    /// window early, never late.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{clock::Timestamp, detect::{self, Call, Detector}};
    ///
    /// let (s, start) = (Duration::from_secs, Timestamp::ZERO + Duration::from_secs(600));
    /// let mut detector = detect::failure_rate(0.5).within(s(60));
    /// (0..5).for_each(|_| detector.record(&Call::failure(start)));
    /// assert!(detector.verdict(start + s(50)));
    /// assert!(!detector.verdict(start + s(60)), "all are out");
    /// ```
    #[must_use]
    pub fn within(self, window: Duration) -> Within {
        Within::new(self.rate, Judged::failures(), window)
    }
}

/// A rate of slow calls that still needs a limit. See [`slow_call_rate`].
///
/// ```
/// use std::time::Duration;
/// use fusebox::detect::{self, SlowCallRate};
///
/// const MOST: SlowCallRate = detect::slow_call_rate(0.8); // one rate, a limit for each dependency
/// let search = MOST.slower_than(Duration::from_millis(500)).of_last(50);
/// let report = MOST.slower_than(Duration::from_secs(20)).of_last(50);
/// assert_eq!(format!("{search:?}"), "slow_call_rate(0.8).slower_than(500ms).of_last(50).min_calls(5)");
/// assert_eq!(format!("{report:?}"), "slow_call_rate(0.8).slower_than(20s).of_last(50).min_calls(5)");
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "say `.slower_than(..)`, then `.within(..)` or `.of_last(..)`"]
pub struct SlowCallRate {
    rate: f64,
}

impl SlowCallRate {
    /// A call is slow when it takes this long or longer, whether it succeeds or fails.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{clock::Timestamp, detect::{self, Call, Detector}};
    ///
    /// let now = Timestamp::ZERO;
    /// let mut detector = detect::slow_call_rate(0.5).slower_than(Duration::from_secs(2)).of_last(10);
    /// detector.record(&Call::success(now).took(Some(Duration::from_secs(2))));
    /// detector.record(&Call::failure(now).took(Some(Duration::from_millis(10)))); // fast, so it is not counted
    /// assert_eq!(detector.tally(now).to_string(), "1 slow call in 2 calls");
    /// ```
    pub const fn slower_than(self, limit: Duration) -> SlowCallRateOver {
        SlowCallRateOver { rate: self.rate, limit }
    }
}

/// A rate of slow calls that still needs a window. See [`slow_call_rate`].
///
/// ```
/// use std::time::Duration;
/// use fusebox::detect::{self, SlowCallRateOver};
///
/// let slow: SlowCallRateOver = detect::slow_call_rate(0.8).slower_than(Duration::from_secs(2));
/// let either = slow.of_last(20).or(slow.within(Duration::from_secs(60)));
/// assert!(format!("{either:?}").ends_with("or(slow_call_rate(0.8).slower_than(2s).within(60s).min_calls(5))"));
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "say `.within(..)` or `.of_last(..)`"]
pub struct SlowCallRateOver {
    rate: f64,
    limit: Duration,
}

impl SlowCallRateOver {
    /// Judges the last `calls` calls; see [`FailureRate::of_last`].
    #[must_use]
    pub fn of_last(self, calls: u32) -> OfLast {
        OfLast::new(Limit::Rate(self.rate), Judged::slower_than(self.limit), calls)
    }

    /// Judges the calls of the last `window` of time; see [`FailureRate::within`].
    #[must_use]
    pub fn within(self, window: Duration) -> Within {
        Within::new(self.rate, Judged::slower_than(self.limit), window)
    }
}
