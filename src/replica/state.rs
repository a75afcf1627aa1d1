//! All that an instance knows of the fleet that shares a breaker, and all that it still has to tell it.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Batch, Command, Probed, Vote, Voter};
use super::census::Census;
use super::clocks::{Clocks, Estimate};
use super::copy_on_write::CopyOnWrite;
use super::pooled::{Rates, Trip, Untold, Verdict};
use super::push::Push;
use super::record::Record;
use super::status::WhenDown;
use crate::backoff::draw;
use crate::circuit::{Advice, Detector, Generation, Run, State};
use crate::store::{BatchId, Round, StoreTrouble, Version};
use crate::time::Timestamp;

/// How an instance takes part in its fleet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Terms {
    /// Where instances vote: as whom this one does. `None`: the calls of all are judged together.
    pub(crate) voter: Option<Voter>,
    /// What it does while the store is away.
    pub(crate) when_down: WhenDown,
    /// How often outcomes are told, where only the detector itself can judge them.
    pub(crate) flush_interval: Duration,
    /// What the store says of its own clock.
    pub(crate) clock_error: Duration,
    /// No rule was chosen, and that is to be told.
    pub(crate) tells_default_rule: bool,
}

/// The protocol state of one shared breaker: what it has alone, and, by [`Deref`], its [`Protocol`].
#[derive(Debug)]
pub(super) struct ReplicaState {
    pub(super) own: Individual,
    /// Replicas to which nothing happens have all of this in common.
    pub(super) protocol: CopyOnWrite<Protocol>,
}

/// What differs from replica to replica, even where nothing happens.
#[derive(Debug)]
pub(super) struct Individual {
    /// Names this instance in batches and records; random.
    pub(super) writer: u64,
    /// There was a call in the generation that opened, or since.
    pub(super) has_calls: bool,
    /// How many calls end a second.
    pub(super) rates: Rates,
    /// The store's clock.
    pub(super) clock: Option<Estimate>,
    /// When the store was last heard of.
    pub(super) heard: Option<Clocks>,
    /// The breaker's time at the last look, and whether it has not moved since the one before.
    pub(super) looked_at: Option<Timestamp>,
    pub(super) stands_still: bool,
    /// How often the engine has looked; an older wake-up is void.
    pub(super) looks: u32,
    /// Goes on with each random number. It must not begin at a number that depends on the writer's, or what writers
    /// draw would depend on each other.
    draws: u32,
}

/// What a replica knows, has to tell, asks and waits for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Protocol {
    /// How this instance takes part.
    pub(super) terms: Terms,
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
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Known {
    /// The record as the store last had it: what the next commit builds on. `None`: it must be loaded first.
    pub(super) stored: Option<StoredRecord>,
    /// The newest record that this instance follows; by the store's clock.
    pub(super) last_record: Option<Arc<Record>>,
    /// All are asked what they have seen.
    pub(super) census: Option<Census>,
    /// The number of the newest suspicion that is known to be over, and one more.
    pub(super) censuses_over: u64,
    /// This instance rejects calls by itself until there is a verdict.
    pub(super) protection: Option<Protection>,
    /// No protection begins before, unless there is a new suspicion; by this instance's clock.
    pub(super) calm_until: Timestamp,
    /// Whether notices come that this instance has caused, and what notices ask for.
    pub(super) push: Push,
    /// A suspicion has come to nothing in this generation.
    pub(super) is_calm: bool,
    /// The store answers, but has taken nothing urgent for so long that this instance goes on alone.
    pub(super) is_stuck: bool,
    /// The machine's state was decided here and is not the fleet's.
    pub(super) diverged: bool,
    /// Whether the store answers.
    pub(super) contact: Contact,
    /// The scheduler has given the store up: until it has not, nothing is asked of it.
    pub(super) store_is_down: bool,
    /// Nothing was heard of the engine, so that nothing can be heard of the store.
    pub(super) engine_is_lost: bool,
    /// By what number this instance goes from its next batch on.
    pub(super) next_writer: Option<u64>,
    /// The newest outage of the store, and the newest trouble with one of its side steps.
    pub(super) outage: Option<KnownTrouble>,
    pub(super) impairment: Option<KnownTrouble>,
    /// Why a request for this breaker alone has failed, and until when that is its trouble.
    pub(super) trouble: Option<(Arc<str>, Failing)>,
    /// Whatever is known may be old.
    pub(super) must_load: bool,
    /// The record is not this release's to touch; when to look again.
    pub(super) blocked_until: Option<Timestamp>,
    /// Since when the record is damaged.
    pub(super) corrupt_since: Option<Timestamp>,
    /// Listeners know that the record holds evidence of another rule.
    pub(super) drift_told: bool,
    /// What listeners were advised.
    pub(super) advised: Vec<Advice>,
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

/// What is wrong with the store, as listeners are told: equal to nothing but itself.
#[derive(Clone, Debug)]
pub(super) struct KnownTrouble(pub(super) Arc<StoreTrouble>);

impl PartialEq for KnownTrouble {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What has failed for this breaker alone, which says what ends that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failing {
    /// Loads, until one succeeds.
    Loads,
    /// Writes, until one succeeds, or nothing is left to write and a load succeeds.
    Writes,
    /// A write that can never succeed, until another one does.
    Size,
}

/// A time in which this instance rejects calls, because its own calls alone meet the rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Protection {
    /// By this instance's clock.
    pub(super) from: Timestamp,
    /// At the latest.
    pub(super) until: Timestamp,
    /// Listeners know.
    pub(super) is_told: bool,
    /// The suspicion whose verdict it awaits, where one is known.
    pub(super) awaits: Option<u64>,
}

/// A record with its place in the store.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StoredRecord {
    /// What a commit over it must expect.
    pub(super) version: Version,
    /// By the store's clock.
    pub(super) record: Arc<Record>,
    /// The store has lost the record; when to write it again, by the engine's clock.
    pub(super) rewrite_at: Option<Timestamp>,
}

/// What the fleet has not been told, or not surely.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outbox {
    /// Calls that no batch tells of yet.
    pub(super) untold: Untold,
    /// What no batch tells of probes yet.
    pub(super) probes: Vec<Probed>,
    /// The vote that no batch tells of yet.
    pub(super) vote: Option<Vote>,
    /// The newest batch, until the store has accepted it.
    pub(super) batch: Option<TakenBatch>,
    /// The number of the newest batch.
    pub(super) batches: u64,
    /// Commands that wait, oldest first, with the times at which they were given.
    pub(super) commands: VecDeque<(Timestamp, Command)>,
    /// Whether this instance is to have a lease: what its calls have met in this generation.
    pub(super) demand: Demand,
    /// When this instance's newest vote was cast, by the store's clock.
    pub(super) voted_at: Timestamp,
    /// Calls that the fleet will never hear of.
    pub(super) forgotten: u64,
}

/// What the calls of an instance have met since the circuit opened.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Demand {
    /// Calls that found no lease, since another instance was last seen to use one.
    pub(super) rejected: u32,
    /// The record has places that no instance has.
    pub(super) has_room: bool,
    /// When a lease was last taken in hand, by the engine's clock.
    pub(super) taken_at: Option<Timestamp>,
}

/// A batch on its way to the record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TakenBatch {
    /// By this the store knows it again.
    pub(super) id: BatchId,
    /// By the store's clock.
    pub(super) batch: Batch,
    /// When it was taken out, by the engine's clock.
    pub(super) taken_at: Timestamp,
    /// How many calls it tells of.
    pub(super) calls: u64,
    /// It lost a race: the store may queue it for the instance that combines.
    pub(super) may_queue: bool,
}

/// What was asked of the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct InFlight {
    /// The request without an answer.
    pub(super) request: Option<Pending>,
    /// When it was sent, by the engine's clock.
    pub(super) asked_at: Timestamp,
    /// This instance combines: the round that it merges next.
    pub(super) combining: Option<Combining>,
    /// Requests without an answer in a row.
    pub(super) failures: u32,
    /// Commits in a row that met another version.
    pub(super) conflicts: u32,
    /// The last batch lost a race: others write as often, and the next may wait for the one that combines at once.
    pub(super) is_contended: bool,
}

/// A request on its way.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Merged {
    /// What it is now.
    pub(super) record: Record,
    /// It is another record than before.
    pub(super) changed: bool,
    /// It is of a new generation.
    pub(super) began: bool,
    /// In a dry run: the circuit would have opened.
    pub(super) would_open: Option<Verdict>,
    /// All are asked, or need not answer any more.
    pub(super) tells_all: bool,
    /// The evidence of some rule had to give way.
    pub(super) drops_evidence: bool,
}

impl Merged {
    /// Tells whether it must be written. A verdict of a dry run takes the evidence with it that led there, so that the
    /// record may be what it was; but only a batch that was accepted counts, and only its writer tells of it.
    pub(super) const fn matters(&self) -> bool {
        self.changed || self.would_open.is_some()
    }
}

/// A turn at combining the batches of others.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Combining {
    /// The batches to merge, and the token that allows to write them.
    pub(super) round: Round,
    /// Rounds in this turn so far.
    pub(super) rounds: u32,
    /// When the turn began, by the engine's clock.
    pub(super) since: Timestamp,
    /// When the store gave out the round, by its own clock: it has all batches that waited then.
    pub(super) handed_out: Timestamp,
}

/// When to do what, by the engine's clock.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Timers {
    /// When what waits is sent; moves as failures are waiting or not.
    pub(super) flush_at: Option<Timestamp>,
    /// When something was last sent.
    pub(super) flushed_at: Option<Timestamp>,
    /// When it was last told because all were asked.
    pub(super) answered_at: Option<Timestamp>,
    /// How long failures wait for company.
    pub(super) linger: Duration,
    /// When to ask for a lease.
    pub(super) probe_at: Option<Timestamp>,
    /// A batch was queued, or a turn at combining was lost; when to see whether a round took in what waits.
    pub(super) look_at: Option<Timestamp>,
    /// A record that was written at this time of the store's clock, or later, has what this instance queued.
    pub(super) taken_in_by: Option<Timestamp>,
    /// The same two times of the newest batch, where others were queued after the one that they are of.
    pub(super) queued_later: Option<(Timestamp, Timestamp)>,
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
}

impl Timers {
    /// Nothing is left that a round is to take in.
    pub(super) const fn forget_look(&mut self) {
        (self.look_at, self.taken_in_by, self.queued_later) = (None, None, None);
    }

    /// A record has what was queued for it by the time of the store's clock at which it was written.
    pub(super) fn end_look(&mut self, written: Timestamp) {
        if self.taken_in_by.is_some_and(|by| written >= by) {
            let later = self.queued_later.take().filter(|(_, by)| written < *by);
            (self.look_at, self.taken_in_by) = later.unzip();
        }
    }
}

/// How urgently the engine is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    /// Something may wait for company.
    MayWait,
    Now,
}

/// Records are looked at this often, whether or not the store tells of changes.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Failures wait this long for company, and up to [`MAX_LINGER`] where the store is busy.
pub(super) const MIN_LINGER: Duration = Duration::from_millis(100);
pub(super) const MAX_LINGER: Duration = Duration::from_secs(5);
/// And this long after a suspicion has come to nothing.
pub(super) const CALM_LINGER: Duration = Duration::from_millis(200);

impl ReplicaState {
    pub(super) fn new(detector: &dyn Detector, writer: u64, terms: Terms) -> Self {
        let known = Known { must_load: true, ..Known::default() };
        let timers = Timers { linger: MIN_LINGER, ..Timers::default() };
        let outbox = Outbox::new(Untold::new(detector));
        let protocol = Protocol { terms, known, outbox, in_flight: InFlight::default(), timers };
        Self { own: Individual::new(writer), protocol: CopyOnWrite::new(protocol) }
    }

    pub(super) fn is_pooled(&self) -> bool {
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

    /// Since when another instance waits for a lease, by the store's clock.
    pub(super) fn wanted_since(&self) -> Option<Timestamp> {
        let wants = &self.known.last_record.as_ref()?.wants;
        wants.iter().filter(|want| want.writer != self.own.writer).map(|want| want.since).min()
    }

    /// Tells whether the fleet decides, not this instance.
    pub(super) fn asks_fleet(&self) -> bool {
        self.is_reachable() && self.follows_fleet()
    }

    /// What holds instead of any state while the store is away, where the user chose that.
    pub(super) fn stand_in(&self) -> Option<WhenDown> {
        (!self.is_reachable() && self.terms.when_down != WhenDown::Local).then_some(self.terms.when_down)
    }

    /// Tells whether good calls are evidence that others may ask for.
    pub(super) fn shares_successes(&self) -> bool {
        self.is_pooled() && self.outbox.untold.wants_good_calls()
    }

    /// Tells whether all outcomes are told, because only the detector itself can judge them.
    pub(super) fn tells_everything(&self) -> bool {
        self.is_pooled() && self.outbox.untold.is_opaque()
    }

    /// Calls of the closed state have ended.
    pub(super) fn saw(&mut self, run: Run, retry_after: Option<Duration>) {
        self.own.has_calls = true;
        if self.terms.voter.is_none() {
            let is_bad = self.outbox.untold.is_bad(&run);
            self.own.rates.count(is_bad, run.count, run.ended);
            if !run.is_bad() && !self.tells_everything() && self.outbox.untold.ignores(&run) {
                // Replicas all whose calls are good stay alike.
                return;
            }
            let forgotten = self.outbox.untold.saw(run, retry_after);
            self.outbox.forgotten += forgotten;
            // Outcomes that only a detector can judge are told soon, good ones as well.
            if run.is_bad() || self.tells_everything() {
                self.wake(Wake::MayWait);
            }
        }
    }

    /// The detector has tripped on this instance's own calls, and others judge as well.
    pub(super) fn tripped(&mut self, trip: Trip) {
        self.outbox.untold.note_trip(trip);
        self.wake(Wake::Now);
    }

    pub(super) fn wake(&mut self, wake: Wake) {
        self.timers.wake = self.timers.wake.max(Some(wake));
    }

    /// Forgets calls that belong to an earlier generation.
    pub(super) fn forget_calls(&mut self) {
        self.outbox.untold.forget_calls();
        self.known.protection = None;
    }

    /// The batch on its way, if there is one, has reached the store, or never will. Returns whether there was one.
    pub(super) fn settle_batch(&mut self, accepted: bool) -> bool {
        let Some(taken) = self.outbox.batch.take() else {
            return false;
        };
        if !accepted {
            self.outbox.forgotten += taken.calls;
            self.outbox.untold.trip_is_lost();
        }
        true
    }

    /// The store's time, as far as it is known here.
    pub(super) fn store_at(&self, here: Timestamp) -> Timestamp {
        self.own.clock.map_or(Timestamp::ZERO, |clock| clock.store_at(here))
    }

    /// What that may be off by.
    pub(super) fn clock_error(&self, here: Timestamp) -> Duration {
        self.own.clock.map_or(Duration::ZERO, |clock| clock.error_at(here)) + self.terms.clock_error
    }

    /// A random part of a time.
    pub(super) fn jitter(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.chance())
    }

    /// A random number from 0 up to 1.
    pub(super) fn chance(&mut self) -> f64 {
        self.own.draws = self.own.draws.wrapping_add(1);
        draw(self.own.writer, u64::from(self.own.draws))
    }
}

impl Deref for ReplicaState {
    type Target = Protocol;

    #[inline]
    fn deref(&self) -> &Protocol {
        &self.protocol
    }
}

impl DerefMut for ReplicaState {
    #[inline]
    fn deref_mut(&mut self) -> &mut Protocol {
        &mut self.protocol
    }
}

impl Individual {
    fn new(writer: u64) -> Self {
        Self {
            writer,
            has_calls: false,
            rates: Rates::default(),
            clock: None,
            heard: None,
            looked_at: None,
            stands_still: false,
            looks: 0,
            draws: 0,
        }
    }
}

impl Outbox {
    fn new(untold: Untold) -> Self {
        Self {
            untold,
            probes: Vec::new(),
            vote: None,
            batch: None,
            batches: 0,
            commands: VecDeque::new(),
            demand: Demand::default(),
            voted_at: Timestamp::ZERO,
            forgotten: 0,
        }
    }

    /// Tells whether something waits, or is on its way, that says what became of a lease.
    pub(super) fn tells_of(&self, lease: u32) -> bool {
        let sent = self.batch.iter().flat_map(|taken| &taken.batch.probes);
        self.probes.iter().chain(sent).any(|probed| probed.lease == lease)
    }
}
