//! In which order, and how many of them, calls are shown to a detector when only their moments are known.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::iter::Peekable;
use std::time::Duration;

use super::Horizon;
use super::run::Run;
use super::window::CountWindow;
use crate::time::Timestamp;

/// Bad calls that may be shown to any detector: twice as many failures as a rule by time can ask for, so that there are
/// enough also when some of them have become too old.
const LEAST_SHOWN: u64 = 1 << 17;
/// Bad calls that are shown to a detector that looks back over so many: no window by number is longer. One that looks back
/// further does not say how far.
const MOST_SHOWN: u64 = CountWindow::MAX_SIZE as u64;
/// Successes that are shown: in bulk, unless a detector of a user's own takes them one by one. Beside so many, the bad calls
/// that are shown reach no rate that a rule would ask for, however many more successes there are.
const MOST_SUCCESSES: u64 = 1 << 26;

/// How many calls are shown of those that there are. Counts come from bytes, which may claim any number.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    bad: Thinning,
    good: Thinning,
}

impl Bounds {
    /// For a detector with that horizon.
    pub(crate) fn of(runs: impl Iterator<Item = Run>, horizon: Horizon) -> Self {
        let (mut bad, mut good) = (0_u128, 0_u128);
        runs.for_each(|run| *(if run.is_bad() { &mut bad } else { &mut good }) += u128::from(run.count));
        let tells_apart = Some(horizon.calls).filter(|calls| *calls <= MOST_SHOWN);
        let bad = Thinning::new(bad, tells_apart.unwrap_or(0).max(LEAST_SHOWN).into());
        // The share of bad calls stays what it is.
        let as_thin = bad.part_of(good);
        Self { bad, good: Thinning::new(good, as_thin.min(MOST_SUCCESSES.into())) }
    }

    /// Tells whether not all are shown.
    pub(crate) const fn are_exceeded(&self) -> bool {
        self.bad.is_thin() || self.good.is_thin()
    }

    /// Leaves of the runs as much as is shown.
    pub(crate) fn hold(mut self, runs: impl Iterator<Item = Run>) -> impl Iterator<Item = Run> {
        runs.filter_map(move |run| {
            let of_kind = if run.is_bad() { &mut self.bad } else { &mut self.good };
            let count = of_kind.thin(run.count);
            (count > 0).then_some(Run { count, ..run })
        })
    }
}

/// Lets an even part of the calls through that come by.
#[derive(Clone, Debug)]
struct Thinning {
    all: u128,
    shown: u128,
    seen: u128,
}

impl Thinning {
    fn new(all: u128, most: u128) -> Self {
        Self { all, shown: all.min(most), seen: 0 }
    }

    const fn is_thin(&self) -> bool {
        self.shown < self.all
    }

    /// As large a part of others.
    fn part_of(&self, others: u128) -> u128 {
        if self.is_thin() { others.saturating_mul(self.shown) / self.all } else { others }
    }

    fn thin(&mut self, count: u64) -> u64 {
        let before = self.part_of(self.seen);
        self.seen += u128::from(count);
        u64::try_from(self.part_of(self.seen) - before).unwrap_or(count)
    }
}

/// Runs by time, those of one moment evenly mixed.
#[derive(Debug)]
pub(crate) struct Mixed<I: Iterator<Item = Run>> {
    runs: Peekable<I>,
    moment: Moment,
}

impl<I: Iterator<Item = Run>> Mixed<I> {
    /// Mixes runs that come by time, and whose counts are within [`Bounds`].
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
    use crate::circuit::{Call, Detector, Evidence, LoadError, Tally};
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
    #[derive(Debug, Default)]
    struct Scribe {
        calls: Vec<(bool, bool)>,
    }

    /// Counts what it is asked to do: how many calls singly, how many successes in how many bulks.
    #[derive(Debug, Default)]
    struct Counter {
        singly: u64,
        bulks: u64,
        successes: u64,
        horizon: Option<Horizon>,
    }

    macro_rules! counts_for_itself {
        () => {
            fn verdict(&self, _now: Timestamp) -> bool {
                false
            }

            fn reset(&mut self) {}

            fn tally(&self, _now: Timestamp) -> Tally {
                Tally::failures(0)
            }

            fn save(&self) -> Vec<u8> {
                Vec::new()
            }

            fn load(&mut self, _bytes: &[u8]) -> Result<(), LoadError> {
                Ok(())
            }
        };
    }

    impl Detector for Scribe {
        fn record(&mut self, call: &Call) {
            self.calls.push((call.failed(), call.duration().is_some()));
        }

        counts_for_itself!();
    }

    impl Detector for Counter {
        fn record(&mut self, _call: &Call) {
            self.singly += 1;
        }

        fn record_successes(&mut self, count: u64, _at: Timestamp) {
            self.bulks += 1;
            self.successes += count;
        }

        fn horizon(&self) -> Horizon {
            self.horizon.unwrap_or_else(Horizon::everything)
        }

        counts_for_itself!();
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

    /// Bytes that claim any number of calls, each in as many ways as there is room for.
    #[test]
    fn a_replay_of_what_bytes_claim_is_bounded() {
        let calls = |n: u64, at_once: bool| {
            let at = |i: u64| if at_once { 7 } else { i };
            let took = |i: u64| (!i.is_multiple_of(3)).then(|| Duration::from_nanos(i));
            of((0..n).map(|i| Run { took: took(i), ..moment(at(i), i.is_multiple_of(2), false, u64::MAX - i) }))
        };
        for (claims, at_once) in [(2_600, true), (2_600, false), (1, true), (2, true), (104, true)] {
            let evidence = Evidence::load(&calls(claims, at_once).save()).expect("its own bytes");
            for (horizon, most) in [
                (Horizon::calls(100), 1 << 17),
                (Horizon::age(Duration::from_secs(60)), 1 << 17),
                (Horizon::calls(1 << 20), 1 << 20),
                (Horizon::everything(), 1 << 17),
            ] {
                let mut counter = Counter { horizon: Some(horizon), ..Counter::default() };
                evidence.replay(&mut counter);
                let Counter { singly, bulks, successes, .. } = counter;
                assert!((1..=most).contains(&singly), "{singly} calls singly of {claims} claims, {horizon:?}");
                assert!(bulks <= singly + claims, "{bulks} bulks");
                assert!(successes <= 1 << 26, "{successes} successes");
            }
        }
    }

    /// What is shown stands for all that the detector looks at, and for nothing else.
    #[test]
    fn of_too_many_calls_those_that_are_shown_have_the_share_of_all() {
        let (minute, million) = (Duration::from_secs(60), 1_000_000);
        // Two thirds of the calls of an hour ago failed, a tenth of those of the last minute.
        let of_hour_ago = [moment(0, true, false, 400 * million), moment(0, false, false, 200 * million)];
        let of_second = |at| [moment(at, true, false, million), moment(at, false, false, 9 * million)];
        let evidence = of(of_hour_ago.into_iter().chain((3_600..3_650).flat_map(of_second)));
        let now = moment(3_650, true, false, 1).ended;
        for (rate, trips) in [(0.09, true), (0.11, false)] {
            let mut within = detect::failure_rate(rate).within(minute);
            evidence.replay(&mut within);
            assert_eq!(within.verdict(now), trips, "{}", within.tally(now));
            let mut last = detect::failure_rate(rate).of_last(1_000);
            evidence.replay(&mut last);
            assert_eq!(last.verdict(now), trips, "{}", last.tally(now));
        }
        for most in [5, 1 << 16] {
            let mut failures = detect::failures(most).within(minute);
            evidence.replay(&mut failures);
            assert!(failures.verdict(now), "{}", failures.tally(now));
        }
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
