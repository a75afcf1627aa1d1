//! Calls on their way from an instance into the fleet's evidence.

use std::time::Duration;

use super::rule::Class;
use crate::circuit::{LoadError, Reader, Writer};
use crate::time::{Timestamp, nanos};

/// Calls of one class that ended about the same time, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(super) class: Class,
    pub(crate) count: u32,
}

/// A stretch, with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToldCalls {
    pub(crate) at: Timestamp,
    pub(crate) calls: Stretch,
    /// When the dependency asked to be called again, if one of them said so.
    pub(super) retry_after: Option<Duration>,
}

/// No evidence is about more calls of one class and moment: what counts further has not counted.
const MAX_COUNT: u64 = 1 << 20;

impl Stretch {
    pub(super) fn new(class: Class, count: u64) -> Self {
        Self { class, count: u32::try_from(count.min(MAX_COUNT)).unwrap_or(u32::MAX) }
    }

    pub(super) fn add(&mut self, count: u32) {
        *self = Self::new(self.class, u64::from(self.count) + u64::from(count));
    }

    pub(super) fn save(self, out: &mut Writer) {
        out.varint(u64::from(self.count) << 3 | u64::from(self.class.index()));
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let n = from.varint()?;
        let class = Class::from_index((n & 7) as u8).unwrap_or(Class::GOOD);
        Ok(Self::new(class, n >> 3))
    }
}

/// Adds calls to the end of stretches.
pub(super) fn push(stretches: &mut Vec<Stretch>, calls: Stretch) {
    match stretches.last_mut() {
        _ if calls.count == 0 => {}
        Some(last) if last.class == calls.class => last.add(calls.count),
        _ => stretches.push(calls),
    }
}

/// A wait as bytes: in milliseconds, which is finer than anything that asks for one.
pub(super) fn save_wait(wait: Option<Duration>, out: &mut Writer) {
    out.varint(wait.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX - 1).saturating_add(1)));
}

pub(super) fn load_wait(from: &mut Reader<'_>) -> Result<Option<Duration>, LoadError> {
    Ok(from.varint()?.checked_sub(1).map(Duration::from_millis))
}

/// A list with its times, which ascend.
pub(super) fn save_list(list: &[ToldCalls], out: &mut Writer) {
    out.varint(list.len() as u64);
    let mut before = Timestamp::ZERO;
    for told in list {
        out.varint(nanos(told.at.since(before)));
        before = before.max(told.at);
        told.calls.save(out);
        save_wait(told.retry_after, out);
    }
}

pub(super) fn load_list(from: &mut Reader<'_>) -> Result<Vec<ToldCalls>, LoadError> {
    let count = from.varint_count(3)?;
    let mut at = Timestamp::ZERO;
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        at = at + Duration::from_nanos(from.varint()?);
        list.push(ToldCalls { at, calls: Stretch::load(from)?, retry_after: load_wait(from)? });
    }
    Ok(list)
}
