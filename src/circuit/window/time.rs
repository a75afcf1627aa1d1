//! The calls of the last seconds or minutes.

use std::time::Duration;

use crate::time::{Timestamp, nanos};

/// Counts of the calls within a length of time, in 16 to 33 slots of equal width.
///
/// A slot is a power of two of nanoseconds wide, so that finding it is a shift and slots of different windows nest.
/// Only slots that lie whole within the window are counted: a call is out when it is exactly one window old, and may be
/// out up to a sixteenth of the window sooner. Cost and memory do not depend on the number of calls.
#[derive(Clone, Debug)]
pub(in crate::circuit) struct TimeWindow {
    /// Ring of slots: slot `tick % len` holds the tick it was last used for.
    slots: Box<[Slot]>,
    length: u64,
    shift: u32,
    newest: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    calls: u32,
    bad: u32,
}

/// How many bits of a timestamp are below the slots of a window of this length.
pub(in crate::circuit) fn tick_shift(length: Duration) -> u32 {
    (nanos(length) / 16).max(1).ilog2()
}

impl TimeWindow {
    pub(in crate::circuit) fn new(length: Duration) -> Self {
        let shift = tick_shift(length);
        let length = nanos(length);
        let slots = usize::try_from((length >> shift) + 1).unwrap_or(1).min(64);
        Self { slots: vec![Slot::default(); slots].into(), length, shift, newest: 0 }
    }

    pub(in crate::circuit) const fn length(&self) -> Duration {
        Duration::from_nanos(self.length)
    }

    pub(in crate::circuit) fn clear(&mut self) {
        self.slots.fill(Slot::default());
    }

    pub(in crate::circuit) fn add(&mut self, calls: u64, bad: u64, at: Timestamp) {
        let tick = self.advance(at);
        let slot = self.slot(tick);
        let slot = &mut self.slots[slot];
        let add = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        slot.calls = slot.calls.saturating_add(add(calls));
        slot.bad = slot.bad.saturating_add(add(bad));
    }

    /// The calls and the bad ones within the window that ends at `now`.
    pub(in crate::circuit) fn tally(&self, now: Timestamp) -> (u64, u64) {
        let now = now.as_nanos().max(self.newest << self.shift);
        let len = self.slots.len() as u64;
        let mut sum = (0, 0);
        for back in 0..len.min(self.newest + 1) {
            let tick = self.newest - back;
            // Out once its start is one window old.
            if now - (tick << self.shift) >= self.length {
                break;
            }
            let slot = self.slots[self.slot(tick)];
            sum = (sum.0 + u64::from(slot.calls), sum.1 + u64::from(slot.bad));
        }
        sum
    }

    /// The slots that hold calls: start, calls, bad ones; oldest first.
    pub(in crate::circuit) fn slots(&self) -> impl Iterator<Item = (Timestamp, u32, u32)> + '_ {
        let len = (self.slots.len() as u64).min(self.newest + 1);
        (0..len).rev().filter_map(move |back| {
            let tick = self.newest - back;
            let slot = self.slots[self.slot(tick)];
            (slot.calls > 0).then(|| (Timestamp::from_nanos(tick << self.shift), slot.calls, slot.bad))
        })
    }

    /// Moves on to the slot of `at`, emptying those in between; an earlier time counts as the newest one seen. A clock that
    /// stepped back by a window or more begins anew: what it said before means nothing now.
    fn advance(&mut self, at: Timestamp) -> u64 {
        let tick = at.as_nanos() >> self.shift;
        if self.newest.saturating_sub(tick) >= self.slots.len() as u64 {
            self.clear();
            self.newest = tick;
        }
        if tick > self.newest {
            let stale = (tick - self.newest).min(self.slots.len() as u64);
            for back in 0..stale {
                let slot = self.slot(tick - back);
                self.slots[slot] = Slot::default();
            }
            self.newest = tick;
        }
        self.newest
    }

    fn slot(&self, tick: u64) -> usize {
        // The remainder is below the number of slots.
        usize::try_from(tick % self.slots.len() as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(n: u64) -> Timestamp {
        Timestamp::from_nanos(n * 1_000_000)
    }

    #[test]
    fn a_call_one_window_old_is_out_and_a_young_one_in() {
        let mut window = TimeWindow::new(Duration::from_secs(10));
        window.add(1, 1, ms(0));
        assert_eq!(window.tally(ms(9_000)), (1, 1));
        assert_eq!(window.tally(ms(10_000)), (0, 0));
    }

    #[test]
    fn long_idleness_and_the_end_of_time_are_harmless() {
        let mut window = TimeWindow::new(Duration::from_secs(60));
        window.add(5, 5, ms(0));
        assert_eq!(window.tally(Timestamp::MAX), (0, 0));
        window.add(1, 0, Timestamp::MAX);
        assert_eq!(window.tally(Timestamp::MAX), (1, 0));
        window.add(1, 1, ms(1));
        assert_eq!(window.tally(ms(1)), (1, 1), "a clock that stepped back by more than a window begins anew");
        window.add(1, 0, ms(10_000));
        window.add(1, 0, ms(9_000));
        assert_eq!(window.tally(ms(10_000)), (3, 1), "a little earlier counts as the newest time seen");
        let tiny = TimeWindow::new(Duration::from_nanos(1));
        assert_eq!(tiny.tally(ms(1)), (0, 0));
        let long = TimeWindow::new(Duration::MAX);
        assert!(long.slots.len() <= 64);
    }

    proptest! {
        #[test]
        fn counts_what_is_surely_within_and_nothing_older(
            length in 1_u64..100_000, gaps in prop::collection::vec((0_u64..20_000, any::<bool>()), 1..200),
        ) {
            let mut window = TimeWindow::new(Duration::from_millis(length));
            let (mut now, mut calls) = (0, Vec::new());
            for (gap, bad) in gaps {
                now += gap;
                window.add(1, u64::from(bad), ms(now));
                calls.push((now, bad));
                let within = |age: u64| calls.iter().filter(|(at, _)| now - at < age).count() as u64;
                let (seen, _) = window.tally(ms(now));
                prop_assert!(seen <= within(length), "nothing one window old counts");
                prop_assert!(seen >= within(length - length / 16), "what is 15/16 of a window old counts");
            }
        }
    }
}
