//! How many calls are shown to a detector of those that bytes claim.

use super::Horizon;
use super::run::Run;
use super::window::CountWindow;

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::circuit::detector::never_trips;
    use crate::circuit::detector::{Call, Detector, Evidence};
    use crate::detect;
    use crate::time::Timestamp;

    /// So many calls that ended so, at that second.
    fn calls(second: u64, failed: bool, n: u64) -> Run {
        let ended = Timestamp::from_nanos(second * 1_000_000_000);
        Run::new(&if failed { Call::failure(ended) } else { Call::success(ended) }, n)
    }

    fn of(runs: impl Iterator<Item = Run>) -> Evidence {
        let mut evidence = Evidence::default();
        runs.for_each(|run| evidence.add(run));
        evidence
    }

    /// Counts what it is asked to do: how many calls singly, how many successes in how many bulks.
    #[derive(Clone, Debug, Default)]
    struct Counter {
        singly: u64,
        bulks: u64,
        successes: u64,
        horizon: Option<Horizon>,
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

        fn save(&self) -> Vec<u8> {
            Vec::new()
        }

        never_trips!();
    }

    /// Bytes that claim any number of calls, each in as many ways as there is room for.
    #[test]
    fn a_replay_of_what_bytes_claim_is_bounded() {
        let claimed = |n: u64, at_once: bool| {
            let at = |i: u64| if at_once { 7 } else { i };
            let took = |i: u64| (!i.is_multiple_of(3)).then(|| Duration::from_nanos(i));
            of((0..n).map(|i| Run { took: took(i), ..calls(at(i), i.is_multiple_of(2), u64::MAX - i) }))
        };
        for (claims, at_once) in [(2_600, true), (2_600, false), (1, true), (2, true), (104, true)] {
            let evidence = Evidence::load(&claimed(claims, at_once).save()).expect("its own bytes");
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

    /// A detector of a user's own takes successes one by one, so they are bounded also where hardly a call was bad.
    #[test]
    fn successes_beyond_number_are_bounded_beside_one_failure() {
        let mut counter = Counter::default();
        of([calls(1, true, 1), calls(2, false, u64::MAX), calls(3, false, u64::MAX)].into_iter()).replay(&mut counter);
        assert_eq!(counter.singly, 1);
        assert!((1 << 20..=1 << 26).contains(&counter.successes), "{} successes", counter.successes);
    }

    /// What is shown stands for all that the detector looks at, and for nothing else.
    #[test]
    fn of_too_many_calls_those_that_are_shown_have_the_share_of_all() {
        let (minute, million) = (Duration::from_secs(60), 1_000_000);
        // Two thirds of the calls of an hour ago failed, a tenth of those of the last minute.
        let of_hour_ago = [calls(0, true, 400 * million), calls(0, false, 200 * million)];
        let of_second = |at| [calls(at, true, million), calls(at, false, 9 * million)];
        let evidence = of(of_hour_ago.into_iter().chain((3_600..3_650).flat_map(of_second)));
        let now = calls(3_650, true, 1).ended;
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
}
