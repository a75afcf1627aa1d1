//! What an instance has to tell the others.

use std::sync::Arc;
use std::time::Duration;

use super::super::detector::LoadError;
use super::super::detector::bytes::{Reader, Writer};
use super::held::Seen;
use super::record::Vote;
use crate::circuit::{Generation, Override};
use crate::time::{Timestamp, nanos};

/// What an instance has seen since it last told the others. Its bytes may be taken in by an instance of another release, so
/// they begin with a format of their own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Batch {
    pub(super) generation: Generation,
    pub(super) calls: Option<Calls>,
    pub(super) probes: Vec<Probed>,
    pub(super) vote: Option<Vote>,
}

/// Calls of the closed state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Calls {
    pub(super) fingerprint: u64,
    pub(super) seen: Seen,
    /// When the dependency asked to be called again, if a failure said so.
    pub(super) retry_after: Option<Duration>,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::circuit) struct Probed {
    pub(super) lease: u32,
    /// The dependency has answered, the rest of the response is on its way; the probe has not ended.
    pub(super) accepted: bool,
    /// `None`: it says nothing, or the lease was never used.
    pub(super) failed: Option<bool>,
    pub(super) retry_after: Option<Duration>,
}

impl Probed {
    pub(in crate::circuit) const fn accepted(lease: u32) -> Self {
        Self { lease, accepted: true, failed: None, retry_after: None }
    }

    pub(in crate::circuit) const fn ended(lease: u32, failed: Option<bool>, retry_after: Option<Duration>) -> Self {
        Self { lease, accepted: false, failed, retry_after }
    }
}

/// What cannot wait in a queue, because whoever gives it must know what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Order {
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
        let mut out = Writer::bare(&[FORMAT]);
        out.u64(self.generation.get());
        out.u8(u8::from(self.calls.is_some()));
        if let Some(calls) = &self.calls {
            out.u64(calls.fingerprint);
            save_wait(&mut out, calls.retry_after);
            calls.seen.save(&mut out);
        }
        out.u32(u32::try_from(self.probes.len()).unwrap_or(0));
        for probe in &self.probes {
            out.u32(probe.lease);
            out.u8(match (probe.accepted, probe.failed) {
                (false, None) => 0,
                (false, Some(false)) => 1,
                (false, Some(true)) => 2,
                (true, _) => 3,
            });
            save_wait(&mut out, probe.retry_after);
        }
        out.u8(u8::from(self.vote.is_some()));
        if let Some(vote) = &self.vote {
            vote.save(&mut out);
        }
        out.finish()
    }

    pub(super) fn load(bytes: &[u8]) -> Result<Self, LoadError> {
        let mut from = Reader::bare(bytes);
        let format = from.u8()?;
        if format != FORMAT {
            return Err(LoadError::new(format!("a batch of format {format}, this release knows {FORMAT}")));
        }
        let generation = Generation::new(from.u64()?);
        let calls = if from.u8()? == 0 {
            None
        } else {
            let (fingerprint, retry_after) = (from.u64()?, load_wait(&mut from)?);
            Some(Calls { fingerprint, retry_after, seen: Seen::load(&mut from)? })
        };
        let mut probes = Vec::new();
        for _ in 0..from.count(13)? {
            let lease = from.u32()?;
            let (accepted, failed) = match from.u8()? {
                1 => (false, Some(false)),
                2 => (false, Some(true)),
                end => (end == 3, None),
            };
            probes.push(Probed { lease, accepted, failed, retry_after: load_wait(&mut from)? });
        }
        let vote = if from.u8()? == 0 { None } else { Some(Vote::load(&mut from)?) };
        from.end()?;
        Ok(Self { generation, calls, probes, vote })
    }

    pub(super) fn at_times(&self, f: impl Fn(Timestamp) -> Timestamp) -> Self {
        let calls = self.calls.as_ref().map(|calls| Calls { seen: calls.seen.at_times(&f), ..calls.clone() });
        let vote = self.vote.as_ref().map(|vote| Vote {
            voter: Arc::clone(&vote.voter),
            cast: f(vote.cast),
            until: f(vote.until),
        });
        Self { calls, vote, ..self.clone() }
    }
}

fn save_wait(out: &mut Writer, wait: Option<Duration>) {
    out.u64(wait.map_or(u64::MAX, nanos));
}

fn load_wait(from: &mut Reader<'_>) -> Result<Option<Duration>, LoadError> {
    Ok(Some(from.u64()?).filter(|n| *n < u64::MAX).map(Duration::from_nanos))
}
