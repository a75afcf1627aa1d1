//! Evidence of several instances in one record: who brings it, in which order and how many at a time does not matter.
#![expect(clippy::cast_possible_truncation, reason = "there are a handful of writers")]

use super::samples::{detectors, said, told};
use super::*;
use crate::circuit::detector::{consecutive_failures, failure_rate};

fn batch_of(record: &Record, telling: crate::replica::pooled::Telling) -> Vec<u8> {
    Batch { generation: record.generation(), telling: Some(telling), probes: Vec::new(), vote: None }.save()
}

proptest! {
    /// Each instance tells its calls in their order; instances come in any, and several at a time or one by one.
    #[test]
    fn any_order_and_partition_of_the_same_tellings_leave_the_same_evidence(
        told in told(),
        order in Just((0_usize..12).collect::<Vec<_>>()).prop_shuffle(),
        together in 1_usize..5,
    ) {
        for detector in detectors() {
            let record = Shared::new().record;
            let of = |writer: u64| told.iter().filter(move |told| told.0 == writer);
            let all = told.iter().map(|told| (told.0, batch_of(&record, said(told, &*detector, at(9_000), None))));
            let mut whole = Shared::at(at(9_000));
            let mut voter = Instance::voting(9, patient(), 9);
            whole.merge(&mut voter, &all.map(|(_, batch)| batch).collect::<Vec<_>>(), &[]);

            let mut waiting: Vec<Vec<_>> = (0..5).map(|writer| of(writer).collect()).collect();
            let mut arriving = Vec::new();
            for nth in order.iter().filter(|nth| **nth < told.len()) {
                let told = waiting[told[*nth].0 as usize].remove(0);
                arriving.push(batch_of(&record, said(told, &*detector, at(9_000), None)));
            }
            let mut parts = Shared::at(at(9_000));
            for batches in arriving.chunks(together) {
                parts.merge(&mut voter, batches, &[]);
            }
            prop_assert_eq!(&whole.record.evidence, &parts.record.evidence, "{}", detector.rule());
        }
    }

    /// More calls can only bring a number of failures nearer, so no order of arrival hides one.
    #[test]
    fn a_number_of_failures_within_a_time_opens_in_every_order_or_in_none(
        made in prop::collection::vec((1_u64..20, any::<bool>()), 1..90),
        writers in prop::collection::vec(1_u64..6, 90),
        order in Just((1_u64..6).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut time = 0;
        let runs: Vec<_> = made.iter().map(|(gap, bad)| { time += gap; run(at(time), *bad) }).collect();
        let detector = || Box::new(failures(4).within(ms(60)));
        let mut instances: Vec<_> = (0..6).map(|writer| Instance::new(writer, detector())).collect();
        let generation = Shared::new().record;
        let (mut in_order, mut parts) = (Shared::new(), Shared::at(at(time)));
        for (run, writer) in runs.iter().zip(&writers) {
            in_order.now = run.ended;
            let batch = instances[*writer as usize].batch(&generation, &[*run]);
            in_order.merge(&mut instances[0], &[batch], &[]);
        }
        for writer in order {
            let own: Vec<_> = runs.iter().zip(&writers).filter(|(_, of)| **of == writer).map(|(run, _)| *run).collect();
            let batch = instances[writer as usize].batch(&generation, &own);
            parts.merge(&mut instances[0], &[batch], &[]);
        }
        prop_assert_eq!(in_order.record.state(), parts.record.state());
    }

    /// What one instance alone has seen is judged by its own detector, call by call.
    #[test]
    fn an_instance_alone_decides_as_a_breaker_without_a_fleet(
        made in prop::collection::vec((1_u64..20, any::<bool>()), 1..90),
    ) {
        let detectors = || -> Vec<Box<dyn Detector>> { vec![
            Box::new(consecutive_failures(3)),
            Box::new(failures(4).of_last(20)),
            Box::new(failures(4).within(ms(60))),
            Box::new(failure_rate(0.5).of_last(20).min_calls(12)),
            Box::new(failure_rate(0.5).within(ms(700)).min_calls(12)),
        ] };
        for (detector, mut observer) in detectors().into_iter().zip(detectors()) {
            let (mut one, mut shared) = (Instance::new(1, detector), Shared::new());
            shared.commit(&mut one, &[]);
            let (mut time, mut tripped) = (0, None);
            for (gap, bad) in &made {
                time += gap;
                run(at(time), *bad).show(&mut *observer);
                if *bad && observer.verdict(at(time)) {
                    tripped = Some(observer.tally(at(time)));
                    break;
                }
            }
            time = 0;
            for (gap, bad) in &made {
                time += gap;
                one.call(if *bad { Outcome::Failure } else { Outcome::Success }, at(time));
            }
            shared.now = at(time);
            shared.commit(&mut one, &[]);
            shared.now = at(time + 5_000);
            shared.merge(&mut one, &[], &[]);
            let reason = shared.record.machine.history().reason;
            let expected = tripped.map(crate::circuit::TransitionReason::Detected);
            prop_assert_eq!(reason, expected, "{}", observer.rule());
        }
    }
}

#[test]
fn a_rate_is_not_judged_after_successes() {
    // Three of five failed, and the fifth was no failure: two instances, each call in a tick of its own.
    let calls: Vec<_> = (0..5).map(|n| run(at(n * 500), n < 3)).collect();
    let detector = || Box::new(failure_rate(0.5).of_last(10).min_calls(5));
    for first in [0, 1] {
        let mut instances = [Instance::new(1, detector()), Instance::new(2, detector())];
        let mut shared = Shared::at(at(2_000));
        let own = |of: usize| -> Vec<_> { calls.iter().skip(of).step_by(2).copied().collect() };
        for of in [first, 1 - first] {
            let batch = instances[of].batch(&shared.record, &own(of));
            shared.merge(&mut instances[of], &[batch], &[]);
        }
        shared.now = at(6_000);
        shared.merge(&mut instances[0], &[], &[]);
        assert_eq!(shared.record.state(), State::Closed);
    }
}

#[test]
fn no_clock_is_ahead_of_the_stores() {
    let (mut one, mut other) = (Instance::new(1, patient()), Instance::new(2, patient()));
    let (mut ahead, mut exact) = (Shared::at(at(5)), Shared::at(at(5)));
    let batch = one.batch(&ahead.record, &[failed(at(70_000))]);
    ahead.merge(&mut one, &[batch], &[]);
    let batch = one.batch(&exact.record, &[failed(at(5))]);
    exact.merge(&mut other, &[batch], &[]);
    assert_eq!(ahead.record.evidence, exact.record.evidence);
}

#[test]
fn a_number_of_calls_that_cannot_have_been_made_is_judged_at_once() {
    let mut one = Instance::new(1, Box::new(failures(5).within(ms(60_000))));
    let mut shared = Shared::at(at(5));
    let many = Run { count: u64::MAX, ..failed(at(1)) };
    let batch = one.batch(&shared.record, &[many]);
    shared.merge(&mut one, &[batch], &[]);
    assert_eq!(shared.record.state(), State::Open);
}

#[test]
fn while_the_circuit_is_not_closed_there_is_no_evidence() {
    let mut one = Instance::new(1, patient());
    let mut shared = Shared::at(at(5));
    shared.order(&mut one, Command::Trip);
    let batch = one.batch(&shared.record, &[failed(at(4))]);
    assert!(!shared.merge(&mut one, &[batch], &[]).changed);
    assert!(shared.record.evidence.is_empty());
}

/// One instance has 120 successes, the failures of another lie between them; whichever comes first.
#[test]
fn what_comes_late_is_judged_in_its_place() {
    let detector = || Box::new(failures(5).of_last(20));
    let fine: Vec<_> = (0..120).map(|n| fine(at(n * 10))).collect();
    let bad: Vec<_> = (0..5).map(|n| failed(at(n * 240 + 5))).collect();
    for bad_first in [false, true] {
        let (mut one, mut other) = (Instance::new(1, detector()), Instance::new(2, detector()));
        let mut shared = Shared::at(at(1_200));
        let mut batches = vec![one.batch(&shared.record, &fine), other.batch(&shared.record, &bad)];
        if bad_first {
            batches.reverse();
        }
        for batch in batches {
            shared.merge(&mut one, &[batch], &[]);
        }
        for n in 0..6 {
            shared.now = at(1_200 + n * 500);
            let merged = shared.merge(&mut other, &[], &[]);
            assert!(!merged.began, "at most one of twenty calls failed");
        }
    }
}

/// A snapshot of a process is restored twice. A store takes a batch of one number once, so what the second has seen is
/// only heard under a number of its own.
#[test]
fn of_two_instances_that_were_one_both_are_heard() {
    let detector = || Box::new(failures(5).within(ms(60_000)));
    let mut twins = [Instance::new(7, detector()), Instance::new(7, detector())];
    let (mut shared, mut seen) = (Shared::at(at(100)), std::collections::HashSet::new());
    twins.iter_mut().for_each(|twin| twin.apply(&shared.record, shared.now));
    // What they did as one.
    twins.iter_mut().for_each(|twin| assert!(twin.call(Outcome::Failure, at(101))));
    // Their numbers differ from the next batch on; they need not be the first.
    for (nth, time) in [(0, 102), (1, 102), (1, 103)] {
        shared.now = at(time);
        let twin = &mut twins[nth];
        if nth == 1 && time == 103 {
            twin.replica.renew_writer(8);
            assert!(twin.call(Outcome::Failure, shared.now) && twin.call(Outcome::Failure, shared.now));
        }
        let batch = twin.take_batch(shared.now, shared.now).expect("failures to tell");
        let id = twin.replica.state.outbox.batch.as_ref().expect("it was taken").id;
        if seen.insert((id.writer, id.seq)) {
            shared.merge(twin, &[batch], &[]);
        }
        twin.replica.state.settle_batch(true);
    }
    assert_eq!(seen, [(7, 1), (8, 1)].into());
    assert_eq!(shared.record.failures(), 3, "the one of before the split once, and two of after it");
}
