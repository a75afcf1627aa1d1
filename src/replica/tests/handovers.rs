//! An unused lease goes to the instance that wants it.

use super::*;
use crate::circuit::RejectReason;

/// An owner that has not given back an unused lease by then is gone: two polls, with something to spare.
const SILENCE: u64 = 2_500;

/// Two instances, of which the first has the only lease.
fn one_has_it() -> (Shared, Instance, Instance, u32) {
    let (mut one, other) = (Instance::probing(1, Probes::one()), Instance::probing(2, Probes::one()));
    let mut shared = Shared::cooled_down(&mut one);
    let lease = shared.ask(&mut one, false).expect("the place");
    (shared, one, other, lease)
}

fn wants(shared: &Shared) -> Vec<u64> {
    shared.record.wants.iter().map(|want| want.writer).collect()
}

#[test]
fn a_free_place_goes_to_the_first_that_wants_one() {
    let (mut shared, mut one, mut other, lease) = one_has_it();
    let mut third = Instance::probing(3, Probes::one());
    shared.ask(&mut third, true);
    shared.ask(&mut other, true);
    assert_eq!(wants(&shared), [3, 2]);
    let now = shared.now;
    shared.tell_probe(&mut one, Probed::new(lease, ProbeNews::Ended, now));
    assert_eq!((shared.leases(), wants(&shared)), (vec![(lease + 1, 3)], vec![2]));
    assert_eq!(shared.record.handovers, 1);
    shared.tell_probe(&mut third, Probed::new(lease + 1, ProbeNews::Ended, now));
    assert_eq!((shared.leases(), wants(&shared)), (vec![(lease + 2, 2)], vec![]));
    assert_eq!(shared.record.handovers, 2);
    assert_eq!(shared.record.lease_until(lease + 2), Some(Timestamp::MAX), "it is unused");
}

#[test]
fn only_an_instance_that_may_want_one_says_so() {
    let (mut shared, _, mut other, _) = one_has_it();
    assert!(!shared.order(&mut other, Command::Lease { may_want: false }).changed);
    let merged = shared.order(&mut other, Command::Lease { may_want: true });
    assert!(merged.tells_all && wants(&shared) == [2], "its owner is to hear of it");
    assert!(!shared.order(&mut other, Command::Lease { may_want: true }).changed, "it has said so");
}

/// Nor does one use it that was not heard of, while it may have been handed over.
#[test]
fn an_owner_that_cannot_have_heard_what_became_of_its_lease_does_not_use_it() {
    for is_wanted in [false, true] {
        for (later, is_used) in [(2_249, true), (2_250, false)] {
            let (mut shared, mut one, mut other, _) = one_has_it();
            if is_wanted {
                shared.ask(&mut other, true);
            }
            one.apply(&shared.record, shared.now);
            if is_wanted {
                // It polls, and keeps it for a while yet: the other one waits for longer all the same.
                one.apply(&shared.record, shared.now + ms(400));
            }
            assert_eq!(one.call(Outcome::Success, shared.now + ms(later)), is_used, "wanted {is_wanted}, {later} ms");
        }
    }
}

#[test]
fn who_gets_a_lease_that_others_want_as_well_has_its_time_too() {
    let (mut shared, mut one, mut other, lease) = one_has_it();
    let mut third = Instance::probing(3, Probes::one());
    shared.ask(&mut other, true);
    shared.ask(&mut third, true);
    shared.now = shared.now + ms(SILENCE - 1);
    shared.tell_probe(&mut one, Probed::new(lease, ProbeNews::Ended, Timestamp::ZERO));
    assert_eq!(shared.leases().first().map(|(_, owner)| *owner), Some(2));
    shared.now = shared.now + ms(1);
    assert_eq!(shared.ask(&mut third, true), None, "it has waited long, but not for this owner");
    shared.now = shared.now + ms(SILENCE);
    assert!(shared.ask(&mut third, true).is_some());
}

#[test]
fn a_lease_in_use_is_not_wanted() {
    let (mut shared, mut one, mut other, lease) = one_has_it();
    let now = shared.now;
    shared.tell_probe(&mut one, Probed::new(lease, ProbeNews::Began, now));
    assert!(!shared.order(&mut other, Command::Lease { may_want: true }).changed);
    shared.now = now + ms(2 * SILENCE);
    assert!(!shared.order(&mut other, Command::Lease { may_want: true }).changed, "nor is it taken");
}

#[test]
fn an_owner_gives_back_what_it_does_not_use_when_another_wants_it() {
    let (mut shared, mut one, mut other, lease) = one_has_it();
    one.apply(&shared.record, shared.now);
    assert_eq!(one.replica.leases(), [lease]);
    shared.ask(&mut other, true);
    shared.now = shared.now + ms(499);
    one.apply(&shared.record, shared.now);
    assert_eq!(one.replica.leases(), [lease], "a call may come, so soon after it has got it");
    shared.now = shared.now + ms(1);
    one.apply(&shared.record, shared.now);
    assert!(one.is_urgent() && one.replica.leases().is_empty());
    assert!(!one.call(Outcome::Success, shared.now), "it has none any more");
    shared.commit(&mut one, &[]);
    assert_eq!((shared.leases(), shared.record.handovers), (vec![(lease + 1, 2)], 1));
    assert!(one.replica.leases().is_empty(), "it does not take it back");
    other.apply(&shared.record, shared.now);
    assert!(other.call(Outcome::Success, shared.now));
}

#[test]
fn an_owner_whose_probe_is_on_its_way_keeps_it() {
    let (mut shared, mut one, mut other, lease) = one_has_it();
    one.apply(&shared.record, shared.now);
    let Decision::Admitted(permit) = one.step(Input::Acquire { reserve: false }, shared.now) else {
        panic!("it has a lease")
    };
    // The want comes before the news of the call.
    shared.ask(&mut other, true);
    one.apply(&shared.record, shared.now);
    shared.commit(&mut one, &[]);
    assert_eq!(shared.leases(), [(lease, 1)]);
    one.step(Input::Report { permit, outcome: Outcome::Success, took: None }, shared.now);
    shared.commit(&mut one, &[]);
    assert_eq!(shared.record.state(), State::Closed);
}

#[test]
fn a_wanter_takes_what_a_silent_owner_does_not_give() {
    let (mut shared, mut one, mut other, lease) = one_has_it();
    shared.ask(&mut other, true);
    let wanted = shared.now;
    shared.now = wanted + ms(SILENCE - 1);
    assert_eq!(shared.ask(&mut other, true), None);
    shared.now = wanted + ms(SILENCE);
    assert_eq!(shared.ask(&mut other, true), Some(lease + 1));
    assert_eq!((shared.leases().len(), shared.record.handovers, wants(&shared).len()), (1, 1, 0));
    // The old owner comes back and has used it meanwhile.
    for news in [ProbeNews::Began, ProbeNews::Accepted].iter().chain(ENDS).copied() {
        assert!(!shared.tell_probe(&mut one, Probed::new(lease, news, wanted)).changed, "{news:?}");
    }
    // That which never heard that it lost its lease does not use it once it has polled.
    one.apply(&shared.record, shared.now);
    assert!(one.replica.leases().is_empty());
}

#[test]
fn an_instance_that_restarts_takes_the_lease_that_it_had_under_its_old_name() {
    let (mut shared, _gone, _, lease) = one_has_it();
    let mut again = Instance::probing(4, Probes::one());
    again.poll(&mut shared);
    let Decision::Rejected { reason, until } = again.step(Input::Acquire { reserve: false }, shared.now) else {
        panic!("another has the lease")
    };
    assert_eq!(reason, RejectReason::AwaitingLease, "no probe is on its way");
    assert!(until.is_some(), "it carries a wait");
    // It asks, waits, and asks again; a poll each second, and a call after it.
    let begin = shared.now;
    let mut goes_through = || {
        for passed in [0, 60] {
            shared.now = shared.now + ms(passed);
            again.poll(&mut shared);
        }
        if shared.now.since(begin) < ms(SILENCE) {
            assert_eq!(shared.leases(), [(lease, 1)], "its owner may still give it back");
        }
        shared.now = shared.now + ms(940);
        again.call(Outcome::Success, shared.now)
    };
    assert!((0..=5).any(|_| goes_through()));
    again.look(&mut shared);
    assert_eq!(shared.record.state(), State::Closed);
}

/// Two instances with rare calls must not hand a lease to and fro for ever: who wants it for the k-th time has had k calls
/// rejected.
#[test]
fn each_handover_takes_one_rejection_more() {
    let (mut shared, mut one, mut other, _) = one_has_it();
    one.poll(&mut shared);
    other.poll(&mut shared);
    for handovers in 0..4 {
        assert_eq!(shared.record.handovers, handovers);
        let (owner, wanter) = if handovers % 2 == 0 { (&mut one, &mut other) } else { (&mut other, &mut one) };
        owner.poll(&mut shared);
        wanter.poll(&mut shared);
        for call in 0..=handovers {
            assert!(wants(&shared).is_empty(), "{call} calls after {handovers} handovers");
            shared.now = shared.now + ms(1_000);
            assert!(!wanter.call(Outcome::Success, shared.now));
            for passed in [0, 60] {
                shared.now = shared.now + ms(passed);
                wanter.look(&mut shared);
            }
        }
        assert_eq!(wants(&shared), [wanter.writer], "after {handovers} handovers");
        owner.poll(&mut shared);
        assert_eq!(shared.leases().first().map(|(_, owner)| *owner), Some(wanter.writer));
    }
}

#[test]
fn a_rejection_says_whether_a_probe_is_on_its_way() {
    let (mut shared, mut one, mut other, lease) = one_has_it();
    other.apply(&shared.record, shared.now);
    let asked = |other: &mut Instance, now| match other.step(Input::Acquire { reserve: false }, now) {
        Decision::Rejected { reason, until } => (reason, until.is_some_and(|until| until > now)),
        decision => panic!("{decision:?}"),
    };
    assert_eq!(asked(&mut other, shared.now), (RejectReason::AwaitingLease, true));
    let now = shared.now;
    shared.tell_probe(&mut one, Probed::new(lease, ProbeNews::Began, now));
    other.apply(&shared.record, shared.now);
    assert_eq!(asked(&mut other, shared.now), (RejectReason::ProbesBusy, true));
}

#[test]
fn a_flush_does_not_give_back_the_lease_just_asked_for() {
    let mut one = Instance::probing(1, Probes::one());
    let mut shared = Shared::cooled_down(&mut one);
    one.poll(&mut shared);
    for _ in 0..60 {
        if one.call(Outcome::Success, shared.now) {
            break;
        }
        shared.now = shared.now + ms(130);
        one.replica.begin_flush();
        for _ in 0..6 {
            one.look(&mut shared);
        }
    }
    one.look(&mut shared);
    assert_eq!(shared.record.state(), State::Closed);
}
