//! The calls that a rule is judged by, in a log for each kind of window.

use std::time::Duration;

use super::bad_times::BadTimes;
use super::cell::Writers;
use super::question::{Question, Reached};
use super::rule::{Leaf, Rule, Tree};
use super::sequence::{Sequence, TICK_BITS, tick_bits_for};
use super::slots::Slots;
use super::telling::Trip;
use super::told::ToldCalls;
use crate::circuit::detector::Over;
use crate::circuit::{LoadError, Reader, Tally, Writer};
use crate::time::Timestamp;

/// What is kept of calls for a rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Logs {
    /// For thresholds over the newest calls; empty where there are none.
    sequence: Sequence,
    /// For shares of the calls of some time: a log for each length.
    slots: Vec<Slots>,
    /// For numbers of bad calls within some time: a log for each threshold, by the number of its leaf.
    bad_times: Vec<(usize, BadTimes)>,
}

/// A rule was met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Met {
    /// By a call that ended then, or within the tick that begins then.
    pub(super) at: Timestamp,
    pub(super) tally: Tally,
    pub(super) retry_after: Option<Duration>,
}

/// Over how many of the newest calls a threshold counts.
const fn calls_of(leaf: &Leaf) -> Option<u64> {
    match leaf.threshold.over {
        Over::Calls(calls) => Some(calls as u64),
        // And the good one before them.
        Over::Row => Some(leaf.row() + 1),
        Over::Time(_) => None,
    }
}

impl From<Trip> for Met {
    fn from(Trip { at, tally, retry_after }: Trip) -> Self {
        Self { at, tally, retry_after }
    }
}

impl From<Reached> for Met {
    fn from(Reached { from, tally, retry_after, .. }: Reached) -> Self {
        Self { at: from, tally, retry_after }
    }
}

impl Logs {
    pub(super) fn new(rule: &Rule) -> Self {
        let bad_only = rule.leaves.iter().enumerate().filter(|(_, leaf)| leaf.counts_bad_only());
        Self {
            sequence: Sequence::default(),
            slots: rule.windows().into_iter().map(Slots::new).collect(),
            bad_times: bad_only.map(|(nth, _)| (nth, BadTimes::default())).collect(),
        }
    }

    fn slots_of(&self, window: Duration) -> Option<&Slots> {
        self.slots.iter().find(|slots| slots.window() == window)
    }

    pub(super) fn add(&mut self, rule: &Rule, writer: Writers, told: &ToldCalls) {
        if rule.horizon().calls > 0 {
            self.sequence.add(writer, told);
        }
        self.slots.iter_mut().for_each(|slots| slots.add(told));
        for (nth, bad_times) in &mut self.bad_times {
            bad_times.add(&rule.leaves[*nth], told);
        }
    }

    /// Forgets what nothing that ends after `from` can depend on.
    pub(super) fn trim(&mut self, rule: &Rule, from: Timestamp) {
        self.sequence.trim(rule.horizon().calls, from);
        self.slots.iter_mut().for_each(|slots| slots.trim(from));
        for (nth, bad_times) in &mut self.bad_times {
            bad_times.trim(&rule.leaves[*nth], from);
        }
    }

    /// Forgets calls that ended later, but for those of the same tick.
    pub(super) fn forget_after(&mut self, latest: Timestamp) {
        self.sequence.forget_after(latest);
        self.slots.iter_mut().for_each(|slots| slots.forget_after(latest));
        self.bad_times.iter_mut().for_each(|(_, bad_times)| bad_times.forget_after(latest));
    }

    /// Clocks differ by up to this.
    pub(super) fn allow_for(&mut self, rule: &Rule, error: Duration) {
        let bits = tick_bits_for(error);
        if rule.horizon().calls > 0 {
            self.sequence.coarsen(bits);
        }
        self.slots.iter_mut().for_each(|slots| slots.coarsen(bits));
    }

    pub(super) fn end_of_tick(&self, at: Timestamp) -> Timestamp {
        let slots = self.slots.iter().map(|slots| slots.end_of_tick(at));
        slots.chain([self.sequence.end_of_tick(at)]).max().unwrap_or(at)
    }

    /// What the clocks of instances differ by, where that is more than a tick allows for anyway.
    pub(super) fn clock_error(&self) -> Duration {
        let ticks = self.slots.iter().map(Slots::tick_bits).chain([self.sequence.bits()]);
        let longest = ticks.max().filter(|bits| *bits > TICK_BITS);
        longest.map_or(Duration::ZERO, |bits| Duration::from_nanos(1 << (bits - 1)))
    }

    /// Within such a time, the order of calls of several instances is not known.
    pub(super) const fn tick(&self) -> Duration {
        Duration::from_nanos(1 << self.sequence.bits())
    }

    pub(super) fn failures(&self) -> u64 {
        let times = self.slots.iter().map(Slots::failures).chain(self.bad_times.iter().map(|(_, log)| log.failures()));
        times.chain([self.sequence.failures()]).max().unwrap_or(0)
    }

    /// For each threshold, its tally at `now`.
    pub(super) fn tallies(&self, rule: &Rule, now: Timestamp) -> Vec<Tally> {
        let of = |(nth, leaf): (usize, &Leaf)| {
            let bad_times = self.bad_times.iter().find(|(of, _)| *of == nth);
            let (bad, calls) = match (leaf.threshold.over, bad_times) {
                (Over::Time(window), Some((_, bad_times))) => {
                    let count = bad_times.count(window, now);
                    (count, count)
                }
                (Over::Time(window), None) => self.slots_of(window).map_or((0, 0), |slots| slots.count(leaf, now)),
                (Over::Row | Over::Calls(_), _) => self.sequence.count(leaf),
            };
            leaf.threshold.tally(bad, calls)
        };
        rule.leaves.iter().enumerate().map(of).collect()
    }

    /// The bad calls that are known with their times, as far back as any threshold over a time needs them.
    pub(super) fn bad_calls(&self) -> Vec<(Timestamp, u32)> {
        let most = self.bad_times.iter().max_by_key(|(_, bad_times)| bad_times.times().len());
        most.map_or_else(Vec::new, |(_, bad_times)| bad_times.times().collect())
    }

    /// The first moment at which the rule was met.
    pub(super) fn met(&self, rule: &Rule, question: &Question<'_>) -> Option<Met> {
        self.met_by(rule, question, &|_| true)
    }

    /// The same by numbers of bad calls alone, for which no good call matters that is not told yet.
    pub(super) fn met_by_bad_only(&self, rule: &Rule, question: &Question<'_>) -> Option<Met> {
        self.met_by(rule, question, &Leaf::counts_bad_only)
    }

    fn met_by(&self, rule: &Rule, question: &Question<'_>, takes: &dyn Fn(&Leaf) -> bool) -> Option<Met> {
        let reached = self.reached(rule, &rule.tree, question, takes);
        reached.into_iter().min_by_key(|reached| reached.from).map(Met::from)
    }

    fn reached(
        &self,
        rule: &Rule,
        tree: &Tree,
        question: &Question<'_>,
        takes: &dyn Fn(&Leaf) -> bool,
    ) -> Vec<Reached> {
        match tree {
            Tree::Leaf(nth) => {
                let leaf = &rule.leaves[*nth];
                if takes(leaf) { self.reached_by(*nth, leaf, question) } else { Vec::new() }
            }
            Tree::Any(parts) => parts.iter().flat_map(|part| self.reached(rule, part, question, takes)).collect(),
            Tree::All(parts) => {
                let mut parts = parts.iter().map(|part| self.reached(rule, part, question, takes));
                let first = parts.next().unwrap_or_default();
                parts.fold(first, |all, more| together(&all, &more))
            }
        }
    }

    fn reached_by(&self, nth: usize, leaf: &Leaf, question: &Question<'_>) -> Vec<Reached> {
        let bad_times = self.bad_times.iter().find(|(of, _)| *of == nth);
        match (leaf.threshold.over, bad_times) {
            (Over::Time(_), Some((_, bad_times))) => bad_times.reached(leaf, question),
            (Over::Time(window), None) => {
                self.slots_of(window).map_or_else(Vec::new, |slots| slots.reached(leaf, question))
            }
            (Over::Row | Over::Calls(_), _) => self.sequence.reached(leaf, question),
        }
    }

    pub(super) fn save(&self, rule: &Rule, out: &mut Writer) {
        if rule.horizon().calls > 0 {
            self.sequence.save(out);
        }
        self.slots.iter().for_each(|slots| slots.save(out));
        self.bad_times.iter().for_each(|(_, bad_times)| bad_times.save(out));
    }

    pub(super) fn load(rule: &Rule, from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let mut logs = Self::new(rule);
        if rule.horizon().calls > 0 {
            logs.sequence = Sequence::load(from)?;
        }
        for slots in &mut logs.slots {
            let window = slots.window();
            *slots = Slots::load(from)?;
            if slots.window() != window {
                return Err(LoadError::new("slots of another window"));
            }
        }
        for (_, bad_times) in &mut logs.bad_times {
            *bad_times = BadTimes::load(from)?;
        }
        Ok(logs)
    }
}

/// When both were reached. What is reached by one and the same call is told with the counts of the first.
fn together(some: &[Reached], others: &[Reached]) -> Vec<Reached> {
    let mut both = Vec::new();
    for one in some {
        let at_once = others.iter().filter(|other| one.from <= other.to && other.from <= one.to);
        both.extend(at_once.map(|other| Reached {
            from: one.from.max(other.from),
            to: one.to.min(other.to),
            retry_after: one.retry_after.max(other.retry_after),
            ..*one
        }));
    }
    both
}

/// How far back a rule looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) calls: u64,
    pub(super) time: Duration,
}

impl Rule {
    /// The fewest of the newest calls that a threshold counts; `None`: all count by time.
    pub(super) fn fewest_calls(&self) -> Option<u64> {
        let fewest = |leaf: &Leaf| match leaf.threshold.over {
            Over::Calls(calls) => Some(calls as u64),
            Over::Row => Some(leaf.row()),
            Over::Time(_) => None,
        };
        self.leaves.iter().filter_map(fewest).min()
    }

    pub(super) fn horizon(&self) -> Reach {
        let calls = self.leaves.iter().filter_map(calls_of).max().unwrap_or(0);
        let time = |leaf: &Leaf| if let Over::Time(time) = leaf.threshold.over { time } else { Duration::ZERO };
        Reach { calls, time: self.leaves.iter().map(time).max().unwrap_or_default() }
    }

    /// In cells of so many bits, calls of one class need not be told apart once they are judged; `None`: it looks at no
    /// time.
    pub(super) fn coarsest_bits(&self) -> Option<u8> {
        let times = self.leaves.iter().filter_map(|leaf| match leaf.threshold.over {
            Over::Time(window) => Some(Slots::new(window).bits()),
            Over::Row | Over::Calls(_) => None,
        });
        times.min()
    }

    /// How exactly it must be told when good calls ended; `None`: not at all.
    pub(super) fn resolution(&self) -> Option<Duration> {
        let of = |leaf: &Leaf| match leaf.threshold.over {
            Over::Row | Over::Calls(_) => Some(Duration::from_millis(8)),
            Over::Time(_) if leaf.counts_bad_only() => None,
            Over::Time(window) => Some(Slots::new(window).resolution()),
        };
        self.leaves.iter().filter_map(of).min()
    }
}
