//! Several rules at a time, each judged over what its own instances have seen.

use super::bench::moment;
use super::*;
use crate::circuit::FleetFact;
use crate::circuit::detector::consecutive_failures;

fn rules(shared: &Shared) -> Vec<u64> {
    sorted(shared.record.evidence.iter().map(|held| held.rule).collect())
}

fn of(n: u32) -> Instance {
    Instance::new(u64::from(n), Box::new(failures(n).within(ms(60_000))))
}

fn sorted(mut rules: Vec<u64>) -> Vec<u64> {
    rules.sort_unstable();
    rules
}

#[test]
fn of_five_rules_the_one_untouched_for_longest_gives_way_and_is_told() {
    let mut instances: Vec<_> = (101..106).map(of).collect();
    let mut shared = Shared::at(at(1));
    for (time, nth) in (1..).zip([0, 1, 2, 3, 0]) {
        shared.now = at(time);
        let batch = instances[nth].batch(&shared.record, &[failed(at(time))]);
        let merged = shared.merge(&mut instances[nth], &[batch], &[]);
        assert!(!merged.drops_evidence, "there is a place for each of four");
    }
    assert_eq!(rules(&shared), sorted(instances[..4].iter().map(|one| one.rule).collect()));
    shared.now = at(9);
    let batch = instances[4].batch(&shared.record, &[failed(at(9))]);
    let merged = shared.merge(&mut instances[4], &[batch], &[]);
    assert!(merged.drops_evidence);
    let left = [0, 2, 3, 4].map(|nth: usize| instances[nth].rule);
    assert_eq!(rules(&shared), sorted(left.to_vec()), "the second was touched last before all others");
    assert_eq!(shared.record.evidence_of(instances[0].rule).map(|held| held.failures()), Some(2));
}

#[test]
fn listeners_hear_that_evidence_had_to_give_way() {
    let mut shared = Shared::at(at(5));
    let mut instances: Vec<_> = (101..106).map(of).collect();
    for one in &mut instances[..4] {
        let batch = one.batch(&shared.record, &[failed(at(4))]);
        shared.merge(one, &[batch], &[]);
    }
    let last = &mut instances[4];
    last.poll(&mut shared);
    last.call(Outcome::Failure, at(5));
    shared.now = at(6);
    let mut told = Facts::default();
    let rules = last.rules.clone();
    let mut turn = crate::replica::Turn { now: shared.now, at: moment(shared.now), rules: &rules, facts: &mut told };
    let polled = last.replica.poll(&mut turn, &mut |_| Ok(()));
    assert!(matches!(polled.request, Some(crate::replica::Request::Commit(_))), "{polled:?}");
    let store = crate::store::StoreTime::from(shared.now);
    let answer = crate::store::Committed::Applied { version: crate::store::Version(99), now: store };
    last.replica.handle(crate::replica::Response::Committed(Ok(&answer)), shared.now, &mut turn);
    let told: Vec<_> = told.iter().collect();
    assert!(told.contains(&crate::circuit::Fact::Fleet(FleetFact::EvidenceDropped)), "{told:?}");
}

#[test]
fn each_rule_sees_the_calls_of_its_own_instances_and_any_instance_judges_it() {
    let (mut strict, mut lax) = (of(3), of(5));
    let mut shared = Shared::at(at(10));
    let batches =
        [strict.batch(&shared.record, &[failed(at(1)), failed(at(2))]), lax.batch(&shared.record, &[failed(at(3))])];
    shared.merge(&mut strict, &batches, &[]);
    assert_eq!(shared.record.state(), State::Closed, "two, not three");
    let batch = strict.batch(&shared.record, &[failed(at(9))]);
    shared.merge(&mut lax, &[batch], &[]);
    assert_eq!(shared.record.state(), State::Open);
    assert_eq!(shared.record.verdict.map(|verdict| verdict.tally), Some(Tally::failures(3)));
}

#[test]
fn a_trip_is_urgent_until_it_is_told_and_is_told_once() {
    let mut one = Instance::new(1, Box::new(consecutive_failures(2)));
    let mut shared = Shared::at(at(10));
    shared.commit(&mut one, &[]);
    one.call(Outcome::Failure, at(9));
    assert!(!one.is_urgent(), "a failure may wait for company");
    one.call(Outcome::Failure, at(10));
    assert!(one.is_urgent());
    one.take_batch(at(10), at(10)).expect("two failures and a trip");
    assert!(!one.is_urgent(), "it is on its way");
    one.call(Outcome::Failure, at(11));
    one.replica.state.settle_batch(true);
    assert!(!one.is_urgent(), "the fleet has heard of a trip in this generation");
    assert!(one.replica.waits().is_some(), "the failure still waits");
}

#[test]
fn a_trip_whose_batch_is_lost_is_told_again() {
    let mut one = of(1);
    let mut shared = Shared::at(at(10));
    shared.commit(&mut one, &[]);
    one.call(Outcome::Failure, at(10));
    one.take_batch(at(10), at(10)).expect("a trip");
    one.replica.state.settle_batch(false);
    assert!(one.is_urgent());
    shared.commit(&mut one, &[]);
    assert_eq!(shared.record.state(), State::Open);
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
        let (mut mine, mut other) = (Instance::new(1, Box::new(consecutive_failures(61))), of(7_000));
        let (mut direct, mut across) = (Shared::at(at(time)), Shared::at(at(time)));
        for (run, foreign) in runs.iter().zip(foreign) {
            let batch = mine.batch(&direct.record, &[*run]);
            direct.merge(&mut mine, std::slice::from_ref(&batch), &[]);
            across.merge(if foreign { &mut other } else { &mut mine }, &[batch], &[]);
        }
        prop_assert_eq!(direct.record.evidence_of(mine.rule), across.record.evidence_of(mine.rule));
    }
}
