//! What a breaker can be, and the count of how often it changed.

use std::fmt;

#[cfg(feature = "fleet")]
use super::codec::LoadError;

/// The state of a circuit breaker.
///
/// | state | calls | leaves it when |
/// |---|---|---|
/// | `Closed` | all go through and are judged | the detector trips: to `Open` |
/// | `Open` | all are rejected | the cooldown is over and a call asks: to `HalfOpen` |
/// | `HalfOpen` | a few probes go through, the rest is rejected | the probes decide: to `Closed` or `Open` |
///
/// State never changes by time alone: a look at an open breaker after its cooldown still says open, and the first call
/// that asks makes it half-open and is the first probe.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, State};
///
/// fn gauge(state: State) -> u8 {
///     match state {
///         State::Closed => 0,
///         State::HalfOpen => 1,
///         State::Open => 2,
///     }
/// }
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// assert_eq!(gauge(breaker.state()), 0);
/// assert_eq!(State::HalfOpen.as_str(), "half_open"); // for machines
/// assert_eq!(State::HalfOpen.to_string(), "half-open"); // for people
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[expect(clippy::exhaustive_enums, reason = "a circuit breaker has these three states; users match on all of them")]
pub enum State {
    /// Calls go through.
    Closed,
    /// Calls are rejected until the cooldown is over.
    Open,
    /// Probes go through to find out whether the dependency is back.
    HalfOpen,
}

impl State {
    /// Returns `closed`, `open` or `half_open`, as metrics and logs spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

#[cfg(feature = "fleet")]
impl State {
    pub(crate) const fn to_byte(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Open => 1,
            Self::HalfOpen => 2,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Result<Self, LoadError> {
        match byte {
            0 => Ok(Self::Closed),
            1 => Ok(Self::Open),
            2 => Ok(Self::HalfOpen),
            other => Err(LoadError::new(format!("state {other}"))),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HalfOpen => "half-open",
            other => other.as_str(),
        })
    }
}

/// Whose state it is.
///
/// A breaker without a store has a state of its own. One that a [fleet](crate::CircuitBreaker) shares has the fleet's,
/// except while its store is away, or where instances vote and the fleet is closed.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, circuit_breaker::StateScope};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// assert_eq!(breaker.snapshot().scope, StateScope::Instance);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum StateScope {
    /// This instance's.
    Instance,
    /// The whole fleet's.
    Fleet,
}

impl StateScope {
    /// Returns `instance` or `fleet`, as metrics and files spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Fleet => "fleet",
        }
    }
}

/// Who made a transition.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, circuit_breaker::Origin};
/// use futures::{executor::block_on, StreamExt};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// let mut events = breaker.events();
/// breaker.trip()?;
/// assert_eq!(block_on(events.next()).unwrap().origin(), Origin::Decided);
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Origin {
    /// This instance.
    Decided,
    /// Another instance of its fleet; this one does as that one did.
    Adopted,
}

impl Origin {
    /// Returns `decided` or `adopted`, as metrics and files spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decided => "decided",
            Self::Adopted => "adopted",
        }
    }
}

/// Counts transitions: every one begins a new generation.
///
/// It only grows. Where a breaker begins to count is not specified, so compare generations of one breaker, or subtract
/// them, and read nothing into the number itself.
///
/// A permit carries the generation that admitted it. When its call ends in another one, the outcome is history and
/// decides nothing: a slow success from before a trip cannot close the circuit, a late failure cannot reopen it.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, circuit_breaker::Generation};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// let before = breaker.snapshot().generation;
/// breaker.trip()?;
/// assert_eq!(breaker.snapshot().generation, Generation::new(before.get() + 1));
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Generation(u64);

impl Generation {
    /// Makes a generation from its number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number of this generation.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    #[must_use]
    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Tells whether it comes after another one. The numbers of a fleet go round in a circle, so that no number in a
    /// record is the last.
    #[cfg(feature = "fleet")]
    pub(crate) const fn is_after(self, other: Self) -> bool {
        let ahead = self.0.wrapping_sub(other.0);
        ahead != 0 && ahead < 1 << (u64::BITS - 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
