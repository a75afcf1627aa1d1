//! A rule as data, for those who judge calls that no one detector has seen.

use std::time::Duration;

#[cfg(feature = "fleet")]
use super::LoadError;
use super::Tally;
#[cfg(feature = "fleet")]
use crate::circuit::{Reader, Writer};
#[cfg(feature = "fleet")]
use crate::time::nanos;

/// What a [`Detector`](crate::detect::Detector) decides by, as data.
///
/// A fleet judges the calls of all its instances together, and no instance sees them in order. It can do so only by a rule
/// that it understands: how many, of which calls, over which window. The detectors of this crate say so by themselves. One
/// of your own that wraps one of them, or that can be put in such words, says so by
/// [`Detector::shape`](crate::detect::Detector::shape); without, it is [`Opaque`](Self::Opaque), and a fleet must write
/// down every outcome for it.
///
/// ```
/// use std::time::Duration;
/// use fusebox::detect::{self, Over, Shape, Threshold};
/// use fusebox::detect::Detector;
///
/// let minute = Duration::from_secs(60);
/// let rule = detect::consecutive_failures(5).or(detect::failure_rate(0.5).within(minute).min_calls(20));
/// let rate = Threshold::rate(0.5, Over::Time(minute)).min_calls(20);
/// assert_eq!(rule.shape(), Shape::Any(vec![Threshold::in_a_row(5).into(), rate.into()]));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Shape {
    /// Only the detector itself can judge.
    #[default]
    Opaque,
    /// It trips when a threshold is reached.
    Threshold(Threshold),
    /// It trips when any of these does.
    Any(Vec<Self>),
    /// It trips when all of these do.
    All(Vec<Self>),
}

#[cfg(feature = "counts")]
impl Shape {
    /// The thresholds of its parts, in the order of their [tallies](crate::detect::Detector::tallies).
    pub(crate) fn thresholds(&self) -> Vec<Option<Threshold>> {
        match self {
            Self::Opaque => vec![None],
            Self::Threshold(threshold) => vec![Some(*threshold)],
            Self::Any(parts) | Self::All(parts) => parts.iter().flat_map(Self::thresholds).collect(),
        }
    }
}

/// How many calls of which kind, over which window, are too many.
///
/// ```
/// use std::time::Duration;
/// use fusebox::detect::{Over, Threshold};
///
/// let slow = Threshold::rate(0.8, Over::Calls(50)).slower_than(Duration::from_secs(2));
/// assert!(slow.holds(40, 50) && !slow.holds(39, 50));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    pub(crate) slower_than: Option<Duration>,
    pub(crate) limit: Limit,
    pub(crate) over: Over,
    pub(crate) min_calls: u32,
}

/// Over which calls a threshold counts.
///
/// ```
/// use fusebox::detect::{Over, Threshold};
///
/// assert_eq!(Threshold::in_a_row(3).over(), Over::Row);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Over {
    /// The newest calls, back to the last one that was not bad.
    Row,
    /// So many of the newest calls.
    Calls(u32),
    /// The calls of so long a time.
    Time(Duration),
}

/// How many are too many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    Count(u32),
    Rate(f64),
}

impl Threshold {
    const fn new(limit: Limit, over: Over) -> Self {
        Self { slower_than: None, limit, over, min_calls: 1 }
    }

    /// So many failures in a row.
    #[must_use]
    pub const fn in_a_row(n: u32) -> Self {
        Self::new(Limit::Count(n), Over::Row)
    }

    /// So many failures.
    ///
    /// ```
    /// use fusebox::detect::{Over, Threshold};
    ///
    /// assert!(Threshold::count(5, Over::Calls(20)).holds(5, 7));
    /// ```
    #[must_use]
    pub const fn count(n: u32, over: Over) -> Self {
        Self::new(Limit::Count(n), over)
    }

    /// Such a share of failures, above 0 and at most 1.
    ///
    /// ```
    /// use fusebox::detect::{Over, Threshold};
    ///
    /// assert!(Threshold::rate(0.5, Over::Calls(20)).holds(10, 20));
    /// ```
    #[must_use]
    pub const fn rate(share: f64, over: Over) -> Self {
        Self::new(Limit::Rate(share), over)
    }

    /// Waits for this many calls. Default: 1.
    ///
    /// ```
    /// use fusebox::detect::{Over, Threshold};
    ///
    /// assert!(!Threshold::rate(0.5, Over::Calls(20)).min_calls(5).holds(4, 4));
    /// ```
    #[must_use]
    pub const fn min_calls(mut self, calls: u32) -> Self {
        self.min_calls = calls;
        self
    }

    /// Counts calls that took so long, or longer, instead of failures.
    #[must_use]
    pub const fn slower_than(mut self, limit: Duration) -> Self {
        self.slower_than = Some(limit);
        self
    }

    /// Returns over which calls it counts.
    #[must_use]
    pub const fn over(&self) -> Over {
        self.over
    }

    /// Tells whether `bad` of `calls` reach it.
    #[must_use]
    pub fn holds(&self, bad: u64, calls: u64) -> bool {
        let reached = || match self.limit {
            Limit::Count(n) => bad >= u64::from(n),
            Limit::Rate(rate) => self.tally(bad, calls).rate().is_some_and(|share| share >= rate),
        };
        calls >= u64::from(self.min_calls) && reached()
    }

    /// How many bad ones are too many, where so many calls are counted.
    #[cfg(feature = "counts")]
    #[expect(clippy::cast_precision_loss, reason = "a window holds few enough calls")]
    pub(crate) fn limit_of(&self, calls: u64) -> f64 {
        match self.limit {
            Limit::Count(n) => f64::from(n),
            Limit::Rate(rate) => rate * calls.max(u64::from(self.min_calls)) as f64,
        }
    }

    pub(crate) const fn tally(&self, bad: u64, calls: u64) -> Tally {
        let tally = if self.slower_than.is_some() { Tally::slow_calls(bad) } else { Tally::failures(bad) };
        if self.counts_successes() { tally.of(calls) } else { tally }
    }

    /// Tells whether a good call can change what it says.
    pub(crate) const fn counts_successes(&self) -> bool {
        !matches!((self.over, self.limit), (Over::Row, _) | (Over::Time(_), Limit::Count(_)))
    }
}

impl From<Threshold> for Shape {
    fn from(threshold: Threshold) -> Self {
        Self::Threshold(threshold)
    }
}

/// Bytes of a shape that is part of a record.
#[cfg(feature = "fleet")]
impl Shape {
    pub(crate) fn save(&self, out: &mut Writer) {
        match self {
            Self::Opaque => out.u8(0),
            Self::Threshold(threshold) => {
                out.u8(1);
                threshold.save(out);
            }
            Self::Any(parts) | Self::All(parts) => {
                out.u8(if matches!(self, Self::Any(_)) { 2 } else { 3 });
                out.varint(parts.len() as u64);
                parts.iter().for_each(|part| part.save(out));
            }
        }
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        /// More than any rule that instances judge together.
        const MAX_DEPTH: u32 = 16;
        Self::load_at(from, MAX_DEPTH)
    }

    fn load_at(from: &mut Reader<'_>, depth: u32) -> Result<Self, LoadError> {
        let kind = from.u8()?;
        match kind {
            0 => Ok(Self::Opaque),
            1 => Threshold::load(from).map(Self::Threshold),
            2 | 3 if depth > 0 => {
                let count = from.varint_count(1)?;
                let parts = (0..count).map(|_| Self::load_at(from, depth - 1)).collect::<Result<Vec<_>, _>>()?;
                Ok(if kind == 2 { Self::Any(parts) } else { Self::All(parts) })
            }
            _ => Err(LoadError::new(format!("a shape of kind {kind}"))),
        }
    }
}

#[cfg(feature = "fleet")]
impl Threshold {
    fn save(&self, out: &mut Writer) {
        match self.limit {
            Limit::Count(n) => {
                out.u8(0);
                out.varint(n.into());
            }
            Limit::Rate(rate) => {
                out.u8(1);
                out.u64(rate.to_bits());
            }
        }
        match self.over {
            Over::Row => out.u8(0),
            Over::Calls(calls) => {
                out.u8(1);
                out.varint(calls.into());
            }
            Over::Time(time) => {
                out.u8(2);
                out.varint(nanos(time));
            }
        }
        out.varint(self.min_calls.into());
        out.varint(self.slower_than.map_or(0, |limit| nanos(limit).saturating_add(1)));
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let number = |n: u64| u32::try_from(n).map_err(|_| LoadError::new("a threshold that is too large"));
        let limit = match from.u8()? {
            0 => Limit::Count(number(from.varint()?)?),
            1 => Limit::Rate(f64::from_bits(from.u64()?)),
            other => return Err(LoadError::new(format!("a limit of kind {other}"))),
        };
        let over = match from.u8()? {
            0 => Over::Row,
            1 => Over::Calls(number(from.varint()?)?),
            2 => Over::Time(Duration::from_nanos(from.varint()?)),
            other => return Err(LoadError::new(format!("a window of kind {other}"))),
        };
        let min_calls = number(from.varint()?)?;
        let slower_than = from.varint()?.checked_sub(1).map(Duration::from_nanos);
        Ok(Self { slower_than, limit, over, min_calls })
    }
}
