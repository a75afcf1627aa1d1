//! The record of a breaker, as a store keeps it.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::batch::Vote;
use super::evidence_log::{CallLog, RuleEvidence};
use crate::circuit::{Generation, History, LoadError, MachineState, Reader, Run, State, TransitionReason, Writer};
use crate::time::{Timestamp, nanos};

/// A breaker as its fleet sees it. All times are the store's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// The writer whose commit began the generation.
    pub(crate) decider: u64,
    /// What the machine of every instance goes on from.
    pub(crate) machine: MachineState,
    /// At most two, so that a rolling deploy keeps what it had: by rule.
    pub(super) evidence: Vec<RuleEvidence>,
    /// By voter.
    pub(super) votes: Vec<Vote>,
}

/// Why bytes are no record that this release can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Written by a newer release: to be left alone.
    Newer(u8),
    /// Damaged, or not a record: to be replaced.
    Corrupt(String),
}

const MAGIC: &[u8; 2] = b"FB";
const FORMAT: u8 = 1;
const CHECKSUM_BYTES: usize = 4;
/// A transition every microsecond for nine years; what counts further has not counted.
const MAX_GENERATION: u64 = 1 << 48;
/// More than any quorum; a record must stay small.
const MAX_VOTES: usize = 320;
/// How long a vote that was taken back is remembered, so that a late copy of it does not count again.
const WITHDRAWN_VOTE_MEMORY: Duration = Duration::from_secs(60);

impl Record {
    /// What stands where no instance has written yet.
    pub(crate) const fn fresh(generation: Generation, now: Timestamp) -> Self {
        Self { decider: 0, machine: MachineState::closed(generation, now), evidence: Vec::new(), votes: Vec::new() }
    }

    /// The same, open until then, as an older library left it.
    pub(super) fn opened(mut self, until: Timestamp, now: Timestamp) -> Self {
        self.machine.state = State::Open;
        *self.machine.history_mut() = History {
            reason: Some(TransitionReason::Tripped),
            open_until: until,
            cooldown: until.since(now),
            openings: 1,
            ..History::NONE
        };
        self
    }

    pub(crate) const fn generation(&self) -> Generation {
        self.machine.generation
    }

    pub(crate) const fn state(&self) -> State {
        self.machine.state
    }

    /// When an open circuit, or an override, is over; `None` where nothing ends by time.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        let open = (self.state() == State::Open).then(|| self.machine.history().open_until);
        self.machine.standing().map(|standing| standing.until).or(open)
    }

    /// Tells whether losing the record would let calls through that must not go, or the reverse.
    pub(crate) fn matters(&self, now: Timestamp) -> bool {
        match (self.machine.standing(), self.state()) {
            (Some(standing), _) => standing.until > now,
            (None, State::Closed) => false,
            (None, State::Open) => self.machine.history().open_until > now,
            (None, State::HalfOpen) => true,
        }
    }

    /// How long a store must keep it: a day after the last write, and longer while something in it is not over.
    pub(crate) fn ttl(&self, now: Timestamp) -> Duration {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let left = self.until().map_or(Duration::ZERO, |until| until.since(now));
        (left + DAY).max(self.machine.history().cooldown.saturating_mul(10)).min(DAY * 3_650)
    }

    /// The failures it holds, for people who look into a store.
    pub(crate) fn failures(&self) -> u32 {
        let count = |sum: u64, run: Run| if run.failed { sum.saturating_add(run.count) } else { sum };
        let failed = |of_rule: &RuleEvidence| of_rule.calls.runs().into_iter().fold(0, count);
        u32::try_from(self.evidence.iter().map(failed).max().unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// Tells whether there is more to it than its headline: evidence that is still judged, votes that still count.
    pub(crate) fn has_live_evidence(&self) -> bool {
        self.state() == State::Closed && !(self.evidence.is_empty() && self.votes.is_empty())
    }

    /// What the others must know at once: all but evidence and votes.
    pub(crate) fn headline(&self) -> Self {
        Self { decider: self.decider, machine: self.machine.clone(), evidence: Vec::new(), votes: Vec::new() }
    }

    /// Tells whether it is the same generation, by more than its number. Not by when it began: no commit began the first
    /// one, so each instance has its own idea of that.
    pub(super) fn is_same_generation(&self, other: &Self) -> bool {
        let what = |record: &Self| (record.generation(), record.decider, record.state());
        what(self) == what(other)
    }

    pub(super) fn evidence_of(&self, rule: u64) -> Option<&RuleEvidence> {
        self.evidence.iter().find(|evidence| evidence.rule == rule)
    }

    /// The place for evidence of a rule, made for calls such as `calls` where there is none. Of three rules the one that was
    /// untouched for longest gives way.
    pub(super) fn evidence_mut(&mut self, rule: u64, calls: &CallLog, now: Timestamp) -> &mut RuleEvidence {
        let known = self.evidence.iter().position(|evidence| evidence.rule == rule);
        let at = known.unwrap_or_else(|| {
            if self.evidence.len() >= 2 {
                self.drop_oldest_evidence();
            }
            self.evidence.push(RuleEvidence { rule, touched: now, unevaluated: false, calls: calls.emptied() });
            self.evidence.len() - 1
        });
        let evidence = &mut self.evidence[at];
        evidence.touched = evidence.touched.max(now);
        evidence
    }

    /// Makes it small enough for every store. Evidence gives way, first that of the rule that was untouched for longest.
    pub(super) fn fit(&mut self) {
        /// No store need take more than 64 KiB.
        const MAX_BYTES: usize = 63 * 1_024;
        /// So much of evidence leaves room for the most of everything else.
        const SURELY_FITS: usize = 16 * 1_024;
        let bytes = |record: &Self| record.evidence.iter().map(|evidence| evidence.calls.bytes()).sum::<usize>();
        if bytes(self) <= SURELY_FITS {
            return;
        }
        let rest = Self { evidence: Vec::new(), ..self.clone() }.save().len();
        while bytes(self) + rest > MAX_BYTES && self.evidence.len() > 1 {
            self.drop_oldest_evidence();
        }
        if let Some(evidence) = self.evidence.first_mut() {
            evidence.calls.shrink(MAX_BYTES.saturating_sub(rest));
        }
    }

    fn drop_oldest_evidence(&mut self) {
        let oldest = (0..self.evidence.len()).min_by_key(|at| self.evidence[*at].touched);
        oldest.map(|at| self.evidence.remove(at));
    }

    /// Takes in a vote, in any order and any number of times.
    pub(super) fn vote(&mut self, vote: &Vote, now: Timestamp) {
        match self.votes.iter_mut().find(|known| known.voter == vote.voter) {
            Some(known) if known.cast >= vote.cast => {}
            Some(known) => *known = vote.clone(),
            None => self.votes.push(vote.clone()),
        }
        self.votes.retain(|vote| vote.until > now || now.since(vote.cast) < WITHDRAWN_VOTE_MEMORY);
        self.votes.sort_by_key(|vote| std::cmp::Reverse(vote.cast));
        self.votes.truncate(MAX_VOTES);
        self.votes.sort_by(|a, b| a.voter.cmp(&b.voter));
    }

    pub(super) fn live_votes(&self, now: Timestamp) -> u32 {
        let live = self.votes.iter().filter(|vote| vote.until > now && vote.until > vote.cast).count();
        u32::try_from(live).unwrap_or(u32::MAX)
    }

    /// The same record by another clock, where `here` is what `there` is on this one.
    pub(crate) fn by_clock(&self, here: Timestamp, there: Timestamp) -> Self {
        let f = |at| translate(at, here, there);
        let mut local = self.clone();
        local.machine.since = f(local.machine.since);
        local.machine.past_mut().into_iter().for_each(|history| history.move_times(f));
        for evidence in &mut local.evidence {
            evidence.touched = f(evidence.touched);
            evidence.calls.move_times(f);
        }
        local.votes.iter_mut().for_each(|vote| (vote.cast, vote.until) = (f(vote.cast), f(vote.until)));
        local
    }

    /// Writes it as bytes: magic, format, fields, checksum.
    pub(crate) fn save(&self) -> Vec<u8> {
        let mut out = Writer::with_head(MAGIC);
        out.u8(FORMAT);
        out.u8(self.state().to_byte());
        out.u64(self.generation().get());
        out.u64(self.decider);
        out.time(self.machine.since);
        self.machine.history().save(&mut out);
        out.u8(u8::try_from(self.evidence.len()).unwrap_or(0));
        self.evidence.iter().for_each(|evidence| evidence.save(&mut out));
        out.list(self.votes.iter(), Vote::save);
        let mut bytes = out.finish();
        let checksum = Sha256::digest(&bytes);
        bytes.extend(&checksum[..CHECKSUM_BYTES]);
        bytes
    }

    pub(crate) fn load(bytes: &[u8]) -> Result<Self, Unreadable> {
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| Unreadable::Corrupt("no record at all".to_owned()))?;
        let Some((body, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(Unreadable::Corrupt("cut short".to_owned()));
        };
        if Sha256::digest(body)[..CHECKSUM_BYTES] != checksum[..] {
            return Err(Unreadable::Corrupt("the checksum does not fit".to_owned()));
        }
        // The checksum is the same in every format, so that damage is told from progress.
        if let Some(format) = rest.first().filter(|format| **format > FORMAT) {
            return Err(Unreadable::Newer(*format));
        }
        let record = body.get(MAGIC.len() + 1..).unwrap_or_default();
        let record = Self::parse(record).map_err(|error| Unreadable::Corrupt(error.to_string()))?;
        if record.generation().get() > MAX_GENERATION {
            return Err(Unreadable::Corrupt(format!("generation {} cannot be", record.generation())));
        }
        Ok(record)
    }

    fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut from = Reader::without_head(bytes);
        let state = State::from_byte(from.u8()?)?;
        let (generation, decider) = (Generation::new(from.u64()?), from.u64()?);
        let mut machine = MachineState::closed(generation, from.time()?);
        machine.state = state;
        let history = History::load(&mut from)?;
        if history != History::NONE {
            *machine.history_mut() = history;
        }
        let evidence = (0..from.u8()?).map(|_| RuleEvidence::load(&mut from)).collect::<Result<_, _>>()?;
        let votes = from.list(20, Vote::load)?;
        from.end()?;
        Ok(Self { decider, machine, evidence, votes })
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(format) => write!(f, "format {format}, this release knows {FORMAT}"),
            Self::Corrupt(what) => f.write_str(what),
        }
    }
}

/// A moment, by this instance's clock and by the store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clocks {
    pub(crate) here: Timestamp,
    pub(crate) store: Timestamp,
}

impl Clocks {
    /// The store's time that is `here` now, as far as this instance can tell.
    pub(super) fn store_at(self, here: Timestamp) -> Timestamp {
        self.store + here.since(self.here)
    }
}

/// A time of one clock on another one, where `here` on the first is `there` on the second.
pub(crate) fn translate(at: Timestamp, here: Timestamp, there: Timestamp) -> Timestamp {
    if at == Timestamp::MAX {
        at
    } else if at >= here {
        there + at.since(here)
    } else {
        before(there, here.since(at))
    }
}

/// The time that lies so far back.
pub(super) const fn before(now: Timestamp, time: Duration) -> Timestamp {
    Timestamp::from_nanos(now.as_nanos().saturating_sub(nanos(time)))
}
