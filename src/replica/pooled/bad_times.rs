//! When bad calls ended: for so many of them within a time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::question::{Question, Reached};
use super::rule::Leaf;
use super::told::{self, Stretch, ToldCalls};
use crate::circuit::detector::{Limit, Over};
use crate::circuit::{LoadError, Reader, Writer};
use crate::replica::clocks::before;
use crate::time::Timestamp;

/// The times of the newest bad calls, for one threshold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BadTimes {
    times: BTreeMap<Timestamp, BadCalls>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct BadCalls {
    count: u32,
    retry_after: Option<Duration>,
}

/// Times that are kept apart, at most; beyond that they become coarser, and calls older, which opens no circuit.
const MAX_TIMES: usize = 512;

impl BadTimes {
    pub(super) fn add(&mut self, leaf: &Leaf, told: &ToldCalls) {
        if leaf.measure.is_bad(told.calls.class) {
            let at = self.times.entry(told.at).or_default();
            at.count = at.count.saturating_add(told.calls.count);
            at.retry_after = at.retry_after.max(told.retry_after);
        }
    }

    pub(super) fn failures(&self) -> u64 {
        self.times.values().map(|at| u64::from(at.count)).sum()
    }

    /// Keeps the newest that the threshold can need, and those since `from`.
    pub(super) fn trim(&mut self, leaf: &Leaf, from: Timestamp) {
        let (Over::Time(window), Limit::Count(limit)) = (leaf.threshold.over, leaf.threshold.limit) else {
            return;
        };
        self.times = self.times.split_off(&before(from, window));
        let (mut newer, mut keep_from) = (0_u64, from);
        for (time, at) in self.times.range(..from).rev() {
            if newer > u64::from(limit) {
                break;
            }
            newer += u64::from(at.count);
            keep_from = *time;
        }
        self.times = self.times.split_off(&keep_from);
        for bits in 16..u64::BITS {
            if self.times.len() <= MAX_TIMES {
                break;
            }
            for (time, at) in std::mem::take(&mut self.times) {
                let time = Timestamp::from_nanos(time.as_nanos() >> bits << bits);
                let known = self.times.entry(time).or_default();
                known.count = known.count.saturating_add(at.count);
                known.retry_after = known.retry_after.max(at.retry_after);
            }
        }
    }

    pub(super) fn forget_after(&mut self, latest: Timestamp) {
        self.times.retain(|time, _| *time <= latest);
    }

    /// The times that are kept, with how many calls each is of.
    pub(super) fn times(&self) -> impl ExactSizeIterator<Item = (Timestamp, u32)> + '_ {
        self.times.iter().map(|(time, at)| (*time, at.count))
    }

    /// How many of the calls ended within `window` before `now`.
    pub(super) fn count(&self, window: Duration, now: Timestamp) -> u64 {
        let within = self.times.iter().filter(|(time, _)| now.since(**time) < window);
        within.map(|(_, at)| u64::from(at.count)).sum()
    }

    /// When the threshold was reached. Bad calls that came to be known too late to be judged in their place count as of now.
    pub(super) fn reached(&self, leaf: &Leaf, question: &Question<'_>) -> Vec<Reached> {
        let (Over::Time(window), Limit::Count(limit)) = (leaf.threshold.over, leaf.threshold.limit) else {
            return Vec::new();
        };
        let mut reached = Vec::new();
        let (mut count, mut oldest) = (0_u64, self.times.iter().peekable());
        let mut newest = None;
        for (time, at) in self.times.range(..=question.to) {
            while let Some((_, gone)) = oldest.next_if(|(old, _)| time.since(**old) >= window) {
                count -= u64::from(gone.count);
            }
            // One after another, as a detector sees them.
            let first = (count + 1).max(limit.into());
            count += u64::from(at.count);
            let met = (first <= count && leaf.threshold.holds(first, first)).then(|| Reached {
                from: *time,
                // It stays so until the first of them is out, with or without more of them.
                to: oldest.peek().map_or(*time, |(old, _)| **old + window),
                tally: leaf.threshold.tally(first, first),
                retry_after: at.retry_after,
            });
            newest = met;
            reached.extend(met.filter(|_| *time > question.from));
        }
        let within = self.times.range(..=question.to).filter(|(time, _)| question.to.since(**time) < window);
        let now = within.map(|(_, at)| u64::from(at.count)).sum::<u64>();
        if reached.is_empty() && leaf.threshold.holds(now, now) {
            reached.extend(newest);
        }
        reached
    }

    pub(super) fn save(&self, out: &mut Writer) {
        out.varint(self.times.len() as u64);
        let mut before = Timestamp::ZERO;
        for (time, at) in &self.times {
            out.varint(crate::time::nanos(time.since(before)));
            before = *time;
            out.varint(at.count.into());
            told::save_wait(at.retry_after, out);
        }
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let (mut known, mut time) = (Self::default(), Timestamp::ZERO);
        for _ in 0..from.varint_count(3)? {
            time = time + Duration::from_nanos(from.varint()?);
            let count = Stretch::new(super::rule::Class::GOOD, from.varint()?).count;
            let retry_after = told::load_wait(from)?;
            known.times.insert(time, BadCalls { count, retry_after });
        }
        Ok(known)
    }
}
