//! All that an instance knows of the fleet that shares a breaker, and all that it still has to tell it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Batch, Command, Probed, Vote, Voter};
use super::evidence_log::{CallLog, fingerprint};
use super::record::{Clocks, Record};
use super::status::WhenDown;
use crate::backoff::draw;
use crate::circuit::{Detector, Generation, Horizon, Run, State, Tally};
use crate::store::{BatchId, Round, Version};
use crate::time::Timestamp;

/// How an instance takes part in its fleet.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Names this instance in batches and records; random.
    pub(crate) writer: u64,
    /// Where instances vote: as whom this one does. `None`: the calls of all are judged together.
    pub(crate) voter: Option<Voter>,
    /// What it does while the store is away.
    pub(crate) when_down: WhenDown,
    /// How often successes are told, where the detector looks at them.
    pub(crate) flush_interval: Duration,
}

/// The protocol state of one shared breaker.
#[derive(Debug)]
pub(super) struct ReplicaState {
    /// How this instance takes part.
    pub(super) terms: Terms,
    /// The detector's rule, as [`fingerprint`] names it: instances of one rule share evidence.
    pub(super) rule: u64,
    /// How far back the detector looks.
    pub(super) horizon: Horizon,
    /// What the store was last known to have, and what follows from that.
    pub(super) known: Known,
    /// What the store is to be told.
    pub(super) outbox: Outbox,
    /// What the store is being asked.
    pub(super) in_flight: InFlight,
    /// When to do what next.
    pub(super) timers: Timers,
}

/// What is known of the store and its record.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The record as the store last had it: what the next commit builds on. `None`: it must be loaded first.
    pub(super) stored: Option<StoredRecord>,
    /// The newest record that this instance follows; by the store's clock.
    pub(super) last_record: Option<Arc<Record>>,
    /// The record's evidence for this instance's rule, by this instance's clock.
    pub(super) fleet_evidence: Option<CallLog>,
    /// The machine's state was decided here and is not the fleet's.
    pub(super) diverged: bool,
    /// Whether the store answers.
    pub(super) contact: Contact,
    /// The scheduler has given the store up: until it has not, nothing is asked of it.
    pub(super) store_is_down: bool,
    /// When the store was last heard of.
    pub(super) heard: Option<Clocks>,
    /// Whatever is known may be old.
    pub(super) must_load: bool,
    /// The record is not this release's to touch; when to look again.
    pub(super) blocked_until: Option<Timestamp>,
    /// Since when the record is damaged.
    pub(super) corrupt_since: Option<Timestamp>,
    /// Listeners know that the record holds evidence of another rule.
    pub(super) drift_told: bool,
}

/// Whether the store answers for this breaker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Contact {
    /// It has not answered yet.
    #[default]
    NotYet,
    Answers,
    /// It does not, and why.
    Away(Arc<str>),
}

/// A record with its place in the store.
#[derive(Clone, Debug)]
pub(super) struct StoredRecord {
    /// What a commit over it must expect.
    pub(super) version: Version,
    /// By the store's clock.
    pub(super) record: Arc<Record>,
    /// The store has lost the record; when to write it again, by the engine's clock.
    pub(super) rewrite_at: Option<Timestamp>,
    /// When the store had it.
    pub(super) at: Clocks,
}

/// What the fleet has not been told, or not surely.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Calls that no batch tells of yet.
    pub(super) calls: CallLog,
    /// The longest wait that a failure among them asked for.
    pub(super) retry_after: Option<Duration>,
    /// What no batch tells of probes yet.
    pub(super) probes: Vec<Probed>,
    /// The vote that no batch tells of yet.
    pub(super) vote: Option<Vote>,
    /// The newest batch, until the store has accepted it.
    pub(super) batch: Option<TakenBatch>,
    /// The number of the newest batch.
    pub(super) batches: u64,
    /// Calls of the newest batch, for as long as no record is known to contain them; by this instance's clock.
    pub(super) sent_calls: Option<CallLog>,
    /// Commands that wait, oldest first, with the times at which they were given.
    pub(super) commands: VecDeque<(Timestamp, Command)>,
    /// The detector has tripped here, and the fleet has not said yet what it thinks of that.
    pub(super) awaits_verdict: bool,
    /// The same, of what the newest batch asks, until the store has accepted it.
    pub(super) verdict_asked: bool,
    /// When a call last found no lease to probe with.
    pub(super) wants_probe: Option<Timestamp>,
    /// When this instance's newest vote was cast, by the store's clock.
    pub(super) voted_at: Timestamp,
    /// Calls that the fleet will never hear of.
    pub(super) forgotten: u64,
}

/// A batch on its way to the record.
#[derive(Debug)]
pub(super) struct TakenBatch {
    /// By this the store knows it again.
    pub(super) id: BatchId,
    /// By the store's clock.
    pub(super) batch: Batch,
    /// When it was taken out, by the engine's clock.
    pub(super) taken_at: Timestamp,
    /// It lost a race: the store may queue it for the instance that combines.
    pub(super) may_queue: bool,
}

/// What was asked of the store.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// The request without an answer.
    pub(super) request: Option<Pending>,
    /// This instance combines: the round that it merges next.
    pub(super) combining: Option<Combining>,
    /// Requests without an answer in a row.
    pub(super) failures: u32,
    /// Commits in a row that met another version.
    pub(super) conflicts: u32,
}

/// A request on its way.
#[derive(Debug)]
pub(super) enum Pending {
    Load,
    Commit {
        /// What becomes of the record if the store takes it.
        merged: Box<Merged>,
        /// How many of the commands that wait are in it.
        commands: usize,
    },
}

/// What became of a record.
#[derive(Debug)]
pub(super) struct Merged {
    /// What it is now.
    pub(super) record: Record,
    /// It is another record than before.
    pub(super) changed: bool,
    /// It is of a new generation.
    pub(super) began: bool,
    /// Leases that the commands were given.
    pub(super) granted: Vec<u32>,
    /// In a dry run: the circuit would have opened.
    pub(super) would_open: Option<Tally>,
}

impl Merged {
    /// Tells whether it must be written. A verdict of a dry run takes the evidence with it that led there, so that the record
    /// may be what it was; but only a batch that was accepted counts, and only its writer tells of it.
    pub(super) const fn matters(&self) -> bool {
        self.changed || self.would_open.is_some()
    }
}

/// A turn at combining the batches of others.
#[derive(Debug)]
pub(super) struct Combining {
    /// The batches to merge, and the token that allows to write them.
    pub(super) round: Round,
    /// Rounds in this turn so far.
    pub(super) rounds: u32,
    /// When the turn began, by the engine's clock.
    pub(super) since: Timestamp,
}

/// When to do what, by the engine's clock.
#[derive(Debug, Default)]
pub(super) struct Timers {
    /// When what waits is sent; moves as failures are waiting or not.
    pub(super) flush_at: Option<Timestamp>,
    /// When something was last sent.
    pub(super) flushed_at: Timestamp,
    /// How long failures wait for company.
    pub(super) linger: Duration,
    /// When to ask for a lease.
    pub(super) probe_at: Option<Timestamp>,
    /// A batch was queued, or a turn at combining was lost; when to see whether a round took in what waits.
    pub(super) look_at: Option<Timestamp>,
    /// Nothing is asked before.
    pub(super) not_before: Timestamp,
    /// Since when something urgent waits.
    pub(super) urgent_since: Option<Timestamp>,
    /// A caller waits for a flush; `true` when the newest record has been fetched for it.
    pub(super) flush: Option<bool>,
    /// The breaker was dropped; until when what it left may be sent.
    pub(super) departing: Option<Timestamp>,
    /// What a step wants the engine woken for.
    pub(super) wake: Option<Wake>,
    /// The loudest wake-up that the engine has not answered with a look yet.
    pub(super) woken: Option<Wake>,
    /// How often the engine has looked; an older wake-up is void.
    pub(super) looks: u64,
    /// Goes on with each random number, from the writer's on.
    draws: u64,
}

/// How urgently the engine is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    /// Something may wait for company.
    MayWait,
    Now,
}

/// Failures wait this long for company, and up to [`MAX_LINGER`] where the store is busy.
pub(super) const MIN_LINGER: Duration = Duration::from_millis(100);
pub(super) const MAX_LINGER: Duration = Duration::from_secs(5);
/// A lease is fetched only for calls that have asked within this time.
pub(super) const PROBE_DEMAND_LASTS: Duration = Duration::from_secs(1);

impl ReplicaState {
    /// `now` is the engine's time.
    pub(super) fn new(detector: &dyn Detector, terms: Terms, now: Timestamp) -> Self {
        let (rule, horizon) = (fingerprint(&detector.rule()), detector.horizon());
        let known = Known { must_load: true, ..Known::default() };
        let timers = Timers { flushed_at: now, linger: MIN_LINGER, draws: terms.writer, ..Timers::default() };
        let outbox = Outbox { calls: CallLog::new(horizon), ..Outbox::default() };
        Self { terms, rule, horizon, known, outbox, in_flight: InFlight::default(), timers }
    }

    pub(super) const fn is_pooled(&self) -> bool {
        self.terms.voter.is_none()
    }

    /// The generation that the fleet is known to be in.
    pub(super) fn generation(&self) -> Option<Generation> {
        self.known.last_record.as_ref().map(|record| record.generation())
    }

    pub(super) fn is_reachable(&self) -> bool {
        self.known.contact == Contact::Answers
    }

    /// Tells whether the fleet as a whole is in another state than closed.
    pub(super) fn fleet_holds_a_state(&self) -> bool {
        let holds = |record: &Arc<Record>| record.state() != State::Closed || record.machine.standing().is_some();
        self.known.last_record.as_ref().is_some_and(holds)
    }

    /// Tells whether the machine's state, where it has not diverged, is the fleet's.
    pub(super) fn follows_fleet(&self) -> bool {
        self.known.last_record.is_some() && (self.is_pooled() || self.fleet_holds_a_state())
    }

    /// Tells whether the fleet decides, not this instance.
    pub(super) fn asks_fleet(&self) -> bool {
        self.is_reachable() && self.follows_fleet()
    }

    /// What holds instead of any state while the store is away, where the user chose that.
    pub(super) fn stand_in(&self) -> Option<WhenDown> {
        (!self.is_reachable() && self.terms.when_down != WhenDown::Local).then_some(self.terms.when_down)
    }

    /// Tells whether successes are evidence that others must see.
    pub(super) const fn shares_successes(&self) -> bool {
        self.is_pooled() && self.horizon.wants_successes()
    }

    /// Calls of the closed state have ended.
    pub(super) fn saw(&mut self, run: Run, retry_after: Option<Duration>) {
        let outbox = &mut self.outbox;
        outbox.retry_after = outbox.retry_after.max(retry_after);
        if self.terms.voter.is_some() || !run.is_bad() && !self.horizon.wants_successes() {
            return;
        }
        outbox.forgotten += outbox.calls.add(run);
        if outbox.calls.is_crowded() {
            // An ever longer outage must not fill the memory.
            outbox.calls.trim(run.ended);
        }
        if run.is_bad() {
            self.wake(Wake::MayWait);
        }
    }

    pub(super) fn wake(&mut self, wake: Wake) {
        self.timers.wake = self.timers.wake.max(Some(wake));
    }

    /// A call could be a probe. The engine looks again by itself while such calls keep coming.
    pub(super) fn want_probe(&mut self, now: Timestamp) {
        let before = self.outbox.wants_probe.replace(now);
        if before.is_none_or(|before| now.since(before) >= PROBE_DEMAND_LASTS / 2) {
            self.wake(Wake::Now);
        }
    }

    /// Forgets calls that belong to an earlier generation.
    pub(super) fn forget_calls(&mut self) {
        self.outbox.calls = CallLog::new(self.horizon);
        self.outbox.retry_after = None;
        self.outbox.sent_calls = None;
        self.outbox.awaits_verdict = false;
        self.outbox.verdict_asked = false;
    }

    /// The batch on its way, if there is one, has reached the store, or never will. Returns whether there was one.
    pub(super) fn settle_batch(&mut self, accepted: bool) -> bool {
        if self.outbox.batch.take().is_none() {
            return false;
        }
        // What the detector has tripped on since is still to be told.
        self.outbox.verdict_asked = false;
        if !accepted {
            self.outbox.forgotten += self.outbox.sent_calls.take().map_or(0, |sent| sent.count());
        }
        true
    }

    /// Shows the detector what the fleet has seen, and what only this instance has.
    pub(super) fn replay(&self, detector: &mut dyn Detector) {
        let own = self.outbox.sent_calls.iter().chain([&self.outbox.calls]).flat_map(CallLog::runs);
        let mut fleets = self.known.fleet_evidence.clone().unwrap_or_default();
        // Before what follows shows it again: a time window that is reset keeps the newest time that it has seen.
        fleets.replay(detector);
        if let CallLog::Merged { .. } = fleets {
            // By time, so that what is merged is judged as one.
            own.for_each(|run| {
                fleets.add(run);
            });
            fleets.replay(detector);
        } else {
            own.for_each(|run| run.show(detector));
        }
    }

    /// A random part of a time.
    pub(super) fn jitter(&mut self, most: Duration) -> Duration {
        self.timers.draws = self.timers.draws.wrapping_add(1);
        most.mul_f64(draw(self.terms.writer, self.timers.draws))
    }
}
