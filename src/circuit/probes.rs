//! The calls that find out whether the dependency is back.

use std::time::Duration;

#[cfg(feature = "fleet")]
use super::detector::LoadError;
#[cfg(feature = "fleet")]
use super::detector::bytes::{Reader, Writer};
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
/// [`Ignored`](crate::Outcome::Ignored) gives it back, one that panics or outlives its deadline has failed (where
/// its response has begun and is still on its way, it has succeeded). So half-open always
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

    /// Sets how many probes may be on their way at once. Default: 1. A fleet has at most 1,024 on their way, whatever is set.
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

/// A place among the probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    id: u32,
    deadline: Timestamp,
    held: Hold,
    /// The dependency has answered; what is still to come is the rest of the answer.
    accepted: bool,
}

/// How far a lease has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// From the fleet, for a call that is still to come; goes back when none has come by then.
    #[cfg(feature = "fleet")]
    InHand(Timestamp),
    /// Promised to a caller that has not made its call yet.
    Reserved,
    /// A call is on its way.
    Running,
}

/// One half-open period.
#[derive(Clone, Debug, PartialEq)]
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
    pub(super) fn restart(&mut self, probes: &Probes) {
        self.succeeded = 0;
        self.failed = 0;
        self.fruitless_since = None;
        self.leases.clear();
        if self.log.size() == probes.of {
            self.log.clear();
        } else {
            // The round before was by the settings of another instance.
            self.log = CountWindow::new(probes.of);
        }
    }

    /// Gives out a place, if one is free.
    pub(super) fn admit(&mut self, probes: &Probes, now: Timestamp, reserved: bool) -> Option<u32> {
        if self.free(probes) == 0 {
            return None;
        }
        let id = self.next_lease;
        self.next_lease = self.next_lease.wrapping_add(1);
        let held = if reserved { Hold::Reserved } else { Hold::Running };
        self.leases.push(Lease { id, deadline: now + probes.deadline, held, accepted: false });
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
        *lease = Lease { id, deadline: now + probes.deadline, held: Hold::Running, accepted: false };
        self.fruitless_since.get_or_insert(now);
        true
    }

    /// Notes that the dependency has answered a probe whose response is still on its way; `false` when the place is gone.
    pub(super) fn accept(&mut self, id: u32) -> bool {
        let lease = self.leases.iter_mut().find(|lease| lease.id == id);
        lease.map(|lease| lease.accepted = true).is_some()
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

    /// Drops leases whose deadline has come; returns which of them were probes on their way, and whether each failed: one
    /// whose answer has begun is a dependency that works.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<(u32, bool)> {
        let mut expired = Vec::new();
        self.leases.retain(|lease| {
            let over = lease.deadline <= now;
            if over && lease.held == Hold::Running {
                expired.push((lease.id, !lease.accepted));
            }
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

    pub(super) fn in_flight(&self) -> u32 {
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

/// What only a round that a fleet shares knows.
#[cfg(feature = "fleet")]
impl Round {
    /// Leases that this instance gives out by itself, while it is cut off from its fleet, are told from the fleet's.
    const OWN: u32 = 1 << 31;

    /// Leases that a fleet has out at once, at most: its record must have room for them.
    const MOST_LEASES: usize = 1_024;

    /// Tells whether a record has room for one more.
    pub(super) fn has_room(&self) -> bool {
        self.leases.len() < Self::MOST_LEASES
    }

    pub(super) const fn number_own_leases(&mut self) {
        self.next_lease |= Self::OWN;
    }

    /// A lease of the fleet's, for a call that may come until `unused_until`.
    pub(super) fn put_in_hand(&mut self, id: u32, deadline: Timestamp, unused_until: Timestamp) {
        self.leases.push(Lease { id, deadline, held: Hold::InHand(unused_until), accepted: false });
    }

    /// Takes a lease in hand for a call.
    pub(super) fn use_hand(&mut self, now: Timestamp, reserved: bool) -> Option<u32> {
        let is_good = |lease: &&mut Lease| matches!(lease.held, Hold::InHand(_)) && lease.deadline > now;
        let lease = self.leases.iter_mut().find(is_good)?;
        lease.held = if reserved { Hold::Reserved } else { Hold::Running };
        Some(lease.id)
    }

    /// A reservation of the fleet's begins: its deadline stays the fleet's.
    pub(super) fn begin_in_hand(&mut self, id: u32) -> bool {
        let lease = self.leases.iter_mut().find(|lease| lease.id == id);
        lease.map(|lease| lease.held = Hold::Running).is_some()
    }

    /// Leases in hand.
    pub(super) fn in_hand(&self) -> u32 {
        let count = self.leases.iter().filter(|lease| matches!(lease.held, Hold::InHand(_))).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// When the next lease in hand goes back.
    pub(super) fn idle_at(&self) -> Option<Timestamp> {
        let until = |lease: &Lease| if let Hold::InHand(until) = lease.held { Some(until) } else { None };
        self.leases.iter().filter_map(until).min()
    }

    /// Gives back the leases in hand that nobody has used in time.
    pub(super) fn drop_idle(&mut self, now: Timestamp) -> Vec<u32> {
        let mut idle = Vec::new();
        self.leases.retain(|lease| {
            let is_idle = matches!(lease.held, Hold::InHand(until) if until <= now);
            if is_idle {
                idle.push(lease.id);
            }
            !is_idle
        });
        idle
    }

    /// When the lease runs out.
    pub(super) fn deadline_of(&self, id: u32) -> Option<Timestamp> {
        self.leases.iter().find(|lease| lease.id == id).map(|lease| lease.deadline)
    }

    /// The counts of another instance's view of the round, with this instance's leases.
    pub(super) fn adopt(&mut self, fleet: &Self) {
        *self = Self { leases: std::mem::take(&mut self.leases), ..fleet.clone() };
    }

    /// The round as other instances see it.
    pub(super) fn without_leases(&self) -> Self {
        Self { leases: Vec::new(), ..self.clone() }
    }

    pub(super) fn at_times(&self, f: impl Fn(Timestamp) -> Timestamp) -> Self {
        Self {
            fruitless_since: self.fruitless_since.map(&f),
            leases: self.leases.iter().map(|lease| Lease { deadline: f(lease.deadline), ..*lease }).collect(),
            ..self.clone()
        }
    }

    pub(super) fn save(&self, out: &mut Writer) {
        out.u32(self.succeeded);
        out.u32(self.failed);
        out.u64(self.fruitless_since.map_or(u64::MAX, Timestamp::as_nanos));
        out.u32(self.next_lease);
        out.u32(u32::try_from(self.leases.len()).unwrap_or(0));
        for lease in &self.leases {
            out.u32(lease.id);
            out.u64(lease.deadline.as_nanos());
            out.u8(u8::from(lease.accepted));
        }
        out.u32(self.log.size());
        out.u32(self.log.len());
        let log: Vec<bool> = self.log.iter().collect();
        for eight in log.chunks(8) {
            out.u8(eight.iter().enumerate().fold(0, |byte, (i, bad)| byte | u8::from(*bad) << i));
        }
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let (succeeded, failed) = (from.u32()?, from.u32()?);
        let fruitless_since = Some(from.u64()?).filter(|at| *at < u64::MAX).map(Timestamp::from_nanos);
        let next_lease = from.u32()?;
        let mut leases = Vec::new();
        for _ in 0..from.count(13)? {
            let (id, deadline) = (from.u32()?, Timestamp::from_nanos(from.u64()?));
            leases.push(Lease { id, deadline, held: Hold::Running, accepted: from.u8()? != 0 });
        }
        let size = from.u32()?;
        if size > Probes::MOST {
            return Err(LoadError::new(format!("a round of {size} probes")));
        }
        let (mut log, mut byte) = (CountWindow::new(size), 0);
        for i in 0..from.u32()? {
            if i % 8 == 0 {
                byte = from.u8()?;
            }
            log.push(byte >> (i % 8) & 1 == 1);
        }
        Ok(Self { succeeded, failed, fruitless_since, next_lease, leases, log })
    }
}
