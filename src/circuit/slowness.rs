//! How slow slow is, and when slow probes count against the dependency.

use std::time::Duration;

use super::detector::{Detector, Shape};

/// Which calls are slow for a detector, and what slow calls can meet of its rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Slowness {
    /// From which durations on calls are slow, ascending; empty where durations do not matter.
    limits: Vec<Duration>,
    /// `None` where slow calls cannot meet the rule, or only the detector itself can judge.
    rule: Option<Shape>,
}

/// What the probes of a round were, as a rule over slow calls sees them.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProbesSeen<'a> {
    pub(super) calls: u32,
    pub(super) failed: u32,
    /// How many passed more than so many limits.
    pub(super) slow: &'a [u32],
}

/// Limits that calls are told apart by; a rule with more of them takes the longer ones for this one.
const MAX_LIMITS: usize = 15;

impl Slowness {
    pub(crate) fn of(detector: &dyn Detector) -> Self {
        let Some(least) = detector.slow_after() else {
            return Self::default();
        };
        let (shape, mut limits) = (detector.shape(), vec![least]);
        collect_limits(&shape, &mut limits);
        limits.sort_unstable();
        limits.dedup();
        limits.truncate(MAX_LIMITS);
        Self { limits, rule: of_slow_calls(&shape) }
    }

    /// From which duration on a call is slow for any part of the rule.
    pub(crate) fn least(&self) -> Option<Duration> {
        self.limits.first().copied()
    }

    /// How many of the limits a call has passed.
    pub(crate) fn passed(&self, took: Option<Duration>) -> u8 {
        let passed = self.limits.iter().filter(|limit| took.is_some_and(|took| took >= **limit)).count();
        u8::try_from(passed).unwrap_or(u8::MAX)
    }

    /// How long a call took, at the least, that passed so many of the limits.
    #[cfg(feature = "fleet")]
    pub(crate) fn took(&self, passed: u8) -> Option<Duration> {
        self.limits.iter().take(passed.into()).next_back().copied()
    }

    /// Tells whether the probes of a round, taken for calls of the closed state, meet the rule by their slowness. How
    /// long ago they were does not matter: there may be minutes between probes.
    pub(super) fn is_met_by(&self, seen: ProbesSeen<'_>) -> bool {
        self.rule.as_ref().is_some_and(|rule| self.holds(rule, seen))
    }

    fn holds(&self, rule: &Shape, seen: ProbesSeen<'_>) -> bool {
        match rule {
            Shape::Opaque => false,
            Shape::Threshold(threshold) => {
                let is_shorter = |limit: &&Duration| Some(**limit) < threshold.slower_than;
                // A limit beyond the most is not among them.
                let nth = self.limits.iter().take_while(is_shorter).count().min(self.limits.len().saturating_sub(1));
                let slow = seen.slow.get(nth).copied().unwrap_or(0);
                let bad = if threshold.slower_than.is_some() { slow } else { seen.failed };
                threshold.holds(bad.into(), seen.calls.into())
            }
            Shape::Any(parts) => parts.iter().any(|part| self.holds(part, seen)),
            Shape::All(parts) => parts.iter().all(|part| self.holds(part, seen)),
        }
    }
}

fn collect_limits(shape: &Shape, limits: &mut Vec<Duration>) {
    match shape {
        Shape::Opaque => {}
        Shape::Threshold(threshold) => limits.extend(threshold.slower_than),
        Shape::Any(parts) | Shape::All(parts) => parts.iter().for_each(|part| collect_limits(part, limits)),
    }
}

/// What of a rule slow calls can meet. What failures meet by themselves is left out: how many probes may fail, `Probes`
/// says.
fn of_slow_calls(shape: &Shape) -> Option<Shape> {
    match shape {
        Shape::Opaque => None,
        Shape::Threshold(threshold) => threshold.slower_than.map(|_| shape.clone()),
        Shape::Any(parts) => {
            let parts: Vec<_> = parts.iter().filter_map(of_slow_calls).collect();
            (!parts.is_empty()).then_some(Shape::Any(parts))
        }
        Shape::All(parts) => parts.iter().any(|part| of_slow_calls(part).is_some()).then(|| shape.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::detector::{consecutive_failures, failure_rate, failures, slow_call_rate};

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn limits_are_those_of_all_parts() {
        let two = slow_call_rate(0.5).slower_than(3 * S).of_last(10);
        let slowness =
            Slowness::of(&failures(3).of_last(9).or(two).and(slow_call_rate(0.9).slower_than(S).within(9 * S)));
        assert_eq!(slowness.least(), Some(S));
        assert_eq!([None, Some(S / 2), Some(S), Some(3 * S)].map(|took| slowness.passed(took)), [0, 0, 1, 2]);
        #[cfg(feature = "fleet")]
        assert_eq!([0, 1, 2, 9].map(|passed| slowness.took(passed)), [None, Some(S), Some(3 * S), Some(3 * S)]);
        assert_eq!(Slowness::of(&consecutive_failures(3)), Slowness::default());
    }

    /// Those beyond the most are told apart no more, and count as of the longest that is.
    #[test]
    fn a_rule_with_more_limits_than_are_told_apart_is_met_by_all_of_them() {
        let part = |n: u32| slow_call_rate(0.5).slower_than(S * n).of_last(10);
        let slowness = Slowness::of(&(3..=20).fold(part(1).and(part(2)), |rule, n| rule.and(part(n))));
        let passed = usize::from(slowness.passed(Some(30 * S)));
        assert_eq!(passed, MAX_LIMITS);
        let met = |slow: &[u32]| slowness.is_met_by(ProbesSeen { calls: 10, failed: 0, slow });
        assert!(met(&vec![10; passed]));
        assert!(!met(&[10; MAX_LIMITS - 1]));
    }

    #[test]
    fn a_round_meets_the_parts_that_slow_calls_can_meet() {
        let met = |detector: &dyn Detector, calls, failed, slow: &[u32]| {
            Slowness::of(detector).is_met_by(ProbesSeen { calls, failed, slow })
        };
        let rule = slow_call_rate(0.8).slower_than(S).of_last(10);
        assert!(!met(&rule, 4, 0, &[4]), "four calls are too few");
        assert!(met(&rule, 5, 0, &[4]) && !met(&rule, 5, 0, &[3]) && !met(&rule, 5, 0, &[]));
        let either = rule.clone().or(failure_rate(0.2).of_last(10));
        assert!(!met(&either, 5, 5, &[]), "failures are for `Probes`");
        let both = rule.clone().and(failure_rate(0.2).of_last(10));
        assert!(met(&both, 5, 1, &[5]) && !met(&both, 5, 0, &[5]));
        let two = rule.or(slow_call_rate(0.2).slower_than(3 * S).of_last(10));
        assert!(met(&two, 5, 0, &[1, 1]) && !met(&two, 5, 0, &[3, 0]));
    }
}
