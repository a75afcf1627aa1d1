//! The calls that find out whether the dependency is back.

use std::time::Duration;

use crate::error::ConfigError;
use crate::time::Timestamp;

/// How many probes go out while half-open, and what they must show.
///
/// ```
/// use std::time::Duration;
/// use fusebox::Probes;
///
/// assert_eq!(Probes::one(), Probes::default());    // the first result decides
/// Probes::one().concurrent(3);                     // up to three on their way, the first result decides
/// Probes::consecutive(3);                          // one at a time; three successes close, any failure reopens
/// Probes::ratio(3, 5).concurrent(5);               // three of five close; decided as soon as it is certain
/// Probes::one().deadline(Duration::from_secs(90)); // for a dependency that may honestly take a minute
/// ```
///
/// A probe's place is a lease with a deadline: a probe that is dropped or whose outcome is
/// [`Ignored`](crate::Outcome::Ignored) gives it back, one that panics or outlives its deadline has failed (where
/// its response has begun and is still on its way, it has succeeded, and is as slow as its head). Three probes in a row
/// that are dropped before the dependency has answered reopen the circuit. So half-open always ends, whatever becomes of
/// the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probes {
    pub(super) needed: u32,
    pub(super) of: u32,
    pub(super) concurrent: u32,
    pub(super) deadline: Duration,
    /// How long a half-open period may last.
    decide_within: Option<Duration>,
}

impl Probes {
    /// Probes of a round, and probes on their way at once, at most.
    pub(super) const MAX: u32 = 1 << 16;

    /// The first result decides: a success closes the circuit, a failure reopens it.
    #[must_use]
    pub const fn one() -> Self {
        Self::ratio(1, 1)
    }

    /// Closes after `k` successes; any failure reopens.
    #[must_use]
    pub const fn consecutive(k: u32) -> Self {
        Self::ratio(k, k)
    }

    /// Closes once `k` of `n` probes succeeded, reopens once that is out of reach.
    ///
    /// The ratio is not reduced: two of four needs two successes.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Probes, State};
    ///
    /// let config = CircuitBreakerConfig::builder("payments")
    ///     .cooldown(Duration::ZERO)
    ///     .probes(Probes::ratio(2, 3).concurrent(3))
    ///     .build()?;
    /// let breaker = CircuitBreaker::new(config);
    /// breaker.trip()?;
    /// let (one, two, three) = (breaker.acquire()?, breaker.acquire()?, breaker.acquire()?);
    /// one.failure(); // two of three are still within reach
    /// two.success();
    /// assert_eq!(breaker.state(), State::HalfOpen);
    /// three.success();
    /// assert_eq!(breaker.state(), State::Closed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn ratio(k: u32, n: u32) -> Self {
        Self { needed: k, of: n, concurrent: 1, deadline: Duration::from_secs(30), decide_within: None }
    }

    /// Sets how many probes may be on their way at once. Default: 1. A fleet has at most 1,024 on their way, whatever
    /// is set.
    #[must_use]
    pub const fn concurrent(mut self, c: u32) -> Self {
        self.concurrent = c;
        self
    }

    /// Sets how long a probe may take before it counts as failed. Default: 30 s; set it above the dependency's honest
    /// worst case.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{
    ///     CircuitBreaker, CircuitBreakerConfig, ManualClock, Probes, State, circuit_breaker::TransitionReason,
    /// };
    ///
    /// let clock = ManualClock::new();
    /// let config = CircuitBreakerConfig::builder("reports")
    ///     .probes(Probes::one().deadline(Duration::from_secs(90)))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// let breaker = CircuitBreaker::new(config);
    /// breaker.trip()?;
    /// clock.advance(Duration::from_secs(30));
    /// let probe = breaker.acquire()?;
    /// clock.advance(Duration::from_secs(90));
    /// assert!(breaker.acquire().is_err(), "the next call sees that the probe is late");
    /// assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbeExpired));
    /// probe.success(); // too late
    /// assert_eq!(breaker.state(), State::Open);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Says how the circuit finds out whether the dependency is back.
    pub(crate) fn explain(&self, lines: &mut Vec<String>) {
        let Self { needed, of, concurrent, deadline, decide_within } = self;
        let at_once = match concurrent {
            1 => "one at a time".to_owned(),
            n => format!("up to {n} at once"),
        };
        lines.push(match (needed, of) {
            (1, 1) if *concurrent == 1 => {
                "then sends one probe, which decides: a success closes it, a failure opens it again".to_owned()
            }
            (1, 1) => format!("then sends probes, {at_once}, the first of which decides: a success closes it, a failure opens it again"),
            (k, n) if k == n => {
                format!("then sends {n} probes, {at_once}: {k} successes close it, any failure opens it again")
            }
            (k, n) => {
                let closes = if *k == 1 { "1 success closes".to_owned() } else { format!("{k} successes close") };
                format!("then sends up to {n} probes, {at_once}: {closes} it, it opens again once that is out of reach")
            }
        });
        lines.push(format!("  a probe has {deadline:?} to answer, later is a failure"));
        if let Some(longest) = decide_within {
            lines.push(format!("  probes that have not decided within {longest:?} open it again"));
        }
    }

    /// Sets within what time the probes must have decided. A half-open period that lasts longer reopens the circuit
    /// ([`HalfOpenTooLong`](crate::circuit_breaker::TransitionReason::HalfOpenTooLong)), whatever its probes have
    /// shown. Default: none; each probe has its [`deadline`](Self::deadline), and half-open ends without this as well.
    ///
    /// Set it above the time in which as many calls come as are needed: where calls are rarer, the circuit does not
    /// close. As with deadlines, the next call that asks sees that it is over, and a probe that ends after it is too
    /// late. In a fleet the time counts by the store's clock from the moment in which the first place was given out.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock, Probes, State};
    ///
    /// let (s, clock) = (Duration::from_secs, ManualClock::new());
    /// let config = CircuitBreakerConfig::builder("payments")
    ///     .probes(Probes::consecutive(3).decide_within(s(60)))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// let breaker = CircuitBreaker::new(config);
    /// breaker.trip()?;
    /// clock.advance(s(30));
    /// breaker.acquire()?.success();
    /// clock.advance(s(60));
    /// assert!(breaker.acquire().is_err(), "one success in a minute is not what was asked for");
    /// assert_eq!(breaker.state(), State::Open);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn decide_within(mut self, time: Duration) -> Self {
        self.decide_within = Some(time);
        self
    }

    /// When a half-open period that began then has lasted too long.
    pub(crate) fn decided_by(&self, began: Timestamp) -> Option<Timestamp> {
        self.decide_within.map(|longest| began + longest)
    }

    #[cfg(feature = "fleet")]
    pub(crate) const fn deadline_after(&self) -> Duration {
        self.deadline
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.of == 0 || self.of > Self::MAX {
            return Err(ConfigError::new("probes", &self.of, "1 to 65536 probes"));
        }
        if self.needed == 0 || self.needed > self.of {
            let allowed = match self.of {
                1 => "1 success of 1".to_owned(),
                of => format!("1 to {of} successes of {of}"),
            };
            return Err(ConfigError::new("probes", &self.needed, allowed));
        }
        if self.concurrent == 0 || self.concurrent > Self::MAX {
            return Err(ConfigError::new("probes.concurrent", &self.concurrent, "1 to 65536"));
        }
        if self.deadline.is_zero() {
            return Err(ConfigError::new("probes.deadline", &"0s", "more than zero"));
        }
        if self.decide_within == Some(Duration::ZERO) {
            return Err(ConfigError::new("probes.decide_within", &"0s", "more than zero"));
        }
        Ok(())
    }

    pub(super) fn time_tolerance(&self) -> Duration {
        self.decide_within.map_or(self.deadline, |longest| longest.min(self.deadline)) / 64
    }

    /// How long a round may admit probes without learning anything.
    pub(crate) fn patience(&self, cooldown: Duration) -> Duration {
        // A round cannot be called fruitless before its probes had the time they were promised.
        cooldown.saturating_mul(10).max(Duration::from_secs(60)).max(self.deadline.saturating_mul(2))
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self::one()
    }
}

/// Where a half-open breaker stands.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Probes};
///
/// let config = CircuitBreakerConfig::builder("payments")
///     .cooldown(Duration::ZERO)
///     .probes(Probes::ratio(3, 5).concurrent(2))
///     .build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.trip()?;
/// breaker.acquire()?.failure();
/// breaker.acquire()?.success();
/// let _on_its_way = breaker.acquire()?;
/// let probes = breaker.snapshot().probes.unwrap();
/// assert_eq!((probes.in_flight, probes.succeeded, probes.failed, probes.needed), (1, 1, 1, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ProbeTally {
    /// Probes on their way.
    pub in_flight: u32,
    /// Probes that succeeded.
    pub succeeded: u32,
    /// Probes that failed.
    pub failed: u32,
    /// Successes needed to close.
    pub needed: u32,
}
