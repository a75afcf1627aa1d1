//! Evidence is a multiset: who brings it, in which order and how many at a time does not matter.

use super::*;
use crate::circuit::detector::{consecutive_failures, failure_rate, slow_call_rate};

/// One call: the time since the one before in ms, failed, slow.
type Made = (u64, bool, bool);

/// The built-in detectors; with `calm` thresholds hardly anything trips.
fn detectors(calm: bool) -> Vec<Box<dyn Detector>> {
    let (n, rate) = if calm { (60, 1.0) } else { (4, 0.5) };
    let slow = || slow_call_rate(rate).slower_than(ms(5_000));
    vec![
        Box::new(failures(n).within(ms(300))),
        Box::new(failures(n).of_last(64)),
        Box::new(failure_rate(rate).of_last(20).min_calls(12)),
        Box::new(failure_rate(rate).within(ms(700)).min_calls(12)),
        Box::new(slow().of_last(20).min_calls(12)),
        Box::new(consecutive_failures(n)),
        Box::new(failures(n).within(ms(900)).and(failure_rate(rate).of_last(12))),
        Box::new(failures(n).within(ms(900)).or(slow().of_last(30).min_calls(12))),
    ]
}

fn runs(made: &[Made]) -> Vec<Run> {
    let mut time = 0;
    let run = |(gap, is_failed, is_slow): &Made| {
        time += gap;
        let ended = at(time);
        match (is_failed, is_slow) {
            (false, true) => slow(ended),
            (is_failed, _) => run(ended, *is_failed),
        }
    };
    made.iter().map(run).collect()
}

/// Every call is younger than what counts as fresh.
fn calls() -> impl Strategy<Value = Vec<Made>> {
    prop::collection::vec((1_u64..20, any::<bool>(), any::<bool>()), 1..90)
}

fn split(runs: &[Run], writers: &[usize]) -> Vec<Vec<Run>> {
    let mut parts = vec![Vec::new(); 5];
    for (run, writer) in runs.iter().zip(writers) {
        parts[*writer].push(*run);
    }
    parts
}

fn end(runs: &[Run]) -> Timestamp {
    runs.last().map_or(at(0), |run| run.ended)
}

proptest! {
    /// One after another, as long as none of them opens the circuit.
    #[test]
    fn any_order_and_partition_of_the_same_calls_leave_the_same_evidence(
        made in calls(),
        writers in prop::collection::vec(0_usize..5, 90),
        order in Just((0_usize..5).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let runs = runs(&made);
        for (detector, again) in detectors(true).into_iter().zip(detectors(true)) {
            let (mut one, mut other) = (Instance::new(1, detector), Instance::new(2, again));
            let (mut whole, mut parts) = (Shared::at(end(&runs)), Shared::at(end(&runs)));
            let all = one.batch(&whole.record, &runs);
            let mut opened = whole.merge(&mut one, &[all], &[]).began;
            let split = split(&runs, &writers);
            for writer in &order {
                let batch = other.batch(&parts.record, &split[*writer]);
                opened |= parts.merge(&mut other, &[batch], &[]).began;
            }
            if !opened {
                prop_assert_eq!(&whole.record.evidence, &parts.record.evidence, "{}", one.detector().rule());
            }
        }
    }

    /// The instance that combines merges all that waits at once: then even the verdict knows no order.
    #[test]
    fn batches_combined_in_one_round_make_one_record_in_any_order_and_partition(
        made in calls(),
        writers in prop::collection::vec(0_usize..5, 90),
        order in Just((0_usize..5).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let runs = runs(&made);
        for (detector, again) in detectors(false).into_iter().zip(detectors(false)) {
            let (mut one, mut other) = (Instance::new(1, detector), Instance::new(1, again));
            let (mut whole, mut parts) = (Shared::at(end(&runs)), Shared::at(end(&runs)));
            let all = one.batch(&whole.record, &runs);
            whole.merge(&mut one, &[all], &[]);
            let split = split(&runs, &writers);
            // Without a call in it, a batch asks for a verdict as things stand.
            let parts_of = order.iter().map(|writer| &split[*writer]).filter(|part| !part.is_empty());
            let batches: Vec<_> = parts_of.map(|part| other.batch(&parts.record, part)).collect();
            parts.merge(&mut other, &batches, &[]);
            prop_assert_eq!(whole.record, parts.record, "{}", one.detector().rule());
        }
    }

    /// Fresh calls are judged each in its place, after failures and slow calls only.
    #[test]
    fn a_batch_of_fresh_calls_is_judged_as_by_one_observer_call_by_call(made in calls()) {
        let runs = runs(&made);
        for (mut observer, detector) in detectors(false).into_iter().zip(detectors(false)) {
            let mut trips = false;
            for run in &runs {
                run.show(&mut *observer);
                trips |= (run.failed || run.took.is_some()) && observer.verdict(run.ended);
            }
            let (mut shared, mut one) = (Shared::at(end(&runs)), Instance::new(1, detector));
            let batch = one.batch(&shared.record, &runs);
            let merged = shared.merge(&mut one, &[batch], &[]);
            prop_assert_eq!(merged.began, trips, "{}", observer.rule());
            prop_assert_eq!(shared.record.state() == State::Open, trips);
        }
    }

    /// More calls can only bring a number of failures nearer, so no order of arrival hides one.
    #[test]
    fn a_number_of_failures_within_a_time_opens_in_every_order_or_in_none(
        made in calls(),
        writers in prop::collection::vec(0_usize..5, 90),
        order in Just((0_usize..5).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let runs = runs(&made);
        let detector = || Box::new(failures(4).within(ms(60)));
        let (mut one, mut other) = (Instance::new(1, detector()), Instance::new(2, detector()));
        let (mut whole, mut parts) = (Shared::at(end(&runs)), Shared::at(end(&runs)));
        for run in &runs {
            let batch = one.batch(&whole.record, &[*run]);
            whole.merge(&mut one, &[batch], &[]);
        }
        let split = split(&runs, &writers);
        let generation = parts.record.clone();
        for writer in &order {
            let batch = other.batch(&generation, &split[*writer]);
            parts.merge(&mut other, &[batch], &[]);
        }
        prop_assert_eq!(whole.record.state(), parts.record.state());
    }
}

#[test]
fn a_rate_is_not_judged_after_successes() {
    let detector = failure_rate(0.5).of_last(10).min_calls(5);
    let calls: Vec<_> = (0..5).map(|n| run(at(n), n < 3)).collect();
    for batches in [vec![&calls[..]], vec![&calls[3..], &calls[..3]], vec![&calls[..3], &calls[3..]]] {
        let mut one = Instance::new(1, Box::new(detector.clone()));
        let mut shared = Shared::at(at(5));
        for batch in batches {
            let batch = one.batch(&shared.record, batch);
            shared.merge(&mut one, &[batch], &[]);
        }
        assert_eq!(shared.record.state(), State::Closed, "three of five failed, but the fifth was no failure");
    }
}

/// Failures came last among the calls of a moment, all in a row.
#[test]
fn a_clock_that_stands_still_puts_no_failures_in_a_row() {
    let calls: Vec<_> = (0..40).flat_map(|_| [failed(at(1)), fine(at(1)), fine(at(1))]).collect();
    let rules: [Box<dyn Detector>; 2] = [Box::new(consecutive_failures(3)), Box::new(failures(2).of_last(2))];
    for detector in rules {
        let mut one = Instance::new(1, detector);
        let mut shared = Shared::at(at(5));
        let batch = one.batch(&shared.record, &calls);
        shared.merge(&mut one, &[batch], &[]);
        assert_eq!(shared.record.state(), State::Closed, "{:?}", one.detector());
    }
}

/// In any order of its calls there is a part of a moment that has more failures than the whole.
#[test]
fn calls_of_one_moment_are_judged_together() {
    for (bad, state) in [(5, State::Closed), (6, State::Open)] {
        let mut one = Instance::new(1, Box::new(failure_rate(0.5).of_last(20).min_calls(5)));
        let mut shared = Shared::at(at(5));
        let calls: Vec<_> = (0..11).map(|n| run(at(1), n < bad)).collect();
        let batch = one.batch(&shared.record, &calls);
        shared.merge(&mut one, &[batch], &[]);
        assert_eq!(shared.record.state(), state, "{bad} of eleven");
    }
}

#[test]
fn what_comes_late_opens_only_what_would_still_be_open_to_doubt() {
    let detector = || Box::new(failures(3).of_last(5));
    let old: Vec<_> = (0..3).map(|n| failed(at(n))).collect();
    for (since, state) in [(2, State::Open), (3, State::Closed)] {
        let mut one = Instance::new(1, detector());
        let mut shared = Shared::at(at(10_000));
        let since: Vec<_> = (0..since).map(|n| fine(at(9_000 + n))).collect();
        let batches = [one.batch(&shared.record, &since), one.batch(&shared.record, &old)];
        shared.merge(&mut one, &batches, &[]);
        assert_eq!(shared.record.state(), state, "{} successes since", since.len());
    }
}

#[test]
fn no_clock_is_ahead_of_the_stores() {
    let mut one = Instance::new(1, patient());
    let mut shared = Shared::at(at(5));
    let batch = one.batch(&shared.record, &[failed(at(70_000))]);
    shared.merge(&mut one, &[batch], &[]);
    assert_eq!(shared.record.evidence[0].calls.runs(), [failed(at(5))]);
}

#[test]
fn a_number_of_calls_that_nobody_can_have_made_is_judged_at_once() {
    let mut one = Instance::new(1, Box::new(failures(5).within(ms(60_000))));
    let mut shared = Shared::at(at(5));
    let many = Run { count: u64::MAX, ..failed(at(1)) };
    let batch = one.batch(&shared.record, &[many]);
    shared.merge(&mut one, &[batch], &[]);
    assert_eq!(shared.record.state(), State::Open);
}
