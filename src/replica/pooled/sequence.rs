//! Calls in their order, as far as it is known: for thresholds over the newest calls.

use std::collections::BTreeMap;
use std::time::Duration;

use super::question::{Certainty, Question, Reached, whole};
use super::rule::{Class, Leaf};
use super::told::{self, Stretch, ToldCalls};
use crate::circuit::detector::{Over, Threshold};
use crate::circuit::{CountWindow, LoadError, Reader, Tally, Writer};
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

#[derive(Clone, Debug, PartialEq)]
struct Cell {
    /// How many ticks it is about.
    ticks: u64,
    writer: Writers,
    /// In which order the calls ended is not known, or given up: there is a stretch for each class, ascending.
    is_sums: bool,
    stretches: Vec<Stretch>,
    retry_after: Option<Duration>,
}

/// Whose calls a cell has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writers {
    /// Of the instance that goes by this. Sixteen bits of its name are enough: two that are taken for one are thought to
    /// know the order of their calls.
    One(u16),
    Several,
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

impl Writers {
    pub(super) const fn one(writer: u64) -> Self {
        Self::One(Self::part_of(writer))
    }

    /// Sixteen bits of an instance's name.
    #[expect(clippy::cast_possible_truncation, reason = "some bits of it are enough")]
    pub(super) const fn part_of(writer: u64) -> u16 {
        (writer ^ writer >> 16 ^ writer >> 32 ^ writer >> 48) as u16
    }
}

impl Cell {
    fn new(writer: Writers, ticks: u64) -> Self {
        Self { ticks, writer, is_sums: false, stretches: Vec::new(), retry_after: None }
    }

    fn count(&self) -> u64 {
        self.stretches.iter().map(|calls| u64::from(calls.count)).sum()
    }

    fn add(&mut self, writer: Writers, calls: Stretch) {
        let is_in_order = !self.is_sums && self.writer == writer && writer != Writers::Several;
        if is_in_order || self.stretches.is_empty() && !self.is_sums {
            self.writer = writer;
            self.is_sums = writer == Writers::Several;
            return told::push(&mut self.stretches, calls);
        }
        if !self.is_sums && self.ticks > 1 {
            // Its order is settled. What comes late is taken to have been in the middle.
            let middle = self.stretches.len() / 2;
            match self.stretches.get_mut(middle) {
                Some(at) if at.class == calls.class => at.add(calls.count),
                _ => self.stretches.insert(middle, calls),
            }
            self.writer = Writers::Several;
            return;
        }
        self.forget_order();
        self.sum(calls);
    }

    /// Keeps only how many calls there were of each class.
    fn forget_order(&mut self) {
        self.writer = Writers::Several;
        if !std::mem::replace(&mut self.is_sums, true) {
            let ordered = std::mem::take(&mut self.stretches);
            ordered.into_iter().for_each(|calls| self.sum(calls));
        }
    }

    /// Adds to the sums of calls without order.
    fn sum(&mut self, calls: Stretch) {
        match self.stretches.binary_search_by_key(&calls.class, |known| known.class) {
            Ok(at) => self.stretches[at].add(calls.count),
            Err(at) => self.stretches.insert(at, calls),
        }
    }

    /// The calls in the order in which they are judged, with `more` good ones among them. Where they are more than `most`,
    /// fewer of the same shares; where their order is not known, `enough` show as much as more would.
    fn in_order(&self, more: u64, most: u64, enough: u64) -> Vec<Stretch> {
        let is_shown_whole = !self.is_sums && more == 0 && self.count() <= most;
        if is_shown_whole { self.stretches.clone() } else { spread(&self.stretches, more, most.min(enough)) }
    }

    /// Takes in the next cell, whose calls are all later. Calls without order get that in which they are judged, of `most`
    /// at the most.
    fn append(&mut self, next: &Self, ticks: u64, most: u64) {
        let (mine, its) = (self.in_order(0, most, most), next.in_order(0, most, most));
        if self.writer != next.writer {
            self.writer = Writers::Several;
        }
        (self.ticks, self.is_sums) = (ticks, false);
        self.stretches = mine;
        its.into_iter().for_each(|calls| told::push(&mut self.stretches, calls));
        self.retry_after = self.retry_after.max(next.retry_after);
    }

    fn bytes(&self) -> usize {
        let mut out = Writer::with_head(&[]);
        self.save(&mut out);
        out.finish().len()
    }
}

/// So much of a count as `of` is of the whole.
fn part(count: u64, of: u64, whole: u64) -> u64 {
    let part = u128::from(count) * u128::from(of) / u128::from(whole);
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// Bad calls spread evenly among the good ones: no part has a larger share of them than the whole, but for one. Where they
/// are more than `most`, fewer, with the same shares: more would show nothing else.
fn spread(stretches: &[Stretch], more_good: u64, most: u64) -> Vec<Stretch> {
    let mut counts = [0_u64; Class::COUNT];
    for calls in stretches {
        counts[usize::from(calls.class.index())] += u64::from(calls.count);
    }
    counts[0] += more_good;
    let total = counts.iter().sum::<u64>();
    if total > most {
        let scaled = |count: u64| part(count, most, total);
        counts = counts.map(|count| if count == 0 { 0 } else { scaled(count).max(1) });
    }
    let [good, bad @ ..] = counts;
    let all_bad = bad.iter().sum::<u64>();
    let mut order = Vec::new();
    let (mut shown_good, mut shown) = (0, [0_u64; Class::COUNT - 1]);
    for nth in 1..=all_bad {
        // To the nearest.
        let before = part(2 * nth * good + all_bad + 1, 1, 2 * (all_bad + 1));
        told::push(&mut order, Stretch::new(Class::GOOD, before - shown_good));
        shown_good = before;
        // The class that is furthest behind its share.
        let behind =
            |class: usize| i128::from(bad[class]) * i128::from(nth) - i128::from(shown[class]) * i128::from(all_bad);
        let next = (0..bad.len()).filter(|class| shown[*class] < bad[*class]).max_by_key(|class| behind(*class));
        if let Some(class) = next {
            shown[class] += 1;
            let class = Class::all().nth(class + 1).unwrap_or(Class::GOOD);
            told::push(&mut order, Stretch::new(class, 1));
        }
    }
    told::push(&mut order, Stretch::new(Class::GOOD, good - shown_good));
    order
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

impl Cell {
    fn save(&self, out: &mut Writer) {
        out.varint(self.ticks);
        match self.writer {
            Writers::Several => out.u8(if self.is_sums { 0 } else { 2 }),
            Writers::One(writer) => {
                out.u8(1);
                out.u8(writer.to_le_bytes()[0]);
                out.u8(writer.to_le_bytes()[1]);
            }
        }
        told::save_wait(self.retry_after, out);
        save_stretches(&self.stretches, out);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let ticks = from.varint()?;
        let (writer, is_sums) = match from.u8()? {
            0 => (Writers::Several, true),
            1 => (Writers::One(u16::from_le_bytes([from.u8()?, from.u8()?])), false),
            2 => (Writers::Several, false),
            other => return Err(LoadError::new(format!("a tick of kind {other}"))),
        };
        let cell =
            Self { ticks, writer, is_sums, retry_after: told::load_wait(from)?, stretches: load_stretches(from)? };
        if ticks == 0 || is_sums && !cell.stretches.is_sorted_by(|a, b| a.class < b.class) {
            return Err(LoadError::new("a tick without length, or sums of it in some order"));
        }
        Ok(cell)
    }
}

/// As numbers and classes, or as one to three bits a call, whichever is shorter.
fn save_stretches(stretches: &[Stretch], out: &mut Writer) {
    let classes = stretches.iter().map(|calls| calls.class.index()).max().unwrap_or(0);
    let width = match classes {
        0 | 1 => 1_u8,
        2 | 3 => 2,
        _ => 3,
    };
    let calls = stretches.iter().map(|calls| u64::from(calls.count)).sum::<u64>();
    let as_bits = calls.saturating_mul(width.into()).div_ceil(8);
    if as_bits >= stretches.len() as u64 {
        out.varint((stretches.len() as u64) << 1);
        return stretches.iter().for_each(|calls| calls.save(out));
    }
    out.varint(calls << 1 | 1);
    out.u8(width);
    let (mut byte, mut used) = (0_u32, 0);
    for calls in stretches {
        for _ in 0..calls.count {
            byte |= u32::from(calls.class.index()) << used;
            used += u32::from(width);
            if used >= 8 {
                out.u8((byte & 0xff) as u8);
                (byte, used) = (byte >> 8, used - 8);
            }
        }
    }
    if used > 0 {
        out.u8((byte & 0xff) as u8);
    }
}

fn load_stretches(from: &mut Reader<'_>) -> Result<Vec<Stretch>, LoadError> {
    let head = from.varint()?;
    let mut stretches = Vec::new();
    if head & 1 == 0 {
        for _ in 0..from.fits(head >> 1, 1)? {
            told::push(&mut stretches, Stretch::load(from)?);
        }
        return Ok(stretches);
    }
    let width = u32::from(from.u8()?);
    if !(1..=3).contains(&width) {
        return Err(LoadError::new(format!("calls of {width} bits")));
    }
    let bits = (head >> 1).saturating_mul(width.into());
    from.fits(bits.div_ceil(8), 1)?;
    let (mut byte, mut left) = (0_u32, 0);
    for _ in 0..head >> 1 {
        if left < width {
            byte |= u32::from(from.u8()?) << left;
            left += 8;
        }
        let class = Class::all().nth((byte & ((1 << width) - 1)) as usize).unwrap_or(Class::GOOD);
        (byte, left) = (byte >> width, left - width);
        told::push(&mut stretches, Stretch::new(class, 1));
    }
    Ok(stretches)
}

/// A threshold's view of the newest calls.
struct Window<'a> {
    leaf: &'a Leaf,
    threshold: Threshold,
    calls: CountWindow,
    /// Bad calls in a row.
    row: u64,
    /// The newest calls whose order is known, because one instance had them or the clocks tell.
    ordered: u64,
    writer: Writers,
    has_margin: bool,
}

impl<'a> Window<'a> {
    fn new(leaf: &'a Leaf, question: &Question<'_>) -> Self {
        let mut threshold = leaf.threshold;
        if question.is_possible() {
            // Good calls that are not told yet may complete it.
            threshold.min_calls = 1;
        }
        let size = match threshold.over {
            Over::Calls(calls) => calls,
            Over::Row | Over::Time(_) => 0,
        };
        Self {
            leaf,
            threshold,
            calls: CountWindow::new(size),
            row: 0,
            ordered: 0,
            writer: Writers::Several,
            has_margin: question.has_margin(),
        }
    }

    /// More calls than this, in one tick, show nothing else than as many of the same shares.
    fn enough(&self) -> u64 {
        let row = if self.threshold.over == Over::Row { self.leaf.row() } else { 0 };
        4 * u64::from(self.calls.size()).max(u64::from(self.threshold.min_calls)).max(row).max(64)
    }

    /// The calls that come next are those of another tick.
    fn meet(&mut self, writer: Writers, is_next_tick: bool) {
        let is_other = writer != self.writer && is_next_tick;
        if is_other || writer == Writers::Several {
            self.ordered = 0;
        }
        self.writer = writer;
    }

    fn good(&mut self, count: u64) {
        if count > 0 {
            self.calls.push_good(count);
            self.row = 0;
        }
    }

    /// Takes in calls; returns the tally with which they reach the threshold, if that is asked and they do.
    fn show(&mut self, calls: Stretch, is_judged: bool) -> Option<Tally> {
        let count = u64::from(calls.count);
        if self.writer != Writers::Several {
            self.ordered = self.ordered.saturating_add(count);
        }
        let is_bad = self.leaf.measure.is_bad(calls.class);
        if !calls.class.is_bad() {
            self.good(count);
            return None;
        }
        // The first of a row do not reach it.
        let first = if is_bad && self.threshold.over == Over::Row {
            self.leaf.row().saturating_sub(self.row + 1).min(count)
        } else {
            0
        };
        self.row = self.row.saturating_add(first);
        // When all that the window holds are of the same kind, one more changes nothing.
        let enough = first + self.calls.size().max(64) as u64;
        for nth in first..count.min(enough) {
            self.calls.push(is_bad);
            self.row = if is_bad { self.row + 1 } else { 0 };
            if is_judged && let Some(tally) = self.verdict(count - 1 - nth) {
                self.skip(count - 1 - nth, is_bad);
                return Some(tally);
            }
        }
        self.skip(count.saturating_sub(enough), is_bad);
        None
    }

    fn skip(&mut self, count: u64, is_bad: bool) {
        if is_bad {
            (0..count.min(self.calls.size().into())).for_each(|_| self.calls.push(true));
            self.row = self.row.saturating_add(count);
        } else {
            self.good(count);
        }
    }

    /// What it holds: bad calls, and all.
    fn counts(&self) -> (u64, u64) {
        match self.threshold.over {
            Over::Calls(_) => (self.calls.bad().into(), self.calls.len().into()),
            Over::Row | Over::Time(_) => (self.row, self.row),
        }
    }

    /// The tally, where it reaches the threshold although the order of some calls is not known. `to_come`: of the calls
    /// whose order is known, so many are still to be shown.
    fn verdict(&self, to_come: u64) -> Option<Tally> {
        let ordered = self.ordered.saturating_sub(to_come);
        let (bad, calls) = self.counts();
        let is_certain = !self.has_margin || ordered >= calls;
        let counted = match self.threshold.over {
            // In another order, the last good call is one later.
            Over::Row if is_certain => bad,
            Over::Row => bad.saturating_sub(1),
            _ if is_certain || bad == calls => bad,
            _ => bad.saturating_sub(1),
        };
        self.threshold.holds(counted, calls).then(|| self.threshold.tally(bad, calls))
    }
}
