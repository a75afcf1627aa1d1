//! One half-open period: its probes on their way, and what they have shown.

use std::time::Duration;

#[cfg(feature = "fleet")]
use super::codec::{LoadError, Reader, Writer};
use super::slowness::ProbesSeen;
use super::window::CountWindow;
use super::{ProbeTally, Probes, Slowness};
use crate::time::Timestamp;

/// A place among the probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) id: u32,
    pub(crate) deadline: Timestamp,
    pub(crate) held: Hold,
    /// The dependency has answered; what is still to come is the rest of the answer.
    pub(crate) accepted: bool,
    /// How many limits of slowness the call had passed by then: however it goes on, it has not passed fewer.
    pub(crate) passed: u8,
    /// The instance that it was given to, where a fleet gives them out; 0 for none.
    #[cfg(feature = "fleet")]
    pub(crate) owner: u64,
}

impl Lease {
    const fn new(id: u32, deadline: Timestamp, held: Hold) -> Self {
        Self {
            id,
            deadline,
            held,
            accepted: false,
            passed: 0,
            #[cfg(feature = "fleet")]
            owner: 0,
        }
    }
}

/// How far a lease has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// From the fleet, for a call that is still to come. Until then it has no deadline.
    #[cfg(feature = "fleet")]
    InHand,
    /// Promised to a caller that has not made its call yet.
    Reserved,
    /// A call is on its way.
    Running,
}

/// One half-open period.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProbeRound {
    succeeded: u32,
    failed: u32,
    /// Of those that succeeded: how many were slow.
    slow_succeeded: u32,
    /// Of all that have ended: how many were slower than the limit of each number.
    slow: Vec<u32>,
    /// How many probes in a row were given up before the dependency had answered.
    given_up: u32,
    /// Since when probes have gone out without any evidence.
    pub(crate) fruitless_since: Option<Timestamp>,
    pub(crate) next_lease: u32,
    pub(crate) leases: Vec<Lease>,
    /// Results, oldest first.
    log: CountWindow,
}

/// What is known of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoundVerdict {
    Undecided,
    Close,
    Reopen,
}

/// A probe whose response has begun has succeeded after this, however long the response goes on; a status that stands at its
/// end is there by then.
const RESPONSE_TIME: Duration = Duration::from_millis(500);

/// So many probes in a row that were given up show a dependency that hangs: one or two may be callers who went away.
const MOST_GIVEN_UP: u32 = 3;

/// A place that is reserved for a call to come is kept for so long from others that only wait for one. A caller that
/// means to make its call does so at once; one that is slower asks anew.
const RESERVATION_TIME: Duration = Duration::from_millis(100);

/// Until when a place is held that is given out now.
pub(crate) fn held_until(probe_deadline: Duration, now: Timestamp, reserved: bool) -> Timestamp {
    now + if reserved { probe_deadline.min(RESERVATION_TIME) } else { probe_deadline }
}

impl ProbeRound {
    pub(crate) fn new(probes: &Probes) -> Self {
        Self {
            succeeded: 0,
            failed: 0,
            slow_succeeded: 0,
            slow: Vec::new(),
            given_up: 0,
            fruitless_since: None,
            next_lease: 0,
            leases: Vec::new(),
            log: CountWindow::new(probes.of),
        }
    }

    /// Begins anew; keeps its memory.
    pub(crate) fn restart(&mut self, probes: &Probes) {
        self.succeeded = 0;
        self.failed = 0;
        self.slow_succeeded = 0;
        self.slow.clear();
        self.given_up = 0;
        self.fruitless_since = None;
        self.leases.clear();
        if self.log.size() == probes.of {
            self.log.clear();
        } else {
            // The round before was by the settings of another instance.
            self.log = CountWindow::new(probes.of);
        }
    }

    /// Gives out a place, if one is free. A call that is made now takes one that is only reserved: its holder asks anew.
    pub(crate) fn admit(&mut self, probes: &Probes, now: Timestamp, reserved: bool) -> Option<u32> {
        if self.free(probes) == 0 && (reserved || self.drop_reservation().is_none()) {
            return None;
        }
        let id = self.next_lease;
        self.next_lease = self.next_lease.wrapping_add(1);
        let held = if reserved { Hold::Reserved } else { Hold::Running };
        self.leases.push(Lease::new(id, held_until(probes.deadline, now, reserved), held));
        if !reserved {
            self.fruitless_since.get_or_insert(now);
        }
        Some(id)
    }

    /// Turns a reservation into a probe whose time begins now; `false` when the reservation is gone.
    pub(crate) fn begin(&mut self, probes: &Probes, id: u32, now: Timestamp) -> bool {
        let Some(lease) = self.leases.iter_mut().find(|l| l.id == id) else {
            return false;
        };
        (lease.deadline, lease.held) = (now + probes.deadline, Hold::Running);
        self.fruitless_since.get_or_insert(now);
        true
    }

    /// Notes that the dependency has answered a probe, which has passed so many limits of slowness, and that the response is
    /// still on its way: unless that fails soon, it has succeeded. `false` when the place is gone.
    pub(crate) fn accept(&mut self, id: u32, passed: u8, now: Timestamp) -> bool {
        let Some(lease) = self.leases.iter_mut().find(|lease| lease.id == id) else {
            return false;
        };
        (lease.accepted, lease.passed) = (true, lease.passed.max(passed));
        lease.deadline = lease.deadline.min(now + RESPONSE_TIME);
        self.given_up = 0;
        true
    }

    /// Takes back a place that is reserved for a call to come; returns its lease.
    pub(crate) fn drop_reservation(&mut self) -> Option<u32> {
        let at = self.leases.iter().position(|lease| lease.held == Hold::Reserved)?;
        Some(self.leases.swap_remove(at).id)
    }

    /// Tells whether a call that is made now finds a place.
    pub(crate) fn takes_a_call(&self, probes: &Probes) -> bool {
        self.free(probes) > 0 || self.leases.iter().any(|lease| lease.held == Hold::Reserved)
    }

    /// Takes a place back; `None` when it was not held (any more).
    pub(crate) fn give_back(&mut self, id: u32) -> Option<Lease> {
        let held = self.leases.iter().position(|l| l.id == id);
        held.map(|at| self.leases.swap_remove(at))
    }

    /// A call that had this place has ended and is evidence of nothing: it was given up, or says nothing of the dependency.
    pub(crate) const fn end_without_evidence(&mut self, lease: &Lease, was_given_up: bool) {
        // Otherwise the call was never made.
        if matches!(lease.held, Hold::Running) {
            let says_nothing = was_given_up && !lease.accepted;
            self.given_up = if says_nothing { self.given_up.saturating_add(1) } else { 0 };
        }
    }

    /// Tells whether so many probes in a row were given up that the dependency must be taken to hang.
    pub(crate) const fn hangs(&self) -> bool {
        self.given_up >= MOST_GIVEN_UP
    }

    /// Forgets who holds a place: the round is over.
    pub(crate) fn drop_leases(&mut self) {
        self.leases.clear();
    }

    /// Takes in how a probe ended: whether it failed, and how many limits of slowness it has passed. Where the round meets a
    /// rule of slow calls by this one, slow probes have failed: `slowness_counts` becomes true. Returns whether this one counts
    /// against the dependency.
    pub(super) fn take_in(&mut self, failed: bool, passed: u8, rule: &Slowness, slowness_counts: &mut bool) -> bool {
        self.count(failed, passed);
        *slowness_counts |= (failed || passed > 0) && self.is_too_slow(rule);
        let is_against = failed || *slowness_counts && passed > 0;
        self.log_result(is_against);
        is_against
    }

    /// Counts a probe that ended: whether it failed, and how many limits of slowness it has passed.
    pub(crate) fn count(&mut self, failed: bool, passed: u8) {
        self.fruitless_since = None;
        self.given_up = 0;
        if failed {
            self.failed = self.failed.saturating_add(1);
        } else {
            self.succeeded = self.succeeded.saturating_add(1);
            self.slow_succeeded = self.slow_succeeded.saturating_add(u32::from(passed > 0));
        }
        let passed = usize::from(passed);
        if self.slow.len() < passed {
            self.slow.resize(passed, 0);
        }
        self.slow[..passed].iter_mut().for_each(|slow| *slow = slow.saturating_add(1));
    }

    /// Puts a result, `true` for a failure, where users see it.
    pub(crate) fn log_result(&mut self, failed: bool) {
        self.log.push(failed);
    }

    /// Tells whether the probes of this round would open a circuit by their slowness.
    fn is_too_slow(&self, slowness: &Slowness) -> bool {
        let (calls, failed) = (self.succeeded.saturating_add(self.failed), self.failed);
        !self.slow.is_empty() && slowness.is_met_by(ProbesSeen { calls, failed, slow: &self.slow })
    }

    /// How many probes count for the dependency and how many against it.
    const fn results(&self, slowness_counts: bool) -> (u32, u32) {
        let slow = if slowness_counts { self.slow_succeeded } else { 0 };
        (self.succeeded.saturating_sub(slow), self.failed.saturating_add(slow))
    }

    /// Drops leases whose deadline has come; returns those of probes on their way. Each has failed, unless it was accepted:
    /// one whose answer has begun is a dependency that works.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Lease> {
        let mut expired = Vec::new();
        self.leases.retain(|lease| {
            let over = lease.deadline <= now;
            if over && lease.held == Hold::Running {
                expired.push(*lease);
            }
            !over
        });
        expired
    }

    /// Tells whether a place is held, and is not over.
    pub(crate) fn holds(&self, id: u32, now: Timestamp) -> bool {
        self.leases.iter().any(|lease| lease.id == id && lease.deadline > now)
    }

    /// When the next lease runs out.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.leases.iter().map(|lease| lease.deadline).min()
    }

    pub(crate) fn is_fruitless(&self, patience: Duration, now: Timestamp) -> bool {
        self.fruitless_since.is_some_and(|since| now.since(since) >= patience)
    }

    pub(crate) const fn verdict(&self, probes: &Probes, slowness_counts: bool) -> RoundVerdict {
        let (succeeded, failed) = self.results(slowness_counts);
        if succeeded >= probes.needed {
            RoundVerdict::Close
        } else if failed > probes.of - probes.needed {
            RoundVerdict::Reopen
        } else {
            RoundVerdict::Undecided
        }
    }

    pub(crate) fn free(&self, probes: &Probes) -> u32 {
        probes.concurrent.saturating_sub(self.in_flight())
    }

    pub(crate) fn in_flight(&self) -> u32 {
        u32::try_from(self.leases.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn tally(&self, probes: &Probes, slowness_counts: bool) -> ProbeTally {
        let (succeeded, failed) = self.results(slowness_counts);
        ProbeTally { in_flight: self.in_flight(), succeeded, failed, needed: probes.needed }
    }

    /// The results of this round, oldest first, `true` for a failure.
    pub(crate) fn log(&self) -> impl Iterator<Item = bool> + '_ {
        self.log.iter()
    }
}

#[cfg(feature = "fleet")]
impl ProbeRound {
    /// What is known so far, and how many probes are on their way.
    pub(crate) fn counts(&self) -> (u32, u32, usize) {
        let running = self.leases.iter().filter(|lease| lease.held == Hold::Running).count();
        (self.succeeded, self.failed, running)
    }

    /// The same by another clock.
    pub(crate) fn move_times(&mut self, f: impl Fn(Timestamp) -> Timestamp) {
        self.fruitless_since = self.fruitless_since.map(&f);
        let used = self.leases.iter_mut().filter(|lease| lease.deadline < Timestamp::MAX);
        used.for_each(|lease| lease.deadline = f(lease.deadline));
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.u32(self.succeeded);
        out.u32(self.failed);
        out.varint(self.given_up.into());
        out.varint(self.slow_succeeded.into());
        out.varint(self.slow.len() as u64);
        self.slow.iter().for_each(|slow| out.varint((*slow).into()));
        out.u64(self.fruitless_since.map_or(u64::MAX, Timestamp::as_nanos));
        out.u32(self.next_lease);
        out.u32(u32::try_from(self.leases.len()).unwrap_or(0));
        for lease in &self.leases {
            out.u32(lease.id);
            out.u64(lease.deadline.as_nanos());
            out.u8(u8::from(lease.accepted) | u8::from(lease.held == Hold::InHand) << 1 | lease.passed.min(15) << 4);
            out.u64(lease.owner);
        }
        out.u32(self.log.size());
        out.u32(self.log.len());
        let log: Vec<bool> = self.log.iter().collect();
        for eight in log.chunks(8) {
            out.u8(eight.iter().enumerate().fold(0, |byte, (i, bad)| byte | u8::from(*bad) << i));
        }
    }

    /// Reads what [`save`](Self::save) wrote. In records of release 0.1 leases have no owners, and it is not known how many
    /// probes were given up or slow, nor how slow those are that are on their way.
    pub(crate) fn load(from: &mut Reader<'_>, is_of_0_1: bool) -> Result<Self, LoadError> {
        let (succeeded, failed) = (from.u32()?, from.u32()?);
        let number = |from: &mut Reader<'_>| Ok(u32::try_from(from.varint()?).unwrap_or(u32::MAX));
        let (mut given_up, mut slow_succeeded, mut slow) = (0, 0, Vec::new());
        if !is_of_0_1 {
            (given_up, slow_succeeded) = (number(from)?, number(from)?);
            slow = (0..from.varint_count(1)?).map(|_| number(from)).collect::<Result<_, LoadError>>()?;
        }
        let fruitless_since = Some(from.u64()?).filter(|at| *at < u64::MAX).map(Timestamp::from_nanos);
        let next_lease = from.u32()?;
        let mut leases = Vec::new();
        for _ in 0..from.count(13)? {
            let (id, deadline, flags) = (from.u32()?, Timestamp::from_nanos(from.u64()?), from.u8()?);
            let held = if !is_of_0_1 && flags & 2 != 0 { Hold::InHand } else { Hold::Running };
            let (passed, owner) = if is_of_0_1 { (0, 0) } else { (flags >> 4, from.u64()?) };
            leases.push(Lease { accepted: flags & 1 != 0, passed, owner, ..Lease::new(id, deadline, held) });
        }
        let size = from.u32()?;
        if size > Probes::MAX {
            return Err(LoadError::new(format!("a round of {size} probes")));
        }
        let (mut log, mut byte) = (CountWindow::new(size), 0);
        for i in 0..from.u32()? {
            if i % 8 == 0 {
                byte = from.u8()?;
            }
            log.push(byte >> (i % 8) & 1 == 1);
        }
        Ok(Self { succeeded, failed, slow_succeeded, slow, given_up, fruitless_since, next_lease, leases, log })
    }
}
