//! The head of a probe's response comes late at one instance, the rest goes on, and another one judges it without its end.
#![expect(clippy::panic, reason = "a test fails loudly")]

use super::*;
use crate::circuit::detector::{consecutive_failures, slow_call_rate};
use crate::circuit::{PermitId, Slowness, TransitionReason};

const LIMIT: u64 = 100;
/// A response that goes on for so long after its head is judged.
const RESPONSE_TIME: u64 = 500;

/// One of two failed, or half of the calls were slow.
fn instance(writer: u64, probes: Probes) -> Instance {
    let slow = slow_call_rate(0.5).slower_than(ms(LIMIT)).of_last(10).min_calls(2);
    let detector = consecutive_failures(2).or(slow);
    let rules = Rules { slowness: Slowness::of(&detector), probes, ..Rules::default() };
    Instance::made(writer, Box::new(detector), rules, None)
}

/// A fleet that two calls of its first instance have opened, and whose cooldown is over.
struct Bed {
    fleet: [Instance; 2],
    shared: Shared,
}

impl Bed {
    fn opened(probes: Probes, outcome: Outcome, took: u64) -> Self {
        let mut fleet = [1, 2].map(|writer| instance(writer, probes));
        let shared = Shared::opened_by(&mut fleet, outcome, took);
        Self { fleet, shared }
    }

    fn by_slow_calls(probes: Probes) -> Self {
        Self::opened(probes, Outcome::Success, LIMIT)
    }

    /// An instance gets a lease, and makes its call.
    fn begin(&mut self, who: usize) -> PermitId {
        let Self { fleet, shared } = self;
        shared.ask(&mut fleet[who], false).expect("a place");
        fleet[who].apply(&shared.record, shared.now);
        match fleet[who].step(Input::Acquire { reserve: false }, shared.now) {
            Decision::Admitted(permit) => permit,
            other => panic!("its lease is in hand: {other:?}"),
        }
    }

    /// The head is there after so long.
    fn answer(&mut self, who: usize, permit: PermitId, took: u64) {
        self.shared.now = self.shared.now + ms(took);
        let input = Input::Accept { permit, took: Some(ms(took)) };
        assert_eq!(self.fleet[who].step(input, self.shared.now), Decision::Done);
    }

    fn end(&mut self, who: usize, permit: PermitId, outcome: Outcome, took: Option<Duration>) {
        self.fleet[who].step(Input::Report { permit, outcome, took }, self.shared.now);
    }

    /// An instance tells what it knows.
    fn tell(&mut self, who: usize) {
        self.shared.commit(&mut self.fleet[who], &[]);
    }

    /// The time of the rest of the response is over. Another instance sees it, which has just started.
    fn wait(&mut self, probes: Probes) {
        self.shared.now = self.shared.now + ms(RESPONSE_TIME);
        self.shared.merge(&mut instance(3, probes), &[], &[]);
    }

    fn seen(&self) -> (State, Option<TransitionReason>) {
        (self.shared.record.state(), self.shared.record.machine.history().reason)
    }

    fn results(&self) -> Option<(u32, u32)> {
        let round = self.shared.record.machine.history().round.as_ref()?;
        let slowness_counts = self.shared.record.machine.history().slowness_counts;
        let tally = round.tally(&self.fleet[0].rules.probes, slowness_counts);
        Some((tally.succeeded, tally.failed))
    }
}

const CLOSED: (State, Option<TransitionReason>) = (State::Closed, Some(TransitionReason::ProbesSucceeded));
const REOPENED: (State, Option<TransitionReason>) = (State::Open, Some(TransitionReason::ProbeFailed));

#[test]
fn a_probe_that_goes_on_is_for_the_fleet_as_slow_as_its_head() {
    for (took, expected) in [(1, CLOSED), (LIMIT - 1, CLOSED), (LIMIT, REOPENED), (9_000, REOPENED)] {
        // It tells of call and head at once, or of each by itself.
        for tells_twice in [false, true] {
            let mut bed = Bed::by_slow_calls(Probes::one());
            let permit = bed.begin(0);
            if tells_twice {
                bed.tell(0);
            }
            bed.answer(0, permit, took);
            bed.tell(0);
            assert_eq!(bed.seen().0, State::HalfOpen, "its end may come");
            bed.wait(Probes::one());
            assert_eq!(bed.seen(), expected, "a head after {took} ms");
            bed.end(0, permit, Outcome::Success, None);
            bed.tell(0);
            assert_eq!(bed.seen(), expected, "how it ends is history");
        }
        // As a call that ends with its head.
        let mut bed = Bed::by_slow_calls(Probes::one());
        let permit = bed.begin(0);
        bed.shared.now = bed.shared.now + ms(took);
        bed.end(0, permit, Outcome::Success, Some(ms(took)));
        bed.tell(0);
        assert_eq!(bed.seen(), expected, "{took} ms");
    }
}

#[test]
fn what_failures_opened_closes_though_a_head_is_late_unless_all_are() {
    let mut bed = Bed::opened(Probes::one(), Outcome::Failure, 1);
    let permit = bed.begin(1);
    bed.answer(1, permit, LIMIT);
    bed.tell(1);
    bed.wait(Probes::one());
    assert_eq!(bed.seen(), CLOSED);

    // Each instance has one late head, and the two meet the rule.
    let probes = Probes::consecutive(3);
    let mut bed = Bed::opened(probes, Outcome::Failure, 1);
    for (who, state) in [State::HalfOpen, State::Open].into_iter().enumerate() {
        let permit = bed.begin(who);
        bed.answer(who, permit, LIMIT);
        bed.tell(who);
        bed.wait(probes);
        assert_eq!(bed.seen().0, state);
    }
    assert!(bed.shared.record.machine.history().slowness_counts);
}

/// It says less of how long it took than its head did, as by a clock that has stepped back.
#[test]
fn a_probe_that_ends_soon_after_a_late_head_is_as_slow_as_that() {
    for tells_twice in [false, true] {
        for (head, expected) in [(1, CLOSED), (LIMIT, REOPENED)] {
            for took in [None, Some(ms(1))] {
                let mut bed = Bed::by_slow_calls(Probes::one());
                let permit = bed.begin(0);
                bed.answer(0, permit, head);
                if tells_twice {
                    bed.tell(0);
                }
                bed.end(0, permit, Outcome::Success, took);
                bed.tell(0);
                assert_eq!(bed.seen(), expected, "{head} ms, then {took:?}, {tells_twice}");
            }
        }
    }
}

/// The news of the head may have reached the store, or not.
#[test]
fn a_probe_that_ends_well_after_a_late_head_of_which_the_news_was_lost_is_as_slow_as_that() {
    let mut bed = Bed::by_slow_calls(Probes::one());
    let permit = bed.begin(0);
    bed.answer(0, permit, LIMIT);
    let now = bed.shared.now;
    assert!(bed.fleet[0].take_batch(now, now).is_some());
    bed.fleet[0].replica.state.settle_batch(false);
    bed.end(0, permit, Outcome::Success, None);
    bed.tell(0);
    assert_eq!(bed.seen(), REOPENED);
}

#[test]
fn a_response_that_is_dropped_soon_after_a_late_head_says_nothing_to_the_fleet() {
    let mut bed = Bed::by_slow_calls(Probes::one());
    for who in [0, 1, 0, 1] {
        let permit = bed.begin(who);
        bed.answer(who, permit, LIMIT);
        bed.tell(who);
        bed.end(who, permit, Outcome::Cancelled, Some(ms(LIMIT)));
        bed.tell(who);
        bed.wait(Probes::one());
        assert_eq!((bed.seen().0, bed.results()), (State::HalfOpen, Some((0, 0))));
    }
}

/// The store goes away between the head and the time at which the rest of the response is judged.
#[test]
fn an_instance_that_is_cut_off_goes_by_the_heads_that_it_has_seen() {
    for (took, expected) in [(LIMIT - 1, State::Closed), (LIMIT, State::Open)] {
        for is_told in [false, true] {
            let mut bed = Bed::by_slow_calls(Probes::one());
            let permit = bed.begin(0);
            bed.answer(0, permit, took);
            if is_told {
                bed.tell(0);
            }
            let now = bed.shared.now + ms(RESPONSE_TIME);
            bed.fleet[0].go_away(&"unreachable".into(), bed.shared.now);
            bed.fleet[0].step(Input::Poll, now);
            assert_eq!(bed.fleet[0].replica.machine().state(), expected, "{took} ms, {is_told}");
        }
    }
}

/// Two of three, of which one was late: the record tells them apart after each of its bytes were written and read.
#[test]
fn several_heads_are_each_as_slow_as_they_were() {
    let probes = Probes::ratio(2, 3).concurrent(3);
    let mut bed = Bed::by_slow_calls(probes);
    let permits: Vec<_> = [0, 1, 1].into_iter().map(|who| (who, bed.begin(who))).collect();
    for ((who, permit), took) in permits.into_iter().zip([LIMIT, 1, 0]) {
        let input = Input::Accept { permit, took: Some(ms(took)) };
        assert_eq!(bed.fleet[who].step(input, bed.shared.now), Decision::Done);
        bed.tell(who);
    }
    bed.wait(probes);
    assert_eq!(bed.seen(), CLOSED);
    let log = bed.shared.record.machine.history().round.as_ref().map(|round| round.log().collect::<Vec<_>>());
    assert_eq!(log, Some(vec![true, false, false]));
}
