//! Who has told of its calls, up to when, and what it said of those to come.

use std::time::Duration;

use super::question::Presumed;
use crate::circuit::{LoadError, Reader, Writer};
use crate::time::Timestamp;

/// What an instance said when it last told of its calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Voice {
    pub(super) writer: u64,
    /// It has told of all calls that ended before this.
    pub(super) up_to: Timestamp,
    /// Good calls a second, less the failures, about then.
    pub(super) rate: f64,
    /// So many of them it has promised: should they fail to come, it will tell.
    pub(super) promise: f64,
}

/// The voices of a fleet: the busiest by name, the others in sums.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Voices {
    named: Vec<Voice>,
    others: Others,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Others {
    number: u32,
    promised: f64,
    /// Since when the newest of the promises stands.
    since: Timestamp,
}

/// Voices that are kept by name, at most.
const NAMED: usize = 64;
/// An instance that has told nothing for so long is taken to be idle.
pub(crate) const IDLE_AFTER: Duration = Duration::from_secs(60);
/// How long a promise stands.
pub(super) const PROMISE_LASTS: Duration = Duration::from_secs(10);

impl Voices {
    pub(super) fn hear(&mut self, voice: Voice, now: Timestamp) {
        match self.named.iter_mut().find(|known| known.writer == voice.writer) {
            Some(known) => *known = Voice { up_to: known.up_to.max(voice.up_to), ..voice },
            None => {
                // It was one of the others, as far as is known.
                self.others.leave();
                self.named.push(voice);
            }
        }
        self.named.retain(|known| known.writer == voice.writer || now.since(known.up_to) < IDLE_AFTER);
        if self.named.len() > NAMED {
            let rates = self.named.iter().enumerate().map(|(at, voice)| (at, voice.rate.max(voice.promise)));
            if let Some((least, _)) = rates.min_by(|(_, a), (_, b)| a.total_cmp(b)) {
                let gone = self.named.swap_remove(least);
                self.others.add(gone, now);
            }
        }
        self.named.sort_by_key(|voice| voice.writer);
    }

    /// How many instances have told of all calls up to a moment, and how many that are known have not.
    pub(super) fn heard(&self, cut: Timestamp, now: Timestamp) -> (u32, u32) {
        let told = self.named.iter().filter(|voice| voice.up_to >= cut).count();
        let silent = self.silent(cut, now).count();
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        (number(told), number(silent))
    }

    pub(super) fn number(&self) -> u32 {
        u32::try_from(self.named.len()).unwrap_or(u32::MAX).saturating_add(self.others.number)
    }

    /// Tells whether another instance than this one was ever heard.
    pub(super) fn has_others(&self, writer: u64) -> bool {
        self.others.number > 0 || self.named.iter().any(|voice| voice.writer != writer)
    }

    /// Instances that are known to have calls, and have not told of those up to a moment.
    pub(super) fn silent(&self, cut: Timestamp, now: Timestamp) -> impl Iterator<Item = Presumed> + '_ {
        let is_silent = move |voice: &&Voice| {
            let expected = voice.rate * cut.since(voice.up_to).as_secs_f64();
            voice.up_to < cut && now.since(voice.up_to) < IDLE_AFTER && expected >= 0.5
        };
        let presume = move |voice: &Voice| Presumed { from: voice.up_to, to: cut, per_second: voice.rate };
        self.named.iter().filter(is_silent).map(presume)
    }

    /// Instances that were asked and did not answer are presumed to have no calls.
    pub(super) fn forget_silent(&mut self, cut: Timestamp) {
        for voice in self.named.iter_mut().filter(|voice| voice.up_to < cut) {
            (voice.rate, voice.promise) = (0.0, 0.0);
        }
    }

    /// Whatever was promised belongs to a time that is over.
    pub(super) fn end_promises(&mut self) {
        self.named.iter_mut().for_each(|voice| voice.promise = 0.0);
        self.others.promised = 0.0;
    }

    /// Cuts times that are further ahead than any clock can be.
    pub(super) fn cut_to(&mut self, latest: Timestamp) {
        self.named.iter_mut().for_each(|voice| voice.up_to = voice.up_to.min(latest));
        self.others.since = self.others.since.min(latest);
    }

    /// Half of what is promised and should have come by now.
    pub(super) fn promised(&self, now: Timestamp) -> Vec<Presumed> {
        let stands = |since: Timestamp| now.since(since) < PROMISE_LASTS;
        let half = |since: Timestamp, promise: f64| Presumed { from: since, to: now, per_second: promise / 2.0 };
        let named = self.named.iter().filter(|voice| voice.promise > 0.0 && stands(voice.up_to));
        let others = Some(self.others).filter(|others| others.promised > 0.0 && stands(others.since));
        let others = others.map(|others| half(others.since, others.promised));
        named.map(|voice| half(voice.up_to, voice.promise)).chain(others).collect()
    }

    pub(super) fn save(&self, out: &mut Writer) {
        out.varint(self.named.len() as u64);
        for voice in &self.named {
            out.u64(voice.writer);
            out.time(voice.up_to);
            save_rate(voice.rate, out);
            save_rate(voice.promise, out);
        }
        out.varint(self.others.number.into());
        if self.others.number > 0 {
            save_rate(self.others.promised, out);
            out.time(self.others.since);
        }
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let mut voices = Self::default();
        for _ in 0..from.varint_count(18)? {
            let (writer, up_to) = (from.u64()?, from.time()?);
            voices.named.push(Voice { writer, up_to, rate: load_rate(from)?, promise: load_rate(from)? });
        }
        let number = u32::try_from(from.varint()?).unwrap_or(u32::MAX);
        if number > 0 {
            voices.others = Others { number, promised: load_rate(from)?, since: from.time()? };
        }
        if voices.named.len() > NAMED + 1 || !voices.named.is_sorted_by(|a, b| a.writer < b.writer) {
            return Err(LoadError::new("voices that are too many, or out of order"));
        }
        Ok(voices)
    }
}

impl Others {
    /// One that is not known by name any more.
    fn add(&mut self, gone: Voice, now: Timestamp) {
        if now.since(self.since) >= PROMISE_LASTS {
            *self = Self::default();
        }
        self.number = self.number.saturating_add(1);
        self.promised = rounded(self.promised + gone.promise);
        // What is counted from then on is less than was promised: there is rather a question too many.
        self.since = self.since.max(gone.up_to);
    }

    /// One of them is known by name again, with its part of what they have promised.
    fn leave(&mut self) {
        let left = self.number.saturating_sub(1);
        self.promised = rounded(self.promised * f64::from(left) / f64::from(self.number.max(1)));
        self.number = left;
        if left == 0 {
            *self = Self::default();
        }
    }
}

/// A rate in hundredths of a call a second.
pub(super) fn save_rate(rate: f64, out: &mut Writer) {
    out.varint(hundredths(rate));
}

pub(super) fn load_rate(from: &mut Reader<'_>) -> Result<f64, LoadError> {
    let hundredths = u32::try_from(from.varint()?).unwrap_or(u32::MAX);
    Ok(f64::from(hundredths) / 100.0)
}

/// A rate as it comes back from its bytes.
pub(super) fn rounded(rate: f64) -> f64 {
    f64::from(u32::try_from(hundredths(rate)).unwrap_or(u32::MAX)) / 100.0
}

/// To the nearest, so that a rate stays the same however often it is written and read.
fn hundredths(rate: f64) -> u64 {
    super::question::whole((rate * 100.0).clamp(0.0, 1e9) + 0.5)
}
