//! A suspicion: the rule of some evidence may be met, and all are asked once.

use std::time::Duration;

use super::logs::Logs;
use super::telling::Telling;
use crate::circuit::{LoadError, Reader, Writer};
use crate::time::{Timestamp, nanos};

/// The rule may be met; all are asked what they have seen up to a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Suspicion {
    pub(crate) number: u64,
    /// The instance that ends it, unless another one must.
    pub(crate) raised_by: u64,
    /// The verdict is about the calls that ended before this.
    pub(crate) cut: Timestamp,
    /// No verdict is reached before.
    pub(crate) until: Timestamp,
    /// It is reached by then, whatever is missing.
    pub(crate) last: Timestamp,
    /// Another instance has told something since.
    pub(super) answered: bool,
    /// It waits to the last for instances that may not have heard of it.
    pub(super) waits: bool,
    /// Who raised it has heard its own notice of it.
    pub(super) is_heard: bool,
}

/// How long after the cut answers may take.
const ANSWER_TIME: Duration = Duration::from_millis(120);
/// The same where no other instance was ever heard: the record cannot miss any, so those that are slow, as on a machine that
/// has other things to do, have longer.
const FIRST_ANSWER_TIME: Duration = Duration::from_millis(350);
const ANSWER_TIME_WITHOUT_PUSH: Duration = Duration::from_millis(160);
/// No verdict is reached so soon after an answer: where many instances answer, one after another is taken in.
const WHILE_ANSWERS_COME: Duration = Duration::from_millis(60);
/// How far ahead the cut is: so long takes a notice, and without notices a poll.
const CUT_AFTER: Duration = Duration::from_millis(60);
const CUT_AFTER_WITHOUT_PUSH: Duration = Duration::from_millis(1_100);
/// No suspicion lasts longer, whatever clocks differ by.
pub(crate) const LONGEST_SUSPICION: Duration = Duration::from_secs(10);
/// So long after it was raised, a suspicion ends: instances that hear no notices have polled by then.
pub(super) const LAST_AFTER: Duration = Duration::from_millis(1_300);

impl Suspicion {
    pub(super) fn raise(
        number: u64,
        (by, has_push): (u64, bool),
        knows_others: bool,
        logs: &Logs,
        now: Timestamp,
    ) -> Self {
        let (after, answers) = match (has_push, knows_others) {
            (true, true) => (CUT_AFTER, ANSWER_TIME),
            (true, false) => (CUT_AFTER, FIRST_ANSWER_TIME),
            (false, _) => (CUT_AFTER_WITHOUT_PUSH, ANSWER_TIME_WITHOUT_PUSH),
        };
        let cut = logs.end_of_tick(now + after);
        // An instance answers when the cut has passed by any clock.
        let until = cut + answers + logs.clock_error();
        let last = if has_push { (now + LAST_AFTER).max(until) } else { until + answers };
        Self { number, raised_by: by, cut, until, last, answered: false, waits: false, is_heard: false }
    }

    /// When there may be a verdict.
    pub(crate) const fn due(&self) -> Timestamp {
        if self.waits { self.last } else { self.until }
    }

    pub(super) fn is_answered_by(&self, telling: &Telling) -> bool {
        telling.answers == Some(self.number) && telling.up_to >= self.cut
    }

    /// What an instance tells while it stands.
    pub(super) fn hear(&mut self, telling: &Telling, now: Timestamp) {
        let answers = self.is_answered_by(telling);
        if telling.writer == self.raised_by {
            // What it tells later takes nothing back.
            self.is_heard |= answers && telling.has_push;
        } else {
            self.answered = true;
        }
        if answers {
            self.until = self.until.max(self.last.min(now + WHILE_ANSWERS_COME));
        }
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.varint(self.number);
        out.u64(self.raised_by);
        out.time(self.cut);
        out.varint(nanos(self.until.since(self.cut)));
        out.varint(nanos(self.last.since(self.until)));
        out.flag(self.answered);
        out.flag(self.waits);
        out.flag(self.is_heard);
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let (number, raised_by, cut) = (from.varint()?, from.u64()?, from.time()?);
        let until = cut + Duration::from_nanos(from.varint()?);
        let last = until + Duration::from_nanos(from.varint()?);
        Ok(Self {
            number,
            raised_by,
            cut,
            until,
            last,
            answered: from.flag()?,
            waits: from.flag()?,
            is_heard: from.flag()?,
        })
    }
}
