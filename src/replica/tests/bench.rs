//! Instances and a record for tests to put together.

use super::*;
use crate::replica::clocks::{Clocks, Estimate};
use crate::replica::handle::Response;
use crate::replica::merge::News;
use crate::replica::poll::{Priority, Request, Why};
use crate::replica::pooled::{Moment, Rates, Untold};
use crate::replica::replica::Turn;
use crate::replica::state::Contact;
use crate::store::{Committed, StoreTime, Stored, Version};

/// A second of the store's clock, far from its origin.
const START: u64 = 1_000_000;

pub(super) fn at(ms: u64) -> Timestamp {
    Timestamp::from_nanos((START * 1_000 + ms) * 1_000_000)
}

pub(super) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How a lease ends.
pub(super) const ENDS: &[ProbeNews] =
    &[ProbeNews::Ended, ProbeNews::Succeeded, ProbeNews::Failed, ProbeNews::Ignored, ProbeNews::GivenUp];

/// A detector that never trips.
pub(super) fn patient() -> Box<dyn Detector> {
    Box::new(failures(u32::from(u16::MAX)).within(ms(60_000)))
}

/// One instance of the fleet, whose clock is the store's.
pub(super) struct Instance {
    pub(super) replica: Replica,
    pub(super) rules: Rules,
    pub(super) writer: u64,
    pub(super) rule: u64,
}

impl Instance {
    pub(super) fn new(writer: u64, detector: Box<dyn Detector>) -> Self {
        Self::made(writer, detector, Rules::default(), None)
    }

    pub(super) fn voting(writer: u64, detector: Box<dyn Detector>, quorum: u32) -> Self {
        Self::made(writer, detector, Rules::default(), Some(Voter::new(format!("voter-{writer}").into(), quorum)))
    }

    pub(super) fn probing(writer: u64, probes: Probes) -> Self {
        Self::made(writer, patient(), Rules { probes, ..Rules::default() }, None)
    }

    pub(super) fn made(writer: u64, detector: Box<dyn Detector>, rules: Rules, voter: Option<Voter>) -> Self {
        let machine = Machine::new(detector, &rules, Generation::new(1), at(0));
        let terms = Terms {
            voter,
            when_down: WhenDown::Local,
            flush_interval: ms(1_000),
            clock_error: Duration::ZERO,
            tells_default_rule: false,
        };
        let replica = Replica::new(machine, writer, terms);
        let rule = replica.state.outbox.untold.rule;
        let mut this = Self { replica, rules, writer, rule };
        this.set_clock(at(0), at(0));
        this.turn(at(0), |replica, turn| replica.set_contact(Contact::Answers, turn));
        this
    }

    /// Where `here` is `there` on the store's clock.
    pub(super) fn set_clock(&mut self, here: Timestamp, there: Timestamp) {
        let clocks = Clocks { here, store: there };
        self.replica.state.own.clock = Some(Estimate::learn(None, clocks, Duration::ZERO));
    }

    pub(super) fn turn<R>(&mut self, now: Timestamp, f: impl FnOnce(&mut Replica, &mut Turn<'_>) -> R) -> R {
        let facts = &mut Facts::default();
        f(&mut self.replica, &mut Turn { now, at: moment(now), rules: &self.rules, facts })
    }

    pub(super) fn detector(&self) -> &dyn Detector {
        &*self.replica.machine().detector
    }

    /// Something waits that must be told at once.
    pub(super) fn is_urgent(&self) -> bool {
        self.replica.waits() == Some(Priority::Change)
    }

    /// What waits to be told, where `now` is `there` on the store's clock.
    pub(super) fn take_batch(&mut self, now: Timestamp, there: Timestamp) -> Option<Vec<u8>> {
        self.set_clock(now, there);
        let is_taken = self.turn(now, |replica, turn| replica.take_batch(turn, Why::News));
        let taken = self.replica.state.outbox.batch.as_ref().filter(|_| is_taken);
        taken.map(|taken| taken.batch.save())
    }

    /// The store is away.
    pub(super) fn go_away(&mut self, why: &Arc<str>, now: Timestamp) {
        self.turn(now, |replica, turn| replica.set_contact(Contact::Away(why.clone()), turn));
    }

    pub(super) fn step(&mut self, input: Input<'_>, now: Timestamp) -> Decision {
        self.replica.step(&self.rules, input, moment(now), &mut Facts::default())
    }

    /// A call that ends so, where one is let through.
    pub(super) fn call(&mut self, outcome: Outcome, now: Timestamp) -> bool {
        let Decision::Admitted(permit) = self.step(Input::Acquire { reserve: false }, now) else {
            return false;
        };
        self.step(Input::Report { permit, outcome, took: None }, now);
        true
    }

    pub(super) fn apply(&mut self, record: &Record, now: Timestamp) {
        self.set_clock(now, now);
        self.turn(now, |replica, turn| replica.apply(&Arc::new(record.clone()), now, turn));
    }

    /// What an instance of this one's rule tells of these calls, which ended in this order.
    pub(super) fn batch(&self, record: &Record, runs: &[Run]) -> Vec<u8> {
        let (mut untold, mut rates) = (Untold::new(self.detector()), Rates::default());
        let now = runs.iter().map(|run| run.ended).max().unwrap_or_default();
        for run in runs {
            rates.count(untold.is_bad(run), run.count, run.ended);
            untold.saw(*run, None);
        }
        rates.decay(now);
        let telling = Some(untold.take(self.writer, &rates, &Moment::unasked(now, ms(5_000))));
        Batch { generation: record.generation(), telling, probes: Vec::new(), vote: None }.save()
    }

    /// The engine looks at it once, over a store that takes what it is given. Returns whether something was written.
    pub(super) fn look(&mut self, shared: &mut Shared) -> bool {
        let (now, store) = (shared.now, StoreTime::from(shared.now));
        let polled = self.turn(now, |replica, turn| replica.poll(turn, &mut |_| Ok(())));
        match polled.request {
            None => false,
            Some(Request::Load) => {
                let stored = Stored::new(shared.version, shared.record.save().into(), store);
                self.turn(now, |replica, turn| replica.handle(Response::Loaded(Ok(&stored)), now, turn));
                self.look(shared)
            }
            Some(Request::Commit(commit)) => {
                assert_eq!(commit.expected, shared.version, "it has looked before");
                shared.record = Record::load(&commit.record).expect("its own bytes");
                shared.version = Version(shared.version.0 + 1);
                let answer = Committed::Applied { version: shared.version, now: store };
                self.turn(now, |replica, turn| replica.handle(Response::Committed(Ok(&answer)), now, turn));
                true
            }
        }
    }

    /// As [`look`](Self::look), after it has polled what the store has.
    pub(super) fn poll(&mut self, shared: &mut Shared) -> bool {
        self.replica.reload();
        self.look(shared)
    }
}

/// The record, as a store keeps it.
pub(super) struct Shared {
    pub(super) record: Record,
    pub(super) version: Version,
    pub(super) now: Timestamp,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self { record: Record::fresh(Generation::new(1), at(0)), version: Version(1), now: at(0) }
    }

    pub(super) fn at(now: Timestamp) -> Self {
        Self { now, ..Self::new() }
    }

    /// Two calls of a fleet's first instance have opened it, and its cooldown is over.
    pub(super) fn opened_by(fleet: &mut [Instance], outcome: Outcome, took: u64) -> Self {
        let mut shared = Self::new();
        for one in &mut *fleet {
            one.poll(&mut shared);
        }
        for now in [1, 2] {
            let asked = fleet[0].step(Input::Acquire { reserve: false }, at(now));
            let permit = if let Decision::Admitted(permit) = asked { Some(permit) } else { None }.expect("closed");
            fleet[0].step(Input::Report { permit, outcome, took: Some(ms(took)) }, at(now));
        }
        for passed in 1..100 {
            shared.now = at(50 * passed);
            fleet[0].look(&mut shared);
        }
        assert_eq!(shared.record.state(), State::Open);
        shared.now = shared.record.machine.history().open_until;
        shared
    }

    pub(super) fn holding(record: Record, now: Timestamp) -> Self {
        Self { record, ..Self::at(now) }
    }

    /// What an instance makes of the record.
    pub(super) fn merged_by(&self, by: &mut Instance, batches: &[Vec<u8>], commands: &[Command]) -> Merged {
        let batches: Vec<_> = batches.iter().filter_map(|bytes| Batch::load(bytes).ok()).collect();
        let now = self.now;
        let news = News { batches: &batches, commands, judge_at: Some(now), has_waited: None };
        by.turn(now, |replica, turn| replica.merge(&self.record, &news, now, turn))
    }

    /// The same, written back as bytes.
    pub(super) fn merge(&mut self, by: &mut Instance, batches: &[Vec<u8>], commands: &[Command]) -> Merged {
        let merged = self.merged_by(by, batches, commands);
        let bytes = merged.record.save();
        assert!(bytes.len() <= 64 * 1_024, "{} bytes", bytes.len());
        self.record = Record::load(&bytes).expect("its own bytes");
        self.version = Version(self.version.0 + 1);
        assert_eq!(self.record, merged.record, "what is read is what was written");
        assert!(!merged.began || self.record.decider == by.writer, "the instance that decides signs");
        merged
    }

    /// As [`merge`](Self::merge), and the instance does as the record then says.
    pub(super) fn commit(&mut self, by: &mut Instance, commands: &[Command]) -> Merged {
        let now = self.now;
        let batch = by.take_batch(now, now);
        let merged = self.merge(by, &Vec::from_iter(batch), commands);
        by.replica.state.settle_batch(true);
        by.apply(&self.record, self.now);
        merged
    }

    pub(super) fn order(&mut self, by: &mut Instance, command: Command) -> Merged {
        self.merge(by, &[], &[command])
    }

    /// An instance asks for a lease. Returns the one that it has got.
    pub(super) fn ask(&mut self, by: &mut Instance, may_want: bool) -> Option<u32> {
        let before: Vec<_> = self.leases().iter().map(|lease| lease.0).collect();
        self.order(by, Command::Lease { may_want });
        let new = self.leases().into_iter().find(|(id, owner)| *owner == by.writer && !before.contains(id));
        new.map(|(id, _)| id)
    }

    /// The leases that are out, and whose they are.
    pub(super) fn leases(&self) -> Vec<(u32, u64)> {
        let round = self.record.machine.history().round.as_ref();
        round.map_or_else(Vec::new, |round| round.leases.iter().map(|lease| (lease.id, lease.owner)).collect())
    }

    /// An instance tells what became of a probe.
    pub(super) fn tell_probe(&mut self, by: &mut Instance, probed: Probed) -> Merged {
        let batch =
            Batch { generation: self.record.generation(), telling: None, probes: vec![probed], vote: None }.save();
        self.merge(by, &[batch], &[])
    }

    /// The fleet is open, and its cooldown over.
    pub(super) fn cooled_down(by: &mut Instance) -> Self {
        let mut shared = Self::new();
        shared.order(by, Command::Trip);
        shared.now = shared.record.machine.history().open_until;
        shared
    }
}

pub(super) const fn moment(now: Timestamp) -> StepContext {
    StepContext { now, seed: 0 }
}

pub(super) fn run(ended: Timestamp, failed: bool) -> Run {
    Run::new(&if failed { Call::failure(ended) } else { Call::success(ended) }, 1)
}

pub(super) fn failed(ended: Timestamp) -> Run {
    run(ended, true)
}

pub(super) fn fine(ended: Timestamp) -> Run {
    run(ended, false)
}

/// A detector of a user's own that sees every call in its order: it trips at a score, where successes count for less the
/// later they come.
#[derive(Clone, Default)]
pub(super) struct Order31 {
    pub(super) sum: u64,
    pub(super) bad: u64,
    pub(super) most: u64,
}

impl std::fmt::Debug for Order31 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Order31({})", self.most)
    }
}

impl Detector for Order31 {
    fn record(&mut self, call: &Call) {
        self.sum = self.sum.wrapping_mul(31).wrapping_add(1 + u64::from(call.failed()));
        self.bad = if call.failed() { self.bad + 1 } else { self.bad / 2 };
    }

    fn verdict(&self, _now: Timestamp) -> bool {
        self.bad >= self.most
    }

    fn reset(&mut self) {
        *self = Self { most: self.most, ..Self::default() };
    }

    fn tally(&self, _now: Timestamp) -> Tally {
        Tally::failures(self.bad)
    }

    fn save(&self) -> Vec<u8> {
        [self.sum.to_le_bytes(), self.bad.to_le_bytes()].concat()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let (sum, bad) = bytes.split_first_chunk().ok_or_else(|| LoadError::new("sixteen bytes"))?;
        self.bad = u64::from_le_bytes(bad.try_into().map_err(|_| LoadError::new("sixteen bytes"))?);
        self.sum = u64::from_le_bytes(*sum);
        Ok(())
    }
}
