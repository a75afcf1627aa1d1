//! A breaker of a virtual instance: the real replica, without the shell that keeps calls off the lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::circuit::{
    Admission, Decision, Detector, Fact, Facts, Generation, Input, Machine, Outcome, PartTally, PermitId, RefusedBy,
    RejectReason, Rules, State, StepContext, TransitionReason,
};
use crate::clock::{Clock, ManualClock};
use crate::fleet::member::{Member, MemberId};
use crate::replica::{FleetStatus, POLL_INTERVAL, Record, Replica, Terms, Turn, WakeUp};
use crate::time::Timestamp;

/// How a breaker is made.
pub(super) struct Make {
    pub(super) detector: Box<dyn Detector>,
    pub(super) rules: Rules,
    pub(super) writer: u64,
    pub(super) terms: Terms,
    pub(super) seed: u64,
}

#[derive(Debug)]
pub(super) struct TestMember {
    id: MemberId,
    key: Arc<str>,
    clock: ManualClock,
    engine: ManualClock,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    replica: Replica,
    rules: Rules,
    /// Chance for what the rules draw: each moment has its own, however often the engine looks in it.
    seed: u64,
    wake_up: Option<WakeUp>,
    /// When the leases that it was given run out, by the store's clock: generation, lease, deadline.
    granted: Vec<(u64, u32, Timestamp)>,
    seen: Vec<Seen>,
    /// What it was told of the calls that it gave away.
    books: Books,
    /// The last caller asked before it made its call.
    asked: bool,
}

/// Why a call is not let through, if it is not.
const fn why_not(decision: Decision) -> Option<RejectReason> {
    match decision {
        Decision::Rejected { reason, .. } => Some(reason),
        _ => None,
    }
}

/// Calls, by what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Books {
    /// The store has them.
    pub(super) accepted: u64,
    /// Given up; the store may have them.
    pub(super) unsure: u64,
    /// How often the engine had a turn.
    pub(super) turns: u64,
}

/// What happened to a breaker, for the checks.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Fact(Fact),
    /// It follows a closed state from before the open one that it knows, and that is not over.
    StaleClose(Generation, Generation),
}

impl TestMember {
    pub(super) fn new((id, key): (MemberId, String), make: Make, (clock, engine): (ManualClock, ManualClock)) -> Self {
        let Make { detector, rules, writer, terms, seed } = make;
        let machine = Machine::new(detector, &rules, Generation::new(1), clock.now());
        let inner = Inner {
            replica: Replica::new(machine, writer, terms),
            rules,
            seed,
            wake_up: None,
            granted: Vec::new(),
            seen: Vec::new(),
            books: Books::default(),
            asked: false,
        };
        Self { id, key: key.into(), clock, engine, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call asks, as the shell lets it: without the replica where the view tells.
    pub(super) fn ask(&self) -> Decision {
        let now = self.clock.now();
        let view = self.inner().replica.view();
        let permit = PermitId { generation: view.generation, lease: None };
        match view.admission {
            Admission::All | Admission::Unjudged { until: Timestamp::MAX, .. } => Decision::Admitted(permit),
            Admission::None { until, by } if now < until => {
                let reason = match by {
                    RefusedBy::Circuit => RejectReason::Open,
                    RefusedBy::Operator => RejectReason::ForcedOpen,
                    RefusedBy::Store => RejectReason::StoreDown,
                };
                let until = if by == RefusedBy::Store { now + POLL_INTERVAL } else { until };
                Decision::Rejected { reason, until: Some(until).filter(|until| *until < Timestamp::MAX) }
            }
            Admission::None { .. } | Admission::Unjudged { .. } | Admission::Ask => {
                let foretold = self.asks_first().then(|| self.step(Input::Poll));
                let decision = self.step(Input::Acquire { reserve: false });
                if let Some(foretold) = foretold {
                    assert_eq!(why_not(foretold), why_not(decision), "a caller was told otherwise a moment before");
                }
                decision
            }
        }
    }

    /// Every other caller asks whether it would be let through before it makes its call.
    fn asks_first(&self) -> bool {
        let inner = &mut *self.inner();
        inner.asked = !inner.asked;
        inner.asked
    }

    pub(super) fn report(&self, permit: PermitId, outcome: Outcome) -> Decision {
        self.step(Input::Report { permit, outcome, took: None })
    }

    pub(super) fn step(&self, input: Input<'_>) -> Decision {
        let inner = &mut *self.inner();
        let at = StepContext { now: self.clock.now(), seed: inner.seed };
        let mut facts = Facts::default();
        let decision = inner.replica.step(&inner.rules, input, at, &mut facts);
        inner.after(&facts, self.engine.now(), at.now);
        decision
    }

    pub(super) fn state(&self) -> State {
        self.inner().replica.machine().state()
    }

    /// When the newest open period is over, and why the present generation began.
    pub(super) fn history(&self) -> (Timestamp, Option<TransitionReason>) {
        let inner = self.inner();
        let history = inner.replica.machine().state.history();
        (history.open_until, history.reason)
    }

    pub(super) fn tallies(&self) -> Vec<PartTally> {
        self.inner().replica.tallies(self.clock.now())
    }

    pub(super) fn generation(&self) -> Generation {
        self.inner().replica.machine().generation()
    }

    pub(super) fn status(&self) -> FleetStatus {
        self.inner().replica.status(self.clock.now())
    }

    /// The store's time as far as it is known here, and what that may be off by.
    pub(super) fn store_clock(&self) -> Option<(Timestamp, Duration)> {
        self.inner().replica.store_clock(self.clock.now())
    }

    /// Tells whether an override stands that is not over, in the breaker's own view.
    pub(super) fn is_overridden(&self) -> bool {
        let inner = self.inner();
        let over = inner.replica.view().until().is_some_and(|until| until <= self.clock.now());
        inner.replica.machine().overridden().is_some() && !over
    }

    /// Tells whether the fleet decides which calls probe.
    pub(super) fn is_led(&self) -> bool {
        let inner = self.inner();
        let record = inner.replica.last_record();
        let holds = record.is_some_and(|record| record.state() != State::Closed || record.is_held());
        inner.replica.is_reachable() && record.is_some() && (!inner.replica.votes() || holds)
    }

    /// How long it stays shut by itself; `None`: until an operator opens it.
    pub(super) fn left(&self) -> Option<u64> {
        let until = self.inner().replica.view().until();
        until.map(|until| crate::time::nanos(until.since(self.clock.now())))
    }

    /// When a lease of the fleet's runs out, by the store's clock.
    pub(super) fn deadline_of(&self, lease: u32) -> Option<Timestamp> {
        let inner = self.inner();
        inner.granted.iter().rev().find(|(_, id, _)| *id == lease).map(|(_, _, until)| *until)
    }

    pub(super) fn books(&self) -> Books {
        self.inner().books
    }

    pub(super) fn take_wake_up(&self) -> Option<WakeUp> {
        self.inner().wake_up.take()
    }

    pub(super) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.inner().seen)
    }
}

impl Inner {
    fn after(&mut self, facts: &Facts, now: Timestamp, here: Timestamp) {
        self.seen.extend(facts.iter().map(Seen::Fact));
        if let Some(wake_up) = self.replica.take_wake_up(|| now, here) {
            self.wake_up = Some(wake_up);
        }
    }

    /// The replica has followed a record, where it knew another one before.
    fn followed(&mut self, known: Option<&Record>, there: Timestamp) {
        let Some(record) = self.replica.last_record().cloned() else {
            return;
        };
        if let Some(known) = known.filter(|known| known.state() == State::Open && known.matters(there))
            && record.state() == State::Closed
            && record.machine.since < known.machine.since
        {
            self.seen.push(Seen::StaleClose(known.generation(), record.generation()));
        }
        for lease in self.replica.leases() {
            if let Some(until) = record.lease_until(lease) {
                self.granted.push((record.generation().get(), lease, until));
            }
        }
        if self.granted.len() > 64 {
            self.granted.drain(..32);
        }
    }
}

impl Member for TestMember {
    fn id(&self) -> MemberId {
        self.id
    }

    fn key(&self) -> &Arc<str> {
        &self.key
    }

    fn visit(&self, now: Timestamp, f: &mut dyn FnMut(&mut Replica, &mut Turn<'_>)) {
        let inner = &mut *self.inner();
        let at = StepContext { now: self.clock.now(), seed: inner.seed };
        let mut facts = Facts::default();
        let (known, batch) = (inner.replica.last_record().cloned(), inner.replica.batch_calls());
        let forgotten = inner.replica.status(at.now).forgotten;
        f(&mut inner.replica, &mut Turn { now, at, rules: &inner.rules, facts: &mut facts });
        inner.books.turns += 1;
        if let Some((id, calls)) = batch
            && inner.replica.batch_calls().is_none_or(|(other, _)| other != id)
        {
            if inner.replica.status(at.now).forgotten == forgotten {
                inner.books.accepted += calls;
            } else {
                inner.books.unsure += calls;
            }
        }
        inner.followed(known.as_ref(), inner.replica.store_time(at.now));
        inner.after(&facts, now, at.now);
    }
}

/// Members by their keys.
pub(super) type Members = Vec<Arc<TestMember>>;
