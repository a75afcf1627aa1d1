//! Replicas to which nothing happens are alike, and share what they have in common.

use std::sync::Arc;

use super::copy_on_write::CopyOnWrite;
use super::record::Record;
use super::replica::Replica;
use super::state::{Pending, Protocol};
use crate::circuit::State;
use crate::time::Timestamp;

/// States that replicas have lately been found at rest in, the newest first.
#[derive(Debug, Default)]
pub(crate) struct RestingStates(Vec<Arc<Protocol>>);

/// So many are compared. Replicas are looked at together where they have joined together, or been read in one load.
const MAX_TEMPLATES: usize = 16;

impl RestingStates {
    /// One that is equal to this, or else this from now on.
    fn of(&mut self, protocol: &Protocol) -> Arc<Protocol> {
        let known = self.0.iter().position(|known| **known == *protocol);
        let template = known.map_or_else(|| Arc::new(protocol.clone()), |at| self.0.remove(at));
        self.0.insert(0, template.clone());
        self.0.truncate(MAX_TEMPLATES);
        template
    }
}

impl Replica {
    /// Gives up a protocol state of its own where others have the same: a replica to which nothing happens is a few words.
    /// `now` is the engine's time.
    pub(crate) fn rest(&mut self, templates: &mut RestingStates, now: Timestamp) {
        if let CopyOnWrite::Own(own) = &mut self.state.protocol
            && own.is_at_rest()
        {
            own.forget_what_is_over(now);
            self.state.protocol = CopyOnWrite::Shared(templates.of(own));
        }
    }
}

impl Protocol {
    /// Tells whether nothing goes on that another replica would hardly have in common with this one.
    fn is_at_rest(&self) -> bool {
        let Self { known, outbox, in_flight, timers, .. } = self;
        let asks = matches!(in_flight.request, Some(Pending::Commit { .. })) || in_flight.combining.is_some();
        let tells = outbox.batch.is_some()
            || outbox.vote.is_some()
            || !(outbox.untold.is_empty() && outbox.commands.is_empty() && outbox.probes.is_empty());
        let waits = known.census.is_some() || known.protection.is_some() || timers.flush_at.is_some();
        let is_plain = |record: &Record| record.state() == State::Closed && record.evidence.is_empty();
        let known_records = [known.last_record.as_ref(), known.stored.as_ref().map(|stored| &stored.record)];
        !(asks || tells || waits) && known_records.into_iter().flatten().all(|record| is_plain(record))
    }

    /// Times that are over say nothing any more.
    fn forget_what_is_over(&mut self, now: Timestamp) {
        if self.timers.not_before <= now {
            self.timers.not_before = Timestamp::ZERO;
        }
        if self.in_flight.request.is_none() {
            self.in_flight.asked_at = Timestamp::ZERO;
        }
    }
}
