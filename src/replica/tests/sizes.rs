//! A record stays small, whatever is put in.

use super::*;
use crate::circuit::detector::{failure_rate, slow_call_rate};
use crate::circuit::{Evidence, Override};
use crate::replica::evidence_log::MAX_RUNS;

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn coarser_times_make_calls_older_never_younger_and_lose_none(
        times in prop::collection::vec((0_u64..1_000_000_000_000, any::<bool>()), 1..400),
        most in 4_usize..300,
    ) {
        let mut evidence = Evidence::default();
        for (time, is_failed) in &times {
            evidence.add(run(Timestamp::from_nanos(*time), *is_failed));
        }
        let exact = evidence.clone();
        evidence.coarsen(most);
        prop_assert!(evidence.len() <= most);
        prop_assert_eq!(evidence.calls(), exact.calls());
        for is_failed in [false, true] {
            let by_age = |evidence: &Evidence| -> Vec<Timestamp> {
                let of_kind = evidence.runs().filter(|run| run.failed == is_failed);
                of_kind.flat_map(|run| std::iter::repeat_n(run.ended, usize::try_from(run.count).unwrap_or(0))).collect()
            };
            for (coarse, exact) in by_age(&evidence).into_iter().zip(by_age(&exact)) {
                prop_assert!(coarse <= exact);
            }
        }
        let again = evidence.clone();
        evidence.coarsen(most);
        prop_assert_eq!(evidence, again, "once is enough");
    }

    #[test]
    fn thousands_of_times_and_durations_fit(
        slow in any::<bool>(),
        seed in any::<u64>(),
        batches in 1_u64..12,
    ) {
        let detector: Box<dyn Detector> = if slow {
            Box::new(slow_call_rate(1.0).slower_than(ms(1)).within(ms(60_000)).min_calls(1_000_000))
        } else {
            Box::new(failures(60_000).within(ms(60_000)))
        };
        let mut one = Instance::new(1, detector);
        let mut shared = Shared::at(at(60_000));
        let mut draw = seed;
        let mut sent = 0;
        for _ in 0..batches {
            let runs: Vec<_> = (0..1_000).map(|_| {
                draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let ended = Timestamp::from_nanos(at(0).as_nanos() + (draw >> 20) % 59_000_000_000);
                let took = slow.then(|| Duration::from_nanos(draw));
                Run { took, ..failed(ended) }
            }).collect();
            sent += runs.len() as u64;
            let batch = one.batch(&shared.record, &runs);
            shared.merge(&mut one, &[batch], &[]);
            let held = &shared.record.evidence[0].calls;
            prop_assert!(held.runs().len() <= MAX_RUNS);
            if !slow {
                // Those at the edge of the window may have become too old.
                prop_assert!(held.count() <= sent && held.count() >= sent / 2);
            }
        }
    }
}

/// A detector of a user's own with very many bytes.
#[derive(Debug)]
struct Wordy(usize);

impl Detector for Wordy {
    fn record(&mut self, _call: &Call) {}

    fn save(&self) -> Vec<u8> {
        vec![7; self.0]
    }

    never_trips!();
}

#[test]
fn two_rules_of_ones_own_with_many_bytes_and_long_queues_fit_with_all_the_rest() {
    const K: usize = 1_024;
    let mut shared = Shared::at(at(9));
    // Both are as large as one may be, and the calls of the second wait for an instance that can show them to it.
    let (mut one, mut other) = (Instance::new(1, Box::new(Wordy(32 * K))), Instance::new(2, Box::new(Wordy(31 * K))));
    for _ in 0..3 {
        let runs: Vec<_> = (0..2_000).map(|n| failed(at(n % 9))).collect();
        let batches = [one.batch(&shared.record, &runs), other.batch(&shared.record, &runs)];
        shared.merge(&mut one, &batches, &[]);
        shared.merge(&mut other, &batches, &[]);
        for n in 0..1_000 {
            let voter = format!("{n:060}").into();
            let vote = Some(Vote { voter, cast: at(9), until: at(90_000) });
            let batch = Batch { generation: shared.record.generation(), calls: None, probes: Vec::new(), vote }.save();
            shared.merge(&mut one, &[batch], &[]);
        }
    }
    let held = shared.record.evidence_of(other.rule).expect("the newest evidence is kept");
    assert!(matches!(&held.calls, CallLog::Ordered { state: Some(state), .. } if state.len() == 31 * K));
}

#[test]
fn a_detector_with_too_many_bytes_is_not_kept() {
    let (mut one, mut shared) = (Instance::new(1, Box::new(Wordy(33_000))), Shared::at(at(9)));
    let batch = one.batch(&shared.record, &[failed(at(1))]);
    shared.merge(&mut one, &[batch], &[]);
    let held = shared.record.evidence_of(one.rule).expect("its place");
    assert!(matches!(&held.calls, CallLog::Ordered { state: None, queue } if queue.is_empty()));
}

#[test]
fn the_longest_round_with_the_longest_words_fits() {
    let most = 1 << 16;
    let mut one = Instance::probing(1, Probes::ratio(most, most).concurrent(most));
    let mut shared = Shared::cooled_down(&mut one);
    let commands = vec![Command::Lease; 2_000];
    for _ in 0..20 {
        let granted = shared.merge(&mut one, &[], &commands).granted;
        let probes = granted.into_iter().map(|lease| Probed::ended(lease, Some(false), None)).collect();
        let batch = Batch { generation: shared.record.generation(), calls: None, probes, vote: None }.save();
        shared.merge(&mut one, &[batch], &[]);
    }
    assert_eq!(shared.record.state(), State::HalfOpen);
    let words = "w".repeat(100_000);
    shared.order(&mut one, Command::Override(Override::disable(&words).actor(&words)));
}

#[test]
fn what_an_instance_keeps_while_its_store_is_away_is_bounded() {
    let mut one = Instance::new(1, Box::new(failure_rate(1.0).within(ms(60_000)).min_calls(1_000_000)));
    let mut shared = Shared::new();
    shared.commit(&mut one, &[]);
    for n in 0..20_000 {
        one.call(Outcome::Failure, at(n));
    }
    let batch = one.take_batch(at(20_000), at(20_000)).expect("very many failures");
    assert!(batch.len() < 16 * 1_024, "{} bytes", batch.len());
}
