//! A breaker as a scrape sees it: without its lock where it is healthy, and without a step.

use super::breaker_cell::{Body, BreakerCell};
use super::cell_counts::CellCounts;
#[cfg(feature = "fleet")]
use crate::breaker::cell_view::FleetSight;
use crate::breaker::cell_view::{InnerSight, Place, Sight};
use crate::circuit::{Generation, OverrideKind, State};
use crate::sync::lock;

impl BreakerCell {
    pub(in crate::breaker) const fn counts(&self) -> &CellCounts {
        &self.counts
    }
}

impl Place for BreakerCell {
    fn counts(&self) -> &CellCounts {
        &self.counts
    }

    fn sight(&self) -> Sight {
        let word = self.word();
        let state = if word.admits_none() {
            State::Open
        } else if word.must_ask() {
            State::HalfOpen
        } else {
            State::Closed
        };
        let overridden = if word.is_forced_open() {
            Some(OverrideKind::ForcedOpen)
        } else if word.is_unjudged() {
            Some(if word.records() { OverrideKind::DryRun } else { OverrideKind::Disabled })
        } else {
            None
        };
        Sight { generation: word.generation(), state, overridden, is_clean: state == State::Closed && word.is_clean() }
    }

    fn inner_sight(&self, generation: Generation) -> Option<InnerSight> {
        let slot = lock(&self.slot);
        let Body { control, settings, .. } = slot.body.as_ref()?;
        let machine = control.machine();
        (machine.generation() == generation).then(|| InnerSight {
            parts: control.tallies(settings.clock.now()),
            probes: machine.probes(&settings.rules),
        })
    }

    #[cfg(feature = "fleet")]
    fn fleet_sight(&self) -> Option<FleetSight> {
        let slot = lock(&self.slot);
        let Body { control, settings, .. } = slot.body.as_ref()?;
        Some(FleetSight::of(&control.shared()?.replica.status(settings.clock.now())))
    }
}
