//! What an instance has to tell the others.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::pooled::Telling;
use crate::circuit::{Generation, Hold, Lease, LoadError, Outcome, Override, Reader, Writer};
use crate::time::Timestamp;

/// What an instance has seen since it last told the others. Its bytes may be taken in by an instance of another release, so
/// they begin with a format of their own. All times are the store's.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Batch {
    pub(super) generation: Generation,
    /// Calls of the closed state.
    pub(super) telling: Option<Telling>,
    pub(super) probes: Vec<Probed>,
    pub(super) vote: Option<Vote>,
}

/// What became of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probed {
    pub(super) lease: u32,
    pub(super) news: ProbeNews,
    /// When it happened.
    pub(super) at: Timestamp,
    pub(super) retry_after: Option<Duration>,
    /// How many of the rule's limits of slowness the call had passed by then.
    pub(super) slow: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeNews {
    /// A call has used it: its deadline begins.
    Began,
    /// The dependency has answered, the rest of the response is on its way; the probe has not ended.
    Accepted,
    /// The lease is given back, and no call was made with it.
    Ended,
    Succeeded,
    Failed,
    /// The call has ended, and how says nothing of the dependency.
    Ignored,
    /// The call was given up.
    GivenUp,
}

impl ProbeNews {
    /// What there is to tell of a lease that is given back with an outcome, where that shows whether the dependency has
    /// failed.
    pub(super) const fn of(lease: &Lease, outcome: Outcome, failed: Option<bool>) -> Self {
        match (failed, lease.held, outcome) {
            (Some(true), ..) => Self::Failed,
            (Some(false), ..) => Self::Succeeded,
            (None, Hold::Running, Outcome::Cancelled) => Self::GivenUp,
            (None, Hold::Running, _) => Self::Ignored,
            (None, Hold::Reserved | Hold::InHand, _) => Self::Ended,
        }
    }
}

impl Probed {
    pub(super) const fn new(lease: u32, news: ProbeNews, at: Timestamp) -> Self {
        Self { lease, news, at, retry_after: None, slow: 0 }
    }

    /// How many bytes one takes.
    const BYTES: usize = 21;

    fn save(&self, out: &mut Writer) {
        out.u32(self.lease);
        out.u8(self.news as u8 | self.slow.min(15) << 4);
        out.time(self.at);
        out.duration(self.retry_after);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let (lease, news) = (from.u32()?, from.u8()?);
        let slow = news >> 4;
        let news = match news & 15 {
            0 => ProbeNews::Began,
            1 => ProbeNews::Accepted,
            2 => ProbeNews::Ended,
            3 => ProbeNews::Succeeded,
            4 => ProbeNews::Failed,
            5 => ProbeNews::Ignored,
            6 => ProbeNews::GivenUp,
            other => return Err(LoadError::new(format!("news of a probe of kind {other}"))),
        };
        Ok(Self { lease, news, at: from.time()?, retry_after: from.duration()?, slow })
    }
}

/// What cannot wait in the store's queue, because the instance that gives it must know what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    Trip,
    Reset,
    Override(Override),
    Resume,
    /// An override is over, or a round hopeless.
    Look,
    /// The fleet has been closed in this generation, and healthy, for so long that earlier openings are forgotten.
    Recovered(Generation),
    /// This instance wants a place among the probes; even one that another instance has and does not use?
    Lease {
        may_want: bool,
    },
}

const FORMAT: u8 = 2;

impl Batch {
    pub(super) fn save(&self) -> Vec<u8> {
        let mut out = Writer::with_head(&[FORMAT]);
        out.u64(self.generation.get());
        out.option(self.telling.as_ref(), Telling::save);
        out.list(self.probes.iter(), Probed::save);
        out.option(self.vote.as_ref(), Vote::save);
        out.finish()
    }

    pub(super) fn load(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut from = Reader::without_head(bytes);
        let format = from.u8()?;
        if format != FORMAT {
            return Err(LoadError::new(format!("a batch of format {format}, this release knows {FORMAT}")));
        }
        let generation = Generation::new(from.u64()?);
        let telling = from.option(Telling::load)?;
        let (probes, vote) = (from.list(Probed::BYTES, Probed::load)?, from.option(|from| Vote::load(from, false))?);
        from.end()?;
        Ok(Self { generation, telling, probes, vote })
    }
}

/// One instance's word that its own calls fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(super) voter: Arc<str>,
    pub(super) cast: Timestamp,
    /// Not later than `cast` when it is taken back.
    pub(super) until: Timestamp,
    /// They do not fail, but are slow.
    pub(super) by_slowness: bool,
}

/// Who votes, and how many votes open the circuit for all.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Voter {
    pub(super) name: Arc<str>,
    pub(super) quorum: u32,
    /// No user has given the name: it ends with a number that is drawn.
    is_drawn: bool,
}

/// Names of voters in bytes; longer ones are told apart by a hash.
const MAX_NAME_BYTES: usize = 64;

impl Voter {
    /// The voter that goes by `id`.
    pub(crate) fn new(id: Arc<str>, quorum: u32) -> Self {
        let is_drawn = false;
        if id.len() <= MAX_NAME_BYTES {
            return Self { name: id, quorum, is_drawn };
        }
        let hash = Sha256::digest(id.as_bytes());
        let hash = hash.iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        let begin = id.floor_char_boundary(MAX_NAME_BYTES - 17);
        Self { name: format!("{}-{hash:016x}", &id[..begin]).into(), quorum, is_drawn }
    }

    /// The same, where `id` ends with a hyphen and sixteen digits of a number that was drawn.
    pub(crate) fn drawn(id: Arc<str>, quorum: u32) -> Self {
        Self { is_drawn: true, ..Self::new(id, quorum) }
    }

    /// Goes by another number, unless a user has given the name.
    pub(super) fn renew(&mut self, number: u64) {
        if self.is_drawn
            && let Some((begin, _)) = self.name.rsplit_once('-')
        {
            self.name = format!("{begin}-{number:016x}").into();
        }
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
        out.time(self.cast);
        out.time(self.until);
        out.flag(self.by_slowness);
    }

    /// Reads what [`save`](Self::save) wrote; votes of release 0.1 do not say what they are for.
    pub(super) fn load(from: &mut Reader<'_>, is_of_0_1: bool) -> Result<Self, LoadError> {
        let voter = std::str::from_utf8(from.bytes()?).map_err(|_| LoadError::new("a voter that is no text"))?;
        if voter.len() > MAX_NAME_BYTES {
            return Err(LoadError::new("a voter with too long a name"));
        }
        let (cast, until) = (from.time()?, from.time()?);
        Ok(Self { voter: voter.into(), cast, until, by_slowness: !is_of_0_1 && from.flag()? })
    }
}
