//! Calls counted by time: for shares of the calls of so many seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use super::question::{Question, Reached, whole};
use super::rule::{Class, Leaf};
use super::sequence::{TICK_BITS, load_tick_bits};
use super::told::{self, Stretch, ToldCalls};
use crate::circuit::{LoadError, Reader, Writer};
use crate::replica::clocks::before;
use crate::time::{Timestamp, nanos};

/// Counts of calls for windows of one length, in slots of equal width: sums, so it does not matter in which order, and
/// in how many batches, they were told. Slots whose verdict is still to come are kept in ticks, so that a verdict can
/// be about the calls up to a moment within one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Slots {
    window: Duration,
    /// A slot is two to the power of this in nanoseconds.
    bits: u8,
    /// A tick is two to the power of this.
    tick_bits: u8,
    /// From the slot of this number on, calls are in ticks.
    ticks_from: u64,
    slots: BTreeMap<u64, Slot>,
    ticks: BTreeMap<u64, Slot>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Slot {
    counts: [u32; Class::COUNT],
    retry_after: Option<Duration>,
}

/// A slot or a tick, with its first moment and the one after its last.
struct Span<'a> {
    start: Timestamp,
    end: Timestamp,
    slot: &'a Slot,
    counted: Counted,
}

/// A breaker's own window leaves out up to such a part of its oldest calls.
const EDGE: u32 = 16;
/// A window has at least so many slots, if a slot is no shorter than a tick.
const SLOTS: u64 = 128;
/// Slots that are kept, at most: of the window, and of the time that is still to be judged.
const MAX_SLOTS: usize = 384;
/// Ticks that are kept, at most: six seconds of them.
const MAX_TICKS: usize = 192;

impl Slots {
    pub(super) fn new(window: Duration) -> Self {
        let bits = (nanos(window) / SLOTS).max(1).ilog2();
        let bits = u8::try_from(bits).unwrap_or(u8::MAX).max(TICK_BITS);
        let (slots, ticks) = (BTreeMap::new(), BTreeMap::new());
        Self { window, bits, tick_bits: TICK_BITS, ticks_from: 0, slots, ticks }
    }

    pub(super) const fn window(&self) -> Duration {
        self.window
    }

    /// How exactly it must be told when calls ended.
    pub(super) const fn resolution(&self) -> Duration {
        Duration::from_nanos(1 << (self.tick_bits - 2))
    }

    pub(super) const fn bits(&self) -> u8 {
        self.bits
    }

    pub(super) const fn tick_bits(&self) -> u8 {
        self.tick_bits
    }

    const fn slot(&self, at: Timestamp) -> u64 {
        at.as_nanos() >> self.bits
    }

    const fn slot_of_tick(&self, tick: u64) -> u64 {
        tick >> (self.bits - self.tick_bits)
    }

    /// The last moment of the tick in which a moment lies.
    pub(super) const fn end_of_tick(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_nanos(at.as_nanos() | ((1 << self.tick_bits) - 1))
    }

    pub(super) fn add(&mut self, told: &ToldCalls) {
        let (slot, tick) = (self.slot(told.at), told.at.as_nanos() >> self.tick_bits);
        let slot = if slot >= self.ticks_from { self.ticks.entry(tick) } else { self.slots.entry(slot) };
        slot.or_default().add(told.calls, told.retry_after);
    }

    /// Makes ticks as long as the clocks need, and slots as long as ticks. They never get shorter.
    pub(super) fn coarsen(&mut self, tick_bits: u8) {
        if tick_bits <= self.tick_bits {
            return;
        }
        self.ticks = joined(std::mem::take(&mut self.ticks), tick_bits - self.tick_bits);
        self.tick_bits = tick_bits;
        let by = tick_bits.saturating_sub(self.bits);
        if by > 0 {
            self.slots = joined(std::mem::take(&mut self.slots), by);
            self.bits = tick_bits;
            // A slot that was cut in two is one of ticks.
            self.ticks_from >>= by;
            for (slot, cut) in self.slots.split_off(&self.ticks_from) {
                self.ticks.entry(slot).or_default().join(&cut);
            }
        }
    }

    /// Forgets what no window can see from `from` on, and makes slots of the ticks before that.
    pub(super) fn trim(&mut self, from: Timestamp) {
        self.end_ticks_before(self.slot(from));
        while self.ticks.len() > MAX_TICKS
            && let Some(oldest) = self.ticks.keys().next()
        {
            self.end_ticks_before(self.slot_of_tick(*oldest) + 1);
        }
        let oldest = before(from, self.window);
        self.slots = self.slots.split_off(&self.slot(oldest).saturating_sub(1));
        while self.slots.len() > MAX_SLOTS {
            self.slots.pop_first();
        }
    }

    fn end_ticks_before(&mut self, slot: u64) {
        self.ticks_from = self.ticks_from.max(slot);
        let later = self.ticks.split_off(&(self.ticks_from << (self.bits - self.tick_bits)));
        for (tick, counts) in std::mem::replace(&mut self.ticks, later) {
            self.slots.entry(self.slot_of_tick(tick)).or_default().join(&counts);
        }
    }

    pub(super) fn forget_after(&mut self, latest: Timestamp) {
        let (slot, tick) = (self.slot(latest), latest.as_nanos() >> self.tick_bits);
        self.slots.retain(|known, _| *known <= slot);
        self.ticks.retain(|known, _| *known <= tick);
        self.ticks_from = self.ticks_from.min(slot + 1);
    }

    pub(super) fn failures(&self) -> u64 {
        let failed =
            |slot: &Slot| -> u64 { Class::all().filter(|class| class.failed()).map(|class| slot.count(class)).sum() };
        self.slots.values().chain(self.ticks.values()).map(failed).sum()
    }

    /// How many calls ended within the window before `now`, and how many of them were bad: bad ones first.
    pub(super) fn count(&self, leaf: &Leaf, now: Timestamp) -> (u64, u64) {
        let oldest = before(now, self.window);
        let spans = self.spans(leaf, now);
        let within = spans.iter().filter(|span| span.end > oldest).map(|span| span.counted);
        let sum = within.fold(Counted::default(), Counted::plus);
        (sum.bad, sum.calls)
    }

    /// What is known, by time, for a threshold.
    fn spans(&self, leaf: &Leaf, to: Timestamp) -> Vec<Span<'_>> {
        let slots = self.slots.iter().map(|(at, slot)| (*at, self.bits, slot));
        let ticks = self.ticks.iter().map(|(at, slot)| (*at, self.tick_bits, slot));
        let spans = slots.chain(ticks).map(|(at, bits, slot)| Span {
            start: Timestamp::from_nanos(at << bits),
            end: Timestamp::from_nanos((at + 1) << bits),
            slot,
            counted: slot.counted(leaf),
        });
        spans.take_while(|span| span.start <= to).collect()
    }

    /// When a threshold was reached. The bad calls of a tick may have been the last ones in it, so it is judged at its end.
    pub(super) fn reached(&self, leaf: &Leaf, question: &Question<'_>) -> Vec<Reached> {
        let mut threshold = leaf.threshold;
        if question.is_possible() {
            threshold.min_calls = 1;
        }
        let spans = self.spans(leaf, question.to);
        let mut reached = Vec::new();
        let (mut oldest, mut sum) = (0, Counted::default());
        for (nth, span) in spans.iter().enumerate() {
            sum = sum.plus(span.counted);
            // The window begins somewhere between these.
            let widest = before(span.start, self.window);
            let narrowest = before(span.end, self.window.saturating_sub(self.window / EDGE));
            while spans[oldest].end <= widest {
                sum = sum.minus(spans[oldest].counted);
                oldest += 1;
            }
            if span.end <= question.from || !span.counted.has_bad {
                continue;
            }
            let good = span.slot.count(Class::GOOD);
            let holds = |from: Timestamp, counted: Counted| {
                let presumed = question.presumed_between(from, span.end.min(question.to));
                // If its good calls came last, they did not help to reach the least number.
                let at_least = question.is_possible() || counted.calls - good >= threshold.min_calls.into();
                at_least && threshold.holds(counted.bad, counted.calls + whole(presumed))
            };
            // Without one more each time.
            let (mut rest, mut met) = (sum, Vec::from([(holds(spans[oldest].start, sum), sum)]));
            for older in spans[oldest..nth].iter().take_while(|older| older.start <= narrowest) {
                rest = rest.minus(older.counted);
                met.push((holds(older.end, rest), rest));
            }
            let any = met.iter().find(|(holds, _)| *holds).map(|(_, counted)| *counted);
            let is_met = question.is_possible() || met.iter().all(|(holds, _)| *holds);
            reached.extend(any.filter(|_| is_met).map(|counted| Reached {
                from: span.start,
                to: Timestamp::from_nanos(span.end.as_nanos() - 1),
                tally: threshold.tally(counted.bad, counted.calls),
                retry_after: span.slot.retry_after,
            }));
        }
        reached
    }

    pub(super) fn save(&self, out: &mut Writer) {
        out.varint(nanos(self.window));
        out.u8(self.tick_bits);
        out.varint(self.ticks_from);
        save_map(&self.slots, out);
        save_map(&self.ticks, out);
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let mut slots = Self::new(Duration::from_nanos(from.varint()?));
        if slots.window.is_zero() {
            return Err(LoadError::new("a window without length"));
        }
        slots.tick_bits = load_tick_bits(from)?;
        slots.bits = slots.bits.max(slots.tick_bits);
        slots.ticks_from = from.varint()?;
        slots.slots = load_map(from, slots.bits)?;
        slots.ticks = load_map(from, slots.tick_bits)?;
        let last_slot = slots.slots.last_key_value().map(|(slot, _)| *slot);
        let first_tick = slots.ticks.first_key_value().map(|(tick, _)| slots.slot_of_tick(*tick));
        let is_in_order = last_slot.is_none_or(|slot| slot < slots.ticks_from)
            && first_tick.is_none_or(|slot| slot >= slots.ticks_from);
        if !is_in_order || slots.ticks_from > u64::MAX >> slots.bits {
            return Err(LoadError::new("ticks among slots"));
        }
        Ok(slots)
    }
}

fn save_map(slots: &BTreeMap<u64, Slot>, out: &mut Writer) {
    out.varint(slots.len() as u64);
    let mut before = 0;
    for (&at, slot) in slots {
        out.varint(at - before);
        before = at;
        told::save_wait(slot.retry_after, out);
        let held: Vec<_> = Class::all().filter(|class| slot.count(*class) > 0).collect();
        out.varint(held.len() as u64);
        held.iter().for_each(|class| Stretch::new(*class, slot.count(*class)).save(out));
    }
}

fn load_map(from: &mut Reader<'_>, bits: u8) -> Result<BTreeMap<u64, Slot>, LoadError> {
    let (mut slots, mut at) = (BTreeMap::new(), 0_u64);
    for nth in 0..from.varint_count(3)? {
        let step = from.varint()?;
        at = at.saturating_add(step);
        if step == 0 && nth > 0 || at >= u64::MAX >> bits {
            return Err(LoadError::new("slots out of order"));
        }
        let mut slot = Slot { retry_after: told::load_wait(from)?, ..Slot::default() };
        for _ in 0..from.varint_count(1)? {
            let calls = Stretch::load(from)?;
            slot.counts[usize::from(calls.class.index())] = calls.count;
        }
        slots.insert(at, slot);
    }
    Ok(slots)
}

/// The same in slots that are longer by two to the power of `by`.
fn joined(slots: BTreeMap<u64, Slot>, by: u8) -> BTreeMap<u64, Slot> {
    let mut longer: BTreeMap<u64, Slot> = BTreeMap::new();
    for (at, slot) in slots {
        longer.entry(at >> by).or_default().join(&slot);
    }
    longer
}

impl Slot {
    fn add(&mut self, calls: Stretch, retry_after: Option<Duration>) {
        let count = &mut self.counts[usize::from(calls.class.index())];
        *count = count.saturating_add(calls.count);
        self.retry_after = self.retry_after.max(retry_after);
    }

    fn join(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
        self.retry_after = self.retry_after.max(other.retry_after);
    }

    fn count(&self, class: Class) -> u64 {
        self.counts[usize::from(class.index())].into()
    }

    fn counted(&self, leaf: &Leaf) -> Counted {
        let sum =
            |f: &dyn Fn(Class) -> bool| Class::all().filter(|class| f(*class)).map(|class| self.count(class)).sum();
        let (calls, bad): (u64, u64) = (sum(&|_| true), sum(&|class| leaf.measure.is_bad(class)));
        Counted { calls, bad, has_bad: calls > self.count(Class::GOOD) }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    calls: u64,
    bad: u64,
    /// Some were bad for some threshold.
    has_bad: bool,
}

impl Counted {
    const fn plus(self, other: Self) -> Self {
        Self { calls: self.calls.saturating_add(other.calls), bad: self.bad.saturating_add(other.bad), ..self }
    }

    const fn minus(self, other: Self) -> Self {
        Self { calls: self.calls.saturating_sub(other.calls), bad: self.bad.saturating_sub(other.bad), ..self }
    }
}
