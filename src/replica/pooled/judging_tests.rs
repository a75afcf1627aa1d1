//! When all are asked, and what comes of it.
#![expect(clippy::panic, clippy::cast_precision_loss, reason = "a test fails loudly, and its numbers are small")]

use std::time::Duration;

use proptest::prelude::*;

use super::evidence::{Judgement, RuleEvidence};
use super::samples::{Ended, telling};
use super::suspicion::Suspicion;
use super::telling::{Telling, Trip};
use super::verdict::Verdict;
use crate::circuit::detector::{Detector, consecutive_failures, failure_rate, failures};
use crate::circuit::{Reader, Tally, Writer};
use crate::replica::clocks::before;
use crate::time::Timestamp;

/// By the store's clock, far from its origin.
fn at(ms: u64) -> Timestamp {
    Timestamp::from_nanos((1_000_000 + ms) * 1_000_000)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn bad(ms: u64) -> Ended {
    (at(ms), true, false)
}

fn fine(ms: u64) -> Ended {
    (at(ms), false, false)
}

/// The last moment of the tick in which a moment lies: ticks are 2^25 ns where all clocks are good.
fn end_of_tick(at: Timestamp) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos() | ((1 << 25) - 1))
}

fn start_of_tick(at: Timestamp) -> Timestamp {
    Timestamp::from_nanos(at.as_nanos() >> 25 << 25)
}

/// A tick of each of these calls, of its own.
const APART: u64 = 100;

fn five_of_twenty() -> impl Detector {
    failures(5).of_last(20)
}

/// Evidence of a rule, as two instances have told it: the first a good call long ago, the second nothing bad either.
fn calm(detector: &dyn Detector) -> RuleEvidence {
    let mut evidence = RuleEvidence::new(&telling(1, detector, [], at(0)), at(0));
    evidence.take_in(&telling(1, detector, [fine(0)], at(0)), at(0));
    evidence.take_in(&telling(2, detector, [fine(0)], at(0)), at(0));
    evidence
}

/// The same with failures of the first instance, each [`APART`] from the next, the last of them now; it asks.
fn with_failures(detector: &dyn Detector, failures: u64) -> (RuleEvidence, Judgement, u64) {
    let mut evidence = calm(detector);
    let now = 1_000 + failures * APART;
    let calls: Vec<_> = (1..=failures).map(|n| bad(1_000 + n * APART)).collect();
    evidence.take_in(&telling(1, detector, calls, at(now)), at(now));
    let judgement = evidence.judged_by(1, at(now));
    (evidence, judgement, now)
}

/// All have been asked; the first instance has five failures, or more.
fn suspected(failures: u64) -> (RuleEvidence, Suspicion) {
    let (evidence, judgement, _) = with_failures(&five_of_twenty(), failures);
    assert_eq!(judgement, Judgement::Suspected);
    let suspicion = *evidence.suspicion().expect("a suspicion");
    (evidence, suspicion)
}

fn answer(writer: u64, calls: &[Ended], suspicion: Suspicion) -> (Telling, Timestamp) {
    let now = suspicion.cut + ms(30);
    (telling(writer, &five_of_twenty(), calls.iter().copied(), now).answering(suspicion.number), now)
}

fn met(judgement: Judgement) -> Verdict {
    match judgement {
        Judgement::Met(verdict) => verdict,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_are_asked_where_the_rule_could_be_met_and_not_before() {
    for failures in 1..5 {
        assert_eq!(with_failures(&five_of_twenty(), failures).1, Judgement::Nothing, "{failures} failures");
    }
    let (evidence, judgement, now) = with_failures(&five_of_twenty(), 5);
    assert_eq!(judgement, Judgement::Suspected);
    let suspicion = evidence.suspicion().expect("a suspicion");
    assert_eq!((suspicion.number, suspicion.raised_by), (0, 1));
    assert_eq!(suspicion.cut, end_of_tick(at(now + 60)), "so long takes a notice");
    assert_eq!(suspicion.until, suspicion.cut + ms(120));
    assert_eq!(suspicion.last, at(now + 1_300));
}

#[test]
fn without_push_there_is_time_for_a_poll() {
    let detector = five_of_twenty();
    let mut evidence = calm(&detector);
    let calls: Vec<_> = (1..=5).map(|n| bad(1_000 + n * APART)).collect();
    evidence.take_in(&telling(1, &detector, calls, at(1_500)), at(1_500));
    assert_eq!(evidence.judge(at(1_500), (1, false), None), Judgement::Suspected);
    let suspicion = evidence.suspicion().expect("a suspicion");
    assert_eq!(suspicion.cut, end_of_tick(at(1_500 + 1_100)));
    assert_eq!(suspicion.until, suspicion.cut + ms(160));
    assert_eq!(suspicion.last, suspicion.until + ms(160));
}

/// What is not told may complete it: the least number of calls counts as reached.
#[test]
fn the_least_number_of_calls_counts_as_reached_when_it_is_asked_whether_to_ask() {
    let rate = failure_rate(0.5).of_last(20).min_calls(10);
    // One of three calls failed, two of four.
    assert_eq!(with_failures(&rate, 1).1, Judgement::Nothing);
    assert_eq!(with_failures(&rate, 2).1, Judgement::Suspected, "six good calls may be untold");
    let by_time = failure_rate(0.5).within(Duration::from_secs(60)).min_calls(10);
    assert_eq!(with_failures(&by_time, 1).1, Judgement::Nothing);
    assert_eq!(with_failures(&by_time, 2).1, Judgement::Suspected);
}

#[test]
fn there_is_no_verdict_before_its_time() {
    let (mut evidence, suspicion) = suspected(9);
    let (told, now) = answer(2, &[], suspicion);
    evidence.take_in(&told, now);
    for now in [now, before(suspicion.until, Duration::from_nanos(1))] {
        assert_eq!(evidence.judged_by(1, now), Judgement::Waits);
    }
    met(evidence.judged_by(1, suspicion.until));
}

/// By its own clock an instance has waited, where the store's stands still.
#[test]
fn who_has_waited_by_a_clock_of_its_own_need_not_wait_for_the_stores() {
    let (mut evidence, suspicion) = suspected(9);
    let (told, now) = answer(2, &[], suspicion);
    evidence.take_in(&told, now);
    assert_eq!(evidence.judge(now, (1, true), Some(suspicion.number + 1)), Judgement::Waits, "another one");
    met(evidence.judge(now, (1, true), Some(suspicion.number)));
}

#[test]
fn answers_that_dilute_clear_it() {
    let (mut evidence, suspicion) = suspected(5);
    // Ten good calls of the other in each tick: no twenty calls have more than three failures.
    let good: Vec<_> = (1..=5).flat_map(|n| vec![fine(1_000 + n * APART); 10]).collect();
    let (told, now) = answer(2, &good, suspicion);
    evidence.take_in(&told, now);
    assert_eq!(evidence.judged_by(1, suspicion.until), Judgement::Cleared);
    assert_eq!((evidence.suspicion(), evidence.judged), (None, suspicion.cut), "what ended before is judged");
    assert_eq!(evidence.judged_by(1, suspicion.until + ms(5)), Judgement::Nothing);

    // The next one has a number of its own.
    let now = suspicion.until + ms(600);
    let calls: Vec<_> = (0..5).map(|n| (suspicion.until + ms(n * APART), true, false)).collect();
    evidence.take_in(&telling(2, &five_of_twenty(), calls, now), now);
    assert_eq!(evidence.judged_by(2, now), Judgement::Suspected);
    let next = evidence.suspicion().expect("a suspicion");
    assert_eq!((next.number, next.raised_by), (suspicion.number + 1, 2));
}

#[test]
fn what_is_met_when_it_is_whole_is_met() {
    // Two ticks and more lie between two calls, so their order is known.
    let detector = five_of_twenty();
    let mut evidence = calm(&detector);
    let calls: Vec<_> = (1..=6).map(|n| bad(1_000 + 2 * n * APART)).collect();
    evidence.take_in(&telling(1, &detector, calls, at(2_200)), at(2_200));
    assert_eq!(evidence.judged_by(1, at(2_200)), Judgement::Suspected);
    let suspicion = *evidence.suspicion().expect("a suspicion");
    let good: Vec<_> = (1..=6).map(|n| fine(1_000 + 2 * n * APART - APART)).collect();
    for (writer, calls) in [(1, &[][..]), (2, &good)] {
        let (told, now) = answer(writer, calls, suspicion);
        evidence.take_in(&told, now);
    }
    let verdict = met(evidence.judged_by(2, suspicion.until));
    // Two calls of one moment long ago, and six of each: had one of the two come before the other, it were five of thirteen.
    assert_eq!((verdict.tally, verdict.at), (Tally::failures(6).of(14), start_of_tick(at(2_200))));
    assert_eq!(verdict.up_to, suspicion.cut);
    assert_eq!((verdict.heard, verdict.silent), (2, 0));
    assert_eq!(evidence.suspicion(), None);
}

/// Calls of several instances in one tick have no order: the verdict holds for the best one.
#[test]
fn where_the_order_is_not_known_one_failure_less_must_do() {
    for (failures, is_met) in [(5, false), (6, true)] {
        let (mut evidence, suspicion) = suspected(failures);
        let good: Vec<_> = (1..=failures).map(|n| fine(1_000 + n * APART)).collect();
        let (told, now) = answer(2, &good, suspicion);
        evidence.take_in(&told, now);
        let judgement = evidence.judged_by(1, suspicion.until);
        assert_eq!(matches!(judgement, Judgement::Met(_)), is_met, "{failures}: {judgement:?}");
    }
}

#[test]
fn a_call_after_the_cut_is_no_part_of_the_verdict() {
    let (mut evidence, suspicion) = suspected(5);
    let later: Vec<_> = (1..=5).map(|n| (suspicion.cut + ms(n), true, false)).collect();
    let good: Vec<_> = (1..=5).flat_map(|n| vec![fine(1_000 + n * APART); 10]).collect();
    let now = suspicion.cut + ms(30);
    let calls = good.into_iter().chain(later);
    evidence.take_in(&telling(2, &five_of_twenty(), calls, now).answering(suspicion.number), now);
    // They are a reason to ask again, not to open.
    let judgement = evidence.judged_by(1, suspicion.until);
    assert!(matches!(judgement, Judgement::Suspected), "{judgement:?}");
    assert_eq!(evidence.suspicion().map(|suspicion| suspicion.number), Some(suspicion.number + 1));
    assert_eq!(evidence.judged, suspicion.cut);
}

#[test]
fn where_no_other_has_told_since_the_verdict_waits_to_the_last() {
    let (mut evidence, suspicion) = suspected(9);
    let (told, now) = answer(1, &[], suspicion);
    evidence.take_in(&told, now);
    for now in [suspicion.until, suspicion.until + ms(500)] {
        assert_eq!(evidence.judged_by(1, now), Judgement::Waits);
    }
    let waits = *evidence.suspicion().expect("still");
    assert_eq!(waits.due(), suspicion.last, "all are to know when the verdict is due");
    let verdict = met(evidence.judged_by(1, suspicion.last));
    assert_eq!((verdict.heard, verdict.silent), (1, 0), "the other had no calls by its rate");
}

#[test]
fn a_raiser_that_does_not_hear_its_own_notice_waits_to_the_last() {
    let (mut evidence, suspicion) = suspected(9);
    let (told, now) = answer(2, &[], suspicion);
    evidence.take_in(&told, now);
    let deaf = (1, false);
    assert_eq!(evidence.judge(suspicion.until, deaf, None), Judgement::Waits);
    assert_eq!(evidence.suspicion().map(Suspicion::due), Some(suspicion.last));
    met(evidence.judge(suspicion.last, deaf, None));
}

#[test]
fn another_instance_takes_the_raisers_word_for_what_it_hears() {
    let heard = suspected(9);
    let deaf = suspected(9);
    for ((mut evidence, suspicion), hears) in [(heard, true), (deaf, false)] {
        let (told, now) = answer(2, &[], suspicion);
        evidence.take_in(&told, now);
        let (told, now) = answer(1, &[], suspicion);
        evidence.take_in(&if hears { told } else { told.deaf() }, now);
        let judgement = evidence.judged_by(2, suspicion.until);
        assert_eq!(matches!(judgement, Judgement::Met(_)), hears, "{judgement:?}");
        if !hears {
            met(evidence.judged_by(2, suspicion.last));
        }
    }
}

/// Its own calls go on failing: what it tells next is no answer any more.
#[test]
fn a_raiser_that_has_heard_its_notice_and_tells_again_has_heard_it_still() {
    let (mut evidence, suspicion) = suspected(9);
    for writer in [1, 2] {
        let (told, now) = answer(writer, &[], suspicion);
        evidence.take_in(&told, now);
    }
    let now = before(suspicion.until, ms(10));
    evidence.take_in(&telling(1, &five_of_twenty(), [(now, true, false)], now), now);
    met(evidence.judged_by(2, suspicion.until));
}

/// A notice may name an earlier cut.
#[test]
fn an_answer_that_does_not_tell_of_all_calls_before_the_cut_is_none() {
    for (early, judgement) in [(10, Some(Judgement::Waits)), (0, None)] {
        let (mut evidence, suspicion) = suspected(9);
        let (told, now) = answer(2, &[], suspicion);
        let up_to = before(suspicion.cut, ms(early));
        evidence.take_in(&telling(1, &five_of_twenty(), [], up_to).answering(suspicion.number), up_to);
        evidence.take_in(&told, now);
        let judged = evidence.judged_by(2, suspicion.until);
        assert_eq!(judgement.is_some(), judged == Judgement::Waits, "{judged:?}");
    }
}

/// Three instances; the third has told of many good calls before, and does not answer.
fn with_a_silent_third(rate: f64) -> (RuleEvidence, Suspicion) {
    let detector = five_of_twenty();
    let mut evidence = calm(&detector);
    evidence.take_in(&telling(3, &detector, [fine(900)], at(900)).with_rate(rate), at(900));
    let calls: Vec<_> = (1..=9).map(|n| bad(1_000 + n * APART)).collect();
    evidence.take_in(&telling(1, &detector, calls, at(1_900)), at(1_900));
    assert_eq!(evidence.judged_by(1, at(1_900)), Judgement::Suspected);
    let suspicion = *evidence.suspicion().expect("a suspicion");
    let (told, now) = answer(2, &[], suspicion);
    evidence.take_in(&told, now);
    (evidence, suspicion)
}

#[test]
fn a_silent_instance_whose_calls_might_undo_it_is_waited_for_to_the_last() {
    let (mut evidence, suspicion) = with_a_silent_third(200.0);
    assert_eq!(evidence.judged_by(1, suspicion.until), Judgement::Waits);
    assert_eq!(evidence.judged_by(1, before(suspicion.last, ms(1))), Judgement::Waits);
    let verdict = met(evidence.judged_by(1, suspicion.last));
    assert_eq!((verdict.heard, verdict.silent), (1, 1), "the verdict says who did not answer");

    // It answers at last: twenty good calls in each tick.
    let (mut evidence, suspicion) = with_a_silent_third(200.0);
    assert_eq!(evidence.judged_by(1, suspicion.until), Judgement::Waits);
    let good: Vec<_> = (1..=9).flat_map(|n| vec![fine(1_000 + n * APART); 20]).collect();
    let now = suspicion.until + ms(300);
    evidence.take_in(&telling(3, &five_of_twenty(), good, now).answering(suspicion.number), now);
    assert_eq!(evidence.judged_by(3, now), Judgement::Waits, "others may answer late as well");
    assert_eq!(evidence.judged_by(3, now + ms(60)), Judgement::Cleared);
}

#[test]
fn a_silent_instance_that_could_not_undo_it_is_not_waited_for() {
    let (mut evidence, suspicion) = with_a_silent_third(2.0);
    let verdict = met(evidence.judged_by(1, suspicion.until));
    assert_eq!((verdict.heard, verdict.silent), (1, 1));
}

#[test]
fn who_was_asked_and_did_not_answer_is_not_waited_for_again() {
    let (mut evidence, suspicion) = with_a_silent_third(200.0);
    assert_eq!(evidence.judged_by(1, suspicion.until), Judgement::Waits);
    let good: Vec<_> = (1..=9).flat_map(|n| vec![fine(1_000 + n * APART); 20]).collect();
    evidence.take_in(&telling(2, &five_of_twenty(), good, suspicion.last), suspicion.last);
    assert_eq!(evidence.judged_by(1, suspicion.last), Judgement::Cleared);
    assert_eq!(evidence.voices.silent(suspicion.last, suspicion.last).count(), 0);
}

/// The second instance has answered a suspicion with a promise; five failures of the first come so long after the cut.
fn after_a_promise(promise: f64, later: u64) -> (RuleEvidence, Judgement, Timestamp) {
    let (mut evidence, suspicion) = suspected(5);
    let good: Vec<_> = (1..=5).flat_map(|n| vec![fine(1_000 + n * APART); 10]).collect();
    let (told, now) = answer(2, &good, suspicion);
    evidence.take_in(&told.promising(promise), now);
    assert_eq!(evidence.judged_by(1, suspicion.until), Judgement::Cleared);
    let begin = suspicion.until + ms(later);
    let calls: Vec<_> = (1..=5).map(|n| (begin + ms(n * APART), true, false)).collect();
    let now = begin + ms(5 * APART);
    evidence.take_in(&telling(1, &five_of_twenty(), calls, now), now);
    let judgement = evidence.judged_by(1, now);
    (evidence, judgement, now)
}

/// Half of a promise counts: 100 ms lie between two failures, so five of twenty need less than fifty good calls a second.
#[test]
fn good_calls_that_are_promised_keep_a_suspicion_from_being_raised() {
    assert_eq!(after_a_promise(0.0, 0).1, Judgement::Suspected);
    assert_eq!(after_a_promise(10.0, 0).1, Judgement::Suspected, "five a second do not dilute it");
    assert_eq!(after_a_promise(400.0, 0).1, Judgement::Nothing);
    assert_eq!(after_a_promise(400.0, 9_000).1, Judgement::Nothing);
    assert_eq!(after_a_promise(400.0, 10_000).1, Judgement::Suspected, "a promise stands for ten seconds");
}

#[test]
fn a_promise_ends_with_the_next_telling() {
    let (mut evidence, judgement, now) = after_a_promise(400.0, 1_000);
    assert_eq!(judgement, Judgement::Nothing);
    evidence.take_in(&telling(2, &five_of_twenty(), [], now + ms(5)), now + ms(5));
    assert_eq!(evidence.judged_by(2, now + ms(5)), Judgement::Suspected);
}

/// Promises decide when to ask, never the verdict.
#[test]
fn a_failure_only_rule_knows_no_promises_and_asks_no_one() {
    let rule = failures(5).within(Duration::from_secs(10));
    let mut evidence = calm(&rule);
    let calls = |n: u64| (0..n).map(|n| bad(1_000 + n)).collect::<Vec<_>>();
    evidence.take_in(&telling(1, &rule, calls(3), at(1_010)), at(1_010));
    assert_eq!(evidence.judged_by(1, at(1_010)), Judgement::Nothing);
    evidence.take_in(&telling(2, &rule, calls(2), at(1_020)), at(1_020));
    let verdict = met(evidence.judged_by(2, at(1_020)));
    assert_eq!((verdict.tally, verdict.up_to), (Tally::failures(5), at(1_020)));
}

#[test]
fn a_failure_only_part_that_is_enough_by_itself_opens_at_once() {
    let any = consecutive_failures(50).or(failures(5).within(Duration::from_secs(10)));
    met(with_failures(&any, 5).1);
    let all = consecutive_failures(2).and(failures(5).within(Duration::from_secs(10)));
    assert_eq!(with_failures(&all, 5).1, Judgement::Suspected, "good calls may have come between");
}

/// Its own detector has seen the calls of the only instance, in their order: what the record has of them decides nothing.
#[test]
fn the_only_instance_is_judged_by_its_own_word() {
    let detector = five_of_twenty();
    let calls: Vec<_> = (1..=9).map(|n| bad(1_000 + n * APART)).collect();
    let of_one = |trip: Option<Trip>| {
        let mut evidence = RuleEvidence::new(&telling(1, &detector, [], at(0)), at(0));
        let told = telling(1, &detector, calls.iter().copied(), at(1_900));
        evidence.take_in(&trip.map_or(told.clone(), |trip| told.tripped(trip)), at(1_900));
        evidence
    };
    let mut silent = of_one(None);
    silent.judged_by(1, at(1_900));
    if let Some(suspicion) = silent.suspicion().copied() {
        assert_eq!(silent.judged_by(1, suspicion.last), Judgement::Cleared, "its good calls are not told");
    }
    let trip = Trip { at: at(1_700), tally: Tally::failures(5).of(11), retry_after: Some(ms(7_000)) };
    let mut tripped = of_one(Some(trip));
    assert_eq!(tripped.judged_by(1, at(1_900)), Judgement::Suspected, "others may have calls that they did not tell");
    let suspicion = *tripped.suspicion().expect("a suspicion");
    let verdict = met(tripped.judged_by(1, suspicion.until));
    assert_eq!((verdict.at, verdict.tally, verdict.retry_after), (trip.at, trip.tally, trip.retry_after));

    // Another answers with good calls: then the calls of both count, in their order.
    let mut mixed = of_one(Some(trip));
    mixed.judged_by(1, at(1_900));
    let good: Vec<_> = (1..=9).flat_map(|n| vec![fine(1_000 + n * APART); 20]).collect();
    let (told, now) = answer(2, &good, suspicion);
    mixed.take_in(&told, now);
    assert_eq!(mixed.judged_by(1, suspicion.until), Judgement::Cleared);
}

#[test]
fn a_word_about_what_a_dry_run_has_counted_already_is_void() {
    let detector = five_of_twenty();
    let trip = Trip { at: at(1_100), tally: Tally::failures(5), retry_after: None };
    let mut evidence = RuleEvidence::new(&telling(1, &detector, [], at(0)), at(0));
    evidence.end_dry_run(at(1_200));
    assert_eq!(evidence.dry_runs(), 1);
    evidence.take_in(&telling(1, &detector, [bad(1_100)], at(1_300)).tripped(trip), at(1_300));
    assert_eq!(evidence.judged_by(1, at(1_300)), Judgement::Nothing);
}

#[test]
fn a_dry_run_begins_anew() {
    let (mut evidence, suspicion) = suspected(9);
    let (told, now) = answer(2, &[], suspicion);
    evidence.take_in(&told, now);
    met(evidence.judged_by(1, suspicion.until));
    evidence.end_dry_run(suspicion.until);
    assert_eq!((evidence.failures(), evidence.suspicion()), (0, None));
    assert_eq!(evidence.judged_by(1, suspicion.until + ms(1)), Judgement::Nothing);
    // What ended before is over, also where it is told now.
    let old: Vec<_> = (1..=9).map(|n| bad(1_050 + n * APART)).collect();
    let now = suspicion.until + ms(50);
    evidence.take_in(&telling(2, &five_of_twenty(), old, now), now);
    assert_eq!(evidence.judged_by(2, now), Judgement::Nothing);
}

/// No moment older than what instances still keep is judged: the good calls about it may be forgotten.
#[test]
fn what_is_told_too_late_is_not_judged() {
    let detector = five_of_twenty();
    let mut evidence = calm(&detector);
    assert_eq!(evidence.judged_by(1, at(10_000)), Judgement::Nothing);
    let old: Vec<_> = (1..=9).map(|n| bad(7_000 + n * APART)).collect();
    evidence.take_in(&telling(2, &detector, old, at(10_010)), at(10_010));
    assert_eq!(evidence.judged_by(2, at(10_010)), Judgement::Nothing);
}

proptest! {
    /// Tellings of several instances in any order leave the same evidence; it is the same behind its bytes.
    #[test]
    fn the_same_tellings_in_any_order_leave_the_same_evidence(
        calls in prop::collection::vec((0_u64..5, 0_u64..3_000, any::<bool>(), any::<bool>(), 0_u64..200), 1..20),
        order in Just((0_usize..20).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let detectors: [Box<dyn Detector>; 4] = [
            Box::new(five_of_twenty()),
            Box::new(failure_rate(0.5).within(Duration::from_secs(10))),
            Box::new(failures(50).within(Duration::from_secs(10))),
            Box::new(consecutive_failures(3).and(failures(9).within(Duration::from_secs(9)))),
        ];
        for detector in &detectors {
            // One telling of each instance, or of one that has no other.
            let told = |nth: usize| {
                let (writer, time, failed, has_tripped, error) = calls[nth];
                let trip = Trip { at: at(time), tally: Tally::failures(3), retry_after: None };
                let told = telling(writer * 100 + nth as u64, &**detector, [(at(time), failed, false)], at(3_000));
                let told = told.with_rate(nth as f64).off_by(ms(error));
                if has_tripped { told.tripped(trip) } else { told }
            };
            let fresh = || RuleEvidence::new(&telling(1, &**detector, [], at(3_000)), at(3_000));
            let (mut one, mut other) = (fresh(), fresh());
            (0..calls.len()).for_each(|nth| one.take_in(&told(nth), at(3_000)));
            for nth in order.iter().filter(|nth| **nth < calls.len()) {
                other.take_in(&told(*nth), at(3_000));
            }
            prop_assert_eq!(&one, &other, "{}", detector.rule());
            let mut out = Writer::with_head(&[]);
            one.save(&mut out);
            let bytes = out.finish();
            let mut from = Reader::without_head(&bytes);
            prop_assert_eq!(RuleEvidence::load(&mut from), Ok(one));
            prop_assert_eq!(from.end(), Ok(()));
        }
    }
}

#[test]
fn however_late_a_telling_comes_nothing_is_judged_that_others_no_longer_keep() {
    let detector = consecutive_failures(3);
    let mut evidence = calm(&detector);
    // Told at once, and among good calls of others that are not told.
    evidence.take_in(&telling(1, &detector, [bad(57_000), bad(57_100), bad(57_200)], at(57_200)), at(57_200));
    let asked = evidence.suspicion().copied();
    assert_eq!(asked, None);
    let kept = evidence.kept_for(at(63_000));
    // One that took six seconds: from now on others keep calls for longer.
    evidence.take_in(&telling(1, &detector, [bad(57_300)], at(63_300)), at(63_300));
    assert!(evidence.kept_for(at(63_300)) > kept);
    assert_eq!(evidence.judged_by(1, at(63_300)), Judgement::Nothing, "what others saw then is gone");
    assert!(evidence.judged + kept >= at(63_300));
    // A minute later they have what is to be judged, as far back as that.
    evidence.take_in(&telling(1, &detector, [bad(70_000), bad(70_100), bad(70_200)], at(76_000)), at(76_000));
    assert_eq!(evidence.judged_by(1, at(76_000)), Judgement::Suspected);
}
