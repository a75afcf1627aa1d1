//! A record of release 0.1: written here as that release wrote it.

use super::bytes::sealed;
use super::*;
use crate::circuit::{Override, TransitionReason, Writer};
use crate::replica::handle::Response;
use crate::replica::poll::Request;
use crate::store::{Committed, StoreTime, Stored, Version};

/// What release 0.1 put in front: state, generation, decider, and since when.
fn begun(state: State, generation: u64) -> Writer {
    let mut out = Writer::with_head(b"FB\x01");
    out.u8(state.to_byte());
    out.u64(generation);
    out.u64(77);
    out.time(at(1_000));
    out
}

/// The history of release 0.1: leases had no owners, and none was without a deadline.
fn save_history(out: &mut Writer, reason: TransitionReason, leases: &[(u32, u64, bool)], order: Option<&Override>) {
    TransitionReason::save(Some(reason), out);
    out.time(at(31_000));
    out.duration(Some(ms(30_000)));
    out.u32(2);
    out.flag(true);
    out.flag(true);
    // The round: one of two has succeeded.
    out.u32(1);
    out.u32(1);
    out.u64(u64::MAX);
    out.u32(7);
    out.u32(u32::try_from(leases.len()).unwrap_or(0));
    for (id, deadline, accepted) in leases {
        out.u32(*id);
        out.time(at(*deadline));
        out.flag(*accepted);
    }
    out.u32(5);
    out.u32(2);
    out.u8(0b01);
    out.flag(order.is_some());
    if let Some(order) = order {
        order.save(out);
        out.time(at(90_000));
    }
}

fn save_votes(out: &mut Writer) {
    out.u32(1);
    out.bytes(b"ana");
    out.time(at(900));
    out.time(at(40_000));
}

/// The two kinds of evidence that release 0.1 had: a multiset by time, and bytes of a detector with what it has not seen.
fn save_evidence(out: &mut Writer, rule: u64) {
    out.u8(2);
    out.u64(rule);
    out.time(at(1_500));
    out.flag(true);
    out.u8(0);
    out.u64(0);
    out.u64(60_000_000_000);
    out.u8(1);
    let mut runs = Writer::with_head(&[1, 6]);
    runs.u32(2);
    for n in 0..2 {
        runs.time(at(1_400 + n));
        runs.u8(1);
        runs.u64(u64::MAX);
        runs.u64(9);
    }
    out.bytes(&runs.finish());

    out.u64(rule + 1);
    out.time(at(1_600));
    out.flag(false);
    out.u8(1);
    out.flag(true);
    out.bytes(&[1, 2, 3]);
    out.u32(3);
    for n in 0..3 {
        out.time(at(1_500 + n));
        out.u8(0);
        out.u64(5_000);
        out.u64(4);
    }
}

#[test]
fn its_evidence_is_dropped_and_its_state_and_votes_stay() {
    let one = Instance::new(1, Box::new(failures(5).within(ms(60_000))));
    let mut out = begun(State::Closed, 5);
    save_history(&mut out, TransitionReason::ProbesSucceeded, &[], None);
    save_evidence(&mut out, one.rule);
    save_votes(&mut out);
    let record = Record::load(&sealed(out.finish())).expect("a record of release 0.1");
    assert_eq!((record.state(), record.generation(), record.decider), (State::Closed, Generation::new(5), 77));
    assert_eq!(record.machine.since, at(1_000));
    assert!(record.evidence.is_empty(), "it was judged before it was whole");
    assert_eq!(record.votes, [Vote { voter: "ana".into(), cast: at(900), until: at(40_000), by_slowness: false }]);
    assert_eq!((record.verdict, record.handovers, record.wants.len()), (None, 0, 0));

    // Eighteen failures that the old release had told open nothing; what comes now counts by itself.
    let (mut shared, mut one) = (Shared::holding(record, at(2_000)), one);
    let batch = one.batch(&shared.record, &[failed(at(1_900))]);
    shared.merge(&mut one, &[batch], &[]);
    assert_eq!((shared.record.state(), shared.record.failures()), (State::Closed, 1));
    assert_eq!(shared.record.save()[2], 2, "it is written as format 2 from now on");
}

#[test]
fn its_open_state_and_override_stay() {
    let order = Override::force_open("deploy 42").by("ana").expires_after(ms(60_000));
    let mut out = begun(State::Open, 8);
    save_history(&mut out, TransitionReason::Overridden, &[], Some(&order));
    out.u8(0);
    save_votes(&mut out);
    let record = Record::load(&sealed(out.finish())).expect("a record of release 0.1");
    let standing = record.machine.standing().expect("an override");
    assert_eq!((&standing.order, standing.until), (&order, at(90_000)));
    let history = record.machine.history();
    assert_eq!((history.open_until, history.cooldown, history.openings), (at(31_000), ms(30_000), 2));
    assert_eq!((history.reason, history.opened_by_round), (Some(TransitionReason::Overridden), true));
}

/// It did not say so, but why it was opened.
#[test]
fn what_slow_calls_had_opened_is_known_to_be_so() {
    for (tally, is_slow) in [(Tally::slow_calls(5).of(5), true), (Tally::failures(5).of(5), false)] {
        let mut out = begun(State::Open, 8);
        save_history(&mut out, TransitionReason::Detected(tally), &[], None);
        out.u8(0);
        out.u32(0);
        let record = Record::load(&sealed(out.finish())).expect("a record of release 0.1");
        assert_eq!(record.machine.history().slowness_counts, is_slow);
    }
}

#[test]
fn its_round_goes_on() {
    let probes = Probes::ratio(2, 5).concurrent(2);
    let mut out = begun(State::HalfOpen, 9);
    save_history(&mut out, TransitionReason::CooldownOver, &[(6, 60_000, false)], None);
    out.u8(0);
    out.u32(0);
    let record = Record::load(&sealed(out.finish())).expect("a record of release 0.1");
    let round = record.machine.history().round.as_ref().expect("a round");
    assert_eq!(round.log().collect::<Vec<_>>(), [true, false]);
    assert_eq!(record.lease_until(6), Some(at(60_000)), "a lease of the old release had a deadline from the start");
    // One failed and one succeeded before: with one more success there are two.
    let mut one = Instance::probing(1, probes);
    let mut shared = Shared::holding(record, at(40_000));
    let lease = shared.ask(&mut one, false).expect("a second place");
    assert_eq!(lease, 7, "the next number");
    shared.tell_probe(&mut one, Probed::new(lease, ProbeNews::Succeeded, at(40_000)));
    assert_eq!(shared.record.state(), State::Closed);
}

#[test]
fn what_is_cut_off_is_damage() {
    let mut out = begun(State::Closed, 5);
    save_history(&mut out, TransitionReason::Reset, &[], None);
    save_evidence(&mut out, 9);
    save_votes(&mut out);
    let body = out.finish();
    for len in 3..body.len() {
        assert!(Record::load(&sealed(body[..len].to_vec())).is_err(), "{len} of {} bytes", body.len());
    }
}

/// A fleet without calls stayed of format 1 until something happened.
#[test]
fn it_is_written_anew_at_once_where_nothing_else_is_to_be_written() {
    let mut out = begun(State::Open, 8);
    save_history(&mut out, TransitionReason::ProbeFailed, &[], None);
    out.u8(0);
    out.u32(0);
    let bytes = sealed(out.finish());
    let old = Record::load(&bytes).expect("a record of release 0.1");
    let (mut one, now) = (Instance::new(1, patient()), at(2_000));
    let polled = one.turn(now, |replica, turn| replica.poll(turn, &mut |_| Ok(())));
    assert!(matches!(polled.request, Some(Request::Load)), "{polled:?}");
    let stored = Stored::new(Version(5), bytes.into(), StoreTime::from(now));
    one.turn(now, |replica, turn| replica.handle(Response::Loaded(Ok(&stored)), now, turn));
    assert_eq!(one.replica.machine().state(), State::Open, "it counts at once");
    let polled = one.turn(now, |replica, turn| replica.poll(turn, &mut |_| Ok(())));
    let at = polled.wake_at.expect("a time");
    assert!(polled.request.is_none() && at <= now + ms(50), "not all instances at the same time: {polled:?}");
    let polled = one.turn(at, |replica, turn| replica.poll(turn, &mut |_| Ok(())));
    let Some(Request::Commit(commit)) = polled.request else {
        panic!("it is not written: {polled:?}");
    };
    assert_eq!((commit.expected, commit.record[2]), (Version(5), 2));
    assert!(commit.batch.is_none() && commit.notice.is_none(), "nothing is told");
    assert_eq!(Record::load(&commit.record).expect("its own bytes"), old);

    // Another one was first: there is nothing left to do.
    let newer = Stored::new(Version(6), old.save().into(), StoreTime::from(at));
    let answer = Committed::Conflict(newer);
    one.turn(at, |replica, turn| replica.handle(Response::Committed(Ok(&answer)), at, turn));
    let polled = one.turn(at + ms(500), |replica, turn| replica.poll(turn, &mut |_| Ok(())));
    assert!(polled.request.is_none(), "{polled:?}");
}

/// Its leases did not say how slow a head was.
#[test]
fn its_probe_that_goes_on_is_no_slow_one() {
    let mut out = begun(State::HalfOpen, 9);
    save_history(&mut out, TransitionReason::CooldownOver, &[(6, 60_000, true)], None);
    out.u8(0);
    out.u32(0);
    let record = Record::load(&sealed(out.finish())).expect("a record of release 0.1");
    let leases = &record.machine.history().round.as_ref().expect("a round").leases;
    assert_eq!(leases.iter().map(|lease| (lease.accepted, lease.passed)).collect::<Vec<_>>(), [(true, 0)]);
    assert_eq!(Record::load(&record.save()), Ok(record));
}
