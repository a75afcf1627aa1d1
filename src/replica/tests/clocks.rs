//! A store's clock that was set back leaves nothing that lasts longer than it can.

use super::*;
use crate::circuit::detector::failure_rate;
use crate::circuit::{Lease, Override};
use crate::replica::record::Want;

const HOUR: u64 = 3_600_000;
/// Times may be so much ahead: no clock is exact.
const TOLERANCE: u64 = 1_000;
/// That of a probe.
const DEADLINE: u64 = 30_000;

fn cut(mut record: Record, now: Timestamp) -> Record {
    record.cut_to(now, ms(DEADLINE));
    record
}

#[test]
fn an_open_circuit_is_open_for_one_cooldown_at_most() {
    let mut one = Instance::new(1, patient());
    let mut shared = Shared::at(at(HOUR));
    shared.order(&mut one, Command::Trip);
    let cooldown = shared.record.machine.history().cooldown;
    let record = cut(shared.record.clone(), at(10));
    assert_eq!(record.machine.history().open_until, at(10 + TOLERANCE) + cooldown);
    assert_eq!(record.machine.since, at(10 + TOLERANCE));
    assert_eq!(cut(shared.record.clone(), at(HOUR)), shared.record, "a clock that goes on cuts nothing");
    assert_eq!(cut(shared.record.clone(), at(HOUR - TOLERANCE)), shared.record, "nor does one that is a little off");
}

#[test]
fn an_override_lasts_as_long_as_its_order_says() {
    let mut one = Instance::new(1, patient());
    for (order, until) in [
        (Override::force_open("a").expires_after(ms(5_000)), at(10 + TOLERANCE + 5_000)),
        (Override::force_open("a"), Timestamp::MAX),
    ] {
        let mut shared = Shared::at(at(HOUR));
        shared.order(&mut one, Command::Override(order));
        let record = cut(shared.record, at(10));
        assert_eq!(record.machine.standing().map(|standing| standing.until), Some(until));
    }
}

#[test]
fn a_lease_in_use_ends_in_time_and_an_unused_one_has_no_end() {
    let mut one = Instance::probing(1, Probes::ratio(2, 2).concurrent(2).deadline(ms(DEADLINE)));
    let mut shared = Shared::cooled_down(&mut one);
    shared.now = at(HOUR);
    let (used, unused) = (shared.ask(&mut one, false).expect("a place"), shared.ask(&mut one, false).expect("another"));
    shared.tell_probe(&mut one, Probed::new(used, ProbeNews::Began, at(HOUR)));
    assert_eq!(shared.record.lease_until(used), Some(at(HOUR + DEADLINE)));
    let record = cut(shared.record, at(10));
    assert_eq!(record.lease_until(used), Some(at(10 + TOLERANCE + DEADLINE)));
    assert_eq!(record.lease_until(unused), Some(Timestamp::MAX));
    let round = record.machine.history().round.as_ref().expect("a round");
    assert!(round.fruitless_since <= Some(at(10 + TOLERANCE)));
    assert!(round.leases.iter().all(|lease: &Lease| lease.owner == 1));
}

/// One votes and dies; the clock steps back; fifty minutes later another one votes.
#[test]
fn a_vote_of_the_future_is_none() {
    let mut shared = Shared::at(at(HOUR));
    let voter =
        |name: &str, cast| Vote { voter: name.into(), cast: at(cast), until: at(cast + 30_000), by_slowness: false };
    shared.record.vote(&voter("dead", HOUR), at(HOUR));
    let mut record = cut(shared.record, at(0));
    record.vote(&voter("alive", 0), at(0));
    assert_eq!(record.live_votes(at(50)), 1);
    let record = cut(record, at(50 * 60_000));
    assert_eq!(record.live_votes(at(50 * 60_000)), 0);
}

#[test]
fn a_want_of_the_future_is_one_of_now() {
    let mut record = Shared::new().record;
    record.wants = vec![Want { writer: 4, since: at(HOUR) }, Want { writer: 5, since: at(3) }];
    let since: Vec<_> = cut(record, at(10)).wants.iter().map(|want| want.since).collect();
    assert_eq!(since, [at(10 + TOLERANCE), at(3)]);
}

/// What the fleet saw before the step must not count an hour later, when the clock is there again; nor is an instance that
/// told of its calls up to then heard of for an hour.
#[test]
fn evidence_of_the_future_is_none() {
    let detectors: [fn() -> Box<dyn Detector>; 3] = [
        || Box::new(failures(3).of_last(20)),
        || Box::new(failures(3).within(ms(60_000))),
        || Box::new(failure_rate(0.6).within(ms(60_000)).min_calls(5)),
    ];
    for detector in detectors {
        let (mut one, mut other) = (Instance::new(1, detector()), Instance::new(2, detector()));
        let mut shared = Shared::at(at(HOUR));
        let batches =
            [one.batch(&shared.record, &[failed(at(HOUR - 5))]), other.batch(&shared.record, &[fine(at(HOUR))])];
        shared.merge(&mut one, &batches, &[]);
        let batch = one.batch(&shared.record, &[failed(at(HOUR - 1))]);
        shared.merge(&mut one, &[batch], &[]);

        shared.record = cut(shared.record, at(10));
        shared.now = at(HOUR + 10);
        let calls = [fine(at(HOUR + 8)), failed(at(HOUR + 9))];
        let batch = other.batch(&shared.record, &calls);
        shared.merge(&mut other, &[batch], &[]);
        assert_eq!(shared.record.state(), State::Closed, "two of the three are an hour old");
        let suspicion = shared.record.evidence_of(one.rule).and_then(|evidence| evidence.suspicion());
        assert_eq!(suspicion, None, "and there is no reason to ask");
    }
}

#[test]
fn a_suspicion_of_the_future_is_over() {
    let detector = || Box::new(failures(2).of_last(20));
    let (mut one, other) = (Instance::new(1, detector()), Instance::new(2, detector()));
    let mut shared = Shared::at(at(HOUR));
    let batches =
        [one.batch(&shared.record, &[failed(at(HOUR - 5))]), other.batch(&shared.record, &[failed(at(HOUR))])];
    shared.merge(&mut one, &batches, &[]);
    let suspicion = |record: &Record| record.evidence_of(one.rule).and_then(|evidence| evidence.suspicion().copied());
    assert!(suspicion(&shared.record).is_some());
    assert_eq!(suspicion(&cut(shared.record.clone(), at(HOUR))), suspicion(&shared.record));
    assert_eq!(suspicion(&cut(shared.record.clone(), at(10))), None);
}
