//! A breaker at one moment.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::cell::{Body, BreakerCell};
#[cfg(feature = "counts")]
use super::counts::Counts;
use super::handle::CircuitBreaker;
use crate::circuit::{
    Generation, Outcome, PartTally, ProbeTally, StandingOverride, State, StateScope, TransitionReason,
};
use crate::clock::wall_clock;
#[cfg(feature = "fleet")]
use crate::fleet::FleetStatus;
use crate::one_line::OneLine;
use crate::text::Soon;
use crate::time::Timestamp;

/// A breaker at one moment.
///
/// ```
/// use fusebox::{detect, CircuitBreaker, CircuitBreakerConfig};
///
/// let config = CircuitBreakerConfig::builder("payments").detector(detect::failures(3).of_last(10)).build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.acquire()?.success();
/// breaker.acquire()?.failure();
///
/// let seen = breaker.snapshot();
/// assert_eq!(seen.recent.to_string(), "SF");
/// assert_eq!(seen.detectors[0].tally.to_string(), "1 failure in 2 calls");
/// assert_eq!(seen.to_string(), "payments: closed, 1 failure in 2 calls");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// use std::time::Duration;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock, State, circuit_breaker::TransitionReason};
///
/// let clock = ManualClock::new();
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").clock(clock.clone()).build()?);
/// breaker.trip()?;
/// clock.advance(Duration::from_secs(10));
///
/// let seen = breaker.snapshot();
/// assert_eq!((seen.state, seen.reason), (State::Open, Some(TransitionReason::Tripped)));
/// assert_eq!(seen.in_state_for, Duration::from_secs(10));
/// assert_eq!(seen.retry_after, Some(Duration::from_secs(20)));
/// assert_eq!((seen.openings, seen.probes, seen.overridden), (1, None, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The name of the breaker.
    pub name: Arc<str>,
    /// Its state.
    pub state: State,
    /// Whose state it is: this instance's, or the whole fleet's.
    pub scope: StateScope,
    /// Its generation, which grows with every transition: this instance's count. The fleet's is in `fleet`.
    pub generation: Generation,
    /// Since when it is in this state, by the wall clock.
    #[cfg_attr(feature = "serde", serde(serialize_with = "rfc_3339"))]
    pub since: SystemTime,
    /// For how long it has been in this state.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of"))]
    pub in_state_for: Duration,
    /// Why it came into this state; `None` when it never changed.
    pub reason: Option<TransitionReason>,
    /// How long until an open circuit lets a probe through. For one that is forced open it is the time until that ends
    /// by itself.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of_option"))]
    pub retry_after: Option<Duration>,
    /// The counts of the detector, or of each part of a combined one.
    pub detectors: Vec<PartTally>,
    /// The recent outcomes of this instance's own calls.
    pub recent: Recent,
    /// Where the probes stand, while half-open.
    pub probes: Option<ProbeTally>,
    /// How many times the circuit has opened since it was last healthy.
    pub openings: u32,
    /// The override that stands, if one does.
    pub overridden: Option<StandingOverride>,
    /// What this instance's breaker has counted since it was made.
    #[cfg(feature = "counts")]
    pub counts: Counts,
    /// How this instance stands with its fleet. `None` where the breaker shares its state with no other.
    #[cfg(feature = "fleet")]
    pub fleet: Option<FleetStatus>,
}

impl CircuitBreaker {
    /// Returns everything there is to see.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.cell())
    }
}

impl Snapshot {
    pub(super) fn of(cell: &'static BreakerCell) -> Self {
        let name = cell.name();
        let seen =
            cell.look(|body, now| Self::of_body(name.clone(), body, now)).unwrap_or_else(|| Self::of_nothing(name));
        #[cfg(feature = "counts")]
        let seen = Self { counts: cell.counts().counts(), ..seen };
        seen
    }

    fn of_body(name: Arc<str>, body: &Body, now: Timestamp) -> Self {
        let Body { control, settings, .. } = body;
        let machine = control.machine();
        let in_state_for = now.since(machine.since());
        Self {
            name,
            state: machine.state(),
            scope: control.scope(),
            generation: machine.generation(),
            since: wall_clock().checked_sub(in_state_for).unwrap_or(SystemTime::UNIX_EPOCH),
            in_state_for,
            reason: machine.reason(),
            retry_after: control
                .view()
                .until()
                .filter(|_| machine.state() == State::Open)
                .map(|until| until.since(now)),
            detectors: body.control.tallies(now),
            recent: Recent(machine.recent()),
            probes: machine.probes(&settings.rules),
            openings: machine.openings(),
            overridden: machine.overridden().cloned().map(StandingOverride::of),
            #[cfg(feature = "counts")]
            counts: Counts::default(),
            #[cfg(feature = "fleet")]
            fleet: control.shared().map(|shared| shared.replica.status(now)),
        }
    }

    fn of_nothing(name: Arc<str>) -> Self {
        Self {
            name,
            state: State::Closed,
            scope: StateScope::Instance,
            generation: Generation::default(),
            since: SystemTime::UNIX_EPOCH,
            in_state_for: Duration::ZERO,
            reason: None,
            retry_after: None,
            detectors: Vec::new(),
            recent: Recent(Vec::new()),
            probes: None,
            openings: 0,
            overridden: None,
            #[cfg(feature = "counts")]
            counts: Counts::default(),
            #[cfg(feature = "fleet")]
            fleet: None,
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", OneLine(&self.name), self.state)?;
        match (&self.overridden, self.reason) {
            (Some(order), _) => write!(f, " ({order})")?,
            (None, Some(reason)) => write!(f, " ({reason})")?,
            (None, None) => {}
        }
        match self.retry_after {
            Some(wait) if wait < Duration::from_millis(1) => write!(f, ", retry {}", Soon(wait))?,
            Some(wait) => write!(f, ", retry in {wait:.1?}")?,
            None => {}
        }
        if let Some(p) = self.probes {
            write!(f, ", probes: {} on their way, {} of {} succeeded", p.in_flight, p.succeeded, p.needed)?;
        }
        // The counts that opened the circuit stand in the reason already.
        let told = self.state == State::Open && matches!(self.reason, Some(TransitionReason::Detected(_)));
        let parts = self.detectors.iter().filter(|_| !told);
        parts.into_iter().try_for_each(|part| write!(f, ", {}", part.tally))
    }
}

/// The recent outcomes of a breaker, oldest first. `Display` writes `S` and `F`.
///
/// They are those of [`execution_log`](crate::CircuitBreakerConfigBuilder::execution_log) where it is set. Otherwise
/// those of a detector that counts calls: its window; while half-open, the probes; while open, what opened the circuit.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Outcome};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").execution_log(10).build()?);
/// assert!(breaker.snapshot().recent.is_empty());
/// breaker.acquire()?.success();
/// breaker.acquire()?.failure();
///
/// let recent = breaker.snapshot().recent;
/// assert_eq!((recent.len(), recent.to_string().as_str()), (2, "SF"));
/// assert_eq!(recent.iter().next_back(), Some(Outcome::Failure), "the newest");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent(Vec<bool>);

impl Recent {
    /// Returns the outcomes: successes and failures.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Outcome> + ExactSizeIterator + '_ {
        self.0.iter().map(|failed| if *failed { Outcome::Failure } else { Outcome::Success })
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|failed| f.write_str(if *failed { "F" } else { "S" }))
    }
}

/// Written as `Display` does, here within a snapshot:
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").execution_log(10).build()?);
/// breaker.acquire()?.success();
/// breaker.acquire()?.failure();
/// let json = serde_json::to_value(breaker.snapshot())?;
/// assert_eq!(json["state"], "closed");
/// assert_eq!(json["recent"], "SF");
/// assert_eq!(json["detectors"][0]["tally"]["count"], 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "serde")]
impl serde::Serialize for Recent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
fn rfc_3339<S: serde::Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_millis(*time))
}
