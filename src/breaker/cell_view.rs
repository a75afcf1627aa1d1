//! A breaker in its cell, as it is seen without its lock.

#[cfg(feature = "fleet")]
use std::time::Duration;

use super::cell::CellCounts;
use super::settings::Settings;
use crate::circuit::detector::Threshold;
use crate::circuit::{Detector, Generation, OverrideKind, PartTally, ProbeTally, State};
use crate::guard::guarded;
#[cfg(feature = "fleet")]
use crate::replica::FleetStatus;
use crate::time::Timestamp;

/// A breaker in its cell, as it is seen without its lock, and without changing anything.
pub(super) trait Place: Sync + std::fmt::Debug {
    fn counts(&self) -> &CellCounts;

    fn sight(&self) -> Sight;

    /// What only the lock shows; `None` where the cell has another generation meanwhile.
    fn inner_sight(&self, generation: Generation) -> Option<InnerSight>;

    /// How a breaker that shares its state stands with its fleet. Takes the lock.
    #[cfg(feature = "fleet")]
    fn fleet_sight(&self) -> Option<FleetSight>;
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

/// How breakers stand with their fleets.
#[cfg(feature = "fleet")]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct FleetSight {
    /// How long ago the store was last heard of: of several breakers, by the one that it was longest ago for.
    pub(crate) heard: Option<Duration>,
    pub(crate) waiting: u64,
    /// Where the fleet votes.
    pub(crate) votes: Option<u64>,
    /// How many of them judge by another rule than some of their fleet.
    pub(crate) drifting: u64,
    /// How many of them something is wrong with in the store alone.
    pub(crate) troubled: u64,
}

#[cfg(feature = "fleet")]
impl FleetSight {
    pub(super) fn of(status: &FleetStatus) -> Self {
        Self {
            heard: status.heard,
            waiting: status.waiting,
            votes: status.votes.map(u64::from),
            drifting: status.drifts.into(),
            troubled: status.trouble.is_some().into(),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.heard = self.heard.max(other.heard);
        self.waiting += other.waiting;
        self.votes = self.votes.zip(other.votes).map(|(a, b)| a + b).or(self.votes).or(other.votes);
        self.drifting += other.drifting;
        self.troubled += other.troubled;
    }
}

/// What a breaker is, which never changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct About {
    pub(super) rule: String,
    /// `local`, or how the fleet decides.
    pub(super) mode: &'static str,
    /// The parts of the rule, which have counted nothing.
    pub(super) parts: Vec<PartTally>,
    /// What each part opens by, where it says so as data.
    pub(super) thresholds: Vec<Option<Threshold>>,
}

impl About {
    pub(super) fn of(detector: &dyn Detector, settings: &Settings) -> Self {
        let mut parts = Vec::new();
        guarded(|| detector.tallies(Timestamp::ZERO, &mut parts));
        let mut thresholds = guarded(|| detector.shape().thresholds()).unwrap_or_default();
        // A detector of a user's may tell of its parts otherwise than of its shape.
        if thresholds.len() != parts.len() {
            thresholds = vec![None; parts.len()];
        }
        let rule = guarded(|| detector.rule()).unwrap_or_default();
        Self { rule, mode: settings.mode(), parts, thresholds }
    }
}
