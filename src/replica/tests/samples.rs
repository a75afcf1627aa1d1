//! Records of chance.
#![expect(clippy::panic, reason = "a test fails loudly")]

use super::*;
use crate::circuit::detector::{consecutive_failures, failure_rate, slow_call_rate};
use crate::circuit::{History, MachineState, Override, ProbeRound, Standing, TransitionReason};
use crate::replica::pooled::samples::telling;
use crate::replica::pooled::{Judgement, RuleEvidence, Telling, Trip};
use crate::replica::record::Want;

pub(super) fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_nanos)
}

/// Detectors of every kind of evidence: calls in order, by time, times of failures, all of them, and their own bytes.
pub(super) fn detectors() -> Vec<Box<dyn Detector>> {
    let slow = || slow_call_rate(0.5).slower_than(ms(1_000));
    vec![
        Box::new(consecutive_failures(3)),
        Box::new(failures(4).of_last(20)),
        Box::new(failure_rate(0.5).within(ms(10_000)).min_calls(5)),
        Box::new(slow().of_last(10)),
        Box::new(failures(5).within(ms(60_000))),
        Box::new(consecutive_failures(4).or(failures(6).within(ms(3_000))).or(slow().within(ms(9_000)))),
        Box::new(failures(5).within(ms(20_000)).and(failure_rate(0.6).of_last(10))),
        Box::new(Order31 { most: u64::MAX, ..Order31::default() }),
    ]
}

/// What instances tell, one after another: who, after how long, which calls, and with which words beside them.
pub(super) fn told() -> impl Strategy<Value = Vec<(u64, u64, Vec<(u64, bool, bool)>, u8)>> {
    let calls = prop::collection::vec((0_u64..120, prop::bool::weighted(0.4), prop::bool::weighted(0.2)), 0..12);
    prop::collection::vec((1_u64..5, 0_u64..900, calls, any::<u8>()), 0..12)
}

/// One telling of [`told`], at a time.
pub(super) fn said(
    (writer, _, calls, words): &(u64, u64, Vec<(u64, bool, bool)>, u8),
    detector: &dyn Detector,
    now: Timestamp,
    suspicion: Option<u64>,
) -> Telling {
    let before = |ago: u64| Timestamp::from_nanos(now.as_nanos() - crate::time::nanos(ms(ago)));
    let total: u64 = calls.iter().map(|(gap, ..)| gap).sum();
    let mut passed = 0;
    let ended = calls.iter().map(|(gap, failed, slow)| {
        passed += gap;
        (before(total - passed), *failed, *slow)
    });
    let told = telling(*writer, detector, ended.collect::<Vec<_>>(), now).with_rate(f64::from(*words));
    let trip = Trip { at: before(total / 2), tally: Tally::failures(3), retry_after: Some(ms(total)) };
    let told = if words & 1 != 0 { told.tripped(trip) } else { told };
    let told = if words & 2 != 0 { told.deaf() } else { told };
    match suspicion.filter(|_| words & 4 != 0) {
        Some(number) => told.answering(number).promising(f64::from(*words)),
        None => told,
    }
}

/// Evidence as it comes about: told, judged, suspected, cleared, begun anew.
pub(super) fn evidence() -> impl Strategy<Value = RuleEvidence> {
    (0..detectors().len(), told(), any::<bool>()).prop_map(|(nth, tellings, dry_run)| {
        let detector = &*detectors()[nth];
        let mut now = at(100_000);
        let mut evidence = RuleEvidence::new(&telling(1, detector, [], now), now);
        for told in &tellings {
            now = now + ms(told.1);
            let number = evidence.suspicion().map(|suspicion| suspicion.number);
            evidence.take_in(&said(told, detector, now, number), now);
            let met = matches!(evidence.judged_by(told.0, now), Judgement::Met(_));
            let met = met || evidence.judge_by(&mut Order31::default(), now, ms(500)).is_some();
            if met && dry_run {
                evidence.begin_anew(now);
            }
        }
        evidence
    })
}

fn round() -> impl Strategy<Value = ProbeRound> {
    let probes = (9_u32..100).prop_map(|of| Probes::ratio(of, of).concurrent(9));
    (
        probes,
        prop::collection::vec((any::<bool>(), 0_u8..4), 0..9),
        prop::collection::vec((time(), any::<u64>()), 0..9),
        0..3,
    )
        .prop_map(|(probes, results, admitted, given_up)| {
            let mut round = ProbeRound::new(&probes);
            for (n, (now, owner)) in admitted.into_iter().enumerate() {
                match round.admit(&probes, now, false) {
                    Some(lease) if n % 3 == 0 => drop(round.accept(lease, u8::try_from(2 * n).unwrap_or(0), now)),
                    Some(lease) if n % 3 == 1 => round.give_to(lease, owner),
                    _ => {}
                }
            }
            for (failed, slow) in results {
                round.count(failed, slow);
                round.log_result(failed);
            }
            for _ in 0..given_up {
                let lease = round.admit(&probes, at(0), false).and_then(|lease| round.give_back(lease));
                lease.iter().for_each(|lease| round.end_without_evidence(lease, true));
            }
            round
        })
}

fn standing() -> impl Strategy<Value = Standing> {
    let order = ("\\PC{0,40}", prop::option::of("\\PC{0,20}"), prop::option::of(0..u64::MAX), 0..3);
    let order = order.prop_map(|(reason, actor, expires, kind)| {
        let order = match kind {
            0 => Override::force_open(reason),
            1 => Override::disable(reason),
            _ => Override::dry_run(reason),
        };
        let order = actor.map_or(order.clone(), |actor| order.by(actor));
        expires.map_or(order.clone(), |after| order.expires_after(Duration::from_nanos(after)))
    });
    (order, time()).prop_map(|(order, until)| Standing { order, until })
}

fn reason() -> impl Strategy<Value = Option<TransitionReason>> {
    let tally = (any::<u64>(), prop::option::of(0..u64::MAX), any::<bool>()).prop_map(|(count, calls, slow)| {
        let tally = if slow { Tally::slow_calls(count) } else { Tally::failures(count) };
        calls.map_or(tally, |calls| tally.of(calls))
    });
    prop::option::of(prop_oneof![
        tally.prop_map(TransitionReason::Detected),
        any::<u32>().prop_map(TransitionReason::Voted),
        prop::sample::select(vec![
            TransitionReason::CooldownOver,
            TransitionReason::ProbesSucceeded,
            TransitionReason::ProbeFailed,
            TransitionReason::ProbeExpired,
            TransitionReason::ProbesInconclusive,
            TransitionReason::ProbesGivenUp,
            TransitionReason::HalfOpenTooLong,
            TransitionReason::Tripped,
            TransitionReason::Reset,
            TransitionReason::Overridden,
            TransitionReason::Resumed,
            TransitionReason::OverrideExpired,
        ]),
    ])
}

/// What two instances with calls of one moment found out.
pub(super) fn verdict() -> crate::replica::pooled::Verdict {
    let rule = failures(2).within(ms(1_000));
    let mut evidence = RuleEvidence::new(&telling(1, &rule, [], at(0)), at(0));
    for writer in [1, 2] {
        evidence.take_in(&telling(writer, &rule, [(at(5), true, false)], at(6)), at(6));
    }
    let Judgement::Met(verdict) = evidence.judged_by(1, at(6)) else { panic!("two failures") };
    verdict
}

prop_compose! {
    pub(super) fn record()(
        generation in any::<u64>(),
        (decider, handovers) in (any::<u64>(), any::<u32>()),
        state in prop::sample::select(vec![State::Closed, State::Open, State::HalfOpen]),
        (since, open_until) in (time(), time()),
        reason in reason(),
        cooldown in any::<u64>(),
        (openings, opened_by_round, slowness_counts, awaits_cooldown)
            in (any::<u32>(), any::<bool>(), any::<bool>(), any::<bool>()),
        round in prop::option::of(round()),
        standing in prop::option::of(standing()),
        evidence in prop::collection::vec(evidence(), 0..4),
        votes in prop::collection::vec(("\\PC{0,10}", time(), time(), any::<bool>()), 0..5),
        (has_verdict, at, up_to) in (any::<bool>(), time(), time()),
        wants in prop::collection::vec((any::<u64>(), time()), 0..16),
        extension in prop::collection::vec(any::<u8>(), 0..40),
    ) -> Record {
        let vote = |(voter, cast, until, by_slowness): (String, _, _, _)| {
            Vote { voter: voter.into(), cast, until, by_slowness }
        };
        let cooldown = Duration::from_nanos(cooldown);
        let mut machine = MachineState::closed(Generation::new(generation), since);
        machine.state = state;
        *machine.history_mut() = History {
            open_until,
            cooldown,
            openings,
            reason,
            round,
            opened_by_round,
            slowness_counts,
            awaits_cooldown,
            standing,
        };
        let mut record = Record::fresh(Generation::new(generation), since);
        record.decider = decider;
        record.machine = machine;
        record.evidence = evidence;
        record.votes = votes.into_iter().map(vote).collect();
        record.verdict = has_verdict.then(|| crate::replica::pooled::Verdict { at, up_to, ..verdict() });
        record.wants = wants.into_iter().map(|(writer, since)| Want { writer, since }).collect();
        record.handovers = handovers;
        record.extension = extension;
        record
    }
}
