//! Outcomes with their times, to be merged with those of others.

use std::collections::BTreeMap;
use std::time::Duration;

use super::codec::{Kind, LoadError, Reader, Writer};
use super::detector::Detector;
use super::{Call, Horizon};
use crate::time::{Timestamp, nanos};

/// Calls that ended at the same time in the same way.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{Call, Run, Timestamp};
///
/// let slow = Call::success(Timestamp::from_nanos(7)).took(Some(Duration::from_secs(3)));
/// let run = Run::new(&slow, 2);
/// assert_eq!((run.ended, run.failed, run.count), (slow.ended(), false, 2));
/// assert_eq!(run.took, Some(Duration::from_secs(3)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Run {
    /// When they ended.
    pub ended: Timestamp,
    /// Whether they failed.
    pub failed: bool,
    /// How long they took, where a detector asks for it.
    pub took: Option<Duration>,
    /// How many they are.
    pub count: u64,
}

impl Run {
    /// Makes a run of one or more equal calls.
    #[must_use]
    pub const fn new(call: &Call, count: u64) -> Self {
        Self { ended: call.ended(), failed: call.failed(), took: call.duration(), count }
    }

    /// How many bytes a saved run takes.
    pub(crate) const BYTES: usize = 25;

    pub(crate) fn save(self, out: &mut Writer) {
        out.u64(self.ended.as_nanos());
        out.u8(u8::from(self.failed));
        out.u64(self.took.map_or(u64::MAX, nanos));
        out.u64(self.count);
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let (ended, failed) = (Timestamp::from_nanos(from.u64()?), from.u8()? != 0);
        let took = Some(from.u64()?).filter(|n| *n < u64::MAX).map(Duration::from_nanos);
        Ok(Self { ended, failed, took, count: from.u64()? })
    }

    /// Tells whether the calls failed or were slow: a detector gives a verdict only after such calls.
    #[cfg(feature = "fleet")]
    pub(crate) const fn is_bad(&self) -> bool {
        self.failed || self.took.is_some()
    }

    /// Shows a detector its calls. Bytes may claim any number of them: beyond a million that end in one moment, a few more
    /// change no verdict.
    pub(crate) fn show(self, detector: &mut dyn Detector) {
        const MAX_SHOWN: u64 = 1 << 20;
        if self.failed || self.took.is_some() {
            let call = if self.failed { Call::failure(self.ended) } else { Call::success(self.ended) };
            (0..self.count.min(MAX_SHOWN)).for_each(|_| detector.record(&call.took(self.took)));
        } else {
            detector.record_successes(self.count, self.ended);
        }
    }
}

/// Outcomes with their times: what several observers of one dependency put together to judge it as one.
///
/// It is a multiset ordered by time, so merging is commutative and associative: batches of any writers, in any order
/// and any partition, give the same evidence and, replayed into a detector, the same verdict. What no detector looks at any
/// more is trimmed. Merging the same batch twice counts it twice; the code that moves batches sees to that.
///
/// ```
/// use fusebox::{detect, Call, Detector, Evidence, Run, Timestamp};
///
/// let at = Timestamp::from_nanos;
/// let mut here = Evidence::default();
/// here.add(Run::new(&Call::failure(at(10)), 1));
/// here.add(Run::new(&Call::success(at(30)), 2));
/// let mut there = Evidence::default();
/// there.add(Run::new(&Call::failure(at(20)), 2));
///
/// here.merge(&there);
/// let mut detector = detect::failures(3).of_last(5);
/// here.replay(&mut detector);
/// assert!(detector.verdict(at(40)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Counts by (ended, failed, took).
    runs: BTreeMap<(Timestamp, bool, Option<Duration>), u64>,
}

impl Evidence {
    /// Adds a run of calls.
    pub fn add(&mut self, run: Run) {
        if run.count > 0 {
            let count = self.runs.entry((run.ended, run.failed, run.took)).or_default();
            *count = count.saturating_add(run.count);
        }
    }

    /// Adds everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        other.runs().for_each(|run| self.add(run));
    }

    /// Forgets what lies beyond the horizon at `now`.
    ///
    /// ```
    /// use fusebox::{Call, Evidence, Horizon, Run, Timestamp};
    ///
    /// let at = Timestamp::from_nanos;
    /// let mut evidence = Evidence::default();
    /// evidence.add(Run::new(&Call::failure(at(10)), 5));
    /// evidence.add(Run::new(&Call::success(at(20)), 2));
    /// evidence.trim(Horizon::calls(3), at(30));
    /// let left: Vec<_> = evidence.runs().map(|run| (run.failed, run.count)).collect();
    /// assert_eq!(left, [(true, 1), (false, 2)], "the newest three calls");
    /// ```
    pub fn trim(&mut self, horizon: Horizon, now: Timestamp) {
        let mut newer = 0_u64;
        let mut kept = BTreeMap::new();
        for (key, count) in std::mem::take(&mut self.runs).into_iter().rev() {
            let by_count = horizon.calls.saturating_sub(newer).min(count);
            let keep = if now.since(key.0) < horizon.age { count } else { by_count };
            newer = newer.saturating_add(count);
            if keep > 0 {
                kept.insert(key, keep);
            }
        }
        self.runs = kept;
    }

    /// Tells whether it holds nothing.
    #[cfg(feature = "fleet")]
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many runs it holds.
    #[cfg(feature = "fleet")]
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// How many calls it holds.
    #[cfg(feature = "fleet")]
    pub(crate) fn calls(&self) -> u64 {
        self.runs.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Puts times on a coarser grid until it holds at most `most` runs; a call may become older by that, never younger.
    /// The grids are nested, so it does not matter how often, and between which merges, this is done.
    #[cfg(feature = "fleet")]
    pub(crate) fn coarsen(&mut self, most: usize) {
        for bits in 20.. {
            if self.runs.len() <= most {
                return;
            }
            if bits == u64::BITS {
                // Only how long calls took can still tell them apart: the oldest go.
                while self.runs.len() > most {
                    self.runs.pop_first();
                }
                return;
            }
            for ((ended, failed, took), count) in std::mem::take(&mut self.runs) {
                let ended = Timestamp::from_nanos(ended.as_nanos() >> bits << bits);
                self.add(Run { ended, failed, took, count });
            }
        }
    }

    /// The same calls by another clock.
    #[cfg(feature = "fleet")]
    pub(crate) fn at_times(&self, f: impl Fn(Timestamp) -> Timestamp) -> Self {
        let mut moved = Self::default();
        self.runs().for_each(|run| moved.add(Run { ended: f(run.ended), ..run }));
        moved
    }

    /// The runs it holds, oldest first.
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        self.runs.iter().map(|(&(ended, failed, took), &count)| Run { ended, failed, took, count })
    }

    /// Resets the detector and shows it every call, oldest first.
    ///
    /// ```
    /// use fusebox::{detect, Call, Detector, Evidence, Run, Timestamp};
    ///
    /// let mut detector = detect::consecutive_failures(2);
    /// detector.record(&Call::failure(Timestamp::ZERO));
    /// let mut evidence = Evidence::default();
    /// evidence.add(Run::new(&Call::failure(Timestamp::from_nanos(10)), 1));
    /// evidence.replay(&mut detector);
    /// assert_eq!(detector.tally(Timestamp::from_nanos(20)).count(), 1, "what it saw before is gone");
    /// ```
    pub fn replay(&self, detector: &mut dyn Detector) {
        detector.reset();
        self.runs().for_each(|run| run.show(detector));
    }

    /// Writes it as bytes: a version, then the runs.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut out = Writer::new(Kind::Evidence);
        out.u32(u32::try_from(self.runs.len()).unwrap_or(u32::MAX));
        self.runs().for_each(|run| run.save(&mut out));
        out.finish()
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    ///
    /// When the bytes are cut short, of another format, or of something else.
    ///
    /// ```
    /// use fusebox::{Call, Evidence, Run, Timestamp};
    ///
    /// let mut evidence = Evidence::default();
    /// evidence.add(Run::new(&Call::failure(Timestamp::from_nanos(10)), 3));
    /// let bytes = evidence.save(); // into a file, a cache, a message
    /// assert_eq!(Evidence::load(&bytes)?, evidence);
    /// assert!(Evidence::load(&bytes[1..]).is_err());
    /// # Ok::<(), fusebox::LoadError>(())
    /// ```
    pub fn load(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut from = Reader::new(Kind::Evidence, bytes)?;
        let mut evidence = Self::default();
        for _ in 0..from.count(Run::BYTES)? {
            evidence.add(Run::load(&mut from)?);
        }
        from.end()?;
        Ok(evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect;
    use proptest::prelude::*;

    type Seen = (u64, bool, bool);

    fn run((at, failed, slow): Seen) -> Run {
        let at = Timestamp::from_nanos(at * 1_000_000_000);
        let call = if failed { Call::failure(at) } else { Call::success(at) };
        Run::new(&call.took(slow.then_some(Duration::from_secs(9))), 1)
    }

    fn detectors() -> Vec<Box<dyn Detector>> {
        let s = Duration::from_secs;
        vec![
            Box::new(detect::failures(4).within(s(20))),
            Box::new(detect::failures(4).of_last(9)),
            Box::new(detect::failure_rate(0.5).of_last(7)),
            Box::new(detect::failure_rate(0.4).within(s(30))),
            Box::new(detect::consecutive_failures(3)),
            Box::new(detect::slow_call_rate(0.3).slower_than(s(5)).of_last(10)),
            Box::new(detect::failures(3).within(s(9)).and(detect::failure_rate(0.6).of_last(5))),
        ]
    }

    proptest! {
        /// Batches in any partition and order, trimmed or not, give the verdict of one observer who saw everything.
        #[test]
        fn merging_is_order_free_and_trimming_loses_nothing(
            seen in prop::collection::vec((0_u64..60, any::<bool>(), any::<bool>()), 0..80),
            writers in prop::collection::vec(0_usize..5, 80),
            order in Just((0_usize..5).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let now = Timestamp::from_nanos(60_000_000_000);
            let mut whole = Evidence::default();
            let mut batches = vec![Evidence::default(); 5];
            for (call, writer) in seen.iter().zip(&writers) {
                whole.add(run(*call));
                batches[*writer].add(run(*call));
            }
            for mut detector in detectors() {
                let mut merged = Evidence::default();
                for writer in &order {
                    merged.merge(&batches[*writer]);
                    merged.trim(detector.horizon(), now);
                }
                whole.replay(&mut *detector);
                let (expected, tally) = (detector.verdict(now), detector.tally(now));
                merged.replay(&mut *detector);
                prop_assert_eq!(detector.verdict(now), expected, "{:?}", detector);
                if !format!("{detector:?}").contains("consecutive") {
                    prop_assert_eq!(detector.tally(now), tally, "{:?}", detector);
                }
                prop_assert_eq!(Evidence::load(&merged.save()).expect("its own bytes"), merged);
            }
        }

        #[test]
        fn foreign_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut detectors = detectors();
            Evidence::load(&bytes).ok();
            for detector in &mut detectors {
                let before = detector.save();
                if detector.load(&bytes).is_err() {
                    prop_assert_eq!(detector.save(), before, "a refused load changes nothing");
                }
            }
        }

        /// What is saved loads into the same verdict and tally.
        #[test]
        fn detectors_come_back_from_their_bytes(seen in prop::collection::vec((0_u64..60, any::<bool>(), any::<bool>()), 0..80)) {
            let now = Timestamp::from_nanos(60_000_000_000);
            let mut evidence = Evidence::default();
            seen.iter().for_each(|call| evidence.add(run(*call)));
            for (mut there, mut here) in detectors().into_iter().zip(detectors()) {
                evidence.replay(&mut *there);
                here.load(&there.save()).expect("its own bytes");
                prop_assert_eq!(here.verdict(now), there.verdict(now), "{:?}", here);
                prop_assert_eq!(here.tally(now), there.tally(now), "{:?}", here);
            }
        }
    }
}
