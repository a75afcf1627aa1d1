//! Leases of probes that a fleet gives out: what a round knows beyond one breaker's own.

use crate::circuit::{Hold, Lease, ProbeRound};
use crate::time::Timestamp;

impl ProbeRound {
    /// Leases that this instance gives out by itself, while it is cut off from its fleet, are told from the fleet's.
    const OWN: u32 = 1 << 31;

    /// Leases that a fleet has out at once, at most: its record must have room for them.
    const MAX_LEASES: usize = 1_024;

    /// Tells whether a record has room for one more.
    pub(super) fn has_room(&self) -> bool {
        self.leases.len() < Self::MAX_LEASES
    }

    pub(super) const fn number_own_leases(&mut self) {
        self.next_lease |= Self::OWN;
    }

    /// A lease of the fleet's, for a call that may come until `unused_until`.
    pub(super) fn put_in_hand(&mut self, id: u32, deadline: Timestamp, unused_until: Timestamp) {
        self.leases.push(Lease { id, deadline, held: Hold::InHand(unused_until), accepted: false });
    }

    /// Takes a lease in hand for a call.
    pub(super) fn use_hand(&mut self, now: Timestamp, reserved: bool) -> Option<u32> {
        let is_good = |lease: &&mut Lease| matches!(lease.held, Hold::InHand(_)) && lease.deadline > now;
        let lease = self.leases.iter_mut().find(is_good)?;
        lease.held = if reserved { Hold::Reserved } else { Hold::Running };
        Some(lease.id)
    }

    /// A reservation of the fleet's begins: its deadline stays the fleet's.
    pub(super) fn begin_in_hand(&mut self, id: u32) -> bool {
        let lease = self.leases.iter_mut().find(|lease| lease.id == id);
        lease.map(|lease| lease.held = Hold::Running).is_some()
    }

    /// Leases in hand.
    pub(super) fn in_hand(&self) -> u32 {
        let count = self.leases.iter().filter(|lease| matches!(lease.held, Hold::InHand(_))).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// When the next lease in hand goes back.
    pub(super) fn idle_at(&self) -> Option<Timestamp> {
        let until = |lease: &Lease| if let Hold::InHand(until) = lease.held { Some(until) } else { None };
        self.leases.iter().filter_map(until).min()
    }

    /// Gives back the leases in hand whose time for a first use is over.
    pub(super) fn drop_idle(&mut self, now: Timestamp) -> Vec<u32> {
        let mut idle = Vec::new();
        self.leases.retain(|lease| {
            let is_idle = matches!(lease.held, Hold::InHand(until) if until <= now);
            if is_idle {
                idle.push(lease.id);
            }
            !is_idle
        });
        idle
    }

    /// When the lease runs out.
    pub(super) fn deadline_of(&self, id: u32) -> Option<Timestamp> {
        self.leases.iter().find(|lease| lease.id == id).map(|lease| lease.deadline)
    }

    /// The counts of another instance's view of the round, with this instance's leases.
    pub(super) fn take_counts_of(&mut self, fleet: &Self) {
        let leases = std::mem::take(&mut self.leases);
        self.clone_from(fleet);
        self.leases = leases;
    }

    /// The round as other instances see it.
    pub(super) fn without_leases(&self) -> Self {
        let mut round = self.clone();
        round.leases.clear();
        round
    }
}
