//! Outcomes with their times, to be merged with those of others.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Horizon;
use super::bounds::Bounds;
use super::codec::{Kind, LoadError, Reader, Writer};
use super::detector::Detector;
use super::mixing::Mixed;
use super::run::Run;
use crate::time::Timestamp;

/// Outcomes with their times. Several observers of one dependency put them together to judge it as one.
///
/// It is a multiset ordered by time, so merging is commutative and associative: batches of any writers, in any order
/// and any partition, give the same evidence and, replayed into a detector, the same verdict. What no detector looks at any
/// more is trimmed. Merging the same batch twice counts it twice; the code that moves batches sees to that.
///
/// In which order the calls of one moment ended is not known: a coarse clock puts many into one, and one that stands still
/// all. A replay mixes them evenly. No stretch of it has a larger share of failures than its calls had, but for one call;
/// slow calls are spread in the same way, over those that failed and over those that did not.
///
/// ```
/// use fusebox::{clock::Timestamp, detect::{self, Call, Detector, Evidence, Run}};
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
    runs: BTreeMap<Key, u64>,
}

/// Ended, failed, took.
type Key = (Timestamp, bool, Option<Duration>);

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

    /// Forgets what lies beyond the horizon at `now`. The calls of one moment stay or go together: which of them came
    /// last is not known, and more of them may be on their way.
    ///
    /// ```
    /// use fusebox::{clock::Timestamp, detect::{Call, Evidence, Horizon, Run}};
    ///
    /// let at = Timestamp::from_nanos;
    /// let mut evidence = Evidence::default();
    /// evidence.add(Run::new(&Call::failure(at(0)), 1));
    /// evidence.add(Run::new(&Call::failure(at(10)), 5));
    /// evidence.add(Run::new(&Call::success(at(20)), 2));
    /// evidence.trim(Horizon::calls(3), at(30));
    /// let left: Vec<_> = evidence.runs().map(|run| (run.failed, run.count)).collect();
    /// assert_eq!(left, [(true, 5), (false, 2)], "the newest three calls, and those of the same moments");
    /// ```
    pub fn trim(&mut self, horizon: Horizon, now: Timestamp) {
        let oldest = self.oldest_within(horizon, now);
        self.runs = oldest.map_or_else(BTreeMap::new, |oldest| self.runs.split_off(&(oldest, false, None)));
    }

    /// When the oldest calls ended that are within the horizon at `now`.
    fn oldest_within(&self, horizon: Horizon, now: Timestamp) -> Option<Timestamp> {
        let (mut oldest, mut seen) = (None, 0_u64);
        for (&(ended, ..), &count) in self.runs.iter().rev() {
            if seen >= horizon.calls && now.since(ended) >= horizon.age {
                break;
            }
            oldest = Some(ended);
            seen = seen.saturating_add(count);
        }
        oldest
    }

    /// The runs it holds, by time, successes first. It is not the order of a [replay](Self::replay), which mixes the
    /// calls of one moment.
    pub fn runs(&self) -> impl Iterator<Item = Run> + '_ {
        self.runs.iter().map(Self::run)
    }

    /// The calls in the order in which they are shown to a detector with that horizon.
    pub(crate) fn in_order(&self, horizon: Horizon) -> impl Iterator<Item = Run> + '_ {
        let mut bounds = Bounds::of(self.runs(), horizon);
        let mut from = Timestamp::ZERO;
        if bounds.are_exceeded() {
            // What the detector does not look at must not stand for what it does.
            let newest = self.runs.last_key_value().map_or(from, |(&(ended, ..), _)| ended);
            from = self.oldest_within(horizon, newest).unwrap_or(newest);
            bounds = Bounds::of(self.runs_since(from), horizon);
        }
        Mixed::new(bounds.hold(self.runs_since(from)))
    }

    fn runs_since(&self, from: Timestamp) -> impl Iterator<Item = Run> + '_ {
        self.runs.range((from, false, None)..).map(Self::run)
    }

    fn run((&(ended, failed, took), &count): (&Key, &u64)) -> Run {
        Run { ended, failed, took, count }
    }

    /// Resets the detector and shows it every call. The oldest comes first, and those of one moment are evenly mixed.
    ///
    /// Bytes may claim any number of calls, and a replay must not take long. So of the calls that failed or were slow
    /// no more are shown than a detector can tell apart: 131,072, or as many as the window is long where that is more.
    /// They are picked evenly from those that the detector looks at, and as large a part of the successes is shown:
    /// these in bulk, and no more than 67 million.
    ///
    /// ```
    /// use fusebox::{clock::Timestamp, detect::{self, Call, Detector, Evidence, Run}};
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
        let horizon = detector.horizon();
        self.in_order(horizon).for_each(|run| run.show(detector));
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
    /// use fusebox::{clock::Timestamp, detect::{Call, Evidence, Run}};
    ///
    /// let mut evidence = Evidence::default();
    /// evidence.add(Run::new(&Call::failure(Timestamp::from_nanos(10)), 3));
    /// let bytes = evidence.save(); // into a file, a cache, a message
    /// assert_eq!(Evidence::load(&bytes)?, evidence);
    /// assert!(Evidence::load(&bytes[1..]).is_err());
    /// # Ok::<(), fusebox::detect::LoadError>(())
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
    use crate::circuit::Call;
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
