//! A breaker's place in its fleet: what the engine sees of it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use super::cell::{Body, BreakerCell, Flush, InFleet, Visit};
use super::events::{EventKind, Occurrence};
use super::settings::Settings;
use crate::circuit::{
    Clocks, Detector, Facts, Folded, Generation, Led, Machine, Met, Needs, Order, Record, Ring, Rules, State,
    StepContext, Unreadable,
};
use crate::clock::fresh_seed;
use crate::error::ConfigError;
use crate::fleet::{Engine, Member, MemberId, News};
use crate::store::{Key, StoreTime, Stored};
use crate::sync::unpoisoned;
use crate::time::Timestamp;

/// A breaker's membership.
#[derive(Debug)]
pub(super) struct Membership {
    engine: Arc<Engine>,
    id: MemberId,
    seat: Arc<Seat>,
}

/// A breaker that nobody holds any more, for as long as the engine takes to send what it has left to say.
struct Departed(Mutex<Body>);

/// Something that an engine may do things to a machine through.
trait Reach: Send + Sync + 'static {
    /// Has something done to the machine, if it is still there.
    fn act<R>(&self, f: impl FnOnce(&mut Machine, &Rules, StepContext, &mut Facts) -> R) -> Option<R>;

    /// Has listeners told.
    fn tell(&self, _kind: EventKind) {}

    /// The engine has heard.
    fn heard(&self, _armed: bool) {}
}

/// The engine's way to a breaker, for as long as the breaker is where it was.
#[derive(Debug)]
struct Seat {
    cell: &'static BreakerCell,
    born: Generation,
    /// How loudly the engine was called since it last heard.
    rung: AtomicU8,
}

impl Settings {
    pub(super) fn check_sharing(&self) -> Result<(), ConfigError> {
        match (&self.fleet, &self.store) {
            (Some(_), None) => Err(ConfigError::new("fleet", &"set", "only together with `store`")),
            (Some(fleet), Some(_)) => fleet.check(),
            (None, _) => Ok(()),
        }
    }

    /// How exactly successes must be known: as a detector needs it, and exactly enough to be merged with those of others.
    pub(super) fn time_resolution(&self, detector: &dyn Detector) -> Option<std::time::Duration> {
        const MERGED: std::time::Duration = std::time::Duration::from_millis(64);
        let fleet = self.fleet.clone().unwrap_or_default();
        let shares = self.store.is_some() && fleet.shares_successes(detector.horizon());
        detector.time_resolution().or(shares.then_some(MERGED))
    }

    /// Joins the fleet, where there is one.
    pub(super) fn join(
        &self,
        name: &str,
        detector: &dyn Detector,
        cell: &'static BreakerCell,
        born: Generation,
    ) -> Option<(Led, Box<dyn InFleet>)> {
        let store = self.store.as_ref()?;
        let fleet = self.fleet.clone().unwrap_or_default();
        let engine = Engine::of(store);
        let seat = Arc::new(Seat { cell, born, rung: AtomicU8::new(0) });
        let id = engine.next_id();
        let key = Key::new(name).as_str().to_owned();
        engine.join(id, Arc::<Seat>::clone(&seat), key, fleet.flush_interval);
        Some((Led::new(detector, fleet.voter(), fleet.when_down), Box::new(Membership { engine, id, seat })))
    }
}

impl InFleet for Membership {
    /// Calls the engine, unless it has been called as loudly since it last heard.
    #[cold]
    fn ring(&self, ring: Ring) {
        if self.seat.rung.fetch_max(ring as u8, Ordering::AcqRel) < ring as u8 {
            self.engine.ring(self.id);
        }
    }

    fn flush(&self) -> Flush {
        Box::pin(self.engine.flush(self.id))
    }

    fn depart(self: Box<Self>, body: Body) {
        self.engine.depart(self.id, Arc::new(Departed(Mutex::new(body))));
    }
}

impl BreakerCell {
    pub(super) fn flush(&'static self) -> Option<Flush> {
        self.visit(|Visit { body, .. }| body.fleet.as_ref().map(|fleet| fleet.flush())).flatten()
    }
}

impl Reach for Departed {
    fn act<R>(&self, f: impl FnOnce(&mut Machine, &Rules, StepContext, &mut Facts) -> R) -> Option<R> {
        let mut body = unpoisoned(self.0.lock());
        let Body { machine, settings, .. } = &mut *body;
        let at = StepContext { now: settings.clock.now(), seed: fresh_seed() };
        Some(f(machine, &settings.rules, at, &mut Facts::default()))
    }
}

impl Reach for Seat {
    fn act<R>(&self, f: impl FnOnce(&mut Machine, &Rules, StepContext, &mut Facts) -> R) -> Option<R> {
        self.cell.visit(|visit| {
            let Visit { body, at, first_generation } = visit;
            let at = StepContext { seed: fresh_seed(), ..at };
            (first_generation == self.born)
                .then(|| self.cell.act(body, at, true, |machine, rules, facts| f(machine, rules, at, facts)))
        })?
    }

    fn tell(&self, kind: EventKind) {
        self.cell.visit(|Visit { body, at, first_generation }| {
            if first_generation == self.born
                && let Some(notifier) = &body.notifier
            {
                notifier.push(Occurrence::new(kind, body.machine.generation(), at.now));
            }
        });
    }

    fn heard(&self, armed: bool) {
        self.rung.store(if armed { Ring::MayWait as u8 } else { 0 }, Ordering::Release);
    }
}

/// The store's time in the unit of the rules.
const fn timestamp(now: StoreTime) -> Timestamp {
    Timestamp::from_nanos(now.0.saturating_mul(1_000))
}

impl<T: Reach> Member for T {
    fn clock(&self, now: Timestamp) -> Timestamp {
        self.act(|_, _, at, _| at.now).unwrap_or(now)
    }

    fn needs(&self) -> Needs {
        self.act(|machine, _, at, _| machine.needs(at.now)).unwrap_or_default()
    }

    fn orders(&self) -> Vec<Order> {
        self.act(|machine, _, at, _| machine.orders(at.now)).unwrap_or_default()
    }

    fn ordered(&self, count: usize) {
        self.act(|machine, _, _, _| machine.ordered(count));
    }

    fn take(&self, now: StoreTime) -> Option<Vec<u8>> {
        self.act(|machine, _, at, _| machine.take_batch(at.now, timestamp(now)))?
    }

    fn taken_settled(&self, accepted: bool) {
        self.act(|machine, _, _, _| machine.batch_settled(accepted));
    }

    fn return_leases(&self) {
        self.act(|machine, _, _, _| machine.return_leases());
    }

    fn meet(&self, stored: &Stored) -> Result<Met, Unreadable> {
        let bytes = (!stored.record.is_empty()).then_some(&stored.record[..]);
        let now = timestamp(stored.now);
        let gone = || Ok(Met { record: Record::fresh(Generation::new(1), now), lost: false });
        let open = stored.adopted.filter(|left| left.state == State::Open).and_then(|left| left.open_until);
        self.act(|machine, _, _, _| machine.meet(bytes, open.map(timestamp), now)).unwrap_or_else(gone)
    }

    fn fold(&self, record: &Record, batches: &[&[u8]], orders: &[Order], writer: u64, now: StoreTime) -> Folded {
        let now = timestamp(now);
        let folded = self.act(|machine, rules, at, _| {
            machine.fold(rules, record, batches, orders, writer, StepContext { now, ..at })
        });
        folded.unwrap_or_else(|| Folded::unchanged(record.clone()))
    }

    fn adopt(&self, record: &Record, writer: u64, granted: &[u32], settled: bool, now: StoreTime) {
        self.act(|machine, _, at, facts| {
            let clocks = Clocks { here: at.now, store: timestamp(now) };
            machine.adopt(record, (writer, granted, settled), clocks, at, facts);
        });
    }

    fn set_reachable(&self, away: Option<&Arc<str>>) {
        self.act(|machine, rules, at, facts| machine.set_reachable(rules, away, at, facts));
    }

    fn tell(&self, news: News) {
        Reach::tell(
            self,
            match news {
                News::StoreDegraded => EventKind::StoreDegraded,
                News::StoreRecovered => EventKind::StoreRecovered,
                News::RecordUnreadable => EventKind::RecordUnreadable,
                News::WouldOpen(tally) => EventKind::WouldOpen { tally },
            },
        );
    }

    fn heard(&self, armed: bool) {
        Reach::heard(self, armed);
    }
}
