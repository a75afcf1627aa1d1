//! The record of a breaker, as a store keeps it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::super::detector::LoadError;
use super::super::detector::bytes::{Reader, Writer};
use super::super::overrides::Standing;
use super::super::probes::Round;
use super::held::{Held, Seen};
use crate::circuit::{Generation, Override, State, TransitionReason};
use crate::time::{Timestamp, nanos};

/// A breaker as its fleet sees it. All times are the store's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) generation: Generation,
    /// The writer whose commit began the generation.
    pub(crate) decider: u64,
    pub(crate) state: State,
    pub(super) since: Timestamp,
    pub(super) reason: Option<TransitionReason>,
    pub(super) open_until: Timestamp,
    pub(super) cooldown: Duration,
    pub(super) openings: u32,
    pub(super) opened_by_round: bool,
    pub(super) round: Option<Round>,
    pub(super) standing: Option<Standing>,
    /// At most two, so that a rolling deploy keeps what it had: by fingerprint.
    pub(super) held: Vec<Held>,
    /// By voter.
    pub(super) votes: Vec<Vote>,
}

/// One instance's word that its own calls fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vote {
    pub(super) voter: Arc<str>,
    pub(super) cast: Timestamp,
    /// Not later than `cast` when it is taken back.
    pub(super) until: Timestamp,
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
const CHECKSUM: usize = 4;
/// A transition every microsecond for nine years; what counts further has not counted.
const MOST_GENERATIONS: u64 = 1 << 48;
/// More than any quorum; a record must stay small.
const MOST_VOTES: usize = 320;
/// Names of voters in bytes; longer ones are told apart by a hash.
const LONGEST_NAME: usize = 64;

impl Record {
    /// What stands where nobody has written yet.
    pub(crate) fn fresh(generation: Generation, now: Timestamp) -> Self {
        Self {
            generation,
            decider: 0,
            state: State::Closed,
            since: now,
            reason: None,
            open_until: Timestamp::ZERO,
            cooldown: Duration::ZERO,
            openings: 0,
            opened_by_round: false,
            round: None,
            standing: None,
            held: Vec::new(),
            votes: Vec::new(),
        }
    }

    /// The same, open until then, as an older library left it.
    pub(super) fn opened(self, until: Timestamp, now: Timestamp) -> Self {
        Self {
            state: State::Open,
            reason: Some(TransitionReason::Tripped),
            open_until: until,
            cooldown: until.since(now),
            openings: 1,
            ..self
        }
    }

    /// When an open circuit, or an override, is over; `None` where nothing ends by time.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        let open = (self.state == State::Open).then_some(self.open_until);
        self.standing.as_ref().map(|standing| standing.until).or(open)
    }

    /// Tells whether losing the record would let calls through that must not go, or the reverse.
    pub(crate) fn matters(&self, now: Timestamp) -> bool {
        match &self.standing {
            Some(standing) => standing.until > now,
            None => self.state == State::HalfOpen || self.state == State::Open && self.open_until > now,
        }
    }

    /// How long a store must keep it: a day after the last write, and longer while something in it is not over.
    pub(crate) fn ttl(&self, now: Timestamp) -> Duration {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let left = self.until().map_or(Duration::ZERO, |until| until.since(now));
        (left + DAY).max(self.cooldown.saturating_mul(10)).min(DAY * 3_650)
    }

    /// The failures it holds, for people who look into a store.
    pub(crate) fn failures(&self) -> u32 {
        let failed = |held: &Held| {
            held.seen.runs().iter().filter(|run| run.failed).fold(0_u64, |sum, run| sum.saturating_add(run.count))
        };
        u32::try_from(self.held.iter().map(failed).max().unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// Tells whether there is more to it than its headline: evidence that is still judged, votes that still count.
    pub(crate) fn has_live_evidence(&self) -> bool {
        self.state == State::Closed && !(self.held.is_empty() && self.votes.is_empty())
    }

    /// What the others must know at once: all but evidence and votes.
    pub(crate) fn headline(&self) -> Self {
        Self { held: Vec::new(), votes: Vec::new(), ..self.clone() }
    }

    /// Tells whether it is the same generation, by more than its number. Not by when it began: of the first, which nobody
    /// began, everybody has an idea of his own.
    pub(super) fn is_same_generation(&self, other: &Self) -> bool {
        let what = |record: &Self| (record.generation, record.decider, record.state);
        what(self) == what(other)
    }

    pub(super) fn held(&self, fingerprint: u64) -> Option<&Held> {
        self.held.iter().find(|held| held.fingerprint == fingerprint)
    }

    /// The place for evidence of a rule; of three rules the one that was touched last gives way.
    pub(super) fn held_mut(&mut self, fingerprint: u64, seen: impl FnOnce() -> Seen, now: Timestamp) -> &mut Held {
        let at = match self.held.iter().position(|held| held.fingerprint == fingerprint) {
            Some(at) => at,
            None => {
                if self.held.len() >= 2 {
                    self.drop_oldest_held();
                }
                self.held.push(Held { fingerprint, touched: now, unjudged: false, seen: seen() });
                self.held.len() - 1
            }
        };
        let held = &mut self.held[at];
        held.touched = held.touched.max(now);
        held
    }

    /// Makes it small enough for every store. Evidence gives way, first that of the rule that was touched last.
    pub(super) fn fit(&mut self) {
        /// No store need take more than 64 KiB.
        const MOST: usize = 63 * 1_024;
        /// So much of evidence leaves room for the most of everything else.
        const SURELY: usize = 16 * 1_024;
        let bytes = |record: &Self| record.held.iter().map(|held| held.seen.bytes()).sum::<usize>();
        if bytes(self) <= SURELY {
            return;
        }
        let rest = Self { held: Vec::new(), ..self.clone() }.save().len();
        while bytes(self) + rest > MOST && self.held.len() > 1 {
            self.drop_oldest_held();
        }
        if let Some(held) = self.held.first_mut() {
            held.seen.shrink(MOST.saturating_sub(rest));
        }
    }

    fn drop_oldest_held(&mut self) {
        let oldest = self.held.iter().enumerate().min_by_key(|(_, held)| held.touched);
        let oldest = oldest.map_or(0, |(at, _)| at);
        self.held.remove(oldest);
    }

    /// Takes in a vote, in any order and any number of times.
    pub(super) fn vote(&mut self, vote: &Vote, now: Timestamp) {
        match self.votes.iter_mut().find(|known| known.voter == vote.voter) {
            Some(known) if known.cast >= vote.cast => {}
            Some(known) => *known = vote.clone(),
            None => self.votes.push(vote.clone()),
        }
        // What was taken back must outlive the vote it takes back, or a copy of that would count again.
        self.votes.retain(|vote| vote.until > now || now.since(vote.cast) < Duration::from_secs(60));
        self.votes.sort_by_key(|vote| std::cmp::Reverse(vote.cast));
        self.votes.truncate(MOST_VOTES);
        self.votes.sort_by(|a, b| a.voter.cmp(&b.voter));
    }

    pub(super) fn live_votes(&self, now: Timestamp) -> u32 {
        let live = self.votes.iter().filter(|vote| vote.until > now && vote.until > vote.cast).count();
        u32::try_from(live).unwrap_or(u32::MAX)
    }

    /// The same record by another clock, where `here` is what `there` is on this one.
    pub(crate) fn by_clock(&self, here: Timestamp, there: Timestamp) -> Self {
        let f = |at| translate(at, here, there);
        Self {
            since: f(self.since),
            open_until: f(self.open_until),
            round: self.round.as_ref().map(|round| round.at_times(f)),
            standing: self.standing.as_ref().map(|standing| Standing { until: f(standing.until), ..standing.clone() }),
            held: self
                .held
                .iter()
                .map(|held| Held { touched: f(held.touched), seen: held.seen.at_times(f), ..*held })
                .collect(),
            votes: self
                .votes
                .iter()
                .map(|vote| Vote { cast: f(vote.cast), until: f(vote.until), ..vote.clone() })
                .collect(),
            ..self.clone()
        }
    }

    /// Writes it as bytes: magic, format, fields, checksum.
    pub(crate) fn save(&self) -> Vec<u8> {
        let mut out = Writer::bare(MAGIC);
        out.u8(FORMAT);
        out.u8(match self.state {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
        });
        out.u64(self.generation.get());
        out.u64(self.decider);
        out.u64(self.since.as_nanos());
        TransitionReason::save(self.reason, &mut out);
        out.u64(self.open_until.as_nanos());
        out.u64(nanos(self.cooldown));
        out.u32(self.openings);
        out.u8(u8::from(self.opened_by_round));
        out.u8(u8::from(self.round.is_some()));
        if let Some(round) = &self.round {
            round.save(&mut out);
        }
        out.u8(u8::from(self.standing.is_some()));
        if let Some(Standing { order, until }) = &self.standing {
            order.save(&mut out);
            out.u64(until.as_nanos());
        }
        out.u8(u8::try_from(self.held.len()).unwrap_or(0));
        for held in &self.held {
            out.u64(held.fingerprint);
            out.u64(held.touched.as_nanos());
            out.u8(u8::from(held.unjudged));
            held.seen.save(&mut out);
        }
        out.u32(u32::try_from(self.votes.len()).unwrap_or(0));
        self.votes.iter().for_each(|vote| vote.save(&mut out));
        let mut bytes = out.finish();
        let checksum = Sha256::digest(&bytes);
        bytes.extend(&checksum[..CHECKSUM]);
        bytes
    }

    pub(crate) fn load(bytes: &[u8]) -> Result<Self, Unreadable> {
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| Unreadable::Corrupt("no record at all".to_owned()))?;
        let Some((body, checksum)) = bytes.split_last_chunk::<CHECKSUM>() else {
            return Err(Unreadable::Corrupt("cut short".to_owned()));
        };
        if Sha256::digest(body)[..CHECKSUM] != checksum[..] {
            return Err(Unreadable::Corrupt("the checksum does not fit".to_owned()));
        }
        // The checksum is the same in every format, so that damage is told from progress.
        if let Some(format) = rest.first().filter(|format| **format > FORMAT) {
            return Err(Unreadable::Newer(*format));
        }
        let record = body.get(MAGIC.len() + 1..).unwrap_or_default();
        let record = Self::parse(record).map_err(|error| Unreadable::Corrupt(error.to_string()))?;
        if record.generation.get() > MOST_GENERATIONS {
            return Err(Unreadable::Corrupt(format!("generation {} cannot be", record.generation)));
        }
        Ok(record)
    }

    fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut from = Reader::bare(bytes);
        let state = match from.u8()? {
            0 => State::Closed,
            1 => State::Open,
            2 => State::HalfOpen,
            other => return Err(LoadError::new(format!("state {other}"))),
        };
        let generation = Generation::new(from.u64()?);
        let (decider, since) = (from.u64()?, Timestamp::from_nanos(from.u64()?));
        let reason = TransitionReason::load(&mut from)?;
        let open_until = Timestamp::from_nanos(from.u64()?);
        let cooldown = Duration::from_nanos(from.u64()?);
        let (openings, opened_by_round) = (from.u32()?, from.u8()? != 0);
        let round = if from.u8()? == 0 { None } else { Some(Round::load(&mut from)?) };
        let standing = if from.u8()? == 0 {
            None
        } else {
            Some(Standing { order: Override::load(&mut from)?, until: Timestamp::from_nanos(from.u64()?) })
        };
        let mut held = Vec::new();
        for _ in 0..from.u8()? {
            let (fingerprint, touched) = (from.u64()?, Timestamp::from_nanos(from.u64()?));
            let unjudged = from.u8()? != 0;
            held.push(Held { fingerprint, touched, unjudged, seen: Seen::load(&mut from)? });
        }
        let mut votes = Vec::new();
        for _ in 0..from.count(20)? {
            votes.push(Vote::load(&mut from)?);
        }
        from.end()?;
        Ok(Self {
            generation,
            decider,
            state,
            since,
            reason,
            open_until,
            cooldown,
            openings,
            opened_by_round,
            round,
            standing,
            held,
            votes,
        })
    }
}

impl Vote {
    /// Has it cast not before `earliest`; it stands for as long.
    pub(super) fn delay(&mut self, earliest: Timestamp) {
        let later = earliest.since(self.cast);
        if self.until > self.cast {
            self.until = self.until + later;
        }
        self.cast = self.cast + later;
    }

    pub(super) fn save(&self, out: &mut Writer) {
        out.bytes(self.voter.as_bytes());
        out.u64(self.cast.as_nanos());
        out.u64(self.until.as_nanos());
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let voter = std::str::from_utf8(from.bytes()?).map_err(|_| LoadError::new("a voter that is no text"))?;
        if voter.len() > LONGEST_NAME {
            return Err(LoadError::new("a voter with too long a name"));
        }
        let (cast, until) = (Timestamp::from_nanos(from.u64()?), Timestamp::from_nanos(from.u64()?));
        Ok(Self { voter: voter.into(), cast, until })
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

/// The name under which an instance votes.
pub(super) fn voter(id: Arc<str>) -> Arc<str> {
    if id.len() <= LONGEST_NAME {
        return id;
    }
    let hash = Sha256::digest(id.as_bytes());
    let hash = hash.iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    let begin = id.floor_char_boundary(LONGEST_NAME - 17);
    format!("{}-{hash:016x}", &id[..begin]).into()
}

/// A time of one clock on another one, where `here` on the first is `there` on the second.
pub(crate) fn translate(at: Timestamp, here: Timestamp, there: Timestamp) -> Timestamp {
    if at == Timestamp::MAX {
        at
    } else if at >= here {
        there + at.since(here)
    } else {
        Timestamp::from_nanos(there.as_nanos().saturating_sub(nanos(here.since(at))))
    }
}
