//! The calls of a tick, or of some ticks: in their order where it is known, else as sums.

use std::time::Duration;

use super::rule::Class;
use super::told::{self, Stretch};
use crate::circuit::{LoadError, Reader, Writer};

/// Calls of one or more ticks that follow one another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    /// How many ticks it is about.
    pub(super) ticks: u64,
    pub(super) writer: Writers,
    /// In which order the calls ended is not known, or given up: there is a stretch for each class, ascending.
    pub(super) is_sums: bool,
    pub(super) stretches: Vec<Stretch>,
    pub(super) retry_after: Option<Duration>,
}

/// Whose calls a cell has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writers {
    /// Of the instance that goes by this. Sixteen bits of its name are enough: two that are taken for one are thought to
    /// know the order of their calls.
    One(u16),
    Several,
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
    pub(super) fn new(writer: Writers, ticks: u64) -> Self {
        Self { ticks, writer, is_sums: false, stretches: Vec::new(), retry_after: None }
    }

    pub(super) fn count(&self) -> u64 {
        self.stretches.iter().map(|calls| u64::from(calls.count)).sum()
    }

    pub(super) fn add(&mut self, writer: Writers, calls: Stretch) {
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
    pub(super) fn forget_order(&mut self) {
        self.writer = Writers::Several;
        if !std::mem::replace(&mut self.is_sums, true) {
            let ordered = std::mem::take(&mut self.stretches);
            ordered.into_iter().for_each(|calls| self.sum(calls));
        }
    }

    /// Adds to the sums of calls without order.
    pub(super) fn sum(&mut self, calls: Stretch) {
        match self.stretches.binary_search_by_key(&calls.class, |known| known.class) {
            Ok(at) => self.stretches[at].add(calls.count),
            Err(at) => self.stretches.insert(at, calls),
        }
    }

    /// The calls in the order in which they are judged, with `more` good ones among them. Where they are more than `most`,
    /// fewer of the same shares; where their order is not known, `enough` show as much as more would.
    pub(super) fn in_order(&self, more: u64, most: u64, enough: u64) -> Vec<Stretch> {
        let is_shown_whole = !self.is_sums && more == 0 && self.count() <= most;
        if is_shown_whole { self.stretches.clone() } else { spread(&self.stretches, more, most.min(enough)) }
    }

    /// Takes in the next cell, whose calls are all later. Calls without order get that in which they are judged, of `most`
    /// at the most.
    pub(super) fn append(&mut self, next: &Self, ticks: u64, most: u64) {
        let (mine, its) = (self.in_order(0, most, most), next.in_order(0, most, most));
        if self.writer != next.writer {
            self.writer = Writers::Several;
        }
        (self.ticks, self.is_sums) = (ticks, false);
        self.stretches = mine;
        its.into_iter().for_each(|calls| told::push(&mut self.stretches, calls));
        self.retry_after = self.retry_after.max(next.retry_after);
    }

    pub(super) fn bytes(&self) -> usize {
        let mut out = Writer::with_head(&[]);
        self.save(&mut out);
        out.finish().len()
    }

    pub(super) fn save(&self, out: &mut Writer) {
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

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
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
