//! The calls that find out whether the dependency is back.

use std::time::Duration;

use super::window::CountWindow;
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
/// [`Ignored`](crate::Outcome::Ignored) gives it back, one that panics or outlives its deadline has failed. So half-open always
/// ends, whatever becomes of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probes {
    needed: u32,
    of: u32,
    concurrent: u32,
    deadline: Duration,
}

impl Probes {
    const MOST: u32 = 1 << 16;

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
        Self { needed: k, of: n, concurrent: 1, deadline: Duration::from_secs(30) }
    }

    /// Sets how many probes may be on their way at once. Default: 1.
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
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock, Probes, State, TransitionReason};
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

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.of == 0 || self.of > Self::MOST {
            return Err(ConfigError::new("probes", &self.of, "1 to 65536 probes"));
        }
        if self.needed == 0 || self.needed > self.of {
            return Err(ConfigError::new("probes", &self.needed, format!("1 to {} successes of {}", self.of, self.of)));
        }
        if self.concurrent == 0 || self.concurrent > Self::MOST {
            return Err(ConfigError::new("probes.concurrent", &self.concurrent, "1 to 65536"));
        }
        if self.deadline.is_zero() {
            return Err(ConfigError::new("probes.deadline", &"0s", "more than zero"));
        }
        Ok(())
    }

    pub(super) fn time_tolerance(&self) -> Duration {
        self.deadline / 64
    }

    /// How long a round may admit probes without learning anything.
    pub(super) fn patience(&self, cooldown: Duration) -> Duration {
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

#[derive(Clone, Copy, Debug)]
struct Lease {
    id: u32,
    deadline: Timestamp,
    /// Promised to a caller that has not made its call yet.
    reserved: bool,
}

/// One half-open period.
#[derive(Debug)]
pub(super) struct Round {
    succeeded: u32,
    failed: u32,
    /// Since when probes have gone out without any evidence.
    fruitless_since: Option<Timestamp>,
    next_lease: u32,
    leases: Vec<Lease>,
    log: CountWindow,
}

/// What is known of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Undecided,
    Close,
    Reopen,
}

impl Round {
    pub(super) fn new(probes: &Probes) -> Self {
        Self {
            succeeded: 0,
            failed: 0,
            fruitless_since: None,
            next_lease: 0,
            leases: Vec::new(),
            log: CountWindow::new(probes.of),
        }
    }

    /// Begins anew; keeps its memory.
    pub(super) fn restart(&mut self) {
        self.succeeded = 0;
        self.failed = 0;
        self.fruitless_since = None;
        self.leases.clear();
        self.log.clear();
    }

    /// Gives out a place, if one is free.
    pub(super) fn admit(&mut self, probes: &Probes, now: Timestamp, reserved: bool) -> Option<u32> {
        if self.free(probes) == 0 {
            return None;
        }
        let id = self.next_lease;
        self.next_lease = self.next_lease.wrapping_add(1);
        self.leases.push(Lease { id, deadline: now + probes.deadline, reserved });
        if !reserved {
            self.fruitless_since.get_or_insert(now);
        }
        Some(id)
    }

    /// Turns a reservation into a probe whose time begins now; `false` when the reservation is gone.
    pub(super) fn begin(&mut self, probes: &Probes, id: u32, now: Timestamp) -> bool {
        let Some(lease) = self.leases.iter_mut().find(|l| l.id == id) else {
            return false;
        };
        *lease = Lease { id, deadline: now + probes.deadline, reserved: false };
        self.fruitless_since.get_or_insert(now);
        true
    }

    /// Takes a place back; `false` when it was not held (any more).
    pub(super) fn give_back(&mut self, id: u32) -> bool {
        let held = self.leases.iter().position(|l| l.id == id);
        held.map(|at| self.leases.swap_remove(at)).is_some()
    }

    /// Forgets who holds a place: the round is over.
    pub(super) fn drop_leases(&mut self) {
        self.leases.clear();
    }

    pub(super) fn count(&mut self, failed: bool) {
        self.fruitless_since = None;
        self.log.push(failed);
        if failed {
            self.failed = self.failed.saturating_add(1);
        } else {
            self.succeeded = self.succeeded.saturating_add(1);
        }
    }

    /// Drops leases whose deadline has come; returns how many of them were probes on their way.
    pub(super) fn expire(&mut self, now: Timestamp) -> u32 {
        let mut expired = 0;
        self.leases.retain(|lease| {
            let over = lease.deadline <= now;
            expired += u32::from(over && !lease.reserved);
            !over
        });
        expired
    }

    /// When the next lease runs out.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.leases.iter().map(|lease| lease.deadline).min()
    }

    pub(super) fn is_fruitless(&self, patience: Duration, now: Timestamp) -> bool {
        self.fruitless_since.is_some_and(|since| now.since(since) >= patience)
    }

    pub(super) fn verdict(&self, probes: &Probes) -> Verdict {
        if self.succeeded >= probes.needed {
            Verdict::Close
        } else if self.failed > probes.of - probes.needed {
            Verdict::Reopen
        } else {
            Verdict::Undecided
        }
    }

    pub(super) fn free(&self, probes: &Probes) -> u32 {
        probes.concurrent.saturating_sub(self.in_flight())
    }

    fn in_flight(&self) -> u32 {
        u32::try_from(self.leases.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn tally(&self, probes: &Probes) -> ProbeTally {
        ProbeTally {
            in_flight: self.in_flight(),
            succeeded: self.succeeded,
            failed: self.failed,
            needed: probes.needed,
        }
    }

    /// The results of this round, oldest first, `true` for a failure.
    pub(super) fn log(&self) -> impl Iterator<Item = bool> + '_ {
        self.log.iter()
    }
}
