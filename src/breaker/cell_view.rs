//! A breaker in its cell, as it is seen without its lock.

use super::cell::CellCounts;
use super::settings::Settings;
use crate::circuit::{Detector, Generation, OverrideKind, PartTally, ProbeTally, State};
use crate::guard::guarded;
use crate::time::Timestamp;

/// A breaker in its cell, as it is seen without its lock, and without changing anything.
pub(super) trait Place: Sync + std::fmt::Debug {
    fn counts(&self) -> &CellCounts;

    fn sight(&self) -> Sight;

    /// What only the lock shows; `None` where the cell has another generation meanwhile.
    fn inner_sight(&self, generation: Generation) -> Option<InnerSight>;
}

/// What the word of a breaker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) generation: Generation,
    pub(super) state: State,
    pub(super) overridden: Option<OverrideKind>,
    /// One more success would change nothing: nothing bad is in its window.
    pub(super) is_clean: bool,
}

/// What only the lock shows.
#[derive(Clone, Debug)]
pub(super) struct InnerSight {
    pub(super) parts: Vec<PartTally>,
    pub(super) probes: Option<ProbeTally>,
}

/// What a breaker is, which never changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    pub(super) rule: String,
    /// `local`, or how the fleet decides.
    pub(super) mode: &'static str,
    /// The parts of the rule, which have counted nothing.
    pub(super) parts: Vec<PartTally>,
}

impl About {
    pub(super) fn of(detector: &dyn Detector, settings: &Settings) -> Self {
        let mut parts = Vec::new();
        guarded(|| detector.tallies(Timestamp::ZERO, &mut parts));
        Self { rule: guarded(|| detector.rule()).unwrap_or_default(), mode: settings.mode(), parts }
    }
}
