//! What a record holds for the detectors of the fleet.

use std::collections::VecDeque;

use super::super::detector::bytes::{Reader, Writer};
use super::super::detector::{Detector, LoadError};
use crate::circuit::{Evidence, Horizon, Run};
use crate::time::Timestamp;

/// Runs in a record or a batch, at most; beyond that their times become coarser.
pub(super) const MOST_RUNS: usize = 256;
/// Calls that wait for an instance that can show them to their detector, at most.
const MOST_QUEUED: usize = 1_024;
/// A run in bytes.
const RUN: usize = 25;
/// Bytes of a detector of a user's own that a record takes.
const MOST_STATE: usize = 32 * 1_024;

/// What all detectors of one rule have seen together.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    /// Which rule.
    pub(super) fingerprint: u64,
    /// When it was last added to.
    pub(super) touched: Timestamp,
    /// Something was added by an instance of another rule, which could not judge it.
    pub(super) unjudged: bool,
    pub(super) seen: Seen,
}

/// Calls seen: as a multiset by time where the detector looks back to some horizon; in order of arrival where it does not.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    Merged {
        horizon: Horizon,
        evidence: Evidence,
    },
    /// The detector's own bytes, and the calls that they do not contain yet.
    Ordered {
        state: Option<Vec<u8>>,
        queue: VecDeque<Run>,
    },
}

impl Seen {
    pub(super) fn new(horizon: Horizon) -> Self {
        if horizon.is_bounded() {
            Self::Merged { horizon, evidence: Evidence::default() }
        } else {
            Self::Ordered { state: None, queue: VecDeque::new() }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Merged { evidence, .. } => evidence.is_empty(),
            Self::Ordered { state, queue } => state.is_none() && queue.is_empty(),
        }
    }

    /// How many calls it holds that are no part of a detector's bytes.
    pub(super) fn calls(&self) -> u64 {
        match self {
            Self::Merged { evidence, .. } => evidence.calls(),
            Self::Ordered { queue, .. } => queue.iter().fold(0, |sum, run| sum.saturating_add(run.count)),
        }
    }

    pub(super) fn runs(&self) -> Vec<Run> {
        match self {
            Self::Merged { evidence, .. } => evidence.runs().collect(),
            Self::Ordered { queue, .. } => queue.iter().copied().collect(),
        }
    }

    /// Adds calls; returns how many had to be forgotten.
    pub(super) fn add(&mut self, run: Run) -> u64 {
        match self {
            Self::Merged { evidence, .. } => evidence.add(run),
            Self::Ordered { queue, .. } => {
                match queue.back_mut() {
                    Some(last) if (last.failed, last.took) == (run.failed, run.took) && !run.failed => {
                        last.count = last.count.saturating_add(run.count);
                        last.ended = run.ended;
                    }
                    _ => queue.push_back(run),
                }
                if queue.len() > MOST_QUEUED {
                    return queue.pop_front().map_or(0, |run| run.count);
                }
            }
        }
        0
    }

    /// Tells whether it must be trimmed before it holds more.
    pub(super) fn is_crowded(&self) -> bool {
        matches!(self, Self::Merged { evidence, .. } if evidence.len() > 4 * MOST_RUNS)
    }

    /// Forgets what nobody looks at any more.
    pub(super) fn trim(&mut self, now: Timestamp) {
        if let Self::Merged { horizon, evidence } = self {
            evidence.trim(*horizon, now);
            evidence.coarsen(MOST_RUNS);
        }
    }

    /// Shows the detector everything, from the beginning.
    pub(super) fn replay(&self, detector: &mut dyn Detector) {
        match self {
            Self::Merged { evidence, .. } => evidence.replay(detector),
            Self::Ordered { state, queue } => {
                detector.reset();
                if let Some(state) = state {
                    // Bytes of another release of the same detector: it begins anew.
                    detector.load(state).ok();
                }
                queue.iter().for_each(|run| run.show(detector));
            }
        }
    }

    /// How many bytes it takes in a record, roughly and no more.
    pub(super) fn bytes(&self) -> usize {
        const HEAD: usize = 64;
        HEAD + match self {
            Self::Merged { evidence, .. } => evidence.len() * RUN,
            Self::Ordered { state, queue } => state.as_ref().map_or(0, Vec::len) + queue.len() * RUN,
        }
    }

    /// Forgets the oldest calls that wait until it takes no more than `most` bytes.
    pub(super) fn shrink(&mut self, most: usize) {
        let over = self.bytes().saturating_sub(most).div_ceil(RUN);
        if let Self::Ordered { queue, .. } = self {
            queue.drain(..over.min(queue.len()));
        }
    }

    /// The detector has seen all that waited; this is it now.
    pub(super) fn put_state(&mut self, detector: &dyn Detector) {
        if let Self::Ordered { state, queue } = self {
            queue.clear();
            *state = Some(detector.save()).filter(|bytes| bytes.len() <= MOST_STATE);
        }
    }

    pub(super) fn at_times(&self, f: impl Fn(Timestamp) -> Timestamp) -> Self {
        match self {
            Self::Merged { horizon, evidence } => Self::Merged { horizon: *horizon, evidence: evidence.at_times(f) },
            Self::Ordered { state, queue } => Self::Ordered {
                state: state.clone(),
                queue: queue.iter().map(|run| Run { ended: f(run.ended), ..*run }).collect(),
            },
        }
    }

    pub(super) fn save(&self, out: &mut Writer) {
        match self {
            Self::Merged { horizon, evidence } => {
                out.u8(0);
                horizon.save(out);
                out.bytes(&evidence.save());
            }
            Self::Ordered { state, queue } => {
                out.u8(1);
                out.u8(u8::from(state.is_some()));
                out.bytes(state.as_deref().unwrap_or_default());
                out.u32(u32::try_from(queue.len()).unwrap_or(0));
                for run in queue {
                    save_run(out, run);
                }
            }
        }
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        match from.u8()? {
            0 => {
                let horizon = Horizon::load(from)?;
                Ok(Self::Merged { horizon, evidence: Evidence::load(from.bytes()?)? })
            }
            1 => {
                let has_state = from.u8()? != 0;
                let state = Some(from.bytes()?.to_vec()).filter(|_| has_state);
                let queue = (0..from.count(RUN)?).map(|_| load_run(from)).collect::<Result<_, _>>()?;
                Ok(Self::Ordered { state, queue })
            }
            other => Err(LoadError::new(format!("evidence of kind {other}"))),
        }
    }
}

fn save_run(out: &mut Writer, run: &Run) {
    out.u64(run.ended.as_nanos());
    out.u8(u8::from(run.failed));
    out.u64(run.took.map_or(u64::MAX, crate::time::nanos));
    out.u64(run.count);
}

fn load_run(from: &mut Reader<'_>) -> Result<Run, LoadError> {
    let (ended, failed) = (Timestamp::from_nanos(from.u64()?), from.u8()? != 0);
    let took = Some(from.u64()?).filter(|n| *n < u64::MAX).map(std::time::Duration::from_nanos);
    Ok(Run { ended, failed, took, count: from.u64()? })
}
