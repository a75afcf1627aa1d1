//! Several detectors that decide together.

use std::fmt;
use std::time::Duration;

use super::{ConsecutiveFailures, Detector, FailureTimes, LoadError, OfLast, PartTally, Shape, Tally, Within};
use crate::circuit::codec::{Kind, Reader, Writer};
use crate::circuit::{Call, Horizon};
use crate::error::ConfigError;
use crate::time::Timestamp;

/// Several detectors: any of them trips the circuit, or only all of them together. Made by `.or(..)` and `.and(..)`, or
/// here from any detectors, also your own.
///
/// ```
/// use std::time::Duration;
/// use fusebox::detect::{self, Combined};
///
/// let both = detect::failures(5).within(Duration::from_secs(60)).and(detect::failure_rate(0.5).of_last(20));
/// let any = Combined::any(vec![Box::new(both), Box::new(detect::consecutive_failures(10))]);
/// assert!(format!("{any:?}").ends_with(".or(consecutive_failures(10))"));
/// ```
#[derive(Clone)]
pub struct Combined {
    all: bool,
    parts: Vec<Box<dyn Detector>>,
}

impl Combined {
    /// Trips when any of the parts does.
    #[must_use]
    pub fn any(parts: Vec<Box<dyn Detector>>) -> Self {
        Self { all: false, parts }
    }

    /// Trips when all of the parts do.
    ///
    /// ```
    /// use fusebox::detect::{self, Combined};
    /// use fusebox::{clock::Timestamp, detect::{Call, Detector}};
    ///
    /// let parts: Vec<Box<dyn Detector>> =
    ///     vec![Box::new(detect::consecutive_failures(2)), Box::new(detect::failures(3).of_last(100))];
    /// let (mut all, now) = (Combined::all(parts), Timestamp::ZERO);
    /// all.record(&Call::failure(now));
    /// all.record(&Call::failure(now));
    /// assert!(!all.verdict(now), "two in a row, but not three in all");
    /// all.record(&Call::failure(now));
    /// assert!(all.verdict(now));
    /// ```
    #[must_use]
    pub fn all(parts: Vec<Box<dyn Detector>>) -> Self {
        Self { all: true, parts }
    }

    fn pair(all: bool, one: impl Detector, other: Box<dyn Detector>) -> Self {
        Self { all, parts: vec![Box::new(one), other] }
    }
}

macro_rules! combinators {
    ($($detector:ty),*) => {$(
        impl $detector {
            /// Trips when this detector or the other one does.
            ///
            /// ```
            /// use std::time::Duration;
            /// use fusebox::detect;
            ///
            /// let either = detect::failures(5).within(Duration::from_secs(60)).or(detect::consecutive_failures(3));
            /// assert_eq!(format!("{either:?}"), "failures(5).within(60s).or(consecutive_failures(3))");
            /// ```
            #[must_use]
            pub fn or(self, other: impl Into<Box<dyn Detector>>) -> Combined {
                Combined::pair(false, self, other.into())
            }

            /// Trips when this detector and the other one both do.
            ///
            /// ```
            /// use fusebox::{clock::Timestamp, detect::{self, Call, Detector}};
            ///
            /// let now = Timestamp::ZERO;
            /// let mut both = detect::failures(3).of_last(100).and(detect::consecutive_failures(2));
            /// for call in [Call::failure(now), Call::failure(now), Call::success(now), Call::failure(now)] {
            ///     both.record(&call);
            /// }
            /// assert!(!both.verdict(now), "three of a hundred, but not two in a row");
            /// both.record(&Call::failure(now));
            /// assert!(both.verdict(now));
            /// ```
            #[must_use]
            pub fn and(self, other: impl Into<Box<dyn Detector>>) -> Combined {
                Combined::pair(true, self, other.into())
            }
        }
    )*};
}
combinators!(FailureTimes, OfLast, Within, ConsecutiveFailures, Combined);

impl Detector for Combined {
    fn record(&mut self, call: &Call) {
        self.parts.iter_mut().for_each(|part| part.record(call));
    }

    fn record_successes(&mut self, count: u64, at: Timestamp) {
        self.parts.iter_mut().for_each(|part| part.record_successes(count, at));
    }

    fn verdict(&self, now: Timestamp) -> bool {
        let mut verdicts = self.parts.iter().map(|part| part.verdict(now));
        if self.all { verdicts.all(|v| v) } else { verdicts.any(|v| v) }
    }

    fn reset(&mut self) {
        self.parts.iter_mut().for_each(|part| part.reset());
    }

    /// The tally of the first part that trips, else of the first.
    fn tally(&self, now: Timestamp) -> Tally {
        let tripped = self.parts.iter().find(|part| part.verdict(now));
        tripped.or(self.parts.first()).map(|part| part.tally(now)).unwrap_or_default()
    }

    fn save(&self) -> Vec<u8> {
        let mut out = Writer::new(Kind::Combined);
        out.u32(u32::try_from(self.parts.len()).unwrap_or(u32::MAX));
        self.parts.iter().for_each(|part| out.bytes(&part.save()));
        out.finish()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let mut from = Reader::new(Kind::Combined, bytes)?;
        let saved = from.count(4)?;
        if saved != self.parts.len() {
            return Err(LoadError::new(format!("{saved} parts, expected {}", self.parts.len())));
        }
        let parts = (0..saved).map(|_| from.bytes()).collect::<Result<Vec<_>, _>>()?;
        from.end()?;
        let before: Vec<_> = self.parts.iter().map(|part| part.save()).collect();
        for (i, bytes) in parts.iter().enumerate() {
            if let Err(error) = self.parts[i].load(bytes) {
                // All or nothing: the parts that did load go back.
                for (part, bytes) in self.parts.iter_mut().zip(&before).take(i) {
                    part.load(bytes)?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn absorbs_success(&self) -> bool {
        self.parts.iter().all(|part| part.absorbs_success())
    }

    fn time_resolution(&self) -> Option<Duration> {
        self.parts.iter().filter_map(|part| part.time_resolution()).min()
    }

    fn time_tolerance(&self) -> Duration {
        self.parts.iter().map(|part| part.time_tolerance()).min().unwrap_or_default()
    }

    fn slow_after(&self) -> Option<Duration> {
        self.parts.iter().filter_map(|part| part.slow_after()).min()
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.parts.is_empty() {
            return Err(ConfigError::new("detector", &"a combination of nothing", "at least one part"));
        }
        self.parts.iter().try_for_each(|part| part.check())
    }

    fn recent(&self) -> Vec<bool> {
        self.parts.iter().map(|part| part.recent()).find(|log| !log.is_empty()).unwrap_or_default()
    }

    fn tallies(&self, now: Timestamp, parts: &mut Vec<PartTally>) {
        self.parts.iter().for_each(|part| part.tallies(now, parts));
    }

    fn horizon(&self) -> Horizon {
        self.parts.iter().map(|part| part.horizon()).reduce(Horizon::widest).unwrap_or_else(Horizon::everything)
    }

    /// The tree of its parts; opaque where one of them is.
    fn shape(&self) -> Shape {
        let parts: Vec<_> = self.parts.iter().map(|part| part.shape()).collect();
        if parts.contains(&Shape::Opaque) {
            Shape::Opaque
        } else if self.all {
            Shape::All(parts)
        } else {
            Shape::Any(parts)
        }
    }
}

impl fmt::Debug for Combined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.all { "and" } else { "or" };
        for (i, part) in self.parts.iter().enumerate() {
            if i == 0 {
                write!(f, "{part:?}")?;
            } else {
                write!(f, ".{word}({part:?})")?;
            }
        }
        Ok(())
    }
}
