//! A record in the hands of an operator, who has no breaker and knows none of its rules: what it says, and what commands
//! make of it.

use std::time::Duration;

use bytes::Bytes;

use super::commit::commit_of;
use super::merge::Merge;
use super::notice::Announcement;
use super::record::{Record, Unreadable};
use crate::circuit::{
    self, Decision, Generation, Input, Override, Probes, Rules, Standing, State, StepContext, TransitionReason,
};
use crate::store::{Commit, StoreTime, Stored, Summary, Version};
use crate::time::Timestamp;

/// What an operator commands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Order {
    /// For so long; `None`: for as long as the fleet's rule says.
    Trip(Option<Duration>),
    Reset,
    Override(Override),
    Resume,
}

/// Why it is not done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refusal {
    /// An override stands.
    Overridden(Override),
    /// The record holds calls back: without it, breakers would write it again, or let calls through.
    IsHeld(State),
}

/// A record that a store has, or what counts where it has none, at one moment of the store's clock.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operated {
    record: Record,
    version: Version,
    now: Timestamp,
    bytes: usize,
}

/// What a record says. All times are the store's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sight {
    pub(crate) now: Timestamp,
    /// When it was written; `None`: it was not yet.
    pub(crate) written: Option<Timestamp>,
    pub(crate) bytes: usize,
    pub(crate) state: State,
    pub(crate) generation: Generation,
    pub(crate) since: Timestamp,
    pub(crate) reason: Option<TransitionReason>,
    /// How long the newest open period is, where that is known.
    pub(crate) cooldown: Option<Duration>,
    /// When an open circuit lets a probe through, or an override ends, where that is known.
    pub(crate) until: Option<Timestamp>,
    pub(crate) openings: u32,
    pub(crate) standing: Option<Standing>,
    /// While half-open: how many probes are on their way, have succeeded, have failed.
    pub(crate) probes: Option<(usize, u32, u32)>,
    pub(crate) failures: u32,
    pub(crate) votes: u32,
    pub(crate) verdict: Option<circuit::Verdict>,
    /// All instances are asked what they have seen.
    pub(crate) is_suspected: bool,
    /// Of how many rules there is evidence.
    pub(crate) rules: usize,
}

/// A record that is to be gone lives for so long: no time at all means for ever to some stores.
const LAST_MOMENT: Duration = Duration::from_millis(1);

impl Operated {
    /// Reads what a store has; `None`: nothing.
    pub(crate) fn read(stored: &Stored) -> Result<Option<Self>, Unreadable> {
        let is_there = !stored.record.is_empty() || stored.adopted.is_some();
        is_there.then(|| Self::read_or_new(stored)).transpose()
    }

    /// The same; where there is nothing, what counts then.
    pub(crate) fn read_or_new(stored: &Stored) -> Result<Self, Unreadable> {
        let now = stored.now.timestamp();
        let record = if stored.record.is_empty() {
            let left = stored.adopted.filter(|left| left.state == State::Open).and_then(|left| left.open_until);
            Record::unwritten(left.map(StoreTime::timestamp), now).0
        } else {
            // Whose deadline counts for probes is not known here.
            let mut record = Record::load(&stored.record)?;
            record.cut_to(now, Duration::MAX);
            record
        };
        Ok(Self { record, version: stored.version, now, bytes: stored.record.len() })
    }

    /// What takes the place of a damaged record when an operator commands something. Its generation is not known; one that
    /// is the version's number, which is a time in microseconds, comes after all that are counted by ones.
    pub(crate) fn in_place_of_damaged(stored: &Stored) -> Self {
        let now = stored.now.timestamp();
        let record = Record::fresh(Generation::new(stored.version.0), now);
        Self { record, version: stored.version, now, bytes: stored.record.len() }
    }

    /// What it says to one who looks now: an override whose time is over is over.
    pub(crate) fn sight(&self) -> Sight {
        let record = self.change(0, |merge| merge.step(Input::Look)).1;
        let (machine, history) = (&record.machine, record.machine.history());
        let standing = machine.standing().cloned();
        let awaits = history.awaits_cooldown;
        let until = record.until().filter(|until| *until < Timestamp::MAX && !(awaits && standing.is_none()));
        let round = history.round.as_ref().filter(|_| record.state() == State::HalfOpen);
        Sight {
            now: self.now,
            written: (self.version != Version::NONE).then(|| StoreTime(self.version.0).timestamp()),
            bytes: self.bytes,
            state: record.state(),
            generation: record.generation(),
            since: machine.since,
            reason: history.reason,
            cooldown: Some(history.cooldown).filter(|_| history.openings > 0 && !awaits),
            until,
            openings: history.openings,
            standing,
            probes: round.map(|round| {
                let tally = round.tally(&Probes::default(), history.slowness_counts);
                (round.counts().2, tally.succeeded, tally.failed)
            }),
            failures: record.failures(),
            votes: record.live_votes(self.now),
            verdict: record.verdict.filter(|_| record.state() != State::Closed).map(|found| found.shown(self.now)),
            is_suspected: record.is_suspected(),
            rules: record.evidence.len(),
        }
    }

    /// Tells whether the generation is one that the writer's commit began.
    pub(crate) const fn was_written_by(&self, writer: u64) -> bool {
        self.record.decider == writer
    }

    /// What carries out an order, and the record that it leaves; `None` where nothing is to be done.
    pub(crate) fn obey(&self, order: &Order, writer: u64) -> Result<Option<(Commit, Self)>, Refusal> {
        let (decision, record) = self.change(writer, |merge| match order {
            Order::Trip(cooldown) => {
                merge.command(|machine, at, facts| machine.trip_without_rules(*cooldown, at, facts))
            }
            Order::Reset => merge.step(Input::Reset),
            Order::Override(order) => merge.step(Input::Override(order)),
            Order::Resume => merge.step(Input::Resume),
        });
        if let (Decision::Overridden, Some(standing)) = (decision, self.record.machine.standing()) {
            return Err(Refusal::Overridden(standing.order.clone()));
        }
        if record == self.record {
            return Ok(None);
        }
        let mut commit = commit_of(&record, self.version, self.now);
        commit.notice = Some(Announcement::Load.save().into());
        let bytes = commit.record.len();
        Ok(Some((commit, Self { record, bytes, ..self.clone() })))
    }

    /// The same, which the store has as that version since then.
    pub(crate) const fn written(mut self, version: Version, now: StoreTime) -> Self {
        (self.version, self.now) = (version, now.timestamp());
        self
    }

    /// What takes the record away, unless it holds calls back.
    pub(crate) fn forget(&self) -> Result<Commit, Refusal> {
        let (_, record) = self.change(0, |merge| merge.step(Input::Look));
        if record.matters(self.now) {
            return Err(Refusal::IsHeld(record.state()));
        }
        let summary = Summary::closed(record.generation().get());
        let mut commit = Commit::new(self.version, Bytes::new(), summary, LAST_MOMENT);
        commit.notice = Some(Announcement::Load.save().into());
        Ok(commit)
    }

    /// Has something done to the record. None of it asks for a rule, so any rules will do.
    fn change(&self, writer: u64, f: impl FnOnce(&mut Merge<'_>) -> Decision) -> (Decision, Record) {
        let rules = Rules::default();
        let mut merge = Merge::of(&self.record, &rules, StepContext { now: self.now, seed: 0 }, writer);
        let decision = f(&mut merge);
        (decision, merge.finish(&self.record).record)
    }
}
