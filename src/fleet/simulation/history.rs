//! The calls that ended, and what one breaker that saw them would have made of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{At, MS, ORIGIN, S};
use super::setup::Rule;
use crate::circuit::Call;
use crate::time::{Timestamp, nanos};

/// The calls of all instances that count since the circuit closed, in the order in which they ended.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    calls: Vec<Ended>,
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    at: At,
    /// An instance, in one of its lives.
    who: (usize, u32),
    failed: bool,
}

/// What a verdict says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    /// When the rule was met.
    pub(super) moment: At,
    /// Instances whose calls it rests on.
    pub(super) heard: u32,
    /// What clocks are said to be off by.
    pub(super) clock_error: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    /// One breaker that saw these calls, in an order that they may have ended in, would have opened.
    Met,
    NotMet,
    /// There are too many instances that may not have answered.
    Unknown,
}

/// Calls that ended longer ago play no part.
const KEPT: At = 60 * S;
/// In which order calls of several instances ended in so short a time is not known.
const UNORDERED: At = 65 * MS;
/// So many ways to leave instances out are tried.
const MOST_SETS: u64 = 5_000;

impl History {
    pub(super) fn ended(&mut self, at: At, who: (usize, u32), failed: bool) {
        self.calls.push(Ended { at, who, failed });
        if self.calls.len().is_multiple_of(4_096) {
            self.calls.retain(|call| call.at + KEPT >= at);
        }
    }

    /// The circuit has closed.
    pub(super) fn begin(&mut self) {
        self.calls.clear();
    }

    /// Tells whether one breaker would have opened that saw all calls of as many instances as were heard, and the
    /// failures of the others.
    pub(super) fn truth(&self, rule: Rule, said: Said) -> Truth {
        let order = UNORDERED + 3 * nanos(said.clock_error);
        let tolerance = order + nanos(rule.window()) / 16;
        let calls: Vec<_> = self.calls.iter().filter(|call| call.at + KEPT >= said.moment).copied().collect();
        let is_near = |call: &&Ended| call.failed && call.at.abs_diff(said.moment) <= tolerance;
        let moments: Vec<At> = calls.iter().filter(is_near).map(|call| call.at).collect();
        // Failures may be counted for a tick longer, or for a sixteenth of their window.
        let longest = rule.window() + Duration::from_nanos(tolerance);
        let is_met = |left_out: &dyn Fn(&Ended) -> bool| {
            let seen = |call: &&Ended| call.failed || !left_out(call);
            let seen: Vec<_> = calls.iter().filter(seen).copied().collect();
            // Fewer good calls make a greater share, and more of them the least number that a rule asks for.
            let limits = |moment: At| [moment.saturating_sub(order), moment, moment + order];
            let orders = moments.iter().flat_map(|moment| limits(*moment).map(|good_until| (*moment, good_until)));
            orders.into_iter().any(|(moment, good_until)| {
                let calls = as_late_as_can_be(&seen, (moment, good_until), order);
                [rule.window(), longest].into_iter().any(|window| meets(rule, window, &calls))
            })
        };
        if is_met(&|_| false) {
            return Truth::Met;
        }
        let mut good = BTreeMap::<_, u32>::new();
        for call in &calls {
            *good.entry(call.who).or_default() += u32::from(!call.failed);
        }
        let silent = good.len().saturating_sub(said.heard as usize);
        good.retain(|_, count| *count > 0);
        let silent = silent.min(good.len());
        if silent == 0 {
            return Truth::NotMet;
        }
        let whose: Vec<_> = good.into_keys().collect();
        let Some(sets) = sets_of(whose.len(), silent) else {
            return Truth::Unknown;
        };
        let any = sets.into_iter().any(|set| {
            let is_in =
                |call: &Ended| whose.iter().position(|one| *one == call.who).is_some_and(|nth| set & 1 << nth != 0);
            // One that did not answer may have told of its good calls up to some time.
            let told = calls.iter().filter(|call| !call.failed && is_in(call)).map(|call| call.at);
            told.chain([0]).any(|told| is_met(&|call| call.at > told && is_in(call)))
        });
        if any { Truth::Met } else { Truth::NotMet }
    }
}

/// The sets of so many of `all`; `None`: they are too many.
fn sets_of(all: usize, members: usize) -> Option<Vec<u64>> {
    let count = 1_u64.checked_shl(u32::try_from(all).ok()?).filter(|count| *count <= MOST_SETS)?;
    Some((0..count).filter(|set| set.count_ones() as usize == members).collect())
}

/// What ended up to a moment, in the order that has most failures at its end: what ended within so short a time may have
/// ended the other way round. Of good calls, those that ended until a moment near it are taken.
fn as_late_as_can_be(calls: &[Ended], (moment, good_until): (At, At), order: At) -> Vec<(At, bool)> {
    let ended = |call: &&Ended| call.at <= if call.failed { moment + order } else { good_until };
    let placed =
        |call: &Ended| (if call.failed { call.at.min(moment) } else { call.at.saturating_sub(order) }, call.failed);
    let mut placed: Vec<_> = calls.iter().filter(ended).map(placed).collect();
    placed.sort_unstable();
    placed
}

fn meets(rule: Rule, window: Duration, calls: &[(At, bool)]) -> bool {
    let mut detector = rule.detector_over(window);
    let mut now = Timestamp::ZERO;
    for (at, failed) in calls {
        now = Timestamp::from_nanos(at + ORIGIN);
        detector.record(&if *failed { Call::failure(now) } else { Call::success(now) });
    }
    detector.verdict(now)
}

#[test]
fn a_truth_is_told_from_a_falsehood() {
    let mut history = History::default();
    for nth in 0..20 {
        history.ended(nth * 100 * MS, (usize::try_from(nth % 2).unwrap_or(0), 1), nth % 2 == 0);
    }
    let said = Said { moment: 1_800 * MS, heard: 2, clock_error: Duration::ZERO };
    assert_eq!(history.truth(Rule::Consecutive, said), Truth::NotMet, "every other call is good");
    assert_eq!(
        history.truth(Rule::Consecutive, Said { heard: 1, ..said }),
        Truth::Met,
        "the good ones are the silent one's"
    );
    assert_eq!(history.truth(Rule::Failures(10), said), Truth::Met);
    assert_eq!(history.truth(Rule::Failures(11), said), Truth::NotMet);
    // Of a window of 20 s it is known to a sixteenth when the rule was met: nine of the ten have ended by then.
    let early = Said { moment: 400 * MS, ..said };
    assert_eq!(history.truth(Rule::Failures(10), early), Truth::NotMet);
}
