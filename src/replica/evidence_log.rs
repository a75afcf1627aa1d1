//! What a record holds for the detectors of the fleet.

use std::collections::VecDeque;

use crate::circuit::{Bounds, Detector, Evidence, Horizon, LoadError, Reader, Run, Writer};
use crate::time::Timestamp;

/// Runs in a record or a batch, at most; beyond that their times become coarser.
pub(super) const MAX_RUNS: usize = 256;
/// Calls that wait for an instance that can show them to their detector, at most.
const MAX_QUEUED_RUNS: usize = 1_024;
/// Bytes of a detector of a user's own that a record takes.
const MAX_STATE_BYTES: usize = 32 * 1_024;

/// What all detectors of one rule have seen together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RuleEvidence {
    /// The rule, as [`fingerprint`] names it.
    pub(super) rule: u64,
    /// When a batch last added to it.
    pub(super) touched: Timestamp,
    /// An instance of another rule has added calls, which it could not evaluate.
    pub(super) unevaluated: bool,
    pub(super) calls: CallLog,
}

/// Calls that have ended: as a multiset by time where the detector looks back to some horizon; in order of arrival where it
/// does not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CallLog {
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

impl CallLog {
    pub(super) fn new(horizon: Horizon) -> Self {
        if horizon.is_bounded() { Self::Merged { horizon, evidence: Evidence::default() } } else { Self::default() }
    }

    /// One of the same kind that holds nothing.
    pub(super) fn emptied(&self) -> Self {
        if let Self::Merged { horizon, .. } = self { Self::new(*horizon) } else { Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Merged { evidence, .. } => evidence.is_empty(),
            Self::Ordered { state, queue } => state.is_none() && queue.is_empty(),
        }
    }

    /// How many calls it holds that are no part of a detector's bytes.
    pub(super) fn count(&self) -> u64 {
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
                if queue.len() > MAX_QUEUED_RUNS {
                    return queue.pop_front().map_or(0, |run| run.count);
                }
            }
        }
        0
    }

    /// Tells whether it must be trimmed before it holds more.
    pub(super) fn is_crowded(&self) -> bool {
        matches!(self, Self::Merged { evidence, .. } if evidence.len() > 4 * MAX_RUNS)
    }

    /// Forgets what lies behind the horizon.
    pub(super) fn trim(&mut self, now: Timestamp) {
        if let Self::Merged { horizon, evidence } = self {
            evidence.trim(*horizon, now);
            evidence.coarsen(MAX_RUNS);
        }
    }

    /// Shows the detector everything, from the beginning.
    pub(super) fn replay(&self, detector: &mut dyn Detector) {
        self.begin(detector).for_each(|run| run.show(detector));
    }

    /// Has the detector begin anew, with its own bytes if there are any; returns the calls that it must be shown then, in
    /// their order and as many as it can tell apart.
    pub(super) fn begin(&self, detector: &mut dyn Detector) -> Box<dyn Iterator<Item = Run> + '_> {
        detector.reset();
        let horizon = detector.horizon();
        if let Self::Ordered { state: Some(state), .. } = self {
            // Bytes of another release of the same detector: it begins anew.
            detector.load(state).ok();
        }
        match self {
            Self::Merged { evidence, .. } => Box::new(evidence.in_order(horizon)),
            Self::Ordered { queue, .. } => {
                let runs = queue.iter().copied();
                Box::new(Bounds::of(runs.clone(), horizon).hold(runs))
            }
        }
    }

    /// How many bytes it takes in a record, roughly and no more.
    pub(super) fn bytes(&self) -> usize {
        const HEAD: usize = 64;
        HEAD + match self {
            Self::Merged { evidence, .. } => evidence.len() * Run::BYTES,
            Self::Ordered { state, queue } => state.as_ref().map_or(0, Vec::len) + queue.len() * Run::BYTES,
        }
    }

    /// Forgets the oldest calls that wait until it takes no more than `most` bytes.
    pub(super) fn shrink(&mut self, most: usize) {
        let over = self.bytes().saturating_sub(most).div_ceil(Run::BYTES);
        if let Self::Ordered { queue, .. } = self {
            queue.drain(..over.min(queue.len()));
        }
    }

    /// The detector has seen all that waited; these are its bytes now.
    pub(super) fn put_state(&mut self, saved: Vec<u8>) {
        if let Self::Ordered { state, queue } = self {
            queue.clear();
            *state = Some(saved).filter(|bytes| bytes.len() <= MAX_STATE_BYTES);
        }
    }

    /// The same by another clock.
    pub(super) fn move_times(&mut self, f: impl Fn(Timestamp) -> Timestamp) {
        match self {
            Self::Merged { evidence, .. } => *evidence = evidence.at_times(f),
            Self::Ordered { queue, .. } => queue.iter_mut().for_each(|run| run.ended = f(run.ended)),
        }
    }

    pub(super) fn save(&self, out: &mut Writer) {
        out.flag(matches!(self, Self::Ordered { .. }));
        match self {
            Self::Merged { horizon, evidence } => {
                horizon.save(out);
                out.bytes(&evidence.save());
            }
            Self::Ordered { state, queue } => {
                out.flag(state.is_some());
                out.bytes(state.as_deref().unwrap_or_default());
                out.list(queue.iter(), |run, out| run.save(out));
            }
        }
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        match from.u8()? {
            0 => Ok(Self::Merged { horizon: Horizon::load(from)?, evidence: Evidence::load(from.bytes()?)? }),
            1 => {
                let has_state = from.flag()?;
                let state = Some(from.bytes()?.to_vec()).filter(|_| has_state);
                Ok(Self::Ordered { state, queue: from.list(Run::BYTES, Run::load)? })
            }
            other => Err(LoadError::new(format!("evidence of kind {other}"))),
        }
    }
}

impl Default for CallLog {
    fn default() -> Self {
        Self::Ordered { state: None, queue: VecDeque::new() }
    }
}

impl RuleEvidence {
    pub(super) fn save(&self, out: &mut Writer) {
        out.u64(self.rule);
        out.time(self.touched);
        out.flag(self.unevaluated);
        self.calls.save(out);
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let (rule, touched, unevaluated) = (from.u64()?, from.time()?, from.flag()?);
        Ok(Self { rule, touched, unevaluated, calls: CallLog::load(from)? })
    }
}

/// Tells the evidence of one rule from that of another: FNV-1a, 64 bits. Rules are few, and a collision only mixes the
/// evidence of two of them.
pub(super) fn fingerprint(rule: &str) -> u64 {
    rule.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
