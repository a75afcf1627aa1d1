//! A record stays small, whatever is put in.
#![expect(clippy::cast_possible_truncation, reason = "there are a handful of writers")]

use super::*;
use crate::circuit::Override;
use crate::circuit::detector::{consecutive_failures, failure_rate, slow_call_rate};

/// What the evidence of a rule that any instance can judge takes at most.
const RULE_BYTES: usize = 8 * 1_024;

fn slow(ended: Timestamp) -> Run {
    Run::new(&Call::success(ended).took(Some(Duration::from_secs(9))), 1)
}

/// Goes on with each number.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 20
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn thousands_of_calls_of_many_instances_fit(
        seed in any::<u64>(),
        writers in 1_u64..100,
        spread in prop::sample::select(vec![1_000_u64, 20_000, 200_000]),
    ) {
        let detectors = || -> Vec<Box<dyn Detector>> { vec![
            Box::new(slow_call_rate(1.0).slower_than(ms(1)).within(ms(60_000)).min_calls(1_000_000)),
            Box::new(failures(60_000).within(ms(60_000))),
            Box::new(failure_rate(1.0).of_last(10_000).min_calls(10_000)),
            Box::new(consecutive_failures(10_000)),
        ] };
        for nth in 0..detectors().len() {
            let mut draws = seed;
            let mut instances: Vec<_> =
                (1..=writers).map(|writer| Instance::new(writer, detectors().swap_remove(nth))).collect();
            let mut shared = Shared::new();
            for batch in 0..10 {
                shared.now = at((batch + 1) * spread / 10);
                let one = draw(&mut draws) % writers;
                let one = &mut instances[one as usize];
                let mut times: Vec<_> = (0..800).map(|_| draw(&mut draws) % (spread / 10)).collect();
                times.sort_unstable();
                let runs: Vec<_> = times.iter().map(|time| {
                    let ended = at(batch * spread / 10 + time);
                    match draw(&mut draws) % 4 {
                        0 => failed(ended),
                        1 => slow(ended),
                        _ => fine(ended),
                    }
                }).collect();
                let batch = one.batch(&shared.record, &runs);
                shared.merge(one, &[batch], &[]);
                let bytes = shared.record.save().len();
                prop_assert!(bytes < RULE_BYTES, "{bytes} bytes: {}", one.detector().rule());
            }
        }
    }
}

/// A detector of a user's own with very many bytes.
#[derive(Clone, Debug)]
struct Wordy(usize);

impl Detector for Wordy {
    fn record(&mut self, _call: &Call) {}

    fn save(&self) -> Vec<u8> {
        vec![7; self.0]
    }

    never_trips!();
}

#[test]
fn four_rules_of_ones_own_with_many_bytes_and_long_queues_fit_with_all_the_rest() {
    const K: usize = 1_024;
    let mut shared = Shared::at(at(9));
    let mut instances: Vec<_> =
        (0..4).map(|n| Instance::new(n, Box::new(Wordy(32 * K - usize::try_from(n).unwrap_or(0))))).collect();
    for round in 1..4 {
        shared.now = at(round * 3_000);
        let runs: Vec<_> = (0..2_000).map(|n| failed(at((round - 1) * 3_000 + n % 9))).collect();
        for one in &mut instances {
            let batch = one.batch(&shared.record, &runs);
            shared.merge(one, &[batch], &[]);
        }
        for n in 0..1_000 {
            let voter = format!("{n:060}").into();
            let vote = Some(Vote { voter, cast: shared.now, until: at(90_000), by_slowness: true });
            let generation = shared.record.generation();
            let batch = Batch { generation, telling: None, probes: Vec::new(), vote }.save();
            shared.merge(&mut instances[3], &[batch], &[]);
        }
    }
    let last = &instances[3];
    assert!(shared.record.evidence_of(last.rule).is_some(), "the newest evidence is kept");
}

#[test]
fn a_detector_with_too_many_bytes_is_not_kept() {
    let (mut one, mut shared) = (Instance::new(1, Box::new(Wordy(33_000))), Shared::at(at(9)));
    let batch = one.batch(&shared.record, &[failed(at(1))]);
    shared.merge(&mut one, &[batch], &[]);
    shared.now = at(5_000);
    shared.merge(&mut one, &[], &[]);
    let held = shared.record.evidence_of(one.rule).expect("its place");
    assert_eq!(held.opaque_due(ms(2_000)), None, "it has seen the call");
    assert!(shared.record.save().len() < 1_024);
}

#[test]
fn the_longest_round_with_the_longest_words_fits() {
    let most = 1 << 16;
    let mut one = Instance::probing(1, Probes::ratio(most, most).concurrent(most));
    let mut shared = Shared::cooled_down(&mut one);
    let commands = vec![Command::Lease { may_want: false }; 2_000];
    for _ in 0..20 {
        shared.merge(&mut one, &[], &commands);
        let now = shared.now;
        let probes = shared.leases().into_iter().map(|(lease, _)| Probed::new(lease, ProbeNews::Succeeded, now));
        let probes = probes.collect();
        let batch = Batch { generation: shared.record.generation(), telling: None, probes, vote: None }.save();
        shared.merge(&mut one, &[batch], &[]);
    }
    assert_eq!(shared.record.state(), State::HalfOpen);
    let words = "w".repeat(100_000);
    shared.order(&mut one, Command::Override(Override::disable(&words).by(&words)));
}

#[test]
fn no_more_instances_wait_for_a_lease_than_a_record_can_hold() {
    let mut one = Instance::probing(1, Probes::one());
    let mut shared = Shared::cooled_down(&mut one);
    shared.ask(&mut one, false).expect("the place");
    for writer in 2..200 {
        shared.ask(&mut Instance::probing(writer, Probes::one()), true);
    }
    let waiting: Vec<_> = shared.record.wants.iter().map(|want| want.writer).collect();
    assert_eq!(waiting, (2..18).collect::<Vec<_>>(), "the first sixteen, in the order in which they came");
}

#[test]
fn what_an_instance_keeps_while_its_store_is_away_is_bounded() {
    let detectors: [Box<dyn Detector>; 2] = [
        Box::new(failure_rate(1.0).within(ms(60_000)).min_calls(1_000_000)),
        Box::new(failures(10_000).of_last(10_000)),
    ];
    for detector in detectors {
        let mut one = Instance::new(1, detector);
        let mut shared = Shared::new();
        shared.commit(&mut one, &[]);
        for n in 0..20_000 {
            one.call(if n % 2 == 0 { Outcome::Failure } else { Outcome::Success }, at(n));
        }
        let batch = one.take_batch(at(20_000), at(20_000)).expect("very many failures");
        assert!(batch.len() < 64 * 1_024, "{} bytes", batch.len());
    }
}
