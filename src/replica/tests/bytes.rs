//! The record as bytes.

use sha2::{Digest, Sha256};

use super::*;
use crate::circuit::{History, MachineState, Override, ProbeRound, Standing, TransitionReason, Writer};
use crate::replica::evidence_log::RuleEvidence;
use crate::replica::record::Unreadable;
use crate::replica::record::translate;

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_nanos)
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let took = prop::option::of((0..u64::MAX).prop_map(Duration::from_nanos));
    let run = (time(), any::<bool>(), took, 1_u64..1_000);
    let made = |(ended, failed, took, count)| Run { count, ..Run::new(&run_of(ended, failed).took(took), 1) };
    prop::collection::vec(run.prop_map(made), 0..20)
}

fn run_of(ended: Timestamp, failed: bool) -> Call {
    if failed { Call::failure(ended) } else { Call::success(ended) }
}

fn held() -> impl Strategy<Value = RuleEvidence> {
    let horizon = prop_oneof![
        (1..u32::MAX).prop_map(Horizon::calls),
        (1..u64::MAX).prop_map(|n| Horizon::age(Duration::from_nanos(n)).failures_only()),
        (1..u32::MAX, 1..u64::MAX).prop_map(|(n, d)| Horizon::calls(n).widest(Horizon::age(Duration::from_nanos(d)))),
        Just(Horizon::everything()),
    ];
    let state = prop::option::of(prop::collection::vec(any::<u8>(), 0..50));
    (any::<u64>(), time(), any::<bool>(), horizon, runs(), state).prop_map(
        |(rule, touched, unevaluated, horizon, runs, bytes)| {
            let mut calls = CallLog::new(horizon);
            for run in runs {
                calls.add(run);
            }
            if let CallLog::Ordered { state, .. } = &mut calls {
                *state = bytes;
            }
            RuleEvidence { rule, touched, unevaluated, calls }
        },
    )
}

fn round() -> impl Strategy<Value = ProbeRound> {
    let probes = (9_u32..100).prop_map(|of| Probes::ratio(of, of).concurrent(9));
    (probes, prop::collection::vec(any::<bool>(), 0..9), prop::collection::vec(time(), 0..9)).prop_map(
        |(probes, results, admitted)| {
            let mut round = ProbeRound::new(&probes);
            for (n, now) in admitted.into_iter().enumerate() {
                if let Some(lease) = round.admit(&probes, now, false)
                    && n % 2 == 0
                {
                    round.accept(lease);
                }
            }
            results.into_iter().for_each(|failed| round.count(failed));
            round
        },
    )
}

fn standing() -> impl Strategy<Value = Standing> {
    let order = ("\\PC{0,40}", prop::option::of("\\PC{0,20}"), prop::option::of(0..u64::MAX), 0..3);
    let order = order.prop_map(|(reason, actor, expires, kind)| {
        let order = match kind {
            0 => Override::force_open(reason),
            1 => Override::disable(reason),
            _ => Override::dry_run(reason),
        };
        let order = actor.map_or(order.clone(), |actor| order.actor(actor));
        expires.map_or(order.clone(), |after| order.expires_in(Duration::from_nanos(after)))
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
            TransitionReason::Tripped,
            TransitionReason::Reset,
            TransitionReason::Overridden,
            TransitionReason::Resumed,
            TransitionReason::OverrideExpired,
        ]),
    ])
}

prop_compose! {
    fn record()(
        generation in 0_u64..1 << 48,
        decider in any::<u64>(),
        state in prop::sample::select(vec![State::Closed, State::Open, State::HalfOpen]),
        (since, open_until) in (time(), time()),
        reason in reason(),
        cooldown in any::<u64>(),
        (openings, opened_by_round) in (any::<u32>(), any::<bool>()),
        round in prop::option::of(round()),
        standing in prop::option::of(standing()),
        held in prop::collection::vec(held(), 0..3),
        votes in prop::collection::vec(("\\PC{0,10}", time(), time()), 0..5),
    ) -> Record {
        let vote = |(voter, cast, until): (String, _, _)| Vote { voter: voter.into(), cast, until };
        let cooldown = Duration::from_nanos(cooldown);
        let mut machine = MachineState::closed(Generation::new(generation), since);
        machine.state = state;
        *machine.history_mut() = History { open_until, cooldown, openings, reason, round, opened_by_round, standing };
        Record { decider, machine, evidence: held, votes: votes.into_iter().map(vote).collect() }
    }
}

/// The bytes with a checksum that fits.
fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let checksum = Sha256::digest(&body);
    body.extend(&checksum[..4]);
    body
}

proptest! {
    #[test]
    fn any_record_comes_back_from_its_bytes(record in record()) {
        prop_assert_eq!(Record::load(&record.save()), Ok(record));
    }

    #[test]
    fn any_flipped_bit_is_damage(record in record(), at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let mut bytes = record.save();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(matches!(Record::load(&bytes), Err(Unreadable::Corrupt(_))));
    }

    #[test]
    fn anything_cut_off_is_damage(record in record(), len in any::<prop::sample::Index>(), more in 1_usize..9) {
        let mut bytes = record.save();
        let cut = &bytes[..len.index(bytes.len())];
        prop_assert!(matches!(Record::load(cut), Err(Unreadable::Corrupt(_))));
        bytes.extend(vec![0; more]);
        prop_assert!(matches!(Record::load(&bytes), Err(Unreadable::Corrupt(_))));
    }

    #[test]
    fn a_newer_format_is_told_from_damage(body in prop::collection::vec(any::<u8>(), 0..200), format in 2_u8..) {
        let newer = sealed([b"FB", &[format][..], &body].concat());
        prop_assert_eq!(Record::load(&newer), Err(Unreadable::Newer(format)));
        let mut damaged = newer;
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        prop_assert!(matches!(Record::load(&damaged), Err(Unreadable::Corrupt(_))));
    }

    #[test]
    fn a_generation_that_cannot_be_is_damage(record in record(), generation in (1_u64 << 48) + 1..) {
        let mut record = record;
        record.machine.generation = Generation::new(generation);
        prop_assert!(matches!(Record::load(&record.save()), Err(Unreadable::Corrupt(_))));
    }

    #[test]
    fn bytes_of_chance_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Record::load(&bytes).is_err());
        Batch::load(&bytes).ok();
        let body = sealed([b"FB\x01", &bytes[..]].concat());
        Record::load(&body).ok();
    }

    /// A record of this release with bytes changed and a checksum that fits, as only malice makes it: what is read can be
    /// merged, and written again.
    #[test]
    fn a_record_made_in_malice_is_read_and_folded_without_panic(
        record in record(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = record.save();
        bytes.truncate(bytes.len() - 4);
        for (at, byte) in changes {
            let at = 3 + at.index(bytes.len() - 3);
            bytes[at] = byte;
        }
        if let Ok(record) = Record::load(&sealed(bytes)) {
            let mut one = Instance::new(1, patient());
            one.rule = record.evidence.first().map_or(0, |held| held.rule);
            one.replica.state.rule = one.rule;
            let mut shared = Shared { record, now: at(0) };
            shared.record.evidence.truncate(2);
            let merged = shared.merged_by(&mut one, &[], &[Command::Look]);
            one.apply(&merged.record, &[], at(0));
            merged.record.save();
        }
    }

    #[test]
    fn a_batch_comes_back_from_its_bytes(
        generation in any::<u64>(),
        held in prop::option::of(held()),
        probes in prop::collection::vec((any::<u32>(), 0_usize..4, prop::option::of(0..u64::MAX)), 0..6),
        vote in prop::option::of(("\\PC{0,20}", time(), time())),
    ) {
        let probes = probes.into_iter().map(|(lease, end, wait)| {
            let wait = wait.map(Duration::from_nanos);
            let failed = [None, Some(false), Some(true), None][end];
            Probed { retry_after: wait, accepted: end == 3, ..Probed::ended(lease, failed, None) }
        });
        let batch = Batch {
            generation: Generation::new(generation),
            calls: held.map(|held| ToldCalls { rule: held.rule, log: held.calls, retry_after: None }),
            probes: probes.collect(),
            vote: vote.map(|(voter, cast, until)| Vote { voter: voter.into(), cast, until }),
        };
        prop_assert_eq!(Batch::load(&batch.save()).expect("its own bytes"), batch);
    }

    /// Times keep their distance, on whichever clock.
    #[test]
    fn a_record_goes_to_another_clock_and_back(
        record in record_of_today(),
        here in 2_000_000_000_000_000_u64..4_000_000_000_000_000,
    ) {
        let (here, there) = (Timestamp::from_nanos(here), at(500_000));
        let elsewhere = record.by_clock(there, here);
        prop_assert_eq!(&elsewhere.by_clock(here, there), &record);
        prop_assert_eq!(elsewhere.matters(here), record.matters(there));
        prop_assert_eq!(elsewhere.ttl(here), record.ttl(there));
        prop_assert_eq!(elsewhere.live_votes(here), record.live_votes(there));
        prop_assert_eq!(elsewhere.generation(), record.generation());
    }
}

/// A record whose times are within half an hour.
fn record_of_today() -> impl Strategy<Value = Record> {
    (record(), 0_u64..1_000_000).prop_map(|(record, n)| {
        let near = |time: Timestamp| {
            if time == Timestamp::MAX { time } else { at((time.as_nanos() ^ n) % 1_000_000) }
        };
        let mut record = record;
        record.machine.since = near(record.machine.since);
        let history = record.machine.history_mut();
        history.move_times(near);
        for evidence in &mut record.evidence {
            evidence.touched = near(evidence.touched);
            evidence.calls.move_times(near);
        }
        record.votes.iter_mut().for_each(|vote| (vote.cast, vote.until) = (near(vote.cast), near(vote.until)));
        record
    })
}

#[test]
fn never_is_never_on_every_clock() {
    assert_eq!(translate(Timestamp::MAX, at(5), at(9)), Timestamp::MAX);
    assert_eq!(translate(at(4), at(5), Timestamp::ZERO), Timestamp::ZERO, "no clock goes below its origin");
    assert_eq!(translate(at(7), at(5), at(9)), at(11));
}

#[test]
fn a_length_that_the_bytes_do_not_have_asks_for_no_memory() {
    for huge in [u32::MAX, 1 << 30, 70_000] {
        let mut out = Writer::with_head(&[1]);
        out.u64(1);
        out.u8(0);
        out.u32(huge);
        assert!(Batch::load(&out.finish()).is_err());
    }
}
