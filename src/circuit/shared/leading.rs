//! The side of the machine that faces the fleet.

use std::sync::Arc;
use std::time::Duration;

use super::adopt::Clocks;
use super::batch::{Batch, Calls, Order, Probed};
use super::held::Seen;
use super::led::{Led, Needs, Pending, Ring};
use super::record::{Record, Vote, translate};
use super::status::{FleetStatus, WhenDown};
use crate::circuit::machine::Machine;
use crate::circuit::probes::Round;
use crate::circuit::{Decision, Facts, Outcome, PermitId, RejectReason, Rules, Run, State, StateScope, StepContext};
use crate::time::Timestamp;

/// A call that found no probe to be is told to come back after this, where nothing better is known.
const SOON: Duration = Duration::from_millis(50);
/// A lease that nobody uses goes back after this.
const UNUSED: Duration = Duration::from_secs(1);
/// Orders that wait, at most; nobody commands a breaker that often.
const MOST_ORDERS: usize = 64;
/// An order to trip or to reset that the store did not take for so long is void.
const STALE: Duration = Duration::from_secs(60);

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
            return Decision::Admitted(PermitId { generation: self.generation, lease: Some(lease) });
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
            Order::Override(order) => order.after(now.since(*at)).is_some(),
            Order::Resume | Order::Look => true,
        });
        let as_of_now = |(at, order): &(Timestamp, Order)| match order {
            Order::Override(order) => order.after(now.since(*at)).map(Order::Override),
            other => Some(other.clone()),
        };
        led.orders.iter().filter_map(as_of_now).collect()
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
    pub(crate) fn set_reachable(&mut self, rules: &Rules, away: Option<&Arc<str>>, at: StepContext, facts: &mut Facts) {
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
