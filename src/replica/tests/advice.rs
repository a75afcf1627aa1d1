//! What a fleet is advised, and when.

use super::*;
use crate::circuit::detector::{consecutive_failures, failure_rate};
use crate::circuit::{Advice, Fact, FleetFact};

/// An instance that follows the record, and what it has been advised so.
struct Listener {
    instance: Instance,
    heard: Vec<Advice>,
}

impl Listener {
    fn of(detector: Box<dyn Detector>) -> Self {
        Self { instance: Instance::new(9, detector), heard: Vec::new() }
    }

    fn follow(&mut self, shared: &Shared) {
        let (now, rules, facts) = (shared.now, self.instance.rules.clone(), &mut Facts::default());
        let turn = &mut crate::replica::Turn { now, at: bench::moment(now), rules: &rules, facts };
        self.instance.replica.apply(&Arc::new(shared.record.clone()), now, turn);
        self.heard.extend(facts.iter().filter_map(|fact| match fact {
            Fact::Fleet(FleetFact::Advised(advice)) => Some(advice),
            _ => None,
        }));
    }
}

/// Each of so many instances tells a failure among calls that come at this rate, which makes it promise that rate.
fn told_by(instances: u64, per_second: u64, detector: fn() -> Box<dyn Detector>) -> Shared {
    let mut shared = Shared::at(at(5_000));
    let mut all: Vec<_> = (0..instances).map(|writer| Instance::new(writer, detector())).collect();
    for chunk in all.chunks_mut(64) {
        let batch = |one: &mut Instance| {
            one.poll(&mut Shared::at(at(0)));
            let nth = |n: u64| at(5_000 - (per_second - n) * 1_000 / per_second);
            (0..per_second).for_each(|n| assert!(one.call(Outcome::Success, nth(n))));
            assert!(one.call(Outcome::Failure, at(5_000)));
            one.take_batch(at(5_000), at(5_000)).expect("a failure")
        };
        let batches: Vec<_> = chunk.iter_mut().map(batch).collect();
        let mut other = Instance::new(999, patient());
        shared.merge(&mut other, &batches, &[]);
    }
    shared
}

#[test]
fn many_instances_are_advised_to_vote_each_once() {
    let detector: fn() -> Box<dyn Detector> = || Box::new(failure_rate(0.9).within(ms(60_000)));
    let mut listener = Listener::of(detector());
    listener.follow(&told_by(300, 5, detector));
    assert_eq!(listener.heard, []);
    let shared = told_by(301, 5, detector);
    (0..3).for_each(|_| listener.follow(&shared));
    assert_eq!(listener.heard, [Advice::ManyInstances { instances: 301 }]);
    let said = listener.heard[0].to_string();
    assert_eq!(said, "301 instances put their calls together, up to 300 are cheap: use Fleet::votes");
}

#[test]
fn a_window_of_fewer_calls_than_the_fleet_has_in_a_moment_is_told() {
    let of_last: fn() -> Box<dyn Detector> = || Box::new(failures(5).of_last(20));
    let mut listener = Listener::of(of_last());
    // Twenty calls of forty a second take half a second.
    listener.follow(&told_by(2, 20, of_last));
    // One instance knows the order of its calls, however fast they are.
    listener.follow(&told_by(1, 1_000, of_last));
    assert_eq!(listener.heard, []);
    let busy = told_by(4, 200, of_last);
    (0..2).for_each(|_| listener.follow(&busy));
    let [Advice::ShortWindow { calls: 20, span }] = listener.heard[..] else {
        panic!("{:?}", listener.heard);
    };
    assert!(span > ms(20) && span < ms(67), "{span:?}");

    let in_a_row: fn() -> Box<dyn Detector> = || Box::new(consecutive_failures(3));
    let mut listener = Listener::of(in_a_row());
    listener.follow(&told_by(4, 200, in_a_row));
    assert!(matches!(listener.heard[..], [Advice::ShortWindow { calls: 3, .. }]), "{:?}", listener.heard);

    let of_time: fn() -> Box<dyn Detector> = || Box::new(failure_rate(0.5).within(ms(1_000)));
    let mut listener = Listener::of(of_time());
    listener.follow(&told_by(4, 200, of_time));
    assert_eq!(listener.heard, [], "a rule over a time needs no order");
}

#[test]
fn a_window_of_very_many_calls_is_told_with_the_first_record() {
    let of_last = |calls| Listener::of(Box::new(failure_rate(0.5).of_last(calls)));
    let (mut fine, mut long) = (of_last(10_000), of_last(10_001));
    (0..2).for_each(|_| fine.follow(&Shared::new()));
    (0..2).for_each(|_| long.follow(&Shared::new()));
    assert_eq!((&fine.heard[..], &long.heard[..]), (&[][..], &[Advice::LongWindow { calls: 10_001 }][..]));
    let mut voter = Instance::voting(9, Box::new(failure_rate(0.5).of_last(10_001)), 2);
    voter.apply(&Shared::new().record, at(0));
    assert!(voter.replica.state.known.advised.is_empty(), "who votes judges its own calls");
}
