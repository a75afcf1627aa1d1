//! Which keys the next loads ask for, and the loads that are on their way.

use std::collections::VecDeque;
use std::time::Duration;

use super::member::MemberId;
use crate::time::Timestamp;

/// Which loads wait for each other: those of keys without trouble, or those of keys with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Calm,
    Troubled,
}

impl Lane {
    pub(super) const ALL: [Self; 2] = [Self::Calm, Self::Troubled];
}

/// The loads of each lane, one of which is on its way at most: what is wrong with some keys holds up no others.
#[derive(Debug, Default)]
pub(super) struct Loads([OfLane; 2]);

#[derive(Debug, Default)]
struct OfLane {
    /// Whose keys the next load asks for.
    listed: VecDeque<MemberId>,
    /// It waits so long for company, unless there is enough.
    wait_until: Timestamp,
    /// A caller waits for it.
    is_pressing: bool,
    out: Option<Loading>,
}

/// A load on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loading {
    pub(super) asked_at: Timestamp,
    /// It asks for as many keys as it can, to see whether the store is there.
    pub(super) is_ping: bool,
}

/// Keys in one load.
pub(super) const MAX_KEYS_IN_LOAD: usize = 256;
/// A load waits so long after the one before for others that are to be loaded.
const COMPANY: Duration = Duration::from_millis(5);

impl Loads {
    /// Lists a key for the next load.
    pub(super) fn list(&mut self, lane: Lane, id: MemberId, is_pressing: bool) {
        let of_lane = &mut self.0[lane as usize];
        of_lane.listed.push_back(id);
        of_lane.is_pressing |= is_pressing;
    }

    /// When the next load is due.
    pub(super) fn due_at(&self, lane: Lane) -> Option<Timestamp> {
        let OfLane { listed, wait_until, is_pressing, out } = &self.0[lane as usize];
        let is_full = listed.len() >= MAX_KEYS_IN_LOAD;
        let due_at = if is_full || *is_pressing { Timestamp::ZERO } else { *wait_until };
        (!listed.is_empty() && out.is_none()).then_some(due_at)
    }

    /// Takes what the next load asks for.
    pub(super) fn take(&mut self, lane: Lane, now: Timestamp) -> Vec<MemberId> {
        let of_lane = &mut self.0[lane as usize];
        (of_lane.wait_until, of_lane.is_pressing) = (now + COMPANY, false);
        let most = MAX_KEYS_IN_LOAD.min(of_lane.listed.len());
        of_lane.listed.drain(..most).collect()
    }

    /// Takes all that is listed.
    pub(super) fn take_all(&mut self) -> Vec<MemberId> {
        self.0.iter_mut().flat_map(|of_lane| std::mem::take(&mut of_lane.listed)).collect()
    }

    pub(super) const fn is_out(&self, lane: Lane) -> bool {
        self.0[lane as usize].out.is_some()
    }

    pub(super) const fn begin(&mut self, lane: Lane, loading: Loading) {
        self.0[lane as usize].out = Some(loading);
    }

    pub(super) const fn end(&mut self, lane: Lane) -> Option<Loading> {
        self.0[lane as usize].out.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_waits_for_company_unless_there_is_enough_or_a_caller_waits() {
        let (mut loads, now) = (Loads::default(), Timestamp::from_nanos(1_000_000_000));
        loads.list(Lane::Calm, MemberId(0), false);
        assert!(loads.due_at(Lane::Calm).is_some_and(|at| at <= now), "the first goes at once");
        assert_eq!(loads.take(Lane::Calm, now), [MemberId(0)]);
        loads.list(Lane::Calm, MemberId(1), false);
        assert_eq!(loads.due_at(Lane::Calm), Some(now + COMPANY));
        loads.list(Lane::Calm, MemberId(2), true);
        assert_eq!(loads.due_at(Lane::Calm), Some(Timestamp::ZERO));
        loads.take(Lane::Calm, now);
        (0..300).for_each(|id| loads.list(Lane::Calm, MemberId(id), false));
        assert_eq!(loads.due_at(Lane::Calm), Some(Timestamp::ZERO));
        assert_eq!(loads.take(Lane::Calm, now).len(), MAX_KEYS_IN_LOAD);
        assert_eq!(loads.due_at(Lane::Calm), Some(now + COMPANY));
    }

    #[test]
    fn what_is_wrong_with_some_keys_holds_up_no_others() {
        let (mut loads, now) = (Loads::default(), Timestamp::from_nanos(1_000_000_000));
        for lane in Lane::ALL {
            loads.list(lane, MemberId(lane as u64), false);
        }
        loads.begin(Lane::Troubled, Loading { asked_at: now, is_ping: false });
        assert_eq!((loads.due_at(Lane::Troubled), loads.due_at(Lane::Calm)), (None, Some(Timestamp::ZERO)));
        assert!(loads.end(Lane::Troubled).is_some() && loads.due_at(Lane::Troubled).is_some());
    }
}
