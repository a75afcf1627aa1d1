//! What a machine that a fleet leads knows beyond its own state.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Order, Probed};
use super::held::Seen;
use super::record::{Record, Vote, voter};
use super::status::WhenDown;
use crate::circuit::probes::Round;
use crate::circuit::{Detector, Generation, Horizon, Run, State};
use crate::time::Timestamp;

/// What the machine knows of the fleet that leads it, and what it still has to tell.
#[derive(Debug)]
pub(crate) struct Led {
    /// Who this instance is among voters, and how many of them open the fleet; `None`: evidence is pooled.
    pub(super) votes: Option<(Arc<str>, u32)>,
    pub(super) when_down: WhenDown,
    /// The store answers.
    pub(super) reachable: bool,
    pub(super) fingerprint: u64,
    pub(super) horizon: Horizon,
    /// The newest record that the store is known to have had, by the store's clock.
    pub(super) acked: Option<Record>,
    /// The state was decided here, and is not the fleet's.
    pub(super) provisional: bool,
    /// What the fleet has seen, by this instance's clock.
    pub(super) base: Option<Seen>,
    /// What the store was told, and the record may not contain yet.
    pub(super) sent: Option<Seen>,
    /// The store has that, so a newer record contains it.
    pub(super) accepted: bool,
    pub(super) pending: Pending,
    /// When this instance's last vote was cast, by the store's clock.
    pub(super) voted: Timestamp,
    /// With the time they were given.
    pub(super) orders: VecDeque<(Timestamp, Order)>,
    /// Calls that could not be kept until the store took them.
    pub(super) forgotten: u64,
    /// When a call last found no probe to be.
    pub(super) wants_probe: Option<Timestamp>,
    /// The detector has tripped, and the fleet has not yet said what it thinks of that.
    pub(super) suspect: bool,
    /// The same, of what was taken to be sent and the store has not accepted yet.
    pub(super) suspect_sent: bool,
    pub(super) drift_told: bool,
    /// What the engine must be woken for.
    pub(super) ring: Option<Ring>,
    /// When the store was last heard of, and why it does not answer.
    pub(super) heard: Option<Timestamp>,
    pub(super) heard_there: Timestamp,
    pub(super) away: Option<Arc<str>>,
}

/// How loudly the engine is called: it looks by itself for what may wait, once it knows that something does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ring {
    MayWait = 1,
    Now = 2,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) calls: Seen,
    pub(super) retry_after: Option<Duration>,
    pub(super) probes: Vec<Probed>,
    pub(super) vote: Option<Vote>,
}

/// What a machine has for its fleet, or wants of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Orders that wait.
    pub(crate) orders: bool,
    /// Something that must not wait: a trip to be, the result of a probe, a vote.
    pub(crate) urgent: bool,
    /// Failures that wait.
    pub(crate) failures: bool,
    /// Other outcomes that wait.
    pub(crate) outcomes: bool,
    /// A call could be a probe.
    pub(crate) probe: bool,
    /// How long until a lease that nobody uses goes back.
    pub(crate) idle_in: Option<Duration>,
    /// Successes are evidence as well, and ring for nobody.
    pub(crate) shares_successes: bool,
}

/// Calls that wait for a probe must have asked within this time, or nobody fetches one for them.
const FRESH: Duration = Duration::from_secs(1);

impl Led {
    pub(crate) fn new(detector: &dyn Detector, votes: Option<(Arc<str>, u32)>, when_down: WhenDown) -> Self {
        let horizon = detector.horizon();
        Self {
            votes: votes.map(|(id, quorum)| (voter(id), quorum)),
            when_down,
            reachable: false,
            fingerprint: fingerprint(&detector.rule()),
            horizon,
            acked: None,
            provisional: false,
            base: None,
            sent: None,
            accepted: false,
            pending: Pending::new(horizon),
            voted: Timestamp::ZERO,
            orders: VecDeque::new(),
            forgotten: 0,
            wants_probe: None,
            suspect: false,
            suspect_sent: false,
            drift_told: false,
            ring: None,
            heard: None,
            heard_there: Timestamp::ZERO,
            away: None,
        }
    }

    /// The generation that the fleet is known to be in.
    pub(crate) fn generation(&self) -> Option<Generation> {
        self.acked.as_ref().map(|record| record.generation)
    }

    /// Tells whether the fleet as a whole is in another state than closed.
    pub(super) fn leads(&self) -> bool {
        self.acked.as_ref().is_some_and(|record| record.state != State::Closed || record.standing.is_some())
    }

    /// Tells whether the fleet decides, not this instance.
    pub(super) fn decides(&self) -> bool {
        self.reachable && self.acked.is_some() && (self.votes.is_none() || self.leads())
    }

    /// Tells whether successes are evidence that others must see.
    pub(super) fn wants_successes(&self) -> bool {
        self.votes.is_none() && self.horizon.wants_successes()
    }

    pub(super) fn saw(&mut self, run: Run) {
        let is_evidence = run.failed || run.took.is_some() || self.horizon.wants_successes();
        if self.votes.is_none() && is_evidence {
            self.forgotten += self.pending.calls.add(run);
            if run.failed || run.took.is_some() {
                self.ring(Ring::MayWait);
            }
            if self.pending.calls.is_crowded() {
                // An ever longer outage must not fill the memory.
                self.pending.calls.trim(run.ended);
            }
        }
    }

    pub(super) fn ring(&mut self, ring: Ring) {
        self.ring = self.ring.max(Some(ring));
    }

    /// A call could be a probe. The engine looks again by itself while such calls keep coming.
    pub(super) fn want_probe(&mut self, now: Timestamp) {
        let before = self.wants_probe.replace(now);
        if before.is_none_or(|before| now.since(before) >= FRESH / 2) {
            self.ring(Ring::Now);
        }
    }

    /// Forgets calls that are of no use to anybody any more.
    pub(super) fn forget_calls(&mut self) {
        self.pending.calls = Seen::new(self.horizon);
        self.pending.retry_after = None;
        self.sent = None;
        self.suspect = false;
        self.suspect_sent = false;
    }

    /// Shows the detector what the fleet has seen, and what only this instance has.
    pub(super) fn replay(&self, detector: &mut dyn Detector) {
        match &self.base {
            Some(base) => base.replay(detector),
            None => detector.reset(),
        }
        let own = [self.sent.as_ref(), Some(&self.pending.calls)].into_iter().flatten().flat_map(Seen::runs);
        match &self.base {
            // By time, so that what is merged is judged as one.
            Some(base @ Seen::Merged { .. }) => {
                let mut all = base.clone();
                own.for_each(|run| {
                    all.add(run);
                });
                all.replay(detector);
            }
            _ => own.for_each(|run| run.show(detector)),
        }
    }

    pub(super) fn needs(&self, round: Option<&Round>, now: Timestamp) -> Needs {
        let in_hand = round.map_or(0, Round::in_hand);
        let runs = self.pending.calls.runs();
        Needs {
            orders: !self.orders.is_empty(),
            urgent: self.suspect || !self.pending.probes.is_empty() || self.pending.vote.is_some(),
            failures: runs.iter().any(|run| run.failed || run.took.is_some()),
            outcomes: !runs.is_empty(),
            probe: in_hand == 0 && self.wants_probe.is_some_and(|at| now.since(at) < FRESH),
            idle_in: round.and_then(Round::idle_at).map(|at| at.since(now)),
            shares_successes: self.wants_successes(),
        }
    }
}

impl Pending {
    pub(super) fn new(horizon: Horizon) -> Self {
        Self { calls: Seen::new(horizon), retry_after: None, probes: Vec::new(), vote: None }
    }
}

/// FNV-1a, 64 bits: rules are few and nobody forges them.
pub(super) fn fingerprint(rule: &str) -> u64 {
    rule.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
