//! A breaker of a virtual instance, as its core sees it: the rules, without the shell that keeps calls off the lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::circuit::{
    Admission, Clocks, Decision, Detector, Fact, Facts, FleetStatus, Folded, Generation, Input, Led, Machine, Met,
    Needs, Order, Outcome, PermitId, Record, RejectReason, Ring, Rules, State, StepContext, Unreadable, WhenDown,
};
use crate::clock::{Clock, ManualClock};
use crate::fleet::member::{Member, News};
use crate::store::{StoreTime, Stored};
use crate::time::Timestamp;

/// How a breaker is made.
pub(super) struct Make {
    pub(super) detector: Box<dyn Detector>,
    pub(super) rules: Rules,
    pub(super) voter: Option<(Arc<str>, u32)>,
    pub(super) when_down: WhenDown,
    pub(super) seed: u64,
}

#[derive(Debug)]
pub(super) struct Seat {
    clock: ManualClock,
    body: Mutex<Body>,
}

#[derive(Debug)]
pub(super) struct Body {
    machine: Machine,
    rules: Rules,
    votes: bool,
    /// Chance for what the rules draw: each moment has its own, however often the engine looks in it.
    seed: u64,
    rung: u8,
    /// The engine is to be called.
    bell: bool,
    reachable: bool,
    /// The newest record that it was told to follow.
    adopted: Option<Record>,
    /// When the leases that it was given run out, by the store's clock: generation, lease, deadline.
    granted: Vec<(u64, u32, Timestamp)>,
    seen: Vec<Seen>,
    /// What it was told of the calls that it gave away.
    pub(super) books: Books,
}

/// Calls, by what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Books {
    /// Taken out, with no word of them yet.
    pub(super) taken: u64,
    /// The store has them.
    pub(super) accepted: u64,
    /// Given up; the store may have them.
    pub(super) unsure: u64,
    /// The largest batch, in bytes.
    pub(super) largest: usize,
}

/// What happened to a breaker, for whoever checks it.
#[derive(Clone, Debug)]
pub(super) enum Seen {
    Fact(Fact),
    News(News),
    /// Told to follow a closed state from before the open one that it knows, and that is not over.
    StaleClose(Generation, Generation),
}

impl Seat {
    pub(super) fn new(make: Make, clock: ManualClock) -> Self {
        let Make { detector, rules, voter, when_down, seed } = make;
        let votes = voter.is_some();
        let led = Led::new(&*detector, voter, when_down);
        let machine = Machine::new(detector, &rules, Generation::new(1), clock.now()).led_by(led);
        let body = Body {
            machine,
            rules,
            votes,
            seed,
            rung: 0,
            bell: false,
            reachable: false,
            adopted: None,
            granted: Vec::new(),
            seen: Vec::new(),
            books: Books::default(),
        };
        Self { clock, body: Mutex::new(body) }
    }

    fn body(&self) -> MutexGuard<'_, Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act<R>(&self, f: impl FnOnce(&mut Machine, &Rules, StepContext, &mut Facts) -> R) -> R {
        let body = &mut *self.body();
        let at = StepContext { now: self.clock.now(), seed: body.seed };
        let mut facts = Facts::default();
        let result = f(&mut body.machine, &body.rules, at, &mut facts);
        body.seen.extend(facts.iter().map(Seen::Fact));
        if let Some(ring) = body.machine.take_ring()
            && ring as u8 > body.rung
        {
            body.rung = ring as u8;
            body.bell = true;
        }
        result
    }

    /// A call asks, as the shell lets it: without the machine where the view tells.
    pub(super) fn ask(&self) -> Decision {
        let now = self.clock.now();
        let view = self.body().machine.view();
        let permit = PermitId { generation: view.generation, lease: None };
        match view.admission {
            Admission::All | Admission::Unjudged { until: Timestamp::MAX, .. } => Decision::Admitted(permit),
            Admission::None { until, .. } if now < until => {
                Decision::Rejected { reason: RejectReason::Open, until: Some(until) }
            }
            Admission::None { .. } | Admission::Unjudged { .. } | Admission::Ask => {
                self.step(Input::Acquire { reserve: false })
            }
        }
    }

    pub(super) fn report(&self, permit: PermitId, outcome: Outcome) -> Decision {
        self.step(Input::Report { permit, outcome, took: None })
    }

    pub(super) fn step(&self, input: Input<'_>) -> Decision {
        self.act(|machine, rules, at, facts| machine.step(rules, input, at, facts))
    }

    pub(super) fn state(&self) -> State {
        self.body().machine.state()
    }

    pub(super) fn generation(&self) -> Generation {
        self.body().machine.generation()
    }

    pub(super) fn status(&self) -> FleetStatus {
        self.body().machine.fleet_status(self.clock.now()).unwrap_or(FleetStatus {
            generation: None,
            away: None,
            heard: None,
            waiting: 0,
            forgotten: 0,
            votes: None,
        })
    }

    /// Tells whether an override stands that is not over, in the breaker's own view.
    pub(super) fn is_overridden(&self) -> bool {
        let body = self.body();
        let over = body.machine.until().is_some_and(|until| until <= self.clock.now());
        body.machine.overridden().is_some() && !over
    }

    /// Tells whether the fleet decides who probes.
    pub(super) fn is_led(&self) -> bool {
        let body = self.body();
        let leads = body.adopted.as_ref().is_some_and(|record| record.state != State::Closed || record.is_held());
        body.reachable && body.adopted.is_some() && (!body.votes || leads)
    }

    /// How long it stays shut by itself; `None`: until somebody opens it.
    pub(super) fn left(&self) -> Option<u64> {
        self.body().machine.until().map(|until| crate::time::nanos(until.since(self.clock.now())))
    }

    /// When a lease of the fleet's runs out, by the store's clock.
    pub(super) fn deadline_of(&self, lease: u32) -> Option<Timestamp> {
        let body = self.body();
        body.granted.iter().rev().find(|(_, id, _)| *id == lease).map(|(_, _, until)| *until)
    }

    pub(super) fn books(&self) -> Books {
        self.body().books
    }

    pub(super) fn take_bell(&self) -> bool {
        std::mem::take(&mut self.body().bell)
    }

    pub(super) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.body().seen)
    }
}

/// The store's time in the unit of the rules.
pub(super) const fn timestamp(now: StoreTime) -> Timestamp {
    Timestamp::from_nanos(now.0.saturating_mul(1_000))
}

impl Member for Seat {
    fn clock(&self, _now: Timestamp) -> Timestamp {
        self.clock.now()
    }

    fn needs(&self) -> Needs {
        self.act(|machine, _, at, _| machine.needs(at.now))
    }

    fn orders(&self) -> Vec<Order> {
        self.act(|machine, _, at, _| machine.orders(at.now))
    }

    fn ordered(&self, count: usize) {
        self.act(|machine, _, _, _| machine.ordered(count));
    }

    fn take(&self, now: StoreTime) -> Option<Vec<u8>> {
        let waiting = self.status().waiting;
        let bytes = self.act(|machine, _, at, _| machine.take_batch(at.now, timestamp(now)));
        let books = &mut self.body().books;
        if let Some(bytes) = &bytes {
            books.taken = waiting;
            books.largest = books.largest.max(bytes.len());
        }
        bytes
    }

    fn taken_settled(&self, accepted: bool) {
        self.act(|machine, _, _, _| machine.batch_settled(accepted));
        let books = &mut self.body().books;
        let taken = std::mem::take(&mut books.taken);
        if accepted {
            books.accepted += taken;
        } else {
            books.unsure += taken;
        }
    }

    fn return_leases(&self) {
        self.act(|machine, _, _, _| machine.return_leases());
    }

    fn meet(&self, stored: &Stored) -> Result<Met, Unreadable> {
        let bytes = (!stored.record.is_empty()).then_some(&stored.record[..]);
        self.act(|machine, _, _, _| machine.meet(bytes, None, timestamp(stored.now)))
    }

    fn fold(&self, record: &Record, batches: &[&[u8]], orders: &[Order], writer: u64, now: StoreTime) -> Folded {
        let now = timestamp(now);
        self.act(|machine, rules, at, _| {
            machine.fold(rules, record, batches, orders, writer, StepContext { now, ..at })
        })
    }

    fn adopt(&self, record: &Record, writer: u64, granted: &[u32], settled: bool, now: StoreTime) {
        let there = timestamp(now);
        self.act(|machine, _, at, facts| {
            let clocks = Clocks { here: at.now, store: there };
            machine.adopt(record, (writer, granted, settled), clocks, at, facts);
        });
        let body = &mut *self.body();
        let known = body.adopted.as_ref();
        if known.is_some_and(|known| known.generation > record.generation) {
            return;
        }
        if let Some(known) = known.filter(|known| known.state == State::Open && known.matters(there))
            && record.state == State::Closed
            && record.began() < known.began()
        {
            body.seen.push(Seen::StaleClose(known.generation, record.generation));
        }
        let until = |lease: &u32| record.lease_until(*lease).map(|until| (record.generation.get(), *lease, until));
        body.granted.extend(granted.iter().filter_map(until));
        if body.granted.len() > 64 {
            body.granted.drain(..32);
        }
        body.adopted = Some(record.clone());
    }

    fn set_reachable(&self, away: Option<&Arc<str>>) {
        self.act(|machine, rules, at, facts| machine.set_reachable(rules, away, at, facts));
        self.body().reachable = away.is_none();
    }

    fn tell(&self, news: News) {
        self.body().seen.push(Seen::News(news));
    }

    fn heard(&self, armed: bool) {
        self.body().rung = if armed { Ring::MayWait as u8 } else { 0 };
    }
}
