//! Calls in their order, as far as it is known: for thresholds over the newest calls.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cell::{Cell, Writers};
use super::question::{Certainty, Question, Reached, whole};
use super::rule::{Class, Leaf};
use super::told::ToldCalls;
use super::window::Window;
use crate::circuit::{LoadError, Reader, Writer};
use crate::time::Timestamp;

/// Calls by the ticks of the store's clock in which they ended.
///
/// A tick of one instance keeps the order of its calls. One of several has only sums, so that it does not matter in which
/// order, and in how many batches, they were told; it is judged as if its bad calls were spread evenly among the others.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sequence {
    /// A tick is two to the power of this in nanoseconds.
    bits: u8,
    /// By the number of the first tick.
    cells: BTreeMap<u64, Cell>,
}

/// A tick is 34 ms: more than twice what clocks of one time service differ by, and a fraction of what a census takes.
pub(crate) const TICK_BITS: u8 = 25;
/// A tick of four seconds: what clocks differ by beyond that is an error of theirs.
const MAX_TICK_BITS: u8 = 32;
/// What the number of a cell's first tick takes, at most, where it follows another.
const TICK_BYTES: usize = 4;
/// Cells that are kept, at most.
const MAX_CELLS: usize = 512;
/// Bytes that are kept, at most, of a sequence: with everything else of a rule less than 8 KiB.
const MAX_BYTES: usize = 5 * 1_024;
/// Calls that a threshold is shown one by one, at most, whatever a record claims. A window over ten thousand calls, and two
/// seconds of the busiest fleet, are a tenth of it.
const MAX_SHOWN: u64 = 1 << 20;

impl Default for Sequence {
    fn default() -> Self {
        Self { bits: TICK_BITS, cells: BTreeMap::new() }
    }
}

/// How long a tick is that clocks which differ by so much know apart.
pub(super) const fn tick_bits_for(error: Duration) -> u8 {
    let nanos = crate::time::nanos(error).saturating_mul(2);
    let mut bits = TICK_BITS;
    while bits < MAX_TICK_BITS && 1 << bits < nanos {
        bits += 1;
    }
    bits
}

pub(super) fn load_tick_bits(from: &mut Reader<'_>) -> Result<u8, LoadError> {
    match from.u8()? {
        bits @ TICK_BITS..=MAX_TICK_BITS => Ok(bits),
        bits => Err(LoadError::new(format!("ticks of 2^{bits} ns"))),
    }
}

impl Sequence {
    pub(super) const fn bits(&self) -> u8 {
        self.bits
    }

    fn tick(&self, at: Timestamp) -> u64 {
        at.as_nanos() >> self.bits
    }

    fn start(&self, tick: u64) -> Timestamp {
        Timestamp::from_nanos(tick << self.bits)
    }

    /// The last moment of the tick in which a moment lies.
    pub(super) fn end_of_tick(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_nanos(at.as_nanos() | ((1 << self.bits) - 1))
    }

    pub(super) fn add(&mut self, writer: Writers, told: &ToldCalls) {
        let tick = self.tick(told.at);
        let known = self.cells.range_mut(..=tick).next_back();
        let cell = match known {
            Some((first, cell)) if tick - first < cell.ticks => cell,
            _ => self.cells.entry(tick).or_insert_with(|| Cell::new(writer, 1)),
        };
        cell.add(writer, told.calls);
        cell.retry_after = cell.retry_after.max(told.retry_after);
    }

    /// Makes ticks as long as the clocks need. They never get shorter, and short ones nest in long ones, so it does not
    /// matter when that is done.
    pub(super) fn coarsen(&mut self, bits: u8) {
        if bits <= self.bits {
            return;
        }
        let by = bits - self.bits;
        let most = self.most_of_one();
        self.bits = bits;
        for (tick, cell) in std::mem::take(&mut self.cells) {
            let first = tick >> by;
            let ticks = (((tick + cell.ticks - 1) >> by) - first + 1).max(1);
            let known = self.cells.range_mut(..=first).next_back();
            match known {
                Some((begin, before)) if first - begin < before.ticks => {
                    let is_ordered = before.writer == cell.writer && cell.writer != Writers::Several;
                    if is_ordered || before.ticks > 1 || ticks > 1 {
                        let ticks = before.ticks.max(first + ticks - begin);
                        before.append(&cell, ticks, most);
                    } else {
                        before.retry_after = before.retry_after.max(cell.retry_after);
                        cell.stretches.iter().for_each(|calls| before.add(cell.writer, *calls));
                    }
                }
                _ => {
                    self.cells.insert(first, Cell { ticks, ..cell });
                }
            }
        }
    }

    /// Forgets what no threshold over so many calls can see from `from` on, and makes it small enough.
    pub(super) fn trim(&mut self, calls: u64, from: Timestamp) {
        let first = self.tick(from);
        let (mut older, mut keep_from) = (0_u64, first);
        for (tick, cell) in self.cells.range(..first).rev() {
            if older > calls {
                break;
            }
            older = older.saturating_add(cell.count());
            keep_from = *tick;
        }
        self.cells = self.cells.split_off(&keep_from);
        self.fit();
    }

    pub(super) fn forget_after(&mut self, latest: Timestamp) {
        let last = self.tick(latest);
        self.cells.retain(|tick, _| *tick <= last);
    }

    /// Gives up, where it must, first the ticks of the oldest calls, then their order, then the calls.
    fn fit(&mut self) {
        while self.cells.len() > MAX_CELLS {
            self.join_oldest();
        }
        let mut bytes: usize = self.cells.values().map(|cell| cell.bytes() + TICK_BYTES).sum();
        for cell in self.cells.values_mut().filter(|cell| cell.stretches.len() > Class::COUNT) {
            if bytes <= MAX_BYTES {
                return;
            }
            let before = cell.bytes();
            cell.forget_order();
            bytes = (bytes + cell.bytes()).saturating_sub(before);
        }
        while bytes > MAX_BYTES
            && let Some((_, cell)) = self.cells.pop_first()
        {
            bytes = bytes.saturating_sub(cell.bytes() + TICK_BYTES);
        }
    }

    /// So many calls of one cell are shown, at the most.
    fn most_of_one(&self) -> u64 {
        MAX_SHOWN / (self.cells.len() as u64).max(1)
    }

    /// Makes one cell of each two of the older half.
    fn join_oldest(&mut self) {
        let most = self.most_of_one();
        let cells: Vec<_> = std::mem::take(&mut self.cells).into_iter().collect();
        let half = cells.len() / 2;
        let mut cells = cells.into_iter();
        let mut older = cells.by_ref().take(half);
        while let Some((first, mut cell)) = older.next() {
            if let Some((second, next)) = older.next() {
                let ticks = second + next.ticks - first;
                cell.append(&next, ticks, most);
            }
            self.cells.insert(first, cell);
        }
        self.cells.extend(cells);
    }

    /// Calls that were bad for any reason.
    pub(super) fn failures(&self) -> u64 {
        let failed = |cell: &Cell| -> u64 {
            cell.stretches.iter().filter(|calls| calls.class.failed()).map(|calls| u64::from(calls.count)).sum()
        };
        self.cells.values().map(failed).sum()
    }

    /// When a threshold was reached.
    pub(super) fn reached(&self, leaf: &Leaf, question: &Question<'_>) -> Vec<Reached> {
        let mut window = Window::new(leaf, question);
        let (first, last) = (self.tick(question.from), self.tick(question.to));
        let mut reached = Vec::new();
        let (mut before, mut part) = (None::<u64>, 0.0);
        let most = self.most_of_one();
        for (&tick, cell) in self.cells.range(..=last) {
            let end = tick + cell.ticks;
            if let Some(before) = before {
                part += question.presumed_between(self.start(before), self.start(tick));
                window.good(whole(part));
                part = part.fract();
            }
            part += question.presumed_between(self.start(tick), self.start(end).min(question.to));
            let more = whole(part);
            part = part.fract();
            let writer = if more > 0 { Writers::Several } else { cell.writer };
            window.meet(writer, before == Some(tick));
            let is_judged = end > first;
            let mut met = None;
            for calls in cell.in_order(more, most, window.enough()) {
                let seen = window.show(calls, is_judged && met.is_none());
                met = met.or(seen);
            }
            reached.extend(met.map(|tally| Reached {
                from: self.start(tick),
                to: self.end_of_tick(self.start(end - 1)),
                tally,
                retry_after: cell.retry_after,
            }));
            before = Some(end);
        }
        reached
    }

    /// What a threshold's window holds: bad calls, and all.
    pub(super) fn count(&self, leaf: &Leaf) -> (u64, u64) {
        let question = Question { from: Timestamp::MAX, to: Timestamp::MAX, certainty: Certainty::Sure, presumed: &[] };
        let mut window = Window::new(leaf, &question);
        let most = self.most_of_one();
        for cell in self.cells.values() {
            cell.in_order(0, most, window.enough()).into_iter().for_each(|calls| {
                window.show(calls, false);
            });
        }
        window.counts()
    }

    pub(super) fn save(&self, out: &mut Writer) {
        out.u8(self.bits);
        out.varint(self.cells.len() as u64);
        let mut before = 0;
        for (&tick, cell) in &self.cells {
            out.varint(tick - before);
            before = tick;
            cell.save(out);
        }
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let bits = load_tick_bits(from)?;
        let (mut sequence, mut tick, mut free) = (Self { bits, cells: BTreeMap::new() }, 0_u64, 0_u64);
        for _ in 0..from.varint_count(5)? {
            tick = tick.saturating_add(from.varint()?);
            let cell = Cell::load(from)?;
            let is_after = tick >= free || sequence.cells.is_empty();
            if !is_after || tick.saturating_add(cell.ticks) > u64::MAX >> bits {
                return Err(LoadError::new("ticks out of order"));
            }
            free = tick + cell.ticks;
            sequence.cells.insert(tick, cell);
        }
        if sequence.cells.len() > 2 * MAX_CELLS {
            return Err(LoadError::new(format!("{} ticks", sequence.cells.len())));
        }
        Ok(sequence)
    }
}
