//! Outcomes with their times, to be merged with those of others.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Call;
use super::detector::bytes::{Kind, Reader, Writer};
use super::detector::{Detector, LoadError};
use crate::time::Timestamp;

/// How far back a detector looks: a call counts while it is among the newest [`calls`](Self::calls) or younger than
/// [`age`](Self::age).
///
/// ```
/// use std::time::Duration;
/// use fusebox::{detect, Detector, Horizon};
///
/// let minute = Duration::from_secs(60);
/// let detector = detect::failures(5).within(minute).or(detect::failure_rate(0.5).of_last(100));
/// assert_eq!(detector.horizon(), Horizon::age(minute).widest(Horizon::calls(100)));
/// assert_eq!(detector.horizon().widest(Horizon::everything()), Horizon::everything());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    calls: u64,
    age: Duration,
    failures_only: bool,
}

impl Horizon {
    /// The newest `n` calls, however old.
    #[must_use]
    pub const fn calls(n: u32) -> Self {
        Self { calls: n as u64, age: Duration::ZERO, failures_only: false }
    }

    /// The calls younger than `age`, however many.
    #[must_use]
    pub const fn age(age: Duration) -> Self {
        Self { calls: 0, age, failures_only: false }
    }

    /// Of these, only failures and slow calls: successes are nothing to the detector. A fleet whose detector says so
    /// writes nothing while all is well.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{detect, Detector, Horizon};
    ///
    /// let minute = Duration::from_secs(60);
    /// assert_eq!(detect::failures(5).within(minute).horizon(), Horizon::age(minute).failures_only());
    /// ```
    #[must_use]
    pub const fn failures_only(mut self) -> Self {
        self.failures_only = true;
        self
    }

    /// Every call there ever was.
    #[must_use]
    pub const fn everything() -> Self {
        Self { calls: u64::MAX, age: Duration::MAX, failures_only: false }
    }

    /// What satisfies both.
    #[must_use]
    pub fn widest(self, other: Self) -> Self {
        Self {
            calls: self.calls.max(other.calls),
            age: self.age.max(other.age),
            failures_only: self.failures_only && other.failures_only,
        }
    }
}

#[cfg(feature = "fleet")]
impl Horizon {
    /// Tells whether there is one: what looks back for ever is no evidence that could be kept.
    pub(in crate::circuit) fn is_bounded(self) -> bool {
        self.calls < u64::MAX && self.age < Duration::MAX
    }

    pub(crate) const fn wants_successes(self) -> bool {
        !self.failures_only
    }

    pub(in crate::circuit) fn save(self, out: &mut Writer) {
        out.u64(self.calls);
        out.u64(crate::time::nanos(self.age));
        out.u8(u8::from(self.failures_only));
    }

    pub(in crate::circuit) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let calls = from.u64()?;
        let age = match from.u64()? {
            u64::MAX => Duration::MAX,
            nanos => Duration::from_nanos(nanos),
        };
        Ok(Self { calls, age, failures_only: from.u8()? != 0 })
    }
}

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
    /// How long they took, where somebody asked for it.
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

    /// Shows a detector its calls. Bytes may claim any number of them: beyond a million that end in one moment, a few more
    /// change no verdict.
    pub(in crate::circuit) fn show(self, detector: &mut dyn Detector) {
        const MOST: u64 = 1 << 20;
        if self.failed || self.took.is_some() {
            let call = if self.failed { Call::failure(self.ended) } else { Call::success(self.ended) };
            (0..self.count.min(MOST)).for_each(|_| detector.record(&call.took(self.took)));
        } else {
            detector.record_successes(self.count, self.ended);
        }
    }
}

/// Outcomes with their times: what several observers of one dependency put together to judge it as one.
///
/// It is a multiset ordered by time, so merging is commutative and associative: batches of any writers, in any order
/// and any partition, give the same evidence and, replayed into a detector, the same verdict. What nobody looks at any
/// more is trimmed. Merging the same batch twice counts it twice; whoever moves batches sees to that.
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
    pub(in crate::circuit) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many runs it holds.
    #[cfg(feature = "fleet")]
    pub(in crate::circuit) fn len(&self) -> usize {
        self.runs.len()
    }

    /// How many calls it holds.
    #[cfg(feature = "fleet")]
    pub(in crate::circuit) fn calls(&self) -> u64 {
        self.runs.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Puts times on a coarser grid until it holds at most `most` runs; a call may become older by that, never younger.
    /// The grids are nested, so it does not matter how often, and between which merges, this is done.
    #[cfg(feature = "fleet")]
    pub(in crate::circuit) fn coarsen(&mut self, most: usize) {
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
    pub(in crate::circuit) fn at_times(&self, f: impl Fn(Timestamp) -> Timestamp) -> Self {
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
        for run in self.runs() {
            out.u64(run.ended.as_nanos());
            out.u8(u8::from(run.failed));
            out.u64(run.took.map_or(u64::MAX, crate::time::nanos));
            out.u64(run.count);
        }
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
        for _ in 0..from.count(25)? {
            let (ended, failed) = (Timestamp::from_nanos(from.u64()?), from.u8()? != 0);
            let took = Some(from.u64()?).filter(|n| *n < u64::MAX).map(Duration::from_nanos);
            evidence.add(Run { ended, failed, took, count: from.u64()? });
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
