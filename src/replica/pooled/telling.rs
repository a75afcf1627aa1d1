//! What an instance tells of its calls.

use std::time::Duration;

use super::rule::Rule;
use super::told::{self, ToldCalls};
use super::voices::{Promised, load_rate, save_rate};
use crate::circuit::detector::Counted;
use crate::circuit::{LoadError, Reader, Tally, Writer};
use crate::time::{Timestamp, nanos};

/// What an instance tells of its calls of the closed state, by the store's clock.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Telling {
    pub(super) writer: u64,
    /// The rule, as [`fingerprint`] names it.
    pub(super) rule: u64,
    /// What it decides by; `None` where only the detector itself can judge.
    pub(super) shape: Option<Rule>,
    /// Which of the tallies that opened nothing, because it was a dry run, the calls come after.
    pub(super) dry_runs: u32,
    pub(crate) calls: Vec<ToldCalls>,
    /// How long opaque calls took, where the detector asks: as many as there are calls.
    pub(super) took: Vec<Option<Duration>>,
    /// All calls that ended before this have been told.
    pub(super) up_to: Timestamp,
    /// Good calls a second, less the failures.
    pub(super) rate: f64,
    pub(super) promise: f64,
    /// It has told before: up to when, and what it promised.
    pub(super) before: Option<Promised>,
    /// The suspicion that it answers, after the cut.
    pub(super) answers: Option<u64>,
    /// Its own detector has tripped.
    pub(super) trip: Option<Trip>,
    /// Its idea of the store's time is off by up to this.
    pub(super) clock_error: Duration,
    /// It has heard all its own notices.
    pub(super) has_push: bool,
}

/// What the detector of an instance has tripped on, which saw the calls of that instance only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trip {
    pub(crate) at: Timestamp,
    pub(crate) tally: Tally,
    pub(crate) retry_after: Option<Duration>,
}

impl Telling {
    pub(crate) const fn rule(&self) -> u64 {
        self.rule
    }

    /// Who tells, and whether it hears its own notices.
    pub(crate) const fn teller(&self) -> (u64, bool) {
        (self.writer, self.has_push)
    }

    /// The oldest bad call in it: that has waited for this telling.
    pub(super) fn oldest_bad(&self) -> Option<Timestamp> {
        self.calls.iter().find(|told| told.calls.class.is_bad()).map(|told| told.at)
    }

    /// How many calls it tells of.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.iter().map(|told| u64::from(told.calls.count)).sum()
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.u64(self.writer);
        out.u64(self.rule);
        out.option(self.shape.as_ref(), Rule::save);
        out.varint(self.dry_runs.into());
        told::save_list(&self.calls, out);
        out.varint(self.took.len() as u64);
        self.took.iter().for_each(|took| out.duration(*took));
        out.time(self.up_to);
        save_rate(self.rate, out);
        save_rate(self.promise, out);
        out.option(self.before.as_ref(), Promised::save);
        out.varint(self.answers.map_or(0, |number| number.saturating_add(1)));
        out.option(self.trip.as_ref(), Trip::save);
        out.varint(nanos(self.clock_error));
        out.flag(self.has_push);
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        Ok(Self {
            writer: from.u64()?,
            rule: from.u64()?,
            shape: from.option(Rule::load)?,
            dry_runs: u32::try_from(from.varint()?).unwrap_or(u32::MAX),
            calls: told::load_list(from)?,
            took: (0..from.varint_count(8)?).map(|_| from.duration()).collect::<Result<_, _>>()?,
            up_to: from.time()?,
            rate: load_rate(from)?,
            promise: load_rate(from)?,
            before: from.option(Promised::load)?,
            answers: from.varint()?.checked_sub(1),
            trip: from.option(Trip::load)?,
            clock_error: Duration::from_nanos(from.varint()?),
            has_push: from.flag()?,
        })
    }
}

impl Trip {
    pub(super) fn save(&self, out: &mut Writer) {
        out.time(self.at);
        save_tally(self.tally, out);
        told::save_wait(self.retry_after, out);
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        Ok(Self { at: from.time()?, tally: load_tally(from)?, retry_after: told::load_wait(from)? })
    }
}

pub(super) fn save_tally(tally: Tally, out: &mut Writer) {
    out.flag(tally.counted() == Counted::SlowCalls);
    out.varint(tally.count());
    out.varint(tally.calls().map_or(0, |calls| calls.saturating_add(1)));
}

pub(super) fn load_tally(from: &mut Reader<'_>) -> Result<Tally, LoadError> {
    let (is_slow, count) = (from.flag()?, from.varint()?);
    let tally = if is_slow { Tally::slow_calls(count) } else { Tally::failures(count) };
    Ok(from.varint()?.checked_sub(1).map_or(tally, |calls| tally.of(calls)))
}

/// Tells the evidence of one rule from that of another: FNV-1a, 64 bits. Rules are few, and a collision only mixes the
/// evidence of two of them.
pub(crate) fn fingerprint(rule: &str) -> u64 {
    rule.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
