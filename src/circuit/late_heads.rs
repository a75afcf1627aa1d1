//! A probe is as slow as its head, whatever becomes of the rest of the response: as a call that ended with the head.

use std::time::Duration;

use proptest::prelude::*;

use super::detector::{Detector, OfLast, consecutive_failures, failure_rate, slow_call_rate};
use super::probe_round::ProbeRound;
use super::{
    Cooldown, Decision, Facts, Generation, Input, Machine, Outcome, PermitId, Probes, Rules, Slowness, State,
    StepContext, TransitionReason,
};
use crate::time::Timestamp;

const MS: Duration = Duration::from_millis(1);
const LIMIT: Duration = Duration::from_millis(100);
const LONGER_LIMIT: Duration = Duration::from_millis(300);
const DEADLINE: Duration = Duration::from_secs(10);
/// So long after its head a response that goes on is judged.
const RESPONSE_TIME: Duration = Duration::from_millis(500);

/// How a probe ends that answered after some time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rest {
    /// With its head.
    Nothing,
    /// Not while the circuit is half-open.
    GoesOn,
    /// A moment after its head. How long that took by then is not known, or not much by another clock.
    EndsAtOnce(Option<Duration>),
    /// It is given up a moment after its head.
    IsDropped,
}

struct Bench {
    machine: Machine,
    rules: Rules,
    now: Timestamp,
}

/// What decides how it goes on.
type Seen = (State, Option<TransitionReason>, bool, Option<ProbeRound>);

impl Bench {
    /// Open, by two calls, and its cooldown over.
    fn opened(detector: Box<dyn Detector>, probes: Probes, call: (Outcome, Duration)) -> Self {
        let rules = Rules {
            cooldown: Cooldown::fixed(Duration::from_secs(1)),
            probes: probes.deadline(DEADLINE),
            slowness: Slowness::of(&*detector),
            ..Rules::default()
        };
        let now = Timestamp::ZERO + DEADLINE;
        let mut bench = Self { machine: Machine::new(detector, &rules, Generation::new(1), now), rules, now };
        for _ in 0..2 {
            let permit = bench.ask().expect("closed");
            bench.step(Input::Report { permit, outcome: call.0, took: Some(call.1) });
        }
        assert_eq!(bench.machine.state(), State::Open);
        bench
    }

    fn step(&mut self, input: Input<'_>) -> Decision {
        self.machine.step(&self.rules, input, StepContext { now: self.now, seed: 0 }, &mut Facts::default())
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn ask(&mut self) -> Option<PermitId> {
        match self.step(Input::Acquire { reserve: false }) {
            Decision::Admitted(permit) => Some(permit),
            _ => None,
        }
    }

    /// The next probe, which takes so long to its head.
    fn probe(&mut self, outcome: Outcome, took: Duration, rest: Rest) {
        self.now = self.now.max(self.machine.state.history().open_until);
        let permit = self.ask().expect("a place");
        self.pass(took);
        let took = Some(took);
        if rest == Rest::Nothing || outcome != Outcome::Success {
            assert_eq!(self.step(Input::Report { permit, outcome, took }), Decision::Done);
            return;
        }
        assert_eq!(self.step(Input::Accept { permit, took }), Decision::Done);
        assert_eq!(self.machine.state(), State::HalfOpen, "its end may come");
        match rest {
            Rest::Nothing => {}
            Rest::GoesOn => {
                self.pass(RESPONSE_TIME.saturating_sub(MS));
                self.step(Input::Poll);
                assert_eq!(self.machine.state(), State::HalfOpen, "its end may still come");
                self.pass(MS);
                self.step(Input::Poll);
            }
            Rest::EndsAtOnce(took) => {
                self.step(Input::Report { permit, outcome, took });
            }
            Rest::IsDropped => {
                self.step(Input::Report { permit, outcome: Outcome::Cancelled, took });
            }
        }
    }

    fn seen(&self) -> Seen {
        let history = self.machine.state.history();
        (self.machine.state(), history.reason, history.slowness_counts, history.round.clone())
    }

    fn results(&self) -> Option<(u32, u32)> {
        self.machine.probes(&self.rules).map(|probes| (probes.succeeded, probes.failed))
    }
}

fn half_slow(limit: Duration) -> OfLast {
    slow_call_rate(0.5).slower_than(limit).of_last(10).min_calls(2)
}

fn slow_calls() -> Box<dyn Detector> {
    Box::new(half_slow(LIMIT))
}

const RULES: [fn() -> Box<dyn Detector>; 4] = [
    slow_calls,
    || Box::new(consecutive_failures(2).or(half_slow(LIMIT))),
    || {
        let most = slow_call_rate(0.9).slower_than(LIMIT).of_last(10);
        Box::new(failure_rate(0.5).of_last(10).min_calls(2).or(most).or(half_slow(LONGER_LIMIT)))
    },
    || Box::new(consecutive_failures(2).or(half_slow(LIMIT).and(half_slow(LONGER_LIMIT)))),
];

/// Each rule but the first is met by two of either.
const OPENED_BY: &[(Outcome, Duration)] =
    &[(Outcome::Success, LONGER_LIMIT), (Outcome::Failure, LONGER_LIMIT), (Outcome::Failure, MS)];

fn probes() -> impl Strategy<Value = Probes> {
    (1_u32..5, 1_u32..5).prop_map(|(k, n)| Probes::ratio(k.min(n), k.max(n)))
}

/// Probes: whether each fails, and after how long.
fn calls() -> impl Strategy<Value = Vec<(Outcome, Duration)>> {
    let took = prop::sample::select(vec![0, 99, 100, 299, 300, 9_000]);
    let outcome = prop_oneof![4 => Just(Outcome::Success), 1 => Just(Outcome::Failure)];
    prop::collection::vec((outcome, took.prop_map(|ms| MS * ms)), 1..12)
}

/// What is seen after each probe, until one closes the circuit.
fn play(bench: &mut Bench, calls: &[(Outcome, Duration)], rest: impl Fn(Duration) -> Rest) -> Vec<Seen> {
    let mut seen = Vec::new();
    for (outcome, took) in calls {
        if bench.machine.state() == State::Closed {
            break;
        }
        bench.probe(*outcome, *took, rest(*took));
        seen.push(bench.seen());
    }
    seen
}

proptest! {
    #[test]
    fn a_probe_that_goes_on_counts_as_one_that_ended_with_its_head(
        (nth, probes, calls) in (0..RULES.len(), probes(), calls()),
        by in prop::sample::select(OPENED_BY),
    ) {
        let opened = |by| Bench::opened(RULES[nth](), probes, by);
        // Calls that are fast and fail open no circuit whose rule is about slow calls only.
        prop_assume!(nth > 0 || by.1 > LIMIT);
        let whole = play(&mut opened(by), &calls, |_| Rest::Nothing);
        prop_assert_eq!(&play(&mut opened(by), &calls, |_| Rest::GoesOn), &whole);
        prop_assert_eq!(&play(&mut opened(by), &calls, |_| Rest::EndsAtOnce(None)), &whole);
        prop_assert_eq!(&play(&mut opened(by), &calls, |took| Rest::EndsAtOnce(Some(took / 2))), &whole);
    }
}

#[test]
fn a_late_head_counts_against_what_slow_calls_opened_and_an_early_one_does_not() {
    for (took, state, reason) in [
        (LIMIT.saturating_sub(MS), State::Closed, TransitionReason::ProbesSucceeded),
        (LIMIT, State::Open, TransitionReason::ProbeFailed),
    ] {
        for rest in [Rest::Nothing, Rest::GoesOn, Rest::EndsAtOnce(None)] {
            let mut bench = Bench::opened(slow_calls(), Probes::one(), (Outcome::Success, LIMIT));
            bench.probe(Outcome::Success, took, rest);
            let (now, why, slowness_counts, _) = bench.seen();
            assert_eq!((now, why, slowness_counts), (state, Some(reason), true), "{rest:?} after {took:?}");
        }
    }
}

#[test]
fn a_response_that_is_dropped_after_a_late_head_says_nothing() {
    let mut bench = Bench::opened(slow_calls(), Probes::one(), (Outcome::Success, LIMIT));
    for _ in 0..9 {
        bench.probe(Outcome::Success, LIMIT, Rest::IsDropped);
        assert_eq!((bench.machine.state(), bench.results()), (State::HalfOpen, Some((0, 0))));
    }
    bench.probe(Outcome::Success, MS, Rest::GoesOn);
    assert_eq!(bench.machine.state(), State::Closed, "what was dropped is forgotten");
}

#[test]
fn how_long_a_head_took_that_is_not_known_makes_no_call_slow() {
    let mut bench = Bench::opened(slow_calls(), Probes::one(), (Outcome::Success, LIMIT));
    bench.pass(DEADLINE);
    let permit = bench.ask().expect("a probe");
    bench.pass(LIMIT);
    bench.step(Input::Accept { permit, took: None });
    bench.pass(RESPONSE_TIME);
    bench.step(Input::Poll);
    assert_eq!(bench.machine.state(), State::Closed);
}

#[test]
fn late_heads_that_leave_it_open_do_not_lengthen_a_half_open_period() {
    let probes = Probes::ratio(1, 3).decide_within(Duration::from_secs(2));
    let mut bench = Bench::opened(slow_calls(), probes, (Outcome::Success, LIMIT));
    bench.probe(Outcome::Success, LIMIT, Rest::GoesOn);
    assert_eq!((bench.machine.state(), bench.results()), (State::HalfOpen, Some((0, 1))));
    let permit = bench.ask().expect("the second");
    bench.pass(LIMIT);
    bench.step(Input::Accept { permit, took: Some(LIMIT) });
    // Its end would have come now, and so has that of the period: two of three have failed, which leaves the third.
    bench.pass(Duration::from_secs(2));
    bench.step(Input::Poll);
    let (state, reason, slowness_counts, round) = bench.seen();
    assert_eq!((state, reason, slowness_counts), (State::Open, Some(TransitionReason::HalfOpenTooLong), true));
    assert_eq!(round.map(|round| round.log().collect::<Vec<_>>()), Some(vec![true, true]));
}

/// It has taken its whole time, as one that is reported a moment before.
#[test]
fn a_probe_that_is_never_answered_is_slow_as_well() {
    let opened = || {
        let probes = Probes::ratio(2, 4).concurrent(2);
        Bench::opened(RULES[1](), probes, (Outcome::Failure, MS))
    };
    let [mut silent, mut told] = [opened(), opened()];
    for bench in [&mut silent, &mut told] {
        bench.pass(DEADLINE);
        bench.probe(Outcome::Success, LIMIT, Rest::GoesOn);
    }
    silent.ask().expect("the second");
    silent.pass(DEADLINE);
    silent.step(Input::Poll);
    told.probe(Outcome::Failure, DEADLINE.saturating_sub(MS), Rest::Nothing);
    assert_eq!(silent.seen(), told.seen());
    assert_eq!(told.results(), Some((0, 2)), "two of two calls were slow, which meets the rule");
}
