//! A detector of a user's own, which only an instance of its rule can ask: all outcomes are told each flush interval, and
//! judged in order as of two intervals ago.
#![expect(clippy::cast_possible_truncation, reason = "there are a handful of writers")]

use super::*;
use crate::replica::pooled::samples::telling;

/// Twice the flush interval of these tests.
const LAG: u64 = 2_000;

fn runs_of(made: &[bool]) -> Vec<Run> {
    (0..).zip(made).map(|(n, failed)| run(at(n * 10), *failed)).collect()
}

fn never() -> Order31 {
    Order31 { most: u64::MAX, ..Order31::default() }
}

/// What a detector of the rule is shown next, and has been shown: found out by letting one trip at its first failure.
fn shown(shared: &Shared, rule: u64) -> Vec<u8> {
    let mut evidence = shared.record.evidence_of(rule).expect("evidence").clone();
    let mut detector = never();
    evidence.judge_by(&mut detector, at(10_000_000), Duration::ZERO);
    detector.save()
}

proptest! {
    /// Instances tell whatever they have whenever they like: the detector sees the calls of all in the order of time.
    #[test]
    fn calls_are_shown_in_order_of_time_however_many_at_a_time(
        made in prop::collection::vec(any::<bool>(), 1..60),
        writers in prop::collection::vec(1_u64..4, 60),
        chunks in prop::collection::vec((1_u64..4, 1_usize..9), 0..20),
    ) {
        let runs = runs_of(&made);
        let mut expected = never();
        runs.iter().for_each(|run| run.show(&mut expected));
        let mut instances: Vec<_> = (0..4).map(|writer| Instance::new(writer, Box::new(never()))).collect();
        // All arrive within the time for which calls wait.
        let mut shared = Shared::at(at(600));
        let mut waiting: Vec<Vec<Run>> = (0..4).map(|of| {
            runs.iter().zip(&writers).filter(|(_, writer)| **writer == of).map(|(run, _)| *run).collect()
        }).collect();
        for (writer, count) in chunks.into_iter().chain((1..4).map(|writer| (writer, 60))) {
            let waiting = &mut waiting[writer as usize];
            let told: Vec<_> = waiting.drain(..count.min(waiting.len())).collect();
            let batch = instances[writer as usize].batch(&shared.record, &told);
            shared.merge(&mut instances[0], &[batch], &[]);
        }
        let rule = instances[0].rule;
        prop_assert_eq!(shown(&shared, rule), expected.save());
    }

    /// It trips at the failure that makes it trip, not on what comes behind; not before two intervals have passed.
    #[test]
    fn it_is_judged_after_each_failure_two_intervals_later(made in prop::collection::vec(any::<bool>(), 1..40)) {
        let detector = Order31 { most: 3, ..Order31::default() };
        let runs = runs_of(&made);
        let mut observer = detector.clone();
        let trips = runs.iter().find_map(|run| {
            run.show(&mut observer);
            (run.failed && observer.verdict(run.ended)).then(|| (run.ended, observer.tally(run.ended)))
        });
        let (mut one, mut other) =
            (Instance::new(1, Box::new(detector.clone())), Instance::new(2, Box::new(detector)));
        let end = runs.last().map_or(at(0), |run| run.ended);
        let mut shared = Shared::at(end);
        for (nth, run) in runs.iter().enumerate() {
            let by = if nth % 2 == 0 { &mut one } else { &mut other };
            let batch = by.batch(&shared.record, &[*run]);
            shared.merge(by, &[batch], &[]);
        }
        prop_assert_eq!(shared.record.state(), State::Closed, "nothing is old enough");
        shared.now = trips.map_or(end, |(at, _)| at) + ms(LAG);
        shared.merge(&mut one, &[], &[]);
        prop_assert_eq!(shared.record.state() == State::Open, trips.is_some() && runs.len() > 1);
        if runs.len() > 1 {
            prop_assert_eq!(shared.record.verdict.map(|verdict| (verdict.at, verdict.tally)), trips);
        }
    }
}

#[test]
fn an_instances_own_detector_sees_its_own_calls_only() {
    let (mut one, mut other) = (Instance::new(1, Box::new(never())), Instance::new(2, Box::new(never())));
    let mut shared = Shared::new();
    shared.commit(&mut one, &[]);
    shared.commit(&mut other, &[]);
    let mut own = never();
    for n in 0..5 {
        shared.now = at(n * 1_000);
        one.call(Outcome::Failure, shared.now);
        own.record(&Call::failure(shared.now));
        shared.commit(&mut one, &[]);
        other.call(Outcome::Success, shared.now);
        shared.commit(&mut other, &[]);
    }
    assert_eq!(one.detector().save(), own.save(), "although it has judged the calls of both");
}

#[test]
fn bytes_that_another_release_of_it_wrote_mean_that_it_begins_anew() {
    let mut one = Instance::new(1, Box::new(never()));
    let mut shared = Shared::at(at(5_000));
    let mut other = Instance::new(2, Box::new(Wordy));
    // A detector of the same words in another release.
    other.replica.state.outbox.untold.rule = one.rule;
    let batch = other.batch(&shared.record, &[failed(at(1_000))]);
    let batch = Batch::load(&batch).expect("its own bytes");
    let telling = batch.telling.expect("a failure");
    let (evidence, _) = shared.record.evidence_mut(&telling, at(5_000));
    evidence.rule = one.rule;
    evidence.take_in(&telling, at(5_000));
    evidence.judge_by(&mut Wordy, at(5_000), ms(LAG));
    let batch = one.batch(&shared.record, &[fine(at(4_000)), failed(at(4_001))]);
    shared.merge(&mut one, &[batch], &[]);
    let mut expected = never();
    for call in [Call::success(at(4_000)), Call::failure(at(4_001))] {
        expected.record(&call);
    }
    assert_eq!(shown(&shared, one.rule), expected.save());
}

/// An instance of another rule brings the calls, and cannot judge them; one of the rule is to look when they are due.
#[test]
fn an_instance_of_the_rule_sees_to_a_verdict_that_no_other_can_reach() {
    let detector = || Box::new(Order31 { most: 2, ..Order31::default() });
    let (mut one, same, mut other) =
        (Instance::new(1, detector()), Instance::new(2, detector()), Instance::new(3, patient()));
    let mut shared = Shared::at(at(100));
    let batches = [one.batch(&shared.record, &[failed(at(90))]), same.batch(&shared.record, &[failed(at(91))])];
    shared.merge(&mut other, &batches, &[]);
    assert!(!one.poll(&mut shared), "they are to wait");
    shared.now = at(91 + LAG);
    shared.merge(&mut other, &[], &[]);
    assert_eq!(shared.record.state(), State::Closed, "another rule does not judge them");
    assert!(one.poll(&mut shared));
    assert_eq!(shared.record.state(), State::Open);
}

/// A fleet of one is the breaker: no call of another can still be told.
#[test]
fn where_no_other_instance_is_known_its_own_word_counts_at_once() {
    let mut one = Instance::new(1, Box::new(Order31 { most: 2, ..Order31::default() }));
    let mut shared = Shared::new();
    shared.commit(&mut one, &[]);
    for n in 1..=2 {
        assert_eq!(shared.record.state(), State::Closed);
        one.call(Outcome::Failure, at(100 + n));
        shared.now = at(101 + n);
        shared.commit(&mut one, &[]);
    }
    assert_eq!(shared.record.state(), State::Open);
}

/// A breaker to which nothing happens costs nothing.
#[test]
fn what_was_judged_is_not_due_for_ever() {
    let detector = || Box::new(Order31 { most: 2, ..Order31::default() });
    let (mut one, mut other) = (Instance::new(1, detector()), Instance::new(2, detector()));
    let mut shared = Shared::new();
    shared.commit(&mut one, &[]);
    shared.commit(&mut other, &[]);
    // It is known, and has no call yet.
    let nothing = telling(2, &*detector(), [], at(50));
    shared.record.evidence_mut(&nothing, at(50)).0.take_in(&nothing, at(50));
    // Alone it trips, but a call of another comes between.
    one.call(Outcome::Failure, at(100));
    one.call(Outcome::Failure, at(102));
    shared.now = at(103);
    shared.commit(&mut one, &[]);
    let batch = other.batch(&shared.record, &[fine(at(101)), fine(at(101))]);
    shared.merge(&mut other, &[batch], &[]);
    shared.now = at(102 + LAG);
    shared.merge(&mut one, &[], &[]);
    assert_eq!(shared.record.state(), State::Closed);
    let due = shared.record.evidence_of(one.rule).and_then(|evidence| evidence.opaque_due(ms(LAG)));
    assert_eq!(due, None, "all that was told is judged");
}

/// A detector whose bytes no other one can load.
#[derive(Clone, Debug)]
struct Wordy;

impl Detector for Wordy {
    fn record(&mut self, _call: &Call) {}

    fn verdict(&self, _now: Timestamp) -> bool {
        false
    }

    fn reset(&mut self) {}

    fn tally(&self, _now: Timestamp) -> Tally {
        Tally::failures(0)
    }

    fn save(&self) -> Vec<u8> {
        vec![1, 2, 3]
    }

    fn load(&mut self, _bytes: &[u8]) -> Result<(), LoadError> {
        Ok(())
    }
}
