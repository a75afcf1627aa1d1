//! Evidence against the detectors themselves: what is merged must say what a detector says that saw every call.
#![expect(clippy::cast_possible_truncation, reason = "there are a handful of writers")]

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::cell::Writers;
use super::logs::{Logs, Met};
use super::question::{Certainty, Question};
use super::rule::{Class, Rule};
use super::sequence::Sequence;
use super::told::{Stretch, ToldCalls};
use super::untold::{Moment, Rates, Untold};
use crate::circuit::detector::{Detector, consecutive_failures, failure_rate, failures, slow_call_rate};
use crate::circuit::{Call, Reader, Run, Tally, Writer};
use crate::time::Timestamp;

const MS: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
struct Seen {
    gap: u64,
    failed: bool,
    slow: bool,
    writer: u64,
}

fn seen(writers: u64) -> impl Strategy<Value = Seen> {
    let gap = prop_oneof![Just(0), 0_u64..50, 0_u64..3_000];
    (gap, prop::bool::weighted(0.4), prop::bool::weighted(0.2), 0..writers)
        .prop_map(|(gap, failed, slow, writer)| Seen { gap, failed, slow, writer })
}

fn by_count() -> Vec<Box<dyn Detector>> {
    let s = Duration::from_secs;
    vec![
        Box::new(consecutive_failures(3)),
        Box::new(failures(2).of_last(2)),
        Box::new(failures(5).of_last(20)),
        Box::new(failures(4).of_last(10).min_calls(7)),
        Box::new(failure_rate(0.5).of_last(20)),
        Box::new(failure_rate(0.6).of_last(300).min_calls(20)),
        Box::new(slow_call_rate(0.3).slower_than(s(1)).of_last(10)),
        Box::new(failures(4).within(s(9))),
        Box::new(consecutive_failures(4).or(failures(6).within(s(3)))),
    ]
}

fn by_time() -> Vec<Box<dyn Detector>> {
    let s = Duration::from_secs;
    vec![
        Box::new(failure_rate(0.5).within(s(10))),
        Box::new(failure_rate(0.5).within(s(60)).min_calls(20)),
        Box::new(slow_call_rate(0.3).slower_than(s(1)).within(s(10))),
    ]
}

/// The calls with their times, from a minute on.
fn calls(seen: &[Seen]) -> Vec<(Timestamp, Seen)> {
    let mut now = 60_000 * MS;
    let at = |seen: &Seen| {
        now += seen.gap * MS;
        (Timestamp::from_nanos(now), *seen)
    };
    seen.iter().map(at).collect()
}

/// When the detector trips that sees every call, and on what.
fn truth(detector: &mut dyn Detector, calls: &[(Timestamp, Seen)]) -> Option<(Timestamp, Tally)> {
    detector.reset();
    let slow_after = detector.slow_after();
    calls.iter().find_map(|(at, seen)| {
        let call = if seen.failed { Call::failure(*at) } else { Call::success(*at) };
        detector.record(&call.took(seen.slow.then_some(Duration::from_secs(2))));
        let trips = (seen.failed || seen.slow && slow_after.is_some()) && detector.verdict(*at);
        trips.then(|| (*at, detector.tally(*at)))
    })
}

fn told(rule: &Rule, at: Timestamp, seen: Seen) -> ToldCalls {
    let class = rule.class(seen.failed, seen.slow.then_some(Duration::from_secs(2)));
    ToldCalls { at, calls: Stretch::new(class, 1), retry_after: None }
}

fn sure(to: Timestamp) -> Question<'static> {
    Question { from: Timestamp::ZERO, to, certainty: Certainty::Sure, presumed: &[] }
}

/// What evidence says of the calls of one instance.
fn met_by_one(rule: &Rule, calls: &[(Timestamp, Seen)]) -> Option<Met> {
    let mut logs = Logs::new(rule);
    for (at, seen) in calls {
        logs.add(rule, Writers::one(7), &told(rule, *at, *seen));
    }
    logs.met(rule, &sure(Timestamp::from_nanos(u64::MAX / 2)))
}

proptest! {
    /// One instance has an order, which its evidence keeps: the verdict is that of its own detector.
    #[test]
    fn what_one_instance_saw_is_judged_as_by_itself(seen in prop::collection::vec(seen(1), 0..120)) {
        let calls = calls(&seen);
        for mut detector in by_count() {
            let rule = Rule::new(&detector.shape()).expect("a rule");
            let (met, truth) = (met_by_one(&rule, &calls), truth(&mut *detector, &calls));
            prop_assert_eq!(met.is_some(), truth.is_some(), "{:?}: {:?}, {:?}", detector, met, truth);
            if let (Some(met), Some((at, tally))) = (met, truth) {
                if rule.leaves.len() == 1 {
                    prop_assert_eq!(met.tally, tally, "{:?}", detector);
                }
                prop_assert!(met.at <= at && at.since(met.at) < Duration::from_millis(34), "{:?}: {:?} {:?}", detector, met, at);
            }
        }
    }

    /// What is certain of calls over a time is so for a detector as well.
    #[test]
    fn what_is_sure_is_true(seen in prop::collection::vec(seen(1), 0..120)) {
        let calls = calls(&seen);
        for mut detector in by_time() {
            let rule = Rule::new(&detector.shape()).expect("a rule");
            let (met, truth) = (met_by_one(&rule, &calls), truth(&mut *detector, &calls));
            prop_assert!(met.is_none() || truth.is_some(), "{:?}: {:?}", detector, met);
        }
    }

    /// In which order, and in how many batches, calls of several instances are told does not matter; nor does a record
    /// between them.
    #[test]
    fn any_order_of_telling_leaves_the_same_evidence(
        seen in prop::collection::vec(seen(4), 0..120),
        cuts in prop::collection::vec((0_u64..4, 1_usize..20), 60),
    ) {
        let calls = calls(&seen);
        let both: Box<dyn Detector> =
            Box::new(failures(5).within(Duration::from_secs(20)).and(failure_rate(0.6).of_last(10)));
        for detector in by_count().into_iter().chain(by_time()).chain([both]) {
            let rule = Rule::new(&detector.shape()).expect("a rule");
            let mut at_once = Logs::new(&rule);
            for (at, seen) in &calls {
                at_once.add(&rule, Writers::one(seen.writer), &told(&rule, *at, *seen));
            }
            // Each instance tells its calls in order, but instances take turns as they like.
            let mut of_each: Vec<Vec<_>> = (0..4).map(|w| calls.iter().filter(|(_, s)| s.writer == w).collect()).collect();
            let mut logs = Logs::new(&rule);
            let rest = (0..4).map(|writer| (writer, usize::MAX));
            for (writer, count) in cuts.iter().copied().chain(rest) {
                let waiting = &mut of_each[writer as usize];
                for (at, seen) in waiting.drain(..count.min(waiting.len())) {
                    logs.add(&rule, Writers::one(seen.writer), &told(&rule, *at, *seen));
                }
                let mut out = Writer::with_head(&[]);
                logs.save(&rule, &mut out);
                let bytes = out.finish();
                let mut from = Reader::without_head(&bytes);
                let loaded = Logs::load(&rule, &mut from).expect("its own bytes");
                from.end().expect("all of them");
                prop_assert_eq!(&loaded, &logs);
                logs = loaded;
            }
            prop_assert_eq!(logs, at_once, "{:?}", detector);
        }
    }
}

/// Calls of two instances in one tick, of which the last two are good.
fn one_tick(failures: u64) -> Sequence {
    let mut sequence = Sequence::default();
    let told = |class, count| ToldCalls {
        at: Timestamp::from_nanos(60_000 * MS),
        calls: Stretch::new(class, count),
        retry_after: None,
    };
    for writer in [1, 2] {
        sequence.add(Writers::one(writer), &told(Class::FAILED, failures / 2));
        sequence.add(Writers::one(writer), &told(Class::GOOD, 1));
    }
    sequence
}

#[test]
fn a_long_row_is_seen_as_well_as_a_short_one() {
    for limit in [3_u32, 100, 257, 300, 1_000, 20_000] {
        let rule = Rule::new(&consecutive_failures(limit).shape()).expect("a shape");
        // Two good calls among them leave three rows of a third each.
        for (failures, is_met) in [(u64::from(limit) - 1, false), (u64::from(limit) * 4, true)] {
            let reached = one_tick(failures).reached(&rule.leaves[0], &sure(Timestamp::MAX));
            assert_eq!(!reached.is_empty(), is_met, "{failures} failures, {limit} in a row");
        }
    }
}

/// Where their order is given up, failures are not told as the last of what they were told among.
#[test]
fn ticks_that_were_joined_and_lose_their_order_are_spread_evenly() {
    let rule = Rule::new(&failures(3).of_last(3).shape()).expect("a shape");
    let mut sequence = Sequence::default();
    // One of ten fails, as often as it takes until neither ticks nor their order fit.
    for nth in 0..40_000_u64 {
        let at = Timestamp::from_nanos(60_000 * MS + nth * 7 * MS);
        let class = if nth % 10 == 0 { Class::FAILED } else { Class::GOOD };
        sequence.add(Writers::one(nth % 3), &ToldCalls { at, calls: Stretch::new(class, 1), retry_after: None });
        if nth % 1_000 == 0 {
            sequence.trim(10_000, at);
        }
    }
    assert_eq!(sequence.reached(&rule.leaves[0], &sure(Timestamp::MAX)), []);
}

/// A busy instance keeps a minute of good calls: each is told as of the time when it ended, to a slot.
#[test]
fn what_waits_long_is_told_as_of_its_time() {
    let detector = failure_rate(0.5).within(Duration::from_secs(60));
    let mut untold = Untold::new(&detector);
    let mut counts = BTreeMap::new();
    let begin = 600_000 * MS;
    for nth in 0..24_000_u64 {
        let ended = Timestamp::from_nanos(begin + nth * 5 * MS);
        assert_eq!(untold.saw(Run::new(&Call::success(ended), 1), None), 0, "nothing is forgotten");
        *counts.entry(ended.as_nanos() >> 28).or_insert(0) += 1;
    }
    let now = Timestamp::from_nanos(begin + 120_000 * MS);
    let telling = untold.take(1, &Rates::default(), &Moment::unasked(now, Duration::from_secs(4)));
    let mut told = BTreeMap::new();
    for calls in &telling.calls {
        *told.entry(calls.at.as_nanos() >> 28).or_insert(0) += calls.calls.count;
    }
    let first = (now.as_nanos() - 64_000 * MS) >> 28;
    counts.retain(|slot, _| *slot > first);
    told.retain(|slot, _| *slot > first);
    assert_eq!(told, counts);
    assert!(telling.calls.len() < 4_096, "{} runs", telling.calls.len());
}

/// What an instance promises with the telling of its newest failure, of those in its last second.
fn promised_with(good_a_second: u64, bad: u64) -> f64 {
    let (mut untold, mut rates) = (Untold::new(&consecutive_failures(3)), Rates::default());
    let mut saw = |call: Call| {
        let run = Run::new(&call, 1);
        rates.count(untold.is_bad(&run), 1, run.ended);
        untold.saw(run, None);
    };
    let begin = 600_000 * MS;
    let end = begin + 5_000 * MS;
    let gap = 1_000 * MS / good_a_second;
    for nth in 0..5 * good_a_second {
        saw(Call::success(Timestamp::from_nanos(begin + nth * gap)));
    }
    for nth in 0..bad {
        saw(Call::failure(Timestamp::from_nanos(end + nth * MS)));
    }
    let now = Timestamp::from_nanos(end + bad * MS);
    rates.decay(now);
    let telling = untold.take(1, &rates, &Moment::unasked(now, Duration::from_secs(4)));
    assert_eq!(telling.failures(), bad);
    telling.promise
}

/// Each such failure was asked about: an instance promised good calls only where it was asked.
#[test]
fn an_instance_promises_good_calls_with_a_failure_that_is_an_exception() {
    assert!(promised_with(20, 1) > 15.0, "{}", promised_with(20, 1));
    assert!(promised_with(200, 4) > 150.0, "four of two hundred");
    assert!(promised_with(20, 2) <= 0.0, "the second in a second is none");
    assert!(promised_with(200, 20) <= 0.0, "nor is one of ten");
    assert!(promised_with(2, 1) <= 0.0, "it would show too late that they do not come");
}
