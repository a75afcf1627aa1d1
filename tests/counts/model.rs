//! Any sequence of calls and commands, on breakers of every kind.

use std::collections::BTreeMap;

use fusebox::circuit_breaker::{Counts, RejectReason};
use fusebox::{CircuitBreaker, CircuitBreakerConfig, EventKind, ManualClock, Outcome, Override, Permit, detect};
use proptest::prelude::*;

use crate::support::{Record, ms, secs};

#[derive(Clone, Debug)]
enum Op {
    Acquire,
    End(prop::sample::Index, u8),
    Advance(u64),
    Trip,
    Reset,
    Hold(u8),
    Resume,
    Look,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => Just(Op::Acquire),
        8 => (any::<prop::sample::Index>(), 0..5_u8).prop_map(|(index, outcome)| Op::End(index, outcome)),
        3 => (0..4_000_u64).prop_map(Op::Advance),
        1 => Just(Op::Trip),
        1 => Just(Op::Reset),
        1 => (0..3_u8).prop_map(Op::Hold),
        1 => Just(Op::Resume),
        1 => Just(Op::Look),
    ]
}

/// A breaker of the kind, with how long a call takes that is slow, and that is abandoned; in milliseconds.
fn build(kind: u8, clock: &ManualClock, seen: Option<Record<EventKind>>) -> (CircuitBreaker, Option<u64>, Option<u64>) {
    let config = CircuitBreakerConfig::builder("test").cooldown(secs(2)).clock(clock.clone());
    let (config, slow, abandoned) = match kind {
        0 => (config.detector(detect::failures(2).of_last(3)), None, None),
        1 => (config.detector(detect::consecutive_failures(2)), None, None),
        2 => (config.detector(detect::failure_rate(0.5).within(secs(5)).min_calls(3)), None, None),
        3 => {
            let slow = detect::slow_call_rate(0.5).slower_than(ms(1_500)).of_last(4).min_calls(2);
            (config.detector(slow), Some(1_500), None)
        }
        4 => (config.detector(detect::failures(3).within(secs(5))).abandoned_after(secs(3)), None, Some(3_000)),
        _ => (config.detector(detect::failures(3).of_last(5)).call_events(true).on_event(|_| {}), None, None),
    };
    let config = match seen {
        Some(seen) => config.on_event(move |event| seen.add(event.kind())),
        None => config,
    };
    (CircuitBreaker::new(config.build().expect("a configuration that works")), slow, abandoned)
}

/// What the test itself counts.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    calls: [u64; 4],
    slow: u64,
    rejected: BTreeMap<&'static str, u64>,
    transitions: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    would_open: u64,
}

impl Tally {
    fn of(counts: &Counts) -> Self {
        let Counts { successes, failures, ignored, cancelled, slow, would_open, .. } = *counts;
        let transitions = counts.transitions.iter().map(|t| ((t.from.as_str(), t.to.as_str(), t.reason), t.count));
        Self {
            calls: [successes, failures, ignored, cancelled],
            slow,
            rejected: counts.rejections.iter().map(|one| (one.reason.as_str(), one.count)).collect(),
            transitions: transitions.collect(),
            would_open,
        }
    }

    fn rejected(&mut self, reason: RejectReason) {
        *self.rejected.entry(reason.as_str()).or_default() += 1;
    }

    /// Takes in a call that ended so after so many milliseconds.
    fn ended(&mut self, outcome: Outcome, took: u64, slow: Option<u64>, abandoned: Option<u64>) {
        let is_late = abandoned.is_some_and(|limit| took >= limit);
        // Every limit here is one that durations are measured for.
        let is_slow = slow.is_some_and(|limit| took >= limit);
        let at = match outcome {
            Outcome::Success => 0,
            Outcome::Ignored => 2,
            Outcome::Cancelled if !is_late => 3,
            _ => 1,
        };
        self.calls[at] += 1;
        self.slow += u64::from(is_slow && at < 2);
    }

    fn happened(&mut self, kind: EventKind) {
        match kind {
            EventKind::StateChanged { from, to, reason, .. } => {
                *self.transitions.entry((from.as_str(), to.as_str(), reason.as_str())).or_default() += 1;
            }
            EventKind::WouldOpen { .. } => self.would_open += 1,
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// The second breaker has a listener, whose events say what changes; the first has none, and takes every short way.
    #[test]
    fn counts_are_what_the_application_has_seen(kind in 0..6_u8, ops in prop::collection::vec(op(), 1..120)) {
        let clock = ManualClock::new();
        clock.advance(secs(1_000));
        let seen = Record::default();
        let (quiet, slow, abandoned) = build(kind, &clock, None);
        let (heard, ..) = build(kind, &clock, Some(seen.clone()));
        let (mut tally, mut now, mut permits) = (Tally::default(), 0_u64, Vec::<(Permit, Permit, u64)>::new());
        let mut before = Counts::default();
        for op in ops {
            match op {
                Op::Acquire => match (quiet.acquire(), heard.acquire()) {
                    (Ok(one), Ok(other)) => permits.push((one, other, now)),
                    (Err(rejected), Err(_)) => tally.rejected(rejected.reason()),
                    (one, other) => panic!("{one:?}, and {other:?}"),
                },
                Op::End(index, outcome) => {
                    if permits.is_empty() {
                        continue;
                    }
                    let (one, other, since) = permits.swap_remove(index.index(permits.len()));
                    let outcome = match outcome {
                        0 => Outcome::Success,
                        1 => Outcome::Failure,
                        2 => Outcome::FailureAfter(secs(1)),
                        3 => Outcome::Ignored,
                        _ => Outcome::Cancelled,
                    };
                    tally.ended(outcome, now - since, slow, abandoned);
                    one.report(outcome);
                    other.report(outcome);
                }
                Op::Advance(by) => {
                    now += by;
                    clock.advance(ms(by));
                }
                Op::Trip => drop((quiet.trip(), heard.trip())),
                Op::Reset => drop((quiet.reset(), heard.reset())),
                Op::Hold(kind) => {
                    let order = match kind {
                        0 => Override::force_open("test"),
                        1 => Override::disable("test"),
                        _ => Override::dry_run("test"),
                    };
                    quiet.set_override(order.clone().expires_after(secs(3)));
                    heard.set_override(order.expires_after(secs(3)));
                }
                Op::Resume => {
                    quiet.resume();
                    heard.resume();
                }
                Op::Look => drop((quiet.snapshot(), heard.snapshot())),
            }
            let counts = quiet.snapshot().counts;
            let heard = heard.snapshot().counts;
            prop_assert_eq!(Tally::of(&counts), Tally::of(&heard));
            prop_assert!(before.calls() <= counts.calls() && before.transitions.len() <= counts.transitions.len());
            before = counts;
        }
        seen.all().into_iter().for_each(|kind| tally.happened(kind));
        prop_assert_eq!(Tally::of(&before), tally);
    }
}
