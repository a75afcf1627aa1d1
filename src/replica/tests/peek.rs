//! What only tests want to know of a replica and a record.

use std::time::Duration;

use crate::circuit::Hold;
use crate::replica::batch::Batch;
use crate::replica::pooled::{RuleEvidence, Telling};
use crate::replica::{Record, Replica};
use crate::store::BatchId;
use crate::time::Timestamp;

impl Record {
    /// Tells whether an override stands.
    pub(crate) fn is_held(&self) -> bool {
        self.machine.standing().is_some()
    }

    pub(crate) fn verdict_at(&self) -> Option<Timestamp> {
        self.verdict.map(|verdict| verdict.at)
    }

    /// How many instances' calls a verdict says that it rests on.
    pub(crate) fn verdict_heard(&self) -> u32 {
        self.verdict.map_or(0, |verdict| verdict.heard)
    }

    /// What clocks are said to be off by, by those who told something.
    pub(crate) fn clock_error(&self) -> Duration {
        self.evidence.iter().map(RuleEvidence::clock_error).max().unwrap_or_default()
    }

    pub(crate) fn lease_until(&self, lease: u32) -> Option<Timestamp> {
        let round = self.machine.history().round.as_ref()?;
        round.leases.iter().find(|known| known.id == lease).map(|known| known.deadline)
    }
}

impl Replica {
    pub(crate) fn last_record(&self) -> Option<&Record> {
        self.state.known.last_record.as_deref()
    }

    pub(crate) fn is_reachable(&self) -> bool {
        self.state.is_reachable()
    }

    pub(crate) fn votes(&self) -> bool {
        !self.state.is_pooled()
    }

    /// The store's time, as far as it is known here.
    pub(crate) fn store_time(&self, here: Timestamp) -> Timestamp {
        self.state.store_at(here)
    }

    /// The store's time as it is known here, if it is, and what that may be off by.
    pub(crate) fn store_clock(&self, here: Timestamp) -> Option<(Timestamp, Duration)> {
        self.state.own.clock.map(|clock| (clock.store_at(here), clock.error_at(here)))
    }

    /// The batch that the store has not accepted yet, with how many failures it tells.
    pub(crate) fn batch_calls(&self) -> Option<(BatchId, u64)> {
        let taken = self.state.outbox.batch.as_ref()?;
        Some((taken.id, calls(&taken.batch)))
    }

    /// The leases that this instance has in hand or in use.
    pub(crate) fn leases(&self) -> Vec<u32> {
        let fleets = |held: Hold| matches!(held, Hold::InHand | Hold::Reserved | Hold::Running);
        let leases = self.round().map_or(&[][..], |round| &round.leases);
        leases.iter().filter(|lease| fleets(lease.held)).map(|lease| lease.id).collect()
    }
}

/// How many failures a batch tells, by its bytes.
pub(crate) fn calls_in(batch: &[u8]) -> u64 {
    Batch::load(batch).map_or(0, |batch| calls(&batch))
}

fn calls(batch: &Batch) -> u64 {
    batch.telling.as_ref().map_or(0, Telling::failures)
}
