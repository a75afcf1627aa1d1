//! What belongs to another generation changes nothing.

use super::*;

/// A batch with everything that a batch can hold.
fn full(one: &Instance, generation: Generation) -> Vec<u8> {
    let calls = one.batch(&Record::fresh(generation, at(0)), &[failed(at(1))]);
    let telling = Batch::load(&calls).expect("its own bytes").telling;
    let vote = Vote { voter: "another".into(), cast: at(1), until: at(90_000), by_slowness: false };
    let probes = vec![
        Probed::new(0, ProbeNews::Failed, at(1)),
        Probed::new(1, ProbeNews::Accepted, at(1)),
        Probed::new(2, ProbeNews::Ended, at(1)),
        Probed::new(3, ProbeNews::Began, at(1)),
    ];
    Batch { generation, telling, probes, vote: Some(vote) }.save()
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
    let lease = shared.ask(&mut one, true).expect("a place is free");
    let generation = shared.record.generation();
    let probes = vec![Probed::new(lease, ProbeNews::Succeeded, shared.now)];
    let good = Batch { generation, telling: None, probes, vote: None };
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

/// What readers refuse, writers must not make, and no number is the last.
#[test]
fn generations_go_round_and_the_one_after_is_always_the_later() {
    for number in [0, 1, 1 << 48, (1 << 63) - 1, 1 << 63, u64::MAX - 1, u64::MAX] {
        let (this, next) = (Generation::new(number), Generation::new(number).next());
        assert!(next.is_after(this) && !this.is_after(next), "{this}");
        assert!(!this.is_after(this));
    }
    assert!(Generation::new(3).is_after(Generation::new(u64::MAX - 3)));
    assert!(!Generation::new(u64::MAX - 3).is_after(Generation::new(3)));
}

/// The same for a whole record: open for centuries, of the last generation there is.
#[test]
fn an_operator_lifts_whatever_stands_in_a_record() {
    const YEARS: Duration = Duration::from_secs(500 * 365 * 24 * 60 * 60);
    for number in [1 << 48, (1 << 63) - 1, u64::MAX - 1, u64::MAX] {
        let record = Record::fresh(Generation::new(number), at(0)).opened(at(0) + YEARS, at(0));
        let mut shared = Shared::holding(record, at(5));
        let mut one = Instance::new(1, patient());
        one.poll(&mut shared);
        assert_eq!(one.replica.machine().state(), State::Open, "{number}");
        one.step(Input::Reset, at(6));
        shared.now = at(6);
        assert!(one.look(&mut shared), "the command is written");
        assert_eq!(shared.record.state(), State::Closed);
        assert_eq!(shared.record.generation(), Generation::new(number).next());

        let mut other = Instance::new(2, patient());
        other.poll(&mut shared);
        assert!(!one.poll(&mut shared) && !other.poll(&mut shared), "there is nothing left to write");
        let states = [&one, &other].map(|one| one.replica.machine().state());
        assert_eq!(states, [State::Closed; 2], "all see the same");
    }
}

/// One that had started while the store was away opened the fleet for what had been before the fleet closed.
#[test]
fn what_an_instance_saw_before_the_fleet_closed_opens_nothing_when_it_first_hears_of_it() {
    let mut voter = Instance::new(9, patient());
    let mut shared = Shared::at(at(3_000));
    shared.order(&mut voter, Command::Trip);
    shared.now = at(5_000);
    shared.order(&mut voter, Command::Reset);
    for (first, is_open) in [(2_000, false), (5_500, true)] {
        let mut one = Instance::new(1, Box::new(failures(3).within(ms(60_000))));
        one.go_away(&"no store yet".into(), at(0));
        (0..3).for_each(|n| assert!(one.call(Outcome::Failure, at(first + 100 * n))));
        assert_eq!(one.replica.machine().state(), State::Open, "by itself");
        let mut there = Shared::holding(shared.record.clone(), at(6_000));
        for _ in 0..3 {
            one.poll(&mut there);
            there.now = there.now + ms(1_000);
        }
        let expected = if is_open { State::Open } else { State::Closed };
        assert_eq!((there.record.state(), one.replica.machine().state()), (expected, expected), "{first}");
    }
}

/// Its own detector still counted what the fleet was not told: one failure opened the fleet, with two from before it closed.
#[test]
fn a_detector_counts_nothing_from_before_the_fleet_closed_of_which_it_first_hears() {
    type Make = fn() -> Box<dyn Detector>;
    let rules: [Make; 3] = [
        || Box::new(failures(3).within(ms(60_000))),
        || Box::new(crate::circuit::detector::consecutive_failures(3)),
        || Box::new(crate::circuit::detector::failure_rate(0.5).within(ms(60_000)).min_calls(3)),
    ];
    let mut voter = Instance::new(9, patient());
    let mut closed = Shared::at(at(3_000));
    closed.order(&mut voter, Command::Trip);
    closed.now = at(5_000);
    closed.order(&mut voter, Command::Reset);
    for (rule, (first, is_open)) in rules.iter().flat_map(|rule| [(rule, (2_000, false)), (rule, (5_500, true))]) {
        let mut one = Instance::new(1, rule());
        (0..2).for_each(|n| assert!(one.call(Outcome::Failure, at(first + 100 * n))));
        let mut shared = Shared::holding(closed.record.clone(), at(6_000));
        one.poll(&mut shared);
        assert!(one.call(Outcome::Failure, at(6_100)));
        for _ in 0..4 {
            shared.now = shared.now + ms(1_000);
            one.poll(&mut shared);
        }
        let expected = if is_open { State::Open } else { State::Closed };
        assert_eq!(shared.record.state(), expected, "{}, calls from {first} ms on", rule().rule());
    }
}
