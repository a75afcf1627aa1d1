//! Leases of probes that a fleet gives out: what a round knows beyond one breaker's own.

use super::record::Want;
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

    /// A lease that was just given out belongs to an instance, which may use it when it has a call.
    pub(super) fn give_to(&mut self, id: u32, owner: u64) {
        if let Some(lease) = self.find(id) {
            (lease.owner, lease.held, lease.deadline) = (owner, Hold::InHand, Timestamp::MAX);
        }
    }

    /// A lease of the fleet's, for a call that is still to come.
    pub(super) fn put_in_hand(&mut self, lease: &Lease) {
        self.leases.push(*lease);
    }

    fn find(&mut self, id: u32) -> Option<&mut Lease> {
        self.leases.iter_mut().find(|lease| lease.id == id)
    }

    pub(super) fn knows(&self, id: u32) -> bool {
        self.leases.iter().any(|lease| lease.id == id)
    }

    /// Takes a lease in hand for a call, which must end by `deadline`.
    pub(super) fn use_hand(&mut self, deadline: Timestamp, reserved: bool) -> Option<u32> {
        let lease = self.leases.iter_mut().find(|lease| lease.held == Hold::InHand)?;
        (lease.held, lease.deadline) = (if reserved { Hold::Reserved } else { Hold::Running }, deadline);
        Some(lease.id)
    }

    /// A reservation of the fleet's becomes a call, which must end by `deadline`.
    pub(super) fn begin_in_hand(&mut self, id: u32, deadline: Timestamp) -> bool {
        let lease = self.find(id);
        lease.map(|lease| (lease.held, lease.deadline) = (Hold::Running, deadline)).is_some()
    }

    /// Leases in hand.
    pub(super) fn in_hand(&self) -> u32 {
        let count = self.leases.iter().filter(|lease| lease.held == Hold::InHand).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Leases that a call has used.
    pub(super) fn in_use(&self) -> bool {
        self.leases.iter().any(|lease| lease.held != Hold::InHand)
    }

    /// Leases that were reserved for a call that was not made in time.
    pub(super) fn idle(&self, now: Timestamp) -> Vec<u32> {
        let is_idle = |lease: &&Lease| lease.held == Hold::Reserved && lease.deadline <= now;
        self.leases.iter().filter(is_idle).map(|lease| lease.id).collect()
    }

    /// When the next lease in use runs out.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let used = self.leases.iter().filter(|lease| lease.held != Hold::InHand);
        used.map(|lease| lease.deadline).min()
    }

    /// The leases of an instance that no call has used.
    pub(super) fn unused_of(&self, owner: u64) -> impl Iterator<Item = &Lease> {
        self.leases.iter().filter(move |lease| lease.owner == owner && lease.held == Hold::InHand)
    }

    /// Gives back the leases in hand.
    pub(super) fn drop_unused(&mut self) -> Vec<u32> {
        let mut unused = Vec::new();
        self.leases.retain(|lease| {
            let is_unused = lease.held == Hold::InHand;
            unused.extend(is_unused.then_some(lease.id));
            !is_unused
        });
        unused
    }

    /// An unused lease of another instance goes to the one that wants it.
    pub(super) fn hand_over(&mut self, want: &Want) -> bool {
        let is_unused = |lease: &&mut Lease| lease.held == Hold::InHand && lease.owner != want.writer;
        let lease = self.leases.iter_mut().find(is_unused);
        let Some(lease) = lease else {
            return false;
        };
        // Whatever its old owner still says of it is about a lease that is gone.
        lease.id = self.next_lease;
        self.next_lease = self.next_lease.wrapping_add(1);
        lease.owner = want.writer;
        true
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
