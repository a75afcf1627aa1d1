//! What an instance has to tell the others.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::evidence_log::CallLog;
use crate::circuit::{Generation, LoadError, Override, Reader, Writer};
use crate::time::Timestamp;

/// What an instance has seen since it last told the others. Its bytes may be taken in by an instance of another release, so
/// they begin with a format of their own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Batch {
    pub(super) generation: Generation,
    pub(super) calls: Option<ToldCalls>,
    pub(super) probes: Vec<Probed>,
    pub(super) vote: Option<Vote>,
}

/// Calls of the closed state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ToldCalls {
    pub(super) rule: u64,
    pub(super) log: CallLog,
    /// When the dependency asked to be called again, if a failure said so.
    pub(super) retry_after: Option<Duration>,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probed {
    pub(super) lease: u32,
    /// The dependency has answered, the rest of the response is on its way; the probe has not ended.
    pub(super) accepted: bool,
    /// `None`: it says nothing, or the lease was never used.
    pub(super) failed: Option<bool>,
    pub(super) retry_after: Option<Duration>,
}

impl Probed {
    pub(super) const fn accepted(lease: u32) -> Self {
        Self { lease, accepted: true, failed: None, retry_after: None }
    }

    pub(super) const fn ended(lease: u32, failed: Option<bool>, retry_after: Option<Duration>) -> Self {
        Self { lease, accepted: false, failed, retry_after }
    }

    /// How many bytes one takes.
    const BYTES: usize = 13;

    fn save(&self, out: &mut Writer) {
        out.u32(self.lease);
        out.u8(match (self.accepted, self.failed) {
            (false, None) => 0,
            (false, Some(false)) => 1,
            (false, Some(true)) => 2,
            (true, _) => 3,
        });
        out.duration(self.retry_after);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let (lease, end) = (from.u32()?, from.u8()?);
        let failed = [None, Some(false), Some(true)].get(usize::from(end)).copied().flatten();
        Ok(Self { lease, accepted: end == 3, failed, retry_after: from.duration()? })
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
    /// A call asks for a place among the probes.
    Lease,
}

const FORMAT: u8 = 1;

impl Batch {
    pub(super) fn save(&self) -> Vec<u8> {
        let mut out = Writer::with_head(&[FORMAT]);
        out.u64(self.generation.get());
        out.option(self.calls.as_ref(), |calls, out| {
            out.u64(calls.rule);
            out.duration(calls.retry_after);
            calls.log.save(out);
        });
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
        let calls = from.option(|from| {
            let (rule, retry_after) = (from.u64()?, from.duration()?);
            Ok(ToldCalls { rule, retry_after, log: CallLog::load(from)? })
        })?;
        let (probes, vote) = (from.list(Probed::BYTES, Probed::load)?, from.option(Vote::load)?);
        from.end()?;
        Ok(Self { generation, calls, probes, vote })
    }

    /// The same by another clock.
    pub(super) fn move_times(&mut self, f: impl Fn(Timestamp) -> Timestamp) {
        self.calls.iter_mut().for_each(|calls| calls.log.move_times(&f));
        self.vote.iter_mut().for_each(|vote| (vote.cast, vote.until) = (f(vote.cast), f(vote.until)));
    }
}

/// One instance's word that its own calls fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(super) voter: Arc<str>,
    pub(super) cast: Timestamp,
    /// Not later than `cast` when it is taken back.
    pub(super) until: Timestamp,
}

/// Who votes, and how many votes open the circuit for all.
#[derive(Clone, Debug)]
pub(crate) struct Voter {
    pub(super) name: Arc<str>,
    pub(super) quorum: u32,
}

/// Names of voters in bytes; longer ones are told apart by a hash.
const MAX_NAME_BYTES: usize = 64;

impl Voter {
    /// The voter that goes by `id`.
    pub(crate) fn new(id: Arc<str>, quorum: u32) -> Self {
        if id.len() <= MAX_NAME_BYTES {
            return Self { name: id, quorum };
        }
        let hash = Sha256::digest(id.as_bytes());
        let hash = hash.iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
        let begin = id.floor_char_boundary(MAX_NAME_BYTES - 17);
        Self { name: format!("{}-{hash:016x}", &id[..begin]).into(), quorum }
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
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let voter = std::str::from_utf8(from.bytes()?).map_err(|_| LoadError::new("a voter that is no text"))?;
        if voter.len() > MAX_NAME_BYTES {
            return Err(LoadError::new("a voter with too long a name"));
        }
        Ok(Self { voter: voter.into(), cast: from.time()?, until: from.time()? })
    }
}
