//! What a machine that a fleet leads knows beyond its own state.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::adopt::Clocks;
use super::batch::{Batch, Calls, Order, Probed};
use super::held::Seen;
use super::record::{Record, Vote, translate, voter};
use crate::circuit::machine::Machine;
use crate::circuit::probes::Round;
use crate::circuit::{
    Decision, Detector, Facts, Generation, Horizon, Moment, Outcome, RejectReason, Rules, Run, State, StateScope,
    Ticket,
};
use crate::time::Timestamp;

/// What a breaker does while its store is away.
///
/// ```
/// use std::sync::Arc;
/// use fusebox::fleet::{Fleet, WhenDown};
/// use fusebox::{store::MemoryStore, CircuitBreakerConfig};
///
/// let config = CircuitBreakerConfig::builder("fraud_check")
///     .store(Arc::new(MemoryStore::new()))
///     .fleet(Fleet::pooled().when_down(WhenDown::Reject)) // better no payment than an unchecked one
///     .build()?;
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenDown {
    /// It goes on by itself, from what it last knew of the fleet.
    #[default]
    Local,
    /// It lets every call through and judges none.
    Admit,
    /// It rejects every call.
    Reject,
}

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
    pending: Pending,
    /// When this instance's last vote was cast, by the store's clock.
    voted: Timestamp,
    /// With the time they were given.
    pub(super) orders: VecDeque<(Timestamp, Order)>,
    /// Calls that could not be kept until the store took them.
    pub(super) forgotten: u64,
    /// When a call last found no probe to be.
    wants_probe: Option<Timestamp>,
    /// The detector has tripped, and the fleet has not yet said what it thinks of that.
    pub(super) suspect: bool,
    /// The same, of what was taken to be sent and the store has not accepted yet.
    suspect_sent: bool,
    pub(super) drift_told: bool,
    /// What the engine must be woken for.
    ring: Option<Ring>,
    /// When the store was last heard of, and why it does not answer.
    heard: Option<Timestamp>,
    heard_there: Timestamp,
    away: Option<Arc<str>>,
}

/// How loudly the engine is called: it looks by itself for what may wait, once it knows that something does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ring {
    MayWait = 1,
    Now = 2,
}

#[derive(Debug)]
struct Pending {
    calls: Seen,
    retry_after: Option<Duration>,
    probes: Vec<Probed>,
    vote: Option<Vote>,
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

/// How an instance stands with its fleet: see [`Snapshot::fleet`](crate::Snapshot::fleet).
///
/// ```
/// use std::sync::Arc;
/// use fusebox::{store::MemoryStore, CircuitBreaker, CircuitBreakerConfig};
///
/// # tokio_test::block_on(async {
/// let config = CircuitBreakerConfig::builder("payments").store(Arc::new(MemoryStore::new())).build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.acquire()?.failure();
/// breaker.flush().await;
/// let fleet = breaker.snapshot().fleet.unwrap();
/// assert!(fleet.away.is_none(), "the store answers");
/// assert_eq!((fleet.waiting, fleet.forgotten), (0, 0), "and has everything");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FleetStatus {
    /// The generation that the fleet is known to be in; `None` until the store has answered once.
    pub generation: Option<Generation>,
    /// Why this instance is on its own: the store does not answer, or holds a record that this release cannot use.
    pub away: Option<Arc<str>>,
    /// How long ago the store was last heard of.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of_option"))]
    pub heard: Option<Duration>,
    /// Calls that the store does not know of yet.
    pub waiting: u64,
    /// Calls that it will never know of, because it was away too long.
    pub forgotten: u64,
    /// How many instances' votes stand, where the fleet votes.
    pub votes: Option<u32>,
}

/// Calls that wait for a probe must have asked within this time, or nobody fetches one for them.
const FRESH: Duration = Duration::from_secs(1);
/// A call that found no probe to be is told to come back after this, where nothing better is known.
const SOON: Duration = Duration::from_millis(50);
/// A lease that nobody uses goes back after this.
const UNUSED: Duration = Duration::from_secs(1);
/// Orders that wait, at most; nobody commands a breaker that often.
const MOST_ORDERS: usize = 64;
/// An order to trip or to reset that the store did not take for so long is void.
const STALE: Duration = Duration::from_secs(60);

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
    fn decides(&self) -> bool {
        self.reachable && self.acked.is_some() && (self.votes.is_none() || self.leads())
    }

    /// Tells whether successes are evidence that others must see.
    pub(super) fn wants_successes(&self) -> bool {
        self.votes.is_none() && self.horizon.wants_successes()
    }

    fn saw(&mut self, run: Run) {
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

    fn ring(&mut self, ring: Ring) {
        self.ring = self.ring.max(Some(ring));
    }

    /// A call could be a probe. The engine looks again by itself while such calls keep coming.
    fn want_probe(&mut self, now: Timestamp) {
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

    fn needs(&self, round: Option<&Round>, now: Timestamp) -> Needs {
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
    fn new(horizon: Horizon) -> Self {
        Self { calls: Seen::new(horizon), retry_after: None, probes: Vec::new(), vote: None }
    }
}

/// FNV-1a, 64 bits: rules are few and nobody forges them.
pub(super) fn fingerprint(rule: &str) -> u64 {
    rule.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// The side of the machine that faces the fleet.
impl Machine {
    /// From now on a fleet leads.
    pub(crate) fn led_by(mut self, led: Led) -> Self {
        self.led = Some(Box::new(led));
        self
    }

    pub(in crate::circuit) fn asks_fleet(&self) -> bool {
        self.led.as_deref().is_some_and(Led::decides)
    }

    /// The fleet judges the calls of all instances together.
    pub(in crate::circuit) fn is_judged_by_fleet(&self) -> bool {
        self.asks_fleet() && self.led.as_deref().is_some_and(|led| led.votes.is_none())
    }

    /// What holds instead of any state while the store is away, where the user chose that.
    pub(in crate::circuit) fn stand_in(&self) -> Option<WhenDown> {
        let led = self.led.as_deref().filter(|led| !led.reachable)?;
        Some(led.when_down).filter(|when_down| *when_down != WhenDown::Local)
    }

    pub(in crate::circuit) fn shares_successes(&self) -> bool {
        self.led.as_deref().is_some_and(Led::wants_successes)
    }

    /// A call of the closed state is evidence for the fleet.
    pub(in crate::circuit) fn tell_fleet(&mut self, run: Run, retry_after: Option<Duration>) {
        if let Some(led) = &mut self.led {
            led.saw(run);
            led.pending.retry_after = led.pending.retry_after.max(retry_after);
        }
    }

    /// The detector has tripped, but the fleet decides.
    pub(in crate::circuit) fn suspect(&mut self) {
        if let Some(led) = &mut self.led
            && !std::mem::replace(&mut led.suspect, true)
        {
            led.ring(Ring::Now);
        }
    }

    /// A call asks, and only a lease of the fleet's lets it through.
    pub(in crate::circuit) fn acquire_led(&mut self, now: Timestamp, reserve: bool) -> Decision {
        let round = self.history().round.as_mut();
        if let Some(lease) = round.and_then(|round| round.use_hand(now, reserve)) {
            return Decision::Admitted(Ticket { generation: self.generation, lease: Some(lease) });
        }
        if let Some(led) = &mut self.led {
            led.want_probe(now);
        }
        // While others probe, nobody can tell for how long.
        let until = (self.state == State::Open).then(|| now + SOON);
        Decision::Rejected { reason: RejectReason::ProbesBusy, until }
    }

    /// Somebody waits for a call to be let through.
    pub(in crate::circuit) fn poll_led(&mut self, now: Timestamp) -> Decision {
        let in_hand = self.history().round.as_ref().map_or(0, Round::in_hand);
        if in_hand > 0 {
            return Decision::Done;
        }
        if let Some(led) = &mut self.led {
            led.want_probe(now);
        }
        Decision::Busy
    }

    /// A probe ended, or its place is free again; the fleet decides what that means.
    pub(in crate::circuit) fn tell_probe(&mut self, probed: Probed) {
        if let Some(led) = &mut self.led {
            led.pending.probes.push(probed);
            led.ring(Ring::Now);
        }
    }

    /// Every change of state that is made here, not by the fleet, comes by.
    pub(in crate::circuit) fn decided_here(&mut self, to: State, now: Timestamp) {
        let until = self.history().open_until;
        let Some(led) = &mut self.led else {
            return;
        };
        led.provisional = true;
        led.wants_probe = None;
        if let Some((voter, _)) = &led.votes
            && !led.leads()
        {
            let until = if to == State::Open { until } else { now };
            if to != State::HalfOpen {
                led.pending.vote = Some(Vote { voter: Arc::clone(voter), cast: now, until });
                led.ring(Ring::Now);
            }
        }
        if to == State::Closed {
            led.base = None;
            led.forget_calls();
        }
    }

    /// Something was commanded here, or seen to be over; the fleet must hear of it.
    pub(in crate::circuit) fn order(&mut self, order: Order, now: Timestamp) {
        if let Some(led) = &mut self.led
            && led.orders.len() < MOST_ORDERS
        {
            led.orders.push_back((now, order));
            led.ring(Ring::Now);
        }
    }

    /// How loudly the engine is to be called, if at all.
    pub(crate) fn take_ring(&mut self) -> Option<Ring> {
        self.led.as_mut()?.ring.take()
    }

    /// Leases in hand go back, used or not.
    pub(crate) fn return_leases(&mut self) {
        let round = self.history.as_deref_mut().and_then(|history| history.round.as_mut());
        if let (Some(led), Some(round)) = (&mut self.led, round) {
            let idle = round.drop_idle(Timestamp::MAX);
            led.pending.probes.extend(idle.into_iter().map(|lease| Probed::ended(lease, None, None)));
        }
    }

    /// Whose state it is: this instance's own, or the fleet's.
    pub(crate) fn scope(&self) -> StateScope {
        let is_fleets = |led: &Led| !led.provisional && led.acked.is_some() && (led.votes.is_none() || led.leads());
        if self.led.as_deref().is_some_and(is_fleets) { StateScope::Fleet } else { StateScope::Instance }
    }

    /// How this instance stands with its fleet.
    pub(crate) fn fleet_status(&self, now: Timestamp) -> Option<FleetStatus> {
        let led = self.led.as_deref()?;
        let live = |record: &Record| {
            // Votes are by the store's clock, which is as far from the last word of it as this one is.
            let passed = led.heard.map_or(Duration::ZERO, |heard| now.since(heard));
            record.live_votes(led.heard_there + passed)
        };
        Some(FleetStatus {
            generation: led.generation(),
            away: led.away.clone().filter(|_| !led.reachable),
            heard: led.heard.map(|heard| now.since(heard)),
            waiting: led.pending.calls.calls(),
            forgotten: led.forgotten,
            votes: led.votes.is_some().then(|| led.acked.as_ref().map_or(0, live)),
        })
    }

    /// What there is for the fleet.
    pub(crate) fn needs(&mut self, now: Timestamp) -> Needs {
        let Some(led) = &mut self.led else {
            return Needs::default();
        };
        let history = self.history.as_deref_mut();
        let round = history.and_then(|history| history.round.as_mut());
        if let Some(round) = round {
            for lease in round.drop_idle(now) {
                led.pending.probes.push(Probed::ended(lease, None, None));
            }
        }
        led.needs(self.history.as_deref().and_then(|history| history.round.as_ref()), now)
    }

    /// The orders that wait, oldest first. One to change the state is only good while it is fresh: a fleet must not open
    /// because of what somebody wanted before a long outage of the store.
    pub(crate) fn orders(&mut self, now: Timestamp) -> Vec<Order> {
        let Some(led) = &mut self.led else {
            return Vec::new();
        };
        led.orders.retain(|(at, order)| match order {
            Order::Trip | Order::Reset | Order::Lease => now.since(*at) < STALE,
            Order::Override(_) | Order::Resume | Order::Look => true,
        });
        led.orders.iter().map(|(_, order)| order.clone()).collect()
    }

    /// The first `count` orders are done.
    pub(crate) fn ordered(&mut self, count: usize) {
        if let Some(led) = &mut self.led {
            led.orders.drain(..count.min(led.orders.len()));
        }
    }

    /// Takes out what waits, as bytes by the store's clock, where `now` is `there` on it.
    pub(crate) fn take_batch(&mut self, now: Timestamp, there: Timestamp) -> Option<Vec<u8>> {
        let led = self.led.as_deref_mut()?;
        // Before the fleet's generation is known, nobody could tell what the batch belongs to.
        let generation = led.generation()?;
        led.pending.calls.trim(now);
        let pending = std::mem::replace(&mut led.pending, Pending::new(led.horizon));
        let calls = Some(pending.calls).filter(|calls| !calls.is_empty());
        led.sent = calls.clone();
        led.accepted = false;
        let (fingerprint, retry_after) = (led.fingerprint, pending.retry_after);
        // A rule that has tripped on what others told wants to be judged by the fleet, with nothing new to say.
        led.suspect_sent = std::mem::take(&mut led.suspect);
        let calls = calls.or_else(|| led.suspect_sent.then(|| Seen::new(led.horizon)));
        let calls = calls.map(|seen| Calls { fingerprint, seen, retry_after });
        if calls.is_none() && pending.probes.is_empty() && pending.vote.is_none() {
            return None;
        }
        let batch = Batch { generation, calls, probes: pending.probes, vote: pending.vote };
        let mut batch = batch.at_times(|at| translate(at, now, there));
        if let Some(vote) = &mut batch.vote {
            // Whatever became of the clocks since the last one: this is the later.
            vote.delay(led.voted + Duration::from_nanos(1));
            led.voted = vote.cast;
        }
        Some(batch.save())
    }

    /// The store has accepted the batch that was taken last, or never will.
    pub(crate) fn batch_settled(&mut self, accepted: bool) {
        if let Some(led) = &mut self.led {
            // What the detector has tripped on since is still to be told.
            led.suspect_sent = false;
            led.accepted = accepted;
            if !accepted {
                led.forgotten += led.sent.take().map_or(0, |sent| sent.calls());
            }
        }
    }

    /// Says whether the store answers. Where it does not, and the user wants that, this instance goes on by itself.
    pub(crate) fn set_reachable(&mut self, rules: &Rules, away: Option<&Arc<str>>, at: Moment, facts: &mut Facts) {
        let Some(led) = &mut self.led else {
            return;
        };
        led.away = away.cloned();
        let reachable = away.is_none();
        if led.reachable == reachable {
            return;
        }
        led.reachable = reachable;
        let suspected = std::mem::take(&mut led.suspect) | std::mem::take(&mut led.suspect_sent);
        let local = led.when_down == WhenDown::Local;
        if reachable || !local {
            return;
        }
        if suspected && self.state == State::Closed && self.standing().is_none() {
            let tally = self.judge(facts, |detector| detector.verdict(at.now).then(|| detector.tally(at.now)));
            if let Some(Some(tally)) = tally {
                self.trip(rules, tally, Outcome::Failure, at, facts);
            }
        }
    }

    /// The store was heard of.
    pub(super) fn heard(&mut self, clocks: Clocks) {
        if let Some(led) = &mut self.led {
            led.heard = Some(clocks.here);
            led.heard_there = clocks.store;
        }
    }

    /// A lease of the fleet's is in hand: the next call may be a probe.
    pub(super) fn put_in_hand(&mut self, lease: u32, deadline: Timestamp, now: Timestamp) {
        if let Some(led) = &mut self.led {
            led.wants_probe = None;
        }
        if let Some(round) = self.history().round.as_mut() {
            round.put_in_hand(lease, deadline, now + UNUSED);
        }
    }
}
