//! The delays of one request, one after another.

use std::fmt;
use std::time::Duration;

use super::decorrelated::Decorrelated;
use super::exponential::Exponential;
use super::fixed::Fixed;
use super::linear::Linear;
use super::random::draw;
use crate::error::ConfigError;
use crate::time::nanos;

/// One of the curves of this module. Small and `Copy`: a request carries its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Curve {
    Fixed(Fixed),
    Exponential(Exponential),
    Linear(Linear),
    Decorrelated(Decorrelated),
}

/// How a wait that is always the same, and one that grows, is told.
const EACH: &str = " before each";
const NEXT: &str = "before each retry that follows";

impl Curve {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::Fixed(curve) => curve.check(),
            Self::Exponential(curve) => curve.check("backoff", "backoff.jitter"),
            Self::Linear(curve) => curve.check("backoff", "backoff.step", "backoff.jitter"),
            Self::Decorrelated(curve) => curve.check(),
        }
    }

    /// Says how long a request waits before its retries.
    pub(crate) fn explain(&self) -> String {
        match self {
            Self::Fixed(curve) => curve.explain(),
            Self::Exponential(curve) => format!("waits {}", curve.explain(EACH, NEXT)),
            Self::Linear(curve) => format!("waits {}", curve.explain(EACH, NEXT)),
            Self::Decorrelated(curve) => curve.explain(),
        }
    }

    fn delay(&self, n: u32, previous: Duration, draw: f64) -> Duration {
        match self {
            Self::Fixed(curve) => curve.delay(draw),
            Self::Exponential(curve) => curve.delay(n, draw),
            Self::Linear(curve) => curve.delay(n, draw),
            Self::Decorrelated(curve) => curve.delay(previous, draw),
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(curve) => curve.fmt(f),
            Self::Exponential(curve) => curve.fmt(f),
            Self::Linear(curve) => curve.fmt(f),
            Self::Decorrelated(curve) => curve.fmt(f),
        }
    }
}

/// The delays of one request, one after another. A [`Backoff`](super::Backoff) makes them from a seed. Without end,
/// unless they come from an iterator that ends.
///
/// ```
/// use std::time::Duration;
/// use fusebox::backoff::{self, Backoff, Delays};
///
/// /// No wait before the first retry, then those of another curve.
/// #[derive(Debug)]
/// struct FirstAtOnce<B>(B);
///
/// impl<B: Backoff> Backoff for FirstAtOnce<B> {
///     fn delays(&self, seed: u64) -> Delays {
///         Delays::new(std::iter::once(Duration::ZERO).chain(self.0.delays(seed)))
///     }
/// }
/// let s = Duration::from_secs;
/// let delays = FirstAtOnce(backoff::fixed(s(1))).delays(0).take(3);
/// assert_eq!(delays.collect::<Vec<_>>(), [s(0), s(1), s(1)]);
/// ```
pub struct Delays {
    source: Source,
}

enum Source {
    Curve { curve: Curve, seed: u64, pace: Pace },
    Other(Box<dyn Iterator<Item = Duration> + Send + Sync>),
}

/// How far along its curve a request is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    n: u32,
    /// The delay before, in nanoseconds: each call that has failed carries it.
    previous: u64,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self { n: 0, previous: 0 }
    }

    /// The next delay along `curve`. The seed is asked for where chance has a part in it.
    #[inline]
    pub(crate) fn step(&mut self, curve: &Curve, seed: impl FnOnce() -> u64) -> Duration {
        match curve {
            Curve::Fixed(fixed) if fixed.is_exact() => fixed.delay(0.0),
            _ => self.step_by_chance(curve, seed()),
        }
    }

    #[inline(never)]
    fn step_by_chance(&mut self, curve: &Curve, seed: u64) -> Duration {
        let draw = draw(seed, self.n.into());
        let delay = curve.delay(self.n, Duration::from_nanos(self.previous), draw);
        *self = Self { n: self.n.saturating_add(1), previous: nanos(delay) };
        delay
    }
}

impl Delays {
    /// Makes delays from an iterator.
    pub fn new(delays: impl Iterator<Item = Duration> + Send + Sync + 'static) -> Self {
        Self { source: Source::Other(Box::new(delays)) }
    }

    pub(crate) fn into_boxed(self) -> Box<dyn Iterator<Item = Duration> + Send + Sync> {
        match self.source {
            Source::Other(delays) => delays,
            Source::Curve { .. } => Box::new(self),
        }
    }

    pub(crate) const fn of(curve: Curve, seed: u64) -> Self {
        Self { source: Source::Curve { curve, seed, pace: Pace::new() } }
    }
}

impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        match &mut self.source {
            Source::Curve { curve, seed, pace } => Some(pace.step(curve, || *seed)),
            Source::Other(delays) => delays.next(),
        }
    }
}

impl fmt::Debug for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Curve { curve, pace, .. } => {
                f.debug_struct("Delays").field("curve", curve).field("n", &pace.n).finish()
            }
            Source::Other(_) => f.debug_struct("Delays").finish_non_exhaustive(),
        }
    }
}
