//! What only tests want to know of a record.

use super::record::Record;
use crate::circuit::TransitionReason;
use crate::time::Timestamp;

impl Record {
    pub(crate) const fn began(&self) -> Timestamp {
        self.since
    }

    pub(crate) const fn why(&self) -> Option<TransitionReason> {
        self.reason
    }

    /// Tells whether an override stands.
    pub(crate) const fn is_held(&self) -> bool {
        self.standing.is_some()
    }

    pub(crate) fn lease_until(&self, lease: u32) -> Option<Timestamp> {
        self.round.as_ref()?.deadline_of(lease)
    }
}
