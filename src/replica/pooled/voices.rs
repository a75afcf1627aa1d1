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

#[derive(Clone, Debug, Default, PartialEq)]
struct Others {
    number: u32,
    /// When one of them last told.
    newest: Timestamp,
    /// What they have promised, the oldest first: promises of about the same time are one.
    promised: Vec<Promised>,
}

/// Good calls a second that an instance has promised, or several have at about the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Promised {
    /// Since when: of several, the newest counts. That is less than was promised: there is rather a question too many.
    pub(super) since: Timestamp,
    pub(super) rate: f64,
}

/// Voices that are kept by name, at most.
const NAMED: usize = 64;
/// An instance that has told nothing for so long is taken to be idle.
pub(crate) const IDLE_AFTER: Duration = Duration::from_secs(60);
/// How long a promise stands.
pub(super) const PROMISE_LASTS: Duration = Duration::from_secs(10);
/// Promises of one such stretch of time are one: a little more than a second.
const STRETCH_BITS: u8 = 30;
/// So many of them reach as far back as promises stand, and a little ahead.
const MOST_STRETCHES: usize = 12;

impl Voices {
    /// An instance tells; `before`: it has told before, and what it promised then.
    pub(super) fn hear(&mut self, voice: Voice, before: Option<Promised>, now: Timestamp) {
        match self.named.iter_mut().find(|known| known.writer == voice.writer) {
            Some(known) => *known = Voice { up_to: known.up_to.max(voice.up_to), ..voice },
            None => {
                if let Some(before) = before {
                    self.others.leave(before);
                }
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

    /// Good calls a second of those that have told, or promised, within ten seconds.
    pub(super) fn per_second(&self, now: Timestamp) -> f64 {
        let stands = |since: Timestamp| now.since(since) < PROMISE_LASTS;
        let named = self.named.iter().filter(|voice| stands(voice.up_to)).map(|voice| voice.rate);
        let others = self.others.promised.iter().filter(|promised| stands(promised.since)).map(|others| others.rate);
        named.chain(others).sum()
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
        self.others.promised.clear();
    }

    /// Cuts times that are further ahead than any clock can be.
    pub(super) fn cut_to(&mut self, latest: Timestamp) {
        self.named.iter_mut().for_each(|voice| voice.up_to = voice.up_to.min(latest));
        self.others.cut_to(latest);
    }

    /// Half of what is promised and should have come by now.
    pub(super) fn promised(&self, now: Timestamp) -> Vec<Presumed> {
        let stands = |since: Timestamp| now.since(since) < PROMISE_LASTS;
        let half = |since: Timestamp, promise: f64| Presumed { from: since, to: now, per_second: promise / 2.0 };
        let named = self.named.iter().filter(|voice| voice.promise > 0.0 && stands(voice.up_to));
        let others = self.others.promised.iter().filter(|promised| stands(promised.since));
        let others = others.map(|promised| half(promised.since, promised.rate));
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
        self.others.save(out);
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let mut voices = Self::default();
        for _ in 0..from.varint_count(18)? {
            let (writer, up_to) = (from.u64()?, from.time()?);
            voices.named.push(Voice { writer, up_to, rate: load_rate(from)?, promise: load_rate(from)? });
        }
        voices.others = Others::load(from)?;
        if voices.named.len() > NAMED + 1 || !voices.named.is_sorted_by(|a, b| a.writer < b.writer) {
            return Err(LoadError::new("voices that are too many, or out of order"));
        }
        Ok(voices)
    }
}

impl Others {
    /// One that is not known by name any more.
    fn add(&mut self, gone: Voice, now: Timestamp) {
        if now.since(self.newest) >= PROMISE_LASTS {
            *self = Self::default();
        }
        self.number = self.number.saturating_add(1);
        self.newest = self.newest.max(gone.up_to);
        self.promised.retain(|promised| now.since(promised.since) < PROMISE_LASTS);
        match self.of_the_time(gone.up_to) {
            _ if gone.promise <= 0.0 => {}
            Some(promised) => {
                promised.rate = rounded(promised.rate + gone.promise);
                promised.since = promised.since.max(gone.up_to);
            }
            None => {
                self.promised.push(Promised { since: gone.up_to, rate: gone.promise });
                self.promised.sort_unstable_by_key(|promised| promised.since);
                let over = self.promised.len().saturating_sub(MOST_STRETCHES);
                self.promised.drain(..over);
            }
        }
    }

    /// One of them is known by name again: what it promised before does not stand any more.
    fn leave(&mut self, before: Promised) {
        self.number = self.number.saturating_sub(1);
        if self.number == 0 {
            *self = Self::default();
        }
        if let Some(promised) = self.of_the_time(before.since) {
            promised.rate = rounded((promised.rate - before.rate).max(0.0));
        }
    }

    /// The promises of about that time.
    fn of_the_time(&mut self, at: Timestamp) -> Option<&mut Promised> {
        let stretch = |at: Timestamp| at.as_nanos() >> STRETCH_BITS;
        self.promised.iter_mut().find(|promised| stretch(promised.since) == stretch(at))
    }

    fn cut_to(&mut self, latest: Timestamp) {
        self.newest = self.newest.min(latest);
        self.promised.retain(|promised| promised.since <= latest);
    }

    fn save(&self, out: &mut Writer) {
        out.varint(self.number.into());
        if self.number > 0 {
            out.time(self.newest);
            out.varint(self.promised.len() as u64);
            self.promised.iter().for_each(|promised| promised.save(out));
        }
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let number = u32::try_from(from.varint()?).unwrap_or(u32::MAX);
        if number == 0 {
            return Ok(Self::default());
        }
        let mut others = Self { number, newest: from.time()?, promised: Vec::new() };
        for _ in 0..from.varint_count(9)? {
            others.promised.push(Promised::load(from)?);
        }
        if others.promised.len() > MOST_STRETCHES || !others.promised.is_sorted_by(|a, b| a.since < b.since) {
            return Err(LoadError::new("promises that are too many, or out of order"));
        }
        Ok(others)
    }
}

impl Promised {
    pub(super) fn save(&self, out: &mut Writer) {
        out.time(self.since);
        save_rate(self.rate, out);
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        Ok(Self { since: from.time()?, rate: load_rate(from)? })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    /// Sixty-four that are busier than all that come, and have promised nothing.
    fn full() -> Voices {
        let mut voices = Voices::default();
        for writer in 0..NAMED as u64 {
            voices.hear(Voice { writer, up_to: at(0), rate: 1_000.0, promise: 0.0 }, None, at(0));
        }
        voices
    }

    fn tell(voices: &mut Voices, writer: u64, (time, rate): (u64, f64), before: Option<(u64, f64)>) {
        let before = before.map(|(since, rate)| Promised { since: at(since), rate });
        voices.hear(Voice { writer, up_to: at(time), rate, promise: rate }, before, at(time));
    }

    /// Good calls that are presumed in the second before `to`.
    fn presumed(voices: &Voices, to: u64) -> f64 {
        let of = |one: Presumed| one.per_second * one.to.since(one.from.max(at(to - 1_000))).as_secs_f64();
        voices.promised(at(to)).into_iter().map(of).sum()
    }

    /// There was one sum, which counted from when the newest of the others had told, and forgot the rest.
    #[test]
    fn a_promise_of_one_that_is_not_known_by_name_counts_from_when_it_was_given() {
        let mut voices = full();
        for n in 0..5 {
            tell(&mut voices, 100 + n, (2_000 * n + 500, 10.0), None);
        }
        assert_eq!(voices.number(), 64 + 5);
        // Half of what each has promised; the newest told half a second ago.
        assert!((presumed(&voices, 9_000) - 4.5 * 5.0).abs() < 1e-6, "{}", presumed(&voices, 9_000));
        assert!((presumed(&voices, 10_600) - 4.0 * 5.0).abs() < 1e-6, "a promise stands for ten seconds");
    }

    #[test]
    fn one_that_tells_again_is_no_new_one_and_takes_its_promise_back() {
        let mut voices = full();
        for n in 0..5 {
            tell(&mut voices, 100 + n, (500, 10.0), None);
        }
        for n in 0..5 {
            tell(&mut voices, 100 + n, (3_000, 4.0), Some((500, 10.0)));
        }
        assert_eq!(voices.number(), 64 + 5);
        assert!((presumed(&voices, 5_000) - 5.0 * 2.0).abs() < 1e-6, "{}", presumed(&voices, 5_000));
        tell(&mut voices, 100, (6_000, 0.0), Some((3_000, 4.0)));
        assert!((presumed(&voices, 8_000) - 4.0 * 2.0).abs() < 1e-6, "{}", presumed(&voices, 8_000));
        assert_eq!(voices.number(), 64 + 5);
    }

    #[test]
    fn what_others_promise_is_bounded_and_read_as_it_was_written() {
        let mut voices = full();
        for n in 0..1_000 {
            tell(&mut voices, 100 + n, (100 * n, 10.0), None);
        }
        let mut out = Writer::with_head(&[]);
        voices.save(&mut out);
        let bytes = out.finish();
        assert!(bytes.len() < 64 * 24 + MOST_STRETCHES * 12 + 16, "{} bytes", bytes.len());
        assert_eq!(Voices::load(&mut Reader::without_head(&bytes)).ok(), Some(voices));
    }
}
