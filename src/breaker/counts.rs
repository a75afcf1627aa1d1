//! What a breaker has counted since it was made.

use crate::circuit::{Origin, RejectReason, State, TransitionReason};
use crate::counts::Sum;

/// What a breaker has counted since it was made. Everything here only ever grows, whatever the breaker does and forgets.
///
/// Calls are counted when they end, each in one of `successes`, `failures`, `ignored` and `cancelled`: as the breaker counts
/// them, so that a call that was given up after
/// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after) is a failure. A call that ends after a
/// transition decides nothing, and is counted all the same. One that ends after its breaker was dropped is not, once
/// another breaker has its place.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Outcome, State, circuit_breaker::RejectReason};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// breaker.acquire()?.success();
/// breaker.acquire()?.report(Outcome::Ignored);
/// breaker.trip()?;
/// assert!(breaker.acquire().is_err());
///
/// let counts = breaker.snapshot().counts;
/// assert_eq!((counts.successes, counts.failures, counts.ignored, counts.calls()), (1, 0, 1, 2));
/// assert_eq!(counts.rejected(RejectReason::Open), 1);
/// let opened = &counts.transitions[0];
/// assert_eq!((opened.from, opened.to, opened.reason, opened.count), (State::Closed, State::Open, "tripped", 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Counts {
    /// Calls that succeeded.
    pub successes: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Calls that said nothing of the dependency.
    pub ignored: u64,
    /// Calls that were given up.
    pub cancelled: u64,
    /// Successes and failures that were slow for a part of the rule. They are among the others.
    pub slow: u64,
    /// Rejected calls, by reason, of those reasons that came up. Readers of [`rejected`](Self::rejected) need not search.
    pub rejections: Vec<RejectionCount>,
    /// Changes of state, of those kinds that came up.
    pub transitions: Vec<TransitionCount>,
    /// How often the circuit would have opened, had it not been in a dry run.
    pub would_open: u64,
    /// How often the detector panicked.
    pub detector_panics: u64,
    /// Calls that the fleet will never know of, because its store was away too long. Zero without a fleet.
    pub forgotten: u64,
}

/// How many calls a breaker has rejected for one reason.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Override};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// breaker.set_override(Override::force_open("incident 7"));
/// assert!(breaker.acquire().is_err());
/// let rejections = breaker.snapshot().counts.rejections;
/// assert_eq!((rejections[0].reason.as_str(), rejections[0].count), ("forced_open", 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RejectionCount {
    /// Why.
    pub reason: RejectReason,
    /// How many.
    pub count: u64,
}

/// How many changes of state of one kind a breaker has made. What
/// [`StateChanged`](crate::EventKind::StateChanged) is told of is counted, so also a state that a command confirms.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, circuit_breaker::Origin};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// breaker.reset()?;
/// breaker.reset()?;
/// let transitions = breaker.snapshot().counts.transitions;
/// assert_eq!((transitions[0].reason, transitions[0].origin, transitions[0].count), ("reset", Origin::Decided, 2));
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TransitionCount {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why, as [`TransitionReason::as_str`] spells it.
    pub reason: &'static str,
    /// Who made the change.
    pub origin: Origin,
    /// How many.
    pub count: u64,
}

impl Counts {
    /// Returns how many calls have ended, whichever way.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.successes + self.failures + self.ignored + self.cancelled
    }

    /// Returns how many calls were rejected for this reason.
    #[must_use]
    pub fn rejected(&self, reason: RejectReason) -> u64 {
        self.rejections.iter().find(|rejection| rejection.reason == reason).map_or(0, |rejection| rejection.count)
    }

    /// Takes over what is more in another count of the same breakers.
    pub(super) fn raise(&mut self, other: &Self) {
        self.combine(other, |mine, theirs| *mine = (*mine).max(theirs));
    }

    fn combine(&mut self, other: &Self, f: impl Fn(&mut u64, u64)) {
        let Self { successes, failures, ignored, cancelled, slow, would_open, detector_panics, forgotten, .. } = other;
        f(&mut self.successes, *successes);
        f(&mut self.failures, *failures);
        f(&mut self.ignored, *ignored);
        f(&mut self.cancelled, *cancelled);
        f(&mut self.slow, *slow);
        f(&mut self.would_open, *would_open);
        f(&mut self.detector_panics, *detector_panics);
        f(&mut self.forgotten, *forgotten);
        for theirs in &other.rejections {
            f(self.rejection(theirs.reason), theirs.count);
        }
        for theirs in &other.transitions {
            f(self.transition(*theirs), theirs.count);
        }
    }

    fn rejection(&mut self, reason: RejectReason) -> &mut u64 {
        let known = self.rejections.iter().position(|mine| mine.reason == reason);
        let at = known.unwrap_or(self.rejections.len());
        if known.is_none() {
            self.rejections.push(RejectionCount { reason, count: 0 });
        }
        &mut self.rejections[at].count
    }

    fn transition(&mut self, like: TransitionCount) -> &mut u64 {
        count_of(&mut self.transitions, like)
    }
}

/// What another breaker has counted comes on top.
impl Sum for Counts {
    fn add(&mut self, other: &Self) {
        self.combine(other, |mine, theirs| *mine += theirs);
    }
}

impl TransitionCount {
    /// Transitions of a kind, none yet.
    pub(super) const fn none(from: State, to: State, reason: TransitionReason, origin: Origin) -> Self {
        Self { from, to, reason: reason.as_str(), origin, count: 0 }
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.from, self.to, self.origin) == (other.from, other.to, other.origin) && self.reason == other.reason
    }
}

/// The count of transitions that are like this one.
pub(super) fn count_of(all: &mut Vec<TransitionCount>, like: TransitionCount) -> &mut u64 {
    let known = all.iter().position(|one| one.is_like(&like));
    let at = known.unwrap_or(all.len());
    if known.is_none() {
        // Few kinds come up, and of many breakers.
        all.reserve_exact(1);
        all.push(TransitionCount { count: 0, ..like });
    }
    &mut all[at].count
}
