//! A record in the hands of an operator who knows no rule.

use super::*;
use crate::circuit::{Cooldown, Override, TransitionReason};
use crate::replica::operated::{Operated, Order, Refusal};
use crate::store::{StoreTime, Stored, Version};

fn stored(record: &Record, now: Timestamp) -> Stored {
    Stored::new(Version(1_000), record.save().into(), StoreTime::from(now))
}

fn operated(record: &Record, now: Timestamp) -> Operated {
    Operated::read(&stored(record, now)).expect("readable").expect("there")
}

/// The record that an order leaves.
#[track_caller]
fn obeyed(record: &Record, order: &Order, now: Timestamp) -> Record {
    let (commit, _) = operated(record, now).obey(order, 7).expect("not refused").expect("something to do");
    assert!(commit.notice.is_some(), "all are told");
    Record::load(&commit.record).expect("a record")
}

#[test]
fn a_trip_for_a_time_says_all_and_one_without_leaves_it_to_the_first_breaker() {
    let fresh = Record::fresh(Generation::new(41), at(0));
    let timed = obeyed(&fresh, &Order::Trip(Some(ms(5_000))), at(10));
    let history = timed.machine.history();
    assert_eq!((timed.state(), history.open_until, history.openings), (State::Open, at(5_010), 1));
    assert_eq!((timed.generation(), timed.decider, history.awaits_cooldown), (Generation::new(42), 7, false));

    let mut open = obeyed(&fresh, &Order::Trip(None), at(10));
    let history = open.machine.history();
    assert_eq!((history.reason, history.openings), (Some(TransitionReason::Tripped), 0));
    assert!(history.awaits_cooldown && history.open_until == at(30_010), "the usual one, as long as none says another");
    let sight = operated(&open, at(20)).sight();
    assert_eq!((sight.until, sight.cooldown), (None, None), "a guess is not shown");

    let rules = Rules { cooldown: Cooldown::fixed(ms(700)), ..Rules::default() };
    open.machine.history_mut().decide_cooldown(&rules, StepContext { now: at(10), seed: 1 });
    let history = open.machine.history();
    assert_eq!((history.open_until, history.openings, history.awaits_cooldown), (at(710), 1, false));
    let decided = open.clone();
    open.machine.history_mut().decide_cooldown(&Rules::default(), StepContext { now: at(500), seed: 1 });
    assert_eq!(open, decided, "once");
}

/// It is half-open by a round of the fleet's, whose rules for probes are not known.
#[test]
fn no_order_is_judged_by_rules_that_are_not_the_fleets() {
    let (mut shared, mut one) = (Shared::at(at(10)), Instance::new(1, patient()));
    shared.order(&mut one, Command::Trip);
    shared.now = shared.record.until().expect("open") + ms(1);
    shared.order(&mut one, Command::Lease { may_want: false });
    assert_eq!(shared.record.state(), State::HalfOpen);
    // Long after the deadlines of all probes, by the usual rules.
    let late = shared.now + ms(3_600_000);
    let sight = operated(&shared.record, late).sight();
    assert_eq!((sight.state, sight.generation), (State::HalfOpen, shared.record.generation()));
    let open = obeyed(&shared.record, &Order::Trip(None), late);
    assert!(open.machine.history().opened_by_round && open.machine.history().awaits_cooldown);
    assert_eq!(open.generation(), shared.record.generation().next());
    assert_eq!(obeyed(&shared.record, &Order::Reset, late).state(), State::Closed);
}

#[test]
fn what_waits_for_a_cooldown_is_over_with_the_next_transition() {
    let open = obeyed(&Record::fresh(Generation::new(1), at(0)), &Order::Trip(None), at(10));
    let hold = Order::Override(Override::force_open("x"));
    for order in [Order::Reset, hold.clone()] {
        assert!(!obeyed(&open, &order, at(20)).machine.history().awaits_cooldown, "{order:?}");
    }
    let held = operated(&obeyed(&open, &hold, at(20)), at(30));
    assert!(matches!(held.obey(&Order::Trip(None), 7), Err(Refusal::Overridden(_))));
    assert!(matches!(held.forget(), Err(Refusal::IsHeld(State::Open))));
    assert_eq!(operated(&open, at(30)).obey(&Order::Trip(None), 7), Ok(None), "it is open");
}

/// A number that is a time comes after all that are counted by ones.
#[test]
fn what_takes_the_place_of_a_damaged_record_comes_after_it() {
    let mut damaged = stored(&Record::fresh(Generation::new(1), at(0)), at(5_000));
    damaged.version = Version(1_700_000_000_000_000);
    damaged.record = "garbage".into();
    assert!(Operated::read(&damaged).is_err());
    let (commit, _) =
        Operated::in_place_of_damaged(&damaged).obey(&Order::Reset, 7).expect("not refused").expect("something to do");
    let record = Record::load(&commit.record).expect("a record");
    assert!(record.generation().is_after(Generation::new(1_000_000_000)));
    assert_eq!(commit.expected, damaged.version);
}
