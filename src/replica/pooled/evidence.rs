//! What a fleet knows of the calls of one rule, and what it makes of that.

use std::time::Duration;

use super::cell::Writers;
use super::logs::{Logs, Met};
use super::opaque::Opaque;
use super::question::{Certainty, Presumed, Question};
use super::rule::Rule;
use super::suspicion::{LAST_AFTER, LONGEST_SUSPICION, Suspicion};
use super::telling::{Telling, Trip};
use super::told::ToldCalls;
use super::verdict::Verdict;
use super::voices::{Voice, Voices, rounded};
use crate::circuit::{Detector, LoadError, Reader, Tally, Writer};
use crate::replica::clocks::before;
use crate::time::{Timestamp, nanos};

/// What instances of one rule have told of their calls, with what was asked of them. All times are the store's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RuleEvidence {
    /// The rule, as [`fingerprint`](super::telling::fingerprint) names it.
    pub(crate) rule: u64,
    /// When an instance of the rule last told something.
    pub(crate) touched: Timestamp,
    pub(super) calls: Calls,
    /// Calls that ended before this are judged.
    pub(super) judged: Timestamp,
    pub(super) seen_by: SeenBy,
    /// What the detector of the only instance that has calls says by itself.
    pub(super) trip: Option<Trip>,
    pub(super) suspicion: Option<Suspicion>,
    /// Suspicions so far, of which each has a number.
    pub(super) suspicions: u64,
    /// Tallies so far that would have opened the circuit, had it not been a dry run.
    pub(super) dry_runs: u32,
    pub(super) voices: Voices,
    /// The longest that a bad call waited to be told, of late.
    pub(super) slowest: Slowest,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Calls {
    /// Any instance can judge them.
    Shaped { rule: Rule, logs: Logs },
    /// Only a detector of the rule can.
    Opaque(Opaque),
}

/// Whose calls there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SeenBy {
    #[default]
    None,
    One(u64),
    Several,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slowest {
    pub(super) took: Duration,
    pub(super) at: Timestamp,
    /// How far back calls were judged until then.
    pub(super) lag_before: Duration,
}

/// What came of a look at evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Judgement {
    /// There is no reason to think that the rule is met.
    Nothing,
    /// All are asked, from now on.
    Suspected,
    /// All are asked already.
    Waits,
    /// They have answered, and it is not met.
    Cleared,
    Met(Verdict),
}

/// Calls are judged at the latest so long after they ended; instances keep what they have not told for longer.
const MIN_LAG: Duration = Duration::from_secs(2);
/// Not longer than they keep it where nothing can be told.
const MAX_LAG: Duration = Duration::from_secs(10);
/// What evidence takes beside the calls that wait for a detector, at most.
const REST_BYTES: usize = 3 * 1_024;
/// A slow telling counts for so long.
const SLOWEST_LASTS: Duration = Duration::from_secs(60);

impl Slowest {
    fn note(&mut self, took: Duration, now: Timestamp) {
        if took >= self.took || now.since(self.at) >= SLOWEST_LASTS {
            *self = Self { took, at: now, lag_before: self.lag(now) };
        }
    }

    /// How far back calls are judged that were not. Calls from before all knew of a slow telling are no longer kept by all:
    /// however slow it was, those are not judged any more.
    fn lag(self, now: Timestamp) -> Duration {
        self.longest_lag(now).min(self.lag_before.max(MIN_LAG) + now.since(self.at))
    }

    /// How far back calls must be kept, now that the telling is known.
    fn longest_lag(self, now: Timestamp) -> Duration {
        let is_recent = now.since(self.at) < SLOWEST_LASTS;
        if is_recent { (self.took * 3).clamp(MIN_LAG, MAX_LAG) } else { MIN_LAG }
    }
}

/// How long instances keep what they have not told, beyond what the rule looks back, where no slow telling is known.
pub(crate) fn kept_at_first(clock_error: Duration) -> Duration {
    kept_for(MIN_LAG, clock_error)
}

fn kept_for(lag: Duration, clock_error: Duration) -> Duration {
    // A suspicion lasts longer where clocks differ: to the end of a tick, and until all have answered.
    Duration::from_millis(500) + lag + LAST_AFTER + 3 * clock_error
}

impl RuleEvidence {
    pub(crate) fn new(telling: &Telling, now: Timestamp) -> Self {
        let calls = match &telling.shape {
            Some(rule) => Calls::Shaped { rule: rule.clone(), logs: Logs::new(rule) },
            None => Calls::Opaque(Opaque::default()),
        };
        Self {
            rule: telling.rule,
            touched: now,
            calls,
            judged: Timestamp::ZERO,
            seen_by: SeenBy::None,
            trip: None,
            suspicion: None,
            suspicions: 0,
            dry_runs: 0,
            voices: Voices::default(),
            slowest: Slowest::default(),
        }
    }

    /// Takes in what an instance tells.
    pub(crate) fn take_in(&mut self, telling: &Telling, now: Timestamp) {
        self.touched = self.touched.max(now);
        if let Some(oldest) = telling.oldest_bad() {
            self.slowest.note(now.since(oldest), now);
        }
        match &mut self.calls {
            Calls::Shaped { rule, logs } => {
                logs.allow_for(rule, telling.clock_error);
                for told in &telling.calls {
                    // No clock is ahead of the store's.
                    let told = ToldCalls { at: told.at.min(now), ..*told };
                    logs.add(rule, Writers::one(telling.writer), &told);
                }
            }
            Calls::Opaque(opaque) => opaque.take_in(telling, now),
        }
        let trip = telling.trip.filter(|_| telling.dry_runs == self.dry_runs);
        if !telling.calls.is_empty() || trip.is_some() {
            self.seen_by = match self.seen_by {
                SeenBy::None => SeenBy::One(telling.writer),
                SeenBy::One(writer) if writer == telling.writer => self.seen_by,
                SeenBy::One(_) | SeenBy::Several => SeenBy::Several,
            };
        }
        self.trip = match self.seen_by {
            SeenBy::One(writer) if writer == telling.writer => self.trip.or(trip),
            SeenBy::None | SeenBy::One(_) => self.trip,
            // No one detector has seen all the calls.
            SeenBy::Several => None,
        };
        let up_to = telling.up_to.min(now);
        let (rate, promise) = (rounded(telling.rate), rounded(telling.promise));
        self.voices.hear(Voice { writer: telling.writer, up_to, rate, promise }, telling.before, now);
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.hear(telling, now);
        }
    }

    /// What the calls say, at `now`. `by` is the instance that asks, which hears its own notices, or does not.
    /// `has_waited`: by its own clock, it has waited for the end of the suspicion.
    pub(crate) fn judge(&mut self, now: Timestamp, (by, has_push): (u64, bool), has_waited: Option<u64>) -> Judgement {
        let Calls::Shaped { rule, logs } = &self.calls else {
            return Judgement::Nothing;
        };
        let mut cleared = false;
        if let Some(mut suspicion) = self.suspicion {
            let now = if has_waited == Some(suspicion.number) { now.max(suspicion.due()) } else { now };
            if now < suspicion.until {
                return Judgement::Waits;
            }
            let met = self.met(rule, logs, suspicion.cut, &[]);
            if met.is_some() && now < suspicion.last {
                suspicion.is_heard |= by == suspicion.raised_by && has_push;
                // Others that do not hear of a suspicion at once do so when they poll.
                let is_alone = !suspicion.answered && self.voices.has_others(suspicion.raised_by);
                suspicion.waits |= is_alone || !suspicion.is_heard && by == suspicion.raised_by;
                if !suspicion.waits && !suspicion.is_heard {
                    return Judgement::Waits;
                }
                let silent: Vec<_> = self.voices.silent(suspicion.cut, now).collect();
                let undo = !silent.is_empty() && self.met(rule, logs, suspicion.cut, &silent).is_none();
                if suspicion.waits || undo {
                    suspicion.waits = true;
                    self.suspicion = Some(suspicion);
                    return Judgement::Waits;
                }
            }
            let verdict = met.map(|met| self.verdict(met, suspicion.cut, suspicion.cut, now));
            if now >= suspicion.last {
                self.voices.forget_silent(suspicion.cut);
            }
            if let Some(verdict) = verdict {
                self.suspicion = None;
                return Judgement::Met(verdict);
            }
            self.judged = self.judged.max(suspicion.cut.min(now));
            self.suspicion = None;
            cleared = true;
        }
        let lag = self.slowest.lag(now);
        let Calls::Shaped { rule, logs } = &self.calls else {
            return Judgement::Nothing;
        };
        self.judged = self.judged.max(before(now, lag));
        let question = Question { from: self.judged, to: now, certainty: Certainty::Possible, presumed: &[] };
        if let Some(met) = self.met_by_bad_only(rule, logs, &question) {
            return Judgement::Met(self.verdict(met, now, met.at, now));
        }
        if self.is_possible(rule, logs, &question) {
            let knows_others = self.voices.has_others(by);
            self.suspicion = Some(Suspicion::raise(self.suspicions, (by, has_push), knows_others, logs, now));
            self.suspicions += 1;
            return Judgement::Suspected;
        }
        self.judged = self.judged.max(before(now, lag * 3 / 4));
        self.trim(now);
        if cleared { Judgement::Cleared } else { Judgement::Nothing }
    }

    /// A verdict about the calls up to a moment; who is heard or silent is asked of those up to `told`.
    fn verdict(&self, met: Met, up_to: Timestamp, told: Timestamp, now: Timestamp) -> Verdict {
        let Met { at, tally, retry_after } = met;
        let (heard, silent) = self.voices.heard(told, now);
        Verdict { tally, retry_after, at, up_to, heard, silent }
    }

    /// Forgets what no verdict can depend on any more.
    pub(crate) fn trim(&mut self, now: Timestamp) {
        if let Calls::Shaped { rule, logs } = &mut self.calls {
            logs.trim(rule, self.judged.max(before(now, self.slowest.lag(now) * 2)));
        }
    }

    /// Where all calls are of one instance, its own detector has seen them, in their order and with their times.
    fn met(&self, rule: &Rule, logs: &Logs, cut: Timestamp, presumed: &[Presumed]) -> Option<Met> {
        if let SeenBy::One(_) = self.seen_by {
            return self.trip.filter(|_| presumed.is_empty()).map(Met::from);
        }
        logs.met(rule, &Question { from: self.judged, to: cut, certainty: Certainty::Sure, presumed })
    }

    fn met_by_bad_only(&self, rule: &Rule, logs: &Logs, question: &Question<'_>) -> Option<Met> {
        let met = logs.met_by_bad_only(rule, question);
        match (self.seen_by, self.trip) {
            (SeenBy::One(_), Some(trip)) if rule.counts_bad_only() || met.is_some() => Some(trip.into()),
            _ => met,
        }
    }

    fn is_possible(&self, rule: &Rule, logs: &Logs, question: &Question<'_>) -> bool {
        if matches!(self.seen_by, SeenBy::One(_)) && self.trip.is_some() {
            return true;
        }
        if logs.met(rule, question).is_none() {
            return false;
        }
        let promised = self.voices.promised(question.to);
        promised.is_empty() || logs.met(rule, &Question { presumed: &promised, ..*question }).is_some()
    }

    /// The circuit would have opened, had it not been a dry run: what comes next is judged by itself.
    pub(crate) fn end_dry_run(&mut self, now: Timestamp) {
        self.begin_anew(now);
        self.dry_runs = self.dry_runs.wrapping_add(1);
    }

    /// Nothing is asked any more.
    pub(crate) fn end_suspicion(&mut self) {
        self.suspicion = None;
    }

    /// Begins anew, with what is known of the instances.
    pub(crate) fn begin_anew(&mut self, now: Timestamp) {
        match &mut self.calls {
            Calls::Shaped { rule, logs } => *logs = Logs::new(rule),
            Calls::Opaque(opaque) => *opaque = Opaque::default(),
        }
        self.judged = now;
        self.seen_by = SeenBy::None;
        self.trip = None;
        self.suspicion = None;
        self.voices.end_promises();
    }

    /// How many instances have told something of late.
    pub(crate) fn instances(&self) -> u32 {
        self.voices.number()
    }

    /// Tells whether it is about any calls.
    pub(crate) fn has_calls(&self) -> bool {
        self.seen_by != SeenBy::None
    }

    /// Tells whether another instance than this one has had calls.
    pub(crate) fn has_others(&self, writer: u64) -> bool {
        match self.seen_by {
            SeenBy::None => false,
            SeenBy::One(one) => one != writer,
            SeenBy::Several => true,
        }
    }

    /// For each threshold of the rule, what the fleet has seen, as far as it was told, with what an instance has not
    /// told yet.
    pub(crate) fn tallies(&self, writer: u64, untold: &[ToldCalls], now: Timestamp) -> Vec<Tally> {
        let Calls::Shaped { rule, logs } = &self.calls else {
            return Vec::new();
        };
        let mut logs = logs.clone();
        untold.iter().for_each(|told| logs.add(rule, Writers::one(writer), told));
        logs.tallies(rule, now)
    }

    /// The bad calls of the fleet, where a rule counts nothing else.
    pub(crate) fn bad_calls(&self) -> Vec<(Timestamp, u32)> {
        match &self.calls {
            Calls::Shaped { rule, logs } if rule.counts_bad_only() => logs.bad_calls(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn failures(&self) -> u64 {
        match &self.calls {
            Calls::Shaped { logs, .. } => logs.failures(),
            Calls::Opaque(opaque) => opaque.failures(),
        }
    }

    pub(crate) fn is_opaque(&self) -> bool {
        matches!(self.calls, Calls::Opaque(_))
    }

    pub(crate) fn suspicion(&self) -> Option<&Suspicion> {
        self.suspicion.as_ref()
    }

    /// Forgets what is oldest until it takes no more than `most` bytes.
    pub(crate) fn shrink(&mut self, most: usize) {
        if let Calls::Opaque(opaque) = &mut self.calls {
            opaque.shrink(most.saturating_sub(REST_BYTES));
        }
    }

    /// Cuts times that are further ahead than the store's clock can be, because it was set back. Calls of the future are
    /// forgotten: when their time comes again, they are long over.
    pub(crate) fn cut_to(&mut self, latest: Timestamp) {
        (self.touched, self.judged) = (self.touched.min(latest), self.judged.min(latest));
        self.slowest.at = self.slowest.at.min(latest);
        self.trip = self.trip.filter(|trip| trip.at <= latest);
        self.voices.cut_to(latest);
        match &mut self.calls {
            Calls::Shaped { logs, .. } => logs.forget_after(latest),
            Calls::Opaque(opaque) => opaque.forget_after(latest),
        }
        self.suspicion = self.suspicion.filter(|suspicion| suspicion.last.since(latest) <= LONGEST_SUSPICION);
    }

    /// A detector of the rule judges calls that nothing else can. Returns what it has tripped on.
    pub(crate) fn judge_by(&mut self, detector: &mut dyn Detector, now: Timestamp, lag: Duration) -> Option<Verdict> {
        let Calls::Opaque(opaque) = &mut self.calls else {
            return None;
        };
        let up_to = before(now, lag);
        let judged = opaque.judge(detector, up_to);
        // Where all calls are of one instance, its own detector has seen them as they came.
        let met = match self.seen_by {
            SeenBy::One(_) => self.trip.filter(|trip| self.is_of_one_alone() || trip.at <= up_to).map(Met::from),
            SeenBy::None | SeenBy::Several => judged,
        };
        met.map(|met| self.verdict(met, up_to, up_to, now))
    }

    /// When calls that wait for their detector can be judged.
    pub(crate) fn opaque_due(&self, lag: Duration) -> Option<Timestamp> {
        let Calls::Opaque(opaque) = &self.calls else {
            return None;
        };
        let trip = self.trip.map(|trip| if self.is_of_one_alone() { trip.at } else { trip.at + lag });
        opaque.due(lag).into_iter().chain(trip).min()
    }

    /// Tells whether all calls are of one instance, and no other was heard of late: none has calls that are still to be
    /// told.
    fn is_of_one_alone(&self) -> bool {
        matches!(self.seen_by, SeenBy::One(writer) if !self.voices.has_others(writer))
    }

    /// Tells whether so many suspicions were raised.
    pub(crate) const fn has_raised_so_many(&self, number: u64) -> bool {
        number <= self.suspicions
    }

    /// Tells whether a suspicion of that number was raised: if there is none now, it is over.
    pub(crate) const fn has_raised(&self, number: u64) -> bool {
        number < self.suspicions
    }

    #[cfg(test)]
    pub(crate) const fn suspicions(&self) -> u64 {
        self.suspicions
    }

    pub(crate) const fn dry_runs(&self) -> u32 {
        self.dry_runs
    }

    /// How long instances must keep what they have not told, beyond what the rule looks back.
    pub(crate) fn kept_for(&self, now: Timestamp) -> Duration {
        kept_for(self.slowest.longest_lag(now), self.clock_error())
    }

    /// What the clocks of instances differ by, where that is more than a tick allows for anyway.
    pub(crate) fn clock_error(&self) -> Duration {
        if let Calls::Shaped { logs, .. } = &self.calls { logs.clock_error() } else { Duration::ZERO }
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.u64(self.rule);
        out.time(self.touched);
        match &self.calls {
            Calls::Shaped { rule, logs } => {
                out.u8(0);
                rule.save(out);
                logs.save(rule, out);
            }
            Calls::Opaque(opaque) => {
                out.u8(1);
                opaque.save(out);
            }
        }
        out.time(self.judged);
        match self.seen_by {
            SeenBy::None => out.u8(0),
            SeenBy::One(writer) => {
                out.u8(1);
                out.u64(writer);
            }
            SeenBy::Several => out.u8(2),
        }
        out.option(self.trip.as_ref(), Trip::save);
        out.option(self.suspicion.as_ref(), Suspicion::save);
        out.varint(self.suspicions);
        out.varint(self.dry_runs.into());
        self.voices.save(out);
        out.varint(nanos(self.slowest.took));
        out.time(self.slowest.at);
        out.varint(nanos(self.slowest.lag_before));
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let (rule, touched) = (from.u64()?, from.time()?);
        let calls = match from.u8()? {
            0 => {
                let rule = Rule::load(from)?;
                let logs = Logs::load(&rule, from)?;
                Calls::Shaped { rule, logs }
            }
            1 => Calls::Opaque(Opaque::load(from)?),
            other => return Err(LoadError::new(format!("evidence of kind {other}"))),
        };
        let judged = from.time()?;
        let seen_by = match from.u8()? {
            0 => SeenBy::None,
            1 => SeenBy::One(from.u64()?),
            _ => SeenBy::Several,
        };
        Ok(Self {
            rule,
            touched,
            calls,
            judged,
            seen_by,
            trip: from.option(Trip::load)?,
            suspicion: from.option(Suspicion::load)?,
            suspicions: from.varint()?,
            dry_runs: u32::try_from(from.varint()?).unwrap_or(u32::MAX),
            voices: Voices::load(from)?,
            slowest: Slowest {
                took: Duration::from_nanos(from.varint()?),
                at: from.time()?,
                lag_before: Duration::from_nanos(from.varint()?),
            },
        })
    }
}
