//! A detector's shape, made ready to judge by.

use std::time::Duration;

use crate::circuit::detector::{Limit, Over, Shape, Threshold};
use crate::circuit::{LoadError, Reader, Writer};

/// A rule that any instance can judge by: thresholds, and how they are combined.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    /// How slow slow is, for those thresholds that count slow calls; ascending.
    limits: Vec<Duration>,
    pub(super) leaves: Vec<Leaf>,
    pub(super) tree: Tree,
    shape: Shape,
}

/// A threshold, and which calls count for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Leaf {
    pub(super) threshold: Threshold,
    pub(super) measure: Measure,
}

/// Which calls are bad for a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Failed,
    /// Those that were slower than the limit of this number.
    Slow(u8),
}

/// How the verdicts of thresholds are combined.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    /// The threshold of this number.
    Leaf(usize),
    Any(Vec<Self>),
    All(Vec<Self>),
}

/// What a call was to a rule: whether it failed, and how many of the rule's limits it was slower than.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Class(u8);

/// Thresholds in a rule, at most: what has more is judged as an opaque one.
const MAX_LEAVES: usize = 16;
/// Limits of slowness in a rule, at most.
const MAX_LIMITS: usize = 3;
/// Logs by time that a rule may need, at most: one for each length of a window, and for each number of failures within one.
const MAX_LOGS: usize = 4;
/// How deep combinations may be nested.
const MAX_DEPTH: usize = 8;

impl Class {
    pub(super) const GOOD: Self = Self(0);
    pub(super) const FAILED: Self = Self(1);
    /// How many there are.
    pub(super) const COUNT: usize = 2 * (MAX_LIMITS + 1);

    /// The class of that number, of those that there are.
    pub(super) const fn from_index(index: u8) -> Option<Self> {
        if (index as usize) < Self::COUNT { Some(Self(index)) } else { None }
    }

    pub(super) const fn index(self) -> u8 {
        self.0
    }

    /// Failed or slow: detectors give verdicts after such calls only.
    pub(super) const fn is_bad(self) -> bool {
        self.0 != 0
    }

    pub(super) const fn failed(self) -> bool {
        self.0 & 1 != 0
    }

    /// The classes, the good one first.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0_u8..).map(Self).take(Self::COUNT)
    }
}

impl Measure {
    pub(super) const fn is_bad(self, class: Class) -> bool {
        match self {
            Self::Failed => class.failed(),
            Self::Slow(limit) => class.0 >> 1 > limit,
        }
    }
}

impl Rule {
    /// `None` where only the detector itself can judge.
    pub(super) fn new(shape: &Shape) -> Option<Self> {
        let (mut limits, mut leaves) = (Vec::new(), Vec::new());
        collect(shape, 0, &mut leaves)?;
        limits.extend(leaves.iter().filter_map(|threshold| threshold.slower_than));
        limits.sort_unstable();
        limits.dedup();
        if leaves.len() > MAX_LEAVES || limits.len() > MAX_LIMITS {
            return None;
        }
        let measure = |threshold: &Threshold| match threshold.slower_than {
            None => Measure::Failed,
            Some(limit) => Measure::Slow(number(limits.iter().take_while(|known| **known < limit).count())),
        };
        let leaves =
            leaves.iter().map(|threshold| Leaf { threshold: *threshold, measure: measure(threshold) }).collect();
        let tree = plant(shape, &mut 0);
        let rule = Self { limits, leaves, tree, shape: shape.clone() };
        let by_time = rule.leaves.iter().filter(|leaf| leaf.counts_bad_only()).count() + rule.windows().len();
        (by_time <= MAX_LOGS).then_some(rule)
    }

    /// What a call is to the rule.
    pub(super) fn class(&self, failed: bool, took: Option<Duration>) -> Class {
        let passed = self.limits.iter().filter(|limit| took.is_some_and(|took| took >= **limit)).count();
        Class(u8::from(failed) | number(passed) << 1)
    }

    /// How long a call of a class took at least, where that is of any use to the rule.
    pub(super) fn least_time(&self, class: Class) -> Option<Duration> {
        usize::from(class.0 >> 1).checked_sub(1).and_then(|passed| self.limits.get(passed)).copied()
    }

    /// The lengths of the windows over a time in which good calls count.
    pub(super) fn windows(&self) -> Vec<Duration> {
        let window = |leaf: &Leaf| match leaf.threshold.over {
            Over::Time(window) if !leaf.counts_bad_only() => Some(window),
            Over::Row | Over::Calls(_) | Over::Time(_) => None,
        };
        let mut windows = Vec::new();
        for window in self.leaves.iter().filter_map(window) {
            if !windows.contains(&window) {
                windows.push(window);
            }
        }
        windows
    }

    /// Tells whether good calls are nothing to it: then silence needs no question.
    pub(super) fn counts_bad_only(&self) -> bool {
        self.leaves.iter().all(|leaf| leaf.counts_bad_only())
    }

    pub(super) fn save(&self, out: &mut Writer) {
        self.shape.save(out);
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let shape = Shape::load(from)?;
        Self::new(&shape).ok_or_else(|| LoadError::new("a rule that cannot be judged"))
    }
}

impl Leaf {
    /// So many bad calls in a row reach it.
    pub(super) const fn row(&self) -> u64 {
        match self.threshold.limit {
            Limit::Count(n) => n as u64,
            Limit::Rate(_) => 1,
        }
    }

    /// Tells whether it counts bad calls over a time, and good ones change nothing.
    pub(super) const fn counts_bad_only(&self) -> bool {
        matches!(self.threshold.over, Over::Time(_)) && !self.threshold.counts_successes()
    }
}

/// There are never more than [`MAX_LIMITS`].
fn number(limits: usize) -> u8 {
    u8::try_from(limits).unwrap_or(u8::MAX)
}

/// The thresholds of a shape in the order in which [`plant`] numbers them. `None`: it is opaque, empty or too large.
fn collect(shape: &Shape, depth: usize, leaves: &mut Vec<Threshold>) -> Option<()> {
    if depth > MAX_DEPTH || leaves.len() > MAX_LEAVES {
        return None;
    }
    match shape {
        Shape::Opaque => None,
        Shape::Threshold(threshold) => {
            let is_empty = match threshold.over {
                Over::Row => false,
                Over::Calls(calls) => calls == 0,
                Over::Time(time) => time.is_zero(),
            };
            leaves.push(*threshold);
            (!is_empty).then_some(())
        }
        Shape::Any(parts) | Shape::All(parts) => {
            let all = parts.iter().try_for_each(|part| collect(part, depth + 1, leaves));
            all.filter(|()| !parts.is_empty())
        }
    }
}

fn plant(shape: &Shape, next: &mut usize) -> Tree {
    match shape {
        Shape::Any(parts) => Tree::Any(parts.iter().map(|part| plant(part, next)).collect()),
        Shape::All(parts) => Tree::All(parts.iter().map(|part| plant(part, next)).collect()),
        Shape::Threshold(_) | Shape::Opaque => {
            *next += 1;
            Tree::Leaf(*next - 1)
        }
    }
}
