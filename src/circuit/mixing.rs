//! In which order calls are shown to a detector when only their moments are known.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::iter::Peekable;
use std::time::Duration;

use super::run::Run;
use crate::time::Timestamp;

/// Runs by time, those of one moment evenly mixed.
#[derive(Debug)]
pub(crate) struct Mixed<I: Iterator<Item = Run>> {
    runs: Peekable<I>,
    moment: Moment,
}

impl<I: Iterator<Item = Run>> Mixed<I> {
    /// Mixes runs that come by time, and whose counts are within [`Bounds`](super::bounds::Bounds).
    pub(crate) fn new(runs: I) -> Self {
        Self { runs: runs.peekable(), moment: Moment::default() }
    }
}

impl<I: Iterator<Item = Run>> Iterator for Mixed<I> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        if let Some(run) = self.moment.next() {
            return Some(run);
        }
        let first = self.runs.next()?;
        let is_same = |run: &Run| run.ended == first.ended;
        if !self.runs.peek().is_some_and(is_same) {
            return Some(first);
        }
        self.moment = Moment { ended: first.ended, ..Moment::default() };
        self.moment.add(first);
        while let Some(run) = self.runs.next_if(is_same) {
            self.moment.add(run);
        }
        self.moment.next()
    }
}

/// Calls that ended at one time. Failures are spread over all others, as evenly as can be; slow calls that did not fail over
/// those that neither failed nor were slow.
#[derive(Debug, Default)]
struct Moment {
    ended: Timestamp,
    failed: Kinds,
    slow: Kinds,
    /// Successes that were not slow, and how many of them were shown.
    good: u64,
    shown: u64,
}

impl Moment {
    fn add(&mut self, run: Run) {
        match (run.failed, run.took) {
            (true, took) => self.failed.add(took, run.count),
            (false, Some(took)) => self.slow.add(Some(took), run.count),
            (false, None) => self.good += run.count,
        }
    }

    fn next(&mut self) -> Option<Run> {
        let rest = self.shown + self.slow.shown;
        let failure_at = self.failed.next_among(self.good + self.slow.all);
        let slow_at = self.slow.next_among(self.good);
        let (failed, took, count) = if rest >= failure_at && !self.failed.are_shown() {
            (true, self.failed.take(), 1)
        } else if self.shown >= slow_at && !self.slow.are_shown() {
            (false, self.slow.take(), 1)
        } else {
            let count = (slow_at - self.shown).min(failure_at - rest);
            self.shown += count;
            (false, None, count)
        };
        (count > 0).then_some(Run { ended: self.ended, failed, took, count })
    }
}

/// Calls that are spread over others, by how long they took.
#[derive(Debug, Default)]
struct Kinds {
    all: u64,
    shown: u64,
    kinds: BinaryHeap<Kind>,
}

impl Kinds {
    fn add(&mut self, took: Option<Duration>, count: u64) {
        self.all += count;
        self.kinds.push(Kind { took, count, shown: 0 });
    }

    const fn are_shown(&self) -> bool {
        self.shown == self.all
    }

    /// How many of the others come before the next of these. It is in the middle of its part of them, so that no moment
    /// begins or ends with more than half a call too many, and two that meet have no more than one.
    const fn next_among(&self, others: u64) -> u64 {
        if self.are_shown() { others } else { ((2 * self.shown + 1) * others + self.all) / (2 * self.all) }
    }

    /// Shows one; returns how long it took.
    fn take(&mut self) -> Option<Duration> {
        let mut next = self.kinds.peek_mut()?;
        self.shown += 1;
        next.shown += 1;
        let took = next.took;
        if next.shown == next.count {
            PeekMut::pop(next);
        }
        took
    }
}

/// Of one kind so many, of which so many were shown.
#[derive(Debug)]
struct Kind {
    took: Option<Duration>,
    count: u64,
    shown: u64,
}

/// The greatest is the one that is next: the middle of its next part comes first.
impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        let middle = |of: &Self, among: &Self| (2 * of.shown + 1) * among.count;
        middle(other, self).cmp(&middle(self, other)).then_with(|| other.took.cmp(&self.took))
    }
}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Kind {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::detector::never_trips;
    use crate::circuit::detector::{Call, Detector, Evidence};
    use crate::detect;
    use proptest::prelude::*;

    /// A second's moment of `n` calls that ended so.
    fn moment(at: u64, failed: bool, slow: bool, n: u64) -> Run {
        let at = Timestamp::from_nanos(at * 1_000_000_000);
        let call = if failed { Call::failure(at) } else { Call::success(at) };
        Run::new(&call.took(slow.then_some(Duration::from_secs(9))), n)
    }

    fn of(runs: impl IntoIterator<Item = Run>) -> Evidence {
        let mut evidence = Evidence::default();
        runs.into_iter().for_each(|run| evidence.add(run));
        evidence
    }

    /// Writes down which calls it is shown: failed, slow.
    #[derive(Clone, Debug, Default)]
    struct Scribe {
        calls: Vec<(bool, bool)>,
    }

    impl Detector for Scribe {
        fn record(&mut self, call: &Call) {
            self.calls.push((call.failed(), call.duration().is_some()));
        }

        fn save(&self) -> Vec<u8> {
            Vec::new()
        }

        never_trips!();
    }

    fn shown(evidence: &Evidence) -> Vec<(bool, bool)> {
        let mut scribe = Scribe::default();
        evidence.replay(&mut scribe);
        scribe.calls
    }

    /// The most calls of a kind that a stretch of the sequence has beyond its share in the whole, in parts of the whole's
    /// length, so that it is exact.
    fn excess(calls: &[bool]) -> i64 {
        let (len, kind) = (calls.len() as i64, calls.iter().filter(|is| **is).count() as i64);
        let (mut sum, mut least, mut most) = (0_i64, 0, 0);
        for is in calls {
            sum += if *is { len - kind } else { -kind };
            least = sum.min(least);
            most = most.max(sum - least);
        }
        most
    }

    /// Failures came last among the calls of a moment: of a clock that stands still, all in a row.
    #[test]
    fn a_clock_that_stands_still_puts_no_failures_in_a_row() {
        let mut evidence = Evidence::default();
        for _ in 0..40 {
            for failed in [true, false, false] {
                evidence.add(moment(7, failed, false, 1));
            }
        }
        let now = moment(7, true, false, 1).ended;
        let mut detectors: [Box<dyn Detector>; 3] = [
            Box::new(detect::consecutive_failures(3)),
            Box::new(detect::failures(2).of_last(2)),
            Box::new(detect::failure_rate(0.5).of_last(10)),
        ];
        for detector in &mut detectors {
            evidence.replay(&mut **detector);
            assert!(!detector.verdict(now), "{detector:?} {}", detector.tally(now));
        }
        let in_a_row = shown(&evidence).split(|(failed, _)| !failed).map(<[_]>::len).max();
        assert_eq!(in_a_row, Some(1));
    }

    proptest! {
        /// No stretch has more failures than its share, but for one; and the same goes for slow calls where none failed.
        #[test]
        fn calls_of_one_moment_are_evenly_mixed(
            (failed, slow_failed, slow, fine) in (0_u64..40, 0_u64..10, 0_u64..20, 0_u64..90),
            before in 0_u64..3, after in 0_u64..3,
        ) {
            let made = [(7, true, false, failed), (7, true, true, slow_failed), (7, false, true, slow), (7, false, false, fine)];
            let evidence = of(made.map(|(at, failed, slow, n)| moment(at, failed, slow, n)));
            let calls = shown(&evidence);
            for (_, is_failed, is_slow, n) in made {
                prop_assert_eq!(calls.iter().filter(|call| **call == (is_failed, is_slow)).count() as u64, n);
            }
            let failures: Vec<_> = calls.iter().map(|(failed, _)| *failed).collect();
            prop_assert!(excess(&failures) <= failures.len() as i64, "{:?}", failures);
            for begun in 0..=failures.len() {
                let of_part = |part: &[bool]| part.iter().filter(|failed| **failed).count() * failures.len();
                let (begin, end) = failures.split_at(begun);
                for part in [begin, end] {
                    let share = part.len() * failures.iter().filter(|failed| **failed).count();
                    prop_assert!(2 * of_part(part) <= 2 * share + failures.len(), "half a call: {:?}", failures);
                }
            }
            let rest: Vec<_> = calls.iter().filter(|(failed, _)| !failed).map(|(_, slow)| *slow).collect();
            prop_assert!(excess(&rest) <= rest.len() as i64, "{:?}", rest);
            let of_failures: Vec<_> = calls.iter().filter(|(failed, _)| *failed).map(|(_, slow)| *slow).collect();
            prop_assert!(excess(&of_failures) <= of_failures.len() as i64, "{:?}", of_failures);

            // Where moments like it follow one another, the same goes for stretches over several.
            let like_it = (0..=before + after).flat_map(|at| made.map(|(_, failed, slow, n)| moment(at, failed, slow, n)));
            let failures: Vec<_> = shown(&of(like_it)).iter().map(|(failed, _)| *failed).collect();
            prop_assert!(excess(&failures) <= failures.len() as i64, "{:?}", failures);
        }
    }
}
