//! Orders and overrides, by the store's time.

use super::*;
use crate::circuit::{Override, StandingOverride, TransitionReason};

fn overridden(order: Override) -> (Shared, Instance) {
    let (mut shared, mut one) = (Shared::at(at(10)), Instance::new(1, Box::new(failures(1).within(ms(60_000)))));
    shared.order(&mut one, Command::Override(order));
    (shared, one)
}

#[test]
fn an_override_ends_by_the_stores_time_with_an_empty_window() {
    let (mut shared, mut one) = overridden(Override::force_open("deploy 42").by("ana").expires_after(ms(5_000)));
    assert_eq!(shared.record.state(), State::Open);
    assert_eq!(shared.record.until(), Some(at(5_010)));
    // A tenth of a second is what the clock of the instance that looked may be ahead.
    shared.now = at(4_909);
    assert!(!shared.merge(&mut one, &[], &[Command::Look]).changed);
    shared.now = at(4_910);
    assert!(shared.merge(&mut one, &[], &[Command::Look]).began);
    assert_eq!(
        (shared.record.state(), shared.record.machine.history().reason),
        (State::Closed, Some(TransitionReason::OverrideExpired))
    );
    assert_eq!((shared.record.machine.standing(), shared.record.failures()), (None, 0));
}

#[test]
fn while_an_override_stands_trip_and_reset_are_refused() {
    for order in [Override::force_open("a"), Override::disable("b"), Override::dry_run("c")] {
        let (mut shared, mut one) = overridden(order);
        for command in [Command::Trip, Command::Reset, Command::Lease { may_want: true }] {
            let merged = shared.order(&mut one, command);
            assert!(!merged.changed);
        }
        assert!(shared.order(&mut one, Command::Resume).began);
        assert_eq!(
            (shared.record.state(), shared.record.machine.history().reason),
            (State::Closed, Some(TransitionReason::Resumed))
        );
        assert!(!shared.order(&mut one, Command::Resume).changed, "nothing is left to end");
        assert!(shared.order(&mut one, Command::Trip).began);
    }
}

#[test]
fn disabled_records_nothing_and_a_dry_run_tells_once() {
    let (mut shared, mut one) = overridden(Override::disable("load test"));
    let batch = one.batch(&shared.record, &[failed(at(9))]);
    assert!(!shared.merge(&mut one, &[batch], &[]).changed);

    let (mut shared, mut one) = overridden(Override::dry_run("new limits"));
    let batch = one.batch(&shared.record, &[failed(at(9))]);
    let merged = shared.merge(&mut one, &[batch], &[]);
    assert!(merged.would_open.is_some() && !merged.began);
    assert!(shared.merge(&mut one, &[], &[]).would_open.is_none(), "the next needs evidence of its own");
}

#[test]
fn votes_do_not_open_what_is_overridden() {
    let mut one = Instance::voting(1, patient(), 1);
    let mut shared = Shared::at(at(10));
    shared.order(&mut one, Command::Override(Override::dry_run("new limits")));
    let vote = Some(Vote { voter: "a".into(), cast: at(9), until: at(9_000), by_slowness: false });
    let batch = Batch { generation: shared.record.generation(), telling: None, probes: Vec::new(), vote }.save();
    assert!(!shared.merge(&mut one, &[batch], &[]).began);
}

#[test]
fn words_of_overrides_are_as_long_as_a_record_can_hold() {
    let long = "ä".repeat(50_000);
    let order = Override::force_open(&long).by(&long);
    assert!(order.reason().len() <= 1_024 && long.starts_with(order.reason()));
    let seen = StandingOverride::of(order.clone());
    assert!(seen.by().is_some_and(|who| who.len() <= 256 && long.starts_with(who)));
    let (shared, _) = overridden(order.clone());
    assert_eq!(shared.record.machine.standing().map(|standing| &standing.order), Some(&order));
    let short = StandingOverride::of(Override::disable("load test").by("ana"));
    assert_eq!((short.reason(), short.by()), ("load test", Some("ana")));
}

#[test]
fn commands_of_one_commit_are_obeyed_in_turn() {
    let (mut shared, mut one) = (Shared::at(at(10)), Instance::new(1, patient()));
    let hold = Command::Override(Override::force_open("x"));
    shared.merge(&mut one, &[], &[Command::Trip, Command::Reset, hold, Command::Trip, Command::Resume]);
    assert_eq!(
        (shared.record.state(), shared.record.machine.history().reason),
        (State::Closed, Some(TransitionReason::Resumed))
    );
    assert_eq!(shared.record.generation(), Generation::new(5));
}

/// A year without a store: what an operator wanted then must not open a fleet now.
#[test]
fn an_order_to_change_the_state_is_void_after_a_minute_and_an_override_is_not() {
    let (mut shared, mut one) = (Shared::new(), Instance::new(1, patient()));
    shared.commit(&mut one, &[]);
    one.step(Input::Trip, at(0));
    one.step(Input::Override(&Override::disable("incident 7")), at(1));
    assert_eq!(one.replica.fresh_commands(at(59_999)).len(), 2);
    let left = one.replica.fresh_commands(at(60_000));
    assert!(matches!(left[..], [Command::Override(_)]), "{left:?}");
}
