//! The record of a breaker, as a store keeps it.

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::batch::Vote;
use super::clocks::translate;
use super::pooled::{RuleEvidence, Telling, Verdict};
use crate::circuit::{Generation, History, LoadError, MachineState, Reader, State, TransitionReason, Writer};
use crate::one_line::OneLine;
use crate::time::Timestamp;

/// A breaker as its fleet sees it. All times are the store's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// The writer whose commit began the generation.
    pub(crate) decider: u64,
    /// What the machine of every instance goes on from.
    pub(crate) machine: MachineState,
    /// By rule: a rolling deploy has two, an experiment some more.
    pub(super) evidence: Vec<RuleEvidence>,
    /// By voter.
    pub(super) votes: Vec<Vote>,
    /// What the circuit was last opened for.
    pub(super) verdict: Option<Verdict>,
    /// Instances that want a lease and have found none, in the order in which they came.
    pub(super) wants: Vec<Want>,
    /// How often an unused lease has gone from one instance to another in this generation.
    pub(super) handovers: u32,
    /// What later releases of this format have put there: it stays as long as the generation.
    pub(super) extension: Vec<u8>,
}

/// An instance wants a lease that another one has and does not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) writer: u64,
    pub(super) since: Timestamp,
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
const FORMAT: u8 = 2;
/// That of release 0.1: its evidence means something else.
const OLDEST_FORMAT: u8 = 1;
const CHECKSUM_BYTES: usize = 4;
/// Rules whose evidence is kept.
const MAX_RULES: usize = 4;
/// Instances that wait for a lease.
const MAX_WANTS: usize = 16;
/// Bytes that a later release of this format may add.
const MAX_EXTENSION: usize = 1_024;
/// How far ahead of the store's clock a time may be that is taken to be now.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(1);
/// More than any quorum; a record must stay small.
const MAX_VOTES: usize = 320;
/// Failures are of interest to all for so long after they were told.
const TROUBLE_LASTS: Duration = Duration::from_secs(60);
/// How long a vote that was taken back is remembered, so that a late copy of it does not count again.
const WITHDRAWN_VOTE_MEMORY: Duration = Duration::from_secs(60);

impl Record {
    /// What stands where no instance has written yet.
    pub(crate) const fn fresh(generation: Generation, now: Timestamp) -> Self {
        Self::of(0, MachineState::closed(generation, now))
    }

    /// What counts where there is no record, and whether it is to be written: a row of an older library may say that the circuit
    /// is open.
    pub(super) fn unwritten(legacy_open_until: Option<Timestamp>, now: Timestamp) -> (Self, bool) {
        let fresh = Self::fresh(Generation::new(1), now);
        match legacy_open_until.filter(|until| *until > now) {
            Some(until) => (fresh.opened(until, now), true),
            None => (fresh, false),
        }
    }

    const fn of(decider: u64, machine: MachineState) -> Self {
        Self {
            decider,
            machine,
            evidence: Vec::new(),
            votes: Vec::new(),
            verdict: None,
            wants: Vec::new(),
            handovers: 0,
            extension: Vec::new(),
        }
    }

    /// The same, open until then, as an older library left it.
    pub(crate) fn opened(mut self, until: Timestamp, now: Timestamp) -> Self {
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

    /// How long a store must keep it: five weeks after the last write, which is longer than anything that happens monthly;
    /// and longer while something in it is not over.
    pub(crate) fn ttl(&self, now: Timestamp) -> Duration {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let left = self.until().map_or(Duration::ZERO, |until| until.since(now));
        (left + 35 * DAY).max(self.machine.history().cooldown.saturating_mul(10)).min(DAY * 3_650)
    }

    /// The failures it holds, for people who look into a store.
    pub(crate) fn failures(&self) -> u32 {
        let most = self.evidence.iter().map(RuleEvidence::failures).max();
        u32::try_from(most.unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// Tells whether instances have told of failures lately, or votes stand: what they tell next is of interest to all.
    pub(super) fn is_in_trouble(&self, now: Timestamp) -> bool {
        let is_recent = |evidence: &RuleEvidence| evidence.has_calls() && now.since(evidence.touched) < TROUBLE_LASTS;
        self.state() == State::Closed && self.evidence.iter().any(is_recent) || self.live_votes(now) > 0
    }

    /// Tells whether there is more to it than its headline: evidence that is still judged, votes that still count.
    pub(crate) fn has_live_evidence(&self) -> bool {
        let has_calls = self.evidence.iter().any(RuleEvidence::has_calls);
        self.state() == State::Closed && (has_calls || !self.votes.is_empty())
    }

    /// What the others must know at once: all but evidence and votes.
    pub(crate) fn headline(&self) -> Self {
        let verdict = self.verdict.filter(|_| self.state() != State::Closed);
        Self { verdict, ..Self::of(self.decider, self.machine.clone()) }
    }

    /// Tells whether it is the same generation, by more than its number. Not by when it began: no commit began the first
    /// one, so each instance has its own idea of that.
    pub(super) fn is_same_generation(&self, other: &Self) -> bool {
        let what = |record: &Self| (record.generation(), record.decider, record.state());
        what(self) == what(other)
    }

    /// Tells whether it holds calls that were counted for another rule.
    pub(super) fn drifts_from(&self, rule: u64) -> bool {
        self.evidence.iter().any(|evidence| evidence.rule != rule)
    }

    pub(super) fn evidence_of(&self, rule: u64) -> Option<&RuleEvidence> {
        self.evidence.iter().find(|evidence| evidence.rule == rule)
    }

    /// Tells whether instances are asked what they have seen.
    pub(crate) fn is_suspected(&self) -> bool {
        self.evidence.iter().any(|evidence| evidence.suspicion().is_some())
    }

    /// The rules of which there is evidence, each with how many suspicions it has raised.
    #[cfg(test)]
    pub(crate) fn rules(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.evidence.iter().map(|evidence| (evidence.rule, evidence.suspicions()))
    }

    /// What is asked now, to be shown.
    #[cfg(test)]
    pub(crate) fn suspicions(&self) -> impl Iterator<Item = impl fmt::Debug> + '_ {
        self.evidence.iter().filter_map(|evidence| evidence.suspicion().copied())
    }

    /// The place for evidence of a rule, made for what an instance tells where there is none; tells as well whether another
    /// rule had to give way: the one that was untouched for longest.
    pub(super) fn evidence_mut(&mut self, telling: &Telling, now: Timestamp) -> (&mut RuleEvidence, bool) {
        let known = self.evidence.iter().position(|evidence| evidence.rule == telling.rule());
        let mut gives_way = false;
        let at = known.unwrap_or_else(|| {
            gives_way = self.evidence.len() >= MAX_RULES;
            if gives_way {
                self.drop_oldest_evidence();
            }
            self.evidence.push(RuleEvidence::new(telling, now));
            self.evidence.len() - 1
        });
        (&mut self.evidence[at], gives_way)
    }

    /// Makes it small enough for every store. Evidence gives way, first that of the rule that was untouched for longest.
    pub(super) fn fit(&mut self) {
        /// No store need take more than 64 KiB.
        const MAX_BYTES: usize = 63 * 1_024;
        // One rule that any instance can judge has room.
        if self.evidence.len() <= 1 && self.evidence.iter().all(|evidence| !evidence.is_opaque()) {
            return;
        }
        let bytes = |evidence: &RuleEvidence| {
            let mut out = Writer::with_head(&[]);
            evidence.save(&mut out);
            out.finish().len()
        };
        let rest = Self { evidence: Vec::new(), ..self.clone() }.save().len();
        let room = MAX_BYTES.saturating_sub(rest);
        while self.evidence.iter().map(bytes).sum::<usize>() > room && self.evidence.len() > 1 {
            self.drop_oldest_evidence();
        }
        if let Some(evidence) = self.evidence.first_mut() {
            evidence.shrink(room);
        }
    }

    fn drop_oldest_evidence(&mut self) {
        let oldest = (0..self.evidence.len()).min_by_key(|at| self.evidence[*at].touched);
        oldest.map(|at| self.evidence.remove(at));
    }

    /// An instance wants a lease.
    pub(super) fn want(&mut self, writer: u64, now: Timestamp) {
        let is_known = self.wants.iter().any(|want| want.writer == writer);
        if !is_known && self.wants.len() < MAX_WANTS {
            self.wants.push(Want { writer, since: now });
        }
    }

    /// A store's clock that has stepped back leaves times that are further ahead than anything can be: each is cut to
    /// what it can be at most. `deadline` is that of probes.
    pub(super) fn cut_to(&mut self, now: Timestamp, deadline: Duration) {
        let latest = now + CLOCK_TOLERANCE;
        self.machine.since = self.machine.since.min(latest);
        if let Some(history) = self.machine.past_mut() {
            history.open_until = history.open_until.min(latest + history.cooldown);
            if let Some(standing) = &mut history.standing
                && let Some(span) = standing.order.lasts()
            {
                standing.until = standing.until.min(latest + span);
            }
            if let Some(round) = &mut history.round {
                round.fruitless_since = round.fruitless_since.map(|since| since.min(latest));
                let used = round.leases.iter_mut().filter(|lease| lease.deadline < Timestamp::MAX);
                used.for_each(|lease| lease.deadline = lease.deadline.min(latest + deadline));
            }
        }
        // A vote of the future says nothing of now; who cast it, if it is there, casts it again.
        self.votes.retain(|vote| vote.cast <= latest);
        self.wants.iter_mut().for_each(|want| want.since = want.since.min(latest));
        self.evidence.iter_mut().for_each(|evidence| evidence.cut_to(latest));
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
        u32::try_from(self.standing_votes(now).count()).unwrap_or(u32::MAX)
    }

    /// Tells whether any instance that has tripped has done so for slow calls.
    pub(super) fn is_voted_slow(&self, now: Timestamp) -> bool {
        self.standing_votes(now).any(|vote| vote.by_slowness)
    }

    fn standing_votes(&self, now: Timestamp) -> impl Iterator<Item = &Vote> {
        self.votes.iter().filter(move |vote| vote.until > now && vote.until > vote.cast)
    }

    /// The same record by another clock, where `here` is what `there` is on this one; without evidence, which is judged
    /// by the store's.
    pub(crate) fn by_clock(&self, here: Timestamp, there: Timestamp) -> Self {
        let f = |at| translate(at, here, there);
        let mut local = Self { votes: self.votes.clone(), wants: self.wants.clone(), ..self.headline() };
        local.machine.since = f(local.machine.since);
        local.machine.past_mut().into_iter().for_each(|history| history.move_times(f));
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
        out.option(self.verdict.as_ref(), Verdict::save);
        out.list(self.wants.iter(), |want, out| {
            out.u64(want.writer);
            out.time(want.since);
        });
        out.varint(self.handovers.into());
        out.bytes(&self.extension);
        let mut bytes = out.finish();
        let checksum = Sha256::digest(&bytes);
        bytes.extend(&checksum[..CHECKSUM_BYTES]);
        bytes
    }

    pub(crate) fn load(bytes: &[u8]) -> Result<Self, Unreadable> {
        let corrupt = |what: &str| Unreadable::Corrupt(what.to_owned());
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| corrupt("no record at all"))?;
        let body = rest.split_last_chunk::<CHECKSUM_BYTES>().and_then(|(body, checksum)| {
            let (format, fields) = body.split_first()?;
            Some((&bytes[..MAGIC.len() + body.len()], checksum, *format, fields))
        });
        let (sealed, checksum, format, fields) = body.ok_or_else(|| corrupt("cut short"))?;
        if Sha256::digest(sealed)[..CHECKSUM_BYTES] != checksum[..] {
            return Err(corrupt("the checksum does not fit"));
        }
        // The checksum is the same in every format, so that damage is told from progress.
        if format > FORMAT {
            return Err(Unreadable::Newer(format));
        }
        Self::parse(format, fields).map_err(|error| Unreadable::Corrupt(error.to_string()))
    }

    /// Tells whether bytes that this release reads are of a format that it does not write.
    pub(super) fn is_of_older_format(bytes: &[u8]) -> bool {
        bytes.strip_prefix(MAGIC).and_then(|rest| rest.first()).is_some_and(|format| *format < FORMAT)
    }

    fn parse(format: u8, bytes: &[u8]) -> Result<Self, LoadError> {
        if format < OLDEST_FORMAT {
            return Err(LoadError::new(format!("format {format}")));
        }
        let mut from = Reader::without_head(bytes);
        let state = State::from_byte(from.u8()?)?;
        let (generation, decider) = (Generation::new(from.u64()?), from.u64()?);
        let mut machine = MachineState::closed(generation, from.time()?);
        machine.state = state;
        let history = History::load(&mut from, format == OLDEST_FORMAT)?;
        if history != History::NONE {
            *machine.history_mut() = history;
        }
        let rules = from.u8()?;
        let mut record = Self::of(decider, machine);
        if format == OLDEST_FORMAT {
            (0..rules).try_for_each(|_| skip_evidence_of_0_1(&mut from))?;
            record.votes = from.list(20, |from| Vote::load(from, true))?;
            return from.end().map(|()| record);
        }
        record.evidence = (0..rules).map(|_| RuleEvidence::load(&mut from)).collect::<Result<_, _>>()?;
        record.votes = from.list(21, |from| Vote::load(from, false))?;
        record.verdict = from.option(Verdict::load)?;
        record.wants = from.list(16, |from| Ok(Want { writer: from.u64()?, since: from.time()? }))?;
        record.handovers = u32::try_from(from.varint()?).unwrap_or(u32::MAX);
        record.extension = from.bytes()?.to_vec();
        from.end()?;
        if record.evidence.len() > MAX_RULES || record.wants.len() > MAX_WANTS || record.extension.len() > MAX_EXTENSION
        {
            return Err(LoadError::new("more than a record holds"));
        }
        Ok(record)
    }
}

/// Release 0.1 judged evidence before it was whole, so what is left of it is no ground for a verdict.
fn skip_evidence_of_0_1(from: &mut Reader<'_>) -> Result<(), LoadError> {
    const RUN_BYTES: usize = 25;
    from.u64()?;
    from.time()?;
    from.flag()?;
    match from.u8()? {
        0 => {
            from.u64()?;
            from.u64()?;
            from.u8()?;
            from.bytes()?;
        }
        1 => {
            from.flag()?;
            from.bytes()?;
            let runs = from.count(RUN_BYTES)?;
            for _ in 0..runs {
                from.u64()?;
                from.u8()?;
                from.u64()?;
                from.u64()?;
            }
        }
        other => return Err(LoadError::new(format!("evidence of kind {other}"))),
    }
    Ok(())
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(format) => write!(f, "the record is of format {format}, this release knows {FORMAT}"),
            Self::Corrupt(what) => write!(f, "the record is damaged: {}", OneLine(what)),
        }
    }
}
