//! Two rules at a time, each judged over what its own instances have seen.

use super::*;
use crate::circuit::detector::failure_rate;

fn rules(shared: &Shared) -> Vec<u64> {
    let mut rules: Vec<_> = shared.record.evidence.iter().map(|held| held.rule).collect();
    rules.sort_unstable();
    rules
}

fn of(n: u32) -> Instance {
    Instance::new(u64::from(n), Box::new(failures(n).within(ms(60_000))))
}

fn sorted(mut rules: Vec<u64>) -> Vec<u64> {
    rules.sort_unstable();
    rules
}

#[test]
fn of_three_rules_the_one_that_was_touched_last_gives_way() {
    let (mut a, mut b, mut c) = (of(101), of(102), of(103));
    let mut shared = Shared::at(at(1));
    let mut add = |one: &mut Instance, time| {
        shared.now = at(time);
        let batch = one.batch(&shared.record, &[failed(at(time))]);
        shared.merge(one, &[batch], &[]);
        assert!(shared.record.evidence.len() <= 2);
    };
    add(&mut a, 1);
    add(&mut b, 2);
    add(&mut a, 3);
    add(&mut c, 4);
    assert_eq!(rules(&shared), sorted(vec![a.rule, c.rule]));
    assert_eq!(shared.record.evidence_of(a.rule).map(|held| held.calls.count()), Some(2));
}

#[test]
fn each_rule_sees_the_calls_of_its_own_instances() {
    let (mut strict, mut lax) = (of(3), of(5));
    let mut shared = Shared::at(at(10));
    let batches =
        [strict.batch(&shared.record, &[failed(at(1)), failed(at(2))]), lax.batch(&shared.record, &[failed(at(3))])];
    shared.merge(&mut strict, &batches, &[]);
    assert_eq!(shared.record.state(), State::Closed, "two, not three");
    let batch = strict.batch(&shared.record, &[failed(at(9))]);
    shared.merge(&mut lax, &[batch], &[]);
    assert_eq!(shared.record.state(), State::Closed, "the other rule has not judged it");
    let look = shared.merge(&mut lax, &[], &[]);
    assert!(!look.changed);
    shared.merge(&mut strict, &[], &[]);
    assert_eq!(shared.record.state(), State::Open, "the next instance of the rule has");
}

#[test]
fn an_instance_that_finds_evidence_nobody_has_judged_has_it_judged() {
    let (mut strict, mut lax) = (of(2), of(5));
    let mut shared = Shared::at(at(10));
    shared.commit(&mut strict, &[]);
    let batch = strict.batch(&shared.record, &[failed(at(8)), failed(at(9))]);
    shared.merge(&mut lax, &[batch], &[]);
    strict.apply(&shared.record, &[], shared.now);
    assert!(strict.is_urgent(shared.now));
    assert!(shared.commit(&mut strict, &[]).began);
    assert!(!strict.is_urgent(shared.now), "it is done");
}

#[test]
fn a_trip_while_a_batch_is_on_its_way_is_as_urgent_as_the_first() {
    let mut one = of(1);
    let mut shared = Shared::at(at(10));
    shared.commit(&mut one, &[]);
    one.call(Outcome::Failure, at(10));
    assert!(one.is_urgent(at(10)));
    one.take_batch(at(10), at(10)).expect("a failure");
    assert!(!one.is_urgent(at(10)), "it is on its way");
    one.call(Outcome::Failure, at(11));
    one.replica.state.settle_batch(true);
    assert!(one.is_urgent(at(11)), "the fleet has not heard of this one");
    one.take_batch(at(11), at(11)).expect("the second");
    one.replica.state.settle_batch(true);
    assert!(!one.is_urgent(at(11)));
}

#[test]
fn a_trip_that_is_on_its_way_when_the_store_goes_away_opens_the_instance() {
    let mut one = of(1);
    let mut shared = Shared::at(at(10));
    shared.commit(&mut one, &[]);
    one.call(Outcome::Failure, at(10));
    one.take_batch(at(10), at(10)).expect("a failure");
    assert_eq!(one.replica.machine().state(), State::Closed);
    let away = Arc::from("gone");
    one.go_away(&away, at(11));
    assert_eq!(one.replica.machine().state(), State::Open);
}

/// A deploy from pooled evidence to votes, with the same detector.
#[test]
fn an_instance_that_votes_leaves_pooled_evidence_to_those_who_pool_it() {
    let (mut pools, mut votes) = (of(500), Instance::voting(2, Box::new(failures(500).within(ms(60_000))), 3));
    assert_eq!(pools.rule, votes.rule);
    let mut shared = Shared::at(at(20_000));
    for n in 0..50 {
        let many: Vec<_> = (0..20).map(|i| failed(at(n * 20 + i))).collect();
        let batch = pools.batch(&shared.record, &many);
        shared.merge(&mut votes, &[batch], &[]);
        assert!(shared.record.evidence[0].calls.runs().len() <= 256, "it is kept in bounds");
    }
    assert_eq!(shared.record.state(), State::Closed);
    shared.merge(&mut pools, &[], &[]);
    assert_eq!(shared.record.state(), State::Open);
}

proptest! {
    #[test]
    fn evidence_of_another_rule_passes_through_unharmed(
        made in prop::collection::vec((1_u64..20, any::<bool>()), 1..60),
        foreign in prop::collection::vec(any::<bool>(), 60),
    ) {
        let mut time = 0;
        let runs: Vec<_> = made.iter().map(|(gap, bad)| { time += gap; run(at(time), *bad) }).collect();
        let detector = || Box::new(failure_rate(1.0).of_last(50).min_calls(50));
        let (mut mine, mut other) = (Instance::new(1, detector()), of(7_000));
        let (mut direct, mut across) = (Shared::at(at(time)), Shared::at(at(time)));
        for (run, foreign) in runs.iter().zip(foreign) {
            let batch = mine.batch(&direct.record, &[*run]);
            direct.merge(&mut mine, std::slice::from_ref(&batch), &[]);
            across.merge(if foreign { &mut other } else { &mut mine }, &[batch], &[]);
        }
        direct.merge(&mut mine, &[], &[]);
        across.merge(&mut mine, &[], &[]);
        prop_assert_eq!(direct.record.evidence_of(mine.rule), across.record.evidence_of(mine.rule));
    }
}
