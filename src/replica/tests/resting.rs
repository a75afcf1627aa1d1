//! Replicas to which nothing happens have all in common that they can have.

use super::*;
use crate::circuit::Decision;
use crate::replica::copy_on_write::CopyOnWrite;
use crate::replica::resting::RestingStates;
use crate::replica::state::Protocol;

/// What this one has in common with others, if it rests.
fn template(of: &Instance) -> Option<&Arc<Protocol>> {
    match &of.replica.state.protocol {
        CopyOnWrite::Shared(shared) => Some(shared),
        CopyOnWrite::Own(_) => None,
    }
}

fn share(one: &Instance, other: &Instance) -> bool {
    template(one).zip(template(other)).is_some_and(|(one, other)| Arc::ptr_eq(one, other))
}

/// Two instances that have found nothing in the store, and rest.
fn resting(templates: &mut RestingStates) -> (Instance, Instance, Shared) {
    let (mut one, mut other) = (Instance::new(1, patient()), Instance::new(2, patient()));
    let mut shared = Shared::at(at(0));
    for instance in [&mut one, &mut other] {
        assert!(!instance.poll(&mut shared), "nothing is to be told");
        instance.replica.rest(templates, at(0));
    }
    (one, other, shared)
}

#[test]
fn they_are_alike_until_something_happens_to_one() {
    let mut templates = RestingStates::default();
    let (mut one, mut other, mut shared) = resting(&mut templates);
    assert!(share(&one, &other));
    for nth in 0..100 {
        assert!(one.call(Outcome::Success, at(nth)), "it is closed");
    }
    assert!(share(&one, &other), "calls that succeed are no more than counted");
    assert!(one.call(Outcome::Failure, at(100)));
    assert!(template(&one).is_none() && template(&other).is_some());
    one.replica.rest(&mut templates, at(100));
    assert!(template(&one).is_none(), "what waits to be told is its own");

    shared.now = at(300);
    assert!(one.look(&mut shared), "it tells of its failure");
    assert_eq!(shared.record.failures(), 1);
    one.replica.rest(&mut templates, at(300));
    assert!(template(&one).is_none(), "the record of this key is not that of others");
    assert!(!other.poll(&mut shared), "the other instance of it only hears of it");
    assert_eq!(other.replica.last_record().map(Record::failures), Some(1));
}

#[test]
fn one_that_rests_does_as_one_that_does_not() {
    let mut templates = RestingStates::default();
    let (mut rests, _, mut shared) = resting(&mut templates);
    let mut awake = Instance::new(1, patient());
    let mut beside = Shared::at(at(0));
    assert!(!awake.poll(&mut beside));
    let calls = (1..200_u64).map(|nth| (at(nth * 97), if nth % 7 == 0 { Outcome::Failure } else { Outcome::Success }));
    for (now, outcome) in calls {
        (shared.now, beside.now) = (now, now);
        rests.replica.rest(&mut templates, now);
        assert_eq!(rests.call(outcome, now), awake.call(outcome, now));
        rests.replica.rest(&mut templates, now);
        assert_eq!(rests.look(&mut shared), awake.look(&mut beside), "at {now:?}");
        assert_eq!(shared.record, beside.record);
    }
    assert!(shared.record.failures() > 20);
}

#[test]
fn an_operators_command_to_one_that_rests_concerns_it_alone() {
    let mut templates = RestingStates::default();
    let (mut one, other, mut shared) = resting(&mut templates);
    assert_eq!(one.step(Input::Trip, at(1)), Decision::Done);
    assert!(one.look(&mut shared));
    assert_eq!((one.replica.machine().state(), shared.record.state()), (State::Open, State::Open));
    assert_eq!(other.replica.machine().state(), State::Closed);
    assert!(template(&other).is_some_and(|known| known.outbox.commands.is_empty()));
}

/// The first draws of half of all instances were one number, whatever their own: they asked for leases together.
#[test]
fn instances_draw_apart() {
    let first = |writer| Instance::new(crate::backoff::mix(writer), patient()).replica.state.chance().to_bits();
    let draws: std::collections::BTreeSet<_> = (0..1_000).map(first).collect();
    assert_eq!(draws.len(), 1_000);
}
