//! What belongs to another generation changes nothing.

use super::*;

/// A batch with everything that a batch can hold.
fn full(one: &Instance, generation: Generation) -> Vec<u8> {
    let mut log = CallLog::new(one.horizon);
    log.add(failed(at(1)));
    let vote = Vote { voter: "somebody".into(), cast: at(1), until: at(90_000) };
    let calls = Some(ToldCalls { rule: one.rule, log, retry_after: Some(ms(9)) });
    let probes = vec![Probed::ended(0, Some(true), None), Probed::accepted(1), Probed::ended(2, None, None)];
    Batch { generation, calls, probes, vote: Some(vote) }.save()
}

proptest! {
    #[test]
    fn batches_of_another_generation_change_nothing(
        trips in 0_usize..4,
        other in prop_oneof![0_u64..12, any::<u64>()],
        voting in any::<bool>(),
    ) {
        let trigger = Box::new(failures(1).within(ms(1_000)));
        let mut one = if voting { Instance::voting(1, trigger, 1) } else { Instance::new(1, trigger) };
        let mut shared = Shared::at(at(2));
        for _ in 0..trips {
            shared.order(&mut one, Command::Trip);
            shared.order(&mut one, Command::Reset);
        }
        prop_assume!(other != shared.record.generation().get());
        let batch = full(&one, Generation::new(other));
        let before = shared.record.clone();
        let merged = shared.merge(&mut one, &[batch], &[]);
        prop_assert!(!merged.changed && !merged.began);
        prop_assert_eq!(shared.record, before);
    }

    #[test]
    fn bytes_that_are_no_batch_are_passed_over(bytes in prop::collection::vec(any::<u8>(), 0..80), format in 0_u8..3) {
        let mut one = Instance::new(1, patient());
        let mut shared = Shared::at(at(2));
        let good = one.batch(&shared.record, &[failed(at(1))]);
        let foreign = [vec![format.wrapping_mul(7)], bytes].concat();
        prop_assume!(Batch::load(&foreign).is_err());
        shared.merge(&mut one, &[foreign, good], &[]);
        prop_assert_eq!(shared.record.failures(), 1, "those beside it count");
    }
}

#[test]
fn after_a_trip_in_the_middle_the_rest_of_a_round_belongs_to_the_past() {
    let mut one = Instance::new(1, patient());
    let mut shared = Shared::cooled_down(&mut one);
    let lease = shared.order(&mut one, Command::Lease).granted[0];
    let generation = shared.record.generation();
    let good = Batch { generation, calls: None, probes: vec![Probed::ended(lease, Some(false), None)], vote: None };
    let batches = [good.save(), full(&one, generation)];
    shared.merge(&mut one, &batches, &[]);
    assert_eq!((shared.record.state(), shared.record.failures()), (State::Closed, 0));
}

#[test]
fn every_transition_is_signed_and_of_the_next_generation() {
    let (mut one, mut other) = (Instance::new(1, patient()), Instance::new(2, patient()));
    let mut shared = Shared::at(at(2));
    for n in 1..4 {
        let merged = shared.order(&mut one, Command::Trip);
        assert!(merged.began && merged.changed);
        assert_eq!((shared.record.generation(), shared.record.decider), (Generation::new(2 * n), 1));
        assert!(!shared.order(&mut other, Command::Trip).began, "it is open");
        assert_eq!(shared.record.decider, 1);
        shared.order(&mut other, Command::Reset);
        assert_eq!((shared.record.generation(), shared.record.decider), (Generation::new(2 * n + 1), 2));
    }
}
