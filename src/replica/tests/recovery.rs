//! Cooldowns that have grown are forgotten by the calls of whichever instance has them.

use super::*;
use crate::circuit::Cooldown;
use crate::circuit::detector::consecutive_failures;

fn growing(writer: u64) -> Instance {
    Instance::made(writer, patient(), rules(), None)
}

/// One whose own vote opens the fleet.
fn growing_voter(writer: u64) -> Instance {
    let voter = Voter::new(format!("voter-{writer}").into(), 1);
    Instance::made(writer, Box::new(consecutive_failures(1)), rules(), Some(voter))
}

fn rules() -> Rules {
    let cooldown = Cooldown::exponential(ms(10_000)..=ms(600_000)).jitter(0.0);
    Rules { cooldown, ..Rules::default() }
}

/// One instance has the fleet open, and closes it.
fn recovered(one: &mut Instance) -> Shared {
    let mut shared = Shared::new();
    one.poll(&mut shared);
    reopened(&mut shared, one);
    shared
}

/// Opens the fleet by a command, and closes it by a probe. Returns the cooldown.
fn reopened(shared: &mut Shared, one: &mut Instance) -> Duration {
    shared.order(one, Command::Trip);
    let history = shared.record.machine.history();
    let (cooldown, over) = (history.cooldown, history.open_until);
    shared.now = over;
    shared.ask(one, false).expect("a place");
    one.apply(&shared.record, shared.now);
    assert!(one.call(Outcome::Success, shared.now));
    shared.commit(one, &[]);
    assert_eq!(shared.record.state(), State::Closed);
    cooldown
}

fn openings(shared: &Shared) -> u32 {
    shared.record.machine.history().openings
}

#[test]
fn an_instance_whose_calls_succeed_for_long_enough_tells_the_fleet_once() {
    let (mut one, mut idle) = (growing(1), growing(2));
    let mut shared = recovered(&mut one);
    one.poll(&mut shared);
    idle.poll(&mut shared);
    assert_eq!(openings(&shared), 1);
    let mut writes = 0;
    for passed in 0..100 {
        assert_eq!(openings(&shared), u32::from(passed < 20), "after {passed} calls");
        shared.now = shared.now + ms(500);
        assert!(one.call(Outcome::Success, shared.now));
        writes += u32::from(one.look(&mut shared)) + u32::from(idle.poll(&mut shared));
    }
    assert_eq!(writes, 1);
    assert_eq!(reopened(&mut shared, &mut idle), ms(10_000), "also where an instance without calls opens it");
}

#[test]
fn a_silent_fleet_forgets_nothing() {
    let mut fleet = [1, 2, 3].map(growing);
    let mut shared = recovered(&mut fleet[0]);
    for cooldown in [20_000, 40_000, 80_000] {
        shared.now = shared.now + ms(86_400_000);
        for one in &mut fleet {
            assert!(!one.poll(&mut shared));
            assert!(one.call(Outcome::Failure, shared.now), "a failure shows nothing");
            one.poll(&mut shared);
        }
        assert_eq!(reopened(&mut shared, &mut fleet[1]), ms(cooldown));
    }
}

#[test]
fn an_instance_that_joins_later_sees_the_recovery_as_well() {
    let mut shared = recovered(&mut growing(1));
    let mut new = growing(2);
    new.poll(&mut shared);
    for _ in 0..16 {
        assert_eq!(openings(&shared), 1);
        shared.now = shared.now + ms(3_600_000);
        assert!(new.call(Outcome::Success, shared.now));
        new.look(&mut shared);
    }
    assert_eq!(openings(&shared), 0, "sixteen calls, however far apart");
}

#[test]
fn what_was_seen_of_an_earlier_recovery_ends_no_later_growth() {
    let mut one = growing(1);
    let mut shared = recovered(&mut one);
    one.poll(&mut shared);
    for _ in 0..16 {
        shared.now = shared.now + ms(625);
        assert!(one.call(Outcome::Success, shared.now));
    }
    // Before it can tell, another instance has the fleet open and closed again.
    let generation = shared.record.generation();
    let mut other = growing(2);
    other.poll(&mut shared);
    assert_eq!(reopened(&mut shared, &mut other), ms(20_000));
    assert!(!shared.order(&mut other, Command::Recovered(generation)).changed);
    one.poll(&mut shared);
    one.look(&mut shared);
    assert_eq!(openings(&shared), 2);
}

/// Sixteen successes, so far apart that they are a recovery from any cooldown.
fn sixteen_good_calls(one: &mut Instance, shared: &mut Shared) {
    for _ in 0..16 {
        shared.now = shared.now + ms(3_600_000);
        assert!(one.call(Outcome::Success, shared.now));
        one.look(shared);
    }
}

#[test]
fn a_voter_that_joins_later_sees_the_recovery_as_well() {
    let mut old = growing_voter(1);
    let mut shared = recovered(&mut old);
    for _ in 0..2 {
        reopened(&mut shared, &mut old);
    }
    assert_eq!(openings(&shared), 3);
    drop(old);
    let mut new = growing_voter(2);
    new.poll(&mut shared);
    sixteen_good_calls(&mut new, &mut shared);
    assert_eq!(openings(&shared), 0);
    assert_eq!(reopened(&mut shared, &mut new), ms(10_000));
}

#[test]
fn a_voter_hears_that_another_one_has_seen_the_recovery() {
    let (mut one, mut idle) = (growing_voter(1), growing_voter(2));
    idle.poll(&mut Shared::new());
    let mut shared = recovered(&mut one);
    shared.order(&mut one, Command::Trip);
    idle.poll(&mut shared);
    assert_eq!(idle.replica.machine().state(), State::Open);
    shared.now = shared.record.machine.history().open_until;
    shared.ask(&mut one, false).expect("a place");
    one.apply(&shared.record, shared.now);
    assert!(one.call(Outcome::Success, shared.now));
    shared.commit(&mut one, &[]);
    idle.poll(&mut shared);
    assert_eq!((idle.replica.machine().state(), idle.replica.machine().openings()), (State::Closed, 2));
    one.poll(&mut shared);
    sixteen_good_calls(&mut one, &mut shared);
    assert_eq!(openings(&shared), 0);
    idle.poll(&mut shared);
    assert_eq!(idle.replica.machine().openings(), 0);
}

/// Nor what a voter that was looking elsewhere has missed.
#[test]
fn a_voter_that_missed_an_opening_sees_the_recovery_as_well() {
    let (mut one, mut other) = (growing_voter(1), growing_voter(2));
    let mut shared = Shared::new();
    for voter in [&mut one, &mut other] {
        voter.poll(&mut shared);
    }
    reopened(&mut shared, &mut one);
    assert_eq!(openings(&shared), 1);
    other.poll(&mut shared);
    sixteen_good_calls(&mut other, &mut shared);
    assert_eq!(openings(&shared), 0);
}

#[test]
fn what_a_voter_saw_by_itself_no_other_one_forgets() {
    let voter = Voter::new("voter-1".into(), 2);
    let mut one = Instance::made(1, Box::new(consecutive_failures(1)), rules(), Some(voter));
    let mut shared = Shared::new();
    one.poll(&mut shared);
    assert!(one.call(Outcome::Failure, shared.now));
    one.poll(&mut shared);
    shared.now = shared.now + ms(10_000);
    assert!(one.call(Outcome::Success, shared.now), "a probe of its own");
    for _ in 0..2 {
        one.poll(&mut shared);
        assert_eq!((shared.record.state(), openings(&shared)), (State::Closed, 0));
        assert_eq!(one.replica.machine().openings(), 1);
    }
}
